use dermafuse_schema::Modality;

use crate::images::batch_loader::{Job, gathered, jobs_of, load_case, planes_for, slots};
use crate::{CaseSet, DataError, ImageBatch, LoaderConfig, PatientImage};

/// The images of one case, in files or in memory.
#[derive(Clone, Debug, Default)]
pub struct CaseImages {
    /// The clinical photos.
    pub clinical: Vec<PatientImage>,
    /// The dermoscopic images.
    pub dermoscopic: Vec<PatientImage>,
}

impl CaseImages {
    /// The images of a kind, in order.
    #[must_use]
    pub fn of(&self, modality: Modality) -> &[PatientImage] {
        match modality {
            Modality::Clinical => &self.clinical,
            Modality::Dermoscopic => &self.dermoscopic,
        }
    }
}

/// Reads the images of one case on the thread that asks, batch by batch and in order: no thread is made, and nothing is kept
/// beyond the batch. The numbers are those of a [`BatchLoader`](crate::BatchLoader) for the same images in files.
///
/// ```
/// use dermafuse_data::{CaseImages, CaseLoader, CaseSet, LoaderConfig, Preprocess, RgbPixels};
/// use dermafuse_schema::{Case, Task, TaskSet};
///
/// let set = CaseSet {
///     name: "one".into(),
///     synthetic: false,
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     fields: vec![],
///     cases: vec![Case { labels: vec![None], clinical: vec!["a name".into()], ..Case::new("1") }],
///     split: None,
///     notes: vec![],
/// };
/// let images = CaseImages { clinical: vec![RgbPixels::new(1, 1, vec![255, 102, 0])?.into()], ..CaseImages::default() };
/// let mut loader = CaseLoader::new(&set, 0, &images, LoaderConfig::new(8, Preprocess::as_released(1)))?;
/// let batch = loader.next().expect("a case has a look")?;
/// assert_eq!(batch.clinical, Some(vec![0.0, 0.4, 1.0])); // blue, green, red
/// assert_eq!((batch.has_clinical, batch.has_dermoscopic), (vec![true], vec![false]));
/// assert!(loader.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CaseLoader {
    jobs: std::vec::IntoIter<Job>,
    config: LoaderConfig,
}

impl CaseLoader {
    /// A loader of the case at `row`, which has as many images in the set as in `images`; their paths in the set are not looked at.
    ///
    /// # Errors
    /// A row that there is not, another number of images than the case has, a batch size of 0, settings of `preprocess` or
    /// `augmentation` out of range.
    pub fn new(set: &CaseSet, row: usize, images: &CaseImages, config: LoaderConfig) -> Result<Self, DataError> {
        let case = set.cases.get(row).ok_or(DataError::Row { row, cases: set.len() })?;
        config.check()?;
        for modality in Modality::BOTH {
            let (expected, found) = (case.images(modality).len(), images.of(modality).len());
            if expected != found {
                let what = format!("number of {modality} images");
                let (expected, found) = (expected.to_string(), found.to_string());
                return Err(DataError::Case { case: case.id.to_string(), what, expected, found });
            }
        }
        let jobs = jobs_of(case, row, 0, &config, |modality, index| images.of(modality)[index].clone());
        Ok(Self { jobs: jobs.collect::<Vec<_>>().into_iter(), config })
    }
}

impl Iterator for CaseLoader {
    type Item = Result<ImageBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let jobs: Vec<Job> = self.jobs.by_ref().take(self.config.batch_size).collect();
        if jobs.is_empty() {
            return None;
        }
        let [mut clinical, mut dermoscopic] = planes_for(&jobs, &self.config);
        let image = 3 * self.config.preprocess.size * self.config.preprocess.size;
        let slots = slots(&mut clinical, jobs.len(), image).into_iter().zip(slots(&mut dermoscopic, jobs.len(), image));
        let results = jobs.iter().zip(slots);
        let results = results.map(|(job, (clinical, dermoscopic))| load_case(job, &self.config, clinical, dermoscopic));
        let results = results.collect();
        let batch = gathered(&jobs, results, [clinical, dermoscopic], &self.config);
        if batch.is_err() {
            self.jobs = Vec::new().into_iter();
        }
        Some(batch)
    }
}
