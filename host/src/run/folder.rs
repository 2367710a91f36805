//! Reading and writing the files of a run. Files appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::lease::Slot;
use super::parcel::Parcel;
use super::seal::{opened, sealed};
use super::{FORMAT, RunError, RunRecord, Unit, UnitResult};
use crate::digest::sha256;
use crate::event::{Event, Observer};
use crate::experiment::Experiment;
use crate::file;

/// The record of the run.
const RECORD: &str = "run.json";
/// Every setting in force.
const EXPERIMENT: &str = "experiment.toml";

/// How the names of files begin that are being written.
const WRITING: &str = ".writing-";

/// A folder that holds one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// Where it is.
    path: PathBuf,
    /// The unit that this process took for itself.
    pub(super) slot: Slot,
}

impl RunFolder {
    /// Opens the folder at `path` if it holds a run, without comparing it with anything.
    ///
    /// # Errors
    /// When there is something else, or the run's files are damaged or of a newer format.
    pub fn open(path: &Path) -> Result<Option<(Self, Experiment, RunRecord)>, RunError> {
        let folder = Self {
            path: path.to_path_buf(),
            slot: Slot::default(),
        };
        if !path.join(RECORD).exists() {
            // What a process left behind that was killed while it wrote is nothing.
            let occupied = path.is_file()
                || fs::read_dir(path).is_ok_and(|entries| {
                    entries
                        .flatten()
                        .any(|entry| !entry.file_name().to_string_lossy().starts_with(WRITING))
                });
            return if occupied {
                Err(RunError::NotARun {
                    path: path.to_path_buf(),
                })
            } else {
                Ok(None)
            };
        }
        let mut record: RunRecord = read_json(&path.join(RECORD))?;
        if record.format > FORMAT {
            return Err(RunError::Format {
                path: path.join(RECORD),
                found: record.format,
                known: FORMAT,
            });
        }
        let file = path.join(EXPERIMENT);
        // The process that began the run was stopped before it had written both files.
        if !file.exists() && !path.join("units").exists() {
            return Ok(None);
        }
        if !file.exists() {
            return Err(damaged(&file, &"it is missing"));
        }
        let text = String::from_utf8(read(&file)?).map_err(|error| damaged(&file, &error))?;
        let found = sha256(text.as_bytes());
        // A change is made when the experiment has changed; the record says so before.
        if found != record.basis.experiment_sha256
            && let Some(change) = record
                .changes
                .pop_if(|last| last.before.experiment_sha256 == found)
        {
            record.basis = change.before;
        }
        if found != record.basis.experiment_sha256 {
            return Err(damaged(
                &file,
                &format!("its digest differs from the one in {RECORD}"),
            ));
        }
        let experiment = toml::from_str(&text).map_err(|error| damaged(&file, &error))?;
        Ok(Some((folder, experiment, record)))
    }

