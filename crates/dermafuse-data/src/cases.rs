//! A data set in memory: its cases, views of some of them, the split that it carries, and which of its cases an epoch shows.

pub(crate) mod case_set;
pub(crate) mod case_unit;
pub(crate) mod case_view;
pub(crate) mod chosen_tasks;
pub(crate) mod field_roles;
pub(crate) mod only_modality;
pub(crate) mod sampling;
pub(crate) mod split;
