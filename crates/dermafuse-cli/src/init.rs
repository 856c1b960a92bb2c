//! The verb `init`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use dermafuse::data::{ColumnRole, Modality, ProposalOptions, ProposedSet};
use dermafuse::recipes::{Experiment, ProposedExperiment};

use crate::failure::{Failure, ProgramResult};
use crate::terminal::{print_note, say};

/// The file that describes the set.
const SET: &str = "set.toml";
/// The file of the experiment.
const EXPERIMENT: &str = "experiment.toml";

/// Look at a table and its images, and write a first description of the set and a first experiment.
///
/// Every column gets a role, with the reason for it. What gives the diagnosis away is left out. What cannot be told is said, with
/// what to do about it. Nothing is overwritten.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The table of cases: a CSV with a header.
    #[arg(value_name = "TABLE")]
    table: PathBuf,
    /// A folder of images, looked through three levels deep; the table's own if not given; may be given several times.
    #[arg(long, value_name = "DIR")]
    images: Vec<PathBuf>,
    /// A further table with a row for each case, image or patient, such as a ground truth; may be given several times.
    #[arg(long = "table", value_name = "CSV")]
    tables: Vec<PathBuf>,
    /// What the images are, clinical or dermoscopic, where the table does not tell.
    #[arg(long, value_name = "VIEW")]
    view: Option<Modality>,
    /// What a column is for, as COLUMN=ROLE with id, patient, lesion, group, clinical, dermoscopic, view, task, number,
    /// category, yes-no or left-out; may be given several times.
    #[arg(long = "role", value_name = "COLUMN=ROLE", value_parser = role)]
    roles: Vec<(String, ColumnRole)>,
    /// The recipe that the experiment starts from; chosen by what the set has if not given.
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// What the set is called; as its table if not given.
    #[arg(long)]
    name: Option<String>,
    /// The folder for set.toml and experiment.toml.
    #[arg(long, value_name = "DIR", default_value = "mine")]
    out: PathBuf,
}

/// A role as `COLUMN=ROLE`.
fn role(text: &str) -> Result<(String, ColumnRole), String> {
    // A column's name may hold a `=`.
    let (column, role) = text.rsplit_once('=').ok_or("give COLUMN=ROLE, such as dx=task")?;
    Ok((column.to_owned(), role.parse::<ColumnRole>().map_err(|error| error.to_string())?))
}

pub(crate) fn init(arguments: &Arguments) -> ProgramResult {
    let Arguments { table, out, recipe, .. } = arguments;
    let (set_file, experiment_file) = (out.join(SET), out.join(EXPERIMENT));
    for file in [&set_file, &experiment_file] {
        if file.symlink_metadata().is_ok() {
            return Err(
                format!("{} is there already and is not overwritten; give another --out", file.display()).into()
            );
        }
    }
    let proposed = ProposedSet::of(table, out, &arguments.options())?;
    print_proposal(table, &proposed);
    let set = proposed.load().map_err(|error| -> Failure {
        print_note("nothing is written, because the set could not be loaded as it is described");
        error.into()
    })?;
    let experiment = ProposedExperiment::of(&set, SET, recipe.as_deref())?;
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    write_new(&set_file, &proposed.toml)?;
    // What is written is read as it will be; what is not read does not stay.
    let mut written = vec![&set_file];
    let read = write_new(&experiment_file, &experiment.toml).and_then(|()| {
        written.push(&experiment_file);
        let read = Experiment::read_file(&experiment_file)?;
        for (name, source) in &read.data {
            source.load(name)?;
        }
        Ok(read)
    });
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            for file in written {
                fs::remove_file(file).map_err(|left| format!("{error}; and {} is left: {left}", file.display()))?;
            }
            return Err(error);
        }
    };

    say!("\n{}: {} cases, {} tasks, {} fields", set.name, set.len(), set.tasks.len(), set.fields.len());
    set.notes.iter().for_each(|note| say!("  note: {note}"));
    say!("recipe {}, because {}", experiment.recipe, experiment.reason);
    say!("\nwritten: {} (the set) and {} (the experiment)", set_file.display(), experiment_file.display());
    say!("read both, then:");
    say!("  dermafuse check {}", experiment_file.display());
    let run = Path::new("runs").join(read.data.keys().next().map_or("mine", String::as_str));
    say!("  dermafuse train {} --out {}", experiment_file.display(), run.display());
    say!("  dermafuse predict {} --described {} --table NEW.csv", run.display(), set_file.display());
    Ok(())
}

impl Arguments {
    fn options(&self) -> ProposalOptions {
        ProposalOptions {
            name: self.name.clone(),
            images: self.images.clone(),
            tables: self.tables.clone(),
            modality: self.view,
            roles: self.roles.iter().cloned().collect::<BTreeMap<_, _>>(),
        }
    }
}

fn print_proposal(table: &Path, proposed: &ProposedSet) {
    let names: BTreeSet<_> = proposed.columns.iter().map(|column| (&column.table, &column.name)).collect();
    say!("{}: {} rows, {} columns\n", table.display(), proposed.rows, names.len());
    let width = proposed.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    for column in &proposed.columns {
        let of = column.table.as_ref().map_or_else(String::new, |table| format!(" (in {table})"));
        say!("  {:<width$}  {:<11}  {}{of}", column.name, column.role, column.reason);
    }
    if !proposed.missing.is_empty() {
        say!("\ntaken for not recorded in every column: {}", proposed.missing.join(", "));
    }
    if !proposed.open.is_empty() {
        say!("\nto be decided or looked at:");
        proposed.open.iter().for_each(|open| say!("  - {open}"));
    }
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> ProgramResult {
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_column_and_a_word() {
        assert_eq!(role("a=b=task"), Ok(("a=b".into(), ColumnRole::Task)));
        assert_eq!(role("dx").unwrap_err(), "give COLUMN=ROLE, such as dx=task");
        let error = role("dx=label").unwrap_err();
        assert!(error.starts_with("`label` is no role of a column: say one of id, patient, lesion"), "{error}");
    }
}
