//! What is expected of a value and what is found, in the words of whoever writes settings: the one place where names of Rust's types
//! are turned into them.

use std::fmt;

use serde::de::{Expected, Unexpected};

/// What is expected of a value.
pub(crate) struct Wanted<'a>(pub(crate) &'a dyn Expected);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&in_words(&self.0.to_string()))
    }
}

/// What was found instead.
pub(crate) struct Found<'a>(pub(crate) Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(formatter, "{value}"),
            Unexpected::Unsigned(value) => write!(formatter, "{value}"),
            Unexpected::Signed(value) => write!(formatter, "{value}"),
            Unexpected::Float(value) => write!(formatter, "{value:?}"),
            Unexpected::Char(value) => write!(formatter, "\"{value}\""),
            Unexpected::Str(text) => write!(formatter, "{text:?}"),
            Unexpected::Seq | Unexpected::TupleVariant => formatter.write_str("a list"),
            Unexpected::Map | Unexpected::StructVariant => formatter.write_str("a table"),
            Unexpected::Option | Unexpected::Unit => formatter.write_str("no value"),
            Unexpected::Enum | Unexpected::UnitVariant | Unexpected::NewtypeVariant => formatter.write_str("a word"),
            Unexpected::NewtypeStruct => formatter.write_str("a value"),
            Unexpected::Bytes(_) => formatter.write_str("bytes"),
            Unexpected::Other(what) => formatter.write_str(what),
        }
    }
}

/// The words for what serde's derived readers expect; what a reader of our own says is in words already.
fn in_words(expected: &str) -> String {
    let numbered = |start: &str| {
        let count = expected.strip_prefix(start)?.split(' ').next()?;
        count.parse::<usize>().ok().map(|count| format!("a list of {count} values"))
    };
    let whole = |least: i128, most: u128| format!("a whole number from {least} to {most}");
    match expected {
        "usize" | "u64" | "u128" => "a whole number that is not negative".to_owned(),
        "u8" => whole(0, u8::MAX.into()),
        "u16" => whole(0, u16::MAX.into()),
        "u32" => whole(0, u32::MAX.into()),
        "i8" => whole(i8::MIN.into(), i8::MAX as u128),
        "i16" => whole(i16::MIN.into(), i16::MAX as u128),
        "i32" => whole(i32::MIN.into(), i32::MAX as u128),
        "isize" | "i64" | "i128" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a nonzero usize" | "a nonzero u64" | "a nonzero u32" => "a whole number above 0".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" | "a character" => "a text".to_owned(),
        "path string" | "a borrowed path" => "a path".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "unit" => "\"none\"".to_owned(),
        "variant identifier" | "variant of enum" => "a word".to_owned(),
        "field identifier" => "the name of a setting".to_owned(),
        "an array of length 0" | "an empty array" => "an empty list".to_owned(),
        _ => numbered("an array of length ")
            .or_else(|| numbered("a tuple of size "))
            .or_else(|| of_type(expected))
            .unwrap_or_else(|| expected.to_owned()),
    }
}

/// What serde says of a type by its name: `struct LossConfig`, `internally tagged enum PartsSettings`.
fn of_type(expected: &str) -> Option<String> {
    let starts = |starts: &[&str]| starts.iter().any(|start| expected.starts_with(start));
    let words = if starts(&["internally tagged enum ", "adjacently tagged enum "]) {
        "a table with its `kind`"
    } else if starts(&["struct ", "struct variant "]) {
        "a table"
    } else if starts(&["tuple struct ", "tuple variant ", "unit struct ", "newtype struct "]) {
        "a value"
    } else if starts(&["enum ", "unit variant "]) {
        "a word"
    } else {
        return None;
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_keeps_its_name() {
        let said = [
            ("usize", "a whole number that is not negative"),
            ("u8", "a whole number from 0 to 255"),
            ("i8", "a whole number from -128 to 127"),
            ("f64", "a number"),
            ("struct LossConfig", "a table"),
            ("internally tagged enum PartsSettings", "a table with its `kind`"),
            ("an array of length 3", "a list of 3 values"),
            ("a tuple of size 2", "a list of 2 values"),
            ("a network, which is a table with its `kind`", "a network, which is a table with its `kind`"),
        ];
        for (expected, words) in said {
            assert_eq!(in_words(expected), words);
        }
    }
}
