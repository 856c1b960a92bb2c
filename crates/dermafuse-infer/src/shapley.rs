/// Shares of a game's value: what each player adds, averaged over all orders in which the players can come (Shapley 1953).
///
/// `values[s]` is what the players of `s` reach together; player `i` is in `s` if bit `i` is set. The shares add up to
/// `values[all] − values[none]`.
///
/// # Panics
/// If there is not one value for each set of players.
///
/// ```
/// use dermafuse_infer::shapley_values;
///
/// // Alone they reach 1 and 3, together 6.
/// assert_eq!(shapley_values(2, &[0.0, 1.0, 3.0, 6.0]), [2.0, 4.0]);
/// ```
#[must_use]
pub fn shapley_values(players: usize, values: &[f64]) -> Vec<f64> {
    assert_eq!(values.len(), 1 << players, "there is a value for each set of players");
    // Of all orders, the share in which exactly `size` players come before: 1 / (n · C(n − 1, size)).
    let mut weights = Vec::with_capacity(players);
    let mut choices = 1.0;
    for size in 0..players {
        weights.push(1.0 / (players as f64 * choices));
        choices *= (players - 1 - size) as f64 / (size + 1) as f64;
    }
    let share = |player: usize| {
        let without = (0..values.len()).filter(|set| set & (1 << player) == 0);
        without.map(|set| weights[set.count_ones() as usize] * (values[set | 1 << player] - values[set])).sum()
    };
    (0..players).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_glove_game_by_hand() {
        // Players 0 and 1 have a left glove, player 2 the right one: a pair is worth 1. Known: 1/6, 1/6, 4/6.
        let values: Vec<f64> = (0..8).map(|set| f64::from(u8::from(set & 4 != 0 && set & 3 != 0))).collect();
        for (share, expected) in shapley_values(3, &values).into_iter().zip([1.0 / 6.0, 1.0 / 6.0, 4.0 / 6.0]) {
            assert!((share - expected).abs() < 1e-12, "{share}");
        }
    }

    #[test]
    fn shares_add_up_and_a_player_without_effect_has_none() {
        let noise = |set: usize| ((set * 2_654_435_761) % 1000) as f64 / 1000.0;
        // Player 3 changes nothing.
        let values: Vec<f64> = (0..32).map(|set| noise(set & !8)).collect();
        let shares = shapley_values(5, &values);
        assert!((shares.iter().sum::<f64>() - (values[31] - values[0])).abs() < 1e-12);
        assert!(shares[3].abs() < 1e-12);
        assert!(shapley_values(0, &[0.3]).is_empty());
    }
}
