use ndarray::Array2;

use crate::{Predictions, SchemaError, Task, TaskSet};

/// Which classes of a task are one class of a coarser task, so that probabilities can be added up.
///
/// ```
/// use dermafuse_schema::{ClassSums, Predictions, Task, TaskSet, ndarray::array};
///
/// let fine = Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"]);
/// let coarse = Task::new("diagnosis", "DIAG", ["benign", "malignant"]);
/// let sums = ClassSums::new(&fine, coarse, &[("benign", vec!["NEV"]), ("malignant", vec!["BCC", "MEL"])])?;
/// let answers = Predictions {
///     tasks: TaskSet::new(vec![fine])?,
///     ids: vec!["a".into()],
///     labels: vec![vec![Some(2)]],
///     probabilities: vec![array![[0.5, 0.25, 0.25]]],
///     basis: vec!["clinical".into()],
/// };
/// let summed = sums.of(&answers)?;
/// assert_eq!((&summed.labels, &summed.probabilities[0]), (&vec![vec![Some(1)]], &array![[0.5, 0.5]]));
/// # Ok::<(), dermafuse_schema::SchemaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSums {
    fine: Task,
    coarse: Task,
    /// For each fine class the coarse one that it is part of.
    places: Vec<usize>,
}

impl ClassSums {
    /// The fine classes of each coarse class, by name.
    ///
    /// # Errors
    /// A class that the task does not have; a fine class in no or in two coarse classes.
    pub fn new(fine: &Task, coarse: Task, parts: &[(&str, Vec<&str>)]) -> Result<Self, SchemaError> {
        let refused = |class: &str, expected: &str| SchemaError::ClassSum {
            task: fine.name.clone(),
            class: class.to_owned(),
            expected: expected.to_owned(),
        };
        let mut places: Vec<Option<usize>> = vec![None; fine.classes.len()];
        for (whole, classes) in parts {
            let place = coarse
                .index_of(whole)
                .ok_or_else(|| refused(whole, &format!("one of {}", coarse.classes.join(", "))))?;
            for class in classes {
                let index = fine
                    .index_of(class)
                    .ok_or_else(|| refused(class, &format!("one of {}", fine.classes.join(", "))))?;
                if places[index].replace(place).is_some() {
                    return Err(refused(class, "part of one sum only"));
                }
            }
        }
        let placed = |(place, class): (Option<usize>, &String)| {
            place.ok_or_else(|| refused(class, "part of a sum, as every class of the model has to be"))
        };
        let places = places.into_iter().zip(&fine.classes).map(placed).collect::<Result<_, _>>()?;
        Ok(Self { fine: fine.clone(), coarse, places })
    }

    /// The task whose classes are added up.
    #[must_use]
    pub fn fine(&self) -> &Task {
        &self.fine
    }

    /// The task of the sums.
    #[must_use]
    pub fn coarse(&self) -> &Task {
        &self.coarse
    }

    /// The predictions of the coarse task alone: probabilities are added up, labels follow their classes.
    ///
    /// # Errors
    /// Predictions without the fine task, or with other classes of it; what [`Predictions::check`] refuses.
    pub fn of(&self, predictions: &Predictions) -> Result<Predictions, SchemaError> {
        let task = predictions.tasks.index_of(&self.fine.name).filter(|&task| predictions.tasks[task] == self.fine);
        let Some(task) = task else {
            return Err(SchemaError::ClassSum {
                task: self.fine.name.clone(),
                class: self.fine.classes.join(", "),
                expected: "the classes of the predictions".into(),
            });
        };
        let fine = &predictions.probabilities[task];
        let mut sums = Array2::zeros((predictions.len(), self.coarse.classes.len()));
        for (mut sum, row) in sums.rows_mut().into_iter().zip(fine.rows()) {
            row.iter().zip(&self.places).for_each(|(probability, &place)| sum[place] += probability);
            // Rounding must not make a probability more than certain.
            sum.mapv_inplace(|probability: f64| probability.min(1.0));
        }
        let summed = Predictions {
            tasks: TaskSet::new(vec![self.coarse.clone()])?,
            ids: predictions.ids.clone(),
            labels: predictions.labels.iter().map(|of| vec![of[task].map(|label| self.places[label])]).collect(),
            probabilities: vec![sums],
            basis: predictions.basis.clone(),
        };
        summed.check()?;
        Ok(summed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_part_of_one_sum() {
        let fine = Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"]);
        let error = |parts: &[(&str, Vec<&str>)]| {
            let coarse = Task::new("diagnosis", "DIAG", ["benign", "malignant"]);
            ClassSums::new(&fine, coarse, parts).unwrap_err().to_string()
        };
        let (benign, malignant) = (("benign", vec!["NEV"]), ("malignant", vec!["MEL"]));
        let none = error(&[benign.clone(), malignant.clone()]);
        assert!(none.contains("`BCC`") && none.contains("every class of the model has to be"), "{none}");
        let twice = error(&[benign.clone(), ("malignant", vec!["MEL", "BCC", "NEV"])]);
        assert!(twice.contains("`NEV`") && twice.contains("one sum only"), "{twice}");
        let unknown = error(&[benign, ("malignant", vec!["MEL", "BCC", "SCC"])]);
        assert!(unknown.contains("`SCC`") && unknown.contains("NEV, MEL, BCC"), "{unknown}");
        assert!(error(&[("other", vec![]), malignant]).contains("`other`"));
    }
}
