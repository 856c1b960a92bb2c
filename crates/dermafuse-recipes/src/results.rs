use std::collections::HashMap;
use std::fs;
use std::path::Path;

use dermafuse_data::{CaseSet, CaseView, SOURCE_FIELD};
use dermafuse_ensemble::{SecondStage, TwoStage};
use dermafuse_eval::published::PublishedTable;
use dermafuse_eval::{
    AnswerTable, Bootstrap, Confusion, DecisionCurve, EvalError, Evaluation, Evidence, GroupEvaluation, Grouping,
    Measures, MetricsContext, Mistake, Mistakes, PictureSection, PictureStrip, Report, RiskCoverage, RowTests,
    SampleCase, SearchedWeight, SetEvaluation, SubgroupTable, SubsetEvaluation, TSne, figure::Series, write_metrics,
    write_predictions,
};
use dermafuse_networks::NetworkConfig;
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{
    BranchLogits, Case, CaseId, EngineFacts, FailedCase, Field, FieldKind, FieldRole, FieldValue, FittedGroup,
    FuseSpace, Modality, PredictionSets, Predictions, SeenCases, write_whole_file,
};
use dermafuse_train::EpochReport;

use crate::performance::{Question, how_well, not_known, performance};
use crate::printed_rows::{Wanted, printed_rows};
use crate::thumbnail::thumbnail;
use crate::{CorruptionOutcome, Recipe, calibration_change};

/// The stages of FusionM4Net, as [`dermafuse_ensemble::TwoStage::apply`] names them.
const STAGES: [&str; 8] =
    ["P_clinical", "P_dermoscopic", "P_fusion", "P_1 averaged", "P_1", "P_2", "P_3 averaged", "P_3"];

/// Mistakes and confusions that are listed.
const MISTAKES: usize = 20;
/// The surest mistakes that are shown with their images.
const PICTURED_MISTAKES: usize = 12;
/// The most frequent confusions that are shown, and how many cases of each.
const PICTURED_CONFUSIONS: usize = 4;
const PICTURES_OF_CONFUSION: usize = 5;
/// Decision curves that are drawn at most.
const MOST_CURVES: usize = 12;
/// Cases shown with their images.
const SAMPLES: usize = 6;
/// A larger image file is not embedded in the report.
const MAX_EMBEDDED_BYTES: u64 = 150_000;
/// Upper ends of the age bands, in years.
const AGE_BANDS: [(f64, &str); 4] = [(30.0, "0–29"), (50.0, "30–49"), (70.0, "50–69"), (f64::INFINITY, "70+")];

/// The results of a run: what goes into `metrics.json`, `predictions.csv` (a line for each case), `stages.csv` (the predictions of every
/// stage), `report.html` and, where images were corrupted, `corruptions.csv`.
#[derive(Debug)]
pub struct Results<'a> {
    /// Heading of the report.
    pub title: &'a str,
    /// The cases that the predictions are of, in their order.
    pub cases: CaseView<'a>,
    /// Predictions by name; the last is the headline.
    pub rows: &'a [(String, Predictions)],
    /// The same with each image as a case, where some cases have several images of a kind.
    pub images: &'a [(String, Predictions)],
    /// The resolved recipe.
    pub config: serde_json::Value,
    /// Published rows, which stand under the rows of the same name; see [`published_rows`].
    pub published: Option<&'a PublishedTable>,
    /// Metadata inputs that leak the diagnosis.
    pub leaky_inputs: Vec<String>,
    /// Training curves by name.
    pub curves: Vec<(&'a str, &'a [EpochReport])>,
    /// The weights that validation cases chose.
    pub weights: &'a [SearchedWeight],
    /// Sentences for the head of the report.
    pub notes: Vec<String>,
    /// Cases that could not be answered.
    pub failed: &'a [FailedCase],
    /// How many of the cases made the model; `None` where several models were made.
    pub seen: Option<SeenCases>,
    /// What ran the network of a saved model; `None` where several models were made, each run by what trained it.
    pub engine: Option<EngineFacts>,
    /// What the model was trained on, a sentence each.
    pub trained_on: Vec<String>,
    /// What was fitted to the answers of each round, with these answers: those of all rounds are the last of the rows.
    pub fitted: &'a [(Predictions, FittedToAnswers<'a>)],
    /// The answers at each operating point of the whole classification, by name.
    pub points: &'a [(String, Predictions)],
    /// The numbers from each subset of the inputs, where that was asked.
    pub subsets: Option<SubsetEvaluation>,
    /// What corrupted images cost, where that was asked; `corruptions.csv` is then written too.
    pub corruptions: Option<&'a CorruptionOutcome>,
    /// Features of cases to show as a picture.
    pub features: Option<Features<'a>>,
}

