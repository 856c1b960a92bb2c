use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_networks::{Modality, MultimodalInput, Network, NetworkOutput, Probe};
use dermafuse_schema::{BranchWeights, SchemaError};
use ndarray::{Array2, ArrayView3};

use crate::{HeatMap, InferError};

/// Asks a network why: where in an image is what speaks for a class, and where does attention look?
///
/// It holds a copy of the network that stands still (normalization by the running statistics, no dropout) and lets gradients
/// through. A case's map does not depend on the other cases of its batch.
#[derive(Clone, Debug)]
pub struct Explainer<N> {
    network: N,
    device: Device,
}

/// The logit that is explained: that of a class of a task, added up over branches by their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedLogit {
    /// Weights of the branches; those that are not named count nothing.
    pub branches: BranchWeights,
    /// The task, by its place.
    pub task: usize,
    /// The class; `None` for each case's most probable one.
    pub class: Option<usize>,
}

/// How gradients weigh the channels of a feature map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CamMethod {
    /// Grad-CAM (Selvaraju et al., ICCV 2017): each channel by the mean of its gradient.
    #[default]
    GradCam,
    /// Grad-CAM++ (Chattopadhyay et al., WACV 2018): positive gradients, each by a share that its higher derivatives give.
    GradCamPlusPlus,
}

impl ExplainedLogit {
    /// The most probable class of a task in one branch.
    #[must_use]
    pub fn of_branch(branch: &str, task: usize) -> Self {
        let branches = BranchWeights::new([(branch, 1.0)]).expect("a weight of 1 is one");
        Self { branches, task, class: None }
    }

    /// The same for this class.
    #[must_use]
    pub fn with_class(self, class: usize) -> Self {
        Self { class: Some(class), ..self }
    }
}

impl<N: Network> Explainer<N> {
    /// An explainer of a network on any device, in training or not.
    ///
    /// # Panics
    /// If the network has no parameters.
    #[must_use]
    pub fn new(network: &N) -> Self {
        let network = network.valid().train().freeze();
        let device = network.devices().first().expect("a network has parameters").clone();
        Self { network, device }
    }

    /// The device on which it computes; what is asked about may also be on the plain device below.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The deepest stage, 0 to 3, whose feature map of an image has at least `least_side` pixels each way. The deepest maps of
    /// small images are too coarse to point at anything.
    ///
    /// # Panics
    /// If the input lacks something that the network looks at.
    #[must_use]
    pub fn deepest_stage(&self, input: &MultimodalInput, view: Modality, least_side: usize) -> Option<usize> {
        let input = self.on_device(input);
        let side = |stage: usize| {
            let mut probe = Probe::at(view, stage);
            let _ = self.network.forward_probed(input.clone(), &mut probe);
            probe.into_map().map(|map| map.dims()[2].min(map.dims()[3]))
        };
        (0..4).rev().find(|&stage| side(stage).is_some_and(|side| side >= least_side))
    }

    /// The class activation map of a logit at a stage, 0 to 3, of an image's way through the network.
    ///
    /// The definition is that of the `pytorch-grad-cam` package: the channels by their weights, what is below 0 cut off,
    /// scaled to 0 to 1, enlarged bilinearly. The map of stage 3 is the one that is pooled, after the architecture's last
    /// normalization; those of the other stages are what the next stage goes on from.
    ///
    /// # Shapes
    /// one `[H, W]` map for each of the `B` images.
    ///
    /// # Errors
    /// A branch, task or class that there is not, an image or stage without a feature map, values that are not finite.
    ///
    /// # Panics
    /// If the input lacks something that the network looks at.
    pub fn class_activation(
        &self,
        input: &MultimodalInput,
        view: Modality,
        stage: usize,
        logit: &ExplainedLogit,
        method: CamMethod,
    ) -> Result<Vec<HeatMap>, InferError> {
        let input = self.on_device(input);
        let mut probe = Probe::at(view, stage);
        let output = self.network.forward_probed(input.clone(), &mut probe);
        let map = probe.into_map().ok_or(InferError::NoFeatureMap { view: view.name(), stage })?; // [B, C, h, w]
        let logits = self.explained(&output, logit)?; // [B, K]
        let [batch, classes] = logits.dims();
        let chosen = chosen_classes(&logits, logit.class);
        let mut mask = vec![0.0_f32; batch * classes];
        for (case, class) in chosen.into_iter().enumerate() {
            mask[case * classes + class] = 1.0;
        }
        let mask = Tensor::from_data(TensorData::new(mask, [batch, classes]), &self.device);
        let gradients = (logits * mask).sum().backward();
        let [_, channels, height, width] = map.dims();
        let gradient = match map.grad(&gradients) {
            Some(gradient) => doubles(gradient),
            // The logit does not depend on this image.
            None => vec![0.0; batch * channels * height * width],
        };
        let activations = doubles(map);
        if activations.iter().chain(&gradient).any(|value| !value.is_finite()) {
            return Err(InferError::NonFiniteMap { view: view.name(), stage });
        }
        let [_, _, image_height, image_width] = input.image(view).dims();
        let shape = (channels, height, width);
        let maps = activations.chunks(channels * height * width).zip(gradient.chunks(channels * height * width));
        let maps = maps.map(|(activations, gradients)| {
            let of = |values| ArrayView3::from_shape(shape, values).expect("a map of that shape");
            let map = class_activation(of(activations), of(gradients), method);
            HeatMap::of_map(&map, [image_height, image_width])
        });
        Ok(maps.collect())
    }

