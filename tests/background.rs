//! The command `incubate` in the background: it is sent signals while it works.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::TINY;

/// What takes longer than this on any machine hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process whose output lies in files; it ends when this is dropped.
pub(crate) struct Background {
    process: Child,
    output: TempDir,
}

/// A signal, by the name that `kill` gives it.
pub(crate) fn send(process: u32, signal: &str) {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &process.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{signal} {process}");
}

/// Waits until something is there.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The lines of a unit's log that are whole.
pub(crate) fn log(run: &Path, unit: &str) -> Vec<Value> {
    let text = fs::read_to_string(log_file(run, unit)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The log of a unit.
pub(crate) fn log_file(run: &Path, unit: &str) -> PathBuf {
    run.join("units").join(unit).join("events.jsonl")
}

/// The numbers of the updates in a unit's log.
pub(crate) fn updates(run: &Path, unit: &str) -> Vec<u64> {
    log(run, unit)
        .iter()
        .filter(|event| event["event"] == "update")
        .map(|event| event["update"].as_u64().unwrap())
        .collect()
}

/// The tiny experiment in `out`, with these assignments above it and further arguments.
pub(crate) fn tiny(out: &Path, more: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command.args(["run", "digits", "--device", "cpu", "--out"]);
    command.arg(out);
    for assignment in TINY.iter().chain(&["fine-tune.epochs=1"]).chain(more) {
        command.args(["--set", assignment]);
    }
    command.args(arguments).env("NO_COLOR", "1").env(
        "XDG_CACHE_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
    );
    command
}

impl Background {
    /// Begins the tiny experiment in `out`, with these assignments above it and further arguments.
    pub(crate) fn tiny(out: &Path, more: &[&str], arguments: &[&str]) -> Self {
        Self::tiny_within(out, more, arguments, &[])
    }

    /// As [`Self::tiny`], with these variables in the environment.
    pub(crate) fn tiny_within(
        out: &Path,
        more: &[&str],
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Self {
        let mut command = tiny(out, more, arguments);
        command.envs(variables.iter().copied());
        Self::start(command)
    }

    /// Begins a command.
    pub(crate) fn start(mut command: Command) -> Self {
        let output = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(output.path().join(name)).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"));
        Self {
            process: command.spawn().unwrap(),
            output,
        }
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub(crate) fn send(&self, signal: &str) {
        send(self.id(), signal);
    }

    /// Standard output so far.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.output.path().join("out")).unwrap()
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.output.path().join("err")).unwrap()
    }

    /// Waits until the process has said this on standard error.
    #[track_caller]
    pub(crate) fn wait_until_it_says(&self, words: &str) {
        wait_for(words, || self.stderr().contains(words).then_some(()));
    }

    /// Waits until the process answers Ctrl-C itself.
    #[track_caller]
    pub(crate) fn wait_until_it_listens(&self) {
        let file = format!("/proc/{}/status", self.id());
        wait_for("a handler of SIGINT", || {
            let text = fs::read_to_string(&file).ok()?;
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
            // The bit of SIGUSR1, which is registered last.
            (caught >> 9 & 1 == 1).then_some(())
        });
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the process", || {
            self.process.try_wait().unwrap()
        })
    }

    /// Waits for the end of the process, which is one by exit.
    #[track_caller]
    pub(crate) fn status(&mut self) -> i32 {
        let status = self.wait();
        let code = status.code();
        code.unwrap_or_else(|| panic!("signal {:?}; {}", status.signal(), self.stderr()))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
