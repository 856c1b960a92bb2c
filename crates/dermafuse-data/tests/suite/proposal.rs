use std::fmt::Write;
use std::path::{Path, PathBuf};

use dermafuse_data::{ColumnRole, DataError, Modality, ProposalOptions, ProposedSet, described};
use dermafuse_schema::{FieldKind, FieldRole};

use crate::fixture::{plain_jpeg, write};

/// Photos of a clinic, with names of columns as people make them: 60 photos of 40 lesions of 30 patients.
fn clinic(folder: &Path) -> PathBuf {
    let mut table = String::from("Foto;PatNr;lesionId;Diagnose;Alter;sex;itch;site;biopsied;camera;remark;histo\n");
    for photo in 0..60 {
        let (lesion, patient) = (photo % 40, photo % 30);
        let class = ["Nevus", "melanoma", "BCC"][lesion % 3];
        // Spelt otherwise once.
        let class = if photo == 3 { "nevus" } else { class };
        let age = if photo == 7 { "unknown".to_owned() } else { (20 + photo % 50).to_string() };
        let sex = if photo == 59 { "NA" } else { ["f", "m"][photo % 3 % 2] };
        let itch = ["no", "yes"][photo / 2 % 2];
        let site = ["back", "arm", "face", "leg"][photo / 3 % 4];
        let biopsied = if lesion % 3 == 0 { ["no", "yes"][photo % 2] } else { "yes" };
        writeln!(
            table,
            "p{photo}.jpg;P{patient};{lesion};{class};{age};{sex};{itch};{site};{biopsied};phone;seen by dr {photo};{class}"
        )
        .unwrap();
        write(&folder.join(format!("photos/p{photo}.jpg")), &plain_jpeg(photo as u8));
    }
    let file = folder.join("table.csv");
    write(&file, table.as_bytes());
    file
}

fn roles_of(proposed: &ProposedSet, name: &str) -> Vec<ColumnRole> {
    proposed.columns.iter().filter(|column| column.name == name).map(|column| column.role).collect()
}

fn reason_of<'a>(proposed: &'a ProposedSet, name: &str) -> &'a str {
    &proposed.columns.iter().find(|column| column.name == name).unwrap().reason
}

fn photos(folder: &Path) -> ProposalOptions {
    ProposalOptions { images: vec![folder.join("photos")], ..ProposalOptions::default() }
}

#[test]
fn a_table_with_names_of_its_own_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let table = clinic(folder.path());
    let proposed = ProposedSet::of(&table, &folder.path().join("mine"), &photos(folder.path())).unwrap();
    for (name, roles) in [
        ("Foto", &[ColumnRole::Id, ColumnRole::Clinical][..]),
        ("PatNr", &[ColumnRole::Patient]),
        ("lesionId", &[ColumnRole::Lesion]),
        ("Diagnose", &[ColumnRole::Task]),
        ("Alter", &[ColumnRole::Number]),
        ("sex", &[ColumnRole::Category]),
        ("itch", &[ColumnRole::YesNo]),
        ("site", &[ColumnRole::Category]),
        ("biopsied", &[ColumnRole::LeftOut]),
        ("camera", &[ColumnRole::LeftOut]),
        ("remark", &[ColumnRole::LeftOut]),
        ("histo", &[ColumnRole::LeftOut]),
    ] {
        assert_eq!(roles_of(&proposed, name), roles, "{name}: {}", proposed.toml);
    }
    assert_eq!(
        reason_of(&proposed, "lesionId"),
        "its values repeat and its name says so (40 values in 60 cases); one value has several patients, so it counts together with `PatNr`"
    );
    assert_eq!(reason_of(&proposed, "biopsied"), "LEAK: what was done follows from the diagnosis");
    // A telephone takes clinical photos.
    assert_eq!(reason_of(&proposed, "camera"), "it says what all images are");
    assert_eq!(proposed.missing, ["NA", "unknown"]);
    for line in [
        "file = \"../table.csv\"",
        "folders = [\"../photos\"]",
        "classes = [\"BCC\", \"Nevus\", \"melanoma\"]",
        "map = { \"nevus\" = \"Nevus\" }",
        "lesion = [\"PatNr\", \"lesionId\"]",
        "# `PatNr`: patient, because its values repeat and its name says so (30 values in 60 cases)",
    ] {
        assert!(proposed.toml.lines().any(|found| found == line), "{line}\n{}", proposed.toml);
    }

    // It loads before it is written and after.
    let set = proposed.load().unwrap();
    assert_eq!((set.len(), set.fields.len(), set.tasks[0].name.as_str()), (60, 4, "diagnosis"));
    assert!(set.fields.iter().all(|field| field.role == FieldRole::PreDiagnosis));
    assert!(set.cases.iter().all(|case| case.labels[0].is_some() && case.patient.is_some()));
    write(&folder.path().join("mine/set.toml"), proposed.toml.as_bytes());
    let whole = |mut set: dermafuse_data::CaseSet| {
        for image in set.cases.iter_mut().flat_map(|case| &mut case.clinical) {
            *image = image.path.canonicalize().unwrap().into();
        }
        set
    };
    assert_eq!(whole(described::load(folder.path().join("mine/set.toml")).unwrap()), whole(set));
}

