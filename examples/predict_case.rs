//! A trained model answers for one patient, from two images and what is known of the patient:
//!
//! ```text
//! cargo run --release --example predict_case -- runs/quickstart/model.safetensors clinical.jpg dermoscopic.jpg sex=female
//! ```

use std::error::Error;

use dermafuse::{Device, Model, Patient};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, clinical, dermoscopic, fields @ ..] = &arguments[..] else {
        return Err("give MODEL CLINICAL DERMOSCOPIC [FIELD=VALUE …]".into());
    };
    let mut patient = Patient::new().clinical(clinical).dermoscopic(dermoscopic);
    for field in fields {
        let (name, value) = field.split_once('=').ok_or(format!("`{field}`: FIELD=VALUE is expected"))?;
        patient = patient.set(name, value);
    }

    let model = Model::open(model, &Device::flex())?;
    let answer = model.predict(&patient)?;
    for task in answer.tasks() {
        println!("{}: {} ({:.0} %)", task.name, task.top().class, 100.0 * task.top().probability);
    }
    println!("answered from: {}", answer.basis);
    answer.notes.iter().for_each(|note| println!("{note}"));
    println!("Research software: not a medical device, not for diagnosis.");
    Ok(())
}
