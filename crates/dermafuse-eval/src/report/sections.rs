use std::collections::BTreeMap;

use dermafuse_schema::SeenCases;
use maud::{Markup, PreEscaped, html};

use super::{Detail, Report};
use crate::figure::{self, NAMESPACE, Score};
use crate::published::{Printed, PublishedRow, PublishedTable};
use crate::{Evaluation, Interval, SMALL_GROUP, SubgroupRow, TaskEvaluation};

/// The order of columns in the field's tables of the seven-point checklist.
const CHECKLIST_COLUMNS: [&str; 8] = ["BWV", "DaG", "PIG", "PN", "RS", "STR", "VS", "DIAG"];

/// Headline, tables of accuracies and of the other means, chart.
pub(super) fn results(report: &Report) -> Option<Markup> {
    let (headline, evaluation) = report.rows.last()?;
    let published = report.published.as_ref().filter(|_| !report.synthetic);
    let columns = columns(evaluation);
    Some(html! {
        (cards(headline, evaluation))
        h3 { "Accuracy, per cent" }
        (accuracy_table(report, published, &columns))
        @if let Some(table) = published {
            p.caption { "Published: " (table.source) ", " (table.protocol) "." }
        }
        (basis(&evaluation.basis, evaluation.cases))
        div.figures { @for chart in score_charts(report, published) { (inline(&chart)) } }
        h3 { "Means over tasks, per cent" }
        (means_table(report, published))
        p.caption {
            "BAC: mean recall over the classes that occur. AUC: flat mean over the findings, one against the rest, "
            "without the classes that stand for “absent”. ECE: expected calibration error of the predicted class, 15 bins of equal "
            "width; ECE (mass): 15 bins of equally many cases. Brier: 0 to 2, summed over the classes. "
            "Intervals: 95 %, bootstrap over test cases"
            " (" (evaluation.options.bootstrap.resamples) " resamples, seed " (evaluation.options.bootstrap.seed) ")."
        }
        (melanoma_related_table(report))
        @if !report.images.is_empty() { (images_table(report)) }
    })
}

/// The means over the classes of the seven-point checklist that speak for a melanoma, where there are all of them.
fn melanoma_related_table(report: &Report) -> Markup {
    let related = || report.rows.iter().filter_map(|(name, row)| Some((name, row.melanoma_related.as_ref()?)));
    html! {
        @if related().next().is_some() {
            h3 { "Means over the melanoma-related findings, per cent" }
            div.scroll { table.numbers {
                thead { tr { th { "row" } th { "AUC" } th { "SEN" } th { "SPE" } th { "PRE" } th { "n/a" } } }
                tbody { @for (name, related) in related() {
                    tr {
                        th scope="row" { (name) }
                        @for value in [related.auc, related.sensitivity, related.specificity, related.precision] {
                            td { (percent(value)) }
                        }
                        td { (related.undefined) }
                    }
                } }
            } }
            p.caption {
                "Over melanoma, atypical network, irregular streaks, irregular pigmentation, regression structures, irregular dots \
                 and globules, blue-whitish veil and irregular vessels, each against the rest of its task. n/a: findings of which \
                 a number is undefined, such as the precision of one that was never predicted; it is not in the mean."
            }
        }
    }
}

/// What corrupted images cost.
pub(super) fn corruptions(report: &Report) -> Option<Markup> {
    let evaluation = report.corruptions.as_ref()?;
    Some(html! {
        (evaluation.table().render())
        @if let Some(charts) = figures(&evaluation.charts()) { (charts) }
        @for sheet in &report.sheets { (inline(sheet)) }
    })
}

/// Calibration before and after, with the pictures of both beside each other.
pub(super) fn calibration(report: &Report) -> Option<Markup> {
    let change = report.calibration.as_ref()?;
    Some(html! {
        (change.table().render())
        div.figures { @for figure in change.figures() { (inline(&figure)) } }
    })
}

