//! What the papers' tables say, made by the constructors of the other crates: the recipes are held to it.

use dermafuse_backbones::BackboneKind;
use dermafuse_data::{DataSetKind, EncoderConfig, MetadataRoles};
use dermafuse_fusion::{FusionKind, MapFusionKind};
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{
    AmfamConfig, AmfamRow, AsymmetricFusionConfig, HeadKind, ImageClassifierConfig, JointFusionConfig,
    JointIndividualFusionConfig, LossWeights, MetadataClassifierConfig, MetadataNetworkConfig, Modality, NetworkConfig,
    SingleSharedNetworkConfig,
};
use dermafuse_recipes::{AnswerKind, Selection};
use dermafuse_train::TrainingConfig;

/// A row of a paper's table.
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) network: NetworkConfig,
    pub(crate) training: TrainingConfig,
    pub(crate) selection: Selection,
    pub(crate) metadata: EncoderConfig,
    pub(crate) views: TestTimeAugmentation,
    pub(crate) answer: AnswerKind,
}

/// The rows of the comparison of fusion modules (thesis ch. 4), and the record alone.
pub(crate) fn joint_fusion() -> Vec<Expected> {
    let (backbone, view) = (BackboneKind::ResNet50, Modality::Clinical);
    let row = |name: String, network, answer| Expected {
        name,
        network,
        training: TrainingConfig::joint_individual_fusion(224, 0),
        selection: Selection::JointBalancedAccuracy,
        metadata: DataSetKind::PadUfes20.encoding(),
        views: TestTimeAugmentation::Six,
        answer,
    };
    let image = NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, vec![]));
    let record = MetadataClassifierConfig { metadata: MetadataNetworkConfig::new(0), classes: vec![] };
    let record = NetworkConfig::MetadataClassifier(record);
    let mut rows = vec![row("Metadata".into(), record, AnswerKind::All), row("Image".into(), image, AnswerKind::All)];
    let modules =
        [("CAT", "concat"), ("MB", "meta_block"), ("MN", "meta_net"), ("MA", "mutual_attention"), ("MMFA", "mmfa")];
    for (printed, fusion) in modules {
        let fusion: FusionKind = fusion.parse().unwrap();
        let joint = || JointFusionConfig::new(backbone, view, 0, fusion.clone(), vec![]);
        let individual = || NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint()));
        rows.push(row(format!("JF-{printed}"), NetworkConfig::JointFusion(joint()), AnswerKind::All));
        rows.push(row(format!("JIF-{printed}(OFB)"), individual(), AnswerKind::OnlyFusionBranch));
        rows.push(row(format!("JIF-{printed}(All)"), individual(), AnswerKind::All));
    }
    rows
}

/// A row of AMMFM's or PEMM's tables.
fn two_images(name: impl Into<String>, network: NetworkConfig) -> Expected {
    Expected {
        name: name.into(),
        network,
        training: TrainingConfig::two_images(224, 0),
        selection: Selection::Accuracy,
        metadata: EncoderConfig::from(MetadataRoles::PreDiagnosis),
        views: TestTimeAugmentation::Six,
        answer: AnswerKind::Search,
    }
}

