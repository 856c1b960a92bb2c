//! The lines of Python and JavaScript in docs/onnx.md, run as they stand there, give the program's answer.
//!
//! `DERMAFUSE_PYTHON` names the interpreter, `python3` by default; where it lacks onnxruntime, numpy or Pillow this is skipped with a word,
//! unless `DERMAFUSE_ONNXRUNTIME=required` is set. The lines of JavaScript need `node` and the folder `dist` of the npm package
//! onnxruntime-web, which `DERMAFUSE_ONNXRUNTIME_WEB` names; they are required where both variables say so. Where the package `sharp` does not lie
//! beside onnxruntime-web, the pixels that it would decode are those of the program.

use std::collections::BTreeMap;
use std::env::var_os;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use dermafuse::data::{Framing, Preprocess, RgbPixels, Strictness, decode, encode_jpeg, encode_png};
use dermafuse::infer::{Answer, Bundle, Model, Patient};
use dermafuse_tests::staged_model::staged_model;
use dermafuse_tests::{program, saved_model, text};

/// The largest difference of a probability from the program's: others decode JPEGs and round otherwise.
const BOUND: f64 = 0.001;

/// Whether what the lines need must be there.
fn is_required() -> bool {
    var_os("DERMAFUSE_ONNXRUNTIME").is_some_and(|wish| wish == "required")
}

