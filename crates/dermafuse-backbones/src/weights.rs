//! Strict loading and saving of published weights: every tensor fits, or nothing is changed and the error lists why.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use crate::backbone::{ConstantValues, Pretrained};
use crate::error::{BackboneError, KeyMismatch, PrefixDifference, ShapeMismatch};
use crate::key_prefix::best_prefix;
use crate::state_file::{ListedTensor, State, StateFile, StoredTensor};

/// What to do with the classifier that a weights file brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassifierWeights {
    /// Load it: file and network must both have one, of the same number of classes, or neither.
    #[default]
    Keep,
    /// Leave it out: the network's classifier, if any, keeps its present weights.
    Drop,
}

/// How [`load_weights`] treats a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// What to do with the classifier.
    pub classifier: ClassifierWeights,
}

/// Where the weights were in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundWeights {
    /// What the names of the tensors begin with in the file (`state_dict.module.`); nothing in a plain file.
    pub prefix: String,
    /// Tensors of the file that lie elsewhere: of an optimizer, of averages, of other parts of a larger network.
    pub elsewhere: usize,
}

/// Loads weights under published names from a `.safetensors` file or a PyTorch checkpoint.
///
/// All tensors of the network must be in the file and the other way round, except for `num_batches_tracked` and other integers,
/// [what the network leaves out](Pretrained::ignored_prefixes) or [computes](Pretrained::published_constants) and, with
/// [`ClassifierWeights::Drop`], the classifier. Tensors may be stored in 16, 32 or 64 bits. Devices, parameter identities and
/// frozen states stay.
///
/// The tensors may lie anywhere in the file, as long as all their names begin alike: `state_dict.`, `model.`, `module.`,
/// `_orig_mod.`, `backbone.` and any other, in any combination. The place with most of the network's tensors is taken; of equals,
/// weights before their averages (`model_ema`, `swa`), then well-known wrappers (`state_dict`, `model_state_dict`, `model`, …), then
/// what lies less deep. What lies elsewhere is not looked at; [`load_weights_found`] says what was taken.
///
/// # Errors
///
/// If the file cannot be read or its tensors are not the network's: the one error lists all of them. If the network is in it at
/// several places, none of which is preferred.
pub fn load_weights<B: Pretrained>(
    network: B,
    file: impl AsRef<Path>,
    options: LoadOptions,
) -> Result<B, BackboneError> {
    load_weights_found(network, file, options).map(|(network, _)| network)
}

/// As [`load_weights`], and says where the weights were.
///
/// # Errors
///
/// As [`load_weights`].
pub fn load_weights_found<B: Pretrained>(
    network: B,
    file: impl AsRef<Path>,
    options: LoadOptions,
) -> Result<(B, FoundWeights), BackboneError> {
    let constants: Vec<String> = network.published_constants().into_iter().map(|constant| constant.key).collect();
    let ignored = network.ignored_prefixes();
    let classifier = network.classifier_prefix();
    let drops = options.classifier == ClassifierWeights::Drop;
    let mut names = published_names(&network);
    if drops {
        names.retain(|_, key| !key.starts_with(classifier));
    }
    let reading = Reading {
        modern: &|key| network.modern_key(key),
        is_passed_over: &|key| {
            constants.iter().any(|constant| constant == key)
                || ignored.iter().any(|prefix| key.starts_with(prefix))
                || drops && key.starts_with(classifier)
        },
        classifier: Some(classifier),
    };
    let (state, found) = reading.state(lister_of(&network), &names, file.as_ref())?;
    Ok((network.map(&mut Loader { place: Place::default(), keys: names, state }), found))
}

/// Loads the tensors of any module by the names given for them, from a `.safetensors` file or a PyTorch checkpoint. Tensors
/// without a name keep their values; [`tensor_names`] has one for each.
///
/// # Errors
///
/// As [`load_weights`]: strict both ways.
pub fn load_tensors<M: Module>(
    module: M,
    names: HashMap<ParamId, String>,
    file: impl AsRef<Path>,
) -> Result<M, BackboneError> {
    let reading = Reading { modern: &str::to_owned, is_passed_over: &|_| false, classifier: None };
    let (state, _) = reading.state(lister_of(&module), &names, file.as_ref())?;
    Ok(module.map(&mut Loader { place: Place::default(), keys: names, state }))
}

/// How the names in a file are understood.
struct Reading<'a> {
    /// The published name of a tensor that older files spell differently.
    modern: &'a dyn Fn(&str) -> String,
    /// Whether the tensor of a published name is not wanted.
    is_passed_over: &'a dyn Fn(&str) -> bool,
    classifier: Option<&'a str>,
}

/// PyTorch counts the batches that a normalization has seen; nothing here uses the number.
const BATCHES_SEEN: &str = "num_batches_tracked";

