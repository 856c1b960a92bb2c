use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use dermafuse_backbones::parameter_count;
use dermafuse_data::{
    BatchLoader, CaseImages, CaseLoader, CaseSet, CaseView, DataError, Failures, ImageBatch, ImageCache,
    ImageCorruption, ImageMeasures, LoaderConfig, Looks, MetadataEncoder, OutsideModel, Preprocess, RowFault,
};
use dermafuse_ensemble::{FeatureHeads, OutOfDistribution};
use dermafuse_networks::{Modalities, MultimodalInput, Network};
use dermafuse_schema::ndarray::{Array2, Array3, Axis};
use dermafuse_schema::{Branch, BranchLogits, EngineFacts, FailedCase, SchemaError, SeveralImages};

use crate::network_engine::{BurnEngine, burn_facts, table};
use crate::{
    EngineError, InferError, KnownFeatures, NetworkEngine, NetworkValues, TestTimeAugmentation, View, kinds_of,
    modalities_of, tensors_of,
};

/// Runs a network over cases and collects the logits of every branch, view and task. Burn runs it, unless it was given a
/// [`NetworkEngine`].
#[derive(Clone, Debug)]
pub struct Predictor<N> {
    /// The network in inference mode (`valid()`).
    network: N,
    device: Device,
    /// What runs the network instead of Burn.
    engine: Option<Arc<dyn NetworkEngine>>,
    /// How images are prepared: as in training.
    pub preprocess: Preprocess,
    /// The views to average.
    pub augmentation: TestTimeAugmentation,
    /// Cases in one forward pass; changes speed and memory, not results.
    pub batch_size: usize,
    /// Threads that decode images.
    pub threads: usize,
    /// Decoded images in memory, to share with other predictors and trainers.
    pub cache: Option<Arc<ImageCache>>,
    /// What answers for a case that has several images of a kind.
    pub several_images: SeveralImages,
    /// What the network was trained to miss: a branch that lacks only that answers with zeros in its place.
    pub may_miss: Modalities,
    /// Makes images worse as they are decoded, before they are prepared; `None` leaves them.
    pub corruption: Option<ImageCorruption>,
    /// Other models that answer beside the network, from fields of the cases: each is a branch of its own.
    pub outside: Vec<OutsideModel>,
    /// Whether the pictures that [`Bundle::predict`](crate::Bundle::predict) and a [`Model`](crate::Model) are asked about are
    /// [measured](dermafuse_data::ImageMeasures).
    pub(crate) measure: bool,
    /// Tells how far each case is from those of the training, if it is known.
    pub(crate) out_of_distribution: Option<OutOfDistribution>,
    /// What answers from the network's embedding instead of the network.
    pub(crate) heads: Option<Arc<FeatureHeads>>,
    /// Features of images that need not be computed.
    known: Option<Arc<KnownFeatures>>,
}

/// What was measured of the clinical and of the dermoscopic images of a case, each in order.
pub(crate) type CaseMeasures = [Vec<Arc<ImageMeasures>>; 2];

impl<N: Network> Predictor<N> {
    /// A predictor with 16 cases a batch and two decoding threads. The network is put into inference mode.
    ///
    /// # Panics
    /// If the network has no parameters.
    #[must_use]
    pub fn new(network: &N, preprocess: Preprocess, augmentation: TestTimeAugmentation) -> Self {
        let network = network.valid();
        let device = network.devices().first().expect("a network has parameters").clone().inner();
        let several_images = SeveralImages::default();
        Self {
            network,
            device,
            engine: None,
            preprocess,
            augmentation,
            batch_size: 16,
            threads: 2,
            cache: None,
            several_images,
            may_miss: Modalities::default(),
            corruption: None,
            outside: Vec::new(),
            measure: false,
            out_of_distribution: None,
            heads: None,
            known: None,
        }
    }

    /// The same with heads that answer from the embedding of a network of frozen encoders, whose own logits are all 0.
    #[must_use]
    pub fn with_heads(self, heads: Arc<FeatureHeads>) -> Self {
        Self { heads: Some(heads), ..self }
    }

