//! The page of `dermafuse serve` in a real browser, with the program as it is built.
//!
//! Where there is no Chromium this is skipped with a word, unless `DERMAFUSE_BROWSER=required` is set. With `DERMAFUSE_PICTURES=DIR` it
//! leaves pictures of the page there, of the model and the photos that `DERMAFUSE_PICTURES_MODEL`, `…_CLINICAL` and `…_DERMOSCOPIC` name.

use std::collections::HashSet;
use std::env::var_os;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use dermafuse::data::{RgbPixels, encode_jpeg};
use dermafuse_tests::chromium::{Chromium, decode};
use dermafuse_tests::{program, saved_model};
use serde_json::{Value, json};

/// The program, serving.
struct Serving {
    process: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Serving {
    fn start(model: &Path, options: &[&str]) -> Self {
        let mut command = program("dermafuse");
        command.arg("serve").arg(model).args(["--port", "0"]).args(options);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.split(' ').find(|word| word.starts_with("http://"));
        let Some(address) = address.map(str::to_owned) else {
            let mut errors = String::new();
            process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("{line} {errors}");
        };
        Self { process, output, address }
    }

    /// Ends it as Ctrl-C does, and gives its audit lines.
    fn end(mut self) -> String {
        let interrupt = Command::new("kill").arg("-INT").arg(self.process.id().to_string()).status().unwrap();
        assert!(interrupt.success());
        let mut errors = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(self.process.wait().unwrap().success(), "{errors}");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        errors
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The browser; none where there is none and it is not required.
fn browser() -> Option<Chromium> {
    match Chromium::find() {
        Some(program) => Some(Chromium::start(&program)),
        None if var_os("DERMAFUSE_BROWSER").is_some_and(|wish| wish == "required") => {
            panic!("there is no chromium in PATH, and DERMAFUSE_BROWSER=required asks for one")
        }
        None => {
            println!("SKIPPED: there is no chromium in PATH, so the page is not tried in a browser");
            None
        }
    }
}

/// A photo of a dark spot.
fn photo(folder: &Path, name: &str, seed: usize) -> PathBuf {
    let pixel = |at: usize| {
        let (x, y) = (at % 160, at / 160);
        let inside = (x as i64 - 80).pow(2) + (y as i64 - 60).pow(2) < 900 + 300 * seed as i64;
        if inside { [90, 50, 40 + (x % 7 * seed) as u8] } else { [224, 180, 160 + (y % 5) as u8] }
    };
    let pixels = RgbPixels::new(160, 120, (0..160 * 120).flat_map(pixel).collect()).unwrap();
    let path = folder.join(name);
    fs::write(&path, encode_jpeg(&pixels, 90).unwrap()).unwrap();
    path
}

/// Whether the banner is in sight, wherever the page is scrolled to.
const BANNER_IN_SIGHT: &str = "(() => { const b = document.getElementById('banner').getBoundingClientRect(); \
     return b.top >= 0 && b.bottom <= innerHeight && b.height > 10 && b.width > innerWidth / 2; })()";

#[test]
fn two_photos_give_a_class_and_heat_maps_and_nothing_leaves_the_machine() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let model = saved_model(folder.path());
    let serving = Serving::start(&model, &["--store", folder.path().join("answers").to_str().unwrap()]);
    browser.resize(1100, 900, false);
    browser.open(&serving.address);
    browser.wait("!document.getElementById('case').hidden");

    // What a screen reader says of everything that can be used.
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let usable = ["button", "textbox", "combobox", "spinbutton", "checkbox", "link"];
    let mut named = Vec::new();
    for node in tree["nodes"].as_array().unwrap() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        if usable.contains(&role) && node["ignored"] != true {
            let name = node["name"]["value"].as_str().unwrap_or_default();
            assert!(!name.trim().is_empty(), "a {role} has no name: {node}");
            named.push(name.to_owned());
        }
    }
    for name in
        ["Clinical photo Choose or drop a file", "Dermoscopic image Choose or drop a file", "Ask the model", "Language"]
    {
        assert!(named.iter().any(|known| known == name), "{name}: {named:?}");
    }

    // Nothing chosen is told, and the form is not sent.
    browser.run("document.getElementById('ask').click()");
    browser.wait("document.getElementById('error').innerText.includes('Choose an image')");
    assert_eq!(browser.text("document.activeElement.id"), "error");

    // Photos are chosen; the clinical one is dropped, as a mouse would.
    let (clinical, dermoscopic) = (photo(folder.path(), "Jane Doe.jpg", 1), photo(folder.path(), "b.jpg", 2));
    browser.choose("#dermoscopic", &dermoscopic);
    browser.run(&format!(
        "(async () => {{ const bytes = Uint8Array.from(atob('{}'), (c) => c.charCodeAt(0)); const dropped = new DataTransfer(); \
         dropped.items.add(new File([bytes], 'Jane Doe.jpg', {{ type: 'image/jpeg' }})); \
         document.getElementById('slot-clinical').dispatchEvent(new DragEvent('drop', {{ dataTransfer: dropped, bubbles: true, cancelable: true }})); }})()",
        encode(&fs::read(&clinical).unwrap())
    ));
    for view in ["clinical", "dermoscopic"] {
        browser.wait(&format!("document.getElementById('preview-{view}').naturalWidth === 160"));
    }

    // Everything is reached by the keyboard, and it asks.
    browser.run("document.activeElement.blur(); window.focus()");
    let mut reached = HashSet::new();
    for _ in 0..40 {
        browser.press("Tab", 9, "");
        let id = browser.text("document.activeElement.id || document.activeElement.tagName");
        if id == "fields.sex" {
            browser.press("m", 77, "m"); // chooses male
        }
        if id == "fields.age" {
            for digit in ["6", "1"] {
                browser.press(digit, digit.parse::<u32>().unwrap() + 48, digit);
            }
        }
        let ask = id == "ask";
        reached.insert(id);
        if ask {
            break;
        }
    }
    for id in [
        "language",
        "theme",
        "clinical",
        "remove-clinical",
        "dermoscopic",
        "fields.sex",
        "fields.age",
        "explain",
        "ask",
    ] {
        assert!(reached.contains(id), "{id}: {reached:?}");
    }
    assert_eq!(browser.text("document.getElementById('fields.sex').value"), "male");
    browser.press("Enter", 13, "\r");
    browser.wait("!document.getElementById('answer').hidden");
    assert_eq!(browser.text("document.activeElement.id"), "answer-title");
    browser.wait("!document.getElementById('explanation').hidden");

    // The class that is shown is the one that the API gives.
    let request = format!("{}v1/predict", serving.address);
    let answer: Value = serde_json::from_str(&browser.text(&format!(
        "(async () => {{ const body = new FormData(); const file = (text) => new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]); \
         body.append('clinical', file('{}'), 'x'); body.append('dermoscopic', file('{}'), 'x'); \
         body.append('fields.sex', 'male'); body.append('fields.age', '61'); \
         return JSON.stringify(await (await fetch('{request}', {{ method: 'POST', body }})).json()); }})()",
        encode(&fs::read(&clinical).unwrap()),
        encode(&fs::read(&dermoscopic).unwrap())
    )))
    .unwrap();
    let top = &answer["tasks"][0]["classes"][0];
    let shown = browser.text("document.getElementById('top').innerText");
    let percent = format!("{:.1}%", 100.0 * top["probability"].as_f64().unwrap());
    assert!(shown.contains(top["name"].as_str().unwrap()) && shown.contains(&percent), "{shown}: {top}");
    let text = browser.text("document.getElementById('answer').innerText");
    for part in ["Clinical photo, Dermoscopic image", "male", "61"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let rows = browser.run("document.querySelectorAll('#tasks tbody tr').length");
    let classes: usize =
        answer["tasks"].as_array().unwrap().iter().map(|task| task["classes"].as_array().unwrap().len()).sum();
    assert_eq!(rows, classes);

    // The heat maps are pictures of the photos, and not the photos.
    browser.wait("[...document.querySelectorAll('#heat img')].length === 4 && [...document.querySelectorAll('#heat img')].every((i) => i.naturalWidth === 160)");
    for at in [0, 2] {
        let source = |browser: &mut Chromium, at: usize| {
            let url = browser.text(&format!("document.querySelectorAll('#heat img')[{at}].src"));
            let (kind, data) = url.split_once(',').unwrap();
            (kind.to_owned(), decode(data))
        };
        let ((photo_kind, photo), (kind, overlay)) = (source(&mut browser, at), source(&mut browser, at + 1));
        assert_eq!((&*photo_kind, &*kind), ("data:image/jpeg;base64", "data:image/png;base64"));
        assert!(photo.starts_with(b"\xff\xd8") && overlay.starts_with(b"\x89PNG"));
    }
    let inputs = browser.text("[...document.querySelectorAll('#contributions table:first-child th[scope=row]')].map((c) => c.innerText).join()");
    assert_eq!(inputs, "Clinical photo,Dermoscopic image,Sex,Age");

    // A diagnosis is added to the answer.
    browser.run("document.getElementById('diagnosis-class').selectedIndex = 1; document.querySelector('#diagnosis button').click()");
    browser.wait("document.getElementById('status').innerText === 'The diagnosis is added.'");

    // The banner stays in sight, and the other languages have words for all of it.
    assert_eq!(browser.run(BANNER_IN_SIGHT), true);
    browser.run("scrollTo(0, document.body.scrollHeight)");
    assert_eq!(browser.run(BANNER_IN_SIGHT), true);
    for (language, banner) in [("pt", "pesquisa"), ("de", "Forschungssoftware"), ("zh", "研究"), ("en", "Research")] {
        let choose = format!(
            "(() => {{ const l = document.getElementById('language'); l.value = '{language}'; l.dispatchEvent(new Event('change')); }})()"
        );
        browser.run(&choose);
        assert!(browser.text("document.getElementById('banner').innerText").contains(banner));
        assert_eq!(browser.text("document.documentElement.lang"), language);
        assert_eq!(
            browser.run("document.body.innerText.includes('undefined') || document.body.innerText.includes('{')"),
            false
        );
    }

    // Dark where the device is, light where the reader wants it; nothing is wider than a phone; print leaves the form out.
    let ground = "getComputedStyle(document.body).backgroundColor";
    let feature = |value: &str| json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
    browser.call("Emulation.setEmulatedMedia", feature("light"));
    let light = browser.text(ground);
    browser.call("Emulation.setEmulatedMedia", feature("dark"));
    let dark = browser.text(ground);
    assert_ne!(light, dark);
    browser.run("(() => { const t = document.getElementById('theme'); t.value = 'light'; t.dispatchEvent(new Event('change')); })()");
    assert_eq!(browser.text(ground), light);
    browser.resize(360, 700, true);
    assert_eq!(browser.run("document.documentElement.scrollWidth <= innerWidth"), true);
    assert_eq!(browser.text("document.getElementById('camera-clinical').getAttribute('capture')"), "environment");
    browser.resize(1100, 900, false);
    browser.call("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    let display = |id: &str| format!("getComputedStyle(document.getElementById('{id}')).display");
    assert_eq!((browser.text(&display("case")), browser.text(&display("banner"))), ("none".into(), "block".into()));
    let printed = browser.call("Page.printToPDF", json!({}));
    assert!(decode(printed["data"].as_str().unwrap()).starts_with(b"%PDF"));
    browser.call("Emulation.setEmulatedMedia", json!({ "media": "" }));

    // A picture that is none is named at its place.
    let broken = folder.path().join("broken.jpg");
    fs::write(&broken, &fs::read(&clinical).unwrap()[..900]).unwrap();
    browser.choose("#clinical", &broken);
    browser.run("document.getElementById('ask').click()");
    browser.wait("document.getElementById('error-clinical').innerText !== ''");
    assert_eq!(browser.text("document.activeElement.id"), "clinical");

    // New case: nothing of the old one is left.
    browser.run("document.getElementById('new').click()");
    browser.wait("document.getElementById('answer').hidden && document.getElementById('explanation').hidden");
    assert_eq!(
        browser.run(
            "document.getElementById('preview-clinical').hidden && document.getElementById('fields.sex').value === ''"
        ),
        true
    );

    // Every request went to this server; no script failed, nothing was refused by the page's own policy.
    let mut asked = 0;
    for (method, event) in &browser.events {
        match method.as_str() {
            "Network.requestWillBeSent" => {
                let url = event["request"]["url"].as_str().unwrap();
                let own = ["data:".into(), format!("blob:{}", serving.address), serving.address.clone()];
                assert!(own.iter().any(|own| url.starts_with(own.as_str())), "{url}");
                asked += usize::from(url.starts_with(&serving.address));
            }
            "Runtime.exceptionThrown" => panic!("{event}"),
            "Log.entryAdded" => {
                let entry = &event["entry"];
                // The refused picture is one.
                let refused = entry["text"].as_str().unwrap_or_default().contains("422");
                assert!(refused || entry["level"] != "error", "{entry}");
            }
            _ => {}
        }
    }
    assert!(asked > 6, "{asked}");
    drop(browser);
    let audit = serving.end();
    assert!(audit.contains("POST /v1/predict 200") && audit.contains("POST /v1/explain 200"), "{audit}");
    for secret in ["Jane", "male", "b.jpg"] {
        assert!(!audit.contains(secret), "{secret}: {audit}");
    }
}

#[test]
fn a_page_with_a_token_asks_for_it() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "0123456789abcdef\n").unwrap();
    let serving = Serving::start(&saved_model(folder.path()), &["--token-file", file.to_str().unwrap()]);
    browser.open(&serving.address);
    browser.wait("!document.getElementById('unlock').hidden && document.getElementById('case').hidden");
    for (token, opens) in [("0000000000000000", false), ("0123456789abcdef", true)] {
        browser.run("document.getElementById('error').innerText = ''");
        browser.run("document.getElementById('token').focus()");
        browser.call("Input.insertText", json!({ "text": token }));
        browser.press("Enter", 13, "\r");
        match opens {
            false => browser.wait("document.getElementById('error').innerText.includes('does not know')"),
            true => browser.wait("!document.getElementById('case').hidden"),
        }
        assert_eq!(browser.run("document.getElementById('unlock').hidden"), opens);
    }
    drop(browser);
    assert!(!serving.end().contains("0123456789abcdef"));
}

#[test]
fn pictures_of_the_page() {
    let Some(out) = var_os("DERMAFUSE_PICTURES").map(PathBuf::from) else { return };
    let given = |what: &str| {
        PathBuf::from(var_os(format!("DERMAFUSE_PICTURES_{what}")).unwrap_or_else(|| panic!("name {what}")))
    };
    let mut browser = browser().expect("a browser");
    let serving = Serving::start(&given("MODEL"), &[]);
    let mut take = |name: &str, width: u32, phone: bool, theme: &str, language: &str| {
        browser.resize(width, 900, phone);
        browser.open(&format!("{}?lang={language}", serving.address));
        browser.wait("document.getElementById('case') && !document.getElementById('case').hidden");
        browser.run(&format!("(() => {{ const t = document.getElementById('theme'); t.value = '{theme}'; t.dispatchEvent(new Event('change')); }})()"));
        browser.choose("#clinical", &given("CLINICAL"));
        browser.choose("#dermoscopic", &given("DERMOSCOPIC"));
        browser.run("(() => { const f = document.querySelector('#fields select'); if (f) f.selectedIndex = 1; })()");
        browser.run("document.getElementById('ask').click()");
        browser.wait("!document.getElementById('explanation').hidden");
        browser.wait("[...document.querySelectorAll('#heat img')].every((i) => i.complete)");
        browser.run("scrollTo(0, 0); document.activeElement.blur()");
        let height = browser.run("document.documentElement.scrollHeight").as_u64().unwrap();
        fs::write(out.join(name), browser.picture(width, height.min(2000) as u32, if phone { 1.0 } else { 0.8 }))
            .unwrap();
    };
    take("page.jpg", 1000, false, "light", "en");
    take("page-phone.jpg", 390, true, "dark", "de");
    drop(browser);
    serving.end();
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
