use std::path::Path;
use std::sync::Arc;

use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device};
use dermafuse_data::{
    BatchLoader, CaseSet, CaseView, ImageCache, LoaderConfig, Looks, MetadataEncoder, Mix, Mixing, Preprocess, mix,
};
use dermafuse_infer::{Predictor, TestTimeAugmentation, kinds_of, may_miss, modalities_of, tensors_of};
use dermafuse_kernels::on_pool;
use dermafuse_networks::{Modalities, Network};
use dermafuse_schema::{BranchLogits, SeveralImages};

use crate::averaging::{Average, refresh_batch_norm};
use crate::clipping::clip_norm;
use crate::optimizer::learning_rates;
use crate::replicas::{DeviceFault, Gathered, Part, Replicas, device_of};
use crate::shown::{ShownCases, check_dropout};
use crate::{
    AverageReport, BatchReport, Checkpoint, Checkpoints, EpochReport, ImageRecord, Incomplete, LostBest, MultitaskLoss,
    Observer, RunFacts, RunIdentity, RunLength, RunState, Targets, Teacher, TrainError, TrainingConfig,
    WeightAveraging, missing_image,
};

/// The cases of a run. Those that train and those that validate may be of different sets, if these have the same tasks.
#[derive(Clone, Debug)]
pub struct TrainingCases<'a> {
    /// Cases to learn from; each needs the images that the network looks at, unless [`Trainer::incomplete`] says otherwise.
    pub train: CaseView<'a>,
    /// Cases to choose the best epoch on; without any, the last epoch's weights are the result.
    pub valid: CaseView<'a>,
    /// The metadata encoder, fitted on the training cases.
    pub encoder: &'a MetadataEncoder,
}

/// The result of a run: a network in inference mode, and how it came about.
#[derive(Clone, Debug)]
pub struct Trained<N> {
    /// The network of the best epoch, or the average that the recipe asks for.
    pub network: N,
    /// The training curves.
    pub history: Vec<EpochReport>,
    /// The epoch with the best score, from 1; the last one without validation cases.
    pub best_epoch: usize,
    /// What the average of the last epochs is worth, if the network is one.
    pub average: Option<AverageReport>,
}

/// Trains networks by a recipe.
#[derive(Clone, Debug)]
pub struct Trainer {
    /// The recipe.
    pub config: TrainingConfig,
    /// Devices that share each step with the network's own: they compute its parts (`micro_batch_size`) in turn, and the numbers are those
    /// of one device. What they have in common with others of their kind, such as the CPU's threads, they share; none as a rule.
    pub replicas: Vec<Device>,
    /// Decoded images in memory, kept from epoch to epoch and shared with other trainers and predictors.
    pub cache: Option<Arc<ImageCache>>,
    /// What else makes the run what it is: the network's configuration, its first weights, the score. A run of other facts is
    /// not continued; left empty, only what this trainer sees is compared.
    pub facts: RunFacts,
    /// A trained network that this one learns from beside the labels, as [`TrainingConfig::distillation`] says; there is one if that is set.
    pub teacher: Option<Arc<Teacher>>,
    /// What becomes of training cases that lack an image. They are never left out here: that is done before.
    pub incomplete: Incomplete,
    /// What a case shows that has several images of a kind: the first in every epoch, or one that each epoch draws.
    pub several_images: SeveralImages,
    /// What becomes of a resumed run whose best epoch is damaged.
    pub lost_best: LostBest,
}

/// The validation score of the released code: the mean over branches of the mean over tasks of the accuracy, without
/// test-time augmentation. Counted over cases; the released code averages over batches, of which the last may be smaller.
/// NaN when no case is annotated.
#[must_use]
pub fn mean_branch_accuracy(logits: &BranchLogits) -> f64 {
    let scores = logits.branches.iter().map(|branch| {
        logits.branch(&branch.name).ok().and_then(|predictions| predictions.mean_accuracy()).unwrap_or(f64::NAN)
    });
    scores.sum::<f64>() / logits.branches.len() as f64
}

impl Trainer {
    /// A trainer for a recipe that decodes every image each time.
    #[must_use]
    pub fn new(config: TrainingConfig) -> Self {
        Self {
            config,
            replicas: Vec::new(),
            cache: None,
            teacher: None,
            facts: RunFacts::default(),
            incomplete: Incomplete::default(),
            several_images: SeveralImages::default(),
            lost_best: LostBest::default(),
        }
    }

