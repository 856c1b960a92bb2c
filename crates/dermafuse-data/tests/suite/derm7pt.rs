use std::path::Path;

use dermafuse_data::derm7pt::{self, PUBLISHED, SYNTHETIC_MARKER, seven_point_score};
use dermafuse_data::{Leak, MetadataEncoder, Modality, OtherTasks};
use dermafuse_schema::{FieldRole, FieldValue};

use crate::fixture::{plain_jpeg, write};

const HEADER: &str = "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,regression_structures,\
dots_and_globules,blue_whitish_veil,vascular_structures,level_of_diagnostic_difficulty,elevation,location,sex,\
management,clinic,derm,case_id,notes";

/// Four cases with the oddities of the published files: case of names, one file in two columns, two rows of one image.
fn rows() -> Vec<String> {
    [
        "1,clark nevus,0,absent,absent,absent,absent,absent,absent,absent,low,flat,back,female,\
         no further examination,NEL/NEL025.JPG,NEL/Nel026.jpg,,",
        "2,melanoma (in situ),10,atypical,irregular,diffuse irregular,blue areas,irregular,present,dotted,high,\
         nodular,lower limbs,male,excision,FCL/Fcl001.jpg,FCl/Fcl002.jpg,,\"said, once\"",
        "3,basal cell carcinoma,1,typical,regular,localized regular,combinations,regular,absent,arborizing,medium,\
         palpable,genital areas,male,clinical follow up,NEL/NEL025.JPG,NEL/NEL025.JPG,x7,",
        "4,seborrheic keratosis,0,absent,absent,diffuse regular,absent,absent,absent,within regression,low,flat,acral,\
         female,excision,FCL/Fcl001.jpg,NEL/nel026.jpg,,",
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
        fixture.table(&format!("{HEADER}\r\n{}\r\n", rows.join("\r\n")));
        for (part, index) in ["train", "valid", "test"].into_iter().zip(["0\n3", "1", "2"]) {
            fixture.indexes(part, index);
        }
        for (name, level) in
            [("NEL/NEL025.JPG", 10), ("NEL/Nel026.jpg", 60), ("FCL/Fcl001.jpg", 120), ("FCL/Fcl002.jpg", 200)]
        {
            write(&fixture.root().join("images").join(name), &plain_jpeg(level));
        }
        fixture
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("release_v0")
    }

    fn table(&self, text: &str) {
        write(&self.root().join("meta/meta.csv"), text.as_bytes());
    }

    fn indexes(&self, part: &str, indexes: &str) {
        write(&self.root().join(format!("meta/{part}_indexes.csv")), format!("indexes\n{indexes}\n").as_bytes());
    }

    fn error(&self) -> String {
        derm7pt::load(self.0.path()).unwrap_err().to_string()
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
    let set = derm7pt::load(fixture.0.path()).unwrap();
    assert_eq!(set, derm7pt::load(fixture.root()).unwrap(), "the folder itself or the one above");
    assert_eq!((set.name.as_str(), set.len()), ("derm7pt", 4));
    let labels: Vec<&str> = set.tasks.iter().map(|task| task.label.as_str()).collect();
    assert_eq!(labels, ["DIAG", "PN", "STR", "PIG", "RS", "DaG", "BWV", "VS"]);
    assert_eq!(set.tasks.class_counts(), [5, 3, 3, 3, 2, 3, 2, 3]);
    assert_eq!(set.tasks[0].classes, ["NEV", "BCC", "MEL", "MISC", "SK"]);
    assert_eq!((set.tasks[0].reference, set.tasks[1].reference), (None, Some(0)));

    let labels: Vec<Vec<usize>> =
        set.cases.iter().map(|case| case.labels.iter().map(|label| label.unwrap()).collect()).collect();
    assert_eq!(
        labels,
        [[0, 0, 0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 1, 2, 1, 2], [1, 1, 1, 1, 1, 1, 0, 1], [4, 0, 0, 1, 0, 0, 0, 1]]
    );
    let categories = [2, 2, 1, 1, 0].map(FieldValue::Category);
    assert_eq!(set.cases[1].metadata, categories);
    let leaking: Vec<&str> = set
        .fields
        .iter()
        .filter(|field| field.role == FieldRole::PostDiagnosis)
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(leaking, ["level_of_diagnostic_difficulty", "management"]);

    assert_eq!(set.cases[2].clinical, set.cases[2].dermoscopic);
    assert!(set.cases[1].dermoscopic[0].path.ends_with("images/FCL/Fcl002.jpg"));
    assert_eq!(
        set.notes[..2],
        [
            "meta.csv line 3: `FCl/Fcl002.jpg` is `FCL/Fcl002.jpg` on disk; taken as the same image",
            "meta.csv line 5: `NEL/nel026.jpg` is `NEL/Nel026.jpg` on disk; taken as the same image",
        ]
    );
    // The rows share images, across the published parts: that is said, and the split is kept.
    assert_eq!(set.cases.iter().map(|case| case.group.as_str()).collect::<Vec<_>>(), ["1"; 4]);
    assert_eq!(set.notes.last().unwrap(), "the published split has identical images in two of its parts");
    let split = set.split.unwrap();
    assert_eq!(split.leaks(), [Leak::GroupsCross]);
    assert_eq!((split.train, split.valid, split.test), (vec![0, 3], vec![1], vec![2]));
}

#[test]
fn a_missing_copy_says_how_to_get_one() {
    let text = derm7pt::load("/nowhere/derm7pt").unwrap_err().to_string();
    assert!(text.contains("/nowhere/derm7pt/meta/meta.csv: not found; Derm7pt: get it at http://"), "{text}");
    assert!(text.contains("do not pass it on"), "{text}");
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.root().join("meta/valid_indexes.csv")).unwrap();
    assert!(fixture.error().contains("valid_indexes.csv: not found; Derm7pt"));
}

