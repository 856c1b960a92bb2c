use thiserror::Error;

/// What can be wrong with tasks, fields, logits or predictions.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A task set without a task.
    #[error("a task set needs at least one task")]
    NoTasks,
    /// Two tasks of one name.
    #[error("task `{task}` appears twice; task names must be unique")]
    DuplicateTask {
        /// The name.
        task: String,
    },
    /// A task with fewer than two classes, or with a class twice.
    #[error("task `{task}` needs two or more distinct classes, found {classes:?}")]
    Classes {
        /// The task.
        task: String,
        /// Its classes.
        classes: Vec<String>,
    },
    /// A name that stands for nothing here.
    #[error("unknown {what} `{name}`; known: {}", known.join(", "))]
    Unknown {
        /// What was looked for: a class, a task, a branch.
        what: &'static str,
        /// The name that was not found.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A name with a NUL character, which no table can hold.
    #[error("{what} `{}` has a NUL character, which no table can hold; rename it", name.escape_debug())]
    Nul {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Numbers or a text that are no lesion box.
    #[error("`{found}` is no lesion box: {reason}")]
    LesionBox {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Arrays that do not fit together.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The name of the array.
        what: String,
        /// The shape it must have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A name given twice where each may stand once.
    #[error("{what} `{name}` appears twice; give each once")]
    Twice {
        /// What it names: a branch.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A label outside its task's classes.
    #[error("case `{case}`: label {label} of task `{task}` is out of range, the task has {classes} classes")]
    Label {
        /// The case.
        case: String,
        /// The task.
        task: String,
        /// The label.
        label: usize,
        /// The number of classes.
        classes: usize,
    },
    /// A number that is NaN, infinite, or (a weight, a probability) outside its range.
    #[error("{what}: {value} is not {expected}")]
    Number {
        /// The name of the number.
        what: String,
        /// Its value.
        value: f64,
        /// What it should have been.
        expected: &'static str,
    },
    /// A case that no branch has seen.
    #[error("case `{case}` has no branch to predict from: neither a clinical nor a dermoscopic image")]
    NoBranch {
        /// The case.
        case: String,
    },
    /// Two tables that must list the same cases in the same order do not.
    #[error("{left} and {right} list different cases at row {row}: `{left_case}` and `{right_case}`")]
    Misaligned {
        /// The name of the first table.
        left: String,
        /// The name of the second.
        right: String,
        /// The first row that differs, from 0.
        row: usize,
        /// The case in the first.
        left_case: String,
        /// The case in the second.
        right_case: String,
    },
    /// Classes that cannot be added up.
    #[error("task `{task}`: `{class}` is not {expected}")]
    ClassSum {
        /// The task whose classes are added up.
        task: String,
        /// The class.
        class: String,
        /// What it must be.
        expected: String,
    },
    /// A group of classes that is none.
    #[error("group `{group}`: `{name}` is not {expected}")]
    ClassGroup {
        /// The group.
        group: String,
        /// The class, list or task that is wrong.
        name: String,
        /// What it must be.
        expected: String,
    },
}
