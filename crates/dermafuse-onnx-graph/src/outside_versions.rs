//! Operators of earlier sets in the words of [`OPSET`](crate::OPSET).

use std::collections::HashSet;

use crate::messages::{AttributeMessage, GraphMessage, NodeMessage, TensorMessage};

/// The code of 64-bit integers in ONNX files.
const I64: i32 = 7;

/// Reductions whose axes were an attribute before set 18, and are an input since.
const REDUCTIONS: [&str; 9] = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
];

/// Brings operators of a set from 13 on to set 18. Only these changed in a way that older nodes do not mean the same: reductions; a split into equal
/// parts, which says since 18 into how many; and, before 16, where the pixels of a region of interest lie.
pub(crate) fn brought_to_opset(graph: &mut GraphMessage, opset: i64) {
    let mut names = HashSet::new();
    names_in(graph, &mut names);
    bring(graph, opset, &mut names);
}

fn bring(graph: &mut GraphMessage, opset: i64, names: &mut HashSet<String>) {
    let mut weights = Vec::new();
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            attribute
                .g
                .as_deref_mut()
                .into_iter()
                .chain(&mut attribute.graphs)
                .for_each(|body| bring(body, opset, names));
        }
        let has = |node: &NodeMessage, name: &str| node.attribute.iter().any(|attribute| attribute.name() == name);
        match node.op_type() {
            operator if REDUCTIONS.contains(&operator) => {
                let Some(at) = node.attribute.iter().position(|attribute| attribute.name() == "axes") else { continue };
                let axes = node.attribute.remove(at).ints;
                let name = (0..).map(|n| format!("axes{n}")).find(|name| names.insert(name.clone()));
                let name = name.expect("there are more numbers than names");
                node.input.push(name.clone());
                weights.push(TensorMessage {
                    dims: vec![axes.len() as i64],
                    data_type: Some(I64),
                    name: Some(name),
                    int64_data: axes,
                    ..TensorMessage::default()
                });
            }
            "Split" if node.input.get(1).is_none_or(String::is_empty) && !has(node, "num_outputs") => {
                let parts = node.output.len() as i64;
                let name = Some("num_outputs".to_owned());
                node.attribute.push(AttributeMessage {
                    name,
                    i: Some(parts),
                    kind: Some(2),
                    ..AttributeMessage::default()
                });
            }
            "RoiAlign" if opset < 16 && !has(node, "coordinate_transformation_mode") => {
                let (name, s) = (Some("coordinate_transformation_mode".to_owned()), Some("output_half_pixel".into()));
                node.attribute.push(AttributeMessage { name, s, kind: Some(3), ..AttributeMessage::default() });
            }
            _ => {}
        }
    }
    graph.initializer.extend(weights);
}

/// Adds every name of a value in a graph and in those inside of its nodes.
fn names_in(graph: &GraphMessage, names: &mut HashSet<String>) {
    names.extend(graph.initializer.iter().filter_map(|tensor| tensor.name.clone()));
    names.extend(graph.input.iter().chain(&graph.output).filter_map(|value| value.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().chain(&node.output).cloned());
        for body in
            node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
        {
            names_in(body, names);
        }
    }
}
