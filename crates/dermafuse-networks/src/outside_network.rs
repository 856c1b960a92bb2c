//! Networks of other crates.

use std::fmt::Debug;
use std::path::Path;

use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, BackboneKind, ParameterGroup};
use dermafuse_registry::{
    CloneBoxed, Erased, ErasedModule, Held, MAX_RANK, OutsideKind, OutsideModule, Registry, RegistryError,
    largest_rank, unsaved_parameter,
};
use dermafuse_schema::SettingFault;
use serde_json::{Map, Value};

use crate::limits::require_at_most;
use crate::{
    BackboneFreeze, BranchInfo, DescribedNetwork, MetadataNetworkConfig, Modality, MultimodalInput, Network,
    NetworkConfig, NetworkDescription, NetworkError, NetworkKind, NetworkOutput, Probe,
};

static NETWORKS: Registry<dyn ErasedDescription> =
    Registry::new("network", &NetworkKind::NAMES, &[], "register_network");

/// A network of another crate as data: what is written in files, beside its `kind`. It is a struct with named fields, none
/// of them `kind`.
///
/// [`register_network`] makes it known, [`NetworkConfig::outside`] takes one as a value.
pub trait OutsideNetwork: NetworkDescription {
    /// The name, of small letters, digits and `_`.
    const KIND: &'static str;
}

/// Makes the networks of another crate known by their name, so that files can describe them: experiments and the models that were
/// trained. A program does it when it starts; to do it again changes nothing.
///
/// # Errors
/// A name that is built in, that another type has, or that none can have.
pub fn register_network<D: OutsideNetwork>() -> Result<(), RegistryError> {
    NETWORKS.register::<D>(D::KIND, read::<D>)
}

fn read<D: OutsideNetwork>(settings: Map<String, Value>) -> Result<Box<dyn ErasedDescription>, serde_json::Error> {
    Ok(Box::new(serde_json::from_value::<D>(Value::Object(settings))?))
}

impl NetworkConfig {
    /// A network of another crate, which becomes known by this too.
    ///
    /// # Errors
    /// As [`register_network`]; a value that no file can describe: of no table, with a field `kind`, or with settings that do not
    /// come back as they are written, such as numbers that are not finite.
    pub fn outside<D: OutsideNetwork>(description: D) -> Result<Self, RegistryError> {
        register_network::<D>()?;
        let description: Box<dyn ErasedDescription> = Box::new(description);
        OutsideKind::read_back(description).map(Self::Outside)
    }

    /// The names of the networks that are registered, sorted.
    #[must_use]
    pub fn registered() -> Vec<&'static str> {
        NETWORKS.registered()
    }
}

/// An [`OutsideNetwork`] whose type is not known.
pub trait ErasedDescription: Debug + Send + Sync {
    /// The name.
    fn kind(&self) -> &'static str;
    /// The settings as they are written.
    ///
    /// # Errors
    /// What cannot be written as JSON.
    fn written(&self) -> Result<Value, serde_json::Error>;
    /// A copy.
    fn clone_description(&self) -> Box<dyn ErasedDescription>;
    /// As [`NetworkDescription::make`].
    ///
    /// # Errors
    /// As [`NetworkDescription::make`].
    fn make_boxed(&self, device: &Device) -> Result<OutsideModule<dyn ErasedNetwork>, NetworkError>;
    /// As [`NetworkDescription::classes`].
    fn classes(&self) -> &[usize];
    /// As [`NetworkDescription::classes_mut`].
    fn classes_mut(&mut self) -> &mut Vec<usize>;
    /// As [`NetworkDescription::backbones`].
    fn backbones(&self) -> Vec<BackboneKind>;
    /// As [`NetworkDescription::published_backbone_parameters`].
    fn published_backbone_parameters(&self) -> usize;
    /// As [`NetworkDescription::view_of`].
    fn view_of(&self, backbone: usize) -> Option<Modality>;
    /// As [`NetworkDescription::metadata_inputs`].
    fn metadata_inputs(&self) -> usize;
    /// As [`NetworkDescription::set_metadata_inputs`].
    fn set_metadata_inputs(&mut self, inputs: usize);
    /// As [`NetworkDescription::metadata_mut`].
    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig>;
    /// As [`NetworkDescription::auxiliary`].
    fn auxiliary(&self) -> Vec<&'static str>;
    /// As [`NetworkDescription::check_settings`].
    ///
    /// # Errors
    /// As [`NetworkDescription::check_settings`].
    fn check_settings(&self) -> Result<(), SettingFault>;
    /// As [`NetworkDescription::check_images`].
    ///
    /// # Errors
    /// As [`NetworkDescription::check_images`].
    fn check_images(&self, side: usize) -> Result<(), NetworkError>;
    /// As [`NetworkDescription::inference`].
    fn leave_inference(&mut self);
}

