use dermafuse_data::{MetadataEncoder, NumberRange};
use dermafuse_schema::{Field, FieldKind, FieldRole};
use serde::Serialize;

/// A field of the record that a model looks at, with what it knows of it: enough to draw a form.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelField {
    /// The name, by which values are [set](crate::Patient::set).
    pub name: String,
    /// What it holds: a number, or one of a list of categories.
    pub kind: FieldKind,
    /// The unit of a number, if it is known.
    pub unit: Option<String>,
    /// When its value is known.
    pub role: FieldRole,
    /// The numbers that the training cases had; `None` for categories, and in models of earlier versions.
    pub training: Option<NumberRange>,
    /// The categories that no training case had: they count as not recorded, or are refused where the model says so.
    pub never_seen: Vec<String>,
}

impl ModelField {
    /// A field of an encoder.
    pub(crate) fn of(encoder: &MetadataEncoder, field: &Field) -> Self {
        Self {
            name: field.name.clone(),
            kind: field.kind.clone(),
            unit: field.unit.clone(),
            role: field.role,
            training: encoder.training_range(&field.name),
            never_seen: encoder.unseen_categories(&field.name).into_iter().map(str::to_owned).collect(),
        }
    }

    /// The categories; none for a number.
    #[must_use]
    pub fn categories(&self) -> &[String] {
        match &self.kind {
            FieldKind::Categorical { categories } => categories,
            FieldKind::Numeric => &[],
        }
    }

    /// Whether its value is known before anybody judges the lesion, so that an answer may stand on it.
    #[must_use]
    pub fn is_known_before_diagnosis(&self) -> bool {
        matches!(self.role, FieldRole::PreDiagnosis | FieldRole::OtherLesions)
    }
}
