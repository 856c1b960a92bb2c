use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse_data::{CaseView, ImageCache, MetadataEncoder, OutsideModel};
use dermafuse_ensemble::HeadSettings;
use dermafuse_infer::{Bundle, MODEL_FILE, Predictor, TestTimeAugmentation, may_miss};
use dermafuse_networks::{AnyNetwork, DeepEnsembleConfig, NetworkConfig};
use dermafuse_schema::{BranchLogits, SeveralImages};
use dermafuse_train::{Incomplete, LostBest, RunFacts, Trained, TrainingCases, TrainingConfig, file_digest};
use serde::{Deserialize, Serialize};

use crate::backbone_weights::weights_fact;
use crate::frozen::is_onnx;
use crate::{BackboneWeights, LearntNetwork, Progress, RecipeError, Selection};

/// How one network is made, trained and asked: the part that all protocols share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecipe {
    /// The network.
    pub network: NetworkConfig,
    /// Published weights that its backbones start from; random if `None`.
    pub backbone_weights: Option<BackboneWeights>,
    /// The file of a trained model that the network learns from beside the labels, as `training.distillation` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// How it is trained.
    pub training: TrainingConfig,
    /// How the best epoch is chosen.
    pub selection: Selection,
    /// The views that are averaged in predicting.
    pub augmentation: TestTimeAugmentation,
    /// What becomes of cases that lack an image.
    #[serde(default)]
    pub incomplete: Incomplete,
    /// What answers for a case that has several images of a kind.
    #[serde(default)]
    pub several_images: SeveralImages,
    /// Other models that answer beside the network, from fields of the cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideModel>,
    /// How heads are fitted on the features of frozen encoders; `None` for networks that are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<HeadSettings>,
}

/// Where a run computes and what it keeps there.
#[derive(Clone, Copy, Debug)]
pub struct Workplace<'a> {
    /// The device, without autodiff.
    pub device: &'a Device,
    /// Devices that share each step of a training with it.
    pub replicas: &'a [Device],
    /// Folder for checkpoints; none are written without.
    pub folder: Option<&'a Path>,
    /// Whether an interrupted run in the folder continues, with the same result as if it had not been.
    pub resume: bool,
    /// What becomes of a resumed training whose best epoch is damaged.
    pub lost_best: LostBest,
    /// Decoded images that are kept in memory from epoch to epoch and from run to run.
    pub cache: Option<&'a Arc<ImageCache>>,
    /// Folder in which the features that frozen encoders give of images are kept; none are without.
    pub features: Option<&'a Path>,
}

impl<'a> Workplace<'a> {
    /// A device, and no checkpoints.
    #[must_use]
    pub fn on(device: &'a Device) -> Self {
        let lost_best = LostBest::default();
        Self { device, replicas: &[], folder: None, resume: false, lost_best, cache: None, features: None }
    }

    /// Several devices that share each step of a training, and no checkpoints. The first does everything else.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn on_all(devices: &'a [Device]) -> Self {
        let (first, replicas) = devices.split_first().expect("there is a device");
        Self { replicas, ..Self::on(first) }
    }

    /// The same with checkpoints in a folder.
    #[must_use]
    pub fn in_folder(self, folder: &'a Path, resume: bool) -> Self {
        Self { folder: Some(folder), resume, ..self }
    }

    /// The same with an answer for a damaged best epoch.
    #[must_use]
    pub fn with_lost_best(self, lost_best: LostBest) -> Self {
        Self { lost_best, ..self }
    }

    /// The same with decoded images kept in memory.
    #[must_use]
    pub fn with_cache(self, cache: &'a Arc<ImageCache>) -> Self {
        Self { cache: Some(cache), ..self }
    }
}

impl NetworkRecipe {
    /// How many networks a protocol trains apart from each other: the members of an ensemble, else one.
    #[must_use]
    pub fn members(&self) -> usize {
        match &self.network {
            NetworkConfig::DeepEnsemble(DeepEnsembleConfig { members, .. }) => *members,
            _ => 1,
        }
    }

