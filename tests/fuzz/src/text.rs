//! Changes of a text: numbers, words and lines.

use crate::draws::Draws;
use crate::mutate::{Corpus, range};

/// What stands in place of a number.
const NUMBERS: [&str; 21] = [
    "0",
    "-1",
    "-0",
    "99",
    "0.5",
    "1e12",
    "1e308",
    "1e999",
    "-1e999",
    "5e-324",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "4294967296",
    "0x7f",
    "1_000",
];
/// What stands anywhere.
const SCRAPS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n\n",
    b"\"",
    b"'''",
    b"\"\"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b",",
    b";",
    b"\t",
    b"=",
    b"{",
    b"]",
    b"#",
    b"sep=;\n",
    "e\u{301}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{85}".as_bytes(),
];

/// One change.
pub(crate) fn change(input: &mut Vec<u8>, draws: &mut Draws, corpus: &Corpus) {
    match draws.below(12) {
        0..3 => {
            let number = number(draws);
            replace_token(input, &number, draws, |byte| byte.is_ascii_digit() || b".-+".contains(&byte));
        }
        3 | 4 => {
            let word = word(draws, corpus);
            replace_token(input, &word, draws, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        }
        5 => {
            let word = word(draws, corpus);
            insert(input, &word, draws);
        }
        6 => insert(input, draws.pick::<&[u8]>(&SCRAPS), draws),
        7 | 8 => change_lines(input, draws),
        9 => drop(input.drain(range(input.len(), draws))),
        10 => {
            let bracket = *draws.pick(&[&b"["[..], b"{\"a\":", b"(", b"\"", b"a."]);
            let nested = bracket.repeat(1 + draws.below(3000));
            insert(input, &nested, draws);
        }
        _ => {
            let block = input[range(input.len(), draws)].to_vec();
            insert(input, &block, draws);
        }
    }
}

fn number(draws: &mut Draws) -> Vec<u8> {
    match draws.once_in(12) {
        true => b"9".repeat(1 + draws.below(2000)),
        false => draws.pick(&NUMBERS).as_bytes().to_vec(),
    }
}

fn word(draws: &mut Draws, corpus: &Corpus) -> Vec<u8> {
    match draws.below(6) {
        0 => Vec::new(),
        1 => b"long".repeat(1 + draws.below(2000)),
        2 => draws.pick(&NUMBERS).as_bytes().to_vec(),
        _ if !corpus.words.is_empty() => draws.pick(corpus.words).as_bytes().to_vec(),
        _ => b"word".to_vec(),
    }
}

fn insert(input: &mut Vec<u8>, block: &[u8], draws: &mut Draws) {
    let at = draws.below(input.len() + 1);
    input.splice(at..at, block.iter().copied());
}

/// Replaces one run of such bytes.
fn replace_token(input: &mut Vec<u8>, by: &[u8], draws: &mut Draws, of_token: impl Fn(u8) -> bool) {
    let begins = |at: usize| of_token(input[at]) && (at == 0 || !of_token(input[at - 1]));
    let starts: Vec<usize> = (0..input.len()).filter(|&at| begins(at)).collect();
    if starts.is_empty() {
        return input.extend(by);
    }
    let start = *draws.pick(&starts);
    let length = input[start..].iter().take_while(|&&byte| of_token(byte)).count();
    input.splice(start..start + length, by.iter().copied());
}

/// Leaves out, repeats or swaps lines.
fn change_lines(input: &mut Vec<u8>, draws: &mut Draws) {
    let mut lines: Vec<&[u8]> = input.split_inclusive(|&byte| byte == b'\n').collect();
    if lines.is_empty() {
        return;
    }
    let (one, other) = (draws.below(lines.len()), draws.below(lines.len()));
    match draws.below(4) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(one, lines[other]),
        2 => lines.swap(one, other),
        _ => {
            let line = lines[one];
            lines.splice(other..other, std::iter::repeat_n(line, 1 + draws.below(50)));
        }
    }
    *input = lines.concat();
}
