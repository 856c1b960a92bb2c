use std::collections::HashSet;

use dermafuse_data::{CaseSet, FoldConfig, FoldGrouping, FoldProtocol, Folds, Leak, LoadedSplit, Split, TableChanges};
use proptest::prelude::*;

use crate::fixture::case_set;

/// 24 cases of 12 patients, two each; every third patient has class `b`.
fn pairs() -> CaseSet {
    case_set(&(0..24).map(|row| (row / 2, Some(usize::from(row / 2 % 3 == 0)))).collect::<Vec<_>>())
}

fn ungrouped(folds: usize, seed: u64) -> FoldConfig {
    FoldConfig { grouping: FoldGrouping::Ungrouped, ..FoldConfig::new(folds, seed) }
}

/// Writes the folds of `set`, changes one line of the file, and reads it again.
fn reload(
    set: &CaseSet,
    folds: &Folds,
    grouping: FoldGrouping,
    edit: impl FnOnce(&mut Vec<String>),
) -> Result<Folds, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folds.csv");
    folds.save(&path, set).unwrap();
    let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(Into::into).collect();
    edit(&mut lines);
    std::fs::write(&path, lines.join("\n")).unwrap();
    Folds::load(&path, set, 0, grouping).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "folds.csv"))
}

#[test]
fn each_round_tests_on_one_fold_and_selects_on_the_next() {
    let set = pairs();
    let folds = Folds::new(&set, &FoldConfig::new(4, 3)).unwrap();
    let splits = folds.splits(FoldProtocol::default()).unwrap();
    assert_eq!(splits.len(), 4);
    for (round, split) in splits.iter().enumerate() {
        split.check(&set).unwrap();
        assert!(split.leaks().is_empty());
        assert_eq!((split.test.as_slice(), split.valid.as_slice()), (folds.rows(round), folds.rows((round + 1) % 4)));
        assert_eq!(split.train.len() + split.valid.len() + split.test.len(), 24);
        assert_eq!(set.view(&split.test).unwrap().class_counts(0).unwrap(), [4, 2]);
    }
    assert_eq!(Split::folds(&set, 0, 4, 3).unwrap(), (0..4).map(|fold| folds.rows(fold).to_vec()).collect::<Vec<_>>());
    let text = Folds::new(&set, &FoldConfig::new(2, 0)).unwrap().splits(FoldProtocol::default()).unwrap_err();
    assert_eq!(
        text.to_string(),
        "number of folds: 2 is not three or more, where one tests, the next selects and the others train"
    );
}

#[test]
fn the_protocol_that_selects_on_the_test_fold_says_so() {
    let set = pairs();
    let folds = Folds::new(&set, &FoldConfig::new(3, 1)).unwrap();
    for (round, split) in folds.splits(FoldProtocol::TestFoldSelects).unwrap().into_iter().enumerate() {
        assert_eq!((&split.valid, split.test.as_slice(), split.train.len()), (&split.test, folds.rows(round), 16));
        assert_eq!(split.leaks(), [Leak::TestSelects]);
        assert!(split.leaks()[0].to_string().contains("optimistic"));
        split.check(&set).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.json");
        split.save(&path, &set).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("test_selects"));
        assert_eq!(Split::load(&path, &set).unwrap(), LoadedSplit { split: split.clone(), notes: vec![] });

        // The permission is for this one overlap and for no other.
        let text = Split::new(split.train.clone(), split.valid.clone(), split.test.clone(), 24).unwrap_err();
        assert!(text.to_string().contains("is in the validation part of the split and again in the test part"));
        let mut other = split.clone();
        other.valid.pop();
        let text = other.check(&set).unwrap_err().to_string();
        assert!(text.starts_with("validation part of the split: 7 validation rows and 8 test rows is not"), "{text}");
        let text = Split::selecting_on_test(split.test.clone(), split.test.clone(), 24).unwrap_err().to_string();
        assert!(text.contains("is in the training part of the split and again in the test part"), "{text}");
    }
}

