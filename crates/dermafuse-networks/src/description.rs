//! What a kind of network is known by: its description as data, and the network that it makes.

use std::fmt::Debug;
use std::path::Path;

use burn::tensor::Device;
use dermafuse_backbones::{AnyBackbone, BackboneKind, ClassifierWeights, LoadOptions};
use dermafuse_schema::SettingFault;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{MetadataNetworkConfig, Modality, Network, NetworkError};

/// A network as data, and what is known of it before it is made.
///
/// Without answers of its own a description is of a network without backbones of this library, without metadata and without
/// losses of its own.
pub trait NetworkDescription: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it makes.
    type Network: DescribedNetwork;

    /// A network with fresh weights.
    ///
    /// # Errors
    /// A description that makes no network.
    fn make(&self, device: &Device) -> Result<Self::Network, NetworkError>;

    /// Classes of each task.
    fn classes(&self) -> &[usize];

    /// The same, to be changed.
    fn classes_mut(&mut self) -> &mut Vec<usize>;

    /// Small networks of this kind, one for each structure, that look at images of 64 pixels: what the tests of all networks try.
    #[must_use]
    fn examples(_classes: &[usize], _metadata: usize) -> Vec<Self> {
        Vec::new()
    }

    /// The architectures of the backbones, clinical first; one that looks at both images once.
    fn backbones(&self) -> Vec<BackboneKind> {
        Vec::new()
    }

    /// Parameters of the backbones as the paper counts them: with their classifiers of ImageNet's 1,000 classes, although nothing
    /// uses these, or with what else the authors' code leaves in them.
    fn published_backbone_parameters(&self) -> usize {
        self.backbones().into_iter().map(BackboneKind::num_params).sum()
    }

    /// The only image that one of the backbones looks at; `None` if it looks at both.
    fn view_of(&self, backbone: usize) -> Option<Modality> {
        let views = [Modality::Clinical, Modality::Dermoscopic];
        views.get(backbone).copied().filter(|_| self.backbones().len() == 2)
    }

    /// Length `M` of the encoded metadata; 0 for networks that look at images alone.
    fn metadata_inputs(&self) -> usize {
        0
    }

    /// Makes it a network for encoded metadata of another length; those that look at images alone stay as they are.
    fn set_metadata_inputs(&mut self, _inputs: usize) {}

    /// The network of layers over the record, of networks that have one.
    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        None
    }

    /// The names of the losses that the network adds by itself in training.
    fn auxiliary(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Checks the settings, as far as that needs neither classes nor a record: what is told by reading a file.
    ///
    /// # Errors
    /// The first setting that has a value that it cannot have.
    fn check_settings(&self) -> Result<(), SettingFault> {
        Ok(())
    }

    /// Whether the network can look at images of a side, in pixels, that its backbones can look at.
    ///
    /// # Errors
    /// What does not fit, and sides nearby that do.
    fn check_images(&self, _side: usize) -> Result<(), NetworkError> {
        Ok(())
    }

    /// The same network without what only training needs, as [`Network::into_inference`] leaves it.
    #[must_use]
    fn inference(self) -> Self {
        self
    }
}

/// A network that a description makes: it shows its backbones, so that they can start from published weights and have published
/// names in files.
pub trait DescribedNetwork: Network + Sync + 'static {
    /// The backbones, clinical first; one that looks at both images once.
    fn backbones(&self) -> Vec<&AnyBackbone> {
        Vec::new()
    }

    /// Loads published ImageNet weights into the backbone that looks at one of the images (and maybe at the other too), as
    /// [`with_published_weights`] does.
    ///
    /// # Errors
    /// No such backbone, and as [`with_published_weights`].
    fn load_backbone_weights_of(self, view: Modality, _file: &Path) -> Result<Self, NetworkError> {
        Err(NetworkError::NoBackbone { view: view.name() })
    }
}

/// A backbone with published ImageNet weights (torchvision keys, `.safetensors` or `.pth`); their classifier is dropped.
///
/// # Errors
/// As [`dermafuse_backbones::load_weights`].
pub fn with_published_weights(backbone: AnyBackbone, file: &Path) -> Result<AnyBackbone, NetworkError> {
    Ok(backbone.load_weights(file, LoadOptions { classifier: ClassifierWeights::Drop })?)
}
