use ndarray::Array2;

use super::{Embedding, TSne};
use crate::random::SplitMix64;

/// Sums run in as many lanes, so that they are computed beside each other and still always in the same order.
pub(super) const LANES: usize = 4;

/// Iterations with exaggerated attraction and little momentum.
const EXPLORATION: usize = 250;

/// Standard deviation of the places at the start.
const START: f64 = 1e-4;

const LEAST_GAIN: f64 = 0.01;

/// Places on the plane, each coordinate in a row of its own.
struct Layout {
    x: Vec<f64>,
    y: Vec<f64>,
}

/// Sums over the other points: forces on one point and the weight of its neighbourhoods.
#[derive(Default)]
struct Forces {
    attraction: (f64, f64),
    repulsion: (f64, f64),
    weight: f64,
}

/// Gradient descent with momentum and a gain for each coordinate.
pub(super) fn descend(tsne: &TSne, affinities: &Array2<f64>) -> Embedding {
    let n = affinities.nrows();
    let mut layout = Layout::random(n, tsne.seed);
    let mut steps = Layout { x: vec![0.0; n], y: vec![0.0; n] };
    let mut gains = Layout { x: vec![1.0; n], y: vec![1.0; n] };
    for iteration in 0..tsne.iterations {
        let (exaggeration, momentum) =
            if iteration < EXPLORATION { (tsne.early_exaggeration, 0.5) } else { (1.0, 0.8) };
        let gradient = layout.gradient(affinities, exaggeration);
        let rate = tsne.learning_rate;
        advance(&mut layout.x, &mut steps.x, &mut gains.x, &gradient.x, rate, momentum);
        advance(&mut layout.y, &mut steps.y, &mut gains.y, &gradient.y, rate, momentum);
    }
    let divergence = layout.divergence(affinities);
    Embedding { points: layout.x.into_iter().zip(layout.y).collect(), divergence }
}

/// One step along one coordinate. A gain grows while its coordinate keeps its direction.
fn advance(places: &mut [f64], steps: &mut [f64], gains: &mut [f64], gradient: &[f64], rate: f64, momentum: f64) {
    for (((place, step), gain), slope) in places.iter_mut().zip(steps).zip(gains).zip(gradient) {
        *gain = if *step * slope < 0.0 { *gain + 0.2 } else { (*gain * 0.8).max(LEAST_GAIN) };
        *step = momentum * *step - rate * *gain * slope;
        *place += *step;
    }
    let mean = places.iter().sum::<f64>() / places.len() as f64;
    places.iter_mut().for_each(|place| *place -= mean);
}

impl Layout {
    fn random(n: usize, seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let (x, y) = (0..n).map(|_| random.normal_pair()).map(|(x, y)| (START * x, START * y)).unzip();
        Self { x, y }
    }

    /// 4 Σⱼ (pᵢⱼ − qᵢⱼ) (yᵢ − yⱼ) / (1 + |yᵢ − yⱼ|²), with all pᵢⱼ times `exaggeration`.
    fn gradient(&self, affinities: &Array2<f64>, exaggeration: f64) -> Self {
        let forces: Vec<Forces> =
            affinities.rows().into_iter().enumerate().map(|(i, row)| self.forces(i, &row.to_vec())).collect();
        let weight: f64 = forces.iter().map(|of_point| of_point.weight).sum();
        let slope = |attraction: f64, repulsion: f64| 4.0 * (exaggeration * attraction - repulsion / weight);
        Self {
            x: forces.iter().map(|of| slope(of.attraction.0, of.repulsion.0)).collect(),
            y: forces.iter().map(|of| slope(of.attraction.1, of.repulsion.1)).collect(),
        }
    }

    fn forces(&self, i: usize, affinities: &[f64]) -> Forces {
        let mut sums = [[0.0; LANES]; 5];
        let (xi, yi) = (self.x[i], self.y[i]);
        let mut add = |lane: usize, p: f64, x: f64, y: f64| {
            let (dx, dy) = (xi - x, yi - y);
            let near = 1.0 / (1.0 + dx * dx + dy * dy);
            let (attraction, repulsion) = (p * near, near * near);
            sums[0][lane] += attraction * dx;
            sums[1][lane] += attraction * dy;
            sums[2][lane] += repulsion * dx;
            sums[3][lane] += repulsion * dy;
            sums[4][lane] += near;
        };
        let (p, x, y) = (affinities.chunks_exact(LANES), self.x.chunks_exact(LANES), self.y.chunks_exact(LANES));
        let rest = p.remainder().iter().zip(x.remainder()).zip(y.remainder());
        for ((p, x), y) in p.zip(x).zip(y) {
            for lane in 0..LANES {
                add(lane, p[lane], x[lane], y[lane]);
            }
        }
        for (lane, ((p, x), y)) in rest.enumerate() {
            add(lane, *p, *x, *y);
        }
        let [ax, ay, rx, ry, near] = sums.map(|lanes| lanes.iter().sum::<f64>());
        // The point is as near to itself as can be, and no neighbour of its own.
        Forces { attraction: (ax, ay), repulsion: (rx, ry), weight: near - 1.0 }
    }

