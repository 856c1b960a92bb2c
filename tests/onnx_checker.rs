//! Exported files, asked by the engines that a Python has: `onnx_check.py`, with which this talks.
//!
//! `DERMAFUSE_PYTHON` names the interpreter, `python3` by default. An engine that it lacks is skipped with a word, unless
//! `DERMAFUSE_ONNXRUNTIME=required` or `DERMAFUSE_OPENVINO=required` is set.

use std::collections::{BTreeMap, BTreeSet};
use std::env::var_os;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine_library::{LIBRARIES, Library};

/// A tensor of a job.
pub struct Numbers {
    /// Its sides, cases first.
    pub shape: Vec<usize>,
    /// `uint8`, `bool`, `float32` or `float64`.
    pub kind: &'static str,
    /// Row-major.
    pub values: Vec<f64>,
}

/// A file, what it is asked, and what it should answer.
pub struct Job {
    /// The ONNX file.
    pub file: PathBuf,
    /// By the names of inputs.
    pub inputs: BTreeMap<String, Numbers>,
    /// By the names of outputs.
    pub outputs: BTreeMap<String, Numbers>,
}

/// What an engine said of a job.
#[derive(Debug, Deserialize)]
pub struct EngineAnswer {
    /// `onnxruntime`, `openvino` (in 32-bit floats) or `openvino_default`.
    pub engine: String,
    /// Of the library.
    pub version: String,
    /// What it computed with: `f32`, `bf16`.
    pub precision: String,
    /// The properties of the file.
    pub metadata: BTreeMap<String, String>,
    /// Time to load the file, if it is another one, and to answer.
    pub seconds: f64,
    /// By output, the largest difference from what it should be, over the largest magnitude of that: of all cases together, and of the
    /// first case alone.
    pub differences: BTreeMap<String, f64>,
    /// By output, in the same way, how far the first case is from itself without the others.
    pub alone: BTreeMap<String, f64>,
}

/// How far answers may be from those that are expected, as shares of the largest magnitude of an output.
pub struct Bounds {
    /// In ONNX Runtime.
    pub onnx_runtime: f64,
    /// In OpenVINO with 32-bit floats.
    pub open_vino: f64,
    /// In OpenVINO where it chooses floats of 16 bits, which it does by itself on processors that have instructions for them.
    pub sixteen_bits: f64,
}

impl Bounds {
    fn of(&self, answer: &EngineAnswer) -> f64 {
        match (answer.engine.as_str(), answer.precision.as_str()) {
            ("onnxruntime", _) => self.onnx_runtime,
            (_, "f32") => self.open_vino,
            _ => self.sixteen_bits,
        }
    }
}

/// The largest numbers of an engine.
#[derive(Default)]
struct Largest {
    difference: (f64, String),
    alone: (f64, String),
    seconds: f64,
}

/// Python, which waits for jobs.
pub struct Checker {
    process: Child,
    jobs: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    largest: BTreeMap<String, Largest>,
}

impl Checker {
    /// An interpreter with the engines that it has; `None`, with a word, where it has none and none is required.
    ///
    /// # Panics
    /// If an engine is required that it lacks.
    pub fn start() -> Option<Self> {
        Self::of(&LIBRARIES)
    }

