//! `dermafuse check`: an experiment and its data, looked at without training.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use dermafuse::backbones::parameter_count;
use dermafuse::data::{AlikeImage, CaseSet, LabelPair, Modality, NearDuplicate, NearDuplicates, Sampling};
use dermafuse::networks::NetworkConfig;
use dermafuse::recipes::{
    Plan, PlannedTraining, TerminalProgress, Workplace, near_duplicate_page, near_duplicate_sentences,
};
use dermafuse::schema::Shard;
use serde_json::{Value, json};

use crate::failure::ProgramResult;
use crate::terminal::{print_result, say, say_part};
use crate::train::{ExperimentArguments, describe};

/// Look at an experiment and its data without training: counts, classes, groups, missing and damaged images, what would run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// Also train a few batches, to say how long an epoch takes
    #[arg(long)]
    time: bool,
    /// Also look for images of different cases that look alike: between parts, under two labels, of different groups
    #[arg(long)]
    near_duplicates: bool,
    /// In how many of 256 bits the hashes of such images differ at most, up to 48
    #[arg(long, value_name = "BITS", default_value_t = 32, requires = "near_duplicates")]
    distance: u32,
    /// Write a page that shows them side by side
    #[arg(long, value_name = "FILE.html", requires = "near_duplicates")]
    page: Option<PathBuf>,
    /// Print JSON instead of text: the counts, and every pair that looks alike
    #[arg(long, conflicts_with = "time")]
    json: bool,
}

pub(crate) fn run(arguments: &Check) -> ProgramResult {
    let experiment = arguments.experiment.read()?;
    let devices = arguments.experiment.devices(&experiment)?;
    let plan = arguments.experiment.plan(&experiment)?;
    if !arguments.json {
        describe(&plan);
        for stage in &plan.rounds[0].stages {
            print_classes(stage)?;
            print_groups(stage)?;
        }
    }
    let place = Workplace::on_all(&devices);
    plan.check(place, &mut TerminalProgress::default())?;
    if let Some(sweep) = arguments.experiment.sweep()? {
        let planned = sweep.plan(place)?;
        planned.check_shard(Shard::WHOLE, place, &mut TerminalProgress::default())?;
        if !arguments.json {
            say!("a sweep of {} trials, {} trainings, before the chosen one", sweep.trials.len(), planned.trainings());
        }
    }
    let alike = match arguments.near_duplicates {
        true => Some(plan.near_duplicates(arguments.distance, &mut TerminalProgress::default())?),
        false => None,
    };
    let set = &plan.rounds[0].stages.last().ok_or("the experiment has no training")?.set;
    if let (Some(alike), Some(page)) = (&alike, &arguments.page) {
        near_duplicate_page(set, alike).write(page)?;
    }
    if arguments.json {
        let json = json!({ "data": data_json(&plan), "near_duplicates": alike.as_ref().map(near_duplicates_json) });
        return print_result(serde_json::to_string_pretty(&json)? + "\n");
    }
    say!("\nEvery check that needs no training has passed.\n");
    for stage in &plan.rounds[0].stages {
        let recipe = &stage.protocol.first_stage;
        let name = if stage.name.is_empty() { String::new() } else { format!("stage {}: ", stage.name) };
        let parameters = parameter_count(&stage.network()?.init(place.device)?);
        let (epochs, trainings) = (recipe.training.epochs, stage.protocol.trainings());
        say!("{name}{}, {parameters} parameters", kind_of(&recipe.network));
        let (rounds, final_fit) = (plan.rounds.len(), plan.final_fit.iter().len());
        let and_final_fit = if final_fit > 0 { ", and in the final fit" } else { "" };
        say!("{name}{trainings} training(s) of at most {epochs} epochs in each of {rounds} round(s){and_final_fit}");
        if arguments.time && trainings > 0 {
            match seconds_an_epoch(stage, place) {
                Ok(seconds) => {
                    // Each member of an ensemble was tried.
                    let all = whole(seconds, epochs, trainings / recipe.members(), rounds + final_fit);
                    say!("{name}about {seconds:.0} s an epoch, {} in all at most", length(all));
                }
                Err(error) => say!("{name}the time of an epoch cannot be told: {error}"),
            }
        }
    }
    if let Some(alike) = &alike {
        say!();
        near_duplicate_sentences(alike).iter().for_each(|sentence| say!("{sentence}"));
        if let Some(page) = &arguments.page {
            say!("written to {}", page.display());
        }
    }
    Ok(())
}

