//! Steps of an optimizer and moving averages: one pass over a parameter and what is kept of it, in place where nobody else holds
//! the memory.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::{TASK, mapped, values, vectorized};
use crate::step::AdamStep;

pub(super) fn adam(
    parameter: FlexTensor,
    gradient: FlexTensor,
    moments: [FlexTensor; 2],
    step: AdamStep,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let gradient = gradient.to_contiguous();
    let [first, second] = moments;
    let [mut parameter, mut first, mut second] = [parameter, first, second].map(of_its_own);
    let numbers = parameter.storage_mut::<f32>().par_chunks_mut(TASK);
    let moments = first.storage_mut::<f32>().par_chunks_mut(TASK).zip(second.storage_mut::<f32>().par_chunks_mut(TASK));
    let all = numbers.zip(moments).zip(values(&gradient).par_chunks(TASK));
    all.for_each(|((numbers, (first, second)), gradient)| match step.decay > 0.0 {
        true => update::<true>(numbers, gradient, first, second, step),
        false => update::<false>(numbers, gradient, first, second, step),
    });
    (parameter, first, second)
}

/// Rounds where Burn's AdamW does if `DECAYS`, else where its Adam does, so that a training ends in the numbers that it would with them.
fn update<const DECAYS: bool>(
    numbers: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    step: AdamStep,
) {
    let AdamStep { rate, betas, epsilon, time, penalty, decay } = step;
    let shares = betas.map(|beta| 1.0 - beta);
    let corrections = betas.map(|beta| 1.0 - beta.powi(time as i32));
    let root = corrections[1].sqrt();
    let (left, rate, factor) = ((1.0 - rate * f64::from(decay)) as f32, rate as f32, root / corrections[0]);
    let near_zero = epsilon * root;
    vectorized(
        #[inline(always)]
        || {
            for ((number, gradient), (first, second)) in
                numbers.iter_mut().zip(gradient).zip(first.iter_mut().zip(second))
            {
                let gradient = gradient + *number * penalty;
                *first = *first * betas[0] + gradient * shares[0];
                *second = *second * betas[1] + gradient * gradient * shares[1];
                *number = match DECAYS {
                    true => {
                        let way = *first / corrections[0] / ((*second / corrections[1]).sqrt() + epsilon);
                        *number * left - way * rate
                    }
                    false => *number - *first * factor / (second.sqrt() + near_zero) * rate,
                };
            }
        },
    );
}

pub(super) fn toward(start: FlexTensor, end: FlexTensor, share: f64) -> FlexTensor {
    let (end, share) = (end.to_contiguous(), share as f32);
    let end = values(&end);
    mapped(start, TASK, |index, first, start| {
        let end = &end[index * TASK + first..][..start.len()];
        vectorized(
            #[inline(always)]
            || {
                for (start, end) in start.iter_mut().zip(end) {
                    *start += (end - *start) * share;
                }
            },
        );
    })
}

/// The tensor in memory that nobody else holds, its numbers in order and nothing beside them.
fn of_its_own(tensor: FlexTensor) -> FlexTensor {
    mapped(tensor, TASK, |_, _, _| ())
}
