//! Running units on a run folder, in their order, each only once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use toml::Table;

use super::assembly::{Assembly, Built};
use super::cost::{EqualCompute, trained};
use super::division::{Division, divide};
use super::evaluation::{Score, evaluate};
use super::fallback::Standby;
use super::guides::{Guides, Wanted};
use super::phase::PhaseTraining;
use super::report::Report;
use super::{PhaseCost, Prepared, TeacherFile, TrainError, weights};
use crate::device::Chosen;
use crate::digest;
use crate::event::{Event, Observer, Replacement};
use crate::experiment::Teacher;
use crate::model::{Network, Trained, network_to_safetensors, stage_to_safetensors};
use crate::phase::Phase;
use crate::plugin::{Context, LossHook, ModuleDepth};
use crate::random::Seed;
use crate::run::{FORMAT, RunError, RunFolder, RunRecord, Unit, UnitResult};

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
    /// The run folder.
    folder: RunFolder,
    /// The device that trains.
    device: Chosen,
}

/// An observer that keeps events in a unit's log and passes them on.
struct Both<'a> {
    log: crate::run::EventWriter,
    next: &'a mut dyn Observer,
}

impl Observer for Both<'_> {
    fn observe(&mut self, event: &Event) -> std::io::Result<()> {
        self.log.observe(event)?;
        self.next.observe(event)
    }
}

impl Runner {
    /// Opens the run in `path`, or begins one there.
    ///
    /// # Errors
    /// When the folder holds something else, another experiment, or the plugins or pictures
    /// changed since the run began; when the partition scheme fails.
    pub fn open(prepared: Prepared, path: &Path, device: Chosen) -> Result<Self, TrainError> {
        let toml = toml::to_string(prepared.experiment()).map_err(|error| {
            std::io::Error::other(format!("cannot write the experiment as TOML: {error}"))
        })?;
        let plugins = prepared.records();
        let teachers = prepared.teachers();
        let data_sha256 = prepared.resolved.dataset.digest.clone();
        let (folder, division, fallbacks) =
            if let Some((folder, experiment, record)) = RunFolder::open(path)? {
                let (recorded, given) = (experiment.identity(), prepared.experiment().identity());
                if recorded != given {
                    return Err(RunError::OtherExperiment {
                        path: path.to_path_buf(),
                        differences: differences(&recorded, &given),
                    }
                    .into());
                }
                for (role, before) in &record.plugins {
                    if let Some(now) = plugins.get(role)
                        && now.sha256 != before.sha256
                    {
                        return Err(TrainError::Changed {
                            what: format!("the plugin for `{role}` ({})", before.origin),
                            before: before.sha256.clone(),
                            now: now.sha256.clone(),
                        });
                    }
                }
                for (phase, before) in &record.teachers {
                    if let Some(now) = teachers.get(phase)
                        && now != before
                    {
                        return Err(TrainError::Changed {
                            what: format!("the teacher of `{phase}`"),
                            before: before.clone(),
                            now: now.clone(),
                        });
                    }
                }
                if record.data_sha256 != data_sha256 {
                    return Err(TrainError::Changed {
                        what: "the pictures".to_owned(),
                        before: record.data_sha256,
                        now: data_sha256,
                    });
                }
                (folder, record.division, record.fallbacks)
            } else {
                let Division {
                    depths: division,
                    replaced,
                    calls,
                } = divide(&prepared, &device.device)?;
                weights::check_grants(&prepared, &division)?;
                let record = RunRecord {
                    format: FORMAT,
                    host_version: env!("CARGO_PKG_VERSION").to_owned(),
                    experiment_sha256: digest::sha256(toml.as_bytes()),
                    data_sha256,
                    teachers,
                    plugins,
                    division,
                    fallbacks: replaced.into_iter().collect(),
                };
                let folder = RunFolder::create(path, &toml, &record)?;
                if let Some(bytes) = prepared.record_calls {
                    let mut writer = folder.call_writer(None, bytes)?;
                    for call in &calls {
                        writer.write(call)?;
                    }
                }
                (folder, record.division, record.fallbacks)
            };
        Ok(Self {
            prepared,
            division,
            fallbacks,
            folder,
            device,
        })
    }

    /// Every unit of the run, in order.
    pub fn units(&self) -> Vec<Unit> {
        Unit::all(self.division.len())
    }

