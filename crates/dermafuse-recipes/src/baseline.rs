use dermafuse_data::{CaseView, DataError};
use dermafuse_schema::Predictions;
use dermafuse_schema::ndarray::Array2;

/// The predictions of someone who looks at nothing: every case gets the class frequencies of the training cases, so the
/// predicted class is the most frequent one. Whatever does not beat this has learnt nothing. All cases are of one set.
///
/// # Errors
/// A label that is no class of its task.
pub fn majority(train: &CaseView<'_>, cases: &CaseView<'_>) -> Result<Predictions, DataError> {
    let tasks = &train.set().tasks;
    let mut probabilities = Vec::with_capacity(tasks.len());
    for task in 0..tasks.len() {
        let counts = train.class_counts(task)?;
        let total = counts.iter().sum::<usize>().max(1) as f64;
        probabilities
            .push(Array2::from_shape_fn((cases.len(), counts.len()), |(_, class)| counts[class] as f64 / total));
    }
    Ok(Predictions {
        tasks: tasks.clone(),
        ids: cases.cases().map(|case| case.id.clone()).collect(),
        labels: cases.cases().map(|case| case.labels.clone()).collect(),
        probabilities,
        basis: vec!["class frequencies".into(); cases.len()],
    })
}
