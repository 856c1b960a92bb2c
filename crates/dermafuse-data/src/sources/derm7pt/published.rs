use crate::{CaseSet, DataError};

/// The published number of cases of each class of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedTask {
    /// The task's label, such as `DIAG`.
    pub label: &'static str,
    /// Its classes, each with the cases in the training, validation and test part.
    pub classes: &'static [(&'static str, [usize; 3])],
}

/// The published counts of the training (413), validation (203) and test (395) part.
pub const PUBLISHED: [PublishedTask; 8] = [
    PublishedTask {
        label: "DIAG",
        classes: &[
            ("NEV", [256, 100, 219]),
            ("BCC", [19, 7, 16]),
            ("MEL", [90, 61, 101]),
            ("MISC", [32, 25, 40]),
            ("SK", [16, 10, 19]),
        ],
    },
    PublishedTask { label: "PN", classes: &[("ABS", [160, 84, 156]), ("TYP", [160, 75, 146]), ("ATP", [93, 44, 93])] },
    PublishedTask { label: "STR", classes: &[("ABS", [273, 123, 257]), ("REG", [39, 24, 44]), ("IR", [101, 56, 94])] },
    PublishedTask { label: "PIG", classes: &[("ABS", [253, 112, 223]), ("REG", [44, 26, 48]), ("IR", [116, 65, 124])] },
    PublishedTask { label: "RS", classes: &[("ABS", [317, 152, 289]), ("PRS", [96, 51, 106])] },
    PublishedTask { label: "DaG", classes: &[("ABS", [84, 45, 100]), ("REG", [156, 60, 118]), ("IR", [173, 98, 177])] },
    PublishedTask { label: "BWV", classes: &[("ABS", [339, 157, 320]), ("PRS", [74, 46, 75])] },
    PublishedTask { label: "VS", classes: &[("ABS", [347, 163, 313]), ("REG", [43, 22, 52]), ("IR", [23, 18, 30])] },
];

/// Checks that a set and its split have the [`PUBLISHED`] counts.
///
/// # Errors
/// The first count that differs; a set without a split.
pub fn check_published(set: &CaseSet) -> Result<(), DataError> {
    let check = |what: String, expected: usize, found: usize| match expected == found {
        true => Ok(()),
        false => Err(DataError::Published { dataset: "Derm7pt", what, expected, found }),
    };
    let Some(split) = &set.split else {
        return check("cases in the split".into(), super::PUBLISHED_CASES, 0);
    };
    let parts = [("training", &split.train), ("validation", &split.valid), ("test", &split.test)];
    for (index, published) in PUBLISHED.iter().enumerate() {
        for (part, (name, rows)) in parts.iter().enumerate() {
            let counts = set.view(*rows)?.class_counts(index)?;
            check(format!("classes of {}", published.label), published.classes.len(), counts.len())?;
            for ((class, expected), found) in published.classes.iter().zip(counts) {
                check(format!("{} {class} in the {name} part", published.label), expected[part], found)?;
            }
        }
    }
    Ok(())
}
