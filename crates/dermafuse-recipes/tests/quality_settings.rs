//! The settings of the quality of pictures and of the distance from the training cases.

use dermafuse_recipes::{Experiment, Recipe};

fn experiment(settings: &[&str]) -> Result<Experiment, String> {
    let mut recipe = Recipe::named("fusionm4net").unwrap();
    recipe.set_data("derm7pt=release_v0").unwrap();
    settings.iter().for_each(|setting| recipe.set(setting).unwrap());
    recipe.experiment().map_err(|error| error.to_string())
}

#[test]
fn they_are_one_field_each_and_come_again_from_the_written_experiment() {
    let changed = experiment(&["quality.sharpness=2.5", "quality.skin=0", "out_of_distribution.cases=0"]).unwrap();
    assert_eq!((changed.quality.sharpness, changed.quality.skin, changed.quality.black), (2.5, 0.0, 40.0));
    assert_eq!((changed.out_of_distribution.cases, changed.out_of_distribution.note_beyond), (0, 99.0));
    let text = changed.to_toml();
    assert!(text.contains("[quality]") && text.contains("[out_of_distribution]"), "{text}");
}

#[test]
fn what_is_no_threshold_is_refused_by_its_name() {
    let wrong = [
        ("quality.skin=1.5", "--set quality.skin=1.5: quality.skin: must be from 0 to 1, found 1.5"),
        ("quality.black=300", "--set quality.black=300: quality.black: must be from 0 to 255, found 300"),
        (
            "out_of_distribution.cases=1",
            "--set out_of_distribution.cases=1: out_of_distribution.cases: must be 0, or at least 2, found 1",
        ),
        (
            "out_of_distribution.note_beyond=30",
            "--set out_of_distribution.note_beyond=30: out_of_distribution.note_beyond: must be from 50 to 100, found 30",
        ),
    ];
    for (setting, expected) in wrong {
        assert_eq!(experiment(&[setting]).unwrap_err(), expected);
    }
    assert!(experiment(&["quality.blur=3"]).unwrap_err().contains("there is no setting `blur`"));
}
