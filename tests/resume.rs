//! The resume law: a run that was interrupted anywhere, however often, ends with the same bits and
//! tells the same story as one that was not.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use incubate::device::{self, DeviceChoice};
use incubate::event::{Event, Observer};
use incubate::experiment;
use incubate::plugin::PluginHost;
use incubate::run::Unit;
use incubate::stop::Stop;
use incubate::training::{Changed, Runner, TrainError, prepare};
use serde_json::Value;
use tempfile::tempdir;

use crate::background::log_file;
use crate::command::incubate;

/// Everything that is remembered between two updates, and everything that is drawn: a schedule that
/// looks at evaluations, moments, an average with a counter, parts of a batch, several threads that
/// change pictures, mixed batches, and what is left out at random. Five updates an epoch.
const EVERYTHING: [&str; 29] = [
    "data.train_limit=104",
    "data.validation_limit=40",
    "data.threads=3",
    "model.width=16",
    "model.heads=2",
    "model.depth=4",
    "partition.modules=2",
    "training.batch=20",
    "training.accumulation=2",
    "training.clip=0.5",
    "training.ema=0.9",
    "training.ema_warm_up=true",
    "training.layer_decay=0.8",
    "training.drop_path=0.3",
    "training.dropout=0.1",
    "training.attention_dropout=0.1",
    "training.augmentation.rand_augment=rand-m5-mstd0.5",
    "training.augmentation.random_erasing=0.3",
    "training.augmentation.mixup=0.8",
    "training.augmentation.cutmix=1.0",
    "schedule.plugin=plateau",
    "schedule.parameters.patience=0",
    "schedule.parameters.factor=0.5",
    "schedule.parameters.threshold=0.5",
    "meta.epochs=4",
    "module.epochs=3",
    "fine-tune.epochs=3",
    "fine-tune.evaluate_every=2",
    "baseline.epochs=4",
];

/// A sum of hooks, one of which asks the frozen meta model. The first update depends on the outputs of the
/// module alone, so that its backward pass is shorter.
const SUM: [&str; 3] = [
    "module.teacher=meta",
    r#"module.loss.terms=[{plugin="cross-entropy", weight=0, final_weight=1}, {plugin="imitation", weight=0.5, final_weight=0.1}]"#,
    "module.evaluate_every=2",
];

/// The units of a run with two modules that train.
const TRAINED: [&str; 5] = ["meta", "module.0", "module.1", "fine-tune", "baseline"];

/// Small draws for tests, the same in every run of them.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Knuth's constants of MMIX.
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Asks to stop at one of the next events that say that something was learnt.
struct Interruption {
    stop: Stop,
    left: Option<u64>,
    seen: Vec<Event>,
}

impl Observer for Interruption {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::Update { .. } | Event::Evaluated { .. })
            && let Some(left) = &mut self.left
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.stop.ask();
            }
        }
        self.seen.push(event.clone());
        Ok(())
    }
}

/// The experiment with more assignments.
fn assignments(more: &[&str]) -> Vec<String> {
    let all = EVERYTHING.iter().chain(&SUM).chain(more);
    all.map(|one| (*one).to_owned()).collect()
}

/// Opens or begins a run.
fn runner(path: &Path, more: &[&str]) -> Runner {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let host = PluginHost::new(Some(&cache)).unwrap();
    let resolved = experiment::load(Some("digits"), &assignments(more)).unwrap();
    let prepared = prepare(resolved, &host).unwrap();
    let device = device::choose(DeviceChoice::Cpu, false).unwrap();
    Runner::open(prepared, path, device, Changed::Refused).unwrap()
}

/// Trains units until they are done or `after` things were learnt.
pub(crate) fn train(
    runner: Runner,
    units: &[&str],
    after: Option<u64>,
) -> (Result<(), TrainError>, Vec<Event>) {
    let stop = Stop::default();
    let runner = runner.stopping_at(stop.clone());
    let units: Vec<Unit> = match units {
        [] => runner.units(),
        names => names
            .iter()
            .map(|name| runner.unit(name).unwrap())
            .collect(),
    };
    let mut observer = Interruption {
        stop,
        left: after,
        seen: Vec::new(),
    };
    let result = runner.run(&units, &mut observer);
    (result, observer.seen)
}

