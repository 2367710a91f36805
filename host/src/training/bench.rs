//! What a plugin costs: its calls one by one, loading, and its share of a real training step.
//!
//! Everything is measured in one process on the CPU, on the digits: the loss hook gets the logits
//! and activations of the network whose step it is compared with. Medians are given, since other
//! programs on the machine only ever make a call slower.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Serialize;

use super::error::Place;
use super::{TrainError, division};
use crate::data::{Loader, Part};
use crate::experiment::{Experiment, Resolved};
use crate::model::{Forward, Network, Noise, trained_weights};
use crate::optimizer::{AdamWConfig, Group as ParameterGroup, Optimizer};
use crate::phase::Phase;
use crate::plugin::{
    Context, Grant, Grants, Group, Kind, Limits, LossHook, LossInputs, Moment, Origin,
    PartitionScheme, Plugin, PluginError, PluginHost, SandboxError, Schedule, SettingValue,
    Settings, Spent, Statistics, StepInfo, Stepping,
};
use crate::random::Seed;
use crate::tensor::{AnyTensor, TensorError};

/// Calls before those that count.
const WARM_UP: usize = 20;
/// The most calls that count.
const CALLS: usize = 2_000;
/// The longest time for the calls that count.
const BUDGET: Duration = Duration::from_secs(1);
/// Training steps that count.
const STEPS: usize = 15;
/// Instances that are started.
const STARTS: usize = 30;

/// What a plugin costs.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it decides.
    pub kind: String,
    /// The digest of the component.
    pub sha256: String,
    /// The size of the component.
    pub bytes: usize,
    /// Milliseconds to load it when it has to be compiled.
    pub load_cold_ms: f64,
    /// Milliseconds to load it when its code is in the cache, if there is one.
    pub load_cached_ms: Option<f64>,
    /// Microseconds to start an instance and to configure it.
    pub start_us: f64,
    /// Bytes of its linear memories after the calls.
    pub memory_bytes: u64,
    /// Its calls.
    pub calls: Vec<BenchCall>,
    /// Milliseconds of a training step of the digits model.
    pub step_ms: f64,
    /// The same loss composed without a plugin, for `cross-entropy`.
    pub native: Option<Native>,
    /// Its calls of one update as a share of a step; none for a partition scheme.
    pub share_of_step: Option<f64>,
}

/// What one kind of call costs: medians over calls.
#[derive(Clone, Debug, Serialize)]
pub struct BenchCall {
    /// The hook.
    pub call: String,
    /// The calls that were measured.
    pub calls: u64,
    /// Nanoseconds of a call.
    pub median_ns: u64,
    /// Nanoseconds between the first and the third quartile.
    pub spread_ns: u64,
    /// Nanoseconds in the plugin.
    pub guest_ns: u64,
    /// Nanoseconds in tensor operations.
    pub host_ns: u64,
    /// Tensor operations of a call.
    pub operations: f64,
    /// Times that a call waits for the device.
    pub readbacks: f64,
    /// Instructions of a call.
    pub fuel: u64,
    /// Most tensors that lived at the same time.
    pub peak_tensors: u64,
}

/// A loss that is composed without a plugin.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Native {
    /// Nanoseconds to compose it.
    pub compose_ns: u64,
    /// Nanoseconds to compose it and to differentiate it to the logits.
    pub backward_ns: u64,
    /// The plugin's time over that.
    pub ratio: f64,
    /// The plugin's time with backward over that.
    pub ratio_with_backward: f64,
}

/// Why a plugin could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The plugin is refused.
    #[error(transparent)]
    Refused(#[from] PluginError),
    /// The plugin or the step of training fails.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// A network in training, and a batch for it.
struct Workload<'a> {
    experiment: &'a Experiment,
    device: Device,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
    classes: usize,
    updates_per_epoch: u64,
}

