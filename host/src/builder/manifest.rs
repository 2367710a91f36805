//! The record beside built components: which toolchain made them, and their digests.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::file;

use super::BuildError;

const HEADER: &str = "\
# Written by `incubate plugin build`; `incubate plugin build --check` builds again and compares.

";

/// What `dist/manifest.toml` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the components were built with.
    pub toolchain: ToolchainVersions,
    /// The components, by name.
    #[serde(rename = "component")]
    pub components: Vec<BuiltComponent>,
}

/// Versions that the bytes of a component depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainVersions {
    /// First line of `rustc --version`.
    pub compiler: String,
    /// First line of the linker's `--version`, or "of the compiler".
    pub linker: String,
    /// First line of `cargo --version`.
    pub cargo: String,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltComponent {
    /// Name of its package.
    pub name: String,
    /// Its file, relative to the workspace of the plugins.
    pub file: PathBuf,
    /// Size in bytes.
    pub bytes: usize,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl BuiltComponent {
    /// The record of a component.
    pub fn new(name: &str, file: PathBuf, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            file,
            bytes: bytes.len(),
            sha256: sha256(bytes),
        }
    }
}

impl Manifest {
    /// Where the record of the workspace `folder` stands.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("dist").join("manifest.toml")
    }

    /// Reads the record of the workspace `folder`.
    ///
    /// # Errors
    ///
    /// The file is missing, or is no such record.
    pub fn load(folder: &Path) -> Result<Self, BuildError> {
        let path = Self::path(folder);
        let text = file::read_text(&path).map_err(BuildError::file("reading", &path))?;
        toml::from_str(&text).map_err(|error| BuildError::Manifest {
            path,
            detail: error.to_string(),
        })
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), BuildError> {
        let path = Self::path(folder);
        let text = toml::to_string(self).map_err(|error| BuildError::Manifest {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        write_whole(&path, format!("{HEADER}{text}").as_bytes())
    }
}

/// Writes a file that appears whole or not at all, and its folder if that is missing.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        // Created as an ordinary file, since components are for everyone.
        let mut file =
            tempfile::Builder::new().make_in(folder, |path| fs::File::create_new(path))?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(BuildError::file("writing", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest {
            toolchain: ToolchainVersions {
                compiler: "rustc 1.96.0".to_owned(),
                linker: "LLD 22".to_owned(),
                cargo: "cargo 1.95.0".to_owned(),
            },
            components: vec![BuiltComponent::new("step", "dist/step.wasm".into(), b"abc")],
        };
        manifest.save(folder.path()).unwrap();
        assert_eq!(Manifest::load(folder.path()).unwrap(), manifest);
        assert_eq!(
            manifest.components[0].sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = Manifest::path(folder.path());
        assert!(
            Manifest::load(folder.path())
                .unwrap_err()
                .to_string()
                .contains("manifest.toml")
        );
        write_whole(&path, b"[toolchain]\ncompiler = 3\n").unwrap();
        let error = Manifest::load(folder.path()).unwrap_err();
        assert!(matches!(error, BuildError::Manifest { .. }), "{error}");
    }
}
