//! Arguments that name data sets.

use std::path::{Path, PathBuf};

use clap::Args;
use dermafuse::data::{CaseSet, CaseUnit, ClassMap, DataError, DataSetKind, ImageSource, LoadOptions, OtherTasks};
use dermafuse::schema::TaskSet;

use crate::failure::Failure;

/// One data set, or several that a class map makes one of.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArguments {
    /// A data set as KIND=PATH: its kind (`dermafuse datasets` lists them) and its folder, or the file that describes it. It
    /// may be given several times for a class map of several sets.
    #[arg(long, value_name = "KIND=PATH", required = true, value_parser = source)]
    data: Vec<Source>,
    /// The folder of the images, where the data set has several of one name.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// What counts as a case where a data set has several images of a lesion: images (each alone) or lesions (with all of
    /// them).
    #[arg(long, value_name = "UNIT", default_value = "images")]
    cases: CaseUnit,
    /// The tasks that are asked, with commas between their names, where a data set has others too; all if not given.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    tasks: Vec<String>,
    /// What becomes of the other tasks: left_out, or inputs, for a model that was trained with them as metadata.
    #[arg(long, value_name = "WHAT", default_value = "left_out", requires = "tasks")]
    other_tasks: OtherTasks,
    /// A file that says which classes of the data are which of the model's: many may become one, and some may be dropped; the
    /// model's may be added up to coarser ones. The names of maps that ship are dermai-edra-dermofit and edra-groups.
    #[arg(long, value_name = "FILE")]
    class_map: Option<PathBuf>,
}

/// A data set and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    kind: DataSetKind,
    path: PathBuf,
}

/// A data set as `KIND=PATH`.
fn source(text: &str) -> Result<Source, String> {
    let (kind, path) = text.split_once('=').ok_or("give KIND=PATH, such as derm7pt=release_v0")?;
    let kind = kind.parse::<DataSetKind>().map_err(|error| error.to_string())?;
    match path.is_empty() {
        true => Err(format!("{kind} lies nowhere; give its folder, as in {kind}=DIR")),
        false => Ok(Source { kind, path: path.into() }),
    }
}

impl DataArguments {
    /// Loads the set; of several, and where a class map is given, the one that the map makes of them, and the map.
    ///
    /// # Errors
    /// Several sets without a map, sets that the map does not speak of, what a loader refuses.
    pub(crate) fn load(&self) -> Result<(CaseSet, Option<ClassMap>), Failure> {
        let several = self.data.len() > 1;
        if several && self.class_map.is_none() {
            return Err(
                "several data sets are evaluated as one: say with --class-map which of their classes are which".into(),
            );
        }
        if several && self.images.is_some() {
            return Err("--images is the folder of one data set, and several are given; describe each in a file".into());
        }
        let map = self.class_map.as_deref().map(class_map).transpose()?;
        let images = self.images.clone().map_or(ImageSource::BelowRoot, ImageSource::Folder);
        let Self { cases, other_tasks, ref tasks, .. } = *self;
        let options = LoadOptions { images, cases, tasks: tasks.clone(), other_tasks, ..LoadOptions::default() };
        let sets = self.data.iter().map(|source| source.kind.load_with(&source.path, &options));
        let mut sets = sets.collect::<Result<Vec<_>, _>>()?;
        let Some(map) = map else { return Ok((sets.remove(0), None)) };
        let named = self.data.iter().zip(&sets).map(|(source, set)| Ok((self.name_in(&map, source, set)?, set)));
        let named = named.collect::<Result<Vec<_>, String>>()?;
        let named: Vec<(&str, &CaseSet)> = named.iter().map(|(name, set)| (name.as_str(), *set)).collect();
        Ok((map.merge(&named)?, Some(map)))
    }

    /// Loads the set for a verb that asks by the classes of a model with these tasks; `what` the verb does stands in the error.
    ///
    /// # Errors
    /// A class map that adds the model's classes up, and as [`load`](Self::load).
    pub(crate) fn load_by_own_classes(&self, tasks: &TaskSet, what: &str) -> Result<CaseSet, Failure> {
        let (set, map) = self.load()?;
        match map.map(|map| map.sums(tasks)).transpose()?.flatten() {
            None => Ok(set),
            Some(_) => Err(format!("{what} by the model's own classes, and the class map adds them up").into()),
        }
    }

    /// What a class map calls a set: a map of one set speaks of the only one, whatever it is called; others call it by its
    /// kind, its own name, or that of its folder.
    fn name_in(&self, map: &ClassMap, source: &Source, set: &CaseSet) -> Result<String, String> {
        let known = map.sets();
        if let ([name], 1) = (&known[..], self.data.len()) {
            return Ok((*name).to_owned());
        }
        let folder = source.path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let names = [Some(source.kind.name().to_owned()), Some(set.name.clone()), folder];
        let found = names.iter().flatten().find(|name| known.contains(&name.as_str()));
        found.cloned().ok_or_else(|| {
            format!(
                "the class map {} speaks of {}, and {}={} is none of them; call its folder as the map does",
                map.name(),
                known.join(", "),
                source.kind,
                source.path.display()
            )
        })
    }
}

/// A class map that ships, or a file.
fn class_map(name: &Path) -> Result<ClassMap, DataError> {
    match name.to_str() {
        Some("dermai-edra-dermofit") => Ok(ClassMap::dermai_edra_dermofit()),
        Some("edra-groups") => Ok(ClassMap::edra_groups()),
        _ => ClassMap::read(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_kind_and_a_path() {
        let found = source("derm7pt=a=b").unwrap();
        assert_eq!(found, Source { kind: DataSetKind::Derm7pt, path: "a=b".into() });
        assert!(source("derm7pt").unwrap_err().starts_with("give KIND=PATH"));
        assert!(source("derm7pt=").unwrap_err().contains("as in derm7pt=DIR"));
        assert!(source("pad=x").unwrap_err().starts_with("unknown data set `pad`: use one of class-folders"));
    }

    #[test]
    fn maps_that_ship_are_known_by_name() {
        for name in ["dermai-edra-dermofit", "edra-groups"] {
            assert_eq!(class_map(Path::new(name)).unwrap().name(), name);
        }
        assert!(class_map(Path::new("nowhere.toml")).unwrap_err().to_string().contains("nowhere.toml"));
    }
}
