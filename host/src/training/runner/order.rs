//! Which units of a run are done, in which order, and what each waits for.

use std::time::Instant;

use super::Runner;
use crate::event::{Event, Observer};
use crate::run::{Backlog, RunError, Unit};
use crate::training::TrainError;
use crate::training::start::StartFile;

impl Runner {
    /// The units of the run that nobody asked for by name, in order.
    pub fn units(&self) -> Vec<Unit> {
        Unit::of_run(self.division.len(), self.prepared.experiment())
    }

    /// The units that are finished, in order.
    ///
    /// # Errors
    /// When a result cannot be read.
    pub fn finished(&self) -> Result<Vec<Unit>, TrainError> {
        let mut finished = Vec::new();
        for unit in Unit::all(self.division.len()) {
            if self.folder.result(unit)?.is_some() {
                finished.push(unit);
            }
        }
        Ok(finished)
    }

    /// The unit with this name.
    ///
    /// # Errors
    /// When the run has no such unit.
    pub fn unit(&self, name: &str) -> Result<Unit, TrainError> {
        Unit::parse(name, self.division.len()).ok_or_else(|| TrainError::UnknownUnit {
            name: name.to_owned(),
            known: Unit::all(self.division.len())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Says what is to be done, and which of these units are finished already; answers the others, each
    /// once.
    ///
    /// # Errors
    /// When a file cannot be used that a unit begins with, or a finished unit is damaged.
    pub fn begin(
        &self,
        units: &[Unit],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Unit>, TrainError> {
        let (mut open, mut finished) = (Vec::new(), Vec::new());
        for unit in units {
            let list = match self.folder.result(*unit)? {
                Some(_) => &mut finished,
                None => &mut open,
            };
            if !list.contains(unit) {
                list.push(*unit);
            }
        }
        // A file that cannot be used is found out before anything is trained.
        for unit in &open {
            if let Unit::Train(phase) = unit {
                StartFile::of(self.prepared.experiment(), &self.division, *phase)?;
            }
        }
        observer.observe(&Event::RunStarted {
            experiment: self.prepared.experiment().name.clone(),
            folder: self.folder.path().display().to_string(),
            device: self.device.name.clone(),
            reason: self.device.reason.clone(),
            units: open.iter().map(ToString::to_string).collect(),
        })?;
        if let Some(text) = self.device.note.clone().filter(|_| !open.is_empty()) {
            observer.observe(&Event::Note { text })?;
        }
        self.tell_left_out(observer)?;
        for text in self.prepared.reproduced() {
            observer.observe(&Event::Note { text })?;
        }
        for replacement in &self.fallbacks {
            observer.observe(&Event::PluginReplaced(replacement.clone()))?;
        }
        for unit in finished {
            // What is said to be finished is there.
            self.folder.weights(unit, "run")?;
            // A process can have ended between the two.
            let kept = self.prepared.experiment().checkpoint;
            self.folder.finish_checkpoints(unit, kept)?;
            self.folder.forget_features(unit)?;
            observer.observe(&Event::UnitSkipped {
                unit: unit.to_string(),
            })?;
        }
        Ok(open)
    }

    /// Says that everything is done that was asked for since `begun`.
    ///
    /// # Errors
    /// When that cannot be shown.
    pub fn end(&self, begun: Instant, observer: &mut dyn Observer) -> Result<(), TrainError> {
        Ok(observer.observe(&Event::RunFinished {
            folder: self.folder.path().display().to_string(),
            seconds: begun.elapsed().as_secs_f64(),
        })?)
    }

    /// The order in which units can be done that are not finished, several at a time.
    ///
    /// # Errors
    /// When one of them needs a unit that is neither finished nor among them, or a result cannot be
    /// read.
    pub fn backlog(&self, units: &[Unit]) -> Result<Backlog, TrainError> {
        let finished = self.finished()?;
        let needed = |unit: Unit| {
            let mut needed = self.dependencies(unit);
            needed.retain(|needed| !finished.contains(needed));
            needed
        };
        Backlog::new(units, needed).map_err(|(unit, needed)| self.not_ready(unit, needed))
    }

    /// What a unit needs.
    pub(super) fn dependencies(&self, unit: Unit) -> Vec<Unit> {
        unit.dependencies(self.division.len(), self.prepared.experiment())
    }

    /// The error for a unit that comes too early.
    pub(super) fn not_ready(&self, unit: Unit, needed: Unit) -> TrainError {
        let not_ready = RunError::NotReady {
            unit: unit.to_string(),
            needed: needed.to_string(),
            path: self.folder.path().to_path_buf(),
        };
        not_ready.into()
    }

    /// Ends the run before this unit when somebody wants that.
    pub(super) fn stop_before(&self, unit: Unit) -> Result<(), TrainError> {
        if self.stop.is_asked() {
            return Err(Self::stopped_before(unit));
        }
        Ok(())
    }

    /// The end of a run before this unit.
    pub(super) fn stopped_before(unit: Unit) -> TrainError {
        TrainError::StoppedBefore {
            unit: unit.to_string(),
        }
    }
}
