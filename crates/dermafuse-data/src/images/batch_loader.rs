use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use dermafuse_schema::{Case, CaseId, Modality, SettingFault};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::images::augment::{Augmentation, DermoscopicMode, Draw, Stream};
use crate::images::corruption::{ImageCorruption, WORKING_BYTES};
use crate::images::modality_dropout::Shown;
use crate::images::network_input::{Accepted, decode_changed};
use crate::images::sampler::Interpolation;
use crate::shuffle::{stream, uniform};
use crate::{CaseView, DataError, ImageCache, ImageMeasures, PatientImage, Preprocess, RgbPixels, RowFault};

/// What a [`BatchLoader`] does with a case whose image cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failures {
    /// The first one ends the loader with its error.
    #[default]
    Stop,
    /// The case is left out of its batch and listed in [`ImageBatch::failed`]; the loader goes on.
    Report,
}

/// Which looks at a case a [`BatchLoader`] gives, where the case has several images of a kind; see
/// [`Case::image`](dermafuse_schema::Case::image).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looks {
    /// The first.
    #[default]
    First,
    /// All, one after the other, each as if it were a case.
    Each,
    /// One that is drawn for each time that the case comes. It depends on seed, epoch, row and time alone.
    Drawn {
        /// Decides which.
        seed: u64,
        /// The epoch.
        epoch: u64,
    },
}

impl Looks {
    /// The looks at a case that are read, of `count`; the case came `time` times before.
    fn of(self, count: usize, row: usize, time: usize) -> std::ops::Range<usize> {
        match self {
            Self::Drawn { seed, epoch } if count > 1 => {
                let mut rng = stream(seed, epoch, row as u64, (time as u64) << 32 | Stream::Look as u64);
                let look = (uniform(&mut rng, 0.0, count as f64) as usize).min(count - 1);
                look..look + 1
            }
            Self::First | Self::Drawn { .. } => 0..1,
            Self::Each => 0..count,
        }
    }
}

/// How a [`BatchLoader`] works.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Cases in a batch; the last batch may have fewer.
    pub batch_size: usize,
    /// What is done to every image.
    pub preprocess: Preprocess,
    /// Whether clinical images are read.
    pub clinical: bool,
    /// Whether dermoscopic images are read.
    pub dermoscopic: bool,
    /// The random changes for training with their seed and the epoch; `None` for evaluation.
    pub augmentation: Option<(Augmentation, u64, u64)>,
    /// Decoding threads; 0 for one a core. The batches do not depend on it.
    pub threads: usize,
    /// Finished batches that may wait for the caller. One more is being made.
    pub queue_batches: usize,
    /// Keeps decoded images for the next epoch.
    pub cache: Option<Arc<ImageCache>>,
    /// What is done with a case whose image cannot be read.
    pub failures: Failures,
    /// What is read of a case that has several images of a kind.
    pub looks: Looks,
    /// What is shown of the case at each place of the rows; its other images are not read, as if there were none. `None` shows
    /// everything.
    pub shown: Option<Vec<Shown>>,
    /// Makes images worse as they are decoded, before they are cut and resized; `None` leaves them. What is corrupted is not kept in the
    /// cache.
    pub corruption: Option<ImageCorruption>,
    /// Whether pictures are [measured](ImageMeasures) as they are decoded (and corrupted), before they are cut and resized. Those that are
    /// measured are not taken from the cache.
    pub measure: bool,
}

impl Default for LoaderConfig {
    /// Batches of 32 images [as released](Preprocess::as_released) at 224 pixels; the rest as in [`LoaderConfig::new`].
    fn default() -> Self {
        Self::new(32, Preprocess::as_released(224))
    }
}

