use dermafuse_schema::FieldRole;
use serde::{Deserialize, Serialize};

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
    /// Every column, but for those that say where a case comes from, and what other models say of it.
    All,
}

impl MetadataRoles {
    pub(crate) fn include(self, role: FieldRole) -> bool {
        match role {
            FieldRole::PreDiagnosis | FieldRole::OtherLesions => true,
            FieldRole::PostDiagnosis => matches!(self, Self::IncludePostDiagnosis | Self::All),
            FieldRole::ImageDerived => matches!(self, Self::IncludeImageDerived | Self::All),
            FieldRole::Provenance | FieldRole::ModelOutput => false,
        }
    }
}

/// What becomes of a numeric column. A missing value is 0 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumericScaling {
    /// `(x − mean) / deviation` of the training cases (population deviation); 0 where they do not vary, so a missing
    /// value stands at the mean.
    #[default]
    Standardized,
    /// The number as it is recorded: years, millimetres. As in the code that was released with MetaBlock.
    Raw,
}

/// Which categories of a field get a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CategorySource {
    /// Every category that the field declares, so that the width is known without any case.
    #[default]
    Declared,
    /// Only those that a training case has, in the order in which they are declared.
    Observed,
}

/// What becomes of a category that has no column: the training set did not list it, or, with
/// [`CategorySource::Observed`], no training case had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnseenCategory {
    /// It counts as not recorded; [`MetadataEncoder::notes`](crate::MetadataEncoder::notes) counts the cases.
    #[default]
    #[serde(alias = "zeros")]
    Missing,
    /// An error that names the case, the field, the category and those that are known.
    Refuse,
}

/// What becomes of a field that the encoder uses and that a set does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingFields {
    /// An error that names the field.
    #[default]
    Refuse,
    /// It counts as not recorded, and a note says so.
    Allow,
}

/// How a [`MetadataEncoder`](crate::MetadataEncoder) turns metadata into numbers. It is kept with the fitted encoder,
/// and so with the model.
///
/// ```
/// use dermafuse_data::{EncoderConfig, MetadataRoles, NumericScaling};
///
/// let config = EncoderConfig { numeric: NumericScaling::Raw, ..EncoderConfig::default() };
/// assert_eq!(config.roles, MetadataRoles::PreDiagnosis);
/// assert_eq!(EncoderConfig::from(MetadataRoles::PreDiagnosis), EncoderConfig::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// Which fields are used.
    pub roles: MetadataRoles,
    /// What becomes of numbers.
    pub numeric: NumericScaling,
    /// Which categories get a column.
    pub categories: CategorySource,
    /// What becomes of a category that has none.
    pub unseen: UnseenCategory,
    /// What becomes of a field that a set does not have.
    pub missing_fields: MissingFields,
    /// Whether each field that is used gets one column more, `field:missing`, 1 where the value is not recorded.
    pub missing_indicators: bool,
}

impl From<MetadataRoles> for EncoderConfig {
    /// The defaults with these roles.
    fn from(roles: MetadataRoles) -> Self {
        Self { roles, ..Self::default() }
    }
}
