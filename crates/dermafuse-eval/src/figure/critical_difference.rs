use super::svg::{Anchor, Svg, fit, series_color};
use crate::significance::Nemenyi;

/// Room for the names on each side of the axis.
const SIDE: f64 = 170.0;
const AXIS_WIDTH: f64 = 330.0;
const AXIS_TOP: f64 = 92.0;
const ROW: f64 = 22.0;
const BAR: f64 = 9.0;

const LINE: &str = "stroke:currentColor;stroke-opacity:.55";
const SMALL: &str = "font-size:11px;fill-opacity:.75";

/// Mean ranks of methods on an axis, the best on the right; bars join methods that do not differ.
///
/// `methods` are the names; missing ones are numbered.
///
/// # Source
/// Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006, Figure 1.
#[must_use]
pub fn critical_difference_diagram(title: &str, methods: &[String], nemenyi: &Nemenyi) -> String {
    let k = nemenyi.mean_ranks.len();
    let span = k.saturating_sub(1).max(1) as f64;
    let at = |rank: f64| SIDE + AXIS_WIDTH * (1.0 - (rank - 1.0) / span);
    let bars = levels(nemenyi);
    let below_bars = AXIS_TOP + 10.0 + BAR * bars.iter().map(|bar| bar.0 + 1).max().unwrap_or(0) as f64;
    let difference = AXIS_WIDTH * nemenyi.critical_difference / span;
    let width = (2.0 * SIDE + AXIS_WIDTH).max(SIDE + difference + 12.0);
    let mut svg = Svg::new(title, width, below_bars + ROW * k.div_ceil(2) as f64 + 6.0);
    svg.heading();

    let (left, right, y) = (SIDE, SIDE + difference, 50.0);
    svg.line((left, y), (right, y), "stroke:currentColor;stroke-width:2");
    for end in [left, right] {
        svg.line((end, y - 4.0), (end, y + 4.0), "stroke:currentColor;stroke-width:2");
    }
    let note = format!("critical difference {:.2} at {}", nemenyi.critical_difference, nemenyi.level);
    svg.text((left, y - 8.0), Anchor::Start, SMALL, &note);

    svg.line((at(1.0), AXIS_TOP), (at(k.max(2) as f64), AXIS_TOP), "stroke:currentColor;stroke-width:1.5");
    for rank in 1..=k {
        let x = at(rank as f64);
        svg.line((x, AXIS_TOP - 6.0), (x, AXIS_TOP), LINE);
        svg.text((x, AXIS_TOP - 10.0), Anchor::Middle, SMALL, &rank.to_string());
    }

    let order = nemenyi.order();
    for (place, &method) in order.iter().enumerate() {
        let rank = nemenyi.mean_ranks[method];
        let name = methods.get(method).cloned().unwrap_or_else(|| method.to_string());
        let (name, rank_text) = (fit(&name, SIDE - 62.0), format!("{rank:.2}"));
        // The better half has its names on the right, the best on top; the other half on the left, the worst on top.
        let on_right = place < k.div_ceil(2);
        let row = if on_right { place } else { k - 1 - place };
        let y = below_bars + ROW * (row as f64 + 0.6);
        let (end, text, anchor) = if on_right {
            (SIDE + AXIS_WIDTH + 14.0, SIDE + AXIS_WIDTH + 20.0, Anchor::Start)
        } else {
            (SIDE - 14.0, SIDE - 20.0, Anchor::End)
        };
        svg.polyline(&[(at(rank), AXIS_TOP), (at(rank), y), (end, y)], LINE);
        let label = if on_right { format!("{name}  {rank_text}") } else { format!("{rank_text}  {name}") };
        svg.text((text, y + 4.0), anchor, "white-space:pre;font-variant-numeric:tabular-nums", &label);
    }
    for (level, best, worst) in bars {
        let y = AXIS_TOP + 10.0 + BAR * level as f64;
        let style = format!("stroke:{};stroke-width:5;stroke-linecap:round", series_color(0));
        svg.line((at(worst), y), (at(best), y), &style);
    }
    svg.finish()
}

/// For each group its row of bars, from 0, so that no two bars of a row touch, and its best and worst mean rank.
fn levels(nemenyi: &Nemenyi) -> Vec<(usize, f64, f64)> {
    let mut ends: Vec<f64> = Vec::new();
    let bars = nemenyi.groups().into_iter().filter_map(|group| {
        let (best, worst) = (nemenyi.mean_ranks[*group.first()?], nemenyi.mean_ranks[*group.last()?]);
        let level = ends.iter().position(|end| *end < best).unwrap_or(ends.len());
        if level == ends.len() {
            ends.push(worst);
        } else {
            ends[level] = worst;
        }
        Some((level, best, worst))
    });
    bars.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Demšar 2006, section 3.2.3, at 0.10.
    fn example() -> (Vec<String>, Nemenyi) {
        let names = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"].map(String::from);
        (names.into(), Nemenyi::of(&[3.143, 2.000, 2.893, 1.964], 14, 0.10).unwrap())
    }

    #[test]
    fn groups_that_overlap_are_bars_above_each_other() {
        let (names, nemenyi) = example();
        assert_eq!(levels(&nemenyi), [(0, 1.964, 2.893), (1, 2.893, 3.143)]);
        let apart = Nemenyi { mean_ranks: vec![1.0, 1.5, 4.0, 4.5], critical_difference: 1.0, ..nemenyi.clone() };
        assert_eq!(levels(&apart), [(0, 1.0, 1.5), (0, 4.0, 4.5)]);
        let svg = critical_difference_diagram("ranks", &names, &nemenyi);
        assert_eq!(svg.matches("stroke-width:5").count(), 2);
        assert!(svg.contains("critical difference 1.12 at 0.1"), "{svg}");
        assert!(svg.contains("C4.5+m+cf  1.96") && svg.contains("3.14  C4.5<"), "{svg}");
    }

    #[test]
    fn the_best_is_on_the_right() {
        let (names, nemenyi) = example();
        let svg = critical_difference_diagram("ranks", &names, &nemenyi);
        let anchor = |label: &str| {
            let end = svg.find(label).unwrap();
            let text = &svg[svg[..end].rfind("<text").unwrap()..end];
            text.contains("text-anchor:start")
        };
        assert!(anchor("C4.5+m+cf  1.96") && anchor("C4.5+m  2.00"));
        assert!(!anchor("2.89  C4.5+cf") && !anchor("3.14  C4.5<"));
        assert!(!critical_difference_diagram("r", &[], &nemenyi).contains("NaN"));
    }
}
