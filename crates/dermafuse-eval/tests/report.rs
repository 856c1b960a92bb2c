//! The page and the files of a whole run: complete, closed in itself, the same every time.

use std::path::{Path, PathBuf};

use dermafuse_eval::figure::{Series, TernaryPoint};
use dermafuse_eval::published::{Printed, PublishedRow, PublishedScore, PublishedTable};
use dermafuse_eval::{
    Bootstrap, Comparison, EvalError, Evaluation, Grouping, MetricsContext, Report, SampleCase, SubgroupTable,
    metrics_json, predictions_csv, write_metrics, write_predictions,
};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{FailedCase, Predictions, SeenCases, Task, TaskSet, from_spreadsheet, softmax};

const CASES: usize = 120;

/// Numbers in 0..1 that look random, for data that looks like a real run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn checklist() -> TaskSet {
    TaskSet::new(vec![
        Task::new("diagnosis", "DIAG", ["NEV", "BCC", "MEL", "MISC", "SK"]),
        Task::new("pigment_network", "PN", ["ABS", "TYP", "ATP"]).with_reference("ABS"),
        Task::new("streaks", "STR", ["ABS", "REG", "IR"]).with_reference("ABS"),
        Task::new("pigmentation", "PIG", ["ABS", "REG", "IR"]).with_reference("ABS"),
        Task::new("regression_structures", "RS", ["ABS", "PRS"]).with_reference("ABS"),
        Task::new("dots_and_globules", "DaG", ["ABS", "REG", "IR"]).with_reference("ABS"),
        Task::new("blue_whitish_veil", "BWV", ["ABS", "PRS"]).with_reference("ABS"),
        Task::new("vascular_structures", "VS", ["ABS", "REG", "IR"]).with_reference("ABS"),
    ])
    .unwrap()
}

/// Predictions that are right the more often the larger `skill`; every ninth case lacks its dermoscopic image.
fn predictions(skill: f64) -> Predictions {
    let (tasks, mut truth, mut noise) = (checklist(), Noise(7), Noise(11));
    let labels: Vec<Vec<Option<usize>>> = (0..CASES)
        .map(|case| {
            let label = |task: &Task| (truth.next().powf(1.6) * task.classes.len() as f64) as usize;
            tasks.iter().map(label).map(|label| (case % 17 != 5).then_some(label)).collect()
        })
        .collect();
    let probabilities = tasks
        .iter()
        .enumerate()
        .map(|(index, task)| {
            let mut p = Array2::zeros((CASES, task.classes.len()));
            for (case, mut row) in p.rows_mut().into_iter().enumerate() {
                let logit = |class| 3.2 * noise.next() + if labels[case][index] == Some(class) { skill } else { 0.0 };
                let logits: Vec<f64> = (0..task.classes.len()).map(logit).collect();
                row.iter_mut().zip(softmax(&logits)).for_each(|(p, q)| *p = q);
            }
            p
        })
        .collect();
    let basis = (0..CASES).map(|case| if case % 9 == 4 { "clinical" } else { "clinical+dermoscopic+fusion" }.into());
    Predictions {
        tasks,
        ids: (0..CASES).map(|case| format!("case-{case:03}").into()).collect(),
        labels,
        probabilities,
        basis: basis.collect(),
    }
}

/// A drawing in place of a photo.
fn lesion(skin: &str, pigment: &str) -> Vec<u8> {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 160 120'><rect width='160' height='120' fill='{skin}'/>\
         <ellipse cx='82' cy='58' rx='42' ry='33' fill='{pigment}'/>\
         <ellipse cx='70' cy='50' rx='17' ry='14' fill='#2b1710' opacity='.6'/></svg>"
    )
    .into_bytes()
}

fn rows() -> Vec<(String, Evaluation)> {
    let skills =
        [("P_clinical", 0.9), ("P_dermoscopic", 1.15), ("P_fusion", 1.2), ("P_1", 1.25), ("P_2", 1.22), ("P_3", 1.35)];
    skills.iter().map(|(name, skill)| ((*name).into(), Evaluation::of(&predictions(*skill)).unwrap())).collect()
}

fn curve(name: &str, at: impl Fn(f64) -> f64) -> Series {
    Series { name: name.into(), points: (0..60).map(|epoch| (f64::from(epoch), at(f64::from(epoch)))).collect() }
}

