use std::collections::{BTreeMap, HashMap};

use dermafuse_schema::{Case, Field, FieldKind, FieldValue};

use crate::metadata::encoder::{EncodedField, check_length, check_names, check_value};
use crate::metadata::encoder_config::{MissingFields, UnseenCategory};
use crate::{CaseView, DataError, MetadataEncoder};

/// A [`MetadataEncoder`] whose fields and categories have been found by name among the fields of one set. Made by
/// [`MetadataEncoder::matched`].
#[derive(Clone, Debug)]
pub struct MatchedEncoder<'a> {
    encoder: &'a MetadataEncoder,
    fields: &'a [Field],
    columns: Vec<MatchedField<'a>>,
}

#[derive(Clone, Debug)]
struct MatchedField<'a> {
    column: &'a EncodedField,
    /// Where the set has the field; `None` if it has not.
    place: Option<usize>,
    /// The encoded column of each category of the set's field; `None` for one that the encoder does not know.
    slots: Vec<Option<usize>>,
}

impl MetadataEncoder {
    /// The encoder for cases of a set with these fields, in which its own fields and categories are found by name.
    ///
    /// # Errors
    /// Two fields of one name; a field that the encoder uses and that is not there, unless
    /// [`MissingFields::Allow`] says that it may be; one that holds numbers here and categories there.
    pub fn matched<'a>(&'a self, fields: &'a [Field]) -> Result<MatchedEncoder<'a>, DataError> {
        MatchedEncoder::new(self, fields)
    }

    /// What must be said of the encoding of these cases: fields that the set lacks, and how many cases have a
    /// category that the encoder does not know, which counts as not recorded.
    ///
    /// # Errors
    /// Those of [`MetadataEncoder::matched`].
    pub fn notes(&self, cases: &CaseView<'_>) -> Result<Vec<String>, DataError> {
        self.matched(&cases.set().fields)?.notes(cases.cases())
    }
}

