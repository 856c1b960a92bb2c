use dermafuse_networks::{Modality, MultimodalInput, Network, Probe};
use ndarray::Array2;

use crate::explainer::doubles;
use crate::{Explainer, HeatMap, InferError};

/// Where the attention looks by which the map of one image is refined.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionHeat {
    /// The image whose map is refined: it takes its own values from where there is heat.
    pub refined: Modality,
    /// The image whose map decides where that is, by its queries and keys. The two images are not registered: a position of one is
    /// not the same place of the skin in the other.
    pub source: Modality,
    /// Height and width of the maps, in pixels; a weight of 1 by their product is what a position has by chance.
    pub size: [usize; 2],
    /// One for each case, at the size of the refined image.
    pub heat: Vec<HeatMap>,
}

impl AttentionHeat {
    /// The largest weight of a case as a multiple of what a position has by chance: near 1 the attention looks everywhere alike,
    /// and the map, which is scaled to 0 to 1, shows nothing.
    ///
    /// # Panics
    /// If there is no such case.
    #[must_use]
    pub fn contrast(&self, case: usize) -> f64 {
        self.heat[case].highest * (self.size[0] * self.size[1]) as f64
    }
}

/// At which features the attention between the features of an image and the record looks.
#[derive(Clone, Debug, PartialEq)]
pub struct AttendedFeatures {
    /// `[h, s]`: for each head the share of the attention that each of its features has, a mean over those that ask. Rows sum to 1;
    /// chance gives 1 / s. The features are learnt ones and have no names.
    pub weights: Array2<f64>,
    /// How many of the `h · s` features, row by row, are made of the record; those of the image follow.
    pub of_record: usize,
}

impl<N: Network> Explainer<N> {
    /// Where the attention between the images' maps looks after a stage, 0 to 3: the mean, over all positions that ask, of the
    /// weights with which they look at each position. One for each map that is refined, the clinical first. In AMMFM's AAB that
    /// is the dermoscopic map alone, in BAB and in PEMM's CA and SCA both.
    ///
    /// The weights are those of the forward pass, in whole: `N²` numbers for each case and map, so ask for few cases at early
    /// stages.
    ///
    /// # Shapes
    /// one `[H, W]` map for each refined map and each of the `B` cases.
    ///
    /// # Errors
    /// A network without such attention, or without one after this stage; weights that are not finite.
    ///
    /// # Panics
    /// If the input lacks something that the network looks at.
    pub fn position_attention(&self, input: &MultimodalInput, stage: usize) -> Result<Vec<AttentionHeat>, InferError> {
        let input = self.on_device(input);
        let mut probe = Probe::position_attention(stage);
        let _ = self.forward_probed(input.clone(), &mut probe);
        let found = probe.into_position_attention();
        let what = || format!("attention between positions after stage {stage}");
        if found.is_empty() {
            let remedy = "AMMFM and PEMM have some, after their stages 0 to 3";
            return Err(InferError::NoAttention { what: what(), remedy });
        }
        let heats = found.into_iter().map(|attention| {
            let [_, _, image_height, image_width] = input.image(attention.refined).dims();
            let [height, width] = attention.size;
            let means = finite(doubles(attention.weights.mean_dim(1)), what)?; // [B, 1, N]
            let heat = means.chunks(height * width).map(|means| {
                let map = Array2::from_shape_vec((height, width), means.to_vec()).expect("a weight for each position");
                HeatMap::of_map(&map, [image_height, image_width])
            });
            let (refined, source) = (attention.refined, attention.source);
            Ok(AttentionHeat { refined, source, size: attention.size, heat: heat.collect() })
        });
        heats.collect()
    }

    /// The deepest stage, 0 to 3, with attention between maps of at least `least_side` pixels each way.
    ///
    /// # Panics
    /// If the input lacks something that the network looks at.
    #[must_use]
    pub fn deepest_attention(&self, input: &MultimodalInput, least_side: usize) -> Option<usize> {
        let input = self.on_device(input);
        (0..4).rev().find(|&stage| {
            let mut probe = Probe::position_attention(stage);
            let _ = self.forward_probed(input.clone(), &mut probe);
            probe.into_position_attention().iter().any(|found| found.size.iter().all(|&side| side >= least_side))
        })
    }

    /// At which features the attention looks that joins an image with the record (MMFA), one answer for each case: features of a
    /// head ask features of the same head.
    ///
    /// # Errors
    /// A network that joins nothing by such attention; weights that are not finite.
    ///
    /// # Panics
    /// If the input lacks something that the network looks at.
    pub fn feature_attention(&self, input: &MultimodalInput) -> Result<Vec<AttendedFeatures>, InferError> {
        let mut probe = Probe::feature_attention();
        let _ = self.forward_probed(self.on_device(input), &mut probe);
        let what = || "attention between features".to_owned();
        let remedy = "joint and joint-individual fusion by MMFA have some";
        let found = probe.into_feature_attention().ok_or_else(|| InferError::NoAttention { what: what(), remedy })?;
        let [_, heads, _, features] = found.weights.dims();
        let means = finite(doubles(found.weights.mean_dim(2)), what)?; // [B, h, 1, s]
        let cases = means.chunks(heads * features).map(|means| AttendedFeatures {
            weights: Array2::from_shape_vec((heads, features), means.to_vec()).expect("a weight for each feature"),
            of_record: found.of_second,
        });
        Ok(cases.collect())
    }
}

fn finite(values: Vec<f64>, what: impl Fn() -> String) -> Result<Vec<f64>, InferError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(InferError::NonFiniteAttention { what: what() }),
    }
}
