//! TFormer: one Swin Transformer for both images, and a second stream that fuses its maps from stage to stage.
//!
//! Paper: Zhang et al., *TFormer: A Throughout Fusion Transformer for Multi-Modal Skin Lesion Diagnosis* (Computers in Biology
//! and Medicine 2023). Source: the authors' code. Weights: those of torchvision's Swin-T, where the code has the ones of the
//! original implementation. Differences: the backbone's classifier of 128 classes, which nothing uses, is left out unless
//! [`TFormerConfig::unused_classifier`] asks for it; with it there are the published 78,238,362 parameters, and 77,757,210 without
//! metadata. Without metadata the heads see the features of both images, as they would go to the record. Also see
//! [`WindowCrossAttention`].

use std::path::Path;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, Swin, global_average_pool};
use dermafuse_fusion::{
    FeatureFusion, MapFusion, MetadataTokenAttention, PatchMerging, WindowCrossAttention, WindowCrossAttentionConfig,
    linear,
};
use dermafuse_init::AddressedDropout;
use dermafuse_kernels::{Activation, project};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::require_dropout;
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, MetadataNetwork, MetadataNetworkConfig,
    Modalities, Modality, MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, Probe,
    with_published_weights,
};

/// Channels, heads and layers of the four fusion blocks.
const BLOCKS: [[usize; 3]; 4] = [[192, 6, 1], [384, 6, 1], [768, 6, 2], [768, 12, 1]];
/// Features of each image and of the record.
const FEATURES: usize = 128;
/// Classes of the classifier that the authors' code leaves in the backbone and does not use.
const UNUSED_CLASSES: usize = 128;
const METADATA_LAYERS: [usize; 2] = [128, FEATURES];
const METADATA_HEADS: usize = 8;

/// Configuration of a [`TFormer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TFormerConfig {
    /// Length `M` of the encoded metadata, `MetadataEncoder::width`; `None` leaves the record out.
    pub metadata: Option<usize>,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
    /// Dropout of the record's features; 0.3 in the code.
    pub dropout: f64,
    /// Whether the backbone keeps a classifier that nothing uses, as in the authors' code: its 98,432 parameters are among the
    /// published ones. They are never trained, and inference leaves them out.
    #[serde(default)]
    pub unused_classifier: bool,
}

/// A Swin-T looks at both images. After each merging of its patches, and at its end, a block of window cross-attention joins their
/// maps; what comes of it is merged too, and added to the backbone's maps in the next block. The backbone itself goes on from its
/// own maps. The record's token looks at the features of both images; the heads see the dermoscopic ones and the record's.
///
/// Made by [`TFormerConfig::init`] or [`TFormer::new`].
#[derive(Module, Debug)]
pub struct TFormer {
    /// A [`Swin`] of the first version.
    backbone: AnyBackbone,
    fusion: Vec<WindowCrossAttention>,
    clinical_merging: Vec<PatchMerging>,
    dermoscopic_merging: Vec<PatchMerging>,
    clinical: Linear,
    dermoscopic: Linear,
    metadata: Option<MetadataStream>,
    head: LinearHead,
    /// What the published form has and nothing uses.
    unused_classifier: Option<Linear>,
}

/// The record's features, and the attention by which they look at the images'.
#[derive(Module, Debug)]
struct MetadataStream {
    network: MetadataNetwork,
    dropout: Dropout,
    fusion: MetadataTokenAttention,
}

