//! Checkpoints as files: whole or not there, never believed when a byte differs, and deleted by rule.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::experiment::CheckpointConfig;
use crate::phase::Phase;
use crate::plugin::{Bytes, Exact, Spent, Statistics};
use crate::run::{RunError, RunRecord};

const UNIT: Unit = Unit::Train(Phase::Meta);

fn state(update: u64) -> CheckpointState {
    CheckpointState {
        origin: CheckpointOrigin {
            experiment_sha256: "e".to_owned(),
            data_sha256: "d".to_owned(),
            built_from: BTreeMap::from([("meta".to_owned(), "m".to_owned())]),
        },
        changed: false,
        device: "a device".to_owned(),
        position: Position {
            epoch: 1,
            batch: 2,
            update,
        },
        rate_factor: Exact(1.0),
        roll_backs: Vec::new(),
        roll_back_point: false,
        counted: Counted {
            batch: 4,
            updates_per_epoch: 9,
        },
        rates: vec![Exact(0.1 + 0.2), Exact(f64::MIN_POSITIVE)],
        plugins: vec![PluginState {
            role: "schedule".to_owned(),
            name: "plateau".to_owned(),
            version: "0.1.0".to_owned(),
            sha256: "p".to_owned(),
            configuration: "{}".to_owned(),
            stands_in: true,
            state: Bytes(vec![0, 1, 255]),
            statistics: Statistics::default(),
            spent: Spent::default(),
            retired: Some((Statistics::default(), Spent::default())),
        }],
        fallbacks: Vec::new(),
        seen_by_meta: 3,
        seen_by_teacher: u64::MAX,
        features_kept: 0,
        features_used: 0,
        reached: BTreeMap::from([(1, 7), (10, 8)]),
        score: None,
        evaluated: false,
        spent: TimeSpent {
            unit: Duration::new(5, 999_999_999),
            ..TimeSpent::default()
        },
        events_bytes: 0,
        calls_bytes: None,
    }
}

fn files(update: u64) -> Vec<(&'static str, Vec<u8>)> {
    let byte = update as u8;
    vec![
        (NETWORK_FILE, vec![byte; 40]),
        (OPTIMIZER_FILE, vec![byte; 80]),
        (AVERAGE_FILE, vec![byte; 20]),
    ]
}

/// A run folder in which the unit has begun.
fn run() -> (TempDir, RunFolder) {
    let folder = tempdir().unwrap();
    let record: RunRecord = serde_json::from_str(
        r#"{"format":1,"host_version":"","experiment_sha256":"","data_sha256":"","plugins":{},"division":[]}"#,
    )
    .unwrap();
    let run = RunFolder::create(&folder.path().join("run"), "", &record).unwrap();
    drop(run.event_writer(UNIT).unwrap());
    (folder, run)
}

fn config(keep_last: usize, keep_best: usize, keep_every: u32) -> CheckpointConfig {
    CheckpointConfig {
        keep_last,
        keep_best,
        keep_every,
        ..CheckpointConfig::default()
    }
}

fn write(run: &RunFolder, state: CheckpointState, config: CheckpointConfig) {
    let update = state.position.update;
    let mut writer = run.checkpoint_writer(UNIT, config);
    writer.write(state, 140, move || Ok(files(update))).unwrap();
    writer.wait().unwrap();
}

fn write_two(run: &RunFolder) {
    write(run, state(5), config(9, 0, 0));
    write(run, state(12), config(9, 0, 0));
}

/// Everything in the folder of the checkpoints.
fn names(run: &RunFolder) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.checkpoints_path(UNIT)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn newest_update(run: &RunFolder) -> Option<u64> {
    let found = run.take_up(UNIT).unwrap();
    Some(found.newest?.state.position.update)
}

