//! A description that is read from a file makes a network or a typed error, and never asks for memory beyond the limits.

use burn::tensor::Device;
use dermafuse_backbones::{BackboneKind, parameter_count};
use dermafuse_fusion::ReversalSchedule;
use dermafuse_networks::{
    AmfamConfig, AsymmetricFusionConfig, FusionNetConfig, ImageClassifierConfig, MAX_PARAMETERS, MAX_WIDTH,
    MetadataClassifierConfig, MetadataNetworkConfig, Modality, ModalityDiscriminatorConfig, NetworkConfig,
    NetworkError, NetworkKind, ReconstructionConfig, Squeeze,
};
use serde_json::{Value, json};

const SMALL: BackboneKind = BackboneKind::ResNet18Quarter;

fn classes() -> Vec<usize> {
    vec![3, 2]
}

/// One network of every structure, and with every module that has numbers of its own.
fn networks() -> Vec<NetworkConfig> {
    let reconstruction = ReconstructionConfig { squeeze: Squeeze::Depthwise { side: 3 }, ..Default::default() };
    let reversal = ReversalSchedule::GANIN;
    let discriminator = ModalityDiscriminatorConfig { reversal, ..Default::default() };
    let amfam = AmfamConfig {
        reconstruction: Some(reconstruction),
        discriminator: Some(discriminator),
        ..AmfamConfig::new(SMALL, classes())
    };
    let examples = NetworkKind::ALL.into_iter().flat_map(|kind| kind.examples(&classes(), 6));
    examples.chain([NetworkConfig::Amfam(amfam)]).collect()
}

/// The places of all numbers and lists in a value.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            found.push(path.to_owned());
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{path}/{index}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| places(field, &format!("{path}/{name}"), found));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => (),
    }
}

/// What stands in the place of a number or a list.
fn hostile(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => {
            let item = items.first().cloned().unwrap_or(json!(1));
            vec![json!([]), Value::Array(vec![item.clone(); 3]), Value::Array(vec![item; 100_000])]
        }
        _ => {
            let wholes = [0, 1, 2, 5, 7, 64, 1000, 65_536, 65_537, 1 << 20, 1 << 31, 1 << 40, u64::MAX];
            let fractions = [-1.0, -1e-9, 0.5, 1.0, 1.5, 1e300];
            wholes.into_iter().map(|whole| json!(whole)).chain(fractions.into_iter().map(|part| json!(part))).collect()
        }
    }
}

