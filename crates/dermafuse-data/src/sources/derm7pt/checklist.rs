//! The seven-point checklist as an input: the protocol of papers that predict the diagnosis alone.

use std::path::Path;

use dermafuse_schema::{Field, FieldRole, FieldValue, TaskSet};

use super::columns::TASKS;
use super::{load, release_folder, seven_point_score};
use crate::{CaseSet, DataError, EncoderConfig, MetadataRoles, Table};

/// Turns the seven criteria from tasks into metadata, so that the diagnosis is the only task.
///
/// The criteria come first, in the order of the tasks and with their classes as categories, then the fields that the
/// set has, then, `with_score`, the seven-point score as a number. All that is added is
/// [post-diagnosis](FieldRole::PostDiagnosis): somebody judged the lesion. With [`encoding`], Derm7pt becomes
/// 19 + 20 = 39 columns, or 40 with the score.
///
/// # Errors
/// A set whose tasks are not the eight of the checklist.
pub fn with_checklist_inputs(set: CaseSet, with_score: bool) -> Result<CaseSet, DataError> {
    let labels: Vec<Vec<Option<usize>>> = set.cases.iter().map(|case| case.labels.clone()).collect();
    let grouped = |index: usize| TASKS[index].classes.iter().map(|(class, _)| *class).collect();
    with_inputs(set, with_score, grouped, |row, index| labels[row].get(index).copied().flatten())
}

/// Loads Derm7pt with the criteria as metadata, as [`with_checklist_inputs`] makes it, but as they are written in the
/// table, not grouped: `diffuse regular` and `localized regular` are two categories. Those are 28 columns instead of 19,
/// 48 with [`encoding`].
///
/// # Errors
/// Those of [`load`].
pub fn load_with_raw_checklist(root: impl AsRef<Path>, with_score: bool) -> Result<CaseSet, DataError> {
    let set = load(root.as_ref())?;
    let table = Table::read(release_folder(root.as_ref())?.join("meta").join("meta.csv"))?;
    let criteria = TASKS.iter().enumerate().map(|(index, task)| {
        let (column, known) = (table.column(task.name)?, written(index));
        (0..table.len()).map(|row| column.category(row, &known)).collect::<Result<Vec<_>, _>>()
    });
    let criteria = criteria.collect::<Result<Vec<_>, DataError>>()?;
    with_inputs(set, with_score, written, |row, index| criteria[index].get(row).copied().flatten())
}

/// The published protocol's encoding: also what is only known after the diagnosis, so that it leaks.
#[must_use]
pub fn encoding() -> EncoderConfig {
    EncoderConfig::from(MetadataRoles::IncludePostDiagnosis)
}

/// The values of a task's column as the table writes them, in the order of its classes.
fn written(index: usize) -> Vec<&'static str> {
    TASKS[index].classes.iter().flat_map(|(_, values)| values.iter().copied()).collect()
}

fn with_inputs(
    mut set: CaseSet,
    with_score: bool,
    categories: impl Fn(usize) -> Vec<&'static str>,
    value: impl Fn(usize, usize) -> Option<usize>,
) -> Result<CaseSet, DataError> {
    let fits = set.tasks.len() == TASKS.len() && set.tasks.iter().zip(&TASKS).all(|(task, ours)| *task == ours.task());
    if !fits {
        let found = set.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(DataError::Setting { what: "tasks of the case set", found, expected: "the eight of Derm7pt" });
    }
    let judged = FieldRole::PostDiagnosis;
    let mut fields: Vec<Field> =
        (1..TASKS.len()).map(|index| Field::categorical(TASKS[index].name, judged, categories(index))).collect();
    fields.append(&mut set.fields);
    fields.extend(with_score.then(|| Field::numeric("seven_point_score", judged).with_unit("points")));
    for (row, case) in set.cases.iter_mut().enumerate() {
        let mut metadata: Vec<FieldValue> =
            (1..TASKS.len()).map(|index| value(row, index).map_or(FieldValue::Missing, FieldValue::Category)).collect();
        metadata.append(&mut case.metadata);
        if with_score {
            let labels: Option<Vec<usize>> = case.labels.iter().copied().collect();
            let score = labels.map(|labels| FieldValue::Number(seven_point_score(&labels) as f64));
            metadata.push(score.unwrap_or(FieldValue::Missing));
        }
        case.metadata = metadata;
        case.labels.truncate(1);
    }
    set.fields = fields;
    set.tasks = TaskSet::new(vec![TASKS[0].task()])?;
    set.check()?;
    Ok(set)
}
