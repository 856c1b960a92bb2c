use std::fmt::Display;

use dermafuse_schema::{Case, Field, FieldKind, FieldRole, FieldValue};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::encoder_config::{CategorySource, EncoderConfig, NumericScaling, UnseenCategory};

/// Turns a case's metadata into numbers, in the way that was fitted on the training cases.
///
/// A categorical column becomes one 0/1 column for each declared category, all zero where the value is missing. A
/// numeric column becomes `(x − mean) / deviation` of the training cases (population deviation), 0 where the value is
/// missing or the training cases do not vary. An [`EncoderConfig`] changes any of this.
///
/// ```
/// use dermafuse_data::{MetadataEncoder, MetadataRoles};
/// use dermafuse_schema::{Case, Field, FieldRole, FieldValue::{Category, Missing, Number}};
///
/// let fields = [
///     Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]),
///     Field::numeric("age", FieldRole::PreDiagnosis),
///     Field::categorical("management", FieldRole::PostDiagnosis, ["excision", "none"]),
/// ];
/// let case = |metadata| Case { metadata, ..Case::new("1") };
/// let training = [
///     case(vec![Category(0), Number(40.0), Category(0)]),
///     case(vec![Category(1), Number(60.0), Category(1)]),
/// ];
/// let encoder = MetadataEncoder::fit(&fields, &training, MetadataRoles::PreDiagnosis)?;
/// assert_eq!(encoder.column_names(), ["sex=female", "sex=male", "age"]);
/// assert_eq!(encoder.encode(&case(vec![Category(1), Number(70.0), Missing]))?, [0.0, 1.0, 2.0]);
/// assert_eq!(encoder.encode(&case(vec![Missing, Missing, Missing]))?, [0.0, 0.0, 0.0]);
/// assert!(encoder.uses_post_diagnosis().is_empty());
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetadataEncoder {
    columns: Vec<EncodedField>,
    /// How many values a case must have.
    fields: usize,
    /// Encoders that were saved before there was a choice have the defaults.
    #[serde(default)]
    config: EncoderConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EncodedField {
    /// Position of the value in [`Case::metadata`].
    index: usize,
    field: Field,
    /// What is subtracted and divided by; 0 and 0 for categories, 0 and 1 for numbers as they are.
    mean: f64,
    deviation: f64,
    /// The categories that have a column; `None` for all.
    #[serde(default)]
    observed: Option<Vec<usize>>,
}

/// What the training cases say of one field.
struct Seen {
    numbers: Vec<f64>,
    categories: Vec<bool>,
}

impl MetadataEncoder {
    /// Learns from the training cases what must be known of them: the means and deviations of the numeric columns,
    /// and the categories that occur. `config` may be [`MetadataRoles`](crate::MetadataRoles) alone.
    ///
    /// # Errors
    /// A case that does not fit the fields.
    pub fn fit<'a>(
        fields: &[Field],
        cases: impl IntoIterator<Item = &'a Case>,
        config: impl Into<EncoderConfig>,
    ) -> Result<Self, DataError> {
        let mut encoder = Self::unfitted(fields, config.into());
        let mut seen: Vec<Seen> = encoder.columns.iter().map(EncodedField::nothing_seen).collect();
        for case in cases {
            for (column, (value, seen)) in encoder.columns.iter().zip(encoder.values(case)?.zip(&mut seen)) {
                column.see(&case.id, *value, seen)?;
            }
        }
        encoder.columns.iter_mut().zip(seen).for_each(|(column, seen)| column.settle(seen, &encoder.config));
        Ok(encoder)
    }

    fn unfitted(fields: &[Field], config: EncoderConfig) -> Self {
        let included = fields.iter().enumerate().filter(|(_, field)| config.roles.include(field.role));
        let column = |(index, field): (usize, &Field)| EncodedField {
            index,
            field: field.clone(),
            mean: 0.0,
            deviation: 0.0,
            observed: None,
        };
        Self { columns: included.map(column).collect(), fields: fields.len(), config }
    }

    /// An encoder that uses no metadata: width 0 for cases of any set.
    #[must_use]
    pub fn none(fields: &[Field]) -> Self {
        Self { columns: Vec::new(), fields: fields.len(), config: EncoderConfig::default() }
    }

    /// How it was told to encode.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The encoded metadata of a case.
    ///
    /// # Shapes
    /// `[M]`, `M = width()`.
    ///
    /// # Errors
    /// A case with another number of values, a category out of range or not known, a number for a category or the
    /// reverse.
    pub fn encode(&self, case: &Case) -> Result<Vec<f64>, DataError> {
        let mut encoded = vec![0.0; self.width()];
        self.encode_into(case, &mut encoded)?;
        Ok(encoded)
    }

    /// Writes the encoded metadata of a case over `encoded`, so that one row of a matrix after the other can be filled
    /// without allotting memory.
    ///
    /// # Shapes
    /// `[M]`, `M = width()`.
    ///
    /// # Errors
    /// Those of [`MetadataEncoder::encode`].
    ///
    /// # Panics
    /// If `encoded` has another length.
    pub fn encode_into(&self, case: &Case, encoded: &mut [f64]) -> Result<(), DataError> {
        assert_eq!(encoded.len(), self.width(), "a slot for each encoded column");
        encoded.fill(0.0);
        let mut rest = encoded;
        for (column, value) in self.columns.iter().zip(self.values(case)?) {
            let (slots, others) = rest.split_at_mut(column.width(&self.config));
            column.write(&case.id, *value, &self.config, |at, number| slots[at] = number)?;
            rest = others;
        }
        Ok(())
    }

    /// Whether any of the columns that are used is recorded for a case.
    ///
    /// # Errors
    /// A case with another number of values.
    pub fn has_metadata(&self, case: &Case) -> Result<bool, DataError> {
        Ok(self.values(case)?.any(|value| *value != FieldValue::Missing))
    }

    /// The number of encoded columns, `M`.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.iter().map(|column| column.width(&self.config)).sum()
    }

    /// The names of the encoded columns: `field=category`, or the field's name for a number; `field:missing` for a
    /// missing indicator.
    #[must_use]
    pub fn column_names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.width());
        for column in &self.columns {
            let field = &column.field.name;
            match &column.field.kind {
                FieldKind::Categorical { .. } => {
                    names.extend(column.categories().into_iter().map(|category| format!("{field}={category}")));
                }
                FieldKind::Numeric => names.push(field.clone()),
            }
            if self.config.missing_indicators {
                names.push(format!("{field}:missing"));
            }
        }
        names
    }

    /// The fields that are used, in order.
    #[must_use]
    pub fn field_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.field.name.as_str()).collect()
    }

    /// How many values a case must have, used or not.
    #[must_use]
    pub fn case_values(&self) -> usize {
        self.fields
    }

    /// The fields that are used, in order, each with its place among a case's values.
    pub fn used_fields(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.columns.iter().map(|column| (column.index, &column.field))
    }

    /// The fields among them that are only known after a diagnosis. Not empty means: the inputs leak, and a report
    /// must say so.
    #[must_use]
    pub fn uses_post_diagnosis(&self) -> Vec<&str> {
        let leaking = self.columns.iter().filter(|column| column.field.role == FieldRole::PostDiagnosis);
        leaking.map(|column| column.field.name.as_str()).collect()
    }

    /// The values of the columns that are used.
    fn values<'a>(&'a self, case: &'a Case) -> Result<impl Iterator<Item = &'a FieldValue>, DataError> {
        if case.metadata.len() != self.fields {
            return Err(DataError::Case {
                case: case.id.to_string(),
                what: "number of metadata values".into(),
                expected: self.fields.to_string(),
                found: case.metadata.len().to_string(),
            });
        }
        Ok(self.columns.iter().map(|column| &case.metadata[column.index]))
    }
}

