//! Columns that are only known because somebody judged the lesion.

use super::column::{GuessedColumn, NOTHING};
use super::tasks::Labels;
use super::words::{has_beginning, has_word, quoted};

/// Cases that a class or column must have before its numbers say anything.
const ENOUGH: usize = 20;
/// The share of the cases from which a column tells the diagnosis.
const TELLS: f64 = 0.95;
/// The difference of shares of missing values between classes that is named.
const UNEVEN: f64 = 0.5;

/// Why a name is that of something that follows the diagnosis.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    if has_beginning(name, &["histor", "family", "previous", "prior", "backgr"]) {
        return None;
    }
    let beginnings: [(&[&str], &str); 4] = [
        (
            &["biops", "excis", "surg", "manag", "treat", "therap", "follow", "outcome"],
            "what was done follows from the diagnosis",
        ),
        (
            &["histo", "patho", "confirm", "breslow", "clark", "invasi", "metast", "recurr", "prognos"],
            "it is known from the laboratory",
        ),
        (&["diag", "malig", "benign", "iddx", "melanom", "icd"], "its name says that it is a diagnosis"),
        (&["difficult"], "it judges the finished case"),
    ];
    let found = beginnings.into_iter().find(|(words, _)| has_beginning(name, words)).map(|(_, why)| why);
    found.or_else(|| has_word(name, &["dx", "stage"]).then_some("its name says that it is a diagnosis"))
}

/// How many cases have each value and class.
fn counts(column: &GuessedColumn<'_>, labels: &Labels) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; labels.classes.len()]; column.values.len()];
    let pairs = column.codes.iter().zip(&labels.codes).filter(|(code, label)| **code != NOTHING && **label != NOTHING);
    pairs.for_each(|(&code, &label)| counts[code as usize][label as usize] += 1);
    counts
}

/// Why the values of a column give the diagnosis away.
pub(super) fn by_values(column: &GuessedColumn<'_>, labels: &Labels) -> Option<String> {
    let counts = counts(column, labels);
    let total: usize = counts.iter().flatten().sum();
    let classes: Vec<usize> =
        (0..labels.classes.len()).map(|class| counts.iter().map(|row| row[class]).sum()).collect();
    let baseline = *classes.iter().max()? as f64 / total.max(1) as f64;
    if total < ENOUGH {
        return None;
    }
    // Each case is guessed from the other cases of its value.
    let hits: usize = counts
        .iter()
        .flat_map(|row| {
            row.iter().enumerate().filter(|(class, count)| {
                let others = row.iter().enumerate().filter(|(other, _)| other != class).map(|(_, count)| *count).max();
                **count > others.unwrap_or(0) + 1
            })
        })
        .map(|(_, count)| *count)
        .sum();
    let share = hits as f64 / total as f64;
    if share >= TELLS && 1.0 - share < 0.3 * (1.0 - baseline) {
        return Some(format!("it tells the diagnosis in {:.0} of 100 cases", 100.0 * share));
    }
    one_sided(column, labels, &counts, &classes, total)
}

/// Whether all cases of several classes have one value, which others often do not have.
fn one_sided(
    column: &GuessedColumn<'_>,
    labels: &Labels,
    counts: &[Vec<usize>],
    classes: &[usize],
    total: usize,
) -> Option<String> {
    counts.iter().zip(&column.values).find_map(|(row, value)| {
        let share = row.iter().sum::<usize>() as f64 / total as f64;
        let whole: Vec<&str> = (0..classes.len())
            .filter(|&class| classes[class] >= ENOUGH && row[class] == classes[class])
            .map(|class| labels.classes[class].as_str())
            .collect();
        let says = share < 0.75 && whole.len() >= 2;
        says.then(|| {
            format!("all cases of {} have `{}`, and {:.0} of 100 cases", quoted(&whole), value.text, 100.0 * share)
        })
    })
}

/// What is to be looked at where values are missing for some diagnoses far more often than for others.
pub(super) fn by_missing(column: &GuessedColumn<'_>, labels: &Labels) -> Option<String> {
    let mut shares: Vec<(f64, &str)> = labels
        .classes
        .iter()
        .enumerate()
        .filter_map(|(class, name)| {
            let rows = || column.codes.iter().zip(&labels.codes).filter(|(_, label)| **label == class as u32);
            let (all, missing) = (rows().count(), rows().filter(|(code, _)| **code == NOTHING).count());
            (all >= ENOUGH).then(|| (missing as f64 / all as f64, name.as_str()))
        })
        .collect();
    shares.sort_by(|one, other| one.0.total_cmp(&other.0));
    let ((least, one), (most, other)) = (*shares.first()?, *shares.last()?);
    (most - least >= UNEVEN).then(|| {
        format!("not recorded in {:.0} of 100 cases of `{other}` and {:.0} of `{one}`", 100.0 * most, 100.0 * least)
    })
}
