//! What is checked before anything is trained or written: the one place that every recipe passes.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use burn::tensor::Device;
use dermafuse_data::{CaseSet, MetadataEncoder, Modality, Split, check_images};
use dermafuse_infer::{kinds_of, may_miss, modalities_of};
use dermafuse_networks::Network;
use dermafuse_train::{Incomplete, Teacher, Trainer, TrainingCases, TrainingConfig, missing_image};

use crate::{NetworkRecipe, Progress, RecipeError, Workplace};

/// The cases that a recipe follows its protocol on, and what must be said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectedCases {
    /// The split without the cases that are left out.
    pub split: Split,
    /// Sentences about cases that lack an image or a record, for terminal and report; none if no case does.
    pub notes: Vec<String>,
}

impl NetworkRecipe {
    /// What becomes of the cases of a split that lack an image; see [`Incomplete`]. Done twice, it is the same. The encoder says
    /// of which cases anything is recorded.
    ///
    /// # Errors
    /// A configuration that makes no network; a validation or test case that no branch can answer and that is not left
    /// out; a part of which nothing is left; metadata that does not fit the encoder.
    pub fn select_cases(
        &self,
        set: &CaseSet,
        split: &Split,
        encoder: &MetadataEncoder,
        device: &Device,
    ) -> Result<SelectedCases, RecipeError> {
        split.check(set)?;
        let network = self.network.init(device)?;
        let looked_at = network.modalities();
        let matched = encoder.matched(&set.fields)?;
        let mut has_record = vec![false; set.len()];
        for &row in split.train.iter().chain(&split.valid).chain(&split.test) {
            has_record[row] = matched.has_metadata(&set.cases[row])?;
        }
        let may_miss = may_miss(self.training.modality_dropout);
        let is_seen = |row: usize| {
            let there = modalities_of(&set.cases[row], has_record[row]);
            network.answering_despite(there, may_miss).contains(&true)
        };
        let mut selected = SelectedCases { split: split.clone(), notes: Vec::new() };
        let SelectedCases { split, notes } = &mut selected;
        let parts = [("training", &mut split.train), ("validation", &mut split.valid), ("test", &mut split.test)];
        for (part, rows) in parts {
            let trains = part == "training";
            let has_images = |row: usize| missing_image(&set.cases[row], looked_at).is_none();
            let is_of_use = |row: usize| if trains { has_images(row) } else { is_seen(row) };
            let lacking: Vec<usize> = rows.iter().copied().filter(|&row| !has_images(row) || !is_of_use(row)).collect();
            if lacking.is_empty() {
                continue;
            }
            // Where images are there and nobody sees them, it is the record.
            let what = if lacking.iter().any(|&row| has_images(row)) { "an image or a record" } else { "an image" };
            let (all, lacking) = (rows.len(), lacking.len());
            let useless: Vec<usize> = rows.iter().copied().filter(|&row| !is_of_use(row)).collect();
            let left_out = match (self.incomplete, useless.first()) {
                (Incomplete::Skip, _) => {
                    rows.retain(|&row| is_of_use(row));
                    useless.len()
                }
                (Incomplete::Refuse | Incomplete::Use, Some(&row)) if !trains => {
                    let (cases, first) = (useless.len(), set.cases[row].id.to_string());
                    return Err(RecipeError::Unanswerable { part, cases, all, first });
                }
                // The trainer refuses them, with their number.
                (Incomplete::Refuse, _) if trains => continue,
                (Incomplete::Refuse | Incomplete::Use, _) => 0,
            };
            let fate = match (trains, left_out) {
                (_, out) if out == lacking => "are left out".to_owned(),
                (true, _) => "train the branches that see them".to_owned(),
                (false, 0) => "are answered by the branches that see them".to_owned(),
                (false, out) => format!("are answered by the branches that see them, but for {out} that are left out"),
            };
            notes.push(format!("{lacking} of {all} {part} cases lack {what} that the network looks at and {fate}."));
        }
        if network.answers_by_subset() && looked_at.metadata {
            let parts = [("training", &split.train), ("validation", &split.valid), ("test", &split.test)];
            for (part, rows) in parts {
                let without = rows.iter().filter(|&&row| !has_record[row]).count();
                let fate = if part == "training" { "train the branches" } else { "are answered by the branches" };
                if without > 0 {
                    let all = rows.len();
                    notes.push(format!(
                        "Nothing is recorded of {without} of {all} {part} cases: they {fate} that do without."
                    ));
                }
            }
        }
        selected.split.check(set)?;
        Ok(selected)
    }

