//! Compiled plugins on disk, so that each is compiled once on a machine.
//!
//! What is kept is native code that this process will run, so a file counts only if nobody but this
//! user (and the administrator) can have written it: folder and file belong to the user, no one
//! else may write to either, and neither is a symbolic link. That protects from other users of the
//! machine; it does not protect from a program that runs as the user, which could change this
//! program as well. A digest in the file finds accidents: half a file, a flipped bit.
//!
//! A file that is missing, damaged, not trusted, or of another engine means compiling again, never
//! an error. Files appear whole or not at all, so processes may share a folder.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::sha256;

/// The first line of a file, with the version of its layout.
const MAGIC: &str = "incubate compiled plugin 1";

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// The magic and three digests, a line each.
const HEADER: usize = MAGIC.len() + 1 + 3 * (DIGITS + 1);

/// The end of the name of every file.
const EXTENSION: &str = "compiled";

/// The beginning of the name of a file that is being written.
const WRITING: &str = ".writing-";

/// How old an abandoned file is before it is removed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// The bytes that all files may have together. A plugin with an interpreter inside has 100 MB.
const BYTES_MAX: u64 = 512 << 20;

/// A folder with the compiled code of plugins.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// The digest of everything about the engine that its code depends on.
    engine: String,
    bytes_max: u64,
}

/// Why compiled code is not kept, or not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    /// It cannot be looked at.
    #[error("`{}` cannot be used: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// It is a link, a pipe, a file instead of a folder, …
    #[error("`{}` is not {wanted}, or is a link to one", path.display())]
    Type { path: PathBuf, wanted: &'static str },
    /// Another user may have written it.
    #[error("`{}` belongs to user {owner}, and this is user {user}", path.display())]
    Owner {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    /// Another user may have written it.
    #[error("other users may write to `{}` (`chmod go-w` it)", path.display())]
    Writable { path: PathBuf },
    /// This system does not say who owns a file.
    #[cfg(not(unix))]
    #[error("this system does not say who may have written `{}`", path.display())]
    Unknown { path: PathBuf },
}

impl Cache {
    /// The cache in `folder`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, or somebody else may have written to it.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, Distrust> {
        create_private(folder).map_err(|source| Distrust::File {
            path: folder.to_path_buf(),
            source,
        })?;
        check_folder(folder)?;
        let mut dependencies = Collected(Vec::new());
        engine
            .precompile_compatibility_hash()
            .hash(&mut dependencies);
        Ok(Self {
            folder: folder.to_path_buf(),
            engine: sha256(&dependencies.0),
            bytes_max: BYTES_MAX,
        })
    }

    /// The compiled code of the component with this digest, if it is there and can be trusted.
    pub(super) fn load(&self, engine: &Engine, component: &str) -> Option<Component> {
        check_folder(&self.folder).ok()?;
        let (file, bytes) = read_trusted(&self.path(component), self.bytes_max).ok()?;
        let code = self.code(&bytes, component)?;
        // SAFETY: the code is what `Component::serialize` gave to `store` of a process of this user:
        // nobody else could write to the file or its folder (`read_trusted`), the header says that
        // it was made by an engine like this one from this component, and its digest is right.
        let component = unsafe { Component::deserialize(engine, code) }.ok()?;
        // The time says when a file was last of use. Without it the file only goes earlier.
        let _ = file.set_modified(SystemTime::now());
        Some(component)
    }

    /// Keeps the code of the component with this digest.
    ///
    /// # Errors
    ///
    /// The folder is not to be trusted any more, or the file cannot be written.
    pub(super) fn store(&self, component: &str, compiled: &Component) -> io::Result<()> {
        check_folder(&self.folder).map_err(io::Error::other)?;
        let code = compiled.serialize().map_err(io::Error::other)?;
        if (HEADER + code.len()) as u64 > self.bytes_max {
            return Ok(());
        }
        // Made by `mkstemp`, for this user alone.
        let mut file = tempfile::Builder::new()
            .prefix(WRITING)
            .tempfile_in(&self.folder)?;
        for line in [MAGIC, &self.engine, component, &sha256(&code)] {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.write_all(&code)?;
        file.persist(self.path(component))?;
        self.make_room()
    }

    fn path(&self, component: &str) -> PathBuf {
        // Sixteen digits of the engine are enough for the name; the file has all of them.
        let engine = &self.engine[..16];
        self.folder
            .join(format!("{component}-{engine}.{EXTENSION}"))
    }

    /// The code in a file, if the file is whole and was made by an engine like this one from the
    /// component with this digest.
    fn code<'a>(&self, bytes: &'a [u8], component: &str) -> Option<&'a [u8]> {
        let (header, code) = bytes.split_at_checked(HEADER)?;
        let mut lines = std::str::from_utf8(header).ok()?.lines();
        let mut next_is = |expected: &str| lines.next() == Some(expected);
        let whole =
            next_is(MAGIC) && next_is(&self.engine) && next_is(component) && next_is(&sha256(code));
        whole.then_some(code)
    }

    /// Removes what was abandoned, and then what was of no use for the longest time until the rest
    /// is small enough.
    fn make_room(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed it in the meantime.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let used = metadata.modified()?;
            let path = entry.path();
            let abandoned = used.elapsed().is_ok_and(|age| age > ABANDONED);
            if entry.file_name().to_string_lossy().starts_with(WRITING) && abandoned {
                remove(&path)?;
            }
            if path.extension().is_some_and(|found| found == EXTENSION) {
                kept.push((used, metadata.len(), path));
            }
        }
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in kept {
            if bytes <= self.bytes_max {
                break;
            }
            remove(&path)?;
            bytes -= size;
        }
        Ok(())
    }
}

