//! `on_failure`: a run goes on with a built-in plugin when another fails, and says so everywhere;
//! without it the run ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use incubate::phase::Phase;
use incubate::plugin::{Context, Grants, Kind, Limits, LossHook, Needs, PluginHost};
use incubate::random::Seed;
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{TINY, incubate, tiny, tiny_with};

fn component(name: &str) -> String {
    format!("{}/tests/plugins/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

/// A loss that answers its first call and fails in the second one of every unit.
fn failing_loss() -> [String; 2] {
    [
        format!("loss.plugin={}", component("hostile-loss")),
        "loss.parameters.attack=compute:keep-and-use".to_owned(),
    ]
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The events of a unit of this type.
fn events(run: &Path, unit: &str, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("units").join(unit).join("events.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == event)
        .collect()
}

#[test]
fn a_loss_is_replaced_shown_and_recorded() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let [plugin, attack] = failing_loss();
    let more = [&plugin, &attack, "loss.on_failure.fallback=cross-entropy"];
    let answer = tiny(&run, &more).succeeded();
    let warning = "failed in `compute` at epoch 0, update 1, and built-in `cross-entropy` goes on in its place: the tensor is gone";
    assert!(
        answer
            .stderr
            .contains("warning: plugin `hostile-loss` 0.1.0")
    );
    assert!(answer.stderr.contains(warning), "{}", answer.stderr);
    for phrase in [
        "meta model *",
        "hybrid 1: 1 [2] *",
        "end-to-end *",
        "* module.1: plugin `hostile-loss` 0.1.0",
        warning,
        "Plugins failed and were replaced 5 times (*): this is not the experiment as it is written.",
    ] {
        assert!(
            answer.stdout.contains(phrase),
            "no `{phrase}` in {}",
            answer.stdout
        );
    }
    assert!(!answer.stdout.contains("assembled *"), "{}", answer.stdout);

    let unit = run.join("units/meta");
    let result = json(&unit.join("result.json"));
    let replacement = &result["fallbacks"][0];
    assert_eq!(result["fallbacks"].as_array().unwrap().len(), 1);
    for (key, value) in [
        ("unit", "meta"),
        ("role", "loss"),
        ("fallback", "cross-entropy"),
        ("hook", "compute"),
    ] {
        assert_eq!(replacement[key], value);
    }
    assert_eq!(
        (&replacement["epoch"], &replacement["update"]),
        (&0.into(), &1.into())
    );
    let told = events(&run, "meta", "plugin-replaced");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["reason"], replacement["reason"]);
    assert_eq!(events(&run, "meta", "update").len(), 8);
    // Both plugins say what they cost: two calls, and the other seven of eight.
    let costs = events(&run, "meta", "plugin-cost");
    let losses: Vec<_> = costs
        .iter()
        .filter(|event| event["role"] == "loss")
        .collect();
    // The last report of the unit has one line for each of the two.
    let calls: Vec<_> = losses[losses.len() - 2..]
        .iter()
        .map(|event| (event["plugin"].clone(), event["calls"].clone()))
        .collect();
    // Starting takes two more: `configure` and `needs`.
    assert_eq!(
        calls,
        [
            ("hostile-loss".into(), 4.into()),
            ("cross-entropy".into(), 9.into())
        ]
    );
    let record = json(&run.join("run.json"));
    assert_eq!(
        record["plugins"]["meta.loss.fallback"]["name"],
        "cross-entropy"
    );

    let answer = incubate(&[
        "eval",
        run.to_str().unwrap(),
        "--unit",
        "meta",
        "--device",
        "cpu",
    ]);
    assert!(
        answer
            .succeeded()
            .stderr
            .contains("warning: meta: plugin `hostile-loss`")
    );
}

#[test]
fn without_a_fallback_the_run_ends_and_says_what_is_kept() {
    let folder = tempdir().unwrap();
    let [plugin, attack] = failing_loss();
    let run = folder.path().join("run");
    tiny_with(&run, &[&plugin, &attack], &["--unit", "meta"]).failed(
        11,
        &[
            "unit `meta`, epoch 0, update 1",
            "hook `compute`: the tensor is gone",
            "finished units are kept, and unit `meta` goes on from its newest checkpoint",
            "set `on_failure`",
        ],
    );
    assert!(!run.join("units/meta/result.json").exists());
}

#[test]
fn a_limit_and_a_start_that_fails_are_failures_like_others() {
    let folder = tempdir().unwrap();
    let plugin = format!("loss.plugin={}", component("faulty-loss"));
    let [hostile, _] = failing_loss();
    for (plugin, parameter, hook, reason) in [
        (
            &plugin,
            "fault=endless-loop",
            "compute",
            "50000000 instructions",
        ),
        (
            &plugin,
            "fault=not-scalar",
            "compute",
            "the loss has the shape",
        ),
        (&hostile, "attack=configure:panic", "configure", "crashed"),
        (
            &hostile,
            "attack=needs:memory-bomb",
            "needs",
            "bytes of memory",
        ),
    ] {
        let parameter = format!("loss.parameters.{parameter}");
        let run = folder.path().join(&parameter);
        let more = [plugin, &parameter, "loss.on_failure.fallback=cross-entropy"];
        tiny_with(&run, &more, &["--unit", "meta"]).succeeded();
        let result = json(&run.join("units/meta/result.json"));
        let replacement = &result["fallbacks"][0];
        assert_eq!(
            (&replacement["hook"], &replacement["update"]),
            (&hook.into(), &0.into())
        );
        let found = replacement["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn a_schedule_is_replaced_for_all_groups_from_the_failing_update_on() {
    let folder = tempdir().unwrap();
    let plugin = format!("schedule.plugin={}", component("faulty-schedule"));
    for (fallback, after) in [("constant", 2), ("cosine", 5)] {
        let run = folder.path().join(fallback);
        let after = format!("schedule.parameters.after={after}");
        let name = format!("schedule.on_failure.fallback={fallback}");
        let more = [
            &plugin,
            "schedule.parameters.fault=\"nan\"",
            &after,
            &name,
            "training.rate=0.01",
        ];
        tiny_with(&run, &more, &["--unit", "meta"]).succeeded();
        let rates: Vec<f64> = events(&run, "meta", "update")
            .iter()
            .map(|event| event["rate"].as_f64().unwrap())
            .collect();
        // Two epochs of four updates; the schedules that ship change the rate between epochs.
        let halfway = 1e-5 + 0.5 * (0.01 - 1e-5);
        let expected = if fallback == "constant" {
            [0.01; 8]
        } else {
            [0.01, 0.01, 0.01, 0.01, 0.01, halfway, halfway, halfway]
        };
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
        let replacement = &json(&run.join("units/meta/result.json"))["fallbacks"][0];
        assert_eq!(
            (&replacement["role"], &replacement["hook"]),
            (&"schedule".into(), &"rate".into())
        );
    }
}

#[test]
fn a_partition_scheme_is_replaced_before_the_run() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let plugin = format!("partition.plugin={}", component("hostile-partition"));
    let more = [
        &plugin,
        "partition.parameters.attack=divide:endless-loop",
        "partition.on_failure.fallback=uniform",
    ];
    let phrase = "plugin `hostile-partition` 0.1.0";
    for _ in 0..2 {
        // Also when the run goes on, since its division is still the other one.
        let answer = tiny_with(&run, &more, &["--unit", "meta"]).succeeded();
        assert!(answer.stderr.contains(phrase), "{}", answer.stderr);
        assert!(
            answer.stdout.contains("* partition: plugin"),
            "{}",
            answer.stdout
        );
    }
    let record = json(&run.join("run.json"));
    assert_eq!(record["fallbacks"][0]["fallback"], "uniform");
    assert_eq!(record["division"].as_array().unwrap().len(), 2);

    let mut arguments = vec!["plan", "digits", "--device", "cpu"];
    for assignment in TINY.iter().chain(&more) {
        arguments.extend(["--set", assignment]);
    }
    let answer = incubate(&arguments).succeeded();
    assert!(answer.stderr.contains(phrase), "{}", answer.stderr);
}

#[test]
fn a_phase_has_a_fallback_of_its_own() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let [plugin, attack] = failing_loss();
    let more = [
        &plugin,
        &attack,
        "meta.loss.on_failure.fallback=cross-entropy",
    ];
    tiny_with(&run, &more, &["--unit", "meta"]).succeeded();
    tiny_with(&run, &more, &["--unit", "module.0"])
        .failed(11, &["unit `module.0`, epoch 0, update 1"]);
}

#[test]
fn a_fallback_that_cannot_be_one_is_refused_before_training() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let cases: [(&str, i32, &[&str]); 8] = [
        (
            "loss.on_failure.fallback=cross-entropi",
            10,
            &[
                "`meta.loss.on_failure` names `cross-entropi`, which is no built-in loss hook; did you mean `cross-entropy`? (built in: cross-entropy, ",
            ],
        ),
        (
            "loss.on_failure.fallback=cosine",
            10,
            &["no built-in loss hook"],
        ),
        (
            "loss.on_failure.fallback=./a.wasm",
            10,
            &["no built-in loss hook"],
        ),
        (
            "partition.on_failure.fallback=explicit",
            10,
            &[
                "`partition.on_failure`",
                "the parameter `depths` needs a value",
            ],
        ),
        (
            "schedule.on_failure.fallback=uniform",
            10,
            &[
                "no built-in learning-rate schedule",
                "(built in: constant, cosine, polynomial, ",
            ],
        ),
        (
            "loss.on_failure=ignore",
            2,
            &[
                "`loss.on_failure`",
                "expected \"abort\" or { fallback = \"NAME\" }",
            ],
        ),
        (
            "loss.on_failure.falback=a",
            2,
            &["unknown key `loss.on_failure.falback`", "fallback"],
        ),
        (
            "loss.on_failure.fallback=3",
            2,
            &["`loss.on_failure.fallback`"],
        ),
    ];
    for (assignment, status, phrases) in cases {
        tiny(&run, &[assignment]).failed(status, phrases);
        assert!(!run.exists(), "{assignment}");
    }
    // A plugin that is refused is not replaced: that is known before anything is trained.
    let plugin = format!("schedule.plugin={}", component("faulty-next-contract"));
    let more = [&plugin, "schedule.on_failure.fallback=cosine"];
    tiny(&run, &more).failed(10, &["version 0.2.0 of the contract"]);
    assert!(!run.exists());
}

/// A loss that takes over within an update gets the inputs that the other one had asked for.
#[test]
fn built_in_losses_need_nothing_that_another_had_to_ask_for() {
    let host = PluginHost::new(None).unwrap();
    let losses = PluginHost::built_in().filter(|built_in| built_in.kind == Kind::LossHook);
    for built_in in losses {
        let load = host.load(
            built_in.name,
            built_in.kind,
            &Grants::none(),
            &Limits::default(),
        );
        let plugin = load.unwrap();
        // These cannot stand by, and an experiment that says so is refused.
        if plugin.asks_teacher() {
            continue;
        }
        let settings = plugin.settings(&BTreeMap::new()).unwrap();
        let context = Context {
            seed: Seed(0),
            phase: Phase::Module(0),
        };
        let hook = LossHook::new(&plugin, &settings, context).unwrap();
        assert_eq!(hook.needs(), Needs::default(), "{}", built_in.name);
    }
}
