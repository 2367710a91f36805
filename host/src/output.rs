//! Writing a file that a person named on the command line.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that cannot be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// There is something already.
    #[error("`{}` is there already (delete it, or give another file with `--out`)", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// Writes a file, in place of one that is there.
///
/// # Errors
/// When the system refuses.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    fs::write(path, bytes).map_err(|source| OutputError::File {
        path: path.to_path_buf(),
        source,
    })
}

/// Writes a file where there is none.
///
/// # Errors
/// When there is one, or the system refuses.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    use std::io::Write;
    fs::File::create_new(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| {
            let path = path.to_path_buf();
            if source.kind() == ErrorKind::AlreadyExists {
                OutputError::Occupied { path }
            } else {
                OutputError::File { path, source }
            }
        })
}
