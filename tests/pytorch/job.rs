//! What is handed to PyTorch and what comes back: one job for each training, as `train.py` reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use incubate::model::{Architecture, Network, network_to_safetensors};
use incubate::phase::Phase;
use incubate::random::{Key, Seed};
use rand::RngExt;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, python, script};

/// Float tensors by name: shape and values.
pub(super) type Floats = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The settings of a training, as the script wants them.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The type that PyTorch computes with: `float32` or `float64`.
    pub(super) kind: &'static str,
    /// Parts that a batch is cut into.
    pub(super) parts: usize,
    /// What the loss is multiplied by.
    pub(super) scale: f64,
    /// Of cross-entropy.
    pub(super) smoothing: f64,
    pub(super) weight_decay: f64,
    pub(super) betas: [f64; 2],
    pub(super) epsilon: f64,
    /// The largest norm; 0 does not clip.
    pub(super) clip: f64,
    /// Base rate, smallest rate, rate at the beginning of the warm-up.
    pub(super) rates: [f64; 3],
    /// Updates of the warm-up.
    pub(super) warmup: usize,
}

/// One training.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// For the names of its files.
    pub(super) name: String,
    settings: Value,
    floats: Floats,
    /// `[updates, batch]`.
    labels: (Vec<usize>, Vec<i64>),
}

/// The batches of a training, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Batches {
    /// `[updates, batch, channels, height, width]`, not mixed.
    pub(super) images: Vec<f32>,
    /// `[updates, batch]`.
    pub(super) labels: Vec<i64>,
    /// How much of a picture is left when the batch is mixed with its reverse, by update; empty
    /// without mixing.
    pub(super) shares: Vec<f32>,
    /// `[updates, blocks, 2, batch]`; empty if nothing is dropped.
    pub(super) factors: Vec<f32>,
}

/// What PyTorch answers.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// The loss of every update.
    pub(super) losses: Vec<f64>,
    /// The learning rate of every update.
    pub(super) rates: Vec<f64>,
    /// The norm of all gradients of every update, before clipping.
    pub(super) norms: Vec<f64>,
    /// `weights.NAME` after the last update, `gradients.NAME` of the first.
    #[serde(skip)]
    pub(super) tensors: Floats,
}

impl Job {
    /// A training of `network`, from its weights now.
    pub(super) fn new(
        name: &str,
        architecture: &Architecture,
        network: &Network,
        phase: Phase,
        settings: &Settings,
        batches: Batches,
        batch: usize,
    ) -> Self {
        let Architecture::Vit(config) = architecture;
        let updates = batches.labels.len() / batch;
        let blocks = network.depths().iter().sum();
        let size = config.image_size;
        let mut floats = floats(
            &network_to_safetensors(network, &BTreeMap::new()),
            "weights.",
        );
        floats.insert(
            "images".to_owned(),
            (
                vec![updates, batch, config.channels, size, size],
                batches.images,
            ),
        );
        if !batches.shares.is_empty() {
            floats.insert("shares".to_owned(), (vec![updates], batches.shares));
        }
        if !batches.factors.is_empty() {
            floats.insert(
                "factors".to_owned(),
                (vec![updates, blocks, 2, batch], batches.factors),
            );
        }
        let [rate, min_rate, warmup_rate] = settings.rates;
        Self {
            name: name.to_owned(),
            settings: json!({
                "type": settings.kind,
                "model": config,
                "depths": network.depths(),
                "trained": phase.module(),
                "updates": updates,
                "parts": settings.parts,
                "scale": settings.scale,
                "smoothing": settings.smoothing,
                "weight_decay": settings.weight_decay,
                "betas": settings.betas,
                "epsilon": settings.epsilon,
                "clip": settings.clip,
                "schedule": {
                    "rate": rate,
                    "min_rate": min_rate,
                    "warmup_rate": warmup_rate,
                    "warmup": settings.warmup,
                    "updates": updates,
                },
            }),
            floats,
            labels: (vec![updates, batch], batches.labels),
        }
    }

