use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use dermafuse_schema::{Case, CaseId, CaseImage, FieldValue, Modality, Name};
use serde::{Deserialize, Serialize};

use crate::name_set::NameMap;
use crate::{CaseSet, DataError, Leak, Split};

/// What counts as a case where a data set has several images of a lesion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseUnit {
    /// What the set lists as one, which mostly is an image: so published protocols count.
    #[default]
    Images,
    /// A lesion with all its images; see [`CaseSet::by_lesion`].
    Lesions,
}

impl CaseUnit {
    /// Whether this is what nobody has to say.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for CaseUnit {
    type Err = DataError;

    fn from_str(word: &str) -> Result<Self, DataError> {
        match word {
            "images" => Ok(Self::Images),
            "lesions" => Ok(Self::Lesions),
            _ => Err(DataError::Setting { what: "cases", found: word.into(), expected: "`images` or `lesions`" }),
        }
    }
}

impl CaseSet {
    /// The same images with one case for each lesion, called by the lesion's name, in the order of the first images. A case of
    /// which no lesion is known stays as it is.
    ///
    /// What is recorded of the images of a lesion is put together: of values that differ the first counts, and a note says in
    /// how many lesions some do. Images of a lesion under different labels make cases of their own, `LESION (2)` and so on, in
    /// the same group; a note says so too. Groups are those that the images had.
    ///
    /// ```
    /// use dermafuse_data::CaseSet;
    /// use dermafuse_schema::{Case, Task, TaskSet};
    ///
    /// let photo = |id: &str, lesion: &str, label| Case {
    ///     lesion: Some(lesion.into()),
    ///     group: lesion.into(),
    ///     clinical: vec![id.into()],
    ///     labels: vec![label],
    ///     ..Case::new(id)
    /// };
    /// let cases = vec![photo("a.jpg", "L1", Some(0)), photo("b.jpg", "L2", Some(1)), photo("c.jpg", "L1", None)];
    /// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
    /// let set = CaseSet { name: "a".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    /// let lesions = set.by_lesion()?;
    /// assert_eq!(lesions.cases[0].id.as_str(), "L1");
    /// assert_eq!(lesions.cases[0].clinical, ["a.jpg", "c.jpg"].map(dermafuse_schema::CaseImage::from));
    /// assert_eq!(lesions.notes, ["3 cases of the set are 2 lesions, 1 of them with several images of a kind"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A set that knows no lesion, a name that two cases would have, a published split that parts a lesion.
    pub fn by_lesion(mut self) -> Result<Self, DataError> {
        let images = std::mem::take(&mut self.cases);
        let ids: Vec<CaseId> = images.iter().map(|image| image.id.clone()).collect();
        let (mut of_lesion, mut place): (NameMap<Name, Vec<usize>>, Vec<usize>) = (NameMap::default(), Vec::new());
        // The images of each case that has got another one, by kind.
        let mut listed: HashMap<usize, [HashSet<CaseImage>; 2]> = HashMap::new();
        let (mut differing, mut divided) = (HashSet::new(), 0_usize);
        for image in images {
            let Some(lesion) = image.lesion.clone().filter(|lesion| !lesion.is_empty()) else {
                place.push(self.cases.len());
                self.cases.push(image);
                continue;
            };
            let cases = of_lesion.entry(lesion.clone()).or_default();
            match cases.iter().copied().find(|&at| labels_agree(&self.cases[at], &image)) {
                Some(at) => {
                    place.push(at);
                    let case = &mut self.cases[at];
                    let listed = listed.entry(at).or_insert_with(|| images_of(case));
                    if add(case, listed, image) {
                        differing.insert(at);
                    }
                }
                None => {
                    divided += usize::from(cases.len() == 1);
                    let id = match cases.len() {
                        0 => lesion.into(),
                        earlier => format!("{lesion} ({})", earlier + 1).into(),
                    };
                    place.push(self.cases.len());
                    cases.push(self.cases.len());
                    self.cases.push(Case { id, ..image });
                }
            }
        }
        if of_lesion.is_empty() {
            return Err(DataError::Setting {
                what: "cases",
                found: format!("`lesions` of {}", self.name),
                expected: "possible: this set does not tell lesions apart; its cases are `images`",
            });
        }
        if let Some(split) = &self.split {
            require_whole(split, &place, &ids, &self.cases)?;
        }
        self.split = self.split.take().map(|split| moved(&split, &place, self.cases.len())).transpose()?;
        let several = self.cases.iter().filter(|case| case.looks(Modality::BOTH) > 1).count();
        self.notes.push(format!(
            "{} cases of the set are {} lesions, {several} of them with several images of a kind",
            place.len(),
            self.cases.len()
        ));
        if !differing.is_empty() {
            self.notes.push(format!(
                "in {} lesions images are recorded with different values of a field: the first counts",
                differing.len()
            ));
        }
        if divided > 0 {
            self.notes.push(format!("{divided} lesions have images under different labels and are several cases each"));
        }
        self.check()?;
        Ok(self)
    }
}

