//! Whole runs: what a person sees, what the run folder holds, and that a run means the same
//! however it is cut into processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{TINY, incubate, tiny, tiny_with};

/// The units of a run with two modules.
const UNITS: [&str; 6] = [
    "meta",
    "module.0",
    "module.1",
    "assemble",
    "fine-tune",
    "baseline",
];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn result(run: &Path, unit: &str) -> Value {
    json(&run.join("units").join(unit).join("result.json"))
}

/// The digests of all weights of a run, by unit.
fn digests(run: &Path) -> BTreeMap<String, String> {
    UNITS
        .iter()
        .map(|unit| {
            let digest = result(run, unit)["weights_sha256"]
                .as_str()
                .unwrap()
                .to_owned();
            ((*unit).to_owned(), digest)
        })
        .collect()
}

#[test]
fn a_run_trains_every_unit_and_prints_the_table() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let answer = tiny(&run, &[]).succeeded();
    for title in [
        "meta model",
        "hybrid 0: [2] 1",
        "hybrid 1: 1 [2]",
        "assembled",
        "fine-tuned",
        "end-to-end",
        "incubation, in sequence",
        "incubation, in parallel",
        "times the compute of end-to-end training",
    ] {
        assert!(
            answer.stdout.contains(title),
            "no `{title}` in:\n{}",
            answer.stdout
        );
    }
    let record = json(&run.join("run.json"));
    assert_eq!(record["plugins"]["partition"]["name"], "uniform");
    assert_eq!(record["plugins"]["meta.schedule"]["name"], "cosine");
    assert_eq!(record["plugins"]["module.loss"]["name"], "cross-entropy");
    assert_eq!(
        record["plugins"]["module.loss"]["sha256"]
            .as_str()
            .unwrap()
            .len(),
        64
    );
    assert!(run.join("experiment.toml").is_file());
    for unit in UNITS {
        let result = result(&run, unit);
        let accuracy = result["accuracy"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&accuracy), "{unit}: {accuracy}");
        assert!(result["loss"].as_f64().unwrap().is_finite(), "{unit}");
        assert!(
            run.join("units")
                .join(unit)
                .join("weights.safetensors")
                .is_file(),
            "{unit}"
        );
    }
    // The compute is what the depths say: a hybrid's backward pass skips the frozen prefix.
    let backward = |unit: &str| result(&run, unit)["backward_macs"].as_u64().unwrap();
    assert!(backward("module.1") < backward("module.0"));
    // Built on: module on meta, assembly on modules, fine-tuning on the assembly.
    let made = |unit: &str| result(&run, unit)["weights_sha256"].clone();
    assert_eq!(result(&run, "module.1")["built_from"]["meta"], made("meta"));
    assert_eq!(
        result(&run, "assemble")["built_from"]["module.0"],
        made("module.0")
    );
    assert_eq!(
        result(&run, "fine-tune")["built_from"]["assemble"],
        made("assemble")
    );
}

#[test]
fn units_in_their_own_processes_give_the_same_bits_as_one_run() {
    let folder = tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    tiny(&whole, &[]).succeeded();
    // The second module before the first, and all of it on one thread.
    for unit in [
        "baseline",
        "meta",
        "module.1",
        "module.0",
        "assemble",
        "fine-tune",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
        command
            .args(["run", "digits", "--device", "cpu", "--unit", unit, "--out"])
            .arg(&parts);
        for assignment in TINY.iter().chain(&["fine-tune.epochs=1"]) {
            command.args(["--set", assignment]);
        }
        command.env("RAYON_NUM_THREADS", "1");
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{unit}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(digests(&whole), digests(&parts));
}

#[test]
fn a_finished_run_is_not_trained_again() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let written = fs::metadata(run.join("units/meta/weights.safetensors"))
        .unwrap()
        .modified()
        .unwrap();
    let again = tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    assert!(again.stderr.contains("finished before"), "{}", again.stderr);
    let after = fs::metadata(run.join("units/meta/weights.safetensors"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(written, after);
}

#[test]
fn another_seed_gives_other_weights() {
    let folder = tempdir().unwrap();
    let digest = |name: &str, seed: &str| {
        let run = folder.path().join(name);
        tiny_with(&run, &[seed], &["--unit", "meta"]).succeeded();
        result(&run, "meta")["weights_sha256"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(digest("a", "seed=3"), digest("b", "seed=3"));
    assert_ne!(digest("c", "seed=4"), digest("d", "seed=5"));
}

#[test]
fn accumulation_and_regularisation_take_part() {
    let folder = tempdir().unwrap();
    let losses = |name: &str, more: &[&str]| -> Vec<f64> {
        let run = folder.path().join(name);
        let answer = tiny_with(&run, more, &["--unit", "meta", "--json"]).succeeded();
        answer
            .json_lines()
            .iter()
            .filter(|line| line["event"] == "update")
            .map(|line| line["loss"].as_f64().unwrap())
            .collect()
    };
    let plain = losses("plain", &[]);
    let parts = losses("parts", &["training.accumulation=5"]);
    assert_eq!(plain.len(), 8);
    for (one, other) in plain.iter().zip(&parts) {
        assert!(
            (one - other).abs() < 1e-4,
            "five parts of a batch are the batch: {one} and {other}"
        );
    }
    for change in [
        "training.drop_path=0.5",
        "training.augmentation.mixup=0.8",
        "training.augmentation.crop_padding=1",
        "training.rate=5e-4",
        "training.clip=0.01",
        "loss.parameters.smoothing=0.0",
    ] {
        assert_ne!(plain, losses(change, &[change]), "{change} changes nothing");
    }
}

#[test]
fn events_are_lines_of_json_in_order() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let answer = tiny_with(&run, &[], &["--unit", "meta", "--json"]).succeeded();
    let lines = answer.json_lines();
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"run-started"));
    assert_eq!(kinds.last(), Some(&"report"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "update").count(), 8);
    assert_eq!(kinds.iter().filter(|kind| **kind == "evaluated").count(), 2);
    let kept = fs::read_to_string(run.join("units/meta/events.jsonl")).unwrap();
    let kept: Vec<Value> = kept
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        kept.iter().filter(|line| line["event"] == "update").count(),
        8
    );
    assert!(
        kept.iter()
            .all(|line| line["v"] == 1 && line["time"].is_f64())
    );
}

