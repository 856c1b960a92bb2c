//! Folders and names as archives, other systems and tables have them.

use dermafuse_data::{CaseSet, ImageSource, LoadOptions, class_folders, described, ham10000, milk10k, ph2};

use crate::fixture::{READ, plain_jpeg, write};

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, file) in files.iter().enumerate() {
        write(&folder.path().join(file), &plain_jpeg(3 + 9 * index as u8));
    }
    folder
}

fn load(root: &tempfile::TempDir) -> Result<CaseSet, String> {
    class_folders::load(root.path())
        .map_err(|error| error.to_string().replace(&root.path().display().to_string(), "ROOT"))
}

const PARTS: [&str; 6] =
    ["train/mel/1.jpg", "train/nev/2.jpg", "val/mel/3.jpg", "val/nev/4.jpg", "test/mel/5.jpg", "test/nev/6.jpg"];

#[test]
fn what_systems_leave_beside_the_parts_is_passed_over() {
    let root = folder(&PARTS);
    write(&root.path().join("__MACOSX/train/mel/._1.jpg"), b"x");
    write(&root.path().join(".ipynb_checkpoints/x.jpg"), b"x");
    write(&root.path().join("@eaDir/train/thumb.jpg"), b"x");
    write(&root.path().join(".DS_Store"), b"x");
    for file in ["train/Thumbs.db", "train/mel/Thumbs.db", "test/nev/desktop.ini", "val/.DS_Store", "val/mel/._3.jpg"] {
        write(&root.path().join(file), b"x");
    }
    let set = load(&root).unwrap();
    assert_eq!((set.len(), set.tasks[0].classes.as_slice()), (6, ["mel", "nev"].map(String::from).as_slice()));
    let split = set.split.clone().unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (2, 2, 2));
    assert!(set.notes.is_empty(), "{:?}", set.notes);
}

#[test]
fn other_folders_beside_the_parts_are_named() {
    for odd in ["runs", "train_masks", "mel"] {
        let root = folder(&PARTS);
        std::fs::create_dir(root.path().join(odd)).unwrap();
        let text = load(&root).unwrap_err();
        let expected =
            format!("ROOT: test, train, val are parts of a split, but beside them lie other folders: {odd};");
        assert!(text.starts_with(&expected), "{text}");
    }
    let root = folder(&["a/train/mel/1.jpg", "a/train/nev/2.jpg", "b/train/mel/3.jpg"]);
    let text = load(&root).unwrap_err();
    assert!(text.starts_with("ROOT/a: holds `train` with folders of its own; name the folder of train,"), "{text}");
    let root = folder(&["mel/train/1.jpg", "mel/test/2.jpg", "nev/train/3.jpg"]);
    let set = load(&root).unwrap();
    assert_eq!(set.notes, ["class folders hold folders called test, train, which are not taken for parts of a split"]);
}

#[test]
fn parts_by_their_other_names_and_with_other_classes_are_united_by_name() {
    let root = folder(&["training/a/1.jpg", "training/b/2.jpg", "training/c/3.jpg", "valid/b/4.jpg", "test/a/5.jpg"]);
    std::fs::create_dir_all(root.path().join("test/d")).unwrap();
    let set = load(&root).unwrap();
    assert_eq!(set.tasks[0].classes, ["a", "b", "c", "d"]);
    let class = |id: &str| {
        let case = set.cases.iter().find(|case| case.id.as_str() == id).unwrap();
        set.tasks[0].classes[case.labels[0].unwrap()].as_str()
    };
    assert_eq!((class("training/c/3.jpg"), class("valid/b/4.jpg"), class("test/a/5.jpg")), ("c", "b", "a"));
    assert_eq!(set.notes, ["no image is in the folders of these classes: d"]);
    assert_eq!(set.split.unwrap().test.len(), 1);
}

