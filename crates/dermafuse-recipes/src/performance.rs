//! How well a model does for which patients, and what is not known of it.

use dermafuse_data::{CaseView, SOURCE_FIELD};
use dermafuse_eval::Evaluation;
use dermafuse_schema::{
    FailedCase, Field, FieldKind, FieldRole, FieldValue, FittedGroup, PatientGroup, PatientRange, Performance,
    PerformanceRow, Predictions, Proportion, QuestionRow, SMALL_GROUP, SchemaError, SeenCases,
};

/// Lower ends of the age bands, in years.
const AGES: [f64; 4] = [0.0, 30.0, 50.0, 70.0];

/// What a patient is told apart by first, and how the names of such fields go.
const ATTRIBUTES: [(&str, &[&str]); 4] = [
    ("age", &["age"]),
    ("sex", &["sex", "gender"]),
    ("site of the lesion", &["site", "location", "region", "anatom", "localization"]),
    ("skin type", &["skin_tone", "skin_type", "fitzpatrick", "fitspatrick", "phototype"]),
];

/// A question of a group of classes, and how each case was answered.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    name: String,
    /// `[N]` truth and answer; `None` without a label or an operating point.
    cases: Vec<Option<(bool, bool)>>,
}

impl Question {
    /// That of one group over one or several rounds, whose cases stand one after the other.
    pub(crate) fn of(rounds: &[(&Predictions, &FittedGroup)]) -> Result<Self, SchemaError> {
        let mut cases = Vec::new();
        let name = rounds.first().map(|(_, fitted)| fitted.group.name().to_owned()).unwrap_or_default();
        for (predictions, fitted) in rounds {
            let answers = fitted.group.scores(predictions)?.into_iter().zip(fitted.group.truths(predictions)?);
            cases.extend(answers.map(|(score, truth)| Some((truth?, fitted.operating_point?.says_yes(score)))));
        }
        Ok(Self { name, cases })
    }
}

/// The numbers of cases, all together and by each field that is known before the diagnosis; `predictions` and
/// questions are of these cases, in their order.
pub(crate) fn performance(cases: &CaseView<'_>, predictions: &Predictions, questions: &[Question]) -> Performance {
    let (set, rows) = (cases.set(), cases.rows());
    let numbers = |places: &[usize]| {
        let labelled = places.iter().filter_map(|&place| Some((place, predictions.labels[place][0]?)));
        let right = labelled.map(|(place, label)| (&predictions.ids[place], predictions.predicted(place, 0) == label));
        let question = |question: &Question| {
            let share = |kind: bool| {
                let of_kind = places.iter().filter_map(|&place| Some((place, question.cases[place]?)));
                let of_kind = of_kind.filter(|(_, (truth, _))| *truth == kind);
                Proportion::of_cases(of_kind.map(|(place, (_, yes))| (&predictions.ids[place], yes == kind)))
            };
            QuestionRow { name: question.name.clone(), sensitivity: share(true), specificity: share(false) }
        };
        let different: std::collections::HashSet<_> = places.iter().map(|&place| &predictions.ids[place]).collect();
        PerformanceRow {
            cases: different.len(),
            accuracy: Proportion::of_cases(right),
            questions: questions.iter().map(question).collect(),
        }
    };
    let mut groups = Vec::new();
    for (index, field) in set.fields.iter().enumerate().filter(|(_, field)| tells_patients_apart(field)) {
        for of in ranges(field) {
            let is_of = |place: &usize| is_in(field, &of, &set.cases[rows[*place]].metadata[index]);
            let places: Vec<usize> = (0..rows.len()).filter(is_of).collect();
            if !places.is_empty() {
                groups.push(PatientGroup { field: field.name.clone(), of, numbers: numbers(&places) });
            }
        }
    }
    let all: Vec<usize> = (0..rows.len()).collect();
    Performance { task: predictions.tasks[0].name.clone(), all: numbers(&all), groups }
}

/// What is known before the diagnosis, or where a case comes from; of numbers the age alone.
fn tells_patients_apart(field: &Field) -> bool {
    let is_early = field.role == FieldRole::PreDiagnosis || field.name == SOURCE_FIELD;
    is_early && (field.kind != FieldKind::Numeric || is_named(&field.name, ATTRIBUTES[0].1))
}

/// Whether a name has one of these words: `age_approx` has `age`, `stage` has not.
fn is_named(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    words.iter().any(|word| name == *word || name.starts_with(word) || name.contains(&format!("_{word}")))
}

