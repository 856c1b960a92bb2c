use dermafuse_schema::{Modality, SettingFault};
use serde::{Deserialize, Serialize};

use super::{FindingKind, ImageMeasures, QualityFinding};

/// From which value on a picture has a finding. The defaults were chosen on MILK10k, as `docs/quality.md` says.
///
/// ```
/// use dermafuse_data::{FindingKind, ImageMeasures, QualityThresholds, RgbPixels};
///
/// let black = ImageMeasures::of(&RgbPixels::new(600, 450, vec![0; 600 * 450 * 3])?);
/// let findings = QualityThresholds::default().findings(&[&black], &[]);
/// assert_eq!(findings.len(), 1);
/// assert_eq!(findings[0].kind, FindingKind::Black);
/// assert_eq!(findings[0].to_string(), "the clinical image is black (its brightest parts have a luminance of 0 of 255)");
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityThresholds {
    /// The least length of the shorter side, in pixels.
    pub shorter_side: usize,
    /// Black: 99 % of the pixels have at most this luminance, of 255.
    pub black: f64,
    /// White: 99 % of the pixels have at least this luminance, of 255.
    pub white: f64,
    /// Of one colour: each colour has a range of at most this, of 255.
    pub range: f64,
    /// Too dark: the median luminance is below, of 255.
    pub dark: f64,
    /// Too bright: the median luminance is above, of 255.
    pub bright: f64,
    /// Blurred: the [sharpness](ImageMeasures::sharpness) is below.
    pub sharpness: f64,
    /// The least share of pixels that have a colour of skin, 0 to 1; 0 for models of anything else.
    pub skin: f64,
    /// Of the other kind: the [score](crate::ViewRule) of a picture on the wrong side is above, in logarithmic odds. It is asked where
    /// a case has pictures of one kind alone.
    pub other_kind: f64,
    /// Exchanged: the clinical picture has a [score](crate::ViewRule) that is higher than the dermoscopic one's by more than
    /// this, in logarithmic odds.
    pub exchanged: f64,
    /// The same picture twice: they [differ](ImageMeasures::difference) by at most this, of 255.
    pub same: f64,
}

impl Default for QualityThresholds {
    fn default() -> Self {
        Self {
            shorter_side: 64,
            black: 40.0,
            white: 235.0,
            range: 15.0,
            dark: 60.0,
            bright: 225.0,
            sharpness: 3.0,
            skin: 0.05,
            other_kind: 4.0,
            exchanged: 1.0,
            same: 3.0,
        }
    }
}

impl QualityThresholds {
    /// Whether these are the defaults.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that each is a number in its range.
    ///
    /// # Errors
    /// The first that is not finite, negative, or above what can be measured.
    pub fn check(&self) -> Result<(), SettingFault> {
        let of_byte = "from 0 to 255";
        let values = [
            ("black", self.black, 255.0, of_byte),
            ("white", self.white, 255.0, of_byte),
            ("range", self.range, 255.0, of_byte),
            ("dark", self.dark, 255.0, of_byte),
            ("bright", self.bright, 255.0, of_byte),
            ("sharpness", self.sharpness, f64::MAX, "a finite number of at least 0"),
            ("skin", self.skin, 1.0, "from 0 to 1"),
            ("other_kind", self.other_kind, f64::MAX, "a finite number of at least 0"),
            ("exchanged", self.exchanged, f64::MAX, "a finite number of at least 0"),
            ("same", self.same, 255.0, of_byte),
        ];
        values.into_iter().try_for_each(|(key, value, most, expected)| {
            SettingFault::unless((0.0..=most).contains(&value), key, expected, value)
        })
    }

