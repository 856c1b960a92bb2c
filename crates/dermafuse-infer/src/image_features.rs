//! The features of the images of cases: computed once, kept, and looked up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse_data::{BatchLoader, CaseView, ImageCache, LoaderConfig, Looks, Preprocess};
use dermafuse_ensemble::ImageFeatures;
use dermafuse_networks::{Modalities, Modality};
use dermafuse_schema::ndarray::{Array2, Axis, concatenate};
use dermafuse_schema::{Case, CaseImage, LesionArea, read_regular_file};

use crate::feature_cache::{Cached, FeatureCache};
use crate::{ImageEncoder, ImageEncoders, InferError, View, sha256_hex, tensors_of};

/// The largest image whose features are kept, in bytes.
const MAX_IMAGE_BYTES: u64 = 1 << 32;

/// Computes the features of images, or reads them from a cache.
#[derive(Debug)]
pub struct FeatureExtractor<'a> {
    /// The encoder of each kind of image.
    pub encoders: ImageEncoders,
    /// How images are prepared.
    pub preprocess: Preprocess,
    /// The views of each image.
    pub views: &'static [View],
    /// Where images are when they are encoded.
    pub device: Device,
    /// Images in one forward pass; changes speed and memory, not results.
    pub batch_size: usize,
    /// Threads that decode images.
    pub threads: usize,
    /// Decoded images in memory.
    pub images: Option<Arc<ImageCache>>,
    /// Features on disk.
    pub cache: Option<&'a FeatureCache>,
}

/// How the features of images were got, each view of an image counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureCounts {
    /// Computed by the encoder.
    pub computed: usize,
    /// Read from the cache.
    pub read: usize,
    /// Files of the cache that were damaged, whose features are among the computed ones.
    pub damaged: usize,
}

/// The features of images, by their kind, path and lesion.
#[derive(Clone, Debug, Default)]
pub struct KnownFeatures {
    /// Number of features of each kind of image, clinical first.
    widths: Vec<(Modality, usize)>,
    views: usize,
    /// `[V][D]` of each image.
    of_images: HashMap<(Modality, CaseImage), Vec<Vec<f32>>>,
}

