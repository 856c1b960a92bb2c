//! A lesion beside the patient's other lesions: the "ugly duckling" among them.

use std::borrow::Cow;
use std::collections::HashMap;

use dermafuse_schema::{Case, Field, FieldKind, FieldRole, FieldValue};

use crate::{CaseSet, DataError};

/// The field that counts the patient's other lesions.
const COUNT: &str = "other_lesions";
/// Below this share of the mean square of all values, their variance is rounding.
const ROUNDING: f64 = 1e-12;
/// Other lesions from which on there is a deviation to measure by.
const LEAST_FOR_DEVIATION: usize = 3;

/// What a number of a lesion is beside the same number of the patient's other lesions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Less the mean of the others.
    Difference,
    /// The same in standard deviations of the others, of which there must be three.
    Deviations,
    /// The share of the others that have a smaller number; of equal ones a half.
    Rank,
}

impl Beside {
    const ALL: [Self; 3] = [Self::Difference, Self::Deviations, Self::Rank];

    /// How the name of the field ends.
    fn ending(self) -> &'static str {
        match self {
            Self::Difference => ".beside_others",
            Self::Deviations => ".deviations_from_others",
            Self::Rank => ".rank_among_others",
        }
    }
}

/// The field that a field of this role is made of; `None` for the count, and for fields of other roles.
///
/// ```
/// use dermafuse_data::source_beside_others;
/// use dermafuse_schema::{Field, FieldRole};
///
/// let field = Field::numeric("diameter.rank_among_others", FieldRole::OtherLesions);
/// assert_eq!(source_beside_others(&field), Some("diameter"));
/// assert_eq!(source_beside_others(&Field::numeric("diameter", FieldRole::PreDiagnosis)), None);
/// ```
#[must_use]
pub fn source_beside_others(field: &Field) -> Option<&str> {
    if field.role != FieldRole::OtherLesions {
        return None;
    }
    Beside::ALL.into_iter().find_map(|beside| field.name.strip_suffix(beside.ending()))
}

