use std::fmt;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::kind_table::{KIND, KIND_OF};
use crate::{CloneBoxed, Registry, RegistryError};

/// What every trait object of descriptions knows.
pub trait Erased: CloneBoxed + fmt::Debug + Send + Sync + 'static {
    /// The name that it is registered by.
    fn kind(&self) -> &'static str;

    /// Its settings as they are written.
    ///
    /// # Errors
    /// What cannot be written as JSON.
    fn settings(&self) -> Result<Value, serde_json::Error>;

    /// Where these descriptions are registered.
    fn registry() -> &'static Registry<Self>;
}

/// A description of another crate, known by the trait object `I`. Two are equal if they are written alike.
pub struct OutsideKind<I: ?Sized>(Box<I>);

impl<I: ?Sized> OutsideKind<I> {
    /// The description behind its trait object.
    #[must_use]
    pub fn new(description: Box<I>) -> Self {
        Self(description)
    }

    /// The trait object.
    #[must_use]
    pub fn inner(&self) -> &I {
        &self.0
    }

    /// The trait object, to be changed.
    pub fn inner_mut(&mut self) -> &mut I {
        &mut self.0
    }
}

impl<I: ?Sized + Erased> OutsideKind<I> {
    /// The description behind its trait object, whose type is registered, once it was written and read back.
    ///
    /// # Errors
    /// A description that is written as no table, that has a field `kind`, or whose settings do not come back as they are
    /// written: a number that is not finite comes back as nothing.
    pub fn read_back(description: Box<I>) -> Result<Self, RegistryError> {
        let (what, kind) = (I::registry().what(), description.kind());
        match difference(&*description) {
            None => Ok(Self(description)),
            Some(reason) => Err(RegistryError::Value { what, kind, reason }),
        }
    }
}

/// What of a description does not come back when it is written and read.
fn difference<I: ?Sized + Erased>(description: &I) -> Option<String> {
    let written = match description.settings() {
        Ok(Value::Object(written)) => written,
        Ok(other) => {
            return Some(format!("it is written as `{other}`, which is no table; use a struct with named fields"));
        }
        Err(error) => return Some(format!("it cannot be written ({error})")),
    };
    if written.contains_key(KIND) {
        return Some(format!("it has a field `{KIND}`, which files have for the name; give the field another name"));
    }
    let kind = description.kind();
    let Some(read) = I::registry().find(kind) else { return Some(I::registry().unknown(kind)) };
    let again = match read(written.clone()).and_then(|again| again.settings()) {
        Ok(Value::Object(again)) => again,
        Ok(other) => return Some(format!("it comes back as `{other}`")),
        Err(error) => {
            let written = Value::Object(written);
            return Some(format!("it is written as `{written}`, which is not read ({error}); are all numbers finite?"));
        }
    };
    let changed = written.keys().chain(again.keys()).find(|key| written.get(*key) != again.get(*key))?;
    let told = |table: &Map<String, Value>| table.get(changed).map_or("nothing".to_owned(), Value::to_string);
    Some(format!("its `{changed}` is written as {} and comes back as {}", told(&written), told(&again)))
}

impl<I: ?Sized + Erased> fmt::Debug for OutsideKind<I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<I: ?Sized + CloneBoxed> Clone for OutsideKind<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone_boxed())
    }
}

impl<I: ?Sized + Erased> PartialEq for OutsideKind<I> {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (Value, Value)| one == other;
        self.0.kind() == other.0.kind() && self.0.settings().ok().zip(other.0.settings().ok()).is_some_and(is_same)
    }
}

impl<I: ?Sized + Erased> Eq for OutsideKind<I> {}

impl<I: ?Sized + Erased> Serialize for OutsideKind<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(settings) = self.0.settings().map_err(S::Error::custom)? else {
            let kind = self.0.kind();
            return Err(S::Error::custom(format!("`{kind}` is described by no table: use a struct with named fields")));
        };
        let mut table = serializer.serialize_map(Some(settings.len() + 1))?;
        table.serialize_entry("kind", self.0.kind())?;
        settings.iter().try_for_each(|(key, value)| table.serialize_entry(key, value))?;
        table.end()
    }
}

