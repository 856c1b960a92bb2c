use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse_backbones::{named_tensors, set_tensors};
use dermafuse_data::{
    CaseSet, CaseView, MetadataEncoder, ModalityDropout, OutsideModel, Preprocess, QualityThresholds,
};
use dermafuse_ensemble::{FeatureHeads, OutOfDistribution, TwoStage};
use dermafuse_networks::{AnyNetwork, Modalities, Network, NetworkConfig, NetworkError, OnnxEncoderConfig};
use dermafuse_schema::{
    BranchLogits, EngineFacts, FittedGroup, Performance, PredictionSets, SeveralImages, Task, TaskSet,
    read_regular_file, write_whole_file,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::earlier_names::with_kinds;
use crate::encoder_engine::{EncoderEngine, EncoderFile};
use crate::model_file::ModelFile;
use crate::model_tasks::in_model_tasks;
use crate::network_engine::burn_facts;
use crate::{
    ActivationRanges, Engine, InferError, KnownCases, ModelCard, NetworkEngine, Predictor, TestTimeAugmentation,
    folder_bundle, may_miss,
};

/// The name of a model in the folder of the run that made it.
pub const MODEL_FILE: &str = "model.safetensors";
/// The name of the ONNX file of an encoder in a model's file.
const ENCODER_FILE: &str = "encoder.onnx";
/// The largest model file that is read, in bytes: 8 GiB.
pub const MAX_MODEL_BYTES: u64 = 8 << 30;

/// Everything about a trained model that is not a number of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleDescription {
    /// Name of the data set it was trained on.
    pub data_set: String,
    /// Whether that data set is synthetic.
    pub synthetic: bool,
    /// What it predicts.
    pub tasks: TaskSet,
    /// How metadata becomes numbers, as fitted on the training cases.
    pub encoder: MetadataEncoder,
    /// The architecture.
    pub network: NetworkConfig,
    /// How images are prepared.
    pub preprocess: Preprocess,
    /// The views that are averaged.
    pub augmentation: TestTimeAugmentation,
    /// What answers for a case that has several images of a kind.
    #[serde(default, skip_serializing_if = "SeveralImages::is_default")]
    pub several_images: SeveralImages,
    /// How often it was trained without an image or the record, so that it answers without them too; `None` where it always saw
    /// what there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modality_dropout: Option<ModalityDropout>,
    /// The cases that made it; nobody in models of an older format.
    #[serde(default)]
    pub known_cases: KnownCases,
    /// Unions of classes with a question that they answer, and their operating points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<FittedGroup>,
    /// Sets of classes with a stated error rate; `None` where none were fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_sets: Option<PredictionSets>,
    /// How well it did on its test cases, and for which patients; `None` where none were tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// What it says of itself to people; nothing in models of an older format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<ModelCard>,
    /// From when on pictures have findings; the defaults in models of an older version.
    #[serde(default)]
    pub quality: QualityThresholds,
    /// Tells how far a case is from those that trained the model; nothing if it was not fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_distribution: Option<OutOfDistribution>,
    /// Between which numbers those lie that go through the network, which 8-bit integers need; `None` where nobody measured them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_ranges: Option<ActivationRanges>,
    /// Other models that answer beside the network: it asks for what they say of a case, as fields `MODEL.CLASS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideModel>,
    /// What answers from the features of a network of frozen encoders; no other network has heads beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<FeatureHeads>,
}

impl BundleDescription {
    /// What a model of these tasks, network and images is at least: nothing is known of its training, it takes no metadata, looks at
    /// each image once, and nothing was fitted to its answers. Fields of a model that has more are set over it.
    #[must_use]
    pub fn new(tasks: TaskSet, network: NetworkConfig, preprocess: Preprocess) -> Self {
        Self {
            data_set: "no training".into(),
            synthetic: false,
            tasks,
            encoder: MetadataEncoder::none(),
            network,
            preprocess,
            augmentation: TestTimeAugmentation::Off,
            several_images: SeveralImages::default(),
            modality_dropout: None,
            known_cases: KnownCases::default(),
            groups: Vec::new(),
            prediction_sets: None,
            performance: None,
            card: None,
            quality: QualityThresholds::default(),
            out_of_distribution: None,
            activation_ranges: None,
            outside: Vec::new(),
            heads: None,
        }
    }
}

