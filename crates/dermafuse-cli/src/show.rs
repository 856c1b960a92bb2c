//! The verb `show`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use dermafuse::backbones::{BackboneKind, parameter_count};
use dermafuse::data::{ModalityDropout, NumberRange, OutsideModel};
use dermafuse::ensemble::{
    BasisCalibration, CalibrationMap, FeatureHead, FeatureHeads, ModelPrevalence, PointValidation, TaskCalibration,
};
use dermafuse::infer::{Bundle, BundleDescription, MODEL_FILE, ModelCard};
use dermafuse::networks::Network;
use dermafuse::schema::{Field, FieldKind, FieldRole, FittedGroup, PredictionSets, SeveralImages};
use serde_json::{Value, json};

use crate::failure::{Failure, ProgramResult};
use crate::model::ModelArguments;
use crate::terminal::print_result;

/// Show what a saved model is and what it takes.
///
/// That is what it was trained on, what it predicts and from what, its network and its second stage, and what must be
/// said of it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn show(arguments: &Arguments) -> ProgramResult {
    print(&arguments.model.load()?, &arguments.model.path()?, arguments.json)
}

/// Prints the card of a model that lies at a path.
///
/// # Errors
/// A file that is gone; an output that cannot be written.
pub(crate) fn print(bundle: &Bundle, path: &Path, json: bool) -> ProgramResult {
    let card = card(bundle, path)?;
    match json {
        true => print_result(&(serde_json::to_string_pretty(&card)? + "\n")),
        false => print_result(text_of(bundle, &card)),
    }
}

/// Everything that is said of the model, for programs.
fn card(bundle: &Bundle, path: &Path) -> Result<Value, Failure> {
    let BundleDescription {
        data_set,
        synthetic,
        tasks,
        encoder,
        network,
        preprocess,
        augmentation,
        several_images,
        quality,
        out_of_distribution,
        activation_ranges,
        modality_dropout,
        known_cases,
        groups,
        prediction_sets,
        performance,
        outside,
        card: _,
        heads,
    } = &bundle.description;
    let (file, bytes) = file_and_size(path)?;
    let looks_at = bundle.network.modalities();
    let branches: Vec<&str> = bundle.network.branches().iter().map(|branch| branch.name).collect();
    let stage = &bundle.two_stage;
    let weights: Vec<Value> = stage
        .branch_weights
        .names()
        .iter()
        .zip(stage.branch_weights.values())
        .map(|(name, weight)| json!({ "branch": name, "weight": weight }))
        .collect();
    let [training, selection, test] = known_cases.counts();
    Ok(json!({
        "file": file.display().to_string(),
        "bytes": bytes,
        "data_set": data_set,
        "synthetic": synthetic,
        "tasks": tasks,
        "fields": encoder.fields().collect::<Vec<_>>(),
        "encoded_columns": encoder.width(),
        "leaky_inputs": encoder.uses_post_diagnosis(),
        "network": network,
        "backbones": network.backbones().into_iter().map(BackboneKind::name).collect::<Vec<_>>(),
        "parameters": parameter_count(&bundle.network),
        "looks_at": {
            "clinical": looks_at.clinical,
            "dermoscopic": looks_at.dermoscopic,
            "metadata": looks_at.metadata || stage.second_stage.is_some(),
        },
        "branches": branches,
        "preprocess": preprocess,
        "views": augmentation.views().len(),
        "several_images": several_images,
        "branch_weights": weights,
        "fuse_space": stage.fuse_space,
        "second_stage": stage.second_stage.as_ref().map(|second| json!({
            "features": second.cluster.features(),
            "weight_of_first_stage": stage.mix,
        })),
        "outside_models": outside,
        "points": stage.points,
        "point": stage.point,
        "calibration": stage.calibration,
        "prevalence": stage.prevalence,
        "known_cases": {
            "data_sets": known_cases.data_sets().collect::<Vec<_>>(),
            "training": training,
            "selection": selection,
        "quality": quality,
        "out_of_distribution": out_of_distribution.as_ref().map(|fitted| {
            let (references, held_out) = fitted.references();
            json!({ "references": references, "held_out": held_out, "note_beyond": fitted.note_beyond() })
        }),
            "test": test,
        },
        "modality_dropout": modality_dropout,
        "activation_ranges": activation_ranges,
        "groups": groups,
        "prediction_sets": prediction_sets,
        "performance": performance,
        "card": bundle.description.card,
        "heads": heads.as_ref().map(heads_of),
        "notes": bundle.notes(),
    }))
}

