use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Report, comparison, measures, pictures, sample, sections, uncertainty};

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let sections = [
        ("evidence", "For whom, and how well", report.evidence.render()),
        ("results", "Results", sections::results(report)),
        ("measures", "Measures", measures::measures(report)),
        ("points", "Operating points", measures::points(report)),
        ("calibration", "Calibration", sections::calibration(report)),
        ("class-groups", "Groups of classes", uncertainty::class_groups(report)),
        ("abstention", "When not to answer", uncertainty::abstention(report)),
        ("subsets", "Missing inputs", report.subsets.as_ref().map(|subsets| subsets.table().render())),
        ("corruptions", "Corrupted images", sections::corruptions(report)),
        ("learning-curve", "How much data", comparison::learning_curves(report)),
        ("comparison", "Comparison of methods", comparison::render(report)),
        ("training", "Training", sections::figures(&report.curves)),
        ("weights", "Branch weights", sections::figures(&report.weight_searches)),
        ("groups", "Groups of cases", sections::subgroups(report)),
        ("details", "Details", sections::details(report)),
        ("mistakes", "Mistakes", measures::mistakes(report)),
        ("features", "Features", sections::figures(&report.embeddings)),
        ("pictures", "Pictures", pictures::render(&report.pictures)),
        ("cases", "Cases", sample::render(&report.samples)),
        ("recipe", "Recipe", sections::config(report)),
    ];
    let present: Vec<(&str, &str, Markup)> =
        sections.into_iter().filter_map(|(id, title, section)| Some((id, title, section?))).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                (header(report))
                @if present.len() > 1 {
                    nav { @for (id, title, _) in &present { a href={ "#" (id) } { (title) } } }
                }
                main {
                    @for (id, title, section) in &present {
                        section id=(id) { h2 { (title) } (section) }
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

fn header(report: &Report) -> Markup {
    html! {
        header {
            p.kicker { "DermaFuse report" }
            h1 { (report.title) }
            p.device { "Research software, not a medical device. Not for the diagnosis of patients." }
            @if report.synthetic {
                p.banner.synthetic role="note" {
                    strong { "Synthetic data. " }
                    "Images and labels are generated; the numbers say that the programs run, nothing about skin lesions."
                }
            }
            (sections::leaky_banner(&report.leaky))
            (sections::seen_cases(report.seen))
            @for note in &report.notes { p.note { (note) } }
        }
    }
}
