//! How phases begin and end: starts, other weights, other sizes, and what a phase has for its own.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::command::tiny_with;

fn result(run: &Path, unit: &str) -> Value {
    let file = run.join("units").join(unit).join("result.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Settings under which a module is trained for an epoch and does not change.
const STILL: [&str; 3] = [
    "module.rate=0",
    "module.schedule.plugin=constant",
    "meta.rate=0.01",
];

#[test]
fn a_module_starts_as_the_experiment_says() {
    let folder = tempdir().unwrap();
    let loss = |start: &str, unit: &str| {
        let run = folder.path().join(start);
        let start = format!("module.start={start}");
        let settings = [&STILL[..], &[&start]].concat();
        if !run.exists() {
            let units = ["--unit", "meta", "--unit", "module.0", "--unit", "module.1"];
            tiny_with(&run, &settings, &units).succeeded();
        }
        assert_eq!(
            result(&run, "module.1")["built_from"]["meta"],
            result(&run, "meta")["weights_sha256"]
        );
        let recorded = fs::read_to_string(run.join("experiment.toml")).unwrap();
        assert!(recorded.contains(&start.replace("module.start=", "start = \"")));
        result(&run, unit)["loss"].as_f64().unwrap()
    };
    let meta = loss("random", "meta");
    for module in ["module.0", "module.1"] {
        let grown = loss("grown", module);
        assert!((grown - meta).abs() < 1e-6, "{module}: {grown} and {meta}");
        let (random, copies) = (loss("random", module), loss("copies", module));
        assert!((random - meta).abs() > 1e-4, "{module}: {random}");
        assert!((copies - meta).abs() > 1e-4, "{module}: {copies}");
        assert!((copies - random).abs() > 1e-4, "{module}: {copies}");
    }
}

#[test]
fn a_start_that_a_phase_cannot_have_is_refused() {
    let folder = tempdir().unwrap();
    for (setting, phrases) in [
        (
            "meta.start=copies",
            ["`meta.start`", "`copies`", "`random`"],
        ),
        (
            "fine-tune.start=grown",
            ["`fine-tune.start`", "`grown`", "`assembled`"],
        ),
        (
            "module.start=assembled",
            ["`module.start`", "`random`", "`grown`"],
        ),
    ] {
        tiny_with(&folder.path().join("run"), &[setting], &[]).failed(2, &phrases);
    }
}
