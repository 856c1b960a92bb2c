//! Operations that move numbers.

use burn::tensor::TensorId;
use burn_ir::BaseOperationIr;
use dermafuse_onnx_graph::{Attribute, Dim, Element, Value, Values};

use super::{Lowering, Unsupported, element_of, number};

impl Lowering<'_> {
    pub(super) fn base(&mut self, at: usize, operation: &BaseOperationIr) -> Result<(TensorId, Value), Unsupported> {
        use BaseOperationIr as Op;
        Ok(match operation {
            Op::Reshape(op) => {
                let (input, shape) = (self.value(&op.input)?, self.shape(&op.out));
                if shape.iter().filter(|dim| dim.fixed().is_none()).count() > 1 {
                    return Err(Unsupported::of_batch("two of its dimensions grow with the batch"));
                }
                (op.out.id, self.graph.reshape(input, shape))
            }
            Op::SwapDims(op) => {
                let input = self.value(&op.input)?;
                let mut order: Vec<usize> = (0..op.input.shape.num_dims()).collect();
                order.swap(op.dim1, op.dim2);
                (op.out.id, self.graph.transpose(input, &order))
            }
            Op::Permute(op) => {
                let input = self.value(&op.input)?;
                (op.out.id, self.graph.transpose(input, &op.axes))
            }
            Op::Flip(op) => {
                let input = self.value(&op.input)?;
                (op.out.id, self.graph.flip(input, &op.axes))
            }
            Op::Expand(op) => {
                let (input, shape) = (self.value(&op.input)?, self.shape(&op.out));
                (op.out.id, self.graph.expand(input, shape))
            }
            Op::Slice(op) => {
                let input = self.value(&op.tensor)?;
                let (shape, of_input) = (self.shape(&op.out), self.shape(&op.tensor));
                let mut sliced = Vec::new();
                for (axis, ((start, end), range)) in self.ranges(at).iter().zip(&op.ranges).enumerate() {
                    let is_whole = *start == Dim::Fixed(0) && *end == of_input[axis];
                    if !is_whole || range.step != 1 {
                        sliced.push((axis, *start, *end, range.step));
                    }
                }
                (op.out.id, self.sliced(input, &sliced, shape)?)
            }
            Op::Select(op) => {
                let (input, indices) = (self.value(&op.tensor)?, self.value(&op.indices)?);
                let attributes = vec![("axis", Attribute::Int(op.dim as i64))];
                let (element, shape) = (self.graph.element(input), self.shape(&op.out));
                (op.out.id, self.graph.node("Gather", &[input, indices], attributes, element, shape))
            }
            Op::Gather(op) => {
                let (input, indices) = (self.value(&op.tensor)?, self.value(&op.indices)?);
                let attributes = vec![("axis", Attribute::Int(op.dim as i64))];
                let (element, shape) = (self.graph.element(input), self.shape(&op.out));
                (op.out.id, self.graph.node("GatherElements", &[input, indices], attributes, element, shape))
            }
            Op::MaskWhere(op) => {
                let [tensor, mask, value] = [self.value(&op.tensor)?, self.value(&op.mask)?, self.value(&op.value)?];
                (op.out.id, self.graph.choose(mask, value, tensor))
            }
            Op::MaskFill(op) => {
                let (tensor, mask) = (self.value(&op.tensor)?, self.value(&op.mask)?);
                let value = self.scalar(op.value, tensor);
                (op.out.id, self.graph.choose(mask, value, tensor))
            }
            Op::Equal(op) => {
                let (left, right) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
                (op.out.id, self.graph.compare("Equal", left, right))
            }
            Op::EqualElem(op) => {
                let left = self.value(&op.lhs)?;
                let right = self.scalar(op.rhs, left);
                (op.out.id, self.graph.compare("Equal", left, right))
            }
            Op::RepeatDim(op) => {
                let (input, shape) = (self.value(&op.tensor)?, self.shape(&op.out));
                let mut repeats = vec![1; shape.len()];
                repeats[op.dim] = op.times as i64;
                let (repeats, element) = (self.graph.integers(&repeats), self.graph.element(input));
                (op.out.id, self.graph.node("Tile", &[input, repeats], Vec::new(), element, shape))
            }
            Op::Cat(op) => {
                let parts = op.tensors.iter().map(|tensor| self.value(tensor)).collect::<Result<Vec<_>, _>>()?;
                (op.out.id, self.graph.concat(&parts, op.dim))
            }
            Op::Cast(op) => {
                let (input, element) = (self.value(&op.input)?, element_of(&op.out)?);
                (op.out.id, self.graph.cast(input, element))
            }
            Op::Zeros(op) | Op::Empty(op) => (op.out.id, self.full(&op.out, 0.0)?),
            Op::Ones(op) => (op.out.id, self.full(&op.out, 1.0)?),
            _ => return Err(Unsupported::new("nothing in ONNX is written for it")),
        })
    }

    /// A tensor of one number.
    pub(super) fn full(&mut self, out: &burn_ir::TensorIr, value: f64) -> Result<Value, Unsupported> {
        let shape = self.shape(out);
        let values = |count: usize| {
            Ok(match element_of(out)? {
                Element::F32 => Values::F32(vec![value as f32; count]),
                Element::F64 => Values::F64(vec![value; count]),
                Element::I32 => Values::I32(vec![value as i32; count]),
                Element::I64 => Values::I64(vec![value as i64; count]),
                Element::Bool => Values::Bool(vec![value != 0.0; count]),
                Element::I8 | Element::U8 => return Err(Unsupported::new("it makes bytes")),
            })
        };
        Ok(match shape.iter().map(|dim| dim.fixed()).collect::<Option<Vec<_>>>() {
            Some(sizes) => self.graph.constant(values(sizes.iter().product())?, &sizes),
            None => {
                let one = self.graph.constant(values(1)?, &vec![1; shape.len()]);
                self.graph.expand(one, shape)
            }
        })
    }

    /// Axes from a place to another, each `step`-th; with a negative step from the last backwards.
    fn sliced(
        &mut self,
        input: Value,
        axes: &[(usize, Dim, Dim, isize)],
        shape: Vec<Dim>,
    ) -> Result<Value, Unsupported> {
        if axes.is_empty() {
            return Ok(input);
        }
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for &(_, start, end, step) in axes {
            match (start, end, step > 0) {
                (start, end, true) => {
                    starts.push(start);
                    ends.push((end, 0));
                }
                // Backwards, from the last to one before the first, which may lie before all.
                (Dim::Fixed(start), Dim::Fixed(end), false) => {
                    starts.push(Dim::Fixed(end.saturating_sub(1)));
                    ends.push(match start {
                        0 => (Dim::Fixed(0), i64::MIN + 1),
                        start => (Dim::Fixed(start - 1), 0),
                    });
                }
                _ => return Err(Unsupported::of_batch("it turns the order of the cases round")),
            }
        }
        let starts = self.graph.shape_value(&starts);
        let ends = match ends.iter().all(|(_, other)| *other == 0) {
            true => {
                let ends: Vec<Dim> = ends.into_iter().map(|(end, _)| end).collect();
                self.graph.shape_value(&ends)
            }
            false => {
                let end =
                    |(end, other): (Dim, i64)| if other == 0 { end.fixed().map(|end| end as i64) } else { Some(other) };
                let ends: Option<Vec<i64>> = ends.into_iter().map(end).collect();
                self.graph.integers(
                    &ends.ok_or_else(|| Unsupported::of_batch("it turns some axes round and cuts the batch"))?,
                )
            }
        };
        let (of_axes, steps): (Vec<i64>, Vec<i64>) =
            axes.iter().map(|&(axis, _, _, step)| (axis as i64, step as i64)).unzip();
        let is_plain = steps.iter().all(|step| *step == 1);
        let mut inputs = vec![input, starts, ends, self.graph.integers(&of_axes)];
        if !is_plain {
            inputs.push(self.graph.integers(&steps));
        }
        let element = self.graph.element(input);
        Ok(self.graph.node("Slice", &inputs, Vec::new(), element, shape))
    }

    /// What a clamp's scalar is; infinite ones bound nothing.
    pub(super) fn bound(scalar: burn_ir::ScalarIr) -> Option<f64> {
        Some(number(scalar)).filter(|bound| bound.is_finite())
    }
}