/// Trains units, interrupted again and again; answers how often.
fn train_in_pieces(path: &Path, units: &[&str], more: &[&str], draws: &mut Draws) -> usize {
    let mut interruptions = 0;
    loop {
        // Checkpoints beside those of the interruptions change nothing.
        let every = format!("checkpoint.every_updates={}", draws.below(4));
        let more: Vec<&str> = more.iter().copied().chain([every.as_str()]).collect();
        let after = 1 + draws.below(7);
        match train(runner(path, &more), units, Some(after)).0 {
            Ok(()) => return interruptions,
            Err(TrainError::Stopped { place, checkpoint }) => {
                interruptions += 1;
                let checkpoint = checkpoint.unwrap();
                assert!(checkpoint.join("state.json").is_file());
                let number: u64 = checkpoint
                    .file_name()
                    .and_then(|name| name.to_str()?.parse().ok())
                    .unwrap();
                assert_eq!(number, place.update);
            }
            // The request came when nothing was left of a unit.
            Err(TrainError::StoppedBefore { .. }) => interruptions += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

fn whole(path: &Path, units: &[&str], more: &[&str]) {
    train(runner(path, more), units, None).0.unwrap();
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Leaves out what depends on the clock or the machine.
fn without_times(value: &mut Value) {
    const TIMES: [&str; 8] = [
        // The digest of all, times included.
        "seal",
        // It counts threads, which make no difference.
        "device",
        "time",
        "seconds",
        "pictures_per_second",
        "guest_seconds",
        "host_seconds",
        "share",
    ];
    if let Value::Object(fields) = value {
        fields.retain(|key, _| !TIMES.contains(&key.as_str()));
        fields.values_mut().for_each(without_times);
    }
}

/// The log of a unit without times, and without what says that it was interrupted.
fn story(run: &Path, unit: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("units").join(unit).join("events.jsonl")).unwrap();
    let text = text.replace(run.to_str().unwrap(), "RUN");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let interrupted = |line: &Value| {
        let note = line["note"].as_str().unwrap_or_default();
        line["event"] == "resumed"
            // Told by the clock, too.
            || line["event"] == "plugin-cost"
            || note.starts_with("took the unit over from")
            || note.contains("features.bin` is made again")
            // Depends on the disk.
            || note.starts_with("checkpoints are due faster")
    };
    lines
        .filter(|line| !interrupted(line))
        .map(|mut line| {
            without_times(&mut line);
            line
        })
        .collect()
}

/// The weights, the result, and the log of units are the same.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path, units: &[&str]) {
    for unit in units {
        let file = |run: &Path, name: &str| run.join("units").join(unit).join(name);
        let weights = |run| fs::read(file(run, "weights.safetensors")).unwrap();
        assert!(weights(one) == weights(other), "the weights of {unit}");
        let result = |run| {
            let mut result = json(&file(run, "result.json"));
            without_times(&mut result);
            result
        };
        assert_eq!(result(one), result(other), "{unit}");
        let (first, second) = (story(one, unit), story(other, unit));
        for (one, other) in first.iter().zip(&second) {
            assert_eq!(one, other, "{unit}");
        }
        assert_eq!(first.len(), second.len(), "{unit}");
        // Nothing is left of what it took.
        assert!(!file(other, "checkpoints").exists(), "{unit}");
        assert!(!file(other, "features.bin").exists(), "{unit}");
    }
}

#[test]
fn a_run_that_is_stopped_anywhere_ends_with_the_same_bits() {
    let folder = tempdir().unwrap();
    let reference = folder.path().join("whole");
    whole(&reference, &[], &[]);
    // The schedule remembers, and it matters.
    let rates: Vec<Value> = story(&reference, "meta")
        .iter()
        .filter(|event| event["event"] == "update")
        .map(|event| event["rate"].clone())
        .collect();
    assert_eq!(rates.len(), 20);
    assert!(rates.iter().any(|rate| *rate != rates[0]), "{rates:?}");
    let mut interruptions = 0;
    for seed in 0..3 {
        let cut = folder.path().join(format!("cut-{seed}"));
        interruptions += train_in_pieces(&cut, &[], &[], &mut Draws(seed));
        assert_same(&reference, &cut, &TRAINED);
    }
    assert!(interruptions > 40, "{interruptions}");
}

#[test]
fn a_plugin_that_stands_in_goes_on_standing_in() {
    let folder = tempdir().unwrap();
    let plugin = format!(
        "meta.loss.plugin={}/tests/plugins/hostile-loss.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    let more = [
        plugin.as_str(),
        "meta.loss.parameters.attack=compute:keep-and-use",
        "meta.loss.on_failure.fallback=cross-entropy",
    ];
    let (reference, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    whole(&reference, &["meta"], &more);
    assert!(train_in_pieces(&cut, &["meta"], &more, &mut Draws(5)) > 3);
    assert_same(&reference, &cut, &["meta"]);
    let result = json(&cut.join("units/meta/result.json"));
    assert_eq!(result["fallbacks"].as_array().unwrap().len(), 1);
    // The call in which it failed is still there, as the log says.
    assert!(cut.join("units/meta/failure-loss.json").is_file());
}

/// What the newest checkpoint of the meta model consists of.
fn newest(run: &Path) -> PathBuf {
    let folder = run.join("units/meta/checkpoints");
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    let good = |path: &PathBuf| path.join("state.json").is_file();
    entries.into_iter().rfind(good).unwrap()
}

#[test]
fn a_damaged_checkpoint_costs_a_few_updates_and_no_bit() {
    let folder = tempdir().unwrap();
    let reference = folder.path().join("whole");
    whole(&reference, &["meta"], &[]);
    let every = ["checkpoint.every_updates=2"];
    for file in [
        "network.safetensors",
        "optimizer.safetensors",
        "average.safetensors",
        "state.json",
    ] {
        for truncate in [true, false] {
            let cut = folder.path().join(format!("{file}-{truncate}"));
            let (stopped, _) = train(runner(&cut, &every), &["meta"], Some(8));
            assert!(matches!(stopped, Err(TrainError::Stopped { .. })));
            let path = newest(&cut).join(file);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            if truncate {
                bytes.truncate(middle);
            } else {
                bytes[middle] ^= 4;
            }
            fs::write(&path, bytes).unwrap();
            let (result, events) = train(runner(&cut, &every), &["meta"], None);
            result.unwrap();
            let resumed = events.iter().find_map(|event| match event {
                Event::Resumed {
                    update, damaged, ..
                } => Some((*update, damaged.clone())),
                _ => None,
            });
            let (update, damaged) = resumed.unwrap();
            // Eight things learnt are seven updates and an evaluation.
            assert_eq!(update, 6, "{file}");
            assert_eq!(damaged.len(), 1);
            assert!(damaged[0].contains(file), "{}", damaged[0]);
            assert_same(&reference, &cut, &["meta"]);
        }
    }
}

#[test]
fn when_every_checkpoint_is_damaged_the_unit_begins_again_and_says_so() {
    let folder = tempdir().unwrap();
    let (reference, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    whole(&reference, &["meta"], &[]);
    let (stopped, _) = train(runner(&cut, &[]), &["meta"], Some(3));
    assert!(matches!(stopped, Err(TrainError::Stopped { .. })));
    fs::remove_file(newest(&cut).join("average.safetensors")).unwrap();
    let (result, events) = train(runner(&cut, &[]), &["meta"], None);
    result.unwrap();
    let said = events.iter().any(|event| match event {
        Event::UnitNote { note, .. } => {
            note.contains("average.safetensors") && note.contains("begins again")
        }
        _ => false,
    });
    assert!(said, "{events:?}");
    let weights = |run: &Path| fs::read(run.join("units/meta/weights.safetensors")).unwrap();
    assert!(weights(&reference) == weights(&cut));
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let folder = tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for (run, seed) in [(&one, "seed=1"), (&other, "seed=2")] {
        let (stopped, _) = train(runner(run, &[seed]), &["meta"], Some(3));
        assert!(matches!(stopped, Err(TrainError::Stopped { .. })));
    }
    let foreign = newest(&one);
    let place = newest(&other);
    for entry in fs::read_dir(&foreign).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.join(entry.file_name())).unwrap();
    }
    let (refused, _) = train(runner(&other, &["seed=2"]), &["meta"], None);
    let error = refused.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, TrainError::OtherCheckpoint { .. }),
        "{text}"
    );
    assert!(text.contains("belongs to another experiment"), "{text}");
    assert!(text.contains(&place.display().to_string()), "{text}");
    // As it says: without the checkpoints the unit begins again.
    fs::remove_dir_all(place.parent().unwrap()).unwrap();
    train(runner(&other, &["seed=2"]), &["meta"], None)
        .0
        .unwrap();
}

