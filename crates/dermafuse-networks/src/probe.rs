//! Looking inside a network: at a feature map and its gradient, and at the weights of attention.

use burn::tensor::Tensor;
use dermafuse_backbones::Backbone;
use dermafuse_fusion::{FeatureFusion, FeatureWeights, MapFusion};

use crate::{Modality, ModalityBatches};

/// The attention by which the map of one image was refined after a stage.
#[derive(Clone, Debug)]
pub struct PositionAttention {
    /// The image whose map was refined: its values were mixed.
    pub refined: Modality,
    /// The image whose map made the weights, by its queries and keys.
    pub source: Modality,
    /// `[B, N, N]`: a row for each position that asks, a column for each that is looked at; rows sum to 1.
    pub weights: Tensor<3>,
    /// Height and width of the maps, in pixels: `N` is their product.
    pub size: [usize; 2],
}

/// A probe keeps one thing of a forward pass: a feature map of a stage, or the weights of the attention modules. It cuts the map that it
/// keeps off from what came before, so the gradient of whatever is computed from the map can be asked for the map itself.
///
/// A network shows its probe every feature map on the way ([`observe`](Self::observe)) and goes on with what it gets back,
/// which has the same values. What is shown at stages 0 to 2 is what the next stage goes on from; at stage 3 it is the map that
/// is pooled. Networks that refine maps between the stages show what goes into that, at every stage.
///
/// Modules that join images or features are run by [`refine`](Self::refine) and [`join`](Self::join), which ask them for their
/// weights if these are wanted. Nothing of this costs anything in a plain forward pass.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_backbones::BackboneKind;
/// use dermafuse_networks::{FusionNetConfig, Modality, MultimodalInput, Network, Probe};
///
/// let device = Device::flex().autodiff();
/// let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]).init(&device)?.freeze();
/// let images = Some(Tensor::ones([1, 3, 64, 64], &device));
/// let input = MultimodalInput { clinical: images.clone(), dermoscopic: images, metadata: None };
///
/// let mut probe = Probe::at(Modality::Clinical, 3);
/// let output = network.forward_probed(input, &mut probe);
/// let map = probe.into_map().expect("the network looks at the clinical photo");
/// let gradients = output.branches[0].logits[0].clone().narrow(1, 1, 1).sum().backward();
/// let gradient = map.grad(&gradients).expect("the logit depends on the map");
/// assert_eq!((map.dims(), gradient.dims()), ([1, 128, 2, 2], [1, 128, 2, 2]));
/// # Ok::<(), dermafuse_networks::NetworkError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Probe {
    wanted: Wanted,
    map: Option<Tensor<4>>,
    positions: Vec<PositionAttention>,
    features: Option<FeatureWeights>,
}

/// What a probe keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    /// The map of a stage.
    Map(Modality, usize),
    /// The attention between the maps after a stage.
    PositionAttention(usize),
    /// The attention between pooled features.
    FeatureAttention,
}

