//! How well a model tells lesions from pictures that show none, by the distance from its training cases and by its logits:
//!
//! ```text
//! cargo run --release --example out_of_distribution -- --model MODEL --data KIND=DIR --drawn 180 --pictures DIR
//! ```
//!
//! The distances are fitted anew, with several numbers of directions, to the cases that trained the model; the reference cases are those
//! that selected it, and the lesions those that tested it. Pairs without a lesion are drawn, and made of the pictures in a folder, each with
//! the next one.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use dermafuse_data::{CaseSet, DataSetKind, Modality, Table};
use dermafuse_ensemble::{OutOfDistribution, OutOfDistributionSettings};
use dermafuse_eval::auc;
use dermafuse_infer::{Bundle, Predictor, TestTimeAugmentation, kinds_of};
use dermafuse_networks::Network;
use dermafuse_schema::CaseImage;
use dermafuse_schema::ndarray::{Array2, ArrayView1, Axis};
use dermafuse_synthetic::{NonLesion, write_non_lesions};

type Outcome<T> = Result<T, Box<dyn Error>>;
type LogitScore = fn(ArrayView1<'_, f32>) -> f64;

/// Measures how well a model tells lesions from pictures that show none.
#[derive(Parser)]
struct Arguments {
    /// The model file, or the folder of a run
    #[arg(long)]
    model: PathBuf,
    /// The data set that the model was made with
    #[arg(long, value_name = "KIND=DIR")]
    data: String,
    /// Drawn pairs without a lesion
    #[arg(long, default_value_t = 180)]
    drawn: usize,
    /// Width and height of the drawn pictures
    #[arg(long, default_value_t = 256)]
    side: u32,
    /// A folder of pictures without a lesion; may be given several times
    #[arg(long, value_name = "DIR")]
    pictures: Vec<PathBuf>,
    /// The training cases that distances are fitted to, at most
    #[arg(long, default_value_t = 2000)]
    cases: usize,
}

/// Features and logits of cases.
struct Seen {
    features: Array2<f32>,
    /// Of the first task, in the last branch, without test-time augmentation.
    logits: Array2<f32>,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let bundle = Bundle::load(&arguments.model, &Device::flex())?;
    let (kind, folder) = arguments.data.split_once('=').ok_or("--data is KIND=DIR")?;
    let set = kind.parse::<DataSetKind>()?.load(Path::new(folder))?;
    let kinds = || kinds_of(bundle.network.modalities());
    let known = &bundle.description.known_cases;
    let rows = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..set.len()).filter(|&row| kinds().all(|kind| set.cases[row].has(kind)) && wanted(row)).collect()
    };
    let id = |row: usize| &set.cases[row].id;
    let settings = OutOfDistributionSettings { cases: arguments.cases, ..Default::default() };
    let train = settings.fitted_rows(&rows(&|row| known.trained(id(row))));
    let valid = rows(&|row| known.selected(id(row)) && !known.trained(id(row)));
    let test = rows(&|row| known.tested(id(row)) && !known.trained(id(row)) && !known.selected(id(row)));
    println!("{} training, {} validation and {} test cases", train.len(), valid.len(), test.len());

    let started = Instant::now();
    let (of_train, of_valid) = (seen(&bundle, &set, &train)?, seen(&bundle, &set, &valid)?);
    println!("features of the training and validation cases: {:.1} s", started.elapsed().as_secs_f64());
    let of_test = seen(&bundle, &set, &test)?;
    let labels: Vec<Option<usize>> = train.iter().map(|&row| set.cases[row].labels[0]).collect();

    let folder = tempfile::tempdir()?;
    write_non_lesions(folder.path(), arguments.drawn, (arguments.side, arguments.side * 3 / 4), 0)?;
    let mut questions = bundle.questions();
    questions.add_table(&Table::read(folder.path().join("cases.csv"))?, folder.path(), &[])?;
    let drawn = questions.into_set();
    let of_drawn = seen(&bundle, &drawn, &(0..drawn.len()).collect::<Vec<_>>())?;
    let mut others = vec![("drawn".to_owned(), of_drawn)];
    for kind in NonLesion::ALL {
        let rows: Vec<usize> =
            (0..drawn.len()).filter(|&row| drawn.cases[row].id.as_str().starts_with(kind.name())).collect();
        let whole = &others[0].1;
        let part =
            Seen { features: whole.features.select(Axis(0), &rows), logits: whole.logits.select(Axis(0), &rows) };
        others.push((format!("  {kind}"), part));
    }
    for folder in &arguments.pictures {
        let set = pairs_of(&bundle, folder)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        others.push((format!("{name} ({})", set.len()), seen(&bundle, &set, &(0..set.len()).collect::<Vec<_>>())?));
    }

    print!("{:28}{:>9}{:>9}{:>9}", "score", "beyond99", "kB", "fit s");
    others.iter().for_each(|(name, _)| print!("{:>14}", name.trim()));
    println!();
    let logit_scores: [(&str, LogitScore); 2] =
        [("energy of the logits", energy), ("1 - greatest probability", improbability)];
    for (name, score) in logit_scores {
        let scores = |seen: &Seen| seen.logits.rows().into_iter().map(score).collect::<Vec<f64>>();
        print_row(name, [scores(&of_valid), scores(&of_test)], None, others.iter().map(|(_, seen)| scores(seen)));
    }
    for (name, of_classes) in [("to class means", true), ("to one mean", false)] {
        for components in [1, 4, 16, 32, 64, 128] {
            let settings = OutOfDistributionSettings { components, ..settings };
            let labels = labels.iter().map(|label| label.filter(|_| of_classes)).collect::<Vec<_>>();
            let started = Instant::now();
            let held_out = Some(of_valid.features.view());
            let fitted = OutOfDistribution::fit(&settings, of_train.features.view(), &labels, held_out)?;
            let seconds = started.elapsed().as_secs_f64();
            let kilobytes = serde_json::to_string(&fitted)?.len() as f64 / 1e3;
            let scores =
                |seen: &Seen| seen.features.rows().into_iter().map(|row| fitted.score(row)).collect::<Vec<f64>>();
            print_row(
                &format!("{components} directions, {name}"),
                [scores(&of_valid), scores(&of_test)],
                Some((kilobytes, seconds)),
                others.iter().map(|(_, seen)| scores(seen)),
            );
        }
    }
    Ok(())
}

