//! Labels and metadata values: where they come from, and what is written there.

use std::collections::{HashMap, HashSet};

use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};
use toml::Spanned;

use super::Loader;
use super::columns::{Rows, Source, Tables};
use super::description::{Categories, ColumnName, Description, FieldEntry, Kind, TaskEntry};
use super::vocabulary::{Meaning, Vocabulary};
use crate::DataError;
use crate::tables::oddity::{Ages, odd_categories};
use crate::tables::one_hot::one_hot_label;

/// Where a task's label comes from.
pub(super) struct LabelReader<'a> {
    entry: &'a TaskEntry,
    source: LabelSource,
    unlabelled: usize,
}

enum LabelSource {
    Column(Source, Vocabulary),
    /// A table, `None` for that of the cases, and the column of each class.
    OneHot(Option<usize>, Vec<usize>),
}

/// Where a field's value comes from.
pub(super) struct FieldReader<'a> {
    entry: &'a FieldEntry,
    source: Source,
    values: FieldSource,
    /// Rows whose category is not listed, where that is no error.
    unlisted: usize,
}

enum FieldSource {
    /// What is missing, and, of ages, those that nobody has.
    Numeric(Vocabulary, Option<Ages>),
    Listed(Vocabulary),
    /// Categories in the order in which they turn up.
    Observed {
        renamed: HashMap<String, String>,
        missing: HashSet<String>,
        found: HashMap<String, usize>,
    },
}

impl LabelReader<'_> {
    pub(super) fn notes(&self) -> Vec<String> {
        let name = self.entry.name.get_ref();
        let mut notes = Vec::new();
        if let LabelSource::Column(_, vocabulary) = &self.source {
            let dropped = vocabulary.dropped();
            notes.extend(dropped.map(|(value, count)| format!("{count} rows with {name} `{value}` are left out")));
            notes.extend(vocabulary.idle(name));
        }
        if self.unlabelled > 0 {
            notes.push(format!("{} rows have no label of {name}", self.unlabelled));
        }
        notes
    }
}

impl FieldReader<'_> {
    fn name(&self) -> &str {
        self.entry.name.as_ref().map_or(&self.entry.column.get_ref().column, |name| name.get_ref())
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let name = self.name();
        if self.unlisted > 0 {
            let rows = self.unlisted;
            return vec![format!(
                "{rows} rows have a {name} that the description does not list; it counts as not recorded"
            )];
        }
        match &self.values {
            FieldSource::Listed(vocabulary) => vocabulary.idle(name),
            FieldSource::Numeric(_, ages) => ages.iter().filter_map(|ages| ages.note(self.name())).collect(),
            FieldSource::Observed { found, .. } => odd_categories(self.name(), found.keys().map(String::as_str)),
        }
    }
}

