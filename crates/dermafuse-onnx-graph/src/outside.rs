//! What somebody else's ONNX file computes, as a part of a graph of ours.

use std::collections::HashSet;

use prost::Message;

use crate::error::GraphError;
use crate::messages::{AttributeMessage, GraphMessage, Model, NodeMessage, TensorMessage, ValueMessage};
use crate::model::{EARLIEST_OPSET, LATEST_OPSET, OPSET};
use crate::outside_versions::brought_to_opset;

/// The code of 32-bit floats in ONNX files.
const F32: i32 = 1;

/// An ONNX file that somebody else wrote.
///
/// ```
/// use std::sync::Arc;
/// use dermafuse_onnx_graph::{Dim, Element, Graph, OutsideFile};
///
/// let features = vec![Dim::Batch(1), Dim::Fixed(2)];
/// let mut theirs = Graph::new();
/// let x = theirs.input("x", Element::F32, features.clone());
/// let y = theirs.unary("Exp", x);
/// theirs.output("y", y);
/// let file = OutsideFile::from_bytes(theirs.into_model("theirs", &[])?.bytes())?;
///
/// let part = Arc::new(file.part("x", "y")?);
/// let mut graph = Graph::new();
/// let input = graph.input("input", Element::F32, features.clone());
/// let exponential = graph.outside(&part, input, features);
/// graph.output("exponential", exponential);
/// assert!(graph.into_model("ours", &[])?.operators().contains(&("Exp".to_owned(), 1)));
/// # Ok::<(), dermafuse_onnx_graph::GraphError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OutsideFile {
    graph: GraphMessage,
    opset: i64,
    ir_version: i64,
}

/// An input or output of somebody else's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideTensor {
    /// Its name.
    pub name: String,
    /// Whether it is made of 32-bit floats.
    pub is_f32: bool,
    /// Its dimensions, with `None` for one that is free; `None` where the file does not say how many there are.
    pub shape: Option<Vec<Option<usize>>>,
}

/// What lies between an input and an output of somebody else's file: nodes and weights. [`Graph::outside`](crate::Graph::outside) takes
/// it.
#[derive(Clone, Debug)]
pub struct OutsidePart {
    graph: GraphMessage,
    input: String,
    output: String,
    opset: i64,
    ir_version: i64,
}

