//! Frozen encoders: the features of every image once, and heads that are fitted on them.

use std::sync::Arc;

use burn::module::Module;
use dermafuse_data::CaseView;
use dermafuse_ensemble::{EnsembleError, FeatureHeads, HeadCases, HeadInputs};
use dermafuse_infer::{
    Bundle, Engine, FeatureCache, FeatureExtractor, ImageEncoders, InferError, KnownFeatures, MAX_MODEL_BYTES,
    image_encoders, kinds_of, sha256_hex,
};
use dermafuse_networks::{AnyNetwork, EncoderKind, Network, NetworkConfig};
use dermafuse_schema::read_regular_file;
use dermafuse_train::TrainingCases;

use crate::{BackboneWeights, NetworkRecipe, Progress, RecipeError, Workplace};

/// Images in one forward pass of an encoder.
const BATCH: usize = 16;

/// A network that has learnt: by gradients, or by heads that were fitted on the features of its frozen encoders.
#[derive(Clone, Debug)]
pub struct LearntNetwork {
    /// The network.
    pub network: AnyNetwork,
    /// Its description. What was found out of an ONNX encoder is in it.
    pub config: NetworkConfig,
    /// What answers instead of its own classifiers.
    pub heads: Option<Arc<FeatureHeads>>,
    /// Features of the images of the experiment.
    pub(crate) known: Option<Arc<KnownFeatures>>,
    /// The ONNX file of its encoder.
    pub(crate) file: Option<Arc<Vec<u8>>>,
}

/// The encoders of a network, ready to be asked.
struct Encoders {
    network: AnyNetwork,
    config: NetworkConfig,
    of_images: ImageEncoders,
    file: Option<Arc<Vec<u8>>>,
}

/// A network with the features that its encoders give of the images of an experiment.
pub(crate) struct EncodedCases {
    network: AnyNetwork,
    config: NetworkConfig,
    known: Arc<KnownFeatures>,
    file: Option<Arc<Vec<u8>>>,
}

impl LearntNetwork {
    /// A network with classifiers of its own.
    #[must_use]
    pub fn new(network: AnyNetwork, config: NetworkConfig) -> Self {
        Self { network, config, heads: None, known: None, file: None }
    }

    /// The network of a model, with its heads.
    pub(crate) fn of(bundle: &Bundle, known: Option<Arc<KnownFeatures>>) -> Self {
        let description = &bundle.description;
        let heads = description.heads.clone().map(Arc::new);
        let (network, config) = (bundle.network.clone(), description.network.clone());
        Self { network, config, heads, known, file: None }
    }
}