/// Prints the per cent of test lesions beyond the 99th per cent of the validation cases, and for each set of other pictures the AUC and the
/// per cent of them that are beyond.
fn print_row(
    name: &str,
    [valid, test]: [Vec<f64>; 2],
    cost: Option<(f64, f64)>,
    others: impl Iterator<Item = Vec<f64>>,
) {
    let mut sorted = valid;
    sorted.sort_by(f64::total_cmp);
    let limit = sorted[((sorted.len() - 1) as f64 * 0.99).round() as usize];
    let beyond = |scores: &[f64]| {
        100.0 * scores.iter().filter(|score| **score > limit).count() as f64 / scores.len().max(1) as f64
    };
    let (kilobytes, seconds) = cost.map_or((String::new(), String::new()), |(kilobytes, seconds)| {
        (format!("{kilobytes:.0}"), format!("{seconds:.2}"))
    });
    print!("{name:28}{:>9.1}{kilobytes:>9}{seconds:>9}", beyond(&test));
    for scores in others {
        let both: Vec<(f64, bool)> =
            test.iter().map(|score| (*score, false)).chain(scores.iter().map(|score| (*score, true))).collect();
        print!("{:>8.3}{:>6.0}", auc(&both).unwrap_or(f64::NAN), beyond(&scores));
    }
    println!();
}

/// Pairs of the pictures in a folder: each as a clinical picture, with the next one as a dermoscopic one.
fn pairs_of(bundle: &Bundle, folder: &Path) -> Outcome<CaseSet> {
    let mut listed = bundle.questions();
    listed.add_folder(folder, Modality::Clinical)?;
    let files: Vec<CaseImage> = listed.set().cases.iter().flat_map(|case| case.clinical.iter().cloned()).collect();
    let mut questions = bundle.questions();
    for (at, file) in files.iter().enumerate() {
        let next = &files[(at + 1) % files.len()];
        questions.add(format!("{at}"), std::slice::from_ref(file), std::slice::from_ref(next), &[])?;
    }
    Ok(questions.into_set())
}

fn seen(bundle: &Bundle, set: &CaseSet, rows: &[usize]) -> Outcome<Seen> {
    let description = &bundle.description;
    let predictor = Predictor::new(&bundle.network, description.preprocess.clone(), TestTimeAugmentation::Off);
    let features = predictor.embeddings(&set.view(rows)?, &description.encoder, |_| ())?;
    let logits = predictor.logits(&set.view(rows)?, &description.encoder, |_| ())?;
    let last = logits.branches.last().ok_or("a network has a branch")?;
    Ok(Seen { features, logits: last.logits[0].index_axis(Axis(0), 0).to_owned() })
}

/// The negative logarithm of the sum of the exponentials.
fn energy(logits: ArrayView1<'_, f32>) -> f64 {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    -(f64::from(most) + sum.ln())
}

fn improbability(logits: ArrayView1<'_, f32>) -> f64 {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    1.0 - 1.0 / logits.iter().map(|logit| f64::from(logit - most).exp()).sum::<f64>()
}