#[test]
fn roles_that_are_said_go_before_guesses() {
    let folder = tempfile::tempdir().unwrap();
    let table = clinic(folder.path());
    let mut options = ProposalOptions { modality: Some(Modality::Dermoscopic), ..photos(folder.path()) };
    let said = [
        ("site", ColumnRole::Task),
        ("Alter", ColumnRole::Category),
        ("biopsied", ColumnRole::YesNo),
        ("sex", ColumnRole::LeftOut),
    ];
    options.roles = said.map(|(name, role)| (name.to_owned(), role)).into();
    let proposed = ProposedSet::of(&table, folder.path(), &options).unwrap();
    for (name, role) in said {
        assert_eq!(roles_of(&proposed, name), [role], "{name}");
    }
    assert_eq!(roles_of(&proposed, "Foto"), [ColumnRole::Id, ColumnRole::Dermoscopic]);
    let set = proposed.load().unwrap();
    assert_eq!(
        (set.tasks[0].name.as_str(), &set.tasks[0].classes[..]),
        ("site", &["arm", "back", "face", "leg"].map(String::from)[..])
    );
    let age = set.fields.iter().find(|field| field.name == "Alter").unwrap();
    assert!(matches!(&age.kind, FieldKind::Categorical { categories } if categories.len() == 50));

    options.roles.insert("moon".into(), ColumnRole::Id);
    let error = ProposedSet::of(&table, folder.path(), &options).unwrap_err().to_string();
    assert!(error.contains("column `moon` is missing") && error.contains("Foto"), "{error}");
    assert!("name".parse::<ColumnRole>().unwrap_err().to_string().contains("say one of id, patient, lesion"));
}

/// Lesions with a row for each of their two images, and the truth in a table of its own.
fn pairs(folder: &Path) -> (PathBuf, PathBuf) {
    let (mut rows, mut truth) =
        (String::from("lesion,kind,file,sex,monet_hair,source\n"), String::from("lesion,MEL,NV,UNK\n"));
    for lesion in 0..24 {
        for (at, kind) in ["clinical: close-up", "dermoscopic"].into_iter().enumerate() {
            if (lesion, at) == (5, 0) {
                continue;
            }
            let sex = ["male", "female"][lesion / 2 % 2];
            writeln!(rows, "L{lesion},{kind},i{lesion}_{at},{sex},0.{lesion}{at},here").unwrap();
            write(&folder.join(format!("images/i{lesion}_{at}.jpg")), &plain_jpeg((3 * lesion + at) as u8));
        }
        writeln!(truth, "L{lesion},{}.0,{}.0,0.0", lesion % 2, 1 - lesion % 2).unwrap();
    }
    write(&folder.join("rows.csv"), rows.as_bytes());
    write(&folder.join("GroundTruth.csv"), truth.as_bytes());
    (folder.join("rows.csv"), folder.join("GroundTruth.csv"))
}

