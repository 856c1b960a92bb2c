//! Corruptions as augmentation.

use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::{Corruption, Severity};

/// Things that spoil images, as a training shows them: hair, marks of a ruler, or any other [`Corruption`].
///
/// An image is spoilt with some probability, by one of the kinds, each as likely as the others, at one of the severities from the mildest
/// to the worst. It is done to the image as it was resized, before it is moved and its light is changed. A model that was trained so knows
/// these corruptions: what it loses by them says less about others.
///
/// ```
/// use dermafuse_data::{Augmentation, Corruption, RandomCorruption, Severity};
///
/// let skin = RandomCorruption { probability: 0.3, ..RandomCorruption::default() };
/// assert_eq!(skin.kinds, [Corruption::Hair, Corruption::RulerMarks]);
/// let augmentation = Augmentation { corruption: Some(skin.clone()), ..Augmentation::default() };
/// assert!(augmentation.check().is_ok());
/// let error = RandomCorruption { kinds: vec![], ..skin }.check().unwrap_err().to_string();
/// assert_eq!(error, "`kinds` must be one or more corruptions, found none");
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomCorruption {
    /// Probability that an image is spoilt.
    pub probability: f64,
    /// By what; one of them at a time.
    pub kinds: Vec<Corruption>,
    /// The mildest severity.
    pub mildest: Severity,
    /// The worst severity.
    pub worst: Severity,
}

impl Default for RandomCorruption {
    /// Hair or marks of a ruler on every fifth image, at the three lower severities.
    fn default() -> Self {
        let [mildest, _, worst, ..] = Severity::ALL;
        Self { probability: 0.2, kinds: vec![Corruption::Hair, Corruption::RulerMarks], mildest, worst }
    }
}

impl RandomCorruption {
    /// Checks the settings.
    ///
    /// # Errors
    /// A probability outside 0..=1, no kind, a kind twice, a mildest severity above the worst.
    pub fn check(&self) -> Result<(), SettingFault> {
        let probability = self.probability;
        SettingFault::unless((0.0..=1.0).contains(&probability), "probability", "from 0 to 1", probability)?;
        SettingFault::unless(!self.kinds.is_empty(), "kinds", "one or more corruptions", "none")?;
        let again = (1..self.kinds.len()).find(|&at| self.kinds[..at].contains(&self.kinds[at]));
        let twice = again.map_or(String::new(), |at| format!("{} again", self.kinds[at]));
        SettingFault::unless(again.is_none(), "kinds", "different corruptions", twice)?;
        SettingFault::unless(self.mildest <= self.worst, "mildest", "at most worst", self.mildest)
    }

    /// Whether, by what and how much an image is spoilt, and the seed of what is drawn on it, from four numbers from 0 to 1.
    pub(super) fn of(&self, [whether, kind, severity, seed]: [f64; 4]) -> Option<(Corruption, Severity, u64)> {
        let severities: Vec<Severity> =
            Severity::ALL.into_iter().filter(|severity| (self.mildest..=self.worst).contains(severity)).collect();
        let place = |number: f64, count: usize| ((number * count as f64) as usize).min(count - 1);
        (whether < self.probability).then(|| {
            let (kind, severity) = (place(kind, self.kinds.len()), place(severity, severities.len()));
            (self.kinds[kind], severities[severity], (seed * (1_u64 << 53) as f64) as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_severities_are_equally_likely_and_the_seed_is_the_number() {
        let [mildest, second, third, ..] = Severity::ALL;
        let corruption = RandomCorruption::default();
        assert_eq!(corruption.of([0.2, 0.0, 0.0, 0.0]), None, "every fifth is: below 0.2");
        assert_eq!(corruption.of([0.19, 0.49, 0.33, 0.0]), Some((Corruption::Hair, mildest, 0)));
        assert_eq!(corruption.of([0.0, 0.5, 0.34, 0.5]), Some((Corruption::RulerMarks, second, 1 << 52)));
        assert_eq!(corruption.of([0.0, 0.999, 0.999, 0.25]), Some((Corruption::RulerMarks, third, 1 << 51)));
    }

    #[test]
    fn settings_that_are_no_choice_are_refused() {
        let error = |corruption: RandomCorruption| corruption.check().unwrap_err().to_string();
        let default = RandomCorruption::default;
        assert_eq!(
            error(RandomCorruption { probability: 2.0, ..default() }),
            "`probability` must be from 0 to 1, found 2"
        );
        let kinds = vec![Corruption::Hair, Corruption::GelBubbles, Corruption::Hair];
        assert_eq!(
            error(RandomCorruption { kinds, ..default() }),
            "`kinds` must be different corruptions, found hair again"
        );
        let mildest = Severity::ALL[4];
        assert_eq!(error(RandomCorruption { mildest, ..default() }), "`mildest` must be at most worst, found 5");
    }
}
