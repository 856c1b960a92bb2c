//! What is known of a patient or lesion, and what kind of value it is.

use dermafuse_schema::FieldRole;

use super::ColumnRole;
use super::column::{GuessedColumn, NOTHING};
use super::leaks;
use super::tasks::{Labels, Spellings, spellings};
use super::words::{answer, has_beginning, has_word, is_like_date, is_like_id, key_of, nearly_same, quoted};

/// The most categories that a column is thought to have.
const CATEGORIES: usize = 30;
/// Numbers that tables write where nothing is recorded.
const CODES: [f64; 6] = [-1.0, -9.0, -99.0, -999.0, 999.0, 9999.0];

/// A column of the cases, and what it is held against.
pub(super) struct Seen<'a, 't> {
    /// Whether rows of one case differ in it.
    pub(super) varies: bool,
    pub(super) column: &'a GuessedColumn<'t>,
    pub(super) labels: &'a Labels,
    /// The fields so far.
    pub(super) earlier: Vec<&'a GuessedColumn<'t>>,
}

/// A field as it is written.
pub(super) struct FieldColumn {
    pub(super) kind: FieldKindGuess,
    pub(super) role: FieldRole,
    pub(super) reason: String,
    /// Where it is missing for some diagnoses far more often than for others.
    pub(super) uneven: Option<String>,
}

pub(super) enum FieldKindGuess {
    /// A number, and what of its column is none.
    Number { missing: Vec<String> },
    /// Categories, other spellings of them, and whether they are yes and no.
    Category { categories: Vec<String>, map: Vec<(String, String)>, yes_no: bool },
}

impl FieldKindGuess {
    pub(super) fn role(&self) -> ColumnRole {
        match self {
            Self::Number { .. } => ColumnRole::Number,
            Self::Category { yes_no: true, .. } => ColumnRole::YesNo,
            Self::Category { .. } => ColumnRole::Category,
        }
    }
}

/// The field that a column is, or why it is none.
pub(super) fn guess(
    seen: &Seen<'_, '_>,
    given: Option<ColumnRole>,
    open: &mut Vec<String>,
) -> Result<FieldColumn, String> {
    let column = seen.column;
    let (distinct, name) = (column.distinct(), column.name);
    if seen.varies {
        return Err("rows of one case differ in it".into());
    }
    if given.is_none() {
        if let Some(reason) = useless(seen) {
            return Err(reason);
        }
        if let Some(why) = leaks::by_name(name) {
            return Err(format!("LEAK: {why}"));
        }
        if let Some(why) = leaks::by_values(column, seen.labels) {
            return Err(format!("LEAK: {why}"));
        }
    }
    let (kind, reason) = match given {
        Some(ColumnRole::Number) => (number(column), "you said so".to_owned()),
        Some(ColumnRole::Category | ColumnRole::YesNo) => (category(column), "you said so".to_owned()),
        _ => kind(column, distinct)?,
    };
    if let FieldKindGuess::Category { categories, .. } = &kind {
        let count =
            |category: &String| column.seen().find(|value| value.text == category).map_or(0, |value| value.count);
        for (at, one) in categories.iter().enumerate() {
            if let Some(other) = categories[at + 1..].iter().find(|other| nearly_same(one, other)) {
                let (few, many) = if count(one) < count(other) { (one, other) } else { (other, one) };
                open.push(format!(
                    "column `{name}`: `{few}` and `{many}` may be one; if they are, take `{few}` out of its categories and say map = {{ \"{few}\" = \"{many}\" }}"
                ));
            }
        }
    }
    let role = if is_measured(column) { FieldRole::ImageDerived } else { FieldRole::PreDiagnosis };
    Ok(FieldColumn { kind, role, reason, uneven: leaks::by_missing(column, seen.labels) })
}

/// Why a column is of no use.
fn useless(seen: &Seen<'_, '_>) -> Option<String> {
    let column = seen.column;
    let (distinct, recorded, name) = (column.distinct(), column.recorded(), column.name);
    if distinct == 0 {
        return Some("nothing is recorded in it".into());
    }
    if distinct == 1 && recorded == column.codes.len() {
        return Some("it says the same of every case".into());
    }
    if has_word(name, &["split", "fold", "partition", "subset"]) {
        return Some(
            "it divides the cases; `split = { kind = \"file\", path = … }` of an experiment takes such a table".into(),
        );
    }
    let provenance = [
        "attribution",
        "copyright",
        "licen",
        "institut",
        "hospital",
        "dataset",
        "camera",
        "device",
        "cent",
        "operator",
        "doctor",
        "physician",
    ];
    if has_beginning(name, &provenance) {
        return Some("it says where a case comes from, not what is seen".into());
    }
    let numbers = column.seen().filter(|value| value.number.is_some()).count();
    if column.seen().all(|value| is_like_date(value.text)) && numbers == 0 {
        return Some("dates are not read; a number of years or days would be".into());
    }
    let is_whole = column.seen().all(|value| value.number.is_none_or(|number| number.fract() == 0.0));
    if is_like_id(name) && (is_whole || numbers == 0) && 5 * distinct > recorded {
        return Some("its name is that of an identifier".into());
    }
    let twin = seen.earlier.iter().find(|other| is_same(column, other));
    twin.map(|other| format!("it says the same as `{}`", other.name))
}

