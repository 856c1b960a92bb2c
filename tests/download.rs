//! Downloading weights from a server on this machine that behaves well or badly.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use dermafuse_backbones::{BackboneError, BackboneKind, DownloadProgress, PublishedWeights};
use dermafuse_tests::{program, text};
use sha2::{Digest, Sha256};

/// What the server does with a request, given the byte from which on it is asked for.
type Answer = fn(&mut TcpStream, &[u8], usize);

/// A server of one file, which answers its requests one after the other as told; and from which byte on they asked.
struct Server {
    url: String,
    asked: Receiver<usize>,
}

impl Server {
    fn start(content: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/models/tiny-weights.pth", listener.local_addr().unwrap());
        let (sender, asked) = channel();
        let (content, answers) = (content.to_vec(), answers.to_vec());
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let header: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let range =
                    header.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(String::from));
                let start = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
                sender.send(start).unwrap();
                answer(&mut stream, &content, start);
            }
        });
        Self { url, asked }
    }
}

fn head(stream: &mut TcpStream, status: &str, length: usize, extra: &str) {
    // The client may hang up early: that is its right.
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n");
}

fn serve(stream: &mut TcpStream, content: &[u8], start: usize) {
    let rest = &content[start.min(content.len())..];
    match start {
        0 => head(stream, "200 OK", rest.len(), ""),
        _ if rest.is_empty() => head(stream, "416 Range Not Satisfiable", 0, ""),
        _ => {
            let range = format!("Content-Range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len());
            head(stream, "206 Partial Content", rest.len(), &range);
        }
    }
    let _ = stream.write_all(rest);
}

/// Promises all that was asked for and hangs up after 70,000 bytes.
fn break_off(stream: &mut TcpStream, content: &[u8], start: usize) {
    assert_eq!(start, 0);
    head(stream, "200 OK", content.len(), "");
    let _ = stream.write_all(&content[..70_000]);
}

/// A server that knows no ranges.
fn serve_all(stream: &mut TcpStream, content: &[u8], _start: usize) {
    serve(stream, content, 0);
}

fn serve_another_range(stream: &mut TcpStream, content: &[u8], start: usize) {
    head(
        stream,
        "206 Partial Content",
        1,
        &format!("Content-Range: bytes {}-{}/{}\r\n", start - 1, start - 1, content.len()),
    );
    let _ = stream.write_all(&content[start - 1..start]);
}

fn refuse(stream: &mut TcpStream, _content: &[u8], _start: usize) {
    head(stream, "403 Forbidden", 0, "");
}

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn download(
    url: &str,
    sha256: &str,
    folder: &Path,
) -> (Result<std::path::PathBuf, BackboneError>, Vec<DownloadProgress>) {
    let mut reports = Vec::new();
    let weights = PublishedWeights { url, sha256, licence: "none" };
    let result = weights.download(folder, |progress| reports.push(progress));
    (result, reports)
}

#[test]
fn a_file_arrives_once_and_progress_is_told() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[serve]);
    let checksum = &sha256(&content)[..8];
    let weights = folder.path().join("new/weights");
    let (path, reports) = download(&server.url, checksum, &weights);
    let path = path.unwrap();
    assert_eq!(path, weights.join("tiny-weights.pth"));
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(reports.first(), Some(&DownloadProgress { received: 0, total: Some(300_000) }));
    assert_eq!(reports.last(), Some(&DownloadProgress { received: 300_000, total: Some(300_000) }));
    assert!(reports.is_sorted_by_key(|report| report.received));
    assert_eq!(fs::read_dir(&weights).unwrap().count(), 1, "nothing else is left");

    // The server has stopped: the second time must not need it.
    let (again, reports) = download(&server.url, checksum, &weights);
    assert_eq!(again.unwrap(), path);
    assert!(reports.is_empty());
}

#[test]
fn a_broken_download_continues_where_it_stopped() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[break_off, serve]);
    let checksum = sha256(&content);
    let (error, _) = download(&server.url, &checksum, folder.path());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("tiny-weights.pth (") && error.contains("try again"), "{error}");
    assert!(!folder.path().join("tiny-weights.pth").exists(), "an incomplete file must not have the name");

    let (path, reports) = download(&server.url, &checksum, folder.path());
    assert_eq!(fs::read(path.unwrap()).unwrap(), content);
    assert_eq!(reports[0], DownloadProgress { received: 70_000, total: Some(300_000) });
    assert_eq!(server.asked.try_iter().collect::<Vec<_>>(), [0, 70_000]);
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[break_off, serve_all]);
    let checksum = sha256(&content);
    download(&server.url, &checksum, folder.path()).0.unwrap_err();
    let (path, _) = download(&server.url, &checksum, folder.path());
    assert_eq!(fs::read(path.unwrap()).unwrap(), content);
}

