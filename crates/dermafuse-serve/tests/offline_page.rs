//! The files of a page without a server.

use std::fs;
use std::path::{Path, PathBuf};

use dermafuse_infer::sha256_hex;
use dermafuse_serve::OfflinePage;

/// What the page takes of the npm package.
const RUNTIME: [&str; 3] = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];

/// A folder like the package's `dist`.
fn runtime(folder: &Path) -> PathBuf {
    let dist = folder.join("onnxruntime-web/dist");
    fs::create_dir_all(&dist).unwrap();
    for file in RUNTIME {
        fs::write(dist.join(file), b"\0asm and more").unwrap();
    }
    dist
}

#[test]
fn a_page_has_all_files_that_it_names_and_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let dist = runtime(folder.path());
    let out = folder.path().join("page");
    fs::create_dir(&out).unwrap(); // an empty folder is taken
    let page = OfflinePage::new(&out, Some(&dist)).unwrap();
    let files = page.files(b"model");
    page.write(b"model").unwrap();
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let index = read("index.html");
    assert!(index.contains("Content-Security-Policy") && index.contains("connect-src 'self'"), "{index}");
    assert!(index.find("Content-Security-Policy") < index.find("<link") && !index.contains("openapi"), "{index}");
    let mut named: Vec<String> = ["model.onnx", "service.js", "texts.json", "rules.json"].map(str::to_owned).to_vec();
    for (file, before) in [("index.html", "href=\""), ("index.html", "src=\"")]
        .into_iter()
        .chain(["app.js", "source.js", "pixels.js", "answer.js"].map(|script| (script, "from \"./")))
    {
        let text = read(file);
        let names = text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
        named.extend(names.filter(|name| !name.starts_with('#')).map(str::to_owned));
    }
    assert!(named.len() > 14, "{named:?}");
    for name in &named {
        assert!(out.join(name).is_file(), "{name}");
    }
    // No script but the runtime's names another machine.
    for (name, bytes) in files.iter().filter(|(name, _)| !RUNTIME.contains(name) && **name != "model.onnx") {
        let text = String::from_utf8(bytes.clone()).unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        assert!(!text.contains("innerHTML") && !text.contains("eval(") && !text.contains("style=\""), "{name}");
    }
    // The browser keeps every file but the script that does it, and knows them by their sums.
    let service = read("service.js");
    for (name, bytes) in files.iter().filter(|(name, _)| **name != "service.js") {
        assert!(service.contains(&format!("\"{name}\": \"{}\"", sha256_hex(bytes))), "{name}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), files.len());
    // Another model is another version.
    let other = OfflinePage::new(folder.path().join("other"), dist.parent()).unwrap().files(b"other");
    assert_ne!(other["service.js"], files["service.js"]);
    assert_eq!(other["app.js"], files["app.js"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn what_is_missing_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("page");
    let error = |runtime: Option<&Path>| OfflinePage::new(&out, runtime).unwrap_err().to_string();
    assert!(error(None).contains("npm pack onnxruntime-web@1.30.0"), "{}", error(None));
    let text = error(Some(folder.path()));
    assert!(text.contains("has no `ort.wasm.min.mjs`") && text.contains("node_modules"), "{text}");
    let dist = runtime(folder.path());
    fs::write(dist.join(RUNTIME[2]), b"<html>").unwrap();
    assert!(error(Some(&dist)).contains("is not WebAssembly"));

    fs::write(dist.join(RUNTIME[2]), b"\0asm").unwrap();
    let text = OfflinePage::new(&dist, Some(&dist)).unwrap_err().to_string();
    assert!(text.contains("holds `ort") && text.contains("new or empty"), "{text}");
    let text = OfflinePage::new(dist.join(RUNTIME[0]), Some(&dist)).unwrap_err().to_string();
    assert!(text.contains("cannot write"), "{text}");
    let page = OfflinePage::new(&out, Some(&dist)).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), b"1").unwrap(); // meanwhile
    assert!(page.write(b"model").unwrap_err().to_string().contains("holds `mine`"));
    assert_eq!(fs::read_dir(&dist).unwrap().count(), RUNTIME.len());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
