//! Figures as SVG text: complete documents that also stand inside a page.
//!
//! Lines and text take the colour of the surrounding text, series the Okabe-Ito palette (safe for colour-blind
//! readers). A page may set the custom properties `--series-1` to `--series-7`, `--heat` and `--on-heat` for a dark
//! background, as [`Report`](crate::Report) does.

mod axes;
mod contribution_chart;
mod critical_difference;
mod heat_map;
mod image_sheet;
mod learning_curve_chart;
mod line_chart;
mod overlay;
mod reliability;
mod roc;
mod scatter;
mod score_chart;
mod svg;
mod ternary;

pub use contribution_chart::contribution_chart;
pub use critical_difference::critical_difference_diagram;
pub use heat_map::confusion_heat_map;
pub use image_sheet::image_sheet;
pub use learning_curve_chart::{CurveLine, learning_curve_chart};
pub use line_chart::{Series, line_chart};
pub use overlay::heat_overlay;
pub use reliability::reliability_plot;
pub use roc::roc_plot;
pub use scatter::{ScatterPoint, scatter_plot};
pub use score_chart::{Score, score_chart};
pub(crate) use svg::NAMESPACE;
pub use ternary::{TernaryPoint, ternary_heat_map};