/// The classifier of each head.
fn heads_of(heads: &FeatureHeads) -> BTreeMap<String, String> {
    let kind = |head: &FeatureHead| head.cluster.report().params.classifier.kind().to_string();
    heads.heads().iter().map(|head| (head.inputs.branch.clone(), kind(head))).collect()
}

/// The model's file and its size; of a folder of the older format, the folder and the size of its files.
fn file_and_size(path: &Path) -> Result<(PathBuf, u64), Failure> {
    let file = path.join(MODEL_FILE);
    if path.is_dir() && !file.is_file() {
        let mut bytes = 0;
        for entry in fs::read_dir(path)? {
            let facts = entry?.metadata()?;
            bytes += if facts.is_file() { facts.len() } else { 0 };
        }
        return Ok((path.to_owned(), bytes));
    }
    let file = if path.is_dir() { file } else { path.to_owned() };
    let bytes = fs::metadata(&file)?.len();
    Ok((file, bytes))
}

/// The card for people: a heading and what it says, a line or more each.
fn text_of(bundle: &Bundle, card: &Value) -> String {
    let BundleDescription {
        data_set,
        synthetic,
        tasks,
        encoder,
        network,
        preprocess,
        quality: _,
        out_of_distribution,
        activation_ranges,
        augmentation,
        several_images,
        modality_dropout,
        known_cases,
        groups,
        prediction_sets,
        performance,
        outside,
        card: of_makers,
        heads,
    } = &bundle.description;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let megabytes = card["bytes"].as_f64().unwrap_or(0.0) / 1e6;
    lines.push(("file", format!("{} ({megabytes:.1} MB)", card["file"].as_str().unwrap_or_default())));
    let of_synthetic = if *synthetic { " (synthetic images: the model knows nothing of skin)" } else { "" };
    lines.push(("trained on", format!("{data_set}{of_synthetic}")));
    if let Some(heads) = heads {
        let heads = heads_of(heads).into_iter().map(|(branch, classifier)| format!("{branch}: {classifier}"));
        lines.push(("heads", heads.collect::<Vec<_>>().join(", ")));
    }
    if let Some(card) = of_makers {
        if !card.experiment.is_empty() {
            lines.push(("experiment", card.experiment.clone()));
        }
        if let Some(training) = &card.training {
            lines.push(("training", training.to_string()));
        }
        if let Some(expected) = &card.expected {
            lines.push(("expected", expected.to_string()));
        }
    }
    let [training, selection, test] = known_cases.counts();
    lines.push(match known_cases.is_empty() {
        true => ("cases", "the model does not say which cases made it".into()),
        false => ("cases", format!("{training} trained it, {selection} selected it, {test} tested it")),
    });
    for (at, task) in tasks.iter().enumerate() {
        lines.push((if at == 0 { "tasks" } else { "" }, format!("{}: {}", task.name, task.classes.join(", "))));
    }
    let fields: Vec<String> =
        encoder.fields().map(|field| field_text(field, encoder.training_range(&field.name))).collect();
    match fields.is_empty() {
        true => lines.push(("fields", "none: the model uses no record".into())),
        false => {
            lines.extend(fields.into_iter().enumerate().map(|(at, field)| (if at == 0 { "fields" } else { "" }, field)))
        }
    }
    let looks_at = ["clinical", "dermoscopic", "metadata"].into_iter().filter(|view| card["looks_at"][view] == true);
    lines.push(("looks at", looks_at.collect::<Vec<_>>().join(", ")));
    let backbones: Vec<&str> = network.backbones().into_iter().map(BackboneKind::name).collect();
    let kind = card["network"]["kind"].as_str().unwrap_or_default();
    let parameters = card["parameters"].as_u64().unwrap_or_default();
    let of_backbones = if backbones.is_empty() { String::new() } else { format!(" of {}", backbones.join(" and ")) };
    lines.push(("network", format!("{kind}{of_backbones}, {parameters} parameters")));
    lines.push((
        "images",
        format!(
            "{} x {} pixels, {} {} of each{}",
            preprocess.size,
            preprocess.size,
            augmentation.views().len(),
            if augmentation.views().len() == 1 { "view" } else { "views" },
            match several_images {
                SeveralImages::First => "; of several of a kind the first",
                SeveralImages::MeanOfProbabilities => "; of several of a kind the mean of the probabilities",
            }
        ),
    ));
    if let Some(margin) = preprocess.box_margin {
        let text = format!(
            "cut to the lesion with a margin of {margin} of its longer side, where a box or mask says where it is"
        );
        lines.push(("", text));
    }
    let stage = &bundle.two_stage;
    let weights = stage.branch_weights.names().iter().zip(stage.branch_weights.values());
    let weights: Vec<String> = weights.map(|(name, weight)| format!("{name} {weight:.3}")).collect();
    lines.push(("branch weights", weights.join(", ")));
    lines.push(match &stage.second_stage {
        None => ("second stage", "none: the network answers".into()),
        Some(second) => (
            "second stage",
            format!("a classifier of {} features; the network counts {:.2}", second.cluster.features(), stage.mix),
        ),
    });
    for OutsideModel { name, classes, .. } in outside {
        lines.push(("other model", format!("{name}: asked for as the columns {name}.{{{}}}", classes.join(", "))));
    }
    for point in &stage.points {
        let PointValidation { before, nested, .. } = point.validation;
        let chosen = if stage.point.as_ref() == Some(&point.name) { ", at which it answers" } else { "" };
        let objective = point.objective.name().replace('_', " ");
        lines.push((
            "point",
            format!("{}: {objective} {nested:.3} on validation cases, {before:.3} without it{chosen}", point.name),
        ));
    }
    match &stage.calibration {
        None => lines.push(("calibration", "none: the probabilities are as the model gives them".into())),
        Some(calibration) => {
            let of_answers = calibration.answers.iter().map(calibration_text).enumerate();
            lines.extend(of_answers.map(|(at, text)| (if at == 0 { "calibration" } else { "" }, text)));
        }
    }
    lines.push((
        "prevalence",
        match &stage.prevalence {
            None => "the model does not say which class frequencies its probabilities stand on".into(),
            Some(prevalence) => prevalence.sentence(),
        },
    ));
    if let Some(ModalityDropout { clinical, dermoscopic, metadata }) = modality_dropout {
        let each = [("clinical", clinical), ("dermoscopic", dermoscopic), ("metadata", metadata)];
        let each = each.into_iter().filter(|(_, share)| **share > 0.0);
        let each: Vec<String> = each.map(|(view, share)| format!("{view} {:.0} %", 100.0 * share)).collect();
        lines.push(("trained without", format!("{} of the times, so that it answers without", each.join(", "))));
    }
    lines.extend(groups.iter().map(|group| ("group", group_text(group))));
    if let Some(PredictionSets { error_rate, coverage, .. }) = prediction_sets {
        let kind = coverage.name();
        lines.push(("sets of classes", format!("{kind}, for an error rate of {} per cent", 100.0 * error_rate)));
    }
    if let Some(performance) = performance {
        let all = &performance.all;
        lines.push(("tested", format!("{}: right in {} test cases, per cent", performance.task, all.accuracy)));
    }
    if let Some(fitted) = out_of_distribution {
        let (references, held_out) = fitted.references();
        let kind = if held_out { "validation" } else { "training" };
        let beyond = fitted.note_beyond();
        let text = format!("a case is called unlike the training cases beyond {beyond} % of {references} {kind} cases");
        lines.push(("distance", text));
    }
    if let Some(ranges) = activation_ranges {
        lines.push(("8-bit integers", ranges.sentence()));
    }
    lines.extend(card_lines(of_makers.as_ref()));
    // The prevalence is said already.
    let said = stage.prevalence.as_ref().map(ModelPrevalence::sentence);
    let notes = bundle.notes().into_iter().filter(|note| Some(note) != said.as_ref());
    lines.extend(notes.map(|note| ("note", note)));
    let width = lines.iter().map(|(heading, _)| heading.len()).max().unwrap_or(0);
    lines.into_iter().map(|(heading, text)| format!("{heading:width$}  {text}\n")).collect()
}

