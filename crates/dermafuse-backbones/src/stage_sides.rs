//! How large the maps of the four stages are, by architecture.

/// What a layer leaves of a side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shrink {
    /// Half of it, rounded up: a padded layer of stride 2.
    HalfUp,
    /// Half of it, rounded down: a layer of stride 2 that is not padded.
    HalfDown,
    /// All but so many pixels at the edges.
    Less(usize),
    /// The patches of so many pixels that fit.
    Patches(usize),
}

use Shrink::{HalfDown, HalfUp, Less, Patches};

/// What the layers of each stage leave.
pub(crate) type StageShrinks = [&'static [Shrink]; 4];

/// ResNets, MobileNets and EfficientNets.
pub(crate) const ROUNDED_UP: StageShrinks = [&[HalfUp, HalfUp], &[HalfUp], &[HalfUp], &[HalfUp]];
/// VGG and ConvNeXt.
pub(crate) const ROUNDED_DOWN: StageShrinks = [&[HalfDown, HalfDown], &[HalfDown], &[HalfDown], &[HalfDown]];
/// DenseNets: the stem is padded, the transitions are not.
pub(crate) const DENSENET: StageShrinks = [&[HalfUp, HalfUp], &[HalfDown], &[HalfDown], &[HalfDown]];
/// Swin: patches are cut, merging pads.
pub(crate) const SWIN: StageShrinks = [&[HalfDown, HalfDown], &[HalfUp], &[HalfUp], &[HalfUp]];
/// SqueezeNet, whose pools of 3×3 count a window that hangs over the edge.
pub(crate) const SQUEEZENET: StageShrinks = [&[Less(1), HalfDown, HalfDown], &[HalfDown], &[HalfDown], &[]];
/// Inception-V3: convolutions and pools of 3×3 without padding.
pub(crate) const INCEPTION: StageShrinks = [
    &[Less(1), HalfDown, Less(2), Less(1), HalfDown, Less(2)],
    &[Less(1), HalfDown],
    &[Less(1), HalfDown],
    &[Less(1), HalfDown],
];
/// Xception: the stem is not padded, the blocks are.
pub(crate) const XCEPTION: StageShrinks = [&[Less(1), HalfDown, Less(2), HalfUp], &[HalfUp], &[HalfUp], &[HalfUp]];

/// Vision transformers with patches of 16 pixels, and of 14.
pub(crate) const PATCHES_16: StageShrinks = [&[Patches(16)], &[], &[], &[]];
pub(crate) const PATCHES_14: StageShrinks = [&[Patches(14)], &[], &[], &[]];

/// The sides of the four maps of an image of this side.
pub(crate) fn stage_sides(stages: &StageShrinks, image: usize) -> [usize; 4] {
    let mut side = image;
    stages.map(|layers| {
        side = layers.iter().fold(side, |side, layer| match layer {
            HalfUp => side.div_ceil(2),
            HalfDown => side / 2,
            Less(edge) => side.saturating_sub(*edge),
            Patches(pixels) => side / pixels,
        });
        side
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_those_of_the_papers() {
        assert_eq!(stage_sides(&ROUNDED_UP, 224), [56, 28, 14, 7]);
        assert_eq!(stage_sides(&INCEPTION, 299), [71, 35, 17, 8]);
        assert_eq!(stage_sides(&XCEPTION, 299), [74, 37, 19, 10]);
        assert_eq!(stage_sides(&SQUEEZENET, 224), [55, 27, 13, 13]);
    }
}