    /// Makes a new run folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(
        path: &Path,
        experiment_toml: &str,
        record: &RunRecord,
    ) -> Result<Self, RunError> {
        let folder = Self {
            path: path.to_path_buf(),
            slot: Slot::default(),
        };
        create_folder(path)?;
        folder.write_json(Path::new(RECORD), record)?;
        folder.write(Path::new(EXPERIMENT), experiment_toml.as_bytes())?;
        Ok(folder)
    }

    /// Lets the run go on with another experiment, or with other plugins or pictures; `record` has the
    /// change. The experiment is written last: until then nothing has changed.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn change(&self, experiment_toml: &str, record: &RunRecord) -> Result<(), RunError> {
        self.write_json(Path::new(RECORD), record)?;
        self.write(Path::new(EXPERIMENT), experiment_toml.as_bytes())
    }

    /// Makes a new run folder with the experiment and the record that a unit of somebody else
    /// came with.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn found(path: &Path, parcel: &Parcel) -> Result<Self, RunError> {
        let folder = Self {
            path: path.to_path_buf(),
            slot: Slot::default(),
        };
        create_folder(path)?;
        folder.write(Path::new(RECORD), parcel.bytes_of(RECORD))?;
        folder.write(Path::new(EXPERIMENT), parcel.bytes_of(EXPERIMENT))?;
        Ok(folder)
    }

    /// Takes over a unit of somebody else, which is finished then.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn adopt(&self, parcel: &Parcel) -> Result<(), RunError> {
        let folder = PathBuf::from("units").join(parcel.unit.to_string());
        self.write(&folder.join("weights.safetensors"), parcel.weights())?;
        self.write(&folder.join("result.json"), parcel.bytes_of("result.json"))
    }

    /// `experiment.toml` as it is written.
    pub(super) fn experiment_bytes(&self) -> Result<Vec<u8>, RunError> {
        read(&self.path.join(EXPERIMENT))
    }

    /// `run.json` as it is written.
    pub(super) fn record_bytes(&self) -> Result<Vec<u8>, RunError> {
        read(&self.path.join(RECORD))
    }

    /// `result.json` of a unit as it is written.
    pub(super) fn result_bytes(&self, unit: Unit) -> Result<Vec<u8>, RunError> {
        read(&self.unit_file(unit, "result.json"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The result of a unit, if the unit is finished.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn result(&self, unit: Unit) -> Result<Option<UnitResult>, RunError> {
        let file = self.unit_file(unit, "result.json");
        if !file.exists() {
            return Ok(None);
        }
        let read = opened(&read(&file)?).map_err(|reason| self.damaged_unit(unit, &file, reason));
        read.map(Some)
    }

    /// The weights of a finished unit, checked against the digest in its result.
    ///
    /// # Errors
    /// When the unit is not finished (`wanted_by` says who asked), or the file is missing or
    /// damaged.
    pub fn weights(&self, unit: Unit, wanted_by: &str) -> Result<(Vec<u8>, UnitResult), RunError> {
        let result = self.result(unit)?.ok_or_else(|| RunError::NotReady {
            unit: wanted_by.to_owned(),
            needed: unit.to_string(),
            path: self.path.clone(),
        })?;
        let file = self.weights_path(unit);
        if !file.exists() {
            return Err(self.damaged_unit(unit, &file, "it is missing".to_owned()));
        }
        let bytes = read(&file)?;
        let found = sha256(&bytes);
        if found != result.weights_sha256 {
            let reason = format!(
                "its sha256 is {found}, and the unit wrote {}",
                result.weights_sha256
            );
            return Err(self.damaged_unit(unit, &file, reason));
        }
        Ok((bytes, result))
    }

    /// The error for a file of a finished unit that is not what was written.
    fn damaged_unit(&self, unit: Unit, file: &Path, reason: String) -> RunError {
        RunError::Damaged {
            path: file.to_path_buf(),
            reason,
            repair: format!(
                "restore the file, or delete the folder `{}` and run the unit again",
                self.path.join("units").join(unit.to_string()).display()
            ),
        }
    }

    /// Where the weights of a unit are.
    pub fn weights_path(&self, unit: Unit) -> PathBuf {
        self.unit_file(unit, "weights.safetensors")
    }

    /// Starts the event log of a unit anew.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn event_writer(&self, unit: Unit) -> Result<EventWriter, RunError> {
        self.check_lease()?;
        let path = self.unit_file(unit, "events.jsonl");
        if let Some(parent) = path.parent() {
            create_folder(parent)?;
        }
        let file = created(&path)?;
        Ok(EventWriter {
            path,
            file: BufWriter::new(file),
            folder: self.clone(),
        })
    }

    /// The length of the event log of a unit, in bytes.
    ///
    /// # Errors
    /// When there is none.
    pub fn events_bytes(&self, unit: Unit) -> Result<u64, RunError> {
        let path = self.unit_file(unit, "events.jsonl");
        let metadata = fs::metadata(&path).map_err(|source| RunError::File {
            action: "read",
            path,
            source,
        })?;
        Ok(metadata.len())
    }

    /// Goes on with the event log of a unit after its first `bytes` bytes; what follows them is cut
    /// off. Answers how many of them are missing, which is more than 0 only when the log was damaged.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn event_writer_from(
        &self,
        unit: Unit,
        bytes: u64,
    ) -> Result<(EventWriter, u64), RunError> {
        self.check_lease()?;
        let path = self.unit_file(unit, "events.jsonl");
        let (file, length) = cut_to_lines(&path, bytes).map_err(|source| RunError::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
        let writer = EventWriter {
            path,
            file: BufWriter::new(file),
            folder: self.clone(),
        };
        Ok((writer, bytes - length))
    }

    /// Writes weights and then the result, which makes the unit finished.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(
        &self,
        unit: Unit,
        weights: &[u8],
        mut result: UnitResult,
    ) -> Result<UnitResult, RunError> {
        result.weights_sha256 = sha256(weights);
        let folder = PathBuf::from("units").join(unit.to_string());
        self.write(&folder.join("weights.safetensors"), weights)?;
        self.write_json(&folder.join("result.json"), &result)?;
        Ok(result)
    }

    /// A file of a unit.
    pub(super) fn unit_file(&self, unit: Unit, name: &str) -> PathBuf {
        self.path.join("units").join(unit.to_string()).join(name)
    }

    /// Writes a JSON file for people and programs.
    fn write_json<T: Serialize>(&self, name: &Path, value: &T) -> Result<(), RunError> {
        let bytes = sealed(value).map_err(|error| RunError::File {
            action: "write",
            path: self.path.join(name),
            source: error.into(),
        })?;
        self.write(name, &bytes)
    }

    /// Writes a file of the run.
    pub(super) fn write(&self, name: &Path, bytes: &[u8]) -> Result<(), RunError> {
        self.check_lease()?;
        write_whole(&self.path.join(name), bytes)
    }
}

