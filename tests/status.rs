//! `incubate status`: before, while, and after a run, and over damaged files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::background::{Background, updates, wait_for};
use crate::command::{Answer, incubate, tiny_with};

fn status(run: &Path, more: &[&str]) -> Answer {
    let mut arguments = vec!["status", run.to_str().unwrap()];
    arguments.extend(more);
    incubate(&arguments)
}

/// The answer for programs.
#[track_caller]
fn answer(run: &Path) -> Value {
    let mut lines = status(run, &["--json"]).succeeded().json_lines();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

/// What is said about a unit.
#[track_caller]
fn unit(answer: &Value, name: &str) -> Value {
    let units = answer["units"].as_array().unwrap();
    let found = units.iter().find(|unit| unit["unit"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {answer}"))
        .clone()
}

/// Every file below a folder with its bytes.
fn files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}

#[test]
fn every_unit_is_told_while_the_run_goes_on_and_after() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let more = ["baseline.epochs=50000"];
    tiny_with(&run, &more, &["--unit", "meta"]).succeeded();
    let mut process = Background::tiny(&run, &more, &["--unit", "baseline"]);
    wait_for("updates", || {
        (updates(&run, "baseline").len() > 1).then_some(())
    });

    let told = answer(&run);
    assert_eq!(told["experiment"], "digits");
    assert_eq!(told["finished"], 1);
    let meta = unit(&told, "meta");
    let result = fs::read(run.join("units/meta/result.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    assert_eq!(meta["state"], "finished");
    assert_eq!(meta["accuracy"], result["accuracy"]);
    assert_eq!(meta["seconds"], result["seconds"]);
    let baseline = unit(&told, "baseline");
    assert_eq!(baseline["state"], "running");
    assert_eq!(baseline["process"], process.id());
    assert_eq!(baseline["updates"], 200_000);
    for number in [
        "epoch",
        "update",
        "loss",
        "pictures_per_second",
        "seconds_left",
    ] {
        assert!(baseline[number].is_number(), "{number}: {baseline}");
    }
    assert_eq!(unit(&told, "module.0")["state"], "not-begun");
    let table = status(&run, &[]).succeeded().stdout;
    for phrase in [
        "running",
        "not begun",
        "accuracy ",
        "1 of 6 units finished",
        "1 running",
    ] {
        assert!(table.contains(phrase), "no `{phrase}` in {table}");
    }

    process.send("STOP");
    let asleep = unit(&answer(&run), "baseline");
    assert_eq!(asleep["state"], "silent", "{asleep}");
    process.send("KILL");
    process.wait();
    let mut before = BTreeMap::new();
    files(&run, &mut before);
    let baseline = unit(&answer(&run), "baseline");
    assert_eq!(baseline["state"], "stopped");
    // The line that the process died in may be half written.
    assert!(baseline["update"].as_u64().unwrap() > 0, "{baseline}");
    let checkpoint = run.join("units/baseline/checkpoints/9000000001");
    fs::create_dir_all(&checkpoint).unwrap();
    fs::write(checkpoint.join("state.json"), "{}").unwrap();
    let at = unit(&answer(&run), "baseline")["checkpoint"].clone();
    assert_eq!(at, 9_000_000_001_u64);
    fs::remove_dir_all(&checkpoint).unwrap();
    let mut after = BTreeMap::new();
    files(&run, &mut after);
    assert_eq!(before, after, "looking changes nothing");
}

#[test]
fn a_lease_of_another_machine_is_watched() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    fs::create_dir_all(run.join("units/baseline")).unwrap();
    let lease = run.join("units/baseline/lease.json");
    let record = |beats: u64| json!({ "host": "far-away", "process": 7, "machine": "m", "begun": 1, "token": "t", "beats": beats });
    fs::write(&lease, record(0).to_string()).unwrap();
    let told = unit(&answer(&run), "baseline");
    assert_eq!(
        (&told["state"], &told["host"]),
        (&json!("silent"), &json!("far-away"))
    );
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_secs(3));
            fs::write(&lease, record(1).to_string()).unwrap();
        });
        unit(&answer(&run), "baseline")
    });
    assert_eq!(told["state"], "running", "{told}");
}

#[test]
fn damage_is_part_of_the_answer() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let result = run.join("units/meta/result.json");
    let whole = fs::read(&result).unwrap();
    fs::write(&result, &whole[..whole.len() / 2]).unwrap();
    let told = answer(&run);
    assert_eq!(unit(&told, "meta")["state"], "damaged");
    assert!(
        told["problems"][0]
            .as_str()
            .unwrap()
            .contains("result.json")
    );
    let said = status(&run, &[]).succeeded();
    assert!(said.stderr.contains("warning") && said.stderr.contains("result.json"));

    // Without a result the log counts, whatever is in it.
    fs::remove_file(&result).unwrap();
    fs::write(
        run.join("units/meta/events.jsonl"),
        b"\xff\xfe\n{}\n[1]\n\"x\"\n",
    )
    .unwrap();
    fs::write(run.join("units/meta/lease.json"), b"\0\0").unwrap();
    assert_eq!(unit(&answer(&run), "meta")["state"], "stopped");

    fs::write(&result, whole).unwrap();
    for file in ["run.json", "experiment.toml"] {
        let path = run.join(file);
        let before = fs::read(&path).unwrap();
        for bytes in [&before[..before.len() / 2], b"", b"\xff"] {
            fs::write(&path, bytes).unwrap();
            let told = answer(&run);
            assert_eq!(told["experiment"], Value::Null);
            assert_eq!(unit(&told, "meta")["state"], "finished");
            assert!(told["problems"][0].as_str().unwrap().contains(file));
        }
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn where_there_is_no_run_is_an_error() {
    let folder = tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    status(&nowhere, &[]).failed(4, &["holds no run", "nowhere"]);
    fs::write(folder.path().join("a letter"), "").unwrap();
    status(folder.path(), &[]).failed(4, &["holds no run"]);
}
