//! AMFAM: two modalities whose features an adversary makes alike and two decoders keep true to their images.
//!
//! Paper: Wang et al., *Adversarial multimodal fusion with attention mechanism for skin lesion classification using clinical
//! and dermoscopic images* (Medical Image Analysis 2022). Source: the text and equations; no code is public. Weights: those of
//! the backbone. Differences: what is not published is an option with the more likely reading as default: one backbone for
//! both modalities (the equations; the figure shows two), which sees them in one batch, one hidden layer for all tasks, and those
//! of [`ModalityBatches`], [`ModalityDiscriminator`], [`AttentionMap`], [`Reconstruction`] and [`reconstruction_loss`].

use std::path::Path;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::linear;
use dermafuse_kernels::{Activation, project};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_SQUEEZE_SIDE;
use crate::reconstruction_loss::reconstruction_loss;
use crate::{
    AttentionMap, Auxiliary, BackboneFreeze, BranchInfo, BranchOutput, ColorReduction, DescribedNetwork, Fit,
    Modalities, Modality, ModalityBatches, ModalityDiscriminator, ModalityDiscriminatorConfig, MultimodalInput,
    Network, NetworkDescription, NetworkError, NetworkOutput, PixelFactor, Probe, Reconstruction, Squeeze,
    with_published_weights,
};

/// Name of the discriminator's loss, `L_D`.
const MODALITY: &str = "modality";

/// Configuration of an [`Amfam`] with built-in backbones. [`AmfamConfig::row`] makes the rows of the paper's ablation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmfamConfig {
    /// Architecture of the backbones; ResNet-50 in the paper.
    pub backbone: BackboneKind,
    /// The images that are looked at, each at most once.
    pub views: Vec<Modality>,
    /// Whether both images go through the same weights.
    pub shared_backbone: bool,
    /// How both images go through the same weights.
    pub batches: ModalityBatches,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Units of the hidden layer; 512.
    pub hidden: usize,
    /// Whether all tasks have the same hidden layer.
    pub shared_hidden: bool,
    /// The adversary; it needs both images.
    pub discriminator: Option<ModalityDiscriminatorConfig>,
    /// The decoders.
    pub reconstruction: Option<ReconstructionConfig>,
}

/// Views that an error lists: one more than there can be is enough.
const SHOWN: usize = 3;

/// Configuration of the decoders of an [`Amfam`] and of their loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconstructionConfig {
    /// What a pixel's error is multiplied by.
    pub factor: PixelFactor,
    /// Whether the attention map is a constant for the loss: then it stays as it was drawn, and the backbone learns through the
    /// decoder alone.
    pub detached_attention: bool,
    /// How attention begins.
    pub squeeze: Squeeze,
    /// How the picture gets the image's size.
    pub fit: Fit,
    /// How the errors of the colours become one.
    pub colors: ColorReduction,
}

/// The rows of the paper's ablation (its Table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmfamRow {
    /// The clinical photo alone.
    Clinical,
    /// The dermoscopic image alone.
    Dermoscopic,
    /// Both images, whose features are concatenated.
    Concat,
    /// Both images, with the reconstruction of each, every pixel alike.
    Reconstruction,
    /// Both images, with reconstruction and with attention that leaves out the exponential.
    LinearAttention,
    /// Both images, with reconstruction and with attention.
    Attention,
    /// Both images, with the adversary and without reconstruction and attention.
    Adversarial,
    /// The whole method: both images, with reconstruction, attention and adversary.
    Amfam,
}

impl AmfamRow {
    /// The rows in the table's order.
    pub const ALL: [Self; 8] = [
        Self::Clinical,
        Self::Dermoscopic,
        Self::Concat,
        Self::Reconstruction,
        Self::LinearAttention,
        Self::Attention,
        Self::Adversarial,
        Self::Amfam,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clinical => "Clin",
            Self::Dermoscopic => "Derm",
            Self::Concat => "Concat",
            Self::Reconstruction => "+Recon",
            Self::LinearAttention => "+Recon+Att (no E)",
            Self::Attention => "+Recon+Att",
            Self::Adversarial => "+AD",
            Self::Amfam => "AMFAM",
        }
    }

    fn factor(self) -> Option<PixelFactor> {
        match self {
            Self::Reconstruction => Some(PixelFactor::One),
            Self::LinearAttention => Some(PixelFactor::Attention),
            Self::Attention | Self::Amfam => Some(PixelFactor::Exponential),
            Self::Clinical | Self::Dermoscopic | Self::Concat | Self::Adversarial => None,
        }
    }
}

