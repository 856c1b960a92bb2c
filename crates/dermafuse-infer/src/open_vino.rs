//! OpenVINO, loaded when it is asked for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dermafuse_schema::EngineFacts;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use openvino::{
    CompiledModel, Core, DeviceType, ElementType, InferRequest, InferenceError, Model, Node, PropertyKey,
    RwPropertyKey, Shape, Tensor,
};

use crate::engine_library::EngineLibrary;
use crate::onnx_session::check_question;
use crate::process_library::{ProcessLibrary, StartError, without_panic};
use crate::{EngineError, EngineSettings, OnnxSession, OnnxTensor, Precision};

const NAME: &str = "OpenVINO";

const LIBRARY: EngineLibrary = EngineLibrary {
    engine: NAME,
    stem: "openvino_c",
    variable: "OPENVINO_LIB_PATH",
    package: "openvino/libs",
    install: "pip install openvino",
    // Those that are called: the crate ends the process at one that is not there.
    functions: &[
        "ov_compiled_model_create_infer_request",
        "ov_compiled_model_free",
        "ov_core_compile_model",
        "ov_core_create",
        "ov_core_free",
        "ov_core_get_property",
        "ov_core_read_model_from_memory_buffer",
        "ov_core_set_property",
        "ov_free",
        "ov_get_last_err_msg",
        "ov_get_openvino_version",
        "ov_infer_request_free",
        "ov_infer_request_get_tensor",
        "ov_infer_request_infer",
        "ov_infer_request_set_tensor",
        "ov_model_const_input_by_index",
        "ov_model_const_output_by_index",
        "ov_model_free",
        "ov_model_inputs_size",
        "ov_model_outputs_size",
        "ov_output_const_port_free",
        "ov_partial_shape_free",
        "ov_port_get_any_name",
        "ov_port_get_element_type",
        "ov_port_get_partial_shape",
        "ov_shape_create",
        "ov_shape_free",
        "ov_tensor_create",
        "ov_tensor_data",
        "ov_tensor_free",
        "ov_tensor_get_byte_size",
        "ov_tensor_get_shape",
        "ov_version_free",
    ],
};

/// The first version whose numbers of element types are those that the crate knows.
const OLDEST: [u32; 2] = [2025, 1];

/// The library of the process, and its version.
static LOADED: ProcessLibrary<String> = ProcessLibrary::new();

/// Finds and loads the library, if that was not done.
///
/// # Errors
/// No library, one that cannot be used, another one than is loaded already; a processor that its code does not run on.
pub(crate) fn load(settings: &EngineSettings) -> Result<(), EngineError> {
    loaded(settings).map(|_| ())
}

/// The file in the library.
///
/// # Errors
/// As [`load`]; a precision that the processor does not have; a file that it does not accept.
pub(crate) fn open(settings: &EngineSettings, file: &[u8]) -> Result<Arc<dyn OnnxSession>, EngineError> {
    Ok(Arc::new(OpenVino::new(loaded(settings)?, settings, file)?))
}

fn loaded(settings: &EngineSettings) -> Result<&'static str, EngineError> {
    LOADED.get(&LIBRARY, settings.library.as_deref(), start).map(|loaded| loaded.value.as_str())
}

