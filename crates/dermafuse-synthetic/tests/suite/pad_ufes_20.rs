use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use dermafuse_data::{FoldConfig, FoldProtocol, Folds, LoadOptions, MetadataEncoder, Strictness, decode, pad_ufes_20};
use dermafuse_synthetic::pad_ufes_20::{COLUMNS, Config, Inputs, Optimum, Photo, Shares, sample, write};
use proptest::prelude::*;

fn small() -> Config {
    Config { photos: 60, image_size: (24, 18), ..Config::default() }
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
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn what_is_written_is_what_was_drawn() {
    let root = tempfile::tempdir().unwrap();
    let config = small();
    write(root.path(), &config).unwrap();
    let set = pad_ufes_20::load(root.path()).unwrap();
    assert_eq!((set.name.as_str(), set.synthetic, set.len()), ("pad-ufes-20-synthetic", true, 60));
    let photos = sample(&config).unwrap();
    for (case, photo) in set.cases.iter().zip(&photos) {
        assert_eq!(case.id.as_str(), photo.record.image());
        assert_eq!(case.labels, [Some(photo.diagnosis)]);
        assert_eq!(case.patient.as_deref(), photo.record.value("patient_id"));
        for (field, value) in set.fields.iter().zip(&case.metadata) {
            let written = photo.record.value(&field.name).unwrap();
            let read = field.text(value).unwrap_or_default();
            let equal = read == written || read.parse::<f64>().is_ok_and(|number| written.parse() == Ok(number));
            assert!(equal, "{}: {read} for {written}", field.name);
        }
        let pixels = decode(&case.clinical[0], Strictness::Strict).unwrap();
        assert!((21..=27).contains(&pixels.width()) && (16..=20).contains(&pixels.height()));
    }
    let notice = std::fs::read_to_string(root.path().join("SYNTHETIC")).unwrap();
    assert!(notice.contains("not patients") && notice.contains("    both: 0.770, 0.751"), "{notice}");
    let causes = std::fs::read_to_string(root.path().join("causes.csv")).unwrap();
    let first = &photos[0];
    let classes = pad_ufes_20::CLASSES;
    let row = format!("{},{},{}", first.record.image(), classes[first.appearance], classes[first.profile]);
    assert_eq!(causes.lines().nth(1), Some(row.as_str()));
}

#[test]
fn a_seed_decides_every_byte_on_any_number_of_threads() {
    let write_on = |threads: usize, seed: u64| {
        let root = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| write(root.path(), &Config { seed, ..small() })).unwrap();
        files(root.path())
    };
    let first = write_on(1, 4);
    assert!(first == write_on(3, 4));
    assert!(first != write_on(2, 5));
    assert_eq!(first.len(), 63);
}

