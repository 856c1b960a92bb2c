//! Every device gives the numbers of the CPU: backbones, fusion modules and networks in value and gradient, kernels on awkward shapes, runs
//! of recipes, models from file to file. Built with a device's feature (`wgpu`, `cuda`), and run on the devices of DERMAFUSE_DEVICES
//! (names with commas between), or on the first of each backend that was built in. With `--nocapture` differences are printed as a table.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use burn::module::{Initializer, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dermafuse::backbones::{
    AnyBackbone, Backbone, BackboneKind, Pretrained, global_average_pool, require_parameters_fit,
};
use dermafuse::devices::{DeviceError, DeviceName, WgpuAdapter};
use dermafuse::fusion::{AnyFusion, AnyMapFusion, FeatureFusion, FusionKind, MapFusion, MapFusionKind};
use dermafuse::infer::Bundle;
use dermafuse::networks::{AnyNetwork, MultimodalInput, Network, NetworkKind, draw_first_weights, draw_for_pass};
use dermafuse::recipes::{Progress, Recipe, Workplace};
use dermafuse::schema::FuseSpace;
use dermafuse::synthetic::clinics;
use dermafuse::train::{EpochReport, Observer};
use dermafuse_kernels::{
    Activation, ValueFlow, Windows, affine_activation, batch_norm_activation, conv2d, conv2d_activation,
    largest_tensor, layer_norm, linear, position_attention, sum_activation, window_attention,
};
use dermafuse_tests::{
    contents_of, device_lock, small_experiment, small_set, small_set_folder, small_settings, tensor_by_formula,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Forward passes, relative to the mean magnitude of what is compared.
const FORWARD: f64 = 1e-4;
/// Gradients of a step, relative to the parameter's.
const GRADIENT: f64 = 1e-3;
/// By how many units in their last place weights and inputs are moved on the CPU to see how far rounding carries; devices add in another
/// order, which moves results by some units as well.
const LAST_PLACES: f32 = 8.0;
/// In how many directions: in each, some numbers go up and the others down. The order of two nearly equal values of a pool turns round in
/// some and not in others.
const DIRECTIONS: usize = 6;
/// Kernels alone.
const KERNEL: f64 = 1e-5;
/// The loss of an epoch.
const LOSS: f64 = 1e-3;
/// What rounding alone may make of it on the CPU. Few directions find one kink of an epoch in some, and each step after it makes more of it.
const LOSS_OF_ROUNDING: f64 = LOSS / 10.0;
/// Probabilities.
const PROBABILITY: f64 = 1e-4;

const CLASSES: [usize; 2] = [3, 2];
const RECORD: usize = 6;
/// Seeds of first weights and of what a pass draws, and by how much a step is larger than the smallest: the first with which the comparison
/// of a module is fair are taken. Another seed is for a pool with two values that are equal but for rounding: a network with 100,000 windows
/// has some such in every second draw. More cases are for norms over features: their statistics are over no more numbers than these, and
/// with few the smallest variance of some hundred channels is next to nothing.
const DRAWS: [(u64, usize); 14] = [
    (11, 1),
    (12, 1),
    (13, 1),
    (14, 1),
    (15, 1),
    (16, 1),
    (17, 1),
    (18, 1),
    (19, 1),
    (20, 1),
    (21, 2),
    (22, 2),
    (23, 4),
    (24, 4),
];
/// Cases of the smallest step of a backbone, of a fusion module and of a network.
const CASES: [usize; 3] = [2, 3, 4];

// ---- Devices.

/// The devices that are compared with the CPU.
fn under_test() -> &'static [(DeviceName, Device)] {
    static DEVICES: OnceLock<Vec<(DeviceName, Device)>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let names: Vec<DeviceName> = match std::env::var("DERMAFUSE_DEVICES") {
            Ok(names) => names.split(',').map(|name| name.parse().unwrap_or_else(|error| panic!("{error}"))).collect(),
            Err(_) => {
                let built = DeviceName::backends().into_iter().filter(|(feature, built)| *built && *feature != "flex");
                built.map(|(feature, _)| feature.parse().expect("a backend is a device's name")).collect()
            }
        };
        let open = |name: DeviceName| (name, name.open().unwrap_or_else(|error| panic!("{error}")));
        let devices: Vec<_> = names.into_iter().map(open).collect();
        assert!(!devices.is_empty(), "no device to compare with the CPU; build with the feature wgpu or cuda");
        for (name, _) in &devices {
            println!("# {name}: {}", name.hardware().unwrap().unwrap_or_default());
        }
        devices
    })
}

#[test]
fn a_device_that_is_not_there_is_told_those_that_are() {
    for (name, _) in under_test() {
        let absent = match name.feature() {
            "cuda" => DeviceName::Cuda(999),
            _ => DeviceName::Wgpu(WgpuAdapter::Discrete(999)),
        };
        let error = absent.open().unwrap_err();
        assert!(matches!(&error, DeviceError::Absent { present, .. } if present.contains(name)), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("this machine has no device `{absent}`; it has flex, ")), "{text}");
        // What is there opens as often as somebody asks.
        assert_eq!(name.open().unwrap(), name.open().unwrap());
    }
}

/// As many bytes as the device holds in one piece are computed with, and four more are an error before they are drawn.
#[test]
fn a_parameter_that_is_too_large_for_a_device_is_an_error() {
    let _lock = device_lock();
    for (name, device) in under_test() {
        let Some(largest) = largest_tensor(device) else {
            assert_eq!(*name, DeviceName::Flex, "every other device has a limit");
            continue;
        };
        let ones = |numbers: u64| Initializer::Ones.init::<1, _>([numbers as usize], device);
        let (fits, too_large) = (ones(largest / 4), ones(largest / 4 + 1));
        println!("| the largest tensor | {name} | {largest} bytes |");
        assert_eq!(require_parameters_fit(&fits), Ok(()));
        let error = require_parameters_fit(&too_large).unwrap_err();
        assert_eq!((error.bytes, error.largest), (largest / 4 * 4 + 4, largest));
        // A graphics card has gigabytes of it.
        if largest <= 1 << 28 {
            let (doubled, numbers) = (fits.val() * 2.0, (largest / 4) as usize);
            for ends in [0..4, numbers - 4..numbers] {
                assert_eq!(values(doubled.clone().slice([ends])), [2.0; 4], "{name}");
            }
        }
    }
}