#[test]
fn an_empty_folder_is_a_class_without_cases() {
    let root = folder(&["a/1.jpg", "b/2.jpg"]);
    write(&root.path().join("c/.gitkeep"), b"");
    std::fs::create_dir_all(root.path().join("d/deeper")).unwrap();
    let set = load(&root).unwrap();
    assert_eq!(set.tasks[0].classes, ["a", "b", "c", "d"]);
    assert_eq!(set.view(&[0, 1]).unwrap().class_counts(0).unwrap(), [1, 1, 0, 0]);
    assert_eq!(set.notes, ["no image is in the folders of these classes: c, d"]);
}

#[test]
fn files_that_are_no_images_are_counted_or_named() {
    let root =
        folder(&["df/1.JPG", "mel/2.jpg", "nev/3.png", "nev/deep/4.webp", "sk/5.jfif", "bcc/6.tif", "bcc/7.TIFF"]);
    for file in ["mel/a.heic", "mel/b.HEIC", "nev/deep/c.heic", "df/notes.txt", "df/README", "readme.md"] {
        write(&root.path().join(file), b"x");
    }
    let options = class_folders::Options { group_duplicates: false, ..class_folders::Options::default() };
    let set = class_folders::load_with(root.path(), &options).unwrap();
    assert_eq!(set.tasks[0].classes, ["bcc", "df", "mel", "nev", "sk"]);
    assert_eq!(set.len(), 7);
    assert_eq!(
        set.notes,
        [format!(
            "5 files (heic 3, txt 1, without extension 1) are not images that are read ({READ}) and are left out"
        )]
    );
    for file in ["akiec/1.heic", "akiec/2.heic", "akiec/3.gif", "vasc/x/y.gif"] {
        write(&root.path().join(file), b"x");
    }
    let text = load(&root).unwrap_err();
    assert_eq!(
        text,
        format!(
            "ROOT: no file is an image that is read ({READ}) in akiec (heic 2, gif 1), vasc (gif 1); convert the files, or \
             move the folder elsewhere"
        )
    );
    // Also where another part has images of the class.
    let root = folder(&["train/mel/1.jpg", "train/nev/2.jpg", "test/nev/3.jpg"]);
    write(&root.path().join("test/mel/a.heic"), b"x");
    assert!(load(&root).unwrap_err().contains(" in test/mel (heic 1);"));
}

#[test]
fn masks_alone_are_no_class_and_alike_classes_are_refused() {
    let root = folder(&["mel/1.jpg", "nev/2.jpg", "masks/1_mask.png"]);
    assert_eq!(load(&root).unwrap().tasks[0].classes, ["mel", "nev"]);
    let root = folder(&["train/Mel/1.jpg", "train/nev/2.jpg", "test/mel/3.jpg"]);
    if load(&root).is_err() || !root.path().join("TRAIN").exists() {
        let text = load(&root).unwrap_err();
        assert!(
            text.starts_with("ROOT: the class folders `Mel` and `mel` differ in upper and lower case only"),
            "{text}"
        );
    }
}

/// Accents in one character with their letter, and apart from it, as macOS writes them.
const COMPOSED: &str = "Gr\u{fc}\u{df}e";
const APART: &str = "Gru\u{308}\u{df}e";

#[test]
fn class_folders_are_one_however_accents_are_written() {
    let files = [format!("train/{COMPOSED}/1.jpg"), format!("test/{APART}/{APART}.jpg"), "train/nev/3.jpg".into()];
    let root = folder(&files.each_ref().map(String::as_str));
    let set = load(&root).unwrap();
    assert!(set.cases.iter().all(|case| case.clinical[0].path.is_file()));
    assert_eq!(set.tasks[0].classes, [COMPOSED, "nev"]);
    assert_eq!(set.cases[0].id.as_str(), format!("test/{COMPOSED}/{COMPOSED}.jpg"));
}

const ISIC: &str = r#"name = "isic"
[cases]
file = "train.csv"
id = "image_name"
[images]
folders = ["train"]
dermoscopic = "file"
[[tasks]]
name = "diagnosis"
column = "benign_malignant"
classes = ["benign", "malignant"]
"#;

