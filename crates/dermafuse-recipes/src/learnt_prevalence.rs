//! The class frequencies that a model's probabilities stand on.

use dermafuse_data::CaseView;
use dermafuse_ensemble::{
    ClassWeights, ClassifierParams, FeatureHeads, ModelPrevalence, Prevalence, SecondStageInputs, TaskPrevalence,
};
use dermafuse_schema::Task;
use dermafuse_train::{ClassBalancing, LossConfig};

use crate::{NetworkRecipe, RecipeError, SecondStageSettings};

/// Shares that differ by less are the same but for rounding.
const SAME: f64 = 1e-9;

/// The class frequencies of the training cases, and those that the network and the classifiers after it learnt with: sampling and
/// the weights of the loss make classes as frequent as their summed weight says. What focal losses and smoothed labels do to
/// probabilities is left to their calibration. `mix` is the weight of the network's answer beside the classifiers'.
pub(crate) fn learnt_prevalence(
    network: &NetworkRecipe,
    heads: Option<&FeatureHeads>,
    second_stage: Option<&SecondStageSettings>,
    mix: f64,
    cases: &CaseView<'_>,
    epochs: usize,
) -> Result<ModelPrevalence, RecipeError> {
    let config = &network.training;
    let set = cases.set();
    let counts = counts_of(cases)?;
    let shown = match epochs {
        0 => counts.clone(),
        _ => to_numbers(config.sampling.shown_by_task(cases, config.seed, epochs)?),
    };
    // Each class that there is counts alike.
    let alike = |counts: &Vec<f64>| -> Vec<f64> { counts.iter().map(|count| count.min(1.0)).collect() };
    let weighed = counts.iter().zip(&shown).map(|(counts, shown)| match heads {
        Some(heads) if heads.are_balanced() => alike(counts),
        Some(_) => counts.clone(),
        None => learnt_weights(&config.loss, counts, shown),
    });
    let weighed: Vec<Vec<f64>> = weighed.collect();
    let training = Prevalence::of_counts(&set.tasks, &counts)?;
    let mut learnt = Prevalence::of_counts(&set.tasks, &weighed)?;
    if let Some(settings) = second_stage {
        // Sigmoids of support vector machines are fitted to frequencies as they are, whatever their classes weigh.
        let is_balanced = match settings.params(0).classifier {
            ClassifierParams::Logistic(params) => params.class_weights == ClassWeights::Balanced,
            ClassifierParams::GradientBoosting(params) => params.class_weights == ClassWeights::Balanced,
            _ => false,
        };
        let of_classifiers = match is_balanced {
            true => Prevalence::of_counts(&set.tasks, &counts.iter().map(alike).collect::<Vec<_>>())?,
            false => training.clone(),
        };
        let of_network = if settings.inputs == SecondStageInputs::Metadata { 0.0 } else { mix };
        learnt = mixed(&learnt, &of_classifiers, of_network)?;
    }
    let is_other = !is_same(&training, &learnt);
    Ok(ModelPrevalence { learnt: is_other.then_some(learnt), ..ModelPrevalence::of_training(training) })
}

/// What each class of a task weighs in what the network learns, of so many cases that were shown so often.
fn learnt_weights(loss: &LossConfig, counts: &[f64], shown: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    let weight = |(&count, &shown): (&f64, &f64)| {
        let weighed = match loss.class_weights {
            ClassBalancing::Uniform => shown,
            _ if count == 0.0 => 0.0,
            ClassBalancing::Balanced => shown / count,
            ClassBalancing::SquareRoot => shown / count.sqrt(),
            ClassBalancing::BalancedInBatch => f64::from(u8::from(shown > 0.0)),
        };
        // What the loss adds to the logits, they need not have themselves.
        match loss.logit_adjustment > 0.0 && count > 0.0 {
            true => weighed * (count / total).powf(-loss.logit_adjustment),
            false => weighed,
        }
    };
    counts.iter().zip(shown).map(weight).collect()
}

/// The class frequencies of cases, and of `more` cases that are shared out as `prior` says: so no class is without a
/// share that has one there.
pub(crate) fn prevalence_of(
    cases: &CaseView<'_>,
    prior: &Prevalence,
    more: impl Fn(&Task) -> f64,
) -> Result<Prevalence, RecipeError> {
    let set = cases.set();
    let mut counts = counts_of(cases)?;
    for (task, counts) in set.tasks.iter().zip(&mut counts) {
        for (class, count) in task.classes.iter().zip(counts) {
            *count += more(task) * prior.share(&task.name, class).unwrap_or(0.0);
        }
    }
    Ok(Prevalence::of_counts(&set.tasks, &counts)?)
}

fn counts_of(cases: &CaseView<'_>) -> Result<Vec<Vec<f64>>, RecipeError> {
    let counts = (0..cases.set().tasks.len()).map(|task| cases.class_counts(task)).collect::<Result<Vec<_>, _>>()?;
    Ok(to_numbers(counts))
}

fn to_numbers(counts: Vec<Vec<usize>>) -> Vec<Vec<f64>> {
    counts.into_iter().map(|counts| counts.into_iter().map(|count| count as f64).collect()).collect()
}

/// `weight · first + (1 − weight) · second`, of the same tasks in the same order.
fn mixed(first: &Prevalence, second: &Prevalence, weight: f64) -> Result<Prevalence, RecipeError> {
    let tasks = first.tasks().iter().zip(second.tasks()).map(|(ours, theirs)| {
        let mut task: TaskPrevalence = ours.clone();
        for (own, other) in task.classes.iter_mut().zip(&theirs.classes) {
            own.share = weight * own.share + (1.0 - weight) * other.share;
        }
        task
    });
    Ok(Prevalence::new(tasks.collect())?)
}

fn is_same(first: &Prevalence, second: &Prevalence) -> bool {
    let shares = |prevalence: &Prevalence| -> Vec<f64> {
        prevalence.tasks().iter().flat_map(|task| task.classes.iter().map(|class| class.share)).collect()
    };
    shares(first).into_iter().zip(shares(second)).all(|(a, b)| (a - b).abs() < SAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_adjustments_make_classes_as_frequent_as_they_say() {
        let counts = [80.0, 20.0, 0.0];
        let shares = |loss: LossConfig| {
            let weights = learnt_weights(&loss, &counts, &counts);
            let total: f64 = weights.iter().sum();
            [0, 1, 2].map(|class: usize| weights[class] / total)
        };
        let near = |found: [f64; 3], expected: [f64; 3]| {
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9), "{found:?}");
        };
        let adjusted = |logit_adjustment| LossConfig { logit_adjustment, ..LossConfig::default() };
        near(shares(LossConfig::default()), [0.8, 0.2, 0.0]);
        near(shares(LossConfig { class_weights: ClassBalancing::Balanced, ..LossConfig::default() }), [0.5, 0.5, 0.0]);
        near(shares(adjusted(1.0)), [0.5, 0.5, 0.0]);
        // 4 to 1 to the power of 1 - 1/2.
        near(shares(adjusted(0.5)), [2.0 / 3.0, 1.0 / 3.0, 0.0]);
    }
}
