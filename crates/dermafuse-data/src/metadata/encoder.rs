use dermafuse_schema::{Case, Field, FieldKind, FieldRole, FieldValue};
use serde::{Deserialize, Serialize};

use crate::metadata::encoder_config::{CategorySource, EncoderConfig, MissingFields, NumericScaling};
use crate::{DataError, NumberRange};

/// More columns than any data set has; an encoder that was read from a file and says more is damaged.
const MAX_COLUMNS: usize = 1 << 16;

/// Turns a case's metadata into numbers, in the way that was fitted on the training cases.
///
/// A categorical column becomes one 0/1 column for each declared category, all zero where the value is missing. A
/// numeric column becomes `(x − mean) / deviation` of the training cases (population deviation), 0 where the value is
/// missing or the training cases do not vary. An [`EncoderConfig`] changes any of this.
///
/// Fields and categories are known by their names. A set that lists them in another order, or lists more of them, gives
/// the same numbers for the same case; [`MetadataEncoder::matched`] looks the names up.
///
/// ```
/// use dermafuse_data::{MetadataEncoder, MetadataRoles};
/// use dermafuse_schema::{Case, Field, FieldRole, FieldValue::{Category, Missing, Number}};
///
/// let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
/// let age = Field::numeric("age", FieldRole::PreDiagnosis);
/// let management = Field::categorical("management", FieldRole::PostDiagnosis, ["excision", "none"]);
/// let fields = [sex, age.clone(), management];
/// let case = |metadata| Case { metadata, ..Case::new("1") };
/// let training = [
///     case(vec![Category(0), Number(40.0), Category(0)]),
///     case(vec![Category(1), Number(60.0), Category(1)]),
/// ];
/// let encoder = MetadataEncoder::fit(&fields, &training, MetadataRoles::PreDiagnosis)?;
/// assert_eq!(encoder.column_names(), ["sex=female", "sex=male", "age"]);
/// assert!(encoder.uses_post_diagnosis().is_empty());
/// let here = encoder.matched(&fields)?;
/// assert_eq!(here.encode(&case(vec![Category(1), Number(70.0), Missing]))?, [0.0, 1.0, 2.0]);
/// assert_eq!(here.encode(&case(vec![Missing, Missing, Missing]))?, [0.0, 0.0, 0.0]);
///
/// // Another set: another order, and other numbers for the categories.
/// let theirs = [age, Field::categorical("sex", FieldRole::PreDiagnosis, ["unknown", "male", "female"])];
/// let there = encoder.matched(&theirs)?;
/// assert_eq!(there.encode(&case(vec![Number(70.0), Category(1)]))?, [0.0, 1.0, 2.0]);
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct MetadataEncoder {
    pub(crate) columns: Vec<EncodedField>,
    pub(crate) config: EncoderConfig,
}

/// A field that is used, and what was learnt of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EncodedField {
    pub(crate) field: Field,
    /// What is subtracted and divided by; 0 and 0 for categories, 0 and 1 for numbers as they are.
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    /// The categories that have a column, ascending; `None` for all.
    #[serde(default)]
    pub(crate) observed: Option<Vec<usize>>,
    /// The numbers of the training cases; `None` for categories, and in encoders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<NumberRange>,
}

/// An encoder as it lies in a file, not checked yet.
#[derive(Deserialize)]
struct Parts {
    columns: Vec<PartOfField>,
    /// Encoders that were saved before there was a choice have the defaults.
    #[serde(default)]
    config: EncoderConfig,
    /// The number of values of a case, from the time when fields were known by their places.
    fields: Option<u64>,
}

