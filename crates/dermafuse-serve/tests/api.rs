//! The API with good and with every kind of bad input, without a socket.

mod support;

use std::fs;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use dermafuse_serve::{AnswerStore, App, ROUTES, ServeConfig, Token};
use futures_util::stream::{iter, pending};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use support::http::form;
use support::{HOST, Known, app, sink};
use tower::ServiceExt;

/// An answer, taken apart.
struct Got {
    response: Response<()>,
    body: Vec<u8>,
}

impl Got {
    fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code and field of an error.
    fn error(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty(), "{error}");
        (self.status(), text("code"), text("field"))
    }
}

async fn send(router: &Router, request: Request<Body>) -> Got {
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Got { response: Response::from_parts(head, ()), body }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", HOST)
}

async fn get(router: &Router, path: &str) -> Got {
    send(router, request("GET", path).body(Body::empty()).unwrap()).await
}

async fn post(router: &Router, path: &str, kind: &str, body: impl Into<Bytes>) -> Got {
    let body: Bytes = body.into();
    let request = request("POST", path).header("content-type", kind).header("content-length", body.len());
    send(router, request.body(body.into()).unwrap()).await
}

async fn post_json(router: &Router, path: &str, body: &Value) -> Got {
    post(router, path, "application/json", body.to_string()).await
}

