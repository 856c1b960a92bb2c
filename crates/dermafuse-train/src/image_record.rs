use std::collections::BTreeMap;
use std::path::Path;

use dermafuse_data::{CaseView, MAX_BYTES};
use dermafuse_infer::kinds_of;
use dermafuse_networks::Modalities;
use dermafuse_schema::{Modality, ReadError, read_regular_file, write_whole_file};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::file_contents::FileContents;
use crate::{Difference, RunFacts, TrainError};

/// The name of a record in the folder of a run.
const FILE: &str = "images.json";
/// A million images take 200 MB.
const MAX_RECORD: u64 = 1 << 30;

/// What is in the image files of a run, file by file.
///
/// It is the contents that count: a copy elsewhere is the same image. A file whose path, size and times (of the last write
/// and, on Unix, of the last change of any kind, which no program can set) are those of the record is taken to be what it was;
/// every other one is read and its SHA-256 compared. A file that was written within two seconds of being read is read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageRecord {
    /// By case and view.
    images: BTreeMap<String, FileContents>,
}

impl ImageRecord {
    /// Looks at the images of cases, as far as a network looks at them. What `known` says of a file that has
    /// not changed is believed.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn take<'a>(
        parts: impl IntoIterator<Item = &'a CaseView<'a>>,
        views: Modalities,
        known: &Self,
    ) -> Result<Self, TrainError> {
        let mut files: BTreeMap<String, &Path> = BTreeMap::new();
        for case in parts.into_iter().flat_map(CaseView::cases) {
            for kind in kinds_of(views) {
                let view = match kind {
                    Modality::Clinical => "clinical",
                    Modality::Dermoscopic => "dermoscopic",
                };
                for (at, file) in case.images(kind).iter().enumerate() {
                    let number = if at == 0 { String::new() } else { format!(" {}", at + 1) };
                    files.insert(format!("case {}, {view}{number}", case.id), file);
                }
            }
        }
        let files: Vec<(String, &Path)> = files.into_iter().collect();
        let contents = files.par_iter().map(|(name, file)| FileContents::of(file, MAX_BYTES, known.images.get(name)));
        let contents = contents.collect::<Result<Vec<FileContents>, ReadError>>()?;
        Ok(Self { images: files.into_iter().map(|(name, _)| name).zip(contents).collect() })
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
        for (name, contents) in &other.images {
            self.images.entry(name.clone()).or_insert_with(|| contents.clone());
        }
        self
    }

    /// Adds their contents to the facts of a run, all in one.
    pub fn add_to(&self, facts: &mut RunFacts) {
        let contents: Vec<_> = self.images.iter().map(|(name, contents)| (name, &contents.sha256)).collect();
        facts.set_digest("images", &contents);
    }

    /// The images that an earlier record has with other contents.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<Difference> {
        let common = self.images.iter().filter_map(|(name, now)| Some((name, earlier.images.get(name)?, now)));
        let text = |contents: &FileContents| Some(format!("SHA-256 {}", contents.sha256));
        let changed = common.filter(|(_, earlier, now)| earlier.sha256 != now.sha256);
        changed
            .map(|(name, earlier, now)| Difference {
                name: format!("image of {name}"),
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

    fn set(clinical: &Path, dermoscopic: &Path) -> CaseSet {
        let images = |path: &Path| vec![path.to_owned()];
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
            ImageRecord::take([&set(&path(a), &path(b)).whole()], BOTH, known).unwrap()
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
        ImageRecord::take([&set(&path("a"), &path("b")).whole()], views, &first).unwrap();
        let error = ImageRecord::take([&set(&path("a"), &path("b")).whole()], BOTH, &first).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("/b: No such file"), "{error}");
    }
}
