//! The features that enter a module, one record for each way in which a training picture is seen: they
//! are computed once, and read instead of computed at every update.
//!
//! ```text
//! 8 bytes          the length of what follows, little-endian
//! JSON             what the features were made from
//! for each record  its numbers in float32, little-endian, and the SHA-256 of its place and them
//! ```
//!
//! The file has its name only when it is whole, and every record is compared with its digest when it is
//! read. It is made again where it is missing, of something else, or damaged, and goes when the unit is
//! finished.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::folder::{create_folder, created};
use super::{CheckpointOrigin, RunError, RunFolder, Unit};
use crate::file;

/// The version of the layout of the file.
const FEATURES_FORMAT: u32 = 1;
/// The file in a unit's folder.
const FEATURES: &str = "features.bin";
/// Its name while it is written.
const PARTIAL: &str = ".writing-features";
/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Bytes of the largest description that is read.
const KEY_BYTES_MAX: u64 = 1 << 16;

/// What features are made from: those of another key are never used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureKey {
    /// The unit.
    pub unit: String,
    /// The kind of device that computes them; the last bits of numbers depend on it.
    pub device: String,
    /// The experiment, the pictures, and the frozen weights.
    pub origin: CheckpointOrigin,
    /// How many pictures, counted once for every way in which each is seen.
    pub records: u64,
    /// Numbers of each.
    pub values: usize,
}

/// The description at the beginning of the file.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    format: u32,
    host_version: String,
    #[serde(flatten)]
    key: FeatureKey,
}

impl FeatureKey {
    /// Bytes of the file without its description.
    pub fn bytes(&self) -> u64 {
        self.records.saturating_mul(self.record_bytes() as u64)
    }

    /// Bytes of one record.
    const fn record_bytes(&self) -> usize {
        self.values * NUMBER + DIGEST
    }

    /// The description as it is written, with its length before it.
    fn description(&self) -> io::Result<Vec<u8>> {
        let description = Description {
            format: FEATURES_FORMAT,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            key: self.clone(),
        };
        let json = serde_json::to_vec(&description)?;
        Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
    }
}

impl RunFolder {
    /// Where the features of a unit are.
    pub fn features_path(&self, unit: Unit) -> PathBuf {
        self.unit_file(unit, FEATURES)
    }

    /// The features of a unit that lie there, if they were made from `key`: nothing where there are
    /// none, and otherwise the reason why they cannot be used.
    pub fn features(&self, unit: Unit, key: &FeatureKey) -> Option<Result<FeatureReader, String>> {
        let path = self.features_path(unit);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(FeatureReader::open(&path, key)),
        }
    }

    /// Begins to write the features of a unit; those that are there stay until the new ones are whole.
    ///
    /// # Errors
    /// When another process works on the unit, or the file cannot be created.
    pub fn feature_writer(&self, unit: Unit, key: FeatureKey) -> Result<FeatureWriter, RunError> {
        self.check_lease()?;
        let partial = self.unit_file(unit, PARTIAL);
        if let Some(parent) = partial.parent() {
            create_folder(parent)?;
        }
        let file = created(&partial)?;
        let mut writer = FeatureWriter {
            run: self.clone(),
            path: self.features_path(unit),
            partial,
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            written: 0,
            key,
        };
        let description = writer.key.description();
        writer.put(description)?;
        Ok(writer)
    }

    /// Deletes the features of a unit, half written ones too.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn forget_features(&self, unit: Unit) -> Result<(), RunError> {
        for name in [PARTIAL, FEATURES] {
            let path = self.unit_file(unit, name);
            // Looked at first: in a read-only folder, removing what is not there is refused, too.
            if fs::symlink_metadata(&path).is_err() {
                continue;
            }
            fs::remove_file(&path).map_err(|source| RunError::File {
                action: "remove",
                path,
                source,
            })?;
        }
        Ok(())
    }
}

/// Writes features, record by record.
#[derive(Debug)]
pub struct FeatureWriter {
    run: RunFolder,
    path: PathBuf,
    partial: PathBuf,
    /// Nothing after the last record.
    file: Option<BufWriter<File>>,
    written: u64,
    key: FeatureKey,
}

