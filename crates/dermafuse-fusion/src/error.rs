use thiserror::Error;

/// The largest width of a layer: a description that is read from a file can say anything, and what is beyond is refused before
/// memory is asked for.
pub const MAX_WIDTH: usize = 1 << 16;

/// What can be wrong with a fusion module's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FusionError {
    /// A vector of length 0.
    #[error("{module} needs features, found a length of 0; for metadata: does any column have a role that is used?")]
    NoFeatures {
        /// The module.
        module: &'static str,
    },
    /// Image features that do not divide into the module's groups.
    #[error("{module} divides image features into groups of {columns}, which {features} features do not give")]
    Groups {
        /// The module.
        module: &'static str,
        /// Length of the image features.
        features: usize,
        /// Features in a group.
        columns: usize,
    },
    /// Too few channels for queries and keys.
    #[error("{module} divides channels by {reduction} for its queries and keys, which leaves none of {channels}")]
    Channels {
        /// The module.
        module: &'static str,
        /// Channels of the map.
        channels: usize,
        /// How many times fewer channels queries and keys have.
        reduction: usize,
    },
    /// A width that does not divide into heads.
    #[error("{module} cannot divide a width of {width} into {heads} heads")]
    Heads {
        /// The module.
        module: &'static str,
        /// Width of the attention.
        width: usize,
        /// Number of heads.
        heads: usize,
    },
    /// A width beyond the limit.
    #[error("{module} has a width of {width}, which is more than the limit of {limit}")]
    Width {
        /// The module.
        module: &'static str,
        /// The width.
        width: usize,
        /// The largest.
        limit: usize,
    },
    /// A parameter with more dimensions than can be held of another crate's module.
    #[error("{module} has a parameter of {rank} dimensions; modules of other crates may have up to {limit}")]
    Rank {
        /// The module.
        module: &'static str,
        /// The dimensions.
        rank: usize,
        /// The most that are possible.
        limit: usize,
    },
    /// A parameter of another crate's module that would not be saved.
    #[error(
        "{module}: its parameter `{parameter}` is no float, and only floats are saved; keep what is in it as a float, or make it \
         from the description"
    )]
    Unsaved {
        /// The module.
        module: &'static str,
        /// Where the parameter is.
        parameter: String,
    },
    /// What another crate says of its module.
    #[error("{module}: {reason}")]
    Outside {
        /// The module.
        module: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Two lengths that the module cannot join.
    #[error("{module} cannot join features of lengths {a} and {b}")]
    Lengths {
        /// The module.
        module: &'static str,
        /// Length of the first vector.
        a: usize,
        /// Length of the second.
        b: usize,
    },
}

impl FusionError {
    pub(crate) fn require_inputs(module: &'static str, length: usize) -> Result<(), Self> {
        match length {
            0 => Err(Self::NoFeatures { module }),
            _ if length > MAX_WIDTH => Err(Self::Width { module, width: length, limit: MAX_WIDTH }),
            _ => Ok(()),
        }
    }

    /// The number of groups.
    pub(crate) fn require_groups(module: &'static str, features: usize, columns: usize) -> Result<usize, Self> {
        match features.checked_div(columns) {
            Some(groups) if groups > 0 && features.is_multiple_of(columns) => Ok(groups),
            _ => Err(Self::Groups { module, features, columns }),
        }
    }
}
