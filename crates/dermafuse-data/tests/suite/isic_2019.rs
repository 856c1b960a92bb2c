use std::path::PathBuf;

use dermafuse_data::{LoadOptions, MetadataEncoder, isic_2019};
use dermafuse_schema::FieldValue;

use crate::fixture::{plain_jpeg, write};

const METADATA: &str = "image,age_approx,anatom_site_general,lesion_id,sex
ISIC_0000000,55,anterior torso,,female
ISIC_0000001_downsampled,0,,MSK4_1,male
ISIC_0000002,,lateral torso,MSK4_1,
ISIC_0000003,85,palms/soles,BCN_2,male";

const TRUTH: &str = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK
ISIC_0000003,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0
ISIC_0000000,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0
ISIC_0000001_downsampled,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0
ISIC_0000002,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0";

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new(metadata: &str, truth: Option<&str>) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        write(&fixture.path("ISIC_2019_Training_Metadata.csv"), metadata.as_bytes());
        if let Some(truth) = truth {
            write(&fixture.path("ISIC_2019_Training_GroundTruth.csv"), truth.as_bytes());
        }
        for (image, level) in [("0000000", 10), ("0000001_downsampled", 60), ("0000002", 90), ("0000003", 120)] {
            let name = format!("ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_{image}.jpg");
            write(&fixture.path(&name), &plain_jpeg(level));
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn error(&self) -> String {
        isic_2019::load(self.0.path()).unwrap_err().to_string()
    }
}

#[test]
fn both_tables_make_the_cases_with_their_oddities() {
    // The header of the sex and the line ends differ between copies.
    for metadata in [METADATA.to_owned(), METADATA.replace(",sex", ",gender").replace('\n', "\r\n")] {
        let fixture = Fixture::new(&metadata, Some(&TRUTH.replace('\n', "\r\n")));
        let set = isic_2019::load(fixture.0.path()).unwrap();
        assert_eq!((set.name.as_str(), set.len()), ("isic-2019", 4));
        assert_eq!(set.tasks[0].classes, ["AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC"]);
        let labels: Vec<usize> = set.cases.iter().map(|case| case.labels[0].unwrap()).collect();
        assert_eq!(labels, [5, 4, 4, 0], "by class name, not by column, and matched by image");
        let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
        assert_eq!(groups, ["ISIC_0000000", "MSK4_1", "MSK4_1", "BCN_2"]);
        assert_eq!((set.cases[0].lesion.as_deref(), set.cases[3].lesion.as_deref()), (None, Some("BCN_2")));
        let image = &set.cases[1].dermoscopic[0];
        assert!(image.path.ends_with("ISIC_0000001_downsampled.jpg") && set.cases[1].clinical.is_empty());
        let names: Vec<&str> = set.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["age_approx", "sex", "anatom_site_general"]);
        assert_eq!(set.cases[1].metadata, [FieldValue::Number(0.0), FieldValue::Category(1), FieldValue::Missing]);
        assert_eq!(set.cases[2].metadata, [FieldValue::Missing, FieldValue::Missing, FieldValue::Category(2)]);

        let encoder = MetadataEncoder::fit(&set.fields, &set.cases, isic_2019::encoding()).unwrap();
        let names = encoder.column_names();
        assert_eq!((names.len(), names[3].as_str()), (11, "anatom_site_general=anterior torso"));
        assert_eq!(
            encoder.matched(&set.fields).unwrap().encode(&set.cases[3]).unwrap(),
            [85.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
        );
    }
}

#[test]
fn unknown_is_no_class_and_the_test_set_has_no_lesions() {
    let truth =
        TRUTH.replace("0000000,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0", "0000000,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0");
    let set = isic_2019::load(Fixture::new(METADATA, Some(&truth)).0.path()).unwrap();
    assert_eq!(set.cases[0].labels, [None]);
    assert_eq!(set.notes, ["1 images are UNK in GroundTruth.csv, none of the eight classes: not labelled"]);
    let text = Fixture::new(METADATA, Some(&truth.replace("0000000,0.0", "0000000,1.0"))).error();
    assert!(text.ends_with("column `UNK`: found `1.0`, expected a single 1 in each row"), "{text}");
    // Without the column UNK.
    let truth: Vec<&str> = TRUTH.lines().map(|line| line.rsplit_once(',').unwrap().0).collect();
    assert!(isic_2019::load(Fixture::new(METADATA, Some(&truth.join("\n"))).0.path()).unwrap().notes.is_empty());

    let metadata =
        METADATA.replace(",lesion_id", "").replace(",MSK4_1", "").replace(",BCN_2", "").replace("torso,,", "torso,");
    let set = isic_2019::load(Fixture::new(&metadata, None).0.path()).unwrap();
    assert!(set.cases.iter().all(|case| case.lesion.is_none() && case.group == case.id.as_str()));
    assert_eq!(set.notes, ["no GroundTruth.csv: all labels are unknown"]);
    let short: Vec<&str> = TRUTH.lines().take(3).collect();
    let set = isic_2019::load(Fixture::new(METADATA, Some(&short.join("\n"))).0.path()).unwrap();
    assert_eq!(set.notes, ["2 images have no row in GroundTruth.csv"]);
}

