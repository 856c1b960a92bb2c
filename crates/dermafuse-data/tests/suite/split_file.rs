use dermafuse_data::{CaseSet, DataError, FoldConfig, FoldGrouping, Folds, LoadedSplit, Split, TableChanges};
use dermafuse_schema::{Case, Task, TaskSet};
use proptest::prelude::*;

use crate::fixture::case_set;

/// Sixty cases `c00` … of one task, each a group of its own.
fn sixty() -> CaseSet {
    let mut set = case_set(&(0..60).map(|row| (row, Some(row % 2))).collect::<Vec<_>>());
    for (row, case) in set.cases.iter_mut().enumerate() {
        *case = Case { labels: case.labels.clone(), ..Case::new(format!("c{row:02}")) };
    }
    set
}

struct Saved {
    folder: tempfile::TempDir,
    split: Split,
    set: CaseSet,
}

impl Saved {
    fn new() -> Self {
        let set = sixty();
        let split = Split::stratified(&set, 0, [0.6, 0.2, 0.2], 7).unwrap();
        let saved = Self { folder: tempfile::tempdir().unwrap(), split, set };
        saved.split.save(saved.path(), &saved.set).unwrap();
        saved
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("split.json")
    }

    fn load(&self, set: &CaseSet) -> Result<LoadedSplit, String> {
        Split::load(self.path(), set).map_err(|error| self.text(&error))
    }

    fn allow(&self, set: &CaseSet) -> LoadedSplit {
        Split::load_with(self.path(), set, TableChanges::Allow).unwrap()
    }

    fn text(&self, error: &DataError) -> String {
        error.to_string().replace(self.path().to_str().unwrap(), "split.json")
    }

