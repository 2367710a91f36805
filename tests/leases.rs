//! Two processes never train the same unit of one run folder: real processes, killed and suspended.
#![expect(
    clippy::print_stderr,
    reason = "a test that this machine does not allow says so"
)]

use std::fs;
use std::process::Command;

use tempfile::tempdir;

use crate::background::{Background, log, log_file, updates, wait_for};
use crate::command::{TINY, tiny_with};

/// Long enough to be disturbed.
const LONG: &str = "meta.epochs=50000";

#[test]
fn the_second_of_two_processes_is_refused() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut first = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    let second = tiny_with(&run, &[LONG], &["--unit", "meta"]);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = format!("process {} on {}", first.id(), host.trim());
    second.failed(5, &["unit `meta` is taken by", &holder, "lease.json"]);
    // The first noticed nothing.
    let before = updates(&run, "meta").len();
    wait_for("more updates", || {
        (updates(&run, "meta").len() > before).then_some(())
    });
    first.send("INT");
    assert_eq!(first.status(), 130);
    let numbers = updates(&run, "meta");
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
}

/// As on another machine with the same file system: neither sees the other's processes.
#[test]
fn a_process_that_cannot_be_seen_is_known_by_its_signs_of_life() {
    let elsewhere = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rpf", "--kill-child", program]);
        command
    };
    if !elsewhere("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("nothing was tried: `unshare -rpf` may make no name space here");
        return;
    }
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut first = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    let mut command = elsewhere(env!("CARGO_BIN_EXE_incubate"));
    command.args([
        "run", "digits", "--device", "cpu", "--unit", "meta", "--out",
    ]);
    command.arg(&run);
    for assignment in TINY.iter().chain(&["fine-tune.epochs=1", LONG]) {
        command.args(["--set", assignment]);
    }
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
    let second = command.env("XDG_CACHE_HOME", cache).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(5), "{said}");
    for phrase in ["watching for up to 30 s", "unit `meta` is taken by"] {
        assert!(said.contains(phrase), "no `{phrase}` in {said}");
    }
    first.send("INT");
    assert_eq!(first.status(), 130, "{}", first.stderr());
}

#[test]
fn two_processes_train_two_units_at_once() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let more = [LONG, "baseline.epochs=50000"];
    let mut meta = Background::tiny(&run, &more, &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    let mut baseline = Background::tiny(&run, &more, &["--unit", "baseline"]);
    wait_for("updates", || updates(&run, "baseline").first().copied());
    for process in [&mut meta, &mut baseline] {
        process.send("INT");
        assert_eq!(process.status(), 130, "{}", process.stderr());
    }
}

#[test]
fn the_unit_of_a_killed_process_is_taken_over() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let more = ["meta.epochs=300"];
    let mut first = Background::tiny(&run, &more, &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    first.send("KILL");
    first.wait();
    assert!(run.join("units/meta/lease.json").is_file());
    let holder = format!("took the unit over from process {}", first.id());
    let second = tiny_with(&run, &more, &["--unit", "meta"]).succeeded();
    assert!(second.stderr.contains(&holder), "{}", second.stderr);
    assert!(second.stderr.contains("which is gone"), "{}", second.stderr);
    assert!(run.join("units/meta/result.json").is_file());
    assert!(!run.join("units/meta/lease.json").exists());
}

#[test]
fn a_suspended_process_that_lost_its_unit_ends_without_writing() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut first = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    first.send("STOP");
    let lease = run.join("units/meta/lease.json");
    let before = fs::read(&lease).unwrap();
    let mut second = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    second.wait_until_it_says("which gave no sign of life for 30 s");
    assert_ne!(fs::read(&lease).unwrap(), before);
    wait_for("updates of the second", || {
        (updates(&run, "meta").len() > 3).then_some(())
    });
    // Its update was under way; after it the process looks whose lease it is.
    first.send("CONT");
    assert_eq!(first.status(), 5, "{}", first.stderr());
    let taken = format!("was taken over by process {}", second.id());
    assert!(first.stderr().contains(&taken), "{}", first.stderr());
    let now = updates(&run, "meta").len();
    wait_for("more updates of the second", || {
        (updates(&run, "meta").len() > now + 3).then_some(())
    });
    second.send("INT");
    assert_eq!(second.status(), 130, "{}", second.stderr());
    // Every line is whole, and all are of the second process.
    let bytes = fs::read(log_file(&run, "meta")).unwrap();
    assert!(!bytes.contains(&0) && bytes.ends_with(b"\n"));
    assert!(!log(&run, "meta").is_empty());
    let numbers = updates(&run, "meta");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert!(!lease.exists(), "the second gave the unit back");
}
