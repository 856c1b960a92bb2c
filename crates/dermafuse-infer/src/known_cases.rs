use std::collections::BTreeSet;

use dermafuse_data::{CaseSet, CaseView, SOURCE_FIELD, Split};
use dermafuse_schema::{Case, CaseId, SeenCases};
use serde::{Deserialize, Serialize};

use crate::{InferError, sha256_hex};

/// Hexadecimal digits that are kept of a hashed id: 64 bits.
const DIGITS: usize = 16;

/// The cases that made a model, by hashed id: who trained it, who selected it (epochs, branch weights, settings) and who
/// tested it. Ids are hashed so that a model that is handed on does not list patients; who knows an id can ask for it.
///
/// ```
/// use dermafuse_infer::KnownCases;
///
/// let known = KnownCases::new("clinic", ["a", "b"].map(Into::into), ["c".into()], []);
/// assert!(known.trained(&"a".into()) && !known.trained(&"c".into()) && known.selected(&"c".into()));
/// assert_eq!((known.counts(), known.data_sets().collect::<Vec<_>>()), ([2, 1, 0], vec!["clinic"]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Lists", into = "Lists")]
pub struct KnownCases {
    /// The names of the data sets that they are from.
    data_sets: BTreeSet<String>,
    training: BTreeSet<String>,
    selection: BTreeSet<String>,
    test: BTreeSet<String>,
}

/// The form in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    data_sets: Vec<String>,
    training: Vec<String>,
    selection: Vec<String>,
    test: Vec<String>,
}

impl KnownCases {
    /// The cases of a data set, or of a set that was merged from several, that made a model.
    pub fn new(
        data_set: impl Into<String>,
        training: impl IntoIterator<Item = CaseId>,
        selection: impl IntoIterator<Item = CaseId>,
        test: impl IntoIterator<Item = CaseId>,
    ) -> Self {
        fn hashed(ids: impl IntoIterator<Item = CaseId>) -> BTreeSet<String> {
            ids.into_iter().map(|id| hash_of(id.as_str())).collect()
        }
        Self {
            data_sets: BTreeSet::from([data_set.into()]),
            training: hashed(training),
            selection: hashed(selection),
            test: hashed(test),
        }
    }

    /// The cases of a split. Of a merged or joined set, the names of its sources and the ids that cases have there are known too.
    #[must_use]
    pub fn of(set: &CaseSet, split: &Split) -> Self {
        let ids = |rows: &[usize]| -> Vec<CaseId> {
            rows.iter().filter_map(|&row| set.cases.get(row)).flat_map(|case| names_of(set, case)).collect()
        };
        let mut known = Self::new(&set.name, ids(&split.train), ids(&split.valid), ids(&split.test));
        known.data_sets.extend(sources_of(set));
        known
    }

    /// Adds the cases of an earlier training that the model started from.
    pub fn add(&mut self, earlier: &Self) {
        self.data_sets.extend(earlier.data_sets.iter().cloned());
        self.training.extend(earlier.training.iter().cloned());
        self.selection.extend(earlier.selection.iter().cloned());
        self.test.extend(earlier.test.iter().cloned());
    }

    /// Whether nobody is known: a model of an older format, or one that was put together in code.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.training.is_empty() && self.selection.is_empty() && self.test.is_empty()
    }

    /// The names of the data sets that made the model.
    pub fn data_sets(&self) -> impl Iterator<Item = &str> {
        self.data_sets.iter().map(String::as_str)
    }

    /// How many cases trained, selected and tested the model. A case of a merged or joined set counts once for each of its names.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.training.len(), self.selection.len(), self.test.len()]
    }

    /// Whether a case of this id trained the model.
    #[must_use]
    pub fn trained(&self, id: &CaseId) -> bool {
        self.training.contains(&hash_of(id.as_str()))
    }

    /// Whether a case of this id selected the model.
    #[must_use]
    pub fn selected(&self, id: &CaseId) -> bool {
        self.selection.contains(&hash_of(id.as_str()))
    }

    /// Whether a case of this id was in the test part when the model was made.
    #[must_use]
    pub fn tested(&self, id: &CaseId) -> bool {
        self.test.contains(&hash_of(id.as_str()))
    }

    /// How many of the cases had a part in making the model. An image of a lesion that was a case counts too; a lesion of
    /// which single images were cases is not recognised.
    #[must_use]
    pub fn among(&self, cases: &CaseView<'_>) -> SeenCases {
        let set = cases.set();
        let mut seen = SeenCases {
            cases: cases.len(),
            trained: 0,
            selected: 0,
            same_data_set: self.data_sets.contains(&set.name)
                || sources_of(set).any(|name| self.data_sets.contains(&name)),
            known: !self.is_empty(),
        };
        for case in cases.cases() {
            let mut names = names_of(set, case);
            // Where lesions were the cases, their names are the ids.
            names.extend(case.lesion.iter().flat_map(|lesion| names_at_sources(set, case, lesion)));
            if names.iter().any(|name| self.trained(name)) {
                seen.trained += 1;
            } else if names.iter().any(|name| self.selected(name)) {
                seen.selected += 1;
            }
        }
        seen
    }
}

