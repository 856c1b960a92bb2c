//! Fits the rule that tells clinical from dermoscopic pictures, and says how often each finding of image quality is there. The numbers
//! of `docs/quality.md` are its output.
//!
//! ```text
//! cargo run --release -p dermafuse-data --example image_quality -- fit KIND=DIR [IMAGES]
//! cargo run --release -p dermafuse-data --example image_quality -- measure KIND=DIR [IMAGES]
//! cargo run --release -p dermafuse-data --example image_quality -- corrupt KIND=DIR CASES
//! cargo run --release -p dermafuse-data --example image_quality -- pictures clinical|dermoscopic DIR
//! ```
//!
//! KIND is a kind of data set, such as `milk10k` or `derm7pt`. IMAGES is a folder with other copies of some of its images; cases whose
//! images are not all there are left out.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dermafuse_data::{
    CaseSet, Corruption, DataError, DataSetKind, FindingKind, ImageCorruption, ImageMeasures, Modality, QualityFinding,
    QualityThresholds, RgbPixels, Severity, Strictness, ViewRule, decode,
};
use dermafuse_schema::{CaseId, CaseImage};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Strengths of the ridge penalty on weights of standardized features; the shipped rule is that of the first.
const RIDGES: [f64; 3] = [1.0, 10.0, 100.0];
/// Steps of Newton's method; the last ones change nothing.
const STEPS: usize = 30;
/// The per cent of pictures that quantiles are given for.
const QUANTILES: [f64; 9] = [0.0, 0.1, 0.5, 1.0, 50.0, 99.0, 99.5, 99.9, 100.0];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["fit", set] => fit(&Pairs::load(set, None)?, None),
        ["fit", set, images] => fit(&Pairs::load(set, None)?, Some(&Pairs::load(set, Some(Path::new(images)))?)),
        ["measure", set] => measure(&Pairs::load(set, None)?),
        ["measure", set, images] => measure(&Pairs::load(set, Some(Path::new(images)))?),
        ["corrupt", set, cases] => corrupt(&Pairs::load(set, None)?, cases.parse()?),
        ["pictures", kind, folder] => pictures(kind.parse()?, Path::new(folder)),
        _ => {
            Err("image_quality fit SET [IMAGES] | measure SET [IMAGES] | corrupt SET CASES | pictures KIND DIR".into())
        }
    }
}

/// The cases of a set with at least one picture: their names, groups and files.
struct Pairs {
    cases: Vec<(CaseId, String, [Vec<PathBuf>; 2])>,
}

impl Pairs {
    fn load(set: &str, images: Option<&Path>) -> Outcome<Self> {
        let (kind, folder) = set.split_once('=').ok_or("say KIND=DIR")?;
        let set: CaseSet = kind.parse::<DataSetKind>()?.load(Path::new(folder))?;
        let there = |path: &PathBuf| match images {
            Some(folder) => Some(folder.join(path.file_name()?)).filter(|path| path.exists()),
            None => Some(path.clone()),
        };
        let files = |images: &[CaseImage]| images.iter().map(|image| there(&image.path)).collect::<Option<Vec<_>>>();
        let cases = set.cases.iter().filter_map(|case| {
            let files = [files(case.images(Modality::Clinical))?, files(case.images(Modality::Dermoscopic))?];
            Some((case.id.clone(), case.group.to_string(), files))
        });
        Ok(Self { cases: cases.filter(|(.., files)| files.iter().any(|files| !files.is_empty())).collect() })
    }

    /// Whether each case is in the half that the rule is fitted on: the first bit of the SHA-256 of its group is 0.
    fn fitted_half(&self) -> Vec<bool> {
        self.cases.iter().map(|(_, group, _)| Sha256::digest(group.as_bytes())[0] < 128).collect()
    }

    /// What `look` gives for each picture of each case.
    fn map<T: Send>(
        &self,
        look: impl Fn(&CaseId, Modality, &RgbPixels) -> T + Sync,
    ) -> Result<Vec<[Vec<T>; 2]>, DataError> {
        let of_case = |(id, _, files): &(CaseId, String, [Vec<PathBuf>; 2])| {
            let of_kind = |at: usize, kind: Modality| -> Result<Vec<T>, DataError> {
                let pixels = files[at].iter().map(|path| decode(path, Strictness::Strict));
                pixels.map(|pixels| Ok(look(id, kind, &pixels?))).collect()
            };
            Ok([of_kind(0, Modality::Clinical)?, of_kind(1, Modality::Dermoscopic)?])
        };
        self.cases.par_iter().map(of_case).collect()
    }
}

