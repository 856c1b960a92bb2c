//! Images that look alike and are not identical.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use dermafuse_schema::CaseId;
use image::RgbImage;
use image_hasher::{HashAlg, Hasher, HasherConfig};
use rayon::prelude::*;

use crate::name_set::first_bytes;
use crate::splits::groups::Components;
use crate::{CaseSet, DataError, Modality, Resampling, Strictness, decode, resize};

/// The largest distance that [`near_duplicates`] takes. Hashes of photos of different lesions differ in 94 bits as a rule.
pub const MAX_HASH_DISTANCE: u32 = 48;

/// 256 bits: 64, the usual number, hold so little that any two moles in the middle of a picture look alike.
type Hash = [u64; 4];

/// Images are reduced to this side before they are hashed, which is quick for photos of any size.
const SIDE: usize = 64;

/// Two images of different groups that look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearDuplicate {
    /// The case of the one image and which of its images it is.
    pub first: (CaseId, Modality),
    /// The case of the other image and which of its images it is.
    pub second: (CaseId, Modality),
    /// In how many of 256 bits their hashes differ.
    pub distance: u32,
}

/// Looks for images of different [groups](CaseSet::join_groups) that look alike: the same photo at another size, compressed
/// anew, or a second photo of the same view. Such cases may be one patient's, whom the table does not name.
///
/// Each image is decoded and hashed (256 bits of a discrete cosine transform against their median), on `threads` threads, or one
/// for each core if 0; `progress` is told how many of how many are done. Two images look alike if their hashes differ in
/// `distance` bits or fewer. 32 is a good choice: copies of 300 photos of MILK10k, reduced to 70 % or compressed at quality 30,
/// were within 30 bits of them, and among all its 8,390 photos there are four pairs of different lesions within 32, none within
/// 25. The pairs tie what they find: where many images look alike, each is named with one other, not with all. Identical images
/// are among them only if they were not joined.
///
/// Nothing is joined. Whoever is convinced gives such cases one [`group`](dermafuse_schema::Case::group).
///
/// # Errors
/// A distance above [`MAX_HASH_DISTANCE`]; an image that cannot be read, the first in the order of the cases.
pub fn near_duplicates(
    set: &CaseSet,
    distance: u32,
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Vec<NearDuplicate>, DataError> {
    if distance > MAX_HASH_DISTANCE {
        let (what, found) = ("distance of images that look alike", distance.to_string());
        return Err(DataError::Setting { what, found, expected: "48 or less" });
    }
    let images: Vec<(usize, Modality, &Path)> = set
        .cases
        .iter()
        .enumerate()
        .flat_map(|(row, case)| {
            let images = move |modality| case.images(modality).iter().map(move |path| (row, modality, path.as_path()));
            Modality::BOTH.into_iter().flat_map(images)
        })
        .collect();
    let hashes = hashes(&images, threads, progress)?;

    let mut tied = Components::new(images.len());
    tied.join_equal(images.iter().map(|(row, _, _)| &set.cases[*row].group));
    let mut pairs = Vec::new();
    let mut tie = |one: usize, other: usize, distance: u32| {
        if tied.join(one, other) {
            let name = |(row, modality, _): &(usize, Modality, &Path)| (set.cases[*row].id.clone(), *modality);
            pairs.push(NearDuplicate { first: name(&images[one]), second: name(&images[other]), distance });
        }
    };
    // One image for each hash stands for all that have it.
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|&image| (hashes[image], image));
    let mut different = Vec::new();
    for equal in order.chunk_by(|&one, &other| hashes[one] == hashes[other]) {
        equal[1..].iter().for_each(|&other| tie(equal[0], other, 0));
        different.push(equal[0]);
    }
    // Hashes that differ in `distance` bits agree in one of `distance + 1` bands at least.
    let bands = if distance == 0 { 0 } else { distance + 1 };
    for band in 0..bands {
        let (from, to) = (256 * band / bands, 256 * (band + 1) / bands);
        let bits = |image: usize| {
            let bit = |at: u32| u128::from(hashes[image][at as usize / 64] >> (at % 64) & 1);
            (from..to).fold(0, |bits: u128, at| bits << 1 | bit(at))
        };
        different.sort_by_cached_key(|&image| (bits(image), image));
        for alike in different.chunk_by(|&one, &other| bits(one) == bits(other)) {
            for (at, &one) in alike.iter().enumerate() {
                for &other in &alike[at + 1..] {
                    let differ = differing_bits(&hashes[one], &hashes[other]);
                    if differ <= distance {
                        tie(one, other, differ);
                    }
                }
            }
        }
    }
    pairs.sort_by_key(|pair| pair.distance);
    Ok(pairs)
}

/// What a report says of images that look alike; `None` if there are none.
///
/// ```
/// use dermafuse_data::{Modality, NearDuplicate, near_duplicate_note};
///
/// let image = |id: &str| (id.into(), Modality::Clinical);
/// let pairs = [NearDuplicate { first: image("a"), second: image("b"), distance: 2 }];
/// let note = near_duplicate_note(&pairs).unwrap();
/// assert_eq!(note, "1 pairs of images of different groups look alike but are not identical, such as those of `a` and `b`");
/// ```
#[must_use]
pub fn near_duplicate_note(pairs: &[NearDuplicate]) -> Option<String> {
    let NearDuplicate { first: (one, _), second: (other, _), .. } = pairs.first()?;
    let count = pairs.len();
    Some(format!(
        "{count} pairs of images of different groups look alike but are not identical, such as those of `{one}` and `{other}`"
    ))
}

fn hashes(
    images: &[(usize, Modality, &Path)],
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Vec<Hash>, DataError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|_| DataError::Setting {
        what: "number of threads",
        found: threads.to_string(),
        expected: "one that the system can start",
    })?;
    let hasher = HasherConfig::new().hash_size(16, 16).hash_alg(HashAlg::Median).preproc_dct().to_hasher();
    let done = AtomicUsize::new(0);
    let hash = |(_, _, path): &(usize, Modality, &Path)| {
        let hash = hash(path, &hasher)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, images.len());
        Ok(hash)
    };
    let hashes: Vec<Result<Hash, DataError>> = pool.install(|| images.par_iter().map(hash).collect());
    hashes.into_iter().collect()
}

fn hash(path: &Path, hasher: &Hasher) -> Result<Hash, DataError> {
    let pixels = resize(&decode(path, Strictness::Lenient)?, SIDE, Resampling::Pillow)?;
    let mut small = RgbImage::new(SIDE as u32, SIDE as u32);
    small.copy_from_slice(pixels.data());
    let hash = hasher.hash_image(&small);
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(hash.as_bytes().chunks(8)) {
        *word = first_bytes(bytes);
    }
    Ok(words)
}

fn differing_bits(one: &Hash, other: &Hash) -> u32 {
    one.iter().zip(other).map(|(one, other)| (one ^ other).count_ones()).sum()
}