#[test]
fn the_table_has_the_structure_of_the_real_one() {
    let config = Config { photos: 4_000, ..Config::default() };
    let photos = sample(&config).unwrap();
    let value = |photo: &Photo, column: &str| photo.record.value(column).unwrap().to_owned();
    let distinct = |key: &dyn Fn(&Photo) -> String| photos.iter().map(key).collect::<HashSet<_>>().len();
    let images = distinct(&|photo| value(photo, "img_id"));
    let patients = distinct(&|photo| value(photo, "patient_id"));
    let pairs = distinct(&|photo| value(photo, "patient_id") + "_" + &value(photo, "lesion_id"));
    let numbers = distinct(&|photo| value(photo, "lesion_id"));
    assert_eq!(images, 4_000);
    // 1,373 patients, 1,891 lesions and 1,641 numbers for 2,298 photos.
    assert!((2_200..2_600).contains(&patients) && (3_100..3_500).contains(&pairs), "{patients} {pairs}");
    assert_eq!(numbers, pairs - pairs / 8);

    // A history is missing as a whole, for the whole patient; symptoms, age and region never are.
    let history =
        |photo: &Photo| COLUMNS.iter().filter(|name| value(photo, name).is_empty()).copied().collect::<Vec<_>>();
    let mut of_patient: HashMap<String, Vec<&str>> = HashMap::new();
    for photo in &photos {
        let missing = history(photo);
        assert!(missing.is_empty() || missing.len() == 13, "{missing:?}");
        assert_eq!(of_patient.entry(value(photo, "patient_id")).or_insert_with(|| missing.clone()), &missing);
    }
    let without = photos.iter().filter(|photo| !history(photo).is_empty()).count() as f64 / 4_000.0;
    assert!((without - 0.35).abs() < 0.03, "{without}");
    let unknown = photos.iter().filter(|photo| value(photo, "grew") == "UNK").count() as f64 / 4_000.0;
    assert!((unknown - 0.17).abs() < 0.02, "{unknown}");

    // Diagnoses are as frequent as published among lesions; a patient can have several; every cancer was biopsied.
    let shares = pad_ufes_20::PUBLISHED_CLASSES.map(|count| count as f64 / pad_ufes_20::PUBLISHED_CASES as f64);
    for (class, share) in shares.iter().enumerate() {
        let found = photos.iter().filter(|photo| photo.diagnosis == class).count() as f64 / 4_000.0;
        assert!((found - share).abs() < 0.02, "{found} for {share}");
    }
    let mut diagnoses: HashMap<String, HashSet<usize>> = HashMap::new();
    for photo in &photos {
        diagnoses.entry(value(photo, "patient_id")).or_default().insert(photo.diagnosis);
        let cancer = ["BCC", "MEL", "SCC"].contains(&pad_ufes_20::CLASSES[photo.diagnosis]);
        assert!(!cancer || value(photo, "biopsed") == "True");
    }
    assert!(diagnoses.values().filter(|diagnoses| diagnoses.len() > 1).count() > 200);
}

/// How often the diagnosis is right that was most frequent, in the first half of the photos, where `seen` is the same.
fn counted<K: std::hash::Hash + Eq>(photos: &[Photo], seen: impl Fn(&Photo) -> K) -> f64 {
    let (train, test) = photos.split_at(photos.len() / 2);
    let mut counts: HashMap<K, [usize; 6]> = HashMap::new();
    for photo in train {
        counts.entry(seen(photo)).or_default()[photo.diagnosis] += 1;
    }
    let right = test.iter().filter(|photo| {
        let counts = counts.get(&seen(photo)).copied().unwrap_or_default();
        counts[photo.diagnosis] == *counts.iter().max().unwrap() && counts[photo.diagnosis] > 0
    });
    right.count() as f64 / test.len() as f64
}

#[test]
fn counting_reaches_the_declared_optima_and_not_more() {
    let shares = [
        Shares::default(),
        Shares { image: 0.1, record: 0.4, either: 0.0, together: 0.3 },
        Shares { image: 0.0, record: 0.0, either: 0.0, together: 1.0 },
        Shares { image: 0.0, record: 0.0, either: 0.0, together: 0.0 },
    ];
    for (seed, shares) in (0..).zip(shares) {
        let config = Config { photos: 60_000, seed, shares, ..Config::default() };
        let photos = sample(&config).unwrap();
        let near = |found: f64, inputs: Inputs| {
            let expected = config.optimum(inputs).accuracy;
            assert!((found - expected).abs() < 0.012, "{inputs:?} of {shares:?}: {found} for {expected}");
        };
        let record = |photo: &Photo| {
            let value = |column: &str| photo.record.value(column).unwrap().to_owned();
            (value("region"), value("bleed"))
        };
        near(counted(&photos, |_| ()), Inputs::Nothing);
        near(counted(&photos, |photo| photo.appearance), Inputs::Image);
        near(counted(&photos, record), Inputs::Record);
        near(counted(&photos, |photo| (photo.appearance, record(photo))), Inputs::ImageAndRecord);
    }
}