#[test]
fn a_checkpoint_comes_back_as_it_was() {
    let (_folder, run) = run();
    write_two(&run);
    let found = run.take_up(UNIT).unwrap();
    assert!(found.damaged.is_empty());
    let stored = found.newest.unwrap();
    assert_eq!(stored.state, state(12));
    let expected = files(12).into_iter();
    let expected: BTreeMap<String, Vec<u8>> = expected
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect();
    assert_eq!(stored.files, expected);
    assert_eq!(run.checkpoints(UNIT).unwrap(), [5, 12]);
}

#[test]
fn every_flipped_bit_and_every_shorter_file_is_found_out() {
    for file in FILES.into_iter().chain([MANIFEST_FILE]) {
        let (_folder, run) = run();
        write_two(&run);
        let path = run.checkpoints_path(UNIT).join(name(12)).join(file);
        let whole = fs::read(&path).unwrap();
        let spread = (whole.len() / 97).max(1);
        let mut broken: Vec<Vec<u8>> = Vec::new();
        for place in (0..whole.len()).step_by(spread) {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << bit;
                broken.push(bytes);
            }
            broken.push(whole[..place].to_vec());
        }
        broken.push([whole.as_slice(), b"x"].concat());
        for bytes in broken {
            fs::write(&path, &bytes).unwrap();
            let found = run.take_up(UNIT).unwrap();
            let stored = found.newest.unwrap();
            if stored.state.position.update == 12 {
                // A space for another in JSON says the same.
                assert_eq!(stored.state, state(12), "{file}");
                assert_eq!(file, MANIFEST_FILE);
                continue;
            }
            assert_eq!(stored.state, state(5));
            assert_eq!(found.damaged.len(), 1, "{file}");
            assert!(found.damaged[0].contains(file), "{}", found.damaged[0]);
            let folder = run.checkpoints_path(UNIT);
            let aside = folder.join(format!("{DAMAGED}{}", name(12)));
            fs::rename(aside, folder.join(name(12))).unwrap();
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(newest_update(&run), Some(5), "{file} is gone");
    }
}

#[test]
fn without_a_good_one_there_is_none() {
    let (_folder, run) = run();
    assert_eq!(newest_update(&run), None);
    write_two(&run);
    for update in [5, 12] {
        fs::write(
            run.checkpoints_path(UNIT)
                .join(name(update))
                .join(NETWORK_FILE),
            b"",
        )
        .unwrap();
    }
    let found = run.take_up(UNIT).unwrap();
    assert!(found.newest.is_none());
    assert_eq!(found.damaged.len(), 2);
    // What is damaged takes nobody's place.
    write(&run, state(3), config(1, 0, 0));
    assert_eq!(newest_update(&run), Some(3));
}

#[test]
fn a_checkpoint_of_another_unit_or_update_is_not_used() {
    let (_folder, run) = run();
    write_two(&run);
    let folder = run.checkpoints_path(UNIT);
    fs::rename(folder.join(name(12)), folder.join(name(13))).unwrap();
    assert_eq!(newest_update(&run), Some(5));
    let other = Unit::Train(Phase::Baseline);
    fs::create_dir_all(run.checkpoints_path(other)).unwrap();
    fs::rename(
        folder.join(name(5)),
        run.checkpoints_path(other).join(name(5)),
    )
    .unwrap();
    let found = run.take_up(other).unwrap();
    assert!(found.newest.is_none());
    assert!(found.damaged[0].contains("of unit `meta`"));
}

#[test]
fn a_newer_format_is_refused() {
    let (_folder, run) = run();
    write_two(&run);
    let path = run.checkpoints_path(UNIT).join(name(12));
    let mut manifest = stored::manifest_of(&path).unwrap();
    manifest.format = CHECKPOINT_FORMAT + 1;
    fs::write(path.join(MANIFEST_FILE), manifest.to_bytes().unwrap()).unwrap();
    let error = run.take_up(UNIT).unwrap_err();
    assert!(matches!(
        error,
        RunError::CheckpointFormat { found, .. } if found == CHECKPOINT_FORMAT + 1
    ));
}

