//! The page as a folder of files that any web server can give: a browser computes the answers itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dermafuse_data::ViewRule;
use dermafuse_infer::sha256_hex;
use dermafuse_schema::{ReadError, SEVEN_POINT_CRITERIA, SUSPICIOUS_SCORE, SevenPointCriterion, read_regular_file};
use serde_json::{Value, json};
use thiserror::Error;

/// The files of the npm package `onnxruntime-web` that a page takes along, in its folder `dist`.
const RUNTIME: [&str; 3] = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];
/// The largest of them that is read, in bytes. The WebAssembly file has 14 MB.
const MAX_RUNTIME: u64 = 128 << 20;
/// The release that the page is tested with.
const TESTED: &str = "1.30.0";

/// The files that are the same for all models: their names and texts.
const PAGE: [(&str, &str); 12] = [
    ("answer.js", include_str!("../page/offline/answer.js")),
    ("app.js", include_str!("../page/app.js")),
    ("evidence.js", include_str!("../page/offline/evidence.js")),
    ("icon.svg", include_str!("../page/icon.svg")),
    ("manifest.webmanifest", include_str!("../page/offline/manifest.webmanifest")),
    ("model_file.js", include_str!("../page/offline/model_file.js")),
    ("pixels.js", include_str!("../page/offline/pixels.js")),
    ("quality.js", include_str!("../page/offline/quality.js")),
    ("resize.js", include_str!("../page/offline/resize.js")),
    ("source.js", include_str!("../page/offline/source.js")),
    ("style.css", include_str!("../page/style.css")),
    ("texts.json", include_str!("../page/texts.json")),
];
const INDEX: &str = include_str!("../page/index.html");
const SERVICE: &str = include_str!("../page/offline/service.js");

/// The line of the page's head that the lines of a page without a server come after.
const HEAD: &str = "<meta charset=\"utf-8\">\n";
/// What the server says in headers: nothing is loaded from elsewhere, and nothing is sent.
const OFFLINE_HEAD: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'self' \
     'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri \
     'none'; form-action 'none'\">\n<link rel=\"manifest\" href=\"manifest.webmanifest\">\n";
/// What the page says of the API, which is not there.
const API: &str = " The API does not: see /openapi.json.";

/// Why a page without a server is not written. Nothing was changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OfflinePageError {
    /// Nobody said where the files of `onnxruntime-web` are.
    #[error(
        "the page computes with onnxruntime-web, whose files are not a part of this program; fetch them with `npm pack \
         onnxruntime-web@{tested} && tar xf onnxruntime-web-{tested}.tgz`, and name the folder: --runtime package/dist"
    )]
    NoRuntime {
        /// The release that the page is tested with.
        tested: &'static str,
    },
    /// A folder that has no file of the package.
    #[error(
        "{} has no `{file}`; name the folder `dist` of the npm package onnxruntime-web (tested with {tested}), such as \
         node_modules/onnxruntime-web/dist", folder.display()
    )]
    RuntimeFile {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: &'static str,
        /// The release that the page is tested with.
        tested: &'static str,
    },
    /// A file that is not what its name says.
    #[error("{} is not WebAssembly; fetch the package onnxruntime-web again", path.display())]
    NotWebAssembly {
        /// The file.
        path: PathBuf,
    },
    /// A folder with files in it.
    #[error("{} holds `{found}`; give a new or empty folder, so that nothing is overwritten", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// One of the files.
        found: String,
    },
    /// A folder that cannot be made or written to.
    #[error("cannot write {}: {source}; check the free space and the permissions of its folder", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file of the package that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A page that needs no server of ours: static files with the model in them, for any web server. The browser computes the
