//! Downloading published weights: resumed where it stopped, checked before use.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::{StatusCode, header};

use crate::error::BackboneError;
use crate::published_weights::PublishedWeights;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
const CHUNK_BYTES: usize = 1 << 17;

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Bytes on the disk, with those of earlier attempts.
    pub received: u64,
    /// Bytes of the whole file, if the server says so.
    pub total: Option<u64>,
}

impl PublishedWeights<'_> {
    /// Downloads the file into a folder, which is created, and returns its path.
    ///
    /// What is there already, with the right checksum, is not downloaded again. What an interrupted attempt left (`….part`) is
    /// continued. Only a file with the right checksum gets its name. Proxies of the environment (`HTTPS_PROXY`) are used.
    /// Two programs may ask for the same file: one waits for the other.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses ([`BackboneError::Download`], which says where to put the file by hand), if the
    /// checksum is wrong, or if the file cannot be written.
    pub fn download(
        &self,
        folder: impl AsRef<Path>,
        mut progress: impl FnMut(DownloadProgress),
    ) -> Result<PathBuf, BackboneError> {
        let folder = folder.as_ref();
        let path = folder.join(self.file_name());
        let part = folder.join(format!("{}.part", self.file_name()));
        if path.is_file() {
            return self.verified(path);
        }
        fs::create_dir_all(folder).map_err(at(folder))?;
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&part).map_err(at(&part))?;
        file.lock().map_err(at(&part))?;
        if path.is_file() {
            return self.verified(path); // by the program that held the lock
        }

        let (hasher, received) = hash(&mut file).map_err(at(&part))?;
        let mut transfer = Transfer { file, part: &part, hasher, received };
        self.transfer(&mut transfer, &path, &mut progress)?;

        let found = hexadecimal(&transfer.hasher.finalize());
        if !self.accepts(&found) {
            fs::remove_file(&part).map_err(at(&part))?; // continuing it would end in the same way
            let published = self.sha256;
            return Err(
                self.failed(&path, format!("what arrived has SHA-256 {found}, not {published}…, and was deleted"))
            );
        }
        transfer.file.sync_all().map_err(at(&part))?;
        fs::rename(&part, &path).map_err(at(&path))?;
        Ok(path)
    }

    /// Appends what is missing.
    fn transfer(
        &self,
        transfer: &mut Transfer,
        path: &Path,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<(), BackboneError> {
        let failed = |reason: String| self.failed(path, reason);
        let agent: Agent = Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = agent.get(self.url);
        if transfer.received > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", transfer.received));
        }
        let response = request.call().map_err(|error| failed(error.to_string()))?;
        let header = |name| response.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = header(header::CONTENT_RANGE).unwrap_or_default();
                if !range.starts_with(&format!("bytes {}-", transfer.received)) {
                    let wanted = transfer.received;
                    return Err(failed(format!("asked for bytes from {wanted} on, the server sends `{range}`")));
                }
            }
            StatusCode::OK => transfer.restart()?,
            // All of it is here already, or more than all: the checksum tells.
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
            status => return Err(failed(format!("the server answers {status}"))),
        }
        let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let total = length.map(|length| transfer.received + length);

        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            progress(DownloadProgress { received: transfer.received, total });
            match body.read(&mut chunk).map_err(|error| failed(error.to_string()))? {
                0 => break,
                count => transfer.append(&chunk[..count])?,
            }
        }
        match total {
            Some(total) if transfer.received < total => {
                Err(failed(format!("the connection ended after {} of {total} bytes", transfer.received)))
            }
            _ => Ok(()),
        }
    }

    /// The path, if the file there has the right checksum.
    fn verified(&self, path: PathBuf) -> Result<PathBuf, BackboneError> {
        let (hasher, _) = File::open(&path).and_then(|mut file| hash(&mut file)).map_err(at(&path))?;
        let found = hexadecimal(&hasher.finalize());
        match self.accepts(&found) {
            true => Ok(path),
            false => Err(BackboneError::Checksum { path, expected: self.sha256.to_string(), found }),
        }
    }

    fn accepts(&self, sha256: &str) -> bool {
        sha256.starts_with(&self.sha256.to_lowercase())
    }

    fn failed(&self, path: &Path, reason: String) -> BackboneError {
        BackboneError::Download { url: self.url.to_string(), path: path.to_path_buf(), reason }
    }
}

/// The part of a file that has arrived.
struct Transfer<'a> {
    file: File,
    part: &'a Path,
    hasher: Sha256,
    received: u64,
}

impl Transfer<'_> {
    /// The server does not continue: forget what is there.
    fn restart(&mut self) -> Result<(), BackboneError> {
        self.file.set_len(0).map_err(at(self.part))?;
        self.file.seek(SeekFrom::Start(0)).map_err(at(self.part))?;
        self.hasher = Sha256::new();
        self.received = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), BackboneError> {
        self.file.write_all(bytes).map_err(at(self.part))?;
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        Ok(())
    }
}

/// The hash of a file's bytes from the current position on, and their number.
fn hash(file: &mut File) -> io::Result<(Sha256, u64)> {
    let (mut hasher, mut length) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((hasher, length)),
            count => {
                hasher.update(&chunk[..count]);
                length += count as u64;
            }
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackboneError {
    move |source| BackboneError::Io { path: path.to_path_buf(), source }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
