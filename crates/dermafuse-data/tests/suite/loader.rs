use std::sync::Arc;

use dermafuse_data::{
    Augmentation, BatchLoader, CaseSet, ChannelOrder, DermoscopicMode, Failures, ImageBatch, ImageCache, LoaderConfig,
    Looks, Preprocess, Strictness, shuffled,
};
use image::ExtendedColorType;

use crate::fixture::{case_set, golden, png, write};

/// `count` cases whose two images are the golden pictures in turn.
fn pictures(count: usize) -> CaseSet {
    let mut set = case_set(&vec![(0, Some(0)); count]);
    let names = ["baseline.jpg", "wide.png", "subsampled.jpg", "square.png", "grey.jpg"];
    for (row, case) in set.cases.iter_mut().enumerate() {
        case.clinical = vec![golden(names[row % names.len()]).into()];
        case.dermoscopic = vec![golden(names[(row + 1) % names.len()]).into()];
    }
    set
}

fn load(set: &CaseSet, rows: Vec<usize>, config: LoaderConfig) -> Vec<ImageBatch> {
    BatchLoader::new(&set.view(rows).unwrap(), config).unwrap().collect::<Result<_, _>>().unwrap()
}

fn augmented(threads: usize, epoch: u64) -> LoaderConfig {
    let augmentation = Augmentation { p: 1.0, ..Augmentation::default() };
    LoaderConfig {
        augmentation: Some((augmentation, 5, epoch)),
        threads,
        ..LoaderConfig::new(3, Preprocess::as_released(20))
    }
}

#[test]
fn an_asymmetric_image_arrives_as_written_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand.png");
    // 2 wide, 3 high; resized to 3 x 3 a middle column appears, the mean of its neighbours.
    #[rustfmt::skip]
    let rgb = [
        10, 100, 200,   30, 102, 220,
        50, 110, 210,   90, 114, 230,
         0, 120, 250,    2, 140, 254,
    ];
    write(&path, &png(2, 3, ExtendedColorType::Rgb8, &rgb));
    let mut set = case_set(&[(0, None)]);
    set.cases[0].clinical = vec![path.into()];

    let red = [[10.0, 20.0, 30.0], [50.0, 70.0, 90.0], [0.0, 1.0, 2.0]];
    let green = [[100.0, 101.0, 102.0], [110.0, 112.0, 114.0], [120.0, 130.0, 140.0]];
    let blue = [[200.0, 210.0, 220.0], [210.0, 220.0, 230.0], [250.0, 252.0, 254.0]];
    let bgr = Preprocess::as_released(3);
    let rgb = Preprocess { channels: ChannelOrder::Rgb, ..bgr.clone() };
    for (preprocess, planes) in [(bgr, [blue, green, red]), (rgb, [red, green, blue])] {
        let batches = load(&set, vec![0], LoaderConfig::new(1, preprocess));
        let expected: Vec<f32> = planes.as_flattened().as_flattened().iter().map(|value: &f32| value / 255.0).collect();
        assert_eq!(batches[0].clinical, Some(expected.to_vec()));
        assert_eq!((batches[0].size, batches.len()), (3, 1));
        assert_eq!((batches[0].has_clinical[0], batches[0].has_dermoscopic[0]), (true, false));
        assert_eq!(batches[0].dermoscopic, Some(vec![0.0; 27]));
    }

    let normalized = load(&set, vec![0], LoaderConfig::new(1, Preprocess { size: 3, ..Preprocess::imagenet(3) }));
    let corner = (10.0 / 255.0 - 0.485) / 0.229;
    assert!((normalized[0].clinical.as_ref().unwrap()[0] - corner).abs() < 1e-6);
}

#[test]
fn order_and_bytes_do_not_depend_on_threads() {
    let set = pictures(17);
    let rows = shuffled(&(0..17).collect::<Vec<_>>(), 11, 0);
    let one = load(&set, rows.clone(), augmented(1, 0));
    assert_eq!(one.iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(), [3, 3, 3, 3, 3, 2]);
    assert_eq!(one.iter().flat_map(|batch| batch.rows.clone()).collect::<Vec<_>>(), rows);
    for threads in [2, 5] {
        assert_eq!(load(&set, rows.clone(), augmented(threads, 0)), one);
    }
    assert_ne!(load(&set, rows, augmented(2, 1)), one, "another epoch is drawn anew");
}

