//! Hashes of what images look like, and the search for those that are near each other.

use image::RgbImage;
use image_hasher::{HashAlg, HasherConfig};

use crate::name_set::first_bytes;
use crate::{DataError, Resampling, RgbPixels, resize};

/// The largest distance that [`near_pairs`] and [`NearDuplicates`](crate::NearDuplicates) take. Hashes of photos of different
/// lesions differ in 94 bits as a rule.
pub const MAX_HASH_DISTANCE: u32 = 48;

/// Bits of a hash.
const BITS: usize = 256;
/// Images are reduced to this side before they are hashed, which is quick for photos of any size.
const SIDE: usize = 64;
/// The longest key: a table has a place for each.
const MAX_KEY: usize = 20;

/// What an image looks like, in 256 bits: the lowest 16 × 16 frequencies of its discrete cosine transform against their median. 64, the
/// usual number, hold so little that any two moles in the middle of a picture look alike.
///
/// The hash hardly changes with the size of an image and how it is compressed. It changes when the image is turned or mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageHash(pub [u64; 4]);

impl ImageHash {
    /// The hash of an image.
    ///
    /// # Errors
    /// An image that cannot be reduced.
    pub fn of(pixels: &RgbPixels) -> Result<Self, DataError> {
        let pixels = resize(pixels, SIDE, Resampling::Pillow)?;
        let mut small = RgbImage::new(SIDE as u32, SIDE as u32);
        small.copy_from_slice(pixels.data());
        let hasher = HasherConfig::new().hash_size(16, 16).hash_alg(HashAlg::Median).preproc_dct().to_hasher();
        let hash = hasher.hash_image(&small);
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.as_bytes().chunks(8)) {
            *word = first_bytes(bytes);
        }
        Ok(Self(words))
    }

    /// In how many of the 256 bits two differ.
    ///
    /// ```
    /// use dermafuse_data::ImageHash;
    ///
    /// assert_eq!(ImageHash([0b111, 0, 0, 0]).distance(&ImageHash([0b100, 0, 0, 1])), 3);
    /// ```
    #[must_use]
    pub fn distance(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(one, other)| (one ^ other).count_ones()).sum()
    }

    /// Every `step`-th bit from `first` on. Neighbouring bits are of neighbouring frequencies and go together; these are not.
    fn key(&self, first: usize, step: usize) -> usize {
        (first..BITS).step_by(step).fold(0, |key, bit| key << 1 | (self.0[bit / 64] >> (bit % 64) & 1) as usize)
    }
}

