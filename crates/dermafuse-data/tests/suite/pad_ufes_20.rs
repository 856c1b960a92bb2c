use std::path::PathBuf;

use dermafuse_data::{
    CaseUnit, DataSetKind, ImageSource, LoadOptions, MetadataEncoder, MetadataRoles, SYNTHETIC_MARKER, pad_ufes_20,
};
use dermafuse_schema::{FieldRole, FieldValue};
use image::ExtendedColorType;

use crate::fixture::{png, write};

const HEADER: &str = "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,\
skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,\
itch,grew,hurt,changed,bleed,elevation,img_id,biopsed";

/// Four images with the oddities of the published table: a history that is missing all at once, `UNK`, two spellings of
/// a country, a diameter of 0, one lesion number for two patients, a patient with two diagnoses.
fn rows() -> Vec<String> {
    [
        "PAT_7,30,,,,,8,,,,,,,,ARM,,,NEV,False,False,False,False,False,False,PAT_7_30_1.png,False",
        "PAT_8,30,False,True,BRASIL,NORWAY,61,False,FEMALE,True,False,True,True,2.0,NOSE,0.0,100.0,BCC,\
         True,UNK,True,UNK,True,True,PAT_8_30_2.png,True",
        "PAT_8,31,False,True,BRAZIL,NORWAY,61,False,FEMALE,True,False,True,True,2.0,FACE,5.5,5.0,ACK,\
         True,True,False,UNK,False,UNK,PAT_8_31_3.png,False",
        "PAT_9,32,True,False,UNK,UNK,55,True,MALE,False,False,False,False,6.0,LIP,7.0,6.0,MEL,\
         False,True,False,True,False,True,PAT_9_32_4.png,True",
    ]
    .map(|row| row.replace("         ", ""))
    .to_vec()
}

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        Self::of(&rows())
    }

    fn of(rows: &[String]) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        write(&fixture.path("metadata.csv"), format!("{HEADER}\n{}\n", rows.join("\n")).as_bytes());
        // As unpacked: folders in folders, with and without alpha.
        for (name, level, color) in [
            ("images/imgs_part_1/imgs_part_1/PAT_7_30_1.png", 10, ExtendedColorType::Rgba8),
            ("images/imgs_part_1/imgs_part_1/PAT_8_30_2.png", 60, ExtendedColorType::Rgb8),
            ("images/imgs_part_2/PAT_8_31_3.PNG", 90, ExtendedColorType::Rgba8),
            ("imgs_part_3/PAT_9_32_4.png", 120, ExtendedColorType::Rgb8),
        ] {
            let samples = vec![level; 4 * usize::from(color.bits_per_pixel() / 8)];
            write(&fixture.path(name), &png(2, 2, color, &samples));
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn error(&self) -> String {
        pad_ufes_20::load(self.0.path()).unwrap_err().to_string()
    }
}

/// The error of the fixture with `from` replaced by `to` in one row.
fn broken(row: usize, from: &str, to: &str) -> String {
    let mut rows = rows();
    assert!(rows[row].contains(from));
    rows[row] = rows[row].replacen(from, to, 1);
    Fixture::of(&rows).error()
}

