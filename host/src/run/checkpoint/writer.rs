//! Writing checkpoints on a thread of their own, one at a time, and deleting those that are not to be
//! kept. A folder has its name only when everything in it is durable. Those that come while one is
//! written wait in a [`Line`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::line::{Line, Waiting};
use super::manifest::{FileDigest, Manifest};
use super::stored::{listed, manifest_of};
use super::{CHECKPOINT_FORMAT, CheckpointState, DAMAGED, HIDDEN, MANIFEST_FILE, name};
use crate::digest::sha256;
use crate::experiment::CheckpointConfig;
use crate::run::folder::{create_folder, sync_folder};
use crate::run::{RunError, RunFolder, Unit};

/// Writes the checkpoints of one unit.
#[derive(Debug)]
pub struct CheckpointWriter {
    place: Place,
    line: Arc<SharedLine>,
    under_way: Option<JoinHandle<Result<(), RunError>>>,
}

/// The line between training and the thread that writes.
#[derive(Debug, Default)]
struct SharedLine {
    line: Mutex<Line>,
    /// Told when one has left the line, or the thread ends.
    moved: Condvar,
}

impl SharedLine {
    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing is done under the lock that can fail in between.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next to be written; none ends the thread.
    fn next(&self) -> Option<Waiting> {
        let mut line = self.lock();
        let next = line.next();
        line.at_work = next.is_some();
        self.moved.notify_all();
        next
    }
}

/// The thread that writes; however it ends, nobody waits for it afterwards.
struct AtWork(Arc<SharedLine>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().at_work = false;
        self.0.moved.notify_all();
    }
}

/// Where checkpoints go, and how long they stay.
#[derive(Clone, Debug)]
struct Place {
    /// The run, which knows whose turn it is to write.
    run: RunFolder,
    folder: PathBuf,
    /// The log whose length is in the manifest.
    events: PathBuf,
    unit: String,
    config: CheckpointConfig,
    /// Whether there are checkpoints to which training goes back.
    points: bool,
}

impl CheckpointWriter {
    /// Keeps checkpoints to which training goes back when it diverges.
    #[must_use]
    pub fn with_roll_back_points(mut self, points: bool) -> Self {
        self.place.points = points;
        self
    }

    /// Takes a checkpoint of about this many bytes, to be written by another thread, which also calls
    /// `files`, for the bytes of every file by its name. Answers where it will be.
    ///
    /// It returns at once. When more wait than memory is set aside for, the oldest is left out that
    /// nothing but its age would keep ([`Self::left_out`]). When all of them may be kept for their score or
    /// their epoch, this waits for the disk.
    ///
    /// # Errors
    /// When a checkpoint before could not be written.
    pub fn write(
        &mut self,
        state: CheckpointState,
        bytes: u64,
        files: impl FnOnce() -> io::Result<Vec<(&'static str, Vec<u8>)>> + Send + 'static,
    ) -> Result<PathBuf, RunError> {
        let path = self.place.folder.join(name(state.position.update));
        let checkpoint = Waiting {
            may_stay: self.place.may_stay(&state),
            state,
            files: Box::new(files),
            bytes,
        };
        let mut line = self.line.lock();
        if line.at_work {
            line.push(checkpoint);
            while !line.shorten() && line.at_work {
                line = (self.line.moved.wait(line)).unwrap_or_else(PoisonError::into_inner);
            }
            return Ok(path);
        }
        drop(line);
        // The thread has ended, perhaps with an error.
        self.wait()?;
        self.begin(checkpoint, &path)?;
        Ok(path)
    }

    /// Starts a thread that writes this and whatever comes meanwhile.
    fn begin(&mut self, checkpoint: Waiting, path: &Path) -> Result<(), RunError> {
        self.line.lock().at_work = true;
        let at_work = AtWork(Arc::clone(&self.line));
        let place = self.place.clone();
        let work = move || {
            let mut next = Some(checkpoint);
            while let Some(checkpoint) = next {
                place.put(checkpoint)?;
                next = at_work.0.next();
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("checkpoint".to_owned());
        let handle = thread.spawn(work).map_err(|source| {
            let reason = format!("no thread can be started for it: {source}");
            not_written(path, io::Error::new(source.kind(), reason))
        })?;
        self.under_way = Some(handle);
        Ok(())
    }

    /// Whether a checkpoint is still being written.
    pub fn is_writing(&self) -> bool {
        self.line.lock().at_work
    }

    /// Checkpoints that were left out, since the disk was slower than they came.
    pub fn left_out(&self) -> u64 {
        self.line.lock().left_out()
    }

    /// Leaves out what would not stay beside those that wait behind it, so that a process that is to end
    /// waits for no more than it has to.
    pub fn make_way(&mut self) {
        self.line.lock().make_way(self.place.config.keep_last);
    }

    /// Waits until every checkpoint is written.
    ///
    /// # Errors
    /// When one could not be.
    pub fn wait(&mut self) -> Result<(), RunError> {
        match self.under_way.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(cause)) => std::panic::resume_unwind(cause),
        }
    }
}

impl Drop for CheckpointWriter {
    /// A process does not end, nor another unit begin, while a file is half written.
    fn drop(&mut self) {
        if let Some(handle) = self.under_way.take() {
            drop(handle.join());
        }
    }
}

impl RunFolder {
    /// What writes the checkpoints of a unit.
    pub fn checkpoint_writer(&self, unit: Unit, config: CheckpointConfig) -> CheckpointWriter {
        CheckpointWriter {
            place: self.checkpoint_place(unit, config),
            line: Arc::default(),
            under_way: None,
        }
    }

