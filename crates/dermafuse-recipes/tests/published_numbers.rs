//! The printed numbers of the recipes: each belongs to a row, and every printed mean follows from its printed parts, but for the
//! contradictions that are listed here.

use std::collections::{BTreeMap, BTreeSet};

use dermafuse_backbones::BackboneKind;
use dermafuse_data::derm7pt;
use dermafuse_eval::published::{Printed, PublishedClass, PublishedRow, PublishedScore, PublishedTable};
use dermafuse_recipes::Recipe;

/// The stages of FusionM4Net, which are rows of its tables.
const STAGES: [&str; 8] =
    ["P_clinical", "P_dermoscopic", "P_fusion", "P_1 averaged", "P_1", "P_2", "P_3 averaged", "P_3"];

/// Printed methods that are no row of the recipe whose file has them: comparators, and settings of a stage.
const NO_ROWS: &[(&str, &[&str])] = &[
    (
        "fusionm4net",
        &[
            "Inception-unbalanced",
            "Inception-balanced",
            "Inception-combined",
            "MmA",
            "EmbeddingNet",
            "TripleNet",
            "HcCNN",
        ],
    ),
    ("ammfm", &["Incep-com", "HcCNN", "FM-FS", "GIIN", "CAFNet", "TFormer"]),
    ("pemm", &["Incep-com", "HcCNN", "FM-FS", "GIIN", "CAFNet", "TFormer", "AMFAM"]),
    (
        "amfam",
        &[
            "Inception-unbalanced",
            "Inception-balanced",
            "Inception-combined",
            "EmbeddingNet",
            "TripleNet",
            "HcCNN",
            "HcCNN, trained again",
        ],
    ),
    // The classes of the data, of which a table counts the cases.
    (
        "nedelcu",
        &[
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
            "Total",
        ],
    ),
];

/// The tables of the thesis that a recipe quotes, with how many numbers each has: means, deviations and p-values.
const TABLES: &[(&str, &[(&str, usize)])] = &[
    (
        "fusionm4net",
        &[
            ("6.3", 11 * 18),
            ("6.4", 6 * 18),
            ("6.5", 5 * 18 + 15 + 3),
            ("6.6", 4 * 18 + 8 + 2),
            ("6.7", 3 * 18),
            ("6.8", 4 * 18),
            ("6.9", 9 * 9),
            ("6.10", 5 * 24 * 4),
        ],
    ),
    (
        "jif",
        &[
            ("4.1", 8 * 12 + 1),
            ("4.2", 8 * 12 + 1),
            ("4.3", 8 * 12 + 1),
            ("4.4", 28),
            ("4.5", 28),
            ("4.6", 28),
            ("4.7", 10 * 12),
            ("4.8", 10 * 12),
            ("4.9", 10 * 12),
        ],
    ),
];

