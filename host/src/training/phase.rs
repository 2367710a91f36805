//! Training of one phase: batches in, weights out, events on the way.

mod checkpoint;
mod divergence;
mod features;
mod news;
mod rates;
mod step;
mod terms;
mod work;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::cost::PhaseCost;
use super::error::{Listed, Place};
use super::evaluation::{Score, Validation};
use super::fallback::Standby;
use super::features::KeptFeatures;
use super::guides::{Guides, Seen};
use super::metrics::{Measured, PendingMetrics};
use super::{PhasePlugins, TrainError};
use crate::data::{Batch, Dataset, Loader, Next, Part};
use crate::event::{Event, Observer, Replacement, RollBack};
use crate::experiment::{CheckpointConfig, Compatibility, Defect, PhaseConfig};
use crate::model::{Network, Noise, Numerics, Precision};
use crate::optimizer::{AdamWConfig, Average, Decay, Group as ParameterGroup, Optimizer, Stepped};
use crate::phase::Phase;
use crate::plugin::{Context, PluginError, Schedule};
use crate::random::Seed;
use crate::run::{
    CallWriter, CheckpointOrigin, CheckpointWriter, FeatureReader, RunFolder, Stored, Unit,
};
use crate::stop::Stop;
use terms::Terms;
use work::Work;

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
    /// Defects of the reference implementation that are reproduced.
    pub(super) reference: &'a Compatibility,
    /// The device that trains; its tensors record gradients.
    pub(super) device: &'a Device,
    /// The frozen networks that hooks compare with; they record no gradients.
    pub(super) guides: Guides,
    /// What of the frozen stages before the trained module is computed once, if that is wanted.
    pub(super) kept: Option<KeptFeatures>,
    /// Where failed calls of plugins are written down, and features are kept.
    pub(super) folder: &'a RunFolder,
    /// Updates between two reads of losses off the device.
    pub(super) read_every: usize,
    /// Whether the observer is told what updates ask of the device.
    pub(super) counts_work: bool,
    /// When checkpoints are written.
    pub(super) checkpoints: CheckpointConfig,
    /// What a checkpoint of this training comes from.
    pub(super) origin: CheckpointOrigin,
    /// The device, in words.
    pub(super) device_name: &'a str,
    /// Whether somebody asked to stop.
    pub(super) stop: &'a Stop,
    /// When this process began the unit, or went on with it.
    pub(super) begun: Instant,
    /// The time that went into the unit before.
    pub(super) spent_before: Duration,
}

/// What training gives.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The trained network; the average over its updates, if the phase takes one.
    pub(super) network: Network,
    /// Its score after the last epoch.
    pub(super) score: Score,
    /// Plugins that failed and were replaced, in order.
    pub(super) fallbacks: Vec<Replacement>,
    /// How often it went back to a checkpoint, in order.
    pub(super) roll_backs: Vec<RollBack>,
    /// Pictures that the frozen networks saw.
    pub(super) seen: Seen,
    /// Pictures by the last module that the gradient of their loss entered from behind.
    pub(super) reached: BTreeMap<usize, u64>,
    /// Whether the experiment changed meanwhile.
    pub(super) changed: bool,
}

/// What changes while a phase is trained.
struct State<'a> {
    network: Network,
    /// The moving average of its weights, if the phase takes one.
    average: Option<Average>,
    optimizer: Optimizer,
    schedule: Standby<'a, Schedule>,
    loss: Terms<'a>,
    seen: Seen,
    reached: BTreeMap<usize, u64>,
    /// Whether the experiment changed since the unit began.
    changed: bool,
    fallbacks: Vec<Replacement>,
    roll_backs: Vec<RollBack>,
    /// What the rates of the schedule are multiplied by.
    rate_factor: f64,
    /// An update within an epoch to which training goes back when it diverges.
    point_at: Option<u64>,
    pending: PendingMetrics,
    /// What the updates since the last report asked of the device.
    work: Work,
    /// The pictures of every evaluation.
    validation: Validation,
    /// What frozen stages make of the pictures, where it is computed once.
    features: Option<FeatureReader>,
    /// The rate of every group as the schedule gave it; fixed for an epoch when it steps by epochs.
    rates: [f64; ParameterGroup::ALL.len()],
    /// The update that is under way, from 0.
    update: u64,
    epoch: u32,
    /// The next batch of the epoch, from 0.
    index: u64,
    /// The last evaluation.
    score: Option<Score>,
    /// Whether that was of the weights as they are.
    evaluated: bool,
    /// Time spent in updates.
    trained_for: Duration,
    /// Time that the plugins took outside of updates: to start, and to hear of evaluations.
    besides: Duration,
    /// When the observer was last told what the plugins cost.
    cost_told: Instant,
    /// Where calls of the plugins are recorded, while there is room.
    calls: Option<CallWriter>,
    /// What writes checkpoints.
    writer: CheckpointWriter,
    /// When the last checkpoint was taken.
    written: Instant,
    /// Whether somebody was told why there are none.
    unsaved_told: bool,
    /// Whether it was said that checkpoints are left out.
    left_out_told: bool,
    observer: &'a mut dyn Observer,
}

