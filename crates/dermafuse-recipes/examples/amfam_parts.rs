//! What the parts of AMFAM do to a network, on synthetic lesions, where it is known what is to be seen:
//!
//! ```text
//! cargo run --release --example amfam_parts -- adversary --seeds 3
//! cargo run --release --example amfam_parts -- reconstruction --seeds 4
//! ```
//!
//! The first trains with the adversary watching, with its gradient reversed, and with a reversal that grows, and asks how well the
//! modalities can be told apart by the features. The second trains with and without reconstruction and attention, and asks how
//! much of the heat of Grad-CAM lies in the lesion.

use std::error::Error;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use clap::{Args, Parser, Subcommand};
use dermafuse_backbones::BackboneKind;
use dermafuse_data::{
    BatchLoader, CaseSet, DataError, LoaderConfig, MetadataEncoder, Modality, Preprocess, Split, derm7pt,
};
use dermafuse_ensemble::LogisticParams;
use dermafuse_eval::figure::{Series, line_chart};
use dermafuse_eval::significance::WilcoxonSignedRank;
use dermafuse_eval::{MeanDeviation, Pointing};
use dermafuse_fusion::ReversalSchedule;
use dermafuse_infer::{CamMethod, ExplainedLogit, Explainer, Predictor, TestTimeAugmentation, tensors_of};
use dermafuse_networks::{
    AmfamConfig, AmfamRow, AnyNetwork, ModalityBatches, ModalityDiscriminator, Network, NetworkConfig,
};
use dermafuse_schema::ndarray::{Array1, Array2, Axis, concatenate};
use dermafuse_schema::write_whole_file;
use dermafuse_synthetic::{self as synthetic, SyntheticConfig, lesion_mask};
use dermafuse_train::{Observer, Trainer, TrainingCases, TrainingConfig, WeightAveraging, mean_branch_accuracy};

/// Measures what the adversary or the reconstruction of AMFAM does on synthetic lesions.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// How well features tell the modalities apart
    Adversary {
        #[command(flatten)]
        study: StudyArguments,
        /// Weight of the adversary's loss, the paper's lambda
        #[arg(long, default_value_t = 0.8)]
        weight: f64,
    },
    /// How much of the heat lies in the lesion
    Reconstruction {
        #[command(flatten)]
        study: StudyArguments,
        /// Weight of the decoders' losses, the paper's gamma
        #[arg(long, default_value_t = 0.4)]
        weight: f64,
        /// Stage of the backbone whose feature map is explained, 1 to 4
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
        stage: u8,
        /// Also train reconstruction without attention
        #[arg(long)]
        plain: bool,
    },
}

#[derive(Args)]
struct StudyArguments {
    /// Synthetic cases; two fifths train the network
    #[arg(long, default_value_t = 300)]
    cases: usize,
    /// Side of the square images, in pixels
    #[arg(long, default_value_t = 64)]
    image_size: usize,
    /// Passes over the training cases
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Learning rate of the first epoch
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Trainings of each network, with seeds 0, 1 …; the data set stays
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Keep the backbone's batch normalisation as it is drawn: the adversary then sees in training what is there afterwards
    #[arg(long)]
    frozen_batch_norm: bool,
    /// In training, let batch normalisation see the two images one after the other instead of in one batch
    #[arg(long)]
    separate_batches: bool,
    /// Folder; data set and figure are written to its sub-folder `adversary` or `reconstruction`
    #[arg(long, default_value = "runs/amfam_parts")]
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().part {
        Part::Adversary { study, weight } => adversary(&Study::new(study, "adversary")?, weight),
        Part::Reconstruction { study, weight, stage, plain } => {
            let rows: &[AmfamRow] = match plain {
                true => &[AmfamRow::Concat, AmfamRow::Reconstruction, AmfamRow::Attention],
                false => &[AmfamRow::Concat, AmfamRow::Attention],
            };
            reconstruction(&Study::new(study, "reconstruction")?, rows, weight, usize::from(stage) - 1)
        }
    }
}

/// Synthetic cases and how a network learns from them.
struct Study {
    arguments: StudyArguments,
    drawn: SyntheticConfig,
    set: CaseSet,
    split: Split,
    encoder: MetadataEncoder,
    folder: PathBuf,
}

