//! Steps of an optimizer and moving averages: one pass over a parameter and what is kept of it, in place where nobody else holds
//! the memory.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::{TASK, updated, values, vectorized};
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
    let [left, factor, epsilon] = step.factors().map(|factor| factor as f32);
    let ([beta, other_beta], penalty) = (step.betas, step.penalty);
    let (share, other_share) = (1.0 - beta, 1.0 - other_beta);

    let numbers = parameter.storage_mut::<f32>().par_chunks_mut(TASK);
    let moments = first.storage_mut::<f32>().par_chunks_mut(TASK).zip(second.storage_mut::<f32>().par_chunks_mut(TASK));
    let all = numbers.zip(moments).zip(values(&gradient).par_chunks(TASK));
    all.for_each(|((numbers, (first, second)), gradient)| {
        vectorized(
            #[inline(always)]
            || {
                for ((number, gradient), (first, second)) in
                    numbers.iter_mut().zip(gradient).zip(first.iter_mut().zip(second))
                {
                    let gradient = gradient + *number * penalty;
                    *first = *first * beta + gradient * share;
                    *second = *second * other_beta + gradient * gradient * other_share;
                    *number = *number * left - *first * factor / (second.sqrt() + epsilon);
                }
            },
        );
    });
    (parameter, first, second)
}

pub(super) fn toward(start: FlexTensor, end: FlexTensor, share: f64) -> FlexTensor {
    let (end, share) = (end.to_contiguous(), share as f32);
    let end = values(&end);
    updated(start, TASK, |index, start| {
        let end = &end[index * TASK..][..start.len()];
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
    updated(tensor, TASK, |_, _| ())
}