impl LoaderConfig {
    /// Both images, the first of each kind, no augmentation, a thread a core, two batches ahead, no cache, an end at the first
    /// image that cannot be read.
    #[must_use]
    pub fn new(batch_size: usize, preprocess: Preprocess) -> Self {
        Self {
            batch_size,
            preprocess,
            clinical: true,
            dermoscopic: true,
            augmentation: None,
            threads: 0,
            queue_batches: 2,
            cache: None,
            failures: Failures::Stop,
            looks: Looks::First,
            shown: None,
            corruption: None,
            measure: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        self.preprocess.check().map_err(|fault| fault.under("preprocess"))?;
        if let Some((augmentation, _, _)) = &self.augmentation {
            augmentation.check().map_err(|fault| fault.under("augmentation"))?;
            let fits = augmentation.prepared(&self.preprocess).size <= Preprocess::MAX_SIZE;
            let expected = format!("at most {} divided by preprocess.size", Preprocess::MAX_SIZE);
            SettingFault::unless(fits, "augmentation.oversize", expected, augmentation.oversize)?;
        }
        if self.batch_size == 0 {
            return Err(DataError::Setting { what: "batch size", found: "0".into(), expected: "at least 1" });
        }
        Ok(())
    }
}

/// The images of `B` cases, ready to become tensors. The planes of an image that a case does not have are zero; images that
/// the loader was not to read have no planes.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBatch {
    /// `[B]` rows of the case set.
    pub rows: Vec<usize>,
    /// `[B]` which look at its case each is, from 0.
    pub looks: Vec<usize>,
    /// Side of the images, `S`.
    pub size: usize,
    /// `[B, 3, S, S]` clinical images, if they are read.
    pub clinical: Option<Vec<f32>>,
    /// `[B, 3, S, S]` dermoscopic images, if they are read.
    pub dermoscopic: Option<Vec<f32>>,
    /// `[B]` whether the case has a clinical image.
    pub has_clinical: Vec<bool>,
    /// `[B]` whether the case has a dermoscopic image.
    pub has_dermoscopic: Vec<bool>,
    /// `[B]` what was measured of the clinical and the dermoscopic image, as far as they were read; see [`LoaderConfig::measure`].
    pub measures: Vec<[Option<Arc<ImageMeasures>>; 2]>,
    /// The cases that could not be read and are not among `rows`, in order; see [`Failures::Report`]. Where no case could be
    /// read, the batch has no rows.
    pub failed: Vec<RowFault>,
    /// The cases among `rows` with a damaged image that was [accepted](crate::Strictness::Lenient), in order.
    pub accepted: Vec<RowFault>,
}

/// Reads the images of cases, batch by batch and in order, on threads of its own.
///
/// A row may come several times: it is varied anew each time. The memory is bounded: `queue_batches + 2` batches at
/// most, however slow the caller is. Dropping the loader stops its threads. The numbers depend on the files and the
/// configuration alone, not on threads or timing. After an error the loader ends; with [`Failures::Report`] an image that
/// cannot be read is no error of the loader but an entry of its batch.
///
/// ```
/// use dermafuse_data::{BatchLoader, CaseSet, LoaderConfig, Preprocess};
/// use dermafuse_schema::{Case, Task, TaskSet};
///
/// // Two cases without images: planes of zeros and two flags that say so.
/// let case = |id: &str| Case { labels: vec![None], ..Case::new(id) };
/// let set = CaseSet {
///     name: "none".into(),
///     synthetic: false,
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     fields: vec![],
///     cases: vec![case("1"), case("2")],
///     split: None,
///     notes: vec![],
/// };
/// let loader = BatchLoader::new(&set.view(&[1, 0])?, LoaderConfig::new(8, Preprocess::imagenet(4)))?;
/// let batches = loader.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(batches.len(), 1);
/// assert_eq!(batches[0].rows, [1, 0]);
/// assert_eq!(batches[0].clinical, Some(vec![0.0; 2 * 3 * 4 * 4]));
/// assert_eq!(batches[0].has_clinical, [false, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BatchLoader {
    batches: Option<Receiver<Result<ImageBatch, DataError>>>,
    stop: Arc<AtomicBool>,
    maker: Option<JoinHandle<()>>,
    remaining: usize,
}

/// The images of one case.
#[derive(Debug)]
pub(crate) struct Job {
    row: usize,
    case: CaseId,
    /// How many times the row came before.
    time: usize,
    look: usize,
    clinical: Option<PatientImage>,
    dermoscopic: Option<PatientImage>,
}

/// The looks at a case that are read, whose row came `time` times before. `image` gives the image of a kind at a place.
pub(crate) fn jobs_of<'a>(
    case: &'a Case,
    row: usize,
    time: usize,
    config: &LoaderConfig,
    image: impl Fn(Modality, usize) -> PatientImage + 'a,
) -> impl Iterator<Item = Job> + 'a {
    let (clinical, dermoscopic) = (config.clinical, config.dermoscopic);
    let kinds = Modality::BOTH.into_iter().filter(|kind| match kind {
        Modality::Clinical => clinical,
        Modality::Dermoscopic => dermoscopic,
    });
    config.looks.of(case.looks(kinds), row, time).map(move |look| {
        let image = |modality| case.place(modality, look).map(|place| image(modality, place));
        Job {
            row,
            case: case.id.clone(),
            time,
            look,
            clinical: image(Modality::Clinical),
            dermoscopic: image(Modality::Dermoscopic),
        }
    })
}