/// A trained network and the adversary's mean loss in each epoch, if it has one.
struct Trained {
    network: AnyNetwork,
    modality: Vec<f64>,
}

impl Study {
    fn new(arguments: StudyArguments, part: &str) -> Result<Self, Box<dyn Error>> {
        let side = u32::try_from(arguments.image_size)?;
        let drawn = SyntheticConfig {
            cases: arguments.cases,
            image_size: (side, side),
            clinical_clarity: 1.0,
            ..SyntheticConfig::default()
        };
        let folder = arguments.out.join(part);
        let data = folder.join("data");
        if folder.exists() {
            return Err(format!("{} is there already; give another folder", folder.display()).into());
        }
        synthetic::write(&data, &drawn)?;
        let set = derm7pt::load(&data)?;
        let split = set.split.clone().ok_or(DataError::EmptySet { name: set.name.clone() })?;
        let encoder = MetadataEncoder::none();
        Ok(Self { arguments, drawn, set, split, encoder, folder })
    }

    fn config(&self, row: AmfamRow) -> AmfamConfig {
        let batches = match self.arguments.separate_batches {
            true => ModalityBatches::Separate,
            false => ModalityBatches::Joined,
        };
        AmfamConfig { batches, ..AmfamConfig::row(row, BackboneKind::ResNet18Quarter, self.set.tasks.class_counts()) }
    }

