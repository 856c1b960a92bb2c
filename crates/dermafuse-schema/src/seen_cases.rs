use std::fmt;

use serde::{Deserialize, Serialize};

/// How many of the cases that a model is asked about had a part in making it. A number that such cases have a part in is no
/// test of the model.
///
/// ```
/// use dermafuse_schema::SeenCases;
///
/// let seen = SeenCases { cases: 40, trained: 27, selected: 3, same_data_set: true, known: true };
/// assert!(seen.any());
/// assert!(seen.to_string().starts_with("30 of 40 cases trained or selected this model (27 trained, 3 selected)"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCases {
    /// The cases that are asked about.
    pub cases: usize,
    /// How many of them trained the model.
    pub trained: usize,
    /// How many selected it (epoch, branch weights, settings) and did not train it.
    pub selected: usize,
    /// Whether they are from a data set of a name that the model was made from. Ids of another set may be the same by chance.
    pub same_data_set: bool,
    /// Whether the model says which cases made it; one of an older format does not.
    pub known: bool,
}

impl SeenCases {
    /// Whether any case had a part in making the model, or nobody knows.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.known || self.trained + self.selected > 0
    }
}

impl fmt::Display for SeenCases {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, trained, selected, .. } = self;
        if !self.known {
            return formatter.write_str("The model does not say which cases trained it: these may be among them.");
        }
        let seen = trained + selected;
        match (seen, self.same_data_set) {
            (0, _) => write!(formatter, "0 of {cases} cases trained or selected this model."),
            (_, true) => write!(
                formatter,
                "{seen} of {cases} cases trained or selected this model ({trained} trained, {selected} selected): this is \
                 no test of it."
            ),
            (_, false) => write!(
                formatter,
                "{seen} of {cases} cases have the ids of cases that trained or selected this model, though the data set \
                 has another name: are they the same?"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_put_in_words() {
        let none = SeenCases { cases: 5, trained: 0, selected: 0, same_data_set: true, known: true };
        assert_eq!((none.any(), none.to_string().as_str()), (false, "0 of 5 cases trained or selected this model."));
        let other = SeenCases { trained: 2, same_data_set: false, ..none };
        assert!(other.to_string().ends_with("though the data set has another name: are they the same?"));
        let unknown = SeenCases { known: false, ..none };
        assert!(unknown.any() && unknown.to_string().starts_with("The model does not say"));
    }
}
