use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A printed mean, with its standard deviation where that is printed too. In files `76.7`, or `[76.7, 0.4]`.
///
/// ```
/// use dermafuse_eval::published::Printed;
///
/// let printed: Vec<Printed> = serde_json::from_str("[77, [76.75, 0.4]]")?;
/// assert_eq!(printed[0].to_string(), "77.0");
/// assert_eq!(printed[1].to_string(), "76.8 ± 0.4");
/// assert_eq!(serde_json::to_string(&printed)?, "[77.0,[76.75,0.4]]");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Printed {
    /// The mean.
    pub mean: f64,
    /// The deviation over runs.
    pub deviation: Option<f64>,
}

impl From<f64> for Printed {
    fn from(mean: f64) -> Self {
        Self { mean, deviation: None }
    }
}

impl fmt::Display for Printed {
    /// With one decimal: `74.9 ± 2.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.mean)?;
        self.deviation.map_or(Ok(()), |deviation| write!(f, " ± {deviation:.1}"))
    }
}

impl Serialize for Printed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.deviation {
            None => self.mean.serialize(serializer),
            Some(deviation) => [self.mean, deviation].serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Printed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MeanOrBoth;
        impl<'de> Visitor<'de> for MeanOrBoth {
            type Value = Printed;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, or [mean, deviation]")
            }

            fn visit_f64<E: Error>(self, mean: f64) -> Result<Printed, E> {
                Ok(mean.into())
            }

            fn visit_i64<E: Error>(self, mean: i64) -> Result<Printed, E> {
                Ok((mean as f64).into())
            }

            fn visit_u64<E: Error>(self, mean: u64) -> Result<Printed, E> {
                Ok((mean as f64).into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Printed, A::Error> {
                let mean = values.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let deviation = values.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                match values.next_element::<f64>()? {
                    None => Ok(Printed { mean, deviation: Some(deviation) }),
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                }
            }
        }
        deserializer.deserialize_any(MeanOrBoth)
    }
}
