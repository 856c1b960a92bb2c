//! What the table says: the patient's history, and what was asked of each lesion.

use crate::noise::Stream;

/// The columns of `metadata.csv`, in order.
pub const COLUMNS: [&str; 26] = [
    "patient_id",
    "lesion_id",
    "smoke",
    "drink",
    "background_father",
    "background_mother",
    "age",
    "pesticide",
    "gender",
    "skin_cancer_history",
    "cancer_history",
    "has_piped_water",
    "has_sewage_system",
    "fitspatrick",
    "region",
    "diameter_1",
    "diameter_2",
    "diagnostic",
    "itch",
    "grew",
    "hurt",
    "changed",
    "bleed",
    "elevation",
    "img_id",
    "biopsed",
];

/// Values, with how often they occur.
type Weighted = &'static [(&'static str, f32)];
/// The regions of each look.
const REGIONS: [Weighted; 3] = [
    &[("FOREARM", 392.0), ("ARM", 192.0), ("HAND", 126.0), ("EAR", 73.0), ("SCALP", 18.0)],
    &[("CHEST", 280.0), ("BACK", 248.0), ("THIGH", 73.0), ("ABDOMEN", 36.0), ("FOOT", 16.0)],
    &[("FACE", 570.0), ("NOSE", 158.0), ("NECK", 93.0), ("LIP", 23.0)],
];
const FATHERS: Weighted = &[
    ("POMERANIA", 800.0),
    ("GERMANY", 240.0),
    ("BRAZIL", 180.0),
    ("ITALY", 140.0),
    ("UNK", 60.0),
    ("PORTUGAL", 30.0),
    ("NETHERLANDS", 10.0),
    ("POLAND", 8.0),
    ("BRASIL", 4.0),
];
const MOTHERS: Weighted = &[
    ("POMERANIA", 830.0),
    ("GERMANY", 210.0),
    ("BRAZIL", 190.0),
    ("ITALY", 150.0),
    ("UNK", 50.0),
    ("PORTUGAL", 20.0),
    ("NORWAY", 10.0),
    ("SPAIN", 6.0),
];
const SKIN_TYPES: Weighted =
    &[("1.0", 153.0), ("2.0", 876.0), ("3.0", 392.0), ("4.0", 62.0), ("5.0", 10.0), ("6.0", 1.0)];

/// One row of `metadata.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record([String; 26]);

impl Record {
    /// The values, in the order of the [`COLUMNS`].
    #[must_use]
    pub fn values(&self) -> &[String; 26] {
        &self.0
    }

    /// The value of a column; `None` if there is no such column.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<&str> {
        COLUMNS.iter().position(|name| *name == column).map(|at| self.0[at].as_str())
    }

    /// The photo's file name.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.0[24]
    }

    /// The same row for a further photo of the lesion.
    pub(super) fn photo(&self, number: usize) -> Self {
        let mut values = self.0.clone();
        values[24] = format!("{}_{}_{number}.png", values[0], values[1]);
        Self(values)
    }
}

/// What the rows of one patient have in common.
pub(super) struct Patient {
    name: String,
    age: String,
    /// Columns 2 to 13 but for the age, and whether diameters are recorded.
    history: Option<[&'static str; 11]>,
}

fn pick(among: Weighted, stream: &mut Stream) -> &'static str {
    let weights: Vec<f32> = among.iter().map(|(_, weight)| *weight).collect();
    among[stream.weighted(&weights)].0
}

fn truth(probability: f32, stream: &mut Stream) -> &'static str {
    if stream.chance(probability) { "True" } else { "False" }
}

/// An answer that some patients do not know.
fn answer(probability: f32, unknown: f32, stream: &mut Stream) -> &'static str {
    let answer = truth(probability, stream);
    if stream.chance(unknown) { "UNK" } else { answer }
}

impl Patient {
    pub(super) fn draw(index: usize, missing_history: f32, stream: &mut Stream) -> Self {
        let age = (60.5 + 15.9 * stream.normal()).clamp(6.0, 94.0).round();
        let missing = stream.chance(missing_history);
        // Drawn in any case, so that the part of missing histories changes nothing else.
        let history = [
            truth(0.14, stream),
            truth(0.18, stream),
            pick(FATHERS, stream),
            pick(MOTHERS, stream),
            truth(0.4, stream),
            ["FEMALE", "MALE"][usize::from(stream.chance(0.5))],
            truth(0.45, stream),
            truth(0.5, stream),
            truth(0.6, stream),
            truth(0.55, stream),
            pick(SKIN_TYPES, stream),
        ];
        Self { name: format!("PAT_{}", index + 1), age: age.to_string(), history: (!missing).then_some(history) }
    }

    /// The row of a lesion whose record sounds like something of that look and course; the image is not named yet.
    pub(super) fn lesion(
        &self,
        number: usize,
        diagnosis: &str,
        look: usize,
        malignant: bool,
        stream: &mut Stream,
    ) -> Record {
        let region = pick(REGIONS[look], stream);
        let course = |benign: f32, bad: f32| if malignant { bad } else { benign };
        let itch = answer(course(0.55, 0.7), 0.01, stream);
        let grew = answer(course(0.3, 0.75), 0.17, stream);
        let hurt = answer(course(0.1, 0.25), 0.01, stream);
        let changed = answer(course(0.05, 0.2), 0.17, stream);
        let elevation = answer([0.45, 0.5, 0.8][look], 0.01, stream);
        let long = (3.0 + 18.0 * stream.unit() * stream.unit()).round();
        let short = (long * stream.range(0.5, 1.0)).round();
        // A few were not measured and entered as 0.
        let measured = !stream.chance(0.01);
        let diameters = [long, short].map(|side| format!("{:.1}", if measured { side } else { 0.0 }));
        let biopsy = match diagnosis {
            "BCC" | "SCC" | "MEL" => 1.0,
            "ACK" | "NEV" => 0.24,
            _ => 0.06,
        };
        let biopsed = truth(biopsy, stream);
        let text = str::to_owned;
        let asked = |at: usize| self.history.map_or_else(String::new, |history| text(history[at]));
        let [long, short] = if self.history.is_some() { diameters } else { [String::new(), String::new()] };
        Record([
            self.name.clone(),
            number.to_string(),
            asked(0),
            asked(1),
            asked(2),
            asked(3),
            self.age.clone(),
            asked(4),
            asked(5),
            asked(6),
            asked(7),
            asked(8),
            asked(9),
            asked(10),
            text(region),
            long,
            short,
            text(diagnosis),
            text(itch),
            text(grew),
            text(hurt),
            text(changed),
            text(if malignant { "True" } else { "False" }),
            text(elevation),
            String::new(),
            text(biopsed),
        ])
    }
}
