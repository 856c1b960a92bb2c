use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dermafuse_data::{
    CaseSet, CaseUnit, ClassMap, DataError, DataSetKind, ImageSource, LoadOptions, ModelOutputs, OtherTasks,
    OutsideModel,
};
use dermafuse_schema::FieldRole;
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::RecipeError;

/// A data set and where it lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// How it lies there.
    pub kind: DataSetKind,
    /// Its folder, or the file that describes it; recipes leave it to whoever runs them.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// The folder of the images, where a name may mean several.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// What counts as a case where the set has several images of a lesion.
    #[serde(default, skip_serializing_if = "CaseUnit::is_default")]
    pub cases: CaseUnit,
    /// The tasks that are learnt and tested, by name; all if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<String>,
    /// What becomes of the other tasks, where some are named.
    #[serde(default, skip_serializing_if = "OtherTasks::is_default")]
    pub other_tasks: OtherTasks,
    /// Other roles of fields than the set gives them, by name, such as `roles.itch = "post_diagnosis"`: see [`CaseSet::with_roles`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, FieldRole>,
    /// What other models say of the cases, by names of their own: class probabilities, each model a branch, or features.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, ModelOutputs>,
    /// Numeric fields, of the record, `outputs` included (`MODEL.CLASS`), that also stand beside those of the patient's other lesions; see
    /// [`CaseSet::add_other_lesions`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside_other_lesions: Vec<String>,
}

/// A set that is made of others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergedSource {
    /// The name of a class map that ships, or a file. It names the sets.
    pub class_map: String,
    /// The set whose cases validate and test; all cases of the others train.
    pub target: String,
}

/// A path that can be read from anywhere.
pub(super) fn absolute(path: &mut PathBuf) {
    if let Ok(whole) = std::path::absolute(&*path) {
        *path = whole;
    }
}

impl DataSource {
    pub(super) fn make_absolute(&mut self) {
        [&mut self.path, &mut self.images].into_iter().flatten().for_each(absolute);
        self.outputs.values_mut().for_each(|outputs| absolute(&mut outputs.file));
    }

    pub(super) fn resolve(&mut self, settings: &Settings, name: &str) {
        for (key, path) in [("path", &mut self.path), ("images", &mut self.images)] {
            if let Some(path) = path {
                *path = settings.path_of(&format!("data.{name}.{key}"), path);
            }
        }
        for (model, outputs) in &mut self.outputs {
            outputs.file = settings.path_of(&format!("data.{name}.outputs.{model}.file"), &outputs.file);
        }
    }

    /// Loads the set.
    ///
    /// # Errors
    /// A path that was not given; what the loader refuses; tasks that the set does not have; what other models say that does not fit
    /// the cases.
    pub fn load(&self, name: &str) -> Result<CaseSet, RecipeError> {
        let path =
            self.path.as_deref().ok_or_else(|| RecipeError::NoPath { name: name.to_owned(), kind: self.kind })?;
        let images = self.images.clone().map_or(ImageSource::BelowRoot, ImageSource::Folder);
        let Self { cases, other_tasks, .. } = *self;
        let (tasks, roles) = (self.tasks.clone(), self.roles.clone());
        let options = LoadOptions { images, cases, tasks, other_tasks, roles, ..LoadOptions::default() };
        let mut set = self.kind.load_with(path, &options)?;
        set.join_outputs(&self.outputs)?;
        set.add_other_lesions(&self.beside_other_lesions)?;
        Ok(set)
    }
}

impl MergedSource {
    pub(super) fn make_absolute(&mut self) {
        if self.class_map.ends_with(".toml") {
            let mut file = PathBuf::from(&self.class_map);
            absolute(&mut file);
            self.class_map = file.display().to_string();
        }
    }

    pub(super) fn resolve(&mut self, settings: &Settings, name: &str) {
        if self.class_map.ends_with(".toml") {
            let file = settings.path_of(&format!("merged.{name}.class_map"), self.class_map.as_ref());
            self.class_map = file.display().to_string();
        }
    }

    /// The class map.
    ///
    /// # Errors
    /// No shipped map of that name, a file that is none.
    pub fn map(&self) -> Result<ClassMap, DataError> {
        match self.class_map.as_str() {
            "dermai-edra-dermofit" => Ok(ClassMap::dermai_edra_dermofit()),
            "edra-groups" => Ok(ClassMap::edra_groups()),
            file => ClassMap::read(file),
        }
    }
}

/// The sets of an experiment, by name.
pub(crate) type LoadedSets = Vec<(String, Arc<CaseSet>)>;

impl Experiment {
    /// The other models that answer beside the network, for the only data set.
    pub(crate) fn outside(&self, set: &CaseSet) -> Vec<OutsideModel> {
        let outputs = self.only_set().and_then(|name| Some(&self.data.get(&name)?.outputs));
        let answering = outputs.into_iter().flatten().filter(|(_, outputs)| !outputs.classes.is_empty());
        answering.map(|(name, _)| OutsideModel::of(name, &set.tasks[0])).collect()
    }

