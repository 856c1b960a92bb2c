use dermafuse_data::{
    CaseSet, CaseView, Corruption, DataError, ImageCorruption, Resampling, RgbPixels, Severity, decode, encode_jpeg,
    resize,
};
use dermafuse_eval::figure::image_sheet;
use dermafuse_eval::{CorruptedEvaluation, CorruptionEvaluation, Evaluation, SampleImage};
use dermafuse_infer::{Answers, Bundle, kinds_of};
use dermafuse_networks::Network;
use dermafuse_schema::{Case, Modality};

use crate::{Progress, RecipeError};

/// The side of a picture in a sheet, in pixels.
const PICTURE: usize = 96;
/// The JPEG quality of a picture in a sheet.
const PICTURE_QUALITY: u8 = 85;

/// What a model is asked about corrupted images: which corruptions, how severe, and of which images. Images are corrupted in
/// their own size, upright, before anything that the model does to them. Masks of images, the record and the labels stay as they
/// are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptionBenchmark {
    /// The corruptions, in the order in which they are reported.
    pub corruptions: Vec<Corruption>,
    /// The severities of each.
    pub severities: Vec<Severity>,
    /// The only kind of images that is corrupted; `None` for all that the model looks at.
    pub only: Option<Modality>,
    /// Decides the draws.
    pub seed: u64,
}

/// What a [`CorruptionBenchmark`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct CorruptionOutcome {
    /// The numbers of the model's last stage.
    pub evaluation: CorruptionEvaluation,
    /// For each kind of image a drawing of one case under all corruptions.
    pub sheets: Vec<String>,
}

impl Default for CorruptionBenchmark {
    /// All corruptions at all five severities on both images.
    fn default() -> Self {
        let (corruptions, severities) = (Corruption::ALL.into(), Severity::ALL.into());
        Self { corruptions, severities, only: None, seed: 0 }
    }
}

impl CorruptionBenchmark {
    /// Checks what can be wrong before anything is predicted.
    ///
    /// # Errors
    /// No corruption, no severity, one that is named twice, a kind of image that the model does not look at.
    pub fn check(&self, bundle: &Bundle) -> Result<(), RecipeError> {
        let refused = |what, found: String, expected| Err(DataError::Setting { what, found, expected }.into());
        if self.corruptions.is_empty() || self.severities.is_empty() {
            let found = format!("{} of {} severities", self.corruptions.len(), self.severities.len());
            return refused("corruptions", found, "at least one of at least one severity");
        }
        let again = |at: usize| self.corruptions[..at].contains(&self.corruptions[at]);
        if let Some(at) = (0..self.corruptions.len()).find(|&at| again(at)) {
            return refused("corruptions", format!("{} twice", self.corruptions[at]), "one that names each once");
        }
        let again = |at: usize| self.severities[..at].contains(&self.severities[at]);
        if let Some(at) = (0..self.severities.len()).find(|&at| again(at)) {
            return refused("severities", format!("{} twice", self.severities[at]), "one that names each once");
        }
        match self.only {
            Some(kind) if !kinds_of(bundle.network.modalities()).any(|seen| seen == kind) => {
                refused("corrupted images", kind.to_string(), "a kind of image that the model looks at")
            }
            _ => Ok(()),
        }
    }

    /// Evaluates the last stage of a model on corrupted images of the cases that it answered (`clean`, the answers for the images as
    /// they are).
    ///
    /// # Errors
    /// Those of [`CorruptionBenchmark::check`]; images or predictions that cannot be evaluated.
    pub fn run(
        &self,
        bundle: &Bundle,
        set: &CaseSet,
        clean: &Answers,
        progress: &mut impl Progress,
    ) -> Result<CorruptionOutcome, RecipeError> {
        self.check(bundle)?;
        let cases = set.view(&clean.rows)?;
        let total = self.corruptions.len() * self.severities.len();
        progress.step(&format!("predicting {} cases under {total} corruptions", cases.len()));
        let mut corrupted = Vec::with_capacity(total);
        for &corruption in &self.corruptions {
            for &severity in &self.severities {
                let done = corrupted.len() * cases.len();
                let images = ImageCorruption { corruption, severity, only: self.only, seed: self.seed };
                let answers = bundle.predict_corrupted(&cases, images, |predicted| {
                    progress.predicted(done + predicted, total * cases.len());
                })?;
                corrupted.push(CorruptedEvaluation {
                    corruption: corruption.name().to_owned(),
                    family: corruption.family().name().to_owned(),
                    severity: severity.get(),
                    evaluation: Evaluation::of(answers.last())?,
                });
            }
        }
        let evaluation = CorruptionEvaluation::new(Evaluation::of(clean.last())?, corrupted);
        Ok(CorruptionOutcome { evaluation, sheets: self.sheets(bundle, &cases)? })
    }

    /// A drawing for each kind of image of the first case that has all kinds, or of the first one.
    fn sheets(&self, bundle: &Bundle, cases: &CaseView<'_>) -> Result<Vec<String>, RecipeError> {
        let kinds = || kinds_of(bundle.network.modalities()).filter(|&kind| self.only.is_none_or(|only| only == kind));
        let whole = cases.cases().find(|case| kinds().all(|kind| case.has(kind)));
        let Some(case) = whole.or_else(|| cases.cases().next()) else {
            return Ok(Vec::new());
        };
        let mut sheets = Vec::new();
        for kind in kinds() {
            if let Some(path) = case.image(kind, 0) {
                let pixels = decode(path, bundle.description.preprocess.decoding)?;
                sheets.push(self.sheet(case, kind, &pixels)?);
            }
        }
        Ok(sheets)
    }

    /// An image of a case under all corruptions: a row for each, a column for each severity, after the image as it is. Each is
    /// stretched to a square, as a network sees it.
    ///
    /// # Errors
    /// An image that cannot be resized.
    pub fn sheet(&self, case: &Case, kind: Modality, pixels: &RgbPixels) -> Result<String, RecipeError> {
        let picture = |pixels: &RgbPixels| -> Result<SampleImage, DataError> {
            let small = resize(pixels, PICTURE, Resampling::Pillow)?;
            Ok(SampleImage { mime: "image/jpeg".to_owned(), bytes: encode_jpeg(&small, PICTURE_QUALITY)? })
        };
        let clean = picture(pixels)?;
        let row = |&corruption: &Corruption| -> Result<(String, Vec<SampleImage>), DataError> {
            let images = self.severities.iter().map(|&severity| {
                let how = ImageCorruption { corruption, severity, only: None, seed: self.seed };
                picture(&how.apply(pixels, &case.id, kind, 0))
            });
            let images = std::iter::once(Ok(clean.clone())).chain(images).collect::<Result<_, _>>()?;
            Ok((corruption.name().replace('_', " "), images))
        };
        let rows = self.corruptions.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let severities = self.severities.iter().map(|severity| format!("severity {severity}"));
        let columns: Vec<String> = std::iter::once("clean".to_owned()).chain(severities).collect();
        Ok(image_sheet(&format!("Case {}, {kind} image", case.id), &columns, &rows))
    }
}