/// Fits the rule, and says what it tells right: in both halves, and in other copies of the half that it was not fitted on.
fn fit(pairs: &Pairs, copies: Option<&Pairs>) -> Outcome<()> {
    let features = pairs.map(|_, _, pixels| ViewRule::features(pixels))?;
    let half = pairs.fitted_half();
    let mut rows: Vec<(&Features, f64)> = Vec::new();
    for (case, _) in features.iter().zip(&half).filter(|(_, is_fitted)| **is_fitted) {
        rows.extend(case[0].iter().map(|features| (features, 0.0)));
        rows.extend(case[1].iter().map(|features| (features, 1.0)));
    }
    for ridge in RIDGES {
        let rule = logistic_regression(&rows, ridge);
        println!("ridge {ridge}, intercept {:?}", rule.intercept);
        for (name, weight) in ViewRule::names().iter().zip(rule.weights) {
            println!("{weight:?}, // {name}");
        }
        told_right("fitted half", &scores_of_half(&features, &half, true, &rule));
        told_right("other half", &scores_of_half(&features, &half, false, &rule));
        if let Some(copies) = copies {
            let features = copies.map(|_, _, pixels| ViewRule::features(pixels))?;
            let scores = scores_of_half(&features, &copies.fitted_half(), false, &rule);
            told_right("other copies of the other half", &scores);
        }
    }
    Ok(())
}

type Features = [f64; ViewRule::FEATURES];

/// The scores of the pictures of each case of one of the halves.
fn scores_of_half(features: &[[Vec<Features>; 2]], half: &[bool], wanted: bool, rule: &ViewRule) -> Vec<[Vec<f64>; 2]> {
    let of_half = features.iter().zip(half).filter(|(_, is_fitted)| **is_fitted == wanted);
    let score = |pictures: &Vec<Features>| pictures.iter().map(|features| rule.score(features)).collect();
    of_half.map(|(case, _)| case.each_ref().map(score)).collect()
}

/// Logistic regression with a ridge penalty on standardized features, by Newton's method; the weights are those of the features as
/// they are, rounded to six digits.
fn logistic_regression(rows: &[(&Features, f64)], ridge: f64) -> ViewRule {
    const WIDTH: usize = ViewRule::FEATURES + 1;
    let count = rows.len() as f64;
    let mean: Vec<f64> =
        (0..ViewRule::FEATURES).map(|at| rows.iter().map(|(row, _)| row[at]).sum::<f64>() / count).collect();
    let deviation: Vec<f64> = (0..ViewRule::FEATURES)
        .map(|at| (rows.iter().map(|(row, _)| (row[at] - mean[at]).powi(2)).sum::<f64>() / count).sqrt())
        .collect();
    let standardized: Vec<[f64; WIDTH]> = rows
        .iter()
        .map(|(row, _)| {
            std::array::from_fn(|at| if at + 1 == WIDTH { 1.0 } else { (row[at] - mean[at]) / deviation[at] })
        })
        .collect();
    let mut weights = [0.0; WIDTH];
    for _ in 0..STEPS {
        let (mut gradient, mut hessian) = ([0.0; WIDTH], vec![[0.0; WIDTH]; WIDTH]);
        for at in 0..ViewRule::FEATURES {
            gradient[at] = ridge * weights[at];
            hessian[at][at] = ridge;
        }
        for (row, (_, label)) in standardized.iter().zip(rows) {
            let score: f64 = row.iter().zip(weights).map(|(value, weight)| value * weight).sum();
            let probability = 1.0 / (1.0 + libm::exp(-score));
            for at in 0..WIDTH {
                gradient[at] += (probability - label) * row[at];
                for other in 0..WIDTH {
                    hessian[at][other] += probability * (1.0 - probability) * row[at] * row[other];
                }
            }
        }
        let step = solved(hessian, gradient);
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= step);
    }
    let six_digits = |value: f64| format!("{value:.5e}").parse::<f64>().expect("a number");
    let own: [f64; ViewRule::FEATURES] = std::array::from_fn(|at| six_digits(weights[at] / deviation[at]));
    let shift: f64 = own.iter().zip(&mean).map(|(weight, mean)| weight * mean).sum();
    ViewRule { intercept: six_digits(weights[WIDTH - 1] - shift), weights: own }
}

