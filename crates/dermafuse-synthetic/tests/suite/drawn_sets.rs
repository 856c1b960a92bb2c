//! What the loaders and everything after them make of drawn sets.

use std::path::Path;
use std::sync::Mutex;

use dermafuse_data::{
    CaseParts, CaseSet, ClassMap, DataSetKind, MetadataEncoder, MetadataRoles, Modality, NearDuplicates, Resampling,
    SOURCE_FIELD, SharedImages, Strictness, class_folders, decode, derm7pt, dermofit, near_duplicate_note, resize,
};
use dermafuse_schema::{Case, FieldRole, FieldValue};
use dermafuse_synthetic::{SyntheticConfig, pad_ufes_20, write as write_synthetic};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn jpeg(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).write_image(rgb, width, height, ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// A photo of one pixel.
fn pixel(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(&colour, 1, 1, ExtendedColorType::Rgb8).unwrap();
    bytes
}

#[test]
fn a_set_is_called_as_its_kind() {
    let root = tempfile::tempdir().unwrap();
    let (photos, pad) = (root.path().join("photos"), root.path().join("pad"));
    let config = SyntheticConfig { cases: 20, image_size: (24, 20), ..SyntheticConfig::default() };
    write_synthetic(&photos, &config).unwrap();
    let config = pad_ufes_20::Config { photos: 20, image_size: (24, 24), ..Default::default() };
    pad_ufes_20::write(&pad, &config).unwrap();
    for (kind, folder) in
        [(DataSetKind::Derm7pt, &photos), (DataSetKind::Edra, &photos), (DataSetKind::PadUfes20, &pad)]
    {
        assert_eq!(kind.load(folder).unwrap().name, format!("{kind}-synthetic"));
    }
}

#[test]
fn edra_is_the_photos_of_derm7pt_with_diagnoses_as_written() {
    let root = tempfile::tempdir().unwrap();
    write_synthetic(root.path(), &SyntheticConfig { cases: 60, image_size: (16, 12), ..SyntheticConfig::default() })
        .unwrap();
    let (edra, whole) = (derm7pt::load_edra(root.path()).unwrap(), derm7pt::load(root.path()).unwrap());
    assert_eq!((edra.name.as_str(), edra.len(), edra.split.as_ref()), ("edra-synthetic", 60, None));
    assert_eq!(edra.tasks[0].classes.len(), 20);
    assert!(edra.cases.iter().all(|case| !case.clinical.is_empty() && case.dermoscopic.is_empty()));
    assert_eq!(edra.fields, whole.fields);
    // Grouped, the diagnoses as written are those of the published task.
    let sizes = [7, 1, 6, 5, 1];
    for (raw, grouped) in edra.cases.iter().zip(&whole.cases) {
        let mut label = raw.labels[0].unwrap();
        let mut group = 0;
        while label >= sizes[group] {
            label -= sizes[group];
            group += 1;
        }
        assert_eq!(Some(group), grouped.labels[0]);
    }
    let counts = derm7pt::PUBLISHED_DIAGNOSES.map(|(_, count)| count);
    let mut grouped = Vec::new();
    let mut at = 0;
    for size in sizes {
        grouped.push(counts[at..at + size].iter().sum::<usize>());
        at += size;
    }
    assert_eq!(grouped, [575, 42, 252, 97, 45]);
}

#[test]
fn the_published_merging_works_on_folders() {
    let root = tempfile::tempdir().unwrap();
    let map = ClassMap::dermai_edra_dermofit();
    let mut level = 0_u32;
    let mut photo = |path: String| {
        level += 1;
        let colour: [u8; 3] = [level as u8, (level >> 8) as u8, 9];
        write(&root.path().join(path), &pixel(colour));
    };
    for part in ["train", "val", "test"] {
        for class in map.classes() {
            photo(format!("dermai/{part}/{class}/{class}.png"));
        }
    }
    for class in dermofit::CLASSES {
        photo(format!("dermofit/{class}/{class}1.png"));
        photo(format!("dermofit/{class}/{class}1mask.png"));
    }
    // The same photo as one of the training part, in another set.
    std::fs::copy(root.path().join("dermai/train/Nev/Nev.png"), root.path().join("dermofit/ML/copy.png")).unwrap();
    let config = SyntheticConfig { cases: 200, image_size: (8, 6), ..SyntheticConfig::default() };
    write_synthetic(&root.path().join("release_v0"), &config).unwrap();

    let dermai = class_folders::load(root.path().join("dermai")).unwrap();
    let (edra, library) =
        (derm7pt::load_edra(root.path()).unwrap(), dermofit::load(root.path().join("dermofit")).unwrap());
    let merged = map.merge(&[("dermai", &dermai), ("edra", &edra), ("dermofit", &library)]).unwrap();
    assert!(merged.synthetic, "one of the sets is");
    let split = merged.split.clone().unwrap();
    assert_eq!((split.valid.len(), split.test.len()), (13, 13));
    assert!(split.test.iter().all(|&row| merged.cases[row].id.as_str().starts_with("dermai:test/")));
    let elsewhere = |row: &&usize| !merged.cases[**row].id.as_str().starts_with("dermai:");
    assert_eq!(split.train.iter().filter(elsewhere).count(), merged.len() - 39);
    merged.view(&split.train).unwrap().require_all_classes().unwrap();

    let row = |id: &str| merged.cases.iter().position(|case| case.id.as_str() == id).unwrap();
    let (one, other) = (row("dermai:train/Nev/Nev.png"), row("dermofit:ML/copy.png"));
    assert_eq!(merged.cases[one].group, merged.cases[other].group, "one photo is one group");
    assert_ne!(merged.cases[row("edra:1")].group, "1");
    assert_eq!(merged.cases[row("edra:1")].metadata.len(), 6);
    assert_eq!(merged.cases[one].metadata[..5], [FieldValue::Missing; 5]);

    // Where a case comes from can be asked, and is never an input.
    let source = merged.fields.last().unwrap();
    assert_eq!((source.name.as_str(), source.role), (SOURCE_FIELD, FieldRole::Provenance));
    let text = |row: usize| source.text(merged.cases[row].metadata.last().unwrap());
    assert_eq!((text(one), text(other)), (Some("dermai".into()), Some("dermofit".into())));
    for roles in [MetadataRoles::PreDiagnosis, MetadataRoles::All] {
        let encoder = MetadataEncoder::fit(&merged.fields, &merged.cases, roles).unwrap();
        assert!(encoder.column_names().iter().all(|name| !name.contains(SOURCE_FIELD)));
        assert!(!encoder.matched(&merged.fields).unwrap().has_metadata(&merged.cases[one]).unwrap());
    }

    // A photo of the test part that another set has, too, is no training case.
    std::fs::copy(root.path().join("dermai/test/Nev/Nev.png"), root.path().join("dermofit/ML/copy.png")).unwrap();
    let library = dermofit::load(root.path().join("dermofit")).unwrap();
    let text = map.merge(&[("dermai", &dermai), ("edra", &edra), ("dermofit", &library)]).unwrap_err().to_string();
    assert!(text.contains("is in the training part of the split and in the test part"), "{text}");
}

/// Thirty drawn photos and, as the 31st case, one of them again: smaller and compressed anew.
fn photos(folder: &Path) -> CaseSet {
    let config = SyntheticConfig { cases: 30, image_size: (96, 72), ..SyntheticConfig::default() };
    write_synthetic(folder, &config).unwrap();
    let mut set = derm7pt::load(folder).unwrap().with_only(Modality::Clinical);
    let small = resize(&decode(&set.cases[4].clinical[0], Strictness::Strict).unwrap(), 70, Resampling::Pillow);
    let copy = folder.join("copy.jpg");
    write(&copy, &jpeg(70, 70, small.unwrap().data()));
    set.cases.push(Case {
        id: "copy".into(),
        clinical: vec![copy.into()],
        group: "copy".into(),
        ..set.cases[4].clone()
    });
    set
}

#[test]
fn a_copy_that_was_reduced_is_found_and_nothing_is_joined() {
    let folder = tempfile::tempdir().unwrap();
    let set = photos(folder.path());
    let done = Mutex::new(Vec::new());
    let parts = CaseParts::default();
    let found = NearDuplicates::of(&set, &parts, 32, 2, |n, of| done.lock().unwrap().push((n, of))).unwrap();
    let named = found.pairs.iter().find(|pair| pair.second.case.as_str() == "copy").expect("the copy is found");
    assert_eq!(
        (&named.first.case, named.second.modality, named.same_group, named.is_conflict()),
        (&set.cases[4].id, Modality::Clinical, false, false)
    );
    assert_eq!(done.lock().unwrap().len(), 31);
    assert!(near_duplicate_note(&found).unwrap().contains(" alike, such as those of `"));
    assert_eq!(set.cases[30].group, "copy");
    assert_eq!(NearDuplicates::of(&set, &parts, 32, 1, |_, _| ()).unwrap(), found, "threads do not matter");

    // In one group there is nothing to say.
    let mut joined = set.clone();
    joined.cases[30].group = joined.cases[4].group.clone();
    joined.join_groups(SharedImages::Join);
    let found = NearDuplicates::of(&joined, &parts, 32, 2, |_, _| ()).unwrap();
    assert!(found.pairs.iter().all(|pair| pair.second.case.as_str() != "copy"));

    // But for another label, or another part of a split that lets groups cross.
    let task = joined.tasks.iter().position(|task| task.name == "diagnosis").unwrap_or(0);
    let label = joined.cases[4].labels[task].unwrap();
    joined.cases[30].labels[task] = Some((label + 1) % joined.tasks[task].classes.len());
    let found = NearDuplicates::of(&joined, &parts, 32, 2, |_, _| ()).unwrap();
    let conflict = found.label_conflicts().find(|pair| pair.second.case.as_str() == "copy").unwrap();
    assert_eq!(conflict.labels[0].first, joined.tasks[task].classes[label]);
    let split = CaseParts::of_rows([("seen", &vec![4]), ("asked", &vec![30])], joined.len());
    let found = NearDuplicates::of(&joined, &split, 32, 2, |_, _| ()).unwrap();
    assert_eq!((found.cases_alike("asked", "seen"), found.cases_alike("asked", "asked")), (1, 0));
    assert!(found.between_parts().all(|pair| pair.same_group && pair.is_conflict()));
}