// ---- Differences.

/// Values with a name each.
type Values = BTreeMap<String, Vec<f32>>;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The largest difference, relative to the value or to the mean magnitude, whichever is more. What is no number is never near.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let magnitude = expected.iter().map(|value| f64::from(value.abs())).sum::<f64>() / expected.len().max(1) as f64;
    let relative = found.iter().zip(expected).map(|(&found, &expected)| {
        let (found, expected) = (f64::from(found), f64::from(expected));
        match found == expected {
            true => 0.0,
            false => (found - expected).abs() / expected.abs().max(magnitude),
        }
    });
    largest(relative)
}

/// The largest of the differences; what is no number is endless.
fn largest(differences: impl Iterator<Item = f64>) -> f64 {
    differences.map(|one| if one.is_nan() { f64::INFINITY } else { one }).fold(0.0, f64::max)
}

/// The length of a vector.
fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn length_of(values: &[f32]) -> f64 {
    length(values.iter().map(|&value| f64::from(value)))
}

/// A gradient of this share of the largest of a network is next to nothing.
const LEAST: f64 = 0.01;

/// The largest difference between gradients of a parameter as vectors, relative to the parameter's; of parameters whose gradient is next
/// to nothing (the bias before a normalisation has none but for rounding), to a hundredth of the largest.
fn gradient_difference(found: &Values, expected: &Values) -> (f64, String) {
    assert!(found.keys().eq(expected.keys()), "the same parameters have gradients");
    let lengths: Vec<f64> = expected.values().map(|values| length_of(values)).collect();
    let least = LEAST * largest(lengths.iter().copied());
    let mut worst = (0.0, String::new());
    for ((path, expected), own) in expected.iter().zip(lengths) {
        let apart = found[path].iter().zip(expected).map(|(&found, &expected)| f64::from(found) - f64::from(expected));
        let relative = largest([length(apart) / own.max(least)].into_iter());
        if relative > worst.0 {
            worst = (relative, path.clone());
        }
    }
    worst
}

/// Differences as cells of a table.
fn in_cells(differences: [f64; 3]) -> String {
    differences.map(|one| format!("{one:.1e}")).join(" | ")
}

/// Differences that were measured, and what is too far from the CPU.
#[derive(Default)]
struct Table {
    faults: Vec<String>,
}

impl Table {
    fn row(&mut self, device: DeviceName, what: impl Display, cells: &[(&str, f64, f64)], seconds: f64) {
        let text: Vec<String> = cells.iter().map(|(name, found, _)| format!("{name} {found:.1e}")).collect();
        println!("| {what} | {device} | {} | {seconds:.1} s |", text.join(" | "));
        for (name, found, allowed) in cells {
            if found > allowed {
                self.faults.push(format!(
                    "{what} on {device}: {name} is {found:.2e} from the CPU's, {allowed:.0e} is allowed"
                ));
            }
        }
    }

    fn check(self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

// ---- Modules.

/// Parameters by their paths: values, or the gradients of those that have some.
struct Reader<'a> {
    path: Vec<String>,
    gradients: Option<&'a Gradients>,
    values: Values,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let read = match self.gradients {
            None => Some(values(param.val())),
            Some(gradients) => param.val().grad(gradients).map(values),
        };
        self.values.extend(read.map(|read| (self.path.join("."), read)));
    }
}

fn read<M: Module>(module: &M, gradients: Option<&Gradients>) -> Values {
    let mut reader = Reader { path: Vec::new(), gradients, values: Values::new() };
    module.visit(&mut reader);
    reader.values
}

/// Changes each parameter: its path, what kind of layer it is in, its values.
struct Changing<F> {
    places: Vec<(String, String)>,
    change: F,
}

impl<F: FnMut(&str, &str, &[usize], &mut [f32])> Changing<F> {
    fn module<M: Module>(module: M, change: F) -> M {
        module.map(&mut Changing { places: Vec::new(), change })
    }
}

impl<F: FnMut(&str, &str, &[usize], &mut [f32])> ModuleMapper for Changing<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.places.push((name.to_owned(), container.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.places.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path: Vec<&str> = self.places.iter().map(|(name, _)| name.as_str()).collect();
        let (path, layer) = (path.join("."), self.places.last().map_or("", |(_, container)| container));
        param.map(|value| {
            let (learns, shape, device) = (value.is_require_grad(), value.dims(), value.device());
            let mut changed = values(value);
            (self.change)(&path, layer, &shape, &mut changed);
            let value = Tensor::from_data(TensorData::new(changed, shape), &device);
            if learns { value.require_grad() } else { value }
        })
    }
}

/// Draws between -1 and 1 that depend on a name alone.
fn draws(name: &str, count: usize) -> Vec<f32> {
    values(tensor_by_formula::<1>(name, [count], &Device::flex()) / 2.0)
}

/// What stands between a linear map and its rectifier.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Norm,
    Bias,
}

