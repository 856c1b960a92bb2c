//! Arguments that say where the lesion is in the images of a single case.

use std::path::PathBuf;

use clap::Args;
use dermafuse::schema::{CaseImage, LesionBox};

/// Where the lesion is in each image, if that is said.
#[derive(Args, Clone, Debug)]
pub(crate) struct LesionBoxes {
    /// Where the lesion is in the clinical photo, in pixels of the image as it is shown; once for each photo. A model that was trained on
    /// images cut to the lesion cuts this one too.
    #[arg(long, value_name = "X,Y,WIDTH,HEIGHT", requires = "clinical", allow_hyphen_values = true)]
    clinical_box: Vec<LesionBox>,
    /// Where the lesion is in the dermoscopic image; once for each.
    #[arg(long, value_name = "X,Y,WIDTH,HEIGHT", requires = "dermoscopic", allow_hyphen_values = true)]
    dermoscopic_box: Vec<LesionBox>,
}

impl LesionBoxes {
    /// The clinical and the dermoscopic images with their boxes.
    ///
    /// # Errors
    /// Another number of boxes than of images.
    pub(crate) fn images(
        &self,
        clinical: &[PathBuf],
        dermoscopic: &[PathBuf],
    ) -> Result<(Vec<CaseImage>, Vec<CaseImage>), String> {
        Ok((
            boxed("clinical", clinical, &self.clinical_box)?,
            boxed("dermoscopic", dermoscopic, &self.dermoscopic_box)?,
        ))
    }
}

fn boxed(kind: &str, files: &[PathBuf], boxes: &[LesionBox]) -> Result<Vec<CaseImage>, String> {
    let images = files.iter().map(CaseImage::from);
    match boxes.len() {
        0 => Ok(images.collect()),
        count if count == files.len() => {
            Ok(images.zip(boxes).map(|(image, lesion)| image.with_lesion(*lesion)).collect())
        }
        count => {
            Err(format!("{count} of --{kind}-box for {} of --{kind}; give one for each image, or none", files.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_has_a_box_or_none_has() {
        let (files, lesion) = (["a.jpg", "b.jpg"].map(PathBuf::from), LesionBox::new(1, 2, 3, 4).unwrap());
        assert_eq!(boxed("clinical", &files, &[]).unwrap(), ["a.jpg", "b.jpg"].map(CaseImage::from));
        let both = boxed("clinical", &files, &[lesion, lesion]).unwrap();
        assert_eq!(both, ["a.jpg", "b.jpg"].map(|file| CaseImage::from(file).with_lesion(lesion)));
        let error = boxed("clinical", &files, &[lesion]).unwrap_err();
        assert_eq!(error, "1 of --clinical-box for 2 of --clinical; give one for each image, or none");
    }
}