impl Reading<'_> {
    /// The tensors by the names that the network has for them: all of them, and nothing else.
    fn state(
        &self,
        lister: Lister,
        names: &HashMap<ParamId, String>,
        path: &Path,
    ) -> Result<(State, FoundWeights), BackboneError> {
        let listed = lister.tensors.iter();
        let expected: HashMap<&str, &[usize]> =
            listed.filter_map(|tensor| Some((names.get(&tensor.id)?.as_str(), tensor.shape.as_slice()))).collect();
        let file = StateFile::open(path)?;
        let is_expected = |key: &str| expected.contains_key(key) || expected.contains_key((self.modern)(key).as_str());
        // Older spellings are longer than the modern ones by a few characters.
        let longest = expected.keys().map(|key| key.len() + 16).max().unwrap_or(0);
        let prefix = best_prefix(file.tensors().keys().map(String::as_str), is_expected, expected.len(), longest)
            .map_err(|places| BackboneError::SeveralPlaces { path: path.to_path_buf(), places })?;

        let inside: BTreeMap<&str, (&str, &ListedTensor)> = file
            .tensors()
            .iter()
            .filter_map(|(key, tensor)| Some((key.strip_prefix(prefix)?, (key.as_str(), tensor))))
            .collect();
        let elsewhere = file.tensors().len() - inside.len();
        let mut found: BTreeMap<String, (&str, &ListedTensor)> = BTreeMap::new();
        for (&old, &entry) in &inside {
            let modern = (self.modern)(old);
            let name = if inside.contains_key(modern.as_str()) { old.to_owned() } else { modern };
            let is_counter = entry.1.foreign_type().is_some() && !expected.contains_key(name.as_str());
            if !is_counter && !name.ends_with(BATCHES_SEEN) && !(self.is_passed_over)(&name) {
                found.insert(name, entry);
            }
        }

        let foreign =
            found.values().find_map(|(key, tensor)| Some((key.to_string(), tensor.foreign_type()?.to_owned())));
        if let Some((key, dtype)) = foreign {
            return Err(BackboneError::StorageType { path: path.to_path_buf(), key, dtype });
        }
        let shapes = found.iter().map(|(name, (_, tensor))| (name.as_str(), tensor.shape.as_slice())).collect();
        let mismatch = compare(&expected, &shapes, self.classifier);
        if !mismatch.is_empty() {
            let (path, mismatch) = (path.to_path_buf(), Box::new(mismatch));
            return Err(match file.is_onnx() {
                true => BackboneError::OnnxNames { path, mismatch },
                false => BackboneError::Mismatch { path, mismatch },
            });
        }
        let chosen: Vec<(String, String)> = found.into_iter().map(|(name, (key, _))| (key.to_owned(), name)).collect();
        Ok((file.read(&chosen)?, FoundWeights { prefix: prefix.to_owned(), elsewhere }))
    }
}

fn lister_of<M: Module>(module: &M) -> Lister {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister
}

/// The names that the tensors of a module would have in PyTorch: the path of the module, without the variants of enums, with
/// `weight` and `bias` for the scale and offset of a normalization.
pub fn tensor_names<M: Module>(module: &M) -> HashMap<ParamId, String> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.tensors.into_iter().map(|tensor| (tensor.id, without_variants(&tensor.path))).collect()
}

/// Fields begin with a small letter, variants with a capital one.
fn without_variants(path: &str) -> String {
    path.split('.').filter(|name| !name.starts_with(char::is_uppercase)).collect::<Vec<_>>().join(".")
}

/// The published names of a network's tensors, for [`load_tensors`] and [`save_tensors`] of something that has it inside.
pub fn published_names<B: Pretrained>(network: &B) -> HashMap<ParamId, String> {
    let mut lister = Lister::default();
    network.visit(&mut lister);
    lister.tensors.into_iter().map(|tensor| (tensor.id, network.published_key(&tensor.path))).collect()
}

/// Saves a network's weights as `.safetensors` in 32 bits, under published names and in PyTorch's layouts.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save_weights<B: Pretrained>(network: &B, file: impl AsRef<Path>) -> Result<(), BackboneError> {
    let constants = network.published_constants().into_iter().map(|constant| {
        let (dtype, bytes) = match constant.values {
            ConstantValues::Integers(values) => (Dtype::I64, values.into_iter().flat_map(i64::to_le_bytes).collect()),
            ConstantValues::Floats(values) => (Dtype::F32, bytes_of(values)),
        };
        (constant.key, dtype, constant.shape, bytes)
    });
    save_state(network, &published_names(network), constants.collect(), file.as_ref())
}

