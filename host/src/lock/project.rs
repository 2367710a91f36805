//! A lock file in use: references become verified bytes, from the store where they can.

use std::path::{Component, Path, PathBuf};

use semver::Version;

use super::LockError;
use super::file::LockFile;
use super::pin::{Change, Pin, Provenance};
use crate::digest::sha256;
use crate::file;
use crate::plugin::{
    Inspection, Origin, PluginHost, Reference, RegistryReference, Repository, Wanted, file_of,
};
use crate::registry::{
    Access, At, Problem, RegistryClient, RegistryError, Signed, Store, Trust, check_signature,
    component_of, download, write_whole,
};

/// The end of the name of a signature.
const SIGNATURE_END: &str = ".minisig";

/// The experiments beside one lock file.
#[derive(Debug)]
pub struct Project {
    path: PathBuf,
    file: LockFile,
    store: Store,
    access: Access,
}

/// What using a reference did.
#[derive(Clone, Debug, PartialEq)]
pub enum Usage {
    /// Nothing had to be verified: it is built in, or a file that nobody pinned.
    Unpinned,
    /// The pinned bytes are in use.
    Verified,
    /// It was not pinned before, and is now.
    Pinned(Box<Pin>),
}

/// What an update did.
#[derive(Clone, Debug)]
pub struct Update {
    /// The pin before it.
    pub old: Pin,
    /// The pin after it.
    pub new: Pin,
    /// What differs.
    pub changes: Vec<Change>,
}

/// Bytes with where they came from.
struct Fetched {
    bytes: Vec<u8>,
    origin: Origin,
    source: String,
    manifest: Option<String>,
    signature: Option<String>,
    /// The version by which the registry calls it.
    tag: Option<Version>,
}

