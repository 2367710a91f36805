//! The file of features: what comes back is what was written, or nothing.

use std::collections::BTreeMap;
use std::fs;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::phase::Phase;
use crate::run::RunRecord;

const UNIT: Unit = Unit::Train(Phase::Module(1));

/// A run folder.
fn run() -> (TempDir, RunFolder) {
    let folder = tempdir().unwrap();
    let record: RunRecord = serde_json::from_str(
        r#"{"format":1,"host_version":"","experiment_sha256":"","data_sha256":"","plugins":{},"division":[]}"#,
    )
    .unwrap();
    let run = RunFolder::create(&folder.path().join("run"), "", &record).unwrap();
    (folder, run)
}

fn key() -> FeatureKey {
    FeatureKey {
        unit: UNIT.to_string(),
        device: "CPU".to_owned(),
        origin: CheckpointOrigin {
            experiment_sha256: "1".to_owned(),
            data_sha256: "2".to_owned(),
            built_from: BTreeMap::from([("meta".to_owned(), "3".to_owned())]),
        },
        records: 5,
        values: 3,
    }
}

/// Numbers of every kind: their bits come back.
fn values() -> Vec<f32> {
    let mut values: Vec<f32> = (0..15_u16).map(|index| f32::from(index) - 7.5).collect();
    values[4] = f32::NAN;
    values[5] = -0.0;
    values[9] = f32::MIN_POSITIVE / 2.0;
    values
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn written(run: &RunFolder) -> FeatureReader {
    let mut writer = run.feature_writer(UNIT, key()).unwrap();
    let values = values();
    writer.write(&values[..6]).unwrap();
    writer.write(&values[6..]).unwrap();
    assert!(run.features(UNIT, &key()).is_none(), "not whole yet");
    writer.finish().unwrap()
}

#[test]
fn features_come_back_in_any_order() {
    let (_folder, run) = run();
    let mut made = written(&run);
    let mut opened = run.features(UNIT, &key()).unwrap().unwrap();
    let all = values();
    for reader in [&mut made, &mut opened] {
        let read = reader.read(&[4, 0, 1, 1]).unwrap();
        let expected = [&all[12..], &all[..3], &all[3..6], &all[3..6]].concat();
        assert_eq!(bits(&read), bits(&expected));
    }
    run.forget_features(UNIT).unwrap();
    assert!(run.features(UNIT, &key()).is_none());
    // What is open stays readable on Unix, and nothing is left to forget.
    run.forget_features(UNIT).unwrap();
}

#[test]
fn those_of_something_else_are_refused() {
    let (_folder, run) = run();
    drop(written(&run));
    let others: [fn(&mut FeatureKey); 5] = [
        |key| key.device = "a GPU".to_owned(),
        |key| key.unit = "module.2".to_owned(),
        |key| key.origin.experiment_sha256 = "9".to_owned(),
        |key| key.origin.built_from.clear(),
        |key| (key.records, key.values) = (3, 5),
    ];
    for change in others {
        let mut other = key();
        change(&mut other);
        let reason = run.features(UNIT, &other).unwrap().unwrap_err();
        assert!(reason.contains("was made from other"), "{reason}");
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let (_folder, run) = run();
    drop(written(&run));
    let path = run.features_path(UNIT);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(run.features(UNIT, &key()).unwrap().is_err(), "{length}");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    let reason = run.features(UNIT, &key()).unwrap().unwrap_err();
    assert!(reason.contains("belong to it"), "{reason}");
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        let read = run.features(UNIT, &key()).unwrap();
        let read = read.and_then(|mut reader| reader.read(&[0, 1, 2, 3, 4]));
        assert!(read.is_err(), "{place}");
    }
    // Whole records that changed their places.
    let size = key().record_bytes();
    let mut bytes = whole.clone();
    let begin = whole.len() - 5 * size;
    let (first, second) = bytes[begin..].split_at_mut(size);
    first.swap_with_slice(&mut second[..size]);
    fs::write(&path, bytes).unwrap();
    let mut reader = run.features(UNIT, &key()).unwrap().unwrap();
    let reason = reader.read(&[3, 1]).unwrap_err();
    assert_eq!(reason, "record 1 is not what was written");
    assert!(reader.read(&[2]).is_ok());
}

#[test]
fn what_is_no_ordinary_file_is_refused() {
    let (_folder, run) = run();
    fs::create_dir_all(run.features_path(UNIT)).unwrap();
    let reason = run.features(UNIT, &key()).unwrap().unwrap_err();
    assert!(reason.contains("no ordinary file"), "{reason}");
}

#[test]
fn nothing_is_left_of_features_that_were_not_finished() {
    let (_folder, run) = run();
    let mut writer = run.feature_writer(UNIT, key()).unwrap();
    writer.write(&values()[..3]).unwrap();
    let partial = run.unit_file(UNIT, PARTIAL);
    assert!(partial.exists());
    drop(writer);
    assert!(!partial.exists());
    // A process that was killed leaves it, until the unit is finished or they are made again.
    fs::write(&partial, "half").unwrap();
    run.forget_features(UNIT).unwrap();
    assert!(!partial.exists());
}
