//! Classifiers over features that somebody else computed: the heads of encoders that stand still.
//!
//! Features are standardised and, if asked for, reduced to the directions in which the training cases vary most; a classifier of this crate
//! learns from them, for each image, and for all images and the record. Which of several candidates is kept is chosen on validation
//! cases, or on folds of the training cases that keep groups together. Nothing is fitted on a case that is not a training case.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Element, Graph, Value};
use dermafuse_schema::{AnswerBasis, Cohort, Predictions, SettingFault, TaskSet};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::classifier::ClassifierParams;
use crate::cluster::{ClassifierCluster, ClusterParams};
use crate::error::{EnsembleError, Result};
use crate::folds::stratified_by_class;
#[cfg(feature = "onnx")]
use crate::graph_terms::{constant, table};
use crate::objective::Objective;
use crate::principal_components::principal_components;
use crate::svm::ClassWeights;

/// The least that a probability counts as, so that its logarithm is finite.
const LEAST: f64 = 1e-7;
/// Folds of the training cases in which candidates are compared where no case validates.
const FOLDS: usize = 5;
/// A column that varies by less is constant.
const CONSTANT: f64 = 1e-12;

/// How heads are fitted.
///
/// ```
/// use dermafuse_ensemble::{ClassifierParams, HeadSettings, LogisticParams};
///
/// let candidate = |c| ClassifierParams::Logistic(LogisticParams { c, ..LogisticParams::default() });
/// let settings = HeadSettings::of(vec![candidate(0.001), candidate(0.01)]);
/// settings.check()?;
/// assert!(HeadSettings::of(vec![]).check().unwrap_err().to_string().contains("candidates"));
/// # Ok::<(), dermafuse_ensemble::EnsembleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSettings {
    /// Classifiers to try for each head, with their parameters; the one that does best on the validation cases is kept, the first of
    /// equals. Without validation cases it is the one that does best in five folds of the training cases, which keep patients together.
    pub candidates: Vec<ClassifierParams>,
    /// How many directions are left of each image's features: those in which the training cases vary most. Without it all
    /// features are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<usize>,
    /// What the candidates are compared by.
    #[serde(default, skip_serializing_if = "Objective::is_default")]
    pub objective: Objective,
    /// Whether heads learn from every view of an image, each as a case; else from the image as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub views: bool,
}

/// What a head sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadInputs {
    /// The branch that it answers.
    pub branch: String,
    /// The images whose features it sees, by name.
    pub images: Vec<String>,
    /// Whether it sees the record.
    pub record: bool,
}

/// The features of one kind of image of `N` cases.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFeatures {
    /// The kind of image, by name.
    pub image: String,
    /// `[N]` whether the case has such an image; the features of others mean nothing.
    pub available: Vec<bool>,
    /// `[N, D]` features of each view, the untransformed image first.
    pub views: Vec<Array2<f32>>,
}

/// Cases that heads are fitted on, or that choose between them.
#[derive(Clone, Copy, Debug)]
pub struct HeadCases<'a> {
    /// What is true of them, with their record.
    pub cohort: &'a Cohort,
    /// Their features, of each kind of image.
    pub images: &'a [ImageFeatures],
}

/// Fitted heads; made by [`HeadSettings::fit`].
///
/// Stored as JSON with serde_json's `float_roundtrip` they give bit-equal answers when read back; what is read is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredHeads")]
pub struct FeatureHeads {
    images: Vec<ImageScale>,
    /// Of the record, if any head sees it.
    record: Option<Scale>,
    heads: Vec<FeatureHead>,
}

/// How the features of a kind of image become what heads see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageScale {
    image: String,
    scale: Scale,
    /// `[P, D]` directions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directions: Option<Array2<f64>>,
}

/// Means and deviations of columns over the training cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    means: Array1<f64>,
    deviations: Array1<f64>,
}

/// A head: one classifier for each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureHead {
    /// What it sees.
    pub inputs: HeadInputs,
    /// Its classifiers.
    pub cluster: ClassifierCluster,
    /// What was tried and how well it did by the objective, in order; none where there was one candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<TriedCandidate>,
}

/// A candidate that was tried for a head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriedCandidate {
    /// The classifier with its parameters.
    pub params: ClassifierParams,
    /// How well it did, higher is better; `None` where no case that compares has a label.
    pub score: Option<f64>,
}

/// [`FeatureHeads`] as they were stored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHeads {
    images: Vec<ImageScale>,
    record: Option<Scale>,
    heads: Vec<FeatureHead>,
}

