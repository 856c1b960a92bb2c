//! Rows of FusionM4Net's tables from end to end at small size: what learns, what answers, what is saved and asked again.

use std::collections::BTreeMap;
use std::fs;

use burn::tensor::Device;
use dermafuse::backbones::parameter_count;
use dermafuse::data::CaseSet;
use dermafuse::infer::Bundle;
use dermafuse::recipes::{Outcome, Plan, Recipe, Workplace};
use dermafuse::schema::FieldValue;
use dermafuse::train::Silent;
use dermafuse_tests::{device_lock, small_set_folder, small_settings};
use serde_json::Value;

/// FusionM4Net's recipe at small size, with more words.
fn recipe(words: &[&str]) -> Recipe {
    let mut recipe = Recipe::shipped("fusionm4net").expect("it ships");
    recipe.set_data(&format!("derm7pt={}", small_set_folder().display())).unwrap();
    let small = small_settings("fusionm4net").into_iter().chain(["second_stage.search.steps=6"]);
    small.chain(words.iter().copied()).for_each(|words| recipe.set(words).unwrap());
    recipe
}

fn plan(row: &str, words: &[&str]) -> Plan {
    let recipe = recipe(words);
    recipe.experiment_of(recipe.row(row).unwrap()).unwrap().plan().unwrap()
}

fn run(row: &str, words: &[&str]) -> Outcome {
    plan(row, words).run(Workplace::on(&Device::flex()), &mut Silent).unwrap_or_else(|error| panic!("{row}: {error}"))
}

/// The names of the stages, without the majority.
fn stages(outcome: &Outcome) -> Vec<String> {
    outcome.rows().unwrap().into_iter().skip(1).map(|row| row.name).collect()
}

#[test]
fn every_row_is_checked_without_training() {
    let _lock = device_lock();
    let recipe = recipe(&[]);
    assert!(recipe.rows().len() >= 19);
    for row in recipe.rows() {
        let plan = recipe.experiment_of(row).unwrap().plan().unwrap();
        plan.check(Workplace::on(&Device::flex()), &mut Silent).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        let expected = match row.name.as_str() {
            "M" => 0,
            "C" | "D" | "C-D" | "C-M" | "D-M" | "C-D-M" | "Concat" | "Metablock" | "Metanet" | "FusionM4Net-FS" => 1,
            _ => 2,
        };
        assert_eq!(plan.rounds[0].stages[0].protocol.trainings(), expected, "{}", row.name);
    }
}

#[test]
fn classifiers_over_the_record_alone_train_no_network_and_ask_for_no_image() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let outcome = run("M", &[]);
    assert_eq!(stages(&outcome), ["P_2"]);
    let [(_, round)] = &outcome.rounds[..] else { panic!("one round") };
    assert!(round.curves.is_empty() && round.weights.is_none() && round.mix.is_none());
    assert!(outcome.searched_weights().is_empty());
    let bundle = outcome.bundle().unwrap();
    assert_eq!((parameter_count(&bundle.network), bundle.two_stage.mix), (0, 0.0));
    let second = bundle.two_stage.second_stage.as_ref().unwrap();
    assert_eq!(second.cluster.features(), bundle.description.encoder.width());
    // The second half of the training cases, as FusionM4Net's classifiers.
    let (_, half) = outcome.set().split.as_ref().unwrap().half_in_order();
    assert_eq!(second.cluster.report().tasks[0].records, half.len());

    outcome.write(folder.path()).unwrap();
    let report = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(report.contains("P_2") && !report.contains("P_1"), "there is no first stage");
    let read = Bundle::load(folder.path(), &Device::flex()).unwrap();
    assert_eq!(read.two_stage, bundle.two_stage);

    // Without any image, and from the record alone.
    let mut set = CaseSet::clone(outcome.set());
    let test = set.split.as_ref().unwrap().test.clone();
    for case in &mut set.cases {
        (case.clinical, case.dermoscopic) = (Vec::new(), Vec::new());
    }
    let answers = read.predict(&set.view(&test).unwrap(), |_| ()).unwrap();
    assert!(answers.failed.is_empty());
    let (name, predictions) = answers.stages.last().unwrap();
    let (_, expected) = outcome.predictions().unwrap().pop().unwrap();
    assert_eq!((name.as_str(), predictions), ("P_2", &expected));
    assert!(predictions.basis.iter().all(|basis| basis == "uniform+metadata"));
    // A case of which nothing is recorded is answered by nothing.
    set.cases[test[0]].metadata.fill(FieldValue::Missing);
    let unknown = read.predict(&set.view(&test[..1]).unwrap(), |_| ()).unwrap().stages.pop().unwrap().1;
    assert_eq!(unknown.basis, ["uniform"]);
    let veil = unknown.tasks.iter().position(|task| task.classes.len() == 2).unwrap();
    assert_eq!(unknown.probabilities[veil].row(0).to_vec(), [0.5, 0.5]);
}

