//! Checkpoints as people have them: wrapped, prefixed, averaged, under any file name, or not checkpoints at all.

mod torch_file;

use std::collections::HashMap;
use std::path::Path;

use burn::module::ParamId;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use dermafuse_backbones::{
    AnyBackbone, BackboneError, BackboneKind, ClassifierWeights, LoadOptions, load_tensors, load_weights_found,
    save_weights, tensor_names,
};
use torch_file::{Value, archive, zip};

const KEEP: LoadOptions = LoadOptions { classifier: ClassifierWeights::Keep };

fn network() -> AnyBackbone {
    BackboneKind::ResNet18Quarter.init(Some(2), &Device::flex())
}

/// The state of a network, as PyTorch has it.
fn state_of(network: &AnyBackbone, folder: &Path) -> Vec<(String, Value)> {
    let file = folder.join("plain.safetensors");
    save_weights(network, &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut state: Vec<(String, Value)> = tensors
        .iter()
        .map(|(key, view)| {
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            (key.to_owned(), Value::Floats(view.shape().to_vec(), values))
        })
        .collect();
    state.sort_by(|(a, _), (b, _)| a.cmp(b));
    let counters =
        state.iter().filter_map(|(key, _)| Some(format!("{}num_batches_tracked", key.strip_suffix("running_var")?)));
    let counters: Vec<(String, Value)> = counters.map(|key| (key, Value::Count(7))).collect();
    [state, counters].concat()
}

fn prefixed(prefix: &str, state: &[(String, Value)]) -> Value {
    Value::Dict(state.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())).collect())
}

fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Dict(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// All numbers of a network.
fn bytes_of(network: &AnyBackbone, folder: &Path) -> Vec<u8> {
    let file = folder.join("loaded.safetensors");
    save_weights(network, &file).unwrap();
    std::fs::read(file).unwrap()
}

/// Other weights than those that are right.
fn wrong(state: &[(String, Value)]) -> Vec<(String, Value)> {
    let zero = |value: &Value| match value {
        Value::Floats(shape, values) => Value::Floats(shape.clone(), vec![0.25; values.len()]),
        other => other.clone(),
    };
    state.iter().map(|(key, value)| (key.clone(), zero(value))).collect()
}

#[test]
fn wrapped_weights_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let right = network();
    let expected = bytes_of(&right, folder.path());
    let state = state_of(&right, folder.path());
    let plain = || prefixed("", &state);
    let optimizer =
        || dict([("state", Value::List(vec![Value::Floats(vec![2], vec![1.0, 2.0])])), ("step", Value::Count(3))]);
    let averaged = |prefix: &str, state: &[(String, Value)]| match prefixed(prefix, state) {
        Value::Dict(entries) => Value::Dict([vec![("n_averaged".to_owned(), Value::Count(5))], entries].concat()),
        _ => unreachable!(),
    };
    let lightning = |prefix| {
        dict([
            ("state_dict", prefixed(prefix, &state)),
            ("pytorch-lightning_version", Value::Text("2.0")),
            ("hyper_parameters", dict([("lr", Value::Int(1))])),
        ])
    };
    let both = |a: Value, b: Value| match (a, b) {
        (Value::Dict(a), Value::Dict(b)) => Value::Dict([a, b].concat()),
        _ => unreachable!(),
    };
    let head = dict([("head.weight", Value::Floats(vec![2, 2], vec![1.0; 4])), ("head.count", Value::Count(1))]);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("plain", plain(), ""),
        ("data parallel", prefixed("module.", &state), "module."),
        ("compiled", prefixed("_orig_mod.", &state), "_orig_mod."),
        ("both", prefixed("module._orig_mod.", &state), "module._orig_mod."),
        ("both the other way round", prefixed("_orig_mod.module.", &state), "_orig_mod.module."),
        (
            "a training",
            dict([("state_dict", plain()), ("optimizer", optimizer()), ("epoch", Value::Int(3))]),
            "state_dict.",
        ),
        ("model_state_dict", dict([("model_state_dict", plain())]), "model_state_dict."),
        ("net", dict([("net", plain()), ("epoch", Value::Int(1))]), "net."),
        ("ema alone", dict([("ema", plain())]), "ema."),
        ("Lightning, model", lightning("model."), "state_dict.model."),
        ("Lightning, net", lightning("net."), "state_dict.net."),
        ("Lightning, backbone", lightning("backbone."), "state_dict.backbone."),
        ("four deep", dict([("a", dict([("b", lightning("encoder.module."))]))]), "a.b.state_dict.encoder.module."),
        ("an averaged model", averaged("module.", &state), "module."),
        (
            "torchvision's training",
            dict([("model", plain()), ("model_ema", averaged("module.", &wrong(&state))), ("optimizer", optimizer())]),
            "model.",
        ),
        (
            "timm's training",
            dict([
                ("state_dict_ema", prefixed("", &wrong(&state))),
                ("state_dict", plain()),
                ("optimizer", optimizer()),
            ]),
            "state_dict.",
        ),
        ("a list of models", dict([("models", Value::List(vec![plain()]))]), "models.0."),
        ("a part of a network", both(prefixed("backbone.", &state), head), "backbone."),
    ];
    for (what, value, prefix) in cases {
        let file = folder.path().join("checkpoint.pth");
        std::fs::write(&file, archive("checkpoint", &value, &[])).unwrap();
        let (loaded, found) =
            load_weights_found(network(), &file, KEEP).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.prefix, prefix, "{what}");
        assert!(bytes_of(&loaded, folder.path()) == expected, "{what}: other weights were loaded");
    }
}

