//! Why a plugin is not used although its reference can be read.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::pin::Change;
use crate::plugin::PluginError;
use crate::plugin::ReferenceError;
use crate::registry::{RegistryError, TrustError};

/// A reference that could not be turned into a plugin, or a lock file that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file cannot be read or written.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The lock file is damaged.
    #[error("`{}` is no lock file: {reason} (restore it from version control, or delete it to pin anew)", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason with the line.
        reason: String,
    },
    /// The lock file was written by a newer program.
    #[error("`{}` has format {found}, and this program knows {known} (use a newer version of it)", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// The reference means nothing.
    #[error(transparent)]
    Reference(ReferenceError),
    /// The registry or server failed.
    #[error(transparent)]
    Registry(RegistryError),
    /// The sandbox refused the plugin.
    #[error("{0}")]
    Plugin(#[source] Box<PluginError>),
    /// The plugin is not signed as demanded.
    #[error(transparent)]
    Trust(TrustError),
    /// The bytes are not the pinned ones.
    #[error(
        "plugin `{reference}` is not the one that `{}` pins: pinned is sha256 {pinned}, and {} has {found} ({})", .lock.display(), .source_name, mismatch(.reference)
    )]
    Mismatch {
        /// The plugin.
        reference: String,
        /// The lock file.
        lock: Box<Path>,
        /// Where the other bytes are.
        source_name: String,
        /// The pinned digest.
        pinned: String,
        /// The digest of what is there.
        found: String,
    },
    /// The lock file would have to change.
    #[error("plugin `{reference}` is not pinned in `{}`, and `--locked` forbids to add it (run `incubate plugin add {reference}` first)", .lock.display())]
    Locked {
        /// The plugin.
        reference: String,
        /// The lock file.
        lock: PathBuf,
    },
    /// There is no pin to update or remove.
    #[error("plugin `{reference}` is not pinned in `{}` (pinned: {})", .lock.display(), none_or(.pinned))]
    NotPinned {
        /// What was asked for.
        reference: String,
        /// The lock file.
        lock: PathBuf,
        /// What is pinned.
        pinned: Vec<String>,
    },
    /// A built-in plugin needs no pin.
    #[error(
        "plugin `{name}` is part of this program (it needs neither to be fetched nor to be pinned)"
    )]
    BuiltIn {
        /// The plugin.
        name: String,
    },
    /// The new version may do more than the old one.
    #[error("the new version of plugin `{reference}` may do more than the pinned one: {} (look at it, and run `incubate plugin update {reference} --accept` if it may)", list(.changes))]
    Wider {
        /// The plugin.
        reference: String,
        /// What is new.
        changes: Vec<Change>,
    },
    /// The registry and the component do not agree on the version.
    #[error(
        "plugin `{reference}`: the registry calls it version {tag}, and the component says that it is {component} (do not use it; its author must push it again under its own version)"
    )]
    Version {
        /// The plugin.
        reference: String,
        /// The tag.
        tag: String,
        /// The version inside.
        component: String,
    },
    /// The file is there already and differs.
    #[error("`{}` is there already and is something else (give another name with `-o`)", .path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// The plugin of a run is not kept any more.
    #[error(
        "plugin `{reference}` of the run has sha256 {digest} and is not among the fetched plugins any more (fetch it again: `incubate plugin pull {reference}`, on the machine of the run)"
    )]
    NotKept {
        /// The plugin.
        reference: String,
        /// The digest in the record.
        digest: String,
    },
    /// There is no folder for fetched plugins.
    #[error("there is no folder for fetched plugins (set XDG_CACHE_HOME or HOME)")]
    NoStore,
}

impl From<ReferenceError> for LockError {
    fn from(error: ReferenceError) -> Self {
        Self::Reference(error)
    }
}

impl From<RegistryError> for LockError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<TrustError> for LockError {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl From<PluginError> for LockError {
    fn from(error: PluginError) -> Self {
        Self::Plugin(Box::new(error))
    }
}

fn mismatch(reference: &str) -> String {
    format!(
        "put the pinned one back, or look at the other one with `incubate plugin inspect` and accept it with `incubate plugin update {reference}`"
    )
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

fn list(changes: &[Change]) -> String {
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
