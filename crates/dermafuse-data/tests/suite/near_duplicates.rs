use std::path::Path;

use dermafuse_data::{CaseParts, CaseSet, NearDuplicate, NearDuplicates};

use crate::fixture::{case_set, jpeg, write};

/// Cases of their own groups with one photo each: a ramp, brighter by so much.
fn ramps(folder: &Path, cases: &[(usize, Option<usize>)], brighter: impl Fn(usize) -> usize) -> CaseSet {
    let mut set = case_set(cases);
    for (row, case) in set.cases.iter_mut().enumerate() {
        let pixels: Vec<u8> = (0..32 * 32).flat_map(|at| [(at % 32 * 4 + brighter(row)) as u8; 3]).collect();
        let path = folder.join(format!("{row}.jpg"));
        write(&path, &jpeg(32, 32, &pixels));
        case.clinical = vec![path.into()];
    }
    set
}

fn found(set: &CaseSet, parts: &CaseParts, distance: u32) -> NearDuplicates {
    NearDuplicates::of(set, parts, distance, 0, |_, _| ()).unwrap()
}

fn rows(pair: &NearDuplicate) -> [usize; 2] {
    [&pair.first, &pair.second].map(|image| image.case.as_str().parse().unwrap())
}

#[test]
fn many_that_look_alike_are_named_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let set = ramps(folder.path(), &(0..40).map(|row| (row, None)).collect::<Vec<_>>(), |row| row);
    let pairs = found(&set, &CaseParts::default(), 48).pairs;
    assert!((20..40).contains(&pairs.len()), "{}", pairs.len());
    assert!(pairs.is_sorted_by_key(|pair| pair.distance));
    let error = |distance| NearDuplicates::of(&set, &CaseParts::default(), distance, 0, |_, _| ()).unwrap_err();
    assert_eq!(error(49).to_string(), "distance of images that look alike: 49 is not 48 or less");
    write(&folder.path().join("7.jpg"), b"no image");
    assert!(error(32).to_string().contains("7.jpg"), "{}", error(32));
}

#[test]
fn every_case_with_a_double_elsewhere_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // One picture forty times: of one group but for two, labelled `b` in rows 3 and 17, tested in rows 30 to 39.
    let cases: Vec<(usize, Option<usize>)> =
        (0..40).map(|row| (usize::from(row == 5), Some(usize::from(row == 3 || row == 17)))).collect();
    let set = ramps(folder.path(), &cases, |_| 0);
    let (train, test): (Vec<usize>, Vec<usize>) = ((0..30).collect(), (30..40).collect());
    let parts = CaseParts::of_rows([("training", &train), ("test", &test)], 40);
    let all = found(&set, &parts, 32);
    assert!(all.pairs.iter().all(|pair| pair.distance == 0));
    assert_eq!((all.cases_alike("test", "training"), all.cases_alike("training", "test")), (10, 30));
    assert_eq!(all.cases_alike("test", "validation"), 0);
    let conflicts: Vec<[usize; 2]> = all.label_conflicts().map(rows).collect();
    assert!(conflicts.iter().all(|[one, other]| [3, 17].contains(one) != [3, 17].contains(other)), "{conflicts:?}");
    assert!((0..40).all(|row| conflicts.iter().flatten().any(|named| *named == row)));
    let conflict = all.label_conflicts().find(|pair| rows(pair) == [0, 3]).unwrap();
    assert_eq!((conflict.labels[0].first.as_str(), conflict.labels[0].second.as_str()), ("a", "b"));
    let of_groups = all.of_other_groups().map(rows).collect::<Vec<_>>();
    assert!(of_groups.iter().all(|pair| pair.contains(&5)) && of_groups.len() == 39);
    // Not every pair of forty.
    assert!(all.pairs.len() < 4 * 40, "{}", all.pairs.len());

    // Several photos of a lesion in one part under one label are nothing to say.
    let set = ramps(folder.path(), &[(0, Some(1)), (0, Some(1)), (0, None)], |_| 0);
    assert!(found(&set, &CaseParts::default(), 32).pairs.is_empty());
}
