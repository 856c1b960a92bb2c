use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use prost::Message;

use crate::constant::{Constant, Values};
use crate::element::{Dim, Element};
use crate::error::GraphError;
use crate::evaluate::evaluate;
use crate::messages::{
    AttributeMessage, DimMessage, GraphMessage, Model, NodeMessage, OperatorSet, Property, ShapeMessage, TensorMessage,
    TensorTypeMessage, TypeMessage, ValueMessage,
};
use crate::model::{IR_VERSION, MAX_BYTES, OPSET, OnnxModel, TensorFacts};
use crate::outside::OutsidePart;
use crate::tidy::tidy;

/// How the batch is called in files.
const BATCH: &str = "N";
/// The most numbers of a constant that is looked up among the others, to be written once.
const SHARED: usize = 256;

/// A tensor of a [`Graph`]: an input, a constant, or what a node gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(pub(crate) usize);

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f32),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A word.
    Text(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The name in the file, of inputs and named constants.
    pub(crate) name: Option<String>,
    pub(crate) element: Element,
    pub(crate) shape: Vec<Dim>,
    pub(crate) constant: Option<Arc<Constant>>,
    /// The node that gives it.
    pub(crate) producer: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) operator: &'static str,
    /// `None` where an input that may be left out is.
    pub(crate) inputs: Vec<Option<Value>>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    /// The layer that it is part of.
    pub(crate) layer: String,
    /// What it is made of, if it is more than an operator.
    pub(crate) body: Option<Body>,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// What it repeats, of a loop.
    Repeated(Box<Graph>),
    /// The computation of somebody else's file, whose nodes stand in its place.
    Outside(Arc<OutsidePart>),
}

/// What is known of a file while it is written.
#[derive(Debug)]
struct Written {
    /// The nodes of each operator so far.
    operators: BTreeMap<String, usize>,
    /// The version of the operators of each part that somebody else wrote.
    outside: BTreeSet<i64>,
    /// The version of the format.
    ir_version: i64,
}

impl Written {
    fn new() -> Self {
        Self { operators: BTreeMap::new(), outside: BTreeSet::new(), ir_version: IR_VERSION }
    }

    /// The version of all operators: that of the parts of others, where it is later than ours.
    fn opset(&self) -> Result<i64, GraphError> {
        match self.outside.iter().copied().collect::<Vec<_>>()[..] {
            [] => Ok(OPSET),
            [only] => Ok(only),
            [first, .., last] => Err(GraphError::TwoOpsets { first, last }),
        }
    }
}

/// A computation that grows node by node, in the order of computing. See the [crate](crate) for an example.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) values: Vec<Facts>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<(String, Value)>,
    pub(crate) layer: String,
    shared: HashMap<(i32, Vec<usize>, Vec<u8>), Value>,
    batch: BTreeMap<usize, Value>,
    /// A zero for each case.
    zeros: Option<Value>,
    /// What names that nobody gave begin with: those of a loop's body must not be those around it.
    prefix: String,
    loops: usize,
}

impl Graph {
    /// One without anything in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the following nodes are part of: the first part of their names.
    pub fn set_layer(&mut self, layer: &str) {
        layer.clone_into(&mut self.layer);
    }

    /// An input.
    pub fn input(&mut self, name: &str, element: Element, shape: Vec<Dim>) -> Value {
        let value = self.value(Some(name.to_owned()), element, shape, None, None);
        self.inputs.push(value);
        value
    }

