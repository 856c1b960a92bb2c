//! Everything after the network in ONNX: the rows of [`TwoStage::apply`] for cases that lack nothing.

use dermafuse_onnx_graph::{Dim, Element, Graph, Value};
use dermafuse_schema::{AnswerBasis, BranchWeights, FuseSpace, LEAST_FACTOR, TaskSet};

use crate::calibration::AnswerCalibration;
use crate::cluster::{SecondStage, SecondStageInputs};
use crate::graph_terms::constant;
use crate::two_stage::{AT_POINT, AT_PREVALENCE, CALIBRATED, TwoStage, uncalibrated_note};

/// The logits of a network in a graph.
#[derive(Clone, Debug)]
pub struct GraphLogits<'a> {
    /// The tasks.
    pub tasks: &'a TaskSet,
    /// The name of each branch, and its logits `[V, N, K_t]` of each task: view 0 is the untransformed image.
    pub branches: Vec<(String, Vec<Value>)>,
    /// `[N, M]` the encoded record, in a model that looks at it after the network; `None` if it has no columns.
    pub record: Option<Value>,
}

/// A row of the tables in a graph: one step of the way to the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphRow {
    /// Its name, as in [`TwoStage::apply`].
    pub name: String,
    /// `[N, K_t]` probabilities of each task, 64-bit floats.
    pub probabilities: Vec<Value>,
    /// The tasks whose probabilities this step leaves as they were, since nothing was fitted for them.
    pub unchanged: Vec<String>,
}

/// The answer to cases that lack something, in a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphAnswer {
    /// The last row that such cases have.
    pub row: GraphRow,
    /// What it stands on.
    pub basis: GraphBasis,
}

/// What an answer to cases of which the same is there stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphBasis {
    /// The branches that answer, in order.
    pub branches: Vec<String>,
    /// What must be said of it, as [`TwoStage::calibration_notes`] says it of one case.
    pub notes: Vec<String>,
}

impl TwoStage {
    /// Adds all rows of [`apply`](Self::apply) to a graph, in their order, for cases that have every image and a record. They are computed
    /// in 64-bit floats, as there.
    ///
    /// # Panics
    /// If the parts do not fit together (see [`check`](Self::check)), or a second stage lacks the record that it looks at.
    pub fn add_to(&self, graph: &mut Graph, logits: &GraphLogits<'_>) -> Vec<GraphRow> {
        let wide: Vec<(String, Vec<Value>)> = logits
            .branches
            .iter()
            .map(|(name, tasks)| (name.clone(), tasks.iter().map(|task| graph.cast(*task, Element::F64)).collect()))
            .collect();
        let named = |name: String, probabilities| GraphRow { name, probabilities, unchanged: Vec::new() };
        let mut rows = Vec::new();
        let record = logits.record.map(|record| graph.cast(record, Element::F64));
        let is_alone = self.second_stage.as_ref().is_some_and(|stage| stage.inputs == SecondStageInputs::Metadata);
        if wide.len() > 1 && !is_alone {
            for (name, _) in &wide {
                let only = vec![(name.clone(), 1.0)];
                rows.push(named(format!("P_{name}"), fused(graph, &wide, &only, FuseSpace::Logits)));
            }
            let equal: Vec<(String, f64)> =
                wide.iter().map(|(name, _)| (name.clone(), 1.0 / wide.len() as f64)).collect();
            rows.push(named("P_1 averaged".into(), fused(graph, &wide, &equal, self.fuse_space)));
        }
        let used = used(names(&wide), &self.branch_weights);
        let first = fused(graph, &wide, &used, self.fuse_space);
        match &self.second_stage {
            None => rows.push(named("P_1".into(), first)),
            Some(stage) => {
                let second = second_stage(stage, graph, &first, record);
                if is_alone {
                    rows.push(named("P_2".into(), second));
                } else {
                    let averaged = mixed(graph, self.mix_space, &first, &second, 0.5);
                    let third = mixed(graph, self.mix_space, &first, &second, self.mix);
                    rows.push(named("P_1".into(), first));
                    rows.push(named("P_2".into(), second));
                    rows.push(named("P_3 averaged".into(), averaged));
                    rows.push(named("P_3".into(), third));
                }
            }
        }
        self.add_corrections(graph, logits.tasks, &self.basis_of(&used, true), &mut rows);
        rows
    }