/// `C(GAP([F_c, F_d]))` with `F = G(image)`. What only training needs, a [`ModalityDiscriminator`] and for each image an
/// [`AttentionMap`] and a [`Reconstruction`], adds the losses `modality`, `reconstruction_clinical` and
/// `reconstruction_dermoscopic`. Made by [`AmfamConfig::init`] or [`Amfam::new`].
#[derive(Module, Debug)]
pub struct Amfam<B: Backbone> {
    /// One for all images or one for each.
    backbones: Vec<B>,
    /// One for all tasks or one for each.
    hidden: Vec<Linear>,
    tasks: Vec<Linear>,
    discriminator: Option<ModalityDiscriminator>,
    /// One for each image; none where every pixel counts alike.
    attention: Vec<AttentionMap>,
    /// One for each image, or none.
    decoders: Vec<Reconstruction>,
    #[module(skip)]
    views: Vec<Modality>,
    #[module(skip)]
    batches: ModalityBatches,
    #[module(skip)]
    reconstruction: ReconstructionConfig,
}

impl AmfamConfig {
    /// The whole method with a shared backbone.
    #[must_use]
    pub fn new(backbone: BackboneKind, classes: Vec<usize>) -> Self {
        Self::row(AmfamRow::Amfam, backbone, classes)
    }

    /// A row of the paper's ablation, with a shared backbone.
    #[must_use]
    pub fn row(row: AmfamRow, backbone: BackboneKind, classes: Vec<usize>) -> Self {
        let views = match row {
            AmfamRow::Clinical => vec![Modality::Clinical],
            AmfamRow::Dermoscopic => vec![Modality::Dermoscopic],
            _ => vec![Modality::Clinical, Modality::Dermoscopic],
        };
        let adversary = matches!(row, AmfamRow::Adversarial | AmfamRow::Amfam);
        Self {
            backbone,
            views,
            shared_backbone: true,
            batches: ModalityBatches::default(),
            classes,
            hidden: 512,
            shared_hidden: true,
            discriminator: adversary.then(ModalityDiscriminatorConfig::default),
            reconstruction: row
                .factor()
                .map(|factor| ReconstructionConfig { factor, ..ReconstructionConfig::default() }),
        }
    }

    /// The same without what only training needs.
    #[must_use]
    pub fn inference(self) -> Self {
        Self { discriminator: None, reconstruction: None, ..self }
    }

    /// The names of the losses that the network adds in training.
    #[must_use]
    pub fn auxiliary(&self) -> Vec<&'static str> {
        let adversary = self.discriminator.iter().map(|_| MODALITY);
        let decoders = self.reconstruction.iter().flat_map(|_| &self.views).map(|view| reconstruction_name(*view));
        adversary.chain(decoders).collect()
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No image, an image twice, an adversary for one image, class counts or a hidden layer that make no head.
    pub fn init(&self, device: &Device) -> Result<Amfam<AnyBackbone>, NetworkError> {
        let count = if self.shared_backbone { 1 } else { self.views.len() };
        Amfam::new((0..count).map(|_| self.backbone.init(None, device)).collect(), self, device)
    }

    fn check(&self) -> Result<(), NetworkError> {
        NetworkError::require_classes(&self.classes)?;
        NetworkError::require_units(&[self.hidden])?;
        let views = &self.views;
        if views.is_empty() || views.iter().enumerate().any(|(index, view)| views[..index].contains(view)) {
            return Err(NetworkError::Views { views: self.view_names() });
        }
        match self.discriminator.is_some() && views.len() < 2 {
            true => Err(NetworkError::Adversary { views: self.view_names() }),
            false => Ok(()),
        }
    }

    fn view_names(&self) -> Vec<&'static str> {
        self.views.iter().take(SHOWN).map(|view| view.name()).collect()
    }
}

