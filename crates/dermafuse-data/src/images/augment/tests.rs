//! Against the pictures that OpenCV and Albumentations made; `tests/golden/images/generate.py` is their source.

use std::path::PathBuf;

use super::*;
use crate::{ChannelOrder, Normalization, Resampling, Strictness, decode};

const SIZE: usize = 32;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images").join(name)
}

/// The drawn picture as bytes, `[S, S, 3]`.
fn rendered(draw: &Draw, interpolation: Interpolation) -> Vec<u8> {
    let preprocess = Preprocess {
        size: SIZE,
        channels: ChannelOrder::Rgb,
        normalization: Normalization::Div255,
        box_margin: None,
        framing: crate::Framing::Squash,
        resampling: Resampling::OpenCv,
        decoding: Strictness::Strict,
    };
    let pixels = decode(golden("square.png"), Strictness::Strict).unwrap();
    let area = SIZE * SIZE;
    let mut planes = vec![0.0; 3 * area];
    draw.render(&pixels, interpolation, &preprocess, &mut planes);
    let byte = |at: usize, plane: usize| (planes[plane * area + at] * 255.0).round() as u8;
    (0..area).flat_map(|at| (0..3).map(move |plane| byte(at, plane))).collect()
}

/// Mean and largest difference from a golden picture, and the share of bytes that differ.
fn difference(ours: &[u8], name: &str) -> (f64, u8, f64) {
    let reference = decode(golden(name), Strictness::Strict).unwrap();
    assert_eq!(ours.len(), reference.data().len());
    let differences: Vec<u8> = ours.iter().zip(reference.data()).map(|(a, b)| a.abs_diff(*b)).collect();
    let count = differences.len() as f64;
    (
        differences.iter().map(|&d| f64::from(d)).sum::<f64>() / count,
        differences.iter().copied().max().unwrap_or(0),
        differences.iter().filter(|&&d| d > 0).count() as f64 / count,
    )
}

const WARP: Warp = Warp { degrees: 27.0, scale: [0.8; 2], shift_x: 0.05, shift_y: -0.04 };

#[test]
fn flips_and_quarter_turns_are_exact() {
    let draw = Draw { horizontal_flip: true, quarter_turns: 3, ..Draw::default() };
    assert_eq!(difference(&rendered(&draw, Interpolation::Bilinear), "square.turned.png"), (0.0, 0, 0.0));
}

#[test]
fn warps_are_opencv_within_its_rounding_of_coordinates() {
    let warp = Draw { warp: Some(WARP), ..Draw::default() };
    let all = Draw { vertical_flip: true, horizontal_flip: true, quarter_turns: 1, ..warp };
    for (draw, name) in [(warp, "square.warped"), (all, "square.all")] {
        let bilinear = difference(&rendered(&draw, Interpolation::Bilinear), &format!("{name}.bilinear.png"));
        assert!(bilinear.0 < 0.3 && bilinear.1 <= 4, "{name} bilinear: {bilinear:?}");
        let nearest = difference(&rendered(&draw, Interpolation::Nearest), &format!("{name}.nearest.png"));
        assert!(nearest.2 < 0.005, "{name} nearest: {nearest:?}");
    }
}

#[test]
fn light_is_albumentations_byte_by_byte() {
    let text = std::fs::read_to_string(golden("light.json")).unwrap();
    let tables: std::collections::BTreeMap<String, Vec<u8>> = serde_json::from_str(&text).unwrap();
    assert_eq!(tables.len(), 5);
    for (name, expected) in tables {
        let (contrast, brightness) = name.split_once(',').unwrap();
        let light = Light { contrast: contrast.parse().unwrap(), brightness: brightness.parse().unwrap() };
        let table = Draw { light: Some(light), ..Draw::default() }.photometric(0, 1.0, 0.0);
        // One unit where the float product lies within rounding of a whole number, which truncation makes visible.
        let apart = table.iter().zip(&expected).filter(|(ours, theirs)| ours != theirs).count();
        let largest = table.iter().zip(&expected).map(|(ours, theirs)| ours.abs_diff(*theirs)).max().unwrap();
        assert!(largest <= 1 && apart <= 3, "{name}: {apart} values differ, by {largest} at most");
    }
}

