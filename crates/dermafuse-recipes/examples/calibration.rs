//! What calibration and prevalence do to the answers of a model, on real cases:
//!
//! ```text
//! cargo run --release --example calibration -- model runs/milk10k/model.safetensors --data milk10k/dev --split runs/milk10k/split.json
//! cargo run --release --example calibration -- outputs model_outputs/pad_ufes_20 --metadata pad_ufes_20/metadata.csv
//! ```
//!
//! The first asks a model that was trained on MILK10k about its validation and test cases, fits each method on the former and
//! measures it on the latter; then it draws test cases as they would come to places with other prevalences, and measures what stating
//! the prevalence, estimating it, and adapting the model to a hundred labelled cases change. The second takes tables of published
//! probabilities (`filename,true_label,…,probability_class_0,…`) and fits each method on one half of the patients for the other.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::{Args, Parser, Subcommand};
use dermafuse_data::{Split, Table, milk10k};
use dermafuse_ensemble::{
    AnswerCalibration, AnswerPattern, AssumedPrevalence, CalibrationMethod, CalibrationOrigin, ModelPrevalence,
    Prevalence, PrevalenceOrigin, TwoStage,
};
use dermafuse_eval::{Evaluation, MeanDeviation, ReportTable, TaskEvaluation};
use dermafuse_infer::{Bundle, answer_patterns};
use dermafuse_schema::ndarray::{Array2, Array3};
use dermafuse_schema::{Branch, BranchLogits, Cohort, FuseSpace, Predictions, Task, TaskSet};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Measures calibration and prevalence on real cases.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    study: Study,
}

#[derive(Subcommand)]
enum Study {
    /// A model and the cases of its own split
    Model(ModelStudy),
    /// Published probabilities of several models
    Outputs(OutputStudy),
}

#[derive(Args)]
struct ModelStudy {
    /// The model
    model: PathBuf,
    /// The folder of MILK10k
    #[arg(long)]
    data: PathBuf,
    /// The folder of its images, where there are several
    #[arg(long)]
    images: Option<PathBuf>,
    /// The split that trained the model
    #[arg(long)]
    split: PathBuf,
    /// Whether the training weighed all classes alike, of a model of an earlier version, which does not say so
    #[arg(long)]
    balanced: bool,
    /// How often cases are drawn for each place
    #[arg(long, default_value_t = 50)]
    draws: u64,
}

#[derive(Args)]
struct OutputStudy {
    /// The folder of the tables
    folder: PathBuf,
    /// The table that says whose the images are, with the columns `img_id` and `patient_id`
    #[arg(long)]
    metadata: PathBuf,
    /// How often patients are halved
    #[arg(long, default_value_t = 20)]
    draws: u64,
}

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    match Arguments::parse().study {
        Study::Model(study) => of_model(&study),
        Study::Outputs(study) => of_outputs(&study),
    }
}

/// The numbers that are compared, of several draws.
#[derive(Default)]
struct Scores {
    columns: BTreeMap<&'static str, Vec<f64>>,
}

const HEAD: [&str; 8] = ["", "accuracy", "BAC", "AUC", "ECE", "ECE (mass)", "log-loss", "Brier"];

impl Scores {
    fn add(&mut self, predictions: &Predictions) -> Result<(), Failure> {
        let evaluation = Evaluation::of(predictions)?;
        let task: &TaskEvaluation = &evaluation.tasks[0];
        let percent = |value: Option<f64>| value.map(|value| 100.0 * value);
        let values = [
            ("accuracy", percent(task.accuracy)),
            ("BAC", percent(task.balanced_accuracy)),
            ("AUC", percent(task.macro_auc)),
            ("ECE", percent(task.calibration_error)),
            ("ECE (mass)", percent(task.calibration_error_equal_mass)),
            ("log-loss", task.log_loss),
            ("Brier", task.brier),
        ];
        for (name, value) in values {
            self.columns.entry(name).or_default().extend(value);
        }
        Ok(())
    }

