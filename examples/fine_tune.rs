//! Fine-tuning on a small set of clinical photos by curricula: from scratch, on a merged set, or on one set after the
//! other:
//!
//! ```text
//! cargo run --release --example fine_tune
//! cargo run --release --example fine_tune -- --curriculum edra-dermai --data edra=release_v0 --data dermai=photos \
//!     --weights efficientnet_b3.safetensors
//! cargo run --release --example fine_tune -- --curriculum mine.toml --data clinic=photos --weights resnet50.pth
//! ```
//!
//! Without data, as in the first line, stand-ins of the three sets are drawn, by different cameras, and a small network
//! is trained on dermoscopic pictures for the published weights. A run that was stopped continues with `--resume` and
//! ends with the same numbers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseSet, ImageCache};
use dermafuse::eval::significance::{McNemar, holm};
use dermafuse::eval::{Comparison, Evaluation, MeanDeviation, Report};
use dermafuse::recipes::curriculum::{Plan, StageSettings};
use dermafuse::recipes::{AugmentationKind, Curriculum, Progress, Results, StageResult, Workplace, majority};
use dermafuse::schema::ndarray::Array2;
use dermafuse::schema::{Predictions, RunFolder, RunMode, write_whole_file};
use dermafuse::synthetic::{self, SyntheticConfig, clinics};
use dermafuse::train::Incomplete;
use dermafuse_examples::{DeviceName, ProgramResult, Terminal, draw_once, print_table, run, say, say_part};

/// The strategies of the paper, which are compared unless others are asked for.
const STRATEGIES: [&str; 5] = ["scratch", "merged", "dermai", "edra-dermai", "edra-dermofit-dermai"];

/// What stands for training on ImageNet where no weights are given: another instrument, other tasks.
const STAND_IN_WEIGHTS: &str = r#"
name = "stand-in weights"
[data]
pictures = "derm7pt"
[training]
epochs = 20
learning_rate = 1e-3
backbone_rate = 1.0
sampling = { kind = "each_once" }
augmentation = "released"
[[stages]]
name = "dermoscopic"
data = "pictures"
weights = "random"
view = "dermoscopic"
"#;

/// Trains by one or several curricula, compares what their last stages are worth, and writes a report and a model
/// bundle of each.
#[derive(Parser)]
struct Arguments {
    /// Curricula, separated by commas: names of those that ship, or TOML files; the paper's five unless it is said
    #[arg(long, value_delimiter = ',')]
    curriculum: Vec<String>,
    /// A data set and its folder, NAME=DIR, once for each set of the curricula; without any, stand-ins are drawn
    #[arg(long, value_parser = named_folder)]
    data: Vec<(String, PathBuf)>,
    /// Published weights of the backbone in torchvision's names (.safetensors, .pth)
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Photos of the stand-in for DermAI; those for EDRA and Dermofit have two thirds of it
    #[arg(long, default_value_t = 700)]
    photos: usize,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Flex)]
    device: DeviceName,
    /// Another backbone than the curricula say; for stand-ins resnet18_quarter
    #[arg(long)]
    backbone: Option<BackboneKind>,
    /// Another side of the square images than the curricula say, in pixels; for stand-ins 48
    #[arg(long)]
    image_size: Option<usize>,
    /// Other epochs for each step of unfreezing than the curricula say
    #[arg(long)]
    epochs_per_step: Option<usize>,
    /// Another learning rate of the head than the curricula say; the backbone's keeps its ratio. For stand-ins 1e-3
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Another augmentation than the curricula say
    #[arg(long, value_enum)]
    augmentation: Option<AugmentationName>,
    /// Runs of every curriculum, with other seeds (and other stand-ins)
    #[arg(long, default_value_t = 1)]
    repeats: u64,
    /// Seed of splits, fresh weights, training and stand-ins
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What becomes of cases without the image that a stage looks at: refuse or skip
    #[arg(long)]
    incomplete: Option<Incomplete>,
    /// Threads that decode images
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Memory for decoded images, in megabytes
    #[arg(long, default_value_t = 1000)]
    image_cache: usize,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/fine_tune")]
    out: PathBuf,
    /// Continue the runs in the folder
    #[arg(long)]
    resume: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum AugmentationName {
    /// As published by Nedelcu et al., which darkens every photo
    Nedelcu,
    /// As in the code released with FusionM4Net
    Released,
    /// None
    Off,
}

