use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ReadError, WriteError, read_regular_file, write_whole_file};

const FORMAT: u32 = 1;
/// A record lists the names of trainings.
const MAX_RECORD: u64 = 16 << 20;

/// A share of some work: the `index`-th of `count`, from 1. As text it is `2/4`.
///
/// ```
/// use dermafuse_schema::Shard;
///
/// let shard: Shard = "2/3".parse()?;
/// assert_eq!(shard.of(&["a", "b", "c", "d", "e"]), [&"b", &"e"]);
/// assert_eq!("4/3".parse::<Shard>().unwrap_err().to_string(), "`4/3` is no share; say I/N with I from 1 to N");
/// # Ok::<(), dermafuse_schema::ShardError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: usize,
    count: usize,
}

/// Why shares are not those of one piece of work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShardError {
    /// Text that is no share.
    #[error("`{words}` is no share; say I/N with I from 1 to N")]
    Words {
        /// The text.
        words: String,
    },
    /// A folder in which no share has been finished.
    #[error("{} has no finished share; run its share again with --resume", folder.display())]
    Unfinished {
        /// The folder.
        folder: PathBuf,
    },
    /// Shares of different runs.
    #[error("{} and {} are shares of different work: {first_work}, and {second_work}", first.display(), second.display())]
    Differ {
        /// A folder.
        first: PathBuf,
        /// A folder with a share of other work.
        second: PathBuf,
        /// What the first is a share of.
        first_work: String,
        /// What the second is a share of.
        second_work: String,
    },
    /// Shares that nobody has done, or that were not given.
    #[error("no folder has share {}; do what is missing, or give its folder too", list(missing))]
    Missing {
        /// The shares.
        missing: Vec<Shard>,
    },
    /// No folder at all.
    #[error("there is no folder of a share")]
    Nothing,
    /// A folder that cannot be looked into.
    #[error("cannot look into {}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A record that says nothing.
    #[error("{} is damaged: {reason}; run its share again", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A record that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn list(shards: &[Shard]) -> String {
    shards.iter().map(Shard::to_string).collect::<Vec<_>>().join(", ")
}

impl Shard {
    /// All of the work.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// The `index`-th of `count` shares.
    ///
    /// # Errors
    /// An index that is not from 1 to `count`.
    pub fn new(index: usize, count: usize) -> Result<Self, ShardError> {
        match (1..=count).contains(&index) {
            true => Ok(Self { index, count }),
            false => Err(ShardError::Words { words: format!("{index}/{count}") }),
        }
    }

    /// Which share it is, from 1.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// How many shares there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// Every `count`-th of the pieces of work, so that shares are alike where neighbours are.
    #[must_use]
    pub fn of<T>(self, pieces: &[T]) -> Vec<&T> {
        pieces.iter().skip(self.index - 1).step_by(self.count).collect()
    }

    /// The file by which a folder says that this share is done.
    fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("share-{}-of-{}.json", self.index, self.count))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let (index, count) = parts.ok_or_else(|| ShardError::Words { words: text.to_owned() })?;
        Self::new(index, count)
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardError;

    fn try_from(text: String) -> Result<Self, ShardError> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// Says in a folder that a share is done, and of what, so that shares can be joined without holes.
///
/// ```
/// use dermafuse_schema::{Shard, ShardRecord};
///
/// let root = tempfile::tempdir()?;
/// let folders = ["one", "two"].map(|name| root.path().join(name));
/// for (folder, shard) in folders.iter().zip(["1/3", "2/3"]) {
///     std::fs::create_dir(folder)?;
///     ShardRecord::new(shard.parse()?, "six trainings").write(folder)?;
/// }
/// let error = ShardRecord::check_complete(&folders).unwrap_err().to_string();
/// assert_eq!(error, "no folder has share 3/3; do what is missing, or give its folder too");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    format: u32,
    /// The share that is done.
    pub shard: Shard,
    /// What it is a share of; the same text for each share.
    pub work: String,
}

impl ShardRecord {
    /// The record of a share of that work.
    #[must_use]
    pub fn new(shard: Shard, work: impl Into<String>) -> Self {
        Self { format: FORMAT, shard, work: work.into() }
    }

