//! The verb `predict`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use dermafuse::data::{ImageSource, LoadOptions, Table, described};
use dermafuse::eval::{AnswerFormat, AnswerTable};
use dermafuse::infer::{Answers, Bundle, Questions};
use dermafuse::networks::{Modality, Network};
use dermafuse::recipes::{Progress, ShareOutcome, SharedCases, SharedPrediction, TerminalProgress, answer_remarks};
use dermafuse::schema::{RunFolder, RunMode, Shard, write_whole_file};

use crate::engine::EngineArgument;
use crate::failure::{Failure, ProgramResult};
use crate::lesion_boxes::LesionBoxes;
use crate::model::{ModelArguments, field_value};
use crate::prevalence::{PrevalenceArgument, assume, decide, estimated};
use crate::terminal::{print_error, print_note, print_result};

/// What the folder of a share says that ran there.
pub(crate) const PROGRAM: &str = "predict";

/// Predict cases without labels, one line a case.
///
/// The cases are one case from its files, the rows of a table, or the images of a folder. A line has the class and all
/// probabilities of each task, what the case was predicted from, a status, what is wrong with its pictures, and, if the
/// model knows, how far it is from the cases that trained it (per cent of the validation cases that are at most as
/// far). A case that cannot be read has the
/// reason as its status, and the others are answered. The program fails if it can answer none.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("cases").required(true).multiple(true)))]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    engine: EngineArgument,
    /// The clinical photo of a single case; may be given several times for a case with several.
    #[arg(long, value_name = "FILE", group = "cases")]
    clinical: Vec<PathBuf>,
    /// The dermoscopic image of a single case; may be given several times for a case with several.
    #[arg(long, value_name = "FILE", group = "cases")]
    dermoscopic: Vec<PathBuf>,
    #[command(flatten)]
    lesions: LesionBoxes,
    /// What is known of the patient of a single case, as NAME=VALUE with the name of a field of the model; may be given
    /// several times.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field_value, group = "cases")]
    fields: Vec<(String, String)>,
    /// A table with a row for each case. Its columns are `case` or `id`, `clinical` and `dermoscopic` (paths of images,
    /// with `;` between several), `clinical_box` and `dermoscopic_box` (where the lesion is in them, x,y,width,height in pixels, with `;`
    /// between several), `clinical_mask` and `dermoscopic_mask` (paths of masks instead), and
    /// the names of the model's fields.
    #[arg(long, value_name = "CSV", group = "cases", conflicts_with_all = ["clinical", "dermoscopic", "fields"])]
    table: Option<PathBuf>,
    /// The folder that the paths in the table start from; the table's own, or that of the description, if not given.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["clinical", "dermoscopic", "fields", "folder"])]
    images: Option<PathBuf>,
    /// A word that stands for "not recorded" in the table, besides nothing at all; may be given several times.
    #[arg(long, value_name = "WORD", requires = "table")]
    missing: Vec<String>,
    /// The file that describes the data set of the model: the table then has the columns of that set, but for the labels, and
    /// they are read in the same way. Without a table, the set's own is asked about.
    #[arg(long, value_name = "FILE", group = "cases",
          conflicts_with_all = ["clinical", "dermoscopic", "fields", "folder", "missing"])]
    described: Option<PathBuf>,
    /// A folder of which each image file is a case.
    #[arg(long, value_name = "DIR", group = "cases", conflicts_with_all = ["clinical", "dermoscopic", "fields", "table"])]
    folder: Option<PathBuf>,
    /// What the images of the folder are, clinical or dermoscopic, where the model looks at both.
    #[arg(long, value_name = "VIEW", requires = "folder")]
    view: Option<Modality>,
    /// How the answers are written; csv if it is not given.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How frequent classes are where the cases are from, as TASK.CLASS=SHARE,… (such as diagnosis.MEL=0.05), as a .toml file, or
    /// `estimate`, from 50 cases or more themselves. The probabilities are corrected to it. Classes that are not named share the
    /// rest.
    #[arg(long, value_name = "SHARES|FILE|estimate")]
    prevalence: Option<PrevalenceArgument>,
    /// The operating point of the whole classification at which the model answers, by its name (`show` lists them), or `none`.
    #[arg(long, value_name = "POINT", conflicts_with = "prevalence")]
    point: Option<String>,
    /// Answer a share of the cases only, from 1/N to N/N, into part files; `merge` joins the folders of all shares. All cases of a patient
    /// (column `patient`) are in one share. What an earlier run finished, of the same cases, model and engine, is not done again. A table
    /// is read part by part, so it may be larger than the memory; 1/1 is all of it.
    #[arg(long, value_name = "I/N", requires = "out")]
    shard: Option<Shard>,
    /// How many cases of a share are answered before they are written.
    #[arg(long, value_name = "CASES", requires = "shard", default_value_t = 10_000, value_parser = at_least_one)]
    part_cases: usize,
    /// The file for the answers; they are printed if it is not given. Of a share it is a folder.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// One line a case, for spreadsheets.
    #[default]
    Csv,
    /// One JSON object with all cases and what must be said of them.
    Json,
    /// One JSON object a line and case.
    Jsonl,
    /// A Parquet file, if the program was built with the feature `parquet`.
    Parquet,
}