impl<B: Backbone> Amfam<B> {
    /// Puts the structure of a configuration around backbones of your own, one for all images or one for each, in the order
    /// of the views and not clones of each other; the configuration's are ignored.
    ///
    /// # Errors
    /// As [`AmfamConfig::init`]; another number of backbones; backbones with features of different lengths.
    pub fn new(backbones: Vec<B>, config: &AmfamConfig, device: &Device) -> Result<Self, NetworkError> {
        config.check()?;
        let views = config.views.clone();
        let lengths: Vec<usize> = backbones.iter().map(Backbone::num_features).collect();
        let features = match lengths[..] {
            [features, ref others @ ..]
                if [1, views.len()].contains(&lengths.len()) && others.iter().all(|&length| length == features) =>
            {
                features
            }
            _ => return Err(NetworkError::Towers { views: views.len(), features: lengths }),
        };
        let hidden = if config.shared_hidden { 1 } else { config.classes.len() };
        let discriminator =
            config.discriminator.map(|discriminator| discriminator.init(features, device)).transpose()?;
        let reconstruction = config.reconstruction.unwrap_or_default();
        let decoders = config.reconstruction.map_or(0, |_| views.len());
        let maps = if reconstruction.factor == PixelFactor::One { 0 } else { decoders };
        let attention = (0..maps).map(|_| AttentionMap::init(features, reconstruction.squeeze, device));
        let decoder = |_| Reconstruction::init(features, reconstruction.fit, device);
        Ok(Self {
            hidden: (0..hidden).map(|_| linear(views.len() * features, config.hidden, device)).collect(),
            tasks: config.classes.iter().map(|&classes| linear(config.hidden, classes, device)).collect(),
            discriminator,
            attention: attention.collect::<Result<_, _>>()?,
            decoders: (0..decoders).map(decoder).collect(),
            backbones,
            views,
            batches: config.batches,
            reconstruction,
        })
    }

    /// The backbones: one for all images, or one for each.
    pub fn backbones(&self) -> Vec<&B> {
        self.backbones.iter().collect()
    }

    /// The adversary, of a network that has one: to ask how well it tells the modalities apart.
    pub fn discriminator(&self) -> Option<&ModalityDiscriminator> {
        self.discriminator.as_ref()
    }

    /// The logits of joined features, one `[B, K_t]` for each task.
    fn classify(&self, features: &Tensor<2>) -> Vec<Tensor<2>> {
        let hidden: Vec<Tensor<2>> =
            self.hidden.iter().map(|layer| project(layer, Activation::Relu, features.clone())).collect(); // [B, 512]
        let tasks = self.tasks.iter().enumerate();
        tasks
            .map(|(index, task)| project(task, Activation::Identity, hidden[index.min(hidden.len() - 1)].clone()))
            .collect() // [B, K_t]
    }

    /// Whether losses are wanted: not in inference, and not where the whole network stands still.
    fn trains(&self) -> bool {
        self.hidden.iter().any(|layer| layer.weight.is_require_grad() && layer.weight.val().is_autodiff())
    }

    fn losses(&self, input: &MultimodalInput, maps: &[Tensor<4>], pooled: &[Tensor<2>]) -> Vec<Auxiliary> {
        let adversary = self.discriminator.iter().map(|discriminator| {
            let features: Vec<_> = self.views.iter().copied().zip(pooled.iter().cloned()).collect();
            Auxiliary { name: MODALITY, loss: discriminator.loss(&features) }
        });
        let decoders = self.decoders.iter().enumerate().map(|(index, decoder)| {
            let ReconstructionConfig { factor, detached_attention, colors, .. } = self.reconstruction;
            let view = self.views[index];
            let (image, map) = (input.image(view), maps[index].clone());
            let [_, _, height, width] = image.dims();
            let attention = self.attention.get(index).map(|attention| {
                let attention = attention.forward_scaled(map.clone(), [height, width]); // [B, 1, H, W]
                if detached_attention { attention.detach() } else { attention }
            });
            let picture = decoder.forward(map, [height, width]); // [B, 3, H, W]
            let loss = reconstruction_loss(picture, image, attention, factor, colors);
            Auxiliary { name: reconstruction_name(view), loss }
        });
        adversary.chain(decoders).collect()
    }
}

/// Name of the loss of an image's decoder, `L_RC` or `L_RD`.
const fn reconstruction_name(view: Modality) -> &'static str {
    match view {
        Modality::Clinical => "reconstruction_clinical",
        Modality::Dermoscopic => "reconstruction_dermoscopic",
    }
}

