//! Finds a network's tensors among those of a file, wherever training scripts have put them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Under which names training scripts keep the weights of a checkpoint, best first: where two hold the whole network, the
/// first is taken.
const WRAPPERS: [&str; 8] = ["", "state_dict", "model_state_dict", "model", "module", "net", "network", "weights"];

/// Several places of a file hold the whole network, and nothing says which one is meant.
pub(crate) type Places = Vec<String>;

/// The prefix (`state_dict.module.`, or nothing) under which the file has most of the tensors that are expected; nothing where that
/// is less than half of them.
///
/// Of several that have as many, weights are preferred to their averages (a part of the name is `ema` or `swa`, or begins with
/// `averag`), then the wrappers in the order of [`WRAPPERS`], then what lies less deep.
pub(crate) fn best_prefix<'a>(
    keys: impl Iterator<Item = &'a str>,
    is_expected: impl Fn(&str) -> bool,
    expected: usize,
    longest: usize,
) -> Result<&'a str, Places> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for key in keys {
        let starts = std::iter::once(0).chain(key.match_indices('.').map(|(dot, _)| dot + 1));
        for start in starts.filter(|start| key.len() - start <= longest) {
            if is_expected(&key[start..]) {
                *counts.entry(&key[..start]).or_default() += 1;
            }
        }
    }
    let mut best: Vec<(usize, &str)> = counts.into_iter().map(|(prefix, count)| (count, prefix)).collect();
    best.sort_by_key(|&(count, prefix)| (Reverse(count), rank(prefix), prefix));
    let Some(&(count, first)) = best.first().filter(|(count, _)| 2 * count >= expected) else { return Ok("") };
    if count < expected {
        return Ok(first);
    }
    let equals: Places = best
        .iter()
        .filter(|(other_count, other)| *other_count == count && rank(other) == rank(first))
        .map(|(_, prefix)| prefix.to_string())
        .collect();
    match equals.len() {
        1 => Ok(first),
        _ => Err(equals),
    }
}

/// Averaged, place among the wrappers, depth.
fn rank(prefix: &str) -> (bool, usize, usize) {
    let parts: Vec<&str> = prefix.trim_end_matches('.').split('.').collect();
    let is_average =
        |part: &&str| part.split('_').any(|word| word == "ema" || word == "swa" || word.starts_with("averag"));
    let place = WRAPPERS.iter().position(|wrapper| *wrapper == parts[0]).unwrap_or(WRAPPERS.len());
    (parts.iter().any(is_average), place, parts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&str]) -> Result<String, Places> {
        let is_expected = |key: &str| ["conv.weight", "conv.bias"].contains(&key);
        best_prefix(keys.iter().copied(), is_expected, 2, 20).map(str::to_owned)
    }

    #[test]
    fn prefixes_are_found_at_any_depth() {
        for prefix in ["", "module.", "state_dict.model.", "module._orig_mod.", "a.b.c.d.", "0."] {
            let keys = ["conv.weight", "conv.bias"].map(|key| format!("{prefix}{key}"));
            assert_eq!(found(&[&keys[0], &keys[1], "optimizer.state.0.exp_avg", "epoch"]), Ok(prefix.to_owned()));
        }
        assert_eq!(found(&["fc.weight"]), Ok(String::new()));
    }

    #[test]
    fn one_of_several_is_taken_by_rule_or_not_at_all() {
        let two = |a: &str, b: &str| {
            let keys = [a, b].map(|prefix| ["conv.weight", "conv.bias"].map(|key| format!("{prefix}{key}"))).concat();
            found(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(two("model_ema.module.", "model."), Ok("model.".to_owned()));
        assert_eq!(two("state_dict_ema.", "state_dict."), Ok("state_dict.".to_owned()));
        assert_eq!(two("net.", "state_dict.net."), Ok("state_dict.net.".to_owned()));
        assert_eq!(two("", "teacher."), Ok(String::new()));
        assert_eq!(two("teacher.", "student."), Err(vec!["student.".to_owned(), "teacher.".to_owned()]));
    }
}
