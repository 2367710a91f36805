//! Losses that are no numbers any more: the unit ends and says what can be done, or goes back to a
//! checkpoint and on at lower rates, with the same bits however often it was interrupted.

use std::fs;
use std::io;
use std::path::Path;

use incubate::device::{self, DeviceChoice};
use incubate::event::{Event, Observer};
use incubate::experiment;
use incubate::plugin::PluginHost;
use incubate::stop::Stop;
use incubate::training::{Changed, Runner, TrainError, prepare};
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{Answer, TINY, tiny_with};

/// A schedule that goes to rates in its third epoch, of four updates, that no weight survives.
const EXPLODING: [&str; 7] = [
    "meta.epochs=5",
    "training.ema=0.9",
    "schedule.plugin=piecewise",
    r#"schedule.parameters.at=["0", "2", "3"]"#,
    "schedule.parameters.factors=[1.0, 1e33, 1.0]",
    "schedule.parameters.between=constant",
    "fine-tune.epochs=1",
];
/// Two steps down from there, and one that is not far enough.
const BACK: [&str; 3] = [
    "meta.divergence.action=roll-back",
    "meta.divergence.rate_factor=3.3e-18",
    "checkpoint.every_minutes=0",
];

fn with(more: &[&str]) -> Vec<&'static str> {
    let leaked = |one: &&str| -> &'static str { Box::leak((*one).to_owned().into_boxed_str()) };
    EXPLODING.iter().chain(more).map(leaked).collect()
}

fn run(path: &Path, more: &[&str]) -> Answer {
    tiny_with(path, &with(more), &["--unit", "meta"])
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn result(run: &Path) -> Value {
    json(&run.join("units/meta/result.json"))
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("units/meta/weights.safetensors")).unwrap()
}

/// The names of the checkpoints.
fn checkpoints(run: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.join("units/meta/checkpoints")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_unit_stops_and_says_where_it_was_good() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    let every = ["checkpoint.every_updates=1", "checkpoint.keep_last=100"];
    let answer = run(&path, &every);
    answer.failed(
        20,
        &[
            "unit `meta`, epoch 2, update 9: the loss is NaN",
            "on pictures digits #",
            "the newest good checkpoint is",
            "meta/checkpoints/0000000008`",
            "--set meta.divergence.action=roll-back",
        ],
    );
    // After update 9 the weights are no numbers, and nothing is written of that.
    assert_eq!(checkpoints(&path).last().unwrap(), "0000000008");
    // Once more it is the same, and with the setting the same run goes on.
    run(&path, &every).failed(20, &["update 9", "0000000008"]);
    run(&path, &[&every[..], &BACK[..2]].concat()).succeeded();
    assert_eq!(result(&path)["roll_backs"].as_array().unwrap().len(), 2);
}

#[test]
fn training_goes_back_and_on_at_lower_rates() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    let answer = run(&path, &BACK).succeeded();
    for phrase in [
        "warning",
        "the loss was NaN at update 9, and training went back to update 8 and on with 3.3e-18 times",
    ] {
        assert!(answer.stderr.contains(phrase), "{}", answer.stderr);
    }
    assert!(answer.stdout.contains("meta model *"), "{}", answer.stdout);
    assert!(answer.stdout.contains("* meta: the loss was NaN"));
    let result = result(&path);
    let backs = result["roll_backs"].as_array().unwrap();
    assert_eq!(backs.len(), 2, "{result}");
    assert_eq!(
        (&backs[0]["to_epoch"], &backs[0]["lost"]),
        (&2.into(), &2.into())
    );
    let factor = |index: usize| -> f64 {
        let text = backs[index]["rate_factor"].as_str().unwrap();
        text.parse().unwrap()
    };
    assert_eq!(factor(0).to_bits(), 3.3e-18_f64.to_bits());
    assert_eq!(factor(1).to_bits(), (3.3e-18_f64 * 3.3e-18).to_bits());
    // What was done in vain was done: 20 updates, and those that were lost.
    let lost: u64 = backs
        .iter()
        .map(|back| back["lost"].as_u64().unwrap())
        .sum();
    assert_eq!(result["updates"], 20 + lost);
    assert_eq!(result["pictures"], 50 * (20 + lost));
    assert!(result["loss"].is_number());
    // The log has the rates that were used.
    let log = fs::read_to_string(path.join("units/meta/events.jsonl")).unwrap();
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let rates: Vec<f64> = events
        .iter()
        .filter(|event| event["update"] == 8 && event["event"] == "update")
        .map(|event| event["rate"].as_f64().unwrap())
        .collect();
    assert_eq!(rates.len(), 3);
    assert!(
        (rates[1] / rates[0] / 3.3e-18 - 1.0).abs() < 1e-9,
        "{rates:?}"
    );
    let backs = events
        .iter()
        .filter(|event| event["event"] == "rolled-back");
    assert_eq!(backs.count(), 2);
    // Nothing is left of what it took.
    assert!(!path.join("units/meta/checkpoints").exists());
    let again = folder.path().join("again");
    run(&again, &BACK).succeeded();
    assert!(weights(&again) == weights(&path));
}