#[test]
fn a_complete_part_only_needs_its_name() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[serve]);
    fs::write(folder.path().join("tiny-weights.pth.part"), &content).unwrap();
    let (path, _) = download(&server.url, &sha256(&content), folder.path());
    assert_eq!(fs::read(path.unwrap()).unwrap(), content);
}

#[test]
fn wrong_bytes_never_get_the_name() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[serve]);
    let (error, _) = download(&server.url, "0123abcd", folder.path());
    let error = error.unwrap_err().to_string();
    let found = sha256(&content);
    assert!(error.contains(&format!("what arrived has SHA-256 {found}, not 0123abcd…, and was deleted")), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let path = folder.path().join("tiny-weights.pth");
    fs::write(&path, b"something else").unwrap();
    let (error, _) = download(&server.url, &found, folder.path());
    let error = error.unwrap_err().to_string();
    let expected = format!("SHA-256 {}, the published file {found}…: delete it", sha256(b"something else"));
    assert!(error.contains(&expected), "{error}");
    assert_eq!(fs::read(path).unwrap(), b"something else", "a file of the user's is not ours to delete");
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[serve_another_range]);
    let part = folder.path().join("tiny-weights.pth.part");
    fs::write(&part, &content[..1000]).unwrap();
    let (error, _) = download(&server.url, &sha256(&content), folder.path());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("asked for bytes from 1000 on, the server sends `bytes 999-999/300000`"), "{error}");
    assert_eq!(fs::read(part).unwrap(), content[..1000], "what has arrived stays");
}

#[test]
fn without_a_server_the_error_says_where_to_put_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // and closed again
    let (error, _) = download(&format!("http://127.0.0.1:{port}/w.pth"), "00", folder.path());
    let error = error.unwrap_err().to_string();
    let place = folder.path().join("w.pth");
    assert!(error.contains(&format!("without a network put the file at {}", place.display())), "{error}");

    let server = Server::start(&[], &[refuse]);
    let (error, _) = download(&server.url, "00", folder.path());
    assert!(error.unwrap_err().to_string().contains("the server answers 403 Forbidden"));
}

#[test]
fn two_at_once_download_once() {
    let (content, folder) = (content(), tempfile::tempdir().unwrap());
    let server = Server::start(&content, &[serve]);
    let checksum = sha256(&content);
    thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| download(&server.url, &checksum, folder.path()).0.unwrap()));
        let [first, second] = both.map(|handle| handle.join().unwrap());
        assert_eq!(first, second);
    });
    assert_eq!(server.asked.try_iter().count(), 1);
}

#[test]
fn the_table_of_weights_is_consistent() {
    for kind in BackboneKind::ALL {
        let Some(weights) = kind.published_weights() else {
            assert_eq!(kind, BackboneKind::ResNet18Quarter, "the only one nobody has published");
            continue;
        };
        assert!(weights.url.starts_with("https://"), "{kind}");
        assert!(weights.sha256.len() >= 8, "{kind}");
        // A name without a checksum needs a whole one.
        let of_dino_v2 = weights.sha256.len() == 64 && kind.name().ends_with("_dinov2");
        let in_name = weights.file_name().ends_with(&format!("-{}.pth", weights.sha256));
        assert!(in_name || of_dino_v2, "{kind}: the name has the checksum");
        assert!(weights.licence.contains(if of_dino_v2 { "LVD-142M" } else { "ImageNet" }), "{kind}");
    }
}

#[test]
fn the_program_asks_a_mirror_and_names_the_licence() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(b"not the weights", &[serve]);
    let mirror = server.url.rsplit_once('/').unwrap().0;
    let arguments = ["download", "squeezenet1_1", "--mirror", mirror, "--out"];
    let output = program("dermafuse").args(arguments).arg(folder.path()).output().unwrap();
    assert!(!output.status.success());
    for part in [&format!("{mirror}/squeezenet1_1-b8a52dc0.pth"), "licence: BSD-3-Clause", "not b8a52dc0…"] {
        assert!(text(&output).contains(part), "{}", text(&output));
    }
}