    /// The same with these libraries alone.
    ///
    /// # Panics
    /// If one of them is required that the interpreter lacks.
    pub fn of(libraries: &[Library]) -> Option<Self> {
        let interpreter = var_os("DERMAFUSE_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
        let script = "import importlib.util as u, sys, numpy; print(*(n for n in sys.argv[1:] if u.find_spec(n)))";
        let found =
            Command::new(&interpreter).args(["-c", script]).args(libraries.iter().map(|library| library.name)).output();
        let found = match found {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            _ => String::new(),
        };
        let found: BTreeSet<&str> = found.split_whitespace().collect();
        let mut engines = Vec::new();
        for library in libraries {
            let name = library.name;
            if found.contains(name) {
                let of_library = |engine: &&str| engine.starts_with(name);
                engines.extend(["onnxruntime", "openvino", "openvino_default"].into_iter().filter(of_library));
                continue;
            }
            let lacks = format!("{} cannot import numpy and {name}", interpreter.display());
            assert!(!library.is_required(), "{lacks}, which is required");
            eprintln!("SKIPPED for {name}: {lacks} (`pip install numpy {name}`)");
        }
        if engines.is_empty() {
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx_check.py");
        let mut process = Command::new(interpreter)
            .arg(script)
            .args(engines)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let jobs = process.stdin.take();
        let results = BufReader::new(process.stdout.take().expect("its output"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        Some(Self { process, jobs, results, folder, largest: BTreeMap::new() })
    }

    /// Asks all engines: an answer of each.
    ///
    /// # Panics
    /// If one of them fails.
    pub fn ask(&mut self, job: &Job) -> Vec<EngineAnswer> {
        let mut bytes = Vec::new();
        let mut described = |tensors: &BTreeMap<String, Numbers>| -> Value {
            tensors.iter().map(|(name, numbers)| (name.clone(), written(numbers, &mut bytes))).collect()
        };
        let (inputs, outputs) = (described(&job.inputs), described(&job.outputs));
        let numbers = self.folder.path().join("numbers");
        fs::write(&numbers, bytes).expect("the folder is writable");
        let line = json!({ "file": job.file, "numbers": numbers, "inputs": inputs, "outputs": outputs });
        let jobs = self.jobs.as_mut().expect("it was not ended");
        writeln!(jobs, "{line}").and_then(|()| jobs.flush()).expect("Python listens");
        let mut result = String::new();
        self.results.read_line(&mut result).expect("Python answers");
        assert!(!result.is_empty(), "{}: Python ended, and has said why", job.file.display());
        serde_json::from_str(&result).expect("the script prints JSON")
    }

    /// The same, and holds the answers to what is expected.
    ///
    /// # Panics
    /// If an engine fails, or is further off than its bound.
    pub fn check(&mut self, job: &Job, bounds: &Bounds) -> Vec<EngineAnswer> {
        let answers = self.ask(job);
        let file = job.file.file_stem().unwrap_or_default().to_string_lossy();
        for answer in &answers {
            let EngineAnswer { engine, version, precision, seconds, differences, alone, .. } = answer;
            let largest = self.largest.entry(format!("{engine} {version}, {precision}")).or_default();
            largest.seconds += seconds;
            for (all, most) in [(differences, &mut largest.difference), (alone, &mut largest.alone)] {
                for (output, &difference) in all {
                    if difference > most.0 {
                        *most = (difference, format!("{file}, {output}"));
                    }
                }
            }
            let bound = bounds.of(answer);
            for (output, difference) in differences {
                assert!(
                    *difference <= bound,
                    "{file} {output} in {engine}, {precision}: {difference:e}, at most {bound:e}"
                );
            }
        }
        answers
    }

    /// Prints the largest difference of each engine, the largest that the cases of a batch make for each other, and the time that it took.
    pub fn report(&self) {
        for (engine, Largest { difference, alone, seconds }) in &self.largest {
            println!(
                "{engine}: {:.1e} ({}); alone and in a batch {:.1e} ({}); {seconds:.1} s",
                difference.0, difference.1, alone.0, alone.1
            );
        }
    }
}

/// Where the numbers of a tensor stand behind these bytes.
fn written(numbers: &Numbers, bytes: &mut Vec<u8>) -> Value {
    let Numbers { shape, kind, values } = numbers;
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let at = bytes.len();
    match *kind {
        "uint8" | "bool" => bytes.extend(values.iter().map(|&value| value as u8)),
        "float32" => bytes.extend(values.iter().flat_map(|&value| (value as f32).to_le_bytes())),
        "float64" => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        other => panic!("no tensor is of {other}"),
    }
    json!({ "shape": shape, "type": kind, "at": at })
}

impl Drop for Checker {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.jobs.take());
        let _ = self.process.wait();
    }
}