#[test]
fn rows_of_images_are_cases_and_the_truth_may_lie_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, truth) = pairs(folder.path());
    let options = ProposalOptions { tables: vec![truth], ..ProposalOptions::default() };
    let proposed = ProposedSet::of(&rows, folder.path(), &options).unwrap();
    assert_eq!(roles_of(&proposed, "file"), [ColumnRole::Clinical, ColumnRole::Dermoscopic]);
    assert_eq!(roles_of(&proposed, "kind"), [ColumnRole::View]);
    assert_eq!(reason_of(&proposed, "monet_hair"), "rows of one case differ in it");
    assert!(
        proposed.toml.contains("clinical = { column = \"file\", where = { \"kind\" = \"clinical: close-up\" } }"),
        "{}",
        proposed.toml
    );
    assert!(proposed.toml.contains("one_hot = \"groundtruth\"\nclasses = [\"MEL\", \"NV\"]"), "{}", proposed.toml);
    assert!(
        proposed.open.iter().any(|open| open == "classes `UNK`: no case has them, so they are left out"),
        "{:?}",
        proposed.open
    );
    let set = proposed.load().unwrap();
    assert_eq!((set.len(), set.fields.len()), (24, 1));
    assert_eq!(set.cases.iter().filter(|case| !case.clinical.is_empty()).count(), 23);
    assert!(set.cases.iter().enumerate().all(|(at, case)| case.labels[0] == Some(1 - at % 2)));

    let apart = folder.path().join("apart.csv");
    write(&apart, b"mole,x\nA,1\nB,2\n");
    let options = ProposalOptions { tables: vec![apart], ..ProposalOptions::default() };
    let error = ProposedSet::of(&rows, folder.path(), &options).unwrap_err().to_string();
    assert!(error.contains("apart.csv: it cannot be told which rows belong to which case"), "{error}");
}

#[test]
fn columns_of_two_images_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("no,a,b,dx,age\n");
    for case in 0..12 {
        writeln!(
            table,
            "{case},{case}-c,{},{},{}",
            if case == 4 { String::new() } else { format!("{case}-d") },
            ["mel", "nev"][case % 2],
            30.5 + case as f64
        )
        .unwrap();
        write(&folder.path().join(format!("photos/close/{case}-c.jpg")), &plain_jpeg(case as u8));
        write(&folder.path().join(format!("photos/dermoscopy/{case}-d.jpg")), &plain_jpeg(100 + case as u8));
    }
    let file = folder.path().join("t.csv");
    write(&file, table.as_bytes());
    let proposed = ProposedSet::of(&file, folder.path(), &ProposalOptions::default()).unwrap();
    let roles = ["no", "a", "b"].map(|name| roles_of(&proposed, name));
    assert_eq!(roles, [vec![ColumnRole::Id], vec![ColumnRole::Clinical], vec![ColumnRole::Dermoscopic]]);
    assert!(reason_of(&proposed, "b").ends_with("their folder tells what they are"));
    assert!(
        proposed.open.iter().any(|open| open.starts_with("no column tells which cases are of one patient or lesion"))
    );
    let set = proposed.load().unwrap();
    assert_eq!(set.cases.iter().filter(|case| !case.dermoscopic.is_empty()).count(), 11);
}

#[test]
fn what_gives_the_diagnosis_away_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("id,dx,code,checked,age,late,group2\n");
    for case in 0..200 {
        let class = case % 4;
        // All cases of two classes were looked at, and a few of the others.
        let checked = if class < 2 || case % 20 == 3 { "y" } else { "n" };
        let late = if class == 3 { "" } else { ["a", "b", "c"][case / 7 % 3] };
        writeln!(
            table,
            "c{case},{},{},{checked},{},{late},{}",
            ["mel", "bcc", "nev", "sek"][class],
            [7, 3, 9, 1][class],
            case % 61,
            ["u", "v"][case / 3 % 2]
        )
        .unwrap();
    }
    let file = folder.path().join("t.csv");
    write(&file, table.as_bytes());
    let proposed = ProposedSet::of(&file, folder.path(), &ProposalOptions::default()).unwrap();
    assert_eq!(reason_of(&proposed, "code"), "LEAK: it tells the diagnosis in 100 of 100 cases");
    assert_eq!(reason_of(&proposed, "checked"), "LEAK: all cases of `bcc`, `mel` have `y`, and 55 of 100 cases");
    assert_eq!(
        (roles_of(&proposed, "age"), roles_of(&proposed, "group2")),
        (vec![ColumnRole::Number], vec![ColumnRole::Category])
    );
    let hint = "column `late`: not recorded in 100 of 100 cases of `sek` and 0 of `bcc`, so that nothing is recorded hints at the";
    assert!(proposed.open.iter().any(|open| open.starts_with(hint)), "{:?}", proposed.open);
    assert!(!proposed.toml.lines().any(|line| line == "column = \"code\""));
}