/// How answers from a basis are calibrated, task by task.
fn calibration_text(answer: &BasisCalibration) -> String {
    let of_task = |own: &TaskCalibration| match &own.map {
        CalibrationMap::Temperature { temperature } => {
            format!("{} temperature {temperature:.3} ({} cases)", own.task, own.cases)
        }
        map => format!("{} {} ({} cases)", own.task, map.method().name(), own.cases),
    };
    format!("from {}: {}", answer.basis, answer.tasks.iter().map(of_task).collect::<Vec<_>>().join(", "))
}

/// A group of classes and its operating point.
fn group_text(fitted: &FittedGroup) -> String {
    let FittedGroup { group, aim, operating_point } = fitted;
    let point = match operating_point {
        None => "no operating point".to_owned(),
        Some(point) => format!(
            "yes from a probability of {:.4} on, which had a sensitivity of {:.1} and a specificity of {:.1} per cent on {} positive and \
             {} other validation cases",
            point.threshold,
            100.0 * point.sensitivity,
            100.0 * point.specificity,
            point.positives,
            point.negatives
        ),
    };
    let (name, task, yes) = (group.name(), group.task(), group.positive().join(" or "));
    format!("{name}: is the {task} {yes}? For a {} of {} per cent: {point}", aim.name(), 100.0 * aim.share())
}

