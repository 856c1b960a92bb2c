//! Fusion Scheme 1: the branch weights that make the fused prediction most accurate.
//!
//! Thesis §6.2.3, Alg. 1. The search is exhaustive and exact, but not naive: the normalised weights are sorted into a
//! k-d tree, and for each case and task whole boxes of weights are decided at once where bounds on the probabilities
//! inside the box prove that the predicted class is the same everywhere. Only the few weights that lie on a change of the
//! predicted class are evaluated one by one, with the very arithmetic of [`BranchLogits::fuse`].

use dermafuse_schema::{BranchLogits, BranchWeights, FuseSpace, softmax};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};

/// The most combinations of weights that are searched: some 100 bytes are held for each.
const MOST_COMBINATIONS: usize = 20_000_000;
/// Boxes of this many weights or fewer are not split further.
const LEAF: usize = 16;
/// By how much a bound must be met before it counts: far above rounding errors, far below any logit that matters.
const MARGIN: f64 = 1e-9;
/// The order of the loops in the released code after the names of its branches, outermost first.
const RELEASED_ORDER: [&str; 3] = ["dermoscopic", "clinical", "fusion"];

/// Where the unnormalised candidate weights of each branch come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidates {
    /// Equally spaced from 0.05 to 1, both included.
    #[default]
    Linear,
    /// `0.5 · (1 + cos(πk/n))` for `k = 0..n`: from 1 down towards 0.
    Cosine,
}

/// How the loops over the candidates treat their variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightSearchVariant {
    /// Every combination, normalised to sum to 1.
    #[default]
    Clean,
    /// The code as released in August 2021, by which the published numbers came about: normalising overwrites the loop
    /// variables, so outer weights drift until their own loop advances. Visits every combination but only some 15,000
    /// weights that differ in four decimals. Its loops run dermoscopic, fusion, clinical.
    #[serde(rename = "released_2021_08")]
    Released2021August,
    /// The code at the head of the repository: as [`Released2021August`](Self::Released2021August), and combinations
    /// whose (drifted) sum exceeds 1 are skipped, which leaves 123 of 125,000 for 50 steps.
    ReleasedHead,
}

/// Search for the branch weights with the highest mean accuracy over the tasks.
///
/// Of equal scores the first in loop order wins.
///
/// ```
/// # use dermafuse_ensemble::WeightSearch;
/// # use dermafuse_schema::{Branch, BranchLogits, Cohort, Task, TaskSet, ndarray::{Array2, array}};
/// # let cohort = Cohort {
/// #     ids: vec!["1".into(), "2".into()],
/// #     groups: vec!["1".into(), "2".into()],
/// #     labels: vec![vec![Some(0)], vec![Some(1)]],
/// #     metadata: Array2::zeros((2, 0)),
/// #     has_metadata: vec![false; 2],
/// # };
/// let branch = |name: &str, logits| Branch { name: name.into(), available: vec![true; 2], logits: vec![logits] };
/// let logits = BranchLogits {
///     tasks: TaskSet::new(vec![Task::new("streaks", "STR", ["absent", "present"])])?,
///     cohort,
///     branches: vec![
///         branch("clinical", array![[[3.0, 0.0], [2.0, 0.0]]]), // right about the first case only
///         branch("dermoscopic", array![[[0.0, 1.0], [0.0, 4.0]]]), // right about the second only
///     ],
/// };
/// let found = WeightSearch::default().fit(&logits)?;
/// assert_eq!((found.score, found.evaluated), (1.0, 2500));
/// assert_eq!(logits.fuse(&found.weights, found.space)?.mean_accuracy(), Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSearch {
    /// Candidates for each branch.
    pub steps: usize,
    /// How the candidates are spaced.
    pub candidates: Candidates,
    /// Clean, or one of the released programs with its mistakes.
    pub variant: WeightSearchVariant,
    /// Whether logits or probabilities are averaged.
    pub space: FuseSpace,
    /// Branch names from the outermost loop to the innermost. `None`: the released order where the branches are named
    /// `dermoscopic`, `clinical` and `fusion`, else the network's order.
    pub loop_order: Option<Vec<String>>,
}

impl Default for WeightSearch {
    fn default() -> Self {
        Self {
            steps: 50,
            candidates: Candidates::default(),
            variant: WeightSearchVariant::default(),
            space: FuseSpace::default(),
            loop_order: None,
        }
    }
}

