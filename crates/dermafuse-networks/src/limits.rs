//! How large a network may be. A description that is read from a file can say anything; what is beyond these limits is refused before
//! memory is asked for.

use dermafuse_schema::SettingFault;

use crate::NetworkError;

/// Units, features, classes or encoded columns of one layer.
pub use dermafuse_fusion::MAX_WIDTH;

/// Numbers in all layers of a network together: 2³⁰, which are 4 GiB. The largest published structure here has 0.3 · 10⁹.
pub const MAX_PARAMETERS: usize = 1 << 30;
/// Layers over the record.
pub(crate) const MAX_LAYERS: usize = 64;
/// Tasks of a network.
pub(crate) const MAX_TASKS: usize = 1024;
/// Side of a map that is convolved as a whole.
pub(crate) const MAX_SQUEEZE_SIDE: usize = 64;

/// # Errors
/// A probability of dropping a feature with which nothing would be left.
pub(crate) fn require_dropout(dropout: f64) -> Result<(), SettingFault> {
    SettingFault::unless((0.0..1.0).contains(&dropout), "dropout", "at least 0 and below 1", dropout)
}

/// # Errors
/// More than the limit.
pub(crate) fn require_at_most(what: &'static str, found: usize, limit: usize) -> Result<(), NetworkError> {
    match found > limit {
        true => Err(NetworkError::Limit { what, found, limit }),
        false => Ok(()),
    }
}
