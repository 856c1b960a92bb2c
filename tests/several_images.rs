//! Cases with several images of a kind: trained, tested and predicted by the program, and by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use burn::tensor::Device;
use dermafuse::data::{CaseUnit, DataSetKind, LoadOptions, MetadataEncoder};
use dermafuse::infer::{Predictor, TestTimeAugmentation};
use dermafuse::schema::{BranchLogits, CaseImage, FuseSpace, SeveralImages};
use dermafuse_tests::{done, program, small_recipe, small_set, text};
use serde_json::Value;

/// A small drawn set in the layout of PAD-UFES-20, in which some lesions have several photos.
fn photos() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pad");
        let mut draw = program("dermafuse");
        draw.args(["draw", "pad-ufes-20"]).arg(&path).args(["--cases", "120", "--image-size", "32x32"]);
        done(draw);
        (folder, path)
    });
    path
}

fn train(out: &Path, extra: &[&str]) -> Command {
    let mut command = program("dermafuse");
    command.args(["train", "--recipe", "jif", "--data"]).arg(format!("pad={}", photos().display()));
    let small = [
        "method.weights=random",
        "method.network.backbone=resnet18_quarter",
        "split={ kind = \"drawn\", shares = [0.5, 0.2, 0.3] }",
        "training.preprocess.size=32",
        "training.epochs=2",
        "training.batch_size=8",
        "evaluation.views=3",
    ];
    for setting in small.iter().chain(extra) {
        command.args(["--set", setting]);
    }
    command.arg("--out").arg(out);
    command
}

fn json(file: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn lesions_are_trained_and_tested_and_images_are_counted_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mean, first, again) = (folder.path().join("mean"), folder.path().join("first"), folder.path().join("again"));
    done(train(&mean, &["data.pad.cases=lesions"]));
    let notes = json(mean.join("metrics.json"))["notes"].to_string();
    assert!(notes.contains("test cases have several images of a kind: the mean of the probabilities"), "{notes}");
    done(train(&first, &["data.pad.cases=lesions", "several_images=first"]));

    let options = LoadOptions { cases: CaseUnit::Lesions, ..LoadOptions::default() };
    let set = DataSetKind::PadUfes20.load_with(photos(), &options).unwrap();
    let predictions = fs::read_to_string(mean.join("predictions.csv")).unwrap();
    let tested: Vec<&str> = predictions.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let photos_of = |id: &str| set.cases.iter().find(|case| case.id.as_str() == id).unwrap().clinical.len();
    let images: usize = tested.iter().map(|id| photos_of(id)).sum();
    assert!(images > tested.len(), "some lesion of the test has several photos: {predictions}");
    for line in predictions.lines().skip(1) {
        let (id, basis) = (line.split(',').next().unwrap(), line.split(',').nth(1).unwrap());
        let times = format!("×{}", photos_of(id));
        assert_eq!(basis.contains(&times), photos_of(id) > 1, "{line}");
    }
    for run in [&mean, &first] {
        let metrics = json(run.join("metrics.json"));
        let rows = metrics["rows"].as_array().unwrap();
        assert_eq!(rows.last().unwrap()["evaluation"]["cases"], tested.len());
        let of_images = metrics["images"].as_array().unwrap();
        assert_eq!(of_images.len(), rows.len() - 1, "every stage but the majority");
        assert!(of_images.iter().all(|row| row["evaluation"]["cases"] == images));
        assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("Each image as a case, per cent"));
    }
    assert!(!fs::read_to_string(first.join("predictions.csv")).unwrap().contains('×'));
    assert_ne!(fs::read(mean.join("model.safetensors")).unwrap(), fs::read(first.join("model.safetensors")).unwrap());

    let mut repeated = program("dermafuse");
    repeated.arg("train").arg(mean.join("experiment.toml")).arg("--out").arg(&again);
    done(repeated);
    for name in ["metrics.json", "predictions.csv", "history.csv", "model.safetensors"] {
        assert!(fs::read(mean.join(name)).unwrap() == fs::read(again.join(name)).unwrap(), "{name}");
    }

    // The saved model answers in the same way.
    let case = set.cases.iter().find(|case| case.clinical.len() > 1).unwrap();
    let ask = |model: &Path, photos: &[CaseImage]| {
        let mut predict = program("dermafuse");
        predict.arg("predict").arg(model).args(["--format", "jsonl"]);
        for photo in photos {
            predict.arg("--clinical").arg(photo);
        }
        let output = predict.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let probabilities = answer["tasks"]["diagnosis"]["probabilities"].as_object().unwrap().clone();
        let probabilities: Vec<f64> = probabilities.values().map(|value| value.as_f64().unwrap()).collect();
        (probabilities, answer["basis"].as_str().unwrap().to_owned())
    };
    let alone: Vec<Vec<f64>> = case.clinical.iter().map(|photo| ask(&mean, std::slice::from_ref(photo)).0).collect();
    let (together, basis) = ask(&mean, &case.clinical);
    assert!(basis.contains(&format!("×{}", alone.len())), "{basis}");
    for (class, probability) in together.iter().enumerate() {
        let expected = alone.iter().map(|of_photo| of_photo[class]).sum::<f64>() / alone.len() as f64;
        assert!((probability - expected).abs() < 1e-12);
    }
    assert_eq!(ask(&first, &case.clinical), ask(&first, &case.clinical[..1]));

    // And it is explained image by image.
    let page = folder.path().join("case.html");
    let mut explain = program("dermafuse");
    explain.arg("explain").arg(&mean).arg("--out").arg(&page);
    for photo in &case.clinical {
        explain.arg("--clinical").arg(photo);
    }
    done(explain);
    let html = fs::read_to_string(&page).unwrap();
    let count = case.clinical.len();
    assert!((1..=count).all(|image| html.contains(&format!("image {image} of {count}"))));

    // The same lesions, evaluated by the saved model.
    for run in [&mean, &first] {
        let out = folder.path().join("evaluated");
        let mut evaluate = program("dermafuse");
        evaluate.arg("evaluate").arg(run).args(["--part", "all", "--cases", "lesions", "--data"]);
        evaluate.arg(format!("pad-ufes-20={}", photos().display())).arg("--out").arg(&out);
        done(evaluate);
        assert_eq!(json(out.join("metrics.json"))["images"][0]["evaluation"]["cases"], 120);
    }

    // A lesion whose second photo is damaged is answered by the first, and is not among the images: that is said.
    let (damaged, out) = (folder.path().join("damaged"), folder.path().join("of-damaged"));
    copy(photos(), &damaged);
    fs::write(damaged.join(case.clinical[1].path.strip_prefix(photos()).unwrap()), "no image").unwrap();
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(&first).args(["--part", "all", "--cases", "lesions", "--data"]);
    evaluate.arg(format!("pad-ufes-20={}", damaged.display())).arg("--out").arg(&out);
    done(evaluate);
    let metrics = json(out.join("metrics.json"));
    assert_eq!(metrics["images"][0]["evaluation"]["cases"], 120 - case.clinical.len());
    let words = format!("1 of {} cases are not among the numbers of each image", set.len());
    let notes = metrics["notes"].to_string();
    assert!(notes.contains(&words) && notes.contains(case.id.as_str()), "{notes}");
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

