//! Sets of photos: class folders, Dermofit, PH².

use std::path::{Path, PathBuf};

use dermafuse_data::{
    CaseSet, DataError, ImageSource, LesionMask, LoadOptions, Modality, SYNTHETIC_MARKER, class_folders, derm7pt,
    dermofit, lesion_masks, ph2,
};
use image::ExtendedColorType;

use crate::fixture::{plain_jpeg, png, write};

fn bmp(level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::bmp::BmpEncoder::new(&mut bytes).encode(&[level; 12], 2, 2, ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, file) in files.iter().enumerate() {
        let level = 5 + 7 * index as u8;
        let bytes = match file.rsplit_once('.').unwrap().1 {
            "bmp" => bmp(level),
            "png" => png(2, 2, ExtendedColorType::Rgb8, &[level; 12]),
            _ => plain_jpeg(level),
        };
        write(&folder.path().join(file), &bytes);
    }
    folder
}

fn error(result: Result<CaseSet, DataError>, root: &Path) -> String {
    result.unwrap_err().to_string().replace(&root.display().to_string(), "ROOT")
}

fn ids(set: &CaseSet) -> Vec<&str> {
    set.cases.iter().map(|case| case.id.as_str()).collect()
}

#[test]
fn a_folder_is_a_class() {
    let root =
        folder(&["nevus/b.jpg", "nevus/deep/er/a.PNG.png", "melanoma/c.jpeg", "melanoma/c_mask.png", "stray.jpg"]);
    write(&root.path().join("melanoma/Thumbs.db"), b"x");
    write(&root.path().join(".cache/x.jpg"), b"x");
    let set = class_folders::load(root.path()).unwrap();
    assert_eq!(ids(&set), ["melanoma/c.jpeg", "nevus/b.jpg", "nevus/deep/er/a.PNG.png"]);
    assert_eq!(set.tasks[0].classes, ["melanoma", "nevus"]);
    assert_eq!(set.cases.iter().map(|case| case.labels[0]).collect::<Vec<_>>(), [Some(0), Some(1), Some(1)]);
    assert_eq!(set.cases[1].clinical, [root.path().join("nevus/b.jpg").into()]);
    assert_eq!(set.name, root.path().file_name().unwrap().to_string_lossy());
    assert_eq!((set.split.as_ref(), set.cases[1].group.as_str()), (None, "nevus/b.jpg"));
    assert_eq!(
        set.notes,
        ["1 files whose names contain mask are left out", "1 images lie in no class folder and are left out"]
    );
    let options = class_folders::Options {
        name: Some("mine".into()),
        modality: Modality::Dermoscopic,
        ignore: vec![],
        ..class_folders::Options::default()
    };
    let set = class_folders::load_with(root.path(), &options).unwrap();
    assert_eq!((set.name.as_str(), set.len()), ("mine", 4));
    assert!(set.cases.iter().all(|case| case.clinical.is_empty() && !case.dermoscopic.is_empty()));
}

#[test]
fn folders_of_parts_are_the_split() {
    let files = ["train/a/1.jpg", "train/b/2.jpg", "Validation/a/3.jpg", "test/b/4.jpg", "test/a/5.jpg"];
    let root = folder(&files);
    let set = class_folders::load(root.path()).unwrap();
    assert_eq!(set.tasks[0].classes, ["a", "b"]);
    let split = set.split.clone().unwrap();
    let part = |rows: &[usize]| rows.iter().map(|&row| set.cases[row].id.as_str()).collect::<Vec<_>>();
    assert_eq!(part(&split.train), ["train/a/1.jpg", "train/b/2.jpg"]);
    assert_eq!(
        (part(&split.valid), part(&split.test)),
        (vec!["Validation/a/3.jpg"], vec!["test/a/5.jpg", "test/b/4.jpg"])
    );

    // The same picture to train and to test is a leak that is named.
    std::fs::copy(root.path().join("train/a/1.jpg"), root.path().join("test/a/copy.jpg")).unwrap();
    let text = error(class_folders::load(root.path()), root.path());
    assert!(
        text.starts_with("group `test/a/copy.jpg` is in the training part of the split and in the test part"),
        "{text}"
    );
    let options = class_folders::Options { group_duplicates: false, ..class_folders::Options::default() };
    assert_eq!(class_folders::load_with(root.path(), &options).unwrap().len(), 6);

    let root = folder(&files[..2]);
    let set = class_folders::load(root.path()).unwrap();
    assert!(set.split.is_none() && set.notes[0].starts_with("not all of the parts train, val and test are there"));
}

