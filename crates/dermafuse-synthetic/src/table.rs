//! The published files: image names, the table of 19 columns, and the three lists of rows.

use dermafuse_data::Modality;

use crate::noise::Stream;
use crate::{Lesion, Pattern, Regression, SyntheticCase, Vessels};

/// The columns of `meta.csv`, in order.
pub(crate) const COLUMNS: [&str; 19] = [
    "case_num",
    "diagnosis",
    "seven_point_score",
    "pigment_network",
    "streaks",
    "pigmentation",
    "regression_structures",
    "dots_and_globules",
    "blue_whitish_veil",
    "vascular_structures",
    "level_of_diagnostic_difficulty",
    "elevation",
    "location",
    "sex",
    "management",
    "clinic",
    "derm",
    "case_id",
    "notes",
];

/// Sizes of train, valid and test in the published split.
const PUBLISHED: [usize; 3] = [413, 203, 395];

/// Image folders; the third letter is always the same, as published.
const FOLDERS: [&str; 12] = ["NEL", "FCL", "NAL", "FAL", "NBL", "FBL", "NCL", "FDL", "NDL", "FEL", "NFL", "FGL"];

/// An image's name as it is on disk, relative to `images`.
pub(crate) fn image_name(case: usize, modality: Modality) -> String {
    let folder = FOLDERS[case % FOLDERS.len()];
    let number = 2 * (case / FOLDERS.len()) + if modality == Modality::Dermoscopic { 1 } else { 2 };
    format!("{folder}/{folder}{number:03}.jpg")
}

/// One row of the table, given the names of the images as the table spells them.
pub(crate) fn row(index: usize, case: &SyntheticCase, clinic: String, derm: String) -> [String; 19] {
    let SyntheticCase { lesion, difficulty, elevation, location, sex, management } = case;
    let text = str::to_owned;
    [
        (index + 1).to_string(),
        text(lesion.subtype),
        lesion.seven_point_score().to_string(),
        text(match lesion.network {
            Pattern::Absent => "absent",
            Pattern::Regular => "typical",
            Pattern::Irregular => "atypical",
        }),
        text(pattern(lesion.streaks)),
        text(pigmentation(lesion)),
        text(match lesion.regression {
            Regression::Absent => "absent",
            Regression::BlueAreas => "blue areas",
            Regression::WhiteAreas => "white areas",
            Regression::Combinations => "combinations",
        }),
        text(pattern(lesion.dots)),
        text(if lesion.veil { "present" } else { "absent" }),
        text(match lesion.vessels {
            Vessels::Absent => "absent",
            Vessels::Arborizing => "arborizing",
            Vessels::Comma => "comma",
            Vessels::Hairpin => "hairpin",
            Vessels::WithinRegression => "within regression",
            Vessels::Wreath => "wreath",
            Vessels::Dotted => "dotted",
            Vessels::LinearIrregular => "linear irregular",
        }),
        text(difficulty),
        text(elevation),
        text(location),
        text(sex),
        text(management),
        clinic,
        derm,
        String::new(),
        String::new(),
    ]
}

fn pattern(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Absent => "absent",
        Pattern::Regular => "regular",
        Pattern::Irregular => "irregular",
    }
}

fn pigmentation(lesion: &Lesion) -> &'static str {
    match (lesion.pigmentation, lesion.localized) {
        (Pattern::Absent, _) => "absent",
        (Pattern::Regular, false) => "diffuse regular",
        (Pattern::Regular, true) => "localized regular",
        (Pattern::Irregular, false) => "diffuse irregular",
        (Pattern::Irregular, true) => "localized irregular",
    }
}

/// The classes of a case over all eight tasks, one bit each.
fn classes(lesion: &Lesion) -> u32 {
    let vessels = match lesion.vessels {
        Vessels::Absent => 0,
        shape => 1 + u32::from(shape.is_irregular()),
    };
    let groups = [
        (5, lesion.diagnosis as u32),
        (3, lesion.network as u32),
        (3, lesion.streaks as u32),
        (3, lesion.pigmentation as u32),
        (2, u32::from(lesion.regression != Regression::Absent)),
        (3, lesion.dots as u32),
        (2, u32::from(lesion.veil)),
        (3, vessels),
    ];
    groups.iter().fold((0, 0), |(bits, offset), (size, class)| (bits | 1 << (offset + class), offset + size)).0
}

/// The classes that the rows have between them, one bit each.
pub(crate) fn seen(cases: &[SyntheticCase], rows: &[usize]) -> u32 {
    rows.iter().fold(0, |all, &row| all | classes(&cases[row].lesion))
}

/// Row numbers of train, valid and test: the published proportions, stratified by diagnosis. Of 64 such splits the
/// first that misses the fewest classes.
pub(crate) fn split(cases: &[SyntheticCase], seed: u64) -> [Vec<usize>; 3] {
    let share = |part: usize| (cases.len() * PUBLISHED[part] + 505) / 1011;
    let sizes = [share(0), share(1), cases.len() - share(0) - share(1)];
    let every = seen(cases, &(0..cases.len()).collect::<Vec<_>>());
    let mut stream = Stream::new(seed, "split");
    let missed = |parts: &[Vec<usize>; 3]| {
        // A class that is not trained on is worse than one that is not tested.
        let weights = [100, 1, 1];
        parts.iter().zip(weights).map(|(rows, weight)| weight * (every & !seen(cases, rows)).count_ones()).sum::<u32>()
    };
    let attempts = (0..64).map(|_| attempt(cases, sizes, &mut stream));
    let mut parts = attempts.min_by_key(missed).expect("64 attempts");
    parts.iter_mut().for_each(|rows| rows.sort_unstable());
    parts
}

fn attempt(cases: &[SyntheticCase], sizes: [usize; 3], stream: &mut Stream) -> [Vec<usize>; 3] {
    let mut rows: Vec<usize> = (0..cases.len()).collect();
    stream.shuffle(&mut rows);
    rows.sort_by_key(|&row| cases[row].lesion.diagnosis as u32);
    let mut parts = [const { Vec::new() }; 3];
    let groups = rows.chunk_by(|&a, &b| cases[a].lesion.diagnosis == cases[b].lesion.diagnosis);
    // The first three of each diagnosis see to it that no part lacks it; the others go where most is missing.
    for (part, group) in groups.clone().filter(|group| group.len() >= 3).flat_map(|group| group[..3].iter().enumerate())
    {
        parts[part].push(*group);
    }
    let rest = groups.flat_map(|group| if group.len() >= 3 { &group[3..] } else { group });
    for &row in rest {
        let lack = |part: &usize| (sizes[*part] as f32 - parts[*part].len() as f32) / sizes[*part].max(1) as f32;
        let neediest = (0..3).max_by(|a, b| lack(a).total_cmp(&lack(b))).expect("three parts");
        parts[neediest].push(row);
    }
    parts
}
