//! Fifty updates of every phase of the method, in this program and in PyTorch: from the same
//! weights, on the same pictures, the losses stay together, and so do the weights and what they are
//! worth on pictures that they were not trained on.
//!
//! This side is the command as a person runs it, with its plugins; the other side computes rates,
//! mixed pictures, targets, losses, clipping, and AdamW by itself.

use std::path::Path;

use burn::tensor::Device;
use incubate::data::{Augmentation, Batch, Loader, Part};
use incubate::experiment::{Defect, Experiment, LossConfig, PluginConfig, Resolved, load};
use incubate::model::{Network, load_network, load_stage};
use incubate::phase::Phase;
use incubate::random::Seed;
use incubate::run::{RunFolder, RunRecord, Unit};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::job::{Answer, Batches, Floats, Job, Settings, difference, factors, floats, train};
use crate::command::incubate;

/// Updates of every phase.
const UPDATES: usize = 50;

/// Of those, updates of every epoch.
const UPDATES_PER_EPOCH: usize = 5;

/// How far losses may be apart at any update: they are about 2.
const LOSS_TOLERANCE: f64 = 1e-4;

/// The same for the norm of the gradients, as a share of it.
const NORM_TOLERANCE: f64 = 1e-3;

/// How far weights may be apart after all updates, as a share of the largest value of their tensor.
const WEIGHT_TOLERANCE: f64 = 1e-3;

/// 320 digits in batches of 64, ten times: 50 updates; 5 of them warm-up.
const EXPERIMENT: &str = r#"
name = "pytorch"
seed = 11

[data]
set = "digits"
train_limit = 320
validation_limit = 70

[model]
family = "vit"
patch_size = 4
width = 32
depth = 4
heads = 4
mlp_ratio = 3

[partition]
plugin = "explicit"
modules = 3
[partition.parameters]
depths = [1, 2, 1]

[training]
batch = 64
rate = 4e-3
rate_batch = 32
weight_decay = 0.05
evaluate_every = 10
augmentation = { mixup = 0.8 }

[schedule]
plugin = "cosine"
[schedule.parameters]
per = "update"
warmup = 1
warmup_rate = 1e-5
min_rate = 1e-5

[loss]
plugin = "cross-entropy"
[loss.parameters]
smoothing = 0.1

[meta]
epochs = 10
[module]
epochs = 10
[fine-tune]
epochs = 10
clip = 0.5
[baseline]
epochs = 10
clip = 1.0
accumulation = 4
"#;

/// A run that this program trained.
struct Run {
    _folder: TempDir,
    experiment: Experiment,
    resolved: Resolved,
    folder: RunFolder,
    record: RunRecord,
}

impl Run {
    /// Trains units of the experiment with assignments above it.
    fn new(units: &[&str], assignments: &[&str]) -> Self {
        let folder = tempdir().unwrap();
        let file = folder.path().join("experiment.toml");
        let out = folder.path().join("run");
        std::fs::write(&file, EXPERIMENT).unwrap();
        let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
        let mut arguments = vec!["run", file, "--device", "cpu", "--out", out];
        for unit in units {
            arguments.extend(["--unit", unit]);
        }
        for assignment in assignments {
            arguments.extend(["--set", assignment]);
        }
        incubate(&arguments).succeeded();
        let assignments: Vec<String> = assignments.iter().map(|one| (*one).to_owned()).collect();
        let resolved = load(Some(file), &assignments).unwrap();
        let (folder_of_run, experiment, record) = RunFolder::open(Path::new(out)).unwrap().unwrap();
        Self {
            _folder: folder,
            experiment,
            resolved,
            folder: folder_of_run,
            record,
        }
    }

    fn seed(&self) -> Seed {
        Seed(self.experiment.seed)
    }

    /// Whether the run reproduces a defect of the reference.
    fn has(&self, defect: Defect) -> bool {
        self.experiment.reference.has(defect)
    }

    /// The largest norm of the gradients in force; 0 does not clip.
    fn clip(&self, phase: Phase) -> f64 {
        if self.has(Defect::NoClipping) {
            return 0.0;
        }
        self.experiment.phase(phase).clip
    }

