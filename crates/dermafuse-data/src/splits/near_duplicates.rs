//! Images that look alike: in different parts of a split, under different labels, or of different groups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use dermafuse_schema::CaseId;
use rayon::prelude::*;

use crate::splits::image_hash::{ImageHash, near_pairs};
use crate::{CaseSet, DataError, LabelPair, Modality, Split, Strictness, decode};

/// Two images of different cases that look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearDuplicate {
    /// The earlier one.
    pub first: AlikeImage,
    /// The later one.
    pub second: AlikeImage,
    /// In how many of 256 bits their [hashes](ImageHash) differ.
    pub distance: u32,
    /// Whether their cases are of one [group](CaseSet::join_groups): a patient, a lesion, or cases with an identical file.
    pub same_group: bool,
    /// What their cases are labelled otherwise, in the order of the tasks.
    pub labels: Vec<LabelPair>,
}

/// One of two images that look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlikeImage {
    /// Its case.
    pub case: CaseId,
    /// Which kind of image it is.
    pub modality: Modality,
    /// Its file.
    pub path: PathBuf,
    /// The part of the split that its case is in.
    pub part: Option<String>,
}

impl NearDuplicate {
    /// Whether a case of one part looks like a case of another: what is learnt from the one may be asked of the other.
    #[must_use]
    pub fn crosses_parts(&self) -> bool {
        self.first.part.is_some() && self.second.part.is_some() && self.first.part != self.second.part
    }

    /// Whether the same picture, or nearly, stands under two labels.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        !self.labels.is_empty()
    }
}

/// In which part each case of a set is. What the parts are called is up to the caller.
///
/// ```
/// use dermafuse_data::{CaseParts, Split};
///
/// let parts = CaseParts::of_split(&Split::new(vec![0, 3], vec![1], vec![2], 5)?, 5);
/// assert_eq!((parts.name(0), parts.name(2), parts.name(4)), (Some("training"), Some("test"), None));
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseParts {
    names: Vec<String>,
    of: Vec<Option<usize>>,
}

impl CaseParts {
    /// The parts of a split of a set of `cases` cases: `training`, `validation` and `test`.
    #[must_use]
    pub fn of_split(split: &Split, cases: usize) -> Self {
        Self::of_rows([("training", &split.train), ("validation", &split.valid), ("test", &split.test)], cases)
    }

    /// Named rows of a set of `cases` cases, such as those that each fold tests. A case that stands in several parts counts in the first.
    #[must_use]
    pub fn of_rows<'a>(parts: impl IntoIterator<Item = (&'a str, &'a Vec<usize>)>, cases: usize) -> Self {
        let mut made = Self { names: Vec::new(), of: vec![None; cases] };
        for (part, (name, rows)) in parts.into_iter().enumerate() {
            made.names.push(name.to_owned());
            for row in rows.iter().filter(|row| **row < cases) {
                made.of[*row].get_or_insert(part);
            }
        }
        made
    }

    /// The part that a case is in; `None` if it is in none.
    #[must_use]
    pub fn name(&self, row: usize) -> Option<&str> {
        self.part(row).map(|part| self.names[part].as_str())
    }

    fn part(&self, row: usize) -> Option<usize> {
        self.of.get(row).copied().flatten()
    }
}

/// The images of a set that look alike: the same photo at another size, compressed anew, or a second photo of the same view. Such cases
/// may be one patient's, whom the table does not name.
///
/// Nothing is joined and nothing is left out: two moles can look alike. Whoever is convinced gives such cases one
/// [`group`](dermafuse_schema::Case::group), corrects a label, or drops one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NearDuplicates {
    /// How many images were looked at.
    pub images: usize,
    /// In how many bits hashes differ at most.
    pub distance: u32,
    /// The pairs, the nearest first. Where many images look alike, each is named with the nearest one of another group, of each
    /// other part, and under another label, not with all: so no image that has such a one is missing.
    pub pairs: Vec<NearDuplicate>,
}