#[test]
fn the_published_layout_loads_with_its_oddities() {
    let fixture = Fixture::new();
    let set = pad_ufes_20::load(fixture.0.path()).unwrap();
    assert_eq!((set.name.as_str(), set.len(), set.synthetic), ("pad-ufes-20", 4, false));
    assert_eq!(set.tasks[0].classes, ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"]);
    let labels: Vec<usize> = set.cases.iter().map(|case| case.labels[0].unwrap()).collect();
    assert_eq!(labels, [3, 1, 0, 2]);
    assert!(set.notes.is_empty(), "{:?}", set.notes);

    let case = &set.cases[1];
    assert_eq!((case.id.as_str(), case.group.as_str()), ("PAT_8_30_2.png", "PAT_8"));
    assert_eq!((case.patient.as_deref(), case.lesion.as_deref()), (Some("PAT_8"), Some("PAT_8_30")));
    assert_ne!(set.cases[0].lesion, case.lesion, "patients share lesion numbers");
    assert!(case.clinical[0].path.ends_with("imgs_part_1/PAT_8_30_2.png") && case.dermoscopic.is_empty());
    assert!(set.cases[2].clinical[0].path.ends_with("imgs_part_2/PAT_8_31_3.PNG"));
    let value = |case: usize, name: &str| {
        set.cases[case].metadata[set.fields.iter().position(|field| field.name == name).unwrap()]
    };
    assert_eq!((value(0, "smoke"), value(0, "age")), (FieldValue::Missing, FieldValue::Number(8.0)));
    assert_eq!((value(1, "grew"), value(1, "diameter_1")), (FieldValue::Category(2), FieldValue::Number(0.0)));
    let (father, mother) = (value(1, "background_father"), value(1, "background_mother"));
    assert_eq!((father, value(3, "background_father")), (FieldValue::Category(8), FieldValue::Category(6)));
    assert_eq!((value(2, "background_father"), mother), (FieldValue::Category(2), FieldValue::Category(6)));
}

#[test]
fn lesions_are_cases_where_that_is_asked_for() {
    let mut rows = rows();
    // A second photo of a lesion, at which less was recorded and another diameter measured.
    rows[3] =
        rows[1].replace("PAT_8_30_2", "PAT_9_32_4").replace("61,False", ",False").replace("0.0,100.0", "3.0,100.0");
    let fixture = Fixture::of(&rows);
    let options = LoadOptions { cases: CaseUnit::Lesions, ..LoadOptions::default() };
    let set = DataSetKind::PadUfes20.load_with(fixture.0.path(), &options).unwrap();
    let cases: Vec<(&str, usize)> = set.cases.iter().map(|case| (case.id.as_str(), case.clinical.len())).collect();
    assert_eq!(cases, [("PAT_7_30", 1), ("PAT_8_30", 2), ("PAT_8_31", 1)]);
    let value = |name: &str| set.cases[1].metadata[set.fields.iter().position(|field| field.name == name).unwrap()];
    assert_eq!((value("age"), value("diameter_1")), (FieldValue::Number(61.0), FieldValue::Number(0.0)));
    assert_eq!(
        set.notes,
        [
            "4 cases of the set are 3 lesions, 1 of them with several images of a kind",
            "in 1 lesions images are recorded with different values of a field: the first counts",
        ]
    );
    assert_eq!(
        DataSetKind::PadUfes20.load(fixture.0.path()).unwrap().len(),
        4,
        "images are cases unless lesions are asked for"
    );
}

#[test]
fn the_published_encoding_has_81_columns_without_the_biopsy() {
    let fixture = Fixture::new();
    let options = LoadOptions::metadata_only();
    let set = pad_ufes_20::load_with(fixture.0.path(), &options).unwrap();
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases[..1], pad_ufes_20::encoding()).unwrap();
    assert_eq!(encoder.width(), 81);
    assert!(encoder.uses_post_diagnosis().is_empty());
    let encoded = encoder.matched(&set.fields).unwrap().encode(&set.cases[1]).unwrap();
    let nonzero: Vec<(usize, f64)> = encoded.iter().copied().enumerate().filter(|(_, value)| *value != 0.0).collect();
    let expected = [
        (0, 1.0),    // smoke=False
        (3, 1.0),    // drink=True
        (12, 1.0),   // father BRASIL
        (23, 1.0),   // mother NORWAY
        (28, 61.0),  // age
        (29, 1.0),   // pesticide=False
        (31, 1.0),   // FEMALE
        (34, 1.0),   // skin_cancer_history=True
        (35, 1.0),   // cancer_history=False
        (38, 1.0),   // has_piped_water=True
        (40, 1.0),   // has_sewage_system=True
        (42, 1.0),   // fitspatrick=2.0
        (53, 1.0),   // NOSE
        (62, 100.0), // diameter_2; diameter_1 is 0
        (64, 1.0),   // itch=True
        (68, 1.0),   // grew=UNK
        (70, 1.0),   // hurt=True
        (74, 1.0),   // changed=UNK
        (76, 1.0),   // bleed=True
        (79, 1.0),   // elevation=True
    ];
    assert_eq!(nonzero, expected);
    let first = encoder.matched(&set.fields).unwrap().encode(&set.cases[0]).unwrap();
    assert_eq!(first.iter().filter(|value| **value != 0.0).count(), 8, "age, region and six symptoms");

    let leaking: Vec<_> = set.fields.iter().filter(|field| field.role == FieldRole::PostDiagnosis).collect();
    assert_eq!(leaking.len(), 1);
    assert_eq!(leaking[0].name, "biopsed");
    let all = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::All).unwrap();
    assert_eq!((all.width(), all.uses_post_diagnosis()), (83, vec!["biopsed"]));
}

