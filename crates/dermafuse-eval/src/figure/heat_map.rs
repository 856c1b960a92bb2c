use crate::ConfusionMatrix;

use super::svg::{Anchor, Svg, fit};

const CELL: (f64, f64) = (62.0, 46.0);
const LEFT: f64 = 92.0;
const TOP: f64 = 58.0;

/// A confusion matrix: counts and the per cent of each row, rows are the truth.
///
/// `classes` are the names of the rows; missing ones are numbered.
#[must_use]
pub fn confusion_heat_map(title: &str, classes: &[String], matrix: &ConfusionMatrix) -> String {
    let k = matrix.classes();
    let (width, height) = (LEFT + CELL.0 * k as f64 + 2.0, TOP + CELL.1 * k as f64 + 4.0);
    let mut svg = Svg::new(title, width, height);
    svg.heading();
    let fractions = matrix.row_normalized();
    let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
    svg.text((LEFT + CELL.0 * k as f64 / 2.0, 34.0), Anchor::Middle, "font-size:11px;fill-opacity:.7", "predicted");
    svg.vertical_text((10.0, TOP + CELL.1 * k as f64 / 2.0), "font-size:11px;fill-opacity:.7", "true");
    for row in 0..k {
        let middle = TOP + CELL.1 * (row as f64 + 0.5);
        svg.text((LEFT - 8.0, middle - 1.0), Anchor::End, "font-weight:500", &fit(&name(row), LEFT - 28.0));
        let support = format!("n = {}", matrix.support(row));
        svg.text((LEFT - 8.0, middle + 13.0), Anchor::End, "font-size:10px;fill-opacity:.65", &support);
        let left = LEFT + CELL.0 * row as f64;
        svg.text((left + CELL.0 / 2.0, TOP - 8.0), Anchor::Middle, "font-weight:500", &fit(&name(row), CELL.0));
        for column in 0..k {
            let (left, fraction) = (LEFT + CELL.0 * column as f64, fractions[[row, column]]);
            let fill = format!("fill:var(--heat,#00558a);fill-opacity:{:.3}", 0.04 + 0.96 * fraction);
            svg.rect((left + 1.0, middle - CELL.1 / 2.0 + 1.0), (CELL.0 - 2.0, CELL.1 - 2.0), &fill);
            let ink = if fraction > 0.7 { "fill:var(--on-heat,#fff);" } else { "" };
            let center = left + CELL.0 / 2.0;
            let count = matrix.counts()[[row, column]].to_string();
            svg.text((center, middle - 1.0), Anchor::Middle, &format!("{ink}font-size:13px;font-weight:600"), &count);
            let percent = if matrix.support(row) == 0 { "–".into() } else { format!("{:.0} %", 100.0 * fraction) };
            let small = format!("{ink}font-size:10.5px;fill-opacity:.95");
            svg.text((center, middle + 13.0), Anchor::Middle, &small, &percent);
        }
    }
    svg.finish()
}