/// The rows with each image as a case.
fn images_table(report: &Report) -> Markup {
    html! {
        h3 { "Each image as a case, per cent" }
        div.scroll { table.numbers {
            thead { tr { th { "row" } th { "images" } th { "accuracy" } th { "BAC" } th { "AUC" } th { "macro F1" } } }
            tbody { @for (name, evaluation) in &report.images {
                @let overall = &evaluation.overall;
                tr {
                    th scope="row" { (name) }
                    td { (evaluation.cases) }
                    td { (percent(overall.accuracy)) }
                    td { (percent(overall.balanced_accuracy)) }
                    td { (percent(overall.auc)) }
                    td { (percent(overall.macro_f1)) }
                }
            } }
        } }
        p.caption {
            "Cases with several images of a kind are answered once above. Here each of their images (with two kinds: each pair) \
             counts as a case, and images of one lesion are not independent."
        }
    }
}

fn cards(name: &str, evaluation: &Evaluation) -> Markup {
    let overall = &evaluation.overall;
    html! {
        div.cards {
            (card("Mean accuracy", &percent(overall.accuracy), &interval_text(overall.accuracy_interval)))
            (card("Mean balanced accuracy", &percent(overall.balanced_accuracy),
                &interval_text(overall.balanced_accuracy_interval)))
            (card("Mean AUC", &percent(overall.auc), &format!("over {} classes", overall.counted_aucs)))
            (card("Test cases", &evaluation.cases.to_string(), &format!("{} tasks, row {name}", evaluation.tasks.len())))
        }
    }
}

fn card(label: &str, value: &str, below: &str) -> Markup {
    html! { div.card { p.label { (label) } p.value { (value) } p.below { (below) } } }
}

/// Names and headings of the tasks of an evaluation, in the order of the columns.
fn columns(evaluation: &Evaluation) -> Vec<(String, String)> {
    let columns: Vec<(String, String)> =
        evaluation.tasks.iter().map(|task| (task.name.clone(), task.label.clone())).collect();
    let place = |label: &str| CHECKLIST_COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(label));
    let mut ordered = columns.clone();
    ordered.sort_by_key(|(_, label)| place(label));
    let is_checklist =
        columns.len() == CHECKLIST_COLUMNS.len() && columns.iter().all(|(_, label)| place(label).is_some());
    if is_checklist { ordered } else { columns }
}

fn accuracy_table(report: &Report, published: Option<&PublishedTable>, columns: &[(String, String)]) -> Markup {
    let of = |evaluation: &Evaluation, name: &str| {
        evaluation.tasks.iter().find(|task| task.name == name).and_then(|task| task.accuracy)
    };
    let bests: Vec<Option<f64>> =
        columns.iter().map(|(name, _)| best(report.rows.iter().map(|(_, row)| of(row, name)))).collect();
    let best_mean = best(report.rows.iter().map(|(_, row)| row.overall.accuracy));
    html! {
        div.scroll { table.numbers {
            thead { tr {
                th { "row" }
                @for (name, label) in columns { th title=(name) { (label) } }
                th.mean { "avg" }
                th { "95 % interval" }
            } }
            tbody { @for (name, evaluation) in &report.rows {
                tr {
                    th scope="row" { (name) }
                    @for ((task, _), best) in columns.iter().zip(&bests) {
                        (cell(of(evaluation, task), *best))
                    }
                    td.mean.best[is_best(evaluation.overall.accuracy, best_mean)] {
                        (percent(evaluation.overall.accuracy))
                    }
                    td.interval { (interval_text(evaluation.overall.accuracy_interval)) }
                }
                @if let Some((row, accuracy)) = printed_row(published, name).and_then(|row| Some((row, row.accuracy?))) {
                    tr.published {
                        th scope="row" { "published" }
                        @for (_, label) in columns {
                            td { (row.task(label).map_or("–".into(), |value| format!("{:.1}", value.mean))) }
                        }
                        td.mean { (format!("{:.1}", accuracy.mean)) }
                        td.interval { (deviation_text(accuracy)) }
                    }
                }
            } }
        } }
    }
}