/// Whether two columns say the same in other words.
fn is_same(one: &GuessedColumn<'_>, other: &GuessedColumn<'_>) -> bool {
    let mut there = vec![NOTHING; one.values.len()];
    let mut back = vec![NOTHING; other.values.len()];
    one.distinct() > 1
        && one.codes.iter().zip(&other.codes).all(|(&a, &b)| match (a, b) {
            (NOTHING, NOTHING) => true,
            (NOTHING, _) | (_, NOTHING) => false,
            (a, b) => {
                let (to, from) = (&mut there[a as usize], &mut back[b as usize]);
                let is_new = *to == NOTHING && *from == NOTHING;
                if is_new {
                    (*to, *from) = (b, a);
                }
                (*to, *from) == (b, a)
            }
        })
}

/// Whether values were computed from the image.
fn is_measured(column: &GuessedColumn<'_>) -> bool {
    let is_share = column.seen().all(|value| value.number.is_some_and(|number| (0.0..=1.0).contains(&number)));
    has_beginning(column.name, &["monet", "predict", "probab", "embedding", "softmax", "logit"])
        || (has_word(column.name, &["score", "prob", "pred"]) && is_share)
}

fn kind(column: &GuessedColumn<'_>, distinct: usize) -> Result<(FieldKindGuess, String), String> {
    let values = spellings(column);
    let numbers: Vec<f64> = column.seen().filter_map(|value| value.number).collect();
    let is_yes_no = values.len() <= 2 && values.iter().all(|value| answer(value.main).is_some());
    let sides: Vec<bool> = values.iter().filter_map(|value| answer(value.main)).collect();
    if is_yes_no && (sides.len() < 2 || sides[0] != sides[1]) {
        return Ok((category(column), format!("its values are {}", words(&values))));
    }
    let enough = numbers.len() == distinct || (numbers.len() >= 10 && 10 * numbers.len() >= 9 * distinct);
    if enough {
        let whole = numbers.iter().all(|number| number.fract() == 0.0);
        let (least, most) = (
            numbers.iter().copied().fold(f64::INFINITY, f64::min),
            numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        let range = if whole && distinct <= 12 {
            format!(
                "its values are the whole numbers from {least} to {most}; if they are codes without an order, say --role {}=category",
                column.name
            )
        } else {
            format!("its values are numbers from {least} to {most}")
        };
        let kind = number(column);
        let reason = match &kind {
            FieldKindGuess::Number { missing } if !missing.is_empty() => {
                format!("{range}, but for {}, taken for not recorded", quoted(missing))
            }
            _ => range,
        };
        return Ok((kind, reason));
    }
    if values.len() > CATEGORIES {
        let example = quoted(&values.iter().take(2).map(|value| value.main).collect::<Vec<_>>());
        return Err(format!(
            "{} different texts, such as {example}: free text is not read; --role {}=category takes them all",
            values.len(),
            column.name
        ));
    }
    if 2 * values.len() > column.recorded() && column.recorded() > 4 {
        return Err("most of its values occur once".into());
    }
    Ok((category(column), format!("it has {} values: {}", values.len(), words(&values))))
}

fn words(values: &[Spellings<'_>]) -> String {
    quoted(&values.iter().map(|value| value.main).collect::<Vec<_>>())
}

/// A number, and which of the column's values are none.
fn number(column: &GuessedColumn<'_>) -> FieldKindGuess {
    let numbers: Vec<f64> = column.seen().filter_map(|value| value.number).collect();
    let is_code = |number: f64| {
        let others = || numbers.iter().filter(|other| !CODES.contains(other));
        CODES.contains(&number)
            && others().count() > 0
            && if number < 0.0 {
                others().all(|other| *other >= 0.0)
            } else {
                others().all(|other| 2.0 * other < number)
            }
    };
    let is_none = |number: Option<f64>| number.is_none_or(is_code);
    let mut missing: Vec<String> =
        column.seen().filter(|value| is_none(value.number)).map(|value| value.text.to_owned()).collect();
    missing.sort();
    FieldKindGuess::Number { missing }
}

fn category(column: &GuessedColumn<'_>) -> FieldKindGuess {
    let mut values = spellings(column);
    let yes_no = values.len() == 2 && values.iter().all(|value| answer(value.main).is_some());
    let number = |value: &Spellings<'_>| value.main.parse::<f64>().ok();
    // No before yes; numbers in their order; words in that of the alphabet.
    values.sort_by(|one, other| {
        let numbers = number(one).zip(number(other));
        let order = if yes_no { answer(one.main).cmp(&answer(other.main)) } else { std::cmp::Ordering::Equal };
        let by_number = numbers.map_or(std::cmp::Ordering::Equal, |(one, other)| one.total_cmp(&other));
        order.then(by_number).then_with(|| key_of(one.main).cmp(&key_of(other.main)))
    });
    let map =
        values.iter().flat_map(|value| value.others.iter().map(|other| ((*other).to_owned(), value.main.to_owned())));
    FieldKindGuess::Category {
        map: map.collect(),
        categories: values.iter().map(|value| value.main.to_owned()).collect(),
        yes_no,
    }
}
