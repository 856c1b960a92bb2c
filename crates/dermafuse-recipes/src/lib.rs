//! The protocols of the papers, from cases to a model bundle.
//!
//! A recipe is a struct of settings that can be saved, and a `run` that follows the paper's protocol step by step with the
//! pieces of the other crates. [`FusionM4Net`] is the two-stage protocol of Tang et al.

mod baseline;
mod error;
mod fusionm4net;
mod network_recipe;
mod progress;
mod selection;

pub use baseline::majority;
pub use error::RecipeError;
pub use fusionm4net::{FusionM4Net, Outcome};
pub use network_recipe::{NetworkRecipe, Workplace};
pub use progress::Progress;
pub use selection::Selection;
