//! Which way of choosing branch weights on 203 validation cases is best for 395 other cases?
//!
//! ```text
//! cargo run --release -p dermafuse-ensemble --example weight_selection -- 200
//! cargo run --release -p dermafuse-ensemble --example weight_selection -- 200 alike
//! ```
//!
//! Simulates cohorts with the tasks, class frequencies and sizes of Derm7pt and three branches about as good as those of
//! FusionM4Net (a weak clinical one, a strong dermoscopic one, and a fusion branch that saw what both saw) or, with
//! `alike`, three branches that are equally good but for chance. Every repetition draws new branches and new cases; all ways
//! of choosing see the same. Nothing here is a measurement on images.

use std::error::Error;

use dermafuse_ensemble::{Smoothing, WeightSearch, WeightSearchMethod, WeightSearchResult};
use dermafuse_eval::MeanDeviation;
use dermafuse_eval::significance::WilcoxonSignedRank;
use dermafuse_schema::ndarray::{Array2, Array3};
use dermafuse_schema::{Branch, BranchLogits, BranchWeights, Cohort, FuseSpace, Task, TaskSet};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const VALID: usize = 203;
const TEST: usize = 395;
const VIEWS: usize = 6;
/// Cases of each class in Derm7pt: diagnosis, pigment network, streaks, pigmentation, regression structures, dots and
/// globules, blue-whitish veil, vascular structures.
const FREQUENCIES: [&[f64]; 8] = [
    &[575.0, 42.0, 252.0, 97.0, 45.0],
    &[400.0, 381.0, 230.0],
    &[653.0, 107.0, 251.0],
    &[588.0, 118.0, 305.0],
    &[758.0, 253.0],
    &[229.0, 334.0, 448.0],
    &[816.0, 195.0],
    &[823.0, 117.0, 71.0],
];
const BRANCHES: [&str; 3] = ["dermoscopic", "clinical", "fusion"];

/// Random numbers of a repetition.
struct Random(ChaCha8Rng);

impl Random {
    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What is drawn once for each repetition: how good the branches are and how sure of themselves.
struct Quality {
    /// `[task][branch]` by how much the right class stands out.
    signal: Vec<[f64; 3]>,
    /// `[branch]` what logits are multiplied with.
    sharpness: [f64; 3],
    /// `[branch]` noise of its own.
    noise: [f64; 3],
    /// How much of the dermoscopic and of the clinical branch's noise the fusion branch has too.
    seen_noise: [f64; 2],
}

impl Quality {
    fn draw(alike: bool, random: &mut Random) -> Self {
        let (signals, sharpness) = if alike { ([1.1; 3], [1.5; 3]) } else { ([1.15, 0.98, 1.13], [1.6, 1.0, 1.6]) };
        let signal = FREQUENCIES.iter().map(|_| {
            let task = 0.15 * random.normal();
            signals.map(|mean: f64| (mean + task + 0.15 * random.normal()).max(0.1))
        });
        Self {
            signal: signal.collect(),
            sharpness: sharpness.map(|mean| mean * (0.25 * random.normal()).exp()),
            noise: if alike { [0.6; 3] } else { [0.55, 0.65, 0.32] },
            seen_noise: if alike { [0.0; 2] } else { [0.5, 0.4] },
        }
    }

