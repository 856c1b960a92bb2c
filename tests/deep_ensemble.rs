//! Networks of several seeds as one model: trained apart, answering together, resumed, saved, asked by the program.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse::infer::Bundle;
use dermafuse::networks::{AnyNetwork, DeepEnsembleConfig, NetworkConfig};
use dermafuse::recipes::{Protocol, ProtocolOutcome, Workplace};
use dermafuse::schema::FuseSpace;
use dermafuse::train::Silent;
use dermafuse_tests::{device_lock, numbers_of, program, small_experiment, small_recipe, small_set, text, train_small};

/// The small recipe, whose network is an ensemble.
fn of_members(recipe: &Protocol, members: usize) -> Protocol {
    let mut recipe = recipe.clone();
    let member = Box::new(recipe.first_stage.network.clone());
    recipe.first_stage.network = NetworkConfig::DeepEnsemble(DeepEnsembleConfig { member, members });
    recipe
}

fn run(recipe: &Protocol, place: Workplace<'_>) -> ProtocolOutcome {
    let (set, split) = small_set();
    recipe.run(&set, &split, place, &mut Silent).unwrap()
}

fn members_of(bundle: &Bundle) -> &[AnyNetwork] {
    match &bundle.network {
        AnyNetwork::DeepEnsemble(ensemble) => ensemble.members(),
        other => panic!("no ensemble: {other:?}"),
    }
}

#[test]
fn members_are_what_they_are_alone_and_answer_with_the_mean_of_their_probabilities() {
    let _lock = device_lock();
    let (set, _) = small_set();
    let device = Device::flex();
    let mut recipe = small_recipe(&set);
    (recipe.first_stage.training.epochs, recipe.second_stage) = (1, None);
    let together = run(&of_members(&recipe, 2), Workplace::on(&device));
    let names: Vec<&str> = together.curves.iter().map(|curve| curve.name.as_str()).collect();
    assert_eq!(names, ["all training cases, member 1", "all training cases, member 2"]);

    let seed = recipe.first_stage.training.seed;
    let alone = [seed, seed + 1].map(|seed| {
        recipe.first_stage.training.seed = seed;
        run(&recipe, Workplace::on(&device))
    });
    for ((member, alone), curve) in members_of(&together.bundle).iter().zip(&alone).zip(&together.curves) {
        assert!(numbers_of(member) == numbers_of(&alone.bundle.network));
        assert_eq!(curve.history, alone.curves[0].history);
    }
    let of_branch = |outcome: &ProtocolOutcome, branch: usize| {
        let branch = &outcome.test.branches[branch];
        outcome
            .test
            .fuse(
                &dermafuse::schema::BranchWeights::new([(branch.name.as_str(), 1.0)]).unwrap(),
                FuseSpace::Probabilities,
            )
            .unwrap()
    };
    for branch in 0..together.test.branches.len() {
        let said = of_branch(&together, branch);
        let [first, second] = [0, 1].map(|member| of_branch(&alone[member], branch));
        for (task, said) in said.probabilities.iter().enumerate() {
            let mean = (&first.probabilities[task] + &second.probabilities[task]) / 2.0;
            let largest = (&mean - said).iter().fold(0.0_f64, |largest, difference| largest.max(difference.abs()));
            assert!(largest < 1e-6, "{largest}");
            assert!(first.probabilities[task] != second.probabilities[task], "members of different seeds are alike");
        }
    }
}

#[test]
fn an_ensemble_goes_on_where_it_stopped_and_is_the_same_after_saving() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let device = Device::flex();
    let mut recipe = of_members(&small_recipe(&set), 2);
    recipe.first_stage.training.epochs = 1;
    let folder = tempfile::tempdir().unwrap();
    let whole = run(&recipe, Workplace::on(&device).in_folder(folder.path(), false));
    for part in ["full/member-1", "full/member-2", "half/member-1", "half/member-2"] {
        assert!(folder.path().join(part).is_dir(), "{part}");
    }
    // The second stage's member had not been begun.
    fs::remove_dir_all(folder.path().join("half/member-2")).unwrap();
    let resumed = run(&recipe, Workplace::on(&device).in_folder(folder.path(), true));
    assert!(numbers_of(&resumed.bundle.network) == numbers_of(&whole.bundle.network));
    assert_eq!((resumed.curves, &resumed.rows), (whole.curves.clone(), &whole.rows));
    // More members later: those that are there stay, and only what is missing is trained.
    let mut more = of_members(&small_recipe(&set), 3);
    more.first_stage.training.epochs = 1;
    let more = run(&more, Workplace::on(&device).in_folder(folder.path(), true));
    let [first, second, _] = members_of(&more.bundle) else { panic!("three members") };
    for (member, before) in [first, second].into_iter().zip(members_of(&whole.bundle)) {
        assert!(numbers_of(member) == numbers_of(before));
    }

    let read = Bundle::from_bytes(&whole.bundle.to_bytes().unwrap(), &device).unwrap();
    assert_eq!(read.description, whole.bundle.description);
    let answers = read.predict(&set.view(&split.test).unwrap(), |_| ()).unwrap();
    assert_eq!(answers.stages, whole.rows);
}

#[test]
fn rounds_share_no_member() {
    let (set, _) = small_set();
    let mut experiment = small_experiment();
    (experiment.method.members, experiment.repeats) = (3, 2);
    let plan = experiment.plan_for(&[("derm7pt".into(), Arc::new(set))]).unwrap();
    let seeds: Vec<u64> = plan.rounds.iter().map(|round| round.stages[0].protocol.first_stage.training.seed).collect();
    assert_eq!(seeds[1] - seeds[0], 3);
    for round in &plan.rounds {
        let protocol = &round.stages[0].protocol;
        assert_eq!((protocol.first_stage.network.kind(), protocol.first_stage.members()), ("deep_ensemble", 3));
        assert_eq!(protocol.trainings(), 3 * if protocol.second_stage.is_some() { 2 } else { 1 });
    }
}

#[test]
fn the_program_trains_and_asks_an_ensemble() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let small = ["method.members=2", "training.epochs=1"];
    let trained = train_small(&out, "fusionm4net", &small).output().unwrap();
    assert!(trained.status.success(), "{}", text(&trained));
    assert!(text(&trained).contains("member 2 of 2"), "{}", text(&trained));
    let shown = program("dermafuse").args(["show", "--json"]).arg(&out).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["network"]["kind"], "deep_ensemble", "{shown}");
    let history = fs::read_to_string(out.join("history.csv")).unwrap();
    assert!(history.contains("all training cases, member 2"), "{history}");

    let refused = |setting: &str, recipe: &str| refused(&folder.path().join("none"), setting, recipe);
    assert!(refused("method.members=0", "fusionm4net").contains("method.members"), "none");
    let frozen = refused("method.members=2", "frozen");
    assert!(frozen.contains("`frozen_encoders` has no members"), "{frozen}");
}

/// What the program says of a setting that it refuses.
fn refused(out: &Path, setting: &str, recipe: &str) -> String {
    let output = train_small(out, recipe, &[setting]).output().unwrap();
    assert!(!output.status.success() && !out.exists(), "{}", text(&output));
    text(&output)
}
