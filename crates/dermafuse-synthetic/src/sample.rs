//! Draws cases as the published table has them: diagnosis by quota, criteria given the diagnosis, then what is said
//! of the patient given both.

use crate::noise::Stream;
use crate::{Diagnosis, Lesion, Pattern, Regression, SyntheticCase, SyntheticConfig, Vessels};

/// Shares of the diagnoses.
const DIAGNOSES: [f32; 5] = [0.57, 0.04, 0.25, 0.10, 0.04];

/// Given the diagnosis (in [`Diagnosis::ALL`]'s order), the shares of absent, regular and irregular.
type Shares = [[f32; 3]; 5];
const NETWORK: Shares =
    [[0.32, 0.53, 0.15], [0.96, 0.02, 0.02], [0.33, 0.18, 0.49], [0.65, 0.25, 0.10], [0.85, 0.10, 0.05]];
const STREAKS: Shares =
    [[0.70, 0.15, 0.15], [0.95, 0.0, 0.05], [0.38, 0.04, 0.58], [0.90, 0.05, 0.05], [0.95, 0.0, 0.05]];
const PIGMENTATION: Shares =
    [[0.68, 0.15, 0.17], [0.75, 0.0, 0.25], [0.31, 0.03, 0.66], [0.73, 0.12, 0.15], [0.70, 0.10, 0.20]];
const DOTS: Shares =
    [[0.18, 0.46, 0.36], [0.50, 0.10, 0.40], [0.16, 0.10, 0.74], [0.60, 0.20, 0.20], [0.40, 0.30, 0.30]];
const VESSELS: Shares =
    [[0.91, 0.06, 0.03], [0.18, 0.74, 0.08], [0.68, 0.13, 0.19], [0.74, 0.20, 0.06], [0.66, 0.30, 0.04]];
const REGRESSION: Shares =
    [[0.85, 0.0, 0.15], [0.90, 0.0, 0.10], [0.45, 0.0, 0.55], [0.80, 0.0, 0.20], [0.92, 0.0, 0.08]];
const VEIL: Shares = [[0.91, 0.0, 0.09], [0.90, 0.0, 0.10], [0.50, 0.0, 0.50], [0.92, 0.0, 0.08], [0.92, 0.0, 0.08]];

/// Whole numbers in proportion to the shares, adding up to `total`: largest remainders first.
pub(crate) fn quota(total: usize, shares: &[f32]) -> Vec<usize> {
    let sum: f32 = shares.iter().sum();
    let exact: Vec<f32> = shares.iter().map(|share| total as f32 * share / sum).collect();
    let mut counts: Vec<usize> = exact.iter().map(|count| count.floor() as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let missing = total - counts.iter().sum::<usize>();
    order.iter().cycle().take(missing).for_each(|&index| counts[index] += 1);
    counts
}

/// How many cases have each diagnosis; from 20 cases on, at least three each, one for each part of the split.
fn diagnosis_counts(cases: usize) -> Vec<usize> {
    let mut counts = quota(cases, &DIAGNOSES);
    if cases >= 20 {
        for index in 1..counts.len() {
            let more = 3usize.saturating_sub(counts[index]);
            counts[index] += more;
            counts[0] -= more;
        }
    }
    counts
}

/// Draws the cases of a data set, in the order of its table.
#[must_use]
pub fn sample(config: &SyntheticConfig) -> Vec<SyntheticCase> {
    let mut stream = Stream::new(config.seed, "cohort");
    let mut lesions = Vec::with_capacity(config.cases);
    for (diagnosis, count) in Diagnosis::ALL.into_iter().zip(diagnosis_counts(config.cases)) {
        lesions.extend(group(diagnosis, count, &mut stream));
    }
    stream.shuffle(&mut lesions);
    lesions.into_iter().map(|lesion| describe(lesion, config, &mut stream)).collect()
}

/// Lesions of one diagnosis. Each criterion keeps its quota; a hidden atypia makes irregular ones keep company.
fn group(diagnosis: Diagnosis, count: usize, stream: &mut Stream) -> Vec<Lesion> {
    let row = Diagnosis::ALL.iter().position(|&other| other == diagnosis).expect("ALL lists every diagnosis");
    let atypia: Vec<f32> = (0..count).map(|_| stream.normal()).collect();
    let mut criterion = |shares: &Shares| {
        let counts = quota(count, &shares[row]);
        let rank: Vec<f32> = atypia.iter().map(|atypia| 0.8 * atypia + stream.normal()).collect();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| rank[a].total_cmp(&rank[b]));
        let mut patterns = vec![Pattern::Absent; count];
        order[..counts[1]].iter().for_each(|&index| patterns[index] = Pattern::Regular);
        order[count - counts[2]..].iter().for_each(|&index| patterns[index] = Pattern::Irregular);
        patterns
    };
    let [network, streaks, pigmentation, dots] = [NETWORK, STREAKS, PIGMENTATION, DOTS].map(|table| criterion(&table));
    let [vessels, regression, veil] = [VESSELS, REGRESSION, VEIL].map(|table| criterion(&table));
    (0..count)
        .map(|index| {
            let mut lesion = Lesion::plain(diagnosis, stream.next());
            lesion.network = network[index];
            lesion.streaks = streaks[index];
            lesion.pigmentation = pigmentation[index];
            lesion.dots = dots[index];
            lesion.veil = veil[index] == Pattern::Irregular;
            lesion.localized = stream.chance(if lesion.pigmentation == Pattern::Irregular { 0.13 } else { 0.03 });
            if regression[index] == Pattern::Irregular {
                use Regression::{BlueAreas, Combinations, WhiteAreas};
                lesion.regression = [BlueAreas, Combinations, WhiteAreas][stream.weighted(&[116.0, 99.0, 38.0])];
            }
            lesion.vessels = vessel_shape(&lesion, vessels[index], stream);
            lesion.subtype = subtype(&lesion, stream);
            lesion
        })
        .collect()
}

