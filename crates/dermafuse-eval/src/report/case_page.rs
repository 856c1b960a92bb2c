use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dermafuse_schema::{
    PatientGroup, Performance, SEVEN_POINT_CRITERIA, SUSPICIOUS_SCORE, SevenPointCriterion, write_whole_file,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{SampleCase, SampleImage, evidence, sample, sections};
use crate::EvalError;
use crate::figure;

/// The seven-point checklist of the predicted classes: 2 points for each major criterion (atypical network, blue-whitish veil,
/// irregular vessels), 1 for each minor one (irregular streaks, pigmentation, dots and globules; regression).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecklistScore {
    /// Label of the criterion's task, its points, whether it is met.
    pub criteria: Vec<(String, u32, bool)>,
}

impl ChecklistScore {
    /// The score of a case; `None` unless its tasks have all seven criteria.
    #[must_use]
    pub fn of(case: &SampleCase) -> Option<Self> {
        let criteria = SEVEN_POINT_CRITERIA.iter().map(|&SevenPointCriterion { label, class, points }| {
            let task = case.tasks.iter().find(|task| task.label == label)?;
            let counts = task.probabilities.iter().position(|(name, _)| name == class)?;
            Some((label.to_owned(), points, task.predicted == counts))
        });
        Some(Self { criteria: criteria.collect::<Option<_>>()? })
    }

    /// The points of the criteria that are met, 0 to 10.
    #[must_use]
    pub fn points(&self) -> u32 {
        self.criteria.iter().filter(|(_, _, met)| *met).map(|(_, points, _)| points).sum()
    }
}

/// An image with what the model looked at in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeatPicture {
    /// Which image, such as `clinical`.
    pub name: String,
    /// What the heat explains.
    pub caption: String,
    /// The image.
    pub photo: SampleImage,
    /// The image under its heat map.
    pub overlay: SampleImage,
}

/// One HTML page about one case: its images, what the model looked at, what it predicts and from what. No scripts, nothing loaded
/// from elsewhere.
///
/// ```
/// use dermafuse_eval::{CasePage, SampleCase};
///
/// let page = CasePage::new(SampleCase { id: "lesion 7".into(), ..SampleCase::default() });
/// assert!(page.to_html().contains("not a medical device"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CasePage {
    case: SampleCase,
    evidence: Option<(Performance, Vec<PatientGroup>, Vec<String>)>,
    notes: Vec<String>,
    leaky: Vec<String>,
    pictures: Vec<HeatPicture>,
    contributions: Vec<String>,
    contributions_note: String,
}

impl CasePage {
    /// A page about a case and its predictions.
    #[must_use]
    pub fn new(case: SampleCase) -> Self {
        Self {
            case,
            evidence: None,
            notes: Vec::new(),
            leaky: Vec::new(),
            pictures: Vec::new(),
            contributions: Vec::new(),
            contributions_note: String::new(),
        }
    }

    /// Adds a sentence under the heading.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Says how well the model did on test cases, on those like this patient (see [`Performance::like`]), and what is not known of such
    /// patients.
    #[must_use]
    pub fn evidence(mut self, performance: &Performance, like: &[&PatientGroup], not_known: Vec<String>) -> Self {
        let like = like.iter().map(|&group| group.clone()).collect();
        self.evidence = Some((performance.clone(), like, not_known));
        self
    }

    /// Warns that these metadata columns, used as inputs, are recorded after or because of the diagnosis.
    #[must_use]
    pub fn leaky_inputs(mut self, columns: &[&str]) -> Self {
        self.leaky.extend(columns.iter().map(|column| (*column).to_owned()));
        self
    }

    /// Adds an image and what the model looked at in it.
    #[must_use]
    pub fn picture(mut self, picture: HeatPicture) -> Self {
        self.pictures.push(picture);
        self
    }

    /// Adds what each input contributes to a probability, as [`figure::contribution_chart`] draws it.
    #[must_use]
    pub fn contributions(mut self, title: &str, contributions: &[(String, f64)]) -> Self {
        self.contributions.push(figure::contribution_chart(title, contributions));
        self
    }

    /// Says how the contributions were found.
    #[must_use]
    pub fn contributions_note(mut self, note: impl Into<String>) -> Self {
        self.contributions_note = note.into();
        self
    }

