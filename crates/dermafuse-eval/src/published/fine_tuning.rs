/// A strategy of fine-tuning and its printed test results on DermAI, in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedStrategy {
    /// Its letter in the paper and what it trains on, such as `b) ImageNet, EDRA, DermAI`.
    pub name: &'static str,
    /// Share of all cases that are right.
    pub accuracy: f64,
    /// Mean F1, weighted by the number of cases of each class.
    pub weighted_f1: f64,
    /// Mean F1 over the classes; 0 for a class that is never right.
    pub macro_f1: f64,
    /// Sensitivity, precision and F1 of each of [`NEDELCU_CLASSES`], where they are printed.
    pub classes: Option<[[f64; 3]; 13]>,
}

/// The 13 classes of DermAI, and how many test cases each has: not printed, but implied by the sensitivities.
pub const NEDELCU_CLASSES: [(&str, usize); 13] = [
    ("SebKer", 237),
    ("ActKer", 104),
    ("Nev", 124),
    ("MolCont", 14),
    ("Haem", 14),
    ("UncNeop", 49),
    ("Drmfib", 28),
    ("SLent", 10),
    ("PenFib", 23),
    ("VWat", 39),
    ("OtMalNeop", 23),
    ("BCC", 11),
    ("MM", 10),
];

/// S. Nedelcu et al., Tables IV to VIII: EfficientNet-B3, tested on 686 cases of DermAI, which is private.
pub const NEDELCU: [PublishedStrategy; 5] = [
    PublishedStrategy { name: "o) from scratch", accuracy: 14.28, weighted_f1: 5.52, macro_f1: 2.53, classes: None },
    PublishedStrategy {
        name: "x) ImageNet, merged",
        accuracy: 42.56,
        weighted_f1: 43.34,
        macro_f1: 28.60,
        classes: Some([
            [53.59, 66.84, 59.48],
            [63.46, 57.89, 60.55],
            [18.55, 56.10, 27.88],
            [42.86, 27.27, 33.33],
            [21.43, 21.43, 21.43],
            [18.37, 11.11, 13.85],
            [53.57, 31.25, 39.47],
            [10.00, 8.33, 9.09],
            [43.48, 33.33, 37.74],
            [66.67, 38.81, 49.06],
            [26.09, 16.22, 20.00],
            [0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0],
        ]),
    },
    PublishedStrategy {
        name: "a) ImageNet, DermAI",
        accuracy: 42.71,
        weighted_f1: 44.04,
        macro_f1: 28.65,
        classes: Some([
            [49.79, 63.78, 55.92],
            [56.73, 48.76, 52.44],
            [43.55, 51.43, 47.16],
            [35.71, 38.46, 37.04],
            [14.29, 18.18, 16.00],
            [16.33, 11.27, 13.33],
            [42.86, 38.71, 40.68],
            [0.0, 0.0, 0.0],
            [21.74, 21.74, 21.74],
            [56.41, 45.83, 50.57],
            [26.09, 18.18, 21.43],
            [0.0, 0.0, 0.0],
            [20.00, 13.33, 16.00],
        ]),
    },
    PublishedStrategy {
        name: "b) ImageNet, EDRA, DermAI",
        accuracy: 43.73,
        weighted_f1: 44.17,
        macro_f1: 30.09,
        classes: Some([
            [47.68, 69.75, 56.64],
            [67.31, 47.30, 55.56],
            [45.97, 48.31, 47.11],
            [42.86, 42.86, 42.86],
            [7.14, 11.11, 8.70],
            [4.08, 5.13, 4.55],
            [50.00, 28.00, 35.90],
            [20.00, 15.38, 17.39],
            [26.09, 25.00, 25.53],
            [53.85, 42.86, 47.73],
            [17.39, 12.50, 14.55],
            [9.09, 6.25, 7.41],
            [30.00, 25.00, 27.27],
        ]),
    },
    PublishedStrategy {
        name: "c) ImageNet, EDRA, Dermofit, DermAI",
        accuracy: 43.44,
        weighted_f1: 44.41,
        macro_f1: 28.80,
        classes: Some([
            [48.95, 66.29, 56.31],
            [60.58, 49.22, 54.31],
            [47.58, 47.97, 47.77],
            [28.57, 57.14, 38.10],
            [14.29, 16.67, 15.38],
            [16.33, 11.76, 13.68],
            [46.43, 25.49, 32.91],
            [0.0, 0.0, 0.0],
            [21.74, 26.32, 23.81],
            [53.85, 52.50, 53.16],
            [17.39, 13.33, 15.09],
            [0.0, 0.0, 0.0],
            [30.00, 20.00, 24.00],
        ]),
    },
];
