//! Learning from a network that was trained before, such as an ensemble that is too large to be deployed.
//!
//! Paper: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531; that the teacher sees the very images that
//! the student sees, augmented and mixed: Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022.
//! Source: none. Differences: every branch learns from the teacher's branch of its name; the teacher's answers are first moved to the class
//! frequencies of the student's training cases.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_data::{CaseView, DataError, MetadataEncoder, Preprocess, Sampling};
use dermafuse_infer::{Bundle, InferError, modalities_of};
use dermafuse_networks::{AnyNetwork, BranchInfo, Modalities, MultimodalInput, Network, NetworkConfig};
use dermafuse_schema::ndarray::{Array2, Axis, concatenate};
use dermafuse_schema::{SettingFault, Task};
use serde::{Deserialize, Serialize};

use crate::{ClassBalancing, Targets, TrainError, TrainingConfig};

/// How much a network learns from its teacher.
///
/// ```
/// use dermafuse_train::Distillation;
///
/// assert_eq!(Distillation::default(), Distillation { weight: 0.5, temperature: 2.0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distillation {
    /// The share of the teacher in the loss, above 0; 1 learns from the teacher alone. The rest is the labels'. The teacher's part is a mean
    /// over the batch, the labels' over those cases that have one and are seen: where some lack it, each label counts so much more.
    pub weight: f64,
    /// Both answers are compared at this temperature, 1 to 20: the higher, the more it matters how the teacher ranks classes that it does not
    /// say.
    pub temperature: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self { weight: 0.5, temperature: 2.0 }
    }
}

impl Distillation {
    /// # Errors
    /// A number out of its range.
    pub(crate) fn check(&self) -> Result<(), SettingFault> {
        let Self { weight, temperature } = *self;
        SettingFault::unless(weight > 0.0 && weight <= 1.0, "weight", "above 0 and at most 1", weight)?;
        SettingFault::unless((1.0..=20.0).contains(&temperature), "temperature", "from 1 to 20", temperature)
    }
}

/// A trained network that others learn from.
///
/// It sees what the student sees: the same images, as they were augmented and mixed, and the record by its own encoder. A branch of the
/// student learns from the branch of the same name; one that the teacher lacks, and a case that the teacher's branch cannot see, learn from
/// labels alone. Cases without a label learn from the teacher alone.
#[derive(Clone, Debug)]
pub struct Teacher {
    network: AnyNetwork,
    config: NetworkConfig,
    encoder: MetadataEncoder,
    preprocess: Preprocess,
    tasks: Vec<Task>,
    /// `[T][K_t]` the class frequencies that its logits stand on.
    frequencies: Vec<Vec<f64>>,
}

impl Teacher {
    /// The network of a model. Its second stage, calibration and points do not teach.
    ///
    /// # Errors
    /// Frozen encoders, whose answers are not the network's; a model that does not say which class frequencies its network stands on.
    pub fn new(bundle: &Bundle) -> Result<Self, TrainError> {
        let description = &bundle.description;
        let unfit =
            |expected, found: &str| TrainError::Setting { setting: "the teacher", expected, found: found.into() };
        if description.heads.is_some() {
            return Err(unfit("a network that was trained", "frozen encoders"));
        }
        let expected = "a model that says which class frequencies its answers stand on";
        let Some(prevalence) = &bundle.two_stage.prevalence else {
            return Err(unfit(expected, "one of an older version"));
        };
        // Without a part of the network in the mix, they are those of the classifiers alone.
        let two_stage = &bundle.two_stage;
        if two_stage.second_stage.is_some() && (prevalence.learnt.is_some() || two_stage.mix == 0.0) {
            return Err(unfit(expected, "one that says it of its second stage"));
        }
        let learnt = prevalence.learnt.as_ref().unwrap_or(&prevalence.training);
        let of_task = |task: &Task| {
            let share = |class: &String| learnt.share(&task.name, class).filter(|share| *share > 0.0);
            task.classes.iter().map(share).collect::<Option<Vec<f64>>>()
        };
        let frequencies = description.tasks.iter().map(of_task).collect::<Option<_>>();
        Ok(Self {
            network: bundle.network.valid(),
            config: description.network.clone(),
            encoder: description.encoder.clone(),
            preprocess: description.preprocess.clone(),
            tasks: description.tasks.iter().cloned().collect(),
            frequencies: frequencies.ok_or_else(|| unfit(expected, "one that has seen no case of a class"))?,
        })
    }

