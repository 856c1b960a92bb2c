use dermafuse_backbones::BackboneKind;
use dermafuse_data::{Augmentation, EpochLength, KerasInput, Mixing, ModalityDropout, Preprocess, Sampling};
use dermafuse_networks::BackboneFreeze;
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::distillation::check_with_teacher;
use crate::{
    Distillation, LossConfig, LossReduction, OptimizerKind, ProgressiveSize, TrainError, Unfreezing, UnfreezingSteps,
    WeightAveraging,
};

/// The recipe of a training run. The defaults are those of the released FusionM4Net code; `threads` alone has no influence
/// on the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Passes over the training cases at most; 250 as released. Steps of unfreezing that are chosen by backbone end the run with
    /// the last of them.
    pub epochs: usize,
    /// Ends the run when the validation score has not risen for this many epochs; `None` never does.
    pub patience: Option<usize>,
    /// Which cases an epoch shows.
    #[serde(default)]
    pub sampling: Sampling,
    /// Cases in a step of the optimizer; 32 as released. The last step of an epoch may have fewer. Class-balanced
    /// sampling decides it by itself.
    pub batch_size: usize,
    /// Cases in one pass through the network, a divisor of the cases in a step: the gradients of a step add up over
    /// several passes, for machines whose memory does not hold a batch. The gradients are those of the whole batch, but
    /// for batch normalisation, whose statistics are those of each pass. Several devices share the passes
    /// ([`Trainer::replicas`](crate::Trainer::replicas)). `None` passes the whole batch at once.
    pub micro_batch_size: Option<usize>,
    /// How gradients become steps.
    pub optimizer: OptimizerKind,
    /// Learning rate of the first epoch; 3e-5 as released.
    pub learning_rate: f64,
    /// How the learning rate goes on.
    #[serde(default)]
    pub schedule: RateSchedule,
    /// Steps in which the learning rate rises to its full height, evenly from the first, as far as its schedule lets it; 0 as released
    /// (Goyal et al., 2017, <https://arxiv.org/abs/1706.02677>).
    #[serde(default)]
    pub warm_up_steps: usize,
    /// Factor on the learning rate of the backbones; 1 as released.
    pub backbone_rate: f64,
    /// Factor on the learning rate from each part of a backbone (stem, stages) to the one before it, so that the stem learns
    /// slowest; 1 as released.
    pub layer_decay: f64,
    /// Weight decay; 0 as released. An L2 penalty for Adam and SGD, decoupled for AdamW.
    pub weight_decay: f64,
    /// Largest norm of the gradient of all parameters together; longer ones are shortened to it.
    pub clip_norm: Option<f64>,
    /// Seed of shuffling, augmentation and dropout.
    pub seed: u64,
    /// How images are prepared.
    pub preprocess: Preprocess,
    /// How training images grow from small ones; `None` has them in their size from the first epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive_size: Option<ProgressiveSize>,
    /// How training images are varied; `None` leaves them as they are.
    pub augmentation: Option<Augmentation>,
    /// What is minimised.
    pub loss: LossConfig,
    /// How often a case is shown as if it lacked an image or its record, so that the network learns to do without; `None` as
    /// released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modality_dropout: Option<ModalityDropout>,
    /// How often a case is shown mixed with another; `None` as released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixing: Option<Mixing>,
    /// How much the network learns from a [teacher](crate::Teacher); `None` learns from labels alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// Which parts of the backbones do not train.
    pub freeze: BackboneFreeze,
    /// How the blocks of the backbones come to train one after the other; `None` trains them from the first epoch.
    #[serde(default)]
    pub unfreezing: Option<Unfreezing>,
    /// Factor on the learning rate of the heads (of all that is no backbone) after the first step of unfreezing.
    #[serde(default = "one")]
    pub later_head_rate: f64,
    /// The average of weights that is given back instead of the best epoch's; `None` as released.
    #[serde(default)]
    pub averaging: Option<WeightAveraging>,
    /// Threads that decode images.
    #[serde(skip, default = "default_threads")]
    pub threads: usize,
}

/// How the learning rate goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateSchedule {
    /// Epoch `e` of `E` (from 0) has `rate/2 · (1 + cos(π e / E))`, as released with FusionM4Net.
    #[default]
    Cosine,
    /// The same from step to step: a share `p` of all steps done, `rate/2 · (1 + cos(π p))` (Loshchilov and Hutter, ICLR 2017).
    CosineByStep,
    /// It stays.
    Constant,
}

