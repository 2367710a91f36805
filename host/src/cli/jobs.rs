//! `incubate run --jobs N`: the units of a run in processes of their own, up to N at the same time, as
//! soon as what they need is finished. This process computes nothing: it shares cores or GPUs out, shows
//! what the others do, and passes requests to stop on.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use thiserror::Error;

use super::arguments::RunOptions;
use super::audience::Audience;
use super::board::Board;
use super::child::{self, Child, Said};
use super::exit::{self, Class};
use super::signals::Listening;
use crate::device::{self, DeviceChoice};
use crate::event::{Event, Observer};
use crate::experiment::Experiment;
use crate::run::{Backlog, Unit};
use crate::training::Runner;

/// Lines that may wait to be shown; whoever writes more waits.
const WAITING: usize = 1024;
/// The time between two looks at whether somebody asked to stop.
const LOOK: Duration = Duration::from_millis(50);

/// A unit that did not finish, and why.
#[derive(Debug, Error)]
#[error("{message}")]
pub(super) struct UnitFailed {
    class: Class,
    message: String,
}

impl UnitFailed {
    /// The end of a unit's process, which said this.
    fn new(unit: Unit, status: ExitStatus, error: Option<String>) -> Self {
        let class = exit::class_of(status.code());
        let message = error.unwrap_or_else(|| {
            if class.is_stop() {
                "stopped as asked before it began".to_owned()
            } else {
                child::ending(status)
            }
        });
        Self {
            class,
            message: if message.contains(&format!("`{unit}`")) {
                message
            } else {
                format!("unit `{unit}`: {message}")
            },
        }
    }

    /// Its exit status.
    pub(super) const fn class(&self) -> Class {
        self.class
    }

    /// What happened, for a line that begins with the unit.
    fn beside(&self, unit: Unit) -> &str {
        let name = format!("unit `{unit}`");
        let rest = self.message.strip_prefix(&name);
        rest.map_or(&self.message, |rest| {
            rest.trim_start_matches([',', ':', ' '])
        })
    }
}

/// A run whose units are shared out.
pub(super) struct Jobs<'a> {
    /// The run.
    pub(super) runner: &'a Runner,
    /// Its folder.
    pub(super) out: &'a Path,
    /// What was asked for.
    pub(super) options: &'a RunOptions,
    /// What the thread knows that answers signals.
    pub(super) board: &'a Board,
    /// Whoever asks to stop.
    pub(super) listening: &'a Listening,
}

/// Units on their way.
struct Shift<'a> {
    jobs: &'a Jobs<'a>,
    devices: Vec<DeviceChoice>,
    cores: usize,
    backlog: Backlog,
    running: Vec<Child>,
    sender: SyncSender<(Unit, Said)>,
    /// Whether the units under way were asked to stop, and no others begin.
    stopping: bool,
    /// Units that stopped.
    stopped: Vec<Unit>,
    /// What ended the run.
    failure: Option<Error>,
    /// The first unit that stopped although this process did not ask it to.
    deserted: Option<UnitFailed>,
    /// Whether nobody can be told anything any more.
    unheard: bool,
}

impl Jobs<'_> {
    /// Does these units.
    ///
    /// # Errors
    /// Those of the first unit that fails, after the others under way have stopped with checkpoints; or
    /// what [`Runner::begin`] and [`Runner::backlog`] refuse before any is begun.
    pub(super) fn run(&self, units: &[Unit], audience: &mut Audience<'_>) -> Result<()> {
        let begun = Instant::now();
        let software = self.options.device.allow_software_gpu;
        let devices = device::several(self.options.device.device, software)?;
        let open = self.runner.begin(units, audience)?;
        let backlog = self.runner.backlog(&open)?;
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let mut shift = Shift {
            jobs: self,
            devices,
            cores: rayon::current_num_threads(),
            backlog,
            running: Vec::new(),
            sender,
            stopping: false,
            stopped: Vec::new(),
            failure: None,
            deserted: None,
            unheard: false,
        };
        shift.work(&receiver, audience);
        shift.outcome()?;
        Ok(self.runner.end(begun, audience)?)
    }

    /// The command that does a unit on a device.
    fn command(&self, unit: Unit, device: DeviceChoice) -> Result<Command> {
        let mut command = child::command().context("this program cannot find itself")?;
        let mut out = OsString::from("--out=");
        out.push(self.out);
        command
            .args(["run", "--orders-from-stdin", "--json"])
            .arg(format!("--unit={unit}"))
            .arg(format!("--device={device}"))
            .arg(out);
        if self.options.device.allow_software_gpu {
            command.arg("--allow-software-gpu");
        }
        if let Some(mib) = self.options.record_plugins {
            command.arg(format!("--record-plugins={mib}"));
        }
        Ok(command)
    }

    /// The experiment for a process that has so many of the cores.
    fn experiment(&self, threads: usize, cores: usize) -> Experiment {
        let mut experiment = self.runner.experiment().clone();
        let decoding = &mut experiment.data.threads;
        *decoding = decoding.map(|all| (all * threads / cores).max(1));
        experiment
    }
}

