use crate::ReliabilityBin;

use super::axes::Axes;
use super::svg::{Anchor, Svg, series_color};

/// How often predictions of each confidence are right, over the number of cases in each bin.
#[must_use]
pub fn reliability_plot(title: &str, bins: &[ReliabilityBin]) -> String {
    let side = 240.0;
    let axes = Axes { corner: (54.0, 28.0), size: (side, side), x: (0.0, 1.0), y: (0.0, 1.0) };
    let counts_bottom = 28.0 + side + 96.0;
    let mut svg = Svg::new(title, 54.0 + side + 14.0, counts_bottom + 22.0);
    svg.heading();
    axes.draw(&mut svg, "confidence of the predicted class", "fraction that is right");
    let (bar, tone) = (series_color(0), series_color(1));
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    for bin in bins {
        let (left, right) = (axes.at(bin.lower, 0.0).0 + 1.0, axes.at(bin.upper, 0.0).0 - 1.0);
        if let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) {
            let (_, top) = axes.at(0.0, accuracy);
            let bottom = axes.at(0.0, 0.0).1;
            svg.rect((left, top), (right - left, bottom - top), &format!("fill:{bar};fill-opacity:.55"));
            svg.circle(axes.at(confidence, accuracy), 3.2, &format!("fill:{tone}"));
        }
        let height = 40.0 * bin.count as f64 / most;
        let style = "fill:currentColor;fill-opacity:.4";
        svg.rect((left, counts_bottom - height), (right - left, height), style);
    }
    svg.line(axes.at(0.0, 0.0), axes.at(1.0, 1.0), "stroke:currentColor;stroke-opacity:.5;stroke-dasharray:4 4");
    let (left, right) = (axes.at(0.0, 0.0).0, axes.at(1.0, 0.0).0);
    svg.line((left, counts_bottom), (right, counts_bottom), "stroke:currentColor;stroke-opacity:.4");
    let note = format!("cases in each bin (at most {most})");
    svg.text(((left + right) / 2.0, counts_bottom + 15.0), Anchor::Middle, "font-size:11px;fill-opacity:.75", &note);
    svg.finish()
}