fn default_threads() -> usize {
    2
}

fn one() -> f64 {
    1.0
}

impl TrainingConfig {
    /// The recipe of the released FusionM4Net code at an image size (224 there), with a seed.
    #[must_use]
    pub fn as_released(image_size: usize, seed: u64) -> Self {
        Self {
            epochs: 250,
            patience: None,
            sampling: Sampling::EachOnce,
            batch_size: 32,
            micro_batch_size: None,
            optimizer: OptimizerKind::Adam,
            learning_rate: 3e-5,
            schedule: RateSchedule::Cosine,
            warm_up_steps: 0,
            backbone_rate: 1.0,
            layer_decay: 1.0,
            weight_decay: 0.0,
            clip_norm: None,
            seed,
            preprocess: Preprocess::as_released(image_size),
            progressive_size: None,
            augmentation: Some(Augmentation::default()),
            loss: LossConfig::default(),
            modality_dropout: None,
            mixing: None,
            distillation: None,
            freeze: BackboneFreeze::default(),
            unfreezing: None,
            later_head_rate: 1.0,
            averaging: None,
            threads: default_threads(),
        }
    }

    /// The recipe of joint-individual fusion (thesis §4.3.2) at an image size (224 there), with a seed: SGD from 0.005 with
    /// momentum, 150 epochs, batches of 128, classes weighted by their rarity, stopped after 30 epochs without progress.
    /// Momentum 0.9 and weight decay 0.001 are not published there and taken from MetaBlock's code; changes of light
    /// are left out of the augmentation, as in the thesis.
    #[must_use]
    pub fn joint_individual_fusion(image_size: usize, seed: u64) -> Self {
        let augmentation = Augmentation { brightness_contrast: 0.0, ..Augmentation::default() };
        Self {
            epochs: 150,
            patience: Some(30),
            batch_size: 128,
            optimizer: OptimizerKind::Sgd { momentum: 0.9, nesterov: false },
            learning_rate: 0.005,
            weight_decay: 1e-3,
            augmentation: Some(augmentation),
            loss: LossConfig::joint_individual_fusion(),
            ..Self::as_released(image_size, seed)
        }
    }

    /// The recipe of AMMFM (thesis §5.3.3) and PEMM (§5.4.3) at an image size (224 there), with a seed: as FusionM4Net's, but
    /// batches of 24, the mean of the tasks' losses for each branch, and the mean of the last 50 epochs' weights.
    #[must_use]
    pub fn two_images(image_size: usize, seed: u64) -> Self {
        Self {
            batch_size: 24,
            loss: LossConfig { reduction: LossReduction::TaskMean, ..LossConfig::default() },
            averaging: Some(WeightAveraging::LastEpochs { epochs: 50, refresh_batch_norm: true }),
            ..Self::as_released(image_size, seed)
        }
    }

    /// The recipe of AMFAM (Wang et al. 2022) at an image size (299 there), with a seed: Adam with a rate of 1e-5 and an L2
    /// penalty of 1e-4, at most 150 epochs, batches of 8; images padded with black and cut out again at random, rotated by up to
    /// 45° and turned upside down, each on its own. Not published, and chosen here: ImageNet's mean and deviation, black
    /// outside a rotated image, the end after 30 epochs without progress.
    ///
    /// The weights of its losses are those of the whole method: see [`LossConfig::with_auxiliary_of`] for a part of it.
    #[must_use]
    pub fn amfam(image_size: usize, seed: u64) -> Self {
        Self {
            epochs: 150,
            patience: Some(30),
            batch_size: 8,
            learning_rate: 1e-5,
            schedule: RateSchedule::Constant,
            weight_decay: 1e-4,
            preprocess: Preprocess::imagenet(image_size),
            augmentation: Some(Augmentation::amfam()),
            loss: LossConfig::amfam(),
            ..Self::as_released(image_size, seed)
        }
    }

