//! How plugins are named: built in, a file or folder, an https address, or a place in a registry.
//!
//! What a reference is depends on its text alone, never on what lies on the disk or answers on the
//! network, so that an experiment means the same everywhere. The first rule that fits decides:
//!
//! 1. it begins with `https://` or `http://`: an address;
//! 2. it begins with `.`, `/`, or a drive letter, or ends in `.wasm`: a file or a folder;
//! 3. its part before the first `/` has a `.` or a `:`, or is `localhost`: a place in a registry,
//!    with `@` and a version requirement, a version, or a digest behind it;
//! 4. it has a `/`: a file or a folder;
//! 5. otherwise: the name of a built-in plugin.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use semver::{Version, VersionReq};
use thiserror::Error;

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A plugin that is part of this program.
    BuiltIn(String),
    /// A component, or a folder with one.
    File(PathBuf),
    /// The address of a component.
    Url(String),
    /// A place in a registry.
    Registry(RegistryReference),
}

/// A place in a registry and which of its versions is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryReference {
    /// The place.
    pub repository: Repository,
    /// Which version.
    pub wanted: Wanted,
}

/// A repository of a registry: `registry.example.org:5000/team/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// The registry, with its port if it has one.
    pub host: String,
    /// The path below it, without a `/` at its ends.
    pub path: String,
}

/// Which version of a repository is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest version that fits, `@^1.2`; `@*`, or nothing, is the newest of all.
    Newest(VersionReq),
    /// This version and no other, `@1.2.3`.
    Exact(Version),
    /// The artefact whose manifest has this digest, `@sha256:…`.
    Manifest(String),
}

/// A reference that means nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The repository is written in a way that registries do not allow.
    #[error(
        "`{reference}` names no repository: {reason} (a place in a registry is `registry.example.org/team/name@^1.2`; a file begins with `./` or ends in `.wasm`)"
    )]
    Repository {
        /// What was given.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What stands behind the `@` is no version.
    #[error(
        "`{reference}` wants the version `{wanted}`, which cannot be read: {reason} (`@^1.2` is the newest compatible with 1.2, `@1.2.3` that version alone, `@*` the newest of all, `@sha256:…` one manifest)"
    )]
    Wanted {
        /// What was given.
        reference: String,
        /// The part behind the `@`.
        wanted: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address with something that may be secret. It is not repeated here, either.
    #[error(
        "an address of `{host}` has a user, a password, a `?`, or a `#` in it, which would stand in lock files, records of runs, and logs (write `https://host/path/name.wasm`; what needs a login belongs in a registry, whose credentials stay outside)"
    )]
    Secret {
        /// The host alone.
        host: String,
    },
    /// An address that is no address.
    #[error("`{reference}` is no address of a file (write `https://host/path/name.wasm`)")]
    Url {
        /// What was given.
        reference: String,
    },
}

impl Reference {
    /// Whether `text` names a file or a folder.
    pub fn is_file(text: &str) -> bool {
        matches!(text.parse(), Ok(Self::File(_)))
    }

    /// Whether `text` names something that has to be fetched.
    pub fn is_remote(text: &str) -> bool {
        !matches!(text.parse(), Ok(Self::BuiltIn(_) | Self::File(_)))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some(rest) = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
        {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            if authority.contains('@') || text.contains(['?', '#']) {
                let host = authority.rsplit('@').next().unwrap_or(authority);
                return Err(ReferenceError::Secret {
                    host: host.split(['?', '#']).next().unwrap_or(host).to_owned(),
                });
            }
            let complete = rest
                .split_once('/')
                .is_some_and(|(host, path)| !host.is_empty() && !path.is_empty());
            return if complete && !text.contains(char::is_whitespace) {
                Ok(Self::Url(text.to_owned()))
            } else {
                Err(ReferenceError::Url {
                    reference: text.to_owned(),
                })
            };
        }
        let file = text.starts_with('.')
            || Path::new(text).is_absolute()
            || text.starts_with('/')
            || Path::new(text)
                .extension()
                .is_some_and(|extension| extension == "wasm");
        if file {
            return Ok(Self::File(PathBuf::from(text)));
        }
        match text.split_once('/') {
            Some((host, _)) if is_host(host) => text.parse().map(Self::Registry),
            Some(_) => Ok(Self::File(PathBuf::from(text))),
            None => Ok(Self::BuiltIn(text.to_owned())),
        }
    }
}

/// Whether the part before the first `/` can only be a registry.
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains('.') || text.contains(':')
}

