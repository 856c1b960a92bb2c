//! The saved model that a verb is about.

use std::path::PathBuf;

use clap::Args;
use dermafuse::infer::Bundle;

use crate::device::DeviceArgument;
use crate::failure::Failure;
use crate::installed::installed_models;

/// A saved model and where it computes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelArguments {
    /// The model: a file, the folder of the run that made it, or the name of an installed one (`dermafuse models`).
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgument,
}

impl ModelArguments {
    /// Where the model lies.
    ///
    /// # Errors
    /// A name that no model has, or that both a path and an installed model have.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        match installed_models() {
            Ok(models) => Ok(models.find(&self.model)?),
            Err(_) if self.model.exists() => Ok(self.model.clone()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the model.
    ///
    /// # Errors
    /// A device that there is not, a file that is no model, and as [`path`](Self::path).
    pub(crate) fn load(&self) -> Result<Bundle, Failure> {
        let device = self.device.device()?;
        Ok(Bundle::load(self.path()?, &device)?)
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
