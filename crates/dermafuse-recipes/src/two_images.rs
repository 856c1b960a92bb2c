//! The methods that fuse a clinical photo with a dermoscopic image by attention between maps, row by row of their papers'
//! ablations.
//!
//! Paper: Tang et al., AMMFM (thesis §5.3, Tables 5.2–5.10) and PEMM (§5.4, Tables 5.11–5.14). Source: the text. Differences:
//! learning rate and epochs of AMMFM are not printed and taken from FusionM4Net.

use dermafuse_backbones::BackboneKind;
use dermafuse_data::{EncoderConfig, MetadataRoles};
use dermafuse_ensemble::WeightSearch;
use dermafuse_fusion::MapFusionKind;
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{
    AsymmetricFusionConfig, BranchWeights, HeadKind, ImageClassifierConfig, ImageView, NetworkConfig,
    SingleSharedNetworkConfig,
};
use dermafuse_train::{Incomplete, TrainingConfig};
use serde::{Deserialize, Serialize};

use crate::{Answer, NetworkRecipe, OneStage, Selection};

/// A row of an ablation: a network under the name that its table has for it.
///
/// Backbones are abbreviated as in the tables: MN is MobileNetV3-Small, ST SwinV2-T, RN50 ResNet-50, CXT ConvNeXt-T, DN201
/// DenseNet-201; others have their own name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoImageMethod {
    /// Such as `AFF-AAB MN+ST` or `PS+SCA+BL`.
    pub name: String,
    /// The network.
    pub network: NetworkConfig,
}

/// The rows of AMMFM's ablation for a small and a big backbone: single images, symmetric and asymmetric frameworks, with
/// concatenation, bidirectional and asymmetric attention. The published pair is MobileNetV3-Small and SwinV2-T; the method itself
/// is the row `AFF-AAB`, small backbone first, the last. With one backbone twice, rows that are then the same stand once.
///
/// ```
/// use dermafuse_backbones::BackboneKind::{MobileNetV3Small, SwinV2Tiny};
/// use dermafuse_recipes::ammfm_methods;
///
/// let rows = ammfm_methods(MobileNetV3Small, SwinV2Tiny, &[5, 3]);
/// assert_eq!(rows.last().unwrap().name, "AFF-AAB MN+ST");
/// ```
#[must_use]
pub fn ammfm_methods(small: BackboneKind, big: BackboneKind, classes: &[usize]) -> Vec<TwoImageMethod> {
    let aab = Some(MapFusionKind::AsymmetricAttention(Default::default()));
    let bab = Some(MapFusionKind::BidirectionalAttention(Default::default()));
    let pair = |framework: &str, block: &str, clinical: BackboneKind, dermoscopic: BackboneKind, fusion| {
        let name = format!("{framework}-{block} {}+{}", abbreviation(clinical), abbreviation(dermoscopic));
        let network = AsymmetricFusionConfig::new(clinical, dermoscopic, fusion, classes.to_vec());
        TwoImageMethod { name, network: NetworkConfig::AsymmetricFusion(network) }
    };
    let mut rows = vec![
        single(ImageView::Clinical, small, classes),
        single(ImageView::Dermoscopic, small, classes),
        single(ImageView::Clinical, big, classes),
        single(ImageView::Dermoscopic, big, classes),
        pair("SFF", "CAT", small, small, None),
        pair("SFF", "CAT", big, big, None),
        pair("SFF", "BAB", big, big, bab.clone()),
        pair("SFF", "AAB", big, big, aab.clone()),
        pair("AFF", "CAT", small, big, None),
        pair("AFF", "BAB", small, big, bab),
        pair("AFF", "AAB", big, small, aab.clone()),
        pair("AFF", "AAB", small, big, aab),
    ];
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let mut place = 0..;
    rows.retain(|row| names.iter().rposition(|name| *name == row.name) == place.next());
    rows
}

