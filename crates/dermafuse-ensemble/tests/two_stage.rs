//! From logits to all rows of the paper's tables, and what is refused on the way.

use dermafuse_ensemble::{
    ClassifierCluster, ClassifierKind, EnsembleError, MixSearch, SecondStage, SecondStageInputs, TwoStage,
    WeightSearch, records,
};
use dermafuse_schema::ndarray::{Array2, Array3, array};
use dermafuse_schema::{Branch, BranchLogits, Cohort, FuseSpace, Task, TaskSet};

/// 60 cases, two tasks, two branches that are each right about some cases; every tenth case lacks metadata and every
/// ninth the dermoscopic branch.
fn logits() -> BranchLogits {
    let tasks =
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["a", "b", "c"]), Task::new("streaks", "STR", ["no", "yes"])]);
    let n = 60;
    let label = |case: usize| [case * 7 % 5 % 3, case * 3 % 4 / 2];
    let has_metadata: Vec<bool> = (0..n).map(|case| case % 10 != 0).collect();
    let cohort = Cohort {
        ids: (0..n).map(|case| format!("case {case}").into()).collect(),
        groups: (0..n).map(|case| format!("patient {}", case / 2)).collect(),
        labels: (0..n).map(|case| label(case).map(Some).to_vec()).collect(),
        metadata: Array2::from_shape_fn((n, 3), |(case, column)| {
            if has_metadata[case] { f64::from(u8::from(label(case)[0] == column)) } else { 0.0 }
        }),
        has_metadata,
    };
    let branch = |name: &str, phase: usize, available: Vec<bool>| Branch {
        name: name.into(),
        available,
        logits: [3, 2]
            .iter()
            .enumerate()
            .map(|(task, &classes)| {
                Array3::from_shape_fn((2, n, classes), |(view, case, class)| {
                    let noise = ((case * 31 + class * 17 + view * 7 + phase * 13) % 23) as f32 / 12.0;
                    noise + if label(case)[task] == class { 0.8 } else { 0.0 }
                })
            })
            .collect(),
    };
    let branches = vec![
        branch("clinical", 0, vec![true; n]),
        branch("dermoscopic", 5, (0..n).map(|case| case % 9 != 0).collect()),
    ];
    BranchLogits { tasks: tasks.unwrap(), cohort, branches, looks: vec![] }
}

#[test]
fn the_rows_of_the_tables_fit_together() {
    let logits = logits();
    let found = WeightSearch { steps: 12, ..WeightSearch::default() }.fit(&logits).unwrap();
    let first = logits.fuse(&found.weights, found.space).unwrap();
    assert_eq!(first.mean_accuracy(), Some(found.score));
    let params = ClassifierCluster::params(ClassifierKind::Svm, 1);
    let second_stage = SecondStage::fit(&params, &first, &logits.cohort).unwrap();
    assert_eq!(second_stage.cluster.report().tasks[0].records, 54);
    assert_eq!(second_stage.cluster.features(), 3 + 2 + 3);
    let second = second_stage.apply(&first, &logits.cohort).unwrap();
    let mix = MixSearch::default().fit(&first, &second).unwrap();

    let (branch_weights, fuse_space) = (found.weights, found.space);
    let two_stage = TwoStage::new(branch_weights, fuse_space, Some(second_stage), mix.weight).unwrap();
    let rows = two_stage.apply(&logits).unwrap();
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["P_clinical", "P_dermoscopic", "P_1 averaged", "P_1", "P_2", "P_3 averaged", "P_3"];
    assert_eq!(names, expected);
    assert_eq!(rows[6].1.mean_accuracy(), Some(mix.score));
    assert!(rows[4].1.accuracy(0) > rows[3].1.accuracy(0), "the metadata give the diagnosis away");
    // case 0 has no metadata and no dermoscopic image
    for (name, row) in &rows[3..] {
        assert_eq!(row.probabilities[0].row(0), rows[3].1.probabilities[0].row(0), "{name}");
        assert_eq!(row.basis[0], "clinical", "{name}");
    }
    assert_eq!(rows[4].1.basis[1], "clinical+dermoscopic+metadata");
    assert_eq!(rows[6].1.basis[1], "clinical+dermoscopic+metadata");

    let read: TwoStage = serde_json::from_str(&serde_json::to_string(&two_stage).unwrap()).unwrap();
    assert_eq!(read.apply(&logits).unwrap(), rows);
    let without = TwoStage { second_stage: None, ..two_stage };
    assert_eq!(without.apply(&logits).unwrap(), rows[..4]);
}

