//! A support vector machine in ONNX: distances, exponentials and products.

use dermafuse_onnx_graph::{Graph, Value};
use ndarray::Array2;

use super::{LEAST_PROBABILITY, SvmClassifier};
use crate::coupling;
use crate::graph_terms::{constant, spread, table};

pub(super) fn probabilities(svm: &SvmClassifier, graph: &mut Graph, records: Value) -> Value {
    let classes = svm.present.len();
    if classes == 1 {
        let one = constant(graph, &[1.0], &[1, 1]);
        let ones = graph.expand(one, vec![graph.shape(records)[0], dermafuse_onnx_graph::Dim::Fixed(1)]);
        return spread(graph, ones, &svm.present, svm.classes);
    }
    let decisions = decisions(svm, graph, records); // [N, pairs]
    let column = |of: fn(&crate::platt::Sigmoid) -> f64| -> Vec<f64> {
        svm.machines.iter().map(|one| of(&one.sigmoid)).collect()
    };
    let pairs = svm.machines.len();
    let [slopes, offsets] =
        [column(|sigmoid| -sigmoid.a), column(|sigmoid| -sigmoid.b)].map(|row| constant(graph, &row, &[1, pairs]));
    let inner = graph.multiply(decisions, slopes);
    let inner = graph.add(inner, offsets);
    let sigmoid = graph.unary("Sigmoid", inner);
    let first = graph.clip(sigmoid, Some(LEAST_PROBABILITY), Some(1.0 - LEAST_PROBABILITY)); // of the first class of each pair
    // In row i and column j of a case's table: the probability of i among i and j.
    let (mut signs, mut summands) = (Array2::zeros((pairs, classes * classes)), vec![0.0; classes * classes]);
    let all = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
    for (pair, (i, j)) in all.enumerate() {
        signs[[pair, i * classes + j]] = 1.0;
        signs[[pair, j * classes + i]] = -1.0;
        summands[j * classes + i] = 1.0;
    }
    let signs = table(graph, &signs);
    let summands = constant(graph, &summands, &[1, classes * classes]);
    let pairwise = graph.matmul(first, signs);
    let pairwise = graph.add(pairwise, summands); // [N, K·K]
    let coupled = match classes {
        2 => {
            let columns = [1, 2].map(|column| graph.slice(pairwise, 1, column..column + 1));
            graph.concat(&columns, 1)
        }
        _ => coupling::add_to(graph, pairwise, classes),
    };
    spread(graph, coupled, &svm.present, svm.classes)
}

/// `[N, F]` to `[N, pairs]`.
fn decisions(svm: &SvmClassifier, graph: &mut Graph, records: Value) -> Value {
    let support = &svm.support; // [S, F]
    let lengths: Vec<f64> = support.rows().into_iter().map(|row| row.dot(&row)).collect();
    let mut coefficients = Array2::zeros((support.nrows(), svm.machines.len()));
    for (column, machine) in svm.machines.iter().enumerate() {
        for (&row, &coefficient) in machine.support.iter().zip(&machine.coefficients) {
            coefficients[[row, column]] = coefficient;
        }
    }
    let offsets: Vec<f64> = svm.machines.iter().map(|machine| machine.rho).collect();
    // ‖x − s‖² = ‖x‖² + ‖s‖² − 2·x·s
    let squares = graph.multiply(records, records);
    let squares = graph.reduce("ReduceSum", squares, &[1]); // [N, 1]
    let turned = table(graph, &support.t().to_owned()); // [F, S]
    let products = graph.matmul(records, turned); // [N, S]
    let two = graph.scalar_like(products, 2.0);
    let products = graph.multiply(products, two);
    let lengths = constant(graph, &lengths, &[1, support.nrows()]);
    let distances = graph.add(squares, lengths);
    let distances = graph.subtract(distances, products);
    let factor = graph.scalar_like(distances, -svm.gamma);
    let exponents = graph.multiply(distances, factor);
    let kernel = graph.unary("Exp", exponents); // [N, S]
    let coefficients = table(graph, &coefficients); // [S, pairs]
    let sums = graph.matmul(kernel, coefficients);
    let offsets = constant(graph, &offsets, &[1, svm.machines.len()]);
    graph.subtract(sums, offsets)
}