/// Weights with which a module is smooth near the point that is measured, where first weights have the kink of each rectifier in the middle
/// of its values: there one of a million values that changes sides by rounding changes gradients by a thousandth. Each channel is some five
/// standard deviations on one side, three of four on the open one. The side is that of the channel's number, so that sums keep it.
/// What all images have in common is then five times what differs from one to the other, and sums of it would drown that, so convolutions
/// take no part of it: see [`without_constant`].
fn away_from_kinks<M: Module>(module: M, before: Before) -> M {
    Changing::module(module, |path, layer, shape, numbers| {
        let own = draws(path, numbers.len());
        let values = numbers.iter_mut().zip(own);
        let name = path.rsplit('.').next().unwrap_or_default();
        match (before, layer, name) {
            (Before::Norm, "Struct:BatchNorm", "gamma") => values.for_each(|(value, own)| *value = 0.2 + 0.05 * own),
            (Before::Norm, "Struct:BatchNorm", "beta") | (Before::Bias, _, "bias") => {
                for (channel, (value, own)) in values.enumerate() {
                    *value = (1.0 + 0.1 * own) * if channel % 4 == 3 { -1.0 } else { 1.0 };
                }
            }
            (Before::Norm, "Struct:Conv2d", "weight") => {
                without_constant(numbers, shape[1], shape[2..].iter().product());
            }
            (Before::Bias, "Struct:Conv2d", "weight") => {
                without_constant(numbers, shape[1], shape[2..].iter().product());
                // What differs stays a fifth of the offsets from layer to layer: three of four channels of an input are open, and images
                // have a deviation of about 1.3.
                let wanted = if shape[1] < 4 { 0.15 } else { 1.15 };
                for of_output in numbers.chunks_mut(shape[1..].iter().product()) {
                    let factor = (wanted / length_of(of_output)) as f32;
                    of_output.iter_mut().for_each(|value| *value *= factor);
                }
            }
            (Before::Bias, _, "weight") => values.for_each(|(value, _)| *value *= 0.2),
            _ => {}
        }
    })
}

/// Takes from weights of a convolution their mean over the open channels of the input, for each output and each tap, so that an input that
/// is 1 in all of them makes 0. With weights as they are drawn, a padded border or an attention of one kind of images makes a pattern that
/// is the same for every case, by which a norm divides; what is left of the differences between cases shrinks by the layer, until a norm
/// over the features of a few cases makes it, and all rounding with it, large again.
fn without_constant(weights: &mut [f32], channels: usize, inner: usize) {
    if channels < 4 {
        return;
    }
    for of_output in weights.chunks_mut(channels * inner) {
        for tap in 0..inner {
            let open = || (0..channels).filter(|channel| channel % 4 != 3).map(|channel| channel * inner + tap);
            let mean = open().map(|place| of_output[place]).sum::<f32>() / open().count() as f32;
            open().for_each(|place| of_output[place] -= mean);
        }
    }
}

/// The weights that a module is measured with.
#[derive(Clone, Copy)]
struct Point<'a> {
    seed: u64,
    /// Cases of the step.
    cases: usize,
    before: Before,
    moved: &'a Moved<'a>,
}

/// What is done to them before.
#[derive(PartialEq)]
enum Moved<'a> {
    Not,
    /// Every weight and every number of the input by [`LAST_PLACES`], up or down as the direction with this number says.
    InDirection(usize),
    /// The weights of one parameter by a percent, up or down.
    APercent(&'a str),
}

impl Moved<'_> {
    fn apply<M: Module>(&self, module: M) -> M {
        match self {
            Self::Not => module,
            Self::InDirection(_) => Changing::module(module, |path, _, _, values| self.move_numbers(path, values)),
            Self::APercent(parameter) => Changing::module(module, |path, _, _, values| {
                if path == *parameter {
                    move_by(0.01, path, values);
                }
            }),
        }
    }

    /// What becomes of weights or of inputs of that name.
    fn move_numbers(&self, name: &str, numbers: &mut [f32]) {
        if let Self::InDirection(direction) = self {
            move_by(LAST_PLACES * f32::EPSILON, &format!("{name} in direction {direction}"), numbers);
        }
    }
}

/// Moves each number by a share of itself, up or down by draws of that name.
fn move_by(share: f32, name: &str, numbers: &mut [f32]) {
    let directions = draws(name, numbers.len());
    numbers.iter_mut().zip(directions).for_each(|(number, direction)| *number += *number * share.copysign(direction));
}

/// What goes into a module.
struct Inputs<'a> {
    device: &'a Device,
    cases: usize,
    moved: &'a Moved<'a>,
}

impl Inputs<'_> {
    /// Numbers between -2 and 2 that depend on the name.
    fn numbers<const D: usize>(&self, name: &str, shape: [usize; D]) -> Tensor<D> {
        self.moved_as(name, tensor_by_formula(name, shape, &Device::flex()))
    }

    /// Images with a colour of their own and noise: what is averaged over an image differs from image to image, so that norms over a batch
    /// of features divide by no small number.
    fn images(&self, name: &str, side: usize) -> Tensor<4> {
        let flex = Device::flex();
        let noise = tensor_by_formula::<4>(name, [self.cases, 3, side, side], &flex) / 2.0;
        self.moved_as(name, noise + tensor_by_formula(&format!("colours of {name}"), [self.cases, 3, 1, 1], &flex))
    }

    fn moved_as<const D: usize>(&self, name: &str, numbers: Tensor<D>) -> Tensor<D> {
        let (shape, mut numbers) = (numbers.dims(), values(numbers));
        self.moved.move_numbers(name, &mut numbers);
        Tensor::from_data(TensorData::new(numbers, shape), self.device)
    }
}

/// What a module gives on a device.
struct Measured {
    first_weights: Values,
    predicted: Vec<f32>,
    trained: Vec<f32>,
    gradients: Values,
}

/// What is compared of a module.
const COMPARED: [&str; 3] = ["predicting", "training", "gradients"];
/// What each may differ by.
const BOUNDS: [f64; 3] = [FORWARD, FORWARD, GRADIENT];

