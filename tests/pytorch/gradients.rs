//! Loss, gradients, and clipped steps of whole networks against PyTorch in double precision: what
//! remains is the rounding of this program.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use incubate::model::{Architecture, DropPath, Network, VitConfig, network_to_safetensors};
use incubate::optimizer::{AdamWConfig, Optimizer};
use incubate::phase::Phase;
use incubate::random::{Key, Seed};
use rand_distr::{Distribution, StandardNormal};
use tempfile::tempdir;

use super::job::{Answer, Batches, Floats, Job, Settings, difference, factors, floats, train};

const SEED: Seed = Seed(9);
const EPOCH: u64 = 3;
const BATCH: usize = 12;
const DEPTHS: [usize; 3] = [2, 2, 1];
const SMOOTHING: f64 = 0.1;

/// Numbers in double precision come back as single ones, and this side computes with those.
const TOLERANCE: f64 = 1e-5;

/// The pictures of one batch with their classes.
struct Pictures {
    images: Vec<f32>,
    labels: Vec<i64>,
    /// What identifies the pictures.
    samples: Vec<u64>,
}

fn config() -> VitConfig {
    VitConfig {
        image_size: 12,
        patch_size: 4,
        channels: 3,
        classes: 7,
        width: 24,
        depth: DEPTHS.iter().sum(),
        heads: 3,
        mlp_ratio: 2,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    }
}

fn pictures() -> Pictures {
    let mut stream = SEED.stream(&Key {
        phase: Phase::Meta,
        epoch: 0,
        sample: 0,
        purpose: "pictures of a test",
    });
    let normal = |_| StandardNormal.sample(&mut stream);
    Pictures {
        images: (0..BATCH * 3 * 12 * 12).map(normal).collect(),
        labels: (0..BATCH as i64).map(|index| index * 5 % 7).collect(),
        samples: (0..BATCH as u64).map(|index| 100 - 7 * index).collect(),
    }
}

/// A network whose matrices are ten times what they are drawn as: attention is far from uniform,
/// and the activation from a straight line.
fn network(phase: Phase) -> Network {
    struct Stretch;
    impl ModuleMapper for Stretch {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let factor = if D == 1 { 1.0 } else { 10.0 };
            let (id, tensor, mapper) = param.consume();
            let tensor = tensor.inner().mul_scalar(factor).autodiff().require_grad();
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    let network = Architecture::Vit(config())
        .network(&DEPTHS, SEED, phase, &Device::flex())
        .unwrap()
        .map(&mut Stretch);
    match phase.module() {
        Some(module) => network.freeze_all_but(module),
        None => network,
    }
}

/// The smoothed cross-entropy of the network, composed from plain operations.
fn loss(network: &Network, phase: Phase, drop_path: &DropPath) -> Tensor<1> {
    let pictures = pictures();
    let device = Device::flex();
    let data = TensorData::new(pictures.images, [BATCH, 3, 12, 12]);
    let images = Tensor::<4>::from_data(data, &device);
    let forward = match phase.module() {
        Some(module) => network.forward_hybrid(images, module, drop_path),
        None => network.forward(images.autodiff(), drop_path),
    };
    let classes = config().classes;
    let mut targets = vec![(SMOOTHING / classes as f64) as f32; BATCH * classes];
    for (row, label) in pictures.labels.iter().enumerate() {
        targets[row * classes + *label as usize] += (1.0 - SMOOTHING) as f32;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [BATCH, classes]), &device);
    -(log_softmax(forward.logits, 1) * targets.autodiff())
        .sum_dim(1)
        .mean()
}

/// The gradients under the names and in the layout of weight files.
fn gradients(network: &Network, loss: &Tensor<1>) -> Floats {
    struct Collector {
        source: burn::tensor::Gradients,
        found: HashMap<ParamId, TensorData>,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(&self.source) {
                self.found.insert(param.id, gradient.into_data());
            }
        }
    }
    /// Puts the gradients in the places of the weights.
    struct Filler(HashMap<ParamId, TensorData>);
    impl ModuleMapper for Filler {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let tensor = match self.0.remove(&id) {
                Some(gradient) => Tensor::from_data(gradient, &Device::flex()),
                None => tensor.inner().zeros_like(),
            };
            Param::from_mapped_value(id, tensor.autodiff().require_grad(), mapper)
        }
    }
    let mut collector = Collector {
        source: loss.backward(),
        found: HashMap::new(),
    };
    network.visit(&mut collector);
    let filled = network.clone().map(&mut Filler(collector.found));
    floats(&network_to_safetensors(&filled, &BTreeMap::new()), "")
}

