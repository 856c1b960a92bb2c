//! What a program pays that embeds a one-tower MobileNetV3-Small: from its start to the first answer, memory at rest and at its peak
//! with a photo of 12 megapixels, and answers a second for 1, 2 and 8 callers. Each is measured in a process of its own (Linux).
//!
//! `cargo bench -p dermafuse-benches --bench call_cost`

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dermafuse::backbones::BackboneKind;
use dermafuse::{Device, Model, Patient};
use dermafuse_benches::{large_photo, megabytes_of_process, one_tower, photo};

/// How long each number of callers asks.
const ASKING: Duration = Duration::from_secs(4);
/// Starts, of which the median counts.
const STARTS: usize = 9;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("call-cost.safetensors");
    match arguments.get(1).map(String::as_str) {
        Some("start") => {
            first_answer(&file, folder);
        }
        Some("rest") => {
            let model = first_answer(&file, folder);
            println!(
                "at rest after an answer: {:.1} MB, at most {:.1} MB until then",
                megabytes_of_process("VmRSS:"),
                megabytes_of_process("VmHWM:")
            );
            let large = std::fs::read(folder.join("call-cost-12mp.jpg")).expect("it was written");
            model.predict(&Patient::new().clinical(large)).expect("an answer");
            println!(
                "after a photo of 12 megapixels: {:.1} MB, at most {:.1} MB",
                megabytes_of_process("VmRSS:"),
                megabytes_of_process("VmHWM:")
            );
        }
        Some("callers") => {
            let callers = arguments[2].parse().expect("a number");
            let model = first_answer(&file, folder);
            println!("{callers} callers: {:.1} answers a second", throughput(&model, callers));
        }
        _ => measure(&file, folder),
    }
}

fn measure(file: &Path, folder: &Path) {
    one_tower(BackboneKind::MobileNetV3Small).save(file).expect("the target folder is writable");
    std::fs::write(folder.join("call-cost.jpg"), photo()).expect("as before");
    std::fs::write(folder.join("call-cost-12mp.jpg"), large_photo()).expect("as before");
    let bytes = std::fs::metadata(file).expect("it was written").len();
    println!("model file: {:.1} MB", bytes as f64 / 1e6);
    let program = std::env::current_exe().expect("this program has a path");
    let run = |words: &[&str]| {
        let status = Command::new(&program).args(words).status().expect("this program runs");
        assert!(status.success(), "{words:?}: {status}");
    };
    let mut starts: Vec<f64> = (0..STARTS)
        .map(|_| {
            let begun = Instant::now();
            run(&["start"]);
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    starts.sort_by(f64::total_cmp);
    println!(
        "from the start of the program to its end after one answer: {:.0} ms ({STARTS} starts)",
        starts[STARTS / 2]
    );
    run(&["rest"]);
    for callers in ["1", "2", "8"] {
        run(&["callers", callers]);
    }
}

/// Opens the model and asks it once.
fn first_answer(file: &Path, folder: &Path) -> Model {
    let model = Model::open(file, &Device::flex()).expect("a model");
    model.predict(&Patient::new().clinical(folder.join("call-cost.jpg"))).expect("an answer");
    model
}

/// Answers a second of so many threads that ask at once, each about a photo of 600 x 450 pixels in memory.
fn throughput(model: &Model, callers: usize) -> f64 {
    let (patient, answers) = (Patient::new().clinical(photo()), AtomicUsize::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while begun.elapsed() < ASKING {
                    model.predict(&patient).expect("an answer");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    answers.into_inner() as f64 / begun.elapsed().as_secs_f64()
}