/// Saves the tensors of any module by the names given for them, as [`save_weights`] does; those without a name are left out.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save_tensors<M: Module>(
    module: &M,
    names: &HashMap<ParamId, String>,
    file: impl AsRef<Path>,
) -> Result<(), BackboneError> {
    save_state(module, names, Vec::new(), file.as_ref())
}

/// A tensor of a module outside of any file, in PyTorch's order of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values, row-major: as many as the product of the dimensions.
    pub values: Vec<f32>,
}

/// The tensors of any module by the names given for them, in order of their names; those without a name are left out.
pub fn named_tensors<M: Module>(module: &M, names: &HashMap<ParamId, String>) -> Vec<NamedTensor> {
    let mut saver = Saver { place: Place::default(), tensors: Vec::new() };
    module.visit(&mut saver);
    let named = saver.tensors.into_iter().filter_map(|(id, StoredTensor { shape, values })| {
        Some(NamedTensor { name: names.get(&id)?.clone(), shape, values })
    });
    let mut tensors: Vec<NamedTensor> = named.collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

/// Puts tensors into a module by the names given for them; `path` is the file that they are from, for the error. Tensors of
/// the module without a name keep their values.
///
/// # Errors
///
/// As [`load_weights`]: strict both ways.
pub fn set_tensors<M: Module>(
    module: M,
    names: HashMap<ParamId, String>,
    tensors: Vec<NamedTensor>,
    path: &Path,
) -> Result<M, BackboneError> {
    let mut state = State::new();
    for NamedTensor { name, shape, values } in tensors {
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        if count != Some(values.len()) {
            let reason = format!("tensor `{name}` of shape {shape:?} has {} values", values.len());
            return Err(BackboneError::Damaged { path: path.to_path_buf(), reason });
        }
        state.insert(name, StoredTensor { shape, values });
    }
    let lister = lister_of(&module);
    let listed = lister.tensors.iter();
    let expected =
        listed.filter_map(|tensor| Some((names.get(&tensor.id)?.as_str(), tensor.shape.as_slice()))).collect();
    let found = state.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())).collect();
    let mismatch = compare(&expected, &found, None);
    if !mismatch.is_empty() {
        return Err(BackboneError::Mismatch { path: path.to_path_buf(), mismatch: Box::new(mismatch) });
    }
    Ok(module.map(&mut Loader { place: Place::default(), keys: names, state }))
}

/// Name, type, shape and bytes.
type NamedBytes = (String, Dtype, Vec<usize>, Vec<u8>);

