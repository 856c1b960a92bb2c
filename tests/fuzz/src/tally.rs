//! What a campaign counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::execution::{Execution, Outcome};

/// Findings of a kind that are kept of one target; the others are counted.
const KEPT: usize = 10;

/// How an execution went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// A panic.
    Panic,
    /// A broken promise.
    Broken,
    /// More memory than the cap.
    OverCap,
    /// More time than the limit.
    TooLong,
    /// The process died of something else, such as its stack.
    Died,
}

impl Wrong {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Panic, Self::Broken, Self::OverCap, Self::TooLong, Self::Died];
}

/// An execution that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How.
    pub wrong: Wrong,
    /// The seed of its input.
    pub seed: u64,
    /// What was said.
    pub text: String,
}

/// The counts of one target, or of a part of its executions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Executions.
    pub executions: u64,
    /// Inputs that were read and used.
    pub accepted: u64,
    /// Inputs that were refused.
    pub refused: u64,
    /// How many went wrong, in each of the [ways](Wrong::ALL).
    counts: [u64; Wrong::ALL.len()],
    /// The first of each way.
    pub findings: Vec<Finding>,
    /// The most bytes that an execution had on the heap.
    pub peak: usize,
    /// The seed of that.
    pub peak_seed: u64,
    /// The longest execution.
    pub longest: Duration,
    /// The seed of that.
    pub longest_seed: u64,
}

impl Tally {
    /// Counts an execution.
    pub fn count(&mut self, seed: u64, execution: &Execution) {
        self.executions += 1;
        if execution.peak > self.peak {
            (self.peak, self.peak_seed) = (execution.peak, seed);
        }
        if execution.time > self.longest {
            (self.longest, self.longest_seed) = (execution.time, seed);
        }
        match &execution.outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Broken(text) => self.find(Finding { wrong: Wrong::Broken, seed, text: text.clone() }),
            Outcome::Panicked(text) => self.find(Finding { wrong: Wrong::Panic, seed, text: text.clone() }),
        }
    }

    /// Adds something that went wrong.
    pub fn find(&mut self, finding: Finding) {
        self.counts[finding.wrong as usize] += 1;
        self.keep(finding);
    }

    /// Adds the counts of another part.
    pub fn add(&mut self, other: Self) {
        self.executions += other.executions;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.counts.iter_mut().zip(other.counts).for_each(|(ours, theirs)| *ours += theirs);
        other.findings.into_iter().for_each(|finding| self.keep(finding));
        if other.peak > self.peak {
            (self.peak, self.peak_seed) = (other.peak, other.peak_seed);
        }
        if other.longest > self.longest {
            (self.longest, self.longest_seed) = (other.longest, other.longest_seed);
        }
    }

    fn keep(&mut self, finding: Finding) {
        let known = self.findings.iter().filter(|known| known.wrong == finding.wrong).count();
        if known < KEPT {
            self.findings.push(finding);
        }
    }

    /// How many went wrong in a way.
    #[must_use]
    pub fn found(&self, wrong: Wrong) -> u64 {
        self.counts[wrong as usize]
    }

    /// How many went wrong.
    #[must_use]
    pub fn all_found(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let execution = |outcome, peak| Execution { outcome, peak, time: Duration::from_millis(peak as u64) };
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.count(1, &execution(Outcome::Accepted, 5));
        one.count(2, &execution(Outcome::Panicked("there".into()), 7));
        other.count(3, &execution(Outcome::Refused, 9));
        other.find(Finding { wrong: Wrong::OverCap, seed: 4, text: String::new() });
        one.add(other);
        assert_eq!((one.executions, one.accepted, one.refused, one.all_found()), (3, 1, 1, 2));
        assert_eq!((one.peak, one.peak_seed, one.longest_seed), (9, 3, 3));
        assert_eq!((one.found(Wrong::Panic), one.found(Wrong::OverCap), one.found(Wrong::Died)), (1, 1, 0));
        for seed in 0..100 {
            one.find(Finding { wrong: Wrong::Died, seed, text: String::new() });
        }
        assert_eq!((one.all_found(), one.found(Wrong::Died), one.findings.len()), (102, 100, 2 + KEPT));
    }
}
