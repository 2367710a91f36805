//! Which packages of a workspace are plugins.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::metadata::Metadata as Embedded;
use super::{BuildError, Language, cargo};

/// A package that becomes a component.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: String,
    /// Cargo's identifier of the package.
    pub(super) id: String,
    /// Where the component goes, relative to the workspace: `dist`, unless the package says
    /// otherwise in `package.metadata.incubate.folder`.
    pub(super) folder: PathBuf,
    /// What its Cargo.toml says about it.
    pub(super) metadata: Embedded,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    version: String,
    #[serde(default)]
    authors: Vec<String>,
    description: Option<String>,
    license: Option<String>,
    repository: Option<String>,
    targets: Vec<Target>,
    metadata: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// The plugins of the workspace at `folder`, by name.
pub(super) fn find(folder: &Path) -> Result<Vec<Guest>, BuildError> {
    let mut command = Command::new(cargo::program());
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"));
    from_metadata(folder, &cargo::output(&mut command)?)
}

fn from_metadata(folder: &Path, json: &str) -> Result<Vec<Guest>, BuildError> {
    let metadata: Metadata =
        serde_json::from_str(json).map_err(|error| BuildError::CargoAnswer {
            detail: error.to_string(),
        })?;
    if metadata.workspace_root != folder {
        return Err(BuildError::NotTheRoot {
            folder: folder.to_owned(),
            root: metadata.workspace_root,
        });
    }
    let mut guests: Vec<Guest> = metadata
        .packages
        .into_iter()
        .filter(Package::is_plugin)
        .map(|package| Guest {
            folder: package.folder(),
            metadata: package.embedded(),
            name: package.name,
            id: package.id,
        })
        .collect();
    if guests.is_empty() {
        return Err(BuildError::NoPlugins {
            folder: folder.to_owned(),
        });
    }
    guests.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(guests)
}

impl Package {
    fn is_plugin(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    }

    fn embedded(&self) -> Embedded {
        Embedded {
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            license: self.license.clone(),
            authors: self.authors.clone(),
            source: self.repository.clone(),
            language: Language::Rust,
        }
    }

    fn folder(&self) -> PathBuf {
        self.metadata
            .as_ref()
            .and_then(|metadata| metadata.pointer("/incubate/folder"))
            .and_then(|folder| folder.as_str())
            .map_or_else(|| PathBuf::from("dist"), PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "workspace_root": "/plugins",
        "packages": [
            { "name": "step", "id": "s", "version": "0.1.0", "metadata": null,
              "license": "MIT", "authors": ["Ada"], "repository": "https://example.com",
              "description": "Steps",
              "targets": [{ "crate_types": ["cdylib", "rlib"] }] },
            { "name": "shared", "id": "l", "version": "0.1.0", "metadata": null,
              "targets": [{ "crate_types": ["lib"] }] },
            { "name": "faulty", "id": "f", "version": "0.2.0",
              "metadata": { "incubate": { "folder": "../tests" } },
              "targets": [{ "crate_types": ["cdylib"] }] }
        ]
    }"#;

    #[test]
    fn packages_with_a_dynamic_library_are_plugins() {
        let guests = from_metadata(Path::new("/plugins"), METADATA).unwrap();
        let found: Vec<_> = guests
            .iter()
            .map(|guest| (guest.name.as_str(), guest.folder.to_str().unwrap()))
            .collect();
        assert_eq!(found, [("faulty", "../tests"), ("step", "dist")]);
        let step = &guests[1].metadata;
        assert_eq!(
            (step.name.as_str(), step.version.as_str()),
            ("step", "0.1.0")
        );
        assert_eq!(step.source.as_deref(), Some("https://example.com"));
        assert_eq!(step.authors, ["Ada"]);
        assert_eq!(guests[0].metadata.license, None);
    }

    #[test]
    fn a_member_is_sent_to_its_workspace() {
        let error = from_metadata(Path::new("/plugins/step"), METADATA).unwrap_err();
        assert!(
            error.to_string().contains("incubate plugin build /plugins"),
            "{error}"
        );
    }

    #[test]
    fn a_workspace_without_plugins_is_refused() {
        let json = r#"{ "workspace_root": "/empty", "packages": [] }"#;
        let error = from_metadata(Path::new("/empty"), json).unwrap_err();
        assert!(matches!(error, BuildError::NoPlugins { .. }), "{error}");
    }
}
