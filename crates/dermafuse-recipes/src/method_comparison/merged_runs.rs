use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_schema::{ShardRecord, read_regular_file, write_whole_file};

use super::METHODS;
use crate::RecipeError;

/// The largest file of a run that is copied.
const MAX_BYTES: u64 = 8 << 30;

/// Joins the folders of shards: copies every method's files into one folder, in which a comparison then finds all trainings done.
/// Gives the number of files.
///
/// # Errors
/// A share that is not finished or that no folder has, shares of different comparisons; a folder that is no shard of a comparison; a file that two shards have with different contents; files that cannot be read or
/// written. Nothing is written before all is checked.
pub fn merge_runs(shards: &[PathBuf], folder: &Path) -> Result<usize, RecipeError> {
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    ShardRecord::check_complete(shards)?;
    for shard in shards {
        let methods = shard.join(METHODS);
        if !methods.is_dir() {
            let reason = format!("{} is no folder of a comparison: it has no `{METHODS}`", shard.display());
            return Err(RecipeError::Comparison { reason });
        }
        for file in files_below(&methods)? {
            let name = file.strip_prefix(shard).expect("it lies below").to_owned();
            match files.iter().find(|(known, _)| *known == name) {
                None => files.push((name, file)),
                // What these say of places and machines may differ; the comparison that goes on checks the rest.
                Some(_) if name.ends_with("experiment.toml") || name.ends_with("images.json") => {}
                Some((_, first)) => {
                    if read_regular_file(first, MAX_BYTES)? != read_regular_file(&file, MAX_BYTES)? {
                        let (first, second) = (first.display(), file.display());
                        let reason = format!(
                            "{first} and {second} differ; two shards did the same training with other settings or data"
                        );
                        return Err(RecipeError::Comparison { reason });
                    }
                }
            }
        }
    }
    for (name, file) in &files {
        let parent = folder.join(name.parent().unwrap_or(Path::new("")));
        fs::create_dir_all(&parent).map_err(|source| RecipeError::Io { path: parent, source })?;
        write_whole_file(&folder.join(name), &read_regular_file(file, MAX_BYTES)?)?;
    }
    Ok(files.len())
}

/// All files below a folder, but for checkpoints, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, RecipeError> {
    let io = |source| RecipeError::Io { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        match path.is_dir() {
            // A process that was killed at its very end left them beside the result.
            true if path.ends_with("checkpoints") && folder.join("result.json").is_file() => {}
            true if path.ends_with("checkpoints") => {
                let reason = format!("{} is not finished; run its shard again with --resume", path.display());
                return Err(RecipeError::Comparison { reason });
            }
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}
