//! From where the lesion is to the part of its image that a network sees.

use std::path::Path;

use dermafuse_schema::{CaseImage, LesionArea, LesionBox, LesionRegion};

use crate::images::image::{RgbPixels, upright_size};
use crate::images::lesion_mask::LesionMask;
use crate::images::patient_image::PatientImage;
use crate::images::preprocess::Preprocess;
use crate::{CaseView, DataError, Modality};

/// Bytes that a cut takes for each pixel of the image beside those of the image.
pub(crate) const CUT_BYTES: u64 = 3;

/// What is cut out of an image, before its size is known.
#[derive(Debug)]
pub(crate) struct LesionCut<'a> {
    image: &'a PatientImage,
    region: &'a LesionRegion,
    lesion: LesionBox,
    /// `[width, height]` of the mask that says it.
    mask: Option<[usize; 2]>,
    margin: f64,
}

impl<'a> LesionCut<'a> {
    /// What `preprocess` cuts out of an image; `None` where it is taken whole. A mask is read now, since who holds memory of the budget
    /// must not ask for more.
    ///
    /// # Errors
    /// A mask that cannot be read, of a format that loses detail, or that is black.
    pub(crate) fn of(image: &'a PatientImage, preprocess: &Preprocess) -> Result<Option<Self>, DataError> {
        let (Some(margin), Some(region)) = (preprocess.box_margin, image.lesion()) else { return Ok(None) };
        let (lesion, mask) = found(&image.name(), region)?;
        Ok(Some(Self { image, region, lesion, mask, margin }))
    }

    /// The part of the image, which is upright.
    ///
    /// # Errors
    /// A box that reaches out of the image, a mask of another size.
    pub(crate) fn cut(&self, pixels: &RgbPixels) -> Result<RgbPixels, DataError> {
        let size = [pixels.width(), pixels.height()];
        check(&self.image.name(), self.region, (self.lesion, self.mask), size)?;
        Ok(pixels.part(self.lesion.widened(self.margin, size)))
    }
}

impl RgbPixels {
    /// The pixels in a box that lies within them.
    pub(crate) fn part(&self, part: LesionBox) -> Self {
        let [left, top, width, height] = part.xywh().map(|number| number as usize);
        let rows = self.data().chunks_exact(3 * self.width()).skip(top).take(height);
        let data = rows.flat_map(|row| &row[3 * left..3 * (left + width)]).copied().collect();
        Self::of_rows(width, height, data)
    }
}

/// The box of a region, and the size of the mask that has it.
fn found(image: &Path, region: &LesionRegion) -> Result<(LesionBox, Option<[usize; 2]>), DataError> {
    match &region.area {
        LesionArea::Box(lesion) => Ok((*lesion, None)),
        LesionArea::Mask(file) => {
            let mask = LesionMask::read(file).map_err(|error| fault(image, region, error.to_string()))?;
            let (height, width) = mask.inside().dim();
            Ok((mask.bounds(), Some([width, height])))
        }
    }
}

/// Refuses what does not fit an image of `[width, height]` pixels.
fn check(
    image: &Path,
    region: &LesionRegion,
    (lesion, mask): (LesionBox, Option<[usize; 2]>),
    size: [usize; 2],
) -> Result<(), DataError> {
    let [width, height] = size;
    if let Some([columns, rows]) = mask.filter(|mask| *mask != size) {
        let reason = format!("it has {columns} x {rows} pixels, and the upright image {width} x {height}");
        return Err(fault(image, region, reason));
    }
    if !lesion.is_within(size) {
        let reason = format!(
            "it reaches out of the upright image of {width} x {height} pixels; give x,y,width,height in pixels of this very file"
        );
        return Err(fault(image, region, reason));
    }
    Ok(())
}

fn fault(image: &Path, region: &LesionRegion, reason: String) -> DataError {
    let (area, written) = (region.area.to_string(), region.written.clone().map(Box::new));
    DataError::LesionArea { image: image.into(), area, reason, written }
}

/// Whether the area that an image's lesion is in fits the image; of the image's file no pixel is decoded.
///
/// # Errors
/// As [`LesionCut::of`] and [`LesionCut::cut`]; an image whose header cannot be read.
pub(crate) fn check_area(image: &CaseImage) -> Result<(), DataError> {
    let Some(region) = &image.lesion else { return Ok(()) };
    check(&image.path, region, found(&image.path, region)?, upright_size(&image.path)?)
}