#[test]
fn a_case_is_augmented_alike_wherever_it_stands() {
    let set = pictures(6);
    let all = load(&set, (0..6).collect(), augmented(2, 0));
    let alone = load(&set, vec![4], augmented(2, 0));
    let image = 3 * 20 * 20;
    assert_eq!(alone[0].clinical.as_ref().unwrap()[..], all[1].clinical.as_ref().unwrap()[image..2 * image]);
}

#[test]
fn a_cache_changes_nothing_and_keeps_its_limit() {
    let set = pictures(10);
    let rows: Vec<usize> = (0..10).collect();
    let fresh = load(&set, rows.clone(), augmented(2, 0));
    for (limit, held) in [(1 << 20, 5 * 20 * 20 * 3), (2 * 20 * 20 * 3, 2 * 20 * 20 * 3), (0, 0)] {
        let cache = Arc::new(ImageCache::new(limit));
        for _ in 0..2 {
            let config = LoaderConfig { cache: Some(Arc::clone(&cache)), ..augmented(2, 0) };
            assert_eq!(load(&set, rows.clone(), config), fresh);
        }
        assert_eq!(cache.bytes(), held);
    }
}

/// Images that grow from epoch to epoch: in a full cache, those of the new size take the places of those of the old one.
#[test]
fn a_full_cache_makes_room_for_the_same_image_in_another_size() {
    let set = pictures(10);
    let rows: Vec<usize> = (0..10).collect();
    let bytes = |side: usize| 5 * side * side * 3; // 5 files
    let cache = Arc::new(ImageCache::new(bytes(20)));
    // Both sizes fit at first; then those of the new size alone; in the end none would, so what is there stays.
    for (side, held) in
        [(10, bytes(10)), (16, bytes(10) + bytes(16)), (20, bytes(20)), (20, bytes(20)), (40, bytes(20))]
    {
        let preprocess = Preprocess::as_released(side);
        let fresh = load(&set, rows.clone(), LoaderConfig::new(2, preprocess.clone()));
        let config = LoaderConfig { cache: Some(Arc::clone(&cache)), ..LoaderConfig::new(2, preprocess) };
        assert_eq!(load(&set, rows.clone(), config), fresh);
        assert_eq!(cache.bytes(), held, "at {side} pixels");
    }
}

#[test]
fn light_reaches_the_dermoscopic_image_only_when_paired_or_independent() {
    let set = pictures(4);
    let rows: Vec<usize> = (0..4).collect();
    let plain = load(&set, rows.clone(), LoaderConfig::new(4, Preprocess::as_released(20)));
    let light = |dermoscopic| {
        let augmentation = Augmentation {
            p: 1.0,
            vertical_flip: 0.0,
            horizontal_flip: 0.0,
            shift_scale_rotate: 0.0,
            quarter_turns: 0.0,
            brightness_contrast: 1.0,
            dermoscopic,
            ..Augmentation::default()
        };
        let config = LoaderConfig {
            augmentation: Some((augmentation, 1, 0)),
            ..LoaderConfig::new(4, Preprocess::as_released(20))
        };
        load(&set, rows.clone(), config)
    };
    assert_ne!(light(DermoscopicMode::AsMask)[0].clinical, plain[0].clinical);
    assert_eq!(light(DermoscopicMode::AsMask)[0].dermoscopic, plain[0].dermoscopic);
    assert_ne!(light(DermoscopicMode::Paired)[0].dermoscopic, plain[0].dermoscopic);
    assert_ne!(light(DermoscopicMode::Independent)[0].dermoscopic, light(DermoscopicMode::Paired)[0].dermoscopic);
}

#[test]
fn the_first_bad_image_by_row_ends_the_loader() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = pictures(12);
    for row in [5, 7] {
        let path = folder.path().join(format!("bad{row}.jpg"));
        write(&path, b"");
        set.cases[row].clinical = vec![path.into()];
    }
    let mut loader = BatchLoader::new(&set.whole(), LoaderConfig::new(4, Preprocess::as_released(8))).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().rows, [0, 1, 2, 3]);
    let text = loader.next().unwrap().unwrap_err().to_string();
    assert!(text.contains("bad5.jpg: the image file is empty"), "{text}");
    assert!(loader.next().is_none());
}