    /// Adds the last row of [`apply`](Self::apply) for cases that only the branches of `logits` answer, such as those that lack an image. Without
    /// a record, which `recorded` tells, the first stage answers.
    ///
    /// # Panics
    /// As [`add_to`](Self::add_to).
    pub fn add_answer_to(&self, graph: &mut Graph, logits: &GraphLogits<'_>, recorded: bool) -> GraphAnswer {
        let wide: Vec<(String, Vec<Value>)> = logits
            .branches
            .iter()
            .map(|(name, tasks)| (name.clone(), tasks.iter().map(|task| graph.cast(*task, Element::F64)).collect()))
            .collect();
        let used = used(names(&wide), &self.branch_weights);
        let first = fused(graph, &wide, &used, self.fuse_space);
        let (name, probabilities) = match self.second_stage.as_ref().filter(|_| recorded) {
            None => ("P_1", first),
            Some(stage) => {
                let record = logits.record.map(|record| graph.cast(record, Element::F64));
                let second = second_stage(stage, graph, &first, record);
                match stage.inputs {
                    SecondStageInputs::Metadata => ("P_2", second),
                    SecondStageInputs::PredictionsAndMetadata | SecondStageInputs::MetadataBeside => {
                        ("P_3", mixed(graph, self.mix_space, &first, &second, self.mix))
                    }
                }
            }
        };
        let mut rows = vec![GraphRow { name: name.into(), probabilities, unchanged: Vec::new() }];
        self.add_corrections(graph, logits.tasks, &self.basis_of(&used, recorded), &mut rows);
        let row = rows.pop().expect("there is one");
        GraphAnswer { row, basis: self.graph_basis(logits.tasks, names(&wide), recorded) }
    }

    /// What the answer to cases stands on that these branches see enough of, and that have a record, if they are `recorded`.
    pub fn graph_basis<'a>(
        &self,
        tasks: &TaskSet,
        branches: impl IntoIterator<Item = &'a str>,
        recorded: bool,
    ) -> GraphBasis {
        let used = used(branches, &self.branch_weights);
        let basis = self.basis_of(&used, recorded);
        let is_calibrated = |calibration: &AnswerCalibration| {
            let known = calibration.answers.iter().find(|known| known.basis == basis);
            let has = |task: &str| known.is_some_and(|known| known.tasks.iter().any(|own| own.task == task));
            tasks.iter().all(|task| has(&task.name))
        };
        let uncalibrated = self.calibration.as_ref().filter(|calibration| !is_calibrated(calibration));
        let notes = uncalibrated.map(|_| uncalibrated_note(1, 1, &basis)).into_iter().collect();
        GraphBasis { branches: used.into_iter().map(|(name, _)| name).collect(), notes }
    }

    /// The basis of answers of these branches, as [`Predictions::basis`](dermafuse_schema::Predictions::basis) has it.
    fn basis_of(&self, used: &[(String, f64)], recorded: bool) -> AnswerBasis {
        let branches = AnswerBasis::of_branches(used.iter().map(|(name, _)| name), 1);
        match self.second_stage.as_ref().filter(|_| recorded) {
            None => branches,
            Some(_) => branches.with_record(),
        }
    }

    /// Calibration, the point at which is decided, and prevalence, each as one more row.
    fn add_corrections(&self, graph: &mut Graph, tasks: &TaskSet, basis: &AnswerBasis, rows: &mut Vec<GraphRow>) {
        if let Some(calibration) = &self.calibration {
            let last = rows.last().expect("a model has a row");
            let (name, before) = (format!("{}{CALIBRATED}", last.name), last.probabilities.clone());
            let known = calibration.answers.iter().find(|known| known.basis == *basis);
            let mut unchanged = Vec::new();
            let of_task = tasks.iter().zip(before).map(|(task, probabilities)| {
                let own = known.and_then(|known| known.tasks.iter().find(|own| own.task == task.name));
                match own {
                    Some(own) => own.map.add_to(graph, probabilities),
                    None => {
                        unchanged.push(task.name.clone());
                        probabilities
                    }
                }
            });
            let probabilities = of_task.collect();
            rows.push(GraphRow { name, probabilities, unchanged });
        }
        if let Some(point) = self.chosen_point() {
            let last = rows.last().expect("a model has a row");
            let (name, before) = (format!("{}{AT_POINT}{}", last.name, point.name), last.probabilities.clone());
            let of_task = tasks.iter().zip(before);
            let probabilities = of_task.map(|(task, probabilities)| point.add_to(graph, task, probabilities)).collect();
            rows.push(GraphRow { name, probabilities, unchanged: Vec::new() });
        }
        let assumed = self.prevalence.as_ref().and_then(|prevalence| Some((prevalence, prevalence.assumed.as_ref()?)));
        if let Some((prevalence, assumed)) = assumed {
            let last = rows.last().expect("a model has a row");
            let (name, before) = (format!("{}{AT_PREVALENCE}", last.name), last.probabilities.clone());
            let of_task = tasks.iter().zip(before);
            let probabilities = of_task
                .map(|(task, probabilities)| {
                    prevalence.source().add_correction_to(graph, &assumed.prevalence, task, probabilities)
                })
                .collect();
            rows.push(GraphRow { name, probabilities, unchanged: Vec::new() });
        }
    }
}