impl TryFrom<StoredHeads> for FeatureHeads {
    type Error = EnsembleError;

    fn try_from(stored: StoredHeads) -> Result<Self> {
        let StoredHeads { images, record, heads } = stored;
        Self { images, record, heads }.checked()
    }
}

impl Scale {
    fn fit(rows: ArrayView2<'_, f64>) -> Self {
        let count = rows.nrows().max(1) as f64;
        let means = rows.sum_axis(Axis(0)) / count;
        let deviations = rows.columns().into_iter().zip(&means).map(|(column, mean)| {
            let deviation = (column.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            if deviation > CONSTANT { deviation } else { 1.0 }
        });
        let deviations = deviations.collect();
        Self { means, deviations }
    }

    fn apply(&self, row: impl Iterator<Item = f64>) -> Array1<f64> {
        let scales = self.means.iter().zip(&self.deviations);
        row.zip(scales).map(|(value, (mean, deviation))| (value - mean) / deviation).collect()
    }

    fn is_one(&self) -> bool {
        self.means.len() == self.deviations.len()
            && self.means.iter().all(|mean| mean.is_finite())
            && self.deviations.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0)
    }
}

impl ImageScale {
    fn fit(image: &str, rows: ArrayView2<'_, f64>, components: Option<usize>) -> Self {
        let scale = Scale::fit(rows);
        let directions = components.map(|components| {
            let mut scaled = Array2::zeros(rows.raw_dim());
            for (mut to, row) in scaled.rows_mut().into_iter().zip(rows.rows()) {
                to.assign(&scale.apply(row.iter().copied()));
            }
            // Six digits say a direction well enough, and a model's file is half as long.
            principal_components(scaled.view(), components).mapv(|part| (part * 1e6).round() / 1e6)
        });
        Self { image: image.to_owned(), scale, directions }
    }

    /// Number of features of an image.
    fn width(&self) -> usize {
        self.scale.means.len()
    }

    /// Number of columns that heads see.
    fn columns(&self) -> usize {
        self.directions.as_ref().map_or(self.width(), Array2::nrows)
    }

    /// What heads see of an image: each row by itself, so that no other case changes a bit of it.
    fn apply(&self, features: ArrayView1<'_, f32>) -> Array1<f64> {
        let scaled = self.scale.apply(features.iter().map(|&value| f64::from(value)));
        match &self.directions {
            None => scaled,
            Some(directions) => directions.rows().into_iter().map(|direction| direction.dot(&scaled)).collect(),
        }
    }
}

impl HeadCases<'_> {
    fn rows_with(&self, inputs: &HeadInputs) -> Vec<usize> {
        let sees = |image: &&ImageFeatures| inputs.images.contains(&image.image);
        let has_all = |row: &usize| self.images.iter().filter(sees).all(|image| image.available[*row]);
        (0..self.cohort.len()).filter(has_all).collect()
    }

    fn of(&self, image: &str) -> Result<&ImageFeatures> {
        self.images.iter().find(|features| features.image == image).ok_or_else(|| EnsembleError::Stored {
            what: "set of features",
            why: format!("it has none of the image `{image}`"),
        })
    }
}

impl HeadSettings {
    /// Features as they are, the image as it is, compared by the likelihood of the validation cases with every class counted alike.
    #[must_use]
    pub fn of(candidates: Vec<ClassifierParams>) -> Self {
        Self { candidates, components: None, objective: Objective::BalancedLogLoss, views: false }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// No candidate, or one with a parameter out of range; no components.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        let fit = "a list of one or more classifiers";
        SettingFault::unless(!self.candidates.is_empty(), "candidates", fit, "none")?;
        SettingFault::unless(self.components != Some(0), "components", "at least 1, or left out", 0)?;
        let mut candidates = self.candidates.iter().enumerate();
        candidates.try_for_each(|(at, candidate)| candidate.check().map_err(|fault| fault.in_list("candidates", at)))
    }

