//! How long the search for near hashes takes, by the number of hashes.
//!
//! ```text
//! cargo run --release -p dermafuse-data --example near_duplicates -- 1000 10000 100000
//! ```
//!
//! The hashes are drawn; every tenth is a copy of another in which 20 of the 256 bits are turned.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Instant;

use dermafuse_data::{ImageHash, near_pairs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>9}  {:>10}  {:>9}", "hashes", "pairs", "seconds");
    for count in std::env::args().skip(1) {
        let hashes = drawn(count.parse()?);
        let started = Instant::now();
        let mut pairs = BTreeSet::new();
        near_pairs(&hashes, 32, |one, other, _| {
            pairs.insert((one, other));
        })?;
        println!("{:>9}  {:>10}  {:>9.3}", hashes.len(), pairs.len(), started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn drawn(count: usize) -> Vec<ImageHash> {
    let mut state = 1_u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 31
    };
    let mut hashes: Vec<ImageHash> = Vec::with_capacity(count);
    for at in 0..count {
        let mut hash = ImageHash([draw(), draw(), draw(), draw()]);
        if at % 10 == 9 {
            hash = hashes[draw() as usize % at];
            for _ in 0..20 {
                let bit = draw() as usize % 256;
                hash.0[bit / 64] ^= 1 << (bit % 64);
            }
        }
        hashes.push(hash);
    }
    hashes
}
