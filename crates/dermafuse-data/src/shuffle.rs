//! Random numbers that are the same on every platform, thread count and release: ChaCha8 and nothing else.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream of one purpose: all four numbers name it, none of them is mixed away.
pub(crate) fn stream(seed: u64, epoch: u64, row: u64, purpose: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (slot, part) in key.chunks_exact_mut(8).zip([seed, epoch, row, purpose]) {
        slot.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in `low..high`, from the top 53 bits of one draw.
pub(crate) fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    let unit = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    low + unit * (high - low)
}

/// The purpose "order"; augmentation has the small numbers.
const ORDER: u64 = 0x006f_7264_6572;

/// The rows in the order of one epoch: a uniform permutation that depends on `seed` and `epoch` only.
///
/// ```
/// use dermafuse_data::shuffled;
///
/// let order = shuffled(&[10, 11, 12, 13], 7, 0);
/// assert_eq!(order, shuffled(&[10, 11, 12, 13], 7, 0));
/// let mut rows = order;
/// rows.sort();
/// assert_eq!(rows, [10, 11, 12, 13]);
/// ```
#[must_use]
pub fn shuffled(rows: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = stream(seed, epoch, rows.len() as u64, ORDER);
    let mut order = rows.to_vec();
    for last in (1..order.len()).rev() {
        // The high half of a 128-bit product: biased by less than 2⁻⁴⁰ for any set of images.
        let pick = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, pick as usize);
    }
    order
}
