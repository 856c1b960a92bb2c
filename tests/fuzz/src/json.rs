//! Changes of a JSON tree: the result is JSON, so that they reach what stands behind its parser.

use serde_json::{Map, Number, Value};

use crate::draws::Draws;
use crate::mutate::{Corpus, INTEGERS};

/// Numbers that are no integers, or none that fits.
const FLOATS: [f64; 12] =
    [-1.0, 0.5, -0.0, 1.0 + f64::EPSILON, 1e12, -1e12, 1e100, 1e308, -1e308, 5e-324, f64::MAX, f64::MIN];

/// The text with some nodes of its tree changed; as it is, if it has no tree.
pub(crate) fn changed(text: &[u8], changes: usize, draws: &mut Draws, corpus: &Corpus) -> Vec<u8> {
    let Ok(mut root) = serde_json::from_slice::<Value>(text) else { return text.to_vec() };
    for _ in 0..changes {
        let spare = match draws.below(4) {
            0 => serde_json::from_slice(draws.pick::<Vec<u8>>(&corpus.entries)).unwrap_or(Value::Null),
            _ => root.clone(),
        };
        let spare = any_node(&spare, draws).clone();
        change(node(&mut root, draws), spare, draws, corpus);
    }
    serde_json::to_vec(&root).unwrap_or_default()
}

/// A node of the tree: down from the root, so that an array of a thousand numbers is not nearly all of it.
fn node<'a>(mut at: &'a mut Value, draws: &mut Draws) -> &'a mut Value {
    loop {
        let children = children_of(at);
        if children == 0 || draws.once_in(5) {
            return at;
        }
        let child = draws.below(children);
        at = match at {
            Value::Array(items) => &mut items[child],
            Value::Object(entries) => entries.values_mut().nth(child).expect("a child was counted"),
            leaf => return leaf,
        };
    }
}

fn any_node<'a>(mut at: &'a Value, draws: &mut Draws) -> &'a Value {
    loop {
        let children = children_of(at);
        if children == 0 || draws.once_in(5) {
            return at;
        }
        let child = draws.below(children);
        at = match at {
            Value::Array(items) => &items[child],
            Value::Object(entries) => entries.values().nth(child).expect("a child was counted"),
            leaf => return leaf,
        };
    }
}

fn children_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(entries) => entries.len(),
        _ => 0,
    }
}

fn change(at: &mut Value, spare: Value, draws: &mut Draws, corpus: &Corpus) {
    match draws.below(8) {
        0 => *at = spare,
        1 => *at = leaf(draws, corpus),
        _ => match at {
            Value::Null => *at = leaf(draws, corpus),
            Value::Bool(value) => *value = !*value,
            Value::Number(number) => *number = changed_number(number, draws),
            Value::String(text) => *text = string(text, draws, corpus),
            Value::Array(items) => change_array(items, spare, draws),
            Value::Object(entries) => change_object(entries, spare, draws, corpus),
        },
    }
}

fn leaf(draws: &mut Draws, corpus: &Corpus) -> Value {
    match draws.below(8) {
        0 => Value::Null,
        1 => Value::Bool(draws.once_in(2)),
        2 => Value::Array(Vec::new()),
        3 => Value::Object(Map::new()),
        4 => Value::String(string("", draws, corpus)),
        _ => Value::Number(number(draws)),
    }
}

fn number(draws: &mut Draws) -> Number {
    match draws.below(2) {
        0 => Number::from(*draws.pick(&INTEGERS)),
        _ => Number::from_f64(*draws.pick(&FLOATS)).unwrap_or_else(|| Number::from(0)),
    }
}

fn changed_number(old: &Number, draws: &mut Draws) -> Number {
    let float = |value: f64| Number::from_f64(value).unwrap_or_else(|| Number::from(0));
    match (draws.below(6), old.as_u64(), old.as_f64()) {
        (0, Some(value), _) => Number::from(value.wrapping_add(1)),
        (1, Some(value), _) => Number::from(value.wrapping_sub(1)),
        (0, None, Some(value)) => float(-value),
        (1, None, Some(value)) => float(value * 1e10),
        (2, _, Some(value)) => float(value * 0.5),
        _ => number(draws),
    }
}

fn string(old: &str, draws: &mut Draws, corpus: &Corpus) -> String {
    match draws.below(8) {
        0 => String::new(),
        1 => old.repeat(2),
        2 => "long ".repeat(1 + draws.below(2000)),
        3 => format!("{old}\0"),
        4 => format!("e\u{301}{old}"),
        5 => draws.pick(&INTEGERS).to_string(),
        _ if !corpus.words.is_empty() => (*draws.pick(corpus.words)).to_owned(),
        _ => format!("{old}?"),
    }
}

fn change_array(items: &mut Vec<Value>, spare: Value, draws: &mut Draws) {
    let length = items.len();
    match draws.below(8) {
        0 if length > 0 => drop(items.remove(draws.below(length))),
        1 => items.insert(draws.below(length + 1), spare),
        2 if length > 0 => {
            let item = items[draws.below(length)].clone();
            items.insert(draws.below(length), item);
        }
        3 if length > 0 => items.swap(draws.below(length), draws.below(length)),
        4 => items.truncate(draws.below(length + 1)),
        5 => items.reverse(),
        6 if length > 0 => {
            let item = items[draws.below(length)].clone();
            items.extend(std::iter::repeat_n(item, draws.below(300)));
        }
        _ => items.clear(),
    }
}

fn change_object(entries: &mut Map<String, Value>, spare: Value, draws: &mut Draws, corpus: &Corpus) {
    let keys: Vec<String> = entries.keys().cloned().collect();
    let key = |draws: &mut Draws| match keys.is_empty() {
        true => "key".to_owned(),
        false => draws.pick(&keys).clone(),
    };
    let (one, other) = (key(draws), key(draws));
    match draws.below(6) {
        0 => drop(entries.remove(&one)),
        1 => drop(entries.insert(string(&one, draws, corpus), spare)),
        2 => drop(entries.insert(one, spare)),
        3 => {
            if let Some(value) = entries.remove(&one) {
                entries.insert(string(&one, draws, corpus), value);
            }
        }
        4 => {
            if let (Some(a), Some(b)) = (entries.get(&one).cloned(), entries.get(&other).cloned()) {
                entries.insert(one, b);
                entries.insert(other, a);
            }
        }
        _ => {
            if let Some(value) = entries.get(&one).cloned() {
                entries.insert(other, value);
            }
        }
    }
}
