//! What `models` does with installed models: adds, lists, removes.

use std::env;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dermafuse::infer::{InferError, InstalledModel, InstalledModels, sha256_hex};
use dermafuse::schema::Task;
use serde_json::{Value, json};

use crate::device::DeviceArgument;
use crate::failure::{Failure, ProgramResult, with_causes};
use crate::show;
use crate::terminal::say;

/// What is done with installed models.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Action {
    Add(Add),
    Remove(Remove),
}

/// Install a model file, so that every verb takes it by its name.
///
/// The file is read as it would be to predict, and its card is shown. It is copied into the folder of installed models: that of
/// DERMAFUSE_MODELS, else dermafuse/models under XDG_DATA_HOME or ~/.local/share. Nothing is replaced, and no network is needed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Add {
    /// The model's file, or the folder of the run that made it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to call it, instead of what its file is called (of a model.safetensors, its folder).
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The SHA-256 that the file must have, as its publisher says.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Remove an installed model.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remove {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
}

/// The models that the user installed.
///
/// # Errors
/// No folder for them.
pub(crate) fn installed_models() -> Result<InstalledModels, InferError> {
    InstalledModels::of_user(|name| env::var_os(name))
}

pub(crate) fn run(action: &Action) -> ProgramResult {
    match action {
        Action::Add(Add { file, name, sha256, device }) => {
            let models = installed_models()?;
            let (installed, bundle) = models.add(file, name.as_deref(), sha256.as_deref(), &device.device()?)?;
            show::print(&bundle, &installed.path, false)?;
            let InstalledModel { name, path, .. } = installed;
            say!("\ninstalled as `{name}`, which every verb takes for a MODEL: dermafuse predict {name} …");
            if sha256.is_none() {
                // What others can compare theirs with.
                say!("SHA-256 {}", sha256_hex(&std::fs::read(path)?));
            }
        }
        Action::Remove(Remove { name }) => say!("removed {}", installed_models()?.remove(name)?.display()),
    }
    Ok(())
}

/// A model of the list, and what it says of itself or what is wrong with it.
struct Listed {
    model: InstalledModel,
    about: Result<(String, Vec<Task>), String>,
}

/// The installed models; none where there is no folder for them.
fn listed() -> Result<Vec<Listed>, Failure> {
    let Ok(models) = installed_models() else { return Ok(Vec::new()) };
    let listed = models.list()?.into_iter().map(|model| {
        let about = model.description().map_err(|error| with_causes(&error));
        let about = about.map(|about| (about.data_set, about.tasks.iter().cloned().collect()));
        Listed { model, about }
    });
    Ok(listed.collect())
}

/// The installed models for people, one a line.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn print_installed() -> ProgramResult {
    let listed = listed()?;
    if listed.is_empty() {
        say!("installed models: none; `dermafuse models add FILE` installs one\n");
        return Ok(());
    }
    say!("installed models, by the names that every verb takes for a MODEL\n");
    let width = listed.iter().map(|listed| listed.model.name.len()).max().unwrap_or(0);
    for Listed { model: InstalledModel { name, bytes, .. }, about } in &listed {
        let megabytes = *bytes as f64 / 1e6;
        let about = match about {
            Ok((data_set, tasks)) => {
                let tasks: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
                format!("{} of {data_set}", tasks.join(", "))
            }
            Err(error) => format!("cannot be used: {error}"),
        };
        say!("{name:<width$}  {megabytes:>7.1} MB  {about}");
    }
    say!();
    Ok(())
}

/// The same for programs.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn installed_json() -> Result<Vec<Value>, Failure> {
    let json = listed()?.into_iter().map(|Listed { model, about }| {
        let (data_set, tasks, error) = match about {
            Ok((data_set, tasks)) => (Some(data_set), tasks, None),
            Err(error) => (None, Vec::new(), Some(error)),
        };
        json!({
            "name": model.name,
            "file": model.path.display().to_string(),
            "bytes": model.bytes,
            "data_set": data_set,
            "tasks": tasks,
            "error": error,
        })
    });
    Ok(json.collect())
}