/// answers with `onnxruntime-web`, keeps the files, and sends nothing.
///
/// ```
/// use dermafuse_serve::OfflinePage;
///
/// # let root = tempfile::tempdir()?;
/// # let (folder, dist) = (root.path().join("page"), root.path().join("dist"));
/// # std::fs::create_dir(&dist)?;
/// # for name in ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"] {
/// #     std::fs::write(dist.join(name), b"\0asm")?;
/// # }
/// # let model = b"an ONNX file";
/// let page = OfflinePage::new(&folder, Some(&dist))?; // `dist` of the npm package onnxruntime-web
/// page.write(model)?;
/// assert!(folder.join("index.html").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OfflinePage {
    folder: PathBuf,
    /// All files but those that depend on the model.
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl OfflinePage {
    /// A page in a folder that is new or empty, with the files of `onnxruntime-web` from another folder: that of the npm package, or its
    /// `dist`. Nothing is written yet.
    ///
    /// # Errors
    /// A folder with something in it; no folder of the package, or one without its files: the error says how to get them.
    pub fn new(folder: impl AsRef<Path>, runtime: Option<&Path>) -> Result<Self, OfflinePageError> {
        let folder = folder.as_ref().to_owned();
        check_empty(&folder)?;
        let Some(dist) = runtime else { return Err(OfflinePageError::NoRuntime { tested: TESTED }) };
        let inner = dist.join("dist");
        let dist = if inner.is_dir() { &inner } else { dist };
        let mut files: BTreeMap<&'static str, Vec<u8>> = BTreeMap::new();
        for file in RUNTIME {
            let path = dist.join(file);
            if !path.is_file() {
                return Err(OfflinePageError::RuntimeFile { folder: dist.to_owned(), file, tested: TESTED });
            }
            let bytes = read_regular_file(&path, MAX_RUNTIME)?;
            if file.ends_with(".wasm") && !bytes.starts_with(b"\0asm") {
                return Err(OfflinePageError::NotWebAssembly { path });
            }
            files.insert(file, bytes);
        }
        files.extend(PAGE.map(|(name, text)| (name, text.as_bytes().to_vec())));
        let index = INDEX.replacen(HEAD, &format!("{HEAD}{OFFLINE_HEAD}"), 1).replacen(API, "", 1);
        files.insert("index.html", index.into_bytes());
        Ok(Self { folder, files })
    }

    /// The page's files for a model's answer file, which is ONNX, by their names.
    #[must_use]
    pub fn files(&self, model: &[u8]) -> BTreeMap<&'static str, Vec<u8>> {
        let mut files = self.files.clone();
        files.insert("model.onnx", model.to_vec());
        files.insert("rules.json", rules(model).to_string().into_bytes());
        files.insert("service.js", service(&files).into_bytes());
        files
    }

    /// Writes the page for a model's answer file: all of its files, or none.
    ///
    /// # Errors
    /// A folder that is not empty any more, or that cannot be written.
    pub fn write(&self, model: &[u8]) -> Result<(), OfflinePageError> {
        let folder = &self.folder;
        check_empty(folder)?;
        let mut name = OsString::from(".");
        name.push(folder.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let scratch = folder.with_file_name(name);
        let write = || {
            fs::create_dir_all(&scratch).map_err(not_written(&scratch))?;
            for (name, bytes) in self.files(model) {
                let path = scratch.join(name);
                fs::write(&path, bytes).map_err(not_written(&path))?;
            }
            if folder.exists() {
                fs::remove_dir(folder).map_err(not_written(folder))?;
            }
            fs::rename(&scratch, folder).map_err(not_written(folder))
        };
        write().inspect_err(|_| {
            // The error to tell is the first one.
            let _ = fs::remove_dir_all(&scratch);
        })
    }
}

fn not_written(path: &Path) -> impl FnOnce(io::Error) -> OfflinePageError {
    let path = path.to_owned();
    move |source| OfflinePageError::Write { path, source }
}

fn check_empty(folder: &Path) -> Result<(), OfflinePageError> {
    if !folder.exists() {
        return Ok(());
    }
    match fs::read_dir(folder).map_err(not_written(folder))?.next() {
        None => Ok(()),
        Some(entry) => {
            let found = entry.map_err(not_written(folder))?.file_name().to_string_lossy().into_owned();
            Err(OfflinePageError::NotEmpty { folder: folder.to_owned(), found })
        }
    }
}

/// What the program knows besides models: which picture is dermoscopic, and the seven-point checklist; and the sum of the model's file, by
/// which the page knows it.
fn rules(model: &[u8]) -> Value {
    let ViewRule { intercept, weights } = ViewRule::SHIPPED;
    let criteria = SEVEN_POINT_CRITERIA.map(
        |SevenPointCriterion { label, class, points }| json!({ "label": label, "class": class, "points": points }),
    );
    json!({
        "model_sha256": sha256_hex(model),
        "view": { "intercept": intercept, "weights": weights },
        "seven_point": { "criteria": criteria, "suspicious_from": SUSPICIOUS_SCORE },
    })
}

/// The script that keeps the files in the browser, with their names and checksums.
fn service(files: &BTreeMap<&'static str, Vec<u8>>) -> String {
    let sums: BTreeMap<&str, String> = files.iter().map(|(name, bytes)| (*name, sha256_hex(bytes))).collect();
    let list = serde_json::to_string_pretty(&sums).expect("names and sums are text");
    let version = sha256_hex(format!("{list}{SERVICE}").as_bytes());
    format!("const VERSION = \"{version}\";\nconst FILES = {list};\n{SERVICE}")
}