impl Shift<'_> {
    /// Works until no process is left.
    fn work(&mut self, receiver: &Receiver<(Unit, Said)>, audience: &mut Audience<'_>) {
        let stop = self.jobs.listening.stop();
        loop {
            if stop.is_asked() {
                self.stop();
            }
            if !self.stopping
                && let Err(error) = self.begin_ready(audience)
            {
                self.fail(error);
            }
            if self.running.is_empty() {
                return;
            }
            if let Ok((unit, said)) = receiver.recv_timeout(LOOK)
                && let Err(error) = self.hear(unit, said, audience)
            {
                self.fail(error);
            }
        }
    }

    /// Begins what can begin, as far as there is room. The cores that are free are shared out equally,
    /// so that all of them together have no more threads than cores, and one alone has all.
    fn begin_ready(&mut self, audience: &mut Audience<'_>) -> Result<()> {
        let room = usize::from(self.jobs.options.jobs).saturating_sub(self.running.len());
        let mut ready = self.backlog.ready();
        ready.truncate(room);
        let taken: usize = self.running.iter().map(|child| child.threads).sum();
        let shares = shares(self.cores.saturating_sub(taken), ready.len());
        for (unit, threads) in ready.into_iter().zip(shares) {
            let device = self.freest();
            let child = Child::start(
                self.jobs.command(unit, device)?,
                unit,
                device,
                threads,
                &self.jobs.experiment(threads, self.cores),
                self.sender.clone(),
            )
            .with_context(|| format!("unit `{unit}`: cannot start a process for it"))?;
            let started = Event::ProcessStarted {
                unit: unit.to_string(),
                process: child.process,
                device: device.to_string(),
                threads,
            };
            self.backlog.begin(unit);
            self.running.push(child);
            audience.observe(&started)?;
        }
        Ok(())
    }

    /// The device on which the fewest processes work.
    fn freest(&self) -> DeviceChoice {
        let working = |device: DeviceChoice| {
            let there = self.running.iter().filter(|child| child.device == device);
            there.count()
        };
        let devices = self.devices.iter().copied();
        devices
            .min_by_key(|device| working(*device))
            .unwrap_or(DeviceChoice::Cpu)
    }

    /// Asks every process to stop, once.
    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.running.iter_mut().for_each(Child::ask_to_stop);
        }
    }

    /// Ends the run because of this error, if it is the first.
    fn fail(&mut self, error: Error) {
        self.stop();
        self.failure.get_or_insert(error);
    }

    /// Takes over what a process said.
    fn hear(&mut self, unit: Unit, said: Said, audience: &mut Audience<'_>) -> Result<()> {
        match said {
            // What it says of the whole run was said before it began.
            Said::Event(event, line)
                if event.unit() == Some(&unit.to_string()) && !self.unheard =>
            {
                let told = audience.pass_on(&event, &line);
                self.unheard = told.is_err();
                Ok(told?)
            }
            Said::Event(..) => Ok(()),
            Said::Line(line) => {
                // A closed standard error has nobody left to tell.
                let _ = self.jobs.board.unit_line(&unit.to_string(), &line);
                Ok(())
            }
            Said::Ended(status, error) => {
                self.running.retain(|child| child.unit != unit);
                audience.forget(&unit.to_string());
                self.ended(unit, status, error)
            }
        }
    }

    /// Takes over how a process ended.
    fn ended(&mut self, unit: Unit, status: ExitStatus, error: Option<String>) -> Result<()> {
        if status.success() {
            if self.jobs.runner.finished()?.contains(&unit) {
                self.backlog.finish(unit);
                return Ok(());
            }
            let message = "its process ended before it was finished".to_owned();
            return Err(UnitFailed::new(unit, status, Some(message)).into());
        }
        let failed = UnitFailed::new(unit, status, error);
        let stopped = failed.class.is_stop();
        if stopped {
            self.stopped.push(unit);
        } else if self.failure.is_none() {
            return Err(failed.into());
        }
        // As above.
        let _ = self
            .jobs
            .board
            .unit_line(&unit.to_string(), failed.beside(unit));
        if stopped && !self.stopping {
            // A terminal sends Ctrl-C to all processes, so this one may yet learn of it.
            self.deserted = Some(failed);
            self.stop();
        }
        Ok(())
    }

    /// What came of it when no process is left.
    fn outcome(self) -> Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.stopped.is_empty() && self.backlog.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.stopped.iter().map(ToString::to_string).collect();
        let what = match names.as_slice() {
            [] => "stopped as asked between two units".to_owned(),
            names => format!("stopped as asked in {}", names.join(", ")),
        };
        match (self.jobs.listening.interrupted(what), self.deserted) {
            (Some(interrupted), _) => Err(interrupted.into()),
            (None, Some(deserted)) => Err(deserted.into()),
            (None, None) => unreachable!("nothing stops a run but a signal or a unit"),
        }
    }
}

/// `cores` in `parts`, as equal as can be, each at least 1.
fn shares(cores: usize, parts: usize) -> impl Iterator<Item = usize> {
    (0..parts).map(move |part| (cores / parts + usize::from(part < cores % parts)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_out_equally() {
        for (cores, parts, expected) in [
            (8, 1, vec![8]),
            (8, 2, vec![4, 4]),
            (8, 3, vec![3, 3, 2]),
            (2, 3, vec![1, 1, 1]),
            (0, 1, vec![1]),
            (4, 0, vec![]),
        ] {
            assert_eq!(shares(cores, parts).collect::<Vec<_>>(), expected);
        }
    }
}
