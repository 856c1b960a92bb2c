//! Networks on a GPU: images a second when predicting and training, the memory of the device, and how far the answers are from the CPU's.
//! Random weights and random images. Devices are those of DERMAFUSE_DEVICES, else the CPU; each network is measured in a process of its
//! own, and the result is a table in Markdown. `gpu.sh` carries this to a machine that has a GPU.
//!
//! Words: networks (`fusionm4net`, `ammfm`, or a backbone's name), and `side=224 batch=16 seconds=6 minutes=5`: the sides of images in
//! pixels, cases in a batch, about how long each rate is measured, and after how long no other network is begun.
//!
//! `DERMAFUSE_DEVICES=wgpu cargo bench --workspace --features dermafuse-tests/wgpu --bench gpu -- ammfm batch=8`

use std::process::Command;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use dermafuse::backbones::BackboneKind;
use dermafuse::devices::{DeviceName, restart_with_large_pages};
use dermafuse::networks::{
    AnyNetwork, AsymmetricFusionConfig, FusionNetConfig, ImageClassifierConfig, Modality, MultimodalInput, Network,
    NetworkConfig, NetworkOutput, draw_for_pass,
};
use dermafuse::train::OptimizerKind;
use dermafuse_benches::{devices, megabytes_of_process, tasks};
use dermafuse_kernels::on_pool;

/// Measured if no network is named.
const NETWORKS: [&str; 3] = ["fusionm4net", "ammfm", "efficientnet_b3"];
const SEED: u64 = 1;
/// Passes before the first that counts: a GPU's kernels are compiled where they are used first.
const WARM_UP: usize = 2;
/// Rounds of a rate, at least and at most.
const ROUNDS: [usize; 2] = [2, 200];
/// Cases whose answers are compared with the CPU's.
const COMPARED: usize = 2;

fn main() {
    // As the program `dermafuse` does where it trains.
    restart_with_large_pages();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let plan = Plan::read(&words);
    match std::env::var("DERMAFUSE_BENCH_ROW") {
        Ok(device) => plan.row(device.parse().expect("a device's name")),
        Err(_) => plan.table(),
    }
}

/// What is measured.
struct Plan {
    networks: Vec<String>,
    side: usize,
    batch: usize,
    least: Duration,
    most: Duration,
}

impl Plan {
    fn read(words: &[String]) -> Self {
        let (settings, networks): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.contains('='));
        let number = |name: &str, usual: f64| {
            let found = settings.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.map_or(usual, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
        };
        const KNOWN: [&str; 4] = ["side", "batch", "seconds", "minutes"];
        for word in &settings {
            let name = word.split('=').next().expect("a word has a beginning");
            assert!(KNOWN.contains(&name), "{word}: the settings are {}", KNOWN.join(", "));
        }
        let networks = networks.into_iter().cloned().collect::<Vec<_>>();
        Self {
            networks: if networks.is_empty() { NETWORKS.map(str::to_owned).to_vec() } else { networks },
            side: number("side", 224.0) as usize,
            batch: number("batch", 16.0) as usize,
            least: Duration::from_secs_f64(number("seconds", 6.0)),
            most: Duration::from_secs_f64(60.0 * number("minutes", 5.0)),
        }
    }

