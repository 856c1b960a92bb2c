//! Cases that are shown mixed with others.

use dermafuse_schema::SettingFault;
use dermafuse_schema::ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::images::batch_loader::ImageBatch;
use crate::shuffle::{stream, uniform};

/// The purpose "mixing"; augmentation has the small numbers.
const MIXING: u64 = 0x006d_6978;
/// The smallest parameter of the distribution of shares: with less, every mix is one of its cases.
const LEAST: f64 = 0.05;

/// How often a training case is shown mixed with the next one of its batch, and how.
///
/// Both images and the record are mixed alike, and so are the labels: a share λ of the case and 1 − λ of the other, λ drawn from
/// Beta(α, α). A case is mixed with one that has the same images; if the next has others, it stays as it is.
///
/// # Sources
/// Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun, Han, Oh, Chun, Choe, Yoo,
/// "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019. Differences: each case has a
/// share of its own, and with both parameters each way is taken every second time, as in timm.
///
/// ```
/// use dermafuse_data::Mixing;
///
/// let mixing = Mixing { probability: 1.0, mixup: 0.4, cutmix: 0.0 };
/// let mix = mixing.drawn(7, 0, 12, 0).expect("it happens each time");
/// assert!((0.0..=1.0).contains(&mix.share) && mix.cut.is_none());
/// assert_eq!(mixing.drawn(7, 0, 12, 0), Some(mix));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixing {
    /// The probability that a case is mixed, above 0.
    pub probability: f64,
    /// α of mixup, where pictures shine through each other: 0.05 to 1, or 0 for no mixup.
    #[serde(default)]
    pub mixup: f64,
    /// α of CutMix, where a rectangle is of the other picture: 0.05 to 1, or 0 for no CutMix.
    #[serde(default)]
    pub cutmix: f64,
}

/// How one case is mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// λ, what is left of the case itself, 0 to 1.
    pub share: f64,
    /// Where the middle of the rectangle lies, across and down as shares of the sides; `None` for mixup.
    pub cut: Option<[f64; 2]>,
}

/// What became of a case of a batch: how much of it there is, and of which other case the rest is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// What is left of the case itself, 0 to 1.
    pub share: f64,
    /// The place of the other case in the batch.
    pub other: usize,
}

impl Mixing {
    /// Checks that the numbers are some.
    ///
    /// # Errors
    /// A probability or parameter out of its range; both parameters 0.
    pub fn check(&self) -> Result<(), SettingFault> {
        let Self { probability, mixup, cutmix } = *self;
        let is_share = probability > 0.0 && probability <= 1.0;
        SettingFault::unless(is_share, "probability", "above 0 and at most 1", probability)?;
        for (key, alpha) in [("mixup", mixup), ("cutmix", cutmix)] {
            SettingFault::unless(alpha == 0.0 || (LEAST..=1.0).contains(&alpha), key, "0, or 0.05 to 1", alpha)?;
        }
        SettingFault::unless(mixup > 0.0 || cutmix > 0.0, "", "of a mixup or cutmix above 0", "0 for both")
    }

    /// How a case is mixed, the `time`-th time (from 0) that it is shown in an epoch; `None` leaves it. It depends on these numbers
    /// alone.
    #[must_use]
    pub fn drawn(&self, seed: u64, epoch: u64, row: usize, time: usize) -> Option<Mix> {
        let mut rng = stream(seed, epoch, row as u64, (time as u64) << 32 | MIXING);
        let [happens, way, across, down] = [(); 4].map(|()| uniform(&mut rng, 0.0, 1.0));
        let cuts = self.cutmix > 0.0 && (self.mixup == 0.0 || way < 0.5);
        let alpha = if cuts { self.cutmix } else { self.mixup };
        // Jöhnk's way to a number of Beta(α, α), which is quick for α of at most 1.
        let share = loop {
            let [one, other] = [(); 2].map(|()| uniform(&mut rng, 0.0, 1.0).powf(1.0 / alpha));
            if one + other > 0.0 && one + other <= 1.0 {
                break one / (one + other);
            }
        };
        (happens < self.probability).then_some(Mix { share, cut: cuts.then_some([across, down]) })
    }
}

