//! The same work in PyTorch and here, alternating in one run: ratios with their spread.
//!
//! ```text
//! cargo bench --bench pytorch -- training --python PATH   # torch
//! cargo bench --bench pytorch -- loading --python PATH    # torch, torchvision, timm
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the bench is a command"
)]

mod loading;
#[path = "../machine.rs"]
mod machine;
mod ratio;
mod table;
mod training;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use incubate::allocator::LargeBlocks;
use incubate::model::Precision;
use incubate::phase::Phase;
use serde::Deserialize;
use serde_json::json;

use machine::{Machine, Memory};
use ratio::{Better, Pairs};
use table::{Row, Table};
use training::{Case, Evaluation, Model, Step, Training};
use worker::Worker;

/// The allocator of the command.
#[global_allocator]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

/// How far the first losses of both may be apart, as a share; the networks have the same weights.
const SAME_LOSS: [(Precision, f64); 2] = [(Precision::Float32, 1e-4), (Precision::BFloat16, 2e-2)];

/// Threads of one side sleep before the other begins.
const PAUSE: Duration = Duration::from_millis(100);

/// Steps of the process whose memory is measured.
const MEMORY_STEPS: usize = 5;

#[derive(Parser)]
#[command(about = "Compares incubate with PyTorch")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Given by cargo.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Training steps, evaluation, and peak memory, by phase.
    Training(Options),
    /// Pictures from files, decoded and changed, for training and evaluation.
    Loading(loading::Options),
    /// Trains a little and tells what memory that took: a process of its own.
    #[command(hide = true)]
    Memory {
        #[arg(long)]
        model: Model,
        /// The index of the phase.
        #[arg(long)]
        phase: usize,
        #[arg(long)]
        precision: Type,
        #[arg(long)]
        threads: usize,
    },
}

#[derive(Args)]
struct Options {
    /// A Python with the package torch.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Threads of each side.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Pairs of measurements; ratios are formed in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What is trained: `digits`, or `vit-N`, of depth N.
    #[arg(long, value_delimiter = ',', default_value = "vit-12,vit-4,digits")]
    models: Vec<Model>,
    /// What is computed in.
    #[arg(long, value_delimiter = ',', default_value = "float32,bfloat16")]
    precisions: Vec<Type>,
    /// The phases: `meta`, `module.0` …, `fine-tune`; all if none is named.
    #[arg(long, value_delimiter = ',')]
    phases: Vec<String>,
    /// Seconds of one measurement at least.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Leaves the memory out.
    #[arg(long)]
    no_memory: bool,
    /// Where `pytorch-training.json` and `.md` go; without it they are not written.
    #[arg(long)]
    into: Option<PathBuf>,
}

/// What is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    Float32,
    Bfloat16,
}

impl From<Type> for Precision {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Float32 => Self::Float32,
            Type::Bfloat16 => Self::BFloat16,
        }
    }
}

/// The versions of the other side.
#[derive(Deserialize)]
struct Versions {
    python: String,
    torch: String,
}

