//! Checkpoints that lie in a run folder: which there are, and the newest that is whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, NoManifest};
use super::writer::clear_leftovers;
use super::{
    CHECKPOINT_FORMAT, CheckpointOrigin, CheckpointState, DAMAGED, FILES, MANIFEST_FILE, name,
};
use crate::digest::sha256;
use crate::file;
use crate::run::{RunError, RunFolder, Unit};

/// The largest manifest that is read; plugins that remember much make it large.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// A checkpoint, every byte of which is what was written.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// Everything but tensors.
    pub state: CheckpointState,
    /// The bytes of its files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// What was found where a unit has its checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The newest checkpoint that is whole.
    pub newest: Option<Stored>,
    /// A sentence for every newer one, none of which is.
    pub damaged: Vec<String>,
}

/// Why a checkpoint is not used.
enum Unusable {
    /// It is not what was written.
    Damaged(String),
    /// Something that somebody can repair, so that nothing is lost.
    Refused(RunError),
}

impl RunFolder {
    /// The updates after which a unit has checkpoints, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn checkpoints(&self, unit: Unit) -> Result<Vec<u64>, RunError> {
        listed(&self.checkpoints_path(unit))
    }

    /// The newest checkpoint of a unit that is whole, to go on from. Newer ones are damaged; they are
    /// renamed, so that nothing takes them for checkpoints again. What an interrupted process left
    /// half written is deleted.
    ///
    /// # Errors
    /// When a checkpoint may not be read, or was made by a newer host.
    pub fn take_up(&self, unit: Unit) -> Result<Found, RunError> {
        clear_leftovers(&self.checkpoints_path(unit), false)?;
        self.newest(unit, |_| true)
    }

    /// The newest checkpoint of a unit, of those of this training after less than `before` updates, to
    /// which training goes back when it diverges. Those that are found damaged are renamed.
    ///
    /// # Errors
    /// As [`Self::take_up`].
    pub fn roll_back_point(
        &self,
        unit: Unit,
        origin: &CheckpointOrigin,
        before: u64,
    ) -> Result<Found, RunError> {
        self.newest(unit, |state| {
            state.roll_back_point && state.origin == *origin && state.position.update < before
        })
    }

    /// Whether there is such a checkpoint.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn has_roll_back_point(
        &self,
        unit: Unit,
        origin: &CheckpointOrigin,
    ) -> Result<bool, RunError> {
        let folder = self.checkpoints_path(unit);
        let updates = listed(&folder)?;
        Ok(updates.into_iter().rev().any(|update| {
            manifest_of(&folder.join(name(update)))
                .is_ok_and(|found| found.state.roll_back_point && found.state.origin == *origin)
        }))
    }

    /// The newest checkpoint of a unit that is whole and wanted.
    fn newest(
        &self,
        unit: Unit,
        wanted: impl Fn(&CheckpointState) -> bool,
    ) -> Result<Found, RunError> {
        let folder = self.checkpoints_path(unit);
        let mut found = Found::default();
        for update in listed(&folder)?.into_iter().rev() {
            let path = folder.join(name(update));
            match read(&path, unit, update) {
                Ok(stored) if !wanted(&stored.state) => {}
                Ok(stored) => {
                    found.newest = Some(stored);
                    break;
                }
                Err(Unusable::Refused(error)) => return Err(error),
                Err(Unusable::Damaged(reason)) => {
                    let aside = folder.join(format!("{DAMAGED}{}", name(update)));
                    set_aside(&path, &aside).map_err(|source| RunError::File {
                        action: "rename",
                        path: path.clone(),
                        source,
                    })?;
                    found.damaged.push(format!(
                        "the checkpoint `{}` is damaged and not used: {reason} (it is now `{}`)",
                        path.display(),
                        aside.display()
                    ));
                }
            }
        }
        Ok(found)
    }
}

impl RunFolder {
    /// Deletes every checkpoint of a unit.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn discard_checkpoints(&self, unit: Unit) -> Result<(), RunError> {
        self.check_lease()?;
        let folder = self.checkpoints_path(unit);
        fs::remove_dir_all(&folder).map_err(|source| RunError::File {
            action: "remove",
            path: folder,
            source,
        })
    }
}

fn set_aside(path: &Path, aside: &Path) -> io::Result<()> {
    if aside.exists() {
        fs::remove_dir_all(aside)?;
    }
    fs::rename(path, aside)
}

/// The updates that name folders, in order.
pub(super) fn listed(folder: &Path) -> Result<Vec<u64>, RunError> {
    let failed = |source| RunError::File {
        action: "read",
        path: folder.to_path_buf(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut updates = Vec::new();
    for entry in entries {
        let found = entry.map_err(failed)?.file_name();
        let update = found.to_str().and_then(|text| text.parse().ok());
        updates.extend(update.filter(|update| found.to_str() == Some(&name(*update))));
    }
    updates.sort_unstable();
    Ok(updates)
}

/// The manifest of a checkpoint, or why it cannot be used.
pub(super) fn manifest_of(path: &Path) -> Result<Manifest, String> {
    match read_manifest(path) {
        Ok(manifest) => Ok(manifest),
        Err(Unusable::Damaged(reason)) => Err(reason),
        Err(Unusable::Refused(error)) => Err(error.to_string()),
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, Unusable> {
    let manifest = path.join(MANIFEST_FILE);
    let bytes = read_file(&manifest, MANIFEST_BYTES_MAX)?;
    Manifest::from_bytes(&bytes).map_err(|reason| match reason {
        NoManifest::Damaged(reason) => Unusable::Damaged(format!("`{MANIFEST_FILE}`: {reason}")),
        NoManifest::Newer(found) => Unusable::Refused(RunError::CheckpointFormat {
            path: manifest,
            found,
            known: CHECKPOINT_FORMAT,
        }),
    })
}

/// Reads a checkpoint and compares every file with its digest.
fn read(path: &Path, unit: Unit, update: u64) -> Result<Stored, Unusable> {
    let manifest = read_manifest(path)?;
    let (named, found) = (unit.to_string(), manifest.state.position.update);
    if manifest.unit != named || found != update {
        return Err(Unusable::Damaged(format!(
            "it is of unit `{}` after {found} updates",
            manifest.unit
        )));
    }
    let mut files = BTreeMap::new();
    for (name, digest) in manifest.files {
        if !FILES.contains(&name.as_str()) {
            return Err(Unusable::Damaged(format!(
                "`{MANIFEST_FILE}` names a file `{}`, which no checkpoint has",
                name.escape_debug()
            )));
        }
        let bytes = read_file(&path.join(&name), digest.bytes)?;
        if bytes.len() as u64 != digest.bytes {
            return Err(Unusable::Damaged(format!(
                "`{name}` has {} bytes, and {} were written",
                bytes.len(),
                digest.bytes
            )));
        }
        let found = sha256(&bytes);
        if found != digest.sha256 {
            return Err(Unusable::Damaged(format!(
                "the sha256 of `{name}` is {found}, and {} was written",
                digest.sha256
            )));
        }
        files.insert(name, bytes);
    }
    Ok(Stored {
        path: path.to_path_buf(),
        state: manifest.state,
        files,
    })
}

/// Reads a file of at most `bytes_max` bytes.
fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Unusable> {
    match file::read(path, bytes_max) {
        Ok(bytes) => Ok(bytes),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(Unusable::Refused(RunError::File {
                action: "read",
                path: path.to_path_buf(),
                source,
            }))
        }
        Err(source) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Err(Unusable::Damaged(format!("`{name}`: {source}")))
        }
    }
}