#[test]
fn what_is_no_set_of_class_folders_is_refused() {
    let root = folder(&["one.jpg"]);
    let text = error(class_folders::load(root.path()), root.path());
    assert!(text.starts_with("ROOT: not found; a set of class folders: expected a folder for each class"), "{text}");
    let root = folder(&["nevus/one.jpg"]);
    let text = error(class_folders::load(root.path()), root.path());
    assert_eq!(text, "task `diagnosis` needs two or more distinct classes, found [\"nevus\"]");
    let text = class_folders::load("/nowhere/photos").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/photos: "), "{text}");
}

#[test]
fn dermofit_is_class_folders_by_short_or_full_name() {
    let root = folder(&[
        "AK/A1/A1.png",
        "AK/A1/A1mask.png",
        "Basal Cell Carcinoma/B1/B1.png",
        "Melanocytic Nevus (mole)/D1.png",
        "malignant_melanoma/P1.png",
        "Haemangioma/Haemangioma/V1.png",
    ]);
    let set = dermofit::load(root.path()).unwrap();
    assert_eq!((set.name.as_str(), set.len()), ("dermofit", 5));
    let classes: Vec<&str> =
        set.cases.iter().map(|case| set.tasks[0].classes[case.labels[0].unwrap()].as_str()).collect();
    assert_eq!(classes, ["AK", "BCC", "VASC", "ML", "MEL"]);
    assert_eq!(set.cases[0].lesion.as_deref(), Some("AK/A1/A1.png"));
    assert_eq!(set.notes, ["1 files whose names contain mask are left out"]);

    write(&root.path().join("Warts/w.png"), &png(1, 1, ExtendedColorType::Rgb8, &[1; 3]));
    let text = error(dermofit::load(root.path()), root.path());
    assert!(text.starts_with("class folder of Dermofit: Warts is not one of AK, BCC, DF, IEC,"), "{text}");
    let text = dermofit::load("/nowhere/dermofit").unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/dermofit: not found; Dermofit: license it at https://"), "{text}");
    assert!(error(dermofit::load(folder(&["x.txt"]).path()), Path::new("/")).contains("not found; Dermofit"));
}

#[test]
fn a_full_dermofit_is_held_against_the_published_counts() {
    assert_eq!(dermofit::PUBLISHED_CLASSES.iter().sum::<usize>(), dermofit::PUBLISHED_CASES);
    let root = tempfile::tempdir().unwrap();
    for (class, count) in dermofit::CLASSES.into_iter().zip(dermofit::PUBLISHED_CLASSES) {
        for photo in 0..count {
            // Of different sizes, so that nothing is read to compare them.
            write(&root.path().join(format!("{class}/{photo}.png")), &vec![b'x'; 1 + photo]);
        }
    }
    assert_eq!(dermofit::load(root.path()).unwrap().len(), 1_300);
    std::fs::rename(root.path().join("SK/0.png"), root.path().join("AK/900.png")).unwrap();
    assert_eq!(
        error(dermofit::load(root.path()), root.path()),
        "Dermofit: photos of AK: 46 where the published data set has 45; compare the files with the original"
    );
    write(&root.path().join(SYNTHETIC_MARKER), b"");
    assert!(dermofit::load(root.path()).unwrap().synthetic);
}

const PH2_TEXT: &str = "||   Name ||    Histological Diagnosis ||   Clinical Diagnosis ||   Asymmetry || Colors ||
|| IMD003 ||                           ||                    0 ||           0 ||              T  |     A |  4  ||
|| IMD009 ||    dysplastic n\u{e6}vus  ||                    1 ||           0 ||              T  |     A |  3 4  ||
|| IMD058 ||   Melanoma                ||                    2 ||           2 ||              AT |     A |  4 6  ||