#[test]
fn the_newest_stay_while_training_and_the_distinguished_after_it() {
    let (_folder, run) = run();
    let config = config(2, 1, 3);
    for epoch in 1..=8_u32 {
        let mut state = state(u64::from(epoch) * 10);
        state.position.epoch = epoch;
        state.position.batch = 0;
        // Epoch 4 is best, and 7 is as good.
        let accuracy = if matches!(epoch, 4 | 7) { 0.9 } else { 0.5 };
        state.score = Some(CheckpointScore {
            loss: Exact(1.0),
            accuracy: Exact(accuracy),
            top5: Exact(1.0),
        });
        state.evaluated = true;
        write(&run, state, config);
    }
    assert_eq!(run.checkpoints(UNIT).unwrap(), [30, 40, 60, 70, 80]);
    run.finish_checkpoints(UNIT, config).unwrap();
    assert_eq!(run.checkpoints(UNIT).unwrap(), [30, 40, 60]);
    run.finish_checkpoints(UNIT, self::config(2, 0, 0)).unwrap();
    assert!(!run.checkpoints_path(UNIT).exists());
    run.finish_checkpoints(UNIT, self::config(2, 0, 0)).unwrap();
}

#[test]
fn what_an_interrupted_process_left_is_no_checkpoint() {
    let (_folder, run) = run();
    write_two(&run);
    let folder = run.checkpoints_path(UNIT);
    for leftover in [".writing-0000000020-1", ".removing-0000000001"] {
        fs::create_dir(folder.join(leftover)).unwrap();
        fs::write(folder.join(leftover).join(NETWORK_FILE), b"half").unwrap();
    }
    assert_eq!(newest_update(&run), Some(12));
    assert_eq!(names(&run), [name(5), name(12)]);
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_an_error_that_says_where_and_leaves_nothing() {
    let (_folder, run) = run();
    write_two(&run);
    fs::remove_file(run.unit_file(UNIT, "events.jsonl")).unwrap();
    let mut writer = run.checkpoint_writer(UNIT, config(9, 0, 0));
    writer.write(state(20), 140, || Ok(files(20))).unwrap();
    let error = writer.wait().unwrap_err().to_string();
    let path = run.checkpoints_path(UNIT).join(name(20));
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(error.contains("run again"), "{error}");
    // The one after it says so, too, when nobody waited.
    let failing = || Err(io::Error::other("no tensors"));
    writer.write(state(21), 140, failing).unwrap();
    while writer.is_writing() {
        thread::yield_now();
    }
    let error = writer.write(state(22), 140, || Ok(files(22))).unwrap_err();
    assert!(error.to_string().contains("no tensors"), "{error}");
    assert_eq!(names(&run), [name(5), name(12)]);
}

#[test]
fn the_log_is_cut_where_the_checkpoint_says_or_at_its_last_whole_line() {
    let (_folder, run) = run();
    let path = run.unit_file(UNIT, "events.jsonl");
    fs::write(&path, "{\"a\":1}\n{\"b\":2}\n{\"c\"").unwrap();
    let (_, missing) = run.event_writer_from(UNIT, 8).unwrap();
    assert_eq!(missing, 0);
    assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}\n");
    fs::write(&path, "{\"a\":1}\n{\"b\"").unwrap();
    let (_, missing) = run.event_writer_from(UNIT, 16).unwrap();
    assert_eq!(missing, 8);
    assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}\n");
}

/// A writer whose disk stands still at the checkpoint of update 0, until something is sent.
fn standing_still(run: &RunFolder, config: CheckpointConfig) -> (CheckpointWriter, Sender<()>) {
    let (go_on, wait): (Sender<()>, Receiver<()>) = mpsc::channel();
    let mut writer = run.checkpoint_writer(UNIT, config);
    let files = move || {
        wait.recv().map_err(io::Error::other)?;
        Ok(files(0))
    };
    writer.write(state(0), 140, files).unwrap();
    (writer, go_on)
}

fn line_up(writer: &mut CheckpointWriter, state: CheckpointState, bytes: u64) {
    let update = state.position.update;
    writer
        .write(state, bytes, move || Ok(files(update)))
        .unwrap();
}

