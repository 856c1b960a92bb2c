//! AMFAM: one network with an adversary and decoders in training, and without them afterwards.
//!
//! Paper: Wang et al., AMFAM (Medical Image Analysis 2022), §4 and Table 2. Source: the text; no code is public. Differences: by
//! which score training stops, and after how long, is not published (mean validation accuracy, 30 epochs).

use dermafuse_backbones::BackboneKind;
use dermafuse_data::EncoderConfig;
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{AmfamConfig, AmfamRow, NetworkConfig};
use dermafuse_train::{Incomplete, TrainingConfig};

use crate::{Answer, NetworkRecipe, OneStage, Selection, TwoImageMethod};

/// The rows of AMFAM's ablation for a backbone, in the order of the table; the method itself is the last.
///
/// ```
/// use dermafuse_backbones::BackboneKind;
/// use dermafuse_recipes::amfam_methods;
///
/// let rows = amfam_methods(BackboneKind::ResNet50, &[5, 3]);
/// assert_eq!(rows.last().unwrap().name, "AMFAM");
/// ```
#[must_use]
pub fn amfam_methods(backbone: BackboneKind, classes: &[usize]) -> Vec<TwoImageMethod> {
    let method = |row: AmfamRow| TwoImageMethod {
        name: row.name().to_owned(),
        network: NetworkConfig::Amfam(AmfamConfig::row(row, backbone, classes.to_vec())),
    };
    AmfamRow::ALL.map(method).into()
}

impl OneStage {
    /// The published recipe of AMFAM, or of a row of its ablation, at an image size (299 there): no test-time augmentation, no
    /// metadata. Losses that the network does not have are left out.
    ///
    /// ```
    /// use dermafuse_backbones::BackboneKind;
    /// use dermafuse_networks::{AmfamConfig, AmfamRow};
    /// use dermafuse_recipes::OneStage;
    ///
    /// let network = AmfamConfig::row(AmfamRow::Adversarial, BackboneKind::ResNet50, vec![5, 3, 3, 3, 2, 3, 2, 3]);
    /// let recipe = OneStage::amfam(network, 299, 0);
    /// assert_eq!(recipe.network.training.loss.auxiliary.keys().collect::<Vec<_>>(), ["modality"]);
    /// ```
    #[must_use]
    pub fn amfam(network: AmfamConfig, image_size: usize, seed: u64) -> Self {
        let mut training = TrainingConfig::amfam(image_size, seed);
        training.loss = training.loss.with_auxiliary_of(&network.auxiliary());
        Self {
            network: NetworkRecipe {
                network: NetworkConfig::Amfam(network),
                backbone_weights: None,
                training,
                selection: Selection::Accuracy,
                augmentation: TestTimeAugmentation::Off,
                incomplete: Incomplete::default(),
                several_images: Default::default(),
            },
            metadata: EncoderConfig::default(),
            answer: Answer::OnlyFusionBranch,
        }
    }
}
