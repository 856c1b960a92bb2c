use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dermafuse_schema::Predictions;
use maud::{Markup, html};

use crate::EvalError;
use crate::metrics::check;

/// An encoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleImage {
    /// Media type, such as `image/jpeg`.
    pub mime: String,
    /// The encoded file.
    pub bytes: Vec<u8>,
}

/// A case to look at: its images, what was known and what was predicted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleCase {
    /// Identity.
    pub id: String,
    /// What it was predicted from.
    pub basis: String,
    /// The clinical image, if there is one.
    pub clinical: Option<SampleImage>,
    /// The dermoscopic image, if there is one.
    pub dermoscopic: Option<SampleImage>,
    /// Names and values of the metadata.
    pub metadata: Vec<(String, String)>,
    /// One entry for each task.
    pub tasks: Vec<SampleTask>,
}

/// One task of a case to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleTask {
    /// Short heading of the task.
    pub label: String,
    /// The true class; `None` if not annotated.
    pub truth: Option<usize>,
    /// The predicted class.
    pub predicted: usize,
    /// Classes and their probabilities, in the task's order.
    pub probabilities: Vec<(String, f64)>,
}

impl SampleCase {
    /// A case without images and metadata.
    ///
    /// # Errors
    /// A case out of range, or predictions that cannot be evaluated.
    pub fn of(predictions: &Predictions, case: usize) -> Result<Self, EvalError> {
        check(predictions)?;
        if case >= predictions.len() {
            return Err(EvalError::Case { case, cases: predictions.len() });
        }
        let tasks = predictions.tasks.iter().enumerate().map(|(index, task)| SampleTask {
            label: task.label.clone(),
            truth: predictions.labels[case][index],
            predicted: predictions.predicted(case, index),
            probabilities: task
                .classes
                .iter()
                .cloned()
                .zip(predictions.probabilities[index].row(case).iter().copied())
                .collect(),
        });
        Ok(Self {
            id: predictions.ids[case].to_string(),
            basis: predictions.basis[case].to_string(),
            tasks: tasks.collect(),
            ..Self::default()
        })
    }

    /// The same case with its clinical image.
    #[must_use]
    pub fn with_clinical(mut self, mime: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.clinical = Some(SampleImage { mime: mime.into(), bytes });
        self
    }

    /// The same case with its dermoscopic image.
    #[must_use]
    pub fn with_dermoscopic(mut self, mime: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.dermoscopic = Some(SampleImage { mime: mime.into(), bytes });
        self
    }

    /// The same case with its metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Vec<(String, String)>) -> Self {
        self.metadata = metadata;
        self
    }
}

/// Single cases.
pub(super) fn render(samples: &[SampleCase]) -> Option<Markup> {
    (!samples.is_empty()).then(|| {
        html! {
            p.caption {
                "✓ the most probable class is the true one, ✗ it is not; the true class is underlined. "
                "Metadata as recorded."
            }
            @for sample in samples { (sample_of(sample)) }
        }
    })
}

pub(super) fn sample_of(sample: &SampleCase) -> Markup {
    html! {
        article.case {
            div.case-head {
                h3 { "Case " (sample.id) }
                @if !sample.basis.is_empty() { span.quiet { "predicted from " (sample.basis) } }
            }
            div.case-body {
                div.images {
                    (image(sample.clinical.as_ref(), "clinical"))
                    (image(sample.dermoscopic.as_ref(), "dermoscopic"))
                    @if !sample.metadata.is_empty() {
                        dl { @for (name, value) in &sample.metadata { dt { (name) } dd { (value) } } }
                    }
                }
                div.answers { @for task in &sample.tasks { (sample_task(task)) } }
            }
        }
    }
}

fn image(image: Option<&SampleImage>, kind: &str) -> Markup {
    html! {
        figure {
            @match image {
                Some(image) => {
                    img alt={ (kind) " image" } src={ "data:" (image.mime) ";base64," (STANDARD.encode(&image.bytes)) };
                }
                None => div.missing { "no image" },
            }
            figcaption { (kind) }
        }
    }
}

fn sample_task(task: &SampleTask) -> Markup {
    let (mark, class) = match task.truth {
        Some(truth) if truth == task.predicted => ("✓", "right"),
        Some(_) => ("✗", "wrong"),
        None => ("?", "unknown"),
    };
    html! {
        div.answer {
            p.task { (task.label) " " span class={ "mark " (class) } { (mark) } }
            @for (index, (name, probability)) in task.probabilities.iter().enumerate() {
                @let width = (probability.clamp(0.0, 1.0) * 1000.0).round() / 10.0;
                div class=(if index == task.predicted { "probability chosen" } else { "probability" }) {
                    span.name.true[task.truth == Some(index)] title=(name) { (name) }
                    span.track { span.fill style={ "width:" (width) "%" } {} }
                    span.value { (format!("{:.0} %", 100.0 * probability)) }
                }
            }
        }
    }
}