    fn row(&self, name: &str) -> [String; 8] {
        let cell = |column: &str| {
            let values = self.columns.get(column).map_or(&[][..], Vec::as_slice);
            let digits = if ["log-loss", "Brier"].contains(&column) { 3 } else { 1 };
            match (MeanDeviation::of(values), values) {
                (_, [one]) => format!("{one:.digits$}"),
                (Some(_), _) => {
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
                    format!("{mean:.digits$} ± {:.digits$}", (squares / (values.len() - 1) as f64).sqrt())
                }
                (None, _) => "n/a".into(),
            }
        };
        HEAD.map(|column| if column.is_empty() { name.to_owned() } else { cell(column) })
    }
}

/// Rows of scores, in the order in which they were first named.
#[derive(Default)]
struct Rows(Vec<(String, Scores)>);

impl Rows {
    fn of(&mut self, name: &str) -> &mut Scores {
        let at = self.0.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), Scores::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn print(&self, title: &str) {
        let mut table = ReportTable::new(title, HEAD, "");
        self.0.iter().for_each(|(name, scores)| table.push(scores.row(name)));
        println!("{title}\n\n{table}");
    }
}

fn fitted(
    method: CalibrationMethod,
    stage: &TwoStage,
    logits: &BranchLogits,
    patterns: &[AnswerPattern],
) -> Result<AnswerCalibration, Failure> {
    Ok(AnswerCalibration::fit(method, CalibrationOrigin::Validation, stage, logits, patterns, None)?)
}

fn counted(tasks: &TaskSet, labels: &[Vec<Option<usize>>], more: Option<&Prevalence>) -> Result<Prevalence, Failure> {
    let counts = tasks.iter().enumerate().map(|(index, task)| {
        let mut counts: Vec<f64> = task
            .classes
            .iter()
            .map(|class| more.and_then(|more| more.share(&task.name, class)).unwrap_or(0.0) * task.classes.len() as f64)
            .collect();
        labels.iter().filter_map(|labels| labels[index]).for_each(|label| counts[label] += 1.0);
        counts
    });
    Ok(Prevalence::of_counts(tasks, &counts.collect::<Vec<_>>())?)
}

// --- a model and its cases ---

/// Places with other prevalences, by classes of MILK10k: a screening where nearly all is benign, a clinic for melanoma, and one for
/// skin cancer of the sun. What is not named shares the rest as in MILK10k.
const PLACES: [(&str, &[(&str, f64)]); 3] = [
    ("screening", &[("NV", 0.60), ("BKL", 0.25), ("MEL", 0.03), ("BCC", 0.06), ("SCCKA", 0.01), ("AKIEC", 0.01)]),
    ("melanoma clinic", &[("MEL", 0.40), ("NV", 0.40)]),
    ("sun damage", &[("AKIEC", 0.25), ("SCCKA", 0.30), ("BCC", 0.35), ("MEL", 0.01)]),
];

/// Labelled cases of a place, and cases that are answered there.
const LOCAL: usize = 100;
const ANSWERED: usize = 400;

