//! Signatures in minisign's form, checked offline against keys that the project trusts.
//!
//! A signature proves that somebody who held the secret key signed exactly these bytes, wherever
//! they came from. It does not prove that the plugin is harmless or good, that it is the newest one
//! (an older signed version stays signed), that the key belongs to whom one thinks, or that it was
//! not stolen. The sandbox and the grants hold for signed plugins as for all others. Sigstore is not
//! offered: checking its short-lived certificates needs its root of trust to be fetched and kept
//! fresh, and there is no well-kept crate that does so offline.

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A key whose signatures are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The public key, as `minisign -G` prints it.
    pub key: String,
    /// The references that the key is for: this one and those below it; all when left out.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// What the keys say about a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// No key is trusted for this reference, so nothing was asked.
    NotAsked,
    /// This key signed it.
    By(String),
}

/// A plugin that is not signed as the project demands, or a key that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TrustError {
    /// There is no signature.
    #[error(
        "plugin `{reference}` is not signed, and only plugins signed with {} are trusted here (ask its author for a signature: FILE.minisig beside a file or address, `plugin push --signature` in a registry; or change `[[trust]]` in `{lock}`)", keys(.trusted)
    )]
    Missing {
        /// The plugin.
        reference: String,
        /// The keys that would do.
        trusted: Vec<String>,
        /// The lock file.
        lock: String,
    },
    /// No trusted key made the signature.
    #[error(
        "the signature of plugin `{reference}` is by none of the trusted keys, or for other bytes: {reason} (trusted: {}; do not use the plugin unless its author confirms the key, and then add it with `incubate plugin trust KEY`, which writes `{lock}`)", keys(.trusted)
    )]
    Wrong {
        /// The plugin.
        reference: String,
        /// What the check said.
        reason: String,
        /// The keys that would do.
        trusted: Vec<String>,
        /// The lock file.
        lock: String,
    },
    /// The key is none.
    #[error(
        "`{key}` is no minisign public key: {reason} (give the line that begins with RW of the `.pub` file)"
    )]
    Key {
        /// What was given.
        key: String,
        /// What the parser said.
        reason: String,
    },
}

fn keys(keys: &[String]) -> String {
    keys.join(" or ")
}

impl Trust {
    /// A key for a scope.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn new(key: &str, scope: Option<String>) -> Result<Self, TrustError> {
        parse(key)?;
        Ok(Self {
            key: key.to_owned(),
            scope,
        })
    }

    /// Whether the key is for this reference.
    fn covers(&self, reference: &str) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        reference.strip_prefix(scope.as_str()).is_some_and(|rest| {
            scope.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '@'])
        })
    }
}

/// Checks the signature of a plugin against the keys that are trusted for it. The error names the
/// file `lock`, in which the keys stand.
///
/// # Errors
/// Keys are trusted for it, and none of them signed these bytes.
pub(crate) fn check(
    trust: &[Trust],
    reference: &str,
    bytes: &[u8],
    signature: Option<&str>,
    lock: &str,
) -> Result<Signed, TrustError> {
    let trusted: Vec<String> = trust
        .iter()
        .filter(|trust| trust.covers(reference))
        .map(|trust| trust.key.clone())
        .collect();
    if trusted.is_empty() {
        return Ok(Signed::NotAsked);
    }
    let reference = reference.to_owned();
    let lock = lock.to_owned();
    let Some(text) = signature else {
        return Err(TrustError::Missing {
            reference,
            trusted,
            lock,
        });
    };
    let wrong = |reason: String, trusted| TrustError::Wrong {
        reference,
        reason,
        trusted,
        lock,
    };
    let signature = match Signature::decode(text) {
        Ok(signature) => signature,
        Err(error) => return Err(wrong(error.to_string(), trusted)),
    };
    let mut reason = String::new();
    for key in &trusted {
        match parse(key)?.verify(bytes, &signature, false) {
            Ok(()) => return Ok(Signed::By(key.clone())),
            // With several keys, that one of them made the signature says most.
            Err(error @ minisign_verify::Error::InvalidSignature) => reason = error.to_string(),
            Err(error) if reason.is_empty() => reason = error.to_string(),
            Err(_) => {}
        }
    }
    Err(wrong(reason, trusted))
}

fn parse(key: &str) -> Result<PublicKey, TrustError> {
    PublicKey::from_base64(key).map_err(|error| TrustError::Key {
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends_at_a_boundary() {
        let covers = |scope: &str, reference: &str| {
            Trust {
                key: String::new(),
                scope: Some(scope.to_owned()),
            }
            .covers(reference)
        };
        assert!(covers("host.org/team", "host.org/team/name@^1"));
        assert!(covers("host.org/team/", "host.org/team/name"));
        assert!(covers("host.org/team/name", "host.org/team/name@^1"));
        assert!(!covers("host.org/team", "host.org/team-b/name"));
        assert!(!covers("host.org/team", "host.org.evil/team/name"));
    }
}