/// A trained model: the network, its second stage, and how to feed them. On disk it is one file, `model.safetensors`: the
/// tensors under their PyTorch names, and in its metadata the description, the second stage, the version of the format and
/// a checksum. The same model gives the same bytes.
///
/// Burn runs its network, unless [`Bundle::with_engine`] gave it something else that does.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The description of the model: its tasks, network, encoder and settings.
    pub description: BundleDescription,
    /// The trained network.
    pub network: AnyNetwork,
    /// What happens to its logits.
    pub two_stage: TwoStage,
    /// What runs the network instead of Burn: its weights are those of the network.
    pub(crate) engine: Option<Arc<dyn NetworkEngine>>,
    /// The ONNX file of a frozen encoder that is one.
    pub(crate) encoder_file: Option<EncoderFile>,
}

impl Bundle {
    /// A model of its parts, which Burn runs. Whether they fit together is checked where they are used: see [`Bundle::check`].
    #[must_use]
    pub fn new(description: BundleDescription, network: AnyNetwork, two_stage: TwoStage) -> Self {
        Self { description, network, two_stage, engine: None, encoder_file: None }
    }

    /// The same model with the ONNX file of its encoder, which becomes a part of the model and runs in the engine that the description
    /// names when it is first asked.
    ///
    /// # Errors
    /// A network that is not described as an ONNX encoder; a name that no engine has.
    pub fn with_encoder_file(self, file: Vec<u8>) -> Result<Self, InferError> {
        self.with_encoder(EncoderFile::new(file), None)
    }

    /// The same model with the ONNX file of its encoder in an engine; in that of the description, if none is given.
    pub(crate) fn with_encoder(self, file: EncoderFile, engine: Option<&Engine>) -> Result<Self, InferError> {
        let BundleDescription { network, preprocess, tasks, .. } = &self.description;
        let Some(config) = onnx_encoder_of(network) else {
            let (what, found) = ("the file of an encoder".into(), "an ONNX file".into());
            let expected = format!("that of a network `{}`", network.kind());
            return Err(InferError::Inconsistent { what, found, expected });
        };
        let of = (preprocess.size, tasks.class_counts());
        let engine = EncoderEngine::new(config, engine, &self.network, file.clone(), of)?;
        Ok(Self { engine: Some(Arc::new(engine)), encoder_file: Some(file), ..self })
    }

    /// The ONNX file of the model's encoder, if it is one.
    #[must_use]
    pub fn encoder_file(&self) -> Option<&[u8]> {
        self.encoder_file.as_ref().map(|file| file.bytes.as_slice())
    }

    /// The same model with something else that runs its network. It must have been made of this network; one that is put into
    /// [`network`](Self::network) later is not what it runs.
    #[must_use]
    pub fn with_network_engine(self, engine: Arc<dyn NetworkEngine>) -> Self {
        Self { engine: Some(engine), ..self }
    }

    /// What runs the network, if it is not Burn.
    #[must_use]
    pub fn network_engine(&self) -> Option<&Arc<dyn NetworkEngine>> {
        self.engine.as_ref()
    }

    /// What runs the network, and with which numbers.
    #[must_use]
    pub fn engine_facts(&self) -> EngineFacts {
        self.engine_note().unwrap_or_else(burn_facts)
    }

    /// What runs the network, if it is not Burn.
    pub(crate) fn engine_note(&self) -> Option<EngineFacts> {
        self.engine.as_ref().map(|engine| engine.facts().clone())
    }

