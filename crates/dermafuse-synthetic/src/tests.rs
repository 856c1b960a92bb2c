use std::collections::BTreeMap;
use std::path::Path;

use dermafuse_data::{Modality, derm7pt};

use crate::{Diagnosis, Lesion, Pattern, Regression, SyntheticConfig, Vessels, render, sample, table, write};

fn small(seed: u64) -> SyntheticConfig {
    SyntheticConfig { cases: 60, image_size: (48, 36), seed, ..SyntheticConfig::default() }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn table(bytes: &[u8]) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(bytes).deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn a_seed_decides_every_byte_on_any_number_of_threads() {
    let write_on = |threads: usize, seed: u64| {
        let root = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| write(root.path(), &small(seed))).unwrap();
        files(root.path())
    };
    let first = write_on(1, 4);
    assert!(first == write_on(3, 4));
    let other = write_on(2, 5);
    assert_eq!(first.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(first.iter().filter(|(name, _)| name.ends_with(".jpg")).all(|(name, bytes)| other[name] != *bytes));
}

#[test]
fn the_files_keep_the_published_invariants() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &small(1)).unwrap();
    let files = files(root.path());
    assert!(String::from_utf8_lossy(&files["SYNTHETIC"]).contains("not patients"));
    let rows = table(&files["meta/meta.csv"]);
    assert_eq!(rows.len(), 60);
    assert_eq!(rows[0].len(), 19);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["case_num"], (index + 1).to_string());
        let point = |column: &str, found: &[&str], points: u32| points * u32::from(found.contains(&&*row[column]));
        let score = point("pigment_network", &["atypical"], 2)
            + point("blue_whitish_veil", &["present"], 2)
            + point("vascular_structures", &["dotted", "linear irregular"], 2)
            + point("pigmentation", &["diffuse irregular", "localized irregular"], 1)
            + point("streaks", &["irregular"], 1)
            + point("dots_and_globules", &["irregular"], 1)
            + point("regression_structures", &["blue areas", "white areas", "combinations"], 1);
        assert_eq!(row["seven_point_score"], score.to_string(), "row {index}");
        for column in ["clinic", "derm"] {
            let picture = image::load_from_memory(&files[&format!("images/{}", row[column])]).unwrap();
            assert_eq!((picture.width(), picture.height()), (48, 36));
        }
    }
    let part = |name: &str| -> Vec<usize> {
        let rows = table(&files[&format!("meta/{name}_indexes.csv")]);
        rows.iter().map(|row| row["indexes"].parse().unwrap()).collect()
    };
    let parts = ["train", "valid", "test"].map(part);
    assert_eq!(parts.each_ref().map(Vec::len), [25, 12, 23]);
    let mut every = parts.concat();
    every.sort_unstable();
    assert_eq!(every, (0..60).collect::<Vec<_>>());
}

#[test]
fn every_class_is_trained_on_and_every_diagnosis_tested() {
    for (cases, seed) in [(24, 0), (30, 1), (60, 0), (60, 1), (100, 2), (400, 3)] {
        let cases = sample(&SyntheticConfig { cases, seed, ..SyntheticConfig::default() });
        let parts = table::split(&cases, seed);
        for part in &parts {
            for diagnosis in Diagnosis::ALL {
                assert!(part.iter().any(|&row| cases[row].lesion.diagnosis == diagnosis), "{diagnosis:?}");
            }
        }
        let missing = parts.map(|part| 24 - table::seen(&cases, &part).count_ones());
        assert_eq!(missing[0], 0, "{} cases", cases.len());
        assert!(cases.len() < 60 || missing == [0, 0, 0], "{} cases: {missing:?}", cases.len());
    }
    let few = sample(&SyntheticConfig { cases: 2, ..SyntheticConfig::default() });
    assert_eq!(table::split(&few, 0).concat().len(), 2);
}

#[test]
fn shares_follow_the_published_counts() {
    let cases = sample(&SyntheticConfig { cases: 1011, ..SyntheticConfig::default() });
    let share =
        |found: &dyn Fn(&Lesion) -> bool| cases.iter().filter(|case| found(&case.lesion)).count() as f32 / 1011.0;
    let near = |found: f32, published: f32| assert!((found - published).abs() < 0.035, "{found} for {published}");
    near(share(&|lesion| lesion.diagnosis == Diagnosis::Melanoma), 0.249);
    near(share(&|lesion| lesion.network == Pattern::Absent), 0.396);
    near(share(&|lesion| lesion.network == Pattern::Irregular), 0.227);
    near(share(&|lesion| lesion.streaks == Pattern::Irregular), 0.248);
    near(share(&|lesion| lesion.pigmentation == Pattern::Regular), 0.117);
    near(share(&|lesion| lesion.regression != Regression::Absent), 0.250);
    near(share(&|lesion| lesion.dots == Pattern::Regular), 0.330);
    near(share(&|lesion| lesion.veil), 0.193);
    near(share(&|lesion| lesion.vessels.is_irregular()), 0.070);
    let excised = cases.iter().filter(|case| case.management == "excision").count() as f32 / 1011.0;
    near(excised, 0.60);
}