/// A described set of the images `0.jpg` … whose names in the table are these.
fn named(names: &[&str], files: &[&str], toml: &str) -> Result<CaseSet, String> {
    let root = folder(files);
    let mut table = String::from("image_name,benign_malignant,file\n");
    for (row, name) in names.iter().enumerate() {
        table.push_str(&format!("case {row},benign,{name}\n"));
    }
    write(&root.path().join("train.csv"), table.as_bytes());
    write(&root.path().join("set.toml"), toml.as_bytes());
    let set = described::load(root.path().join("set.toml"));
    let set = set.map_err(|error| error.to_string().replace(&root.path().display().to_string(), "ROOT"))?;
    // The folder goes away with this.
    assert!(set.cases.iter().all(|case| case.dermoscopic[0].path.is_file()));
    Ok(set)
}

#[test]
fn names_are_found_as_tables_write_them() {
    let (apart, composed) = (format!("train/{APART} 0.jpg"), format!("{COMPOSED} 0"));
    for name in [&composed, &format!("{composed}.jpg"), &format!("{APART} 0"), &composed.replace("Gr", "gR")] {
        named(&[name], &[&apart], ISIC).unwrap();
    }
    let files = ["train/a/1.jpg", "train/b/1.jpg", "train/2.jpg"];
    for name in [
        "2",
        "2.jpg",
        "./2.jpg",
        "train/2.jpg",
        r"train\2.jpg",
        r".\train\2.jpg",
        "./train/2",
        r"TRAIN\2.JPG",
        "a/1.jpg",
        r"b\1",
        r"train\b\1.jpg",
        "./train//a/./1.jpg",
    ] {
        let set = named(&[name], &files, ISIC).unwrap_or_else(|error| panic!("{name}: {error}"));
        let path = set.cases[0].dermoscopic[0].clone();
        let expected = name.to_lowercase().replace('\\', "/");
        let end = expected.rsplit(['/']).next().unwrap().trim_end_matches(".jpg").to_owned();
        assert!(path.path.ends_with(format!("{end}.jpg")), "{name}: {path:?}");
        for part in ["a", "b"] {
            assert_eq!(
                path.path.parent().unwrap().ends_with(part),
                expected.split('/').any(|name| name == part),
                "{name}"
            );
        }
    }
    for name in ["1", "3.jpg", "test/2.jpg", "c/1.jpg", "a/2.jpg", "../train/2.jpg", "/train/2.jpg", r"C:\train\2.jpg"]
    {
        named(&[name], &files, ISIC).unwrap_err();
    }
    // A folder that another archive program wrote as part of the name.
    if cfg!(unix) {
        named(&[r"x\7.jpg", "x/7.jpg", "7"], &[r"train/x\7.jpg"], ISIC).unwrap();
    }
}

#[test]
fn files_and_folders_of_a_description_are_found_however_accents_are_written() {
    let root = folder(&[&format!("{APART}/1.jpg")]);
    write(&root.path().join(format!("{APART}.csv")), b"image_name,benign_malignant,file\n1,benign,1\n");
    let toml = ISIC.replace("train.csv", &format!("{COMPOSED}.csv")).replace("\"train\"", &format!("\"{COMPOSED}\""));
    write(&root.path().join("set.toml"), toml.as_bytes());
    assert_eq!(described::load(root.path().join("set.toml")).unwrap().len(), 1);
}

const HAM: &str = "lesion_id,image_id,dx,dx_type,age,sex,localization
HAM_1,ISIC_1,bkl,histo,80,male,scalp
HAM_2,ISIC_2,nv,histo,80,male,scalp
";

