//! Joint fusion: one image and the patient's record, joined by a fusion module, one classifier over both.
//!
//! Paper: Tang et al., joint-individual fusion (thesis §4.2.2, Eq. 4.4, JF). Source: the text; MetaBlock's and
//! MetaNet's own papers join in this way too. Weights: those of the backbone. Differences: the fusion module sees the
//! record's features `M_M(record)`; [`MetadataInput::Encoded`] gives it the encoded record itself, as MetaBlock's code
//! does.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, ParameterGroup, global_average_pool};
use dermafuse_fusion::{AnyFusion, FeatureFusion, FusionError, FusionKind};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_WIDTH, require_at_most, require_dropout};
use crate::{
    BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, MetadataNetwork, MetadataNetworkConfig,
    Modalities, Modality, MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, Probe,
    with_published_weights,
};

/// What a fusion module is given of the patient's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataInput {
    /// The features of the metadata network, `f_M`.
    #[default]
    Features,
    /// The encoded record, without a metadata network.
    Encoded,
}

/// Configuration of a [`JointFusion`] with a built-in backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointFusionConfig {
    /// Architecture of the backbone.
    pub backbone: BackboneKind,
    /// The image it looks at.
    pub view: Modality,
    /// The network over the record.
    pub metadata: MetadataNetworkConfig,
    /// What the fusion module is given of the record.
    pub metadata_input: MetadataInput,
    /// The module that joins image and record.
    pub fusion: FusionKind,
    /// Classes of each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// `C_IM(F(f_I, f_M))`. Made by [`JointFusionConfig::init`] or [`JointFusion::new`].
#[derive(Module, Debug)]
pub struct JointFusion<B: Backbone> {
    backbone: B,
    metadata: Option<MetadataNetwork>,
    fusion: AnyFusion,
    head: LinearHead,
    #[module(skip)]
    view: Modality,
}

/// The pooled features of a batch.
#[derive(Clone, Debug)]
pub struct JointFeatures {
    /// `[B, L_I]` of the image.
    pub image: Tensor<2>,
    /// `[B, L_M]` of the record.
    pub metadata: Tensor<2>,
    /// `[B, L_IM]` of both.
    pub fused: Tensor<2>,
}

impl JointFusionConfig {
    /// The published structure around a backbone, a fusion module and `inputs` encoded metadata columns.
    #[must_use]
    pub fn new(backbone: BackboneKind, view: Modality, inputs: usize, fusion: FusionKind, classes: Vec<usize>) -> Self {
        let metadata = MetadataNetworkConfig::new(inputs);
        Self { backbone, view, metadata, metadata_input: MetadataInput::default(), fusion, classes }
    }

    /// Length of the record's features, as the fusion module sees them.
    #[must_use]
    pub fn metadata_features(&self) -> usize {
        match self.metadata_input {
            MetadataInput::Features => self.metadata.features(),
            MetadataInput::Encoded => self.metadata.inputs,
        }
    }

    /// A network with fresh weights.
    ///
    /// # Errors
    /// Features that the fusion module cannot join; class counts or layers that make no network.
    pub fn init(&self, device: &Device) -> Result<JointFusion<AnyBackbone>, NetworkError> {
        JointFusion::new(self.backbone.init(None, device), self, device)
    }
}

impl<B: Backbone> JointFusion<B> {
    /// Puts the structure of a configuration around a backbone of your own; the configuration's is ignored.
    ///
    /// # Errors
    /// As [`JointFusionConfig::init`].
    pub fn new(backbone: B, config: &JointFusionConfig, device: &Device) -> Result<Self, NetworkError> {
        if config.metadata.inputs == 0 {
            return Err(NetworkError::NoMetadata);
        }
        require_at_most("encoded columns", config.metadata.inputs, MAX_WIDTH)?;
        let metadata = match config.metadata_input {
            MetadataInput::Features => Some(config.metadata.init(device)?),
            MetadataInput::Encoded => None,
        };
        let lengths = (backbone.num_features(), config.metadata_features());
        let fusion = config.fusion.init(lengths.0, lengths.1, device)?;
        let fused = fusion.output_features(lengths.0, lengths.1).ok_or_else(|| {
            let (a, b) = lengths;
            FusionError::Lengths { module: config.fusion.name(), a, b }
        })?;
        let head = LinearHead::init(fused, &config.classes, device)?;
        Ok(Self { backbone, metadata, fusion, head, view: config.view })
    }

    /// The features of image, record and both.
    ///
    /// # Panics
    /// If the input lacks the image or the record.
    #[must_use]
    pub fn forward_features(&self, input: MultimodalInput) -> JointFeatures {
        self.features(input, &mut Probe::off())
    }

    pub(crate) fn features(&self, input: MultimodalInput, probe: &mut Probe) -> JointFeatures {
        let metadata = input.metadata(); // [B, M]
        let map = probe.features(&self.backbone, self.view, input.image(self.view)); // [B, L_I, h, w]
        let image = global_average_pool(map); // [B, L_I]
        let metadata = match &self.metadata {
            Some(network) => network.forward(metadata), // [B, L_M]
            None => metadata,
        };
        let fused = probe.join(&self.fusion, image.clone(), metadata.clone()); // [B, L_IM]
        JointFeatures { image, metadata, fused }
    }

    /// The logits of joined features, one `[B, K_t]` for each task.
    pub(crate) fn classify(&self, fused: Tensor<2>) -> Vec<Tensor<2>> {
        self.head.forward(fused) // [B, K_t]
    }

    /// The image that is looked at.
    #[must_use]
    pub fn view(&self) -> Modality {
        self.view
    }

    /// The backbone.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }
}

impl<B: Backbone> Network for JointFusion<B> {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: "fusion", needs: Modalities::from(self.view).and(Modalities::METADATA) }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.backbone.parameter_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { backbone: freeze.apply(self.backbone), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let fused = self.features(input, probe).fused; // [B, L_IM]
        let branch = BranchOutput::new("fusion", self.classify(fused.clone())); // [B, K_t]
        NetworkOutput::new(vec![branch], fused)
    }
}

impl NetworkDescription for JointFusionConfig {
    type Network = JointFusion<AnyBackbone>;

    fn make(&self, device: &Device) -> Result<JointFusion<AnyBackbone>, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        require_dropout(self.metadata.dropout).map_err(|fault| fault.under("metadata"))
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        let inputs = [MetadataInput::Features, MetadataInput::Encoded];
        let plain = FusionKind::ALL.map(|name| {
            let fusion = name.parse().expect("a module of the table");
            Self::new(BackboneKind::ResNet18Quarter, Modality::Dermoscopic, metadata, fusion, classes.to_vec())
        });
        // Not every module joins a short record that no network has made longer.
        let encoded = Self { metadata_input: inputs[1], ..plain[0].clone() };
        plain.into_iter().chain([encoded]).collect()
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        vec![self.backbone]
    }

    fn view_of(&self, _backbone: usize) -> Option<Modality> {
        Some(self.view)
    }

    fn metadata_inputs(&self) -> usize {
        self.metadata.inputs
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.metadata.inputs = inputs;
    }

    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        Some(&mut self.metadata)
    }
}

impl DescribedNetwork for JointFusion<AnyBackbone> {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        vec![&self.backbone]
    }

    fn load_backbone_weights_of(self, _view: Modality, file: &Path) -> Result<Self, NetworkError> {
        Ok(Self { backbone: with_published_weights(self.backbone, file)?, ..self })
    }
}
