//! Who works on a unit: one process at a time, also where the run folder lies on a file system that
//! machines share.
//!
//! `units/NAME/lease.json` names the process that holds the unit, with a counter that a thread of it
//! raises every few seconds. Who finds a lease watches it on its own clock: one that does not change
//! for [`SILENCE`] is taken over. Clocks of two machines are never compared.
//!
//! - A new lease appears whole by a hard link, which exists for one process only, on NFS too.
//! - A lease is taken over by renaming a new one over it, after a last look that it is still the
//!   silent one, and read again after a while: of two that take it over, the second one stays.
//! - The counter is written through the file that was opened when the lease was made. A process that
//!   slept while its lease was taken over changes a file that has no name any more, not the new lease.
//! - The run folder writes nothing for a unit without a look at whose lease it is, so a process that
//!   was suspended finds out before it does harm.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::folder::{create_folder, temporary};
use super::{Process, RunError, RunFolder, Unit};
use crate::file;
use crate::stop::Stop;

/// The file of a unit.
pub(super) const LEASE: &str = "lease.json";
/// A lease that does not change for this long belongs to nobody.
pub const SILENCE: Duration = Duration::from_secs(30);
/// The time between two changes of a lease.
pub const BEAT: Duration = Duration::from_secs(5);
/// The time between two looks at somebody else's lease.
const LOOK: Duration = Duration::from_millis(250);
/// Before a lease is believed that was taken over because nothing was heard of its holder.
const SETTLE: Duration = Duration::from_secs(2);
/// The same where the holder is known to be gone.
const SETTLE_GONE: Duration = Duration::from_millis(100);
/// What was seen of one's own lease is believed for this long.
const BELIEVED: Duration = Duration::from_millis(50);

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Who holds it.
    #[serde(flatten)]
    pub holder: Process,
    /// A random number in hexadecimal: no two leases have the same.
    pub token: String,
    /// How often it was changed.
    pub beats: u64,
}

/// A unit that this process alone works on, until this is dropped.
#[derive(Debug)]
pub struct Lease {
    held: Arc<Held>,
    /// Where the run folder looks before it writes.
    slot: Slot,
    /// Why the lease could be had although there was one, as a sentence.
    taken_over: Option<String>,
    thread: Option<JoinHandle<()>>,
}

/// What a run folder holds.
pub(super) type Slot = Arc<Mutex<Option<Arc<Held>>>>;

/// The lease that this process wrote.
#[derive(Debug)]
pub(super) struct Held {
    unit: String,
    path: PathBuf,
    inner: Mutex<Inner>,
    /// Whether its owner is done with it.
    ended: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    /// The file as it was made, whatever its name leads to now.
    file: File,
    record: LeaseRecord,
    /// Characters of the record, with room for the counter to grow.
    width: usize,
    /// When it was last seen to be there.
    seen: Option<Instant>,
}

/// What became of somebody else's lease.
enum Watched {
    /// It changed.
    Alive(Option<LeaseRecord>),
    /// It is not there any more.
    Released,
    /// It has these bytes and belongs to nobody.
    Abandoned {
        bytes: Vec<u8>,
        why: String,
        settle: Duration,
    },
    /// Nobody wants to know any more.
    Stopped,
}