#[test]
fn values_that_are_not_published_are_named_with_their_place() {
    let text = broken(1, "melanoma (in situ)", "Melanoma");
    assert!(
        text.contains("meta.csv: line 3, column `diagnosis`: unknown value `Melanoma`; known: blue nevus, "),
        "{text}"
    );
    let text = broken(0, ",female,", ",unknown,");
    assert!(text.ends_with("line 2, column `sex`: unknown value `unknown`; known: female, male"), "{text}");
    let text = broken(1, "irregular,present", "irregular,");
    assert!(text.ends_with("line 3, column `blue_whitish_veil`: found ``, expected one of absent, present"), "{text}");
    let text = broken(1, "(in situ),10", "(in situ),9");
    assert!(
        text.ends_with(
            "column `seven_point_score`: found `9`, expected 10, which is what the row's criteria add up to"
        ),
        "{text}"
    );
    let text = broken(2, ",x7,", ",x7");
    assert!(text.ends_with("line 4: 18 values where the header has 19 columns"), "{text}");
}

#[test]
fn a_column_that_is_missing_or_renamed_is_named() {
    let fixture = Fixture::new();
    let table = format!("{}\n{}\n", HEADER.replace("streaks", "Streaks"), rows().join("\n"));
    fixture.table(&table);
    let text = fixture.error();
    assert!(text.contains("line 1: column `streaks` is missing; the header has: case_num, diagnosis,"), "{text}");
}

#[test]
fn images_that_are_missing_or_outside_are_named() {
    let text = broken(3, "FCL/Fcl001.jpg", "FCL/Fcl009.jpg");
    assert!(text.contains("line 5, column `clinic`: image `FCL/Fcl009.jpg` is not in "), "{text}");
    assert!(text.ends_with("(1 of 4 images are missing)"), "{text}");
    for outside in ["../meta/meta.csv", "/etc/passwd", "FCL\\..\\x.jpg"] {
        let text = broken(0, "NEL/NEL025.JPG", outside);
        assert!(text.ends_with(&format!("found `{outside}`, expected a path inside the image folder")), "{text}");
    }
    let fixture = Fixture::new();
    write(&fixture.root().join("images/NEL/NEL026.jpg"), &plain_jpeg(1));
    let text = fixture.error();
    if Path::new(&fixture.root().join("images/NEL/nel026.jpg")).exists() {
        return; // a file system without case has one file of that name
    }
    assert!(text.contains("expected one image; the folder has NEL/NEL026.jpg and NEL/Nel026.jpg"), "{text}");
}

#[test]
fn index_files_are_checked() {
    let error = |train: &str, valid: &str, test: &str| {
        let fixture = Fixture::new();
        for (part, indexes) in [("train", train), ("valid", valid), ("test", test)] {
            fixture.indexes(part, indexes);
        }
        fixture.error()
    };
    let text = error("1\n2", "3", "4");
    assert!(text.contains("test_indexes.csv: the indexes run from 1 to 4; row indexes count from 0"), "{text}");
    let text = error("0\n1", "2", "7");
    assert!(text.starts_with("the test part of the split names row 7, but there are only 4 cases"), "{text}");
    let text = error("0\n1", "1", "2");
    assert!(text.starts_with("row 1 is in the training part of the split and again in the validation part"), "{text}");
    let text = error("0\n1", "2", "3.0");
    assert!(text.ends_with("test_indexes.csv: line 2, column `indexes`: found `3.0`, expected a whole number from 0"));

    let fixture = Fixture::new();
    write(&fixture.root().join("meta/test_indexes.csv"), b"indexes\n");
    assert!(fixture.error().ends_with("test_indexes.csv: the table has a header but no rows"));
}

