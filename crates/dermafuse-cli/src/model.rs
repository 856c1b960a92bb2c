//! The saved model that a verb is about.

use std::path::PathBuf;

use clap::Args;
use dermafuse::infer::Bundle;

use crate::device::DeviceArgument;
use crate::failure::Failure;

/// A saved model and where it computes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelArguments {
    /// The model: a file, or the folder of the run that made it.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgument,
}

impl ModelArguments {
    /// Reads the model.
    ///
    /// # Errors
    /// A device that there is not, a file that is no model.
    pub(crate) fn load(&self) -> Result<Bundle, Failure> {
        Ok(Bundle::load(&self.model, &self.device.device()?)?)
    }
}

/// One value of a patient's record, as `NAME=VALUE`.
///
/// # Errors
/// A text without `=`.
pub(crate) fn field_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE, such as sex=female")?;
    Ok((name.to_owned(), value.to_owned()))
}
