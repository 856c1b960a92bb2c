//! One backbone, trained on several data sets in turn: a curriculum.
//!
//! Paper: S. Nedelcu et al., fine-tuning strategies for a private set of 13 classes. Source: the text. Differences:
//! blocks are the backbones' parameter groups, which are coarser than the paper's modules for EfficientNet-B3 and
//! MobileNetV2; a part of the training cases is set aside for validation, which the paper has not; a case that is
//! oversampled comes again only after all others of its class.

mod file;
mod plan;
mod settings;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dermafuse_backbones::BackboneKind;
use dermafuse_data::{CaseSet, ClassMap, DataError, Declaration, Split};
use dermafuse_schema::open_regular_file;
use dermafuse_train::Incomplete;
use toml::Spanned;

pub use plan::{Plan, PlannedStage, StartWeights};
pub use settings::{AugmentationKind, InputKind, Kept, NetworkSettings, StageSettings};
pub use stage::StageResult;

use crate::RecipeError;
use file::{CurriculumFile, MergedSet, StageFile};

/// A curriculum is a page or two.
const MAX_BYTES: u64 = 1 << 20;

/// The strategies that ship with this crate (`curricula/`): the file's name without `.toml`, and its text.
const SHIPPED: [(&str, &str); 7] = [
    ("scratch", include_str!("../curricula/scratch.toml")),
    ("merged", include_str!("../curricula/merged.toml")),
    ("dermai", include_str!("../curricula/dermai.toml")),
    ("edra-dermai", include_str!("../curricula/edra-dermai.toml")),
    ("edra-dermofit-dermai", include_str!("../curricula/edra-dermofit-dermai.toml")),
    ("milk10k-clinical", include_str!("../curricula/milk10k-clinical.toml")),
    ("milk10k-dermoscopic-clinical", include_str!("../curricula/milk10k-dermoscopic-clinical.toml")),
];

/// A strategy of fine-tuning, read from a TOML file: stages that train the same architecture on one data set after the
/// other. Each stage has a new head; only the backbone's weights carry over. The last stage is the one that counts.
///
/// ```
/// use dermafuse_recipes::Curriculum;
///
/// let curriculum = Curriculum::shipped("edra-dermofit-dermai").expect("it ships");
/// assert_eq!(curriculum.stages(), ["edra", "dermofit", "dermai"]);
/// assert_eq!(curriculum.data(), ["dermai", "dermofit", "edra"]);
///
/// let text = r#"
///     name = "two"
///     [data]
///     a = "class-folders"
///     [[stages]]
///     name = "first"
///     data = "b"
///     weights = "random"
/// "#;
/// let error = Curriculum::parse("two.toml", text).unwrap_err().to_string();
/// assert_eq!(error, "two.toml: line 7, column 12: data set `b`: expected one of [data] or [merged]: a");
/// ```
#[derive(Clone, Debug)]
pub struct Curriculum {
    declaration: Declaration,
    file: CurriculumFile,
    class_maps: BTreeMap<String, ClassMap>,
    /// What replaces the settings of every stage.
    replaced: StageSettings,
}

