//! The comparison of the thesis: every structure with every fusion module on every backbone, on the same folds.
//!
//! Paper: thesis Tables 4.1–4.6. Source: the text. Differences: none.

use dermafuse_data::{CaseSet, Split};
use dermafuse_eval::{Comparison, EvalError, MeanDeviation};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{BranchWeights, FuseSpace, Predictions};
use serde::{Deserialize, Serialize};

use crate::selection::balanced_accuracy;
use crate::{CrossValidated, CrossValidation, JointMethod, JointStructure, OneStage, Progress, RecipeError, Workplace};

/// How image and metadata are joined, and what is predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionStructure {
    /// The image alone.
    Image,
    /// JF: joint fusion, one classifier on the fused features.
    Jf,
    /// JIF(OFB): joint individual fusion, only the fusion branch predicts.
    JifOfb,
    /// JIF(All): joint individual fusion, the mean of all three branches.
    JifAll,
}

/// Methods to compare and how each is trained.
#[derive(Clone, Debug)]
pub struct JointFusionGrid {
    /// The methods, each with its recipe; methods that differ in nothing but the backbone are blocks of one comparison.
    pub methods: Vec<(JointMethod, OneStage)>,
    /// The folds.
    pub folds: Vec<Split>,
}

/// A row of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointFusionRow {
    /// `JIF-MMFA(All)`.
    pub name: String,
    /// The method.
    pub method: JointMethod,
    /// What is predicted from; `None` for the record alone, which the thesis does not list.
    pub structure: Option<FusionStructure>,
    /// Balanced accuracy of each fold, in per cent.
    pub balanced_accuracy: Vec<f64>,
    /// Accuracy of each fold, in per cent.
    pub accuracy: Vec<f64>,
}

/// The comparison's numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointFusionTable {
    /// The rows, in the order of the methods; joint-individual fusion has two, OFB and All.
    pub rows: Vec<JointFusionRow>,
}

