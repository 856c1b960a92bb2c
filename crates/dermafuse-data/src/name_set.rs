//! Sets of names, of which a table may have millions.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A set of texts. Its hash is not secret: someone who writes the table could make it slow, but not wrong.
pub(crate) type NameSet<T> = HashSet<T, BuildHasherDefault<NameHasher>>;

/// What there is of each name, with the same hash.
pub(crate) type NameMap<K, V> = HashMap<K, V, BuildHasherDefault<NameHasher>>;

/// Folds eight bytes at a time by a long multiplication; on names, several times as quick as the standard hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameHasher(u64);

impl NameHasher {
    fn fold(&mut self, word: u64) {
        // The golden ratio and π, as in other hashes of this kind: odd and without pattern.
        let product = u128::from(self.0 ^ word ^ 0x243f_6a88_85a3_08d3) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.fold(first_bytes(chunk));
        }
        self.fold(bytes.len() as u64);
    }

    fn write_u8(&mut self, _: u8) {
        // The mark that ends a text: its length has been folded in.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The first eight bytes as a number, zeros behind the end.
pub(crate) fn first_bytes(bytes: &[u8]) -> u64 {
    if let Some(word) = bytes.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_names_are_spread_over_low_and_high_bits() {
        let hash = |text: &str| {
            let mut hasher = NameHasher::default();
            hasher.write(text.as_bytes());
            hasher.finish()
        };
        let hashes: Vec<u64> = (0..4096).map(|n| hash(&format!("PAT_{n:06}_{n}.png"))).collect();
        for shift in [0, 52] {
            let mut counts = vec![0; 4096];
            hashes.iter().for_each(|hash| counts[(hash >> shift) as usize & 4095] += 1);
            // 1,507 of 4,096 places are left empty by chance.
            let empty = counts.iter().filter(|count| **count == 0).count();
            assert!((1_400..1_620).contains(&empty), "{empty}");
            assert!(counts.iter().all(|count| *count < 12));
        }
        assert_ne!(hash("ab"), hash("ab\0"));
        assert_eq!(first_bytes(b"abc"), u64::from_le_bytes(*b"abc\0\0\0\0\0"));
    }
}
