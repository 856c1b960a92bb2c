use crate::{Differences, ImageRecord, RateSchedule, RunFacts, RunState, TrainingConfig, WeightAveraging};

/// Which run a folder of checkpoints belongs to, and which longer one may go on with them.
#[derive(Clone, Debug, Default)]
pub struct RunIdentity {
    /// What the run's result depends on.
    pub facts: RunFacts,
    /// The contents of its images, to name those that have changed.
    pub images: ImageRecord,
    /// How the run ends, if one that ends otherwise may be continued; `None` continues equal facts alone.
    pub length: Option<RunLength>,
}

/// How a run ends: what may differ between two runs that are the same as far as both go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLength {
    epochs: usize,
    patience: Option<usize>,
    averaged: Option<usize>,
    /// Why every epoch depends on the number of all epochs, if it does.
    bound: Option<&'static str>,
}

/// The facts that a length consists of.
const EPOCHS: &str = "training.epochs";
const PATIENCE: &str = "training.patience";
const AVERAGED: &str = "training.averaging.last_epochs.epochs";

impl RunIdentity {
    /// A run that continues those with the same facts, and no others.
    #[must_use]
    pub fn of(facts: RunFacts) -> Self {
        Self { facts, ..Self::default() }
    }

    /// The differences to an earlier run; an image that has changed by its name, if `record` is the earlier one's.
    #[must_use]
    pub fn differences(&self, earlier: &RunFacts, record: &ImageRecord) -> Differences {
        let mut differences = self.facts.differences(earlier);
        let images = [
            (ImageRecord::IMAGES, self.images.differences(record)),
            (ImageRecord::LESION_BOXES, self.images.box_differences(record)),
        ];
        for (fact, images) in images.into_iter().filter(|(_, images)| !images.is_empty()) {
            if let Some(at) = differences.0.iter().position(|difference| difference.name == fact) {
                differences.0.splice(at..=at, images);
            }
        }
        differences
    }

    /// Whether a run with these differences, which has come to `state`, may go on as this one: then the result is the one
    /// that this run has from the start.
    ///
    /// # Errors
    /// Why not, where it is a matter of the run's length.
    pub(crate) fn may_continue(&self, differences: &Differences, state: &RunState) -> Result<(), Option<String>> {
        let names = || differences.0.iter().map(|difference| difference.name.as_str());
        if differences.is_empty() {
            return Ok(());
        }
        match &self.length {
            Some(length) if names().all(|name| [EPOCHS, PATIENCE, AVERAGED].contains(&name)) => {
                length.may_follow(state, names().any(|name| name == EPOCHS)).map_err(Some)
            }
            _ => Err(None),
        }
    }
}

impl RunLength {
    /// The length of a run; `follows_progress` says whether its network changes with the share of the run that is done.
    #[must_use]
    pub fn of(config: &TrainingConfig, follows_progress: bool) -> Self {
        let bound = match config.schedule {
            RateSchedule::Cosine | RateSchedule::CosineByStep => {
                Some("the learning rate falls along a cosine over all epochs")
            }
            RateSchedule::Constant if follows_progress => {
                Some("the network changes with the share of all epochs that is done")
            }
            RateSchedule::Constant => None,
        };
        let averaged = match config.averaging {
            Some(WeightAveraging::LastEpochs { epochs, .. }) => Some(epochs),
            _ => None,
        };
        Self { epochs: config.epochs, patience: config.patience, averaged, bound }
    }