/// What was fitted to a model's answers for its validation cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct FittedToAnswers<'a> {
    /// The groups of classes with their operating points.
    pub groups: &'a [FittedGroup],
    /// The sets of classes.
    pub prediction_sets: Option<&'a PredictionSets>,
}

/// The features that a network's last classifier sees.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// Which cases they are of.
    pub title: &'a str,
    /// The cases.
    pub of: &'a BranchLogits,
    /// `[N, D]` their features.
    pub values: &'a Array2<f32>,
}

/// What was published of a model on a data set: FusionM4Net's rows on Derm7pt, of the stages that are the model's. Other networks and
/// backbones, other ways to weigh branches and other classifiers have rows of the same names (`P_1`, `P_3`), which these numbers are
/// not of.
#[must_use]
pub fn published_rows(set: &CaseSet, network: &NetworkConfig, stages: &TwoStage) -> Option<PublishedTable> {
    let recipe = Recipe::shipped("fusionm4net").filter(|_| matches!(network, NetworkConfig::FusionNet(_)))?;
    let own = recipe.experiment().ok()?;
    if network.backbones() != own.method.network.backbones() {
        return None;
    }
    let is_own = |second: &SecondStage| {
        let classifier = second.cluster.report().params.classifier.kind();
        Some(classifier) == own.second_stage.classifier && second.inputs == own.second_stage.inputs
    };
    let weights = stages.branch_weights.values();
    // Where all branches count alike, nobody has searched.
    let is_searched = weights.windows(2).any(|pair| pair[0] != pair[1]);
    let own_stages = match (stages.fuse_space == FuseSpace::Logits, is_searched) {
        (true, true) if stages.second_stage.as_ref().is_some_and(is_own) => &STAGES[..],
        (true, true) => &STAGES[..5],
        (true, false) => &STAGES[..4],
        (false, _) => &STAGES[..3],
    };
    let own_stages: Vec<Wanted<'_>> = own_stages.iter().map(|name| Wanted::named(name)).collect();
    printed_rows(recipe.published(), &set.name, &own_stages)
}