/// Writes a file under a temporary name, makes it durable, and renames it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    create_folder(parent)?;
    let write = || -> io::Result<()> {
        let mut file = temporary(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(parent)
    };
    write().map_err(|source| RunError::File {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}

/// An empty file in the place of what is there.
pub(super) fn created(path: &Path) -> Result<File, RunError> {
    file::expect_ordinary_or_none(path)
        .and_then(|()| File::create(path))
        .map_err(|source| RunError::File {
            action: "create",
            path: path.to_path_buf(),
            source,
        })
}

/// Opens a file of lines to append to its first `bytes` bytes, or to as many whole lines as it has of
/// them; answers the length.
pub(super) fn cut_to_lines(path: &Path, bytes: u64) -> io::Result<(File, u64)> {
    file::expect_ordinary_or_none(path)?;
    let mut file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    let mut length = bytes;
    if file.metadata()?.len() < bytes {
        let mut lines = Vec::new();
        file.read_to_end(&mut lines)?;
        let whole = lines.iter().rposition(|byte| *byte == b'\n');
        length = whole.map_or(0, |last| last as u64 + 1);
    }
    file.set_len(length)?;
    Ok((file, length))
}

/// Appends events to the log of one unit, one JSON object a line.
#[derive(Debug)]
pub struct EventWriter {
    /// Where it is.
    path: PathBuf,
    /// The log.
    file: BufWriter<File>,
    /// The folder, which knows whose turn it is to write.
    folder: RunFolder,
}

impl Observer for EventWriter {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        self.folder.check_lease().map_err(io::Error::other)?;
        let line = Line {
            v: FORMAT,
            time: seconds_since_1970(),
            event,
        };
        let written = serde_json::to_writer(&mut self.file, &line)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .and_then(|()| self.file.flush());
        written.map_err(|source| {
            io::Error::other(RunError::File {
                action: "write",
                path: self.path.clone(),
                source,
            })
        })
    }
}

/// One line of the log.
#[derive(Serialize)]
struct Line<'a> {
    /// The version of the format.
    v: u32,
    /// Seconds since 1970.
    time: f64,
    /// What happened.
    #[serde(flatten)]
    event: &'a Event,
}

/// The wall clock.
fn seconds_since_1970() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |duration| duration.as_secs_f64())
}

/// A temporary file with the permissions of an ordinary one.
pub(super) fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666))
    };
    builder.prefix(WRITING).tempfile_in(folder)
}

/// Reads a JSON file.
fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, RunError> {
    opened(&read(file)?).map_err(|reason| damaged(file, &reason))
}

/// Reads a whole file.
fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    file::read(path, file::WEIGHTS).map_err(|source| RunError::File {
        action: "read",
        path: path.to_path_buf(),
        source,
    })
}

/// Makes a folder and those above it, each of them durable: a file that is safe in a folder which a
/// power failure takes away is not.
pub(super) fn create_folder(path: &Path) -> Result<(), RunError> {
    make_folder(path).map_err(|source| RunError::File {
        action: "create",
        path: path.to_path_buf(),
        source,
    })
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    match fs::create_dir(path) {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| sync_folder(parent)),
    }
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Where a folder cannot be opened as a file, its names are durable by themselves.
#[cfg(not(unix))]
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// The error for a file that cannot be understood.
fn damaged(path: &Path, reason: &impl ToString) -> RunError {
    RunError::Damaged {
        path: path.to_path_buf(),
        reason: reason.to_string(),
        repair: "restore the file, or start again in another folder with `--out`".to_owned(),
    }
}