#[test]
fn cases_that_cannot_be_read_are_listed_and_the_others_come_as_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = pictures(12);
    let bad = folder.path().join("bad.jpg");
    write(&bad, b"");
    // The whole second batch, and single cases by either image, or by a file that is not there.
    for row in 4..8 {
        set.cases[row].clinical = vec![bad.clone().into()];
    }
    set.cases[1].dermoscopic = vec![bad.into()];
    set.cases[11].clinical = vec![folder.path().join("gone.jpg").into()];
    let config = |threads| LoaderConfig {
        threads,
        failures: Failures::Report,
        ..LoaderConfig::new(4, Preprocess::as_released(8))
    };
    let batches = load(&set, (0..12).collect(), config(1));
    let rows: Vec<_> = batches.iter().map(|batch| batch.rows.clone()).collect();
    assert_eq!(rows, [vec![0, 2, 3], vec![], vec![8, 9, 10]]);
    let failed: Vec<Vec<usize>> =
        batches.iter().map(|batch| batch.failed.iter().map(|fault| fault.row).collect()).collect();
    assert_eq!(failed, [vec![1], vec![4, 5, 6, 7], vec![11]]);
    assert!(batches[0].failed[0].error.to_string().contains("bad.jpg: the image file is empty"));
    assert!(batches[2].failed[0].error.to_string().contains("gone.jpg: No such file"));
    assert_eq!(batches[1].clinical, Some(vec![]));
    for (batch, rows) in [(&batches[0], vec![0, 2, 3]), (&batches[2], vec![8, 9, 10])] {
        let alone = &load(&set, rows, LoaderConfig::new(3, Preprocess::as_released(8)))[0];
        assert_eq!((&batch.clinical, &batch.dermoscopic), (&alone.clinical, &alone.dermoscopic));
        assert_eq!(batch.has_clinical, [true; 3]);
    }
    assert_eq!(load(&set, (0..12).collect(), config(3)), batches);
}

#[test]
fn leniency_accepts_and_says_what() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = pictures(4);
    let bytes = std::fs::read(golden("baseline.jpg")).unwrap();
    let cut = folder.path().join("cut.jpg");
    write(&cut, &bytes[..bytes.len() * 3 / 4]);
    set.cases[2].clinical = vec![cut.clone().into()];
    let config = |decoding, cache| LoaderConfig {
        cache,
        ..LoaderConfig::new(4, Preprocess { decoding, ..Preprocess::as_released(8) })
    };
    let cache = Some(Arc::new(ImageCache::new(1 << 20)));
    let lenient = load(&set, (0..4).collect(), config(Strictness::Lenient, cache.clone()));
    assert_eq!(lenient[0].accepted.len(), 1);
    assert_eq!(lenient[0].accepted[0].row, 2);
    assert!(lenient[0].accepted[0].error.to_string().contains("cut.jpg: damaged or truncated"));
    assert_eq!(load(&set, (0..4).collect(), config(Strictness::Lenient, cache.clone())), lenient, "cached or not");
    let strict =
        BatchLoader::new(&set.view(&[0, 1, 2, 3]).unwrap(), config(Strictness::Strict, cache)).unwrap().next().unwrap();
    assert!(strict.unwrap_err().to_string().contains("cut.jpg: damaged or truncated"));
    // Sound images are the same under both.
    let rows = vec![0, 1, 3];
    let sound = load(&set, rows.clone(), config(Strictness::Strict, None));
    assert_eq!(load(&set, rows, config(Strictness::Lenient, None)), sound);
    assert!(sound[0].accepted.is_empty());
}

#[test]
fn a_slow_caller_does_not_fill_the_memory_and_may_leave() {
    let set = pictures(200);
    // Each case has its own files, so the cache counts what was decoded.
    let folder = tempfile::tempdir().unwrap();
    let mut set = CaseSet { cases: set.cases, ..set };
    for (row, case) in set.cases.iter_mut().enumerate() {
        let path = folder.path().join(format!("{row}.png"));
        std::fs::copy(golden("square.png"), &path).unwrap();
        (case.clinical, case.dermoscopic) = (vec![path.into()], Vec::new());
    }
    let cache = Arc::new(ImageCache::new(usize::MAX));
    let config = LoaderConfig {
        cache: Some(Arc::clone(&cache)),
        queue_batches: 2,
        ..LoaderConfig::new(5, Preprocess::as_released(8))
    };
    let mut loader = BatchLoader::new(&set.whole(), config).unwrap();
    loader.next().unwrap().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let decoded = cache.bytes() / (8 * 8 * 3);
    assert!(decoded <= (1 + 2 + 2) * 5, "{decoded} images decoded ahead of a caller who took one batch");
    drop(loader);
    let after = cache.bytes();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(cache.bytes(), after, "a dropped loader has stopped");
}

