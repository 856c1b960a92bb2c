use dermafuse_data::{CaseSet, CaseView};
use dermafuse_eval::{EvaluatedSubset, Evaluation, SubsetEvaluation};
use dermafuse_infer::{Bundle, InferError, modalities_of};
use dermafuse_networks::{Modalities, Network};
use dermafuse_schema::{Case, FieldValue, Modality, SchemaError};

use crate::{Progress, RecipeError};

/// The last stage of a model on each subset of what it looks at, the second stage's record included: all `2^m − 1` of them. Each is
/// asked of those of the cases that have all of it, with everything else taken away.
///
/// # Errors
/// Cases that cannot be read, or predictions that cannot be evaluated.
pub fn evaluate_subsets(
    bundle: &Bundle,
    cases: &CaseView<'_>,
    progress: &mut dyn Progress,
) -> Result<SubsetEvaluation, RecipeError> {
    let looked_at = looked_at(bundle);
    let set = cases.set();
    let matched = bundle.description.encoder.matched(&set.fields)?;
    let there = |row: usize| -> Result<Modalities, RecipeError> {
        let case = &set.cases[row];
        Ok(modalities_of(case, matched.has_metadata(case)?))
    };
    let there = cases.rows().iter().map(|&row| Ok((row, there(row)?))).collect::<Result<Vec<_>, RecipeError>>()?;
    let subsets = subsets_of(looked_at);
    progress.step(&format!("predicting the cases from {} subsets of their inputs", subsets.len()));
    let asked = |subset: Modalities| there.iter().filter(move |(_, there)| subset.are_among(*there));
    let total: usize = subsets.iter().map(|&subset| asked(subset).count()).sum();
    let (mut evaluated, mut done) = (Vec::with_capacity(subsets.len()), 0);
    for subset in subsets {
        let rows: Vec<usize> = asked(subset).map(|(row, _)| *row).collect();
        let less = only(set, &rows, subset);
        let evaluation = match rows.is_empty() {
            true => None,
            false => match bundle.predict(&less.whole(), |cases| progress.predicted(done + cases, total)) {
                Ok(answers) => Some(Evaluation::of(answers.last())?),
                Err(InferError::Schema(SchemaError::NoBranch { .. })) => None,
                Err(error) => return Err(error.into()),
            },
        };
        done += rows.len();
        let modalities = names(subset).map(str::to_owned).collect();
        evaluated.push(EvaluatedSubset { modalities, cases: rows.len(), evaluation });
    }
    Ok(SubsetEvaluation { subsets: evaluated })
}

/// What a model looks at, the record of its second stage included.
fn looked_at(bundle: &Bundle) -> Modalities {
    let network = bundle.network.modalities();
    Modalities { metadata: network.metadata || bundle.two_stage.second_stage.is_some(), ..network }
}

/// Every subset that is not empty: the single ones first, everything last.
fn subsets_of(all: Modalities) -> Vec<Modalities> {
    let has = |bits: u8, place: u8| bits & (1 << place) != 0;
    let each =
        (1..8_u8).map(|bits| Modalities { clinical: has(bits, 0), dermoscopic: has(bits, 1), metadata: has(bits, 2) });
    let mut subsets: Vec<Modalities> = each.filter(|subset| subset.are_among(all)).collect();
    subsets.sort_by_key(|&subset| names(subset).count());
    subsets
}

fn names(subset: Modalities) -> impl Iterator<Item = &'static str> {
    let Modalities { clinical, dermoscopic, metadata } = subset;
    let each =
        [(clinical, Modality::Clinical.name()), (dermoscopic, Modality::Dermoscopic.name()), (metadata, "metadata")];
    each.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name)
}

/// The cases at `rows` with nothing but the subset.
fn only(set: &CaseSet, rows: &[usize], subset: Modalities) -> CaseSet {
    let cases = rows.iter().map(|&row| {
        let case = set.cases[row].clone();
        Case {
            clinical: if subset.clinical { case.clinical } else { Vec::new() },
            dermoscopic: if subset.dermoscopic { case.dermoscopic } else { Vec::new() },
            metadata: if subset.metadata { case.metadata } else { vec![FieldValue::Missing; set.fields.len()] },
            ..case
        }
    });
    let (cases, tasks, fields) = (cases.collect(), set.tasks.clone(), set.fields.clone());
    CaseSet { name: set.name.clone(), synthetic: set.synthetic, tasks, fields, cases, split: None, notes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_all_subsets_of_what_is_looked_at() {
        let text = |all: Modalities| -> Vec<String> {
            subsets_of(all).into_iter().map(|subset| names(subset).collect::<Vec<_>>().join("+")).collect()
        };
        let all = Modalities { clinical: true, dermoscopic: true, metadata: true };
        let expected = [
            "clinical",
            "dermoscopic",
            "metadata",
            "clinical+dermoscopic",
            "clinical+metadata",
            "dermoscopic+metadata",
            "clinical+dermoscopic+metadata",
        ];
        assert_eq!(text(all), expected);
        assert_eq!(text(Modalities { clinical: false, ..all }), ["dermoscopic", "metadata", "dermoscopic+metadata"]);
        assert_eq!(text(Modalities::CLINICAL), ["clinical"]);
    }
}
