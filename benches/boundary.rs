//! What the boundary to plugins costs: the cross-entropy with its gradient and the cosine through the sandbox,
//! and the same computed without it, alternating in one run; with the instructions of a call, which are the
//! same at every run, and the share of a training step of the digits.
//!
//! ```text
//! cargo bench --bench boundary
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the bench is a command"
)]

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use incubate::allocator::LargeBlocks;
use incubate::experiment;
use incubate::phase::Phase;
use incubate::plugin::{
    Context, Grants, Group, Kind, Limits, LossHook, LossInputs, Moment, PluginHost, Schedule,
    StepInfo,
};
use incubate::random::Seed;
use incubate::tensor::AnyTensor;
use incubate::training::bench;

/// The allocator of the command.
#[global_allocator]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

/// A batch of the digits.
const PICTURES: usize = 64;
const CLASSES: usize = 10;

/// Pairs of measurements, and calls in each.
const ROUNDS: usize = 21;
const CALLS: u64 = 100;

const UPDATES: u64 = 1000;
const BASE_RATE: f64 = 1e-3;

const CONTEXT: Context = Context {
    seed: Seed(0),
    phase: Phase::Baseline,
};

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    println!(
        "| call | sandbox ns | native ns | ratio | more ns | instructions | waits for the device | of a \
         digits step |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let host = PluginHost::new(None)?;
    let no_grants = Grants::none();
    let nothing = BTreeMap::new();

    let plugin = host.load(
        "cross-entropy",
        Kind::LossHook,
        &no_grants,
        &Limits::default(),
    )?;
    let mut hook = LossHook::new(&plugin, &plugin.settings(&nothing)?, CONTEXT)?;
    let (logits, ids) = batch();
    let inputs = LossInputs {
        logits: AnyTensor::from_tensor(logits.clone())?,
        class_ids: AnyTensor::from_ids(ids.clone())?,
        soft_targets: None,
        network_features: Vec::new(),
        meta_features: Vec::new(),
        weights: Vec::new(),
        teacher: None,
    };
    let step = StepInfo {
        update: 1,
        updates: UPDATES,
        epoch: 0.5,
        classes: CLASSES as u32,
        pictures: PICTURES as u32,
    };
    let value = |loss: Tensor<1>| f64::from(loss.into_scalar::<f32>());
    let through = hook.compute(&step, inputs.clone())?.into_scalar_tensor()?;
    let difference = value(through) - value(cross_entropy(&logits, &ids));
    ensure!(difference.abs() < 1e-5, "the losses differ by {difference}");
    let mut pairs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        pairs.push([
            nanoseconds(|_| {
                let loss = hook.compute(&step, inputs.clone())?;
                black_box(loss.into_scalar_tensor()?.backward());
                Ok(())
            })?,
            nanoseconds(|_| {
                black_box(cross_entropy(&logits, &ids).backward());
                Ok(())
            })?,
        ]);
    }
    show("cross-entropy", pairs, 1.0)?;

    let plugin = host.load("cosine", Kind::LrSchedule, &no_grants, &Limits::default())?;
    let mut schedule = Schedule::new(&plugin, &plugin.settings(&nothing)?, CONTEXT)?;
    for update in 0..UPDATES {
        let found = schedule.rate(&moment(update))?;
        let difference = found - cosine(&moment(update));
        ensure!(
            difference.abs() < 1e-12,
            "the rates differ by {difference} at {update}"
        );
    }
    let mut pairs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        pairs.push([
            nanoseconds(|call| {
                black_box(schedule.rate(&moment(call % UPDATES))?);
                Ok(())
            })?,
            nanoseconds(|call| {
                black_box(cosine(&moment(call % UPDATES)));
                Ok(())
            })?,
        ]);
    }
    // An update asks for each of two groups of parameters.
    show("cosine", pairs, 2.0)
}

/// Logits and class ids of one batch.
fn batch() -> (Tensor<2>, Tensor<1, Int>) {
    let device = Device::flex();
    let logits = Tensor::<1, Int>::arange(0..(PICTURES * CLASSES) as i64, &device)
        .float()
        .mul_scalar(0.731)
        .sin()
        .reshape([PICTURES, CLASSES]);
    let ids =
        Tensor::<1, Int>::arange(0..PICTURES as i64, &device).remainder_scalar(CLASSES as i64);
    (logits.autodiff().require_grad(), ids.autodiff())
}

/// The operations of the hook, without it.
fn cross_entropy(logits: &Tensor<2>, ids: &Tensor<1, Int>) -> Tensor<1> {
    let targets = ids.clone().one_hot::<2>(CLASSES).float();
    (log_softmax(logits.clone(), 1) * targets).sum() / -(PICTURES as f64)
}

fn moment(update: u64) -> Moment<'static> {
    Moment {
        update,
        updates: UPDATES,
        epoch: (update / 10) as f64,
        epochs: (UPDATES / 10) as u32,
        base_rate: BASE_RATE,
        group: Group {
            name: "decay",
            index: 0,
        },
    }
}

/// The curve of the schedule with its default settings: by epochs, down to 1e-5.
fn cosine(moment: &Moment<'_>) -> f64 {
    const LEAST: f64 = 1e-5;
    let share = moment.epoch / f64::from(moment.epochs);
    LEAST + (moment.base_rate - LEAST) * 0.5 * (1.0 + (PI * share).cos())
}

/// Nanoseconds of a call.
fn nanoseconds(mut call: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    for number in 0..CALLS {
        call(number)?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / CALLS as f64)
}

/// The row of one hook, which an update calls so many times.
fn show(name: &str, pairs: Vec<[f64; 2]>, calls: f64) -> Result<()> {
    let median = |of: &dyn Fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        [
            values[0],
            values[values.len() / 2],
            values[values.len() - 1],
        ]
    };
    let sandbox = median(&|pair| pair[0])[1];
    let native = median(&|pair| pair[1])[1];
    let [least, ratio, most] = median(&|pair| pair[0] / pair[1]);
    let more = median(&|pair| pair[0] - pair[1])[1];
    let found = bench(
        experiment::load(Some("digits"), &[])?,
        None,
        name,
        None,
        &BTreeMap::new(),
    )?;
    let call = found.calls.first().context("a plugin has a call")?;
    let step = found.step_ms * 1e6;
    println!(
        "| {name} | {sandbox:.0} | {native:.0} | {ratio:.2} ({least:.2} to {most:.2}) | {more:.0} | {} | {} \
         | {:.5} % |",
        call.fuel,
        call.readbacks,
        100.0 * calls * more / step,
    );
    Ok(())
}
