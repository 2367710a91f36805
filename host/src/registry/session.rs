//! What is read from a registry: manifests, tags, and blobs, each answer with a bound, and the login
//! that reading them takes. A registry that is asked for something may be a stranger's.

use std::collections::BTreeSet;

use http_auth::parse_challenges;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest,
};
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::client::At;
use super::credentials::Credentials;
use super::error::{Problem, line};
use super::transport::{Access, body};
use crate::digest::{is_sha256, sha256};

/// The largest manifest that is taken: what the specification lets registries refuse.
const MOST_MANIFEST_BYTES: u64 = 4 << 20;

/// The largest page of tags that is taken.
const MOST_PAGE_BYTES: u64 = 4 << 20;

/// Pages of tags that are asked for at most.
const MOST_PAGES: usize = 100;

/// Tags that are taken at most.
const MOST_TAGS: usize = 100_000;

/// The largest answer to a login that is taken.
const MOST_TOKEN_BYTES: u64 = 1 << 20;

/// How much of what a server says about an error is read.
const MOST_WORDS: usize = 4096;

/// What is sent along with every request.
enum Authorization {
    None,
    Basic(String, String),
    Bearer(String),
}

/// A registry that we are logged in to for reading one repository.
pub(super) struct Session {
    client: Client,
    /// `https://HOST/v2/`
    base: Url,
    authorization: Authorization,
    host: String,
    /// The user, for errors.
    user: Option<String>,
    path: String,
}

/// The answer to a login: registries use either name.
#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

#[derive(Deserialize)]
struct Page {
    /// Some registries answer `null` for a repository without tags.
    tags: Option<Vec<String>>,
}

impl Session {
    /// Logs in, if the registry at `server` wants that, to read the repository at `path`.
    pub(super) async fn open(
        server: &str,
        path: &str,
        plain: bool,
        credentials: &Credentials,
        access: &Access,
    ) -> Result<Self, Problem> {
        let scheme = if plain { "http" } else { "https" };
        let base =
            Url::parse(&format!("{scheme}://{server}/v2/")).map_err(|error| Problem::Answer {
                reason: format!("`{server}` is no host: {error}"),
            })?;
        let mut session = Self {
            // What begins encrypted stays so, whatever a redirect or a login says.
            client: access.client(!plain)?,
            base,
            authorization: Authorization::None,
            host: server.to_owned(),
            user: credentials.user.clone(),
            path: path.to_owned(),
        };
        session.authorization = match &credentials.secret {
            RegistryAuth::Bearer(token) => Authorization::Bearer(token.clone()),
            secret => session.log_in(secret, access).await?,
        };
        Ok(session)
    }

