//! Fusion modules of other crates.

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

use crate::{FeatureFusion, FeatureWeights, FusionError, FusionKind};

static FUSIONS: Registry<dyn ErasedFusion> =
    Registry::new("fusion module", &FusionKind::ALL, FusionKind::SHORT, "register_fusion");

/// A fusion module of another crate as data: what is written in files, beside its `kind`. It is a struct with named
/// fields, none of them `kind`; if all have defaults, the name alone says it.
///
/// [`register_fusion`] makes it known, [`FusionKind::outside`] takes one as a value.
pub trait FusionDescription: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The module that it makes.
    type Fusion: FeatureFusion + Module + ModuleDisplay + Sync + 'static;

    /// The name, of small letters, digits and `_`.
    const KIND: &'static str;

    /// A module with fresh weights for image features of length `image` and metadata of length `metadata`.
    ///
    /// # Errors
    /// Lengths that the module cannot join.
    fn make(&self, image: usize, metadata: usize, device: &Device) -> Result<Self::Fusion, FusionError>;
}

/// Makes the modules of another crate known by their name, so that files can describe them. A program does it when it starts;
/// to do it again changes nothing.
///
/// # Errors
/// A name that is built in, that another type has, or that none can have.
pub fn register_fusion<D: FusionDescription>() -> Result<(), RegistryError> {
    FUSIONS.register::<D>(D::KIND, read::<D>)
}

fn read<D: FusionDescription>(settings: Map<String, Value>) -> Result<Box<dyn ErasedFusion>, serde_json::Error> {
    Ok(Box::new(serde_json::from_value::<D>(Value::Object(settings))?))
}

impl FusionKind {
    /// A fusion module of another crate, which becomes known by this too.
    ///
    /// # Errors
    /// As [`register_fusion`]; a value that no file can describe: of no table, with a field `kind`, or with settings that do
    /// not come back as they are written, such as numbers that are not finite.
    pub fn outside<D: FusionDescription>(description: D) -> Result<Self, RegistryError> {
        register_fusion::<D>()?;
        let description: Box<dyn ErasedFusion> = Box::new(description);
        OutsideKind::read_back(description).map(Self::Outside)
    }

    /// The names that are registered, sorted.
    #[must_use]
    pub fn registered() -> Vec<&'static str> {
        FUSIONS.registered()
    }
}

/// A [`FusionDescription`] whose type is not known.
pub trait ErasedFusion: Debug + Send + Sync {
    /// The name.
    fn kind(&self) -> &'static str;
    /// The settings as they are written.
    ///
    /// # Errors
    /// What cannot be written as JSON.
    fn written(&self) -> Result<Value, serde_json::Error>;
    /// A copy.
    fn clone_fusion(&self) -> Box<dyn ErasedFusion>;
    /// As [`FusionDescription::make`].
    ///
    /// # Errors
    /// As [`FusionDescription::make`].
    fn make_boxed(
        &self,
        image: usize,
        metadata: usize,
        device: &Device,
    ) -> Result<OutsideModule<dyn ErasedFusionModule>, FusionError>;
}

impl<D: FusionDescription> ErasedFusion for D {
    fn kind(&self) -> &'static str {
        D::KIND
    }

    fn written(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn clone_fusion(&self) -> Box<dyn ErasedFusion> {
        Box::new(self.clone())
    }

    fn make_boxed(
        &self,
        image: usize,
        metadata: usize,
        device: &Device,
    ) -> Result<OutsideModule<dyn ErasedFusionModule>, FusionError> {
        let module = self.make(image, metadata, device)?;
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

impl CloneBoxed for dyn ErasedFusion {
    fn clone_boxed(&self) -> Box<Self> {
        self.clone_fusion()
    }
}

impl Erased for dyn ErasedFusion {
    fn kind(&self) -> &'static str {
        ErasedFusion::kind(self)
    }

    fn settings(&self) -> Result<Value, serde_json::Error> {
        self.written()
    }

    fn registry() -> &'static Registry<Self> {
        &FUSIONS
    }
}

/// A module whose type is not known.
pub trait ErasedFusionModule: ErasedModule + FeatureFusion {
    /// A copy.
    fn clone_module(&self) -> Box<dyn ErasedFusionModule>;
}

impl<M: FeatureFusion + Module + ModuleDisplay + Sync + 'static> ErasedFusionModule for Held<M> {
    fn clone_module(&self) -> Box<dyn ErasedFusionModule> {
        Box::new(self.clone())
    }
}

impl CloneBoxed for dyn ErasedFusionModule {
    fn clone_boxed(&self) -> Box<Self> {
        self.clone_module()
    }
}

impl<M: FeatureFusion> FeatureFusion for Held<M> {
    fn forward(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        self.get().forward(a, b)
    }

    fn attention(&self, a: Tensor<2>, b: Tensor<2>) -> Option<FeatureWeights> {
        self.get().attention(a, b)
    }

    fn output_features(&self, a: usize, b: usize) -> Option<usize> {
        self.get().output_features(a, b)
    }
}

impl FeatureFusion for OutsideModule<dyn ErasedFusionModule> {
    fn forward(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        self.inner().forward(a, b)
    }

    fn attention(&self, a: Tensor<2>, b: Tensor<2>) -> Option<FeatureWeights> {
        self.inner().attention(a, b)
    }

    fn output_features(&self, a: usize, b: usize) -> Option<usize> {
        self.inner().output_features(a, b)
    }
}
