use std::fmt;

use serde::{Deserialize, Serialize};

/// How the probabilities of a pair of classes came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationOutcome {
    /// By a sigmoid fitted on folds of the kind that was asked for.
    AsAsked,
    /// By a sigmoid fitted on folds that share the classes equally but divide groups.
    WithoutGroups,
    /// By a map that keeps the order of the decision values, and no more.
    NotCalibrated,
}

/// How one pair of classes was calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCalibration {
    /// The class that positive decision values speak for.
    pub first: usize,
    /// The class that negative decision values speak for.
    pub second: usize,
    /// Records of the first and of the second.
    pub records: [usize; 2],
    /// Groups (patients or lesions) of the first and of the second.
    pub groups: [usize; 2],
    /// What was done.
    pub outcome: CalibrationOutcome,
}

/// A class that could not be calibrated as was asked.
///
/// ```
/// # use dermafuse_ensemble::{CalibrationNote, CalibrationOutcome};
/// let note = CalibrationNote {
///     class: "MEL".into(),
///     records: 3,
///     groups: 1,
///     against: vec!["NEV".into(), "BCC".into()],
///     outcome: CalibrationOutcome::WithoutGroups,
/// };
/// assert_eq!(
///     note.to_string(),
///     "class `MEL`: one patient or lesion (3 records), calibrated without groups against `NEV`, `BCC`"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationNote {
    /// The class: of each pair, the one of fewer groups.
    pub class: String,
    /// Its records.
    pub records: usize,
    /// Its groups: patients or lesions.
    pub groups: usize,
    /// The classes against which this happened.
    pub against: Vec<String>,
    /// What was done.
    pub outcome: CalibrationOutcome,
}

impl CalibrationNote {
    /// The notes of a classifier with classes of these names.
    pub(crate) fn of(pairs: &[PairCalibration], classes: &[String]) -> Vec<Self> {
        let mut notes: Vec<Self> = Vec::new();
        for pair in pairs.iter().filter(|pair| pair.outcome != CalibrationOutcome::AsAsked) {
            let size = |side: usize| (pair.groups[side], pair.records[side]);
            let fewer = usize::from(size(1) < size(0));
            let names = [pair.first, pair.second].map(|class| &classes[class]);
            let other = names[1 - fewer].clone();
            match notes.iter_mut().find(|note| note.class == *names[fewer] && note.outcome == pair.outcome) {
                Some(note) => note.against.push(other),
                None => notes.push(Self {
                    class: names[fewer].clone(),
                    records: pair.records[fewer],
                    groups: pair.groups[fewer],
                    against: vec![other],
                    outcome: pair.outcome,
                }),
            }
        }
        notes
    }
}

impl fmt::Display for CalibrationNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = match self.groups {
            1 => "one patient or lesion".to_owned(),
            many => format!("{many} patients or lesions"),
        };
        let plural = if self.records == 1 { "" } else { "s" };
        let (done, meaning) = match self.outcome {
            CalibrationOutcome::AsAsked => ("calibrated", ""),
            CalibrationOutcome::WithoutGroups => ("calibrated without groups", ""),
            CalibrationOutcome::NotCalibrated => {
                ("not calibrated", ": its probabilities keep the order of the decision values, and no more")
            }
        };
        let against = self.against.iter().map(|class| format!("`{class}`")).collect::<Vec<_>>().join(", ");
        write!(
            formatter,
            "class `{}`: {groups} ({} record{plural}), {done} against {against}{meaning}",
            self.class, self.records
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_gathered_by_the_class_of_fewer_groups() {
        let pair =
            |(first, second), groups, outcome| PairCalibration { first, second, records: groups, groups, outcome };
        let names = ["a", "b", "c"].map(str::to_owned);
        let notes = CalibrationNote::of(
            &[
                pair((0, 1), [20, 1], CalibrationOutcome::NotCalibrated),
                pair((0, 2), [20, 30], CalibrationOutcome::AsAsked),
                pair((1, 2), [1, 30], CalibrationOutcome::NotCalibrated),
            ],
            &names,
        );
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert_eq!(
            note.to_string(),
            "class `b`: one patient or lesion (1 record), not calibrated against `a`, `c`: \
             its probabilities keep the order of the decision values, and no more"
        );
    }
}