impl OutsideFile {
    /// The file of these bytes.
    ///
    /// # Errors
    /// What is no ONNX model.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        let not_onnx = |reason: String| GraphError::NotOnnx { reason };
        let model = Model::decode(bytes).map_err(|error| not_onnx(error.to_string()))?;
        let graph = model.graph.ok_or_else(|| not_onnx("it has no graph".into()))?;
        let Some(ir_version) = model.ir_version.filter(|_| !graph.node.is_empty()) else {
            return Err(not_onnx("it has no version or no node".into()));
        };
        let own = model.opset_import.iter().find(|set| is_onnx(set.domain.as_deref()));
        let opset = own.and_then(|set| set.version).ok_or_else(|| not_onnx("it has no set of operators".into()))?;
        // A function is called like an operator of its domain; one of ONNX's own domain would be taken for the operator.
        if let Some(function) = model.functions.iter().find(|function| is_onnx(function.domain.as_deref())) {
            let operator = function.name.clone().unwrap_or_default();
            return Err(GraphError::OutsideOperator { operator, domain: "a function of the file".into() });
        }
        Ok(Self { graph, opset, ir_version })
    }

    /// What it is asked with. Weights that are listed among the inputs, as early files do, are none.
    pub fn inputs(&self) -> impl Iterator<Item = OutsideTensor> + '_ {
        let weights: HashSet<&str> = weights_of(&self.graph).collect();
        self.graph.input.iter().map(tensor_of).filter(move |input| !weights.contains(input.name.as_str()))
    }

    /// What it answers.
    pub fn outputs(&self) -> impl Iterator<Item = OutsideTensor> + '_ {
        self.graph.output.iter().map(tensor_of)
    }

    /// What lies between an input and an output. What only other outputs need is left out.
    ///
    /// # Errors
    /// Names that the file does not have; an output that needs another input too; operators of a set that cannot be part of a file of
    /// ours, or that are not ONNX's own; a weight that lies in another file.
    pub fn part(&self, input: &str, output: &str) -> Result<OutsidePart, GraphError> {
        let refused = |what: &'static str, name: &str, known: Vec<String>| {
            Err(GraphError::OutsideTensor { what, name: name.to_owned(), known })
        };
        let names = |tensors: &mut dyn Iterator<Item = OutsideTensor>| tensors.map(|tensor| tensor.name).collect();
        let inputs: Vec<String> = names(&mut self.inputs());
        let outputs: Vec<String> = names(&mut self.outputs());
        if !outputs.iter().any(|name| name == output) {
            return refused("the output", output, outputs);
        }
        if !(EARLIEST_OPSET..=LATEST_OPSET).contains(&self.opset) {
            let (found, earliest, latest) = (self.opset, EARLIEST_OPSET, LATEST_OPSET);
            return Err(GraphError::OutsideOpset { found, earliest, latest });
        }
        let mut needed = HashSet::from([output.to_owned()]);
        let mut nodes: Vec<NodeMessage> = Vec::new();
        for node in self.graph.node.iter().rev() {
            if node.output.iter().any(|name| !name.is_empty() && needed.contains(name)) {
                read_by(node, &mut needed);
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        if !inputs.iter().any(|name| name == input) || !needed.contains(input) {
            return refused("the input", input, inputs);
        }
        if let Some(other) = inputs.iter().find(|name| *name != input && needed.contains(*name)) {
            return refused("the only input", input, vec![input.to_owned(), other.clone()]);
        }
        let is_needed = |name: Option<&String>| name.is_some_and(|name| needed.contains(name));
        let weights = &self.graph.initializer;
        let sparse = &self.graph.sparse_initializer;
        let mut graph = GraphMessage {
            node: nodes,
            initializer: weights.iter().filter(|tensor| is_needed(tensor.name.as_ref())).cloned().collect(),
            sparse_initializer: sparse
                .iter()
                .filter(|tensor| is_needed(tensor.values.as_ref().and_then(|values| values.name.as_ref())))
                .cloned()
                .collect(),
            ..GraphMessage::default()
        };
        check(&graph)?;
        let mut opset = self.opset;
        if opset < OPSET {
            brought_to_opset(&mut graph, opset);
            opset = OPSET;
        }
        let ir_version = self.ir_version;
        Ok(OutsidePart { graph, input: input.to_owned(), output: output.to_owned(), opset, ir_version })
    }
}

impl OutsidePart {
    pub(crate) const fn opset(&self) -> i64 {
        self.opset
    }

    pub(crate) const fn ir_version(&self) -> i64 {
        self.ir_version
    }

    /// The nodes and weights with all names behind a prefix, between a value of one name and another.
    pub(crate) fn spliced(&self, prefix: &str, input: &str, output: &str) -> GraphMessage {
        let mut graph = self.graph.clone();
        rename(&mut graph, prefix);
        let copy = |from: String, to: String, name: &str| NodeMessage {
            input: vec![from],
            output: vec![to],
            name: Some(format!("{prefix}{name}")),
            op_type: Some("Identity".into()),
            ..NodeMessage::default()
        };
        let first = copy(input.to_owned(), format!("{prefix}{}", self.input), "Identity_in");
        let last = copy(format!("{prefix}{}", self.output), output.to_owned(), "Identity_out");
        graph.node.insert(0, first);
        graph.node.push(last);
        graph
    }
}

/// Whether operators of a domain are ONNX's own.
fn is_onnx(domain: Option<&str>) -> bool {
    matches!(domain, None | Some("" | "ai.onnx"))
}

fn weights_of(graph: &GraphMessage) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref()?.name.as_deref());
    graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).chain(sparse)
}

fn tensor_of(value: &ValueMessage) -> OutsideTensor {
    let tensor = value.of_type.as_ref().and_then(|of_type| of_type.tensor.as_ref());
    let side = |value: Option<i64>| value.and_then(|value| usize::try_from(value).ok());
    OutsideTensor {
        name: value.name.clone().unwrap_or_default(),
        is_f32: tensor.is_some_and(|tensor| tensor.element == Some(F32)),
        shape: tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| shape.dim.iter().map(|dim| side(dim.value)).collect()),
    }
}

/// The graphs inside of an attribute: bodies of loops and branches.
fn bodies(attribute: &AttributeMessage) -> impl Iterator<Item = &GraphMessage> {
    attribute.g.as_deref().into_iter().chain(&attribute.graphs)
}

