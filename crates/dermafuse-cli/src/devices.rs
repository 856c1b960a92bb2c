//! The verb `devices`.

use clap::Args;
use dermafuse::devices::DeviceName;
use serde_json::json;

use crate::failure::{ProgramResult, with_causes};
use crate::terminal::print_result;

/// List the devices that this program can compute on.
///
/// A name is what --device and --set machine.device= take. Each device is started, to ask what it is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn devices(arguments: &Arguments) -> ProgramResult {
    let present: Vec<_> = DeviceName::present().into_iter().map(|name| (name, name.hardware())).collect();
    if arguments.json {
        let devices = present.iter().map(|(name, hardware)| {
            let error = hardware.as_ref().err().map(|error| with_causes(error));
            json!({ "name": name, "hardware": hardware.as_ref().ok().cloned().flatten(), "error": error })
        });
        let devices: Vec<_> = devices.collect();
        let of = |built: bool| {
            let features = DeviceName::backends().into_iter().filter(move |(_, is)| *is == built);
            features.map(|(feature, _)| feature).collect::<Vec<_>>()
        };
        let listed = json!({ "built_with": of(true), "built_without": of(false), "devices": devices });
        return print_result(&(serde_json::to_string_pretty(&listed)? + "\n"));
    }
    let width = present.iter().map(|(name, _)| name.to_string().len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, hardware) in &present {
        let what = match hardware {
            Ok(Some(hardware)) => hardware.clone(),
            Ok(None) if *name == DeviceName::Flex => "the CPU".to_owned(),
            Ok(None) => "a device that does not say what it is".to_owned(),
            Err(error) => with_causes(error),
        };
        text += format!("{name:width$}  {what}").trim_end();
        text += "\n";
    }
    for (feature, built) in DeviceName::backends() {
        if built && !present.iter().any(|(name, _)| name.feature() == feature) {
            text += &format!("\nThis machine shows no device to `{feature}`, with which this program was built.\n");
        } else if !built {
            text += &format!(
                "\nThis program was built without `{feature}`; `cargo install dermafuse-cli --features {feature}` builds it in.\n"
            );
        }
    }
    print_result(&text)
}
