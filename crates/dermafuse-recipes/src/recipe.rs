//! Recipes: experiments that ship, each a file with a paper's defaults, its rows and its printed numbers.

use std::collections::BTreeMap;
use std::path::Path;

use dermafuse_eval::published::PublishedTable;
use dermafuse_settings::Settings;
use serde::Deserialize;

use crate::experiment::with_recipe;
use crate::{Experiment, RecipeError, Sweep};

/// The recipes that ship with this crate (`recipes/`): the file's name without `.toml`, and its text.
const SHIPPED: [(&str, &str); 15] = [
    ("fusionm4net", include_str!("../recipes/fusionm4net.toml")),
    ("jif", include_str!("../recipes/jif.toml")),
    ("ammfm", include_str!("../recipes/ammfm.toml")),
    ("pemm", include_str!("../recipes/pemm.toml")),
    ("amfam", include_str!("../recipes/amfam.toml")),
    ("nedelcu", include_str!("../recipes/nedelcu.toml")),
    ("tformer", include_str!("../recipes/tformer.toml")),
    ("embedding_net", include_str!("../recipes/embedding_net.toml")),
    ("modality_subsets", include_str!("../recipes/modality_subsets.toml")),
    ("hc_cnn", include_str!("../recipes/hc_cnn.toml")),
    ("caf_net", include_str!("../recipes/caf_net.toml")),
    ("triple_net", include_str!("../recipes/triple_net.toml")),
    ("milk10k", include_str!("../recipes/milk10k.toml")),
    ("frozen", include_str!("../recipes/frozen.toml")),
    ("bring_your_own", include_str!("../recipes/bring_your_own.toml")),
];

/// The setting that asks for several trainings of which one is chosen.
pub(crate) const SWEEP: &str = "sweep";

/// A file of settings with what stands around them: where the method was published, the rows of its comparison, and the numbers
/// that were printed.
///
/// ```
/// use dermafuse_recipes::Recipe;
///
/// let recipe = Recipe::shipped("fusionm4net").expect("it ships");
/// assert_eq!(recipe.about().paper, "Tang et al., FusionM4Net, Medical Image Analysis 2022");
/// assert_eq!(recipe.experiment()?.training.epochs, 250);
/// let mut tables = recipe.published_for("derm7pt");
/// let stages = tables.find(|table| table.source == "Tang et al., thesis Table 6.4").expect("it is quoted");
/// assert_eq!(stages.row("P_3").unwrap().to_string(), "accuracy 76.3 ± 0.7");
/// # Ok::<(), dermafuse_recipes::RecipeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recipe {
    settings: Settings,
    about: About,
    rows: Vec<Row>,
    /// How many layers lie under the changes of the rows.
    depth: usize,
    groups: Vec<RowGroup>,
    protocols: Vec<DivisionProtocol>,
    published: Vec<PublishedTable>,
    /// The layers that the printed numbers are of.
    printed: Settings,
}

/// What a recipe is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The paper, with year; empty in files that say nothing.
    #[serde(default)]
    pub paper: String,
    /// One sentence on the method.
    #[serde(default)]
    pub summary: String,
}

/// Rows that are compared together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowGroup {
    name: String,
    rows: Vec<String>,
    /// Whether it is compared where nobody names a group. One group at most is.
    #[serde(default)]
    default: bool,
}

/// A way to divide the cases and to choose the epoch: the recipe with some settings changed.
#[derive(Clone, Debug)]
struct DivisionProtocol {
    name: String,
    /// Whether the printed numbers are of it.
    published: bool,
    change: Settings,
}

/// What all rows are as a group.
const ALL_ROWS: &str = "all";

/// A row of a comparison: the recipe with some settings changed.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name, as printed.
    pub name: String,
    change: Option<Settings>,
    /// Where settings go that are laid over the recipe and that this row's network has under other keys, or not at all.
    elsewhere: BTreeMap<String, Vec<String>>,
}