/// Whether no task has two labels.
fn labels_agree(case: &Case, image: &Case) -> bool {
    case.labels.iter().zip(&image.labels).all(|(one, other)| one.is_none() || other.is_none() || one == other)
}

/// The images of a case, by kind.
fn images_of(case: &Case) -> [HashSet<CaseImage>; 2] {
    Modality::BOTH.map(|kind| case.images(kind).iter().cloned().collect())
}

/// Adds an image with what is known of it to its lesion, of which these images are listed; says whether a value differs.
fn add(case: &mut Case, listed: &mut [HashSet<CaseImage>; 2], image: Case) -> bool {
    for (kind, listed) in Modality::BOTH.into_iter().zip(listed) {
        let images: Vec<CaseImage> =
            image.images(kind).iter().filter(|image| !listed.contains(*image)).cloned().collect();
        listed.extend(images.iter().cloned());
        case.images_mut(kind).extend(images);
    }
    for (label, other) in case.labels.iter_mut().zip(image.labels) {
        *label = label.or(other);
    }
    let mut differs = false;
    for (value, other) in case.metadata.iter_mut().zip(image.metadata) {
        match (&*value, &other) {
            (FieldValue::Missing, _) => *value = other,
            (_, FieldValue::Missing) => {}
            (one, other) => differs |= one != other,
        }
    }
    case.patient = case.patient.take().or(image.patient);
    differs
}

