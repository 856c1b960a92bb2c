//! Where the shared library of an engine is, and whether its file is one for this machine, before any of its code runs.

use std::collections::HashSet;
use std::env::consts::ARCH;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_schema::read_regular_file;

use crate::EngineError;

/// The largest library that is read, in bytes: 1 GiB.
const MAX_LIBRARY: u64 = 1 << 30;

/// What this machine's shared libraries are for.
const SYSTEM: &str = if cfg!(windows) {
    "Windows"
} else if cfg!(target_vendor = "apple") {
    "macOS"
} else {
    "Linux"
};

/// The variable with the folders of the system's loader.
const LOADER_VARIABLE: &str = if cfg!(windows) {
    "PATH"
} else if cfg!(target_vendor = "apple") {
    "DYLD_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// Folders in which systems keep libraries.
const SYSTEM_FOLDERS: [&str; 8] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
    "/opt/intel/openvino/runtime/lib/intel64",
    "/opt/intel/openvino/runtime/lib/aarch64",
];

/// Whether this program has its C library inside, and with it no loader of others. (Static programs of Windows load libraries.)
const IS_STATIC: bool = cfg!(all(target_env = "musl", target_feature = "crt-static"));

/// The program of a release that loads libraries on Linux.
const DYNAMIC_PROGRAM: &str = if cfg!(target_arch = "aarch64") {
    "dermafuse-aarch64-unknown-linux-gnu"
} else {
    "dermafuse-x86_64-unknown-linux-gnu"
};

/// A shared library that runs networks.
#[derive(Debug)]
pub(crate) struct EngineLibrary {
    /// The engine, as its makers write it.
    pub(crate) engine: &'static str,
    /// Its name without what systems put around it.
    pub(crate) stem: &'static str,
    /// The environment variable with its file or folder.
    pub(crate) variable: &'static str,
    /// The folder of it among the packages of Python.
    pub(crate) package: &'static str,
    /// How to get it.
    pub(crate) install: &'static str,
    /// Functions that are called, where a library without one would stop the process.
    pub(crate) functions: &'static [&'static str],
}

impl EngineLibrary {
    /// The library's file: at the place that was given, else at that of its variable; only if neither is said in environments of
    /// Python, and then in the folders of the system. It was checked as far as can be without running it.
    ///
    /// # Errors
    /// No such file; a file that is no library for this machine.
    pub(crate) fn find(&self, given: Option<&Path>) -> Result<PathBuf, EngineError> {
        let path = self.locate(given)?;
        self.check(&path)?;
        Ok(path)
    }

