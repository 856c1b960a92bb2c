//! Reads a type from values that lie over each other: each part from the topmost that has it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use crate::expectation::{Found, Wanted};
use crate::node::{Node, Value};
use crate::{Place, SettingsError};

/// The word that takes a value away which a lower layer gives.
pub(crate) const NONE: &str = "none";

/// Values of one setting, the topmost first; never empty.
#[derive(Clone)]
pub(crate) struct Overlay<'a> {
    values: Vec<&'a Node>,
    key: String,
}

/// What is wrong, and where as soon as that is known.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: String,
    /// The key or word that is wrong, for layers above that know where it stands.
    culprit: Option<String>,
    /// The settings that there are, where one is not among them.
    known: Option<Vec<String>>,
    found: Option<(Place, String)>,
}

impl Failure {
    /// The error; `beside` are settings of the first level that were read apart from the others.
    pub(crate) fn into_error(mut self, beside: &[String]) -> SettingsError {
        let is_of_the_first_level = self.found.as_ref().is_none_or(|(_, key)| key.is_empty());
        if let Some(known) = self.known.as_mut().filter(|_| is_of_the_first_level) {
            let others: Vec<String> = beside.iter().filter(|key| !known.contains(key)).cloned().collect();
            known.extend(others);
        }
        let reason = self.to_string();
        match self.found {
            Some((place, key)) if key.is_empty() => SettingsError::Value { place, key: "settings".into(), reason },
            Some((place, key)) => SettingsError::Value { place, key, reason },
            None => SettingsError::Missing { reason },
        }
    }

    fn at(mut self, place: &Place, key: &str) -> Self {
        self.found.get_or_insert_with(|| (place.clone(), key.to_owned()));
        self
    }

    fn of(reason: String, culprit: &str) -> Self {
        Self { reason, culprit: Some(culprit.to_owned()), known: None, found: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)?;
        match self.known.as_deref() {
            None => Ok(()),
            Some([]) => formatter.write_str(", nor any other"),
            Some(known) => write!(formatter, "; the settings here are: {}", known.join(", ")),
        }
    }
}

impl std::error::Error for Failure {}

/// `a, b or c`, as far as there are any.
struct Known<'a>(&'a [&'a str]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        // What is quoted first is what it is about.
        let reason = reason.to_string();
        let culprit = reason.split('`').nth(1).map(str::to_owned);
        Self { reason, culprit, known: None, found: None }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let culprit = match unexpected {
            Unexpected::Str(text) => Some(text.to_owned()),
            _ => None,
        };
        let reason = format!("expected {}, found {}", Wanted(expected), Found(unexpected));
        Self { reason, culprit, known: None, found: None }
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        let reason = format!("expected {}, found {length} values", Wanted(expected));
        Self { reason, culprit: None, known: None, found: None }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of(format!("`{variant}` is not known; expected one of: {}", Known(expected)), variant)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known = Some(expected.iter().map(ToString::to_string).collect());
        Self { known, ..Self::of(format!("there is no setting `{field}`"), field) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { reason: format!("`{field}` is missing"), culprit: None, known: None, found: None }
    }
}

impl<'a> Overlay<'a> {
    /// # Panics
    /// Without any value.
    pub(crate) fn new(values: Vec<&'a Node>, key: String) -> Self {
        assert!(!values.is_empty(), "a setting has a value");
        Self { values, key }
    }

    /// The place of the topmost value.
    pub(crate) fn place(&self) -> Place {
        self.top().place.clone()
    }

