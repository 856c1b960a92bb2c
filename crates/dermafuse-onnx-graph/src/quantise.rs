//! Convolutions and matrix products in 8-bit integers, written as engines know them: each operand is rounded to 8 bits and turned back
//! (`QuantizeLinear`, `DequantizeLinear`) around the operator of floats, and an engine computes the three in integers.
//!
//! Weights are symmetric, one scale for each output channel; activations are bytes with one scale and one zero point for the whole
//! tensor (Jacob et al., 2018, <https://arxiv.org/abs/1712.05877>). Form: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::constant::Values;
use crate::element::{Dim, Element};
use crate::error::GraphError;
use crate::graph::{Attribute, Graph, Node, Value};
use crate::tidy::tidy;

/// The largest whole number of a weight: the range is symmetric, so that zero is zero.
const MOST_OF_WEIGHT: f32 = 127.0;
/// Steps of an activation's byte.
const STEPS: f32 = 255.0;
/// The largest whole number of a bias, well inside of 32 bits, since products are added to it.
const MOST_OF_BIAS: f32 = (1 << 30) as f32;

/// Between which numbers a tensor's lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The lowest.
    pub low: f32,
    /// The highest.
    pub high: f32,
}

/// Where the numbers lie that go into a product and come out of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductRanges {
    /// Of what is multiplied by the weights.
    pub input: Range,
    /// Of a convolution, of what becomes a byte of it: the map after a ReLU that follows, or its own. A matrix product gives floats.
    pub output: Option<Range>,
}

/// A product that can be computed with 8-bit integers, and what was added to a graph to find its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedProduct {
    /// Its name: the layer and the operator, with a number where a layer is asked several times.
    pub name: String,
    /// The output that gives the lowest and the highest number that go into it, `[2]`.
    pub input: String,
    /// The output that gives the lowest and the highest number of a convolution's map, `[2]`.
    pub output: Option<String>,
}

/// A convolution or a matrix product with constant weights.
#[derive(Clone, Debug)]
struct Product {
    name: String,
    node: usize,
    /// What becomes a byte of it.
    output: Option<Value>,
}

impl Range {
    /// The step between two bytes, and the byte of zero. Zero is always one of the numbers, so that padding and what a ReLU leaves
    /// are exact.
    fn scale(self) -> (f32, u8) {
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        let scale = (high - low) / STEPS;
        match scale > 0.0 && scale.is_finite() {
            true => (scale, (-low / scale).round().clamp(0.0, STEPS) as u8),
            // All numbers are zero.
            false => (1.0, 0),
        }
    }
}

impl Graph {
    /// Adds outputs that give the ranges of every product that [`quantise`](Self::quantise) can take, and says which they are.
    ///
    /// These are the convolutions and matrix products of 32-bit floats that belong to a layer, have constant weights, look at several
    /// positions of a case (pixels of a map, tokens of a sequence), and have another product before them. So classifiers, what is done
    /// to the record or to one number for each channel, and the first layer that sees an image are not among them: they cost little, and
    /// rounding them costs most.
    ///
    /// # Panics
    /// If the graph was quantised.
    pub fn watch_products(&mut self) -> Vec<WatchedProduct> {
        tidy(self);
        let after = self.values_after_products();
        let products = self.products();
        let chosen = products.into_iter().filter(|product| {
            let Node { inputs, outputs, .. } = &self.nodes[product.node];
            let is_after = inputs[0].is_some_and(|input| after.contains(&input));
            is_after && self.has_positions(outputs[0], self.nodes[product.node].operator)
        });
        let chosen: Vec<Product> = chosen.collect();
        self.layer.clear();
        let mut watched = Vec::with_capacity(chosen.len());
        for Product { name, node, output } in chosen {
            let input = self.nodes[node].inputs[0].expect("a product has an input");
            let watch = |graph: &mut Self, value: Value, what: &str| {
                let name = format!("{name}/{what}");
                let extremes = graph.extremes(value);
                graph.output(&name, extremes);
                name
            };
            let of_input = watch(self, input, "input");
            let of_output = output.map(|output| watch(self, output, "output"));
            watched.push(WatchedProduct { name, input: of_input, output: of_output });
        }
        watched
    }