/// How many cases each part of the first round has, and what is to be said of them.
fn data_json(plan: &Plan) -> Value {
    let stages = plan.rounds[0].stages.iter().map(|stage| {
        let (set, split) = (&stage.set, &stage.split);
        let groups: BTreeSet<&str> = set.cases.iter().map(|case| case.group.as_str()).collect();
        json!({
            "stage": stage.name,
            "data_set": set.name,
            "cases": set.len(),
            "groups": groups.len(),
            "training": split.train.len(),
            "validation": split.valid.len(),
            "test": split.test.len(),
        })
    });
    let final_fit = plan.final_fit.as_ref().and_then(|round| round.stages.last());
    let final_fit = final_fit
        .map(|PlannedTraining { split, .. }| json!({ "training": split.train.len(), "validation": split.valid.len() }));
    json!({
        "rounds": plan.rounds.len(),
        "first_round": stages.collect::<Vec<_>>(),
        "final_fit": final_fit,
        "notes": plan.notes,
    })
}

fn near_duplicates_json(found: &NearDuplicates) -> Value {
    let image = |AlikeImage { case, modality, path, part }: &AlikeImage| json!({ "case": case, "image": modality.name(), "file": path.display().to_string(), "part": part });
    let pair = |NearDuplicate { first, second, distance, same_group, labels }: &NearDuplicate| {
        let labels = labels
            .iter()
            .map(|LabelPair { task, first, second }| json!({ "task": task, "first": first, "second": second }));
        json!({
            "first": image(first),
            "second": image(second),
            "distance": distance,
            "same_group": same_group,
            "labels": labels.collect::<Vec<_>>(),
        })
    };
    json!({
        "images": found.images,
        "distance": found.distance,
        "label_conflicts": found.label_conflicts().count(),
        "between_parts": found.between_parts().count(),
        "of_other_groups": found.of_other_groups().count(),
        "test_cases_like_training": found.cases_alike("test", "training"),
        "validation_cases_like_training": found.cases_alike("validation", "training"),
        "test_cases_like_validation": found.cases_alike("test", "validation"),
        "pairs": found.pairs.iter().map(pair).collect::<Vec<_>>(),
    })
}

/// The seconds of all epochs.
fn whole(seconds: f64, epochs: usize, trainings: usize, rounds: usize) -> f64 {
    // The second of two trainings learns from half of the cases.
    let trainings = if trainings == 2 { 1.5 } else { 1.0 };
    seconds * epochs as f64 * trainings * rounds as f64
}

/// Seconds, minutes or hours, as people would say.
fn length(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => format!("{:.1} hours", seconds / 3600.0),
    }
}

fn kind_of(network: &NetworkConfig) -> String {
    let backbones: Vec<&str> = network.backbones().iter().map(|kind| kind.name()).collect();
    let kind = network.kind().replace('_', " ");
    if backbones.is_empty() { kind } else { format!("{kind} ({})", backbones.join(", ")) }
}

/// The classes of every task in every part.
fn print_classes(stage: &PlannedTraining) -> ProgramResult {
    let (set, split) = (&stage.set, &stage.split);
    for (index, task) in set.tasks.iter().enumerate() {
        let counts = |rows: &[usize]| set.view(rows.to_vec())?.class_counts(index);
        let (train, valid, test) = (counts(&split.train)?, counts(&split.valid)?, counts(&split.test)?);
        say_part!("  {:<28}", task.name);
        for (class, name) in task.classes.iter().enumerate() {
            say_part!("  {name} {}/{}/{}", train[class], valid[class], test[class]);
        }
        say!();
        let absent: Vec<&str> =
            task.classes.iter().zip(&train).filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str()).collect();
        if !absent.is_empty() {
            say!("  note: {}: no training case of {}", task.name, absent.join(", "));
        }
    }
    Ok(())
}

