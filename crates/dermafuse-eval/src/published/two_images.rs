use std::fmt;

/// A published table of methods that fuse a clinical photo and a dermoscopic image, on Derm7pt's published split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedAblation {
    /// What to call the source in a heading.
    pub source: &'static str,
    /// What the numbers are.
    pub metric: &'static str,
    /// The rows.
    pub rows: &'static [AblationRow],
}

/// One method, in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AblationRow {
    /// Name of the method, such as `AFF-AAB MN+ST`: structure, fusion block, clinical and dermoscopic backbone.
    pub name: &'static str,
    /// AUC, mean over the findings; `None` where it is not printed.
    pub auc: Option<f64>,
    /// Mean accuracy over the eight tasks.
    pub accuracy: f64,
    /// Standard deviations over runs of AUC and accuracy, where they are printed.
    pub deviations: Option<(f64, f64)>,
    /// Parameters in millions, as printed; they count the backbones' unused ImageNet classifiers.
    pub parameters: Option<f64>,
}

/// AMMFM: frameworks and fusion blocks. MN is MobileNetV3-Small, ST SwinV2-T, RN50 ResNet-50, CXT ConvNeXt-T.
pub const AMMFM: PublishedAblation = PublishedAblation {
    source: "Tang et al., AMMFM, thesis Tables 5.6 to 5.10",
    metric: "AUC as in the thesis (RN50 and CXT: as in the paper), mean accuracy, per cent",
    rows: &[
        row("Derm ST", Some(86.8), 76.2, 28.82),
        row("Clin ST", Some(77.7), 68.7, 28.82),
        row("Derm MN", Some(83.5), 72.6, 2.91),
        row("Clin MN", Some(75.8), 67.6, 2.91),
        row("SFF-CAT ST+ST", Some(87.3), 76.6, 58.49),
        row("SFF-CAT MN+MN", Some(84.9), 73.4, 6.48),
        row("AFF-CAT MN+ST", Some(87.3), 76.5, 32.48),
        row("AFF-AAB MN+ST", Some(87.6), 76.7, 33.06),
        row("AFF-AAB ST+MN", Some(85.0), 73.8, 32.62),
        row("SFF-BAB ST+ST", Some(87.4), 76.5, 60.45),
        row("SFF-AAB ST+ST", Some(87.7), 77.1, 59.09),
        row("AFF-BAB MN+ST", Some(87.6), 76.6, 33.88),
        row("Derm RN50", Some(84.0), 74.0, 26.68),
        row("Clin RN50", Some(76.6), 67.5, 26.68),
        row("SFF-CAT RN50+RN50", Some(85.4), 74.6, 55.52),
        row("AFF-AAB MN+RN50", Some(85.7), 74.9, 36.36),
        row("Derm CXT", Some(86.5), 75.9, 29.05),
        row("Clin CXT", Some(77.5), 69.0, 29.05),
        row("SFF-CAT CXT+CXT", Some(87.1), 76.5, 58.96),
        row("AFF-AAB MN+CXT", Some(87.3), 76.7, 33.29),
    ],
};

/// PEMM: parameter sharing, shared cross-attention and biased loss, on SwinV2-T.
pub const PEMM: PublishedAblation = PublishedAblation {
    source: "Tang et al., PEMM, thesis Tables 5.11 to 5.13",
    metric: "AUC, mean accuracy, per cent; five runs",
    rows: &[
        runs("Non-PS", 87.0, 76.5, (0.3, 0.6), Some(58.49)),
        runs("PS", 86.9, 76.4, (0.4, 0.4), Some(30.14)),
        runs("PS+CA", 86.9, 75.9, (0.4, 0.4), Some(32.10)),
        runs("PS+SCA", 87.2, 76.6, (0.1, 0.3), Some(31.12)),
        runs("PS+SCA+BL", 87.3, 76.8, (0.3, 0.7), Some(31.12)),
        runs("PS+shared classifiers", 86.8, 76.4, (0.5, 0.5), Some(30.65)),
    ],
};

