use serde::{Deserialize, Serialize};

use crate::{Case, Modality};

/// What answers for a case that has several images of a kind. A case with one image of each kind is the same to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeveralImages {
    /// The first image of each kind, in training as in predicting.
    First,
    /// All of them: the mean of the probabilities over the looks at the case. In training each epoch draws one of its looks.
    #[default]
    MeanOfProbabilities,
}

impl SeveralImages {
    /// How many looks at these kinds of images of a case are predicted; see [`Case::looks`].
    #[must_use]
    pub fn looks(self, case: &Case, at: impl IntoIterator<Item = Modality>) -> usize {
        match self {
            Self::First => 1,
            Self::MeanOfProbabilities => case.looks(at),
        }
    }

    /// Whether this is what nobody has to say.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What must be said of cases, by how many looks there are at each; nothing where none has several images of a kind.
    /// `cases` is what they are called, such as `test cases`.
    ///
    /// ```
    /// use dermafuse_schema::SeveralImages;
    ///
    /// assert_eq!(SeveralImages::First.note("cases", [1, 1]), None);
    /// let note = SeveralImages::MeanOfProbabilities.note("cases", [1, 3, 2]).unwrap();
    /// assert!(note.starts_with("2 of 3 cases have several images of a kind: "));
    /// ```
    #[must_use]
    pub fn note(self, cases: &str, looks: impl IntoIterator<Item = usize>) -> Option<String> {
        let (mut all, mut several, mut sum) = (0_usize, 0_usize, 0_usize);
        for looks in looks {
            all += 1;
            several += usize::from(looks > 1);
            sum += if looks > 1 { looks } else { 0 };
        }
        let how = match self {
            Self::First => "the first of each kind answers".to_owned(),
            Self::MeanOfProbabilities => {
                format!("the mean of the probabilities over their images ({sum} looks in all) answers")
            }
        };
        (several > 0).then(|| format!("{several} of {all} {cases} have several images of a kind: {how}."))
    }
}