impl AugmentationName {
    fn kind(self) -> AugmentationKind {
        match self {
            Self::Nedelcu => AugmentationKind::Nedelcu,
            Self::Released => AugmentationKind::Released,
            Self::Off => AugmentationKind::Off,
        }
    }
}

fn named_folder(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("NAME=DIR is expected")?;
    Ok((name.to_owned(), folder.into()))
}

fn main() -> ExitCode {
    run(|| fine_tune(&Arguments::parse()))
}

fn fine_tune(arguments: &Arguments) -> ProgramResult {
    let curricula = curricula(arguments)?;
    let device = arguments.device.device()?;
    let cache = Arc::new(ImageCache::new(arguments.image_cache.saturating_mul(1_000_000)));
    let place = Workplace { resume: arguments.resume, ..Workplace::on(&device).with_cache(&cache) };
    let mode = RunMode { resume: arguments.resume, shared: false };
    RunFolder::check(&arguments.out, "fine_tune", mode)?;
    let mut terminal = Terminal::default();
    let mut folder = match arguments.data.is_empty() {
        true => Some(RunFolder::open(&arguments.out, "fine_tune", mode)?),
        false => None,
    };

    let needs_weights = curricula.iter().any(Curriculum::needs_published_weights);
    let weights = match &arguments.weights {
        None => match folder.as_mut().filter(|_| needs_weights) {
            Some(folder) => Some(stand_in_weights(arguments, folder, &curricula[0], place, &mut terminal)?),
            None => None,
        },
        given => given.clone(),
    };
    // Every curriculum is read and checked before any is trained.
    let mut plans = Vec::new();
    for repeat in 0..arguments.repeats.max(1) {
        let seed = arguments.seed + repeat;
        let folders = match &folder {
            Some(folder) => stand_ins(arguments, folder, seed)?,
            None => arguments.data.clone(),
        };
        for curriculum in &curricula {
            let needed = curriculum.data();
            let folders: Vec<_> = folders.iter().filter(|(name, _)| needed.contains(&name.as_str())).cloned().collect();
            let sets = curriculum.load(&folders)?;
            let plan = curriculum.plan(&sets, weights.as_deref(), seed)?;
            let folder = arguments.out.join(&plan.name).join(format!("seed-{seed}"));
            plan.check(Workplace { folder: Some(&folder), ..place }, &mut terminal)?;
            plans.push((seed, plan));
        }
    }
    let mut run_folder = match folder {
        Some(folder) => folder,
        None => RunFolder::open(&arguments.out, "fine_tune", mode)?,
    };
    run_folder.begin()?;
    let mut runs = Vec::new();
    for (seed, plan) in plans {
        let folder = arguments.out.join(&plan.name).join(format!("seed-{seed}"));
        let place = Workplace { folder: Some(&folder), ..place };
        let results = plan.run(place, &mut terminal)?;
        let run = Run::new(seed, plan, results)?;
        run.write(&folder)?;
        runs.push(run);
    }
    terminal.step("comparing the curricula");
    compare(arguments, &curricula, &runs)?;
    Ok(run_folder.finish()?)
}

