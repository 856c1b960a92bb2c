use crate::{AnswerBody, ApiError, CaseInput, ExplanationBody, ModelBody};

/// What a server asks. [`ModelClassifier`](crate::ModelClassifier) is a saved model; a program of one's own may put something else
/// behind the same page and API. It is asked from several threads at a time.
pub trait Classifier: Send + Sync + 'static {
    /// What the model is: its name, tasks, classes and inputs, as the API tells them.
    fn model(&self) -> &ModelBody;

    /// What it says of a case. The server fills in the answer's `id` and `stored`.
    ///
    /// # Errors
    /// What cannot be used of the case, with the part's name.
    fn answer(&self, case: &CaseInput) -> Result<AnswerBody, ApiError>;

    /// Where its answer to a task comes from: to [`CaseInput::task`], or to the first.
    ///
    /// # Errors
    /// As [`Classifier::answer`], and a task that there is not.
    fn explain(&self, case: &CaseInput) -> Result<ExplanationBody, ApiError>;
}