impl NearDuplicates {
    /// Looks for them. Each image is decoded and hashed once, on `threads` threads, or one for each core if 0; `progress` is told how
    /// many of how many are done. Two look alike if their hashes differ in `distance` bits or fewer.
    ///
    /// 32 is a good choice: copies of 300 photos of MILK10k, reduced to 70 % or compressed at quality 30, were within 30 bits of them,
    /// and among all its 8,390 photos there are four pairs of different lesions within 32, none within 25. Identical files are
    /// among them where they were not joined, where their parts differ, or where their labels do. Pairs of one group, one part and
    /// the same labels are not: they are several photos of a lesion.
    ///
    /// # Errors
    /// A distance above [`MAX_HASH_DISTANCE`](crate::MAX_HASH_DISTANCE); an image that cannot be read, the first in the order of the cases.
    pub fn of(
        set: &CaseSet,
        parts: &CaseParts,
        distance: u32,
        threads: usize,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self, DataError> {
        // Before the images are read.
        near_pairs(&[], distance, |_, _, _| ())?;
        let images: Vec<SetImage<'_>> = images_of(set).collect();
        let hashes = hashes(&images, threads, progress)?;
        let pairs = Search { set, parts, images: &images }.pairs(&hashes, distance)?;
        Ok(Self { images: images.len(), distance, pairs })
    }

    /// Pairs of cases that are labelled differently.
    pub fn label_conflicts(&self) -> impl Iterator<Item = &NearDuplicate> {
        self.pairs.iter().filter(|pair| pair.is_conflict())
    }

    /// Pairs of cases of different parts.
    pub fn between_parts(&self) -> impl Iterator<Item = &NearDuplicate> {
        self.pairs.iter().filter(|pair| pair.crosses_parts())
    }

    /// Pairs of cases of different groups.
    pub fn of_other_groups(&self) -> impl Iterator<Item = &NearDuplicate> {
        self.pairs.iter().filter(|pair| !pair.same_group)
    }

    /// How many cases of a part look like a case of another one.
    #[must_use]
    pub fn cases_alike(&self, part: &str, other: &str) -> usize {
        let is_in = |image: &AlikeImage, part: &str| image.part.as_deref() == Some(part);
        let cases = self.pairs.iter().flat_map(|NearDuplicate { first, second, .. }| {
            let [one, two] = [(first, second), (second, first)]
                .map(|(one, two)| (is_in(one, part) && is_in(two, other)).then(|| one.case.as_str()));
            one.into_iter().chain(two)
        });
        cases.collect::<BTreeSet<&str>>().len()
    }
}

/// What a report says of images that look alike; `None` if none are of different groups.
///
/// ```
/// use dermafuse_data::{AlikeImage, Modality, NearDuplicate, NearDuplicates, near_duplicate_note};
///
/// let image = |id: &str| AlikeImage { case: id.into(), modality: Modality::Clinical, path: id.into(), part: None };
/// let pair = NearDuplicate { first: image("a"), second: image("b"), distance: 2, same_group: false, labels: vec![] };
/// let note = near_duplicate_note(&NearDuplicates { images: 2, distance: 32, pairs: vec![pair] }).unwrap();
/// assert_eq!(note, "1 pair of images of different groups looks alike, such as those of `a` and `b`");
/// ```
#[must_use]
pub fn near_duplicate_note(found: &NearDuplicates) -> Option<String> {
    let NearDuplicate { first, second, .. } = found.of_other_groups().next()?;
    let look = match found.of_other_groups().count() {
        1 => "1 pair of images of different groups looks".to_owned(),
        pairs => format!("{pairs} pairs of images of different groups look"),
    };
    Some(format!("{look} alike, such as those of `{}` and `{}`", first.case, second.case))
}

/// An image of a set.
#[derive(Clone, Copy)]
struct SetImage<'a> {
    row: usize,
    modality: Modality,
    path: &'a Path,
}

fn images_of(set: &CaseSet) -> impl Iterator<Item = SetImage<'_>> {
    set.cases.iter().enumerate().flat_map(|(row, case)| {
        let of_kind = move |modality| {
            case.images(modality).iter().map(move |image| SetImage { row, modality, path: &image.path })
        };
        Modality::BOTH.into_iter().flat_map(of_kind)
    })
}

fn hashes(
    images: &[SetImage<'_>],
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Vec<ImageHash>, DataError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|_| DataError::Setting {
        what: "number of threads",
        found: threads.to_string(),
        expected: "one that the system can start",
    })?;
    let done = AtomicUsize::new(0);
    let hash = |image: &SetImage<'_>| {
        let hash = ImageHash::of(&decode(image.path, Strictness::Lenient)?)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, images.len());
        Ok(hash)
    };
    let hashes: Vec<Result<ImageHash, DataError>> = pool.install(|| images.par_iter().map(hash).collect());
    hashes.into_iter().collect()
}

/// The images that are held against each other.
struct Search<'a> {
    set: &'a CaseSet,
    parts: &'a CaseParts,
    images: &'a [SetImage<'a>],
}