#[test]
fn it_goes_back_only_so_often() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    let more = [
        "meta.divergence.action=roll-back",
        "meta.divergence.rate_factor=0.5",
        "meta.divergence.retries=2",
    ];
    run(&path, &more).failed(
        20,
        &[
            "went back 2 times already",
            "meta.divergence.retries",
            "0000000008",
        ],
    );
    // The setting is no part of the experiment: the same run goes on with another.
    let more = [&more[..2], &["meta.divergence.retries=1"]].concat();
    run(&path, &more).failed(20, &["went back 2 times already"]);
    let more = [
        "meta.divergence.action=roll-back",
        "meta.divergence.rate_factor=1e-34",
        "meta.divergence.retries=9",
    ];
    run(&path, &more).succeeded();
    assert_eq!(result(&path)["roll_backs"].as_array().unwrap().len(), 3);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    for (setting, key) in [
        (
            "meta.divergence.rate_factor=0",
            "meta.divergence.rate_factor",
        ),
        (
            "meta.divergence.rate_factor=2",
            "meta.divergence.rate_factor",
        ),
        ("training.divergence.retries=0", "meta.divergence.retries"),
        ("meta.divergence.action=jump", "roll-back"),
        ("meta.divergence.acton=stop", "action"),
    ] {
        run(&path, &[setting]).failed(2, &[key]);
    }
}

/// Asks to stop after some updates and evaluations.
struct Interruption {
    stop: Stop,
    left: u64,
}

impl Observer for Interruption {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::Update { .. } | Event::Evaluated { .. }) {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.stop.ask();
            }
        }
        Ok(())
    }
}

/// Trains the meta model until it is done or so much has happened; answers whether it is done.
fn train(path: &Path, more: &[&str], after: u64) -> bool {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let host = PluginHost::new(Some(&cache)).unwrap();
    let assignments: Vec<String> = TINY
        .iter()
        .copied()
        .chain(with(more))
        .map(ToOwned::to_owned)
        .collect();
    let resolved = experiment::load(Some("digits"), &assignments).unwrap();
    let device = device::choose(DeviceChoice::Cpu, false).unwrap();
    let stop = Stop::default();
    let runner = Runner::open(
        prepare(resolved, &host).unwrap(),
        path,
        device,
        Changed::Refused,
    )
    .unwrap()
    .stopping_at(stop.clone());
    let units = [runner.unit("meta").unwrap()];
    let mut observer = Interruption { stop, left: after };
    match runner.run(&units, &mut observer) {
        Ok(()) => true,
        Err(TrainError::Stopped { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// What happened, without times and interruptions.
fn story(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("units/meta/events.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|event| event["event"] != "resumed" && event["event"] != "plugin-cost")
        .filter(|event| {
            !event["note"]
                .to_string()
                .contains("due faster than they can be written")
        })
        .map(|mut event| {
            let fields = event.as_object_mut().unwrap();
            for time in ["time", "seconds", "pictures_per_second"] {
                fields.remove(time);
            }
            event
        })
        .collect()
}

#[test]
fn interruptions_change_neither_where_it_goes_back_to_nor_a_bit() {
    let folder = tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert!(train(&whole, &BACK, u64::MAX));
    let roll_backs = result(&whole)["roll_backs"].clone();
    assert_eq!(roll_backs.as_array().unwrap().len(), 2);
    let mut interruptions = 0;
    for cut in 1..=7 {
        let path = folder.path().join(format!("cut-{cut}"));
        // Checkpoints between the beginnings of epochs, and those of interruptions, change nothing.
        let every = format!("checkpoint.every_updates={}", cut % 3);
        let more = [&BACK[..], &[every.as_str()]].concat();
        while !train(&path, &more, cut) {
            interruptions += 1;
            assert!(interruptions < 500);
        }
        assert!(weights(&path) == weights(&whole), "every {cut}");
        assert_eq!(result(&path)["roll_backs"], roll_backs, "every {cut}");
        assert_eq!(result(&path)["updates"], result(&whole)["updates"]);
        assert_eq!(story(&path), story(&whole), "every {cut}");
    }
    assert!(interruptions > 30, "{interruptions}");
}

#[test]
fn weights_that_the_last_update_spoilt_are_not_called_finished() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    let last = [
        "meta.epochs=1",
        r#"schedule.parameters.at=["0", "3up"]"#,
        "schedule.parameters.factors=[1.0, 1e33]",
    ];
    run(&path, &last).failed(
        20,
        &["update 4", "the loss over the validation pictures is NaN"],
    );
    assert!(!path.join("units/meta/result.json").exists());
    let back = [
        &last[..],
        &BACK[..1],
        &["meta.divergence.rate_factor=1e-34"],
    ]
    .concat();
    run(&path, &back).succeeded();
    let backs = &result(&path)["roll_backs"];
    assert_eq!(
        (&backs[0]["to_update"], &backs[0]["lost"]),
        (&0.into(), &4.into())
    );
}