    /// The names of the sets that are used, with those that joined and merged sets are made of, sorted.
    pub(crate) fn used_sets(&self) -> Result<Vec<String>, RecipeError> {
        let mut used = Vec::new();
        for name in self.stage_sets() {
            let names = self.joined.get(&name).map_or_else(|| vec![name], |joined| joined.sets.clone());
            for name in names {
                match self.merged.get(&name) {
                    Some(merged) => used.extend(merged.map()?.sets().into_iter().map(str::to_owned)),
                    None => used.push(name),
                }
            }
        }
        used.sort();
        used.dedup();
        Ok(used)
    }

    /// The set of each stage, declared, merged or joined.
    pub(crate) fn stage_sets(&self) -> Vec<String> {
        match self.stages.is_empty() {
            true => self.only_set().into_iter().collect(),
            false => self.stages.iter().map(|stage| stage.data.clone()).collect(),
        }
    }

    /// The set of an experiment without stages: the joined one, the merged one, or the only one.
    fn only_set(&self) -> Option<String> {
        match (self.joined.len(), self.merged.len(), self.data.len()) {
            (1, _, _) => self.joined.keys().next().cloned(),
            (0, 1, _) => self.merged.keys().next().cloned(),
            (0, 0, 1) => self.data.keys().next().cloned(),
            _ => None,
        }
    }

    /// Loads all sets that are used.
    ///
    /// # Errors
    /// As [`DataSource::load`].
    pub(crate) fn load_sets(&self) -> Result<LoadedSets, RecipeError> {
        self.load_sets_beside(&mut Vec::new())
    }

    /// The same with sets that are loaded already, by name and source; those that are loaded now are added.
    pub(crate) fn load_sets_beside(
        &self,
        loaded: &mut Vec<(String, DataSource, Arc<CaseSet>)>,
    ) -> Result<LoadedSets, RecipeError> {
        let mut load = |name: String| {
            let Some(source) = self.data.get(&name) else { return Err(RecipeError::NoSet { name }) };
            if let Some((_, _, set)) = loaded.iter().find(|(known, from, _)| *known == name && from == source) {
                return Ok((name, set.clone()));
            }
            let set = Arc::new(source.load(&name)?);
            loaded.push((name.clone(), source.clone(), set.clone()));
            Ok((name, set))
        };
        self.used_sets()?.into_iter().map(&mut load).collect()
    }
}

/// Whether every set that is used is there.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    let error = |key: &str, reason: String| Err(settings.error(key, reason).into());
    let declared: Vec<&str> = experiment.data.keys().map(String::as_str).collect();
    for (name, DataSource { tasks, other_tasks, outputs, .. }) in &experiment.data {
        let key = |part: &str| format!("data.{name}.{part}");
        let is_alone = experiment.stages.is_empty() && experiment.only_set().as_ref() == Some(name);
        if !(outputs.is_empty() || is_alone) {
            let reason = "what other models say is joined to a set that is trained on by itself, not to one of several";
            return error(&key("outputs"), reason.into());
        }
        for (model, outputs) in outputs {
            let key = format!("data.{name}.outputs.{model}");
            if outputs.classes.is_empty() && outputs.features.is_empty() {
                return error(&key, "say `classes`, with the column of each, or `features`".into());
            }
            if model.is_empty() || model.contains(['.', '+', '×', ' ']) {
                return error(&key, "the name of a branch has no point, plus, times or blank in it".into());
            }
        }
        if let Some((_, twice)) = tasks.iter().enumerate().find(|(at, task)| tasks[..*at].contains(task)) {
            return error(&key("tasks"), format!("`{twice}` is named twice"));
        }
        if tasks.is_empty() && !other_tasks.is_default() {
            let reason = format!("without `data.{name}.tasks`, which names those that are learnt, there are no others");
            return error(&key("other_tasks"), reason);
        }
    }
    for (name, merged) in &experiment.merged {
        let key = |part: &str| format!("merged.{name}.{part}");
        if experiment.data.contains_key(name) {
            return error(&format!("merged.{name}"), "a set of [data] has this name".into());
        }
        let map = match merged.map() {
            Ok(map) => map,
            Err(source) => return error(&key("class_map"), source.to_string()),
        };
        if let Some(foreign) = map.sets().into_iter().find(|set| !declared.contains(set)) {
            return error(&key("class_map"), format!("its map speaks of `{foreign}`, which [data] does not declare"));
        }
        if !map.sets().contains(&merged.target.as_str()) {
            let sets = map.sets().join(", ");
            return error(&key("target"), format!("`{}` is none of the merged sets: {sets}", merged.target));
        }
    }
    if experiment.stages.is_empty() && experiment.only_set().is_none() {
        let reason = match declared.is_empty() {
            true => "no data set; say [data.NAME] kind = …, path = …".to_owned(),
            false => {
                format!(
                    "{} sets and no [[stages]] that say which trains; merge or join them, or leave one",
                    declared.len()
                )
            }
        };
        return error("data", reason);
    }
    Ok(())
}