/// Tells `found` of all pairs of hashes that differ in `distance` bits or fewer: the places of the two, the first one smaller, and the
/// distance. A pair may be told several times.
///
/// The bits are dealt into keys. Two hashes that differ in `d` bits have one of `m` keys in which they differ in `d / m` bits at most, so
/// only hashes whose keys are that near are compared (Norouzi et al., CVPR 2012). `m` is chosen by the number of hashes, which
/// makes the work grow little more than in proportion to it, and to the number of pairs that are found.
///
/// ```
/// use dermafuse_data::{ImageHash, near_pairs};
///
/// let hashes = [ImageHash([0, 0, 0, 0]), ImageHash([u64::MAX, 0, 0, 0]), ImageHash([3, 0, 0, 0])];
/// let mut pairs = Vec::new();
/// near_pairs(&hashes, 2, |one, other, distance| pairs.push((one, other, distance)))?;
/// assert!(!pairs.is_empty() && pairs.iter().all(|pair| *pair == (0, 2, 2)));
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
///
/// # Errors
/// A distance above [`MAX_HASH_DISTANCE`].
pub fn near_pairs(
    hashes: &[ImageHash],
    distance: u32,
    mut found: impl FnMut(usize, usize, u32),
) -> Result<(), DataError> {
    if distance > MAX_HASH_DISTANCE {
        let (what, found) = ("distance of images that look alike", distance.to_string());
        return Err(DataError::Setting { what, found, expected: "48 or less" });
    }
    let keys = number_of_keys(hashes.len(), distance as usize);
    let (length, radius) = (BITS.div_ceil(keys), distance as usize / keys);
    let flips = flips(length, radius);
    for first in 0..keys {
        let table = KeyTable::of(hashes, first, keys, length);
        for (key, here) in table.filled() {
            for flip in &flips {
                // The other way round it is the same pair of keys.
                let there = key ^ flip;
                let others = if there < key { &[] } else { table.at(there) };
                for (at, &one) in here.iter().enumerate() {
                    let others = if there == key { &others[at + 1..] } else { others };
                    for &other in others {
                        let (one, other) = (one as usize, other as usize);
                        let differ = hashes[one].distance(&hashes[other]);
                        if differ <= distance {
                            found(one.min(other), one.max(other), differ);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// Into how many keys the bits are dealt, so that there is the least to do for so many hashes whose bits are even.
fn number_of_keys(hashes: usize, distance: usize) -> usize {
    let work = |keys: usize| {
        let (length, radius) = (BITS.div_ceil(keys), distance / keys);
        let places = 2_f64.powi(length as i32);
        // A look into the table costs as much as comparing some eight pairs; making it, as looking at every hash and place.
        let looks = ways(length, radius) * (hashes as f64).min(places);
        let compared = looks * hashes as f64 / places * (hashes as f64 / places).max(1.0);
        keys as f64 * (8.0 * looks + compared + 16.0 * hashes as f64 + places)
    };
    let least = BITS.div_ceil(MAX_KEY);
    (least..=64).min_by(|one, other| work(*one).total_cmp(&work(*other))).expect("there are numbers of keys")
}

/// In how many ways up to `radius` of `length` bits are chosen.
fn ways(length: usize, radius: usize) -> f64 {
    let mut ways = 1.0;
    (1..=radius).fold(1.0, |sum, chosen| {
        ways *= (length + 1 - chosen) as f64 / chosen as f64;
        sum + ways
    })
}

/// All keys with at most `radius` of `length` bits set.
fn flips(length: usize, radius: usize) -> Vec<usize> {
    let mut flips = vec![0];
    let mut begun = vec![(0, 0)];
    for _ in 0..radius {
        let more = |(flip, from): &(usize, usize)| {
            let flip = *flip;
            (*from..length).map(move |bit| (flip | 1 << bit, bit + 1)).collect::<Vec<_>>()
        };
        begun = begun.iter().flat_map(more).collect();
        flips.extend(begun.iter().map(|(flip, _)| *flip));
    }
    flips
}

/// The hashes by one of their keys.
struct KeyTable {
    /// Where the hashes of each key begin in `places`, and after the last key their number.
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl KeyTable {
    fn of(hashes: &[ImageHash], first: usize, keys: usize, length: usize) -> Self {
        let mut starts = vec![0_u32; (1 << length) + 1];
        let of_hashes: Vec<usize> = hashes.iter().map(|hash| hash.key(first, keys)).collect();
        of_hashes.iter().for_each(|key| starts[key + 1] += 1);
        (1..starts.len()).for_each(|key| starts[key] += starts[key - 1]);
        let mut next = starts.clone();
        let mut places = vec![0; hashes.len()];
        for (place, key) in of_hashes.iter().enumerate() {
            places[next[*key] as usize] = place as u32;
            next[*key] += 1;
        }
        Self { starts, places }
    }

    fn at(&self, key: usize) -> &[u32] {
        &self.places[self.starts[key] as usize..self.starts[key + 1] as usize]
    }

    fn filled(&self) -> impl Iterator<Item = (usize, &[u32])> {
        (0..self.starts.len() - 1).map(|key| (key, self.at(key))).filter(|(_, places)| !places.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Draws of a multiplicative generator; hashes of which every other one is near the one before.
    fn drawn(count: usize) -> Vec<ImageHash> {
        let mut state = 7_u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 31
        };
        let mut hashes: Vec<ImageHash> = Vec::new();
        for at in 0..count {
            let mut hash = ImageHash([draw(), draw(), draw(), draw()]);
            if at % 2 == 1 {
                hash = hashes[at - 1];
                (0..at % 60).for_each(|_| {
                    let bit = draw() as usize % BITS;
                    hash.0[bit / 64] ^= 1 << (bit % 64);
                });
            }
            hashes.push(hash);
        }
        hashes
    }

    #[test]
    fn exactly_the_near_pairs_are_found_for_every_distance() {
        let hashes = drawn(300);
        for distance in [0, 1, 7, 16, 31, 32, 33, 48] {
            let mut found = BTreeSet::new();
            near_pairs(&hashes, distance, |one, other, differ| {
                assert_eq!(differ, hashes[one].distance(&hashes[other]));
                found.insert((one, other));
            })
            .unwrap();
            let all = (0..hashes.len()).flat_map(|one| (one + 1..hashes.len()).map(move |other| (one, other)));
            let near: BTreeSet<_> =
                all.filter(|(one, other)| hashes[*one].distance(&hashes[*other]) <= distance).collect();
            assert_eq!(found, near, "{distance}");
            assert!(distance == 0 || !near.is_empty());
        }
        assert!(near_pairs(&hashes, 49, |_, _, _| ()).is_err());
    }

    #[test]
    fn keys_are_whole_and_cover_every_bit() {
        for keys in [13, 17, 33, 64] {
            let length = BITS.div_ceil(keys);
            let all = ImageHash([u64::MAX; 4]);
            let set: u32 = (0..keys).map(|first| all.key(first, keys).count_ones()).sum();
            assert_eq!(set as usize, BITS);
            assert!((0..keys).all(|first| all.key(first, keys) < 1 << length));
        }
        assert_eq!(flips(4, 2).len(), 11);
        assert_eq!((ways(4, 2), ways(15, 1), ways(9, 0)), (11.0, 16.0, 1.0));
    }

    #[test]
    fn more_hashes_have_longer_keys() {
        let numbers = [1_000, 10_000, 100_000, 1_000_000].map(|hashes| number_of_keys(hashes, 32));
        assert!(numbers.is_sorted_by(|one, other| one >= other), "{numbers:?}");
    }
}
