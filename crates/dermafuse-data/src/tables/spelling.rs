//! When two names are one, however a person, a table and a disk spell them.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Folders that systems and archive programs leave beside one's own.
const CLUTTER_FOLDERS: [&str; 5] = ["__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"];
/// Files that systems leave, besides hidden ones.
const CLUTTER_FILES: [&str; 4] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"];

/// The text with its accents in one character with their letter (NFC): `ü` is one name whether a disk writes it in one
/// character or in two.
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// What names are compared by where upper and lower case are not told apart.
pub(crate) fn name_key(name: &str) -> String {
    composed(name).to_lowercase()
}

/// A relative path with `/` between its parts, without `.` and doubled separators.
pub(crate) fn tidy_path(path: &str) -> Cow<'_, str> {
    let tidy = |path: &str| path.split('/').all(|part| !matches!(part, "" | "."));
    if !path.contains('\\') && tidy(path) {
        return Cow::Borrowed(path);
    }
    let path = path.replace('\\', "/");
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let start = if path.starts_with('/') { "/" } else { "" };
    Cow::Owned(format!("{start}{}", parts.join("/")))
}

/// Whether a tidy path may lead out of the folder that it should start from.
pub(crate) fn leaves_folder(path: &str) -> bool {
    let drive = matches!(path.as_bytes(), [letter, b':', b'/', ..] if letter.is_ascii_alphabetic());
    drive || path.starts_with('/') || path.split('/').any(|part| part == "..")
}

/// Whether a file or folder is not one's own: hidden, or left by a system or an archive program.
pub(crate) fn is_clutter(name: &str, is_folder: bool) -> bool {
    let known: &[&str] = if is_folder { &CLUTTER_FOLDERS } else { &CLUTTER_FILES };
    name.starts_with('.') || known.contains(&name.to_lowercase().as_str())
}

/// The path as the disk spells it, where a part of it is there with its accents written otherwise.
pub(crate) fn on_disk(path: &Path) -> PathBuf {
    if path.to_str().is_some_and(str::is_ascii) || path.exists() {
        return path.to_path_buf();
    }
    let mut found = PathBuf::new();
    for part in path.components() {
        let next = found.join(part);
        let Component::Normal(name) = part else {
            found = next;
            continue;
        };
        let folder = if found.as_os_str().is_empty() { Path::new(".") } else { &found };
        let same = || {
            let name = name.to_str()?;
            let entries = std::fs::read_dir(folder).ok()?;
            let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.find(|other| composed(other) == composed(name))
        };
        found = if next.exists() { next } else { same().map_or(next, |name| found.join(name)) };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPOSED: &str = "Gr\u{fc}\u{df}e";
    const APART: &str = "Gru\u{308}\u{df}e";

    #[test]
    fn accents_are_one_however_they_are_written() {
        assert_ne!(COMPOSED, APART);
        assert_eq!((composed(APART), composed(COMPOSED)), (COMPOSED.into(), COMPOSED.into()));
        assert_eq!(name_key(&APART.to_uppercase()), name_key(&COMPOSED.to_uppercase()));
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join(APART).join("b");
        std::fs::create_dir_all(&deep).unwrap();
        let asked = folder.path().join(COMPOSED).join("b");
        assert_eq!(on_disk(&asked), if asked.exists() { asked } else { deep });
        assert_eq!(on_disk("no/\u{fc}".as_ref()), Path::new("no/\u{fc}"));
    }

    #[test]
    fn paths_are_tidied_and_do_not_lead_out() {
        for (path, tidy) in [
            ("a/b.jpg", "a/b.jpg"),
            (r"a\b.jpg", "a/b.jpg"),
            (r".\a\\b.jpg", "a/b.jpg"),
            ("././a//b/./c.jpg", "a/b/c.jpg"),
            ("/a//b", "/a/b"),
        ] {
            assert_eq!(tidy_path(path), tidy);
        }
        for path in ["/a", "a/../b", "..", r"C:\a\b.jpg", r"\\server\a.jpg"] {
            assert!(leaves_folder(&tidy_path(path)), "{path}");
        }
        for path in ["a", "a/b..c", "a..", "c:x.jpg"] {
            assert!(!leaves_folder(&tidy_path(path)), "{path}");
        }
    }

    #[test]
    fn what_systems_leave_is_clutter() {
        for (name, is_folder) in
            [("__MACOSX", true), (".git", true), ("@eaDir", true), ("Thumbs.db", false), ("._a.jpg", false)]
        {
            assert!(is_clutter(name, is_folder), "{name}");
        }
        for (name, is_folder) in [("runs", true), ("mel", true), ("thumbs.db", true), ("a.jpg", false)] {
            assert!(!is_clutter(name, is_folder), "{name}");
        }
    }
}