    /// Checks what can be checked without training: the network with its weights, the settings, the folder. Nothing is
    /// written.
    pub(crate) fn check_training(
        &self,
        seed: u64,
        cases: &TrainingCases<'_>,
        place: Workplace<'_>,
    ) -> Result<(), RecipeError> {
        if self.is_frozen() {
            return self.check_encoders(place);
        }
        self.check_sides()?;
        let mut network = self.network.init(&place.device.clone().autodiff())?;
        for device in place.replicas {
            self.network.init(device)?; // the limits of each device; nothing is drawn
        }
        if let Some(weights) = &self.backbone_weights {
            network = weights.load_into(network, &self.network)?;
        }
        let trainer = self.trainer(seed, place)?;
        match place.folder {
            Some(folder) => trainer.check_folder(&network, cases, folder, place.resume)?,
            None => trainer.check(&network, cases)?,
        }
        Ok(())
    }

    pub(crate) fn trainer(&self, seed: u64, place: Workplace<'_>) -> Result<Trainer, RecipeError> {
        let mut trainer = Trainer::new(TrainingConfig { seed, ..self.training.clone() });
        trainer.cache = place.cache.cloned();
        trainer.replicas = place.replicas.to_vec();
        (trainer.incomplete, trainer.several_images) = (self.incomplete, self.several_images);
        trainer.lost_best = place.lost_best;
        if let Some(model) = self.teacher_model(place.device)? {
            trainer.teacher = Some(Arc::new(Teacher::new(&model)?));
        }
        if place.folder.is_some() {
            trainer.facts = self.facts()?;
        }
        Ok(trainer)
    }

    /// What must be said where images are cut to their lesions, and none that is learnt from.
    pub(crate) fn note_of_lesions(&self, set: &CaseSet, split: &Split) -> Option<String> {
        self.training.preprocess.box_margin?;
        let is_known = |row: &usize| set.cases[*row].has_lesion_area();
        let mut others = split.valid.iter().chain(&split.test);
        let trains_whole = !split.train.iter().any(is_known);
        (trains_whole && others.any(is_known)).then(|| {
            "No training image has a lesion box or mask: those that train are taken whole, and others are cut."
                .to_owned()
        })
    }

    /// Looks at the images of all parts, so that none stops a training at its end. All that cannot be read are named.
    pub(crate) fn check_images(
        &self,
        set: &CaseSet,
        split: &Split,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        let modalities: Vec<Modality> = kinds_of(self.network.init(place.device)?.modalities()).collect();
        let cases = set.view([&split.train[..], &split.valid, &split.test].concat())?;
        let (decoding, threads) = (self.training.preprocess.decoding, self.training.threads);
        let (sender, done) = channel();
        let check = thread::scope(|scope| {
            let look = move || {
                check_images(&cases, &modalities, decoding, threads, |done, total| {
                    // Whoever does not listen any more is not told.
                    let _ = sender.send((done, total));
                })
            };
            let looking = scope.spawn(look);
            for (done, total) in done {
                progress.looked_at(done, total);
            }
            looking.join().unwrap_or_else(|panic| resume_unwind(panic))
        })?;
        if let Some(note) = check.note() {
            progress.noted(&note);
        }
        Ok(())
    }
}

/// The training and validation cases of a split.
pub(crate) fn training_cases<'a>(
    set: &'a CaseSet,
    split: &'a Split,
    encoder: &'a MetadataEncoder,
) -> Result<TrainingCases<'a>, RecipeError> {
    Ok(TrainingCases { train: set.view(&split.train)?, valid: set.view(&split.valid)?, encoder })
}