#[test]
fn draws_have_the_released_frequencies_and_ranges() {
    let augmentation = Augmentation::default();
    let draws: Vec<Draw> = (0..20_000).map(|row| augmentation.draw(3, 1, row, 0, Stream::Case)).collect();
    let share = |what: &dyn Fn(&Draw) -> bool| draws.iter().filter(|draw| what(draw)).count() as f64 / 20_000.0;
    // 0.25 = 0.5 (outer) · 0.5; three of four turns move something; standard error 0.003.
    assert!((share(&|draw| draw.vertical_flip) - 0.25).abs() < 0.012);
    assert!((share(&|draw| draw.horizontal_flip) - 0.25).abs() < 0.012);
    assert!((share(&|draw| draw.warp.is_some()) - 0.25).abs() < 0.012);
    assert!((share(&|draw| draw.quarter_turns > 0) - 0.1875).abs() < 0.012);
    assert!((share(&|draw| draw.light.is_some()) - 0.25).abs() < 0.012);
    assert!((share(&|draw| *draw == Draw::default()) - (0.5 + 0.5 * 0.0625 * (1.0 + 0.25))).abs() < 0.02);
    for warp in draws.iter().filter_map(|draw| draw.warp) {
        assert!((0.5..1.5).contains(&warp.scale[0]) && warp.degrees.abs() <= 45.0);
        assert!(warp.shift_x.abs() <= 0.0625 && warp.shift_y.abs() <= 0.0625);
    }
}

#[test]
fn the_code_of_august_2021_changes_contrast_brightness_and_gamma_one_after_the_other() {
    let augmentation = Augmentation::fusionm4net_2021_08();
    augmentation.check().unwrap();
    let draws: Vec<Draw> = (0..20_000).map(|row| augmentation.draw(3, 1, row, 0, Stream::Case)).collect();
    let share = |what: &dyn Fn(&Draw) -> bool| draws.iter().filter(|draw| what(draw)).count() as f64 / 20_000.0;
    // Each step in half of the half that is augmented, whatever the others do; standard error 0.003.
    assert!((share(&|draw| draw.light.is_some()) - 0.25).abs() < 0.012);
    assert!((share(&|draw| draw.brightness.is_some()) - 0.25).abs() < 0.012);
    assert!((share(&|draw| draw.gamma.is_some()) - 0.25).abs() < 0.012);
    let all = |draw: &Draw| draw.light.is_some() && draw.brightness.is_some() && draw.gamma.is_some();
    assert!((share(&all) - 0.0625).abs() < 0.01);
    for draw in &draws {
        assert!(draw.light.is_none_or(|light| light.brightness == 0.0 && (0.8..1.2).contains(&light.contrast)));
        assert!(draw.brightness.is_none_or(|brightness| brightness.abs() <= 0.2));
        assert!(draw.gamma.is_none_or(|gamma| (0.8..1.2).contains(&gamma)));
    }
    // What moves is drawn as by the later code.
    let later = Augmentation::default();
    for (row, draw) in draws.iter().enumerate().take(100) {
        let other = later.draw(3, 1, row, 0, Stream::Case);
        assert_eq!(other.without_light(), draw.without_light());
    }

    // Albumentations' table of gamma: (255 (x / 255)^gamma), cut to a byte.
    let bytes = [0, 1, 10, 64, 100, 128, 200, 254, 255];
    let of = |draw: Draw| bytes.map(|byte: usize| draw.photometric(0, 1.0, 0.0)[byte]);
    assert_eq!(of(Draw { gamma: Some(0.8), ..Draw::default() }), [0, 3, 19, 84, 120, 146, 209, 254, 255]);
    assert_eq!(of(Draw { gamma: Some(1.2), ..Draw::default() }), [0, 0, 5, 48, 82, 111, 190, 253, 255]);
    // Each step is cut to bytes before the next.
    let light = Some(Light { contrast: 1.25, brightness: 0.0 });
    let apart = Draw { light, brightness: Some(-0.2), ..Draw::default() };
    assert_eq!(apart.photometric(0, 1.0, 0.0)[220], 204, "255 after the contrast, 51 less after the brightness");
    let together = Draw { light: Some(Light { contrast: 1.25, brightness: -0.2 }), ..Draw::default() };
    assert_eq!(together.photometric(0, 1.0, 0.0)[220], 224);
}

