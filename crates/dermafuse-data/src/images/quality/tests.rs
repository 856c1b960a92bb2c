use dermafuse_schema::Modality;

use super::reduced::{SIDE, area_means, reduced};
use super::*;
use crate::{Corruption, RgbPixels, Severity};

/// Skin with fine lines, and a dark spot in its middle, of whole numbers alone; `light` is that of the skin, of 100.
fn skin(width: usize, height: usize, light: usize) -> RgbPixels {
    let data = (0..width * height).flat_map(|at| {
        let (x, y) = (at % width, at / width);
        let far = (2 * x).abs_diff(width).pow(2) + (2 * y).abs_diff(height).pow(2);
        let grain = (x * 7919 + y * 104_729 + x * y * 31) % 23;
        let colour = if far < width.min(height).pow(2) / 6 { [96, 62, 50] } else { [212, 160, 138] };
        colour.map(|value| ((value - grain) * light / 100).min(255) as u8)
    });
    RgbPixels::new(width, height, data.collect()).unwrap()
}

fn plain(colour: [u8; 3]) -> RgbPixels {
    RgbPixels::new(300, 225, colour.repeat(300 * 225)).unwrap()
}

/// The findings of a clinical picture, without those that compare kinds.
fn kinds(pixels: &RgbPixels) -> Vec<FindingKind> {
    let findings = QualityThresholds::default().findings(&[&ImageMeasures::of(pixels)], &[]);
    findings.into_iter().map(|finding| finding.kind).filter(|kind| *kind != FindingKind::OtherKind).collect()
}

#[test]
fn a_sound_picture_has_no_finding() {
    for (width, height) in [(128, 96), (300, 225), (640, 481), (97, 64)] {
        assert_eq!(kinds(&skin(width, height, 100)), [], "{width} x {height}");
    }
}

#[test]
fn each_fault_is_found_by_its_name() {
    assert_eq!(kinds(&skin(63, 90, 100)), [FindingKind::TooSmall]);
    assert_eq!(kinds(&plain([0, 0, 0])), [FindingKind::Black]);
    assert_eq!(kinds(&plain([31, 30, 33])), [FindingKind::Black]);
    assert_eq!(kinds(&plain([255, 255, 255])), [FindingKind::White]);
    assert_eq!(kinds(&plain([210, 160, 140])), [FindingKind::OneColour]);
    assert_eq!(kinds(&skin(300, 225, 30)), [FindingKind::TooDark]);
    assert_eq!(kinds(&skin(300, 225, 150)), [FindingKind::TooBright]);
    let blurred = Corruption::GaussianBlur.apply(&skin(300, 225, 100), Severity::new(4).unwrap(), 1);
    assert_eq!(kinds(&blurred), [FindingKind::Blurred]);
    let green = skin(300, 225, 100);
    let green = green.data().chunks_exact(3).flat_map(|pixel| [pixel[2], pixel[0], pixel[1]]).collect();
    assert_eq!(kinds(&RgbPixels::new(300, 225, green).unwrap()), [FindingKind::NoSkin]);
}

#[test]
fn a_picture_of_any_size_can_be_measured() {
    for (width, height) in [(1, 1), (1, 7), (900, 1), (2, 2), (3, 400)] {
        let measures = ImageMeasures::of(&skin(width, height, 100));
        assert_eq!((measures.width, measures.height), (width, height));
        assert!([measures.sharpness, measures.skin, measures.dermoscopic].iter().all(|value| value.is_finite()));
        assert!(kinds(&skin(width, height, 100)).contains(&FindingKind::TooSmall));
    }
}

#[test]
fn a_copy_has_the_means_of_areas() {
    let pixels = RgbPixels::new(3, 1, vec![0, 0, 0, 90, 90, 90, 30, 30, 30]).unwrap();
    // Two pixels of one and a half each: (0 + 45) / 1.5 and (45 + 30) / 1.5.
    assert_eq!(area_means(&pixels, 2, 1).data(), [30, 30, 30, 50, 50, 50]);
    assert_eq!(area_means(&pixels, 1, 1).data(), [40, 40, 40]);
    assert_eq!(area_means(&pixels, 3, 1), pixels);
    let copy = reduced(&skin(4000, 10, 100));
    assert_eq!((copy.width(), copy.height()), (SIDE, 1));
    assert_eq!(reduced(&skin(100, 70, 100)), skin(100, 70, 100));
}

#[test]
fn the_same_pixels_give_the_same_bits_on_every_machine() {
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    let measures = ImageMeasures::of(&skin(451, 300, 100));
    let found =
        [measures.brightness, measures.range, measures.skin, measures.sharpness, measures.dermoscopic].map(bits);
    // From a program of its own that follows the definitions.
    let expected = ["4064200000000000", "405e800000000000", "3ff0000000000000", "405122f1a1a84bd0", "c036b125aad85195"];
    assert_eq!(found, expected);
}

#[test]
fn the_same_picture_twice_is_found_however_it_was_stored() {
    let thresholds = QualityThresholds::default();
    let picture = ImageMeasures::of(&skin(400, 300, 100));
    let stored = Corruption::JpegCompression.apply(&skin(400, 300, 100), Severity::new(1).unwrap(), 1);
    for other in [&skin(400, 300, 100), &skin(800, 600, 100), &stored] {
        let findings = thresholds.findings(&[&picture], &[&ImageMeasures::of(other)]);
        assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::SamePicture]);
    }
    let other = ImageMeasures::of(&skin(400, 300, 85));
    assert!(picture.difference(&other) > 10.0);
    // Two black pictures are black, and that is all.
    let black = ImageMeasures::of(&plain([0; 3]));
    let both = thresholds.findings(&[&black], &[&black]);
    assert_eq!(
        both.iter().map(|finding| (finding.kind, finding.image)).collect::<Vec<_>>(),
        [(FindingKind::Black, Some(Modality::Clinical)), (FindingKind::Black, Some(Modality::Dermoscopic))]
    );
}