    fn top(&self) -> &'a Node {
        self.values[0]
    }

    /// The tables from the top down to the first value that is none, or is of another kind. A table that does not say its kind
    /// is of the kind of what it lies on; where words change a kind, what a file says without one goes with it.
    fn tables(&self) -> impl Iterator<Item = &'a Node> {
        let tables: Vec<&Node> = self.values.iter().copied().take_while(|node| node.table().is_some()).collect();
        let mut below = None;
        let kinds = tables.iter().rev().map(|node| {
            below = node.kind().or(below);
            below
        });
        let kinds: Vec<Option<&str>> = kinds.collect::<Vec<_>>().into_iter().rev().collect();
        let mut kinds = kinds;
        let top = kinds.first().copied().flatten();
        if let Some(first) =
            tables.iter().position(|node| node.kind().is_some()).filter(|&at| tables[at].kind_is_of_words())
        {
            let below = (first + 1..tables.len()).take_while(|&at| tables[at].kind().is_none());
            below.for_each(|at| kinds[at] = top);
        }
        tables.into_iter().zip(kinds).take_while(move |(_, kind)| kind.is_none() || *kind == top).map(|(node, _)| node)
    }

    /// The parts of the table, each with its key's place.
    pub(crate) fn parts(&self) -> BTreeMap<&'a str, (&'a Place, Overlay<'a>)> {
        let mut parts: BTreeMap<&str, (&Place, Overlay<'_>)> = BTreeMap::new();
        for (key, entry) in self.tables().filter_map(Node::table).flatten() {
            match parts.get_mut(key.as_str()) {
                Some((_, part)) => part.values.push(&entry.node),
                None => {
                    let path = if self.key.is_empty() { key.clone() } else { format!("{}.{key}", self.key) };
                    parts.insert(key, (&entry.key, Overlay::new(vec![&entry.node], path)));
                }
            }
        }
        parts
    }

    /// An element of the topmost list, counted from 1.
    pub(crate) fn element(&self, index: usize) -> Option<Overlay<'a>> {
        match &self.top().value {
            Value::Array(values) => {
                let node = values.get(index.checked_sub(1)?)?;
                Some(Overlay::new(vec![node], format!("{}[{index}]", self.key)))
            }
            _ => None,
        }
    }

    /// The place of a key or word below, and the setting that it belongs to.
    fn find(&self, culprit: &str) -> Option<(Place, String)> {
        match &self.top().value {
            Value::Text(text) if text == culprit => Some((self.top().place.clone(), self.key.clone())),
            Value::Table(_) => {
                let parts = self.parts();
                if let Some((place, _)) = parts.get(culprit) {
                    return Some(((*place).clone(), self.key.clone()));
                }
                parts.values().find_map(|(_, part)| part.find(culprit))
            }
            Value::Array(values) => {
                values.iter().find_map(|node| Overlay::new(vec![node], self.key.clone()).find(culprit))
            }
            _ => None,
        }
    }

    /// Adds the place, as exactly as it can be told from here.
    pub(crate) fn locate<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|mut failure| {
            if failure.found.is_none() {
                failure.found = failure.culprit.as_deref().and_then(|culprit| self.find(culprit));
            }
            failure.at(&self.top().place, &self.key)
        })
    }

    fn visit<V: Visitor<'a>>(&self, visitor: V) -> Result<V::Value, Failure> {
        match &self.top().value {
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) if value < 0 => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => Err(Failure::custom(format!("{value} is beyond all limits"))),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::Array(values) => visitor.visit_seq(Elements { values: values.iter(), key: &self.key, index: 0 }),
            Value::Table(_) => {
                // Whoever asks for no struct knows no optional fields: what is taken away is not there.
                let mut parts = self.parts();
                parts.retain(|_, (_, part)| !part.is_taken_away());
                visitor.visit_map(Parts { parts: parts.into_iter(), next: None })
            }
        }
    }

    fn is_taken_away(&self) -> bool {
        matches!(&self.top().value, Value::Text(text) if text == NONE)
    }
}

impl<'a> Deserializer<'a> for Overlay<'a> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.locate(self.visit(visitor))
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.is_taken_away() {
            true => self.locate(visitor.visit_none()),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.is_taken_away() {
            true => self.locate(visitor.visit_unit()),
            false => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.locate(match &self.top().value {
            Value::Table(_) => visitor.visit_map(Parts { parts: self.parts().into_iter(), next: None }),
            _ => self.visit(visitor),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.locate(match &self.top().value {
            Value::Text(word) => visitor.visit_enum(IntoDeserializer::<Failure>::into_deserializer(word.as_str())),
            Value::Table(entries) if entries.len() == 1 => {
                let variant = entries.keys().next().expect("there is one").as_str();
                // What lower layers say of another variant does not count.
                let same =
                    |node: &&&Node| node.table().is_some_and(|table| table.len() == 1 && table.contains_key(variant));
                let values = self.values.iter().take_while(same).filter_map(|node| node.table()?.get(variant));
                let content =
                    Overlay::new(values.map(|entry| &entry.node).collect(), format!("{}.{variant}", self.key));
                visitor.visit_enum(Variant { variant, content })
            }
            other => Err(Failure::custom(format!(
                "expected one of the words {}, or a table with one of them as its key; found {}",
                Known(variants),
                other.in_words()
            ))),
        })
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Parts<'a> {
    parts: std::collections::btree_map::IntoIter<&'a str, (&'a Place, Overlay<'a>)>,
    next: Option<Overlay<'a>>,
}

impl<'a> MapAccess<'a> for Parts<'a> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((name, (place, part))) = self.parts.next() else { return Ok(None) };
        let parent = part.key.strip_suffix(name).map_or("", |parent| parent.trim_end_matches('.')).to_owned();
        self.next = Some(part);
        let key: StringDeserializer<Failure> = name.to_owned().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|failure| failure.at(place, &parent))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let part = self.next.take().expect("a value follows its key");
        // What is told by its `kind` is read aside, and its errors come back here.
        part.locate(seed.deserialize(part.clone()))
    }
}

struct Elements<'a, 'k> {
    values: std::slice::Iter<'a, Node>,
    key: &'k str,
    index: usize,
}

impl<'a> SeqAccess<'a> for Elements<'a, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.values.next() else { return Ok(None) };
        self.index += 1;
        let element = Overlay::new(vec![node], format!("{}[{}]", self.key, self.index));
        element.locate(seed.deserialize(element.clone()).map(Some))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

struct Variant<'a> {
    variant: &'a str,
    content: Overlay<'a>,
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Failure;
    type Variant = Overlay<'a>;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Overlay<'a>), Failure> {
        let name: de::value::StrDeserializer<'_, Failure> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self.content))
    }
}

impl<'a> VariantAccess<'a> for Overlay<'a> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.tables().next().and_then(Node::table) {
            Some(table) if table.is_empty() => Ok(()),
            _ => self.locate(Err(Failure::custom("it has no settings; write the word alone"))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'a>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_struct("", fields, visitor)
    }
}
