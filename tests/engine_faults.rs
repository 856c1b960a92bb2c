//! Libraries of engines that are absent, too old, of another machine, or not what they say: an error that says what to do, and nothing else.
//!
//! Where a library is absent its tests are skipped with a word, unless `DERMAFUSE_ONNXRUNTIME=required` or
//! `DERMAFUSE_OPENVINO=required` is set. Libraries that lie are made by a compiler of C, where there is one.

#![cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), allow(unused_imports))]

use std::env::var;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dermafuse::infer::Engine;
use dermafuse_tests::engine_library::LIBRARIES;
use dermafuse_tests::{program, saved_model, small_set, text};

/// The program, asked about two photos with these words more.
fn predict(model: &Path, words: &[&str]) -> Output {
    let (set, split) = small_set();
    let case = &set.cases[split.test[0]];
    let mut command = program("dermafuse");
    command
        .arg("predict")
        .arg(model)
        .arg("--clinical")
        .arg(&case.clinical[0])
        .arg("--dermoscopic")
        .arg(&case.dermoscopic[0]);
    command.args(["--field", "sex=female", "--field", "age=50"]).args(words).output().unwrap()
}

#[test]
fn what_is_no_library_is_said_and_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let model = saved_model(folder.path());
    let refused = |engine: &str| {
        let output = predict(&model, &["--engine", engine]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    for library in LIBRARIES {
        let name = library.name;
        let absent = folder.path().join("absent.so");
        let error = refused(&format!("{name}:library={}", absent.display()));
        assert!(error.contains("was not found; looked for") && error.contains("absent.so"), "{error}");
        assert!(error.contains(&format!("pip install {}", library.name)), "{error}");
        let page = folder.path().join("page.so");
        fs::write(&page, "<html>404</html>").unwrap();
        assert!(refused(&format!("{name}:library={}", page.display())).contains("it is no shared library"));
    }
    // A variable that names nothing is no reason to look elsewhere.
    let mut command = program("dermafuse");
    command.arg("predict").arg(&model).args(["--clinical", "a.jpg", "--engine", "onnxruntime"]);
    let output = command.env("ORT_DYLIB_PATH", folder.path().join("nowhere.so")).output().unwrap();
    assert!(text(&output).contains("nowhere.so (ORT_DYLIB_PATH)"), "{}", text(&output));

    let unknown = predict(&model, &["--engine", "tensorrt"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown).contains("the engines are burn, onnxruntime, openvino"), "{}", text(&unknown));
}

/// A library of these functions, if there is a compiler of C.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn compiled(folder: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let (from, to) = (folder.join("library.c"), folder.join(name));
    fs::write(&from, source).unwrap();
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&to).arg(&from).status();
    match status {
        Ok(status) if status.success() => Some(to),
        _ => {
            eprintln!("SKIPPED: no compiler of C makes a library that lies");
            None
        }
    }
}

/// An ONNX Runtime that says this version of itself and gives no functions.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn onnx_runtime(version: &str) -> String {
    format!(
        "struct api {{ const void *(*get)(unsigned); const char *(*version)(void); }};\n\
         static const void *get(unsigned version) {{ return 0; }}\n\
         static const char *version(void) {{ return \"{version}\"; }}\n\
         static struct api own = {{ get, version }};\n\
         const struct api *OrtGetApiBase(void) {{ return &own; }}\n"
    )
}

/// The functions that an OpenVINO must have.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn open_vino_functions() -> impl Iterator<Item = &'static str> {
    let source = include_str!("../crates/dermafuse-infer/src/open_vino.rs");
    source.split('"').filter(|word| word.starts_with("ov_") && !word.contains(char::is_whitespace))
}

