//! What stands inside a component about its making, by the conventions of component tools.

use serde::Serialize;
use wasm_metadata::Payload;

/// Name, version, licence, authors, source, and description inside a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The name of the component.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its licence as an SPDX expression.
    pub license: Option<String>,
    /// Who made it.
    pub authors: Option<String>,
    /// Where its source is.
    pub source: Option<String>,
    /// What it does.
    pub description: Option<String>,
}

impl Metadata {
    /// Reads the metadata of a component; what cannot be read counts as not given.
    pub(super) fn read(component: &[u8]) -> Self {
        let Ok(payload) = Payload::from_binary(component) else {
            return Self::default();
        };
        let found = payload.metadata();
        // It is shown on terminals, which obey control characters.
        let text = |value: Option<String>| {
            value
                .map(|value| value.replace(char::is_control, " "))
                .filter(|value| !value.trim().is_empty())
        };
        Self {
            name: text(found.name.clone()),
            version: text(found.version.as_ref().map(ToString::to_string)),
            license: text(found.licenses.as_ref().map(ToString::to_string)),
            authors: text(found.authors.as_ref().map(ToString::to_string)),
            source: text(found.source.as_ref().map(ToString::to_string)),
            description: text(found.description.as_ref().map(ToString::to_string)),
        }
    }
}