impl Project {
    /// The project whose lock file is `path`, which need not exist yet. Fetched plugins are kept
    /// below the folder `cache`.
    ///
    /// # Errors
    /// The lock file cannot be used, or there is no folder for fetched plugins.
    pub fn open(path: &Path, cache: Option<&Path>, access: Access) -> Result<Self, LockError> {
        Ok(Self {
            path: path.to_owned(),
            file: LockFile::read(path)?,
            store: Store::below(cache.ok_or(LockError::NoStore)?),
            access,
        })
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pinned plugins.
    pub fn pins(&self) -> &[Pin] {
        &self.file.plugins
    }

    /// Makes the sandbox know the plugin `reference` by verified bytes, and pins it when it comes
    /// from elsewhere and is not pinned yet, which `locked` forbids.
    ///
    /// # Errors
    /// The plugin cannot be fetched, is not the pinned one, or is not signed as demanded.
    pub fn supply(
        &mut self,
        host: &mut PluginHost,
        reference: &str,
        locked: bool,
    ) -> Result<Usage, LockError> {
        let parsed: Reference = reference.parse()?;
        let key = match &parsed {
            Reference::BuiltIn(_) => return Ok(Usage::Unpinned),
            Reference::File(path) => self.file_key(path),
            Reference::Url(_) | Reference::Registry(_) => reference.to_owned(),
        };
        if let Some(pin) = self.file.pin(&key).cloned() {
            let (bytes, origin, signature) = self.pinned(&parsed, &pin)?;
            self.check_signature(&key, &bytes, signature.as_deref())?;
            host.provide(reference, origin, bytes);
            return Ok(Usage::Verified);
        }
        if let Reference::File(path) = &parsed {
            // A file that nobody pinned is as it is, unless it has to be signed. One that cannot be
            // read is told by the sandbox, which knows what it is for.
            if let Ok(fetched) = read(path)
                && self.check_signature(&key, &fetched.bytes, fetched.signature.as_deref())?
                    != Signed::NotAsked
            {
                host.provide(reference, fetched.origin, fetched.bytes);
            }
            return Ok(Usage::Unpinned);
        }
        if locked {
            return Err(LockError::Locked {
                reference: reference.to_owned(),
                lock: self.path.clone(),
            });
        }
        let pin = self.pin_anew(host, reference, &parsed, &key)?;
        Ok(Usage::Pinned(Box::new(pin)))
    }

    /// Makes the sandbox know the plugin `reference` by the bytes with this digest, which a record
    /// names. Only the store is asked.
    ///
    /// # Errors
    /// They are not in the store.
    pub fn supply_recorded(
        &self,
        host: &mut PluginHost,
        reference: &str,
        digest: &str,
    ) -> Result<(), LockError> {
        let origin = match reference.parse()? {
            Reference::BuiltIn(_) | Reference::File(_) => return Ok(()),
            Reference::Url(url) => Origin::Url(url),
            Reference::Registry(place) => Origin::Registry(place.repository.to_string()),
        };
        let bytes = self.store.get(digest).ok_or_else(|| LockError::NotKept {
            reference: reference.to_owned(),
            digest: digest.to_owned(),
        })?;
        host.provide(reference, origin, bytes);
        Ok(())
    }

    /// Fetches and pins a plugin; one that is pinned already stays as it is.
    ///
    /// # Errors
    /// As [`Self::supply`]; or the plugin is built in.
    pub fn add(&mut self, host: &mut PluginHost, reference: &str) -> Result<Pin, LockError> {
        let (parsed, key) = self.parse(reference)?;
        if let Some(pin) = self.file.pin(&key).cloned() {
            self.supply(host, reference, true)?;
            return Ok(pin);
        }
        self.pin_anew(host, reference, &parsed, &key)
    }

    /// Pins the newest version that a reference allows.
    ///
    /// # Errors
    /// As [`Self::add`]; or it may do more than the pinned one, and `accept` is not given.
    pub fn update(
        &mut self,
        host: &mut PluginHost,
        reference: &str,
        accept: bool,
    ) -> Result<Update, LockError> {
        let (parsed, key) = self.parse(reference)?;
        let old = self.existing(&key)?;
        let fetched = self.fetch(&parsed)?;
        let new = self.examine(host, reference, &key, fetched)?;
        let changes = old.changes(&new);
        let wider: Vec<Change> = changes
            .iter()
            .filter(|change| change.wider)
            .cloned()
            .collect();
        if !wider.is_empty() && !accept {
            return Err(LockError::Wider {
                reference: key,
                changes: wider,
            });
        }
        self.file.put(new.clone());
        self.file.write(&self.path)?;
        Ok(Update { old, new, changes })
    }

    /// Forgets a pin.
    ///
    /// # Errors
    /// It is not pinned.
    pub fn remove(&mut self, reference: &str) -> Result<Pin, LockError> {
        let (_, key) = self.parse(reference)?;
        let pin = self.existing(&key)?;
        self.file.plugins.retain(|other| other.reference != key);
        self.file.write(&self.path)?;
        Ok(pin)
    }

    /// Demands from now on that plugins are signed, with this key or another trusted one.
    ///
    /// # Errors
    /// The key cannot be read, or the lock file not written.
    pub fn trust(&mut self, trust: Trust) -> Result<(), LockError> {
        if !self.file.trust.contains(&trust) {
            self.file.trust.push(trust);
        }
        self.file.write(&self.path)
    }

    /// Fetches what a reference stands for without pinning it: the pinned bytes if it is pinned,
    /// otherwise the newest. Answers the inspection, the bytes, and the signature.
    ///
    /// # Errors
    /// As [`Self::supply`].
    pub fn look(
        &self,
        host: &mut PluginHost,
        reference: &str,
    ) -> Result<(Inspection, Vec<u8>, Option<String>), LockError> {
        let (parsed, key) = self.parse(reference)?;
        let (bytes, signature) = match self.file.pin(&key) {
            Some(pin) => {
                let (bytes, origin, signature) = self.pinned(&parsed, pin)?;
                self.check_signature(&key, &bytes, signature.as_deref())?;
                host.provide(reference, origin, bytes.clone());
                (bytes, signature)
            }
            None => {
                let fetched = self.fetch(&parsed)?;
                let found = (fetched.bytes.clone(), fetched.signature.clone());
                self.examine(host, reference, &key, fetched)?;
                found
            }
        };
        Ok((host.inspect(reference)?, bytes, signature))
    }

    fn parse(&self, reference: &str) -> Result<(Reference, String), LockError> {
        let parsed: Reference = reference.parse()?;
        let key = match &parsed {
            Reference::BuiltIn(name) => return Err(LockError::BuiltIn { name: name.clone() }),
            Reference::File(path) => self.file_key(path),
            Reference::Url(_) | Reference::Registry(_) => reference.to_owned(),
        };
        Ok((parsed, key))
    }

    fn existing(&self, key: &str) -> Result<Pin, LockError> {
        self.file
            .pin(key)
            .cloned()
            .ok_or_else(|| LockError::NotPinned {
                reference: key.to_owned(),
                lock: self.path.clone(),
                pinned: self
                    .file
                    .plugins
                    .iter()
                    .map(|pin| pin.reference.clone())
                    .collect(),
            })
    }

    fn pin_anew(
        &mut self,
        host: &mut PluginHost,
        reference: &str,
        parsed: &Reference,
        key: &str,
    ) -> Result<Pin, LockError> {
        let fetched = self.fetch(parsed)?;
        let pin = self.examine(host, reference, key, fetched)?;
        self.file.put(pin.clone());
        self.file.write(&self.path)?;
        Ok(pin)
    }

    /// Lets the sandbox look at what was fetched, and keeps it if it is what it should be.
    fn examine(
        &self,
        host: &mut PluginHost,
        reference: &str,
        key: &str,
        fetched: Fetched,
    ) -> Result<Pin, LockError> {
        self.check_signature(key, &fetched.bytes, fetched.signature.as_deref())?;
        let remote = !matches!(fetched.origin, Origin::File(_));
        host.provide(reference, fetched.origin, fetched.bytes.clone());
        let inspection = host.inspect(reference)?;
        if let Some(tag) = fetched.tag
            && tag != inspection.description.version
        {
            return Err(LockError::Version {
                reference: reference.to_owned(),
                tag: tag.to_string(),
                component: inspection.description.version.to_string(),
            });
        }
        if remote {
            self.keep(&fetched.bytes)?;
        }
        let provenance = Provenance {
            reference: key.to_owned(),
            source: if remote {
                fetched.source
            } else {
                key.to_owned()
            },
            manifest: fetched.manifest,
            signature: fetched.signature,
        };
        Ok(Pin::new(provenance, &inspection))
    }

    fn keep(&self, bytes: &[u8]) -> Result<(), LockError> {
        self.store.put(bytes).map_err(|source| LockError::File {
            action: "write the plugin store for",
            path: self.path.clone(),
            source,
        })
    }

    fn check_signature(
        &self,
        key: &str,
        bytes: &[u8],
        signature: Option<&str>,
    ) -> Result<Signed, LockError> {
        let lock = self.path.display().to_string();
        Ok(check_signature(
            &self.file.trust,
            key,
            bytes,
            signature,
            &lock,
        )?)
    }

    /// The bytes of a pin: from the file, the store, or the place that it came from.
    fn pinned(
        &self,
        parsed: &Reference,
        pin: &Pin,
    ) -> Result<(Vec<u8>, Origin, Option<String>), LockError> {
        let verify = |bytes: &[u8], source_name: String| {
            let found = sha256(bytes);
            if found == pin.sha256 {
                return Ok(());
            }
            Err(LockError::Mismatch {
                reference: pin.reference.clone(),
                lock: self.path.as_path().into(),
                source_name,
                pinned: pin.sha256.clone(),
                found,
            })
        };
        if let Reference::File(path) = parsed {
            let fetched = read(path)?;
            verify(&fetched.bytes, format!("`{}`", path.display()))?;
            let signature = fetched.signature.or_else(|| pin.signature.clone());
            return Ok((fetched.bytes, fetched.origin, signature));
        }
        let origin = match parsed {
            Reference::Url(url) => Origin::Url(url.clone()),
            _ => Origin::Registry(pin.source.clone()),
        };
        if let Some(bytes) = self.store.get(&pin.sha256) {
            return Ok((bytes, origin, pin.signature.clone()));
        }
        let fetched = match (parsed, &pin.manifest) {
            (Reference::Registry(place), Some(manifest)) => {
                self.fetch_registry(&RegistryReference {
                    repository: place.repository.clone(),
                    wanted: Wanted::Manifest(manifest.clone()),
                })?
            }
            _ => self.fetch(parsed)?,
        };
        verify(&fetched.bytes, format!("`{}`", fetched.source))?;
        self.keep(&fetched.bytes)?;
        Ok((fetched.bytes, origin, pin.signature.clone()))
    }

    fn fetch(&self, parsed: &Reference) -> Result<Fetched, LockError> {
        match parsed {
            Reference::BuiltIn(name) => Err(LockError::BuiltIn { name: name.clone() }),
            Reference::File(path) => read(path),
            Reference::Url(url) => self.fetch_url(url),
            Reference::Registry(place) => self.fetch_registry(place),
        }
    }

    fn fetch_url(&self, url: &str) -> Result<Fetched, LockError> {
        let bytes = download(url, &self.access)?.ok_or_else(|| {
            LockError::Registry(RegistryError {
                place: format!("address `{url}`"),
                problem: Box::new(Problem::NotFound {
                    what: "file at this address".to_owned(),
                }),
            })
        })?;
        let signature = download(&format!("{url}{SIGNATURE_END}"), &self.access)?
            .and_then(|text| String::from_utf8(text).ok());
        Ok(Fetched {
            bytes,
            origin: Origin::Url(url.to_owned()),
            source: url.to_owned(),
            manifest: None,
            signature,
            tag: None,
        })
    }

    fn fetch_registry(&self, place: &RegistryReference) -> Result<Fetched, LockError> {
        let client = RegistryClient::new(self.access.clone());
        let repository = &place.repository;
        let (at, tag) = match &place.wanted {
            Wanted::Manifest(digest) => (At::Digest(digest.clone()), None),
            Wanted::Exact(version) => (At::Tag(version.to_string()), Some(version.clone())),
            Wanted::Newest(_) => {
                let version = newest(&client, repository, &place.wanted)?;
                (At::Tag(version.to_string()), Some(version))
            }
        };
        let (artefact, manifest) = client.pull(repository, &at)?;
        let (bytes, signature) = component_of(artefact).map_err(|problem| RegistryError {
            place: format!("`{repository}`, {at}"),
            problem: Box::new(problem),
        })?;
        Ok(Fetched {
            bytes,
            origin: Origin::Registry(repository.to_string()),
            source: repository.to_string(),
            manifest: Some(manifest),
            signature,
            tag,
        })
    }

    /// How the lock file names a file: relative to itself where the file lies below it.
    fn file_key(&self, path: &Path) -> String {
        let absolute = |path: &Path| plain(&std::path::absolute(path).unwrap_or(path.to_owned()));
        let file = absolute(path);
        let folder = absolute(&self.path)
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        match file.strip_prefix(&folder) {
            Ok(inside) => format!("./{}", inside.to_string_lossy().replace('\\', "/")),
            Err(_) => file.display().to_string(),
        }
    }
}

/// A file, or the component of a folder, with the signature beside it.
fn read(path: &Path) -> Result<Fetched, LockError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LockError::File {
            action: "read plugin",
            path,
            source,
        }
    };
    let file = file_of(path).map_err(|error| LockError::File {
        action: "use plugin folder",
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let bytes = file::read(&file, file::COMPONENT).map_err(failed(&file))?;
    let signature = signature_of(&file);
    let signature = match file::read_text(&signature) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&signature)(error)),
    };
    Ok(Fetched {
        bytes,
        source: file.display().to_string(),
        origin: Origin::File(file),
        manifest: None,
        signature,
        tag: None,
    })
}

