//! The verb `evaluate`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use dermafuse::data::{Corruption, DataError, MissingFields, Severity};
use dermafuse::eval::{Overall, text_table};
use dermafuse::infer::BundleDescription;
use dermafuse::networks::Modality;
use dermafuse::recipes::{
    CorruptionBenchmark, FittedToAnswers, Progress, Results, TerminalProgress, calibration_change, classes_sentence,
    evaluate_subsets, published_rows,
};
use dermafuse::schema::{RunFolder, RunMode, read_regular_file};
use serde_json::Value;

use crate::data::DataArguments;
use crate::engine::EngineArgument;
use crate::failure::ProgramResult;
use crate::model::ModelArguments;
use crate::part::PartArguments;
use crate::prevalence::{PrevalenceArgument, assume, decide, estimated};
use crate::terminal::{print_note, print_result, say, say_part};

/// The longest `metrics.json` that is printed.
const MAX_METRICS: u64 = 1 << 30;

/// Evaluate a saved model on labelled cases and write a report.
///
/// It writes report.html, metrics.json, predictions.csv (one line a case) and stages.csv (the predictions of every
/// stage). Classes, fields and tasks are matched by their names; a class map is for a data set with other classes. Where the model
/// lies beside the metrics.json of its run, the numbers of that stand beside those of these cases.
///
/// With --subsets the model is asked about the same cases again, from each subset of photo, dermoscopic image and record.
///
/// With --corruptions the model is asked about the same cases again with bad images: noise, blur, light, compression, and what
/// disturbs dermoscopic images. It then writes corruptions.csv too.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    part: PartArguments,
    #[command(flatten)]
    engine: EngineArgument,
    /// Take fields that the data set does not have for not recorded, instead of refusing the set.
    #[arg(long)]
    allow_missing_fields: bool,
    /// How frequent classes are where the cases are from, as TASK.CLASS=SHARE,… (such as diagnosis.MEL=0.05), as a .toml file, or
    /// `estimate`, from the cases themselves without their labels. The probabilities are corrected to it, in a row of its own.
    #[arg(long, value_name = "SHARES|FILE|estimate", conflicts_with = "corruptions")]
    prevalence: Option<PrevalenceArgument>,
    /// The operating point of the whole classification at which the model answers, by its name (`show` lists them), or `none`.
    #[arg(long, value_name = "POINT", conflicts_with = "prevalence")]
    point: Option<String>,
    /// Evaluate each subset of the model's inputs too: cases that have all of it, with the rest taken away.
    #[arg(long)]
    subsets: bool,
    /// Evaluate corrupted images too: all corruptions, or those of a list of names with commas between them.
    #[arg(long, value_name = "all|NAME,…", num_args = 0..=1, default_missing_value = "all")]
    corruptions: Option<Corruptions>,
    /// How severe the corruptions are, from 1 to 5, with commas between them.
    #[arg(long, value_name = "1-5,…", value_delimiter = ',', default_value = "1,2,3,4,5", requires = "corruptions")]
    severities: Vec<Severity>,
    /// Corrupt only the clinical or only the dermoscopic images, instead of both.
    #[arg(long, value_name = "VIEW", requires = "corruptions")]
    corrupt_only: Option<Modality>,
    /// The seed of the corruptions' draws, which depend on it and on the name of a case.
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "corruptions")]
    corruption_seed: u64,
    /// The folder for everything that is written.
    #[arg(long, value_name = "DIR", default_value = "runs/evaluate")]
    out: PathBuf,
    /// Print metrics.json instead of a table.
    #[arg(long)]
    json: bool,
}

/// Corruptions that are named in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Corruptions(Vec<Corruption>);

impl FromStr for Corruptions {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "all" => Ok(Self(Corruption::ALL.into())),
            names => names.split(',').map(str::parse).collect::<Result<_, _>>().map(Self),
        }
    }
}

