use std::fmt;

use serde::{Deserialize, Serialize};

/// What ran a model's network: the same model gives slightly other numbers in another engine, and more than slightly other ones in
/// another precision.
///
/// ```
/// use dermafuse_schema::EngineFacts;
///
/// let facts = EngineFacts { name: "OpenVINO".into(), version: "2026.4.1".into(), precision: "bf16".into() };
/// assert_eq!(facts.to_string(), "OpenVINO 2026.4.1 in bf16");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Its name, such as `Burn` or `ONNX Runtime`.
    pub name: String,
    /// Its version, as it says itself.
    pub version: String,
    /// The numbers that it computes with: `f32`, or `bf16` with its sums in `f32`.
    pub precision: String,
}

impl fmt::Display for EngineFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} in {}", self.name, self.version, self.precision)
    }
}