    /// What is wrong with the pictures of a case, those of each kind in order.
    ///
    /// A picture that is black, white or of one colour has no other finding but its size. The kinds of pictures are compared by their
    /// means where a case has both, whatever else is wrong with them.
    #[must_use]
    pub fn findings(&self, clinical: &[&ImageMeasures], dermoscopic: &[&ImageMeasures]) -> Vec<QualityFinding> {
        let pictures = [(Modality::Clinical, clinical), (Modality::Dermoscopic, dermoscopic)];
        let mut findings = Vec::new();
        for (kind, images) in pictures {
            for (look, image) in images.iter().enumerate() {
                let found = self.of_image(image);
                findings.extend(found.into_iter().map(|(finding, value, threshold)| QualityFinding {
                    kind: finding,
                    image: Some(kind),
                    look,
                    value,
                    threshold,
                }));
            }
        }
        findings.extend(self.of_kinds(clinical, dermoscopic));
        findings
    }

    /// The findings of a picture for itself, each with what was measured and the threshold.
    fn of_image(&self, image: &ImageMeasures) -> Vec<(FindingKind, f64, f64)> {
        let mut found = Vec::new();
        if image.shorter_side() < self.shorter_side {
            found.push((FindingKind::TooSmall, image.shorter_side() as f64, self.shorter_side as f64));
        }
        let empty = [
            (image.brightest <= self.black, FindingKind::Black, image.brightest, self.black),
            (image.darkest >= self.white, FindingKind::White, image.darkest, self.white),
            (image.range <= self.range, FindingKind::OneColour, image.range, self.range),
        ];
        if let Some((_, kind, value, threshold)) = empty.into_iter().find(|(is_empty, ..)| *is_empty) {
            found.push((kind, value, threshold));
            return found;
        }
        let others = [
            (image.brightness < self.dark, FindingKind::TooDark, image.brightness, self.dark),
            (image.brightness > self.bright, FindingKind::TooBright, image.brightness, self.bright),
            (image.sharpness < self.sharpness, FindingKind::Blurred, image.sharpness, self.sharpness),
            (image.skin < self.skin, FindingKind::NoSkin, image.skin, self.skin),
        ];
        found.extend(
            others
                .into_iter()
                .filter(|(is_found, ..)| *is_found)
                .map(|(_, kind, value, threshold)| (kind, value, threshold)),
        );
        found
    }

    /// Whether a picture is taken twice, or stands in the place of the other kind.
    fn of_kinds(&self, clinical: &[&ImageMeasures], dermoscopic: &[&ImageMeasures]) -> Vec<QualityFinding> {
        let shows_something = |image: &&&ImageMeasures| {
            !self.of_image(image).iter().any(|(kind, ..)| {
                matches!(kind, FindingKind::Black | FindingKind::White | FindingKind::OneColour | FindingKind::NoSkin)
            })
        };
        let [clinical, dermoscopic] =
            [clinical, dermoscopic].map(|images| images.iter().filter(shows_something).copied().collect::<Vec<_>>());
        let finding = |kind, image, value, threshold| QualityFinding { kind, image, look: 0, value, threshold };
        let pairs = clinical.iter().flat_map(|one| dermoscopic.iter().map(|other| one.difference(other)));
        let difference = pairs.fold(f64::INFINITY, f64::min);
        if difference <= self.same {
            return vec![finding(FindingKind::SamePicture, None, difference, self.same)];
        }
        let mean = |images: &[&ImageMeasures]| {
            let scores = images.iter().map(|image| image.dermoscopic);
            (!images.is_empty()).then(|| scores.sum::<f64>() / images.len() as f64)
        };
        match (mean(&clinical), mean(&dermoscopic)) {
            (Some(one), Some(other)) if one - other > self.exchanged => {
                vec![finding(FindingKind::Exchanged, None, one - other, self.exchanged)]
            }
            (Some(score), None) if score > self.other_kind => {
                vec![finding(FindingKind::OtherKind, Some(Modality::Clinical), score, self.other_kind)]
            }
            (None, Some(score)) if -score > self.other_kind => {
                vec![finding(FindingKind::OtherKind, Some(Modality::Dermoscopic), -score, self.other_kind)]
            }
            _ => Vec::new(),
        }
    }
}