/// Measures the plugin `reference` with these parameters, on the pictures and the network of
/// `resolved`. Compiled code is looked for in `cache`. The bytes of a plugin that is not on this
/// machine are given as `elsewhere`, with their origin.
///
/// # Errors
/// When the plugin is refused or fails, or when the pictures cannot be read.
pub fn bench(
    resolved: Resolved,
    cache: Option<&Path>,
    reference: &str,
    elsewhere: Option<&(Origin, Vec<u8>)>,
    given: &BTreeMap<String, SettingValue>,
) -> Result<Bench, BenchError> {
    let sandbox = |cache: Option<&Path>| -> Result<PluginHost, SandboxError> {
        let mut host = PluginHost::new(cache)?;
        if let Some((origin, bytes)) = elsewhere {
            host.provide(reference, origin.clone(), bytes.clone());
        }
        Ok(host)
    };
    let kind = sandbox(cache)?.inspect(reference)?;
    let (kind, bytes) = (kind.kind, kind.bytes);
    let (plugin, load_cold_ms) = load(&sandbox(None)?, reference, kind)?;
    let load_cached_ms = match cache {
        // The inspection has left the code there.
        Some(_) => Some(load(&sandbox(cache)?, reference, kind)?.1),
        None => None,
    };
    let settings = plugin.settings(given)?;
    let workload = Workload::new(&resolved)?;
    let (network, forward) = workload.network()?;
    let step_ns = workload.step_ns(network.clone())?;
    let mut bench = Bench {
        name: plugin.description().name.clone(),
        version: plugin.description().version.to_string(),
        kind: kind.to_string(),
        sha256: plugin.sha256().to_owned(),
        bytes,
        load_cold_ms,
        load_cached_ms,
        start_us: 0.0,
        memory_bytes: 0,
        calls: Vec::new(),
        step_ms: step_ns as f64 / 1e6,
        native: None,
        share_of_step: None,
    };
    let per_update = match kind {
        Kind::PartitionScheme => {
            partition(&mut bench, &workload, &plugin, &settings)?;
            None
        }
        Kind::LrSchedule => Some(schedule(&mut bench, &workload, &plugin, &settings)?),
        Kind::LossHook => {
            let pass = (&network, forward);
            Some(loss(&mut bench, &workload, pass, &plugin, &settings)?)
        }
    };
    bench.share_of_step = per_update.map(|nanoseconds| nanoseconds / step_ns as f64);
    Ok(bench)
}

/// Loads a plugin with every grant, and tells the milliseconds.
fn load(host: &PluginHost, reference: &str, kind: Kind) -> Result<(Plugin, f64), BenchError> {
    let every = Grants::of(&Grant::ALL);
    let begun = Instant::now();
    let plugin = host.load(reference, kind, &every, &Limits::default())?;
    Ok((plugin, begun.elapsed().as_secs_f64() * 1e3))
}

fn context() -> Context {
    Context {
        seed: Seed(0),
        phase: Phase::Module(0),
    }
}

fn failed(source: PluginError) -> TrainError {
    TrainError::PluginFailed {
        place: Place {
            unit: "bench".to_owned(),
            epoch: 0,
            update: 0,
        },
        source,
    }
}

/// Measures a partition scheme.
fn partition(
    bench: &mut Bench,
    workload: &Workload<'_>,
    plugin: &Plugin,
    settings: &Settings,
) -> Result<(), TrainError> {
    let new = || PartitionScheme::new(plugin, settings).map_err(failed);
    bench.start_us = starts(new)?;
    let request = division::request(workload.experiment, None);
    let mut scheme = new()?;
    let used = |scheme: &PartitionScheme| (scheme.statistics(), scheme.spent());
    let divide = times("divide", &mut scheme, used, |scheme| {
        scheme.divide(&request).map(drop).map_err(failed)
    })?;
    bench.calls = vec![divide];
    bench.memory_bytes = scheme.statistics().memory_bytes;
    Ok(())
}

