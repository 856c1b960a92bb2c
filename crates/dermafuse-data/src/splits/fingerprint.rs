use dermafuse_schema::Case;
use sha2::{Digest, Sha256};

use crate::CaseSet;

impl CaseSet {
    /// The SHA-256 of the cases' identities and labels, each label by the names of its task and class: 64 hexadecimal digits.
    ///
    /// It depends neither on the order of cases, tasks and classes nor on images and metadata; a corrected label changes it.
    ///
    /// ```
    /// use dermafuse_data::CaseSet;
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
    /// let case = |id: &str, label| Case { labels: vec![Some(label)], ..Case::new(id) };
    /// let cases = vec![case("a", 0), case("b", 1)];
    /// let mut set = CaseSet { name: "two".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    /// let before = set.fingerprint();
    /// set.cases.reverse();
    /// assert_eq!(set.fingerprint(), before);
    /// set.cases[0].labels = vec![Some(0)];
    /// assert_ne!(set.fingerprint(), before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut cases: Vec<&Case> = self.cases.iter().collect();
        cases.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let mut tasks: Vec<usize> = (0..self.tasks.len()).collect();
        tasks.sort_unstable_by_key(|&task| &self.tasks[task].name);
        let mut hasher = Sha256::new();
        // Lengths go first, so that no two lists of texts are the same bytes.
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        for case in cases {
            add(case.id.as_str());
            for &task in &tasks {
                add(&self.tasks[task].name);
                add(self.class_of(case, task).unwrap_or(""));
            }
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name of a case's class; `None` without a label.
    pub(crate) fn class_of(&self, case: &Case, task: usize) -> Option<&str> {
        let label = case.labels.get(task).copied().flatten()?;
        self.tasks[task].classes.get(label).map(String::as_str)
    }
}
