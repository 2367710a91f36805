//! The same training here: a network on the way of every real run, and one batch.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use incubate::experiment;
use incubate::model::{
    Architecture, Network, Noise, Numerics, Precision, VitConfig, network_to_safetensors,
};
use incubate::optimizer::{AdamWConfig, Group, Optimizer};
use incubate::phase::Phase;
use incubate::random::Seed;
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::json;

const RATE: f64 = 1e-3;

/// A network and its batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    /// As it is named on the command line.
    name: String,
    architecture: Architecture,
    modules: usize,
    pub(crate) batch: usize,
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl FromStr for Model {
    type Err = Error;

    /// `vit-N` is the small Vision Transformer for 28-pixel pictures at depth N; `digits` the network
    /// of that experiment.
    fn from_str(name: &str) -> Result<Self> {
        if name == "digits" {
            let experiment = experiment::load(Some(name), &[])?.experiment;
            return Ok(Self {
                name: name.to_owned(),
                architecture: experiment.model,
                modules: experiment.partition.modules,
                batch: experiment.baseline.batch,
            });
        }
        let depth = name
            .strip_prefix("vit-")
            .and_then(|depth| depth.parse().ok());
        let Some(depth @ 2..) = depth else {
            bail!(
                "there is no model `{name}` (`digits`, or `vit-12`, or another depth of at least 2)"
            );
        };
        Ok(Self {
            name: name.to_owned(),
            architecture: Architecture::Vit(VitConfig {
                image_size: 28,
                patch_size: 4,
                channels: 1,
                classes: 10,
                width: 192,
                depth,
                heads: 3,
                mlp_ratio: 4,
                qkv_bias: true,
                layer_norm_eps: 1e-6,
            }),
            modules: if depth < 8 { 2 } else { 4 },
            batch: 64,
        })
    }
}

impl Model {
    /// What is trained one after the other: the meta model, every hybrid, and all of the target.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        let hybrids = (0..self.modules).map(Phase::Module);
        [Phase::Meta]
            .into_iter()
            .chain(hybrids)
            .chain([Phase::FineTune])
            .collect()
    }

    /// Blocks of every stage.
    pub(crate) fn depths(&self, phase: Phase) -> Vec<usize> {
        let depth = self.architecture.depth();
        (0..self.modules)
            .map(|module| {
                let deep = matches!(phase, Phase::FineTune | Phase::Baseline);
                if deep || phase.module() == Some(module) {
                    (module + 1) * depth / self.modules - module * depth / self.modules
                } else {
                    1
                }
            })
            .collect()
    }
}

/// What is measured: a model in a phase, with a precision.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) model: Model,
    pub(crate) phase: Phase,
    pub(crate) precision: Precision,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} {}",
            self.model, self.precision, self.phase
        )
    }
}

/// Seconds of a step from its beginning: until there was the loss, all gradients, new weights.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Step {
    pub(crate) forward: f64,
    pub(crate) backward: f64,
    pub(crate) step: f64,
    pub(crate) first_loss: f64,
    pub(crate) least_loss: f64,
}

/// Seconds of a forward pass without a graph.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) evaluation: f64,
    pub(crate) loss: f64,
}

/// A network in training.
pub(crate) struct Training {
    phase: Phase,
    network: Option<Network>,
    optimizer: Optimizer,
    images: Tensor<4>,
    targets: Tensor<2>,
}

impl Training {
    /// At its beginning.
    pub(crate) fn new(case: &Case) -> Result<Self> {
        let device = Device::flex();
        let mut network = network(case)?.computing(Numerics {
            precision: case.precision,
            checkpoint_activations: false,
        });
        if let Some(module) = case.phase.module() {
            network = network.freeze_all_but(module);
        }
        let [channels, height, width] = case.model.architecture.input();
        let batch = case.model.batch;
        let images = TensorData::new(pixels(case), [batch, channels, height, width]);
        let labels = TensorData::new(labels(case), [batch]);
        let labels = Tensor::<1, Int>::from_data(labels, &device);
        let optimizer = Optimizer::new(AdamWConfig::default(), &network, case.phase);
        Ok(Self {
            phase: case.phase,
            network: Some(network),
            optimizer,
            images: Tensor::from_data(images, &device),
            targets: labels.one_hot::<2>(classes(case)).float(),
        })
    }

