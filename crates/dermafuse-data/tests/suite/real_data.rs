//! Runs only where `DERMAFUSE_REALDATA` names a folder with `milk10k/dev`; the licence keeps the files from us.
//! `milk10k.rs` is the twin that always runs.

use std::path::PathBuf;

use dermafuse_data::{BatchLoader, LoaderConfig, MetadataEncoder, MetadataRoles, Preprocess, Split, milk10k};
use dermafuse_schema::FieldValue;

#[test]
fn milk10k_dev_is_as_counted() {
    let Some(root) = std::env::var_os("DERMAFUSE_REALDATA").map(PathBuf::from) else { return };
    let set = milk10k::load(root.join("milk10k/dev")).unwrap();
    let rows: Vec<usize> = (0..set.len()).collect();
    assert_eq!(set.len(), 4_195);
    assert_eq!(set.class_counts(0, &rows).unwrap(), [242, 2021, 35, 435, 42, 40, 7, 360, 597, 378, 38]);
    let missing = |name: &str| {
        let field = set.fields.iter().position(|field| field.name == name).unwrap();
        set.cases.iter().filter(|case| case.metadata[field] == FieldValue::Missing).count()
    };
    assert_eq!((missing("age_approx"), missing("site"), missing("sex")), (15, 24, 0));

    assert_eq!(set.notes.len(), 5, "{:?}", set.notes);
    let groups: std::collections::HashSet<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups.len(), 4_190);

    let split = Split::stratified(&set, 0, [0.7, 0.1, 0.2], 1).unwrap();
    set.require_all_classes(&split.train).unwrap();
    let training = split.train.iter().map(|&row| &set.cases[row]);
    let encoder = MetadataEncoder::fit(&set.fields, training, MetadataRoles::default()).unwrap();
    assert_eq!(set.cohort(&rows, &encoder).unwrap().metadata.dim(), (4_195, 16));
    let loader = BatchLoader::new(&set, rows, LoaderConfig::new(64, Preprocess::imagenet(64))).unwrap();
    assert_eq!(loader.map(|batch| batch.unwrap().rows.len()).sum::<usize>(), 4_195);
}
