//! Recorded calls of plugins: that each can be made again to the bit, that a difference is found and
//! named, that a failure leaves what it takes to see it again, and that files from strangers do no
//! harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::command::{Answer, incubate, tiny_with};

/// A component of the faulty corpus.
fn faulty(name: &str) -> String {
    format!("{}/tests/plugins/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

fn replay(file: &Path, more: &[&str]) -> Answer {
    let mut arguments = vec!["plugin", "replay", file.to_str().unwrap()];
    arguments.extend(more);
    incubate(&arguments)
}

/// The calls in a file.
fn calls(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The hook of every call in a file.
fn hooks(file: &Path) -> Vec<String> {
    let hook = |call: &Value| call["call"]["hook"].as_str().unwrap().to_owned();
    calls(file).iter().map(hook).collect()
}

/// Writes calls to a file beside others.
fn write(folder: &Path, name: &str, calls: &[Value]) -> PathBuf {
    let lines: Vec<String> = calls.iter().map(ToString::to_string).collect();
    let file = folder.join(name);
    fs::write(&file, lines.join("\n")).unwrap();
    file
}

/// A run of the meta model with recorded calls; the file of the unit.
fn recorded(run: &Path, more: &[&str]) -> PathBuf {
    tiny_with(run, more, &["--unit", "meta", "--record-plugins"]).succeeded();
    run.join("units/meta/calls.jsonl")
}

fn weights(run: &Path, unit: &str) -> Value {
    let file = run.join("units").join(unit).join("result.json");
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    result["weights_sha256"].clone()
}

#[test]
fn every_recorded_call_does_the_same_again_and_the_run_is_the_same() {
    let folder = tempdir().unwrap();
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    let more = ["schedule.plugin=cosine", "training.augmentation.mixup=0.8"];
    let units = ["--unit", "meta", "--unit", "module.0"];
    let arguments = [&units[..], &["--record-plugins"]].concat();
    tiny_with(&with, &more, &arguments).succeeded();
    tiny_with(&without, &more, &units).succeeded();
    for unit in ["meta", "module.0"] {
        assert_eq!(weights(&with, unit), weights(&without, unit), "{unit}");
    }
    assert!(!without.join("units/meta/calls.jsonl").exists());
    let meta = with.join("units/meta/calls.jsonl");
    let hooks = hooks(&meta);
    let count = |hook: &str| hooks.iter().filter(|found| *found == hook).count();
    // Eight updates, two epochs with a question for each of two groups, two plugins.
    assert_eq!(
        (count("compute"), count("rate"), count("observe")),
        (8, 4, 2)
    );
    assert_eq!(
        (count("configure"), count("needs"), count("stepping")),
        (2, 1, 1)
    );
    for (file, number) in [
        (&meta, hooks.len()),
        (&with.join("units/module.0/calls.jsonl"), 11),
        (&with.join("calls.jsonl"), 2),
    ] {
        let lines = replay(file, &["--json"]).succeeded().json_lines();
        assert_eq!(lines.len(), number, "{file:?}");
        for line in lines {
            assert_eq!(line["same"], true, "{line}");
            assert_eq!(line["found"], line["recorded"], "{line}");
            assert_eq!(line["in_run"], line["recorded"]["outcome"], "{line}");
            assert!(line["found"]["fuel"].as_u64().unwrap() > 0, "{line}");
        }
    }
    let compute = hooks.iter().position(|hook| hook == "compute").unwrap();
    let one = replay(&meta, &["--call", &compute.to_string()]).succeeded();
    for phrase in [
        "cross-entropy",
        "`compute`, unit `meta`, update 0",
        "the same (10 host calls",
    ] {
        assert!(one.stdout.contains(phrase), "no `{phrase}`: {}", one.stdout);
    }
    replay(&meta, &["--call", "999"]).failed(2, &["no call 999", &hooks.len().to_string()]);
}

#[test]
fn the_first_difference_is_named() {
    let folder = tempdir().unwrap();
    let file = recorded(&folder.path().join("run"), &[]);
    let calls = calls(&file);
    let of = |hook: &str| {
        let is = |call: &&Value| call["call"]["hook"] == hook;
        calls.iter().rfind(is).unwrap().clone()
    };
    let changed = |call: &mut Value, pointer: &str, value: Value| {
        *call.pointer_mut(pointer).unwrap() = value;
    };
    let diverges = |call: Value, phrases: &[&str]| {
        let file = write(folder.path(), "changed.jsonl", &[of("needs"), call]);
        let answer = replay(&file, &[]);
        answer.failed(21, &["1 of 2 calls diverge"]);
        assert!(
            answer
                .stdout
                .contains("call 0, hook `needs`, unit `meta`: the same")
        );
        for phrase in phrases {
            assert!(
                answer.stdout.contains(phrase),
                "no `{phrase}`: {}",
                answer.stdout
            );
        }
    };

    // Some bits of one logit, too few to change any result.
    let mut call = of("compute");
    let logits = call["call"]["inputs"]["logits"]["data"].as_str().unwrap();
    let other = if logits.starts_with('0') { "1" } else { "0" };
    let logits = json!(format!("{other}{}", &logits[1..]));
    changed(&mut call, "/call/inputs/logits/data", logits);
    diverges(
        call,
        &[
            "host call 0, `input`",
            "recorded: input(logits) = #0 [50, 10] ",
        ],
    );

    // A host call that was not made.
    let mut call = of("compute");
    let host_calls = call["alone"]["trace"]["host_calls"].as_array_mut().unwrap();
    host_calls.push(json!({"operation": "exp", "operands": [0], "result": "#9"}));
    let index = format!("host call {}, `exp`", host_calls.len() - 1);
    diverges(call, &[&index, "found:    none"]);

    // The answer, the fuel, and what was remembered.
    let mut call = of("rate");
    changed(&mut call, "/call/moment/base_rate", json!("0.5"));
    diverges(
        call,
        &[
            "the outcome is not",
            "recorded: answer 0.00",
            "found:    answer 0.25",
        ],
    );
    let mut call = of("rate");
    let fuel = call["alone"]["trace"]["fuel"].as_u64().unwrap();
    changed(&mut call, "/alone/trace/fuel", json!(fuel + 1));
    diverges(call, &["the instructions are not"]);
    let mut call = of("rate");
    changed(&mut call, "/state", json!({ "bytes": "2a" }));
    diverges(call, &["found:    fault in `restore`"]);
}

#[test]
fn a_failure_leaves_a_file_and_the_command_that_shows_it_again() {
    let folder = tempdir().unwrap();
    let loss = |fault: &str| {
        [
            format!("loss.plugin={}", faulty("faulty-loss")),
            format!("loss.parameters.fault=\"{fault}\""),
        ]
    };
    let schedule = |fault: &str| {
        [
            format!("schedule.plugin={}", faulty("faulty-schedule")),
            format!("schedule.parameters.fault=\"{fault}\""),
            "schedule.parameters.after=3".to_owned(),
        ]
    };
    for (name, status, settings, phrases) in [
        (
            "a trap",
            11,
            &loss("trap")[..],
            ["trap in `compute`", "trapped on request"],
        ),
        (
            "fault",
            11,
            &loss("fault"),
            ["fault in `compute`", "refused on request"],
        ),
        (
            "not-scalar",
            11,
            &loss("not-scalar"),
            ["answer in `compute`", "[50, 10]"],
        ),
        (
            "limit",
            12,
            &loss("leaks-handles"),
            ["limit in `compute`", "live_tensors"],
        ),
        (
            "it's nan",
            11,
            &schedule("nan"),
            ["update 3", "the learning rate is NaN"],
        ),
        (
            "trap-3",
            11,
            &schedule("trap"),
            ["trap in `rate`", "trapped on request"],
        ),
    ] {
        let run = folder.path().join(name);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let answer = tiny_with(&run, &settings, &["--unit", "meta"]);
        answer.failed(status, &["; reproduce with: incubate plugin replay "]);
        assert!(!run.join("units/meta/result.json").exists());
        let file = run.join("units/meta/failure.json");
        assert_eq!(calls(&file).len(), 1, "{name}");

        // Literally, as a person pastes it.
        let (_, command) = answer
            .stderr
            .trim_end()
            .split_once("reproduce with: ")
            .unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_incubate"));
        let path = std::env::join_paths([program.parent().unwrap()]).unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", command])
            .env("PATH", path)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command}\n{stderr}\n{stdout}");
        for phrase in ["the same failure"].iter().chain(&phrases) {
            assert!(stdout.contains(phrase), "no `{phrase}` in: {stdout}");
        }
        assert!(!stdout.contains("in the run it was otherwise"), "{stdout}");
    }
}

#[test]
fn a_failure_that_was_mended_is_forgotten() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let component = folder.path().join("loss.wasm");
    fs::copy(faulty("faulty-loss"), &component).unwrap();
    let settings = [
        format!("loss.plugin={}", component.display()),
        "loss.parameters.fault=trap".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    tiny_with(&run, &settings, &["--unit", "meta"]).failed(11, &["failure.json"]);
    let failure = run.join("units/meta/failure.json");
    assert!(failure.exists());
    // A file that a run of the unit would not leave.
    let text = fs::read_to_string(&failure).unwrap();
    fs::write(&failure, "old").unwrap();
    tiny_with(&run, &settings, &["--unit", "meta"]).failed(11, &["failure.json"]);
    assert_eq!(fs::read_to_string(&failure).unwrap(), text);
}

#[test]
fn another_build_is_told_by_its_digest() {
    let folder = tempdir().unwrap();
    let component = folder.path().join("loss.wasm");
    fs::copy(faulty("faulty-loss"), &component).unwrap();
    let plugin = format!("loss.plugin={}", component.display());
    let file = recorded(&folder.path().join("run"), &[&plugin]);
    replay(&file, &[]).succeeded();

    // A custom section changes the bytes and nothing that the plugin does.
    let mut bytes = fs::read(&component).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    let rebuilt = folder.path().join("rebuilt.wasm");
    fs::write(&rebuilt, &bytes).unwrap();
    let compute = hooks(&file)
        .iter()
        .position(|hook| hook == "compute")
        .unwrap();
    let with = |file: &Path, call: usize| {
        let (call, rebuilt) = (call.to_string(), rebuilt.to_str().unwrap());
        replay(file, &["--call", &call, "--plugin", rebuilt])
    };
    let same = with(&file, compute).succeeded();
    let recorded = calls(&file)[compute]["plugin"]["sha256"].clone();
    for phrase in [
        "replayed with another build, sha256",
        recorded.as_str().unwrap(),
        "the same (",
    ] {
        assert!(
            same.stdout.contains(phrase),
            "no `{phrase}` in: {}",
            same.stdout
        );
    }
    let mut call = calls(&file)[compute].clone();
    call["settings"] = json!("fault = \"detached\"");
    let changed = write(folder.path(), "changed.jsonl", &[call]);
    let other = with(&changed, 0);
    other.failed(21, &["1 of 1 calls diverge"]);
    assert!(
        other.stdout.contains("found:    detach(#0) = "),
        "{}",
        other.stdout
    );

    // Without being told to, nothing but the recorded build is run.
    fs::write(&component, &bytes).unwrap();
    replay(&changed, &[]).failed(10, &["not the build that was recorded", "--plugin"]);
    fs::remove_file(&component).unwrap();
    replay(&changed, &[]).failed(2, &["loss.wasm", "cannot be read", "--plugin"]);
}

#[test]
fn recording_ends_where_the_room_ends() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let answer = tiny_with(
        &run,
        &[],
        &["--unit", "meta", "--record-plugins=0", "--json"],
    );
    let lines = answer.succeeded().json_lines();
    let stopped: Vec<&Value> = lines
        .iter()
        .filter(|line| line["event"] == "recording-stopped")
        .collect();
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0]["calls"], 0);
    let file = run.join("units/meta/calls.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);
    replay(&file, &[]).failed(2, &["it has 0"]);
}

