#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Attribute, Dim, Element, Graph, Value};
use ndarray::Array2;

#[cfg(feature = "onnx")]
use crate::graph_terms::constant;

/// Class probabilities from pairwise ones: the second method of Wu, Lin and Weng (JMLR 5, 2004), with libsvm's
/// stopping rule. `pairwise[[i, j]]` is the probability of class `i` given that it is `i` or `j`.
pub(crate) fn couple(pairwise: &Array2<f64>) -> Vec<f64> {
    let classes = pairwise.nrows();
    let mut q = Array2::<f64>::zeros((classes, classes));
    for t in 0..classes {
        for j in (0..classes).filter(|&j| j != t) {
            q[[t, t]] += pairwise[[j, t]] * pairwise[[j, t]];
            q[[t, j]] = -pairwise[[j, t]] * pairwise[[t, j]];
        }
    }
    let mut p = vec![1.0 / classes as f64; classes];
    for _ in 0..classes.max(100) {
        let mut qp: Vec<f64> = q.rows().into_iter().map(|row| row.iter().zip(&p).map(|(q, p)| q * p).sum()).collect();
        let mut pqp: f64 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        let largest = qp.iter().map(|qp| (qp - pqp).abs()).fold(0.0, f64::max);
        if largest < 0.005 / classes as f64 {
            break;
        }
        for t in 0..classes {
            let diff = (pqp - qp[t]) / q[[t, t]];
            p[t] += diff;
            pqp = (pqp + diff * (diff * q[[t, t]] + 2.0 * qp[t])) / (1.0 + diff) / (1.0 + diff);
            for j in 0..classes {
                qp[j] = (qp[j] + diff * q[[t, j]]) / (1.0 + diff);
                p[j] /= 1.0 + diff;
            }
        }
    }
    p
}

/// The same in ONNX: `[N, K·K]` pairwise probabilities of 64-bit floats to `[N, K]`. Every case stops where [`couple`] stops.
#[cfg(feature = "onnx")]
pub(crate) fn add_to(graph: &mut Graph, pairwise: Value, classes: usize) -> Value {
    let batch = graph.shape(pairwise)[0];
    let square = graph.reshape(pairwise, vec![batch, Dim::Fixed(classes), Dim::Fixed(classes)]); // [N, K, K]
    let turned = graph.transpose(square, &[0, 2, 1]);
    let products = graph.multiply(square, turned);
    let q = graph.unary("Neg", products);
    // Σ_j r[j, t]² on the diagonal, where nothing is yet.
    let squares = graph.multiply(square, square);
    let sums = graph.reduce("ReduceSum", squares, &[1]); // [N, 1, K]
    let identity: Vec<f64> = (0..classes * classes).map(|at| f64::from(u8::from(at % (classes + 1) == 0))).collect();
    let identity = constant(graph, &identity, &[1, classes, classes]);
    let diagonal = graph.multiply(sums, identity);
    let q = graph.add(q, diagonal);
    let equal = constant(graph, &vec![1.0 / classes as f64; classes], &[1, classes, 1]);
    let p = graph.expand(equal, vec![batch, Dim::Fixed(classes), Dim::Fixed(1)]);
    let coupled = graph.repeat(classes.max(100), &[p, q], |graph, state| {
        let [p, q] = [state[0], state[1]];
        let (next, error) = sweep(graph, p, q, classes);
        let least = graph.scalar_like(error, 0.005 / classes as f64);
        let moves = graph.compare("GreaterOrEqual", error, least); // [N, 1, 1]
        let next = graph.choose(moves, next, p);
        let moving = graph.cast(moves, Element::F32);
        let moving = graph.node("ReduceMax", &[moving], vec![("keepdims", Attribute::Int(0))], Element::F32, vec![]);
        let zero = graph.scalar_like(moving, 0.0);
        (graph.compare("Greater", moving, zero), vec![next, q])
    });
    graph.reshape(coupled[0], vec![batch, Dim::Fixed(classes)])
}

/// One pass over the classes: the next `p` `[N, K, 1]`, and the largest error `[N, 1, 1]` of this one.
#[cfg(feature = "onnx")]
fn sweep(graph: &mut Graph, p: Value, q: Value, classes: usize) -> (Value, Value) {
    let mut qp = graph.matmul(q, p); // [N, K, 1]
    let products = graph.multiply(p, qp);
    let mut pqp = graph.reduce("ReduceSum", products, &[1]); // [N, 1, 1]
    let errors = graph.subtract(qp, pqp);
    let errors = graph.unary("Abs", errors);
    let error = graph.reduce("ReduceMax", errors, &[1]);
    let (one, two) = (graph.scalar_like(p, 1.0), graph.scalar_like(p, 2.0));
    let mut next = p;
    for t in 0..classes {
        let column = graph.slice(q, 2, t..t + 1); // [N, K, 1], and row t, since q is symmetric
        let (q_tt, qp_t) = (graph.slice(column, 1, t..t + 1), graph.slice(qp, 1, t..t + 1));
        let gap = graph.subtract(pqp, qp_t);
        let diff = graph.divide(gap, q_tt);
        let scale = graph.add(one, diff);
        let here: Vec<f64> = (0..classes).map(|class| f64::from(u8::from(class == t))).collect();
        let here = constant(graph, &here, &[1, classes, 1]);
        let moved = graph.multiply(diff, here);
        let moved = graph.add(next, moved);
        next = graph.divide(moved, scale);
        let (slope, twice) = (graph.multiply(diff, q_tt), graph.multiply(qp_t, two));
        let inner = graph.add(slope, twice);
        let grown = graph.multiply(diff, inner);
        let grown = graph.add(pqp, grown);
        let grown = graph.divide(grown, scale);
        pqp = graph.divide(grown, scale);
        let along = graph.multiply(diff, column);
        let along = graph.add(qp, along);
        qp = graph.divide(along, scale);
    }
    (next, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn consistent_pairs_give_back_their_probabilities() {
        let p = [0.5, 0.3, 0.2];
        let mut pairwise = Array2::zeros((3, 3));
        for i in 0..3 {
            for j in (0..3).filter(|&j| j != i) {
                pairwise[[i, j]] = p[i] / (p[i] + p[j]);
            }
        }
        let coupled = couple(&pairwise);
        assert!(coupled.iter().zip(p).all(|(found, expected)| (found - expected).abs() < 2e-3), "{coupled:?}");
        assert!((coupled.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn undecided_pairs_give_equal_probabilities() {
        let coupled = couple(&array![[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]);
        assert!(coupled.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-15));
    }
}