pub(crate) fn predict(arguments: &Arguments) -> ProgramResult {
    let format = arguments.format.unwrap_or_default();
    AnswerFormat::from(format).check()?;
    if let (Format::Parquet, None) = (format, &arguments.out) {
        return Err("a Parquet file is no text to print: give a file with --out".into());
    }
    if arguments.shard.is_some() && arguments.prevalence == Some(PrevalenceArgument::Estimate) {
        return Err("a prevalence is estimated from all cases, and --shard asks about a share of them; state it".into());
    }
    let mut bundle = arguments.engine.run(arguments.model.load()?)?;
    decide(&mut bundle, arguments.point.as_deref())?;
    assume(&mut bundle, arguments.prevalence.as_ref())?;
    match (arguments.shard, &arguments.out) {
        (Some(shard), Some(folder)) => answer_share(&bundle, arguments, shard, folder),
        (Some(_), None) => Err("a share is written to a folder: give it with --out".into()),
        (None, out) => {
            let questions = questions(arguments, &bundle)?;
            questions.notes().iter().for_each(|note| print_note(note));
            answer_all(&bundle, &questions, arguments, out.as_deref())
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "give a number from 1".to_owned())
}

fn answer_all(bundle: &Bundle, questions: &Questions, arguments: &Arguments, out: Option<&Path>) -> ProgramResult {
    let format = arguments.format.unwrap_or_default();
    let (mut terminal, asked) = (TerminalProgress::default(), questions.asked().len());
    let answers = bundle.answer(questions, |done| terminal.predicted(done, asked))?;
    let answers = estimated(bundle, arguments.prevalence.as_ref(), answers)?;
    let table = AnswerTable::with_remarks(answers.last(), &answers.rows, &answers.failed, &answer_remarks(&answers))?;
    let notes = notes_of(questions, &answers);
    let bytes = table.to_bytes(format.into(), &notes)?;
    let to = match out {
        Some(file) => {
            write_whole_file(file, &bytes)?;
            format!(", written to {}", file.display())
        }
        None => {
            print_result(&bytes)?;
            String::new()
        }
    };
    print_error(format_args!("{} of {} cases answered{to}\n", answers.rows.len(), questions.len()));
    Ok(())
}

/// Answers a share of the cases into a folder.
fn answer_share(bundle: &Bundle, arguments: &Arguments, shard: Shard, out: &Path) -> ProgramResult {
    let format = arguments.format.unwrap_or_default().into();
    // A table may be larger than the memory; other cases are looked up first.
    let asked;
    let cases = match (&arguments.table, &arguments.described) {
        (Some(file), None) => {
            SharedCases::Table { file, images: images_of(arguments, file), missing: &arguments.missing }
        }
        _ => {
            asked = questions(arguments, bundle)?;
            SharedCases::Questions(&asked)
        }
    };
    let prediction = SharedPrediction { bundle, cases, shard, format, part_cases: arguments.part_cases };
    prediction.check()?;
    // What an earlier run of the share left there goes on.
    let mut folder = RunFolder::open(out, PROGRAM, RunMode { resume: true, shared: true })?;
    folder.begin()?;
    let mut terminal = TerminalProgress::default();
    let ShareOutcome { parts, found, answered, failed, notes } =
        prediction.run(out, |done| terminal.passing(&format!("{done} cases answered")))?;
    notes.iter().for_each(|note| print_note(note));
    let before = match found {
        0 => String::new(),
        found if found == parts => ", all there already; remove the folder to ask again".to_owned(),
        found => format!(", {found} there already"),
    };
    print_error(format_args!(
        "{answered} of {} cases answered; share {shard} is in {} ({parts} parts{before})\n",
        answered + failed,
        out.display()
    ));
    Ok(())
}

/// What must be said of the answers. All of it is printed but what was said of the questions.
fn notes_of(questions: &Questions, answers: &Answers) -> Vec<String> {
    let seen = (answers.seen.trained + answers.seen.selected > 0).then(|| answers.seen.to_string());
    let notes: Vec<String> = answers.notes.iter().cloned().chain(seen).collect();
    notes.iter().for_each(|note| print_note(note));
    [questions.notes(), &notes].concat()
}

/// The cases that the model is asked about.
fn questions(arguments: &Arguments, bundle: &Bundle) -> Result<Questions, Failure> {
    if let Some(file) = &arguments.described {
        let images = arguments.images.clone().map_or(ImageSource::BelowRoot, ImageSource::Folder);
        let options = LoadOptions { images, ..LoadOptions::default() };
        let set = described::load_unlabelled(file, arguments.table.as_deref(), &options)?;
        return Ok(bundle.questions_of(set));
    }
    let mut questions = bundle.questions();
    if let Some(file) = &arguments.table {
        questions.add_table(&Table::read(file)?, images_of(arguments, file), &arguments.missing)?;
    } else if let Some(folder) = &arguments.folder {
        questions.add_folder(folder, view_of(arguments.view, bundle)?)?;
    } else {
        let (clinical, dermoscopic) = (&arguments.clinical, &arguments.dermoscopic);
        let (first, second) = arguments.lesions.images(clinical, dermoscopic)?;
        questions.add(case_name(clinical, dermoscopic), &first, &second, &arguments.fields)?;
    }
    Ok(questions)
}

/// The folder that paths in a table start from.
fn images_of<'a>(arguments: &'a Arguments, table: &'a Path) -> &'a Path {
    arguments.images.as_deref().or(table.parent()).unwrap_or(Path::new(""))
}

/// What a single case is called: as its first image, without the ending.
pub(crate) fn case_name(clinical: &[PathBuf], dermoscopic: &[PathBuf]) -> String {
    let name = clinical.iter().chain(dermoscopic).next().and_then(|file| file.file_stem());
    name.map_or_else(|| "case".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What the images of a folder are: what was said, or what the model looks at if that is one of them.
fn view_of(said: Option<Modality>, bundle: &Bundle) -> Result<Modality, String> {
    let looks_at = bundle.network.modalities();
    match (said, looks_at.clinical, looks_at.dermoscopic) {
        (Some(view), _, _) => Ok(view),
        (None, true, false) => Ok(Modality::Clinical),
        (None, false, true) => Ok(Modality::Dermoscopic),
        (None, true, true) => {
            Err("the model looks at clinical and dermoscopic images: say with --view which the folder has".into())
        }
        (None, false, false) => Err("the model looks at no image: give it a --table, or --field NAME=VALUE".into()),
    }
}

impl From<Format> for AnswerFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Json => Self::Json,
            Format::Jsonl => Self::JsonLines,
            Format::Parquet => Self::Parquet,
        }
    }
}