/// Everything that the code of an engine depends on, one after the other.
struct Collected(Vec<u8>);

impl Hasher for Collected {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nobody asks for the short form; the digest is taken from the field.
    fn finish(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a folder, and those above it, for this user alone.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Refuses a folder that is a link, or to which another user may have written.
fn check_folder(folder: &Path) -> Result<(), Distrust> {
    let metadata = fs::symlink_metadata(folder).map_err(|source| Distrust::File {
        path: folder.to_path_buf(),
        source,
    })?;
    if !metadata.is_dir() {
        return Err(Distrust::Type {
            path: folder.to_path_buf(),
            wanted: "a folder",
        });
    }
    check_owner(folder, &metadata)
}

/// Reads a file that nobody else can have written. The file is opened once and asked itself, so
/// that it cannot be exchanged between the question and the reading.
fn read_trusted(path: &Path, most: u64) -> Result<(File, Vec<u8>), Distrust> {
    let unusable = |source| Distrust::File {
        path: path.to_path_buf(),
        source,
    };
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NOFOLLOW | libc::O_NONBLOCK,
    );
    let file = options.open(path).map_err(unusable)?;
    let metadata = file.metadata().map_err(unusable)?;
    if !metadata.is_file() {
        return Err(Distrust::Type {
            path: path.to_path_buf(),
            wanted: "an ordinary file",
        });
    }
    check_owner(path, &metadata)?;
    let mut bytes = Vec::new();
    (&file)
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(unusable)?;
    Ok((file, bytes))
}

#[cfg(unix)]
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), Distrust> {
    use std::os::unix::fs::MetadataExt;

    /// Permission of the group and of everybody to write.
    const OTHERS_WRITE: u32 = 0o022;
    // SAFETY: the call takes nothing, cannot fail, and touches no memory.
    let user = unsafe { libc::geteuid() };
    let path = path.to_path_buf();
    if metadata.uid() != user {
        return Err(Distrust::Owner {
            path,
            owner: metadata.uid(),
            user,
        });
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(Distrust::Writable { path });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(path: &Path, _: &fs::Metadata) -> Result<(), Distrust> {
    Err(Distrust::Unknown {
        path: path.to_path_buf(),
    })
}

#[cfg(test)]
mod tests;