fn vessel_shape(lesion: &Lesion, pattern: Pattern, stream: &mut Stream) -> Vessels {
    use Vessels::{Absent, Arborizing, Comma, Dotted, Hairpin, LinearIrregular, WithinRegression, Wreath};
    const REGULAR: [Vessels; 5] = [Arborizing, Comma, Hairpin, WithinRegression, Wreath];
    match pattern {
        Pattern::Absent => Absent,
        Pattern::Irregular => [Dotted, LinearIrregular][stream.weighted(&[53.0, 18.0])],
        Pattern::Regular => {
            let regresses = if lesion.regression == Regression::Absent { 1.0 } else { 8.0 };
            let weights = match lesion.diagnosis {
                Diagnosis::Nevus => [0.3, 5.0, 0.5, regresses, 0.0],
                Diagnosis::BasalCellCarcinoma => [20.0, 0.0, 0.5, 0.5, 0.0],
                Diagnosis::Melanoma => [0.2, 0.2, 0.8, 2.0 * regresses, 0.0],
                Diagnosis::Miscellaneous => [1.0, 2.0, 1.0, regresses, 2.0],
                Diagnosis::SeborrheicKeratosis => [0.2, 0.3, 5.0, 0.2, 0.0],
            };
            REGULAR[stream.weighted(&weights)]
        }
    }
}

/// The diagnosis as the published table spells it.
fn subtype(lesion: &Lesion, stream: &mut Stream) -> &'static str {
    let without_pattern = lesion.network == Pattern::Absent && lesion.streaks == Pattern::Absent;
    match lesion.diagnosis {
        Diagnosis::BasalCellCarcinoma => "basal cell carcinoma",
        Diagnosis::SeborrheicKeratosis => "seborrheic keratosis",
        Diagnosis::Nevus if without_pattern && lesion.veil => "blue nevus",
        Diagnosis::Nevus if lesion.streaks == Pattern::Regular && stream.chance(0.7) => "reed or spitz nevus",
        Diagnosis::Nevus if without_pattern && lesion.vessels != Vessels::Absent => "dermal nevus",
        Diagnosis::Nevus => {
            let names = ["clark nevus", "congenital nevus", "combined nevus", "recurrent nevus", "reed or spitz nevus"];
            names[stream.weighted(&[399.0, 17.0, 13.0, 6.0, 15.0])]
        }
        Diagnosis::Melanoma => {
            let names = [
                "melanoma (in situ)",
                "melanoma (less than 0.76 mm)",
                "melanoma (0.76 to 1.5 mm)",
                "melanoma (more than 1.5 mm)",
                "melanoma metastasis",
                "melanoma",
            ];
            let thick = lesion.seven_point_score() as f32 / 10.0;
            names[stream.weighted(&[70.0 * (1.2 - thick), 100.0, 20.0 + 70.0 * thick, 50.0 * thick, 4.0, 1.0])]
        }
        Diagnosis::Miscellaneous => {
            let names = ["vascular lesion", "lentigo", "dermatofibroma", "melanosis", "miscellaneous"];
            let networked = if lesion.network == Pattern::Absent { 1.0 } else { 0.0 };
            let empty = if without_pattern && lesion.dots == Pattern::Absent { 1.0 } else { 0.0 };
            let red = empty * if lesion.pigmentation == Pattern::Absent { 60.0 } else { 0.0 };
            names[stream.weighted(&[red, 24.0 - 10.0 * networked, 20.0, 16.0, 8.0])]
        }
    }
}