#[test]
fn a_cut_out_of_the_padded_image_is_moved_by_whole_pixels_onto_black() {
    let draw = |place| Draw { cut: Some(Cut { padding: 3.0 / 32.0, place }), ..Draw::default() };
    let plain = rendered(&Draw::default(), Interpolation::Bilinear);
    // Places 0 and almost 1: the corner lies 3 pixels outside, and 3 inside.
    for (place, [right, down]) in [([0.0, 0.0], [-3, -3]), ([0.999, 0.5], [3, 0])] {
        let cut = rendered(&draw(place), Interpolation::Bilinear);
        for (at, pixel) in cut.chunks(3).enumerate() {
            let (x, y) = ((at % SIZE) as i32 + right, (at / SIZE) as i32 + down);
            let inside = (0..SIZE as i32).contains(&x) && (0..SIZE as i32).contains(&y);
            let expected = if inside { &plain[3 * (y as usize * SIZE + x as usize)..][..3] } else { &[0; 3] };
            assert_eq!(pixel, expected, "{place:?} at {at}");
        }
    }
}

#[test]
fn a_rotated_image_of_amfam_has_black_corners() {
    let warp = Some(Warp { degrees: 45.0, scale: [1.0; 2], shift_x: 0.0, shift_y: 0.0 });
    let turned = rendered(&Draw { warp, outside: Outside::Black, ..Draw::default() }, Interpolation::Bilinear);
    let reflected = rendered(&Draw { warp, ..Draw::default() }, Interpolation::Bilinear);
    let pixel = |picture: &[u8], x: usize, y: usize| picture[3 * (y * SIZE + x)..][..3].to_vec();
    assert_eq!(pixel(&turned, 0, 0), [0; 3]);
    assert_eq!(pixel(&turned, 31, 31), [0; 3]);
    assert_ne!(pixel(&reflected, 0, 0), [0; 3]);
    assert_eq!(pixel(&turned, 16, 16), pixel(&reflected, 16, 16));
}

#[test]
fn draws_of_amfam_are_as_published() {
    let augmentation = Augmentation::amfam();
    augmentation.check().unwrap();
    let draws: Vec<Draw> = (0..4000).map(|row| augmentation.draw(3, 1, row, 0, Stream::Case)).collect();
    let upside_down = draws.iter().filter(|draw| draw.vertical_flip).count() as f64 / 4000.0;
    assert!((upside_down - 0.5).abs() < 0.04, "{upside_down}");
    let mut corners: Vec<i32> = draws.iter().map(|draw| draw.cut.unwrap().corner(299)[0] as i32).collect();
    corners.sort_unstable();
    corners.dedup();
    assert_eq!(corners, (-20..=20).collect::<Vec<_>>());
    for draw in &draws {
        let warp = draw.warp.unwrap();
        assert!(warp.degrees.abs() <= 45.0 && (warp.scale, warp.shift_x, warp.shift_y) == ([1.0; 2], 0.0, 0.0));
        assert!(!draw.horizontal_flip && draw.quarter_turns == 0 && draw.light.is_none());
    }
}

