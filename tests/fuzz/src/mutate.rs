//! From a corpus to one input: up to eight changes, most of them such as the syntax of the input suggests.

use crate::draws::Draws;
use crate::{json, text};

/// Longer inputs are cut, unless an entry of the corpus is as long.
const LONGEST: usize = 1 << 16;

/// How the bytes of an input are written, so that changes can get past the first parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// No text.
    Binary,
    /// Lines: TOML, CSV.
    Lines,
    /// JSON.
    Json,
}

/// An input that follows the rules of its reader.
pub type Make = fn(&[Vec<u8>], &mut Draws) -> Vec<u8>;

/// What inputs are made of.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// How they are written.
    pub syntax: Syntax,
    /// Inputs that the reader accepts, and some that it nearly does.
    pub entries: Vec<Vec<u8>>,
    /// Words that mean something to the reader.
    pub words: &'static [&'static str],
    /// Makes an input that the reader should accept, from the entries. Where there is one, half of the inputs are made, and most of
    /// these are not changed.
    pub make: Option<Make>,
}

/// Numbers that break things.
pub(crate) const INTEGERS: [u64; 22] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    99,
    127,
    128,
    255,
    256,
    1_000,
    32_767,
    65_535,
    65_536,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1_000_000_000_000,
    0x7FFF_FFFF_FFFF_FFFF,
    0xFFFF_FFFF_FFFF_FFFF,
];

/// The input of a seed.
///
/// # Panics
/// If the corpus is empty.
#[must_use]
pub fn input_of(target: &str, seed: u64, corpus: &Corpus) -> Vec<u8> {
    let mut draws = Draws::new(target, seed);
    let draws = &mut draws;
    if let Some(make) = corpus.make.filter(|_| draws.once_in(2)) {
        let mut input = make(&corpus.entries, draws);
        if draws.once_in(4) {
            text::change(&mut input, draws, corpus);
        }
        return input;
    }
    let entry = draws.pick(&corpus.entries);
    // Few changes more often than many.
    let changes = 1 + draws.below(8).min(draws.below(8));
    let mut input = entry.clone();
    match corpus.syntax {
        Syntax::Binary => (0..changes).for_each(|_| change_bytes(&mut input, draws, corpus)),
        Syntax::Lines => (0..changes).for_each(|_| match draws.below(8) {
            0 => change_bytes(&mut input, draws, corpus),
            _ => text::change(&mut input, draws, corpus),
        }),
        Syntax::Json => match draws.below(8) {
            0 => change_bytes(&mut input, draws, corpus),
            1 => (0..changes).for_each(|_| text::change(&mut input, draws, corpus)),
            2 => {
                input = json::changed(&input, changes, draws, corpus);
                text::change(&mut input, draws, corpus);
            }
            _ => input = json::changed(&input, changes, draws, corpus),
        },
    }
    input.truncate(LONGEST.max(2 * entry.len()));
    input
}

/// A place, or the end.
fn place(length: usize, draws: &mut Draws) -> usize {
    draws.below(length + 1)
}

/// A range, more often a short one.
pub(crate) fn range(length: usize, draws: &mut Draws) -> std::ops::Range<usize> {
    let start = place(length, draws);
    let longest = match draws.below(4) {
        0 => length - start,
        1 => 64,
        _ => 8,
    };
    start..start + place(longest.min(length - start), draws)
}

/// One change that knows nothing of the syntax.
pub(crate) fn change_bytes(input: &mut Vec<u8>, draws: &mut Draws, corpus: &Corpus) {
    let length = input.len();
    match draws.below(12) {
        0 | 1 if length > 0 => input[draws.below(length)] ^= 1 << draws.below(8),
        2 | 3 if length > 0 => input[draws.below(length)] = draws.bits() as u8,
        4 | 5 => {
            let number = *draws.pick(&INTEGERS);
            let width = *draws.pick(&[1_usize, 2, 2, 4, 4, 8]);
            let little = number.to_le_bytes();
            let big = &number.to_be_bytes()[8 - width..];
            let bytes = if draws.once_in(2) { &little[..width] } else { big };
            let at = place(length.saturating_sub(width), draws);
            let end = (at + width).min(length);
            input[at..end].copy_from_slice(&bytes[..end - at]);
        }
        6 => drop(input.drain(range(length, draws))),
        7 => {
            let block = input[range(length, draws)].to_vec();
            let times = if draws.once_in(8) { 1 + draws.below(200) } else { 1 };
            let at = place(length, draws);
            input.splice(at..at, block.repeat(times));
        }
        8 => {
            let block: Vec<u8> = (0..=draws.below(16)).map(|_| draws.bits() as u8).collect();
            let at = place(length, draws);
            let end = if draws.once_in(2) { at } else { (at + block.len()).min(length) };
            input.splice(at..end, block);
        }
        9 => {
            let other = draws.pick(&corpus.entries);
            let (from, block) = (place(length, draws), other[range(other.len(), draws)].to_vec());
            let end = if draws.once_in(3) { length } else { (from + block.len()).min(length) };
            input.splice(from..end, block);
        }
        10 => input.truncate(draws.below(length)),
        _ if !corpus.words.is_empty() => {
            let word = draws.pick(corpus.words).as_bytes();
            let at = place(length, draws);
            let end = if draws.once_in(2) { at } else { (at + word.len()).min(length) };
            input.splice(at..end, word.iter().copied());
        }
        _ => input.push(draws.bits() as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn corpus(syntax: Syntax, entry: &str) -> Corpus {
        Corpus { syntax, entries: vec![entry.into(), b"other".to_vec()], words: &["word"], make: None }
    }

    #[test]
    fn an_input_follows_from_its_seed_and_seldom_repeats() {
        let entry = "{\"a\": [1, 2.5, \"x\"],\n \"b\": {\"c\": null}}\n";
        for syntax in [Syntax::Binary, Syntax::Lines, Syntax::Json] {
            let corpus = corpus(syntax, entry);
            let inputs: Vec<Vec<u8>> = (0..2000).map(|seed| input_of("target", seed, &corpus)).collect();
            let again: Vec<Vec<u8>> = (0..2000).map(|seed| input_of("target", seed, &corpus)).collect();
            assert_eq!(inputs, again);
            let distinct: BTreeSet<&Vec<u8>> = inputs.iter().collect();
            assert!(distinct.len() > 1000, "{syntax:?}: {}", distinct.len());
        }
    }

    #[test]
    fn no_corpus_is_too_small() {
        for entry in ["", "a", "{}", "[]"] {
            for syntax in [Syntax::Binary, Syntax::Lines, Syntax::Json] {
                let corpus = Corpus { syntax, entries: vec![entry.into()], words: &[], make: None };
                (0..2000).for_each(|seed| drop(input_of("target", seed, &corpus)));
            }
        }
    }

    #[test]
    fn changed_json_is_mostly_json() {
        let corpus = corpus(Syntax::Json, "{\"a\": [1, 2.5, \"x\"], \"b\": {\"c\": null}}");
        let parsed = |seed| serde_json::from_slice::<serde_json::Value>(&input_of("target", seed, &corpus)).is_ok();
        let count = (0..2000).filter(|&seed| parsed(seed)).count();
        assert!((600..1900).contains(&count), "{count}");
    }
}
