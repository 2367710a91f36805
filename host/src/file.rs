//! Reading a file that may be anything: a device without end, a pipe, a disk image. Nothing is read but
//! ordinary files, and of those no more than what they are read as can need.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a text that a person writes: an experiment, a lock file, a signature, a certificate.
pub(crate) const TEXT: u64 = 16 << 20;

/// Bytes of a component; those that carry an interpreter have some 40 MB.
pub(crate) const COMPONENT: u64 = 256 << 20;

/// Bytes of the weights of a unit: ViT-Huge in float32 has 2.5 GB.
pub(crate) const WEIGHTS: u64 = 16 << 30;

/// The bytes of the ordinary file at `path`, at most `most`.
///
/// # Errors
///
/// There is no such file, it is no ordinary file, or it is larger.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    expect_ordinary(&metadata)?;
    let too_large = || {
        io::Error::other(format!(
            "it has more than {most} bytes, which nothing that is read here needs"
        ))
    };
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It can grow while it is read.
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Refuses to open what is there and is no ordinary file: a pipe would wait for somebody at its other
/// end. What is not there yet can be created.
///
/// # Errors
///
/// It is no ordinary file, or it cannot be looked up.
pub(crate) fn expect_ordinary_or_none(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) => expect_ordinary(&metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn expect_ordinary(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("it is no ordinary file"))
    }
}

/// The text of the ordinary file at `path`.
///
/// # Errors
///
/// As [`read`]; it is no UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, TEXT)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        assert_eq!(read(&path, 3).unwrap(), [1, 2, 3]);
        let error = read(&path, 2).unwrap_err().to_string();
        assert!(error.contains("more than 2 bytes"), "{error}");
        for path in [folder.path(), Path::new("/dev/zero")] {
            let error = read(path, TEXT).unwrap_err().to_string();
            assert!(error.contains("no ordinary file"), "{error}");
        }
    }

    #[test]
    fn a_text_is_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"a\xff").unwrap();
        assert_eq!(
            read_text(&path).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
