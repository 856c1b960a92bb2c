//! One classifier for each task, all on the same records: the paper's SVM cluster.

use dermafuse_schema::{Cohort, Predictions, SchemaError, TaskSet};
use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibration_note::CalibrationNote;
use crate::classifier::{Classifier, ClassifierKind, ClassifierParams, TaskRecords};
use crate::error::{EnsembleError, Result};
use crate::folds::{members, stratified_by_class};
use crate::records::{metadata_records, records};
use crate::training::{check_finite, check_rows, check_width};

/// Version of the stored form of a [`ClassifierCluster`].
const FORMAT: u32 = 1;

/// Parameters of a [`ClassifierCluster`]: those of the classifier that each task gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterParams {
    /// The classifier of each task.
    pub classifier: ClassifierParams,
}

impl ClusterParams {
    /// Fits one classifier for each task on the records that are labelled for it.
    ///
    /// `groups` (patients or lesions) are kept together where a classifier divides the records.
    ///
    /// # Shapes
    /// `records` `[N, F]`, `labels` `[N][T]`, `groups` `[N]`.
    ///
    /// # Errors
    /// Columns of different length, a feature that is not finite, a label out of range, a task with fewer than two
    /// labelled records, parameters out of range.
    pub fn fit(
        &self,
        records: ArrayView2<'_, f64>,
        labels: &[Vec<Option<usize>>],
        tasks: &TaskSet,
        groups: &[String],
    ) -> Result<ClassifierCluster> {
        check_rows("labels", records.nrows(), labels.len())?;
        check_rows("groups", records.nrows(), groups.len())?;
        check_finite(records)?;
        for (row, labels) in labels.iter().enumerate() {
            check_rows(&format!("labels of record {row} (as in the tasks)"), tasks.len(), labels.len())?;
            for (task, &label) in tasks.iter().zip(labels) {
                if let Some(label) = label.filter(|label| *label >= task.classes.len()) {
                    return Err(EnsembleError::Label { row, label, classes: task.classes.len() });
                }
            }
        }
        let fit = |task: usize| -> Result<(Classifier, TaskFit)> {
            let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row][task].is_some()).collect();
            if rows.len() < 2 {
                let task = format!("task `{}`", tasks[task].name);
                return Err(EnsembleError::TooFewRecords { task, found: rows.len() });
            }
            let targets: Vec<usize> = rows.iter().filter_map(|&row| labels[row][task]).collect();
            let groups: Vec<String> = rows.iter().map(|&row| groups[row].clone()).collect();
            let records = records.select(Axis(0), &rows);
            let classes = &tasks[task].classes;
            let (labels, groups) = (&targets[..], &groups[..]);
            let task_records = TaskRecords { records: records.view(), labels, classes: classes.len(), groups };
            let classifier = self.classifier.fit(task_records)?;
            let present = classifier.present();
            let absent = (0..classes.len()).filter(|class| !present.contains(class));
            let task_fit = TaskFit {
                task: tasks[task].name.clone(),
                records: rows.len(),
                absent: absent.map(|class| classes[class].clone()).collect(),
                constant: (present.len() == 1).then(|| classes[present[0]].clone()),
                support_vectors: classifier.inner().support_vectors(),
                calibration: classifier.inner().calibration(classes),
            };
            Ok((classifier, task_fit))
        };
        let fitted = (0..tasks.len()).into_par_iter().map(fit).collect::<Result<Vec<_>>>()?;
        let (classifiers, fits) = fitted.into_iter().unzip();
        ClassifierCluster {
            format: FORMAT,
            tasks: tasks.clone(),
            features: records.ncols(),
            classifiers,
            report: ClusterReport { params: self.clone(), tasks: fits },
        }
        .checked()
    }
}

/// What happened while a [`ClassifierCluster`] was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// The parameters, seed and calibration among them.
    pub params: ClusterParams,
    /// One entry for each task.
    pub tasks: Vec<TaskFit>,
}

/// What happened while the classifier of one task was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskFit {
    /// Name of the task.
    pub task: String,
    /// Records that are labelled for it.
    pub records: usize,
    /// Names of the classes without a record: their probability is always 0.
    pub absent: Vec<String>,
    /// The only class there was, if the classifier is constant.
    pub constant: Option<String>,
    /// Records that are a support vector, if the classifier is a support vector machine.
    pub support_vectors: Option<usize>,
    /// Classes whose probabilities could not be calibrated as was asked. Empty in files of versions that did not say.
    #[serde(default)]
    pub calibration: Vec<CalibrationNote>,
}

