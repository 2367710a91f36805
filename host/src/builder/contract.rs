//! The contract's WIT files inside this program: written out for the tools of other languages,
//! and read for the bindings that the builder generates.

use std::fs;
use std::path::Path;

use wit_bindgen_core::wit_parser::{PackageId, Resolve};

use super::BuildError;
use super::manifest::write_whole;

/// Every file of the contract by name, as `wit/` of this source has it.
pub(super) const FILES: [(&str, &str); 6] = [
    (
        "loss.wit",
        include_str!("../../../wit/plugin@0.1.1/loss.wit"),
    ),
    (
        "partition.wit",
        include_str!("../../../wit/plugin@0.1.1/partition.wit"),
    ),
    (
        "schedule.wit",
        include_str!("../../../wit/plugin@0.1.1/schedule.wit"),
    ),
    (
        "tensors.wit",
        include_str!("../../../wit/plugin@0.1.1/tensors.wit"),
    ),
    (
        "types.wit",
        include_str!("../../../wit/plugin@0.1.1/types.wit"),
    ),
    (
        "worlds.wit",
        include_str!("../../../wit/plugin@0.1.1/worlds.wit"),
    ),
];

/// Writes the files of the contract to `folder`; files that are there already stay untouched.
pub(super) fn write(folder: &Path) -> Result<(), BuildError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        // Tools compare times of files: an equal file keeps its own.
        if fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            continue;
        }
        write_whole(&path, text.as_bytes())?;
    }
    Ok(())
}

/// Reads the contract in `folder`.
pub(super) fn read(folder: &Path) -> Result<(Resolve, PackageId), BuildError> {
    let mut resolve = Resolve::default();
    match resolve.push_dir(folder) {
        Ok((package, _)) => Ok((resolve, package)),
        Err(error) => Err(BuildError::Contract {
            folder: folder.to_owned(),
            detail: format!("{error:#}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Kind;

    #[test]
    fn the_written_contract_has_a_world_for_every_kind() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let (resolve, package) = read(folder.path()).unwrap();
        for kind in Kind::ALL {
            resolve
                .select_world(&[package], Some(kind.world()))
                .unwrap();
        }
    }

    #[test]
    fn every_file_of_the_contract_is_inside() {
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/wit/plugin@0.1.1"));
        assert_eq!(fs::read_dir(source).unwrap().count(), FILES.len());
    }

    #[test]
    fn a_broken_contract_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.wit"), "package a:b;\ninterface {").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
        assert!(!error.contains("Stack backtrace"), "{error}");
    }
}
