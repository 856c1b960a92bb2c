//! The proposal as the text of a file.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use dermafuse_schema::FieldRole;

use super::fields::FieldKindGuess;
use super::tasks::TaskGuess;
use super::{ColumnRole, FieldGuess, Guesses, ImageGuess};
use crate::Modality;

/// The longest line of a list that stays on one line.
const WIDTH: usize = 110;

/// The text of the file that is to lie in a folder; without one, of a file that may lie anywhere.
pub(super) fn text(guesses: &Guesses, folder: Option<&Path>) -> String {
    let mut text = Text(String::new());
    let file = guesses.file.file_name().unwrap_or(guesses.file.as_os_str()).to_string_lossy();
    text.comment(&format!(
        "A data set, as guessed from {file} ({} rows). Every guess has its reason: please check them.",
        guesses.rows
    ));
    text.line(&format!("name = {}", quoted(&guesses.name)));
    if !guesses.missing.is_empty() {
        text.comment("Words that are taken for \"not recorded\", in every column.");
        text.line(&format!("missing = {}", list(&guesses.missing)));
    }
    text.line("\n[cases]");
    text.line(&format!("file = {}", quoted(&path_from(folder, &guesses.file))));
    text.reason(guesses, &guesses.id, ColumnRole::Id);
    text.line(&format!("id = {}", quoted(&guesses.id)));
    for (role, columns) in &guesses.groups {
        text.reason(guesses, columns.last().expect("a group has a column"), *role);
        let value = if let [column] = &columns[..] { quoted(column) } else { list(columns) };
        text.line(&format!("{role} = {value}"));
    }
    for table in &guesses.tables {
        text.line("\n[[tables]]");
        text.line(&format!("name = {}", quoted(&table.name)));
        text.line(&format!("file = {}", quoted(&path_from(folder, &table.file))));
        text.line(&format!("key = {}", quoted(&table.key)));
        text.line(&format!("references = {}", quoted(&table.references)));
    }
    if !guesses.images.is_empty() {
        text.line("\n[images]");
        let folders: Vec<String> = guesses.folders.iter().map(|images| path_from(folder, images)).collect();
        text.line(&format!("folders = {}", list(&folders)));
        for ImageGuess { modality, column, only } in &guesses.images {
            let role = match modality {
                Modality::Clinical => ColumnRole::Clinical,
                Modality::Dermoscopic => ColumnRole::Dermoscopic,
            };
            text.reason(guesses, column, role);
            let value = match only {
                None => quoted(column),
                Some((view, word)) => {
                    format!("{{ column = {}, where = {{ {} = {} }} }}", quoted(column), quoted(view), quoted(word))
                }
            };
            text.line(&format!("{role} = {value}"));
        }
    }
    guesses.tasks.iter().for_each(|task| text.task(task));
    guesses.fields.iter().for_each(|field| text.field(field));
    let left_out: Vec<_> = guesses.columns.iter().filter(|column| column.role == ColumnRole::LeftOut).collect();
    if !left_out.is_empty() {
        text.line("");
        text.comment("Left out:");
        for column in left_out {
            let of = column.table.as_ref().map_or_else(String::new, |table| format!(" of {table}"));
            text.comment(&format!("- `{}`{of}: {}", column.name, column.reason));
        }
    }
    if !guesses.open.is_empty() {
        text.line("");
        text.comment("To be decided or looked at:");
        guesses.open.iter().for_each(|open| text.comment(&format!("- {open}")));
    }
    text.0
}

struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("writing to a string does not fail");
    }

    fn comment(&mut self, text: &str) {
        // A name may hold what ends a line.
        let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.line(&format!("# {text}"));
    }

    fn reason(&mut self, guesses: &Guesses, name: &str, role: ColumnRole) {
        if let Some(column) = guesses.columns.iter().find(|column| column.name == name && column.role == role) {
            self.comment(&format!("`{name}`: {role}, because {}", column.reason));
        }
    }

    fn task(&mut self, task: &TaskGuess) {
        self.line("\n[[tasks]]");
        self.comment(&task.reason);
        self.line(&format!("name = {}", quoted(&task.name)));
        if task.name == "diagnosis" {
            self.line("label = \"DIAG\"");
        }
        if let Some((table, column)) = &task.column {
            self.line(&format!("column = {}", column_of(table.as_deref(), column)));
        }
        if let Some(table) = &task.one_hot {
            self.line(&format!("one_hot = {}", quoted(table)));
        }
        self.line(&format!("classes = {}", list(&task.classes)));
        self.map(&task.map);
    }

    fn field(&mut self, field: &FieldGuess) {
        self.line("\n[[fields]]");
        self.comment(&format!("`{}`: {}, because {}", field.name, field.kind.role(), field.reason));
        self.line(&format!("column = {}", column_of(field.table.as_deref(), &field.name)));
        match &field.kind {
            FieldKindGuess::Number { missing } => {
                self.line("kind = \"numeric\"");
                if !missing.is_empty() {
                    self.line(&format!("missing = {}", list(missing)));
                }
            }
            FieldKindGuess::Category { categories, map, .. } => {
                self.line("kind = \"categorical\"");
                self.line(&format!("categories = {}", list(categories)));
                self.map(map);
            }
        }
        let role = if field.role == FieldRole::ImageDerived { "image_derived" } else { "pre_diagnosis" };
        self.line(&format!("role = {}", quoted(role)));
    }

    fn map(&mut self, map: &[(String, String)]) {
        if !map.is_empty() {
            let entries: Vec<String> =
                map.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect();
            self.line(&format!("map = {{ {} }}", entries.join(", ")));
        }
    }
}

fn column_of(table: Option<&str>, column: &str) -> String {
    match table {
        None => quoted(column),
        Some(table) => format!("{{ table = {}, column = {} }}", quoted(table), quoted(column)),
    }
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let one_line = format!("[{}]", words.join(", "));
    match one_line.chars().count() <= WIDTH {
        true => one_line,
        false => format!("[\n{}]", words.iter().map(|word| format!("    {word},\n")).collect::<String>()),
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's.
    serde_json::to_string(text).expect("a text is JSON").replace('\u{7f}', "\\u007F")
}

/// A path as it is written in a file of a folder: from there, if both have a folder in common.
fn path_from(folder: Option<&Path>, path: &Path) -> String {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let (folder, path) = (folder.map(|folder| tidy(&whole(folder))).unwrap_or_default(), tidy(&whole(path)));
    let common = folder.components().zip(path.components()).take_while(|(one, other)| one == other).count();
    let names =
        |path: &Path| path.components().take(common).filter(|part| matches!(part, Component::Normal(_))).count();
    let relative: PathBuf = match names(&path) {
        0 => path,
        _ => {
            let up = folder.components().skip(common).map(|_| Component::ParentDir);
            let down = path.components().skip(common);
            up.chain(down).collect()
        }
    };
    let text = relative.to_string_lossy().into_owned();
    let text = if std::path::MAIN_SEPARATOR == '/' { text } else { text.replace(std::path::MAIN_SEPARATOR, "/") };
    if text.is_empty() { ".".into() } else { text }
}

/// The path without `..`, as far as names tell.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_from_the_folder_of_the_file() {
        for (folder, path, written) in [
            ("/data/mine", "/data/cases.csv", "../cases.csv"),
            ("/data", "/data/photos", "photos"),
            ("/data", "/data", "."),
            ("/data/../data/mine", "/data/./a.csv", "../a.csv"),
            ("/home/me/mine", "/data/cases.csv", "/data/cases.csv"),
        ] {
            assert_eq!(path_from(Some(folder.as_ref()), path.as_ref()), written, "{folder} {path}");
        }
        assert_eq!(path_from(None, "/data/./a.csv".as_ref()), "/data/a.csv");
    }

    #[test]
    fn texts_and_lists_are_toml() {
        for text in ["a\"b", "back\\slash", "tab\tand\nline", "\u{7f}", "Läsion"] {
            let value: toml::Table = toml::from_str(&format!("{} = {}", quoted(text), quoted(text))).unwrap();
            assert_eq!(value[text].as_str(), Some(text));
        }
        let long: Vec<String> = (0..40).map(|number| format!("class {number}")).collect();
        let value: toml::Table = toml::from_str(&format!("a = {}", list(&long))).unwrap();
        assert_eq!(value["a"].as_array().unwrap().len(), 40);
    }
}
