use crate::Interval;

use super::axes::{Axes, GRID, LABEL, TICK, range};
use super::svg::{Anchor, Svg, fit, series_color, series_line};

/// A method's scores over the number of its training cases.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveLine {
    /// Name for the legend.
    pub name: String,
    /// Number of cases, score and its interval, by rising number.
    pub points: Vec<(f64, f64, Option<Interval>)>,
}

/// Scores over a number of cases, on an axis on which it doubles from step to step: where a curve is straight, every doubling gains as
/// much as the one before. A band is an interval.
#[must_use]
pub fn learning_curve_chart(title: &str, x_label: &str, y_label: &str, lines: &[CurveLine]) -> String {
    let size = (460.0, 230.0);
    let points = || lines.iter().flat_map(|line| &line.points).filter(|(x, y, _)| *x > 0.0 && y.is_finite());
    let x =
        points().map(|point| point.0.log2()).fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
    let x = if x.0 < x.1 { x } else { range(points().map(|point| point.0.log2())) };
    let ends =
        |interval: &Option<Interval>| interval.map(|Interval { lower, upper }| [lower, upper]).into_iter().flatten();
    let y = range(points().flat_map(|(_, y, interval)| ends(interval).chain([*y])));
    let axes = Axes { corner: (62.0, 30.0), size, x, y };
    let legend_top = 30.0 + size.1 + 54.0;
    let mut svg = Svg::new(title, 62.0 + size.0 + 24.0, legend_top + 18.0 * lines.len() as f64 - 8.0);
    svg.heading();
    axes.draw_y(&mut svg, y_label);
    // A tick for each number of cases, unless it would touch the one before.
    let mut numbers: Vec<f64> = points().map(|point| point.0).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let mut last = f64::NEG_INFINITY;
    for number in numbers {
        let (left, bottom) = axes.at(number.log2(), axes.y.0);
        svg.line((left, axes.corner.1), (left, bottom), GRID);
        if left - last > 34.0 {
            svg.text((left, bottom + 15.0), Anchor::Middle, TICK, &format!("{number:.0}"));
            last = left;
        }
    }
    svg.text((axes.corner.0 + size.0 / 2.0, axes.corner.1 + size.1 + 32.0), Anchor::Middle, LABEL, x_label);
    for (index, line) in lines.iter().enumerate() {
        let color = series_color(index);
        let drawn: Vec<_> = line.points.iter().filter(|(x, y, _)| *x > 0.0 && y.is_finite()).collect();
        for (cases, _, interval) in &drawn {
            if let Some(Interval { lower, upper }) = interval {
                let style = format!("stroke:{color};stroke-width:8;stroke-opacity:.25;stroke-linecap:round");
                svg.line(axes.at(cases.log2(), *lower), axes.at(cases.log2(), *upper), &style);
            }
        }
        let at: Vec<(f64, f64)> = drawn.iter().map(|(x, y, _)| axes.at(x.log2(), *y)).collect();
        svg.polyline(&at, &format!("{};stroke-width:2;stroke-linejoin:round", series_line(index)));
        at.iter().for_each(|point| svg.circle(*point, 4.0, &format!("fill:{color}")));
        let y = legend_top + 18.0 * index as f64 - 4.0;
        svg.line((62.0, y), (84.0, y), &format!("{};stroke-width:3", series_line(index)));
        svg.text((92.0, y + 4.0), Anchor::Start, "", &fit(&line.name, size.0 - 36.0));
    }
    svg.finish()
}