#[test]
fn a_full_copy_is_held_against_the_published_counts() {
    let rows: Vec<String> = (1..=1011).map(|number| rows()[0].replacen("1,", &format!("{number},"), 1)).collect();
    let fixture = Fixture::of(&rows);
    let all = |range: std::ops::Range<usize>| range.map(|row| row.to_string()).collect::<Vec<_>>().join("\n");
    fixture.indexes("train", &all(0..413));
    fixture.indexes("valid", &all(413..616));
    fixture.indexes("test", &all(616..1011));
    assert_eq!(
        fixture.error(),
        "Derm7pt: DIAG NEV in the training part: 413 where the published data set has 256; compare the files \
         with the original"
    );
    write(&fixture.root().join(SYNTHETIC_MARKER), b"");
    assert_eq!(derm7pt::load(fixture.root()).unwrap().name, "derm7pt-synthetic");
}

#[test]
fn the_published_counts_are_consistent() {
    for task in PUBLISHED {
        for (part, cases) in [413, 203, 395].into_iter().enumerate() {
            let sum: usize = task.classes.iter().map(|(_, counts)| counts[part]).sum();
            assert_eq!(sum, cases, "{} part {part}", task.label);
        }
    }
    for (task, published) in derm7pt::tasks().iter().zip(PUBLISHED) {
        let classes: Vec<&str> = published.classes.iter().map(|(class, _)| *class).collect();
        assert_eq!(
            (task.label.as_str(), task.classes.clone()),
            (published.label, classes.iter().map(|&c| c.into()).collect())
        );
    }
    assert_eq!(seven_point_score(&[0, 2, 2, 2, 1, 2, 1, 2]), 10);
}

#[test]
fn the_checklist_becomes_an_input_and_the_diagnosis_the_only_task() {
    let fixture = Fixture::new();
    let load = || derm7pt::load(fixture.root()).unwrap();
    let width = |set: &dermafuse_data::CaseSet| {
        MetadataEncoder::fit(&set.fields, &set.cases, derm7pt::encoding()).unwrap().width()
    };
    let set = derm7pt::with_checklist_inputs(load(), false).unwrap();
    assert_eq!((set.tasks.len(), set.tasks[0].name.as_str(), width(&set)), (1, "diagnosis", 39));
    assert_eq!(set.cases[1].labels, [Some(2)]);
    assert_eq!(set.cases[1].metadata[..7], [2, 2, 2, 1, 2, 1, 2].map(FieldValue::Category));
    assert_eq!(set.cases[1].metadata[7..], load().cases[1].metadata);
    assert!(set.fields[..7].iter().all(|field| field.role == FieldRole::PostDiagnosis));
    let chosen = load().with_tasks(&["diagnosis".into()], OtherTasks::Inputs).unwrap();
    assert_eq!((&chosen.tasks, &chosen.fields, &chosen.cases), (&set.tasks, &set.fields, &set.cases));
    let honest = MetadataEncoder::fit(&set.fields, &set.cases, dermafuse_data::EncoderConfig::default()).unwrap();
    assert_eq!(honest.field_names(), ["elevation", "location", "sex"]);

    let scored = derm7pt::with_checklist_inputs(load(), true).unwrap();
    assert_eq!((width(&scored), scored.cases[1].metadata.last()), (40, Some(&FieldValue::Number(10.0))));
    let raw = derm7pt::load_with_raw_checklist(fixture.0.path(), true).unwrap();
    assert_eq!((width(&raw), raw.tasks.len(), raw.fields[2].name.as_str()), (49, 1, "pigmentation"));
    assert_eq!(raw.fields[2].text(&raw.cases[1].metadata[2]), Some("diffuse irregular".into()));
    assert_eq!(raw.fields[6].text(&raw.cases[3].metadata[6]), Some("within regression".into()));
    assert_eq!(width(&derm7pt::load_with_raw_checklist(fixture.root(), false).unwrap()), 48);

    let text = derm7pt::with_checklist_inputs(set, false).unwrap_err().to_string();
    assert_eq!(text, "tasks of the case set: diagnosis is not the eight of Derm7pt");
}

#[test]
fn a_set_of_two_images_can_be_used_with_one() {
    let set = derm7pt::load(Fixture::new().root()).unwrap();
    let clinical = set.clone().with_only(Modality::Clinical);
    assert!(clinical.cases.iter().all(|case| !case.clinical.is_empty() && case.dermoscopic.is_empty()));
    let dermoscopic = set.clone().with_only(Modality::Dermoscopic);
    assert_eq!(dermoscopic.cases[0].dermoscopic, set.cases[0].dermoscopic);
    assert!(dermoscopic.cases.iter().all(|case| case.clinical.is_empty()));
}
