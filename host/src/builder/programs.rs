//! Programs of the PATH, and the versions that they give.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cargo;
use super::language::{Lack, Tool};

/// The first program of the PATH with this name.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    folders()
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The programs `NAME-NUMBER` and `NAME` of the PATH, the largest number first, `NAME` last.
pub(super) fn numbered(name: &str) -> Vec<PathBuf> {
    numbered_in(name, &folders())
}

fn folders() -> Vec<PathBuf> {
    env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default()
}

fn numbered_in(name: &str, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<(u32, usize, PathBuf)> = Vec::new();
    for (place, folder) in folders.iter().enumerate() {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let file = entry.file_name();
            if let Some(number) = number_of(name, &file) {
                found.push((number, place, entry.path()));
            }
        }
    }
    // Of equal numbers, the folder that stands first in the PATH.
    found.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// 19 of `clang-19`, 0 of `clang`, nothing of other names.
fn number_of(name: &str, file: &OsStr) -> Option<u32> {
    let rest = file.to_str()?.strip_prefix(name)?;
    match rest.strip_prefix('-') {
        Some(number) => number.parse().ok(),
        None => rest.is_empty().then_some(0),
    }
}

/// The first word of what a program answers to `--version` that begins with a digit, such as
/// `19.1.7`; nothing when it does not run.
pub(super) fn version(program: &Path, arguments: &[&str]) -> Option<String> {
    let answer = cargo::output(Command::new(program).args(arguments)).ok()?;
    Some(first_number(&answer).unwrap_or_default().to_owned())
}

/// A program of the PATH whose version is `least` or newer; else what is missing, with the ways to
/// install it.
pub(super) fn at_least(name: &str, least: &str, install: &[&str]) -> Result<Tool, Lack> {
    let lack = |missing: String| Lack {
        missing,
        install: install.iter().map(|&way| way.to_owned()).collect(),
    };
    let path = on_path(name).ok_or_else(|| lack(format!("no {name} on the PATH")))?;
    let version = version(&path, &["--version"])
        .ok_or_else(|| lack(format!("{} does not run", path.display())))?;
    if numbers(&version) < numbers(least) {
        return Err(lack(format!(
            "{} is {name} {version}, and {least} is the oldest that will do",
            path.display()
        )));
    }
    Ok(Tool {
        name: name.to_owned(),
        version,
        path: Some(path),
    })
}

/// 3, 11 and 2 of `3.11.2`; a part that is no number ends the list.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

fn first_number(answer: &str) -> Option<&str> {
    answer
        .split_whitespace()
        .map(|word| word.trim_start_matches(['v', '(']))
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .map(|word| word.trim_end_matches([',', ')']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_program_stands_first() {
        let folder = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        for name in ["clang", "clang-9", "clang-19", "clang-cpp-19", "clang++-19"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        for name in ["clang-19", "clang-20"] {
            fs::write(second.path().join(name), "").unwrap();
        }
        let folders = [folder.path().to_owned(), second.path().to_owned()];
        let expected = [
            second.path().join("clang-20"),
            folder.path().join("clang-19"),
            second.path().join("clang-19"),
            folder.path().join("clang-9"),
            folder.path().join("clang"),
        ];
        assert_eq!(numbered_in("clang", &folders), expected);
        assert!(numbered_in("clang", &[folder.path().join("missing")]).is_empty());
    }

    #[test]
    fn versions_are_found_in_words() {
        for (answer, version) in [
            ("Debian clang version 19.1.7 (3~deb12u1)\n", "19.1.7"),
            ("Debian LLD 19.1.7 (compatible with GNU linkers)", "19.1.7"),
            ("v20.20.0\n", "20.20.0"),
            ("Python 3.11.2", "3.11.2"),
        ] {
            assert_eq!(first_number(answer), Some(version));
        }
        assert_eq!(first_number("none"), None);
        assert_eq!(version(Path::new("/no/program"), &["--version"]), None);
    }
    #[test]
    fn a_program_that_is_too_old_or_missing_is_a_lack() {
        let tool = at_least("cargo", "1.2", &[]).unwrap();
        assert_eq!(tool.name, "cargo");
        let error = at_least("cargo", "9999.1", &["rustup update"]).unwrap_err();
        for phrase in [" is cargo 1.", "9999.1 is the oldest", "`rustup update`"] {
            assert!(error.to_string().contains(phrase), "{error}");
        }
        let error = at_least("no-such-program", "1", &[]).unwrap_err();
        assert_eq!(error.to_string(), "no no-such-program on the PATH");
        assert!(numbers("3.9.1") < numbers("3.10"));
        assert!(numbers("3.10.0rc1") >= numbers("3.10"));
    }
}
