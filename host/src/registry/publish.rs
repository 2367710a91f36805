//! A component into a registry: what it must say about itself, and that versions do not change.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use super::client::{At, RegistryClient};
use super::component::{SIGNATURE_ANNOTATION, artefact};
use super::error::{Problem, RegistryError};
use super::transport::Access;
use crate::digest::sha256;
use crate::file;
use crate::plugin::{Inspection, PluginError, PluginHost, file_of};
use crate::plugin::{Reference, ReferenceError, RegistryReference, Repository, Wanted};

/// A component that was not put into a registry.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source} (give the component, or the folder with it)", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The sandbox refused the plugin.
    #[error("{0}")]
    Plugin(#[source] Box<PluginError>),
    /// The component lacks what a shared plugin needs.
    #[error("`{}` cannot be shared: its metadata has no {} (build it with `incubate plugin build`, which takes them from Cargo.toml or plugin.toml, or add them with `wasm-tools metadata add`)", .file.display(), .missing.join(", no "))]
    Metadata {
        /// The file.
        file: PathBuf,
        /// What is missing.
        missing: Vec<&'static str>,
    },
    /// The metadata and the plugin's own description differ.
    #[error("`{}` describes itself as {described}, and its metadata says {metadata} (build it anew, so that they agree)", .file.display())]
    Disagree {
        /// The file.
        file: PathBuf,
        /// What the plugin says.
        described: String,
        /// What the metadata says.
        metadata: String,
    },
    /// The reference is no place to push to.
    #[error("cannot push to `{reference}`: {reason}")]
    Target {
        /// What was given.
        reference: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The signature is none.
    #[error("`{}` is no minisign signature: {reason} (make one with `minisign -Sm FILE`)", .path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// What was pushed.
#[derive(Clone, Debug)]
pub struct Published {
    /// Where to.
    pub repository: Repository,
    /// The plugin.
    pub inspection: Inspection,
    /// The digest of the manifest, `sha256:…`.
    pub manifest: String,
}

/// Pushes a component under its version.
///
/// # Errors
/// The file is no plugin, does not say its name, version, and licence, or is not the one that was
/// published under this version before; or the registry cannot be reached or refuses.
pub fn publish(
    host: &PluginHost,
    file: &Path,
    reference: &str,
    signature: Option<&Path>,
    access: &Access,
) -> Result<Published, PublishError> {
    let target = target(reference)?;
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| PublishError::File { path, source }
    };
    let file =
        file_of(file).map_err(|error| unreadable(file)(io::Error::other(error.to_string())))?;
    let bytes = file::read(&file, file::COMPONENT).map_err(unreadable(&file))?;
    let path = std::path::absolute(&file).map_err(unreadable(&file))?;
    let inspection = host
        .inspect(&path.to_string_lossy())
        .map_err(|error| PublishError::Plugin(Box::new(error)))?;
    if inspection.sha256 != sha256(&bytes) {
        return Err(unreadable(&file)(io::Error::other(
            "it changed while it was read",
        )));
    }
    check_metadata(&file, &inspection)?;
    let version = &inspection.description.version;
    let refuse = |reason: String| PublishError::Target {
        reference: reference.to_owned(),
        reason,
    };
    match &target.wanted {
        Wanted::Exact(wanted) if wanted != version => {
            return Err(refuse(format!(
                "the plugin is version {version} (change the version of the plugin, or leave `@{wanted}` out)"
            )));
        }
        Wanted::Manifest(_) => {
            return Err(refuse(
                "a digest is what a push answers (leave it out)".to_owned(),
            ));
        }
        Wanted::Newest(_) | Wanted::Exact(_) => {}
    }
    if !version.build.is_empty() {
        return Err(refuse(format!(
            "registries have no names for versions with `+`, such as {version} (take another version)"
        )));
    }
    let signature = signature.map(read_signature).transpose()?;
    let client = RegistryClient::new(access.clone());
    let repository = target.repository;
    let tag = version.to_string();
    let digest = format!("sha256:{}", inspection.sha256);
    let at = At::Tag(tag.clone());
    let there = client.layers(&repository, &at)?;
    if let Some(there) = &there
        && *there != [digest.clone()]
    {
        return Err(PublishError::Registry(RegistryError {
            place: format!("`{repository}`"),
            problem: Box::new(Problem::Published {
                version: tag,
                there: there.join(", "),
                here: digest,
            }),
        }));
    }
    // What is pushed again without a signature keeps the one that it has.
    let signature = match (signature, &there) {
        (None, Some(_)) => {
            let (mut artefact, _) = client.pull(&repository, &at)?;
            artefact.annotations.remove(SIGNATURE_ANNOTATION)
        }
        (signature, _) => signature,
    };
    let artefact = artefact(&inspection, &bytes, signature.as_deref(), SystemTime::now());
    let manifest = client.push(&repository, &tag, &artefact)?;
    Ok(Published {
        repository,
        inspection,
        manifest,
    })
}

/// The place that a push names.
fn target(reference: &str) -> Result<RegistryReference, PublishError> {
    let refuse = |reason: String| PublishError::Target {
        reference: reference.to_owned(),
        reason,
    };
    match reference.parse() {
        Ok(Reference::Registry(place)) => Ok(place),
        Ok(_) => Err(refuse(
            "it is no place in a registry (write `registry.example.org/team/name`)".to_owned(),
        )),
        Err(error) => Err(refuse(ReferenceError::to_string(&error))),
    }
}

/// Refuses a component that does not say what it is, or says two things.
fn check_metadata(file: &Path, inspection: &Inspection) -> Result<(), PublishError> {
    let metadata = &inspection.metadata;
    let missing: Vec<&'static str> = [
        ("name", &metadata.name),
        ("version", &metadata.version),
        ("licence", &metadata.license),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_none())
    .map(|(what, _)| what)
    .collect();
    if !missing.is_empty() {
        return Err(PublishError::Metadata {
            file: file.to_owned(),
            missing,
        });
    }
    let written = |name: &str, version: &str| format!("`{name}` {version}");
    let described = written(
        &inspection.description.name,
        &inspection.description.version.to_string(),
    );
    let said = written(
        metadata.name.as_deref().unwrap_or_default(),
        metadata.version.as_deref().unwrap_or_default(),
    );
    if described == said {
        return Ok(());
    }
    Err(PublishError::Disagree {
        file: file.to_owned(),
        described,
        metadata: said,
    })
}

/// The text of a signature. Whose it is says whoever trusts a key.
fn read_signature(path: &Path) -> Result<String, PublishError> {
    let text = file::read_text(path).map_err(|source| PublishError::File {
        path: path.to_owned(),
        source,
    })?;
    match minisign_verify::Signature::decode(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(PublishError::Signature {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}