fn of_model(study: &ModelStudy) -> Result<(), Failure> {
    let bundle = Bundle::load(&study.model, &Device::flex())?;
    let options = milk10k::Options { images: study.images.clone(), ..milk10k::Options::default() };
    let set = milk10k::load_with(&study.data, &options)?;
    let split = Split::load(&study.split, &set)?.split;
    let logits = |rows: &[usize]| bundle.logits(&set.view(rows)?, |_| ());
    let (valid, test) = (logits(&split.valid)?, logits(&split.test)?);
    let plain = TwoStage { calibration: None, prevalence: None, ..bundle.two_stage.clone() };
    let patterns = answer_patterns(&bundle.network);
    let own = match bundle.prevalence() {
        Ok(own) => own.clone(),
        Err(_) => {
            let labels: Vec<_> = split.train.iter().map(|&row| set.cases[row].labels.clone()).collect();
            let training = counted(&set.tasks, &labels, None)?;
            let equal: Vec<Vec<f64>> = set.tasks.iter().map(|task| vec![1.0; task.classes.len()]).collect();
            let learnt = study.balanced.then(|| Prevalence::of_counts(&set.tasks, &equal)).transpose()?;
            ModelPrevalence { learnt, ..ModelPrevalence::of_training(training) }
        }
    };
    println!("{} validation and {} test cases\n", valid.cohort.len(), test.cohort.len());
    println!("learnt: {}\n", own.uncalibrated());

    let before = plain.uncalibrated(&test)?;
    let mut rows = Rows::default();
    rows.of("as it is").add(&before)?;
    let mut calibrations = Vec::new();
    for method in CalibrationMethod::ALL {
        let calibration = fitted(method, &plain, &valid, &patterns)?;
        rows.of(method.name()).add(&calibration.apply(&before)?.predictions)?;
        calibrations.push((method, calibration));
    }
    rows.print("Complete test cases, fitted on validation cases");

    let temperature = &calibrations[0].1;
    println!("{}\n", serde_json::to_string_pretty(&temperature.answers)?);
    let mut rows = Rows::default();
    for pattern in patterns.iter().filter(|pattern| pattern.branches.len() == 1 && !pattern.metadata) {
        let mut lacking = test.clone();
        let others = |branch: &&mut Branch| !pattern.branches.contains(&branch.name);
        lacking.branches.iter_mut().filter(others).for_each(|branch| branch.available.fill(false));
        let answers = plain.uncalibrated(&lacking)?;
        let name = answers.basis[0].to_string();
        rows.of(&name).add(&answers)?;
        rows.of(&format!("{name}, temperature of complete cases")).add(&with_first(temperature, &answers)?)?;
        rows.of(&format!("{name}, its own temperature")).add(&temperature.apply(&answers)?.predictions)?;
    }
    rows.print("Test cases that lack an image");

    for (place, shares) in PLACES {
        places(study, &plain, &own, &calibrations, [&valid, &test], &patterns, place, shares)?;
    }
    Ok(())
}

/// The answers by the temperature of complete cases, whatever they are from.
fn with_first(calibration: &AnswerCalibration, answers: &Predictions) -> Result<Predictions, Failure> {
    let first = calibration.answers[0].basis.clone();
    let as_first = Predictions { basis: vec![first; answers.len()], ..answers.clone() };
    Ok(calibration.apply(&as_first)?.predictions)
}