    /// The recipe of each network that is trained apart: a member of an ensemble, else this one.
    pub(crate) fn of_member(&self) -> Self {
        match &self.network {
            NetworkConfig::DeepEnsemble(DeepEnsembleConfig { member, .. }) => {
                Self { network: NetworkConfig::clone(member), ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Trains the network; `seed` replaces the one of the training configuration and draws the fresh weights too. An ensemble is trained as
    /// one network here; a [`Protocol`](crate::Protocol) trains its members apart.
    ///
    /// # Errors
    /// The error of the step that failed; see [`RecipeError`].
    pub fn train(
        &self,
        seed: u64,
        cases: &TrainingCases<'_>,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Trained<AnyNetwork>, RecipeError> {
        self.check_sides()?;
        let mut network = self.network.init_seeded(seed, &place.device.clone().autodiff())?;
        if let Some(weights) = &self.backbone_weights {
            network = weights.load_into(network, &self.network)?;
        }
        let trainer = self.trainer(seed, place)?;
        let score = |logits: &BranchLogits| self.selection.score(logits);
        Ok(trainer.fit(network, cases, score, place.folder, place.resume, progress)?)
    }

    /// What a training depends on beside its configuration and cases: the network, the weights that it starts from and how
    /// the best epoch is chosen.
    pub(crate) fn facts(&self) -> Result<RunFacts, RecipeError> {
        let mut facts = RunFacts::default();
        facts.set("network", &self.network);
        facts.set("selection", &self.selection);
        if let Some(weights) = &self.backbone_weights {
            weights.add_to(&mut facts, &self.network)?;
        }
        if let Some(teacher) = &self.teacher {
            facts.set("teacher", &weights_fact(&file_digest(&model_file(teacher))?));
        }
        if let (Some(BackboneWeights::OfAll(file)), true) = (&self.backbone_weights, is_onnx(&self.network)) {
            facts.set("weights.encoder", &weights_fact(&file_digest(file)?));
        }
        // Results of networks that are trained stay what they are.
        if let Some(heads) = &self.heads {
            facts.set("heads", heads);
        }
        Ok(facts)
    }

    /// Whether the network takes images of the side, and growing ones of every side that they have.
    ///
    /// # Errors
    /// The first side that it does not take.
    pub(crate) fn check_sides(&self) -> Result<(), RecipeError> {
        let mut sides = BTreeSet::from_iter((0..self.training.epochs).map(|epoch| self.training.side_in(epoch)));
        sides.insert(self.training.preprocess.size);
        Ok(sides.into_iter().try_for_each(|side| self.network.check_images(side))?)
    }

    /// The model that the network learns from, if there is one.
    ///
    /// # Errors
    /// A file that is no model.
    pub(crate) fn teacher_model(&self, device: &Device) -> Result<Option<Bundle>, RecipeError> {
        self.teacher.as_ref().map(|file| Ok(Bundle::load(model_file(file), device)?)).transpose()
    }

    /// The logits of the cases.
    ///
    /// # Errors
    /// As [`Predictor::logits`].
    pub fn logits(
        &self,
        network: &LearntNetwork,
        cases: &CaseView<'_>,
        encoder: &MetadataEncoder,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<BranchLogits, RecipeError> {
        let predictor = self.predictor(network, place);
        Ok(predictor.logits(cases, encoder, |done| progress.predicted(done, cases.len()))?)
    }

    /// Asks the network as it was trained to be asked.
    pub(crate) fn predictor(&self, learnt: &LearntNetwork, place: Workplace<'_>) -> Predictor<AnyNetwork> {
        let mut predictor = Predictor::new(&learnt.network, self.training.preprocess.clone(), self.augmentation);
        predictor.threads = self.training.threads;
        predictor.several_images = self.several_images;
        predictor.may_miss = may_miss(self.training.modality_dropout);
        predictor.outside.clone_from(&self.outside);
        predictor.cache = place.cache.cloned();
        if let Some(heads) = &learnt.heads {
            predictor = predictor.with_heads(heads.clone());
        }
        match &learnt.known {
            Some(known) => predictor.with_known_features(known.clone()),
            None => predictor,
        }
    }
}

/// The file of a model that is named by itself or by the folder of its run.
fn model_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MODEL_FILE) } else { path.to_owned() }
}
