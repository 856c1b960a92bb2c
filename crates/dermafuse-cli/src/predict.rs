//! The verb `predict`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use dermafuse::data::{ImageSource, LoadOptions, Table, described};
use dermafuse::eval::{AnswerFormat, AnswerTable};
use dermafuse::infer::{Bundle, Questions};
use dermafuse::networks::{Modality, Network};
use dermafuse::recipes::{Progress, TerminalProgress};
use dermafuse::schema::write_whole_file;

use crate::failure::{Failure, ProgramResult};
use crate::model::{ModelArguments, field_value};
use crate::terminal::{print_error, print_note, print_result};

/// Predict cases without labels, one line a case.
///
/// The cases are one case from its files, the rows of a table, or the images of a folder. A line has the class and all
/// probabilities of each task, what the case was predicted from, and a status. A case that cannot be read has the
/// reason as its status, and the others are answered. The program fails if it can answer none.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("cases").required(true).multiple(true)))]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The clinical photo of a single case; may be given several times for a case with several.
    #[arg(long, value_name = "FILE", group = "cases")]
    clinical: Vec<PathBuf>,
    /// The dermoscopic image of a single case; may be given several times for a case with several.
    #[arg(long, value_name = "FILE", group = "cases")]
    dermoscopic: Vec<PathBuf>,
    /// What is known of the patient of a single case, as NAME=VALUE with the name of a field of the model; may be given
    /// several times.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field_value, group = "cases")]
    fields: Vec<(String, String)>,
    /// A table with a row for each case. Its columns are `case` or `id`, `clinical` and `dermoscopic` (paths of images,
    /// with `;` between several), and
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
    /// How the answers are written.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// The file for the answers; they are printed if it is not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One line a case, for spreadsheets.
    Csv,
    /// One JSON object with all cases and what must be said of them.
    Json,
    /// One JSON object a line and case.
    Jsonl,
}

pub(crate) fn predict(arguments: &Arguments) -> ProgramResult {
    let bundle = arguments.model.load()?;
    let mut terminal = TerminalProgress::default();
    let (answers, said, all) = match &arguments.described {
        Some(file) => {
            let images = arguments.images.clone().map_or(ImageSource::BelowRoot, ImageSource::Folder);
            let options = LoadOptions { images, ..LoadOptions::default() };
            let set = described::load_unlabelled(file, arguments.table.as_deref(), &options)?;
            set.notes.iter().for_each(|note| print_note(note));
            let rows: Vec<usize> = (0..set.len()).collect();
            let answers = bundle.predict(&set, &rows, |done| terminal.predicted(done, rows.len()))?;
            (answers, set.notes, rows.len())
        }
        None => {
            let questions = questions(arguments, &bundle)?;
            questions.notes().iter().for_each(|note| print_note(note));
            let asked = questions.rows().len();
            let answers = bundle.answer(&questions, |done| terminal.predicted(done, asked))?;
            (answers, questions.notes().to_vec(), questions.len())
        }
    };
    let table = AnswerTable::new(answers.last(), &answers.rows, &answers.failed)?;

    let mut notes = answers.notes.clone();
    if answers.seen.trained + answers.seen.selected > 0 {
        notes.push(answers.seen.to_string());
    }
    notes.iter().for_each(|note| print_note(note));
    let notes = [said, notes].concat();
    let text = table.to_text(arguments.format.into(), &notes);
    let to = match &arguments.out {
        Some(file) => {
            write_whole_file(file, text.as_bytes())?;
            format!(", written to {}", file.display())
        }
        None => {
            print_result(&text)?;
            String::new()
        }
    };
    print_error(format_args!("{} of {} cases answered{to}\n", answers.rows.len(), all));
    Ok(())
}

/// The cases that the model is asked about.
fn questions(arguments: &Arguments, bundle: &Bundle) -> Result<Questions, Failure> {
    let mut questions = bundle.questions();
    if let Some(file) = &arguments.table {
        let images = arguments.images.as_deref().or(file.parent()).unwrap_or(Path::new(""));
        questions.add_table(&Table::read(file)?, images, &arguments.missing)?;
    } else if let Some(folder) = &arguments.folder {
        questions.add_folder(folder, view_of(arguments.view, bundle)?)?;
    } else {
        let (clinical, dermoscopic) = (&arguments.clinical, &arguments.dermoscopic);
        questions.add(case_name(clinical, dermoscopic), clinical, dermoscopic, &arguments.fields)?;
    }
    Ok(questions)
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
        }
    }
}