    /// Deletes the checkpoints of a finished unit, apart from those that `keep_best` and `keep_every`
    /// keep.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn finish_checkpoints(&self, unit: Unit, config: CheckpointConfig) -> Result<(), RunError> {
        self.checkpoint_place(unit, config).delete_old(true)
    }

    /// Deletes the checkpoints of a unit after this many updates and more, the newest first, so that
    /// what is left at any time is what there was before.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn forget_checkpoints_from(&self, unit: Unit, update: u64) -> Result<(), RunError> {
        self.check_lease()?;
        let folder = self.checkpoints_path(unit);
        for later in listed(&folder)?.into_iter().rev() {
            if later >= update {
                let path = folder.join(name(later));
                remove(&path).map_err(|source| RunError::File {
                    action: "remove",
                    path,
                    source,
                })?;
            }
        }
        Ok(())
    }

    fn checkpoint_place(&self, unit: Unit, config: CheckpointConfig) -> Place {
        Place {
            run: self.clone(),
            folder: self.checkpoints_path(unit),
            events: self.unit_file(unit, "events.jsonl"),
            unit: unit.to_string(),
            config,
            points: false,
        }
    }
}

impl Place {
    /// Writes a checkpoint, and deletes what is not to be kept beside it.
    fn put(&self, checkpoint: Waiting) -> Result<(), RunError> {
        let path = self.folder.join(name(checkpoint.state.position.update));
        let files = (checkpoint.files)().map_err(|source| not_written(&path, source))?;
        self.run.check_lease()?;
        self.write(&path, checkpoint.state, &files)?;
        self.delete_old(false)
    }

    /// Whether a checkpoint may be kept for its score or its epoch.
    fn may_stay(&self, state: &CheckpointState) -> bool {
        self.config.keep_best > 0 && state.evaluated || self.is_of_kept_epoch(state)
    }

    /// Whether it is kept for the number of epochs that are whole.
    fn is_of_kept_epoch(&self, state: &CheckpointState) -> bool {
        let (position, every) = (state.position, self.config.keep_every);
        let whole = position.batch == 0 && position.epoch > 0;
        whole && every > 0 && position.epoch.is_multiple_of(every)
    }