    /// The same with features that were computed by the network's encoders of images that were prepared alike: cases whose images are all
    /// among them are answered without reading any, with the same numbers. Only heads answer from features.
    #[must_use]
    pub fn with_known_features(self, known: Arc<KnownFeatures>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// The same with an engine that runs the network: one that was made of this network's weights. Cases in one forward pass are those
    /// of the engine, if it has a say in that.
    #[must_use]
    pub fn with_engine(self, engine: Arc<dyn NetworkEngine>) -> Self {
        let batch_size = engine.batch_size().unwrap_or(self.batch_size);
        Self { engine: Some(engine), batch_size, ..self }
    }

    /// What runs the network.
    #[must_use]
    pub fn engine_facts(&self) -> EngineFacts {
        self.engine.as_ref().map_or_else(burn_facts, |engine| engine.facts().clone())
    }

    /// What the network says of a batch of `cases`; `classes` are those of its tasks.
    pub(crate) fn run(
        &self,
        input: MultimodalInput,
        with_embedding: bool,
        cases: usize,
        classes: &[usize],
    ) -> Result<NetworkValues, InferError> {
        let wants_features = with_embedding || self.heads.is_some();
        let record = input.metadata.clone().filter(|_| self.heads.is_some()).map(table).transpose()?; // [B, M]
        let values = match &self.engine {
            None => BurnEngine(&self.network).run(input, wants_features)?,
            Some(engine) => {
                let values = engine.run(input, wants_features)?;
                values.check(engine.facts(), cases, self.network.branches().len(), classes)?;
                values
            }
        };
        let Some(heads) = &self.heads else { return Ok(values) };
        let features = values.embedding.as_ref().ok_or_else(|| EngineError::Shape {
            engine: self.engine_facts().to_string(),
            what: "features".into(),
            found: "that are nothing".into(),
            expected: "what the heads look at".into(),
        })?;
        let logits = heads.logits(features.view(), record.as_ref().map(Array2::view))?;
        Ok(NetworkValues { logits, embedding: values.embedding.filter(|_| with_embedding) })
    }

    /// What is said of a view of a batch.
    fn run_view(
        &self,
        input: &ReadInput,
        (view, transform): (usize, View),
        with_embedding: bool,
        cases: usize,
        classes: &[usize],
    ) -> Result<NetworkValues, InferError> {
        match input {
            ReadInput::Images(input) => {
                let turned = |image: &Option<Tensor<4>>| image.clone().map(|image| transform.apply(image));
                let input = MultimodalInput {
                    clinical: turned(&input.clinical),
                    dermoscopic: turned(&input.dermoscopic),
                    metadata: input.metadata.clone(),
                };
                self.run(input, with_embedding, cases, classes)
            }
            ReadInput::Features { heads, views, record } => {
                let features = &views[view];
                let logits = heads.logits(features.view(), Some(record.view()))?;
                Ok(NetworkValues { logits, embedding: with_embedding.then(|| features.clone()) })
            }
        }
    }

    /// The logits of the cases; `progress` is told how many are done after each batch.
    ///
    /// A case with one kind of image gets the logits of the branches that need only that kind; the others are marked as not
    /// available ([`Network::answering`] says which). A case with several images of a kind is looked at as [`several_images`](Self::several_images) says.
    ///
    /// # Errors
    /// An image that cannot be read, a case without any image, metadata that does not fit the encoder, logits that are
    /// not finite: each names the case.
    pub fn logits(
        &self,
        cases: &CaseView<'_>,
        encoder: &MetadataEncoder,
        progress: impl FnMut(usize),
    ) -> Result<BranchLogits, InferError> {
        Ok(self.collect(cases, encoder, None, Failures::Stop, progress)?.logits)
    }

    /// The logits of the only case of a set, whose images are these: in files or in memory, as many of each kind as the case
    /// has. They are read on the calling thread; paths in the set are not looked at. With them comes the damage of images that
    /// were accepted all the same (see [`Strictness::Lenient`](dermafuse_data::Strictness::Lenient)).
    ///
    /// # Errors
    /// As [`Predictor::logits`]; a set without a case.
    pub fn logits_of_images(
        &self,
        set: &CaseSet,
        images: &CaseImages,
        encoder: &MetadataEncoder,
    ) -> Result<(BranchLogits, Vec<RowFault>), InferError> {
        let collected = self.collect_of_images(set, images, encoder)?;
        Ok((collected.logits, collected.accepted))
    }

    /// As [`Predictor::logits_of_images`], with what was seen of the images.
    pub(crate) fn collect_of_images(
        &self,
        set: &CaseSet,
        images: &CaseImages,
        encoder: &MetadataEncoder,
    ) -> Result<Collected, InferError> {
        self.collect(&set.view(&[0])?, encoder, Some(images), Failures::Stop, |_| ())
    }

    /// As [`Predictor::readable_logits`], with what was seen of the images.
    pub(crate) fn collect_readable(
        &self,
        cases: &CaseView<'_>,
        encoder: &MetadataEncoder,
        progress: impl FnMut(usize),
    ) -> Result<Collected, InferError> {
        self.collect(cases, encoder, None, Failures::Report, progress)
    }

    /// The logits of those of the cases that can be answered, their rows, and the others with the reason:
    /// an image that cannot be read, no image that any branch could look at. The numbers of a case do not depend on the
    /// others.
    ///
    /// # Errors
    /// No case that can be answered: the error of the first. Metadata that does not fit the encoder, logits that are not
    /// finite.
    pub fn readable_logits(
        &self,
        cases: &CaseView<'_>,
        encoder: &MetadataEncoder,
        progress: impl FnMut(usize),
    ) -> Result<(BranchLogits, Vec<usize>, Vec<FailedCase>), InferError> {
        let Collected { logits, rows, failed, .. } = self.collect_readable(cases, encoder, progress)?;
        Ok((logits, rows, failed))
    }

    fn collect(
        &self,
        cases: &CaseView<'_>,
        encoder: &MetadataEncoder,
        images: Option<&CaseImages>,
        failures: Failures,
        mut progress: impl FnMut(usize),
    ) -> Result<Collected, InferError> {
        let set = cases.set();
        let cohort = cases.cohort(encoder)?;
        let infos = self.network.branches();
        let kinds = kinds_of(self.network.modalities());
        let failed_case = |row: usize, error: &dyn std::fmt::Display| FailedCase {
            row,
            id: set.cases[row].id.clone(),
            reason: error.to_string(),
        };
        // What is wrong with each row that is not answered, and what was first.
        let (mut faults, mut first): (HashMap<usize, FailedCase>, Option<InferError>) = (HashMap::new(), None);
        // Where the cases that are asked about stand among all.
        let mut asked = Vec::with_capacity(cases.len());
        // Which branches answer for each of them.
        let mut answering = Vec::with_capacity(cases.len());
        // Where no image is looked at, what another model says is enough.
        let said = match kinds.clone().next() {
            None => self
                .outside
                .iter()
                .map(|model| Ok(model.answers(cases)?.available))
                .collect::<Result<_, InferError>>()?,
            Some(_) => Vec::<Vec<bool>>::new(),
        };
        for (at, (row, case)) in cases.iter().enumerate() {
            let there = modalities_of(case, cohort.has_metadata[at]);
            let branches = self.network.answering_despite(there, self.may_miss);
            if branches.contains(&true) || said.iter().any(|available| available[at]) {
                asked.push(at);
                answering.push(branches);
                continue;
            }
            let error = SchemaError::NoBranch { case: case.id.to_string() };
            if failures == Failures::Stop {
                return Err(error.into());
            }
            faults.insert(row, failed_case(row, &error));
            first.get_or_insert(error.into());
        }
        let asked_cases = cases.select(&asked);
        let looks: Vec<usize> =
            asked_cases.cases().map(|case| self.several_images.looks(case, kinds.clone())).collect();
        let most = looks.iter().copied().max().unwrap_or(1);

        let views = self.augmentation.views();
        let classes = set.tasks.class_counts();
        let mut branches: Vec<Branch> = infos
            .iter()
            .enumerate()
            .map(|(index, info)| Branch {
                name: info.name.to_owned(),
                available: answering.iter().map(|branches| branches[index]).collect(),
                logits: set
                    .tasks
                    .iter()
                    .map(|task| Array3::zeros((most * views.len(), asked.len(), task.classes.len())))
                    .collect(),
            })
            .collect();
        // Every look in the order in which a loader gives them: the place of its case, and which it is.
        let mut all_looks = looks.iter().enumerate().flat_map(|(at, &looks)| (0..looks).map(move |look| (at, look)));
        // How many looks at each case have been read, and of how many cases all of them.
        let (mut read, mut done) = (vec![0; asked.len()], 0);
        let mut measures: Vec<CaseMeasures> = vec![CaseMeasures::default(); asked.len()];
        let mut distances: Vec<Option<f64>> = vec![None; asked.len()];
        // The features of a case that lacks an image are those of no case of the fit.
        let is_whole = |at: usize| kinds.clone().all(|kind| set.cases[asked_cases.rows()[at]].has(kind));
        let each = match self.several_images {
            SeveralImages::First => Looks::First,
            SeveralImages::MeanOfProbabilities => Looks::Each,
        };
        let mut accepted = Vec::new();
        self.for_each_batch(&asked_cases, images, each, encoder, failures, |batch| {
            accepted.extend(batch.accepted);
            for fault in batch.failed {
                faults.entry(fault.row).or_insert_with(|| failed_case(fault.row, &fault.error));
                first.get_or_insert(InferError::Unreadable(fault.error));
            }
            // Those that could not be read are passed over.
            let mut place_of = |row: usize, look: usize| {
                let found = all_looks.find(|&(at, which)| (asked_cases.rows()[at], which) == (row, look));
                found.expect("a batch has looks of the question").0
            };
            let places: Vec<(usize, usize)> =
                batch.rows.iter().zip(&batch.looks).map(|(&row, &look)| (place_of(row, look), look)).collect();
            for &(at, _) in &places {
                read[at] += 1;
                done += usize::from(read[at] == looks[at]);
            }
            for (&(at, _), of_look) in places.iter().zip(batch.measures) {
                measures[at].iter_mut().zip(of_look).for_each(|(images, image)| images.extend(image));
            }
            let Some(input) = batch.input else { return Ok(()) };
            for (view, transform) in views.iter().enumerate() {
                let fitted = self.out_of_distribution.as_ref().filter(|_| view == 0);
                let output = self.run_view(&input, (view, *transform), fitted.is_some(), places.len(), &classes)?;
                if let (Some(fitted), Some(features)) = (fitted, &output.embedding) {
                    for (&(at, look), row) in places.iter().zip(features.rows()) {
                        if look == 0 && is_whole(at) {
                            distances[at] = Some(fitted.score(row));
                        }
                    }
                }
                for (branch, output) in branches.iter_mut().zip(&output.logits) {
                    for (logits, values) in branch.logits.iter_mut().zip(output) {
                        for (&(at, look), row) in places.iter().zip(values.rows()) {
                            let mut slot = logits.index_axis_mut(Axis(0), look * views.len() + view); // [N, K_t]
                            slot.row_mut(at).assign(&row);
                        }
                    }
                }
            }
            progress(done);
            Ok(())
        })?;

        if self.heads.is_some() {
            // What heads make of an image that is not there is nobody's answer.
            for Branch { available, logits, .. } in &mut branches {
                let missing = available.iter().enumerate().filter(|(_, is_there)| !**is_there);
                for (at, _) in missing {
                    logits.iter_mut().for_each(|table| table.index_axis_mut(Axis(1), at).fill(0.0));
                }
            }
        }
        self.add_outside(&mut branches, &asked_cases)?;

        // A case of which one image cannot be read is not answered from the others.
        let answered: Vec<usize> = (0..asked.len()).filter(|&at| read[at] == looks[at]).collect();
        if let (true, Some(error)) = (answered.is_empty(), first) {
            return Err(error);
        }
        let kept: Vec<usize> = answered.iter().map(|&at| asked[at]).collect();
        let several = if most > 1 { looks } else { Vec::new() };
        let cohort = cohort.select(&asked);
        let mut logits = BranchLogits { tasks: set.tasks.clone(), cohort, branches, looks: several };
        if answered.len() < asked.len() {
            logits = logits.select(&answered);
        }
        logits.check()?;
        let answered_rows = kept.iter().map(|&at| cases.rows()[at]).collect();
        let mut is_kept = vec![false; cases.len()];
        kept.iter().for_each(|&at| is_kept[at] = true);
        let failed = cases.rows().iter().zip(is_kept).filter(|(_, is_kept)| !is_kept);
        let failed = failed.filter_map(|(row, _)| faults.get(row).cloned()).collect();
        let (measures, distances) =
            answered.iter().map(|&at| (std::mem::take(&mut measures[at]), distances[at])).unzip();
        Ok(Collected { logits, rows: answered_rows, failed, accepted, measures, distances })
    }

    /// Adds the branches of the other models. A network without weights, which knows nothing, answers where none of them does, and is no
    /// branch where one always does.
    fn add_outside(&self, branches: &mut Vec<Branch>, cases: &CaseView<'_>) -> Result<(), InferError> {
        if self.outside.is_empty() {
            return Ok(());
        }
        let length =
            branches.first().and_then(|branch| branch.logits.first()).map_or(0, |logits| logits.len_of(Axis(0)));
        let tasks = &cases.set().tasks;
        let mut said = vec![false; cases.len()];
        let mut added = Vec::with_capacity(self.outside.len());
        for model in &self.outside {
            let answers = model.answers(cases)?;
            let logits = tasks.iter().map(|task| match task.name == model.task {
                true => Array3::from_shape_fn((length, cases.len(), task.classes.len()), |(_, at, class)| {
                    answers.logits[[at, class]]
                }),
                false => Array3::zeros((length, cases.len(), task.classes.len())),
            });
            let logits = logits.collect();
            said.iter_mut().zip(&answers.available).for_each(|(said, available)| *said |= available);
            added.push(Branch { name: model.name.clone(), available: answers.available, logits });
        }
        if parameter_count(&self.network) == 0 && self.heads.is_none() {
            for branch in branches.iter_mut() {
                branch.available.iter_mut().zip(&said).for_each(|(available, said)| *available &= !said);
            }
            branches.retain(|branch| branch.available.contains(&true));
        }
        branches.extend(added);
        Ok(())
    }

    /// The features that the last branch's classifier sees (see
    /// [`NetworkOutput::embedding`](dermafuse_networks::NetworkOutput::embedding)), without test-time augmentation, of the first
    /// look at each case.
    ///
    /// # Shapes
    /// `[N, D]`, `N = cases.len()`.
    ///
    /// # Errors
    /// An image that cannot be read, metadata that does not fit the encoder, features that are not finite.
    pub fn embeddings(
        &self,
        cases: &CaseView<'_>,
        encoder: &MetadataEncoder,
        mut progress: impl FnMut(usize),
    ) -> Result<Array2<f32>, InferError> {
        let (mut features, mut width) = (Vec::new(), 0);
        let mut done = 0;
        let classes = cases.set().tasks.class_counts();
        self.for_each_batch(cases, None, Looks::First, encoder, Failures::Stop, |batch| {
            let Some(input) = batch.input else { return Ok(()) };
            let values = self.run_view(&input, (0, View::Identity), true, batch.rows.len(), &classes)?;
            let embedding = values.embedding.expect("it was asked for"); // [B, D]
            width = embedding.ncols();
            features.extend(embedding);
            done += batch.rows.len();
            progress(done);
            Ok(())
        })?;
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let row = cases.rows()[at / width];
            let case = cases.set().cases[row].id.to_string();
            return Err(InferError::NonFiniteFeatures { case, value: features[at] });
        }
        Ok(Array2::from_shape_vec((cases.len(), width), features).expect("a row of features for each case"))
    }

