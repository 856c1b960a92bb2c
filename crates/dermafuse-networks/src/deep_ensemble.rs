//! Several networks of one description that were trained from different seeds, as one network: its branches are those of a member, and
//! say the mean of the members' probabilities.
//!
//! Paper: Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation using deep ensembles, NeurIPS 2017,
//! section 2.4: members see the same cases, and differ in first weights, order and augmentation. Source: none. Weights: those of the members.
//! Differences: no adversarial training.

use std::path::Path;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{AnyBackbone, BackboneKind, ParameterGroup};
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::{
    AnyNetwork, Auxiliary, BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, FusionNetConfig,
    MetadataNetworkConfig, Modality, ModalitySubsetNetConfig, MultimodalInput, Network, NetworkConfig,
    NetworkDescription, NetworkError, NetworkKind, NetworkOutput, Probe,
};

/// The most members of an ensemble.
pub const MAX_MEMBERS: usize = 100;

/// Configuration of a [`DeepEnsemble`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepEnsembleConfig {
    /// What each member is.
    pub member: Box<NetworkConfig>,
    /// How many there are, 1 to [`MAX_MEMBERS`].
    pub members: usize,
}

/// Networks of one description that answer together. Made by [`DeepEnsembleConfig::init`], or of trained networks by
/// [`DeepEnsemble::of`].
///
/// A branch has the logarithm of the mean of the probabilities that the members' branches of that name give; softmax of it is that mean.
/// [`NetworkOutput::embedding`] is that of the first member, and a [`Probe`] looks into the first member.
#[derive(Module, Debug)]
pub struct DeepEnsemble {
    members: Vec<AnyNetwork>,
}

impl DeepEnsembleConfig {
    /// An ensemble with fresh weights.
    ///
    /// # Errors
    /// No member, or more than [`MAX_MEMBERS`]; members that are ensembles or frozen encoders; what makes no member.
    pub fn init(&self, device: &Device) -> Result<DeepEnsemble, NetworkError> {
        NetworkDescription::check_settings(self)?;
        let members = (0..self.members).map(|_| self.member.init(device));
        Ok(DeepEnsemble { members: members.collect::<Result<_, _>>()? })
    }
}

impl DeepEnsemble {
    /// Networks that were trained apart, as one.
    ///
    /// # Errors
    /// No network; one with other branches or losses than the first.
    pub fn of(members: Vec<AnyNetwork>) -> Result<Self, NetworkError> {
        let differs = |first: &AnyNetwork, other: &AnyNetwork| {
            other.branches() != first.branches() || other.auxiliary() != first.auxiliary()
        };
        match members.first() {
            None => Err(NetworkError::Members { reason: "there is none" }),
            Some(first) if members.iter().any(|other| differs(first, other)) => {
                Err(NetworkError::Members { reason: "their branches differ" })
            }
            Some(_) => Ok(Self { members }),
        }
    }

    /// The members.
    pub fn members(&self) -> &[AnyNetwork] {
        &self.members
    }

    fn first(&self) -> &AnyNetwork {
        &self.members[0]
    }
}

/// The logarithm of the mean of the probabilities: finite where the members' logits are, however far apart.
///
/// # Shapes
/// `[B, K]` each → `[B, K]`.
fn log_mean_probability(logits: impl ExactSizeIterator<Item = Tensor<2>>) -> Tensor<2> {
    let count = logits.len();
    let logs: Vec<Tensor<2>> = logits.map(|logits| log_softmax(logits, 1)).collect(); // [B, K]
    let largest = logs.iter().cloned().reduce(Tensor::max_pair).expect("an ensemble has a member"); // [B, K]
    let sum = logs.into_iter().map(|log| (log - largest.clone()).exp()).reduce(|sum, part| sum + part);
    let sum = sum.expect("an ensemble has a member"); // [B, K], 1 to N
    largest + (sum / count as f64).log()
}

impl Network for DeepEnsemble {
    fn branches(&self) -> Vec<BranchInfo> {
        self.first().branches()
    }

