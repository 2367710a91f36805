//! `run --jobs`: units in processes of their own at the same time, with real processes and real signals.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::background::{self, Background, log, log_file, send, updates, wait_for};
use crate::command::{TINY, incubate, tiny, tiny_with};
use crate::signals::{SOON, assert_tidy, endless};

/// The units of a run with two modules.
const UNITS: [&str; 6] = [
    "meta",
    "module.0",
    "module.1",
    "assemble",
    "fine-tune",
    "baseline",
];
/// Long enough to be interrupted.
const LONG: [&str; 2] = ["module.epochs=20000", "baseline.epochs=20000"];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The digests of all weights of a run, by unit.
fn digests(run: &Path) -> BTreeMap<&'static str, Value> {
    let digest = |unit: &str| {
        json(&run.join("units").join(unit).join("result.json"))["weights_sha256"].clone()
    };
    UNITS.into_iter().map(|unit| (unit, digest(unit))).collect()
}

/// The processes of the units, as a run says them to a person.
fn processes(said: &str) -> BTreeMap<String, u32> {
    let process = |line: &str| {
        let (unit, rest) = line.trim().split_once("  process ")?;
        let (process, _) = rest.split_once(" on cpu")?;
        Some((unit.to_owned(), process.parse().ok()?))
    };
    said.lines().filter_map(process).collect()
}

/// Whether a process is there and is this program.
fn is_there(process: u32) -> bool {
    let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    command.contains("--orders-from-stdin")
}

/// That no unit's process is left, soon.
#[track_caller]
fn assert_alone(said: &str) {
    let processes = processes(said);
    assert!(!processes.is_empty(), "{said}");
    let begun = Instant::now();
    while processes.values().any(|process| is_there(*process)) {
        assert!(begun.elapsed() < SOON, "one of {processes:?} is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a unit has a checkpoint.
fn has_checkpoint(run: &Path, unit: &str) -> bool {
    let folder = run.join("units").join(unit).join("checkpoints");
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| entry.unwrap().path().join("state.json").is_file())
    })
}

/// Begins a run that trains both modules for long, in two processes.
fn training_two(run: &Path, arguments: &[&str]) -> Background {
    tiny_with(run, &LONG, &["--unit", "meta"]).succeeded();
    let units = ["--unit", "module.0", "--unit", "module.1", "--jobs", "2"];
    let all: Vec<&str> = units.iter().chain(arguments).copied().collect();
    let process = Background::tiny(run, &LONG, &all);
    for unit in ["module.0", "module.1"] {
        wait_for("updates of both", || updates(run, unit).get(2).copied());
    }
    process
}

#[test]
fn units_side_by_side_give_the_bits_of_one_process_and_every_event() {
    let folder = tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let more = ["training.ema=0.9", "training.augmentation.mixup=0.8"];
    tiny(&whole, &more).succeeded();
    let answer = tiny_with(&parts, &more, &["--jobs", "3", "--json"]).succeeded();
    assert_eq!(digests(&whole), digests(&parts));

    let events = answer.json_lines();
    let place = |kind: &str, unit: Option<&str>| {
        let is = |event: &&Value| event["event"] == kind && event["unit"].as_str() == unit;
        assert_eq!(events.iter().filter(is).count(), 1, "{kind} {unit:?}");
        events.iter().position(|event| is(&event)).unwrap()
    };
    assert_eq!(place("run-started", None), 0);
    assert_eq!(place("run-finished", None), events.len() - 2);
    assert_eq!(place("report", None), events.len() - 1);
    let begin = |unit| place("process-started", Some(unit));
    let end = |unit| place("unit-finished", Some(unit));
    // Both chains at once, and both modules at once, but nothing before what it needs.
    assert!(begin("baseline") < end("meta"));
    assert!(end("meta") < begin("module.0") && end("meta") < begin("module.1"));
    assert!(begin("module.1") < end("module.0") && begin("module.0") < end("module.1"));
    assert!(end("module.0") < begin("assemble") && end("module.1") < begin("assemble"));
    assert!(end("assemble") < begin("fine-tune"));
    // All that a unit writes down is passed on, to the letter; the log has the time before it.
    let told = |line: &str| line[line.find("\"event\"").unwrap()..].to_owned();
    for unit in UNITS {
        let written = fs::read_to_string(log_file(&parts, unit)).unwrap();
        let of_unit = |line: &&str| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["unit"] == unit && event["event"] != "process-started"
        };
        let passed: Vec<String> = answer.stdout.lines().filter(of_unit).map(told).collect();
        let written: Vec<String> = written.lines().map(told).collect();
        assert_eq!(passed, written, "{unit}");
        let begun = &events[begin(unit)];
        assert_eq!(begun["device"], "cpu");
        assert!(begun["threads"].as_u64().unwrap() > 0);
    }
}

