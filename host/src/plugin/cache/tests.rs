#![cfg(unix)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::{TempDir, tempdir};
use wasmtime::Config;

use super::*;

/// A component that imports and exports nothing.
const BARE: &[u8] = b"\0asm\x0d\0\x01\0";

/// A cache in a folder of its own, with one component in it.
struct Kept {
    folder: TempDir,
    engine: Engine,
    cache: Cache,
    digest: String,
}

fn kept() -> Kept {
    let folder = tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(&folder.path().join("cache"), &engine).unwrap();
    let digest = sha256(BARE);
    let component = Component::new(&engine, BARE).unwrap();
    assert!(cache.load(&engine, &digest).is_none());
    cache.store(&digest, &component).unwrap();
    assert!(cache.load(&engine, &digest).is_some());
    Kept {
        folder,
        engine,
        cache,
        digest,
    }
}

impl Kept {
    fn file(&self) -> PathBuf {
        self.cache.path(&self.digest)
    }

    /// Whether the code is taken from the file.
    fn is_taken(&self) -> bool {
        self.cache.load(&self.engine, &self.digest).is_some()
    }

    /// Stores the component again, which has to mend whatever was wrong with the file.
    fn store(&self) {
        let component = Component::new(&self.engine, BARE).unwrap();
        self.cache.store(&self.digest, &component).unwrap();
        assert!(self.is_taken());
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether this process may give files away.
fn is_administrator(path: &Path) -> bool {
    fs::metadata(path).unwrap().uid() == 0
}

#[test]
fn folder_and_file_are_for_this_user_alone() {
    let kept = kept();
    assert_eq!(mode(&kept.cache.folder), 0o700);
    assert_eq!(mode(&kept.file()), 0o600);
    assert_eq!(fs::read_dir(&kept.cache.folder).unwrap().count(), 1);
}

#[test]
fn a_damaged_file_is_not_taken_and_is_replaced() {
    let kept = kept();
    let whole = fs::read(kept.file()).unwrap();
    let lengths = [0, 1, MAGIC.len(), HEADER - 1, HEADER, HEADER + 1];
    for length in lengths
        .into_iter()
        .chain([whole.len() / 2, whole.len() - 1])
    {
        fs::write(kept.file(), &whole[..length]).unwrap();
        assert!(!kept.is_taken(), "{length} bytes");
    }
    for position in (0..whole.len()).step_by(whole.len() / 300 + 1) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(kept.file(), &bytes).unwrap();
        assert!(!kept.is_taken(), "byte {position}");
    }
    kept.store();
    assert_eq!(fs::read(kept.file()).unwrap(), whole);
}

#[test]
fn code_that_is_not_what_it_says_is_not_taken() {
    let kept = kept();
    // The digest is right, and the code is none.
    let code = b"no code";
    let lines = [MAGIC, &kept.cache.engine, &kept.digest, &sha256(code)];
    let mut bytes = format!("{}\n", lines.join("\n")).into_bytes();
    bytes.extend_from_slice(code);
    fs::write(kept.file(), bytes).unwrap();
    assert!(!kept.is_taken());
    // The code of another component under this name.
    kept.store();
    let other = "0".repeat(DIGITS);
    fs::rename(kept.file(), kept.cache.path(&other)).unwrap();
    assert!(kept.cache.load(&kept.engine, &other).is_none());
}

#[test]
fn code_of_another_engine_is_not_taken() {
    let kept = kept();
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let other = Cache::open(&kept.cache.folder, &engine).unwrap();
    assert_ne!(other.engine, kept.cache.engine);
    assert!(other.load(&engine, &kept.digest).is_none());
    // Not even when the file has the name that the other engine looks for.
    fs::rename(kept.file(), other.path(&kept.digest)).unwrap();
    assert!(other.load(&engine, &kept.digest).is_none());
}

#[test]
fn a_file_that_others_may_have_written_is_not_taken() {
    let kept = kept();
    for writable in [0o620, 0o602, 0o666] {
        set_mode(&kept.file(), writable);
        assert!(!kept.is_taken(), "{writable:o}");
    }
    kept.store();
    assert_eq!(mode(&kept.file()), 0o600);

    let elsewhere = kept.folder.path().join("elsewhere");
    fs::rename(kept.file(), &elsewhere).unwrap();
    symlink(&elsewhere, kept.file()).unwrap();
    assert!(!kept.is_taken());
    kept.store();

    if is_administrator(&kept.file()) {
        std::os::unix::fs::chown(kept.file(), Some(12_345), None).unwrap();
        assert!(!kept.is_taken());
        kept.store();
    }
}

#[test]
fn a_folder_that_others_may_have_written_to_is_not_used() {
    let kept = kept();
    let folder = kept.cache.folder.clone();
    let open = |folder: &Path| Cache::open(folder, &kept.engine).unwrap_err().to_string();
    for writable in [0o720, 0o702, 0o777] {
        set_mode(&folder, writable);
        assert!(open(&folder).contains("other users may write to"));
        assert!(!kept.is_taken(), "{writable:o}");
        let component = Component::new(&kept.engine, BARE).unwrap();
        assert!(kept.cache.store(&kept.digest, &component).is_err());
    }
    set_mode(&folder, 0o755);
    assert!(kept.is_taken());

    let link = kept.folder.path().join("link");
    symlink(&folder, &link).unwrap();
    assert!(open(&link).contains("is not a folder, or is a link"));
    let file = kept.folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    assert!(open(&file).contains("cannot be used"));
    assert!(open(&file.join("below")).contains("cannot be used"));

    if is_administrator(&folder) {
        std::os::unix::fs::chown(&folder, Some(12_345), None).unwrap();
        assert!(open(&folder).contains("belongs to user 12345, and this is user 0"));
        assert!(!kept.is_taken());
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_still_read() {
    let kept = kept();
    set_mode(&kept.cache.folder, 0o500);
    assert!(kept.is_taken());
    fs::remove_dir_all(&kept.cache.folder).unwrap();
    assert!(!kept.is_taken());
    let component = Component::new(&kept.engine, BARE).unwrap();
    assert!(kept.cache.store(&kept.digest, &component).is_err());
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let mut kept = kept();
    let component = Component::new(&kept.engine, BARE).unwrap();
    let size = fs::metadata(kept.file()).unwrap().len();
    kept.cache.bytes_max = 3 * size;
    let name = |digit: usize| digit.to_string().repeat(DIGITS);
    let age = |path: PathBuf, seconds: u64| {
        let file = File::options().append(true).open(path).unwrap();
        let time = SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    };
    age(kept.file(), 100);
    for digit in 1..=2 {
        kept.cache.store(&name(digit), &component).unwrap();
        age(kept.cache.path(&name(digit)), 50 - digit as u64);
    }
    // Being used makes the oldest the newest.
    assert!(kept.is_taken());
    let abandoned = kept.cache.folder.join(format!("{WRITING}x"));
    fs::write(&abandoned, "half").unwrap();
    age(abandoned.clone(), 2 * ABANDONED.as_secs());
    kept.cache.store(&name(3), &component).unwrap();
    let there = |digit: usize| kept.cache.path(&name(digit)).exists();
    assert!(kept.is_taken() && !there(1) && there(2) && there(3));
    assert!(!abandoned.exists());
    // A file that is larger than all may be together is not kept.
    kept.cache.bytes_max = size - 1;
    kept.cache.store(&name(4), &component).unwrap();
    assert!(!kept.cache.path(&name(4)).exists());
}
