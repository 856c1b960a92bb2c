use serde::{Deserialize, Serialize};

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Batch within the epoch, from 1.
    pub batch: usize,
    /// Batches of the epoch.
    pub batches: usize,
    /// The training loss of the batch.
    pub loss: f64,
}

/// What one epoch did; a row of the training curves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate of heads and fusion module.
    pub learning_rate: f64,
    /// Mean training loss over the cases of the epoch.
    pub train_loss: f64,
    /// Validation loss, unweighted by class, mean over branches and tasks of the mean cross-entropy; `None` without validation
    /// cases.
    pub valid_loss: Option<f64>,
    /// Validation score; the epoch with the highest is kept, and without validation cases the last.
    pub valid_score: Option<f64>,
}

/// What the average of the last epochs' weights is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AverageReport {
    /// How many epochs were averaged.
    pub epochs: usize,
    /// Validation loss, as in [`EpochReport`].
    pub valid_loss: Option<f64>,
    /// Validation score, as in [`EpochReport`].
    pub valid_score: Option<f64>,
}

/// Is told how a run gets on. All methods do nothing unless overridden.
pub trait Observer {
    /// A run continues after this many finished epochs; only called on resuming.
    fn resumed(&mut self, finished_epochs: usize) {
        let _ = finished_epochs;
    }

    /// A checkpoint could not be read, and an older one is used.
    fn skipped_checkpoint(&mut self, reason: &str) {
        let _ = reason;
    }

    /// Something that whoever reads the result must know.
    fn warned(&mut self, text: &str) {
        let _ = text;
    }

    /// A step is done.
    fn batch(&mut self, report: &BatchReport) {
        let _ = report;
    }

    /// The mean losses, not weighed, that the network added by itself in an epoch, by name; not called where it adds none.
    fn auxiliary(&mut self, epoch: usize, losses: &[(&'static str, f64)]) {
        let _ = (epoch, losses);
    }

    /// An epoch is done; `best` says whether it is the best so far.
    fn epoch(&mut self, report: &EpochReport, epochs: usize, best: bool) {
        let _ = (report, epochs, best);
    }

    /// The weights of the last epochs are averaged.
    fn averaged(&mut self, report: &AverageReport) {
        let _ = report;
    }

    /// The run ends after this many epochs, before the last, because the score has not risen any more.
    fn stopped_early(&mut self, epochs: usize) {
        let _ = epochs;
    }
}

/// An observer that says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