impl EncodedField {
    fn nothing_seen(&self) -> Seen {
        let categories = match &self.field.kind {
            FieldKind::Categorical { categories } => vec![false; categories.len()],
            FieldKind::Numeric => Vec::new(),
        };
        Seen { numbers: Vec::new(), categories }
    }

    /// Takes a training case's value into account.
    fn see(&self, case: &dyn Display, value: FieldValue, seen: &mut Seen) -> Result<(), DataError> {
        self.check(case, value)?;
        match value {
            FieldValue::Number(number) => seen.numbers.push(number),
            FieldValue::Category(index) => seen.categories[index] = true,
            FieldValue::Missing => {}
        }
        Ok(())
    }

    fn settle(&mut self, seen: Seen, config: &EncoderConfig) {
        match (&self.field.kind, config.numeric, config.categories) {
            (FieldKind::Numeric, NumericScaling::Raw, _) => self.deviation = 1.0,
            (FieldKind::Numeric, NumericScaling::Standardized, _) if !seen.numbers.is_empty() => {
                let (first, count) = (seen.numbers[0], seen.numbers.len() as f64);
                if seen.numbers.iter().all(|&number| number == first) {
                    // Computed, the deviation of a constant is rounding, by which other values would be divided.
                    (self.mean, self.deviation) = (first, 0.0);
                    return;
                }
                self.mean = seen.numbers.iter().sum::<f64>() / count;
                let squares: f64 = seen.numbers.iter().map(|number| (number - self.mean).powi(2)).sum();
                self.deviation = (squares / count).sqrt();
            }
            (FieldKind::Categorical { .. }, _, CategorySource::Observed { .. }) => {
                self.observed = Some((0..seen.categories.len()).filter(|&index| seen.categories[index]).collect());
            }
            _ => {}
        }
    }