#[test]
fn checkpoints_after_epochs_and_the_best_one_outlive_the_unit() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let keep = ["checkpoint.keep_every=2", "checkpoint.keep_best=1"];
    whole(&run, &["meta"], &keep);
    let evaluated: Vec<(f64, f64)> = story(&run, "meta")
        .iter()
        .filter(|event| event["event"] == "evaluated")
        .map(|event| {
            let number = |key: &str| event[key].as_f64().unwrap();
            (number("accuracy"), number("loss"))
        })
        .collect();
    let best = (0..evaluated.len())
        .max_by(|&one, &other| {
            let ((accuracy, loss), (accuracy_2, loss_2)) = (evaluated[one], evaluated[other]);
            accuracy
                .total_cmp(&accuracy_2)
                .then(loss_2.total_cmp(&loss))
        })
        .unwrap();
    let mut expected = vec![10, 20, 5 * (best as u64 + 1)];
    expected.sort_unstable();
    expected.dedup();
    let mut found: Vec<u64> = fs::read_dir(run.join("units/meta/checkpoints"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

/// The arguments of `run` in `out`.
fn arguments(out: &Path, every: &str) -> Vec<String> {
    let mut all: Vec<String> = ["run", "digits", "--device", "cpu", "--out"]
        .map(ToOwned::to_owned)
        .to_vec();
    all.push(out.display().to_string());
    for assignment in assignments(&[every]) {
        all.extend(["--set".to_owned(), assignment]);
    }
    all
}

/// The lines in all logs of a run.
fn lines(run: &Path) -> usize {
    let logs = TRAINED.map(|unit| fs::read(log_file(run, unit)).unwrap_or_default());
    logs.iter().flatten().filter(|byte| **byte == b'\n').count()
}

#[test]
fn a_process_that_is_killed_again_and_again_ends_with_the_same_bits() {
    let folder = tempdir().unwrap();
    let (reference, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let whole = arguments(&reference, "checkpoint.every_minutes=0");
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    incubate(&whole).succeeded();
    let mut draws = Draws(11);
    let (mut kills, mut resumed) = (0, 0);
    let mut logs: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let mut child = Command::new(env!("CARGO_BIN_EXE_incubate"))
            .args(arguments(&killed, "checkpoint.every_updates=1"))
            .env(
                "XDG_CACHE_HOME",
                concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
            )
            .env("RAYON_NUM_THREADS", (1 + kills % 3).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A few lines further than the last one came, so that any machine comes to an end and none
        // gets there at once; and then anywhere, the writing of a checkpoint included.
        let far = lines(&killed) + 1 + draws.below(12) as usize;
        let alive = loop {
            if child.try_wait().unwrap().is_some() {
                break false;
            }
            if lines(&killed) >= far {
                break true;
            }
            thread::sleep(Duration::from_millis(1));
        };
        thread::sleep(Duration::from_millis(draws.below(15)));
        if alive && child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in text.lines().filter(|line| line.contains("goes on at")) {
            resumed += 1;
            let unit = line.split_whitespace().next().unwrap_or_default();
            *logs.entry(unit.to_owned()).or_default() += 1;
        }
        match output.status.code() {
            Some(0) => break,
            Some(code) => panic!("status {code}: {text}"),
            None => {}
        }
    }
    assert_same(&reference, &killed, &TRAINED);
    assert!(kills >= 5 && resumed >= 3, "{kills} kills: {logs:?}");
}
