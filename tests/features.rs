//! What frozen stages compute once: the same bits as at every update, whatever happens to the file on the
//! way, within its bound, and counted as what it costs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use incubate::device::{self, DeviceChoice};
use incubate::event::{Event, Observer};
use incubate::experiment;
use incubate::plugin::PluginHost;
use incubate::training::{Changed, Runner, TrainError, prepare};
use serde_json::Value;
use tempfile::tempdir;

use crate::command::incubate;
use crate::resume::{Draws, assert_same, json, train};

/// Three modules; 104 pictures in batches of two parts, so that the last part of the pictures in their order
/// is short. The trained module drops what it likes.
const SMALL: [&str; 13] = [
    "data.train_limit=104",
    "data.validation_limit=40",
    "model.width=16",
    "model.heads=2",
    "model.depth=6",
    "partition.modules=3",
    "training.batch=20",
    "training.accumulation=2",
    "training.drop_path=0.3",
    "training.dropout=0.1",
    "meta.epochs=1",
    "module.epochs=3",
    "checkpoint.every_updates=2",
];

/// Pictures that are changed, and come back as they were in every third epoch, in copies.
const VIEWS: [&str; 5] = [
    "module.augmentation.flip=0.5",
    "module.augmentation.crop_padding=1",
    "module.augmentation.repeats=2",
    "module.augmentation.views=2",
    "module.epochs=5",
];

/// The modules with frozen stages before them.
const MODULES: [&str; 2] = ["module.1", "module.2"];

const OFF: &str = "features.cache=off";

fn runner(path: &Path, more: &[&str]) -> Runner {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let host = PluginHost::new(Some(&cache)).unwrap();
    let assignments: Vec<String> = SMALL
        .iter()
        .chain(more)
        .map(|one| (*one).to_owned())
        .collect();
    let resolved = experiment::load(Some("digits"), &assignments).unwrap();
    let prepared = prepare(resolved, &host).unwrap();
    let device = device::choose(DeviceChoice::Cpu, false).unwrap();
    Runner::open(prepared, path, device, Changed::Refused).unwrap()
}

/// Trains the meta model and modules; answers what happened in the modules.
fn modules(path: &Path, more: &[&str]) -> Vec<Event> {
    train(runner(path, more), &["meta"], None).0.unwrap();
    let (result, events) = train(runner(path, more), &MODULES, None);
    result.unwrap();
    events
}

/// The units of `incubate plan`, by name.
fn plan(more: &[&str]) -> BTreeMap<String, Value> {
    let mut arguments = vec!["plan", "digits", "--device", "cpu", "--json"];
    for assignment in SMALL.iter().chain(more) {
        arguments.extend(["--set", assignment]);
    }
    let plan = incubate(&arguments).succeeded().json_lines().remove(0);
    let units = plan["plan"]["units"].as_array().unwrap().clone();
    let named = |unit: Value| (unit["unit"].as_str().unwrap().to_owned(), unit);
    units.into_iter().map(named).collect()
}

fn unit_file(run: &Path, unit: &str, name: &str) -> PathBuf {
    run.join("units").join(unit).join(name)
}

fn weights(run: &Path, unit: &str) -> Vec<u8> {
    fs::read(unit_file(run, unit, "weights.safetensors")).unwrap()
}

/// Forward and backward, in MACs.
fn macs(run: &Path, unit: &str) -> [u64; 2] {
    let result = json(&unit_file(run, unit, "result.json"));
    ["forward_macs", "backward_macs"].map(|key| result[key].as_u64().unwrap())
}

/// What was said about the units, one after the other.
fn notes(events: &[Event]) -> Vec<String> {
    let notes = events.iter().filter_map(|event| match event {
        Event::UnitNote { note, .. } => Some(note.clone()),
        _ => None,
    });
    notes.collect()
}

#[test]
fn kept_or_computed_gives_the_same_bits_and_the_count_says_which() {
    let folder = tempdir().unwrap();
    for (name, more, records, trained) in [
        ("plain", &[][..], 104, 300),
        ("views", &VIEWS[..], 416, 500),
    ] {
        let (kept, computed) = (
            folder.path().join(name),
            folder.path().join(format!("{name}-off")),
        );
        let off: Vec<&str> = more.iter().copied().chain([OFF]).collect();
        let told = notes(&modules(&kept, more));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains(&format!("each of {records} pictures")),
            "{told:?}"
        );
        assert_eq!(notes(&modules(&computed, &off)), Vec::<String>::new());
        let (planned, planned_off) = (plan(more), plan(&off));
        for unit in MODULES {
            assert!(
                weights(&kept, unit) == weights(&computed, unit),
                "{name}, {unit}"
            );
            let ([forward, backward], [all_forward, all_backward]) =
                (macs(&kept, unit), macs(&computed, unit));
            let frozen = planned[unit]["frozen_macs"].as_u64().unwrap();
            assert!(frozen > 0);
            assert_eq!(
                all_forward - forward,
                (trained - records) * frozen,
                "{name}"
            );
            assert_eq!(backward, all_backward);
            for (plan, spent) in [
                (&planned, forward + backward),
                (&planned_off, all_forward + all_backward),
            ] {
                assert_eq!(plan[unit]["total_macs"].as_u64().unwrap(), spent, "{name}");
            }
            assert_eq!(planned[unit]["features"]["pictures"], records);
            assert!(!unit_file(&kept, unit, "features.bin").exists());
        }
        // What the baseline may cost depends on no disk.
        assert_eq!(
            planned["baseline"]["epochs"],
            planned_off["baseline"]["epochs"]
        );
    }
}