/// The curricula that were asked for, with what the program was told in place of what they say.
fn curricula(arguments: &Arguments) -> Result<Vec<Curriculum>, Box<dyn std::error::Error>> {
    let is_stand_in = arguments.data.is_empty();
    let names: Vec<String> = match arguments.curriculum.is_empty() {
        true => STRATEGIES.map(str::to_owned).to_vec(),
        false => arguments.curriculum.clone(),
    };
    let settings = StageSettings {
        epochs_per_step: arguments.epochs_per_step,
        learning_rate: arguments.learning_rate.or(is_stand_in.then_some(1e-3)),
        augmentation: arguments.augmentation.map(AugmentationName::kind),
        incomplete: arguments.incomplete,
        threads: Some(arguments.threads),
        ..StageSettings::default()
    };
    let mut curricula: Vec<Curriculum> = Vec::new();
    for name in &names {
        let curriculum = match Curriculum::shipped(name) {
            Some(curriculum) => curriculum,
            None if name.ends_with(".toml") => Curriculum::read(name)?,
            None => {
                let known = Curriculum::shipped_names().join(", ");
                return Err(format!("there is no curriculum `{name}`; give a .toml file, or one of {known}").into());
            }
        };
        if curricula.iter().any(|other| other.name() == curriculum.name()) {
            return Err(format!("two curricula are called `{}`", curriculum.name()).into());
        }
        let curriculum = curriculum.with_settings(&settings).with_network(|network| {
            let small = is_stand_in.then_some((BackboneKind::ResNet18Quarter, 48));
            network.backbone = arguments.backbone.or(small.map(|small| small.0)).unwrap_or(network.backbone);
            network.image_size = arguments.image_size.or(small.map(|small| small.1)).unwrap_or(network.image_size);
        });
        curricula.push(curriculum);
    }
    let unused = arguments
        .data
        .iter()
        .find(|(name, _)| !curricula.iter().any(|curriculum| curriculum.data().contains(&name.as_str())));
    match unused {
        Some((name, _)) => Err(format!("no curriculum uses a data set `{name}`").into()),
        None => Ok(curricula),
    }
}

/// Draws the stand-ins of the three sets.
fn stand_ins(
    arguments: &Arguments,
    folder: &RunFolder,
    seed: u64,
) -> Result<Vec<(String, PathBuf)>, Box<dyn std::error::Error>> {
    let name = |set: &str| format!("stand-ins/seed-{seed}/{set}");
    say!("drawing stand-ins of DermAI, Dermofit and EDRA in {}", arguments.out.display());
    let fewer = 2 * arguments.photos / 3;
    let dermai = clinics::Config::dermai(arguments.photos, seed);
    let dermai = draw_once(folder, &name("dermai"), &dermai, |data| clinics::write(data, &dermai))?;
    let dermofit = clinics::Config::dermofit(fewer, seed);
    let dermofit = draw_once(folder, &name("dermofit"), &dermofit, |data| clinics::write(data, &dermofit))?;
    let edra =
        SyntheticConfig { cases: fewer, image_size: (128, 96), seed, clinical_clarity: 0.6, ..Default::default() };
    let edra = draw_once(folder, &name("edra"), &edra, |data| synthetic::write(data, &edra))?;
    Ok([("dermai", dermai), ("dermofit", dermofit), ("edra", edra)]
        .map(|(name, data)| (name.to_owned(), data))
        .to_vec())
}

/// Trains the backbone of a curriculum on synthetic dermoscopic pictures; the file of its weights.
fn stand_in_weights(
    arguments: &Arguments,
    run_folder: &mut RunFolder,
    curriculum: &Curriculum,
    place: Workplace<'_>,
    terminal: &mut Terminal,
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let folder = arguments.out.join("stand-in-weights");
    let config = SyntheticConfig {
        cases: 3 * arguments.photos,
        image_size: (128, 96),
        seed: arguments.seed.wrapping_add(1000),
        ..SyntheticConfig::default()
    };
    let data = draw_once(run_folder, "stand-in-weights/data", &config, |data| synthetic::write(data, &config))?;
    let network = curriculum.network().clone();
    let settings = StageSettings { threads: Some(arguments.threads), ..StageSettings::default() };
    let general = Curriculum::parse("stand-in-weights.toml", STAND_IN_WEIGHTS)?
        .with_network(|own| *own = network)
        .with_settings(&settings);
    let sets = general.load(&[("pictures".to_owned(), data)])?;
    let plan = general.plan(&sets, None, arguments.seed)?;
    let place = Workplace { folder: Some(&folder), ..place };
    plan.check(place, terminal)?;
    run_folder.begin()?;
    plan.run(place, terminal)?;
    Ok(plan.backbone(&folder, 0))
}

