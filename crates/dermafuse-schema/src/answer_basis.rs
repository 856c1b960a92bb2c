//! What a case was answered from.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What stands between the parts, where one is written.
const AND: char = '+';
/// What stands before the number of looks, where one is written.
const TIMES: char = '×';

/// What a case was answered from: the branches of the network, and the record where a second stage read it.
///
/// In files it is one word, such as `clinical+dermoscopic+fusion+metadata`; behind `×` stands the number of looks, where there were
/// several: `clinical×2`.
///
/// ```
/// use dermafuse_schema::AnswerBasis;
///
/// let basis = AnswerBasis::of_branches(["clinical", "fusion"], 2).with_record();
/// assert_eq!(basis.to_string(), "clinical×2+fusion×2+metadata");
/// assert_eq!(AnswerBasis::from("clinical×2+fusion×2+metadata"), basis);
/// assert_eq!(basis.without_looks(), "clinical+fusion+metadata");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct AnswerBasis {
    parts: Vec<BasisPart>,
}

/// A part of an [`AnswerBasis`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasisPart {
    /// The branch, or [`AnswerBasis::RECORD`].
    pub name: String,
    /// How many looks at the case it had, 1 or more.
    pub looks: usize,
}

impl AnswerBasis {
    /// The part for the patient's record, read by a second stage or by a branch of this name.
    pub const RECORD: &'static str = "metadata";

    /// Branches that had `looks` looks each, in this order.
    #[must_use]
    pub fn of_branches<N: Into<String>>(names: impl IntoIterator<Item = N>, looks: usize) -> Self {
        Self { parts: names.into_iter().map(|name| BasisPart { name: name.into(), looks }).collect() }
    }

    /// The same, and the record.
    #[must_use]
    pub fn with_record(mut self) -> Self {
        self.parts.push(BasisPart { name: Self::RECORD.into(), looks: 1 });
        self
    }

    /// The same from one look each: a case with two photos is answered in the same way as one with one.
    #[must_use]
    pub fn without_looks(&self) -> Self {
        Self { parts: self.parts.iter().map(|part| BasisPart { looks: 1, ..part.clone() }).collect() }
    }

    /// The parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[BasisPart] {
        &self.parts
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl fmt::Display for BasisPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.looks {
            1 => formatter.write_str(&self.name),
            looks => write!(formatter, "{}{TIMES}{looks}", self.name),
        }
    }
}

impl From<&str> for BasisPart {
    fn from(text: &str) -> Self {
        let looks = text.rsplit_once(TIMES).and_then(|(name, looks)| Some((name, looks.parse().ok()?)));
        let (name, looks) = looks.filter(|(_, looks)| *looks > 1).unwrap_or((text, 1));
        Self { name: name.into(), looks }
    }
}

impl fmt::Display for AnswerBasis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                write!(formatter, "{AND}")?;
            }
            part.fmt(formatter)?;
        }
        Ok(())
    }
}

impl From<&str> for AnswerBasis {
    fn from(text: &str) -> Self {
        match text.is_empty() {
            true => Self::default(),
            false => Self { parts: text.split(AND).map(BasisPart::from).collect() },
        }
    }
}

impl From<String> for AnswerBasis {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<AnswerBasis> for String {
    fn from(basis: AnswerBasis) -> Self {
        basis.to_string()
    }
}

impl FromStr for AnswerBasis {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl PartialEq<str> for AnswerBasis {
    /// Whether it is what is written so.
    fn eq(&self, text: &str) -> bool {
        let other = Self::from(text);
        *self == other
    }
}

impl PartialEq<&str> for AnswerBasis {
    /// Whether it is what is written so.
    fn eq(&self, text: &&str) -> bool {
        self == *text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        for text in ["", "clinical", "clinical×2+fusion×2+metadata", "class frequencies", "a×b+×+1×", "metadata", "x×1"]
        {
            let basis = AnswerBasis::from(text);
            assert_eq!(basis.to_string(), text);
            let json = serde_json::to_string(&basis).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<AnswerBasis>(&json).unwrap(), basis);
        }
        assert_eq!(AnswerBasis::from("a×3+b").parts()[0], BasisPart { name: "a".into(), looks: 3 });
        assert!(AnswerBasis::default().is_empty() && AnswerBasis::of_branches(Vec::<String>::new(), 2).is_empty());
    }

    #[test]
    fn the_record_is_a_part_whoever_read_it() {
        let of_branch = AnswerBasis::of_branches(["clinical", "metadata"], 1);
        assert_eq!(of_branch, AnswerBasis::of_branches(["clinical"], 1).with_record());
        assert_ne!(of_branch, AnswerBasis::of_branches(["clinical"], 1));
    }
}