/// PEMM's weight `W` of the clinical loss; the row `EQ` weighs all three losses alike.
pub const PEMM_LOSS_WEIGHTS: PublishedAblation = PublishedAblation {
    source: "Tang et al., PEMM, thesis ch. 5.4",
    metric: "AUC, mean accuracy, per cent",
    rows: &[
        plain("W=0", 87.4, 76.6),
        plain("W=0.1", 87.3, 76.84),
        plain("W=0.2", 87.3, 76.78),
        plain("W=0.3", 87.2, 76.3),
        plain("W=0.4", 86.7, 76.1),
        plain("W=0.5", 84.6, 73.9),
        plain("EQ", 87.2, 76.6),
    ],
};

/// AMFAM: what reconstruction, attention (with and without `E`, the exponential) and the adversary (AD) add to concatenation, on
/// ResNet-50. [`AMFAM`](super::AMFAM) has the accuracy of each task for the rows for which it is printed.
pub const AMFAM_ABLATION: PublishedAblation = PublishedAblation {
    source: "Wang et al., AMFAM, Medical Image Analysis 2022, Table 2",
    metric: "mean accuracy, per cent",
    rows: &[
        accuracy("Clin", 67.4),
        accuracy("Derm", 72.4),
        accuracy("Concat", 74.3),
        accuracy("+Recon", 74.8),
        accuracy("+Recon+Att (no E)", 74.4),
        accuracy("+Recon+Att", 75.3),
        accuracy("+AD", 75.1),
        accuracy("AMFAM", 76.0),
    ],
};

impl PublishedAblation {
    /// The row of that name.
    ///
    /// ```
    /// use dermafuse_eval::published::AMMFM;
    ///
    /// assert_eq!(AMMFM.row("AFF-AAB MN+ST").unwrap().to_string(), "AUC 87.6, accuracy 76.7");
    /// ```
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&AblationRow> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl fmt::Display for AblationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deviation = |value: f64| format!(" ± {value:.1}");
        if let Some(auc) = self.auc {
            write!(f, "AUC {auc:.1}{}, ", self.deviations.map_or_else(String::new, |(auc, _)| deviation(auc)))?;
        }
        let of_accuracy = self.deviations.map_or_else(String::new, |(_, accuracy)| deviation(accuracy));
        write!(f, "accuracy {:.1}{of_accuracy}", self.accuracy)
    }
}

const fn row(name: &'static str, auc: Option<f64>, accuracy: f64, parameters: f64) -> AblationRow {
    AblationRow { name, auc, accuracy, deviations: None, parameters: Some(parameters) }
}

const fn runs(
    name: &'static str,
    auc: f64,
    accuracy: f64,
    deviations: (f64, f64),
    parameters: Option<f64>,
) -> AblationRow {
    AblationRow { name, auc: Some(auc), accuracy, deviations: Some(deviations), parameters }
}

const fn plain(name: &'static str, auc: f64, accuracy: f64) -> AblationRow {
    AblationRow { name, auc: Some(auc), accuracy, deviations: None, parameters: None }
}

const fn accuracy(name: &'static str, accuracy: f64) -> AblationRow {
    AblationRow { name, auc: None, accuracy, deviations: None, parameters: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::AMFAM;

    #[test]
    fn names_are_unique_and_numbers_are_per_cent() {
        for table in [AMMFM, PEMM, PEMM_LOSS_WEIGHTS, AMFAM_ABLATION] {
            for (index, row) in table.rows.iter().enumerate() {
                assert!(table.rows[..index].iter().all(|other| other.name != row.name), "{}", row.name);
                assert!(row.accuracy > 50.0 && row.accuracy < 100.0);
            }
        }
        assert_eq!(PEMM.row("PS+SCA").unwrap().to_string(), "AUC 87.2 ± 0.1, accuracy 76.6 ± 0.3");
        assert_eq!(AMFAM_ABLATION.row("+Recon").unwrap().to_string(), "accuracy 74.8");
        for row in AMFAM.rows {
            assert_eq!(AMFAM_ABLATION.row(row.name).unwrap().accuracy, row.average);
        }
    }
}