/// What the papers print twice, or print with its parts, and differently: recipe, table, row, what, the printed number, and the
/// one that follows from other printed numbers.
const CONTRADICTIONS: &[(&str, &str, &str, &str, f64, f64)] = &[
    // Five means of backbones, rounded once up and once down.
    ("jif", "4.8", "JIF-MMFA(OFB)", "balanced accuracy of another table", 70.9, 71.0),
    // 33 for a third.
    ("fusionm4net", "6.10", "Inception-unbalanced", "DIAG SK precision", 33.0, 33.33),
    ("fusionm4net", "6.10", "Inception-unbalanced", "VS REG precision", 54.3, 54.55),
    // 92.5, which is the specificity of PRS, is meant.
    ("fusionm4net", "6.10", "Inception-balanced", "BWV ABS sensitivity", 72.5, 92.5),
    ("fusionm4net", "6.10", "Inception-balanced", "BWV ABS precision", 91.9, 89.92),
    ("fusionm4net", "6.10", "Inception-balanced", "BWV accuracy", 87.3, 71.13),
    ("fusionm4net", "6.10", "Inception-balanced", "RS ABS precision", 58.8, 85.87),
    // 96.8 would fit both.
    ("fusionm4net", "6.10", "Inception-balanced", "VS ABS precision", 84.4, 82.93),
    ("fusionm4net", "6.10", "Inception-balanced", "VS accuracy", 81.5, 73.59),
    // Specificity, precision and AUC of IR again.
    ("fusionm4net", "6.10", "Inception-combined", "STR REG precision", 52.7, 32.43),
    ("fusionm4net", "6.10", "FusionM4Net-FS", "RS PRS sensitivity", 47.1, 47.2),
    // The sensitivity of IR again; 72.9 would fit both.
    ("fusionm4net", "6.10", "FusionM4Net-SS", "DaG REG precision", 58.5, 59.6),
    ("fusionm4net", "6.10", "FusionM4Net-SS", "DaG accuracy", 66.1, 67.11),
    ("fusionm4net", "6.10", "FusionM4Net-SS", "BWV accuracy", 88.1, 88.63),
    // 0.3 for 3.3, one of 30 cases.
    ("fusionm4net", "6.10", "FusionM4Net-SS", "VS IR precision", 50.0, 0.0),
    ("fusionm4net", "6.10", "FusionM4Net-SS", "VS accuracy", 81.8, 81.55),
    // PN ATP is 82.2 here and 60.5 in Table 6.10; the mean fits neither.
    ("ammfm", "4", "FM-FS", "precision", 68.5, 66.09),
    ("ammfm", "5.4", "FM-FS", "precision", 68.5, 66.09),
    ("pemm", "5.14", "FM-FS", "precision", 68.5, 66.09),
    // 87.2 in Table 5.10 and the paper, 87.3 in Table 5.6.
    ("ammfm", "5.10", "SFF-CAT ST+ST", "AUC of another table", 87.2, 87.3),
    // RS is 82.3 here and 80.8 in AMFAM's own table.
    ("pemm", "5.12", "AMFAM", "accuracy", 76.0, 76.14),
    // 87.0 in Table 5.15.
    ("pemm", "5.18", "Non-PS", "AUC of another table", 87.2, 87.0),
    // Half a hundredth more than 13 rounded scores can be off together.
    ("nedelcu", "VI", "a) ImageNet, DermAI", "macro F1", 28.65, 28.64),
];

const SCORES: [(&str, PublishedScore); 5] = [
    ("accuracy", PublishedScore::Accuracy),
    ("balanced accuracy", PublishedScore::BalancedAccuracy),
    ("AUC", PublishedScore::Auc),
    ("macro F1", PublishedScore::MacroF1),
    ("weighted F1", PublishedScore::WeightedF1),
];