#[test]
fn kinds_are_compared_where_a_case_has_both() {
    let thresholds = QualityThresholds::default();
    let of =
        |score: f64, light: usize| ImageMeasures { dermoscopic: score, ..ImageMeasures::of(&skin(300, 225, light)) };
    let found = |clinical: &[&ImageMeasures], dermoscopic: &[&ImageMeasures]| -> Vec<(FindingKind, Option<Modality>)> {
        thresholds.findings(clinical, dermoscopic).into_iter().map(|finding| (finding.kind, finding.image)).collect()
    };
    let (clinical, dermoscopic) = (of(-3.0, 100), of(3.0, 85));
    assert_eq!(found(&[&clinical], &[&dermoscopic]), []);
    assert_eq!(found(&[&dermoscopic], &[&clinical]), [(FindingKind::Exchanged, None)]);
    // A pair of which both look dermoscopic is told by which looks so more.
    assert_eq!(found(&[&of(30.0, 100)], &[&of(31.0, 85)]), []);
    // By itself a picture must look clearly like one of the other kind.
    let clearly = thresholds.other_kind + 0.1;
    assert_eq!(found(&[&dermoscopic], &[]), []);
    assert_eq!(found(&[&of(clearly, 100)], &[]), [(FindingKind::OtherKind, Some(Modality::Clinical))]);
    assert_eq!(found(&[], &[&of(-clearly, 100)]), [(FindingKind::OtherKind, Some(Modality::Dermoscopic))]);
    // Of several pictures the means count.
    assert_eq!(found(&[&of(-3.0, 100), &of(0.5, 95)], &[&dermoscopic]), []);
}

#[test]
fn a_finding_is_a_sentence_and_a_value() {
    let thresholds = QualityThresholds::default();
    let small = ImageMeasures::of(&skin(40, 30, 100));
    let sound = ImageMeasures::of(&skin(300, 225, 100));
    let findings = thresholds.findings(&[&sound, &small], &[]);
    let finding = findings.iter().find(|finding| finding.kind == FindingKind::TooSmall).unwrap();
    assert_eq!(
        finding.to_string(),
        "the clinical image 2 is too small (its shorter side has 30 pixels, at least 64 are needed)"
    );
    let json = serde_json::to_value(finding).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "kind": "too_small", "image": "clinical", "look": 1, "value": 30.0, "threshold": 64.0
        })
    );
    assert_eq!(&serde_json::from_value::<QualityFinding>(json).unwrap(), finding);
    for kind in FindingKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        let image = (!matches!(kind, FindingKind::Exchanged | FindingKind::SamePicture)).then_some(Modality::Clinical);
        let text = QualityFinding { kind, image, look: 0, value: 0.25, threshold: 0.5 }.to_string();
        assert!(text.starts_with("the clinical ") && text.ends_with(')'), "{text}");
    }
}

#[test]
fn thresholds_that_are_no_numbers_are_refused() {
    QualityThresholds::default().check().unwrap();
    type Change = fn(&mut QualityThresholds, f64);
    let changes: [(&str, Change); 10] = [
        ("black", |it, value| it.black = value),
        ("white", |it, value| it.white = value),
        ("range", |it, value| it.range = value),
        ("dark", |it, value| it.dark = value),
        ("bright", |it, value| it.bright = value),
        ("sharpness", |it, value| it.sharpness = value),
        ("skin", |it, value| it.skin = value),
        ("other_kind", |it, value| it.other_kind = value),
        ("exchanged", |it, value| it.exchanged = value),
        ("same", |it, value| it.same = value),
    ];
    for (name, change) in changes {
        for value in [f64::NAN, f64::INFINITY, -0.1] {
            let mut thresholds = QualityThresholds::default();
            change(&mut thresholds, value);
            let text = thresholds.check().unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("`{name}` must be ")) && text.ends_with(&format!("found {value}")),
                "{text}"
            );
        }
    }
    let text = serde_json::to_string(&QualityThresholds::default()).unwrap();
    assert_eq!(serde_json::from_str::<QualityThresholds>(&text).unwrap(), QualityThresholds::default());
    assert!(serde_json::from_str::<QualityThresholds>(&text.replace("skin", "skins")).is_err());
}

#[test]
fn each_feature_of_the_rule_has_a_name_and_a_weight() {
    let names: std::collections::BTreeSet<String> = ViewRule::names().into_iter().collect();
    assert_eq!(names.len(), ViewRule::FEATURES);
    assert!(ViewRule::SHIPPED.weights.iter().all(|weight| *weight != 0.0));
    // The score is the sum that the documentation says.
    let features = ViewRule::features(&skin(300, 225, 100));
    let sum: f64 = features.iter().zip(ViewRule::SHIPPED.weights).map(|(feature, weight)| feature * weight).sum();
    assert!((ViewRule::SHIPPED.score(&features) - ViewRule::SHIPPED.intercept - sum).abs() < 1e-9);
}