    /// The recipe of Nedelcu et al. at an image size (300 there), with the blocks of each step of unfreezing and a seed: Adam,
    /// one case of every class in a batch, three epochs for the heads alone and for every step, 1e-4 for the heads and
    /// 1e-5 for the backbone, the weights of the last epoch. Not published, and chosen here: torchvision's input (the
    /// weights are its), as many batches in an epoch as show as many cases as there are, blocks that go on training
    /// when more are unfrozen.
    #[must_use]
    pub fn nedelcu(image_size: usize, steps: &[&[&str]], seed: u64) -> Self {
        let unfreezing = Unfreezing { steps: UnfreezingSteps::new(steps), epochs_per_step: 3, cumulative: true };
        Self {
            epochs: unfreezing.epochs(),
            sampling: Sampling::ClassBalanced { per_class: 1, length: EpochLength::AllCases },
            learning_rate: 1e-4,
            schedule: RateSchedule::Constant,
            backbone_rate: 0.1,
            preprocess: Preprocess::keras(KerasInput::Torch, image_size),
            augmentation: Some(Augmentation::nedelcu()),
            loss: LossConfig { reduction: LossReduction::Paper, ..LossConfig::default() },
            unfreezing: Some(unfreezing),
            averaging: Some(WeightAveraging::LastEpochs { epochs: 1, refresh_batch_norm: false }),
            ..Self::as_released(image_size, seed)
        }
    }

    /// The recipe for a network with these backbones: of [steps of unfreezing](UnfreezingSteps) that are said by backbone those of
    /// its own, and no more epochs than they take. What is not said by backbone stays as it is.
    ///
    /// # Errors
    /// Steps by backbone that say nothing of this one, or a network of several kinds of backbone or none.
    pub fn for_backbones(self, backbones: &[BackboneKind]) -> Result<Self, TrainError> {
        let Some(Unfreezing { steps: UnfreezingSteps::ByBackbone(_), .. }) = &self.unfreezing else { return Ok(self) };
        let unfreezing = self.unfreezing.map(|unfreezing| unfreezing.for_backbones(backbones)).transpose()?;
        let epochs = unfreezing.as_ref().map_or(self.epochs, |unfreezing| self.epochs.min(unfreezing.epochs()));
        Ok(Self { epochs, unfreezing, ..self })
    }

