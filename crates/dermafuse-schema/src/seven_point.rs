use serde::{Deserialize, Serialize};

use crate::Task;

/// From this score on the checklist calls a lesion suspicious (Argenziano et al., Archives of Dermatology 1998).
pub const SUSPICIOUS_SCORE: u32 = 3;

/// A criterion of the seven-point checklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SevenPointCriterion {
    /// [Label](Task::label) of its task.
    pub label: &'static str,
    /// The class that counts.
    pub class: &'static str,
    /// Its points: 2 for a major criterion, 1 for a minor one.
    pub points: u32,
}

/// The criteria: atypical network, blue-whitish veil and irregular vessels are major ones; irregular streaks, irregular
/// pigmentation, irregular dots and globules, and regression are minor ones.
pub const SEVEN_POINT_CRITERIA: [SevenPointCriterion; 7] = [
    SevenPointCriterion { label: "PN", class: "ATP", points: 2 },
    SevenPointCriterion { label: "BWV", class: "PRS", points: 2 },
    SevenPointCriterion { label: "VS", class: "IR", points: 2 },
    SevenPointCriterion { label: "STR", class: "IR", points: 1 },
    SevenPointCriterion { label: "PIG", class: "IR", points: 1 },
    SevenPointCriterion { label: "DaG", class: "IR", points: 1 },
    SevenPointCriterion { label: "RS", class: "PRS", points: 1 },
];

/// The seven-point checklist of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SevenPointScore {
    /// The criteria, major ones first.
    pub criteria: Vec<CriterionFound>,
}

/// A criterion, and whether a case meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriterionFound {
    /// The name of its task, such as `pigment_network`.
    pub task: String,
    /// Its points if it is met.
    pub points: u32,
    /// Whether it is.
    pub met: bool,
}

impl SevenPointScore {
    /// The score of a case that has these classes of these tasks; `None` unless all seven criteria are among the tasks.
    ///
    /// ```
    /// use dermafuse_schema::{SEVEN_POINT_CRITERIA, SevenPointScore, Task};
    ///
    /// let task = |label: &str, class: &str| Task::new(format!("task {label}"), label, ["ABS", class]);
    /// let tasks: Vec<Task> = SEVEN_POINT_CRITERIA.iter().map(|each| task(each.label, each.class)).collect();
    /// let score = SevenPointScore::of(tasks.iter().zip([1, 0, 0, 1, 0, 0, 0])).unwrap();
    /// assert_eq!((score.points(), score.is_suspicious()), (3, true)); // atypical network and irregular streaks
    /// assert_eq!(SevenPointScore::of(tasks[..6].iter().zip([0; 6])), None);
    /// ```
    pub fn of<'a>(classes: impl IntoIterator<Item = (&'a Task, usize)>) -> Option<Self> {
        let classes: Vec<(&Task, usize)> = classes.into_iter().collect();
        let criteria = SEVEN_POINT_CRITERIA.iter().map(|criterion| {
            let (task, class) = classes.iter().find(|(task, _)| task.label == criterion.label)?;
            let counts = task.index_of(criterion.class)?;
            Some(CriterionFound { task: task.name.clone(), points: criterion.points, met: *class == counts })
        });
        Some(Self { criteria: criteria.collect::<Option<_>>()? })
    }

    /// The points of the criteria that are met, 0 to 10.
    #[must_use]
    pub fn points(&self) -> u32 {
        self.criteria.iter().filter(|criterion| criterion.met).map(|criterion| criterion.points).sum()
    }

    /// Whether the checklist calls the lesion suspicious: [`SUSPICIOUS_SCORE`] points or more.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.points() >= SUSPICIOUS_SCORE
    }
}
