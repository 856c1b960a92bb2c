use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::shuffle::{stream, uniform};

/// The largest probability with which something is left out: beyond it hardly anything is learnt.
const MOST: f64 = 0.9;
/// The purpose "modality dropout"; augmentation has the small numbers.
const DROPOUT: u64 = 0x6d6f_6461;

/// How often a case is shown in training as if it lacked an image or its record, so that a network learns to do without.
///
/// Each is left out with a probability of its own, independently; a draw that leaves out all that there is of a case is drawn
/// again. What is left out is what a missing one is in inference: zeros in place of the image, the record in which nothing is recorded.
///
/// # Sources
/// Neverova, Wolf, Taylor, Nebout, "ModDrop: adaptive multi-modal gesture recognition", IEEE TPAMI 38, 2016.
///
/// ```
/// use dermafuse_data::{ModalityDropout, Shown};
///
/// let dropout = ModalityDropout { clinical: 0.5, dermoscopic: 0.2, metadata: 0.0 };
/// let shown = dropout.shown(7, 0, 12, 0, Shown::ALL);
/// assert_eq!(shown, dropout.shown(7, 0, 12, 0, Shown::ALL));
/// assert!(shown.metadata && (shown.clinical || shown.dermoscopic || shown.metadata));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModalityDropout {
    /// The probability for the clinical photo, 0 to 0.9.
    #[serde(default)]
    pub clinical: f64,
    /// That for the dermoscopic image.
    #[serde(default)]
    pub dermoscopic: f64,
    /// That for the record.
    #[serde(default)]
    pub metadata: f64,
}

/// What is shown of a case, of what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The clinical photo.
    pub clinical: bool,
    /// The dermoscopic image.
    pub dermoscopic: bool,
    /// The record.
    pub metadata: bool,
}

impl Shown {
    /// Everything.
    pub const ALL: Self = Self { clinical: true, dermoscopic: true, metadata: true };
}

impl ModalityDropout {
    /// Checks that the probabilities are some.
    ///
    /// # Errors
    /// One that is not within 0..=0.9; all of them 0.
    pub fn check(&self) -> Result<(), SettingFault> {
        let each = [("clinical", self.clinical), ("dermoscopic", self.dermoscopic), ("metadata", self.metadata)];
        for (key, probability) in each {
            let is_in_range = (0.0..=MOST).contains(&probability);
            SettingFault::unless(is_in_range, key, "a probability of 0 to 0.9", probability)?;
        }
        let drops = each.iter().any(|(_, probability)| *probability > 0.0);
        SettingFault::unless(drops, "", "of a probability above 0, or left out", "only 0")
    }

    /// What is shown of a case of which `there` is there, the `time`-th time (from 0) that it is shown in an epoch. It depends on
    /// these numbers alone.
    ///
    /// # Panics
    /// Never for probabilities that pass [`check`](Self::check); with a probability of 1 for all that is there it would not end.
    #[must_use]
    pub fn shown(&self, seed: u64, epoch: u64, row: usize, time: usize, there: Shown) -> Shown {
        let mut rng = stream(seed, epoch, row as u64, (time as u64) << 32 | DROPOUT);
        loop {
            // Three draws for every case, whatever there is of it.
            let [clinical, dermoscopic, metadata] = [self.clinical, self.dermoscopic, self.metadata]
                .map(|probability| uniform(&mut rng, 0.0, 1.0) >= probability);
            let shown = Shown {
                clinical: there.clinical && clinical,
                dermoscopic: there.dermoscopic && dermoscopic,
                metadata: there.metadata && metadata,
            };
            let nothing_there = !(there.clinical || there.dermoscopic || there.metadata);
            if nothing_there || shown.clinical || shown.dermoscopic || shown.metadata {
                return shown;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROPOUT: ModalityDropout = ModalityDropout { clinical: 0.5, dermoscopic: 0.25, metadata: 0.4 };

    #[test]
    fn each_is_left_out_as_often_as_said_and_never_all() {
        let cases = 20_000;
        let mut counts = [0.0; 3];
        for row in 0..cases {
            let Shown { clinical, dermoscopic, metadata } = DROPOUT.shown(3, 5, row, 0, Shown::ALL);
            assert!(clinical || dermoscopic || metadata, "{row}");
            for (count, shown) in counts.iter_mut().zip([clinical, dermoscopic, metadata]) {
                *count += f64::from(u8::from(!shown)) / cases as f64;
            }
        }
        // Of all draws a share of 0.5 · 0.25 · 0.4 is drawn again.
        let again = 0.5 * 0.25 * 0.4;
        for (share, probability) in counts.into_iter().zip([0.5, 0.25, 0.4]) {
            let expected = (probability - again) / (1.0 - again);
            assert!((share - expected).abs() < 0.015, "{share} {expected}");
        }
    }

    #[test]
    fn a_draw_has_an_address_and_what_is_not_there_is_not_shown() {
        let draws = |seed, epoch, time| -> Vec<Shown> {
            (0..200).map(|row| DROPOUT.shown(seed, epoch, row, time, Shown::ALL)).collect()
        };
        assert_eq!(draws(1, 2, 0), draws(1, 2, 0));
        for other in [draws(2, 2, 0), draws(1, 3, 0), draws(1, 2, 1)] {
            assert_ne!(other, draws(1, 2, 0));
        }
        let photo = Shown { clinical: true, dermoscopic: false, metadata: false };
        assert!((0..200).all(|row| DROPOUT.shown(1, 2, row, 0, photo) == photo));
        let nothing = Shown { clinical: false, ..photo };
        assert_eq!(DROPOUT.shown(1, 2, 3, 0, nothing), nothing);
    }

    #[test]
    fn probabilities_are_checked() {
        assert!(DROPOUT.check().is_ok());
        let error = |dropout: ModalityDropout| dropout.check().unwrap_err().to_string();
        assert!(error(ModalityDropout { metadata: 0.95, ..DROPOUT }).starts_with("`metadata` must"));
        assert!(error(ModalityDropout { clinical: f64::NAN, ..DROPOUT }).starts_with("`clinical` must"));
        assert!(error(ModalityDropout::default()).contains("above 0"));
    }
}
