//! AMFAM's tables of classes print sensitivity under the heading of precision, and precision under that of sensitivity: only so do
//! they follow from the numbers of test cases and from the accuracies of its Table 2.

use dermafuse_eval::published::{Printed, PublishedClass, PublishedRow, PublishedTable};
use dermafuse_recipes::Recipe;

/// The test cases of each class, Table 1.
const CRITERIA: [(&str, &[(&str, f64)]); 7] = [
    ("BWV", &[("ABS", 320.0), ("PRS", 75.0)]),
    ("DaG", &[("ABS", 100.0), ("REG", 118.0), ("IR", 177.0)]),
    ("PIG", &[("ABS", 223.0), ("REG", 48.0), ("IR", 124.0)]),
    ("PN", &[("ABS", 156.0), ("TYP", 146.0), ("ATP", 93.0)]),
    ("RS", &[("ABS", 289.0), ("PRS", 106.0)]),
    ("STR", &[("ABS", 257.0), ("REG", 44.0), ("IR", 94.0)]),
    ("VS", &[("ABS", 313.0), ("REG", 52.0), ("IR", 30.0)]),
];
const DIAGNOSES: (&str, &[(&str, f64)]) =
    ("DIAG", &[("BCC", 16.0), ("NEV", 219.0), ("MEL", 101.0), ("MISC", 40.0), ("SK", 19.0)]);

fn printed(table: &str) -> PublishedTable {
    let recipe = Recipe::shipped("amfam").unwrap();
    let ending = format!(", {table}");
    recipe.published().iter().find(|table| table.source.ends_with(&ending)).unwrap_or_else(|| panic!("{table}")).clone()
}

/// The accuracy, to a tenth, that follows if a column holds each class's share of hits among its own cases.
fn accuracy(
    row: &PublishedRow,
    (task, classes): (&str, &[(&str, f64)]),
    column: fn(&PublishedClass) -> Option<Printed>,
) -> f64 {
    let hits = classes.iter().map(|(class, cases)| {
        let share = column(&row.classes[&format!("{task} {class}")]).expect("the column is printed").mean;
        (share / 100.0 * cases).round()
    });
    (hits.sum::<f64>() / 395.0 * 1000.0).round() / 10.0
}

fn differing(
    table: &PublishedTable,
    tasks: &[(&str, &[(&str, f64)])],
    column: fn(&PublishedClass) -> Option<Printed>,
) -> Vec<String> {
    let accuracies = printed("Table 2");
    let mut differing = Vec::new();
    for row in &table.rows {
        for &(task, classes) in tasks {
            let stated = accuracies.row(&row.name).unwrap().task(task).unwrap().mean;
            if (accuracy(row, (task, classes), column) - stated).abs() > 0.001 {
                differing.push(format!("{} {task}", row.name));
            }
        }
    }
    differing
}

#[test]
fn the_cases_of_each_task_are_the_395_test_cases() {
    for (task, classes) in CRITERIA.into_iter().chain([DIAGNOSES]) {
        assert_eq!(classes.iter().map(|(_, cases)| cases).sum::<f64>(), 395.0, "{task}");
    }
}

#[test]
fn what_is_called_precision_is_sensitivity_but_for_three_misprints() {
    let criteria = differing(&printed("Table 3"), &CRITERIA, |class| class.precision);
    assert_eq!(criteria, ["+Recon BWV"]); // 0.6 for 60.0
    let diagnoses = differing(&printed("Table 4"), &[DIAGNOSES], |class| class.precision);
    assert_eq!(diagnoses, ["+Recon DIAG", "+Recon+Att DIAG"]); // MISC, and SK, the other way round
    // The misprints alone make the difference.
    let mut table = printed("Table 4");
    for (row, class) in [("+Recon", "DIAG MISC"), ("+Recon+Att", "DIAG SK")] {
        let row = table.rows.iter_mut().find(|one| one.name == row).unwrap();
        let class = row.classes.get_mut(class).unwrap();
        (class.sensitivity, class.precision) = (class.precision, class.sensitivity);
    }
    assert!(differing(&table, &[DIAGNOSES], |class| class.precision).is_empty());
}

#[test]
fn what_is_called_sensitivity_is_not() {
    let table = printed("Table 3");
    let tasks = table.rows.len() * CRITERIA.len();
    let differing = differing(&table, &CRITERIA, |class| class.sensitivity);
    assert!(differing.len() > tasks * 4 / 5, "{} of {tasks}: {differing:?}", differing.len());
}

#[test]
fn the_methods_of_others_have_their_sensitivity_under_its_heading() {
    let (accuracies, classes) = (printed("Table 5"), printed("Table 7"));
    for row in &classes.rows {
        let stated = accuracies.row(&row.name).unwrap().task("DIAG").unwrap().mean;
        let sensitivity = accuracy(row, DIAGNOSES, |class| class.sensitivity);
        let precision = accuracy(row, DIAGNOSES, |class| class.precision);
        match row.name.as_str() {
            "AMFAM" => assert_eq!((precision, sensitivity != stated), (stated, true)),
            // The authors' own training: its accuracy is not printed. Whole numbers of cases tell the heading.
            "HcCNN" => {
                let whole =
                    |share: f64, cases: f64| (share / 100.0 * cases - (share / 100.0 * cases).round()).abs() < 0.1;
                for (class, cases) in DIAGNOSES.1 {
                    let class = row.classes[&format!("DIAG {class}")];
                    assert!(whole(class.precision.unwrap().mean, *cases));
                }
                assert!(!whole(row.classes["DIAG BCC"].sensitivity.unwrap().mean, 16.0));
            }
            _ => assert_eq!(sensitivity, stated, "{}", row.name),
        }
    }
}

#[test]
fn of_two_classes_the_specificity_of_one_is_the_sensitivity_of_the_other() {
    // Spec. belongs to Sen., which is precision: it is the share of right answers among those that do not say the class.
    let mut differing = Vec::new();
    for row in &printed("Table 3").rows {
        for task in ["BWV", "RS"] {
            let [absent, present] = ["ABS", "PRS"].map(|class| row.classes[&format!("{task} {class}")]);
            if absent.auc != present.auc {
                differing.push(format!("{} {task} AUC", row.name));
            }
            if absent.sensitivity != present.specificity || absent.specificity != present.sensitivity {
                differing.push(format!("{} {task}", row.name));
            }
        }
    }
    assert_eq!(differing, ["Derm BWV", "+Recon RS"]);
}
