use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::SampleImage;

/// Needed in a file of its own, superfluous inside a page.
pub(crate) const NAMESPACE: &str = " xmlns=\"http://www.w3.org/2000/svg\"";

/// The Okabe-Ito palette without yellow (too faint on white).
const PALETTE: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a"];

/// Where a text is fixed.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing under construction; the origin is the upper left corner.
pub(crate) struct Svg {
    title: String,
    width: f64,
    height: f64,
    body: String,
}

/// The CSS colour of a series.
pub(crate) fn series_color(index: usize) -> String {
    let index = index % PALETTE.len();
    format!("var(--series-{},{})", index + 1, PALETTE[index])
}

/// How the line of a series is broken, so that lines are told apart in print without colour: the first one is whole.
const DASHES: [&str; 7] = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4"];

/// The CSS of the line of a series: its colour and how it is broken.
pub(crate) fn series_line(index: usize) -> String {
    let color = series_color(index);
    match DASHES[index % DASHES.len()] {
        "" => format!("stroke:{color}"),
        dashes => format!("stroke:{color};stroke-dasharray:{dashes}"),
    }
}

impl Svg {
    pub(crate) fn new(title: &str, width: f64, height: f64) -> Self {
        Self { title: title.into(), width, height, body: String::new() }
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let _ = write!(
            self.body,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" style=\"{style}\"/>",
            round(from.0),
            round(from.1),
            round(to.0),
            round(to.1)
        );
    }

    pub(crate) fn rect(&mut self, corner: (f64, f64), size: (f64, f64), style: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" style=\"{style}\"/>",
            round(corner.0),
            round(corner.1),
            round(size.0.max(0.0)),
            round(size.1.max(0.0))
        );
    }

    pub(crate) fn circle(&mut self, center: (f64, f64), radius: f64, style: &str) {
        let (x, y, r) = (round(center.0), round(center.1), round(radius));
        let _ = write!(self.body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" style=\"{style}\"/>");
    }

    /// A picture, which is stretched to the size.
    pub(crate) fn image(&mut self, corner: (f64, f64), size: (f64, f64), image: &SampleImage) {
        let _ = write!(
            self.body,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" href=\"data:{};base64,{}\" preserveAspectRatio=\"none\"/>",
            round(corner.0),
            round(corner.1),
            round(size.0),
            round(size.1),
            escape(&image.mime),
            STANDARD.encode(&image.bytes)
        );
    }

    /// An open line through the points.
    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|&(x, y)| format!("{},{}", round(x), round(y))).collect();
        let _ = write!(self.body, "<polyline points=\"{}\" style=\"fill:none;{style}\"/>", points.join(" "));
    }

    /// A closed area.
    pub(crate) fn polygon(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|&(x, y)| format!("{},{}", round(x), round(y))).collect();
        let _ = write!(self.body, "<polygon points=\"{}\" style=\"{style}\"/>", points.join(" "));
    }

    /// A shape of the path language at each of the points; it starts with a relative move.
    pub(crate) fn shapes(&mut self, points: impl IntoIterator<Item = (f64, f64)>, shape: &str, style: &str) {
        self.body.push_str("<path d=\"");
        for (x, y) in points {
            let _ = write!(self.body, "M{} {}{shape}", round(x), round(y));
        }
        let _ = write!(self.body, "\" style=\"{style}\"/>");
    }

    /// Text whose baseline starts, centres or ends at `at`.
    pub(crate) fn text(&mut self, at: (f64, f64), anchor: Anchor, style: &str, text: &str) {
        let (x, y) = (round(at.0), round(at.1));
        self.raw_text(&format!("x=\"{x}\" y=\"{y}\""), anchor, style, text);
    }

    /// Text that reads upwards, centred at `at`.
    pub(crate) fn vertical_text(&mut self, at: (f64, f64), style: &str, text: &str) {
        let place = format!("transform=\"translate({} {}) rotate(-90)\"", round(at.0), round(at.1));
        self.raw_text(&place, Anchor::Middle, style, text);
    }

    fn raw_text(&mut self, place: &str, anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            "<text {place} style=\"fill:currentColor;text-anchor:{anchor};{style}\">{}</text>",
            escape(text)
        );
    }

    /// The drawing's heading, upper left.
    pub(crate) fn heading(&mut self) {
        let title = self.title.clone();
        self.text((0.0, 14.0), Anchor::Start, "font-size:14px;font-weight:600", &title);
    }

    pub(crate) fn finish(self) -> String {
        let (width, height) = (round(self.width), round(self.height));
        format!(
            "<svg{NAMESPACE} viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
             style=\"font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:12px;\
             max-width:100%;height:auto\"><title>{}</title>{}</svg>",
            escape(&self.title),
            self.body
        )
    }
}

/// Two decimals, so that a drawing is small and the same everywhere; what is not finite is drawn at the origin.
fn round(value: f64) -> f64 {
    if value.is_finite() { (value * 100.0).round() / 100.0 + 0.0 } else { 0.0 }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Other control characters may not stand in XML at all.
            control if control.is_control() && !matches!(control, '\n' | '\t') => {}
            other => escaped.push(other),
        }
    }
    escaped
}

/// Shortens a name to what fits in about `width` pixels of 12 px text.
pub(crate) fn fit(name: &str, width: f64) -> String {
    let letters = (width / 6.6).floor().max(1.0) as usize;
    if name.chars().count() <= letters {
        return name.into();
    }
    name.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_numbers_are_short() {
        let mut svg = Svg::new("a < b", 10.0, 10.0);
        svg.text((1.0 / 3.0, f64::NAN), Anchor::End, "", "<script>\u{1}");
        let text = svg.finish();
        assert!(text.contains("<title>a &lt; b</title>") && text.contains("&lt;script&gt;</text>"), "{text}");
        assert!(text.contains("x=\"0.33\" y=\"0\""), "{text}");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(fit("short", 60.0), "short");
        assert_eq!(fit("a very long class name", 66.0), "a very lo…");
    }
}
