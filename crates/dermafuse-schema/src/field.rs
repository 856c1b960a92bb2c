use std::fmt;

use serde::{Deserialize, Serialize};

/// What a metadata column holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// One of a closed list of categories, in encoding order.
    Categorical {
        /// The categories as written in the data set's files.
        categories: Vec<String>,
    },
    /// A number; [`Field::unit`] says its unit, where that is known.
    Numeric,
}

/// When in the clinical course a value is known. A column that is only known after the diagnosis leaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldRole {
    /// Known before anyone judges the lesion: age, sex, site.
    PreDiagnosis,
    /// Known because someone judged the lesion: management, biopsy, difficulty. An input of this role leaks.
    PostDiagnosis,
    /// Computed from the image, so not patient metadata.
    ImageDerived,
    /// Which data set or clinic a case comes from: for tables by source, never an input.
    Provenance,
    /// What another model says of the case: the input of that model's branch, and of nothing else.
    ModelOutput,
    /// What a number of the lesion is beside the same number of the patient's other lesions in the table. It is an input where it was asked
    /// for, and not recorded of a lesion alone.
    OtherLesions,
}

impl fmt::Display for FieldRole {
    /// As in files: `pre_diagnosis`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::PreDiagnosis => "pre_diagnosis",
            Self::PostDiagnosis => "post_diagnosis",
            Self::ImageDerived => "image_derived",
            Self::Provenance => "provenance",
            Self::ModelOutput => "model_output",
            Self::OtherLesions => "other_lesions",
        })
    }
}

/// A metadata column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Column name as in the data set's files.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// When its value is known.
    pub role: FieldRole,
    /// The unit of a number, such as `years`; `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Field {
    /// A categorical column.
    pub fn categorical<C: Into<String>>(
        name: impl Into<String>,
        role: FieldRole,
        categories: impl IntoIterator<Item = C>,
    ) -> Self {
        let categories = categories.into_iter().map(Into::into).collect();
        Self { name: name.into(), kind: FieldKind::Categorical { categories }, role, unit: None }
    }

    /// A numeric column.
    pub fn numeric(name: impl Into<String>, role: FieldRole) -> Self {
        Self { name: name.into(), kind: FieldKind::Numeric, role, unit: None }
    }

    /// The same with the unit of its numbers.
    ///
    /// ```
    /// use dermafuse_schema::{Field, FieldRole};
    ///
    /// let age = Field::numeric("age", FieldRole::PreDiagnosis).with_unit("years");
    /// assert_eq!(age.unit.as_deref(), Some("years"));
    /// ```
    #[must_use]
    pub fn with_unit(self, unit: impl Into<String>) -> Self {
        Self { unit: Some(unit.into()), ..self }
    }

    /// The category's text, or the number's, of a value of this field; `None` when it is missing.
    ///
    /// # Panics
    /// If a category index is out of the field's range, or a category is given to a numeric field.
    #[must_use]
    pub fn text(&self, value: &FieldValue) -> Option<String> {
        match (value, &self.kind) {
            (FieldValue::Missing, _) => None,
            (FieldValue::Number(number), _) => Some(number.to_string()),
            (FieldValue::Category(index), FieldKind::Categorical { categories }) => Some(categories[*index].clone()),
            (FieldValue::Category(_), FieldKind::Numeric) => {
                panic!("field `{}` is numeric, not categorical", self.name)
            }
        }
    }
}

/// The value of one field for one case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldValue {
    /// Index into the field's categories.
    Category(usize),
    /// A finite number.
    Number(f64),
    /// Not recorded.
    Missing,
}
