/// Ranks from 1 for the smallest; equal values share the mean of their ranks.
pub(crate) struct Ranks {
    pub(crate) ranks: Vec<f64>,
    /// Sum of t³ − t over groups of t equal values: the correction for ties.
    pub(crate) ties: f64,
}

impl Ranks {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let (mut ranks, mut ties, mut start) = (vec![0.0; values.len()], 0.0, 0);
        while start < order.len() {
            let first = values[order[start]];
            let tied = order[start..].iter().take_while(|&&index| values[index] == first).count().max(1);
            let rank = start as f64 + (tied as f64 + 1.0) / 2.0;
            order[start..start + tied].iter().for_each(|&index| ranks[index] = rank);
            let t = tied as f64;
            ties += t * t * t - t;
            start += tied;
        }
        Self { ranks, ties }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        let ranks = Ranks::of(&[0.3, 0.1, 0.3, 0.0, -0.0, 0.3]);
        assert_eq!(ranks.ranks, [5.0, 3.0, 5.0, 1.5, 1.5, 5.0]);
        assert_eq!(ranks.ties, 24.0 + 6.0);
        assert_eq!(Ranks::of(&[f64::NAN, 1.0]).ranks, [2.0, 1.0]);
        assert!(Ranks::of(&[]).ranks.is_empty());
    }
}
