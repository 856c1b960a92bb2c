//! The server on a real socket: many callers, a proper end, and clients that break off.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use dermafuse_serve::{Classifier, ServeConfig, Server};
use support::http::{Client, form};
use support::{Known, sink};
use tokio::sync::oneshot;

/// A server on a thread of its own, what stops it, and the thread.
fn started(
    classifier: Arc<dyn Classifier>,
    config: ServeConfig,
) -> (SocketAddr, oneshot::Sender<()>, thread::JoinHandle<()>) {
    let (told, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let address = "127.0.0.1:0".parse().unwrap();
            let server = Server::bind(address, classifier, config, None, sink().0).await.unwrap();
            told.send(server.address()).unwrap();
            server.run_until(async { drop(stopped.await) }).await;
        });
    });
    (address.recv().unwrap(), stop, server)
}

#[test]
fn three_hundred_requests_of_sixteen_callers_are_all_answered() {
    let (classifier, _gate) = Known::new();
    let (address, stop, server) = started(classifier, ServeConfig { queue: 64, ..ServeConfig::default() });
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                let (kind, body) = form(&[("clinical", Some("x"), b"abc"), ("fields.sex", None, b"male")]);
                (0..19)
                    .map(|at| match (caller + at) % 3 {
                        0 => client.ask("GET", "/healthz", "", b"").unwrap(),
                        1 => client.ask("POST", "/v1/predict", &kind, &body).unwrap(),
                        _ => client.ask("POST", "/v1/explain", "application/json", br#"{"fields":{"age":3}}"#).unwrap(),
                    })
                    .map(|answer| (answer.status, serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut ids = Vec::new();
    let mut answers = 0;
    for (status, body) in callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
        assert_eq!(status, 200, "{body}");
        answers += 1;
        ids.extend(body["id"].as_str().map(str::to_owned));
    }
    assert_eq!(answers, 304);
    let given = ids.len();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == given && given > 90, "{given}");
    stop.send(()).unwrap();
    server.join().unwrap();
}

#[test]
fn the_end_waits_for_what_is_being_answered_and_takes_nothing_new() {
    let (classifier, gate) = Known::new();
    let (address, stop, server) = started(classifier, ServeConfig::default());
    let mut idle = Client::connect(address).unwrap();
    assert_eq!(idle.ask("GET", "/healthz", "", b"").unwrap().status, 200);
    let asking = thread::spawn(move || {
        let (kind, body) = form(&[("clinical", Some("x"), b"wait")]);
        Client::connect(address).unwrap().ask("POST", "/v1/predict", &kind, &body).unwrap().status
    });
    gate.entered.recv().unwrap();
    stop.send(()).unwrap();
    while TcpStream::connect(address).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!server.is_finished(), "it waits");
    gate.open.send(()).unwrap();
    assert_eq!(asking.join().unwrap(), 200);
    server.join().unwrap();
}

#[test]
fn clients_that_break_off_or_speak_nonsense_harm_nobody() {
    let (classifier, _gate) = Known::new();
    let (address, stop, server) = started(classifier, ServeConfig { queue: 0, workers: 1, ..ServeConfig::default() });
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(nonsense).unwrap();
    }
    for _ in 0..5 {
        // Half a body, and gone.
        let mut client = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /v1/predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
        );
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(b"{\"clinical\": \"").unwrap();
    }
    let mut client = Client::connect(address).unwrap();
    let body = br#"{"clinical": "YWJj"}"#;
    // The only place is free again as soon as the server knows.
    let mut tries = 0;
    while client.ask("POST", "/v1/predict", "application/json", body).unwrap().status != 200 {
        tries += 1;
        assert!(tries < 1000);
        thread::sleep(Duration::from_millis(5));
    }
    let mut hidden = Client::connect(address).unwrap();
    hidden.send(b"GET http://evil.example/v1/model HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    assert_eq!(hidden.answer().unwrap().status, 421);
    // A refusal can be read though the body is large and was not wanted.
    let mut large = Client::connect(address).unwrap();
    let answer = large.ask("POST", "/v1/predict", "application/json", &vec![b' '; 40 << 20]).unwrap();
    assert_eq!(answer.status, 413);
    drop((client, hidden, large));
    stop.send(()).unwrap();
    server.join().unwrap();
}
