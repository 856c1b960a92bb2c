use std::path::PathBuf;

use dermafuse_data::{SharedImages, Split, milk10k};
use dermafuse_schema::{FieldRole, FieldValue};

use crate::fixture::{plain_jpeg, write};

const HEADER: &str = "lesion_id,image_type,isic_id,attribution,copyright_license,image_manipulation,age_approx,sex,\
skin_tone_class,site,MONET_ulceration_crust,MONET_hair,MONET_vasculature_vessels,MONET_erythema,MONET_pigmented,\
MONET_gel_water_drop_fluid_dermoscopy_liquid,MONET_skin_markings_pen_ink_purple_pen";

/// Three lesions; the first and the third share an image; the second knows neither age nor site.
fn metadata() -> String {
    let row = |lesion: &str, view: &str, image: &str, patient: &str, score: f64| {
        format!("{lesion},{view},{image},MILK study team,CC-BY-NC,instrument only,{patient},{score},0,0,0,0,0,1")
    };
    let (clinical, dermoscopic) = ("clinical: close-up", "dermoscopic");
    [
        HEADER.to_owned(),
        row("IL_1", clinical, "ISIC_1", "45,female,5,head_neck_face", 0.25),
        row("IL_1", dermoscopic, "ISIC_2", "45,female,5,head_neck_face", 0.5),
        row("IL_2", dermoscopic, "ISIC_4", ",male,3,", 0.1),
        row("IL_2", clinical, "ISIC_3", ",male,3,", 0.2),
        row("IL_3", clinical, "ISIC_5", "70,male,0,trunk", 0.3),
        row("IL_3", dermoscopic, "ISIC_6", "70,male,0,trunk", 0.4),
    ]
    .join("\n")
}

fn truth() -> String {
    let classes = milk10k::CLASSES;
    let row = |lesion: &str, label: usize| {
        let values: Vec<&str> = (0..classes.len()).map(|class| if class == label { "1.0" } else { "0.0" }).collect();
        format!("{lesion},{}", values.join(","))
    };
    [format!("lesion_id,{}", classes.join(",")), row("IL_1", 1), row("IL_2", 7), row("IL_3", 8)].join("\n")
}

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new(metadata: &str, truth: Option<&str>) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        write(&fixture.path("Metadata.csv"), metadata.as_bytes());
        if let Some(truth) = truth {
            write(&fixture.path("GroundTruth.csv"), truth.as_bytes());
        }
        for (image, level) in [(1, 10), (2, 60), (3, 90), (4, 120), (5, 10), (6, 200)] {
            write(&fixture.path(&format!("images_200x150/ISIC_{image}.jpg")), &plain_jpeg(level));
        }
        write(&fixture.path("images_600x450_subset/ISIC_1.jpg"), &plain_jpeg(10));
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn error(&self) -> String {
        milk10k::load(self.0.path()).unwrap_err().to_string()
    }
}

fn broken(from: &str, to: &str) -> String {
    let text = metadata();
    assert!(text.contains(from));
    Fixture::new(&text.replacen(from, to, 1), Some(&truth())).error()
}

#[test]
fn two_rows_make_a_case() {
    let fixture = Fixture::new(&metadata(), Some(&truth()));
    let set = milk10k::load(fixture.0.path()).unwrap();
    assert_eq!((set.len(), set.tasks[0].classes.len()), (3, 11));
    assert_eq!(set.cases[1].labels, [Some(7)]);
    assert!(set.cases[1].clinical[0].path.ends_with("images_200x150/ISIC_3.jpg"));
    assert!(set.cases[1].dermoscopic[0].path.ends_with("images_200x150/ISIC_4.jpg"));
    let value = |case: usize, name: &str| {
        set.cases[case].metadata[set.fields.iter().position(|field| field.name == name).unwrap()]
    };
    assert_eq!((value(0, "age_approx"), value(1, "age_approx")), (FieldValue::Number(45.0), FieldValue::Missing));
    assert_eq!((value(0, "site"), value(1, "site")), (FieldValue::Category(3), FieldValue::Missing));
    assert_eq!(value(1, "clinical:MONET_ulceration_crust"), FieldValue::Number(0.2));
    assert_eq!(value(1, "dermoscopic:MONET_ulceration_crust"), FieldValue::Number(0.1));
    let derived = set.fields.iter().filter(|field| field.role == FieldRole::ImageDerived).count();
    assert_eq!(derived, 14);
}

#[test]
fn lesions_with_the_same_image_are_one_group() {
    let fixture = Fixture::new(&metadata(), Some(&truth()));
    let set = milk10k::load(fixture.0.path()).unwrap();
    let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups, ["IL_1", "IL_2", "IL_1"]);
    assert_eq!(
        set.notes,
        [
            "ISIC_1.jpg and ISIC_5.jpg are the same image; their cases form one group",
            "cases `IL_1` and `IL_3` have one image (ISIC_1.jpg, ISIC_5.jpg) under two labels: diagnosis `BCC` and `NV`; \
             correct or drop one, unless the image shows both"
        ]
    );
    let split = Split::new(vec![0], vec![1], vec![2], 3).unwrap();
    assert!(split.check(&set).unwrap_err().to_string().starts_with("group `IL_1` is in the training part"));

    let options = milk10k::Options { group_duplicates: false, ..milk10k::Options::default() };
    let set = milk10k::load_with(fixture.0.path(), &options).unwrap();
    assert_eq!(set.cases[2].group, "IL_3");
}

