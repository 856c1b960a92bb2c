//! The exact optimum where fused scores are linear in the weights.

use std::ops::ControlFlow;

use dermafuse_schema::{BranchLogits, FuseSpace};

use super::Found;
use super::arrangement::{HalfPlane, Overlap, Point, Polygon, Region, simplex, weights_at};
use super::resampling::{HitValue, Sample};
use super::targets::{Shift, Targets};
use crate::error::{EnsembleError, Result};

/// The most branches whose weights lie in a plane.
pub(super) const MOST_BRANCHES: usize = 3;
/// Ties that are looked at one by one before the search falls back on the grid.
const MOST_TIES: usize = 1000;

/// A cell of the best weights.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) centre: Point,
    pub(super) margin: f64,
    pub(super) corners: Vec<Point>,
}

/// The polygons of a cohort, ready for any sample of it.
pub(super) struct Exact {
    targets: Targets,
    clear: Vec<Polygon>,
    plain: Vec<Polygon>,
    possible: Vec<Polygon>,
}

impl Exact {
    pub(super) fn new(logits: &BranchLogits, space: FuseSpace, value: HitValue) -> Result<Self> {
        let branches = logits.branches.len();
        let views = (0..logits.cohort.len()).map(|case| logits.views_of(case)).max().unwrap_or(0);
        if branches > MOST_BRANCHES {
            return Err(EnsembleError::TooManyBranches { found: branches, most: MOST_BRANCHES });
        }
        if space == FuseSpace::Logits && views > 1 && branches > 1 {
            return Err(EnsembleError::NotLinear { views });
        }
        let targets = Targets::new(logits, space, value);
        let polygons = |shift| if branches > 1 { targets.polygons(shift) } else { Vec::new() };
        let [clear, plain, possible] = [Shift::Clear, Shift::Plain, Shift::Possible].map(polygons);
        Ok(Self { targets, clear, plain, possible })
    }

    /// The best weights for a sample; `grid` gives those of the grid.
    pub(super) fn best(&self, sample: &Sample, grid: impl FnOnce() -> Result<Vec<f64>>) -> Result<Found> {
        let width = self.targets.width;
        if width == 1 {
            return Ok(Found { weights: vec![1.0], margin: None, evaluated: 1, ties: 1, cells: Vec::new() });
        }
        let worths = self.targets.worths(sample);
        let (mut best, mut pieces) = (0, Vec::new());
        let mut evaluated = Overlap::new(&self.clear, &worths).search(Region::whole(width), 0, true, |piece, worth| {
            if worth > best {
                pieces.clear();
            }
            best = worth;
            pieces.push(piece);
            ControlFlow::Continue(worth)
        });

        // Ties at the same place may be worth more: look wherever polygons overlap that are larger by rounding errors, and at the
        // corners and the centre, where ties are likely and the branches of a case may have no weight.
        let mut tied: Option<Vec<f64>> = None;
        let mut consider = |weights: Vec<f64>| {
            let worth = self.targets.worth(&weights, &worths);
            if worth > best {
                best = worth;
                tied = Some(weights);
            }
            best
        };
        for corner in 0..width {
            consider((0..width).map(|branch| f64::from(u8::from(branch == corner))).collect());
        }
        let (mut looked_at, mut beyond) = (0, false);
        let floor = consider(vec![1.0; width]);
        evaluated +=
            Overlap::new(&self.possible, &worths).search(Region::whole(width), floor, false, |piece, worth| {
                let mut reached = consider(weights_at(width, piece.centre()));
                piece.corners.iter().for_each(|&corner| reached = consider(weights_at(width, corner)));
                looked_at += 1;
                beyond |= reached < worth || looked_at == MOST_TIES;
                if looked_at == MOST_TIES { ControlFlow::Break(()) } else { ControlFlow::Continue(reached) }
            });
        if beyond {
            consider(grid()?);
        }
        if let Some(weights) = tied {
            return Ok(Found { weights, margin: Some(0.0), evaluated, ties: 1, cells: Vec::new() });
        }
        let cells = self.cells(&pieces, best, &worths);
        let (weights, margin) = (weights_at(width, cells[0].centre), Some(cells[0].margin));
        Ok(Found { weights, margin, evaluated, ties: cells.len(), cells })
    }

