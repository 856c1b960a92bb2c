use dermafuse_schema::FieldKind;
use serde::Serialize;

use crate::MetadataEncoder;

/// What stands in a column of encoded metadata.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EncodedColumn {
    /// The name of the field that it is from.
    pub field: String,
    /// What of the field.
    #[serde(flatten)]
    pub value: ColumnValue,
}

/// What of a field stands in a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColumnValue {
    /// 1 where the field has this category, else 0.
    Category {
        /// The category.
        category: String,
    },
    /// `(number − mean) / deviation`; 0 where the number is not recorded, and where the deviation is 0.
    Number {
        /// What is subtracted.
        mean: f64,
        /// What is divided by.
        deviation: f64,
    },
    /// 1 where the field is not recorded, or has a category without a column, else 0.
    Missing,
}

impl MetadataEncoder {
    /// What stands in each encoded column, in order: all that is needed to encode a record elsewhere.
    ///
    /// ```
    /// use dermafuse_data::{ColumnValue, MetadataEncoder, MetadataRoles};
    /// use dermafuse_schema::{Case, Field, FieldRole, FieldValue::Number};
    ///
    /// let age = Field::numeric("age", FieldRole::PreDiagnosis);
    /// let training = [40.0, 60.0].map(|age| Case { metadata: vec![Number(age)], ..Case::new("1") });
    /// let encoder = MetadataEncoder::fit(&[age], &training, MetadataRoles::PreDiagnosis)?;
    /// let columns = encoder.encoded_columns();
    /// assert_eq!(columns[0].value, ColumnValue::Number { mean: 50.0, deviation: 10.0 });
    /// # Ok::<(), dermafuse_data::DataError>(())
    /// ```
    #[must_use]
    pub fn encoded_columns(&self) -> Vec<EncodedColumn> {
        let mut columns = Vec::with_capacity(self.width());
        for encoded in &self.columns {
            let column = |value| EncodedColumn { field: encoded.field.name.clone(), value };
            match &encoded.field.kind {
                FieldKind::Categorical { .. } => columns.extend(
                    encoded
                        .categories()
                        .into_iter()
                        .map(|category| column(ColumnValue::Category { category: category.to_owned() })),
                ),
                FieldKind::Numeric => {
                    columns.push(column(ColumnValue::Number { mean: encoded.mean, deviation: encoded.deviation }));
                }
            }
            if self.config.missing_indicators {
                columns.push(column(ColumnValue::Missing));
            }
        }
        columns
    }
}