fn ranges(field: &Field) -> Vec<PatientRange> {
    let mut ranges: Vec<PatientRange> = match &field.kind {
        FieldKind::Categorical { categories } => categories.iter().cloned().map(PatientRange::Category).collect(),
        FieldKind::Numeric => {
            let ends = AGES.iter().skip(1).copied().map(Some).chain([None]);
            AGES.iter().zip(ends).map(|(&from, below)| PatientRange::Numbers { from, below }).collect()
        }
    };
    ranges.push(PatientRange::NotRecorded);
    ranges
}

fn is_in(field: &Field, of: &PatientRange, value: &FieldValue) -> bool {
    match (of, value) {
        (PatientRange::NotRecorded, FieldValue::Missing) => true,
        (PatientRange::Category(name), value @ FieldValue::Category(_)) => field.text(value).as_ref() == Some(name),
        (PatientRange::Numbers { from, below }, FieldValue::Number(number)) => {
            number >= from && below.is_none_or(|below| *number < below)
        }
        _ => false,
    }
}

/// How well a model does, in sentences for somebody who treats patients.
pub(crate) fn how_well(performance: &Performance, evaluation: &Evaluation) -> Vec<String> {
    let all = &performance.all;
    let mut sentences =
        vec![format!("{}: right in {} test cases, per cent with its 95 % interval.", performance.task, all.accuracy)];
    if let Some(balanced) = evaluation.tasks.first().and_then(|task| task.balanced_accuracy) {
        sentences.push(format!(
            "Were all its classes equally frequent, {:.1} per cent would be right (balanced accuracy).",
            100.0 * balanced
        ));
    }
    sentences.extend(all.questions.iter().filter(|question| question.sensitivity.value.is_some()).map(|question| {
        format!(
            "{}: of the patients who need a yes, {} per cent get it (sensitivity); of the others, {} get a no (specificity).",
            question.name, question.sensitivity, question.specificity
        )
    }));
    sentences
}