#[allow(clippy::too_many_arguments, reason = "each says another thing")]
fn places(
    study: &ModelStudy,
    plain: &TwoStage,
    own: &ModelPrevalence,
    calibrations: &[(CalibrationMethod, AnswerCalibration)],
    [valid, test]: [&BranchLogits; 2],
    patterns: &[AnswerPattern],
    place: &str,
    shares: &[(&str, f64)],
) -> Result<(), Failure> {
    let task = test.tasks[0].clone();
    let stated: Vec<_> = shares.iter().map(|(class, share)| (task.name.clone(), (*class).to_owned(), *share)).collect();
    let truth = own.training.stated(&stated)?;
    let mut rows = Rows::default();
    let mut distances: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for draw in 0..study.draws {
        let mut rng = ChaCha8Rng::seed_from_u64(draw);
        let (first, second) = halves(&test.cohort.labels, &task, &mut rng);
        let local = test.select(&drawn(&first, &test.cohort.labels, &task, &truth, LOCAL, &mut rng));
        let asked = test.select(&drawn(&second, &test.cohort.labels, &task, &truth, ANSWERED, &mut rng));
        let raw = plain.uncalibrated(&asked)?;
        rows.of("as it is").add(&raw)?;
        for (method, calibration) in calibrations
            .iter()
            .filter(|(method, _)| [CalibrationMethod::Temperature, CalibrationMethod::BiasCorrected].contains(method))
        {
            let calibrated = calibration.apply(&raw)?.predictions;
            let answered = calibration.apply(&plain.uncalibrated(valid)?)?.predictions;
            let source = &Prevalence::of_answers(&answered)?;
            let name = method.name();
            rows.of(name).add(&calibrated)?;
            rows.of(&format!("{name}, prevalence stated")).add(&source.correct(&truth, &calibrated)?)?;
            let estimate = source.estimate(&calibrated)?.prevalence;
            rows.of(&format!("{name}, prevalence estimated")).add(&source.correct(&estimate, &calibrated)?)?;
            distances.entry(name).or_default().push(distance(&estimate, &truth, &task));
        }
        // What `dermafuse adapt` does with a hundred cases.
        let source = own.uncalibrated();
        let prevalence = counted(&test.tasks, &local.cohort.labels, Some(source))?;
        let origin = CalibrationOrigin::Local { data_set: place.to_owned() };
        let method = CalibrationMethod::Temperature;
        let pair = Some((source, &prevalence));
        let calibration = AnswerCalibration::fit(method, origin, plain, &local, patterns, pair)?;
        distances.entry("counted").or_default().push(distance(&prevalence, &truth, &task));
        let origin = PrevalenceOrigin::Local { data_set: place.to_owned(), cases: LOCAL };
        let assumed = Some(AssumedPrevalence { prevalence, origin });
        let adapted = TwoStage {
            calibration: Some(calibration),
            prevalence: Some(ModelPrevalence { assumed, calibrated: None, answered: None, ..own.clone() }),
            ..plain.clone()
        };
        rows.of(&format!("adapted to {LOCAL} cases")).add(&adapted.apply(&asked)?.pop().expect("a row").1)?;
    }
    rows.print(&format!("Place `{place}`, {} draws of {ANSWERED} test cases: {truth}", study.draws));
    for (name, values) in distances {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        println!("distance of the prevalence, {name}: {:.1} per cent points", 100.0 * mean);
    }
    println!();
    Ok(())
}

/// Half the sum of the absolute differences of shares.
fn distance(found: &Prevalence, truth: &Prevalence, task: &Task) -> f64 {
    let share = |prevalence: &Prevalence, class: &String| prevalence.share(&task.name, class).unwrap_or(0.0);
    task.classes.iter().map(|class| (share(found, class) - share(truth, class)).abs()).sum::<f64>() / 2.0
}

/// The cases of the first task in two halves that share every class.
fn halves(labels: &[Vec<Option<usize>>], task: &Task, rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for class in 0..task.classes.len() {
        let mut rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row][0] == Some(class)).collect();
        shuffle(&mut rows, rng);
        let middle = rows.len().div_ceil(2);
        first.extend(&rows[..middle]);
        second.extend(&rows[middle..]);
    }
    (first, second)
}

/// So many of the cases, again and again, with classes as frequent as is said.
fn drawn(
    rows: &[usize],
    labels: &[Vec<Option<usize>>],
    task: &Task,
    shares: &Prevalence,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let of_class: Vec<Vec<usize>> = (0..task.classes.len())
        .map(|class| rows.iter().copied().filter(|&row| labels[row][0] == Some(class)).collect())
        .collect();
    // A class of which there is no case here cannot be drawn.
    let weights: Vec<f64> = task
        .classes
        .iter()
        .zip(&of_class)
        .map(|(class, rows)| if rows.is_empty() { 0.0 } else { shares.share(&task.name, class).unwrap_or(0.0) })
        .collect();
    let sum: f64 = weights.iter().sum();
    (0..count)
        .map(|_| {
            let mut at = uniform(rng) * sum;
            let class = weights.iter().position(|weight| {
                at -= weight;
                at < 0.0
            });
            let rows =
                &of_class[class.unwrap_or_else(|| weights.iter().rposition(|weight| *weight > 0.0).expect("a class"))];
            rows[(uniform(rng) * rows.len() as f64) as usize]
        })
        .collect()
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn shuffle<T>(values: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..values.len()).rev() {
        values.swap(last, (uniform(rng) * (last + 1) as f64) as usize);
    }
}

