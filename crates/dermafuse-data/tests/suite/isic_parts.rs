//! The challenges of ISIC whose parts are official: 2016, 2017 and 2018.

use std::path::Path;

use dermafuse_data::{CaseSet, DataError, DataSetKind, LoadOptions, MetadataEncoder, isic_2016, isic_2017, isic_2018};
use dermafuse_schema::FieldValue::{Category, Missing, Number};

use crate::fixture::{plain_jpeg, write};

/// Tables with their text, and images, each in a colour of its own.
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

fn ids(set: &CaseSet) -> Vec<&str> {
    set.cases.iter().map(|case| case.id.as_str()).collect()
}

fn labels(set: &CaseSet) -> Vec<usize> {
    set.cases.iter().map(|case| case.labels[0].unwrap()).collect()
}

fn error(set: Result<CaseSet, DataError>, root: &Path) -> String {
    set.unwrap_err().to_string().replace(&root.display().to_string(), "ROOT")
}

const TRAINING_2016: &str = "ISIC_1,benign\nISIC_2,malignant\n";
const TEST_2016: &str = "ISIC_3,0.0\nISIC_4,1.0\n";
const IMAGES_2016: [&str; 4] = [
    "ISBI2016_ISIC_Part3_Training_Data/ISIC_1.jpg",
    "ISBI2016_ISIC_Part3_Training_Data/ISIC_2.jpg",
    "ISBI2016_ISIC_Part3_Test_Data/ISIC_3.jpg",
    "ISBI2016_ISIC_Part3_Test_Data/ISIC_4.jpg",
];

#[test]
fn isic_2016_has_two_parts_and_a_table_without_a_header() {
    let files = [
        ("ISBI2016_ISIC_Part3_Training_GroundTruth.csv", TRAINING_2016),
        ("ISBI2016_ISIC_Part3_Test_GroundTruth.csv", TEST_2016),
    ];
    let folder = root(&files, &IMAGES_2016);
    let set = DataSetKind::Isic2016.load(folder.path()).unwrap();
    assert_eq!((set.name.as_str(), ids(&set).join(" ").as_str()), ("isic-2016", "ISIC_1 ISIC_2 ISIC_3 ISIC_4"));
    assert_eq!((labels(&set), set.notes.len()), (vec![0, 1, 0, 1], 0));
    let split = set.split.as_ref().unwrap();
    assert_eq!((split.train.as_slice(), split.valid.len(), split.test.as_slice()), (&[0, 1][..], 0, &[2, 3][..]));
    assert!(set.cases[3].dermoscopic[0].path.ends_with(IMAGES_2016[3]));

    // Part 3B with masks beside the images, a header that a copy has, and only one part.
    let files =
        [("ISBI2016_ISIC_Part3B_Training_GroundTruth.csv", "image_id,label\nISIC_2,benign\nISIC_1,malignant\n")];
    let images = ["ISBI2016_ISIC_Part3B_Training_Data/ISIC_1.jpg", "ISBI2016_ISIC_Part3B_Training_Data/ISIC_2.jpg"];
    let folder = root(&files, &images);
    write(&folder.path().join("ISBI2016_ISIC_Part3B_Training_Data/ISIC_1_Segmentation.png"), &plain_jpeg(250));
    let set = isic_2016::load(folder.path()).unwrap();
    assert_eq!((ids(&set), labels(&set), &set.split), (vec!["ISIC_2", "ISIC_1"], vec![0, 1], &None));
    assert_eq!(
        set.notes,
        [
            "no ISBI2016_ISIC_Part3_Test_GroundTruth.csv: no test part",
            "the challenge's split is of all its parts: there is none here"
        ]
    );
    let masks = dermafuse_data::lesion_masks(&set, folder.path(), "_segmentation").unwrap();
    assert!(masks[0].is_none() && masks[1].as_ref().unwrap().ends_with("ISIC_1_Segmentation.png"), "{masks:?}");
}

#[test]
fn faults_of_isic_2016_are_named_with_their_place() {
    let broken = |from: &str, to: &str| {
        let training = TRAINING_2016.replacen(from, to, 1);
        let files = [
            ("ISBI2016_ISIC_Part3_Training_GroundTruth.csv", training.as_str()),
            ("ISBI2016_ISIC_Part3_Test_GroundTruth.csv", TEST_2016),
        ];
        let folder = root(&files, &IMAGES_2016);
        error(isic_2016::load(folder.path()), folder.path())
    };
    assert_eq!(
        broken("malignant", "bad"),
        "ROOT/ISBI2016_ISIC_Part3_Training_GroundTruth.csv: line 2, column `class`: found `bad`, expected benign, malignant, \
         0 or 1"
    );
    assert!(broken("ISIC_2", "ISIC_1").ends_with("expected a name that line 1 does not have"));
    assert!(broken("ISIC_2", "ISIC_9").contains("line 2, column `image`: image `ISIC_9` is not in"));
    assert!(broken("ISIC_2,", "ISIC_2,benign,").contains("line 2"));
    let text = broken("ISIC_2", "ISIC_3");
    assert!(text.contains("ISIC_3"), "an image in both parts, or in the folder of the other: {text}");
    let text = isic_2016::load("/nowhere/isic").unwrap_err().to_string();
    assert!(
        text.starts_with("/nowhere/isic/ISBI2016_ISIC_Part3_Training_GroundTruth.csv: not found; ISIC 2016: get it at")
    );
    let both = [
        ("ISBI2016_ISIC_Part3_Training_GroundTruth.csv", TRAINING_2016),
        ("ISBI2016_ISIC_Part3_Test_GroundTruth.csv", "ISIC_2,0.0\n"),
    ];
    let folder = root(&both, &[]);
    let text = error(isic_2016::load_with(folder.path(), &LoadOptions::metadata_only()), folder.path());
    assert!(text.contains("ISIC_2"), "{text}");
}

