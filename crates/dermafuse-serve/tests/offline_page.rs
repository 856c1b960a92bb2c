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
    let page = OfflinePage::new(b"model".to_vec(), Some(&dist)).unwrap();
    let out = folder.path().join("page");
    fs::create_dir(&out).unwrap(); // an empty folder is taken
    page.write(&out).unwrap();
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
    for (name, bytes) in page.files().filter(|(name, _)| !RUNTIME.contains(name) && *name != "model.onnx") {
        let text = String::from_utf8(bytes.to_vec()).unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        assert!(!text.contains("innerHTML") && !text.contains("eval(") && !text.contains("style=\""), "{name}");
    }
    // The browser keeps every file but the script that does it, and knows them by their sums.
    let service = read("service.js");
    for (name, bytes) in page.files().filter(|(name, _)| *name != "service.js") {
        assert!(service.contains(&format!("\"{name}\": \"{}\"", sha256_hex(bytes))), "{name}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), page.files().count());
    // Another model is another version.
    let other = OfflinePage::new(b"other".to_vec(), dist.parent()).unwrap();
    let service = |page: &OfflinePage| page.files().find(|(name, _)| *name == "service.js").unwrap().1.to_vec();
    assert_ne!(service(&other), service(&page));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn what_is_missing_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let error = |runtime: Option<&Path>| OfflinePage::new(Vec::new(), runtime).unwrap_err().to_string();
    assert!(error(None).contains("npm pack onnxruntime-web@1.30.0"), "{}", error(None));
    let text = error(Some(folder.path()));
    assert!(text.contains("has no `ort.wasm.min.mjs`") && text.contains("node_modules"), "{text}");
    let dist = runtime(folder.path());
    fs::write(dist.join(RUNTIME[2]), b"<html>").unwrap();
    assert!(error(Some(&dist)).contains("is not WebAssembly"));

    fs::write(dist.join(RUNTIME[2]), b"\0asm").unwrap();
    let page = OfflinePage::new(Vec::new(), Some(&dist)).unwrap();
    let text = page.write(&dist).unwrap_err().to_string();
    assert!(text.contains("holds `ort") && text.contains("new or empty"), "{text}");
    let text = page.write(dist.join(RUNTIME[0])).unwrap_err().to_string();
    assert!(text.contains("cannot write"), "{text}");
    assert_eq!(fs::read_dir(&dist).unwrap().count(), RUNTIME.len());
}
