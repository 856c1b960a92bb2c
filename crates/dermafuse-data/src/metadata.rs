//! From fields to numbers.

pub(crate) mod cohort;
pub(crate) mod encoded_column;
pub(crate) mod encoder;
pub(crate) mod encoder_config;
pub(crate) mod matched_encoder;
pub(crate) mod number_range;
pub(crate) mod other_lesions;
