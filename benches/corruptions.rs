//! Each corruption of one 768 x 512 image, the size of Derm7pt's, at the highest severity, on one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dermafuse::data::{Corruption, RgbPixels, Severity};

const SIZE: (usize, usize) = (768, 512);

/// Stripes with a spot: nothing that is the same everywhere.
fn image() -> RgbPixels {
    let (width, height) = SIZE;
    let value = |at: usize| {
        let (x, y) = (at / 3 % width, at / 3 / width);
        (x * 3 + y * 5 + at % 3 * 40) as u8 | ((x * y) >> 9) as u8
    };
    RgbPixels::new(width, height, (0..3 * width * height).map(value).collect()).expect("bytes fit the size")
}

fn corruptions(criterion: &mut Criterion) {
    let image = image();
    let mut group = criterion.benchmark_group("corruptions");
    group.throughput(Throughput::Elements((SIZE.0 * SIZE.1) as u64)).sample_size(10);
    for corruption in Corruption::ALL {
        group.bench_function(corruption.name(), |bencher| {
            bencher.iter(|| corruption.apply(black_box(&image), Severity::ALL[4], 1));
        });
    }
    group.finish();
}

criterion_group!(benches, corruptions);
criterion_main!(benches);
