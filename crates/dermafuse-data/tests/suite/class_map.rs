use std::path::Path;

use dermafuse_data::synthetic::{SyntheticConfig, write as write_synthetic};
use dermafuse_data::{
    CaseSet, ClassMap, MetadataEncoder, MetadataRoles, SOURCE_FIELD, Split, class_folders, derm7pt, dermofit,
};
use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};
use image::ExtendedColorType;

use crate::fixture::{png, write};

/// The classes of DermAI, in the order of the paper that merges into them.
const DERMAI: [&str; 13] = [
    "SebKer",
    "ActKer",
    "Nev",
    "MolCont",
    "Haem",
    "UncNeop",
    "Drmfib",
    "SLent",
    "PenFib",
    "VWat",
    "OtMalNeop",
    "BCC",
    "MM",
];

/// A set without images, of classes and how many cases each has.
fn counted(name: &str, classes: &[(&str, usize)]) -> CaseSet {
    let labels = classes.iter().enumerate().flat_map(|(class, (_, count))| std::iter::repeat_n(class, *count));
    let case = |(row, class): (usize, usize)| Case { labels: vec![Some(class)], ..Case::new(row.to_string()) };
    CaseSet {
        name: name.into(),
        synthetic: false,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes.iter().map(|(class, _)| *class))]).unwrap(),
        fields: vec![],
        cases: labels.enumerate().map(case).collect(),
        split: None,
        notes: vec![],
    }
}

fn counts(set: &CaseSet, rows: impl Fn(&Case) -> bool) -> Vec<usize> {
    let rows: Vec<usize> = (0..set.len()).filter(|&row| rows(&set.cases[row])).collect();
    set.class_counts(0, &rows).unwrap()
}

#[test]
fn the_published_merging_has_the_published_counts() {
    let map = ClassMap::dermai_edra_dermofit();
    assert_eq!((map.name(), map.classes()), ("dermai-edra-dermofit", DERMAI.to_vec()));
    assert_eq!(map.sets(), ["dermai", "dermofit", "edra"]);
    let macro_and_anatomic = [1186, 519, 618, 71, 70, 246, 141, 48, 115, 192, 116, 56, 52];
    let dermai = counted("x", &DERMAI.into_iter().zip(macro_and_anatomic).collect::<Vec<_>>());
    let edra = counted("y", &derm7pt::PUBLISHED_DIAGNOSES);
    let library: Vec<_> = dermofit::CLASSES.into_iter().zip(dermofit::PUBLISHED_CLASSES).collect();
    let merged = map.merge(&[("dermai", &dermai), ("edra", &edra), ("dermofit", &counted("z", &library))]).unwrap();

    let of = |set: &'static str| counts(&merged, move |case| case.id.as_str().starts_with(&format!("{set}:")));
    assert_eq!(of("dermai"), macro_and_anatomic);
    assert_eq!(of("edra"), [45, 0, 575, 0, 0, 0, 20, 24, 0, 0, 0, 42, 252]);
    assert_eq!(of("dermofit"), [257, 45, 331, 0, 97, 24, 65, 0, 0, 0, 166, 239, 76]);
    assert_eq!(merged.len(), 3_430 + 1_011 - 16 - 8 - 29 + 1_300);
    assert_eq!(
        merged.notes,
        [
            "edra: 16 cases of `melanosis` are dropped",
            "edra: 8 cases of `miscellaneous` are dropped",
            "edra: 29 cases of `vascular lesion` are dropped"
        ]
    );
}

