use crate::RocCurve;

use super::axes::Axes;
use super::svg::{Anchor, Svg, series_line};

/// ROC curves of the classes of a task, with the area under each in the legend; `None` where a class has no curve.
#[must_use]
pub fn roc_plot(title: &str, curves: &[(String, Option<RocCurve>)]) -> String {
    let side = 240.0;
    let axes = Axes { corner: (54.0, 28.0), size: (side, side), x: (0.0, 1.0), y: (0.0, 1.0) };
    let legend_top = 28.0 + side + 54.0;
    let mut svg = Svg::new(title, 54.0 + side + 14.0, legend_top + 18.0 * curves.len() as f64);
    svg.heading();
    axes.draw(&mut svg, "1 − specificity", "sensitivity");
    svg.line(axes.at(0.0, 0.0), axes.at(1.0, 1.0), "stroke:currentColor;stroke-opacity:.35;stroke-dasharray:4 4");
    for (index, (name, curve)) in curves.iter().enumerate() {
        let area = curve.as_ref().map_or("n/a".into(), |curve| format!("{:.3}", curve.area));
        if let Some(curve) = curve {
            let points: Vec<(f64, f64)> = corners(&curve.points).map(|(x, y)| axes.at(x, y)).collect();
            svg.polyline(&points, &format!("{};stroke-width:2;stroke-linejoin:round", series_line(index)));
        }
        let y = legend_top + 18.0 * index as f64;
        svg.line((54.0, y - 4.0), (76.0, y - 4.0), &format!("{};stroke-width:3", series_line(index)));
        svg.text((84.0, y), Anchor::Start, "", name);
        let right = 54.0 + side;
        svg.text((right, y), Anchor::End, "font-variant-numeric:tabular-nums", &format!("AUC {area}"));
    }
    svg.finish()
}

/// The points where the curve turns.
fn corners(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let turns = |index: usize| {
        let (Some(before), Some(after)) = (index.checked_sub(1).and_then(|i| points.get(i)), points.get(index + 1))
        else {
            return true;
        };
        let at = points[index];
        let area = (at.0 - before.0) * (after.1 - at.1) - (after.0 - at.0) * (at.1 - before.1);
        area.abs() > 1e-12
    };
    (0..points.len()).filter(move |&index| turns(index)).map(|index| points[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_runs_are_drawn_once() {
        let points = [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (0.5, 1.0), (1.0, 1.0)];
        assert_eq!(corners(&points).collect::<Vec<_>>(), [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn a_class_without_a_curve_is_in_the_legend() {
        let svg = roc_plot("t", &[("MEL".into(), None)]);
        assert!(svg.contains("AUC n/a") && svg.contains("MEL"));
    }
}