    /// The error after a piece of the file was replaced.
    fn broken(&self, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(self.path()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(self.path(), text.replacen(from, to, 1)).unwrap();
        let error = self.load(&self.set).unwrap_err();
        std::fs::write(self.path(), text).unwrap();
        error
    }
}

fn ids(set: &CaseSet, rows: &[usize]) -> Vec<String> {
    rows.iter().map(|&row| set.cases[row].id.to_string()).collect()
}

fn parts(set: &CaseSet, split: &Split) -> [Vec<String>; 3] {
    [&split.train, &split.valid, &split.test].map(|rows| ids(set, rows))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_order_and_length_of_the_table_do_not_matter(
        order in Just((0..60_usize).collect::<Vec<_>>()).prop_shuffle(),
        new in prop::collection::btree_set(0_usize..60, 0..6),
    ) {
        let saved = Saved::new();
        let mut set = CaseSet { cases: order.iter().map(|&row| saved.set.cases[row].clone()).collect(), ..saved.set.clone() };
        for &at in &new {
            set.cases.insert(at, Case { labels: vec![Some(0)], ..Case::new(format!("new {at}")) });
        }
        let loaded = saved.load(&set).unwrap();
        prop_assert_eq!(parts(&set, &loaded.split), parts(&saved.set, &saved.split));
        prop_assert_eq!(loaded.notes.len(), usize::from(!new.is_empty()));

        let folds = Folds::new(&saved.set, &FoldConfig { hold_out: Some(0.2), ..FoldConfig::new(3, 1) }).unwrap();
        let path = saved.folder.path().join("folds.csv");
        folds.save(&path, &saved.set).unwrap();
        let again = Folds::load(&path, &set, 0, FoldGrouping::Grouped).unwrap();
        let sorted = |set: &CaseSet, rows: &[usize]| {
            let mut ids = ids(set, rows);
            ids.sort();
            ids
        };
        for fold in 0..3 {
            prop_assert_eq!(sorted(&set, again.rows(fold)), sorted(&saved.set, folds.rows(fold)));
        }
        prop_assert_eq!(sorted(&set, again.held_out()), sorted(&saved.set, folds.held_out()));
        prop_assert_eq!(again.notes().len(), usize::from(!new.is_empty()));
        // Cases without a fold have none after the disk, either.
        again.save(&path, &set).unwrap();
        prop_assert_eq!(Folds::load(&path, &set, 0, FoldGrouping::Grouped).unwrap(), again);
    }
}

#[test]
fn cases_that_are_new_are_named_and_in_no_part() {
    let saved = Saved::new();
    let mut set = saved.set.clone();
    set.cases.insert(0, Case { labels: vec![Some(1)], ..Case::new("c99") });
    let LoadedSplit { split, notes } = saved.load(&set).unwrap();
    assert_eq!(notes, ["1 of 61 cases of `test` are in no part, because the split does not name them: c99"]);
    assert!([&split.train, &split.valid, &split.test].into_iter().all(|rows| !rows.contains(&0)));

    // Those that a split leaves out on purpose are not new.
    let few = Split::new(vec![0], vec![1], vec![2], 60).unwrap();
    few.save(saved.path(), &saved.set).unwrap();
    assert_eq!(saved.load(&saved.set).unwrap(), LoadedSplit { split: few, notes: vec![] });
}

#[test]
fn a_split_without_validation_comes_back_as_one() {
    let saved = Saved::new();
    let split = Split::without_validation((0..40).collect(), (40..60).collect(), 60).unwrap();
    split.save(saved.path(), &saved.set).unwrap();
    let mut set = saved.set.clone();
    assert_eq!(saved.load(&set).unwrap(), LoadedSplit { split, notes: vec![] });
    set.cases.reverse();
    let LoadedSplit { split, .. } = saved.load(&set).unwrap();
    assert!(split.valid.is_empty() && split.test.contains(&0));
}

#[test]
fn a_split_without_test_comes_back_as_one() {
    let saved = Saved::new();
    let split = Split::stratified_without_test(&saved.set, 0, 0.25, 3).unwrap();
    split.save(saved.path(), &saved.set).unwrap();
    assert_eq!(saved.load(&saved.set).unwrap(), LoadedSplit { split, notes: vec![] });
}

#[test]
fn cases_that_are_missing_are_named_and_left_out_only_on_request() {
    let saved = Saved::new();
    let mut set = saved.set.clone();
    let gone: Vec<String> = saved.split.test.iter().take(7).map(|&row| set.cases[row].id.to_string()).collect();
    set.cases.retain(|case| !gone.contains(&case.id.to_string()));
    let list = format!("{} and 2 more", gone[..5].join(", "));
    assert_eq!(
        saved.load(&set).unwrap_err(),
        format!(
            "split.json: 7 of 60 cases are not in `test`: {list}; give the set that it was made for, or allow changes of the \
             table to leave them out"
        )
    );
    let LoadedSplit { split, notes } = saved.allow(&set);
    assert_eq!((split.test.len(), split.train.len()), (saved.split.test.len() - 7, saved.split.train.len()));
    assert_eq!(notes, [format!("7 of 60 cases of {} are not in `test` and left out: {list}", saved.path().display())]);

    set.cases.retain(|case| ids(&saved.set, &saved.split.train).contains(&case.id.to_string()));
    let text = Split::load_with(saved.path(), &set, TableChanges::Allow).unwrap_err().to_string();
    assert!(text.starts_with("the validation part of the split is empty"), "{text}");
}

#[test]
fn labels_that_have_changed_are_named() {
    let saved = Saved::new();
    let mut set = saved.set.clone();
    set.cases[3].labels = vec![Some(0)];
    set.cases[4].labels = vec![Some(1)];
    assert_eq!(
        saved.load(&set).unwrap_err(),
        "split.json: 2 labels are others in `test`: c03 (t: b, now a), c04 (t: a, now b); if the identities are still those of \
         the same cases, make it anew or allow changes of the table"
    );
    let loaded = saved.allow(&set);
    assert_eq!(loaded.split, saved.split);
    assert!(loaded.notes[0].starts_with("2 labels of `test` are not those of "), "{:?}", loaded.notes);

    // The number of a class may change, its name may not; other differences are noticed by the fingerprint.
    let mut set = saved.set.clone();
    set.tasks = TaskSet::new(vec![Task::new("t", "T", ["b", "a"])]).unwrap();
    set.cases.iter_mut().for_each(|case| case.labels[0] = case.labels[0].map(|label| 1 - label));
    assert!(saved.load(&set).unwrap().notes.is_empty());
    set.cases[0].labels = vec![None];
    assert!(
        saved.load(&set).unwrap().notes[0].starts_with("the set is labelled otherwise than when the split was made")
    );
    let set = CaseSet { name: "other".into(), ..saved.set.clone() };
    assert_eq!(saved.load(&set).unwrap().notes, ["the split was made for `test`, and this is `other`"]);
}

#[test]
fn a_file_of_row_numbers_is_refused_with_the_way_out() {
    let saved = Saved::new();
    std::fs::write(saved.path(), r#"{"train":[0,1],"valid":[2],"test":[3]}"#).unwrap();
    assert_eq!(
        saved.load(&saved.set).unwrap_err(),
        "split.json: the split is one of row numbers, from before splits named their cases; make the split anew and save it: \
         the same set, fractions and seed give the same cases"
    );
    for (text, found) in [
        (r#"{"format":"2","train":[]}"#, "`format` is \"2\", where this version reads 2"),
        (r#"{"format":3}"#, "`format` is 3, where this version reads 2"),
        ("{}", "there is neither `format` nor `train`, so it is no split"),
    ] {
        std::fs::write(saved.path(), text).unwrap();
        let error = saved.load(&saved.set).unwrap_err();
        assert!(error.starts_with(&format!("split.json: {found}; make the split anew")), "{error}");
    }
    std::fs::write(saved.path(), r#"{"format":2,"train": ["#).unwrap();
    assert!(saved.load(&saved.set).unwrap_err().starts_with("split.json: EOF"));
    let text = Split::load(saved.folder.path(), &saved.set).unwrap_err().to_string();
    assert!(text.contains("it is no file"), "{text}");
}

#[test]
fn what_is_read_is_checked_as_what_is_built() {
    let saved = Saved::new();
    let [train, _, test] = parts(&saved.set, &saved.split);
    let (one, other) = (format!("\"train\":[\"{}\"", train[0]), format!("\"train\":[\"{}\"", test[0]));
    assert_eq!(
        saved.broken(&one, &other),
        format!(
            "split.json: case `{}` is in the training part of the split and again in the test part; parts must be disjoint",
            test[0]
        )
    );
    let text = saved.broken(&one, &format!("{one},\"{}\"", train[0]));
    assert!(text.contains("in the training part of the split and again in the training part"), "{text}");
    let text = saved.broken("\"labels\"", "\"leaks\":[\"test_selects\"],\"labels\"");
    assert!(text.starts_with("validation part of the split: 12 validation cases and 12 test cases is not"), "{text}");
    let text = saved.broken("\"data_set\"", "\"rows\":1,\"data_set\"");
    assert!(text.contains("unknown field `rows`"), "{text}");

    // Groups are those of the set that it is read for.
    let mut set = saved.set.clone();
    let row = |id: &str| set.cases.iter().position(|case| case.id.as_str() == id).unwrap();
    for row in [row(&train[0]), row(&test[0])] {
        set.cases[row].group = "one patient".into();
    }
    let text = saved.load(&set).unwrap_err();
    assert_eq!(
        text,
        format!(
            "group `one patient` is in the training part of the split and in the test part (cases `{}` and `{}`); what shares \
             a patient, a lesion or an identical image must stay on one side",
            train[0], test[0]
        )
    );
    let mut set = saved.set.clone();
    set.cases[1].id = "c00".into();
    assert!(saved.load(&set).unwrap_err().starts_with("case `c00`: identity: expected a unique one"));

    // Nothing is written of a split that does not fit its set.
    let split = Split::new(vec![70], vec![1], vec![2], 80).unwrap();
    let path = saved.folder.path().join("none.json");
    assert!(split.save(&path, &saved.set).unwrap_err().to_string().contains("names row 70"));
    assert!(!path.exists());
}
