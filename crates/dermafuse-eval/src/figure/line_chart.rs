use serde::{Deserialize, Serialize};

use super::axes::{Axes, range};
use super::svg::{Anchor, Svg, series_color, series_line};

/// A named line, such as a loss over epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name for the legend.
    pub name: String,
    /// `(x, y)` in order of x. Points that are not finite leave a gap.
    pub points: Vec<(f64, f64)>,
}

/// Several lines over one axis, such as the training and validation loss over epochs.
#[must_use]
pub fn line_chart(title: &str, x_label: &str, y_label: &str, series: &[Series]) -> String {
    let size = (278.0, 190.0);
    let points = || series.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let x = points().map(|point| point.0).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
    let x = if x.0 < x.1 { x } else { range(points().map(|point| point.0)) };
    let axes = Axes { corner: (62.0, 30.0), size, x, y: range(points().map(|point| point.1)) };
    let legend_top = 30.0 + size.1 + 54.0;
    let columns = 2;
    let legend_rows = series.len().div_ceil(columns);
    let mut svg = Svg::new(title, 62.0 + size.0 + 12.0, legend_top + 18.0 * legend_rows as f64 - 8.0);
    svg.heading();
    axes.draw(&mut svg, x_label, y_label);
    for (index, line) in series.iter().enumerate() {
        let color = series_color(index);
        let drawn = line.points.split(|(x, y)| !(x.is_finite() && y.is_finite()));
        for run in drawn.filter(|run| !run.is_empty()) {
            let run: Vec<(f64, f64)> = run.iter().map(|&(x, y)| axes.at(x, y)).collect();
            svg.polyline(&run, &format!("{};stroke-width:2;stroke-linejoin:round", series_line(index)));
            if let [only] = run[..] {
                svg.circle(only, 3.0, &format!("fill:{color}"));
            }
        }
        let left = 62.0 + size.0 / columns as f64 * (index % columns) as f64;
        let y = legend_top + 18.0 * (index / columns) as f64 - 4.0;
        svg.line((left, y), (left + 22.0, y), &format!("{};stroke-width:3", series_line(index)));
        svg.text((left + 30.0, y + 4.0), Anchor::Start, "", &super::svg::fit(&line.name, size.0 / 2.0 - 36.0));
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_leaves_a_gap_and_no_series_gives_empty_axes() {
        let series = Series { name: "loss".into(), points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5), (3.0, 0.4)] };
        let svg = line_chart("t", "epoch", "loss", &[series]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(line_chart("t", "epoch", "loss", &[]).contains("epoch"));
    }
}
