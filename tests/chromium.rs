//! A real browser without a window, driven over its DevTools protocol.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client};

/// What a browser is called by distributions.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page.
pub struct Chromium {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    last: u64,
    /// What happened, in order: method and parameters.
    pub events: VecDeque<(String, Value)>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// The browser's program, if there is one.
    pub fn find() -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        let files = std::env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
        files.into_iter().find(|file| file.is_file())
    }

    /// Starts it on a page of nothing. It can reach this machine alone.
    pub fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a folder for its profile");
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--remote-debugging-port=0", "--lang=en", "--accept-lang=en", "--force-color-profile=srgb"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let mut errors = BufReader::new(process.stderr.take().expect("its output"));
        let address = loop {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).expect("its output") > 0, "the browser ended");
            if let Some(address) = line.trim().strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
        };
        // Read on, so that it can write on.
        std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(drop));
        let host = address.trim_start_matches("ws://").split('/').next().expect("a host");
        let stream = TcpStream::connect(host).expect("the browser listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let (socket, _) = client(&*address, stream).expect("the browser speaks its protocol");
        let events = VecDeque::new();
        let mut browser = Self { process, socket, session: String::new(), last: 0, events, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Network", "Runtime", "Log", "DOM", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sends a command of the protocol and gives its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).expect("the browser hears");
        loop {
            let heard = self.hear();
            if heard["id"] == self.last {
                assert!(heard["error"].is_null(), "{method}: {}", heard["error"]);
                return heard["result"].clone();
            }
        }
    }

    fn hear(&mut self) -> Value {
        loop {
            let Message::Text(text) = self.socket.read().expect("the browser answers") else { continue };
            let heard: Value = serde_json::from_str(&text).expect("the protocol is JSON");
            if let Some(method) = heard["method"].as_str() {
                self.events.push_back((method.to_owned(), heard["params"].clone()));
            }
            return heard;
        }
    }

    /// Opens an address, and waits for the page.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
        self.wait("document.readyState === 'complete'");
    }

    /// The value of a script, waited for if it is a promise.
    pub fn run(&mut self, script: &str) -> Value {
        let parameters =
            json!({ "expression": script, "returnByValue": true, "awaitPromise": true, "userGesture": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{script}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// The text of a script's value.
    pub fn text(&mut self, script: &str) -> String {
        let value = self.run(script);
        value.as_str().unwrap_or_else(|| panic!("{script}: {value} is no text")).to_owned()
    }

    /// Waits until a script is true.
    pub fn wait(&mut self, script: &str) {
        let begun = Instant::now();
        while self.run(script) != true {
            assert!(
                begun.elapsed() < PATIENCE,
                "it never came: {script}; the page says: {}",
                self.run("document.body.innerText")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Chooses a file in an input.
    pub fn choose(&mut self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", json!({}))["root"]["nodeId"].clone();
        let node = self.call("DOM.querySelector", json!({ "nodeId": root, "selector": selector }))["nodeId"].clone();
        self.call("DOM.setFileInputFiles", json!({ "nodeId": node, "files": [file.to_str().expect("a plain path")] }));
    }

    /// Presses a key: its name and what it writes.
    pub fn press(&mut self, key: &str, code: u32, writes: &str) {
        let mut parameters = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code });
        if !writes.is_empty() {
            parameters["text"] = writes.into();
        }
        self.call("Input.dispatchKeyEvent", parameters.clone());
        parameters["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", parameters);
    }

    /// Shows the page as a screen of this size does.
    pub fn resize(&mut self, width: u32, height: u32, phone: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": phone }));
    }

    /// The page as a JPEG: a piece from the top of this height, in this scale.
    pub fn picture(&mut self, width: u32, height: u32, scale: f64) -> Vec<u8> {
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": scale });
        let parameters = json!({ "format": "jpeg", "quality": 60, "clip": clip, "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", parameters);
        decode(picture["data"].as_str().expect("a picture"))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The bytes of standard base64.
pub fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
