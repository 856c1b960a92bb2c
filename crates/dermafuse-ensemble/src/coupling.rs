use ndarray::Array2;

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
