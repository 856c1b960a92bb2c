use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};
use dermafuse_data::CaseSet;
use dermafuse_networks::NetworkOutput;

use crate::{ClassWeights, LossReduction, TrainError};

/// The weight that the released code gives to each branch.
const RELEASED_BRANCH_WEIGHT: f64 = 0.33;

/// Weighted cross-entropy over all branches and tasks (methods of FusionM4Net, thesis Eq. 6.1–6.4).
#[derive(Clone, Debug, PartialEq)]
pub struct MultitaskLoss {
    reduction: LossReduction,
    /// `[T][K_t]` class weights.
    class_weights: Vec<Vec<f64>>,
}

/// What a batch should have been predicted as: one `[B, K_t]` tensor for each task that holds each case's share in the
/// task's loss at its label, and 0 elsewhere; a case that is not annotated has a row of zeros.
#[derive(Clone, Debug)]
pub struct Targets {
    shares: Vec<Tensor<2>>,
}

impl MultitaskLoss {
    /// The loss of a configuration; class weights are counted on the training rows.
    ///
    /// # Errors
    /// A class without training cases when classes are weighted; a row out of range.
    pub fn new(
        set: &CaseSet,
        training_rows: &[usize],
        reduction: LossReduction,
        weights: ClassWeights,
    ) -> Result<Self, TrainError> {
        let mut class_weights = Vec::with_capacity(set.tasks.len());
        for (index, task) in set.tasks.iter().enumerate() {
            let counts = set.class_counts(index, training_rows)?;
            if weights == ClassWeights::Uniform {
                class_weights.push(vec![1.0; counts.len()]);
                continue;
            }
            if let Some(class) = counts.iter().position(|&count| count == 0) {
                return Err(TrainError::EmptyClass { task: task.name.clone(), class: task.classes[class].clone() });
            }
            let (total, classes) = (counts.iter().sum::<usize>() as f64, counts.len() as f64);
            let balanced = counts.iter().map(|&count| total / (classes * count as f64));
            class_weights.push(match weights {
                ClassWeights::SquareRoot => balanced.map(f64::sqrt).collect(),
                _ => balanced.collect(),
            });
        }
        Ok(Self { reduction, class_weights })
    }

    /// The targets of a batch, from the labels `[B][T]` of its cases.
    ///
    /// A task's loss is `Σ w_y · CE / Σ w_y` over the annotated cases, as PyTorch's `cross_entropy` has it.
    #[must_use]
    pub fn targets(&self, labels: &[&[Option<usize>]], device: &Device) -> Targets {
        let shares = self.class_weights.iter().enumerate().map(|(task, weights)| {
            let total: f64 = labels.iter().filter_map(|labels| labels[task]).map(|label| weights[label]).sum();
            let mut shares = vec![0.0_f32; labels.len() * weights.len()];
            for (case, labels) in labels.iter().enumerate() {
                if let Some(label) = labels[task] {
                    shares[case * weights.len() + label] = (weights[label] / total) as f32;
                }
            }
            Tensor::from_data(TensorData::new(shares, [labels.len(), weights.len()]), device) // [B, K_t]
        });
        Targets { shares: shares.collect() }
    }

    /// # Shapes
    /// `[B, K_t]` logits for each branch and task → `[1]`.
    ///
    /// # Panics
    /// If the network has no branch, or its tasks are not those of the targets.
    #[must_use]
    pub fn forward(&self, output: &NetworkOutput, targets: &Targets) -> Tensor<1> {
        let scale = match self.reduction {
            LossReduction::Released => RELEASED_BRANCH_WEIGHT / targets.shares.len() as f64,
            LossReduction::Paper => 1.0,
        };
        let terms = output.branches.iter().flat_map(|branch| {
            assert_eq!(branch.logits.len(), targets.shares.len(), "the network's tasks are those of the data set");
            branch.logits.iter().zip(&targets.shares).map(|(logits, shares)| {
                (log_softmax(logits.clone(), 1) * shares.clone()).sum().neg() // [1]
            })
        });
        terms.reduce(|sum, term| sum + term).expect("a network has branches") * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_networks::BranchOutput;

    fn output(logits: [[f32; 2]; 2]) -> NetworkOutput {
        let logits = vec![Tensor::from_data(logits, &Device::flex())];
        NetworkOutput { branches: vec![BranchOutput { name: "clinical", logits }] }
    }

    fn loss(reduction: LossReduction, weights: [f64; 2], labels: [Option<usize>; 2]) -> f64 {
        let loss = MultitaskLoss { reduction, class_weights: vec![weights.to_vec()] };
        let labels: Vec<[Option<usize>; 1]> = labels.iter().map(|&label| [label]).collect();
        let labels: Vec<&[Option<usize>]> = labels.iter().map(|labels| labels.as_slice()).collect();
        let targets = loss.targets(&labels, &Device::flex());
        loss.forward(&output([[0.0, 0.0], [2.0, 0.0]]), &targets).into_scalar::<f64>()
    }

    #[test]
    fn the_mean_cross_entropy_by_hand() {
        let (first, second) = (2.0_f64.ln(), (1.0 + 2.0_f64.exp()).ln());
        let mean = (first + second) / 2.0;
        assert!((loss(LossReduction::Paper, [1.0, 1.0], [Some(0), Some(1)]) - mean).abs() < 1e-6);
        assert!((loss(LossReduction::Released, [1.0, 1.0], [Some(0), Some(1)]) - 0.33 * mean).abs() < 1e-6);
        let weighted = (first + 3.0 * second) / 4.0;
        assert!((loss(LossReduction::Paper, [1.0, 3.0], [Some(0), Some(1)]) - weighted).abs() < 1e-6);
    }

    #[test]
    fn cases_without_annotation_do_not_count() {
        let second = (1.0 + 2.0_f64.exp()).ln();
        assert!((loss(LossReduction::Paper, [1.0, 1.0], [None, Some(1)]) - second).abs() < 1e-6);
        assert_eq!(loss(LossReduction::Paper, [1.0, 1.0], [None, None]), 0.0);
    }
}
