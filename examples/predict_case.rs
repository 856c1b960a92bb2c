//! A trained model answers for one patient, from two images and what is known of the patient:
//!
//! ```text
//! cargo run --release --example predict_case -- runs/quickstart/model.safetensors clinical.jpg dermoscopic.jpg sex=female
//! ```

use std::error::Error;

use burn::tensor::Device;
use dermafuse::infer::Bundle;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, clinical, dermoscopic, fields @ ..] = &arguments[..] else {
        return Err("give MODEL CLINICAL DERMOSCOPIC [FIELD=VALUE …]".into());
    };
    let fields = fields.iter().map(|field| field.split_once('=').ok_or(format!("`{field}`: FIELD=VALUE is expected")));
    let fields = fields.map(|field| field.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let fields: Vec<(String, String)> = fields.collect::<Result<_, _>>()?;

    let bundle = Bundle::load(model, &Device::flex())?;
    let case = bundle.single_case("patient", &[clinical.into()], &[dermoscopic.into()], &fields)?;
    let answers = bundle.predict(&case.whole(), |_| ())?;
    let answer = answers.last();
    if let Some(failed) = answers.failed.first() {
        return Err(format!("no answer: {}", failed.reason).into());
    }
    for (task, of_classes) in answer.tasks.iter().zip(&answer.probabilities) {
        let (name, classes) = (&task.name, task.classes.iter().zip(of_classes.row(0)));
        let (class, probability) = classes.max_by(|(_, one), (_, two)| one.total_cmp(two)).ok_or("no classes")?;
        println!("{name}: {class} ({:.0} %)", 100.0 * probability);
    }
    println!("answered from: {}", answer.basis[0]);
    println!("Research software: not a medical device, not for diagnosis.");
    Ok(())
}