/// From what a [`KindTable`](crate::KindTable) gives the variant that holds it.
impl<'de, I: ?Sized + Erased> Deserialize<'de> for OutsideKind<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Map::deserialize(deserializer)?;
        let Some(Value::String(kind)) = settings.remove(KIND_OF) else {
            return Err(D::Error::custom("a table of another crate's kind is read by its `kind`"));
        };
        let read = I::registry().find(&kind).ok_or_else(|| D::Error::custom(I::registry().unknown(&kind)))?;
        read(settings).map(Self::new).map_err(|error| D::Error::custom(format!("{kind}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KindTable, OUTSIDE};
    use serde::de::value::MapAccessDeserializer;
    use serde::de::{MapAccess, Visitor};
    use serde_json::json;

    trait Shape: fmt::Debug + Send + Sync {
        fn clone_shape(&self) -> Box<dyn Shape>;
        fn written(&self) -> Result<Value, serde_json::Error>;
        fn points(&self) -> usize;
    }

    static SHAPES: Registry<dyn Shape> = Registry::new("shape", &["square"], &[], "register_shape");

    impl CloneBoxed for dyn Shape {
        fn clone_boxed(&self) -> Box<Self> {
            self.clone_shape()
        }
    }

    impl Erased for dyn Shape {
        fn kind(&self) -> &'static str {
            "star"
        }
        fn settings(&self) -> Result<Value, serde_json::Error> {
            self.written()
        }
        fn registry() -> &'static Registry<Self> {
            &SHAPES
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Star {
        #[serde(default)]
        points: usize,
        width: Option<f64>,
    }

    impl Shape for Star {
        fn clone_shape(&self) -> Box<dyn Shape> {
            Box::new(self.clone())
        }
        fn written(&self) -> Result<Value, serde_json::Error> {
            serde_json::to_value(self)
        }
        fn points(&self) -> usize {
            self.points
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Square {
        side: f64,
    }

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(remote = "Self", tag = "kind")]
    enum AnyShape {
        #[serde(rename = "square")]
        Square(Square),
        #[serde(rename = "outside!")]
        Outside(OutsideKind<dyn Shape>),
    }

    impl<'de> Deserialize<'de> for AnyShape {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Table;
            impl<'de> Visitor<'de> for Table {
                type Value = AnyShape;
                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    formatter.write_str("a table with its `kind`")
                }
                fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<AnyShape, A::Error> {
                    AnyShape::deserialize(MapAccessDeserializer::new(KindTable::<dyn Shape, A>::new(table)))
                }
            }
            deserializer.deserialize_any(Table)
        }
    }

    fn read(value: Value) -> Result<AnyShape, String> {
        SHAPES
            .register::<Star>("star", |settings| Ok(Box::new(serde_json::from_value::<Star>(Value::Object(settings))?)))
            .unwrap();
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn kinds_of_other_crates_are_read_beside_those_that_are_built_in() {
        assert_eq!(read(json!({ "side": 2.0, "kind": "square" })), Ok(AnyShape::Square(Square { side: 2.0 })));
        for table in
            [json!({ "kind": "star", "points": 5, "width": 0.1 }), json!({ "points": 5, "width": 0.1, "kind": "star" })]
        {
            let Ok(AnyShape::Outside(star)) = read(table) else { panic!("a star is of another crate") };
            assert_eq!(star.inner().points(), 5);
            assert_eq!(star.clone(), star);
            let written = serde_json::to_value(&star).unwrap();
            assert_eq!(written, json!({ "kind": "star", "points": 5, "width": 0.1 }));
            assert_eq!(read(written), Ok(AnyShape::Outside(star)));
        }
        assert_ne!(read(json!({ "kind": "star", "points": 5 })), read(json!({ "kind": "star", "points": 6 })));
        assert_eq!(OutsideKind::<dyn Shape>::by_name("star").unwrap().inner().points(), 0);
    }

    #[test]
    fn a_value_that_no_file_describes_is_told() {
        /// Written as it says, and read as a star.
        #[derive(Clone, Debug)]
        struct Written(Value);
        impl Shape for Written {
            fn clone_shape(&self) -> Box<dyn Shape> {
                Box::new(self.clone())
            }
            fn written(&self) -> Result<Value, serde_json::Error> {
                Ok(self.0.clone())
            }
            fn points(&self) -> usize {
                0
            }
        }
        read(json!({ "kind": "star" })).unwrap();
        let star = Star { points: 5, width: Some(0.1) };
        assert_eq!(OutsideKind::<dyn Shape>::read_back(Box::new(star)).unwrap().inner().points(), 5);
        let error = |written: Value| {
            let error = OutsideKind::<dyn Shape>::read_back(Box::new(Written(written))).unwrap_err().to_string();
            error.strip_prefix("no file can describe this shape `star`: ").unwrap().to_owned()
        };
        assert_eq!(error(json!(5)), "it is written as `5`, which is no table; use a struct with named fields");
        let kind = "it has a field `kind`, which files have for the name; give the field another name";
        assert_eq!(error(json!({ "kind": "sun" })), kind);
        let lost = error(json!({ "points": f64::NAN }));
        assert!(
            lost.starts_with(r#"it is written as `{"points":null}`, which is not read (invalid type: null"#),
            "{lost}"
        );
        assert!(lost.ends_with("); are all numbers finite?"), "{lost}");
        let changed = error(json!({ "points": 5 }));
        assert_eq!(changed, "its `width` is written as nothing and comes back as null");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let error = read(json!({ "kind": "star", "corners": 5 })).unwrap_err();
        assert!(error.starts_with("star: unknown field `corners`, expected `points` or `width`"), "{error}");
        let error = read(json!({ "kind": "square", "corners": 5 })).unwrap_err();
        assert!(error.starts_with("unknown field `corners`, expected `side`"), "{error}");
        for name in ["moon", OUTSIDE] {
            assert_eq!(read(json!({ "kind": name })), Err(SHAPES.unknown(name)));
        }
        assert!(read(json!({ "points": 5 })).unwrap_err().contains("missing field `kind`"));
        assert!(read(json!({ "kind": 5 })).unwrap_err().contains("expected the name of a kind"));
    }
}
