use super::svg::{Anchor, Svg, fit, series_color};

const ROW: f64 = 22.0;
const LEFT: f64 = 170.0;
const HALF: f64 = 120.0;
const TOP: f64 = 34.0;

/// What each input adds to a probability: bars to the right for what speaks for the class, to the left for what speaks
/// against it, in per cent points.
#[must_use]
pub fn contribution_chart(title: &str, contributions: &[(String, f64)]) -> String {
    let middle = LEFT + HALF;
    let (width, height) = (middle + HALF + 56.0, TOP + ROW * contributions.len() as f64 + 8.0);
    let mut svg = Svg::new(title, width, height);
    svg.heading();
    let largest = contributions.iter().map(|(_, value)| value.abs()).fold(0.0, f64::max);
    for (index, (name, value)) in contributions.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let length = if largest > 0.0 { HALF * value.abs() / largest } else { 0.0 };
        let (left, series) = if *value < 0.0 { (middle - length, 1) } else { (middle, 0) };
        svg.text((LEFT - 8.0, y + 14.0), Anchor::End, "", &fit(name, LEFT - 12.0));
        svg.rect((left, y + 3.0), (length, ROW - 6.0), &format!("fill:{}", series_color(series)));
        let text = format!("{:+.1}", 100.0 * value);
        svg.text((width, y + 14.0), Anchor::End, "font-variant-numeric:tabular-nums", &text);
    }
    let bottom = TOP + ROW * contributions.len() as f64;
    svg.line((middle, TOP), (middle, bottom), "stroke:currentColor;stroke-opacity:.5");
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_point_both_ways() {
        let bars = [("sex".to_owned(), 0.125), ("<age>".to_owned(), -0.25)];
        let svg = contribution_chart("t", &bars);
        assert!(svg.contains("+12.5") && svg.contains("-25.0") && svg.contains("&lt;age&gt;"), "{svg}");
        assert!(svg.contains("x=\"170\"") && svg.contains("width=\"120\"") && svg.contains("width=\"60\""), "{svg}");
        assert!(contribution_chart("t", &[]).contains("</svg>"));
    }
}