#[test]
fn a_held_out_part_tests_every_round() {
    let set = case_set(&(0..120).map(|row| (row / 2, Some(usize::from(row % 10 < 2)))).collect::<Vec<_>>());
    let folds = Folds::new(&set, &FoldConfig::pad_holdout(8)).unwrap();
    assert_eq!((folds.len(), folds.held_out().len()), (5, 20));
    assert_eq!(set.view(folds.held_out()).unwrap().class_counts(0).unwrap(), [16, 4]);
    let held = folds.splits(FoldProtocol::HeldOutTests).unwrap();
    for (round, split) in held.iter().enumerate() {
        split.check(&set).unwrap();
        assert_eq!((split.test.as_slice(), split.valid.as_slice()), (folds.held_out(), folds.rows(round)));
        assert_eq!(split.train.len(), 80);
    }
    // Development that must not touch the held-out part does not.
    for split in folds.splits(FoldProtocol::NextFoldSelects).unwrap() {
        assert!([&split.train, &split.valid, &split.test].iter().all(|part| part.len() % 20 == 0));
        assert!(split.train.iter().chain(&split.valid).chain(&split.test).all(|row| !folds.held_out().contains(row)));
    }
    assert_eq!(reload(&set, &folds, FoldGrouping::Grouped, |_| ()).unwrap(), folds);

    let all = Folds::new(&set, &FoldConfig::new(5, 8)).unwrap();
    let text = all.splits(FoldProtocol::HeldOutTests).unwrap_err().to_string();
    assert_eq!(text, "rows that are held out: 0 is not above 0; make the folds with `hold_out`");
    let config = FoldConfig { hold_out: Some(1.0), ..FoldConfig::new(5, 8) };
    let text = Folds::new(&set, &config).unwrap_err().to_string();
    assert_eq!(text, "share that is held out: 1 is not between 0 and 1, both excluded");
}

#[test]
fn groups_that_cross_are_counted_and_named_as_a_leak() {
    let set = pairs();
    let folds = Folds::new(&set, &ungrouped(4, 5)).unwrap();
    assert!(folds.crossing_groups() > 0);
    let note = folds.notes().remove(0);
    assert!(note.starts_with(&format!("folds are not grouped: {} of 12 groups", folds.crossing_groups())), "{note}");
    for split in folds.splits(FoldProtocol::NextFoldSelects).unwrap() {
        assert_eq!(split.leaks(), [Leak::GroupsCross]);
        split.check(&set).unwrap();
    }
    let both = folds.splits(FoldProtocol::TestFoldSelects).unwrap();
    assert_eq!(both[0].leaks(), [Leak::TestSelects, Leak::GroupsCross]);
    assert_eq!(reload(&set, &folds, FoldGrouping::Ungrouped, |_| ()).unwrap(), folds);
    let text = reload(&set, &folds, FoldGrouping::Grouped, |_| ()).unwrap_err();
    assert!(
        text.contains("column `fold`: found `") && text.contains("a patient or lesion stays in one fold"),
        "{text}"
    );
    let grouped = Folds::new(&set, &FoldConfig::new(4, 5)).unwrap();
    assert_eq!((grouped.crossing_groups(), grouped.notes()), (0, vec![]));
}

#[test]
fn a_fold_file_is_read_by_others_and_from_others() {
    let set = pairs();
    let folds = Folds::new(&set, &FoldConfig::new(3, 0)).unwrap();
    let mut text = Vec::new();
    reload(&set, &folds, FoldGrouping::Grouped, |lines| text.clone_from(lines)).unwrap();
    assert_eq!((text.len(), text[0].as_str()), (25, "id,group,label,fold"));
    assert!(text[1].starts_with("0,g0,b,") && text[4].starts_with("3,g1,a,"), "{text:?}");

    // Written elsewhere: other columns, another order, no group and label.
    let shuffled = |lines: &mut Vec<String>| {
        let short = |line: &String| {
            let parts: Vec<&str> = line.split(',').collect();
            format!("{},x,{}", parts[3], parts[0])
        };
        let rows: Vec<String> = lines[1..].iter().rev().map(short).collect();
        *lines = [vec!["fold,extra,id".to_owned()], rows].concat();
    };
    assert_eq!(reload(&set, &folds, FoldGrouping::Grouped, shuffled).unwrap(), folds);
}

