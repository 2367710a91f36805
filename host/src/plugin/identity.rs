//! Which plugin: where it came from, and what it calls itself.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a plugin came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Part of this program, under this name.
    BuiltIn(String),
    /// A file.
    File(PathBuf),
    /// A repository of a registry.
    Registry(String),
    /// An address.
    Url(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(_) => formatter.write_str("built in"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Registry(place) | Self::Url(place) => formatter.write_str(place),
        }
    }
}

/// A plugin as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginIdentity {
    /// The name or path by which it was asked for.
    pub reference: String,
    /// Where it came from; unknown when there is no such plugin.
    pub origin: Option<Origin>,
    /// Its own name, once it has described itself.
    pub name: Option<String>,
    /// Its own version, once it has described itself.
    pub version: Option<String>,
}

impl PluginIdentity {
    pub(super) fn asked_for(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            origin: None,
            name: None,
            version: None,
        }
    }
}

impl fmt::Display for PluginIdentity {
    /// ``plugin `cosine` 0.1.0 (built in)``, or what is known of it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.version, &self.origin) {
            (Some(name), Some(version), Some(origin)) => {
                write!(formatter, "plugin `{name}` {version} ({origin})")
            }
            (_, _, Some(Origin::BuiltIn(name))) => {
                write!(formatter, "plugin `{name}` (built in)")
            }
            _ => write!(formatter, "plugin `{}`", self.reference),
        }
    }
}
