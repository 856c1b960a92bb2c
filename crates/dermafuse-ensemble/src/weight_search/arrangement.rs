//! Where the most polygons overlap: the geometry of the exact weight search.
//!
//! A case is predicted right where its label beats every other class. Where scores are linear in the weights, each of
//! these comparisons is a line through the triangle of weights (a point, for two branches), so the weights that are right
//! about a case form a convex polygon, and the best weights lie where polygons of the greatest total worth overlap. The
//! search cuts the triangle along those lines, one at a time, and gives up a piece as soon as all polygons that it still
//! touches could not lift it to the best worth found. What is left are whole cells of the arrangement: nothing is sampled.
//!
//! A cell of the greatest worth is convex: it is where the polygons that cover it overlap, since any other polygon that
//! reached into it would make it worth more.

use std::ops::ControlFlow;

/// Distances below this are rounding errors. Far below what comparisons are shifted by.
const TOLERANCE: f64 = 1e-13;
/// Halvings by which the radius of a circle is found.
const HALVINGS: usize = 56;

/// The first two of three weights that sum to 1, or the first of two and 0.
pub(super) type Point = [f64; 2];

/// The weights of all branches at a point, none negative.
pub(super) fn weights_at(width: usize, point: Point) -> Vec<f64> {
    let [x, y] = point;
    let weights = if width == 2 { vec![x, 1.0 - x] } else { vec![x, y, 1.0 - x - y] };
    weights.into_iter().map(|weight| weight.max(0.0)).collect()
}

/// A line across the weights, with a side.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfPlane {
    x: f64,
    y: f64,
    constant: f64,
}

impl HalfPlane {
    /// Where `Σ_b slope_b · w_b ≥ 0`.
    pub(super) fn new(slopes: &[f64]) -> Self {
        let mean = slopes.iter().sum::<f64>() / slopes.len() as f64;
        // the length of the gradient along weights that sum to 1
        let length = slopes.iter().map(|slope| (slope - mean).powi(2)).sum::<f64>().sqrt();
        match *slopes {
            [a, b, c] if length > 0.0 => Self { x: (a - c) / length, y: (b - c) / length, constant: c / length },
            [a, b] if length > 0.0 => Self { x: (a - b) / length, y: 0.0, constant: b / length },
            _ => Self { x: 0.0, y: 0.0, constant: if mean > 0.0 { f64::INFINITY } else { f64::NEG_INFINITY } },
        }
    }

    /// Euclidean distance of a point's weights from the line; negative on the other side.
    pub(super) fn distance(&self, point: Point) -> f64 {
        self.x * point[0] + self.y * point[1] + self.constant
    }

    /// The half-plane that begins so much further inside.
    fn inwards(self, by: f64) -> Self {
        Self { constant: self.constant - by, ..self }
    }
}

/// Weights none of which is negative.
pub(super) fn simplex(width: usize) -> Vec<HalfPlane> {
    let unit = |branch: usize| (0..width).map(|other| f64::from(u8::from(other == branch))).collect::<Vec<_>>();
    (0..width).map(|branch| HalfPlane::new(&unit(branch))).collect()
}

/// A convex piece of the weights: a polygon with its corners in order or, for two branches, a stretch with two ends.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) corners: Vec<Point>,
    /// As many corners as it needs not to be empty.
    least: usize,
}

impl Region {
    /// All weights of two or three branches.
    pub(super) fn whole(width: usize) -> Self {
        let corners = if width == 2 { vec![[0.0, 0.0], [1.0, 0.0]] } else { vec![[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]] };
        Self { corners, least: width }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.corners.len() < self.least
    }

    /// The mean of its corners, which lies inside.
    pub(super) fn centre(&self) -> Point {
        let n = self.corners.len() as f64;
        [0, 1].map(|axis| self.corners.iter().map(|corner| corner[axis]).sum::<f64>() / n)
    }