/// What the makers of the model say of it; a text of several lines keeps them.
fn card_lines(card: Option<&ModelCard>) -> Vec<(&'static str, String)> {
    let heading = |name| match name {
        "intended_use" => "intended use",
        name => name,
    };
    let texts: Vec<(&str, &str)> = card.into_iter().flat_map(|card| card.texts.named()).collect();
    if texts.is_empty() {
        return vec![("licence", "the model does not say under which terms it may be used, nor for what".into())];
    }
    let lines = texts.into_iter().flat_map(|(name, text)| {
        text.trim()
            .lines()
            .enumerate()
            .map(move |(at, line)| (if at == 0 { heading(name) } else { "" }, line.to_owned()))
    });
    lines.collect()
}

fn field_text(field: &Field, training: Option<NumberRange>) -> String {
    let known = match field.role {
        FieldRole::PostDiagnosis => " (known after the diagnosis: it leaks)",
        FieldRole::ImageDerived => " (computed from the image)",
        FieldRole::ModelOutput => " (what another model says)",
        FieldRole::OtherLesions => " (from the patient's other lesions in the table)",
        FieldRole::PreDiagnosis | FieldRole::Provenance => "",
    };
    match &field.kind {
        FieldKind::Numeric => {
            let unit = field.unit.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
            let range = training.map(|NumberRange { lowest, highest }| format!(", {lowest} to {highest} in training"));
            format!("{}: a number{unit}{}{known}", field.name, range.unwrap_or_default())
        }
        FieldKind::Categorical { categories } => format!("{}: {}{known}", field.name, categories.join(", ")),
    }
}
