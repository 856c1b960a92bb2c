use std::fmt;

use FusionStructure::{Image, Jf, JifAll, JifOfb};
use serde::{Deserialize, Serialize};

/// Published scores of joint and joint individual fusion on one data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedScores {
    /// What to call the source in a heading.
    pub source: &'static str,
    /// Short name of the data set: `PAD`, `SPC` or `ISIC-2019`.
    pub data_set: &'static str,
    /// The cases and how they were divided.
    pub division: &'static str,
    /// What the scores are.
    pub metric: &'static str,
    /// The rows.
    pub rows: &'static [PublishedScore],
    /// Printed p-value of Friedman's test of the 8 methods Image, JF and JIF-MMFA on 25 blocks (5 backbones times 5
    /// folds or repetitions).
    pub friedman_p: f64,
}

/// One published score, in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedScore {
    /// How image and metadata are joined, and what is predicted from.
    pub structure: FusionStructure,
    /// The fusion module, by its name in `FusionKind`; `None` for images alone.
    pub fusion: Option<&'static str>,
    /// The backbone, by its name in `BackboneKind`; `None` for the average over all five.
    pub backbone: Option<&'static str>,
    /// Mean over folds or repetitions.
    pub mean: f64,
    /// Standard deviation over folds or repetitions; averaged over backbones in the average rows.
    pub deviation: Option<f64>,
}

/// How image and metadata are joined, and what is predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionStructure {
    /// The image alone.
    Image,
    /// JF: joint fusion, one classifier on the fused features.
    Jf,
    /// JIF(OFB): joint individual fusion, only the fusion branch predicts.
    JifOfb,
    /// JIF(All): joint individual fusion, the mean of all three branches.
    JifAll,
}

/// PAD-UFES-20.
pub const JOINT_FUSION_PAD: PublishedScores = PublishedScores {
    source: SOURCE,
    data_set: "PAD",
    division: "PAD-UFES-20, 5-fold cross-validation",
    metric: METRIC,
    friedman_p: 1.99e-24,
    rows: &[
        average(Image, None, 67.0, 2.3),
        average(Jf, CAT, 74.2, 2.0),
        average(Jf, MB, 71.2, 2.6),
        average(Jf, MN, 67.8, 2.8),
        average(Jf, MA, 74.5, 2.4),
        average(Jf, MMFA, 74.9, 2.3),
        mean(JifOfb, CAT, 74.4),
        mean(JifOfb, MB, 71.2),
        mean(JifOfb, MN, 67.3),
        mean(JifOfb, MA, 75.4),
        average(JifOfb, MMFA, 76.7, 2.2),
        mean(JifAll, CAT, 75.1),
        mean(JifAll, MB, 73.5),
        mean(JifAll, MN, 70.4),
        mean(JifAll, MA, 76.3),
        average(JifAll, MMFA, 77.2, 2.0),
        of_backbone("densenet121", 77.7),
        of_backbone("mobilenet_v2", 75.6),
        of_backbone("resnet50", 76.4),
        of_backbone("efficientnet_b3", 79.8),
        of_backbone("legacy_xception", 76.3),
    ],
};

/// SPC (Derm7pt), diagnosis of five classes.
pub const JOINT_FUSION_SPC: PublishedScores = PublishedScores {
    source: SOURCE,
    data_set: "SPC",
    division: "Derm7pt, diagnosis, published split, 5 repetitions",
    metric: METRIC,
    friedman_p: 8.71e-23,
    rows: &[
        average(Image, None, 55.4, 3.8),
        average(Jf, CAT, 68.1, 5.9),
        average(Jf, MB, 68.0, 1.7),
        average(Jf, MN, 57.1, 3.4),
        average(Jf, MA, 68.9, 3.1),
        average(Jf, MMFA, 69.6, 3.2),
        mean(JifOfb, CAT, 67.7),
        mean(JifOfb, MB, 68.9),
        mean(JifOfb, MN, 56.9),
        mean(JifOfb, MA, 71.1),
        average(JifOfb, MMFA, 71.0, 3.1),
        mean(JifAll, CAT, 69.0),
        mean(JifAll, MB, 71.5),
        mean(JifAll, MN, 63.9),
        mean(JifAll, MA, 72.1),
        average(JifAll, MMFA, 72.4, 3.0),
        of_backbone("densenet121", 73.1),
        of_backbone("mobilenet_v2", 73.1),
        of_backbone("resnet50", 70.4),
        of_backbone("efficientnet_b3", 74.0),
        of_backbone("legacy_xception", 71.5),
    ],
};

