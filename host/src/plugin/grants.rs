//! What the experiment allows a plugin beyond the interfaces that every plugin of its kind gets.

use std::fmt;

use serde::Serialize;

use super::error::{PluginError, PluginErrorKind};
use super::identity::PluginIdentity;

/// Something that a plugin may do only when the experiment says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// See the numbers of tensors, which waits for the device.
    ReadBack,
}

impl Grant {
    /// Every grant.
    pub const ALL: [Self; 1] = [Self::ReadBack];

    /// The name in experiment files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadBack => "read-back",
        }
    }

    /// What a plugin may do with it, as the end of a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ReadBack => {
                "read numbers back from the device, which makes every step wait for it"
            }
        }
    }

    /// The grant that an interface of the contract needs, by its name without package and version.
    pub const fn for_interface(interface: &str) -> Option<Self> {
        match interface.as_bytes() {
            b"readback" => Some(Self::ReadBack),
            _ => None,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The grants of one plugin; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// No grants.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// These grants.
    pub fn of(grants: &[Grant]) -> Self {
        Self(grants.to_vec())
    }

    /// The grants with these names, for the plugin that the experiment calls `reference`.
    ///
    /// # Errors
    ///
    /// A name is no grant; the error names the nearest one.
    pub fn from_names(reference: &str, names: &[String]) -> Result<Self, PluginError> {
        let known: Vec<&'static str> = Grant::ALL.iter().map(|grant| grant.name()).collect();
        names
            .iter()
            .map(|name| {
                Grant::ALL
                    .into_iter()
                    .find(|grant| grant.name() == name)
                    .ok_or_else(|| {
                        PluginError::new(
                            &PluginIdentity::asked_for(reference),
                            PluginErrorKind::UnknownGrant {
                                given: name.clone(),
                                nearest: crate::spelling::nearest(name, known.iter().copied()),
                                known: known.clone(),
                            },
                        )
                    })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether this grant was given.
    pub fn contains(&self, grant: Grant) -> bool {
        self.0.contains(&grant)
    }
}