#[test]
fn the_published_merging_works_on_folders() {
    let root = tempfile::tempdir().unwrap();
    let mut level = 0_u32;
    let mut photo = |path: String| {
        level += 1;
        let colour: [u8; 3] = [level as u8, (level >> 8) as u8, 9];
        write(&root.path().join(path), &png(1, 1, ExtendedColorType::Rgb8, &colour));
    };
    for part in ["train", "val", "test"] {
        for class in DERMAI {
            photo(format!("dermai/{part}/{class}/{class}.png"));
        }
    }
    for class in dermofit::CLASSES {
        photo(format!("dermofit/{class}/{class}1.png"));
        photo(format!("dermofit/{class}/{class}1mask.png"));
    }
    // The same photo as one of the training part, in another set.
    std::fs::copy(root.path().join("dermai/train/Nev/Nev.png"), root.path().join("dermofit/ML/copy.png")).unwrap();
    let config = SyntheticConfig { cases: 200, image_size: (8, 6), ..SyntheticConfig::default() };
    write_synthetic(&root.path().join("release_v0"), &config).unwrap();

    let dermai = class_folders::load(root.path().join("dermai")).unwrap();
    let (edra, library) =
        (derm7pt::load_edra(root.path()).unwrap(), dermofit::load(root.path().join("dermofit")).unwrap());
    let map = ClassMap::dermai_edra_dermofit();
    let merged = map.merge(&[("dermai", &dermai), ("edra", &edra), ("dermofit", &library)]).unwrap();
    assert!(merged.synthetic, "one of the sets is");
    let split = merged.split.clone().unwrap();
    assert_eq!((split.valid.len(), split.test.len()), (13, 13));
    assert!(split.test.iter().all(|&row| merged.cases[row].id.as_str().starts_with("dermai:test/")));
    let elsewhere = |row: &&usize| !merged.cases[**row].id.as_str().starts_with("dermai:");
    assert_eq!(split.train.iter().filter(elsewhere).count(), merged.len() - 39);
    merged.require_all_classes(&split.train).unwrap();

    let row = |id: &str| merged.cases.iter().position(|case| case.id.as_str() == id).unwrap();
    let (one, other) = (row("dermai:train/Nev/Nev.png"), row("dermofit:ML/copy.png"));
    assert_eq!(merged.cases[one].group, merged.cases[other].group, "one photo is one group");
    assert_ne!(merged.cases[row("edra:1")].group, "1");
    assert_eq!(merged.cases[row("edra:1")].metadata.len(), 6);
    assert_eq!(merged.cases[one].metadata[..5], [FieldValue::Missing; 5]);

    // Where a case comes from can be asked, and is never an input.
    let source = merged.fields.last().unwrap();
    assert_eq!((source.name.as_str(), source.role), (SOURCE_FIELD, FieldRole::Provenance));
    let text = |row: usize| source.text(merged.cases[row].metadata.last().unwrap());
    assert_eq!((text(one), text(other)), (Some("dermai".into()), Some("dermofit".into())));
    for roles in [MetadataRoles::PreDiagnosis, MetadataRoles::All] {
        let encoder = MetadataEncoder::fit(&merged.fields, &merged.cases, roles).unwrap();
        assert!(encoder.column_names().iter().all(|name| !name.contains(SOURCE_FIELD)));
        assert!(!encoder.matched(&merged.fields).unwrap().has_metadata(&merged.cases[one]).unwrap());
    }

    // A photo of the test part that another set has, too, is no training case.
    std::fs::copy(root.path().join("dermai/test/Nev/Nev.png"), root.path().join("dermofit/ML/copy.png")).unwrap();
    let library = dermofit::load(root.path().join("dermofit")).unwrap();
    let text = map.merge(&[("dermai", &dermai), ("edra", &edra), ("dermofit", &library)]).unwrap_err().to_string();
    assert!(text.contains("is in the training part of the split and in the test part"), "{text}");
}

const MAP: &str = "name = \"both\"
task = \"lesion\"