impl Measured {
    /// How far this is from the CPU's: predicting, training, gradients, and the parameter whose gradient differs most.
    fn differences(&self, cpu: &Self) -> ([f64; 3], String) {
        let (gradient, worst) = gradient_difference(&self.gradients, &cpu.gradients);
        let of = |found: &[f32], expected: &[f32]| difference(found, expected);
        ([of(&self.predicted, &cpu.predicted), of(&self.trained, &cpu.trained), gradient], worst)
    }
}

/// Draws the module's first weights, moves them away from kinks, does a step's forward and backward pass, and predicts. `forward` gives
/// all outputs.
fn measure<M: Module>(
    device: &Device,
    make: impl Fn(&Device) -> M,
    forward: impl Fn(&M, &Inputs) -> Vec<Tensor<1>>,
    Point { seed, cases, before, moved }: Point<'_>,
) -> Measured {
    let training = device.clone().autodiff();
    let module = make(&training);
    draw_first_weights(&module, seed);
    let first_weights = if *moved == Moved::Not { read(&module, None) } else { Values::new() };
    let module = moved.apply(away_from_kinks(module, before));
    let inputs = |device| Inputs { device, cases, moved };
    let trained = draw_for_pass(seed, || Tensor::cat(forward(&module, &inputs(&training)), 0));
    // Every output counts otherwise, so that no gradient cancels.
    let weights = tensor_by_formula("loss", trained.dims(), &training);
    let loss = (trained.clone() * weights).sum();
    // Nothing learns in a network that stands still.
    let gradients = loss.is_tracked().then(|| loss.backward());
    // With the running statistics of the step.
    let predicted = Tensor::cat(forward(&module.valid(), &inputs(device)), 0);
    Measured {
        first_weights,
        predicted: values(predicted),
        trained: values(trained),
        gradients: gradients.map(|gradients| read(&module, Some(&gradients))).unwrap_or_default(),
    }
}

/// Measures the module on the CPU and on every device under test. That the comparison is fair is measured too, on the CPU alone: moving
/// every weight and input by [`LAST_PLACES`] must stay within what a device is allowed in all [`DIRECTIONS`], since otherwise it would make as
/// much of rounding as of a fault, and moving the weights of one layer by a percent must not.
fn compare<M: Module>(
    table: &mut Table,
    what: impl Display,
    (before, cases): (Before, usize),
    make: impl Fn(&Device) -> M,
    forward: impl Fn(&M, &Inputs) -> Vec<Tensor<1>>,
) {
    let begun = Instant::now();
    let on = |device: &Device, (seed, times): (u64, usize), moved: &Moved| {
        measure(device, &make, &forward, Point { seed, cases: cases * times, before, moved })
    };
    let on_cpu = |draw, moved: &Moved| on(&Device::flex(), draw, moved);
    let within = |apart: &[f64; 3]| apart.iter().zip(BOUNDS).all(|(apart, bound)| *apart <= bound);
    let mut drawn = DRAWS.into_iter().map(|draw| {
        let expected = on_cpu(draw, &Moved::Not);
        assert!(expected.predicted.iter().chain(&expected.trained).all(|value| value.is_finite()), "{what}");
        let (mut own, mut worst) = ([0.0_f64; 3], String::new());
        for direction in 0..DIRECTIONS {
            let (apart, of) = on_cpu(draw, &Moved::InDirection(direction)).differences(&expected);
            if apart[2] > own[2] {
                worst = of;
            }
            own = std::array::from_fn(|at| own[at].max(apart[at]));
            if !within(&own) {
                break;
            }
        }
        (draw, expected, own, worst)
    });
    let mut unfair = Vec::new();
    let fair = drawn.find(|(draw, _, own, worst)| {
        let is_fair = within(own);
        if !is_fair {
            unfair.push(format!("{} with {draw:?}, of the gradients at {worst}", in_cells(*own)));
        }
        is_fair
    });
    let Some((draw, expected, own, _)) = fair else {
        table.faults.push(format!(
            "{what}: this comparison is not fair, since {LAST_PLACES} last places of the weights make as much as a fault would \
             ({}): {}",
            in_cells(BOUNDS),
            unfair.join("; ")
        ));
        println!("| {what} | {} |", unfair.join("; "));
        return;
    };
    // The one in the middle, of those that count.
    let weights = expected.gradients.iter().filter(|(path, _)| path.ends_with("weight"));
    let lengths: Vec<(&String, f64)> = weights.map(|(path, values)| (path, length_of(values))).collect();
    let least = LEAST * largest(lengths.iter().map(|(_, length)| *length));
    let weights: Vec<&String> = lengths.iter().filter(|(_, length)| *length > least).map(|(path, _)| *path).collect();
    let faulty = weights.get(weights.len() / 2).map(|&weight| {
        let (apart, _) = on_cpu(draw, &Moved::APercent(weight)).differences(&expected);
        if within(&apart) {
            table.faults.push(format!(
                "{what}: a percent in {weight} makes {}, and this comparison would not find it",
                in_cells(apart)
            ));
        }
        apart
    });
    println!(
        "| {what} | seed and size {draw:?} | the CPU, {LAST_PLACES} last places in {DIRECTIONS} directions | {} | a percent in a layer | {} | {:.1} s |",
        in_cells(own),
        faulty.map_or("no weight that learns".to_owned(), in_cells),
        begun.elapsed().as_secs_f64()
    );
    for (name, device) in under_test() {
        let begun = Instant::now();
        let found = on(device, draw, &Moved::Not);
        assert!(found.first_weights == expected.first_weights, "{what}: first weights on {name} are those on the CPU");
        let (apart, worst) = found.differences(&expected);
        let cells: [_; 3] = std::array::from_fn(|at| (COMPARED[at], apart[at], BOUNDS[at]));
        table.row(*name, &what, &cells, begun.elapsed().as_secs_f64());
        if apart[2] > GRADIENT {
            println!("  the gradient that differs most is that of {worst}");
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.flatten(0, D - 1)
}

fn input_of(inputs: &Inputs, size: usize) -> MultimodalInput {
    MultimodalInput {
        clinical: Some(inputs.images("clinical", size)),
        dermoscopic: Some(inputs.images("dermoscopic", size)),
        metadata: Some(inputs.numbers("record", [inputs.cases, RECORD])),
    }
}

#[test]
fn backbones() {
    let _lock = device_lock();
    let mut table = Table::default();
    for kind in BackboneKind::ALL {
        // Where the architecture shrinks images fast, one that leaves more than one pixel.
        let size = if kind.min_size() > 64 { kind.min_size() * 3 / 2 } else { 64 };
        let before = match kind {
            BackboneKind::SqueezeNet | BackboneKind::Vgg16 => Before::Bias,
            _ => Before::Norm,
        };
        let refusal = under_test()
            .iter()
            .find_map(|(name, device)| Some((name, require_parameters_fit(&kind.init(Some(3), device)).err()?)));
        if let Some((name, refusal)) = refusal {
            println!("| {kind} is compared without its classifier: on {name}, {refusal} |");
            let forward = |network: &AnyBackbone, inputs: &Inputs| {
                vec![flat(global_average_pool(network.forward_features(inputs.images("images", size))))]
            };
            compare(&mut table, kind, (before, CASES[0]), |device| kind.init(None, device), forward);
        } else {
            let forward = |network: &AnyBackbone, inputs: &Inputs| {
                vec![flat(network.forward_logits(inputs.images("images", size)))]
            };
            compare(&mut table, kind, (before, CASES[0]), |device| kind.init(Some(3), device), forward);
        }
    }
    table.check();
}

#[test]
fn fusion_modules() {
    let _lock = device_lock();
    let mut table = Table::default();
    for name in FusionKind::ALL {
        let kind: FusionKind = name.parse().unwrap();
        let forward = |module: &AnyFusion, inputs: &Inputs| {
            let image = inputs.numbers("image", [inputs.cases, 64]);
            // A module may have no parameter that a gradient could reach.
            let image = if inputs.device.is_autodiff() { image.require_grad() } else { image };
            vec![flat(module.forward(image, inputs.numbers("record", [inputs.cases, RECORD])))]
        };
        compare(&mut table, name, (Before::Norm, CASES[1]), |device| kind.init(64, RECORD, device).unwrap(), forward);
    }
    for name in MapFusionKind::ALL {
        let kind: MapFusionKind = name.parse().unwrap();
        let forward = |module: &AnyMapFusion, inputs: &Inputs| {
            let map = |name, channels| inputs.numbers(name, [inputs.cases, channels, 5, 7]);
            let (clinical, dermoscopic) = module.forward(map("clinical", 24), map("dermoscopic", 24));
            vec![flat(clinical), flat(dermoscopic)]
        };
        compare(&mut table, name, (Before::Norm, CASES[1]), |device| kind.init(24, 24, device).unwrap(), forward);
    }
    table.check();
}

#[test]
fn networks() {
    let _lock = device_lock();
    let mut table = Table::default();
    for kind in NetworkKind::ALL {
        for (number, config) in kind.examples(&CLASSES, RECORD).into_iter().enumerate() {
            let forward = |network: &AnyNetwork, inputs: &Inputs| {
                let output = network.forward(input_of(inputs, 64));
                let logits = output.branches.into_iter().flat_map(|branch| branch.logits).map(flat);
                let own = output.auxiliary.into_iter().map(|auxiliary| flat(auxiliary.loss));
                logits.chain(own).collect()
            };
            compare(
                &mut table,
                format!("{kind} {number}"),
                (Before::Norm, CASES[2]),
                |device| config.init(device).unwrap(),
                forward,
            );
        }
    }
    table.check();
}

// ---- Kernels: what other devices compute with Burn's operations, against the kernels of the CPU.

/// Lengths that fill no vector unit, no tile and no workgroup.
fn awkward() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1_usize), Just(2), Just(3), Just(5), Just(7), Just(13), Just(17), Just(31), Just(67)]
}

