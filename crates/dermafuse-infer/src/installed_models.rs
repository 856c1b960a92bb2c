//! Models under names: a folder of model files that were checked when they came.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse_schema::{read_regular_file, write_new_file};

use crate::bundle::{from_json, sha256_hex};
use crate::earlier_names::with_kinds;
use crate::{Bundle, BundleDescription, InferError, MAX_MODEL_BYTES, MODEL_FILE, ModelFile, folder_bundle};

/// How the file of an installed model ends.
const ENDING: &str = "safetensors";
/// The longest name, in bytes: a name of a file has 255 at most.
const MAX_NAME: usize = 100;

/// A folder of installed models: one file for each, called by its name.
///
/// A file comes in by [`add`](Self::add), which reads it as [`Bundle::load`] does, so what is here was whole and fitted together.
/// Programs give words to [`find`](Self::find) and so take a name wherever they take a path. Nothing is fetched from anywhere.
///
/// ```
/// use dermafuse_infer::InstalledModels;
///
/// let folder = tempfile::tempdir()?;
/// let models = InstalledModels::at(folder.path().join("models"));
/// assert!(models.list()?.is_empty());
/// let error = models.find("skin".as_ref()).unwrap_err().to_string();
/// assert!(error.starts_with("there is no model `skin`"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledModels {
    folder: PathBuf,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledModel {
    /// The name that verbs take the model by.
    pub name: String,
    /// The file of the model.
    pub path: PathBuf,
    /// The size of its file, in bytes.
    pub bytes: u64,
}

impl InstalledModels {
    /// Those in a folder, which need not exist.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Those of a user, by the variables of the environment: in `DERMAFUSE_MODELS`, else in `dermafuse/models` under
    /// `XDG_DATA_HOME`, else under `~/.local/share`, on Windows under `LOCALAPPDATA`. A variable that is empty is not set, and
    /// an `XDG_DATA_HOME` that is no whole path does not count (XDG Base Directory Specification).
    ///
    /// # Errors
    /// None of them is set.
    ///
    /// ```
    /// use dermafuse_infer::InstalledModels;
    ///
    /// let models = InstalledModels::of_user(|name| (name == "DERMAFUSE_MODELS").then(|| "/srv/models".into()))?;
    /// assert_eq!(models.folder(), std::path::Path::new("/srv/models"));
    /// # Ok::<(), dermafuse_infer::InferError>(())
    /// ```
    pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InferError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let under = |data: PathBuf| data.join("dermafuse").join("models");
        set("DERMAFUSE_MODELS")
            .or_else(|| set("XDG_DATA_HOME").filter(|path| path.is_absolute()).map(under))
            .or_else(|| set("LOCALAPPDATA").filter(|_| cfg!(windows)).map(under))
            .or_else(|| set("HOME").map(|home| under(home.join(".local").join("share"))))
            .map(Self::at)
            .ok_or(InferError::NoModelFolder)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Installs a model file, or that in the folder of a run: checks it as [`Bundle::load`] does, and its SHA-256 where one is given, and
    /// writes the bytes that were checked, whole or not at all. Without a name it is called as its file is, and a
    /// `model.safetensors` as its folder. Gives the model too.
    ///
    /// # Errors
    /// A file that is no model, damaged, or another than the one of the checksum; a name that cannot be one, or that an installed
    /// model has, which is never replaced; a folder that cannot be written.
    pub fn add(
        &self,
        file: &Path,
        name: Option<&str>,
        sha256: Option<&str>,
        device: &Device,
    ) -> Result<(InstalledModel, Bundle), InferError> {
        let expected = sha256.map(digits).transpose()?;
        let file = if file.is_dir() { file.join(MODEL_FILE) } else { file.to_owned() };
        let name = match name {
            Some(name) => name.to_owned(),
            None => own_name(&file),
        };
        check_name(&name)?;
        let path = self.file_of(&name);
        let taken = || InferError::ModelInstalled { name: name.clone(), path: path.clone() };
        if path.symlink_metadata().is_ok() {
            return Err(taken());
        }
        let bytes = read_regular_file(&file, MAX_MODEL_BYTES)?;
        if let Some(expected) = expected {
            let found = sha256_hex(&bytes);
            if found != expected {
                return Err(InferError::OtherFile { path: file, expected, found });
            }
        }
        let bundle = Bundle::read(&file, &bytes, device)?;
        fs::create_dir_all(&self.folder).map_err(|source| self.error(source))?;
        write_new_file(&path, &bytes).map_err(|error| match error.source.kind() {
            io::ErrorKind::AlreadyExists => taken(),
            _ => error.into(),
        })?;
        Ok((InstalledModel { bytes: bytes.len() as u64, name: name.clone(), path: path.clone() }, bundle))
    }