impl TryFrom<Lists> for KnownCases {
    type Error = InferError;

    fn try_from(lists: Lists) -> Result<Self, InferError> {
        let is_hash = |text: &&String| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let all = [&lists.training, &lists.selection, &lists.test];
        if let Some(wrong) = all.into_iter().flatten().find(|text| !is_hash(text)) {
            let found = wrong.chars().take(40).collect();
            return Err(InferError::Inconsistent {
                what: "id of a known case".into(),
                found,
                expected: "a hash".into(),
            });
        }
        Ok(Self {
            data_sets: lists.data_sets.into_iter().collect(),
            training: lists.training.into_iter().collect(),
            selection: lists.selection.into_iter().collect(),
            test: lists.test.into_iter().collect(),
        })
    }
}

impl From<KnownCases> for Lists {
    fn from(known: KnownCases) -> Self {
        Self {
            data_sets: known.data_sets.into_iter().collect(),
            training: known.training.into_iter().collect(),
            selection: known.selection.into_iter().collect(),
            test: known.test.into_iter().collect(),
        }
    }
}

/// The names by which a case may have been known: its id, and in a merged or joined set (`source:id`) those that it has at its
/// source, and at the source of that.
fn names_of(set: &CaseSet, case: &Case) -> Vec<CaseId> {
    names_at_sources(set, case, case.id.as_str())
}

/// The name of a case or of its lesion, and those that it has at the sources of its set.
fn names_at_sources(set: &CaseSet, case: &Case, name: &str) -> Vec<CaseId> {
    let (mut names, mut field) = (vec![CaseId::from(name)], SOURCE_FIELD.to_owned());
    let mut name = name;
    while let Some(source) = source_of(set, case, &field) {
        let Some(own) = at_source(name, &source) else { break };
        names.push(CaseId::from(own));
        name = own;
        // So a set is told what the source says of its own sources.
        field = format!("{source}:{SOURCE_FIELD}");
    }
    names
}

/// The name without that of the source before it.
fn at_source<'a>(name: &'a str, source: &str) -> Option<&'a str> {
    name.strip_prefix(source)?.strip_prefix(':')
}

/// The name of the set that a case of a merged set is from, as a field says it.
fn source_of(set: &CaseSet, case: &Case, field: &str) -> Option<String> {
    let place = set.fields.iter().position(|other| other.name == field)?;
    set.fields[place].text(case.metadata.get(place)?)
}

/// The names of the sets that a merged set is from.
fn sources_of(set: &CaseSet) -> impl Iterator<Item = String> {
    let names: BTreeSet<String> = set.cases.iter().filter_map(|case| source_of(set, case, SOURCE_FIELD)).collect();
    names.into_iter()
}

fn hash_of(id: &str) -> String {
    sha256_hex(id.as_bytes())[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_data::TaskNames;
    use dermafuse_schema::{Task, TaskSet};

    /// Two photos of a lesion, and one of a lesion of which nothing is known.
    fn photos(ids: [&str; 3]) -> CaseSet {
        let case = |(row, id): (usize, &str)| Case {
            lesion: (row < 2).then(|| "L1".into()),
            group: if row < 2 { "L1".into() } else { id.into() },
            labels: vec![Some(0)],
            ..Case::new(id)
        };
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let cases = ids.into_iter().enumerate().map(case).collect();
        CaseSet { name: "photos".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] }
    }

    fn trained_on(set: &CaseSet) -> KnownCases {
        let training: Vec<CaseId> = set.cases.iter().flat_map(|case| names_of(set, case)).collect();
        KnownCases::new(&set.name, training, [], [])
    }

    #[test]
    fn an_image_is_known_by_its_lesion() {
        let images = photos(["a", "b", "c"]);
        let lesions = images.clone().by_lesion().unwrap();
        assert_eq!(trained_on(&lesions).among(&images.whole()).trained, 3);
        assert_eq!(trained_on(&images).among(&images.whole()).trained, 3);
        assert_eq!(trained_on(&lesions).counts(), [2, 0, 0]);
        // The other photo of a lesion that single photos trained is another case.
        let split = Split::new(vec![0], vec![2], vec![1], 3).unwrap().with_groups_crossing();
        assert_eq!(KnownCases::of(&images, &split).among(&images.view(&[1]).unwrap()).trained, 0);
    }

    #[test]
    fn cases_of_nested_sets_are_known_by_their_own_names() {
        let (first, second) = (photos(["a", "b", "c"]), photos(["d", "e", "f"]));
        let names = TaskNames::new();
        let inner = CaseSet::joined("inner", &[("one", &first), ("two", &second)], &names).unwrap();
        let outer = CaseSet::joined("outer", &[("both", &inner), ("three", &first)], &names).unwrap();
        let known = trained_on(&outer);
        for id in ["both:two:d", "two:d", "d", "three:a", "a"] {
            assert!(known.trained(&id.into()), "{id}");
        }
        assert!(!known.trained(&"both:d".into()));
        assert_eq!(known.among(&second.view(&[0, 1]).unwrap()).trained, 2);
    }
}