impl BatchLoader {
    /// Starts to read the images of the cases, in the order of the view; see [`shuffled`](crate::shuffled) for another order
    /// each epoch.
    ///
    /// # Errors
    /// A batch size of 0, settings of `preprocess` or `augmentation` out of range, threads
    /// that the system refuses.
    pub fn new(cases: &CaseView<'_>, config: LoaderConfig) -> Result<Self, DataError> {
        config.check()?;
        let mut times = vec![0; cases.set().len()];
        let mut jobs: Vec<Job> = Vec::with_capacity(cases.len());
        if let Some(shown) = config.shown.as_ref().filter(|shown| shown.len() != cases.len()) {
            let (found, expected) = (shown.len().to_string(), "as many as there are rows");
            return Err(DataError::Setting { what: "number of cases of which something is shown", found, expected });
        }
        for (at, (row, case)) in cases.iter().enumerate() {
            let shown = config.shown.as_ref().map_or(Shown::ALL, |shown| shown[at]);
            let time = times[row];
            times[row] += 1;
            let jobs_of_case =
                jobs_of(case, row, time, &config, |kind, place| PatientImage::from(&case.images(kind)[place]));
            jobs.extend(jobs_of_case.map(|job| Job {
                clinical: job.clinical.filter(|_| shown.clinical),
                dermoscopic: job.dermoscopic.filter(|_| shown.dermoscopic),
                ..job
            }));
        }
        let refused = |error: &dyn std::fmt::Display| DataError::Setting {
            what: "number of loader threads",
            found: format!("{} ({error})", config.threads),
            expected: "one that the system grants",
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .thread_name(|index| format!("image-loader-{index}"))
            .build()
            .map_err(|error| refused(&error))?;
        let remaining = jobs.len().div_ceil(config.batch_size);
        let (sender, batches) = sync_channel(config.queue_batches);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let settings = config.clone();
        let make = move || {
            for jobs in jobs.chunks(settings.batch_size) {
                let batch = pool.install(|| load_batch(jobs, &settings, &stopped));
                let failed = batch.is_err();
                if stopped.load(Ordering::Relaxed) || sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        let maker =
            std::thread::Builder::new().name("image-loader".into()).spawn(make).map_err(|error| refused(&error))?;
        Ok(Self { batches: Some(batches), stop, maker: Some(maker), remaining })
    }
}

impl Iterator for BatchLoader {
    type Item = Result<ImageBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.as_ref()?.recv().ok();
        match &batch {
            Some(Ok(_)) => self.remaining -= 1,
            Some(Err(_)) => {
                self.remaining = 0;
                self.batches = None;
            }
            None => {
                self.batches = None;
                // The thread ends early only by a defect of this crate, which must not look like the last batch.
                if let Some(Err(panic)) = self.maker.take().filter(|_| self.remaining > 0).map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        batch
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

impl Drop for BatchLoader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.batches = None;
        if let Some(maker) = self.maker.take() {
            // A panic of the thread has been reported by its own message; dropping must not add a second one.
            let _ = maker.join();
        }
    }
}

fn load_batch(jobs: &[Job], config: &LoaderConfig, stop: &AtomicBool) -> Result<ImageBatch, DataError> {
    let image = 3 * config.preprocess.size * config.preprocess.size;
    let [mut clinical, mut dermoscopic] = planes_for(jobs, config);
    let results: Vec<Result<ReadImages, DataError>> = jobs
        .par_iter()
        .zip(slots(&mut clinical, jobs.len(), image))
        .zip(slots(&mut dermoscopic, jobs.len(), image))
        .map(|((job, clinical), dermoscopic)| match stop.load(Ordering::Relaxed) {
            true => Ok(ReadImages::default()),
            false => load_case(job, config, clinical, dermoscopic),
        })
        .collect();
    gathered(jobs, results, [clinical, dermoscopic], config)
}

/// Room for the clinical and the dermoscopic images of jobs, as far as they are read.
pub(crate) fn planes_for(jobs: &[Job], config: &LoaderConfig) -> [Option<Vec<f32>>; 2] {
    let image = 3 * config.preprocess.size * config.preprocess.size;
    [config.clinical, config.dermoscopic].map(|read| read.then(|| vec![0.0; jobs.len() * image]))
}

/// One slot for each case, also where nothing is read.
pub(crate) fn slots(planes: &mut Option<Vec<f32>>, cases: usize, image: usize) -> Vec<Option<&mut [f32]>> {
    match planes {
        Some(planes) => planes.chunks_mut(image).map(Some).collect(),
        None => (0..cases).map(|_| None).collect(),
    }
}

/// The batch of the jobs that could be read.
pub(crate) fn gathered(
    jobs: &[Job],
    results: Vec<Result<ReadImages, DataError>>,
    [mut clinical, mut dermoscopic]: [Option<Vec<f32>>; 2],
    config: &LoaderConfig,
) -> Result<ImageBatch, DataError> {
    let size = config.preprocess.size;
    let image = 3 * size * size;
    let (mut read, mut failed, mut accepted) = (Vec::with_capacity(jobs.len()), Vec::new(), Vec::new());
    let mut measures = Vec::with_capacity(jobs.len());
    for (at, (job, result)) in jobs.iter().zip(results).enumerate() {
        match result {
            Ok(ReadImages { damage, measures: of_job }) => {
                read.push(at);
                measures.push(of_job);
                accepted.extend(damage.into_iter().map(|error| RowFault { row: job.row, error }));
            }
            // The first error by row, not by time.
            Err(error) if config.failures == Failures::Stop => return Err(error),
            Err(error) => failed.push(RowFault { row: job.row, error: Arc::new(error) }),
        }
    }
    for planes in [&mut clinical, &mut dermoscopic].into_iter().flatten() {
        for (to, &from) in read.iter().enumerate() {
            planes.copy_within(from * image..(from + 1) * image, to * image);
        }
        planes.truncate(read.len() * image);
    }
    let jobs: Vec<&Job> = read.into_iter().map(|at| &jobs[at]).collect();
    Ok(ImageBatch {
        rows: jobs.iter().map(|job| job.row).collect(),
        looks: jobs.iter().map(|job| job.look).collect(),
        size,
        clinical,
        dermoscopic,
        has_clinical: jobs.iter().map(|job| job.clinical.is_some()).collect(),
        has_dermoscopic: jobs.iter().map(|job| job.dermoscopic.is_some()).collect(),
        measures,
        failed,
        accepted,
    })
}

/// What is to be told of the images of a job.
#[derive(Default)]
pub(crate) struct ReadImages {
    /// The damage that was accepted.
    damage: Vec<Arc<DataError>>,
    /// Of the clinical and the dermoscopic image, if they are measured.
    measures: [Option<Arc<ImageMeasures>>; 2],
}

/// Fills the planes of a case.
pub(crate) fn load_case(
    job: &Job,
    config: &LoaderConfig,
    clinical: Option<&mut [f32]>,
    dermoscopic: Option<&mut [f32]>,
) -> Result<ReadImages, DataError> {
    let mut told = ReadImages::default();
    // As a mask, a dermoscopic image follows the clinical one; alone it is varied like any photo.
    let mode = |augmentation: &Augmentation| match clinical.is_some() {
        true => augmentation.dermoscopic,
        false => DermoscopicMode::Paired,
    };
    let (draw, derm_draw, derm_interpolation) = match &config.augmentation {
        None => (Draw::default(), Draw::default(), Interpolation::Nearest),
        Some((augmentation, seed, epoch)) => {
            let draw = augmentation.draw(*seed, *epoch, job.row, job.time, Stream::Case);
            match mode(augmentation) {
                DermoscopicMode::AsMask => (draw, draw.without_light(), Interpolation::Nearest),
                DermoscopicMode::Paired => (draw, draw, Interpolation::Bilinear),
                DermoscopicMode::Independent => {
                    let own = augmentation.draw(*seed, *epoch, job.row, job.time, Stream::Dermoscopic);
                    (draw, own, Interpolation::Bilinear)
                }
            }
        }
    };
    if let (Some(image), Some(planes)) = (&job.clinical, clinical) {
        let image = read(image, job, Modality::Clinical, config)?;
        draw.render(&image.pixels, Interpolation::Bilinear, &config.preprocess, planes);
        told.damage.extend(image.damage.clone());
        told.measures[0].clone_from(&image.measures);
    }
    if let (Some(image), Some(planes)) = (&job.dermoscopic, dermoscopic) {
        let image = read(image, job, Modality::Dermoscopic, config)?;
        derm_draw.render(&image.pixels, derm_interpolation, &config.preprocess, planes);
        told.damage.extend(image.damage.clone());
        told.measures[1].clone_from(&image.measures);
    }
    Ok(told)
}

/// Decoded and resized pixels of a kind of image, corrupted if they are to be, from the cache where there is one.
fn read(image: &PatientImage, job: &Job, kind: Modality, config: &LoaderConfig) -> Result<Arc<Accepted>, DataError> {
    let prepared = match &config.augmentation {
        Some((augmentation, ..)) => &augmentation.prepared(&config.preprocess),
        None => &config.preprocess,
    };
    if let Some(corruption) = config.corruption.filter(|corruption| corruption.is_of(kind)) {
        let change = |pixels: &RgbPixels| corruption.apply(pixels, &job.case, kind, job.look);
        return Ok(Arc::new(decode_changed(image, prepared, WORKING_BYTES, Some(&change), config.measure)?));
    }
    match &config.cache {
        Some(cache) if !config.measure => cache.get_or_decode(image, prepared),
        _ => Ok(Arc::new(decode_changed(image, prepared, 0, None, config.measure)?)),
    }
}