    /// The cells that pieces belong to, widest first.
    fn cells(&self, pieces: &[Region], best: u128, worths: &[u128]) -> Vec<Cell> {
        let width = self.targets.width;
        let mut cells: Vec<(Cell, Vec<HalfPlane>)> = Vec::new();
        for piece in pieces {
            let inside = piece.centre();
            if cells.iter().any(|(_, borders)| borders.iter().all(|border| border.distance(inside) >= 0.0)) {
                continue;
            }
            let mut borders = simplex(width);
            for ((clear, plain), _) in self.clear.iter().zip(&self.plain).zip(worths).filter(|(_, worth)| **worth > 0) {
                if let (Some(_), Polygon::Within(half_planes)) = (clear.around(inside), plain) {
                    borders.extend(half_planes);
                }
            }
            let region = Region::whole(width).within(&borders);
            let (mut centre, mut margin) = region.largest_circle(&borders);
            if self.targets.worth(&weights_at(width, centre), worths) < best {
                centre = inside; // a cell as narrow as rounding errors
                margin = borders.iter().map(|border| border.distance(inside)).fold(f64::INFINITY, f64::min).max(0.0);
            }
            cells.push((Cell { centre, margin, corners: region.corners }, borders));
        }
        cells.sort_by(|(a, _), (b, _)| b.margin.total_cmp(&a.margin));
        cells.into_iter().map(|(cell, _)| cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight_search::tests::problem;
    use crate::{WeightCell, WeightSearch, WeightSearchMethod};
    use dermafuse_schema::{BranchWeights, softmax};
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    const NAMES: [&str; 3] = ["clinical", "dermoscopic", "fusion"];

    /// As `problem`, but no two logits are equal, and those of the label are a little larger.
    fn smooth(width: usize, classes: &[usize], cases: usize, views: usize, seed: u64, missing: u64) -> BranchLogits {
        let mut logits = problem(&NAMES[..width], classes, cases, views, seed, missing);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
        for branch in &mut logits.branches {
            for (task, of_task) in branch.logits.iter_mut().enumerate() {
                for ((_, case, class), logit) in of_task.indexed_iter_mut() {
                    let bonus = if logits.cohort.labels[case][task] == Some(class) { 0.5 } else { 0.0 };
                    *logit += bonus + (rng.next_u64() >> 40) as f32 / 2.0_f32.powi(26);
                }
            }
        }
        logits
    }

    fn search(method: WeightSearchMethod, space: FuseSpace, steps: usize) -> WeightSearch {
        WeightSearch { method, space, steps, ..WeightSearch::default() }
    }

    /// The fraction that is the score, compared exactly.
    fn worth(logits: &BranchLogits, space: FuseSpace, weights: &[f64]) -> u128 {
        let sample = Sample { counts: vec![1; logits.cohort.len()] };
        let targets = Targets::new(logits, space, HitValue::OfTask);
        targets.worth(weights, &targets.worths(&sample))
    }

    /// Lines `Σ_b line_b · w_b = 0` on which the label ties with another class, and the edges of the triangle.
    fn lines(logits: &BranchLogits, space: FuseSpace) -> Vec<[f64; 3]> {
        let mut lines = vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let views = logits.views();
        for (case, labels) in logits.cohort.labels.iter().enumerate() {
            for (task, label) in labels.iter().enumerate().filter_map(|(task, label)| Some((task, (*label)?))) {
                let classes = logits.tasks[task].classes.len();
                let of = |branch: usize| -> Vec<f64> {
                    let mut mean = vec![0.0; classes];
                    for view in 0..views {
                        let row: Vec<f64> = (0..classes)
                            .map(|k| f64::from(logits.branches[branch].logits[task][[view, case, k]]))
                            .collect();
                        let row = if space == FuseSpace::Probabilities { softmax(&row) } else { row };
                        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / views as f64);
                    }
                    mean
                };
                let scores: Vec<Vec<f64>> = (0..3).map(of).collect();
                for other in (0..classes).filter(|other| *other != label) {
                    lines.push([0, 1, 2].map(|branch: usize| {
                        let there = logits.branches[branch].available[case];
                        if there { scores[branch][label] - scores[branch][other] } else { 0.0 }
                    }));
                }
            }
        }
        lines
    }

    fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    }

