use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::RegistryError;

/// Reads a description from the settings of a table.
pub type ReadKind<I> = fn(Map<String, Value>) -> Result<Box<I>, serde_json::Error>;

/// The kinds that other crates bring, by name, of descriptions that are known by the trait object `I`. A registry is a `static`: it
/// belongs to the process.
pub struct Registry<I: ?Sized> {
    what: &'static str,
    built_in: &'static [&'static str],
    reserved: &'static [&'static str],
    register: &'static str,
    kinds: RwLock<BTreeMap<&'static str, (TypeId, ReadKind<I>)>>,
}

impl<I: ?Sized> Registry<I> {
    /// A registry of kinds beside the `built_in` ones, without the `reserved` names. Errors say `what` they are and name the function
    /// that registers one.
    #[must_use]
    pub const fn new(
        what: &'static str,
        built_in: &'static [&'static str],
        reserved: &'static [&'static str],
        register: &'static str,
    ) -> Self {
        Self { what, built_in, reserved, register, kinds: RwLock::new(BTreeMap::new()) }
    }

    /// Registers the descriptions of a type, which `read` reads. The same type may be registered again.
    ///
    /// # Errors
    /// A name that is built in, that another type has, or that none can have.
    pub fn register<D: 'static>(&self, kind: &'static str, read: ReadKind<I>) -> Result<(), RegistryError> {
        let what = self.what;
        let is_name = kind.starts_with(|letter: char| letter.is_ascii_lowercase())
            && kind.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'));
        if !is_name {
            return Err(RegistryError::Name { what, kind });
        }
        if self.built_in.contains(&kind) || self.reserved.contains(&kind) {
            return Err(RegistryError::BuiltIn { what, kind });
        }
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let (registered, _) = kinds.entry(kind).or_insert((TypeId::of::<D>(), read));
        match *registered == TypeId::of::<D>() {
            true => Ok(()),
            false => Err(RegistryError::Taken { what, kind }),
        }
    }

    /// What its kinds are, for errors.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    /// The names that are registered, sorted.
    #[must_use]
    pub fn registered(&self) -> Vec<&'static str> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Whether a name is built in.
    #[must_use]
    pub fn is_built_in(&self, kind: &str) -> bool {
        self.built_in.contains(&kind)
    }

    /// How the descriptions of a registered name are read.
    #[must_use]
    pub fn find(&self, kind: &str) -> Option<ReadKind<I>> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).get(kind).map(|(_, read)| *read)
    }

    /// What is said of a name that nobody knows.
    #[must_use]
    pub fn unknown(&self, kind: &str) -> String {
        let Self { what, built_in, register, .. } = self;
        let known = [built_in, &self.registered()[..]].concat().join(", ");
        format!(
            "there is no {what} `{kind}`; choose one of {known}; one of another crate takes a program that is built with it and \
             calls `{register}`"
        )
    }
}

impl<I: ?Sized> fmt::Debug for Registry<I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Registry").field("what", &self.what).field("registered", &self.registered()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let registry: Registry<u8> = Registry::new("shape", &["square", "circle"], &["disc"], "register_shape");
        let read: ReadKind<u8> = |settings| Ok(Box::new(settings.len() as u8));
        registry.register::<u16>("star", read).unwrap();
        registry.register::<u16>("star", read).unwrap();
        let error = |result: Result<(), RegistryError>| result.unwrap_err().to_string();
        let taken = "another type is registered as the shape `star`; choose another name";
        assert_eq!(error(registry.register::<u32>("star", read)), taken);
        let built_in = "there is a built-in shape `circle`; choose another name";
        assert_eq!(error(registry.register::<u32>("circle", read)), built_in);
        assert!(error(registry.register::<u32>("disc", read)).starts_with("there is a built-in shape `disc`"));
        for name in ["", "Star", "2star", "a star", "star!"] {
            assert_eq!(registry.register::<u32>(name, read), Err(RegistryError::Name { what: "shape", kind: name }));
        }
        assert_eq!(registry.registered(), ["star"]);
        assert_eq!(registry.find("star").unwrap()(Map::new()).unwrap(), Box::new(0));
        assert!(registry.find("moon").is_none() && registry.is_built_in("square") && !registry.is_built_in("star"));
        assert_eq!(
            registry.unknown("moon"),
            "there is no shape `moon`; choose one of square, circle, star; one of another crate takes a program that is built with \
             it and calls `register_shape`"
        );
    }
}
