//! Strict loading and saving of published weights: every tensor fits, or nothing is changed and the error lists why.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use crate::backbone::{ConstantValues, Pretrained};
use crate::error::{BackboneError, KeyMismatch, ShapeMismatch};
use crate::state_file::{self, State, StoredTensor};

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

/// Loads weights under published names from a `.safetensors` file or a PyTorch checkpoint.
///
/// All tensors of the network must be in the file and the other way round, except for `num_batches_tracked`,
/// [what the network leaves out](Pretrained::ignored_prefixes) or [computes](Pretrained::published_constants) and, with
/// [`ClassifierWeights::Drop`], the classifier. Tensors may be stored in 16, 32 or 64 bits; the prefixes of `DataParallel`
/// and of training checkpoints are stripped. Devices, parameter identities and frozen states stay.
///
/// # Errors
///
/// If the file cannot be read or its tensors are not the network's: the one error lists all of them.
pub fn load_weights<B: Pretrained>(
    network: B,
    file: impl AsRef<Path>,
    options: LoadOptions,
) -> Result<B, BackboneError> {
    let path = file.as_ref();
    let constants: Vec<String> = network.published_constants().into_iter().map(|constant| constant.key).collect();
    let ignored = network.ignored_prefixes();
    let mut state = state_file::read(path, |key| {
        constants.iter().any(|constant| constant == key) || ignored.iter().any(|prefix| key.starts_with(prefix))
    })?;

    for old in state.keys().cloned().collect::<Vec<_>>() {
        let modern = network.modern_key(&old);
        if !state.contains_key(&modern) {
            let tensor = state.remove(&old).expect("the name is of this state");
            state.insert(modern, tensor);
        }
    }

    let classifier = network.classifier_prefix();
    let mut names = published_names(&network);
    if options.classifier == ClassifierWeights::Drop {
        state.retain(|key, _| !key.starts_with(classifier));
        names.retain(|_, key| !key.starts_with(classifier));
    }
    load_state(network, names, state, path, Some(classifier))
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
    let path = file.as_ref();
    load_state(module, names, state_file::read(path, |_| false)?, path, None)
}

fn load_state<M: Module>(
    module: M,
    keys: HashMap<ParamId, String>,
    state: State,
    path: &Path,
    classifier_prefix: Option<&str>,
) -> Result<M, BackboneError> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    let expected: HashMap<&str, &[usize]> = lister
        .tensors
        .iter()
        .filter_map(|tensor| Some((keys.get(&tensor.id)?.as_str(), tensor.shape.as_slice())))
        .collect();
    let mismatch = compare(&expected, &state, classifier_prefix);
    if !mismatch.is_empty() {
        let mismatch = Box::new(mismatch);
        return Err(BackboneError::Mismatch { path: path.to_path_buf(), mismatch });
    }
    Ok(module.map(&mut Loader { place: Place::default(), keys, state }))
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
    load_state(module, names, state, path, None)
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
struct ListedTensor {
    id: ParamId,
    path: String,
    /// In PyTorch's order of dimensions.
    shape: Vec<usize>,
}

fn compare(expected: &HashMap<&str, &[usize]>, state: &State, classifier_prefix: Option<&str>) -> KeyMismatch {
    let unused: Vec<String> = state.keys().filter(|key| !expected.contains_key(key.as_str())).cloned().collect();

    let mut mismatch = KeyMismatch::default();
    for (key, shape) in expected {
        match state.get(*key) {
            None => mismatch.missing.push((key.to_string(), most_similar(key, &unused))),
            Some(tensor) if tensor.shape != *shape => mismatch.shapes.push(ShapeMismatch {
                key: key.to_string(),
                expected: shape.to_vec(),
                found: tensor.shape.clone(),
            }),
            Some(_) => (),
        }
    }
    mismatch.unused = unused;
    mismatch.missing.sort();
    mismatch.shapes.sort_by(|a, b| a.key.cmp(&b.key));

    let missing = mismatch.missing.iter().map(|(key, _)| key);
    let shapes = mismatch.shapes.iter().map(|shape| &shape.key);
    let mut all = missing.chain(&mismatch.unused).chain(shapes).peekable();
    mismatch.classifier_only =
        classifier_prefix.is_some_and(|prefix| all.peek().is_some() && all.all(|key| key.starts_with(prefix)));
    mismatch
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
    tensors: Vec<ListedTensor>,
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
        self.tensors.push(ListedTensor { id: param.id, path: self.place.path(), shape });
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
