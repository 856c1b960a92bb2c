//! Cases that no loader knows, made by a program from its own records, and a training on them:
//!
//! ```text
//! cargo run --release --example own_data_set -- runs/own
//! ```
//!
//! Drawn pictures stand for the photos. A table (CSV) needs no program: docs/adding-a-dataset.md says how it is described.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse::data::{CaseSet, Split, derm7pt};
use dermafuse::recipes::{Recipe, TerminalProgress, Workplace};
use dermafuse::schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};
use dermafuse::synthetic::{self, SyntheticConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("give a folder for the results")?);
    let photos = out.join("photos");
    synthetic::write(&photos, &SyntheticConfig { cases: 60, image_size: (64, 48), ..SyntheticConfig::default() })?;

    // Tasks and fields say their classes and values; a case has a value of each, and a group that no split divides.
    let drawn = derm7pt::load(&photos)?;
    let melanoma = drawn.tasks[0].classes.iter().position(|class| class == "MEL");
    let cases = drawn.cases.into_iter().enumerate().map(|(number, drawn)| Case {
        clinical: drawn.clinical,
        group: format!("patient {}", number / 2).into(),
        metadata: vec![FieldValue::Number(20.0 + number as f64)],
        labels: vec![Some(usize::from(drawn.labels[0] == melanoma))],
        ..Case::new(format!("case {number}"))
    });
    let mut set = CaseSet {
        name: "clinic".into(),
        synthetic: true,
        tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["benign", "malignant"])])?,
        fields: vec![Field::numeric("age", FieldRole::PreDiagnosis)],
        cases: cases.collect(),
        split: None,
        notes: Vec::new(),
    };
    set.split = Some(Split::stratified(&set, 0, [0.6, 0.2, 0.2], 0)?);

    let mut recipe = Recipe::named("jif")?;
    for setting in ["split={ kind = \"published\" }", "method.weights=random", "training.preprocess.size=32"] {
        recipe.set(setting)?;
    }
    recipe.set("method.network.backbone=resnet18_quarter")?;
    recipe.set("training.epochs=1")?;
    let plan = recipe.experiment()?.plan_for(&[("pad".into(), Arc::new(set))])?; // what the recipe calls its set
    let device = Device::flex();
    let outcome = plan.run(Workplace::on(&device).in_folder(&out, false), &mut TerminalProgress::default())?;
    outcome.write(&out)?;
    println!("the report: {}", out.join("report.html").display());
    Ok(())
}