impl<D: OutsideNetwork> ErasedDescription for D {
    fn kind(&self) -> &'static str {
        D::KIND
    }

    fn written(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn clone_description(&self) -> Box<dyn ErasedDescription> {
        Box::new(self.clone())
    }

    fn make_boxed(&self, device: &Device) -> Result<OutsideModule<dyn ErasedNetwork>, NetworkError> {
        let network = self.make(device)?;
        require_at_most("dimensions of a parameter", largest_rank(&network), MAX_RANK)?;
        if let Some(parameter) = unsaved_parameter(&network) {
            return Err(NetworkError::Unsaved { network: D::KIND, parameter });
        }
        Ok(OutsideModule::new(Box::new(Held::new(network))))
    }

    fn classes(&self) -> &[usize] {
        NetworkDescription::classes(self)
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        NetworkDescription::classes_mut(self)
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        NetworkDescription::backbones(self)
    }

    fn published_backbone_parameters(&self) -> usize {
        NetworkDescription::published_backbone_parameters(self)
    }

    fn view_of(&self, backbone: usize) -> Option<Modality> {
        NetworkDescription::view_of(self, backbone)
    }

    fn metadata_inputs(&self) -> usize {
        NetworkDescription::metadata_inputs(self)
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        NetworkDescription::set_metadata_inputs(self, inputs);
    }

    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        NetworkDescription::metadata_mut(self)
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        NetworkDescription::auxiliary(self)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        NetworkDescription::check_settings(self)
    }

    fn check_images(&self, side: usize) -> Result<(), NetworkError> {
        NetworkDescription::check_images(self, side)
    }

    fn leave_inference(&mut self) {
        *self = self.clone().inference();
    }
}

impl CloneBoxed for dyn ErasedDescription {
    fn clone_boxed(&self) -> Box<Self> {
        self.clone_description()
    }
}

impl Erased for dyn ErasedDescription {
    fn kind(&self) -> &'static str {
        ErasedDescription::kind(self)
    }

    fn settings(&self) -> Result<Value, serde_json::Error> {
        self.written()
    }

    fn registry() -> &'static Registry<Self> {
        &NETWORKS
    }
}

impl NetworkDescription for OutsideKind<dyn ErasedDescription> {
    type Network = OutsideModule<dyn ErasedNetwork>;

    fn make(&self, device: &Device) -> Result<Self::Network, NetworkError> {
        self.inner().make_boxed(device)
    }

    fn classes(&self) -> &[usize] {
        self.inner().classes()
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        self.inner_mut().classes_mut()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        self.inner().backbones()
    }

    fn published_backbone_parameters(&self) -> usize {
        self.inner().published_backbone_parameters()
    }

    fn view_of(&self, backbone: usize) -> Option<Modality> {
        self.inner().view_of(backbone)
    }

    fn metadata_inputs(&self) -> usize {
        self.inner().metadata_inputs()
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.inner_mut().set_metadata_inputs(inputs);
    }

    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        self.inner_mut().metadata_mut()
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        self.inner().auxiliary()
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        self.inner().check_settings()
    }

    fn check_images(&self, side: usize) -> Result<(), NetworkError> {
        self.inner().check_images(side)
    }

    fn inference(mut self) -> Self {
        self.inner_mut().leave_inference();
        self
    }
}