fn message(value: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.pth");
    std::fs::write(&file, archive("w", value, &[])).unwrap();
    let error = load_weights_found(network(), &file, KEEP).map(|_| ()).unwrap_err();
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn what_does_not_fit_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let state = state_of(&network(), folder.path());
    let tensors = state.iter().filter(|(key, _)| !key.ends_with("num_batches_tracked")).count();

    let glued = message(&prefixed("encoder_", &state));
    assert_eq!(
        glued,
        format!(
            "weights file w.pth does not fit the network: all {tensors} unused keys differ by the prefix `encoder_` of the file's: \
             it has encoder_bn1.bias for bn1.bias; save them without it"
        )
    );
    let layer: Vec<(String, Value)> = state
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("layer1.")?.to_owned(), value.clone())))
        .collect();
    let part = message(&prefixed("", &layer));
    assert!(part.contains("unused keys differ by the prefix `layer1.` of the network's: it has"), "{part}");
    assert!(part.ends_with("other tensors are missing"), "{part}");

    let twice = message(&dict([("student", prefixed("", &state)), ("teacher", prefixed("", &state))]));
    assert_eq!(
        twice,
        "weights file w.pth has all tensors of the network at several places, `student.`, `teacher.`: save one of them alone, in \
         PyTorch by torch.save(checkpoint[name], file)"
    );
    let unrelated: Vec<(String, Value)> =
        (0..3000).map(|index| (format!("block{index}.kernel"), Value::Floats(vec![1], vec![0.0]))).collect();
    let unrelated = message(&prefixed("", &unrelated));
    assert!(unrelated.contains("and 2992 more") && unrelated.len() < 1000, "{unrelated}");
}

/// A linear layer of 6 numbers, as torch saves it, and the names of its tensors.
fn linear() -> (Value, Linear, HashMap<ParamId, String>) {
    let layer = LinearConfig::new(2, 2).init(&Device::flex());
    let names = tensor_names(&layer);
    let weight = Value::Floats(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]);
    (dict([("weight", weight), ("bias", Value::Floats(vec![2], vec![5.0, 6.0]))]), layer, names)
}

#[test]
fn file_names_of_every_length_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (value, layer, names) = linear();
    for length in 1..=64 {
        let stem = "checkpoint_best_fold_of_a_training_that_has_a_long_name_indeed_12"[..length].to_owned();
        let file = folder.path().join(format!("{stem}.pth"));
        std::fs::write(&file, archive(&stem, &value, &[])).unwrap();
        let loaded = load_tensors(layer.clone(), names.clone(), &file)
            .unwrap_or_else(|error| panic!("a name of {length} characters: {error}"));
        assert_eq!(loaded.bias.unwrap().val().into_data().try_to_vec::<f32>().unwrap(), [5.0, 6.0]);
        assert_eq!(loaded.weight.val().into_data().try_to_vec::<f32>().unwrap(), [1.0, 3.0, 2.0, 4.0]);
    }
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (value, layer, names) = linear();
    let said = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let error = load_tensors(layer.clone(), names.clone(), &file).map(|_| ()).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    let script = archive("script", &value, &["constants.pkl", "code/__torch__.py"]);
    assert_eq!(
        said("script.pt", &script),
        "script.pt is not a weights file but a TorchScript archive: save the state_dict of the model: \
         torch.save(torch.jit.load(file).state_dict(), \"weights.pth\")"
    );
    let zipped = zip(vec![("weights.pth".to_owned(), vec![1, 2, 3])]);
    assert!(said("weights.zip", &zipped).contains("a zip archive of other files: unpack it"));
    for (name, bytes, what) in [
        ("page.pth", &b"<html><body>Sign in</body></html>"[..], "a web page"),
        (
            "pointer.pth",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
            "a pointer of Git LFS",
        ),
        ("model.h5", b"\x89HDF\r\n\x1a\n\x00\x00\x00", "an HDF5 file"),
    ] {
        let said = said(name, bytes);
        assert!(said.starts_with(&format!("{name} is not a weights file but {what}")), "{said}");
    }
    let said = said("model.onnx", b"\x08\x07\x12\x07pytorch\x1a\x052.1.0");
    match cfg!(feature = "onnx") {
        true => assert!(said.contains("this is no ONNX model: it has no graph"), "{said}"),
        false => assert!(said.starts_with("model.onnx is not a weights file but an ONNX model"), "{said}"),
    }
    let error = load_tensors(layer.clone(), names.clone(), folder.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, BackboneError::NotAFile { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.pth");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (_, layer, names) = linear();
    let error = load_tensors(layer, names, &pipe).map(|_| ()).unwrap_err();
    assert!(matches!(error, BackboneError::NotAFile { .. }), "{error}");
}

#[test]
fn tensors_that_claim_more_than_the_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, layer, names) = linear();
    let file = folder.path().join("forged.pth");
    for shape in [vec![1 << 30, 1 << 30], vec![i32::MAX as usize]] {
        let weight = Value::Floats(shape, vec![1.0]);
        let value = dict([("weight", weight), ("bias", Value::Floats(vec![2], vec![5.0, 6.0]))]);
        std::fs::write(&file, archive("forged", &value, &[])).unwrap();
        let error = load_tensors(layer.clone(), names.clone(), &file).map(|_| ()).unwrap_err();
        assert!(matches!(error, BackboneError::Damaged { .. } | BackboneError::Mismatch { .. }), "{error}");
    }
}