/// What an evaluation does not tell, in sentences.
pub(crate) fn not_known(
    cases: &CaseView<'_>,
    performance: &Performance,
    evaluation: &Evaluation,
    seen: Option<SeenCases>,
    failed: &[FailedCase],
) -> Vec<String> {
    let set = cases.set();
    let mut sentences = Vec::new();
    if set.synthetic {
        sentences.push("Anything about patients: the images are generated.".to_owned());
    }
    let is_recorded = |words: &[&str]| {
        let mut fields = set.fields.iter().enumerate().filter(|(_, field)| is_named(&field.name, words));
        fields.any(|(index, _)| cases.cases().any(|case| case.metadata[index] != FieldValue::Missing))
    };
    let absent: Vec<&str> = ATTRIBUTES.iter().filter(|(_, words)| !is_recorded(words)).map(|(name, _)| *name).collect();
    if !absent.is_empty() {
        sentences.push(format!("Whether it does equally well by {}: the data do not record it.", absent.join(", by ")));
    }
    let missing = performance.groups.iter().filter(|group| group.of == PatientRange::NotRecorded);
    sentences.extend(missing.map(|group| {
        format!("{} of {} test cases have no record of {}.", group.numbers.cases, performance.all.cases, group.field)
    }));
    let small = performance
        .groups
        .iter()
        .filter(|group| group.of != PatientRange::NotRecorded && group.numbers.cases < SMALL_GROUP);
    let small: Vec<String> = small.map(|group| format!("{} ({})", group.label(), group.numbers.cases)).collect();
    if !small.is_empty() {
        sentences.push(format!("Anything of groups with fewer than {SMALL_GROUP} test cases: {}.", small.join("; ")));
    }
    let rare = evaluation.tasks.iter().take(1).flat_map(|task| &task.classes);
    let rare: Vec<String> = rare
        .filter(|class| class.support < SMALL_GROUP)
        .map(|class| format!("{} ({})", class.name, class.support))
        .collect();
    if !rare.is_empty() {
        sentences.push(format!(
            "How well it knows classes of {} with fewer than {SMALL_GROUP} test cases: {}.",
            performance.task,
            rare.join(", ")
        ));
    }
    if seen.is_none_or(|seen| seen.same_data_set) {
        sentences.push(
            "How well it does elsewhere: these cases come from the data that it was trained on. Other clinics, cameras and patients \
             may differ."
                .to_owned(),
        );
    }
    if !failed.is_empty() {
        sentences.push(format!("What it would have said of {} cases that could not be answered.", failed.len()));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_data::CaseSet;
    use dermafuse_schema::ndarray::Array2;
    use dermafuse_schema::{Aim, Case, ClassGroup, OperatingPoint, Task, TaskSet};

    /// Forty cases: every second a melanoma, the first thirty of which are told right; women first, men then; no age of the last.
    fn set() -> (CaseSet, Predictions) {
        let task = Task::new("diagnosis", "DIAG", ["NEV", "MEL"]);
        let fields = vec![
            Field::numeric("age_approx", FieldRole::PreDiagnosis),
            Field::numeric("diameter", FieldRole::PreDiagnosis),
            Field::categorical("sex", FieldRole::PreDiagnosis, ["male", "female", "other"]),
            Field::categorical("biopsied", FieldRole::PostDiagnosis, ["no", "yes"]),
        ];
        let case = |row: usize| {
            let age = if row == 39 { FieldValue::Missing } else { FieldValue::Number(20.0 + row as f64) };
            let sex = FieldValue::Category(usize::from(row < 30));
            let metadata = vec![age, FieldValue::Number(3.0), sex, FieldValue::Category(1)];
            Case { labels: vec![Some(row % 2)], metadata, ..Case::new(row.to_string()) }
        };
        let set = CaseSet {
            name: "set".into(),
            synthetic: false,
            tasks: TaskSet::new(vec![task]).unwrap(),
            fields,
            cases: (0..40).map(case).collect(),
            split: None,
            notes: Vec::new(),
        };
        let said = |row: usize| if row < 30 { row % 2 } else { 1 - row % 2 };
        let predictions = Predictions {
            tasks: set.tasks.clone(),
            ids: set.cases.iter().map(|case| case.id.clone()).collect(),
            labels: set.cases.iter().map(|case| case.labels.clone()).collect(),
            probabilities: vec![Array2::from_shape_fn(
                (40, 2),
                |(row, class)| if class == said(row) { 0.75 } else { 0.25 },
            )],
            basis: vec!["clinical".into(); 40],
        };
        (set, predictions)
    }

    #[test]
    fn patients_are_grouped_by_what_is_known_early() {
        let (set, predictions) = set();
        let rows: Vec<usize> = (0..40).collect();
        let group = ClassGroup::new("malignancy", "diagnosis", [("malignant", vec!["MEL"])], ["malignant"]).unwrap();
        let operating_point =
            Some(OperatingPoint { threshold: 0.5, positives: 1, negatives: 1, sensitivity: 1.0, specificity: 1.0 });
        let fitted = FittedGroup { group, aim: Aim::Sensitivity(0.9), operating_point };
        let question = Question::of(&[(&predictions, &fitted)]).unwrap();
        let performance = performance(&set.view(&rows).unwrap(), &predictions, &[question]);
        let labels: Vec<(String, usize, Option<f64>)> = performance
            .groups
            .iter()
            .map(|group| (group.label(), group.numbers.cases, group.numbers.accuracy.value))
            .collect();
        let expected = [
            ("age_approx: 0–29", 10, Some(1.0)),
            ("age_approx: 30–49", 20, Some(1.0)),
            ("age_approx: 50–69", 9, Some(0.0)),
            ("age_approx: not recorded", 1, Some(0.0)),
            ("sex: male", 10, Some(0.0)),
            ("sex: female", 30, Some(1.0)),
        ];
        assert_eq!(labels, expected.map(|(label, cases, value)| (label.to_owned(), cases, value)));
        let all = &performance.all;
        assert_eq!((all.accuracy.value, all.questions[0].sensitivity.value), (Some(0.75), Some(0.75)));
        assert_eq!(all.questions[0].sensitivity.cases, 20);

        let evaluation = Evaluation::of(&predictions).unwrap();
        let told = how_well(&performance, &evaluation).join(" ");
        assert!(
            told.starts_with("diagnosis: right in 75.0 (") && told.contains("malignancy: of the patients"),
            "{told}"
        );
        let unknown = not_known(&set.view(&rows).unwrap(), &performance, &evaluation, None, &[]).join(" ");
        assert!(unknown.contains("by site of the lesion, by skin type: the data do not record it"), "{unknown}");
        assert!(unknown.contains("1 of 40 test cases have no record of age_approx."), "{unknown}");
        assert!(unknown.contains("age_approx: 0–29 (10); age_approx: 50–69 (9); sex: male (10)."), "{unknown}");
        assert!(unknown.contains("Other clinics") && !unknown.contains("generated"), "{unknown}");
    }

    #[test]
    fn words_are_found_in_names() {
        assert!(is_named("age_approx", &["age"]) && is_named("patient_age", &["age"]) && !is_named("stage", &["age"]));
        assert!(is_named("anatom_site_general", &["site"]) && is_named("Gender", &["gender"]));
    }
}