impl TaskFit {
    /// What a reader of the predictions should know, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let absent =
            self.absent.iter().map(|class| format!("class `{class}` has no record: its probability is always 0"));
        let constant = self.constant.iter().map(|class| format!("all records are of class `{class}`"));
        let calibration = self.calibration.iter().map(ToString::to_string);
        let sentences = absent.chain(constant).chain(calibration);
        sentences.map(|sentence| format!("second stage, task `{}`: {sentence}", self.task)).collect()
    }
}

/// One fitted classifier for each task.
///
/// Stored as JSON with serde_json's `float_roundtrip` it gives bit-equal probabilities when read back; what is read is
/// checked, and a format of another version is refused.
///
/// ```
/// # use dermafuse_ensemble::{ClassifierCluster, ClassifierKind};
/// # use dermafuse_schema::{Task, TaskSet, ndarray::Array2};
/// # let records = Array2::from_shape_fn((40, 2), |(n, f)| (n % 2) as f64 * 3.0 + (n * (f + 3) % 7) as f64 / 7.0);
/// # let patients: Vec<String> = (0..40).map(|n| format!("patient {}", n / 2)).collect();
/// let tasks = TaskSet::new(vec![Task::new("streaks", "STR", ["absent", "present"])])?;
/// let labels: Vec<Vec<Option<usize>>> = (0..40).map(|n| vec![(n != 7).then_some(n % 2)]).collect();
///
/// let params = ClassifierCluster::params(ClassifierKind::Svm, 42);
/// let cluster = params.fit(records.view(), &labels, &tasks, &patients)?;
/// assert_eq!(cluster.report().tasks[0].records, 39); // one has no label
/// assert!(cluster.predict(records.view())?[0][[1, 1]] > 0.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredCluster")]
pub struct ClassifierCluster {
    format: u32,
    tasks: TaskSet,
    features: usize,
    classifiers: Vec<Classifier>,
    report: ClusterReport,
}

impl ClassifierCluster {
    /// The paper's parameters for a kind of classifier.
    #[must_use]
    pub fn params(kind: ClassifierKind, seed: u64) -> ClusterParams {
        ClusterParams { classifier: ClassifierParams::new(kind, seed) }
    }

    /// Class probabilities, one `[N, K_t]` array for each task.
    ///
    /// # Errors
    /// Records of another width, or a feature that is not finite.
    pub fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Vec<Array2<f64>>> {
        check_width(records, self.features)?;
        self.classifiers.par_iter().map(|classifier| classifier.predict(records)).collect()
    }

    /// The tasks.
    #[must_use]
    pub fn tasks(&self) -> &TaskSet {
        &self.tasks
    }

    /// Number of features of a record.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The classifiers in the order of the tasks.
    #[must_use]
    pub fn classifiers(&self) -> &[Classifier] {
        &self.classifiers
    }

    /// What happened during the fit.
    #[must_use]
    pub fn report(&self) -> &ClusterReport {
        &self.report
    }

    /// What a reader of the predictions should know of the fit, a sentence each: classes without a record, classes that
    /// could not be calibrated as was asked, and classes that an earlier version of this crate may have turned round.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (task, (fit, classifier)) in self.tasks.iter().zip(self.report.tasks.iter().zip(&self.classifiers)) {
            notes.extend(fit.notes());
            notes.extend(classifier.inner().turned_round().into_iter().map(|(first, second)| {
                format!(
                    "second stage, task `{}`: `{}` against `{}` was calibrated the wrong way round by an earlier \
                     version; fit it again",
                    task.name, task.classes[first], task.classes[second]
                )
            }));
        }
        notes
    }

    /// The cluster, if its parts fit together.
    fn checked(self) -> Result<Self> {
        let Self { format, tasks, features, classifiers, report } = &self;
        let fail = |why: &str| Err(EnsembleError::Stored { what: "cluster", why: why.into() });
        if *format != FORMAT {
            return Err(EnsembleError::Format { expected: FORMAT, found: *format });
        }
        let classes: Vec<usize> = classifiers.iter().map(Classifier::classes).collect();
        if classes != tasks.class_counts() || classifiers.iter().any(|one| one.features() != *features) {
            return fail("its classifiers do not fit its tasks or its number of features");
        }
        if !report.tasks.iter().map(|fit| &fit.task).eq(tasks.iter().map(|task| &task.name)) {
            return fail("its report is of other tasks");
        }
        for (task, (fit, classifier)) in tasks.iter().zip(report.tasks.iter().zip(classifiers)) {
            let absent = (0..task.classes.len()).filter(|class| !classifier.present().contains(class));
            if !fit.absent.iter().eq(absent.map(|class| &task.classes[class])) {
                return fail("its report is of other classes");
            }
        }
        Ok(self)
    }
}