impl TFormerConfig {
    /// With the code's dropout of 0.3.
    #[must_use]
    pub fn new(metadata: Option<usize>, classes: Vec<usize>) -> Self {
        Self { metadata, classes, dropout: 0.3, unused_classifier: false }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// No metadata column although the record is looked at; class counts or a dropout that make no network.
    pub fn init(&self, device: &Device) -> Result<TFormer, NetworkError> {
        let AnyBackbone::Swin(swin) = BackboneKind::SwinTiny.init(None, device) else {
            unreachable!("a Swin-T is a Swin");
        };
        TFormer::new(swin, self, device)
    }
}

impl TFormer {
    /// Puts the structure of a configuration around a Swin Transformer of your own with 96 channels in its first stage.
    ///
    /// # Errors
    /// Other channels, and as [`TFormerConfig::init`].
    pub fn new(backbone: Swin, config: &TFormerConfig, device: &Device) -> Result<Self, NetworkError> {
        let channels = backbone.stage_channels();
        let expected = [BLOCKS[0][0] / 2, BLOCKS[0][0], BLOCKS[1][0], BLOCKS[2][0]];
        if channels != expected {
            return Err(NetworkError::Channels { expected, found: channels });
        }
        require_dropout(config.dropout)?;
        let fusion =
            BLOCKS.map(|[channels, heads, depth]| WindowCrossAttentionConfig::new(heads, depth).init(channels, device));
        let merging = || BLOCKS[..2].iter().map(|[channels, ..]| PatchMerging::init(*channels, device)).collect();
        let metadata = config.metadata.map(|inputs| {
            let layers = METADATA_LAYERS.to_vec();
            let network = MetadataNetworkConfig { layers, ..MetadataNetworkConfig::new(inputs) }.init(device)?;
            let fusion = MetadataTokenAttention::init(2 * FEATURES, FEATURES, METADATA_HEADS, device)?;
            Ok::<_, NetworkError>(MetadataStream {
                network,
                dropout: DropoutConfig::new(config.dropout).init(),
                fusion,
            })
        });
        Ok(Self {
            fusion: fusion.into_iter().collect::<Result<_, _>>()?,
            clinical_merging: merging(),
            dermoscopic_merging: merging(),
            clinical: linear(backbone.num_features(), FEATURES, device),
            dermoscopic: linear(backbone.num_features(), FEATURES, device),
            metadata: metadata.transpose()?,
            head: LinearHead::init(2 * FEATURES, &config.classes, device)?,
            unused_classifier: config
                .unused_classifier
                .then(|| linear(backbone.num_features(), UNUSED_CLASSES, device)),
            backbone: backbone.into(),
        })
    }

    /// The backbone.
    #[must_use]
    pub fn backbone(&self) -> &AnyBackbone {
        &self.backbone
    }

    fn swin(&self) -> &Swin {
        match &self.backbone {
            AnyBackbone::Swin(swin) => swin,
            _ => unreachable!("the network was made with a Swin"),
        }
    }

    /// Features of both images.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` twice → `[B, 128]` twice.
    ///
    /// # Panics
    /// If the images differ in size.
    #[must_use]
    pub fn forward_features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>) -> [Tensor<2>; 2] {
        self.features(clinical, dermoscopic, &mut Probe::off())
    }