impl RunFolder {
    /// Takes a unit for this process alone; `None` when `stop` is asked before that is settled. From
    /// then on nothing is written to the folder once another process holds the unit. `tell` hears
    /// when this takes its time.
    ///
    /// # Errors
    /// When another process works on the unit, or a file cannot be written.
    pub fn hold(
        &self,
        unit: Unit,
        stop: &Stop,
        mut tell: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<Option<Lease>, RunError> {
        let path = self.unit_file(unit, LEASE);
        if let Some(parent) = path.parent() {
            create_folder(parent)?;
        }
        let file_error = |source| RunError::File {
            action: "write",
            path: path.clone(),
            source,
        };
        let record = LeaseRecord {
            holder: Process::this(),
            token: format!("{:032x}", rand::random::<u128>()),
            beats: 0,
        };
        let mut taken_over = None;
        let inner = loop {
            if let Some(inner) = create(&path, &record).map_err(file_error)? {
                break inner;
            }
            match watch(&path, SILENCE, stop, &mut tell).map_err(file_error)? {
                Watched::Stopped => return Ok(None),
                Watched::Released => {}
                Watched::Alive(other) => {
                    return Err(RunError::Held {
                        unit: unit.to_string(),
                        holder: title(other.as_ref()),
                        path,
                    });
                }
                Watched::Abandoned { bytes, why, settle } => {
                    let found = replace(&path, &record, &bytes, settle).map_err(file_error)?;
                    if let Some(inner) = found {
                        taken_over = Some(why);
                        break inner;
                    }
                }
            }
        };
        let held = Arc::new(Held {
            unit: unit.to_string(),
            path,
            inner: Mutex::new(inner),
            ended: AtomicBool::new(false),
        });
        let beating = Arc::clone(&held);
        let thread = thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || beat_while_held(&beating))
            .map_err(|source| RunError::File {
                action: "keep",
                path: held.path.clone(),
                source,
            })?;
        *lock(&self.slot) = Some(Arc::clone(&held));
        Ok(Some(Lease {
            held,
            slot: Arc::clone(&self.slot),
            taken_over,
            thread: Some(thread),
        }))
    }

    /// The lease of a unit, if there is one that can be read.
    pub fn lease_of(&self, unit: Unit) -> Option<LeaseRecord> {
        parse(&file::read(&self.unit_file(unit, LEASE), file::TEXT).ok()?)
    }

    /// Whether this process still holds the unit that it took, if it took one: to be asked before
    /// anything is written.
    ///
    /// # Errors
    /// When another process took the unit over, or the lease cannot be read.
    pub fn check_lease(&self) -> Result<(), RunError> {
        let held = lock(&self.slot).clone();
        held.map_or(Ok(()), |held| held.check())
    }
}

impl Lease {
    /// Why the unit could be had although there was a lease, as a sentence.
    pub fn taken_over(&self) -> Option<&str> {
        self.taken_over.as_deref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in it has nothing left to do harm to.
            let _ = thread.join();
        }
        *lock(&self.slot) = None;
        let mut inner = lock(&self.held.inner);
        inner.seen = None;
        if self.held.look(&mut inner).is_ok() {
            // What cannot be removed is found abandoned by the next process.
            let _ = fs::remove_file(&self.held.path);
        }
    }
}

impl Held {
    /// See [`RunFolder::check_lease`].
    fn check(&self) -> Result<(), RunError> {
        self.look(&mut lock(&self.inner))
    }

    /// Looks whose lease has the name now.
    fn look(&self, inner: &mut Inner) -> Result<(), RunError> {
        if inner.seen.is_some_and(|seen| seen.elapsed() < BELIEVED) {
            return Ok(());
        }
        inner.seen = None;
        let now = Instant::now();
        let by = match file::read(&self.path, file::TEXT) {
            Ok(bytes) => match parse(&bytes) {
                Some(record) if record.token == inner.record.token => {
                    inner.seen = Some(now);
                    return Ok(());
                }
                other => title(other.as_ref()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "somebody who removed the lease".to_owned()
            }
            Err(source) => {
                return Err(RunError::File {
                    action: "read",
                    path: self.path.clone(),
                    source,
                });
            }
        };
        Err(RunError::LeaseLost {
            unit: self.unit.clone(),
            by,
            path: self.path.clone(),
        })
    }

    /// Changes the lease once; says whether it is still this process's.
    fn beat(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.record.beats += 1;
        let text = written(&inner.record, inner.width);
        // A change that fails is made up for by the next one.
        let _ = inner
            .file
            .rewind()
            .and_then(|()| inner.file.write_all(text.as_bytes()))
            .and_then(|()| inner.file.sync_data());
        inner.seen = None;
        !matches!(self.look(&mut inner), Err(RunError::LeaseLost { .. }))
    }
}

/// Changes the lease every few seconds.
fn beat_while_held(held: &Held) {
    let mut last = Instant::now();
    while !held.ended.load(Ordering::Relaxed) {
        if last.elapsed() < BEAT {
            thread::park_timeout(BEAT - last.elapsed());
            continue;
        }
        last = Instant::now();
        if !held.beat() {
            return;
        }
    }
}

/// Makes the lease where there is none.
fn create(path: &Path, record: &LeaseRecord) -> io::Result<Option<Inner>> {
    let width = serde_json::to_string(record)?.len() + 16;
    let text = written(record, width);
    let inner = |file| Inner {
        file,
        record: record.clone(),
        width,
        seen: None,
    };
    let temporary = whole(path, &text)?;
    let file = temporary.as_file().try_clone()?;
    match fs::hard_link(temporary.path(), path) {
        Ok(()) => Ok(Some(inner(file))),
        // Over a network the answer to what succeeded can get lost.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let ours = file::read(path, file::TEXT).is_ok_and(|bytes| is(&bytes, record));
            Ok(ours.then(|| inner(file)))
        }
        // A file system without hard links.
        Err(_) => match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                Ok(Some(inner(file)))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        },
    }
}