    /// The units that are finished, in order.
    ///
    /// # Errors
    /// When a result cannot be read.
    pub fn finished(&self) -> Result<Vec<Unit>, TrainError> {
        let mut finished = Vec::new();
        for unit in self.units() {
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
            known: self
                .units()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Does these units, skipping those that are finished.
    ///
    /// # Errors
    /// When a unit fails or lacks what it needs. Finished units stay finished.
    pub fn run(&self, units: &[Unit], observer: &mut dyn Observer) -> Result<(), TrainError> {
        let begun = Instant::now();
        let (mut open, mut finished) = (Vec::new(), Vec::new());
        for unit in units {
            let list = match self.folder.result(*unit)? {
                Some(_) => &mut finished,
                None => &mut open,
            };
            list.push(*unit);
        }
        observer.observe(&Event::RunStarted {
            experiment: self.prepared.experiment().name.clone(),
            folder: self.folder.path().display().to_string(),
            device: self.device.name.clone(),
            reason: self.device.reason.clone(),
            units: open.iter().map(ToString::to_string).collect(),
        })?;
        for replacement in &self.fallbacks {
            observer.observe(&Event::PluginReplaced(replacement.clone()))?;
        }
        for unit in finished {
            observer.observe(&Event::UnitSkipped {
                unit: unit.to_string(),
            })?;
        }
        for unit in open {
            self.finish(unit, observer)?;
        }
        observer.observe(&Event::RunFinished {
            folder: self.folder.path().display().to_string(),
            seconds: begun.elapsed().as_secs_f64(),
        })?;
        Ok(())
    }

    /// The table of what is finished.
    ///
    /// # Errors
    /// When a result cannot be read.
    pub fn report(&self) -> Result<Report, TrainError> {
        Report::new(&self.folder, &self.division, &self.fallbacks)
    }

    /// Scores the network of a finished unit on the validation pictures.
    ///
    /// # Errors
    /// When the unit is not finished or its files are damaged.
    pub fn evaluate(&self, unit: Unit) -> Result<Score, TrainError> {
        let network = self.assembly().finished(unit)?;
        let batch = match unit {
            Unit::Train(phase) => self.prepared.experiment().phase(phase).batch,
            Unit::Assemble => self.prepared.experiment().fine_tune.batch,
        };
        self.score(&network, batch)
    }

    /// Does one unit.
    fn finish(&self, unit: Unit, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let taught_by_meta = matches!(unit, Unit::Train(phase)
            if self.prepared.experiment().phase(phase).teacher == Some(Teacher::Meta));
        let teacher = taught_by_meta.then_some(Unit::Train(Phase::Meta));
        let needs = unit.dependencies(self.division.len());
        for needed in needs.into_iter().chain(teacher) {
            if self.folder.result(needed)?.is_none() {
                return Err(RunError::NotReady {
                    unit: unit.to_string(),
                    needed: needed.to_string(),
                    path: self.folder.path().to_path_buf(),
                }
                .into());
            }
        }
        let mut both = Both {
            log: self.folder.event_writer(unit)?,
            next: observer,
        };
        let begun = Instant::now();
        self.folder.forget_failure(unit)?;
        let (weights, mut result) = match unit {
            Unit::Train(phase) => self
                .train(phase, &mut both)
                .map_err(|error| self.leave_failure(unit, error))?,
            Unit::Assemble => self.assemble(&mut both)?,
        };
        result.seconds = begun.elapsed().as_secs_f64();
        let result = self.folder.finish(unit, &weights, result)?;
        both.observe(&Event::UnitFinished {
            unit: unit.to_string(),
            loss: result.loss,
            accuracy: result.accuracy,
            seconds: result.seconds,
        })?;
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
        observer: &mut dyn Observer,
    ) -> Result<(Vec<u8>, UnitResult), TrainError> {
        let experiment = self.prepared.experiment();
        let plugins = self.prepared.phase(phase);
        let cost = self.cost(phase);
        let built = self.assembly().initial(phase)?;
        let guides = self.guides(phase)?;
        observer.observe(&Event::UnitStarted {
            unit: phase.to_string(),
            epochs: cost.epochs,
            updates: cost.updates(),
            batch: experiment.phase(phase).batch,
            trained_parameters: built.network.trained_parameter_count(),
        })?;
        let meta_macs = guides.meta.as_ref();
        let meta_macs = meta_macs.map_or(0, |meta| self.forward_macs(meta));
        let teacher = plugins.teacher.as_ref();
        let teacher_macs = teacher.map_or(0, TeacherFile::forward_macs);
        let training = PhaseTraining {
            phase,
            config: experiment.phase(phase),
            cost,
            plugins,
            dataset: &self.prepared.resolved.dataset,
            picture_size: self.picture_size(),
            seed: experiment.seed,
            device: &self.device.device,
            guides,
            folder: &self.folder,
            read_every: if self.device.waits_for_reads {
                READ_EVERY_ON_GPU
            } else {
                1
            },
        };
        let calls = self
            .prepared
            .record_calls
            .map(|bytes| self.folder.call_writer(Some(Unit::Train(phase)), bytes))
            .transpose()?;
        let outcome = training.train(built.network, calls, observer)?;
        let network = outcome.network;
        // What lies behind the last output that the loss depends on is not differentiated.
        let depths = network.depths();
        let backward_macs = outcome.reached.iter().map(|(last, pictures)| {
            let model = &experiment.model;
            pictures * model.backward_macs(&depths, trained(phase), *last)
        });
        let backward_macs = backward_macs.sum();
        let result = UnitResult {
            epochs: cost.epochs,
            updates: cost.updates(),
            pictures: cost.pictures(),
            forward_macs: cost.pictures() * cost.macs.forward
                + outcome.seen.meta * meta_macs
                + outcome.seen.teacher * teacher_macs,
            backward_macs,
            fallbacks: outcome.fallbacks,
            ..self.result(Unit::Train(phase), &network, outcome.score, built.from)
        };
        let metadata = self.metadata(&result);
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
        let Built { network, from } = self.assembly().assemble()?;
        let score = self.score(&network, self.prepared.experiment().fine_tune.batch)?;
        let result = UnitResult {
            trained_parameters: 0,
            ..self.result(Unit::Assemble, &network, score, from)
        };
        Ok((
            network_to_safetensors(&network, &self.metadata(&result)),
            result,
        ))
    }

    /// The length and cost of a phase.
    fn cost(&self, phase: Phase) -> PhaseCost {
        EqualCompute {
            architecture: &self.prepared.experiment().model,
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
            guides.meta = Some(meta.valid());
        }
        if let Some(file) = self.prepared.phase(phase).teacher.as_ref()
            && wanted.teacher
        {
            guides.teacher = Some(file.network(&self.device.device)?);
        }
        Ok(guides)
    }

    /// Forward MACs of one picture through a network.
    fn forward_macs(&self, network: &Network) -> u64 {
        let architecture = &self.prepared.experiment().model;
        architecture
            .training_macs(&network.depths(), Trained::All)
            .forward
    }

    /// Height and width of a picture.
    fn picture_size(&self) -> usize {
        self.prepared.experiment().model.input()[1]
    }

    /// Scores a network.
    fn score(&self, network: &Network, batch: usize) -> Result<Score, TrainError> {
        let dataset = &self.prepared.resolved.dataset;
        evaluate(
            network,
            dataset,
            self.picture_size(),
            batch,
            &self.device.device,
        )
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

    /// A result without the length, the compute, and the digest.
    fn result(
        &self,
        unit: Unit,
        network: &Network,
        score: Score,
        built_from: BTreeMap<String, String>,
    ) -> UnitResult {
        UnitResult {
            unit: unit.to_string(),
            device: self.device.name.clone(),
            loss: score.loss,
            accuracy: score.accuracy,
            parameters: network.parameter_count(),
            trained_parameters: network.trained_parameter_count(),
            epochs: 0,
            updates: 0,
            pictures: 0,
            forward_macs: 0,
            backward_macs: 0,
            seconds: 0.0,
            weights_sha256: String::new(),
            built_from,
            fallbacks: Vec::new(),
        }
    }

    /// What a file of weights says about what made it.
    fn metadata(&self, result: &UnitResult) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            (
                "incubate.version".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
            (
                "incubate.experiment".to_owned(),
                self.prepared.experiment().name.clone(),
            ),
            ("incubate.unit".to_owned(), result.unit.clone()),
            (
                "incubate.seed".to_owned(),
                self.prepared.experiment().seed.to_string(),
            ),
            ("incubate.accuracy".to_owned(), result.accuracy.to_string()),
            ("incubate.loss".to_owned(), result.loss.to_string()),
            (
                "incubate.data_sha256".to_owned(),
                self.prepared.resolved.dataset.digest.clone(),
            ),
            ("incubate.division".to_owned(), json(&self.division)),
            (
                "incubate.model".to_owned(),
                json(&self.prepared.experiment().model),
            ),
            ("incubate.built_from".to_owned(), json(&result.built_from)),
        ]);
        for (role, plugin) in self.prepared.records() {
            metadata.insert(
                format!("incubate.plugin.{role}"),
                format!(
                    "{}@{} sha256:{}",
                    plugin.name, plugin.version, plugin.sha256
                ),
            );
        }
        metadata
    }
}

/// A value as JSON; plain data always has one.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The settings in which two experiments differ, one a line.
pub(super) fn differences(recorded: &Table, given: &Table) -> String {
    let flat = |experiment: &Table| {
        let mut flat = BTreeMap::new();
        flatten(&mut flat, "", experiment);
        flat
    };
    let recorded = flat(recorded);
    let given = flat(given);
    let absent = || "absent".to_owned();
    let mut keys: Vec<&String> = recorded.keys().chain(given.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| recorded.get(*key) != given.get(*key))
        .map(|key| {
            format!(
                "  {key}: {} in the folder, {} asked for",
                recorded.get(key).cloned().unwrap_or_else(absent),
                given.get(key).cloned().unwrap_or_else(absent)
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every leaf of a table by its dotted key.
fn flatten(flat: &mut BTreeMap<String, String>, prefix: &str, table: &Table) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => flatten(flat, &format!("{key}."), inner),
            _ => {
                flat.insert(key, value.to_string());
            }
        }
    }
}