    /// The part of it within (`side` 1) or outside (`side` −1) a half-plane.
    pub(super) fn part(&self, half_plane: &HalfPlane, side: f64) -> Self {
        let mut corners = Vec::with_capacity(self.corners.len() + 1);
        let distance = |corner: usize| {
            let distance = side * half_plane.distance(self.corners[corner]);
            if distance.abs() <= TOLERANCE { 0.0 } else { distance }
        };
        for corner in 0..self.corners.len() {
            let next = if corner + 1 < self.corners.len() { corner + 1 } else { 0 };
            let (here, there) = (distance(corner), distance(next));
            if here >= 0.0 {
                corners.push(self.corners[corner]);
            }
            let is_edge = next > corner || self.least > 2; // a stretch has no way back
            if is_edge && (here > 0.0 && there < 0.0 || here < 0.0 && there > 0.0) {
                let way = here / (here - there);
                corners.push(
                    [0, 1].map(|a| self.corners[corner][a] + way * (self.corners[next][a] - self.corners[corner][a])),
                );
            }
        }
        Self { corners, least: self.least }
    }

    /// The part of it within all half-planes.
    pub(super) fn within<'a>(&self, half_planes: impl IntoIterator<Item = &'a HalfPlane>) -> Self {
        half_planes.into_iter().fold(self.clone(), |region, half_plane| region.part(half_plane, 1.0))
    }

    /// Centre and radius of the largest circle inside it; of equal ones that in the middle. `borders` are the
    /// half-planes that bound it.
    pub(super) fn largest_circle(&self, borders: &[HalfPlane]) -> (Point, f64) {
        let touches = |border: &&HalfPlane| self.corners.iter().any(|&corner| border.distance(corner) < 1e-9);
        let borders: Vec<HalfPlane> = borders.iter().filter(touches).copied().collect();
        let (mut low, mut high, mut inner) = (0.0, 1.0, self.clone());
        for _ in 0..HALVINGS {
            let radius = 0.5 * (low + high);
            let moved: Vec<HalfPlane> = borders.iter().map(|border| border.inwards(radius)).collect();
            let region = self.within(&moved);
            if region.is_empty() {
                high = radius;
            } else {
                (low, inner) = (radius, region);
            }
        }
        let centre = inner.centre();
        let radius = borders.iter().map(|border| border.distance(centre)).fold(f64::INFINITY, f64::min);
        (centre, radius.max(0.0))
    }
}

/// The weights that predict one case right for one task.
#[derive(Clone, Debug)]
pub(super) enum Polygon {
    /// No weights.
    Nowhere,
    /// Those within all half-planes: all weights when there are none.
    Within(Vec<HalfPlane>),
}

impl Polygon {
    /// Where every one of several linear functions of the weights is positive; each is given by its value with all weight
    /// on one branch.
    pub(super) fn new(comparisons: impl IntoIterator<Item = Vec<f64>>) -> Self {
        let mut half_planes = Vec::new();
        for slopes in comparisons {
            if slopes.iter().all(|slope| *slope <= 0.0) {
                return Self::Nowhere;
            }
            if slopes.iter().any(|slope| *slope < 0.0) {
                half_planes.push(HalfPlane::new(&slopes));
            }
        }
        Self::Within(half_planes)
    }

    /// Its half-planes, if it holds a point.
    pub(super) fn around(&self, point: Point) -> Option<&[HalfPlane]> {
        match self {
            Self::Within(half_planes) if half_planes.iter().all(|h| h.distance(point) >= 0.0) => Some(half_planes),
            _ => None,
        }
    }
}

/// Polygons, each worth something.
pub(super) struct Overlap {
    half_planes: Vec<HalfPlane>,
    /// The polygon of each half-plane; those of one polygon follow one another.
    polygon_of: Vec<u32>,
    worths: Vec<u128>,
    /// Worth of the polygons that are everywhere.
    everywhere: u128,
}

/// A piece of the weights that is still to be cut or given up.
struct Piece {
    region: Region,
    /// Worth of the polygons that cover it.
    sure: u128,
    /// The same with those that may reach into it.
    most: u128,
    /// Half-planes whose line crosses it, of the latter polygons.
    open: Vec<u32>,
}