/// How many groups there are, and which images are missing.
fn print_groups(stage: &PlannedTraining) -> ProgramResult {
    let (set, split) = (&stage.set, &stage.split);
    let cases = set.view([&split.train[..], &split.valid, &split.test].concat())?;
    let groups: BTreeSet<&str> = cases.cases().map(|case| case.group.as_str()).collect();
    let clinical = cases.cases().filter(|case| case.has(Modality::Clinical)).count();
    let dermoscopic = cases.cases().filter(|case| case.has(Modality::Dermoscopic)).count();
    say!(
        "  {} cases in {} groups (patients, lesions, identical images); {clinical} with a clinical photo, {dermoscopic} with a \
         dermoscopic image",
        cases.len(),
        groups.len()
    );
    let looks = cases.cases().map(|case| case.looks(Modality::BOTH));
    if let Some(note) = stage.protocol.first_stage.several_images.note("cases", looks) {
        say!("  note: {note}");
    }
    split.leaks().iter().for_each(|leak| say!("  note: {leak}"));
    Ok(())
}

/// So many of the rows, or a few more: one of each class of each task, without which losses that weigh classes cannot start, and the first others.
fn some_of_each_class(set: &CaseSet, rows: &[usize], count: usize) -> Vec<usize> {
    let labels =
        |row: usize| set.cases[row].labels.iter().enumerate().filter_map(|(task, label)| Some((task, (*label)?)));
    let mut seen = BTreeSet::new();
    let (mut chosen, others): (Vec<usize>, Vec<usize>) =
        rows.iter().partition(|&&row| labels(row).filter(|label| seen.insert(*label)).count() > 0);
    chosen.extend(others.into_iter().take(count.saturating_sub(chosen.len())));
    chosen
}

/// Trains on a few batches, and on none of the others.
fn seconds_an_epoch(stage: &PlannedTraining, place: Workplace<'_>) -> Result<f64, Box<dyn std::error::Error>> {
    let mut protocol = stage.protocol.clone();
    let (mut split, training) = (stage.split.clone(), &mut protocol.first_stage.training);
    let batch = training.sampling.batch_size(&stage.set.tasks).unwrap_or(training.batch_size);
    let all = split.train.len();
    split.train = some_of_each_class(&stage.set, &split.train, 4 * batch);
    split.valid.truncate(batch);
    split.test.truncate(1);
    (training.epochs, training.averaging, training.unfreezing, training.patience) = (1, None, None, None);
    (training.sampling, training.batch_size, training.warm_up_steps) = (Sampling::EachOnce, batch, 0);
    training.progressive_size = None;
    // What comes after the network wants more cases than these.
    (protocol.second_stage, protocol.answer) = (None, dermafuse::recipes::Answer::All);
    (protocol.calibrated, protocol.abstention, protocol.point) = (None, None, None);
    (protocol.out_of_distribution.cases, protocol.points, protocol.groups) = (0, BTreeMap::new(), Vec::new());
    let started = Instant::now();
    protocol.run(&stage.set, &split, place, &mut dermafuse::train::Silent)?;
    Ok(started.elapsed().as_secs_f64() * all as f64 / split.train.len() as f64)
}

#[cfg(test)]
mod tests {
    use dermafuse::schema::{Case, Task, TaskSet};

    use super::*;

    #[test]
    fn rare_classes_are_among_a_few_rows() {
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "diagnosis", ["a", "b", "c"])]).unwrap();
        let labels = [Some(0), Some(0), None, Some(0), Some(1), Some(0), Some(1), Some(2)];
        let case = |(at, label): (usize, Option<usize>)| Case { labels: vec![label], ..Case::new(at.to_string()) };
        let cases = labels.into_iter().enumerate().map(case).collect();
        let (name, fields) = ("mine".to_owned(), vec![]);
        let set = CaseSet { name, synthetic: true, tasks, fields, cases, split: None, notes: vec![] };
        let rows = [1, 2, 3, 4, 5, 6, 7];
        assert_eq!(some_of_each_class(&set, &rows, 5), [1, 4, 7, 2, 3]);
        assert_eq!(some_of_each_class(&set, &rows, 2), [1, 4, 7]);
        assert_eq!(some_of_each_class(&set, &rows, 99).len(), 7);
    }
}