#[test]
fn faults_of_a_fold_file_are_named_with_their_place() {
    let set = pairs();
    let folds = Folds::new(&set, &FoldConfig::new(3, 0)).unwrap();
    let error =
        |edit: &dyn Fn(&mut Vec<String>)| reload(&set, &folds, FoldGrouping::Grouped, |lines| edit(lines)).unwrap_err();
    assert_eq!(
        error(&|lines| lines[2] = lines[2].replacen("1,", "one,", 1)),
        "folds.csv: 1 of 24 cases are not in `test`: one; give the set that it was made for, or allow changes of the table to \
         leave them out"
    );
    assert_eq!(
        error(&|lines| lines[3] = lines[1].clone()),
        "folds.csv: line 4, column `id`: found `0`, expected a name that line 2 does not have"
    );
    let fewer = reload(&set, &folds, FoldGrouping::Grouped, |lines| drop(lines.drain(5..7))).unwrap();
    assert_eq!(
        fewer.notes(),
        ["2 of 24 cases of `test` are in no fold, because the table of folds does not name them: 4, 5"]
    );
    assert_eq!((0..3).map(|fold| fewer.rows(fold).len()).sum::<usize>(), 22);
    for bad in ["", "-1", "0.0", "third"] {
        let text = error(&|lines| {
            let at = lines[1].rfind(',').unwrap();
            lines[1].replace_range(at + 1.., bad);
        });
        let expected = "expected a whole number from 0, or `test`";
        assert_eq!(text, format!("folds.csv: line 2, column `fold`: found `{bad}`, {expected}"));
    }
    let text = error(&|lines| {
        let fold: usize = lines[2][lines[2].rfind(',').unwrap() + 1..].parse().unwrap();
        lines[2] = format!("1,g0,b,{}", (fold + 1) % 3);
    });
    assert!(text.starts_with("folds.csv: line 3, column `fold`: found `"), "{text}");
    assert!(text.contains("like group `g0` in line 2; a patient or lesion stays in one fold, unless"), "{text}");
    assert_eq!(
        error(&|lines| lines[1] = lines[1].replace(",b,", ",a,")),
        "folds.csv: 1 labels are others in `test`: 0 (t: a, now b); if the identities are still those of the same cases, make it \
         anew or allow changes of the table"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folds.csv");
    folds.save(&path, &set).unwrap();
    let mut changed = set.clone();
    changed.cases.remove(23);
    changed.cases[0].labels = vec![Some(0)];
    let allowed = Folds::load_with(&path, &changed, 0, FoldGrouping::Grouped, TableChanges::Allow).unwrap();
    let notes = allowed.notes();
    assert!(
        notes[0].contains("1 of 24 cases of ") && notes[0].ends_with("are not in `test` and left out: 23"),
        "{notes:?}"
    );
    assert!(notes[1].starts_with("1 labels of `test` are not those of ") && notes[1].ends_with(": 0 (t: b, now a)"));
    let text = error(&|lines| {
        lines.iter_mut().for_each(|line| *line = line.replace(",1", ",3").replace(",2", ",1"));
    });
    assert_eq!(text, "folds.csv: no row of fold 2, but there are 3 folds; they count from 0, without gaps");
    let text = error(&|lines| {
        lines.iter_mut().for_each(|line| *line = line.replace(",1", ",0").replace(",2", ",0"));
    });
    assert_eq!(text, "number of folds: 1 is not two or more");
    assert!(error(&|lines| lines[0] = "id,group,label,part".into()).contains("column `fold` is missing"));

    let fewer = CaseSet { cases: set.cases[..20].to_vec(), ..set.clone() };
    let text = folds.save(tempfile::tempdir().unwrap().path().join("f.csv"), &fewer).unwrap_err().to_string();
    assert!(text.starts_with("case set of the folds: 20 cases of `test` is not the case set"), "{text}");
}

#[test]
fn impossible_folds_say_why() {
    let set = pairs();
    let error = |config: FoldConfig| Folds::new(&set, &config).unwrap_err().to_string();
    assert_eq!(
        error(FoldConfig::new(13, 0)),
        "number of folds: 13 is not at most the number of groups (patients or lesions)"
    );
    assert_eq!(error(FoldConfig::new(1, 0)), "number of folds: 1 is not between 2 and the number of cases");
    assert_eq!(
        error(FoldConfig { task: 1, ..FoldConfig::new(3, 0) }),
        "task index: 1 is not below the number of tasks"
    );
    assert!(Folds::new(&set, &ungrouped(13, 0)).is_ok());
}

proptest! {
    #[test]
    fn no_patient_crosses_and_every_row_is_covered_once(
        cases in proptest::collection::vec((0_usize..60, proptest::option::of(0_usize..2)), 6..200),
        k in 2_usize..8,
        seed in any::<u64>(),
        hold_out in proptest::option::of(0.05_f64..0.5),
    ) {
        let set = case_set(&cases);
        // Too few groups for the parts is an error; anything that is returned must hold.
        let Ok(folds) = Folds::new(&set, &FoldConfig { hold_out, ..FoldConfig::new(k, seed) }) else { return Ok(()) };
        let parts: Vec<&[usize]> = (0..k).map(|fold| folds.rows(fold)).chain([folds.held_out()]).collect();
        let mut rows = parts.concat();
        rows.sort_unstable();
        prop_assert_eq!(rows, (0..set.len()).collect::<Vec<_>>());
        let groups = |part: &[usize]| part.iter().map(|&row| set.cases[row].group.as_str()).collect::<HashSet<_>>();
        for (index, part) in parts.iter().enumerate() {
            for other in &parts[index + 1..] {
                prop_assert!(groups(part).is_disjoint(&groups(other)));
            }
        }
        prop_assert_eq!(folds.crossing_groups(), 0);
        for protocol in [
            FoldProtocol::NextFoldSelects, FoldProtocol::TestFoldSelects, FoldProtocol::HeldOutTests,
        ] {
            for split in folds.splits(protocol).into_iter().flatten() {
                split.check(&set).unwrap();
            }
        }
        prop_assert_eq!(reload(&set, &folds, FoldGrouping::Grouped, |_| ()).unwrap(), folds);
    }

    /// Patients of one to four photos, of one class each: a fold has its share of every class, give or take the photos of
    /// one patient.
    #[test]
    fn class_shares_are_those_of_the_whole(
        patients in proptest::collection::vec((1_usize..5, 0_usize..2), 20..120),
        k in 2_usize..8,
        seed in any::<u64>(),
    ) {
        let cases: Vec<_> = patients
            .iter()
            .enumerate()
            .flat_map(|(patient, &(photos, class))| std::iter::repeat_n((patient, Some(class)), photos))
            .collect();
        let set = case_set(&cases);
        let Ok(folds) = Folds::new(&set, &FoldConfig::new(k, seed)) else { return Ok(()) };
        let all = set.whole().class_counts(0).unwrap();
        for fold in 0..k {
            let counts = set.view(folds.rows(fold)).unwrap().class_counts(0).unwrap();
            for (count, of) in counts.into_iter().zip(&all) {
                prop_assert!((count as f64 - *of as f64 / k as f64).abs() <= 4.0, "{count} of {of} in {k}");
            }
        }
    }

    /// Every photo for itself: shares are as even as whole numbers can be.
    #[test]
    fn ungrouped_folds_are_stratified_to_the_case(
        cases in proptest::collection::vec((0_usize..10, (0_usize..2).prop_map(Some)), 10..120),
        k in 2_usize..8,
        seed in any::<u64>(),
    ) {
        let set = case_set(&cases);
        let folds = Folds::new(&set, &ungrouped(k, seed)).unwrap();
        for class in 0..2 {
            let count = |fold: usize| set.view(folds.rows(fold)).unwrap().class_counts(0).unwrap()[class];
            let counts: Vec<usize> = (0..k).map(count).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
    }
}