    fn table(&self) {
        for name in &self.networks {
            // What is misspelt is told before anything is measured.
            config_of(name).check_images(self.side).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let (begun, program) = (Instant::now(), std::env::current_exe().expect("this program has a path"));
        for device in devices() {
            let hardware = device.hardware().expect("it was opened before").unwrap_or_else(|| "the CPU".into());
            println!(
                "{device}: {hardware}. Images of {0} × {0} pixels; batches of {1} cases.\n",
                self.side, self.batch
            );
            println!(
                "| network | images of a case | predicting, 1 case | predicting, {0} | training, {0}, loss read in each step | \
                 training, {0}, on the device | memory, MB | from the CPU's answers |\n|---|---|---|---|---|---|---|---|",
                self.batch
            );
            for network in &self.networks {
                if begun.elapsed() > self.most {
                    println!("| {network} | not begun: {:.1} minutes were over |", self.most.as_secs_f64() / 60.0);
                    continue;
                }
                let settings = [
                    network.clone(),
                    format!("side={}", self.side),
                    format!("batch={}", self.batch),
                    format!("seconds={}", self.least.as_secs_f64()),
                ];
                let mut row = Command::new(&program);
                let status = row.args(settings).env("DERMAFUSE_BENCH_ROW", device.to_string()).status();
                let status = status.expect("this program runs");
                if !status.success() {
                    println!("| {network} | failed: {status} |");
                }
            }
            println!();
        }
    }

    /// Measures the only network of the plan, and prints its row.
    fn row(&self, name: DeviceName) {
        let device = name.open().unwrap_or_else(|error| panic!("{error}"));
        let config = config_of(&self.networks[0]);
        let training = device.clone().autodiff();
        let network = config.init_seeded(SEED, &training).expect("a network of that size");
        let looked_at = network.modalities();
        let images_of_a_case = usize::from(looked_at.clinical) + usize::from(looked_at.dermoscopic);
        let inference = network.valid().into_inference();
        let pixels = |cases: usize| Pixels::new(cases, self.side);
        let rate = |cases: usize, work: &mut dyn FnMut()| self.rate(images_of_a_case * cases, &device, work);

        let predicting = [1, self.batch].map(|cases| {
            let pixels = pixels(cases);
            rate(cases, &mut || {
                let output = on_pool(|| inference.forward(pixels.input(&inference, &device)));
                std::hint::black_box(logits(output).into_data());
            })
        });

        let (mut state, pixels) = (Some((network, OptimizerKind::Adam.init(0.0))), pixels(self.batch));
        let mut step = |input: Option<&MultimodalInput>, pass: u64| {
            let (mut network, mut optimizer) = state.take().expect("it is put back");
            let input = input.cloned().unwrap_or_else(|| pixels.input(&network, &training));
            let loss = on_pool(|| logits(draw_for_pass(pass, || network.forward(input))).powf_scalar(2.0).mean());
            let value = loss.clone().inner();
            let gradients = on_pool(|| GradientsParams::from_grads(loss.backward(), &network));
            network = on_pool(|| optimizer.step(1e-4, network, gradients));
            state = Some((network, optimizer));
            value
        };
        let mut pass = 0;
        let as_trained = rate(self.batch, &mut || {
            pass += 1;
            // The loss is read before the next step, as the trainer does to stop at one that is no number.
            assert!(step(None, pass).into_scalar::<f32>().is_finite(), "the loss of pass {pass}");
        });
        let (input, mut losses) = (pixels.input(&inference, &training), Vec::new());
        let on_the_device = rate(self.batch, &mut || {
            pass += 1;
            losses.push(step(Some(&input), pass));
        });
        assert!(Tensor::cat(losses, 0).sum().into_scalar::<f32>().is_finite(), "the losses up to pass {pass}");

        // A GPU's allocator keeps what it once had; of the CPU it is the process that does.
        let megabytes = match device.memory_pool_usage() {
            Some(usage) => usage.bytes_reserved as f64 / 1_048_576.0,
            None => megabytes_of_process("VmHWM:"),
        };
        let apart = difference_from_the_cpu(&config, &device, self.side);
        let rates = [predicting[0], predicting[1], as_trained, on_the_device].map(|rate| format!("{rate:.1}"));
        println!(
            "| {} | {images_of_a_case} | {} | {megabytes:.0} | {apart:.1e} |",
            self.networks[0],
            rates.join(" | ")
        );
    }

    /// Images a second.
    fn rate(&self, images: usize, device: &Device, work: &mut dyn FnMut()) -> f64 {
        let mut rounds = |count: usize| {
            let begun = Instant::now();
            (0..count).for_each(|_| work());
            device.sync().expect("the device computes");
            begun.elapsed().as_secs_f64()
        };
        rounds(WARM_UP);
        let [least, most] = ROUNDS;
        let count = ((self.least.as_secs_f64() / rounds(1)).ceil() as usize).clamp(least, most);
        (images * count) as f64 / rounds(count)
    }
}

fn config_of(name: &str) -> NetworkConfig {
    let classes = tasks().class_counts();
    match name {
        "fusionm4net" => NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet50, classes)),
        "ammfm" => NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(classes)),
        _ => {
            let backbone = name.parse().unwrap_or_else(|error| panic!("neither fusionm4net nor ammfm, and {error}"));
            NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, Modality::Clinical, classes))
        }
    }
}

/// Pixels of a batch on the host, between -2 and 2.
struct Pixels {
    shape: [usize; 4],
    values: Vec<f32>,
}

impl Pixels {
    fn new(cases: usize, side: usize) -> Self {
        let shape = [cases, 3, side, side];
        let mut state = 1_u32;
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (f64::from(state) / f64::from(u32::MAX) * 4.0 - 2.0) as f32
        });
        Self { shape, values: values.collect() }
    }

    /// Takes a copy to the device for each image that the network looks at.
    fn input(&self, network: &AnyNetwork, device: &Device) -> MultimodalInput {
        let images = || Tensor::from_data(TensorData::new(self.values.clone(), self.shape), device);
        let looked_at = network.modalities();
        MultimodalInput {
            clinical: looked_at.clinical.then(images),
            dermoscopic: looked_at.dermoscopic.then(images),
            metadata: None,
        }
    }
}

/// All logits of all branches.
fn logits(output: NetworkOutput) -> Tensor<1> {
    let logits = output.branches.into_iter().flat_map(|branch| branch.logits);
    Tensor::cat(logits.map(|logits| logits.flatten(0, 1)).collect(), 0)
}

/// The largest difference of a logit, relative to the logit or to the mean magnitude of all, whichever is more.
fn difference_from_the_cpu(config: &NetworkConfig, device: &Device, side: usize) -> f64 {
    let pixels = Pixels::new(COMPARED, side);
    let [expected, found] = [&Device::flex(), device].map(|device| {
        let network = config.init_seeded(SEED, device).expect("a network of that size").valid().into_inference();
        let logits = logits(network.forward(pixels.input(&network, device)));
        logits.into_data().iter::<f64>().collect::<Vec<_>>()
    });
    let mean = expected.iter().map(|value| value.abs()).sum::<f64>() / expected.len() as f64;
    let relative = found.iter().zip(&expected).map(|(found, expected)| {
        let apart = (found - expected).abs() / expected.abs().max(mean);
        if apart.is_nan() { f64::INFINITY } else { apart }
    });
    relative.fold(0.0, f64::max)
}
