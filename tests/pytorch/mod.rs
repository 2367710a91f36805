//! Real PyTorch in a child process: an independent judge of our numbers.
//!
//! A test that needs it fails where it is not installed, with the command that installs it.

mod checkpoint;
mod gradients;
mod initial;
mod job;
mod training;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The interpreter of Debian's package, whatever `python3` comes first on the path.
const DEBIAN: &str = "/usr/bin/python3";

/// A command that runs a Python that has PyTorch: the one that the environment variable
/// `INCUBATE_PYTHON` names, or else Debian's. It computes in one thread, so that its sums have one
/// order, and leaves no compiled files beside its scripts.
///
/// # Panics
///
/// When there is none.
pub(crate) fn python() -> Command {
    static FOUND: OnceLock<Result<String, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let interpreter = std::env::var("INCUBATE_PYTHON").unwrap_or_else(|_| DEBIAN.to_owned());
        let tried = command(&interpreter).args(["-c", "import torch"]).output();
        let said = match tried {
            Ok(output) if output.status.success() => return Ok(interpreter),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(format!(
            "this test compares with PyTorch, and {interpreter} has none: {said}\n\
             (on Debian: apt-get install --no-install-recommends python3-torch; elsewhere: set \
             INCUBATE_PYTHON to a Python that has the package torch)"
        ))
    });
    match found {
        Ok(interpreter) => command(interpreter),
        Err(message) => panic!("{message}"),
    }
}

/// Runs a command of [`python`] and gives what it printed.
///
/// # Panics
///
/// When it fails, with what it said.
#[track_caller]
pub(crate) fn answer(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "Python ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A script of this folder.
pub(crate) fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pytorch")
        .join(name)
}

fn command(interpreter: &str) -> Command {
    let mut command = Command::new(interpreter);
    command
        .env("OMP_NUM_THREADS", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
