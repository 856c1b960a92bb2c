//! What is probable, and so what the best possible classifier reaches.

use serde::{Deserialize, Serialize};

use super::{Config, LOOKS, MALIGNANT, Shares};

/// What a classifier is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// Nothing: it can but name the most frequent diagnosis.
    Nothing,
    /// The photo.
    Image,
    /// The record.
    Record,
    /// The photo and the record.
    ImageAndRecord,
}

/// What the best possible classifier reaches, as expected over all lesions that the configuration can give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimum {
    /// The share of right answers of one that names the most probable diagnosis.
    pub accuracy: f64,
    /// The mean over the diagnoses of the share of right answers, of one that weighs the diagnoses alike.
    pub balanced_accuracy: f64,
}

impl Config {
    /// The probability of each diagnosis, appearance and profile, in that order of indices; they sum to 1.
    #[must_use]
    pub fn probabilities(&self) -> [[[f64; 6]; 6]; 6] {
        let prior = self.prior();
        let mut joint = [[[0.0; 6]; 6]; 6];
        for (diagnosis, joint) in joint.iter_mut().enumerate() {
            for (share, teller) in self.tellers() {
                let [appearances, profiles] = teller.given(diagnosis, &prior);
                for (row, appearance) in joint.iter_mut().zip(appearances) {
                    for (cell, profile) in row.iter_mut().zip(profiles) {
                        *cell += prior[diagnosis] * share * appearance * profile;
                    }
                }
            }
        }
        joint
    }

    /// What the best possible classifier reaches that is given `inputs`: for each appearance, profile or pair of them the
    /// diagnosis that is most probable then, summed up. Exact, but for rounding.
    ///
    /// ```
    /// use dermafuse_synthetic::pad_ufes_20::{Config, Inputs, Shares};
    ///
    /// // Nothing but what the two say together: three looks, two courses, six diagnoses.
    /// let shares = Shares { image: 0.0, record: 0.0, either: 0.0, together: 1.0 };
    /// let config = Config { shares, diagnoses: [1.0; 6], ..Config::default() };
    /// let accuracy = |inputs| (1000.0 * config.optimum(inputs).accuracy).round() / 1000.0;
    /// assert_eq!(accuracy(Inputs::Image), 0.5);
    /// assert_eq!(accuracy(Inputs::Record), 0.333);
    /// assert_eq!(accuracy(Inputs::ImageAndRecord), 1.0);
    /// ```
    #[must_use]
    pub fn optimum(&self, inputs: Inputs) -> Optimum {
        let joint = self.probabilities();
        // What the classifier can tell apart: a cell of appearance and profile, a row, a column, nothing.
        let seen = |appearance: usize, profile: usize| match inputs {
            Inputs::Nothing => 0,
            Inputs::Image => appearance,
            Inputs::Record => profile,
            Inputs::ImageAndRecord => 6 * appearance + profile,
        };
        let mut given = [[0.0; 6]; 36];
        for (diagnosis, table) in joint.iter().enumerate() {
            for (appearance, row) in table.iter().enumerate() {
                for (profile, probability) in row.iter().enumerate() {
                    given[seen(appearance, profile)][diagnosis] += probability;
                }
            }
        }
        let prior = self.prior();
        let possible = prior.iter().filter(|prior| **prior > 0.0).count() as f64;
        let best = |weights: [f64; 6]| -> f64 {
            let weighted = |row: &[f64; 6]| row.iter().zip(weights).map(|(p, weight)| p * weight).fold(0.0, f64::max);
            given.iter().map(weighted).sum()
        };
        let alike = prior.map(|prior| if prior > 0.0 { 1.0 / (possible * prior) } else { 0.0 });
        Optimum { accuracy: best([1.0; 6]), balanced_accuracy: best(alike) }
    }

    pub(super) fn prior(&self) -> [f64; 6] {
        let sum: f64 = self.diagnoses.iter().sum();
        self.diagnoses.map(|share| share / sum)
    }

    pub(super) fn tellers(&self) -> [(f64, Teller); 5] {
        let Shares { image, record, either, together } = self.shares;
        let nobody = (1.0 - image - record - either - together).max(0.0);
        [
            (image, Teller::Image),
            (record, Teller::Record),
            (either, Teller::Either),
            (together, Teller::Together),
            (nobody, Teller::Nobody),
        ]
    }
}

/// Who tells the diagnosis of a lesion.
#[derive(Clone, Copy)]
pub(super) enum Teller {
    Image,
    Record,
    Either,
    Together,
    Nobody,
}

impl Teller {
    /// The probabilities of appearances and of profiles, which are independent of each other given the diagnosis.
    pub(super) fn given(self, diagnosis: usize, prior: &[f64; 6]) -> [[f64; 6]; 2] {
        let among = |fits: &dyn Fn(usize) -> bool| {
            let kept: [f64; 6] = std::array::from_fn(|class| if fits(class) { prior[class] } else { 0.0 });
            let sum: f64 = kept.iter().sum();
            kept.map(|share| if sum > 0.0 { share / sum } else { 0.0 })
        };
        let told = among(&|class| class == diagnosis);
        let any = among(&|_| true);
        match self {
            Self::Image => [told, any],
            Self::Record => [any, told],
            Self::Either => [told, told],
            Self::Together => [
                among(&|class| LOOKS[class] == LOOKS[diagnosis]),
                among(&|class| MALIGNANT[class] == MALIGNANT[diagnosis]),
            ],
            Self::Nobody => [any, any],
        }
    }
}
