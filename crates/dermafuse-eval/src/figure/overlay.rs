use dermafuse_schema::{SchemaError, stretched};
use ndarray::{Array3, ArrayView2, ArrayView3};

use crate::EvalError;

/// Colours of heat from 0 to 1, dark to light in even steps of lightness (after matplotlib's *inferno*).
const COLORS: [[f64; 3]; 9] = [
    [0.0, 0.0, 4.0],
    [31.0, 12.0, 72.0],
    [85.0, 15.0, 109.0],
    [136.0, 34.0, 106.0],
    [186.0, 54.0, 85.0],
    [227.0, 89.0, 51.0],
    [249.0, 140.0, 10.0],
    [249.0, 201.0, 50.0],
    [252.0, 255.0, 164.0],
];

/// A photo under a heat map: hot pixels take the colour of their heat, cold ones keep that of the photo.
///
/// `opacity`, 0 to 1, is how much of the photo the greatest heat hides.
///
/// # Shapes
/// `[H, W, 3]` photo; heat of any size, each 0 to 1, is stretched over it (bilinear) → `[H, W, 3]`.
///
/// # Errors
/// A photo without three colours, nothing to stretch, heat or an opacity outside 0 to 1.
pub fn heat_overlay(
    photo: ArrayView3<'_, u8>,
    heat: ArrayView2<'_, f32>,
    opacity: f64,
) -> Result<Array3<u8>, EvalError> {
    let (height, width, colors) = photo.dim();
    if colors != 3 || heat.is_empty() {
        let (expected, found) = (vec![height, width, 3], photo.shape().to_vec());
        return Err(SchemaError::Shape { what: "photo under a heat map".into(), expected, found }.into());
    }
    let outside = heat.iter().copied().map(f64::from).chain([opacity]).find(|value| !(0.0..=1.0).contains(value));
    if let Some(value) = outside {
        return Err(SchemaError::Number { what: "heat or opacity".into(), value, expected: "within 0..=1" }.into());
    }
    let heat = stretched(heat.mapv(f64::from).view(), [height, width]);
    let mut overlay = photo.to_owned();
    for (mut line, heat) in overlay.outer_iter_mut().zip(heat.rows()) {
        for (mut pixel, &heat) in line.outer_iter_mut().zip(heat) {
            let covers = opacity * heat;
            for (value, color) in pixel.iter_mut().zip(color_of(heat)) {
                *value = (f64::from(*value) * (1.0 - covers) + color * covers).round() as u8;
            }
        }
    }
    Ok(overlay)
}

fn color_of(heat: f64) -> [f64; 3] {
    let place = heat * (COLORS.len() - 1) as f64;
    let first = (place as usize).min(COLORS.len() - 2);
    let part = place - first as f64;
    std::array::from_fn(|channel| COLORS[first][channel] + part * (COLORS[first + 1][channel] - COLORS[first][channel]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn cold_pixels_keep_the_photo_and_hot_ones_take_their_color() {
        let photo = Array3::from_elem((1, 2, 3), 100_u8);
        let overlay = heat_overlay(photo.view(), array![[0.0, 1.0]].view(), 0.5).unwrap();
        assert_eq!(overlay, array![[[100, 100, 100], [176, 178, 132]]]);
        let stretched = heat_overlay(photo.view(), array![[1.0]].view(), 1.0).unwrap();
        assert_eq!(stretched, array![[[252, 255, 164], [252, 255, 164]]]);
    }

    #[test]
    fn heat_beyond_its_range_is_an_error() {
        let photo = Array3::from_elem((1, 1, 3), 100_u8);
        let error = heat_overlay(photo.view(), array![[1.5]].view(), 0.5).unwrap_err().to_string();
        assert_eq!(error, "heat or opacity: 1.5 is not within 0..=1");
        assert!(heat_overlay(Array3::zeros((1, 1, 4)).view(), array![[0.5]].view(), 0.5).is_err());
    }
}