    /// A constant; small ones that are equal are one.
    ///
    /// # Panics
    /// If there are more or fewer numbers than the shape has.
    pub fn constant(&mut self, values: Values, shape: &[usize]) -> Value {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "numbers of a constant");
        let key = (values.len() <= SHARED).then(|| (values.element().code(), shape.to_vec(), values.to_bytes()));
        if let Some(known) = key.as_ref().and_then(|key| self.shared.get(key)) {
            return *known;
        }
        let element = values.element();
        let constant = Arc::new(Constant { shape: shape.to_vec(), values });
        let value = self.value(None, element, Dim::all_fixed(shape), Some(constant), None);
        if let Some(key) = key {
            self.shared.insert(key, value);
        }
        value
    }

    /// A constant that keeps its name, such as a layer's weight.
    ///
    /// # Panics
    /// If there are more or fewer numbers than the shape has.
    pub fn named_constant(&mut self, name: &str, values: Values, shape: &[usize]) -> Value {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "numbers of `{name}`");
        let element = values.element();
        let constant = Arc::new(Constant { shape: shape.to_vec(), values });
        self.value(Some(name.to_owned()), element, Dim::all_fixed(shape), Some(constant), None)
    }

    /// Whole numbers in a row.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.constant(Values::I64(values.to_vec()), &[values.len()])
    }

    /// One number without dimensions, of the same kind as another value.
    ///
    /// # Panics
    /// If the other is not made of numbers.
    pub fn scalar_like(&mut self, value: Value, number: f64) -> Value {
        let values = match self.element(value) {
            Element::F32 => Values::F32(vec![number as f32]),
            Element::F64 => Values::F64(vec![number]),
            Element::I32 => Values::I32(vec![number as i32]),
            Element::I64 => Values::I64(vec![number as i64]),
            other => panic!("{other} has no numbers"),
        };
        self.constant(values, &[])
    }

    /// `times · N` with the batch's size `N`, `[1]`.
    ///
    /// # Panics
    /// If no input has the batch as its first dimension.
    pub fn batch_size(&mut self, times: usize) -> Value {
        if let Some(&known) = self.batch.get(&times) {
            return known;
        }
        let value = match times {
            1 => {
                let has_batch = |value: &&Value| self.shape(**value).first() == Some(&Dim::Batch(1));
                let input = *self.inputs.iter().find(has_batch).expect("an input has the batch");
                let attributes = vec![("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
                self.node("Shape", &[input], attributes, Element::I64, vec![Dim::Fixed(1)])
            }
            _ => {
                let (one, factor) = (self.batch_size(1), self.integers(&[times as i64]));
                self.multiply(one, factor)
            }
        };
        self.batch.insert(times, value);
        value
    }

    /// A zero for each case of the batch, `[N, 1]` of 32-bit floats: what it is added to is repeated over the batch, and no node asks for a
    /// shape. (OpenVINO 2026.4 computes a network of 8-bit integers wrong where one asks for that of an image.) `None` if no input of
    /// 32-bit floats has the batch as its first dimension.
    pub fn zeros(&mut self) -> Option<Value> {
        if self.zeros.is_none() {
            let of_case = |value: Value| match self.shape(value) {
                [Dim::Batch(1), rest @ ..] => rest.iter().map(|dim| dim.fixed()).product::<Option<usize>>(),
                _ => None,
            };
            let floats = self.inputs.iter().copied().filter(|&value| self.element(value) == Element::F32);
            let sized = floats.filter_map(|value| Some((of_case(value)?, value)));
            let (_, input) = sized.min_by_key(|(size, _)| *size)?;
            let axes: Vec<usize> = (1..self.shape(input).len()).collect();
            let largest = self.reduce("ReduceMax", input, &axes);
            let largest = self.reshape(largest, vec![Dim::Batch(1), Dim::Fixed(1)]);
            // No number is below itself, whatever it is.
            let below = self.compare("Less", largest, largest);
            self.zeros = Some(self.cast(below, Element::F32));
        }
        self.zeros
    }

    /// A shape as a value of whole numbers.
    pub fn shape_value(&mut self, shape: &[Dim]) -> Value {
        if let Some(fixed) = shape.iter().map(|dim| dim.fixed()).collect::<Option<Vec<_>>>() {
            let sizes: Vec<i64> = fixed.into_iter().map(|size| size as i64).collect();
            return self.integers(&sizes);
        }
        let parts: Vec<Value> = shape
            .iter()
            .map(|dim| match *dim {
                Dim::Fixed(size) => self.integers(&[size as i64]),
                Dim::Batch(times) => self.batch_size(times),
            })
            .collect();
        self.concat(&parts, 0)
    }

    /// What a node with one output gives: of constants, a constant where that is simple.
    pub fn node(
        &mut self,
        operator: &'static str,
        inputs: &[Value],
        attributes: Vec<(&'static str, Attribute)>,
        element: Element,
        shape: Vec<Dim>,
    ) -> Value {
        let inputs: Vec<Option<Value>> = inputs.iter().copied().map(Some).collect();
        self.node_with_gaps(operator, &inputs, attributes, element, shape)
    }

    /// The same with inputs that are left out.
    pub fn node_with_gaps(
        &mut self,
        operator: &'static str,
        inputs: &[Option<Value>],
        attributes: Vec<(&'static str, Attribute)>,
        element: Element,
        shape: Vec<Dim>,
    ) -> Value {
        let constants: Option<Vec<Arc<Constant>>> =
            inputs.iter().map(|input| self.values[(*input)?.0].constant.clone()).collect();
        if let Some(constant) = constants.and_then(|inputs| evaluate(operator, &inputs, &attributes, element, &shape)) {
            return self.constant(constant.values, &constant.shape);
        }
        let value = self.value(None, element, shape, None, Some(self.nodes.len()));
        let (inputs, layer) = (inputs.to_vec(), self.layer.clone());
        self.nodes.push(Node { operator, inputs, outputs: vec![value], attributes, layer, body: None });
        value
    }

    /// Repeats a computation on values that keep their shapes, at most so many times: `body` is given the values, in a graph of its own,
    /// and returns whether to go on (one truth value without dimensions) and the next values.
    ///
    /// # Panics
    /// If the body returns another number of values.
    pub fn repeat(
        &mut self,
        most: usize,
        values: &[Value],
        body: impl FnOnce(&mut Self, &[Value]) -> (Value, Vec<Value>),
    ) -> Vec<Value> {
        self.loops += 1;
        let prefix = format!("{}loop{}.", self.prefix, self.loops);
        let mut inner = Self { prefix: prefix.clone(), ..Self::new() };
        inner.input(&format!("{prefix}count"), Element::I64, Vec::new());
        inner.input(&format!("{prefix}goes_on"), Element::Bool, Vec::new());
        let mut input = |(at, value): (usize, &Value)| {
            inner.input(&format!("{prefix}in{at}"), self.element(*value), self.shape(*value).to_vec())
        };
        let given: Vec<Value> = values.iter().enumerate().map(&mut input).collect();
        let (goes_on, next) = body(&mut inner, &given);
        assert_eq!(next.len(), values.len(), "values of a loop");
        inner.output(&format!("{prefix}goes_on_out"), goes_on);
        next.iter().enumerate().for_each(|(at, value)| inner.output(&format!("{prefix}out{at}"), *value));
        let (most, always) =
            (self.constant(Values::I64(vec![most as i64]), &[]), self.constant(Values::Bool(vec![true]), &[]));
        let node = self.nodes.len();
        let outputs: Vec<Value> = values
            .iter()
            .map(|&value| {
                let Facts { element, shape, .. } = self.values[value.0].clone();
                self.value(None, element, shape, None, Some(node))
            })
            .collect();
        let inputs = [most, always].iter().chain(values).map(|value| Some(*value)).collect();
        let (layer, body) = (self.layer.clone(), Some(Body::Repeated(Box::new(inner))));
        self.nodes.push(Node {
            operator: "Loop",
            inputs,
            outputs: outputs.clone(),
            attributes: Vec::new(),
            layer,
            body,
        });
        outputs
    }

    /// Asks a computation about each entry of the first dimension by itself: `body` is given one, without that dimension, in a graph of its
    /// own, and what it returns is put together along a first dimension again.
    ///
    /// # Panics
    /// If the value has no dimension.
    pub fn each(&mut self, values: Value, body: impl FnOnce(&mut Self, Value) -> Value) -> Value {
        self.loops += 1;
        let prefix = format!("{}loop{}.", self.prefix, self.loops);
        let mut inner = Self { prefix: prefix.clone(), ..Self::new() };
        let (&count, rest) = self.shape(values).split_first().expect("a value with a first dimension");
        let entry = inner.input(&format!("{prefix}in"), self.element(values), rest.to_vec());
        let result = body(&mut inner, entry);
        inner.output(&format!("{prefix}out"), result);
        let shape = std::iter::once(count).chain(inner.shape(result).iter().copied()).collect();
        let together = self.value(None, inner.element(result), shape, None, Some(self.nodes.len()));
        self.nodes.push(Node {
            operator: "Scan",
            inputs: vec![Some(values)],
            outputs: vec![together],
            attributes: vec![("num_scan_inputs", Attribute::Int(1))],
            layer: self.layer.clone(),
            body: Some(Body::Repeated(Box::new(inner))),
        });
        together
    }

    /// What a part of somebody else's file gives for a value, of 32-bit floats in this shape. Sizes that nobody knows may be any that no later
    /// node looks at. The part's weights are written for each call; ask about several values by [`each`](Self::each).
    pub fn outside(&mut self, part: &Arc<OutsidePart>, input: Value, shape: Vec<Dim>) -> Value {
        let output = self.value(None, Element::F32, shape, None, Some(self.nodes.len()));
        self.nodes.push(Node {
            operator: "outside",
            inputs: vec![Some(input)],
            outputs: vec![output],
            attributes: Vec::new(),
            layer: self.layer.clone(),
            body: Some(Body::Outside(Arc::clone(part))),
        });
        output
    }

    /// Makes a value an output.
    pub fn output(&mut self, name: &str, value: Value) {
        self.outputs.push((name.to_owned(), value));
    }

    /// What a value is made of.
    #[must_use]
    pub fn element(&self, value: Value) -> Element {
        self.values[value.0].element
    }

    /// The dimensions of a value.
    #[must_use]
    pub fn shape(&self, value: Value) -> &[Dim] {
        &self.values[value.0].shape
    }

    /// The inputs so far, by name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, Value)> {
        self.inputs.iter().map(|value| (self.values[value.0].name.as_deref().unwrap_or_default(), *value))
    }

    /// The operator and inputs of the node that gives a value, if one does.
    pub(crate) fn producer(&self, value: Value) -> Option<&Node> {
        self.values[value.0].producer.map(|node| &self.nodes[node])
    }

    pub(crate) fn constant_of(&self, value: Value) -> Option<&Arc<Constant>> {
        self.values[value.0].constant.as_ref()
    }

    fn value(
        &mut self,
        name: Option<String>,
        element: Element,
        shape: Vec<Dim>,
        constant: Option<Arc<Constant>>,
        producer: Option<usize>,
    ) -> Value {
        self.values.push(Facts { name, element, shape, constant, producer });
        Value(self.values.len() - 1)
    }

    /// The file, with properties for whoever reads it.
    ///
    /// # Errors
    /// Two inputs or outputs of one name; more bytes than a file can have.
    pub fn into_model(self, name: &str, properties: &[(String, String)]) -> Result<OnnxModel, GraphError> {
        self.within(MAX_BYTES, name, properties)
    }

    /// The file, if it has at most so many bytes.
    fn within(mut self, limit: usize, name: &str, properties: &[(String, String)]) -> Result<OnnxModel, GraphError> {
        tidy(&mut self);
        let facts = |(value, name): (Value, &str)| {
            let Facts { element, shape, .. } = &self.values[value.0];
            TensorFacts {
                name: name.to_owned(),
                element: *element,
                shape: shape.iter().map(|dim| dim.fixed()).collect(),
            }
        };
        let inputs = self.inputs().map(|(name, value)| facts((value, name))).collect();
        let outputs = self.outputs.iter().map(|(name, value)| facts((*value, name))).collect();
        let mut written = Written::new();
        let graph = self.into_message(name, &mut written)?;
        let opset = written.opset()?;
        let property =
            |(key, value): &(String, String)| Property { key: Some(key.clone()), value: Some(value.clone()) };
        let model = Model {
            ir_version: Some(written.ir_version),
            producer_name: Some("dermafuse".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(graph),
            opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(opset) }],
            metadata_props: properties.iter().map(property).collect(),
            functions: Vec::new(),
        };
        let found = model.encoded_len();
        if found > limit {
            return Err(GraphError::TooLarge { found, limit });
        }
        let operators = written.operators.into_iter().collect();
        Ok(OnnxModel { bytes: model.encode_to_vec(), inputs, outputs, opset, operators })
    }

    /// The graph as a file has it.
    fn into_message(mut self, name: &str, written: &mut Written) -> Result<GraphMessage, GraphError> {
        self.separate_outputs();
        let needed = self.needed();
        let names = self.names(&needed)?;
        let (mut node, mut initializer, mut sparse_initializer) = (Vec::new(), Vec::new(), Vec::new());
        let mut outside = 0;
        for Node { operator, inputs, outputs, attributes, layer, body } in std::mem::take(&mut self.nodes) {
            if !outputs.iter().any(|output| needed.contains(output)) {
                continue;
            }
            let name_of = |value: &Value| names[value.0].clone();
            if let Some(Body::Outside(part)) = &body {
                // What others called their values, under a name that no value of ours begins with.
                let prefix = loop {
                    outside += 1;
                    let prefix = format!("{}outside{outside}.", self.prefix);
                    if !names.iter().any(|name| name.starts_with(&prefix)) {
                        break prefix;
                    }
                };
                let (input, output) = (inputs[0].as_ref().map(name_of).unwrap_or_default(), name_of(&outputs[0]));
                let spliced = part.spliced(&prefix, &input, &output);
                for node in &spliced.node {
                    *written.operators.entry(node.op_type().to_owned()).or_default() += 1;
                }
                written.outside.insert(part.opset());
                written.ir_version = written.ir_version.max(part.ir_version());
                node.extend(spliced.node);
                initializer.extend(spliced.initializer);
                sparse_initializer.extend(spliced.sparse_initializer);
                continue;
            }
            let count = written.operators.entry(operator.to_owned()).or_default();
            *count += 1;
            let separator = if layer.is_empty() { "" } else { "/" };
            let own = format!("{layer}{separator}{operator}_{count}");
            let mut attribute: Vec<AttributeMessage> =
                attributes.iter().map(|(name, value)| message_of(name, value)).collect();
            if let Some(Body::Repeated(body)) = body {
                let body = Some(Box::new(body.into_message("body", written)?));
                attribute.push(AttributeMessage {
                    name: Some("body".into()),
                    g: body,
                    kind: Some(5),
                    ..AttributeMessage::default()
                });
            }
            node.push(NodeMessage {
                input: inputs.iter().map(|input| input.as_ref().map_or_else(String::new, name_of)).collect(),
                output: outputs.iter().map(name_of).collect(),
                name: Some(own),
                op_type: Some(operator.to_owned()),
                attribute,
                domain: None,
            });
        }
        let message = |value: &Value| self.value_message(*value, &names[value.0]);
        let (input, output) =
            (self.inputs.iter().map(message).collect(), self.outputs.iter().map(|(_, value)| message(value)).collect());
        let mut size = 0_usize;
        for (at, facts) in self.values.iter_mut().enumerate().filter(|(at, _)| needed.contains(&Value(*at))) {
            // Each constant is let go of as it becomes bytes: a large network is not in memory twice more.
            let Some(constant) = facts.constant.take() else { continue };
            let raw = constant.values.to_bytes();
            size = size.saturating_add(raw.len());
            if size > MAX_BYTES {
                return Err(GraphError::TooLarge { found: size, limit: MAX_BYTES });
            }
            initializer.push(TensorMessage {
                dims: constant.shape.iter().map(|&size| size as i64).collect(),
                data_type: Some(facts.element.code()),
                name: Some(names[at].clone()),
                raw_data: Some(raw.into()),
                ..TensorMessage::default()
            });
        }
        Ok(GraphMessage { node, name: Some(name.to_owned()), initializer, input, output, sparse_initializer })
    }

    /// Gives outputs that are inputs, constants or other outputs too a node of their own.
    fn separate_outputs(&mut self) {
        let mut taken: HashSet<Value> = HashSet::new();
        for at in 0..self.outputs.len() {
            let value = self.outputs[at].1;
            if self.values[value.0].producer.is_none() || !taken.insert(value) {
                let Facts { element, shape, .. } = self.values[value.0].clone();
                let copy = self.value(None, element, shape, None, Some(self.nodes.len()));
                let (inputs, outputs) = (vec![Some(value)], vec![copy]);
                let layer = String::new();
                self.nodes.push(Node {
                    operator: "Identity",
                    inputs,
                    outputs,
                    attributes: Vec::new(),
                    layer,
                    body: None,
                });
                self.outputs[at].1 = copy;
            }
        }
    }

    /// What the outputs are made of, and what the nodes on the way there give beside it.
    pub(crate) fn needed(&self) -> HashSet<Value> {
        let mut needed: HashSet<Value> = self.outputs.iter().map(|(_, value)| *value).collect();
        for node in self.nodes.iter().rev() {
            if node.outputs.iter().any(|output| needed.contains(output)) {
                needed.extend(node.inputs.iter().flatten().chain(&node.outputs));
            }
        }
        needed
    }

    /// The name of each value in the file: its own, that of an output, or a number.
    fn names(&self, needed: &HashSet<Value>) -> Result<Vec<String>, GraphError> {
        let mut names = vec![String::new(); self.values.len()];
        let mut taken: HashSet<String> = HashSet::new();
        let inputs = self.inputs.iter().map(|value| (*value, self.values[value.0].name.clone().unwrap_or_default()));
        for (value, name) in inputs.chain(self.outputs.iter().map(|(name, value)| (*value, name.clone()))) {
            if !taken.insert(name.clone()) {
                return Err(GraphError::Twice { name });
            }
            names[value.0] = name;
        }
        let mut next = 0;
        for at in (0..self.values.len()).filter(|at| needed.contains(&Value(*at))) {
            if !names[at].is_empty() {
                continue;
            }
            let own = self.values[at].name.clone().filter(|name| taken.insert(name.clone()));
            names[at] = own.unwrap_or_else(|| {
                loop {
                    next += 1;
                    let name = format!("{}v{next}", self.prefix);
                    if taken.insert(name.clone()) {
                        break name;
                    }
                }
            });
        }
        Ok(names)
    }

    fn value_message(&self, value: Value, name: &str) -> ValueMessage {
        let Facts { element, shape, .. } = &self.values[value.0];
        let dim = shape.iter().map(|dim| match *dim {
            Dim::Fixed(size) => DimMessage { value: Some(size as i64), parameter: None },
            Dim::Batch(1) => DimMessage { value: None, parameter: Some(BATCH.into()) },
            Dim::Batch(times) => DimMessage { value: None, parameter: Some(format!("{times}*{BATCH}")) },
        });
        let tensor =
            TensorTypeMessage { element: Some(element.code()), shape: Some(ShapeMessage { dim: dim.collect() }) };
        ValueMessage {
            name: Some(name.to_owned()),
            of_type: Some(TypeMessage { tensor: Some(tensor), ..TypeMessage::default() }),
        }
    }
}

fn message_of(name: &str, value: &Attribute) -> AttributeMessage {
    let empty = AttributeMessage { name: Some(name.to_owned()), ..AttributeMessage::default() };
    match value {
        Attribute::Float(value) => AttributeMessage { f: Some(*value), kind: Some(1), ..empty },
        Attribute::Int(value) => AttributeMessage { i: Some(*value), kind: Some(2), ..empty },
        Attribute::Text(value) => {
            AttributeMessage { s: Some(prost::bytes::Bytes::from_static(value.as_bytes())), kind: Some(3), ..empty }
        }
        Attribute::Ints(values) => AttributeMessage { ints: values.clone(), kind: Some(7), ..empty },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;

    /// Doubles a number four times, and carries another along that nobody asks about.
    fn doubling() -> Graph {
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, vec![Dim::Batch(1), Dim::Fixed(2)]);
        let next = graph.repeat(4, &[x, x], |graph, state| {
            let twice = graph.add(state[0], state[0]);
            (graph.constant(Values::Bool(vec![true]), &[]), vec![twice, state[1]])
        });
        graph.output("y", next[0]);
        graph
    }

    #[test]
    fn everything_that_a_needed_node_gives_has_a_name() {
        let message = doubling().into_message("numbers", &mut Written::new()).unwrap();
        let names: Vec<&String> = message.node.iter().flat_map(|node| &node.output).collect();
        assert_eq!(names.len(), 2);
        assert!(names.iter().all(|name| !name.is_empty()), "{names:?}");
        let body = message.node[0].attribute[0].g.as_ref().unwrap();
        assert!(body.input.iter().all(|input| input.name.as_ref().unwrap().starts_with("loop1.")));
    }

    #[test]
    fn the_same_calls_give_the_same_bytes_and_nothing_unneeded() {
        let mut more = doubling();
        let unused = more.named_constant("unused", Values::F32(vec![0.0; 100]), &[100]);
        more.unary("Exp", unused);
        let bytes = |graph: Graph| graph.into_model("numbers", &[]).unwrap().into_bytes();
        assert_eq!(bytes(more), bytes(doubling()));
        assert!(Weights::from_bytes(&bytes(doubling())).unwrap().tensors.is_empty());
    }

    #[test]
    fn what_cannot_be_a_file_is_named() {
        let error = doubling().within(100, "numbers", &[]).unwrap_err().to_string();
        assert!(error.contains("an ONNX file with its weights inside holds at most 100"), "{error}");
        let mut twice = doubling();
        let (_, value) = twice.outputs[0].clone();
        twice.output("x", value);
        assert_eq!(twice.into_model("numbers", &[]).unwrap_err(), GraphError::Twice { name: "x".into() });
    }

    #[test]
    fn the_parts_of_a_hard_swish_are_one_operator() {
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, vec![Dim::Batch(1)]);
        let [three, six] = [3.0, 6.0].map(|number| graph.scalar_like(x, number));
        let sum = graph.add(x, three);
        let clipped = graph.clip(sum, Some(0.0), Some(6.0));
        let gate = graph.divide(clipped, six);
        let y = graph.multiply(x, gate);
        graph.output("y", y);
        assert_eq!(graph.into_model("swish", &[]).unwrap().operators(), [("HardSwish".to_owned(), 1)]);
    }

    #[test]
    fn what_is_repeated_over_the_batch_asks_for_no_shape() {
        let mut graph = Graph::new();
        let image =
            graph.input("image", Element::F32, vec![Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)]);
        let row = graph.constant(Values::F32(vec![1.0, 2.0]), &[1, 2]);
        let expanded = graph.expand(row, vec![Dim::Batch(1), Dim::Fixed(5), Dim::Fixed(2)]);
        assert_eq!(graph.shape(expanded), [Dim::Batch(1), Dim::Fixed(5), Dim::Fixed(2)]);
        graph.output("rows", expanded);
        graph.output("image again", image);
        let message = graph.into_message("numbers", &mut Written::new()).unwrap();
        let operators: Vec<&str> = message.node.iter().filter_map(|node| node.op_type.as_deref()).collect();
        assert!(operators.contains(&"Add") && !operators.contains(&"Shape"), "{operators:?}");
    }
}
