//! The contract of modules by which the feature maps of two images refine each other.

use burn::tensor::Tensor;

/// The attention weights by which a map is refined, as [`MapFusion::attention`] gives them.
#[derive(Clone, Debug)]
pub struct PositionWeights {
    /// `[B, N, N]`: a row for each query's position, a column for each key's; rows sum to 1.
    pub weights: Tensor<3>,
    /// Whether queries and keys are of the other image than the refined map.
    pub of_other: bool,
}

/// Which of the refined maps depend on the other image: a branch that sees such a map needs both images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapDependence {
    /// Whether the refined clinical map depends on the dermoscopic image.
    pub of_clinical: bool,
    /// Whether the refined dermoscopic map depends on the clinical photo.
    pub of_dermoscopic: bool,
}

impl MapDependence {
    /// Each map depends on the other image.
    pub const BOTH: Self = Self { of_clinical: true, of_dermoscopic: true };
    /// Neither map depends on the other image.
    pub const NEITHER: Self = Self { of_clinical: false, of_dermoscopic: false };

    /// What depends on the other image by this or by the other.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            of_clinical: self.of_clinical || other.of_clinical,
            of_dermoscopic: self.of_dermoscopic || other.of_dermoscopic,
        }
    }
}

/// Refines the feature maps that two backbones, or one, make of a clinical photo and a dermoscopic image.
pub trait MapFusion {
    /// # Shapes
    /// clinical `[B, C_c, H, W]`, dermoscopic `[B, C_d, H, W]` → the same.
    ///
    /// # Panics
    /// If the maps differ in height or width, or have other channels than the module was made for.
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>);

    /// The attention weights by which [`forward`](Self::forward) refines each map, clinical first; `None` for a map that stays as
    /// it is, and from modules without attention between all positions. For explanations: the forward pass never holds these
    /// `B · N²` numbers at once.
    ///
    /// # Shapes
    /// clinical `[B, C_c, H, W]`, dermoscopic `[B, C_d, H, W]` → `[B, N, N]` each.
    ///
    /// # Panics
    /// If the maps have other channels than the module was made for.
    fn attention(&self, _clinical: Tensor<4>, _dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        [None, None]
    }

    /// Which of the refined maps depend on the other image.
    fn dependence(&self) -> MapDependence;

    /// Whether one map is refined only: the dermoscopic one.
    fn is_asymmetric(&self) -> bool {
        false
    }
}
