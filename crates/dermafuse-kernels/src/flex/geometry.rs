//! How a kernel walks over an image.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::ops::ConvOptions;

use super::is_f32;

/// A convolution without dilation, equally padded on opposite sides by less than the kernel.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
}

impl Geometry {
    /// `None` if these kernels are not for such a convolution.
    pub(super) fn of(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> Option<Self> {
        let [_, _, height, width] = x.shape().dims();
        let [channels_out, _, rows, columns] = weight.shape().dims();
        let padding = options.padding_begin();
        let geometry = Self { kernel: [rows, columns], stride: options.stride, padding: [padding[0], padding[1]] };
        let fits = height + 2 * padding[0] >= rows && width + 2 * padding[1] >= columns;
        let plain = is_f32(&[x, weight])
            && options.dilation == [1, 1]
            && !options.is_asymmetric()
            && padding[0] < rows
            && padding[1] < columns
            && x.shape().num_elements() > 0
            && channels_out > 0
            && fits;
        plain.then_some(geometry)
    }

    /// Height and width of the output.
    pub(super) fn output(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis: usize| (size[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1)
    }
}
