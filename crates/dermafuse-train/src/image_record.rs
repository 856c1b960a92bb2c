use std::collections::BTreeMap;
use std::path::Path;

use dermafuse_data::{CaseView, MAX_BYTES, Preprocess};
use dermafuse_infer::kinds_of;
use dermafuse_networks::Modalities;
use dermafuse_schema::{LesionArea, LesionBox, Modality, ReadError, read_regular_file, write_whole_file};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::file_contents::FileContents;
use crate::{Difference, RunFacts, TrainError};

/// The name of a record in the folder of a run.
const FILE: &str = "images.json";
/// A million images take 200 MB.
const MAX_RECORD: u64 = 1 << 30;

/// What is in the image files of a run, file by file, and where the lesion is in them, as far as images are cut to it.
///
/// It is the contents that count: a copy elsewhere is the same image. A file whose path, size and times (of the last write
/// and, on Unix, of the last change of any kind, which no program can set) are those of the record is taken to be what it was;
/// every other one is read and its SHA-256 compared. A file that was written within two seconds of being read is read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// By case and view, where there is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lesion_boxes: BTreeMap<String, LesionBox>,
    /// By case and view; masks are called so behind that.
    #[serde(flatten)]
    images: BTreeMap<String, FileContents>,
}

impl ImageRecord {
    /// The name of the fact that stands for the contents of all images.
    pub(crate) const IMAGES: &'static str = "images";
    /// The name of the fact that stands for all boxes.
    pub(crate) const LESION_BOXES: &'static str = "lesion_boxes";