/// Runs an operation on leaves of the shapes and gives its output with and without gradients wanted, and the gradients of the leaves.
fn run_kernel(device: &Device, shapes: &[[usize; 4]], run: &dyn Fn(Vec<Tensor<4>>) -> Tensor<1>) -> Vec<Vec<f32>> {
    let leaves = |device: &Device| -> Vec<Tensor<4>> {
        let leaf = |(place, shape): (usize, &[usize; 4])| tensor_by_formula(&format!("leaf {place}"), *shape, device);
        shapes.iter().enumerate().map(leaf).collect()
    };
    let training = device.clone().autodiff();
    let tracked: Vec<Tensor<4>> = leaves(&training).into_iter().map(Tensor::require_grad).collect();
    let output = run(tracked.clone());
    let gradients = (output.clone() * tensor_by_formula("loss", output.dims(), &training)).sum().backward();
    let of_leaves = tracked.iter().map(|leaf| values(leaf.grad(&gradients).expect("every leaf counts")));
    [values(output.inner()), values(run(leaves(device)))].into_iter().chain(of_leaves).collect()
}

/// Compares an operation over many cases: the largest difference, relative to the largest value (at least 1).
fn kernel<S: Strategy<Value: Clone>>(
    table: &mut Table,
    what: &str,
    cases: S,
    shapes: impl Fn(&S::Value) -> Vec<[usize; 4]>,
    run: impl Fn(&S::Value, Vec<Tensor<4>>) -> Tensor<1>,
) {
    for (name, device) in under_test() {
        let begun = Instant::now();
        let most = Cell::new(0.0_f64);
        let config = Config { failure_persistence: None, ..Config::with_cases(cases_of_a_kernel()) };
        // The same cases each time.
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
        let outcome = runner.run(&cases, |case| {
            let (shapes, run) = (shapes(&case), |leaves| run(&case, leaves));
            let expected = run_kernel(&Device::flex(), &shapes, &run);
            for (place, (found, expected)) in run_kernel(device, &shapes, &run).iter().zip(&expected).enumerate() {
                let scale = expected.iter().fold(1.0, |most: f64, value| most.max(f64::from(value.abs())));
                let apart =
                    found.iter().zip(expected).map(|(found, expected)| f64::from((found - expected).abs()) / scale);
                let apart = largest(apart);
                most.set(most.get().max(apart));
                prop_assert!(apart <= KERNEL, "result {place} is {apart:.1e} from the CPU's");
            }
            Ok(())
        });
        table.row(*name, what, &[("largest", most.get(), KERNEL)], begun.elapsed().as_secs_f64());
        table.faults.extend(outcome.err().map(|error| format!("{what} on {name}: {error}")));
    }
}

