use super::svg::{Anchor, Svg, fit, series_color};

/// Marks that can be told apart without colours, as relative paths about 7 pixels wide: circle, square, triangle,
/// diamond, plus, triangle on its tip, cross, bar.
const MARKS: [&str; 8] = [
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "m-2.7-2.7h5.4v5.4h-5.4z",
    "m0-3.6l3.4 6h-6.8z",
    "m0-3.9l3.2 3.9l-3.2 3.9l-3.2-3.9z",
    "m-1.2-3.6h2.4v2.4h2.4v2.4h-2.4v2.4h-2.4v-2.4h-2.4v-2.4h2.4z",
    "m0 3.6l3.4-6h-6.8z",
    "m0-1.7l1.7-1.7l1.7 1.7l-1.7 1.7l1.7 1.7l-1.7 1.7l-1.7-1.7l-1.7 1.7l-1.7-1.7l1.7-1.7l-1.7-1.7l1.7-1.7z",
    "m-1.3-3.8h2.6v7.6h-2.6z",
];

/// The mark of a case without a class.
const NO_CLASS: &str = "m-1.5 0a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0-3 0z";

const SIDE: f64 = 380.0;
const TOP: f64 = 28.0;
const COLUMNS: usize = 3;

/// One point of a scatter plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScatterPoint {
    /// Its place.
    pub at: (f64, f64),
    /// Its class; `None` if not annotated.
    pub class: Option<usize>,
}

/// Points by class, such as an [`Embedding`](crate::Embedding): colour and shape say the class, the legend how many
/// there are. Both axes have the same scale and no numbers. Points that are not finite are left out.
///
/// `classes` are the names; missing ones are numbered.
#[must_use]
pub fn scatter_plot(title: &str, classes: &[String], points: &[ScatterPoint]) -> String {
    let finite: Vec<&ScatterPoint> =
        points.iter().filter(|point| point.at.0.is_finite() && point.at.1.is_finite()).collect();
    let most = finite.iter().filter_map(|point| point.class).max().map_or(0, |class| class + 1);
    let mut entries: Vec<(Option<usize>, String)> = (0..classes.len().max(most))
        .map(|class| (Some(class), classes.get(class).cloned().unwrap_or_else(|| class.to_string())))
        .collect();
    if finite.iter().any(|point| point.class.is_none()) {
        // Drawn first, so that they hide nothing.
        entries.insert(0, (None, "unlabelled".into()));
    }
    let legend_top = TOP + SIDE + 24.0;
    let legend_rows = entries.len().div_ceil(COLUMNS);
    let mut svg = Svg::new(title, SIDE + 2.0, legend_top + 18.0 * legend_rows as f64);
    svg.heading();
    svg.rect((1.0, TOP), (SIDE, SIDE), "fill:none;stroke:currentColor;stroke-opacity:.25");
    let place = placement(&finite);
    for (index, (class, name)) in entries.iter().enumerate() {
        let (mark, style) = match class {
            Some(class) => (MARKS[class % MARKS.len()], format!("fill:{};fill-opacity:.8", series_color(*class))),
            None => (NO_CLASS, "fill:currentColor;fill-opacity:.35".into()),
        };
        let of_class: Vec<(f64, f64)> =
            finite.iter().filter(|point| point.class == *class).map(|point| place(point.at)).collect();
        let count = of_class.len();
        let width = SIDE / COLUMNS as f64;
        let left = width * (index % COLUMNS) as f64;
        let y = legend_top + 18.0 * (index / COLUMNS) as f64;
        svg.shapes(of_class.into_iter().chain([(left + 6.0, y - 4.0)]), mark, &style);
        let number = format!(" ({count})");
        let name = fit(name, width - 24.0 - 6.6 * number.chars().count() as f64);
        svg.text((left + 16.0, y), Anchor::Start, "", &format!("{name}{number}"));
    }
    svg.finish()
}

/// Where a point is drawn: the longer side of all points fills the frame.
fn placement(points: &[&ScatterPoint]) -> impl Fn((f64, f64)) -> (f64, f64) + use<> {
    let extent = |of: &dyn Fn(&ScatterPoint) -> f64| {
        points
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(of(point)), high.max(of(point))))
    };
    let (x, y) = (extent(&|point| point.at.0), extent(&|point| point.at.1));
    let span = (x.1 - x.0).max(y.1 - y.0);
    let scale = if span > 0.0 && span.is_finite() { (SIDE - 24.0) / span } else { 0.0 };
    let middle = (f64::midpoint(x.0, x.1), f64::midpoint(y.0, y.1));
    move |at| (1.0 + SIDE / 2.0 + scale * (at.0 - middle.0), TOP + SIDE / 2.0 - scale * (at.1 - middle.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64, class: Option<usize>) -> ScatterPoint {
        ScatterPoint { at: (x, y), class }
    }

    #[test]
    fn classes_have_a_colour_and_a_shape_of_their_own_and_are_counted() {
        let points = [
            point(0.0, 0.0, Some(0)),
            point(10.0, 5.0, Some(1)),
            point(2.0, 1.0, Some(1)),
            point(1.0, f64::NAN, Some(0)),
            point(3.0, 3.0, None),
            point(4.0, 3.0, Some(8)),
        ];
        let svg = scatter_plot("t-SNE <f_IM>", &["NEV".into(), "MEL".into()], &points);
        for legend in ["NEV (1)", "MEL (2)", "2 (0)", "8 (1)", "unlabelled (1)", "t-SNE &lt;f_IM&gt;"] {
            assert!(svg.contains(legend), "{legend}: {svg}");
        }
        // the points of each class and its mark in the legend
        assert_eq!(svg.matches(MARKS[1]).count(), 3);
        assert_eq!(svg.matches(MARKS[0]).count(), 2 + 2);
        assert_eq!(svg.matches("<path").count(), 10);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let mut styles: Vec<(usize, usize)> = (0..11).map(|class| (class % 7, class % MARKS.len())).collect();
        styles.dedup();
        assert_eq!(styles.len(), 11);
    }

    #[test]
    fn the_longer_side_fills_the_frame() {
        let points = [point(0.0, 0.0, None), point(10.0, 5.0, None)];
        let place = placement(&points.iter().collect::<Vec<_>>());
        assert_eq!(place((0.0, 2.5)), (13.0, TOP + SIDE / 2.0));
        assert_eq!(place((10.0, 5.0)), (SIDE - 11.0, TOP + SIDE / 2.0 - (SIDE - 24.0) / 4.0));
    }

    #[test]
    fn nothing_and_one_point_are_drawn() {
        assert!(scatter_plot("t", &["NEV".into()], &[]).contains("NEV (0)"));
        assert!(!scatter_plot("t", &[], &[point(4.0, 2.0, None)]).contains("NaN"));
    }
}
