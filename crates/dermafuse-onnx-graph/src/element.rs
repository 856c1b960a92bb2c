use std::fmt;

/// What a tensor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// 8-bit integers with a sign.
    I8,
    /// Bytes.
    U8,
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
    /// Truth values.
    Bool,
}

impl Element {
    /// Its number in ONNX files.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F64 => 11,
        }
    }
}

impl fmt::Display for Element {
    /// As other libraries write it: `float32`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::Bool => "bool",
        })
    }
}

/// One dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// So many, whatever the batch.
    Fixed(usize),
    /// So many for each case of the batch.
    Batch(usize),
}

impl Dim {
    /// The number, of a dimension that does not depend on the batch.
    #[must_use]
    pub const fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(size),
            Self::Batch(_) => None,
        }
    }

    /// Dimensions that do not depend on the batch.
    #[must_use]
    pub fn all_fixed(sizes: &[usize]) -> Vec<Self> {
        sizes.iter().map(|&size| Self::Fixed(size)).collect()
    }

    /// What two dimensions become when one is broadcast to the other.
    ///
    /// # Panics
    /// If neither is 1 and they differ.
    #[must_use]
    pub fn broadcast(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fixed(1), dim) | (dim, Self::Fixed(1)) => dim,
            _ => {
                assert_eq!(self, other, "dimensions that are broadcast");
                self
            }
        }
    }
}

/// What two shapes become when they are broadcast to each other, aligned at the last dimension.
///
/// # Panics
/// If they cannot be.
pub(crate) fn broadcast(left: &[Dim], right: &[Dim]) -> Vec<Dim> {
    let rank = left.len().max(right.len());
    let at = |shape: &[Dim], place: usize| match (place + shape.len()).checked_sub(rank) {
        Some(place) => shape[place],
        None => Dim::Fixed(1),
    };
    (0..rank).map(|place| at(left, place).broadcast(at(right, place))).collect()
}
