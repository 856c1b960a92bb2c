use dermafuse_data::Split;
use proptest::prelude::*;

use crate::fixture::case_set;

fn error(train: &[usize], valid: &[usize], test: &[usize]) -> String {
    Split::new(train.to_vec(), valid.to_vec(), test.to_vec(), 5).unwrap_err().to_string()
}

#[test]
fn bad_splits_are_refused() {
    assert_eq!(error(&[0], &[], &[1]), "the validation part of the split is empty; every part needs at least one case");
    assert_eq!(
        error(&[0], &[1], &[5]),
        "the test part of the split names row 5, but there are only 5 cases (rows count from 0)"
    );
    assert_eq!(
        error(&[0, 1], &[2], &[1]),
        "row 1 is in the training part of the split and again in the test part; parts must be disjoint"
    );
    assert!(error(&[0, 0], &[2], &[1]).contains("training part of the split and again in the training part"));
}

#[test]
fn a_group_on_both_sides_is_refused() {
    let set = case_set(&[(0, Some(0)), (1, Some(1)), (1, Some(0)), (2, None)]);
    let split = Split::new(vec![0, 1], vec![2], vec![3], 4).unwrap();
    let text = split.check(&set).unwrap_err().to_string();
    assert!(text.starts_with("group `g1` is in the training part of the split and in the validation part"), "{text}");
}

#[test]
fn halves_follow_the_file_order() {
    let split = Split::new((0..413).rev().collect(), vec![413], vec![414], 415).unwrap();
    let (first, second) = split.half_in_order();
    assert_eq!((first.len(), second.len()), (206, 207));
    assert_eq!((first[0], first[205], second[0]), (0, 205, 206));
}

#[test]
fn stratification_keeps_the_shares_of_each_class() {
    let cases: Vec<_> = (0..200).map(|row| (row, Some(usize::from(row % 10 == 0)))).collect();
    let set = case_set(&cases);
    let split = Split::stratified(&set, 0, [0.6, 0.2, 0.2], 9).unwrap();
    assert_eq!(set.view(&split.train).unwrap().class_counts(0).unwrap(), [108, 12]);
    assert_eq!(set.view(&split.valid).unwrap().class_counts(0).unwrap(), [36, 4]);
    assert_eq!(set.view(&split.test).unwrap().class_counts(0).unwrap(), [36, 4]);
    assert_eq!(split, Split::stratified(&set, 0, [3.0, 1.0, 1.0], 9).unwrap());
    assert_ne!(split, Split::stratified(&set, 0, [0.6, 0.2, 0.2], 10).unwrap());
}

#[test]
fn a_split_without_validation_is_asked_for() {
    let cases: Vec<_> = (0..200).map(|row| (row, Some(usize::from(row % 10 == 0)))).collect();
    let set = case_set(&cases);
    let split = Split::stratified(&set, 0, [0.8, 0.0, 0.2], 9).unwrap();
    assert_eq!(set.view(&split.train).unwrap().class_counts(0).unwrap(), [144, 16]);
    assert_eq!(set.view(&split.test).unwrap().class_counts(0).unwrap(), [36, 4]);
    assert!(split.valid.is_empty() && split.leaks().is_empty());
    assert_eq!(Split::without_validation(split.train.clone(), split.test.clone(), 200).unwrap(), split);

    let error = |train: &[usize], test: &[usize]| {
        Split::without_validation(train.to_vec(), test.to_vec(), 5).unwrap_err().to_string()
    };
    assert_eq!(error(&[], &[1]), "the training part of the split is empty; every part needs at least one case");
    assert_eq!(error(&[1], &[]), "the test part of the split is empty; every part needs at least one case");
    assert!(error(&[0, 1], &[1]).starts_with("row 1 is in the training part of the split and again in the test part"));
}

