//! From the name of an engine to what runs a network.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::exported_network::{ExportedNetwork, file_of};
#[cfg(feature = "onnxruntime")]
use crate::onnx_runtime;
#[cfg(feature = "openvino")]
use crate::open_vino;
use crate::{Bundle, Engine, EngineError, InferError, OnnxSession};

impl Bundle {
    /// The same model with an engine that runs its network. A library is loaded when it is first asked for, and stays until the process
    /// ends. The network becomes ONNX in memory; the library keeps its own copy of the weights.
    ///
    /// # Errors
    /// A program that was built without the engine; a library that is absent, is for another machine or too old; a precision that the
    /// processor does not have; 8-bit integers of a model without [ranges](crate::BundleDescription::activation_ranges) of its activations; a
    /// network that cannot be written as ONNX.
    pub fn with_engine(self, engine: &Engine) -> Result<Self, InferError> {
        if let Some(file) = self.encoder_file.clone() {
            // Burn runs no such file: without a word it stays in the engine that the model names.
            let engine = Some(engine).filter(|engine| **engine != Engine::Burn);
            let bundle = self.with_encoder(file, engine)?;
            bundle.engine.as_ref().map_or(Ok(()), |engine| engine.ready())?;
            return Ok(bundle);
        }
        match engine {
            Engine::Burn => Ok(Self { engine: None, ..self }),
            Engine::OnnxRuntime(settings) | Engine::OpenVino(settings) => {
                let session = self.open_network(engine)?;
                self.with_session(session, settings.batch_size)
            }
        }
    }

    /// The network as ONNX in an engine.
    ///
    /// # Errors
    /// As [`Bundle::with_engine`]; Burn, which runs no ONNX files.
    pub fn open_network(&self, engine: &Engine) -> Result<Arc<dyn OnnxSession>, InferError> {
        // What is missing is said before a large network is written.
        engine.load()?;
        let precision = engine.settings().map(|settings| settings.precision).unwrap_or_default();
        Ok(engine.open(&file_of(self, precision)?)?)
    }

    /// The same model with a file that runs as its network: that of [`Bundle::open_network`], or one that other tools made of it, such
    /// as one of fewer bits. Its inputs and outputs are called as those of the network; that its numbers are those of the model is for
    /// the caller to see to, and `dermafuse::eval::EngineComparison` measures it. `batch_size` cases are in one forward pass.
    ///
    /// # Errors
    /// A file without an output of a branch and task, with another number of classes, or without an input that the network looks at.
    pub fn with_session(
        self,
        session: Arc<dyn OnnxSession>,
        batch_size: Option<NonZeroUsize>,
    ) -> Result<Self, InferError> {
        let batch_size = batch_size.map(NonZeroUsize::get);
        let network = ExportedNetwork::new(session, &self.network, &self.description.tasks, batch_size)?;
        Ok(self.with_network_engine(Arc::new(network)))
    }
}

impl Engine {
    /// Any ONNX file whose inputs and outputs are 32-bit floats, in this engine. [`Precision::Int8`](crate::Precision::Int8) says that the
    /// file has 8-bit integers; it runs as it is.
    ///
    /// ```
    /// use dermafuse_infer::Engine;
    ///
    /// let error = Engine::Burn.open(b"a file").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "Burn cannot run the network: it runs the networks of this library and no ONNX files; use another engine"
    /// );
    /// ```
    ///
    /// # Errors
    /// As [`Bundle::with_engine`]; a file that is damaged or has other inputs; Burn, which runs no ONNX files.
    pub fn open(&self, file: &[u8]) -> Result<Arc<dyn OnnxSession>, EngineError> {
        self.load()?;
        match self {
            #[cfg(feature = "onnxruntime")]
            Self::OnnxRuntime(settings) => onnx_runtime::open(settings, file),
            #[cfg(feature = "openvino")]
            Self::OpenVino(settings) => open_vino::open(settings, file),
            _ => {
                let _ = file;
                Err(EngineError::NotBuilt { engine: self.name() })
            }
        }
    }

    /// Loads its library.
    pub(crate) fn load(&self) -> Result<(), EngineError> {
        match self {
            Self::Burn => Err(EngineError::Network {
                engine: "Burn".into(),
                reason: "it runs the networks of this library and no ONNX files; use another engine".into(),
            }),
            #[cfg(feature = "onnxruntime")]
            Self::OnnxRuntime(settings) => onnx_runtime::load(settings),
            #[cfg(feature = "openvino")]
            Self::OpenVino(settings) => open_vino::load(settings),
            #[cfg(not(all(feature = "onnxruntime", feature = "openvino")))]
            _ => Err(EngineError::NotBuilt { engine: self.name() }),
        }
    }
}
