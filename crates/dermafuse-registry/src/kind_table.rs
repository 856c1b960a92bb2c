//! Reading a table with a `kind` that may be of another crate.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};

use crate::{Erased, OutsideKind};

/// The tag of the variant that holds the kinds of other crates, in enums that serde reads by their `kind`: no kind has this name.
pub const OUTSIDE: &str = "outside!";
/// The key under which an [`OutsideKind`] finds its own kind.
pub(crate) const KIND_OF: &str = "kind!";
pub(crate) const KIND: &str = "kind";

/// Reads an enum, which serde derives with `tag = "kind"`, from a table whose `kind` may be of another crate: then it is its variant
/// [`OUTSIDE`].
///
/// `I` is the trait object of the descriptions. A `kind` that is neither built in nor registered is an error at its place.
pub struct KindTable<I: ?Sized, A> {
    entries: A,
    state: State,
    registry: PhantomData<fn() -> Box<I>>,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Between two entries; with the kind of another crate, if there was one.
    Key(Option<String>),
    /// After the key `kind`.
    Kind,
    /// After another key.
    Value(Option<String>),
    /// After the key of the kind of another crate.
    KindOf(String),
    End,
}

impl<I: ?Sized, A> KindTable<I, A> {
    /// A table of these entries.
    pub fn new(entries: A) -> Self {
        Self { entries, state: State::Key(None), registry: PhantomData }
    }
}

impl<'de, I: ?Sized + Erased, A: MapAccess<'de>> MapAccess<'de> for KindTable<I, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let State::Key(outside) = std::mem::replace(&mut self.state, State::End) else { return Ok(None) };
        let key = match (self.entries.next_key::<String>()?, outside) {
            (Some(key), outside) => {
                self.state = if key == KIND { State::Kind } else { State::Value(outside) };
                key
            }
            (None, Some(kind)) => {
                self.state = State::KindOf(kind);
                KIND_OF.to_owned()
            }
            (None, None) => return Ok(None),
        };
        let key: StringDeserializer<A::Error> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let told = |text: String| -> StringDeserializer<A::Error> { text.into_deserializer() };
        match std::mem::replace(&mut self.state, State::End) {
            State::Kind => {
                let kind = self.entries.next_value_seed(KnownKind::<I>(PhantomData))?;
                let is_built_in = I::registry().is_built_in(&kind);
                let tag = if is_built_in { kind.clone() } else { OUTSIDE.to_owned() };
                self.state = State::Key((!is_built_in).then_some(kind));
                seed.deserialize(told(tag))
            }
            State::Value(outside) => {
                self.state = State::Key(outside);
                self.entries.next_value_seed(seed)
            }
            State::KindOf(kind) => seed.deserialize(told(kind)),
            State::Key(_) | State::End => Err(A::Error::custom("a value without a key")),
        }
    }
}

/// Reads the name of a kind that is known.
struct KnownKind<I: ?Sized>(PhantomData<fn() -> Box<I>>);

impl<'de, I: ?Sized + Erased> DeserializeSeed<'de> for KnownKind<I> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<I: ?Sized + Erased> Visitor<'_> for KnownKind<I> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a kind")
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<String, E> {
        let registry = I::registry();
        match registry.is_built_in(kind) || registry.find(kind).is_some() {
            true => Ok(kind.to_owned()),
            false => Err(E::custom(registry.unknown(kind))),
        }
    }
}

impl<I: ?Sized + Erased> OutsideKind<I> {
    /// Reads it by its name alone: with the default of each setting.
    ///
    /// # Errors
    /// A name that is not registered; a description that has a setting without a default.
    pub fn by_name(kind: &str) -> Result<Self, String> {
        let read = I::registry().find(kind).ok_or_else(|| I::registry().unknown(kind))?;
        read(serde_json::Map::new()).map(Self::new).map_err(|error| format!("{kind}: {error}"))
    }
}
