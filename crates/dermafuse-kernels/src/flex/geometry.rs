//! How a kernel walks over an image.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::ops::ConvOptions;

use super::is_f32;

/// A convolution without dilation, padded on each side by less than the kernel.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Above and to the left.
    pub(super) padding: [usize; 2],
    /// Below and to the right.
    pub(super) end: [usize; 2],
}

impl Geometry {
    /// Each output sees the pixel at its place.
    pub(super) const POINTWISE: Self = Self { kernel: [1, 1], stride: [1, 1], padding: [0, 0], end: [0, 0] };

    /// `None` if these kernels are not for such a convolution.
    pub(super) fn of(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Option<Self> {
        let [_, _, height, width] = x.shape().dims();
        let [channels_out, _, rows, columns] = weight.shape().dims();
        let (padding, end) = (options.padding_begin(), options.padding_end());
        let geometry = Self { kernel: [rows, columns], stride: options.stride, padding, end };
        let fits = height + padding[0] + end[0] >= rows && width + padding[1] + end[1] >= columns;
        let plain = is_f32(&[x, weight])
            && options.dilation == [1, 1]
            && padding[0].max(end[0]) < rows
            && padding[1].max(end[1]) < columns
            && x.shape().num_elements() > 0
            && channels_out > 0
            && fits;
        plain.then_some(geometry)
    }

    /// Height and width of the output.
    pub(super) fn output(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis: usize| {
            let padded = size[axis] + self.padding[axis] + self.end[axis];
            (padded - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    /// The padding of the gradient of a convolution of stride 1, which is one with the kernel turned around.
    pub(super) fn turned(&self) -> Self {
        let rest = |padding: [usize; 2]| [0, 1].map(|axis: usize| self.kernel[axis] - 1 - padding[axis]);
        Self { padding: rest(self.padding), end: rest(self.end), ..*self }
    }
}