[[classes]]
name = \"benign\"
from = { a = [\"nevus\", \"wart\"], b = [\"naevus\"] }

[[classes]]
name = \"malignant\"
from = { a = [\"melanoma\"] }

[drop]
b = [\"scar\"]
";

fn two() -> (CaseSet, CaseSet) {
    let (mut a, mut b) = (
        counted("a", &[("nevus", 2), ("wart", 1), ("melanoma", 3), ("burn", 4)]),
        counted("b", &[("naevus", 2), ("scar", 1)]),
    );
    let age = Field::numeric("age", FieldRole::PreDiagnosis);
    a.fields = vec![age.clone(), Field::categorical("sex", FieldRole::PreDiagnosis, ["f", "m"])];
    b.fields = vec![Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]), age];
    a.cases.iter_mut().for_each(|case| case.metadata = vec![FieldValue::Number(40.0), FieldValue::Category(1)]);
    b.cases.iter_mut().for_each(|case| {
        case.metadata = vec![FieldValue::Category(0), FieldValue::Number(50.0)];
        case.patient = Some("7".into());
        case.group = "7".into();
    });
    b.cases[1].labels = vec![None];
    (a, b)
}

#[test]
fn a_merged_set_says_what_it_left_out_and_keeps_names_apart() {
    let (mut a, b) = two();
    let map = ClassMap::parse("map.toml", MAP).unwrap();
    let merged = map.merge(&[("a", &a), ("b", &b)]).unwrap();
    assert_eq!((merged.name.as_str(), merged.tasks[0].name.as_str()), ("both", "lesion"));
    assert_eq!(counts(&merged, |_| true), [4, 3]);
    assert_eq!(
        merged.notes,
        [
            "field `sex` of b is another one than elsewhere: called `b:sex`",
            "a: 4 cases of `burn` are in no class of the map and left out",
            "b: 1 cases of `scar` are dropped",
            "b: 1 cases without a label are left out"
        ]
    );
    let names: Vec<&str> = merged.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["age", "sex", "b:sex", SOURCE_FIELD]);
    use FieldValue::{Category, Missing, Number};
    assert_eq!(merged.cases[0].metadata, [Number(40.0), Category(1), Missing, Category(0)]);
    assert_eq!(merged.cases[6].metadata, [Number(50.0), Missing, Category(0), Category(1)]);
    let case = &merged.cases[6];
    assert_eq!((case.id.as_str(), case.group.as_str(), case.patient.as_deref()), ("b:0", "b:7", Some("b:7")));
    assert!(merged.split.is_none());

    a.split = Some(Split::new(vec![0, 3, 9], vec![1, 4], vec![2, 5], 10).unwrap());
    let merged = map.merge(&[("a", &a), ("b", &b)]).unwrap();
    let split = merged.split.unwrap();
    assert_eq!((split.train, split.valid, split.test), (vec![0, 3, 6], vec![1, 4], vec![2, 5]));
}

#[test]
fn a_map_that_cannot_be_is_refused_with_its_place() {
    let error = |from: &str, to: &str| {
        assert!(MAP.contains(from), "{from}");
        ClassMap::parse("map.toml", &MAP.replacen(from, to, 1)).unwrap_err().to_string()
    };
    assert_eq!(
        error("\"malignant\"", "\"benign\""),
        "map.toml: line 9, column 8: class `benign`: expected a name that no other class has"
    );
    assert_eq!(
        error("[\"melanoma\"]", "[\"melanoma\", \"wart\"]"),
        "map.toml: line 10, column 27: label `wart`: expected to be named once; `a` has it in two places"
    );
    assert!(
        error("[\"scar\"]", "[\"naevus\"]").starts_with("map.toml: line 13, column 6: label `naevus`: expected to be")
    );
    assert!(error("\"wart\"]", "\"nevus\"]").starts_with("map.toml: line 6, column 24: label `nevus`"));
    assert!(error("task =", "tusk =").starts_with("map.toml: line 2, column 1: unknown field `tusk`"));
    assert!(error("name = \"both\"", "").contains("missing field `name`"));
    assert!(
        error("[[classes]]\nname = \"malignant\"\nfrom = { a = [\"melanoma\"] }", "").contains("two or more distinct")
    );
    assert!(ClassMap::read(Path::new("/nowhere/map.toml")).unwrap_err().to_string().starts_with("/nowhere/map.toml: "));

    let (a, b) = two();
    let merge = |from: &str, to: &str, sets: &[(&str, &CaseSet)]| {
        assert!(MAP.contains(from), "{from}");
        ClassMap::parse("map.toml", &MAP.replacen(from, to, 1)).unwrap().merge(sets).unwrap_err().to_string()
    };
    let both = [("a", &a), ("b", &b)];
    assert_eq!(
        merge("[\"scar\"]", "[\"scars\"]", &both),
        "map.toml: line 13, column 6: label `scars`: expected a class of `b`: naevus, scar"
    );
    assert_eq!(
        merge("b = [\"naevus\"]", "c = [\"naevus\"]", &both),
        "map.toml: line 6, column 33: set `c`: expected one of the sets that are merged: a, b"
    );
    assert!(merge("a", "a", &[("a", &a)]).ends_with("set `b`: expected one of the sets that are merged: a"));
    assert_eq!(
        merge("a", "a", &[("a", &a), ("b", &b), ("c", &b)]),
        "set to be merged: c is not one of the sets of the class map, each once"
    );
    assert!(merge("a", "a", &[("a", &a), ("b", &b), ("a", &b)]).starts_with("set to be merged: a is not"));
    let none = CaseSet { cases: a.cases[..3].to_vec(), ..a.clone() };
    assert_eq!(
        merge("a", "a", &[("a", &none), ("b", &b)]),
        "map.toml: line 9, column 8: class `malignant`: expected at least one case in the sets that are merged"
    );
}