    /// The network after its last epoch; `weight` is that of every loss that it adds.
    fn train(&self, config: AmfamConfig, weight: f64, seed: u64) -> Result<Trained, Box<dyn Error>> {
        #[derive(Default)]
        struct Recorder(Vec<f64>);
        impl Observer for Recorder {
            fn auxiliary(&mut self, _epoch: usize, losses: &[(&'static str, f64)]) {
                self.0.extend(losses.iter().filter(|(name, _)| *name == "modality").map(|(_, loss)| loss));
            }
        }

        let StudyArguments { image_size, epochs, learning_rate, frozen_batch_norm, .. } = self.arguments;
        let mut training = TrainingConfig {
            epochs,
            patience: None,
            batch_size: 16,
            learning_rate,
            augmentation: None, // so that the adversary is asked about what it has learnt from
            averaging: Some(WeightAveraging::LastEpochs { epochs: 1, refresh_batch_norm: false }),
            ..TrainingConfig::amfam(image_size, seed)
        };
        training.loss = training.loss.with_auxiliary_of(&config.auxiliary());
        training.loss.auxiliary.values_mut().for_each(|own| *own = weight);
        training.freeze.batch_norm = frozen_batch_norm;
        let network = NetworkConfig::Amfam(config).init_seeded(seed, &Device::flex().autodiff())?;
        let (train, valid) = (self.set.view(&self.split.train)?, self.set.view(&self.split.valid)?);
        let cases = TrainingCases { train, valid, encoder: &self.encoder };
        let mut recorder = Recorder::default();
        let trained = Trainer::new(training).fit(network, &cases, mean_branch_accuracy, None, false, &mut recorder)?;
        Ok(Trained { network: trained.network, modality: recorder.0 })
    }

    fn preprocess(&self) -> Preprocess {
        Preprocess::imagenet(self.arguments.image_size)
    }

    fn predictor(&self, network: &AnyNetwork) -> Predictor<AnyNetwork> {
        Predictor::new(network, self.preprocess(), TestTimeAugmentation::Off)
    }

    /// Mean test accuracy of the tasks, in per cent.
    fn accuracy(&self, network: &AnyNetwork) -> Result<f64, Box<dyn Error>> {
        let logits = self.predictor(network).logits(&self.set.view(&self.split.test)?, &self.encoder, |_| ())?;
        Ok(100.0 * mean_branch_accuracy(&logits))
    }

    /// Pooled features of the clinical photos, then of as many dermoscopic images, and the modality of each.
    ///
    /// # Shapes
    /// `[2·N, C]`, `[2·N]`.
    fn features(&self, network: &AnyNetwork, rows: &[usize]) -> Result<(Array2<f64>, Vec<usize>), Box<dyn Error>> {
        let joined = self.predictor(network).embeddings(&self.set.view(rows)?, &self.encoder, |_| ())?; // [N, 2·C]
        let joined = joined.mapv(f64::from);
        let channels = joined.ncols() / 2;
        let (clinical, dermoscopic) = joined.view().split_at(Axis(1), channels);
        let features = concatenate![Axis(0), clinical, dermoscopic];
        let of = |view| std::iter::repeat_n(ModalityDiscriminator::class_of(view), rows.len());
        Ok((features, of(Modality::Clinical).chain(of(Modality::Dermoscopic)).collect()))
    }
}

/// The share of rows whose largest number is that of their label, in per cent.
fn hits(scores: &Array2<f64>, labels: &[usize]) -> f64 {
    let hits = scores.outer_iter().zip(labels).filter(|(row, label)| (row[1] > row[0]) == (**label == 1)).count();
    100.0 * hits as f64 / labels.len() as f64
}

/// What the trained discriminator says of features.
fn discriminate(network: &AnyNetwork, features: &Array2<f64>) -> Result<Array2<f64>, Box<dyn Error>> {
    let AnyNetwork::Amfam(network) = network else { return Err("the network is not AMFAM".into()) };
    let network = network.valid();
    let discriminator = network.discriminator().ok_or("the network has no adversary")?;
    let values: Vec<f32> = features.iter().map(|&value| value as f32).collect();
    let device = network.devices().first().ok_or("the network has no parameters")?.clone();
    let features = Tensor::<2>::from_data(TensorData::new(values, [features.nrows(), features.ncols()]), &device);
    let logits: Vec<f64> = discriminator.forward(features).into_data().iter().collect();
    Ok(Array2::from_shape_vec((logits.len() / 2, 2), logits)?)
}

/// What a logistic regression says that learns the modalities anew from features of the training cases.
fn discriminate_anew(
    (features, labels): (&Array2<f64>, &[usize]),
    tested: &Array2<f64>,
) -> Result<Array2<f64>, Box<dyn Error>> {
    let mean = features.mean_axis(Axis(0)).ok_or("no features")?;
    let deviation: Array1<f64> = features.std_axis(Axis(0), 0.0).mapv(|deviation| deviation.max(1e-9));
    let scaled = |features: &Array2<f64>| (features - &mean) / &deviation;
    let classifier = LogisticParams { c: 1.0, ..LogisticParams::default() }.fit(scaled(features).view(), labels, 2)?;
    Ok(classifier.predict(scaled(tested).view())?)
}

fn cell(values: &[f64]) -> String {
    MeanDeviation::of(values).map_or_else(String::new, |value| value.to_string())
}

fn adversary(study: &Study, weight: f64) -> Result<(), Box<dyn Error>> {
    let arms = [
        ("not reversed", ReversalSchedule::Constant { strength: -1.0 }),
        ("watching", ReversalSchedule::Constant { strength: 0.0 }),
        ("reversed", ReversalSchedule::Constant { strength: 1.0 }),
        ("Ganin", ReversalSchedule::GANIN),
    ];
    println!(
        "in per cent, {} test cases, mean and deviation of {} trainings\n",
        study.split.test.len(),
        study.arguments.seeds
    );
    println!("| adversary | its accuracy | logistic regression learnt anew | accuracy of the tasks |");
    println!("|---|---|---|---|");
    let mut curves = Vec::new();
    for (name, reversal) in arms {
        let (mut own, mut anew, mut tasks, mut losses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for seed in 0..study.arguments.seeds {
            let mut config = study.config(AmfamRow::Adversarial);
            if let Some(discriminator) = &mut config.discriminator {
                discriminator.reversal = reversal;
            }
            let Trained { network, modality } = study.train(config, weight, seed)?;
            let (learnt, learnt_labels) = study.features(&network, &study.split.train)?;
            let (tested, labels) = study.features(&network, &study.split.test)?;
            own.push(hits(&discriminate(&network, &tested)?, &labels));
            anew.push(hits(&discriminate_anew((&learnt, &learnt_labels), &tested)?, &labels));
            tasks.push(study.accuracy(&network)?);
            losses.push(modality);
        }
        println!("| {name} | {} | {} | {} |", cell(&own), cell(&anew), cell(&tasks));
        let mean = |epoch: usize| losses.iter().map(|losses| losses[epoch]).sum::<f64>() / losses.len() as f64;
        let points = (0..study.arguments.epochs).map(|epoch| (epoch as f64 + 1.0, mean(epoch))).collect();
        curves.push(Series { name: name.to_owned(), points });
    }
    let chance = (1..=study.arguments.epochs).map(|epoch| (epoch as f64, 2.0_f64.ln())).collect();
    curves.push(Series { name: "chance".into(), points: chance });
    let figure = study.folder.join("adversary.svg");
    write_whole_file(&figure, line_chart("Loss of the adversary", "epoch", "cross-entropy", &curves).as_bytes())?;
    println!("\nwritten to {}", figure.display());
    Ok(())
}

fn reconstruction(study: &Study, rows: &[AmfamRow], weight: f64, stage: usize) -> Result<(), Box<dyn Error>> {
    // For each network and image the share of each case, a mean over the trainings.
    let mut shares: Vec<[Vec<f64>; 2]> = Vec::new();
    println!("share of the heat in the lesion, in per cent, {} test cases\n", study.split.test.len());
    println!("| network | seed | clinical | dermoscopic | accuracy of the tasks |");
    println!("|---|---|---|---|---|");
    for &row in rows {
        let mut sums = [Array1::zeros(study.split.test.len()), Array1::zeros(study.split.test.len())];
        for seed in 0..study.arguments.seeds {
            let Trained { network, .. } = study.train(study.config(row), weight, seed)?;
            let mut means = Vec::new();
            for (sum, modality) in sums.iter_mut().zip(Modality::BOTH) {
                let found = study.shares(&network, modality, stage)?;
                means.push(found.mean().unwrap_or(f64::NAN));
                *sum += &found;
            }
            let accuracy = study.accuracy(&network)?;
            println!("| {} | {seed} | {:.1} | {:.1} | {accuracy:.1} |", row.name(), means[0], means[1]);
        }
        shares.push(sums.map(|sum| (sum / study.arguments.seeds as f64).to_vec()));
    }
    println!();
    for (index, modality) in Modality::BOTH.into_iter().enumerate() {
        println!("{modality}: lesions are {:.1} % of the pixels", study.area(modality));
        for (row, found) in rows.iter().zip(&shares).skip(1) {
            let test = WilcoxonSignedRank::of(&shares[0][index], &found[index])?;
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            println!(
                "  {} {:.1}, {} {:.1}; Wilcoxon over {} cases p = {:.2e}",
                rows[0].name(),
                mean(&shares[0][index]),
                row.name(),
                mean(&found[index]),
                test.pairs,
                test.p
            );
        }
    }
    Ok(())
}

impl Study {
    /// The share of the heat that lies in the lesion of each test case, in per cent; by chance the lesion's share of the pixels
    /// where nothing speaks for the predicted diagnosis.
    fn shares(&self, network: &AnyNetwork, modality: Modality, stage: usize) -> Result<Array1<f64>, Box<dyn Error>> {
        let rows = &self.split.test;
        let loader = LoaderConfig::new(rows.len(), self.preprocess());
        let batch = BatchLoader::new(&self.set.view(rows)?, loader)?.next().ok_or("there are no test cases")??;
        let nothing = Array2::zeros((rows.len(), 0));
        let input = tensors_of(batch, nothing, network.modalities(), &Device::flex());
        let logit = ExplainedLogit::of_branch("fusion", 0);
        let maps = Explainer::new(network).class_activation(&input, modality, stage, &logit, CamMethod::GradCam)?;
        let drawn = synthetic::sample(&self.drawn);
        let shares = rows.iter().zip(&maps).map(|(&row, heat)| {
            let lesion = lesion_mask(&drawn[row].lesion, modality, self.drawn.image_size);
            let inside = lesion.iter().filter(|&&inside| inside).count() as f64 / lesion.len() as f64;
            let pointing = Pointing::of(heat.values.view(), lesion.view())?;
            Ok(100.0 * pointing.map_or(inside, |pointing| pointing.share))
        });
        shares.collect::<Result<Vec<f64>, Box<dyn Error>>>().map(Array1::from)
    }

    /// The share of the test images' pixels that are lesion, in per cent.
    fn area(&self, modality: Modality) -> f64 {
        let drawn = synthetic::sample(&self.drawn);
        let area = |&row: &usize| {
            let lesion = lesion_mask(&drawn[row].lesion, modality, self.drawn.image_size);
            lesion.iter().filter(|&&inside| inside).count() as f64 / lesion.len() as f64
        };
        100.0 * self.split.test.iter().map(area).sum::<f64>() / self.split.test.len() as f64
    }
}
