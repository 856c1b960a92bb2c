//! Networks as data: what a description may ask for.

use std::path::Path;

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::fusion::FusionKind;
use dermafuse::networks::{
    AmfamConfig, AsymmetricFusionConfig, EmbeddingNetConfig, FusionNetConfig, ImageClassifierConfig, JointFusionConfig,
    JointIndividualFusionConfig, MetadataClassifierConfig, MetadataNetworkConfig, Modality, ModalitySubsetNetConfig,
    Network, NetworkConfig, OneStageFusionConfig, SeenImages, SingleSharedNetworkConfig, TFormerConfig,
    UniformClassifierConfig,
};

use super::{Target, Verdict, accepted, promise};
use crate::mutate::{Corpus, Syntax};

struct Networks {
    corpus: Corpus,
}

const WORDS: [&str; 24] = [
    "metadata_classifier",
    "image_classifier",
    "fusion_net",
    "joint_fusion",
    "amfam",
    "tformer",
    "embedding_net",
    "modality_subset_net",
    "asymmetric_fusion",
    "single_shared_network",
    "joint_individual_fusion",
    "resnet18_quarter",
    "squeezenet1_1",
    "mobilenet_v2",
    "inception_v3",
    "swin_tiny",
    "linear",
    "per_location",
    "clinical",
    "dermoscopic",
    "layers",
    "classes",
    "inputs",
    "dropout",
];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let (small, classes) = (BackboneKind::ResNet18Quarter, || vec![3, 2]);
    let metadata = MetadataNetworkConfig { layers: vec![4], ..MetadataNetworkConfig::new(3) };
    let joint = |fusion: &str| {
        let fusion: FusionKind = fusion.parse().expect("a module of the list");
        JointFusionConfig::new(small, Modality::Dermoscopic, 3, fusion, vec![3, 2])
    };
    let joined = FusionKind::ALL.map(|fusion| NetworkConfig::JointFusion(joint(fusion)));
    let networks = [
        NetworkConfig::MetadataClassifier(MetadataClassifierConfig { metadata, classes: classes() }),
        NetworkConfig::FusionNet(FusionNetConfig::new(small, classes())),
        NetworkConfig::ImageClassifier(ImageClassifierConfig::new(small, Modality::Clinical, classes())),
        NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint("mmfa"))),
        NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(classes())),
        NetworkConfig::SingleSharedNetwork(SingleSharedNetworkConfig::new(small, None, classes())),
        NetworkConfig::Amfam(AmfamConfig::new(small, classes())),
        NetworkConfig::EmbeddingNet(EmbeddingNetConfig::new(small, Some(3), classes())),
        NetworkConfig::ModalitySubsetNet(ModalitySubsetNetConfig::kawahara(3, classes())),
        NetworkConfig::TFormer(TFormerConfig::new(Some(3), classes())),
        NetworkConfig::OneStageFusion(OneStageFusionConfig::new(small, SeenImages::Both, Some(3), classes())),
        NetworkConfig::UniformClassifier(UniformClassifierConfig { metadata: 3, classes: classes() }),
    ];
    let entries =
        networks.iter().chain(&joined).map(|network| serde_json::to_vec(network).expect("string keys")).collect();
    Box::new(Networks { corpus: Corpus { syntax: Syntax::Json, entries, words: &WORDS, make: None } })
}

impl Target for Networks {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let config: NetworkConfig = accepted!(serde_json::from_slice(input));
        let network = accepted!(config.init(&Device::flex()));
        promise!(!network.branches().is_empty(), "a network without branches");
        let learns = !matches!(config, NetworkConfig::UniformClassifier(_));
        promise!(network.tensor_names().is_empty() != learns, "a network without tensors");
        Ok(Verdict::Accepted)
    }
}