fn cases_of_a_kernel() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

fn vector(tensor: Tensor<4>) -> Tensor<1> {
    flat(tensor)
}

#[test]
fn kernels_of_convolution() {
    let _lock = device_lock();
    let mut table = Table::default();
    #[derive(Clone, Debug)]
    struct Case {
        x: [usize; 4],
        weight: [usize; 4],
        groups: usize,
        stride: [usize; 2],
        padding: [(usize, usize); 2],
        dilation: usize,
        activation: Activation,
    }
    let case = || {
        let kinds = prop_oneof![Just("depthwise"), Just("pointwise"), Just("dense"), Just("grouped")];
        let kernels = prop_oneof![Just([3, 3]), Just([5, 5]), Just([1, 7]), Just([2, 2])];
        let sizes = (1_usize..4, awkward(), awkward(), prop::array::uniform2(awkward()));
        let steps = (prop::array::uniform2(1_usize..3), 0_usize..2, 0_usize..2, 1_usize..3, 0..Activation::ALL.len());
        (kinds, kernels, sizes, steps).prop_map(|(kind, kernel, (batch, c, d, size), steps)| {
            let (stride, begin, end, dilation, activation) = steps;
            let (channels, groups, kernel) = match kind {
                "depthwise" => ([c, c], c, kernel),
                "pointwise" => ([c, d], 1, [1, 1]),
                "dense" => ([c.min(17), d.min(17)], 1, kernel),
                _ => ([2 * c.min(17), 2 * d.min(17)], 2, kernel),
            };
            let size: [usize; 2] = std::array::from_fn(|axis| size[axis].max(dilation * (kernel[axis] - 1) + 1));
            let padding = kernel.map(|side| if side > 1 { (begin, begin + end) } else { (0, 0) });
            Case {
                x: [batch, channels[0], size[0], size[1]],
                weight: [channels[1], channels[0] / groups, kernel[0], kernel[1]],
                groups,
                stride,
                padding,
                dilation,
                activation: Activation::ALL[activation],
            }
        })
    };
    let options =
        |case: &Case| ConvOptions::new_with_padding(case.stride, case.padding, [case.dilation; 2], case.groups);
    kernel(
        &mut table,
        "convolution",
        case(),
        |case| vec![case.x, case.weight],
        |case, leaves| {
            let [x, weight] = leaves.try_into().expect("two leaves");
            flat(conv2d(x, weight, None, options(case)))
        },
    );
    kernel(
        &mut table,
        "convolution, bias, activation",
        case(),
        |case| vec![case.x, case.weight, [1, 1, 1, case.weight[0]]],
        |case, leaves| {
            let [x, weight, bias] = leaves.try_into().expect("three leaves");
            flat(conv2d_activation(x, weight, vector(bias), options(case), case.activation))
        },
    );
    table.check();
}

#[test]
fn kernels_of_layers() {
    let _lock = device_lock();
    let mut table = Table::default();
    let activation = || (0..Activation::ALL.len()).prop_map(|index| Activation::ALL[index]);
    let map = || (1_usize..4, awkward(), awkward(), awkward()).prop_map(|(b, c, h, w)| [b, c, h, w]);
    let wide = |channels: usize| [1, 1, 1, channels];
    kernel(
        &mut table,
        "linear layer",
        (map(), awkward(), activation()),
        |&(x, out, _)| vec![x, [1, 1, x[3], out], wide(out)],
        |&(_, _, activation), leaves| {
            let [x, weight, bias] = leaves.try_into().expect("three leaves");
            flat(linear(x, weight.squeeze_dims(&[0, 1]), vector(bias), activation))
        },
    );
    kernel(
        &mut table,
        "layer normalization",
        (map(), 0_usize..4),
        |&(x, axis)| vec![x, wide(x[axis]), wide(x[axis])],
        |&(_, axis), leaves| {
            let [x, gamma, beta] = leaves.try_into().expect("three leaves");
            flat(layer_norm(x, vector(gamma), vector(beta), 1e-2, axis))
        },
    );
    kernel(
        &mut table,
        "affine map, activation",
        (map(), activation()),
        |&(x, _)| vec![x, wide(x[1]), wide(x[1])],
        |&(_, activation), leaves| {
            let [x, scale, shift] = leaves.try_into().expect("three leaves");
            flat(affine_activation(x, vector(scale), vector(shift), activation))
        },
    );
    kernel(
        &mut table,
        "batch normalization, activation",
        (map(), activation()),
        |&(x, _)| vec![x, wide(x[1]), wide(x[1])],
        |&(_, activation), leaves| {
            let [x, gamma, beta] = leaves.try_into().expect("three leaves");
            let normalized = batch_norm_activation(x, vector(gamma), vector(beta), 1e-2, activation);
            Tensor::cat(vec![flat(normalized.output), normalized.mean, normalized.variance], 0)
        },
    );
    kernel(
        &mut table,
        "activation",
        (map(), activation()),
        |&(x, _)| vec![x],
        |&(_, activation), mut leaves| flat(activation.forward(leaves.remove(0) * 2.5)),
    );
    kernel(
        &mut table,
        "sum, activation",
        (map(), activation()),
        |&(x, _)| vec![x, x],
        |&(_, activation), leaves| {
            let [x, y] = leaves.try_into().expect("two leaves");
            flat(sum_activation(x, y * 2.5, activation))
        },
    );
    table.check();
}