    fn width(&self, config: &EncoderConfig) -> usize {
        let values = match (&self.field.kind, &self.observed) {
            (FieldKind::Categorical { .. }, Some(observed)) => observed.len(),
            (FieldKind::Categorical { categories }, None) => categories.len(),
            (FieldKind::Numeric, _) => 1,
        };
        values + usize::from(config.missing_indicators)
    }

    /// The categories that have a column, in order; empty for a number.
    fn categories(&self) -> Vec<&str> {
        match (&self.field.kind, &self.observed) {
            (FieldKind::Categorical { categories }, Some(observed)) => {
                observed.iter().map(|&index| categories[index].as_str()).collect()
            }
            (FieldKind::Categorical { categories }, None) => categories.iter().map(String::as_str).collect(),
            (FieldKind::Numeric, _) => Vec::new(),
        }
    }

    /// The whole of the encoding: says which of the field's columns is not zero, and what it is. At most one is.
    #[inline]
    fn write(
        &self,
        case: &dyn Display,
        value: FieldValue,
        config: &EncoderConfig,
        mut put: impl FnMut(usize, f64),
    ) -> Result<(), DataError> {
        self.check(case, value)?;
        match (value, &self.observed) {
            (FieldValue::Missing, _) if config.missing_indicators => put(self.width(config) - 1, 1.0),
            (FieldValue::Missing, _) => {}
            (FieldValue::Category(index), None) => put(index, 1.0),
            (FieldValue::Category(index), Some(observed)) => match observed.binary_search(&index) {
                Ok(at) => put(at, 1.0),
                Err(_) => self.unseen(case, index, config)?,
            },
            (FieldValue::Number(number), _) if self.deviation > 0.0 => put(0, (number - self.mean) / self.deviation),
            (FieldValue::Number(_), _) => {}
        }
        Ok(())
    }

    fn unseen(&self, case: &dyn Display, index: usize, config: &EncoderConfig) -> Result<(), DataError> {
        if config.categories == (CategorySource::Observed { unseen: UnseenCategory::Zeros }) {
            return Ok(());
        }
        Err(DataError::UnseenCategory {
            case: case.to_string(),
            field: self.field.name.clone(),
            category: self.field.text(&FieldValue::Category(index)).unwrap_or_default(),
            known: self.categories().into_iter().map(Into::into).collect(),
        })
    }

    #[inline]
    fn check(&self, case: &dyn Display, value: FieldValue) -> Result<(), DataError> {
        let expected = match (&self.field.kind, value) {
            (_, FieldValue::Missing) => return Ok(()),
            (FieldKind::Categorical { categories }, FieldValue::Category(index)) if index < categories.len() => {
                return Ok(());
            }
            (FieldKind::Numeric, FieldValue::Number(number)) if number.is_finite() => return Ok(()),
            (FieldKind::Categorical { categories }, _) => format!("a category below {}", categories.len()),
            (FieldKind::Numeric, _) => "a finite number".into(),
        };
        let what = format!("field `{}`", self.field.name);
        Err(DataError::Case { case: case.to_string(), what, expected, found: format!("{value:?}") })
    }
}
