//! The command `incubate` in a child process.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit status.
    pub(crate) status: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Answer {
    /// Asserts success.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(
            self.status, 0,
            "stderr: {}\nstdout: {}",
            self.stderr, self.stdout
        );
        self
    }

    /// Asserts this exit status and that the error has all these phrases.
    #[track_caller]
    pub(crate) fn failed(&self, status: i32, phrases: &[&str]) {
        assert_eq!(
            self.status, status,
            "stderr: {}\nstdout: {}",
            self.stderr, self.stdout
        );
        for phrase in phrases {
            assert!(
                self.stderr.contains(phrase),
                "no `{phrase}` in: {}",
                self.stderr
            );
        }
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

/// Runs the command with the CPU's environment and a cache of its own.
pub(crate) fn incubate(arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_incubate"))
        .args(arguments)
        .env(
            "XDG_CACHE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
        )
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    Answer {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A tiny experiment on the digits: seconds for the whole method.
pub(crate) const TINY: [&str; 9] = [
    "data.train_limit=200",
    "data.validation_limit=100",
    "model.width=16",
    "model.heads=2",
    "model.depth=4",
    "partition.modules=2",
    "training.batch=50",
    "meta.epochs=2",
    "module.epochs=1",
];

/// `run` of the tiny experiment in `out`, with these assignments above it.
pub(crate) fn tiny(out: &Path, more: &[&str]) -> Answer {
    tiny_with(out, more, &[])
}

/// As [`tiny`], with further arguments.
pub(crate) fn tiny_with(out: &Path, more: &[&str], arguments: &[&str]) -> Answer {
    let out = out.to_str().unwrap();
    let mut all = vec!["run", "digits", "--device", "cpu", "--out", out];
    for assignment in TINY.iter().chain(&["fine-tune.epochs=1"]).chain(more) {
        all.extend(["--set", assignment]);
    }
    all.extend(arguments);
    incubate(&all)
}