/// The same in PyTorch: `updates` times the same batch.
fn exact(
    network: &Network,
    phase: Phase,
    drop: f64,
    updates: usize,
    settings: &Settings,
) -> Answer {
    let pictures = pictures();
    let mut batches = Batches::default();
    for _ in 0..updates {
        batches.images.extend(&pictures.images);
        batches.labels.extend(&pictures.labels);
        batches.factors.extend(factors(
            SEED,
            phase,
            EPOCH,
            drop,
            &DEPTHS,
            &pictures.samples,
        ));
    }
    let architecture = Architecture::Vit(config());
    let job = Job::new(
        "exact",
        &architecture,
        network,
        phase,
        settings,
        batches,
        BATCH,
    );
    let folder = tempdir().unwrap();
    train(folder.path(), &[job]).remove(0)
}

/// AdamW in double precision at a rate that does not change.
fn settings(rate: f64) -> Settings {
    Settings {
        kind: "float64",
        parts: 1,
        scale: 1.0,
        smoothing: SMOOTHING,
        weight_decay: 0.05,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        clip: 0.0,
        rates: [rate, rate, rate],
        warmup: 0,
    }
}

fn compare_gradients(phase: Phase, drop: f64) {
    let network = network(phase);
    let answer = exact(&network, phase, drop, 1, &settings(0.0));
    let drop_path = DropPath::new(drop, SEED, phase, EPOCH, pictures().samples);
    let loss = loss(&network, phase, &drop_path);
    let found = f64::from(loss.clone().into_scalar::<f32>());
    let expected = answer.losses[0];
    assert!(
        (found - expected).abs() < TOLERANCE * expected,
        "{phase}: loss {found} instead of {expected}"
    );
    let mut trained = 0;
    for (name, (_, mut gradient)) in gradients(&network, &loss) {
        let Some((_, expected)) = answer.tensors.get(&format!("gradients.{name}")) else {
            assert!(
                gradient.iter().all(|value| *value == 0.0),
                "{phase}, {name}"
            );
            continue;
        };
        let mut expected = expected.clone();
        if name.ends_with("attn.qkv.bias") {
            // A bias of all keys changes no softmax: 0, but for rounding.
            let width = config().width;
            gradient.drain(width..2 * width);
            expected.drain(width..2 * width);
        }
        trained += 1;
        let apart = difference(&gradient, &expected);
        assert!(apart < TOLERANCE, "{phase}, {name}: {apart:e}");
    }
    let modules = phase.module().map_or(0..3, |module| module..module + 1);
    let blocks: usize = DEPTHS[modules.clone()].iter().sum();
    let ends = modules.map(|module| [4, 0, 4][module]).sum::<usize>();
    assert_eq!(trained, 12 * blocks + ends, "{phase}");
}

#[test]
fn gradients_of_the_whole_network() {
    compare_gradients(Phase::Baseline, 0.0);
}

#[test]
fn gradients_of_the_whole_network_with_dropped_paths() {
    compare_gradients(Phase::FineTune, 0.4);
}

/// Only the trained module drops paths, at the rates of its place in the hybrid.
#[test]
fn gradients_of_hybrids_with_dropped_paths() {
    for module in 0..3 {
        compare_gradients(Phase::Module(module), 0.4);
    }
}

/// Norm and limit are as small as what clipping adds to the norm, and the gradients as small as what
/// AdamW adds to their mean square's root: where these stand decides about every step.
#[test]
fn steps_with_gradients_that_almost_vanish() {
    let (scale, rate, updates) = (1e-6, 1e-2, 4);
    let settings = Settings {
        scale,
        clip: 5e-7,
        ..settings(rate)
    };
    let mut network = network(Phase::Baseline);
    let before = floats(&network_to_safetensors(&network, &BTreeMap::new()), "");
    let answer = exact(&network, Phase::Baseline, 0.0, updates, &settings);
    let config = AdamWConfig {
        clip: Some(settings.clip),
        ..AdamWConfig::default()
    };
    let mut optimizer = Optimizer::new(config, &network, Phase::Baseline);
    for update in 0..updates {
        let loss = loss(&network, Phase::Baseline, &DropPath::off()).mul_scalar(scale);
        optimizer.accumulate(&network, loss).unwrap();
        // What the script's cosine gives for these settings.
        let stepped = optimizer.step(network, &[answer.rates[update]; 2]).unwrap();
        network = stepped.network;
        let norm = f64::from(stepped.gradient_norm.unwrap().into_scalar::<f32>());
        let expected = answer.norms[update];
        assert!(
            (norm - expected).abs() < 1e-3 * expected,
            "{norm} {expected}"
        );
    }
    let after = floats(&network_to_safetensors(&network, &BTreeMap::new()), "");
    for (name, (_, found)) in after {
        let change = |after: &[f32]| -> Vec<f32> {
            let (_, before) = &before[&name];
            let pairs = after.iter().zip(before);
            pairs.map(|(after, before)| after - before).collect()
        };
        let (_, expected) = &answer.tensors[&format!("weights.{name}")];
        let (mut found, mut expected) = (change(&found), change(expected));
        if name.ends_with("attn.qkv.bias") {
            let width = self::config().width;
            found.drain(width..2 * width);
            expected.drain(width..2 * width);
        }
        let apart = difference(&found, &expected);
        assert!(apart < 1e-3, "{name}: {apart:e}");
    }
}