impl FeatureExtractor<'_> {
    /// The features of all images of cases, of all their looks. A file that several cases have is one image, unless they mean different
    /// lesions in it; `progress` is told how many
    /// images are done, and of how many.
    ///
    /// # Errors
    /// An image that cannot be read; an engine that fails; features that are not finite; a cache that cannot be written.
    pub fn extract(
        &self,
        cases: &CaseView<'_>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(KnownFeatures, FeatureCounts), InferError> {
        let mut known = KnownFeatures {
            widths: self.encoders.iter().map(|(image, encoder)| (*image, encoder.features())).collect(),
            views: self.views.len(),
            of_images: HashMap::new(),
        };
        let mut counts = FeatureCounts::default();
        let images = |image: Modality| {
            let images = cases.cases().flat_map(move |case| case.images(image));
            images.collect::<HashSet<&CaseImage>>()
        };
        let total = self.encoders.iter().map(|(image, _)| images(*image).len()).sum();
        for (image, encoder) in &self.encoders {
            // Sorted, so that the same is done whatever the order of a hash.
            let mut files: Vec<&CaseImage> = images(*image).into_iter().collect();
            files.sort_by_key(|file| (&file.path, file.area()));
            // Of those that are not there: the keys under which they are kept.
            let mut missing: HashMap<&CaseImage, Vec<String>> = HashMap::new();
            for file in files {
                let keys = self.keys(file, encoder.identity())?;
                let found: Vec<Cached> = match self.cache {
                    Some(cache) => keys.iter().map(|key| cache.get(key, encoder.features())).collect(),
                    None => Vec::new(),
                };
                counts.damaged += found.iter().filter(|found| **found == Cached::Damaged).count();
                let whole = found.into_iter().map(|found| match found {
                    Cached::Features(features) => Some(features),
                    Cached::Nothing | Cached::Damaged => None,
                });
                match whole.collect::<Option<Vec<_>>>().filter(|features| features.len() == self.views.len()) {
                    Some(features) => {
                        counts.read += features.len();
                        known.of_images.insert((*image, file.clone()), features);
                    }
                    None => drop(missing.insert(file, keys)),
                }
            }
            progress(known.of_images.len(), total);
            self.compute(cases, *image, &**encoder, missing, &mut known, &mut counts, &mut |done| {
                progress(done, total);
            })?;
        }
        Ok((known, counts))
    }

    /// The keys of the views of an image; none without a cache.
    fn keys(&self, file: &CaseImage, encoder: &str) -> Result<Vec<String>, InferError> {
        if self.cache.is_none() {
            return Ok(Vec::new());
        }
        let mut image = sha256_hex(&read_regular_file(&file.path, MAX_IMAGE_BYTES)?);
        // The margin is one of the preparation's numbers.
        match file.area().filter(|_| self.preprocess.box_margin.is_some()) {
            None => {}
            Some(LesionArea::Box(lesion)) => image += &format!(" box {lesion}"),
            Some(LesionArea::Mask(mask)) => {
                image += &format!(" mask {}", sha256_hex(&read_regular_file(mask, MAX_IMAGE_BYTES)?));
            }
        }
        Ok(self.views.iter().map(|view| FeatureCache::key(&image, encoder, &self.preprocess, *view)).collect())
    }

    #[allow(clippy::too_many_arguments, reason = "each says another thing")]
    fn compute(
        &self,
        cases: &CaseView<'_>,
        image: Modality,
        encoder: &dyn ImageEncoder,
        mut missing: HashMap<&CaseImage, Vec<String>>,
        known: &mut KnownFeatures,
        counts: &mut FeatureCounts,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), InferError> {
        let lacks = |case: &Case| case.images(image).iter().any(|file| missing.contains_key(file));
        let rows: Vec<usize> = cases.iter().filter(|(_, case)| lacks(case)).map(|(row, _)| row).collect();
        let mut config = LoaderConfig::new(self.batch_size, self.preprocess.clone());
        (config.clinical, config.dermoscopic) = (image == Modality::Clinical, image == Modality::Dermoscopic);
        (config.threads, config.looks) = (self.threads, Looks::Each);
        config.cache.clone_from(&self.images);
        let set = cases.set();
        for batch in BatchLoader::new(&set.view(&rows[..])?, config)? {
            let mut batch = batch?;
            let file_of = |(row, look): (&usize, &usize)| set.cases[*row].image(image, *look);
            let files: Vec<Option<&CaseImage>> = batch.rows.iter().zip(&batch.looks).map(file_of).collect();
            // An image may come several times.
            let mut wanted: Vec<(usize, &CaseImage, Vec<String>)> = Vec::new();
            for (at, file) in files.iter().enumerate() {
                if let Some((file, keys)) = file.and_then(|file| Some((file, missing.remove(file)?))) {
                    wanted.push((at, file, keys));
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let pixels = 3 * batch.size * batch.size;
            let places: Vec<usize> = wanted.iter().map(|(at, ..)| *at).collect();
            let chosen = |planes: Vec<f32>| -> Vec<f32> {
                places.iter().flat_map(|at| planes[at * pixels..][..pixels].iter().copied()).collect()
            };
            batch.rows = places.iter().map(|&at| batch.rows[at]).collect();
            batch.clinical = batch.clinical.map(chosen);
            batch.dermoscopic = batch.dermoscopic.map(chosen);
            let nothing = Array2::zeros((places.len(), 0));
            let input = tensors_of(batch, nothing, Modalities::from(image), &self.device);
            let images = input.image(image); // [B, 3, S, S]
            let views = self.views.iter().map(|view| encoder.encode(view.apply(images.clone())));
            let views: Vec<Array2<f32>> = views.collect::<Result<_, _>>()?;
            for (row, (_, file, keys)) in wanted.into_iter().enumerate() {
                let features: Vec<Vec<f32>> = views.iter().map(|view| view.row(row).to_vec()).collect();
                if let Some(&value) = features.iter().flatten().find(|value| !value.is_finite()) {
                    return Err(InferError::NonFiniteFeatures { case: file.path.display().to_string(), value });
                }
                if let Some(cache) = self.cache {
                    keys.iter().zip(&features).try_for_each(|(key, features)| cache.put(key, features))?;
                }
                counts.computed += features.len();
                known.of_images.insert((image, file.clone()), features);
            }
            progress(known.of_images.len());
        }
        Ok(())
    }
}

impl KnownFeatures {
    /// The features of cases at their first look, for fitting heads.
    ///
    /// # Panics
    /// If the images of a case are not among those that are known.
    #[must_use]
    pub fn of_cases(&self, cases: &CaseView<'_>) -> Vec<ImageFeatures> {
        let of = |&(image, width): &(Modality, usize)| {
            let available: Vec<bool> = cases.cases().map(|case| case.has(image)).collect();
            let view = |view: usize| {
                let mut rows = Array2::zeros((cases.len(), width));
                for (case, mut row) in cases.cases().zip(rows.rows_mut()) {
                    if let Some(features) = self.of_image(case, image, 0) {
                        row.iter_mut().zip(&features[view]).for_each(|(to, value)| *to = *value);
                    }
                }
                rows
            };
            let views = (0..self.views).map(view).collect();
            ImageFeatures { image: image.name().to_owned(), available, views }
        };
        self.widths.iter().map(of).collect()
    }

    /// `[V][D]` of the image of a case at a look; `None` if it has none.
    fn of_image(&self, case: &Case, image: Modality, look: usize) -> Option<&Vec<Vec<f32>>> {
        let key = (image, case.image(image, look)?.clone());
        Some(self.of_images.get(&key).expect("the features of the images are known"))
    }

    /// Whether all images of cases are known, in so many views.
    pub(crate) fn have(&self, cases: &CaseView<'_>, views: usize) -> bool {
        let knows = |case: &Case, image: Modality| {
            case.images(image).iter().all(|file| self.of_images.contains_key(&(image, file.clone())))
        };
        let kinds = || self.widths.iter().map(|(image, _)| *image);
        views <= self.views && cases.cases().all(|case| kinds().all(|image| knows(case, image)))
    }

    /// The features of looks at cases, of all kinds of images side by side; zeros where a case lacks one.
    ///
    /// # Shapes
    /// `[B, ΣD]` of a view.
    pub(crate) fn of_looks(&self, looks: &[(&Case, usize)], view: usize) -> Array2<f32> {
        let parts: Vec<Array2<f32>> = self
            .widths
            .iter()
            .map(|&(image, width)| {
                let mut rows = Array2::zeros((looks.len(), width));
                for ((case, look), mut row) in looks.iter().zip(rows.rows_mut()) {
                    if let Some(features) = self.of_image(case, image, *look) {
                        row.iter_mut().zip(&features[view]).for_each(|(to, value)| *to = *value);
                    }
                }
                rows
            })
            .collect();
        let parts: Vec<_> = parts.iter().map(Array2::view).collect();
        concatenate(Axis(1), &parts).expect("all are of the same looks")
    }
}
