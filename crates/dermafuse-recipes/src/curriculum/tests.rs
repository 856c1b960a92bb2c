use std::sync::OnceLock;

use dermafuse_data::{RgbPixels, encode_png};
use dermafuse_train::Silent;

use super::*;
use crate::Workplace;
use dermafuse_schema::{Case, Task, TaskSet};

fn parse(text: &str) -> Result<Curriculum, String> {
    Curriculum::parse("c.toml", text).map_err(|error| error.to_string())
}

const TWO: &str = r#"name = "two"
[data]
a = "class-folders"
b = "class-folders"
[training]
epochs = 1
[[stages]]
name = "first"
data = "a"
weights = "random"
[[stages]]
name = "second"
data = "b"
weights = "first"
"#;

/// A picture that every case has.
fn picture() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let pixels = RgbPixels::new(4, 4, vec![90; 48]).unwrap();
        std::fs::write(folder.path().join("picture.png"), encode_png(&pixels)).unwrap();
        folder
    });
    folder.path().join("picture.png")
}

/// Sixty clinical photos of three classes.
fn set(name: &str, classes: [&str; 3]) -> CaseSet {
    let case = |n: usize| Case { labels: vec![Some(n % 3)], clinical: vec![picture()], ..Case::new(n.to_string()) };
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes)]).unwrap();
    let cases = (0..60).map(case).collect();
    CaseSet { name: name.into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] }
}

fn sets() -> Vec<(String, CaseSet)> {
    vec![("a".into(), set("a", ["x", "y", "z"])), ("b".into(), set("b", ["u", "v", "w"]))]
}

#[test]
fn what_ships_is_read_and_has_the_published_settings() {
    for name in Curriculum::shipped_names() {
        let curriculum = Curriculum::shipped(name).unwrap();
        assert_eq!(curriculum.name(), name);
        assert!(curriculum.data().iter().all(|set| ["dermai", "dermofit", "edra", "milk10k"].contains(set)));
    }
    assert!(Curriculum::shipped("nothing").is_none());
    let c = Curriculum::shipped("edra-dermofit-dermai").unwrap();
    assert_eq!((c.backbone(), c.network().image_size), (BackboneKind::EfficientNetB3, 300));
    assert!(c.needs_published_weights() && !Curriculum::shipped("scratch").unwrap().needs_published_weights());
    assert_eq!(Curriculum::shipped("merged").unwrap().data(), ["dermai", "dermofit", "edra"]);
}

#[test]
fn a_plan_has_one_recipe_a_stage_and_the_target_the_same_split_and_seed_whatever_comes_before() {
    let plan = parse(TWO).unwrap().plan(&sets(), None, 5).unwrap();
    assert_eq!(plan.stages[1].start, StartWeights::Stage(0));
    assert_eq!(plan.stages[0].recipe.network.training.seed, 6);
    let alone = TWO
        .replace("a = \"class-folders\"\n", "")
        .replace("[[stages]]\nname = \"first\"\ndata = \"a\"\nweights = \"random\"\n", "");
    let alone = parse(&alone.replace("weights = \"first\"", "weights = \"random\"")).unwrap();
    let alone = alone.plan(&sets(), None, 5).unwrap();
    assert_eq!(alone.stages[0].split, plan.stages[1].split);
    assert_eq!(alone.stages[0].recipe.network.training, plan.stages[1].recipe.network.training);
    plan.check(Workplace::on(&burn::tensor::Device::flex()), &mut Silent).unwrap();
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let error = |from: &str, to: &str| parse(&TWO.replacen(from, to, 1)).unwrap_err();
    assert_eq!(
        error("weights = \"first\"", "weights = \"third\""),
        "c.toml: line 14, column 11: weights `third`: expected one of random, published, first"
    );
    assert_eq!(
        error("name = \"second\"", "name = \"first\""),
        "c.toml: line 12, column 8: name of a stage `first`: expected letters, digits, - and _, unlike the other stages (it \
         names a folder)"
    );
    assert!(error("name = \"second\"", "name = \"../x\"").contains("line 12, column 8"));
    assert_eq!(
        error("data = \"b\"", "data = \"c\""),
        "c.toml: line 13, column 8: data set `c`: expected one of [data] or [merged]: a, b"
    );
    assert!(
        error("data = \"b\"", "data = \"a\"")
            .starts_with("c.toml: line 4, column 1: data set `b`: expected to be used")
    );
    assert!(error("a = \"class-folders\"", "a = \"folders\"").starts_with("c.toml: line 3, column 5: unknown variant"));
    assert!(error("epochs = 1", "epoch = 1").contains("line 6, column 1: unknown field `epoch`"));
    assert!(parse("name = \"none\"\nstages = []\n[data]\n").unwrap_err().contains("at least one [[stages]]"));

    let plan =
        |text: &str, sets: &[(String, CaseSet)]| parse(text).unwrap().plan(sets, None, 0).unwrap_err().to_string();
    let published = TWO.replace("weights = \"random\"", "weights = \"published\"");
    assert_eq!(
        plan(&published, &sets()),
        "c.toml: line 10, column 11: weights `published`: expected a file of weights, which was not given"
    );
    assert!(plan(TWO, &sets()[1..]).contains("line 9, column 8: data set `a`"));
    assert!(
        plan(&TWO.replace("epochs = 1", ""), &sets()).contains("line 8, column 8: stage `first`: expected `epochs`")
    );
    let mut rare = sets();
    rare[1].1.cases.iter_mut().for_each(|case| case.labels[0] = case.labels[0].map(|label| label.min(1)));
    let text = plan(TWO, &rare);
    assert!(text.contains("no case of class `w`") && text.contains("c.toml, line 13"), "{text}");
    let dermoscopic = TWO.replace("weights = \"first\"", "weights = \"first\"\nview = \"dermoscopic\"");
    let text = plan(&dermoscopic, &sets());
    assert!(text.contains("dermoscopic image") && text.contains("c.toml, line 13"), "{text}");

    let plan = parse(TWO).unwrap().with_settings(&StageSettings { batch_size: Some(1), ..Default::default() });
    let settings = StageSettings { sampling: Some(dermafuse_data::Sampling::EachOnce), ..Default::default() };
    let plan = plan.with_settings(&settings).plan(&sets(), None, 0).unwrap();
    let text = plan.check(Workplace::on(&burn::tensor::Device::flex()), &mut Silent).unwrap_err().to_string();
    assert!(text.starts_with("stage `first`: batch_size must be at least 2"), "{text}");
}