#[test]
fn sigterm_stops_every_unit_and_the_run_goes_on_to_the_same_bits() {
    let folder = tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    // More than can be over before both have begun.
    let more = ["module.epochs=40", "baseline.epochs=1"];
    tiny_with(&parts, &more, &["--unit", "meta"]).succeeded();
    let mut process = Background::tiny(&parts, &more, &["--jobs", "2"]);
    for unit in ["module.0", "module.1"] {
        wait_for("updates of both", || updates(&parts, unit).get(1).copied());
    }
    process.send("USR1");
    process.wait_until_it_says("0 of 5 units done");
    process.send("TERM");
    let said = process.stderr();
    assert_eq!(process.status(), 143, "{said}");
    let said = process.stderr();
    for unit in ["module.0", "module.1"] {
        for phrase in [
            format!("{unit}: epoch "),
            format!("{unit}  epoch "),
            format!("checkpoint `{}", parts.join("units").join(unit).display()),
        ] {
            assert!(said.contains(&phrase), "no `{phrase}` in {said}");
        }
        assert_tidy(&parts, unit);
        assert!(has_checkpoint(&parts, unit));
    }
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("stopped as asked in module."), "{last}");
    assert!(last.contains("; to go on: ") && last.ends_with(" --jobs 2"));
    // The processes do not say it again.
    assert_eq!(said.matches("stopping after this update").count(), 1);
    assert_eq!(said.matches("to go on: ").count(), 1);
    assert!(!said.contains("error"), "{said}");
    assert_alone(&said);

    let again = tiny_with(&parts, &more, &["--jobs", "2"]).succeeded();
    for phrase in ["module.0  goes on at epoch", "module.1  goes on at epoch"] {
        assert!(again.stderr.contains(phrase), "{}", again.stderr);
    }
    tiny(&whole, &more).succeeded();
    assert_eq!(digests(&whole), digests(&parts));
}

#[test]
fn ctrl_c_in_a_terminal_reaches_all_processes_and_is_one_request() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &LONG, &["--unit", "meta"]).succeeded();
    let units = ["--unit", "module.0", "--unit", "module.1", "--jobs", "2"];
    let mut command = background::tiny(&run, &LONG, &units);
    command.process_group(0);
    let mut process = Background::start(command);
    for unit in ["module.0", "module.1"] {
        wait_for("updates of both", || updates(&run, unit).get(2).copied());
    }
    let status = std::process::Command::new("kill")
        .args(["-INT", "--", &format!("-{}", process.id())])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(process.status(), 130, "{}", process.stderr());
    for unit in ["module.0", "module.1"] {
        assert_tidy(&run, unit);
        assert!(has_checkpoint(&run, unit), "{}", process.stderr());
    }
    let said = process.stderr();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("stopped as asked in module."), "{said}");
    assert_eq!(said.matches("stopping after this update").count(), 1);
    assert_alone(&said);
}

#[test]
fn programs_hear_of_every_unit_under_way() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = training_two(&run, &["--json"]);
    process.send("USR1");
    let status = |said: &str| -> Vec<Value> {
        // The last line may be half written.
        let lines = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["event"] == "status")
            .collect()
    };
    wait_for("both answers", || {
        (status(&process.stdout()).len() == 2).then_some(())
    });
    process.send("INT");
    assert_eq!(process.status(), 130, "{}", process.stderr());
    let mut units: Vec<String> = status(&process.stdout())
        .iter()
        .map(|line| {
            assert!(line["update"].is_number() && line["units"] == 2, "{line}");
            line["unit"].as_str().unwrap().to_owned()
        })
        .collect();
    units.sort();
    assert_eq!(units, ["module.0", "module.1"]);
    let stopping = process.stdout().matches("\"event\":\"stopping\"").count();
    assert_eq!(stopping, 1);
    let error: Value = serde_json::from_str(process.stderr().lines().last().unwrap()).unwrap();
    assert_eq!(error["class"], "interrupted");
}

#[test]
fn the_second_signal_ends_all_processes_at_once() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let endless = endless("loss", "loss", "cross-entropy", 90_000);
    let more: Vec<&str> = endless.iter().map(String::as_str).collect();
    let mut process = Background::tiny(&run, &more, &["--jobs", "2"]);
    for unit in ["meta", "baseline"] {
        wait_for("both units", || log(&run, unit).first().cloned());
    }
    process.send("TERM");
    process.wait_until_it_says("stopping after this update");
    // What comes within half a second is the same request.
    std::thread::sleep(Duration::from_secs(1));
    assert!(processes(&process.stderr()).into_values().all(is_there));
    process.send("TERM");
    let begun = Instant::now();
    assert_eq!(process.wait().signal(), Some(15));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_alone(&process.stderr());
}

#[test]
fn units_whose_parent_was_killed_stop_with_checkpoints() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = training_two(&run, &[]);
    process.send("KILL");
    assert_eq!(process.wait().signal(), Some(9));
    assert_alone(&process.stderr());
    for unit in ["module.0", "module.1"] {
        assert_tidy(&run, unit);
        assert!(has_checkpoint(&run, unit), "{unit}");
    }
}