/// Adds what the table says of the patient, and how clear the structures are.
fn describe(mut lesion: Lesion, config: &SyntheticConfig, stream: &mut Stream) -> SyntheticCase {
    let mut pick = |names: &[&'static str], weights: &[f32]| {
        let weights: Vec<f32> = weights.iter().map(|weight| weight.powf(config.metadata_strength)).collect();
        names[stream.weighted(&weights)]
    };
    let when = |condition: bool, factor: f32| if condition { factor } else { 1.0 };
    let vessels = lesion.vessels != Vessels::Absent;
    let regular_network = lesion.network == Pattern::Regular;
    let score = lesion.seven_point_score() as f32;
    let (flat, palpable, nodular) = match lesion.diagnosis {
        Diagnosis::Nevus => (0.55, 0.42, 0.05),
        Diagnosis::BasalCellCarcinoma => (0.12, 0.45, 0.43),
        Diagnosis::Melanoma => (0.40, 0.48, 0.14),
        Diagnosis::Miscellaneous => (0.50, 0.35, 0.15),
        Diagnosis::SeborrheicKeratosis => (0.10, 0.80, 0.10),
    };
    let elevation = [
        flat * when(regular_network, 2.2) * when(lesion.veil, 0.4),
        palpable * when(lesion.dots == Pattern::Irregular, 1.5),
        nodular * when(vessels, 3.5) * when(lesion.veil, 2.5),
    ];
    // back, lower limbs, abdomen, upper limbs, chest, head neck, acral, buttocks, genital areas
    let mut location = [281.0, 200.0, 125.0, 122.0, 100.0, 70.0, 55.0, 21.0, 5.0];
    let factors = match lesion.diagnosis {
        Diagnosis::Nevus => [1.0, 1.0, 1.2, 1.0, 1.0, 0.5, 1.0, 1.2, 1.0],
        Diagnosis::BasalCellCarcinoma => [0.7, 0.3, 0.3, 0.3, 0.7, 9.0, 0.2, 0.2, 0.5],
        Diagnosis::Melanoma => [1.3, 1.0, 0.6, 1.4, 1.0, 1.0, 0.8, 0.6, 0.5],
        Diagnosis::Miscellaneous => [0.4, 1.8, 0.5, 0.8, 0.6, 1.5, 2.5, 1.0, 8.0],
        Diagnosis::SeborrheicKeratosis => [1.2, 0.6, 1.5, 0.6, 1.5, 4.0, 0.1, 1.0, 1.0],
    };
    location.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
    location[1] *= when(lesion.streaks == Pattern::Regular, 3.0);
    location[0] *= when(lesion.regression != Regression::Absent, 2.2);
    location[2] *= when(regular_network, 1.6);
    let male = match lesion.diagnosis {
        Diagnosis::Nevus => 0.43,
        Diagnosis::Melanoma => 0.58,
        _ => 0.5,
    };
    let (follow_up, nothing) = match lesion.diagnosis {
        Diagnosis::Nevus => (2.0, 0.35),
        Diagnosis::BasalCellCarcinoma => (0.15, 0.05),
        Diagnosis::Melanoma => (0.25, 0.02),
        Diagnosis::Miscellaneous => (0.7, 1.2),
        Diagnosis::SeborrheicKeratosis => (0.5, 2.5),
    };
    let difficulty = [
        0.38 * when(regular_network, 1.4) * when(lesion.diagnosis == Diagnosis::BasalCellCarcinoma, 2.0),
        0.37,
        0.25 * when(lesion.regression != Regression::Absent, 1.8) * when(lesion.diagnosis == Diagnosis::Melanoma, 1.3),
    ];
    let elevation = pick(&ELEVATION, &elevation);
    let location = pick(&LOCATION, &location);
    let sex = pick(&["female", "male"], &[1.0 - male, male]);
    let management = pick(&MANAGEMENT, &[1.15 + 0.75 * score, follow_up, nothing]);
    let difficulty = pick(&DIFFICULTY, &difficulty);
    let (dimmest, clearest) = match difficulty {
        "low" => (0.85, 1.15),
        "medium" => (0.65, 1.05),
        _ => (0.4, 0.85),
    };
    lesion.clarity = config.clarity * stream.range(dimmest, clearest);
    lesion.clinical_clarity = config.clinical_clarity;
    SyntheticCase { lesion, difficulty, elevation, location, sex, management }
}

const DIFFICULTY: [&str; 3] = ["low", "medium", "high"];
const ELEVATION: [&str; 3] = ["flat", "palpable", "nodular"];
const MANAGEMENT: [&str; 3] = ["excision", "clinical follow up", "no further examination"];
const LOCATION: [&str; 9] =
    ["back", "lower limbs", "abdomen", "upper limbs", "chest", "head neck", "acral", "buttocks", "genital areas"];
