//! ONNX Runtime and OpenVINO, as the tests ask for them.

use std::env::{var, var_os};
use std::path::PathBuf;
use std::process::Command;

use dermafuse::infer::{Engine, EngineError};

/// A library that runs ONNX files. Tests are skipped with a word where it is absent, unless it is required.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// Its name among the engines, which is that of its Python package.
    pub name: &'static str,
    /// The variable of the environment that says, by `required`, that it must be there.
    variable: &'static str,
    /// The folder in the package that has it.
    folder: &'static str,
}

/// Both, ONNX Runtime first.
pub const LIBRARIES: [Library; 2] = [
    Library { name: "onnxruntime", variable: "DERMAFUSE_ONNXRUNTIME", folder: "capi" },
    Library { name: "openvino", variable: "DERMAFUSE_OPENVINO", folder: "libs" },
];

impl Library {
    /// Whether it must be there.
    pub fn is_required(self) -> bool {
        var(self.variable).is_ok_and(|value| value == "required")
    }

    /// The words for `--engine` with these settings, if the library is there.
    ///
    /// # Panics
    /// If it is required, and absent or unusable.
    pub fn words(self, settings: &str) -> Option<String> {
        let place = var_os("DERMAFUSE_PYTHON").map(|python| {
            let script = format!(
                "import importlib.util as u; s = u.find_spec('{}'); print(s.submodule_search_locations[0] if s else '')",
                self.name
            );
            let output = Command::new(python).args(["-c", &script]).output().expect("DERMAFUSE_PYTHON is a Python");
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join(self.folder)
        });
        let place = place.filter(|folder| folder.is_dir());
        let mut words: Vec<String> =
            Some(settings).filter(|words| !words.is_empty()).map(str::to_owned).into_iter().collect();
        words.extend(place.map(|folder| format!("library={}", folder.display())));
        let words = format!("{}{}{}", self.name, if words.is_empty() { "" } else { ":" }, words.join(","));
        let engine: Engine = words.parse().expect("an engine");
        match engine.open(b"no network") {
            Err(
                error @ (EngineError::NoLibrary { .. }
                | EngineError::NotBuilt { .. }
                | EngineError::StaticProgram { .. }),
            ) if !self.is_required() => {
                eprintln!("SKIPPED for {}: {error}", self.name);
                None
            }
            Err(EngineError::Network { .. }) => Some(words),
            Err(error) => panic!("{}: {error}", self.name),
            Ok(_) => panic!("{} ran what is no network", self.name),
        }
    }

    /// The engine of the same words.
    ///
    /// # Panics
    /// As [`words`](Self::words).
    pub fn engine(self, settings: &str) -> Option<Engine> {
        self.words(settings).map(|words| words.parse().expect("an engine"))
    }
}