    fn may_follow(&self, state: &RunState, is_longer: bool) -> Result<(), String> {
        let done = state.history.len();
        if let Some(bound) = self.bound.filter(|_| is_longer) {
            return Err(format!("{bound}, so a run of another length is another run from its first epoch"));
        }
        if self.epochs < done {
            return Err(format!("{done} epochs are done, more than {}", self.epochs));
        }
        if let Some(averaged) = self.averaged.filter(|averaged| self.epochs - averaged < done) {
            let least = done + averaged;
            return Err(format!(
                "the last {averaged} epochs are averaged and {done} epochs are done, so {least} epochs are the fewest to go on to"
            ));
        }
        if let Some(patience) = self.patience {
            let last = if is_longer { done } else { done.saturating_sub(1) };
            let tired = (1..=last).find(|&epochs| epochs - state.best_among(epochs) >= patience);
            if let Some(epochs) = tired {
                return Err(format!("a patience of {patience} epochs is used up after epoch {epochs}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EpochReport;

    fn state(scores: &[f64]) -> RunState {
        let report = |(index, &valid_score): (usize, &f64)| EpochReport {
            epoch: index + 1,
            learning_rate: 0.1,
            train_loss: 1.0,
            valid_loss: Some(1.0),
            valid_score: Some(valid_score),
        };
        let history: Vec<EpochReport> = scores.iter().enumerate().map(report).collect();
        let mut state = RunState { history, best_epoch: 0, best_from: 0 };
        state.best_epoch = state.best_among(scores.len());
        state
    }

    fn identity(change: impl Fn(&mut TrainingConfig)) -> RunIdentity {
        let mut config = TrainingConfig { schedule: RateSchedule::Constant, ..TrainingConfig::as_released(32, 0) };
        config.epochs = 4;
        change(&mut config);
        let mut facts = RunFacts::default();
        facts.set("training", &config);
        RunIdentity { facts, images: ImageRecord::default(), length: Some(RunLength::of(&config, false)) }
    }

    fn refused(
        now: impl Fn(&mut TrainingConfig),
        earlier: impl Fn(&mut TrainingConfig),
        scores: &[f64],
    ) -> Option<String> {
        let (now, earlier) = (identity(now), identity(earlier));
        let differences = now.differences(&earlier.facts, &ImageRecord::default());
        now.may_continue(&differences, &state(scores)).err().map(Option::unwrap_or_default)
    }

    #[test]
    fn a_run_goes_on_where_its_epochs_do_not_depend_on_their_number() {
        let rising = [0.1, 0.2, 0.3, 0.4];
        assert_eq!(refused(|config| config.epochs = 8, |_| (), &rising), None);
        let text = |now: fn(&mut TrainingConfig), earlier: fn(&mut TrainingConfig), scores: &[f64]| {
            refused(now, earlier, scores).expect("refused")
        };
        let cosine = |config: &mut TrainingConfig| config.schedule = RateSchedule::Cosine;
        let longer: fn(&mut TrainingConfig) = |config| {
            config.schedule = RateSchedule::Cosine;
            config.epochs = 8;
        };
        assert!(text(longer, cosine, &rising).starts_with("the learning rate falls along a cosine over all epochs"));
        assert_eq!(text(|config| config.epochs = 3, |_| (), &rising), "4 epochs are done, more than 3");
        assert_eq!(text(|config| config.seed = 3, |_| (), &rising), "", "another run altogether");

        let tired = |config: &mut TrainingConfig| config.patience = Some(2);
        let longer = |config: &mut TrainingConfig| {
            config.patience = Some(2);
            config.epochs = 8;
        };
        assert_eq!(text(longer, tired, &[0.1, 0.4, 0.3, 0.2]), "a patience of 2 epochs is used up after epoch 4");
        assert_eq!(refused(longer, tired, &[0.1, 0.2, 0.4, 0.3]), None);
        // More patience goes on, less would have ended the run before.
        assert_eq!(refused(|config| config.patience = Some(3), tired, &[0.1, 0.4, 0.3, 0.2]), None);
        let less = text(|config| config.patience = Some(1), tired, &[0.1, 0.4, 0.3, 0.2]);
        assert_eq!(less, "a patience of 1 epochs is used up after epoch 3");
    }

    #[test]
    fn an_average_of_last_epochs_needs_all_of_them() {
        let averaged = |epochs: usize, last: usize| {
            move |config: &mut TrainingConfig| {
                config.epochs = epochs;
                config.averaging = Some(WeightAveraging::LastEpochs { epochs: last, refresh_batch_norm: false });
            }
        };
        let scores = [0.1, 0.2, 0.3, 0.4];
        assert_eq!(refused(averaged(6, 2), averaged(4, 2), &scores), None);
        assert_eq!(refused(averaged(8, 4), averaged(4, 2), &scores), None);
        let text = refused(averaged(5, 2), averaged(4, 2), &scores).unwrap();
        assert!(text.ends_with("so 6 epochs are the fewest to go on to"), "{text}");
    }
}
