//! The description as it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dermafuse_schema::FieldRole;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) name: String,
    #[serde(default)]
    pub(super) missing: Vec<String>,
    pub(super) cases: CaseTable,
    #[serde(default)]
    pub(super) tables: Vec<JoinedTable>,
    pub(super) images: Option<Images>,
    pub(super) tasks: Vec<TaskEntry>,
    #[serde(default)]
    pub(super) fields: Vec<FieldEntry>,
}

impl Description {
    /// Whether more than labels comes from a table.
    pub(super) fn describes_cases(&self, table: &JoinedTable) -> bool {
        let CaseTable { patient, lesion, group, .. } = &self.cases;
        let groups = [patient, lesion, group].into_iter().flatten().flat_map(|columns| &columns.get_ref().0);
        let images = self.images.iter().flat_map(|images| [&images.clinical, &images.dermoscopic]).flatten();
        let images = images.flat_map(|image| image.get_ref().columns());
        let mut named = self.fields.iter().map(|field| field.column.get_ref()).chain(groups).chain(images);
        named.any(|column| column.table.as_ref() == Some(table.name.get_ref()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseTable {
    pub(super) file: Spanned<PathBuf>,
    pub(super) id: Spanned<String>,
    pub(super) patient: Option<Spanned<Columns>>,
    pub(super) lesion: Option<Spanned<Columns>>,
    pub(super) group: Option<Spanned<Columns>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinedTable {
    pub(super) name: Spanned<String>,
    pub(super) file: Spanned<PathBuf>,
    pub(super) key: Spanned<String>,
    pub(super) references: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Images {
    #[serde(default)]
    pub(super) folders: Vec<Spanned<PathBuf>>,
    /// Where masks lie, if not among the images.
    #[serde(default)]
    pub(super) masks: Vec<Spanned<PathBuf>>,
    pub(super) clinical: Option<Spanned<ImageColumn>>,
    pub(super) dermoscopic: Option<Spanned<ImageColumn>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskEntry {
    pub(super) name: Spanned<String>,
    pub(super) label: Option<String>,
    pub(super) column: Option<Spanned<ColumnName>>,
    pub(super) one_hot: Option<Spanned<String>>,
    pub(super) classes: Vec<Spanned<String>>,
    pub(super) reference: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) map: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) drop: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) missing: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldEntry {
    pub(super) name: Option<Spanned<String>>,
    pub(super) column: Spanned<ColumnName>,
    pub(super) kind: Spanned<Kind>,
    pub(super) role: FieldRole,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) categories: Option<Spanned<Categories>>,
    #[serde(default)]
    pub(super) map: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) missing: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Categorical,
    Numeric,
}

/// `["female", "male"]` or `"observed"`.
#[derive(Debug)]
pub(super) enum Categories {
    Listed(Vec<Spanned<String>>),
    Observed,
}

/// `"age"`, or `{ table = "patients", column = "age" }`.
#[derive(Debug)]
pub(super) struct ColumnName {
    pub(super) table: Option<String>,
    pub(super) column: String,
}

/// A column, or a list of columns whose values are joined by `_`.
#[derive(Debug)]
pub(super) struct Columns(pub(super) Vec<ColumnName>);

/// A column as above, or `{ column = "file", where = { view = "clinical" }, box = ["x", "y", "width", "height"], mask = "mask" }`.
#[derive(Debug)]
pub(super) struct ImageColumn {
    pub(super) name: ColumnName,
    pub(super) only: BTreeMap<Spanned<String>, String>,
    /// Where the lesion is: one column, or four.
    pub(super) lesion_box: Option<Spanned<Columns>>,
    /// The file of an image that is not black there.
    pub(super) mask: Option<Spanned<ColumnName>>,
}

impl ImageColumn {
    /// The columns that it names.
    fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        let lesion_box = self.lesion_box.iter().flat_map(|columns| &columns.get_ref().0);
        [&self.name].into_iter().chain(lesion_box).chain(self.mask.as_ref().map(Spanned::get_ref))
    }
}

impl<'de> Deserialize<'de> for ColumnName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            table: Option<String>,
            column: String,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ColumnName;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a column's name or `{ table = …, column = … }`")
            }

            fn visit_str<E: Error>(self, column: &str) -> Result<ColumnName, E> {
                Ok(ColumnName { table: None, column: column.into() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnName, A::Error> {
                let Full { table, column } = Full::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ColumnName { table, column })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Columns;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a column or a list of columns")
            }

            fn visit_str<E: Error>(self, column: &str) -> Result<Columns, E> {
                Ok(Columns(vec![ColumnName { table: None, column: column.into() }]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Columns, A::Error> {
                Ok(Columns(vec![ColumnName::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Columns, A::Error> {
                let columns = Vec::<ColumnName>::deserialize(SeqAccessDeserializer::new(seq))?;
                if columns.is_empty() { Err(A::Error::custom("no column is named")) } else { Ok(Columns(columns)) }
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for ImageColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            table: Option<String>,
            column: String,
            #[serde(default, rename = "where")]
            only: BTreeMap<Spanned<String>, String>,
            #[serde(rename = "box")]
            lesion_box: Option<Spanned<Columns>>,
            mask: Option<Spanned<ColumnName>>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ImageColumn;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a column's name or `{ column = …, where = { … }, box = …, mask = … }`")
            }

            fn visit_str<E: Error>(self, column: &str) -> Result<ImageColumn, E> {
                let name = ColumnName { table: None, column: column.into() };
                Ok(ImageColumn { name, only: BTreeMap::new(), lesion_box: None, mask: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImageColumn, A::Error> {
                let Full { table, column, only, lesion_box, mask } =
                    Full::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ImageColumn { name: ColumnName { table, column }, only, lesion_box, mask })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Categories {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Categories;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of categories, or \"observed\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Categories, E> {
                match text {
                    "observed" => Ok(Categories::Observed),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Categories, A::Error> {
                Ok(Categories::Listed(Vec::deserialize(SeqAccessDeserializer::new(seq))?))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
