use dermafuse_schema::{Coverage, PredictionSets, Predictions, Quantile, TaskQuantiles, check_error_rate};

use crate::error::Result;

/// The prediction sets of an error rate, from validation cases: see [`PredictionSets`]. The quantiles of all cases and of each class
/// are kept whichever `coverage` is answered with. Cases without a label of a task have no say in it.
///
/// The promise holds for cases that had no part in making the model. The validation cases have chosen its epoch and its weights, which
/// makes their scores a little too good.
///
/// # Errors
/// An error rate outside 0..1; predictions that do not fit together.
pub fn fit_prediction_sets(error_rate: f64, coverage: Coverage, valid: &Predictions) -> Result<PredictionSets> {
    check_error_rate(error_rate)?;
    valid.check()?;
    let tasks = valid.tasks.iter().enumerate().map(|(index, task)| {
        let mut of_classes = vec![Vec::new(); task.classes.len()];
        for (labels, probabilities) in valid.labels.iter().zip(valid.probabilities[index].rows()) {
            if let Some(label) = labels[index] {
                of_classes[label].push(1.0 - probabilities[label]);
            }
        }
        let all = Quantile::of(of_classes.concat(), error_rate);
        TaskQuantiles::new(task, all, of_classes.into_iter().map(|scores| Quantile::of(scores, error_rate)).collect())
    });
    Ok(PredictionSets { error_rate, coverage, tasks: tasks.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::ndarray::Array2;
    use dermafuse_schema::{Task, TaskSet};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    const CLASSES: [&str; 3] = ["a", "b", "c"];

    /// Cases of three classes with shares of 60, 30 and 10 per cent, and a model that is wrong and too sure of itself: it knows a noisy
    /// score of each class, hardly one of `c`, says the softmax of three times that, and never heard how rare a class is.
    fn drawn(cases: usize, random: &mut ChaCha8Rng) -> Predictions {
        let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let (mut labels, mut probabilities) = (Vec::new(), Array2::zeros((cases, 3)));
        for mut row in probabilities.rows_mut() {
            let label = match unit() {
                share if share < 0.6 => 0,
                share if share < 0.9 => 1,
                _ => 2,
            };
            // A sum of uniform numbers is noise enough.
            let signal = if label == 2 { 0.1 } else { 1.5 };
            let score = |class: i32| {
                let known = if class == label { signal } else { 0.0 };
                3.0 * (known + 2.0 * (unit() + unit() - 1.0))
            };
            let scores: Vec<f64> = (0..3).map(score).collect();
            let sum: f64 = scores.iter().map(|score| score.exp()).sum();
            row.iter_mut().zip(&scores).for_each(|(to, score)| *to = score.exp() / sum);
            labels.push(vec![Some(label as usize)]);
        }
        Predictions {
            tasks: TaskSet::new(vec![Task::new("t", "T", CLASSES)]).unwrap(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            labels,
            basis: vec!["clinical".into(); cases],
            probabilities: vec![probabilities],
        }
    }

    /// Four standard deviations of a binomial share: less than one of 10,000 tests fails by chance, and the seed is fixed.
    fn is_within(hits: usize, trials: usize, share: f64) -> bool {
        let deviation = (share * (1.0 - share) / trials as f64).sqrt();
        (hits as f64 / trials as f64 - share).abs() < 4.0 * deviation
    }

    /// Each resampling fits on new cases and asks about one more, so that the hits are independent. The share that conformal prediction
    /// promises for scores without ties is exactly ⌈(n + 1)(1 − α)⌉ / (n + 1).
    #[test]
    fn the_sets_hold_the_truth_as_often_as_promised() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for (error_rate, cases) in [(0.1, 50), (0.1, 9), (0.3, 40), (0.05, 99)] {
            let trials = 4000;
            let mut hits = 0;
            for _ in 0..trials {
                let sets = fit_prediction_sets(error_rate, Coverage::Marginal, &drawn(cases, &mut random)).unwrap();
                let new = drawn(1, &mut random);
                let truth = new.labels[0][0].unwrap();
                hits += usize::from(sets.sets(&new, 0, Coverage::Marginal).unwrap()[0][truth]);
            }
            let n = cases + 1;
            let promised = (n as f64 * (1.0 - error_rate) - 1e-9).ceil() / n as f64;
            assert!(is_within(hits, trials, promised), "{error_rate} {cases}: {hits} of {trials}, promised {promised}");
        }
    }

    #[test]
    fn by_class_the_promise_holds_within_each_class_and_marginally_it_does_not() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let (error_rate, trials) = (0.2, 600);
        // By class: new cases of it, and hits of both kinds of sets.
        let mut counts = [(0, 0, 0); 3];
        for _ in 0..trials {
            let sets = fit_prediction_sets(error_rate, Coverage::ClassConditional, &drawn(200, &mut random)).unwrap();
            let new = drawn(10, &mut random);
            let [marginal, by_class] =
                [Coverage::Marginal, Coverage::ClassConditional].map(|coverage| sets.sets(&new, 0, coverage).unwrap());
            for (case, labels) in new.labels.iter().enumerate() {
                let truth = labels[0].unwrap();
                counts[truth].0 += 1;
                counts[truth].1 += usize::from(marginal[case][truth]);
                counts[truth].2 += usize::from(by_class[case][truth]);
            }
        }
        for (class, (cases, _, hits)) in counts.into_iter().enumerate() {
            // The quantile is rounded up by at most one case of the class in 200; ten new cases share a fit, which widens the interval.
            let share = hits as f64 / cases as f64;
            let most = 1.0 - error_rate + 1.0 / (200.0 * [0.6, 0.3, 0.1][class]);
            let width = 4.0 * (0.16 / trials as f64).sqrt();
            assert!(share > 1.0 - error_rate - width && share < most + width, "{class}: {share}");
        }
        // Sets of all cases together forget the rare class that is hard to tell.
        let (cases, hits, _) = counts[2];
        assert!((hits as f64) < 0.6 * cases as f64, "{hits} of {cases}");
    }

    #[test]
    fn few_cases_of_a_class_give_no_quantile() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let sets = fit_prediction_sets(0.1, Coverage::ClassConditional, &drawn(40, &mut random)).unwrap();
        let rare = &sets.tasks[0].classes[2];
        assert!(rare.1.cases < 9 && rare.1.score.is_none());
        assert!(sets.notes()[0].contains("c ("), "{:?}", sets.notes());
        assert!(sets.set(0, &[1.0, 0.0, 0.0], Coverage::ClassConditional)[2]);
        assert!(fit_prediction_sets(0.0, Coverage::Marginal, &drawn(4, &mut random)).is_err());
    }
}