#[test]
fn a_network_in_vain_and_one_that_learns_nothing_are_refused() {
    let _lock = device_lock();
    let refused = |row: &str, words: &[&str]| {
        plan(row, words).check(Workplace::on(&Device::flex()), &mut Silent).unwrap_err().to_string()
    };
    let error = refused("FusionM4Net-SS", &["second_stage.inputs=metadata"]);
    assert!(error.contains("the network `fusion_net` would be trained in vain"), "{error}");
    let error = refused("M", &["second_stage.classifier=none"]);
    assert!(error.contains("the network `uniform_classifier` has nothing to learn"), "{error}");
    let error = refused("M", &["second_stage.inputs=predictions_and_metadata"]);
    assert!(error.contains("second_stage.inputs = \"metadata\""), "{error}");
}

#[test]
fn rows_of_one_and_two_stages_run_from_end_to_end() {
    let _lock = device_lock();
    let (one, two) = (vec!["P_1"], vec!["P_1", "P_2", "P_3 averaged", "P_3"]);
    for (row, expected) in [("C-M", &one), ("Metanet", &one), ("Metablock", &one), ("C-M, two stages", &two)] {
        let outcome = run(row, &[]);
        assert_eq!(stages(&outcome), *expected, "{row}");
        let bundle = outcome.bundle().unwrap();
        let read = Bundle::from_bytes(&bundle.to_bytes().unwrap(), &Device::flex()).unwrap();
        let test = outcome.set().split.as_ref().unwrap().test.clone();
        let answers = read.predict(&outcome.set().view(&test).unwrap(), |_| ()).unwrap();
        let rows = outcome.predictions().unwrap();
        assert_eq!(answers.stages, rows[1..], "{row}");
    }
}

#[test]
fn repeats_give_mean_and_deviation_of_the_searched_weights() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let outcome = run("FusionM4Net-SS", &["repeats=2"]);
    let weights = outcome.searched_weights();
    let names: Vec<&str> = weights.iter().map(|weight| weight.name.as_str()).collect();
    assert_eq!(names, ["W_clinical", "W_dermoscopic", "W_fusion", "W_1", "W_2"]);
    let by_name: BTreeMap<&str, &Vec<f64>> = weights.iter().map(|weight| (&*weight.name, &weight.rounds)).collect();
    for (round, (_, result)) in outcome.rounds.iter().enumerate() {
        let branches: f64 = names[..3].iter().map(|name| by_name[name][round]).sum();
        assert!((branches - 100.0).abs() < 1e-9, "{branches}");
        assert_eq!(by_name["W_1"][round], 100.0 * result.mix.as_ref().unwrap().weight);
        assert!((by_name["W_1"][round] + by_name["W_2"][round] - 100.0).abs() < 1e-9);
    }
    outcome.write(folder.path()).unwrap();
    let metrics: Value = serde_json::from_slice(&fs::read(folder.path().join("metrics.json")).unwrap()).unwrap();
    let written = metrics["weights"].as_array().unwrap();
    assert_eq!(written.len(), 5);
    assert_eq!(written[3]["name"], "W_1");
    assert_eq!(written[3]["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(written[3]["over_rounds"]["n"], 2);
    let report = fs::read_to_string(folder.path().join("report.html")).unwrap();
    let sentence =
        "Weights that the validation cases chose, in per cent, mean and deviation over 2 rounds: W_clinical ";
    assert!(report.contains(sentence), "the report says the weights");
}

/// Each class of each task has its sensitivity, specificity, precision and AUC, as Table 6.10 prints them.
#[test]
fn every_stage_has_the_metrics_of_every_category() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    run("FusionM4Net-FS", &[]).write(folder.path()).unwrap();
    let metrics: Value = serde_json::from_slice(&fs::read(folder.path().join("metrics.json")).unwrap()).unwrap();
    for row in metrics["rows"].as_array().unwrap() {
        let tasks = row["evaluation"]["tasks"].as_array().unwrap();
        let classes = tasks.iter().flat_map(|task| task["classes"].as_array().unwrap());
        let mut count = 0;
        for class in classes {
            for number in ["sensitivity", "specificity", "precision", "auc"] {
                assert!(class.as_object().unwrap().contains_key(number), "{class}");
            }
            count += 1;
        }
        assert_eq!((tasks.len(), count), (8, 24), "{}", row["name"]);
    }
    let report = fs::read_to_string(folder.path().join("report.html")).unwrap();
    for heading in ["SEN", "SPE", "PRE", "AUC"] {
        assert!(report.contains(heading), "{heading}");
    }
}
