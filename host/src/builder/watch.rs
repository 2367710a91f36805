//! Waits until the sources of a folder change.
//!
//! Invariant: what a build writes is no change, so a build never causes the next one; a file that is
//! changed while a build runs is one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::BuildError;
use crate::digest;

/// How often the folder is looked at.
const PAUSE: Duration = Duration::from_millis(300);

/// Folders that builds write, or that tools keep for themselves. Those that begin with a dot are
/// left out, too.
const LEFT_OUT: [&str; 4] = ["target", "dist", "node_modules", "__pycache__"];

/// Files that builds write.
const WRITTEN: [&str; 3] = ["Cargo.lock", "package-lock.json", "build.zig.zon"];

/// What a folder's files looked like.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    /// When each file was written last and its size: while these are equal nothing is read.
    stamps: BTreeMap<PathBuf, (Option<SystemTime>, u64)>,
    digest: String,
}

impl Watch {
    /// Remembers the sources of `folder` as they are now.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn new(folder: &Path) -> Result<Self, BuildError> {
        let stamps = stamps(folder)?;
        Ok(Self {
            digest: contents(folder, &stamps),
            folder: folder.to_owned(),
            stamps,
        })
    }

    /// Returns when the sources are others than those it remembers, and remembers these.
    ///
    /// # Errors
    ///
    /// The folder cannot be read any more.
    pub fn wait(&mut self) -> Result<(), BuildError> {
        while !self.has_changed()? {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn has_changed(&mut self) -> Result<bool, BuildError> {
        let stamps = stamps(&self.folder)?;
        if stamps == self.stamps {
            return Ok(false);
        }
        let digest = contents(&self.folder, &stamps);
        let changed = digest != self.digest;
        self.stamps = stamps;
        self.digest = digest;
        Ok(changed)
    }
}

/// The source files below `folder`, by path relative to it.
fn stamps(folder: &Path) -> Result<BTreeMap<PathBuf, (Option<SystemTime>, u64)>, BuildError> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let path = folder.join(&below);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // A folder that vanishes while it is looked at is a change like any other.
            Err(_) if below != PathBuf::new() => continue,
            Err(error) => return Err(BuildError::file("reading", path)(error)),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let path = below.join(&*name);
            if metadata.is_dir() {
                if !name.starts_with('.') && !LEFT_OUT.contains(&&*name) {
                    open.push(path);
                }
            } else if !WRITTEN.contains(&&*name) && !is_of_an_editor(&name) {
                found.insert(path, (metadata.modified().ok(), metadata.len()));
            }
        }
    }
    Ok(found)
}

/// Swap files and copies that editors write beside a file.
fn is_of_an_editor(name: &str) -> bool {
    name.starts_with(".#") || name.ends_with('~') || name.ends_with(".swp")
}

fn contents(folder: &Path, files: &BTreeMap<PathBuf, (Option<SystemTime>, u64)>) -> String {
    let mut digest = Sha256::new();
    for path in files.keys() {
        let bytes = fs::read(folder.join(path)).unwrap_or_default();
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update(digest::sha256(&bytes));
    }
    digest::hexadecimal(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contents_of_sources_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("focal.c", "int a;");
        let mut watch = Watch::new(folder.path()).unwrap();
        assert!(!watch.has_changed().unwrap());
        for path in [
            "target/sdk/a.c",
            "dist/focal.wasm",
            "node_modules/a/b.js",
            ".venv/lib/a.py",
            "src/__pycache__/a.pyc",
            "Cargo.lock",
            "focal.c~",
            ".focal.c.swp",
        ] {
            write(path, "new");
            assert!(!watch.has_changed().unwrap(), "{path}");
        }
        write("focal.c", "int a;");
        assert!(!watch.has_changed().unwrap(), "the same words");
        write("focal.c", "int b;");
        assert!(watch.has_changed().unwrap());
        assert!(!watch.has_changed().unwrap());
        write("src/more.c", "");
        assert!(watch.has_changed().unwrap());
        fs::remove_file(folder.path().join("src/more.c")).unwrap();
        assert!(watch.has_changed().unwrap());
        drop(folder);
        assert!(watch.has_changed().is_err());
    }
}