type ClassScore = (&'static str, fn(&PublishedClass) -> Option<Printed>);

const CLASS_SCORES: [ClassScore; 6] = [
    ("AUC", |class| class.auc),
    ("accuracy", |class| class.accuracy),
    ("sensitivity", |class| class.sensitivity),
    ("specificity", |class| class.specificity),
    ("precision", |class| class.precision),
    ("F1", |class| class.f1),
];

fn recipes() -> Vec<(&'static str, Recipe)> {
    Recipe::shipped_names().into_iter().map(|name| (name, Recipe::shipped(name).unwrap())).collect()
}

/// All scores of a row in per cent.
fn scores(row: &PublishedRow) -> Vec<Printed> {
    let mut all: Vec<Printed> = SCORES.iter().filter_map(|(_, score)| row.score(*score)).collect();
    all.extend([row.sensitivity, row.specificity, row.precision].into_iter().flatten());
    all.extend(row.tasks.values());
    all.extend(row.classes.values().flat_map(|class| CLASS_SCORES.iter().filter_map(|(_, of)| of(class))));
    all
}

fn decimals(value: f64) -> i32 {
    value.to_string().split_once('.').map_or(0, |(_, after)| after.len() as i32)
}

/// Half a unit of the last digit that any of the numbers has.
fn half_a_unit(numbers: impl Iterator<Item = f64>) -> f64 {
    0.5 * 10_f64.powi(-numbers.map(decimals).max().unwrap_or(0))
}

fn to_two_digits(value: f64) -> f64 {
    (100.0 * value).round() / 100.0
}

/// The number of a table in a source.
fn number(table: &PublishedTable) -> &str {
    table.source.rsplit(' ').next().unwrap()
}

/// The method of a row that stands on a backbone of its own.
fn on_backbone(name: &str) -> Option<&str> {
    let (method, backbone) = name.rsplit_once(' ')?;
    backbone.parse::<BackboneKind>().is_ok().then_some(method)
}

#[test]
fn every_table_is_there_once_with_all_its_numbers() {
    for (name, recipe) in recipes() {
        let sources: BTreeSet<&str> = recipe.published().iter().map(|table| table.source.as_str()).collect();
        assert_eq!(sources.len(), recipe.published().len(), "{name}");
    }
    let of = |printed: Printed| 1 + usize::from(printed.deviation.is_some());
    for (name, expected) in TABLES {
        let recipe = Recipe::shipped(name).unwrap();
        let tables = recipe.published().iter().map(|table| {
            let numbers: usize = table
                .rows
                .iter()
                .flat_map(|row| {
                    scores(row).into_iter().chain(row.weights.values().chain(row.columns.values()).copied())
                })
                .map(of)
                .sum();
            let tests = table.wilcoxon.values().map(BTreeMap::len).sum::<usize>();
            (table.source.clone(), numbers + tests + usize::from(table.friedman_p.is_some()))
        });
        let expected = expected.iter().map(|(table, numbers)| (format!("Tang et al., thesis Table {table}"), *numbers));
        assert_eq!(tables.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>(), "{name}");
    }
}

#[test]
fn every_printed_number_is_possible_and_belongs_to_a_row() {
    let mut unknown: BTreeSet<(&str, &str)> =
        NO_ROWS.iter().flat_map(|(recipe, rows)| rows.iter().map(|row| (*recipe, *row))).collect();
    let no_rows = unknown.clone();
    let recipes = recipes();
    for (name, recipe) in &recipes {
        let name = *name;
        for table in recipe.published() {
            let names: BTreeSet<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names.len(), table.rows.len(), "{}", table.source);
            assert!(!table.rows.is_empty() || !table.wilcoxon.is_empty(), "{}", table.source);
            for row in &table.rows {
                let method = on_backbone(&row.name).unwrap_or(&row.name);
                let is_known = recipe.row(method).is_ok() || name == "fusionm4net" && STAGES.contains(&method);
                unknown.remove(&(name, method));
                assert!(is_known || no_rows.contains(&(name, method)), "{}: no row {method}", table.source);
                let scores = scores(row);
                let prints = !scores.is_empty() || !row.columns.is_empty() || row.parameters.is_some();
                assert!(prints, "{}, {}", table.source, row.name);
                for score in scores.into_iter().chain(row.weights.values().copied()) {
                    let deviation = score.deviation.unwrap_or(0.0);
                    let is_possible = (0.0..=100.0).contains(&score.mean) && (0.0..=25.0).contains(&deviation);
                    assert!(is_possible, "{}, {}: {score}", table.source, row.name);
                }
                let weights: f64 = row.weights.values().map(|weight| weight.mean).sum();
                let is_whole = row.weights.is_empty() || (weights - 100.0).abs() < 0.15;
                assert!(is_whole, "{}, {}: {weights}", table.source, row.name);
            }
            for (first, others) in &table.wilcoxon {
                for (second, p) in others {
                    assert!(*p > 0.0 && *p <= 1.0, "{}, {first} and {second}: {p}", table.source);
                    assert!(recipe.row(first).and(recipe.row(second)).is_ok(), "{first} and {second}");
                    let again = table.wilcoxon.get(second).and_then(|others| others.get(first));
                    assert!(first != second && again.is_none(), "{first} and {second}");
                }
            }
        }
    }
    assert!(unknown.is_empty(), "listed, but not printed: {unknown:?}");
}

/// What follows from printed numbers.
#[derive(Default)]
struct Recomputed {
    checked: usize,
    found: BTreeSet<String>,
}

impl Recomputed {
    fn compare(&mut self, place: (&str, &PublishedTable, &str), what: &str, printed: f64, ours: f64, tolerance: f64) {
        self.checked += 1;
        if (printed - ours).abs() > tolerance + 1e-9 {
            let (recipe, table, row) = place;
            self.found.insert(sentence((recipe, number(table), row, what, printed, to_two_digits(ours))));
        }
    }
}

fn sentence((recipe, table, row, what, printed, ours): (&str, &str, &str, &str, f64, f64)) -> String {
    format!("{recipe} {table}, {row}, {what}: {printed:.2} is printed, {ours:.2} follows")
}

