use std::sync::Mutex;

use dermafuse_data::synthetic::{SyntheticConfig, write as write_synthetic};
use dermafuse_data::{
    CaseSet, Modality, Resampling, SharedImages, Strictness, decode, derm7pt, near_duplicate_note, near_duplicates,
    resize,
};
use dermafuse_schema::Case;

use crate::fixture::{case_set, jpeg, write};

/// Thirty drawn photos and, as the 31st case, one of them again: smaller and compressed anew.
fn photos(folder: &std::path::Path) -> CaseSet {
    let config = SyntheticConfig { cases: 30, image_size: (96, 72), ..SyntheticConfig::default() };
    write_synthetic(folder, &config).unwrap();
    let mut set = derm7pt::load(folder).unwrap().with_only(Modality::Clinical);
    let small =
        resize(&decode(set.cases[4].clinical.as_ref().unwrap(), Strictness::Strict).unwrap(), 70, Resampling::Pillow);
    let copy = folder.join("copy.jpg");
    write(&copy, &jpeg(70, 70, small.unwrap().data()));
    set.cases.push(Case { id: "copy".into(), clinical: Some(copy), group: "copy".into(), ..set.cases[4].clone() });
    set
}

#[test]
fn a_copy_that_was_reduced_is_found_and_nothing_is_joined() {
    let folder = tempfile::tempdir().unwrap();
    let set = photos(folder.path());
    let done = Mutex::new(Vec::new());
    let pairs = near_duplicates(&set, 4, 2, |n, of| done.lock().unwrap().push((n, of))).unwrap();
    let named = pairs.iter().find(|pair| pair.second.0.as_str() == "copy").expect("the copy is found");
    assert_eq!(
        (named.first.clone(), named.second.1),
        ((set.cases[4].id.clone(), Modality::Clinical), Modality::Clinical)
    );
    assert_eq!(done.lock().unwrap().len(), 31);
    assert!(near_duplicate_note(&pairs).unwrap().contains("look alike but are not identical, such as those of"));
    assert_eq!(set.cases[30].group, "copy");
    assert_eq!(near_duplicates(&set, 4, 1, |_, _| ()).unwrap(), pairs, "threads do not matter");

    // In one group there is nothing to say.
    let mut joined = set.clone();
    joined.cases[30].group = joined.cases[4].group.clone();
    joined.join_groups(SharedImages::Join);
    assert!(near_duplicates(&joined, 4, 2, |_, _| ()).unwrap().iter().all(|pair| pair.second.0.as_str() != "copy"));
}

#[test]
fn many_that_look_alike_are_named_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = case_set(&(0..40).map(|row| (row, None)).collect::<Vec<_>>());
    for (row, case) in set.cases.iter_mut().enumerate() {
        // A ramp, a little brighter in each file.
        let pixels: Vec<u8> = (0..32 * 32).flat_map(|at| [(at % 32 * 4 + row) as u8; 3]).collect();
        let path = folder.path().join(format!("{row}.jpg"));
        write(&path, &jpeg(32, 32, &pixels));
        case.clinical = Some(path);
    }
    let pairs = near_duplicates(&set, 10, 0, |_, _| ()).unwrap();
    assert!((1..40).contains(&pairs.len()), "{}", pairs.len());
    let text = near_duplicates(&set, 11, 0, |_, _| ()).unwrap_err().to_string();
    assert_eq!(text, "distance of images that look alike: 11 is not 10 or less");
    write(&folder.path().join("7.jpg"), b"no image");
    let text = near_duplicates(&set, 4, 0, |_, _| ()).unwrap_err().to_string();
    assert!(text.contains("7.jpg"), "{text}");
}