impl NetworkRecipe {
    /// Whether the network is one of frozen encoders, whose heads are fitted instead of trained.
    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.network, NetworkConfig::FrozenEncoders(_))
    }

    /// Checks what can be checked of frozen encoders before any image is looked at: weights, an ONNX file in its engine, settings of heads.
    pub(crate) fn check_encoders(&self, place: Workplace<'_>) -> Result<(), RecipeError> {
        self.network.check_images(self.training.preprocess.size)?;
        let heads = self.heads.as_ref().ok_or(RecipeError::NoHeads)?;
        heads.check().map_err(|fault| EnsembleError::from(fault.under("method.heads")))?;
        self.encoders(place).map(drop)
    }

    /// The encoders with their weights.
    fn encoders(&self, place: Workplace<'_>) -> Result<Encoders, RecipeError> {
        let mut config = self.network.clone();
        let mut network = config.init_seeded(self.training.seed, place.device)?;
        let mut file = None;
        match (&self.backbone_weights, is_onnx(&config)) {
            (Some(BackboneWeights::OfAll(path)), true) => {
                file = Some(Arc::new(read_regular_file(path, MAX_MODEL_BYTES).map_err(InferError::from)?));
            }
            (Some(weights), false) => network = weights.load_into(network, &config)?,
            (_, true) => return Err(RecipeError::NoEncoderFile),
            (None, false) => {}
        }
        let side = self.training.preprocess.size;
        let bytes = file.as_ref().map(|file| file.as_slice());
        let of_images = image_encoders(&config, &network.valid(), bytes, side)?;
        if let (NetworkConfig::FrozenEncoders(frozen), Some(bytes)) = (&mut config, bytes)
            && let EncoderKind::Onnx(onnx) = &mut frozen.backbone
        {
            onnx.features = of_images.first().map_or(0, |(_, encoder)| encoder.features());
            onnx.sha256 = sha256_hex(bytes);
            onnx.engine = elsewhere(&onnx.engine)?;
            // Its shapes are known now.
            network = config.init(place.device)?;
        }
        Ok(Encoders { network: network.valid(), config, of_images, file })
    }

    /// The features of all images of these cases: from the workplace's cache, else computed and kept there.
    pub(crate) fn encode(
        &self,
        cases: &CaseView<'_>,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<EncodedCases, RecipeError> {
        progress.step("computing the features of all images");
        let Encoders { network, config, of_images, file } = self.encoders(place)?;
        let cache = place.features.map(FeatureCache::new);
        let extractor = FeatureExtractor {
            encoders: of_images,
            preprocess: self.training.preprocess.clone(),
            views: self.augmentation.views(),
            device: place.device.clone(),
            batch_size: BATCH,
            threads: self.training.threads,
            images: place.cache.cloned(),
            cache: cache.as_ref(),
        };
        let (known, counts) = extractor.extract(cases, |done, total| progress.predicted(done, total))?;
        if let Some(cache) = &cache {
            let folder = cache.folder().display();
            progress.noted(&format!(
                "Features of views of images: {} computed, {} read from {folder}.",
                counts.computed, counts.read
            ));
            if counts.damaged > 0 {
                progress.noted(&format!(
                    "{} damaged files in {folder} were not believed; their features were computed anew.",
                    counts.damaged
                ));
            }
        }
        Ok(EncodedCases { network, config, known: Arc::new(known), file })
    }

    /// Fits the heads; `seed` is added to those of the classifiers.
    pub(crate) fn fit_heads(
        &self,
        encoded: &EncodedCases,
        seed: u64,
        cases: &TrainingCases<'_>,
        progress: &mut dyn Progress,
    ) -> Result<LearntNetwork, RecipeError> {
        progress.step("fitting the heads");
        let settings = self.heads.clone().ok_or(RecipeError::NoHeads)?.seeded(seed);
        let branches = encoded.network.branches();
        let inputs = branches.iter().map(|branch| HeadInputs {
            branch: branch.name.to_owned(),
            images: kinds_of(branch.needs).map(|image| image.name().to_owned()).collect(),
            record: branch.needs.metadata,
        });
        let inputs: Vec<HeadInputs> = inputs.collect();
        let (train, valid) = (&cases.train, &cases.valid);
        let cohorts = (train.cohort(cases.encoder)?, valid.cohort(cases.encoder)?);
        let images = (encoded.known.of_cases(train), encoded.known.of_cases(valid));
        let heads = settings.fit(
            &inputs,
            &train.set().tasks,
            HeadCases { cohort: &cohorts.0, images: &images.0 },
            HeadCases { cohort: &cohorts.1, images: &images.1 },
        )?;
        let EncodedCases { network, config, known, file } = encoded;
        Ok(LearntNetwork {
            network: network.clone(),
            config: config.clone(),
            heads: Some(Arc::new(heads)),
            known: Some(known.clone()),
            file: file.clone(),
        })
    }
}

/// Whether the network's encoder is an ONNX file.
pub(crate) fn is_onnx(network: &NetworkConfig) -> bool {
    matches!(network, NetworkConfig::FrozenEncoders(config) if config.onnx().is_some())
}

/// The words for an engine on other machines: without the place of a library on this one.
fn elsewhere(engine: &str) -> Result<String, InferError> {
    let mut engine: Engine = engine.parse().map_err(InferError::from)?;
    if let Engine::OnnxRuntime(settings) | Engine::OpenVino(settings) = &mut engine {
        settings.library = None;
        settings.threads = None;
    }
    Ok(engine.to_string())
}