/// What [`WeightSearch`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightSearchResult {
    /// The weights, by branch.
    pub weights: BranchWeights,
    /// The space in which they are to be used.
    pub space: FuseSpace,
    /// Mean over the tasks of the accuracy on labelled cases.
    pub score: f64,
    /// How many combinations were scored.
    pub evaluated: usize,
    /// How many of them reach the score: a plateau says that the weights matter little.
    pub ties: usize,
}

impl WeightSearch {
    /// Scores every combination on the labelled cases.
    ///
    /// # Errors
    /// Inconsistent logits, no branch, no label at all, no candidate, a loop order that is not a permutation of the
    /// branches, or more combinations than fit in memory.
    pub fn fit(&self, logits: &BranchLogits) -> Result<WeightSearchResult> {
        logits.check()?;
        let combinations = self.combinations(logits)?;
        let scores = scores(logits, &combinations, self.space)?;
        let (mut best, mut ties) = (0, 0);
        for (index, &score) in scores.iter().enumerate() {
            if score > scores[best] {
                (best, ties) = (index, 1);
            } else {
                ties += usize::from(score == scores[best]);
            }
        }
        let names = logits.branches.iter().map(|branch| branch.name.clone());
        Ok(WeightSearchResult {
            weights: BranchWeights::new(names.zip(combinations.row(best)))?,
            space: self.space,
            score: scores[best],
            evaluated: combinations.len(),
            ties,
        })
    }

    /// All combinations in the order of the loops, with columns in the order of the branches.
    fn combinations(&self, logits: &BranchLogits) -> Result<Combinations> {
        let branches: Vec<&str> = logits.branches.iter().map(|branch| branch.name.as_str()).collect();
        let order = self.loop_indices(&branches)?;
        let total = self.steps.checked_pow(branches.len() as u32).filter(|total| *total <= MOST_COMBINATIONS);
        let Some(total) = total else {
            let (steps, branches, limit) = (self.steps, branches.len(), MOST_COMBINATIONS);
            return Err(EnsembleError::TooManyWeights { steps, branches, limit });
        };
        if total == 0 {
            let (parameter, value) = ("steps of the weight search".to_owned(), self.steps as f64);
            return Err(EnsembleError::Parameter { parameter, value, expected: "at least 1" });
        }
        let candidates = match self.candidates {
            Candidates::Linear => linspace(0.05, 1.0, self.steps),
            Candidates::Cosine => {
                let angle = |k: usize| std::f64::consts::PI * k as f64 / self.steps as f64;
                (0..self.steps).map(|k| 0.5 * (1.0 + angle(k).cos())).collect()
            }
        };
        let mut combinations =
            Combinations { width: branches.len(), values: Vec::with_capacity(total * branches.len()) };
        let visit = Visit { candidates: &candidates, order: &order, variant: self.variant };
        visit.from(0, &mut vec![0.0; branches.len()], &mut combinations.values);
        Ok(combinations)
    }