/// Loads the library from exactly this file: the crate itself looks for a name that packages of Python do not have. What it depends on
/// lies beside it.
fn start(path: &Path) -> Result<String, StartError> {
    match without_panic(|| openvino_sys::load_from(path.to_owned())) {
        Some(Ok(())) => {}
        Some(Err(reason)) => return Err(StartError::Refused(reason)),
        None => return Err(StartError::Refused("it cannot be loaded".into())),
    }
    // From here on the crate calls its functions, whatever they are.
    let lacks = || StartError::Stays("it lacks a function, or says something of itself that cannot be read".into());
    let [year, minor] = OLDEST;
    let build = without_panic(|| openvino::version().build_number).ok_or_else(lacks)?;
    // Such as `2026.4.1-22301-…`.
    let version = build.split('-').next().unwrap_or(&build).to_owned();
    // Read before the crate does it, which panics at words.
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if [0; 2].map(|_| parts.next().unwrap_or(0)) < OLDEST {
        return Err(StartError::Stays(format!(
            "it says that it is of version `{version}`, and {year}.{minor} or a later one is needed"
        )));
    }
    let works = without_panic(|| {
        let core = Core::new().map_err(|error| error.to_string())?;
        core.get_property(&DeviceType::CPU, &PropertyKey::DeviceCapabilities).map_err(|error| error.to_string())
    });
    match works.ok_or_else(lacks)? {
        Ok(_) => Ok(version),
        Err(reason) => Err(StartError::Stays(reason)),
    }
}

/// A tensor that was given.
type SidesAndValues = (Vec<i64>, Vec<f32>);

/// A file in OpenVINO, on the CPU.
struct OpenVino {
    facts: EngineFacts,
    inputs: Vec<OnnxTensor>,
    outputs: Vec<OnnxTensor>,
    /// Those that wait. There are as many as threads that have asked at one time, and they share the weights.
    requests: Mutex<Vec<Request>>,
    compiled: Mutex<CompiledModel>,
}

impl std::fmt::Debug for OpenVino {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { facts, inputs, outputs, .. } = self;
        let shown = (facts, inputs, outputs);
        formatter.debug_tuple("OpenVino").field(&shown).finish_non_exhaustive()
    }
}

impl OpenVino {
    fn new(version: &str, settings: &EngineSettings, file: &[u8]) -> Result<Self, EngineError> {
        let precision = settings.precision;
        let facts = EngineFacts { name: NAME.into(), version: version.to_owned(), precision: precision.name().into() };
        let refused = |reason: String| EngineError::Network { engine: facts.to_string(), reason };
        let told = |error: InferenceError| refused(error.to_string());
        let mut core = Core::new().map_err(|error| refused(error.to_string()))?;
        if precision == Precision::Bf16 {
            let has = core.get_property(&DeviceType::CPU, &PropertyKey::DeviceCapabilities).map_err(told)?;
            if !has.split_whitespace().any(|capability| capability == "BF16") {
                return Err(EngineError::Precision {
                    engine: NAME.into(),
                    precision: precision.name(),
                    reason: format!("the processor has no instructions for it; OpenVINO finds {has}"),
                });
            }
        }
        let floats = if precision == Precision::Bf16 { Precision::Bf16 } else { Precision::F32 };
        let threads = settings.threads.map(|threads| threads.to_string());
        let properties = [
            (RwPropertyKey::HintPerformanceMode, Some("LATENCY")),
            // Without a word it takes bf16 where the processor has it. Files of 8-bit integers have floats, too.
            (RwPropertyKey::HintInferencePrecision, Some(floats.name())),
            (RwPropertyKey::InferenceNumThreads, threads.as_deref()),
        ];
        for (key, value) in properties {
            if let Some(value) = value {
                core.set_property(&DeviceType::CPU, &key, value).map_err(told)?;
            }
        }
        let model = core.read_model_from_buffer(file, None).map_err(told)?;
        let inputs = tensors(&model, Model::get_inputs_len, Model::get_input_by_index).map_err(refused)?;
        let outputs = tensors(&model, Model::get_outputs_len, Model::get_output_by_index).map_err(refused)?;
        let compiled = core.compile_model(&model, DeviceType::CPU).map_err(told)?;
        Ok(Self { inputs, outputs, requests: Mutex::new(Vec::new()), compiled: Mutex::new(compiled), facts })
    }

    /// A request that nobody uses.
    fn request(&self) -> Result<Request, InferenceError> {
        let waiting = self.requests.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match waiting {
            Some(request) => Ok(request),
            None => {
                let request = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).create_infer_request()?;
                Ok(Request { request, given: Vec::new() })
            }
        }
    }
}