    /// Calls `each` with every batch; `images` are those of the only row, else files are read.
    #[allow(clippy::too_many_arguments, reason = "what is read, of what, and how")]
    fn for_each_batch(
        &self,
        cases: &CaseView<'_>,
        images: Option<&CaseImages>,
        looks: Looks,
        encoder: &MetadataEncoder,
        failures: Failures,
        mut each: impl FnMut(ReadBatch) -> Result<(), InferError>,
    ) -> Result<(), InferError> {
        let modalities = self.network.modalities();
        let known = self.known.as_ref().zip(self.heads.as_ref()).filter(|(known, _)| {
            let views = self.augmentation.views().len();
            images.is_none() && !self.measure && self.corruption.is_none() && known.have(cases, views)
        });
        if let Some((known, heads)) = known {
            return self.for_each_known_batch(cases, (&**known, heads), looks, encoder, each);
        }
        let mut config = LoaderConfig::new(self.batch_size, self.preprocess.clone());
        (config.clinical, config.dermoscopic) = (modalities.clinical, modalities.dermoscopic);
        config.threads = self.threads;
        (config.failures, config.looks) = (failures, looks);
        config.cache.clone_from(&self.cache);
        (config.corruption, config.measure) = (self.corruption, self.measure);
        let batches: Box<dyn Iterator<Item = Result<ImageBatch, DataError>>> = match (images, cases.rows()) {
            (None, _) => Box::new(BatchLoader::new(cases, config)?),
            (Some(_), []) => Box::new(std::iter::empty()),
            (Some(images), &[row, ..]) => Box::new(CaseLoader::new(cases.set(), row, images, config)?),
        };
        for batch in batches {
            let mut batch = batch?;
            let rows = batch.rows.clone();
            let (looks, failed) = (batch.looks.clone(), std::mem::take(&mut batch.failed));
            let (accepted, measures) = (std::mem::take(&mut batch.accepted), std::mem::take(&mut batch.measures));
            let input = match rows.len() {
                0 => None,
                _ => {
                    let metadata = cases.set().view(&rows)?.encoded_metadata(encoder)?;
                    Some(ReadInput::Images(tensors_of(batch, metadata, modalities, &self.device)))
                }
            };
            each(ReadBatch { rows, looks, failed, accepted, measures, input })?;
        }
        Ok(())
    }