impl Recipe {
    /// The names of the recipes that ship with this crate.
    #[must_use]
    pub fn shipped_names() -> Vec<&'static str> {
        SHIPPED.iter().map(|(name, _)| *name).collect()
    }

    /// The text of a recipe that ships, to start a file of one's own from.
    #[must_use]
    pub fn shipped_text(name: &str) -> Option<&'static str> {
        SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// A recipe that ships with this crate.
    ///
    /// # Panics
    /// Never: the files are tested.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Self> {
        let text = Self::shipped_text(name)?;
        let settings = Settings::parse(format!("recipe {name}"), text).expect("the files are tested");
        Some(Self::of(settings).expect("the files are tested"))
    }

    /// Reads a file, or takes a recipe that ships, by its name.
    ///
    /// # Errors
    /// A name that no recipe has, a file that cannot be read, and as [`Recipe::of`].
    pub fn named(name: &str) -> Result<Self, RecipeError> {
        match Self::shipped(name) {
            Some(recipe) => Ok(recipe),
            None if Path::new(name).is_file() || name.ends_with(".toml") => Self::of(Settings::read(name)?),
            None => Err(RecipeError::NoRecipe { name: name.to_owned(), known: Self::shipped_names().join(", ") }),
        }
    }

    /// Takes settings, which may name a recipe that they start from.
    ///
    /// # Errors
    /// What is said around an experiment and cannot be read. The experiment itself is read by [`Recipe::experiment`].
    pub fn of(settings: Settings) -> Result<Self, RecipeError> {
        let mut settings = with_recipe(settings)?;
        let about = settings.take("about").map(|about| about.get_value("about")).transpose()?.unwrap_or_default();
        let printed_depth = settings.depth_of("published");
        let published = settings.take("published").and_then(|tables| tables.elements()).unwrap_or_default();
        let published = published.iter().map(|table| table.get_value("published"));
        let published = published.collect::<Result<Vec<_>, _>>()?;
        let depth = settings.depth_of("rows");
        let rows = settings.take("rows").and_then(|rows| rows.elements()).unwrap_or_default();
        let rows = rows.into_iter().map(Row::of).collect::<Result<Vec<_>, RecipeError>>()?;
        // Where a file above has rows of its own, groups below are of others.
        let of_these = settings.depth_of("row_groups") >= depth;
        let groups = settings.take("row_groups").and_then(|groups| groups.elements()).filter(|_| of_these);
        let groups = row_groups(&groups.unwrap_or_default(), &rows)?;
        let protocols = settings.take("protocols").and_then(|protocols| protocols.elements()).unwrap_or_default();
        let protocols = protocols.into_iter().map(DivisionProtocol::of).collect::<Result<Vec<_>, RecipeError>>()?;
        let mut printed = settings.clone().lowest(printed_depth);
        drop(printed.take(SWEEP));
        Ok(Self { settings, about, rows, depth, groups, protocols, published, printed })
    }

    /// What the file says of the method: the paper that published it, and one sentence.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The rows of its comparison; none where there is only the method itself.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A row of its comparison by name.
    ///
    /// # Errors
    /// A name that no row has.
    pub fn row(&self, name: &str) -> Result<&Row, RecipeError> {
        let row = self.rows.iter().find(|row| row.name == name);
        row.ok_or_else(|| {
            let known = match &self.rows[..] {
                [] => "none: it is a method alone".to_owned(),
                // Names hold commas.
                rows => rows.iter().map(|row| format!("`{}`", row.name)).collect::<Vec<_>>().join(", "),
            };
            RecipeError::NoRow { name: name.to_owned(), known }
        })
    }

    /// The names of its groups of rows, `all` the last, and the one that is compared where nobody names another.
    #[must_use]
    pub fn row_groups(&self) -> (Vec<&str>, &str) {
        let names = self.groups.iter().map(|group| group.name.as_str()).chain([ALL_ROWS]).collect();
        let default = self.groups.iter().find(|group| group.default);
        (names, default.map_or(ALL_ROWS, |group| group.name.as_str()))
    }

    /// The names of the rows of a group; of the one that is compared where nobody names another, if none is named.
    ///
    /// ```
    /// use dermafuse_recipes::Recipe;
    ///
    /// let jif = Recipe::shipped("jif").expect("it ships");
    /// // Those that the thesis tests, those of all of its tables, and the record alone beside them.
    /// let count = |group| jif.compared_rows(group).map(|rows| rows.len());
    /// assert_eq!((count(None)?, count(Some("tables"))?, count(Some("all"))?), (8, 16, 17));
    /// # Ok::<(), dermafuse_recipes::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// A name that no group has.
    pub fn compared_rows(&self, group: Option<&str>) -> Result<Vec<&str>, RecipeError> {
        let (known, default) = self.row_groups();
        let group = group.unwrap_or(default);
        match self.groups.iter().find(|known| known.name == group) {
            Some(group) => Ok(group.rows.iter().map(String::as_str).collect()),
            None if group == ALL_ROWS => Ok(self.rows.iter().map(|row| row.name.as_str()).collect()),
            None => Err(RecipeError::NoGroup { name: group.to_owned(), known: known.join(", ") }),
        }
    }

    /// The names of the protocols that its methods are compared under: ways to divide the cases and to choose the epoch. None where
    /// there is one only.
    #[must_use]
    pub fn protocols(&self) -> Vec<&str> {
        self.protocols.iter().map(|protocol| protocol.name.as_str()).collect()
    }

    /// The recipe under one of its protocols, which goes before what was said of the same settings.
    ///
    /// # Errors
    /// A name that no protocol has.
    pub fn under_protocol(&self, name: &str) -> Result<Self, RecipeError> {
        let Some(protocol) = self.protocols.iter().find(|protocol| protocol.name == name) else {
            let known = match &self.protocols[..] {
                [] => "none: the recipe has one way to divide the cases".to_owned(),
                _ => self.protocols().join(", "),
            };
            return Err(RecipeError::NoProtocol { name: name.to_owned(), known });
        };
        Ok(self.clone().with(protocol.change.clone()))
    }

    /// The row that is the method itself: the one that changes nothing.
    #[must_use]
    pub fn own_row(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.change.is_none())
    }

    /// The numbers that were printed of it.
    #[must_use]
    pub fn published(&self) -> &[PublishedTable] {
        &self.published
    }

    /// Those of a data set, by the name that its loader gives it: that of its kind, for most.
    pub fn published_for<'a>(&'a self, data: &'a str) -> impl Iterator<Item = &'a PublishedTable> {
        self.published.iter().filter(move |table| table.data == data)
    }

    /// The same with other settings laid over it.
    #[must_use]
    pub fn with(mut self, over: Settings) -> Self {
        self.settings = over.over(self.settings);
        self
    }

    /// The same with one setting laid over it: `training.epochs=5`.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set(&mut self, words: &str) -> Result<(), RecipeError> {
        Ok(self.settings.set(words)?)
    }

    /// The same with a data set from a path: `NAME=PATH` with the name of a set; where there is one set only, also `KIND=PATH`.
    ///
    /// # Errors
    /// Words without `=`, a set that is not there.
    pub fn set_data(&mut self, words: &str) -> Result<(), RecipeError> {
        let Some((name, path)) = words.split_once('=') else {
            return Err(RecipeError::DataWords { words: words.to_owned() });
        };
        let said = format!("--data {words}");
        let mut sets = self.settings.clone();
        let sets = sets.take("data").map_or_else(Vec::new, |data| data.keys());
        match &sets[..] {
            _ if sets.iter().any(|set| set == name) => self.settings.set_text(said, &["data", name, "path"], path),
            [only] if name.parse::<dermafuse_data::DataSetKind>().is_ok() => {
                // The path lies on the kind, whose it is.
                self.settings.set_text(said.clone(), &["data", only, "kind"], name);
                self.settings.set_text(said, &["data", only, "path"], path);
            }
            [] if name.parse::<dermafuse_data::DataSetKind>().is_ok() => {
                self.settings.set_text(said.clone(), &["data", name, "kind"], name);
                self.settings.set_text(said, &["data", name, "path"], path);
            }
            _ => return Err(RecipeError::NoSuchSet { name: name.to_owned(), known: sets.join(", ") }),
        }
        Ok(())
    }

    /// The error that a setting has a value that it cannot have, with its place: for what only a program knows, such as its devices.
    #[must_use]
    pub fn error(&self, key: &str, reason: impl Into<String>) -> RecipeError {
        self.settings.error(key, reason).into()
    }

    /// The experiment.
    ///
    /// # Errors
    /// As [`Experiment::read`].
    pub fn experiment(&self) -> Result<Experiment, RecipeError> {
        Experiment::from_layers(self.layers_of(None))
    }

    /// The settings without those of a sweep; those of a row with its changes.
    fn layers_of(&self, row: Option<&Row>) -> Settings {
        let mut settings = self.settings.clone();
        drop(settings.take(SWEEP));
        let Some((row, change)) = row.and_then(|row| Some((row, row.change.clone()?))) else { return settings };
        for (key, instead) in &row.elsewhere {
            settings.redirect(self.depth, key, instead);
        }
        change.over_lowest(self.depth, &settings)
    }

    /// The sweep that the file asks for, if it does: its trials are [`Recipe::experiment`], or that of a row, with other settings.
    ///
    /// # Errors
    /// A sweep that is no choice of settings; as [`Experiment::read`] for every trial.
    pub fn sweep(&self, row: Option<&Row>) -> Result<Option<Sweep>, RecipeError> {
        let Some(said) = self.settings.clone().take(SWEEP) else { return Ok(None) };
        Sweep::read(said, |trial| self.clone().with(trial).layers_of(row)).map(Some)
    }

    /// What the printed numbers of a row are of, whatever was laid over the recipe since; `None` for a file that has no such
    /// numbers. `stands_on` are settings that the tables have rows for, such as backbones.
    pub(crate) fn printed_experiment(&self, row: Option<&Row>, stands_on: &[String]) -> Option<Experiment> {
        let change = row.and_then(|row| row.change.clone());
        let mut settings = match change {
            Some(change) => change.over_lowest(self.depth, &self.printed),
            None => self.printed.clone(),
        };
        if let Some(protocol) = self.protocols.iter().find(|protocol| protocol.published) {
            settings = protocol.change.clone().over(settings);
        }
        for words in stands_on {
            settings.set(words).ok()?;
        }
        (!self.published.is_empty()).then(|| Experiment::from_layers(settings).ok()).flatten()
    }

    /// The experiment of a row: its changes lie over the layer that has the method, under what was laid over the recipe since.
    ///
    /// # Errors
    /// As [`Experiment::read`].
    pub fn experiment_of(&self, row: &Row) -> Result<Experiment, RecipeError> {
        Experiment::from_layers(self.layers_of(Some(row)))
    }
}