    /// Column of each loop's branch, outermost loop first.
    fn loop_indices(&self, branches: &[&str]) -> Result<Vec<usize>> {
        let order: Vec<&str> = match &self.loop_order {
            Some(order) => order.iter().map(String::as_str).collect(),
            None if branches.len() == 3 && RELEASED_ORDER.iter().all(|name| branches.contains(name)) => {
                let [outer, middle, inner] = RELEASED_ORDER;
                match self.variant {
                    WeightSearchVariant::Released2021August => vec![outer, inner, middle],
                    WeightSearchVariant::Clean | WeightSearchVariant::ReleasedHead => vec![outer, middle, inner],
                }
            }
            None => branches.to_vec(),
        };
        let indices: Option<Vec<usize>> =
            order.iter().map(|name| branches.iter().position(|branch| branch == name)).collect();
        let is_permutation = |indices: &Vec<usize>| {
            indices.len() == branches.len() && (0..branches.len()).all(|branch| indices.contains(&branch))
        };
        indices.filter(is_permutation).ok_or_else(|| EnsembleError::LoopOrder {
            found: order.iter().map(ToString::to_string).collect(),
            branches: branches.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Equally spaced values with both ends, rounded as numpy rounds them.
pub(crate) fn linspace(from: f64, to: f64, steps: usize) -> Vec<f64> {
    let step = (to - from) / steps.saturating_sub(1).max(1) as f64;
    (0..steps).map(|k| if k > 0 && k + 1 == steps { to } else { k as f64 * step + from }).collect()
}

/// Rows of unnormalised weights, one column per branch.
struct Combinations {
    width: usize,
    values: Vec<f64>,
}

impl Combinations {
    fn len(&self) -> usize {
        self.values.len() / self.width
    }

    fn row(&self, index: usize) -> impl Iterator<Item = f64> + '_ {
        self.values[index * self.width..(index + 1) * self.width].iter().copied()
    }
}

/// The nested loops over the candidates.
struct Visit<'a> {
    candidates: &'a [f64],
    order: &'a [usize],
    variant: WeightSearchVariant,
}

impl Visit<'_> {
    /// Runs loop `depth` and those inside it; `weights` are the loop variables, which the released code overwrites.
    fn from(&self, depth: usize, weights: &mut Vec<f64>, visited: &mut Vec<f64>) {
        if depth == self.order.len() {
            let sum: f64 = weights.iter().sum();
            if self.variant == WeightSearchVariant::ReleasedHead && sum > 1.0 {
                return;
            }
            if self.variant != WeightSearchVariant::Clean {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            visited.extend_from_slice(weights);
            return;
        }
        for &candidate in self.candidates {
            weights[self.order[depth]] = candidate;
            self.from(depth + 1, weights, visited);
        }
    }
}

/// Mean accuracy over the tasks for every combination: what `fuse(..)` and `mean_accuracy()` give for each.
fn scores(logits: &BranchLogits, combinations: &Combinations, space: FuseSpace) -> Result<Vec<f64>> {
    if combinations.len() == 0 {
        return Err(EnsembleError::NoLabels);
    }
    let labelled = |task: usize| logits.cohort.labels.iter().filter(|labels| labels[task].is_some()).count();
    let totals: Vec<(usize, usize)> =
        (0..logits.tasks.len()).map(|task| (task, labelled(task))).filter(|(_, total)| *total > 0).collect();
    if totals.is_empty() {
        return Err(EnsembleError::NoLabels);
    }
    // Cases that have the same branches share a tree: the weights they are predicted with are the same.
    let mut patterns: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for case in 0..logits.cohort.len() {
        let available: Vec<usize> =
            (0..logits.branches.len()).filter(|&branch| logits.branches[branch].available[case]).collect();
        match patterns.iter_mut().find(|(pattern, _)| *pattern == available) {
            Some((_, cases)) => cases.push(case),
            None => patterns.push((available, vec![case])),
        }
    }
    let mut hits = vec![vec![0_u32; combinations.len()]; totals.len()];
    for (available, cases) in &patterns {
        let tree = Tree::new(combinations, available);
        hits.par_iter_mut().zip(&totals).for_each(|(hits, &(task, _))| {
            let mut changes = vec![0_i32; combinations.len() + 1];
            for &case in cases {
                if let Some(label) = logits.cohort.labels[case][task] {
                    CaseTask::new(logits, available, case, task, label, space).count(&tree, &mut changes);
                }
            }
            let mut correct = 0_i32;
            for (&visited, change) in tree.order.iter().zip(&changes) {
                correct += change;
                hits[visited as usize] += correct as u32;
            }
        });
    }
    let mean = |index: usize| {
        let accuracies = hits.iter().zip(&totals).map(|(hits, &(_, total))| f64::from(hits[index]) / total as f64);
        accuracies.sum::<f64>() / totals.len() as f64
    };
    Ok((0..combinations.len()).into_par_iter().map(mean).collect())
}

/// The weights that cases of one availability pattern are predicted with, normalised and sorted into nested boxes.
struct Tree {
    width: usize,
    /// `[P · width]` weights, in the tree's order.
    weights: Vec<f64>,
    /// `[P]` the place of each in the order of the loops.
    order: Vec<u32>,
    /// Boxes; the first is the root.
    nodes: Vec<Node>,
    /// `[nodes · width]` the centre of each box: weights that sum to 1.
    centres: Vec<f64>,
    /// `[nodes · width]` how far the box reaches from its centre.
    halves: Vec<f64>,
}

struct Node {
    from: u32,
    to: u32,
    /// The two halves; 0 and 0 for a leaf.
    children: [u32; 2],
}

impl Tree {
    fn new(combinations: &Combinations, available: &[usize]) -> Self {
        let width = available.len();
        let mut normalised = Vec::with_capacity(combinations.len() * width);
        for index in 0..combinations.len() {
            // the same two divisions as BranchWeights::new and BranchLogits::fuse, so that the bits agree
            let row = &combinations.values[index * combinations.width..(index + 1) * combinations.width];
            let sum: f64 = row.iter().sum();
            let from = normalised.len();
            normalised.extend(available.iter().map(|&branch| row[branch] / sum));
            let sum: f64 = normalised[from..].iter().sum();
            normalised[from..].iter_mut().for_each(|weight| *weight /= sum);
        }
        let mut order: Vec<u32> = (0..combinations.len() as u32).collect();
        let mut tree = Self { width, weights: vec![], order: vec![], nodes: vec![], centres: vec![], halves: vec![] };
        tree.split(&mut order, 0, &normalised);
        tree.weights = order.iter().flat_map(|&row| &normalised[row as usize * width..][..width]).copied().collect();
        tree.order = order;
        tree
    }

    fn split(&mut self, rows: &mut [u32], from: usize, normalised: &[f64]) -> u32 {
        let (width, node) = (self.width, self.nodes.len());
        let bounds: Vec<(f64, f64)> = (0..width)
            .map(|axis| {
                let weights = rows.iter().map(|&row| normalised[row as usize * width + axis]);
                weights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), w| (low.min(w), high.max(w)))
            })
            .collect();
        // the middle of the box, moved to where weights sum to 1
        let excess = (bounds.iter().map(|(low, high)| 0.5 * (low + high)).sum::<f64>() - 1.0) / width as f64;
        let mut widest = (0, 0.0);
        for (axis, (low, high)) in bounds.into_iter().enumerate() {
            let centre = 0.5 * (low + high) - excess;
            self.centres.push(centre);
            self.halves.push((high - centre).max(centre - low));
            if high - low > widest.1 {
                widest = (axis, high - low);
            }
        }
        self.nodes.push(Node { from: from as u32, to: (from + rows.len()) as u32, children: [0, 0] });
        if rows.len() > LEAF && widest.1 > 0.0 {
            let key = |row: u32| normalised[row as usize * width + widest.0];
            let middle = rows.len() / 2;
            rows.select_nth_unstable_by(middle, |&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
            let (lower, upper) = rows.split_at_mut(middle);
            let first = self.split(lower, from, normalised);
            let second = self.split(upper, from + middle, normalised);
            self.nodes[node].children = [first, second];
        }
        node as u32
    }
}

/// One case and task: everything needed to predict its class from any weights.
struct CaseTask {
    space: FuseSpace,
    label: usize,
    classes: usize,
    width: usize,
    /// `[views, classes · width]` logits; in probability space probabilities.
    values: Array2<f64>,
    /// `[classes · width]` the mean of the values over the views.
    mean: Vec<f64>,
    /// `[views, width]` the spread over the classes of the value that a unit of each weight adds, less what all
    /// branches share.
    spreads: Array2<f64>,
    /// Rounding errors stay below this.
    margin: f64,
}

/// What is known of the probabilities in a box: value and slopes at its centre, and how far they may stray from that.
struct Local {
    /// `[classes]` probabilities at the centre.
    probabilities: Vec<f64>,
    /// `[classes · width]` their slopes.
    slopes: Vec<f64>,
    /// No difference of two probabilities changes by more than this within the box.
    reach: f64,
    /// No difference of two probabilities deviates by more than this from its tangent within the box.
    error: f64,
    /// `[classes]` working memory.
    row: Vec<f64>,
}

impl CaseTask {
    fn new(
        logits: &BranchLogits,
        available: &[usize],
        case: usize,
        task: usize,
        label: usize,
        space: FuseSpace,
    ) -> Self {
        let (views, classes, width) = (logits.views(), logits.tasks[task].classes.len(), available.len());
        let mut values = Array2::zeros((views, classes * width));
        for (column, &branch) in available.iter().enumerate() {
            for view in 0..views {
                let logits = logits.branches[branch].logits[task].index_axis(Axis(0), view);
                let mut row: Vec<f64> = logits.row(case).iter().map(|&z| f64::from(z)).collect();
                if space == FuseSpace::Probabilities {
                    row = softmax(&row);
                }
                for (class, value) in row.into_iter().enumerate() {
                    values[[view, class * width + column]] = value;
                }
            }
        }
        let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let mut spreads = Array2::zeros((views, width));
        for (values, mut spreads) in values.rows().into_iter().zip(spreads.rows_mut()) {
            for branch in 0..width {
                let relative = (0..classes).map(|class| {
                    let of = |branch: usize| values[class * width + branch];
                    // weights sum to 1, so what the branches share moves nothing and may be taken off
                    of(branch) - (0..width).map(of).sum::<f64>() / width as f64
                });
                let (low, high) =
                    relative.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), z| (low.min(z), high.max(z)));
                spreads[branch] = high - low;
            }
        }
        let mean = values.mean_axis(Axis(0)).unwrap_or_default().to_vec();
        Self { space, label, classes, width, values, mean, spreads, margin: MARGIN * (1.0 + largest) }
    }

    /// Adds 1 to the number of correct predictions of every weight in the tree that predicts the label; `changes` are
    /// the differences between neighbours.
    fn count(&self, tree: &Tree, changes: &mut [i32]) {
        let mut local = Local {
            probabilities: vec![0.0; self.classes],
            slopes: vec![0.0; self.classes * self.width],
            reach: 0.0,
            error: 0.0,
            row: vec![0.0; self.classes],
        };
        let mut pending = vec![0_u32];
        let mut mark = |from: u32, to: u32| {
            changes[from as usize] += 1;
            changes[to as usize] -= 1;
        };
        while let Some(index) = pending.pop() {
            let node = &tree.nodes[index as usize];
            let corner = index as usize * tree.width;
            let centre = &tree.centres[corner..corner + tree.width];
            let half = &tree.halves[corner..corner + tree.width];
            self.look_around(centre, half, &mut local);
            if let Some(class) = self.constant_class(half, &local) {
                if class == self.label {
                    mark(node.from, node.to);
                }
            } else if node.children != [0, 0] {
                pending.extend(node.children);
            } else {
                for point in node.from..node.to {
                    let at = point as usize * tree.width;
                    let weights = &tree.weights[at..at + tree.width];
                    let class = self.class_near(centre, weights, &mut local);
                    if class.unwrap_or_else(|| self.class_at(weights)) == self.label {
                        mark(point, point + 1);
                    }
                }
            }
        }
    }

    /// Probabilities and slopes at the centre of a box, and bounds on how they change inside it.
    ///
    /// Within the box the differences between the logits of a view move by at most `δ = Σ_b half_b · spread_b`. A
    /// probability has a slope of at most `1/4` and a curvature of at most `1/4` in units of that, so the difference of
    /// two probabilities moves by at most `δ/2` and strays from its tangent by at most `½ · δ²/2`.
    fn look_around(&self, centre: &[f64], half: &[f64], local: &mut Local) {
        let Local { probabilities, slopes, reach, error, row } = local;
        if self.space == FuseSpace::Probabilities {
            slopes.copy_from_slice(&self.mean);
            for (p, of_branches) in probabilities.iter_mut().zip(self.mean.chunks_exact(self.width)) {
                *p = of_branches.iter().zip(centre).map(|(p, weight)| p * weight).sum();
            }
            (*reach, *error) = (f64::INFINITY, 0.0);
            return;
        }
        probabilities.fill(0.0);
        slopes.fill(0.0);
        (*reach, *error) = (0.0, 0.0);
        for (view, spreads) in self.values.rows().into_iter().zip(self.spreads.rows()) {
            let Some(view) = view.as_slice() else { continue };
            softmax_of_fused(view, centre, row);
            for branch in 0..self.width {
                let average: f64 = row.iter().enumerate().map(|(class, p)| p * view[class * self.width + branch]).sum();
                for (class, p) in row.iter().enumerate() {
                    let place = class * self.width + branch;
                    slopes[place] += p * (view[place] - average);
                }
            }
            probabilities.iter_mut().zip(row.iter()).for_each(|(sum, p)| *sum += p);
            let delta: f64 = half.iter().zip(spreads).map(|(half, spread)| half * spread).sum();
            *reach += (0.5 * delta).min(2.0);
            *error += 0.25 * delta * delta;
        }
        let share = 1.0 / self.values.nrows() as f64;
        probabilities.iter_mut().chain(slopes).chain([reach, error]).for_each(|sum| *sum *= share);
    }

    /// The class predicted by all weights of a box, if that can be proved from its centre.
    fn constant_class(&self, half: &[f64], local: &Local) -> Option<usize> {
        let class = first_largest(&local.probabilities);
        let slopes = |class: usize| &local.slopes[class * self.width..(class + 1) * self.width];
        let clear = |other: usize| {
            let difference = local.probabilities[class] - local.probabilities[other] - self.margin;
            if difference > local.reach {
                return true;
            }
            let apart = || slopes(class).iter().zip(slopes(other)).map(|(a, b)| a - b);
            let shared = apart().sum::<f64>() / self.width as f64; // moves nothing, as weights sum to 1
            let along = apart().zip(half).map(|(slope, half)| (slope - shared).abs() * half).sum::<f64>();
            difference > along + local.error
        };
        (0..self.classes).all(|other| other == class || clear(other)).then_some(class)
    }

    /// The class predicted with weights inside the box, if that can be proved from the tangents at its centre.
    fn class_near(&self, centre: &[f64], weights: &[f64], local: &mut Local) -> Option<usize> {
        let Local { probabilities, slopes, error, row, .. } = local;
        for ((near, p), slopes) in row.iter_mut().zip(probabilities).zip(slopes.chunks_exact(self.width)) {
            let moved = slopes.iter().zip(weights).zip(centre).map(|((slope, weight), from)| slope * (weight - from));
            *near = *p + moved.sum::<f64>();
        }
        let class = first_largest(row);
        let clear = |other: usize| other == class || row[class] - row[other] > *error + self.margin;
        (0..self.classes).all(clear).then_some(class)
    }

    /// The class that [`BranchLogits::fuse`] predicts with these weights, by the same operations in the same order.
    fn class_at(&self, weights: &[f64]) -> usize {
        let mut probabilities = vec![0.0; self.classes];
        let mut row = vec![0.0; self.classes];
        let views = self.values.nrows() as f64;
        for view in self.values.rows() {
            let Some(view) = view.as_slice() else { continue };
            match self.space {
                FuseSpace::Logits => {
                    softmax_of_fused(view, weights, &mut row);
                    probabilities.iter_mut().zip(&row).for_each(|(p, q)| *p += q / views);
                }
                FuseSpace::Probabilities => {
                    for (p, of_branches) in probabilities.iter_mut().zip(view.chunks_exact(self.width)) {
                        of_branches.iter().zip(weights).for_each(|(q, weight)| *p += weight * q / views);
                    }
                }
            }
        }
        first_largest(&probabilities)
    }
}