    /// Writes the record into the folder of the share. It is the last file of a share that is written.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ShardError> {
        let text = serde_json::to_string_pretty(self).expect("a record has string keys only") + "\n";
        Ok(write_whole_file(&self.shard.file(folder), text.as_bytes())?)
    }

    /// Takes back what the folder says of a share, before it is done again.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove(shard: Shard, folder: &Path) -> Result<(), ShardError> {
        match fs::remove_file(shard.file(folder)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ShardError::Io { folder: folder.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    /// The shares that are done in a folder, in their order.
    ///
    /// # Errors
    /// A folder without one; records that cannot be read.
    pub fn read(folder: &Path) -> Result<Vec<Self>, ShardError> {
        let io = |source| ShardError::Io { folder: folder.to_owned(), source };
        let mut records = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !(name.starts_with("share-") && name.ends_with(".json")) {
                continue;
            }
            let damaged = |reason: String| ShardError::Record { path: path.clone(), reason };
            let record: Self = serde_json::from_slice(&read_regular_file(&path, MAX_RECORD)?)
                .map_err(|error| damaged(error.to_string()))?;
            if record.format != FORMAT {
                return Err(damaged(format!("format {} is not known, only {FORMAT}", record.format)));
            }
            if record.shard.file(folder) != path {
                return Err(damaged(format!("it says that it is share {}", record.shard)));
            }
            records.push(record);
        }
        records.sort_by_key(|record| record.shard);
        match records.is_empty() {
            true => Err(ShardError::Unfinished { folder: folder.to_owned() }),
            false => Ok(records),
        }
    }

    /// Whether the shares in these folders are all of one piece of work. Gives each share once, with its folder, in order.
    ///
    /// # Errors
    /// A folder without a finished share; shares of different work, or of another number of shares; shares that are missing.
    pub fn check_complete(folders: &[PathBuf]) -> Result<Vec<(Shard, &Path)>, ShardError> {
        let mut found: Vec<(Self, &Path)> = Vec::new();
        for folder in folders {
            found.extend(Self::read(folder)?.into_iter().map(|record| (record, folder.as_path())));
        }
        let (first, place) = found.first().ok_or(ShardError::Nothing)?;
        let said = |record: &Self| format!("{} shares of {}", record.shard.count, shortened(&record.work));
        let other =
            found.iter().find(|(record, _)| (record.shard.count, &record.work) != (first.shard.count, &first.work));
        if let Some((second, other)) = other {
            return Err(ShardError::Differ {
                first: place.to_path_buf(),
                second: other.to_path_buf(),
                first_work: said(first),
                second_work: said(second),
            });
        }
        let count = first.shard.count;
        found.sort_by_key(|(record, _)| record.shard);
        found.dedup_by_key(|(record, _)| record.shard);
        let done: Vec<(Shard, &Path)> = found.into_iter().map(|(record, folder)| (record.shard, folder)).collect();
        let missing: Vec<Shard> = (1..=count)
            .map(|index| Shard { index, count })
            .filter(|shard| done.binary_search_by_key(shard, |(shard, _)| *shard).is_err())
            .collect();
        match missing.is_empty() {
            true => Ok(done),
            false => Err(ShardError::Missing { missing }),
        }
    }
}

/// The first line, where there are several.
fn shortened(work: &str) -> String {
    match work.split_once('\n') {
        Some((first, rest)) => format!("`{first}` and {} more", rest.lines().count()),
        None => format!("`{work}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folders(root: &Path, shares: &[(&str, &str)]) -> Vec<PathBuf> {
        let folder_of = |(index, (shard, work)): (usize, &(&str, &str))| {
            let folder = root.join(index.to_string());
            fs::create_dir(&folder).unwrap();
            ShardRecord::new(shard.parse().unwrap(), *work).write(&folder).unwrap();
            folder
        };
        shares.iter().enumerate().map(folder_of).collect()
    }

    #[test]
    fn shares_are_complete_in_any_order_and_a_share_may_be_there_twice() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path(), &[("3/3", "w"), ("1/3", "w"), ("2/3", "w"), ("1/3", "w")]);
        let shares = ShardRecord::check_complete(&folders).unwrap();
        let places: Vec<String> = shares.iter().map(|(shard, _)| shard.to_string()).collect();
        assert_eq!(places, ["1/3", "2/3", "3/3"]);
        assert_eq!((shares[0].1, shares[2].1), (folders[1].as_path(), folders[0].as_path()));
    }

    #[test]
    fn what_does_not_belong_together_or_is_not_done_is_refused() {
        let error = |shares: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            ShardRecord::check_complete(&folders(root.path(), shares)).unwrap_err().to_string()
        };
        assert!(error(&[("1/2", "a\nb"), ("2/2", "a")]).ends_with("2 shares of `a` and 1 more, and 2 shares of `a`"));
        assert!(error(&[("1/2", "a"), ("2/3", "a")]).contains("2 shares of `a`, and 3 shares of `a`"));
        assert!(error(&[("4/4", "a"), ("2/4", "a")]).starts_with("no folder has share 1/4, 3/4;"));
        assert_eq!(error(&[]), "there is no folder of a share");

        let root = tempfile::tempdir().unwrap();
        let unfinished = ShardRecord::check_complete(&[root.path().to_owned()]).unwrap_err().to_string();
        assert!(unfinished.ends_with("has no finished share; run its share again with --resume"), "{unfinished}");
    }

    #[test]
    fn damaged_records_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let [folder] = &folders(root.path(), &[("1/2", "w")])[..] else { panic!("there is one") };
        fs::copy(folder.join("share-1-of-2.json"), folder.join("share-2-of-2.json")).unwrap();
        let copied = ShardRecord::read(folder).unwrap_err().to_string();
        assert!(copied.contains("share-2-of-2.json is damaged: it says that it is share 1/2"), "{copied}");
        fs::write(folder.join("share-2-of-2.json"), r#"{"format": 1, "shard": "3/2", "work": "w"}"#).unwrap();
        let impossible = ShardRecord::read(folder).unwrap_err().to_string();
        assert!(impossible.contains("`3/2` is no share"), "{impossible}");
        ShardRecord::remove("2/2".parse().unwrap(), folder).unwrap();
        ShardRecord::remove("2/2".parse().unwrap(), folder).unwrap();
        assert_eq!(ShardRecord::read(folder).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn shares_are_the_whole(length in 0_usize..200, count in 1_usize..20) {
            let pieces: Vec<usize> = (0..length).collect();
            let shards = || (1..=count).map(|index| Shard::new(index, count).unwrap());
            let mut dealt: Vec<usize> = shards().flat_map(|shard| shard.of(&pieces)).copied().collect();
            dealt.sort_unstable();
            prop_assert_eq!(dealt, pieces);
        }
    }
}
