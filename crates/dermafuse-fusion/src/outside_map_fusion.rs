//! Modules for feature maps of other crates.

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use dermafuse_registry::{
    CloneBoxed, Erased, ErasedModule, Held, MAX_RANK, OutsideKind, OutsideModule, Registry, RegistryError,
    largest_rank, unsaved_parameter,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{FusionError, MapDependence, MapFusion, MapFusionKind, PositionWeights};

static MAP_FUSIONS: Registry<dyn ErasedMapFusion> =
    Registry::new("module for feature maps", &MapFusionKind::ALL, MapFusionKind::SHORT, "register_map_fusion");

/// A module for feature maps of another crate as data: what is written in files, beside its `kind`. It is a struct with named
/// fields, none of them `kind`; if all have defaults, the name alone says it.
///
/// [`register_map_fusion`] makes it known, [`MapFusionKind::outside`] takes one as a value.
pub trait MapFusionDescription: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The module that it makes.
    type Fusion: MapFusion + Module + ModuleDisplay + Sync + 'static;

    /// The name, of small letters, digits and `_`.
    const KIND: &'static str;

    /// A module with fresh weights for clinical maps of `clinical` channels and dermoscopic ones of `dermoscopic`.
    ///
    /// # Errors
    /// Channels that the module cannot work with.
    fn make(&self, clinical: usize, dermoscopic: usize, device: &Device) -> Result<Self::Fusion, FusionError>;
}

/// Makes the modules of another crate known by their name, so that files can describe them. A program does it when it starts;
/// to do it again changes nothing.
///
/// # Errors
/// A name that is built in, that another type has, or that none can have.
pub fn register_map_fusion<D: MapFusionDescription>() -> Result<(), RegistryError> {
    MAP_FUSIONS.register::<D>(D::KIND, read::<D>)
}

fn read<D: MapFusionDescription>(settings: Map<String, Value>) -> Result<Box<dyn ErasedMapFusion>, serde_json::Error> {
    Ok(Box::new(serde_json::from_value::<D>(Value::Object(settings))?))
}

impl MapFusionKind {
    /// A module for feature maps of another crate, which becomes known by this too.
    ///
    /// # Errors
    /// As [`register_map_fusion`]; a value that no file can describe: of no table, with a field `kind`, or with settings that do
    /// not come back as they are written, such as numbers that are not finite.
    pub fn outside<D: MapFusionDescription>(description: D) -> Result<Self, RegistryError> {
        register_map_fusion::<D>()?;
        let description: Box<dyn ErasedMapFusion> = Box::new(description);
        OutsideKind::read_back(description).map(Self::Outside)
    }

    /// The names that are registered, sorted.
    #[must_use]
    pub fn registered() -> Vec<&'static str> {
        MAP_FUSIONS.registered()
    }
}

/// A [`MapFusionDescription`] whose type is not known.
pub trait ErasedMapFusion: Debug + Send + Sync {
    /// The name.
    fn kind(&self) -> &'static str;
    /// The settings as they are written.
    ///
    /// # Errors
    /// What cannot be written as JSON.
    fn written(&self) -> Result<Value, serde_json::Error>;
    /// A copy.
    fn clone_fusion(&self) -> Box<dyn ErasedMapFusion>;
    /// As [`MapFusionDescription::make`].
    ///
    /// # Errors
    /// As [`MapFusionDescription::make`].
    fn make_boxed(
        &self,
        clinical: usize,
        dermoscopic: usize,
        device: &Device,
    ) -> Result<OutsideModule<dyn ErasedMapFusionModule>, FusionError>;
}

impl<D: MapFusionDescription> ErasedMapFusion for D {
    fn kind(&self) -> &'static str {
        D::KIND
    }

    fn written(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn clone_fusion(&self) -> Box<dyn ErasedMapFusion> {
        Box::new(self.clone())
    }

    fn make_boxed(
        &self,
        clinical: usize,
        dermoscopic: usize,
        device: &Device,
    ) -> Result<OutsideModule<dyn ErasedMapFusionModule>, FusionError> {
        let module = self.make(clinical, dermoscopic, device)?;
        let rank = largest_rank(&module);
        if rank > MAX_RANK {
            return Err(FusionError::Rank { module: D::KIND, rank, limit: MAX_RANK });
        }
        match unsaved_parameter(&module) {
            None => Ok(OutsideModule::new(Box::new(Held::new(module)))),
            Some(parameter) => Err(FusionError::Unsaved { module: D::KIND, parameter }),
        }
    }
}

impl CloneBoxed for dyn ErasedMapFusion {
    fn clone_boxed(&self) -> Box<Self> {
        self.clone_fusion()
    }
}

impl Erased for dyn ErasedMapFusion {
    fn kind(&self) -> &'static str {
        ErasedMapFusion::kind(self)
    }

    fn settings(&self) -> Result<Value, serde_json::Error> {
        self.written()
    }

    fn registry() -> &'static Registry<Self> {
        &MAP_FUSIONS
    }
}

/// A module whose type is not known.
pub trait ErasedMapFusionModule: ErasedModule + MapFusion {
    /// A copy.
    fn clone_module(&self) -> Box<dyn ErasedMapFusionModule>;
}

impl<M: MapFusion + Module + ModuleDisplay + Sync + 'static> ErasedMapFusionModule for Held<M> {
    fn clone_module(&self) -> Box<dyn ErasedMapFusionModule> {
        Box::new(self.clone())
    }
}

impl CloneBoxed for dyn ErasedMapFusionModule {
    fn clone_boxed(&self) -> Box<Self> {
        self.clone_module()
    }
}

impl<M: MapFusion> MapFusion for Held<M> {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        self.get().forward(clinical, dermoscopic)
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        self.get().attention(clinical, dermoscopic)
    }

    fn dependence(&self) -> MapDependence {
        self.get().dependence()
    }

    fn is_asymmetric(&self) -> bool {
        self.get().is_asymmetric()
    }
}

impl MapFusion for OutsideModule<dyn ErasedMapFusionModule> {
    fn forward(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        self.inner().forward(clinical, dermoscopic)
    }

    fn attention(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Option<PositionWeights>; 2] {
        self.inner().attention(clinical, dermoscopic)
    }

    fn dependence(&self) -> MapDependence {
        self.inner().dependence()
    }

    fn is_asymmetric(&self) -> bool {
        self.inner().is_asymmetric()
    }
}
