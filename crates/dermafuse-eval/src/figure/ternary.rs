use super::svg::{Anchor, Svg};

/// One point of a search over three weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TernaryPoint {
    /// The weights; they are scaled to sum to 1.
    pub weights: [f64; 3],
    /// What was reached, such as an accuracy.
    pub value: f64,
}

/// A search over three weights as a triangle: each corner is one branch alone, the best point is marked.
#[must_use]
pub fn ternary_heat_map(title: &str, corners: [&str; 3], points: &[TernaryPoint]) -> String {
    let (side, left, top) = (320.0, 60.0, 52.0);
    let height = side * 3_f64.sqrt() / 2.0;
    let mut svg = Svg::new(title, side + 2.0 * left, top + height + 88.0);
    svg.heading();
    let place = |[_, b, c]: [f64; 3]| (left + side * (b + c / 2.0), top + height * (1.0 - c));
    let valid: Vec<([f64; 3], f64)> = points
        .iter()
        .filter_map(|point| {
            let sum: f64 = point.weights.iter().sum();
            let fits = point.value.is_finite() && sum > 0.0 && point.weights.iter().all(|weight| *weight >= 0.0);
            fits.then(|| (point.weights.map(|weight| weight / sum), point.value))
        })
        .collect();
    let low = valid.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = valid.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    // A grid of s steps has (s + 1)(s + 2)/2 points: one hexagon for each, just touching.
    let steps = (((8.0 * valid.len() as f64 + 1.0).sqrt() - 3.0) / 2.0).max(4.0);
    let radius = side / steps / 3_f64.sqrt();
    let hexagon: Vec<(f64, f64)> = (0..6)
        .map(|corner| (f64::from(corner) * 60.0 + 30.0).to_radians())
        .map(|angle| (radius * angle.cos(), radius * angle.sin()))
        .collect();
    for (weights, value) in &valid {
        let share = if high > low { (value - low) / (high - low) } else { 1.0 };
        let style = format!("fill:var(--heat,#00558a);fill-opacity:{:.2}", 0.04 + 0.96 * share * share);
        let (x, y) = place(*weights);
        svg.polygon(&hexagon.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>(), &style);
    }
    let ends = [place([1.0, 0.0, 0.0]), place([0.0, 1.0, 0.0]), place([0.0, 0.0, 1.0])];
    let names = "font-weight:600";
    svg.text((ends[0].0, ends[0].1 + radius + 18.0), Anchor::Middle, names, corners[0]);
    svg.text((ends[1].0, ends[1].1 + radius + 18.0), Anchor::Middle, names, corners[1]);
    svg.text((ends[2].0, ends[2].1 - radius - 6.0), Anchor::Middle, names, corners[2]);
    if let Some((weights, value)) = valid.iter().reduce(|best, point| if point.1 > best.1 { point } else { best }) {
        let at = place(*weights);
        svg.circle(at, 7.0, "fill:none;stroke:#fff;stroke-width:5");
        svg.circle(at, 7.0, "fill:none;stroke:#d55e00;stroke-width:2.5");
        let [a, b, c] = weights;
        let text = format!("best {value:.4} at {a:.2} {}, {b:.2} {}, {c:.2} {}", corners[0], corners[1], corners[2]);
        let middle = left + side / 2.0;
        svg.text((middle, top + height + 54.0), Anchor::Middle, "", &text);
        let text = format!("faintest {low:.4}, strongest {high:.4}");
        svg.text((middle, top + height + 74.0), Anchor::Middle, "font-size:11px;fill-opacity:.75", &text);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_best_is_marked() {
        let point = |weights, value| TernaryPoint { weights, value };
        let points = [point([1.0, 0.0, 0.0], 0.5), point([0.0, 2.0, 2.0], 0.75), point([0.0, 0.0, 1.0], 0.75)];
        let svg = ternary_heat_map("t", ["clinical", "dermoscopic", "fusion"], &points);
        assert!(svg.contains("best 0.7500 at 0.00 clinical, 0.50 dermoscopic, 0.50 fusion"), "{svg}");
        assert!(!ternary_heat_map("t", ["a", "b", "c"], &[]).contains("best"));
    }
}
