//! The process of a unit, as the process sees it that shares the units of a run out.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use serde_json::Value;

use super::orders;
use crate::device::DeviceChoice;
use crate::event::Event;
use crate::experiment::Experiment;
use crate::run::Unit;

/// A process that works on a unit. When this is dropped, the process learns that nobody waits for it any
/// more, and stops.
#[derive(Debug)]
pub(super) struct Child {
    /// Its unit.
    pub(super) unit: Unit,
    /// Its number.
    pub(super) process: u32,
    /// Where it computes.
    pub(super) device: DeviceChoice,
    /// Threads that it computes with on the CPU.
    pub(super) threads: usize,
    input: ChildStdin,
}

/// What comes from the process of a unit, in order.
#[derive(Debug)]
pub(super) enum Said {
    /// An event, and the line that it was.
    Event(Box<Event>, String),
    /// Something else, for a person.
    Line(String),
    /// The process is gone, with this exit status, and with this error if it said one.
    Ended(ExitStatus, Option<String>),
}

/// The program that this process runs.
fn program() -> io::Result<PathBuf> {
    // Not its path: another build may have been put there since.
    let running = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() {
        return Ok(running.to_path_buf());
    }
    std::env::current_exe()
}

/// A call of this program, which `ps` shows as such.
pub(super) fn command() -> io::Result<Command> {
    let mut command = Command::new(program()?);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::arg0(&mut command, env!("CARGO_PKG_NAME"));
    Ok(command)
}

impl Child {
    /// Lets `command` work on a unit of this experiment, with so many threads. All that it says goes to
    /// `sender`, and last its end.
    ///
    /// # Errors
    /// When no process can be started.
    pub(super) fn start(
        mut command: Command,
        unit: Unit,
        device: DeviceChoice,
        threads: usize,
        experiment: &Experiment,
        sender: SyncSender<(Unit, Said)>,
    ) -> io::Result<Self> {
        // The matrix products, our kernels, and the threads that decode pictures all go by this.
        let mut process = command
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let streams = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (Some(mut input), Some(output), Some(errors)) = streams else {
            unreachable!("all three were asked for");
        };
        // One that is gone already says why, which matters more.
        let _ = orders::hand_over(experiment, &mut input);
        let child = Self {
            unit,
            process: process.id(),
            device,
            threads,
            input,
        };
        let name = |what: &str| thread::Builder::new().name(format!("{what} {unit}"));
        let said = sender.clone();
        let listening = name("errors")
            .spawn(move || errors_of(errors, |line| drop(said.send((unit, Said::Line(line))))))?;
        name("events").spawn(move || {
            each_line(output, |line| {
                let said = match serde_json::from_str(&line) {
                    Ok(event) => Said::Event(Box::new(event), line),
                    Err(_) => Said::Line(line),
                };
                // When nobody listens any more, this process ends.
                drop(sender.send((unit, said)));
            });
            let error = listening.join().ok().flatten();
            // Where the system does not say how it ended, the run folder says whether it finished.
            let status = process.wait().unwrap_or_default();
            drop(sender.send((unit, Said::Ended(status, error))));
        })?;
        Ok(child)
    }

    /// Asks it to stop where nothing is lost.
    pub(super) fn ask_to_stop(&mut self) {
        // One that is gone has stopped.
        let _ = orders::ask_to_stop(&mut self.input);
    }
}

/// Passes the lines on standard error on; answers the error that the process ended with.
fn errors_of(errors: impl Read, mut line: impl FnMut(String)) -> Option<String> {
    let mut error = None;
    each_line(errors, |text| {
        let object: Option<Value> = serde_json::from_str(&text).ok();
        match object.filter(|object| object["event"] == "error") {
            Some(object) => error = object["message"].as_str().map(str::to_owned),
            None => line(text),
        }
    });
    error
}

/// Calls `line` with each line until the end; what is not text in it is replaced.
fn each_line(stream: impl Read, mut line: impl FnMut(String)) {
    let mut stream = BufReader::new(stream);
    let mut bytes = Vec::new();
    // What cannot be read any more has ended.
    while let Ok(1..) = stream.read_until(b'\n', &mut bytes) {
        line(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned());
        bytes.clear();
    }
}

/// How a process ended, for a person.
pub(super) fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            9 => " (SIGKILL, as the system does when memory is short)",
            11 => " (SIGSEGV)",
            6 => " (SIGABRT)",
            15 => " (SIGTERM)",
            _ => "",
        };
        return format!("signal {signal}{name} ended its process");
    }
    match status.code() {
        Some(code) => format!("its process ended with status {code}"),
        None => "its process ended".to_owned(),
    }
}