#[test]
fn eval_finds_what_training_recorded() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny(&run, &[]).succeeded();
    let answer =
        incubate(&["eval", run.to_str().unwrap(), "--device", "cpu", "--json"]).succeeded();
    let lines = answer.json_lines();
    assert_eq!(lines.len(), UNITS.len());
    for line in lines {
        let unit = line["unit"].as_str().unwrap();
        assert_eq!(line["accuracy"], result(&run, unit)["accuracy"], "{unit}");
        let (found, recorded) = (
            line["loss"].as_f64().unwrap(),
            result(&run, unit)["loss"].as_f64().unwrap(),
        );
        assert!(
            (found - recorded).abs() < 1e-6,
            "{unit}: {found} and {recorded}"
        );
    }
}

#[test]
fn the_plan_shows_costs_and_where_settings_come_from() {
    let answer = incubate(&["plan", "--device", "cpu", "--set", "meta.epochs=3"]).succeeded();
    for phrase in [
        "module.3",
        "end-to-end baseline",
        "meta.epochs = 3",
        "--set",
        "experiment digits",
        "data set",
    ] {
        assert!(
            answer.stdout.contains(phrase),
            "no `{phrase}` in:\n{}",
            answer.stdout
        );
    }
    // The method's compute, as if no features were kept: how long the baseline lasts depends on no disk.
    let off = ["--set", "features.cache=off"];
    let json = ["plan", "--device", "cpu", "--json"];
    let answer = incubate(&[&json[..], &off].concat()).succeeded();
    let plan = &answer.json_lines()[0];
    let units = plan["plan"]["units"].as_array().unwrap();
    assert_eq!(units.len(), 7);
    let kept = incubate(&json).succeeded().json_lines().remove(0);
    let kept = &kept["plan"]["units"];
    assert_eq!(kept[6], units[6]);
    assert!(kept[4]["total_macs"].as_f64() < units[4]["total_macs"].as_f64());
    // A hybrid trains one module of the target: all of them together are the target.
    let trained: u64 = units[1..5]
        .iter()
        .map(|unit| unit["trained_parameters"].as_u64().unwrap())
        .sum();
    assert_eq!(trained, units[6]["parameters"].as_u64().unwrap());
    // The baseline lasts as many epochs as come nearest to the method's compute.
    let (method, baseline) = (
        plan["incubation_macs"].as_f64().unwrap(),
        plan["baseline_macs"].as_f64().unwrap(),
    );
    let epoch = baseline / units[6]["epochs"].as_f64().unwrap();
    assert!((method - baseline).abs() <= epoch / 2.0);
}

#[test]
fn plugins_are_chosen_by_name_for_every_phase() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let more = [
        "partition.plugin=explicit",
        "partition.parameters.depths=[1, 3]",
        "fine-tune.schedule.plugin=constant",
        "module.schedule.plugin=step",
        "module.schedule.parameters.every=1",
        "module.schedule.parameters.factor=0.5",
    ];
    tiny(&run, &more).succeeded();
    let record = json(&run.join("run.json"));
    assert_eq!(record["plugins"]["partition"]["name"], "explicit");
    assert_eq!(record["plugins"]["fine-tune.schedule"]["name"], "constant");
    assert_eq!(record["plugins"]["module.schedule"]["name"], "step");
    assert_eq!(record["plugins"]["baseline.schedule"]["name"], "cosine");
    assert_eq!(record["division"][1]["target"], 3);
}

