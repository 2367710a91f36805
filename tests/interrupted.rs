//! A run that was killed in the middle of fine-tuning, made once for every test that does something to a
//! copy of it, and the same run undisturbed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::background::{Background, wait_for};
use crate::command::{Answer, TINY};

/// What is above the tiny experiment.
const MORE: [&str; 4] = [
    "fine-tune.epochs=4",
    "training.ema=0.9",
    "checkpoint.every_updates=2",
    "checkpoint.keep_last=3",
];
/// The units that the run is asked for, and that recorded calls are kept.
const ARGUMENTS: [&str; 11] = [
    "--unit",
    "meta",
    "--unit",
    "module.0",
    "--unit",
    "module.1",
    "--unit",
    "assemble",
    "--unit",
    "fine-tune",
    "--record-plugins=4",
];
/// Those units.
const UNITS: [&str; 5] = ["meta", "module.0", "module.1", "assemble", "fine-tune"];

/// The weights of every unit, by its name.
type Weights = BTreeMap<&'static str, Vec<u8>>;

struct Made {
    folder: TempDir,
    weights: Weights,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        go_on(&whole, |command| command).succeeded();
        let killed = folder.path().join("killed");
        let mut process = Background::tiny(&killed, &MORE, &ARGUMENTS);
        let checkpoint = killed.join("units/fine-tune/checkpoints/0000000008/state.json");
        wait_for("a checkpoint", || checkpoint.is_file().then_some(()));
        process.send("KILL");
        process.wait();
        // It may have written another one by then, and its logs are some updates ahead.
        for entry in fs::read_dir(killed.join("units/fine-tune/checkpoints")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() > *"0000000008" {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        assert!(!killed.join("units/fine-tune/result.json").exists());
        let manifest: Value = serde_json::from_slice(&fs::read(checkpoint).unwrap()).unwrap();
        for (log, key) in [("events", "events_bytes"), ("calls", "calls_bytes")] {
            let log = killed.join(format!("units/fine-tune/{log}.jsonl"));
            let bytes = manifest["manifest"]["state"][key].as_u64().unwrap();
            let log = File::options().write(true).open(log).unwrap();
            log.set_len(bytes).unwrap();
        }
        let weights = weights(&whole);
        assert_eq!(weights.len(), UNITS.len());
        Made { folder, weights }
    })
}

/// A copy of the killed run; it stays as long as what is answered.
pub(crate) fn killed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    copy(&made().folder.path().join("killed"), &run);
    (folder, run)
}

/// Goes on with a run in a process of the command that `prepare` changes, or puts into another.
pub(crate) fn go_on(run: &Path, prepare: impl FnOnce(Command) -> Command) -> Answer {
    answer(prepare(command(run)).output().unwrap())
}

/// The command that goes on with a run.
pub(crate) fn command(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command.args(["run", "digits", "--device", "cpu", "--out"]);
    command.arg(run);
    for assignment in TINY.iter().chain(&MORE) {
        command.args(["--set", assignment]);
    }
    command.args(ARGUMENTS);
    environment(&mut command);
    command
}

/// A shell that does `script` with the arguments of a command as `"$@"`; `$RUN` is the run folder.
pub(crate) fn shell(program: &[&str], script: &str, run: &Path) -> Answer {
    let inner = command(run);
    let mut outer = Command::new(program[0]);
    outer.args(&program[1..]).args(["sh", "-c", script, "sh"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.env("RUN", run);
    environment(&mut outer);
    answer(outer.output().unwrap())
}

fn environment(command: &mut Command) {
    command
        .env(
            "XDG_CACHE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
        )
        .env("NO_COLOR", "1");
}

fn answer(output: Output) -> Answer {
    Answer {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Goes on with nothing in the way, and compares every weight with the undisturbed run's.
#[track_caller]
pub(crate) fn ends_with_the_same_bits(run: &Path) {
    go_on(run, |command| command).succeeded();
    assert_same(run);
}

/// Every weight is that of the undisturbed run.
#[track_caller]
pub(crate) fn assert_same(run: &Path) {
    let found = weights(run);
    for (unit, expected) in &made().weights {
        assert!(found.get(unit) == Some(expected), "the weights of {unit}");
    }
}

fn weights(run: &Path) -> Weights {
    let file = |unit: &str| run.join("units").join(unit).join("weights.safetensors");
    UNITS
        .into_iter()
        .filter_map(|unit| Some((unit, fs::read(file(unit)).ok()?)))
        .collect()
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
