//! Channel numbers that hardware likes.
//!
//! Paper: none.
//! Source: torchvision `models/_utils.py`, `_make_divisible`, from TensorFlow's MobileNet (Apache-2.0).
//! Differences: none.

/// The nearest multiple of 8, except that it is at least 8 and at least nine tenths of the number.
pub(crate) fn make_divisible(channels: f64) -> usize {
    let nearest = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_of_eight() {
        let given = [4.0, 18.0, 24.0, 30.0, 168.0, 38.4, 1.2 * 320.0, 1.1 * 16.0, 11.0];
        assert_eq!(given.map(make_divisible), [8, 24, 24, 32, 168, 40, 384, 16, 16]);
    }
}