fn bytes_of(values: Vec<f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn save_state<M: Module>(
    module: &M,
    names: &HashMap<ParamId, String>,
    constants: Vec<NamedBytes>,
    path: &Path,
) -> Result<(), BackboneError> {
    let mut saver = Saver { place: Place::default(), tensors: Vec::new() };
    module.visit(&mut saver);
    let weights = saver.tensors.into_iter().filter_map(|(id, StoredTensor { shape, values })| {
        Some((names.get(&id)?.clone(), Dtype::F32, shape, bytes_of(values)))
    });
    let bytes: Vec<NamedBytes> = weights.chain(constants).collect();
    let write_error = |source| BackboneError::Write { path: path.to_path_buf(), source };
    let mut views = Vec::with_capacity(bytes.len());
    for (key, dtype, shape, bytes) in &bytes {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(write_error)?;
        views.push((key, view));
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    serialize_to_file(views, Some(metadata), path).map_err(write_error)
}

/// Where a walk through a module is.
#[derive(Default)]
struct Place {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// The module path in PyTorch's names of parameters.
    fn path(&self) -> String {
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if let Some(last) = names.last_mut() {
            *last = match *last {
                "gamma" => "weight",
                "beta" => "bias",
                other => other,
            };
        }
        names.join(".")
    }

    /// Burn keeps the matrix of a linear layer as inputs × outputs, PyTorch the other way round.
    fn is_transposed(&self, rank: usize) -> bool {
        rank == 2 && self.containers.last().is_some_and(|container| container == "Struct:Linear")
    }
}

/// A tensor of a module.
struct ModuleTensor {
    id: ParamId,
    path: String,
    /// In PyTorch's order of dimensions.
    shape: Vec<usize>,
}

/// Names that are compared one by one for what they have in common; of more, only the lists are shown.
const COMPARED: usize = 10_000;

fn compare(
    expected: &HashMap<&str, &[usize]>,
    found: &BTreeMap<&str, &[usize]>,
    classifier_prefix: Option<&str>,
) -> KeyMismatch {
    let unused: Vec<String> =
        found.keys().filter(|key| !expected.contains_key(*key)).map(ToString::to_string).collect();
    let candidates = if unused.len() > COMPARED { &[] } else { &unused[..] };

    let mut mismatch = KeyMismatch::default();
    for (key, shape) in expected {
        match found.get(*key) {
            None => mismatch.missing.push((key.to_string(), most_similar(key, candidates))),
            Some(found) if found != shape => mismatch.shapes.push(ShapeMismatch {
                key: key.to_string(),
                expected: shape.to_vec(),
                found: found.to_vec(),
            }),
            Some(_) => (),
        }
    }
    mismatch.missing.sort();
    if mismatch.shapes.is_empty() {
        mismatch.prefix = prefix_difference(&mismatch.missing, candidates);
    }
    mismatch.unused = unused;
    mismatch.shapes.sort_by(|a, b| a.key.cmp(&b.key));

    let missing = mismatch.missing.iter().map(|(key, _)| key);
    let shapes = mismatch.shapes.iter().map(|shape| &shape.key);
    let mut all = missing.chain(&mismatch.unused).chain(shapes).peekable();
    mismatch.classifier_only =
        classifier_prefix.is_some_and(|prefix| all.peek().is_some() && all.all(|key| key.starts_with(prefix)));
    mismatch
}

/// What all unused names, two or more, begin with beyond missing ones, or the other way round.
fn prefix_difference(missing: &[(String, Option<String>)], unused: &[String]) -> Option<PrefixDifference> {
    let expected: HashSet<&str> = missing.iter().map(|(key, _)| key.as_str()).collect();
    let first = unused.get(..2)?.first()?;
    let of_file = missing.iter().filter_map(|(key, _)| first.strip_suffix(key.as_str()));
    let of_network = missing.iter().filter_map(|(key, _)| key.strip_suffix(first.as_str()));
    let explains = |prefix: &&str, in_file: bool| {
        !prefix.is_empty()
            && unused.iter().all(|key| match in_file {
                true => key.strip_prefix(*prefix).is_some_and(|rest| expected.contains(rest)),
                false => expected.contains(format!("{prefix}{key}").as_str()),
            })
    };
    let tensors = unused.len();
    let in_file = of_file.map(|prefix| (prefix, true)).find(|(prefix, _)| explains(prefix, true));
    let (prefix, in_file) =
        in_file.or_else(|| of_network.map(|prefix| (prefix, false)).find(|(prefix, _)| explains(prefix, false)))?;
    let other = match in_file {
        true => first[prefix.len()..].to_owned(),
        false => format!("{prefix}{first}"),
    };
    Some(PrefixDifference { prefix: prefix.to_owned(), in_file, example: [first.clone(), other], tensors })
}

/// At how many changed characters two names stop being similar.
const FAR: usize = 4;

fn most_similar(key: &str, candidates: &[String]) -> Option<String> {
    let distances = candidates.iter().map(|candidate| (edit_distance(key, candidate), candidate));
    let (distance, nearest) = distances.min()?;
    (distance < FAR).then(|| nearest.clone())
}

/// Levenshtein distance of two names, or [`FAR`] where the lengths already tell.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) >= FAR {
        return FAR;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[derive(Default)]
struct Lister {
    place: Place,
    tensors: Vec<ModuleTensor>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut shape = param.lazy_shape().to_vec();
        if self.place.is_transposed(D) {
            shape.reverse();
        }
        self.tensors.push(ModuleTensor { id: param.id, path: self.place.path(), shape });
    }
}

struct Loader {
    place: Place,
    /// The name of each tensor to load.
    keys: HashMap<ParamId, String>,
    state: State,
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let key = self.keys.get(&param.id);
        let Some(StoredTensor { shape, values }) = key.and_then(|key| self.state.remove(key)) else {
            return param; // a classifier that is left out
        };
        let data = match (self.place.is_transposed(D), &shape[..]) {
            (true, &[rows, columns]) => TensorData::new(transpose(&values, rows, columns), [columns, rows]),
            _ => TensorData::new(values, shape),
        };
        let tensor = Tensor::from_data(data, &param.lazy_device());
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

struct Saver {
    place: Place,
    tensors: Vec<(ParamId, StoredTensor)>,
}

impl ModuleVisitor for Saver {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.transform_for_save().val();
        let mut shape = tensor.dims().to_vec();
        let mut values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
        if self.place.is_transposed(D) {
            values = transpose(&values, shape[0], shape[1]);
            shape.reverse();
        }
        self.tensors.push((param.id, StoredTensor { shape, values }));
    }
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposition_by_hand() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn similar_names_are_suggested() {
        let candidates = ["layer1.0.conv1.weights".to_string(), "fc.weight".to_string()];
        assert_eq!(most_similar("layer1.0.conv1.weight", &candidates), Some(candidates[0].clone()));
        assert_eq!(most_similar("layer4.1.bn2.running_mean", &candidates), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
