use super::svg::{Anchor, Svg};

/// A rectangular plot area with linear axes.
pub(crate) struct Axes {
    /// Left edge, upper edge.
    pub(crate) corner: (f64, f64),
    pub(crate) size: (f64, f64),
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
}

pub(super) const GRID: &str = "stroke:currentColor;stroke-opacity:.13";
pub(super) const TICK: &str = "font-size:11px;fill-opacity:.75";
pub(super) const LABEL: &str = "font-size:12px;fill-opacity:.9";

impl Axes {
    /// Where a value is drawn.
    pub(crate) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let along = |value: f64, (low, high): (f64, f64)| if high > low { (value - low) / (high - low) } else { 0.5 };
        (self.corner.0 + along(x, self.x) * self.size.0, self.corner.1 + (1.0 - along(y, self.y)) * self.size.1)
    }

    /// Grid, ticks and axis names.
    pub(crate) fn draw(&self, svg: &mut Svg, x_label: &str, y_label: &str) {
        for (value, text) in ticks(self.x, 5) {
            let (x, bottom) = self.at(value, self.y.0);
            svg.line((x, self.corner.1), (x, bottom), GRID);
            svg.text((x, bottom + 15.0), Anchor::Middle, TICK, &text);
        }
        self.draw_y(svg, y_label);
        let middle = self.corner.0 + self.size.0 / 2.0;
        svg.text((middle, self.corner.1 + self.size.1 + 32.0), Anchor::Middle, LABEL, x_label);
    }

    /// The horizontal grid with its ticks and the name of the vertical axis.
    pub(crate) fn draw_y(&self, svg: &mut Svg, y_label: &str) {
        for (value, text) in ticks(self.y, 5) {
            let (left, y) = self.at(self.x.0, value);
            svg.line((left, y), (left + self.size.0, y), GRID);
            svg.text((left - 6.0, y + 4.0), Anchor::End, TICK, &text);
        }
        svg.vertical_text((self.corner.0 - 42.0, self.corner.1 + self.size.1 / 2.0), LABEL, y_label);
    }
}

/// About `count` round values within a range, with their texts.
pub(crate) fn ticks((low, high): (f64, f64), count: usize) -> Vec<(f64, String)> {
    let span = high - low;
    if !(span > 0.0 && span.is_finite()) {
        return vec![(low, format_tick(low, 0))];
    }
    let rough = span / count as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let decimals = (0..=12).find(|&d| ((step * 10_f64.powi(d)) - (step * 10_f64.powi(d)).round()).abs() < 1e-6);
    let decimals = decimals.unwrap_or(12) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| (n as f64 * step, format_tick(n as f64 * step, decimals))).collect()
}

fn format_tick(value: f64, decimals: usize) -> String {
    let (small, large) = (decimals > 4 && value != 0.0, value.abs() >= 1e6);
    let decimals = if value == 0.0 && decimals > 4 { 0 } else { decimals };
    // Adding 0 makes -0 positive.
    if small || large { format!("{value:.1e}") } else { format!("{:.decimals$}", value + 0.0) }
}

/// The range of the values, widened to round ends; `(0, 1)` without finite values.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    if low == high {
        let around = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
        return (low - around, high + around);
    }
    let margin = (high - low) * 0.05;
    // A quantity that is never negative does not get a negative axis.
    (if low >= 0.0 { (low - margin).max(0.0) } else { low - margin }, high + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(range: (f64, f64)) -> Vec<String> {
        ticks(range, 5).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts((0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts((0.0, 250.0)), ["0", "50", "100", "150", "200", "250"]);
        assert_eq!(texts((0.0, 3e-5)).first().unwrap(), "0");
        assert_eq!(texts((2.0, 2.0)), ["2"]);
        assert_eq!(ticks((f64::NAN, 1.0), 5).len(), 1);
    }

    #[test]
    fn ranges_hold_all_finite_values() {
        assert_eq!(range([].into_iter()), (0.0, 1.0));
        assert_eq!(range([0.0, 10.0, f64::NAN].into_iter()), (0.0, 10.5));
        assert_eq!(range([5.0].into_iter()), (4.5, 5.5));
    }
}
