//! Asks a running server many times from many callers: how many answers are lost, and how long they take.
//!
//! `cargo run --release -p dermafuse-serve --example load -- 127.0.0.1:8377 10000 32` asks `/healthz`; with photos behind it
//! (clinical, then dermoscopic) it asks `/v1/predict`.

#[allow(dead_code, reason = "tests look at more of an answer")]
#[path = "../tests/support/http.rs"]
mod http;

use std::error::Error;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use http::{Client, form};

/// How often a caller comes again where the server is busy, as the page does.
const TRIES: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, requests, callers, photos @ ..] = &arguments[..] else {
        return Err("give ADDRESS REQUESTS CALLERS [CLINICAL [DERMOSCOPIC]]".into());
    };
    let (address, requests, callers): (SocketAddr, usize, usize) =
        (address.parse()?, requests.parse()?, callers.parse()?);
    let photos = photos.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let names = ["clinical", "dermoscopic"].into_iter().zip(&photos);
    let parts: Vec<_> = names.map(|(name, photo)| (name, Some("image"), photo.as_slice())).collect();
    let (kind, body) = form(&parts);

    let begun = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let own = (caller..requests).step_by(callers).count();
            let (kind, body, asks) = (kind.clone(), body.clone(), !parts.is_empty());
            thread::spawn(move || call(address, own, asks.then_some((&*kind, &*body))))
        })
        .collect();
    let mut times = Vec::new();
    let mut busy = 0;
    for caller in callers {
        let (own, refused) = caller.join().map_err(|_| "a caller failed")?;
        times.extend(own);
        busy += refused;
    }
    let took = begun.elapsed().as_secs_f64();
    times.sort();
    let lost = requests - times.len();
    let at = |share: f64| {
        times.get((share * times.len() as f64) as usize).map_or(f64::NAN, |time| 1000.0 * time.as_secs_f64())
    };
    println!("{requests} requests, {lost} lost, {busy} asked again because the server was busy");
    println!(
        "{:.0} a second; p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms",
        requests as f64 / took,
        at(0.5),
        at(0.95),
        at(0.99)
    );
    if lost > 0 { Err("answers were lost".into()) } else { Ok(()) }
}

/// The times of a caller's answers, and how often it was told to come again. The time of an answer is that of the try that got it.
fn call(address: SocketAddr, requests: usize, case: Option<(&str, &[u8])>) -> (Vec<Duration>, usize) {
    let (mut times, mut busy) = (Vec::new(), 0);
    let Ok(mut client) = Client::connect(address) else { return (times, busy) };
    for _ in 0..requests {
        for _ in 0..TRIES {
            let begun = Instant::now();
            let answer = match case {
                None => client.ask("GET", "/healthz", "", b""),
                Some((kind, body)) => client.ask("POST", "/v1/predict", kind, body),
            };
            match answer {
                Ok(answer) if answer.status == 200 => {
                    times.push(begun.elapsed());
                    break;
                }
                Ok(answer) if answer.status == 503 => {
                    busy += 1;
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(_) => break,
                // Lost.
                Err(_) => {
                    let Ok(again) = Client::connect(address) else { return (times, busy) };
                    client = again;
                    break;
                }
            }
        }
    }
    (times, busy)
}