    /// What is installed, in the order of names. Files of other names are not listed.
    ///
    /// # Errors
    /// A folder that cannot be read; one that does not exist is empty.
    pub fn list(&self) -> Result<Vec<InstalledModel>, InferError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.error(source)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| self.error(source))?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let is_one = path.extension().is_some_and(|ending| ending == ENDING) && check_name(&name).is_ok();
            // Links lead to files elsewhere, which a user may have put here.
            if let Ok(facts) = fs::metadata(&path)
                && is_one
                && facts.is_file()
            {
                models.push(InstalledModel { name, bytes: facts.len(), path });
            }
        }
        models.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(models)
    }

    /// The path of a model that a word names: an installed model of that name, or what is at that path.
    ///
    /// # Errors
    /// A word that could be either; a name that there is neither installed nor as a path.
    pub fn find(&self, word: &Path) -> Result<PathBuf, InferError> {
        let Some(name) = word.to_str().filter(|name| check_name(name).is_ok()) else { return Ok(word.to_owned()) };
        let installed = self.file_of(name);
        let is_model_here = word.is_file() || word.join(MODEL_FILE).is_file() || folder_bundle::is_one(word);
        match (installed.is_file(), is_model_here) {
            (true, true) => Err(InferError::TwoModels { name: name.to_owned(), path: installed }),
            (true, false) => Ok(installed),
            // Whoever reads it says what is wrong with it.
            (false, _) if word.exists() => Ok(word.to_owned()),
            (false, _) => Err(self.not_installed(name)?),
        }
    }

    /// Removes an installed model. Gives the path of the file that was removed.
    ///
    /// # Errors
    /// A name that no installed model has; a file that cannot be removed.
    pub fn remove(&self, name: &str) -> Result<PathBuf, InferError> {
        let path = self.file_of(name);
        if check_name(name).is_err() || path.symlink_metadata().is_err() {
            return Err(self.not_installed(name)?);
        }
        match fs::remove_file(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(InferError::ModelFolder { path, source }),
        }
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ENDING}"))
    }

    fn error(&self, source: io::Error) -> InferError {
        InferError::ModelFolder { path: self.folder.clone(), source }
    }

    fn not_installed(&self, name: &str) -> Result<InferError, InferError> {
        let installed = self.list()?.into_iter().map(|model| model.name).collect();
        Ok(InferError::NotInstalled { name: name.to_owned(), folder: self.folder.clone(), installed })
    }
}

impl InstalledModel {
    /// What the model says of itself. Its file is read and its checksum compared; its network is not made.
    ///
    /// # Errors
    /// A file that is gone or damaged since, or of another version.
    pub fn description(&self) -> Result<BundleDescription, InferError> {
        let bytes = read_regular_file(&self.path, MAX_MODEL_BYTES)?;
        let file =
            ModelFile::from_bytes(&bytes).map_err(|source| InferError::Model { path: self.path.clone(), source })?;
        let description = with_kinds(from_json(&self.path, file.description.as_bytes())?);
        serde_json::from_value(description)
            .map_err(|source| InferError::Description { path: self.path.clone(), source })
    }
}

/// What a model file is called by itself: `model.safetensors` in `runs/skin` is `skin`, since every run writes a file of that name.
fn own_name(file: &Path) -> String {
    let text =
        |part: Option<&std::ffi::OsStr>| part.map_or_else(String::new, |part| part.to_string_lossy().into_owned());
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = whole.parent().and_then(Path::file_name).filter(|_| whole.file_name() == Some(MODEL_FILE.as_ref()));
    folder.map_or_else(|| text(whole.file_stem()), |folder| text(Some(folder)))
}

/// A name stands on a command line and is that of a file, on every system.
fn check_name(name: &str) -> Result<(), InferError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
    let reason = match name {
        "" => "a name has a letter at least",
        _ if name.len() > MAX_NAME => "it is longer than 100 letters",
        _ if name.starts_with(['.', '-']) => "it begins as hidden files or options do",
        _ if !name.chars().all(is_plain) => "letters without accents, digits, and `-`, `_`, `.`, `+` make a name",
        _ if name.ends_with(".safetensors") || name.ends_with('.') => "it ends as a file does",
        _ => return Ok(()),
    };
    Err(InferError::ModelName { name: name.to_owned(), reason })
}

/// The 64 digits of a SHA-256, in small letters.
fn digits(text: &str) -> Result<String, InferError> {
    let small = text.trim().to_ascii_lowercase();
    match small.len() == 64 && small.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        true => Ok(small),
        false => Err(InferError::NoSha256 { found: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_users_unless_it_is_said() {
        let folder = |set: &[(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
            InstalledModels::of_user(variable).map(|models| models.folder().to_string_lossy().replace('\\', "/"))
        };
        let home = ("HOME", "/home/a");
        assert_eq!(folder(&[home]).unwrap(), "/home/a/.local/share/dermafuse/models");
        assert_eq!(folder(&[("XDG_DATA_HOME", "data"), home]).unwrap(), "/home/a/.local/share/dermafuse/models");
        assert_eq!(folder(&[("XDG_DATA_HOME", ""), home]).unwrap(), "/home/a/.local/share/dermafuse/models");
        #[cfg(unix)]
        assert_eq!(folder(&[("XDG_DATA_HOME", "/data"), home]).unwrap(), "/data/dermafuse/models");
        assert_eq!(folder(&[("DERMAFUSE_MODELS", "here"), ("XDG_DATA_HOME", "/data"), home]).unwrap(), "here");
        assert!(folder(&[]).unwrap_err().to_string().contains("set DERMAFUSE_MODELS to one"));
    }

    #[test]
    fn a_name_is_a_plain_word() {
        for name in ["a", "milk10k-2.1", "A_b+c"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".a", "-a", "a/b", "a\\b", "ä", "a b", "a.safetensors", "a.", "..", &"a".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert_eq!(own_name(Path::new("runs/skin/model.safetensors")), "skin");
        assert_eq!(own_name(Path::new("runs/skin/best.safetensors")), "best");
    }

    #[test]
    fn a_checksum_is_64_digits() {
        assert_eq!(digits(&"AB".repeat(32)).unwrap(), "ab".repeat(32));
        assert!(digits("ab").unwrap_err().to_string().starts_with("`ab` is no SHA-256"));
        assert!(digits(&"g".repeat(64)).is_err());
    }
}