#[test]
fn recordings_from_strangers_do_no_harm() {
    let folder = tempdir().unwrap();
    let file = recorded(&folder.path().join("run"), &[]);
    let calls = calls(&file);
    let compute = calls
        .iter()
        .find(|call| call["call"]["hook"] == "compute")
        .unwrap();
    let refused = |pointer: &str, value: Value, status: i32, phrases: &[&str]| {
        let mut call = compute.clone();
        let place = call.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("no {pointer}")) = value;
        let file = write(folder.path(), "strange.jsonl", &[call]);
        replay(&file, &[]).failed(status, phrases);
    };
    let logits = "/call/inputs/logits";
    refused("/format", json!(2), 2, &["format 2", "newer"]);
    refused("/limits/fuel", json!(u64::MAX), 2, &["`fuel`", "at most"]);
    refused(
        "/limits/memory_bytes",
        json!(u64::MAX),
        2,
        &["`memory_bytes`"],
    );
    refused(
        "/limits/deadline_ms",
        json!(u64::MAX),
        2,
        &["`deadline_ms`"],
    );
    refused(
        "/plugin/origin",
        json!({"file": "/dev/zero"}),
        2,
        &["/dev/zero", "no ordinary file"],
    );
    refused(
        "/plugin/origin",
        json!({"registry": "localhost:1/team/name"}),
        2,
        &["localhost:1/team/name", "--plugin"],
    );
    refused(
        "/plugin/origin",
        json!({"built-in": "no-such"}),
        10,
        &["no-such"],
    );
    refused(
        "/kind",
        json!("lr-schedule"),
        10,
        &["learning-rate schedule"],
    );
    refused("/settings", json!("smoothing = "), 2, &["settings"]);
    refused("/settings", json!("smoothing = 7"), 10, &["smoothing"]);
    refused("/context", Value::Null, 2, &["`compute`", "damaged"]);
    refused(
        "/call",
        json!({"hook": "stepping"}),
        2,
        &["`stepping`", "damaged"],
    );
    refused(
        &format!("{logits}/shape"),
        json!([u64::MAX, 2]),
        2,
        &["cannot be used"],
    );
    refused(
        &format!("{logits}/shape"),
        json!([50, 11]),
        2,
        &["cannot be used"],
    );
    refused(
        &format!("{logits}/shape"),
        json!([]),
        2,
        &["cannot be used"],
    );
    refused(&format!("{logits}/data"), json!("0g"), 2, &["hexadecimal"]);
    refused(&format!("{logits}/data"), json!(""), 2, &["cannot be used"]);
    refused("/call/step/epoch", json!("soon"), 2, &["no number"]);
    refused("/state", json!({"bytes": "00"}), 21, &["1 of 1"]);
    // What does not fit together is the plugin's business: no host call crashes on it.
    let ids = "/call/inputs/class_ids/class_ids";
    refused(ids, json!(false), 21, &["1 of 1"]);
    let ids = "ff".repeat(4 * 50);
    refused("/call/inputs/class_ids/data", json!(ids), 21, &["1 of 1"]);

    let strange = folder.path().join("strange.jsonl");
    for (content, phrase) in [
        (&b"not json"[..], "no recording"),
        (b"{\"format\": 1}", "missing field"),
        (b"\xff\xfe\x00", "no recording"),
        (b"{\"format\": 1", "no recording"),
        (b"[[[[[[[[", "no recording"),
        (b"", "it has 0"),
    ] {
        fs::write(&strange, content).unwrap();
        replay(&strange, &[]).failed(2, &[phrase]);
    }
    let whole = fs::read(&file).unwrap();
    fs::write(&strange, &whole[..whole.len() - 100]).unwrap();
    replay(&strange, &[]).failed(2, &[&format!("call {} ", calls.len() - 1)]);
    replay(folder.path(), &[]).failed(2, &["no ordinary file"]);
    replay(&folder.path().join("missing"), &[]).failed(2, &["missing"]);
}