impl PhaseTraining<'_> {
    /// Trains `network` and evaluates it, from its beginning or from a checkpoint; calls of the plugins
    /// are recorded in `calls`.
    ///
    /// # Errors
    /// When a picture, a plugin, or the loss fails, with the place in the run; when a checkpoint cannot
    /// be written, or the one to go on from does not fit; [`TrainError::Stopped`] after a request to
    /// stop.
    pub(super) fn train(
        &self,
        network: Network,
        resumed: Option<Stored>,
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
            average: (self.config.ema > 0.0)
                .then(|| Average::new(&network, self.config.ema, self.config.ema_warm_up)),
            network: network.computing(self.config.numerics()),
            schedule: Standby::start(&self.plugins.schedule, context, "schedule").map_err(start)?,
            loss: Terms::start(&self.plugins.loss, context).map_err(start)?,
            seen: Seen::default(),
            reached: BTreeMap::new(),
            changed: false,
            fallbacks: Vec::new(),
            roll_backs: Vec::new(),
            rate_factor: 1.0,
            point_at: None,
            pending: PendingMetrics::default(),
            work: Work::default(),
            validation: Validation::new(
                self.dataset,
                self.picture_size,
                self.config.batch / self.config.accumulation,
            )?,
            features: None,
            rates: [0.0; ParameterGroup::ALL.len()],
            update: 0,
            epoch: 0,
            index: 0,
            score: None,
            evaluated: false,
            trained_for: Duration::ZERO,
            besides: Duration::ZERO,
            cost_told: Instant::now(),
            calls,
            writer: self
                .folder
                .checkpoint_writer(Unit::Train(self.phase), self.checkpoints)
                .with_roll_back_points(self.rolls_back()),
            written: Instant::now(),
            unsaved_told: false,
            left_out_told: false,
            observer,
        };
        if let Some(stored) = resumed {
            self.restore(&mut state, stored)?;
        }
        state.besides += begun.elapsed();
        if state.calls.is_some() {
            state.schedule.record_calls();
            state.loss.record_calls();
        }
        self.pass_on_messages(&mut state)?;
        let mut loader = Loader::new(
            self.dataset,
            Part::Train,
            self.picture_size,
            self.config.batch,
            Some(self.config.augmentation.clone()),
            seed,
            self.phase,
        )?;
        self.keep_features(&mut state)?;
        if state.features.is_some() && self.guides.is_empty() {
            loader = loader.without_pictures();
        }
        self.begin_roll_back(&mut state)?;
        while state.epoch < self.cost.epochs {
            if let Err(error) = self.epoch(&mut state, &loader) {
                self.recover(&mut state, error)?;
            }
        }
        state.writer.wait()?;
        // The last epoch is always evaluated, and there is at least one.
        let score = state
            .score
            .ok_or_else(|| std::io::Error::other("a phase of no epochs"))?;
        Ok(Outcome {
            network: Self::result(&state),
            score,
            fallbacks: state.fallbacks,
            roll_backs: state.roll_backs,
            seen: state.seen,
            reached: state.reached,
            changed: state.changed,
        })
    }

    /// What is left of an epoch, and its end.
    fn epoch(&self, state: &mut State<'_>, loader: &Loader) -> Result<(), TrainError> {
        let begun = Instant::now();
        let first = usize::try_from(state.index).unwrap_or(usize::MAX);
        let mut batches = loader.epoch_from(u64::from(state.epoch), first);
        loop {
            let batch = match batches.next_unless(self.stop)? {
                Next::Batch(batch) => batch,
                Next::End => break,
                // Nothing of this update was done.
                Next::Stopped => return Err(self.stopped(state, begun)),
            };
            state.work.begin(state.update);
            self.update(state, state.index, *batch)?;
            let arrived = if state.pending.len() >= self.read_every {
                let arrived = state.pending.ask();
                self.tell_work(state)?;
                arrived
            } else {
                state.pending.take_arrived()
            };
            if !arrived.is_empty() {
                self.tell(state, arrived, begun)?;
            }
            if self.stop.is_asked() {
                return Err(self.stopped(state, begun));
            }
            if self.is_due(state) {
                self.write_checkpoint(state, begun)?;
            }
        }
        self.report(state, begun)?;
        state.trained_for += begun.elapsed();
        let trained_for = state.trained_for;
        self.plugin_cost(state, trained_for)?;
        let last = state.epoch + 1 == self.cost.epochs;
        if last || (state.epoch as usize + 1).is_multiple_of(self.config.evaluate_every) {
            let Some(score) = self.evaluate(state)? else {
                // The next process begins with the evaluation.
                return Err(self.stopped(state, Instant::now()));
            };
            state.score = Some(score);
            state.evaluated = true;
        }
        state.epoch += 1;
        state.index = 0;
        let now = Instant::now();
        if self.is_kept(state) || self.rolls_back() && !last {
            self.write_checkpoint(state, now)?;
        }
        if self.stop.is_asked() && !last {
            return Err(self.stopped(state, now));
        }
        Ok(())
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

    /// AdamW's settings. The embeddings do not decay, as in the paper's recipe outside of one phase,
    /// and gradients are clipped in every precision; the reference implementation does neither when
    /// it is to be reproduced.
    fn optimizer_config(&self) -> AdamWConfig {
        let unclipped =
            self.config.precision == Precision::Float32 && self.reference.has(Defect::NoClipping);
        AdamWConfig {
            beta_1: self.config.betas[0],
            beta_2: self.config.betas[1],
            epsilon: self.config.epsilon,
            weight_decay: self.config.weight_decay,
            clip: (self.config.clip > 0.0 && !unclipped).then_some(self.config.clip),
            decay: if self.reference.has(Defect::EmbeddingDecay) {
                Decay::Reference
            } else {
                Decay::Standard
            },
            layer_decay: self.config.layer_decay,
        }
    }

    /// What is left out of a pass over these pictures.
    fn noise(&self, epoch: u32, samples: Vec<u64>) -> Noise {
        let noise = Noise::new(
            self.config.noise_rates(),
            Seed(self.seed),
            self.phase,
            u64::from(epoch),
            samples,
        );
        if self.reference.has(Defect::TrainModeMeta) {
            noise.in_frozen_stages()
        } else {
            noise
        }
    }

    /// What the phase has reached: the average of the weights where there is one. It computes in
    /// float32, so that whoever evaluates the weights gets the same score.
    fn result(state: &State<'_>) -> Network {
        let network = match &state.average {
            Some(average) => average.network(&state.network),
            None => state.network.clone(),
        };
        network.computing(Numerics::default())
    }

    /// One update: the batch in parts, then one step of the optimizer.
    fn update(
        &self,
        state: &mut State<'_>,
        index: u64,
        mut batch: Batch,
    ) -> Result<(), TrainError> {
        self.set_rates(state, index)?;
        let rates = state.rates.map(|rate| rate * state.rate_factor);
        state.pending.begin(state.epoch, state.update, rates[0]);
        let parts = self.config.accumulation;
        let pictures = batch.shape[0] / parts;
        for part in 0..parts {
            self.accumulate(state, &mut batch, part * pictures, pictures, index)?;
        }
        let Stepped {
            network,
            gradient_norm,
        } = state
            .optimizer
            .step(state.network.clone(), &rates)
            .map_err(|source| self.not_connected(state, source))?;
        state.network = network;
        if let Some(average) = &mut state.average {
            average.update(&state.network);
        }
        if let Some(norm) = gradient_norm {
            state.pending.set_gradient_norm(norm);
        }
        state.update += 1;
        state.index += 1;
        state.evaluated = false;
        Ok(())
    }

    /// Waits for the numbers of all updates up to now, and tells them.
    fn report(&self, state: &mut State<'_>, begun: Instant) -> Result<(), TrainError> {
        let measured = state.pending.read();
        self.tell_work(state)?;
        self.tell(state, measured, begun)
    }

    /// Refuses a loss that is not finite, and tells the observer the numbers of updates.
    fn tell(
        &self,
        state: &mut State<'_>,
        measured: Vec<Measured>,
        begun: Instant,
    ) -> Result<(), TrainError> {
        let trained_for = state.trained_for + begun.elapsed();
        if state.cost_told.elapsed() >= BETWEEN_COSTS {
            self.plugin_cost(state, trained_for)?;
        }
        let seconds = trained_for.as_secs_f64();
        // A GPU may not have done the updates after these yet.
        let done = measured.last().map_or(state.update, |last| last.update + 1);
        let pictures_per_second = done as f64 * self.config.batch as f64 / seconds;
        for Measured {
            epoch,
            update,
            rate,
            loss,
            terms,
            accuracy,
            gradient_norm,
            not_finite,
        } in measured
        {
            if !loss.is_finite() {
                let name = |index: &usize| self.dataset.train.name(*index);
                return Err(TrainError::NotFinite {
                    place: self.place(epoch, update),
                    loss,
                    plugin: state.loss.identities(),
                    rate,
                    pictures: Listed(not_finite.iter().map(name).collect()),
                });
            }
            state.observer.observe(&Event::Update {
                unit: self.phase.to_string(),
                epoch,
                update,
                loss,
                terms,
                accuracy,
                rate,
                gradient_norm,
                pictures_per_second,
            })?;
        }
        Ok(())
    }

    /// Scores the network after an epoch and tells schedule and observer; nothing when somebody asks
    /// to stop meanwhile.
    fn evaluate(&self, state: &mut State<'_>) -> Result<Option<Score>, TrainError> {
        let network = Self::result(state);
        let answers = state
            .validation
            .evaluate(&network, self.device, self.stop)?;
        let Some(score) = answers.map(|answers| answers.score()) else {
            return Ok(None);
        };
        if !score.loss.is_finite() {
            return Err(TrainError::NotFiniteScore {
                place: self.place(state.epoch, state.update),
                loss: score.loss,
            });
        }
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
            top5: Some(score.top5),
        })?;
        Ok(Some(score))
    }
}