impl Preprocess {
    /// What is to be told of the lesion boxes and masks of cases, of the kinds of images that a network looks at: how many images
    /// have one and are cut to it, how many have none and are taken whole, or that those which are there are not used. `None` where there is
    /// nothing to tell.
    ///
    /// ```
    /// use dermafuse_data::{CaseSet, Modality, Preprocess};
    /// use dermafuse_schema::{Case, CaseImage, LesionBox, Task, TaskSet};
    ///
    /// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
    /// let cut = CaseImage::from("a.jpg").with_lesion(LesionBox::new(120, 80, 300, 260)?);
    /// let case = |id: &str, image| Case { clinical: vec![image], labels: vec![Some(0)], ..Case::new(id) };
    /// let cases = vec![case("a", cut), case("b", "b.jpg".into())];
    /// let set = CaseSet { name: "two".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    ///
    /// let cutting = Preprocess { box_margin: Some(0.1), ..Preprocess::imagenet(224) };
    /// assert_eq!(
    ///     cutting.lesion_note(&set.whole(), Modality::BOTH).unwrap(),
    ///     "Images are cut to the lesion with a margin of 0.1 of its longer side: 1 of 2 images have a lesion box or mask, 1 have none and are taken \
    ///      whole."
    /// );
    /// let whole = Preprocess::imagenet(224).lesion_note(&set.whole(), Modality::BOTH).unwrap();
    /// assert_eq!(whole, "1 of 2 images have a lesion box or mask, which is not used: images are taken whole.");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lesion_note(
        &self,
        cases: &CaseView<'_>,
        kinds: impl IntoIterator<Item = Modality> + Clone,
    ) -> Option<String> {
        let images = cases.cases().flat_map(|case| kinds.clone().into_iter().flat_map(|kind| case.images(kind)));
        let (mut all, mut known) = (0_usize, 0_usize);
        for image in images {
            all += 1;
            known += usize::from(image.lesion.is_some());
        }
        let have = format!("{known} of {all} images have a lesion box or mask");
        match (self.box_margin, known) {
            (Some(margin), _) => {
                let whole = all - known;
                let rest = if whole > 0 { format!(", {whole} have none and are taken whole") } else { String::new() };
                Some(format!(
                    "Images are cut to the lesion with a margin of {margin} of its longer side: {have}{rest}."
                ))
            }
            (None, 1..) => Some(format!("{have}, which is not used: images are taken whole.")),
            (None, 0) => None,
        }
    }

    /// The part of an image that becomes the network's square, at the image's own resolution: cut to the lesion if it is known and
    /// [`box_margin`](Self::box_margin) says so, and then as [`Framing::framed`](crate::Framing::framed) has it.
    ///
    /// # Errors
    /// An image that cannot be read; a box or mask that does not fit it.
    pub fn seen(&self, image: &PatientImage) -> Result<RgbPixels, DataError> {
        let cut = LesionCut::of(image, self)?;
        let pixels = image.decode(self.decoding)?;
        let pixels = cut.map_or(Ok(None), |cut| cut.cut(&pixels).map(Some))?.unwrap_or(pixels);
        Ok(self.framing.framed(&pixels))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use dermafuse_schema::TablePlace;

    use super::*;
    use crate::encode_png;
    use crate::images::network_input::decode_resized;

    /// Pixels that tell their column and row.
    fn places(width: usize, height: usize) -> RgbPixels {
        let data = (0..width * height).flat_map(|at| [(at % width) as u8, (at / width) as u8, 7]).collect();
        RgbPixels::new(width, height, data).unwrap()
    }

    fn boxed(x: u32, y: u32, width: u32, height: u32) -> LesionBox {
        LesionBox::new(x, y, width, height).unwrap()
    }

    fn cutting(margin: f64) -> Preprocess {
        Preprocess { box_margin: Some(margin), ..Preprocess::imagenet(6) }
    }

    #[test]
    fn a_cut_image_is_prepared_as_a_file_of_the_part_alone() {
        let whole = places(40, 30);
        for (lesion, margin, part) in [
            (boxed(5, 4, 20, 10), 0.0, boxed(5, 4, 20, 10)),
            (boxed(5, 4, 20, 10), 0.1, boxed(3, 2, 24, 14)),
            (boxed(0, 20, 8, 10), 0.5, boxed(0, 15, 13, 15)),
            (boxed(0, 0, 40, 30), 0.2, boxed(0, 0, 40, 30)),
            (boxed(39, 29, 1, 1), 0.0, boxed(39, 29, 1, 1)),
        ] {
            for framing in [crate::Framing::Squash, crate::Framing::Pad, crate::Framing::Crop] {
                let preprocess = Preprocess { framing, ..cutting(margin) };
                let of_file = PatientImage::from(encode_png(&whole.part(part)));
                let expected = decode_resized(&of_file, &preprocess).unwrap().pixels;
                for image in [PatientImage::from(whole.clone()), encode_png(&whole).into()] {
                    let image = image.with_lesion(lesion);
                    assert_eq!(decode_resized(&image, &preprocess).unwrap().pixels, expected, "{lesion} {margin}");
                    assert_eq!(preprocess.seen(&image).unwrap(), framing.framed(&whole.part(part)));
                    let not_cut = Preprocess { box_margin: None, ..preprocess.clone() };
                    let untouched = decode_resized(&whole.clone().into(), &not_cut).unwrap().pixels;
                    assert_eq!(decode_resized(&image, &not_cut).unwrap().pixels, untouched);
                }
            }
        }
    }

    #[test]
    fn a_photo_of_the_squares_size_is_cut_too() {
        let image = PatientImage::from(encode_png(&places(6, 6))).with_lesion(boxed(0, 0, 3, 3));
        let prepared = decode_resized(&image, &cutting(0.0)).unwrap().pixels;
        let expected = decode_resized(&places(3, 3).into(), &cutting(0.0)).unwrap().pixels;
        assert_eq!(prepared, expected);
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        fs::write(&file, encode_png(&places(20, 10))).unwrap();
        let written = TablePlace { file: Arc::new("t.csv".into()), line: 3, column: "box".into() };
        let refused = |area: LesionArea| {
            let region = LesionRegion { area, written: Some(written.clone()) };
            let image = CaseImage::from(&file).with_lesion(region);
            let read = decode_resized(&PatientImage::from(&image), &cutting(0.1)).unwrap_err().to_string();
            assert_eq!(check_area(&image).unwrap_err().to_string(), read);
            read.replace(&folder.path().display().to_string(), "F")
        };
        let out =
            "it reaches out of the upright image of 20 x 10 pixels; give x,y,width,height in pixels of this very file";
        for lesion in [boxed(0, 0, 21, 10), boxed(0, 0, 20, 11), boxed(20, 0, 1, 1), boxed(900, 900, 5, 5)] {
            assert_eq!(
                refused(LesionArea::Box(lesion)),
                format!("F/a.png: the lesion box {lesion} does not fit: {out} (t.csv: line 3, column `box`)")
            );
        }
        let mask = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            refused(LesionArea::Mask(path))
        };
        let place = "(t.csv: line 3, column `box`)";
        let black = RgbPixels::new(20, 10, vec![0; 600]).unwrap();
        assert_eq!(
            mask("other.png", encode_png(&places(10, 20))),
            format!(
                "F/a.png: the mask F/other.png does not fit: it has 10 x 20 pixels, and the upright image 20 x 10 {place}"
            )
        );
        let text = mask("black.png", encode_png(&black));
        assert!(text.contains("F/black.png, which is black") && text.ends_with(place), "{text}");
        let text = mask("m.jpg", crate::encode_jpeg(&places(20, 10), 90).unwrap());
        assert!(text.contains("F/m.jpg") && text.contains("without loss") && text.ends_with(place), "{text}");
        let text = mask("nothing.png", Vec::new());
        assert!(text.contains("the image file is empty") && text.ends_with(place), "{text}");
        let text = refused(LesionArea::Mask(folder.path().join("nowhere.png")));
        assert!(text.contains("nowhere.png") && text.ends_with(place), "{text}");
    }

    #[test]
    fn a_mask_is_cut_to_the_rectangle_around_what_is_not_black() {
        let folder = tempfile::tempdir().unwrap();
        let mut mask = RgbPixels::new(20, 10, vec![0; 600]).unwrap().into_data();
        // Labels of 1 are lesion, however dark they look.
        for (x, y) in [(4, 3), (9, 6)] {
            mask[3 * (20 * y + x)] = 1;
        }
        let path = folder.path().join("mask.png");
        fs::write(&path, encode_png(&RgbPixels::new(20, 10, mask).unwrap())).unwrap();
        let image = PatientImage::from(places(20, 10));
        let by_mask = image.clone().with_lesion(LesionArea::Mask(path));
        let by_box = image.with_lesion(boxed(4, 3, 6, 4));
        for margin in [0.0, 0.3] {
            assert_eq!(cutting(margin).seen(&by_mask).unwrap(), cutting(margin).seen(&by_box).unwrap());
        }
        assert_eq!(cutting(0.0).seen(&by_box).unwrap(), places(20, 10).part(boxed(4, 3, 6, 4)));
    }
}
