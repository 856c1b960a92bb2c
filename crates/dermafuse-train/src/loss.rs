use std::borrow::Cow;
use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};
use dermafuse_data::{CaseView, Mixed};
use dermafuse_networks::NetworkOutput;

use crate::{ClassBalancing, LossConfig, LossReduction, SmoothingSpread, TrainError};

/// The weight that the released code gives to each branch.
const RELEASED_BRANCH_WEIGHT: f64 = 0.33;

/// Weighted cross-entropy over all branches and tasks (FusionM4Net, thesis Eq. 6.1–6.4; joint-individual fusion, §4.2).
#[derive(Clone, Debug, PartialEq)]
pub struct MultitaskLoss {
    config: LossConfig,
    /// `[T][K_t]` class weights; those of each batch take their place where it has its own.
    class_weights: Vec<Vec<f64>>,
    /// `[T][K_t]` what is added to the logits; empty where nothing is.
    adjustments: Vec<Vec<f32>>,
    /// `[T][K_t]` how label smoothing is shared out; each task's shares add up to 1.
    spreads: Vec<Vec<f64>>,
}

/// What a batch should have been predicted as: one `[B, K_t]` tensor for each task that holds each case's share in the
/// task's loss at its label, and what smoothing spreads elsewhere; a case that is not annotated has a row of zeros.
#[derive(Clone, Debug)]
pub struct Targets {
    shares: Vec<Tensor<2>>,
    /// Share of the batch that the part is.
    part: f64,
    /// What a teacher says, if there is one.
    soft: Option<SoftTargets>,
}

/// What a teacher says of the cases of a batch.
#[derive(Clone, Debug)]
struct SoftTargets {
    /// `[B, K_t]` for each task: probabilities at the temperature, times their weight in the loss.
    tables: Vec<Tensor<2>>,
    temperature: f64,
}

impl Targets {
    /// The device that they are on.
    pub(crate) fn device(&self) -> Device {
        self.shares.first().expect("there is a task").device()
    }

    /// The labels' share of each case in the first task, `[B]`.
    #[cfg(test)]
    pub(crate) fn sums(&self) -> Vec<f32> {
        self.shares[0].clone().sum_dim(1).into_data().iter().collect()
    }

    /// The same with a teacher that takes a share `[B, 1]` of each case's loss. `tables` are `[B, K_t]` for each task: its probabilities at
    /// the temperature, times their weight in the loss.
    pub(crate) fn taught(self, tables: Vec<Tensor<2>>, share: Tensor<2>, temperature: f64) -> Self {
        let left = share.neg() + 1.0; // [B, 1]
        let shares = self.shares.into_iter().map(|shares| shares * left.clone()); // [B, K_t]
        Self { shares: shares.collect(), soft: Some(SoftTargets { tables, temperature }), ..self }
    }
}

impl MultitaskLoss {
    /// The loss of a configuration; class weights are counted on the training cases.
    ///
    /// # Errors
    /// A class without training cases when classes are weighted or logits adjusted.
    pub fn new(training: &CaseView<'_>, config: LossConfig) -> Result<Self, TrainError> {
        config.check()?;
        let set = training.set();
        let mut class_weights = Vec::with_capacity(set.tasks.len());
        let mut adjustments = Vec::new();
        let mut spreads = Vec::with_capacity(set.tasks.len());
        for (index, task) in set.tasks.iter().enumerate() {
            let counts = training.class_counts(index)?;
            let empty = || {
                let class = counts.iter().position(|&count| count == 0)?;
                Some(TrainError::EmptyClass { task: task.name.clone(), class: task.classes[class].clone() })
            };
            let total = counts.iter().sum::<usize>() as f64;
            spreads.push(match config.smoothing_spread {
                SmoothingSpread::Frequencies if total > 0.0 => counts.iter().map(|&n| n as f64 / total).collect(),
                _ => vec![1.0 / counts.len() as f64; counts.len()],
            });
            if config.logit_adjustment > 0.0 {
                if let Some(error) = empty() {
                    return Err(error);
                }
                let log_share = |&count: &usize| (config.logit_adjustment * (count as f64 / total).ln()) as f32;
                adjustments.push(counts.iter().map(log_share).collect());
            }
            if matches!(config.class_weights, ClassBalancing::Uniform | ClassBalancing::BalancedInBatch) {
                class_weights.push(vec![1.0; counts.len()]);
                continue;
            }
            if let Some(error) = empty() {
                return Err(error);
            }
            let classes = counts.len() as f64;
            let balanced = counts.iter().map(|&count| total / (classes * count as f64));
            class_weights.push(match config.class_weights {
                ClassBalancing::SquareRoot => balanced.map(f64::sqrt).collect(),
                _ => balanced.collect(),
            });
        }
        Ok(Self { config, class_weights, adjustments, spreads })
    }