impl Mix {
    /// The rectangle in a picture of a side: columns and rows, each from and to.
    fn rectangle(&self, [across, down]: [f64; 2], side: usize) -> [[usize; 2]; 2] {
        let half = (1.0 - self.share).sqrt() * side as f64 / 2.0;
        [across, down].map(|place| {
            let middle = place * side as f64;
            [(middle - half).round().max(0.0) as usize, ((middle + half).round() as usize).min(side)]
        })
    }
}

/// Mixes the images and records of a batch, each case with the next one (the last with the first), as `mixes` says, and says what
/// became of each; `fits` says of two places whether they may be mixed.
///
/// # Shapes
/// `mixes` and the rows of `records` are as many as the batch has cases.
pub fn mix(
    images: &mut ImageBatch,
    records: &mut Array2<f64>,
    mixes: &[Option<Mix>],
    fits: impl Fn(usize, usize) -> bool,
) -> Vec<Mixed> {
    let (count, side) = (images.rows.len(), images.size);
    let has = |at: usize| [images.has_clinical[at], images.has_dermoscopic[at]];
    let mut mixed: Vec<Mixed> = Vec::with_capacity(count);
    let mut cuts = Vec::with_capacity(count);
    for (at, mix) in mixes.iter().enumerate() {
        let other = (at + 1) % count;
        let mix = mix.filter(|_| has(at) == has(other) && fits(at, other));
        let cut = mix.and_then(|mix| mix.cut.map(|place| mix.rectangle(place, side)));
        let share = match (mix, cut) {
            (None, _) => 1.0,
            (Some(mix), None) => mix.share,
            // What the picture's edge cuts off of the rectangle is the case's own.
            (Some(_), Some([columns, rows])) => {
                let area = (columns[1] - columns[0]) * (rows[1] - rows[0]);
                1.0 - area as f64 / (side * side) as f64
            }
        };
        mixed.push(Mixed { share, other });
        cuts.push(cut);
    }
    for planes in [&mut images.clinical, &mut images.dermoscopic].into_iter().flatten() {
        let before = planes.clone();
        let of_case = 3 * side * side;
        for ((Mixed { share, other }, cut), case) in mixed.iter().zip(&cuts).zip(planes.chunks_exact_mut(of_case)) {
            let other = &before[other * of_case..][..of_case];
            match cut {
                _ if *share == 1.0 => (),
                None => {
                    let (share, rest) = (*share as f32, (1.0 - share) as f32);
                    case.iter_mut().zip(other).for_each(|(to, from)| *to = share * *to + rest * from);
                }
                Some([columns, rows]) => {
                    for (to, from) in case.chunks_exact_mut(side * side).zip(other.chunks_exact(side * side)) {
                        for row in rows[0]..rows[1] {
                            let part = row * side + columns[0]..row * side + columns[1];
                            to[part.clone()].copy_from_slice(&from[part]);
                        }
                    }
                }
            }
        }
    }
    let before = records.clone();
    for (Mixed { share, other }, mut record) in mixed.iter().zip(records.rows_mut()) {
        if *share < 1.0 {
            record.zip_mut_with(&before.row(*other), |to, from| *to = share * *to + (1.0 - share) * from);
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::ndarray::array;

    const BOTH: Mixing = Mixing { probability: 0.6, mixup: 0.4, cutmix: 1.0 };

    fn batch(size: usize) -> ImageBatch {
        let planes = |first: f32| (0..3).flat_map(|case| vec![first + case as f32; 3 * size * size]).collect();
        ImageBatch {
            rows: vec![4, 9, 2],
            looks: vec![0; 3],
            size,
            clinical: Some(planes(0.0)),
            dermoscopic: Some(planes(10.0)),
            has_clinical: vec![true; 3],
            has_dermoscopic: vec![true; 3],
            measures: vec![[None, None]; 3],
            failed: vec![],
            accepted: vec![],
        }
    }

    #[test]
    fn shares_are_of_the_beta_distribution_and_have_an_address() {
        let draws: Vec<Option<Mix>> = (0..20_000).map(|row| BOTH.drawn(3, 1, row, 0)).collect();
        let some: Vec<Mix> = draws.iter().copied().flatten().collect();
        let of = |cuts: bool| some.iter().filter(move |mix| mix.cut.is_some() == cuts).map(|mix| mix.share);
        assert!((some.len() as f64 / 20_000.0 - 0.6).abs() < 0.015);
        assert!((of(true).count() as f64 / some.len() as f64 - 0.5).abs() < 0.02);
        for (cuts, alpha) in [(false, 0.4), (true, 1.0)] {
            let count = of(cuts).count() as f64;
            let mean = of(cuts).sum::<f64>() / count;
            let variance = of(cuts).map(|share| (share - 0.5).powi(2)).sum::<f64>() / count;
            // Of Beta(α, α): a half, and 1 / (4 (2 α + 1)).
            assert!((mean - 0.5).abs() < 0.02 && (variance - 0.25 / (2.0 * alpha + 1.0)).abs() < 0.005, "{variance}");
        }
        let again = |seed, epoch, time| (0..50).map(|row| BOTH.drawn(seed, epoch, row, time)).collect::<Vec<_>>();
        assert_eq!(again(3, 1, 0), draws[..50]);
        for other in [again(4, 1, 0), again(3, 2, 0), again(3, 1, 1)] {
            assert_ne!(other, draws[..50]);
        }
    }

    #[test]
    fn pictures_and_records_are_mixed_alike() {
        let (mut images, mut records) = (batch(4), array![[0.0, 8.0], [1.0, 0.0], [2.0, 4.0]]);
        let cut = Mix { share: 0.75, cut: Some([0.5, 0.25]) };
        let mixes = [Some(Mix { share: 0.25, cut: None }), Some(cut), None];
        let mixed = mix(&mut images, &mut records, &mixes, |_, _| true);
        // A quarter of the area has half the side: columns 1 and 2, rows 0 and 1.
        let expected = [(0.25, 1), (0.75, 2), (1.0, 0)];
        assert_eq!(mixed, expected.map(|(share, other)| Mixed { share, other }));
        assert_eq!(records, array![[0.75, 2.0], [1.25, 1.0], [2.0, 4.0]]);
        for (planes, first) in [(images.clinical.unwrap(), 0.0), (images.dermoscopic.unwrap(), 10.0)] {
            assert_eq!(planes[..48], [first + 0.75; 48]);
            let rows = [[first + 1.0, first + 2.0, first + 2.0, first + 1.0]; 2].concat();
            for plane in planes[48..96].chunks_exact(16) {
                assert_eq!(plane, [rows.clone(), vec![first + 1.0; 8]].concat());
            }
            assert_eq!(planes[96..], [first + 2.0; 48]);
        }
    }

    #[test]
    fn a_case_that_lacks_an_image_is_mixed_with_none_that_has_it() {
        let (mut images, mut records) = (batch(2), array![[0.0], [1.0], [2.0]]);
        images.has_clinical[1] = false;
        let mixes = [Some(Mix { share: 0.5, cut: None }); 3];
        let mixed = mix(&mut images, &mut records, &mixes, |_, _| true);
        assert_eq!(mixed.iter().map(|mixed| mixed.share).collect::<Vec<_>>(), [1.0, 1.0, 0.5]);
        let mixed = mix(&mut images, &mut records, &mixes, |at, _| at != 2);
        assert!(mixed.iter().all(|mixed| mixed.share == 1.0));
    }

    #[test]
    fn numbers_are_checked() {
        assert!(BOTH.check().is_ok());
        let error = |mixing: Mixing| mixing.check().unwrap_err().to_string();
        assert!(error(Mixing { probability: 0.0, ..BOTH }).starts_with("`probability` must be above 0"));
        assert!(error(Mixing { mixup: 1.5, ..BOTH }).starts_with("`mixup` must be"));
        assert!(error(Mixing { cutmix: 0.01, ..BOTH }).starts_with("`cutmix` must be"));
        assert!(error(Mixing { mixup: 0.0, cutmix: 0.0, ..BOTH }).contains("above 0"));
    }
}
