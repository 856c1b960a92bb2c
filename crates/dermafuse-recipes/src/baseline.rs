use dermafuse_data::{CaseSet, DataError};
use dermafuse_schema::Predictions;
use dermafuse_schema::ndarray::Array2;

/// The predictions of someone who looks at nothing: every case gets the class frequencies of the training cases, so the
/// predicted class is the most frequent one. Whatever does not beat this has learnt nothing.
///
/// # Errors
/// A row that there is not.
pub fn majority(set: &CaseSet, train: &[usize], rows: &[usize]) -> Result<Predictions, DataError> {
    let mut probabilities = Vec::with_capacity(set.tasks.len());
    for task in 0..set.tasks.len() {
        let counts = set.class_counts(task, train)?;
        let total = counts.iter().sum::<usize>().max(1) as f64;
        probabilities
            .push(Array2::from_shape_fn((rows.len(), counts.len()), |(_, class)| counts[class] as f64 / total));
    }
    set.class_counts(0, rows)?; // the rows exist
    let cases = || rows.iter().map(|&row| &set.cases[row]);
    Ok(Predictions {
        tasks: set.tasks.clone(),
        ids: cases().map(|case| case.id.clone()).collect(),
        labels: cases().map(|case| case.labels.clone()).collect(),
        probabilities,
        basis: vec!["class frequencies".into(); rows.len()],
    })
}
