//! What is said beside an answer: the quality of the pictures, and how far they are from the training cases.

use burn::tensor::Device;
use dermafuse_backbones::BackboneKind;
use dermafuse_data::{FindingKind, Modality, Preprocess, QualityThresholds, RgbPixels, encode_png};
use dermafuse_ensemble::{OutOfDistribution, OutOfDistributionSettings, TwoStage};
use dermafuse_infer::{Bundle, BundleDescription, Model, Patient, Predictor, TestTimeAugmentation};
use dermafuse_networks::{FusionNetConfig, Network, NetworkConfig};
use dermafuse_schema::{BranchWeights, FuseSpace, Task, TaskSet};

/// A model with random weights that looks at both images.
fn bundle() -> Bundle {
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]));
    let description = BundleDescription {
        augmentation: TestTimeAugmentation::Three,
        ..BundleDescription::new(
            TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            network.clone(),
            Preprocess::imagenet(32),
        )
    };
    let network = network.init_seeded(5, &Device::flex()).unwrap();
    let branch_weights = BranchWeights::new(network.branches().iter().map(|branch| (branch.name, 1.0))).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    Bundle::new(description, network, two_stage)
}

/// A picture in colours of skin with detail of its own for each seed.
fn skin(seed: usize) -> RgbPixels {
    let data = (0..120 * 90).flat_map(|at| {
        let (x, y) = (at % 120, at / 120);
        let grain = (x * 7919 + y * 104_729 + x * y * (31 + seed)) % 23;
        [220, 165, 140].map(|value| (value - grain - 3 * (seed % 5)) as u8)
    });
    RgbPixels::new(120, 90, data.collect()).unwrap()
}

fn black() -> RgbPixels {
    RgbPixels::new(120, 90, vec![0; 3 * 120 * 90]).unwrap()
}

/// The same model, which knows how far pairs of skin are from one another.
fn fitted(note_beyond: f64) -> Bundle {
    let mut bundle = bundle();
    let folder = tempfile::tempdir().unwrap();
    let mut questions = bundle.questions();
    for seed in 0..20 {
        let [clinical, dermoscopic] = [2 * seed, 2 * seed + 1].map(|seed| {
            let file = folder.path().join(format!("{seed}.png"));
            std::fs::write(&file, encode_png(&skin(seed))).unwrap();
            [file.into()]
        });
        questions.add(format!("{seed}"), &clinical, &dermoscopic, &[]).unwrap();
    }
    let set = questions.into_set();
    let description = &bundle.description;
    let predictor = Predictor::new(&bundle.network, description.preprocess.clone(), TestTimeAugmentation::Off);
    let features = predictor.embeddings(&set.whole(), &description.encoder, |_| ()).unwrap();
    let settings = OutOfDistributionSettings { note_beyond, components: 4, ..Default::default() };
    let fitted = OutOfDistribution::fit(&settings, features.view(), &[None; 20], None).unwrap();
    bundle.description.out_of_distribution = Some(fitted);
    bundle
}

#[test]
fn a_black_photo_is_not_answered_without_a_word() {
    let model = Model::new(bundle()).unwrap();
    let answer = model.predict(&Patient::new().clinical(black()).dermoscopic(skin(1))).unwrap();
    let found: Vec<_> = answer.findings.iter().map(|finding| (finding.kind, finding.image)).collect();
    assert_eq!(found[0], (FindingKind::Black, Some(Modality::Clinical)), "{:?}", answer.findings);
    assert_eq!(answer.out_of_distribution, None);
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!((&json["findings"][0]["kind"], &json["findings"][0]["image"]), (&"black".into(), &"clinical".into()));
    let twice = model.predict(&Patient::new().clinical(skin(1)).dermoscopic(skin(1))).unwrap();
    assert!(twice.findings.iter().any(|finding| finding.kind == FindingKind::SamePicture), "{:?}", twice.findings);
}

#[test]
fn thresholds_are_those_of_the_model_file() {
    let mut bundle = bundle();
    bundle.description.quality = QualityThresholds { shorter_side: 91, black: 0.0, range: 0.0, ..Default::default() };
    let model = Model::from_bytes(&bundle.to_bytes().unwrap(), &Device::flex()).unwrap();
    assert_eq!(model.bundle().description.quality, bundle.description.quality);
    let answer = model.predict(&Patient::new().clinical(skin(0)).dermoscopic(skin(3))).unwrap();
    let small: Vec<_> = answer.findings.iter().filter(|finding| finding.kind == FindingKind::TooSmall).collect();
    assert_eq!(small.iter().map(|finding| finding.image).collect::<Vec<_>>(), Modality::BOTH.map(Some));

    bundle.description.quality.skin = f64::NAN;
    let error = bundle.to_bytes().unwrap_err().to_string();
    assert_eq!(error, "`quality.skin` must be from 0 to 1, found NaN");
}

#[test]
fn a_case_unlike_the_training_cases_is_told_and_a_file_keeps_what_tells_it() {
    let bundle = fitted(95.0);
    let bytes = bundle.to_bytes().unwrap();
    assert_eq!(bytes, bundle.to_bytes().unwrap());
    let model = Model::from_bytes(&bytes, &Device::flex()).unwrap();
    assert_eq!(model.bundle().description.out_of_distribution, bundle.description.out_of_distribution);
    let ask =
        |one: RgbPixels, other: RgbPixels| model.predict(&Patient::new().clinical(one).dermoscopic(other)).unwrap();
    let near = ask(skin(4), skin(5)).out_of_distribution.unwrap();
    assert_eq!(near.percentile, bundle.description.out_of_distribution.as_ref().unwrap().percentile(near.score));
    let board = RgbPixels::new(120, 90, (0..120 * 90).flat_map(|at| [(at / 8 % 2 * 255) as u8; 3]).collect()).unwrap();
    let far = ask(board.clone(), board).out_of_distribution.unwrap();
    assert!(far.is_unlike && far.percentile == 100.0 && far.score > 2.0 * near.score, "{far:?} {near:?}");
    assert!(far.to_string().ends_with("farther away than all reference cases"), "{far}");
    // Of one picture alone nothing can be told.
    assert_eq!(model.predict(&Patient::new().clinical(skin(4))).unwrap().out_of_distribution, None);
}

#[test]
fn a_table_of_cases_says_the_same_as_one_patient() {
    let model = Model::new(fitted(95.0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pixels: &RgbPixels| {
        let file = folder.path().join(name);
        std::fs::write(&file, encode_png(pixels)).unwrap();
        [file.into()]
    };
    let (mut questions, night) = (model.bundle().questions(), file("black.png", &black()));
    let [one, other] = [4, 5].map(|seed| file(&format!("{seed}.png"), &skin(seed)));
    questions.add("good", &one, &other, &[]).unwrap();
    questions.add("dark", &night, &other, &[]).unwrap();
    let answers = model.bundle().answer(&questions, |_| ()).unwrap();
    let answer = model.predict(&Patient::new().clinical(skin(4)).dermoscopic(skin(5))).unwrap();
    assert_eq!((&answers.findings[0], answers.distances[0]), (&answer.findings, answer.out_of_distribution));
    assert_eq!(answers.findings[1][0].kind, FindingKind::Black);
    let notes = answers.notes.join("\n");
    assert!(notes.contains("cases; the first, `"), "{notes}");
    assert!(notes.contains("unlike the training cases; the first, `"), "{notes}");
}
