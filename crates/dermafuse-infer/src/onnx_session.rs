use std::fmt::{self, Debug};

use dermafuse_schema::EngineFacts;
use ndarray::{ArrayD, ArrayViewD};

use crate::EngineError;

/// An ONNX file in a library that runs it: a model's network, or any other file with inputs and outputs of 32-bit floats.
/// [`Engine::open`](crate::Engine::open) makes one. It is asked from several threads at a time.
pub trait OnnxSession: Debug + Send + Sync {
    /// What runs it.
    fn facts(&self) -> &EngineFacts;

    /// What it takes.
    fn inputs(&self) -> &[OnnxTensor];

    /// What it gives.
    fn outputs(&self) -> &[OnnxTensor];

    /// The outputs of these names for the inputs of these names, all of which must be given.
    ///
    /// # Errors
    /// An input that it does not have, that is missing, or of another shape; an output that it does not have; a library that fails.
    fn run(&self, inputs: &[(&str, ArrayViewD<'_, f32>)], outputs: &[&str]) -> Result<Vec<ArrayD<f32>>, EngineError>;
}

/// An input or output of an ONNX file: its name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxTensor {
    /// Its name.
    pub name: String,
    /// Its sides; `None` for one that is free, such as the number of cases.
    pub shape: Vec<Option<usize>>,
}

impl OnnxTensor {
    /// Whether a tensor of these sides is one.
    #[must_use]
    pub fn allows(&self, sides: &[usize]) -> bool {
        self.shape.len() == sides.len()
            && self.shape.iter().zip(sides).all(|(own, side)| own.is_none_or(|own| own == *side))
    }
}

impl fmt::Display for OnnxTensor {
    /// Such as `clinical [N, 3, 224, 224]`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = self.shape.iter().map(|side| side.map_or_else(|| "N".to_owned(), |side| side.to_string()));
        write!(formatter, "{} [{}]", self.name, sides.collect::<Vec<_>>().join(", "))
    }
}

/// Checks what a session is asked: every input once and of its shape, and outputs that it has.
///
/// # Errors
/// The first thing that is not so, with what the file has.
#[cfg(feature = "_engines")]
pub(crate) fn check_question(
    session: &impl OnnxSession,
    inputs: &[(&str, ArrayViewD<'_, f32>)],
    outputs: &[&str],
) -> Result<(), EngineError> {
    let refused = |reason: String| Err(EngineError::Run { engine: session.facts().to_string(), reason });
    let listed = |tensors: &[OnnxTensor]| tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let own = session.inputs();
    for (at, (name, values)) in inputs.iter().enumerate() {
        match own.iter().find(|tensor| tensor.name == *name) {
            None => return refused(format!("the network has no input `{name}`; it has {}", listed(own))),
            Some(_) if inputs[..at].iter().any(|(earlier, _)| earlier == name) => {
                return refused(format!("input `{name}` is given twice"));
            }
            Some(tensor) if !tensor.allows(values.shape()) => {
                return refused(format!("input `{name}` has the shape {:?} instead of {tensor}", values.shape()));
            }
            Some(_) => {}
        }
    }
    if let Some(missing) = own.iter().find(|tensor| !inputs.iter().any(|(name, _)| *name == tensor.name)) {
        return refused(format!("input {missing} is missing"));
    }
    let given = session.outputs();
    match outputs.iter().find(|name| !given.iter().any(|tensor| tensor.name == **name)) {
        Some(name) => refused(format!("the network has no output `{name}`; it has {}", listed(given))),
        None => Ok(()),
    }
}
