//! Looking at a feature map inside a network, and at its gradient.

use burn::tensor::Tensor;
use dermafuse_backbones::Backbone;

use crate::ImageView;

/// Keeps one feature map of a forward pass, and makes it the place where the gradient of what follows ends.
///
/// A network shows its probe every feature map on the way ([`observe`](Self::observe)) and goes on with what it gets back,
/// which has the same values. What is shown at stages 0 to 2 is what the next stage goes on from; at stage 3 it is the map that
/// is pooled. Networks that refine maps between the stages show what goes into that, at every stage.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_backbones::BackboneKind;
/// use dermafuse_networks::{FusionNetConfig, ImageView, MultimodalInput, Network, Probe};
///
/// let device = Device::flex().autodiff();
/// let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]).init(&device)?.freeze();
/// let images = Some(Tensor::ones([1, 3, 64, 64], &device));
/// let input = MultimodalInput { clinical: images.clone(), dermoscopic: images, metadata: None };
///
/// let mut probe = Probe::at(ImageView::Clinical, 3);
/// let output = network.forward_probed(input, &mut probe);
/// let map = probe.into_map().expect("the network looks at the clinical photo");
/// let gradients = output.branches[0].logits[0].clone().narrow(1, 1, 1).sum().backward();
/// let gradient = map.grad(&gradients).expect("the logit depends on the map");
/// assert_eq!((map.dims(), gradient.dims()), ([1, 128, 2, 2], [1, 128, 2, 2]));
/// # Ok::<(), dermafuse_networks::NetworkError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Probe {
    wanted: Option<(ImageView, usize)>,
    map: Option<Tensor<4>>,
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
        self.wanted.is_none()
    }

    /// A probe for the map of a stage, 0 to 3, of an image.
    #[must_use]
    pub fn at(view: ImageView, stage: usize) -> Self {
        Self { wanted: Some((view, stage)), map: None }
    }

    /// The map that was kept; `None` if the network has none there.
    ///
    /// # Shapes
    /// `[B, C, h, w]`.
    #[must_use]
    pub fn into_map(self) -> Option<Tensor<4>> {
        self.map
    }

    /// Is shown the map of a stage and gives back the one to go on with. On an autodiff device that is a leaf which requires
    /// a gradient, if it is the wanted one. A network that shows a stage twice has the last one kept.
    ///
    /// # Shapes
    /// `[B, C, h, w]` → the same.
    #[must_use]
    pub fn observe(&mut self, view: ImageView, stage: usize, map: Tensor<4>) -> Tensor<4> {
        if self.wanted != Some((view, stage)) {
            return map;
        }
        let map = match map.is_autodiff() {
            true => map.detach().require_grad(),
            false => map,
        };
        self.map = Some(map.clone());
        map
    }

    /// The backbone's last feature map, with every stage shown.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` → `[B, C, h, w]`.
    pub fn features<B: Backbone>(&mut self, backbone: &B, view: ImageView, images: Tensor<4>) -> Tensor<4> {
        if self.wanted.is_none_or(|(wanted, _)| wanted != view) {
            return backbone.forward_features(images); // [B, C, h, w]
        }
        let map = (0..3).fold(images, |map, stage| self.observe(view, stage, backbone.forward_stage(stage, map)));
        let map = backbone.finish_stage(3, backbone.forward_stage(3, map));
        self.observe(view, 3, map) // [B, C, h, w]
    }
}
