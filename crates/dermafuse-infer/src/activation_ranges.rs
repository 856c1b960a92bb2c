use std::collections::BTreeMap;

use dermafuse_schema::EngineFacts;
use serde::{Deserialize, Serialize};

use crate::InferError;

/// Between which numbers those lie that go through a network, as they were for some cases: what a product in 8-bit integers needs, since
/// 256 steps have to be laid over them. `Bundle::measure_ranges` makes them, with an engine; they are part of the model
/// and are of its network alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationRanges {
    /// The network that they are of: its [`Bundle::network_fingerprint`](crate::Bundle::network_fingerprint).
    pub network: String,
    /// The data set of the cases.
    pub data_set: String,
    /// How many cases there were.
    pub cases: usize,
    /// What ran the network.
    pub engine: EngineFacts,
    /// The products that are computed with 8-bit integers, by name: the layer and its operator, such as `clinical.layer1.0.conv1/Conv`.
    pub products: BTreeMap<String, ProductActivations>,
}

/// The lowest and the highest number before and behind a convolution or a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductActivations {
    /// Of what the weights are multiplied with.
    pub input: [f32; 2],
    /// Of a convolution's map, behind its ReLU if it has one; `None` of matrix products, which give floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<[f32; 2]>,
}

impl ActivationRanges {
    /// Checks that each is a range, that there is one, and that they are of a network with this fingerprint.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn check(&self, fingerprint: &str) -> Result<(), InferError> {
        if self.network != fingerprint {
            let short = |fingerprint: &str| fingerprint.chars().take(16).collect();
            return Err(InferError::RangesOfOther { measured: short(&self.network), own: short(fingerprint) });
        }
        let inconsistent = |what: String, found: String, expected: &str| {
            Err(InferError::Inconsistent { what, found, expected: expected.into() })
        };
        if self.cases == 0 || self.products.is_empty() {
            let found = format!("{} products and {} cases", self.products.len(), self.cases);
            return inconsistent("ranges for 8-bit integers".into(), found, "one of each at least");
        }
        for (name, ProductActivations { input, output }) in &self.products {
            for [low, high] in std::iter::once(input).chain(output) {
                if !(low.is_finite() && high.is_finite() && low <= high) {
                    let found = format!("{low} to {high}");
                    return inconsistent(format!("range of `{name}`"), found, "two numbers in order");
                }
            }
        }
        Ok(())
    }

    /// What they are, in a line.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { data_set, cases, engine, products, .. } = self;
        format!("{} products, ranges of {cases} cases of {data_set}, measured by {engine}", products.len())
    }
}

#[cfg(feature = "onnx")]
impl ActivationRanges {
    /// As graphs take them.
    pub(crate) fn of_graph(&self) -> BTreeMap<String, dermafuse_onnx::ProductRanges> {
        let range = |[low, high]: [f32; 2]| dermafuse_onnx::Range { low, high };
        let of = |(name, own): (&String, &ProductActivations)| {
            let ranges = dermafuse_onnx::ProductRanges { input: range(own.input), output: own.output.map(range) };
            (name.clone(), ranges)
        };
        self.products.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(input: [f32; 2]) -> ActivationRanges {
        ActivationRanges {
            network: "ab".into(),
            data_set: "a set".into(),
            cases: 3,
            engine: EngineFacts { name: "ONNX Runtime".into(), version: "1.32.0".into(), precision: "f32".into() },
            products: BTreeMap::from([("body/Conv".into(), ProductActivations { input, output: Some([0.0, 2.5]) })]),
        }
    }

    #[test]
    fn what_is_no_range_of_the_network_is_refused() {
        ranges([-1.0, 1.0]).check("ab").unwrap();
        let error = |ranges: &ActivationRanges, network: &str| ranges.check(network).unwrap_err().to_string();
        assert!(error(&ranges([-1.0, 1.0]), "cd").contains("were measured of another network (ab, this one is cd)"));
        for wrong in [[1.0, -1.0], [f32::NAN, 1.0], [0.0, f32::INFINITY]] {
            assert!(error(&ranges(wrong), "ab").starts_with("range of `body/Conv`"), "{wrong:?}");
        }
        let empty = ActivationRanges { products: BTreeMap::new(), ..ranges([0.0, 1.0]) };
        assert!(error(&empty, "ab").contains("0 products and 3 cases"));
    }

    #[test]
    fn a_text_keeps_every_bit() {
        let ranges = ranges([-0.1, 1.0 / 3.0]);
        let text = serde_json::to_string(&ranges).unwrap();
        assert_eq!(serde_json::from_str::<ActivationRanges>(&text).unwrap(), ranges);
    }
}
