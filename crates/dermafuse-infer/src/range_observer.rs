//! Which numbers go through a network when it is asked about cases.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dermafuse_data::CaseView;
use dermafuse_networks::MultimodalInput;
use dermafuse_onnx::WatchedProduct;
use dermafuse_schema::EngineFacts;

use crate::exported_network::{ExportedNetwork, watched_file_of};
use crate::{
    ActivationRanges, Bundle, Engine, EngineError, InferError, NetworkEngine, NetworkValues, Precision,
    ProductActivations,
};

/// A network in a library that also says between which numbers those of its products lie, for all that it was asked so far.
#[derive(Debug)]
struct RangeObserver {
    network: ExportedNetwork,
    products: Vec<WatchedProduct>,
    /// The lowest and the highest number of each output of `products`, in their order.
    seen: Mutex<Vec<[f32; 2]>>,
}

impl RangeObserver {
    fn new(network: ExportedNetwork, products: Vec<WatchedProduct>) -> Self {
        let outputs = products.iter().map(|product| 1 + usize::from(product.output.is_some())).sum();
        Self { network, products, seen: Mutex::new(vec![[f32::INFINITY, f32::NEG_INFINITY]; outputs]) }
    }

    /// The outputs that say where numbers lie.
    fn outputs(&self) -> impl Iterator<Item = &str> {
        self.products
            .iter()
            .flat_map(|product| std::iter::once(product.input.as_str()).chain(product.output.as_deref()))
    }

    /// The ranges of each product.
    fn ranges(&self) -> BTreeMap<String, ProductActivations> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = seen.iter().copied();
        let mut next = || seen.next().expect("a range for each output");
        let of = |product: &WatchedProduct| {
            let input = next();
            (product.name.clone(), ProductActivations { input, output: product.output.as_ref().map(|_| next()) })
        };
        self.products.iter().map(of).collect()
    }
}

impl NetworkEngine for RangeObserver {
    fn facts(&self) -> &EngineFacts {
        self.network.facts()
    }

    fn batch_size(&self) -> Option<usize> {
        self.network.batch_size()
    }

    fn run(&self, input: MultimodalInput, with_embedding: bool) -> Result<NetworkValues, EngineError> {
        let outputs: Vec<&str> = self.outputs().collect();
        let (values, extremes) = self.network.ask(input, with_embedding, &outputs)?;
        let refused = |reason: String| EngineError::Run { engine: self.facts().to_string(), reason };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for ((name, found), seen) in outputs.iter().zip(&extremes).zip(seen.iter_mut()) {
            let found: Vec<f32> = found.iter().copied().collect();
            let &[low, high] = found.as_slice() else {
                return Err(refused(format!("`{name}` has {} numbers instead of 2", found.len())));
            };
            if !(low.is_finite() && high.is_finite()) {
                return Err(refused(format!("`{name}` is from {low} to {high}; are the weights damaged?")));
            }
            *seen = [seen[0].min(low), seen[1].max(high)];
        }
        Ok(values)
    }
}

impl Bundle {
    /// Measures between which numbers those lie that go through the network, over all views of these cases: the lowest and the highest that
    /// there was. Put into the model's [description](crate::BundleDescription::activation_ranges) they let engines compute in 8-bit
    /// integers ([`Precision::Int8`]). Validation cases are the right ones: what training cases give is what the network fits best, and
    /// test cases would no longer test the model.
    ///
    /// The engine runs the network in 32-bit floats.
    ///
    /// # Errors
    /// A case that tested the model; no case; as [`Bundle::with_engine`] and [`Bundle::logits`]; a network without a product that 8-bit
    /// integers are for.
    pub fn measure_ranges(
        &self,
        engine: &Engine,
        cases: &CaseView<'_>,
        progress: impl FnMut(usize),
    ) -> Result<ActivationRanges, InferError> {
        engine.load()?;
        if let Some(settings) = engine.settings().filter(|settings| settings.precision != Precision::F32) {
            return Err(InferError::Engine(EngineError::Setting {
                engine: engine.name().into(),
                setting: "precision".into(),
                found: settings.precision.name().into(),
                expected: "f32, with which ranges are measured".into(),
            }));
        }
        if cases.is_empty() {
            return Err(InferError::NoCases);
        }
        let known = &self.description.known_cases;
        if let Some(case) = cases.cases().find(|case| known.tested(&case.id) && !known.selected(&case.id)) {
            return Err(InferError::RangesOfTest { case: case.id.to_string() });
        }
        let set = self.in_model_tasks(cases.set())?;
        let (file, products) = watched_file_of(self)?;
        if products.is_empty() {
            return Err(InferError::NothingToQuantise);
        }
        let session = engine.open(&file)?;
        let batch_size = engine.settings().and_then(|settings| settings.batch_size).map(usize::from);
        let network = ExportedNetwork::new(session, &self.network, &self.description.tasks, batch_size)?;
        let observer = Arc::new(RangeObserver::new(network, products));
        let predictor = self.predictor().with_engine(observer.clone());
        predictor.logits(&set.view(cases.rows())?, &self.description.encoder, progress)?;
        Ok(ActivationRanges {
            network: self.network_fingerprint(),
            data_set: cases.set().name.clone(),
            cases: cases.len(),
            engine: observer.facts().clone(),
            products: observer.ranges(),
        })
    }
}
