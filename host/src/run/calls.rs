//! Recorded calls of plugins in the run folder: every call when that was asked for, and the one that
//! failed always.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::folder::{create_folder, created, cut_to_lines};
use super::{RunError, RunFolder, Unit};
use crate::plugin::{RECORDING_BYTES_MAX, Recording};

/// The file with every recorded call.
const CALLS: &str = "calls.jsonl";
/// The roles whose plugins another can replace when they fail.
const ROLES: [&str; 2] = ["schedule", "loss"];

/// Writes recorded calls until a number of bytes is reached.
#[derive(Debug)]
pub struct CallWriter {
    path: PathBuf,
    file: BufWriter<File>,
    /// Bytes that may still be written.
    left: u64,
    calls: u64,
    /// Bytes that were written before and are not there any more.
    missing: u64,
    /// The folder, which knows whose turn it is to write.
    folder: RunFolder,
}

impl CallWriter {
    /// Begins a file anew.
    fn create(folder: &RunFolder, path: PathBuf, bytes_max: u64) -> Result<Self, RunError> {
        if let Some(parent) = path.parent() {
            create_folder(parent)?;
        }
        let file = created(&path)?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            left: bytes_max,
            calls: 0,
            missing: 0,
            folder: folder.clone(),
        })
    }

    /// Goes on with a file after its first `bytes` bytes, or after all of them.
    fn go_on(
        folder: &RunFolder,
        path: PathBuf,
        bytes: Option<u64>,
        bytes_max: u64,
    ) -> Result<Self, RunError> {
        let open = || {
            let there = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let (file, length) = cut_to_lines(&path, bytes.unwrap_or(there))?;
            let text = fs::read(&path)?;
            let calls = text.iter().filter(|byte| **byte == b'\n').count() as u64;
            Ok((file, length, calls))
        };
        match open() {
            Ok((file, length, calls)) => Ok(Self {
                path,
                file: BufWriter::new(file),
                left: bytes_max.saturating_sub(length),
                calls,
                missing: bytes.map_or(0, |bytes| bytes.saturating_sub(length)),
                folder: folder.clone(),
            }),
            Err(source) => Err(RunError::File {
                action: "write",
                path,
                source,
            }),
        }
    }

    /// Writes one call, unless there is no room for it: then `false`, and nothing should follow.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, recording: &Recording) -> Result<bool, RunError> {
        let failed = |source| RunError::File {
            action: "write",
            path: self.path.clone(),
            source,
        };
        let mut line =
            serde_json::to_vec(recording).map_err(|error| failed(std::io::Error::from(error)))?;
        line.push(b'\n');
        let bytes = line.len() as u64;
        if bytes > self.left || bytes > RECORDING_BYTES_MAX {
            return Ok(false);
        }
        self.folder.check_lease()?;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.flush())
            .map_err(failed)?;
        self.left -= bytes;
        self.calls += 1;
        Ok(true)
    }

    /// Where the calls are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Their bytes.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn bytes(&self) -> Result<u64, RunError> {
        let metadata = fs::metadata(&self.path).map_err(|source| RunError::File {
            action: "read",
            path: self.path.clone(),
            source,
        })?;
        Ok(metadata.len())
    }

    /// Bytes that were written before and are not there any more: more than 0 only when the file was
    /// damaged.
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// How many there are.
    pub const fn calls(&self) -> u64 {
        self.calls
    }
}

impl RunFolder {
    /// Begins the file with the calls of a unit anew; of the whole run without one.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn call_writer(&self, unit: Option<Unit>, bytes_max: u64) -> Result<CallWriter, RunError> {
        self.check_lease()?;
        let path = match unit {
            Some(unit) => self.unit_file(unit, CALLS),
            None => self.path().join(CALLS),
        };
        CallWriter::create(self, path, bytes_max)
    }

    /// Goes on with the file with the calls of a unit after its first `bytes` bytes, or after all of
    /// them; what follows is cut off.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn call_writer_from(
        &self,
        unit: Unit,
        bytes: Option<u64>,
        bytes_max: u64,
    ) -> Result<CallWriter, RunError> {
        self.check_lease()?;
        CallWriter::go_on(self, self.unit_file(unit, CALLS), bytes, bytes_max)
    }

    /// Writes the call that failed, and says where; nothing when it is too large to be read again.
    /// `role` is that of a plugin that was replaced; without one the unit ends with the failure.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_failure(
        &self,
        unit: Unit,
        role: Option<&str>,
        recording: &Recording,
    ) -> Result<Option<PathBuf>, RunError> {
        let name = PathBuf::from("units")
            .join(unit.to_string())
            .join(failure(role));
        let path = self.path().join(&name);
        let mut line = serde_json::to_vec(recording).map_err(|error| RunError::File {
            action: "write",
            path: path.clone(),
            source: error.into(),
        })?;
        line.push(b'\n');
        if line.len() as u64 > RECORDING_BYTES_MAX {
            return Ok(None);
        }
        self.write(&name, &line)?;
        Ok(Some(path))
    }

    /// Forgets the call that failed when the unit was tried before, and with `replaced` those of plugins
    /// that were replaced, which a unit that goes on has not forgotten.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget_failure(&self, unit: Unit, replaced: bool) -> Result<(), RunError> {
        self.check_lease()?;
        let roles = ROLES.map(Some).into_iter().filter(|_| replaced);
        for role in roles.chain([None]) {
            let path = self.unit_file(unit, &failure(role));
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RunError::File {
                        action: "remove",
                        path,
                        source,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The file with the call that failed.
fn failure(role: Option<&str>) -> String {
    role.map_or_else(
        || "failure.json".to_owned(),
        |role| format!("failure-{role}.json"),
    )
}
