//! What the boundary to plugins costs: the cross-entropy with its gradient and the cosine through the sandbox,
//! and the same computed without it, alternating in one run; with the share of a training step of the digits
//! and the instructions of a call: those of the component, which are the same at every run, and with Valgrind
//! here all that the processor does for it, the gradient of a loss included.
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
use std::io::ErrorKind;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
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

/// Calls between two counts of instructions.
const COUNTED: u64 = 500;

const UPDATES: u64 = 1000;
const BASE_RATE: f64 = 1e-3;

const CONTEXT: Context = Context {
    seed: Seed(0),
    phase: Phase::Baseline,
};

/// Asks the program for so many calls of one hook, and for nothing else.
const CALL: &str = "--call";

/// A call of a hook, by its number.
type Call = Box<dyn FnMut(u64) -> Result<()>>;

/// A hook, through the sandbox and without it.
struct Pair {
    name: &'static str,
    /// Calls in an update.
    calls: f64,
    sandbox: Call,
    native: Call,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let outcome = match arguments.iter().position(|argument| argument == CALL) {
        Some(place) => call(&arguments[place + 1..]),
        None => measure(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    println!(
        "| call | sandbox ns | native ns | ratio | more ns | of a digits step | waits for the device | \
         instructions in the sandbox | instructions of the processor, sandbox | native |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for pair in [loss()?, schedule()?] {
        show(pair)?;
    }
    Ok(())
}

fn loss() -> Result<Pair> {
    let host = PluginHost::new(None)?;
    let plugin = host.load(
        "cross-entropy",
        Kind::LossHook,
        &Grants::none(),
        &Limits::default(),
    )?;
    let mut hook = LossHook::new(&plugin, &plugin.settings(&BTreeMap::new())?, CONTEXT)?;
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
    Ok(Pair {
        name: "cross-entropy",
        calls: 1.0,
        sandbox: Box::new(move |_| {
            let loss = hook.compute(&step, inputs.clone())?;
            black_box(loss.into_scalar_tensor()?.backward());
            Ok(())
        }),
        native: Box::new(move |_| {
            black_box(cross_entropy(&logits, &ids).backward());
            Ok(())
        }),
    })
}

fn schedule() -> Result<Pair> {
    let host = PluginHost::new(None)?;
    let plugin = host.load(
        "cosine",
        Kind::LrSchedule,
        &Grants::none(),
        &Limits::default(),
    )?;
    let mut schedule = Schedule::new(&plugin, &plugin.settings(&BTreeMap::new())?, CONTEXT)?;
    for update in 0..UPDATES {
        let found = schedule.rate(&moment(update))?;
        let difference = found - cosine(&moment(update));
        ensure!(
            difference.abs() < 1e-12,
            "the rates differ by {difference} at {update}"
        );
    }
    Ok(Pair {
        name: "cosine",
        // For each of two groups of parameters.
        calls: 2.0,
        sandbox: Box::new(move |call| {
            black_box(schedule.rate(&moment(call % UPDATES))?);
            Ok(())
        }),
        native: Box::new(|call| {
            black_box(cosine(&moment(call % UPDATES)));
            Ok(())
        }),
    })
}

/// Calls one hook, and is counted from outside: its name, `sandbox` or `native`, how often.
fn call(arguments: &[String]) -> Result<()> {
    let [name, side, count] = arguments else {
        bail!("{CALL} NAME SIDE COUNT");
    };
    let pairs = [loss()?, schedule()?];
    let mut pairs = pairs.into_iter();
    let pair = pairs.find(|pair| pair.name == name);
    let mut pair = pair.with_context(|| format!("no hook is called {name}"))?;
    let call = match side.as_str() {
        "sandbox" => &mut pair.sandbox,
        "native" => &mut pair.native,
        _ => bail!("{side} is no side"),
    };
    for number in 0..count.parse()? {
        call(number)?;
    }
    Ok(())
}

/// Instructions of the processor that a call takes, counted by Cachegrind: what a process with twice the
/// calls takes more. Nothing where there is no Valgrind.
fn instructions(name: &str, side: &str) -> Result<Option<u64>> {
    let count = |calls: u64| -> Result<Option<u64>> {
        let command = Command::new("valgrind")
            .args([
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
            ])
            .arg(std::env::current_exe()?)
            .args([CALL, name, side, &calls.to_string()])
            // One thread, for others count while they wait.
            .env("RAYON_NUM_THREADS", "1")
            .output();
        let output = match command {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            output => output?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "valgrind: {said}");
        let line = said.lines().find(|line| line.contains("I   refs:"));
        let digits = line.map(|line| {
            let number = line.rsplit(':').next().unwrap_or_default();
            number
                .chars()
                .filter(char::is_ascii_digit)
                .collect::<String>()
        });
        Ok(Some(digits.context("valgrind counts")?.parse()?))
    };
    let (Some(once), Some(twice)) = (count(COUNTED)?, count(2 * COUNTED)?) else {
        return Ok(None);
    };
    Ok(Some(twice.saturating_sub(once) / COUNTED))
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
fn nanoseconds(call: &mut Call) -> Result<f64> {
    let begun = Instant::now();
    for number in 0..CALLS {
        call(number)?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / CALLS as f64)
}

/// Measures one hook and writes its row.
fn show(mut pair: Pair) -> Result<()> {
    let mut pairs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        pairs.push([
            nanoseconds(&mut pair.sandbox)?,
            nanoseconds(&mut pair.native)?,
        ]);
    }
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
        pair.name,
        None,
        &BTreeMap::new(),
    )?;
    let call = found.calls.first().context("a plugin has a call")?;
    let step = found.step_ms * 1e6;
    let counted = |side: &str| -> Result<String> {
        let count = instructions(pair.name, side)?;
        Ok(count.map_or_else(|| "no valgrind".to_owned(), |count| count.to_string()))
    };
    println!(
        "| {} | {sandbox:.0} | {native:.0} | {ratio:.2} ({least:.2} to {most:.2}) | {more:.0} | {:.5} % | {} \
         | {} | {} | {} |",
        pair.name,
        100.0 * pair.calls * more / step,
        call.readbacks,
        call.fuel,
        counted("sandbox")?,
        counted("native")?,
    );
    Ok(())
}
