//! What goes wrong between this program and a registry or a web server: where, what, and what to
//! do next.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use rustls::CertificateError;
use thiserror::Error;

/// A request that failed.
#[derive(Debug, Error)]
#[error("{place}: {problem}")]
pub struct RegistryError {
    /// The registry and repository, or the address.
    pub place: String,
    /// What went wrong.
    pub problem: Box<Problem>,
}

/// What went wrong with a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The server has no such thing.
    #[error("there is no {what} (check the name; a registry may also hide what you may not see)")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// No version of a repository is among the wanted ones.
    #[error("no version fits `{wanted}` (there: {})", none_or(.there))]
    NoVersion {
        /// The requirement.
        wanted: String,
        /// The versions that are there.
        there: Vec<String>,
    },
    /// The server wants other credentials.
    #[error("{}", unauthorized(.host, .user.as_deref()))]
    Unauthorized {
        /// The registry.
        host: String,
        /// The user that was refused, if one was named.
        user: Option<String>,
    },
    /// Credentials could not be read.
    #[error("the credentials cannot be used: {reason}")]
    Credentials {
        /// Why, and what to do.
        reason: String,
    },
    /// The certificate was issued by nobody known.
    #[error(
        "its certificate was issued by an authority that is not known here (give the authority's certificate with `--ca-file FILE`)"
    )]
    UnknownIssuer,
    /// The certificate is not valid any more.
    #[error(
        "its certificate has expired (renew it on the server; `--ca-file` does not help against that)"
    )]
    Expired,
    /// The certificate is for another host.
    #[error(
        "its certificate is not for this host name (use the name in the certificate, or issue one for this name; `--ca-file` does not help against that)"
    )]
    OtherName,
    /// The certificate cannot be used for another reason.
    #[error("its certificate cannot be used: {reason} (check the server, and `--ca-file`)")]
    Certificate {
        /// What the check said.
        reason: String,
    },
    /// The file of authorities cannot be used.
    #[error("the certificates in `{}` cannot be used: {reason} (give a file with certificates in PEM form)", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// This machine knows no authorities at all.
    #[error(
        "no certificates of authorities were found on this machine (install the system's, as in `apt-get install ca-certificates`, or give a file of them with `--ca-file`)"
    )]
    NoAuthorities,
    /// The server answers without encryption.
    #[error(
        "it does not speak https, and plain http is for this machine alone (give `--insecure` to use it all the same: whoever is on the way can read passwords)"
    )]
    Plain,
    /// Nothing listens there.
    #[error("the connection was refused (is the server running, and is the port right?)")]
    Refused,
    /// The name is not known.
    #[error("there is no host of this name (check the name and the network)")]
    NoHost,
    /// The server does not answer.
    #[error("it did not answer in time (check the network and try again)")]
    Timeout,
    /// The connection ended early.
    #[error("the transfer ended before everything had come: {reason} (try again)")]
    Truncated {
        /// What the connection said.
        reason: String,
    },
    /// The bytes are not those that the digest names.
    #[error(
        "the bytes that came have the digest {found} and should have {expected}; they were changed or damaged and are not used (pull again, or push the artefact again)"
    )]
    Digest {
        /// The digest that was named.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
    /// More bytes came than the manifest names.
    #[error(
        "more bytes came than the {announced} that the manifest names; they were changed or damaged and are not used (pull again, or push the artefact again)"
    )]
    Size {
        /// The size in the manifest.
        announced: u64,
    },
    /// More bytes than this program takes.
    #[error("it has {bytes} bytes or more, and at most {most} are taken")]
    TooLarge {
        /// The size as far as it is known.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// What is there is something else.
    #[error("what is there is {found}, and {wanted} is wanted")]
    Other {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The version was published with other bytes.
    #[error(
        "version {version} is there already with the digest {there}, and this file has {here} (a published version does not change; raise the version of the plugin)"
    )]
    Published {
        /// The version.
        version: String,
        /// The digest of the published component.
        there: String,
        /// The digest of the file.
        here: String,
    },
    /// An answer that makes no sense.
    #[error("it answered in a way that cannot be used: {reason}")]
    Answer {
        /// What the answer was.
        reason: String,
    },
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn unauthorized(host: &str, user: Option<&str>) -> String {
    let refused = user.map_or_else(
        || "it wants a login, and no credentials for it are known".to_owned(),
        |user| format!("it refused the credentials of `{user}`"),
    );
    format!(
        "{refused} (run `docker login {host}`, or set INCUBATE_REGISTRY={host}, INCUBATE_REGISTRY_USER, and INCUBATE_REGISTRY_PASSWORD)"
    )
}

