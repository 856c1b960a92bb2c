//! The full two-stage recipe of FusionM4Net on real data:
//!
//! ```text
//! cargo run --release --example fusionm4net -- --dataset derm7pt --data release_v0 --weights resnet50.safetensors
//! ```
//!
//! A run that was stopped continues with `--resume` and ends with the same numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{DataSetKind, MetadataRoles, Split};
use dermafuse::ensemble::{ClassifierKind, Smoothing, WeightSearchMethod, WeightSearchVariant};
use dermafuse::infer::MODEL_FILE;
use dermafuse::networks::{FusionNetConfig, NetworkConfig};
use dermafuse::recipes::{FusionM4Net, Results, Workplace, majority, published_rows};
use dermafuse::schema::{FuseSpace, RunFolder, RunMode, write_whole_file};
use dermafuse_examples::{
    ImagesArgument, ProgramResult, Terminal, TrainingArguments, data_set_kind, print_table,
    published_or_stratified_split, run, say,
};

/// Trains both stages of FusionM4Net, tests them, and writes metrics.json, predictions.csv, report.html and a model bundle.
#[derive(Parser)]
struct Arguments {
    /// Data set; its layout is described in docs/datasets.md
    #[arg(long, value_parser = data_set_kind())]
    dataset: DataSetKind,
    /// Folder of the data set
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    images: ImagesArgument,
    /// Architecture of both backbones; `dermafuse models` lists them
    #[arg(long, default_value = "resnet50")]
    backbone: BackboneKind,
    #[command(flatten)]
    training: TrainingArguments,
    /// Metadata columns that are used
    #[arg(long, value_enum, default_value_t = MetadataName::Paper)]
    metadata: MetadataName,
    /// Candidate weights of each branch
    #[arg(long, default_value_t = 50)]
    grid: usize,
    /// Which weight search
    #[arg(long, value_enum, default_value_t = SearchName::Clean)]
    search: SearchName,
    /// Average branch weights over samples of the validation cases: 200 bootstrap samples, or leaving out each of 5 folds
    #[arg(long, value_enum, default_value_t = SmoothingName::None)]
    smoothing: SmoothingName,
    /// Where branches are averaged
    #[arg(long, value_enum, default_value_t = SpaceName::Logits)]
    space: SpaceName,
    /// Classifiers of the second stage
    #[arg(long, value_enum, default_value_t = ClassifierName::Svm)]
    classifier: ClassifierName,
    /// Stop after the first stage
    #[arg(long)]
    no_second_stage: bool,
    /// Number of the run, which its seeds follow from
    #[arg(long, default_value_t = 0)]
    run: u64,
    /// Seed of the split of a data set that publishes none
    #[arg(long, default_value_t = 0)]
    split_seed: u64,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/fusionm4net")]
    out: PathBuf,
    /// Continue the run in the folder
    #[arg(long)]
    resume: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum MetadataName {
    /// All that the paper uses, also what follows from the diagnosis (leaks; the report says so)
    Paper,
    /// Only what is known before the diagnosis
    PreDiagnosis,
}

#[derive(Clone, Copy, ValueEnum)]
enum SearchName {
    Clean,
    Released2021August,
    ReleasedHead,
    /// The best of all weights; with test-time augmentation only for averages of probabilities
    Exact,
    /// The clean grid, and the best weights around its best
    Refined,
}

#[derive(Clone, Copy, ValueEnum)]
enum SmoothingName {
    None,
    Bootstrap,
    Folds,
}

#[derive(Clone, Copy, ValueEnum)]
enum SpaceName {
    Logits,
    Probabilities,
}

#[derive(Clone, Copy, ValueEnum)]
enum ClassifierName {
    Svm,
    Logistic,
    Mlp,
}

fn main() -> ExitCode {
    run(|| fusionm4net(&Arguments::parse()))
}

fn recipe(arguments: &Arguments, classes: Vec<usize>) -> FusionM4Net {
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(arguments.backbone, classes));
    let mut recipe = FusionM4Net::as_released(network, arguments.training.image_size, arguments.run);
    arguments.training.apply(&mut recipe.first_stage);
    recipe.metadata = match arguments.metadata {
        MetadataName::Paper => MetadataRoles::IncludePostDiagnosis,
        MetadataName::PreDiagnosis => MetadataRoles::PreDiagnosis,
    };
    recipe.weights.steps = arguments.grid;
    recipe.weights.method = match arguments.search {
        SearchName::Clean | SearchName::Released2021August | SearchName::ReleasedHead => WeightSearchMethod::Grid,
        SearchName::Exact => WeightSearchMethod::Exact,
        SearchName::Refined => WeightSearchMethod::Refined,
    };
    recipe.weights.smoothing = match arguments.smoothing {
        SmoothingName::None => Smoothing::None,
        SmoothingName::Bootstrap => Smoothing::Bootstrap { resamples: 200, seed: arguments.run },
        SmoothingName::Folds => Smoothing::Folds { folds: 5, seed: arguments.run },
    };
    recipe.weights.variant = match arguments.search {
        SearchName::Clean | SearchName::Exact | SearchName::Refined => WeightSearchVariant::Clean,
        SearchName::Released2021August => WeightSearchVariant::Released2021August,
        SearchName::ReleasedHead => WeightSearchVariant::ReleasedHead,
    };
    recipe.weights.space = match arguments.space {
        SpaceName::Logits => FuseSpace::Logits,
        SpaceName::Probabilities => FuseSpace::Probabilities,
    };
    recipe.classifier = (!arguments.no_second_stage).then_some(match arguments.classifier {
        ClassifierName::Svm => ClassifierKind::Svm,
        ClassifierName::Logistic => ClassifierKind::Logistic,
        ClassifierName::Mlp => ClassifierKind::Mlp,
    });
    recipe
}