impl FromStr for RegistryReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (place, wanted) = match text.split_once('@') {
            Some((place, wanted)) => (place, Some(wanted)),
            None => (text, None),
        };
        let refuse = |reason| ReferenceError::Repository {
            reference: text.to_owned(),
            reason,
        };
        let Some((host, path)) = place.split_once('/') else {
            return Err(refuse("there is no `/` behind the registry"));
        };
        let port_fits = match host.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok(),
            _ => true,
        };
        let host_fits = is_host(host)
            && host
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter));
        if !host_fits || !port_fits {
            return Err(refuse(
                "the part before the first `/` is no host with a port",
            ));
        }
        if path.contains(':') {
            return Err(refuse(
                "a version is written with `@` and not with `:`, as in `@1.2.0`",
            ));
        }
        let word_fits = |word: &str| {
            let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
            word.starts_with(plain)
                && word.ends_with(plain)
                && word
                    .chars()
                    .all(|letter| plain(letter) || "._-".contains(letter))
        };
        if !path.split('/').all(word_fits) {
            return Err(refuse(
                "its words are of lower-case letters and digits, joined by `.`, `_`, or `-`",
            ));
        }
        Ok(Self {
            repository: Repository {
                host: host.to_owned(),
                path: path.to_owned(),
            },
            wanted: wanted
                .map_or(Ok(Wanted::Newest(VersionReq::STAR)), Wanted::from_str)
                .map_err(|reason| ReferenceError::Wanted {
                    reference: text.to_owned(),
                    wanted: wanted.unwrap_or_default().to_owned(),
                    reason,
                })?,
        })
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(digest) = text.strip_prefix("sha256:") {
            let fits = digest.len() == 64
                && digest
                    .chars()
                    .all(|letter| letter.is_ascii_digit() || ('a'..='f').contains(&letter));
            return if fits {
                Ok(Self::Manifest(text.to_owned()))
            } else {
                Err("a digest has 64 hexadecimal digits".to_owned())
            };
        }
        if let Ok(version) = Version::parse(text) {
            return Ok(Self::Exact(version));
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err("a version has three numbers, and a requirement begins with a sign".into());
        }
        VersionReq::parse(text)
            .map(Self::Newest)
            .map_err(|error| error.to_string())
    }
}

impl Wanted {
    /// Whether a version is among the wanted ones.
    pub fn admits(&self, version: &Version) -> bool {
        match self {
            Self::Newest(requirement) => requirement.matches(version),
            Self::Exact(exact) => exact == version,
            Self::Manifest(_) => true,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest(requirement) => write!(formatter, "{requirement}"),
            Self::Exact(version) => write!(formatter, "{version}"),
            Self::Manifest(digest) => formatter.write_str(digest),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.path)
    }
}

impl Repository {
    /// Whether the registry is this machine, by its name or address.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host, with or without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Reference {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_text_alone_decides() {
        assert_eq!(parsed("uniform"), Reference::BuiltIn("uniform".into()));
        for file in [
            "./my.wasm",
            "my.wasm",
            "./plugins",
            "../plugins",
            ".",
            "/a/b",
            "plugins/mine",
            "my.folder/x.wasm",
            "./my.folder/x",
        ] {
            assert_eq!(parsed(file), Reference::File(file.into()), "{file}");
            assert!(Reference::is_file(file) && !Reference::is_remote(file));
        }
        for url in ["https://host/x.wasm", "http://127.0.0.1:80/a/b.wasm"] {
            assert_eq!(parsed(url), Reference::Url(url.into()));
        }
        for place in [
            "registry.example.org/team/name",
            "localhost/name",
            "host:5000/name",
            "[::1]:5000/a/b_c",
        ] {
            let Reference::Registry(found) = parsed(place) else {
                panic!("{place}");
            };
            assert_eq!(found.repository.to_string(), place);
            assert_eq!(found.wanted, Wanted::Newest(VersionReq::STAR));
        }
    }

    #[test]
    fn an_address_with_a_secret_is_refused_and_not_repeated() {
        for address in [
            "https://ada:horse@host.org/x.wasm",
            "https://host.org/x.wasm?token=horse",
            "https://host.org/x.wasm#horse",
            "https://host.org?horse",
            "http://horse@host.org",
        ] {
            let error = address.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains("`host.org`"), "{error}");
            assert!(!error.contains("horse"), "{error}");
        }
    }

    #[test]
    fn versions_are_requirements_exact_or_digests() {
        let wanted = |text: &str| text.parse::<Wanted>();
        let version = |text| Version::parse(text).unwrap();
        assert!(wanted("^1.2").unwrap().admits(&version("1.3.0")));
        assert!(!wanted("^1.2").unwrap().admits(&version("2.0.0")));
        assert!(!wanted("^1.2").unwrap().admits(&version("1.3.0-rc.1")));
        assert!(wanted("*").unwrap().admits(&version("7.0.0")));
        assert!(!wanted("1.2.0").unwrap().admits(&version("1.2.1")));
        assert!(wanted("1.2").is_err());
        assert!(wanted("newest").is_err());
        assert!(wanted("sha256:abc").is_err());
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(wanted(&digest).unwrap(), Wanted::Manifest(digest));
    }

    #[test]
    fn what_registries_do_not_allow_is_refused() {
        for text in [
            "host.org/Team/name",
            "host.org/team//name",
            "host.org/",
            "host.org/name:1.2.0",
            "host.org:port/name",
            "host.org/name@1.2",
            "https://host",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
            assert!(Reference::is_remote(text) && !Reference::is_file(text));
        }
    }

    #[test]
    fn loopback_is_an_address_and_not_a_beginning() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example.org",
            "127.0.0.1.example.org:80",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
