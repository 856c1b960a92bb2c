//! Numbers printed in the literature, to stand beside ours where data set and split are the same.

mod fine_tuning;
mod joint_fusion;
mod two_images;

pub use fine_tuning::{NEDELCU, NEDELCU_CLASSES, PublishedStrategy};
pub use joint_fusion::{
    FusionStructure, JOINT_FUSION_ISIC_2019, JOINT_FUSION_PAD, JOINT_FUSION_SPC, PublishedScore, PublishedScores,
    joint_fusion, printed_fusion,
};
pub use two_images::{AMFAM_ABLATION, AMMFM, AblationRow, PEMM, PEMM_LOSS_WEIGHTS, PublishedAblation};

/// A published table of accuracies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedTable {
    /// What to call the source in a heading.
    pub source: &'static str,
    /// The data set and split that the numbers are of.
    pub data_set: &'static str,
    /// Short headings of the tasks, in the order of the numbers.
    pub tasks: &'static [&'static str],
    /// The rows.
    pub rows: &'static [PublishedRow],
}

/// One row of a published table, in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedRow {
    /// Name of the row, such as `P_clinical`.
    pub name: &'static str,
    /// Accuracy of each task.
    pub accuracy: &'static [f64],
    /// Printed mean over the tasks.
    pub average: f64,
    /// Printed standard deviation of the mean over runs.
    pub deviation: Option<f64>,
}

impl PublishedTable {
    /// The row of that name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&PublishedRow> {
        self.rows.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// The accuracy of a row in the task of that heading, in per cent.
    #[must_use]
    pub fn accuracy(&self, row: &str, task: &str) -> Option<f64> {
        let column = self.tasks.iter().position(|label| label.eq_ignore_ascii_case(task))?;
        self.row(row)?.accuracy.get(column).copied()
    }
}

/// Test accuracies of FusionM4Net on Derm7pt (395 cases), thesis Tables 6.4 to 6.7 and 6.9: mean of five runs, but
/// FS and SS, which are single runs.
pub const FUSIONM4NET: PublishedTable = PublishedTable {
    source: "FusionM4Net",
    data_set: "Derm7pt, published split, 395 test cases",
    tasks: &["BWV", "DaG", "PIG", "PN", "RS", "STR", "VS", "DIAG"],
    rows: &[
        row("P_clinical", &[84.8, 53.3, 56.9, 57.8, 73.8, 67.7, 78.8, 68.2], 67.7, Some(0.3)),
        row("P_dermoscopic", &[87.6, 59.4, 70.8, 66.6, 80.9, 74.0, 81.1, 74.6], 74.4, Some(0.4)),
        row("P_fusion", &[87.0, 60.4, 70.2, 67.0, 80.5, 74.0, 81.8, 75.7], 74.6, Some(0.5)),
        row("P_1 averaged", &[87.5, 60.3, 69.5, 66.8, 81.0, 74.2, 81.7, 75.4], 74.6, Some(0.4)),
        row("P_1", &[87.9, 60.2, 71.5, 67.6, 81.9, 73.8, 82.1, 75.6], 75.1, Some(0.4)),
        row("P_2", &[86.7, 65.4, 65.7, 70.4, 79.0, 75.8, 79.2, 75.4], 74.7, Some(0.2)),
        row("P_3 averaged", &[88.2, 66.3, 69.5, 70.2, 80.9, 76.7, 80.3, 75.9], 76.0, Some(0.3)),
        row("P_3", &[88.5, 64.4, 71.3, 69.2, 81.4, 76.1, 81.6, 77.6], 76.3, Some(0.7)),
        row("FusionM4Net-FS", &[86.8, 61.0, 72.4, 70.9, 83.0, 74.4, 81.8, 74.9], 75.7, None),
        row("FusionM4Net-SS", &[88.1, 66.1, 70.1, 71.1, 81.5, 78.0, 81.8, 78.5], 77.0, None),
    ],
};

/// Test accuracies of AMFAM on Derm7pt (395 cases), Wang et al., MedIA 2022, Table 2: the rows that are printed for each task.
pub const AMFAM: PublishedTable = PublishedTable {
    source: "AMFAM",
    data_set: "Derm7pt, published split, 395 test cases",
    tasks: &["BWV", "DaG", "PIG", "PN", "RS", "STR", "VS", "DIAG"],
    rows: &[
        row("Clin", &[83.0, 53.7, 64.1, 55.2, 72.4, 66.3, 80.0, 64.8], 67.4, None),
        row("Derm", &[87.1, 60.0, 66.6, 66.1, 78.5, 71.1, 80.5, 69.4], 72.4, None),
        row("Concat", &[88.6, 62.0, 67.1, 70.1, 79.7, 74.7, 82.0, 70.1], 74.3, None),
        row("AMFAM", &[88.1, 63.8, 70.9, 70.6, 80.8, 74.7, 83.3, 75.4], 76.0, None),
    ],
};

const fn row(name: &'static str, accuracy: &'static [f64], average: f64, deviation: Option<f64>) -> PublishedRow {
    PublishedRow { name, accuracy, average, deviation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_averages_are_those_of_the_printed_rows() {
        for row in FUSIONM4NET.rows.iter().chain(AMFAM.rows) {
            assert_eq!(row.accuracy.len(), FUSIONM4NET.tasks.len());
            let mean = row.accuracy.iter().sum::<f64>() / row.accuracy.len() as f64;
            assert!((mean - row.average).abs() < 0.16, "{}: {mean} and {}", row.name, row.average);
        }
        assert_eq!(FUSIONM4NET.accuracy("p_clinical", "bwv"), Some(84.8));
        assert_eq!(FUSIONM4NET.accuracy("P_3", "DIAG"), Some(77.6));
        assert_eq!(FUSIONM4NET.accuracy("P_9", "DIAG"), None);
    }
}
