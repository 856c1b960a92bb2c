//! The first example of README, word for word.

use dermafuse::{Device, Model, Patient};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open("runs/quickstart/model.safetensors", &Device::flex())?;
    let photo = std::fs::read("clinical.jpg")?; // bytes, a path, or pixels
    let patient = Patient::new().clinical(photo).dermoscopic("dermoscopic.jpg").set("sex", "female");
    let answer = model.predict(&patient)?;
    let top = answer.task("diagnosis")?.top();
    println!("{} {:.2}, from {}", top.class, top.probability, answer.basis);
    answer.notes.iter().for_each(|note| println!("{note}"));
    Ok(())
}
