//! Resizing of maps as matrix products, so that the gradient is exact on every device.

use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_kernels::Activation;

/// How values between pixels are made. Pixel centres keep their place, as in PyTorch's `interpolate` without
/// `align_corners`; there is no antialiasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolation {
    /// Between the two nearest pixels.
    Bilinear,
    /// Keys' cubic with a = −0.75 over the four nearest.
    Bicubic,
}

/// # Shapes
/// `[B, C, h, w]` → `[B, C, H, W]`.
pub(crate) fn resize(maps: Tensor<4>, [height, width]: [usize; 2], interpolation: Interpolation) -> Tensor<4> {
    let across = along_last(maps, width, interpolation); // [B, C, h, W]
    along_last(across.swap_dims(2, 3), height, interpolation).swap_dims(2, 3) // [B, C, H, W]
}

/// # Shapes
/// `[B, C, h, w]` → `[B, C, h, W]`.
fn along_last(maps: Tensor<4>, width: usize, interpolation: Interpolation) -> Tensor<4> {
    let [_, _, _, from] = maps.dims();
    if from == width {
        return maps;
    }
    let weights = weights(from, width, interpolation, &maps.device()); // [w, W]
    let zeros = Tensor::zeros([width], &maps.device());
    dermafuse_kernels::linear(maps, weights, zeros, Activation::Identity) // [B, C, h, W]
}

/// How much of each old pixel every new one is made of: `[from, to]`.
fn weights(from: usize, to: usize, interpolation: Interpolation, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; from * to];
    let last = from as i64 - 1;
    for column in 0..to {
        let place = (column as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let place = if interpolation == Interpolation::Bilinear { place.max(0.0) } else { place };
        let (left, part) = (place.floor() as i64, place - place.floor());
        let mut add = |pixel: i64, weight: f64| weights[pixel.clamp(0, last) as usize * to + column] += weight as f32;
        match interpolation {
            Interpolation::Bilinear => {
                add(left, 1.0 - part);
                add(left + 1, part);
            }
            Interpolation::Bicubic => (-1..=2).for_each(|step| add(left + step, cubic((part - step as f64).abs()))),
        }
    }
    Tensor::from_data(TensorData::new(weights, [from, to]), device)
}

/// The cubic convolution kernel at a distance below 2.
fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.75;
    let d = distance;
    match d <= 1.0 {
        true => ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0,
        false => ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(values: &[f32], to: usize, interpolation: Interpolation) -> Vec<f32> {
        let row = Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 1, values.len()]), &Device::flex());
        resize(row, [1, to], interpolation).into_data().iter::<f32>().collect()
    }

    #[test]
    fn a_row_is_resized_as_pytorch_does() {
        // torch.nn.functional.interpolate(torch.tensor([[[[1., 4., 2.]]]]), size=(1, 5), mode=.., align_corners=False)
        let close = |found: Vec<f32>, expected: [f32; 5]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} is not {expected:?}");
        };
        close(resized(&[1.0, 4.0, 2.0], 5, Interpolation::Bilinear), [1.0, 2.2, 4.0, 2.8, 2.0]);
        close(resized(&[1.0, 4.0, 2.0], 5, Interpolation::Bicubic), [0.712, 2.308, 4.0, 2.992, 1.808]);
        assert_eq!(resized(&[1.0, 4.0, 2.0], 3, Interpolation::Bicubic), [1.0, 4.0, 2.0]);
    }
}