    /// Trains a network and gives back the one of the epoch with the highest validation `score` (strictly: the first of
    /// equals), such as [`mean_branch_accuracy`], or the [average](crate::WeightAveraging) that the recipe asks for. Without
    /// validation cases nothing is scored, and the last epoch is the best.
    ///
    /// The network must be on an autodiff device. With `folder`, a checkpoint is written after every epoch; with `resume`
    /// as well, a run that was interrupted continues from the last one, with the same result as if it had not been. So does one
    /// that is finished, with more epochs, where the epochs do not depend on their number (see [`RunLength`]).
    ///
    /// # Errors
    /// A recipe or cases that make no training; an image that cannot be read; a loss or score that is not finite; a folder
    /// that is in use, holds another run (the error says in what it differs), or cannot be written.
    pub fn fit<N: Network>(
        &self,
        network: N,
        cases: &TrainingCases<'_>,
        score: impl Fn(&BranchLogits) -> f64,
        folder: Option<&Path>,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Trained<N>, TrainError> {
        self.check(&network, cases)?;
        let loss = MultitaskLoss::new(&cases.train, self.config.loss.clone())?;
        let checkpoints = match folder {
            Some(folder) => Some(Checkpoints::open(folder, self.identity(&network, cases, folder)?, resume)?),
            None => None,
        };
        let initial = network.freeze_backbones(self.config.freeze);
        let mut run = Run {
            network: initial.clone(),
            optimizer: self.optimizer(),
            state: RunState::default(),
            best: None,
            average: None,
        };
        if let (Some(checkpoints), Some(folder)) = (&checkpoints, folder) {
            let found = checkpoints.latest(|reason| observer.skipped_checkpoint(reason))?;
            let found = found.map(|found| self.with_best(found, checkpoints, folder, observer)).transpose()?;
            if let Some((checkpoint, best)) = found.flatten() {
                run = self.restore(checkpoint, best.as_ref(), &initial, folder)?;
                observer.resumed(run.state.history.len());
            }
        }

        while !self.is_over(&run.state) {
            let epoch = run.state.history.len();
            run.network = self.with_blocks_frozen(run.network, &initial, epoch)?;
            let train_loss = self.train_epoch(epoch, &mut run, cases, &loss, observer)?;
            self.average_epoch(epoch, &mut run);
            let validated = self.validated(&run);
            let report = self.validate(epoch, train_loss, validated, cases, &score)?;
            run.state.history.push(report);
            let is_best = run.state.best_among(epoch + 1) == epoch + 1;
            if is_best {
                run.state.best_epoch = epoch + 1;
                run.best = Some(self.validated(&run).valid());
            }
            if let Some(checkpoints) = &checkpoints {
                checkpoints.write(&snapshot(&run)?)?;
            }
            observer.epoch(&report, self.config.epochs, is_best);
        }
        if run.state.history.len() < self.config.epochs {
            observer.stopped_early(run.state.history.len());
        }
        let RunState { history, best_epoch, .. } = run.state;
        if let Some(WeightAveraging::LastEpochs { epochs, refresh_batch_norm }) = self.config.averaging {
            let average = run.average.expect("the last epochs were averaged").network;
            let network = match refresh_batch_norm {
                true => self.refresh_batch_norm(&initial, average, cases)?,
                false => average,
            };
            let (valid_loss, valid_score) = self.loss_and_score(&network, cases, &score)?;
            let report = AverageReport { epochs, valid_loss, valid_score };
            observer.averaged(&report);
            return Ok(Trained { network, history, best_epoch, average: Some(report) });
        }
        let network = run.best.expect("a run of at least one epoch has a best epoch");
        Ok(Trained { network, history, best_epoch, average: None })
    }

    /// The network with the blocks frozen that do not train in an epoch, counted from 0. `initial` has its structure,
    /// with nothing frozen but what always is.
    fn with_blocks_frozen<N: Network>(&self, network: N, initial: &N, epoch: usize) -> Result<N, TrainError> {
        let Some(unfreezing) = &self.config.unfreezing else { return Ok(network) };
        // Thawing would also ask for gradients of running statistics: the weights go into a network that was never
        // frozen.
        let thawed = initial.clone().try_load_record(network.into_record()).map_err(unrestorable)?;
        Ok(unfreezing.apply(thawed, epoch))
    }

    /// Takes the weights at the end of an epoch, counted from 0, into the average of the last epochs.
    fn average_epoch<N: Network>(&self, epoch: usize, run: &mut Run<N>) {
        let Some(WeightAveraging::LastEpochs { epochs, .. }) = self.config.averaging else { return };
        let first = self.config.epochs - epochs;
        if epoch >= first {
            run.average = Some(match run.average.take() {
                Some(average) if epoch > first => average.approach(&run.network, 1.0 / (epoch - first + 1) as f64),
                // An average of a shorter run that went on as this one is none of this one's epochs.
                _ => Average::of(&run.network),
            });
        }
    }

    /// Takes the weights after a step, one of so many, into the moving average.
    fn average_step<N: Network>(&self, run: &mut Run<N>, steps: usize) {
        let Some(WeightAveraging::Exponential { decay, warm_up }) = self.config.averaging else { return };
        let decay = WeightAveraging::decay_after(decay, warm_up, steps);
        run.average = Some(match run.average.take() {
            None => Average::of(&run.network),
            Some(average) => average.approach(&run.network, 1.0 - decay),
        });
    }

    /// What is validated after an epoch: the moving average, if there is one.
    fn validated<'a, N: Network>(&self, run: &'a Run<N>) -> &'a N {
        match (self.config.averaging, &run.average) {
            (Some(WeightAveraging::Exponential { .. }), Some(average)) => &average.network,
            _ => &run.network,
        }
    }

    /// The averaged network with running statistics of its own, from one more pass over the training cases.
    fn refresh_batch_norm<N: Network>(
        &self,
        initial: &N,
        average: N,
        cases: &TrainingCases<'_>,
    ) -> Result<N, TrainError> {
        let network = initial.clone().try_load_record(average.into_record()).map_err(unrestorable)?;
        let (device, modalities) = (device_of(&network), network.modalities());
        let (seed, epoch) = (self.config.seed, self.config.epochs);
        let EpochPasses { shown, passes, .. } = self.passes(epoch, modalities, cases)?;
        let set = cases.train.set();
        let matched = cases.encoder.matched(&set.fields)?;
        let mut first = 0;
        let inputs = passes.map(|images| {
            let images = images?;
            let mut metadata = set.view(&images.rows)?.encoded_metadata(cases.encoder)?;
            if let Some(shown) = &shown {
                shown.hide_records(first, &mut metadata, &matched, set.fields.len())?;
            }
            first += images.rows.len();
            Ok::<_, TrainError>(tensors_of(images, metadata, modalities, &device))
        });
        let drawn = step_seed(seed, epoch, 0);
        Ok(refresh_batch_norm(network, inputs, drawn, || device.seed(drawn))?.valid())
    }

    /// The order of the training cases in an epoch, what is shown of each, and a loader that prepares them in it.
    fn passes(
        &self,
        epoch: usize,
        modalities: Modalities,
        cases: &TrainingCases<'_>,
    ) -> Result<EpochPasses, TrainError> {
        let config = &self.config;
        let mut order = config.sampling.order(&cases.train, config.seed, epoch as u64)?;
        let set = cases.train.set();
        let pass_size = self.pass_size(set);
        if order.len() % pass_size == 1 {
            order.pop(); // batch normalisation has no statistics for a single case
        }
        let preprocess = Preprocess { size: config.side_in(epoch), ..config.preprocess.clone() };
        let mut loader = LoaderConfig::new(pass_size, preprocess);
        (loader.clinical, loader.dermoscopic) = (modalities.clinical, modalities.dermoscopic);
        loader.augmentation = config.augmentation.clone().map(|augmentation| (augmentation, config.seed, epoch as u64));
        loader.looks = match self.several_images {
            SeveralImages::First => Looks::First,
            SeveralImages::MeanOfProbabilities => Looks::Drawn { seed: config.seed, epoch: epoch as u64 },
        };
        loader.threads = config.threads;
        loader.cache.clone_from(&self.cache);
        let address = (config.seed, epoch as u64);
        let draw = |dropout| ShownCases::draw(dropout, modalities, cases, &order, address);
        let shown = config.modality_dropout.map(draw).transpose()?;
        loader.shown = shown.as_ref().map(|shown| shown.each().to_vec());
        let passes = BatchLoader::new(&set.view(&order)?, loader)?;
        Ok(EpochPasses { order, shown, passes })
    }

    /// How each case of an epoch's order is mixed.
    fn mixes(&self, mixing: Mixing, epoch: usize, order: &[usize], cases: usize) -> Vec<Option<Mix>> {
        let mut times = vec![0; cases];
        let of_row = |&row: &usize| {
            times[row] += 1;
            mixing.drawn(self.config.seed, epoch as u64, row, times[row] - 1)
        };
        order.iter().map(of_row).collect()
    }

    /// Cases in a step of the optimizer.
    fn batch_size(&self, set: &CaseSet) -> usize {
        self.config.sampling.batch_size(&set.tasks).unwrap_or(self.config.batch_size)
    }

    /// Cases in one pass through the network.
    fn pass_size(&self, set: &CaseSet) -> usize {
        self.config.micro_batch_size.unwrap_or(self.batch_size(set))
    }

    /// Whether the epochs or the patience are used up.
    fn is_over(&self, state: &RunState) -> bool {
        let epochs = state.history.len();
        let tired = self.config.patience.is_some_and(|patience| epochs - state.best_epoch >= patience);
        epochs >= self.config.epochs || (epochs > 0 && tired)
    }

    /// Checks that the recipe makes a training of the network on the cases. [`Trainer::fit`] does it first.
    ///
    /// # Errors
    /// The first setting that does not.
    pub fn check<N: Network>(&self, network: &N, cases: &TrainingCases<'_>) -> Result<(), TrainError> {
        self.config.check()?;
        if let Some(unfreezing) = &self.config.unfreezing {
            unfreezing.check(self.config.epochs, &network.backbone_groups())?;
        }
        let set = cases.train.set();
        let (batch, pass) = (self.batch_size(set), self.pass_size(set));
        let size =
            |setting, expected, found: usize| Err(TrainError::Setting { setting, expected, found: found.to_string() });
        if batch < 2 {
            return size("batch_size", "at least 2 (batch normalisation)", batch);
        }
        if pass < 2 || !batch.is_multiple_of(pass) {
            return size("micro_batch_size", "at least 2 and a divisor of batch_size", pass);
        }
        self.check_parts(batch, pass)?;
        let order = self.config.sampling.order(&cases.train, self.config.seed, 0)?;
        let steps = self.config.epochs * order.len().div_ceil(batch);
        if self.config.warm_up_steps > 0 && self.config.warm_up_steps >= steps {
            let expected = "fewer steps than the training has";
            return size("warm_up_steps", expected, self.config.warm_up_steps);
        }
        let valid = cases.valid.set();
        if valid.tasks != set.tasks {
            let (expected, found) = ("of the tasks of the training part", format!("of those of {}", valid.name));
            return Err(TrainError::Setting { setting: "the validation part", expected, found });
        }
        let setting = |setting, expected, found: usize| {
            Err(TrainError::Setting { setting, expected, found: format!("{found} cases") })
        };
        if cases.train.len() < 2 {
            return setting("the training part", "two or more cases", cases.train.len());
        }
        if let (true, Some(patience)) = (cases.valid.is_empty(), self.config.patience) {
            let (expected, found) = ("none where no case validates", patience.to_string());
            return Err(TrainError::Setting { setting: "patience", expected, found });
        }
        if let Some(dropout) = self.config.modality_dropout {
            check_dropout(dropout, network)?;
        }
        if let Some(teacher) = &self.teacher {
            teacher.check(network, &cases.train, &self.config)?;
        }
        if self.teacher.is_some() != self.config.distillation.is_some() {
            let (expected, found) = ("given where there is a teacher, and nowhere else", "one of both".to_owned());
            return Err(TrainError::Setting { setting: "distillation", expected, found });
        }
        self.check_images(network, cases)?;
        let known = network.auxiliary();
        if let Some(unknown) = self.config.loss.auxiliary.keys().find(|name| !known.contains(&name.as_str())) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(TrainError::UnknownAuxiliary { name: unknown.clone(), known });
        }
        if !network.devices().iter().all(Device::is_autodiff) {
            let (expected, found) = ("on an autodiff device (`device.autodiff()`)", "on a plain device".to_owned());
            return Err(TrainError::Setting { setting: "the network", expected, found });
        }
        Ok(())
    }

    /// Where several devices share a step, each has a part of it.
    fn check_parts(&self, batch: usize, pass: usize) -> Result<(), TrainError> {
        let devices = 1 + self.replicas.len();
        if devices == 1 || (self.config.micro_batch_size.is_some() && batch / pass >= devices) {
            return Ok(());
        }
        let (expected, found) = match self.config.micro_batch_size {
            Some(_) => ("so small that each of several devices has a part of a batch", format!("{pass}")),
            None => {
                ("set where several devices share a step, since each computes parts of that size", "none".to_owned())
            }
        };
        let found = format!("{found} for batches of {batch} on {devices} devices");
        Err(TrainError::Setting { setting: "micro_batch_size", expected, found })
    }

    /// Every training case has the images that the network looks at, or may do without.
    fn check_images<N: Network>(&self, network: &N, cases: &TrainingCases<'_>) -> Result<(), TrainError> {
        let looked_at = network.modalities();
        let training = || cases.train.cases();
        let mut incomplete = training().filter_map(|case| Some((case, missing_image(case, looked_at)?)));
        let Some((first, image)) = incomplete.next() else { return Ok(()) };
        let matched = cases.encoder.matched(&cases.train.set().fields)?;
        let mut unseen = None;
        for case in training() {
            let there = modalities_of(case, matched.has_metadata(case)?);
            if !network.seeing_despite(there, may_miss(self.config.modality_dropout)).contains(&true) {
                unseen = Some(case);
                break;
            }
        }
        let why_not_used = match (network.auxiliary().first(), unseen) {
            (Some(own), _) => Some(format!("the network's own loss `{own}` is of both images")),
            (None, Some(case)) => Some(format!("no branch of the network sees enough of case {}", case.id)),
            (None, None) => None,
        };
        match self.incomplete {
            Incomplete::Use if why_not_used.is_none() => Ok(()),
            Incomplete::Refuse | Incomplete::Skip | Incomplete::Use => Err(TrainError::Incomplete {
                cases: 1 + incomplete.count(),
                all: cases.train.len(),
                first: first.id.to_string(),
                image,
                why_not_used,
            }),
        }
    }

    /// Whether the training may begin or continue in a folder; nothing is written. [`Trainer::fit`] does it first.
    ///
    /// # Errors
    /// What [`Trainer::check`] refuses; a folder that is in use or holds another run; an image that cannot be read.
    pub fn check_folder<N: Network>(
        &self,
        network: &N,
        cases: &TrainingCases<'_>,
        folder: &Path,
        resume: bool,
    ) -> Result<(), TrainError> {
        self.check(network, cases)?;
        Checkpoints::check(folder, &self.identity(network, cases, folder)?, resume)
    }

    /// Everything that a run's result depends on; of the network and the score it knows the facts alone.
    fn identity<N: Network>(
        &self,
        network: &N,
        cases: &TrainingCases<'_>,
        folder: &Path,
    ) -> Result<RunIdentity, TrainError> {
        let mut facts = self.facts.clone();
        facts.set("training", &self.config);
        facts.set("incomplete", &self.incomplete);
        let (parts, views) = ([&cases.train, &cases.valid], network.modalities());
        // Where no case has several, it is no fact.
        if parts.iter().any(|part| part.has_several_images(kinds_of(views))) {
            facts.set("several_images", &self.several_images);
        }
        facts.set_digest("data.tasks", &cases.train.set().tasks);
        facts.set_digest("data.encoder", cases.encoder);
        facts.set_cases("train", &cases.train);
        facts.set_cases("valid", &cases.valid);
        let images = ImageRecord::take(parts, views, &self.config.preprocess, &ImageRecord::read(folder))?;
        images.add_to(&mut facts);
        let length = Some(RunLength::of(&self.config, network.changes_with_progress()));
        Ok(RunIdentity { facts, images, length })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        self.config.optimizer.init(self.config.weight_decay)
    }

    /// One pass over the training cases; the mean loss.
    fn train_epoch<N: Network>(
        &self,
        epoch: usize,
        run: &mut Run<N>,
        cases: &TrainingCases<'_>,
        loss: &MultitaskLoss,
        observer: &mut dyn Observer,
    ) -> Result<f64, TrainError> {
        let config = &self.config;
        let modalities = run.network.modalities();
        let groups = run.network.backbone_groups();
        let EpochPasses { order, shown, mut passes } = self.passes(epoch, modalities, cases)?;
        let set = cases.train.set();
        let batch_size = self.batch_size(set);
        let batches = order.len().div_ceil(batch_size);
        let matched = cases.encoder.matched(&set.fields)?;
        let unknown = vec![None; set.tasks.len()];
        let lessons = self.teacher.as_ref().zip(config.distillation).map(|(teacher, distillation)| {
            let branches: Vec<&str> = run.network.branches().iter().map(|branch| branch.name).collect();
            teacher.lessons(distillation, &branches, &cases.train, &device_of(&run.network))
        });
        let lessons = lessons.transpose()?;
        let mixes = self.config.mixing.map(|mixing| self.mixes(mixing, epoch, &order, set.len()));
        let (mut total, mut pass) = (0.0, 0);
        let mut own = OwnLosses::default();
        for (index, rows) in order.chunks(batch_size).enumerate() {
            let labels: Vec<&[Option<usize>]> = rows.iter().map(|&row| set.cases[row].labels.as_slice()).collect();
            let first = index * batch_size;
            let seeing = rows.iter().enumerate().map(|(at, &row)| match &shown {
                Some(shown) => Ok(shown.seeing(&run.network, first + at)),
                None => {
                    let case = &set.cases[row];
                    Ok(run.network.seeing(modalities_of(case, matched.has_metadata(case)?)))
                }
            });
            let seeing = seeing.collect::<Result<Vec<_>, TrainError>>()?;
            let labels_of_branches = labels_of_branches(&seeing, &labels, &unknown);
            let progress = (epoch * batches + index) as f64 / (config.epochs * batches) as f64;
            run.network = run.network.clone().at_progress(progress);
            let pass_size = self.pass_size(set).min(rows.len());
            let unable = |device: usize, cases: usize, reason: DeviceFault| {
                let devices = 1 + self.replicas.len();
                TrainError::Device { epoch: epoch + 1, batch: index + 1, cases, device, devices, reason }
            };
            let replicas = Replicas::of(&run.network, &self.replicas);
            let replicas = replicas.map_err(|(device, reason)| unable(device, pass_size, reason))?;
            let mut gathered = Gathered::new();
            let (mut batch_loss, mut done) = (0.0, 0);
            while done < rows.len() {
                // One part for each device, as far as there are parts.
                let mut parts = Vec::with_capacity(replicas.count());
                while parts.len() < replicas.count() && done < rows.len() {
                    let device = replicas.device(parts.len());
                    let mut images = passes.next().expect("the loader gives every row")?;
                    let part = done..done + images.rows.len();
                    let pass_cases = set.view(images.rows.clone())?;
                    let mut metadata = pass_cases.encoded_metadata(cases.encoder)?;
                    if let Some(lessons) = &lessons {
                        metadata = lessons.with_record(metadata, &pass_cases)?;
                    }
                    if let Some(shown) = &shown {
                        shown.hide_records(first + part.start, &mut metadata, &matched, set.fields.len())?;
                    }
                    let mixed = match &mixes {
                        Some(mixes) => {
                            let seeing = &seeing[part.clone()];
                            let mixes = &mixes[first + part.start..first + part.end];
                            mix(&mut images, &mut metadata, mixes, |one, other| seeing[one] == seeing[other])
                        }
                        None => Vec::new(),
                    };
                    let targets = labels_of_branches.iter();
                    let targets = targets.map(|labels| loss.mixed_targets(labels, part.clone(), &mixed, &device));
                    let mut targets: Vec<Targets> = targets.collect();
                    let input = match &lessons {
                        None => tensors_of(images, metadata, modalities, &device),
                        Some(lessons) => {
                            let [metadata, of_teacher] = lessons.apart(&metadata);
                            let input = tensors_of(images, metadata, modalities, &device);
                            let taught = on_pool(|| {
                                lessons.added_to(
                                    &targets,
                                    &input,
                                    &of_teacher,
                                    &pass_cases,
                                    &seeing[part.clone()],
                                    rows.len(),
                                )
                            });
                            targets = taught?;
                            input
                        }
                    };
                    done = part.end;
                    parts.push(Part { cases: part, drawn: step_seed(config.seed, epoch, pass), input, targets });
                    pass += 1;
                }
                let ranges: Vec<_> = parts.iter().map(|part| part.cases.clone()).collect();
                let results = replicas.compute(parts, loss);
                for (at, (part, result)) in ranges.into_iter().zip(results).enumerate() {
                    let result = result.map_err(|reason| unable(at + 1, part.len(), reason))?;
                    if !result.loss.is_finite() {
                        let (epoch, batch, loss) = (epoch + 1, index + 1, result.loss);
                        let cases = rows[part].iter().map(|&row| set.cases[row].id.to_string()).collect();
                        return Err(TrainError::NonFiniteLoss { epoch, batch, cases, loss });
                    }
                    own.add(&result.auxiliary, part.len());
                    batch_loss += result.loss;
                    gathered.add(&run.network, result);
                }
            }
            drop(replicas); // the step is in place where nobody else has the weights
            let (network, mut gradients) = gathered.finish(run.network.clone());
            run.network = network;
            if let Some(largest) = config.clip_norm {
                let clipped = clip_norm(&run.network, &mut gradients, largest);
                clipped.map_err(|error| unable(1, pass_size, error.to_string()))?;
            }
            let rates = learning_rates(config, &groups, epoch, config.step_factor(epoch, index, batches))?;
            on_pool(|| {
                run.network = run.optimizer.step(rates, run.network.clone(), gradients);
                self.average_step(run, epoch * batches + index + 1);
            });
            total += batch_loss * rows.len() as f64;
            observer.batch(&BatchReport {
                epoch: epoch + 1,
                epochs: config.epochs,
                batch: index + 1,
                batches,
                loss: batch_loss,
            });
        }
        own.report(epoch, observer);
        Ok(total / order.len() as f64)
    }

    fn validate<N: Network>(
        &self,
        epoch: usize,
        train_loss: f64,
        network: &N,
        cases: &TrainingCases<'_>,
        score: impl Fn(&BranchLogits) -> f64,
    ) -> Result<EpochReport, TrainError> {
        let (valid_loss, valid_score) = self.loss_and_score(network, cases, score)?;
        if let Some(score) = valid_score.filter(|score| !score.is_finite()) {
            return Err(TrainError::Score { epoch: epoch + 1, score });
        }
        let learning_rate = self.config.head_rate(epoch);
        Ok(EpochReport { epoch: epoch + 1, learning_rate, train_loss, valid_loss, valid_score })
    }

    /// Loss and score of the validation cases, if there are any.
    fn loss_and_score<N: Network>(
        &self,
        network: &N,
        cases: &TrainingCases<'_>,
        score: impl Fn(&BranchLogits) -> f64,
    ) -> Result<(Option<f64>, Option<f64>), TrainError> {
        if cases.valid.is_empty() {
            return Ok((None, None));
        }
        let mut predictor = Predictor::new(network, self.config.preprocess.clone(), TestTimeAugmentation::Off);
        predictor.batch_size = self.pass_size(cases.train.set());
        predictor.threads = self.config.threads;
        predictor.several_images = self.several_images;
        predictor.may_miss = may_miss(self.config.modality_dropout);
        predictor.cache.clone_from(&self.cache);
        let logits = predictor.logits(&cases.valid, cases.encoder, |_| ())?;
        Ok((Some(mean_cross_entropy(&logits)), Some(score(&logits))))
    }

    /// The checkpoint to continue from, with that of its best epoch if it is another one; `None` starts again.
    fn with_best(
        &self,
        checkpoint: Checkpoint,
        checkpoints: &Checkpoints,
        folder: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Checkpoint, Option<Checkpoint>)>, TrainError> {
        let (best, latest) = (checkpoint.state.best_epoch, checkpoint.state.history.len());
        let is_needed = !matches!(self.config.averaging, Some(WeightAveraging::LastEpochs { .. }));
        if best == latest || !is_needed {
            return Ok(Some((checkpoint, None)));
        }
        let reason = match checkpoints.read(best) {
            Ok(found) => return Ok(Some((checkpoint, Some(found)))),
            Err(error) => error.to_string(),
        };
        match self.lost_best {
            LostBest::Refuse => Err(TrainError::BestLost { path: folder.to_owned(), best, latest, reason }),
            LostBest::GoOn => {
                observer.warned(&format!(
                    "the best epoch, {best}, is lost ({reason}): the result is the best of epoch {latest} and those that follow"
                ));
                let state = RunState { best_epoch: latest, best_from: latest - 1, ..checkpoint.state };
                Ok(Some((Checkpoint { state, ..checkpoint }, None)))
            }
            LostBest::TrainAgain => {
                let Some(earlier) = checkpoints.complete_before(latest)? else {
                    observer
                        .warned(&format!("the best epoch, {best}, is lost ({reason}): all epochs are trained again"));
                    return Ok(None);
                };
                let (from, best_of_earlier) = (earlier.state.history.len(), earlier.state.best_epoch);
                observer
                    .warned(&format!("the best epoch, {best}, is lost ({reason}): trained again after epoch {from}"));
                let found = (best_of_earlier != from).then(|| checkpoints.read(best_of_earlier)).transpose()?;
                Ok(Some((earlier, found)))
            }
        }
    }

    /// The run at a checkpoint; `best` is that of its best epoch, if it is another one.
    fn restore<N: Network>(
        &self,
        checkpoint: Checkpoint,
        best: Option<&Checkpoint>,
        initial: &N,
        folder: &Path,
    ) -> Result<Run<N>, TrainError> {
        let record_error =
            |error: RecordError| TrainError::Record { path: folder.to_owned(), reason: error.to_string() };
        let network_of = |bytes: Vec<u8>| {
            let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(record_error)?;
            initial.clone().try_load_record(record).map_err(record_error)
        };
        // Clones share running statistics: `valid` gives the best network its own before the other one is loaded.
        // With a moving average, that is what was validated.
        let is_average = matches!(self.config.averaging, Some(WeightAveraging::Exponential { .. }));
        let best = best.unwrap_or(&checkpoint);
        let validated = match (&best.average, is_average) {
            (Some(average), true) => average.clone(),
            _ => best.network.clone(),
        };
        let best = network_of(validated)?.valid();
        let optimizer =
            OptimizerRecord::from_bytes(Bytes::from_bytes_vec(checkpoint.optimizer)).map_err(record_error)?;
        Ok(Run {
            average: checkpoint.average.map(network_of).transpose()?.map(|network| Average::of(&network)),
            network: network_of(checkpoint.network)?,
            optimizer: self.optimizer().load_record(optimizer),
            state: checkpoint.state,
            best: Some(best),
        })
    }
}