    /// The probe is shown the fused maps of the last stage, which are what is pooled.
    fn features(&self, clinical: Tensor<4>, dermoscopic: Tensor<4>, probe: &mut Probe) -> [Tensor<2>; 2] {
        let swin = self.swin();
        let batch = clinical.dims()[0];
        let apart = |maps: &Tensor<4>| [0, batch].map(|first| maps.clone().narrow(0, first, batch)); // [B, C, H, W]
        let both = swin.forward_entry(0, Tensor::cat(vec![clinical, dermoscopic], 0)); // [2·B, 96, H/4, W/4]

        let both = swin.forward_entry(1, swin.forward_blocks(0, both)); // [2·B, 192, H/8, W/8]
        let [clinical, dermoscopic] = apart(&both);
        let (clinical_fused, dermoscopic_fused) = self.fusion[0].forward(clinical, dermoscopic);
        let clinical_fused = self.clinical_merging[0].forward(clinical_fused); // [B, 384, H/16, W/16]
        let dermoscopic_fused = self.dermoscopic_merging[0].forward(dermoscopic_fused); // [B, 384, H/16, W/16]

        let both = swin.forward_entry(2, swin.forward_blocks(1, both)); // [2·B, 384, H/16, W/16]
        let [clinical, dermoscopic] = apart(&both);
        let (clinical_fused, dermoscopic_fused) =
            self.fusion[1].forward(clinical + clinical_fused, dermoscopic + dermoscopic_fused);
        let clinical_fused = self.clinical_merging[1].forward(clinical_fused); // [B, 768, H/32, W/32]
        let dermoscopic_fused = self.dermoscopic_merging[1].forward(dermoscopic_fused); // [B, 768, H/32, W/32]

        // From here on the dermoscopic image comes first.
        let both = swin.forward_entry(3, swin.forward_blocks(2, both)); // [2·B, 768, H/32, W/32]
        let [clinical, dermoscopic] = apart(&both);
        let (dermoscopic_fused, clinical_fused) =
            self.fusion[2].forward(dermoscopic + dermoscopic_fused, clinical + clinical_fused);

        let both = swin.finish_stage(3, swin.forward_blocks(3, both)); // [2·B, 768, H/32, W/32]
        let [clinical, dermoscopic] = apart(&both);
        let (dermoscopic_fused, clinical_fused) =
            self.fusion[3].forward(dermoscopic + dermoscopic_fused, clinical + clinical_fused);
        let clinical_fused = probe.observe(Modality::Clinical, 3, clinical_fused);
        let dermoscopic_fused = probe.observe(Modality::Dermoscopic, 3, dermoscopic_fused);
        [
            project(&self.clinical, Activation::Relu, global_average_pool(clinical_fused)), // [B, 128]
            project(&self.dermoscopic, Activation::Relu, global_average_pool(dermoscopic_fused)), // [B, 128]
        ]
    }
}

impl Network for TFormer {
    fn branches(&self) -> Vec<BranchInfo> {
        let needs = Modalities { clinical: true, dermoscopic: true, metadata: self.metadata.is_some() };
        vec![BranchInfo { name: "fusion", needs }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbone.parameter_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { backbone: freeze.apply(self.backbone), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let [clinical, dermoscopic] = self.features(input.clinical(), input.dermoscopic(), probe); // [B, 128]
        let images = Tensor::cat(vec![clinical, dermoscopic.clone()], 1); // [B, 256]
        let features = match &self.metadata {
            Some(record) => {
                let metadata = record.dropout.forward_addressed(record.network.forward(input.metadata())); // [B, 128]
                Tensor::cat(vec![dermoscopic, record.fusion.forward(images, metadata)], 1) // [B, 256]
            }
            None => images,
        };
        let branch = BranchOutput::new("fusion", self.head.forward(features.clone())); // [B, K_t]
        NetworkOutput::new(vec![branch], features)
    }

    fn into_inference(self) -> Self {
        Self { unused_classifier: None, ..self }
    }
}

impl NetworkDescription for TFormerConfig {
    type Network = TFormer;

    fn make(&self, device: &Device) -> Result<TFormer, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        require_dropout(self.dropout)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        [Some(metadata), None].map(|metadata| Self::new(metadata, classes.to_vec())).to_vec()
    }

    fn published_backbone_parameters(&self) -> usize {
        // The option has the classifier outside of the backbone, where it is counted already.
        let classifier = if self.unused_classifier { 0 } else { (BLOCKS[3][0] + 1) * UNUSED_CLASSES };
        BackboneKind::SwinTiny.num_params_without_classifier() + classifier
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![BackboneKind::SwinTiny]
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata.unwrap_or(0)
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata = self.metadata.map(|_| inputs);
    }

    fn inference(self) -> Self {
        Self { unused_classifier: false, ..self }
    }
}

impl DescribedNetwork for TFormer {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        vec![&self.backbone]
    }

    fn load_backbone_weights_of(self, _view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(Self { backbone: with_published_weights(self.backbone, file)?, ..self })
    }
}