impl CaseSet {
    /// Adds fields that say what numbers of a lesion are beside those of the patient's other lesions, of role
    /// [`OtherLesions`](FieldRole::OtherLesions): for each of the `sources` the difference from the mean of the others, the same in
    /// their standard deviations (where there are three), and the share of them with a smaller number; and once how many others there are
    /// (`other_lesions`). Sources are numeric fields: of the record, features, or what other models say.
    ///
    /// The patient's other lesions are the cases of the same [`patient`](Case::patient) but those of the same
    /// [`lesion`](Case::lesion). Where nobody says who the patient is, and where a patient has one lesion, nothing is recorded. No label is looked
    /// at, and the order of the rows has no say. But a lesion's values depend on which other lesions of the patient are in the set: that
    /// is what they mean.
    ///
    /// ```
    /// use dermafuse_data::CaseSet;
    /// use dermafuse_schema::{Case, Field, FieldRole, FieldValue, Task, TaskSet};
    ///
    /// let photo = |id: &str, patient: &str, diameter: f64| Case {
    ///     patient: Some(patient.into()),
    ///     metadata: vec![FieldValue::Number(diameter)],
    ///     labels: vec![None],
    ///     ..Case::new(id)
    /// };
    /// let cases = vec![photo("a", "P1", 3.0), photo("b", "P1", 5.0), photo("c", "P1", 10.0), photo("d", "P2", 4.0)];
    /// let (tasks, fields) = (
    ///     TaskSet::new(vec![Task::new("d", "D", ["NEV", "MEL"])])?,
    ///     vec![Field::numeric("diameter", FieldRole::PreDiagnosis)],
    /// );
    /// let mut set = CaseSet { name: "s".into(), synthetic: false, tasks, fields, cases, split: None, notes: vec![] };
    ///
    /// set.add_other_lesions(&["diameter".to_owned()])?;
    /// let names: Vec<&str> = set.fields[1..].iter().map(|field| field.name.as_str()).collect();
    /// assert_eq!(
    ///     names,
    ///     ["diameter.beside_others", "diameter.deviations_from_others", "diameter.rank_among_others", "other_lesions"]
    /// );
    /// // Of 10 less the mean of 3 and 5; larger than both; two are too few for deviations.
    /// use FieldValue::{Missing, Number};
    /// assert_eq!(set.cases[2].metadata[1..], [Number(6.0), Missing, Number(1.0), Number(2.0)]);
    /// assert_eq!(set.cases[3].metadata[1..], [Missing; 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A field that there is not, that is no number, or that is known after the diagnosis; one that is named twice; a set that does not
    /// tell patients apart.
    pub fn add_other_lesions(&mut self, sources: &[String]) -> Result<(), DataError> {
        if sources.is_empty() {
            return Ok(());
        }
        let setting = |found: String, expected: &'static str| {
            Err(DataError::Setting { what: "field beside those of the patient's other lesions", found, expected })
        };
        for (at, name) in sources.iter().enumerate() {
            let found = self.fields.iter().find(|field| field.name == *name);
            match found {
                None => {
                    let numbers = self.fields.iter().filter(|field| field.kind == FieldKind::Numeric);
                    let numbers: Vec<&str> = numbers.map(|field| field.name.as_str()).collect();
                    return setting(
                        format!("`{name}`, which is none of {},", numbers.join(", ")),
                        "a numeric field of the set",
                    );
                }
                Some(field) if field.kind != FieldKind::Numeric => return setting(format!("`{name}`"), "a number"),
                Some(field)
                    if matches!(
                        field.role,
                        FieldRole::PostDiagnosis | FieldRole::Provenance | FieldRole::OtherLesions
                    ) =>
                {
                    return setting(format!("`{name}`"), "known before the diagnosis, or said by a model");
                }
                Some(_) if sources[..at].contains(name) => return setting(format!("`{name}`"), "named once"),
                Some(_) => {}
            }
        }
        if self.cases.iter().all(|case| case.patient.is_none()) {
            return setting(format!("of {}", self.name), "of a set that tells patients apart");
        }
        let beside = |name: &String| Beside::ALL.map(|beside| format!("{name}{}", beside.ending()));
        let names = sources.iter().flat_map(beside).chain([COUNT.to_owned()]);
        let fields: Vec<Field> = names.map(|name| Field::numeric(name, FieldRole::OtherLesions)).collect();
        if let Some(field) = fields.iter().find(|field| self.fields.iter().any(|known| known.name == field.name)) {
            return Err(DataError::RepeatedField { field: field.name.clone() });
        }
        let added = fields.len();
        self.fields.extend(fields);
        self.cases.iter_mut().for_each(|case| case.metadata.extend(vec![FieldValue::Missing; added]));
        fill(self);
        let known = self.with_other_lesions();
        self.notes.push(format!(
            "{known} of {} cases have other lesions of the same patient beside them; their fields of role `other_lesions` depend on which of \
             these are in the table.",
            self.len()
        ));
        Ok(())
    }

    /// The set with the fields of role [`OtherLesions`](FieldRole::OtherLesions) among these, such as those of an encoder, filled from the
    /// cases of the set. What is there already stays.
    #[must_use]
    pub fn beside_other_lesions<'a>(&'a self, fields: impl IntoIterator<Item = &'a Field>) -> Cow<'a, Self> {
        let wanted: Vec<&Field> = fields.into_iter().filter(|field| field.role == FieldRole::OtherLesions).collect();
        if wanted.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut set = self.clone();
        for field in wanted {
            if !set.fields.contains(field) {
                set.fields.push(field.clone());
                set.cases.iter_mut().for_each(|case| case.metadata.push(FieldValue::Missing));
            }
        }
        fill(&mut set);
        Cow::Owned(set)
    }

    /// How many cases have other lesions of the same patient in the set.
    #[must_use]
    pub fn with_other_lesions(&self) -> usize {
        let patients = patients(&self.cases);
        let alone = |rows: &[usize], row: usize| rows.iter().all(|other| is_same_lesion(&self.cases, row, *other));
        patients.values().flat_map(|rows| rows.iter().filter(|row| !alone(rows, **row))).count()
    }
}

