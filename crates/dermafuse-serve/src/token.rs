use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ServeError;

/// The least characters of a token.
const LEAST: usize = 16;

/// The word that clients show as `Authorization: Bearer …`. It is compared in a time that does not depend on it, and never
/// printed.
///
/// ```
/// use dermafuse_serve::Token;
///
/// let token = Token::new("correct-horse-battery-staple")?;
/// assert!(token.is("correct-horse-battery-staple") && !token.is("correct-horse-battery"));
/// assert!(Token::new("short").is_err());
/// # Ok::<(), dermafuse_serve::ServeError>(())
/// ```
#[derive(Clone)]
pub struct Token {
    /// Of equal length whatever the token is.
    digest: [u8; 32],
}

impl Token {
    /// Takes a token of 16 characters or more; white space around it is left out.
    ///
    /// # Errors
    /// A shorter one, or one with other characters than a header may carry (RFC 6750: letters, digits, `-._~+/=`).
    pub fn new(token: &str) -> Result<Self, ServeError> {
        let token = token.trim();
        let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"-._~+/=".contains(&letter);
        if token.len() < LEAST || !token.bytes().all(allowed) {
            return Err(ServeError::Token { found: token.chars().count(), least: LEAST });
        }
        Ok(Self { digest: digest(token) })
    }

    /// Whether a client's word is the token.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.digest.ct_eq(&digest(word)).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

fn digest(word: &str) -> [u8; 32] {
    Sha256::digest(word.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_plain_and_not_printed() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef") && !token.is("0123456789abcdeF") && !token.is(""));
        assert_eq!(format!("{token:?}"), "Token(…)");
        for wrong in ["0123456789abcde", "0123456789abcdef ü", "0123456789 abcdef"] {
            let error = Token::new(wrong).unwrap_err().to_string();
            assert!(error.ends_with("give 16 or more, letters, digits and - . _ ~ + / = only"), "{error}");
        }
    }
}
