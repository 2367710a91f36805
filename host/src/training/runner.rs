//! Running units on a run folder, in their order, each only once.

mod import;
mod open;
mod order;
mod provenance;
mod resume;

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Module;

use super::assembly::{Assembly, Built};
use super::cost::{EqualCompute, trained};
use super::evaluation::{Answers, Validation};
use super::fallback::Standby;
use super::features::FrozenFeatures;
use super::guides::{Guides, Seen, Wanted};
use super::phase::{Outcome, PhaseTraining};
use super::report::Report;
use super::{PhaseCost, Prepared, TeacherFile, TrainError};
use crate::device::Chosen;
use crate::event::{Event, Observer, Replacement};
use crate::experiment::{Experiment, Teacher};
use crate::model::{Network, Trained, network_to_safetensors, stage_to_safetensors};
use crate::phase::Phase;
use crate::plugin::{Context, LossHook, ModuleDepth};
use crate::random::Seed;
use crate::run::{CallWriter, Change, Found, RunError, RunFolder, Unit, UnitResult};
use crate::stop::Stop;

pub use import::{ImportError, ImportOutcome};
pub use open::Changed;

/// Updates between two reads of losses, on a device where a read makes training wait.
const READ_EVERY_ON_GPU: usize = 20;

/// A run that can train its units.
#[derive(Debug)]
pub struct Runner {
    /// The experiment with its plugins.
    prepared: Prepared,
    /// The division into modules.
    division: Vec<ModuleDepth>,
    /// The partition scheme that failed and was replaced, if it was.
    fallbacks: Vec<Replacement>,
    /// How the experiment changed since the run began.
    changes: Vec<Change>,
    /// The run folder.
    folder: RunFolder,
    /// The device that trains.
    device: Chosen,
    /// Whether somebody asked to stop.
    stop: Stop,
}

/// An observer that keeps events in a unit's log and passes them on.
struct Both<'a> {
    log: crate::run::EventWriter,
    next: &'a mut dyn Observer,
}

impl Both<'_> {
    /// Passes on what stands in the log already.
    fn again(&mut self, event: &Event) -> std::io::Result<()> {
        self.next.observe(event)
    }
}

impl Observer for Both<'_> {
    fn observe(&mut self, event: &Event) -> std::io::Result<()> {
        self.log.observe(event)?;
        self.next.observe(event)
    }
}

