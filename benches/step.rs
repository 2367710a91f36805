//! One full training step: forward, loss, backward, AdamW; and the GELU beside burn's own.
//!
//! The network is a small Vision Transformer for 28-pixel pictures: patch 4, width 192, 3 heads,
//! batch 64. `INCUBATE_BENCH_DEPTH` sets the depth of the whole network (4, and at least 2).

use burn::tensor::activation::{gelu as composed, log_softmax};
use burn::tensor::{Device, Int, Tensor};
use divan::Bencher;
use incubate::allocator::LargeBlocks;
use incubate::kernels::gelu::gelu;
use incubate::model::{Architecture, Network, Noise, VitConfig};
use incubate::optimizer::{AdamWConfig, Group, Optimizer};
use incubate::phase::Phase;
use incubate::random::Seed;

/// The allocator of the command.
#[global_allocator]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

const BATCH: usize = 64;
const CLASSES: usize = 10;
const MODULES: usize = 2;
const RATES: [f64; Group::ALL.len()] = [1e-3; Group::ALL.len()];

fn main() {
    divan::main();
}

fn depth() -> usize {
    std::env::var("INCUBATE_BENCH_DEPTH")
        .ok()
        .and_then(|depth| depth.parse().ok())
        .map_or(4, |depth: usize| depth.max(MODULES))
}

fn network(depths: &[usize], phase: Phase) -> Network {
    let config = VitConfig {
        image_size: 28,
        patch_size: 4,
        channels: 1,
        classes: CLASSES,
        width: 192,
        depth: depth(),
        heads: 3,
        mlp_ratio: 4,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    };
    Architecture::Vit(config)
        .network(depths, Seed(0), phase, &Device::flex())
        .expect("the dimensions fit")
}

fn ramp(count: usize) -> Tensor<1> {
    Tensor::<1, Int>::arange(0..count as i64, &Device::flex())
        .float()
        .mul_scalar(0.731)
        .sin()
}

fn step(bencher: Bencher<'_, '_>, depths: &[usize], phase: Phase) {
    let images = ramp(BATCH * 28 * 28).reshape([BATCH, 1, 28, 28]);
    let labels = Tensor::<1, Int>::arange(0..BATCH as i64, &Device::flex()).remainder_scalar(10);
    let targets = labels.one_hot::<2>(CLASSES).float().autodiff();
    let mut network = network(depths, phase);
    if let Some(module) = phase.module() {
        network = network.freeze_all_but(module);
    }
    let mut optimizer = Optimizer::new(AdamWConfig::default(), &network, phase);
    let mut network = Some(network);
    bencher
        .counter(divan::counter::ItemsCount::new(BATCH))
        .bench_local(|| {
            let current = network.take().expect("the last step left a network");
            let images = images.clone();
            let forward = match phase.module() {
                Some(module) => current.forward_hybrid(images, module, &Noise::off()),
                None => current.forward(images, &Noise::off()),
            };
            let picked = (log_softmax(forward.logits, 1) * targets.clone()).sum_dim(1);
            optimizer
                .accumulate(&current, -picked.mean())
                .expect("the loss is connected");
            let stepped = optimizer
                .step(current, &RATES)
                .expect("there are gradients");
            network = Some(stepped.network);
        });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn end_to_end(bencher: Bencher<'_, '_>) {
    let half = depth() / MODULES;
    step(bencher, &[depth() - half, half], Phase::Baseline);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn meta(bencher: Bencher<'_, '_>) {
    step(bencher, &[1; MODULES], Phase::Meta);
}

#[divan::bench(sample_count = 10, sample_size = 1, args = [0, 1])]
fn hybrid(bencher: Bencher<'_, '_>, module: usize) {
    let mut depths = [1; MODULES];
    depths[module] = depth() / MODULES;
    step(bencher, &depths, Phase::Module(module));
}

/// `[batch, tokens, hidden]` forward and backward.
fn activation(bencher: Bencher<'_, '_>, function: fn(Tensor<3>) -> Tensor<3>) {
    let input = ramp(BATCH * 50 * 768)
        .mul_scalar(3.0)
        .reshape([BATCH, 50, 768])
        .autodiff()
        .require_grad();
    bencher.bench_local(|| {
        let gradients = function(input.clone()).sum().backward();
        input.grad(&gradients).expect("the input has a gradient")
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn gelu_fused(bencher: Bencher<'_, '_>) {
    activation(bencher, gelu);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn gelu_composed(bencher: Bencher<'_, '_>) {
    activation(bencher, composed);
}