pub(crate) fn evaluate(arguments: &Arguments) -> ProgramResult {
    let mut bundle = arguments.engine.run(arguments.model.load()?)?;
    if arguments.allow_missing_fields {
        let description = &mut bundle.description;
        description.encoder = description.encoder.clone().with_missing_fields(MissingFields::Allow);
    }
    let benchmark = arguments.corruptions.as_ref().map(|Corruptions(corruptions)| CorruptionBenchmark {
        corruptions: corruptions.clone(),
        severities: arguments.severities.clone(),
        only: arguments.corrupt_only,
        seed: arguments.corruption_seed,
    });
    if let Some(benchmark) = &benchmark {
        benchmark.check(&bundle)?;
    }
    let (set, map) = arguments.data.load()?;
    let sums = match &map {
        Some(map) => map.sums(&bundle.description.tasks)?,
        None => None,
    };
    if benchmark.is_some() && sums.is_some() {
        return Err("--corruptions needs the model's own classes, and the class map adds them up".into());
    }
    if arguments.prevalence == Some(PrevalenceArgument::Estimate) && sums.is_some() {
        return Err(
            "a prevalence is estimated of the model's own classes, and the class map adds them up; state it".into()
        );
    }
    decide(&mut bundle, arguments.point.as_deref())?;
    assume(&mut bundle, arguments.prevalence.as_ref())?;
    if arguments.subsets && sums.is_some() {
        return Err("--subsets needs the model's own classes, and the class map adds them up".into());
    }
    let development = DevelopmentNumbers::beside(&arguments.model.path()?, &bundle.description);
    let mut notes = vec![format!("Model trained on {}.", bundle.description.data_set)];
    notes.extend(set.notes.iter().cloned());
    notes.extend(development.as_ref().map(|numbers| numbers.sentence(sums.is_some())));
    let (cases, said) = arguments.part.cases(&set)?;
    notes.extend(said);

    // What an earlier evaluation left there is replaced; what something else left is not.
    let out = &arguments.out;
    let mut folder = RunFolder::open(out, "evaluate", RunMode { resume: true, shared: false })?;
    let mut terminal = TerminalProgress::default();
    terminal.step(&format!("predicting {} cases of {}", cases.len(), set.name));
    let progress = |done| terminal.predicted(done, cases.len());
    let answers = match &sums {
        Some(sums) => bundle.predict_sums_all_looks(&cases, sums, progress)?,
        None => bundle.predict_all_looks(&cases, progress)?,
    };
    let answers = estimated(&bundle, arguments.prevalence.as_ref(), answers)?;
    let answered = set.view(&answers.rows)?;
    notes.extend(answers.notes.iter().cloned());
    let corruptions = match &benchmark {
        Some(benchmark) => Some(benchmark.run(&bundle, &set, &answers, &mut terminal)?),
        None => None,
    };
    let subsets = match arguments.subsets {
        true => Some(evaluate_subsets(&bundle, &answered, &mut terminal)?),
        false => None,
    };
    notes[1..].iter().for_each(|note| print_note(note));
    print_note(&answers.seen.to_string());
    let published = published_rows(&set, &bundle.description.network, &bundle.two_stage);
    let BundleDescription { groups, prediction_sets, .. } = &bundle.description;
    let of_own_classes = sums.is_none();
    let is_asked = !groups.is_empty() || prediction_sets.is_some();
    if is_asked && !of_own_classes {
        notes.push(
            "The model's groups and sets are of its own classes, which the class map adds up: they are left out."
                .into(),
        );
    }
    let fitted = FittedToAnswers { groups, prediction_sets: prediction_sets.as_ref() };
    let fitted = [(answers.last().clone(), if of_own_classes { fitted } else { FittedToAnswers::default() })];
    let points = match of_own_classes {
        true => bundle.two_stage.at_points(&answers.stages).map_err(dermafuse::infer::InferError::from)?,
        false => Vec::new(),
    };
    let results = Results {
        title: "Evaluation of a saved model",
        cases: answered.clone(),
        rows: &answers.stages,
        images: &answers.looks,
        config: serde_json::to_value(&bundle.description)?,
        published: published.as_ref(),
        leaky_inputs: bundle.description.encoder.uses_post_diagnosis().into_iter().map(str::to_owned).collect(),
        curves: Vec::new(),
        weights: &[],
        notes,
        failed: &answers.failed,
        seen: Some(answers.seen),
        engine: Some(answers.engine.clone()),
        trained_on: trained_on(&bundle.description),
        fitted: &fitted,
        points: &points,
        subsets,
        corruptions: corruptions.as_ref(),
        features: None,
    };
    folder.begin()?;
    // What an earlier evaluation says of corrupted images is of other answers.
    let earlier = out.join("corruptions.csv");
    if corruptions.is_none() && earlier.is_file() {
        fs::remove_file(&earlier).map_err(|error| format!("{}: {error}; remove it", earlier.display()))?;
    }
    let evaluations = results.write(out)?;
    folder.finish()?;
    if arguments.json {
        return print_result(&String::from_utf8(read_regular_file(&out.join("metrics.json"), MAX_METRICS)?)?);
    }
    say_part!("{}", text_table(&evaluations));
    if let Some(change) = calibration_change(&evaluations) {
        say_part!("\n{}", change.table());
    }
    say_groups_and_sets(&results)?;
    let more = match &corruptions {
        Some(outcome) => {
            say_part!("\n{}", outcome.evaluation.table());
            ", corruptions.csv"
        }
        None => "",
    };
    if let (Some(numbers), Some((_, here))) = (&development, evaluations.last()) {
        say!("\n{}", numbers.sentence(sums.is_some()));
        say!("On these {} cases: {}.", here.cases, Scores::from(&here.overall));
    }
    say!("\nwritten to {}: report.html, metrics.json, predictions.csv, stages.csv{more}", out.display());
    Ok(())
}

