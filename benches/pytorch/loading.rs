//! The same pictures from the same files here and through timm's loader.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use incubate::data::{Augmentation, DataConfig, DataSet, KnownNormalisation, Loader, Part, open};
use incubate::phase::Phase;
use incubate::random::Seed;
use serde::Deserialize;
use serde_json::json;

use crate::machine::Machine;
use crate::ratio::{Better, Pairs};
use crate::table::{Row, Table};
use crate::worker::Worker;

const BATCH: usize = 64;

/// One side sleeps before the other begins.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct Options {
    /// A Python with the packages torch, torchvision, timm, numpy, and Pillow.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Threads here, and processes there, that decode.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Pairs of measurements; ratios are formed in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement at least.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// A folder with `large` and `small`, in each `train` and `val` with a folder for every class;
    /// without it they are made: textures as photographs have them, of the sizes of ImageNet's.
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// Where `pytorch-loading.json` and `.md` go; without it they are not written.
    #[arg(long)]
    into: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Versions {
    versions: String,
}

#[derive(Deserialize)]
struct Made {
    kilobytes: f64,
}

/// What it took to load every picture once.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Epoch {
    /// Wall-clock time.
    seconds: f64,
    /// Time of all processors, in seconds.
    processor: f64,
    pictures: usize,
}

impl Epoch {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.processor += other.processor;
        self.pictures += other.pictures;
    }
}

/// Measures every set and shows the table.
pub(crate) fn compare(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds has to be at least 1");
    ensure!(options.threads > 0, "--threads has to be at least 1");
    let machine = Machine::here()?;
    let mut worker = Worker::start(&options.python, "loading.py", options.threads)?;
    let Versions { versions } = worker.ask(&json!({"do": "about"}))?;
    let made = tempfile::tempdir()?;
    let folder = match &options.pictures {
        Some(folder) => folder.clone(),
        None => {
            let question =
                json!({"do": "make", "folder": made.path(), "train": 256, "validation": 128});
            let Made { kilobytes } = worker.ask(&question)?;
            eprintln!("made 384 pictures of {kilobytes:.0} kB");
            made.path().to_owned()
        }
    };
    let cores = machine.cores().min(options.threads) as f64;
    let mut rows = Vec::new();
    for (set, size) in [("large", 224), ("small", 32)] {
        for part in [Part::Train, Part::Validation] {
            let name = match part {
                Part::Train | Part::TrainInOrder => "train",
                Part::Validation => "val",
            };
            eprintln!("{set} {name}");
            let folder = folder.join(set);
            let pairs = times(&folder, part, size, options, &mut worker)?;
            for (unit, kind) in [
                ("pictures/s/core", &pairs.0),
                ("pictures/s of processor time", &pairs.1),
            ] {
                let mut scaled = Pairs::default();
                let share = if unit == "pictures/s/core" {
                    cores
                } else {
                    1.0
                };
                for [there, here] in kind {
                    scaled.push(there / share, here / share);
                }
                let what = vec![format!("{set}, {size} pixels"), name.to_owned()];
                rows.push(Row::new(what, unit, Better::More, scaled));
            }
        }
    }
    let table = Table {
        title: "Loading pictures, beside timm",
        machine,
        threads: options.threads,
        pytorch: versions,
        incubate: env!("CARGO_PKG_VERSION"),
        rounds: options.rounds,
        columns: &["pictures", "part"],
        rows,
    };
    table.show(options.into.as_deref(), "pytorch-loading")
}

/// Pictures a second, and a second of processor time, of every round.
type Rates = (Vec<[f64; 2]>, Vec<[f64; 2]>);

fn times(
    folder: &Path,
    part: Part,
    size: usize,
    options: &Options,
    worker: &mut Worker,
) -> Result<Rates> {
    let open = |normalise_in_workers: bool| {
        json!({
            "do": "open",
            "folder": folder,
            "part": match part {
                Part::Train | Part::TrainInOrder => "train",
                Part::Validation => "val",
            },
            "size": size,
            "batch": BATCH,
            "normalise_in_workers": normalise_in_workers,
        })
    };
    let again = json!({"do": "epoch"});
    // The way that is faster here.
    let mut fastest: Option<(f64, bool)> = None;
    for way in [true, false] {
        let _: Epoch = worker.ask(&open(way))?;
        let mut seconds = f64::INFINITY;
        for _ in 0..3 {
            seconds = seconds.min(worker.ask::<Epoch>(&again)?.seconds);
        }
        if fastest.is_none_or(|(least, _)| seconds < least) {
            fastest = Some((seconds, way));
        }
    }
    let (seconds, way) = fastest.context("there are two ways")?;
    let _: Epoch = worker.ask(&open(way))?;
    let loader = loader(folder, part, size, options.threads)?;
    let mut number = 0;
    let first = epoch(&loader, &mut number)?;
    let epochs = (options.seconds / seconds.min(first.seconds)).ceil() as usize;
    let (mut walls, mut processors) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        std::thread::sleep(PAUSE);
        let mut there = Epoch::default();
        for _ in 0..epochs {
            there.add(worker.ask(&again)?);
        }
        std::thread::sleep(PAUSE);
        let mut here = Epoch::default();
        for _ in 0..epochs {
            here.add(epoch(&loader, &mut number)?);
        }
        ensure!(
            there.pictures == here.pictures,
            "timm gave {} pictures and incubate {}",
            there.pictures,
            here.pictures
        );
        let rates = |time: fn(&Epoch) -> f64| {
            [there, here].map(|side| side.pictures as f64 / time(&side).max(0.01))
        };
        walls.push(rates(|side| side.seconds));
        processors.push(rates(|side| side.processor));
    }
    Ok((walls, processors))
}

/// The loader that training and evaluation have, with the recipe.
fn loader(folder: &Path, part: Part, size: usize, threads: usize) -> Result<Loader> {
    let small = size <= 32;
    let config = DataConfig {
        set: DataSet::Folder,
        path: Some(folder.to_owned()),
        normalisation: Some(KnownNormalisation::Imagenet),
        evaluation_crop: Some(if small { 1.0 } else { 0.875 }),
        threads: Some(threads),
        ..DataConfig::default()
    };
    let augmentation = Augmentation {
        crop_padding: if small { 4 } else { 0 },
        random_resized_crop: (!small).then_some([0.08, 1.0]),
        flip: 0.5,
        rand_augment: Some("rand-m9-mstd0.5-inc1".parse()?),
        random_erasing: 0.25,
        ..Augmentation::default()
    };
    let augmentation = (part == Part::Train).then_some(augmentation);
    let dataset = open(&config)?;
    Ok(Loader::new(
        &dataset,
        part,
        size,
        BATCH,
        augmentation,
        Seed(0),
        Phase::Baseline,
    )?)
}

/// Loads every picture of an epoch once.
fn epoch(loader: &Loader, number: &mut u64) -> Result<Epoch> {
    let used = processor_seconds()?;
    let begun = Instant::now();
    let mut pictures = 0;
    for batch in loader.epoch(*number) {
        pictures += batch?.labels.len();
    }
    *number += 1;
    Ok(Epoch {
        seconds: begun.elapsed().as_secs_f64(),
        processor: processor_seconds()? - used,
        pictures,
    })
}

/// What all threads of this process have used, by Linux's clock of hundredths.
fn processor_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text
        .rsplit_once(')')
        .context("/proc/self/stat has a name")?;
    let mut ticks = 0.0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / 100.0)
}