    /// A point in each cell: every cell has a corner, where two lines meet, and lies in one of the wedges between them.
    fn points_of_cells(lines: &[[f64; 3]]) -> Vec<Vec<f64>> {
        let mut points = Vec::new();
        for (index, &first) in lines.iter().enumerate() {
            for &second in &lines[index + 1..] {
                let corner = cross(first, second);
                let sum: f64 = corner.iter().sum();
                if sum.abs() < 1e-12 {
                    continue;
                }
                let corner = corner.map(|w| w / sum);
                // along each line, weights keep their sum
                let along = [first, second].map(|line| {
                    let direction = cross(line, [1.0; 3]);
                    let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
                    direction.map(|d| d / length)
                });
                for step in [1e-2, 1e-4, 1e-6] {
                    for (a, b) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
                        let point: Vec<f64> =
                            (0..3).map(|i| corner[i] + step * (a * along[0][i] + b * along[1][i])).collect();
                        if point.iter().all(|w| *w >= 0.0) {
                            points.push(point);
                        }
                    }
                }
            }
        }
        points
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_cell_is_better(
            (seed, missing, views) in (any::<u64>(), 0_u64..4, 1_usize..=2),
            space in prop_oneof![Just(FuseSpace::Logits), Just(FuseSpace::Probabilities)],
        ) {
            let views = if space == FuseSpace::Logits { 1 } else { views };
            let logits = smooth(3, &[4, 2], 6, views, seed, missing);
            prop_assume!(logits.cohort.labels.iter().flatten().any(Option::is_some));
            let found = search(WeightSearchMethod::Exact, space, 3).fit(&logits).unwrap();
            let best = worth(&logits, space, found.weights.values());
            let points = points_of_cells(&lines(&logits, space));
            let worths: Vec<u128> = points.iter().map(|point| worth(&logits, space, point)).collect();
            prop_assert_eq!(Some(best), worths.iter().copied().max());
            for (point, _) in points.iter().zip(&worths).filter(|(_, worth)| **worth == best) {
                prop_assert!(found.cells.iter().any(|cell| holds(cell, point)), "{point:?} is as good");
            }
        }

        #[test]
        fn the_margin_is_that_of_the_widest_best_cell(
            (seed, missing, width) in (any::<u64>(), 0_u64..4, 2_usize..=3),
            space in prop_oneof![Just(FuseSpace::Logits), Just(FuseSpace::Probabilities)],
        ) {
            let logits = smooth(width, &[4, 2, 3], 12, 1, seed, missing);
            prop_assume!(logits.cohort.labels.iter().flatten().any(Option::is_some));
            let found = search(WeightSearchMethod::Exact, space, 3).fit(&logits).unwrap();
            let best = worth(&logits, space, found.weights.values());
            let margin = found.margin.unwrap();
            prop_assert!(margin > 0.0 && found.ties == found.cells.len());
            prop_assert!(found.cells.iter().all(|cell| cell.margin <= margin));
            let directions = (0..48).map(|k| {
                let (sine, cosine) = (std::f64::consts::TAU * f64::from(k) / 48.0).sin_cos();
                let (a, b) = (cosine / 2.0_f64.sqrt(), sine / 6.0_f64.sqrt());
                if width == 3 { vec![a + b, b - a, -2.0 * b] } else { vec![0.5_f64.sqrt().copysign(cosine), -0.5_f64.sqrt().copysign(cosine)] }
            });
            let directions: Vec<Vec<f64>> = directions.collect();
            for cell in &found.cells {
                // all of the circle is worth the same, and it reaches the border of the cell
                for direction in &directions {
                    let moved: Vec<f64> =
                        cell.centre.iter().zip(direction).map(|(w, d)| w + 0.999 * cell.margin * d).collect();
                    prop_assert_eq!(worth(&logits, space, &moved), best);
                }
                let beyond = |corner: &Vec<f64>| -> Vec<f64> {
                    cell.centre.iter().zip(corner).map(|(c, w)| c + 1.001 * (w - c)).collect()
                };
                for corner in &cell.corners {
                    let inside: Vec<f64> = cell.centre.iter().zip(corner).map(|(c, w)| c + 0.999 * (w - c)).collect();
                    prop_assert_eq!(worth(&logits, space, &inside), best);
                    let beyond = beyond(corner);
                    prop_assert!(beyond.iter().any(|w| *w < 0.0) || worth(&logits, space, &beyond) != best);
                }
            }
            // no wider circle: the best of all triples of borders of the first cell
            if width == 3 {
                let corners = &found.cells[0].corners;
                let sides: Vec<[f64; 3]> = (0..corners.len())
                    .map(|i| {
                        let (a, b) = (&corners[i], &corners[(i + 1) % corners.len()]);
                        let line = cross([a[0], a[1], a[2]], [b[0], b[1], b[2]]);
                        let mean = line.iter().sum::<f64>() / 3.0;
                        let length = line.iter().map(|l| (l - mean).powi(2)).sum::<f64>().sqrt();
                        let inwards = line.iter().zip(&found.cells[0].centre).map(|(l, w)| l * w).sum::<f64>().signum();
                        line.map(|l| l * inwards / length)
                    })
                    .collect();
                prop_assert!((widest(&sides) - margin).abs() < 1e-9, "{} {margin}", widest(&sides));
            }
        }