impl JointFusionGrid {
    /// Runs every method on every fold, in sub-folders named after method and backbone if there is a folder; what is done is
    /// read, not repeated.
    ///
    /// # Errors
    /// As [`CrossValidation::run_fold`]; a fold without any annotated case.
    pub fn run(
        &self,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<JointFusionTable, RecipeError> {
        self.check(None, set, place, progress)?;
        let mut rows = Vec::new();
        self.each_method(place, progress, |method, validation, place, progress| {
            rows.extend(rows_of(method, &validation.run(set, place, progress)?)?);
            Ok(())
        })?;
        Ok(JointFusionTable { rows })
    }

    /// Runs every method on one fold, counted from 0, to share the work among processes: each runs its folds in the same
    /// folder, and a last [`JointFusionGrid::run`] finds all of them.
    ///
    /// # Errors
    /// As [`CrossValidation::run_fold`].
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn run_fold(
        &self,
        fold: usize,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        self.check(Some(fold), set, place, progress)?;
        self.each_method(place, progress, |_, validation, place, progress| {
            validation.run_fold(fold, set, place, progress).map(drop)
        })
    }

    /// Checks every method on one fold, counted from 0, or on all of them, as the runs do first. Nothing is written.
    ///
    /// # Errors
    /// As [`CrossValidation::check`].
    ///
    /// # Panics
    /// If there is no such fold.
    pub fn check(
        &self,
        fold: Option<usize>,
        set: &CaseSet,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), RecipeError> {
        for (method, recipe) in &self.methods {
            let folder = place.folder.map(|folder| folder.join(folder_name(method)));
            let place = Workplace { folder: folder.as_deref(), ..place };
            let validation = self.validation(recipe);
            match fold {
                Some(fold) => validation.check_fold(fold, set, place, progress)?,
                None => validation.check(set, place, progress)?,
            }
        }
        Ok(())
    }

    fn validation(&self, recipe: &OneStage) -> CrossValidation {
        CrossValidation { recipe: recipe.clone(), folds: self.folds.clone(), keep_features: false }
    }

    /// Announces each method and hands it on with its cross-validation and the folder of its own.
    fn each_method(
        &self,
        place: Workplace<'_>,
        progress: &mut dyn Progress,
        mut follow: impl FnMut(&JointMethod, &CrossValidation, Workplace<'_>, &mut dyn Progress) -> Result<(), RecipeError>,
    ) -> Result<(), RecipeError> {
        for (number, (method, recipe)) in self.methods.iter().enumerate() {
            let (count, backbone) = (self.methods.len(), method.backbone.name());
            progress.step(&format!("method {} of {count}: {method} on {backbone}", number + 1));
            let folder = place.folder.map(|folder| folder.join(folder_name(method)));
            let place = Workplace { folder: folder.as_deref(), ..place };
            follow(method, &self.validation(recipe), place, progress)?;
        }
        Ok(())
    }
}

/// `jif-mmfa-resnet50`.
fn folder_name(method: &JointMethod) -> String {
    match method.structure {
        JointStructure::Metadata => "metadata".into(),
        _ => format!("{method}-{}", method.backbone.name()).to_lowercase(),
    }
}

fn rows_of(method: &JointMethod, folds: &CrossValidated) -> Result<Vec<JointFusionRow>, RecipeError> {
    let row = |suffix: &str, structure, weights: Option<BranchWeights>| -> Result<_, RecipeError> {
        let (mut balanced, mut plain) = (Vec::new(), Vec::new());
        for fold in &folds.folds {
            let weights = weights.clone().unwrap_or_else(|| fold.test.equal_weights());
            let predictions: Predictions = fold.test.fuse(&weights, FuseSpace::Probabilities)?;
            balanced.push(100.0 * balanced_accuracy(&predictions)?);
            plain.push(100.0 * predictions.mean_accuracy().unwrap_or(f64::NAN));
        }
        let name = format!("{method}{suffix}");
        Ok(JointFusionRow { name, method: method.clone(), structure, balanced_accuracy: balanced, accuracy: plain })
    };
    Ok(match method.structure {
        JointStructure::Image => vec![row("", Some(FusionStructure::Image), None)?],
        JointStructure::Metadata => vec![row("", None, None)?],
        JointStructure::Joint => vec![row("", Some(FusionStructure::Jf), None)?],
        JointStructure::JointIndividual => vec![
            row("(OFB)", Some(FusionStructure::JifOfb), Some(BranchWeights::new([("fusion", 1.0)])?))?,
            row("(All)", Some(FusionStructure::JifAll), None)?,
        ],
    })
}

impl JointFusionTable {
    /// The names of the rows, each once, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.name.as_str()) {
                names.push(&row.name);
            }
        }
        names
    }

    /// Mean and deviation of the balanced accuracy of a row over all backbones and folds.
    #[must_use]
    pub fn balanced_accuracy(&self, name: &str) -> Option<MeanDeviation> {
        let rows = self.rows.iter().filter(|row| row.name == name);
        MeanDeviation::of(&rows.flat_map(|row| row.balanced_accuracy.iter().copied()).collect::<Vec<_>>())
    }

    /// The tests of the rows' balanced accuracies; a block is a fold on a backbone. Rows without a backbone (the record
    /// alone) and rows that were not run on every backbone are left out.
    ///
    /// # Errors
    /// Fewer than two rows or blocks.
    pub fn comparison(&self) -> Result<Comparison, EvalError> {
        let images = self.rows.iter().filter(|row| row.method.structure != JointStructure::Metadata);
        let mut backbones = Vec::new();
        for row in images {
            if !backbones.contains(&row.method.backbone) {
                backbones.push(row.method.backbone);
            }
        }
        let of = |name: &str, backbone| {
            let row = self.rows.iter().find(|row| row.name == name && row.method.backbone == backbone);
            row.filter(|row| row.method.structure != JointStructure::Metadata)
        };
        let complete = |name: &&str| backbones.iter().all(|&backbone| of(name, backbone).is_some());
        let names: Vec<String> = self.names().into_iter().filter(complete).map(str::to_owned).collect();
        let folds = self.rows.first().map_or(0, |row| row.balanced_accuracy.len());
        let blocks: Vec<String> = backbones
            .iter()
            .flat_map(|backbone| (1..=folds).map(move |fold| format!("{} {fold}", backbone.name())))
            .collect();
        let scores = Array2::from_shape_fn((blocks.len(), names.len()), |(block, method)| {
            let row = of(&names[method], backbones[block / folds]).expect("complete rows have every backbone");
            row.balanced_accuracy[block % folds]
        });
        Comparison::of(&names, &blocks, &scores)
    }
}