/// The groups of a list, whose rows there are.
fn row_groups(said: &[Settings], rows: &[Row]) -> Result<Vec<RowGroup>, RecipeError> {
    let mut groups: Vec<RowGroup> = Vec::new();
    for settings in said {
        let group: RowGroup = settings.get_value("row_groups")?;
        let error = |key: &str, reason: String| Err(settings.error(key, reason).into());
        if group.name == ALL_ROWS || groups.iter().any(|other| other.name == group.name) {
            return error("name", format!("another group is `{}`; give this one a name of its own", group.name));
        }
        if group.rows.len() < 2 {
            return error("rows", "a comparison takes two rows or more".into());
        }
        for (at, name) in group.rows.iter().enumerate() {
            if !rows.iter().any(|row| row.name == *name) {
                return error("rows", format!("there is no row `{name}`"));
            }
            if group.rows[..at].contains(name) {
                return error("rows", format!("`{name}` is named twice"));
            }
        }
        if let Some(other) = groups.iter().find(|other| other.default && group.default) {
            return error("default", format!("the group `{}` is compared already where nobody names one", other.name));
        }
        groups.push(group);
    }
    Ok(groups)
}

impl DivisionProtocol {
    fn of(mut settings: Settings) -> Result<Self, RecipeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: String,
            #[serde(default)]
            published: bool,
        }
        let change = settings.take("change");
        let Named { name, published } = settings.get_value("protocols")?;
        match change {
            Some(change) => Ok(Self { name, published, change }),
            None => Err(settings.error("name", format!("`{name}` changes nothing; say `change.split`")).into()),
        }
    }
}

impl Row {
    fn of(mut settings: Settings) -> Result<Self, RecipeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: String,
            #[serde(default)]
            elsewhere: BTreeMap<String, Vec<String>>,
        }
        let change = settings.take("change");
        let Named { name, elsewhere } = settings.get_value("rows")?;
        Ok(Self { name, change, elsewhere })
    }
}