impl Runner {
    /// Lets the run end early when `stop` is asked: at the next place where nothing is lost.
    #[must_use]
    pub fn stopping_at(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// Does these units, skipping those that are finished.
    ///
    /// # Errors
    /// When a unit fails or lacks what it needs. Finished units stay finished.
    pub fn run(&self, units: &[Unit], observer: &mut dyn Observer) -> Result<(), TrainError> {
        let begun = Instant::now();
        for unit in self.begin(units, observer)? {
            self.stop_before(unit)?;
            self.finish(unit, observer)?;
        }
        self.end(begun, observer)
    }

    /// Every setting in force.
    pub fn experiment(&self) -> &Experiment {
        self.prepared.experiment()
    }

    /// The table of what is finished.
    ///
    /// # Errors
    /// When a result cannot be read.
    pub fn report(&self) -> Result<Report, TrainError> {
        let experiment = self.prepared.experiment();
        let classes = experiment.model.classes();
        let kept = &experiment.assembly.meta;
        let mut report = Report::new(&self.folder, &self.division, classes, kept, &self.fallbacks)?;
        report.left_out = self.left_out();
        report.changes.clone_from(&self.changes);
        Ok(report)
    }

    /// Scores the network of a finished unit on the validation pictures.
    ///
    /// # Errors
    /// When the unit is not finished or its files are damaged.
    pub fn evaluate(&self, unit: Unit) -> Result<Answers, TrainError> {
        let network = self.assembly().finished(unit)?;
        self.answers(&network, unit)
    }

    /// Does one unit.
    fn finish(&self, unit: Unit, observer: &mut dyn Observer) -> Result<(), TrainError> {
        for needed in self.dependencies(unit) {
            if self.folder.result(needed)?.is_none() {
                return Err(self.not_ready(unit, needed));
            }
        }
        let told = |text: &str, observer: &mut dyn Observer| {
            observer.observe(&Event::UnitNote {
                unit: unit.to_string(),
                note: text.to_owned(),
            })
        };
        let Some(lease) = self
            .folder
            .hold(unit, &self.stop, |text| told(text, observer))?
        else {
            return Err(Self::stopped_before(unit));
        };
        // Whoever held the unit until now may have finished it.
        if self.folder.result(unit)?.is_some() {
            return Ok(observer.observe(&Event::UnitSkipped {
                unit: unit.to_string(),
            })?);
        }
        self.work(unit, lease.taken_over(), observer)
            // Whatever failed: that the unit belongs to another process now comes before it.
            .map_err(|error| match self.folder.check_lease() {
                Err(lost @ RunError::LeaseLost { .. }) => lost.into(),
                _ => error,
            })
    }

    /// Does a unit that this process holds, after it was taken over from another if there is a
    /// sentence that says so.
    fn work(
        &self,
        unit: Unit,
        taken_over: Option<&str>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let begun = Instant::now();
        let found = self.resume_point(unit)?;
        let (log, missing) = match &found.newest {
            Some(stored) => self
                .folder
                .event_writer_from(unit, stored.state.events_bytes)?,
            None => (self.folder.event_writer(unit)?, 0),
        };
        let mut both = Both {
            log,
            next: observer,
        };
        let mut note = |note: String| {
            both.observe(&Event::UnitNote {
                unit: unit.to_string(),
                note,
            })
        };
        if let Some(text) = taken_over {
            note(text.to_owned())?;
        }
        if missing > 0 {
            note(format!(
                "`events.jsonl` was damaged: {missing} bytes of it are missing"
            ))?;
        }
        let spent = found.newest.as_ref().map(|stored| stored.state.spent.unit);
        self.folder.forget_failure(unit, found.newest.is_none())?;
        let (weights, mut result) = match unit {
            Unit::Train(phase) => self
                .train(phase, found, begun, &mut both)
                .map_err(|error| self.leave_failure(unit, error))?,
            Unit::Assemble => self.assemble(&mut both)?,
        };
        result.seconds = (spent.unwrap_or_default() + begun.elapsed()).as_secs_f64();
        let finished = Event::UnitFinished {
            unit: unit.to_string(),
            loss: result.loss,
            accuracy: result.accuracy,
            top5: result.top5,
            seconds: result.seconds,
        };
        // The result makes the unit finished, so the log is complete before.
        both.log.observe(&finished)?;
        self.folder.finish(unit, &weights, result)?;
        let kept = self.prepared.experiment().checkpoint;
        self.folder.finish_checkpoints(unit, kept)?;
        self.folder.forget_features(unit)?;
        both.again(&finished)?;
        Ok(())
    }

    /// Writes the call of a plugin down that ended a unit, so that it can be made again. A call that
    /// cannot be written leaves the error as it was, which matters more.
    fn leave_failure(&self, unit: Unit, error: TrainError) -> TrainError {
        let TrainError::PluginFailed { source, .. } = &error else {
            return error;
        };
        let file = source
            .recording()
            .and_then(|recording| self.folder.write_failure(unit, None, &recording).ok()?);
        match file {
            Some(file) => TrainError::Recorded {
                source: Box::new(error),
                file,
            },
            None => error,
        }
    }

    /// Trains one phase.
    fn train(
        &self,
        phase: Phase,
        found: Found,
        begun: Instant,
        observer: &mut Both<'_>,
    ) -> Result<(Vec<u8>, UnitResult), TrainError> {
        let experiment = self.prepared.experiment();
        let plugins = self.prepared.phase(phase);
        let cost = self.cost(phase);
        let features = FrozenFeatures::plan(&self.prepared, phase, &cost)?;
        let built = self.assembly().initial(phase)?;
        let guides = self.guides(phase)?;
        let origin = self.origin(&built.from);
        let unit = phase.to_string();
        let started = Event::UnitStarted {
            unit: unit.clone(),
            epochs: cost.epochs,
            updates: cost.updates(),
            batch: experiment.phase(phase).batch,
            trained_parameters: built.network.trained_parameter_count(),
        };
        let notes = built.notes.into_iter().chain(features.note());
        let notes = notes.map(|note| Event::UnitNote {
            unit: unit.clone(),
            note,
        });
        let beginning: Vec<Event> = std::iter::once(started).chain(notes).collect();
        match &found.newest {
            Some(stored) => {
                self.belongs(stored, &origin)?;
                for event in &beginning {
                    observer.again(event)?;
                }
                self.tell_resumed(phase, stored, &found.damaged, observer)?;
            }
            None => {
                for event in &beginning {
                    observer.observe(event)?;
                }
                for reason in &found.damaged {
                    observer.observe(&Event::UnitNote {
                        unit: unit.clone(),
                        note: format!("{reason}; no other is left, and the unit begins again"),
                    })?;
                }
            }
        }
        let architecture = experiment.architecture(phase);
        let forward = |meta: &Network| {
            architecture
                .training_macs(&meta.depths(), Trained::All)
                .forward
        };
        let meta_macs = guides.meta.as_ref().map_or(0, forward);
        let teacher = plugins.teacher.as_ref();
        let teacher_macs = teacher.map_or(0, TeacherFile::forward_macs);
        let training = PhaseTraining {
            phase,
            config: experiment.phase(phase),
            cost,
            plugins,
            dataset: &self.prepared.resolved.dataset,
            picture_size: self.picture_size(Unit::Train(phase)),
            seed: experiment.seed,
            reference: &experiment.reference,
            device: &self.device.device,
            guides,
            kept: features.kept(),
            folder: &self.folder,
            read_every: if self.device.waits_for_reads {
                READ_EVERY_ON_GPU
            } else {
                1
            },
            counts_work: self.device.waits_for_reads,
            checkpoints: experiment.checkpoint,
            origin,
            device_name: &self.device.name,
            stop: &self.stop,
            begun,
            spent_before: found
                .newest
                .as_ref()
                .map(|stored| stored.state.spent.unit)
                .unwrap_or_default(),
        };
        let unit = Unit::Train(phase);
        let calls = self
            .prepared
            .record_calls
            .map(|room| match &found.newest {
                Some(stored) => {
                    let written = stored.state.calls_bytes;
                    self.folder.call_writer_from(unit, written, room)
                }
                None => self.folder.call_writer(Some(unit), room),
            })
            .transpose()?;
        let missing = calls.as_ref().map_or(0, CallWriter::missing);
        if missing > 0 {
            observer.observe(&Event::UnitNote {
                unit: unit.to_string(),
                note: format!("`calls.jsonl` was damaged: {missing} bytes of it are missing"),
            })?;
        }
        let outcome = if cost.epochs == 0 {
            Outcome {
                score: self.answers(&built.network, Unit::Train(phase))?.score(),
                network: built.network,
                fallbacks: Vec::new(),
                roll_backs: Vec::new(),
                seen: Seen::default(),
                reached: BTreeMap::new(),
                changed: false,
            }
        } else {
            training.train(built.network, found.newest, calls, observer)?
        };
        let network = outcome.network;
        let lost: u64 = outcome.roll_backs.iter().map(|one| one.lost).sum();
        let updates = cost.updates() + lost;
        let pictures = cost.pictures() + lost * experiment.phase(phase).batch as u64;
        // What lies behind the last output that the loss depends on is not differentiated.
        let depths = network.depths();
        let saved = |last: usize| {
            let whole = architecture.training_macs(&depths, trained(phase)).backward;
            whole - architecture.backward_macs(&depths, trained(phase), last)
        };
        let saved: u128 = outcome
            .reached
            .iter()
            .map(|(last, pictures)| u128::from(*pictures) * u128::from(saved(*last)))
            .sum();
        let result = UnitResult {
            epochs: cost.epochs,
            updates,
            pictures,
            forward_macs: u128::from(pictures) * u128::from(cost.macs.forward)
                - u128::from(outcome.seen.spared) * u128::from(cost.frozen_macs)
                + u128::from(outcome.seen.kept) * u128::from(cost.frozen_macs)
                + u128::from(outcome.seen.meta) * u128::from(meta_macs)
                + u128::from(outcome.seen.teacher) * u128::from(teacher_macs),
            backward_macs: u128::from(pictures) * u128::from(cost.macs.backward) - saved,
            fallbacks: outcome.fallbacks,
            roll_backs: outcome.roll_backs,
            changed: outcome.changed,
            ..self.result(Unit::Train(phase), &network, outcome.score, built.from)
        };
        let mut metadata = self.metadata(Unit::Train(phase), &network, &result);
        let decay = experiment.phase(phase).ema;
        if decay > 0.0 {
            metadata.insert("incubate.average".to_owned(), decay.to_string());
        }
        let weights = match trained(phase) {
            Trained::All => network_to_safetensors(&network, &metadata),
            Trained::Module(index) => stage_to_safetensors(&network.stages()[index], &metadata),
        };
        Ok((weights, result))
    }

    /// Puts the modules together and scores the result.
    fn assemble(&self, observer: &mut dyn Observer) -> Result<(Vec<u8>, UnitResult), TrainError> {
        observer.observe(&Event::UnitStarted {
            unit: Unit::Assemble.to_string(),
            epochs: 0,
            updates: 0,
            batch: 0,
            trained_parameters: 0,
        })?;
        let Built { network, from, .. } = self.assembly().assemble()?;
        let score = self.answers(&network, Unit::Assemble)?.score();
        let result = UnitResult {
            trained_parameters: 0,
            ..self.result(Unit::Assemble, &network, score, from)
        };
        let metadata = self.metadata(Unit::Assemble, &network, &result);
        Ok((network_to_safetensors(&network, &metadata), result))
    }

    /// The length and cost of a phase.
    fn cost(&self, phase: Phase) -> PhaseCost {
        EqualCompute {
            experiment: self.prepared.experiment(),
            division: &self.division,
            pictures: self.prepared.resolved.dataset.train.len(),
        }
        .phase(phase)
    }

    /// The frozen networks that the loss of this phase compares with.
    fn guides(&self, phase: Phase) -> Result<Guides, TrainError> {
        let context = Context {
            seed: Seed(self.prepared.experiment().seed),
            phase,
        };
        let mut wanted = Wanted::default();
        for part in &self.prepared.phase(phase).loss {
            let hook = Standby::<LossHook>::start(&part.configured, context, &part.name);
            let hook = hook.map_err(|source| TrainError::PluginRefused {
                role: format!("{}.{}", phase.kind(), part.name),
                source,
            })?;
            wanted.meta_features |= hook.hook().needs().meta_features;
            wanted.teacher |= hook.hook().asks_teacher();
        }
        let mut guides = Guides::default();
        let teacher = self.prepared.experiment().phase(phase).teacher.as_ref();
        guides.meta_teaches = wanted.teacher && teacher == Some(&Teacher::Meta);
        if guides.meta_teaches || wanted.meta_features && phase.module().is_some() {
            let meta = self.assembly().finished(Unit::Train(Phase::Meta))?;
            let size = self.picture_size(Unit::Train(phase));
            guides.meta = Some(meta.for_pictures(size).valid());
        }
        if let Some(file) = self.prepared.phase(phase).teacher.as_ref()
            && wanted.teacher
        {
            guides.teacher = Some(file.network(&self.device.device)?);
        }
        Ok(guides)
    }

    /// Height and width of the pictures of a unit's network.
    fn picture_size(&self, unit: Unit) -> usize {
        unit.architecture(self.prepared.experiment()).input()[1]
    }

    /// What the network of a unit says about the validation pictures, in batches as while training.
    fn answers(&self, network: &Network, unit: Unit) -> Result<Answers, TrainError> {
        let config = self.prepared.experiment().phase(unit.phase());
        let batch = config.batch / config.accumulation;
        let dataset = &self.prepared.resolved.dataset;
        Validation::new(dataset, self.picture_size(unit), batch)?
            .evaluate(network, &self.device.device, &self.stop)?
            .ok_or_else(|| Self::stopped_before(unit))
    }

    /// What builds networks from the run folder.
    fn assembly(&self) -> Assembly<'_> {
        Assembly {
            experiment: self.prepared.experiment(),
            division: &self.division,
            folder: &self.folder,
            device: &self.device.device,
        }
    }
}