/// Damages the features in one of several ways; answers whether there was something to damage.
fn damage(path: &Path, way: u64, draws: &mut Draws) -> bool {
    let Ok(mut bytes) = fs::read(path) else {
        return false;
    };
    let place = draws.below(bytes.len() as u64) as usize;
    match way {
        0 => fs::remove_file(path).unwrap(),
        1 => {
            bytes.truncate(place);
            fs::write(path, bytes).unwrap();
        }
        2 => {
            // So that every batch has one of them.
            for byte in bytes.iter_mut().skip(2_000).step_by(500) {
                *byte ^= 16;
            }
            fs::write(path, bytes).unwrap();
        }
        3 => fs::write(path, vec![7; bytes.len()]).unwrap(),
        _ => return false,
    }
    true
}

#[test]
fn whatever_happens_to_the_file_the_bits_are_the_same() {
    let folder = tempdir().unwrap();
    for (name, more) in [("plain", &[][..]), ("views", &VIEWS[..])] {
        let reference = folder.path().join(name);
        modules(&reference, more);
        let cut = folder.path().join(format!("{name}-cut"));
        train(runner(&cut, more), &["meta"], None).0.unwrap();
        let mut draws = Draws(3);
        let (mut damaged, mut said) = (0, 0);
        for unit in MODULES {
            let path = unit_file(&cut, unit, "features.bin");
            let mut way = 0;
            loop {
                let (result, events) = train(runner(&cut, more), &[unit], Some(1 + draws.below(5)));
                let again = notes(&events);
                said += again
                    .iter()
                    .filter(|note| note.contains("is made again"))
                    .count();
                match result {
                    Ok(()) => break,
                    Err(TrainError::Stopped { .. }) => {
                        assert!(path.exists(), "it stays for the next process");
                        damaged += usize::from(damage(&path, way % 5, &mut draws));
                        way += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert_same(&reference, &cut, &MODULES);
        assert!(damaged > 4 && said >= damaged - 2, "{said} of {damaged}");
    }
}

/// Damages the features while they are in use.
struct Damaging<'a> {
    path: &'a Path,
    way: u64,
    updates: u64,
    notes: Vec<String>,
}

impl Observer for Damaging<'_> {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Update { .. } => {
                self.updates += 1;
                if self.updates == 7 {
                    assert!(damage(self.path, self.way, &mut Draws(1)));
                }
            }
            Event::UnitNote { note, .. } => self.notes.push(note.clone()),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn features_that_are_damaged_in_use_are_made_again() {
    let folder = tempdir().unwrap();
    let reference = folder.path().join("reference");
    modules(&reference, &[]);
    for way in 0..4 {
        let run = folder.path().join(way.to_string());
        train(runner(&run, &[]), &["meta"], None).0.unwrap();
        let path = unit_file(&run, "module.1", "features.bin");
        let mut observer = Damaging {
            path: &path,
            way,
            updates: 0,
            notes: Vec::new(),
        };
        let runner = runner(&run, &[]);
        let unit = runner.unit("module.1").unwrap();
        runner.run(&[unit], &mut observer).unwrap();
        let again = observer
            .notes
            .iter()
            .filter(|note| note.contains("is made again"));
        // A file that is open outlives its name.
        assert_eq!(again.count(), usize::from(way > 0), "{:?}", observer.notes);
        assert_same(&reference, &run, &["module.1"]);
    }
}

#[test]
fn a_bound_is_kept_and_what_is_too_large_is_said() {
    let folder = tempdir().unwrap();
    let (kept, bounded) = (folder.path().join("kept"), folder.path().join("bounded"));
    modules(&kept, &[]);
    let bytes = plan(&[])["module.2"]["features"]["bytes"].as_u64().unwrap();
    // 17 tokens of 16 numbers, and a digest, for each picture.
    assert_eq!(bytes, 104 * (17 * 16 * 4 + 32));
    let gib = |bytes: u64| {
        format!(
            "features.cache_gib={:e}",
            bytes as f64 / (1_u64 << 30) as f64
        )
    };
    let (enough, less) = (gib(bytes), gib(bytes - 1));
    assert!(plan(&[&enough])["module.2"]["features"].is_object());
    let planned = plan(&[&less]);
    assert!(planned["module.2"]["features"].is_null());
    let told = notes(&modules(&bounded, &[&less]));
    for reason in [
        &told[1],
        planned["module.2"]["features_not_kept"].as_str().unwrap(),
    ] {
        assert!(reason.contains("`features.cache_gib` allows"), "{reason}");
    }
    for unit in MODULES {
        assert!(weights(&kept, unit) == weights(&bounded, unit), "{unit}");
    }
    for wrong in ["-1", "nan", "1e9"] {
        let set = format!("features.cache_gib={wrong}");
        incubate(&["plan", "digits", "--set", &set]).failed(2, &["features.cache_gib", "GiB"]);
    }
    incubate(&["plan", "digits", "--set", "features.cache=on"]).failed(2, &["cache", "auto"]);
}

#[test]
fn a_plan_says_why_features_are_not_kept() {
    let imitation = "module.loss.plugin=imitation";
    let cases: [(&[&str], [Option<&str>; 2]); 9] = [
        (&[], [None, None]),
        (&[OFF], [Some("\"off\""); 2]),
        (
            &["module.augmentation.flip=0.5"],
            [Some("augmentation.views"); 2],
        ),
        (
            &[
                "module.augmentation.flip=0.5",
                "module.augmentation.views=2",
            ],
            [None, None],
        ),
        (
            &[
                "module.augmentation.flip=0.5",
                "module.augmentation.views=3",
            ],
            [Some("too short for 3 views"); 2],
        ),
        (&["module.epochs=1"], [Some("too short for a picture"); 2]),
        (&["module.augmentation.mixup=0.2"], [Some("mixed"); 2]),
        (
            &["reference=[\"train-mode-meta\"]"],
            [Some("`reference`"); 2],
        ),
        (
            &[imitation, "module.teacher=meta"],
            [None, Some("the loss looks at")],
        ),
    ];
    for (more, expected) in cases {
        let planned = plan(more);
        assert!(planned["module.0"]["features_not_kept"].is_null());
        assert_eq!(planned["module.0"]["frozen_macs"], 0);
        for (unit, expected) in MODULES.into_iter().zip(expected) {
            let reason = planned[unit]["features_not_kept"].as_str();
            let agree = match (reason, expected) {
                (Some(reason), Some(phrase)) => reason.contains(phrase),
                (reason, expected) => reason.is_none() && expected.is_none(),
            };
            assert!(agree, "{more:?}: {reason:?}, not {expected:?}");
            assert_eq!(planned[unit]["features"].is_null(), expected.is_some());
        }
    }
    let mut arguments = vec!["plan", "digits", "--device", "cpu"];
    for assignment in SMALL.iter().chain(&["module.augmentation.cutmix=1.0"]) {
        arguments.extend(["--set", assignment]);
    }
    let text = incubate(&arguments).succeeded().stdout;
    let line =
        "frozen stages before module.1, module.2: computed at every update: batches are mixed";
    assert!(text.contains(line), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_them_costs_time_and_no_bit() {
    let folder = tempdir().unwrap();
    // 65 tokens make features that are larger than all other files.
    let large = [
        "data.train_limit=1400",
        "model.patch_size=1",
        "training.batch=100",
    ];
    let (kept, full) = (folder.path().join("kept"), folder.path().join("full"));
    for (run, script) in [
        (&kept, "exec \"$@\""),
        (&full, "trap '' XFSZ; ulimit -f 4096; exec \"$@\""),
    ] {
        train(runner(run, &large), &["meta"], None).0.unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_incubate")]);
        command.args([
            "run", "digits", "--device", "cpu", "--unit", "module.2", "--out",
        ]);
        command.arg(run);
        for assignment in SMALL.iter().chain(&large) {
            command.args(["--set", assignment]);
        }
        let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
        let output = command.env("XDG_CACHE_HOME", cache).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        let events = fs::read_to_string(unit_file(run, "module.2", "events.jsonl")).unwrap();
        let phrases = ["computed at every update: cannot write", "File too large"];
        for phrase in phrases {
            assert_eq!(events.contains(phrase), run == &full, "{phrase}: {events}");
        }
    }
    assert!(weights(&kept, "module.2") == weights(&full, "module.2"));
    let [kept, full] = [kept, full].map(|run| macs(&run, "module.2")[0]);
    let frozen = plan(&large)["module.2"]["frozen_macs"].as_u64().unwrap();
    assert_eq!(full - kept, 2 * 1400 * frozen);
}