    /// The same with `seed` added to those of the candidates.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        for candidate in &mut self.candidates {
            match candidate {
                ClassifierParams::Svm(params) => params.seed = params.seed.wrapping_add(seed),
                ClassifierParams::Mlp(params) => params.seed = params.seed.wrapping_add(seed),
                // Nothing is drawn.
                ClassifierParams::Logistic(_)
                | ClassifierParams::AdaBoost(_)
                | ClassifierParams::GradientBoosting(_) => {}
            }
        }
        self
    }

    /// Fits heads on training cases and chooses between candidates. A head learns from the cases that have all its images.
    ///
    /// # Errors
    /// Settings that [`check`](Self::check) refuses; features of another number of cases than the cohort's, or that are not finite; no
    /// features of an image; and as [`ClusterParams::fit`].
    pub fn fit(
        &self,
        heads: &[HeadInputs],
        tasks: &TaskSet,
        train: HeadCases<'_>,
        valid: HeadCases<'_>,
    ) -> Result<FeatureHeads> {
        self.check().map_err(|fault| fault.under("method.heads"))?;
        let learnt_views = |features: &ImageFeatures| if self.views { features.views.len() } else { 1 };
        let images = train.images.iter().map(|features| {
            let known: Vec<usize> = (0..train.cohort.len()).filter(|&row| features.available[row]).collect();
            let views = features.views.iter().take(learnt_views(features));
            let rows: Vec<Array2<f64>> = views.map(|view| view.select(Axis(0), &known).mapv(f64::from)).collect();
            let views: Vec<ArrayView2<'_, f64>> = rows.iter().map(Array2::view).collect();
            let rows = concatenate(Axis(0), &views).expect("views have features of one length");
            ImageScale::fit(&features.image, rows.view(), self.components)
        });
        let images: Vec<ImageScale> = images.collect();
        let record = heads.iter().any(|head| head.record).then(|| Scale::fit(rounded(train.cohort).view()));
        let scales = FeatureHeads { images, record, heads: Vec::new() };
        let fitted = heads.iter().map(|inputs| {
            let views = match inputs.images.first() {
                Some(image) => learnt_views(train.of(image)?),
                None => 1,
            };
            let trained = scales.seen(inputs, train, views)?;
            let fit_on = |params: &ClassifierParams, cases: &SeenCases| {
                let (records, labels, groups) = cases.stacked();
                ClusterParams { classifier: params.clone() }.fit(records.view(), &labels, tasks, &groups)
            };
            if let [only] = &self.candidates[..] {
                let cluster = fit_on(only, &trained)?;
                return Ok(FeatureHead { inputs: inputs.clone(), cluster, tried: Vec::new() });
            }
            let all_views = valid.images.first().map_or(1, |image| image.views.len());
            let validated = scales.seen(inputs, valid, all_views)?;
            let is_validated = !validated.cohort.is_empty();
            let folds = if is_validated { Vec::new() } else { trained.folds(tasks) };
            let score = |params: &ClassifierParams| -> Result<(Option<f64>, Option<ClassifierCluster>)> {
                if is_validated {
                    let cluster = fit_on(params, &trained)?;
                    return Ok((self.objective.score(&validated.predictions(tasks, &cluster)?)?, Some(cluster)));
                }
                let parts = folds.iter().map(|(learn, answer)| {
                    let cluster = fit_on(params, &trained.select(learn))?;
                    trained.select(answer).predictions(tasks, &cluster)
                });
                let parts: Vec<Predictions> = parts.collect::<Result<_>>()?;
                Ok((self.objective.score(&Predictions::concatenate(parts)?)?, None))
            };
            let tried = self.candidates.par_iter().map(score).collect::<Result<Vec<_>>>()?;
            let value = |at: usize| tried[at].0.unwrap_or(f64::NEG_INFINITY);
            let best = (1..tried.len()).fold(0, |best, at| if value(at) > value(best) { at } else { best });
            let scores: Vec<Option<f64>> = tried.iter().map(|(score, _)| *score).collect();
            let cluster = match tried.into_iter().nth(best).and_then(|(_, cluster)| cluster) {
                Some(cluster) => cluster,
                None => fit_on(&self.candidates[best], &trained)?,
            };
            let tried = self.candidates.iter().zip(scores);
            let tried = tried.map(|(params, score)| TriedCandidate { params: params.clone(), score }).collect();
            Ok(FeatureHead { inputs: inputs.clone(), cluster, tried })
        });
        let heads = fitted.collect::<Result<Vec<_>>>()?;
        FeatureHeads { heads, ..scales }.checked()
    }
}

/// The record of cases as networks see it, in 32 bits.
fn rounded(cohort: &Cohort) -> Array2<f64> {
    cohort.metadata.mapv(|value| f64::from(value as f32))
}

/// What a head sees of cases that have all its images.
struct SeenCases {
    cohort: Cohort,
    /// `[N, F]` of each view.
    views: Vec<Array2<f64>>,
}