#[test]
fn a_draw_depends_on_seed_epoch_row_and_image_alone() {
    let augmentation = Augmentation { p: 1.0, ..Augmentation::default() };
    let draw = |seed, epoch, row, image| format!("{:?}", augmentation.draw(seed, epoch, row, 0, image));
    let one = draw(1, 2, 3, Stream::Case);
    assert_eq!(one, draw(1, 2, 3, Stream::Case));
    for other in [draw(2, 2, 3, Stream::Case), draw(1, 3, 3, Stream::Case), draw(1, 2, 4, Stream::Case)] {
        assert_ne!(one, other);
    }
    assert_ne!(one, draw(1, 2, 3, Stream::Dermoscopic));
    let again = format!("{:?}", augmentation.draw(1, 2, 3, 1, Stream::Case));
    assert_ne!(one, again, "a case that is seen twice in an epoch is varied anew");
}

#[test]
fn draws_of_nedelcu_are_as_published() {
    let augmentation = Augmentation::nedelcu();
    augmentation.check().unwrap();
    let draws: Vec<Draw> = (0..4000).map(|row| augmentation.draw(3, 1, row, 0, Stream::Case)).collect();
    let range = |value: &dyn Fn(&Draw) -> f64| {
        let values = || draws.iter().map(value);
        (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max))
    };
    let within = |(low, high): (f64, f64), [from, to]: [f64; 2]| {
        let slack = 0.01 * (to - from);
        low >= from && low < from + slack && high <= to && high > to - slack
    };
    assert!(within(range(&|draw| draw.warp.unwrap().degrees.abs()), [1.0, 30.0]));
    assert!(within(range(&|draw| draw.warp.unwrap().degrees), [-30.0, 30.0]));
    assert!(within(range(&|draw| draw.warp.unwrap().scale[0]), [0.8, 1.2]));
    assert!(within(range(&|draw| draw.warp.unwrap().scale[1]), [0.8, 1.2]));
    assert!(within(range(&|draw| draw.warp.unwrap().shift_x), [-0.1, 0.1]));
    assert!(within(range(&|draw| f64::from(draw.light.unwrap().contrast)), [0.2, 0.8]));
    for draw in &draws {
        assert!(draw.warp.unwrap().shift_y == 0.0 && draw.light.unwrap().brightness == 0.0);
        assert!(!draw.vertical_flip && draw.quarter_turns == 0 && draw.cut.is_none());
    }
    let mirrored = draws.iter().filter(|draw| draw.horizontal_flip).count() as f64 / 4000.0;
    assert!((mirrored - 0.5).abs() < 0.04, "{mirrored}");
}

#[test]
fn a_shifted_image_shows_its_border_outside() {
    let warp = Some(Warp { degrees: 0.0, scale: [1.0; 2], shift_x: 4.0 / SIZE as f64, shift_y: 0.0 });
    let plain = rendered(&Draw::default(), Interpolation::Nearest);
    let shifted = rendered(&Draw { warp, outside: Outside::Border, ..Draw::default() }, Interpolation::Nearest);
    let pixel = |picture: &[u8], x: usize, y: usize| picture[3 * (y * SIZE + x)..][..3].to_vec();
    for y in 0..SIZE {
        for x in 0..SIZE {
            assert_eq!(pixel(&shifted, x, y), pixel(&plain, x.saturating_sub(4), y));
        }
    }
}

#[test]
fn an_axis_scaled_on_its_own_leaves_the_other() {
    let warp = Some(Warp { degrees: 0.0, scale: [1.0, 2.0], shift_x: 0.0, shift_y: 0.0 });
    let plain = rendered(&Draw::default(), Interpolation::Nearest);
    let taller = rendered(&Draw { warp, ..Draw::default() }, Interpolation::Nearest);
    let pixel = |picture: &[u8], x: usize, y: usize| picture[3 * (y * SIZE + x)..][..3].to_vec();
    for x in 0..SIZE {
        // Rows 16 ± 15.5 come from rows 16 ± 7.75, rounded.
        assert_eq!(pixel(&taller, x, 31), pixel(&plain, x, 23));
        assert_eq!(pixel(&taller, x, 0), pixel(&plain, x, 8));
    }
}

