//! One training step of every hybrid beside one end to end, in time and in memory, with the frozen stages
//! computed and with their features read from a file, and what the method's model of costs says of each.
//!
//! The network is that of `benches/step.rs`: 28 pixels, patch 4, width 192, 3 heads, batch 64; 12 blocks in 4
//! modules, a meta block for each. Steps are taken in turns, and the processor's time is counted beside the
//! clock's, so that a machine that is busy with something else is busy for both.
//!
//! ```sh
//! cargo bench --bench hybrids                # prints the table
//! cargo bench --bench hybrids -- --write     # and keeps it in benches/results
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is the result"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use incubate::allocator::LargeBlocks;
use incubate::model::{Architecture, Network, Noise, Trained, VitConfig};
use incubate::optimizer::{AdamWConfig, Group, Optimizer};
use incubate::phase::Phase;
use incubate::plugin::ModuleDepth;
use incubate::random::Seed;
use incubate::run::{CheckpointOrigin, FeatureKey, FeatureReader, RunFolder, RunRecord, Unit};
use incubate::training::NetworkSize;
use tempfile::TempDir;

/// The allocator of the command.
#[global_allocator]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

const BATCH: usize = 64;
/// Pictures whose features are kept: batches of them are read in changing orders.
const PICTURES: usize = 4 * BATCH;
const CLASSES: usize = 10;
const WIDTH: usize = 192;
const MODULES: usize = 4;
const DEPTH: usize = 12;
const RATES: [f64; Group::ALL.len()] = [1e-3; Group::ALL.len()];
/// Steps of each kind that are timed.
const ROUNDS: usize = 7;
/// Steps of a process whose memory is looked at.
const MEMORY_STEPS: usize = 3;
/// Asks a process for the memory of one kind of step.
const PEAK: &str = "--peak";
/// How far beyond its ideal a step is let pass without being named.
const ALLOWED: f64 = 0.10;

/// A kind of training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    EndToEnd,
    /// With its frozen stages at every update.
    Computed(usize),
    /// From kept features.
    Kept(usize),
}

impl Kind {
    fn all() -> Vec<Self> {
        let computed = (0..MODULES).map(Self::Computed);
        let kept = (1..MODULES).map(Self::Kept);
        std::iter::once(Self::EndToEnd)
            .chain(computed)
            .chain(kept)
            .collect()
    }

    fn module(self) -> Option<usize> {
        match self {
            Self::EndToEnd => None,
            Self::Computed(module) | Self::Kept(module) => Some(module),
        }
    }

    fn phase(self) -> Phase {
        self.module().map_or(Phase::Baseline, Phase::Module)
    }

    fn depths(self) -> [usize; MODULES] {
        let mut depths = [DEPTH / MODULES; MODULES];
        if let Some(module) = self.module() {
            depths = [1; MODULES];
            depths[module] = DEPTH / MODULES;
        }
        depths
    }

    fn title(self) -> String {
        match self {
            Self::EndToEnd => "end to end".to_owned(),
            Self::Computed(module) => format!("hybrid {module}"),
            Self::Kept(module) => format!("hybrid {module}, features kept"),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|kind| kind.title() == name)
    }

    /// Forward passes, input gradients, and weight gradients of a block, of which each counts 1.
    fn blocks(self) -> f64 {
        let depths = self.depths();
        let all: usize = depths.iter().sum();
        let module = self.module().unwrap_or(0);
        let behind: usize = depths[module..].iter().sum();
        let trained = self.module().map_or(all, |module| depths[module]);
        let frozen = if matches!(self, Self::Kept(_)) {
            all - behind
        } else {
            0
        };
        (all - frozen + behind + trained) as f64
    }

    /// Multiplications of matrix products for a picture.
    fn macs(self) -> f64 {
        let (architecture, depths) = (architecture(), self.depths());
        let trained = self.module().map_or(Trained::All, Trained::Module);
        let all = architecture.training_macs(&depths, trained).total();
        match self {
            Self::Kept(module) => (all - architecture.prefix_macs(&depths, module)) as f64,
            _ => all as f64,
        }
    }