/// The nearest image of a kind and how near it is; of equally near ones the first.
type Nearest = Option<(u32, usize)>;

impl Search<'_> {
    /// The pairs that are worth a look. What is found does not depend on the order in which pairs are told.
    fn pairs(&self, hashes: &[ImageHash], distance: u32) -> Result<Vec<NearDuplicate>, DataError> {
        // Images of one hash are one for the search.
        let mut order: Vec<usize> = (0..hashes.len()).collect();
        order.sort_by_key(|&image| (hashes[image], image));
        let alike: Vec<&[usize]> = order.chunk_by(|&one, &other| hashes[one] == hashes[other]).collect();
        let different: Vec<ImageHash> = alike.iter().map(|images| hashes[images[0]]).collect();
        let speakers: Vec<Vec<usize>> = alike.iter().map(|images| self.speakers(images)).collect();

        let kinds = 2 + self.parts.names.len();
        let mut nearest: Vec<Nearest> = vec![None; kinds * hashes.len()];
        let mut hold = |images: &[usize], speakers: &[usize], distance: u32| {
            for &one in images {
                for &other in speakers {
                    for kind in self.kinds(one, other) {
                        let best = &mut nearest[kinds * one + kind];
                        if best.is_none_or(|best| (distance, other) < best) {
                            *best = Some((distance, other));
                        }
                    }
                }
            }
        };
        for (images, speakers) in alike.iter().zip(&speakers) {
            hold(images, speakers, 0);
        }
        near_pairs(&different, distance, |one, other, differ| {
            hold(alike[one], &speakers[other], differ);
            hold(alike[other], &speakers[one], differ);
        })?;

        let named = nearest.iter().enumerate().filter_map(|(at, best)| Some((at / kinds, (*best)?)));
        let pairs: BTreeSet<(u32, usize, usize)> =
            named.map(|(one, (differ, other))| (differ, one.min(other), one.max(other))).collect();
        Ok(pairs.into_iter().map(|(differ, one, other)| self.pair(one, other, differ)).collect())
    }

    /// For what an image is worth naming beside another: of another group (0), under another label (1), of that other part (2 and on).
    fn kinds(&self, one: usize, other: usize) -> impl Iterator<Item = usize> + use<> {
        let [one, other] = [one, other].map(|image| self.images[image].row);
        let [ours, theirs] = [one, other].map(|row| &self.set.cases[row]);
        let of_group = ours.group != theirs.group;
        let of_label = ours.labels.iter().zip(&theirs.labels).any(|(one, other)| differ(*one, *other));
        let of_part = self.parts.part(other).filter(|part| self.parts.part(one).is_some_and(|own| own != *part));
        of_group.then_some(0).into_iter().chain(of_label.then_some(1)).chain(of_part.map(|part| 2 + part))
    }

    /// Of images with one hash, enough that every other image finds what it looks for among them: two groups, each part, each way to
    /// be labelled.
    fn speakers(&self, images: &[usize]) -> Vec<usize> {
        let (mut groups, mut parts, mut labels) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut speakers = Vec::new();
        for &image in images {
            let row = self.images[image].row;
            let case = &self.set.cases[row];
            let group = groups.len() < 2 && groups.insert(case.group.as_str());
            let part = parts.insert(self.parts.part(row));
            let label = labels.insert(&case.labels);
            if group || part || label {
                speakers.push(image);
            }
        }
        speakers
    }

    fn pair(&self, one: usize, other: usize, distance: u32) -> NearDuplicate {
        let [first, second] = [one, other].map(|image| {
            let SetImage { row, modality, path } = self.images[image];
            let part = self.parts.name(row).map(str::to_owned);
            AlikeImage { case: self.set.cases[row].id.clone(), modality, path: path.to_owned(), part }
        });
        let [ours, theirs] = [one, other].map(|image| &self.set.cases[self.images[image].row]);
        let labels = self.set.tasks.iter().enumerate().filter_map(|(index, task)| {
            let [one, other] = [ours, theirs].map(|case| case.labels.get(index).copied().flatten());
            let class = |label: Option<usize>| task.classes.get(label?).cloned();
            differ(one, other)
                .then(|| Some(LabelPair { task: task.name.clone(), first: class(one)?, second: class(other)? }))
                .flatten()
        });
        NearDuplicate { first, second, distance, same_group: ours.group == theirs.group, labels: labels.collect() }
    }
}

/// Whether both are known and not the same.
fn differ(one: Option<usize>, other: Option<usize>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}
