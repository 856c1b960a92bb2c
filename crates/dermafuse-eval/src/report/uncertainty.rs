//! Groups of classes, and when the model had better not answer.

use dermafuse_schema::Coverage;
use maud::{Markup, html};

use super::Report;
use super::sections::{inline, percent};
use crate::figure::{self, Series};
use crate::{GroupEvaluation, Proportion, RiskCoverage, SetEvaluation};

/// Coverages of which the risk is printed.
const COVERAGES: [f64; 4] = [1.0, 0.9, 0.8, 0.5];

/// A table for each group of classes.
pub(super) fn class_groups(report: &Report) -> Option<Markup> {
    (!report.class_groups.is_empty()).then(|| {
        html! {
            @for group in &report.class_groups { (class_group(group)) }
            p.caption {
                "The probability of a group is that of its classes, added up. The threshold was chosen on validation cases, not on \
                 these. Intervals: 95 %, DeLong's for AUC, Wilson's for shares."
            }
        }
    })
}

fn class_group(group: &GroupEvaluation) -> Markup {
    html! {
        h3 { (group.name) ": " (group.positive.join(" or ")) ", yes or no?" }
        div.scroll { table.numbers {
            thead { tr { th { "member" } th { "classes" } th { "cases" } th { "AUC, per cent" } } }
            tbody {
                @for member in &group.members { tr {
                    th scope="row" { (member.name) @if group.positive.contains(&member.name) { " (yes)" } }
                    td.wide { (member.classes.join(", ")) }
                    td { (member.support) }
                    td { (member.auc) }
                } }
                tr { th scope="row" { "yes" } td.wide {} td { "of " (group.cases) } td.mean { (group.auc) } }
            }
        } }
        @match &group.operating_point {
            None => { p.banner.leak {
                strong { "No operating point. " }
                "The validation cases have no positive case, or nothing else, so no threshold could be chosen."
            } }
            Some(point) => {
                @let thresholds: Vec<String> = point.thresholds.iter().map(|value| format!("{value:.4}")).collect();
                div.scroll { table.numbers {
                    thead { tr {
                        th { "yes from a probability of" } th { "SEN, per cent" } th { "SPE" } th { "PPV" } th { "NPV" } th { "says yes to" }
                    } }
                    tbody { tr {
                        th scope="row" {
                            (thresholds.join(", ")) span.quiet { " for " (group.aim.name()) " " (percent(Some(group.aim.share()))) " %" }
                        }
                        @for share in [
                            point.sensitivity,
                            point.specificity,
                            point.positive_predictive_value,
                            point.negative_predictive_value,
                            point.said_yes,
                        ] { td { (share) } }
                    } }
                } }
            }
        }
    }
}

/// The risk–coverage curve, and the sets.
pub(super) fn abstention(report: &Report) -> Option<Markup> {
    if report.risk_coverage.iter().all(|curve| curve.cases == 0) && report.sets.is_none() {
        return None;
    }
    Some(html! {
        (risk_coverage(&report.risk_coverage))
        @if let Some(sets) = &report.sets { (prediction_sets(sets)) }
    })
}

fn risk_coverage(curves: &[RiskCoverage]) -> Markup {
    let curves: Vec<&RiskCoverage> = curves.iter().filter(|curve| curve.cases > 0).collect();
    let series = curves.iter().map(|curve| Series {
        name: curve.label.clone(),
        points: curve.points.iter().map(|(coverage, risk)| (100.0 * coverage, 100.0 * risk)).collect(),
    });
    let series: Vec<Series> = series.collect();
    let chart = figure::line_chart("Risk and coverage", "answered cases, per cent", "wrong answers, per cent", &series);
    html! {
        @if !curves.is_empty() {
            p {
                "If only the surest cases are answered and the others are left to a person, fewer answers are wrong. A curve that does \
                 not fall to the left says that the model does not know when it is wrong."
            }
            div.figures { (inline(&chart)) }
            div.scroll { table.numbers {
                thead { tr {
                    th { "task" } th { "cases" }
                    @for coverage in COVERAGES { th { "wrong of the surest " (format!("{:.0}", 100.0 * coverage)) " %" } }
                    th { "AURC" } th { "best" } th { "by chance" }
                } }
                tbody { @for curve in &curves { tr {
                    th scope="row" title=(curve.task) { (curve.label) }
                    td { (curve.cases) }
                    @for coverage in COVERAGES { td { (percent(curve.risk_at(coverage))) } }
                    td.mean { (percent(curve.area)) }
                    td { (percent(curve.best_area)) }
                    td { (percent(curve.error)) }
                } } }
            } }
            p.caption {
                "AURC: area under the curve, the mean share of wrong answers over all coverages. Best: the same accuracy with every \
                 wrong answer among the least sure. By chance: doubts that say nothing. Per cent."
            }
        }
    }
}

fn prediction_sets(sets: &SetEvaluation) -> Markup {
    let kinds = [Coverage::Marginal, Coverage::ClassConditional];
    let share = |share: &Proportion| html! { td { (share) } };
    html! {
        h3 { "Sets of classes for an error rate of " (percent(Some(sets.error_rate))) " %" }
        p {
            "A set holds all classes that are as probable as the true one is for all but that share of the validation cases. A case with \
             a single class in its set is answered; of the others the set is all that is said. Answers of this model use the "
            (sets.coverage.name()) " sets."
        }
        div.scroll { table.numbers {
            thead { tr {
                th { "task" } th { "sets" } th { "with the truth, per cent" } th { "classes in a set" } th { "answered" }
                th { "right of those" } th { "empty" }
            } }
            tbody { @for task in &sets.tasks { @for kind in kinds {
                @let summary = task.of(kind);
                tr {
                    th scope="row" title=(task.task) { (task.label) }
                    td { (kind.name()) }
                    (share(&summary.covered))
                    td { (summary.mean_size.map_or_else(|| "n/a".to_owned(), |size| format!("{size:.2}"))) }
                    (share(&summary.answered))
                    (share(&summary.right_if_answered))
                    (share(&summary.empty))
                }
            } } }
        } }
        @for task in &sets.tasks {
            details {
                summary { strong { (task.label) } " " span.quiet { "sets with the truth, by class" } }
                div.scroll { table.numbers {
                    thead { tr { th { "class" } @for kind in kinds { th { (kind.name()) ", per cent" } } } }
                    tbody {
                        @for ((class, marginal), (_, own)) in
                            task.marginal.covered_by_class.iter().zip(&task.class_conditional.covered_by_class)
                        { tr { th scope="row" { (class) } (share(marginal)) (share(own)) } }
                    }
                } }
            }
        }
        p.caption {
            "Split conformal prediction, score 1 − p. The promise holds for cases like the validation cases. Those chose the model's \
             epoch too, so a little less may be covered. Intervals: 95 %, Wilson."
        }
    }
}