const TRUTH_2017: [(&str, &str); 3] = [
    (
        "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis\nISIC_1,0.0,0.0\nISIC_2,1.0,0.0\nISIC_3,0.0,1.0\n",
    ),
    ("ISIC-2017_Validation_Part3_GroundTruth.csv", "image_id,melanoma,seborrheic_keratosis\nISIC_4,1.0,0.0\n"),
    ("ISIC-2017_Test_v2_Part3_GroundTruth.csv", "image_id,melanoma,seborrheic_keratosis\nISIC_5,0.0,1.0\n"),
];
const RECORD_2017: (&str, &str) = (
    "ISIC-2017_Training_Data/ISIC-2017_Training_Data_metadata.csv",
    "image_id,age_approximate,sex\nISIC_1,55,female\nISIC_2,unknown,unknown\nISIC_3,40,male\n",
);
/// As archives unpack into a folder of their own: twice.
const IMAGES_2017: [&str; 5] = [
    "ISIC-2017_Training_Data/ISIC_1.jpg",
    "ISIC-2017_Training_Data/ISIC_2.jpg",
    "ISIC-2017_Training_Data/ISIC_3.jpg",
    "ISIC-2017_Validation_Data/ISIC-2017_Validation_Data/ISIC_4.jpg",
    "ISIC-2017_Test_v2_Data/ISIC_5.jpg",
];

#[test]
fn isic_2017_has_three_parts_and_a_nevus_is_neither() {
    let files = [TRUTH_2017[0], TRUTH_2017[1], TRUTH_2017[2], RECORD_2017];
    let folder = root(&files, &IMAGES_2017);
    // Superpixels lie beside the images.
    write(&folder.path().join("ISIC-2017_Training_Data/ISIC_1_superpixels.png"), &plain_jpeg(250));
    let set = DataSetKind::Isic2017.load(folder.path()).unwrap();
    assert_eq!(set.tasks[0].classes, isic_2017::CLASSES);
    assert_eq!((set.len(), labels(&set)), (5, vec![1, 0, 2, 0, 2]));
    let split = set.split.as_ref().unwrap();
    assert_eq!((split.train.len(), split.valid.as_slice(), split.test.as_slice()), (3, &[3][..], &[4][..]));
    assert_eq!(set.cases[0].metadata, [Number(55.0), Category(0)]);
    assert_eq!((&set.cases[1].metadata, &set.cases[4].metadata), (&vec![Missing; 2], &vec![Missing; 2]));
    assert_eq!(set.notes.len(), 2, "of two parts no record: {:?}", set.notes);
    assert!(set.notes[0].starts_with("no ISIC-2017_Validation_Data_metadata.csv: age and sex are not recorded"));
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases[..3], isic_2017::encoding()).unwrap();
    assert_eq!(encoder.width(), 3);

    // Without a validation part there is no official split.
    let folder = root(&[TRUTH_2017[0], TRUTH_2017[2]], &IMAGES_2017);
    let set = isic_2017::load(folder.path()).unwrap();
    assert_eq!((set.len(), &set.split), (4, &None));

    // An image of the training part that is in the test part too: the split is kept, and says so.
    let folder = root(&files, &IMAGES_2017);
    write(&folder.path().join(IMAGES_2017[4]), &plain_jpeg(20));
    let set = isic_2017::load(folder.path()).unwrap();
    assert_eq!(set.cases[0].group, set.cases[4].group);
    assert_eq!(set.split.as_ref().unwrap().leaks().len(), 1);
    assert!(set.notes.last().unwrap().starts_with("the published split has images of one lesion"), "{:?}", set.notes);
}

#[test]
fn faults_of_isic_2017_are_named_with_their_place() {
    let broken = |from: &str, to: &str| {
        let text = TRUTH_2017[0].1.replacen(from, to, 1);
        assert_ne!(text, TRUTH_2017[0].1);
        let folder = root(&[(TRUTH_2017[0].0, text.as_str()), RECORD_2017], &IMAGES_2017);
        error(isic_2017::load(folder.path()), folder.path())
    };
    assert!(
        broken("ISIC_2,1.0,0.0", "ISIC_2,1.0,1.0")
            .ends_with("line 3, column `seborrheic_keratosis`: found `1.0`, expected 0, as `melanoma` is 1")
    );
    assert!(broken("ISIC_2,1.0", "ISIC_2,0.5").ends_with("column `melanoma`: found `0.5`, expected 0 or 1"));
    assert!(broken("melanoma", "mel").contains("column `melanoma` is missing"));
    let record = RECORD_2017.1.replace(",male\n", ",man\n");
    let folder = root(&[TRUTH_2017[0], (RECORD_2017.0, record.as_str())], &IMAGES_2017);
    assert!(error(isic_2017::load(folder.path()), folder.path()).contains("column `sex`: unknown value `man`"));
}

