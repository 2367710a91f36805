//! A run whose experiment changed: it is refused with what differs, or goes on when somebody wants
//! that, and the folder says so ever after.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::background::{Background, log, updates, wait_for};
use crate::command::{tiny, tiny_with};

const RATE: &str = "module.rate=0.0004";
/// More epochs than a test waits for.
const LONG: &str = "meta.epochs=2000";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn result(run: &Path, unit: &str) -> Value {
    json(&run.join("units").join(unit).join("result.json"))
}

/// Leaves a meta model that is being trained after some updates; answers how many.
fn interrupted(run: &Path) -> u64 {
    let mut process = Background::tiny(run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(run, "meta").get(5).copied());
    process.send("INT");
    assert_eq!(process.status(), 130, "{}", process.stderr());
    updates(run, "meta").len() as u64
}

/// The texts of the notes in a unit's log.
fn notes(run: &Path, unit: &str) -> String {
    let notes = log(run, unit);
    let notes = notes.iter().filter_map(|event| event["note"].as_str());
    notes.collect::<Vec<_>>().join("\n")
}

#[test]
fn finished_units_stay_and_the_others_get_the_new_settings() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let meta = result(&run, "meta");
    let record = fs::read(run.join("run.json")).unwrap();
    let experiment = fs::read(run.join("experiment.toml")).unwrap();
    tiny(&run, &[RATE]).failed(
        4,
        &[
            "another experiment",
            "module.rate: ",
            "0.0004 asked for",
            "--changed",
        ],
    );
    assert_eq!(fs::read(run.join("run.json")).unwrap(), record);

    let changed = tiny_with(&run, &[RATE], &["--changed"]).succeeded();
    for phrase in [
        "The experiment changed when these units were finished: meta.",
        "module.rate: ",
        " → 0.0004",
    ] {
        assert!(
            changed.stdout.contains(phrase),
            "no `{phrase}` in: {}",
            changed.stdout
        );
    }
    assert_eq!(result(&run, "meta"), meta);
    let change = &json(&run.join("run.json"))["changes"][0];
    assert_eq!(change["finished"]["meta"], meta["weights_sha256"]);
    // The run is one of the new experiment now.
    tiny(&run, &[RATE]).succeeded();
    tiny(&run, &[]).failed(4, &["another experiment"]);
    assert_eq!(
        json(&run.join("run.json"))["changes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // A process that ended between the two files of a change has changed nothing.
    fs::write(run.join("experiment.toml"), experiment).unwrap();
    let before = tiny(&run, &[]).succeeded();
    assert!(
        !before.stdout.contains("The experiment changed"),
        "{}",
        before.stdout
    );
}

#[test]
fn a_unit_from_before_a_change_is_not_shared_as_one_of_after() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    tiny_with(&run, &[RATE], &["--changed", "--unit", "module.0"]).succeeded();
    let run = run.to_str().unwrap();
    let shared = folder.path().join("shared");
    let push = |unit: &str| {
        crate::command::incubate(&["unit", "push", run, unit, shared.to_str().unwrap()])
    };
    push("meta").failed(
        4,
        &[
            "`meta` was begun before the experiment",
            "delete the folder `units/meta`",
        ],
    );
    push("module.0").succeeded();
}

#[test]
fn no_change_makes_other_networks_of_a_run() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let record = fs::read(run.join("run.json")).unwrap();
    let asked = tiny_with(&run, &["model.depth=6", RATE], &["--changed"]);
    asked.failed(
        4,
        &[
            "decide which networks",
            "model.depth: 4 in the folder, 6 asked for",
        ],
    );
    assert!(!asked.stderr.contains("module.rate"), "{}", asked.stderr);
    assert_eq!(fs::read(run.join("run.json")).unwrap(), record);
}

#[test]
fn an_interrupted_unit_goes_on_with_the_new_settings() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let done = interrupted(&run);
    // Four updates an epoch.
    let epochs = format!("meta.epochs={}", done / 4 + 2);
    let settings = [
        epochs.as_str(),
        "meta.rate=0.0004",
        "meta.schedule.parameters.warmup=0",
        "meta.schedule.plugin=constant",
        "meta.ema=0.9",
    ];
    tiny_with(&run, &settings, &["--changed", "--unit", "meta"]).succeeded();
    let events = log(&run, "meta");
    let resumed = events
        .iter()
        .position(|event| event["event"] == "resumed")
        .unwrap();
    assert_eq!(events[resumed]["update"], done);
    let rates: Vec<f64> = events[resumed..]
        .iter()
        .filter(|event| event["event"] == "update")
        .map(|event| event["rate"].as_f64().unwrap())
        .collect();
    assert_eq!(rates, vec![0.0004; rates.len()]);
    assert_eq!(rates.len() as u64, (done / 4 + 2) * 4 - done);
    assert!(notes(&run, "meta").contains("the plugin for `schedule` begins anew"));
    assert_eq!(result(&run, "meta")["changed"], true);
}

#[test]
fn a_checkpoint_that_counts_other_batches_is_not_gone_on_from() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    interrupted(&run);
    tiny_with(&run, &["meta.epochs=1"], &["--changed", "--unit", "meta"])
        .failed(4, &["number of epochs", "1 are asked for"]);
    tiny_with(
        &run,
        &["meta.epochs=1", "meta.batch=25"],
        &["--changed", "--unit", "meta"],
    )
    .succeeded();
    assert_eq!(updates(&run, "meta"), (0..8).collect::<Vec<_>>());
    assert!(notes(&run, "meta").contains("other pictures or batches"));
    assert_eq!(result(&run, "meta")["changed"], Value::Null);
}

#[test]
fn nothing_changes_under_a_process_at_work() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    tiny_with(&run, &[LONG, RATE], &["--changed", "--unit", "meta"]).failed(5, &["taken by"]);
    assert_eq!(json(&run.join("run.json"))["changes"], Value::Null);
    process.send("TERM");
    assert_eq!(process.status(), 143);
}