/// Measures a schedule; nanoseconds of one update.
fn schedule(
    bench: &mut Bench,
    workload: &Workload<'_>,
    plugin: &Plugin,
    settings: &Settings,
) -> Result<f64, TrainError> {
    let new = || Schedule::new(plugin, settings, context()).map_err(failed);
    bench.start_us = starts(new)?;
    let (epochs, per_epoch) = (300_u32, workload.updates_per_epoch);
    let updates = u64::from(epochs) * per_epoch;
    let mut update = 0;
    let mut moment = |name: &'static str| {
        update = (update + 1) % updates;
        Moment {
            update,
            updates,
            epoch: (update / per_epoch) as f64,
            epochs,
            base_rate: workload.experiment.baseline.base_rate(),
            group: Group { name, index: 0 },
        }
    };
    let used = |schedule: &Schedule| (schedule.statistics(), schedule.spent());
    let mut hook = new()?;
    let rate = times("rate", &mut hook, used, |schedule| {
        schedule.rate(&moment("decay")).map(drop).map_err(failed)
    })?;
    let observe = times("observe", &mut hook, used, |schedule| {
        let metrics = [("loss", 1.0), ("accuracy", 0.5)];
        schedule.observe(&moment(""), &metrics).map_err(failed)
    })?;
    let save = times("save", &mut hook, used, |schedule| {
        schedule.save().map(drop).map_err(failed)
    })?;
    bench.memory_bytes = hook.statistics().memory_bytes;
    let asked = (rate.median_ns * ParameterGroup::ALL.len() as u64) as f64;
    let observed = observe.median_ns as f64 / per_epoch as f64;
    bench.calls = vec![rate, observe, save];
    Ok(match hook.stepping() {
        Stepping::PerUpdate => asked + observed,
        Stepping::PerEpoch => asked / per_epoch as f64 + observed,
    })
}

/// Measures a loss hook; nanoseconds of one update.
fn loss(
    bench: &mut Bench,
    workload: &Workload<'_>,
    (network, forward): (&Network, Forward),
    plugin: &Plugin,
    settings: &Settings,
) -> Result<f64, TrainError> {
    let unusable = |source| TrainError::Loss {
        place: Place {
            unit: "bench".to_owned(),
            epoch: 0,
            update: 0,
        },
        plugin: plugin.identity().to_string(),
        source,
    };
    let new = || LossHook::new(plugin, settings, context()).map_err(failed);
    bench.start_us = starts(new)?;
    let mut hook = new()?;
    let logits = forward.logits.detach().require_grad();
    let [pictures, classes] = logits.dims();
    let inputs = workload
        .inputs(&hook, network, logits.clone(), forward.boundaries)
        .map_err(unusable)?;
    let soft = LossInputs {
        soft_targets: Some(AnyTensor::from_tensor(workload.targets()).map_err(unusable)?),
        ..inputs.clone()
    };
    let step = StepInfo {
        update: 1,
        updates: 1_000,
        epoch: 0.5,
        classes: classes as u32,
        pictures: pictures as u32,
    };
    let used = |hook: &LossHook| (hook.statistics(), hook.spent());
    let compute = times("compute", &mut hook, used, |hook| {
        hook.compute(&step, inputs.clone())
            .map(drop)
            .map_err(failed)
    })?;
    let mixed = times("compute, soft targets", &mut hook, used, |hook| {
        hook.compute(&step, soft.clone()).map(drop).map_err(failed)
    })?;
    let save = times("save", &mut hook, used, |hook| {
        hook.save().map(drop).map_err(failed)
    })?;
    bench.memory_bytes = hook.statistics().memory_bytes;
    let per_update = compute.median_ns as f64;
    if *plugin.origin() == Origin::BuiltIn("cross-entropy".to_owned()) {
        let smoothing = match settings.get("smoothing") {
            Some(SettingValue::Number(smoothing)) => *smoothing,
            _ => 0.0,
        };
        let compose = || workload.cross_entropy(logits.clone(), smoothing);
        let mut with_plugin = Vec::new();
        for _ in 0..CALLS / 4 {
            let begun = Instant::now();
            let loss = hook.compute(&step, inputs.clone()).map_err(failed)?;
            drop(loss.into_scalar_tensor().map_err(unusable)?.backward());
            with_plugin.push(begun.elapsed());
        }
        let with_plugin = quartiles(&mut with_plugin).1;
        let compose_ns = native(|| drop(compose()));
        let backward_ns = native(|| drop(compose().backward()));
        bench.native = Some(Native {
            compose_ns,
            backward_ns,
            ratio: per_update / compose_ns as f64,
            ratio_with_backward: with_plugin as f64 / backward_ns as f64,
        });
    }
    bench.calls = vec![compute, mixed, save];
    Ok(per_update)
}