#[test]
fn a_one_pixel_image_survives_every_step() {
    let pixels = RgbPixels::new(1, 1, vec![10, 20, 30]).unwrap();
    let draw = Draw { vertical_flip: true, quarter_turns: 2, warp: Some(WARP), ..Draw::default() };
    let mut planes = vec![0.0; 3];
    draw.render(&pixels, Interpolation::Bilinear, &Preprocess::as_released(1), &mut planes);
    assert_eq!(planes, [30.0 / 255.0, 20.0 / 255.0, 10.0 / 255.0]);
}

#[test]
fn colours_change_each_for_itself_and_a_scale_may_only_enlarge() {
    let augmentation = Augmentation {
        p: 1.0,
        shift_scale_rotate: 1.0,
        scale_centre: 4.0 / 3.0,
        scale_limit: 1.0 / 3.0,
        colour: 1.0,
        colour_limit: 0.1,
        ..Augmentation::default()
    };
    augmentation.check().unwrap();
    let draws: Vec<Draw> = (0..2000).map(|row| augmentation.draw(3, 1, row, 0, Stream::Case)).collect();
    let scales = || draws.iter().map(|draw| draw.warp.unwrap().scale[0]);
    assert!(scales().fold(f64::MAX, f64::min) >= 1.0 && scales().fold(0.0, f64::max) > 1.65);
    let shifts: Vec<[f32; 3]> = draws.iter().map(|draw| draw.colour.unwrap()).collect();
    assert!(shifts.iter().flatten().all(|shift| shift.abs() <= 0.1));
    let product = |a: usize, b: usize| shifts.iter().map(|shift| shift[a] * shift[b]).sum::<f32>() / 2000.0;
    // The variance of a uniform number in ±0.1 is a third of a hundredth; two colours have nothing to do with each other.
    assert!((product(0, 0) - 0.01 / 3.0).abs() < 3e-4 && product(0, 1).abs() < 3e-4 && product(1, 2).abs() < 3e-4);
    // What was drawn before is drawn as it was.
    let plain = Augmentation { colour: 0.0, ..augmentation.clone() };
    assert_eq!(Draw { colour: None, ..draws[7] }, plain.draw(3, 1, 7, 0, Stream::Case));

    let tinted = Draw { colour: Some([0.1, 0.0, -0.1]), ..Draw::default() };
    assert_eq!([0, 1, 2].map(|colour| tinted.photometric(colour, 1.0, 0.0)[100]), [125, 100, 74]);
    let (plain, tinted) =
        (rendered(&Draw::default(), Interpolation::Nearest), rendered(&tinted, Interpolation::Nearest));
    let dark = plain.chunks(3).position(|pixel| pixel.iter().all(|byte| (30..220).contains(byte))).unwrap();
    let (before, after) = (&plain[3 * dark..][..3], &tinted[3 * dark..][..3]);
    assert!(after[0] > before[0] && after[1] == before[1] && after[2] < before[2], "{before:?} {after:?}");

    // Contrast about black makes the mean lighter; about the mean it leaves it, and spreads what is around it.
    let stronger = |contrast_about| Draw {
        light: Some(Light { contrast: 1.25, brightness: 0.0 }),
        contrast_about,
        ..Draw::default()
    };
    let of = |about| [60, 100, 140].map(|byte: usize| stronger(about).photometric(0, 1.0, 100.0)[byte]);
    assert_eq!(of(ContrastAbout::Mean), [50, 100, 150]);
    let red =
        |pixels: &[u8]| pixels.chunks(3).map(|pixel| f64::from(pixel[0])).sum::<f64>() * 3.0 / pixels.len() as f64;
    let [by_black, by_mean] = [ContrastAbout::Black, ContrastAbout::Mean]
        .map(|about| red(&rendered(&stronger(about), Interpolation::Nearest)) / red(&plain));
    assert!(by_black > 1.08 && (by_mean - 1.0).abs() < 0.03, "{by_black} {by_mean}");

    let error = Augmentation { scale_centre: 0.3, ..Augmentation::default() }.check().unwrap_err().to_string();
    assert_eq!(error, "`scale_limit` must be from 0 and below scale_centre (1 unless set), found 0.5");
    assert!(Augmentation { colour: 1.5, ..Augmentation::default() }.check().is_err());
}