/// Softmax of the weighted sum of one view's logits, rounded as [`BranchLogits::fuse`] rounds it.
fn softmax_of_fused(view: &[f64], weights: &[f64], row: &mut [f64]) {
    let mut largest = f64::NEG_INFINITY;
    for (sum, of_branches) in row.iter_mut().zip(view.chunks_exact(weights.len())) {
        *sum = of_branches.iter().zip(weights).fold(0.0, |sum, (z, weight)| sum + weight * z);
        largest = largest.max(*sum);
    }
    row.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|e| *e /= total);
}

/// Index of the largest value, the first of equals.
fn first_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Branch, Cohort, Task, TaskSet};
    use ndarray::Array3;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// Random logits, quantised so that ties occur; `missing` of 8 branches and labels are absent.
    fn problem(names: &[&str], classes: &[usize], cases: usize, views: usize, seed: u64, missing: u64) -> BranchLogits {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |bound: u64| rng.next_u64() % bound;
        let tasks = classes
            .iter()
            .enumerate()
            .map(|(task, &count)| Task::new(format!("t{task}"), "T", (0..count).map(|class| format!("c{class}"))));
        let tasks = TaskSet::new(tasks.collect()).unwrap();
        let labels = (0..cases).map(|_| {
            classes.iter().map(|&count| (below(8) >= missing).then(|| below(count as u64) as usize)).collect()
        });
        let cohort = Cohort {
            labels: labels.collect(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            groups: (0..cases).map(|case| case.to_string()).collect(),
            metadata: Array2::zeros((cases, 0)),
            has_metadata: vec![false; cases],
        };
        let branches = names.iter().enumerate().map(|(index, name)| Branch {
            name: (*name).into(),
            available: (0..cases).map(|case| case % names.len() == index || below(8) >= missing).collect(),
            logits: classes
                .iter()
                .map(|&count| Array3::from_shape_simple_fn((views, cases, count), || (below(17) as f32 - 8.0) / 4.0))
                .collect(),
        });
        BranchLogits { branches: branches.collect(), tasks, cohort }
    }

    fn reference(search: &WeightSearch, logits: &BranchLogits) -> (Vec<f64>, WeightSearchResult) {
        let combinations = search.combinations(logits).unwrap();
        let weights = |index| {
            let names = logits.branches.iter().map(|branch| branch.name.clone());
            BranchWeights::new(names.zip(combinations.row(index))).unwrap()
        };
        let scores: Vec<f64> = (0..combinations.len())
            .map(|index| logits.fuse(&weights(index), search.space).unwrap().mean_accuracy().unwrap())
            .collect();
        let mut best = 0;
        for index in 0..scores.len() {
            if scores[index] > scores[best] {
                best = index;
            }
        }
        let result = WeightSearchResult {
            weights: weights(best),
            space: search.space,
            score: scores[best],
            evaluated: scores.len(),
            ties: scores.iter().filter(|score| **score == scores[best]).count(),
        };
        (scores, result)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_score_is_that_of_the_plain_search(
            (seed, missing, branches, views, steps) in (any::<u64>(), 0_u64..5, 1_usize..=4, 1_usize..=3, 1_usize..=6),
            space in prop_oneof![Just(FuseSpace::Logits), Just(FuseSpace::Probabilities)],
            candidates in prop_oneof![Just(Candidates::Linear), Just(Candidates::Cosine)],
            variant in prop_oneof![
                3 => Just(WeightSearchVariant::Clean),
                1 => Just(WeightSearchVariant::Released2021August),
                1 => Just(WeightSearchVariant::ReleasedHead),
            ],
        ) {
            let names = &["clinical", "dermoscopic", "fusion", "metadata"][..branches];
            let logits = problem(names, &[5, 2, 3], 12, views, seed, missing);
            let labelled = logits.cohort.labels.iter().flatten().any(Option::is_some);
            let search = WeightSearch { steps: steps + 1, candidates, variant, space, loop_order: None };
            let combinations = search.combinations(&logits).unwrap();
            prop_assume!(labelled && combinations.len() > 0);
            let (expected, result) = reference(&search, &logits);
            prop_assert_eq!(scores(&logits, &combinations, space).unwrap(), expected);
            prop_assert_eq!(search.fit(&logits).unwrap(), result);
        }
    }

    #[test]
    fn a_fine_grid_is_exact_too() {
        let mut logits = problem(&["dermoscopic", "clinical", "fusion"], &[5, 3, 2], 10, 3, 7, 1);
        // rows that tie for every weight
        for branch in &mut logits.branches {
            branch.logits[0].index_axis_mut(Axis(1), 0).fill(1.0);
            branch.logits[1].index_axis_mut(Axis(1), 1).columns_mut().into_iter().take(2).for_each(|mut z| z.fill(2.0));
        }
        for space in [FuseSpace::Logits, FuseSpace::Probabilities] {
            let search = WeightSearch { steps: 16, space, ..WeightSearch::default() };
            let (expected, result) = reference(&search, &logits);
            let combinations = search.combinations(&logits).unwrap();
            assert_eq!(scores(&logits, &combinations, space).unwrap(), expected);
            assert_eq!(search.fit(&logits).unwrap(), result);
        }
    }

    fn triples(variant: WeightSearchVariant, steps: usize) -> Vec<[f64; 3]> {
        // branches in loop order of the released code after November 2021
        let logits = problem(&["dermoscopic", "clinical", "fusion"], &[2], 1, 1, 0, 0);
        let search = WeightSearch { steps, variant, ..WeightSearch::default() };
        let combinations = search.combinations(&logits).unwrap();
        (0..combinations.len())
            .map(|index| {
                let row: Vec<f64> = combinations.row(index).collect();
                let sum: f64 = row.iter().sum();
                [row[0] / sum, row[1] / sum, row[2] / sum]
            })
            .collect()
    }

    fn distinct(triples: &[[f64; 3]], decimals: i32) -> usize {
        let scale = 10.0_f64.powi(decimals);
        let mut rounded: Vec<[i64; 3]> = triples.iter().map(|row| row.map(|w| (w * scale).round() as i64)).collect();
        rounded.sort_unstable();
        rounded.dedup();
        rounded.len()
    }

    fn close(found: [f64; 3], expected: [f64; 3]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-5), "{found:?} is not {expected:?}");
    }

    #[test]
    fn the_clean_grid_visits_what_it_should() {
        let triples = triples(WeightSearchVariant::Clean, 50);
        assert_eq!((triples.len(), distinct(&triples, 12)), (125_000, 124_915));
        let all = triples.iter().flatten();
        let (low, high) = all.fold((1.0_f64, 0.0_f64), |(low, high), w| (low.min(*w), high.max(*w)));
        assert!((low - 0.0244).abs() < 5e-5 && (high - 0.9091).abs() < 5e-5, "{low} {high}");
    }

    #[test]
    fn the_released_searches_drift_as_described() {
        let august = triples(WeightSearchVariant::Released2021August, 50);
        assert_eq!(august.len(), 125_000);
        // loops dermoscopic, fusion, clinical: the innermost weight is the second column here
        close(august[0], [1.0 / 3.0; 3]);
        close(august[1], [0.4529, 0.0943, 0.4529]);
        let to_four = distinct(&august, 4);
        assert!((14_500..15_500).contains(&to_four), "{to_four}");
        let outermost_vanishes = august.iter().filter(|row| row[0] < 0.01).count() as f64 / 125_000.0;
        assert!((outermost_vanishes - 0.84).abs() < 0.005, "{outermost_vanishes}");

        for (steps, visited) in [(25, 50), (50, 123), (100, 295)] {
            assert_eq!(triples(WeightSearchVariant::ReleasedHead, steps).len(), visited, "{steps} steps");
        }
        let head = triples(WeightSearchVariant::ReleasedHead, 50);
        close(head[0], [1.0 / 3.0; 3]);
        close(head[1], [0.4529, 0.4529, 0.0943]);
    }

    #[test]
    fn the_first_maximum_in_loop_order_wins() {
        // dermoscopic decides alone, so any weights do and the first visited are kept
        let mut logits = problem(&["clinical", "dermoscopic"], &[2], 3, 1, 1, 0);
        let dermoscopic = &mut logits.branches[1].logits[0];
        for (case, labels) in logits.cohort.labels.iter().enumerate() {
            dermoscopic.index_axis_mut(Axis(1), case).fill(0.0);
            dermoscopic[[0, case, labels[0].unwrap()]] = 1000.0;
        }
        let search = WeightSearch { steps: 3, ..WeightSearch::default() };
        let found = search.fit(&logits).unwrap();
        assert_eq!((found.weights.values(), found.ties, found.evaluated), (&[0.5, 0.5][..], 9, 9));
    }

    #[test]
    fn errors_name_the_culprit() {
        let logits = problem(&["clinical", "dermoscopic"], &[2], 2, 1, 1, 0);
        let message = |search: WeightSearch| search.fit(&logits).unwrap_err().to_string();
        let steps = |steps| WeightSearch { steps, ..WeightSearch::default() };
        assert_eq!(message(steps(0)), "steps of the weight search is 0; it must be at least 1");
        assert_eq!(
            message(steps(5000)),
            "5000 steps for 2 branches are more than 20000000 combinations of weights; take fewer steps or fewer branches"
        );
        let order = WeightSearch { loop_order: Some(vec!["clinical".into()]), ..WeightSearch::default() };
        assert_eq!(
            message(order),
            r#"loop order ["clinical"] must name each of the branches ["clinical", "dermoscopic"] once"#
        );
        let mut unlabelled = logits.clone();
        unlabelled.cohort.labels.iter_mut().flatten().for_each(|label| *label = None);
        let error = steps(3).fit(&unlabelled).unwrap_err();
        assert_eq!(error.to_string(), "no case has a label of any task; a search needs annotated cases");
    }
}
