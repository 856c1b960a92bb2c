use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use dermafuse_schema::{Case, Name};

use crate::DataError;

/// Puts cases that share an image file of identical content into one group, so that no split can part them, and
/// returns a note for each shared image.
///
/// Only files that have the same size as another are read. A group takes the name of its first case's group.
///
/// # Errors
/// An image that cannot be read.
pub fn group_by_content(cases: &mut [Case]) -> Result<Vec<String>, DataError> {
    let images = |case: &Case| [case.clinical.clone(), case.dermoscopic.clone()].into_iter().flatten();
    let io_error = |path: &Path, source| DataError::Io { path: path.into(), source };

    let mut by_size: HashMap<u64, Vec<(usize, PathBuf)>> = HashMap::new();
    for (row, case) in cases.iter().enumerate() {
        for path in images(case) {
            let size = std::fs::metadata(&path).map_err(|source| io_error(&path, source))?.len();
            by_size.entry(size).or_default().push((row, path));
        }
    }
    let mut by_content: BTreeMap<(u64, u64), Vec<(usize, PathBuf)>> = BTreeMap::new();
    for (size, files) in by_size {
        if files.iter().all(|(row, _)| *row == files[0].0) {
            continue;
        }
        for (row, path) in files {
            let mut hasher = DefaultHasher::new();
            hasher.write(&std::fs::read(&path).map_err(|source| io_error(&path, source))?);
            by_content.entry((size, hasher.finish())).or_default().push((row, path));
        }
    }

    // Union of groups: each points to an earlier one, or to itself.
    let mut number: HashMap<Name, usize> = HashMap::new();
    let mut names: Vec<Name> = Vec::new();
    let group: Vec<usize> = cases
        .iter()
        .map(|case| {
            *number.entry(case.group.clone()).or_insert_with(|| {
                names.push(case.group.clone());
                names.len() - 1
            })
        })
        .collect();
    let mut parent: Vec<usize> = (0..names.len()).collect();
    let root = |parent: &[usize], mut group: usize| {
        while parent[group] != group {
            group = parent[group];
        }
        group
    };
    let mut shared = Vec::new();
    for files in by_content.values_mut() {
        files.sort();
        let (first, rest) = files.split_first().expect("every content has a file");
        for other in rest.iter().filter(|other| other.0 != first.0) {
            let (ours, theirs) = (root(&parent, group[first.0]), root(&parent, group[other.0]));
            parent[ours.max(theirs)] = ours.min(theirs);
            shared.push((first.clone(), other.1.clone()));
        }
    }
    for (case, group) in cases.iter_mut().zip(group) {
        case.group.clone_from(&names[root(&parent, group)]);
    }
    shared.sort();
    let name = |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let note = |((_, one), other): &((usize, PathBuf), PathBuf)| {
        format!("{} and {} are the same image; their cases form one group", name(one), name(other))
    };
    Ok(shared.iter().map(note).collect())
}
