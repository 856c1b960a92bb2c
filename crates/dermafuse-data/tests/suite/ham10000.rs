use std::path::PathBuf;

use dermafuse_data::{LoadOptions, MetadataEncoder, ham10000};
use dermafuse_schema::FieldValue;

use crate::fixture::{plain_jpeg, write};

const METADATA: &str = "lesion_id,image_id,dx,dx_type,age,sex,localization
HAM_1,ISIC_1,bkl,histo,80,male,scalp
HAM_1,ISIC_2,bkl,histo,80,male,scalp
HAM_2,ISIC_3,nv,follow_up,,unknown,unknown
HAM_3,ISIC_4,akiec,histo,0,female,lower extremity";

const TRUTH: &str = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC
ISIC_1,0.0,0.0,0.0,0.0,1.0,0.0,0.0
ISIC_2,0.0,0.0,0.0,0.0,1.0,0.0,0.0
ISIC_3,0.0,1.0,0.0,0.0,0.0,0.0,0.0
ISIC_4,0.0,0.0,0.0,1.0,0.0,0.0,0.0";

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            write(&fixture.path(name), text.as_bytes());
        }
        for image in 1..=4 {
            let part = if image < 3 { 1 } else { 2 };
            write(&fixture.path(&format!("HAM10000_images_part_{part}/ISIC_{image}.jpg")), &plain_jpeg(40 * image));
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn error(&self) -> String {
        ham10000::load(self.0.path()).unwrap_err().to_string()
    }
}

#[test]
fn every_published_form_gives_the_same_cases() {
    // With CRLF; with the column that one archive adds and under its name without extension; and the challenge's form.
    let wide: Vec<String> = METADATA
        .lines()
        .enumerate()
        .map(|(line, text)| format!("{text},{}", if line == 0 { "dataset" } else { "rosendahl" }))
        .collect();
    let forms: [&[(&str, &str)]; 3] = [
        &[("HAM10000_metadata.csv", &METADATA.replace('\n', "\r\n"))],
        &[("HAM10000_metadata", &wide.join("\n"))],
        &[("HAM10000_metadata.csv", METADATA), ("ISIC2018_Task3_Training_GroundTruth.csv", TRUTH)],
    ];
    for files in forms {
        let fixture = Fixture::new(files);
        let set = ham10000::load(fixture.0.path()).unwrap();
        assert_eq!((set.name.as_str(), set.len()), ("ham10000", 4));
        assert_eq!(set.tasks[0].classes, ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]);
        let labels: Vec<usize> = set.cases.iter().map(|case| case.labels[0].unwrap()).collect();
        assert_eq!(labels, [2, 2, 5, 0]);
        let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
        assert_eq!(groups, ["HAM_1", "HAM_1", "HAM_2", "HAM_3"]);
        assert!(set.cases[2].dermoscopic[0].path.ends_with("HAM10000_images_part_2/ISIC_3.jpg"));
        assert_eq!(set.cases[2].metadata[..3], [FieldValue::Missing; 3]);
        assert_eq!(set.cases[3].metadata[..2], [FieldValue::Number(0.0), FieldValue::Category(0)]);
        let encoder = MetadataEncoder::fit(&set.fields, &set.cases, ham10000::encoding()).unwrap();
        assert_eq!((encoder.width(), encoder.uses_post_diagnosis().len()), (17, 0));
    }
}