/// A curriculum that was followed.
struct Run {
    seed: u64,
    plan: Plan,
    results: Vec<StageResult>,
    /// Of the last stage's test cases.
    predictions: Predictions,
    evaluation: Evaluation,
}

impl Run {
    fn new(seed: u64, plan: Plan, results: Vec<StageResult>) -> Result<Self, Box<dyn std::error::Error>> {
        let predictions = results.last().ok_or("a curriculum without stages")?.predictions()?;
        let evaluation = Evaluation::of(&predictions)?;
        Ok(Self { seed, plan, results, predictions, evaluation })
    }

    /// Writes metrics, predictions and report of the last stage.
    fn write(&self, folder: &Path) -> ProgramResult {
        let stage = self.plan.stages.last().ok_or("a curriculum without stages")?;
        let recipes: serde_json::Map<String, serde_json::Value> = self
            .plan
            .stages
            .iter()
            .map(|stage| Ok((stage.name.clone(), serde_json::to_value(&stage.recipe)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        write_whole_file(&folder.join("config.json"), &serde_json::to_vec_pretty(&recipes)?)?;
        let mut notes = stage.set.notes.clone();
        let stages = self.plan.stages.iter().zip(&self.results);
        notes.extend(stages.map(|(stage, result)| shown_text(&stage.set, result)));
        let majority = majority(&stage.set, &stage.split.train, &stage.split.test)?;
        let results = Results {
            title: &format!("Curriculum {}, seed {}", self.plan.name, self.seed),
            set: &stage.set,
            cases: &stage.split.test,
            rows: &[("majority".to_owned(), majority), (self.plan.name.clone(), self.predictions.clone())],
            images: &[],
            config: serde_json::Value::Object(recipes),
            published: None,
            leaky_inputs: Vec::new(),
            curves: self.results.iter().map(|result| (result.name.as_str(), result.history.as_slice())).collect(),
            notes,
            failed: &[],
            seen: Some(stage.known_cases().among(&stage.set, &stage.split.test)),
            features: None,
        };
        results.write(folder)?;
        Ok(())
    }

    fn percent(&self, measure: &Measure) -> f64 {
        100.0 * (measure.1)(&self.evaluation).unwrap_or(f64::NAN)
    }
}

/// Says what oversampling did to the training cases of a stage.
fn shown_text(set: &CaseSet, result: &StageResult) -> String {
    let classes = set.tasks[0].classes.iter().zip(result.cases.iter().zip(&result.shown));
    let texts: Vec<String> = classes
        .map(|(class, (cases, shown))| {
            format!("{class} {cases} cases, {:.1} times each", *shown as f64 / (*cases).max(1) as f64)
        })
        .collect();
    format!(
        "Training cases of stage {} and how often {} epochs showed them: {}.",
        result.name,
        result.history.len(),
        texts.join("; ")
    )
}

/// A number that curricula are compared by.
type Measure = (&'static str, fn(&Evaluation) -> Option<f64>);

const MEASURES: [Measure; 4] = [
    ("accuracy", |evaluation| evaluation.tasks[0].accuracy),
    ("balanced accuracy", |evaluation| evaluation.tasks[0].balanced_accuracy),
    ("weighted F1", |evaluation| evaluation.tasks[0].weighted_f1),
    ("macro F1", |evaluation| evaluation.tasks[0].macro_f1),
];

fn compare(arguments: &Arguments, curricula: &[Curriculum], runs: &[Run]) -> ProgramResult {
    let of = |name: &str| runs.iter().filter(|run| run.plan.name == name).collect::<Vec<_>>();
    if let [run] = runs {
        say!("\n{}, test accuracy in per cent, {} cases\n", run.plan.name, run.predictions.len());
        print_table(&[(run.plan.name.clone(), run.evaluation.clone())]);
    }
    say!("\nin per cent, mean and deviation of {} runs\n", arguments.repeats.max(1));
    say_part!("{:32}", "");
    MEASURES.iter().for_each(|(name, _)| say_part!("{name:>20}"));
    say!();
    for curriculum in curricula {
        say_part!("{:32}", curriculum.name());
        for measure in &MEASURES {
            let values: Vec<f64> = of(curriculum.name()).iter().map(|run| run.percent(measure)).collect();
            say_part!("{:>20}", MeanDeviation::of(&values).map_or_else(String::new, |value| value.to_string()));
        }
        say!();
    }
    let synthetic = runs.iter().any(|run| run.plan.stages.iter().any(|stage| stage.set.synthetic));
    let mut report = Report::new("Fine-tuning by curricula").synthetic(synthetic);
    if curricula.len() > 1 && arguments.repeats > 1 {
        let names: Vec<String> = curricula.iter().map(|curriculum| curriculum.name().to_owned()).collect();
        let columns: Vec<Vec<&Run>> = names.iter().map(|name| of(name)).collect();
        let blocks: Vec<String> = columns[0].iter().map(|run| format!("seed {}", run.seed)).collect();
        for measure in &MEASURES {
            let scores = Array2::from_shape_fn((blocks.len(), names.len()), |(block, column)| {
                columns[column][block].percent(measure)
            });
            let title = format!("{}, per cent", measure.0);
            let comparison = Comparison::of(&names, &blocks, &scores)?;
            say!("\n{title}\n\n{comparison}");
            report = report.comparison(title, &comparison, None);
        }
    }
    if curricula.len() > 1 {
        let mut tests = Vec::new();
        for (first, one) in curricula.iter().enumerate() {
            for other in &curricula[first + 1..] {
                if let Some(test) = paired(&of(one.name()), &of(other.name()))? {
                    tests.push((format!("{} – {}", one.name(), other.name()), test));
                }
            }
        }
        let adjusted = holm(&tests.iter().map(|(_, test)| test.p).collect::<Vec<_>>())?;
        say!("\nMcNemar's test on the test cases of all runs together: cases that only one of two has right\n");
        for ((name, test), adjusted) in tests.iter().zip(adjusted) {
            let (first, second) = (test.first_only, test.second_only);
            say!("{name:56} {first:>5} {second:>5}   p = {:.2e}, Holm {adjusted:.2e}", test.p);
            report = report.note(format!(
                "McNemar, {name}: {first} and {second} cases that one alone has right, p = {:.2e} (Holm {adjusted:.2e}).",
                test.p
            ));
        }
        report.write(arguments.out.join("report.html"))?;
    }
    say!(
        "\nwritten to {}: for each run report.html, metrics.json, predictions.csv and bundles of its stages",
        arguments.out.display()
    );
    Ok(())
}

/// The test of two curricula on the cases of all their runs; none where these are not the same cases.
fn paired(one: &[&Run], other: &[&Run]) -> Result<Option<McNemar>, Box<dyn std::error::Error>> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (one, other) in one.iter().zip(other) {
        // Merged sets put the name of a case's set before its own.
        let ids = |run: &Run| -> Vec<String> {
            let own = |id: String| id.rsplit_once(':').map_or(id.clone(), |(_, own)| own.to_owned());
            run.predictions.ids.iter().map(|id| own(id.to_string())).collect()
        };
        if ids(one) != ids(other) {
            return Ok(None);
        }
        let hits = |run: &Run| -> Vec<bool> {
            let right = |case: usize| Some(run.predictions.predicted(case, 0)) == run.predictions.labels[case][0];
            (0..run.predictions.len()).map(right).collect()
        };
        first.extend(hits(one));
        second.extend(hits(other));
    }
    Ok(Some(McNemar::of_hits(&first, &second)?))
}
