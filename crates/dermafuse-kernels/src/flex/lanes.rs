//! Partial sums side by side, so that a sum can use vector units: as many whatever the length of the vectors.

pub(super) const LANES: usize = 16;

/// A number for each lane.
pub(super) type Lanes = [f32; LANES];

/// The sum of all lanes, from the first to the last. Not inlined: where the compiler sees how lanes end, it may take the loop that
/// fills them apart, number by number, which makes it ten times as slow.
#[inline(never)]
pub(super) fn total(lanes: &Lanes) -> f32 {
    lanes.iter().sum()
}

/// [`total`] in double precision.
#[inline(never)]
pub(super) fn exact_total(lanes: &Lanes) -> f64 {
    lanes.iter().map(|lane| f64::from(*lane)).sum()
}