#[test]
fn nobody_waits_for_a_disk_that_stands_still() {
    let (_folder, run) = run();
    let (mut writer, go_on) = standing_still(&run, config(100, 0, 0));
    for update in 1..=20 {
        line_up(&mut writer, state(update), 140);
    }
    assert!(writer.is_writing());
    assert!(run.checkpoints(UNIT).unwrap().is_empty());
    assert_eq!(writer.left_out(), 12);
    go_on.send(()).unwrap();
    writer.wait().unwrap();
    assert!(!writer.is_writing());
    let written: Vec<u64> = [0].into_iter().chain(13..=20).collect();
    assert_eq!(run.checkpoints(UNIT).unwrap(), written);
    // The next one finds no thread.
    line_up(&mut writer, state(21), 140);
    writer.wait().unwrap();
    assert_eq!(newest_update(&run), Some(21));
}

#[test]
fn what_is_kept_is_written_however_many_wait() {
    let (_folder, run) = run();
    let (mut writer, go_on) = standing_still(&run, config(100, 0, 2));
    for update in 1..=30 {
        let mut state = state(update);
        if update.is_multiple_of(10) {
            // The end of the second, the fourth, and the sixth epoch.
            (state.position.epoch, state.position.batch) = (update as u32 / 5, 0);
        }
        // Where training goes back to when it diverges.
        state.roll_back_point = matches!(update, 2 | 4 | 6 | 8);
        line_up(&mut writer, state, 140);
    }
    go_on.send(()).unwrap();
    writer.wait().unwrap();
    let written = run.checkpoints(UNIT).unwrap();
    assert_eq!(written, [0, 6, 8, 10, 20, 27, 28, 29, 30]);
}

#[test]
fn large_ones_share_a_bounded_room() {
    let (_folder, run) = run();
    let (mut writer, go_on) = standing_still(&run, config(100, 0, 0));
    for update in 1..=4 {
        line_up(&mut writer, state(update), 600 << 20);
    }
    assert_eq!(writer.left_out(), 3);
    go_on.send(()).unwrap();
    writer.wait().unwrap();
    assert_eq!(run.checkpoints(UNIT).unwrap(), [0, 4]);
}

#[test]
fn when_a_process_ends_only_what_stays_is_written() {
    let (_folder, run) = run();
    let (mut writer, go_on) = standing_still(&run, config(2, 0, 0));
    for update in 1..=5 {
        line_up(&mut writer, state(update), 140);
    }
    writer.make_way();
    go_on.send(()).unwrap();
    writer.wait().unwrap();
    assert_eq!(run.checkpoints(UNIT).unwrap(), [4, 5]);
    // They were left out since they would not have stayed, and not since the disk was slow.
    assert_eq!(writer.left_out(), 0);
}

#[test]
fn training_waits_only_when_everything_in_the_line_is_kept() {
    let (_folder, run) = run();
    let (mut writer, go_on) = standing_still(&run, config(1, 0, 1));
    let (in_line, lined_up) = mpsc::channel();
    let training = thread::spawn(move || {
        for epoch in 1..=10 {
            let mut state = state(u64::from(epoch));
            (state.position.epoch, state.position.batch) = (epoch, 0);
            line_up(&mut writer, state, 140);
            in_line.send(epoch).unwrap();
        }
        writer.wait().unwrap();
    });
    for epoch in 1..=8 {
        assert_eq!(lined_up.recv(), Ok(epoch));
    }
    assert!(lined_up.recv_timeout(Duration::from_millis(50)).is_err());
    go_on.send(()).unwrap();
    training.join().unwrap();
    assert_eq!(run.checkpoints(UNIT).unwrap(), Vec::from_iter(1..=10));
}

/// The path of a checkpoint sorts as its number.
#[test]
fn names_sort_by_updates() {
    let mut names: Vec<String> = [9, 10, 1_000_000].map(name).to_vec();
    names.sort();
    assert_eq!(names, [9, 10, 1_000_000].map(name));
    assert!(Path::new(&name(7)).is_relative());
}