#[derive(Deserialize)]
struct PartOfField {
    #[serde(flatten)]
    encoded: EncodedField,
    /// The place of the field, from the same time.
    index: Option<u64>,
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
    /// Two fields of one name, or two categories of one name in a field; a case that does not fit the fields.
    pub fn fit<'a>(
        fields: &[Field],
        cases: impl IntoIterator<Item = &'a Case>,
        config: impl Into<EncoderConfig>,
    ) -> Result<Self, DataError> {
        let config = config.into();
        check_names(fields)?;
        let included = fields.iter().enumerate().filter(|(_, field)| config.roles.include(field.role));
        let (places, used): (Vec<usize>, Vec<&Field>) = included.unzip();
        let mut seen: Vec<Seen> = used.iter().map(|field| Seen::nothing_of(field)).collect();
        for case in cases {
            check_length(case, fields)?;
            for ((&place, field), seen) in places.iter().zip(&used).zip(&mut seen) {
                let value = case.metadata[place];
                check_value(case, field, value)?;
                match value {
                    FieldValue::Number(number) => seen.numbers.push(number),
                    FieldValue::Category(index) => seen.categories[index] = true,
                    FieldValue::Missing => {}
                }
            }
        }
        let columns = used.into_iter().zip(seen).map(|(field, seen)| EncodedField::of(field, seen, &config)).collect();
        Self::new(columns, config)
    }

    /// The one constructor, for what was fitted and for what was read.
    fn new(columns: Vec<EncodedField>, config: EncoderConfig) -> Result<Self, DataError> {
        let fields: Vec<&Field> = columns.iter().map(|column| &column.field).collect();
        check_names(fields)?;
        for column in &columns {
            column.check()?;
        }
        let encoder = Self { columns, config };
        if encoder.width() > MAX_COLUMNS {
            let found = encoder.width().to_string();
            let expected = "at most 65536; do numbers or names stand in a column of categories?";
            return Err(DataError::Setting { what: "number of encoded metadata columns", found, expected });
        }
        Ok(encoder)
    }

    /// An encoder that uses no metadata: width 0 for cases of any set.
    #[must_use]
    pub fn none() -> Self {
        Self { columns: Vec::new(), config: EncoderConfig::default() }
    }

    /// The same encoder with another rule for fields that a set does not have.
    #[must_use]
    pub fn with_missing_fields(mut self, rule: MissingFields) -> Self {
        self.config.missing_fields = rule;
        self
    }

    /// How it was told to encode.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.config
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
        self.fields().map(|field| field.name.as_str()).collect()
    }

    /// The fields that are used, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.columns.iter().map(|column| &column.field)
    }

    /// The numbers that the training cases had in a field; `None` for a field of categories, one that no training case had,
    /// one that is not used, and in encoders of earlier versions.
    #[must_use]
    pub fn training_range(&self, field: &str) -> Option<NumberRange> {
        self.columns.iter().find(|column| column.field.name == field)?.range
    }

    /// The categories of a field that have no column, because no training case had them.
    #[must_use]
    pub fn unseen_categories(&self, field: &str) -> Vec<&str> {
        let Some(column) = self.columns.iter().find(|column| column.field.name == field) else { return Vec::new() };
        let FieldKind::Categorical { categories } = &column.field.kind else { return Vec::new() };
        let known = column.categories();
        categories.iter().map(String::as_str).filter(|category| !known.contains(category)).collect()
    }

    /// The fields among them that are only known after a diagnosis. Not empty means: the inputs leak, and a report
    /// must say so.
    #[must_use]
    pub fn uses_post_diagnosis(&self) -> Vec<&str> {
        let leaking = self.columns.iter().filter(|column| column.field.role == FieldRole::PostDiagnosis);
        leaking.map(|column| column.field.name.as_str()).collect()
    }
}

impl TryFrom<Parts> for MetadataEncoder {
    type Error = DataError;

    fn try_from(parts: Parts) -> Result<Self, DataError> {
        let most = parts.fields.unwrap_or(MAX_COLUMNS as u64);
        if most > MAX_COLUMNS as u64 {
            let expected = "the number of values of a case";
            return Err(DataError::Setting {
                what: "`fields` of the metadata encoder",
                found: most.to_string(),
                expected,
            });
        }
        if let Some(index) = parts.columns.iter().filter_map(|part| part.index).find(|&index| index >= most) {
            let expected = "below its `fields`";
            let what = "`index` of a column of the metadata encoder";
            return Err(DataError::Setting { what, found: index.to_string(), expected });
        }
        Self::new(parts.columns.into_iter().map(|part| part.encoded).collect(), parts.config)
    }
}

impl Seen {
    fn nothing_of(field: &Field) -> Self {
        let categories = match &field.kind {
            FieldKind::Categorical { categories } => vec![false; categories.len()],
            FieldKind::Numeric => Vec::new(),
        };
        Self { numbers: Vec::new(), categories }
    }
}

impl EncodedField {
    fn of(field: &Field, seen: Seen, config: &EncoderConfig) -> Self {
        let range = NumberRange::of(&seen.numbers);
        let mut column = Self { field: field.clone(), mean: 0.0, deviation: 0.0, observed: None, range };
        match (&field.kind, config.numeric, config.categories) {
            (FieldKind::Numeric, NumericScaling::Raw, _) => column.deviation = 1.0,
            (FieldKind::Numeric, NumericScaling::Standardized, _) if !seen.numbers.is_empty() => {
                let (first, count) = (seen.numbers[0], seen.numbers.len() as f64);
                if seen.numbers.iter().all(|&number| number == first) {
                    // Computed, the deviation of a constant is rounding, by which other values would be divided.
                    column.mean = first;
                } else {
                    column.mean = seen.numbers.iter().sum::<f64>() / count;
                    let squares: f64 = seen.numbers.iter().map(|number| (number - column.mean).powi(2)).sum();
                    column.deviation = (squares / count).sqrt();
                }
            }
            (FieldKind::Categorical { .. }, _, CategorySource::Observed) => {
                column.observed = Some((0..seen.categories.len()).filter(|&index| seen.categories[index]).collect());
            }
            _ => {}
        }
        column
    }