        #[test]
        fn it_is_never_below_a_grid_even_where_classes_tie(
            (seed, missing, width, views) in (any::<u64>(), 0_u64..5, 1_usize..=3, 1_usize..=2),
            (steps, cases) in (1_usize..=7, 1_usize..=12),
            space in prop_oneof![Just(FuseSpace::Logits), Just(FuseSpace::Probabilities)],
        ) {
            let views = if space == FuseSpace::Logits { 1 } else { views };
            let logits = problem(&NAMES[..width], &[5, 2, 3], cases, views, seed, missing);
            prop_assume!(logits.cohort.labels.iter().flatten().any(Option::is_some));
            is_not_below_the_grid(&logits, space, steps);
        }
    }

    /// The exact and the refined search score what they say and at least as much as the grid, each time the same.
    fn is_not_below_the_grid(logits: &BranchLogits, space: FuseSpace, steps: usize) {
        let grid = search(WeightSearchMethod::Grid, space, steps).fit(logits).unwrap();
        for method in [WeightSearchMethod::Exact, WeightSearchMethod::Refined] {
            let found = search(method, space, steps).fit(logits).unwrap();
            let of = |weights: &BranchWeights| worth(logits, space, weights.values());
            assert!(of(&found.weights) >= of(&grid.weights), "{method:?} {} {}", found.score, grid.score);
            assert_eq!(Some(found.score), logits.fuse(&found.weights, space).unwrap().mean_accuracy());
            assert_eq!(found, search(method, space, steps).fit(logits).unwrap());
        }
    }

    #[test]
    fn ties_that_rounding_decides_are_found_too() {
        // found by running the test above on 30,000 problems: only the shifted lines, and only the grid, know of these
        let logits = problem(&NAMES[..2], &[5, 2, 3], 12, 2, 4_980_593_273_546_860_591, 3);
        is_not_below_the_grid(&logits, FuseSpace::Probabilities, 4);
        let logits = problem(&NAMES, &[5, 2, 3], 11, 1, 2_798_922_693_623_525_468, 1);
        is_not_below_the_grid(&logits, FuseSpace::Logits, 6);
    }

    /// Whether a point is on the same side of all sides of a cell as its centre, or nearly on one.
    fn holds(cell: &WeightCell, point: &[f64]) -> bool {
        let triple = |weights: &[f64]| [weights[0], weights[1], weights[2]];
        (0..cell.corners.len()).all(|i| {
            let [a, b] = [i, (i + 1) % cell.corners.len()].map(|corner| triple(&cell.corners[corner]));
            let side = |point: &[f64]| cross(a, b).iter().zip(point).map(|(l, w)| l * w).sum::<f64>();
            side(point) * side(&cell.centre).signum() > -1e-9
        })
    }

    /// Radius of the largest circle among those that touch three of the sides and cross none.
    fn widest(sides: &[[f64; 3]]) -> f64 {
        let mut widest = 0.0_f64;
        for a in 0..sides.len() {
            for b in a + 1..sides.len() {
                for c in b + 1..sides.len() {
                    // weights of sum 1 that are as far from one side as from the next
                    let apart = |i: usize, j: usize| [0, 1, 2].map(|k: usize| sides[i][k] - sides[j][k]);
                    let point = cross(apart(a, b), apart(b, c));
                    let sum: f64 = point.iter().sum();
                    let distance = |side: &[f64; 3]| side.iter().zip(&point).map(|(s, w)| s * w / sum).sum::<f64>();
                    let radius = distance(&sides[a]);
                    if sides.iter().all(|side| distance(side) >= radius - 1e-9) {
                        widest = widest.max(radius);
                    }
                }
            }
        }
        widest
    }

    #[test]
    fn it_is_never_below_the_fine_grids() {
        for (seed, views, space) in [(1, 1, FuseSpace::Logits), (2, 3, FuseSpace::Probabilities)] {
            let logits = smooth(3, &[5, 3, 2], 60, views, seed, 1);
            let exact = search(WeightSearchMethod::Exact, space, 50).fit(&logits).unwrap();
            for steps in [50, 100] {
                let grid = search(WeightSearchMethod::Grid, space, steps).fit(&logits).unwrap();
                let of = |weights: &BranchWeights| worth(&logits, space, weights.values());
                assert!(of(&exact.weights) >= of(&grid.weights), "{} {}", exact.score, grid.score);
            }
        }
    }

    #[test]
    fn ties_that_meet_are_found() {
        // the first case is right with at least as much weight on the first branch, the second on the second
        let mut logits = problem(&NAMES[..2], &[2], 2, 1, 0, 0);
        logits.cohort.labels = vec![vec![Some(0)]; 2];
        for (branch, z) in logits.branches.iter_mut().zip([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]) {
            branch.logits[0].iter_mut().zip(z.as_flattened()).for_each(|(logit, z)| *logit = *z);
        }
        let found = search(WeightSearchMethod::Exact, FuseSpace::Logits, 3).fit(&logits).unwrap();
        assert_eq!((found.weights.values(), found.score, found.margin), (&[0.5; 2][..], 1.0, Some(0.0)));
        assert!(found.cells.is_empty());
        // with the second class right, neither case survives the tie
        logits.cohort.labels = vec![vec![Some(1)]; 2];
        let found = search(WeightSearchMethod::Exact, FuseSpace::Logits, 3).fit(&logits).unwrap();
        assert_eq!((found.score, found.ties), (0.5, 2));
        assert!((found.margin.unwrap() - 0.5_f64.sqrt() / 2.0).abs() < 1e-9);
    }

    #[test]
    fn classes_that_always_tie_need_no_luck() {
        let mut logits = smooth(3, &[3], 4, 1, 0, 0);
        logits.branches.iter_mut().for_each(|branch| branch.logits[0].fill(0.25));
        logits.cohort.labels = vec![vec![Some(0)], vec![Some(1)], vec![Some(2)], vec![Some(0)]];
        let found = search(WeightSearchMethod::Exact, FuseSpace::Probabilities, 3).fit(&logits).unwrap();
        assert_eq!((found.score, found.ties), (0.5, 1));
        // the circle inscribed in the triangle
        assert!((found.margin.unwrap() - 1.0 / 6.0_f64.sqrt()).abs() < 1e-9);
        assert!(found.weights.values().iter().all(|w| (w - 1.0 / 3.0).abs() < 1e-9));
    }

    #[test]
    fn what_is_not_linear_or_not_flat_is_refused() {
        let message = |names: &[&str], views| {
            let logits = problem(names, &[2], 3, views, 1, 0);
            search(WeightSearchMethod::Exact, FuseSpace::Logits, 3).fit(&logits).unwrap_err().to_string()
        };
        assert_eq!(
            message(&NAMES, 6),
            "averaged logits of 6 views do not give scores that are linear in the weights, which the exact search needs; average probabilities, predict one view, or use the refined search"
        );
        assert_eq!(
            message(&["a", "b", "c", "d"], 1),
            "the exact and the refined weight search take at most 3 branches, not 4; search the grid"
        );
    }
}
