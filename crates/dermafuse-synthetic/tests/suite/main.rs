//! What the crate promises, from the outside.

mod drawn_sets;
mod layouts;
mod pad_ufes_20;