    fn weights(&self, phase: Phase) -> Vec<u8> {
        let unit = Unit::Train(phase);
        self.folder.weights(unit, "a test").unwrap().0
    }

    /// A network with the depths and the random weights of a phase.
    fn random(&self, phase: Phase) -> Network {
        let depths: Vec<usize> = self
            .record
            .division
            .iter()
            .enumerate()
            .map(|(index, depth)| match phase {
                Phase::Meta => depth.meta as usize,
                Phase::Module(target) if target != index => depth.meta as usize,
                _ => depth.target as usize,
            })
            .collect();
        let model = &self.experiment.model;
        model
            .network(&depths, self.seed(), phase, &Device::flex())
            .unwrap()
    }

    /// The network that a phase begins with, after the method: the trained meta model around a
    /// random module, or all trained modules.
    fn initial(&self, phase: Phase) -> Network {
        let random = self.random(phase);
        match phase {
            Phase::Meta | Phase::Baseline => random,
            Phase::Module(target) => {
                let module = random.into_stages().swap_remove(target);
                load_network(self.random(Phase::Meta), &self.weights(Phase::Meta))
                    .unwrap()
                    .replace_stage(target, module)
            }
            Phase::FineTune => {
                let modules = random.into_stages().into_iter().enumerate();
                let load = |(index, stage)| {
                    load_stage(stage, &self.weights(Phase::Module(index)), "").unwrap()
                };
                Network::from_stages(modules.map(load).collect())
            }
        }
    }

    /// The pictures of a part as a phase gets them, with these changes.
    fn loader(&self, part: Part, phase: Phase, augmentation: Option<&Augmentation>) -> Loader {
        let [_, size, _] = self.experiment.model.input();
        let (batch, seed) = (self.experiment.phase(phase).batch, self.seed());
        let dataset = &self.resolved.dataset;
        Loader::new(
            dataset,
            part,
            size,
            batch,
            augmentation.cloned(),
            seed,
            phase,
        )
        .unwrap()
    }

    /// Every batch of a phase, with these changes to the pictures.
    fn batches(&self, phase: Phase, augmentation: &Augmentation) -> Vec<(u64, Batch)> {
        let loader = self.loader(Part::Train, phase, Some(augmentation));
        assert_eq!(loader.batches_per_epoch(), UPDATES_PER_EPOCH);
        (0..(UPDATES / UPDATES_PER_EPOCH) as u64)
            .flat_map(|epoch| {
                loader
                    .epoch(epoch)
                    .map(move |batch| (epoch, batch.unwrap()))
            })
            .collect()
    }

    /// The training of a phase for PyTorch, in so many parts for each update.
    fn job(&self, phase: Phase, parts: usize) -> Job {
        let config = self.experiment.phase(phase);
        let network = self.initial(phase);
        let modules = (0..self.record.division.len()).collect();
        let dropping = match phase {
            Phase::Module(target) if !self.has(Defect::TrainModeMeta) => vec![target],
            _ => modules,
        };
        let mut batches = Batches::default();
        for (epoch, batch) in self.batches(phase, &Augmentation::default()) {
            assert_eq!(batch.soft_targets, None);
            batches.images.extend(batch.images);
            batches.labels.extend(batch.labels);
            if config.drop_path > 0.0 {
                let samples: Vec<u64> = batch.indices.iter().map(|index| *index as u64).collect();
                batches.factors.extend(factors(
                    self.seed(),
                    phase,
                    epoch,
                    config.drop_path,
                    &network.depths(),
                    &samples,
                    &dropping,
                ));
            }
        }
        for batch in self.loader(Part::Validation, phase, None).epoch(0) {
            let batch = batch.unwrap();
            batches.validation_images.extend(batch.images);
            batches.validation_labels.extend(batch.labels);
        }
        for (_, batch) in self.batches(phase, &config.augmentation) {
            batches.shares.extend(share(&batch));
        }
        let parameter = |plugin: &PluginConfig, name: &str| {
            let value = plugin.parameters[name].clone();
            serde_json::to_value(value).unwrap()
        };
        let LossConfig::One(loss) = &config.loss else {
            panic!("a sum of losses")
        };
        let updates_per_time = if parameter(&config.schedule, "per") == "epoch" {
            UPDATES_PER_EPOCH
        } else {
            1
        };
        let warmup = parameter(&config.schedule, "warmup").as_f64().unwrap() as usize;
        let settings = Settings {
            kind: "float32",
            parts,
            scale: 1.0,
            smoothing: parameter(loss, "smoothing").as_f64().unwrap(),
            weight_decay: config.weight_decay,
            betas: config.betas,
            epsilon: config.epsilon,
            clip: self.clip(phase),
            // A rate of 4e-3 for 32 pictures, in batches of 64.
            rates: [8e-3, 1e-5, 1e-5],
            updates_per_time,
            warmup: warmup * UPDATES_PER_EPOCH / updates_per_time,
            lag: usize::from(self.has(Defect::RateLag)),
            decay_embeddings: phase.module().is_some() && self.has(Defect::EmbeddingDecay),
            layer_decay: config.layer_decay,
            ema: config.ema,
        };
        Job::new(
            &format!("{phase}-{parts}"),
            &self.experiment.model,
            &network,
            phase,
            &settings,
            batches,
            config.batch,
        )
    }