/// The rows of PEMM's ablation for a backbone: two networks, one shared network, with cross-attention of its own for each image or
/// shared, with the biased loss, and with shared classifiers. The method itself is `PS+SCA+BL`, the last.
#[must_use]
pub fn pemm_methods(backbone: BackboneKind, classes: &[usize]) -> Vec<TwoImageMethod> {
    let ca = Some(MapFusionKind::CrossAttention(Default::default()));
    let sca = Some(MapFusionKind::SharedCrossAttention(Default::default()));
    let equal = BranchWeights::MEAN;
    let shared = |name: &str, fusion, shared_head, loss_weights| {
        let config = SingleSharedNetworkConfig::new(backbone, fusion, classes.to_vec());
        let config = SingleSharedNetworkConfig { shared_head, loss_weights, ..config };
        TwoImageMethod { name: name.to_owned(), network: NetworkConfig::SingleSharedNetwork(config) }
    };
    let two = AsymmetricFusionConfig::new(backbone, backbone, None, classes.to_vec());
    let two = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig { loss_weights: equal, ..two });
    vec![
        TwoImageMethod { name: "Non-PS".into(), network: two },
        shared("PS", None, false, equal),
        shared("PS+CA", ca, false, equal),
        shared("PS+shared classifiers", sca.clone(), true, equal),
        shared("PS+SCA", sca.clone(), false, equal),
        shared("PS+SCA+BL", sca, false, BranchWeights::biased(0.1)),
    ]
}

/// PEMM with several weights `W` of the clinical loss, and with all losses alike: the rows `W=0` to `W=0.5` and `EQ`.
#[must_use]
pub fn pemm_loss_weights(backbone: BackboneKind, classes: &[usize]) -> Vec<TwoImageMethod> {
    let sca = Some(MapFusionKind::SharedCrossAttention(Default::default()));
    let row = |name: String, loss_weights| {
        let config = SingleSharedNetworkConfig::new(backbone, sca.clone(), classes.to_vec());
        let config = SingleSharedNetworkConfig { loss_weights, ..config };
        TwoImageMethod { name, network: NetworkConfig::SingleSharedNetwork(config) }
    };
    let swept = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5].map(|w| (format!("W={w}"), BranchWeights::biased(w)));
    swept.into_iter().chain([("EQ".into(), BranchWeights::MEAN)]).map(|(name, weights)| row(name, weights)).collect()
}

impl TwoImageMethod {
    /// The published recipe at an image size. Of AMMFM and PEMM (224 pixels): Adam, batches of 24, cosine over 250 epochs, the mean
    /// of the last 50 epochs' weights, six views, branch weights searched on the validation cases. Of AMFAM: [`OneStage::amfam`].
    #[must_use]
    pub fn recipe(&self, image_size: usize, seed: u64) -> OneStage {
        if let NetworkConfig::Amfam(network) = &self.network {
            return OneStage::amfam(network.clone(), image_size, seed);
        }
        OneStage {
            network: NetworkRecipe {
                network: self.network.clone(),
                backbone_weights: None,
                training: TrainingConfig::two_images(image_size, seed),
                selection: Selection::Accuracy,
                augmentation: TestTimeAugmentation::Six,
                incomplete: Incomplete::default(),
            },
            metadata: EncoderConfig::from(MetadataRoles::PreDiagnosis),
            answer: Answer::Search(WeightSearch::default()),
        }
    }
}

fn single(view: ImageView, backbone: BackboneKind, classes: &[usize]) -> TwoImageMethod {
    let image = match view {
        ImageView::Clinical => "Clin",
        ImageView::Dermoscopic => "Derm",
    };
    let network =
        ImageClassifierConfig { head: HeadKind::MLP, ..ImageClassifierConfig::new(backbone, view, classes.to_vec()) };
    let name = format!("{image} {}", abbreviation(backbone));
    TwoImageMethod { name, network: NetworkConfig::ImageClassifier(network) }
}

fn abbreviation(backbone: BackboneKind) -> &'static str {
    match backbone {
        BackboneKind::MobileNetV3Small => "MN",
        BackboneKind::SwinV2Tiny => "ST",
        BackboneKind::ResNet50 => "RN50",
        BackboneKind::ConvNeXtTiny => "CXT",
        BackboneKind::DenseNet201 => "DN201",
        other => other.name(),
    }
}