impl SeenCases {
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            cohort: self.cohort.select(rows),
            views: self.views.iter().map(|view| view.select(Axis(0), rows)).collect(),
        }
    }

    /// All views one below the other, with the labels and groups of each.
    fn stacked(&self) -> (Array2<f64>, Vec<Vec<Option<usize>>>, Vec<String>) {
        let views: Vec<ArrayView2<'_, f64>> = self.views.iter().map(Array2::view).collect();
        let records = concatenate(Axis(0), &views).expect("views have records of one length");
        let (labels, groups) = (&self.cohort.labels, &self.cohort.groups);
        let each = || 0..self.views.len();
        let labels = each().flat_map(|_| labels.iter().cloned()).collect();
        (records, labels, each().flat_map(|_| groups.iter().cloned()).collect())
    }

    /// Rows to learn from and rows to answer, of each fold.
    fn folds(&self, tasks: &TaskSet) -> Vec<(Vec<usize>, Vec<usize>)> {
        // A case without a label counts as one of a class of its own.
        let classes = tasks[0].classes.len();
        let labels: Vec<usize> = self.cohort.labels.iter().map(|labels| labels[0].unwrap_or(classes)).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let fold_of = stratified_by_class(&labels, classes + 1, &self.cohort.groups, FOLDS, &mut rng);
        let parts = (0..FOLDS).map(|fold| (0..labels.len()).partition(|&row| fold_of[row] != fold));
        parts.filter(|(_, answer): &(Vec<usize>, Vec<usize>)| !answer.is_empty()).collect()
    }

    /// The mean of the probabilities of all views.
    fn predictions(&self, tasks: &TaskSet, cluster: &ClassifierCluster) -> Result<Predictions> {
        let mut probabilities: Vec<Array2<f64>> =
            tasks.iter().map(|task| Array2::zeros((self.cohort.len(), task.classes.len()))).collect();
        for view in &self.views {
            let of_view = cluster.predict(view.view())?;
            probabilities.iter_mut().zip(of_view).for_each(|(sum, part)| *sum += &part);
        }
        probabilities.iter_mut().for_each(|sum| *sum /= self.views.len() as f64);
        Ok(Predictions {
            tasks: tasks.clone(),
            ids: self.cohort.ids.clone(),
            labels: self.cohort.labels.clone(),
            probabilities,
            basis: vec![AnswerBasis::default(); self.cohort.len()],
        })
    }
}

impl FeatureHeads {
    /// The heads, in the order of their branches.
    #[must_use]
    pub fn heads(&self) -> &[FeatureHead] {
        &self.heads
    }

    /// The images whose features are seen, by name, and the number of features of each, in the order in which they stand side by side.
    pub fn images(&self) -> impl Iterator<Item = (&str, usize)> {
        self.images.iter().map(|image| (image.image.as_str(), image.width()))
    }

