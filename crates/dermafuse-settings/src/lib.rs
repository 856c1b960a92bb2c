//! Settings of DermaFuse: TOML files and `KEY=VALUE` words, laid over each other.
//!
//! A [`Settings`] is a pile of layers. Reading it as a type takes each value from the topmost layer that has it, so a recipe
//! gives the defaults, a file replaces some of them, and the command line some of these. The type alone knows which settings
//! there are: nothing is listed twice. Every error says where the value stands (file, line and column, or the words of the
//! command line), which setting it is, and which words are known there. What the types cannot tell, checks do: they name a
//! setting by its key, and [`Settings::checked`] says where it stands.
//!
//! ```
//! use dermafuse_settings::Settings;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Training {
//!     epochs: usize,
//!     patience: Option<usize>,
//! }
//! impl Default for Training {
//!     fn default() -> Self {
//!         Self { epochs: 250, patience: Some(30) }
//!     }
//! }
//!
//! let recipe = Settings::parse("recipe.toml", "epochs = 100")?;
//! let mut settings = Settings::parse("mine.toml", "# none is no value\npatience = \"none\"")?.over(recipe);
//! let training: Training = settings.get()?;
//! assert_eq!((training.epochs, training.patience), (100, None));
//!
//! settings.set("epochs=many")?;
//! let error = settings.get::<Training>().err().unwrap().to_string();
//! assert_eq!(error, "--set epochs=many: epochs: expected a whole number that is not negative, found \"many\"");
//! # Ok::<(), dermafuse_settings::SettingsError>(())
//! ```

mod error;
mod expectation;
mod node;
mod overlay;
mod place;
mod settings;
mod write;

pub use error::SettingsError;
pub use place::Place;
pub use settings::Settings;
pub use write::to_toml;