#[test]
fn images_are_optional_and_may_lie_elsewhere() {
    let fixture = Fixture::new();
    let load = |images| pad_ufes_20::load_with(fixture.0.path(), &LoadOptions { images, ..LoadOptions::default() });
    let set = load(ImageSource::Nowhere).unwrap();
    assert!(set.cases.iter().all(|case| case.clinical.is_empty()));
    assert_eq!(set.notes, ["no images were asked for: metadata and labels alone"]);

    write(&fixture.path("small/PAT_7_30_1.png"), &png(1, 1, ExtendedColorType::Rgb8, &[1; 3]));
    let text = fixture.error();
    assert!(
        text.contains("metadata.csv: line 2, column `img_id`: found `PAT_7_30_1.png`, expected one image of"),
        "{text}"
    );
    assert!(text.contains("small/PAT_7_30_1.png; name the folder of the images"), "{text}");
    let text = load(ImageSource::Folder(fixture.path("small"))).unwrap_err().to_string();
    assert!(text.contains("line 3, column `img_id`: image `PAT_8_30_2.png` is not in "), "{text}");
    assert!(text.ends_with("small (3 of 4 images are missing)"), "{text}");
    std::fs::remove_dir_all(fixture.path("images")).unwrap();
    std::fs::remove_dir_all(fixture.path("imgs_part_3")).unwrap();
    std::fs::remove_dir_all(fixture.path("small")).unwrap();
    let text = fixture.error();
    assert!(text.contains("PAT_7_30_1.png: not found; PAD-UFES-20: get it at https://"), "{text}");
    assert!(text.contains("unless metadata alone is asked for"), "{text}");
}

#[test]
fn patients_who_share_an_image_are_one_group() {
    let fixture = Fixture::new();
    std::fs::copy(
        fixture.path("imgs_part_3/PAT_9_32_4.png"),
        fixture.path("images/imgs_part_1/imgs_part_1/PAT_8_30_2.png"),
    )
    .unwrap();
    let set = pad_ufes_20::load(fixture.0.path()).unwrap();
    let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups, ["PAT_7", "PAT_8", "PAT_8", "PAT_8"]);
    assert_eq!(set.cases[3].patient.as_deref(), Some("PAT_9"));
    assert_eq!(
        set.notes,
        [
            "PAT_8_30_2.png and PAT_9_32_4.png are the same image; their cases form one group",
            "cases `PAT_8_30_2.png` and `PAT_9_32_4.png` have one image (PAT_8_30_2.png, PAT_9_32_4.png) under two labels: \
             diagnosis `BCC` and `MEL`; correct or drop one, unless the image shows both"
        ]
    );
}

