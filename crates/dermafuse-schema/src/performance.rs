use serde::{Deserialize, Serialize};

use crate::{Field, FieldKind, FieldValue, Interval, Proportion, SchemaError};

/// A group of fewer cases is flagged: its numbers are mostly chance.
pub const SMALL_GROUP: usize = 20;

/// How well a model did on its test cases, and on those of each group of patients: what a reader of a single answer wants to know of
/// patients like this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredPerformance")]
pub struct Performance {
    /// Name of the task that the accuracy is of: the first of the model's.
    pub task: String,
    /// All test cases together.
    pub all: PerformanceRow,
    /// The groups by each field, in the order of the fields; the cases in which a field is not recorded come last of it.
    pub groups: Vec<PatientGroup>,
}

/// The test cases with one value of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatientGroup {
    /// Name of the field, such as `sex`.
    pub field: String,
    /// Which of its values.
    pub of: PatientRange,
    /// The numbers.
    pub numbers: PerformanceRow,
}

/// Values of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatientRange {
    /// One category.
    Category(String),
    /// Numbers.
    Numbers {
        /// The smallest.
        from: f64,
        /// The first that is too large; none is without.
        below: Option<f64>,
    },
    /// It is not recorded.
    NotRecorded,
}

/// Numbers of a group of cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerformanceRow {
    /// Cases, labelled or not.
    pub cases: usize,
    /// The share of labelled cases whose most probable class is the true one.
    pub accuracy: Proportion,
    /// The questions of the model's groups of classes at their operating points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<QuestionRow>,
}

/// How well a question is answered at its operating point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionRow {
    /// Name of the group of classes, such as `referral`.
    pub name: String,
    /// The share of the positive cases that are answered with "yes".
    pub sensitivity: Proportion,
    /// The share of the others that are answered with "no".
    pub specificity: Proportion,
}

/// A [`Performance`] as it was stored.
#[derive(Deserialize)]
struct StoredPerformance {
    task: String,
    all: PerformanceRow,
    groups: Vec<PatientGroup>,
}

impl TryFrom<StoredPerformance> for Performance {
    type Error = SchemaError;

    fn try_from(stored: StoredPerformance) -> Result<Self, SchemaError> {
        let StoredPerformance { task, all, groups } = stored;
        let performance = Self { task, all, groups };
        performance.check()?;
        Ok(performance)
    }
}

impl Performance {
    /// Checks that its shares are shares.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), SchemaError> {
        let rows = std::iter::once(&self.all).chain(self.groups.iter().map(|group| &group.numbers));
        for row in rows {
            let questions = row.questions.iter().flat_map(|question| [&question.sensitivity, &question.specificity]);
            for share in std::iter::once(&row.accuracy).chain(questions) {
                let bounds = share.interval.map(|Interval { lower, upper }| [lower, upper]);
                let mut numbers = share.value.into_iter().chain(bounds.into_iter().flatten());
                if let Some(value) = numbers.find(|value| !(0.0..=1.0).contains(value)) {
                    let what = "share of test cases in the model's summary".to_owned();
                    return Err(SchemaError::Number { what, value, expected: "within 0..=1" });
                }
            }
        }
        Ok(())
    }

    /// The groups that a patient belongs to, by the values of fields; fields that the model was not tested by are passed over.
    #[must_use]
    pub fn like(&self, fields: &[Field], values: &[FieldValue]) -> Vec<&PatientGroup> {
        self.groups.iter().filter(|group| group.has(fields, values)).collect()
    }

    /// What is not known of a patient with these values: fields that are not recorded, values that no test case has, groups with hardly
    /// any. A sentence each.
    #[must_use]
    pub fn not_known(&self, fields: &[Field], values: &[FieldValue]) -> Vec<String> {
        let mut names: Vec<&str> = self.groups.iter().map(|group| group.field.as_str()).collect();
        names.dedup();
        let mut sentences = Vec::new();
        for name in names {
            let found = self.groups.iter().find(|group| group.field == name && group.has(fields, values));
            let text = fields.iter().zip(values).find(|(field, _)| field.name == name);
            let text = text.and_then(|(field, value)| field.text(value));
            match (found, text) {
                (_, None) => sentences.push(format!("{name} is not recorded.")),
                (None, Some(text)) => sentences.push(format!("No test case has {name} = {text}.")),
                (Some(group), Some(_)) if group.numbers.cases < SMALL_GROUP => sentences.push(format!(
                    "Only {} test cases have {}: their numbers are mostly chance.",
                    group.numbers.cases,
                    group.label()
                )),
                (Some(_), Some(_)) => {}
            }
        }
        sentences
    }
}

