use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

/// A training that begins with small images, which grow to their size from epoch to epoch: the first epochs cost less, and the last ones
/// see everything.
///
/// The side grows evenly and is rounded to a multiple of 32, by which backbones reduce it. Validation and prediction have images of full
/// size throughout. Source: Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021, section 4.2. Difference:
/// augmentation and dropout do not grow with the images.
///
/// ```
/// let growing = dermafuse_train::ProgressiveSize { from: 96, epochs: 8 };
/// let sides: Vec<usize> = (0..10).map(|epoch| growing.side_in(epoch, 224)).collect();
/// assert_eq!(sides, [96, 128, 128, 160, 160, 192, 192, 224, 224, 224]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressiveSize {
    /// The side of images in the first epoch, in pixels.
    pub from: usize,
    /// In how many epochs they grow; those that follow have the full size.
    pub epochs: usize,
}

/// What the sides of growing images are multiples of.
const STEP: usize = 32;

impl ProgressiveSize {
    /// The side of training images in an epoch, counted from 0; `full` is that of all other images, which no side exceeds.
    #[must_use]
    pub fn side_in(&self, epoch: usize, full: usize) -> usize {
        if epoch >= self.epochs {
            return full;
        }
        let from = self.from.min(full);
        let grown = (full - from) as f64 * epoch as f64 / self.epochs as f64;
        match epoch {
            0 => from,
            _ => (((from as f64 + grown) / STEP as f64).round() as usize * STEP).clamp(from, full),
        }
    }

    /// # Errors
    /// Images that do not grow.
    pub(crate) fn check(&self, full: usize) -> Result<(), SettingFault> {
        let expected = "at least 1 and below preprocess.size";
        SettingFault::unless((1..full).contains(&self.from), "from", expected, self.from)?;
        SettingFault::unless(self.epochs > 0, "epochs", "at least 1", self.epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_never_leave_the_range_and_never_shrink() {
        for (from, epochs, full) in [(96, 8, 160), (50, 3, 60), (33, 20, 299), (1, 1, 2), (64, 100, 96)] {
            let growing = ProgressiveSize { from, epochs };
            growing.check(full).unwrap();
            let sides: Vec<usize> = (0..epochs + 2).map(|epoch| growing.side_in(epoch, full)).collect();
            assert_eq!((sides[0], sides[epochs], sides[epochs + 1]), (from, full, full));
            assert!(sides.is_sorted() && sides.iter().all(|side| (from..=full).contains(side)), "{sides:?}");
        }
        // Not checked: larger than the others, and so as they are.
        let shrinking = ProgressiveSize { from: 96, epochs: 3 };
        assert_eq!([0, 1, 2, 3].map(|epoch| shrinking.side_in(epoch, 50)), [50; 4]);
    }

    #[test]
    fn images_that_do_not_grow_are_refused() {
        let error = |from, epochs| ProgressiveSize { from, epochs }.check(160).unwrap_err().to_string();
        assert_eq!(error(160, 4), "`from` must be at least 1 and below preprocess.size, found 160");
        assert_eq!(error(0, 4), "`from` must be at least 1 and below preprocess.size, found 0");
        assert_eq!(error(96, 0), "`epochs` must be at least 1, found 0");
    }
}
