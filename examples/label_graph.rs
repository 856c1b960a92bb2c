//! Does a fixed graph over the labels help a trained model? Counted on the training labels, its strength found on the validation
//! cases, held against the test cases of the same split:
//!
//! ```text
//! cargo run --release --example label_graph -- runs/quickstart/model.safetensors derm7pt=runs/quickstart/data
//! ```

use std::error::Error;

use burn::tensor::Device;
use dermafuse::data::DataSetKind;
use dermafuse::ensemble::LabelGraph;
use dermafuse::infer::Bundle;

const STRENGTHS: [f64; 9] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data] = &arguments[..] else { return Err("give MODEL KIND=PATH".into()) };
    let (kind, folder) = data.split_once('=').ok_or("give the data set as KIND=PATH")?;
    let set = kind.parse::<DataSetKind>()?.load(folder.as_ref())?;
    let split = set.split.clone().ok_or("the data set has no split of its own")?;
    let bundle = Bundle::load(model, &Device::flex())?;

    let labels: Vec<_> = split.train.iter().map(|&row| set.cases[row].labels.clone()).collect();
    let graph = LabelGraph::fit(&set.tasks, &labels, LabelGraph::PRIOR)?;
    let answers = |rows: &[usize]| bundle.predict(&set.view(rows)?, |_| ());
    let (valid, test) = (answers(&split.valid)?, answers(&split.test)?);
    let found = graph.search(valid.last(), &STRENGTHS)?;
    println!("strength {} of {STRENGTHS:?}: {:.2} % on the validation cases", found.strength, 100.0 * found.score);
    let (before, after) = (test.last(), graph.smooth(test.last(), found.strength)?);
    for (index, task) in set.tasks.iter().enumerate() {
        let percent = |accuracy: Option<f64>| accuracy.map_or("n/a".to_owned(), |it| format!("{:.1}", 100.0 * it));
        println!(
            "{}: {} without, {} with",
            task.label,
            percent(before.accuracy(index)),
            percent(after.accuracy(index))
        );
    }
    let mean = |accuracy: Option<f64>| accuracy.map_or("n/a".to_owned(), |it| format!("{:.2}", 100.0 * it));
    println!("mean: {} without, {} with", mean(before.mean_accuracy()), mean(after.mean_accuracy()));
    Ok(())
}