    fn write(&self, folder: &Path) {
        let path = |ending: &str| folder.join(format!("{}.{ending}", self.name));
        fs::write(path("json"), self.settings.to_string()).unwrap();
        let mut bytes: Vec<(&str, Dtype, &[usize], Vec<u8>)> = self
            .floats
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (name.as_str(), Dtype::F32, shape.as_slice(), bytes.collect())
            })
            .collect();
        let (shape, labels) = &self.labels;
        let labels = labels.iter().flat_map(|label| label.to_le_bytes());
        bytes.push(("labels", Dtype::I64, shape, labels.collect()));
        let views = bytes.iter().map(|(name, kind, shape, bytes)| {
            (
                *name,
                TensorView::new(*kind, shape.to_vec(), bytes).unwrap(),
            )
        });
        fs::write(path("safetensors"), serialize(views, None).unwrap()).unwrap();
    }
}

/// Trains all jobs in one Python process; the answers have the order of the jobs.
pub(super) fn train(folder: &Path, jobs: &[Job]) -> Vec<Answer> {
    for job in jobs {
        job.write(folder);
    }
    let names = jobs.iter().map(|job| &job.name);
    answer(python().arg(script("train.py")).arg(folder).args(names));
    let answered = |job: &Job| {
        let path = |ending: &str| folder.join(format!("{}.answer.{ending}", job.name));
        let mut answer: Answer = serde_json::from_slice(&fs::read(path("json")).unwrap()).unwrap();
        answer.tensors = floats(&fs::read(path("safetensors")).unwrap(), "");
        answer
    };
    jobs.iter().map(answered).collect()
}

/// The tensors of a file, with something before their names.
pub(super) fn floats(bytes: &[u8], before: &str) -> Floats {
    let file = SafeTensors::deserialize(bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let (chunks, _) = view.data().as_chunks::<4>();
            let values = chunks.iter().copied().map(f32::from_le_bytes).collect();
            (format!("{before}{name}"), (view.shape().to_vec(), values))
        })
        .collect()
}

/// The factors of the residual branches of one batch, `[blocks, 2, batch]`, from the definition:
/// for every sample a stream of its own, from which two draws are made for every block; below the
/// share 1 - r of its block a branch is kept and divided by it. r grows linearly from 0 to `rate`
/// over the whole network. In a hybrid only blocks of the trained module drop.
pub(super) fn factors(
    seed: Seed,
    phase: Phase,
    epoch: u64,
    rate: f64,
    depths: &[usize],
    samples: &[u64],
) -> Vec<f32> {
    let blocks: usize = depths.iter().sum();
    let owners: Vec<usize> = depths
        .iter()
        .enumerate()
        .flat_map(|(stage, depth)| std::iter::repeat_n(stage, *depth))
        .collect();
    let mut factors = vec![1.0; blocks * 2 * samples.len()];
    for (position, sample) in samples.iter().enumerate() {
        let mut stream = seed.stream(&Key {
            phase,
            epoch,
            sample: *sample,
            purpose: "drop-path",
        });
        for (block, owner) in owners.iter().enumerate() {
            let keep = 1.0 - rate * block as f64 / (blocks as f64 - 1.0);
            for branch in 0..2 {
                let draw: f64 = stream.random();
                if phase.module().is_none_or(|trained| trained == *owner) {
                    let factor = if draw < keep { 1.0 / keep } else { 0.0 };
                    factors[(2 * block + branch) * samples.len() + position] = factor as f32;
                }
            }
        }
    }
    factors
}

/// The largest difference of two tensors, as a share of the largest value of the second.
pub(super) fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let size = largest(&mut expected.iter().map(|value| f64::from(value.abs())));
    let pairs = found.iter().zip(expected);
    let error = largest(&mut pairs.map(|(one, other)| f64::from((one - other).abs())));
    if error == 0.0 { 0.0 } else { error / size }
}
