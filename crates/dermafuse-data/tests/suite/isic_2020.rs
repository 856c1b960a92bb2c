use dermafuse_data::{CaseSet, DataSetKind, LoadOptions, MetadataEncoder, MetadataRoles, isic_2020, isic_2024};
use dermafuse_schema::{FieldRole, FieldValue};

use crate::fixture::{plain_jpeg, write};

const KAGGLE: &str =
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target
ISIC_1,IP_1,male,45.0,head/neck,unknown,benign,0
ISIC_2,IP_1,male,50.0,torso,melanoma,malignant,1
ISIC_3,IP_2,,,,nevus,benign,0
";

fn root(files: &[(&str, &str)], images: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&root.path().join(name), text.as_bytes());
    }
    for (index, image) in images.iter().enumerate() {
        write(&root.path().join(image), &plain_jpeg(20 + 30 * index as u8));
    }
    root
}

const IMAGES: [&str; 3] = ["jpeg/train/ISIC_1.jpg", "jpeg/train/ISIC_2.jpg", "jpeg/train/ISIC_3.jpg"];

#[test]
fn isic_2020_is_read_in_its_published_forms() {
    let set = DataSetKind::Isic2020.load(root(&[("train.csv", KAGGLE)], &IMAGES).path()).unwrap();
    assert_eq!((set.name.as_str(), set.len(), set.notes.len()), ("isic-2020", 3, 0));
    assert_eq!(set.tasks[0].classes, ["benign", "malignant"]);
    assert_eq!(set.view(&[0, 1, 2]).unwrap().class_counts(0).unwrap(), [2, 1]);
    assert_eq!((set.cases[0].group.as_str(), set.cases[1].patient.as_deref()), ("IP_1", Some("IP_1")));
    use FieldValue::{Category, Missing, Number};
    assert_eq!(set.cases[1].metadata, [Number(50.0), Category(1), Category(4), Category(4)]);
    assert_eq!(set.cases[2].metadata, [Missing, Missing, Missing, Category(5)]);
    assert_eq!(set.cases[0].metadata[3], Missing, "`unknown` is no diagnosis");
    assert!(!set.cases[0].dermoscopic.is_empty() && set.cases[0].clinical.is_empty());
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, isic_2020::encoding()).unwrap();
    assert_eq!((encoder.width(), encoder.uses_post_diagnosis().len()), (9, 0), "the diagnosis is no input");

    // The archive's second form says the lesions, and goes first.
    let second: String = KAGGLE
        .lines()
        .enumerate()
        .map(|(line, text)| text.replacen(',', if line == 0 { ",lesion_id," } else { ",IL_7," }, 1) + "\n")
        .collect();
    let second = second
        .replace("lesion_id,patient_id", "patient_id,lesion_id")
        .replace("IL_7,IP_1", "IP_1,IL_7")
        .replace("IL_7,IP_2", "IP_2,");
    let files =
        [("ISIC_2020_Training_GroundTruth_v2.csv", second.as_str()), ("ISIC_2020_Training_GroundTruth.csv", KAGGLE)];
    let set = isic_2020::load(root(&files, &IMAGES).path()).unwrap();
    assert_eq!((set.cases[0].lesion.as_deref(), set.cases[2].lesion.as_deref()), (Some("IL_7"), None));
    assert_eq!(set.cases[0].group, "IP_1");

    let test = "image,patient,age_approx,sex,anatom_site_general\nISIC_1,IP_9,30,female,palms/soles\n";
    let set = isic_2020::load(root(&[("ISIC_2020_Test_Metadata.csv", test)], &IMAGES).path()).unwrap();
    assert_eq!((set.cases[0].labels[0], set.cases[0].metadata[2]), (None, Category(3)));
    assert!(set.notes[0].ends_with("has no target: all labels are unknown"), "{:?}", set.notes);
}

