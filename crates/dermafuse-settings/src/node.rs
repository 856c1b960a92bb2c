//! A TOML document as a tree in which every value knows its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::place::Source;
use crate::{Place, SettingsError};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Entry>),
}

impl Value {
    /// What it is, for whoever wrote it.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => format!("{text:?}"),
            Self::Array(_) => "a list".to_owned(),
            Self::Table(entries) => format!("a table with {} keys", entries.len()),
        }
    }
}

/// What a table has under a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

impl Node {
    /// Takes a text apart.
    pub(crate) fn parse(source: &Arc<Source>, text: &str) -> Result<Self, SettingsError> {
        let syntax = |offset, reason| SettingsError::Syntax { place: Place::new(source, offset), reason };
        let table = DeTable::parse(text)
            .map_err(|error| syntax(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        table_of(source, 0, table.into_inner()).map_err(|(offset, reason)| syntax(offset, reason.to_owned()))
    }

    pub(crate) fn table(&self) -> Option<&BTreeMap<String, Entry>> {
        match &self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// Takes out what is under a key of several steps. A table that says its `kind` keeps everything.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let is_whole = self.kind().is_some();
        let Value::Table(entries) = &mut self.value else { return None };
        match rest {
            Some(rest) => entries.get_mut(first)?.node.remove(rest),
            None if is_whole => None,
            None => entries.remove(first),
        }
    }

    /// Puts something under a key of several steps, unless there is something.
    pub(crate) fn insert(&mut self, key: &str, entry: Entry) {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let Value::Table(entries) = &mut self.value else { return };
        let Some(rest) = rest else {
            entries.entry(first.to_owned()).or_insert(entry);
            return;
        };
        let empty = || {
            let place = entry.node.place.clone();
            Entry { key: entry.key.clone(), node: Node { place, value: Value::Table(BTreeMap::new()) } }
        };
        entries.entry(first.to_owned()).or_insert_with(empty).node.insert(rest, entry);
    }

    /// Lays another over this one, so that both are one layer: a table setting by setting, unless it is told by another `kind`.
    pub(crate) fn lay(&mut self, over: Self) {
        let is_of_another = matches!((self.kind(), over.kind()), (Some(own), Some(other)) if own != other);
        match (&mut self.value, over.value) {
            (Value::Table(own), Value::Table(entries)) if !is_of_another => {
                for (key, entry) in entries {
                    match own.get_mut(&key) {
                        Some(mine) => {
                            mine.key = entry.key;
                            mine.node.lay(entry.node);
                        }
                        None => drop(own.insert(key, entry)),
                    }
                }
            }
            (own, value) => {
                *own = value;
                self.place = over.place;
            }
        }
    }

    /// Whether words say its kind, in place of the one that a file says.
    pub(crate) fn kind_is_of_words(&self) -> bool {
        self.table().and_then(|entries| entries.get("kind")).is_some_and(|kind| kind.node.place.is_of_words())
    }

    /// The text under `kind`, which says what a table is of.
    pub(crate) fn kind(&self) -> Option<&str> {
        match &self.table()?.get("kind")?.node.value {
            Value::Text(kind) => Some(kind),
            _ => None,
        }
    }
}

type Failure = (usize, &'static str);

fn table_of(source: &Arc<Source>, offset: usize, table: DeTable<'_>) -> Result<Node, Failure> {
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        let place = Place::new(source, key.span().start);
        entries.insert(key.into_inner().into_owned(), Entry { key: place, node: node_of(source, value)? });
    }
    Ok(Node { place: Place::new(source, offset), value: Value::Table(entries) })
}

fn node_of(source: &Arc<Source>, value: Spanned<DeValue<'_>>) -> Result<Node, Failure> {
    let offset = value.span().start;
    let value = match value.into_inner() {
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Integer(value) => {
            let number = i128::from_str_radix(value.as_str(), value.radix());
            Value::Integer(number.map_err(|_| (offset, "a number beyond all limits"))?)
        }
        DeValue::Float(value) => {
            let number: f64 = value.as_str().parse().map_err(|_| (offset, "a number that cannot be read"))?;
            if !number.is_finite() {
                return Err((offset, "a number that is not finite, which no setting can be"));
            }
            Value::Float(number)
        }
        DeValue::String(value) => Value::Text(value.into_owned()),
        DeValue::Datetime(value) => Value::Text(value.to_string()),
        DeValue::Array(values) => array_of(source, values)?,
        DeValue::Table(table) => return table_of(source, offset, table),
    };
    Ok(Node { place: Place::new(source, offset), value })
}

fn array_of(source: &Arc<Source>, values: DeArray<'_>) -> Result<Value, Failure> {
    values.into_iter().map(|value| node_of(source, value)).collect::<Result<_, _>>().map(Value::Array)
}
