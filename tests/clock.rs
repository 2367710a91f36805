//! A clock that jumps while a run is trained: nothing is decided by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use incubate::run::BEAT;
use tempfile::tempdir;

use crate::background::{Background, log, updates, wait_for};
use crate::command::tiny_with;

/// Long enough to be overtaken by three jumps.
const LONG: [&str; 2] = ["meta.epochs=300", "checkpoint.every_updates=5"];
const YEAR: f64 = 365.0 * 86_400.0;

/// The library that answers a program that asks for the time.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let mut found = folders.flatten().map(|entry| {
        let folder = entry.path().join("faketime");
        folder.join("libfaketimeMT.so.1")
    });
    found
        .find(|path| path.is_file())
        .expect("the library of the package `faketime`")
}

/// Sets the clock of programs that look at this file, in years from now.
fn set(clock: &Path, years: i32) {
    // Whoever reads sees a whole file.
    let new = clock.with_extension("new");
    fs::write(&new, format!("{years:+}y\n")).unwrap();
    fs::rename(new, clock).unwrap();
}

#[test]
fn a_clock_that_jumps_changes_no_bit_and_loses_no_lease() {
    let folder = tempdir().unwrap();
    let (steady, jumping) = (folder.path().join("steady"), folder.path().join("jumping"));
    tiny_with(&steady, &LONG, &["--unit", "meta"]).succeeded();
    let (clock, library) = (folder.path().join("clock"), library());
    set(&clock, 0);
    let variables = [
        ("LD_PRELOAD", library.as_path()),
        ("FAKETIME_TIMESTAMP_FILE", clock.as_path()),
        ("FAKETIME_NO_CACHE", Path::new("1")),
        // Of the two clocks of a machine this is the one that can jump.
        ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
    ];
    let begin = || Background::tiny_within(&jumping, &LONG, &["--unit", "meta"], &variables);
    let mut process = begin();
    for (update, years) in [(5, 100), (20, -30), (35, 7)] {
        wait_for("updates", || updates(&jumping, "meta").get(update).copied());
        set(&clock, years);
    }
    let wanted = updates(&jumping, "meta").len() + 1;
    wait_for("updates", || updates(&jumping, "meta").get(wanted).copied());
    // A century has gone by for the lease. Another process looks for a sign of life, which is due as
    // soon as its holder, held back so that it is not done before, may go on.
    process.send("STOP");
    let mut other = Background::tiny(&jumping, &LONG, &["--unit", "meta"]);
    thread::sleep(BEAT + Duration::from_secs(1));
    process.send("CONT");
    assert_eq!(other.status(), 5, "{}", other.stderr());
    assert!(other.stderr().contains("taken by"), "{}", other.stderr());
    process.send("TERM");
    assert_eq!(process.status(), 143, "{}", process.stderr());
    set(&clock, -10);
    let mut process = begin();
    assert_eq!(process.status(), 0, "{}", process.stderr());
    let times: Vec<f64> = log(&jumping, "meta")
        .iter()
        .map(|event| event["time"].as_f64().unwrap())
        .collect();
    let jumps = times
        .windows(2)
        .filter(|pair| (pair[1] - pair[0]).abs() > YEAR);
    assert_eq!(jumps.count(), 4, "the clock did not jump");
    let weights = |run: &Path| fs::read(run.join("units/meta/weights.safetensors")).unwrap();
    assert!(weights(&steady) == weights(&jumping), "other bits");
}
