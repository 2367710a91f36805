//! Training of one phase: batches in, weights out, events on the way.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::cost::PhaseCost;
use super::error::{Place, replay_command};
use super::evaluation::{Score, evaluate};
use super::fallback::Standby;
use super::metrics::{Measured, PendingMetrics};
use super::{PhasePlugins, TrainError};
use crate::data::{Batch, Dataset, Loader, Part};
use crate::event::{Event, Observer, Replacement};
use crate::experiment::PhaseConfig;
use crate::model::{DropPath, Forward, Network, trained_weights};
use crate::optimizer::{
    AdamWConfig, Decay, Group as ParameterGroup, Optimizer, OptimizerError, Stepped,
};
use crate::phase::Phase;
use crate::plugin::{
    Context, Group, LossHook, LossInputs, Message, Moment, PluginError, Schedule, StepInfo,
    Stepping,
};
use crate::random::Seed;
use crate::run::{CallWriter, RunFolder, Unit};
use crate::tensor::{AnyTensor, TensorError};

/// The longest time between two reports of what the plugins cost, when updates are reported.
const BETWEEN_COSTS: Duration = Duration::from_secs(10);

/// Everything that training of one phase needs.
#[derive(Debug)]
pub(super) struct PhaseTraining<'a> {
    /// The phase.
    pub(super) phase: Phase,
    /// Its settings.
    pub(super) config: &'a PhaseConfig,
    /// Its length.
    pub(super) cost: PhaseCost,
    /// Its plugins.
    pub(super) plugins: &'a PhasePlugins,
    /// The pictures.
    pub(super) dataset: &'a Dataset,
    /// Height and width of a picture.
    pub(super) picture_size: usize,
    /// The seed of every draw.
    pub(super) seed: u64,
    /// The device that trains; its tensors record gradients.
    pub(super) device: &'a Device,
    /// The whole meta model, recording no gradients, for hooks that compare with its features.
    pub(super) meta: Option<Network>,
    /// Where failed calls of plugins are written down.
    pub(super) folder: &'a RunFolder,
    /// Updates between two reads of losses off the device.
    pub(super) read_every: usize,
}

/// What training gives.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The trained network.
    pub(super) network: Network,
    /// Its score after the last epoch.
    pub(super) score: Score,
    /// Plugins that failed and were replaced, in order.
    pub(super) fallbacks: Vec<Replacement>,
}

/// What changes while a phase is trained.
struct State<'a> {
    network: Network,
    optimizer: Optimizer,
    schedule: Standby<'a, Schedule>,
    loss: Standby<'a, LossHook>,
    fallbacks: Vec<Replacement>,
    pending: PendingMetrics,
    /// The rate of every group; fixed for an epoch when the schedule steps by epochs.
    rates: [f64; ParameterGroup::ALL.len()],
    /// The update that is under way, from 0.
    update: u64,
    epoch: u32,
    /// Time spent in updates.
    trained_for: Duration,
    /// Time that the plugins took outside of updates: to start, and to hear of evaluations.
    besides: Duration,
    /// When the observer was last told what the plugins cost.
    cost_told: Instant,
    /// Where calls of the plugins are recorded, while there is room.
    calls: Option<CallWriter>,
    observer: &'a mut dyn Observer,
}