    /// Checks that it can teach a network on these cases.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub(crate) fn check<N: Network>(
        &self,
        student: &N,
        train: &CaseView<'_>,
        config: &TrainingConfig,
    ) -> Result<(), TrainError> {
        let unfit = |expected, found: String| Err(TrainError::Setting { setting: "the teacher", expected, found });
        let text = |tasks: &[Task]| {
            let each = tasks.iter().map(|task| format!("{} ({})", task.name, task.classes.join(", ")));
            each.collect::<Vec<_>>().join("; ")
        };
        let tasks: Vec<Task> = train.set().tasks.iter().cloned().collect();
        if text(&tasks) != text(&self.tasks) {
            return unfit("a model of the tasks and classes of the data", text(&self.tasks));
        }
        let (own, theirs) = (&config.preprocess, &self.preprocess);
        if (own.channels, &own.normalization) != (theirs.channels, &theirs.normalization) {
            let found = format!("{:?}, {:?}", theirs.channels, theirs.normalization);
            return unfit("a model whose images have the channels and the normalization of this training", found);
        }
        let names = |branches: Vec<BranchInfo>| branches.into_iter().map(|branch| branch.name);
        let (known, asked): (Vec<&str>, Vec<&str>) =
            (names(self.network.branches()).collect(), names(student.branches()).collect());
        if !asked.iter().any(|name| known.contains(name)) {
            return unfit("a model that has a branch of this network's", known.join(", "));
        }
        let (looks_at, images) = (self.network.modalities(), student.modalities());
        let lacks = |teacher: bool, student: bool| teacher && !student;
        if lacks(looks_at.clinical, images.clinical) || lacks(looks_at.dermoscopic, images.dermoscopic) {
            return unfit("a model that looks at no image that this network does not look at", known.join(", "));
        }
        for epoch in 0..config.epochs {
            self.config.check_images(config.side_in(epoch)).map_err(InferError::from)?;
        }
        self.encoder.matched(&train.set().fields)?;
        self.corrections(train).map(drop)
    }

    /// `[T][K_t]` what is added to its logits, so that they stand on the frequencies of these cases.
    fn corrections(&self, train: &CaseView<'_>) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut corrections = Vec::with_capacity(self.tasks.len());
        for (index, (task, frequencies)) in self.tasks.iter().zip(&self.frequencies).enumerate() {
            let counts = train.class_counts(index)?;
            if let Some(class) = counts.iter().position(|&count| count == 0) {
                return Err(TrainError::EmptyClass { task: task.name.clone(), class: task.classes[class].clone() });
            }
            let total = counts.iter().sum::<usize>() as f64;
            let moved = |(&count, share): (&usize, &f64)| (count as f64 / total / share).ln() as f32;
            corrections.push(counts.iter().zip(frequencies).map(moved).collect());
        }
        Ok(corrections)
    }

    /// What it tells a network on these cases.
    ///
    /// # Errors
    /// A class without a training case.
    pub(crate) fn lessons<'a>(
        &'a self,
        distillation: Distillation,
        branches: &[&str],
        train: &CaseView<'_>,
        device: &Device,
    ) -> Result<Lessons<'a>, TrainError> {
        let corrections = self.corrections(train)?;
        let known: Vec<&str> = self.network.branches().iter().map(|branch| branch.name).collect();
        let sources = branches.iter().map(|name| known.iter().position(|other| other == name)).collect();
        Ok(Lessons { teacher: self, distillation, corrections, sources, device: device.clone().inner() })
    }
}

/// What a teacher tells a network on the cases of a training.
pub(crate) struct Lessons<'a> {
    teacher: &'a Teacher,
    distillation: Distillation,
    /// `[T][K_t]` what is added to the teacher's logits, so that they stand on the frequencies of the training cases.
    corrections: Vec<Vec<f32>>,
    /// Which of the teacher's branches each of the student's learns from.
    sources: Vec<Option<usize>>,
    /// Without autodiff.
    device: Device,
}