impl Loader<'_> {
    pub(super) fn label_readers<'d>(
        &self,
        tables: &Tables<'_>,
        description: &'d Description,
    ) -> Result<Vec<LabelReader<'d>>, DataError> {
        let reader = |entry: &'d TaskEntry| {
            let source = match (&entry.column, &entry.one_hot) {
                (Some(column), None) => {
                    let mut vocabulary = Vocabulary::new(self.declaration, &entry.classes, &entry.map)?;
                    vocabulary.mean(self.declaration, &entry.drop, "dropped value", Meaning::Drop)?;
                    vocabulary.mean(self.declaration, &entry.missing, "missing value", Meaning::Missing)?;
                    vocabulary.otherwise_missing(&description.missing);
                    LabelSource::Column(self.source(tables, column.span(), column.get_ref())?, vocabulary)
                }
                (None, Some(name)) if entry.map.is_empty() && entry.drop.is_empty() && entry.missing.is_empty() => {
                    let table = self.table(tables, name.span(), name.get_ref())?;
                    let class = |class: &Spanned<String>| {
                        let name = ColumnName { table: Some(name.get_ref().clone()), column: class.get_ref().clone() };
                        self.source(tables, class.span(), &name).map(|source| source.column)
                    };
                    LabelSource::OneHot(table, entry.classes.iter().map(class).collect::<Result<_, _>>()?)
                }
                (column, _) => {
                    let expected = match column {
                        Some(_) => "either `column` or `one_hot`, not both",
                        None => "`column`, or `one_hot` without `map`, `drop` and `missing`",
                    };
                    return Err(self.declaration.error(entry.name.span(), "task", entry.name.get_ref(), expected));
                }
            };
            Ok(LabelReader { entry, source, unlabelled: 0 })
        };
        description.tasks.iter().map(reader).collect()
    }

    pub(super) fn field_readers<'d>(
        &self,
        tables: &Tables<'_>,
        description: &'d Description,
    ) -> Result<Vec<FieldReader<'d>>, DataError> {
        let reader = |entry: &'d FieldEntry| {
            let source = self.source(tables, entry.column.span(), entry.column.get_ref())?;
            let kind = *entry.kind.get_ref();
            let mistake = |found: &str, expected: &str| {
                Err(self.declaration.error(entry.kind.span(), "kind of the field", found, expected))
            };
            if let (Kind::Categorical, Some(unit)) = (kind, &entry.unit) {
                let expected = "no unit, since categories have none";
                return Err(self.declaration.error(unit.span(), "unit", unit.get_ref(), expected));
            }
            let declared = |classes: &[Spanned<String>]| {
                let mut vocabulary = Vocabulary::new(self.declaration, classes, &entry.map)?;
                vocabulary.mean(self.declaration, &entry.missing, "missing value", Meaning::Missing)?;
                vocabulary.otherwise_missing(&description.missing);
                Ok::<_, DataError>(vocabulary)
            };
            let values = match (kind, entry.categories.as_ref().map(Spanned::get_ref)) {
                (Kind::Numeric, None) if entry.map.is_empty() => {
                    FieldSource::Numeric(declared(&[])?, Ages::of(&entry.column.get_ref().column))
                }
                (Kind::Numeric, _) => {
                    return mistake("numeric", "categorical, where there are `categories` or a `map`");
                }
                (Kind::Categorical, Some(Categories::Listed(categories))) => FieldSource::Listed(declared(categories)?),
                (Kind::Categorical, Some(Categories::Observed)) => {
                    let text = |text: &Spanned<String>| text.get_ref().clone();
                    FieldSource::Observed {
                        renamed: entry.map.iter().map(|(from, to)| (text(from), text(to))).collect(),
                        missing: entry.missing.iter().map(text).chain(description.missing.iter().cloned()).collect(),
                        found: HashMap::new(),
                    }
                }
                (Kind::Categorical, None) => {
                    return mistake(
                        "categorical",
                        "numeric, or beside `categories = [...]` or `categories = \"observed\"`",
                    );
                }
            };
            Ok(FieldReader { entry, source, values, unlisted: 0 })
        };
        let readers = description.fields.iter().map(reader).collect::<Result<Vec<_>, _>>()?;
        let mut names = HashSet::new();
        for reader in &readers {
            if !names.insert(reader.name()) {
                let span = reader.entry.name.as_ref().map_or_else(|| reader.entry.column.span(), Spanned::span);
                let expected = "a name that no other field has; give this one another `name`";
                return Err(self.declaration.error(span, "field", reader.name(), expected));
            }
        }
        Ok(readers)
    }

    /// The labels of a case; `None` if it is to be left out.
    pub(super) fn labels(
        &self,
        readers: &mut [LabelReader<'_>],
        rows: &Rows<'_>,
    ) -> Result<Option<Vec<Option<usize>>>, DataError> {
        let mut labels = Vec::with_capacity(readers.len());
        let mut dropped = false;
        for reader in readers {
            let asked = |source| self.declaration.asked(reader.entry.name.span(), source);
            let label = match &mut reader.source {
                LabelSource::Column(source, vocabulary) => match rows.cell(*source) {
                    None => None,
                    Some(cell) => match vocabulary.meaning(cell).map_err(asked)? {
                        Meaning::Index(class) => Some(class),
                        Meaning::Missing => None,
                        Meaning::Drop => {
                            dropped = true;
                            None
                        }
                    },
                },
                LabelSource::OneHot(table, columns) => {
                    let row = table.map_or(Some(rows.case), |table| rows.joined[table]);
                    let labelled = row.map(|row| {
                        let cells = columns.iter().enumerate().map(|(class, &column)| (Some(class), row.cell(column)));
                        one_hot_label(cells, row.cell(columns[0]))
                    });
                    labelled.transpose().map_err(asked)?.flatten()
                }
            };
            labels.push(label);
            reader.unlabelled += usize::from(label.is_none() && !dropped);
        }
        Ok((!dropped).then_some(labels))
    }

    pub(super) fn value(&self, reader: &mut FieldReader<'_>, rows: &Rows<'_>) -> Result<FieldValue, DataError> {
        let Some(cell) = rows.cell(reader.source) else { return Ok(FieldValue::Missing) };
        let asked = |source| self.declaration.asked(reader.entry.column.span(), source);
        match &mut reader.values {
            FieldSource::Numeric(vocabulary, ages) => {
                if vocabulary.is_missing(cell) {
                    return Ok(FieldValue::Missing);
                }
                let Some(number) = cell.number().map_err(asked)? else { return Ok(FieldValue::Missing) };
                if let Some(ages) = ages {
                    ages.see(number, cell);
                }
                Ok(FieldValue::Number(number))
            }
            FieldSource::Listed(vocabulary) => match vocabulary.meaning(cell) {
                Ok(Meaning::Index(category)) => Ok(FieldValue::Category(category)),
                Ok(Meaning::Missing | Meaning::Drop) => Ok(FieldValue::Missing),
                Err(DataError::Category { .. }) if !self.labelled => {
                    reader.unlisted += 1;
                    Ok(FieldValue::Missing)
                }
                Err(error) => Err(asked(error)),
            },
            FieldSource::Observed { renamed, missing, found } => {
                let text = cell.text();
                if text.is_empty() || missing.contains(text) {
                    return Ok(FieldValue::Missing);
                }
                let text = renamed.get(text).map_or(text, String::as_str);
                if let Some(&category) = found.get(text) {
                    return Ok(FieldValue::Category(category));
                }
                found.insert(text.to_owned(), found.len());
                Ok(FieldValue::Category(found.len() - 1))
            }
        }
    }

    /// The task, checked by itself.
    pub(super) fn task(&self, entry: &TaskEntry) -> Result<Task, DataError> {
        let classes: Vec<&str> = entry.classes.iter().map(|class| class.get_ref().as_str()).collect();
        let name = entry.name.get_ref();
        let task = Task::new(name, entry.label.as_ref().unwrap_or(name), classes.iter().copied());
        TaskSet::new(vec![task.clone()]).map_err(|source| self.declaration.asked(entry.name.span(), source.into()))?;
        match &entry.reference {
            None => Ok(task),
            Some(reference) if classes.contains(&reference.get_ref().as_str()) => {
                Ok(task.with_reference(reference.get_ref()))
            }
            Some(reference) => {
                let expected = format!("one of the classes: {}", classes.join(", "));
                Err(self.declaration.error(reference.span(), "reference class", reference.get_ref(), expected))
            }
        }
    }
}