impl Results<'_> {
    /// Evaluates every row and writes the files into a folder; gives the evaluations back.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated, files that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<(String, Evaluation)>, EvalError> {
        let evaluated = |rows: &[(String, Predictions)]| {
            let rows = rows.iter().map(|(name, predictions)| Ok((name.clone(), Evaluation::of(predictions)?)));
            rows.collect::<Result<Vec<_>, EvalError>>()
        };
        let evaluations = evaluated(self.rows)?;
        let images = evaluated(self.images)?;
        let (notes, weights) = (self.notes.clone(), self.weights.to_vec());
        let corruptions = self.corruptions.map(|outcome| outcome.evaluation.clone());
        if let Some(evaluation) = &corruptions {
            write_whole_file(&folder.join("corruptions.csv"), evaluation.to_csv().as_bytes())?;
        }
        let risk_coverage = match self.rows.last() {
            Some((_, answers)) => RiskCoverage::of(answers)?,
            None => Vec::new(),
        };
        let (class_groups, prediction_sets) = (class_groups(self.fitted)?, prediction_sets(self.fitted)?);
        let (mut measures, mut decision_curves, mut mistakes, mut row_tests) = (None, Vec::new(), None, None);
        if let (Some((_, answers)), Some((_, evaluation))) = (self.rows.last(), evaluations.last()) {
            measures = Some(Measures::of(answers, &self.groups_of(answers), &Bootstrap::default())?);
            let compared: Vec<(&str, &Predictions)> = self.compared_rows().collect();
            if compared.len() > 1 {
                row_tests = Some(RowTests::of(&compared, &self.groups_of(answers), &Bootstrap::default())?);
            }
            decision_curves = decision_curves_of(answers, evaluation)?;
            mistakes = Some(Mistakes::of(answers, MISTAKES)?);
        }
        let context = MetricsContext {
            seen: self.seen,
            engine: self.engine.clone(),
            notes,
            images,
            weights,
            class_groups,
            risk_coverage,
            prediction_sets,
            subsets: self.subsets.clone(),
            corruptions,
            measures,
            row_tests,
            decision_curves,
            mistakes,
            points: evaluated(self.points)?,
        };
        write_metrics(folder.join("metrics.json"), &evaluations, &context)?;
        let tables: Vec<(&str, &Predictions)> = self.rows.iter().map(|(name, table)| (name.as_str(), table)).collect();
        write_predictions(folder.join("stages.csv"), &tables, self.failed)?;
        if let Some((_, answers)) = self.rows.last() {
            let table = AnswerTable::with_truth(answers, self.failed)?;
            write_whole_file(&folder.join("predictions.csv"), table.to_csv().as_bytes())?;
        }
        self.report(&evaluations, &context)?.write(folder.join("report.html"))?;
        Ok(evaluations)
    }

    fn report(&self, evaluations: &[(String, Evaluation)], context: &MetricsContext) -> Result<Report, EvalError> {
        let leaky: Vec<&str> = self.leaky_inputs.iter().map(String::as_str).collect();
        let mut report = Report::new(self.title)
            .synthetic(self.cases.set().synthetic)
            .note(format!("Data set {}, {} test cases.", self.cases.set().name, self.cases.len()))
            .leaky_inputs(&leaky)
            .config(&self.config)
            .rows(evaluations, self.published)
            .images(&context.images)
            .class_groups(&context.class_groups)
            .abstention(&context.risk_coverage, context.prediction_sets.as_ref());
        if let Some(measures) = &context.measures {
            report = report.measures(measures, &context.decision_curves);
        }
        if let Some(tests) = &context.row_tests {
            report = report.row_tests(tests);
        }
        if let (Some(mistakes), Some((_, answers))) = (&context.mistakes, self.rows.last()) {
            report = report.mistakes(mistakes);
            for section in self.mistake_pictures(mistakes, answers) {
                report = report.mistake_pictures(section);
            }
        }
        report = report.points(&context.points);
        if let Some(subsets) = &context.subsets {
            report = report.subsets(subsets);
        }
        if let Some(CorruptionOutcome { evaluation, sheets }) = self.corruptions {
            report = report.corruptions(evaluation, sheets);
        }
        if let Some(seen) = self.seen {
            report = report.seen(seen);
        }
        if let Some(change) = calibration_change(evaluations) {
            report = report.calibration(change);
        }
        for note in &self.notes {
            report = report.note(note);
        }
        if let (Some((name, predictions)), Some((_, evaluation))) = (self.rows.last(), evaluations.last()) {
            report = report
                .evidence(self.evidence(predictions, evaluation)?)
                .detail(name, evaluation, predictions)?
                .subgroups(&self.subgroups(predictions)?)
                .samples(self.samples(predictions)?);
        }
        for (name, history) in &self.curves {
            // Without validation cases, nothing is known of them in any epoch.
            let series = |label: &str, value: fn(&EpochReport) -> Option<f64>| {
                let points = history.iter().filter_map(|epoch| Some((epoch.epoch as f64, value(epoch)?)));
                Some(Series { name: label.to_owned(), points: points.collect() })
                    .filter(|series| !series.points.is_empty())
            };
            let losses =
                [series("training", |epoch| Some(epoch.train_loss)), series("validation", |epoch| epoch.valid_loss)];
            report = report.curves(format!("Loss, {name}"), &losses.into_iter().flatten().collect::<Vec<_>>());
            if let Some(score) = series("score", |epoch| epoch.valid_score) {
                report = report.curves(format!("Validation score, {name}"), &[score]);
            }
        }
        if let Some(features) = &self.features {
            report = features.add_to(report)?;
        }
        Ok(report)
    }

    /// The rows of single branches and the answer, as far as they are of the same cases.
    fn compared_rows(&self) -> impl Iterator<Item = (&str, &Predictions)> {
        let (last, others) = self.rows.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
        // `P_1`, `P_2` and `P_3` are numbered; branches have names.
        let is_branch = |name: &str| name.strip_prefix("P_").is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        let of_last = move |row: &Predictions| last.is_some_and(|(_, last)| last.ids == row.ids);
        let branches = others.iter().filter(move |(name, row)| is_branch(name) && of_last(row));
        branches.chain(last).map(|(name, row)| (name.as_str(), row))
    }

    /// The patient, else the lesion, of each predicted case.
    fn groups_of(&self, answers: &Predictions) -> Vec<String> {
        let groups: HashMap<&str, &str> =
            self.cases.cases().map(|case| (case.id.as_str(), case.group.as_str())).collect();
        let group = |id: &CaseId| groups.get(id.as_str()).copied().unwrap_or(id.as_str()).to_owned();
        answers.ids.iter().map(group).collect()
    }

    /// The groups of classes, evaluated on the last of the rows.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn class_groups(&self) -> Result<Vec<GroupEvaluation>, EvalError> {
        class_groups(self.fitted)
    }

    /// The sets of classes of the last of the rows, where the model has them.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn prediction_sets(&self) -> Result<Option<SetEvaluation>, EvalError> {
        prediction_sets(self.fitted)
    }

    /// What somebody who stands before a patient needs first.
    fn evidence(&self, predictions: &Predictions, evaluation: &Evaluation) -> Result<Evidence, EvalError> {
        let questions = questions(self.fitted)?;
        let performance = performance(&self.cases, predictions, &questions);
        Ok(Evidence {
            trained_on: self.trained_on.clone(),
            how_well: how_well(&performance, evaluation),
            not_known: not_known(&self.cases, &performance, evaluation, self.seen, self.failed),
            performance: Some(performance),
        })
    }

    /// A table for each metadata column that is known before the diagnosis, and for the source of cases of a merged
    /// set.
    fn subgroups(&self, predictions: &Predictions) -> Result<Vec<SubgroupTable>, EvalError> {
        let is_shown = |field: &Field| field.role == FieldRole::PreDiagnosis || field.name == SOURCE_FIELD;
        let fields = self.cases.set().fields.iter().enumerate().filter(|(_, field)| is_shown(field));
        let groupings = fields.map(|(index, field)| Grouping {
            name: field.name.clone(),
            values: self
                .cases
                .cases()
                .map(|case| match (&field.kind, &case.metadata[index]) {
                    (FieldKind::Numeric, FieldValue::Number(number)) => {
                        AGE_BANDS.iter().find(|(end, _)| number < end).map(|(_, band)| (*band).to_owned())
                    }
                    (_, value) => field.text(value),
                })
                .collect(),
        });
        groupings.map(|grouping| SubgroupTable::of(predictions, &grouping, &Bootstrap::default())).collect()
    }

    /// The surest mistakes with their images, and for the most frequent confusions the surest of their cases.
    fn mistake_pictures(&self, mistakes: &Mistakes, answers: &Predictions) -> [PictureSection; 2] {
        let cases: HashMap<&str, &Case> = self.cases.cases().map(|case| (case.id.as_str(), case)).collect();
        let images = |id: &CaseId| {
            let of_kind = |case: &'_ &Case, kind: Modality| Some((thumbnail(&case.image(kind, 0)?.path), kind.name()));
            let case = cases.get(id.as_str());
            Modality::BOTH.into_iter().filter_map(move |kind| of_kind(case?, kind)).collect::<Vec<_>>()
        };
        let percent = |probability: f64| format!("{:.0} %", 100.0 * probability);
        let surest = mistakes.surest.iter().take(PICTURED_MISTAKES).map(|mistake| {
            let Mistake { case, task, truth, said, probability, .. } = mistake;
            let title = format!("{case}: {task} is {truth}, said to be {said} ({})", percent(*probability));
            let pictures = images(case).into_iter().map(|(image, kind)| (image, kind.to_owned()));
            PictureStrip { title, pictures: pictures.collect() }
        });
        let confusions = mistakes.confusions.iter().take(PICTURED_CONFUSIONS).filter_map(|confusion| {
            let task = answers.tasks.iter().position(|task| task.name == confusion.task)?;
            let class = |name: &str| answers.tasks[task].classes.iter().position(|class| class == name);
            let (truth, said) = (class(&confusion.truth)?, class(&confusion.said)?);
            let is_one =
                |case: &usize| answers.labels[*case][task] == Some(truth) && answers.predicted(*case, task) == said;
            let probability = |case: usize| answers.probabilities[task][[case, said]];
            let mut of: Vec<usize> = (0..answers.len()).filter(is_one).collect();
            // Stable, so that equals stay in the order of the cases.
            of.sort_by(|one, other| probability(*other).total_cmp(&probability(*one)));
            let pictures = of.into_iter().take(PICTURES_OF_CONFUSION).filter_map(|case| {
                // Of the two the closer look.
                let (image, kind) = images(&answers.ids[case]).pop()?;
                Some((image, format!("{}, {kind}, {}", answers.ids[case], percent(probability(case)))))
            });
            let Confusion { task, truth, said, count, of } = confusion;
            let title = format!("{task}: {truth} said to be {said}, {count} of {of}");
            Some(PictureStrip { title, pictures: pictures.collect() })
        });
        let section = |title: &str, text: &str, strips: Vec<PictureStrip>| PictureSection {
            title: title.to_owned(),
            text: text.to_owned(),
            strips: strips.into_iter().filter(|strip| !strip.pictures.is_empty()).collect(),
        };
        [
            section(
                "The surest mistakes, in pictures",
                "Per cent: the probability of what was said.",
                surest.collect(),
            ),
            section("What is taken for what, in pictures", "The surest cases of each.", confusions.collect()),
        ]
    }

    /// Cases spread evenly over the predictions, with their images where these are small enough.
    fn samples(&self, predictions: &Predictions) -> Result<Vec<SampleCase>, EvalError> {
        let step = self.cases.len().div_ceil(SAMPLES).max(1);
        let mut samples = Vec::new();
        for (position, case) in self.cases.cases().enumerate().step_by(step) {
            let values = self.cases.set().fields.iter().zip(&case.metadata);
            let metadata = values.filter(|(field, _)| field.role != FieldRole::ImageDerived).map(|(field, value)| {
                (field.name.clone(), field.text(value).unwrap_or_else(|| "not recorded".to_owned()))
            });
            let mut sample = SampleCase::of(predictions, position)?.with_metadata(metadata.collect());
            if let Some((mime, bytes)) = case.image(Modality::Clinical, 0).and_then(|image| small_image(&image.path)) {
                sample = sample.with_clinical(mime, bytes);
            }
            if let Some((mime, bytes)) = case.image(Modality::Dermoscopic, 0).and_then(|image| small_image(&image.path))
            {
                sample = sample.with_dermoscopic(mime, bytes);
            }
            samples.push(sample);
        }
        Ok(samples)
    }
}

