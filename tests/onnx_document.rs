//! The Python lines of docs/onnx.md, run as they stand there, give the program's answer.
//!
//! `DERMAFUSE_PYTHON` names the interpreter, `python3` by default; where it lacks onnxruntime, numpy or Pillow this is skipped with a word,
//! unless `DERMAFUSE_ONNXRUNTIME=required` is set.

use std::env::var_os;
use std::fs;
use std::path::Path;
use std::process::Command;

use burn::tensor::Device;
use dermafuse::data::{RgbPixels, encode_jpeg};
use dermafuse::infer::{Model, Patient};
use dermafuse_tests::{program, saved_model, text};

/// The largest difference of a probability from the program's: Pillow decodes JPEGs and rounds otherwise.
const BOUND: f64 = 0.001;

/// An interpreter that has what the lines import.
fn python() -> Option<Command> {
    let name = var_os("DERMAFUSE_PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&name).args(["-c", "import numpy, onnxruntime, PIL"]).output();
    match has {
        Ok(output) if output.status.success() => Some(Command::new(name)),
        found => {
            let found = found.map_or_else(|error| error.to_string(), |output| text(&output));
            let required = var_os("DERMAFUSE_ONNXRUNTIME").is_some_and(|wish| wish == "required");
            assert!(!required, "DERMAFUSE_ONNXRUNTIME=required asks for onnxruntime, numpy and Pillow: {found}");
            println!(
                "SKIPPED: {} lacks onnxruntime, numpy or Pillow, so the lines of docs/onnx.md are not run",
                name.display()
            );
            None
        }
    }
}

/// The block of Python that asks a file.
fn lines() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/onnx.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let blocks: Vec<String> = blocks.filter(|block| block.contains("onnxruntime")).collect();
    assert_eq!(blocks.len(), 1, "lines of Python that ask a file");
    blocks.concat()
}

fn photo(width: usize, height: usize, seed: usize) -> Vec<u8> {
    let pixel = |at: usize| {
        let (x, y) = ((at % width) as f64 / width as f64 - 0.5, (at / width) as f64 / height as f64 - 0.5);
        let grain = ((at * 2_654_435_761) >> 9) % 20;
        let inside = (x * x + y * y).sqrt() + 0.02 * (40.0 * y).sin() < 0.2 + 0.05 * seed as f64;
        if inside { [84 + grain as u8, 48, 40] } else { [222, 180 - grain as u8, 158] }
    };
    let pixels = RgbPixels::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap();
    encode_jpeg(&pixels, 92).unwrap()
}

#[test]
fn a_few_lines_of_python_give_the_programs_probabilities() {
    let Some(mut python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = saved_model(folder.path());
    fs::write(at("clinical.jpg"), photo(640, 480, 1)).unwrap();
    fs::write(at("dermoscopic.jpg"), photo(501, 377, 3)).unwrap();
    let export = program("dermafuse").arg("export").arg(&file).arg("--onnx").arg(at("model.onnx")).output().unwrap();
    assert!(export.status.success(), "{}", text(&export));
    fs::write(at("ask.py"), lines()).unwrap();
    let output = python.arg("ask.py").current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let patient = Patient::new().clinical(at("clinical.jpg")).dermoscopic(at("dermoscopic.jpg"));
    let answer =
        Model::open(&file, &Device::flex()).unwrap().predict(&patient.set("sex", "male").set("age", 61)).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut largest = 0.0_f64;
    let mut tasks = 0;
    for line in printed.lines() {
        let (task, classes) = line.split_once(' ').unwrap();
        let classes: std::collections::BTreeMap<String, f64> = serde_json::from_str(classes).unwrap();
        let expected = answer.task(task).unwrap();
        assert_eq!(classes.len(), expected.ranked().len(), "{line}");
        for (class, probability) in &classes {
            largest = largest.max((probability - expected.probability(class).unwrap()).abs());
        }
        let top = classes.iter().max_by(|one, other| one.1.total_cmp(other.1)).unwrap();
        assert_eq!(*top.0, expected.top().class, "{line}");
        tasks += 1;
    }
    assert_eq!(tasks, answer.tasks().len(), "{printed}");
    println!("Python's probabilities differ by at most {largest:.6} from the program's");
    assert!(largest <= BOUND, "{largest}");
}
