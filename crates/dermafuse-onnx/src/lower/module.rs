//! Layers.

use burn::tensor::TensorId;
use burn_ir::{InterpolateModeIr, ModuleOperationIr, TensorIr};
use dermafuse_onnx_graph::{Attribute, Dim, Value, Values};

use super::{Lowering, Unsupported, number};

type Named = Result<(TensorId, Value), Unsupported>;

fn integers(values: impl IntoIterator<Item = usize>) -> Attribute {
    Attribute::Ints(values.into_iter().map(|value| value as i64).collect())
}

impl Lowering<'_> {
    pub(super) fn module(&mut self, operation: &ModuleOperationIr) -> Named {
        use ModuleOperationIr as Op;
        match operation {
            Op::Conv2d(op) => {
                let options = &op.options;
                let [(top, bottom), (left, right)] = options.padding;
                let kernel = op.weight.shape.iter().skip(2).copied();
                let attributes = vec![
                    ("dilations", integers(options.dilation)),
                    ("group", Attribute::Int(options.groups as i64)),
                    ("kernel_shape", integers(kernel)),
                    ("pads", integers([top, left, bottom, right])),
                    ("strides", integers(options.stride)),
                ];
                let mut inputs = vec![self.value(&op.x)?, self.value(&op.weight)?];
                if let Some(bias) = &op.bias {
                    inputs.push(self.value(bias)?);
                }
                Ok((op.out.id, self.layer("Conv", &inputs, attributes, &op.out)))
            }
            Op::ConvTranspose2d(op) => {
                let options = &op.options;
                let kernel = op.weight.shape.iter().skip(2).copied();
                let attributes = vec![
                    ("dilations", integers(options.dilation)),
                    ("group", Attribute::Int(options.groups as i64)),
                    ("kernel_shape", integers(kernel)),
                    ("output_padding", integers(options.padding_out)),
                    ("pads", integers([options.padding, options.padding].concat())),
                    ("strides", integers(options.stride)),
                ];
                let mut inputs = vec![self.value(&op.x)?, self.value(&op.weight)?];
                if let Some(bias) = &op.bias {
                    inputs.push(self.value(bias)?);
                }
                Ok((op.out.id, self.layer("ConvTranspose", &inputs, attributes, &op.out)))
            }
            Op::Linear(op) => {
                let (x, weight) = (self.value(&op.x)?, self.value(&op.weight)?);
                let product = self.graph.matmul(x, weight);
                let value = match &op.bias {
                    Some(bias) => {
                        let bias = self.value(bias)?;
                        self.graph.add(product, bias)
                    }
                    None => product,
                };
                Ok((op.out.id, value))
            }
            Op::LayerNorm(op) => {
                let mut inputs = vec![self.value(&op.input)?, self.value(&op.gamma)?];
                if let Some(beta) = &op.beta {
                    inputs.push(self.value(beta)?);
                }
                let attributes =
                    vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(number(op.epsilon) as f32))];
                Ok((op.out.id, self.layer("LayerNormalization", &inputs, attributes, &op.out)))
            }
            Op::BatchNorm(op) => {
                let x = self.value(&op.x)?;
                let [gamma, beta, mean, variance] = [&op.gamma, &op.beta, &op.mean, &op.variance];
                let [gamma, beta, mean, variance] =
                    [self.value(gamma)?, self.value(beta)?, self.value(mean)?, self.value(variance)?];
                let epsilon = self.scalar(op.epsilon, variance);
                let deviation = self.graph.add(variance, epsilon);
                let deviation = self.graph.unary("Sqrt", deviation);
                let scale = self.graph.divide(gamma, deviation);
                let shift = self.graph.multiply(mean, scale);
                let shift = self.graph.subtract(beta, shift);
                let channels = op.x.shape[1];
                let mut along = vec![Dim::Fixed(1); op.x.shape.num_dims() - 1];
                along[0] = Dim::Fixed(channels);
                let (scale, shift) = (self.graph.reshape(scale, along.clone()), self.graph.reshape(shift, along));
                let scaled = self.graph.multiply(x, scale);
                Ok((op.out.id, self.graph.add(scaled, shift)))
            }
            Op::MaxPool2d(op) => {
                let attributes = vec![
                    ("ceil_mode", Attribute::Int(i64::from(op.ceil_mode))),
                    ("dilations", integers(op.dilation)),
                    ("kernel_shape", integers(op.kernel_size)),
                    ("pads", integers([op.padding, op.padding].concat())),
                    ("strides", integers(op.stride)),
                ];
                let x = self.value(&op.x)?;
                Ok((op.out.id, self.layer("MaxPool", &[x], attributes, &op.out)))
            }
            Op::AvgPool2d(op) => {
                let attributes = vec![
                    ("ceil_mode", Attribute::Int(i64::from(op.ceil_mode))),
                    ("count_include_pad", Attribute::Int(i64::from(op.count_include_pad))),
                    ("kernel_shape", integers(op.kernel_size)),
                    ("pads", integers([op.padding, op.padding].concat())),
                    ("strides", integers(op.stride)),
                ];
                let x = self.value(&op.x)?;
                Ok((op.out.id, self.layer("AveragePool", &[x], attributes, &op.out)))
            }
            Op::AdaptiveAvgPool2d(op) => {
                let x = self.value(&op.x)?;
                let from = [op.x.shape[2], op.x.shape[3]];
                Ok((op.out.id, self.adaptive_pool(x, from, op.output_size, &op.out)))
            }
            Op::Interpolate(op) => {
                let x = self.value(&op.x)?;
                let (mode, coordinates) = match (&op.options.mode, op.options.align_corners) {
                    (InterpolateModeIr::Bilinear, true) => ("linear", "align_corners"),
                    (InterpolateModeIr::Bilinear, false) => ("linear", "half_pixel"),
                    (InterpolateModeIr::Nearest, _) => ("nearest", "asymmetric"),
                    _ => return Err(Unsupported::new("only nearest and bilinear interpolation are written")),
                };
                let attributes = vec![
                    ("axes", Attribute::Ints(vec![2, 3])),
                    ("coordinate_transformation_mode", Attribute::Text(coordinates)),
                    ("mode", Attribute::Text(mode)),
                    ("nearest_mode", Attribute::Text("floor")),
                ];
                let sizes = self.graph.integers(&op.output_size.map(|size| size as i64));
                let (element, shape) = (self.graph.element(x), self.shape(&op.out));
                let inputs = [Some(x), None, None, Some(sizes)];
                Ok((op.out.id, self.graph.node_with_gaps("Resize", &inputs, attributes, element, shape)))
            }
            _ => Err(Unsupported::new("nothing in ONNX is written for it")),
        }
    }

    fn layer(
        &mut self,
        operator: &'static str,
        inputs: &[Value],
        attributes: Vec<(&'static str, Attribute)>,
        out: &TensorIr,
    ) -> Value {
        let (element, shape) = (self.graph.element(inputs[0]), self.shape(out));
        self.graph.node(operator, inputs, attributes, element, shape)
    }

    /// Means over parts of a map: of all of it, of equal parts, or of parts that overlap, which are two matrix products.
    fn adaptive_pool(&mut self, x: Value, from: [usize; 2], to: [usize; 2], out: &TensorIr) -> Value {
        if from == to {
            return x;
        }
        if to == [1, 1] {
            return self.layer("GlobalAveragePool", &[x], Vec::new(), out);
        }
        if from[0].is_multiple_of(to[0]) && from[1].is_multiple_of(to[1]) {
            let size = [from[0] / to[0], from[1] / to[1]];
            let attributes = vec![("kernel_shape", integers(size)), ("strides", integers(size))];
            return self.layer("AveragePool", &[x], attributes, out);
        }
        let mut of_rows = Vec::new(); // [H', H]
        for part in 0..to[0] {
            of_rows.extend(shares(part, from[0], to[0]));
        }
        let columns: Vec<Vec<f32>> = (0..to[1]).map(|part| shares(part, from[1], to[1])).collect();
        let of_columns = (0..from[1]).flat_map(|at| columns.iter().map(move |column| column[at])).collect(); // [W, W']
        let rows = self.graph.constant(Values::F32(of_rows), &[to[0], from[0]]);
        let columns = self.graph.constant(Values::F32(of_columns), &[from[1], to[1]]);
        let narrow = self.graph.matmul(x, columns); // [B, C, H, W']
        self.graph.matmul(rows, narrow) // [B, C, H', W']
    }
}

/// How much each of `from` pixels counts in the mean of a part of `to`.
fn shares(part: usize, from: usize, to: usize) -> Vec<f32> {
    let (first, end) = (part * from / to, ((part + 1) * from).div_ceil(to));
    (0..from).map(|at| if (first..end).contains(&at) { 1.0 / (end - first) as f32 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_overlap_share_a_pixel() {
        assert_eq!(shares(0, 3, 2), [0.5, 0.5, 0.0]);
        assert_eq!(shares(1, 3, 2), [0.0, 0.5, 0.5]);
        assert_eq!(shares(0, 2, 4), [1.0, 0.0]);
        assert_eq!(shares(3, 2, 4), [0.0, 1.0]);
    }
}