fn printed_row<'a>(published: Option<&'a PublishedTable>, name: &str) -> Option<&'a PublishedRow> {
    published?.row(name)
}

fn deviation_text(printed: Printed) -> String {
    printed.deviation.map_or_else(String::new, |deviation| format!("± {deviation:.1}"))
}

fn means_table(report: &Report, published: Option<&PublishedTable>) -> Markup {
    let text = |printed: Option<Printed>| printed.map_or_else(|| "–".to_owned(), |printed| printed.to_string());
    let printed = |name: &str| {
        printed_row(published, name).filter(|row| row.balanced_accuracy.or(row.auc).or(row.macro_f1).is_some())
    };
    let rows = || report.rows.iter().map(|(_, row)| &row.overall);
    let best_balanced = best(rows().map(|row| row.balanced_accuracy));
    let best_auc = best(rows().map(|row| row.auc));
    let best_f1 = best(rows().map(|row| row.macro_f1));
    html! {
        div.scroll { table.numbers {
            thead { tr {
                th { "row" } th { "BAC" } th { "95 % interval" } th { "AUC" } th { "classes" } th { "macro F1" }
                th { "ECE" } th { "ECE (mass)" } th { "log-loss" } th { "Brier" }
            } }
            tbody { @for (name, evaluation) in &report.rows {
                @let overall = &evaluation.overall;
                @let tasks = &evaluation.tasks;
                tr {
                    th scope="row" { (name) }
                    (cell(overall.balanced_accuracy, best_balanced))
                    td.interval { (interval_text(overall.balanced_accuracy_interval)) }
                    (cell(overall.auc, best_auc))
                    td.interval {
                        (overall.counted_aucs)
                        @if overall.undefined_aucs > 0 { " (" (overall.undefined_aucs) " n/a)" }
                    }
                    (cell(overall.macro_f1, best_f1))
                    td { (percent(mean(tasks, |task| task.calibration_error))) }
                    td { (percent(mean(tasks, |task| task.calibration_error_equal_mass))) }
                    td { (decimal(mean(tasks, |task| task.log_loss))) }
                    td { (decimal(mean(tasks, |task| task.brier))) }
                }
                @if let Some(row) = printed(name) {
                    tr.published {
                        th scope="row" { "published" }
                        td { (text(row.balanced_accuracy)) }
                        td {}
                        td { (text(row.auc)) }
                        td {}
                        td { (text(row.macro_f1)) }
                        td {} td {} td {} td {}
                    }
                }
            } }
        } }
    }
}

/// The mean accuracy and the mean balanced accuracy of each row.
fn score_charts(report: &Report, published: Option<&PublishedTable>) -> [String; 2] {
    let percent = |value: Option<f64>| value.map(|value| 100.0 * value);
    let percents = |interval: Option<Interval>| {
        interval.map(|interval| Interval { lower: 100.0 * interval.lower, upper: 100.0 * interval.upper })
    };
    let rows = || report.rows.iter().map(|(name, evaluation)| (name, &evaluation.overall));
    let accuracies: Vec<Score> = rows()
        .map(|(name, overall)| Score {
            name: name.clone(),
            value: percent(overall.accuracy),
            interval: percents(overall.accuracy_interval),
            published: printed_row(published, name).and_then(|row| row.accuracy).map(|printed| printed.mean),
        })
        .collect();
    let balanced: Vec<Score> = rows()
        .map(|(name, overall)| Score {
            name: name.clone(),
            value: percent(overall.balanced_accuracy),
            interval: percents(overall.balanced_accuracy_interval),
            published: printed_row(published, name).and_then(|row| row.balanced_accuracy).map(|printed| printed.mean),
        })
        .collect();
    [
        figure::score_chart("Mean accuracy, per cent", "AVG ACC", &accuracies),
        figure::score_chart("Mean balanced accuracy, per cent", "AVG BAC", &balanced),
    ]
}