    fn check(&self) -> Result<(), DataError> {
        let error = |what: &str, found: String, expected: String| {
            Err(DataError::EncodedField { field: self.field.name.clone(), what: what.into(), found, expected })
        };
        if !self.mean.is_finite() {
            return error("mean", self.mean.to_string(), "a finite number".into());
        }
        if !(self.deviation.is_finite() && self.deviation >= 0.0) {
            return error("deviation", self.deviation.to_string(), "a finite number of at least 0".into());
        }
        if let Some(range @ NumberRange { lowest, highest }) = self.range {
            let found = format!("{lowest} to {highest}");
            if self.field.kind != FieldKind::Numeric {
                return error("range of numbers", found, "absent".into());
            }
            if !(lowest.is_finite() && highest.is_finite() && lowest <= highest) {
                return error("range of numbers", found, "two finite numbers, the lower one first".into());
            }
            let is_standardized = self.mean != 0.0 || self.deviation != 1.0;
            // The mean of equal numbers may miss them by a rounding.
            let slack = 1e-9 * lowest.abs().max(highest.abs());
            let around = NumberRange { lowest: range.lowest - slack, highest: range.highest + slack };
            if is_standardized && !around.contains(self.mean) {
                return error("mean", self.mean.to_string(), format!("within the range of numbers, {found}"));
            }
        }
        match (&self.field.kind, &self.observed) {
            (_, None) => Ok(()),
            (FieldKind::Numeric, Some(_)) => error("list of observed categories", "there".into(), "absent".into()),
            (FieldKind::Categorical { categories }, Some(observed)) => {
                if let Some(index) = observed.iter().find(|&&index| index >= categories.len()) {
                    let expected = format!("below its {} categories", categories.len());
                    return error("observed category", index.to_string(), expected);
                }
                match observed.windows(2).find(|pair| pair[0] >= pair[1]) {
                    Some(pair) => error("observed category", format!("{} after {}", pair[1], pair[0]), "rising".into()),
                    None => Ok(()),
                }
            }
        }
    }

    pub(crate) fn width(&self, config: &EncoderConfig) -> usize {
        let values = match (&self.field.kind, &self.observed) {
            (FieldKind::Categorical { .. }, Some(observed)) => observed.len(),
            (FieldKind::Categorical { categories }, None) => categories.len(),
            (FieldKind::Numeric, _) => 1,
        };
        values + usize::from(config.missing_indicators)
    }

    /// The categories that have a column, in order; empty for a number.
    pub(crate) fn categories(&self) -> Vec<&str> {
        match (&self.field.kind, &self.observed) {
            (FieldKind::Categorical { categories }, Some(observed)) => {
                observed.iter().map(|&index| categories[index].as_str()).collect()
            }
            (FieldKind::Categorical { categories }, None) => categories.iter().map(String::as_str).collect(),
            (FieldKind::Numeric, _) => Vec::new(),
        }
    }
}

/// Checks that no two fields have one name, and no two categories of a field.
pub(crate) fn check_names<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Result<(), DataError> {
    let mut names = std::collections::HashSet::new();
    for field in fields {
        if !names.insert(field.name.as_str()) {
            return Err(DataError::RepeatedField { field: field.name.clone() });
        }
        if let FieldKind::Categorical { categories } = &field.kind {
            let mut known = std::collections::HashSet::with_capacity(categories.len());
            if let Some(twice) = categories.iter().find(|category| !known.insert(category.as_str())) {
                return Err(DataError::EncodedField {
                    field: field.name.clone(),
                    what: "category".into(),
                    found: format!("`{twice}` twice"),
                    expected: "listed once".into(),
                });
            }
        }
    }
    Ok(())
}

pub(crate) fn check_length(case: &Case, fields: &[Field]) -> Result<(), DataError> {
    if case.metadata.len() == fields.len() {
        return Ok(());
    }
    Err(DataError::Case {
        case: case.id.to_string(),
        what: "number of metadata values".into(),
        expected: fields.len().to_string(),
        found: case.metadata.len().to_string(),
    })
}

/// Checks a value against the field that it is of.
#[inline]
pub(crate) fn check_value(case: &Case, field: &Field, value: FieldValue) -> Result<(), DataError> {
    let expected = match (&field.kind, value) {
        (_, FieldValue::Missing) => return Ok(()),
        (FieldKind::Categorical { categories }, FieldValue::Category(index)) if index < categories.len() => {
            return Ok(());
        }
        (FieldKind::Numeric, FieldValue::Number(number)) if number.is_finite() => return Ok(()),
        (FieldKind::Categorical { categories }, _) => format!("a category below {}", categories.len()),
        (FieldKind::Numeric, _) => "a finite number".into(),
    };
    let what = format!("field `{}`", field.name);
    Err(DataError::Case { case: case.id.to_string(), what, expected, found: format!("{value:?}") })
}
