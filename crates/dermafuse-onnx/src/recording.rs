//! What a forward pass computes, as Burn's capture backend records it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::Capture;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData, TensorId};
use burn_ir::OperationIr;

use crate::error::OnnxError;

/// The operations of a forward pass in their order, and the numbers that it started from.
pub(crate) struct Recording {
    pub(crate) operations: Vec<OperationIr>,
    /// Parameters, inputs, and what the pass itself brought.
    pub(crate) values: BTreeMap<TensorId, TensorData>,
    pub(crate) inputs: Vec<TensorId>,
    pub(crate) outputs: Vec<TensorId>,
    /// The names of the parameters.
    pub(crate) names: HashMap<TensorId, String>,
}

/// What a pass gives, one tensor or more.
pub(crate) type Ids = Vec<TensorId>;

/// Records what `forward` does with the module on the capture device: it is given the module and makes inputs there, and returns the ids
/// of both inputs and outputs.
pub(crate) fn record<M: Module>(
    module: &M,
    names: &HashMap<ParamId, String>,
    forward: impl FnOnce(&M, &Device) -> Result<(Ids, Ids), OnnxError>,
) -> Result<Recording, OnnxError> {
    let device = Device::capture();
    let kept = RefCell::new(Err(OnnxError::Recording { reason: "nothing was recorded".into() }));
    let captured = catch_unwind(AssertUnwindSafe(|| {
        device.capture_scope(|scope| {
            // Running statistics are shared by clones, and moving them to a device moves them for all: `valid` makes copies.
            let module = module.valid().to_device(&device);
            let mut named = Named { ids: names, names: HashMap::new() };
            module.visit(&mut named);
            let recorded = forward(&module, &device).map(|(inputs, outputs)| (inputs, outputs, named.names));
            let boundary = recorded.as_ref().map(|(inputs, outputs, _)| (inputs.clone(), distinct(outputs)));
            let (inputs, outputs) = boundary.unwrap_or_default();
            *kept.borrow_mut() = recorded;
            scope.complete(inputs, outputs)
        })
    }));
    let refused = |reason: String| OnnxError::Recording { reason };
    let captured = captured.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        refused(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })?;
    let (inputs, outputs, names) = kept.into_inner()?;
    let captured = captured.map_err(|error| refused(error.to_string()))?;
    Ok(Recording { operations: captured.graph.operations, values: captured.values, inputs, outputs, names })
}

/// The id of a tensor on the capture device.
pub(crate) fn id_of<const D: usize>(tensor: &Tensor<D>) -> Result<TensorId, OnnxError> {
    let primitive = tensor.clone().try_into_primitive::<Capture>();
    let refused =
        |error| OnnxError::Recording { reason: format!("a tensor is not on the recording device: {error:?}") };
    Ok(primitive.map_err(refused)?.id())
}

fn distinct(ids: &[TensorId]) -> Vec<TensorId> {
    let mut distinct = Vec::new();
    for &id in ids {
        if !distinct.contains(&id) {
            distinct.push(id);
        }
    }
    distinct
}

/// Finds the names of a module's parameters on the capture device.
struct Named<'a> {
    ids: &'a HashMap<ParamId, String>,
    names: HashMap<TensorId, String>,
}

impl ModuleVisitor for Named<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let (Ok(id), Some(name)) = (id_of(&param.val()), self.ids.get(&param.id)) {
            self.names.insert(id, name.clone());
        }
    }
}