    /// What the registry wants to see with every request.
    async fn log_in(
        &self,
        secret: &RegistryAuth,
        access: &Access,
    ) -> Result<Authorization, Problem> {
        let basic = || match secret {
            RegistryAuth::Basic(user, password) => {
                Authorization::Basic(user.clone(), password.clone())
            }
            _ => Authorization::None,
        };
        let answer = send(self.client.get(self.base.clone())).await?;
        let Some(wanted) = answer.headers().get(WWW_AUTHENTICATE) else {
            return Ok(Authorization::None);
        };
        let wanted = wanted.to_str().unwrap_or_default();
        let challenges = parse_challenges(wanted).map_err(|_| Problem::Answer {
            reason: format!("it wants a login in an unknown way: {}", line(wanted)),
        })?;
        let Some(bearer) = challenges
            .iter()
            .find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))
        else {
            return Ok(basic());
        };
        let parameter = |name: &str| {
            let found = bearer
                .params
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").unwrap_or_default();
        let mut url = Url::parse(&realm).map_err(|error| Problem::Answer {
            reason: format!("it wants a login at `{}`: {error}", line(&realm)),
        })?;
        if url.scheme() != "https" && !access.plain_allowed(url.host_str().unwrap_or_default()) {
            return Err(Problem::Plain);
        }
        url.query_pairs_mut()
            .append_pair("scope", &format!("repository:{}:pull", self.path));
        if let Some(service) = parameter("service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        let request = basic().apply(self.client.get(url));
        let text = self
            .bytes(request, "login", MOST_TOKEN_BYTES, too_large)
            .await?;
        let token: Token = serde_json::from_slice(&text).map_err(|_| Problem::Answer {
            // The words of the error could have a part of a token.
            reason: "there is no token in its answer to the login".to_owned(),
        })?;
        Ok(Authorization::Bearer(token.token))
    }

    /// The address of something in the repository.
    fn url(&self, parts: [&str; 2]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(self.path.split('/'))
            .extend(parts);
        url
    }

    /// The body of the answer to a request, of at most `most` bytes.
    async fn bytes(
        &self,
        request: RequestBuilder,
        what: &str,
        most: u64,
        more: fn(u64, u64) -> Problem,
    ) -> Result<Vec<u8>, Problem> {
        let answer = send(request).await?;
        let status = answer.status();
        if status.is_success() {
            return body(answer, most, |bytes| more(bytes, most)).await;
        }
        if let Some(problem) =
            Problem::of_status(status.as_u16(), what, &self.host, self.user.as_deref())
        {
            return Err(problem);
        }
        Err(Problem::Answer {
            reason: format!("status {status} {}", line(&words(answer).await))
                .trim_end()
                .to_owned(),
        })
    }

    /// The manifest that is there, and its digest.
    pub(super) async fn manifest(&self, at: &At) -> Result<(OciImageManifest, String), Problem> {
        let name = match at {
            At::Tag(tag) => tag,
            At::Digest(digest) => checked(digest)?,
        };
        let request = self.client.get(self.url(["manifests", name])).header(
            ACCEPT,
            [
                OCI_IMAGE_MEDIA_TYPE,
                IMAGE_MANIFEST_MEDIA_TYPE,
                OCI_IMAGE_INDEX_MEDIA_TYPE,
                IMAGE_MANIFEST_LIST_MEDIA_TYPE,
            ]
            .join(", "),
        );
        let request = self.authorization.apply(request);
        let bytes = self
            .bytes(request, &at.to_string(), MOST_MANIFEST_BYTES, too_large)
            .await?;
        let found = format!("sha256:{}", sha256(&bytes));
        if let At::Digest(expected) = at
            && *expected != found
        {
            return Err(Problem::Digest {
                expected: expected.clone(),
                found,
            });
        }
        match serde_json::from_slice(&bytes) {
            Ok(OciManifest::Image(manifest)) if manifest.schema_version == 2 => {
                Ok((manifest, found))
            }
            Ok(OciManifest::Image(manifest)) => Err(Problem::Answer {
                reason: format!(
                    "a manifest of version {}, and version 2 is known",
                    manifest.schema_version
                ),
            }),
            // An index of images for several platforms is no artefact of ours.
            Ok(OciManifest::ImageIndex(_)) => Err(Problem::Other {
                found: "an index of several images".to_owned(),
                wanted: "one artefact",
            }),
            Err(error) => Err(Problem::Answer {
                reason: format!("its manifest is none: {}", line(&error.to_string())),
            }),
        }
    }

    /// The bytes that a descriptor names, at most `most` of them.
    pub(super) async fn blob(
        &self,
        descriptor: &OciDescriptor,
        most: u64,
    ) -> Result<Vec<u8>, Problem> {
        let size = u64::try_from(descriptor.size).map_err(|_| Problem::Answer {
            reason: format!("a layer of {} bytes", descriptor.size),
        })?;
        if size > most {
            return Err(too_large(size, most));
        }
        let digest = checked(&descriptor.digest)?;
        // By digest alone: a manifest may name other servers, and nobody asked for those.
        let request = self.client.get(self.url(["blobs", digest]));
        let bytes = self
            .bytes(
                self.authorization.apply(request),
                &format!("layer `{digest}`"),
                size,
                |_, announced| Problem::Size { announced },
            )
            .await?;
        let found = format!("sha256:{}", sha256(&bytes));
        if found != digest {
            return Err(Problem::Digest {
                expected: digest.to_owned(),
                found,
            });
        }
        if (bytes.len() as u64) < size {
            return Err(Problem::Truncated {
                reason: format!("{} of {size} bytes", bytes.len()),
            });
        }
        Ok(bytes)
    }

    /// The tags of the repository.
    pub(super) async fn tags(&self) -> Result<Vec<String>, Problem> {
        let mut known = BTreeSet::new();
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..MOST_PAGES {
            let mut url = self.url(["tags", "list"]);
            if let Some(last) = tags.last() {
                url.query_pairs_mut().append_pair("last", last);
            }
            let request = self.authorization.apply(self.client.get(url));
            let bytes = self
                .bytes(
                    request,
                    "repository of this name",
                    MOST_PAGE_BYTES,
                    too_large,
                )
                .await?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|error| Problem::Answer {
                reason: format!("its list of tags is none: {}", line(&error.to_string())),
            })?;
            // Registries that do not know pages answer the same list again.
            let before = tags.len();
            for tag in page.tags.unwrap_or_default() {
                if known.insert(tag.clone()) {
                    tags.push(tag);
                }
            }
            if tags.len() > MOST_TAGS {
                return Err(Problem::Answer {
                    reason: format!("a repository of more than {MOST_TAGS} tags"),
                });
            }
            if tags.len() == before {
                break;
            }
        }
        Ok(tags)
    }
}

impl Authorization {
    fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Basic(user, password) => request.basic_auth(user, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Problem> {
    request.send().await.map_err(Problem::of_request)
}

const fn too_large(bytes: u64, most: u64) -> Problem {
    Problem::TooLarge { bytes, most }
}

/// A digest that can be compared and stand in an address.
fn checked(digest: &str) -> Result<&str, Problem> {
    let known = digest.strip_prefix("sha256:").is_some_and(is_sha256);
    known.then_some(digest).ok_or_else(|| Problem::Answer {
        reason: format!(
            "the digest `{}`, and those of sha256 are known",
            line(digest)
        ),
    })
}

/// The beginning of what a server says about an error, as far as it comes.
async fn words(mut answer: Response) -> String {
    let mut words = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        words.extend_from_slice(&chunk[..chunk.len().min(MOST_WORDS - words.len())]);
        if words.len() == MOST_WORDS {
            break;
        }
    }
    String::from_utf8_lossy(&words).into_owned()
}