async fn post_form(router: &Router, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Got {
    let (kind, body) = form(parts);
    post(router, path, &kind, body).await
}

/// A case whose clinical image has this content.
fn case(content: &str) -> Value {
    use base64::Engine;
    json!({ "clinical": base64::engine::general_purpose::STANDARD.encode(content) })
}

fn error(status: u16, code: &str, field: &str) -> (u16, String, String) {
    (status, code.into(), field.into())
}

#[tokio::test]
async fn a_case_is_answered_and_explained_from_both_kinds_of_bodies() {
    let (app, _gate, lines) = app(ServeConfig::default());
    let router = app.router();
    let parts: [(&str, Option<&str>, &[u8]); 3] =
        [("clinical", Some("../../etc/passwd"), b"abc"), ("fields.sex", None, b"female"), ("fields.age", None, b"")];
    for path in ["/v1/predict", "/v1/explain"] {
        let one = post_form(&router, path, &parts).await;
        let two = post_json(&router, path, &json!({ "clinical": "YWJj", "fields": { "sex": "female" } })).await;
        assert_eq!((one.status(), two.status()), (200, 200), "{}", one.json());
        let (mut one, mut two) = (one.json(), two.json());
        if path == "/v1/predict" {
            assert_eq!(one["id"].as_str().unwrap().len(), 32);
            assert_ne!(one["id"], two["id"]);
            assert_eq!(
                (one["stored"].clone(), one["tasks"][0]["classes"][0]["name"].clone()),
                (false.into(), "MEL".into())
            );
            (one["id"], two["id"]) = (0.into(), 0.into());
        }
        assert_eq!(one, two);
    }
    let lines = lines.lock().unwrap();
    assert_eq!(lines.iter().map(|line| line.status).collect::<Vec<_>>(), [200; 4]);
    assert!(lines.iter().all(|line| line.bytes_in > 10 && line.bytes_out > 100), "{lines:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_case_is_named() {
    let (app, _gate, _) = app(ServeConfig::default());
    let router = app.router();
    let predict = "/v1/predict";
    for (body, expected) in [
        (json!({ "fields": { "seks": "female" } }), error(422, "unknown_field", "fields.seks")),
        (json!({ "fields": { "../../etc/passwd": "x" } }), error(422, "unknown_field", "fields.../../etc/passwd")),
        (json!({ "clinical": "/etc/passwd" }), error(422, "not_base64", "clinical")),
        (json!({ "clinical": { "path": "/etc/passwd" } }), error(422, "wrong_kind", "clinical")),
        (json!({ "path": "/etc/passwd" }), error(422, "unknown_part", "path")),
        (json!({ "clinical": "YWJj", "task": "diagnosis" }), error(422, "unknown_part", "task")),
        (json!({}), error(422, "empty_case", "")),
        (json!([]), error(400, "malformed", "")),
    ] {
        assert_eq!(post_json(&router, predict, &body).await.error(), expected, "{body}");
    }
    let twice = r#"{"fields": {"age": 1, "age": 2}}"#;
    assert_eq!(
        post(&router, predict, "application/json", twice).await.error(),
        error(422, "given_twice", "fields.age")
    );
    assert_eq!(post(&router, predict, "application/json", "{").await.error(), error(400, "malformed", ""));
    assert_eq!(post(&router, predict, "text/plain", "{}").await.error(), error(415, "content_type", ""));
    let parts: [(&str, Option<&str>, &[u8]); 2] = [("clinical", Some("a"), b"abc"), ("clinical", Some("b"), b"abc")];
    assert_eq!(post_form(&router, predict, &parts).await.error(), error(422, "given_twice", "clinical"));
    let parts: [(&str, Option<&str>, &[u8]); 1] = [("fields.sex", None, b"\xff\xfe")];
    assert_eq!(post_form(&router, predict, &parts).await.error(), error(422, "wrong_kind", "fields.sex"));
    let cut = post(&router, predict, "multipart/form-data; boundary=7MA4", "--7MA4\r\nContent-Disp").await;
    assert_eq!(cut.error(), error(400, "malformed", ""));
    assert_eq!(post_json(&router, predict, &case("panic")).await.error(), error(500, "internal", ""));
    assert_eq!(post_json(&router, predict, &case("abc")).await.status(), 200);
    assert_eq!(get(&router, "/v1/predict").await.error(), error(405, "no_method", ""));
    for path in ["/nothing", "/../Cargo.toml", "/v1/%2e%2e/%2e%2e/etc/passwd", "/app.js/../../Cargo.toml"] {
        assert_eq!(get(&router, path).await.error(), error(404, "no_route", ""), "{path}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_with_and_without_a_stated_length() {
    let (app, _gate, _) = app(ServeConfig { max_body_bytes: 2000, ..ServeConfig::default() });
    let router = app.router();
    let body = case(&"x".repeat(3000)).to_string();
    let stated = post(&router, "/v1/predict", "application/json", body.clone()).await;
    assert_eq!((stated.error(), stated.header("connection")), (error(413, "too_large", ""), "close"));
    let pieces: Vec<_> = body
        .as_bytes()
        .chunks(500)
        .map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let unstated = Body::new(StreamBody::new(iter(pieces)));
    let unstated = request("POST", "/v1/predict").header("content-type", "application/json").body(unstated).unwrap();
    assert_eq!(send(&router, unstated).await.error(), error(413, "too_large", ""));
    // Nobody holds a place because of that.
    assert_eq!(post_json(&router, "/v1/predict", &case("abc")).await.status(), 200);
}

#[tokio::test]
async fn names_of_other_machines_and_pages_of_other_sites_are_refused() {
    let config = ServeConfig { host_names: vec!["derm.clinic.example".into()], ..ServeConfig::default() };
    let (app, _gate, lines) = app(config);
    let router = app.router();
    let ask =
        |builder: axum::http::request::Builder| send(&router, builder.uri("/v1/model").body(Body::empty()).unwrap());
    for host in ["localhost:8377", "derm.clinic.example"] {
        assert_eq!(ask(Request::builder().header("host", host)).await.status(), 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8377", "127.0.0.1", "127.0.0.1:80", "derm.clinic.example.evil.example"] {
        assert_eq!(ask(Request::builder().header("host", host)).await.error(), error(421, "wrong_host", ""), "{host}");
    }
    assert_eq!(ask(Request::builder()).await.error(), error(421, "wrong_host", ""));
    let two = Request::builder().header("host", HOST).header("host", "evil.example");
    assert_eq!(ask(two).await.error(), error(421, "wrong_host", ""));
    let absolute = request("GET", "http://evil.example/v1/model").body(Body::empty()).unwrap();
    assert_eq!(send(&router, absolute).await.error(), error(421, "wrong_host", ""));
    for origin in ["http://evil.example", "null", "https://127.0.0.1:8377", "http://127.0.0.1:1"] {
        let asked = ask(request("GET", "/").header("origin", origin)).await;
        assert_eq!(asked.error(), error(403, "wrong_origin", ""), "{origin}");
        assert_eq!(asked.header("access-control-allow-origin"), "");
    }
    assert_eq!(ask(request("GET", "/").header("origin", format!("http://{HOST}"))).await.status(), 200);
    // Also the page, and what there is not.
    for path in ["/", "/nothing", "/healthz"] {
        let asked = Request::builder().uri(path).header("host", "evil.example").body(Body::empty()).unwrap();
        assert_eq!(send(&router, asked).await.status(), 421, "{path}");
    }
    assert!(lines.lock().unwrap().iter().all(|line| !line.to_string().contains("evil")));
}

#[tokio::test]
async fn with_a_token_only_those_who_know_it_are_answered() {
    let token = Token::new("0123456789abcdef").unwrap();
    let (app, _gate, lines) = app(ServeConfig { token: Some(token), ..ServeConfig::default() });
    let router = app.router();
    let ask = |said: &str| {
        let request = request("GET", "/v1/model");
        let request = if said.is_empty() { request } else { request.header("authorization", said) };
        send(&router, request.body(Body::empty()).unwrap())
    };
    for said in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef"] {
        let asked = ask(said).await;
        assert_eq!((asked.error(), asked.header("www-authenticate")), (error(401, "no_token", ""), "Bearer"), "{said}");
    }
    assert_eq!(ask("Bearer 0123456789abcdef").await.status(), 200);
    assert_eq!(ask("bearer 0123456789abcdef").await.status(), 200);
    // The page itself has no secret; a case is refused before it is read.
    assert_eq!((get(&router, "/").await.status(), get(&router, "/healthz").await.status()), (200, 200));
    assert_eq!(post_json(&router, "/v1/predict", &case("abc")).await.status(), 401);
    assert!(lines.lock().unwrap().iter().all(|line| !line.to_string().contains("0123456789abcdef")));
}

#[tokio::test]
async fn what_the_queue_does_not_hold_is_told_to_come_again_and_nothing_is_lost() {
    let (app, gate, _) = app(ServeConfig { workers: 1, queue: 1, ..ServeConfig::default() });
    let router = app.router();
    let ask = |content: &'static str| {
        let router = router.clone();
        tokio::spawn(async move { post_json(&router, "/v1/predict", &case(content)).await })
    };
    let (first, second) = (ask("wait"), ask("wait"));
    // The first is at its thread; whether the second has its place by now, a third finds out.
    let refused = loop {
        tokio::task::yield_now().await;
        let third = ask("abc").await.unwrap();
        if third.status() == 503 {
            break third;
        }
    };
    assert_eq!((refused.error(), refused.header("retry-after")), (error(503, "busy", ""), "2"));
    assert_eq!(get(&router, "/healthz").await.status(), 200, "others are answered meanwhile");
    (0..2).for_each(|_| gate.open.send(()).unwrap());
    assert_eq!((first.await.unwrap().status(), second.await.unwrap().status()), (200, 200));
    assert_eq!(ask("abc").await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let (app, gate, _) =
        app(ServeConfig { workers: 1, queue: 0, timeout: Duration::from_millis(500), ..ServeConfig::default() });
    let router = app.router();
    assert_eq!(post_json(&router, "/v1/predict", &case("wait")).await.error(), error(504, "late_answer", ""));
    // Its thread is still at it, so its place is not free.
    assert_eq!(post_json(&router, "/v1/predict", &case("abc")).await.status(), 503);
    gate.open.send(()).unwrap();
    while post_json(&router, "/v1/predict", &case("abc")).await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let never = Body::new(StreamBody::new(pending::<Result<Frame<Bytes>, io::Error>>()));
    let late = request("POST", "/v1/predict").header("content-type", "application/json").body(never).unwrap();
    let late = send(&router, late).await;
    assert_eq!((late.error(), late.header("connection")), (error(408, "late_request", ""), "close"));
    assert_eq!(post_json(&router, "/v1/predict", &case("abc")).await.status(), 200);
}

#[tokio::test]
async fn a_diagnosis_is_added_to_a_stored_answer_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ((classifier, _gate), (sink, lines)) = (Known::new(), sink());
    let store = AnswerStore::open(folder.path()).unwrap();
    let config = ServeConfig::default();
    let app = App::new(classifier, HOST.parse().unwrap(), config, Some(store), sink).unwrap();
    let router = app.router();
    assert_eq!(get(&router, "/v1/model").await.json()["stores_answers"], true);
    let answer = post_json(&router, "/v1/predict", &json!({ "fields": { "sex": "female" } })).await.json();
    assert_eq!(answer["stored"], true);
    let path = format!("/v1/answers/{}/diagnosis", answer["id"].as_str().unwrap());
    let diagnosis = json!({ "task": "diagnosis", "class": "NEV" });
    let added = post_json(&router, &path, &diagnosis).await;
    assert_eq!((added.status(), added.json()["class"].clone()), (200, "NEV".into()));
    for (path, body, expected) in [
        (path.as_str(), json!({ "task": "veil", "class": "NEV" }), error(422, "unknown_task", "task")),
        (&path, json!({ "task": "diagnosis", "class": "nevus" }), error(422, "unknown_class", "class")),
        (&path, json!({ "task": "diagnosis" }), error(400, "malformed", "")),
        (&path, json!({ "task": "diagnosis", "class": "NEV", "path": "x" }), error(400, "malformed", "")),
        (&path, json!({ "task": "x".repeat(20_000), "class": "NEV" }), error(413, "too_large", "")),
        ("/v1/answers/0/diagnosis", diagnosis.clone(), error(404, "no_answer", "")),
        ("/v1/answers/..%2f..%2fx/diagnosis", diagnosis.clone(), error(404, "no_answer", "")),
    ] {
        assert_eq!(post_json(&router, path, &body).await.error(), expected, "{path} {body}");
    }
    let files: Vec<String> =
        ["answers.jsonl", "diagnoses.jsonl"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap()).into();
    assert_eq!(files.iter().map(|file| file.lines().count()).collect::<Vec<_>>(), [1, 1]);
    assert!(!files.concat().contains("female"), "nothing of the patient is kept");
    // Not even the id is in the audit lines.
    let id = answer["id"].as_str().unwrap();
    assert!(lines.lock().unwrap().iter().all(|line| !line.to_string().contains(id)));
    assert!(lines.lock().unwrap().iter().any(|line| line.route == "/v1/answers/{id}/diagnosis"));

    let (app, _gate, _) = support::app(ServeConfig::default());
    assert_eq!(post_json(&app.router(), &path, &diagnosis).await.error(), error(404, "no_store", ""));
}

#[tokio::test]
async fn the_page_is_whole_and_names_no_other_machine() {
    let (app, _gate, _) = app(ServeConfig::default());
    let router = app.router();
    let page = get(&router, "/").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let html = String::from_utf8(page.body).unwrap();
    let mut files = Vec::new();
    for attribute in ["href=\"", "src=\""] {
        files.extend(
            html.split(attribute)
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .filter(|file| !file.starts_with('#')),
        );
    }
    assert_eq!(files, ["icon.svg", "style.css", "app.js"]);
    for path in files.into_iter().chain(["", "source.js", "texts.json", "openapi.json"]) {
        let file = get(&router, &format!("/{path}")).await;
        assert_eq!(file.status(), 200, "{path}");
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert!(file.header(name).contains(part), "{path}: {name}: {}", file.header(name));
        }
        let text = String::from_utf8(file.body).unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("style=\""), "{path}");
        assert!(!text.contains("innerHTML") && !text.contains("eval("), "{path}");
    }
}

#[test]
fn every_language_has_every_text_that_the_page_uses() {
    let read = |name: &str| fs::read_to_string(format!("{}/page/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let texts: Value = serde_json::from_str(&read("texts.json")).unwrap();
    let keys = |language: &str| texts[language].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let known = keys("en");
    let places = |text: &str| {
        let mut names: Vec<String> =
            text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect();
        names.sort();
        names
    };
    for language in ["pt", "de", "zh"] {
        assert_eq!(keys(language), known, "{language}");
        for key in &known {
            let [own, english] = [language, "en"].map(|language| texts[language][key].as_str().unwrap());
            assert!(!own.is_empty());
            // What is named may be left out only where the sentence says it otherwise.
            assert_eq!(places(own), places(english), "{language}: {key}");
        }
    }
    assert_eq!(texts.as_object().unwrap().len(), 4);
    let (html, script) = (read("index.html"), ["app.js", "offline/source.js"].map(read).concat());
    let mut used: Vec<&str> = html.split("data-text=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for call in ["text(\"", "say(\"", "picture(heat.photo, \"", "picture(heat.overlay, \"", "    [\"about_"] {
        let start = if call.contains("about_") { "about_" } else { "" };
        used.extend(
            script
                .split(call)
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .map(|key| &*Box::leak(format!("{start}{key}").into_boxed_str())),
        );
    }
    assert!(used.len() > 60, "{}", used.len());
    for key in &used {
        assert!(known.iter().any(|known| known == key), "no text `{key}`");
    }
    let dynamic = |key: &str| {
        ["field.", "category.", "unit.", "error.", "note.", "finding."].iter().any(|start| key.starts_with(start))
    };
    for key in &known {
        // A source may have words of its own.
        let key = key.strip_prefix("offline.").unwrap_or(key);
        assert!(dynamic(key) || used.contains(&key), "`{key}` is not used");
    }
}

#[tokio::test]
async fn the_description_has_the_routes_and_the_answers_are_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let ((classifier, _gate), (sink, _)) = (Known::new(), sink());
    let store = AnswerStore::open(folder.path()).unwrap();
    let app = App::new(classifier, HOST.parse().unwrap(), ServeConfig::default(), Some(store), sink).unwrap();
    let router = app.router();
    let description = get(&router, "/openapi.json").await.json();
    let described: Vec<(String, String)> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let mut routes: Vec<(String, String)> =
        ROUTES.iter().map(|&(method, path)| (method.to_owned(), path.to_owned())).collect();
    routes.sort_by(|a, b| a.1.cmp(&b.1));
    let mut sorted = described;
    sorted.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(sorted, routes);

    let answer = post_json(&router, "/v1/predict", &case("abc")).await;
    let path = format!("/v1/answers/{}/diagnosis", answer.json()["id"].as_str().unwrap());
    let diagnosis = post_json(&router, &path, &json!({ "task": "diagnosis", "class": "NEV" })).await;
    let answers = [
        ("/healthz", "get", get(&router, "/healthz").await),
        ("/v1/model", "get", get(&router, "/v1/model").await),
        ("/v1/predict", "post", answer),
        ("/v1/predict", "post", post_json(&router, "/v1/predict", &json!({})).await),
        ("/v1/predict", "post", post(&router, "/v1/predict", "text/plain", "x").await),
        ("/v1/explain", "post", post_json(&router, "/v1/explain", &case("abc")).await),
        ("/v1/answers/{id}/diagnosis", "post", diagnosis),
    ];
    for (path, method, got) in answers {
        let responses = &description["paths"][path][method]["responses"];
        let response = &responses[got.status().to_string()];
        assert!(response.is_object(), "{path}: {} is not described", got.status());
        let schema = &response["content"]["application/json"]["schema"];
        if let Err(wrong) = fits(&got.json(), schema, &description) {
            panic!("{method} {path}: {wrong}");
        }
    }
    // The judge itself finds what is wrong.
    let schema = json!({ "$ref": "#/components/schemas/Health" });
    for wrong in [json!({}), json!({ "status": 1 }), json!({ "status": "no" }), json!({ "status": "ok", "more": 1 })] {
        assert!(fits(&wrong, &schema, &description).is_err(), "{wrong}");
    }
}

/// Whether a value is as a JSON schema says: the words that `openapi.json` uses.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(value, root.pointer(name.trim_start_matches('#')).ok_or(name)?, root);
    }
    let kind = schema["type"].as_str().ok_or("a schema without a type")?;
    let is = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        other => return Err(format!("type {other}")),
    };
    if !is {
        return Err(format!("{value} is no {kind}"));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        return Err(format!("{value} is not among {}", schema["enum"]));
    }
    for (bound, outside) in [("minimum", -1.0), ("maximum", 1.0)] {
        if let (Some(bound), Some(value)) = (schema[bound].as_f64(), value.as_f64())
            && (value - bound) * outside > 0.0
        {
            return Err(format!("{value} is beyond {bound}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], root)?;
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match &schema["properties"][name] {
            Value::Null if schema["additionalProperties"] == false => return Err(format!("`{name}` is not described")),
            Value::Null => {}
            described => fits(member, described, root).map_err(|wrong| format!("{name}: {wrong}"))?,
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            return Err(format!("`{name}` is missing"));
        }
    }
    Ok(())
}
