use maud::{Markup, html};

use super::sections::inline;
use super::{ComparedMethods, Report};
use crate::comparison::p_text;
use crate::{Comparison, figure};

/// Methods measured on the same blocks, and further tables.
pub(super) fn render(report: &Report) -> Option<Markup> {
    (!report.comparisons.is_empty() || !report.tables.is_empty()).then(|| {
        html! {
            @for compared in &report.comparisons { (comparison_of(compared, report.synthetic)) }
            @for table in &report.tables { (table.render()) }
        }
    })
}

/// Pictures of learning curves, and below them their tables.
pub(super) fn learning_curves(report: &Report) -> Option<Markup> {
    (!report.learning_curves.is_empty()).then(|| {
        html! {
            div.figures { @for (chart, _) in &report.learning_curves { (inline(chart)) } }
            @for (_, table) in &report.learning_curves { (table.render()) }
        }
    })
}

fn comparison_of(compared: &ComparedMethods, synthetic: bool) -> Markup {
    let ComparedMethods { title, comparison, published } = compared;
    let published = published.as_ref().filter(|_| !synthetic);
    let printed = |name: &str| {
        let (table, score) = published?;
        Some(table.row(name)?.score(*score)?.to_string())
    };
    let greatest = comparison.methods.iter().map(|method| method.scores.mean).fold(f64::NEG_INFINITY, f64::max);
    let friedman = &comparison.friedman;
    let names: Vec<String> = comparison.methods.iter().map(|method| method.name.clone()).collect();
    html! {
        h3 { (title) }
        div.scroll { table.numbers {
            thead { tr {
                th { "method" } th { "mean ± std" }
                @if published.is_some() { th { "published" } }
                th { "mean rank" }
            } }
            tbody { @for method in &comparison.methods {
                tr {
                    th scope="row" { (method.name) }
                    td.best[method.scores.mean == greatest] { (method.scores) }
                    @if published.is_some() { td.interval { (printed(&method.name).unwrap_or_else(|| "–".into())) } }
                    td { (format!("{:.2}", method.mean_rank)) }
                }
            } }
        } }
        p.caption {
            "Over " (comparison.blocks.len()) " blocks. Friedman: χ² = " (format!("{:.2}", friedman.statistic)) ", "
            (friedman.degrees_of_freedom) " degrees of freedom, p = " (p_text(friedman.p))
            @if let Some(p) = published.and_then(|(table, _)| table.friedman_p) { " (published: " (p_text(p)) ")" }
            ". Rank 1 is the best; methods joined by a bar do not differ by Nemenyi's test."
            @if let Some((table, _)) = published { " Published: " (table.source) ", " (table.protocol) "." }
        }
        div.figures {
            (inline(&figure::critical_difference_diagram("Mean ranks", &names, &comparison.nemenyi)))
        }
        details {
            summary {
                strong { "Pairs of methods" }
                span.right {
                    (comparison.pairs.iter().filter(|pair| pair.differs).count()) " of " (comparison.pairs.len())
                    " differ at " (comparison.level)
                }
            }
            (pair_table(comparison))
            p.caption {
                "W and p of Wilcoxon's signed-rank test, p adjusted for all pairs (Holm), and p of Nemenyi's test. "
                "Marked: adjusted p at most " (comparison.level) "."
            }
        }
    }
}

fn pair_table(comparison: &Comparison) -> Markup {
    html! {
        div.scroll { table.numbers {
            thead { tr { th { "pair" } th { "W" } th { "p" } th { "p (Holm)" } th { "p (Nemenyi)" } } }
            tbody { @for pair in &comparison.pairs {
                tr {
                    th scope="row" { (comparison.name_of(pair)) }
                    td { (pair.wilcoxon.statistic) }
                    td { (p_text(pair.wilcoxon.p)) }
                    td.best[pair.differs] { (p_text(pair.holm)) }
                    td { (p_text(pair.nemenyi)) }
                }
            } }
        } }
    }
}