impl<'a> MatchedEncoder<'a> {
    fn new(encoder: &'a MetadataEncoder, fields: &'a [Field]) -> Result<Self, DataError> {
        check_names(fields)?;
        let places: HashMap<&str, usize> =
            fields.iter().enumerate().map(|(place, field)| (field.name.as_str(), place)).collect();
        let match_one = |column: &'a EncodedField| {
            let name = column.field.name.as_str();
            let Some(&place) = places.get(name) else {
                return match encoder.config.missing_fields {
                    MissingFields::Allow => Ok(MatchedField { column, place: None, slots: Vec::new() }),
                    MissingFields::Refuse => Err(DataError::FieldAbsent {
                        field: name.to_owned(),
                        known: fields.iter().map(|field| field.name.clone()).collect(),
                    }),
                };
            };
            let slots = match (&column.field.kind, &fields[place].kind) {
                (FieldKind::Numeric, FieldKind::Numeric) => Vec::new(),
                (FieldKind::Categorical { .. }, FieldKind::Categorical { categories }) => {
                    let known: HashMap<&str, usize> =
                        column.categories().into_iter().enumerate().map(|(slot, name)| (name, slot)).collect();
                    categories.iter().map(|category| known.get(category.as_str()).copied()).collect()
                }
                (expected, found) => {
                    return Err(DataError::FieldOfOtherKind {
                        field: name.to_owned(),
                        expected: kind_name(expected),
                        found: kind_name(found),
                    });
                }
            };
            Ok(MatchedField { column, place: Some(place), slots })
        };
        let columns = encoder.columns.iter().map(match_one).collect::<Result<_, _>>()?;
        Ok(Self { encoder, fields, columns })
    }

    /// The encoded metadata of a case of the set.
    ///
    /// # Shapes
    /// `[M]`, `M = width()` of the encoder.
    ///
    /// # Errors
    /// A case with another number of values than the set has fields, a category out of range, a number for a category or
    /// the reverse; a category that the encoder does not know, where [`UnseenCategory::Refuse`] asks for it.
    pub fn encode(&self, case: &Case) -> Result<Vec<f64>, DataError> {
        let mut encoded = vec![0.0; self.encoder.width()];
        self.encode_into(case, &mut encoded)?;
        Ok(encoded)
    }

    /// Writes the encoded metadata of a case over `encoded`, so that one row of a matrix after the other can be filled
    /// without allotting memory.
    ///
    /// # Shapes
    /// `[M]`, `M = width()` of the encoder.
    ///
    /// # Errors
    /// Those of [`MatchedEncoder::encode`].
    ///
    /// # Panics
    /// If `encoded` has another length.
    pub fn encode_into(&self, case: &Case, encoded: &mut [f64]) -> Result<(), DataError> {
        assert_eq!(encoded.len(), self.encoder.width(), "a slot for each encoded column");
        check_length(case, self.fields)?;
        encoded.fill(0.0);
        let config = &self.encoder.config;
        let mut rest = encoded;
        for field in &self.columns {
            let (slots, others) = rest.split_at_mut(field.column.width(config));
            let value = self.value(field, case)?;
            let EncodedField { mean, deviation, .. } = field.column;
            match value {
                FieldValue::Missing if config.missing_indicators => slots[slots.len() - 1] = 1.0,
                FieldValue::Missing => {}
                FieldValue::Category(slot) => slots[slot] = 1.0,
                FieldValue::Number(number) if *deviation > 0.0 => slots[0] = (number - mean) / deviation,
                FieldValue::Number(_) => {}
            }
            rest = others;
        }
        Ok(())
    }

    /// Whether any of the columns that are used is recorded for a case, with a value that the encoder knows.
    ///
    /// # Errors
    /// Those of [`MatchedEncoder::encode`].
    pub fn has_metadata(&self, case: &Case) -> Result<bool, DataError> {
        check_length(case, self.fields)?;
        for field in &self.columns {
            if self.value(field, case)? != FieldValue::Missing {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What must be said of the encoding of these cases: fields that the set lacks, and how many cases have a category
    /// that the encoder does not know.
    ///
    /// # Errors
    /// A case that does not fit the fields.
    pub fn notes<'c>(&self, cases: impl IntoIterator<Item = &'c Case>) -> Result<Vec<String>, DataError> {
        let mut unknown: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut total = 0;
        for case in cases {
            total += 1;
            check_length(case, self.fields)?;
            for (at, field) in self.columns.iter().enumerate() {
                let Some(place) = field.place else { continue };
                if let FieldValue::Category(index) = case.metadata[place]
                    && field.slots.get(index) == Some(&None)
                {
                    *unknown.entry((at, index)).or_default() += 1;
                }
            }
        }
        let absent = self.columns.iter().filter(|field| field.place.is_none()).map(|field| {
            format!(
                "The set has no field `{}`, which the model uses: it counts as not recorded.",
                field.column.field.name
            )
        });
        let unknown = unknown.into_iter().filter_map(|((at, index), count)| {
            let field = &self.columns[at];
            let category = self.fields[field.place?].text(&FieldValue::Category(index))?;
            Some(format!(
                "{count} of {total} cases have `{}` = `{category}`, which the model never saw: it counts as not recorded.",
                field.column.field.name
            ))
        });
        Ok(absent.chain(unknown).collect())
    }

    /// The value of a case as the encoder knows it: a category is the number of its encoded column.
    #[inline]
    fn value(&self, field: &MatchedField<'_>, case: &Case) -> Result<FieldValue, DataError> {
        let Some(place) = field.place else { return Ok(FieldValue::Missing) };
        let value = case.metadata[place];
        check_value(case, &self.fields[place], value)?;
        let FieldValue::Category(index) = value else { return Ok(value) };
        match (field.slots[index], self.encoder.config.unseen) {
            (Some(slot), _) => Ok(FieldValue::Category(slot)),
            (None, UnseenCategory::Missing) => Ok(FieldValue::Missing),
            (None, UnseenCategory::Refuse) => Err(DataError::UnseenCategory {
                case: case.id.to_string(),
                field: field.column.field.name.clone(),
                category: self.fields[place].text(&value).unwrap_or_default(),
                known: field.column.categories().into_iter().map(Into::into).collect(),
            }),
        }
    }
}

fn kind_name(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Categorical { .. } => "categories",
        FieldKind::Numeric => "numbers",
    }
}
