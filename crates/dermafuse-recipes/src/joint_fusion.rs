//! The methods of joint and joint-individual fusion by name, each with its published recipe.
//!
//! Paper: Tang et al., joint-individual fusion with MMFA (thesis ch. 4). Source: the text. Differences: what the text leaves
//! open is decided in [`TrainingConfig::joint_individual_fusion`].

use std::fmt;
use std::str::FromStr;

use dermafuse_backbones::BackboneKind;
use dermafuse_data::EncoderConfig;
use dermafuse_fusion::FusionKind;
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{
    ImageClassifierConfig, ImageView, JointFusionConfig, JointIndividualFusionConfig, MetadataClassifierConfig,
    MetadataNetworkConfig, NetworkConfig,
};
use dermafuse_train::{Incomplete, TrainingConfig};
use serde::{Deserialize, Serialize};

use crate::{Answer, NetworkRecipe, OneStage, Selection};

/// What of image and record a method looks at, and where it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JointStructure {
    /// The image alone.
    Image,
    /// The record alone.
    Metadata,
    /// JF: one classifier over the joined features.
    Joint,
    /// JIF: a classifier for the image and one for the record beside it.
    JointIndividual,
}

/// A method of the comparison: a structure with a fusion module on a backbone.
///
/// ```
/// use dermafuse_recipes::{JointMethod, JointStructure};
///
/// let method = JointMethod { structure: "jif".parse()?, ..JointMethod::default() };
/// assert_eq!(method.structure, JointStructure::JointIndividual);
/// assert_eq!(method.to_string(), "JIF-MMFA");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointMethod {
    /// What it looks at.
    pub structure: JointStructure,
    /// How image and record are joined, if they are.
    pub fusion: FusionKind,
    /// Architecture of the image's backbone.
    pub backbone: BackboneKind,
    /// The image.
    pub view: ImageView,
}

impl Default for JointMethod {
    /// JIF-MMFA on ResNet-50 and the clinical photo.
    fn default() -> Self {
        Self {
            structure: JointStructure::JointIndividual,
            fusion: FusionKind::Mmfa(Default::default()),
            backbone: BackboneKind::ResNet50,
            view: ImageView::Clinical,
        }
    }
}

impl JointMethod {
    /// The network for the classes of each task; the length of the encoded metadata is filled in by [`OneStage`].
    #[must_use]
    pub fn network(&self, classes: Vec<usize>) -> NetworkConfig {
        let Self { structure, ref fusion, backbone, view } = *self;
        let joint = |classes| JointFusionConfig::new(backbone, view, 0, fusion.clone(), classes);
        match structure {
            JointStructure::Image => {
                NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, classes))
            }
            JointStructure::Metadata => NetworkConfig::MetadataClassifier(MetadataClassifierConfig {
                metadata: MetadataNetworkConfig::new(0),
                classes,
            }),
            JointStructure::Joint => NetworkConfig::JointFusion(joint(classes)),
            JointStructure::JointIndividual => {
                NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint(classes)))
            }
        }
    }

    /// The published recipe (thesis §4.3.2) at an image size (224 there): six views, the epoch of the best validation
    /// balanced accuracy, JIF answering with all its branches.
    #[must_use]
    pub fn recipe(&self, classes: Vec<usize>, metadata: EncoderConfig, image_size: usize, seed: u64) -> OneStage {
        OneStage {
            network: NetworkRecipe {
                network: self.network(classes),
                backbone_weights: None,
                training: TrainingConfig::joint_individual_fusion(image_size, seed),
                selection: Selection::JointBalancedAccuracy,
                augmentation: TestTimeAugmentation::Six,
                incomplete: Incomplete::default(),
            },
            metadata,
            answer: Answer::All,
        }
    }
}

impl fmt::Display for JointMethod {
    /// As the thesis' tables call it, without what is predicted from: `Image`, `JF-CAT`, `JIF-MMFA`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fusion = printed_fusion(self.fusion.name());
        match self.structure {
            JointStructure::Image => formatter.write_str("Image"),
            JointStructure::Metadata => formatter.write_str("Metadata"),
            JointStructure::Joint => write!(formatter, "JF-{fusion}"),
            JointStructure::JointIndividual => write!(formatter, "JIF-{fusion}"),
        }
    }
}

/// What the thesis' tables call a fusion module; names that they do not have stay as they are.
fn printed_fusion(name: &str) -> &str {
    match name {
        "concat" => "CAT",
        "meta_block" => "MB",
        "meta_net" => "MN",
        "mutual_attention" => "MA",
        "mmfa" => "MMFA",
        other => other,
    }
}

/// A name that no structure has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no structure `{name}`; the structures are image, metadata, jf, jif")]
pub struct UnknownStructure {
    /// The name.
    pub name: String,
}

impl FromStr for JointStructure {
    type Err = UnknownStructure;

    fn from_str(name: &str) -> Result<Self, UnknownStructure> {
        match name {
            "image" => Ok(Self::Image),
            "metadata" => Ok(Self::Metadata),
            "jf" => Ok(Self::Joint),
            "jif" => Ok(Self::JointIndividual),
            _ => Err(UnknownStructure { name: name.to_owned() }),
        }
    }
}
