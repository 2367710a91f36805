//! The store of fetched plugins: one file for each component, named by the digest of its bytes.
//!
//! What is read from it is compared with its name, so it need not be trusted; a damaged file counts
//! as missing and is fetched again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::digest::{is_sha256, sha256};
use crate::file;

/// A folder of components by digest.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `cache`, the user's folder for what can be fetched again.
    pub fn below(cache: &Path) -> Self {
        Self {
            folder: cache.join("store").join("sha256"),
        }
    }

    /// The component with this digest, in hexadecimal, if it is there and undamaged.
    pub fn get(&self, digest: &str) -> Option<Vec<u8>> {
        // A lock file says the digest, and what is no digest could be a path to anywhere.
        if !is_sha256(digest) {
            return None;
        }
        let bytes = file::read(&self.folder.join(digest), file::COMPONENT).ok()?;
        (sha256(&bytes) == digest).then_some(bytes)
    }

    /// Keeps a component under its digest.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let digest = sha256(bytes);
        if self.get(&digest).is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        write_whole(&self.folder.join(digest), bytes)
    }
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// The folder does not exist or cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private; this one becomes a file like any other.
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    let mut file = builder.prefix(".writing-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::below(folder.path());
        let digest = sha256(b"component");
        assert_eq!(store.get(&digest), None);
        store.put(b"component").unwrap();
        assert_eq!(store.get(&digest).unwrap(), b"component");
        let file = folder.path().join("store/sha256").join(&digest);
        std::fs::write(&file, b"Component").unwrap();
        assert_eq!(store.get(&digest), None);
        store.put(b"component").unwrap();
        assert_eq!(store.get(&digest).unwrap(), b"component");
    }
}