/// An image of stripes two pixels wide: made small first, all of it is grey, and stays so however much it is enlarged.
#[test]
fn what_is_enlarged_has_the_detail_of_a_larger_image() {
    let stripes = |side: usize| {
        let bytes =
            (0..side * side).flat_map(|at| [if (at % side / 2).is_multiple_of(2) { 0 } else { 200 }; 3]).collect();
        RgbPixels::new(side, side, bytes).unwrap()
    };
    let augmentation = Augmentation { oversize: 2.0, ..Augmentation::default() };
    let preprocess = Preprocess { resampling: Resampling::Pillow, ..Preprocess::as_released(32) };
    assert_eq!(augmentation.prepared(&preprocess), Preprocess { size: 64, ..preprocess.clone() });
    let photo = stripes(64);
    let warp = Warp { degrees: 0.0, scale: [2.0; 2], shift_x: 0.0, shift_y: 0.0 };
    let deviation = |pixels: &RgbPixels| {
        let mut planes = vec![0.0; 3 * 32 * 32];
        Draw { warp: Some(warp), ..Draw::default() }.render(pixels, Interpolation::Bilinear, &preprocess, &mut planes);
        let mean = planes.iter().sum::<f32>() / planes.len() as f32;
        (planes.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / planes.len() as f32).sqrt()
    };
    let (small_first, at_once) = (
        deviation(&preprocess.square(&photo).unwrap()),
        deviation(&augmentation.prepared(&preprocess).square(&photo).unwrap()),
    );
    assert!(at_once > 0.35 && small_first < 0.15, "{at_once} {small_first}");

    // Without a movement, the image is the same but made smaller: its middle stays in the middle.
    let half: Vec<u8> = (0..64 * 64).flat_map(|at| [if at % 64 < 32 { 0 } else { 200 }; 3]).collect();
    let mut planes = vec![0.0; 3 * 32 * 32];
    let half = RgbPixels::new(64, 64, half).unwrap();
    Draw::default().render(&half, Interpolation::Bilinear, &preprocess, &mut planes);
    let row: Vec<bool> = planes[..32].iter().map(|value| *value > 0.3).collect();
    assert_eq!(row.iter().position(|bright| *bright), Some(16));

    let error = Augmentation { oversize: 0.5, ..Augmentation::default() }.check().unwrap_err().to_string();
    assert!(error.contains("`oversize` must be from 1 to 4"), "{error}");
    let config = crate::LoaderConfig {
        augmentation: Some((augmentation, 0, 0)),
        ..crate::LoaderConfig::new(1, Preprocess::as_released(3000))
    };
    let error = config.check().unwrap_err().to_string();
    assert!(
        error.contains("`augmentation.oversize` must be at most 4096 divided by preprocess.size, found 2"),
        "{error}"
    );
}