/// Refuses a split that has images of a lesion in several parts.
fn require_whole(split: &Split, place: &[usize], ids: &[CaseId], cases: &[Case]) -> Result<(), DataError> {
    let mut part_of: Vec<Option<(&'static str, usize)>> = vec![None; cases.len()];
    let selects = split.leaks().contains(&Leak::TestSelects);
    let parts = [("training", &split.train), ("validation", &split.valid), ("test", &split.test)];
    for (part, rows) in parts.into_iter().filter(|(part, _)| !(selects && *part == "validation")) {
        for &row in rows {
            let Some(&at) = place.get(row) else { continue };
            let (first, other) = *part_of[at].get_or_insert((part, row));
            if first != part {
                let group = cases[at].id.to_string();
                let cases = [other, row].map(|row| ids[row].to_string());
                return Err(DataError::GroupCrosses { group, first, second: part, cases });
            }
        }
    }
    Ok(())
}

/// The split of the images as one of their lesions.
fn moved(split: &Split, place: &[usize], cases: usize) -> Result<Split, DataError> {
    let of = |rows: &[usize]| {
        let mut rows: Vec<usize> = rows.iter().filter_map(|&row| place.get(row).copied()).collect();
        let mut seen = std::collections::HashSet::new();
        rows.retain(|row| seen.insert(*row));
        rows
    };
    let moved = match split.leaks().contains(&Leak::TestSelects) {
        true => Split::selecting_on_test(of(&split.train), of(&split.test), cases)?,
        false if split.valid.is_empty() => Split::without_validation(of(&split.train), of(&split.test), cases)?,
        false => Split::new(of(&split.train), of(&split.valid), of(&split.test), cases)?,
    };
    Ok(if split.leaks().contains(&Leak::GroupsCross) { moved.with_groups_crossing() } else { moved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Field, FieldRole, Task, TaskSet};

    fn photo(id: &str, lesion: &str, label: Option<usize>, age: FieldValue) -> Case {
        Case {
            lesion: (!lesion.is_empty()).then(|| lesion.into()),
            group: "P".into(),
            clinical: vec![format!("{id}.jpg").into()],
            metadata: vec![age],
            labels: vec![label],
            ..Case::new(id)
        }
    }

    fn set(cases: Vec<Case>) -> CaseSet {
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let fields = vec![Field::numeric("age", FieldRole::PreDiagnosis)];
        CaseSet { name: "a".into(), synthetic: false, tasks, fields, cases, split: None, notes: vec![] }
    }

    #[test]
    fn what_differs_within_a_lesion_is_said() {
        let (missing, age) = (FieldValue::Missing, FieldValue::Number);
        let photos = vec![
            photo("a", "L1", None, missing),
            photo("b", "", Some(0), age(9.0)),
            photo("c", "L1", Some(1), age(40.0)),
            photo("d", "L1", Some(0), age(40.0)),
            photo("e", "L1", Some(1), age(41.0)),
        ];
        let lesions = set(photos).by_lesion().unwrap();
        let cases: Vec<(&str, usize, Option<usize>)> =
            lesions.cases.iter().map(|case| (case.id.as_str(), case.clinical.len(), case.labels[0])).collect();
        assert_eq!(cases, [("L1", 3, Some(1)), ("b", 1, Some(0)), ("L1 (2)", 1, Some(0))]);
        assert_eq!(lesions.cases[0].metadata, [age(40.0)]);
        assert_eq!(
            lesions.notes,
            [
                "5 cases of the set are 3 lesions, 1 of them with several images of a kind",
                "in 1 lesions images are recorded with different values of a field: the first counts",
                "1 lesions have images under different labels and are several cases each",
            ]
        );
    }

    #[test]
    fn a_split_follows_its_lesions_and_may_not_part_them() {
        let age = FieldValue::Missing;
        let photos: Vec<Case> = [("a", "L1"), ("b", "L1"), ("c", "L2"), ("d", "L3"), ("e", "L3")]
            .into_iter()
            .map(|(id, lesion)| Case { group: lesion.into(), ..photo(id, lesion, Some(0), age) })
            .collect();
        let split = |train, valid, test| Some(Split::new(train, valid, test, 5).unwrap());
        let whole = CaseSet { split: split(vec![0, 1], vec![2], vec![4, 3]), ..set(photos.clone()) };
        let moved = whole.by_lesion().unwrap().split.unwrap();
        assert_eq!((moved.train, moved.valid, moved.test), (vec![0], vec![1], vec![2]));
        let parted = CaseSet { split: split(vec![0], vec![1, 2], vec![4, 3]), ..set(photos) };
        let error = parted.by_lesion().unwrap_err().to_string();
        assert_eq!(
            error,
            "group `L1` is in the training part of the split and in the validation part (cases `a` and `b`); what shares a \
             patient, a lesion or an identical image must stay on one side"
        );
    }

    #[test]
    fn a_set_without_lesions_has_images() {
        let error = set(vec![photo("a", "", None, FieldValue::Missing)]).by_lesion().unwrap_err().to_string();
        assert_eq!(
            error,
            "cases: `lesions` of a is not possible: this set does not tell lesions apart; its cases are `images`"
        );
        assert_eq!(
            "patients".parse::<CaseUnit>().unwrap_err().to_string(),
            "cases: patients is not `images` or `lesions`"
        );
    }
}