    /// The same where the features of all images are known: no image is read.
    fn for_each_known_batch(
        &self,
        cases: &CaseView<'_>,
        (known, heads): (&KnownFeatures, &Arc<FeatureHeads>),
        looks: Looks,
        encoder: &MetadataEncoder,
        mut each: impl FnMut(ReadBatch) -> Result<(), InferError>,
    ) -> Result<(), InferError> {
        let kinds = kinds_of(self.network.modalities());
        let count = |row: usize| match looks {
            Looks::Each => cases.set().cases[row].looks(kinds.clone()),
            Looks::First | Looks::Drawn { .. } => 1,
        };
        let all: Vec<(usize, usize)> =
            cases.rows().iter().flat_map(|&row| (0..count(row)).map(move |look| (row, look))).collect();
        for batch in all.chunks(KNOWN_BATCH) {
            let (rows, looks): (Vec<usize>, Vec<usize>) = batch.iter().copied().unzip();
            let seen: Vec<_> = batch.iter().map(|&(row, look)| (&cases.set().cases[row], look)).collect();
            let views = (0..self.augmentation.views().len()).map(|view| known.of_looks(&seen, view)).collect();
            // In 32 bits, as a tensor has it.
            let record = cases.set().view(&rows)?.encoded_metadata(encoder)?.mapv(|value| value as f32);
            let measures = vec![[None, None]; rows.len()];
            let input = Some(ReadInput::Features { heads: heads.clone(), views, record });
            each(ReadBatch { rows, looks, failed: Vec::new(), accepted: Vec::new(), measures, input })?;
        }
        Ok(())
    }
}