    /// The learning rate with which an epoch begins, counted from 0, without [warm-up](Self::warm_up_steps).
    ///
    /// ```
    /// let config = dermafuse_train::TrainingConfig::as_released(224, 0);
    /// assert_eq!(config.rate(0), 3e-5);
    /// assert!((config.rate(125) - 1.5e-5).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn rate(&self, epoch: usize) -> f64 {
        self.rate_after(epoch as f64 / self.epochs as f64)
    }

    /// The learning rate after a share of the training.
    fn rate_after(&self, progress: f64) -> f64 {
        match self.schedule {
            RateSchedule::Cosine | RateSchedule::CosineByStep => {
                self.learning_rate / 2.0 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            RateSchedule::Constant => self.learning_rate,
        }
    }

    /// What the learning rate of an epoch is multiplied with in a step of it, both counted from 0; an epoch has `steps` of them.
    ///
    /// ```
    /// use dermafuse_train::{RateSchedule, TrainingConfig};
    ///
    /// let mut config = TrainingConfig { warm_up_steps: 4, ..TrainingConfig::as_released(224, 0) };
    /// assert_eq!([0, 1, 9].map(|step| config.step_factor(0, step, 10)), [0.25, 0.5, 1.0]);
    /// config.schedule = RateSchedule::CosineByStep;
    /// let in_the_middle = config.rate(125) * config.step_factor(125, 5, 10);
    /// let progress: f64 = (125.0 + 0.5) / 250.0;
    /// assert!((in_the_middle - 1.5e-5 * (1.0 + (std::f64::consts::PI * progress).cos())).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn step_factor(&self, epoch: usize, step: usize, steps: usize) -> f64 {
        let done = epoch * steps + step;
        let risen = match self.warm_up_steps {
            0 => 1.0,
            rise => ((done + 1) as f64 / rise as f64).min(1.0),
        };
        match self.schedule {
            RateSchedule::CosineByStep => {
                let progress = done as f64 / (self.epochs * steps) as f64;
                risen * self.rate_after(progress) / self.rate(epoch)
            }
            RateSchedule::Cosine | RateSchedule::Constant => risen,
        }
    }

    /// The side of training images in an epoch, counted from 0, in pixels.
    ///
    /// ```
    /// use dermafuse_train::{ProgressiveSize, TrainingConfig};
    ///
    /// let mut config = TrainingConfig::as_released(224, 0);
    /// assert_eq!(config.side_in(0), 224);
    /// config.progressive_size = Some(ProgressiveSize { from: 128, epochs: 100 });
    /// assert_eq!([0, 50, 100].map(|epoch| config.side_in(epoch)), [128, 192, 224]);
    /// ```
    #[must_use]
    pub fn side_in(&self, epoch: usize) -> usize {
        let full = self.preprocess.size;
        self.progressive_size.map_or(full, |growing| growing.side_in(epoch, full))
    }

    /// The learning rate of the heads in an epoch, counted from 0.
    #[must_use]
    pub fn head_rate(&self, epoch: usize) -> f64 {
        let is_later = self.unfreezing.as_ref().is_some_and(|unfreezing| unfreezing.step(epoch) > 0);
        self.rate(epoch) * if is_later { self.later_head_rate } else { 1.0 }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting that makes no training.
    pub fn check(&self) -> Result<(), SettingFault> {
        SettingFault::unless(self.epochs > 0, "epochs", "at least 1", self.epochs)?;
        if let Some(patience) = self.patience {
            SettingFault::unless(patience > 0, "patience", "at least 1 epoch", patience)?;
            let is_possible = self.unfreezing.is_none();
            SettingFault::unless(is_possible, "patience", "none where blocks are unfrozen", patience)?;
        }
        self.sampling.check().map_err(|fault| fault.under("sampling"))?;
        if matches!(self.sampling, Sampling::EachOnce | Sampling::Weighted { .. }) {
            let (batch, pass) = (self.batch_size, self.micro_batch_size.unwrap_or(self.batch_size));
            SettingFault::unless(batch >= 2, "batch_size", "at least 2 (batch normalisation)", batch)?;
            let divides = pass >= 2 && batch.is_multiple_of(pass);
            SettingFault::unless(divides, "micro_batch_size", "at least 2 and a divisor of batch_size", pass)?;
        }
        let positive = [
            ("learning_rate", Some(self.learning_rate)),
            ("backbone_rate", Some(self.backbone_rate)),
            ("layer_decay", Some(self.layer_decay)),
            ("later_head_rate", Some(self.later_head_rate)),
            ("clip_norm", self.clip_norm),
        ];
        for (key, number) in positive.into_iter().filter_map(|(key, number)| Some((key, number?))) {
            SettingFault::unless(number.is_finite() && number > 0.0, key, "above 0", number)?;
        }
        let decay = self.weight_decay;
        SettingFault::unless(decay.is_finite() && decay >= 0.0, "weight_decay", "at least 0", decay)?;
        if let OptimizerKind::Sgd { momentum, .. } = self.optimizer {
            let is_share = (0.0..1.0).contains(&momentum);
            SettingFault::unless(is_share, "optimizer.momentum", "at least 0 and below 1", momentum)?;
        }
        self.preprocess.check().map_err(|fault| fault.under("preprocess"))?;
        if let Some(growing) = &self.progressive_size {
            growing.check(self.preprocess.size).map_err(|fault| fault.under("progressive_size"))?;
        }
        if let Some(augmentation) = &self.augmentation {
            augmentation.check().map_err(|fault| fault.under("augmentation"))?;
        }
        self.loss.check().map_err(|fault| fault.under("loss"))?;
        if let Some(dropout) = &self.modality_dropout {
            dropout.check().map_err(|fault| fault.under("modality_dropout"))?;
        }
        if let Some(mixing) = &self.mixing {
            mixing.check().map_err(|fault| fault.under("mixing"))?;
            let expected = "none where inputs are left out at random (modality_dropout)";
            SettingFault::unless(self.modality_dropout.is_none(), "mixing", expected, "both")?;
        }
        if let Some(distillation) = &self.distillation {
            check_with_teacher(self, distillation)?;
        }
        let adjustment = self.loss.logit_adjustment;
        let is_possible = adjustment == 0.0 || self.sampling == Sampling::EachOnce;
        SettingFault::unless(
            is_possible,
            "loss.logit_adjustment",
            "0 where the sampling balances classes",
            adjustment,
        )?;
        if let Some(averaging) = self.averaging {
            averaging.check(self.epochs, self.patience)?;
        }
        if let Some(unfreezing) = &self.unfreezing {
            let epochs = unfreezing.epochs_per_step;
            SettingFault::unless(epochs > 0, "unfreezing.epochs_per_step", "at least 1", epochs)?;
        }
        let (parts, expected) = (self.freeze.groups, format!("at most {} parts of a backbone", BackboneFreeze::PARTS));
        SettingFault::unless(parts <= BackboneFreeze::PARTS, "freeze.groups", expected, parts)
    }
}
