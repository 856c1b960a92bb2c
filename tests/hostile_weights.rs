//! Weight files that were damaged, cut or forged: always an error, never a panic or a wrong network.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, BackboneKind, LoadOptions, load_tensors, published_names};
use dermafuse_tests::{Tensors, uniform, write_safetensors};

fn network() -> AnyBackbone {
    BackboneKind::ResNet18Quarter.init(Some(2), &Device::flex())
}

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/backbones/checkpoint").join(name)
}

/// What loading the bytes says; all files here belong to another network, if to any.
fn message(network: &AnyBackbone, folder: &Path, name: &str, bytes: &[u8]) -> String {
    let file = folder.join(name);
    std::fs::write(&file, bytes).unwrap();
    let error = network.clone().load_weights(&file, LoadOptions::default()).unwrap_err();
    error.to_string().replace(&folder.display().to_string(), "")
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn no_damage_makes_a_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let network = network();
    let small = folder.path().join("small.safetensors");
    let values = vec![0.5; 12];
    write_safetensors(&Tensors::from([("conv1.weight".to_string(), (vec![4, 3], values))]), &small);
    let files = ["zip.pth", "legacy.pth", "f16.pth", "bf16.pth", "parallel.pth"].map(checkpoint);
    for file in files.into_iter().chain([small]) {
        let whole = std::fs::read(&file).unwrap();
        let name = file.extension().unwrap().to_str().unwrap();
        for round in 0..150 {
            let draw = |what: &str| uniform(&format!("{what} {}", file.display()), round);
            let mut bytes = whole.clone();
            for change in 0..=(round % 4) {
                let place = (draw(&format!("place {change}")) * bytes.len() as f64) as usize;
                bytes[place] = (draw(&format!("byte {change}")) * 256.0) as u8;
            }
            if round % 3 == 0 {
                bytes.truncate((draw("length") * bytes.len() as f64) as usize);
            }
            message(&network, folder.path(), &format!("damaged.{name}"), &bytes);
        }
    }
}

#[test]
fn forged_headers_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let network = network();
    let forged = [
        ("a header longer than the file", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("a header of four gigabytes", [&(1_u64 << 32).to_le_bytes()[..], b"{}"].concat()),
        (
            "a tensor larger than the file",
            safetensors(r#"{"a":{"dtype":"F32","shape":[1000000000,1000],"data_offsets":[0,4000000000000]}}"#, &[0; 8]),
        ),
        (
            "a shape whose size overflows",
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,8]}}"#,
                &[0; 8],
            ),
        ),
        ("a negative size", safetensors(r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, &[0; 8])),
        ("overlapping tensors", {
            let tensor = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
            safetensors(&format!(r#"{{"a":{tensor},"b":{tensor}}}"#), &[0; 8])
        }),
    ];
    for (what, bytes) in forged {
        let message = message(&network, folder.path(), "forged.safetensors", &bytes);
        assert!(message.contains("is damaged or incomplete"), "{what}: {message}");
    }
}

/// Pickle can call any function: whatever is not part of a state dict must not be understood.
#[test]
fn pickles_that_call_functions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let network = network();
    for program in
        [&b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."[..], b"\x80\x02.", b"\x80\x02]q\x00(K\x01e."]
    {
        let message = message(&network, folder.path(), "program.pth", program);
        assert!(message.contains("damaged or incomplete") || message.contains("does not fit"), "{message}");
    }
}

#[test]
fn values_that_are_not_finite_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("diverged.safetensors");
    let network = network();
    let weight = published_names(&network).into_iter().find(|(_, name)| name == "bn1.weight").unwrap();
    write_safetensors(&Tensors::from([("bn1.weight".to_string(), (vec![16], vec![f32::NAN; 16]))]), &file);
    let error = load_tensors(network, [weight].into(), &file).unwrap_err().to_string();
    assert_eq!(
        error.replace(&folder.path().display().to_string(), ""),
        "tensor `bn1.weight` in /diverged.safetensors has a value that is not finite: the training that made it diverged"
    );
}