#[test]
fn twin_folders_of_identical_files_are_one() {
    let root = folder(&["HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_2/ISIC_2.jpg"]);
    let copy = |from: &str, to: &str| {
        write(&root.path().join(to), &std::fs::read(root.path().join(from)).unwrap());
    };
    write(&root.path().join("HAM10000_metadata.csv"), HAM.as_bytes());
    let alone = ham10000::load(root.path()).unwrap();
    copy("HAM10000_images_part_1/ISIC_1.jpg", "ham10000_images_part_1/ISIC_1.jpg");
    copy("HAM10000_images_part_2/ISIC_2.jpg", "ham10000_images_part_2/ISIC_2.jpg");
    copy("HAM10000_images_part_2/ISIC_2.jpg", "all/ISIC_2.JPG");
    let mut set = ham10000::load(root.path()).unwrap();
    let note = set.notes.remove(0);
    assert!(
        note.starts_with("2 images lie in several folders as identical files and are taken once, such as "),
        "{note}"
    );
    assert!(note.contains("ham10000_images_part_1/ISIC_1.jpg"), "{note}");
    assert!(set.notes.is_empty());
    let ids = |set: &CaseSet| set.cases.iter().map(|case| case.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&set), ids(&alone));

    // One that differs makes them two, and the folder settles it.
    write(&root.path().join("ham10000_images_part_1/ISIC_1.jpg"), &plain_jpeg(99));
    let text = ham10000::load(root.path()).unwrap_err().to_string();
    assert!(text.contains("expected one image of that name, not ") && text.contains("--images"), "{text}");
    let images =
        |folder: &str| LoadOptions { images: ImageSource::Folder(root.path().join(folder)), ..LoadOptions::default() };
    copy("HAM10000_images_part_2/ISIC_2.jpg", "HAM10000_images_part_1/ISIC_2.jpg");
    ham10000::load_with(root.path(), &images("HAM10000_images_part_1")).unwrap();
}

#[test]
fn what_lies_directly_in_the_folder_that_is_named_goes_first() {
    let root =
        folder(&["images/ISIC_1.jpg", "images/ISIC_2.jpg", "images/small/ISIC_1.jpg", "images/small/ISIC_2.jpg"]);
    write(&root.path().join("HAM10000_metadata.csv"), HAM.as_bytes());
    assert!(ham10000::load(root.path()).is_err());
    let options = LoadOptions { images: ImageSource::Folder(root.path().join("images")), ..LoadOptions::default() };
    let set = ham10000::load_with(root.path(), &options).unwrap();
    assert_eq!(set.cases[0].dermoscopic, [root.path().join("images/ISIC_1.jpg").into()]);
    assert!(
        set.notes[0].starts_with("2 images lie in the folder and, with other content, below it;"),
        "{:?}",
        set.notes
    );

    let twice = ["train/1.jpg", "train/resized/1.jpg"];
    let set = named(&["1.jpg"], &twice, ISIC).unwrap();
    assert!(set.cases[0].dermoscopic[0].path.ends_with("train/1.jpg"));
    let searched = ISIC.replace("folders = [\"train\"]\n", "");
    let text = named(&["1.jpg"], &twice, &searched).unwrap_err();
    assert!(text.contains("name the folder of the images in `folders` of `[images]`"), "{text}");
}

#[test]
fn milk10k_says_which_of_two_complete_folders_it_takes() {
    let root = tempfile::tempdir().unwrap();
    let monet = [
        "MONET_ulceration_crust",
        "MONET_hair",
        "MONET_vasculature_vessels",
        "MONET_erythema",
        "MONET_pigmented",
        "MONET_gel_water_drop_fluid_dermoscopy_liquid",
        "MONET_skin_markings_pen_ink_purple_pen",
    ];
    let table = format!(
        "lesion_id,image_type,isic_id,age_approx,sex,skin_tone_class,site,{}\nL1,dermoscopic,I1,45.0,male,3.0,trunk{}\n",
        monet.join(","),
        ",0".repeat(7)
    );
    write(&root.path().join("Metadata.csv"), table.as_bytes());
    write(&root.path().join("images/I1.jpg"), &plain_jpeg(1));
    write(&root.path().join("images_224/I1.jpg"), &plain_jpeg(2));
    let set = milk10k::load(root.path()).unwrap();
    assert!(set.notes[0].ends_with("images_224 has as many"), "{:?}", set.notes);
    assert!(set.cases[0].dermoscopic[0].path.ends_with("images/I1.jpg"));
}

#[test]
fn the_files_of_archive_programs_are_no_images_or_tables() {
    let root = folder(&["PH2 Dataset images/IMD003.bmp", "__MACOSX/IMD003.bmp", "x/._IMD003.bmp"]);
    write(&root.path().join("PH2_dataset.txt"), b"|| IMD003 || || 0 ||\n");
    assert_eq!(ph2::load(root.path()).unwrap().len(), 1);
}
