//! What the values of a column mean.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::DataError;
use crate::name_set::first_bytes;
use crate::tables::declaration::Declaration;
use crate::tables::table::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The class or category at that position.
    Index(usize),
    /// Not recorded.
    Missing,
    /// The case is to be left out.
    Drop,
}

/// The values that a column may have.
pub(super) struct Vocabulary {
    classes: Vec<String>,
    /// The classes themselves first, in order; then what else is declared.
    entries: Vec<Entry>,
}

struct Entry {
    value: String,
    /// Compared first: one number, where most values are short.
    start: u64,
    /// The value as a number, if it is one.
    number: Option<f64>,
    meaning: Meaning,
    rows: usize,
}

impl Entry {
    fn new(value: &str, meaning: Meaning) -> Self {
        let number = value.parse().ok().filter(|number: &f64| number.is_finite());
        Self { value: value.into(), start: first_bytes(value.as_bytes()), number, meaning, rows: 0 }
    }

    /// Whether it is the entry of a text that starts alike.
    fn is(&self, text: &str) -> bool {
        self.value.len() == text.len() && (text.len() <= 8 || self.value == text)
    }
}

impl Vocabulary {
    pub(super) fn new(
        declaration: &Declaration,
        classes: &[Spanned<String>],
        map: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<Self, DataError> {
        let mut vocabulary = Self { classes: Vec::new(), entries: Vec::new() };
        for (index, class) in classes.iter().enumerate() {
            vocabulary.add(declaration, class, "class", Meaning::Index(index))?;
            vocabulary.classes.push(class.get_ref().clone());
        }
        for (value, class) in map {
            let Some(index) = vocabulary.classes.iter().position(|known| known == class.get_ref()) else {
                let expected = format!("one of {}", vocabulary.classes.join(", "));
                return Err(declaration.error(class.span(), "class", class.get_ref(), expected));
            };
            vocabulary.add(declaration, value, "mapped value", Meaning::Index(index))?;
        }
        Ok(vocabulary)
    }

    /// Gives more values a meaning.
    pub(super) fn mean(
        &mut self,
        declaration: &Declaration,
        values: &[Spanned<String>],
        what: &'static str,
        meaning: Meaning,
    ) -> Result<(), DataError> {
        values.iter().try_for_each(|value| self.add(declaration, value, what, meaning))
    }

    /// Values that are missing unless they have a meaning already.
    pub(super) fn otherwise_missing(&mut self, values: &[String]) {
        for value in values {
            if self.entries.iter().all(|entry| entry.value != *value) {
                self.entries.push(Entry { rows: 1, ..Entry::new(value, Meaning::Missing) });
            }
        }
    }

    fn add(
        &mut self,
        declaration: &Declaration,
        value: &Spanned<String>,
        what: &'static str,
        meaning: Meaning,
    ) -> Result<(), DataError> {
        let text = value.get_ref();
        if self.entries.iter().any(|entry| entry.value == *text) {
            return Err(declaration.error(value.span(), what, text, "a value that is named once"));
        }
        self.entries.push(Entry::new(text, meaning));
        Ok(())
    }

    /// What a cell means; an empty one is missing.
    pub(super) fn meaning(&mut self, cell: Cell<'_>) -> Result<Meaning, DataError> {
        let text = cell.text();
        let start = first_bytes(text.as_bytes());
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.start == start && entry.is(text)) {
            entry.rows += 1;
            return Ok(entry.meaning);
        }
        if text.is_empty() {
            return Ok(Meaning::Missing);
        }
        let known: Vec<&str> = self.entries.iter().map(|entry| entry.value.as_str()).collect();
        // Perhaps the same value, otherwise written; else the cell's own error says where it stands.
        Ok(match cell.category(&known)? {
            None => Meaning::Missing,
            Some(entry) => {
                self.entries[entry].rows += 1;
                self.entries[entry].meaning
            }
        })
    }

    pub(super) fn is_missing(&self, cell: Cell<'_>) -> bool {
        let text = cell.text();
        let mut missing = self.entries.iter().filter(|entry| entry.meaning == Meaning::Missing);
        // `999.0` is `999`.
        let is =
            |entry: &Entry| entry.value == text || entry.number.is_some_and(|number| cell.finite() == Some(number));
        text.is_empty() || missing.any(is)
    }

    /// The values that leave cases out, and how many rows had them.
    pub(super) fn dropped(&self) -> impl Iterator<Item = (&str, usize)> {
        let dropped = self.entries.iter().filter(|entry| entry.meaning == Meaning::Drop && entry.rows > 0);
        dropped.map(|entry| (entry.value.as_str(), entry.rows))
    }

    /// Notes on what is mapped or dropped and never occurs: perhaps it is misspelt.
    pub(super) fn idle(&self, name: &str) -> Vec<String> {
        let declared = self.entries.iter().skip(self.classes.len());
        let idle: Vec<String> =
            declared.filter(|entry| entry.rows == 0).map(|entry| format!("`{}`", entry.value)).collect();
        if idle.is_empty() {
            return Vec::new();
        }
        vec![format!("no row has {name} {}, which the description names", idle.join(", "))]
    }

    pub(super) fn into_classes(self) -> Vec<String> {
        self.classes
    }
}