/// A [`ClassifierCluster`] as it was stored, before it is known to be consistent.
#[derive(Deserialize)]
struct StoredCluster {
    format: u32,
    tasks: TaskSet,
    features: usize,
    classifiers: Vec<Classifier>,
    report: ClusterReport,
}

impl TryFrom<StoredCluster> for ClassifierCluster {
    type Error = EnsembleError;

    fn try_from(stored: StoredCluster) -> Result<Self> {
        let StoredCluster { format, tasks, features, classifiers, report } = stored;
        Self { format, tasks, features, classifiers, report }.checked()
    }
}

/// What the classifiers of a second stage see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondStageInputs {
    /// The first stage's probabilities and the metadata: [`records`], `F_comb` of the thesis.
    #[default]
    PredictionsAndMetadata,
    /// The metadata alone, `F_meta` of the thesis. There is no first stage: the classifiers are the answer.
    Metadata,
    /// The metadata alone, beside a first stage that answers from images: `P_3` mixes both. What each knows is its own, so their
    /// product ([`MixSearch::space`](crate::MixSearch::space)) is the mix to try first.
    MetadataBeside,
}

impl SecondStageInputs {
    /// Whether it is what files of versions without a choice mean.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The records of cases, `[N, F]`.
    fn records(self, first_stage: &Predictions, cohort: &Cohort) -> Result<Array2<f64>> {
        match self {
            Self::PredictionsAndMetadata => records(first_stage, cohort),
            Self::Metadata | Self::MetadataBeside => metadata_records(first_stage, cohort),
        }
    }
}

/// The second stage: a cluster that predicts from the first stage's probabilities and the metadata (thesis §6.2.4,
/// Fusion Scheme 2), or from the metadata alone (row M of thesis Table 6.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondStage {
    /// The cluster, fitted on the records that `inputs` says.
    pub cluster: ClassifierCluster,
    /// What the cluster sees.
    #[serde(default, skip_serializing_if = "SecondStageInputs::is_default")]
    pub inputs: SecondStageInputs,
}

impl SecondStage {
    /// Fits a cluster on the cases that have metadata.
    ///
    /// The predictions should come from a network that has not seen these cases: the paper trains a second one on the
    /// first half of the training set and fits the cluster on the other half.
    ///
    /// # Errors
    /// As [`records`] and [`ClusterParams::fit`].
    pub fn fit(params: &ClusterParams, first_stage: &Predictions, cohort: &Cohort) -> Result<Self> {
        Self::fit_to(params, SecondStageInputs::default(), first_stage, cohort)
    }

    /// The same on the metadata alone; `first_stage` says which tasks and cases they are.
    ///
    /// # Errors
    /// As [`SecondStage::fit`].
    pub fn fit_to_metadata(params: &ClusterParams, first_stage: &Predictions, cohort: &Cohort) -> Result<Self> {
        Self::fit_to(params, SecondStageInputs::Metadata, first_stage, cohort)
    }

    /// The same on what `inputs` says.
    ///
    /// # Errors
    /// As [`SecondStage::fit`].
    pub fn fit_to(
        params: &ClusterParams,
        inputs: SecondStageInputs,
        first_stage: &Predictions,
        cohort: &Cohort,
    ) -> Result<Self> {
        cohort.check(&first_stage.tasks)?;
        let rows: Vec<usize> = (0..cohort.len()).filter(|&row| cohort.has_metadata[row]).collect();
        let records = inputs.records(first_stage, cohort)?.select(Axis(0), &rows);
        let known = cohort.select(&rows);
        let cluster = params.fit(records.view(), &known.labels, &first_stage.tasks, &known.groups)?;
        Ok(Self { cluster, inputs })
    }