/// What the other side computes with.
#[derive(Deserialize)]
struct Ways {
    attention: String,
    optimizer: String,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Training(options) => compare(&options),
        Command::Loading(options) => loading::compare(&options),
        Command::Memory {
            model,
            phase,
            precision,
            threads,
        } => own_memory(model, phase, precision.into(), threads),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn use_threads(threads: usize) -> Result<()> {
    ensure!(threads > 0, "--threads has to be at least 1");
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("the threads of this side")
}

/// Measures every case and shows the table.
fn compare(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds has to be at least 1");
    use_threads(options.threads)?;
    let machine = Machine::here()?;
    let folder = tempfile::tempdir()?;
    let mut worker = Worker::start(&options.python, "model.py", options.threads)?;
    let versions: Versions = worker.ask(&json!({"do": "about"}))?;
    let mut ways = None;
    let mut rows = Vec::new();
    for model in &options.models {
        for precision in &options.precisions {
            for phase in model.phases() {
                let named = |name: &String| *name == phase.to_string();
                if !options.phases.is_empty() && !options.phases.iter().any(named) {
                    continue;
                }
                let case = Case {
                    model: model.clone(),
                    phase,
                    precision: (*precision).into(),
                };
                eprintln!("{case}");
                training::write(&case, folder.path(), "case")?;
                let (found, measured) = times(&case, options, &mut worker, folder.path())?;
                ways = Some(found);
                rows.extend(measured);
                if !options.no_memory {
                    rows.push(memory(&case, options, folder.path())?);
                }
            }
        }
    }
    let ways = ways.context("no phase has such a name (--phases meta,module.0,fine-tune)")?;
    let table = Table {
        title: "Training, beside PyTorch",
        machine,
        threads: options.threads,
        pytorch: format!(
            "PyTorch {} ({}, {}), Python {}",
            versions.torch, ways.attention, ways.optimizer, versions.python
        ),
        incubate: env!("CARGO_PKG_VERSION"),
        rounds: options.rounds,
        columns: &["model", "precision", "phase", "part"],
        rows,
    };
    table.show(options.into.as_deref(), "pytorch-training")
}

/// The command that opens a case in the worker.
fn open(case: &Case, folder: &Path) -> serde_json::Value {
    json!({
        "do": "open",
        "folder": folder,
        "name": "case",
        "precision": case.precision.to_string(),
        "trained": case.phase.module(),
    })
}

/// Steps and evaluations, one side after the other.
fn times(
    case: &Case,
    options: &Options,
    worker: &mut Worker,
    folder: &Path,
) -> Result<(Ways, Vec<Row>)> {
    let ways: Ways = worker.ask(&open(case, folder))?;
    let mut ours = Training::new(case)?;
    let step = |calls: usize| json!({"do": "step", "calls": calls});
    let evaluate = |calls: usize| json!({"do": "evaluate", "calls": calls});
    // The first steps warm both up, and show that they do the same.
    let (first, other): (Step, Step) = (ours.step(3)?, worker.ask(&step(3))?);
    let near = |precision| SAME_LOSS.iter().find(|(one, _)| *one == precision);
    let (_, most) = near(case.precision).context("a precision of the list")?;
    let apart = (first.first_loss / other.first_loss - 1.0).abs();
    ensure!(
        apart <= *most,
        "the networks differ: the first loss of {case} is {} here and {} in PyTorch",
        first.first_loss,
        other.first_loss
    );
    let calls = calls(options.seconds, first.step.min(other.step));
    let (passed, there): (Evaluation, Evaluation) = (ours.evaluate(3)?, worker.ask(&evaluate(3))?);
    let passes = self::calls(options.seconds, passed.evaluation.min(there.evaluation));
    let mut pairs: [Pairs; 4] = Default::default();
    let mut least = [f64::INFINITY; 2];
    for _ in 0..options.rounds {
        std::thread::sleep(PAUSE);
        let there: Step = worker.ask(&step(calls))?;
        std::thread::sleep(PAUSE);
        let here = ours.step(calls)?;
        pairs[0].push(1e3 * there.forward, 1e3 * here.forward);
        pairs[1].push(1e3 * there.backward, 1e3 * here.backward);
        pairs[2].push(1e3 * there.step, 1e3 * here.step);
        least = [
            least[0].min(there.least_loss),
            least[1].min(here.least_loss),
        ];
        std::thread::sleep(PAUSE);
        let there: Evaluation = worker.ask(&evaluate(passes))?;
        std::thread::sleep(PAUSE);
        let here = ours.evaluate(passes)?;
        pairs[3].push(1e3 * there.evaluation, 1e3 * here.evaluation);
    }
    let sides = ["PyTorch", "incubate"].into_iter().zip(least);
    for ((side, least), begun) in sides.zip([other.first_loss, first.first_loss]) {
        ensure!(
            least < begun,
            "{case} does not learn in {side}: its loss was {begun}, and {least} at the least"
        );
    }
    let parts = ["forward", "forward, backward", "step", "evaluation"];
    let rows = parts
        .into_iter()
        .zip(pairs)
        .map(|(part, pairs)| Row::new(what(case, part), "ms", Better::Less, pairs))
        .collect();
    Ok((ways, rows))
}

/// What a row of the table is.
fn what(case: &Case, part: &str) -> Vec<String> {
    vec![
        case.model.to_string(),
        case.precision.to_string(),
        case.phase.to_string(),
        part.to_owned(),
    ]
}

/// How often something that takes so long is done in one measurement.
fn calls(seconds: f64, each: f64) -> usize {
    ((seconds / each).ceil() as usize).max(1)
}

/// The most memory of each side, in processes of their own.
fn memory(case: &Case, options: &Options, folder: &Path) -> Result<Row> {
    let mut worker = Worker::start(&options.python, "model.py", options.threads)?;
    let _: Ways = worker.ask(&open(case, folder))?;
    let _: Step = worker.ask(&json!({"do": "step", "calls": MEMORY_STEPS}))?;
    let there: Memory = worker.ask(&json!({"do": "memory"}))?;
    drop(worker);
    let phases = case.model.phases();
    let phase = phases.iter().position(|phase| *phase == case.phase);
    let output = Process::new(std::env::current_exe()?)
        .args(["memory", "--model", &case.model.to_string()])
        .args(["--phase", &phase.unwrap_or_default().to_string()])
        .args(["--precision", &case.precision.to_string()])
        .args(["--threads", &options.threads.to_string()])
        .output()?;
    ensure!(
        output.status.success(),
        "the process for the memory of {case} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let here: Memory = serde_json::from_slice(&output.stdout)?;
    let mut pairs = Pairs::default();
    pairs.push(1e-6 * there.peak as f64, 1e-6 * here.peak as f64);
    Ok(Row::new(
        what(case, "peak memory"),
        "MB",
        Better::Less,
        pairs,
    ))
}

/// Trains a little and prints the memory of this process.
fn own_memory(model: Model, phase: usize, precision: Precision, threads: usize) -> Result<()> {
    use_threads(threads)?;
    let phases: Vec<Phase> = model.phases();
    let phase = *phases.get(phase).context("the index of a phase")?;
    let mut training = Training::new(&Case {
        model,
        phase,
        precision,
    })?;
    training.step(MEMORY_STEPS)?;
    println!("{}", serde_json::to_string(&Memory::here()?)?);
    Ok(())
}
