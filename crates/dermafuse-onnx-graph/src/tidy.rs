//! What is done to a whole graph before it is written: factors and summands for each channel, such as those of normalizations,
//! become part of the convolution before them.

use std::sync::Arc;

use crate::constant::{Constant, Values};
use crate::element::Dim;
use crate::graph::{Facts, Graph, Node, Value};

pub(crate) fn tidy(graph: &mut Graph) {
    let mut uses = vec![0_usize; graph.values.len()];
    let needed = graph.needed();
    let used = graph
        .nodes
        .iter()
        .filter(|node| node.outputs.iter().any(|output| needed.contains(output)))
        .flat_map(|node| node.inputs.iter().flatten())
        .chain(graph.outputs.iter().map(|(_, value)| value));
    used.for_each(|value| uses[value.0] += 1);
    for at in 0..graph.nodes.len() {
        // What nobody needs takes nothing away from others.
        if !graph.nodes[at].outputs.iter().any(|output| needed.contains(output)) {
            continue;
        }
        let Some(Absorbed { convolution, weight, bias }) = absorbed(graph, at, &uses) else { continue };
        let (weight, bias) = (constant(graph, weight), constant(graph, bias));
        uses.resize(graph.values.len(), 1);
        let Node { inputs, outputs, .. } = &graph.nodes[convolution];
        let (x, before) = (inputs[0], outputs[0]);
        let after = graph.nodes[at].outputs[0];
        let (attributes, layer) = (graph.nodes[convolution].attributes.clone(), graph.nodes[convolution].layer.clone());
        // The later node takes the convolution's place, since what it gives is what others know.
        graph.nodes[at] = Node {
            operator: "Conv",
            inputs: vec![x, Some(weight), Some(bias)],
            outputs: vec![after],
            attributes,
            layer,
            body: None,
        };
        graph.nodes[convolution].inputs.clear();
        graph.nodes[convolution].outputs.clear();
        uses[before.0] = 0;
    }
    // Nodes that gave their place away have no outputs, so that nothing needs them.
}

/// A convolution that takes a factor or summand into its weights.
struct Absorbed {
    convolution: usize,
    weight: Constant,
    bias: Constant,
}

fn absorbed(graph: &Graph, at: usize, uses: &[usize]) -> Option<Absorbed> {
    let node = &graph.nodes[at];
    let operator = node.operator;
    if !matches!(operator, "Mul" | "Add" | "Sub") {
        return None;
    }
    let [left, right] = [node.inputs[0]?, node.inputs[1]?];
    // Only what is added or multiplied may come first.
    let sides = if operator == "Sub" { vec![(left, right)] } else { vec![(left, right), (right, left)] };
    sides.into_iter().find_map(|(map, vector)| {
        let convolution =
            graph.values[map.0].producer.filter(|&producer| graph.nodes[producer].outputs.contains(&map))?;
        let source = &graph.nodes[convolution];
        if source.operator != "Conv" || uses[map.0] != 1 || graph.shape(map) != graph.shape(node.outputs[0]) {
            return None;
        }
        let weight = graph.constant_of(source.inputs[1]?)?;
        let Values::F32(weights) = &weight.values else { return None };
        let channels = weight.shape[0];
        let vector = per_channel(graph.constant_of(vector)?, channels, graph.shape(map).len())?;
        let bias = match source.inputs.get(2).copied().flatten() {
            Some(bias) => match &graph.constant_of(bias)?.values {
                Values::F32(bias) => bias.clone(),
                _ => return None,
            },
            None => vec![0.0; channels],
        };
        let pairs = bias.iter().zip(&vector);
        let (weights, bias): (Vec<f32>, Vec<f32>) = match operator {
            "Mul" => {
                let each = weights.len() / channels;
                let scaled =
                    weights.chunks(each).zip(&vector).flat_map(|(chunk, factor)| chunk.iter().map(move |w| w * factor));
                (scaled.collect(), pairs.map(|(bias, factor)| bias * factor).collect())
            }
            "Add" => (weights.clone(), pairs.map(|(bias, summand)| bias + summand).collect()),
            _ => (weights.clone(), pairs.map(|(bias, summand)| bias - summand).collect()),
        };
        let weight = Constant { shape: weight.shape.clone(), values: Values::F32(weights) };
        Some(Absorbed { convolution, weight, bias: Constant { shape: vec![channels], values: Values::F32(bias) } })
    })
}

/// The number of each channel, of `[1, C, 1, 1]`, `[C, 1, 1]` or a single number.
fn per_channel(constant: &Constant, channels: usize, rank: usize) -> Option<Vec<f32>> {
    let Values::F32(values) = &constant.values else { return None };
    if values.len() == 1 {
        return Some(vec![values[0]; channels]);
    }
    let missing = rank.checked_sub(constant.shape.len())?;
    let is_channel = |(at, &size): (usize, &usize)| if at + missing == 1 { size == channels } else { size == 1 };
    let fits = values.len() == channels && constant.shape.iter().enumerate().all(is_channel);
    fits.then(|| values.clone())
}

fn constant(graph: &mut Graph, constant: Constant) -> Value {
    let (element, shape) = (constant.values.element(), Dim::all_fixed(&constant.shape));
    graph.values.push(Facts { name: None, element, shape, constant: Some(Arc::new(constant)), producer: None });
    Value(graph.values.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;

    #[test]
    fn a_normalization_becomes_part_of_its_convolution() {
        let build = |twice: bool| {
            let mut graph = Graph::new();
            let x = graph.input("x", Element::F32, vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(2)]);
            let weight = graph.named_constant("weight", Values::F32(vec![2.0, 3.0]), &[2, 1, 1, 1]);
            let shape = vec![Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(2), Dim::Fixed(2)];
            let map = graph.node("Conv", &[x, weight], Vec::new(), Element::F32, shape);
            let [scale, shift] =
                [[10.0, 100.0], [1.0, 2.0]].map(|row| graph.constant(Values::F32(row.to_vec()), &[1, 2, 1, 1]));
            let scaled = graph.multiply(map, scale);
            let shifted = graph.add(scaled, shift);
            graph.output("y", shifted);
            if twice {
                graph.output("map", map);
            }
            graph
        };
        let mut graph = build(false);
        tidy(&mut graph);
        let last = graph.nodes.last().unwrap();
        assert_eq!(last.operator, "Conv");
        let numbers = |value: Option<Value>| graph.constant_of(value.unwrap()).unwrap().values.clone();
        assert_eq!(numbers(last.inputs[1]), Values::F32(vec![20.0, 300.0]));
        assert_eq!(numbers(last.inputs[2]), Values::F32(vec![1.0, 2.0]));
        // A sum that nobody asks for leaves the convolution where it is.
        let mut graph = build(false);
        let shifted = graph.outputs[0].1;
        let three = graph.scalar_like(shifted, 3.0);
        graph.add(shifted, three);
        tidy(&mut graph);
        let producer = graph.values[shifted.0].producer.unwrap();
        assert_eq!((graph.nodes[producer].operator, &graph.nodes[producer].outputs[..]), ("Conv", &[shifted][..]));
        let operators = |graph: Graph| graph.into_model("a map", &[]).unwrap().operators().to_vec();
        assert_eq!(operators(build(false)), [("Conv".to_owned(), 1)]);
        // One whose map is an answer, too, stays as it is.
        let expected = [("Add", 1), ("Conv", 1), ("Mul", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(operators(build(true)), expected);
    }
}
