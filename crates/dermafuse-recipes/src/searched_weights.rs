//! The weights that searches found in the rounds of a run: `W_clinical`, `W_dermoscopic` and `W_fusion` of thesis Table 6.5, `W_1` and
//! `W_2` of Table 6.6.

use dermafuse_eval::SearchedWeight;

use crate::RoundResult;

/// The weights of all rounds, in the order in which the first round has them; a round without a weight is left out of it.
pub(crate) fn searched_weights<'a>(rounds: impl Iterator<Item = &'a RoundResult>) -> Vec<SearchedWeight> {
    let mut found: Vec<(String, Vec<f64>)> = Vec::new();
    for round in rounds {
        for (name, percent) in of_round(round) {
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(percent),
                None => found.push((name, vec![percent])),
            }
        }
    }
    found.into_iter().filter_map(|(name, values)| SearchedWeight::of(name, values)).collect()
}

/// Those of a round, in per cent.
fn of_round(round: &RoundResult) -> Vec<(String, f64)> {
    let branches = round.weights.iter().flat_map(|search| {
        let weights = search.weights.names().iter().zip(search.weights.values());
        weights.map(|(branch, weight)| (format!("W_{branch}"), 100.0 * weight))
    });
    let stages = round
        .mix
        .iter()
        .flat_map(|mix| [("W_1".to_owned(), 100.0 * mix.weight), ("W_2".to_owned(), 100.0 * (1.0 - mix.weight))]);
    branches.chain(stages).collect()
}
