//! Memory of a process that opens a model of one ResNet-50 and answers with each engine: at rest after an answer, and at most until then
//! and until 32 patients were answered in batches of 16. Each engine has a process of its own (Linux).
//!
//! `cargo bench --workspace --bench engine_memory`

use std::path::Path;
use std::process::Command;

use dermafuse::backbones::BackboneKind;
use dermafuse::data::CaseSet;
use dermafuse::infer::Engine;
use dermafuse::schema::Case;
use dermafuse::{Device, Model, Patient};
use dermafuse_benches::{megabytes_of_process, one_case, one_tower, photo};

/// The engines, by their words.
const ENGINES: [&str; 4] = ["burn", "onnxruntime", "openvino", "openvino:precision=bf16"];
/// Two batches of them.
const PATIENTS: usize = 32;

fn main() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-memory.safetensors");
    let asked = std::env::args().nth(1).filter(|word| ENGINES.contains(&word.as_str()));
    if let Some(engine) = asked {
        return answer(&file, &engine);
    }
    one_tower(BackboneKind::ResNet50).save(&file).expect("the target folder is writable");
    let bytes = std::fs::metadata(&file).expect("it was written").len();
    println!("model file: {:.0} MB", bytes as f64 / 1e6);
    let program = std::env::current_exe().expect("this program has a path");
    for engine in ENGINES {
        let status = Command::new(&program).arg(engine).status().expect("this program runs");
        if !status.success() {
            println!("{engine}: {status}");
        }
    }
}

fn answer(file: &Path, engine: &str) {
    let model = Model::open(file, &Device::flex()).expect("a model");
    let model = match engine {
        "burn" => model,
        words => match model.engine(&words.parse::<Engine>().expect("words of an engine")) {
            Ok(model) => model,
            Err(error) => return println!("{engine}: {error}"),
        },
    };
    let patient = Patient::new().clinical(photo());
    model.predict(&patient).expect("an answer");
    let (rest, first) = (megabytes_of_process("VmRSS:"), megabytes_of_process("VmHWM:"));
    let file = file.with_extension("jpg");
    std::fs::write(&file, photo()).expect("the target folder is writable");
    let one = one_case();
    let case = |at: usize| Case {
        clinical: vec![file.clone().into()],
        labels: one.cases[0].labels.clone(),
        ..Case::new(at.to_string())
    };
    let cases = CaseSet { cases: (0..PATIENTS).map(case).collect(), ..one.clone() };
    let cases = cases.view((0..PATIENTS).collect::<Vec<_>>()).expect("all of its cases");
    model.bundle().predict(&cases, |_| ()).expect("answers");
    let many = megabytes_of_process("VmHWM:");
    println!("{engine}: at rest {rest:.0} MB, at most {first:.0} MB until then, {many:.0} MB with {PATIENTS} patients");
}