#[test]
fn each_criterion_shows_more_on_the_skin_than_from_afar() {
    let apart = |one: &Lesion, other: &Lesion, modality| {
        let size = (128, 96);
        let pair = [one, other].map(|lesion| render(lesion, modality, size).into_raw());
        let sum: f64 = pair[0].iter().zip(&pair[1]).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        sum / pair[0].len() as f64
    };
    type Change = fn(&mut Lesion);
    let changes: [(&str, Change); 14] = [
        ("typical network", |lesion| lesion.network = Pattern::Regular),
        ("atypical network", |lesion| lesion.network = Pattern::Irregular),
        ("regular streaks", |lesion| lesion.streaks = Pattern::Regular),
        ("irregular streaks", |lesion| lesion.streaks = Pattern::Irregular),
        ("regular pigmentation", |lesion| lesion.pigmentation = Pattern::Regular),
        ("irregular pigmentation", |lesion| lesion.pigmentation = Pattern::Irregular),
        ("blue areas", |lesion| lesion.regression = Regression::BlueAreas),
        ("white areas", |lesion| lesion.regression = Regression::WhiteAreas),
        ("regular dots", |lesion| lesion.dots = Pattern::Regular),
        ("irregular dots", |lesion| lesion.dots = Pattern::Irregular),
        ("veil", |lesion| lesion.veil = true),
        ("arborizing", |lesion| lesion.vessels = Vessels::Arborizing),
        ("dotted", |lesion| lesion.vessels = Vessels::Dotted),
        ("hairpin", |lesion| lesion.vessels = Vessels::Hairpin),
    ];
    for (name, change) in changes {
        let plain = Lesion::plain(Diagnosis::Nevus, 11);
        let mut changed = plain.clone();
        change(&mut changed);
        let [far, near] = [Modality::Clinical, Modality::Dermoscopic].map(|it| apart(&plain, &changed, it));
        assert!(far > 0.0 && near > 0.5 && near > 3.0 * far, "{name}: {near} near, {far} afar");
    }
}

#[test]
fn a_picture_is_upright_and_scales() {
    let lesion = Lesion::plain(Diagnosis::Nevus, 2);
    let wide = render(&lesion, Modality::Dermoscopic, (96, 64));
    assert_eq!((wide.width(), wide.height()), (96, 64));
    assert_eq!(render(&lesion, Modality::Clinical, (1, 1)).dimensions(), (1, 1));
    assert_eq!(render(&lesion, Modality::Clinical, (30, 90)).dimensions(), (30, 90));
    // The same lesion at twice the size, averaged in blocks of four, is nearly the same picture.
    let large = render(&lesion, Modality::Dermoscopic, (192, 128));
    let mut apart = 0.0;
    for (x, y, pixel) in wide.enumerate_pixels() {
        let block =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dx, dy)| f32::from(large.get_pixel(2 * x + dx, 2 * y + dy)[1]));
        apart += (f32::from(pixel[1]) - block.iter().sum::<f32>() / 4.0).abs();
    }
    assert!(apart / (96.0 * 64.0) < 6.0, "{apart}");
}

#[test]
fn the_loader_reads_what_is_written() {
    for with_traps in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let config = SyntheticConfig { with_traps, ..small(6) };
        write(root.path(), &config).unwrap();
        let set = derm7pt::load(root.path()).unwrap();
        assert_eq!((set.name.as_str(), set.len()), ("derm7pt-synthetic", 60));
        assert_eq!(set.notes.is_empty(), !with_traps, "{:?}", set.notes);
        let split = set.split.as_ref().unwrap();
        set.view(&split.train).unwrap().require_all_classes().unwrap();
        for (case, drawn) in set.cases.iter().zip(sample(&config)) {
            assert_eq!(case.labels[0], Some(drawn.lesion.diagnosis as usize));
            assert_eq!(case.labels[6], Some(usize::from(drawn.lesion.veil)));
        }
    }
}

#[test]
fn traps_are_the_published_ones() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &SyntheticConfig { with_traps: true, ..small(3) }).unwrap();
    let files = files(root.path());
    let rows = table(&files["meta/meta.csv"]);
    let lower: BTreeMap<String, &String> = files.keys().map(|name| (name.to_lowercase(), name)).collect();
    let (mut exact, mut shared, mut shouting) = (0, 0, 0);
    for row in &rows {
        shared += usize::from(row["clinic"] == row["derm"]);
        for column in ["clinic", "derm"] {
            let name = format!("images/{}", row[column]);
            assert!(lower.contains_key(&name.to_lowercase()), "{name}");
            exact += usize::from(files.contains_key(&name));
            shouting += usize::from(name.ends_with(".JPG"));
        }
    }
    assert_eq!(shared, 1);
    assert!(shouting > 0 && exact < 2 * rows.len() && exact > rows.len());
    assert!(rows.iter().any(|row| row["derm"].starts_with("FCl/")));
}
