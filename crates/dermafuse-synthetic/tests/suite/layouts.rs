//! Drawn sets in published layouts, read by the loaders of these.

use std::collections::BTreeMap;
use std::path::Path;

use dermafuse_data::{CaseSet, DataSetKind, LesionMask, Strictness, decode, lesion_masks, ph2};
use dermafuse_synthetic::layouts::{Config, Layout, write};

fn drawn(layout: Layout, kind: DataSetKind) -> (tempfile::TempDir, CaseSet) {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), layout, &Config { images: 60, image_size: (40, 30), ..Config::default() }).unwrap();
    let set = kind.load(root.path()).unwrap();
    assert_eq!((set.name.clone(), set.synthetic, set.len()), (format!("{kind}-synthetic"), true, 60));
    assert!(set.notes.is_empty(), "{:?}", set.notes);
    (root, set)
}

#[test]
fn challenges_are_read_with_their_parts() {
    for (layout, kind, parts) in [
        (Layout::Isic2016, DataSetKind::Isic2016, 2),
        (Layout::Isic2017, DataSetKind::Isic2017, 3),
        (Layout::Isic2018, DataSetKind::Isic2018, 3),
    ] {
        let (_root, set) = drawn(layout, kind);
        let split = set.split.clone().unwrap();
        assert_eq!(split.train.len() + split.valid.len() + split.test.len(), 60);
        assert_eq!(split.valid.is_empty(), parts == 2, "{kind}");
        let counts = set.view(&split.train).unwrap().class_counts(0).unwrap();
        assert!(counts.iter().filter(|&&count| count > 0).count() >= counts.len().min(3), "{kind}: {counts:?}");
        assert!(set.cases.iter().all(|case| case.labels[0].is_some() && case.dermoscopic.len() == 1));
        let recorded = set.cases.iter().filter(|case| case.has_metadata()).count();
        assert_eq!(recorded > 40, kind == DataSetKind::Isic2017, "{kind}: {recorded}");
        let lesions = set.cases.iter().filter(|case| case.lesion.is_some()).count();
        assert_eq!(lesions, if kind == DataSetKind::Isic2018 { split.train.len() } else { 0 });
    }
}

#[test]
fn ph2_has_criteria_and_a_mask_of_every_lesion() {
    let (root, set) = drawn(Layout::Ph2, DataSetKind::Ph2Criteria);
    for task in ["pigment_network", "dots_and_globules", "streaks", "regression_structures", "blue_whitish_veil"] {
        let at = set.tasks.iter().position(|it| it.name == task).unwrap();
        assert!(set.whole().class_counts(at).unwrap().iter().all(|&count| count > 0), "{task}");
    }
    assert!(set.whole().class_counts(0).unwrap().iter().all(|&count| count > 0));
    for (case, mask) in set.cases.iter().zip(lesion_masks(&set, root.path(), ph2::MASK_SUFFIX).unwrap()) {
        let mask = LesionMask::read(mask.unwrap()).unwrap();
        let image = decode(&case.dermoscopic[0], Strictness::Strict).unwrap();
        assert_eq!((image.width(), image.height()), (40, 30));
        assert!((0.05..1.0).contains(&mask.area()), "{}: {}", case.id, mask.area());
        let [_, _, width, height] = mask.bounds().xywh().map(|number| number as usize);
        let crop = mask.crop(&image, 0.0).unwrap();
        assert_eq!((crop.width(), crop.height()), (width, height));
    }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

#[test]
fn a_seed_decides_every_byte() {
    for layout in [Layout::Ph2, Layout::Isic2017] {
        let draw = |seed: u64| {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), layout, &Config { images: 12, image_size: (16, 12), seed }).unwrap();
            files(root.path())
        };
        assert!(draw(1) == draw(1));
        assert!(draw(1) != draw(2));
    }
}
