//! The seam under the second stage: what runs a network on a batch.

use std::fmt::Debug;

use burn::tensor::Tensor;
use dermafuse_kernels::on_pool;
use dermafuse_networks::{MultimodalInput, Network};
use dermafuse_schema::EngineFacts;
use ndarray::Array2;

use crate::EngineError;

/// The version of Burn that runs networks where no other engine does; the workspace pins it.
const BURN_VERSION: &str = "0.22.1";

/// Runs the network of a model on batches: everything that a [`Predictor`](crate::Predictor) and a [`Bundle`](crate::Bundle) predict
/// goes through one. Heat maps, attention and whatever else needs gradients stay with Burn, beside any engine.
///
/// An engine belongs to one network, whose weights it holds. It is asked from several threads at a time.
pub trait NetworkEngine: Debug + Send + Sync {
    /// What it is, in which version, and which numbers it computes with.
    fn facts(&self) -> &EngineFacts;

    /// Cases in one forward pass, where it has a say in it.
    fn batch_size(&self) -> Option<usize> {
        None
    }

    /// Does what must be done before it can run, so that what is missing is found before anybody is asked about.
    ///
    /// # Errors
    /// A library that is absent, or cannot run the network.
    fn ready(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// What the network says of a batch. The embedding is given if it is asked for.
    ///
    /// # Shapes
    /// As [`Network::forward`] takes and gives them.
    ///
    /// # Errors
    /// A library that fails, or that gives other shapes than the network has.
    fn run(&self, input: MultimodalInput, with_embedding: bool) -> Result<NetworkValues, EngineError>;
}

/// What a network says of a batch, as numbers of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkValues {
    /// `[B, K_t]` logits of each task, for each branch in the order of [`Network::branches`].
    pub logits: Vec<Vec<Array2<f32>>>,
    /// `[B, D]` what the last classifier sees, if it was asked for.
    pub embedding: Option<Array2<f32>>,
}

impl NetworkValues {
    /// Checks that they are of as many cases, branches and classes as were asked about.
    ///
    /// # Errors
    /// The first shape that is another.
    pub(crate) fn check(
        &self,
        facts: &EngineFacts,
        cases: usize,
        branches: usize,
        classes: &[usize],
    ) -> Result<(), EngineError> {
        let refused = |what: String, found: String, expected: String| {
            Err(EngineError::Shape { engine: facts.to_string(), what, found, expected })
        };
        if self.logits.len() != branches {
            return refused("the network".into(), format!("{} branches", self.logits.len()), format!("{branches}"));
        }
        for (branch, tasks) in self.logits.iter().enumerate() {
            let found: Vec<[usize; 2]> = tasks.iter().map(|table| table.dim().into()).collect();
            let expected: Vec<[usize; 2]> = classes.iter().map(|&classes| [cases, classes]).collect();
            if found != expected {
                return refused(
                    format!("branch {branch}"),
                    format!("logits of {found:?}"),
                    format!("{expected:?}, a table for each task"),
                );
            }
        }
        match &self.embedding {
            Some(embedding) if embedding.nrows() != cases => {
                refused("the embedding".into(), format!("{} rows", embedding.nrows()), format!("{cases}"))
            }
            _ => Ok(()),
        }
    }
}

/// The network itself, on the device where its weights are: what runs it where no engine was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BurnEngine<'n, N>(pub(crate) &'n N);

impl<N: Network> BurnEngine<'_, N> {
    /// As [`NetworkEngine::run`].
    ///
    /// # Errors
    /// A device that cannot compute it, as one whose memory is full.
    pub(crate) fn run(&self, input: MultimodalInput, with_embedding: bool) -> Result<NetworkValues, EngineError> {
        let output = on_pool(|| self.0.forward(input));
        let of_branch = |logits: Vec<Tensor<2>>| logits.into_iter().map(table).collect::<Result<_, _>>();
        let logits = output.branches.into_iter().map(|branch| of_branch(branch.logits));
        Ok(NetworkValues {
            logits: logits.collect::<Result<_, _>>()?,
            embedding: with_embedding.then(|| table(output.embedding)).transpose()?,
        })
    }
}

/// Burn itself.
pub(crate) fn burn_facts() -> EngineFacts {
    EngineFacts { name: "Burn".into(), version: BURN_VERSION.into(), precision: "f32".into() }
}

/// The values of a tensor, with a row for each case.
///
/// # Errors
/// A device that could not compute them.
pub(crate) fn table(tensor: Tensor<2>) -> Result<Array2<f32>, EngineError> {
    let shape = tensor.dims();
    let data = tensor.try_into_data();
    let data = data.map_err(|error| EngineError::Device { cases: shape[0], reason: error.to_string() })?;
    let values: Vec<f32> = data.iter::<f32>().collect();
    Ok(Array2::from_shape_vec(shape, values).expect("a tensor has as many values as its shape says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_shapes_than_the_networks_are_refused() {
        let table = |cases, classes| Array2::<f32>::zeros((cases, classes));
        let values = |logits| NetworkValues { logits, embedding: Some(table(2, 7)) };
        let check = |values: NetworkValues| values.check(&burn_facts(), 2, 2, &[3, 4]);
        let branch = || vec![table(2, 3), table(2, 4)];
        check(values(vec![branch(), branch()])).unwrap();
        for wrong in [
            values(vec![branch()]),
            values(vec![branch(), vec![table(2, 3)]]),
            values(vec![branch(), vec![table(2, 3), table(2, 5)]]),
            values(vec![branch(), vec![table(1, 3), table(1, 4)]]),
            NetworkValues { embedding: Some(table(3, 7)), ..values(vec![branch(), branch()]) },
        ] {
            let error = check(wrong).unwrap_err();
            assert!(matches!(error, EngineError::Shape { .. }), "{error}");
        }
    }
}
