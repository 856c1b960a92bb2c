//! Whether the maps of two backbones can be joined.

use dermafuse_backbones::{Backbone, BackboneKind};

use crate::NetworkError;

/// Sides of images that are tried, in pixels.
const SIDES: std::ops::RangeInclusive<usize> = 32..=1024;
/// The side whose maps an error shows.
const SHOWN_SIDE: usize = 224;

/// The maps of two built-in backbones have equal sizes after the chosen stages, at one side of images or another.
pub(crate) fn require_joinable_kinds(
    module: &'static str,
    [clinical, dermoscopic]: [BackboneKind; 2],
    stages: [bool; 4],
) -> Result<(), NetworkError> {
    if kinds_are_joinable([clinical, dermoscopic], stages) {
        return Ok(());
    }
    let partners = |of: BackboneKind| {
        let kinds = BackboneKind::ALL.into_iter().filter(|other| kinds_are_joinable([of, *other], stages));
        kinds.map(BackboneKind::name).collect::<Vec<_>>().join(", ")
    };
    Err(NetworkError::MapSizes {
        module,
        clinical: clinical.name().to_owned(),
        dermoscopic: dermoscopic.name().to_owned(),
        side: SHOWN_SIDE,
        sizes: Box::new([clinical.stage_sides(SHOWN_SIDE), dermoscopic.stage_sides(SHOWN_SIDE)]),
        advice: format!(
            "{clinical} goes with {}; {dermoscopic} goes with {}",
            partners(clinical),
            partners(dermoscopic)
        ),
    })
}

/// The same for backbones that need not be built in.
pub(crate) fn require_joinable<C: Backbone, D: Backbone>(
    module: &'static str,
    clinical: &C,
    dermoscopic: &D,
    stages: [bool; 4],
) -> Result<(), NetworkError> {
    let sides = |side| [clinical.stage_sides(side), dermoscopic.stage_sides(side)];
    match SIDES.into_iter().any(|side| are_equal(sides(side), stages)) {
        true => Ok(()),
        false => Err(NetworkError::MapSizes {
            module,
            clinical: "the clinical backbone".to_owned(),
            dermoscopic: "the dermoscopic backbone".to_owned(),
            side: SHOWN_SIDE,
            sizes: Box::new(sides(SHOWN_SIDE)),
            advice: "choose backbones that divide images alike".to_owned(),
        }),
    }
}

/// The maps have equal sizes for images of this side.
pub(crate) fn require_joinable_at(
    side: usize,
    [clinical, dermoscopic]: [BackboneKind; 2],
    stages: [bool; 4],
) -> Result<(), NetworkError> {
    let sides = |side| [clinical.stage_sides(side), dermoscopic.stage_sides(side)];
    if are_equal(sides(side), stages) {
        return Ok(());
    }
    let mut others: Vec<usize> = SIDES.filter(|&other| are_equal(sides(other), stages)).collect();
    others.sort_by_key(|other| other.abs_diff(side));
    others.truncate(3);
    Err(NetworkError::MapSizesAt {
        clinical: clinical.name(),
        dermoscopic: dermoscopic.name(),
        side,
        sizes: Box::new(sides(side)),
        others,
    })
}

fn kinds_are_joinable([clinical, dermoscopic]: [BackboneKind; 2], stages: [bool; 4]) -> bool {
    let smallest = clinical.min_size().max(dermoscopic.min_size());
    let mut sides = SIDES.skip_while(|&side| side < smallest);
    sides.any(|side| are_equal([clinical.stage_sides(side), dermoscopic.stage_sides(side)], stages))
}

fn are_equal([clinical, dermoscopic]: [[usize; 4]; 2], stages: [bool; 4]) -> bool {
    stages.into_iter().zip(clinical.into_iter().zip(dermoscopic)).all(|(joins, (a, b))| !joins || a == b)
}
