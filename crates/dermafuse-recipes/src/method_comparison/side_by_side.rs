use std::path::Path;

use dermafuse_eval::{Report, ReportTable};

use super::ComparisonOutcome;
use super::outcome::{MEASURES, cell};
use crate::RecipeError;

/// One comparison under several protocols, such as folds that patients may cross and folds that they do not.
#[derive(Clone, Debug)]
pub struct SideBySide<'a> {
    /// What the report calls it.
    pub title: &'a str,
    /// The comparisons by the names of their protocols: the same methods, in the same order.
    pub comparisons: &'a [(String, ComparisonOutcome)],
}

impl SideBySide<'_> {
    /// A table for each measure: a row for each method, a column for each protocol, by name, and behind two protocols by how much the
    /// second is above the first.
    #[must_use]
    pub fn tables(&self) -> Vec<ReportTable> {
        let Some((first_name, first)) = self.comparisons.first() else { return Vec::new() };
        let is_pair = self.comparisons.len() == 2;
        let tables = MEASURES.iter().map(|(title, values, score)| {
            let names = self.comparisons.iter().map(|(name, _)| name.clone());
            let printed = (0..first.rows.len()).map(|row| first.printed(row, *score)).collect::<Vec<_>>();
            let is_printed = printed.iter().any(Option::is_some);
            let head = ["method".to_owned()].into_iter().chain(is_printed.then(|| "published".to_owned())).chain(names);
            let mut caption = "Mean and deviation over the rounds of each protocol.".to_owned();
            if let [_, (second, _)] = self.comparisons {
                caption += &format!(" Difference: {second} less {first_name}.");
            }
            if let Some(source) = first.printed_sources().filter(|_| is_printed) {
                caption += &format!(" Published: {source}.");
            }
            let head = head.chain(is_pair.then(|| "difference".to_owned()));
            let mut table = ReportTable::new(*title, head, caption);
            for ((at, row), printed) in first.rows.iter().enumerate().zip(printed) {
                let same = |outcome: &ComparisonOutcome| {
                    let found = outcome.rows.get(at).filter(|other| other.label() == row.label());
                    found.map(|found| values(found).to_vec()).unwrap_or_default()
                };
                let all: Vec<Vec<f64>> = self.comparisons.iter().map(|(_, outcome)| same(outcome)).collect();
                let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
                let difference = is_pair.then(|| format!("{:+.1}", mean(&all[1]) - mean(&all[0])));
                let printed = is_printed.then(|| printed.unwrap_or_else(|| "–".to_owned()));
                let cells = all.iter().map(|values| cell(values));
                table.push([row.label()].into_iter().chain(printed).chain(cells).chain(difference));
            }
            table
        });
        tables.collect()
    }

    /// Writes `report.html`, which says what each protocol is.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), RecipeError> {
        let synthetic = self.comparisons.iter().any(|(_, outcome)| outcome.is_synthetic());
        let mut report = Report::new(self.title).synthetic(synthetic);
        for (name, outcome) in self.comparisons {
            report =
                report.note(format!("{name}: {}", outcome.parts().unwrap_or("the parts are those of its report.")));
        }
        for table in self.tables() {
            report = report.table(table);
        }
        Ok(report.write(folder.join("report.html"))?)
    }
}
