//! Runs only where `DERMAFUSE_REALDATA` names a folder with `milk10k/dev`, `pad_ufes_20`, `isic2019` and `ham10000`; the
//! licences keep the files from us. `milk10k.rs`, `pad_ufes_20.rs`, `isic_2019.rs` and `ham10000.rs` are the twins that
//! always run. A full copy is held against the published counts by the loader itself.

use std::collections::HashSet;
use std::path::PathBuf;

use dermafuse_data::{
    BatchLoader, CaseParts, CaseSet, DataError, EncoderConfig, LoadOptions, LoaderConfig, MetadataEncoder,
    MetadataRoles, Modality, NearDuplicates, Preprocess, Split, Strictness, decode, described, ham10000, isic_2019,
    milk10k, pad_ufes_20,
};
use dermafuse_schema::FieldValue;

fn real_data() -> Option<PathBuf> {
    std::env::var_os("DERMAFUSE_REALDATA").map(PathBuf::from)
}

/// The number of groups and of encoded columns.
fn summary(set: &CaseSet, config: EncoderConfig) -> (usize, usize) {
    let groups: HashSet<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, config).unwrap();
    (groups.len(), set.whole().cohort(&encoder).unwrap().metadata.ncols())
}

#[test]
fn pad_ufes_20_is_as_published() {
    let Some(root) = real_data().map(|root| root.join("pad_ufes_20")) else { return };
    let set = pad_ufes_20::load_with(&root, &LoadOptions::metadata_only()).unwrap();
    assert_eq!(set.len(), 2_298);
    let (groups, columns) = summary(&set, pad_ufes_20::encoding());
    assert_eq!((groups, columns), (1_373, 81));
    let lesions: HashSet<_> = set.cases.iter().map(|case| case.lesion.clone().unwrap()).collect();
    assert_eq!(lesions.len(), 1_891);
    let without_history = set.cases.iter().filter(|case| case.metadata[0] == FieldValue::Missing).count();
    assert_eq!(without_history, 804);

    // The copy has a few of the images, and the loader says which are not there.
    match pad_ufes_20::load(&root) {
        Err(DataError::ImageNotFound { missing, total, .. }) => assert_eq!((missing, total), (2_292, 2_298)),
        other => panic!("{other:?}"),
    }
    for entry in std::fs::read_dir(root.join("sample_images")).unwrap() {
        let pixels = decode(entry.unwrap().path(), Strictness::Strict).unwrap();
        assert_eq!(pixels.data().len(), 3 * pixels.width() * pixels.height());
    }
}

#[test]
fn isic_2019_is_as_published() {
    let Some(root) = real_data().map(|root| root.join("isic2019")) else { return };
    let set = isic_2019::load_with(&root, &LoadOptions::metadata_only()).unwrap();
    assert_eq!(set.len(), 25_331);
    let (groups, columns) = summary(&set, isic_2019::encoding());
    assert_eq!((groups, columns), (11_847 + 2_084, 11));
    assert_eq!(set.cases.iter().filter(|case| case.id.as_str().ends_with("_downsampled")).count(), 2_074);
}

#[test]
fn ham10000_is_as_published_in_both_forms() {
    let Some(root) = real_data().map(|root| root.join("ham10000")) else { return };
    let mut sets = Vec::new();
    for form in ["kaggle7col", "dataverse8col"] {
        let folder = tempfile::tempdir().unwrap();
        let file = root.join(format!("HAM10000_metadata.{form}.csv"));
        std::fs::copy(file, folder.path().join("HAM10000_metadata.csv")).unwrap();
        sets.push(ham10000::load_with(folder.path(), &LoadOptions::metadata_only()).unwrap());
    }
    assert_eq!((sets[0].len(), sets[0] == sets[1]), (10_015, true));
    let (groups, columns) = summary(&sets[0], ham10000::encoding());
    assert_eq!((groups, columns), (7_470, 17));
}

