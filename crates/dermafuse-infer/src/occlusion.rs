use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use dermafuse_networks::{Modality, MultimodalInput, Network};
use ndarray::Array2;

use crate::explainer::{chosen_classes, doubles};
use crate::{ExplainedLogit, Explainer, HeatMap, InferError};

/// What a hidden part of an image, or a whole one, is replaced by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageBaseline {
    /// The mean colour of the image itself: the skin stays, all structure goes.
    #[default]
    MeanColor,
    /// Zeros, which stand for an image that there is not: black, or with a normalization by mean and deviation the mean colour
    /// of all training images.
    Zeros,
}

impl ImageBaseline {
    /// # Shapes
    /// `[B, 3, H, W]` images → one colour each, `[B, 3, 1, 1]`.
    pub(crate) fn colors(self, images: &Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = images.dims();
        match self {
            Self::MeanColor => {
                images.clone().reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels, 1, 1])
            }
            Self::Zeros => Tensor::zeros([batch, channels, 1, 1], &images.device()),
        }
    }
}

/// How parts of an image are hidden to see what the answer depends on (Zeiler and Fergus, ECCV 2014).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occlusion {
    /// Side of the hidden square, in pixels.
    pub patch: usize,
    /// How far it is moved each time, in pixels; at most the side, so that every pixel is hidden once.
    pub stride: usize,
    /// What it is filled with.
    pub fill: ImageBaseline,
    /// Images in one forward pass; changes speed and memory, not results.
    pub batch_size: usize,
}

impl Occlusion {
    /// Squares of an eighth of the image's side, moved by half of it, in the image's mean colour.
    #[must_use]
    pub fn of_size(image_size: usize) -> Self {
        let patch = (image_size / 8).max(1);
        Self { patch, stride: (patch / 2).max(1), fill: ImageBaseline::default(), batch_size: 16 }
    }

    /// Where the squares begin along a side.
    fn starts(&self, side: usize) -> Vec<usize> {
        let last = side - self.patch;
        let mut starts: Vec<usize> = (0..last).step_by(self.stride).collect();
        starts.push(last);
        starts
    }
}

impl<N: Network> Explainer<N> {
    /// By how much the class's probability falls where a square of an image is hidden: for each pixel the mean over the
    /// squares that hide it. 1 in the map stands for the largest fall ([`HeatMap::highest`]); where the probability rises, the
    /// map is 0.
    ///
    /// The probability is the softmax of the explained logits. Unlike a class activation map this takes many passes through
    /// the network, and needs no gradient.
    ///
    /// # Shapes
    /// one case (`B` = 1) → `[H, W]`.
    ///
    /// # Errors
    /// A branch, task or class that there is not; a square that is larger than the image; a stride or batch of 0, or a stride
    /// that leaves gaps; more or fewer than one case.
    ///
    /// # Panics
    /// If the input lacks something that the network looks at.
    pub fn occlusion(
        &self,
        input: &MultimodalInput,
        view: Modality,
        logit: &ExplainedLogit,
        occlusion: &Occlusion,
    ) -> Result<HeatMap, InferError> {
        let input = self.on_device(input);
        let image = input.image(view); // [1, 3, H, W]
        let [cases, _, height, width] = image.dims();
        let Occlusion { patch, stride, fill, batch_size } = *occlusion;
        let refuse = |what, expected, found: usize| Err(InferError::Occlusion { what, expected, found });
        if cases != 1 {
            return refuse("cases", "1", cases);
        }
        if patch == 0 || patch > height.min(width) {
            return refuse("the side of the hidden square", "1 to the image's side", patch);
        }
        if stride == 0 || stride > patch {
            return refuse("the stride", "1 to the side of the hidden square", stride);
        }
        if batch_size == 0 {
            return refuse("the batch size", "at least 1", batch_size);
        }
        let logits = self.explained(&self.forward(input.clone()), logit)?; // [1, K]
        let class = chosen_classes(&logits, logit.class)[0];
        let probability = |logits: Tensor<2>| doubles(softmax(logits, 1).narrow(1, class, 1));
        let whole = probability(logits)[0];

        let (rows, columns) = (occlusion.starts(height), occlusion.starts(width));
        let squares: Vec<[usize; 2]> = rows.iter().flat_map(|&y| columns.iter().map(move |&x| [y, x])).collect();
        let color = fill.colors(&image); // [1, 3, 1, 1]
        let (mut drops, mut counts) = (Array2::<f64>::zeros((height, width)), Array2::<f64>::zeros((height, width)));
        for squares in squares.chunks(batch_size) {
            let mut masks = vec![0.0_f32; squares.len() * height * width];
            for ([y, x], mask) in squares.iter().zip(masks.chunks_mut(height * width)) {
                (0..patch).for_each(|row| mask[(y + row) * width + x..][..patch].fill(1.0));
            }
            let shape = [squares.len(), 1, height, width];
            let hidden = Tensor::<4>::from_data(TensorData::new(masks, shape), self.device());
            let images = image.clone() * (hidden.clone() * -1.0 + 1.0) + color.clone() * hidden; // [S, 3, H, W]
            let output = self.forward(with_image(&input, view, images));
            for ([y, x], probability) in squares.iter().zip(probability(self.explained(&output, logit)?)) {
                for row in *y..y + patch {
                    for column in *x..x + patch {
                        drops[[row, column]] += whole - probability;
                        counts[[row, column]] += 1.0;
                    }
                }
            }
        }
        Ok(HeatMap::of_drops(&(drops / counts)))
    }
}

/// One case as a batch in which one of its images takes different forms.
fn with_image(input: &MultimodalInput, view: Modality, images: Tensor<4>) -> MultimodalInput {
    let batch = images.dims()[0];
    let other = |images: &Option<Tensor<4>>| images.clone().map(|image| image.repeat_dim(0, batch));
    let metadata = input.metadata.clone().map(|record| record.repeat_dim(0, batch));
    match view {
        Modality::Clinical => {
            MultimodalInput { clinical: Some(images), dermoscopic: other(&input.dermoscopic), metadata }
        }
        Modality::Dermoscopic => {
            MultimodalInput { clinical: other(&input.clinical), dermoscopic: Some(images), metadata }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_cover_the_whole_side() {
        let occlusion = Occlusion { patch: 4, stride: 3, ..Occlusion::of_size(32) };
        assert_eq!(occlusion.starts(10), [0, 3, 6]);
        assert_eq!(occlusion.starts(11), [0, 3, 6, 7]);
        assert_eq!(occlusion.starts(4), [0]);
    }
}
