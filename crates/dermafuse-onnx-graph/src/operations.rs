//! The operators by name, with the shape of what they give.

use crate::element::{Dim, Element, broadcast};
use crate::graph::{Attribute, Graph, Value};

/// Shapes are broadcast as ONNX does. What does not fit together is an error of the program that builds the graph, and panics.
impl Graph {
    /// `left + right`.
    pub fn add(&mut self, left: Value, right: Value) -> Value {
        self.broadcast_node("Add", left, right)
    }

    /// `left − right`.
    pub fn subtract(&mut self, left: Value, right: Value) -> Value {
        self.broadcast_node("Sub", left, right)
    }

    /// `left · right`, element by element; `x · sigmoid(…)` of the parts of a hard swish is the operator of that name.
    pub fn multiply(&mut self, left: Value, right: Value) -> Value {
        for (x, gate) in [(left, right), (right, left)] {
            if self.is_hard_sigmoid_of(gate, x) {
                let shape = self.shape(x).to_vec();
                return self.node("HardSwish", &[x], Vec::new(), self.element(x), shape);
            }
        }
        self.broadcast_node("Mul", left, right)
    }

    /// `left / right`; the parts of `relu6(x + 3) / 6` are the operator for it.
    pub fn divide(&mut self, left: Value, right: Value) -> Value {
        if let Some(x) = self.hard_sigmoid_input(left, right) {
            return self.hard_sigmoid(x, 1.0 / 6.0, 0.5);
        }
        self.broadcast_node("Div", left, right)
    }

    /// `base` to the power of `exponent`.
    pub fn power(&mut self, base: Value, exponent: Value) -> Value {
        self.broadcast_node("Pow", base, exponent)
    }

    /// The larger of two.
    pub fn maximum(&mut self, left: Value, right: Value) -> Value {
        self.broadcast_node("Max", left, right)
    }

    /// The smaller of two.
    pub fn minimum(&mut self, left: Value, right: Value) -> Value {
        self.broadcast_node("Min", left, right)
    }

    /// A comparison by its ONNX name: `Equal`, `Greater`, `GreaterOrEqual`, `Less`, `LessOrEqual`.
    pub fn compare(&mut self, operator: &'static str, left: Value, right: Value) -> Value {
        let shape = broadcast(self.shape(left), self.shape(right));
        self.node(operator, &[left, right], Vec::new(), Element::Bool, shape)
    }

    /// `yes` where the condition holds, else `no`.
    pub fn choose(&mut self, condition: Value, yes: Value, no: Value) -> Value {
        let shape = broadcast(&broadcast(self.shape(condition), self.shape(yes)), self.shape(no));
        self.node("Where", &[condition, yes, no], Vec::new(), self.element(yes), shape)
    }

    /// A function of each element by its ONNX name, such as `Exp`.
    pub fn unary(&mut self, operator: &'static str, x: Value) -> Value {
        let shape = self.shape(x).to_vec();
        self.node(operator, &[x], Vec::new(), self.element(x), shape)
    }

    /// `min(max(alpha · x + beta, 0), 1)`.
    pub fn hard_sigmoid(&mut self, x: Value, alpha: f32, beta: f32) -> Value {
        let attributes = vec![("alpha", Attribute::Float(alpha)), ("beta", Attribute::Float(beta))];
        let shape = self.shape(x).to_vec();
        self.node("HardSigmoid", &[x], attributes, self.element(x), shape)
    }

    /// `x · Φ(x)`, in the parts that engines know it by.
    pub fn gelu(&mut self, x: Value) -> Value {
        let [root, one, half] = [std::f64::consts::SQRT_2, 1.0, 0.5].map(|number| self.scalar_like(x, number));
        let inner = self.divide(x, root);
        let inner = self.unary("Erf", inner);
        let inner = self.add(inner, one);
        let product = self.multiply(x, inner);
        self.multiply(product, half)
    }