/// Fills the fields of the role that are not recorded.
fn fill(set: &mut CaseSet) {
    let patients: Vec<Vec<usize>> = patients(&set.cases).into_values().collect();
    let places: Vec<usize> =
        (0..set.fields.len()).filter(|&place| set.fields[place].role == FieldRole::OtherLesions).collect();
    for place in places {
        let field = set.fields[place].clone();
        let source = source_beside_others(&field).map(str::to_owned);
        let at = source.as_ref().and_then(|name| set.fields.iter().position(|field| field.name == *name));
        for rows in &patients {
            let values: Vec<(usize, FieldValue)> = match (&source, at) {
                (None, _) if field.name == COUNT => counted(&set.cases, rows),
                (Some(name), Some(at)) => {
                    let ending = &field.name[name.len()..];
                    let Some(beside) = Beside::ALL.into_iter().find(|beside| beside.ending() == ending) else {
                        continue;
                    };
                    Numbers::of(&set.cases, rows, at).beside_others(beside)
                }
                _ => continue,
            };
            for (row, value) in values {
                let slot = &mut set.cases[row].metadata[place];
                if *slot == FieldValue::Missing {
                    *slot = value;
                }
            }
        }
    }
}

/// The rows of each patient who is named.
fn patients(cases: &[Case]) -> HashMap<&str, Vec<usize>> {
    let mut rows: HashMap<&str, Vec<usize>> = HashMap::new();
    for (row, case) in cases.iter().enumerate() {
        if let Some(patient) = case.patient.as_deref().filter(|patient| !patient.is_empty()) {
            rows.entry(patient).or_default().push(row);
        }
    }
    rows
}

fn is_same_lesion(cases: &[Case], one: usize, other: usize) -> bool {
    let lesion = |row: usize| cases[row].lesion.as_deref().filter(|lesion| !lesion.is_empty());
    one == other || lesion(one).is_some() && lesion(one) == lesion(other)
}

/// For each row how many other lesions there are, each counted once; nothing for a patient's only lesion.
fn counted(cases: &[Case], rows: &[usize]) -> Vec<(usize, FieldValue)> {
    let lesions = lesions(cases, rows);
    let others = lesions.len() - 1;
    if others == 0 {
        return Vec::new();
    }
    rows.iter().map(|&row| (row, FieldValue::Number(others as f64))).collect()
}

/// The rows of a patient by lesion, those of an unnamed lesion each by itself.
fn lesions(cases: &[Case], rows: &[usize]) -> Vec<Vec<usize>> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    let mut lesions: Vec<Vec<usize>> = Vec::new();
    for &row in rows {
        let lesion = cases[row].lesion.as_deref().filter(|lesion| !lesion.is_empty());
        let next = lesions.len();
        let at = lesion.map_or(next, |lesion| *named.entry(lesion).or_insert(next));
        match lesions.get_mut(at) {
            Some(rows) => rows.push(row),
            None => lesions.push(vec![row]),
        }
    }
    lesions
}

/// The numbers of a field of a patient's cases, by lesion.
struct Numbers {
    /// Rows with their numbers.
    lesions: Vec<Vec<(usize, f64)>>,
    /// All numbers, rising.
    sorted: Vec<f64>,
}

impl Numbers {
    fn of(cases: &[Case], rows: &[usize], field: usize) -> Self {
        let number = |row: usize| match cases[row].metadata.get(field) {
            Some(FieldValue::Number(number)) => Some((row, *number)),
            _ => None,
        };
        let numbers = |rows: Vec<usize>| rows.into_iter().filter_map(number).collect::<Vec<_>>();
        let lesions: Vec<Vec<(usize, f64)>> = lesions(cases, rows).into_iter().map(numbers).collect();
        let mut sorted: Vec<f64> = lesions.iter().flatten().map(|(_, number)| *number).collect();
        sorted.sort_by(f64::total_cmp);
        Self { lesions, sorted }
    }