impl Overlap {
    pub(super) fn new(polygons: &[Polygon], worths: &[u128]) -> Self {
        let mut overlap =
            Self { half_planes: Vec::new(), polygon_of: Vec::new(), worths: worths.to_vec(), everywhere: 0 };
        for (index, (polygon, &worth)) in polygons.iter().zip(worths).enumerate().filter(|(_, (_, worth))| **worth > 0)
        {
            match polygon {
                Polygon::Nowhere => {}
                Polygon::Within(half_planes) if half_planes.is_empty() => overlap.everywhere += worth,
                Polygon::Within(half_planes) => {
                    overlap.half_planes.extend(half_planes);
                    overlap.polygon_of.extend(half_planes.iter().map(|_| index as u32));
                }
            }
        }
        overlap
    }

    /// Searches a region for the cells of the greatest worth above `floor` or, with `ties`, at least `floor`.
    ///
    /// `found` hears of every piece that is worth as much as any before and says what pieces must reach from then on. With
    /// `ties` it hears of all of the greatest worth, several of which may belong to one cell. Returns the number of
    /// pieces that were looked at.
    pub(super) fn search(
        &self,
        region: Region,
        mut floor: u128,
        ties: bool,
        mut found: impl FnMut(Region, u128) -> ControlFlow<(), u128>,
    ) -> usize {
        let mut pending = vec![self.piece(region, self.everywhere, (0..self.half_planes.len() as u32).collect())];
        let mut looked_at = 0;
        while let Some(piece) = pending.pop() {
            if piece.most < floor || piece.most == floor && !ties {
                continue;
            }
            looked_at += 1;
            let centre = piece.region.centre();
            let off = |&half_plane: &u32| self.half_planes[half_plane as usize].distance(centre).abs();
            let cut = piece.open.iter().copied().min_by(|a, b| off(a).total_cmp(&off(b)));
            let whole = match cut {
                None => Some(piece.region),
                // it matters only where all that may reach into it overlap
                Some(_) if piece.most == floor => {
                    let open = piece.open.iter().map(|&half_plane| &self.half_planes[half_plane as usize]);
                    Some(piece.region.within(open)).filter(|region| !region.is_empty())
                }
                Some(cut) => {
                    let line = &self.half_planes[cut as usize];
                    let polygon_of = |half_plane: u32| self.polygon_of[half_plane as usize];
                    let elsewhere: Vec<u32> =
                        piece.open.iter().copied().filter(|&other| polygon_of(other) != polygon_of(cut)).collect();
                    let others: Vec<u32> = piece.open.iter().copied().filter(|&other| other != cut).collect();
                    let decided = elsewhere.len() == others.len(); // by this line alone
                    let gain = if decided { self.worths[polygon_of(cut) as usize] } else { 0 };
                    let within = self.piece(piece.region.part(line, 1.0), piece.sure + gain, others);
                    let without = self.piece(piece.region.part(line, -1.0), piece.sure, elsewhere);
                    // the more promising one is looked at first
                    let promise = |piece: &Piece| piece.sure + piece.most;
                    if promise(&within) < promise(&without) {
                        pending.extend([within, without]);
                    } else {
                        pending.extend([without, within]);
                    }
                    continue;
                }
            };
            if let Some(region) = whole {
                match found(region, piece.most) {
                    ControlFlow::Continue(raised) => floor = floor.max(raised),
                    ControlFlow::Break(()) => break,
                }
            }
        }
        looked_at
    }

    /// Decides which of the polygons with open half-planes a region lies in or outside of.
    fn piece(&self, region: Region, mut sure: u128, mut open: Vec<u32>) -> Piece {
        let mut most = sure;
        let mut kept = 0;
        let mut next = 0;
        while next < open.len() {
            let polygon = self.polygon_of[open[next] as usize];
            let (start, mut outside) = (kept, false);
            while next < open.len() && self.polygon_of[open[next] as usize] == polygon {
                let half_plane = open[next];
                next += 1;
                let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
                for &corner in &region.corners {
                    let distance = self.half_planes[half_plane as usize].distance(corner);
                    (low, high) = (low.min(distance), high.max(distance));
                }
                outside |= high <= TOLERANCE;
                if low < -TOLERANCE {
                    open[kept] = half_plane;
                    kept += 1;
                }
            }
            if outside {
                kept = start;
                continue;
            }
            let worth = self.worths[polygon as usize];
            most += worth;
            if kept == start {
                sure += worth;
            }
        }
        open.truncate(kept);
        Piece { region, sure, most, open }
    }
}