    /// Looks at the images of cases, as far as a network looks at them, and at what they are cut to by `preprocess`. What `known` says of a
    /// file that has not changed is believed.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn take<'a>(
        parts: impl IntoIterator<Item = &'a CaseView<'a>>,
        views: Modalities,
        preprocess: &Preprocess,
        known: &Self,
    ) -> Result<Self, TrainError> {
        let mut files: BTreeMap<String, &Path> = BTreeMap::new();
        let mut lesion_boxes = BTreeMap::new();
        for case in parts.into_iter().flat_map(CaseView::cases) {
            for kind in kinds_of(views) {
                let view = match kind {
                    Modality::Clinical => "clinical",
                    Modality::Dermoscopic => "dermoscopic",
                };
                for (at, image) in case.images(kind).iter().enumerate() {
                    let number = if at == 0 { String::new() } else { format!(" {}", at + 1) };
                    let name = format!("case {}, {view}{number}", case.id);
                    match image.area().filter(|_| preprocess.box_margin.is_some()) {
                        None => {}
                        Some(LesionArea::Box(lesion)) => drop(lesion_boxes.insert(name.clone(), *lesion)),
                        Some(LesionArea::Mask(mask)) => drop(files.insert(format!("{name}, mask"), mask)),
                    }
                    files.insert(name, &image.path);
                }
            }
        }
        let files: Vec<(String, &Path)> = files.into_iter().collect();
        let contents = files.par_iter().map(|(name, file)| FileContents::of(file, MAX_BYTES, known.images.get(name)));
        let contents = contents.collect::<Result<Vec<FileContents>, ReadError>>()?;
        Ok(Self { lesion_boxes, images: files.into_iter().map(|(name, _)| name).zip(contents).collect() })
    }

    /// The record in a folder; an empty one if there is none that can be read: then all files are.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let bytes = read_regular_file(&folder.join(FILE), MAX_RECORD);
        bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Writes the record into a folder, unless it is there.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        if Self::read(folder) == *self {
            return Ok(());
        }
        let bytes = serde_json::to_vec(self).expect("a record has string keys only");
        Ok(write_whole_file(&folder.join(FILE), &bytes)?)
    }

    /// The images of this record, and those of another that it lacks.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (name, lesion) in other.lesion_boxes.iter().filter(|(name, _)| !self.images.contains_key(*name)) {
            self.lesion_boxes.insert(name.clone(), *lesion);
        }
        for (name, contents) in &other.images {
            self.images.entry(name.clone()).or_insert_with(|| contents.clone());
        }
        self
    }

    /// Adds their contents to the facts of a run, all in one, and their boxes, if there are any.
    pub fn add_to(&self, facts: &mut RunFacts) {
        let contents: Vec<_> = self.images.iter().map(|(name, contents)| (name, &contents.sha256)).collect();
        facts.set_digest(Self::IMAGES, &contents);
        // Where there are none, they are no fact.
        if !self.lesion_boxes.is_empty() {
            facts.set_digest(Self::LESION_BOXES, &self.lesion_boxes);
        }
    }

    /// The images, and masks, that an earlier record has with other contents.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<Difference> {
        let common = self.images.iter().filter_map(|(name, now)| Some((name, earlier.images.get(name)?, now)));
        let text = |contents: &FileContents| Some(format!("SHA-256 {}", contents.sha256));
        let changed = common.filter(|(_, earlier, now)| earlier.sha256 != now.sha256);
        let difference = |(name, earlier, now): (&String, _, _)| Difference {
            name: format!("image of {name}"),
            earlier: text(earlier),
            now: text(now),
        };
        changed.map(difference).collect()
    }

    /// The boxes of lesions that are others in an earlier record, of images that both have.
    #[must_use]
    pub fn box_differences(&self, earlier: &Self) -> Vec<Difference> {
        let in_both = self.images.keys().filter(|name| earlier.images.contains_key(*name));
        let lesions = in_both.map(|name| (name, earlier.lesion_boxes.get(name), self.lesion_boxes.get(name)));
        let changed = lesions.filter(|(_, earlier, now)| earlier != now);
        let text = |lesion: Option<&LesionBox>| lesion.map(ToString::to_string);
        changed
            .map(|(name, earlier, now)| Difference {
                name: format!("lesion box of {name}"),
                earlier: text(earlier),
                now: text(now),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_data::CaseSet;
    use std::fs;

    use dermafuse_schema::{Case, Task, TaskSet};

    const BOTH: Modalities = Modalities { clinical: true, dermoscopic: true, metadata: false };

    fn whole() -> Preprocess {
        Preprocess::imagenet(8)
    }

    #[test]
    fn a_box_that_was_moved_is_another_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b", "mask", "other"] {
            fs::write(path(name), name).unwrap();
        }
        let cutting = Preprocess { box_margin: Some(0.1), ..whole() };
        let take = |area: Option<LesionArea>, preprocess: &Preprocess| {
            let mut set = set(&path("a"), &path("b"));
            set.cases[0].clinical[0].lesion = area.map(|area| Box::new(area.into()));
            let record = ImageRecord::take([&set.whole()], BOTH, preprocess, &ImageRecord::default()).unwrap();
            let mut facts = RunFacts::default();
            record.add_to(&mut facts);
            let folder = tempfile::tempdir().unwrap();
            record.write(folder.path()).unwrap();
            assert_eq!(ImageRecord::read(folder.path()), record, "what is written is read");
            (record, facts)
        };
        let boxed = |width| Some(LesionArea::Box(LesionBox::new(1, 2, width, 4).unwrap()));
        let mask = |name: &str| Some(LesionArea::Mask(path(name)));
        let all = [None, boxed(3), boxed(5), mask("mask"), mask("other")];
        for (at, one) in all.iter().enumerate() {
            for (other, second) in all.iter().enumerate() {
                let (one, second) = (one.clone(), second.clone());
                assert_eq!(take(one.clone(), &cutting).1 == take(second.clone(), &cutting).1, at == other);
                // What takes images whole does not look at them.
                assert_eq!(take(one, &whole()), take(second, &whole()));
            }
        }
        // As in versions that knew no boxes.
        assert_eq!(take(None, &cutting), take(None, &whole()));
        let text = |one: Option<LesionArea>, other: Option<LesionArea>| {
            let (now, earlier) = (take(other, &cutting).0, take(one, &cutting).0);
            let differences = [now.differences(&earlier), now.box_differences(&earlier)].concat();
            differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let moved = text(boxed(3), boxed(5));
        assert!(moved.starts_with("`lesion box of case 7, clinical` was 1,2,3,4"), "{moved}");
        assert!(moved.contains("1,2,5,4"), "{moved}");
        assert!(text(None, boxed(5)).contains("lesion box of case 7, clinical"));
        assert!(text(boxed(5), None).contains("lesion box of case 7, clinical"));
        let redrawn = text(mask("mask"), mask("other"));
        assert!(redrawn.starts_with("`image of case 7, clinical, mask` was SHA-256 "), "{redrawn}");
    }

    fn set(clinical: &Path, dermoscopic: &Path) -> CaseSet {
        let images = |path: &Path| vec![path.into()];
        let case =
            Case { labels: vec![None], clinical: images(clinical), dermoscopic: images(dermoscopic), ..Case::new("7") };
        CaseSet {
            name: "two".into(),
            synthetic: true,
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            fields: vec![],
            cases: vec![case],
            split: None,
            notes: vec![],
        }
    }

    #[test]
    fn contents_count_and_neither_path_nor_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), b"clinical").unwrap();
        fs::write(path("b"), b"dermoscopic").unwrap();
        let take = |a: &str, b: &str, known: &ImageRecord| {
            ImageRecord::take([&set(&path(a), &path(b)).whole()], BOTH, &whole(), known).unwrap()
        };
        let first = take("a", "b", &ImageRecord::default());
        first.write(folder.path()).unwrap();
        assert_eq!(ImageRecord::read(folder.path()), first);
        fs::copy(path("a"), path("moved")).unwrap();
        let moved = take("moved", "b", &first);
        assert_eq!(moved.differences(&first), []);
        let digest = |record: &ImageRecord| {
            let mut facts = RunFacts::default();
            record.add_to(&mut facts);
            facts
        };
        assert_eq!(digest(&moved), digest(&first));

        // The same size, within the same second.
        fs::write(path("a"), b"CLINICAL").unwrap();
        let changed = take("a", "b", &first);
        assert_ne!(digest(&changed), digest(&first));
        let differences = changed.differences(&first);
        assert_eq!(differences.len(), 1);
        assert!(
            differences[0].to_string().starts_with("`image of case 7, clinical` was SHA-256 "),
            "{}",
            differences[0]
        );
        // What the network does not look at is not read.
        fs::remove_file(path("b")).unwrap();
        let views = Modalities::CLINICAL;
        ImageRecord::take([&set(&path("a"), &path("b")).whole()], views, &whole(), &first).unwrap();
        let error =
            ImageRecord::take([&set(&path("a"), &path("b")).whole()], BOTH, &whole(), &first).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("/b: No such file"), "{error}");
    }
}