    /// What each number is beside those of the other lesions. Sums are made in the order of the numbers, so that rows have no order.
    fn beside_others(&self, beside: Beside) -> Vec<(usize, FieldValue)> {
        let Self { lesions, sorted } = self;
        let Some(middle) = sorted.get(sorted.len() / 2).copied() else { return Vec::new() };
        // About the middle, so that squares stay small.
        let sums = |numbers: &[f64]| {
            numbers.iter().map(|x| x - middle).fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x))
        };
        let (sum, squares) = sums(sorted);
        let mut values = Vec::new();
        for lesion in lesions {
            let others = sorted.len() - lesion.len();
            if others == 0 {
                continue;
            }
            let mut own: Vec<f64> = lesion.iter().map(|(_, number)| *number).collect();
            own.sort_by(f64::total_cmp);
            let (own_sum, own_squares) = sums(&own);
            let mean = (sum - own_sum) / others as f64;
            let variance = (squares - own_squares) / others as f64 - mean * mean;
            let rank = |number: f64| {
                let below = |numbers: &[f64], or_equal: bool| {
                    numbers.partition_point(|other| *other < number || or_equal && *other == number) as f64
                };
                let smaller = below(sorted, false) - below(&own, false);
                let up_to = below(sorted, true) - below(&own, true);
                (smaller + up_to) / 2.0 / others as f64
            };
            for &(row, number) in lesion {
                let difference = number - middle - mean;
                let value = match beside {
                    Beside::Difference => Some(difference),
                    Beside::Deviations => (others >= LEAST_FOR_DEVIATION
                        && variance > ROUNDING * squares / sorted.len() as f64)
                        .then(|| difference / variance.sqrt()),
                    Beside::Rank => Some(rank(number)),
                };
                values.extend(value.filter(|value| value.is_finite()).map(|value| (row, FieldValue::Number(value))));
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use dermafuse_schema::{Task, TaskSet};

    use super::*;

    /// Cases of (patient, lesion, number).
    fn set(cases: &[(&str, &str, f64)]) -> CaseSet {
        let name = |text: &str| (!text.is_empty()).then(|| text.into());
        let case = |(row, &(patient, lesion, number)): (usize, &(&str, &str, f64))| Case {
            patient: name(patient),
            lesion: name(lesion),
            metadata: vec![if number.is_nan() { FieldValue::Missing } else { FieldValue::Number(number) }],
            labels: vec![Some(row % 2)],
            ..Case::new(row.to_string())
        };
        CaseSet {
            name: "s".into(),
            synthetic: false,
            tasks: TaskSet::new(vec![Task::new("d", "D", ["a", "b"])]).unwrap(),
            fields: vec![Field::numeric("x", FieldRole::PreDiagnosis)],
            cases: cases.iter().enumerate().map(case).collect(),
            split: None,
            notes: vec![],
        }
    }

    fn filled(cases: &[(&str, &str, f64)]) -> CaseSet {
        let mut set = set(cases);
        set.add_other_lesions(&["x".to_owned()]).unwrap();
        set.check_values().unwrap();
        set
    }

    fn numbers(set: &CaseSet, row: usize) -> Vec<Option<f64>> {
        let number = |value: &FieldValue| match value {
            FieldValue::Number(number) => Some(*number),
            _ => None,
        };
        set.cases[row].metadata[1..].iter().map(number).collect()
    }

    #[test]
    fn a_lesion_stands_beside_the_others_of_its_patient() {
        let nan = f64::NAN;
        let cases = [
            ("p", "1", 2.0),
            ("p", "2", 4.0),
            ("p", "2", 6.0), // another photo of lesion 2
            ("p", "3", 8.0),
            ("p", "4", nan),
            ("q", "1", 1.0),
            ("", "", 3.0),
            ("p", "", 2.0),
        ];
        let set = filled(&cases);
        // Beside 4, 6, 8 and 2: mean 5, variance 5; one of four is equal.
        let [difference, deviations, rank, count] = numbers(&set, 0)[..] else { panic!("four fields") };
        assert_eq!((difference, rank, count), (Some(-3.0), Some(0.125), Some(4.0)));
        assert!((deviations.unwrap() + 3.0 / 5.0_f64.sqrt()).abs() < 1e-12);
        // Lesion 2 is not beside itself: 2, 8 and 2 are.
        assert_eq!(numbers(&set, 1)[0], Some(0.0));
        assert_eq!(numbers(&set, 2)[..1], [Some(2.0)]);
        assert_eq!(numbers(&set, 2)[2], Some(2.0 / 3.0));
        assert_eq!(numbers(&set, 4), [None, None, None, Some(4.0)]);
        assert_eq!((numbers(&set, 5), numbers(&set, 6)), (vec![None; 4], vec![None; 4]));
        assert_eq!(set.with_other_lesions(), 6);
        assert!(set.notes[0].starts_with("6 of 8 cases have other lesions of the same patient beside them"));

        // Neither the order of the rows nor the labels have a say.
        let mut turned = self::set(&cases);
        turned.cases.reverse();
        turned.cases.iter_mut().for_each(|case| case.labels = vec![None]);
        turned.add_other_lesions(&["x".to_owned()]).unwrap();
        for row in 0..cases.len() {
            assert_eq!(numbers(&turned, cases.len() - 1 - row), numbers(&set, row));
        }
    }

    #[test]
    fn equal_others_have_no_deviation_and_distant_ones_keep_it() {
        let set = filled(&[("p", "", 0.1), ("p", "", 0.1), ("p", "", 0.1), ("p", "", 0.7), ("p", "", 0.1)]);
        assert_eq!(numbers(&set, 3)[1..], [None, Some(1.0), Some(4.0)]);
        assert!(numbers(&set, 0)[1].is_some_and(|deviations| deviations < 0.0));
        let far = filled(&[("p", "", 1e9), ("p", "", 1e9 + 1.0), ("p", "", 1e9 + 2.0), ("p", "", 1e9 + 7.0)]);
        assert!((numbers(&far, 3)[1].unwrap() - 6.0 / (2.0_f64 / 3.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_set_is_filled_for_the_fields_of_a_model() {
        let cases = [("p", "", 1.0), ("p", "", 3.0), ("q", "", 5.0)];
        let fields = filled(&cases).fields;
        let plain = set(&cases);
        let asked = plain.beside_other_lesions(&fields);
        assert_eq!((asked.fields.len(), numbers(&asked, 1)[0]), (5, Some(2.0)));
        // What is given stays, the rest is filled.
        let mut given = asked.into_owned();
        given.cases[0].metadata[1] = FieldValue::Number(9.0);
        given.cases[1].metadata[1] = FieldValue::Missing;
        let again = given.beside_other_lesions(&fields);
        assert_eq!((numbers(&again, 0)[0], numbers(&again, 1)[0]), (Some(9.0), Some(2.0)));
        assert!(matches!(plain.beside_other_lesions(&plain.fields), Cow::Borrowed(_)));
    }

    #[test]
    fn what_cannot_stand_beside_others_is_named() {
        let error = |sources: &[&str]| {
            let sources: Vec<String> = sources.iter().map(|name| (*name).to_owned()).collect();
            let mut set = set(&[("p", "", 1.0)]);
            set.fields.push(Field::categorical("sex", FieldRole::PreDiagnosis, ["f", "m"]));
            set.fields.push(Field::numeric("depth", FieldRole::PostDiagnosis));
            set.add_other_lesions(&sources).unwrap_err().to_string()
        };
        assert!(
            error(&["y"]).contains("`y`, which is none of x, depth, is not a numeric field of the set"),
            "{}",
            error(&["y"])
        );
        assert!(error(&["sex"]).contains("`sex` is not a number"));
        assert!(error(&["depth"]).contains("known before the diagnosis"));
        assert!(error(&["x", "x"]).contains("named once"));
        let mut nobody = set(&[("", "", 1.0)]);
        assert!(nobody.add_other_lesions(&["x".into()]).unwrap_err().to_string().contains("tells patients apart"));
    }
}
