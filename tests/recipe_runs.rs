//! Whole runs with the settings of the recipe: precision, memory, averages, rates, and the defects
//! of the reference implementation that can be asked for.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use incubate::model::metadata_of;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{incubate, tiny, tiny_with};

fn result(run: &Path, unit: &str) -> Value {
    let file = run.join("units").join(unit).join("result.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn digest(run: &Path, unit: &str) -> String {
    result(run, unit)["weights_sha256"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The bytes of all tensors in the weights of a unit, without what the file says about them.
fn tensors(run: &Path, unit: &str) -> Vec<u8> {
    let file = run.join("units").join(unit).join("weights.safetensors");
    let bytes = fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.iter().collect();
    tensors.sort_by_key(|(name, _)| *name);
    tensors
        .into_iter()
        .flat_map(|(_, view)| view.data().to_vec())
        .collect()
}

/// The events of one kind in the log of a unit.
fn events(run: &Path, unit: &str, kind: &str) -> Vec<Value> {
    let log = fs::read_to_string(run.join("units").join(unit).join("events.jsonl")).unwrap();
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == kind)
        .collect()
}

/// A number of every update.
fn updates(run: &Path, unit: &str, key: &str) -> Vec<f64> {
    events(run, unit, "update")
        .iter()
        .map(|event| event[key].as_f64().unwrap())
        .collect()
}

/// The units of the tiny experiment with these assignments, in a folder of their own.
fn train(folder: &Path, name: &str, units: &[&str], more: &[&str]) -> std::path::PathBuf {
    let run = folder.join(name);
    for unit in units {
        tiny_with(&run, more, &["--unit", unit]).succeeded();
    }
    run
}

#[test]
fn bfloat16_trains_near_float32() {
    let folder = tempdir().unwrap();
    let train = |name: &str, precision: &str| {
        let precision = format!("training.precision={precision}");
        train(folder.path(), name, &["meta", "module.1"], &[&precision])
    };
    let (whole, half) = (train("whole", "float32"), train("half", "bfloat16"));
    for unit in ["meta", "module.1"] {
        let (whole, half) = (updates(&whole, unit, "loss"), updates(&half, unit, "loss"));
        assert_ne!(whole, half);
        for (whole, half) in whole.iter().zip(&half) {
            assert!((whole - half).abs() < 0.01, "{unit}: {whole} {half}");
        }
    }
    // What was trained in bfloat16 is evaluated in float32, by training as by `eval`.
    let answer =
        incubate(&["eval", half.to_str().unwrap(), "--device", "cpu", "--json"]).succeeded();
    let lines = answer.json_lines();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let recorded = &result(&half, line["unit"].as_str().unwrap())["loss"];
        let apart = line["loss"].as_f64().unwrap() - recorded.as_f64().unwrap();
        assert!(apart.abs() < 1e-6, "{line} and {recorded}");
    }
}

/// The most memory that a run of a deep network takes, in KiB, and the digest of its weights.
#[cfg(target_os = "linux")]
fn peak(run: &Path, more: &[&str]) -> (u64, String) {
    let mut arguments = vec!["run", "digits", "--device", "cpu", "--unit", "baseline"];
    arguments.extend(["--out", run.to_str().unwrap()]);
    let deep = [
        "data.train_limit=128",
        "data.validation_limit=64",
        "model.depth=16",
        "model.width=64",
        "partition.modules=2",
        "training.batch=64",
        "training.drop_path=0.2",
        "training.dropout=0.1",
        "baseline.epochs=1",
    ];
    for assignment in deep.iter().chain(more) {
        arguments.extend(["--set", assignment]);
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_incubate"))
        .args(arguments)
        .env(
            "XDG_CACHE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(value) = line {
            let number = value.trim().trim_end_matches(" kB");
            peak = peak.max(number.parse::<u64>().unwrap());
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (peak, digest(run, "baseline"))
}

#[test]
#[cfg(target_os = "linux")]
fn checkpointed_activations_save_memory_and_change_nothing() {
    let folder = tempdir().unwrap();
    let (kept, expected) = peak(&folder.path().join("kept"), &[]);
    let checkpoint = "training.checkpoint_activations=true";
    let (again, found) = peak(&folder.path().join("again"), &[checkpoint]);
    assert_eq!(found, expected);
    assert!(
        again * 10 < kept * 8,
        "{again} KiB with, {kept} KiB without"
    );
}

#[test]
fn the_average_is_what_is_evaluated_and_written() {
    let folder = tempdir().unwrap();
    let plain = train(
        folder.path(),
        "plain",
        &["baseline"],
        &["baseline.epochs=3"],
    );
    let average = |name: &str, decay: &str, more: &[&str]| {
        let decay = format!("training.ema={decay}");
        let mut all = vec!["baseline.epochs=3", decay.as_str()];
        all.extend(more);
        train(folder.path(), name, &["baseline"], &all)
    };
    let half = average("half", "0.5", &[]);
    let metadata = |run: &Path| {
        let file = run.join("units/baseline/weights.safetensors");
        metadata_of(&fs::read(file).unwrap()).unwrap()
    };
    assert_eq!(metadata(&half)["incubate.average"], "0.5");
    assert!(!metadata(&plain).contains_key("incubate.average"));
    // Training itself does not change.
    assert_eq!(
        updates(&half, "baseline", "loss"),
        updates(&plain, "baseline", "loss")
    );
    assert_ne!(digest(&half, "baseline"), digest(&plain, "baseline"));
    let loss = |run: &Path| result(run, "baseline")["loss"].as_f64().unwrap();
    assert_ne!(loss(&half), loss(&plain));
    let answer =
        incubate(&["eval", half.to_str().unwrap(), "--device", "cpu", "--json"]).succeeded();
    let found = answer.json_lines()[0]["loss"].as_f64().unwrap();
    assert!((found - loss(&half)).abs() < 1e-6);
    // An average that keeps nearly all stays where it began; warmed up, it does not.
    let slow = average("slow", "0.9999", &[]);
    let warm = average("warm", "0.9999", &["training.ema_warm_up=true"]);
    let apart = |run: &Path| (loss(run) - loss(&plain)).abs();
    assert!(
        apart(&warm) < apart(&slow),
        "{} {}",
        apart(&warm),
        apart(&slow)
    );
}

#[test]
fn the_rate_follows_the_batch_by_the_named_rule() {
    let folder = tempdir().unwrap();
    let rate = |name: &str, more: &[&str]| {
        let mut all = vec![
            "training.rate=1e-3",
            "baseline.epochs=1",
            "schedule.plugin=constant",
            "schedule.parameters={}",
        ];
        all.extend(more);
        let run = train(folder.path(), name, &["baseline"], &all);
        updates(&run, "baseline", "rate")[0]
    };
    let with = |rule: &str| format!("training.rate_rule={rule}");
    let (linear, root, none) = (with("linear"), with("sqrt"), with("none"));
    let batch = "training.rate_batch=200";
    // A batch of 50.
    for (name, more, expected) in [
        ("default", vec![batch], 2.5e-4),
        ("linear", vec![batch, &linear], 2.5e-4),
        ("sqrt", vec![batch, &root], 5e-4),
        ("none", vec![batch, &none], 1e-3),
        ("no-batch", vec![root.as_str()], 1e-3),
    ] {
        let found = rate(name, &more);
        assert!((found - expected).abs() < 1e-15, "{name}: {found}");
    }
}

#[test]
fn a_loss_that_is_not_finite_names_the_pictures() {
    let folder = tempdir().unwrap();
    let plugin = format!(
        "loss.plugin={}/tests/plugins/faulty-loss.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let more = [plugin.as_str(), "loss.parameters.fault=not-finite"];
    let answer = tiny(&folder.path().join("run"), &more);
    answer.failed(
        20,
        &[
            "unit `meta`, epoch 0, update 0",
            "faulty-loss",
            "on pictures ",
            " and 42 more",
        ],
    );
}

/// The rates of the phases of the recipe at 224 pixels, printed to six digits, by epoch.
const PUBLISHED: [(&str, &[(usize, &str)]); 3] = [
    (
        "meta",
        &[
            (0, "1.00000e-6"),
            (1, "1.00000e-6"),
            (2, "1.00950e-4"),
            (20, "1.90005e-3"),
            (21, "1.97826e-3"),
            (50, "1.87186e-3"),
            (299, "1.02182e-5"),
        ],
    ),
    (
        "module.0",
        &[
            (0, "1.00000e-6"),
            (1, "1.00000e-6"),
            (2, "1.00950e-4"),
            (20, "1.90005e-3"),
            (21, "1.80997e-3"),
            (50, "1.03625e-3"),
            (99, "1.19634e-5"),
        ],
    ),
    (
        "fine-tune",
        &[
            (0, "2.00000e-3"),
            (1, "2.00000e-3"),
            (2, "1.99951e-3"),
            (20, "1.82795e-3"),
            (21, "1.80997e-3"),
            (50, "1.03625e-3"),
            (99, "1.19634e-5"),
        ],
    ),
];

#[test]
fn the_reference_lags_an_epoch_behind_its_schedule() {
    let folder = tempdir().unwrap();
    let settings = [
        "data.train_limit=50",
        "data.validation_limit=10",
        "model.width=8",
        "model.depth=2",
        "training.rate=2e-3",
        "training.evaluate_every=1000",
        "schedule.parameters.min_rate=1e-5",
        "schedule.parameters.warmup=20",
        "schedule.parameters.warmup_rate=1e-6",
        "meta.epochs=300",
        "module.epochs=100",
        "fine-tune.epochs=100",
        "fine-tune.schedule.parameters.warmup=0",
    ];
    let units = ["meta", "module.0", "module.1", "assemble", "fine-tune"];
    let arguments: Vec<&str> = units.iter().flat_map(|unit| ["--unit", unit]).collect();
    let lagging: Vec<&str> = settings
        .into_iter()
        .chain(["reference=[\"rate-lag\"]"])
        .collect();
    let run = folder.path().join("lagging");
    tiny_with(&run, &lagging, &arguments).succeeded();
    for (unit, expected) in PUBLISHED {
        let rates = updates(&run, unit, "rate");
        for (epoch, expected) in expected {
            assert_eq!(
                format!("{:.5e}", rates[*epoch]),
                *expected,
                "{unit} {epoch}"
            );
        }
    }
    // By default an epoch has its own rate: the curve is one epoch ahead.
    let straight = folder.path().join("straight");
    tiny_with(&straight, &settings, &["--unit", "meta"]).succeeded();
    let rates = updates(&straight, "meta", "rate");
    assert_eq!(rates[..299], updates(&run, "meta", "rate")[1..]);
}

#[test]
fn defects_of_the_reference_are_reproduced_one_by_one() {
    let folder = tempdir().unwrap();
    let base = [
        "training.weight_decay=0.5",
        "training.clip=0.01",
        "module.drop_path=0.5",
    ];
    let units = ["meta", "module.0", "module.1"];
    let with = |name: &str, reference: &str| {
        let reference = format!("reference={reference}");
        let mut all = base.to_vec();
        all.push(&reference);
        train(folder.path(), name, &units, &all)
    };
    let plain = train(folder.path(), "plain", &units, &base);
    let changed = |run: &Path| units.map(|unit| tensors(run, unit) != tensors(&plain, unit));
    assert_eq!(changed(&with("none", "[]")), [false; 3]);
    // Decay of the embeddings: in module 0 alone.
    let decaying = with("embedding-decay", "[\"embedding-decay\"]");
    assert_eq!(changed(&decaying), [false, true, false]);
    // Noise in frozen modules: in every hybrid, since block 0 alone has no drop path.
    let meta = with("train-mode-meta", "[\"train-mode-meta\"]");
    assert_eq!(changed(&meta), [false, true, false]);
    let unclipped = with("no-clipping", "[\"no-clipping\"]");
    assert_eq!(changed(&unclipped), [true; 3]);
    let norm = |run: &Path| events(run, "meta", "update")[0]["gradient_norm"].clone();
    assert!(norm(&plain).is_number());
    assert!(norm(&unclipped).is_null());
    // The reference clips where it does not train in float32.
    let half = train(
        folder.path(),
        "half",
        &["meta"],
        &[
            "training.clip=0.01",
            "reference=all",
            "training.precision=bfloat16",
        ],
    );
    assert!(norm(&half).is_number());
}

#[test]
fn reproduced_defects_are_named() {
    let set = "reference=[\"rate-lag\", \"no-clipping\"]";
    let answer = incubate(&["plan", "--device", "cpu", "--set", set]).succeeded();
    for phrase in ["`rate-lag`", "`no-clipping`", "one epoch before"] {
        assert!(answer.stdout.contains(phrase), "{}", answer.stdout);
    }
    assert!(!answer.stdout.contains("`embedding-decay`"));
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let answer = tiny_with(&run, &["reference=all"], &["--unit", "meta"]).succeeded();
    let names = [
        "rate-lag",
        "embedding-decay",
        "no-clipping",
        "train-mode-meta",
    ];
    for name in names {
        let note = format!("note: reference compatibility `{name}`");
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(said.contains(&note), "no {note} in: {said}");
    }
    // The run folder goes on with them.
    let recorded = fs::read_to_string(run.join("experiment.toml")).unwrap();
    for name in names {
        assert!(recorded.contains(name), "{recorded}");
    }
    tiny_with(&run, &["reference=all"], &["--unit", "module.0"]).succeeded();
    tiny_with(&run, &[], &["--unit", "module.0"]).failed(4, &["reference"]);
}

#[test]
fn settings_out_of_range_say_what_is_possible() {
    let set = |assignment: &str| incubate(&["plan", "--set", assignment]);
    set("training.precision=float16").failed(2, &["precision", "float32", "bfloat16"]);
    set("training.dropout=1.0").failed(2, &["meta.dropout", "less than 1"]);
    set("training.attention_dropout=-0.1").failed(2, &["attention_dropout", "at least 0"]);
    set("training.ema=1.0").failed(2, &["meta.ema", "less than 1"]);
    set("module.ema_warm_up=true").failed(2, &["module.ema_warm_up", "set `ema`"]);
    set("fine-tune.layer_decay=0").failed(2, &["fine-tune.layer_decay", "more than 0"]);
    set("fine-tune.layer_decay=1.5").failed(2, &["fine-tune.layer_decay", "at most 1"]);
    set("training.rate_rule=cubic").failed(2, &["rate_rule", "linear", "sqrt", "none"]);
    set("training.checkpoint_activations=3").failed(2, &["checkpoint_activations"]);
    set("reference=everything").failed(2, &["reference", "\"all\"", "rate-lag"]);
    set("reference=[\"lag\"]").failed(2, &["reference", "rate-lag", "train-mode-meta"]);
}

#[test]
fn parts_of_a_batch_drop_out_the_same() {
    let folder = tempdir().unwrap();
    let losses = |name: &str, parts: &str| {
        let parts = format!("training.accumulation={parts}");
        let more = [
            "training.dropout=0.2",
            "training.attention_dropout=0.2",
            "training.drop_path=0.2",
            "baseline.epochs=1",
            parts.as_str(),
        ];
        let run = train(folder.path(), name, &["baseline"], &more);
        updates(&run, "baseline", "loss")
    };
    for (whole, parts) in losses("whole", "1").iter().zip(losses("parts", "5")) {
        assert!((whole - parts).abs() < 1e-4, "{whole} {parts}");
    }
}
