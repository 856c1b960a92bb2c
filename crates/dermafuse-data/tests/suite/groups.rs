use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dermafuse_data::{
    CaseSet, ClassMap, FoldConfig, FoldProtocol, Folds, LabelPair, SharedImages, Split, class_folders, described,
};
use dermafuse_schema::Case;
use proptest::prelude::*;

use crate::fixture::{case_set, plain_jpeg, write};

/// What a row says: patient, lesion, class, and what its two images hold.
type Row = (Option<u8>, Option<u8>, Option<usize>, [Option<u8>; 2]);

/// The set of the rows. Patients and lesions are called by their numbers alone, so that a patient can have a lesion's name.
fn set_of(rows: &[Row], folder: &Path) -> CaseSet {
    let mut set = case_set(&[]);
    for (row, (patient, lesion, label, images)) in rows.iter().enumerate() {
        let file = |at: usize| -> Option<PathBuf> {
            let path = folder.join(format!("{row}-{at}.jpg"));
            // All of one size, so that content alone tells them apart.
            write(&path, &[images[at]?; 40]);
            Some(path)
        };
        let file = |at: usize| file(at).into_iter().map(Into::into).collect();
        set.cases.push(Case {
            patient: patient.map(|patient| patient.to_string().into()),
            lesion: lesion.map(|lesion| lesion.to_string().into()),
            clinical: file(0),
            dermoscopic: file(1),
            labels: vec![*label],
            ..Case::new(format!("case {row}"))
        });
    }
    set
}

/// Whether two rows share something by themselves.
fn share(one: &Row, other: &Row) -> bool {
    let same = |one: Option<u8>, other: Option<u8>| one.is_some() && one == other;
    let images = one.3.iter().any(|image| other.3.iter().any(|other| same(*image, *other)));
    same(one.0, other.0) || same(one.1, other.1) || images
}

/// The groups by definition: what one can walk to from row to row.
fn reference(rows: &[Row]) -> BTreeSet<BTreeSet<usize>> {
    let walk = |start: usize| {
        let mut reached = BTreeSet::from([start]);
        loop {
            let step =
                |row: &usize| (0..rows.len()).filter(|&other| share(&rows[*row], &rows[other])).collect::<Vec<_>>();
            let next: BTreeSet<usize> = reached.iter().flat_map(step).chain([start]).collect();
            if next.len() == reached.len() {
                return reached;
            }
            reached.extend(next);
        }
    };
    (0..rows.len()).map(walk).collect()
}