    /// Lets engines compute these products, by name, with 8-bit integers; the others stay as they are. What follows a tensor that was
    /// rounded sees the rounded numbers, too.
    ///
    /// # Errors
    /// A product that the graph does not have.
    pub fn quantise(&mut self, ranges: &BTreeMap<String, ProductRanges>) -> Result<(), GraphError> {
        tidy(self);
        let mut of_node: BTreeMap<usize, (Product, ProductRanges)> = BTreeMap::new();
        let mut missing: HashSet<&String> = ranges.keys().collect();
        for product in self.products() {
            if let Some((name, ranges)) = ranges.get_key_value(&product.name) {
                missing.remove(name);
                of_node.insert(product.node, (product, *ranges));
            }
        }
        // The first by name.
        if let Some(name) = missing.into_iter().min() {
            return Err(GraphError::NoProduct { name: name.clone() });
        }
        // What becomes a byte, and where its numbers lie. One that goes into several products is measured once.
        let mut rounded: HashMap<Value, Range> = HashMap::new();
        for (product, ranges) in of_node.values() {
            let input = self.nodes[product.node].inputs[0].expect("a product has an input");
            rounded.insert(input, ranges.input);
        }
        for (product, ranges) in of_node.values() {
            if let (Some(value), Some(range)) = (product.output, ranges.output) {
                rounded.entry(value).or_insert(range);
            }
        }
        let layer = std::mem::take(&mut self.layer);
        let mut instead: HashMap<Value, Value> = HashMap::new();
        for value in self.inputs.clone() {
            if let Some(range) = rounded.get(&value) {
                instead.insert(value, self.rounded(value, *range));
            }
        }
        for (at, mut node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            node.layer.clone_into(&mut self.layer);
            let of_product = of_node.get(&at);
            if let Some((_, ranges)) = of_product {
                self.round_weights(&mut node, ranges.input);
            }
            for input in node.inputs.iter_mut().flatten() {
                if let Some(other) = instead.get(input) {
                    *input = *other;
                }
            }
            let outputs = node.outputs.clone();
            for output in &outputs {
                self.values[output.0].producer = Some(self.nodes.len());
            }
            self.nodes.push(node);
            for output in outputs {
                if let Some(range) = rounded.get(&output) {
                    let value = self.rounded(output, *range);
                    instead.insert(output, value);
                }
            }
        }
        self.layer = layer;
        Ok(())
    }