/// An interpreter that has what the lines import.
fn python() -> Option<Command> {
    let name = var_os("DERMAFUSE_PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&name).args(["-c", "import numpy, onnxruntime, PIL"]).output();
    match has {
        Ok(output) if output.status.success() => Some(Command::new(name)),
        found => {
            let found = found.map_or_else(|error| error.to_string(), |output| text(&output));
            assert!(!is_required(), "DERMAFUSE_ONNXRUNTIME=required asks for onnxruntime, numpy and Pillow: {found}");
            println!(
                "SKIPPED: {} lacks onnxruntime, numpy or Pillow, so the lines of docs/onnx.md are not run",
                name.display()
            );
            None
        }
    }
}

/// The folder `dist` of onnxruntime-web, where there is a `node` that runs it.
fn runtime_of_node() -> Option<PathBuf> {
    let skipped = |reason: &str| {
        println!("SKIPPED: {reason}, so the lines of JavaScript in docs/onnx.md are not run");
        None
    };
    let Some(dist) = var_os("DERMAFUSE_ONNXRUNTIME_WEB").map(PathBuf::from) else {
        return skipped("DERMAFUSE_ONNXRUNTIME_WEB names no folder of onnxruntime-web");
    };
    match Command::new("node").arg("--version").output() {
        Ok(output) if output.status.success() => Some(dist),
        found => {
            let found = found.map_or_else(|error| error.to_string(), |output| text(&output));
            assert!(!is_required(), "DERMAFUSE_ONNXRUNTIME=required asks for node: {found}");
            skipped("there is no node")
        }
    }
}

/// The only block of a language that has a word.
fn lines(language: &str, word: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/onnx.md");
    let page = fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let blocks: Vec<String> = blocks.filter(|block| block.contains(word)).collect();
    assert_eq!(blocks.len(), 1, "lines of {language} with {word}");
    blocks.concat()
}

fn photo(width: usize, height: usize, seed: usize) -> RgbPixels {
    let pixel = |at: usize| {
        let (x, y) = ((at % width) as f64 / width as f64 - 0.5, (at / width) as f64 / height as f64 - 0.5);
        let grain = ((at * 2_654_435_761) >> 9) % 20;
        let inside = (x * x + y * y).sqrt() + 0.02 * (40.0 * y).sin() < 0.2 + 0.05 * seed as f64;
        if inside { [84 + grain as u8, 48, 40] } else { [222, 180 - grain as u8, 158] }
    };
    RgbPixels::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap()
}

/// [`staged_model`] that prepares images as FusionM4Net's recipe does, and so the quickstart: resized as by OpenCV, blue first.
fn staged_as_released(folder: &Path) -> PathBuf {
    staged_with(folder, "as_released.safetensors", |own| Preprocess::as_released(own.size))
}

/// [`staged_model`] that looks at the square in the middle of a photo.
fn staged_cropped(folder: &Path) -> PathBuf {
    staged_with(folder, "cropped.safetensors", |own| Preprocess { framing: Framing::Crop, ..own })
}

fn staged_with(folder: &Path, name: &str, preprocess: fn(Preprocess) -> Preprocess) -> PathBuf {
    let mut bundle = Bundle::load(staged_model(folder), &Device::flex()).unwrap();
    bundle.description.preprocess = preprocess(bundle.description.preprocess);
    let file = folder.join(name);
    bundle.save(&file).unwrap();
    file
}

/// A folder with a model, its ONNX file, and two photos of a patient.
struct Case {
    folder: tempfile::TempDir,
    model: Model,
    file: PathBuf,
}

impl Case {
    /// Of a model that is a network, and of two with several views, a second stage and calibration.
    fn all() -> [Self; 3] {
        [saved_model, staged_model, staged_as_released].map(Self::new)
    }

    fn new(saved: fn(&Path) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = saved(folder.path());
        let model = Model::open(&file, &Device::flex()).unwrap();
        for (name, pixels) in [("clinical.jpg", photo(640, 480, 1)), ("dermoscopic.jpg", photo(501, 377, 3))] {
            fs::write(folder.path().join(name), encode_jpeg(&pixels, 92).unwrap()).unwrap();
        }
        Self { folder, model, file }
    }

    /// What the model's file is called.
    fn name(&self) -> String {
        self.file.file_stem().unwrap().to_string_lossy().into_owned()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets the program write the model for others.
    fn export(&self, words: &[&str]) {
        let mut command = program("dermafuse");
        let output =
            command.arg("export").arg(&self.file).args(words).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    /// The program's answer to what lies there now.
    fn answer(&self) -> Answer {
        let patient = Patient::new().clinical(self.at("clinical.jpg")).dermoscopic(self.at("dermoscopic.jpg"));
        self.model.predict(&patient.set("sex", "male").set("age", 61)).unwrap()
    }

    /// The largest difference of a probability from the program's; `of_line` gives those of each class.
    fn largest_difference(&self, output: &Output, of_line: fn(&str) -> BTreeMap<String, f64>) -> f64 {
        assert!(output.status.success(), "{}", text(output));
        let answer = self.answer();
        // Node breaks long objects.
        let printed =
            String::from_utf8_lossy(&output.stdout).replace("{\n", "{").replace(",\n", ",").replace("\n}", "}");
        let mut largest = 0.0_f64;
        let mut tasks = 0;
        for line in printed.lines() {
            let (task, classes) = line.split_once(' ').unwrap();
            let classes = of_line(classes);
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
        largest
    }
}

fn of_json(line: &str) -> BTreeMap<String, f64> {
    serde_json::from_str(line).unwrap()
}

/// As node prints an object: `{ BCC: 0.25, 'some class': 0.75 }`.
fn of_node(line: &str) -> BTreeMap<String, f64> {
    let inner = line.trim().trim_start_matches('{').trim_end_matches('}');
    let pairs = inner.split(',').map(|pair| pair.rsplit_once(':').unwrap());
    pairs.map(|(class, number)| (class.trim().trim_matches('\'').to_owned(), number.trim().parse().unwrap())).collect()
}

#[test]
fn a_few_lines_of_python_give_the_programs_probabilities() {
    for (case, ends_at) in Case::all().into_iter().zip(["P_1", "P_3 calibrated", "P_3 calibrated"]) {
        let Some(mut python) = python() else { return };
        assert_eq!(case.model.to_onnx().unwrap().ends_at, ends_at);
        case.export(&["--onnx", "model.onnx"]);
        fs::write(case.at("ask.py"), lines("python", "onnxruntime")).unwrap();
        let output = python.arg("ask.py").current_dir(case.folder.path()).output().unwrap();
        let largest = case.largest_difference(&output, of_json);
        println!("{}: Python's probabilities differ by at most {largest:.6} from the program's", case.name());
        assert!(largest <= BOUND, "{}: {largest}", case.name());
    }
}

#[test]
fn the_lines_of_python_stop_at_what_they_do_not_know() {
    let Some(mut python) = python() else { return };
    let case = Case::new(staged_cropped);
    case.export(&["--onnx", "model.onnx"]);
    fs::write(case.at("ask.py"), lines("python", "onnxruntime")).unwrap();
    let output = python.arg("ask.py").current_dir(case.folder.path()).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("KeyError: 'pillowcrop'"), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
}

/// Saves photos as cameras do, with colours at half the resolution, and what it decodes of them.
const HALVE_COLOURS: &str = "
from PIL import Image, JpegImagePlugin
for name in ('clinical', 'dermoscopic'):
    Image.open(name + '.png').save(name + '.jpg', quality=92, subsampling='4:2:0')
    photo = Image.open(name + '.jpg')
    assert JpegImagePlugin.get_sampling(photo) == 2
    open(name + '.rgb', 'wb').write(photo.convert('RGB').tobytes())
";

/// How far a byte may be from Pillow's: 1 of brightness, and of each colour 1 from decoding and 1 from where it is rounded twice on the way
/// to the full resolution, times 1.772, the most that one of them counts.
const PIXEL_BOUND: u8 = 5;

#[test]
fn colours_at_half_the_resolution_are_smoothed_as_by_libjpeg() {
    let Some(mut python) = python() else { return };
    let case = Case::new(staged_model);
    case.export(&["--onnx", "model.onnx"]);
    // Sides of whole and of cut blocks.
    for (name, pixels) in [("clinical", photo(640, 480, 1)), ("dermoscopic", photo(501, 377, 3))] {
        fs::write(case.at(&format!("{name}.png")), encode_png(&pixels)).unwrap();
    }
    let code = format!("{HALVE_COLOURS}{}", lines("python", "onnxruntime"));
    fs::write(case.at("ask.py"), code).unwrap();
    let output = python.arg("ask.py").current_dir(case.folder.path()).output().unwrap();
    let largest = case.largest_difference(&output, of_json);
    println!(
        "colours at half the resolution: Python's probabilities differ by at most {largest:.6} from the program's"
    );
    assert!(largest <= BOUND, "{largest}");
    for name in ["clinical", "dermoscopic"] {
        let own = decode(case.at(&format!("{name}.jpg")), Strictness::Strict).unwrap();
        let pillows = fs::read(case.at(&format!("{name}.rgb"))).unwrap();
        assert_eq!(own.data().len(), pillows.len());
        let differences = || own.data().iter().zip(&pillows).map(|(own, other)| own.abs_diff(*other));
        let most = differences().max().unwrap();
        let mean = differences().map(f64::from).sum::<f64>() / pillows.len() as f64;
        println!("{name}: bytes differ by at most {most} of 255 and by {mean:.3} in the mean from Pillow's");
        assert!(most <= PIXEL_BOUND && mean < 0.5, "{name}: {most}, {mean}");
        // A decoder that repeated each colour four times would be far off at the lesion's edge: this is what the bound tells apart.
        let repeated = repeated_colours(&case.at(&format!("{name}.png")));
        let most = repeated.data().iter().zip(&pillows).map(|(own, other)| own.abs_diff(*other)).max().unwrap();
        assert!(most > 2 * PIXEL_BOUND, "{name}: {most}");
    }
}

/// A photo whose colours are the means of four pixels, repeated.
fn repeated_colours(file: &Path) -> RgbPixels {
    let pixels = decode(file, Strictness::Strict).unwrap();
    let (width, height) = (pixels.width(), pixels.height());
    let at = |x: usize, y: usize| -> [f64; 3] {
        let pixel = 3 * (y.min(height - 1) * width + x.min(width - 1));
        [0, 1, 2].map(|channel| f64::from(pixels.data()[pixel + channel]))
    };
    let brightness = |[r, g, b]: [f64; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
    let mut bytes = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let own = brightness(at(x, y));
            let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(right, down)| at(x / 2 * 2 + right, y / 2 * 2 + down));
            let mean = [0, 1, 2].map(|channel| four.iter().map(|pixel| pixel[channel]).sum::<f64>() / 4.0);
            let offset = own - brightness(mean);
            bytes.extend(mean.map(|value| (value + offset).round().clamp(0.0, 255.0) as u8));
        }
    }
    RgbPixels::new(width, height, bytes).unwrap()
}

/// `sharp`, as the lines use it, over pixels that the program decoded.
const DECODED: &str = r#"
import { readFileSync } from "node:fs";
export default (photo) => ({
  rotate() { return this; },
  ensureAlpha() { return this; },
  raw() { return this; },
  async toBuffer() { return { data: readFileSync(`${photo}.rgba`), info: JSON.parse(readFileSync(`${photo}.json`, "utf8")) }; },
});
"#;

/// onnxruntime-web of a folder that has not all of the package: what a page has of it, with the file that a browser would fetch.
const RUNTIME: &str = r#"
import { readFileSync } from "node:fs";
import * as runtime from "DIST/ort.wasm.min.mjs";
runtime.env.wasm.wasmBinary = readFileSync(new URL("DIST/ort-wasm-simd-threaded.wasm"));
runtime.env.wasm.numThreads = 1;
export * from "DIST/ort.wasm.min.mjs";
"#;

/// A package of one module.
fn package(folder: &Path, module: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("package.json"), r#"{ "type": "module", "exports": "./index.js" }"#).unwrap();
    fs::write(folder.join("index.js"), module).unwrap();
}

#[test]
fn a_few_lines_of_javascript_give_the_programs_probabilities() {
    let Some(dist) = runtime_of_node() else { return };
    for case in Case::all().into_iter().chain([Case::new(staged_cropped)]) {
        asked_by_javascript(&case, &dist);
    }
}

fn asked_by_javascript(case: &Case, dist: &Path) {
    case.export(&["--web", "page", "--runtime", dist.to_str().unwrap()]);
    fs::write(case.at("ask.mjs"), lines("js", "onnxruntime-web")).unwrap();
    let packages = case.at("node_modules");
    let dist = fs::canonicalize(dist).unwrap();
    package(&packages.join("onnxruntime-web"), &RUNTIME.replace("DIST", &format!("file://{}", dist.display())));
    let sharp = dist.ancestors().nth(2).map(|packages| packages.join("sharp")).filter(|folder| folder.is_dir());
    match &sharp {
        Some(sharp) => {
            let module = format!(
                "import {{ createRequire }} from \"node:module\";\nexport default createRequire(\"file://{}/\")(\"sharp\");\n",
                sharp.ancestors().nth(2).unwrap().display()
            );
            package(&packages.join("sharp"), &module);
        }
        None => {
            println!("there is no package sharp beside onnxruntime-web: the pixels are those that the program decodes");
            package(&packages.join("sharp"), DECODED);
            for photo in ["clinical.jpg", "dermoscopic.jpg"] {
                let pixels = decode(case.at(photo), Strictness::Strict).unwrap();
                let rgba: Vec<u8> = pixels.data().chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
                fs::write(case.at(&format!("{photo}.rgba")), rgba).unwrap();
                let sides = serde_json::json!({ "width": pixels.width(), "height": pixels.height() });
                fs::write(case.at(&format!("{photo}.json")), sides.to_string()).unwrap();
            }
        }
    }
    let output = Command::new("node").arg("ask.mjs").current_dir(case.folder.path()).output().unwrap();
    let largest = case.largest_difference(&output, of_node);
    println!("{}: JavaScript's probabilities differ by at most {largest:.6} from the program's", case.name());
    // Without JPEGs between them nothing but last digits differs.
    let bound = if sharp.is_some() { BOUND } else { 1e-5 };
    assert!(largest <= bound, "{largest}");
}
