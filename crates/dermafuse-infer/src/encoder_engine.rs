//! An ONNX encoder in the place where a network stands.

use std::fmt;
use std::sync::{Arc, OnceLock};

use dermafuse_networks::{AnyNetwork, Modality, MultimodalInput, Network, OnnxEncoderConfig};
use dermafuse_schema::EngineFacts;
use ndarray::{Array2, ArrayView2, Axis, concatenate};

use crate::onnx_encoder::OnnxEncoder;
use crate::{Engine, EngineError, ImageEncoder, NetworkEngine, NetworkValues, sha256_hex};

/// The ONNX file of a model's encoder.
#[derive(Clone)]
pub(crate) struct EncoderFile {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) sha256: String,
}

impl fmt::Debug for EncoderFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EncoderFile({} bytes, SHA-256 {})", self.bytes.len(), self.sha256)
    }
}

impl EncoderFile {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let sha256 = sha256_hex(&bytes);
        Self { bytes: Arc::new(bytes), sha256 }
    }
}

/// An encoder of images that runs when it is first asked, so that a model can be read and shown where no engine is.
#[derive(Debug)]
pub(crate) struct EncoderEngine {
    config: OnnxEncoderConfig,
    file: EncoderFile,
    side: usize,
    images: Vec<Modality>,
    branches: usize,
    classes: Vec<usize>,
    /// What is known of the engine before it runs.
    named: EngineFacts,
    opened: OnceLock<OnnxEncoder>,
}

impl EncoderEngine {
    /// The encoder of a network whose description it is; `engine` runs it instead of the one that the description names.
    ///
    /// # Errors
    /// A name that no engine has.
    pub(crate) fn new(
        config: &OnnxEncoderConfig,
        engine: Option<&Engine>,
        network: &AnyNetwork,
        file: EncoderFile,
        (side, classes): (usize, Vec<usize>),
    ) -> Result<Self, EngineError> {
        let engine = match engine {
            Some(engine) => engine.clone(),
            None => config.engine.parse()?,
        };
        let precision = engine.settings().map_or("f32", |settings| settings.precision.name()).to_owned();
        let named = EngineFacts { name: engine.name().into(), version: "not loaded".into(), precision };
        let seen = network.modalities();
        Ok(Self {
            config: OnnxEncoderConfig { engine: engine.to_string(), ..config.clone() },
            file,
            side,
            images: crate::kinds_of(seen).collect(),
            branches: network.branches().len(),
            classes,
            named,
            opened: OnceLock::new(),
        })
    }

    fn opened(&self) -> Result<&OnnxEncoder, EngineError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = OnnxEncoder::open(&self.config, &self.file.bytes, self.side)?;
        Ok(self.opened.get_or_init(|| opened))
    }
}

impl NetworkEngine for EncoderEngine {
    fn facts(&self) -> &EngineFacts {
        self.opened.get().map_or(&self.named, OnnxEncoder::facts)
    }

    fn ready(&self) -> Result<(), EngineError> {
        self.opened().map(drop)
    }

    fn run(&self, input: MultimodalInput, with_embedding: bool) -> Result<NetworkValues, EngineError> {
        let encoder = self.opened()?;
        let features = self.images.iter().map(|&image| encoder.encode(input.image(image)));
        let features: Vec<Array2<f32>> = features.collect::<Result<_, _>>()?;
        let views: Vec<ArrayView2<'_, f32>> = features.iter().map(Array2::view).collect();
        let embedding = concatenate(Axis(1), &views).expect("all are of the same cases");
        // What answers are the heads.
        let logits = || self.classes.iter().map(|&classes| Array2::zeros((embedding.nrows(), classes))).collect();
        let logits = (0..self.branches).map(|_| logits()).collect();
        Ok(NetworkValues { logits, embedding: with_embedding.then_some(embedding) })
    }
}