#[test]
fn a_unit_that_fails_names_itself_and_stops_the_others() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let plugin = format!(
        "module.loss.plugin={}/tests/plugins/hostile-loss.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let attack = "module.loss.parameters.attack=compute:keep-and-use";
    let more = [&plugin, attack, "baseline.epochs=20000"];
    let mut process = Background::tiny(&run, &more, &["--jobs", "2"]);
    assert_eq!(process.status(), 11, "{}", process.stderr());
    let said = process.stderr();
    let last = said.lines().last().unwrap();
    let error = "error: unit `module.0`, epoch 0, update 1: plugin `hostile-loss` 0.1.0";
    assert!(last.starts_with(error), "{said}");
    assert!(last.contains("incubate plugin replay"), "{last}");
    assert!(!said.contains("module.1  process"), "{said}");
    assert!(has_checkpoint(&run, "baseline"), "{said}");
    assert_tidy(&run, "baseline");
    assert_alone(&said);

    let failed = run.join("units/module.0/failure.json");
    assert!(failed.is_file());
    // For programs it is the same.
    let answer = tiny_with(
        &run,
        &more,
        &["--unit", "module.0", "--jobs", "2", "--json"],
    );
    assert_eq!(answer.status, 11);
    let error: Value = serde_json::from_str(answer.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["class"], "plugin-failed");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("unit `module.0`")
    );
}

#[test]
fn a_process_that_is_killed_is_named() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = training_two(&run, &[]);
    send(processes(&process.stderr())["module.1"], "KILL");
    assert_eq!(process.status(), 1, "{}", process.stderr());
    let said = process.stderr();
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("error: unit `module.1`: signal 9 (SIGKILL"),
        "{said}"
    );
    assert!(has_checkpoint(&run, "module.0"));
    assert_tidy(&run, "module.0");
    assert_alone(&said);
}

#[test]
fn what_is_refused_is_refused_before_any_process_is_started() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--jobs", "0"]).failed(2, &["--jobs", "1..="]);
    assert!(!run.exists());
    let early = tiny_with(&run, &[], &["--jobs", "2", "--unit", "module.1"]);
    early.failed(4, &["unit `module.1` needs `meta`", "`--unit meta`"]);
    let fine_tune = ["--unit", "meta", "--unit", "fine-tune", "--jobs", "2"];
    let early = tiny_with(&run, &[], &fine_tune);
    early.failed(4, &["unit `fine-tune` needs `assemble`"]);
    let other = tiny_with(&run, &["seed=1"], &["--jobs", "2"]);
    other.failed(4, &["another experiment", "seed"]);
    let lost = tiny_with(&run, &["loss.plugin=./none.wasm"], &["--jobs", "2"]);
    assert_eq!(lost.status, 10, "{}", lost.stderr);
    for answer in [early, other, lost] {
        assert!(!answer.stderr.contains("  process "), "{}", answer.stderr);
    }
    assert!(!run.join("units").exists());
}

#[test]
fn processes_get_what_is_in_force_and_not_what_files_say_by_now() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let file = folder.path().join("mine.toml");
    let experiment = include_str!("../host/experiments/digits.toml");
    fs::write(&file, experiment).unwrap();
    let of_file = |arguments: &[&str]| {
        let (file, run) = (file.to_str().unwrap(), run.to_str().unwrap());
        let mut command = vec!["run", file, "--device", "cpu", "--out", run];
        for assignment in TINY.iter().chain(&["fine-tune.epochs=1"]) {
            command.extend(["--set", assignment]);
        }
        command.extend(arguments);
        command
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let answer = |arguments: &[&str]| {
        let command = of_file(arguments);
        incubate(&command.iter().map(String::as_str).collect::<Vec<_>>())
    };
    answer(&["--unit", "meta"]).succeeded();
    // What can change at any time is not in the run folder's own experiment.
    let keep = [
        "--set",
        "checkpoint.keep_every=1",
        "--set",
        "data.threads=2",
    ];
    let module = ["--unit", "module.0", "--jobs", "2"];
    let all: Vec<&str> = keep.iter().chain(&module).copied().collect();
    answer(&all).succeeded();
    assert!(has_checkpoint(&run, "module.0"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_incubate"));
    command.args(of_file(&[
        "--set",
        "module.rate=1e-3",
        "--changed",
        "--record-plugins",
        "--jobs",
        "2",
    ]));
    command.env("NO_COLOR", "1");
    let mut process = Background::start(command);
    process.wait_until_it_says("module.1  process");
    fs::write(&file, "nonsense").unwrap();
    assert_eq!(process.status(), 0, "{}", process.stderr());
    for unit in ["module.1", "fine-tune", "baseline"] {
        assert!(!has_checkpoint(&run, unit), "{unit}");
        assert!(run.join("units").join(unit).join("calls.jsonl").is_file());
    }
    assert!(!run.join("units/meta/calls.jsonl").exists());
    let changes = json(&run.join("run.json"))["changes"].clone();
    assert_eq!(changes.as_array().unwrap().len(), 1, "{changes}");
    assert!(process.stdout().contains("The experiment changed when"));
}

#[test]
fn what_is_for_the_processes_of_units_says_so() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--orders-from-stdin"]).failed(1, &["`incubate run --jobs`"]);
    assert!(!run.exists());
}