/// Puts the lease in the place of an abandoned one, unless that has changed.
fn replace(
    path: &Path,
    record: &LeaseRecord,
    abandoned: &[u8],
    settle: Duration,
) -> io::Result<Option<Inner>> {
    let width = serde_json::to_string(record)?.len() + 16;
    let temporary = whole(path, &written(record, width))?;
    let file = temporary.as_file().try_clone()?;
    if file::read(path, file::TEXT).ok().as_deref() != Some(abandoned) {
        return Ok(None);
    }
    temporary.persist(path)?;
    thread::sleep(settle);
    let ours = file::read(path, file::TEXT).is_ok_and(|bytes| is(&bytes, record));
    Ok(ours.then(|| Inner {
        file,
        record: record.clone(),
        width,
        seen: None,
    }))
}

/// A file beside the lease that holds this text and is durable.
fn whole(path: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = temporary(path.parent().unwrap_or_else(|| Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Watches somebody else's lease.
fn watch(
    path: &Path,
    silence: Duration,
    stop: &Stop,
    tell: &mut impl FnMut(&str) -> io::Result<()>,
) -> io::Result<Watched> {
    let look = || match file::read(path, file::TEXT) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    let Some(first) = look()? else {
        return Ok(Watched::Released);
    };
    let record = parse(&first);
    let whose = title(record.as_ref());
    if record.is_some_and(|record| record.holder.is_gone()) {
        return Ok(Watched::Abandoned {
            bytes: first,
            why: format!("took the unit over from {whose}, which is gone"),
            settle: SETTLE_GONE,
        });
    }
    tell(&format!(
        "{whose} has taken this unit; watching for up to {} s whether it still works",
        silence.as_secs()
    ))?;
    let begun = Instant::now();
    while begun.elapsed() < silence {
        if stop.is_asked() {
            return Ok(Watched::Stopped);
        }
        thread::sleep(LOOK);
        match look()? {
            None => return Ok(Watched::Released),
            Some(now) if now != first => return Ok(Watched::Alive(parse(&now))),
            Some(_) => {}
        }
    }
    Ok(Watched::Abandoned {
        bytes: first,
        why: format!(
            "took the unit over from {whose}, which gave no sign of life for {} s",
            silence.as_secs()
        ),
        settle: SETTLE,
    })
}

/// A record as it is written: always as many bytes, whatever the counter is.
fn written(record: &LeaseRecord, width: usize) -> String {
    // A record has nothing that JSON cannot say.
    let json = serde_json::to_string(record).unwrap_or_default();
    format!("{json:<width$}\n")
}

/// What a lease says; nothing when it is being written or damaged.
fn parse(bytes: &[u8]) -> Option<LeaseRecord> {
    serde_json::from_slice(bytes).ok()
}

/// Whether these are the bytes of this lease.
fn is(bytes: &[u8], record: &LeaseRecord) -> bool {
    parse(bytes).is_some_and(|found| found.token == record.token)
}

/// Who holds a lease, for a person.
fn title(record: Option<&LeaseRecord>) -> String {
    record.map_or_else(
        || "an unknown process".to_owned(),
        |record| record.holder.to_string(),
    )
}

/// A lock whose holder cannot have left anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(machine: &str, process: u32, token: &str) -> LeaseRecord {
        LeaseRecord {
            holder: Process {
                host: "elsewhere".to_owned(),
                process,
                machine: machine.to_owned(),
                begun: 1,
            },
            token: token.to_owned(),
            beats: 0,
        }
    }

    fn quiet(_: &str) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn only_one_of_many_makes_the_lease() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEASE);
        let made: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    let path = &path;
                    let mine = record("", number, &number.to_string());
                    scope.spawn(move || usize::from(create(path, &mine).unwrap().is_some()))
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(made, 1);
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_one_of_many_takes_a_lease_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEASE);
        create(&path, &record("", 1, "silent")).unwrap().unwrap();
        let silent = fs::read(&path).unwrap();
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    let (path, silent) = (&path, &silent);
                    let mine = record("", number, &number.to_string());
                    let settle = Duration::from_millis(300);
                    scope.spawn(move || {
                        usize::from(replace(path, &mine, silent, settle).unwrap().is_some())
                    })
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn a_lease_that_changes_is_alive_and_one_that_does_not_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEASE);
        let stop = Stop::default();
        let silence = Duration::from_secs(2);
        let mut other = create(&path, &record("far away", 7, "other"))
            .unwrap()
            .unwrap();
        let found = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(600));
                other.record.beats = 12_345;
                let text = written(&other.record, other.width);
                other.file.rewind().unwrap();
                other.file.write_all(text.as_bytes()).unwrap();
            });
            watch(&path, silence, &stop, &mut quiet).unwrap()
        });
        assert!(
            matches!(found, Watched::Alive(Some(ref record)) if record.beats == 12_345 && record.holder.process == 7)
        );
        let found = watch(&path, silence, &stop, &mut quiet).unwrap();
        assert!(
            matches!(found, Watched::Abandoned { ref why, .. } if why.contains("process 7 on elsewhere"))
        );
        stop.ask();
        let found = watch(&path, silence, &stop, &mut quiet).unwrap();
        assert!(matches!(found, Watched::Stopped));
    }

    #[test]
    fn what_is_no_lease_is_watched_like_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEASE);
        fs::write(&path, "{ half").unwrap();
        let silence = Duration::from_millis(600);
        let found = watch(&path, silence, &Stop::default(), &mut quiet).unwrap();
        assert!(matches!(found, Watched::Abandoned { ref why, .. } if why.contains("unknown")));
    }

    #[test]
    fn a_process_whose_lease_was_taken_over_neither_changes_nor_removes_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEASE);
        let held = Held {
            unit: "meta".to_owned(),
            inner: Mutex::new(create(&path, &record("", 1, "mine")).unwrap().unwrap()),
            path: path.clone(),
            ended: AtomicBool::new(false),
        };
        assert!(held.beat() && held.check().is_ok());
        let mine = fs::read(&path).unwrap();
        assert_eq!(parse(&mine).unwrap().beats, 1);
        replace(&path, &record("", 2, "theirs"), &mine, Duration::ZERO)
            .unwrap()
            .unwrap();
        let theirs = fs::read(&path).unwrap();
        assert!(!held.beat());
        assert!(
            matches!(held.check(), Err(RunError::LeaseLost { ref by, .. }) if by.contains("process 2"))
        );
        let lease = Lease {
            held: Arc::new(held),
            slot: Slot::default(),
            taken_over: None,
            thread: None,
        };
        drop(lease);
        assert_eq!(fs::read(&path).unwrap(), theirs);
    }
}