    /// The same without looking into the file.
    ///
    /// # Errors
    /// No such file.
    pub(crate) fn locate(&self, given: Option<&Path>) -> Result<PathBuf, EngineError> {
        self.find_in(given, |name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn find_in(
        &self,
        given: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<PathBuf, EngineError> {
        let absent = |searched| EngineError::NoLibrary { engine: self.engine, searched, remedy: self.remedy() };
        let whole = |path: PathBuf| fs::canonicalize(&path).unwrap_or(path);
        // A place that somebody named is the only one.
        let named = match given {
            Some(path) => Some((path.to_owned(), path.display().to_string())),
            None => variable(self.variable)
                .map(|path| (PathBuf::from(&path), format!("{} ({})", Path::new(&path).display(), self.variable))),
        };
        if let Some((path, said)) = named {
            let found = match path.is_dir() {
                true => self.newest_in(&path),
                false => Some(path).filter(|path| path.exists()),
            };
            return found.map(whole).ok_or_else(|| absent(vec![said]));
        }
        let mut searched = Vec::new();
        for folder in self.packages(&variable).into_iter().chain(system_folders(&variable)) {
            if let Some(file) = self.newest_in(&folder) {
                return Ok(whole(file));
            }
            searched.push(folder.display().to_string());
        }
        if searched.is_empty() {
            searched.push("no folder: there is none that libraries or packages of Python are in".into());
        }
        Err(absent(searched))
    }

    /// How to get the library, and how to say where it is.
    fn remedy(&self) -> String {
        let Self { install, variable, .. } = self;
        format!(
            "`{install}` brings it, in any environment of Python; or give its file with library=PATH or in {variable}"
        )
    }

    /// The library in a folder; of several the one of the newest version.
    fn newest_in(&self, folder: &Path) -> Option<PathBuf> {
        let versions = fs::read_dir(folder).ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            Some((self.version_of(&entry.file_name().into_string().ok()?)?, entry.path()))
        });
        versions.max().map(|(_, path)| path)
    }

    /// The version in the name of a file, if it is the library's; of one without a version, which is often a link to the one that
    /// is meant, the greatest.
    fn version_of(&self, name: &str) -> Option<Vec<u64>> {
        let stem = self.stem;
        let version = if cfg!(windows) {
            (name.eq_ignore_ascii_case(&format!("{stem}.dll"))).then_some("")
        } else if cfg!(target_vendor = "apple") {
            name.strip_prefix(&format!("lib{stem}"))?.strip_suffix(".dylib")
        } else {
            name.strip_prefix(&format!("lib{stem}.so"))
        }?;
        let Some(version) = version.strip_prefix('.') else {
            return version.is_empty().then(|| vec![u64::MAX]);
        };
        version.split('.').map(|part| part.parse().ok()).collect()
    }

    /// The folders of the library among packages of Python: of the environment that is active, of every `python3` that the shell would
    /// find, and of the user.
    fn packages(&self, variable: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
        let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable).map(PathBuf::from);
        let path = variable("PATH").unwrap_or_default();
        let has_python = |folder: &PathBuf| ["python3", "python.exe"].iter().any(|name| folder.join(name).exists());
        let shell: Vec<PathBuf> = std::env::split_paths(&path)
            .filter(has_python)
            .filter_map(|folder| if cfg!(windows) { Some(folder) } else { Some(folder.parent()?.to_owned()) })
            .collect();
        let user = variable("HOME").map(|home| PathBuf::from(home).join(".local"));
        let mut folders = Vec::new();
        for prefix in active.chain(shell).chain(user) {
            let versions = fs::read_dir(prefix.join("lib")).into_iter().flatten().filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.starts_with("python3").then(|| prefix.join("lib").join(name))
            });
            let mut places: Vec<PathBuf> = versions.collect();
            places.sort();
            let of_unix =
                places.iter().flat_map(|place| ["site-packages", "dist-packages"].map(|name| place.join(name)));
            let of_windows = [prefix.join("Lib").join("site-packages")];
            for packages in of_unix.chain(of_windows).filter(|packages| packages.is_dir()) {
                let folder = packages.join(self.package);
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        }
        folders
    }

    /// Checks that the program can load libraries, and that the processor has what the published builds of both libraries use without
    /// asking: they run without AVX, and end the process where there is no SSE4.2.
    pub(crate) fn check_machine(&self) -> Result<(), EngineError> {
        self.check_linking(IS_STATIC)?;
        #[cfg(target_arch = "x86_64")]
        if !std::arch::is_x86_feature_detected!("sse4.2") {
            return Err(EngineError::Processor { engine: self.engine, needs: "SSE4.2" });
        }
        Ok(())
    }

    fn check_linking(&self, is_static: bool) -> Result<(), EngineError> {
        match is_static {
            true => Err(EngineError::StaticProgram { engine: self.engine, file: DYNAMIC_PROGRAM }),
            false => Ok(()),
        }
    }

    /// A file that cannot be used, and why.
    pub(crate) fn refused(&self, path: &Path, reason: String) -> EngineError {
        EngineError::Library { engine: self.engine, path: path.to_owned(), reason, remedy: self.remedy() }
    }

    /// Checks that a file is a shared library for this machine that has the functions.
    fn check(&self, path: &Path) -> Result<(), EngineError> {
        let refused = |reason: String| self.refused(path, reason);
        let bytes = read_regular_file(path, MAX_LIBRARY).map_err(|error| refused(error.to_string()))?;
        let built_for = built_for(&bytes).ok_or_else(|| refused("it is no shared library".into()))?;
        if !built_for.contains(&(SYSTEM, ARCH)) {
            let found: Vec<String> = built_for.iter().map(|(system, arch)| format!("{system} on {arch}")).collect();
            return Err(refused(format!("it is for {}, and this program is for {SYSTEM} on {ARCH}", found.join(", "))));
        }
        // The names of what a library has stand in it between zeros; those of macOS begin with a line.
        let mut missing: HashSet<&[u8]> = self.functions.iter().map(|name| name.as_bytes()).collect();
        let shortest = missing.iter().map(|name| name.len()).min().unwrap_or(0);
        for name in bytes.split(|&byte| byte == 0).filter(|name| name.len() >= shortest) {
            missing.remove(name);
            missing.remove(name.strip_prefix(b"_").unwrap_or(name));
            if missing.is_empty() {
                return Ok(());
            }
        }
        match self.functions.iter().find(|name| missing.contains(name.as_bytes())) {
            Some(name) => Err(refused(format!("it has no function `{name}`: it is too old, or another library"))),
            None => Ok(()),
        }
    }
}