/// Naive Bayes on everything that the record says, as it is encoded for networks: no column knows more than region and
/// bleeding do, but for the biopsy, which is not an input.
#[test]
fn the_whole_record_knows_no_more() {
    let config = Config { photos: 12_000, seed: 3, ..Config::default() };
    let root = tempfile::tempdir().unwrap();
    let photos = sample(&config).unwrap();
    let mut table = COLUMNS.join(",");
    for photo in &photos {
        table = table + "\n" + &photo.record.values().join(",");
    }
    std::fs::write(root.path().join("metadata.csv"), table).unwrap();
    std::fs::write(root.path().join("SYNTHETIC"), "").unwrap();
    let set = pad_ufes_20::load_with(root.path(), &LoadOptions::metadata_only()).unwrap();
    let folds = Folds::new(&set, &FoldConfig::new(3, 0)).unwrap();
    let split = &folds.splits(FoldProtocol::NextFoldSelects).unwrap()[0];
    split.check(&set).unwrap();
    let patients = |rows: &[usize]| rows.iter().map(|&row| set.cases[row].patient.clone()).collect::<HashSet<_>>();
    assert!(patients(&split.train).is_disjoint(&patients(&split.test)));

    let accuracy = |config: dermafuse_data::EncoderConfig| {
        let encoder =
            MetadataEncoder::fit(&set.fields, split.train.iter().map(|&row| &set.cases[row]), config).unwrap();
        let encode = |row: usize| -> Vec<bool> {
            encoder
                .matched(&set.fields)
                .unwrap()
                .encode(&set.cases[row])
                .unwrap()
                .into_iter()
                .map(|value| value > 0.0)
                .collect()
        };
        let mut counts = vec![vec![1.0_f64; encoder.width()]; 6];
        let mut cases = [1.0_f64; 6];
        for &row in &split.train {
            let class = set.cases[row].labels[0].unwrap();
            cases[class] += 1.0;
            counts[class].iter_mut().zip(encode(row)).for_each(|(count, on)| *count += f64::from(u8::from(on)));
        }
        let right = split.test.iter().filter(|&&row| {
            let encoded = encode(row);
            let score = |class: usize| {
                let log = |(count, on): (&f64, &bool)| {
                    let share = count / (cases[class] + 1.0);
                    if *on { share.ln() } else { (1.0 - share).ln() }
                };
                cases[class].ln() + counts[class].iter().zip(&encoded).map(log).sum::<f64>()
            };
            let best = (0..6).max_by(|&a, &b| score(a).total_cmp(&score(b)));
            best == set.cases[row].labels[0]
        });
        right.count() as f64 / split.test.len() as f64
    };
    let declared = config.optimum(Inputs::Record).accuracy;
    let found = accuracy(pad_ufes_20::encoding());
    assert!(found < declared + 0.015 && found > declared - 0.05, "{found} for {declared}");
    let leaking = accuracy(dermafuse_data::MetadataRoles::IncludePostDiagnosis.into());
    assert!(leaking > declared + 0.015, "{leaking}: the biopsy tells more than {declared}");
}

/// The appearances differ enough to be told apart by the colours of a small picture.
#[test]
fn appearances_show() {
    let shares = Shares { image: 1.0, record: 0.0, either: 0.0, together: 0.0 };
    let config =
        Config { photos: 360, image_size: (64, 64), shares, diagnoses: [1.0; 6], seed: 2, ..Config::default() };
    assert!((config.optimum(Inputs::Image).accuracy - 1.0).abs() < 1e-12);
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &config).unwrap();
    let set = pad_ufes_20::load(root.path()).unwrap();
    // Of the pixels that differ most from the frame's colour: colour and its spread, relative to the frame.
    let features = |row: usize| -> Vec<f64> {
        let pixels = decode(&set.cases[row].clinical[0], Strictness::Strict).unwrap();
        let colours: Vec<[f64; 3]> = pixels.data().chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(f64::from)).collect();
        let mean = |colours: &[[f64; 3]]| -> [f64; 3] {
            std::array::from_fn(|c| colours.iter().map(|colour| colour[c]).sum::<f64>() / colours.len() as f64)
        };
        let skin = mean(&colours[..2 * pixels.width()]);
        let far = |colour: &[f64; 3]| (0..3).map(|c| (colour[c] / skin[c] - 1.0).abs()).sum::<f64>();
        let mut lesion = colours.clone();
        lesion.sort_by(|a, b| far(b).total_cmp(&far(a)));
        lesion.truncate(colours.len() / 12);
        let centre = mean(&lesion);
        let spread =
            |c: usize| (lesion.iter().map(|p| (p[c] - centre[c]).powi(2)).sum::<f64>() / lesion.len() as f64).sqrt();
        (0..3).map(|c| centre[c] / skin[c]).chain((0..3).map(|c| spread(c) / skin[c])).collect()
    };
    let all: Vec<Vec<f64>> = (0..set.len()).map(features).collect();
    let nearest = |row: usize| {
        let apart = |other: &usize| all[row].iter().zip(&all[*other]).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        (0..240).min_by(|a, b| apart(a).total_cmp(&apart(b))).map(|other| set.cases[other].labels[0])
    };
    let right = (240..360).filter(|&row| nearest(row) == Some(set.cases[row].labels[0])).count();
    assert!(right > 84, "{right} of 120");
}