#[test]
fn faults_of_isic_2020_are_named_with_their_place() {
    let error = |from: &str, to: &str, images: &[&str]| {
        assert!(KAGGLE.contains(from));
        isic_2020::load(root(&[("train.csv", &KAGGLE.replacen(from, to, 1))], images).path()).unwrap_err().to_string()
    };
    let text = error("malignant,1", "benign,1", &IMAGES);
    assert!(
        text.ends_with("line 3, column `benign_malignant`: found `benign`, expected `malignant`, as `target` says"),
        "{text}"
    );
    assert!(error("malignant,1", "malignant,2", &IMAGES).contains("column `target`: unknown value `2`; known: 0, 1"));
    assert!(error("torso", "trunk", &IMAGES).contains("line 3, column `anatom_site_general_challenge`: unknown value"));
    assert!(
        error("nevus", "wart", &IMAGES).contains("line 4, column `diagnosis`: unknown value `wart`; known: atypical")
    );
    assert!(error("IP_2", "", &IMAGES).ends_with("line 4, column `patient_id`: found ``, expected an identifier"));
    assert!(error("ISIC_2", "ISIC_1", &IMAGES).ends_with("expected a name that line 2 does not have"));
    assert!(error("ISIC_2", "ISIC_9", &IMAGES).ends_with("(1 of 3 images are missing)"));
    let text = error("ISIC_2", "ISIC_2", &["train/ISIC_1.tfrec"]);
    assert!(
        text.contains("not found; ISIC 2020: get it at https://") && text.contains("TFRecords are not read"),
        "{text}"
    );
    let text = isic_2020::load("/nowhere/isic").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/isic: not found; ISIC 2020: get it at https://"), "{text}");
    let empty = isic_2020::load(root(&[], &[]).path()).unwrap_err().to_string();
    assert!(empty.contains("train.csv: not found; ISIC 2020"), "{empty}");
}

#[test]
fn a_full_isic_2020_is_held_against_the_published_counts() {
    let full = |malignant: usize| -> Result<CaseSet, String> {
        let mut text = String::from("image_name,patient_id,sex,age_approx,anatom_site_general_challenge,target\n");
        for row in 0..isic_2020::PUBLISHED_CASES {
            let patient = row % isic_2020::PUBLISHED_PATIENTS;
            text.push_str(&format!("I{row},P{patient},male,50,torso,{}\n", usize::from(row < malignant)));
        }
        let root = root(&[("train.csv", &text)], &[]);
        isic_2020::load_with(root.path(), &LoadOptions::metadata_only()).map_err(|error| error.to_string())
    };
    assert_eq!(full(584).unwrap().len(), 33_126);
    assert!(
        full(585).unwrap_err().starts_with("ISIC 2020: malignant images: 585 where the published data set has 584")
    );
}

const SLICE: &str = "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,image_type,\
tbp_tile_type,tbp_lv_A,tbp_lv_location,tbp_lv_location_simple,tbp_lv_nevi_confidence,tbp_lv_x,attribution,copyright_license,\
lesion_id,iddx_full,iddx_1,mel_mitotic_index,mel_thick_mm,tbp_lv_dnn_lesion_confidence
ISIC_1,0,IP_1,60.0,male,lower extremity,3.04,TBP tile: close-up,3D: white,20.24,Right Leg - Upper,Right Leg,2.6,-182.7,\
A clinic,CC-BY,,Benign,Benign,,,97.5
ISIC_2,1,IP_2,,,,1.1,TBP tile: close-up,3D: XP,31.7,Head & Neck,Head & Neck,2e-7,-0.078,Another,CC-0,IL_1,\
Malignant::Melanoma,Malignant,2/mm^2,0.5,3.1
";