impl FeatureWriter {
    /// Writes the next records, whose numbers follow each other.
    ///
    /// # Errors
    /// When they cannot be written.
    ///
    /// # Panics
    /// When these are no whole records.
    pub fn write(&mut self, values: &[f32]) -> Result<(), RunError> {
        assert_eq!(values.len() % self.key.values, 0, "no whole records");
        let first = self.written;
        let records: Vec<Vec<u8>> = values
            .par_chunks_exact(self.key.values)
            .enumerate()
            .map(|(index, values)| {
                let mut bytes = Vec::with_capacity(self.key.record_bytes());
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                let digest = digest(first + index as u64, &bytes);
                bytes.extend(digest);
                bytes
            })
            .collect();
        self.written += records.len() as u64;
        self.put(Ok(records.concat()))
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// When it cannot be written, or another process took the unit over.
    ///
    /// # Panics
    /// When records are missing.
    pub fn finish(mut self) -> Result<FeatureReader, RunError> {
        assert_eq!(self.written, self.key.records, "records are missing");
        self.run.check_lease()?;
        let file = self.file.take();
        let finished = || -> io::Result<()> {
            if let Some(file) = file {
                file.into_inner()?.sync_all()?;
            }
            fs::rename(&self.partial, &self.path)?;
            match self.path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        finished().map_err(|source| self.failed(source))?;
        FeatureReader::open(&self.path, &self.key)
            .map_err(|reason| self.failed(io::Error::other(reason)))
    }

    /// Writes bytes to the end of the file.
    fn put(&mut self, bytes: io::Result<Vec<u8>>) -> Result<(), RunError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        bytes
            .and_then(|bytes| file.write_all(&bytes))
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> RunError {
        RunError::File {
            action: "write",
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for FeatureWriter {
    /// Half of the features are of no use, and may be large.
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is not written yet would not fit any more than the rest.
            drop(file.into_parts());
        }
        if self.partial.exists() {
            drop(fs::remove_file(&self.partial));
        }
    }
}

/// Reads features, each from its place.
#[derive(Debug)]
pub struct FeatureReader {
    file: File,
    /// Where the first record begins.
    begin: u64,
    key: FeatureKey,
}

impl FeatureReader {
    /// Opens the file at `path` if it was made from `key`; the reason, if it was not.
    fn open(path: &Path, key: &FeatureKey) -> Result<Self, String> {
        let words = |error: io::Error| error.to_string();
        file::expect_ordinary_or_none(path).map_err(words)?;
        let mut file = File::open(path).map_err(words)?;
        let found = file.metadata().map_err(words)?.len();
        let description = key.description().map_err(words)?;
        let begin = description.len() as u64;
        let expected = begin.saturating_add(key.bytes());
        let mut start = Vec::new();
        Read::by_ref(&mut file)
            .take(KEY_BYTES_MAX.min(begin))
            .read_to_end(&mut start)
            .map_err(words)?;
        if start != description {
            return Err(
                "it was made from other weights, pictures, or settings, or by another version"
                    .to_owned(),
            );
        }
        if found != expected {
            return Err(format!("it has {found} bytes, and {expected} belong to it"));
        }
        Ok(Self {
            file,
            begin,
            key: key.clone(),
        })
    }

    /// The numbers of these records, one after the other; the reason, if a record is not what was
    /// written.
    ///
    /// # Errors
    /// When the file cannot be read any more, or was changed.
    pub fn read(&mut self, records: &[u64]) -> Result<Vec<f32>, String> {
        let size = self.key.record_bytes();
        let mut bytes = vec![0; records.len() * size];
        for (record, bytes) in records.iter().zip(bytes.chunks_exact_mut(size)) {
            let place = self.begin + record * size as u64;
            self.file
                .seek(SeekFrom::Start(place))
                .and_then(|_| self.file.read_exact(bytes))
                .map_err(|error| format!("record {record}: {error}"))?;
        }
        let mut values = vec![0.0; records.len() * self.key.values];
        let damaged = values
            .par_chunks_exact_mut(self.key.values)
            .zip(bytes.par_chunks_exact(size))
            .zip(records)
            .find_map_first(|((values, bytes), record)| {
                let (numbers, written) = bytes.split_at(size - DIGEST);
                let (numbers, _) = numbers.as_chunks::<NUMBER>();
                for (value, bytes) in values.iter_mut().zip(numbers) {
                    *value = f32::from_le_bytes(*bytes);
                }
                (digest(*record, numbers.as_flattened()) != written).then_some(*record)
            });
        match damaged {
            Some(record) => Err(format!("record {record} is not what was written")),
            None => Ok(values),
        }
    }
}

/// The digest of a record, which belongs to its place.
fn digest(record: u64, numbers: &[u8]) -> [u8; DIGEST] {
    Sha256::new_with_prefix(record.to_le_bytes())
        .chain_update(numbers)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests;
