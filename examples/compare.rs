//! Two methods on the same cases with the same seeds, and whether they differ:
//!
//! ```text
//! cargo run --release --example compare -- runs/compared
//! ```

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use dermafuse::recipes::{MethodComparison, Recipe, TerminalProgress, Workplace};
use dermafuse::synthetic::{self, SyntheticConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("give a folder for the results")?);
    let data = out.join("data");
    synthetic::write(&data, &SyntheticConfig { cases: 60, image_size: (64, 48), ..SyntheticConfig::default() })?;

    let mut methods = Vec::new();
    for (recipe, name) in [("pemm", "PS"), ("pemm", "PS+SCA+BL")] {
        let mut recipe = Recipe::named(recipe)?;
        recipe.set_data(&format!("derm7pt={}", data.display()))?;
        for setting in [
            "method.weights=random",
            "method.network.backbone=resnet18_quarter",
            "training.preprocess.size=32",
            "training.epochs=1",
            "training.averaging=none",
            "repeats=2",
        ] {
            recipe.set(setting)?;
        }
        methods.push((name.to_owned(), String::new(), recipe.experiment_of(recipe.row(name)?)?));
    }
    let device = Device::flex();
    let place = Workplace::on(&device).in_folder(&out, false);
    let comparison = MethodComparison::new("With attention and without", methods, place)?;
    let outcome = comparison.run(place, &mut TerminalProgress::default())?;
    println!("{}", outcome.table());
    for (measure, test) in outcome.write(&out)? {
        for pair in &test.pairs {
            let [one, two] = [pair.first, pair.second].map(|method| &test.methods[method].name);
            println!("{measure}: {one} – {two}, Wilcoxon p = {:.3}", pair.wilcoxon.p);
        }
    }
    Ok(())
}