    /// `P_2` of cases that a stage of the same parameters has not seen: the cases are dealt into folds that keep groups together and share
    /// the first task's classes as equally as these allow, and each fold is answered by a stage that was fitted on the others (stacking;
    /// Wolpert, Neural Networks 5, 1992). A weight between stages, a calibration or an operating point that is chosen on these answers does
    /// not mistake what was learnt by heart for what is known.
    ///
    /// # Errors
    /// As [`SecondStage::fit`] and [`SecondStage::apply`]; fewer than two folds or more than groups.
    pub fn out_of_fold(
        params: &ClusterParams,
        inputs: SecondStageInputs,
        first_stage: &Predictions,
        cohort: &Cohort,
        folds: usize,
        seed: u64,
    ) -> Result<Predictions> {
        cohort.check(&first_stage.tasks)?;
        let groups = members(&cohort.groups).len();
        if !(2..=groups).contains(&folds) {
            let (parameter, value) = ("folds of the second stage".to_owned(), folds as f64);
            return Err(EnsembleError::Parameter { parameter, value, expected: "from 2 to the number of groups" });
        }
        let classes = first_stage.tasks[0].classes.len();
        // Cases without a label are shared out, too.
        let labels: Vec<usize> = cohort.labels.iter().map(|labels| labels[0].unwrap_or(classes)).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let fold_of = stratified_by_class(&labels, classes + 1, &cohort.groups, folds, &mut random);
        let answers = (0..folds).into_par_iter().map(|fold| -> Result<(Vec<usize>, Predictions)> {
            let (held, rest): (Vec<usize>, Vec<usize>) = (0..cohort.len()).partition(|&row| fold_of[row] == fold);
            let fitted = Self::fit_to(params, inputs, &first_stage.select(&rest), &cohort.select(&rest))?;
            let answers = fitted.apply(&first_stage.select(&held), &cohort.select(&held))?;
            Ok((held, answers))
        });
        let answers: Vec<(Vec<usize>, Predictions)> = answers.collect::<Result<_>>()?;
        let mut whole = first_stage.clone();
        for (held, answers) in answers {
            for (at, &row) in held.iter().enumerate() {
                for (to, from) in whole.probabilities.iter_mut().zip(&answers.probabilities) {
                    to.row_mut(row).assign(&from.row(at));
                }
                whole.basis[row].clone_from(&answers.basis[at]);
            }
        }
        Ok(whole)
    }

    /// `P_2`: the cluster's predictions for the cases that have metadata. The others keep their row of the first stage.
    /// [`Predictions::basis`] says which are which: it ends in `+metadata` for the former.
    ///
    /// # Errors
    /// Other tasks than those of the fit, predictions and a cohort of different cases, another number of features.
    pub fn apply(&self, first_stage: &Predictions, cohort: &Cohort) -> Result<Predictions> {
        self.check_tasks(&first_stage.tasks)?;
        let records = self.inputs.records(first_stage, cohort)?;
        if cohort.has_metadata.len() != cohort.len() {
            let (expected, found) = (vec![cohort.len()], vec![cohort.has_metadata.len()]);
            return Err(SchemaError::Shape { what: "metadata flags".into(), expected, found }.into());
        }
        let rows: Vec<usize> = (0..cohort.len()).filter(|&row| cohort.has_metadata[row]).collect();
        let predicted = self.cluster.predict(records.select(Axis(0), &rows).view())?;
        let mut second_stage = first_stage.clone();
        for (task, probabilities) in predicted.iter().enumerate() {
            for (from, &row) in probabilities.rows().into_iter().zip(&rows) {
                second_stage.probabilities[task].row_mut(row).assign(&from);
            }
        }
        for row in rows {
            second_stage.basis[row] = std::mem::take(&mut second_stage.basis[row]).with_record();
        }
        Ok(second_stage)
    }

    /// Checks that the cluster is for these tasks and metadata of this width.
    ///
    /// # Errors
    /// Other tasks or classes than those of the fit, another number of features.
    pub fn check(&self, tasks: &TaskSet, metadata_width: usize) -> Result<()> {
        self.check_tasks(tasks)?;
        let found = match self.inputs {
            SecondStageInputs::PredictionsAndMetadata => {
                tasks.class_counts().iter().sum::<usize>().saturating_add(metadata_width)
            }
            SecondStageInputs::Metadata | SecondStageInputs::MetadataBeside => metadata_width,
        };
        if found != self.cluster.features() {
            return Err(EnsembleError::Width { expected: self.cluster.features(), found });
        }
        Ok(())
    }

    /// What a reader of `P_2` and `P_3` should know of the fit, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.cluster.notes()
    }

    fn check_tasks(&self, tasks: &TaskSet) -> Result<()> {
        let own = self.cluster.tasks();
        if tasks == own {
            return Ok(());
        }
        let names = |tasks: &TaskSet| tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>();
        let whole = |tasks: &TaskSet| {
            let whole = tasks.iter().map(|task| format!("{} ({})", task.name, task.classes.join(", ")));
            whole.collect::<Vec<_>>()
        };
        let (expected, found) = match names(own) != names(tasks) {
            true => (names(own), names(tasks)),
            false => (whole(own), whole(tasks)),
        };
        Err(EnsembleError::Tasks { expected, found })
    }
}
