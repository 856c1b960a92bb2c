//! Arithmetic, comparisons, reductions and activations.

use burn::tensor::TensorId;
use burn_ir::{
    ActivationOperationIr, BinaryOpIr, BoolOperationIr, FloatOperationIr, IntOperationIr, NumericOperationIr,
    PadModeIr, ReduceDimOpIr, ReduceOpIr, ScalarOpIr, UnaryOpIr,
};
use dermafuse_onnx_graph::{Attribute, Graph, Value};

use super::{Lowering, Unsupported, element_of, number};

type Named = Result<(TensorId, Value), Unsupported>;

impl Lowering<'_> {
    fn unary(&mut self, op: &UnaryOpIr, function: impl FnOnce(&mut Graph, Value) -> Value) -> Named {
        let input = self.value(&op.input)?;
        Ok((op.out.id, function(self.graph, input)))
    }

    fn binary(&mut self, op: &BinaryOpIr, function: impl FnOnce(&mut Graph, Value, Value) -> Value) -> Named {
        let (left, right) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
        Ok((op.out.id, function(self.graph, left, right)))
    }

    fn with_scalar(&mut self, op: &ScalarOpIr, function: impl FnOnce(&mut Graph, Value, Value) -> Value) -> Named {
        let left = self.value(&op.lhs)?;
        let right = self.scalar(op.rhs, left);
        Ok((op.out.id, function(self.graph, left, right)))
    }

    fn reduced(&mut self, op: &ReduceDimOpIr, operator: &'static str) -> Named {
        let input = self.value(&op.input)?;
        Ok((op.out.id, self.graph.reduce(operator, input, &[op.axis])))
    }

    /// Over everything, the batch too.
    fn reduced_to_one(&mut self, op: &ReduceOpIr) -> Named {
        let fixed = self.shape(&op.input).iter().all(|dim| dim.fixed().is_some());
        if !fixed {
            return Err(Unsupported::of_batch("it joins all cases"));
        }
        Err(Unsupported::new("nothing in ONNX is written for it"))
    }

    pub(super) fn numeric(&mut self, operation: &NumericOperationIr) -> Named {
        use NumericOperationIr as Op;
        match operation {
            Op::Add(op) => self.binary(op, Graph::add),
            Op::AddScalar(op) => self.with_scalar(op, Graph::add),
            Op::Sub(op) => self.binary(op, Graph::subtract),
            Op::SubScalar(op) => self.with_scalar(op, Graph::subtract),
            Op::Mul(op) => self.binary(op, Graph::multiply),
            Op::MulScalar(op) => self.with_scalar(op, Graph::multiply),
            Op::Div(op) => self.binary(op, Graph::divide),
            Op::DivScalar(op) => self.with_scalar(op, Graph::divide),
            Op::Abs(op) => self.unary(op, |graph, x| graph.unary("Abs", x)),
            Op::Neg(op) => self.unary(op, |graph, x| graph.unary("Neg", x)),
            Op::Sign(op) => self.unary(op, |graph, x| graph.unary("Sign", x)),
            Op::Full(op) => Ok((op.out.id, self.full(&op.out, number(op.value))?)),
            Op::MeanDim(op) => self.reduced(op, "ReduceMean"),
            Op::SumDim(op) => self.reduced(op, "ReduceSum"),
            Op::ProdDim(op) => self.reduced(op, "ReduceProd"),
            Op::MaxDim(op) => self.reduced(op, "ReduceMax"),
            Op::MinDim(op) => self.reduced(op, "ReduceMin"),
            Op::SumDims(op) => {
                let input = self.value(&op.input)?;
                Ok((op.out.id, self.graph.reduce("ReduceSum", input, &op.axes)))
            }
            Op::Mean(op) | Op::Sum(op) | Op::Prod(op) | Op::Max(op) | Op::Min(op) => self.reduced_to_one(op),
            Op::Greater(op) => self.binary(op, |graph, a, b| graph.compare("Greater", a, b)),
            Op::GreaterElem(op) => self.with_scalar(op, |graph, a, b| graph.compare("Greater", a, b)),
            Op::GreaterEqual(op) => self.binary(op, |graph, a, b| graph.compare("GreaterOrEqual", a, b)),
            Op::GreaterEqualElem(op) => self.with_scalar(op, |graph, a, b| graph.compare("GreaterOrEqual", a, b)),
            Op::Lower(op) => self.binary(op, |graph, a, b| graph.compare("Less", a, b)),
            Op::LowerElem(op) => self.with_scalar(op, |graph, a, b| graph.compare("Less", a, b)),
            Op::LowerEqual(op) => self.binary(op, |graph, a, b| graph.compare("LessOrEqual", a, b)),
            Op::LowerEqualElem(op) => self.with_scalar(op, |graph, a, b| graph.compare("LessOrEqual", a, b)),
            Op::Clamp(op) => {
                let input = self.value(&op.tensor)?;
                Ok((op.out.id, self.graph.clip(input, Self::bound(op.min), Self::bound(op.max))))
            }
            Op::ClampMin(op) => {
                let input = self.value(&op.lhs)?;
                Ok((op.out.id, self.graph.clip(input, Self::bound(op.rhs), None)))
            }
            Op::ClampMax(op) => {
                let input = self.value(&op.lhs)?;
                Ok((op.out.id, self.graph.clip(input, None, Self::bound(op.rhs))))
            }
            Op::Powi(op) => self.binary(op, Graph::power),
            Op::PowiScalar(op) => self.power_by_scalar(op),
            Op::Pad(op) => {
                let (input, shape) = (self.value(&op.input)?, self.shape(&op.out));
                let PadModeIr::Constant(fill) = op.mode else {
                    return Err(Unsupported::new("only padding by one number is written"));
                };
                let before = op.padding.iter().map(|(before, _)| *before as i64);
                let pads: Vec<i64> = before.chain(op.padding.iter().map(|(_, after)| *after as i64)).collect();
                let (pads, fill) = (self.graph.integers(&pads), self.scalar(fill, input));
                let element = self.graph.element(input);
                Ok((op.out.id, self.graph.node("Pad", &[input, pads, fill], Vec::new(), element, shape)))
            }
            _ => Err(Unsupported::new("nothing in ONNX is written for it")),
        }
    }

    fn power_by_scalar(&mut self, op: &ScalarOpIr) -> Named {
        let input = self.value(&op.lhs)?;
        let value = match number(op.rhs) {
            1.0 => input,
            2.0 => self.graph.multiply(input, input),
            0.5 => self.graph.unary("Sqrt", input),
            -1.0 => self.graph.unary("Reciprocal", input),
            _ => {
                let exponent = self.scalar(op.rhs, input);
                self.graph.power(input, exponent)
            }
        };
        Ok((op.out.id, value))
    }

    pub(super) fn float(&mut self, operation: &FloatOperationIr) -> Named {
        use FloatOperationIr as Op;
        match operation {
            Op::Exp(op) => self.unary(op, |graph, x| graph.unary("Exp", x)),
            Op::Log(op) => self.unary(op, |graph, x| graph.unary("Log", x)),
            Op::Log1p(op) => self.unary(op, |graph, x| {
                let one = graph.scalar_like(x, 1.0);
                let sum = graph.add(x, one);
                graph.unary("Log", sum)
            }),
            Op::Erf(op) => self.unary(op, |graph, x| graph.unary("Erf", x)),
            Op::Sqrt(op) => self.unary(op, |graph, x| graph.unary("Sqrt", x)),
            Op::Cos(op) => self.unary(op, |graph, x| graph.unary("Cos", x)),
            Op::Sin(op) => self.unary(op, |graph, x| graph.unary("Sin", x)),
            Op::Tanh(op) => self.unary(op, |graph, x| graph.unary("Tanh", x)),
            Op::Round(op) => self.unary(op, |graph, x| graph.unary("Round", x)),
            Op::Floor(op) => self.unary(op, |graph, x| graph.unary("Floor", x)),
            Op::Ceil(op) => self.unary(op, |graph, x| graph.unary("Ceil", x)),
            Op::Recip(op) => self.unary(op, |graph, x| graph.unary("Reciprocal", x)),
            Op::PowfScalar(op) => self.power_by_scalar(op),
            Op::Powf(op) => self.binary(op, Graph::power),
            Op::IntoInt(op) => {
                let (input, element) = (self.value(&op.input)?, element_of(&op.out)?);
                Ok((op.out.id, self.graph.cast(input, element)))
            }
            Op::Matmul(op) => {
                let (left, right) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
                Ok((op.out.id, self.graph.matmul(left, right)))
            }
            _ => Err(Unsupported::new("nothing in ONNX is written for it")),
        }
    }

    pub(super) fn int(&mut self, operation: &IntOperationIr) -> Named {
        match operation {
            IntOperationIr::IntoFloat(op) => {
                let (input, element) = (self.value(&op.input)?, element_of(&op.out)?);
                Ok((op.out.id, self.graph.cast(input, element)))
            }
            _ => Err(Unsupported::new("nothing in ONNX is written for it")),
        }
    }

    pub(super) fn bool(&mut self, operation: &BoolOperationIr) -> Named {
        use BoolOperationIr as Op;
        match operation {
            Op::IntoFloat(op) | Op::IntoInt(op) => {
                let (input, element) = (self.value(&op.input)?, element_of(&op.out)?);
                Ok((op.out.id, self.graph.cast(input, element)))
            }
            Op::Not(op) => self.unary(op, |graph, x| graph.unary("Not", x)),
            Op::And(op) => self.binary(op, |graph, a, b| graph.compare("And", a, b)),
            Op::Or(op) => self.binary(op, |graph, a, b| graph.compare("Or", a, b)),
            Op::Xor(op) => self.binary(op, |graph, a, b| graph.compare("Xor", a, b)),
        }
    }

    pub(super) fn activation(&mut self, operation: &ActivationOperationIr) -> Named {
        use ActivationOperationIr as Op;
        match operation {
            Op::Relu(op) => self.unary(op, |graph, x| graph.unary("Relu", x)),
            Op::LeakyRelu(op) => {
                let input = self.value(&op.lhs)?;
                let attributes = vec![("alpha", Attribute::Float(number(op.rhs) as f32))];
                let (element, shape) = (self.graph.element(input), self.shape(&op.out));
                Ok((op.out.id, self.graph.node("LeakyRelu", &[input], attributes, element, shape)))
            }
            Op::Gelu(op) => self.unary(op, Graph::gelu),
            Op::Sigmoid(op) => self.unary(op, |graph, x| graph.unary("Sigmoid", x)),
            Op::HardSigmoid(op) => {
                let input = self.value(&op.tensor)?;
                let value = self.graph.hard_sigmoid(input, number(op.alpha) as f32, number(op.beta) as f32);
                Ok((op.out.id, value))
            }
            Op::LogSigmoid(op) => self.unary(op, |graph, x| {
                let negative = graph.unary("Neg", x);
                let softplus = graph.unary("Softplus", negative);
                graph.unary("Neg", softplus)
            }),
            Op::Softmax(op) => {
                let input = self.value(&op.input)?;
                Ok((op.out.id, self.graph.softmax(input, op.axis)))
            }
            Op::LogSoftmax(op) => {
                let input = self.value(&op.input)?;
                let attributes = vec![("axis", Attribute::Int(op.axis as i64))];
                let (element, shape) = (self.graph.element(input), self.shape(&op.out));
                Ok((op.out.id, self.graph.node("LogSoftmax", &[input], attributes, element, shape)))
            }
            _ => Err(Unsupported::new("nothing in ONNX is written for it")),
        }
    }
}
