//! Kinds of modules that other crates bring: registered by name, described in files, and held as Burn modules whose type is only
//! known at run time.
//!
//! Built-in kinds are tables of enums, see `dermafuse-networks` and `dermafuse-fusion`. What another crate brings cannot be a
//! variant of theirs, so each of those enums has one variant for all of it:
//!
//! | of an enum | its variant for other crates holds | what makes it possible |
//! |---|---|---|
//! | of descriptions | [`OutsideKind`]: a description behind a trait object | a [`Registry`], which reads it by its `kind` |
//! | of modules | [`OutsideModule`]: a module behind a trait object | [`ErasedModule`], which carries Burn's visitors and mappers across |
//!
//! Burn's [`Module`](burn::module::Module) cannot be a trait object itself: its visitors have a method for tensors of every rank. A
//! module that is [`Held`] shows its parameters as [`Any`](std::any::Any), and ranks up to [`MAX_RANK`] are found again on
//! the other side.

mod erased_module;
mod erased_visitor;
mod error;
mod held;
mod kind_table;
mod outside_kind;
mod outside_module;
mod registry;

pub use erased_module::{CloneBoxed, ErasedModule};
pub use erased_visitor::{ErasedMapper, ErasedVisitor, MAX_RANK, largest_rank, unsaved_parameter};
pub use error::RegistryError;
pub use held::Held;
pub use kind_table::{KindTable, OUTSIDE};
pub use outside_kind::{Erased, OutsideKind};
pub use outside_module::OutsideModule;
pub use registry::{ReadKind, Registry};