/// The solution of a system of linear equations with a positive definite matrix, by elimination.
fn solved<const N: usize>(mut matrix: Vec<[f64; N]>, mut right: [f64; N]) -> [f64; N] {
    for pivot in 0..N {
        for row in pivot + 1..N {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let of_pivot = matrix[pivot];
            matrix[row].iter_mut().zip(of_pivot).skip(pivot).for_each(|(value, other)| *value -= factor * other);
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

/// Says how many single pictures and pairs a rule tells right.
fn told_right(name: &str, scores: &[[Vec<f64>; 2]]) {
    let share =
        |right: usize, all: usize| format!("{right} of {all} ({:.2} %)", 100.0 * right as f64 / all.max(1) as f64);
    let of_kind = |at: usize| scores.iter().flat_map(move |scores| scores[at].iter().copied());
    let (clinical, dermoscopic) = (of_kind(0).collect::<Vec<_>>(), of_kind(1).collect::<Vec<_>>());
    let right = clinical.iter().filter(|score| **score < 0.0).count();
    println!("{name}: single clinical pictures told right {}", share(right, clinical.len()));
    let right = dermoscopic.iter().filter(|score| **score > 0.0).count();
    println!("{name}: single dermoscopic pictures told right {}", share(right, dermoscopic.len()));
    let differences: Vec<f64> = scores
        .iter()
        .filter(|[clinical, dermoscopic]| !clinical.is_empty() && !dermoscopic.is_empty())
        .map(|[clinical, dermoscopic]| dermoscopic[0] - clinical[0])
        .collect();
    let right = differences.iter().filter(|difference| **difference > 0.0).count();
    println!("{name}: pairs told right {}", share(right, differences.len()));
    for margin in [0.5, 1.0, 1.5, 2.0, 3.0] {
        let (found, wrong) =
            (count_above(&differences, margin), differences.iter().filter(|value| **value < -margin).count());
        println!(
            "{name}: margin {margin}: exchanged pairs found {}, pairs called exchanged {}",
            share(found, differences.len()),
            share(wrong, differences.len())
        );
    }
    for margin in [2.0, 3.0, 4.0, 5.0, 6.0] {
        let negative: Vec<f64> = dermoscopic.iter().map(|score| -score).collect();
        println!(
            "{name}: single, margin {margin}: clinical called dermoscopic {}, dermoscopic called clinical {}; found \
             {} of dermoscopic given as clinical",
            share(count_above(&clinical, margin), clinical.len()),
            share(count_above(&negative, margin), dermoscopic.len()),
            share(count_above(&dermoscopic, margin), dermoscopic.len())
        );
    }
}

fn count_above(values: &[f64], margin: f64) -> usize {
    values.iter().filter(|value| **value > margin).count()
}

fn measure(pairs: &Pairs) -> Outcome<()> {
    let measures = pairs.map(|_, _, pixels| ImageMeasures::of(pixels))?;
    println!("{} cases", measures.len());
    for (at, kind) in Modality::BOTH.into_iter().enumerate() {
        let of_kind: Vec<&ImageMeasures> = measures.iter().flat_map(|case| &case[at]).collect();
        if !of_kind.is_empty() {
            print_quantiles(kind, &of_kind);
        }
    }
    let mut differences: Vec<f64> = measures
        .iter()
        .filter(|case| case.iter().all(|of| !of.is_empty()))
        .map(|case| case[0][0].difference(&case[1][0]))
        .collect();
    if !differences.is_empty() {
        println!("difference of the two: {}", quantiles(&mut differences));
    }
    let half = pairs.fitted_half();
    let scores: Vec<[Vec<f64>; 2]> = measures
        .iter()
        .map(|case| case.each_ref().map(|of| of.iter().map(|image| image.dermoscopic).collect()))
        .collect();
    let held_out = scores.into_iter().zip(&half).filter(|(_, fitted)| !**fitted).map(|(scores, _)| scores);
    let held_out: Vec<[Vec<f64>; 2]> = held_out.collect();
    told_right("not of the fitted half", &held_out);
    print_findings("as they are", &measures);
    let exchanged: Vec<[Vec<ImageMeasures>; 2]> =
        measures.iter().map(|[clinical, dermoscopic]| [dermoscopic.clone(), clinical.clone()]).collect();
    print_findings("exchanged", &exchanged);
    let twice: Vec<[Vec<ImageMeasures>; 2]> =
        measures.iter().map(|[clinical, _]| [clinical.clone(), clinical.clone()]).collect();
    print_findings("the clinical one twice", &twice);

    let files = pairs.cases.iter().flat_map(|(.., files)| files.iter().flatten()).take(100);
    let pixels: Vec<RgbPixels> = files.map(|path| decode(path, Strictness::Strict)).collect::<Result<_, _>>()?;
    let started = Instant::now();
    let sides: usize = pixels.iter().map(|pixels| ImageMeasures::of(pixels).width).sum();
    let time = started.elapsed().as_secs_f64() * 1e3 / pixels.len().max(1) as f64;
    println!("{time:.2} ms for a picture, {} of {} pixels wide on average", pixels.len(), sides / pixels.len().max(1));
    Ok(())
}

fn print_quantiles(kind: Modality, measures: &[&ImageMeasures]) {
    type Number = fn(&ImageMeasures) -> f64;
    let numbers: [(&str, Number); 8] = [
        ("shorter side", |image| image.shorter_side() as f64),
        ("brightness", |image| image.brightness),
        ("darkest", |image| image.darkest),
        ("brightest", |image| image.brightest),
        ("range", |image| image.range),
        ("skin", |image| image.skin),
        ("sharpness", |image| image.sharpness),
        ("dermoscopic", |image| image.dermoscopic),
    ];
    println!("{kind} pictures: {}; per cent {QUANTILES:?}", measures.len());
    for (name, number) in numbers {
        let mut values: Vec<f64> = measures.iter().map(|image| number(image)).collect();
        println!("  {name:14} {}", quantiles(&mut values));
    }
}

fn quantiles(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let at = |per_cent: f64| values[((values.len() - 1) as f64 * per_cent / 100.0).round() as usize];
    QUANTILES.map(|per_cent| format!("{:9.3}", at(per_cent))).join("")
}

fn findings_of(case: &[Vec<ImageMeasures>; 2]) -> Vec<QualityFinding> {
    let [clinical, dermoscopic] = case.each_ref().map(|images| images.iter().collect::<Vec<_>>());
    QualityThresholds::default().findings(&clinical, &dermoscopic)
}

/// Says in how many cases each finding is, by the kind of picture.
fn print_findings(name: &str, cases: &[[Vec<ImageMeasures>; 2]]) {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut without = 0;
    for case in cases {
        let findings = findings_of(case);
        without += usize::from(findings.is_empty());
        for finding in findings {
            let image = finding.image.map_or("both", Modality::name);
            *counts.entry((finding.kind.to_string(), image)).or_default() += 1;
        }
    }
    println!("{name}: {without} of {} cases without a finding", cases.len());
    for ((finding, image), count) in counts {
        println!("  {finding:12} {image:12} {count:6} ({:.2} %)", 100.0 * count as f64 / cases.len() as f64);
    }
}

/// Says how often each finding is there under each corruption.
fn corrupt(pairs: &Pairs, cases: usize) -> Outcome<()> {
    let step = (pairs.cases.len() / cases.max(1)).max(1);
    let pairs = Pairs { cases: pairs.cases.iter().step_by(step).cloned().collect() };
    println!("{} cases; per cent of them with the finding in any picture, at severities 1 to 5", pairs.cases.len());
    for corruption in Corruption::ALL {
        let mut shares: BTreeMap<&str, [f64; 5]> = BTreeMap::new();
        for severity in Severity::ALL {
            let how = ImageCorruption { corruption, severity, only: None, seed: 0 };
            let measures = pairs.map(|id, kind, pixels| ImageMeasures::of(&how.apply(pixels, id, kind, 0)))?;
            for case in &measures {
                let findings = findings_of(case);
                for kind in
                    FindingKind::ALL.into_iter().filter(|kind| findings.iter().any(|finding| finding.kind == *kind))
                {
                    shares.entry(kind.name()).or_default()[usize::from(severity.get()) - 1] +=
                        100.0 / measures.len() as f64;
                }
            }
        }
        println!("{corruption}");
        for (finding, shares) in shares {
            println!("  {finding:12} {}", shares.map(|share| format!("{share:7.1}")).join(""));
        }
    }
    Ok(())
}

fn pictures(kind: Modality, folder: &Path) -> Outcome<()> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    for file in files {
        let Ok(pixels) = decode(&file, Strictness::Strict) else { continue };
        let image = ImageMeasures::of(&pixels);
        let findings = match kind {
            Modality::Clinical => QualityThresholds::default().findings(&[&image], &[]),
            Modality::Dermoscopic => QualityThresholds::default().findings(&[], &[&image]),
        };
        let words: Vec<&str> = findings.iter().map(|finding| finding.kind.name()).collect();
        println!(
            "{}: {} x {}, brightness {}, range {}, skin {:.2}, sharpness {:.1}, dermoscopic {:.1}: {}",
            file.file_name().unwrap_or_default().to_string_lossy(),
            image.width,
            image.height,
            image.brightness,
            image.range,
            image.skin,
            image.sharpness,
            image.dermoscopic,
            words.join(" ")
        );
    }
    Ok(())
}