    /// Columns of the record that any head sees; 0 where none does.
    #[must_use]
    pub fn record_columns(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.means.len())
    }

    /// The tasks that are answered.
    #[must_use]
    pub fn tasks(&self) -> &TaskSet {
        self.heads[0].cluster.tasks()
    }

    /// Whether every head learnt with classes that weigh the same however frequent they are, so that its probabilities stand on classes
    /// that are equally frequent. Sigmoids of support vector machines are fitted to frequencies as they are.
    #[must_use]
    pub fn are_balanced(&self) -> bool {
        self.heads.iter().all(|head| match &head.cluster.report().params.classifier {
            ClassifierParams::Logistic(params) => params.class_weights == ClassWeights::Balanced,
            ClassifierParams::GradientBoosting(params) => params.class_weights == ClassWeights::Balanced,
            _ => false,
        })
    }

    /// What a reader of the predictions should know: what was chosen for each head, and classes that no case had.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for head in &self.heads {
            let branch = &head.inputs.branch;
            if !head.tried.is_empty() {
                let params = &head.cluster.report().params.classifier;
                let of = head.tried.iter().position(|tried| tried.params == *params).map_or(0, |at| at + 1);
                let (kind, count) = (params.kind(), head.tried.len());
                notes
                    .push(format!("head `{branch}`: candidate {of} of {count} was chosen, {kind}{}", strength(params)));
            }
        }
        if let Some(last) = self.heads.last() {
            notes.extend(last.cluster.notes().into_iter().map(|note| note.replacen("second stage", "heads", 1)));
        }
        notes
    }

    /// Log-probabilities of cases, for each head and task.
    ///
    /// Each case is answered by itself: others change no bit of its numbers.
    ///
    /// # Shapes
    /// `features` `[N, ΣD]`, the features of all [`images`](Self::images) side by side, and the encoded record `[N, M]` → `[N, K_t]`.
    ///
    /// # Errors
    /// Features or a record of another width, no record where a head sees one, a number that is not finite.
    pub fn logits(
        &self,
        features: ArrayView2<'_, f32>,
        record: Option<ArrayView2<'_, f32>>,
    ) -> Result<Vec<Vec<Array2<f32>>>> {
        let width: usize = self.images.iter().map(ImageScale::width).sum();
        if features.ncols() != width {
            return Err(EnsembleError::Stored {
                what: "set of heads",
                why: format!("it is of {width} features, and there are {}", features.ncols()),
            });
        }
        let mut start = 0;
        let images = self.images.iter().map(|image| {
            let own = features.slice_axis(Axis(1), (start..start + image.width()).into());
            start += image.width();
            let mut seen = Array2::zeros((own.nrows(), image.columns()));
            for (mut to, row) in seen.rows_mut().into_iter().zip(own.rows()) {
                to.assign(&image.apply(row));
            }
            (image.image.as_str(), seen)
        });
        let images: Vec<(&str, Array2<f64>)> = images.collect();
        let record = match &self.record {
            None => None,
            Some(scale) => {
                let found = record.map_or(0, |record| record.ncols());
                let record = record.filter(|record| record.ncols() == scale.means.len());
                let record = record.ok_or_else(|| EnsembleError::Stored {
                    what: "set of heads",
                    why: format!("it sees a record of {} columns, and there are {found}", scale.means.len()),
                })?;
                let mut seen = Array2::zeros(record.raw_dim());
                for (mut to, row) in seen.rows_mut().into_iter().zip(record.rows()) {
                    to.assign(&scale.apply(row.iter().map(|&value| f64::from(value))));
                }
                Some(seen)
            }
        };
        let log = |table: Array2<f64>| table.mapv(|p| p.max(LEAST).ln() as f32);
        let of_head = |head: &FeatureHead| {
            let parts = images.iter().filter(|(image, _)| head.inputs.images.iter().any(|own| own == image));
            let mut parts: Vec<ArrayView2<'_, f64>> = parts.map(|(_, seen)| seen.view()).collect();
            parts.extend(record.as_ref().filter(|_| head.inputs.record).map(Array2::view));
            let records = concatenate(Axis(1), &parts).expect("all are of the same cases");
            Ok(head.cluster.predict(records.view())?.into_iter().map(log).collect())
        };
        self.heads.iter().map(of_head).collect()
    }

    /// What a head sees of those of the cases that have all its images, in as many views.
    fn seen(&self, inputs: &HeadInputs, cases: HeadCases<'_>, views: usize) -> Result<SeenCases> {
        for features in cases.images {
            let rows = features.views.iter().map(Array2::nrows).chain([features.available.len()]);
            for found in rows {
                if found != cases.cohort.len() {
                    let what = format!("features of the {} images", features.image);
                    return Err(EnsembleError::Stored {
                        what: "set of features",
                        why: format!("{what} are of {found} cases, not of {}", cases.cohort.len()),
                    });
                }
            }
        }
        let rows = cases.rows_with(inputs);
        let cohort = cases.cohort.select(&rows);
        let record = self.record.as_ref().filter(|_| inputs.record).map(|scale| (scale, rounded(&cohort)));
        let of_view = |view: usize| {
            let mut parts = Vec::new();
            for image in self.images.iter().filter(|image| inputs.images.contains(&image.image)) {
                let features = &cases.of(&image.image)?.views;
                let features = &features[view.min(features.len() - 1)];
                let seen: Vec<Array1<f64>> = rows.par_iter().map(|&row| image.apply(features.row(row))).collect();
                let mut part = Array2::zeros((rows.len(), image.columns()));
                part.rows_mut().into_iter().zip(seen).for_each(|(mut to, row)| to.assign(&row));
                parts.push(part);
            }
            if let Some((scale, record)) = &record {
                let mut part = Array2::zeros(record.raw_dim());
                for (mut to, row) in part.rows_mut().into_iter().zip(record.rows()) {
                    to.assign(&scale.apply(row.iter().copied()));
                }
                parts.push(part);
            }
            let parts: Vec<ArrayView2<'_, f64>> = parts.iter().map(Array2::view).collect();
            Ok(concatenate(Axis(1), &parts).expect("all are of the same cases"))
        };
        Ok(SeenCases { cohort, views: (0..views).map(of_view).collect::<Result<_>>()? })
    }

    /// Adds the heads to a graph: `features` `[N, ΣD]` and the encoded record `[N, M]` become the logits `[N, K_t]` of each head and
    /// task, as by [`logits`](Self::logits).
    ///
    /// # Panics
    /// If a head sees the record, and there is none.
    #[cfg(feature = "onnx")]
    pub fn add_to(&self, graph: &mut Graph, features: Value, record: Option<Value>) -> Vec<(String, Vec<Value>)> {
        let features = graph.cast(features, Element::F64);
        let mut start = 0;
        let mut images = Vec::with_capacity(self.images.len());
        for image in &self.images {
            let own = graph.slice(features, 1, start..start + image.width());
            start += image.width();
            let mut seen = image.scale.add_to(graph, own);
            if let Some(directions) = &image.directions {
                let directions = table(graph, &directions.t().as_standard_layout().into_owned());
                seen = graph.matmul(seen, directions);
            }
            images.push((image.image.as_str(), seen));
        }
        let record = self.record.as_ref().map(|scale| {
            let record = graph.cast(record.expect("heads that see the record are given it"), Element::F64);
            scale.add_to(graph, record)
        });
        let mut all = Vec::with_capacity(self.heads.len());
        for head in &self.heads {
            let own = images.iter().filter(|(image, _)| head.inputs.images.iter().any(|own| own == image));
            let parts: Vec<Value> = own.map(|(_, seen)| *seen).chain(record.filter(|_| head.inputs.record)).collect();
            let records = if let [only] = parts[..] { only } else { graph.concat(&parts, 1) };
            let mut logits = Vec::new();
            for classifier in head.cluster.classifiers() {
                let probabilities = classifier.inner().add_to(graph, records);
                let probabilities = graph.clip(probabilities, Some(LEAST), None);
                let log = graph.unary("Log", probabilities);
                logits.push(graph.cast(log, Element::F32));
            }
            all.push((head.inputs.branch.clone(), logits));
        }
        all
    }

    /// The heads, if their parts fit together.
    fn checked(self) -> Result<Self> {
        let fail = |why: String| Err(EnsembleError::Stored { what: "set of heads", why });
        let Self { images, record, heads } = &self;
        for (at, image) in images.iter().enumerate() {
            let name = &image.image;
            if images[..at].iter().any(|other| other.image == *name) {
                return fail(format!("it has features of the {name} images twice"));
            }
            let directions = image.directions.as_ref();
            let is_of_width =
                |table: &Array2<f64>| table.ncols() == image.width() && table.iter().all(|value| value.is_finite());
            if !image.scale.is_one() || !directions.is_none_or(is_of_width) {
                return fail(format!("what is done to the features of the {name} images is damaged"));
            }
        }
        if record.as_ref().is_some_and(|scale| !scale.is_one()) {
            return fail("what is done to the record is damaged".into());
        }
        if heads.is_empty() {
            return fail("it has no head".into());
        }
        for (at, head) in heads.iter().enumerate() {
            let HeadInputs { branch, images: seen, record: sees_record } = &head.inputs;
            if heads[..at].iter().any(|other| other.inputs.branch == *branch) {
                return fail(format!("it has the head `{branch}` twice"));
            }
            if head.cluster.tasks() != heads[0].cluster.tasks() {
                return fail(format!("its head `{branch}` answers other tasks"));
            }
            let known = images.iter().filter(|image| seen.contains(&image.image));
            let columns: usize = known.clone().map(ImageScale::columns).sum();
            let columns = columns + if *sees_record { self.record_columns() } else { 0 };
            let has_record = !*sees_record || record.is_some();
            let sees_something = *sees_record || !seen.is_empty();
            let is_known = known.count() == seen.len() && has_record && sees_something;
            if !is_known || head.cluster.features() != columns {
                return fail(format!("its head `{branch}` sees other features"));
            }
        }
        Ok(self)
    }
}

