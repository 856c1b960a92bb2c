//! What runs a model's network, by name.

use clap::Args;
use dermafuse::infer::{Bundle, Engine, InferError};

/// What runs the network.
#[derive(Args, Clone, Debug)]
pub(crate) struct EngineArgument {
    /// What runs the network: burn (part of this program, on --device), or a library of this machine, onnxruntime or openvino, both
    /// on the CPU. Settings follow a colon: threads=N, batch=N, precision=f32, bf16 or int8, library=PATH (last), with commas
    /// between them.
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", default_value_t = Engine::Burn)]
    pub(crate) engine: Engine,
}

impl EngineArgument {
    /// The model with the engine that was asked for.
    ///
    /// # Errors
    /// A library that cannot be used, a network that it cannot run.
    pub(crate) fn run(&self, bundle: Bundle) -> Result<Bundle, InferError> {
        bundle.with_engine(&self.engine)
    }
}
