//! The plugins that are part of this program, and the bytes of any plugin by its reference.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::file;

use super::error::{PluginError, PluginErrorKind};
use super::identity::{Origin, PluginIdentity};
use super::kind::Kind;
use super::reference::Reference;

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
    built_in!(LrSchedule, "constant"),
    built_in!(LrSchedule, "cosine"),
    built_in!(LrSchedule, "polynomial"),
    built_in!(LrSchedule, "tanh"),
    built_in!(LrSchedule, "step"),
    built_in!(LrSchedule, "exponential"),
    built_in!(LrSchedule, "plateau"),
    built_in!(LrSchedule, "one-cycle"),
    built_in!(LrSchedule, "inverse-sqrt"),
    built_in!(LrSchedule, "wsd"),
    built_in!(LrSchedule, "piecewise"),
    built_in!(LossHook, "cross-entropy"),
    built_in!(LossHook, "bce"),
    built_in!(LossHook, "focal"),
    built_in!(LossHook, "poly-1"),
    built_in!(LossHook, "z-loss"),
    built_in!(LossHook, "distillation"),
    built_in!(LossHook, "imitation"),
];

/// A plugin that was fetched for the sandbox.
#[derive(Clone, Debug)]
pub(super) struct Provided {
    /// Where it came from.
    pub(super) origin: Origin,
    /// The component.
    pub(super) bytes: Vec<u8>,
}

/// The bytes of the plugin that `reference` names: what was provided under it, a file, or a
/// built-in plugin (see [`Reference`]). Also fills in where it came from.
pub(super) fn bytes(
    reference: &str,
    provided: &HashMap<String, Provided>,
    identity: &mut PluginIdentity,
) -> Result<Vec<u8>, PluginError> {
    if let Some(found) = provided.get(reference) {
        identity.origin = Some(found.origin.clone());
        return Ok(found.bytes.clone());
    }
    let refuse = |identity: &PluginIdentity, kind| Err(PluginError::new(identity, kind));
    match reference.parse() {
        Ok(Reference::File(path)) => {
            identity.origin = Some(Origin::File(path.clone()));
            let found = file_of(&path).and_then(|file| {
                Ok((
                    file::read(&file, file::COMPONENT).map_err(PluginErrorKind::Read)?,
                    file,
                ))
            });
            match found {
                Ok((bytes, file)) => {
                    identity.origin = Some(Origin::File(file));
                    Ok(bytes)
                }
                Err(kind) => refuse(identity, kind),
            }
        }
        Ok(Reference::BuiltIn(name)) => built_in(&name, identity),
        Ok(Reference::Registry(_) | Reference::Url(_)) => {
            let reference = reference.to_owned();
            refuse(identity, PluginErrorKind::NotFetched { reference })
        }
        Err(error) => refuse(identity, PluginErrorKind::Reference(error)),
    }
}

/// The component that a path names: the file itself, or the one component of a folder. In a folder
/// called NAME that is `dist/NAME.wasm`, and otherwise the only component in the folder, or else in
/// its `dist`.
///
/// # Errors
/// The folder cannot be read, or it holds no component or several.
pub fn file_of(path: &Path) -> Result<PathBuf, PluginErrorKind> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let dist = path.join("dist");
    let named = std::path::absolute(path)
        .ok()
        .and_then(|path| path.file_name().map(|name| dist.join(name)))
        .map(|file| file.with_added_extension("wasm"))
        .filter(|file| file.is_file());
    if let Some(file) = named {
        return Ok(file);
    }
    for folder in [path, &dist] {
        let mut found = Vec::new();
        for entry in folder.read_dir().into_iter().flatten() {
            let file = entry.map_err(PluginErrorKind::Read)?.path();
            if file.is_file() && file.extension().is_some_and(|end| end == "wasm") {
                found.push(file);
            }
        }
        found.sort();
        match found.as_slice() {
            [] => {}
            [file] => return Ok(file.clone()),
            several => {
                return Err(PluginErrorKind::Folder {
                    found: several
                        .iter()
                        .map(|file| file.display().to_string())
                        .collect(),
                });
            }
        }
    }
    Err(PluginErrorKind::Folder { found: Vec::new() })
}

/// The component of a built-in plugin.
fn built_in(name: &str, identity: &mut PluginIdentity) -> Result<Vec<u8>, PluginError> {
    match BUILT_IN.iter().find(|plugin| plugin.name == name) {
        Some(plugin) => {
            identity.origin = Some(Origin::BuiltIn(plugin.name.to_owned()));
            Ok(plugin.bytes.to_vec())
        }
        None => {
            let known: Vec<&'static str> = BUILT_IN.iter().map(|plugin| plugin.name).collect();
            Err(PluginError::new(
                identity,
                PluginErrorKind::Unknown {
                    nearest: crate::spelling::nearest(name, known.iter().copied()),
                    known,
                },
            ))
        }
    }
}
