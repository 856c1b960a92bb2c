use dermafuse_schema::{Case, Field, FieldKind, FieldRole, FieldValue};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Which metadata columns become inputs, by when their value is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataRoles {
    /// Only what is known before anyone judges the lesion.
    #[default]
    PreDiagnosis,
    /// Also what follows from the diagnosis, such as the management. It leaks; the published protocols use it, so this
    /// is for comparing with their numbers.
    IncludePostDiagnosis,
    /// Pre-diagnosis columns and scores that someone computed from the images.
    IncludeImageDerived,
    /// Every column.
    All,
}

impl MetadataRoles {
    fn include(self, role: FieldRole) -> bool {
        match role {
            FieldRole::PreDiagnosis => true,
            FieldRole::PostDiagnosis => matches!(self, Self::IncludePostDiagnosis | Self::All),
            FieldRole::ImageDerived => matches!(self, Self::IncludeImageDerived | Self::All),
        }
    }
}

/// Turns a case's metadata into numbers, in the way that was fitted on the training cases.
///
/// A categorical column becomes one 0/1 column for each declared category, all zero where the value is missing. A
/// numeric column becomes `(x − mean) / deviation` of the training cases (population deviation), 0 where the value is
/// missing or the training cases do not vary.
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
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EncodedField {
    /// Position of the value in [`Case::metadata`].
    index: usize,
    field: Field,
    /// Mean and population deviation; 0 and 0 for categories.
    mean: f64,
    deviation: f64,
}

impl MetadataEncoder {
    /// Learns from the training cases what the numeric columns' means and deviations are.
    ///
    /// # Errors
    /// A case that does not fit the fields.
    pub fn fit<'a>(
        fields: &[Field],
        cases: impl IntoIterator<Item = &'a Case>,
        roles: MetadataRoles,
    ) -> Result<Self, DataError> {
        let included = fields.iter().enumerate().filter(|(_, field)| roles.include(field.role));
        let columns = included
            .map(|(index, field)| EncodedField { index, field: field.clone(), mean: 0.0, deviation: 0.0 })
            .collect();
        let mut encoder = Self { columns, fields: fields.len() };

        let mut numbers: Vec<Vec<f64>> = vec![Vec::new(); encoder.columns.len()];
        for case in cases {
            for (column, (values, numbers)) in encoder.columns.iter().zip(encoder.values(case)?.zip(&mut numbers)) {
                column.check(case, values)?;
                if let FieldValue::Number(number) = values {
                    numbers.push(*number);
                }
            }
        }
        for (column, numbers) in encoder.columns.iter_mut().zip(&numbers).filter(|(_, numbers)| !numbers.is_empty()) {
            let count = numbers.len() as f64;
            column.mean = numbers.iter().sum::<f64>() / count;
            let squares: f64 = numbers.iter().map(|number| (number - column.mean).powi(2)).sum();
            column.deviation = (squares / count).sqrt();
        }
        Ok(encoder)
    }

    /// An encoder that uses no metadata: width 0 for cases of any set.
    #[must_use]
    pub fn none(fields: &[Field]) -> Self {
        Self { columns: Vec::new(), fields: fields.len() }
    }

    /// The encoded metadata of a case.
    ///
    /// # Shapes
    /// `[M]`, `M = width()`.
    ///
    /// # Errors
    /// A case with another number of values, a category out of range, a number for a category or the reverse.
    pub fn encode(&self, case: &Case) -> Result<Vec<f64>, DataError> {
        let mut encoded = Vec::with_capacity(self.width());
        for (column, value) in self.columns.iter().zip(self.values(case)?) {
            column.check(case, value)?;
            match (&column.field.kind, value) {
                (FieldKind::Categorical { categories }, value) => {
                    encoded.extend(
                        (0..categories.len()).map(|index| f64::from(u8::from(*value == FieldValue::Category(index)))),
                    );
                }
                (FieldKind::Numeric, FieldValue::Number(number)) if column.deviation > 0.0 => {
                    encoded.push((number - column.mean) / column.deviation);
                }
                (FieldKind::Numeric, _) => encoded.push(0.0),
            }
        }
        Ok(encoded)
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
        self.columns.iter().map(|column| column.width()).sum()
    }

    /// The names of the encoded columns: `field=category`, or the field's name for a number.
    #[must_use]
    pub fn column_names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.width());
        for EncodedField { field, .. } in &self.columns {
            match &field.kind {
                FieldKind::Categorical { categories } => {
                    names.extend(categories.iter().map(|category| format!("{}={category}", field.name)));
                }
                FieldKind::Numeric => names.push(field.name.clone()),
            }
        }
        names
    }

    /// The fields that are used, in order.
    #[must_use]
    pub fn field_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.field.name.as_str()).collect()
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
    fn width(&self) -> usize {
        match &self.field.kind {
            FieldKind::Categorical { categories } => categories.len(),
            FieldKind::Numeric => 1,
        }
    }

    fn check(&self, case: &Case, value: &FieldValue) -> Result<(), DataError> {
        let expected = match (&self.field.kind, value) {
            (_, FieldValue::Missing) => return Ok(()),
            (FieldKind::Categorical { categories }, FieldValue::Category(index)) if *index < categories.len() => {
                return Ok(());
            }
            (FieldKind::Numeric, FieldValue::Number(number)) if number.is_finite() => return Ok(()),
            (FieldKind::Categorical { categories }, _) => format!("a category below {}", categories.len()),
            (FieldKind::Numeric, _) => "a finite number".into(),
        };
        let what = format!("field `{}`", self.field.name);
        Err(DataError::Case { case: case.id.to_string(), what, expected, found: format!("{value:?}") })
    }
}