/// The rows of AMMFM's tables (thesis 5.6 to 5.10): all of them for SwinV2-T, four for the other big backbones.
pub(crate) fn ammfm() -> Vec<Expected> {
    use BackboneKind::{ConvNeXtTiny, MobileNetV3Small, ResNet50, SwinV2Tiny};
    let short = |backbone| match backbone {
        MobileNetV3Small => "MN",
        SwinV2Tiny => "ST",
        ResNet50 => "RN50",
        ConvNeXtTiny => "CXT",
        other => panic!("{other:?} is in none of the tables"),
    };
    let single = |printed: &str, view, backbone| {
        let config = ImageClassifierConfig::new(backbone, view, vec![]);
        let network = NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::MLP, ..config });
        two_images(format!("{printed} {}", short(backbone)), network)
    };
    let pair = |framework: &str, block: &str, clinical, dermoscopic| {
        let fusion = match block {
            "CAT" => None,
            "BAB" => Some(MapFusionKind::BidirectionalAttention(Default::default())),
            _ => Some(MapFusionKind::AsymmetricAttention(Default::default())),
        };
        let name = format!("{framework}-{block} {}+{}", short(clinical), short(dermoscopic));
        let network = AsymmetricFusionConfig::new(clinical, dermoscopic, fusion, vec![]);
        two_images(name, NetworkConfig::AsymmetricFusion(network))
    };
    let (small, big) = (MobileNetV3Small, SwinV2Tiny);
    let mut rows = vec![
        pair("SFF", "CAT", small, small),
        pair("SFF", "CAT", big, big),
        pair("SFF", "BAB", big, big),
        pair("SFF", "AAB", big, big),
        pair("AFF", "CAT", small, big),
        pair("AFF", "BAB", small, big),
        pair("AFF", "AAB", big, small),
        pair("AFF", "AAB", small, big),
    ];
    for backbone in [small, big, ResNet50, ConvNeXtTiny] {
        rows.push(single("Clin", Modality::Clinical, backbone));
        rows.push(single("Derm", Modality::Dermoscopic, backbone));
    }
    for big in [ResNet50, ConvNeXtTiny] {
        rows.extend([pair("SFF", "CAT", big, big), pair("AFF", "AAB", small, big)]);
    }
    rows
}

/// The rows of PEMM's tables (thesis 5.15 to 5.18).
pub(crate) fn pemm() -> Vec<Expected> {
    let backbone = BackboneKind::SwinV2Tiny;
    let ca = Some(MapFusionKind::CrossAttention(Default::default()));
    let sca = Some(MapFusionKind::SharedCrossAttention(Default::default()));
    let equal = LossWeights::MEAN;
    let shared = |name: &str, fusion, shared_head, loss_weights| {
        let config = SingleSharedNetworkConfig::new(backbone, fusion, vec![]);
        let config = SingleSharedNetworkConfig { shared_head, loss_weights, ..config };
        two_images(name, NetworkConfig::SingleSharedNetwork(config))
    };
    let two = AsymmetricFusionConfig::new(backbone, backbone, None, vec![]);
    let two = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig { loss_weights: equal, ..two });
    let mut rows = vec![
        two_images("Non-PS", two),
        shared("PS", None, false, equal),
        shared("PS+CA", ca, false, equal),
        shared("PS+shared classifiers", sca.clone(), true, equal),
        shared("PS+SCA", sca.clone(), false, equal),
        shared("PS+SCA+BL", sca.clone(), false, LossWeights::biased(0.1)),
        shared("EQ", sca.clone(), false, equal),
    ];
    for (name, view) in [("Clin ST", Modality::Clinical), ("Derm ST", Modality::Dermoscopic)] {
        let config = ImageClassifierConfig::new(backbone, view, vec![]);
        rows.push(two_images(
            name,
            NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::MLP, ..config }),
        ));
    }
    for weight in [0.0, 0.1, 0.2, 0.3, 0.4, 0.5] {
        rows.push(shared(&format!("W={weight}"), sca.clone(), false, LossWeights::biased(weight)));
    }
    rows
}

/// The rows of AMFAM's ablation (Table 2): losses that the network does not have are left out.
pub(crate) fn amfam() -> Vec<Expected> {
    let row = |row: AmfamRow| {
        let network = AmfamConfig::row(row, BackboneKind::ResNet50, vec![]);
        let mut training = TrainingConfig::amfam(299, 0);
        training.loss = training.loss.with_auxiliary_of(&network.auxiliary());
        Expected {
            name: row.name().into(),
            network: NetworkConfig::Amfam(network),
            training,
            selection: Selection::Accuracy,
            metadata: EncoderConfig::default(),
            views: TestTimeAugmentation::Off,
            answer: AnswerKind::OnlyFusionBranch,
        }
    };
    AmfamRow::ALL.map(row).into()
}