    /// The targets of part of a batch, from the labels `[B][T]` of all its cases: the losses of the parts add up to that of
    /// the batch.
    ///
    /// A task's loss is `Σ w_y · CE / Σ w_y` over the annotated cases of the batch, as PyTorch's `cross_entropy` has it.
    ///
    /// # Panics
    /// If the part is not in the batch.
    #[must_use]
    pub fn targets(&self, labels: &[&[Option<usize>]], part: Range<usize>, device: &Device) -> Targets {
        self.mixed_targets(labels, part, &[], device)
    }

    /// The targets of cases that were mixed with others of their part: as much of each as there is. `mixed` is empty where nothing was.
    ///
    /// # Panics
    /// As [`targets`](Self::targets); if there are not as many as the part has cases.
    #[must_use]
    pub fn mixed_targets(
        &self,
        labels: &[&[Option<usize>]],
        part: Range<usize>,
        mixed: &[Mixed],
        device: &Device,
    ) -> Targets {
        assert!(mixed.is_empty() || mixed.len() == part.len(), "every case of the part is mixed or none");
        let smoothing = self.config.label_smoothing;
        let shares = self.class_weights.iter().zip(&self.spreads).enumerate().map(|(task, (weights, spread))| {
            let weights = &self.weights_in_batch(labels, task, weights);
            let total: f64 = labels.iter().filter_map(|labels| labels[task]).map(|label| weights[label]).sum();
            let classes = weights.len();
            let part = &labels[part.clone()];
            let mut shares = vec![0.0_f32; part.len() * classes];
            for (shares, labels) in shares.chunks_mut(classes).zip(part) {
                let Some(label) = labels[task] else { continue };
                for (class, (share, weight)) in shares.iter_mut().zip(weights.iter()).enumerate() {
                    let target = f64::from(u8::from(class == label)) * (1.0 - smoothing) + smoothing * spread[class];
                    *share = (target * weight / total) as f32;
                }
            }
            let pure = shares.clone();
            for (Mixed { share, other }, shares) in mixed.iter().zip(shares.chunks_mut(classes)) {
                let others = &pure[other * classes..][..classes];
                let mix = |(own, other): (&mut f32, &f32)| *own = *share as f32 * *own + (1.0 - share) as f32 * other;
                shares.iter_mut().zip(others).for_each(mix);
            }
            Tensor::from_data(TensorData::new(shares, [part.len(), classes]), device) // [B, K_t]
        });
        Targets { shares: shares.collect(), part: part.len() as f64 / labels.len() as f64, soft: None }
    }