#[test]
fn a_cluster_over_the_metadata_alone_is_the_only_answer() {
    let logits = logits();
    let first = logits.fuse(&logits.equal_weights(), FuseSpace::Probabilities).unwrap();
    let params = ClassifierCluster::params(ClassifierKind::Svm, 1);
    let stage = SecondStage::fit_to_metadata(&params, &first, &logits.cohort).unwrap();
    assert_eq!((stage.cluster.features(), stage.inputs), (3, SecondStageInputs::Metadata));
    let (weights, space) = (logits.equal_weights(), FuseSpace::Probabilities);
    let two_stage = TwoStage::new(weights.clone(), space, Some(stage.clone()), 0.0).unwrap();
    two_stage.check(&logits.tasks, &["clinical", "dermoscopic"], 3).unwrap();
    assert!(matches!(
        two_stage.check(&logits.tasks, &["clinical", "dermoscopic"], 8),
        Err(EnsembleError::Width { expected: 3, found: 8 })
    ));

    let rows = two_stage.apply(&logits).unwrap();
    let [(name, second)] = &rows[..] else { panic!("one row, not {}", rows.len()) };
    assert_eq!(name, "P_2");
    // The cases' images have no say: only what the metadata tell apart differs.
    let column = |case: usize| logits.cohort.metadata.row(case).iter().position(|value| *value == 1.0);
    for case in (1..60).filter(|case| case % 10 != 0) {
        let twin = (1..60).find(|&other| other % 10 != 0 && column(other) == column(case)).unwrap();
        assert_eq!(second.probabilities[0].row(case), second.probabilities[0].row(twin), "{case} and {twin}");
    }
    // Case 0 has no metadata: it stays what the branches say.
    assert_eq!(second.probabilities[0].row(0), first.probabilities[0].row(0));

    let text = serde_json::to_string(&two_stage).unwrap();
    assert_eq!(serde_json::from_str::<TwoStage>(&text).unwrap(), two_stage);
    let error = TwoStage::new(weights, space, Some(stage), 0.5).unwrap_err().to_string();
    assert_eq!(error, "mixing weight: 0.5 is not 0, since the second stage looks at the metadata alone");
    let published = SecondStage::fit(&params, &first, &logits.cohort).unwrap();
    assert!(!serde_json::to_string(&published).unwrap().contains("inputs"), "files of others stay as they were");
}