/// The fields, with observed categories in alphabetical order; the cases' values follow.
pub(super) fn settle(readers: Vec<FieldReader<'_>>, cases: &mut [Case]) -> Vec<Field> {
    let mut fields = Vec::with_capacity(readers.len());
    for (index, reader) in readers.into_iter().enumerate() {
        let (name, role): (String, FieldRole) = (reader.name().into(), reader.entry.role);
        let categories = match reader.values {
            FieldSource::Numeric(..) => {
                let unit = reader.entry.unit.as_ref().map(|unit| unit.get_ref().clone());
                fields.push(Field { unit, ..Field::numeric(name, role) });
                continue;
            }
            FieldSource::Listed(vocabulary) => vocabulary.into_classes(),
            FieldSource::Observed { found, .. } => {
                let mut found: Vec<(String, usize)> = found.into_iter().collect();
                found.sort();
                let mut place = vec![0; found.len()];
                found.iter().enumerate().for_each(|(after, (_, before))| place[*before] = after);
                for case in cases.iter_mut() {
                    if let FieldValue::Category(category) = &mut case.metadata[index] {
                        *category = place[*category];
                    }
                }
                found.into_iter().map(|(category, _)| category).collect()
            }
        };
        fields.push(Field::categorical(name, role, categories));
    }
    fields
}