impl<B: Backbone> Network for Amfam<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        let needs = self.views.iter().fold(Modalities::default(), |all, view| all.and((*view).into()));
        let name = match self.views[..] {
            [view] => view.name(),
            _ => "fusion",
        };
        vec![BranchInfo { name, needs }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbones.iter().flat_map(Backbone::parameter_groups).collect()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { backbones: self.backbones.into_iter().map(|backbone| freeze.apply(backbone)).collect(), ..self }
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        let adversary = self.discriminator.iter().map(|_| MODALITY);
        let decoders = self.decoders.iter().zip(&self.views).map(|(_, view)| reconstruction_name(*view));
        adversary.chain(decoders).collect()
    }

    fn at_progress(self, progress: f64) -> Self {
        let discriminator = self.discriminator.map(|discriminator| discriminator.at_progress(progress));
        Self { discriminator, ..self }
    }

    fn changes_with_progress(&self) -> bool {
        self.discriminator.as_ref().is_some_and(ModalityDiscriminator::changes_with_progress)
    }

    fn into_inference(self) -> Self {
        Self { discriminator: None, attention: Vec::new(), decoders: Vec::new(), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let images: Vec<_> = self.views.iter().map(|&view| (view, input.image(view))).collect();
        let maps = match &self.backbones[..] {
            [shared] => probe.shared_features(shared, self.batches, images),
            backbones => {
                let own = images.into_iter().zip(backbones);
                own.map(|((view, image), backbone)| probe.features(backbone, view, image)).collect()
            }
        }; // [B, C, h, w] each
        let pooled: Vec<Tensor<2>> = maps.iter().cloned().map(global_average_pool).collect(); // [B, C]
        let joined = Tensor::cat(pooled.clone(), 1); // [B, views * C]
        let branch = BranchOutput::new(self.branches()[0].name, self.classify(&joined)); // [B, K_t]
        let auxiliary = match self.trains() {
            true => self.losses(&input, &maps, &pooled),
            false => Vec::new(),
        };
        NetworkOutput { auxiliary, ..NetworkOutput::new(vec![branch], joined) }
    }
}

impl NetworkDescription for AmfamConfig {
    type Network = Amfam<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<Amfam<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], _metadata: usize) -> Vec<Self> {
        let rows = AmfamRow::ALL.map(|row| Self::row(row, BackboneKind::ResNet18Quarter, classes.to_vec()));
        let apart = Self { shared_backbone: false, ..Self::new(BackboneKind::ResNet18Quarter, classes.to_vec()) };
        rows.into_iter().chain([apart]).collect()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone; if self.shared_backbone { 1 } else { self.views.len() }]
    }

    fn view_of(&self, backbone: usize) -> Option<Modality> {
        let is_shared = self.shared_backbone && self.views.len() > 1;
        self.views.get(backbone).copied().filter(|_| !is_shared)
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        self.auxiliary()
    }

    fn check_images(&self, side: usize) -> Result<(), NetworkError> {
        let [.., expected] = self.backbone.stage_sides(side);
        match self.reconstruction.map(|reconstruction| reconstruction.squeeze) {
            Some(Squeeze::Depthwise { side: found }) if found != expected => {
                Err(NetworkError::SqueezeSide { side: found, limit: MAX_SQUEEZE_SIDE, image: side, expected })
            }
            _ => Ok(()),
        }
    }

    fn inference(self) -> Self {
        self.inference()
    }
}