impl<'a> Workload<'a> {
    /// The first batch of the experiment, on the CPU.
    fn new(resolved: &'a Resolved) -> Result<Self, TrainError> {
        let experiment = &resolved.experiment;
        let phase = &experiment.baseline;
        let loader = Loader::new(
            &resolved.dataset,
            Part::Train,
            experiment.model.input()[1],
            phase.batch,
            Some(phase.augmentation.clone()),
            Seed(0),
            Phase::Baseline,
        )?;
        let batch = loader
            .epoch(0)
            .next()
            .ok_or_else(|| std::io::Error::other("an epoch without batches"))??;
        let device = Device::flex().autodiff();
        let plain = device.clone().inner();
        let images = TensorData::new(batch.images, batch.shape);
        let labels = TensorData::new(batch.labels, [batch.shape[0]]);
        Ok(Self {
            experiment,
            images: Tensor::from_data(images, &plain),
            labels: Tensor::from_data(labels, &plain),
            classes: resolved.dataset.classes.len(),
            updates_per_epoch: loader.batches_per_epoch() as u64,
            device,
        })
    }

    /// The end-to-end network, and what it makes of the batch.
    fn network(&self) -> Result<(Network, Forward), TrainError> {
        let architecture = &self.experiment.model;
        let modules = self.experiment.partition.modules;
        let depth = architecture.depth();
        let depths: Vec<usize> = (0..modules)
            .map(|module| (module + 1) * depth / modules - module * depth / modules)
            .collect();
        let network = architecture.network(&depths, Seed(0), Phase::Baseline, &self.device)?;
        let forward = network.forward(self.images.clone().autodiff(), &Noise::off());
        Ok((network, forward))
    }

    /// One-hot class ids.
    fn targets(&self) -> Tensor<2> {
        self.labels
            .clone()
            .one_hot::<2>(self.classes)
            .float()
            .autodiff()
    }

    /// The mean cross-entropy, composed as the plugin composes it.
    fn cross_entropy(&self, logits: Tensor<2>, smoothing: f64) -> Tensor<1> {
        let [pictures, classes] = logits.dims();
        let targets = self.targets();
        let targets = if smoothing > 0.0 {
            targets * (1.0 - smoothing) + smoothing / classes as f64
        } else {
            targets
        };
        (log_softmax(logits, 1) * targets).sum() / -(pictures as f64)
    }

    /// Nanoseconds of forward, loss, backward, and the optimizer's step.
    fn step_ns(&self, network: Network) -> Result<u64, TrainError> {
        let config = AdamWConfig {
            clip: Some(self.experiment.baseline.clip).filter(|clip| *clip > 0.0),
            ..AdamWConfig::default()
        };
        let unusable = |source| TrainError::NotConnected {
            place: Place {
                unit: "bench".to_owned(),
                epoch: 0,
                update: 0,
            },
            plugin: "none".to_owned(),
            source,
        };
        let mut optimizer = Optimizer::new(config, &network, Phase::Baseline);
        let rates = [1e-4; ParameterGroup::ALL.len()];
        let mut network = network;
        let mut times = Vec::with_capacity(STEPS);
        for _ in 0..STEPS + 3 {
            let begun = Instant::now();
            let images = self.images.clone().autodiff();
            let logits = network.forward(images, &Noise::off()).logits;
            let loss = self.cross_entropy(logits, 0.1);
            optimizer.accumulate(&network, loss).map_err(unusable)?;
            network = optimizer.step(network, &rates).map_err(unusable)?.network;
            times.push(begun.elapsed());
        }
        Ok(quartiles(&mut times[3..]).1)
    }