fn names(branches: &[(String, Vec<Value>)]) -> impl Iterator<Item = &str> {
    branches.iter().map(|(name, _)| name.as_str())
}

/// The branches that a case which has all of these is answered by, with their weights.
fn used<'a>(branches: impl IntoIterator<Item = &'a str>, weights: &BranchWeights) -> Vec<(String, f64)> {
    let pairs = || weights.names().iter().zip(weights.values());
    let weight_of = |name: &str| pairs().find(|(other, _)| *other == name).map_or(0.0, |(_, weight)| *weight);
    let all: Vec<(String, f64)> = branches.into_iter().map(|name| (name.to_owned(), weight_of(name))).collect();
    let sum: f64 = all.iter().map(|(_, weight)| weight).sum();
    match sum > 0.0 {
        true => {
            all.into_iter().filter(|(_, weight)| *weight > 0.0).map(|(name, weight)| (name, weight / sum)).collect()
        }
        false => all.iter().map(|(name, _)| (name.clone(), 1.0 / all.len() as f64)).collect(),
    }
}

/// Weighted fusion, as [`BranchLogits::fuse`](dermafuse_schema::BranchLogits::fuse): `[N, K_t]` of each task.
fn fused(
    graph: &mut Graph,
    branches: &[(String, Vec<Value>)],
    weights: &[(String, f64)],
    space: FuseSpace,
) -> Vec<Value> {
    let tasks = branches[0].1.len();
    let mut all = Vec::with_capacity(tasks);
    for task in 0..tasks {
        let mut sum: Option<Value> = None;
        for (name, weight) in weights {
            let (_, logits) = branches.iter().find(|(other, _)| other == name).expect("a branch of the network");
            let term = match space {
                FuseSpace::Logits => logits[task],
                FuseSpace::Probabilities => graph.softmax(logits[task], 2),
            };
            let weight = graph.scalar_like(term, *weight);
            let term = graph.multiply(term, weight);
            sum = Some(match sum {
                Some(sum) => graph.add(sum, term),
                None => term,
            });
        }
        let sum = sum.expect("a branch has a weight"); // [V, N, K]
        let of_views = match space {
            FuseSpace::Logits => graph.softmax(sum, 2),
            FuseSpace::Probabilities => sum,
        };
        let shape = graph.shape(of_views)[1..].to_vec();
        let mean = match graph.shape(of_views)[0] {
            Dim::Fixed(1) => of_views,
            _ => graph.reduce("ReduceMean", of_views, &[0]),
        };
        all.push(graph.reshape(mean, shape));
    }
    all
}

/// `P_2` of cases with a record.
fn second_stage(stage: &SecondStage, graph: &mut Graph, first: &[Value], record: Option<Value>) -> Vec<Value> {
    let parts: Vec<Value> = match stage.inputs {
        SecondStageInputs::PredictionsAndMetadata => first.iter().copied().chain(record).collect(),
        SecondStageInputs::Metadata | SecondStageInputs::MetadataBeside => record.into_iter().collect(),
    };
    let records = graph.concat(&parts, 1);
    stage.cluster.classifiers().iter().map(|classifier| classifier.inner().add_to(graph, records)).collect()
}

/// `weight · P_1 + (1 − weight) · P_2`, or the product, as [`Predictions::mix_in`](dermafuse_schema::Predictions::mix_in).
fn mixed(graph: &mut Graph, space: FuseSpace, first: &[Value], second: &[Value], weight: f64) -> Vec<Value> {
    let is_product = space == FuseSpace::Logits && weight != 0.0 && weight != 1.0;
    let of_task = first.iter().zip(second).map(|(&first, &second)| {
        let (one, other) = (constant(graph, &[weight], &[]), constant(graph, &[1.0 - weight], &[]));
        let [first, second] = [first, second].map(|table| match is_product {
            true => {
                let table = graph.clip(table, Some(LEAST_FACTOR), None);
                graph.unary("Log", table)
            }
            false => table,
        });
        let (first, second) = (graph.multiply(first, one), graph.multiply(second, other));
        let sum = graph.add(first, second);
        if is_product { graph.softmax(sum, 1) } else { sum }
    });
    of_task.collect()
}
