//! The lock file as TOML.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LockError;
use super::pin::Pin;
use crate::digest::is_sha256;
use crate::file;
use crate::registry::Trust;
use crate::registry::write_whole;

/// The name of the lock file.
pub const LOCK: &str = "incubate.lock";

/// The version of the lock file's form.
const FORMAT: u32 = 1;

/// The head of the file.
const HEAD: &str = "\
# Which bytes the plugins of the experiments beside this file are. Keep it under version control.
# `incubate plugin add`, `update`, `remove`, and `trust` change it; runs verify it.

";

/// The content of a lock file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    format: u32,
    /// The keys whose signatures are demanded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<Trust>,
    /// The pinned plugins, in the order of their references.
    #[serde(default, rename = "plugin", skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Pin>,
}

impl Default for LockFile {
    fn default() -> Self {
        Self {
            format: FORMAT,
            trust: Vec::new(),
            plugins: Vec::new(),
        }
    }
}

impl LockFile {
    /// Reads a lock file; one that is not there pins nothing.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or was written by a newer program.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text = match file::read_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(LockError::File {
                    action: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let damaged = |error: toml::de::Error| LockError::Syntax {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        };
        let table: toml::Table = text.parse().map_err(damaged)?;
        if let Some(found) = table.get("format").and_then(toml::Value::as_integer)
            && found > i64::from(FORMAT)
        {
            return Err(LockError::Format {
                path: path.to_owned(),
                found: u32::try_from(found).unwrap_or(u32::MAX),
                known: FORMAT,
            });
        }
        let lock: Self = toml::from_str(&text).map_err(damaged)?;
        match lock.plugins.iter().find(|pin| !is_sha256(&pin.sha256)) {
            None => Ok(lock),
            Some(pin) => Err(LockError::Syntax {
                path: path.to_owned(),
                reason: format!(
                    "the sha256 of `{}` is `{}`, and a digest has 64 hexadecimal digits",
                    pin.reference.escape_debug(),
                    pin.sha256.escape_debug()
                ),
            }),
        }
    }

    /// Writes the lock file, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let failed = |source| LockError::File {
            action: "write",
            path: path.to_owned(),
            source,
        };
        let text = toml::to_string_pretty(self).map_err(|error| failed(io::Error::other(error)))?;
        write_whole(path, format!("{HEAD}{text}").as_bytes()).map_err(failed)
    }

    /// The pin of a reference.
    pub fn pin(&self, reference: &str) -> Option<&Pin> {
        self.plugins.iter().find(|pin| pin.reference == reference)
    }

    /// Adds a pin, or replaces the one of the same reference.
    pub fn put(&mut self, pin: Pin) {
        self.plugins
            .retain(|other| other.reference != pin.reference);
        self.plugins.push(pin);
        self.plugins
            .sort_by(|one, other| one.reference.cmp(&other.reference));
    }
}
