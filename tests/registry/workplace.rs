//! A folder in which a person works: with a cache of its own, and no credentials but given ones.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::command::Answer;

/// One person at one machine.
pub(crate) struct Workplace {
    folder: PathBuf,
    /// Removes the folder with this value, unless it is to stay.
    _temporary: Option<TempDir>,
    environment: Vec<(String, OsString)>,
}

impl Workplace {
    /// Somebody who has fetched nothing yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder: folder.path().to_owned(),
            _temporary: Some(folder),
            environment: Vec::new(),
        }
    }

    /// Somebody who goes on in a folder that stays, for what takes long to make.
    pub(crate) fn staying(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            _temporary: None,
            environment: Vec::new(),
        }
    }

    /// The working directory.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.file(name);
        fs::write(&file, content).unwrap();
        file
    }

    /// The lock file.
    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.file("incubate.lock")).unwrap()
    }

    /// Forgets what was fetched, as another machine has not fetched it.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.file("cache/incubate/store")).unwrap();
    }

    /// Sets a variable of the environment from now on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Runs the command.
    pub(crate) fn incubate(&self, arguments: &[&str]) -> Answer {
        self.within(self.path(), arguments)
    }

    /// Runs the command in another folder.
    pub(crate) fn within(&self, folder: &Path, arguments: &[&str]) -> Answer {
        let output = Command::new(env!("CARGO_BIN_EXE_incubate"))
            .args(arguments)
            .current_dir(folder)
            .env("XDG_CACHE_HOME", self.file("cache"))
            .env("DOCKER_CONFIG", self.file("docker"))
            .env("NO_COLOR", "1")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        Answer {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command about plugins.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Answer {
        let all: Vec<&str> = ["plugin"].iter().chain(arguments).copied().collect();
        self.incubate(&all)
    }
}
