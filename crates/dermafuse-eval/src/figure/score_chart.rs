use crate::Interval;

use super::axes::{Axes, range};
use super::svg::{Anchor, Svg, fit, series_color};

/// One row of a score chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Name under the mark.
    pub name: String,
    /// The value; `None` leaves the place empty and prints `n/a`.
    pub value: Option<f64>,
    /// Confidence interval.
    pub interval: Option<Interval>,
    /// A published value, drawn as a mark beside it.
    pub published: Option<f64>,
}

/// Values with their confidence intervals. The axis does not start at 0, so each value is a point with its interval.
#[must_use]
pub fn score_chart(title: &str, y_label: &str, scores: &[Score]) -> String {
    let slot = 78.0;
    let published = scores.iter().any(|score| score.published.is_some());
    let size = (slot * scores.len().max(3) as f64, 220.0);
    let values = scores.iter().flat_map(|score| {
        [score.value, score.published, score.interval.map(|i| i.lower), score.interval.map(|i| i.upper)]
            .into_iter()
            .flatten()
    });
    let axes = Axes { corner: (62.0, 30.0), size, x: (0.0, scores.len().max(3) as f64), y: range(values) };
    let mut svg = Svg::new(title, 62.0 + size.0 + 12.0, 30.0 + size.1 + if published { 54.0 } else { 32.0 });
    svg.heading();
    axes.draw_y(&mut svg, y_label);
    let (ink, other) = (series_color(0), series_color(1));
    for (index, score) in scores.iter().enumerate() {
        let middle = index as f64 + 0.5;
        let bottom = axes.at(middle, axes.y.0);
        svg.text((bottom.0, bottom.1 + 18.0), Anchor::Middle, "", &fit(&score.name, slot));
        if let Some(Interval { lower, upper }) = score.interval {
            let style = format!("stroke:{ink};stroke-width:10;stroke-opacity:.3;stroke-linecap:round");
            svg.line(axes.at(middle, lower), axes.at(middle, upper), &style);
        }
        match score.value {
            Some(value) => {
                let at = axes.at(middle, value);
                svg.circle(at, 5.0, &format!("fill:{ink}"));
                let style = "font-size:12px;font-weight:600;font-variant-numeric:tabular-nums";
                svg.text((at.0 + 10.0, at.1 + 4.0), Anchor::Start, style, &format!("{value:.1}"));
            }
            None => svg.text((bottom.0, bottom.1 - 8.0), Anchor::Middle, "fill-opacity:.7", "n/a"),
        }
        if let Some(value) = score.published {
            let at = axes.at(middle, value);
            let diamond =
                [(at.0 - 16.0, at.1), (at.0 - 11.0, at.1 - 5.0), (at.0 - 6.0, at.1), (at.0 - 11.0, at.1 + 5.0)];
            svg.polygon(&diamond, &format!("fill:none;stroke:{other};stroke-width:2"));
        }
    }
    if published {
        let y = 30.0 + size.1 + 42.0;
        svg.circle((68.0, y - 4.0), 5.0, &format!("fill:{ink}"));
        svg.text((80.0, y), Anchor::Start, "", "this run, 95 % interval");
        let diamond = [(226.0, y - 4.0), (231.0, y - 9.0), (236.0, y - 4.0), (231.0, y + 1.0)];
        svg.polygon(&diamond, &format!("fill:none;stroke:{other};stroke-width:2"));
        svg.text((243.0, y), Anchor::Start, "", "published");
    }
    svg.finish()
}