    fn answers_by_subset(&self) -> bool {
        self.first().answers_by_subset()
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.members.iter().flat_map(Network::backbone_groups).collect()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { members: self.members.into_iter().map(|member| member.freeze_backbones(freeze)).collect() }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let first = self.first().forward_probed(input.clone(), probe);
        let others = self.members[1..].iter().map(|member| member.forward(input.clone()));
        let outputs: Vec<NetworkOutput> = std::iter::once(first).chain(others).collect();
        let [NetworkOutput { branches, embedding, auxiliary }, ..] = &outputs[..] else {
            unreachable!("there is a member")
        };
        let joined = branches.iter().enumerate().map(|(at, branch)| {
            let of_task = |task: usize| {
                log_mean_probability(outputs.iter().map(|output| output.branches[at].logits[task].clone()))
            };
            let logits = (0..branch.logits.len()).map(of_task); // [B, K_t]
            BranchOutput { name: branch.name, logits: logits.collect(), loss_weight: branch.loss_weight }
        });
        let losses = auxiliary.iter().enumerate().map(|(at, Auxiliary { name, .. })| {
            let losses = outputs.iter().map(|output| output.auxiliary[at].loss.clone());
            Auxiliary { name, loss: Tensor::cat(losses.collect(), 0).mean() } // [1]
        });
        NetworkOutput { branches: joined.collect(), embedding: embedding.clone(), auxiliary: losses.collect() }
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        self.first().auxiliary()
    }

    fn at_progress(self, progress: f64) -> Self {
        Self { members: self.members.into_iter().map(|member| member.at_progress(progress)).collect() }
    }

    fn changes_with_progress(&self) -> bool {
        self.first().changes_with_progress()
    }

    fn into_inference(self) -> Self {
        Self { members: self.members.into_iter().map(Network::into_inference).collect() }
    }
}

impl NetworkDescription for DeepEnsembleConfig {
    type Network = DeepEnsemble;

    fn make(&self, device: &Device) -> Result<DeepEnsemble, NetworkError> {
        self.init(device)
    }

    fn check_settings(&self) -> Result<(), SettingFault> {
        let Self { member, members } = self;
        SettingFault::unless(
            (1..=MAX_MEMBERS).contains(members),
            "members",
            format!("from 1 to {MAX_MEMBERS}"),
            members,
        )?;
        let is_allowed =
            ![NetworkKind::DeepEnsemble, NetworkKind::FrozenEncoders].iter().any(|kind| kind.name() == member.kind());
        SettingFault::unless(is_allowed, "member.kind", "a network that is trained and no ensemble", member.kind())?;
        member.check_settings().map_err(|fault| fault.under("member"))
    }

    fn check_images(&self, side: usize) -> Result<(), NetworkError> {
        self.member.check_images(side)
    }

    fn classes(&self) -> &[usize] {
        self.member.classes()
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        self.member.classes_mut()
    }

    fn examples(classes: &[usize], metadata: usize) -> Vec<Self> {
        let of = |member: NetworkConfig, members| Self { member: Box::new(member), members };
        let subsets = ModalitySubsetNetConfig {
            backbone: BackboneKind::ResNet18Quarter,
            ..ModalitySubsetNetConfig::kawahara(metadata, classes.to_vec())
        };
        let fusion = FusionNetConfig::new(BackboneKind::ResNet18Quarter, classes.to_vec());
        vec![of(NetworkConfig::ModalitySubsetNet(subsets), 2), of(NetworkConfig::FusionNet(fusion), 3)]
    }

    fn backbones(&self) -> Vec<BackboneKind> {
        self.member.backbones().repeat(self.members)
    }

    fn published_backbone_parameters(&self) -> usize {
        self.members * self.member.published_backbone_parameters()
    }

    fn view_of(&self, backbone: usize) -> Option<Modality> {
        let in_member = self.member.backbones().len();
        (backbone < in_member * self.members).then(|| self.member.view_of(backbone % in_member)).flatten()
    }

    fn metadata_inputs(&self) -> usize {
        self.member.metadata_inputs()
    }

    fn set_metadata_inputs(&mut self, inputs: usize) {
        self.member.set_metadata_inputs(inputs);
    }

    fn metadata_mut(&mut self) -> Option<&mut MetadataNetworkConfig> {
        self.member.metadata_mut()
    }

    fn auxiliary(&self) -> Vec<&'static str> {
        self.member.auxiliary_names()
    }

    fn inference(self) -> Self {
        Self { member: Box::new(self.member.inference()), ..self }
    }
}