/// The folders that the system's loader would look into, as far as they are there.
fn system_folders(variable: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let said = variable(LOADER_VARIABLE).unwrap_or_default();
    let said = std::env::split_paths(&said).filter(|folder| !folder.as_os_str().is_empty());
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in said.chain(SYSTEM_FOLDERS.map(PathBuf::from)).filter(|folder| folder.is_dir()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// The systems and processors that a shared library is for; `None` of a file that is none.
fn built_for(bytes: &[u8]) -> Option<Vec<(&'static str, &'static str)>> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let of_elf = |machine: u16| match machine {
        0x03 => "x86",
        0x28 => "arm",
        0x3E => "x86_64",
        0xB7 => "aarch64",
        0xF3 => "riscv64",
        _ => "another processor",
    };
    let of_apple = |kind: u32| match kind {
        0x0100_0007 => "x86_64",
        0x0100_000C => "aarch64",
        _ => "another processor",
    };
    match bytes {
        // A shared object, 64 bits or 32, little-endian.
        [0x7F, b'E', b'L', b'F', 1 | 2, 1, ..] if u16_at(16)? == 3 => Some(vec![("Linux", of_elf(u16_at(18)?))]),
        [0x7F, b'E', b'L', b'F', 1 | 2, 2, ..] => Some(vec![("Linux", "a big-endian processor")]),
        [0xCF, 0xFA, 0xED, 0xFE, ..] => Some(vec![("macOS", of_apple(u32_at(4)?))]),
        // One for several processors; its numbers are big-endian.
        [0xCA, 0xFE, 0xBA, 0xBE, ..] => {
            let count = u32_at(4)?.swap_bytes().min(8) as usize;
            (0..count).map(|at| Some(("macOS", of_apple(u32_at(8 + 20 * at)?.swap_bytes())))).collect()
        }
        [b'M', b'Z', ..] => {
            let header = u32_at(0x3C)? as usize;
            let machine = match (bytes.get(header..header.checked_add(4)?)?, u16_at(header + 4)?) {
                (b"PE\0\0", 0x8664) => "x86_64",
                (b"PE\0\0", 0xAA64) => "aarch64",
                (b"PE\0\0", 0x014C) => "x86",
                (b"PE\0\0", _) => "another processor",
                _ => return None,
            };
            Some(vec![("Windows", machine)])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: EngineLibrary = EngineLibrary {
        engine: "An Engine",
        stem: "engine",
        variable: "ENGINE_PATH",
        package: "engine/libs",
        install: "pip install engine",
        functions: &["engine_run"],
    };

    /// The head of a library for Linux, and a name in it.
    fn elf(machine: u8, name: &str) -> Vec<u8> {
        let mut bytes = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, machine, 0];
        bytes.extend([&[0], name.as_bytes(), &[0]].concat());
        bytes
    }

    #[test]
    fn a_static_program_says_which_one_loads_libraries() {
        let error = LIBRARY.check_linking(true).unwrap_err().to_string();
        let words = "loads no libraries, so that An Engine cannot run in it; use the engine burn, or dermafuse-";
        assert!(error.contains(words) && error.contains("-unknown-linux-gnu") && !error.contains("pip"), "{error}");
        LIBRARY.check_linking(IS_STATIC).unwrap();
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(built_for(&elf(0x3E, "")), Some(vec![("Linux", "x86_64")]));
        assert_eq!(built_for(&elf(0xB7, "")), Some(vec![("Linux", "aarch64")]));
        let mut program = elf(0x3E, "");
        program[16] = 2;
        assert_eq!(built_for(&program), None);
        assert_eq!(built_for(&[0xCF, 0xFA, 0xED, 0xFE, 0x0C, 0, 0, 1]), Some(vec![("macOS", "aarch64")]));
        let mut windows = vec![0; 0x80];
        windows[..2].copy_from_slice(b"MZ");
        windows[0x3C] = 0x40;
        windows[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(built_for(&windows), Some(vec![("Windows", "x86_64")]));
        windows[0x3C..0x40].fill(0xFF);
        assert_eq!(built_for(&windows), None);
        for nothing in [&b""[..], b"\x7FELF", b"MZ", b"version https://git-lfs.github.com/spec/v1\n"] {
            assert_eq!(built_for(nothing), None);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_place_that_was_named_is_the_only_one_and_the_newest_version_wins() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = |_: &str| None;
        let error = LIBRARY.find_in(Some(folder.path()), nothing).unwrap_err().to_string();
        let place = folder.path().display();
        assert!(error.starts_with(&format!("the library of An Engine was not found; looked for {place};")), "{error}");
        assert!(error.contains("`pip install engine` brings it") && error.contains("ENGINE_PATH"), "{error}");

        for name in ["libengine.so.9.1", "libengine.so.10.2", "libengine_more.so.11", "libengine.so.x", "engine.so"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = |given: Option<&Path>, name: &str, value: &Path| {
            LIBRARY.find_in(given, |asked| (asked == name).then(|| value.as_os_str().to_owned()))
        };
        let newest = fs::canonicalize(folder.path()).unwrap().join("libengine.so.10.2");
        assert_eq!(found(Some(folder.path()), "", Path::new("")).unwrap(), newest);
        assert_eq!(found(None, "ENGINE_PATH", folder.path()).unwrap(), newest);
        assert_eq!(found(None, "LD_LIBRARY_PATH", folder.path()).unwrap(), newest);
        // What is named wins over what is found, even if it is not there.
        let absent = folder.path().join("libengine.so.11");
        let error = found(Some(&absent), "ENGINE_PATH", folder.path()).unwrap_err().to_string();
        assert!(error.contains("libengine.so.11;") && !error.contains("LD_LIBRARY_PATH"), "{error}");

        let environment = tempfile::tempdir().unwrap();
        let packages = environment.path().join("lib/python3.13/site-packages/engine/libs");
        fs::create_dir_all(&packages).unwrap();
        fs::write(packages.join("libengine.so"), "").unwrap();
        let of_python = fs::canonicalize(&packages).unwrap().join("libengine.so");
        assert_eq!(found(None, "VIRTUAL_ENV", environment.path()).unwrap(), of_python);
        let programs = environment.path().join("bin");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("python3"), "").unwrap();
        assert_eq!(found(None, "PATH", &programs).unwrap(), of_python);
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn files_that_are_no_library_of_this_machine_are_refused_before_they_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libengine.so");
        let error = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            LIBRARY.find(Some(&file)).unwrap_err().to_string()
        };
        assert!(error(b"a page of an error").contains("it is no shared library"));
        let other = error(&elf(0xB7, "engine_run"));
        assert!(other.contains("it is for Linux on aarch64, and this program is for Linux on x86_64"), "{other}");
        let lacking = error(&elf(0x3E, "engine_ran"));
        assert!(lacking.contains("it has no function `engine_run`: it is too old"), "{lacking}");
        fs::write(&file, elf(0x3E, "engine_run")).unwrap();
        assert_eq!(LIBRARY.find(Some(&file)).unwrap(), fs::canonicalize(&file).unwrap());
    }
}