/// A request with the inputs of its last pass, whose memory the next pass takes over: a batch of images is megabytes, and fresh memory
/// takes longer to get than to fill.
struct Request {
    request: InferRequest,
    given: Vec<Given>,
}

struct Given {
    name: String,
    sides: Vec<i64>,
    tensor: Tensor,
}

impl Request {
    /// Sets the input of this name.
    fn give(&mut self, name: &str, values: &ArrayViewD<'_, f32>) -> Result<(), InferenceError> {
        let sides: Vec<i64> = values.shape().iter().map(|&side| side as i64).collect();
        let place = match self.given.iter().position(|given| given.name == name) {
            Some(place) if self.given[place].sides == sides => place,
            found => {
                let tensor = Tensor::new(ElementType::F32, &Shape::new(&sides)?)?;
                self.request.set_tensor(name, &tensor)?;
                let given = Given { name: name.to_owned(), sides, tensor };
                match found {
                    Some(place) => self.given[place] = given,
                    None => self.given.push(given),
                }
                found.unwrap_or(self.given.len() - 1)
            }
        };
        let to = self.given[place].tensor.get_data_mut::<f32>()?;
        match values.as_slice() {
            Some(values) => to.copy_from_slice(values),
            None => to.iter_mut().zip(values).for_each(|(to, from)| *to = *from),
        }
        Ok(())
    }
}

/// What a file says of its inputs, or of its outputs.
fn tensors(
    model: &Model,
    count: impl Fn(&Model) -> Result<usize, InferenceError>,
    at: impl Fn(&Model, usize) -> Result<Node, InferenceError>,
) -> Result<Vec<OnnxTensor>, String> {
    let told = |error: InferenceError| error.to_string();
    let of = |place: usize| {
        let node = at(model, place).map_err(told)?;
        let name = node.get_name().map_err(told)?;
        let element = node.get_element_type().map_err(told)?;
        if element != ElementType::F32 {
            return Err(format!("`{name}` is {element} instead of a tensor of 32-bit floats"));
        }
        let shape = node.get_partial_shape().map_err(told)?;
        // A free side has a range.
        let side = |least: i64, most: i64| if least == most { usize::try_from(least).ok() } else { None };
        let sides = shape.get_dimensions().iter().map(|sides| side(sides.get_min(), sides.get_max()));
        Ok(OnnxTensor { name, shape: sides.collect() })
    };
    (0..count(model).map_err(told)?).map(of).collect()
}

impl OnnxSession for OpenVino {
    fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn inputs(&self) -> &[OnnxTensor] {
        &self.inputs
    }

    fn outputs(&self) -> &[OnnxTensor] {
        &self.outputs
    }

    fn run(&self, inputs: &[(&str, ArrayViewD<'_, f32>)], outputs: &[&str]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        check_question(self, inputs, outputs)?;
        let failed = |reason: String| EngineError::Run { engine: self.facts.to_string(), reason };
        let run = || -> Result<Vec<SidesAndValues>, InferenceError> {
            let mut request = self.request()?;
            for (name, values) in inputs {
                request.give(name, values)?;
            }
            request.request.infer()?;
            let mut found = Vec::with_capacity(outputs.len());
            for name in outputs {
                let tensor = request.request.get_tensor(name)?;
                found.push((tensor.get_shape()?.get_dimensions().to_vec(), tensor.get_data::<f32>()?.to_vec()));
            }
            // One that failed is not used again.
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            Ok(found)
        };
        let found = run().map_err(|error| failed(error.to_string()))?;
        let array = |(sides, values): (Vec<i64>, Vec<f32>)| {
            let shape: Vec<usize> = sides.iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect();
            ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|error| failed(error.to_string()))
        };
        found.into_iter().map(array).collect()
    }
}