fn groups_of(set: &CaseSet) -> BTreeMap<&str, BTreeSet<usize>> {
    let mut groups: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (row, case) in set.cases.iter().enumerate() {
        groups.entry(case.group.as_str()).or_default().insert(row);
    }
    groups
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let gap = |most: u8| prop::option::weighted(0.6, 0..most);
    let row = (gap(30), gap(40), prop::option::of(0_usize..2), [prop::option::weighted(0.3, 0_u8..40), gap(90)]);
    prop::collection::vec(row, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_shared_is_parted(rows in rows(), seed in any::<u64>(), turn in 0_usize..60) {
        let folder = tempfile::tempdir().unwrap();
        let mut set = set_of(&rows, folder.path());
        set.join_groups(SharedImages::Join);
        let found: BTreeSet<BTreeSet<usize>> = groups_of(&set).into_values().collect();
        prop_assert_eq!(&found, &reference(&rows));

        let parted = |parts: &[&[usize]]| {
            let pairs = parts.iter().enumerate().flat_map(|(at, one)| parts[at + 1..].iter().map(move |other| (one, other)));
            pairs.into_iter().any(|(one, other)| {
                one.iter().any(|&one| other.iter().any(|&other| share(&rows[one], &rows[other])))
            })
        };
        if let Ok(split) = Split::stratified(&set, 0, [0.6, 0.2, 0.2], seed) {
            prop_assert!(!parted(&[&split.train, &split.valid, &split.test]));
        }
        if let Ok(folds) = Folds::new(&set, &FoldConfig { hold_out: Some(0.2), ..FoldConfig::new(3, seed) }) {
            prop_assert!(!parted(&[folds.rows(0), folds.rows(1), folds.rows(2), folds.held_out()]));
            for split in folds.splits(FoldProtocol::HeldOutTests).unwrap() {
                prop_assert!(!parted(&[&split.train, &split.valid, &split.test]));
            }
        }

        // Names neither depend on the order of the rows nor on how often groups are joined.
        let mut turned = CaseSet { notes: vec![], ..set_of(&rows, folder.path()) };
        turned.cases.rotate_left(turn % rows.len());
        turned.join_groups(SharedImages::Join);
        let names = |set: &CaseSet| -> BTreeMap<String, String> {
            set.cases.iter().map(|case| (case.id.to_string(), case.group.to_string())).collect()
        };
        prop_assert_eq!(names(&turned), names(&set));
        turned.join_groups(SharedImages::Join);
        prop_assert_eq!(names(&turned), names(&set));
    }

    #[test]
    fn a_column_without_gaps_names_its_groups(rows in prop::collection::vec((0_u8..30, prop::option::of(0_u8..2)), 1..60)) {
        // A lesion belongs to one patient, as it should.
        let rows: Vec<Row> = rows.iter().map(|(p, l)| (Some(*p), l.map(|l| 2 * p + l), None, [None; 2])).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut set = set_of(&rows, folder.path());
        set.join_groups(SharedImages::Join);
        prop_assert!(set.cases.iter().all(|case| Some(&case.group) == case.patient.as_ref()));
        prop_assert!(set.notes.is_empty());
    }
}

#[test]
fn names_that_meet_by_chance_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let row = |patient, lesion| (patient, lesion, None, [None; 2]);
    let mut set = set_of(&[row(Some(7), None), row(None, Some(7)), row(None, Some(8)), row(None, None)], folder.path());
    set.cases[3] = Case { labels: vec![None], ..Case::new("8") };
    set.check().unwrap();
    set.join_groups(SharedImages::Join);
    assert_eq!(groups_of(&set).into_keys().collect::<Vec<_>>(), ["7", "8", "case:8", "lesion:7"]);

    // Groups that are neither patients nor lesions join too, and are called by their names.
    set.cases[0].group = "family 1".into();
    set.cases[1].group = "family 1".into();
    set.join_groups(SharedImages::Join);
    assert_eq!(groups_of(&set).into_keys().collect::<Vec<_>>(), ["8", "case:8", "family 1"]);
}

/// A table of two photos of each of thirty lesions, two lesions a patient; every second photo does not name its patient.
#[test]
fn a_lesion_stays_whole_where_its_patient_is_not_always_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "id,photo,dx,patient,lesion\n".to_owned();
    for row in 0..60 {
        let patient = if row % 2 == 0 { format!("p{}", row / 4) } else { String::new() };
        let class = ["NEV", "MEL", "OTH"][row / 2 % 3];
        table += &format!("c{row},{row}.jpg,{class},{patient},L{}\n", row / 2);
        write(&folder.path().join(format!("photos/{row}.jpg")), &plain_jpeg(4 * row as u8));
    }
    write(&folder.path().join("cases.csv"), table.as_bytes());
    let toml = "name = 'clinic'\n[cases]\nfile = 'cases.csv'\nid = 'id'\npatient = 'patient'\nlesion = 'lesion'\n\
                [images]\nfolders = ['photos']\nclinical = 'photo'\n\
                [[tasks]]\nname = 'diagnosis'\nlabel = 'DIAG'\ncolumn = 'dx'\nclasses = ['NEV', 'MEL', 'OTH']\n";
    write(&folder.path().join("set.toml"), toml.as_bytes());
    let set = described::load(folder.path().join("set.toml")).unwrap();
    let groups = groups_of(&set);
    assert_eq!((groups.len(), groups["p3"].clone()), (15, BTreeSet::from([12, 13, 14, 15])));
    for seed in 0..20 {
        let split = Split::stratified(&set, 0, [0.6, 0.2, 0.2], seed).unwrap();
        let lesions = |rows: &[usize]| rows.iter().map(|row| row / 2).collect::<BTreeSet<usize>>();
        let (train, valid, test) = (lesions(&split.train), lesions(&split.valid), lesions(&split.test));
        assert_eq!(train.len() + valid.len() + test.len(), 30);
    }
}

