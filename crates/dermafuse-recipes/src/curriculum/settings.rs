use dermafuse_backbones::BackboneKind;
use dermafuse_data::{Augmentation, EncoderConfig, KerasInput, Preprocess, Sampling};
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{BackboneFreeze, HeadKind, ImageClassifierConfig, ImageView, NetworkConfig};
use dermafuse_train::{ClassWeights, Incomplete, OptimizerKind, TrainingConfig, Unfreezing, WeightAveraging};
use serde::{Deserialize, Serialize};

use crate::{Answer, NetworkRecipe, OneStage, Selection};

/// The network of a curriculum and its input. The defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Architecture; EfficientNet-B3.
    pub backbone: BackboneKind,
    /// The classifier; at every location of the map.
    pub head: HeadKind,
    /// Side of the square input, in pixels; 300.
    pub image_size: usize,
    /// How images are prepared; as Keras does for weights of torchvision.
    pub input: InputKind,
    /// The views that are averaged in predicting; one.
    pub views: TestTimeAugmentation,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            backbone: BackboneKind::EfficientNetB3,
            head: HeadKind::PerLocation,
            image_size: 300,
            input: InputKind::KerasTorch,
            views: TestTimeAugmentation::Off,
        }
    }
}

/// How images are prepared, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// RGB, ImageNet's mean and deviation, antialiased.
    Imagenet,
    /// BGR, divided by 255, as released with FusionM4Net.
    Released,
    /// RGB, ImageNet's mean and deviation, the nearest pixel.
    KerasTorch,
    /// RGB from -1 to 1, the nearest pixel.
    KerasSymmetric,
    /// BGR less ImageNet's mean, the nearest pixel.
    KerasCaffe,
}

impl InputKind {
    /// The preparation at a size.
    #[must_use]
    pub fn at(self, size: usize) -> Preprocess {
        match self {
            Self::Imagenet => Preprocess::imagenet(size),
            Self::Released => Preprocess::as_released(size),
            Self::KerasTorch => Preprocess::keras(KerasInput::Torch, size),
            Self::KerasSymmetric => Preprocess::keras(KerasInput::Symmetric, size),
            Self::KerasCaffe => Preprocess::keras(KerasInput::Caffe, size),
        }
    }
}

/// How training images are varied, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AugmentationKind {
    /// [`Augmentation::nedelcu`].
    Nedelcu,
    /// As released with FusionM4Net.
    Released,
    /// Not at all.
    Off,
}

/// Which epoch's weights a stage gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// The last one's, as in the paper, which has no validation cases.
    Last,
    /// Those of the epoch with the best validation score.
    Best,
}

/// How a stage trains: what is not said is as in [`TrainingConfig::nedelcu`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageSettings {
    /// How blocks are unfrozen; with `epochs` alone, everything trains from the first epoch.
    pub unfreezing: Option<Unfreezing>,
    /// Epochs; those of all steps of unfreezing unless it is said.
    pub epochs: Option<usize>,
    /// Epochs of each step of unfreezing, in place of those in `unfreezing`.
    pub epochs_per_step: Option<usize>,
    /// Learning rate of the head.
    pub learning_rate: Option<f64>,
    /// Factor on it for the backbone.
    pub backbone_rate: Option<f64>,
    /// Factor on the backbone's rate from each block to the one before it.
    pub layer_decay: Option<f64>,
    /// Factor on the head's rate after the first step of unfreezing.
    pub later_head_rate: Option<f64>,
    /// How gradients become steps.
    pub optimizer: Option<OptimizerKind>,
    /// Weight decay.
    pub weight_decay: Option<f64>,
    /// Largest norm of the gradient.
    pub clip_norm: Option<f64>,
    /// Which cases an epoch shows.
    pub sampling: Option<Sampling>,
    /// Cases in a step, where the sampling does not decide it.
    pub batch_size: Option<usize>,
    /// How training images are varied.
    pub augmentation: Option<AugmentationKind>,
    /// Weights of the classes in the loss.
    pub class_weights: Option<ClassWeights>,
    /// Whether batch normalisation stands still also in blocks that train.
    pub frozen_batch_norm: Option<bool>,
    /// Validation score.
    pub selection: Option<Selection>,
    /// Which epoch's weights the stage gives.
    pub keep: Option<Kept>,
    /// What becomes of cases without the image that the stage looks at: refuse, or skip.
    pub incomplete: Option<Incomplete>,
    /// Threads that decode images.
    pub threads: Option<usize>,
}