#[test]
fn a_split_without_test_is_asked_for() {
    let cases: Vec<_> = (0..200).map(|row| (row / 2, Some(usize::from(row / 2 % 10 == 0)))).collect();
    let set = case_set(&cases);
    let split = Split::stratified_without_test(&set, 0, 0.2, 9).unwrap();
    assert_eq!(set.view(&split.train).unwrap().class_counts(0).unwrap(), [144, 16]);
    assert_eq!(set.view(&split.valid).unwrap().class_counts(0).unwrap(), [36, 4]);
    assert!(split.test.is_empty() && split.leaks().is_empty());
    assert_eq!(Split::without_test(split.train.clone(), split.valid.clone(), 200).unwrap(), split);
    // Both cases of a group are on one side.
    let groups = |rows: &[usize]| rows.iter().map(|&row| set.cases[row].group.clone()).collect::<Vec<_>>();
    assert!(groups(&split.valid).iter().all(|group| !groups(&split.train).contains(group)));

    let error = |train: &[usize], valid: &[usize]| {
        Split::without_test(train.to_vec(), valid.to_vec(), 5).unwrap_err().to_string()
    };
    assert_eq!(error(&[], &[1]), "the training part of the split is empty; every part needs at least one case");
    assert_eq!(error(&[1], &[]), "the validation part of the split is empty; every part needs at least one case");
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(Split::stratified_without_test(&set, 0, share, 9).is_err(), "{share}");
    }
}

#[test]
fn impossible_requests_say_why() {
    let set = case_set(&[(0, Some(0)), (0, Some(1)), (1, Some(0))]);
    let text = Split::stratified(&set, 0, [1.0, 1.0, 1.0], 0).unwrap_err().to_string();
    assert!(text.contains("part of the split is empty"), "{text}");
    let text = Split::stratified(&set, 0, [1.0, -1.0, 1.0], 0).unwrap_err().to_string();
    assert_eq!(text, "fraction of the split: -1 is not a positive number");
    let text = Split::stratified(&set, 7, [1.0; 3], 0).unwrap_err().to_string();
    assert_eq!(text, "task index: 7 is not below the number of tasks");
    let text = Split::folds(&set, 0, 3, 0).unwrap_err().to_string();
    assert_eq!(text, "number of folds: 3 is not at most the number of groups (patients or lesions)");
}

#[test]
fn a_class_that_training_lacks_is_named() {
    let set = case_set(&[(0, Some(0)), (1, Some(0)), (2, Some(1))]);
    let text = set.view(&[0, 1]).unwrap().require_all_classes().unwrap_err().to_string();
    assert!(text.starts_with("task `t`: no case of class `b` among the 2 training cases"), "{text}");
    set.view(&[0, 2]).unwrap().require_all_classes().unwrap();
    let text = set.view(&[3]).unwrap_err().to_string();
    assert_eq!(text, "row 3 was asked for, but the case set has 3 cases (rows count from 0)");
}

proptest! {
    #[test]
    fn no_group_crosses_and_no_row_is_lost(
        cases in proptest::collection::vec((0_usize..40, proptest::option::of(0_usize..2)), 1..150),
        k in 2_usize..6,
        seed in any::<u64>(),
    ) {
        let set = case_set(&cases);
        // Too few groups for the parts is an error; anything that is returned must hold.
        if let Ok(split) = Split::stratified(&set, 0, [0.6, 0.2, 0.2], seed) {
            split.check(&set).unwrap();
            prop_assert_eq!(split.train.len() + split.valid.len() + split.test.len(), set.len());
        }
        if let Ok(folds) = Split::folds(&set, 0, k, seed) {
            let mut rows: Vec<usize> = folds.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..set.len()).collect::<Vec<_>>());
            for (index, fold) in folds.iter().enumerate() {
                for other in &folds[index + 1..] {
                    prop_assert!(fold.iter().all(|&a| other.iter().all(|&b| set.cases[a].group != set.cases[b].group)));
                }
            }
        }
    }
}