    /// The explained logits of a task.
    ///
    /// # Shapes
    /// `[B, K_t]`.
    pub(crate) fn explained(&self, output: &NetworkOutput, logit: &ExplainedLogit) -> Result<Tensor<2>, InferError> {
        let mut sum: Option<Tensor<2>> = None;
        for (name, &weight) in logit.branches.names().iter().zip(logit.branches.values()) {
            let branch = output.branches.iter().find(|branch| branch.name == name).ok_or_else(|| {
                let known = output.branches.iter().map(|branch| branch.name.to_owned()).collect();
                SchemaError::Unknown { what: "branch", name: name.clone(), known }
            })?;
            let missing = |what, found, count| InferError::OutOfRange { what, found, count };
            let logits = branch.logits.get(logit.task).ok_or(missing("task", logit.task, branch.logits.len()))?;
            let classes = logits.dims()[1];
            if let Some(class) = logit.class.filter(|&class| class >= classes) {
                return Err(missing("class", class, classes));
            }
            let weighted = logits.clone() * weight; // [B, K]
            sum = Some(match sum {
                Some(sum) => sum + weighted,
                None => weighted,
            });
        }
        Ok(sum.expect("branch weights name a branch"))
    }

    /// The network's output, with what the probe keeps.
    pub(crate) fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        self.network.forward_probed(input, probe)
    }

    /// The network's output, with nothing kept.
    pub(crate) fn forward(&self, input: MultimodalInput) -> NetworkOutput {
        self.network.forward(input)
    }

    /// The input on the device with gradients.
    pub(crate) fn on_device(&self, input: &MultimodalInput) -> MultimodalInput {
        let images = |images: &Option<Tensor<4>>| images.clone().map(Tensor::autodiff);
        MultimodalInput {
            clinical: images(&input.clinical),
            dermoscopic: images(&input.dermoscopic),
            metadata: input.metadata.clone().map(Tensor::autodiff),
        }
    }
}

/// The class of each case: the given one, or the one with the highest logit.
pub(crate) fn chosen_classes(logits: &Tensor<2>, class: Option<usize>) -> Vec<usize> {
    let [batch, classes] = logits.dims();
    match class {
        Some(class) => vec![class; batch],
        None => {
            let values = doubles(logits.clone());
            let best =
                |row: &[f64]| (0..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            values.chunks(classes).map(best).collect()
        }
    }
}

/// The values of a tensor in row-major order.
pub(crate) fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// # Shapes
/// `[C, h, w]` activations and gradients → `[h, w]`, not below 0.
fn class_activation(
    activations: ArrayView3<'_, f64>,
    gradients: ArrayView3<'_, f64>,
    method: CamMethod,
) -> Array2<f64> {
    let (_, height, width) = activations.dim();
    let mut map = Array2::zeros((height, width));
    for (activation, gradient) in activations.outer_iter().zip(gradients.outer_iter()) {
        let weight = match method {
            CamMethod::GradCam => gradient.sum() / (height * width) as f64,
            CamMethod::GradCamPlusPlus => {
                let total = activation.sum();
                let share = |gradient: f64| {
                    let square = gradient * gradient;
                    square / (2.0 * square + total * square * gradient + PLUS_PLUS_EPSILON)
                };
                gradient.iter().filter(|&&gradient| gradient > 0.0).map(|&gradient| gradient * share(gradient)).sum()
            }
        };
        map.scaled_add(weight, &activation);
    }
    map.mapv_into(|value: f64| value.max(0.0))
}

/// Keeps the shares of Grad-CAM++ away from a division by zero, as in the `pytorch-grad-cam` package.
const PLUS_PLUS_EPSILON: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn both_definitions_by_hand() {
        let activations = array![[[1.0, 2.0]], [[0.0, 4.0]]];
        let gradients = array![[[0.5, 0.5]], [[-1.0, 0.0]]];
        let map = class_activation(activations.view(), gradients.view(), CamMethod::GradCam);
        // 0.5 · (1, 2) − 0.5 · (0, 4) = (0.5, −1)
        assert_eq!(map, array![[0.5, 0.0]]);
        let map = class_activation(activations.view(), gradients.view(), CamMethod::GradCamPlusPlus);
        // 0.25 / (0.5 + 3 · 0.125) for each of two pixels, times 0.5; the second channel has no positive gradient.
        let weight = 2.0 * 0.5 * 0.25 / 0.875;
        assert!((map[[0, 0]] - weight).abs() < 1e-5 && (map[[0, 1]] - 2.0 * weight).abs() < 1e-5, "{map}");
    }
}
