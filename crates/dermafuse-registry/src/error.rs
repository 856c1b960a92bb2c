use thiserror::Error;

/// Why a kind cannot be registered, or one of its values not be described in files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A name that nothing can have.
    #[error("`{kind}` cannot be the name of a {what}: use small letters, digits and `_`, a letter first")]
    Name {
        /// What it is a name of.
        what: &'static str,
        /// The name.
        kind: &'static str,
    },
    /// The name of a kind that is built in.
    #[error("there is a built-in {what} `{kind}`; choose another name")]
    BuiltIn {
        /// What it is a name of.
        what: &'static str,
        /// The name.
        kind: &'static str,
    },
    /// The name of another type that is registered.
    #[error("another type is registered as the {what} `{kind}`; choose another name")]
    Taken {
        /// What it is a name of.
        what: &'static str,
        /// The name.
        kind: &'static str,
    },
    /// A value that does not come back from a file.
    #[error("no file can describe this {what} `{kind}`: {reason}")]
    Value {
        /// What it describes.
        what: &'static str,
        /// The name of its kind.
        kind: &'static str,
        /// What does not come back, and why.
        reason: String,
    },
}