#[test]
fn kernels_of_attention() {
    let _lock = device_lock();
    let mut table = Table::default();
    let windows = (prop::array::uniform2(0_usize..7), 1_usize..8, 1_usize..4, any::<bool>()).prop_map(
        |(shift, side, heads, cosine)| Windows { side, shift: shift.map(|shift| shift % side), heads, cosine },
    );
    let length = prop_oneof![Just(3_usize), Just(5), Just(16), Just(17)];
    kernel(
        &mut table,
        "attention inside windows",
        (1_usize..4, prop::array::uniform2(1_usize..4), windows, length),
        |&(batch, [rows, columns], windows, length)| {
            let Windows { side, heads, .. } = windows;
            let pixels = side * side;
            vec![[batch, rows * side, columns * side, 3 * heads * length], [1, 1, 1, heads], [1, heads, pixels, pixels]]
        },
        |&(_, _, windows, _), leaves| {
            let [qkv, scale, bias] = leaves.try_into().expect("three leaves");
            // Small, so that the softmax is smooth: its gradient is a difference.
            flat(window_attention(qkv / 4.0, vector(scale), bias.squeeze_dim(0), windows))
        },
    );
    let positions = || prop_oneof![awkward(), Just(97_usize), Just(211)];
    kernel(
        &mut table,
        "attention between all positions",
        (1_usize..4, awkward(), awkward(), positions(), positions(), any::<bool>()),
        |&(batch, depth, channels, rows, columns, scatters)| {
            let values = if scatters { rows } else { columns };
            vec![[1, batch, depth, rows], [1, batch, depth, columns], [1, batch, channels, values]]
        },
        |&(_, depth, _, _, _, scatters), leaves| {
            let [query, key, value]: [Tensor<4>; 3] = leaves.try_into().expect("three leaves");
            let [query, key, value] = [query, key, value].map(|leaf| leaf.squeeze_dim::<3>(0));
            let flow = if scatters { ValueFlow::Scatter } else { ValueFlow::Gather };
            flat(position_attention(query / (depth as f64).sqrt(), key, value, flow))
        },
    );
    table.check();
}

// ---- Runs and models.

/// Losses of all epochs.
#[derive(Default)]
struct Losses(Vec<f32>);

impl Observer for Losses {
    fn epoch(&mut self, report: &EpochReport, _epochs: usize, _best: bool) {
        self.0.extend([Some(report.train_loss), report.valid_loss].into_iter().flatten().map(|loss| loss as f32));
    }
}

impl Progress for Losses {
    fn step(&mut self, _title: &str) {}

    fn predicted(&mut self, _done: usize, _total: usize) {}
}

/// The sets of a recipe, drawn below a folder, as the recipe names them.
fn data_of(recipe: &str, folder: &Path) -> Vec<String> {
    let drawn = |name: &str, config: clinics::Config| {
        let path = folder.join(name);
        if !path.exists() {
            clinics::write(&path, &clinics::Config { image_size: (64, 64), ..config }).expect("the set is written");
        }
        format!("{name}={}", path.display())
    };
    match recipe {
        "nedelcu" => vec![
            drawn("dermai", clinics::Config::dermai(100, 7)),
            drawn("dermofit", clinics::Config::dermofit(100, 7)),
            format!("edra={}", small_set_folder().display()),
        ],
        _ => vec![format!("derm7pt={}", small_set_folder().display())],
    }
}

/// Where the recipe's network learns nothing, there is no loss to compare.
const WITHOUT_EPOCHS: [&str; 2] = ["bring_your_own", "frozen"];

/// Seeds and learning rates of an epoch: the first with which its comparison is fair are taken. At first weights the kinks of all rectifiers
/// are in the middle of their values, and few cases of 32 pixels leave norms few numbers, so some epochs make much of rounding; steps that
/// are smaller make less of it.
const STEPS: [(u64, f64); 10] =
    [(0, 1e-3), (1, 1e-3), (2, 1e-3), (3, 1e-3), (4, 3e-4), (5, 3e-4), (6, 3e-4), (7, 1e-4), (8, 1e-4), (9, 1e-4)];

/// The losses of an epoch of a small recipe, whose sets are drawn below a folder. The mean and the deviation by which images are normalized
/// are moved.
fn losses_of(recipe: &str, device: &Device, folder: &Path, (seed, rate): (u64, f64), moved: &Moved) -> Vec<f32> {
    let name = recipe;
    let mut recipe = Recipe::shipped(name).unwrap();
    for data in data_of(name, folder) {
        recipe.set_data(&data).unwrap();
    }
    let mut numbers = [0.5, 0.5, 0.5, 0.25, 0.25, 0.25];
    moved.move_numbers("normalization", &mut numbers);
    let own = [
        format!("training.seed={seed}"),
        format!("training.learning_rate={rate:?}"),
        format!(
            "training.preprocess.normalization={{ mean_std = {{ mean = {:?}, std = {:?} }} }}",
            &numbers[..3],
            &numbers[3..]
        ),
    ];
    for words in small_settings(name).into_iter().chain(own.iter().map(String::as_str)) {
        recipe.set(words).unwrap();
    }
    let plan = recipe.experiment().unwrap().plan().unwrap();
    let mut losses = Losses::default();
    // What one training hands to the next lies in a file.
    let folder = tempfile::tempdir().unwrap();
    let place = Workplace::on(device).in_folder(folder.path(), false);
    plan.run(place, &mut losses).unwrap_or_else(|error| panic!("{name}: {error}"));
    losses.0
}