/// A red lamp over the image: in neutral light its colours are those that a white lamp shows, in another brightness.
#[test]
fn colour_constancy_takes_the_colour_of_a_lamp_out_before_all_other_light() {
    let white = decode(golden("square.png"), Strictness::Strict).unwrap();
    let lamp = |gains: [f32; 3]| {
        let lit = |pixel: &[u8]| [0, 1, 2].map(|colour| times(pixel[colour] / 2, gains[colour]));
        RgbPixels::new(SIZE, SIZE, white.data().chunks(3).flat_map(lit).collect()).unwrap()
    };
    let shown = |pixels: &RgbPixels, draw: Draw| {
        let mut planes = vec![0.0; 3 * SIZE * SIZE];
        draw.render(pixels, Interpolation::Nearest, &Preprocess::as_released(SIZE), &mut planes);
        planes
    };
    let mean = |planes: &[f32]| planes.iter().sum::<f32>() / planes.len() as f32;
    let furthest = |draw: Draw| {
        let (one, other) = (shown(&lamp([1.0; 3]), draw), shown(&lamp([1.6, 1.0, 0.7]), draw));
        let brighter = mean(&one) / mean(&other);
        one.iter().zip(&other).map(|(one, other)| (one - brighter * other).abs()).fold(0.0, f32::max) * 255.0
    };
    let neutral = Draw { neutral: true, ..Draw::default() };
    assert!(furthest(Draw::default()) > 30.0);
    assert!(furthest(neutral) <= 2.0, "{}", furthest(neutral));

    // What changes the light afterwards finds the neutral image: contrast leaves its mean, which is not that of the photo.
    let light = Some(Light { contrast: 0.8, brightness: 0.0 });
    let softer = Draw { light, contrast_about: ContrastAbout::Mean, ..neutral };
    let red = |draw| {
        let planes = shown(&lamp([1.6, 1.0, 0.7]), draw);
        mean(&planes[2 * SIZE * SIZE..]) * 255.0 // blue, green, red
    };
    assert!((red(softer) - red(neutral)).abs() < 1.0 && (red(neutral) - red(Draw::default())).abs() > 10.0);
}

#[test]
fn hair_and_rulers_are_on_as_many_images_as_asked_and_move_with_them() {
    let [mildest, second, third, ..] = Severity::ALL;
    let skin = RandomCorruption { probability: 0.4, mildest, worst: third, ..RandomCorruption::default() };
    let augmentation =
        Augmentation { p: 0.5, corruption: Some(skin), colour_constancy: 0.3, ..Augmentation::default() };
    augmentation.check().unwrap();
    let draws: Vec<Draw> = (0..20_000).map(|row| augmentation.draw(3, 1, row, 0, Stream::Case)).collect();
    let share = |what: &dyn Fn(&Draw) -> bool| draws.iter().filter(|draw| what(draw)).count() as f64 / 20_000.0;
    // 0.5 (any) · 0.4, by kinds 0.1 each, by severities 0.2 / 3; standard error 0.003.
    assert!((share(&|draw| draw.corruption.is_some()) - 0.2).abs() < 0.012);
    let of = |kind| move |draw: &Draw| draw.corruption.is_some_and(|(drawn, ..)| drawn == kind);
    assert!((share(&of(Corruption::Hair)) - 0.1).abs() < 0.01);
    assert!((share(&of(Corruption::RulerMarks)) - 0.1).abs() < 0.01);
    for severity in [mildest, second, third] {
        let drawn = share(&|draw| draw.corruption.is_some_and(|(_, drawn, _)| drawn == severity));
        assert!((drawn - 0.2 / 3.0).abs() < 0.01);
    }
    assert!((share(&|draw| draw.neutral) - 0.15).abs() < 0.012);
    // What was drawn before is drawn as it was.
    let clean = Augmentation { corruption: None, colour_constancy: 0.0, ..augmentation.clone() };
    for (row, draw) in draws.iter().enumerate().take(100) {
        assert_eq!(clean.draw(3, 1, row, 0, Stream::Case), Draw { corruption: None, neutral: false, ..*draw });
    }
    // A mask shows neither.
    let spoilt = draws.iter().find(|draw| draw.corruption.is_some() && draw.neutral).unwrap();
    assert_eq!((spoilt.without_light().corruption, spoilt.without_light().neutral), (None, false));

    // The hair is on the image before it moves: mirrored it is the mirrored picture.
    let corruption = Some((Corruption::Hair, third, 5));
    let haired = rendered(&Draw { corruption, ..Draw::default() }, Interpolation::Nearest);
    let mirrored = rendered(&Draw { corruption, horizontal_flip: true, ..Draw::default() }, Interpolation::Nearest);
    let turned: Vec<u8> = haired.chunks(3 * SIZE).flat_map(|row| row.chunks(3).rev().flatten().copied()).collect();
    assert_eq!(mirrored, turned);
    assert_ne!(haired, rendered(&Draw::default(), Interpolation::Nearest));
}
