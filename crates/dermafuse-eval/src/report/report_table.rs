use std::fmt;

use maud::{Markup, html};

use crate::comparison::write_table;

/// A table of text for the report, and for the terminal: the first column names the rows.
///
/// ```
/// use dermafuse_eval::ReportTable;
///
/// let mut table = ReportTable::new("Sizes", ["method", "parameters"], "Of what predicts.");
/// table.push(["AFF-AAB".to_owned(), "30.7 M".to_owned()]);
/// assert_eq!(table.to_string(), "method   parameters\nAFF-AAB      30.7 M\n\nOf what predicts.\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTable {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    caption: String,
}

impl ReportTable {
    /// A table without rows; the caption says what the columns are.
    #[must_use]
    pub fn new<H: Into<String>>(
        title: impl Into<String>,
        head: impl IntoIterator<Item = H>,
        caption: impl Into<String>,
    ) -> Self {
        let head = head.into_iter().map(Into::into).collect();
        Self { title: title.into(), head, rows: Vec::new(), caption: caption.into() }
    }

    /// Its heading.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Adds a row. Cells beyond the head are left out, and missing ones are empty.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    pub(super) fn render(&self) -> Markup {
        html! {
            h3 { (self.title) }
            div.scroll { table.numbers {
                thead { tr { @for cell in &self.head { th { (cell) } } } }
                tbody { @for row in &self.rows {
                    tr { @for (column, cell) in row.iter().enumerate() {
                        @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                    } }
                } }
            } }
            p.caption { (self.caption) }
        }
    }
}

impl fmt::Display for ReportTable {
    /// Columns and the caption, without the heading.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(formatter, &self.head, &self.rows)?;
        writeln!(formatter, "\n{}", self.caption)
    }
}