impl Curriculum {
    /// Reads a curriculum. Class maps that it names lie beside it, unless they ship.
    ///
    /// # Errors
    /// A file that cannot be read; what [`Curriculum::parse`] refuses.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, RecipeError> {
        drop(open_regular_file(file.as_ref(), MAX_BYTES)?);
        let (declaration, file) = Declaration::read(file.as_ref())?;
        Self::checked(declaration, file)
    }

    /// Takes a curriculum from memory; `file` is the name for its errors.
    ///
    /// # Errors
    /// Something else than a curriculum; no stage, two of the same name; a data set that is not declared, or declared
    /// and not used; weights of a stage that does not come before; a class map that cannot be read. Each with line and
    /// column.
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, RecipeError> {
        let (declaration, file) = Declaration::parse(file.as_ref(), text.into())?;
        Self::checked(declaration, file)
    }

    /// The names of the curricula that ship with this crate.
    #[must_use]
    pub fn shipped_names() -> Vec<&'static str> {
        SHIPPED.iter().map(|(name, _)| *name).collect()
    }

    /// A curriculum that ships with this crate.
    ///
    /// # Panics
    /// Never: the files are tested.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Self> {
        let (name, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(format!("{name}.toml"), text).expect("the files are tested"))
    }

    fn checked(declaration: Declaration, file: CurriculumFile) -> Result<Self, RecipeError> {
        let mut curriculum =
            Self { declaration, file, class_maps: BTreeMap::new(), replaced: StageSettings::default() };
        let Self { declaration, file, .. } = &curriculum;
        if file.stages.is_empty() {
            let (span, expected) = (file.name.span(), "at least one [[stages]]");
            return Err(declaration.error(span, "curriculum", file.name.get_ref(), expected).into());
        }
        let class_maps = file.merged.iter().map(|(name, merged)| {
            let map = curriculum.class_map(merged)?;
            Ok((name.get_ref().clone(), map))
        });
        let class_maps = class_maps.collect::<Result<BTreeMap<_, _>, RecipeError>>()?;
        curriculum.class_maps = class_maps;
        curriculum.check_sets()?;
        curriculum.check_stages()?;
        Ok(curriculum)
    }

    fn class_map(&self, merged: &MergedSet) -> Result<ClassMap, RecipeError> {
        let named = merged.class_map.get_ref();
        match named.as_str() {
            "dermai-edra-dermofit" => Ok(ClassMap::dermai_edra_dermofit()),
            "edra-groups" => Ok(ClassMap::edra_groups()),
            file => {
                let read = ClassMap::read(self.declaration.folder().join(file));
                Ok(read.map_err(|error| self.declaration.asked(merged.class_map.span(), error))?)
            }
        }
    }

    /// Every set that is used is declared, and the reverse.
    fn check_sets(&self) -> Result<(), DataError> {
        let Self { declaration, file, .. } = self;
        let declared: Vec<&str> = self.declared();
        for (name, merged) in &file.merged {
            let map = &self.class_maps[name.get_ref()];
            if file.data.contains_key(name) {
                let expected = "a name that no set of [data] has";
                return Err(declaration.error(name.span(), "merged set", name.get_ref(), expected));
            }
            for source in map.sets() {
                if !file.data.keys().any(|known| known.get_ref() == source) {
                    let expected = format!("to merge declared sets only, but its map speaks of `{source}`");
                    return Err(declaration.error(merged.class_map.span(), "class map", map.name(), expected));
                }
            }
            if !map.sets().contains(&merged.target.get_ref().as_str()) {
                let expected = format!("one of the merged sets: {}", map.sets().join(", "));
                return Err(declaration.error(merged.target.span(), "target", merged.target.get_ref(), expected));
            }
        }
        for stage in &file.stages {
            if !declared.contains(&stage.data.get_ref().as_str()) {
                let expected = format!("one of [data] or [merged]: {}", declared.join(", "));
                return Err(declaration.error(stage.data.span(), "data set", stage.data.get_ref(), expected));
            }
        }
        let used = self.used();
        match file.data.keys().find(|name| !used.contains(&name.get_ref().as_str())) {
            Some(idle) => {
                let expected = "to be used by a stage, or by a merged set that is";
                Err(declaration.error(idle.span(), "data set", idle.get_ref(), expected))
            }
            None => Ok(()),
        }
    }

    fn check_stages(&self) -> Result<(), DataError> {
        let Self { declaration, file, .. } = self;
        let stages = &file.stages;
        for (index, stage) in stages.iter().enumerate() {
            let before = || stages[..index].iter().map(|stage| stage.name.get_ref().as_str());
            let name = stage.name.get_ref();
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            if name.is_empty() || !name.chars().all(plain) || before().any(|other| other == name) {
                let expected = "letters, digits, - and _, unlike the other stages (it names a folder)";
                return Err(declaration.error(stage.name.span(), "name of a stage", name, expected));
            }
            let weights = stage.weights.get_ref().as_str();
            if !["random", "published"].contains(&weights) && !before().any(|other| other == weights) {
                let known: Vec<&str> = ["random", "published"].into_iter().chain(before()).collect();
                let expected = format!("one of {}", known.join(", "));
                return Err(declaration.error(stage.weights.span(), "weights", weights, expected));
            }
        }
        Ok(())
    }

    /// The names of all sets, declared and merged.
    fn declared(&self) -> Vec<&str> {
        self.file.data.keys().chain(self.file.merged.keys()).map(|name| name.get_ref().as_str()).collect()
    }

    /// The declared sets that stages use, directly or merged.
    fn used(&self) -> Vec<&str> {
        let of_stage = |stage: &'_ StageFile| match self.class_maps.get(stage.data.get_ref()) {
            Some(map) => map.sets().into_iter().map(str::to_owned).collect(),
            None => vec![stage.data.get_ref().clone()],
        };
        let used: Vec<String> = self.file.stages.iter().flat_map(of_stage).collect();
        let data = self.file.data.keys().map(|name| name.get_ref().as_str());
        data.filter(|name| used.iter().any(|used| used == name)).collect()
    }

    /// The curriculum's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.file.name.get_ref()
    }

    /// The names of the stages, in order.
    #[must_use]
    pub fn stages(&self) -> Vec<&str> {
        self.file.stages.iter().map(|stage| stage.name.get_ref().as_str()).collect()
    }

    /// The names of the data sets that it needs, in alphabetical order.
    #[must_use]
    pub fn data(&self) -> Vec<&str> {
        self.used()
    }

    /// Whether a stage begins with published weights.
    #[must_use]
    pub fn needs_published_weights(&self) -> bool {
        self.file.stages.iter().any(|stage| stage.weights.get_ref() == "published")
    }

    /// The network and its input.
    #[must_use]
    pub fn network(&self) -> &NetworkSettings {
        &self.file.network
    }

    /// The same curriculum with another network or input.
    #[must_use]
    pub fn with_network(mut self, change: impl FnOnce(&mut NetworkSettings)) -> Self {
        change(&mut self.file.network);
        self
    }

    /// The same curriculum where these settings, as far as they say something, hold for every stage.
    #[must_use]
    pub fn with_settings(mut self, settings: &StageSettings) -> Self {
        self.replaced = settings.clone().over(&self.replaced);
        self
    }

    /// Loads the data sets from their folders, by the names that the curriculum gives them.
    ///
    /// # Errors
    /// A set without a folder, a folder for a set that is not declared; what the loaders refuse.
    pub fn load(&self, folders: &[(String, PathBuf)]) -> Result<Vec<(String, CaseSet)>, RecipeError> {
        let needed = self.data();
        if let Some((name, _)) = folders.iter().find(|(name, _)| !needed.contains(&name.as_str())) {
            let expected = "one of the data sets that the curriculum uses";
            return Err(DataError::Setting { what: "data set", found: name.clone(), expected }.into());
        }
        let declared = self.file.data.iter().filter(|(name, _)| needed.contains(&name.get_ref().as_str()));
        let loaded = declared.map(|(name, layout)| {
            let Some((_, folder)) = folders.iter().find(|(given, _)| given == name.get_ref()) else {
                let expected = "a folder, which was not given";
                return Err(self.declaration.error(name.span(), "data set", name.get_ref(), expected).into());
            };
            let set = layout.get_ref().load(folder);
            let set = set.map_err(|error| self.declaration.asked(layout.span(), error))?;
            Ok((name.get_ref().clone(), set))
        });
        loaded.collect()
    }

    /// The recipes of all stages for these data sets. `published` is the file of published weights; `seed` decides
    /// splits, fresh weights, order and augmentation. The last stages of curricula with the same last data set have the
    /// same split and the same seed, whatever came before.
    ///
    /// # Errors
    /// A set that is not given; sets that do not fit their class map (with line and column of the map); a training part
    /// that lacks a class, a case without the image that a stage looks at; published weights that are needed and not
    /// given; settings that make no training. All with line and column, or the name of the stage.
    pub fn plan(&self, sets: &[(String, CaseSet)], published: Option<&Path>, seed: u64) -> Result<Plan, RecipeError> {
        let mut stages = Vec::new();
        for (index, stage) in self.file.stages.iter().enumerate() {
            // One split for all stages: what a later stage tests on, an earlier one has not seen.
            let (mut set, mut split) = self.set_of(&stage.data, sets, seed)?;
            let settings = self.replaced.clone().over(&stage.training).over(&self.file.training);
            let seed = seed.wrapping_add((self.file.stages.len() - 1 - index) as u64);
            let view = stage.view;
            let start = match stage.weights.get_ref().as_str() {
                "random" => StartWeights::Random,
                "published" => StartWeights::Published(self.published(stage, published)?),
                earlier => {
                    let index = self.stages().iter().position(|name| *name == earlier);
                    StartWeights::Stage(index.expect("the curriculum was checked"))
                }
            };
            let asked = |error: DataError| self.declaration.asked(stage.data.span(), error);
            if settings.incomplete == Some(Incomplete::Skip) {
                plan::leave_out_incomplete(&mut set, &mut split, view);
                split.check(&set).map_err(asked)?;
            }
            set.require_all_classes(&split.train).map_err(asked)?;
            plan::require_images(&set, &split, view).map_err(asked)?;
            let recipe =
                settings.recipe(&self.file.network, view, set.tasks.class_counts(), seed).map_err(|expected| {
                    self.declaration.error(stage.name.span(), "stage", stage.name.get_ref(), expected)
                })?;
            stages.push(PlannedStage { name: stage.name.get_ref().clone(), recipe, set, split, start });
        }
        Ok(Plan { name: self.name().into(), stages })
    }

    fn published(&self, stage: &StageFile, file: Option<&Path>) -> Result<PathBuf, RecipeError> {
        let error = |expected: String| {
            Err(self.declaration.error(stage.weights.span(), "weights", "published", expected).into())
        };
        match file {
            None => error("a file of weights, which was not given".into()),
            Some(file) if !file.is_file() => error(format!("a file, but {} is none", file.display())),
            Some(file) => Ok(file.into()),
        }
    }

    /// A declared or merged set, and its split.
    fn set_of(
        &self,
        name: &Spanned<String>,
        sets: &[(String, CaseSet)],
        seed: u64,
    ) -> Result<(CaseSet, Split), RecipeError> {
        let asked = |error: DataError| self.declaration.asked(name.span(), error);
        let given = |wanted: &str| {
            let set = sets.iter().find(|(name, _)| name == wanted).map(|(_, set)| set);
            set.ok_or_else(|| {
                let expected = format!("the data set `{wanted}`, which was not given");
                self.declaration.error(name.span(), "data set", name.get_ref(), expected)
            })
        };
        let split_of = |set: &CaseSet| match &set.split {
            Some(split) => Ok(split.clone()),
            None => Split::stratified(set, 0, self.file.split, seed),
        };
        let Some(map) = self.class_maps.get(name.get_ref()) else {
            let set = given(name.get_ref())?.clone();
            let split = split_of(&set).map_err(asked)?;
            split.check(&set).map_err(asked)?;
            return Ok((set, split));
        };
        let merged = self.file.merged.iter().find(|(merged, _)| *merged == name).map(|(_, merged)| merged);
        let target = merged.expect("every class map belongs to a merged set").target.get_ref();
        let mut sources = Vec::new();
        for source in map.sets() {
            let mut set = given(source)?.clone();
            // Only the target's cases validate and test.
            set.split = if source == target { Some(split_of(&set).map_err(asked)?) } else { None };
            sources.push((source, set));
        }
        let sources: Vec<(&str, &CaseSet)> = sources.iter().map(|(name, set)| (*name, set)).collect();
        let mut set = map.merge(&sources)?;
        let split = set.split.take().expect("the target has a split");
        Ok((set, split))
    }

    /// The architecture.
    #[must_use]
    pub fn backbone(&self) -> BackboneKind {
        self.file.network.backbone
    }
}

#[cfg(test)]
mod tests;