#[test]
fn the_challenges_ground_truth_alone_has_labels_and_no_metadata() {
    let fixture = Fixture::new(&[("ISIC2018_Task3_Training_GroundTruth.csv", TRUTH)]);
    let set = ham10000::load(fixture.0.path()).unwrap();
    let labels: Vec<usize> = set.cases.iter().map(|case| case.labels[0].unwrap()).collect();
    assert_eq!(labels, [2, 2, 5, 0]);
    assert!(set.cases.iter().all(|case| !case.has_metadata() && case.group == case.id.as_str()));
    assert_eq!(set.notes[0], "no HAM10000_metadata.csv: no metadata");
    assert!(set.notes[1].starts_with("no LesionGroupings.csv: images of one lesion may stand"), "{:?}", set.notes);

    let groupings = "image,lesion_id,diagnosis_confirm_type\nISIC_2,HAM_1,histopathology\nISIC_1,HAM_1,histopathology";
    write(&fixture.path("ISIC2018_Task3_Training_LesionGroupings.csv"), groupings.as_bytes());
    let set = ham10000::load(fixture.0.path()).unwrap();
    let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups, ["HAM_1", "HAM_1", "ISIC_3", "ISIC_4"]);
    assert_eq!(set.notes.len(), 1);
    let nameless = groupings.replace("ISIC_2,HAM_1", "ISIC_2,");
    write(&fixture.path("ISIC2018_Task3_Training_LesionGroupings.csv"), nameless.as_bytes());
    let text = fixture.error();
    assert!(text.ends_with("line 2, column `lesion_id`: found ``, expected an identifier"), "{text}");
    let groupings = groupings.replace("ISIC_2", "ISIC_7");
    write(&fixture.path("ISIC2018_Task3_Training_LesionGroupings.csv"), groupings.as_bytes());
    let text = fixture.error();
    assert!(text.ends_with("line 2, column `image`: found `ISIC_7`, expected an image of the ground truth"), "{text}");
}

#[test]
fn faults_are_named_with_their_place() {
    let broken = |from: &str, to: &str| {
        assert!(METADATA.contains(from));
        Fixture::new(&[("HAM10000_metadata.csv", &METADATA.replacen(from, to, 1))]).error()
    };
    let text = broken("bkl", "BKL");
    assert!(
        text.ends_with("line 2, column `dx`: unknown value `BKL`; known: akiec, bcc, bkl, df, mel, nv, vasc"),
        "{text}"
    );
    let text = broken("scalp", "crown");
    assert!(text.contains("line 2, column `localization`: unknown value `crown`; known: abdomen, acral,"), "{text}");
    let text = broken("ISIC_2", "ISIC_1");
    assert!(text.ends_with("line 3, column `image_id`: found `ISIC_1`, expected a name that line 2 does not have"));
    let text = broken("HAM_2", "");
    assert!(text.ends_with("line 4, column `lesion_id`: found ``, expected an identifier"), "{text}");
    let text = broken("ISIC_4", "ISIC_9");
    assert!(text.ends_with("(1 of 4 images are missing)"), "{text}");

    let truth = TRUTH.replace("ISIC_3,0.0,1.0", "ISIC_3,1.0,0.0");
    let text = Fixture::new(&[("HAM10000_metadata.csv", METADATA), ("ISIC2018_GroundTruth.csv", &truth)]).error();
    assert!(
        text.starts_with("case `ISIC_3`: task `diagnosis`: expected `nv` as in the metadata, found `mel` in "),
        "{text}"
    );
    let text = Fixture::new(&[]).error();
    assert!(text.contains("HAM10000_metadata.csv: not found; HAM10000: get it at https://"), "{text}");
    assert!(text.contains("CC BY-NC 4.0"), "{text}");
}

#[test]
fn a_full_copy_is_held_against_the_published_counts() {
    let mut rows = vec!["lesion_id,image_id,dx,dx_type,age,sex,localization".to_owned()];
    for (class, count) in ham10000::CLASSES.into_iter().zip(ham10000::PUBLISHED_CLASSES) {
        for _ in 0..count {
            let n = rows.len() - 1;
            let age = if n < 57 { "" } else { "50" };
            let (sex, site) = (if n < 57 { "unknown" } else { "male" }, if n < 234 { "unknown" } else { "ear" });
            rows.push(format!("L{},I{n},{class},histo,{age},{sex},{site}", n % ham10000::PUBLISHED_LESIONS));
        }
    }
    let load = |text: &str| {
        let fixture = Fixture::new(&[("HAM10000_metadata.csv", text)]);
        ham10000::load_with(fixture.0.path(), &LoadOptions::metadata_only())
    };
    let text = rows.join("\n");
    assert_eq!(load(&text).unwrap().len(), ham10000::PUBLISHED_CASES);
    let error = |from: &str, to: &str| load(&text.replacen(from, to, 1)).unwrap_err().to_string();
    assert!(error("akiec", "nv").starts_with("HAM10000: images of akiec: 326 where the published data set has 327"));
    assert!(error("unknown,unknown", "male,unknown").contains("rows without `sex`: 56 where"));
    assert!(error("L0,", "Lx,").contains("lesions: 7471 where"));
}
