//! What the program says of itself.

use std::process::Command;

#[test]
fn every_verb_explains_itself_and_unknown_words_are_refused() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dermafuse")).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (done, help) = run(&["--help"]);
    assert!(done && help.contains("no medical device"), "{help}");
    for verb in ["check", "compare", "merge", "recipes", "train"] {
        assert!(help.contains(&format!("  {verb} ")), "{verb}: {help}");
        let (done, help) = run(&[verb, "--help"]);
        assert!(done && help.contains("Usage: dermafuse "), "{help}");
    }
    assert!(!run(&["trane"]).0);
    let (done, listed) = run(&["recipes"]);
    assert!(done && listed.contains("fusionm4net"), "{listed}");
    let (done, text) = run(&["recipes", "fusionm4net"]);
    assert!(done && text.contains("[method.network]"), "{text}");
    let (done, said) = run(&["recipes", "fusionm5net"]);
    assert!(!done && said.contains("there is no recipe `fusionm5net`; the recipes are "), "{said}");
}
