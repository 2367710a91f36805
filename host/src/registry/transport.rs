//! HTTPS: which servers are trusted, when plain http is spoken, and downloads of bounded size.
//!
//! Plain http is spoken with this machine, or with any server when the person says `--insecure`,
//! and only when that server does not speak https. Certificates are always checked.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use reqwest::{Certificate, Client, Response};

use crate::file;
use crate::plugin::is_loopback;

use super::error::{Problem, RegistryError};

/// The largest component that is taken.
pub const MOST_BYTES: u64 = 256 << 20;

/// How long a connection may take to come about.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a server may be silent.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How we call ourselves.
pub(super) const USER_AGENT: &str = concat!("incubate/", env!("CARGO_PKG_VERSION"));

/// How servers are reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whether plain http is allowed to servers other than this machine.
    pub insecure: bool,
    /// Certificates of authorities that are trusted besides the system's, in PEM form. The
    /// system's are those of its store, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub ca_file: Option<PathBuf>,
    /// The largest artefact that is taken.
    pub most_bytes: u64,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            insecure: false,
            ca_file: None,
            most_bytes: MOST_BYTES,
        }
    }
}

impl Access {
    /// The authorities of `ca_file` as the file has them, each checked to be a certificate.
    pub(super) fn authorities(&self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let refuse = |reason: String| Problem::CaFile {
            path: path.clone(),
            reason,
        };
        let bytes = file::read(path, file::TEXT).map_err(|error| refuse(error.to_string()))?;
        let found =
            Certificate::from_pem_bundle(&bytes).map_err(|error| refuse(error.to_string()))?;
        if found.is_empty() {
            return Err(refuse("there is no certificate in it".to_owned()));
        }
        Ok(Some(bytes))
    }

    /// A client for requests of our own.
    pub(super) fn client(&self, https_only: bool) -> Result<Client, Problem> {
        use_ring();
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .https_only(https_only);
        if let Some(bytes) = self.authorities()? {
            let certificates =
                Certificate::from_pem_bundle(&bytes).map_err(|error| Problem::Answer {
                    reason: error.to_string(),
                })?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().map_err(Problem::of_request)
    }

    /// Whether plain http may be spoken with this host.
    pub(super) fn plain_allowed(&self, host: &str) -> bool {
        self.insecure || is_loopback(host)
    }

    /// Whether to speak plain http with this host: it is allowed, and the server does not speak
    /// https.
    pub(super) async fn is_plain(&self, host: &str) -> Result<bool, Problem> {
        if !self.plain_allowed(host) {
            return Ok(false);
        }
        let request = self.client(true)?.get(format!("https://{host}/v2/"));
        match request.send().await {
            Ok(_) => Ok(false),
            Err(error) => match Problem::of_request(error) {
                Problem::Plain => Ok(true),
                problem => Err(problem),
            },
        }
    }
}

/// Chooses the cryptography of https for the whole process, once.
pub(super) fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that another one was chosen before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Waits for a request on a runtime of its own.
pub(super) fn wait<T>(request: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::Answer {
            reason: format!("no runtime for requests: {error}"),
        })?
        .block_on(request)
}

/// The bytes at an address; `None` when the server has nothing there.
///
/// # Errors
/// The server cannot be reached or trusted, answers with an error, or sends too much or too little.
pub fn download(url: &str, access: &Access) -> Result<Option<Vec<u8>>, RegistryError> {
    wait(fetch(url, access)).map_err(|problem| RegistryError {
        place: format!("address `{url}`"),
        problem: Box::new(problem),
    })
}

async fn fetch(url: &str, access: &Access) -> Result<Option<Vec<u8>>, Problem> {
    let host = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or_default();
    let plain = url.starts_with("http://");
    if plain && !access.plain_allowed(host) {
        return Err(Problem::Plain);
    }
    // What begins encrypted stays so, whatever a redirect says.
    let client = access.client(!plain)?;
    let answer = client.get(url).send().await.map_err(Problem::of_request)?;
    let status = answer.status();
    if matches!(status.as_u16(), 404 | 410) {
        return Ok(None);
    }
    if !status.is_success() {
        return Err(Problem::Answer {
            reason: format!("status {status}"),
        });
    }
    let most = access.most_bytes;
    let bytes = body(answer, most, |bytes| Problem::TooLarge { bytes, most }).await?;
    Ok(Some(bytes))
}

/// The body of an answer, of at most `most` bytes; `more` says what more of them are.
pub(super) async fn body(
    mut answer: Response,
    most: u64,
    more: impl Fn(u64) -> Problem,
) -> Result<Vec<u8>, Problem> {
    if let Some(length) = answer.content_length().filter(|length| *length > most) {
        return Err(more(length));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(Problem::of_request)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > most {
            return Err(more(bytes.len() as u64));
        }
    }
    Ok(bytes)
}