/// Adds the names that a node reads, also in the graphs inside of it.
fn read_by(node: &NodeMessage, names: &mut HashSet<String>) {
    names.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
    for graph in node.attribute.iter().flat_map(bodies) {
        graph.node.iter().for_each(|node| read_by(node, names));
        // A body may give a value from around it without a node.
        names.extend(graph.output.iter().filter_map(|output| output.name.clone()));
    }
}

/// Whether all operators are ONNX's own and all weights are there.
fn check(graph: &GraphMessage) -> Result<(), GraphError> {
    let sparse = graph.sparse_initializer.iter().flat_map(|tensor| tensor.values.iter().chain(&tensor.indices));
    graph.initializer.iter().chain(sparse).try_for_each(check_tensor)?;
    for node in &graph.node {
        if !is_onnx(node.domain.as_deref()) {
            let operator = node.op_type().to_owned();
            return Err(GraphError::OutsideOperator { operator, domain: node.domain().to_owned() });
        }
        for attribute in &node.attribute {
            attribute.t.as_deref().into_iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
            bodies(attribute).try_for_each(check)?;
        }
    }
    Ok(())
}

fn check_tensor(tensor: &TensorMessage) -> Result<(), GraphError> {
    if tensor.data_location.unwrap_or_default() == 0 && tensor.external_data.is_empty() {
        return Ok(());
    }
    let reason = "it lies in another file; write it with the weights inside (`onnx.save(onnx.load(FILE), FILE)`)";
    Err(GraphError::Tensor { name: tensor.name().to_owned(), reason: reason.into() })
}