#[test]
fn the_cost_of_plugins_is_told_after_every_epoch() {
    let folder = tempdir().unwrap();
    let costs = |name: &str, more: &[&str]| -> Vec<Value> {
        let run = folder.path().join(name);
        tiny_with(&run, more, &["--unit", "meta"]).succeeded();
        calls(&run.join("units/meta/events.jsonl"))
            .into_iter()
            .filter(|event| event["event"] == "plugin-cost")
            .collect()
    };
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap();
    let plain = costs("plain", &[]);
    assert_eq!(plain.len(), 4, "two plugins and two epochs");
    for epoch in plain.chunks(2) {
        assert_eq!(
            (&epoch[0]["role"], &epoch[1]["role"]),
            (&json!("schedule"), &json!("loss"))
        );
        let parts: f64 = epoch
            .iter()
            .map(|event| number(event, "guest_seconds") + number(event, "host_seconds"))
            .sum();
        assert!(
            parts > 0.0 && parts <= number(&epoch[0], "seconds"),
            "{epoch:?}"
        );
        for event in epoch {
            let own = number(event, "guest_seconds") + number(event, "host_seconds");
            assert!((number(event, "share") - own / number(event, "seconds")).abs() < 1e-9);
        }
    }
    let (first, last) = (&plain[1], &plain[3]);
    assert_eq!(first["plugin"], "cross-entropy");
    assert!(number(last, "calls") > number(first, "calls"));
    assert!(number(last, "fuel") > number(first, "fuel"));
    assert_eq!(number(last, "operations"), 48.0);
    assert_eq!(number(last, "readbacks"), 0.0);

    // Who computes more has the larger share: eight losses of six operations against four rates.
    for epoch in plain.chunks(2) {
        assert!(
            number(&epoch[1], "share") > number(&epoch[0], "share"),
            "{epoch:?}"
        );
    }
    let plugin = format!("loss.plugin={}", faulty("faulty-read-back"));
    let reading = costs("reading", &[&plugin, "loss.grants.read-back=to test"]);
    assert!(number(&reading[3], "readbacks") >= 8.0, "{:?}", reading[3]);
}