/// ISIC 2019.
pub const JOINT_FUSION_ISIC_2019: PublishedScores = PublishedScores {
    source: SOURCE,
    data_set: "ISIC-2019",
    division: "ISIC 2019, 5-fold cross-validation",
    metric: METRIC,
    friedman_p: 1.06e-12,
    rows: &[
        average(Image, None, 80.4, 1.5),
        average(Jf, CAT, 81.8, 1.7),
        average(Jf, MB, 81.3, 2.3),
        average(Jf, MN, 81.7, 2.1),
        average(Jf, MA, 78.7, 7.9),
        average(Jf, MMFA, 78.9, 5.8),
        mean(JifOfb, CAT, 80.9),
        mean(JifOfb, MB, 81.0),
        mean(JifOfb, MN, 80.3),
        mean(JifOfb, MA, 83.8),
        average(JifOfb, MMFA, 83.8, 1.4),
        mean(JifAll, CAT, 80.9),
        mean(JifAll, MB, 80.9),
        mean(JifAll, MN, 80.6),
        mean(JifAll, MA, 83.8),
        average(JifAll, MMFA, 83.7, 1.3),
        of_backbone("densenet121", 84.6),
        of_backbone("mobilenet_v2", 84.8),
        of_backbone("resnet50", 83.7),
        of_backbone("efficientnet_b3", 82.5),
        of_backbone("legacy_xception", 82.7),
    ],
};

const SOURCE: &str = "Tang et al., joint individual fusion, thesis Tables 4.1 to 4.9";
const METRIC: &str = "balanced accuracy, per cent";
const CAT: Option<&str> = Some("concat");
const MB: Option<&str> = Some("meta_block");
const MN: Option<&str> = Some("meta_net");
const MA: Option<&str> = Some("mutual_attention");
const MMFA: Option<&str> = Some("mmfa");

/// The names of the fusion modules and what the tables call them.
const PRINTED: [(&str, &str); 5] =
    [("concat", "CAT"), ("meta_block", "MB"), ("meta_net", "MN"), ("mutual_attention", "MA"), ("mmfa", "MMFA")];

/// What the tables call a fusion module of `FusionKind`: `CAT` for `concat`; names that they do not have stay as they are.
#[must_use]
pub fn printed_fusion(name: &str) -> &str {
    PRINTED.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, printed)| printed)
}

/// The published scores of a data set by its short name, such as `PAD`; letters may be large or small.
#[must_use]
pub fn joint_fusion(data_set: &str) -> Option<&'static PublishedScores> {
    const ALL: [&PublishedScores; 3] = [&JOINT_FUSION_PAD, &JOINT_FUSION_SPC, &JOINT_FUSION_ISIC_2019];
    ALL.into_iter().find(|scores| scores.data_set.eq_ignore_ascii_case(data_set))
}

impl PublishedScores {
    /// The score of a structure with a fusion module (`None` for images alone) on a backbone (`None` for the average
    /// over all five), by the names of `FusionKind` and `BackboneKind`.
    ///
    /// Of single backbones only JIF-MMFA(All) is here.
    ///
    /// ```
    /// use dermafuse_eval::published::{FusionStructure, joint_fusion};
    ///
    /// let pad = joint_fusion("PAD").unwrap();
    /// assert_eq!(pad.score(FusionStructure::Jf, Some("mmfa"), None).unwrap().mean, 74.9);
    /// assert_eq!(pad.score(FusionStructure::JifAll, Some("mmfa"), Some("resnet50")).unwrap().mean, 76.4);
    /// assert_eq!(pad.named("JIF-MMFA(All)").unwrap().to_string(), "77.2 ± 2.0");
    /// ```
    #[must_use]
    pub fn score(
        &self,
        structure: FusionStructure,
        fusion: Option<&str>,
        backbone: Option<&str>,
    ) -> Option<&PublishedScore> {
        self.rows.iter().find(|row| row.structure == structure && row.fusion == fusion && row.backbone == backbone)
    }