const HEADER_2018: &str = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n";

#[test]
fn isic_2018_has_the_classes_of_ham10000_and_lesions_for_training() {
    let row = |id: &str, at: usize| {
        let values: Vec<&str> = (0..7).map(|column| if column == at { "1.0" } else { "0.0" }).collect();
        format!("{id},{}\n", values.join(","))
    };
    let training = format!("{HEADER_2018}{}{}{}", row("ISIC_1", 0), row("ISIC_2", 0), row("ISIC_3", 5));
    let (valid, test) = (format!("{HEADER_2018}{}", row("ISIC_4", 1)), format!("{HEADER_2018}{}", row("ISIC_5", 6)));
    let files = [
        // Some archives unpack into a folder of their name.
        ("ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv", training.as_str()),
        ("ISIC2018_Task3_Validation_GroundTruth.csv", valid.as_str()),
        ("ISIC2018_Task3_Test_GroundTruth.csv", test.as_str()),
        (
            "ISIC2018_Task3_Training_LesionGroupings.csv",
            "image,lesion_id,diagnosis_confirm_type\nISIC_1,HAM_7,histopathology\nISIC_2,HAM_7,histopathology\nISIC_3,HAM_8,x\n",
        ),
    ];
    let images = [
        "ISIC2018_Task3_Training_Input/ISIC_1.jpg",
        "ISIC2018_Task3_Training_Input/ISIC_2.jpg",
        "ISIC2018_Task3_Training_Input/ISIC_3.jpg",
        "ISIC2018_Task3_Validation_Input/ISIC_4.jpg",
        "ISIC2018_Task3_Test_Input/ISIC_5.jpg",
    ];
    let folder = root(&files, &images);
    let set = DataSetKind::Isic2018.load(folder.path()).unwrap();
    let classes = &set.tasks[0].classes;
    let named: Vec<&str> = labels(&set).into_iter().map(|label| classes[label].as_str()).collect();
    assert_eq!(named, ["mel", "mel", "df", "nv", "vasc"]);
    assert_eq!((set.cases[0].group.as_str(), set.cases[1].group.as_str()), ("HAM_7", "HAM_7"));
    assert_eq!((set.cases[3].lesion.as_deref(), set.notes.len()), (None, 0));
    assert_eq!(set.split.as_ref().unwrap().test, [4]);
    assert_eq!(*classes, dermafuse_data::ham10000::CLASSES);

    let set = isic_2018::load(root(&files[..3], &images).path()).unwrap();
    assert_eq!(set.cases[0].lesion, None);
    assert!(set.notes[0].starts_with("no ISIC2018_Task3_Training_LesionGroupings.csv: "), "{:?}", set.notes);
    let twice = training.replace("1.0,0.0", "1.0,1.0");
    let folder = root(&[(files[0].0, twice.as_str())], &images);
    assert!(error(isic_2018::load(folder.path()), folder.path()).contains("expected a single 1 in each row"));
}

#[test]
fn whole_parts_are_held_against_the_published_counts() {
    let load = |malignant: usize| {
        let count = isic_2016::PUBLISHED_TEST.iter().sum::<usize>();
        let rows = (0..count).map(|row| format!("ISIC_{row},{}\n", if row < malignant { "1.0" } else { "0.0" }));
        let files = [("ISBI2016_ISIC_Part3_Test_GroundTruth.csv", rows.collect::<String>())];
        let folder = root(&[(files[0].0, files[0].1.as_str())], &[]);
        isic_2016::load_with(folder.path(), &LoadOptions::metadata_only()).map_err(|error| error.to_string())
    };
    assert_eq!(load(75).unwrap().len(), 379);
    let text = load(76).unwrap_err();
    assert!(text.starts_with("ISIC 2016: test images of benign: 303 where the published data set has 304"), "{text}");
    // What is published adds up to what the challenges say of their parts.
    let sums = [
        isic_2017::PUBLISHED_TRAINING.iter().sum::<usize>(),
        isic_2017::PUBLISHED_VALIDATION.iter().sum(),
        isic_2017::PUBLISHED_TEST.iter().sum(),
        isic_2018::PUBLISHED_TRAINING.iter().sum(),
        isic_2018::PUBLISHED_VALIDATION.iter().sum(),
        isic_2018::PUBLISHED_TEST.iter().sum(),
        isic_2016::PUBLISHED_TRAINING.iter().sum(),
    ];
    assert_eq!(sums, [2_000, 150, 600, 10_015, 193, 1_512, 900]);
}