#[test]
fn what_cannot_be_told_is_said_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str| {
        let file = folder.path().join("t.csv");
        write(&file, text.as_bytes());
        ProposedSet::of(&file, folder.path(), &ProposalOptions::default()).unwrap_err().to_string()
    };
    let error = refused("mood,dx\n1.5,mel\n1.5,nev\n");
    assert!(error.ends_with("which column names the cases: none has another value in each row and a name such as `id`; add such a column, or name one with --role COLUMN=id"), "{error}");
    let error = refused("id,mood\n1,good\n2,bad\n");
    assert!(error.ends_with("which column says the diagnosis; name it with --role COLUMN=task; a ground truth in a table of its own is given with --table FILE"), "{error}");
    assert!(refused("id,id\n1,2\n").contains("twice"));

    // Images that are not there are counted, and the set is not loaded.
    let file = folder.path().join("photos.csv");
    write(&file, b"img,dx\na.png,mel\nb.png,nev\nc.png,nev\n");
    write(&folder.path().join("b.png"), &plain_jpeg(9));
    let proposed = ProposedSet::of(&file, folder.path(), &ProposalOptions::default()).unwrap();
    assert!(proposed.open[0].starts_with("column `img`: 2 of 3 images are not in"), "{:?}", proposed.open);
    assert!(proposed.open.iter().any(|open| open.contains("say --view dermoscopic if they are not")));
    let error = proposed.load().unwrap_err();
    assert!(
        matches!(&error, DataError::AskedFor { source, .. } if matches!(&**source, DataError::ImageNotFound { missing: 2, .. })),
        "{error:?}"
    );
}

#[test]
fn names_and_values_of_any_kind_make_a_file_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t \"x\".csv");
    let text = "case id,\"diagnosis \"\"x\"\"\",\"a = \\b\",\"two\nlines\",Läsion\n1,\"mel\"\"x\",#,\"u\nv\",ä\n2,nev,',w,a\u{308}\n3,nev,#,w,b\n4,mel,',\"u\nv\",b\n5,mel,#,w,b\n6,nev,#,w,b\n";
    write(&file, text.as_bytes());
    let proposed = ProposedSet::of(&file, folder.path(), &ProposalOptions::default()).unwrap();
    let set = proposed.load().unwrap();
    assert_eq!((set.len(), set.tasks[0].classes.len()), (6, 3));
    let names: Vec<&str> = set.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["a = \\b", "two\nlines", "Läsion"], "{}", proposed.toml);
}

#[test]
fn numbers_have_codes_and_words_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("id,dx,age,size\n");
    for case in 0..40 {
        let age = match case {
            3 | 9 => "999".to_owned(),
            5 => "none".to_owned(),
            _ => (20 + case).to_string(),
        };
        let size = if case == 8 { ">9".to_owned() } else { format!("{}.5", case % 17) };
        writeln!(table, "{case},{},{age},{size}", ["mel", "nev"][case % 2]).unwrap();
    }
    let file = folder.path().join("t.csv");
    write(&file, table.as_bytes());
    let proposed = ProposedSet::of(&file, folder.path(), &ProposalOptions::default()).unwrap();
    assert!(
        proposed.toml.contains("missing = [\"999\", \"none\"]") && proposed.toml.contains("missing = [\">9\"]"),
        "{}",
        proposed.toml
    );
    assert_eq!(proposed.load().unwrap().fields.len(), 2);
}

#[test]
fn a_table_without_labels_is_read_as_its_set() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, truth) = pairs(folder.path());
    let options = ProposalOptions { tables: vec![truth.clone()], ..ProposalOptions::default() };
    let proposed = ProposedSet::of(&rows, folder.path(), &options).unwrap();
    let file = folder.path().join("set.toml");
    write(&file, proposed.toml.as_bytes());
    std::fs::remove_file(truth).unwrap();
    let new = folder.path().join("new.csv");
    write(&new, b"lesion,kind,file,sex\nN1,dermoscopic,i3_1,female\nN1,clinical: close-up,nowhere,female\nN2,dermoscopic,i4_1,robot\n");
    let set = described::load_unlabelled(&file, Some(&new), &Default::default()).unwrap();
    assert_eq!((set.len(), set.cases[0].labels[0], set.tasks.len()), (2, None, 1));
    assert!(set.cases[0].clinical[0].path.ends_with("nowhere"));
    assert_eq!(set.notes, ["1 rows have a sex that the description does not list; it counts as not recorded"]);
    assert!(described::load(&file).unwrap_err().to_string().contains("set.toml"));
    let error =
        described::load_unlabelled(&file, Some(&folder.path().join("none.csv")), &Default::default()).unwrap_err();
    assert!(whole_text(&error).contains("none.csv"), "{error}");
}

fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
