//! What other models say of cases, as inputs of an ONNX file.

use dermafuse_data::OutsideModel;
use dermafuse_onnx::{Dim, Element, Graph, Value, Values};
use dermafuse_schema::TaskSet;
use serde::Serialize;

use crate::InferError;

/// As many other models have outputs for every combination of them that says something; with more there are those for all and for none.
const COMBINED: usize = 3;

/// An input of a file that takes what another model says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutsideInput {
    /// Its name: the other model's.
    pub input: String,
    /// The task that the other model answers.
    pub task: String,
    /// The classes whose probabilities its columns are, in order.
    pub classes: Vec<String>,
    /// The columns as tables and [`Patient::set`](crate::Patient::set) call them, `MODEL.CLASS`, in order.
    pub columns: Vec<String>,
}

impl OutsideInput {
    pub(crate) fn of(model: &OutsideModel) -> Self {
        Self {
            input: model.name.clone(),
            task: model.task.clone(),
            classes: model.classes.clone(),
            columns: model.fields().map(|field| field.name).collect(),
        }
    }
}

/// Whether other models may be inputs by their names.
pub(crate) fn check_names(outside: &[OutsideModel], tasks: &TaskSet) -> Result<(), InferError> {
    for OutsideModel { name, .. } in outside {
        let what = match name.as_str() {
            "clinical" | "dermoscopic" | "record" => "input",
            "embedding" => "output",
            name if tasks.iter().any(|task| task.name == name) => "output",
            _ => continue,
        };
        return Err(InferError::OnnxName { name: name.clone(), what });
    }
    Ok(())
}

/// Adds an input for what another model says, `[N, K]` probabilities, and gives its branch: its name, and the logits `[V, N, K_t]` of each
/// task, as [`OutsideModel::answers`] has them.
pub(crate) fn outside_branch(
    graph: &mut Graph,
    model: &OutsideModel,
    tasks: &TaskSet,
    views: usize,
) -> (String, Vec<Value>) {
    let classes = Dim::Fixed(model.classes.len());
    let said = graph.input(&model.name, Element::F32, vec![Dim::Batch(1), classes]);
    let said = graph.cast(said, Element::F64);
    let sum = graph.reduce("ReduceSum", said, &[1]);
    let shares = graph.divide(said, sum);
    let shares = graph.clip(shares, Some(OutsideModel::LEAST), None);
    let logits = graph.unary("Log", shares);
    let logits = graph.cast(logits, Element::F32);
    let logits = graph.reshape(logits, vec![Dim::Fixed(1), Dim::Batch(1), classes]);
    let logits = graph.concat(&vec![logits; views], 0); // [V, N, K]
    let of_task = tasks.iter().map(|task| match task.name == model.task {
        true => logits,
        false => zeros(graph, task.classes.len(), views),
    });
    (model.name.clone(), of_task.collect())
}

/// The logits `[V, N, K_t]` of each task of a network that knows nothing.
pub(crate) fn uniform_logits(graph: &mut Graph, tasks: &TaskSet, views: usize) -> Vec<Value> {
    tasks.iter().map(|task| zeros(graph, task.classes.len(), views)).collect()
}

fn zeros(graph: &mut Graph, classes: usize, views: usize) -> Value {
    let zero = graph.constant(Values::F32(vec![0.0]), &[1, 1, 1]);
    graph.expand(zero, vec![Dim::Fixed(views), Dim::Batch(1), Dim::Fixed(classes)])
}

/// Which other models say something of a case, for each combination that a file has outputs for: all of them first. Where a network
/// answers too (`alone` is false), either all say something or none.
pub(crate) fn said_by(outside: &[OutsideModel], alone: bool) -> Vec<Vec<String>> {
    let names = |is_there: &dyn Fn(usize) -> bool| -> Vec<String> {
        let there = outside.iter().enumerate().filter(|(at, _)| is_there(*at));
        there.map(|(_, model)| model.name.clone()).collect()
    };
    if alone && outside.len() <= COMBINED {
        return (0..1_usize << outside.len()).rev().map(|bits| names(&|at| bits >> at & 1 == 1)).collect();
    }
    match outside.is_empty() {
        true => vec![Vec::new()],
        false => vec![names(&|_| true), Vec::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;

    fn model(name: &str) -> OutsideModel {
        OutsideModel::of(name, &Task::new("diagnosis", "DIAG", ["NEV", "MEL"]))
    }

    #[test]
    fn a_name_that_the_file_has_is_refused() {
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        check_names(&[model("panderm"), model("monet")], &tasks).unwrap();
        for (name, what) in [("record", "input"), ("embedding", "output"), ("diagnosis", "output")] {
            let error = check_names(&[model("panderm"), model(name)], &tasks).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn all_others_come_first_and_many_are_not_combined() {
        let said = |names: &[&str], alone| said_by(&names.iter().map(|name| model(name)).collect::<Vec<_>>(), alone);
        assert_eq!(said(&[], true), [[""; 0]]);
        let both = said(&["a", "b"], true);
        assert_eq!(both.len(), 4);
        assert_eq!((&both[0], &both[3]), (&vec!["a".to_owned(), "b".to_owned()], &Vec::new()));
        assert_eq!(said(&["a", "b"], false).len(), 2);
        assert_eq!(said(&["a", "b", "c", "d"], true).len(), 2);
    }
}