#[test]
fn settings_are_checked_and_few_photos_are_enough() {
    let error = |config: Config| sample(&config).unwrap_err().to_string();
    let shares = |image, together| Shares { image, record: 0.0, either: 0.0, together };
    assert!(error(Config { photos: 0, ..small() }).starts_with("number of photos: 0 is not 1 or more"));
    assert!(error(Config { image_size: (0, 3), ..small() }).starts_with("size of the photos: (0, 3) is not"));
    for bad in [shares(0.7, 0.4), shares(-0.1, 0.4), shares(f64::NAN, 0.0)] {
        assert!(error(Config { shares: bad, ..small() }).starts_with("shares of who tells the diagnosis: "));
    }
    for bad in [[0.0; 6], [1.0, 1.0, 1.0, 1.0, 1.0, -1.0], [f64::INFINITY; 6], [f64::NAN; 6]] {
        assert!(error(Config { diagnoses: bad, ..small() }).starts_with("frequencies of the diagnoses: "));
    }
    assert!(error(Config { missing_history: 1.5, ..small() }).starts_with("part of missing histories: 1.5"));
    assert_eq!(sample(&Config { photos: 1, ..small() }).unwrap().len(), 1);
    let classes: HashSet<usize> =
        sample(&Config { photos: 40, ..small() }).unwrap().iter().map(|photo| photo.diagnosis).collect();
    assert_eq!(classes.len(), 6);
    let two = Config { diagnoses: [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], ..small() };
    assert!(sample(&two).unwrap().iter().all(|photo| [0, 3].contains(&photo.diagnosis)));
    assert!((two.optimum(Inputs::Nothing).balanced_accuracy - 0.5).abs() < 1e-12);
    let none = Config { missing_history: 1.0, ..small() };
    assert!(sample(&none).unwrap().iter().all(|photo| photo.record.value("smoke") == Some("")));
}

proptest! {
    #[test]
    fn more_inputs_never_know_less(
        shares in proptest::array::uniform4(0.0_f64..1.0),
        diagnoses in proptest::array::uniform6(0.01_f64..1.0),
    ) {
        let sum = shares.iter().sum::<f64>().max(1.0);
        let [image, record, either, together] = shares.map(|share| share / sum);
        let config = Config { shares: Shares { image, record, either, together }, diagnoses, ..Config::default() };
        config.check().unwrap();
        let total: f64 = config.probabilities().iter().flatten().flatten().sum();
        prop_assert!((total - 1.0).abs() < 1e-9);
        let [nothing, photo, table, both] =
            [Inputs::Nothing, Inputs::Image, Inputs::Record, Inputs::ImageAndRecord].map(|inputs| config.optimum(inputs));
        for measure in [|o: Optimum| o.accuracy, |o: Optimum| o.balanced_accuracy] {
            prop_assert!(measure(nothing) <= measure(photo) + 1e-12 && measure(nothing) <= measure(table) + 1e-12);
            prop_assert!(measure(photo) <= measure(both) + 1e-12 && measure(table) <= measure(both) + 1e-12);
            prop_assert!(measure(both) <= 1.0 + 1e-12);
        }
        // A photo is right at least where it tells, by itself or like the record.
        prop_assert!(photo.accuracy >= image + either - 1e-12 && table.accuracy >= record + either - 1e-12);
        prop_assert!(both.accuracy >= (image.max(record) + either).max(together) - 1e-12);
    }
}
