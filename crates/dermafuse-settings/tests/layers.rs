//! What is read from layers, and what is said of what cannot be.

use std::collections::BTreeMap;

use dermafuse_settings::{Settings, to_toml};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Network {
    Small(Small),
    Large(Large),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Small {
    backbone: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Large {
    backbone: String,
    towers: u8,
    record: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Optimizer {
    #[default]
    Adam,
    Sgd {
        momentum: f64,
        #[serde(default)]
        nesterov: bool,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Training {
    epochs: usize,
    rate: f64,
    patience: Option<u64>,
    optimizer: Optimizer,
    sides: Vec<u32>,
}

impl Default for Training {
    fn default() -> Self {
        Self { epochs: 10, rate: 0.5, patience: Some(3), optimizer: Optimizer::Adam, sides: vec![1, 2] }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Experiment {
    network: Network,
    #[serde(default)]
    training: Training,
    #[serde(default)]
    data: BTreeMap<String, Small>,
}

const RECIPE: &str = r#"
[network]
kind = "large"
backbone = "resnet50"
towers = 2
record = 20

[training]
epochs = 250
optimizer = { sgd = { momentum = 0.9 } }
"#;

fn read(file: &str, words: &[&str]) -> Result<Experiment, String> {
    let mut settings =
        Settings::parse("mine.toml", file).unwrap().over(Settings::parse("recipe.toml", RECIPE).unwrap());
    for words in words {
        settings.set(words).unwrap();
    }
    settings.get().map_err(|error| error.to_string())
}

#[test]
fn each_setting_comes_from_the_topmost_layer_that_has_it() {
    let network = |towers| Network::Large(Large { backbone: "resnet18".into(), towers, record: Some(20) });
    let file = "[network]\nbackbone = \"resnet18\"\n[training]\nrate = 1";
    let read_of = |words: &[&str]| read(file, words).unwrap();
    assert_eq!(read_of(&[]).network, network(2));
    assert_eq!(read_of(&["network.towers=1", "network.towers=3"]).network, network(3));
    let optimizer = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    let training = Training { epochs: 250, rate: 1.0, optimizer: optimizer(0.9, false), ..Training::default() };
    assert_eq!(read_of(&[]).training, training);
    let words = ["training.optimizer.sgd.nesterov=true", "training.patience=none", "training.sides=[7]"];
    let changed = Training { optimizer: optimizer(0.9, true), patience: None, sides: vec![7], ..training };
    assert_eq!(read_of(&words).training, changed);
    assert_eq!(read_of(&["training.optimizer=adam"]).training.optimizer, Optimizer::Adam);
    let data = read_of(&["data.moon.backbone=a b", "data.\"a.b\".backbone='c'"]).data;
    assert_eq!(data["moon"].backbone, "a b");
    assert_eq!(data["a.b"].backbone, "c");
}

#[test]
fn none_takes_a_value_away() {
    let record_of = |words: &[&str]| match read("", words).unwrap().network {
        Network::Large(Large { record, .. }) => record,
        Network::Small(_) => panic!("the recipe has a large one"),
    };
    // Also inside of a kind, where serde asks for values before it knows what they are for.
    assert_eq!(record_of(&["network.record=none"]), None);
    assert_eq!(record_of(&["network.record=none", "network.record=8"]), Some(8));
    let file = "[data]\nmoon = { backbone = \"a\" }\nsun = { backbone = \"b\" }";
    let data = read(file, &["data.sun=none"]).unwrap().data;
    assert_eq!(data.keys().collect::<Vec<_>>(), ["moon"]);
    let error = read(file, &["network.backbone=none"]).unwrap_err();
    assert!(error.ends_with("network: `backbone` is missing"), "{error}");
}

#[test]
fn words_are_one_layer_whatever_their_order() {
    let large = |words: &[&str]| read("", words).unwrap().network;
    let expected = Network::Small(Small { backbone: "vgg16".into() });
    assert_eq!(large(&["network.backbone=vgg16", "network.kind=small"]), expected);
    assert_eq!(large(&["network.kind=small", "network.backbone=vgg16"]), expected);
    assert_eq!(large(&["network.backbone=a", "network.kind=small", "network.backbone=vgg16"]), expected);
    assert_eq!(
        large(&["network={ kind = \"large\", towers = 9 }", "network={ kind = \"small\", backbone = \"vgg16\" }"]),
        expected
    );
    // What a file says without a kind goes with the kind that words say.
    assert_eq!(read("network.backbone = \"vgg16\"", &["network.kind=small"]).unwrap().network, expected);
    let error = read("network.towers = 3", &["network.kind=small", "network.backbone=vgg16"]).unwrap_err();
    assert!(error.starts_with("mine.toml: line 1, column 9: network: there is no setting `towers`"), "{error}");
}

#[test]
fn numbers_are_finite() {
    for (text, column) in [("nan", 8), ("inf", 8), ("-inf", 8), ("1e999", 8)] {
        let error = Settings::parse("mine.toml", &format!("rate = {text}")).unwrap_err().to_string();
        let expected =
            format!("mine.toml: line 1, column {column}: a number that is not finite, which no setting can be");
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn what_belongs_to_another_kind_does_not_count() {
    let small = "[network]\nkind = \"small\"\nbackbone = \"squeezenet\"";
    assert_eq!(read(small, &[]).unwrap().network, Network::Small(Small { backbone: "squeezenet".into() }));
    // Without a backbone of its own it has none: the recipe's belonged to the large one.
    let error = read("network = { kind = \"small\" }", &[]).unwrap_err();
    assert_eq!(error, "mine.toml: line 1, column 11: network: `backbone` is missing");
    // What a layer between says without a kind was of the large one, too.
    let above = Settings::parse("above.toml", small).unwrap();
    let between = above.over(Settings::parse("between.toml", "network.towers = 7").unwrap());
    let all = between.over(Settings::parse("below.toml", RECIPE).unwrap());
    assert_eq!(all.get::<Experiment>().unwrap().network, Network::Small(Small { backbone: "squeezenet".into() }));
    let over = read("", &["training.optimizer={ sgd = { momentum = 0.5 } }"]).unwrap().training.optimizer;
    assert_eq!(over, Optimizer::Sgd { momentum: 0.5, nesterov: false });
}

#[test]
fn errors_name_the_place_the_setting_and_what_is_known() {
    let error = |file: &str, words: &[&str]| read(file, words).unwrap_err();
    assert_eq!(
        error("\n[training]\nepoch = 3", &[]),
        "mine.toml: line 3, column 1: training: there is no setting `epoch`; the settings here are: epochs, rate, patience, \
         optimizer, sides"
    );
    // Inside of a kind, too.
    assert_eq!(
        error("[network]\nbackbone = \"a\"\ntower = 3", &[]),
        "mine.toml: line 3, column 1: network: there is no setting `tower`; the settings here are: backbone, towers, \
         record"
    );
    assert_eq!(
        error("[network]\nkind = \"huge\"", &[]),
        "mine.toml: line 2, column 8: network.kind: `huge` is not known; expected one of: small, large"
    );
    assert_eq!(
        error("training.optimizer = \"sdg\"", &[]),
        "mine.toml: line 1, column 22: training.optimizer: `sdg` is not known; expected one of: adam, sgd"
    );
    assert_eq!(
        error("", &["training.sides=[1, -2]"]),
        "--set training.sides=[1, -2]: training.sides[2]: expected a whole number from 0 to 4294967295, found -2"
    );
    assert_eq!(
        error("", &["training.epochs=1.5"]),
        "--set training.epochs=1.5: training.epochs: expected a whole number that is not negative, found 1.5"
    );
    let said = [
        ("training=3", "training: expected a table, found 3"),
        ("training.rate=fast", "training.rate: expected a number, found \"fast\""),
        ("training.sides=1", "training.sides: expected a list, found 1"),
        ("network=3", "network: expected a table with its `kind`, found 3"),
        ("network.towers=300", "network: expected a whole number from 0 to 255, found 300"),
        ("data=[]", "data: expected a table, found a list"),
        (
            "training.optimizer=3",
            "training.optimizer: expected one of the words adam, sgd, or a table with one of them as its key; found 3",
        ),
    ];
    for (words, expected) in said {
        assert_eq!(error("", &[words]), format!("--set {words}: {expected}"));
    }
    let settings = Settings::parse("mine.toml", "a = 1\nb = { c = 2 }").unwrap();
    assert_eq!(settings.error("b.c", "too many").to_string(), "mine.toml: line 2, column 11: b.c: too many");
    assert_eq!(settings.error("b.d", "too few").to_string(), "mine.toml: line 2, column 5: b.d: too few");
    assert_eq!(settings.error("z", "is needed").to_string(), "z: is needed");
    let list = Settings::parse("mine.toml", "[[a]]\nb = 1\n[[a]]\nb = 2").unwrap();
    assert_eq!(list.error("a[2].b", "too many").to_string(), "mine.toml: line 4, column 5: a[2].b: too many");
    let beyond = list.error("a[3].b", "is missing").to_string();
    assert!(beyond.starts_with("mine.toml: line ") && beyond.ends_with("a[3].b: is missing"), "{beyond}");
}

#[test]
fn what_is_no_toml_is_refused() {
    let parse = |text: &str| Settings::parse("a.toml", text).unwrap_err().to_string();
    assert!(parse("a = 1\na = 2").starts_with("a.toml: line 2, column 1: duplicate key"), "{}", parse("a = 1\na = 2"));
    assert!(parse("a = \n").starts_with("a.toml: line 1, column 5: "), "{}", parse("a = \n"));
    let number = format!("a = {}", "9".repeat(60));
    assert_eq!(parse(&number), "a.toml: line 1, column 5: a number beyond all limits");
    for words in ["a", "=1", "a b=1", "a.=1"] {
        let error = Settings::default().set(words).unwrap_err().to_string();
        assert_eq!(error, format!("`{words}`: KEY=VALUE is expected, such as training.epochs=5"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    std::fs::write(&file, b"a = 1\nb = \"\xff\"").unwrap();
    assert!(
        Settings::read(&file)
            .unwrap_err()
            .to_string()
            .ends_with("x.toml: line 2: a byte that is not UTF-8; save the file as UTF-8")
    );
    assert!(Settings::read(folder.path().join("none.toml")).is_err());
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    #[serde(default)]
    #[allow(dead_code, reason = "it is named in the error")]
    c: u8,
}

#[test]
fn settings_are_taken_out() {
    let mut settings = Settings::parse("a.toml", "b = 1\n[[rows]]\nname = \"x\"\n[[rows]]\nname = \"y\"").unwrap();
    let rows = settings.take("rows").unwrap().elements().unwrap();
    let names: Vec<BTreeMap<String, String>> = rows.iter().map(|row| row.get().unwrap()).collect();
    assert_eq!([&names[0]["name"], &names[1]["name"]], ["x", "y"]);
    assert!(settings.take("rows").is_none() && settings.elements().is_none());
    assert_eq!(settings.keys(), ["b"]);
    // Errors go on naming it.
    let error = settings.get::<Beside>().unwrap_err().to_string();
    assert_eq!(error, "a.toml: line 1, column 1: settings: there is no setting `b`; the settings here are: c, rows");
}

fn any_experiment() -> impl Strategy<Value = Experiment> {
    let text = "[ -~äß\\\\\"'\n\t]{0,12}";
    let network = prop_oneof![
        text.prop_map(|backbone| Network::Small(Small { backbone })),
        (text, any::<u8>(), any::<Option<u8>>()).prop_map(|(backbone, towers, record)| Network::Large(Large {
            backbone,
            towers,
            record
        })),
    ];
    let optimizer = prop_oneof![
        Just(Optimizer::Adam),
        (-1e300_f64..1e300, any::<bool>()).prop_map(|(momentum, nesterov)| Optimizer::Sgd { momentum, nesterov }),
    ];
    let rate = prop_oneof![any::<f64>().prop_filter("finite", |rate| rate.is_finite()), Just(3.0), Just(1e-5)];
    let sides = proptest::collection::vec(any::<u32>(), 0..4);
    let training = (any::<usize>(), rate, any::<Option<u64>>(), optimizer, sides)
        .prop_map(|(epochs, rate, patience, optimizer, sides)| Training { epochs, rate, patience, optimizer, sides });
    let data = proptest::collection::btree_map(text, text.prop_map(|backbone| Small { backbone }), 0..3);
    (network, training, data).prop_map(|(network, training, data)| Experiment { network, training, data })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(experiment in any_experiment()) {
        let text = to_toml(&experiment);
        // Also over settings that say something else.
        let settings = Settings::parse("saved.toml", &text).unwrap();
        let over = settings.clone().over(Settings::parse("recipe.toml", RECIPE).unwrap());
        prop_assert_eq!(&settings.get::<Experiment>().unwrap(), &experiment);
        let mut read = over.get::<Experiment>().unwrap();
        if matches!(experiment.training.optimizer, Optimizer::Adam) {
            prop_assert_eq!(&read.training.optimizer, &Optimizer::Adam);
        }
        read.training.optimizer = Optimizer::Adam;
        prop_assert_eq!(read, Experiment { training: Training { optimizer: Optimizer::Adam, ..experiment.training }, ..experiment });
    }
}