#[test]
fn without_ground_truth_nothing_is_labelled() {
    let set = milk10k::load(Fixture::new(&metadata(), None).0.path()).unwrap();
    assert!(set.cases.iter().all(|case| case.labels == [None]));
    assert_eq!(set.notes[0], "no GroundTruth.csv: all labels are unknown");
}

#[test]
fn the_archives_own_names_are_found() {
    let fixture = Fixture::new(&metadata(), Some(&truth()));
    for (old, new) in [
        ("Metadata.csv", "MILK10k_Training_Metadata.csv"),
        ("GroundTruth.csv", "MILK10k_Training_GroundTruth.csv"),
        ("images_200x150", "MILK10k_Training_Input"),
    ] {
        std::fs::rename(fixture.path(old), fixture.path(new)).unwrap();
    }
    assert_eq!(milk10k::load(fixture.0.path()).unwrap().cases[0].labels, [Some(1)]);
}

#[test]
fn contradictions_are_named_with_their_place() {
    let text = broken("45,female,5,head_neck_face,0.5", "50,female,5,head_neck_face,0.5");
    assert!(
        text.ends_with(
            "line 3, column `age_approx`: found `50`, expected the same as in line 2, the lesion's other row"
        ),
        "{text}"
    );
    let text = broken("ISIC_2", "ISIC_1");
    assert!(text.ends_with("column `isic_id`: found `ISIC_1`, expected an image that line 2 has not named"), "{text}");
    let text = broken("IL_1,dermoscopic", "IL_1,clinical: close-up");
    assert!(text.contains("expected one clinical row a lesion; line 2 is another"), "{text}");
    let text = broken("IL_1,dermoscopic", "IL_1,thermal");
    assert!(
        text.ends_with("column `image_type`: unknown value `thermal`; known: clinical: close-up, dermoscopic"),
        "{text}"
    );
    let text = broken("trunk", "torso");
    assert!(text.contains("line 6, column `site`: unknown value `torso`; known: foot, genital,"), "{text}");
    let text = broken(",sex,", ",gender,");
    assert!(text.contains("column `sex` is missing; the header has: lesion_id,"), "{text}");
    let text = broken("ISIC_6", "ISIC_9");
    assert!(text.contains("line 7, column `isic_id`: image `ISIC_9` is not in "), "{text}");
    assert!(text.ends_with("images_200x150 (1 of 6 images are missing)"), "{text}");
}

#[test]
fn a_ground_truth_says_exactly_one_class() {
    let error = |from: &str, to: &str| {
        let truth = truth();
        assert!(truth.contains(from));
        Fixture::new(&metadata(), Some(&truth.replacen(from, to, 1))).error()
    };
    let text = error("IL_1,0.0,1.0", "IL_1,1.0,1.0");
    assert!(text.ends_with("line 2, column `BCC`: found `1.0`, expected a single 1 in each row"), "{text}");
    let text = error("IL_1,0.0,1.0", "IL_1,0.0,0.0");
    assert!(text.ends_with("found `IL_1`, expected a 1 in one of the class columns of this row"), "{text}");
    let text = error("IL_1,0.0,1.0", "IL_1,0.5,1.0");
    assert!(text.ends_with("column `AKIEC`: found `0.5`, expected 0 or 1"), "{text}");
    let text = error("IL_3", "IL_4");
    assert!(
        text.ends_with("line 4, column `lesion_id`: found `IL_4`, expected a lesion of the metadata table"),
        "{text}"
    );
    let text = error("IL_3", "IL_2");
    assert!(text.ends_with("found `IL_2`, expected no second row of the same name"), "{text}");
    let text = error("MEL,", "MELANOMA,");
    assert!(text.contains("column `MEL` is missing"), "{text}");
}

#[test]
fn a_missing_copy_says_how_to_get_one() {
    let text = milk10k::load("/nowhere/milk").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/milk: not found; MILK10k: get it at https://"), "{text}");
    let empty = tempfile::tempdir().unwrap();
    let text = milk10k::load(empty.path()).unwrap_err().to_string();
    assert!(text.contains("Metadata.csv: not found; MILK10k") && text.contains("CC BY-NC 4.0"), "{text}");
}

#[test]
fn groups_are_joined_through_any_of_their_cases() {
    // Groups A = {0, 3}, B = {1, 2}; cases 2 and 3 share an image, so all four belong together.
    let folder = tempfile::tempdir().unwrap();
    let mut set = crate::fixture::case_set(&[(0, None), (1, None), (1, None), (0, None), (2, None)]);
    for (row, level) in [10, 60, 90, 90, 120].into_iter().enumerate() {
        let path = folder.path().join(format!("{row}.jpg"));
        write(&path, &plain_jpeg(level));
        set.cases[row].clinical = vec![path.into()];
    }
    set.join_groups(SharedImages::Join);
    assert_eq!(set.notes, ["2.jpg and 3.jpg are the same image; their cases form one group"]);
    let groups: Vec<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups, ["g0", "g0", "g0", "g0", "g2"]);
}