#[test]
fn one_image_under_two_labels_is_named() {
    let root = tempfile::tempdir().unwrap();
    for (name, level) in [("mel/a.jpg", 10), ("mel/b.jpg", 90), ("nev/c.jpg", 10), ("nev/d.jpg", 60)] {
        write(&root.path().join("photos").join(name), &plain_jpeg(level));
    }
    let set = class_folders::load(root.path().join("photos")).unwrap();
    let conflicts = set.label_conflicts();
    assert_eq!(conflicts.len(), 1);
    let pair = LabelPair { task: "diagnosis".into(), first: "mel".into(), second: "nev".into() };
    assert_eq!(conflicts[0].labels, [pair]);
    assert_eq!(conflicts[0].files, ["a.jpg", "c.jpg"]);
    assert_eq!(
        set.notes,
        [
            "a.jpg and c.jpg are the same image; their cases form one group",
            "cases `mel/a.jpg` and `nev/c.jpg` have one image (a.jpg, c.jpg) under two labels: diagnosis `mel` and `nev`; \
             correct or drop one, unless the image shows both"
        ]
    );

    // Across sets that are merged, too.
    write(&root.path().join("more/mole/x.jpg"), &plain_jpeg(90));
    write(&root.path().join("more/other/y.jpg"), &plain_jpeg(120));
    let more = class_folders::load(root.path().join("more")).unwrap();
    let map = "name = 'both'\n[[classes]]\nname = 'nevus'\nfrom = { one = ['nev'], two = ['mole'] }\n\
               [[classes]]\nname = 'melanoma'\nfrom = { one = ['mel'] }\n[drop]\ntwo = ['other']\n";
    let merged = ClassMap::parse("map.toml", map).unwrap().merge(&[("one", &set), ("two", &more)]).unwrap();
    let pairs: Vec<(String, String)> =
        merged.label_conflicts().iter().map(|c| (c.first.to_string(), c.second.to_string())).collect();
    assert_eq!(
        pairs,
        [("one:mel/a.jpg".into(), "one:nev/c.jpg".into()), ("one:mel/b.jpg".into(), "two:mole/x.jpg".into())]
    );
    assert!(
        merged
            .notes
            .iter()
            .any(|note| note.contains("(b.jpg, x.jpg) under two labels: diagnosis `melanoma` and `nevus`"))
    );
}

#[test]
fn notes_are_few_and_files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (0..50).map(|row| (None, None, Some(row % 2), [Some(1), None])).collect();
    let mut set = set_of(&rows, folder.path());
    write(&folder.path().join("empty.jpg"), b"");
    for (row, name) in [(48, "empty.jpg"), (49, "missing.jpg")] {
        set.cases[row].clinical = vec![folder.path().join(name).into()];
    }
    set.join_groups(SharedImages::Join);
    assert_eq!(groups_of(&set).len(), 3);
    assert_eq!(set.notes.len(), 20 + 1 + 20 + 1 + 1);
    assert_eq!(set.notes[20], "and 27 more pairs of identical images");
    assert_eq!(set.notes[41], "and 4 more images under two labels");
    let note = &set.notes[42];
    assert!(
        note.starts_with("not compared with other images: ") && note.contains("empty.jpg and 1 more (empty"),
        "{note}"
    );
}

#[test]
fn a_set_whose_groups_were_not_joined_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let row = |patient, lesion| (patient, lesion, Some(0), [None; 2]);
    let mut set = set_of(&[row(Some(1), Some(5)), row(None, Some(5))], folder.path());
    assert_eq!(
        set.check().unwrap_err().to_string(),
        "case `case 1`: group: expected `case 0` as of case `case 0`, which has the same lesion; cases that share \
         one belong to one group, found `case 1`"
    );
    set.join_groups(SharedImages::Ignore);
    set.check().unwrap();
}