    /// The page as text.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = format!("Case {}", self.case.id);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(include_str!("report.css"))) }
                }
                body {
                    header {
                        p.kicker { "DermaFuse explanation" }
                        h1 { (title) }
                        p.device { "Research software, not a medical device. Not for the diagnosis of patients." }
                        (sections::leaky_banner(&self.leaky))
                        @for note in &self.notes { p.note { (note) } }
                    }
                    main {
                        @if !self.pictures.is_empty() {
                            section id="heat" { h2 { "Where the model looked" } (pictures(&self.pictures)) }
                        }
                        section id="prediction" { h2 { "What it predicts" } (sample::sample_of(&self.case)) }
                        @if let Some((performance, like, not_known)) = &self.evidence {
                            section id="evidence" {
                                h2 { "How well it does for patients like this one" }
                                (evidence::patients(performance, like.iter()))
                                @if !not_known.is_empty() {
                                    h3 { "What is not known" }
                                    ul.evidence { @for sentence in not_known { li { (sentence) } } }
                                }
                            }
                        }
                        @if let Some(score) = ChecklistScore::of(&self.case) {
                            section id="checklist" { h2 { "Seven-point checklist" } (checklist(&score)) }
                        }
                        @if let Some(figures) = sections::figures(&self.contributions) {
                            section id="contributions" {
                                h2 { "What it predicts from" }
                                (figures)
                                p.caption { (self.contributions_note) }
                            }
                        }
                    }
                    footer {
                        "DermaFuse " (env!("CARGO_PKG_VERSION"))
                        " · research software, not a medical device; not for the diagnosis of patients."
                    }
                }
            }
        };
        page.into_string()
    }

    /// Writes the page.
    ///
    /// # Errors
    /// A file that cannot be written; what was there before is untouched.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        Ok(write_whole_file(path.as_ref(), self.to_html().as_bytes())?)
    }
}

fn pictures(pictures: &[HeatPicture]) -> Markup {
    html! {
        div.images {
            @for picture in pictures {
                figure {
                    img alt={ (picture.name) " image" } src=(source(&picture.photo));
                    figcaption { (picture.name) }
                }
                figure {
                    img alt={ "heat map of the " (picture.name) " image" } src=(source(&picture.overlay));
                    figcaption { (picture.caption) }
                }
            }
        }
        p.caption {
            "Heat says what in the image spoke for the class, not that it is there. 1, the brightest, is each image's own "
            "largest value, so two images cannot be compared."
        }
    }
}

fn source(image: &SampleImage) -> String {
    format!("data:{};base64,{}", image.mime, STANDARD.encode(&image.bytes))
}

fn checklist(score: &ChecklistScore) -> Markup {
    let points = score.points();
    html! {
        p {
            strong { "Score " (points) " of 10" }
            @if points >= SUSPICIOUS_SCORE { " – suspicious by the rule" } @else { " – not suspicious by the rule" }
            ": " (SUSPICIOUS_SCORE) " or more."
        }
        div.scroll { table.numbers {
            thead { tr { th { "criterion" } th { "predicted" } th { "points" } } }
            tbody { @for (label, points, met) in &score.criteria {
                tr {
                    th scope="row" { (label) }
                    td { @if *met { "yes" } @else { "no" } }
                    td { (if *met { *points } else { 0 }) " of " (points) }
                }
            } }
        } }
        p.caption {
            "Major criteria (atypical network, blue-whitish veil, irregular vessels) count 2, minor ones (irregular streaks, "
            "pigmentation, dots and globules; regression) count 1. The score is of the most probable classes."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SampleTask;

    fn case(predicted: [usize; 7]) -> SampleCase {
        let tasks = SEVEN_POINT_CRITERIA.iter().zip(predicted).map(|(criterion, predicted)| SampleTask {
            label: criterion.label.into(),
            truth: None,
            predicted,
            probabilities: vec![("ABS".into(), 0.5), (criterion.class.into(), 0.5)],
        });
        SampleCase { id: "<7>".into(), tasks: tasks.collect(), ..SampleCase::default() }
    }

    #[test]
    fn the_score_adds_up_by_the_rule() {
        let points = |predicted| ChecklistScore::of(&case(predicted)).unwrap().points();
        assert_eq!(points([0; 7]), 0);
        assert_eq!(points([1, 0, 0, 0, 1, 0, 0]), 3);
        assert_eq!(points([1; 7]), 10);
        let mut incomplete = case([1; 7]);
        incomplete.tasks.pop();
        assert_eq!(ChecklistScore::of(&incomplete), None);
    }

    #[test]
    fn a_page_has_what_it_was_given() {
        let image = |bytes: &[u8]| SampleImage { mime: "image/png".into(), bytes: bytes.to_vec() };
        let picture = HeatPicture {
            name: "clinical".into(),
            caption: "Grad-CAM of MEL".into(),
            photo: image(b"photo"),
            overlay: image(b"heat"),
        };
        let page = CasePage::new(case([1, 1, 0, 0, 0, 0, 0]))
            .note("a note")
            .leaky_inputs(&["management"])
            .picture(picture)
            .contributions("DIAG: MEL", &[("clinical image".into(), 0.25)])
            .contributions_note("exact Shapley values")
            .to_html();
        for text in [
            "Case &lt;7&gt;",
            "a note",
            "management",
            "Grad-CAM of MEL",
            "data:image/png;base64,aGVhdA==",
            "Score 4 of 10",
            "– suspicious by the rule",
            "+25.0",
            "exact Shapley values",
        ] {
            assert!(page.contains(text), "{text} is missing");
        }
    }
}