#[test]
fn milk10k_dev_is_as_counted() {
    let Some(root) = real_data() else { return };
    let set = milk10k::load(root.join("milk10k/dev")).unwrap();
    assert_eq!(set.len(), 4_195);
    assert_eq!(set.whole().class_counts(0).unwrap(), [242, 2021, 35, 435, 42, 40, 7, 360, 597, 378, 38]);
    let missing = |name: &str| {
        let field = set.fields.iter().position(|field| field.name == name).unwrap();
        set.cases.iter().filter(|case| case.metadata[field] == FieldValue::Missing).count()
    };
    assert_eq!((missing("age_approx"), missing("site"), missing("sex")), (15, 24, 0));

    assert_eq!(set.notes.len(), 5, "{:?}", set.notes);
    let groups: std::collections::HashSet<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups.len(), 4_190);

    let split = Split::stratified(&set, 0, [0.7, 0.1, 0.2], 1).unwrap();
    let training = set.view(&split.train).unwrap();
    training.require_all_classes().unwrap();
    let encoder = MetadataEncoder::fit(&set.fields, training.cases(), MetadataRoles::default()).unwrap();
    assert_eq!(set.whole().cohort(&encoder).unwrap().metadata.dim(), (4_195, 16));
    let loader = BatchLoader::new(&set.whole(), LoaderConfig::new(64, Preprocess::imagenet(64))).unwrap();
    assert_eq!(loader.map(|batch| batch.unwrap().rows.len()).sum::<usize>(), 4_195);

    let single = set.with_only(Modality::Clinical);
    assert!(single.cases.iter().all(|case| !case.clinical.is_empty() && case.dermoscopic.is_empty()));
}

/// Photos that look alike at 200 x 150 pixels, besides the five pairs that are identical and one group each.
#[test]
fn milk10k_has_few_images_that_look_alike() {
    let Some(root) = real_data() else { return };
    let set = milk10k::load(root.join("milk10k/dev")).unwrap();
    assert!(set.label_conflicts().is_empty());
    let found = NearDuplicates::of(&set, &CaseParts::default(), 32, 0, |_, _| ()).unwrap();
    assert_eq!(found.images, 8_390);
    let pairs: Vec<_> = found.of_other_groups().collect();
    assert_eq!(pairs.iter().map(|pair| pair.distance).collect::<Vec<_>>(), [26, 30, 30, 32], "{pairs:?}");
}

#[test]
fn milk10k_can_be_described() {
    let Some(root) = real_data().map(|root| root.join("milk10k/dev")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [metadata, truth, images] =
        ["Metadata.csv", "GroundTruth.csv", "images_200x150"].map(|name| root.join(name).display().to_string());
    let mut toml = format!(
        "name = 'milk10k'\n[cases]\nfile = '{metadata}'\nid = 'lesion_id'\nlesion = 'lesion_id'\n[[tables]]\nname = 'truth'\n\
         file = '{truth}'\nkey = 'lesion_id'\n[images]\nfolders = ['{images}']\n\
         clinical = {{ column = 'isic_id', where = {{ image_type = 'clinical: close-up' }} }}\n\
         dermoscopic = {{ column = 'isic_id', where = {{ image_type = 'dermoscopic' }} }}\n\
         [[tasks]]\nname = 'diagnosis'\nlabel = 'DIAG'\none_hot = 'truth'\nclasses = {:?}\n",
        milk10k::CLASSES
    );
    for (name, kind) in [
        ("age_approx", "kind = 'numeric'"),
        ("sex", "kind = 'categorical'\ncategories = 'observed'"),
        ("skin_tone_class", "kind = 'categorical'\ncategories = ['0', '1', '2', '3', '4', '5']"),
        ("site", "kind = 'categorical'\ncategories = 'observed'"),
    ] {
        toml += &format!("[[fields]]\ncolumn = '{name}'\nrole = 'pre_diagnosis'\n{kind}\n");
    }
    std::fs::write(folder.path().join("milk10k.toml"), toml).unwrap();
    let options = milk10k::Options { images: Some(root.join("images_200x150")), ..milk10k::Options::default() };
    let mut coded = milk10k::load_with(&root, &options).unwrap();
    coded.fields.truncate(4);
    coded.cases.iter_mut().for_each(|case| case.metadata.truncate(4));
    assert_eq!(described::load(folder.path().join("milk10k.toml")).unwrap(), coded);
}