impl DescribedNetwork for DeepEnsemble {
    fn backbones(&self) -> Vec<&AnyBackbone> {
        self.members.iter().flat_map(AnyNetwork::backbones).collect()
    }

    fn load_backbone_weights_of(self, view: Modality, file: &Path) -> Result<Self, NetworkError> {
        let members = self.members.into_iter().map(|member| member.load_backbone_weights_of(view, file));
        Ok(Self { members: members.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::activation::softmax;

    use super::*;
    use crate::ImageClassifierConfig;

    fn member(classes: Vec<usize>) -> NetworkConfig {
        NetworkConfig::ImageClassifier(ImageClassifierConfig::new(
            BackboneKind::ResNet18Quarter,
            Modality::Dermoscopic,
            classes,
        ))
    }

    fn ensemble(member: NetworkConfig, members: usize) -> DeepEnsembleConfig {
        DeepEnsembleConfig { member: Box::new(member), members }
    }

    fn numbers(tensor: Tensor<2>) -> Vec<f32> {
        tensor.to_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_branch_says_the_mean_of_the_members_probabilities() {
        let device = Device::flex();
        let members: Vec<AnyNetwork> =
            [3, 4, 9].map(|seed| member(vec![4, 2]).init_seeded(seed, &device).unwrap().valid()).to_vec();
        let ensemble = DeepEnsemble::of(members.clone()).unwrap();
        let pixels = Tensor::<1, burn::tensor::Int>::arange(0..2 * 3 * 32 * 32, &device).float().sin();
        let input =
            MultimodalInput { clinical: None, dermoscopic: Some(pixels.reshape([2, 3, 32, 32])), metadata: None };
        let together = ensemble.forward(input.clone());
        let alone: Vec<NetworkOutput> = members.iter().map(|member| member.forward(input.clone())).collect();
        for task in 0..2 {
            let mean =
                alone.iter().map(|output| softmax(output.branches[0].logits[task].clone(), 1)).reduce(|a, b| a + b);
            let said = numbers(softmax(together.branches[0].logits[task].clone(), 1));
            // The logits are logarithms of these already.
            let logs = numbers(together.branches[0].logits[task].clone().exp());
            for ((expected, said), log) in numbers(mean.unwrap() / 3.0).into_iter().zip(said).zip(logs) {
                assert!((expected - said).abs() < 1e-6 && (expected - log).abs() < 1e-6, "{expected} {said} {log}");
            }
        }
        assert_eq!(numbers(together.embedding), numbers(alone[0].embedding.clone()));
        // One member is itself.
        let one = DeepEnsemble::of(members[..1].to_vec()).unwrap().forward(input);
        let (one, own) = (one.branches[0].logits[0].clone(), alone[0].branches[0].logits[0].clone());
        assert_eq!(numbers(one), numbers(log_softmax(own, 1)));
    }

    #[test]
    fn logits_far_apart_stay_finite() {
        let device = Device::flex();
        let logits = |numbers: [f32; 3]| Tensor::<2>::from_floats([numbers], &device);
        let far = [logits([0.0, 500.0, -500.0]), logits([0.0, 500.0, -600.0])];
        let found = numbers(log_mean_probability(far.into_iter()));
        let half = -std::f32::consts::LN_2;
        for (found, expected) in found.iter().zip([-500.0, 0.0, -1000.0 + half]) {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn what_is_no_ensemble_is_told() {
        let error = |config: &DeepEnsembleConfig| config.init(&Device::flex()).unwrap_err().to_string();
        let of = |members| ensemble(member(vec![2]), members);
        assert!(error(&of(0)).contains("from 1 to 100"), "{}", error(&of(0)));
        assert!(of(101).init(&Device::flex()).is_err());
        let nested = ensemble(NetworkConfig::DeepEnsemble(of(2)), 2);
        assert!(error(&nested).contains("deep_ensemble"), "{}", error(&nested));
        let networks =
            [member(vec![2]), NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]))];
        let networks = networks.map(|config| config.init(&Device::flex()).unwrap());
        assert_eq!(
            DeepEnsemble::of(networks.to_vec()).unwrap_err().to_string(),
            "these networks make no ensemble: their branches differ"
        );
        assert_eq!(
            DeepEnsemble::of(Vec::new()).unwrap_err().to_string(),
            "these networks make no ensemble: there is none"
        );
    }
}