/// The cases of an epoch.
struct EpochPasses {
    /// Their order.
    order: Vec<usize>,
    /// What is shown of each; `None` where nothing is left out.
    shown: Option<ShownCases>,
    /// The loader.
    passes: BatchLoader,
}

/// A run between two epochs.
struct Run<N> {
    network: N,
    optimizer: ModuleOptimizer,
    state: RunState,
    best: Option<N>,
    average: Option<Average<N>>,
}

/// The labels of a batch, once for all branches, or where cases lack something for each branch those of the cases that it
/// sees, by `seeing`; `unknown` are the labels of others.
fn labels_of_branches<'a>(
    seeing: &[Vec<bool>],
    labels: &[&'a [Option<usize>]],
    unknown: &'a [Option<usize>],
) -> Vec<Vec<&'a [Option<usize>]>> {
    if seeing.iter().flatten().all(|&sees| sees) {
        return vec![labels.to_vec()];
    }
    let of_branch = |branch: usize| {
        let cases = seeing.iter().zip(labels);
        cases.map(|(sees, &labels)| if sees[branch] { labels } else { unknown }).collect()
    };
    (0..seeing[0].len()).map(of_branch).collect()
}

/// Sums of the losses that a network adds by itself.
#[derive(Default)]
struct OwnLosses {
    sums: Vec<(&'static str, f64)>,
    cases: usize,
}

impl OwnLosses {
    fn add(&mut self, losses: &[(&'static str, f64)], cases: usize) {
        if self.sums.is_empty() {
            self.sums = losses.iter().map(|(name, _)| (*name, 0.0)).collect();
        }
        for ((_, sum), (_, loss)) in self.sums.iter_mut().zip(losses) {
            *sum += loss * cases as f64;
        }
        self.cases += cases;
    }

    fn report(self, epoch: usize, observer: &mut dyn Observer) {
        if !self.sums.is_empty() {
            let means: Vec<_> = self.sums.iter().map(|(name, sum)| (*name, sum / self.cases as f64)).collect();
            observer.auxiliary(epoch + 1, &means);
        }
    }
}

fn unrestorable(error: RecordError) -> TrainError {
    TrainError::Record { path: "in memory".into(), reason: error.to_string() }
}

fn snapshot<N: Network>(run: &Run<N>) -> Result<Checkpoint, TrainError> {
    let bytes_of = |network: &N| network.clone().into_record().into_bytes().map_err(unrestorable);
    let optimizer = run.optimizer.to_record().into_bytes().map_err(unrestorable)?;
    let average = run.average.as_ref().map(|average| bytes_of(&average.network)).transpose()?;
    Ok(Checkpoint {
        state: run.state.clone(),
        network: bytes_of(&run.network)?.to_vec(),
        optimizer: optimizer.to_vec(),
        average: average.map(|bytes| bytes.to_vec()),
    })
}

/// Mean over branches and tasks of the mean cross-entropy of the annotated cases, of the first view of each look: the mean
/// over the looks at a case.
fn mean_cross_entropy(logits: &BranchLogits) -> f64 {
    let (mut sum, mut terms) = (0.0, 0_usize);
    let views = logits.views();
    for branch in &logits.branches {
        for (task, task_logits) in branch.logits.iter().enumerate() {
            let (mut total, mut cases) = (0.0, 0_usize);
            for (case, labels) in logits.cohort.labels.iter().enumerate() {
                let Some(label) = labels[task].filter(|_| branch.available[case]) else { continue };
                let of_look = |look: usize| {
                    let view = look * views;
                    let row: Vec<f64> =
                        (0..task_logits.dim().2).map(|k| f64::from(task_logits[[view, case, k]])).collect();
                    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let log_sum = row.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest;
                    log_sum - row[label]
                };
                let looks = logits.looks_of(case);
                total += (1..looks).fold(of_look(0), |sum, look| sum + of_look(look)) / looks as f64;
                cases += 1;
            }
            if cases > 0 {
                sum += total / cases as f64;
                terms += 1;
            }
        }
    }
    sum / terms.max(1) as f64
}

/// A seed for each step (SplitMix64 of its coordinates).
fn step_seed(seed: u64, epoch: usize, batch: usize) -> u64 {
    let mut state = seed ^ (epoch as u64).rotate_left(40) ^ (batch as u64).rotate_left(20) ^ 0x9E37_79B9_7F4A_7C15;
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
