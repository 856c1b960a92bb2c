use dermafuse_backbones::BackboneError;
use dermafuse_fusion::FusionError;
use thiserror::Error;

/// What can be wrong with a network's configuration or its weights.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A network without a task, or a task with fewer than two classes.
    #[error("a network needs at least one task, each with two or more classes; found class counts {classes:?}")]
    Classes {
        /// Classes of each task.
        classes: Vec<usize>,
    },
    /// A dropout probability outside 0..1.
    #[error("dropout must be at least 0 and below 1, found {dropout}")]
    Dropout {
        /// The value.
        dropout: f64,
    },
    /// The features of two backbones that the fusion cannot join.
    #[error(
        "the {clinical} clinical and {dermoscopic} dermoscopic features cannot be summed; choose one backbone for both"
    )]
    Features {
        /// Length of the clinical features.
        clinical: usize,
        /// Length of the dermoscopic features.
        dermoscopic: usize,
    },
    /// A network over metadata without a metadata column.
    #[error(
        "the network looks at metadata, but no column is among its inputs; choose the roles that are used, or a structure without \
         metadata"
    )]
    NoMetadata,
    /// A network with a layer without units.
    #[error("a network needs layers with units, found {layers:?}")]
    Layers {
        /// Units of each layer.
        layers: Vec<usize>,
    },
    /// No image to look at, or one twice.
    #[error("a network looks at each image once and at least at one of them, found {views:?}")]
    Views {
        /// The images.
        views: Vec<&'static str>,
    },
    /// An adversary that has nothing to tell apart.
    #[error("a discriminator of modalities needs both images, found {views:?}; leave it out or add the other image")]
    Adversary {
        /// The images.
        views: Vec<&'static str>,
    },
    /// Backbones that do not fit the images.
    #[error(
        "{views} images need one backbone for all or one for each, with features of the same length; found the lengths \
         {features:?}"
    )]
    Towers {
        /// Number of images.
        views: usize,
        /// Length of each backbone's features.
        features: Vec<usize>,
    },
    /// A weight of the image's loss outside 0..=1.
    #[error("beta, the weight of the image's loss, must be in 0..=1, found {beta}")]
    Beta {
        /// The value.
        beta: f64,
    },
    /// Weights of the branches' losses that make no loss.
    #[error("the weights of the branches' losses must not be negative, and one must be positive; found {weights:?}")]
    BranchWeights {
        /// The clinical, the dermoscopic and the fusion branch's weight.
        weights: [f64; 3],
    },
    /// Attention between stages that is after none of them.
    #[error("{module} is after no stage of the backbones; choose stages, or no attention")]
    NoStage {
        /// The module.
        module: &'static str,
    },
    /// Weights for a backbone that the network has not.
    #[error("no backbone of this network looks at the {view} image")]
    NoBackbone {
        /// The image.
        view: &'static str,
    },
    /// No subset of the modalities, or one twice.
    #[error("a network needs at least one subset of the modalities, none of them twice; found {subsets:?}")]
    Subsets {
        /// The subsets' names.
        subsets: Vec<&'static str>,
    },
    /// A backbone whose maps do not fit the network.
    #[error("the network needs a backbone with {expected:?} channels in its stages, found {found:?}")]
    Channels {
        /// Channels that fit.
        expected: [usize; 4],
        /// The backbone's.
        found: [usize; 4],
    },
    /// A fusion module that does not fit.
    #[error(transparent)]
    Fusion(#[from] FusionError),
    /// Pretrained weights could not be loaded.
    #[error("cannot load backbone weights")]
    Backbone(#[from] BackboneError),
}

impl NetworkError {
    pub(crate) fn require_classes(classes: &[usize]) -> Result<(), Self> {
        match classes.is_empty() || classes.iter().any(|&classes| classes < 2) {
            true => Err(Self::Classes { classes: classes.to_vec() }),
            false => Ok(()),
        }
    }

    pub(crate) fn require_units(layers: &[usize]) -> Result<(), Self> {
        match layers.is_empty() || layers.contains(&0) {
            true => Err(Self::Layers { layers: layers.to_vec() }),
            false => Ok(()),
        }
    }
}
