use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use dermafuse::schema::{RunFolder, read_regular_file, write_whole_file};

/// The largest description of what was drawn.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// Draws synthetic data into a sub-folder of a run, once: a run that is resumed finds what it was begun with, and is
/// refused if it asks for something else.
///
/// # Errors
/// Data that were drawn with other settings; what `draw` says.
pub fn draw_once<E: Error + 'static>(
    folder: &RunFolder,
    name: &str,
    settings: &impl Debug,
    draw: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, Box<dyn Error>> {
    let data = folder.path().join(name);
    let description = folder.path().join(format!("{name}.drawn.txt"));
    let now = format!("{settings:?}\n");
    if description.is_file() {
        let drawn = read_regular_file(&description, MAX_DESCRIPTION)?;
        return match drawn == now.as_bytes() {
            true => Ok(data),
            false => {
                let drawn = String::from_utf8_lossy(&drawn);
                Err(format!(
                    "{} was drawn with other settings; give the same, or another folder: {drawn}",
                    data.display()
                )
                .into())
            }
        };
    }
    fs::create_dir_all(&data)?;
    draw(&data)?;
    write_whole_file(&description, now.as_bytes())?;
    Ok(data)
}
