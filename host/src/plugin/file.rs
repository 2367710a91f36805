//! Reading a component from a file that may be anything: a device without end, a pipe, a disk image.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest component; those that carry an interpreter have some 40 MB.
const BYTES_MAX: u64 = 256 << 20;

/// The bytes of the ordinary file at `path`.
///
/// # Errors
///
/// There is no such file, it is no ordinary file, or it is larger than any component.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, BYTES_MAX)
}

fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // A pipe would wait for a writer, so what it is is looked up before it is opened.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!(
            "it has more than {most} bytes, which no plugin needs"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        assert_eq!(read_at_most(&path, 3).unwrap(), [1, 2, 3]);
        let error = read_at_most(&path, 2).unwrap_err().to_string();
        assert!(error.contains("more than 2 bytes"), "{error}");
        for path in [folder.path(), Path::new("/dev/zero")] {
            let error = read(path).unwrap_err().to_string();
            assert!(error.contains("no ordinary file"), "{error}");
        }
    }
}
