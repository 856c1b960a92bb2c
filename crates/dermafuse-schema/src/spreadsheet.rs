use std::borrow::Cow;

/// A text as it can stand in a CSV file that someone opens in a spreadsheet: what the spreadsheet would run as a formula
/// has an apostrophe before it. [`from_spreadsheet`] gives the text back, whatever it was.
///
/// For texts alone: a number that is meant as one is written as it is.
///
/// ```
/// use dermafuse_schema::{from_spreadsheet, spreadsheet_safe};
///
/// assert_eq!(spreadsheet_safe("PAT_8_30"), "PAT_8_30");
/// assert_eq!(spreadsheet_safe("=1+1"), "'=1+1");
/// assert_eq!(from_spreadsheet("'=1+1"), "=1+1");
/// assert_eq!(from_spreadsheet("'tis"), "'tis");
/// assert_eq!(from_spreadsheet(&spreadsheet_safe("'=1+1")), "'=1+1");
/// ```
#[must_use]
pub fn spreadsheet_safe(text: &str) -> Cow<'_, str> {
    map_pieces(text, |piece, first| needs_mark(piece, first).then(|| format!("'{piece}")))
}

/// The text that [`spreadsheet_safe`] was given; a text that it does not write is taken as it is.
#[must_use]
pub fn from_spreadsheet(text: &str) -> Cow<'_, str> {
    map_pieces(text, |piece, first| piece.strip_prefix('\'').filter(|rest| needs_mark(rest, first)).map(str::to_owned))
}

/// Where a spreadsheet begins a new cell, if it parts values otherwise than by commas.
fn ends_cell(letter: char) -> bool {
    matches!(letter, ';' | '\t' | '\n' | '\r')
}

/// The pieces that may become cells, each as it is or as `change` has it.
fn map_pieces(text: &str, change: impl Fn(&str, bool) -> Option<String>) -> Cow<'_, str> {
    let mut changed: Option<String> = None;
    let mut done = 0;
    for piece in text.split_inclusive(ends_cell) {
        match (change(piece, done == 0), &mut changed) {
            (None, None) => {}
            (None, Some(changed)) => changed.push_str(piece),
            (Some(other), Some(changed)) => changed.push_str(&other),
            (Some(other), changed @ None) => *changed = Some(format!("{}{other}", &text[..done])),
        }
        done += piece.len();
    }
    changed.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Whether a piece would be run, or read back as another.
fn needs_mark(piece: &str, first: bool) -> bool {
    let passed_over = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '"';
    let start = piece.trim_start_matches(passed_over).chars().next();
    // Also as they are written full width, which some spreadsheets take for the same.
    let runs = start.is_some_and(|letter| "=+-@\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}".contains(letter));
    let trimmed = first && piece.starts_with(|letter: char| letter.is_whitespace() || letter.is_control());
    // A mark of its own, before something that has one: it would be taken for ours.
    let marked = piece.strip_prefix('\'').is_some_and(|rest| needs_mark(rest, first));
    runs || trimmed || marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_has_a_mark() {
        for text in [
            "=cmd|' /C calc'!A0",
            "+1",
            "-x",
            "@SUM(1)",
            "\t=1",
            "\r=1",
            "\n=1",
            " =1",
            "\"=1\"",
            "\u{ff1d}1",
            "'=1",
            "''=1",
            "\u{0}=1",
        ] {
            let safe = spreadsheet_safe(text);
            assert!(safe.starts_with('\''), "{text:?}");
            assert_eq!(from_spreadsheet(&safe), text);
        }
        // A spreadsheet that parts by semicolons begins a cell there.
        assert_eq!(spreadsheet_safe("a;=1;b\t@x\n-y"), "a;'=1;b\t'@x\n'-y");
        for text in
            ["", "PAT_8", "a=b", "a-b", "it's", "'tis", "melanoma (0.76 to 1.5 mm)", "a, b", "a; b", "Gr\u{fc}\u{df}e"]
        {
            assert_eq!(spreadsheet_safe(text), text);
            assert_eq!(from_spreadsheet(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back_and_none_is_run(text in "['=+@;\t\r\n \"a\\-\u{ff1d}]{0,12}|.{0,12}") {
            let safe = spreadsheet_safe(&text);
            proptest::prop_assert_eq!(&*from_spreadsheet(&safe), &*text);
            for cell in safe.split(ends_cell) {
                let start = cell.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '"');
                proptest::prop_assert!(!start.starts_with(['=', '+', '-', '@']), "{:?}", safe);
            }
            // Nor does it change when it is done twice and undone twice.
            let twice = spreadsheet_safe(&safe).into_owned();
            let once = from_spreadsheet(&twice).into_owned();
            proptest::prop_assert_eq!(&*from_spreadsheet(&once), &*text);
        }
    }
}