#[test]
fn what_is_said_of_several_images_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (setting, words) in [
        (
            "several_images=pooled_features",
            "`pooled_features` is not known; expected one of: first, mean_of_probabilities",
        ),
        ("data.pad.cases=patients", "data.pad.cases: `patients` is not known; expected one of: images, lesions"),
    ] {
        let output = train(&out, &[setting]).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(words), "{}", text(&output));
        assert!(!out.exists());
    }
}

#[test]
fn pairs_of_several_images_are_averaged_and_a_damaged_one_fails_its_case() {
    let (mut set, _) = small_set();
    let protocol = small_recipe(&set);
    let (other, third) = (set.cases[5].clone(), set.cases[6].clone());
    set.cases[1].clinical.extend([other.clinical[0].clone(), third.clinical[0].clone()]);
    set.cases[1].dermoscopic.push(other.dermoscopic[0].clone());
    // The same pairs as cases of their own.
    let mut alone = set.clone();
    for look in 0..3 {
        let mut pair = set.cases[1].clone();
        pair.clinical = vec![set.cases[1].clinical[look].clone()];
        pair.dermoscopic = vec![set.cases[1].dermoscopic[look % 2].clone()];
        alone.cases.push(dermafuse::schema::Case { id: format!("pair {look}").into(), ..pair });
    }
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, protocol.metadata).unwrap();
    let config = protocol.first_stage.network.clone().with_metadata_inputs(encoder.width());
    let network = config.init_seeded(3, &Device::flex()).unwrap();
    let mut predictor =
        Predictor::new(&network, protocol.first_stage.training.preprocess.clone(), TestTimeAugmentation::Three);
    predictor.batch_size = 2;
    let answer = |logits: &BranchLogits| logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();

    let rows = [0, 1, 2];
    let mut progress = Vec::new();
    let logits = predictor.logits(&set.view(&rows).unwrap(), &encoder, |done| progress.push(done)).unwrap();
    assert_eq!((logits.looks.as_slice(), logits.views(), progress.as_slice()), (&[1, 3, 1][..], 3, &[1, 2, 3][..]));
    let pairs = predictor
        .logits(&alone.view(vec![0, set.len(), set.len() + 1, set.len() + 2, 2]).unwrap(), &encoder, |_| ())
        .unwrap();
    let (together, each) = (answer(&logits), answer(&pairs));
    for (table, of_pairs) in together.probabilities.iter().zip(&each.probabilities) {
        assert_eq!((table.row(0), table.row(2)), (of_pairs.row(0), of_pairs.row(4)), "other cases are as they were");
        for class in 0..table.ncols() {
            let mean = (1..4).map(|row| of_pairs[[row, class]]).sum::<f64>() / 3.0;
            assert!((table[[1, class]] - mean).abs() < 1e-12);
        }
    }
    assert_eq!(answer(&logits.each_look()).probabilities, each.probabilities);

    predictor.several_images = SeveralImages::First;
    let first = predictor.logits(&set.view(&rows).unwrap(), &encoder, |_| ()).unwrap();
    assert_eq!(answer(&first).probabilities[0].row(1), each.probabilities[0].row(1));
    assert_eq!(answer(&first), answer(&logits.first_looks()));

    predictor.several_images = SeveralImages::MeanOfProbabilities;
    let folder = tempfile::tempdir().unwrap();
    set.cases[1].clinical[1] = folder.path().join("gone.jpg").into();
    let (readable, answered, failed) = predictor.readable_logits(&set.view(&rows).unwrap(), &encoder, |_| ()).unwrap();
    assert_eq!((answered.as_slice(), failed.len(), failed[0].row), (&[0, 2][..], 1, 1));
    assert!(failed[0].reason.contains("gone.jpg") && readable.looks.is_empty());
    assert_eq!(answer(&readable).probabilities[0].row(1), together.probabilities[0].row(2));
}