impl StageSettings {
    /// These settings, and where they say nothing, `other`'s.
    #[must_use]
    pub fn over(self, other: &Self) -> Self {
        // Epochs without unfreezing replace a schedule of unfreezing, and the reverse.
        let scheduled = self.unfreezing.is_some() || self.epochs.is_some();
        Self {
            unfreezing: if scheduled { self.unfreezing } else { other.unfreezing },
            epochs: if scheduled { self.epochs } else { other.epochs },
            epochs_per_step: self.epochs_per_step.or(other.epochs_per_step),
            learning_rate: self.learning_rate.or(other.learning_rate),
            backbone_rate: self.backbone_rate.or(other.backbone_rate),
            layer_decay: self.layer_decay.or(other.layer_decay),
            later_head_rate: self.later_head_rate.or(other.later_head_rate),
            optimizer: self.optimizer.or(other.optimizer),
            weight_decay: self.weight_decay.or(other.weight_decay),
            clip_norm: self.clip_norm.or(other.clip_norm),
            sampling: self.sampling.or(other.sampling),
            batch_size: self.batch_size.or(other.batch_size),
            augmentation: self.augmentation.or(other.augmentation),
            class_weights: self.class_weights.or(other.class_weights),
            frozen_batch_norm: self.frozen_batch_norm.or(other.frozen_batch_norm),
            selection: self.selection.or(other.selection),
            keep: self.keep.or(other.keep),
            incomplete: self.incomplete.or(other.incomplete),
            threads: self.threads.or(other.threads),
        }
    }

    /// The recipe of a stage.
    ///
    /// # Errors
    /// What is missing for it.
    pub(super) fn recipe(
        &self,
        network: &NetworkSettings,
        view: ImageView,
        classes: Vec<usize>,
        seed: u64,
    ) -> Result<OneStage, &'static str> {
        let mut unfreezing = self.unfreezing;
        if let (Some(unfreezing), Some(epochs)) = (&mut unfreezing, self.epochs_per_step) {
            unfreezing.epochs_per_step = epochs;
        }
        let steps = unfreezing.map(|unfreezing| unfreezing.epochs());
        let epochs =
            self.epochs.or(steps).ok_or("`epochs` or `unfreezing` in its [training], or in that of all stages")?;
        let defaults = TrainingConfig::nedelcu(network.image_size, 0, seed);
        let mut training = TrainingConfig {
            unfreezing,
            epochs,
            preprocess: network.input.at(network.image_size),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            backbone_rate: self.backbone_rate.unwrap_or(defaults.backbone_rate),
            layer_decay: self.layer_decay.unwrap_or(defaults.layer_decay),
            later_head_rate: self.later_head_rate.unwrap_or(defaults.later_head_rate),
            optimizer: self.optimizer.unwrap_or(defaults.optimizer),
            weight_decay: self.weight_decay.unwrap_or(defaults.weight_decay),
            clip_norm: self.clip_norm.or(defaults.clip_norm),
            sampling: self.sampling.unwrap_or(defaults.sampling),
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            threads: self.threads.unwrap_or(defaults.threads),
            freeze: BackboneFreeze { groups: 0, batch_norm: self.frozen_batch_norm.unwrap_or(false) },
            ..defaults
        };
        match self.augmentation {
            None | Some(AugmentationKind::Nedelcu) => {}
            Some(AugmentationKind::Released) => training.augmentation = Some(Augmentation::default()),
            Some(AugmentationKind::Off) => training.augmentation = None,
        }
        if let Some(weights) = self.class_weights {
            training.loss.class_weights = weights;
        }
        training.averaging = match self.keep.unwrap_or(Kept::Last) {
            Kept::Last => Some(WeightAveraging::LastEpochs { epochs: 1, refresh_batch_norm: false }),
            Kept::Best => None,
        };
        let config = ImageClassifierConfig::new(network.backbone, view, classes);
        Ok(OneStage {
            network: NetworkRecipe {
                network: NetworkConfig::ImageClassifier(ImageClassifierConfig { head: network.head, ..config }),
                backbone_weights: None,
                training,
                selection: self.selection.unwrap_or(Selection::BalancedAccuracy),
                augmentation: network.views,
                incomplete: self.incomplete.unwrap_or_default(),
                several_images: Default::default(),
            },
            metadata: EncoderConfig::default(),
            answer: Answer::All,
        })
    }
}
