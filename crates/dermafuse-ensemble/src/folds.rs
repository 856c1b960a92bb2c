//! Which records a calibration fold holds out.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// A uniformly random order (Fisher and Yates).
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in 0..items.len().saturating_sub(1) {
        let remaining = (items.len() - i) as u64;
        // the multiply-shift of 64 random bits; the bias is below 2⁻³² for any table that fits in memory
        let j = i + ((u128::from(rng.next_u64()) * u128::from(remaining)) >> 64) as usize;
        items.swap(i, j);
    }
}

/// The records of each group, in the order of the groups' names.
pub(crate) fn members<G: AsRef<str>>(groups: &[G]) -> Vec<Vec<usize>> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (record, group) in groups.iter().enumerate() {
        members.entry(group.as_ref()).or_default().push(record);
    }
    members.into_values().collect()
}

/// How often each of `records` is drawn when as many groups as there are are drawn with replacement.
pub(crate) fn draw_groups(members: &[Vec<usize>], records: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut counts = vec![0; records];
    for _ in 0..members.len() {
        let drawn = (u128::from(rng.next_u64()) * members.len() as u128) >> 64;
        members[drawn as usize].iter().for_each(|&record| counts[record] += 1);
    }
    counts
}

/// libsvm's folds: a random order cut into equal pieces, whatever the classes and groups.
pub(crate) fn plain(records: usize, folds: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..records).collect();
    shuffle(&mut order, rng);
    let mut fold_of = vec![0; records];
    for fold in 0..folds {
        for &record in &order[fold * records / folds..(fold + 1) * records / folds] {
            fold_of[record] = fold;
        }
    }
    fold_of
}

/// Folds that hold as equal shares of either class as whole groups allow.
pub(crate) fn stratified<G: Ord>(positive: &[bool], groups: &[G], folds: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let labels: Vec<usize> = positive.iter().map(|positive| usize::from(*positive)).collect();
    stratified_by_class(&labels, 2, groups, folds, rng)
}

/// The same for labels below `classes`.
pub(crate) fn stratified_by_class<G: Ord>(
    labels: &[usize],
    classes: usize,
    groups: &[G],
    folds: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let mut members: BTreeMap<&G, Vec<usize>> = BTreeMap::new();
    for (record, group) in groups.iter().enumerate() {
        members.entry(group).or_default().push(record);
    }
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    shuffle(&mut members, rng);
    members.sort_by_key(|records| std::cmp::Reverse(records.len()));
    let mut totals = vec![0.0_f64; classes];
    labels.iter().for_each(|&label| totals[label] += 1.0);
    let mut held = vec![vec![0.0_f64; classes]; folds];
    let mut fold_of = vec![0; labels.len()];
    for records in members {
        let mut counts = vec![0.0; classes];
        records.iter().for_each(|&record| counts[labels[record]] += 1.0);
        // by how much the sum of squared shares grows; of equals the emptiest fold
        let growth = |fold: &[f64]| -> f64 {
            (0..classes).filter(|&s| totals[s] > 0.0).map(|s| fold[s] * counts[s] / (totals[s] * totals[s])).sum()
        };
        let cost = |&fold: &usize| (growth(&held[fold]), held[fold].iter().sum::<f64>());
        let order = |a: &usize, b: &usize| {
            let (a, b) = (cost(a), cost(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        let chosen = (0..folds).min_by(order).unwrap_or(0);
        (0..classes).for_each(|class| held[chosen][class] += counts[class]);
        records.into_iter().for_each(|record| fold_of[record] = chosen);
    }
    fold_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn plain_folds_are_equal_in_size() {
        let fold_of = plain(13, 5, &mut ChaCha8Rng::seed_from_u64(1));
        let sizes: Vec<usize> = (0..5).map(|fold| fold_of.iter().filter(|f| **f == fold).count()).collect();
        assert_eq!(sizes, [2, 3, 2, 3, 3]);
    }

    #[test]
    fn stratified_folds_share_classes_and_keep_groups_together() {
        let positive: Vec<bool> = (0..40).map(|record| record % 4 == 0).collect();
        let names: Vec<String> = (0..40).map(|record| format!("{}", record / 2)).collect();
        let alone: Vec<String> = (0..40).map(|record| record.to_string()).collect();
        let rng = || ChaCha8Rng::seed_from_u64(3);
        let per_fold = |fold_of: &[usize]| -> Vec<usize> {
            (0..5).map(|fold| (0..40).filter(|&r| fold_of[r] == fold && positive[r]).count()).collect()
        };
        let alone: Vec<&str> = alone.iter().map(String::as_str).collect();
        assert_eq!(per_fold(&stratified(&positive, &alone, 5, &mut rng())), [2; 5]);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let fold_of = stratified(&positive, &names, 5, &mut rng());
        assert!((0..20).all(|group| fold_of[2 * group] == fold_of[2 * group + 1]));
        assert_eq!(per_fold(&fold_of), [2; 5]);
        assert_eq!(fold_of, stratified(&positive, &names, 5, &mut rng()));
    }
}