    /// Σ p ln(p/q).
    fn divergence(&self, affinities: &Array2<f64>) -> f64 {
        let near = |i: usize, j: usize| {
            let (dx, dy) = (self.x[i] - self.x[j], self.y[i] - self.y[j]);
            1.0 / (1.0 + dx * dx + dy * dy)
        };
        let (mut sum, mut weight, mut total) = (0.0, 0.0, 0.0);
        for ((i, j), &p) in affinities.indexed_iter().filter(|((i, j), _)| i != j) {
            weight += near(i, j);
            if p > 0.0 {
                sum += p * (p / near(i, j)).ln();
                total += p;
            }
        }
        sum + total * weight.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affinities(n: usize) -> Array2<f64> {
        let mut p = Array2::from_shape_fn((n, n), |(i, j)| if i == j { 0.0 } else { ((i * j + i + j) % 5 + 1) as f64 });
        p /= p.sum();
        p
    }

    #[test]
    fn equal_neighbourhoods_on_an_equilateral_triangle_do_not_diverge() {
        let layout = Layout { x: vec![0.0, 1.0, 0.5], y: vec![0.0, 0.0, 0.75_f64.sqrt()] };
        let equal = Array2::from_shape_fn((3, 3), |(i, j)| if i == j { 0.0 } else { 1.0 / 6.0 });
        assert!(layout.divergence(&equal).abs() < 1e-14);
        let gradient = layout.gradient(&equal, 1.0);
        assert!(gradient.x.iter().chain(&gradient.y).all(|slope| slope.abs() < 1e-15));
        // q of a pair at distance 1 and two at distance √3: 1/2 and 1/4, of sum 2
        let layout = Layout { x: vec![0.0, 1.0, 0.5], y: vec![0.0, 0.0, 2.75_f64.sqrt()] };
        let expected = (2.0 * (4.0_f64 / 6.0).ln() + 4.0 * (8.0_f64 / 6.0).ln()) / 6.0;
        assert!((layout.divergence(&equal) - expected).abs() < 1e-14);
    }

    #[test]
    fn the_gradient_is_that_of_the_divergence() {
        // 11 points: two whole rows of lanes and a rest
        let (p, mut layout) = (affinities(11), Layout::random(11, 4));
        layout.x.iter_mut().chain(&mut layout.y).for_each(|place| *place *= 1e4);
        let gradient = layout.gradient(&p, 1.0);
        let step = 1e-5;
        for i in 0..11 {
            let mut at = |x: f64, y: f64| {
                layout.x[i] += x;
                layout.y[i] += y;
                let divergence = layout.divergence(&p);
                layout.x[i] -= x;
                layout.y[i] -= y;
                divergence
            };
            let along_x = (at(step, 0.0) - at(-step, 0.0)) / (2.0 * step);
            let along_y = (at(0.0, step) - at(0.0, -step)) / (2.0 * step);
            assert!((along_x - gradient.x[i]).abs() < 1e-8, "{i}: {along_x} and {}", gradient.x[i]);
            assert!((along_y - gradient.y[i]).abs() < 1e-8, "{i}: {along_y} and {}", gradient.y[i]);
        }
    }

    #[test]
    fn a_gain_grows_while_its_coordinate_keeps_its_direction_and_falls_otherwise() {
        let (mut places, mut steps, mut gains) = ([0.0, 0.0], [0.0, 3.0], [1.0, 1.0]);
        advance(&mut places, &mut steps, &mut gains, &[1.0, -1.0], 10.0, 0.5);
        // steps −10·0.8 and 1.5 + 10·1.2, around their mean
        assert_eq!(gains, [0.8, 1.2]);
        assert_eq!(steps, [-8.0, 13.5]);
        assert_eq!(places, [-10.75, 10.75]);
    }
}
