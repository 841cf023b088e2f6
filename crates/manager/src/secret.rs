//! Bearer tokens: how they are made and what is kept of them.

use sha2::{Digest, Sha256};

/// What the database keeps of a token.
pub(crate) type TokenHash = [u8; 32];

/// A new token: 32 random bytes as base64, after a prefix that tells people what they found.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn new_token(prefix: &str) -> Result<String, getrandom::Error> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{prefix}_{text}"))
}

/// The token's SHA-256. A token is 256 random bits, so a slow hash would add nothing.
pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Any word, for ids.
pub(crate) fn noise() -> u64 {
    getrandom::u64().unwrap_or_default()
}