    /// The class weights of a task in a batch, of which `labels` are the labels.
    fn weights_in_batch<'a>(&self, labels: &[&[Option<usize>]], task: usize, weights: &'a [f64]) -> Cow<'a, [f64]> {
        if self.config.class_weights != ClassBalancing::BalancedInBatch {
            return Cow::Borrowed(weights);
        }
        let mut counts = vec![0_usize; weights.len()];
        labels.iter().filter_map(|labels| labels[task]).for_each(|label| counts[label] += 1);
        let (cases, classes) = (counts.iter().sum::<usize>(), counts.iter().filter(|&&count| count > 0).count());
        let weight = |count: usize| if count == 0 { 0.0 } else { cases as f64 / (classes * count) as f64 };
        Cow::Owned(counts.into_iter().map(weight).collect())
    }

    /// The losses of all branches and tasks, and the network's own by their weights.
    ///
    /// # Shapes
    /// `[B, K_t]` logits for each branch and task → `[1]`.
    ///
    /// # Panics
    /// If the network has no branch, or its tasks are not those of the targets.
    #[must_use]
    pub fn forward(&self, output: &NetworkOutput, targets: &Targets) -> Tensor<1> {
        self.forward_each(output, &vec![targets; output.branches.len()])
    }

    /// The same with targets for each branch: those of the cases that it can see.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Panics
    /// As [`forward`](Self::forward); if there are not as many targets as branches.
    #[must_use]
    pub fn forward_each(&self, output: &NetworkOutput, targets: &[&Targets]) -> Tensor<1> {
        assert_eq!(output.branches.len(), targets.len(), "every branch has targets");
        let (tasks, part) = targets.first().map_or((1, 1.0), |targets| (targets.shares.len(), targets.part));
        let scale = match self.config.reduction {
            LossReduction::Released => RELEASED_BRANCH_WEIGHT / tasks as f64,
            LossReduction::TaskMean => 1.0 / tasks as f64,
            LossReduction::Paper => 1.0,
        };
        let terms = output.branches.iter().zip(targets).flat_map(|(branch, targets)| {
            assert_eq!(branch.logits.len(), targets.shares.len(), "the network's tasks are those of the data set");
            let tasks = branch.logits.iter().zip(&targets.shares).enumerate();
            tasks.map(|(task, (logits, shares))| {
                let logits = self.adjusted(task, logits.clone());
                let labelled = self.cross_entropy(logits.clone(), shares.clone());
                let term = match &targets.soft {
                    None => labelled,
                    Some(SoftTargets { tables, temperature }) => {
                        let said = log_softmax(logits / *temperature, 1); // [B, K]
                        labelled - (said * tables[task].clone()).sum() // [1]
                    }
                };
                term * branch.loss_weight
            })
        });
        let classification = terms.reduce(|sum, term| sum + term).expect("a network has branches") * scale;
        output.auxiliary.iter().fold(classification, |sum, auxiliary| {
            sum + auxiliary.loss.clone() * (self.config.auxiliary_weight(auxiliary.name) * part)
        })
    }

    /// The logits of a task with what the configuration adds to them.
    ///
    /// # Shapes
    /// `[B, K]` → `[B, K]`.
    fn adjusted(&self, task: usize, logits: Tensor<2>) -> Tensor<2> {
        let Some(adjustments) = self.adjustments.get(task) else { return logits };
        let adjustments = TensorData::new(adjustments.clone(), [1, adjustments.len()]);
        let device = logits.device();
        logits + Tensor::from_data(adjustments, &device)
    }

    /// # Shapes
    /// `[B, K]` logits and shares → `[1]`.
    fn cross_entropy(&self, logits: Tensor<2>, shares: Tensor<2>) -> Tensor<1> {
        let log_probabilities = log_softmax(logits, 1); // [B, K]
        let shares = match self.config.focal_gamma {
            0.0 => shares,
            gamma => shares * (log_probabilities.clone().exp().neg() + 1.0).clamp_min(1e-12).powf_scalar(gamma), // [B, K]
        };
        (log_probabilities * shares).sum().neg() // [1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use dermafuse_networks::{Auxiliary, BranchOutput};

    fn output(logits: [[f32; 2]; 2], loss_weight: f64) -> NetworkOutput {
        let logits = Tensor::<2>::from_data(logits, &Device::flex());
        let branch = BranchOutput { loss_weight, ..BranchOutput::new("clinical", vec![logits.clone()]) };
        NetworkOutput::new(vec![branch], logits)
    }

    fn loss(config: LossConfig, weights: [f64; 2], labels: [Option<usize>; 2]) -> f64 {
        let loss =
            MultitaskLoss { config, class_weights: vec![weights.to_vec()], adjustments: vec![], spreads: even(2) };
        let labels: Vec<[Option<usize>; 1]> = labels.iter().map(|&label| [label]).collect();
        let labels: Vec<&[Option<usize>]> = labels.iter().map(|labels| labels.as_slice()).collect();
        let value = |part: Range<usize>| {
            let targets = loss.targets(&labels, part.clone(), &Device::flex());
            let logits = [[0.0, 0.0], [2.0, 0.0]];
            let mut output = output(logits, 1.0);
            output.branches[0].logits[0] = output.branches[0].logits[0].clone().narrow(0, part.start, part.len());
            loss.forward(&output, &targets).into_scalar::<f64>()
        };
        let whole = value(0..2);
        assert!((value(0..1) + value(1..2) - whole).abs() < 1e-6, "the parts add up to the batch");
        whole
    }

    fn even(classes: usize) -> Vec<Vec<f64>> {
        vec![vec![1.0 / classes as f64; classes]]
    }

    const SUMS: LossConfig = LossConfig {
        reduction: LossReduction::Paper,
        class_weights: ClassBalancing::Uniform,
        focal_gamma: 0.0,
        label_smoothing: 0.0,
        smoothing_spread: SmoothingSpread::Evenly,
        logit_adjustment: 0.0,
        auxiliary: BTreeMap::new(),
    };

    #[test]
    fn the_mean_cross_entropy_by_hand() {
        let (first, second) = (2.0_f64.ln(), (1.0 + 2.0_f64.exp()).ln());
        let mean = (first + second) / 2.0;
        let released = LossConfig { reduction: LossReduction::Released, ..SUMS };
        assert!((loss(SUMS, [1.0, 1.0], [Some(0), Some(1)]) - mean).abs() < 1e-6);
        assert!((loss(released, [1.0, 1.0], [Some(0), Some(1)]) - 0.33 * mean).abs() < 1e-6);
        let weighted = (first + 3.0 * second) / 4.0;
        assert!((loss(SUMS, [1.0, 3.0], [Some(0), Some(1)]) - weighted).abs() < 1e-6);
    }

    /// Three cases of one class and one of another: each class has half of the loss, in parts too.
    #[test]
    fn in_a_batch_that_balances_itself_every_class_has_the_same_weight() {
        let config = LossConfig { class_weights: ClassBalancing::BalancedInBatch, ..SUMS };
        let loss = MultitaskLoss { config, class_weights: vec![vec![1.0; 3]], adjustments: vec![], spreads: even(3) };
        let labels: [&[Option<usize>]; 5] = [&[Some(0)], &[Some(0)], &[Some(2)], &[None], &[Some(0)]];
        let shares = |part: Range<usize>| {
            let targets = loss.targets(&labels, part, &Device::flex());
            targets.shares[0].clone().into_data().iter::<f32>().collect::<Vec<_>>()
        };
        let (sixth, half) = (1.0 / 6.0, 0.5);
        let expected = [[sixth, 0.0, 0.0], [sixth, 0.0, 0.0], [0.0, 0.0, half], [0.0; 3], [sixth, 0.0, 0.0]].concat();
        let found = shares(0..5);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert_eq!([shares(0..2), shares(2..5)].concat(), found);
    }

    #[test]
    fn cases_without_annotation_do_not_count() {
        let second = (1.0 + 2.0_f64.exp()).ln();
        assert!((loss(SUMS, [1.0, 1.0], [None, Some(1)]) - second).abs() < 1e-6);
        assert_eq!(loss(SUMS, [1.0, 1.0], [None, None]), 0.0);
    }

    #[test]
    fn focus_and_smoothing_by_hand() {
        let (first, second) = (2.0_f64.ln(), (1.0 + 2.0_f64.exp()).ln());
        let (hard, easy) = (1.0 - (-second).exp(), second - 2.0); // 1 − p of the second label, CE of the other class
        let focal = LossConfig { focal_gamma: 2.0, ..SUMS };
        let expected = (0.25 * first + hard * hard * second) / 2.0;
        assert!((loss(focal, [1.0, 1.0], [Some(0), Some(1)]) - expected).abs() < 1e-6);
        // torch: cross_entropy(logits, labels, weight=(1, 3), label_smoothing=0.1)
        let smooth = LossConfig { label_smoothing: 0.1, ..SUMS };
        let hard = (first + 3.0 * second) / 4.0;
        let spread = (first + 3.0 * first + easy + 3.0 * second) / 4.0;
        let expected = 0.9 * hard + 0.05 * spread;
        assert!((loss(smooth, [1.0, 3.0], [Some(0), Some(1)]) - expected).abs() < 1e-6);
    }

    /// Two of three cases are of the first class. A network that answers nothing has the frequencies: with even shares smoothing asks for
    /// more of the rare class than that, with shares by frequency it is content (the gradient of all three cases together is 0 in both logits).
    #[test]
    fn smoothing_by_frequency_leaves_frequencies_as_they_are() {
        let spread = |smoothing_spread| {
            let config = LossConfig { label_smoothing: 0.3, smoothing_spread, ..SUMS };
            let loss = MultitaskLoss::new(&two_to_one().whole(), config).unwrap();
            let labels: [&[Option<usize>]; 3] = [&[Some(0)], &[Some(0)], &[Some(1)]];
            let targets = loss.targets(&labels, 0..3, &Device::flex());
            let shares = targets.shares[0].clone().into_data().iter::<f64>().collect::<Vec<_>>();
            [shares[0] + shares[2] + shares[4], shares[1] + shares[3] + shares[5]]
        };
        let close = |found: [f64; 2], expected: [f64; 2]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(spread(SmoothingSpread::Evenly), [0.7 * 2.0 / 3.0 + 0.15, 0.7 / 3.0 + 0.15]));
        assert!(close(spread(SmoothingSpread::Frequencies), [2.0 / 3.0, 1.0 / 3.0]));
    }

    /// Three training cases, two of them of the first class.
    fn two_to_one() -> dermafuse_data::CaseSet {
        let labels = [0, 0, 1].into_iter().enumerate();
        let case = |(at, label): (usize, usize)| dermafuse_schema::Case {
            labels: vec![Some(label)],
            ..dermafuse_schema::Case::new(at.to_string())
        };
        let task = dermafuse_schema::Task::new("diagnosis", "DIAG", ["NEV", "MEL"]);
        dermafuse_data::CaseSet {
            name: "three".into(),
            synthetic: false,
            tasks: dermafuse_schema::TaskSet::new(vec![task]).unwrap(),
            fields: vec![],
            cases: labels.map(case).collect(),
            split: None,
            notes: vec![],
        }
    }

    /// Logits of nothing are the frequencies: it is the loss that knows which class is rare.
    #[test]
    fn frequent_classes_are_favoured_in_the_loss_so_that_the_network_need_not() {
        let set = two_to_one();
        let labels: [&[Option<usize>]; 2] = [&[Some(0)], &[Some(1)]];
        let value = |logit_adjustment: f64| {
            let loss = MultitaskLoss::new(&set.whole(), LossConfig { logit_adjustment, ..SUMS }).unwrap();
            let targets = loss.targets(&labels, 0..2, &Device::flex());
            loss.forward(&output([[0.0, 0.0], [0.0, 0.0]], 1.0), &targets).into_scalar::<f64>()
        };
        assert!((value(0.0) - 2.0_f64.ln()).abs() < 1e-6);
        // Logits of nothing are the frequencies: -(ln 2/3 + ln 1/3) / 2.
        assert!((value(1.0) - (1.5_f64.ln() + 3.0_f64.ln()) / 2.0).abs() < 1e-6);
        // Half of it: shares in the ratio of the roots.
        let rare = 1.0 / (1.0 + 2.0_f64.sqrt());
        assert!((value(0.5) + ((1.0 - rare).ln() + rare.ln()) / 2.0).abs() < 1e-6);

        let adjusted = LossConfig { logit_adjustment: 1.0, ..SUMS };
        let error = MultitaskLoss::new(&set.view(&[0, 1]).unwrap(), adjusted.clone()).unwrap_err();
        assert!(matches!(error, TrainError::EmptyClass { ref class, .. } if class == "MEL"), "{error}");
        assert!(LossConfig { logit_adjustment: -1.0, ..adjusted }.check().is_err());
    }

    #[test]
    fn mixed_cases_have_as_much_of_each_label_as_of_each_picture() {
        let loss =
            MultitaskLoss { config: SUMS, class_weights: vec![vec![1.0; 3]], adjustments: vec![], spreads: even(3) };
        let labels: [&[Option<usize>]; 4] = [&[Some(2)], &[Some(0)], &[Some(1)], &[None]];
        let mixed = [Mixed { share: 0.75, other: 1 }, Mixed { share: 1.0, other: 2 }, Mixed { share: 0.5, other: 0 }];
        let shares = |mixed: &[Mixed]| {
            let targets = loss.mixed_targets(&labels, 1..4, mixed, &Device::flex());
            targets.shares[0].clone().into_data().iter::<f32>().map(|share| 3.0 * share).collect::<Vec<_>>()
        };
        let close = |found: Vec<f32>, expected: [f32; 9]| {
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
        };
        close(shares(&[]), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        close(shares(&mixed), [0.75, 0.25, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn losses_of_the_networks_own_count_by_name_and_part() {
        let config = LossConfig { auxiliary: [("pull".to_owned(), 0.5)].into(), ..SUMS };
        let loss = MultitaskLoss { config, class_weights: vec![vec![1.0; 2]], adjustments: vec![], spreads: even(2) };
        let labels: [&[Option<usize>]; 4] = [&[Some(0)], &[Some(1)], &[Some(0)], &[Some(1)]];
        let targets = loss.targets(&labels, 0..2, &Device::flex());
        let own = |name, value: f32| Auxiliary { name, loss: Tensor::from_data([value], &Device::flex()) };
        let mut output = output([[0.0, 1.0], [2.0, 0.0]], 1.0);
        let plain = loss.forward(&output, &targets).into_scalar::<f64>();
        output.auxiliary = vec![own("pull", 3.0), own("push", 1.0)];
        // Two of four cases: half of 0.5 · 3 + 1 · 1.
        assert!((loss.forward(&output, &targets).into_scalar::<f64>() - plain - 1.25).abs() < 1e-6);
    }

    #[test]
    fn a_branch_counts_by_its_weight() {
        let loss =
            MultitaskLoss { config: SUMS, class_weights: vec![vec![1.0; 2]], adjustments: vec![], spreads: even(2) };
        let labels: [&[Option<usize>]; 2] = [&[Some(0)], &[Some(1)]];
        let targets = loss.targets(&labels, 0..2, &Device::flex());
        let value = |weight| loss.forward(&output([[0.0, 1.0], [2.0, 0.0]], weight), &targets).into_scalar::<f64>();
        assert!((value(0.5) - value(1.0) / 2.0).abs() < 1e-6);
    }
}