    /// Bytes, as `incubate plan` estimates them.
    fn bytes(self) -> f64 {
        let module = ModuleDepth {
            target: (DEPTH / MODULES) as u32,
            meta: 1,
        };
        let architecture = architecture();
        let size = NetworkSize::new(
            self.phase(),
            &self.depths(),
            &[module; MODULES],
            &architecture.costs(BATCH),
        );
        size.training_bytes(architecture.between_blocks(BATCH), false, false) as f64
    }
}

fn architecture() -> Architecture {
    Architecture::Vit(config())
}

fn config() -> VitConfig {
    VitConfig {
        image_size: 28,
        patch_size: 4,
        channels: 1,
        classes: CLASSES,
        width: WIDTH,
        depth: DEPTH,
        heads: 3,
        mlp_ratio: 4,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    }
}

fn pictures(count: usize) -> Tensor<4> {
    Tensor::<1, Int>::arange(0..(count * 28 * 28) as i64, &Device::flex())
        .float()
        .mul_scalar(0.731)
        .sin()
        .reshape([count, 1, 28, 28])
}

/// Training of one kind, step by step.
struct Training {
    kind: Kind,
    network: Option<Network>,
    optimizer: Optimizer,
    images: Tensor<4>,
    targets: Tensor<2>,
    features: Option<(FeatureReader, TempDir)>,
    steps: u64,
}

impl Training {
    fn new(kind: Kind) -> Result<Self> {
        let mut network =
            architecture().network(&kind.depths(), Seed(0), kind.phase(), &Device::flex())?;
        if let Some(module) = kind.module() {
            network = network.freeze_all_but(module);
        }
        let features = match kind {
            Kind::Kept(module) => Some(keep(&network, module)?),
            _ => None,
        };
        let labels =
            Tensor::<1, Int>::arange(0..BATCH as i64, &Device::flex()).remainder_scalar(10);
        Ok(Self {
            kind,
            optimizer: Optimizer::new(AdamWConfig::default(), &network, kind.phase()),
            network: Some(network),
            images: pictures(BATCH),
            targets: labels.one_hot::<2>(CLASSES).float().autodiff(),
            features,
            steps: 0,
        })
    }

    /// One step; answers its seconds by the clock, and those of all processors.
    fn step(&mut self) -> Result<[f64; 2]> {
        let network = self
            .network
            .take()
            .context("the last step left a network")?;
        let (begun, worked) = (Instant::now(), processor_time()?);
        let off = Noise::off();
        let forward = match (self.kind, &mut self.features) {
            (Kind::Kept(module), Some((reader, _))) => {
                // As an epoch reads them: from everywhere in the file.
                let place = |index: u64| (index * 37 + self.steps * 11) % PICTURES as u64;
                let places: Vec<u64> = (0..BATCH as u64).map(place).collect();
                let values = reader.read(&places).map_err(anyhow::Error::msg)?;
                let [tokens, width] = architecture().tokens();
                let data = TensorData::new(values, [BATCH, tokens, width]);
                let features = Tensor::<3>::from_data(data, &Device::flex());
                network.forward_hybrid_from(features, module, &off)
            }
            (kind, _) => match kind.module() {
                Some(module) => network.forward_hybrid(self.images.clone(), module, &off),
                None => network.forward(self.images.clone().autodiff(), &off),
            },
        };
        let picked = (log_softmax(forward.logits, 1) * self.targets.clone()).sum_dim(1);
        self.optimizer.accumulate(&network, -picked.mean())?;
        let stepped = self.optimizer.step(network, &RATES)?;
        let seconds = [begun.elapsed(), processor_time()?.saturating_sub(worked)];
        self.network = Some(stepped.network);
        self.steps += 1;
        Ok(seconds.map(|time| time.as_secs_f64()))
    }
}