    /// The products with constant weights, in order, by the names of their layers.
    fn products(&self) -> Vec<Product> {
        let mut uses: HashMap<Value, Vec<usize>> = HashMap::new();
        let needed = self.needed();
        for (at, node) in self.nodes.iter().enumerate() {
            if node.outputs.iter().any(|output| needed.contains(output)) {
                node.inputs.iter().flatten().for_each(|input| uses.entry(*input).or_default().push(at));
            }
        }
        let is_output = |value: Value| self.outputs.iter().any(|(_, output)| *output == value);
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut products = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let is_product = !node.layer.is_empty() && !node.outputs.is_empty() && self.has_constant_weights(node);
            if !is_product {
                continue;
            }
            let mut name = format!("{}/{}", node.layer, node.operator);
            let count = counts.entry(name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                name = format!("{name}_{count}");
            }
            let own = node.outputs[0];
            let output = (node.operator == "Conv").then(|| match uses.get(&own).map(Vec::as_slice) {
                Some([only]) if !is_output(own) && self.is_relu(&self.nodes[*only]) => self.nodes[*only].outputs[0],
                _ => own,
            });
            products.push(Product { name, node: at, output });
        }
        products
    }

    fn has_constant_weights(&self, node: &Node) -> bool {
        let weight = |at: usize| self.constant_of(node.inputs.get(at).copied().flatten()?);
        let Some(weight_of) = weight(1).filter(|weight| matches!(weight.values, Values::F32(_))) else { return false };
        match node.operator {
            "Conv" => node.inputs.get(2).copied().flatten().is_none() || weight(2).is_some(),
            "MatMul" => weight_of.shape.len() == 2,
            _ => false,
        }
    }

    /// Whether a node cuts off what is below zero, which bytes without numbers below zero do by themselves.
    fn is_relu(&self, node: &Node) -> bool {
        let low = || self.constant_of(node.inputs.get(1).copied().flatten()?)?.as_scalar();
        node.operator == "Relu" || (node.operator == "Clip" && low() == Some(0.0))
    }

    /// What products gave, and everything that was made of it.
    fn values_after_products(&self) -> HashSet<Value> {
        let mut after: HashSet<Value> = HashSet::new();
        for node in &self.nodes {
            let is_after = node.inputs.iter().flatten().any(|input| after.contains(input));
            if is_after || self.has_constant_weights(node) {
                after.extend(&node.outputs);
            }
        }
        after
    }

    /// Whether a product gives more than one row of numbers for a case: pixels, or tokens.
    fn has_positions(&self, output: Value, operator: &str) -> bool {
        let shape = self.shape(output);
        let of_each_case = |dim: &Dim| match *dim {
            Dim::Fixed(size) | Dim::Batch(size) => size,
        };
        let positions: usize = match operator {
            "Conv" => shape.iter().skip(2).map(of_each_case).product(),
            _ => shape.iter().rev().skip(1).map(of_each_case).product(),
        };
        positions > 1
    }

    /// The lowest and the highest number of a tensor, `[2]`.
    fn extremes(&mut self, value: Value) -> Value {
        let axes: Vec<usize> = (0..self.shape(value).len()).collect();
        let [low, high] = ["ReduceMin", "ReduceMax"].map(|operator| {
            let extreme = self.reduce(operator, value, &axes);
            self.reshape(extreme, vec![Dim::Fixed(1)])
        });
        self.concat(&[low, high], 0)
    }

    /// A tensor of floats whose numbers are those of bytes.
    fn rounded(&mut self, value: Value, range: Range) -> Value {
        let (scale, zero) = range.scale();
        let (scale, zero) = (self.constant(Values::F32(vec![scale]), &[]), self.constant(Values::U8(vec![zero]), &[]));
        let shape = self.shape(value).to_vec();
        let bytes = self.node("QuantizeLinear", &[value, scale, zero], Vec::new(), Element::U8, shape.clone());
        self.node("DequantizeLinear", &[bytes, scale, zero], Vec::new(), Element::F32, shape)
    }

    /// Gives a product weights, and a convolution a bias, of whole numbers.
    fn round_weights(&mut self, node: &mut Node, input: Range) {
        let weight = node.inputs[1].and_then(|weight| self.constant_of(weight).cloned()).expect("weights are constant");
        let bias = node.inputs.get(2).copied().flatten();
        let bias = bias.and_then(|bias| self.constant_of(bias).cloned());
        let Values::F32(weights) = &weight.values else { unreachable!("weights are 32-bit floats") };
        let biases = match bias.as_deref().map(|bias| &bias.values) {
            Some(Values::F32(biases)) => biases.clone(),
            _ => Vec::new(),
        };
        let axis = if node.operator == "Conv" { 0 } else { 1 };
        let channels = weight.shape[axis];
        let inner: usize = weight.shape[axis + 1..].iter().product();
        let channel_of = |at: usize| at / inner % channels;
        let (step, _) = input.scale();
        let mut scales = vec![0.0_f32; channels];
        for (at, number) in weights.iter().enumerate() {
            let scale = &mut scales[channel_of(at)];
            *scale = scale.max(number.abs() / MOST_OF_WEIGHT);
        }
        // A channel whose weights are next to nothing beside its bias keeps the bias.
        for (scale, bias) in scales.iter_mut().zip(&biases) {
            *scale = scale.max(bias.abs() / (step * MOST_OF_BIAS));
        }
        scales.iter_mut().filter(|scale| **scale < f32::MIN_POSITIVE).for_each(|scale| *scale = 1.0);
        let whole = weights.iter().enumerate().map(|(at, number)| (number / scales[channel_of(at)]).round() as i8);
        let whole = self.constant(Values::I8(whole.collect()), &weight.shape);
        let zeros = self.constant(Values::I8(vec![0; channels]), &[channels]);
        let of_channels = self.constant(Values::F32(scales.clone()), &[channels]);
        let attribute = |axis: usize| vec![("axis", Attribute::Int(axis as i64))];
        let shape = Dim::all_fixed(&weight.shape);
        let inputs = [whole, of_channels, zeros];
        node.inputs[1] = Some(self.node("DequantizeLinear", &inputs, attribute(axis), Element::F32, shape));
        if !biases.is_empty() {
            let scales: Vec<f32> = scales.iter().map(|scale| scale * step).collect();
            let whole = biases.iter().zip(&scales).map(|(bias, scale)| (bias / scale).round() as i32).collect();
            let whole = self.constant(Values::I32(whole), &[channels]);
            let scales = self.constant(Values::F32(scales), &[channels]);
            let shape = vec![Dim::Fixed(channels)];
            node.inputs[2] = Some(self.node("DequantizeLinear", &[whole, scales], attribute(0), Element::F32, shape));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    fn map(channels: usize, side: usize) -> Vec<Dim> {
        vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(side), Dim::Fixed(side)]
    }

    /// Two convolutions of one channel with a ReLU between, and a classifier of the mean.
    fn network() -> Graph {
        let mut graph = Graph::new();
        let image = graph.input("image", Element::F32, map(1, 4));
        let mut x = image;
        for (layer, weight, bias) in [("stem", 2.0, 0.5), ("body", -1.0, 4.0)] {
            graph.set_layer(layer);
            let weight = graph.named_constant(&format!("{layer}.weight"), Values::F32(vec![weight]), &[1, 1, 1, 1]);
            let bias = graph.named_constant(&format!("{layer}.bias"), Values::F32(vec![bias]), &[1]);
            x = graph.node("Conv", &[x, weight, bias], Vec::new(), Element::F32, map(1, 4));
            x = graph.unary("Relu", x);
        }
        graph.set_layer("head");
        let mean = graph.reduce("ReduceMean", x, &[2, 3]);
        let row = graph.reshape(mean, vec![Dim::Batch(1), Dim::Fixed(1)]);
        let weight = graph.named_constant("head.weight", Values::F32(vec![1.0, -1.0]), &[1, 2]);
        let logits = graph.matmul(row, weight);
        graph.output("logits", logits);
        graph
    }

    fn range(low: f32, high: f32) -> Range {
        Range { low, high }
    }

    #[test]
    fn zero_is_a_byte_of_every_range() {
        assert_eq!(range(0.0, 255.0).scale(), (1.0, 0));
        assert_eq!(range(-51.0, 204.0).scale(), (1.0, 51));
        // Ranges beside zero are widened to it.
        assert_eq!(range(1.0, 2.55).scale(), (0.01, 0));
        assert_eq!(range(-2.0, -1.0).scale().1, 255);
        // A tensor of zeros.
        assert_eq!(range(0.0, 0.0).scale(), (1.0, 0));
    }

    #[test]
    fn first_layers_and_classifiers_are_not_watched() {
        let mut graph = network();
        let watched = graph.watch_products();
        let names: Vec<&str> = watched.iter().map(|product| product.name.as_str()).collect();
        assert_eq!(names, ["body/Conv"]);
        let (input, output) = (watched[0].input.clone(), watched[0].output.clone());
        assert_eq!((input.as_str(), output.as_deref()), ("body/Conv/input", Some("body/Conv/output")));
        let model = graph.into_model("watched", &[]).unwrap();
        let outputs: Vec<&str> = model.outputs().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(outputs, ["logits", "body/Conv/input", "body/Conv/output"]);
        assert_eq!(model.outputs()[1].shape, [Some(2)]);
        assert_eq!(model.outputs()[1].element, Element::F32);
    }

    #[test]
    fn weights_and_bias_become_whole_numbers() {
        let mut graph = network();
        // The input's step is 0.1, the weight's 1/127: the bias is 4 / (0.1 / 127) steps.
        let ranges = ProductRanges { input: range(0.0, 25.5), output: Some(range(0.0, 4.0)) };
        graph.quantise(&BTreeMap::from([("body/Conv".to_owned(), ranges)])).unwrap();
        let node = graph.nodes.iter().rev().find(|node| node.operator == "Conv").unwrap();
        let of = |at: usize| {
            let source = graph.producer(node.inputs[at].unwrap()).unwrap();
            assert_eq!(source.operator, "DequantizeLinear");
            source
                .inputs
                .iter()
                .map(|input| graph.constant_of(input.unwrap()).map(|found| found.values.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(1)[0], Some(Values::I8(vec![-127])));
        assert_eq!(of(1)[1], Some(Values::F32(vec![1.0 / 127.0])));
        assert_eq!(of(2)[0], Some(Values::I32(vec![5080])));
        // Its input comes of a byte, which is no constant; so does what follows its ReLU.
        assert_eq!(of(0)[0], None);
        let model = graph.into_model("quantised", &[]).unwrap();
        let count = |name: &str| model.operators().iter().find(|(own, _)| own == name).map_or(0, |(_, count)| *count);
        assert_eq!((count("QuantizeLinear"), count("DequantizeLinear"), count("Conv")), (2, 4, 2));
    }

    #[test]
    fn a_product_that_there_is_not_is_named() {
        let ranges = ProductRanges { input: range(0.0, 1.0), output: None };
        let ranges = BTreeMap::from([("tail/Conv".to_owned(), ranges)]);
        let error = network().quantise(&ranges).unwrap_err();
        assert_eq!(error, GraphError::NoProduct { name: "tail/Conv".into() });
    }

    #[test]
    fn a_bias_beside_which_weights_are_nothing_is_kept() {
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(2)]);
        graph.set_layer("layer");
        let weight = graph.named_constant("weight", Values::F32(vec![1e-30, 0.0]), &[2, 1, 1, 1]);
        let bias = graph.named_constant("bias", Values::F32(vec![1.5, 0.0]), &[2]);
        let attributes = vec![("group", Attribute::Int(1))];
        let y = graph.node("Conv", &[x, weight, bias], attributes, Element::F32, map(2, 2));
        graph.output("y", y);
        let ranges = ProductRanges { input: range(0.0, 255.0), output: None };
        graph.quantise(&BTreeMap::from([("layer/Conv".to_owned(), ranges)])).unwrap();
        let node = graph.nodes.iter().find(|node| node.operator == "Conv").unwrap();
        let source = graph.producer(node.inputs[2].unwrap()).unwrap();
        let numbers = |at: usize| graph.constant_of(source.inputs[at].unwrap()).unwrap().values.clone();
        let (Values::I32(whole), Values::F32(scales)) = (numbers(0), numbers(1)) else { panic!("a bias") };
        let found: Vec<f32> = whole.iter().zip(&scales).map(|(whole, scale)| *whole as f32 * scale).collect();
        assert!((found[0] - 1.5).abs() < 1e-6 && found[1] == 0.0, "{found:?}");
    }
}
