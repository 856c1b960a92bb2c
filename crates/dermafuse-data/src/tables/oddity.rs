//! What is read as it is written and may still be a mistake: it is noted, so that someone looks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Table;
use crate::tables::spelling::name_key;
use crate::tables::table::{Cell, Column};

/// Years that people live.
const AGES: std::ops::RangeInclusive<f64> = 0.0..=120.0;
/// What tables write where nothing is recorded, in lower case.
pub(crate) const LIKE_MISSING: [&str; 20] = [
    "nan",
    "na",
    "n/a",
    "n.a.",
    "n.a",
    "#n/a",
    "#na",
    "<na>",
    "null",
    "nil",
    "none",
    "-",
    "--",
    ".",
    "?",
    "unk",
    "unknown",
    "missing",
    "not recorded",
    "undefined",
];

/// The ages of a column that nobody has: how many, and the first.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    count: usize,
    first: Option<(PathBuf, u64, f64)>,
}

impl Ages {
    /// For a column of that name, if it holds ages in years.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let mut words = name.split(|letter: char| !letter.is_alphanumeric());
        let is_age = words.clone().any(|word| word == "age");
        (is_age && !words.any(|word| ["month", "months", "week", "weeks", "day", "days"].contains(&word)))
            .then(Self::default)
    }

    pub(crate) fn see(&mut self, age: f64, cell: Cell<'_>) {
        if !AGES.contains(&age) {
            self.count += 1;
            self.first.get_or_insert_with(|| (cell.file().into(), cell.line(), age));
        }
    }

    pub(crate) fn note(&self, name: &str) -> Option<String> {
        let (file, line, age) = self.first.as_ref()?;
        let (count, file) = (self.count, file_name(file));
        Some(format!(
            "{count} values of `{name}` are below 0 or above 120, the first `{age}` in line {line} of {file}; they are taken as \
             they are"
        ))
    }

    /// The note on a whole column, whose numbers have been read.
    pub(crate) fn note_of(column: Column<'_>) -> Option<String> {
        let mut ages = Self::default();
        for row in 0..column.table().len() {
            let cell = column.cell(row);
            if let Some(age) = cell.finite() {
                ages.see(age, cell);
            }
        }
        ages.note(column.name())
    }
}

/// Columns that say the same of a case, and the rows in which they do not.
#[derive(Debug)]
pub(crate) struct Contradictions<S> {
    columns: Vec<(String, S)>,
    count: usize,
    first: Option<(u64, String, String)>,
}

impl<S> Default for Contradictions<S> {
    fn default() -> Self {
        Self { columns: Vec::new(), count: 0, first: None }
    }
}

impl<S: Copy> Contradictions<S> {
    /// The columns among these that say the patient's sex.
    pub(crate) fn of_sex(columns: impl Iterator<Item = (String, S)>) -> Self {
        let is_sex = |name: &str| ["sex", "gender"].iter().any(|known| name.eq_ignore_ascii_case(known));
        Self { columns: columns.filter(|(name, _)| is_sex(name)).collect(), ..Self::default() }
    }

    /// Compares the values of a row.
    pub(crate) fn see<'a>(&mut self, line: u64, text: impl Fn(S) -> &'a str) {
        if self.columns.len() < 2 {
            return;
        }
        let mut said = self.columns.iter().filter_map(|(_, source)| {
            let text = text(*source);
            Some((sex(text)?, text))
        });
        let Some((first, text)) = said.next() else { return };
        if let Some((_, other)) = said.find(|(sex, _)| *sex != first) {
            self.count += 1;
            self.first.get_or_insert_with(|| (line, text.to_owned(), other.to_owned()));
        }
    }

    pub(crate) fn notes(&self) -> Option<String> {
        let (line, one, other) = self.first.as_ref()?;
        let names: Vec<String> = self.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
        Some(format!(
            "{} rows contradict themselves in {}, the first in line {line} (`{one}` and `{other}`)",
            self.count,
            names.join(" and ")
        ))
    }
}