/// The newest version of a repository that is wanted.
fn newest(
    client: &RegistryClient,
    repository: &Repository,
    wanted: &Wanted,
) -> Result<Version, LockError> {
    let mut versions: Vec<Version> = client
        .tags(repository)?
        .iter()
        .filter_map(|tag| Version::parse(tag).ok())
        .collect();
    versions.sort();
    let found = versions.iter().rev().find(|version| wanted.admits(version));
    found.cloned().ok_or_else(|| {
        LockError::Registry(RegistryError {
            place: format!(
                "registry `{}`, repository `{}`",
                repository.host, repository.path
            ),
            problem: Box::new(Problem::NoVersion {
                wanted: wanted.to_string(),
                there: versions.iter().map(ToString::to_string).collect(),
            }),
        })
    })
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Writes a fetched plugin to a file, and its signature beside it. A file that is there and differs
/// is replaced only when the person named it.
///
/// # Errors
/// Another file is there, or the folder cannot be written.
pub fn write_pulled(
    file: &Path,
    bytes: &[u8],
    signature: Option<&str>,
    named: bool,
) -> Result<(), LockError> {
    if !named && file::read(file, file::COMPONENT).is_ok_and(|there| there != bytes) {
        return Err(LockError::Occupied {
            path: file.to_owned(),
        });
    }
    let write = |path: &Path, bytes: &[u8]| {
        write_whole(path, bytes).map_err(|source| LockError::File {
            action: "write",
            path: path.to_owned(),
            source,
        })
    };
    write(file, bytes)?;
    match signature {
        Some(text) => write(&signature_of(file), text.as_bytes()),
        None => Ok(()),
    }
}

/// Where the signature of a file lies.
fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(SIGNATURE_END);
    PathBuf::from(name)
}
