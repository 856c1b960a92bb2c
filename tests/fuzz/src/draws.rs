//! The random numbers of a campaign: a function of the target's name and the seed.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// Those of one input.
    #[must_use]
    pub fn new(target: &str, seed: u64) -> Self {
        let name = target.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let mut draws = Self(name ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        draws.bits();
        draws
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `count`; 0 if that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % (count.max(1) as u64)) as usize
    }

    /// Once in `count` times.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of several.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_name_and_seed_alone() {
        let first = |target: &str, seed| Draws::new(target, seed).bits();
        assert_eq!(first("image", 7), first("image", 7));
        assert_ne!(first("image", 7), first("image", 8));
        assert_ne!(first("image", 7), first("table", 7));
        let mut draws = Draws::new("image", 0);
        let hits = (0..10_000).filter(|_| draws.once_in(10)).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }
}