#[test]
fn a_plugin_that_was_replaced_leaves_its_failure_too() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = [
        format!("loss.plugin={}", faulty("faulty-loss")),
        "loss.parameters.fault=trap".to_owned(),
        "loss.on_failure={ fallback = \"cross-entropy\" }".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let arguments = ["--unit", "meta", "--record-plugins", "--json"];
    let answer = tiny_with(&run, &settings, &arguments).succeeded();
    let file = run.join("units/meta/failure-loss.json");
    let told: Vec<Value> = answer
        .json_lines()
        .into_iter()
        .filter(|line| line["event"] == "failure-recorded")
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["file"], file.to_str().unwrap());
    let again = replay(&file, &[]).succeeded();
    assert!(
        again.stdout.contains("the same failure"),
        "{}",
        again.stdout
    );
    // The failed call stands among the others, between those of the two plugins.
    let file = run.join("units/meta/calls.jsonl");
    replay(&file, &[]).succeeded();
    let computed: Vec<String> = calls(&file)
        .iter()
        .filter(|call| call["call"]["hook"] == "compute")
        .map(|call| call["plugin"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(computed.len(), 9);
    assert_eq!(computed[..2], ["faulty-loss", "cross-entropy"]);
    // What both plugins cost is told.
    let events = calls(&run.join("units/meta/events.jsonl"));
    let costs = |plugin: &str| {
        let of = |event: &&Value| event["event"] == "plugin-cost" && event["plugin"] == plugin;
        events.iter().filter(of).count()
    };
    assert_eq!((costs("faulty-loss"), costs("cross-entropy")), (2, 2));
}

#[test]
fn what_a_plugin_remembered_is_part_of_its_calls() {
    let folder = tempdir().unwrap();
    let more = [
        format!("schedule.plugin={}", faulty("lawless-schedule")),
        "schedule.parameters.patience=1".to_owned(),
        // Nothing is learned, so the schedule runs out of patience.
        "meta.rate=1e-30".to_owned(),
        "meta.epochs=4".to_owned(),
    ];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let file = recorded(&folder.path().join("run"), &more);
    let all = replay(&file, &["--json"]).succeeded().json_lines();
    assert!(all.iter().all(|line| line["same"] == true));
    assert!(
        all.iter()
            .all(|line| line["in_run"] == line["recorded"]["outcome"])
    );
    // Only the state tells the last rate from the first: without it, the call does something else.
    let is_rate = |call: &&Value| call["call"]["hook"] == "rate";
    let calls = calls(&file);
    let (first, last) = (calls.iter().find(is_rate), calls.iter().rfind(is_rate));
    let (first, mut last) = (first.unwrap(), last.unwrap().clone());
    assert_ne!(first["in_run"], last["in_run"]);
    assert_ne!(first["state"], last["state"]);
    last["state"] = first["state"].clone();
    let changed = write(folder.path(), "changed.jsonl", &[last]);
    replay(&changed, &[]).failed(21, &["1 of 1 calls diverge"]);
}