    /// The average row that the tables call so, such as `Image`, `JF-CAT` or `JIF-MMFA(All)`; letters may be large or
    /// small.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&PublishedScore> {
        self.rows.iter().find(|row| row.backbone.is_none() && row.name().eq_ignore_ascii_case(name))
    }
}

impl PublishedScore {
    /// What the tables call it: `Image`, `JF-CAT`, `JIF-MMFA(OFB)`.
    #[must_use]
    pub fn name(&self) -> String {
        let printed = printed_fusion(self.fusion.unwrap_or_default());
        match self.structure {
            Image => "Image".into(),
            Jf => format!("JF-{printed}"),
            JifOfb => format!("JIF-{printed}(OFB)"),
            JifAll => format!("JIF-{printed}(All)"),
        }
    }
}

impl fmt::Display for PublishedScore {
    /// `74.9 ± 2.3`, without the second number where none is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.mean)?;
        self.deviation.map_or(Ok(()), |deviation| write!(f, " ± {deviation:.1}"))
    }
}

const fn average(
    structure: FusionStructure,
    fusion: Option<&'static str>,
    mean: f64,
    deviation: f64,
) -> PublishedScore {
    PublishedScore { structure, fusion, backbone: None, mean, deviation: Some(deviation) }
}

const fn mean(structure: FusionStructure, fusion: Option<&'static str>, mean: f64) -> PublishedScore {
    PublishedScore { structure, fusion, backbone: None, mean, deviation: None }
}

/// JIF-MMFA(All).
const fn of_backbone(backbone: &'static str, mean: f64) -> PublishedScore {
    PublishedScore { structure: JifAll, fusion: MMFA, backbone: Some(backbone), mean, deviation: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_averages_are_those_of_the_backbones() {
        for name in ["pad", "SPC", "ISIC-2019"] {
            let scores = joint_fusion(name).unwrap();
            let of_backbones: Vec<f64> =
                scores.rows.iter().filter(|row| row.backbone.is_some()).map(|row| row.mean).collect();
            assert_eq!(of_backbones.len(), 5);
            let average = scores.score(JifAll, MMFA, None).unwrap().mean;
            assert!((of_backbones.iter().sum::<f64>() / 5.0 - average).abs() < 0.051, "{name}");
        }
        assert_eq!(joint_fusion("HAM10000"), None);
    }

    #[test]
    fn every_structure_and_module_has_an_average() {
        for scores in [JOINT_FUSION_PAD, JOINT_FUSION_SPC, JOINT_FUSION_ISIC_2019] {
            let averages = scores.rows.iter().filter(|row| row.backbone.is_none());
            let mut names: Vec<String> = averages.map(PublishedScore::name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 16);
            for name in &names {
                assert_eq!(scores.named(name).unwrap().name(), *name);
            }
        }
    }

    #[test]
    fn rows_are_found_by_parts_and_by_name() {
        let spc = joint_fusion("SPC").unwrap();
        assert_eq!(spc.score(Image, None, None).unwrap().to_string(), "55.4 ± 3.8");
        assert_eq!(spc.named("jif-mn(all)").unwrap().to_string(), "63.9");
        assert_eq!(spc.score(JifOfb, MA, None), spc.named("JIF-MA(OFB)"));
        assert_eq!(spc.score(Jf, MMFA, Some("resnet50")), None);
        assert_eq!((spc.score(Jf, None, None), spc.named("JIF-MMFA")), (None, None));
    }
}
