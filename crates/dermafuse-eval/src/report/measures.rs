//! The measures that clinicians and challenges ask for, operating points, and what is wrong.

use maud::{Markup, html};

use super::sections::{inline, percent};
use super::{Report, pictures};
use crate::{ClassMeasures, Estimate, LEAST_SENSITIVITY, TaskMeasures};

/// A table of the tasks, a table of the classes of each, and the decision curves.
pub(super) fn measures(report: &Report) -> Option<Markup> {
    let measures = report.measures.as_ref().filter(|measures| measures.tasks.iter().any(|task| task.n > 0))?;
    let tasks = || measures.tasks.iter().filter(|task| task.n > 0);
    Some(html! {
        div.scroll { table.numbers {
            thead { tr {
                th { "task" } th { "cases" } th { "accuracy" } th { "balanced accuracy" } th { "macro F1" } th { "macro AUC" }
                th { "pAUC" }
            } }
            tbody { @for task in tasks() { tr {
                th scope="row" title=(task.name) { (task.label) }
                td { (task.n) }
                @for estimate in [&task.accuracy, &task.balanced_accuracy, &task.macro_f1, &task.macro_auc, &task.partial_auc] {
                    (cell(estimate))
                }
            } } }
        } }
        @for task in tasks() { (classes(task)) }
        p.caption {
            "Per cent, with 95 % intervals: DeLong's for the AUC of a class, for the others a bootstrap over "
            (measures.groups) " patients or lesions, each with all its cases (" (measures.bootstrap.resamples) " resamples, seed "
            (measures.bootstrap.seed) "). pAUC: the area above a sensitivity of " (percent(Some(LEAST_SENSITIVITY)))
            " %, as ISIC 2024 scores it; 20 at best. SEN at SPE: the largest sensitivity of any threshold with that specificity, on these \
             very cases, and the other way round."
        }
        @if let Some(tests) = &report.row_tests { @for table in tests.tables() { (table.render()) } }
        @if !report.decision_curves.is_empty() {
            h3 { "Net benefit" }
            p {
                "Whoever would treat from a probability of 20 % on holds a missed case to be four times as bad as a treatment in vain. \
                 Where the model's line lies above both others, deciding by it is worth more than treating everybody or nobody."
            }
            div.figures { @for curve in &report.decision_curves { (inline(&curve.chart())) } }
        }
    })
}

fn classes(task: &TaskMeasures) -> Markup {
    html! {
        h3 { (task.label) ", one class against the rest" }
        div.scroll { table.numbers {
            thead { tr {
                th { "class" } th { "cases" } th { "AUC" } th { "pAUC" } th { "SEN" } th { "PRE" } th { "F1" }
                th { "SEN at 90 % SPE" } th { "at 95 %" } th { "SPE at 90 % SEN" } th { "at 95 %" }
            } }
            tbody { @for class in &task.classes { (class_row(class)) } }
        } }
    }
}

fn class_row(class: &ClassMeasures) -> Markup {
    let auc = class.auc.map(|auc| Estimate { value: Some(auc.auc), interval: Some(auc.interval) }).unwrap_or_default();
    let [first, second] = &class.sensitivity_at;
    let [third, fourth] = &class.specificity_at;
    let row = [&auc, &class.partial_auc, &class.sensitivity, &class.precision, &class.f1, first, second, third, fourth];
    html! {
        tr {
            th scope="row" { (class.name) }
            td { (class.support) }
            @for estimate in row { (cell(estimate)) }
        }
    }
}

fn cell(estimate: &Estimate) -> Markup {
    html! {
        td {
            (percent(estimate.value))
            @if let Some(interval) = &estimate.interval {
                " " span.quiet { (percent(Some(interval.lower))) "–" (percent(Some(interval.upper))) }
            }
        }
    }
}

/// A row for each operating point.
pub(super) fn points(report: &Report) -> Option<Markup> {
    (!report.points.is_empty()).then(|| {
        html! {
            p {
                "The same model, decided for different aims: offsets on the classes were chosen on validation cases. One of the points \
                 is chosen when the model is asked (predict --point)."
            }
            div.scroll { table.numbers {
                thead { tr { th { "point" } th { "accuracy" } th { "balanced accuracy" } th { "macro F1" } th { "AUC" } } }
                tbody { @for (name, evaluation) in &report.points {
                    @let overall = &evaluation.overall;
                    tr {
                        th scope="row" { (name) }
                        @for value in [overall.accuracy, overall.balanced_accuracy, overall.macro_f1, overall.auc] {
                            td { (percent(value)) }
                        }
                    }
                } }
            } }
            p.caption { "Means over the tasks, per cent." }
        }
    })
}

/// The surest mistakes, and what is taken for what.
pub(super) fn mistakes(report: &Report) -> Option<Markup> {
    let mistakes = report.mistakes.as_ref().filter(|mistakes| !mistakes.surest.is_empty())?;
    let [surest, confusions] = mistakes.tables();
    let shown = pictures::render(&report.mistake_pictures);
    Some(html! { (surest.render()) (confusions.render()) @if let Some(shown) = shown { (shown) } })
}