    /// `x` between two numbers, or beyond one of them.
    pub fn clip(&mut self, x: Value, low: Option<f64>, high: Option<f64>) -> Value {
        let mut inputs =
            vec![Some(x), low.map(|low| self.scalar_like(x, low)), high.map(|high| self.scalar_like(x, high))];
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let shape = self.shape(x).to_vec();
        self.node_with_gaps("Clip", &inputs, Vec::new(), self.element(x), shape)
    }

    /// The same numbers made of something else.
    pub fn cast(&mut self, x: Value, element: Element) -> Value {
        if self.element(x) == element {
            return x;
        }
        let attributes = vec![("to", Attribute::Int(i64::from(element.code())))];
        let shape = self.shape(x).to_vec();
        self.node("Cast", &[x], attributes, element, shape)
    }

    /// The same numbers in another shape, of which at most one dimension depends on the batch.
    pub fn reshape(&mut self, x: Value, shape: Vec<Dim>) -> Value {
        if self.shape(x) == shape {
            return x;
        }
        let sizes: Vec<i64> = shape.iter().map(|dim| dim.fixed().map_or(-1, |size| size as i64)).collect();
        let sizes = self.integers(&sizes);
        self.node("Reshape", &[x, sizes], Vec::new(), self.element(x), shape)
    }

    /// The dimensions in another order.
    pub fn transpose(&mut self, x: Value, order: &[usize]) -> Value {
        if order.iter().copied().eq(0..order.len()) {
            return x;
        }
        let shape = order.iter().map(|&axis| self.shape(x)[axis]).collect();
        let order = Attribute::Ints(order.iter().map(|&axis| axis as i64).collect());
        self.node("Transpose", &[x], vec![("perm", order)], self.element(x), shape)
    }

    /// Dimensions of length 1 repeated.
    pub fn expand(&mut self, x: Value, shape: Vec<Dim>) -> Value {
        if self.shape(x) == shape {
            return x;
        }
        let offset = shape.len() - self.shape(x).len();
        // What is there already is broadcast to itself, so that no size of the batch is asked for.
        let missing: Vec<Dim> = shape
            .iter()
            .enumerate()
            .map(|(at, dim)| match at.checked_sub(offset).map(|at| self.shape(x)[at]) {
                Some(there) if there == *dim => Dim::Fixed(1),
                _ => *dim,
            })
            .collect();
        let over_cases = matches!(missing.split_first(), Some((Dim::Batch(1), rest)) if rest.iter().all(|dim| dim.fixed().is_some()));
        if over_cases
            && self.element(x) == Element::F32
            && let Some(zeros) = self.zeros()
        {
            let mut of_one = shape.clone();
            of_one[0] = Dim::Fixed(1);
            let x = self.expand(x, of_one);
            let mut of_cases = vec![Dim::Fixed(1); shape.len()];
            of_cases[0] = Dim::Batch(1);
            let zeros = self.reshape(zeros, of_cases);
            return self.add(x, zeros);
        }
        let sizes = self.shape_value(&missing);
        self.node("Expand", &[x, sizes], Vec::new(), self.element(x), shape)
    }