#[test]
fn bad_requests_are_refused_at_once() {
    let set = pictures(2);
    let error = |config| BatchLoader::new(&set.whole(), config).unwrap_err().to_string();
    let config = || LoaderConfig::new(2, Preprocess::as_released(8));
    assert_eq!(
        set.view(&[2]).unwrap_err().to_string(),
        "row 2 was asked for, but the case set has 2 cases (rows count from 0)"
    );
    assert_eq!(error(LoaderConfig { batch_size: 0, ..config() }), "batch size: 0 is not at least 1");
    let size = LoaderConfig { preprocess: Preprocess::as_released(0), ..config() };
    assert_eq!(error(size), "`preprocess.size` must be from 1 to 4096 pixels, found 0");
    assert!(load(&set, vec![], config()).is_empty());
}

/// A case with three photos and two dermoscopic images, between cases with one of each.
fn several() -> CaseSet {
    let mut set = pictures(3);
    set.cases[1].clinical = ["baseline.jpg", "wide.png", "square.png"].map(|name| golden(name).into()).to_vec();
    set.cases[1].dermoscopic = ["grey.jpg", "subsampled.jpg"].map(|name| golden(name).into()).to_vec();
    set
}

/// The images of the batches, one after the other.
fn planes(batches: &[ImageBatch], view: fn(&ImageBatch) -> &Option<Vec<f32>>) -> Vec<f32> {
    batches.iter().flat_map(|batch| view(batch).clone().unwrap()).collect()
}

#[test]
fn each_look_has_an_image_of_each_kind_and_the_shorter_list_begins_anew() {
    let set = several();
    let config = |looks| LoaderConfig { looks, ..LoaderConfig::new(2, Preprocess::as_released(12)) };
    let batches = load(&set, vec![2, 1, 0], config(Looks::Each));
    let rows: Vec<usize> = batches.iter().flat_map(|batch| batch.rows.clone()).collect();
    let looks: Vec<usize> = batches.iter().flat_map(|batch| batch.looks.clone()).collect();
    assert_eq!((rows, looks), (vec![2, 1, 1, 1, 0], vec![0, 0, 1, 2, 0]));

    // The same as five cases with one image of each kind.
    let mut alone = pictures(3);
    alone.cases.insert(2, alone.cases[1].clone());
    alone.cases.insert(3, alone.cases[1].clone());
    for (look, case) in alone.cases[1..4].iter_mut().enumerate() {
        case.clinical = vec![set.cases[1].clinical[look].clone()];
        case.dermoscopic = vec![set.cases[1].dermoscopic[look % 2].clone()];
    }
    let expected = load(&alone, vec![4, 1, 2, 3, 0], config(Looks::First));
    assert_eq!(planes(&batches, |batch| &batch.clinical), planes(&expected, |batch| &batch.clinical));
    assert_eq!(planes(&batches, |batch| &batch.dermoscopic), planes(&expected, |batch| &batch.dermoscopic));

    // What is not read has no looks.
    let dermoscopic = LoaderConfig { clinical: false, ..config(Looks::Each) };
    assert_eq!(load(&set, vec![1], dermoscopic).iter().map(|batch| batch.rows.len()).sum::<usize>(), 2);
    let first = load(&set, vec![1], config(Looks::First));
    assert_eq!(first[0].clinical.as_ref().unwrap()[..], planes(&batches, |batch| &batch.clinical)[432..864]);
}

#[test]
fn an_epoch_draws_a_look_by_seed_epoch_and_time() {
    let set = several();
    let drawn = |seed, epoch| {
        let looks = Looks::Drawn { seed, epoch };
        let config = LoaderConfig { looks, threads: 1, ..LoaderConfig::new(64, Preprocess::as_released(8)) };
        load(&set, vec![1; 60].into_iter().chain([0, 2]).collect(), config).remove(0)
    };
    let batch = drawn(7, 3);
    assert_eq!(batch, drawn(7, 3));
    assert_ne!(batch.looks, drawn(7, 4).looks);
    assert_ne!(batch.looks, drawn(8, 3).looks);
    let times = |look: usize| batch.looks[..60].iter().filter(|&&drawn| drawn == look).count();
    assert!((0..3).all(|look| (10..=30).contains(&times(look))), "{:?}", batch.looks);
    assert_eq!(batch.looks[60..], [0, 0]);
}