/// Puts a prefix before every name of a value or node, also in the graphs inside of nodes.
fn rename(graph: &mut GraphMessage, prefix: &str) {
    let renamed = |name: &mut String| {
        // An input or output that is left out has no name.
        if !name.is_empty() {
            name.insert_str(0, prefix);
        }
    };
    let sparse = graph.sparse_initializer.iter_mut().filter_map(|tensor| tensor.values.as_mut());
    graph.initializer.iter_mut().chain(sparse).filter_map(|tensor| tensor.name.as_mut()).for_each(renamed);
    graph.input.iter_mut().chain(&mut graph.output).filter_map(|value| value.name.as_mut()).for_each(renamed);
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).chain(&mut node.name).for_each(renamed);
        for attribute in &mut node.attribute {
            attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs).for_each(|body| rename(body, prefix));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::messages::{FunctionMessage, OperatorSet, Property};
    use crate::{Dim, Element, Graph, Values};

    /// `y = x · weight`, and `z`, that nobody asks for, of another input and weight.
    fn theirs() -> Model {
        let mut graph = Graph::new();
        let shape = vec![Dim::Batch(1), Dim::Fixed(2)];
        let x = graph.input("x", Element::F32, shape.clone());
        let other = graph.input("other", Element::F32, shape);
        let weight = graph.named_constant("weight", Values::F32(vec![1.0, 2.0, 3.0, 4.0]), &[2, 2]);
        let y = graph.matmul(x, weight);
        graph.output("y", y);
        let unneeded = graph.named_constant("unneeded", Values::F32(vec![5.0, 6.0]), &[2]);
        let z = graph.add(other, unneeded);
        graph.output("z", z);
        let both = graph.add(y, z);
        graph.output("both", both);
        Model::decode(graph.into_model("theirs", &[]).unwrap().bytes()).unwrap()
    }

    fn file(model: &Model) -> Result<OutsideFile, GraphError> {
        OutsideFile::from_bytes(&model.encode_to_vec())
    }

    fn error(change: impl FnOnce(&mut Model)) -> String {
        let mut model = theirs();
        change(&mut model);
        match file(&model) {
            Ok(file) => file.part("x", "y").unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Our graph with a part of theirs for each entry of a batch.
    fn ours(part: OutsidePart) -> Model {
        let part = Arc::new(part);
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, vec![Dim::Batch(1), Dim::Fixed(2)]);
        let y = graph.each(x, |graph, row| {
            let one = graph.reshape(row, Dim::all_fixed(&[1, 2]));
            let y = graph.outside(&part, one, Dim::all_fixed(&[1, 2]));
            graph.reshape(y, Dim::all_fixed(&[2]))
        });
        graph.output("y", y);
        Model::decode(graph.into_model("ours", &[]).unwrap().bytes()).unwrap()
    }

    #[test]
    fn a_part_stands_in_a_graph_with_names_of_its_own_and_nothing_unneeded() {
        let model = theirs();
        let whole = file(&model).unwrap();
        let inputs: Vec<String> = whole.inputs().map(|input| input.name).collect();
        assert_eq!(inputs, ["x", "other"]);
        assert_eq!(whole.outputs().next().unwrap().shape, Some(vec![None, Some(2)]));
        let model = ours(whole.part("x", "y").unwrap());
        assert_eq!((model.ir_version, model.opset_import[0].version), (Some(8), Some(18)));
        let graph = model.graph.unwrap();
        let [scan] = &graph.node[..] else { panic!("{:?}", graph.node) };
        assert_eq!(scan.op_type(), "Scan");
        let body = scan.attribute.iter().find_map(|attribute| attribute.g.as_deref()).unwrap();
        let operators: Vec<&str> = body.node.iter().map(NodeMessage::op_type).collect();
        assert_eq!(operators, ["Reshape", "Identity", "MatMul", "Identity", "Reshape"]);
        let weights: Vec<&str> =
            body.initializer.iter().filter(|weight| weight.data_type == Some(1)).map(TensorMessage::name).collect();
        assert_eq!(weights, ["loop1.outside1.weight"]);
        // Every value that is read is given before, and no name is given twice.
        let mut given: HashSet<&str> =
            weights_of(body).chain(body.input.iter().filter_map(|input| input.name.as_deref())).collect();
        for node in &body.node {
            assert!(node.input.iter().all(|name| given.contains(name.as_str())), "{node:?}");
            assert!(node.output.iter().all(|name| given.insert(name)), "{node:?}");
        }
    }

    #[test]
    fn graphs_inside_of_nodes_are_renamed_and_what_they_read_is_kept() {
        let mut model = theirs();
        let graph = model.graph.as_mut().unwrap();
        // A branch that reads a value and a weight from around it.
        let value = |name: &str| ValueMessage { name: Some(name.into()), of_type: None };
        let inner = NodeMessage {
            input: vec!["y".into(), "outer".into(), String::new()],
            output: vec!["inner".into()],
            op_type: Some("Add".into()),
            ..NodeMessage::default()
        };
        let branch = GraphMessage { node: vec![inner], output: vec![value("inner")], ..GraphMessage::default() };
        let given = GraphMessage { output: vec![value("y")], ..GraphMessage::default() };
        let attribute = |name: &str, graph: GraphMessage| AttributeMessage {
            name: Some(name.into()),
            g: Some(Box::new(graph)),
            kind: Some(5),
            ..AttributeMessage::default()
        };
        graph.initializer.push(TensorMessage { name: Some("outer".into()), ..TensorMessage::default() });
        graph.initializer.push(TensorMessage { name: Some("condition".into()), ..TensorMessage::default() });
        graph.node.push(NodeMessage {
            input: vec!["condition".into()],
            output: vec!["chosen".into()],
            op_type: Some("If".into()),
            attribute: vec![attribute("then_branch", branch), attribute("else_branch", given)],
            ..NodeMessage::default()
        });
        graph.output.push(value("chosen"));
        let part = file(&model).unwrap().part("x", "chosen").unwrap();
        let spliced = part.spliced("p.", "in", "out");
        let names: Vec<&str> = weights_of(&spliced).collect();
        assert_eq!(names, ["p.weight", "p.outer", "p.condition"]);
        let last = &spliced.node[spliced.node.len() - 2];
        let branch = last.attribute[0].g.as_deref().unwrap();
        assert_eq!(branch.node[0].input, ["p.y", "p.outer", ""]);
        assert_eq!((branch.node[0].output[0].as_str(), branch.output[0].name()), ("p.inner", "p.inner"));
        assert_eq!(last.attribute[1].g.as_deref().unwrap().output[0].name(), "p.y");
        // All that stood in the attributes is still there.
        let mut again = part.spliced("", "in", "out");
        again.node.retain(|node| node.op_type() != "Identity");
        assert_eq!(again.node.last(), model.graph.as_ref().unwrap().node.last());
    }

    #[test]
    fn earlier_operators_are_brought_to_ours_and_later_ones_stay() {
        let mut model = theirs();
        model.opset_import[0].version = Some(13);
        model.ir_version = Some(4);
        let graph = model.graph.as_mut().unwrap();
        let attribute =
            AttributeMessage { name: Some("axes".into()), ints: vec![1], kind: Some(7), ..AttributeMessage::default() };
        let node = |operator: &str, input: &str, outputs: &[&str], attribute: Vec<AttributeMessage>| NodeMessage {
            input: vec![input.into()],
            output: outputs.iter().map(|&name| name.to_owned()).collect(),
            op_type: Some(operator.into()),
            attribute,
            ..NodeMessage::default()
        };
        graph.node.push(node("ReduceMax", "y", &["axes0"], vec![attribute]));
        graph.node.push(node("Split", "axes0", &["left", "right"], vec![]));
        graph.output.push(ValueMessage { name: Some("left".into()), of_type: None });
        let part = file(&model).unwrap().part("x", "left").unwrap();
        assert_eq!((part.opset(), part.ir_version()), (18, 4));
        let [_, reduce, split] = &part.graph.node[..] else { panic!("{:?}", part.graph.node) };
        assert_eq!((reduce.input.as_slice(), reduce.attribute.len()), (&["y".to_owned(), "axes1".to_owned()][..], 0));
        assert_eq!((split.attribute[0].name(), split.attribute[0].i), ("num_outputs", Some(2)));
        let axes = part.graph.initializer.iter().find(|tensor| tensor.name() == "axes1").unwrap();
        assert_eq!((&axes.int64_data[..], &axes.dims[..]), (&[1][..], &[1][..]));

        let mut later = theirs();
        later.opset_import[0].version = Some(21);
        later.ir_version = Some(10);
        let model = ours(file(&later).unwrap().part("x", "y").unwrap());
        assert_eq!((model.ir_version, model.opset_import[0].version), (Some(10), Some(21)));
        let mut graph = Graph::new();
        let x = graph.input("x", Element::F32, Dim::all_fixed(&[1, 2]));
        for (at, model) in [theirs(), later].iter().enumerate() {
            let part = Arc::new(file(model).unwrap().part("x", "y").unwrap());
            let y = graph.outside(&part, x, Dim::all_fixed(&[1, 2]));
            graph.output(&format!("y{at}"), y);
        }
        assert_eq!(graph.into_model("both", &[]).unwrap_err(), GraphError::TwoOpsets { first: 18, last: 21 });
    }

    #[test]
    fn what_cannot_be_a_part_is_named_with_the_remedy() {
        let opset = error(|model| model.opset_import[0].version = Some(12));
        assert!(opset.contains("the set 12 of") && opset.contains("convert_version"), "{opset}");
        let new = error(|model| model.opset_import[0].version = Some(99));
        assert!(new.contains("the set 99 of"), "{new}");
        let none = error(|model| model.opset_import = vec![OperatorSet { domain: Some("x".into()), version: Some(1) }]);
        assert!(none.contains("no set of operators"), "{none}");
        let foreign = error(|model| model.graph.as_mut().unwrap().node[0].domain = Some("com.microsoft".into()));
        assert!(foreign.contains("`MatMul` of `com.microsoft`"), "{foreign}");
        let function = FunctionMessage { name: Some("MatMul".into()), domain: None };
        let function = error(|model| model.functions.push(function));
        assert!(function.contains("`MatMul`") && function.contains("inline"), "{function}");
        let elsewhere = error(|model| {
            let weight = &mut model.graph.as_mut().unwrap().initializer[0];
            weight.data_location = Some(1);
            weight.external_data.push(Property { key: Some("location".into()), value: Some("weights.bin".into()) });
        });
        assert!(elsewhere.contains("`weight`") && elsewhere.contains("another file"), "{elsewhere}");
        // What is not needed is not looked at.
        let mut model = theirs();
        model.graph.as_mut().unwrap().node[1].domain = Some("com.microsoft".into());
        let whole = file(&model).unwrap();
        whole.part("x", "y").unwrap();
        for (input, output, word) in
            [("x", "both", "other"), ("a", "y", "`a`"), ("x", "b", "y, z, both"), ("x", "z", "`x`")]
        {
            let error = whole.part(input, output).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(OutsideFile::from_bytes(b"not a model").is_err());
    }
}
