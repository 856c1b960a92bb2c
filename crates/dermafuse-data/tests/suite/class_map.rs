use std::path::Path;

use dermafuse_data::{CaseSet, ClassMap, SOURCE_FIELD, Split, derm7pt, dermofit};
use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};

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
    set.view(&rows).unwrap().class_counts(0).unwrap()
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

    a.split = Some(Split::without_validation(vec![0, 3, 9, 1, 4], vec![2, 5], 10).unwrap());
    let split = map.merge(&[("a", &a), ("b", &b)]).unwrap().split.unwrap();
    assert_eq!((split.train, split.valid, split.test), (vec![0, 1, 3, 4, 6], vec![], vec![2, 5]));
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
