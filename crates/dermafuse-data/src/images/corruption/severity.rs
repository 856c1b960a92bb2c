use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How bad a corrupted image is: 1, hardly, to 5, hardly to be recognised. Written as its number.
///
/// ```
/// use dermafuse_data::Severity;
///
/// assert_eq!("3".parse::<Severity>()?.get(), 3);
/// let error = "6".parse::<Severity>().unwrap_err().to_string();
/// assert_eq!(error, "severity of a corruption: 6 is not a whole number from 1 to 5");
/// # Ok::<(), dermafuse_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub struct Severity(u8);

impl Severity {
    /// All severities, the mildest first.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The severity of that number.
    ///
    /// # Errors
    /// A number that is not from 1 to 5.
    pub fn new(number: u8) -> Result<Self, DataError> {
        match number {
            1..=5 => Ok(Self(number)),
            _ => Err(unknown(&number.to_string())),
        }
    }

    /// The number, 1 to 5.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The place in a list of five levels, 0 to 4.
    pub(super) const fn index(self) -> usize {
        self.0 as usize - 1
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Severity {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        text.parse().map_err(|_| unknown(text)).and_then(Self::new)
    }
}

impl From<Severity> for u8 {
    fn from(severity: Severity) -> Self {
        severity.0
    }
}

impl TryFrom<u8> for Severity {
    type Error = DataError;

    fn try_from(number: u8) -> Result<Self, DataError> {
        Self::new(number)
    }
}

fn unknown(found: &str) -> DataError {
    let expected = "a whole number from 1 to 5";
    DataError::Setting { what: "severity of a corruption", found: found.to_owned(), expected }
}