#[test]
fn blocks_are_timed_when_the_scheme_balances_time() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let more = ["partition.plugin=balanced", "partition.parameters.by=time"];
    let refused = tiny_with(&run, &more, &["--unit", "meta"]);
    refused.failed(10, &["partition", "balanced"]);
    let measured = [more[0], more[1], "partition.measure=true"];
    tiny_with(&run, &measured, &["--unit", "meta"]).succeeded();
    let record = json(&run.join("run.json"));
    let depths: Vec<u64> = record["division"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| module["target"].as_u64().unwrap())
        .collect();
    assert_eq!(depths.iter().sum::<u64>(), 4);
}

/// The values of a metric that a plugin recorded in a unit.
fn metric(run: &Path, unit: &str, name: &str) -> Vec<f64> {
    let events = fs::read_to_string(run.join("units").join(unit).join("events.jsonl")).unwrap();
    events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "plugin-metric" && event["name"] == name)
        .map(|event| event["value"].as_f64().unwrap())
        .collect()
}

#[test]
fn a_loss_hook_sees_the_features_that_it_asks_for() {
    let folder = tempdir().unwrap();
    let plugin = format!(
        "module.loss.plugin={}/tests/plugins/witness.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let train = |name: &str, weight: &str| {
        let run = folder.path().join(name);
        for unit in ["meta", "module.0", "module.1"] {
            let noise = "module.loss.grants.random=records a draw";
            tiny_with(&run, &[&plugin, weight, noise], &["--unit", unit]).succeeded();
        }
        run
    };
    let with = train("with", "module.loss.parameters.weight=1.0");
    let without = train("without", "module.loss.parameters.weight=0.0");
    // Two modules have one boundary between them.
    for unit in ["module.0", "module.1"] {
        assert_eq!(metric(&with, unit, "network_features"), [1.0; 4], "{unit}");
        assert_eq!(metric(&with, unit, "meta_features"), [1.0; 4], "{unit}");
    }
    // What leaves the first module moves towards the meta model's only when the first is trained.
    let weights = |run: &Path, unit: &str| result(run, unit)["weights_sha256"].clone();
    assert_ne!(weights(&with, "module.0"), weights(&without, "module.0"));
    assert_eq!(weights(&with, "module.1"), weights(&without, "module.1"));
    // The stream is a function of seed, module, and update: the same in both runs, and no draw twice.
    let draws: Vec<f64> = ["module.0", "module.1"]
        .iter()
        .flat_map(|unit| metric(&with, unit, "draw"))
        .collect();
    assert_eq!(draws[..4], metric(&without, "module.0", "draw"));
    assert!(
        draws
            .iter()
            .enumerate()
            .all(|(index, draw)| !draws[..index].contains(draw))
    );
    // The meta model's forward pass is paid for.
    let plain = folder.path().join("plain");
    for unit in ["meta", "module.1"] {
        tiny_with(&plain, &[], &["--unit", unit]).succeeded();
    }
    let forward = |run: &Path| result(run, "module.1")["forward_macs"].as_u64().unwrap();
    assert!(forward(&with) > forward(&plain));
}

/// The bytes of one tensor in the weights of a unit.
fn tensor(run: &Path, unit: &str, name: &str) -> Vec<u8> {
    let bytes = fs::read(run.join("units").join(unit).join("weights.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(name).unwrap().data().to_vec()
}

#[test]
fn modules_begin_at_random_weights_and_are_assembled_in_their_order() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    // At a rate of 0 a module stays what it was at the beginning.
    let standing = [
        "module.start=random",
        "module.schedule.plugin=constant",
        "module.rate=0.0",
    ];
    tiny(&run, &standing).succeeded();
    let weight = "blocks.0.attn.qkv.weight";
    let of_stage = |stage: usize| format!("stages.{stage}.{weight}");
    for module in 0..2 {
        let unit = format!("module.{module}");
        let own = tensor(&run, &unit, weight);
        assert_ne!(
            own,
            tensor(&run, "meta", &of_stage(module)),
            "{unit} began as the meta module"
        );
        assert_eq!(own, tensor(&run, "assemble", &of_stage(module)), "{unit}");
        assert_ne!(
            own,
            tensor(&run, "fine-tune", &of_stage(module)),
            "{unit} was not fine-tuned"
        );
    }
    assert_ne!(
        tensor(&run, "module.0", weight),
        tensor(&run, "module.1", weight)
    );
}

#[test]
fn a_run_goes_on_with_the_experiment_of_its_folder() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    // A reference that is relative to where the command was given, and not to the run.
    let plugin = "loss.plugin=./plugins/dist/cross-entropy.wasm";
    tiny_with(&run, &[plugin], &["--unit", "meta"]).succeeded();
    let out = run.to_str().unwrap();
    incubate(&["run", "--device", "cpu", "--out", out, "--unit", "module.0"]).succeeded();
    assert!(result(&run, "module.0")["built_from"]["meta"].is_string());
}