const MERGED: &str = r#"name = "merged"
[data]
a = "class-folders"
b = "class-folders"
[merged.both]
class_map = "map.toml"
target = "b"
[training]
epochs = 1
[[stages]]
name = "both"
data = "both"
weights = "random"
"#;

fn merged(map: &str) -> Result<Plan, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, MERGED).unwrap();
    std::fs::write(folder.path().join("map.toml"), map).unwrap();
    let mut sets = sets();
    for (name, set) in &mut sets {
        for case in &mut set.cases {
            let path = folder.path().join(format!("{name}-{}.jpg", case.id));
            std::fs::write(&path, format!("{name} {}", case.id)).unwrap();
            case.clinical = vec![path];
        }
    }
    let plan = Curriculum::read(&file).and_then(|curriculum| curriculum.plan(&sets, None, 0));
    plan.map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "FOLDER"))
}

#[test]
fn in_a_merged_set_only_the_targets_cases_validate_and_test() {
    let map = "name = \"m\"\n[[classes]]\nname = \"p\"\nfrom = { a = [\"x\"], b = [\"u\"] }\n[[classes]]\nname = \"q\"\n\
               from = { b = [\"v\", \"w\"] }\n[drop]\na = [\"y\", \"z\"]\n";
    let plan = merged(map).unwrap();
    let stage = &plan.stages[0];
    let of = |rows: &[usize], name: &str| {
        rows.iter().filter(|&&row| stage.set.cases[row].id.to_string().starts_with(name)).count()
    };
    assert_eq!((of(&stage.split.train, "a:"), of(&stage.split.valid, "a:"), of(&stage.split.test, "a:")), (20, 0, 0));
    let target = parse(
        &MERGED
            .replace("data = \"both\"", "data = \"b\"")
            .replace("[merged.both]\nclass_map = \"map.toml\"\ntarget = \"b\"\n", "")
            .replace("a = \"class-folders\"\n", ""),
    );
    let alone = target.unwrap().plan(&sets(), None, 0).unwrap();
    let ids = |stage: &PlannedStage| -> Vec<String> {
        stage.split.test.iter().map(|&row| stage.set.cases[row].id.to_string().replace("b:", "")).collect()
    };
    assert_eq!(ids(stage), ids(&alone.stages[0]));
}

#[test]
fn a_wrong_class_map_is_refused_with_its_place() {
    let map = |classes: &str| format!("name = \"m\"\n{classes}");
    let p = "[[classes]]\nname = \"p\"\nfrom = { a = [\"x\"] }\n";
    let unknown = merged(&map(&format!("{p}[[classes]]\nname = \"q\"\nfrom = {{ b = [\"nothing\"] }}\n"))).unwrap_err();
    assert!(unknown.contains("map.toml: line 7, column 15: label `nothing`: expected a class of `b`"), "{unknown}");
    let twice = merged(&map(&format!("{p}[[classes]]\nname = \"p\"\nfrom = {{ b = [\"u\"] }}\n"))).unwrap_err();
    assert!(twice.contains("map.toml: line 6, column 8: class `p`"), "{twice}");
    assert!(twice.contains("c.toml, line 6"), "{twice}");
    let empty =
        merged(&map(&format!("{p}[[classes]]\nname = \"q\"\nfrom = {{ b = [] }}\n[drop]\nb = [\"u\"]\n"))).unwrap_err();
    assert!(empty.contains("map.toml: line 6, column 8: class `q`: expected at least one case"), "{empty}");
    let foreign = merged(&map(&format!("{p}[[classes]]\nname = \"q\"\nfrom = {{ c = [\"u\"] }}\n"))).unwrap_err();
    assert!(foreign.starts_with("FOLDER/c.toml: line 6, column 13: class map `m`"), "{foreign}");
}