impl DescribedNetwork for Amfam<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        self.backbones()
    }

    fn load_backbone_weights_of(self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        let is_shared = self.backbones.len() == 1;
        let seen = self.backbones.into_iter().enumerate().map(|(index, backbone)| {
            match is_shared || self.views[index] == view {
                true => with_published_weights(backbone, file),
                false => Ok(backbone),
            }
        });
        Ok(Self { backbones: seen.collect::<Result<_, _>>()?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;
    use dermafuse_backbones::parameter_count;

    const CHECKLIST: [usize; 8] = [5, 3, 3, 3, 2, 3, 2, 3];

    #[test]
    fn parameters_are_the_published_ones() {
        let device = Device::flex();
        let count = |config: AmfamConfig| parameter_count(&config.init(&device).unwrap());
        let whole = AmfamConfig::new(BackboneKind::ResNet50, CHECKLIST.to_vec());
        let two = AmfamConfig { shared_backbone: false, ..whole.clone() };
        assert_eq!(count(whole.clone().inference()), 25_618_008);
        assert_eq!(count(two.inference()), 49_126_040);
        let training = 1_050_114 + 2 * (2_583_171 + 8_393_728);
        assert_eq!(count(whole.clone()), 25_618_008 + training);
        let separate = AmfamConfig { shared_hidden: false, ..whole };
        assert_eq!(count(separate.inference()), 25_618_008 + 7 * (4096 * 512 + 512));
    }

    #[test]
    fn every_row_has_its_losses() {
        let device = Device::flex().autodiff();
        let (clinical, dermoscopic) = ("reconstruction_clinical", "reconstruction_dermoscopic");
        let images = || Some(Tensor::<4>::ones([2, 3, 33, 33], &device));
        let input = MultimodalInput { clinical: images(), dermoscopic: images(), metadata: None };
        for row in AmfamRow::ALL {
            let config = AmfamConfig::row(row, BackboneKind::ResNet18Quarter, vec![3, 2]);
            let network = config.init(&device).unwrap();
            let expected: &[&str] = match row {
                AmfamRow::Clinical | AmfamRow::Dermoscopic | AmfamRow::Concat => &[],
                AmfamRow::Reconstruction | AmfamRow::LinearAttention | AmfamRow::Attention => &[clinical, dermoscopic],
                AmfamRow::Adversarial => &["modality"],
                AmfamRow::Amfam => &["modality", clinical, dermoscopic],
            };
            assert_eq!(network.auxiliary(), expected, "{row:?}");
            assert_eq!(config.auxiliary(), expected, "{row:?}");
            let output = network.forward(input.clone());
            let names: Vec<_> = output.auxiliary.iter().map(|auxiliary| auxiliary.name).collect();
            assert_eq!(names, expected, "{row:?}");
            assert_eq!(output.branches[0].logits[1].dims(), [2, 2]);
            assert!(network.clone().freeze().forward(input.clone()).auxiliary.is_empty(), "{row:?}, frozen");
        }
    }

    #[test]
    fn a_probe_sees_each_image_of_a_joined_batch() {
        let device = Device::flex().autodiff();
        let config = AmfamConfig::row(AmfamRow::Concat, BackboneKind::ResNet18Quarter, vec![3]);
        let network = config.init(&device).unwrap();
        let image = |mean| Some(Tensor::<4>::random([2, 3, 32, 48], Distribution::Normal(mean, 1.0), &device));
        let input = MultimodalInput { clinical: image(0.0), dermoscopic: image(1.0), metadata: None };
        let logits = |output: NetworkOutput| output.branches[0].logits[0].clone();
        let plain = logits(network.forward(input.clone()));
        for (view, stage, size) in [(Modality::Clinical, 1, [2, 32, 4, 6]), (Modality::Dermoscopic, 3, [2, 128, 1, 2])]
        {
            let mut probe = Probe::at(view, stage);
            let probed = logits(network.forward_probed(input.clone(), &mut probe));
            let difference = (probed.clone() - plain.clone()).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "{difference}");
            let map = probe.into_map().unwrap();
            assert_eq!(map.dims(), size);
            assert!(map.grad(&probed.sum().backward()).is_some());
        }
    }

    #[test]
    fn what_makes_no_network_is_refused() {
        let device = Device::flex();
        let whole = AmfamConfig::new(BackboneKind::ResNet18Quarter, vec![2]);
        let error = |config: AmfamConfig| config.init(&device).unwrap_err().to_string();
        let one = AmfamConfig { views: vec![Modality::Clinical], ..whole.clone() };
        assert_eq!(
            error(one),
            "a discriminator of modalities needs both images, found [\"clinical\"]; leave it out or add the other image"
        );
        let twice = AmfamConfig { views: vec![Modality::Clinical; 2], ..whole.clone() };
        assert!(error(twice).contains("each image once"));
        let nothing = AmfamConfig { hidden: 0, ..whole.clone() };
        assert!(error(nothing).contains("found [0]"));
        let backbones =
            vec![BackboneKind::ResNet18.init(None, &device), BackboneKind::ResNet18Quarter.init(None, &device)];
        let error = Amfam::new(backbones, &whole, &device).unwrap_err().to_string();
        assert!(error.contains("[512, 128]"), "{error}");
    }
}
