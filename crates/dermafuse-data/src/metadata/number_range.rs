use serde::{Deserialize, Serialize};

/// The lowest and the highest value of a field of numbers among the training cases, both included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberRange {
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl NumberRange {
    /// The range of some numbers; `None` if there are none.
    pub(crate) fn of(numbers: &[f64]) -> Option<Self> {
        let lowest = numbers.iter().copied().reduce(f64::min)?;
        let highest = numbers.iter().copied().reduce(f64::max)?;
        Some(Self { lowest, highest })
    }

    /// Whether a number is in the range.
    #[must_use]
    pub fn contains(&self, number: f64) -> bool {
        (self.lowest..=self.highest).contains(&number)
    }
}
