//! How far a reconstruction is from its image, more where attention is.
//!
//! Paper: Wang et al., AMFAM (Medical Image Analysis 2022), Eq. 2, and its ablations. Source: the equation; no code is
//! public. Weights: none. Differences: none known; whether colours are added up or averaged, and whether the gradient
//! goes through the attention map, is not published (added up, and it does).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What a pixel's error is multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFactor {
    /// 1: every pixel counts alike, and there is no attention map (the ablation "Recon.").
    One,
    /// The attention `m`, 0 to 1 (the ablation without the exponential).
    Attention,
    /// `exp(m)`: no pixel counts less than 1.
    #[default]
    Exponential,
}

/// How the squared errors of a pixel's colours become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorReduction {
    /// Their sum: the squared distance of the colours.
    #[default]
    Sum,
    /// Their mean.
    Mean,
}

/// `(1 / HW) Σ_ij factor(m_ij) · ‖x̂_ij − x_ij‖²`, a mean over the batch: `L_R`. Without an attention map the factor is 1.
///
/// # Shapes
/// `[B, 3, H, W]` reconstructions and images, `[B, 1, H, W]` attention → `[1]`.
///
/// # Panics
/// If the factor needs an attention map and there is none.
#[must_use]
pub fn reconstruction_loss(
    reconstructions: Tensor<4>,
    images: Tensor<4>,
    attention: Option<Tensor<4>>,
    factor: PixelFactor,
    colors: ColorReduction,
) -> Tensor<1> {
    let squares = (reconstructions - images).square(); // [B, 3, H, W]
    let errors = match colors {
        ColorReduction::Sum => squares.sum_dim(1),   // [B, 1, H, W]
        ColorReduction::Mean => squares.mean_dim(1), // [B, 1, H, W]
    };
    let attention = || attention.expect("this factor needs an attention map");
    let weighted = match factor {
        PixelFactor::One => errors,
        PixelFactor::Attention => errors * attention(),
        PixelFactor::Exponential => errors * attention().exp(),
    };
    weighted.mean() // [1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn two_pixels_by_hand() {
        let device = Device::flex();
        let drawn = Tensor::<4>::from_data([[[[1.0, 2.0]], [[0.0, 0.0]], [[0.0, 1.0]]]], &device);
        let images = Tensor::<4>::from_data([[[[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]], &device);
        let attention = Tensor::<4>::from_data([[[[0.0, 1.0]]]], &device);
        let loss = |factor, colors| {
            reconstruction_loss(drawn.clone(), images.clone(), Some(attention.clone()), factor, colors)
                .into_scalar::<f64>()
        };
        // Squared distances 1 and 5.
        let one = std::f64::consts::E;
        for (factor, expected) in [
            (PixelFactor::One, 3.0),
            (PixelFactor::Attention, 2.5),
            (PixelFactor::Exponential, (1.0 + 5.0 * one) / 2.0),
        ] {
            assert!((loss(factor, ColorReduction::Sum) - expected).abs() < 1e-5, "{factor:?}");
            assert!((loss(factor, ColorReduction::Mean) - expected / 3.0).abs() < 1e-5, "{factor:?}");
        }
    }
}
