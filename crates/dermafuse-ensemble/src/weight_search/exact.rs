//! The exact optimum where fused scores are linear in the weights.

use std::ops::ControlFlow;

use dermafuse_schema::{BranchLogits, FuseSpace};

use super::Found;
use super::arrangement::{HalfPlane, Overlap, Point, Polygon, Region, simplex, weights_at};
use super::resampling::Sample;
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
    pub(super) fn new(logits: &BranchLogits, space: FuseSpace) -> Result<Self> {
        let (branches, views) = (logits.branches.len(), logits.views());
        if branches > MOST_BRANCHES {
            return Err(EnsembleError::TooManyBranches { found: branches, most: MOST_BRANCHES });
        }
        if space == FuseSpace::Logits && views > 1 && branches > 1 {
            return Err(EnsembleError::NotLinear { views });
        }
        let targets = Targets::new(logits, space);
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

        // Weights with ties may be worth more: corners where a case has no weight on its branches, and lines or points where
        // the ties of several cases meet. Nothing else can be.
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
                beyond |= reached < worth;
                looked_at += 1;
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