/// Prints the groups of classes, the sets and the subsets of the inputs, where there are any.
fn say_groups_and_sets(results: &Results<'_>) -> ProgramResult {
    for group in results.class_groups()? {
        say_part!("\n{group}\n");
    }
    if let Some(sets) = results.prediction_sets()? {
        say_part!("\n{sets}\n");
    }
    if let Some(subsets) = &results.subsets {
        say_part!("\n{}", subsets.table());
    }
    Ok(())
}

/// What the model was trained on, in sentences.
fn trained_on(description: &BundleDescription) -> Vec<String> {
    let BundleDescription { data_set, synthetic, tasks, known_cases, .. } = description;
    let drawn = if *synthetic { ", whose images are generated," } else { "" };
    let [training, selection, _] = known_cases.counts();
    let cases = match known_cases.is_empty() {
        true => format!("Cases of {data_set}{drawn}; the model does not say which."),
        false => format!("{training} cases of {data_set}{drawn} trained it, {selection} chose its settings."),
    };
    vec![cases, classes_sentence(tasks)]
}

/// What a run measured of its model when it had trained it.
struct DevelopmentNumbers {
    file: PathBuf,
    /// Whether they are those of the models of folds, beside one that learnt from all cases.
    of_folds: bool,
    cases: u64,
    scores: Scores,
}

/// Means over the tasks, from 0 to 1.
#[derive(Clone, Copy)]
struct Scores {
    accuracy: Option<f64>,
    balanced_accuracy: Option<f64>,
    auc: Option<f64>,
}

impl DevelopmentNumbers {
    /// Those of the last row of the `metrics.json` that lies beside the model; `None` where there is none that can be read, since
    /// the numbers are said beside others and nothing depends on them.
    fn beside(model: &Path, description: &BundleDescription) -> Option<Self> {
        let folder = if model.is_dir() { model } else { model.parent()? };
        let file = folder.join("metrics.json");
        let read: Value = serde_json::from_slice(&read_regular_file(&file, MAX_METRICS).ok()?).ok()?;
        let evaluation = &read["rows"].as_array()?.last()?["evaluation"];
        let score = |name: &str| evaluation["overall"][name].as_f64();
        let scores =
            Scores { accuracy: score("accuracy"), balanced_accuracy: score("balanced_accuracy"), auc: score("auc") };
        let of_folds = description.card.as_ref().is_some_and(|card| card.expected.is_some());
        Some(Self { file, of_folds, cases: evaluation["cases"].as_u64()?, scores })
    }

    fn sentence(&self, summed: bool) -> String {
        let Self { file, of_folds, cases, scores } = self;
        let classes = if summed { " These are numbers of its own classes, and not of their sums." } else { "" };
        let whose = if *of_folds { ", answered by the models of its folds" } else { "" };
        format!("On the {cases} test cases of its own run{whose} ({}): {scores}.{classes}", file.display())
    }
}

impl From<&Overall> for Scores {
    fn from(overall: &Overall) -> Self {
        Self { accuracy: overall.accuracy, balanced_accuracy: overall.balanced_accuracy, auc: overall.auc }
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |score: Option<f64>| score.map_or_else(|| "n/a".to_owned(), |score| format!("{:.1}", 100.0 * score));
        let [accuracy, balanced, auc] = [self.accuracy, self.balanced_accuracy, self.auc].map(text);
        write!(f, "accuracy {accuracy}, balanced accuracy {balanced}, AUC {auc}")
    }
}
