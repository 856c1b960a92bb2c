//! Which way attention between positions carries values.

use serde::{Deserialize, Serialize};

/// What [`position_attention`](crate::position_attention) does with its weights, of which each row, one for each query, sums to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueFlow {
    /// A query's position collects the values of all keys' positions by its row: a weighted mean.
    #[default]
    Gather,
    /// A query's position spreads its own value over all keys' positions by its row; what arrives adds up to no mean.
    Scatter,
}