/// The decision curves of the classes that count, unless there are too many to look at.
fn decision_curves_of(answers: &Predictions, evaluation: &Evaluation) -> Result<Vec<DecisionCurve>, EvalError> {
    let counted = evaluation.tasks.iter().enumerate().flat_map(|(task, of)| {
        let classes = of.classes.iter().enumerate().filter(|(_, class)| class.counted && class.support > 0);
        classes.map(move |(class, _)| (task, class))
    });
    let counted: Vec<(usize, usize)> = counted.collect();
    if counted.len() > MOST_CURVES {
        return Ok(Vec::new());
    }
    let curves = counted.into_iter().map(|(task, class)| DecisionCurve::of(answers, task, class));
    Ok(curves.collect::<Result<Vec<_>, EvalError>>()?.into_iter().flatten().collect())
}

/// The rounds of the group at a place of those that were fitted.
fn rounds_of<'a>(
    fitted: &'a [(Predictions, FittedToAnswers<'a>)],
    group: usize,
) -> Vec<(&'a Predictions, &'a FittedGroup)> {
    fitted.iter().filter_map(|(answers, fitted)| Some((answers, fitted.groups.get(group)?))).collect()
}

/// How many groups of classes there are.
fn groups_of(fitted: &[(Predictions, FittedToAnswers<'_>)]) -> usize {
    fitted.first().map_or(0, |(_, fitted)| fitted.groups.len())
}

/// The groups of classes over all rounds, each with the operating point that its own validation cases chose.
pub(crate) fn class_groups(fitted: &[(Predictions, FittedToAnswers<'_>)]) -> Result<Vec<GroupEvaluation>, EvalError> {
    (0..groups_of(fitted)).map(|group| GroupEvaluation::of(&rounds_of(fitted, group))).collect()
}

/// How every case was answered to the question of each group.
pub(crate) fn questions(fitted: &[(Predictions, FittedToAnswers<'_>)]) -> Result<Vec<Question>, EvalError> {
    (0..groups_of(fitted)).map(|group| Ok(Question::of(&rounds_of(fitted, group))?)).collect()
}

/// The sets of classes over all rounds, each with the quantiles of its own validation cases.
pub(crate) fn prediction_sets(
    fitted: &[(Predictions, FittedToAnswers<'_>)],
) -> Result<Option<SetEvaluation>, EvalError> {
    let rounds = fitted.iter().filter_map(|(answers, fitted)| Some((answers, fitted.prediction_sets?)));
    let rounds: Vec<(&Predictions, &PredictionSets)> = rounds.collect();
    Ok(if rounds.is_empty() { None } else { Some(SetEvaluation::of(&rounds)?) })
}

impl Features<'_> {
    /// Adds their t-SNE, coloured by the classes of the first task. Too few cases make no picture.
    pub(crate) fn add_to(&self, report: Report) -> Result<Report, EvalError> {
        let tsne = TSne {
            perplexity: TSne::default().perplexity.min((self.values.nrows() as f64 - 1.0) / 3.0),
            ..TSne::default()
        };
        if tsne.perplexity < 1.0 {
            return Ok(report);
        }
        let classes: Vec<Option<usize>> = self.of.cohort.labels.iter().map(|labels| labels[0]).collect();
        let points = tsne.embed(&self.values.view())?.with_classes(&classes)?;
        let title = format!("Features before the last classifier, t-SNE, {}", self.title);
        Ok(report.embedding(title, &self.of.tasks[0].classes, &points))
    }
}

/// The media type and bytes of an image file, unless it is large.
fn small_image(path: &Path) -> Option<(&'static str, Vec<u8>)> {
    let small = fs::metadata(path).ok()?.len() <= MAX_EMBEDDED_BYTES;
    let png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let mime = if png { "image/png" } else { "image/jpeg" };
    small.then(|| fs::read(path).ok().map(|bytes| (mime, bytes))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::BackboneKind;
    use dermafuse_ensemble::{ClassifierCluster, ClassifierKind, SecondStageInputs};
    use dermafuse_eval::published::Printed;
    use dermafuse_networks::{AsymmetricFusionConfig, FusionNetConfig};
    use dermafuse_schema::{BranchWeights, TaskSet};

    #[test]
    fn numbers_of_another_method_or_data_set_are_not_shown() {
        let set = |name: &str| CaseSet {
            name: name.into(),
            synthetic: false,
            tasks: TaskSet::new(vec![dermafuse_schema::Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            fields: vec![],
            cases: vec![],
            split: None,
            notes: vec![],
        };
        let fusion_net = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet50, vec![2]));
        let ammfm = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(vec![2]));
        let stages = two_stage(None);
        let published = published_rows(&set("derm7pt"), &fusion_net, &stages).expect("it was published");
        assert_eq!(
            published.row("P_1").and_then(|row| row.task("DIAG")),
            Some(Printed { mean: 75.6, deviation: Some(1.2) })
        );
        assert_eq!(published_rows(&set("derm7pt"), &ammfm, &stages), None);
        assert_eq!(published_rows(&set("milk10k"), &fusion_net, &stages), None);
        let small = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18, vec![2]));
        assert_eq!(published_rows(&set("derm7pt"), &small, &stages), None);

        // Of the second stage only what its classifiers gave, and of the first what a search did.
        let names = |stages: &TwoStage| -> Vec<String> {
            let table = published_rows(&set("derm7pt"), &fusion_net, stages).expect("its branches were published");
            let mut names: Vec<String> = table.rows.into_iter().map(|row| row.name).collect();
            // Printed tables have them in another order.
            names.sort_by_key(|name| STAGES.iter().position(|stage| stage == name));
            names
        };
        assert_eq!(names(&stages), STAGES[..5]);
        assert_eq!(names(&two_stage(Some(ClassifierKind::Svm))), STAGES);
        assert_eq!(names(&two_stage(Some(ClassifierKind::Logistic))), STAGES[..5]);
        let equal = BranchWeights::new([("clinical", 1.0), ("dermoscopic", 1.0), ("fusion", 1.0)]).unwrap();
        assert_eq!(names(&TwoStage { branch_weights: equal, ..stages.clone() }), STAGES[..4]);
        assert_eq!(names(&TwoStage { fuse_space: FuseSpace::Probabilities, ..stages }), STAGES[..3]);
    }

    /// Weights that were searched, and classifiers of this kind over one task and no metadata.
    fn two_stage(classifier: Option<ClassifierKind>) -> TwoStage {
        let tasks = TaskSet::new(vec![dermafuse_schema::Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let second_stage = classifier.map(|kind| {
            let records =
                Array2::from_shape_fn((20, 2), |(row, column)| (row % 2) as f64 + (row * column) as f64 / 40.0);
            let labels: Vec<Vec<Option<usize>>> = (0..20).map(|row| vec![Some(row % 2)]).collect();
            let groups: Vec<String> = (0..20).map(|row| row.to_string()).collect();
            let cluster = ClassifierCluster::params(kind, 0).fit(records.view(), &labels, &tasks, &groups).unwrap();
            SecondStage { cluster, inputs: SecondStageInputs::default() }
        });
        let branch_weights = BranchWeights::new([("clinical", 0.2), ("dermoscopic", 0.3), ("fusion", 0.5)]).unwrap();
        TwoStage::new(branch_weights, FuseSpace::Logits, second_stage, 0.4).unwrap()
    }
}