/// A [`DescribedNetwork`] whose type is not known. What a network gives back changed, this one is.
pub trait ErasedNetwork: ErasedModule {
    /// A copy.
    fn clone_network(&self) -> Box<dyn ErasedNetwork>;
    /// As [`Network::branches`].
    fn branches(&self) -> Vec<BranchInfo>;
    /// As [`Network::answers_by_subset`].
    fn answers_by_subset(&self) -> bool;
    /// As [`Network::backbone_groups`].
    fn backbone_groups(&self) -> Vec<ParameterGroup>;
    /// As [`Network::freeze_backbones`].
    fn freeze_backbones(&mut self, freeze: BackboneFreeze);
    /// As [`Network::forward_probed`].
    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput;
    /// As [`Network::auxiliary`].
    fn auxiliary(&self) -> Vec<&'static str>;
    /// As [`Network::at_progress`].
    fn set_progress(&mut self, progress: f64);
    /// As [`Network::changes_with_progress`].
    fn changes_with_progress(&self) -> bool;
    /// As [`Network::into_inference`].
    fn leave_inference(&mut self);
    /// As [`DescribedNetwork::backbones`].
    fn backbones(&self) -> Vec<&AnyBackbone>;
    /// As [`DescribedNetwork::load_backbone_weights_of`].
    ///
    /// # Errors
    /// As [`DescribedNetwork::load_backbone_weights_of`]; the network must not be used again.
    fn load_backbone_weights_of(&mut self, view: Modality, file: &Path) -> Result<(), NetworkError>;
}

impl<N: DescribedNetwork> ErasedNetwork for Held<N> {
    fn clone_network(&self) -> Box<dyn ErasedNetwork> {
        Box::new(self.clone())
    }

    fn branches(&self) -> Vec<BranchInfo> {
        self.get().branches()
    }

    fn answers_by_subset(&self) -> bool {
        self.get().answers_by_subset()
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.get().backbone_groups()
    }

    fn freeze_backbones(&mut self, freeze: BackboneFreeze) {
        self.change(|network| network.freeze_backbones(freeze));
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        self.get().forward_probed(input, probe)
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        self.get().auxiliary()
    }

    fn set_progress(&mut self, progress: f64) {
        self.change(|network| network.at_progress(progress));
    }

    fn changes_with_progress(&self) -> bool {
        self.get().changes_with_progress()
    }

    fn leave_inference(&mut self) {
        self.change(Network::into_inference);
    }

    fn backbones(&self) -> Vec<&AnyBackbone> {
        self.get().backbones()
    }

    fn load_backbone_weights_of(&mut self, view: Modality, file: &Path) -> Result<(), NetworkError> {
        self.try_change(|network| network.load_backbone_weights_of(view, file))
    }
}

impl CloneBoxed for dyn ErasedNetwork {
    fn clone_boxed(&self) -> Box<Self> {
        self.clone_network()
    }
}

impl Network for OutsideModule<dyn ErasedNetwork> {
    fn branches(&self) -> Vec<BranchInfo> {
        self.inner().branches()
    }

    fn answers_by_subset(&self) -> bool {
        self.inner().answers_by_subset()
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.inner().backbone_groups()
    }

    fn freeze_backbones(mut self, freeze: BackboneFreeze) -> Self {
        self.inner_mut().freeze_backbones(freeze);
        self
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        self.inner().forward_probed(input, probe)
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        self.inner().auxiliary()
    }

    fn at_progress(mut self, progress: f64) -> Self {
        self.inner_mut().set_progress(progress);
        self
    }

    fn changes_with_progress(&self) -> bool {
        self.inner().changes_with_progress()
    }

    fn into_inference(mut self) -> Self {
        self.inner_mut().leave_inference();
        self
    }
}

impl DescribedNetwork for OutsideModule<dyn ErasedNetwork> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        self.inner().backbones()
    }

    fn load_backbone_weights_of(mut self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        self.inner_mut().load_backbone_weights_of(view, file)?;
        Ok(self)
    }
}
