//! What fitted classifiers share when they are said in ONNX.

use dermafuse_onnx_graph::{Graph, Value, Values};
use ndarray::Array2;

/// Numbers of a shape.
pub(crate) fn constant(graph: &mut Graph, numbers: &[f64], shape: &[usize]) -> Value {
    graph.constant(Values::F64(numbers.to_vec()), shape)
}

/// A table of numbers.
pub(crate) fn table(graph: &mut Graph, numbers: &Array2<f64>) -> Value {
    let shape = [numbers.nrows(), numbers.ncols()];
    graph.constant(Values::F64(numbers.iter().copied().collect()), &shape)
}

/// `[N, present]` probabilities in their columns of `[N, classes]`.
pub(crate) fn spread(graph: &mut Graph, probabilities: Value, present: &[usize], classes: usize) -> Value {
    if present.len() == classes {
        return probabilities;
    }
    let mut places = Array2::zeros((present.len(), classes));
    present.iter().enumerate().for_each(|(at, &class)| places[[at, class]] = 1.0);
    let places = table(graph, &places);
    graph.matmul(probabilities, places)
}

/// Softmax of the present classes' logits `[N, present]` in their columns of `[N, classes]`.
pub(crate) fn softmax_spread(graph: &mut Graph, logits: Value, present: &[usize], classes: usize) -> Value {
    let shares = graph.softmax(logits, 1);
    spread(graph, shares, present, classes)
}
