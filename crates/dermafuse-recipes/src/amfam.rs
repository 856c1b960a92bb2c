//! AMFAM: one network with an adversary and decoders in training, and without them afterwards.
//!
//! Paper: Wang et al., AMFAM (Medical Image Analysis 2022), §4 and Table 2. Source: the text; no code is public. Differences: by
//! which score training stops, and after how long, is not published (mean validation accuracy, 30 epochs).

use dermafuse_backbones::BackboneKind;
use dermafuse_data::EncoderConfig;
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{AmfamConfig, AmfamRow, NetworkConfig};
use dermafuse_train::TrainingConfig;

use crate::{Answer, NetworkRecipe, OneStage, Selection};

impl OneStage {
    /// The published recipe of a row of AMFAM's ablation at an image size (299 there): no test-time augmentation, no metadata.
    ///
    /// ```
    /// use dermafuse_backbones::BackboneKind;
    /// use dermafuse_networks::AmfamRow;
    /// use dermafuse_recipes::OneStage;
    ///
    /// let classes = vec![5, 3, 3, 3, 2, 3, 2, 3];
    /// let recipe = OneStage::amfam(AmfamRow::Adversarial, BackboneKind::ResNet50, classes, 299, 0);
    /// assert_eq!(recipe.network.training.loss.auxiliary.keys().collect::<Vec<_>>(), ["modality"]);
    /// ```
    #[must_use]
    pub fn amfam(row: AmfamRow, backbone: BackboneKind, classes: Vec<usize>, image_size: usize, seed: u64) -> Self {
        let network = AmfamConfig::row(row, backbone, classes);
        let mut training = TrainingConfig::amfam(image_size, seed);
        training.loss = training.loss.with_auxiliary_of(&network.auxiliary());
        Self {
            network: NetworkRecipe {
                network: NetworkConfig::Amfam(network),
                backbone_weights: None,
                training,
                selection: Selection::Accuracy,
                augmentation: TestTimeAugmentation::Off,
            },
            metadata: EncoderConfig::default(),
            answer: Answer::OnlyFusionBranch,
        }
    }
}