    /// Writes the model into a file, whole or not at all. Parts of the network that only training needs are left out.
    ///
    /// # Errors
    /// Parts that do not fit together; a file that cannot be written.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<(), InferError> {
        Ok(write_whole_file(file.as_ref(), &self.to_bytes()?)?)
    }

    /// The bytes of the model file.
    ///
    /// # Errors
    /// Parts that do not fit together.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InferError> {
        self.check()?;
        let network = self.network.valid().into_inference();
        let description =
            BundleDescription { network: self.description.network.clone().inference(), ..self.description.clone() };
        let file = ModelFile {
            description: to_json(&description),
            two_stage: to_json(&self.two_stage),
            tensors: named_tensors(&network, &network.tensor_names()),
            files: self.encoder_file.iter().map(|file| (ENCODER_FILE.to_owned(), file.bytes.to_vec())).collect(),
        };
        file.to_bytes().map_err(|source| InferError::Model { path: MODEL_FILE.into(), source })
    }

    /// Reads a model and puts its network on a device: a file that [`Bundle::save`] wrote, the folder of a run that has
    /// one, or a folder of the older format (`bundle.json` beside its weights).
    ///
    /// # Errors
    /// A file that is missing, damaged (its checksum is compared), of another format, or whose parts do not fit together.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, InferError> {
        let path = path.as_ref();
        let file = match path.is_dir() {
            true => path.join(MODEL_FILE),
            false => path.to_owned(),
        };
        if path.is_dir() && !file.is_file() && folder_bundle::is_one(path) {
            return folder_bundle::load(path, device);
        }
        Self::read(&file, &read_regular_file(&file, MAX_MODEL_BYTES)?, device)
    }

    /// Reads a model from the bytes of its file.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, InferError> {
        Self::read(Path::new(MODEL_FILE), bytes, device)
    }

    pub(crate) fn read(path: &Path, bytes: &[u8], device: &Device) -> Result<Self, InferError> {
        let error = |source| InferError::Model { path: path.to_owned(), source };
        let ModelFile { description, two_stage, tensors, mut files } = ModelFile::from_bytes(bytes).map_err(error)?;
        let description = with_kinds(from_json(path, description.as_bytes())?);
        let description: BundleDescription = serde_json::from_value(description)
            .map_err(|source| InferError::Description { path: path.to_owned(), source })?;
        let two_stage = from_json(path, two_stage.as_bytes())?;
        let network = description.network.init(device)?;
        let names = network.tensor_names();
        let network = set_tensors(network, names, tensors, path).map_err(NetworkError::from)?;
        let mut bundle = Self::new(description, network, two_stage);
        if let Some(file) = files.remove(ENCODER_FILE) {
            bundle = bundle.with_encoder_file(file)?;
        }
        if let Some(name) = files.keys().next() {
            let (what, expected) = ("a file in the model".into(), format!("`{ENCODER_FILE}`, the only one"));
            return Err(InferError::Inconsistent { what, found: format!("`{name}`"), expected });
        }
        bundle.check()?;
        Ok(bundle)
    }

    /// Checks that the parts fit together: tasks, network, encoder and second stage.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), InferError> {
        let BundleDescription {
            tasks,
            encoder,
            network,
            preprocess,
            groups,
            prediction_sets,
            card,
            quality,
            out_of_distribution,
            activation_ranges,
            outside,
            heads,
            ..
        } = &self.description;
        preprocess.check().map_err(|fault| fault.under("preprocess"))?;
        card.as_ref().map_or(Ok(()), ModelCard::check)?;
        quality.check().map_err(|fault| fault.under("quality"))?;
        out_of_distribution.as_ref().map_or(Ok(()), OutOfDistribution::check)?;
        // The fingerprint reads every weight.
        activation_ranges.as_ref().map_or(Ok(()), |ranges| ranges.check(&self.network_fingerprint()))?;
        let inconsistent = |what: &'static str, found: String, expected: String| {
            Err(InferError::Inconsistent { what: what.into(), found, expected })
        };
        if network.classes() != tasks.class_counts() {
            let expected = format!("{:?}, as the tasks have", tasks.class_counts());
            return inconsistent("classes of the network", format!("{:?}", network.classes()), expected);
        }
        let (inputs, width) = (network.metadata_inputs(), encoder.width());
        if inputs > 0 && inputs != width {
            let expected = format!("{width}, as the encoder gives");
            return inconsistent("metadata columns of the network", inputs.to_string(), expected);
        }
        let dropout = self.description.modality_dropout.map_or(Ok(()), |dropout| dropout.check());
        dropout.map_err(|fault| fault.under("modality_dropout"))?;
        self.check_encoders(heads.as_ref())?;
        for (at, fitted) in groups.iter().enumerate() {
            fitted.check(tasks)?;
            let name = fitted.group.name();
            if groups[..at].iter().any(|earlier| earlier.group.name() == name) {
                return inconsistent("groups of classes", format!("`{name}` twice"), "each name once".into());
            }
        }
        prediction_sets.as_ref().map_or(Ok(()), |sets| sets.check(tasks))?;
        if let Some(performance) = &self.description.performance {
            performance.check()?;
            if performance.task != tasks[0].name {
                let (what, expected) = ("the task of the test summary", format!("`{}`, the first", tasks[0].name));
                return inconsistent(what, format!("`{}`", performance.task), expected);
            }
        }
        let mut branches: Vec<&str> = self.network.branches().iter().map(|branch| branch.name).collect();
        for model in outside {
            let is_of_task = |task: &Task| task.name == model.task && task.classes == model.classes;
            if !tasks.iter().any(is_of_task) {
                let found = format!("{} ({})", model.task, model.classes.join(", "));
                return inconsistent("task of another model's answers", found, "one of the model's tasks".into());
            }
            if branches.contains(&model.name.as_str()) {
                let found = format!("`{}` twice", model.name);
                return inconsistent("branches", found, "each name once".into());
            }
            branches.push(&model.name);
        }
        Ok(self.two_stage.check(tasks, &branches, width)?)
    }

    /// What tells the network from others: the SHA-256 of its description and of every weight, in hexadecimal.
    #[must_use]
    pub fn network_fingerprint(&self) -> String {
        let network = self.network.valid().into_inference();
        let file = ModelFile {
            description: to_json(&self.description.network.clone().inference()),
            two_stage: String::new(),
            tensors: named_tensors(&network, &network.tensor_names()),
            // That of an encoder is described by its SHA-256.
            files: BTreeMap::new(),
        };
        file.checksum()
    }

    /// The ranges of the network's activations.
    ///
    /// # Errors
    /// None, or those of another network.
    #[cfg(feature = "onnx")]
    pub(crate) fn checked_ranges(&self) -> Result<&ActivationRanges, InferError> {
        let ranges = self.description.activation_ranges.as_ref().ok_or(InferError::NoRanges)?;
        ranges.check(&self.network_fingerprint())?;
        Ok(ranges)
    }

    /// Whether frozen encoders have heads of their features and branches, and the file that they are described as; and other networks none.
    fn check_encoders(&self, heads: Option<&FeatureHeads>) -> Result<(), InferError> {
        let inconsistent = |what: &str, found: String, expected: String| {
            Err(InferError::Inconsistent { what: what.into(), found, expected })
        };
        let kind = self.description.network.kind();
        let (network, heads) = match (&self.network, heads) {
            (AnyNetwork::FrozenEncoders(network), Some(heads)) => (network, heads),
            (AnyNetwork::FrozenEncoders(_), None) => {
                return inconsistent(
                    "heads",
                    "nothing".into(),
                    "what answers from the features of frozen encoders".into(),
                );
            }
            (_, Some(_)) => return inconsistent("heads", "some".into(), format!("a part of the network `{kind}`")),
            (_, None) => return Ok(()),
        };
        let given: Vec<(&str, usize)> =
            network.images().iter().map(|&image| (image.name(), network.features(image))).collect();
        let seen: Vec<(&str, usize)> = heads.images().collect();
        if given != seen {
            return inconsistent(
                "features of the heads",
                format!("{seen:?}"),
                format!("{given:?}, as the encoders give"),
            );
        }
        let answered: Vec<&str> = heads.heads().iter().map(|head| head.inputs.branch.as_str()).collect();
        let branches: Vec<&str> = network.branches().iter().map(|branch| branch.name).collect();
        if answered != branches {
            return inconsistent("branches of the heads", format!("{answered:?}"), format!("{branches:?}"));
        }
        let columns = self.description.network.metadata_inputs();
        if heads.record_columns() != columns {
            let (found, expected) = (heads.record_columns().to_string(), format!("{columns}, as the network has"));
            return inconsistent("columns of the record that the heads see", found, expected);
        }
        if *heads.tasks() != self.description.tasks {
            let names = |tasks: &TaskSet| tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>().join(", ");
            let expected = format!("{}, with their classes", names(&self.description.tasks));
            return inconsistent("tasks of the heads", names(heads.tasks()), expected);
        }
        match (onnx_encoder_of(&self.description.network), &self.encoder_file) {
            (Some(config), Some(file)) if config.sha256 != file.sha256 => {
                inconsistent("the SHA-256 of the encoder's file", file.sha256.clone(), config.sha256.clone())
            }
            (Some(_), None) => inconsistent("the file of the encoder", "nothing".into(), "an ONNX file".into()),
            _ => Ok(()),
        }
    }

    /// What must be said of the model whatever it is asked, such as classes whose probabilities could not be calibrated, or with too
    /// few validation cases for sets of their own.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let BundleDescription { groups, prediction_sets, heads, .. } = &self.description;
        let mut notes = heads.as_ref().map(FeatureHeads::notes).unwrap_or_default();
        notes.extend(self.two_stage.notes());
        notes.extend(groups.iter().filter_map(FittedGroup::note));
        notes.extend(prediction_sets.iter().flat_map(PredictionSets::notes));
        notes.extend(self.note_of_thresholds(self.two_stage.prevalence.as_ref()));
        notes
    }

    /// The network's logits of the cases; `progress` is told how many are done. Cases, fields and classes are
    /// matched by name with the model's.
    ///
    /// # Errors
    /// A data set with other tasks or with classes or fields that the model does not know, and as [`Predictor::logits`].
    pub fn logits(&self, cases: &CaseView<'_>, progress: impl FnMut(usize)) -> Result<BranchLogits, InferError> {
        let set = self.in_model_tasks(cases.set())?;
        self.predictor().logits(&set.view(cases.rows())?, &self.description.encoder, progress)
    }

    /// The set with its labels numbered as the model numbers classes, and with what the model asks of the patient's other lesions.
    pub(crate) fn in_model_tasks<'a>(&self, set: &'a CaseSet) -> Result<Cow<'a, CaseSet>, InferError> {
        let set = in_model_tasks(set, &self.description.tasks)?;
        let filled = match set.beside_other_lesions(self.description.encoder.fields()) {
            Cow::Borrowed(_) => None,
            Cow::Owned(filled) => Some(filled),
        };
        Ok(filled.map_or(set, Cow::Owned))
    }

    /// Asks the network as the description says.
    pub(crate) fn predictor(&self) -> Predictor<AnyNetwork> {
        let BundleDescription { preprocess, augmentation, several_images, .. } = &self.description;
        let mut predictor = Predictor::new(&self.network, preprocess.clone(), *augmentation);
        predictor.several_images = *several_images;
        predictor.out_of_distribution.clone_from(&self.description.out_of_distribution);
        predictor.may_miss = self.may_miss();
        predictor.outside.clone_from(&self.description.outside);
        predictor.heads = self.description.heads.clone().map(Arc::new);
        match &self.engine {
            Some(engine) => predictor.with_engine(engine.clone()),
            None => predictor,
        }
    }

    /// Answers from now on at one of the model's points, or without one, where each class is as probable as is said.
    ///
    /// # Errors
    /// A point that the model does not have; a model whose answers are corrected to a prevalence, or that has operating points of groups or
    /// sets of classes, whose thresholds were fitted to the answers that it gives now.
    pub fn decide_at(&mut self, point: Option<&str>) -> Result<(), InferError> {
        if self.two_stage.point.as_deref() == point {
            return Ok(());
        }
        let BundleDescription { groups, prediction_sets, .. } = &self.description;
        if !groups.is_empty() || prediction_sets.is_some() {
            return Err(InferError::FittedToPoint { point: self.two_stage.point.clone() });
        }
        self.two_stage = self.two_stage.clone().with_point(point)?;
        Ok(())
    }

    /// What the network was trained to miss.
    pub(crate) fn may_miss(&self) -> Modalities {
        may_miss(self.description.modality_dropout)
    }

    /// Which branches answer for a case of which `there` is there, in their order.
    pub(crate) fn answering(&self, there: Modalities) -> Vec<bool> {
        self.network.answering_despite(there, self.may_miss())
    }
}

/// How the encoder is described, if it is an ONNX file.
pub(crate) fn onnx_encoder_of(network: &NetworkConfig) -> Option<&OnnxEncoderConfig> {
    match network {
        NetworkConfig::FrozenEncoders(config) => config.onnx(),
        _ => None,
    }
}

/// The SHA-256 of bytes in lower-case hexadecimal.
///
/// ```
/// let empty = dermafuse_infer::sha256_hex(b"");
/// assert!(empty.starts_with("e3b0c44298fc1c14"));
/// ```
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("descriptions have string keys only, so they always serialise")
}

pub(crate) fn from_json<T: for<'de> Deserialize<'de>>(path: &Path, text: &[u8]) -> Result<T, InferError> {
    serde_json::from_slice(text).map_err(|source| InferError::Description { path: PathBuf::from(path), source })
}
