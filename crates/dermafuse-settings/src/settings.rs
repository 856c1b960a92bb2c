use std::path::{Path, PathBuf};
use std::sync::Arc;

use dermafuse_schema::{SettingFault, read_regular_file};
use serde::de::DeserializeOwned;

use crate::node::{Entry, Node, Value};
use crate::overlay::Overlay;
use crate::place::Source;
use crate::{Place, SettingsError};

/// Bytes of a file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Layers of settings; what a higher one says goes before what a lower one says.
///
/// A table is laid over a table setting by setting. Everything else replaces what is below, and so does a table whose `kind` is
/// another. The word `none` takes away an optional value, or one of the entries of a map.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The topmost first.
    layers: Vec<Node>,
    /// Settings of the first level that are read apart from the others, whether a layer has them or not.
    taken: Vec<String>,
}

impl Settings {
    /// Reads a TOML file as the only layer.
    ///
    /// # Errors
    /// A file that cannot be read, is no regular file, larger than 1 MiB, not UTF-8, or no TOML.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let file = file.as_ref();
        let bytes = read_regular_file(file, MAX_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            SettingsError::Encoding { file: file.into(), line: 1 + valid.iter().filter(|&&byte| byte == b'\n').count() }
        })?;
        let folder = file.parent().map(Path::to_path_buf);
        Self::of(Source { name: file.display().to_string(), text: Some(text), folder })
    }

    /// Takes a TOML text as the only layer; `name` is what errors call it.
    ///
    /// # Errors
    /// No TOML.
    pub fn parse(name: impl Into<String>, text: &str) -> Result<Self, SettingsError> {
        Self::of(Source { name: name.into(), text: Some(text.to_owned()), folder: None })
    }

    fn of(source: Source) -> Result<Self, SettingsError> {
        let source = Arc::new(source);
        Ok(Self::of_layers(vec![Node::parse(&source, source.text.as_deref().unwrap_or_default())?]))
    }

    fn of_layers(layers: Vec<Node>) -> Self {
        Self { layers, taken: Vec::new() }
    }

    /// Lays these settings over others.
    #[must_use]
    pub fn over(mut self, below: Self) -> Self {
        self.layers.extend(below.layers);
        below.taken.into_iter().for_each(|key| self.remember(key));
        self
    }

    /// Lays one setting over all others: `training.epochs=5`. What is no TOML value is text, so quotes can be left out. Several words
    /// are one layer, in which later ones replace earlier ones, whatever their order says of a `kind`.
    ///
    /// # Errors
    /// Words without `=`, a key that is none.
    pub fn set(&mut self, words: &str) -> Result<(), SettingsError> {
        let no_setting = || SettingsError::Words { words: words.to_owned() };
        let (key, value) = words.split_once('=').ok_or_else(no_setting)?;
        let source = Arc::new(Source { name: format!("--set {words}"), text: None, folder: None });
        let node = Node::parse(&source, &format!("{key} = {value}"))
            .or_else(|_| Node::parse(&source, &format!("{key} = {}", quoted(value))))
            .map_err(|_| no_setting())?;
        self.lay_words(node);
        Ok(())
    }

    /// Lays a text over all others, under a key of several steps; `words` is what errors call it.
    pub fn set_text(&mut self, words: impl Into<String>, key: &[&str], text: &str) {
        let source = Arc::new(Source { name: words.into(), text: None, folder: None });
        let place = || Place::new(&source, 0);
        let leaf = Node { place: place(), value: Value::Text(text.to_owned()) };
        let node = key.iter().rev().fold(leaf, |node, step| {
            let entry = Entry { key: place(), node };
            Node { place: place(), value: Value::Table([((*step).to_owned(), entry)].into()) }
        });
        self.lay_words(node);
    }

    fn lay_words(&mut self, node: Node) {
        match self.layers.first_mut().filter(|top| top.place.is_of_words()) {
            Some(top) => top.lay(node),
            None => self.layers.insert(0, node),
        }
    }

    /// The same with the topmost layer of others laid over its topmost one, so that both are one layer.
    #[must_use]
    pub fn in_one_layer_with(mut self, over: Self) -> Self {
        match (self.layers.first_mut(), over.layers.into_iter().next()) {
            (Some(own), Some(top)) => own.lay(top),
            (None, Some(top)) => self.layers.push(top),
            (_, None) => {}
        }
        self
    }

    /// Reads all layers together as a type.
    ///
    /// # Errors
    /// A setting that the type does not have, a value that it cannot have, one that is missing; with the place.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let empty = Node { place: nowhere(), value: Value::Table(Default::default()) };
        let layers = if self.layers.is_empty() { vec![&empty] } else { self.layers.iter().collect() };
        let overlay = Overlay::new(layers, String::new());
        overlay.locate(T::deserialize(overlay.clone())).map_err(|failure| failure.into_error(&self.taken))
    }

    /// Reads a setting that was [taken out](Self::take); `key` is what errors call it.
    ///
    /// # Errors
    /// As [`Settings::get`].
    pub fn get_value<T: DeserializeOwned>(&self, key: &str) -> Result<T, SettingsError> {
        if self.layers.is_empty() {
            return Err(SettingsError::Missing { reason: format!("`{key}` is missing") });
        }
        let overlay = Overlay::new(self.layers.iter().collect(), key.to_owned());
        overlay.locate(T::deserialize(overlay.clone())).map_err(|failure| failure.into_error(&[]))
    }

    /// A path that a setting gives: one in a file starts from the file's folder.
    #[must_use]
    pub fn path_of(&self, key: &str, path: &Path) -> PathBuf {
        match self.place(key).as_ref().and_then(Place::folder) {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
    }

    /// How many layers there are from the topmost that has a setting of the first level down to the lowest; 0 if none has it.
    #[must_use]
    pub fn depth_of(&self, key: &str) -> usize {
        let has = |layer: &Node| layer.table().is_some_and(|entries| entries.contains_key(key));
        self.layers.iter().position(has).map_or(0, |above| self.layers.len() - above)
    }

    /// Lays these settings over so many of the lowest layers of others, under those above.
    #[must_use]
    pub fn over_lowest(self, depth: usize, others: &Self) -> Self {
        let (above, below) = others.layers.split_at(others.layers.len().saturating_sub(depth));
        Self { layers: [above, &self.layers, below].concat(), taken: others.taken.clone() }
    }

    /// So many of the lowest layers.
    #[must_use]
    pub fn lowest(mut self, depth: usize) -> Self {
        self.layers.drain(..self.layers.len().saturating_sub(depth));
        self
    }

    /// The same settings as those under a key.
    #[must_use]
    pub fn under(self, key: &str) -> Self {
        let wrap = |node: Node| {
            let (place, entry) = (node.place.clone(), Entry { key: node.place.clone(), node });
            Node { place, value: Value::Table([(key.to_owned(), entry)].into()) }
        };
        Self::of_layers(self.layers.into_iter().map(wrap).collect())
    }

    /// A number in place of these settings, where they stand.
    #[must_use]
    pub fn with_number(&self, number: f64, whole: bool) -> Self {
        let place = self.layers.first().map_or_else(nowhere, |node| node.place.clone());
        let value = if whole { Value::Integer(number.round() as i128) } else { Value::Float(number) };
        Self::of_layers(vec![Node { place, value }])
    }

    /// Takes a setting of the first level out of all layers; `None` if none has it. Errors go on naming it among those that there are.
    pub fn take(&mut self, key: &str) -> Option<Self> {
        self.remember(key.to_owned());
        let taken = |layer: &mut Node| match &mut layer.value {
            Value::Table(entries) => entries.remove(key).map(|entry| entry.node),
            _ => None,
        };
        let layers: Vec<Node> = self.layers.iter_mut().filter_map(taken).collect();
        (!layers.is_empty()).then(|| Self::of_layers(layers))
    }

    fn remember(&mut self, key: String) {
        if !self.taken.contains(&key) {
            self.taken.push(key);
        }
    }

    /// Lets what the layers above the `depth` lowest ones say under a key stand under other keys instead; without any, it is left out.
    ///
    /// ```
    /// use dermafuse_settings::Settings;
    ///
    /// let below = Settings::parse("two", "network = { clinical = \"a\", dermoscopic = \"b\" }")?;
    /// let mut settings = below.clone();
    /// settings.set("network.backbone=c")?;
    /// settings.redirect(1, "network.backbone", &["network.clinical".into(), "network.dermoscopic".into()]);
    /// let read = settings.get::<std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>>()?;
    /// assert_eq!(read["network"].values().collect::<Vec<_>>(), ["c", "c"]);
    /// # Ok::<(), dermafuse_settings::SettingsError>(())
    /// ```
    pub fn redirect(&mut self, depth: usize, key: &str, instead: &[String]) {
        let above = self.layers.len().saturating_sub(depth);
        for layer in &mut self.layers[..above] {
            let Some(entry) = layer.remove(key) else { continue };
            for other in instead {
                layer.insert(other, entry.clone());
            }
        }
    }

    /// The elements of the topmost layer, if it is a list, each as settings of its own.
    #[must_use]
    pub fn elements(&self) -> Option<Vec<Self>> {
        match &self.layers.first()?.value {
            Value::Array(values) => Some(values.iter().map(|node| Self::of_layers(vec![node.clone()])).collect()),
            _ => None,
        }
    }

    /// The keys of the first level, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self.layers.is_empty() {
            true => Vec::new(),
            false => {
                let overlay = Overlay::new(self.layers.iter().collect(), String::new());
                overlay.parts().into_keys().map(str::to_owned).collect()
            }
        }
    }

    /// The place of a setting such as `training.epochs` or `stages[2].name`, or of the nearest that it is a part of.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        let mut overlay = Overlay::new(vec![self.layers.first()?], String::new());
        if key.is_empty() {
            return Some(overlay.place());
        }
        overlay = Overlay::new(self.layers.iter().collect(), String::new());
        let mut place = None;
        for step in key.split('.') {
            let (name, index) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
                Some((name, index)) => (name, index.parse::<usize>().ok()),
                None => (step, None),
            };
            let Some((_, mut part)) = overlay.parts().remove(name) else { break };
            place = Some(part.place());
            if let Some(element) = index.and_then(|index| part.element(index)) {
                place = Some(element.place());
                part = element;
            }
            overlay = part;
        }
        place
    }

    /// Says where the setting stands that a check refuses; `below` is the key of what was checked, such as `training`.
    ///
    /// ```
    /// use dermafuse_schema::SettingFault;
    /// use dermafuse_settings::Settings;
    ///
    /// let check = |epochs| SettingFault::unless(epochs > 0, "epochs", "at least 1", epochs);
    /// let settings = Settings::parse("mine.toml", "[training]\nepochs = 0")?;
    /// let error = settings.checked("training", check(0)).unwrap_err().to_string();
    /// assert_eq!(error, "mine.toml: line 2, column 10: training.epochs: must be at least 1, found 0");
    /// # Ok::<(), dermafuse_settings::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// What was refused, with its place.
    pub fn checked(&self, below: &str, check: Result<(), SettingFault>) -> Result<(), SettingsError> {
        check.map_err(|fault| {
            let fault = fault.under(below);
            self.error(fault.key(), fault.reason())
        })
    }

    /// The error that a setting has a value that it cannot have beside the others.
    #[must_use]
    pub fn error(&self, key: &str, reason: impl Into<String>) -> SettingsError {
        let reason = reason.into();
        match self.place(key) {
            Some(place) => SettingsError::Value { place, key: key.to_owned(), reason },
            None => SettingsError::Missing { reason: format!("{key}: {reason}") },
        }
    }
}

fn nowhere() -> Place {
    Place::new(&Arc::new(Source { name: "no settings".into(), text: None, folder: None }), 0)
}

/// A text as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's.
    serde_json::to_string(text).expect("a text is JSON").replace('\u{7f}', "\\u007F")
}