#[test]
fn no_number_in_a_description_is_a_panic_or_an_allocation() {
    let device = Device::flex();
    let (mut networks_made, mut refused, mut unreadable) = (0, 0, 0);
    for config in networks() {
        config.init(&device).unwrap();
        let plain = serde_json::to_value(&config).unwrap();
        let mut found = Vec::new();
        places(&plain, "", &mut found);
        assert!(!found.is_empty());
        for place in found {
            for value in hostile(plain.pointer(&place).unwrap()) {
                let mut changed = plain.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                let Ok(changed) = serde_json::from_value::<NetworkConfig>(changed) else {
                    unreadable += 1;
                    continue;
                };
                match changed.init(&device) {
                    Ok(network) => {
                        assert!(parameter_count(&network) <= MAX_PARAMETERS);
                        networks_made += 1;
                    }
                    Err(error) => {
                        let message = error.to_string();
                        assert!(message.len() < 1000, "{place}: a message of {} characters", message.len());
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(networks_made > 500 && refused > 500 && unreadable > 500, "{networks_made}, {refused}, {unreadable}");
}

#[test]
fn what_is_too_large_is_named() {
    let device = Device::flex();
    let metadata = |inputs, layers: Vec<usize>| {
        let metadata = MetadataNetworkConfig { layers, ..MetadataNetworkConfig::new(inputs) };
        let config = NetworkConfig::MetadataClassifier(MetadataClassifierConfig { metadata, classes: classes() });
        config.init(&device).unwrap_err().to_string()
    };
    assert_eq!(metadata(1_000_000_000_000, vec![8]), "1000000000000 encoded columns are more than the limit of 65536");
    assert_eq!(metadata(6, vec![8, 70_000]), "70000 units or features are more than the limit of 65536");
    assert_eq!(metadata(0, vec![]), NetworkError::NoMetadata.to_string());
    let whole = metadata(MAX_WIDTH, vec![MAX_WIDTH, MAX_WIDTH]);
    assert!(whole.ends_with("parameters are more than the limit of 1073741824"), "{whole}");
    let many = NetworkConfig::FusionNet(FusionNetConfig::new(SMALL, vec![2; 5000]));
    let error = many.init(&device).unwrap_err().to_string();
    assert_eq!(error, "5000 tasks are more than the limit of 1024");
}

#[test]
fn backbones_whose_maps_never_meet_are_refused_with_those_that_fit() {
    let device = Device::flex();
    let pair = |clinical, dermoscopic, stages| {
        let fusion = Some("aab".parse().unwrap());
        let config =
            AsymmetricFusionConfig { stages, ..AsymmetricFusionConfig::new(clinical, dermoscopic, fusion, classes()) };
        NetworkConfig::AsymmetricFusion(config)
    };
    let (squeeze, inception) = (BackboneKind::SqueezeNet, BackboneKind::InceptionV3);
    let error = pair(squeeze, inception, [true; 4]).init(&device).unwrap_err();
    assert!(matches!(error, NetworkError::MapSizes { .. }));
    let message = error.to_string();
    for part in [
        "asymmetric_attention joins maps of the same size",
        "squeezenet1_1 maps of [55, 27, 13, 13]",
        "inception_v3 maps of [52, 25, 12, 5]",
        "squeezenet1_1 goes with squeezenet1_1",
        "inception_v3 goes with inception_v3",
    ] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let partners = pair(BackboneKind::ResNet18, squeeze, [true; 4]).init(&device).unwrap_err().to_string();
    assert!(
        partners.contains("resnet18 goes with resnet18, resnet18_quarter") && partners.contains("swin_v2_t"),
        "{partners}"
    );

    // Without attention nothing is joined, and after other stages they may meet.
    let NetworkConfig::AsymmetricFusion(apart) = pair(squeeze, inception, [true; 4]) else { unreachable!() };
    NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig { fusion: None, ..apart }).init(&device).unwrap();
    let last = [false, false, true, false];
    pair(BackboneKind::ResNet18, BackboneKind::Xception, last).init(&device).unwrap();
}

#[test]
fn images_that_do_not_fit_are_refused_with_sizes_that_do() {
    let fusion = Some("bab".parse().unwrap());
    let pair = AsymmetricFusionConfig::new(BackboneKind::ResNet18, BackboneKind::Vgg16, fusion, classes());
    let config = NetworkConfig::AsymmetricFusion(pair);
    config.check_images(224).unwrap();
    let error = config.check_images(230).unwrap_err().to_string();
    let expected = "images of 230 pixels give resnet18 maps of [58, 29, 15, 8] pixels and vgg16 maps of [57, 28, 14, 7], which \
                    cannot be joined; with images of [224, 256, 192] pixels they are equal";
    assert_eq!(error, expected);
    let small = NetworkConfig::ImageClassifier(ImageClassifierConfig::new(
        BackboneKind::InceptionV3,
        Modality::Clinical,
        classes(),
    ));
    let error = small.check_images(64).unwrap_err().to_string();
    assert_eq!(error, "inception_v3 needs images of at least 75 pixels, found 64; choose a larger size");
    let squeeze = Squeeze::Depthwise { side: 10 };
    let reconstruction = Some(ReconstructionConfig { squeeze, ..Default::default() });
    let amfam = NetworkConfig::Amfam(AmfamConfig { reconstruction, ..AmfamConfig::new(SMALL, classes()) });
    amfam.check_images(320).unwrap();
    assert!(amfam.check_images(224).unwrap_err().to_string().ends_with("for images of 224 pixels it is 7"));
}