/// How many cases were predicted from what.
fn basis(basis: &BTreeMap<String, usize>, cases: usize) -> Markup {
    html! {
        p.caption {
            "Predicted from: "
            @for (index, (name, count)) in basis.iter().enumerate() {
                @if index > 0 { ", " }
                code { (name) } " in " (count) " of " (cases) " cases"
            }
            "."
            @if basis.len() > 1 { " Where an input is missing, a case is predicted from those it has." }
            @if basis.keys().any(|name| name.contains('×')) {
                " Behind × stands how many images of a kind were asked."
            }
        }
    }
}

/// Names inputs that leak the diagnosis.
pub(super) fn leaky_banner(leaky: &[String]) -> Markup {
    html! {
        @if !leaky.is_empty() {
            p.banner.leak role="note" {
                strong { "Inputs that follow from the diagnosis: " }
                @for (index, column) in leaky.iter().enumerate() {
                    @if index > 0 { ", " }
                    code { (column) }
                }
                ". They are recorded after or because of it and are not known when a lesion is first seen, "
                "so these numbers are too good for use in practice."
            }
        }
    }
}

/// How many of the cases made the model: a warning if any did.
pub(super) fn seen_cases(seen: Option<SeenCases>) -> Markup {
    html! {
        @if let Some(seen) = seen {
            @if seen.any() {
                p.banner.leak role="note" { strong { "Cases that the model knows. " } (seen) }
            } @else {
                p.note { (seen) }
            }
        }
    }
}

/// Drawings beside each other.
pub(super) fn figures(figures: &[String]) -> Option<Markup> {
    (!figures.is_empty()).then(|| html! { div.figures { @for figure in figures { (inline(figure)) } } })
}

/// One table for each grouping.
pub(super) fn subgroups(report: &Report) -> Option<Markup> {
    (!report.subgroups.is_empty()).then(|| {
        html! {
            div.tables { @for table in &report.subgroups {
                div.scroll { table.numbers {
                    thead { tr {
                        th { (table.name) } th { "cases" } th { (table.task) " ACC" } th { "95 % interval" }
                        th { (table.task) " BAC" } th { "95 % interval" } th { "AVG ACC" } th { "95 % interval" }
                    } }
                    tbody {
                        @for row in &table.groups { (subgroup_row(row, row.group.as_deref().unwrap_or("not recorded"))) }
                        (subgroup_row(&table.all, "all cases"))
                    }
                } }
            } }
            p.caption { "† fewer than " (SMALL_GROUP) " cases: mostly chance." }
        }
    })
}

fn subgroup_row(row: &SubgroupRow, name: &str) -> Markup {
    html! {
        tr.small[row.small] {
            th scope="row" { (name) @if row.small { " †" } }
            td { (row.n) }
            td { (percent(row.accuracy)) }
            td.interval { (interval_text(row.accuracy_interval)) }
            td { (percent(row.balanced_accuracy)) }
            td.interval { (interval_text(row.balanced_accuracy_interval)) }
            td.mean { (percent(row.mean_accuracy)) }
            td.interval { (interval_text(row.mean_accuracy_interval)) }
        }
    }
}

/// Every row that is shown in full.
pub(super) fn details(report: &Report) -> Option<Markup> {
    (!report.details.is_empty()).then(|| html! { @for detail in &report.details { (detail_of(detail)) } })
}