    /// Writes a checkpoint under a temporary name, makes it durable, and renames it.
    fn write(
        &self,
        path: &Path,
        state: CheckpointState,
        files: &[(&'static str, Vec<u8>)],
    ) -> Result<(), RunError> {
        create_folder(&self.folder)?;
        let temporary = self.folder.join(format!(
            "{HIDDEN}writing-{}-{}",
            name(state.position.update),
            std::process::id()
        ));
        let written = self
            .fill(&temporary, state, files)
            .and_then(|()| {
                // One of the same update is there only when nobody went on from it.
                if path.exists() {
                    remove(path)?;
                }
                fs::rename(&temporary, path)?;
                sync_folder(&self.folder)
            })
            .map_err(|source| not_written(path, source));
        if written.is_err() {
            // The reason that it was not written says more than that it cannot be removed either.
            drop(fs::remove_dir_all(&temporary));
        }
        written
    }

    /// Writes every file into a folder; the manifest comes last.
    fn fill(
        &self,
        folder: &Path,
        state: CheckpointState,
        files: &[(&'static str, Vec<u8>)],
    ) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir(folder)?;
        let mut digests = BTreeMap::new();
        for (name, bytes) in files {
            write(&folder.join(name), bytes)?;
            let digest = FileDigest {
                bytes: bytes.len() as u64,
                sha256: sha256(bytes),
            };
            digests.insert((*name).to_owned(), digest);
        }
        // The manifest says how long the log is, so that has to be durable first.
        File::options()
            .append(true)
            .open(&self.events)?
            .sync_all()?;
        let manifest = Manifest {
            format: CHECKPOINT_FORMAT,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            unit: self.unit.clone(),
            files: digests,
            state,
        };
        write(&folder.join(MANIFEST_FILE), &manifest.to_bytes()?)?;
        sync_folder(folder)
    }

    /// Deletes what is not to be kept; of a finished unit also what is neither good nor whole.
    fn delete_old(&self, finished: bool) -> Result<(), RunError> {
        let updates = listed(&self.folder)?;
        let last = if finished { 0 } else { self.config.keep_last };
        let mut keep: Vec<u64> = updates.iter().rev().take(last).copied().collect();
        keep.extend(self.distinguished(&updates));
        if !finished {
            keep.extend(self.roll_back_points(&updates));
        }
        let removed = |path: &Path| {
            remove(path).map_err(|source| RunError::File {
                action: "remove",
                path: path.to_path_buf(),
                source,
            })
        };
        for update in updates.iter().filter(|update| !keep.contains(update)) {
            removed(&self.folder.join(name(*update)))?;
        }
        if finished && self.folder.exists() {
            clear_leftovers(&self.folder, true)?;
            if keep.is_empty() {
                removed(&self.folder)?;
            }
        }
        Ok(())
    }

    /// The newest checkpoints to which training goes back when it diverges; one is enough as long as
    /// it is whole.
    fn roll_back_points(&self, updates: &[u64]) -> Vec<u64> {
        const KEPT: usize = 2;
        // Where training never goes back, no manifest is read for it.
        if !self.points {
            return Vec::new();
        }
        let newest = updates.iter().rev().copied();
        let is_point = |update: &u64| {
            manifest_of(&self.folder.join(name(*update)))
                .is_ok_and(|manifest| manifest.state.roll_back_point)
        };
        newest.filter(is_point).take(KEPT).collect()
    }

    /// The checkpoints that stay for what they are: the best ones, and those after some epochs.
    fn distinguished(&self, updates: &[u64]) -> Vec<u64> {
        let CheckpointConfig {
            keep_best,
            keep_every,
            ..
        } = self.config;
        if keep_best == 0 && keep_every == 0 {
            return Vec::new();
        }
        let mut keep = Vec::new();
        let mut scored = Vec::new();
        for update in updates {
            // One that cannot be read is nothing to keep.
            let Ok(manifest) = manifest_of(&self.folder.join(name(*update))) else {
                continue;
            };
            let state = manifest.state;
            if self.is_of_kept_epoch(&state) {
                keep.push(*update);
            }
            if let Some(score) = state.score.filter(|_| state.evaluated) {
                scored.push((score.accuracy.0, -score.loss.0, *update));
            }
        }
        // Of equally good ones the earlier.
        scored.sort_by(|one, other| {
            (other.0.total_cmp(&one.0))
                .then(other.1.total_cmp(&one.1))
                .then(one.2.cmp(&other.2))
        });
        keep.extend(scored.iter().take(keep_best).map(|(_, _, update)| update));
        keep
    }
}

/// Deletes what an interrupted process left half written or half deleted, and with `damaged` what was
/// found damaged.
pub(super) fn clear_leftovers(folder: &Path, damaged: bool) -> Result<(), RunError> {
    let failed = |action, path: &Path, source| RunError::File {
        action,
        path: path.to_path_buf(),
        source,
    };
    if !folder.exists() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|source| failed("read", folder, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", folder, source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(HIDDEN) || damaged && name.starts_with(DAMAGED) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(|source| failed("remove", &path, source))?;
        }
    }
    Ok(())
}

/// Deletes a folder that loses its name first, so that it never looks whole while it is not.
fn remove(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let doomed = path.with_file_name(format!("{HIDDEN}removing-{name}"));
    if doomed.exists() {
        fs::remove_dir_all(&doomed)?;
    }
    match fs::rename(path, &doomed) {
        // Another process that saw the unit finished was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| fs::remove_dir_all(&doomed)),
    }
}

/// Writes a file and makes it durable.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn not_written(path: &Path, source: io::Error) -> RunError {
    RunError::Checkpoint {
        path: path.to_path_buf(),
        source,
    }
}