impl Problem {
    /// What a failed HTTP request says.
    pub(super) fn of_request(error: reqwest::Error) -> Self {
        // A server can lead on to an address that is itself a key.
        let error = &error.without_url();
        if error.is_timeout() {
            return Self::Timeout;
        }
        let words = innermost(error);
        if let Some(problem) = chain(error).find_map(known) {
            return problem;
        }
        if chain(error).any(|cause| cause.to_string().contains("dns error")) {
            return Self::NoHost;
        }
        if error.is_body() || error.is_decode() || words.contains("before message") {
            return Self::Truncated { reason: words };
        }
        Self::Answer { reason: words }
    }

    /// What the registry client's error says about `what`.
    pub(super) fn of_client(
        error: OciDistributionError,
        what: &str,
        host: &str,
        user: Option<&str>,
    ) -> Self {
        let not_found = || Self::NotFound {
            what: what.to_owned(),
        };
        let unauthorized = || Self::Unauthorized {
            host: host.to_owned(),
            user: user.map(ToOwned::to_owned),
        };
        match error {
            OciDistributionError::RequestError(error) => match error.status() {
                Some(status) => Self::of_status(status.as_u16(), what, host, user)
                    .unwrap_or_else(|| Self::of_request(error)),
                None => Self::of_request(error),
            },
            OciDistributionError::IoError(error) => Self::Truncated {
                reason: error.to_string(),
            },
            OciDistributionError::DigestError(DigestError::VerificationError {
                expected,
                actual,
            }) => Self::Digest {
                expected,
                found: actual,
            },
            OciDistributionError::ImageManifestNotFoundError(_) => not_found(),
            OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::UnauthorizedError { .. } => unauthorized(),
            OciDistributionError::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| {
                    envelope
                        .errors
                        .iter()
                        .any(|error| codes.contains(&error.code))
                };
                if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    unauthorized()
                } else if has(&[
                    OciErrorCode::ManifestUnknown,
                    OciErrorCode::NameUnknown,
                    OciErrorCode::NotFound,
                    OciErrorCode::BlobUnknown,
                    OciErrorCode::ManifestBlobUnknown,
                ]) {
                    not_found()
                } else {
                    Self::Answer {
                        reason: line(&envelope.to_string()),
                    }
                }
            }
            OciDistributionError::ServerError { code, message, .. } => {
                Self::of_status(code, what, host, user).unwrap_or_else(|| Self::Answer {
                    reason: format!("status {code}, {}", line(&message)),
                })
            }
            OciDistributionError::ImageIndexParsingNoPlatformResolverError => Self::Other {
                found: "an index of several images".to_owned(),
                wanted: "one artefact",
            },
            other => Self::Answer {
                reason: line(&other.to_string()),
            },
        }
    }

    /// What an HTTP status says by itself.
    pub(super) fn of_status(
        status: u16,
        what: &str,
        host: &str,
        user: Option<&str>,
    ) -> Option<Self> {
        match status {
            401 | 403 => Some(Self::Unauthorized {
                host: host.to_owned(),
                user: user.map(ToOwned::to_owned),
            }),
            404 | 410 => Some(Self::NotFound {
                what: what.to_owned(),
            }),
            _ => None,
        }
    }
}

/// The beginning of a server's words in one line, without what terminals obey, and without what
/// follows the name of a way to log in: some servers repeat the headers that they got.
pub(super) fn line(words: &str) -> String {
    const MOST: usize = 300;
    let plain: String = words.replace(char::is_control, " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let mut hidden = words.clone();
    for (word, before) in hidden.iter_mut().skip(1).zip(&words) {
        let scheme = before.trim_matches(|letter: char| !letter.is_alphanumeric());
        if scheme.eq_ignore_ascii_case("basic") || scheme.eq_ignore_ascii_case("bearer") {
            *word = "[hidden]";
        }
    }
    hidden.join(" ").chars().take(MOST).collect()
}

/// The error and its causes, with what `io::Error` wraps.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// The words of the last cause, which are the most precise ones.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    chain(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// A cause that has a problem of its own.
fn known(cause: &(dyn StdError + 'static)) -> Option<Problem> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::UnknownIssuer => Problem::UnknownIssuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Problem::Expired
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Problem::OtherName,
                other => Problem::Certificate {
                    reason: other.to_string(),
                },
            },
            rustls::Error::InvalidMessage(_) => Problem::Plain,
            rustls::Error::General(reason) if reason.starts_with("No CA certificates") => {
                Problem::NoAuthorities
            }
            other => Problem::Certificate {
                reason: other.to_string(),
            },
        });
    }
    let error = cause.downcast_ref::<io::Error>()?;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Problem::Refused),
        io::ErrorKind::TimedOut => Some(Problem::Timeout),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Some(Problem::Truncated {
            reason: error.to_string(),
        }),
        _ => None,
    }
}