/// The features of [`PICTURES`] in a run folder of their own.
fn keep(network: &Network, module: usize) -> Result<(FeatureReader, TempDir)> {
    let folder = tempfile::tempdir()?;
    let record: RunRecord = serde_json::from_str(
        r#"{"format":1,"host_version":"","experiment_sha256":"","data_sha256":"","plugins":{},"division":[]}"#,
    )?;
    let run = RunFolder::create(&folder.path().join("run"), "", &record)?;
    let [tokens, width] = architecture().tokens();
    let unit = Unit::Train(Phase::Module(module));
    let key = FeatureKey {
        unit: unit.to_string(),
        device: "CPU".to_owned(),
        origin: CheckpointOrigin {
            experiment_sha256: String::new(),
            data_sha256: String::new(),
            built_from: BTreeMap::new(),
        },
        records: PICTURES as u64,
        values: tokens * width,
    };
    let mut writer = run.feature_writer(unit, key)?;
    let images = pictures(PICTURES);
    for first in (0..PICTURES).step_by(BATCH) {
        let batch = images.clone().narrow(0, first, BATCH);
        let features = network.frozen_features(batch, module).into_data();
        writer.write(&features.iter().collect::<Vec<f32>>())?;
    }
    Ok((writer.finish()?, folder))
}

/// What was measured of one kind.
struct Measured {
    kind: Kind,
    /// Seconds of its fastest step, by the clock.
    seconds: f64,
    /// The fastest step over the fastest end to end, by the clock.
    clock: f64,
    /// The same of the time of all processors.
    ratio: f64,
    /// Bytes at the peak, beyond what the process had after a step of a network of next to nothing.
    peak: f64,
}

fn measured() -> Result<Vec<Measured>> {
    let mut trainings = Kind::all()
        .into_iter()
        .map(Training::new)
        .collect::<Result<Vec<_>>>()?;
    let mut fastest = vec![[f64::MAX; 2]; trainings.len()];
    for round in 0..=ROUNDS {
        for (training, fastest) in trainings.iter_mut().zip(&mut fastest) {
            let seconds = training.step()?;
            // The first step of each fills caches and allocates.
            if round > 0 {
                for (least, one) in fastest.iter_mut().zip(seconds) {
                    *least = least.min(one);
                }
            }
        }
        eprintln!("{round} of {ROUNDS} rounds");
    }
    // The first kind is end to end.
    let whole = fastest[0];
    let measured = trainings.iter().zip(&fastest).map(|(training, seconds)| {
        Ok(Measured {
            kind: training.kind,
            seconds: seconds[0],
            clock: seconds[0] / whole[0],
            ratio: seconds[1] / whole[1],
            peak: peak_of(training.kind)?,
        })
    });
    measured.collect()
}