    /// Trains for some steps.
    pub(crate) fn step(&mut self, calls: usize) -> Result<Step> {
        let [mut forward, mut backward, mut whole] = [0.0; 3];
        let mut losses = Vec::with_capacity(calls);
        let targets = self.targets.clone().autodiff();
        for _ in 0..calls {
            let network = self
                .network
                .take()
                .context("the last step left a network")?;
            let begun = Instant::now();
            let passed = match self.phase.module() {
                Some(module) => network.forward_hybrid(self.images.clone(), module, &Noise::off()),
                None => network.forward(self.images.clone().autodiff(), &Noise::off()),
            };
            let picked = (log_softmax(passed.logits, 1) * targets.clone()).sum_dim(1);
            let loss = -picked.mean();
            losses.push(loss.clone().inner());
            forward += begun.elapsed().as_secs_f64();
            self.optimizer.accumulate(&network, loss)?;
            backward += begun.elapsed().as_secs_f64();
            let stepped = self.optimizer.step(network, &[RATE; Group::ALL.len()])?;
            self.network = Some(stepped.network);
            whole += begun.elapsed().as_secs_f64();
        }
        let calls = calls as f64;
        let losses = losses.into_iter().map(Tensor::into_scalar::<f32>);
        let losses: Vec<f64> = losses.map(f64::from).collect();
        Ok(Step {
            forward: forward / calls,
            backward: backward / calls,
            step: whole / calls,
            first_loss: *losses.first().context("there was a step")?,
            least_loss: losses.into_iter().fold(f64::INFINITY, f64::min),
        })
    }

    /// Passes the batch forward without a graph.
    pub(crate) fn evaluate(&self, calls: usize) -> Result<Evaluation> {
        let network = self
            .network
            .as_ref()
            .context("the last step left a network")?;
        let begun = Instant::now();
        let network = network.valid();
        let mut loss = None;
        for _ in 0..calls {
            let logits = network.forward(self.images.clone(), &Noise::off()).logits;
            let picked = (log_softmax(logits, 1) * self.targets.clone()).sum_dim(1);
            loss = Some(-picked.mean());
        }
        let evaluation = begun.elapsed().as_secs_f64() / calls as f64;
        let loss = loss.context("there was a pass")?;
        Ok(Evaluation {
            evaluation,
            loss: f64::from(loss.into_scalar::<f32>()),
        })
    }
}

/// Writes a case for PyTorch, with the same weights and the same batch.
pub(crate) fn write(case: &Case, folder: &Path, name: &str) -> Result<()> {
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let network = network(case)?;
    let Architecture::Vit(config) = &case.model.architecture;
    let constants = AdamWConfig::default();
    let settings = json!({
        "model": config,
        "depths": network.depths(),
        "weight_decay": constants.weight_decay,
        "betas": [constants.beta_1, constants.beta_2],
        "epsilon": constants.epsilon,
        "rate": RATE,
    });
    fs::write(path("json"), settings.to_string())?;
    fs::write(
        path("weights"),
        network_to_safetensors(&network, &BTreeMap::new()),
    )?;
    let [channels, height, width] = case.model.architecture.input();
    let batch = case.model.batch;
    let images: Vec<u8> = pixels(case)
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let labels: Vec<u8> = labels(case)
        .into_iter()
        .flat_map(i64::to_le_bytes)
        .collect();
    let shape = vec![batch, channels, height, width];
    let views = [
        ("images", TensorView::new(Dtype::F32, shape, &images)?),
        ("labels", TensorView::new(Dtype::I64, vec![batch], &labels)?),
    ];
    fs::write(path("batch"), serialize(views, None)?)?;
    Ok(())
}

fn network(case: &Case) -> Result<Network> {
    let depths = case.model.depths(case.phase);
    let network = case
        .model
        .architecture
        .network(&depths, Seed(0), case.phase, &Device::flex())?;
    Ok(network)
}

fn classes(case: &Case) -> usize {
    let Architecture::Vit(config) = &case.model.architecture;
    config.classes
}

/// The pictures: waves, so that there is something to learn.
fn pixels(case: &Case) -> Vec<f32> {
    let count = case.model.batch * case.model.architecture.input().iter().product::<usize>();
    (0..count)
        .map(|place| (place as f32 * 0.731).sin())
        .collect()
}

fn labels(case: &Case) -> Vec<i64> {
    (0..case.model.batch)
        .map(|picture| (picture % classes(case)) as i64)
        .collect()
}