fn demo(synthetic: bool) -> Report {
    let (rows, last) = (rows(), predictions(1.35));
    let grouping = |name: &str, groups: &[Option<&str>]| Grouping {
        name: name.into(),
        values: (0..CASES).map(|case| groups[case * 7 % groups.len()].map(Into::into)).collect(),
    };
    let groupings = [
        grouping("sex", &[Some("female"), Some("male"), Some("female"), Some("male"), None]),
        grouping("age", &[Some("0-19"), Some("20-39"), Some("20-39"), Some("40-59"), Some("40-59"), Some("60-79")]),
    ];
    let subgroups: Vec<SubgroupTable> =
        groupings.iter().map(|g| SubgroupTable::of(&last, g, &Bootstrap::default()).unwrap()).collect();
    let samples = [0, 4, 5].map(|case| {
        let sample = SampleCase::of(&last, case).unwrap();
        let sample = sample.with_clinical("image/svg+xml", lesion("#d9a98a", "#7a4630"));
        let metadata = [("location", "upper limbs"), ("elevation", "palpable"), ("sex", "female")];
        let sample = sample.with_metadata(metadata.map(|(name, value)| (name.into(), value.into())).into());
        if case == 4 { sample } else { sample.with_dermoscopic("image/svg+xml", lesion("#e3b48f", "#5d3425")) }
    });
    let steps = (0..=20).flat_map(|a| (0..=20 - a).map(move |b| [f64::from(a), f64::from(b), f64::from(20 - a - b)]));
    let surface: Vec<TernaryPoint> = steps
        .map(|w| {
            let off: f64 = w.iter().zip([4.0, 7.0, 9.0]).map(|(a, b)| (a - b).powi(2)).sum();
            TernaryPoint { weights: w, value: 0.75 - off / 4000.0 }
        })
        .collect();
    Report::new("FusionM4Net on Derm7pt <seed 0>")
        .synthetic(synthetic)
        .note("Two-stage protocol: weights found on the validation cases, classifiers fitted on held-out cases.")
        .leaky_inputs(&["management", "level_of_diagnostic_difficulty"])
        .config(&serde_json::json!({
            "network": {"kind": "fusion_net", "backbone": "resnet50"},
            "training": {"epochs": 250, "batch": 32, "learning_rate": 3e-5, "swa": false},
            "seed": 0,
        }))
        .rows(&rows, Some(&published()))
        .detail("P_3", &rows[5].1, &last)
        .unwrap()
        .curves(
            "Loss",
            &[
                curve("training", |e| 0.5 + 1.1 * (-e / 14.0).exp() + 0.02 * (e * 1.7).sin()),
                curve("validation", |e| 0.8 + 0.8 * (-e / 9.0).exp() + 0.002 * e + 0.03 * (e * 2.3).sin()),
            ],
        )
        .curves("Mean accuracy", &[curve("validation", |e| 0.75 - 0.2 * (-e / 11.0).exp() + 0.004 * (e * 3.1).sin())])
        .curves("Learning rate", &[curve("lr", |e| 1.5e-5 * (1.0 + (std::f64::consts::PI * e / 60.0).cos()))])
        .weight_search("Validation accuracy over branch weights", ["clinical", "dermoscopic", "fusion"], &surface)
        .subgroups(&subgroups)
        .samples(samples.into())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Two rows with all that a row can have.
fn published() -> PublishedTable {
    let row = |name: &str, mean: f64, deviation: f64| PublishedRow {
        name: name.into(),
        accuracy: Some(Printed { mean, deviation: Some(deviation) }),
        auc: Some(Printed { mean: 86.2, deviation: Some(0.3) }),
        tasks: [("BWV".to_owned(), 84.8), ("diag".to_owned(), 68.2)].into(),
        ..PublishedRow::default()
    };
    PublishedTable {
        source: "Somebody et al., Table 6".into(),
        data: "derm7pt".into(),
        protocol: "Derm7pt, published split, 395 test cases".into(),
        runs: Some(5),
        friedman_p: None,
        rows: vec![row("P_clinical", 67.7, 0.3), row("P_3", 76.3, 0.7)],
    }
}

#[test]
fn the_page_is_closed_in_itself_and_small() {
    let path = folder("report").join("report.html");
    demo(false).write(&path).unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script") && !page.contains("url("));
    for source in page.split("src=\"").skip(1) {
        assert!(source.starts_with("data:"), "{}", &source[..40]);
    }
    for target in page.split("href=\"").skip(1) {
        assert!(target.starts_with('#'), "{}", &target[..40]);
    }
    assert!(!page.contains("NaN"));
    for expected in
        ["not a medical device", "level_of_diagnostic_difficulty", "over 17 classes", "published", "no image"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(page.contains("in 13 of 120 cases") && page.contains("Where an input is missing"));
    assert_eq!(demo(false).to_html(), page);
}

#[test]
fn published_numbers_do_not_stand_beside_synthetic_data() {
    let page = demo(false).to_html();
    for expected in
        ["67.7", "± 0.3", "84.8", "68.2", "86.2 ± 0.3", "Published: Somebody et al., Table 6, Derm7pt, published split"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    let page = demo(true).to_html();
    assert!(page.contains("Synthetic data.") && !page.contains("class=\"published\""));
}

#[test]
fn printed_scores_stand_beside_compared_methods_of_the_same_name() {
    let names = ["P_clinical".to_owned(), "ours".to_owned()];
    let scores = Array2::from_shape_fn((4, 2), |(block, method)| 60.0 + block as f64 + 5.0 * method as f64);
    let blocks: Vec<String> = (1..=4).map(|fold| format!("fold {fold}")).collect();
    let comparison = Comparison::of(&names, &blocks, &scores).unwrap();
    let table = PublishedTable { friedman_p: Some(1.99e-24), ..published() };
    let page = |published| Report::new("").comparison("Accuracy", &comparison, published).to_html();
    let accuracies = page(Some((&table, PublishedScore::Accuracy)));
    for expected in ["67.7 ± 0.3", "(published: ", "Published: Somebody et al., Table 6, Derm7pt, published split"] {
        assert!(accuracies.contains(expected), "{expected}");
    }
    assert!(page(Some((&table, PublishedScore::Auc))).contains("86.2 ± 0.3"));
    assert!(!page(Some((&table, PublishedScore::MacroF1))).contains(" ± 0.3<"));
    let alone = page(None);
    assert!(!alone.contains("Published: ") && !alone.contains(">published<") && !alone.contains("(published: "));
    assert!(table.prints(PublishedScore::Auc) && !table.prints(PublishedScore::MacroF1));
}

#[test]
fn columns_are_in_the_order_of_the_fields_tables() {
    let page = demo(false).to_html();
    let at = |label: &str| page.find(&format!(">{label}</th>")).unwrap();
    let places: Vec<usize> = ["BWV", "DaG", "PIG", "PN", "RS", "STR", "VS", "DIAG"].map(at).into();
    assert!(places.is_sorted());
}

#[test]
fn everything_from_outside_is_escaped() {
    let evil = "<script>alert(\"1\")</script>&";
    let tasks = TaskSet::new(vec![Task::new(evil, evil, [evil, "b"])]).unwrap();
    let predictions = Predictions {
        tasks,
        ids: vec![evil.into()],
        labels: vec![vec![Some(0)]],
        probabilities: vec![Array2::from_elem((1, 2), 0.5)],
        basis: vec![evil.into()],
    };
    let evaluation = Evaluation::of(&predictions).unwrap();
    let grouping = Grouping { name: evil.into(), values: vec![Some(evil.into())] };
    let sample = SampleCase::of(&predictions, 0).unwrap().with_clinical("\"><script>", vec![1]);
    let page = Report::new(evil)
        .note(evil)
        .leaky_inputs(&[evil])
        .config_pairs([(evil, evil)])
        .rows(&[(evil.into(), evaluation.clone())], None)
        .detail(evil, &evaluation, &predictions)
        .unwrap()
        .curves(evil, &[Series { name: evil.into(), points: vec![] }])
        .weight_search(evil, [evil; 3], &[TernaryPoint { weights: [1.0, 0.0, 0.0], value: 0.5 }])
        .subgroups(&[SubgroupTable::of(&predictions, &grouping, &Bootstrap::default()).unwrap()])
        .samples(vec![sample.with_metadata(vec![(evil.into(), evil.into())])])
        .to_html();
    assert!(!page.contains("<script"), "unescaped");
    assert!(page.contains("&lt;script&gt;alert"));
    assert!(page.contains("n/a"));
}

#[test]
fn a_detail_must_be_of_the_same_tasks() {
    let one = TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap();
    let other = Predictions {
        tasks: one,
        ids: vec![],
        labels: vec![],
        probabilities: vec![Array2::zeros((0, 2))],
        basis: vec![],
    };
    let error = Report::new("r").detail("P_3", &Evaluation::of(&predictions(1.0)).unwrap(), &other).unwrap_err();
    assert!(matches!(error, EvalError::Tasks { .. }), "{error}");
}

#[test]
fn an_empty_report_is_a_page() {
    let page = Report::new("nothing yet").to_html();
    assert!(page.contains("nothing yet") && !page.contains("<nav"));
    let none = Evaluation::of(&predictions(1.0).select(&[])).unwrap();
    assert!(Report::new("r").rows(&[("P_1".into(), none)], None).to_html().contains("n/a"));
}

#[test]
fn metrics_and_predictions_are_written_the_same_every_time() {
    let folder = folder("export");
    let (rows, last) = (rows(), predictions(1.35));
    write_metrics(folder.join("metrics.json"), &rows, &MetricsContext::default()).unwrap();
    let text = std::fs::read_to_string(folder.join("metrics.json")).unwrap();
    assert_eq!(text, metrics_json(&self::rows(), &MetricsContext::default()).unwrap());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["rows"][5]["name"], "P_3");
    let read: Evaluation = serde_json::from_value(value["rows"][5]["evaluation"].clone()).unwrap();
    assert_eq!(read, rows[5].1);

    write_predictions(folder.join("predictions.csv"), &[("P_3", &last)], &[]).unwrap();
    let text = std::fs::read_to_string(folder.join("predictions.csv")).unwrap();
    assert_eq!(text, predictions_csv(&[("P_3", &last)], &[]).unwrap());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + CASES * 24);
    assert_eq!(lines[0], "row,case,basis,task,truth,predicted,class,probability,status");
    assert!(lines[1].starts_with("P_3,case-000,clinical+dermoscopic+fusion,diagnosis,"), "{}", lines[1]);
    let unlabelled = lines.iter().find(|line| line.starts_with("P_3,case-005,")).unwrap();
    assert!(unlabelled.contains(",diagnosis,,"), "{unlabelled}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn cases_that_the_model_knows_are_a_warning() {
    let seen = |trained| SeenCases { cases: 40, trained, selected: 0, same_data_set: true, known: true };
    let page = |trained| Report::new("r").seen(seen(trained)).to_html();
    assert!(page(0).contains("<p class=\"note\">0 of 40 cases trained or selected this model.</p>"));
    assert!(page(27).contains("27 of 40 cases trained or selected this model") && page(27).contains("banner leak"));
    let context =
        MetricsContext { seen: Some(seen(27)), notes: vec!["one file could not be read".into()], ..Default::default() };
    let value: serde_json::Value = serde_json::from_str(&metrics_json(&rows(), &context).unwrap()).unwrap();
    assert_eq!((value["seen"]["trained"].as_u64(), value["seen"]["cases"].as_u64()), (Some(27), Some(40)));
    assert_eq!(value["notes"][0], "one file could not be read");
}

#[test]
fn a_case_without_an_answer_has_a_line_with_the_reason() {
    let failed = FailedCase { row: 3, id: "b".into(), reason: "b.jpg: damaged, copy it again".into() };
    let text = predictions_csv(&[("P_1", &predictions(1.0).select(&[0]))], &[failed]).unwrap();
    let mut lines = text.lines();
    let columns = lines.next().unwrap().split(',').count();
    assert!(lines.clone().rev().skip(1).all(|line| line.ends_with(",ok") && line.split(',').count() == columns));
    assert_eq!(lines.next_back(), Some(",b,,,,,,,\"b.jpg: damaged, copy it again\""));
}

#[test]
fn csv_fields_are_quoted() {
    let mut predictions = predictions(1.0).select(&[0]);
    predictions.ids = vec!["a \"b\", c".into()];
    assert!(predictions_csv(&[("P,1", &predictions)], &[]).unwrap().contains("\n\"P,1\",\"a \"\"b\"\", c\","));
}

#[test]
fn no_text_of_the_csv_is_a_formula_and_all_are_read_back() {
    let ids = ["=cmd|' /C calc'!A0", "+1", "-x", "@x", "\t=1", "'=1", "'tis", "a;=1", "\"=1\", b", "case\n-1", "plain"];
    for id in ids {
        let mut predictions = predictions(1.0).select(&[0]);
        predictions.ids = vec![id.into()];
        let text = predictions_csv(&[("=P", &predictions)], &[]).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 24);
        for record in &records {
            assert_eq!((&*from_spreadsheet(&record[0]), &*from_spreadsheet(&record[1])), ("=P", id));
            assert!(record.iter().all(|value| !value.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{record:?}");
            assert!(record[7].parse::<f64>().is_ok(), "numbers stay numbers");
        }
    }
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let path = folder("unwritable").join("missing").join("report.html");
    let error = Report::new("r").write(&path).unwrap_err();
    assert!(error.to_string().contains("report.html"), "{error}");
    assert!(write_metrics(&path, &[], &MetricsContext::default()).is_err());
}
