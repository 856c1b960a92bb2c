//! Modules in files: by their name alone, or by a table with their settings.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use dermafuse_registry::{Erased, KindTable};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};

/// What [`NameOrTable`] reads a table as; a type beside the kind itself, whose own reading starts there.
pub(crate) trait FromTable: FromStr<Err: fmt::Display> + Sized {
    /// The descriptions of other crates.
    type Outside: ?Sized + Erased;

    fn from_table<'de, A: MapAccess<'de>>(
        table: MapAccessDeserializer<KindTable<Self::Outside, A>>,
    ) -> Result<Self, A::Error>;
}

/// Takes a name as [`FromStr`] does, and a table as [`FromTable`] does.
pub(crate) struct NameOrTable<T>(pub(crate) PhantomData<T>);

impl<'de, T: FromTable> Visitor<'de> for NameOrTable<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a module, or a table with its `kind`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        name.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::from_table(MapAccessDeserializer::new(KindTable::new(table)))
    }
}
