//! `dermafuse check`: an experiment and its data, looked at without training.

use std::collections::BTreeSet;
use std::time::Instant;

use clap::Args;
use dermafuse::backbones::parameter_count;
use dermafuse::data::{Modality, Sampling};
use dermafuse::networks::NetworkConfig;
use dermafuse::recipes::{PlannedTraining, TerminalProgress, Workplace};
use dermafuse::schema::Shard;

use crate::device::device_of;
use crate::failure::ProgramResult;
use crate::terminal::{say, say_part};
use crate::train::{ExperimentArguments, describe};

/// Looks at an experiment and its data without training: counts, classes, groups, missing and damaged images, what would run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    experiment: ExperimentArguments,
    /// Also train a few batches, to say how long an epoch takes
    #[arg(long)]
    time: bool,
}

pub(crate) fn run(arguments: &Check) -> ProgramResult {
    let experiment = arguments.experiment.read()?;
    let device = device_of(&experiment.machine.device)?;
    let plan = arguments.experiment.plan(&experiment)?;
    describe(&plan);
    for stage in &plan.rounds[0].stages {
        print_classes(stage)?;
        print_groups(stage)?;
    }
    let place = Workplace::on(&device);
    plan.check(place, &mut TerminalProgress::default())?;
    if let Some(sweep) = arguments.experiment.sweep()? {
        let planned = sweep.plan(place)?;
        planned.check_shard(Shard::WHOLE, place, &mut TerminalProgress::default())?;
        say!("a sweep of {} trials, {} trainings, before the chosen one", sweep.trials.len(), planned.trainings());
    }
    say!("\nEvery check that needs no training has passed.\n");
    for stage in &plan.rounds[0].stages {
        let recipe = &stage.protocol.first_stage;
        let name = if stage.name.is_empty() { String::new() } else { format!("stage {}: ", stage.name) };
        let parameters = parameter_count(&stage.network()?.init(&device)?);
        let (epochs, trainings) = (recipe.training.epochs, stage.protocol.trainings());
        say!("{name}{}, {parameters} parameters", kind_of(&recipe.network));
        say!("{name}{trainings} training(s) of at most {epochs} epochs in each of {} round(s)", plan.rounds.len());
        if arguments.time && trainings > 0 {
            match seconds_an_epoch(stage, place) {
                Ok(seconds) => {
                    let all = whole(seconds, epochs, trainings, plan.rounds.len());
                    say!("{name}about {seconds:.0} s an epoch, {} in all at most", length(all));
                }
                Err(error) => say!("{name}the time of an epoch cannot be told: {error}"),
            }
        }
    }
    Ok(())
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

/// Trains on a few batches, and on none of the others.
fn seconds_an_epoch(stage: &PlannedTraining, place: Workplace<'_>) -> Result<f64, Box<dyn std::error::Error>> {
    let mut protocol = stage.protocol.clone();
    let (mut split, batch) = (stage.split.clone(), protocol.first_stage.training.batch_size);
    let all = split.train.len();
    split.train.truncate(4 * batch);
    split.valid.truncate(batch);
    split.test.truncate(1);
    let training = &mut protocol.first_stage.training;
    (training.epochs, training.averaging, training.unfreezing, training.patience) = (1, None, None, None);
    training.sampling = Sampling::EachOnce;
    (protocol.second_stage, protocol.answer) = (None, dermafuse::recipes::Answer::All);
    let started = Instant::now();
    protocol.run(&stage.set, &split, place, &mut dermafuse::train::Silent)?;
    Ok(started.elapsed().as_secs_f64() * all as f64 / split.train.len() as f64)
}