#[test]
fn values_that_are_not_published_are_named_with_their_place() {
    let text = broken(0, "NEV", "NAEVUS");
    assert!(
        text.ends_with("line 2, column `diagnostic`: unknown value `NAEVUS`; known: ACK, BCC, MEL, NEV, SCC, SEK"),
        "{text}"
    );
    let text = broken(1, ",UNK,True,UNK,", ",MAYBE,True,UNK,");
    assert!(text.ends_with("line 3, column `grew`: unknown value `MAYBE`; known: False, True, UNK"), "{text}");
    let text = broken(1, "False,True,BRASIL", "UNK,True,BRASIL");
    assert!(text.ends_with("line 3, column `smoke`: unknown value `UNK`; known: False, True"), "{text}");
    let text = broken(3, ",55,", ",fifty,");
    assert!(text.ends_with("line 5, column `age`: found `fifty`, expected a finite number or nothing"), "{text}");
    let text = broken(3, "PAT_9_32_4.png", "PAT_7_30_1.png");
    assert!(
        text.ends_with("line 5, column `img_id`: found `PAT_7_30_1.png`, expected a name that line 2 does not have")
    );
    let text = broken(2, "PAT_8,31", ",31");
    assert!(text.ends_with("line 4, column `patient_id`: found ``, expected an identifier"), "{text}");
    let fixture = Fixture::new();
    write(&fixture.path("metadata.csv"), format!("{}\n{}\n", HEADER.replace("bleed", "bled"), rows()[0]).as_bytes());
    assert!(fixture.error().contains("line 1: column `bleed` is missing; the header has: patient_id, lesion_id,"));
    let text = pad_ufes_20::load("/nowhere/pad").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/pad/metadata.csv: not found; PAD-UFES-20: get it at https://"), "{text}");
    assert!(text.contains("CC BY 4.0"), "{text}");
}

#[test]
fn rows_without_diagnosis_are_for_prediction() {
    let mut rows = rows();
    rows[3] = rows[3].replace("MEL", "");
    let set = pad_ufes_20::load(Fixture::of(&rows).0.path()).unwrap();
    assert_eq!(set.cases[3].labels, [None]);
    assert_eq!(set.notes, ["1 rows of metadata.csv have no diagnosis"]);
}

#[test]
fn a_full_copy_is_held_against_the_published_counts() {
    let mut rows: Vec<String> = Vec::new();
    for (class, count) in pad_ufes_20::CLASSES.into_iter().zip(pad_ufes_20::PUBLISHED_CLASSES) {
        for _ in 0..count {
            let n = rows.len();
            let (patient, lesion) = (n % pad_ufes_20::PUBLISHED_PATIENTS, n % pad_ufes_20::PUBLISHED_LESION_IDS);
            rows.push(format!("PAT_{patient},{lesion},,,,,8,,,,,,,,ARM,,,{class},,,,,,,{n}.png,True"));
        }
    }
    let options = LoadOptions::metadata_only();
    let load = |rows: &[String]| pad_ufes_20::load_with(Fixture::of(rows).0.path(), &options);
    assert_eq!(load(&rows).unwrap().len(), pad_ufes_20::PUBLISHED_CASES);
    let error = |from: &str, to: &str| {
        let mut rows = rows.clone();
        rows[2_297] = rows[2_297].replace(from, to);
        load(&rows).unwrap_err().to_string()
    };
    assert_eq!(
        error("SEK", "MEL"),
        "PAD-UFES-20: images of MEL: 53 where the published data set has 52; compare the files with the original"
    );
    assert!(error("PAT_", "PAT_x").contains("patients: 1374 where the published data set has 1373"));
    assert!(error(",656,", ",x,").contains("lesion numbers: 1642 where the published data set has 1641"));

    rows[2_297] = rows[2_297].replace("SEK", "MEL");
    let fixture = Fixture::of(&rows);
    write(&fixture.path(SYNTHETIC_MARKER), b"");
    let set = pad_ufes_20::load_with(fixture.0.path(), &options).unwrap();
    assert_eq!((set.name.as_str(), set.synthetic), ("pad-ufes-20-synthetic", true));
}