/// Looks at cases that are answered at a time where nothing but heads computes.
const KNOWN_BATCH: usize = 256;

/// What a network says of cases.
pub(crate) struct Collected {
    pub(crate) logits: BranchLogits,
    /// The rows that could be answered.
    pub(crate) rows: Vec<usize>,
    /// The rows that could not be answered.
    pub(crate) failed: Vec<FailedCase>,
    /// Rows with a damaged image that was accepted.
    pub(crate) accepted: Vec<RowFault>,
    /// Of each case that is answered.
    pub(crate) measures: Vec<CaseMeasures>,
    /// How far each case that is answered is from those of the training: the score of the features of its first look, without
    /// test-time augmentation. `None` where it is not known or an image is missing.
    pub(crate) distances: Vec<Option<f64>>,
}

/// A batch as the network sees it, and what must be known of its cases.
struct ReadBatch {
    rows: Vec<usize>,
    looks: Vec<usize>,
    failed: Vec<RowFault>,
    accepted: Vec<RowFault>,
    measures: Vec<[Option<Arc<ImageMeasures>>; 2]>,
    /// `None` if no case could be read.
    input: Option<ReadInput>,
}

/// What is known of the cases of a batch.
#[allow(clippy::large_enum_variant, reason = "there is one for each batch")]
enum ReadInput {
    /// Their images.
    Images(MultimodalInput),
    /// The features of their images, `[B, ΣD]` of each view, and the encoded record, `[B, M]`, for heads.
    Features { heads: Arc<FeatureHeads>, views: Vec<Array2<f32>>, record: Array2<f32> },
}