impl Lessons<'_> {
    /// The record as both take it: the student's columns, then the teacher's.
    ///
    /// # Shapes
    /// `[B, M]` → `[B, M + M_t]`.
    pub(crate) fn with_record(&self, record: Array2<f64>, cases: &CaseView<'_>) -> Result<Array2<f64>, DataError> {
        let own = cases.encoded_metadata(&self.teacher.encoder)?;
        Ok(concatenate(Axis(1), &[record.view(), own.view()]).expect("both are of the same cases"))
    }

    /// The student's columns and the teacher's.
    pub(crate) fn apart(&self, both: &Array2<f64>) -> [Array2<f64>; 2] {
        let (student, teacher) = both.view().split_at(Axis(1), both.ncols() - self.teacher.encoder.width());
        [student.to_owned(), teacher.to_owned()]
    }

    /// The targets of each of the student's branches, with what the teacher says of these cases, which are a part of a batch of `batch`;
    /// `seen_by_pupil` says of each case which of the student's branches see it. Targets stay on their device; the teacher computes on its own.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` images as the student gets them, and `[B, M_t]` of the record.
    pub(crate) fn added_to(
        &self,
        targets: &[Targets],
        input: &MultimodalInput,
        record: &Array2<f64>,
        cases: &CaseView<'_>,
        seen_by_pupil: &[Vec<bool>],
        batch: usize,
    ) -> Result<Vec<Targets>, DataError> {
        let matched = self.teacher.encoder.matched(&cases.set().fields)?;
        let there = cases.cases().map(|case| Ok(modalities_of(case, matched.has_metadata(case)?)));
        let there = there.collect::<Result<Vec<Modalities>, DataError>>()?;
        let looks_at = self.teacher.network.modalities();
        let columns = record.ncols();
        let record: Vec<f32> = record.iter().map(|&value| value as f32).collect();
        let own = targets[0].device().inner();
        let seen = |image: &Option<Tensor<4>>, looks: bool| {
            image.clone().filter(|_| looks).map(|image| image.inner().to_device(&self.device)) // [B, 3, H, W]
        };
        let output = self.teacher.network.forward(MultimodalInput {
            clinical: seen(&input.clinical, looks_at.clinical),
            dermoscopic: seen(&input.dermoscopic, looks_at.dermoscopic),
            metadata: looks_at
                .metadata
                .then(|| Tensor::from_data(TensorData::new(record, [there.len(), columns]), &self.device)),
        });
        let seeing: Vec<Vec<bool>> = there.iter().map(|&there| self.teacher.network.seeing(there)).collect();
        let Distillation { weight, temperature } = self.distillation;
        let of_branch = |(at, &source): (usize, &Option<usize>)| {
            let targets = if targets.len() == 1 { &targets[0] } else { &targets[at] };
            let Some(source) = source else { return targets.clone() };
            let both = seeing.iter().zip(seen_by_pupil).map(|(teacher, pupil)| teacher[source] && pupil[at]);
            let shares: Vec<f32> = both.map(|both| if both { weight as f32 } else { 0.0 }).collect();
            let shares = Tensor::<2>::from_data(TensorData::new(shares, [there.len(), 1]), &self.device); // [B, 1]
            // A mean over the batch; the square keeps gradients as large as those of labels.
            let scale = temperature * temperature / batch as f64;
            let of_task = |(logits, correction): (&Tensor<2>, &Vec<f32>)| {
                let correction = TensorData::new(correction.clone(), [1, correction.len()]);
                let logits = logits.clone() + Tensor::from_data(correction, &self.device);
                softmax(logits / temperature, 1) * shares.clone() * scale // [B, K_t]
            };
            let soft = output.branches[source].logits.iter().zip(&self.corrections).map(of_task);
            targets.clone().taught(
                soft.map(|soft| Tensor::from_inner(soft.to_device(&own))).collect(),
                Tensor::from_inner(shares.clone().to_device(&own)),
                temperature,
            )
        };
        Ok(self.sources.iter().enumerate().map(of_branch).collect())
    }
}

