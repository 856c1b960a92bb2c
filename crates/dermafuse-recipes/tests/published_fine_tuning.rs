//! The printed means of Nedelcu et al. follow from their printed tables of classes, computed by our metrics.

use dermafuse_eval::published::{PublishedClass, PublishedTable};
use dermafuse_eval::{Evaluation, EvaluationOptions};
use dermafuse_recipes::Recipe;
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Predictions, Task, TaskSet};

/// The 13 classes of DermAI, and how many test cases each has: not printed, but implied by the sensitivities.
const CLASSES: [(&str, usize); 13] = [
    ("SebKer", 237),
    ("ActKer", 104),
    ("Nev", 124),
    ("MolCont", 14),
    ("Haem", 14),
    ("UncNeop", 49),
    ("Drmfib", 28),
    ("SLent", 10),
    ("PenFib", 23),
    ("VWat", 39),
    ("OtMalNeop", 23),
    ("BCC", 11),
    ("MM", 10),
];
const K: usize = CLASSES.len();

fn printed(table: &str) -> PublishedTable {
    let recipe = Recipe::shipped("nedelcu").unwrap();
    let source = format!("Nedelcu et al., Table {table}");
    recipe.published().iter().find(|table| table.source == source).unwrap_or_else(|| panic!("{source}")).clone()
}

/// Counts `[truth][predicted]` that have the printed sensitivities and precisions. Which class was taken for which
/// other is not printed, and no mean depends on it.
fn confusion(classes: &[PublishedClass; K]) -> [[usize; K]; K] {
    let mut counts = [[0; K]; K];
    let (mut missed, mut wrong) = ([0_usize; K], [0_usize; K]);
    let mut unknown = Vec::new();
    for (class, printed) in classes.iter().enumerate() {
        let [sensitivity, precision] = [printed.sensitivity, printed.precision].map(|score| score.unwrap().mean);
        let support = CLASSES[class].1;
        let hits = (sensitivity / 100.0 * support as f64).round();
        counts[class][class] = hits as usize;
        missed[class] = support - hits as usize;
        match precision > 0.0 {
            true => wrong[class] = (hits / (precision / 100.0) - hits).round() as usize,
            false => unknown.push(class), // never right; how often it was said is not printed
        }
    }
    let rest = missed.iter().sum::<usize>().checked_sub(wrong.iter().sum()).expect("as many misses as wrong answers");
    match unknown[..] {
        [] => assert_eq!(rest, 0),
        [first, ..] => wrong[first] += rest,
    }
    // The class with most misses left to the class with most wrong answers left, never to itself.
    for _ in 0..missed.iter().sum() {
        let pressing = |class: &usize| missed[*class] + wrong[*class];
        let truth = (0..K).filter(|&class| missed[class] > 0).max_by_key(pressing).unwrap();
        let said = (0..K).filter(|&class| class != truth && wrong[class] > 0).max_by_key(pressing).unwrap();
        missed[truth] -= 1;
        wrong[said] -= 1;
        counts[truth][said] += 1;
    }
    counts
}

fn predictions(counts: &[[usize; K]; K]) -> Predictions {
    let pairs: Vec<(usize, usize)> = (0..K)
        .flat_map(|truth| (0..K).flat_map(move |said| std::iter::repeat_n((truth, said), counts[truth][said])))
        .collect();
    let classes = CLASSES.map(|(name, _)| name);
    Predictions {
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes)]).unwrap(),
        ids: (0..pairs.len()).map(|case| case.to_string().into()).collect(),
        labels: pairs.iter().map(|(truth, _)| vec![Some(*truth)]).collect(),
        probabilities: vec![Array2::from_shape_fn((pairs.len(), K), |(case, class)| {
            f64::from(u8::from(pairs[case].1 == class))
        })],
        basis: vec!["clinical".into(); pairs.len()],
    }
}

#[test]
fn the_published_means_are_recomputed_from_the_published_classes() {
    let options = EvaluationOptions { zero_undefined: true, ..EvaluationOptions::default() };
    let strategies = printed("IV");
    for table in ["V", "VI", "VII", "VIII"].map(printed) {
        let [of_classes] = &table.rows[..] else { panic!("one strategy in {}", table.source) };
        let strategy = strategies.row(&of_classes.name).expect("it is in Table IV too");
        assert_eq!(of_classes.classes.len(), K);
        let classes = CLASSES.map(|(name, _)| of_classes.classes[name]);
        let evaluation = Evaluation::with(&predictions(&confusion(&classes)), &options).unwrap();
        let task = &evaluation.tasks[0];
        assert_eq!(task.n, 686);
        let near = |ours: Option<f64>, printed: f64, what: &str| {
            let ours = 100.0 * ours.unwrap();
            assert!((ours - printed).abs() <= 0.0101, "{}, {what}: {ours:.3} and {printed}", strategy.name);
        };
        near(task.accuracy, strategy.accuracy.unwrap().mean, "accuracy");
        near(task.macro_f1, strategy.macro_f1.unwrap().mean, "macro F1");
        near(task.weighted_f1, strategy.weighted_f1.unwrap().mean, "weighted F1");
        for (ours, printed) in task.classes.iter().zip(&classes) {
            near(ours.sensitivity, printed.sensitivity.unwrap().mean, &ours.name);
            near(ours.precision, printed.precision.unwrap().mean, &ours.name);
            near(ours.f1, printed.f1.unwrap().mean, &ours.name);
        }
    }
}

#[test]
fn the_published_accuracies_are_shares_of_686_cases() {
    assert_eq!(CLASSES.iter().map(|(_, support)| support).sum::<usize>(), 686);
    let (networks, strategies) = (printed("III"), printed("IV"));
    let accuracies = networks.rows.iter().chain(&strategies.rows).map(|row| row.accuracy.unwrap().mean);
    for accuracy in accuracies {
        let hits = accuracy * 6.86;
        assert!((hits - hits.round()).abs() < 0.07, "{accuracy} % are {hits} cases");
    }
}

#[test]
fn the_network_that_was_chosen_has_the_scores_of_its_strategy() {
    let (networks, strategies) = (printed("III"), printed("IV"));
    let scores = |table: &PublishedTable| {
        let row = table.row("a) ImageNet, DermAI").unwrap();
        [row.accuracy, row.weighted_f1, row.macro_f1]
    };
    assert_eq!(scores(&networks), scores(&strategies));
}

#[test]
fn the_cases_of_the_classes_add_up_and_a_fifth_of_them_is_tested() {
    let cases = printed("I");
    let count = |name: &str, kind: &str| cases.row(name).unwrap().columns[kind].mean;
    for kind in ["Mac.", "Anat.", "Total"] {
        let sum: f64 = CLASSES.iter().map(|(name, _)| count(name, kind)).sum();
        assert_eq!(sum, count("Total", kind), "{kind}");
    }
    for row in &cases.rows {
        assert_eq!(count(&row.name, "Mac.") + count(&row.name, "Anat."), count(&row.name, "Total"), "{}", row.name);
    }
    for (name, tested) in CLASSES {
        assert!((tested as f64 - count(name, "Total") / 5.0).abs() < 1.0, "{name}");
    }
}