impl PhaseTraining<'_> {
    /// Trains `network` and evaluates it; calls of the plugins are recorded in `calls`.
    ///
    /// # Errors
    /// When a picture, a plugin, or the loss fails, with the place in the run.
    pub(super) fn train(
        &self,
        network: Network,
        calls: Option<CallWriter>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        let start = |source| TrainError::PluginFailed {
            place: self.place(0, 0),
            source,
        };
        let seed = Seed(self.seed);
        let context = Context {
            seed,
            phase: self.phase,
        };
        let begun = Instant::now();
        let mut state = State {
            optimizer: Optimizer::new(self.optimizer_config(), &network, self.phase),
            network,
            schedule: Standby::start(&self.plugins.schedule, context).map_err(start)?,
            loss: Standby::start(&self.plugins.loss, context).map_err(start)?,
            fallbacks: Vec::new(),
            pending: PendingMetrics::default(),
            rates: [0.0; ParameterGroup::ALL.len()],
            update: 0,
            epoch: 0,
            trained_for: Duration::ZERO,
            besides: Duration::ZERO,
            cost_told: Instant::now(),
            calls,
            observer,
        };
        state.besides = begun.elapsed();
        if state.calls.is_some() {
            state.schedule.record_calls();
            state.loss.record_calls();
        }
        self.pass_on_messages(&mut state)?;
        let loader = Loader::new(
            self.dataset,
            Part::Train,
            self.picture_size,
            self.config.batch,
            Some(self.config.augmentation.clone()),
            seed,
            self.phase,
        )?;
        let mut score = None;
        for epoch in 0..self.cost.epochs {
            state.epoch = epoch;
            let begun = Instant::now();
            for (index, batch) in loader.epoch(u64::from(epoch)).enumerate() {
                self.update(&mut state, index as u64, &batch?)?;
                if state.pending.len() >= self.read_every {
                    self.report(&mut state, begun)?;
                }
            }
            self.report(&mut state, begun)?;
            state.trained_for += begun.elapsed();
            let trained_for = state.trained_for;
            self.plugin_cost(&mut state, trained_for)?;
            let last = epoch + 1 == self.cost.epochs;
            if last || (epoch as usize + 1).is_multiple_of(self.config.evaluate_every) {
                score = Some(self.evaluate(&mut state)?);
            }
        }
        // The last epoch is always evaluated, and there is at least one.
        let score = score.ok_or_else(|| std::io::Error::other("a phase of no epochs"))?;
        Ok(Outcome {
            network: state.network,
            score,
            fallbacks: state.fallbacks,
        })
    }

    /// Where the run is.
    fn place(&self, epoch: u32, update: u64) -> Place {
        Place {
            unit: self.phase.to_string(),
            epoch,
            update,
        }
    }

    /// A plugin's failure with its place.
    fn failed(&self, state: &State<'_>, source: PluginError) -> TrainError {
        TrainError::PluginFailed {
            place: self.place(state.epoch, state.update),
            source,
        }
    }

    /// AdamW's settings; every phase leaves the embeddings undecayed, as the paper's recipe does
    /// outside of one phase.
    fn optimizer_config(&self) -> AdamWConfig {
        AdamWConfig {
            beta_1: self.config.betas[0],
            beta_2: self.config.betas[1],
            epsilon: self.config.epsilon,
            weight_decay: self.config.weight_decay,
            clip: (self.config.clip > 0.0).then_some(self.config.clip),
            decay: Decay::default(),
        }
    }

    /// One update: the batch in parts, then one step of the optimizer.
    fn update(&self, state: &mut State<'_>, index: u64, batch: &Batch) -> Result<(), TrainError> {
        self.set_rates(state, index)?;
        state
            .pending
            .begin(state.epoch, state.update, state.rates[0]);
        let parts = self.config.accumulation;
        let pictures = batch.shape[0] / parts;
        for part in 0..parts {
            self.accumulate(state, batch, part * pictures, pictures, index)?;
        }
        let Stepped {
            network,
            gradient_norm,
        } = state
            .optimizer
            .step(state.network.clone(), &state.rates)
            .map_err(|source| self.not_connected(state, source))?;
        state.network = network;
        if let Some(norm) = gradient_norm {
            state.pending.set_gradient_norm(norm);
        }
        state.update += 1;
        Ok(())
    }

    /// Forward and backward of `pictures` pictures of the batch from `first` on.
    fn accumulate(
        &self,
        state: &mut State<'_>,
        batch: &Batch,
        first: usize,
        pictures: usize,
        index: u64,
    ) -> Result<(), TrainError> {
        let [_, channels, height, width] = batch.shape;
        let picture = channels * height * width;
        let plain = self.device.clone().inner();
        let slice =
            |values: &[f32], size: usize| values[first * size..(first + pictures) * size].to_vec();
        let images = TensorData::new(
            slice(&batch.images, picture),
            [pictures, channels, height, width],
        );
        let images = Tensor::<4>::from_data(images, &plain);
        let labels = TensorData::new(batch.labels[first..first + pictures].to_vec(), [pictures]);
        let labels = Tensor::<1, Int>::from_data(labels, &plain);
        let soft_targets = batch.soft_targets.as_ref().map(|targets| {
            let classes = targets.len() / batch.shape[0];
            let data = TensorData::new(slice(targets, classes), [pictures, classes]);
            Tensor::<2>::from_data(data, &plain)
        });
        let samples = batch.indices[first..first + pictures]
            .iter()
            .map(|index| *index as u64)
            .collect();
        let drop_path = DropPath::new(
            self.config.drop_path,
            Seed(self.seed),
            self.phase,
            u64::from(state.epoch),
            samples,
        );
        let forward = match self.phase {
            Phase::Module(target) => {
                state
                    .network
                    .forward_hybrid(images.clone(), target, &drop_path)
            }
            _ => state.network.forward(images.clone().autodiff(), &drop_path),
        };
        let meta = self
            .meta
            .as_ref()
            .map(|meta| meta.forward(images, &DropPath::off()));
        let logits = forward.logits.clone().inner();
        let inputs = Self::loss_inputs(state, forward, meta, &labels, soft_targets)
            .map_err(|source| self.unusable(state, source))?;
        let step = StepInfo {
            update: state.update,
            updates: self.cost.updates(),
            epoch: self.epoch_at(state, index),
            classes: self.dataset.classes.len() as u32,
            pictures: pictures as u32,
        };
        let place = (state.epoch, state.update);
        let loss = state
            .loss
            .ask(place, |hook| hook.compute(&step, inputs.clone()));
        self.pass_on_messages(state)?;
        let loss = loss.map_err(|source| self.failed(state, source))?;
        let loss = loss
            .into_scalar_tensor()
            .map_err(|source| self.unusable(state, source))?;
        state.pending.add(loss.clone().inner(), logits, labels);
        // The hook answers a mean over this part; the update's loss is the mean over its parts.
        let share = loss.div_scalar(self.config.accumulation as f64);
        state
            .optimizer
            .accumulate(&state.network, share)
            .map_err(|source| self.not_connected(state, source))
    }

    /// The error for tensors that do not make a loss.
    fn unusable(&self, state: &State<'_>, source: TensorError) -> TrainError {
        TrainError::Loss {
            place: self.place(state.epoch, state.update),
            plugin: state.loss.plugin().identity().to_string(),
            source,
        }
    }

    /// The error for a loss that gives the trained weights no gradient.
    fn not_connected(&self, state: &State<'_>, source: OptimizerError) -> TrainError {
        TrainError::NotConnected {
            place: self.place(state.epoch, state.update),
            plugin: state.loss.plugin().identity().to_string(),
            source,
        }
    }

    /// What the hook is given.
    fn loss_inputs(
        state: &State<'_>,
        forward: Forward,
        meta: Option<Forward>,
        labels: &Tensor<1, Int>,
        soft_targets: Option<Tensor<2>>,
    ) -> Result<LossInputs, TensorError> {
        let features = |boundaries: Vec<Tensor<3>>| {
            boundaries
                .into_iter()
                .enumerate()
                .map(|(module, tensor)| Ok((module as u32, AnyTensor::from_tensor(tensor)?)))
                .collect::<Result<Vec<_>, TensorError>>()
        };
        let network = if state.loss.hook().needs().network_features {
            forward.boundaries
        } else {
            Vec::new()
        };
        let meta = meta.map_or_else(Vec::new, |meta| meta.boundaries);
        let weights = match state.loss.hook().weights() {
            Some(granted) => trained_weights(&state.network, |name| granted.allow(name))?,
            None => Vec::new(),
        };
        Ok(LossInputs {
            logits: AnyTensor::from_tensor(forward.logits)?,
            class_ids: AnyTensor::from_ids(labels.clone().autodiff())?,
            soft_targets: soft_targets
                .map(|targets| AnyTensor::from_tensor(targets.autodiff()))
                .transpose()?,
            network_features: features(network)?,
            meta_features: features(meta.into_iter().map(Tensor::autodiff).collect())?,
            weights,
        })
    }

    /// The epoch with its fraction, at the batch `index` of the current epoch.
    fn epoch_at(&self, state: &State<'_>, index: u64) -> f64 {
        f64::from(state.epoch) + index as f64 / self.cost.updates_per_epoch as f64
    }

    /// Asks the schedule for the rate of every group, when it is time to.
    fn set_rates(&self, state: &mut State<'_>, index: u64) -> Result<(), TrainError> {
        let per_epoch = state.schedule.hook().stepping() == Stepping::PerEpoch;
        if per_epoch && index > 0 {
            return Ok(());
        }
        let asked = self.ask_rates(state, index);
        // The rates of all groups come from the same plugin.
        let asked = match asked {
            Ok(()) if state.schedule.was_just_replaced() => self.ask_rates(state, index),
            asked => asked,
        };
        self.pass_on_messages(state)?;
        asked
    }

    /// Asks the schedule for the rate of every group. One that takes the place of another within an
    /// epoch, and steps by epochs, is asked for the beginning of the epoch.
    fn ask_rates(&self, state: &mut State<'_>, index: u64) -> Result<(), TrainError> {
        let (epoch, update) = (state.epoch, state.update);
        let exact = self.epoch_at(state, index);
        for (position, group) in ParameterGroup::ALL.into_iter().enumerate() {
            let rate = state.schedule.ask((epoch, update), |schedule| {
                schedule.rate(&match schedule.stepping() {
                    Stepping::PerUpdate => self.moment(update, exact, group.name(), position),
                    Stepping::PerEpoch => {
                        self.moment(update - index, f64::from(epoch), group.name(), position)
                    }
                })
            });
            state.rates[position] = rate.map_err(|source| self.failed(state, source))?;
        }
        Ok(())
    }

    /// The question to the schedule.
    fn moment<'m>(&self, update: u64, epoch: f64, name: &'m str, index: usize) -> Moment<'m> {
        Moment {
            update,
            updates: self.cost.updates(),
            epoch,
            epochs: self.cost.epochs,
            base_rate: self.config.base_rate(),
            group: Group {
                name,
                index: index as u32,
            },
        }
    }

    /// Reads the waiting numbers, refuses a loss that is not finite, and tells the observer.
    fn report(&self, state: &mut State<'_>, begun: Instant) -> Result<(), TrainError> {
        let measured = state.pending.read();
        let trained_for = state.trained_for + begun.elapsed();
        if state.cost_told.elapsed() >= BETWEEN_COSTS {
            self.plugin_cost(state, trained_for)?;
        }
        let seconds = trained_for.as_secs_f64();
        let pictures_per_second = state.update as f64 * self.config.batch as f64 / seconds;
        for Measured {
            epoch,
            update,
            rate,
            loss,
            accuracy,
            gradient_norm,
        } in measured
        {
            if !loss.is_finite() {
                return Err(TrainError::NotFinite {
                    place: self.place(epoch, update),
                    loss,
                    plugin: state.loss.plugin().identity().to_string(),
                    rate,
                });
            }
            state.observer.observe(&Event::Update {
                unit: self.phase.to_string(),
                epoch,
                update,
                loss,
                accuracy,
                rate,
                gradient_norm,
                pictures_per_second,
            })?;
        }
        Ok(())
    }

    /// Scores the network after an epoch and tells schedule and observer.
    fn evaluate(&self, state: &mut State<'_>) -> Result<Score, TrainError> {
        let batch = self.config.batch / self.config.accumulation;
        let score = evaluate(
            &state.network,
            self.dataset,
            self.picture_size,
            batch,
            self.device,
        )?;
        let moment = self.moment(state.update, f64::from(state.epoch + 1), "", 0);
        let begun = Instant::now();
        let metrics = [("loss", score.loss), ("accuracy", score.accuracy)];
        let place = (state.epoch, state.update);
        let observed = state
            .schedule
            .ask(place, |schedule| schedule.observe(&moment, &metrics));
        state.besides += begun.elapsed();
        self.pass_on_messages(state)?;
        observed.map_err(|source| self.failed(state, source))?;
        state.observer.observe(&Event::Evaluated {
            unit: self.phase.to_string(),
            epoch: state.epoch,
            loss: score.loss,
            accuracy: score.accuracy,
        })?;
        Ok(score)
    }

    /// Writes recorded calls down until the room for them is used up.
    fn keep_calls(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let Some(writer) = &mut state.calls else {
            return Ok(());
        };
        let mut recordings = state.schedule.drain_recordings();
        recordings.extend(state.loss.drain_recordings());
        for recording in &recordings {
            if !writer.write(recording)? {
                let event = Event::RecordingStopped {
                    unit: self.phase.to_string(),
                    file: writer.path().display().to_string(),
                    calls: writer.calls(),
                };
                state.schedule.stop_recording();
                state.loss.stop_recording();
                state.calls = None;
                return Ok(state.observer.observe(&event)?);
            }
        }
        Ok(())
    }

    /// Tells the observer that a plugin was replaced, and keeps the call in which it failed.
    fn tell_replaced(
        &self,
        state: &mut State<'_>,
        (replacement, failed): (Replacement, PluginError),
    ) -> Result<(), TrainError> {
        let event = Event::PluginReplaced(replacement.clone());
        state.observer.observe(&event)?;
        let unit = Unit::Train(self.phase);
        if let Some(recording) = failed.recording()
            && let Some(file) =
                self.folder
                    .write_failure(unit, Some(&replacement.role), &recording)?
        {
            state.observer.observe(&Event::FailureRecorded {
                unit: unit.to_string(),
                command: replay_command(&file),
                file: file.display().to_string(),
            })?;
        }
        state.fallbacks.push(replacement);
        Ok(())
    }

    /// Hands the plugins' recorded calls and messages on, and says which plugin was replaced.
    fn pass_on_messages(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        self.keep_calls(state)?;
        let mut messages = state.schedule.drain_messages();
        messages.extend(state.loss.drain_messages());
        let news = [state.schedule.take_news(), state.loss.take_news()];
        for replaced in news.into_iter().flatten() {
            self.tell_replaced(state, replaced)?;
        }
        for (plugin, message) in messages {
            let unit = self.phase.to_string();
            let plugin = plugin.to_owned();
            let event = match message {
                Message::Log { level, text, .. } => Event::PluginMessage {
                    unit,
                    plugin,
                    level: level.to_string(),
                    message: text,
                },
                Message::Metric { name, value, .. } => Event::PluginMetric {
                    unit,
                    plugin,
                    name,
                    value,
                },
            };
            state.observer.observe(&event)?;
        }
        Ok(())
    }

    /// Tells the observer what the plugins cost in `trained_for`, the time of all updates.
    fn plugin_cost(&self, state: &mut State<'_>, trained_for: Duration) -> Result<(), TrainError> {
        state.cost_told = Instant::now();
        let seconds = (trained_for + state.besides).as_secs_f64();
        let schedule = state.schedule.used().map(|used| ("schedule", used));
        let loss = state.loss.used().map(|used| ("loss", used));
        for (role, (plugin, statistics, spent)) in schedule.chain(loss) {
            state.observer.observe(&Event::PluginCost {
                unit: self.phase.to_string(),
                role: role.to_owned(),
                plugin: plugin.to_owned(),
                calls: statistics.calls,
                operations: statistics.operations,
                readbacks: statistics.readbacks,
                fuel: statistics.fuel,
                guest_seconds: spent.guest.as_secs_f64(),
                host_seconds: spent.host.as_secs_f64(),
                seconds,
                share: spent.total().as_secs_f64() / seconds,
            })?;
        }
        Ok(())
    }
}