/// The note on a table that says the patient's sex twice, and not the same.
pub(crate) fn contradictory_sex(table: &Table) -> Option<String> {
    let columns = table.headers().iter().enumerate().map(|(column, name)| (name.clone(), column));
    let mut contradictions = Contradictions::of_sex(columns);
    for row in 0..table.len() {
        let row = table.row(row);
        contradictions.see(row.line(), |column| row.cell(column).text());
    }
    contradictions.notes()
}

/// A letter for a sex, however it is written; `None` for anything else.
fn sex(text: &str) -> Option<char> {
    match text.to_lowercase().as_str() {
        "f" | "female" | "w" | "woman" | "weiblich" => Some('f'),
        "m" | "male" | "man" | "männlich" => Some('m'),
        _ => None,
    }
}

/// Notes on categories that may be one, or none.
pub(crate) fn odd_categories<'a>(field: &str, categories: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut missing = Vec::new();
    for category in categories {
        let key = match category.parse::<f64>() {
            Ok(number) if number.is_finite() => number.to_string(),
            _ => name_key(category).split_whitespace().collect::<Vec<_>>().join(" "),
        };
        if LIKE_MISSING.contains(&key.as_str()) || category.parse::<f64>().is_ok_and(f64::is_nan) {
            missing.push(category);
        }
        alike.entry(key).or_default().push(category);
    }
    missing.sort_unstable();
    let quoted = |names: &[&str]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let mut notes = Vec::new();
    for categories in alike.values_mut().filter(|categories| categories.len() > 1) {
        categories.sort_unstable();
        let last = categories[categories.len() - 1];
        notes.push(format!(
            "field `{field}`: {} are taken as {} categories, and differ in their writing only; if they are one, say so: map = \
             {{ {:?} = {last:?} }}",
            quoted(categories),
            categories.len(),
            categories[0],
        ));
    }
    if !missing.is_empty() {
        let values = quoted(&missing);
        notes.push(format!(
            "field `{field}`: {values} is taken as a category; if it means that nothing is recorded, say so: missing = [{values}]"
        ));
    }
    notes
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_years_are_told_by_their_name() {
        for name in ["age", "Age", "age_approx", "patient age (years)"] {
            assert!(Ages::of(name).is_some(), "{name}");
        }
        for name in ["dosage", "image", "birth_year", "age in months", "stage"] {
            assert!(Ages::of(name).is_none(), "{name}");
        }
        let table = Table::parse("t.csv", b"age\n30\n-1\n\n121\n120\n0\n").unwrap();
        assert_eq!(
            Ages::note_of(table.column("age").unwrap()).unwrap(),
            "2 values of `age` are below 0 or above 120, the first `-1` in line 3 of t.csv; they are taken as they are"
        );
        let table = Table::parse("t.csv", b"age\n30\n").unwrap();
        assert_eq!(Ages::note_of(table.column("age").unwrap()), None);
    }

    #[test]
    fn two_columns_of_one_fact_are_compared() {
        let table = Table::parse("t.csv", b"sex,Gender\nmale,M\nF,male\n,male\nunknown,m\nfemale,man\n").unwrap();
        assert_eq!(
            contradictory_sex(&table).unwrap(),
            "2 rows contradict themselves in `sex` and `Gender`, the first in line 3 (`F` and `male`)"
        );
        let table = Table::parse("t.csv", b"sex,site\nmale,F\n").unwrap();
        assert_eq!(contradictory_sex(&table), None);
    }

    #[test]
    fn categories_that_may_be_one_or_none_are_named() {
        let notes = odd_categories("site", ["torso", "Torso", "back", "nan", "N/A", "-"].into_iter());
        assert_eq!(
            notes,
            [
                "field `site`: \"Torso\", \"torso\" are taken as 2 categories, and differ in their writing only; if they are \
                 one, say so: map = { \"Torso\" = \"torso\" }",
                "field `site`: \"-\", \"N/A\", \"nan\" is taken as a category; if it means that nothing is recorded, say so: \
                 missing = [\"-\", \"N/A\", \"nan\"]"
            ]
        );
        assert_eq!(odd_categories("type", ["3", "3.0", "4"].into_iter()).len(), 1);
        assert_eq!(odd_categories("type", ["lower  limb", "Lower limb"].into_iter()).len(), 1);
        assert!(odd_categories("site", ["back", "chest", "nose"].into_iter()).is_empty());
    }
}