    /// What the phase recorded for each update.
    fn recorded(&self, phase: Phase, key: &str) -> Vec<f64> {
        let unit = self.folder.path().join("units").join(phase.to_string());
        let text = std::fs::read_to_string(unit.join("events.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|event| event["event"] == "update")
            .map(|event| event[key].as_f64().unwrap())
            .collect()
    }

    /// The weights that the phase ended with, as PyTorch names them.
    fn final_weights(&self, phase: Phase) -> Floats {
        let before = match phase {
            Phase::Module(target) => format!("weights.stages.{target}."),
            _ => "weights.".to_owned(),
        };
        floats(&self.weights(phase), &before)
    }

    /// Trains phases in PyTorch and compares.
    fn compare(&self, phases: &[(Phase, usize)]) {
        let jobs: Vec<Job> = phases
            .iter()
            .map(|(phase, parts)| self.job(*phase, *parts))
            .collect();
        let folder = tempdir().unwrap();
        for (job, answer) in jobs.iter().zip(train(folder.path(), &jobs)) {
            let phase = phases[jobs.iter().position(|one| one.name == job.name).unwrap()].0;
            self.compare_numbers(phase, &job.name, &answer);
            self.compare_scores(phase, &job.name, &answer);
            self.compare_weights(phase, &job.name, &answer);
        }
    }

    fn compare_numbers(&self, phase: Phase, name: &str, answer: &Answer) {
        let losses = self.recorded(phase, "loss");
        assert_eq!((losses.len(), answer.losses.len()), (UPDATES, UPDATES));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..10]), mean(&losses[UPDATES - 10..]));
        assert!(last < first - 0.02, "{name} learns: {losses:?}");
        for (update, (found, expected)) in losses.iter().zip(&answer.losses).enumerate() {
            assert!(
                (found - expected).abs() < LOSS_TOLERANCE,
                "{name}, update {update}: loss {found} instead of {expected}"
            );
        }
        let rates = self.recorded(phase, "rate");
        for (update, (found, expected)) in rates.iter().zip(&answer.rates).enumerate() {
            assert!(
                (found - expected).abs() < 1e-12 * expected,
                "{name}, update {update}: rate {found:e} instead of {expected:e}"
            );
        }
        let clip = self.clip(phase);
        if clip > 0.0 {
            let norms = self.recorded(phase, "gradient_norm");
            let clipped = norms.iter().filter(|norm| **norm > clip).count();
            assert!((5..UPDATES).contains(&clipped), "{name} clips: {norms:?}");
            for (update, (found, expected)) in norms.iter().zip(&answer.norms).enumerate() {
                assert!(
                    (found - expected).abs() < NORM_TOLERANCE * expected,
                    "{name}, update {update}: norm {found} instead of {expected}"
                );
            }
        }
    }

    fn compare_scores(&self, phase: Phase, name: &str, answer: &Answer) {
        let result = self.folder.result(Unit::Train(phase)).unwrap().unwrap();
        let loss = answer.validation_loss.unwrap();
        assert!(
            (result.loss - loss).abs() < LOSS_TOLERANCE,
            "{name}: validation loss {} instead of {loss}",
            result.loss
        );
        let accuracy = answer.validation_accuracy.unwrap();
        // Two classes may be so near that rounding decides.
        assert!(
            (result.accuracy - accuracy).abs() < 1.5 / 70.0,
            "{name}: accuracy {} instead of {accuracy}",
            result.accuracy
        );
    }

    fn compare_weights(&self, phase: Phase, name: &str, answer: &Answer) {
        let weights = self.final_weights(phase);
        let trained = answer
            .tensors
            .keys()
            .filter(|name| name.starts_with("gradients."));
        assert_eq!(weights.len(), trained.count(), "{name}");
        let width = {
            let incubate::model::Architecture::Vit(config) = &self.experiment.model;
            config.width
        };
        for (tensor, (shape, mut found)) in weights {
            let (expected_shape, mut expected) = answer.tensors[&tensor].clone();
            assert_eq!(shape, expected_shape, "{name}, {tensor}");
            if tensor.ends_with("attn.qkv.bias") {
                // A bias of all keys changes no softmax: its gradient is rounding noise, of which
                // AdamW makes steps of any size.
                found.drain(width..2 * width);
                expected.drain(width..2 * width);
            }
            let apart = difference(&found, &expected);
            assert!(apart < WEIGHT_TOLERANCE, "{name}, {tensor}: {apart:e}");
        }
    }
}

