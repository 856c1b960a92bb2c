use dermafuse_backbones::{BackboneError, ParameterTooLarge};
use dermafuse_fusion::FusionError;
use dermafuse_schema::SettingFault;
use thiserror::Error;

use crate::NetworkKind;
use crate::limits::{MAX_LAYERS, MAX_TASKS, MAX_WIDTH, require_at_most};

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
    /// A setting with a value that it cannot have.
    #[error(transparent)]
    Setting(#[from] SettingFault),
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
    /// A fusion module without a record that it could join.
    #[error("{module} joins images and record, and the network looks at no record; add it, or choose concat")]
    NoRecord {
        /// The module.
        module: &'static str,
    },
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
    /// A second encoder that has nothing to look at, or stands beside an ONNX file.
    #[error(
        "another encoder of dermoscopic images needs both kinds of images and a backbone for the clinical ones; leave it out, or add \
         the other image"
    )]
    SecondEncoder,
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
    /// Weights that are not one for each subset of the modalities.
    #[error(
        "{subsets} subsets have the loss weights {weights:?}; give each one that is not negative, and one that is positive"
    )]
    SubsetWeights {
        /// Number of subsets.
        subsets: usize,
        /// The weights.
        weights: Vec<f64>,
    },
    /// Networks that cannot answer together.
    #[error("these networks make no ensemble: {reason}")]
    Members {
        /// Why.
        reason: &'static str,
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
    /// Two backbones whose maps never have the same size where they are joined.
    #[error(
        "{module} joins maps of the same size, but images of {side} pixels give {clinical} maps of {:?} pixels and {dermoscopic} \
         maps of {:?}, and no other size of images makes them equal: {advice}",
        sizes[0],
        sizes[1]
    )]
    MapSizes {
        /// What joins them.
        module: &'static str,
        /// The backbone of the clinical photo.
        clinical: String,
        /// The backbone of the dermoscopic image.
        dermoscopic: String,
        /// Side of the images in the example.
        side: usize,
        /// Sides of the four stages' maps, the clinical backbone's first.
        sizes: Box<[[usize; 4]; 2]>,
        /// Backbones that fit.
        advice: String,
    },
    /// Images of a size at which the maps of two backbones differ where they are joined.
    #[error(
        "images of {side} pixels give {clinical} maps of {:?} pixels and {dermoscopic} maps of {:?}, which cannot be joined; with \
         images of {others:?} pixels they are equal",
        sizes[0],
        sizes[1]
    )]
    MapSizesAt {
        /// The backbone of the clinical photo.
        clinical: &'static str,
        /// The backbone of the dermoscopic image.
        dermoscopic: &'static str,
        /// Side of the images.
        side: usize,
        /// Sides of the four stages' maps, the clinical backbone's first.
        sizes: Box<[[usize; 4]; 2]>,
        /// Sides of images nearby that fit.
        others: Vec<usize>,
    },
    /// Images that are too small for a backbone.
    #[error("{backbone} needs images of at least {smallest} pixels, found {side}; choose a larger size")]
    SmallImages {
        /// The backbone.
        backbone: &'static str,
        /// The smallest side.
        smallest: usize,
        /// Side of the images.
        side: usize,
    },
    /// A side of a map that a convolution over it cannot have.
    #[error(
        "the squeeze convolves maps of 1 to {limit} pixels, found a side of {side}; for images of {image} pixels it is {expected}"
    )]
    SqueezeSide {
        /// The side.
        side: usize,
        /// The largest.
        limit: usize,
        /// Side of the images.
        image: usize,
        /// The side that fits these images.
        expected: usize,
    },
    /// A number that is not finite, or out of its range.
    #[error("{name} must be in {range}, found {value}")]
    Range {
        /// The name of the number.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// The value.
        value: f64,
    },
    /// More of something than any network here has.
    #[error("{found} {what} are more than the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A parameter that is too large for the device.
    #[error(transparent)]
    ParameterTooLarge(#[from] ParameterTooLarge),
    /// A name that no network has.
    #[error(
        "there is no network `{name}`; the networks are {}",
        NetworkKind::ALL.map(NetworkKind::name).join(", ")
    )]
    UnknownKind {
        /// The name.
        name: String,
    },
    /// A parameter of another crate's network that would not be saved.
    #[error(
        "{network}: its parameter `{parameter}` is no float, and only floats are saved; keep what is in it as a float, or make it \
         from the description"
    )]
    Unsaved {
        /// The network.
        network: &'static str,
        /// Where the parameter is.
        parameter: String,
    },
    /// More backbones than weights are given to.
    #[error(
        "published weights are loaded into one or two backbones, and the network has {found}; leave them out, and let the network \
         load its own when it is made"
    )]
    Backbones {
        /// How many there are.
        found: usize,
    },
    /// What another crate says of its network.
    #[error("{network}: {reason}")]
    Outside {
        /// The network.
        network: &'static str,
        /// What is wrong.
        reason: String,
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
        require_at_most("tasks", classes.len(), MAX_TASKS)?;
        for &classes in classes {
            require_at_most("classes of a task", classes, MAX_WIDTH)?;
        }
        match classes.is_empty() || classes.iter().any(|&classes| classes < 2) {
            true => Err(Self::Classes { classes: classes.to_vec() }),
            false => Ok(()),
        }
    }

    pub(crate) fn require_units(layers: &[usize]) -> Result<(), Self> {
        require_at_most("layers", layers.len(), MAX_LAYERS)?;
        for &units in layers {
            require_at_most("units or features", units, MAX_WIDTH)?;
        }
        match layers.is_empty() || layers.contains(&0) {
            true => Err(Self::Layers { layers: layers.to_vec() }),
            false => Ok(()),
        }
    }
}