fn fusionm4net(arguments: &Arguments) -> ProgramResult {
    let device = arguments.training.device.device()?;
    let set = arguments.dataset.load_with(&arguments.data, &arguments.images.options())?;
    let split = published_or_stratified_split(&set, arguments.split_seed)?;
    let mode = RunMode { resume: arguments.resume, shared: false };
    RunFolder::check(&arguments.out, "fusionm4net", mode)?;
    let Split { train, valid, test, .. } = &split;
    say!(
        "{}: {} cases, {} / {} / {} to train, validate, test",
        set.name,
        set.len(),
        train.len(),
        valid.len(),
        test.len()
    );
    set.notes.iter().for_each(|note| say!("  note: {note}"));

    let recipe = recipe(arguments, set.tasks.class_counts());
    let views = recipe.first_stage.augmentation.views().len();
    if matches!((arguments.search, arguments.space), (SearchName::Exact, SpaceName::Logits)) && views > 1 {
        return Err("`--search exact` needs `--space probabilities` or `--tta 0`".into());
    }
    let checkpoints = arguments.out.join("checkpoints");
    let cache = arguments.training.cache();
    let place = Workplace::on(&device).in_folder(&checkpoints, arguments.resume).with_cache(&cache);
    let place = place.with_lost_best(arguments.training.lost_best);
    let mut terminal = Terminal::default();
    let selected = recipe.select_cases(&set, &split, &device)?;
    recipe.check(&set, &split, place, &mut terminal)?;
    let mut folder = RunFolder::open(&arguments.out, "fusionm4net", mode)?;
    folder.begin()?;
    write_whole_file(&arguments.out.join("config.json"), &serde_json::to_vec_pretty(&recipe)?)?;
    split.save(arguments.out.join("split.json"), &set)?;
    let outcome = recipe.run(&set, &split, place, &mut terminal)?;

    outcome.notes.iter().for_each(|note| say!("  note: {note}"));
    let Split { train, test, .. } = &selected.split;
    let mut rows = vec![("majority".to_owned(), majority(&set, train, test)?)];
    rows.extend(outcome.rows);
    let leaky = outcome.bundle.description.encoder.uses_post_diagnosis();
    let published = published_rows(&set, &recipe.first_stage.network);
    let results = Results {
        title: "FusionM4Net",
        set: &set,
        cases: test,
        rows: &rows,
        images: &[],
        config: serde_json::to_value(&recipe)?,
        published: published.as_ref(),
        leaky_inputs: leaky.into_iter().map(str::to_owned).collect(),
        curves: vec![("all training cases", &outcome.full_history), ("half of them", &outcome.half_history)],
        failed: &[],
        seen: Some(outcome.bundle.description.known_cases.among(&set, test)),
        notes: [&set.notes[..], &selected.notes, &outcome.notes].concat(),
        features: None,
    };
    let evaluations = results.write(&arguments.out)?;
    outcome.bundle.save(arguments.out.join(MODEL_FILE))?;
    folder.finish()?;
    say!("\ntest accuracy in per cent, {} cases\n", test.len());
    print_table(&evaluations);
    say!(
        "\nwritten to {}: report.html, metrics.json, predictions.csv, {MODEL_FILE}, config.json, split.json",
        arguments.out.display()
    );
    Ok(())
}