#[test]
fn printed_means_follow_from_their_printed_parts() {
    let mut recomputed = Recomputed::default();
    for (name, recipe) in recipes() {
        for table in recipe.published() {
            for row in &table.rows {
                tasks(&mut recomputed, name, table, row);
                backbones(&mut recomputed, name, table, row);
                classes(&mut recomputed, name, &recipe, table, row);
                checklist(&mut recomputed, name, &recipe, table, row);
            }
        }
        twice(&mut recomputed, name, &recipe);
    }
    let listed: BTreeSet<String> = CONTRADICTIONS.iter().map(|listed| sentence(*listed)).collect();
    assert_eq!(listed.len(), CONTRADICTIONS.len());
    let new: Vec<_> = recomputed.found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&recomputed.found).collect();
    assert!(new.is_empty() && gone.is_empty(), "not listed: {new:#?}\nlisted, but not so: {gone:#?}");
    assert!(recomputed.checked > 400, "{}", recomputed.checked);
}

/// The accuracy is the mean over the tasks.
fn tasks(recomputed: &mut Recomputed, name: &str, table: &PublishedTable, row: &PublishedRow) {
    let (Some(accuracy), false) = (row.accuracy, row.tasks.is_empty()) else { return };
    let mean = row.tasks.values().map(|task| task.mean).sum::<f64>() / row.tasks.len() as f64;
    let means = table.rows.iter().filter_map(|row| Some(row.accuracy?.mean));
    let parts = table.rows.iter().flat_map(|row| row.tasks.values().map(|task| task.mean));
    let tolerance = half_a_unit(means) + half_a_unit(parts);
    recomputed.compare((name, table, &row.name), "accuracy", accuracy.mean, mean, tolerance);
}

/// What is printed without a backbone is the mean of what is printed on each.
fn backbones(recomputed: &mut Recomputed, name: &str, table: &PublishedTable, row: &PublishedRow) {
    // Elsewhere a row without a backbone stands on one that its name does not say.
    if name != "jif" {
        return;
    }
    let parts: Vec<&PublishedRow> =
        table.rows.iter().filter(|part| on_backbone(&part.name) == Some(row.name.as_str())).collect();
    for (what, score) in SCORES {
        let means: Option<Vec<f64>> = parts.iter().map(|part| Some(part.score(score)?.mean)).collect();
        let (Some(printed), Some(means)) = (row.score(score), means.filter(|means| !means.is_empty())) else {
            continue;
        };
        let all = table.rows.iter().filter_map(|row| Some(row.score(score)?.mean));
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        recomputed.compare((name, table, &row.name), what, printed.mean, mean, 2.0 * half_a_unit(all));
    }
}

/// A mean over classes, in this table or in another of the same row and protocol.
fn classes(recomputed: &mut Recomputed, name: &str, recipe: &Recipe, table: &PublishedTable, row: &PublishedRow) {
    type Mean = fn(&PublishedRow) -> Option<Printed>;
    let means: [(&str, usize, Mean); 5] = [
        ("sensitivity", 2, |row| row.sensitivity),
        ("balanced accuracy", 2, |row| row.balanced_accuracy),
        ("specificity", 3, |row| row.specificity),
        ("precision", 4, |row| row.precision),
        ("macro F1", 5, |row| row.macro_f1),
    ];
    // AMFAM prints means of some classes in one table and of others in another.
    let fits = |other: &&PublishedTable| name != "amfam" || other.source == table.source;
    let of_row =
        recipe.published().iter().filter(|other| other.data == table.data && other.runs == table.runs).filter(fits);
    let rows: Vec<&PublishedRow> = of_row.filter_map(|other| other.row(&row.name)).collect();
    for (what, score, mean) in means {
        let parts: Option<Vec<f64>> =
            row.classes.values().map(|class| Some(CLASS_SCORES[score].1(class)?.mean)).collect();
        let Some(parts) = parts.filter(|parts| !parts.is_empty()) else { continue };
        for printed in rows.iter().filter_map(|row| mean(row)) {
            let ours = parts.iter().sum::<f64>() / parts.len() as f64;
            let tolerance = half_a_unit([printed.mean].into_iter()) + half_a_unit(parts.iter().copied());
            recomputed.compare((name, table, &row.name), what, printed.mean, ours, tolerance);
        }
    }
}

