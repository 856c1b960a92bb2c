use dermafuse_data::near_duplicates;

use crate::fixture::{case_set, jpeg, write};

#[test]
fn many_that_look_alike_are_named_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = case_set(&(0..40).map(|row| (row, None)).collect::<Vec<_>>());
    for (row, case) in set.cases.iter_mut().enumerate() {
        // A ramp, a little brighter in each file.
        let pixels: Vec<u8> = (0..32 * 32).flat_map(|at| [(at % 32 * 4 + row) as u8; 3]).collect();
        let path = folder.path().join(format!("{row}.jpg"));
        write(&path, &jpeg(32, 32, &pixels));
        case.clinical = vec![path];
    }
    let pairs = near_duplicates(&set, 48, 0, |_, _| ()).unwrap();
    assert!((1..40).contains(&pairs.len()), "{}", pairs.len());
    let text = near_duplicates(&set, 49, 0, |_, _| ()).unwrap_err().to_string();
    assert_eq!(text, "distance of images that look alike: 49 is not 48 or less");
    write(&folder.path().join("7.jpg"), b"no image");
    let text = near_duplicates(&set, 32, 0, |_, _| ()).unwrap_err().to_string();
    assert!(text.contains("7.jpg"), "{text}");
}