Legends:
    Clinical Diagnosis:
        0 - Common Nevus; 1 - Atypical Nevus; 2 - Melanoma.
";

/// As the sheet is exported: eleven lines above the header, whose names have line breaks.
fn ph2_sheet(delimiter: char) -> String {
    let above = "PH\u{b2} Database,,,,,,\r\n".repeat(11);
    let rows = "IMD003,,X,,,0,T\r\nIMD009,\"nevus, dysplastic\",,X,,0,T\r\n,,,,,,\r\nIMD058,Melanoma,,,X,2,AT\r\n";
    let header = "Image Name,Histological Diagnosis,Common Nevus,Atypical Nevus,Melanoma,\"Asymmetry\n(0/1/2)\",\r\n";
    format!("{above}{header}{rows}").replace(',', &delimiter.to_string())
}

fn ph2_images() -> tempfile::TempDir {
    let mut files = Vec::new();
    for name in ["IMD003", "IMD009", "IMD058"] {
        let place = format!("PH2 Dataset images/{name}");
        files.push(format!("{place}/{name}_Dermoscopic_Image/{name}.bmp"));
        files.push(format!("{place}/{name}_lesion/{name}_lesion.bmp"));
        files.push(format!("{place}/{name}_roi/{name}_R1_Label4.bmp"));
    }
    folder(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn ph2_is_read_as_published_and_as_exported() {
    let root = ph2_images();
    let path = |name: &str| -> PathBuf { root.path().join(name) };
    write(&path("PH2_dataset.xlsx"), b"PK");
    let text = error(ph2::load(root.path()), root.path());
    assert_eq!(
        text,
        "labels of PH2: ROOT/PH2_dataset.xlsx is not text; put the published PH2_dataset.txt beside it, or save its sheet as \
         PH2_dataset.csv"
    );
    write(&path("PH2_dataset.csv"), ph2_sheet(',').as_bytes());
    let from_sheet = ph2::load(root.path()).unwrap();
    write(&path("PH2_dataset.csv"), ph2_sheet(';').as_bytes());
    assert_eq!(ph2::load(root.path()).unwrap(), from_sheet);
    write(&path("PH2_dataset.txt"), PH2_TEXT.as_bytes());
    let set = ph2::load(root.path()).unwrap();
    assert_eq!(set, from_sheet);
    assert_eq!(ids(&set), ["IMD003", "IMD009", "IMD058"]);
    assert_eq!(set.cases.iter().map(|case| case.labels[0]).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    let image = set.cases[1].dermoscopic[0].clone();
    assert!(image.path.ends_with("IMD009/IMD009_Dermoscopic_Image/IMD009.bmp"));
    assert_eq!(dermafuse_data::decode(image, dermafuse_data::Strictness::Strict).unwrap().width(), 2);

    let labels = ph2::load_with(root.path(), &LoadOptions::metadata_only()).unwrap();
    assert!(labels.cases.iter().all(|case| case.dermoscopic.is_empty()) && labels.len() == 3);
    let elsewhere =
        LoadOptions { images: ImageSource::Folder(path("PH2 Dataset images/IMD003")), ..LoadOptions::default() };
    let text = error(ph2::load_with(root.path(), &elsewhere), root.path());
    assert!(
        text.contains("PH2_dataset.txt: line 3, column `Name`: image `IMD009` is not in") && text.contains("(2 of 3")
    );
}

#[test]
fn faults_of_ph2_are_named_with_their_place() {
    let root = ph2_images();
    let broken = |file: &str, text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        write(&root.path().join(file), text.replacen(from, to, 1).as_bytes());
        let text = error(ph2::load(root.path()), root.path());
        std::fs::remove_file(root.path().join(file)).unwrap();
        text
    };
    let text = |from: &str, to: &str| broken("PH2_dataset.txt", PH2_TEXT, from, to);
    assert_eq!(
        text("|                    1 |", "| 7 |"),
        "ROOT/PH2_dataset.txt: line 3, column `Clinical Diagnosis`: found `7`, expected 0, 1 or 2"
    );
    assert!(
        text("IMD058", "IMD003")
            .ends_with("line 4, column `Name`: found `IMD003`, expected a name that line 2 does not have")
    );
    assert!(text("IMD058", "").ends_with("line 4, column `Name`: found ``, expected an identifier"));
    assert!(broken("PH2_dataset.txt", "nothing", "nothing", "").ends_with("header but no rows"));
    let sheet = |from: &str, to: &str| broken("PH2_dataset.csv", &ph2_sheet(','), from, to);
    assert_eq!(
        sheet("IMD058,Melanoma,,,X", "IMD058,Melanoma,,,"),
        "ROOT/PH2_dataset.csv: line 17, column `Image Name`: found `IMD058`, expected a row with one X under Common Nevus, \
         Atypical Nevus, Melanoma"
    );
    assert!(
        sheet("IMD003,,X,,", "IMD003,,X,X,")
            .contains("line 14, column `Image Name`: found `IMD003`, expected a row with")
    );
    assert!(sheet("IMD003,,X", ",,X").contains("line 14, column `Image Name`: found ``, expected an identifier"));
    assert!(sheet("Image Name", "Image").contains("column `Image Name` is missing"));
    let missing = error(ph2::load("/nowhere/ph2"), Path::new("/nothing"));
    assert!(missing.starts_with("/nowhere/ph2/PH2_dataset.txt: not found; PH2: get it at https://"), "{missing}");
}

#[test]
fn a_full_ph2_is_held_against_the_published_counts() {
    let root = tempfile::tempdir().unwrap();
    let table = |melanomas: usize| {
        let code = |row: usize| if row < melanomas { 2 } else { usize::from(row < melanomas + 80) };
        (0..200).map(|row| format!("|| IMD{row:03} || || {} ||\n", code(row))).collect::<String>()
    };
    let load = |text: &str| {
        write(&root.path().join("PH2_dataset.txt"), text.as_bytes());
        ph2::load_with(root.path(), &LoadOptions::metadata_only())
    };
    assert_eq!(load(&table(40)).unwrap().len(), ph2::PUBLISHED_CASES);
    let text = load(&table(41)).unwrap_err().to_string();
    assert!(text.starts_with("PH2: images of common nevus: 79 where the published data set has 80"), "{text}");
}

/// As published: six criteria, each behind one bar, and the colours behind two.
const PH2_CRITERIA: &str = "||   Name ||  Histological Diagnosis ||   Clinical Diagnosis ||   Asymmetry |   Pigment Network | Dots/Globules | \
Streaks | Regression Areas | Blue-Whitish Veil ||           Colors ||
|| IMD003 ||                         ||                    0 ||           0 |         T |     A |     A |    A |     A ||                4 ||
|| IMD009 ||    dysplastic n\u{e6}vus  ||                  1 ||           1 |         AT |    T |     A |    P |     A ||             3  4 ||
|| IMD058 ||   Melanoma                ||                  2 ||           2 |         AT |    AT |    P |    P |     P ||       1  3  5  6 ||

Legends:
";

/// The same as the sheet is exported.
const PH2_CRITERIA_SHEET: &str = "PH\u{b2} Database,,,,,,,,,,,,,,,,\r\n\
Image Name,Histological Diagnosis,Common Nevus,Atypical Nevus,Melanoma,\"Asymmetry\n(0/1/2)\",\"Pigment Network\n(AT/T)\",\
\"Dots/Globules\n(A/AT/T)\",\"Streaks\n(A/P)\",\"Regression Areas\n(A/P)\",\"Blue-Whitish Veil\n(A/P)\",\
White,Red,Light-Brown,Dark-Brown,Blue-Gray,Black\r\n\
IMD003,,X,,,0,T,A,A,A,A,,,,X,,\r\n\
IMD009,dysplastic,,X,,1,AT,T,A,P,A,,,X,X,,\r\n\
IMD058,Melanoma,,,X,2,AT,AT,P,P,P,X,,X,,X,X\r\n";

#[test]
fn criteria_and_colours_of_ph2_are_tasks() {
    let root = ph2_images();
    let path = |name: &str| -> PathBuf { root.path().join(name) };
    write(&path("PH2_dataset.txt"), PH2_CRITERIA.as_bytes());
    let set = dermafuse_data::DataSetKind::Ph2Criteria.load(root.path()).unwrap();
    let names: Vec<&str> = set.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names[..4], ["diagnosis", "asymmetry", "pigment_network", "dots_and_globules"]);
    assert_eq!(names[7..], ["white", "red", "light_brown", "dark_brown", "blue_gray", "black"]);
    let labels = |row: usize| set.cases[row].labels.iter().map(|label| label.unwrap()).collect::<Vec<_>>();
    assert_eq!(labels(0), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(labels(1), [1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0]);
    assert_eq!(labels(2), [2, 2, 1, 2, 1, 1, 1, 1, 0, 1, 0, 1, 1]);
    // Derm7pt knows the veil and regression by the same classes.
    for task in derm7pt::tasks()
        .iter()
        .filter(|task| ["blue_whitish_veil", "regression_structures"].contains(&task.name.as_str()))
    {
        assert!(set.tasks.iter().any(|ours| ours == task), "{}", task.name);
    }
    // The diagnosis alone is as before.
    assert_eq!(ph2::load(root.path()).unwrap().tasks.len(), 1);

    std::fs::remove_file(path("PH2_dataset.txt")).unwrap();
    write(&path("PH2_dataset.csv"), PH2_CRITERIA_SHEET.as_bytes());
    assert_eq!(ph2::load_criteria(root.path()).unwrap(), set);
}

#[test]
fn masks_of_ph2_are_found_by_their_images() {
    let root = ph2_images();
    write(&root.path().join("PH2_dataset.txt"), PH2_CRITERIA.as_bytes());
    let set = ph2::load(root.path()).unwrap();
    std::fs::remove_file(root.path().join("PH2 Dataset images/IMD009/IMD009_lesion/IMD009_lesion.bmp")).unwrap();
    let masks = lesion_masks(&set, root.path(), ph2::MASK_SUFFIX).unwrap();
    assert_eq!(masks.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert!(masks[2].as_ref().unwrap().ends_with("IMD058/IMD058_lesion/IMD058_lesion.bmp"));
    let dark = LesionMask::read(root.path().join("nothing.bmp")).unwrap_err().to_string();
    assert!(dark.contains("nothing.bmp"), "{dark}");
}

#[test]
fn faults_in_the_criteria_of_ph2_are_named_with_their_place() {
    let root = ph2_images();
    let broken = |file: &str, text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        write(&root.path().join(file), text.replacen(from, to, 1).as_bytes());
        let text = error(ph2::load_criteria(root.path()), root.path());
        std::fs::remove_file(root.path().join(file)).unwrap();
        text
    };
    let text = |from: &str, to: &str| broken("PH2_dataset.txt", PH2_CRITERIA, from, to);
    assert_eq!(
        text("AT |    AT |    P", "AT |    X |    P"),
        "ROOT/PH2_dataset.txt: line 4, column `Dots/Globules`: found `X`, expected one of A (absent), T (typical), AT (atypical)"
    );
    assert!(text("1  3  5  6", "1  7").ends_with("column `Colors`: found `7`, expected numbers from 1 to 6"));
    assert!(
        text("|    P |     P ||", "|    P ||").contains("expected 6 criteria and the colours behind the diagnosis")
    );
    let sheet = |from: &str, to: &str| broken("PH2_dataset.csv", PH2_CRITERIA_SHEET, from, to);
    assert!(sheet("Light-Brown", "Beige").contains("column `Light-Brown` is missing"));
    assert!(
        sheet("A,A,A,A,,,,X", "A,A,A,A,,,,yes").ends_with("column `Dark-Brown`: found `yes`, expected X or nothing")
    );
    assert!(sheet("0,T,A,A,A,A", "3,T,A,A,A,A").contains("found `3`, expected one of 0 (fully symmetric)"));
}
