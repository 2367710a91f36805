//! Processes that are killed without warning, at any time and while a checkpoint is written: what is
//! left always leads to the bits of a run that nobody disturbed.
//!
//! `tests/kills.sh` does it 200 times; as a test it is done a few times. `INCUBATE_KILLS` is how often.
#![expect(
    clippy::print_stderr,
    reason = "what was done is the result of the script"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::command::TINY;

/// Kills, where nobody says how many.
const KILLS: usize = 12;
/// How long a process is waited for that is to be killed while it writes a checkpoint.
const PATIENCE: Duration = Duration::from_secs(20);
/// The units of the run, all of which but one train.
const UNITS: [&str; 6] = [
    "meta",
    "module.0",
    "module.1",
    "assemble",
    "fine-tune",
    "baseline",
];

/// Small draws, the same in every run of the test.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's constants of MMIX.
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn start(run: &Path, threads: u64) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command.args(["run", "digits", "--device", "cpu", "--out"]);
    command.arg(run);
    let more = [
        "fine-tune.epochs=2",
        "baseline.epochs=2",
        "training.ema=0.9",
        "training.augmentation.mixup=0.8",
        "training.accumulation=2",
        "schedule.plugin=plateau",
        "schedule.parameters.patience=0",
        "schedule.parameters.threshold=0.5",
        "checkpoint.every_updates=1",
    ];
    for assignment in TINY.iter().chain(&more) {
        command.args(["--set", assignment]);
    }
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
    command
        .env("XDG_CACHE_HOME", cache)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The unit that a process works on, by its lease.
fn working_on(run: &Path) -> Option<&'static str> {
    let held = |unit: &&str| run.join("units").join(unit).join("lease.json").exists();
    UNITS.into_iter().find(held)
}

/// What is half written, or half removed, of the checkpoints of every unit.
fn half_written(run: &Path) -> BTreeSet<(&'static str, OsString)> {
    let mut found = BTreeSet::new();
    for unit in UNITS {
        let folder = run.join("units").join(unit).join("checkpoints");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        let hidden = names.filter(|name| name.to_string_lossy().starts_with('.'));
        found.extend(hidden.map(|name| (unit, name)));
    }
    found
}

fn weights(run: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let file = |unit: &str| run.join("units").join(unit).join("weights.safetensors");
    UNITS
        .into_iter()
        .map(|unit| (unit, fs::read(file(unit)).unwrap()))
        .collect()
}

/// Waits for the process as long as `done` says that it should go on; whether it is still there.
fn wait_until(child: &mut Child, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if done() || begun.elapsed() > PATIENCE {
            return true;
        }
        thread::sleep(Duration::from_micros(200));
    }
    false
}

#[test]
fn processes_that_are_killed_anywhere_lose_no_bit() {
    let wanted = std::env::var("INCUBATE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = tempdir().unwrap();
    let whole = folder.path().join("whole");
    let begun = Instant::now();
    assert!(
        start(&whole, 2)
            .wait_with_output()
            .unwrap()
            .status
            .success()
    );
    let expected = weights(&whole);
    // One process seldom comes further than this share of the run.
    let long = u64::try_from(begun.elapsed().as_millis()).unwrap().max(200);
    let mut draws = Draws(1);
    let (mut kills, mut runs) = (0, 0);
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    while kills < wanted {
        runs += 1;
        let run = folder.path().join(format!("run-{runs}"));
        for attempt in 0.. {
            // What an earlier process left half written does not count for this one.
            let before = half_written(&run);
            let writing = || half_written(&run).difference(&before).next().cloned();
            let mut child = start(&run, 1 + draws.below(3));
            let patience = Duration::from_millis(draws.below(long / 2 + 20 * attempt));
            let at = Instant::now();
            // Every other process is killed when it writes a checkpoint after that time.
            let aimed = draws.below(2) == 0;
            let there = wait_until(&mut child, || {
                at.elapsed() >= patience && (!aimed || writing().is_some())
            });
            if there {
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            match output.status.code() {
                Some(0) => break,
                Some(code) => panic!(
                    "run {runs}, after {kills} kills: status {code}: {}",
                    String::from_utf8_lossy(&output.stderr)
                ),
                None => {
                    kills += 1;
                    let place = match (writing(), working_on(&run)) {
                        (Some((unit, _)), _) => (unit, "writing a checkpoint"),
                        (None, Some(unit)) => (unit, "working"),
                        (None, None) => ("no unit", "beginning"),
                    };
                    *places.entry(place).or_default() += 1;
                }
            }
        }
        let found = weights(&run);
        for unit in UNITS {
            assert!(found[unit] == expected[unit], "run {runs}: {unit}");
        }
        fs::remove_dir_all(&run).unwrap();
    }
    for ((unit, what), count) in &places {
        eprintln!("{count:>4} killed {what}: {unit}");
    }
    eprintln!("{kills} kills in {runs} runs; lost or different bits: 0");
    let within = |what: &str| -> usize {
        let matching = places.iter().filter(|((_, found), _)| *found == what);
        matching.map(|(_, count)| count).sum()
    };
    assert!(within("writing a checkpoint") > 0, "{places:?}");
    assert!(
        kills < 50
            || UNITS.iter().all(|unit| {
                // The assembly takes no time in which one could be hit for sure.
                *unit == "assemble" || places.keys().any(|(found, _)| found == unit)
            }),
        "{places:?}"
    );
}