impl Probe {
    /// A probe that keeps nothing: the plain forward pass.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Whether it keeps nothing.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.wanted == Wanted::Nothing
    }

    /// A probe for the map of a stage, 0 to 3, of an image.
    #[must_use]
    pub fn at(view: Modality, stage: usize) -> Self {
        Self { wanted: Wanted::Map(view, stage), ..Self::default() }
    }

    /// A probe for the attention by which both images' maps are refined after a stage, 0 to 3.
    #[must_use]
    pub fn position_attention(stage: usize) -> Self {
        Self { wanted: Wanted::PositionAttention(stage), ..Self::default() }
    }

    /// A probe for the attention between the pooled features of an image and the record.
    #[must_use]
    pub fn feature_attention() -> Self {
        Self { wanted: Wanted::FeatureAttention, ..Self::default() }
    }

    /// The map that was kept; `None` if the network has none there.
    ///
    /// # Shapes
    /// `[B, C, h, w]`.
    #[must_use]
    pub fn into_map(self) -> Option<Tensor<4>> {
        self.map
    }

    /// The attention after the stage, of the clinical map first; empty if the network has none there.
    #[must_use]
    pub fn into_position_attention(self) -> Vec<PositionAttention> {
        self.positions
    }

    /// The attention between features; `None` if the network has none.
    #[must_use]
    pub fn into_feature_attention(self) -> Option<FeatureWeights> {
        self.features
    }

    /// Lets a module refine the maps that two images have after a stage.
    ///
    /// # Shapes
    /// `[B, C_c, h, w]` and `[B, C_d, h, w]` → the same.
    ///
    /// # Panics
    /// As the module.
    pub fn refine<F: MapFusion>(
        &mut self,
        stage: usize,
        fusion: &F,
        clinical: Tensor<4>,
        dermoscopic: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        if self.wanted == Wanted::PositionAttention(stage) {
            let [_, _, height, width] = clinical.dims();
            let views = [Modality::Clinical, Modality::Dermoscopic];
            let found = fusion.attention(clinical.clone(), dermoscopic.clone());
            let found = views.into_iter().zip(views.into_iter().rev()).zip(found);
            let found = found.filter_map(|((refined, other), weights)| {
                let weights = weights?;
                let source = if weights.of_other { other } else { refined };
                Some(PositionAttention { refined, source, weights: weights.weights, size: [height, width] })
            });
            self.positions = found.collect();
        }
        fusion.forward(clinical, dermoscopic)
    }

    /// Lets a module join the pooled features of an image with those of the record.
    ///
    /// # Shapes
    /// `[B, L_I]` and `[B, L_M]` → `[B, L_IM]`.
    ///
    /// # Panics
    /// As the module.
    pub fn join<F: FeatureFusion>(&mut self, fusion: &F, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        if self.wanted == Wanted::FeatureAttention {
            self.features = fusion.attention(image.clone(), metadata.clone());
        }
        fusion.forward(image, metadata)
    }

    /// Is shown the map of a stage and gives back the one to go on with. On an autodiff device that is a leaf which requires
    /// a gradient, if it is the wanted one. A network that shows a stage twice has the last one kept.
    ///
    /// # Shapes
    /// `[B, C, h, w]` → the same.
    #[must_use]
    pub fn observe(&mut self, view: Modality, stage: usize, map: Tensor<4>) -> Tensor<4> {
        if self.wanted != Wanted::Map(view, stage) {
            return map;
        }
        let map = match map.is_autodiff() {
            true => map.detach().require_grad(),
            false => map,
        };
        self.map = Some(map.clone());
        map
    }

    /// As [`observe`](Self::observe) for the map in what a backbone's stage hands on.
    ///
    /// # Shapes
    /// What [`Backbone::forward_stage`] gives → the same.
    #[must_use]
    pub fn observe_stage<B: Backbone>(
        &mut self,
        backbone: &B,
        view: Modality,
        stage: usize,
        result: Tensor<4>,
    ) -> Tensor<4> {
        if self.wanted != Wanted::Map(view, stage) {
            return result;
        }
        let map = self.observe(view, stage, backbone.stage_map(result.clone()));
        backbone.with_stage_map(result, map)
    }

    /// The backbone's last feature map, with every stage shown.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` → `[B, C, h, w]`.
    pub fn features<B: Backbone>(&mut self, backbone: &B, view: Modality, images: Tensor<4>) -> Tensor<4> {
        if !matches!(self.wanted, Wanted::Map(wanted, _) if wanted == view) {
            return backbone.forward_features(images); // [B, C, h, w]
        }
        let map = (0..3)
            .fold(images, |map, stage| self.observe_stage(backbone, view, stage, backbone.forward_stage(stage, map)));
        let map = backbone.finish_stage(3, backbone.forward_stage(3, map));
        self.observe(view, 3, map) // [B, C, h, w]
    }

    /// The last feature map of each of several images, of which one backbone sees all, with every stage shown.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` each → `[B, C, h, w]` each.
    ///
    /// # Panics
    /// If images that go through the backbone together differ in size.
    pub fn shared_features<B: Backbone>(
        &mut self,
        backbone: &B,
        batches: ModalityBatches,
        images: Vec<(Modality, Tensor<4>)>,
    ) -> Vec<Tensor<4>> {
        if batches == ModalityBatches::Separate {
            return images.into_iter().map(|(view, image)| self.features(backbone, view, image)).collect();
        }
        let (views, mut maps): (Vec<Modality>, Vec<Tensor<4>>) = images.into_iter().unzip();
        if !matches!(self.wanted, Wanted::Map(..)) {
            let joined = batches.batches(maps).into_iter().map(|batch| backbone.forward_features(batch));
            return batches.modalities(joined.collect(), views.len()); // [B, C, h, w]
        }
        for stage in 0..4 {
            let joined = batches.batches(maps).into_iter().map(|batch| match stage {
                3 => backbone.finish_stage(3, backbone.forward_stage(3, batch)),
                stage => backbone.forward_stage(stage, batch),
            });
            let shown = views.iter().zip(batches.modalities(joined.collect(), views.len()));
            let shown = shown.map(|(&view, map)| match stage {
                3 => self.observe(view, 3, map),
                _ => self.observe_stage(backbone, view, stage, map),
            });
            maps = shown.collect(); // [B, C, h, w]
        }
        maps
    }
}