/// The peak of a process that takes some steps of this kind and nothing else.
fn peak_of(kind: Kind) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args([PEAK, &kind.title()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.trim().parse().context("the child answers bytes")
}

/// What the child of [`peak_of`] does.
fn print_peak(name: &str) -> Result<()> {
    let kind = Kind::named(name).with_context(|| format!("no kind of step `{name}`"))?;
    // What code and threads take comes with the first step, whatever it is of.
    step_of_one_block()?;
    let before = status("VmRSS")?;
    let mut training = Training::new(kind)?;
    for _ in 0..MEMORY_STEPS {
        training.step()?;
    }
    println!("{}", status("VmHWM")? - before);
    Ok(())
}

/// A training step of a network of next to nothing.
fn step_of_one_block() -> Result<()> {
    let small = Architecture::Vit(VitConfig {
        width: 12,
        depth: 1,
        ..config()
    });
    let network = small.network(&[1], Seed(0), Phase::Baseline, &Device::flex())?;
    let mut optimizer = Optimizer::new(AdamWConfig::default(), &network, Phase::Baseline);
    let forward = network.forward(pictures(16).autodiff(), &Noise::off());
    optimizer.accumulate(&network, forward.logits.powi_scalar(2).mean())?;
    optimizer.step(network, &RATES)?;
    Ok(())
}

/// The time that all threads of this process had a processor.
fn processor_time() -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task").context("times are read on Linux")? {
        // A thread can end meanwhile.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next();
        nanoseconds += first.and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Bytes that the system counts for this process.
fn status(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("peaks are read on Linux")?;
    let line = text.lines().find(|line| line.starts_with(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(1024 * kilobytes.with_context(|| format!("no {field}"))?)
}

/// The table, in Markdown.
fn table(all: &[Measured]) -> Result<String> {
    let whole = all
        .iter()
        .find(|one| one.kind == Kind::EndToEnd)
        .context("end to end is measured")?;
    let mut text = String::from(
        "| a step of | ms | clock | processors | products | off by | blocks | peak MiB | memory | estimate | off by |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut beyond = Vec::new();
    for one in all {
        let [macs, blocks, bytes] = [Kind::macs, Kind::blocks, Kind::bytes]
            .map(|count| count(one.kind) / count(Kind::EndToEnd));
        let (time, memory) = (one.ratio, one.peak / whole.peak);
        let off = |found: f64, ideal: f64| found / ideal - 1.0;
        writeln!(
            text,
            "| {} | {:.0} | {:.3} | {time:.3} | {macs:.3} | {:+.0} % | {blocks:.3} | {:.0} | {memory:.3} | {bytes:.3} | {:+.0} % |",
            one.kind.title(),
            one.seconds * 1e3,
            one.clock,
            100.0 * off(time, macs),
            one.peak / f64::from(1 << 20),
            100.0 * off(memory, bytes),
        )?;
        for (what, found, ideal) in [("time", time, macs), ("memory", memory, bytes)] {
            if off(found, ideal) > ALLOWED {
                beyond.push(format!("{} ({what})", one.kind.title()));
            }
        }
    }
    writeln!(text)?;
    if beyond.is_empty() {
        writeln!(text, "None takes more than 10 % beyond its ideal.")?;
    } else {
        writeln!(
            text,
            "More than 10 % beyond the ideal: {}.",
            beyond.join(", ")
        )?;
    }
    Ok(text)
}

/// What the table is of, and on which machine it was made.
fn heading() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo").context("what processor this is")?;
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    let processor = name.map_or("unknown", |(_, name)| name.trim());
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    Ok(format!(
        "# Steps of hybrids beside steps end to end\n\n\
         Made by `cargo bench --bench hybrids -- --write`: a ViT of 12 blocks, width 192, 50 tokens, batch 64,\n\
         float32, in 4 modules with one meta block each; forward, backward, and AdamW. {processor}, {} threads,\n\
         load {load} (of which this takes the number of threads).\n\n\
         Times and memory are shares of those end to end: the fastest of {ROUNDS} steps, one of each kind after the\n\
         other, by the clock and by the time of all processors, which other work on the machine changes less;\n\
         and the peak of a process of its own without what a step of next to nothing took. Ideal are\n\
         the products of matrices that the model of costs counts, beside blocks (forward, input gradient, and\n\
         weight gradient count 1 each), and the bytes that `incubate plan` estimates. With features kept, reading\n\
         them counts.\n\n",
        std::thread::available_parallelism()?.get(),
    ))
}

fn run(write: bool) -> Result<()> {
    let heading = heading()?;
    let table = table(&measured()?)?;
    println!("{heading}{table}");
    if write {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
        fs::write(folder.join("hybrids.md"), heading + &table)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let peak = arguments.iter().position(|argument| argument == PEAK);
    let result = match peak.and_then(|place| arguments.get(place + 1)) {
        Some(name) => print_peak(name),
        None => run(arguments.iter().any(|argument| argument == "--write")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