#[cfg(feature = "onnx")]
impl Scale {
    fn add_to(&self, graph: &mut Graph, rows: Value) -> Value {
        let row = |numbers: &Array1<f64>| numbers.to_vec();
        let means = constant(graph, &row(&self.means), &[1, self.means.len()]);
        let deviations = constant(graph, &row(&self.deviations), &[1, self.deviations.len()]);
        let centred = graph.subtract(rows, means);
        graph.divide(centred, deviations)
    }
}

/// The parameter that says how freely a classifier may follow the training cases.
fn strength(params: &ClassifierParams) -> String {
    match params {
        ClassifierParams::Svm(params) => format!(" with C = {}", params.c),
        ClassifierParams::Logistic(params) => format!(" with C = {}", params.c),
        ClassifierParams::Mlp(params) => format!(" with α = {}", params.alpha),
        ClassifierParams::GradientBoosting(params) => format!(" of {} steps", params.steps),
        ClassifierParams::AdaBoost(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClassifierKind, LogisticParams};
    use dermafuse_schema::Task;

    fn tasks() -> TaskSet {
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap()
    }

    /// A feature of four tells the class, the others do not; every fifth case lacks the dermoscopic image.
    fn cases(count: usize, from: usize) -> (Cohort, Vec<ImageFeatures>) {
        let label = |n: usize| n % 2;
        let cohort = Cohort {
            ids: (from..from + count).map(|n| n.to_string().into()).collect(),
            groups: (from..from + count).map(|n| format!("patient {}", n / 3)).collect(),
            labels: (from..from + count).map(|n| vec![Some(label(n))]).collect(),
            metadata: Array2::from_shape_fn((count, 2), |(n, column)| ((n + from) * (column + 3) % 7) as f64),
            has_metadata: vec![true; count],
        };
        let noise = |n: usize, column: usize, view: usize| ((n * 37 + column * 11 + view) as f64 * 1.3).sin();
        let features = |image: &str, place: usize| ImageFeatures {
            image: image.into(),
            available: (from..from + count).map(|n| place == 0 || n % 5 != 0).collect(),
            views: (0..2)
                .map(|view| {
                    Array2::from_shape_fn((count, 4), |(row, column)| {
                        let n = row + from;
                        let told = if column == place { 2.5 * label(n) as f64 } else { 0.0 };
                        (told + noise(n, column + 4 * place, view)) as f32
                    })
                })
                .collect(),
        };
        (cohort, vec![features("clinical", 0), features("dermoscopic", 1)])
    }

    fn inputs() -> Vec<HeadInputs> {
        let head = |branch: &str, images: &[&str], record| HeadInputs {
            branch: branch.into(),
            images: images.iter().map(|&image| image.to_owned()).collect(),
            record,
        };
        vec![
            head("clinical", &["clinical"], false),
            head("dermoscopic", &["dermoscopic"], false),
            head("fusion", &["clinical", "dermoscopic"], true),
        ]
    }

    fn logistic(c: f64) -> ClassifierParams {
        ClassifierParams::Logistic(LogisticParams { c, ..LogisticParams::default() })
    }

    fn side_by_side(images: &[ImageFeatures], view: usize) -> Array2<f32> {
        let parts: Vec<ArrayView2<'_, f32>> = images.iter().map(|image| image.views[view].view()).collect();
        concatenate(Axis(1), &parts).unwrap()
    }

    fn fit(settings: &HeadSettings) -> FeatureHeads {
        let (train, valid) = (cases(60, 0), cases(24, 60));
        let of = |cases: &'static (Cohort, Vec<ImageFeatures>)| HeadCases { cohort: &cases.0, images: &cases.1 };
        settings.fit(&inputs(), &tasks(), of(Box::leak(Box::new(train))), of(Box::leak(Box::new(valid)))).unwrap()
    }

    #[test]
    fn every_classifier_learns_from_features_and_answers_each_case_by_itself() {
        let (test, images) = cases(30, 200);
        let record = test.metadata.mapv(|value| value as f32);
        let features = side_by_side(&images, 0);
        for kind in ClassifierKind::ALL {
            for components in [None, Some(3)] {
                let settings = HeadSettings { components, ..HeadSettings::of(vec![ClassifierParams::new(kind, 1)]) };
                let heads = fit(&settings);
                let logits = heads.logits(features.view(), Some(record.view())).unwrap();
                assert_eq!(logits.len(), 3);
                for (head, logits) in heads.heads().iter().zip(&logits) {
                    let right = (0..30).filter(|&row| {
                        usize::from(logits[0][[row, 1]] > logits[0][[row, 0]]) == test.labels[row][0].unwrap()
                    });
                    assert!(right.count() >= 22, "{kind}, {components:?}: {}", head.inputs.branch);
                }
                let alone = heads
                    .logits(
                        features.slice_axis(Axis(0), (4..5).into()),
                        Some(record.slice_axis(Axis(0), (4..5).into())),
                    )
                    .unwrap();
                let of_row =
                    |table: &Array2<f32>, row: usize| table.row(row).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                for (alone, all) in alone.iter().zip(&logits) {
                    assert_eq!(of_row(&alone[0], 0), of_row(&all[0], 4), "{kind}");
                }
                let written = serde_json::to_string(&heads).unwrap();
                assert_eq!(serde_json::from_str::<FeatureHeads>(&written).unwrap(), heads, "{kind}");
            }
        }
    }

    #[test]
    fn nothing_is_fitted_on_cases_that_choose() {
        let settings = HeadSettings { components: Some(3), ..HeadSettings::of(vec![logistic(0.001), logistic(1.0)]) };
        let heads = fit(&settings);
        assert!(heads.notes()[0].starts_with("head `clinical`: candidate "), "{:?}", heads.notes());
        assert!(heads.heads().iter().all(|head| head.tried.len() == 2 && head.tried[0].score.is_some()));
        // Other validation cases with the same choice leave every number as it is.
        let (train, valid) = (cases(60, 0), cases(24, 60));
        let (mut cohort, mut images) = valid.clone();
        cohort.metadata.mapv_inplace(|value| value + 1.0);
        images.iter_mut().for_each(|image| image.views.iter_mut().for_each(|view| *view *= 1.01));
        let again = settings.fit(
            &inputs(),
            &tasks(),
            HeadCases { cohort: &train.0, images: &train.1 },
            HeadCases { cohort: &cohort, images: &images },
        );
        let again = again.unwrap();
        assert_eq!((&again.images, &again.record), (&heads.images, &heads.record));
        for (again, head) in again.heads().iter().zip(heads.heads()) {
            assert_eq!(again.cluster, head.cluster);
        }
        // Without validation cases folds of the training cases choose, and the choice is fitted on all of them.
        let nobody: Vec<ImageFeatures> = valid
            .1
            .iter()
            .map(|image| ImageFeatures {
                image: image.image.clone(),
                available: vec![],
                views: image.views.iter().map(|view| view.slice_axis(Axis(0), (..0).into()).to_owned()).collect(),
            })
            .collect();
        let folds = settings
            .fit(
                &inputs(),
                &tasks(),
                HeadCases { cohort: &train.0, images: &train.1 },
                HeadCases { cohort: &valid.0.select(&[]), images: &nobody },
            )
            .unwrap();
        assert!(folds.heads().iter().all(|head| head.tried.iter().all(|tried| tried.score.is_some())));
        assert_eq!(folds.heads()[0].cluster.report().tasks[0].records, 60);
        assert_eq!(folds.heads()[1].cluster.report().tasks[0].records, 48);
    }

    #[test]
    fn every_view_can_be_learnt_from() {
        let settings = HeadSettings { views: true, ..HeadSettings::of(vec![logistic(0.1)]) };
        assert_eq!(fit(&settings).heads()[0].cluster.report().tasks[0].records, 120);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let heads = fit(&HeadSettings::of(vec![logistic(0.1)]));
        let (test, images) = cases(3, 200);
        let record = test.metadata.mapv(|value| value as f32);
        let features = side_by_side(&images, 0);
        let narrow =
            heads.logits(features.slice_axis(Axis(1), (1..).into()), Some(record.view())).unwrap_err().to_string();
        assert!(narrow.contains("it is of 8 features, and there are 7"), "{narrow}");
        let nothing = heads.logits(features.view(), None).unwrap_err().to_string();
        assert!(nothing.contains("it sees a record of 2 columns, and there are 0"), "{nothing}");
        let mut damaged = features.clone();
        damaged[[1, 2]] = f32::NAN;
        assert!(heads.logits(damaged.view(), Some(record.view())).is_err());
        let stored = serde_json::to_value(&heads).unwrap();
        for (place, value, why) in [
            ("/images/0/scale/deviations/data/1", serde_json::json!(0.0), "is damaged"),
            ("/heads/1/inputs/branch", serde_json::json!("clinical"), "twice"),
            ("/heads/2/inputs/record", serde_json::json!(false), "sees other features"),
            ("/heads", serde_json::json!([]), "no head"),
        ] {
            let mut changed = stored.clone();
            *changed.pointer_mut(place).unwrap() = value;
            let error = serde_json::from_value::<FeatureHeads>(changed).unwrap_err().to_string();
            assert!(error.contains(why), "{place}: {error}");
        }
    }
}
