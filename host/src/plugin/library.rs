//! The plugins that are part of this program, and the bytes of any plugin by its reference.

use std::path::{Path, PathBuf};

use super::error::{PluginError, PluginErrorKind};
use super::identity::{Origin, PluginIdentity};
use super::kind::Kind;

/// A plugin that is part of this program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// The name by which experiments refer to it.
    pub name: &'static str,
    /// What it decides.
    pub kind: Kind,
    /// The component.
    pub bytes: &'static [u8],
}

macro_rules! built_in {
    ($kind:ident, $name:literal) => {
        BuiltIn {
            name: $name,
            kind: Kind::$kind,
            bytes: include_bytes!(concat!("../../../plugins/dist/", $name, ".wasm")),
        }
    };
}

/// Every built-in plugin, by kind.
pub(super) const BUILT_IN: &[BuiltIn] = &[
    built_in!(PartitionScheme, "uniform"),
    built_in!(PartitionScheme, "explicit"),
    built_in!(PartitionScheme, "balanced"),
    built_in!(LrSchedule, "cosine"),
    built_in!(LrSchedule, "step"),
    built_in!(LrSchedule, "constant"),
    built_in!(LossHook, "cross-entropy"),
];

/// The bytes of the plugin that `reference` names: a file when it contains `/` or ends in `.wasm`,
/// a built-in plugin otherwise. Also fills in where it came from.
pub(super) fn bytes(
    reference: &str,
    identity: &mut PluginIdentity,
) -> Result<Vec<u8>, PluginError> {
    if is_path(reference) {
        identity.origin = Some(Origin::File(PathBuf::from(reference)));
        return super::file::read(Path::new(reference))
            .map_err(|error| PluginError::new(identity, PluginErrorKind::Read(error)));
    }
    match BUILT_IN.iter().find(|plugin| plugin.name == reference) {
        Some(plugin) => {
            identity.origin = Some(Origin::BuiltIn(plugin.name.to_owned()));
            Ok(plugin.bytes.to_vec())
        }
        None => {
            let known: Vec<&'static str> = BUILT_IN.iter().map(|plugin| plugin.name).collect();
            Err(PluginError::new(
                identity,
                PluginErrorKind::Unknown {
                    nearest: crate::spelling::nearest(reference, known.iter().copied()),
                    known,
                },
            ))
        }
    }
}

fn is_path(reference: &str) -> bool {
    reference.contains('/')
        || Path::new(reference)
            .extension()
            .is_some_and(|extension| extension == "wasm")
}
