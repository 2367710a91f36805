//! Which process this is, and whether another one still lives: told apart without trusting that a
//! process number, or the name of a machine, is used only once.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

/// A process on some machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The name of its machine, for a person.
    pub host: String,
    /// Its number there.
    pub process: u32,
    /// What two processes share that see the same numbers: the machine since it was started, and the
    /// process namespace. Empty where that is not known; then nothing is concluded from a number.
    #[serde(default)]
    pub machine: String,
    /// When it began, in ticks since the machine was started.
    #[serde(default)]
    pub begun: u64,
}

/// What the system says about a process number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// When the process began.
    begun: u64,
    /// Whether it ended and waits for its parent to hear of it.
    ended: bool,
    /// Whether somebody suspended it.
    suspended: bool,
}

impl Process {
    /// This process.
    pub fn this() -> Self {
        let process = std::process::id();
        Self {
            host: host(),
            process,
            machine: machine(),
            begun: find(process).map_or(0, |found| found.begun),
        }
    }

    /// Whether it is known to have ended: it was on this machine, and is not there any more.
    pub fn is_gone(&self) -> bool {
        if self.machine.is_empty() || self.machine != machine() {
            return false;
        }
        find(self.process).is_none_or(|found| found.ended || found.begun != self.begun)
    }

    /// Whether it is known to work: it is on this machine, and nobody suspended it.
    pub fn is_awake(&self) -> bool {
        !self.machine.is_empty()
            && self.machine == machine()
            && find(self.process)
                .is_some_and(|found| found.begun == self.begun && !found.ended && !found.suspended)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} on {}", self.process, self.host)
    }
}

/// The name of this machine.
fn host() -> String {
    let file = |path| fs::read_to_string(path).ok();
    file("/proc/sys/kernel/hostname")
        .or_else(|| file("/etc/hostname"))
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "an unnamed machine".to_owned())
}

/// This machine since it was started, with the namespace of process numbers.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        _ => String::new(),
    }
}

/// What `/proc` says about a process.
fn find(process: u32) -> Option<Found> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in brackets, can have anything in it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let begun = fields.nth(18)?.parse().ok()?;
    Some(Found {
        begun,
        ended: matches!(state, "Z" | "X"),
        suspended: matches!(state, "T" | "t"),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_there_until_it_ends() {
        assert!(Process::this().is_awake() && !Process::this().is_gone());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process {
            process: child.id(),
            begun: find(child.id()).unwrap().begun,
            ..Process::this()
        };
        assert!(process.is_awake());
        child.kill().unwrap();
        // Nobody has asked how it ended yet, so its number is still taken.
        while !process.is_gone() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(process.is_gone() && !process.is_awake());
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_the_process() {
        let mut other = Process::this();
        other.begun += 1;
        assert!(other.is_gone());
    }

    #[test]
    fn nothing_is_concluded_about_another_machine() {
        for machine in ["", "another boot"] {
            let other = Process {
                machine: machine.to_owned(),
                process: u32::MAX,
                ..Process::this()
            };
            assert!(!other.is_gone() && !other.is_awake(), "{machine}");
        }
    }
}