/// How much of each picture is left in a mixed batch.
fn share(batch: &Batch) -> Option<f32> {
    let targets = batch.soft_targets.as_ref()?;
    let classes = targets.len() / batch.labels.len();
    let mut pairs = batch.labels.iter().zip(batch.labels.iter().rev());
    let row = pairs.position(|(label, partner)| label != partner).unwrap();
    Some(targets[row * classes + batch.labels[row] as usize])
}

#[test]
fn every_phase_with_mixed_pictures() {
    let run = Run::new(&[], &[]);
    run.compare(&[
        (Phase::Meta, 1),
        (Phase::Module(0), 1),
        (Phase::Module(1), 1),
        (Phase::Module(2), 1),
        (Phase::FineTune, 1),
        // This program cuts these batches into four parts, too; PyTorch once does and once does not.
        (Phase::Baseline, 4),
        (Phase::Baseline, 1),
    ]);
}

/// The constants of AdamW stand where PyTorch has them; smoothing of class ids; no bias of queries,
/// keys, and values, and the other epsilon of the norms, as ViT-Huge has them.
#[test]
fn class_ids_and_other_constants() {
    let run = Run::new(
        &["baseline"],
        &[
            "training.augmentation.mixup=0.0",
            "model.qkv_bias=false",
            "model.layer_norm_eps=1e-5",
            "training.betas=[0.8, 0.95]",
            "training.epsilon=1e-3",
            "training.weight_decay=0.3",
        ],
    );
    run.compare(&[(Phase::Baseline, 1)]);
}

/// Accumulated over parts, too, every picture keeps its own dropped paths; in a hybrid only the
/// trained module drops any.
#[test]
fn dropped_paths() {
    let run = Run::new(
        &["meta", "module.1", "baseline"],
        &["training.drop_path=0.3"],
    );
    run.compare(&[(Phase::Module(1), 1), (Phase::Baseline, 4)]);
}

/// What a phase ends with is the average of its weights.
#[test]
fn averaged_weights_and_rates_by_layer() {
    let run = Run::new(
        &["meta", "module.1"],
        &[
            "training.ema=0.95",
            "training.ema_warm_up=true",
            "training.layer_decay=0.7",
        ],
    );
    run.compare(&[(Phase::Module(1), 1)]);
}

/// The rate one epoch late, embeddings that decay, no clipping, and dropped paths in frozen modules.
#[test]
fn defects_of_the_reference() {
    let run = Run::new(
        &["meta", "module.0"],
        &[
            "reference=\"all\"",
            "training.drop_path=0.3",
            "training.clip=0.1",
            "training.weight_decay=0.3",
            "schedule.parameters.per=\"epoch\"",
            "schedule.parameters.warmup=2",
        ],
    );
    run.compare(&[(Phase::Module(0), 1)]);
}