/// Of Derm7pt's test part the number of cases of each class is known. With it, precision follows from sensitivity and specificity,
/// the accuracy of a task from the sensitivities; and of two classes the one's sensitivity is the other's specificity.
fn checklist(recomputed: &mut Recomputed, name: &str, recipe: &Recipe, table: &PublishedTable, row: &PublishedRow) {
    // AMFAM's tables print sensitivity as precision and the reverse: `published_amfam` tests what follows from them.
    if name == "amfam" {
        return;
    }
    let place = (name, table, row.name.as_str());
    for task in derm7pt::PUBLISHED.iter().filter(|_| table.data == "derm7pt") {
        let cases: f64 = task.classes.iter().map(|(_, [_, _, test])| *test as f64).sum();
        let class = |class: &str| row.classes.get(&format!("{} {class}", task.label));
        let of: Option<Vec<(&str, f64, f64, &PublishedClass)>> = task
            .classes
            .iter()
            .map(|(name, [_, _, test])| Some((*name, *test as f64, class(name)?.sensitivity?.mean, class(name)?)))
            .collect();
        let Some(of) = of else { continue };
        for (class, test, sensitivity, scores) in &of {
            let (Some(specificity), Some(precision)) = (scores.specificity, scores.precision) else { continue };
            // Whole cases, so nothing is lost to rounding.
            let hits = (sensitivity * test / 100.0).round();
            let wrong = ((100.0 - specificity.mean) * (cases - test) / 100.0).round();
            let ours = if hits > 0.0 { 100.0 * hits / (hits + wrong) } else { 0.0 };
            recomputed.compare(place, &format!("{} {class} precision", task.label), precision.mean, ours, 0.05);
        }
        if let [(first, _, sensitivity, one), (second, _, other_sensitivity, other)] = of[..] {
            let pairs = [(first, sensitivity, other.specificity), (second, other_sensitivity, one.specificity)];
            for (class, sensitivity, specificity) in pairs {
                let Some(specificity) = specificity else { continue };
                let what = format!("{} {class} sensitivity", task.label);
                recomputed.compare(place, &what, sensitivity, specificity.mean, 0.0);
            }
            if let (Some(one), Some(other)) = (one.auc, other.auc) {
                recomputed.compare(place, &format!("{} {second} AUC", task.label), other.mean, one.mean, 0.0);
            }
        }
        // AMFAM prints means of some classes in one table and of others in another.
        let fits = |other: &&PublishedTable| name != "amfam" || other.source == table.source;
        let of_row =
            recipe.published().iter().filter(|other| other.data == table.data && other.runs == table.runs).filter(fits);
        for printed in of_row.filter_map(|other| other.row(&row.name)?.task(task.label)) {
            let ours = of.iter().map(|(_, test, sensitivity, _)| sensitivity * test).sum::<f64>() / cases;
            recomputed.compare(place, &format!("{} accuracy", task.label), printed.mean, ours, 0.1);
        }
    }
}

/// What several tables print of one row on the same runs is the same.
fn twice(recomputed: &mut Recomputed, name: &str, recipe: &Recipe) {
    let tables = recipe.published();
    for (place, table) in tables.iter().enumerate() {
        let earlier = tables[..place]
            .iter()
            .filter(|other| (&other.data, &other.protocol, other.runs) == (&table.data, &table.protocol, table.runs));
        for other in earlier {
            for (row, first) in table.rows.iter().filter_map(|row| Some((row, other.row(&row.name)?))) {
                for (what, score) in SCORES {
                    if let (Some(printed), Some(first)) = (row.score(score), first.score(score)) {
                        let what = format!("{what} of another table");
                        recomputed.compare((name, table, &row.name), &what, printed.mean, first.mean, 0.0);
                    }
                }
                for (task, printed) in &row.tasks {
                    if let Some(first) = first.task(task) {
                        let what = format!("{task} of another table");
                        recomputed.compare((name, table, &row.name), &what, printed.mean, first.mean, 0.0);
                    }
                }
            }
        }
    }
}

#[test]
fn misprints_that_texts_contradict_are_noted_at_their_tables() {
    let notes = [
        ("fusionm4net", "6.8", "76.4"),
        ("fusionm4net", "6.9", "78.5"),
        ("fusionm4net", "6.10", "0.3"),
        ("jif", "4.1", "six ratios"),
        ("jif", "4.2", "70.9"),
    ];
    for (name, table, words) in notes {
        let recipe = Recipe::shipped(name).unwrap();
        let table = recipe.published().iter().find(|printed| number(printed) == table).unwrap();
        assert!(table.note.as_ref().is_some_and(|note| note.contains(words)), "{name}: {words}");
    }
}
