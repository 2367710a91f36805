//! Files that leave a run: written whole or not at all, and never over another.

use std::path::Path;

use super::RunError;
use super::folder::write_whole;

/// Writes a file that does not exist yet.
///
/// # Errors
/// There is something at `path`, or it cannot be written.
pub fn write_export(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    if path.exists() {
        return Err(RunError::File {
            action: "write",
            path: path.to_path_buf(),
            source: std::io::Error::other("it is there already; choose another name, or delete it"),
        });
    }
    write_whole(path, bytes)
}
