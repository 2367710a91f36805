//! Artefacts in registries: a blocking face over the OCI distribution protocol.
//!
//! An artefact is a config, layers, and annotations, whatever they mean; plugins and trained
//! modules are artefacts with media types of their own. What is pulled has the digests and sizes
//! that its manifest names, and the manifest the digest that is answered. The protocol's library is
//! for pushing, to a registry that is trusted with a login; it reads answers whole, however long they
//! are, so pulling has a session of its own.

use std::collections::BTreeMap;
use std::fmt;

use oci_client::Reference;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use reqwest::header::HeaderValue;

use super::credentials::Credentials;
use super::error::{Problem, RegistryError};
use super::session::Session;
use super::transport::{Access, CONNECT_TIMEOUT, READ_TIMEOUT, USER_AGENT, use_ring, wait};
use crate::digest::sha256;
use crate::plugin::Repository;

/// The annotation with the file name of a layer.
const TITLE: &str = "org.opencontainers.image.title";

/// The largest config that is taken: a record about the artefact.
const MOST_CONFIG_BYTES: u64 = 1 << 20;

/// Bytes of a media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What the bytes are.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// One file of an artefact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What the bytes are.
    pub media_type: String,
    /// The file name, if it has one.
    pub title: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What a registry keeps under one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The record about the artefact.
    pub config: Blob,
    /// Its files.
    pub layers: Vec<Layer>,
    /// Short texts that are read without pulling the files.
    pub annotations: BTreeMap<String, String>,
}

/// Where in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Under this tag, which may move.
    Tag(String),
    /// The manifest with this digest, `sha256:…`.
    Digest(String),
}

/// Pushes to and pulls from registries. Every call connects anew; none keeps anything.
#[derive(Clone, Debug, Default)]
pub struct RegistryClient {
    access: Access,
}

/// A connection to the registry of one repository, to push.
struct Connection {
    client: Client,
    credentials: Credentials,
    host: String,
    path: String,
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(formatter, "tag `{tag}`"),
            Self::Digest(digest) => write!(formatter, "manifest with the digest `{digest}`"),
        }
    }
}

impl RegistryClient {
    /// A client that reaches registries in this way.
    pub const fn new(access: Access) -> Self {
        Self { access }
    }

    /// Puts an artefact under a tag and answers the digest of its manifest.
    ///
    /// # Errors
    /// The registry cannot be reached or trusted, or refuses.
    pub fn push(
        &self,
        repository: &Repository,
        tag: &str,
        artefact: &Artefact,
    ) -> Result<String, RegistryError> {
        within(repository, async {
            let connection = Connection::open(repository, &self.access).await?;
            connection.push(tag, artefact).await
        })
    }

    /// Fetches an artefact with all its layers, and the digest of its manifest.
    ///
    /// # Errors
    /// The registry cannot be reached or trusted, has no such artefact, or sends something that has
    /// not the digest or size that it should have, or that is too large.
    pub fn pull(
        &self,
        repository: &Repository,
        at: &At,
    ) -> Result<(Artefact, String), RegistryError> {
        within(repository, async {
            let session = session(repository, &self.access).await?;
            pull(&session, at, self.access.most_bytes).await
        })
    }

    /// The digests of the layers of an artefact, `sha256:…`; `None` when there is none.
    ///
    /// # Errors
    /// The registry cannot be reached or trusted.
    pub fn layers(
        &self,
        repository: &Repository,
        at: &At,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        within(repository, async {
            let session = session(repository, &self.access).await?;
            match session.manifest(at).await {
                Ok((manifest, _)) => Ok(Some(
                    manifest
                        .layers
                        .into_iter()
                        .map(|layer| layer.digest)
                        .collect(),
                )),
                Err(Problem::NotFound { .. }) => Ok(None),
                Err(problem) => Err(problem),
            }
        })
    }

    /// The tags of a repository.
    ///
    /// # Errors
    /// The registry cannot be reached or trusted, or has no such repository.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        within(repository, async {
            session(repository, &self.access).await?.tags().await
        })
    }
}

/// Waits for requests about a repository and says in errors that they were about it.
fn within<T>(
    repository: &Repository,
    request: impl Future<Output = Result<T, Problem>>,
) -> Result<T, RegistryError> {
    wait(request).map_err(|problem| RegistryError {
        place: format!(
            "registry `{}`, repository `{}`",
            repository.host, repository.path
        ),
        problem: Box::new(problem),
    })
}