#[test]
fn faults_are_named_with_their_place() {
    let broken = |from: &str, to: &str| {
        assert!(METADATA.contains(from));
        Fixture::new(&METADATA.replacen(from, to, 1), Some(TRUTH)).error()
    };
    let text = broken("anterior torso", "torso");
    assert!(
        text.contains("line 2, column `anatom_site_general`: unknown value `torso`; known: anterior torso,"),
        "{text}"
    );
    let text = broken("female", "f");
    assert!(text.ends_with("line 2, column `sex`: unknown value `f`; known: female, male"), "{text}");
    let text = broken(",sex", ",Sex");
    assert!(text.contains("column `sex` is missing; the header has: image, age_approx,"), "{text}");
    let text = broken("ISIC_0000003", "ISIC_0000009");
    assert!(text.contains("found `ISIC_0000003`, expected an image of the metadata table"), "{text}");
    let text = broken("ISIC_0000002", "ISIC_0000000");
    assert!(text.contains("line 4, column `image`: found `ISIC_0000000`, expected a name that line 2"), "{text}");
    let fixture = Fixture::new(METADATA, Some(TRUTH));
    std::fs::remove_file(fixture.path("ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_0000002.jpg")).unwrap();
    let text = fixture.error();
    assert!(text.contains("line 4, column `image`: image `ISIC_0000002` is not in "), "{text}");
    write(&fixture.path("ISIC_2019_Test_Metadata.csv"), METADATA.as_bytes());
    let text = fixture.error();
    assert!(text.starts_with("table of the data set: ") && text.contains("ISIC_2019_Test_Metadata.csv and "), "{text}");
    let text = isic_2019::load("/nowhere/isic").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/isic: not found; ISIC 2019: get it at https://"), "{text}");
    let text = isic_2019::load(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(text.contains("Metadata.csv: not found; ISIC 2019") && text.contains("CC BY-NC 4.0"), "{text}");
}

#[test]
fn a_full_copy_is_held_against_the_published_counts() {
    // Every image misses what it can until the published number of rows miss it.
    let missing: Vec<usize> = isic_2019::PUBLISHED_MISSING.iter().map(|(_, count)| *count).collect();
    let mut metadata = vec!["image,age_approx,anatom_site_general,lesion_id,sex".to_owned()];
    let mut truth = vec![format!("image,{}", isic_2019::CLASSES.join(","))];
    for (class, count) in isic_2019::PUBLISHED_CLASSES.into_iter().enumerate() {
        for _ in 0..count {
            let n = truth.len() - 1;
            let or_missing = |at: usize, value: &'static str| if n < missing[at] { "" } else { value };
            metadata.push(format!(
                "I{n},{},{},{},{}",
                or_missing(0, "50"),
                or_missing(2, "head/neck"),
                or_missing(3, "L"),
                or_missing(1, "male")
            ));
            let ones: Vec<&str> = (0..8).map(|at| if at == class { "1.0" } else { "0.0" }).collect();
            truth.push(format!("I{n},{}", ones.join(",")));
        }
    }
    let load = |metadata: &str, truth: &str| {
        isic_2019::load_with(Fixture::new(metadata, Some(truth)).0.path(), &LoadOptions::metadata_only())
    };
    let (metadata, truth) = (metadata.join("\n"), truth.join("\n"));
    assert_eq!(load(&metadata, &truth).unwrap().len(), isic_2019::PUBLISHED_CASES);
    let text = load(&metadata.replacen("I0,,", "I0,40,", 1), &truth).unwrap_err().to_string();
    assert!(
        text.starts_with("ISIC 2019: rows without `age_approx`: 436 where the published data set has 437"),
        "{text}"
    );
    let text = load(&metadata, &truth.replacen("I0,1.0,0.0", "I0,0.0,1.0", 1)).unwrap_err().to_string();
    assert!(text.starts_with("ISIC 2019: images of AK: 866 where the published data set has 867"), "{text}");
}