fn detail_of(detail: &Detail) -> Markup {
    let evaluation = &detail.evaluation;
    html! {
        h3 { (detail.name) }
        (basis(&evaluation.basis, evaluation.cases))
        @if evaluation.options.transposed {
            p.banner.leak {
                strong { "Transposed. " }
                "SEN, SPE, PRE and NPV are read from the transposed confusion matrix, to compare with the printed "
                "tables of AMMFM, PEMM and AMFAM: SEN is the precision, PRE the recall, SPE the NPV."
            }
        }
        (task_table(evaluation))
        @for (task, roc_plot) in evaluation.tasks.iter().zip(&detail.roc_plots) {
            details open[evaluation.tasks.len() == 1 || task.name == evaluation.tasks[0].name] {
                summary {
                    strong { (task.label) } " " span.quiet { (task.name) }
                    span.right { "ACC " (percent(task.accuracy)) " · BAC " (percent(task.balanced_accuracy))
                        " · n = " (task.n) }
                }
                (class_table(task))
                div.figures {
                    @let names: Vec<String> = task.classes.iter().map(|class| class.name.clone()).collect();
                    (inline(&figure::confusion_heat_map(&format!("{} – confusion", task.label), &names, &task.confusion)))
                    (inline(roc_plot))
                    (inline(&figure::reliability_plot(&format!("{} – calibration", task.label), &task.reliability)))
                }
            }
        }
    }
}

fn task_table(evaluation: &Evaluation) -> Markup {
    html! {
        div.scroll { table.numbers {
            thead { tr {
                th { "task" } th { "cases" } th { "ACC" } th { "BAC" } th { "macro F1" } th { "weighted F1" }
                th { "macro AUC" } th { "log-loss" } th { "Brier" } th { "ECE" } th { "ECE (mass)" }
            } }
            tbody { @for task in &evaluation.tasks {
                tr {
                    th scope="row" title=(task.name) { (task.label) }
                    td { (task.n) }
                    @for value in
                        [task.accuracy, task.balanced_accuracy, task.macro_f1, task.weighted_f1, task.macro_auc]
                    {
                        td { (percent(value)) }
                    }
                    td { (decimal(task.log_loss)) }
                    td { (decimal(task.brier)) }
                    td { (percent(task.calibration_error)) }
                    td { (percent(task.calibration_error_equal_mass)) }
                }
            } }
        } }
    }
}

fn class_table(task: &TaskEvaluation) -> Markup {
    html! {
        div.scroll { table.numbers {
            thead { tr {
                th { "class" } th { "cases" } th { "AUC" } th { "SEN" } th { "SPE" } th { "PRE" } th { "NPV" } th { "F1" }
            } }
            tbody { @for class in &task.classes {
                tr {
                    th scope="row" { (class.name) }
                    td { (class.support) }
                    @for value in [
                        class.auc,
                        class.sensitivity,
                        class.specificity,
                        class.precision,
                        class.negative_predictive_value,
                        class.f1,
                    ] {
                        td { (percent(value)) }
                    }
                }
            } }
        } }
    }
}

/// The recipe, folded away.
pub(super) fn config(report: &Report) -> Option<Markup> {
    (!report.config.is_empty()).then(|| {
        html! {
            details {
                summary { (report.config.len()) " settings" }
                div.scroll { table.settings {
                    tbody { @for (key, value) in &report.config { tr { th scope="row" { (key) } td { (value) } } } }
                } }
            }
        }
    })
}

pub(super) fn inline(svg: &str) -> Markup {
    html! { div.figure { (PreEscaped(svg.replacen(NAMESPACE, "", 1))) } }
}

fn cell(value: Option<f64>, best: Option<f64>) -> Markup {
    html! { td.best[is_best(value, best)] { (percent(value)) } }
}

fn best(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    // A single row has nothing to be better than.
    if values.len() < 2 { None } else { values.into_iter().reduce(f64::max) }
}

fn is_best(value: Option<f64>, best: Option<f64>) -> bool {
    value.is_some() && value == best
}

fn mean(tasks: &[TaskEvaluation], value: impl Fn(&TaskEvaluation) -> Option<f64>) -> Option<f64> {
    crate::metrics::mean(tasks.iter().map(value))
}

pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or("n/a".into(), |value| format!("{:.1}", 100.0 * value))
}

fn decimal(value: Option<f64>) -> String {
    value.map_or("n/a".into(), |value| format!("{value:.3}"))
}

fn interval_text(interval: Option<Interval>) -> String {
    interval.map_or(String::new(), |interval| format!("{:.1}–{:.1}", 100.0 * interval.lower, 100.0 * interval.upper))
}