#[test]
fn isic_2024_keeps_apart_what_is_known_before_the_diagnosis() {
    let images = ["train-image/image/ISIC_1.jpg", "train-image/image/ISIC_2.jpg"];
    let set = DataSetKind::Isic2024.load(root(&[("train-metadata.csv", SLICE)], &images).path()).unwrap();
    assert_eq!((set.name.as_str(), set.len(), set.notes.len()), ("isic-2024", 2, 0));
    assert_eq!((set.cases[0].labels[0], set.cases[1].labels[0]), (Some(0), Some(1)));
    assert!(!set.cases[0].clinical.is_empty() && set.cases[0].dermoscopic.is_empty());
    assert_eq!((set.cases[0].group.as_str(), set.cases[1].lesion.as_deref()), ("IP_1", Some("IL_1")));
    let value = |case: usize, name: &str| {
        set.cases[case].metadata[set.fields.iter().position(|field| field.name == name).unwrap()]
    };
    use FieldValue::{Category, Missing, Number};
    assert_eq!((value(0, "tbp_lv_A"), value(0, "tbp_lv_Aext")), (Number(20.24), Missing));
    assert_eq!((value(0, "tbp_lv_location"), value(1, "tbp_lv_location")), (Category(1), Category(0)));
    assert_eq!((value(0, "mel_thick_mm"), value(1, "iddx_full")), (Missing, Category(1)));
    let names = |role: FieldRole| {
        let fields = set.fields.iter().filter(move |field| field.role == role);
        fields.map(|field| field.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names(FieldRole::PreDiagnosis), ["age_approx", "sex", "anatom_site_general"]);
    assert_eq!(names(FieldRole::PostDiagnosis), ["iddx_full", "mel_mitotic_index", "mel_thick_mm"]);
    assert_eq!(names(FieldRole::Provenance), ["attribution", "tbp_tile_type"]);
    assert!(
        names(FieldRole::ImageDerived).iter().all(|name| name.starts_with("tbp_lv_") || name.starts_with("clin_size"))
    );
    assert_eq!(names(FieldRole::ImageDerived).len(), 36);
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis).unwrap();
    assert_eq!(encoder.width(), 8);

    let test = SLICE.replace(",target,", ",other,");
    let set = isic_2024::load(root(&[("test-metadata.csv", &test)], &images).path()).unwrap();
    assert!(set.cases.iter().all(|case| case.labels == [None]));
    assert!(set.notes[0].ends_with("test-metadata.csv has no target: all labels are unknown"), "{:?}", set.notes);
}

#[test]
fn faults_of_isic_2024_are_named_with_the_remedy() {
    let files = [("train-metadata.csv", SLICE), ("train-image.hdf5", "\u{89}HDF")];
    let text = isic_2024::load(root(&files, &[]).path()).unwrap_err().to_string();
    assert!(
        text.contains("train-image.hdf5 is not a folder of JPEG files; unpack train-image, or write each"),
        "{text}"
    );
    let text = isic_2024::load(root(&files[..1], &[]).path()).unwrap_err().to_string();
    assert!(text.contains("ISIC_1: not found; ISIC 2024: get it at https://"), "{text}");
    let error = |from: &str, to: &str| {
        assert!(SLICE.contains(from));
        let root = root(&[("train-metadata.csv", &SLICE.replacen(from, to, 1))], &[]);
        isic_2024::load_with(root.path(), &LoadOptions::metadata_only()).unwrap_err().to_string()
    };
    assert!(error("20.24", "red").contains("line 2, column `tbp_lv_A`: found `red`, expected a finite number"));
    assert!(
        error("3D: XP", "2D").contains("line 3, column `tbp_tile_type`: unknown value `2D`; known: 3D: XP, 3D: white")
    );
    assert!(error("ISIC_2,1", "ISIC_2,yes").contains("column `target`: unknown value `yes`; known: 0, 1"));
    assert!(error("patient_id", "person").contains("column `patient_id` is missing"));
    let text = isic_2024::load("/nowhere/slice").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/slice: not found; ISIC 2024: get it at https://"), "{text}");
}
