//! What can be wrong with a run folder.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use thiserror::Error;

/// A run folder that cannot be used.
#[derive(Debug, Error)]
pub enum RunError {
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`: {source}{}", path.display(), way_out(source))]
    File {
        /// `read`, `write`, `create`, `rename`, or `remove`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder holds something else.
    #[error("`{}` is not empty and not a run folder (it has no `run.json`); choose another with `--out`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to look at.
    #[error("`{}` holds no run (give the folder that `incubate run` wrote)", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to another experiment.
    #[error("`{}` holds a run of another experiment; {}:{differences}", path.display(), if *fixed { "these settings decide which networks it has and cannot change in it, so undo them, or choose another folder with `--out`" } else { "choose another folder with `--out`, go on with what changed by `--changed`, or undo these differences" })]
    OtherExperiment {
        /// The folder.
        path: PathBuf,
        /// Every difference on a line of its own.
        differences: String,
        /// Whether these can never change in a run.
        fixed: bool,
    },
    /// A file does not hold what it should.
    #[error("`{}` is damaged: {reason}; {repair}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        repair: String,
    },
    /// A checkpoint cannot be written.
    #[error("cannot write the checkpoint `{}`: {source} (make room for it or make the folder writable, and run again: training goes on from the checkpoint before)", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A checkpoint was made by a newer host.
    #[error("`{}` has checkpoint format {found}, and this host reads up to {known}; use a newer `incubate`, or delete the folder that it is in to go on from the checkpoint before", path.display())]
    CheckpointFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// The folder was made by a newer host.
    #[error("`{}` has run folder format {found}, and this host reads up to {known}; use a newer `incubate`", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// A unit was asked for before what it needs.
    #[error("unit `{unit}` needs `{needed}`, which is not finished in `{}`; run `--unit {needed}` first", path.display())]
    NotReady {
        /// The unit that was asked for.
        unit: String,
        /// What is missing.
        needed: String,
        /// The run folder.
        path: PathBuf,
    },
    /// Another process works on the unit.
    #[error("unit `{unit}` is taken by {holder}, which works on it (wait until it is done, stop it, or give another unit with `--unit`; `{}` is its lease)", path.display())]
    Held {
        /// The unit.
        unit: String,
        /// The process and its machine.
        holder: String,
        /// The lease.
        path: PathBuf,
    },
    /// Another process took the unit over.
    #[error("unit `{unit}` was taken over by {by} while this process gave no sign of life, so this one ends and writes nothing more (`{}` is the lease)", path.display())]
    LeaseLost {
        /// The unit.
        unit: String,
        /// The process and its machine.
        by: String,
        /// The lease.
        path: PathBuf,
    },
}

/// What helps against the system's reason, where that is known.
fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            " (make room for it, and run again)"
        }
        ErrorKind::PermissionDenied => {
            " (give yourself the right to do that, or choose another folder, and run again)"
        }
        ErrorKind::ReadOnlyFilesystem => " (make the folder writable, or choose another)",
        _ => "",
    }
}