impl Connection {
    async fn open(repository: &Repository, access: &Access) -> Result<Self, Problem> {
        use_ring();
        let credentials = Credentials::of(&repository.host)?;
        let protocol = if access.is_plain(&repository.host).await? {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        };
        let authorities = access.authorities()?.unwrap_or_default();
        let extra_root_certificates = pem_certificates(&authorities)
            .into_iter()
            .map(|data| Certificate {
                encoding: CertificateEncoding::Pem,
                data,
            })
            .collect();
        let client = Client::try_from(ClientConfig {
            protocol,
            extra_root_certificates,
            read_timeout: Some(READ_TIMEOUT),
            connect_timeout: Some(CONNECT_TIMEOUT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        })
        .map_err(|error| Problem::Answer {
            reason: error.to_string(),
        })?;
        Ok(Self {
            client,
            credentials,
            host: repository.host.clone(),
            path: repository.path.clone(),
        })
    }

    fn problem(&self, what: &str) -> impl FnOnce(OciDistributionError) -> Problem {
        move |error| Problem::of_client(error, what, &self.host, self.credentials.user.as_deref())
    }

    async fn push(&self, tag: &str, artefact: &Artefact) -> Result<String, Problem> {
        let reference = Reference::with_tag(self.host.clone(), self.path.clone(), tag.to_owned());
        let problem = || self.problem("repository that can be pushed to");
        let describe = |media_type: &str, bytes: &[u8], title: Option<&String>| OciDescriptor {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{}", sha256(bytes)),
            size: bytes.len() as i64,
            annotations: title.map(|title| BTreeMap::from([(TITLE.to_owned(), title.clone())])),
            ..OciDescriptor::default()
        };
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: describe(&artefact.config.media_type, &artefact.config.bytes, None),
            layers: artefact
                .layers
                .iter()
                .map(|layer| describe(&layer.media_type, &layer.bytes, layer.title.as_ref()))
                .collect(),
            annotations: Some(artefact.annotations.clone()).filter(|all| !all.is_empty()),
            ..OciImageManifest::default()
        };
        self.client
            .store_auth_if_needed(reference.resolve_registry(), &self.credentials.secret)
            .await;
        let blobs = artefact.layers.iter().map(|layer| &layer.bytes);
        let descriptors = manifest.layers.iter().chain([&manifest.config]);
        for (bytes, descriptor) in blobs.chain([&artefact.config.bytes]).zip(descriptors) {
            self.client
                .push_blob(&reference, bytes.clone(), &descriptor.digest)
                .await
                .map_err(problem())?;
        }
        // The client's own way to write manifests does not escape line ends in annotations.
        let body = serde_json::to_vec(&manifest).map_err(|error| Problem::Answer {
            reason: error.to_string(),
        })?;
        let digest = format!("sha256:{}", sha256(&body));
        let media_type = HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
        self.client
            .push_manifest_raw(&reference, body, media_type)
            .await
            .map_err(problem())?;
        Ok(digest)
    }
}

/// A login for reading a repository.
async fn session(repository: &Repository, access: &Access) -> Result<Session, Problem> {
    let credentials = Credentials::of(&repository.host)?;
    let plain = access.is_plain(&repository.host).await?;
    let name = Reference::with_tag(
        repository.host.clone(),
        repository.path.clone(),
        String::new(),
    );
    // Docker's registry has another address than name.
    let server = name.resolve_registry();
    Session::open(server, &repository.path, plain, &credentials, access).await
}

async fn pull(session: &Session, at: &At, most_bytes: u64) -> Result<(Artefact, String), Problem> {
    let (manifest, digest) = session.manifest(at).await?;
    let config = Blob {
        media_type: manifest.config.media_type.clone(),
        bytes: session.blob(&manifest.config, MOST_CONFIG_BYTES).await?,
    };
    let mut left = most_bytes;
    let mut layers = Vec::with_capacity(manifest.layers.len());
    for descriptor in &manifest.layers {
        let bytes = session.blob(descriptor, left).await?;
        left -= bytes.len() as u64;
        layers.push(Layer {
            media_type: descriptor.media_type.clone(),
            title: descriptor
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(TITLE).cloned()),
            bytes,
        });
    }
    let artefact = Artefact {
        config,
        layers,
        annotations: manifest.annotations.unwrap_or_default(),
    };
    Ok((artefact, digest))
}

/// The certificates of a file, each by itself.
fn pem_certificates(bytes: &[u8]) -> Vec<Vec<u8>> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| part.as_bytes().to_vec())
        .collect()
}
