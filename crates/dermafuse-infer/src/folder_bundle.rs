//! Models of format 1: a folder of `bundle.json`, `network.bpk` and `two_stage.json`. They are read and no longer written.

use std::path::Path;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use dermafuse_schema::read_regular_file;
use serde::Deserialize;

use crate::InferError;
use crate::bundle::{Bundle, BundleDescription, MAX_MODEL_BYTES, from_json, sha256_hex};
use crate::earlier_names::with_kinds;

const FORMAT: u64 = 1;
const DESCRIPTION: &str = "bundle.json";
const NETWORK: &str = "network.bpk";
const TWO_STAGE: &str = "two_stage.json";
/// The largest of its JSON files that is read, in bytes: 256 MiB.
const MAX_JSON_BYTES: u64 = 256 << 20;

/// `bundle.json`: the description and the checksums of the other files.
#[derive(Deserialize)]
struct Manifest {
    #[serde(flatten)]
    description: BundleDescription,
    network_sha256: String,
    two_stage_sha256: String,
}

/// Whether a folder says that it is one.
pub(crate) fn is_one(folder: &Path) -> bool {
    folder.join(DESCRIPTION).exists()
}

pub(crate) fn load(folder: &Path, device: &Device) -> Result<Bundle, InferError> {
    let path = folder.join(DESCRIPTION);
    let bytes = read_regular_file(&path, MAX_JSON_BYTES)?;
    let value: serde_json::Value = from_json(&path, &bytes)?;
    match value.get("format") {
        Some(format) if format.as_u64() == Some(FORMAT) => {}
        found => {
            let found = found.map_or("no `format`".to_owned(), |found| format!("`format`: {found}"));
            return Err(InferError::Format { path: folder.to_owned(), found, expected: FORMAT as u32 });
        }
    }
    let manifest: Manifest = serde_json::from_value(with_kinds(value))
        .map_err(|source| InferError::Description { path: path.clone(), source })?;

    let read_checked = |name: &str, most: u64, expected: &str| {
        let path = folder.join(name);
        let bytes = read_regular_file(&path, most)?;
        let found = sha256_hex(&bytes);
        match found == expected {
            true => Ok(bytes),
            false => Err(InferError::Checksum { path, expected: expected.to_owned(), found }),
        }
    };
    let two_stage = read_checked(TWO_STAGE, MAX_JSON_BYTES, &manifest.two_stage_sha256)?;
    let two_stage = from_json(&folder.join(TWO_STAGE), &two_stage)?;
    let weights = read_checked(NETWORK, MAX_MODEL_BYTES, &manifest.network_sha256)?;
    let network = manifest.description.network.init(device)?;
    let network = ModuleRecord::from_bytes(Bytes::from_bytes_vec(weights))
        .and_then(|record| network.try_load_record(record))
        .map_err(|error| InferError::Weights { path: folder.join(NETWORK), reason: error.to_string() })?;
    let bundle = Bundle::new(manifest.description, network, two_stage);
    bundle.check()?;
    Ok(bundle)
}