impl PatientGroup {
    /// What it is called, such as `sex: female`, `age: 50–69` or `site: not recorded`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}: {}", self.field, self.of)
    }

    fn has(&self, fields: &[Field], values: &[FieldValue]) -> bool {
        let value = fields.iter().zip(values).find(|(field, _)| field.name == self.field);
        match (&self.of, value) {
            (PatientRange::NotRecorded, None | Some((_, FieldValue::Missing))) => true,
            (PatientRange::Numbers { from, below }, Some((_, FieldValue::Number(number)))) => {
                number >= from && below.is_none_or(|below| *number < below)
            }
            (PatientRange::Category(name), Some((field, FieldValue::Category(index)))) => match &field.kind {
                FieldKind::Categorical { categories } => categories.get(*index) == Some(name),
                FieldKind::Numeric => false,
            },
            _ => false,
        }
    }
}

impl std::fmt::Display for PatientRange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Category(name) => formatter.write_str(name),
            Self::Numbers { from, below: Some(below) } => write!(formatter, "{from}–{}", below - 1.0),
            Self::Numbers { from, below: None } => write!(formatter, "{from}+"),
            Self::NotRecorded => formatter.write_str("not recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldRole;

    fn performance() -> Performance {
        let numbers =
            |cases| PerformanceRow { cases, accuracy: Proportion::of(cases / 2, cases), questions: Vec::new() };
        let group = |field: &str, of, cases| PatientGroup { field: field.into(), of, numbers: numbers(cases) };
        let groups = vec![
            group("age", PatientRange::Numbers { from: 0.0, below: Some(50.0) }, 40),
            group("age", PatientRange::Numbers { from: 50.0, below: None }, 8),
            group("sex", PatientRange::Category("female".into()), 30),
            group("sex", PatientRange::NotRecorded, 18),
        ];
        Performance { task: "diagnosis".into(), all: numbers(48), groups }
    }

    #[test]
    fn a_patient_finds_the_groups_by_name() {
        // In another order, with other categories, and a field that nothing is known of.
        let fields = [
            Field::categorical("sex", FieldRole::PreDiagnosis, ["male", "female"]),
            Field::numeric("diameter", FieldRole::PreDiagnosis),
            Field::numeric("age", FieldRole::PreDiagnosis),
        ];
        let labels = |values: [FieldValue; 3]| -> Vec<String> {
            performance().like(&fields, &values).into_iter().map(PatientGroup::label).collect()
        };
        let not_known = |values: [FieldValue; 3]| performance().not_known(&fields, &values).join(" ");
        let woman = [FieldValue::Category(1), FieldValue::Number(3.0), FieldValue::Number(49.5)];
        assert_eq!(labels(woman), ["age: 0–49", "sex: female"]);
        assert_eq!(not_known(woman), "");
        let man = [FieldValue::Category(0), FieldValue::Missing, FieldValue::Number(50.0)];
        assert_eq!(labels(man), ["age: 50+"]);
        let text = not_known(man);
        assert_eq!(
            text,
            "Only 8 test cases have age: 50+: their numbers are mostly chance. No test case has sex = male."
        );
        let nobody = [FieldValue::Missing; 3];
        assert_eq!(labels(nobody), ["sex: not recorded"]);
        assert_eq!(not_known(nobody), "age is not recorded. sex is not recorded.");
    }

    #[test]
    fn what_is_read_is_checked() {
        let value = serde_json::to_value(performance()).unwrap();
        assert_eq!(serde_json::from_value::<Performance>(value.clone()).unwrap(), performance());
        let mut changed = value;
        changed["groups"][0]["numbers"]["accuracy"]["value"] = 7.0.into();
        let error = serde_json::from_value::<Performance>(changed).unwrap_err().to_string();
        assert_eq!(error, "share of test cases in the model's summary: 7 is not within 0..=1");
    }
}