/// Checks that nothing else in a training contradicts a teacher.
///
/// # Errors
/// The first setting that does.
pub(crate) fn check_with_teacher(config: &TrainingConfig, distillation: &Distillation) -> Result<(), SettingFault> {
    distillation.check().map_err(|fault| fault.under("distillation"))?;
    let key = "distillation";
    let dropout = config.modality_dropout.is_none();
    SettingFault::unless(dropout, key, "none where inputs are left out at random (modality_dropout)", "both")?;
    let as_they_are = config.loss.class_weights == ClassBalancing::Uniform && config.sampling == Sampling::EachOnce;
    let expected = "none where the loss or the sampling weighs classes (loss.logit_adjustment goes with it)";
    SettingFault::unless(as_they_are, key, expected, "both")
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;
    use dermafuse_backbones::BackboneKind;
    use dermafuse_data::{CaseSet, RgbPixels, encode_png};
    use dermafuse_networks::{BranchOutput, ImageClassifierConfig, Modality, NetworkOutput};
    use dermafuse_schema::{Case, TaskSet};

    use super::*;
    use crate::{LossConfig, LossReduction, MultitaskLoss};

    const SIDE: usize = 32;
    /// The first class is three times as frequent as the second.
    const LABELS: [usize; 4] = [0, 0, 1, 0];

    fn teacher(frequencies: [f64; 2]) -> Teacher {
        let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, vec![2]);
        let config = NetworkConfig::ImageClassifier(config);
        Teacher {
            network: config.init_seeded(3, &Device::flex()).unwrap().valid(),
            config,
            encoder: MetadataEncoder::none(),
            preprocess: Preprocess::as_released(SIDE),
            tasks: vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])],
            frequencies: vec![frequencies.to_vec()],
        }
    }

    /// Cases with photos; the last lacks its own.
    fn cases(folder: &std::path::Path) -> CaseSet {
        let photo = folder.join("photo.png");
        std::fs::write(&photo, encode_png(&RgbPixels::new(1, 1, vec![9; 3]).unwrap())).unwrap();
        let case = |(at, label): (usize, usize)| Case {
            labels: vec![Some(label)],
            clinical: if at < 3 { vec![photo.clone().into()] } else { vec![] },
            ..Case::new(at.to_string())
        };
        CaseSet {
            name: "drawn".into(),
            synthetic: true,
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            fields: vec![],
            cases: LABELS.into_iter().enumerate().map(case).collect(),
            split: None,
            notes: vec![],
        }
    }

    /// The gradient in the logits of a student that answers `logits`, `[4][2]`.
    fn gradient(
        logits: impl Fn([f32; 2]) -> [f32; 2],
        frequencies: [f64; 2],
        logit_adjustment: f64,
        weight: Option<f64>,
    ) -> Vec<f32> {
        let folder = tempfile::tempdir().unwrap();
        let set = cases(folder.path());
        let (train, device) = (set.whole(), Device::flex().autodiff());
        let teacher = teacher(frequencies);
        let config = LossConfig { reduction: LossReduction::Paper, logit_adjustment, ..LossConfig::default() };
        let loss = MultitaskLoss::new(&train, config).unwrap();
        let labels: Vec<&[Option<usize>]> = set.cases.iter().map(|case| case.labels.as_slice()).collect();
        let targets = vec![loss.targets(&labels, 0..4, &device)];
        let pixels: Vec<f32> = (0..4 * 3 * SIDE * SIDE).map(|at| (at % 97) as f32 / 97.0).collect();
        let clinical = Tensor::<4>::from_data(TensorData::new(pixels, [4, 3, SIDE, SIDE]), &device);
        let input = MultimodalInput { clinical: Some(clinical.clone()), dermoscopic: None, metadata: None };
        let inner = MultimodalInput { clinical: Some(clinical.inner()), dermoscopic: None, metadata: None };
        let said = teacher.network.forward(inner).branches[0].logits[0].clone();
        let said = log_softmax(said, 1).into_data().try_to_vec::<f32>().unwrap();
        let answered: Vec<f32> = said.chunks(2).flat_map(|row| logits([row[0], row[1]])).collect();
        let answered = Tensor::<2>::from_data(TensorData::new(answered, [4, 2]), &device).require_grad();
        let targets = match weight {
            None => targets,
            Some(weight) => {
                let distillation = Distillation { weight, temperature: 3.0 };
                let lessons = teacher.lessons(distillation, &["clinical"], &train, &device).unwrap();
                // The pupil itself would see the last case, too.
                let seen = vec![vec![true]; 4];
                lessons.added_to(&targets, &input, &Array2::zeros((4, 0)), &train, &seen, 4).unwrap()
            }
        };
        let branch = BranchOutput::new("clinical", vec![answered.clone()]);
        let output = NetworkOutput::new(vec![branch], answered.clone());
        let gradients = loss.forward_each(&output, &targets.iter().collect::<Vec<_>>()).backward();
        answered.grad(&gradients).unwrap().into_data().try_to_vec().unwrap()
    }

    fn largest(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |most, value| most.max(value.abs()))
    }

    #[test]
    fn a_pupil_that_says_what_its_teacher_says_has_nothing_to_learn() {
        let log = |shares: [f64; 2]| shares.map(|share| share.ln() as f32);
        let (even, rare, trained) = (log([0.5, 0.5]), log([0.9, 0.1]), log([0.75, 0.25]));
        // Both stand on even frequencies: the loss adds those of the training cases to either.
        let same = |row: [f32; 2]| row;
        // A pupil whose loss adds nothing stands on the frequencies of the training cases, wherever its teacher stands.
        let moved = |from: [f32; 2]| move |row: [f32; 2]| [0, 1].map(|class| row[class] + trained[class] - from[class]);
        for (found, what) in [
            (gradient(same, [0.5, 0.5], 1.0, Some(1.0)), "adjusted"),
            (gradient(moved(even), [0.5, 0.5], 0.0, Some(1.0)), "from even frequencies"),
            (gradient(moved(rare), [0.9, 0.1], 0.0, Some(1.0)), "from other frequencies"),
        ] {
            assert!(largest(&found[..6]) < 1e-6, "{what}: {found:?}");
        }
        assert!(largest(&gradient(same, [0.9, 0.1], 0.0, Some(1.0))[..6]) > 1e-2);
    }

    #[test]
    fn labels_have_the_rest_and_all_of_a_case_that_the_teacher_does_not_see() {
        let apart = |row: [f32; 2]| [row[0] + 0.7, row[1] - 0.2];
        let (labels, taught) = (gradient(apart, [0.5, 0.5], 0.0, None), gradient(apart, [0.5, 0.5], 0.0, Some(1.0)));
        let both = gradient(apart, [0.5, 0.5], 0.0, Some(0.25));
        for (at, both) in both.iter().enumerate() {
            // The last case has no photo.
            let expected = if at < 6 { 0.75 * labels[at] + 0.25 * taught[at] } else { labels[at] };
            assert!((both - expected).abs() < 1e-6, "{at}: {both} and {expected}");
        }
        assert!(largest(&taught[..6]) > 1e-2);
    }

    #[test]
    fn a_branch_that_does_not_see_a_case_is_not_taught_it() {
        let folder = tempfile::tempdir().unwrap();
        let set = cases(folder.path());
        let (train, device) = (set.whole(), Device::flex().autodiff());
        let teacher = teacher([0.5, 0.5]);
        let loss = MultitaskLoss::new(&train, LossConfig::default()).unwrap();
        let labels: Vec<&[Option<usize>]> = set.cases.iter().map(|case| case.labels.as_slice()).collect();
        let clinical = Tensor::<4>::ones([4, 3, SIDE, SIDE], &device);
        let input = MultimodalInput { clinical: Some(clinical), dermoscopic: None, metadata: None };
        let lessons = teacher.lessons(Distillation::default(), &["clinical"], &train, &device).unwrap();
        let left = |seen: [bool; 4]| {
            let seen: Vec<Vec<bool>> = seen.iter().map(|&sees| vec![sees]).collect();
            let targets = [loss.targets(&labels, 0..4, &device)];
            let taught = lessons.added_to(&targets, &input, &Array2::zeros((4, 0)), &train, &seen, 4).unwrap();
            taught[0].sums().into_iter().map(|sum| (4.0 * sum * 100.0).round() / 100.0).collect::<Vec<f32>>()
        };
        // What the labels keep of each case; the teacher itself does not see the last one.
        assert_eq!(left([true; 4]), [0.5, 0.5, 0.5, 1.0]);
        assert_eq!(left([true, false, true, true]), [0.5, 1.0, 0.5, 1.0]);
    }

    #[test]
    fn settings_that_contradict_a_teacher_are_refused() {
        let error = |change: &dyn Fn(&mut TrainingConfig)| {
            let mut config = TrainingConfig::as_released(32, 0);
            config.distillation = Some(Distillation::default());
            change(&mut config);
            config.check().map_err(|fault| fault.to_string())
        };
        assert_eq!(error(&|_| ()), Ok(()));
        let wrong = error(&|config| config.distillation = Some(Distillation { weight: 0.0, temperature: 1.0 }));
        assert_eq!(wrong.unwrap_err(), "`distillation.weight` must be above 0 and at most 1, found 0");
        let wrong = error(&|config| config.distillation = Some(Distillation { weight: 1.0, temperature: 0.5 }));
        assert_eq!(wrong.unwrap_err(), "`distillation.temperature` must be from 1 to 20, found 0.5");
        let wrong = error(&|config| config.loss.class_weights = ClassBalancing::Balanced).unwrap_err();
        assert!(wrong.contains("none where the loss or the sampling weighs classes"), "{wrong}");
    }
}