    /// Values after each other along an axis.
    ///
    /// # Panics
    /// If there is none.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        if let [only] = parts {
            return *only;
        }
        let mut shape = self.shape(parts[0]).to_vec();
        for &part in &parts[1..] {
            shape[axis] = match (shape[axis], self.shape(part)[axis]) {
                (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(a + b),
                (Dim::Batch(a), Dim::Batch(b)) => Dim::Batch(a + b),
                (a, b) => panic!("{a:?} and {b:?} after each other"),
            };
        }
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        self.node("Concat", parts, attributes, self.element(parts[0]), shape)
    }

    /// Some of the entries along an axis.
    ///
    /// # Panics
    /// If the axis depends on the batch, or is shorter.
    pub fn slice(&mut self, x: Value, axis: usize, range: std::ops::Range<usize>) -> Value {
        let length = self.shape(x)[axis].fixed().expect("an axis that does not depend on the batch");
        assert!(range.start <= range.end && range.end <= length, "{range:?} of {length}");
        if range == (0..length) {
            return x;
        }
        let mut shape = self.shape(x).to_vec();
        shape[axis] = Dim::Fixed(range.len());
        let [starts, ends, axes] = [range.start, range.end, axis].map(|number| self.integers(&[number as i64]));
        self.node("Slice", &[x, starts, ends, axes], Vec::new(), self.element(x), shape)
    }

    /// Axes the other way round.
    pub fn flip(&mut self, x: Value, axes: &[usize]) -> Value {
        let [starts, ends, steps] = [-1, i64::MIN + 1, -1].map(|number| self.integers(&vec![number; axes.len()]));
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let axes = self.integers(&axes);
        let shape = self.shape(x).to_vec();
        self.node("Slice", &[x, starts, ends, axes, steps], Vec::new(), self.element(x), shape)
    }

    /// Matrix products of the last two dimensions.
    pub fn matmul(&mut self, left: Value, right: Value) -> Value {
        let (of_left, of_right) = (self.shape(left), self.shape(right));
        let mut shape = broadcast(&of_left[..of_left.len() - 2], &of_right[..of_right.len() - 2]);
        shape.push(of_left[of_left.len() - 2]);
        shape.push(of_right[of_right.len() - 1]);
        self.node("MatMul", &[left, right], Vec::new(), self.element(left), shape)
    }

    /// A reduction by its ONNX name, such as `ReduceSum`; the axes stay, with length 1.
    pub fn reduce(&mut self, operator: &'static str, x: Value, axes: &[usize]) -> Value {
        let mut shape = self.shape(x).to_vec();
        axes.iter().for_each(|&axis| shape[axis] = Dim::Fixed(1));
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let axes = self.integers(&axes);
        self.node(operator, &[x, axes], vec![("keepdims", Attribute::Int(1))], self.element(x), shape)
    }

    /// Shares of one along an axis.
    pub fn softmax(&mut self, x: Value, axis: usize) -> Value {
        let shape = self.shape(x).to_vec();
        self.node("Softmax", &[x], vec![("axis", Attribute::Int(axis as i64))], self.element(x), shape)
    }

    /// Whether a value is `relu6(x + 3) / 6` of `x`.
    fn is_hard_sigmoid_of(&self, gate: Value, x: Value) -> bool {
        let is_sixth = |attributes: &[(&str, Attribute)]| {
            let expected = [("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
            attributes == expected
        };
        self.producer(gate).is_some_and(|node| {
            node.operator == "HardSigmoid" && node.inputs == [Some(x)] && is_sixth(&node.attributes)
        })
    }

    /// The `x` of `clip(x + 3, 0, 6) / 6`.
    fn hard_sigmoid_input(&self, clipped: Value, divisor: Value) -> Option<Value> {
        let scalar = |value: Option<Value>| self.constant_of(value?)?.as_scalar();
        let clip = self.producer(clipped).filter(|node| node.operator == "Clip" && node.inputs.len() == 3)?;
        let sum = self.producer(clip.inputs[0]?).filter(|node| node.operator == "Add")?;
        let fits = scalar(Some(divisor)) == Some(6.0)
            && scalar(clip.inputs[1]) == Some(0.0)
            && scalar(clip.inputs[2]) == Some(6.0)
            && scalar(sum.inputs[1]) == Some(3.0);
        fits.then_some(sum.inputs[0]?)
    }

    fn broadcast_node(&mut self, operator: &'static str, left: Value, right: Value) -> Value {
        let shape = broadcast(self.shape(left), self.shape(right));
        self.node(operator, &[left, right], Vec::new(), self.element(left), shape)
    }
}