    /// What the hook asks for.
    fn inputs(
        &self,
        hook: &LossHook,
        network: &Network,
        logits: Tensor<2>,
        boundaries: Vec<Tensor<3>>,
    ) -> Result<LossInputs, TensorError> {
        let features = |wanted: bool| {
            let all = boundaries.iter().filter(|_| wanted).enumerate();
            all.map(|(module, tensor)| {
                let tensor = tensor.clone().detach();
                Ok((module as u32, AnyTensor::from_tensor(tensor)?))
            })
            .collect::<Result<Vec<_>, TensorError>>()
        };
        let weights = match hook.weights() {
            Some(granted) => trained_weights(network, |name| granted.allow(name))?,
            None => Vec::new(),
        };
        let teacher = hook.asks_teacher().then(|| logits.clone().detach());
        Ok(LossInputs {
            logits: AnyTensor::from_tensor(logits)?,
            class_ids: AnyTensor::from_ids(self.labels.clone().autodiff())?,
            soft_targets: None,
            network_features: features(hook.needs().network_features)?,
            meta_features: features(hook.needs().meta_features)?,
            weights,
            teacher: teacher.map(AnyTensor::from_tensor).transpose()?,
        })
    }
}

/// Microseconds to start an instance.
fn starts<H>(new: impl Fn() -> Result<H, TrainError>) -> Result<f64, TrainError> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let begun = Instant::now();
        let hook = new()?;
        times.push(begun.elapsed());
        drop(hook);
    }
    Ok(quartiles(&mut times).1 as f64 / 1e3)
}

/// Calls a hook again and again.
fn times<H>(
    name: &str,
    hook: &mut H,
    used: impl Fn(&H) -> (Statistics, Spent),
    mut once: impl FnMut(&mut H) -> Result<(), TrainError>,
) -> Result<BenchCall, TrainError> {
    for _ in 0..WARM_UP {
        once(hook)?;
    }
    let (mut wall, mut guest, mut host, mut fuel) = (vec![], vec![], vec![], vec![]);
    let begun = Instant::now();
    let first = used(hook).0;
    while wall.len() < CALLS && begun.elapsed() < BUDGET {
        let (statistics, spent) = used(hook);
        let called = Instant::now();
        once(hook)?;
        wall.push(called.elapsed());
        let (now, spent_now) = used(hook);
        guest.push(spent_now.guest - spent.guest);
        host.push(spent_now.host - spent.host);
        fuel.push(now.fuel - statistics.fuel);
    }
    let last = used(hook).0;
    let calls = wall.len() as u64;
    fuel.sort_unstable();
    let (lower, median, upper) = quartiles(&mut wall);
    Ok(BenchCall {
        call: name.to_owned(),
        calls,
        median_ns: median,
        spread_ns: upper - lower,
        guest_ns: quartiles(&mut guest).1,
        host_ns: quartiles(&mut host).1,
        operations: (last.operations - first.operations) as f64 / calls as f64,
        readbacks: (last.readbacks - first.readbacks) as f64 / calls as f64,
        fuel: fuel[fuel.len() / 2],
        peak_tensors: last.peak_tensors,
    })
}

/// The median time of something without a plugin, in nanoseconds.
fn native(mut once: impl FnMut()) -> u64 {
    let mut times = Vec::new();
    let mut begun = Instant::now();
    for call in 0..WARM_UP + CALLS / 4 {
        once();
        if call >= WARM_UP {
            times.push(begun.elapsed());
        }
        begun = Instant::now();
    }
    quartiles(&mut times).1
}

/// First quartile, median, and third quartile in nanoseconds; there is at least one time.
fn quartiles(times: &mut [Duration]) -> (u64, u64, u64) {
    times.sort_unstable();
    let at = |quarter: usize| times[(times.len() - 1) * quarter / 4].as_nanos() as u64;
    (at(1), at(2), at(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_in_order() {
        let mut times: Vec<Duration> = [5, 1, 4, 2, 3].map(Duration::from_nanos).to_vec();
        assert_eq!(quartiles(&mut times), (2, 3, 4));
        assert_eq!(quartiles(&mut [Duration::from_nanos(7)]), (7, 7, 7));
    }
}
