use dermafuse_schema::stretched;
use ndarray::Array2;

/// Added to a map's largest value before it divides, as in the `pytorch-grad-cam` package.
const EPSILON: f64 = 1e-7;

/// How much each pixel of an image matters, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// `[H, W]` of the image, each 0 to 1; all 0 where nothing speaks for what is explained.
    pub values: Array2<f32>,
    /// What 0 stands for, before scaling.
    pub lowest: f64,
    /// What 1 stands for.
    pub highest: f64,
}

impl HeatMap {
    /// Scales a map of values of at least 0 to 0 to 1 and enlarges it, bilinearly, to an image's size.
    pub(crate) fn of_map(map: &Array2<f64>, size: [usize; 2]) -> Self {
        let (lowest, highest) = range(map);
        let values = scaled(&stretched(scaled(map).view(), size)).mapv(|value| value as f32);
        Self { values, lowest, highest }
    }

    /// Divides values by their largest; what is below 0 becomes 0.
    pub(crate) fn of_drops(drops: &Array2<f64>) -> Self {
        let (_, highest) = range(drops);
        let values = match highest > 0.0 {
            true => drops.mapv(|drop| (drop.max(0.0) / highest) as f32),
            false => Array2::zeros(drops.dim()),
        };
        Self { values, lowest: 0.0, highest: highest.max(0.0) }
    }
}

fn range(map: &Array2<f64>) -> (f64, f64) {
    map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

fn scaled(map: &Array2<f64>) -> Array2<f64> {
    let (low, high) = range(map);
    map.mapv(|value| (value - low) / (EPSILON + high - low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_map_is_scaled_and_enlarged() {
        let heat = HeatMap::of_map(&array![[2.0, 6.0]], [2, 4]);
        let expected = [0.0, 0.25, 0.75, 1.0];
        for row in heat.values.rows() {
            assert!(row.iter().zip(expected).all(|(value, expected): (&f32, f32)| (value - expected).abs() < 1e-6));
        }
        assert_eq!((heat.lowest, heat.highest), (2.0, 6.0));
    }

    #[test]
    fn a_map_without_evidence_is_cold() {
        assert!(HeatMap::of_map(&array![[0.0, 0.0]], [3, 3]).values.iter().all(|&value| value == 0.0));
        let heat = HeatMap::of_drops(&array![[-0.1, -0.2]]);
        assert_eq!((heat.values, heat.highest), (array![[0.0, 0.0]], 0.0));
        let heat = HeatMap::of_drops(&array![[-0.1, 0.2, 0.1]]);
        assert_eq!((heat.values, heat.highest), (array![[0.0, 1.0, 0.5]], 0.2));
    }
}
