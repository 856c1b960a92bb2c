//! The columns of `meta.csv` that are modelled, and what their values mean.

use dermafuse_schema::FieldRole;

/// A label column: its classes in order, each with the values that belong to it.
pub(super) struct TaskColumn {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) classes: &'static [(&'static str, &'static [&'static str])],
}

/// A metadata column: its categories in order.
pub(super) struct FieldColumn {
    pub(super) name: &'static str,
    pub(super) role: FieldRole,
    pub(super) categories: &'static [&'static str],
}

pub(super) const TASKS: [TaskColumn; 8] = [
    TaskColumn {
        name: "diagnosis",
        label: "DIAG",
        classes: &[
            (
                "NEV",
                &[
                    "blue nevus",
                    "clark nevus",
                    "combined nevus",
                    "congenital nevus",
                    "dermal nevus",
                    "recurrent nevus",
                    "reed or spitz nevus",
                ],
            ),
            ("BCC", &["basal cell carcinoma"]),
            (
                "MEL",
                &[
                    "melanoma",
                    "melanoma (in situ)",
                    "melanoma (less than 0.76 mm)",
                    "melanoma (0.76 to 1.5 mm)",
                    "melanoma (more than 1.5 mm)",
                    "melanoma metastasis",
                ],
            ),
            ("MISC", &["dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"]),
            ("SK", &["seborrheic keratosis"]),
        ],
    },
    TaskColumn {
        name: "pigment_network",
        label: "PN",
        classes: &[("ABS", &["absent"]), ("TYP", &["typical"]), ("ATP", &["atypical"])],
    },
    TaskColumn {
        name: "streaks",
        label: "STR",
        classes: &[("ABS", &["absent"]), ("REG", &["regular"]), ("IR", &["irregular"])],
    },
    TaskColumn {
        name: "pigmentation",
        label: "PIG",
        classes: &[
            ("ABS", &["absent"]),
            ("REG", &["diffuse regular", "localized regular"]),
            ("IR", &["localized irregular", "diffuse irregular"]),
        ],
    },
    TaskColumn {
        name: "regression_structures",
        label: "RS",
        classes: &[("ABS", &["absent"]), ("PRS", &["blue areas", "white areas", "combinations"])],
    },
    TaskColumn {
        name: "dots_and_globules",
        label: "DaG",
        classes: &[("ABS", &["absent"]), ("REG", &["regular"]), ("IR", &["irregular"])],
    },
    TaskColumn { name: "blue_whitish_veil", label: "BWV", classes: &[("ABS", &["absent"]), ("PRS", &["present"])] },
    TaskColumn {
        name: "vascular_structures",
        label: "VS",
        classes: &[
            ("ABS", &["absent"]),
            ("REG", &["arborizing", "comma", "hairpin", "within regression", "wreath"]),
            ("IR", &["dotted", "linear irregular"]),
        ],
    },
];

/// One-hot, these are the 20 numbers of the published protocols, in their order.
pub(super) const FIELDS: [FieldColumn; 5] = [
    FieldColumn {
        name: "level_of_diagnostic_difficulty",
        role: FieldRole::PostDiagnosis,
        categories: &["low", "medium", "high"],
    },
    FieldColumn { name: "elevation", role: FieldRole::PreDiagnosis, categories: &["flat", "palpable", "nodular"] },
    FieldColumn {
        name: "location",
        role: FieldRole::PreDiagnosis,
        categories: &[
            "back",
            "lower limbs",
            "abdomen",
            "upper limbs",
            "chest",
            "head neck",
            "acral",
            "buttocks",
            "genital areas",
        ],
    },
    FieldColumn { name: "sex", role: FieldRole::PreDiagnosis, categories: &["female", "male"] },
    FieldColumn {
        name: "management",
        role: FieldRole::PostDiagnosis,
        categories: &["excision", "clinical follow up", "no further examination"],
    },
];
