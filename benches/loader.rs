//! Decoding, resizing and augmenting 600 x 450 JPEGs to 224 pixels on one core.
//!
//! `DERMAFUSE_BENCH_IMAGES` names a folder of JPEGs to read instead of drawn ones; `loader_reference.py` does the same
//! work on such a folder with OpenCV + Albumentations and with Pillow.

use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dermafuse::data::{Augmentation, BatchLoader, CaseSet, LoaderConfig, Preprocess, derm7pt};
use dermafuse::synthetic::{self, SyntheticConfig};

const IMAGES: usize = 64;

fn images() -> CaseSet {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loader");
    let config = SyntheticConfig { cases: IMAGES, image_size: (600, 450), ..SyntheticConfig::default() };
    synthetic::write(&root, &config).expect("the target folder is writable");
    let mut set = derm7pt::load(&root).expect("what was written can be read");
    if let Some(folder) = std::env::var_os("DERMAFUSE_BENCH_IMAGES").map(PathBuf::from) {
        let entries = std::fs::read_dir(folder).expect("the folder can be read");
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jpg"));
        files.sort();
        assert!(!files.is_empty(), "the folder holds JPEGs");
        set.cases
            .iter_mut()
            .zip(files.iter().cycle())
            .for_each(|(case, file)| case.clinical = vec![file.clone().into()]);
    }
    set.cases.iter_mut().for_each(|case| case.dermoscopic = Vec::new());
    set
}

fn loader(criterion: &mut Criterion) {
    let set = images();
    let cases = set.whole();
    let mut group = criterion.benchmark_group("loader");
    group.throughput(Throughput::Elements(IMAGES as u64)).sample_size(20);
    let augmentation = Augmentation { p: 1.0, ..Augmentation::default() };
    for (name, preprocess, augmentation) in [
        ("opencv/224/augmented/1-thread", Preprocess::as_released(224), Some((augmentation, 1, 0))),
        ("pillow/224/plain/1-thread", Preprocess::imagenet(224), None),
    ] {
        let config = LoaderConfig { augmentation, threads: 1, ..LoaderConfig::new(16, preprocess) };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let loader = BatchLoader::new(&cases, config.clone()).expect("the settings are valid");
                loader
                    .map(|batch| batch.expect("the images are whole").clinical.map_or(0.0, |planes| planes[0]))
                    .sum::<f32>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, loader);
criterion_main!(benches);