#[test]
fn records_are_probabilities_in_the_order_of_the_tasks_then_metadata() {
    let logits = logits();
    let first = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();
    let table = records(&first, &logits.cohort).unwrap();
    assert_eq!(table.dim(), (60, 8));
    assert_eq!(table[[7, 4]], first.probabilities[1][[7, 1]]);
    assert_eq!(table[[7, 5]], logits.cohort.metadata[[7, 0]]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let logits = logits();
    let first = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();
    let params = ClassifierCluster::params(ClassifierKind::Logistic, 1);
    let stage = SecondStage::fit(&params, &first, &logits.cohort).unwrap();
    let message = |result: Result<_, EnsembleError>| -> String { result.map(|_: ()| ()).unwrap_err().to_string() };

    let shifted = logits.cohort.select(&(1..60).chain([0]).collect::<Vec<_>>());
    assert_eq!(
        message(stage.apply(&first, &shifted).map(|_| ())),
        "the predictions and the cohort list different cases at row 0: `case 0` and `case 1`"
    );
    let mut wider = logits.cohort.clone();
    wider.metadata = Array2::zeros((60, 4));
    assert_eq!(
        message(stage.apply(&first, &wider).map(|_| ())),
        "records have 9 features, but the classifier was fitted on 8; encode them the same way"
    );
    let mut other = first.clone();
    other.tasks = TaskSet::new(vec![Task::new("colour", "C", ["a", "b"])]).unwrap();
    assert_eq!(
        message(stage.apply(&other, &logits.cohort).map(|_| ())),
        r#"predictions are of the tasks ["colour"], but the cluster was fitted on ["diagnosis", "streaks"]; fit one for these tasks"#
    );
    let mut bare = logits.cohort.clone();
    bare.has_metadata.fill(false);
    assert_eq!(
        message(SecondStage::fit(&params, &first, &bare).map(|_| ())),
        "task `diagnosis` has 0 labelled records; at least 2 are needed to fit a classifier"
    );
}

#[test]
fn a_two_stage_is_checked_against_a_model() {
    let logits = logits();
    let (tasks, branches) = (&logits.tasks, ["clinical", "dermoscopic"]);
    let first = logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap();
    let params = ClassifierCluster::params(ClassifierKind::Svm, 1);
    let stage = SecondStage::fit(&params, &first, &logits.cohort).unwrap();
    let two_stage = TwoStage::new(logits.equal_weights(), FuseSpace::Logits, Some(stage), 0.3).unwrap();
    two_stage.check(tasks, &branches, 3).unwrap();
    assert!(two_stage.notes().is_empty(), "{:?}", two_stage.notes());
    let message =
        |tasks: &TaskSet, branches: &[&str], width| two_stage.check(tasks, branches, width).unwrap_err().to_string();
    assert_eq!(
        message(tasks, &branches, 4),
        "records have 9 features, but the classifier was fitted on 8; encode them the same way"
    );
    assert_eq!(message(tasks, &["clinical"], 3), "unknown branch `dermoscopic`; known: clinical");
    let renamed =
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["a", "b", "x"]), Task::new("streaks", "STR", ["no", "yes"])]);
    assert_eq!(
        message(&renamed.unwrap(), &branches, 3),
        r#"predictions are of the tasks ["diagnosis (a, b, x)", "streaks (no, yes)"], but the cluster was fitted on ["diagnosis (a, b, c)", "streaks (no, yes)"]; fit one for these tasks"#
    );

    let mut stored = serde_json::to_value(&two_stage).unwrap();
    stored["mix"] = 1.5.into();
    let error = serde_json::from_value::<TwoStage>(stored).unwrap_err().to_string();
    assert_eq!(error, "mixing weight: 1.5 is not within 0..=1");
    assert!(TwoStage::new(logits.equal_weights(), FuseSpace::Logits, None, f64::NAN).is_err());
}

#[test]
fn a_cluster_names_the_record_that_is_wrong() {
    let tasks = TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap();
    let groups: Vec<String> = (0..3).map(|row| row.to_string()).collect();
    let fit = |records: Array2<f64>, labels: &[Vec<Option<usize>>]| {
        let params = ClassifierCluster::params(ClassifierKind::Svm, 0);
        params.fit(records.view(), labels, &tasks, &groups).unwrap_err().to_string()
    };
    let good = || array![[0.0], [1.0], [2.0]];
    assert_eq!(
        fit(array![[0.0], [1.0], [f64::INFINITY]], &[vec![None], vec![Some(0)], vec![Some(1)]]),
        "record 2, column 0 is inf; impute or drop non-finite features first"
    );
    assert_eq!(
        fit(good(), &[vec![None], vec![Some(0)], vec![Some(2)]]),
        "record 2 has label 2, but there are 2 classes (0 to 1)"
    );
    assert_eq!(
        fit(good(), &[vec![None], vec![Some(0)], vec![]]),
        "labels of record 2 (as in the tasks): 0 rows, but there are 1 records"
    );
}

#[test]
fn a_task_with_one_class_gives_a_constant_classifier_that_is_reported() {
    let tasks = TaskSet::new(vec![Task::new("t", "T", ["a", "b", "c"])]).unwrap();
    let groups: Vec<String> = (0..3).map(|row| row.to_string()).collect();
    for kind in ClassifierKind::ALL {
        let params = ClassifierCluster::params(kind, 0);
        let records = array![[0.0], [1.0], [2.0]];
        let cluster = params.fit(records.view(), &vec![vec![Some(1)]; 3], &tasks, &groups).unwrap();
        let fit = &cluster.report().tasks[0];
        assert_eq!((fit.constant.as_deref(), fit.absent.join(" ")), (Some("b"), "a c".to_owned()));
        assert_eq!(cluster.predict(records.view()).unwrap()[0].row(2), array![0.0, 1.0, 0.0]);
    }
}