/// That the comparison is fair is measured on the CPU alone, as of modules: moving all images by [`LAST_PLACES`] must stay within
/// [`LOSS_OF_ROUNDING`] in all [`DIRECTIONS`], and half the learning rate must make more than [`LOSS`].
#[test]
fn an_epoch_of_every_recipe() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::default();
    for name in Recipe::shipped_names().into_iter().filter(|name| !WITHOUT_EPOCHS.contains(name)) {
        let begun = Instant::now();
        let losses = |device: &Device, step, moved: &Moved| losses_of(name, device, folder.path(), step, moved);
        let on_cpu = |step, moved: &Moved| losses(&Device::flex(), step, moved);
        let apart = |found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len(), "{name} has as many epochs");
            largest(found.iter().zip(expected).map(|(found, expected)| f64::from((found - expected).abs() / expected)))
        };
        let mut unfair = Vec::new();
        let fair = STEPS.into_iter().find_map(|step| {
            let expected = on_cpu(step, &Moved::Not);
            assert!(!expected.is_empty(), "{name} has epochs");
            let mut own = 0.0_f64;
            for direction in 0..DIRECTIONS {
                own = own.max(apart(&on_cpu(step, &Moved::InDirection(direction)), &expected));
                if own > LOSS_OF_ROUNDING {
                    unfair.push(format!("{own:.1e} with {step:?}"));
                    return None;
                }
            }
            Some((step, expected, own))
        });
        let Some((step, expected, own)) = fair else {
            table.faults.push(format!(
                "{name}: this comparison is not fair, since {LAST_PLACES} last places of the images make more than {LOSS_OF_ROUNDING:.0e}: {}",
                unfair.join("; ")
            ));
            println!("| {name} | {} |", unfair.join("; "));
            continue;
        };
        let halved = apart(&on_cpu((step.0, step.1 / 2.0), &Moved::Not), &expected);
        if halved <= LOSS {
            table.faults.push(format!(
                "{name}: half the learning rate makes {halved:.1e}, and this comparison would not find it"
            ));
        }
        println!(
            "| {name} | seed and learning rate {step:?}, unfair {} | the CPU, {LAST_PLACES} last places in {DIRECTIONS} directions | {own:.1e} | half the learning rate | {halved:.1e} | {:.1} s |",
            unfair.len(),
            begun.elapsed().as_secs_f64()
        );
        for (device_name, device) in under_test() {
            let begun = Instant::now();
            let found = losses(device, step, &Moved::Not);
            let cells = [("loss", apart(&found, &expected), LOSS)];
            table.row(*device_name, name, &cells, begun.elapsed().as_secs_f64());
        }
    }
    table.check();
}

/// The small model of two epochs, trained on the CPU.
fn trained_on_the_cpu(folder: &Path) -> PathBuf {
    let plan = small_experiment().plan().unwrap();
    let outcome = plan.run(Workplace::on(&Device::flex()), &mut Losses::default()).unwrap();
    outcome.write(folder).unwrap();
    folder.join("model.safetensors")
}

#[test]
fn a_model_of_the_cpu_predicts_the_same_classes() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let file = trained_on_the_cpu(folder.path());
    let (set, _) = small_set();
    let rows: Vec<usize> = (0..set.len()).collect();
    let predictions = |device: &Device| {
        let bundle = Bundle::load(&file, device).unwrap();
        let logits = bundle.logits(&set.view(&rows).unwrap(), |_| ()).unwrap();
        logits.fuse(&logits.equal_weights(), FuseSpace::Logits).unwrap()
    };
    let expected = predictions(&Device::flex());
    let mut table = Table::default();
    for (name, device) in under_test() {
        let begun = Instant::now();
        let found = predictions(device);
        let mut most = 0.0_f64;
        for (found, expected) in found.probabilities.iter().zip(&expected.probabilities) {
            for (found, expected) in found.rows().into_iter().zip(expected.rows()) {
                let top = |row: ndarray::ArrayView1<f64>| {
                    row.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).map(|(class, _)| class)
                };
                assert_eq!(top(found), top(expected), "{name} chooses the CPU's class");
                most = most.max(largest(found.iter().zip(expected).map(|(found, expected)| (found - expected).abs())));
            }
        }
        table.row(*name, "a model's probabilities", &[("largest", most, PROBABILITY)], begun.elapsed().as_secs_f64());
    }
    table.check();
}

/// A run that stopped after its first epoch on the CPU goes on elsewhere, and the other way round.
#[test]
fn a_run_goes_on_on_another_device() {
    let _lock = device_lock();
    let plan = small_experiment().plan().unwrap();
    let cpu = Device::flex();
    let run = |device: &Device, folder: &Path, resume: bool| {
        let mut losses = Losses::default();
        plan.run(Workplace::on(device).in_folder(folder, resume), &mut losses).unwrap();
        losses.0
    };
    for (name, device) in under_test() {
        for (first, second) in [(&cpu, device), (device, &cpu)] {
            let folder = tempfile::tempdir().unwrap();
            let whole = run(first, folder.path(), false);
            let last = checkpoints(folder.path()).pop().expect("a run has checkpoints");
            std::fs::remove_dir_all(last).unwrap();
            let rest = run(second, folder.path(), true);
            // Two trainings of two epochs, each with a loss of training and of validation.
            assert_eq!((whole.len(), rest.len()), (8, 2), "the last epoch is trained again");
            let apart = difference(&rest, &whole[6..]);
            println!(
                "| the second epoch of a run, {} | {name} | loss {apart:.1e} |",
                if first == &cpu { "begun on flex" } else { "ended on flex" }
            );
            assert!(apart <= LOSS, "{name}: {rest:?} instead of {:?}", &whole[6..]);
        }
    }
}

/// The folders of epochs below a folder, the last at the end.
fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = contents_of(folder).into_keys().filter(|path| path.is_dir()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("epoch-")));
    found.sort();
    found
}