// --- published probabilities ---

fn of_outputs(study: &OutputStudy) -> Result<(), Failure> {
    let patients = Table::read(&study.metadata)?;
    let (images, owners) = (patients.column("img_id")?, patients.column("patient_id")?);
    let owner: BTreeMap<&str, &str> = (0..patients.len()).map(|row| (images.text(row), owners.text(row))).collect();
    let mut files: Vec<PathBuf> =
        fs::read_dir(&study.folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, Failure>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "csv"));
    files.sort();
    for file in files {
        let logits = published(&file, &owner)?;
        let stage = TwoStage::new(logits.equal_weights(), FuseSpace::Logits, None, 1.0)?;
        let pattern = [AnswerPattern { branches: vec!["published".into()], metadata: false }];
        let mut groups: Vec<String> = logits.cohort.groups.clone();
        groups.sort();
        groups.dedup();
        let mut rows = Rows::default();
        for draw in 0..study.draws {
            let mut rng = ChaCha8Rng::seed_from_u64(draw);
            shuffle(&mut groups, &mut rng);
            let halves = groups.split_at(groups.len() / 2);
            for (fit, test) in [(halves.0, halves.1), (halves.1, halves.0)] {
                let of = |patients: &[String]| -> Vec<usize> {
                    (0..logits.cohort.len()).filter(|&row| patients.contains(&logits.cohort.groups[row])).collect()
                };
                let (fit, test) = (logits.select(&of(fit)), logits.select(&of(test)));
                let before = stage.uncalibrated(&test)?;
                rows.of("as it is").add(&before)?;
                for method in CalibrationMethod::ALL {
                    let calibration = fitted(method, &stage, &fit, &pattern)?;
                    rows.of(method.name()).add(&calibration.apply(&before)?.predictions)?;
                }
            }
        }
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        rows.print(&format!("{name}, {} cases, each half of the patients fitted on the other", logits.cohort.len()));
    }
    Ok(())
}

/// The logarithms of published probabilities, as if they were logits of a branch.
fn published(file: &PathBuf, owner: &BTreeMap<&str, &str>) -> Result<BranchLogits, Failure> {
    const CLASSES: [&str; 6] = ["NEV", "BCC", "ACK", "SEK", "SCC", "MEL"];
    let table = Table::read(file)?;
    let (names, truths) = (table.column("filename")?, table.column("true_label")?);
    let mut probabilities = Array2::zeros((table.len(), CLASSES.len()));
    for class in 0..CLASSES.len() {
        let column = table.column(&format!("probability_class_{class}"))?;
        for row in 0..table.len() {
            probabilities[[row, class]] = column.text(row).parse::<f64>()?;
        }
    }
    let (mut ids, mut groups, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..table.len() {
        let image = names.text(row).rsplit('/').next().unwrap_or_default();
        let patient = owner.get(image).ok_or_else(|| format!("{}: nobody owns {image}", file.display()))?;
        ids.push(image.into());
        groups.push((*patient).to_owned());
        labels.push(vec![Some(truths.text(row).parse::<f64>()? as usize)]);
    }
    let count = ids.len();
    let logits = Array3::from_shape_fn((1, count, CLASSES.len()), |(_, row, class)| {
        let p: f64 = probabilities[[row, class]];
        p.max(1e-30).ln() as f32
    });
    let cohort = Cohort { ids, groups, labels, metadata: Array2::zeros((count, 0)), has_metadata: vec![false; count] };
    let branch = Branch { name: "published".into(), available: vec![true; count], logits: vec![logits] };
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", CLASSES)])?;
    Ok(BranchLogits { tasks, cohort, branches: vec![branch], looks: vec![] })
}
