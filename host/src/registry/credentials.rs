//! Who we are to a registry: from the environment, or where `docker login` keeps it.
//!
//! Credentials are only ever given to the registry that they are for, so that an experiment from
//! elsewhere that names another registry learns nothing.

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::error::Problem;

/// The registry that the two others are for.
const REGISTRY: &str = "INCUBATE_REGISTRY";
/// The user.
const USER: &str = "INCUBATE_REGISTRY_USER";
/// The password or token.
const PASSWORD: &str = "INCUBATE_REGISTRY_PASSWORD";

/// Credentials for one registry.
#[derive(Clone)]
pub(super) struct Credentials {
    /// What is sent.
    pub(super) secret: RegistryAuth,
    /// The user, for errors.
    pub(super) user: Option<String>,
}

impl Credentials {
    /// The credentials for `host`; anonymous when none are known.
    pub(super) fn of(host: &str) -> Result<Self, Problem> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(user) = set(USER) {
            let (Some(registry), Some(password)) = (set(REGISTRY), set(PASSWORD)) else {
                return Err(Problem::Credentials {
                    reason: format!(
                        "{USER} is set without {REGISTRY} and {PASSWORD} (set all three; {REGISTRY} says which registry may see them, here `{host}`)"
                    ),
                });
            };
            if registry == host {
                return Ok(Self {
                    secret: RegistryAuth::Basic(user.clone(), password),
                    user: Some(user),
                });
            }
        }
        let anonymous = Self {
            secret: RegistryAuth::Anonymous,
            user: None,
        };
        let Some(config) = docker_config() else {
            return Ok(anonymous);
        };
        let unusable = |reason: String| Problem::Credentials {
            reason: format!(
                "`{}`: {reason} (run `docker login {host}` again, or set {REGISTRY}, {USER}, and {PASSWORD})",
                config.display()
            ),
        };
        let file = match File::open(&config) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(anonymous),
            Err(error) => return Err(unusable(error.to_string())),
        };
        // Docker files its own registry under this name.
        let server = if host == "docker.io" {
            "https://index.docker.io/v1/"
        } else {
            host
        };
        match docker_credential::get_credential_from_reader(file, server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Self {
                secret: RegistryAuth::Basic(user.clone(), password),
                user: Some(user),
            }),
            Ok(DockerCredential::IdentityToken(token)) => Ok(Self {
                secret: RegistryAuth::Bearer(token),
                user: Some("the token of `docker login`".to_owned()),
            }),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(anonymous),
            Err(error) => Err(unusable(error.to_string())),
        }
    }
}

/// Where `docker login` keeps credentials, if there can be such a place.
fn docker_config() -> Option<PathBuf> {
    env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".docker")))
        .map(|folder| folder.join("config.json"))
}
