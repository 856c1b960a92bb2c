use std::sync::Arc;

use clap::{Args, ValueEnum};
use dermafuse::data::{ImageCache, Preprocess, Strictness};
use dermafuse::infer::TestTimeAugmentation;
use dermafuse::networks::BackboneFreeze;
use dermafuse::recipes::{BackboneWeights, NetworkRecipe, Selection};
use dermafuse::train::{ClassWeights, Incomplete, LostBest, WeightAveraging};

use crate::DeviceName;

/// How a network is trained: what a program is told replaces the recipe's own setting.
#[derive(Args, Clone, Debug)]
pub struct TrainingArguments {
    /// ImageNet weights of the backbones in torchvision's names (.safetensors, .pth): one FILE for all, or a file for each
    /// architecture, as in mobilenet_v3_small=FILE,swin_v2_t=FILE; random weights without
    #[arg(long, value_name = "FILE")]
    weights: Option<BackboneWeights>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Flex)]
    pub device: DeviceName,
    /// Side of the square images that the network sees, in pixels
    #[arg(long, default_value_t = 224)]
    pub image_size: usize,
    /// How images are prepared
    #[arg(long, value_enum)]
    preprocess: Option<PreprocessName>,
    /// Whether damaged images are refused or used as far as they can be decoded; it is kept with the model
    #[arg(long, value_enum)]
    decoding: Option<DecodingName>,
    /// Passes over the training cases
    #[arg(long)]
    epochs: Option<usize>,
    /// Epochs without a better validation score after which a training ends; 0 never ends it
    #[arg(long)]
    patience: Option<usize>,
    /// Cases in a step of the optimizer
    #[arg(long)]
    batch_size: Option<usize>,
    /// Cases in one pass through the network, a divisor of the batch size, for machines with little memory
    #[arg(long)]
    micro_batch_size: Option<usize>,
    /// Learning rate of the first epoch
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Factor on the learning rate of the backbones
    #[arg(long)]
    backbone_rate: Option<f64>,
    /// Factor on the learning rate from each stage of a backbone to the one before it
    #[arg(long)]
    layer_decay: Option<f64>,
    /// Weight decay
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient
    #[arg(long)]
    clip_norm: Option<f64>,
    /// Weights of the classes in the loss
    #[arg(long, value_enum)]
    class_weights: Option<ClassWeightsName>,
    /// Focusing parameter of the focal loss; 0 is the cross-entropy
    #[arg(long)]
    focal_gamma: Option<f64>,
    /// Share of the target that is spread over all classes
    #[arg(long)]
    label_smoothing: Option<f64>,
    /// Validation score that chooses the best epoch
    #[arg(long, value_enum)]
    selection: Option<SelectionName>,
    /// Parameter groups of the backbones that stay as they are, counted from the stem
    #[arg(long)]
    frozen_groups: Option<usize>,
    /// Keep the backbones' batch normalisation as it is (for weights whose normalisation was folded)
    #[arg(long)]
    frozen_batch_norm: bool,
    /// Average the weights of this many last epochs (SWA), with batch normalisation refreshed; patience does not apply
    #[arg(long)]
    average_epochs: Option<usize>,
    /// Views in test-time augmentation: 0, 3, 4 or 6
    #[arg(long)]
    tta: Option<TestTimeAugmentation>,
    /// What becomes of cases that lack an image: refuse, skip, or use as far as the network allows it
    #[arg(long)]
    incomplete: Option<Incomplete>,
    /// What becomes of a resumed training whose best epoch is damaged: refuse, train-again or go-on
    #[arg(long, default_value_t)]
    pub lost_best: LostBest,
    /// Threads that decode images
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Memory for decoded images, in megabytes: with room for all of them, each is decoded once
    #[arg(long, default_value_t = 1000)]
    image_cache: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PreprocessName {
    /// BGR, divided by 255, as in the released code
    Released,
    /// RGB, ImageNet mean and deviation, antialiased
    Imagenet,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DecodingName {
    Strict,
    Lenient,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClassWeightsName {
    Uniform,
    Balanced,
    SquareRoot,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SelectionName {
    /// Mean accuracy of the branches
    Accuracy,
    /// Mean balanced accuracy of the branches
    BalancedAccuracy,
    /// Balanced accuracy of all branches together
    JointBalancedAccuracy,
}

impl TrainingArguments {
    /// Replaces what was asked for.
    pub fn apply(&self, recipe: &mut NetworkRecipe) {
        fn set<T: Clone>(setting: &mut T, asked: &Option<T>) {
            if let Some(asked) = asked {
                setting.clone_from(asked);
            }
        }
        if self.weights.is_some() {
            recipe.backbone_weights.clone_from(&self.weights);
        }
        set(&mut recipe.augmentation, &self.tta);
        set(&mut recipe.incomplete, &self.incomplete);
        if let Some(selection) = self.selection {
            recipe.selection = match selection {
                SelectionName::Accuracy => Selection::Accuracy,
                SelectionName::BalancedAccuracy => Selection::BalancedAccuracy,
                SelectionName::JointBalancedAccuracy => Selection::JointBalancedAccuracy,
            };
        }
        let training = &mut recipe.training;
        if let Some(preprocess) = self.preprocess {
            training.preprocess = match preprocess {
                PreprocessName::Released => Preprocess::as_released(self.image_size),
                PreprocessName::Imagenet => Preprocess::imagenet(self.image_size),
            };
        }
        if let Some(decoding) = self.decoding {
            training.preprocess.decoding = match decoding {
                DecodingName::Strict => Strictness::Strict,
                DecodingName::Lenient => Strictness::Lenient,
            };
        }
        if let Some(epochs) = self.epochs {
            // The same share of the run is averaged.
            if let Some(WeightAveraging::LastEpochs { epochs: averaged, .. }) = &mut training.averaging {
                *averaged = (*averaged * epochs / training.epochs).max(1);
            }
            training.epochs = epochs;
        }
        if let Some(patience) = self.patience {
            training.patience = (patience > 0).then_some(patience);
        }
        set(&mut training.batch_size, &self.batch_size);
        set(&mut training.learning_rate, &self.learning_rate);
        set(&mut training.backbone_rate, &self.backbone_rate);
        set(&mut training.layer_decay, &self.layer_decay);
        set(&mut training.weight_decay, &self.weight_decay);
        training.micro_batch_size = self.micro_batch_size.or(training.micro_batch_size);
        training.clip_norm = self.clip_norm.or(training.clip_norm);
        if let Some(weights) = self.class_weights {
            training.loss.class_weights = match weights {
                ClassWeightsName::Uniform => ClassWeights::Uniform,
                ClassWeightsName::Balanced => ClassWeights::Balanced,
                ClassWeightsName::SquareRoot => ClassWeights::SquareRoot,
            };
        }
        set(&mut training.loss.focal_gamma, &self.focal_gamma);
        set(&mut training.loss.label_smoothing, &self.label_smoothing);
        set(&mut training.freeze.groups, &self.frozen_groups);
        training.freeze = BackboneFreeze { batch_norm: self.frozen_batch_norm, ..training.freeze };
        if let Some(epochs) = self.average_epochs {
            training.averaging = Some(WeightAveraging::LastEpochs { epochs, refresh_batch_norm: true });
            training.patience = None;
        }
        training.threads = self.threads;
    }

    /// An empty cache of the size that was asked for.
    #[must_use]
    pub fn cache(&self) -> Arc<ImageCache> {
        Arc::new(ImageCache::new(self.image_cache.saturating_mul(1_000_000)))
    }
}