    /// A cohort as these branches see it.
    fn cohort(&self, cases: usize, random: &mut Random) -> BranchLogits {
        let mut logits: Vec<Vec<Array3<f32>>> = vec![Vec::new(); 3];
        let mut labels = vec![Vec::new(); cases];
        for (frequencies, signal) in FREQUENCIES.iter().zip(&self.signal) {
            let (classes, total) = (frequencies.len(), frequencies.iter().sum::<f64>());
            let mut of_branches = vec![Array3::zeros((VIEWS, cases, classes)); 3];
            for case in 0..cases {
                let mut left = random.unit() * total;
                let label = frequencies.iter().position(|n| {
                    left -= n;
                    left < 0.0
                });
                let label = label.unwrap_or(classes - 1);
                labels[case].push(Some(label));
                for class in 0..classes {
                    let lesion = 0.85 * random.normal(); // what the lesion looks like in any image
                    let [dermoscopic, clinical, own] = self.noise.map(|scale| scale * random.normal());
                    let seen = self.seen_noise[0] * dermoscopic + self.seen_noise[1] * clinical;
                    let noise = [dermoscopic, clinical, own + seen];
                    for (branch, of_branch) in of_branches.iter_mut().enumerate() {
                        let shown = if class == label { signal[branch] } else { 0.0 };
                        let frequency = (frequencies[class] / total).ln();
                        for view in 0..VIEWS {
                            let evidence = shown + lesion + noise[branch] + 0.35 * random.normal();
                            let logit = self.sharpness[branch] * (evidence + 0.5 * frequency);
                            of_branch[[view, case, class]] = logit as f32;
                        }
                    }
                }
            }
            logits.iter_mut().zip(of_branches).for_each(|(tasks, of_task)| tasks.push(of_task));
        }
        let task = |(index, frequencies): (usize, &&[f64])| {
            Task::new(format!("task {index}"), "T", (0..frequencies.len()).map(|class| format!("class {class}")))
        };
        let tasks = FREQUENCIES.iter().enumerate().map(task).collect();
        let cohort = Cohort {
            ids: (0..cases).map(|case| format!("case {case}").into()).collect(),
            groups: (0..cases).map(|case| format!("patient {case}")).collect(),
            labels,
            metadata: Array2::zeros((cases, 0)),
            has_metadata: vec![false; cases],
        };
        let branch = |(name, logits): (&str, _)| Branch { name: name.into(), available: vec![true; cases], logits };
        BranchLogits {
            tasks: TaskSet::new(tasks).expect("tasks with several classes"),
            cohort,
            branches: BRANCHES.into_iter().zip(logits).map(branch).collect(),
            looks: Vec::new(),
        }
    }
}

/// One way of choosing weights, and what came of it.
struct Row {
    name: &'static str,
    valid: Vec<f64>,
    test: Vec<f64>,
    weights: Vec<Vec<f64>>,
}

/// The corner of the best cells that a loop from small weights to large ones would meet first, a little inside.
fn first_optimum(found: &WeightSearchResult) -> Result<BranchWeights, Box<dyn Error>> {
    let corners = found.cells.iter().flat_map(|cell| cell.corners.iter().map(|corner| (corner, &cell.centre)));
    let first = corners.min_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let weights = match first {
        Some((corner, centre)) => {
            corner.iter().zip(centre).map(|(corner, centre)| corner + 1e-3 * (centre - corner)).collect()
        }
        None => found.weights.values().to_vec(),
    };
    Ok(BranchWeights::new(BRANCHES.into_iter().zip(weights))?)
}

/// The branch that is best by itself.
fn best_branch(valid: &BranchLogits) -> Result<BranchWeights, Box<dyn Error>> {
    let mut best = (BRANCHES[0], 0.0);
    for name in BRANCHES {
        let score = valid.branch(name)?.mean_accuracy().unwrap_or(0.0);
        if score > best.1 {
            best = (name, score);
        }
    }
    Ok(BranchWeights::new([(best.0, 1.0)])?)
}

/// A name, the space to average in, and weights.
type Choice = (&'static str, FuseSpace, BranchWeights);

/// What each way of choosing makes of the validation cases; the last one cheats.
fn choices(valid: &BranchLogits, test: &BranchLogits) -> Result<Vec<Choice>, Box<dyn Error>> {
    use FuseSpace::{Logits, Probabilities};
    use WeightSearchMethod::{Exact, Grid, Refined};
    let search = |method, space| WeightSearch { method, space, ..WeightSearch::default() };
    let fit = |search: WeightSearch| search.fit(valid);
    let smooth = |method, space, smoothing| fit(WeightSearch { smoothing, ..search(method, space) });
    let (bootstrap, folds) = (Smoothing::Bootstrap { resamples: 200, seed: 0 }, Smoothing::Folds { folds: 5, seed: 0 });
    let exact = fit(search(Exact, Probabilities))?;
    let first = first_optimum(&exact)?;
    Ok(vec![
        ("equal weights, logits", Logits, valid.equal_weights()),
        ("equal weights", Probabilities, valid.equal_weights()),
        ("best single branch", Probabilities, best_branch(valid)?),
        ("grid 50^3, logits", Logits, fit(search(Grid, Logits))?.weights),
        ("refined, logits", Logits, fit(search(Refined, Logits))?.weights),
        ("refined, logits, 5 folds", Logits, smooth(Refined, Logits, folds)?.weights),
        ("grid 50^3", Probabilities, fit(search(Grid, Probabilities))?.weights),
        ("exact, first optimum", Probabilities, first),
        ("exact, largest margin", Probabilities, exact.weights),
        ("exact, bootstrap", Probabilities, smooth(Exact, Probabilities, bootstrap)?.weights),
        ("exact, 5 folds", Probabilities, smooth(Exact, Probabilities, folds)?.weights),
        ("(exact on the test cases)", Probabilities, search(Exact, Probabilities).fit(test)?.weights),
    ])
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let repetitions: u64 = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let alike = match arguments.next().as_deref() {
        None => false,
        Some("alike") => true,
        Some(other) => return Err(format!("`{other}` is not `alike`").into()),
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut branches = vec![Vec::new(); 3];
    for seed in 0..repetitions {
        let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
        let quality = Quality::draw(alike, &mut random);
        let [valid, test] = [VALID, TEST].map(|cases| quality.cohort(cases, &mut random));
        let accuracy = |logits: &BranchLogits, weights: &BranchWeights, space| -> Result<f64, Box<dyn Error>> {
            Ok(100.0 * logits.fuse(weights, space)?.mean_accuracy().ok_or("labelled cases")?)
        };
        for (of_branch, name) in branches.iter_mut().zip(BRANCHES) {
            of_branch.push(accuracy(&test, &BranchWeights::new([(name, 1.0)])?, FuseSpace::Probabilities)?);
        }
        for (index, (name, space, weights)) in choices(&valid, &test)?.into_iter().enumerate() {
            if rows.len() == index {
                rows.push(Row { name, valid: Vec::new(), test: Vec::new(), weights: Vec::new() });
            }
            rows[index].valid.push(accuracy(&valid, &weights, space)?);
            rows[index].test.push(accuracy(&test, &weights, space)?);
            let value =
                |name: &str| weights.names().iter().position(|n| n == name).map_or(0.0, |b| weights.values()[b]);
            rows[index].weights.push(BRANCHES.map(value).to_vec());
        }
    }

    println!("{repetitions} repetitions; accuracy in per cent, mean over {} tasks", FREQUENCIES.len());
    for (name, of_branch) in BRANCHES.iter().zip(&branches) {
        println!("  test accuracy of the {name} branch: {:.2}", MeanDeviation::of(of_branch).ok_or("repetitions")?);
    }
    println!("| choice | validation | test | − equal weights | p | − grid 50³ | p | std of the weights |");
    println!("|---|---|---|---|---|---|---|---|");
    let of = |name: &str| rows.iter().find(|row| row.name == name).ok_or("a row of that name");
    let (equal, grid) = (of("equal weights")?, of("grid 50^3")?);
    for row in &rows {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let against = |other: &Row| -> Result<String, Box<dyn Error>> {
            if other.name == row.name {
                return Ok("|".into());
            }
            let wilcoxon = WilcoxonSignedRank::of(&row.test, &other.test)?;
            Ok(format!("{:+.2} | {:.2e}", mean(&row.test) - mean(&other.test), wilcoxon.p))
        };
        let spread = (0..3).filter_map(|branch| {
            MeanDeviation::of(&row.weights.iter().map(|weights| weights[branch]).collect::<Vec<_>>())
        });
        println!(
            "| {} | {:.2} | {:.2} | {} | {} | {:.2} |",
            row.name,
            mean(&row.valid),
            MeanDeviation::of(&row.test).ok_or("repetitions")?,
            against(equal)?,
            against(grid)?,
            mean(&spread.map(|of_branch| of_branch.deviation).collect::<Vec<_>>()),
        );
    }
    Ok(())
}