/// An OpenVINO that says this version of itself, and whose functions fail.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn open_vino(version: &str) -> String {
    let own = ["ov_get_openvino_version", "ov_version_free", "ov_get_last_err_msg"];
    let failing = open_vino_functions().filter(|name| !own.contains(name));
    let failing: String = failing.map(|name| format!("int {name}(void) {{ return -1; }}\n")).collect();
    format!(
        "struct version {{ const char *build; const char *description; }};\n\
         int ov_get_openvino_version(struct version *own) {{ own->build = \"{version}\"; own->description = \"\"; return 0; }}\n\
         void ov_version_free(struct version *own) {{ }}\n\
         const char *ov_get_last_err_msg(void) {{ return 0; }}\n{failing}"
    )
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_library_that_lies_or_is_too_old_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = saved_model(folder.path());
    let refused = |engine: String| {
        let output = predict(&model, &["--engine", &engine]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(!text(&output).contains("panicked"), "{}", text(&output));
        text(&output)
    };
    let Some(old) = compiled(folder.path(), "libonnxruntime.so.1.17.0", &onnx_runtime("1.17.0")) else { return };
    let error = refused(format!("onnxruntime:library={}", old.display()));
    assert!(error.contains("it is of version 1.17.0, and 1.24 or a later one is needed"), "{error}");
    assert!(error.contains("pip install onnxruntime"), "{error}");
    let lying = compiled(folder.path(), "libonnxruntime.so.1.99.0", &onnx_runtime("1.99.0")).unwrap();
    let error = refused(format!("onnxruntime:library={}", lying.display()));
    assert!(error.contains("it has no functions of version 1.24, whatever it says of itself"), "{error}");
    for (version, said) in [
        (
            "2024.6.0-17404-4c0f47d2335-releases/2024/6",
            "it says that it is of version `2024.6.0`, and 2025.1 or a later",
        ),
        ("2025.0.0-17942", "it says that it is of version `2025.0.0`, and 2025.1 or a later one is needed"),
        ("custom_build", "it says that it is of version `custom_build`, and 2025.1 or a later one is needed"),
        ("", "it says that it is of version ``, and 2025.1 or a later one is needed"),
        // It has the functions of a new one, and none of them works.
        ("2026.9.0-1", "general error"),
    ] {
        let lying = compiled(folder.path(), "libopenvino_c.so.2099", &open_vino(version)).unwrap();
        let error = refused(format!("openvino:library={}", lying.display()));
        assert!(error.contains(said) && error.contains("pip install openvino"), "{version}: {error}");
    }
    let names: String = open_vino_functions().map(|name| format!("{name}\\0")).collect();
    let empty = format!("const char names[] = \"{names}\";\nconst char *answer(void) {{ return names; }}\n");
    let empty = compiled(folder.path(), "libempty.so", &empty).unwrap();
    let error = refused(format!("openvino:library={}", empty.display()));
    assert!(error.contains("it lacks a function, or says something of itself that cannot be read"), "{error}");
    let other = compiled(folder.path(), "libother.so", "int answer(void) { return 42; }\n").unwrap();
    for (name, function) in [("onnxruntime", "OrtGetApiBase"), ("openvino", "ov_compiled_model_create_infer_request")] {
        let error = refused(format!("{name}:library={}", other.display()));
        assert!(
            error.contains(&format!("it has no function `{function}`: it is too old, or another library")),
            "{error}"
        );
    }
    // One of another processor, by what its head says.
    let mut foreign = fs::read(&other).unwrap();
    foreign[18..20].copy_from_slice(&[0xB7, 0]);
    let aarch64 = folder.path().join("libaarch64.so");
    fs::write(&aarch64, foreign).unwrap();
    let error = refused(format!("openvino:library={}", aarch64.display()));
    assert!(error.contains("it is for Linux on aarch64, and this program is for Linux on x86_64"), "{error}");
}

/// The variable with engines, a line each, that a process of its own is to ask.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const ASKED: &str = "DERMAFUSE_TEST_ENGINES";

/// What this process says of engines that are asked for one after the other.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn asked_in_a_process(engines: &[&str]) -> Vec<String> {
    let name = "a_second_library_is_never_taken_for_the_first";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(ASKED, engines.join("\n")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("panicked"), "{}", text(&output));
    let said = text(&output);
    let said: Vec<String> = said.lines().filter_map(|line| line.strip_prefix("SAID ")).map(str::to_owned).collect();
    assert_eq!(said.len(), engines.len(), "{said:?}");
    said
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_second_library_is_never_taken_for_the_first() {
    if let Ok(engines) = var(ASKED) {
        // The libraries of a process are its own, so that this is one.
        println!();
        for engine in engines.lines() {
            println!("SAID {}", engine.parse::<Engine>().unwrap().open(b"no network").unwrap_err());
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, source: &str| compiled(folder.path(), name, source).map(|path| path.display().to_string());
    let Some(old) = at("libopenvino_c.so.2460", &open_vino("2024.6.0-17404")) else { return };
    let broken = at("libopenvino_c.so.2690", &open_vino("2026.9.0-1")).unwrap();
    let [of_old, of_broken] = [&old, &broken].map(|path| format!("openvino:library={path}"));
    let absent = format!("openvino:library={}", folder.path().join("absent").display());
    if let Some(good) = LIBRARIES[1].words("") {
        // What is wrong with the first is said of the first, and the second is not called by its name.
        for (bad, reason) in [(&of_old, "it says that it is of version `2024.6.0`"), (&of_broken, "general error")] {
            let said = asked_in_a_process(&[bad, &good, bad]);
            let bad = bad.split_once('=').unwrap().1;
            assert!(said[0].starts_with(bad) && said[0].contains(reason), "{said:?}");
            assert!(
                said[1].starts_with(&format!("the library of OpenVINO is {bad} in this process, which")),
                "{said:?}"
            );
            assert!(said[1].contains(reason) && said[1].contains("in a new process"), "{said:?}");
            assert_eq!(said[2], said[0]);
        }
        // Nothing stays of one that is not there.
        let said = asked_in_a_process(&[&absent, &good, &of_broken, &good]);
        assert!(said[0].contains("was not found"), "{said:?}");
        assert!(said[1].starts_with("OpenVINO 20") && said[1].contains("cannot run the network"), "{said:?}");
        assert!(said[2].contains(&format!("and cannot be {broken} too")), "{said:?}");
        assert_eq!(said[3], said[1]);
    }
    let of_old = format!("onnxruntime:library={}", at("libonnxruntime.so.1.17.0", &onnx_runtime("1.17.0")).unwrap());
    let lying = at("libonnxruntime.so.1.99.0", &onnx_runtime("1.99.0")).unwrap();
    let of_lying = format!("onnxruntime:library={lying}");
    if let Some(good) = LIBRARIES[0].words("") {
        // One that says that it is too old is let go.
        let said = asked_in_a_process(&[&of_old, &good]);
        assert!(said[0].contains("1.24 or a later one is needed"), "{said:?}");
        assert!(said[1].starts_with("ONNX Runtime 1.") && said[1].contains("cannot run the network"), "{said:?}");
        let said = asked_in_a_process(&[&of_lying, &good, &of_lying]);
        assert!(
            said[1].starts_with(&format!("the library of ONNX Runtime is {lying} in this process, which")),
            "{said:?}"
        );
        assert!(said[0].contains("whatever it says of itself") && said[2] == said[0], "{said:?}");
    }
}
