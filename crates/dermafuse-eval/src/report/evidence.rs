//! What somebody who stands before a patient needs first.

use dermafuse_schema::{PatientGroup, Performance, PerformanceRow, SMALL_GROUP};
use maud::{Markup, html};

/// What opens a report of an evaluation: what the model was trained on, how well it does and for whom, and what is not known. Each is a
/// list of sentences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// What it was trained on.
    pub trained_on: Vec<String>,
    /// How well it does, all cases together.
    pub how_well: Vec<String>,
    /// The same for each group of patients.
    pub performance: Option<Performance>,
    /// What is not known.
    pub not_known: Vec<String>,
}

impl Evidence {
    pub(super) fn render(&self) -> Option<Markup> {
        let Self { trained_on, how_well, performance, not_known } = self;
        let is_empty = trained_on.is_empty() && how_well.is_empty() && performance.is_none() && not_known.is_empty();
        (!is_empty).then(|| {
            html! {
                (sentences("Trained on", trained_on))
                (sentences("How well it does", how_well))
                @if let Some(performance) = performance {
                    h3 { "For which patients" }
                    (patients(performance, performance.groups.iter()))
                }
                (sentences("What is not known", not_known))
            }
        })
    }
}

fn sentences(title: &str, sentences: &[String]) -> Markup {
    html! {
        @if !sentences.is_empty() {
            h3 { (title) }
            ul.evidence { @for sentence in sentences { li { (sentence) } } }
        }
    }
}

/// The numbers of groups of patients, and of all test cases below.
pub(super) fn patients<'a>(performance: &Performance, groups: impl Iterator<Item = &'a PatientGroup>) -> Markup {
    let questions: Vec<&str> = performance.all.questions.iter().map(|question| question.name.as_str()).collect();
    let row = |name: &str, numbers: &PerformanceRow| {
        let is_small = numbers.cases < SMALL_GROUP;
        html! {
            tr.small[is_small] {
                th scope="row" { (name) @if is_small { " †" } }
                td { (numbers.cases) }
                td { (numbers.accuracy) }
                @for question in &numbers.questions { td { (question.sensitivity) } td { (question.specificity) } }
            }
        }
    };
    html! {
        div.scroll { table.numbers.patients {
            thead { tr {
                th { "patients" } th { "test cases" } th { (performance.task) " right, per cent" }
                @for name in &questions { th { (name) " SEN" } th { (name) " SPE" } }
            } }
            tbody {
                @for group in groups { (row(&group.label(), &group.numbers)) }
                (row("all test cases", &performance.all))
            }
        } }
        p.caption {
            "Per cent, 95 % interval (Wilson), and the number of cases that it is of. † fewer than " (SMALL_GROUP)
            " cases: mostly chance."
        }
    }
}
