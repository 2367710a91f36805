//! One pinned plugin: which bytes, from where, and what they may do and take.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plugin::Inspection;

/// What a reference stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The reference as experiments write it; a file is relative to the lock file.
    pub reference: String,
    /// The plugin's own name.
    pub name: String,
    /// The version that the reference was resolved to.
    pub version: String,
    /// What it decides.
    pub kind: String,
    /// Where it came from: a repository, an address, or a file.
    pub source: String,
    /// The digest of the manifest in the registry, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The digest of the component's bytes, in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Its licence as an SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The contract that it was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// The grants that it needs.
    pub grants: Vec<String>,
    /// The signature that came with it, in minisign's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// What can be set.
    #[serde(default, rename = "parameter", skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<PinnedParameter>,
}

/// One parameter of a pinned plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedParameter {
    /// Its name.
    pub name: String,
    /// Its type, in words.
    pub kind: String,
    /// What is taken when the experiment is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<toml::Value>,
    /// The allowed values, in words.
    pub allowed: String,
}

/// One difference between two versions of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What differs: `version`, ``import `…` ``, ``parameter `gamma`: default``, …
    pub what: String,
    /// The value in the old version, if it has it.
    pub before: Option<String>,
    /// The value in the new version, if it has it.
    pub after: Option<String>,
    /// Whether the new version may do more than the old one.
    pub wider: bool,
}

/// What is known of bytes beyond their inspection.
#[derive(Clone, Debug)]
pub(super) struct Provenance {
    pub(super) reference: String,
    pub(super) source: String,
    pub(super) manifest: Option<String>,
    pub(super) signature: Option<String>,
}

impl Pin {
    pub(super) fn new(provenance: Provenance, inspection: &Inspection) -> Self {
        let Provenance {
            reference,
            source,
            manifest,
            signature,
        } = provenance;
        let mut imports = inspection.imports.clone();
        imports.sort();
        let mut grants: Vec<String> = inspection.grants.iter().map(ToString::to_string).collect();
        grants.sort();
        Self {
            reference,
            name: inspection.description.name.clone(),
            version: inspection.description.version.to_string(),
            kind: inspection.kind.to_string(),
            source,
            manifest,
            sha256: inspection.sha256.clone(),
            bytes: inspection.bytes as u64,
            license: inspection.metadata.license.clone(),
            contract: inspection.contract.as_ref().map(ToString::to_string),
            imports,
            grants,
            signature,
            parameters: inspection
                .description
                .parameters
                .iter()
                .map(|parameter| PinnedParameter {
                    name: parameter.name.clone(),
                    kind: parameter.kind.to_string(),
                    default: parameter.default.clone().map(toml::Value::from),
                    allowed: parameter.allowed(),
                })
                .collect(),
        }
    }

    /// What differs in `new`, in the order of [`Self::facts`].
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let (before, after) = (self.facts(), new.facts());
        let mut keys: Vec<&(u8, String)> = before.keys().chain(after.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.into_iter()
            .filter(|key| before.get(*key) != after.get(*key))
            .map(|key| {
                let wider = match key.0 {
                    KIND => true,
                    IMPORT | GRANT => after.contains_key(key),
                    _ => false,
                };
                Change {
                    what: key.1.clone(),
                    before: before.get(key).cloned(),
                    after: after.get(key).cloned(),
                    wider,
                }
            })
            .collect()
    }

    /// Everything that may differ, with what it is called, by rank.
    fn facts(&self) -> BTreeMap<(u8, String), String> {
        let mut facts = BTreeMap::new();
        let mut note = |rank: u8, what: String, value: &str| {
            facts.insert((rank, what), value.to_owned());
        };
        note(0, "version".into(), &self.version);
        note(1, "name".into(), &self.name);
        note(KIND, "kind".into(), &self.kind);
        note(3, "sha256".into(), &self.sha256);
        note(
            4,
            "licence".into(),
            self.license.as_deref().unwrap_or("none"),
        );
        note(
            5,
            "contract".into(),
            self.contract.as_deref().unwrap_or("none"),
        );
        for import in &self.imports {
            // The version of an interface is the contract's, which stands by itself.
            let interface = import.split('@').next().unwrap_or(import);
            note(IMPORT, format!("import `{interface}`"), "there");
        }
        for grant in &self.grants {
            note(GRANT, format!("grant `{grant}`"), "needed");
        }
        for parameter in &self.parameters {
            let default = parameter
                .default
                .as_ref()
                .map_or_else(|| "none".to_owned(), ToString::to_string);
            note(
                PARAMETER,
                format!("parameter `{}`", parameter.name),
                &format!(
                    "{}, allowed {}, default {default}",
                    parameter.kind, parameter.allowed
                ),
            );
        }
        facts
    }
}

/// Ranks of facts that are told apart.
const KIND: u8 = 2;
const IMPORT: u8 = 6;
const GRANT: u8 = 7;
const PARAMETER: u8 = 8;

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            before,
            after,
            ..
        } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(formatter, "{what}: {before} -> {after}"),
            (None, Some(after)) => write!(formatter, "{what}: new ({after})"),
            _ => write!(formatter, "{what}: gone"),
        }
    }
}
