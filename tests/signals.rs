//! Ctrl-C, SIGTERM, and SIGUSR1 sent to real processes, at every place where a run can be.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::tempdir;

use crate::background::{Background, log, updates, wait_for};
use crate::command::incubate;

/// Long enough to be interrupted.
const LONG: &str = "meta.epochs=20000";
/// A stop takes no longer than this beyond what it has to wait for, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// A plugin of this kind that never answers, for calls that may take so many milliseconds.
pub(crate) fn endless(table: &str, kind: &str, fallback: &str, deadline: u64) -> [String; 6] {
    [
        format!(
            "{table}.plugin={}/tests/plugins/faulty-{kind}.wasm",
            env!("CARGO_MANIFEST_DIR")
        ),
        format!("{table}.parameters.fault=endless-loop"),
        format!("{table}.limits.fuel=9_000_000_000_000_000"),
        format!("{table}.limits.deadline_ms={deadline}"),
        format!("{table}.limits.reason=it never ends"),
        format!("{table}.on_failure.fallback={fallback}"),
    ]
}

/// That a stopped unit left nothing half written and nobody's lease.
#[track_caller]
pub(crate) fn assert_tidy(run: &Path, unit: &str) {
    let folder = run.join("units").join(unit);
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with(".writing-"), "{name} is left");
        assert_ne!(name, "lease.json");
        assert_ne!(name, "result.json");
    }
}

#[test]
fn the_first_signal_ends_training_after_an_update() {
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let folder = tempdir().unwrap();
        let run = folder.path().join("run");
        let mut process = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
        wait_for("updates", || {
            (updates(&run, "meta").len() > 3).then_some(())
        });
        process.send(signal);
        let begun = Instant::now();
        assert_eq!(process.status(), status, "{}", process.stderr());
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let said = process.stderr();
        for phrase in [
            "stopping after this update; press Ctrl-C again to stop at once",
            "to go on: ",
            "run digits --device cpu --out ",
            &format!("--set {LONG}"),
        ] {
            assert!(said.contains(phrase), "no `{phrase}` in {said}");
        }
        assert!(!said.contains("error"), "{said}");
        assert_tidy(&run, "meta");
    }
}

#[test]
fn an_evaluation_is_left_between_two_batches() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    // One update, then seconds of evaluation.
    let large = [
        "data.train_limit=10",
        "data.validation_limit=1000",
        "training.batch=10",
        "model.width=192",
        "model.depth=12",
        "baseline.epochs=1",
    ];
    let mut process = Background::tiny(&run, &large, &["--unit", "baseline"]);
    wait_for("the update", || updates(&run, "baseline").first().copied());
    process.send("INT");
    assert_eq!(process.status(), 130, "{}", process.stderr());
    let evaluated = log(&run, "baseline")
        .iter()
        .any(|event| event["event"] == "evaluated");
    assert!(!evaluated, "the evaluation went on to its end");
    assert_tidy(&run, "baseline");
}

#[test]
fn pictures_that_are_being_decoded_are_not_waited_for() {
    let folder = tempdir().unwrap();
    let (run, pictures) = (folder.path().join("run"), folder.path().join("pictures"));
    // A batch of these takes a minute and more.
    let picture = folder.path().join("large.jpg");
    RgbImage::from_fn(3000, 3000, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]))
        .save(&picture)
        .unwrap();
    for (part, count) in [("train", 500), ("val", 1)] {
        for class in ["a", "b"] {
            let class = pictures.join(part).join(class);
            fs::create_dir_all(&class).unwrap();
            for number in 0..count {
                fs::hard_link(&picture, class.join(format!("{number}.jpg"))).unwrap();
            }
        }
    }
    let path = format!("data.path={}", pictures.display());
    let more = [
        "data.set=folder",
        &path,
        "data.train_limit=1000",
        "data.threads=1",
        "data.normalisation=imagenet",
        "model.image_size=32",
        "model.patch_size=8",
        "training.batch=1000",
        "meta.epochs=3",
    ];
    let mut process = Background::tiny(&run, &more, &["--unit", "meta"]);
    wait_for("the unit", || log(&run, "meta").first().cloned());
    process.send("INT");
    let begun = Instant::now();
    assert_eq!(process.status(), 130, "{}", process.stderr());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(updates(&run, "meta").is_empty(), "the batch was waited for");
    let checkpoint = run.join("units/meta/checkpoints/0000000000/state.json");
    assert!(checkpoint.is_file(), "{}", process.stderr());
    assert_tidy(&run, "meta");
}

#[test]
fn a_call_of_a_plugin_ends_with_its_own_limit() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let endless = endless("loss", "loss", "cross-entropy", 4000);
    let mut more: Vec<&str> = endless.iter().map(String::as_str).collect();
    more.push(LONG);
    let mut process = Background::tiny(&run, &more, &["--unit", "meta"]);
    wait_for("the unit", || log(&run, "meta").first().cloned());
    std::thread::sleep(Duration::from_millis(500));
    process.send("INT");
    process.wait_until_it_says("stopping after this update");
    assert!(updates(&run, "meta").is_empty(), "the call is over already");
    let begun = Instant::now();
    assert_eq!(process.status(), 130, "{}", process.stderr());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(updates(&run, "meta"), [0], "the update was finished");
    assert_tidy(&run, "meta");
}

#[test]
fn a_signal_that_comes_twice_is_one_request() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").get(2).copied());
    // As `timeout` does.
    process.send("TERM");
    process.send("TERM");
    assert_eq!(process.status(), 143, "{}", process.stderr());
    assert_tidy(&run, "meta");
}

#[test]
fn the_second_signal_ends_everything_at_once() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let endless = endless("loss", "loss", "cross-entropy", 90_000);
    let more: Vec<&str> = endless.iter().map(String::as_str).collect();
    let mut process = Background::tiny(&run, &more, &["--unit", "meta"]);
    wait_for("the unit", || log(&run, "meta").first().cloned());
    process.send("INT");
    process.wait_until_it_says("stopping after this update");
    // What comes within half a second is the same request.
    std::thread::sleep(Duration::from_secs(1));
    // One of another kind counts, too.
    process.send("TERM");
    let begun = Instant::now();
    assert_eq!(process.wait().signal(), Some(15));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn before_the_run_has_begun_a_signal_ends_it_at_once() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let endless = endless("partition", "partition", "uniform", 90_000);
    let more: Vec<&str> = endless.iter().map(String::as_str).collect();
    let mut process = Background::tiny(&run, &more, &[]);
    process.wait_until_it_listens();
    process.send("USR1");
    process.wait_until_it_says("reading the experiment, its plugins, and its pictures");
    process.send("TERM");
    let begun = Instant::now();
    assert_eq!(process.status(), 143, "{}", process.stderr());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(process.stderr().contains("stopped before the run began"));
    assert!(!run.exists());
}

#[test]
fn sigusr1_says_where_the_run_is_and_it_goes_on() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = Background::tiny(&run, &[LONG], &["--unit", "meta"]);
    wait_for("updates", || updates(&run, "meta").first().copied());
    process.send("USR1");
    process.wait_until_it_says("0 of 1 units done");
    let said = process.stderr();
    let line = said
        .lines()
        .find(|line| line.contains("units done"))
        .unwrap();
    for phrase in [
        "meta: epoch ",
        "/20000",
        "update ",
        "loss ",
        "pictures/s",
        " left",
    ] {
        assert!(line.contains(phrase), "no `{phrase}` in {line}");
    }
    let before = updates(&run, "meta").len();
    wait_for("more updates", || {
        (updates(&run, "meta").len() > before).then_some(())
    });
    process.send("INT");
    assert_eq!(process.status(), 130);
}

#[test]
fn programs_hear_of_signals_in_lines_of_json() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let mut process = Background::tiny(&run, &[LONG], &["--unit", "meta", "--json"]);
    wait_for("updates", || {
        (updates(&run, "meta").len() > 3).then_some(())
    });
    process.send("USR1");
    wait_for("the answer", || {
        process
            .stdout()
            .contains("\"event\":\"status\"")
            .then_some(())
    });
    process.send("INT");
    assert_eq!(process.status(), 130);
    let lines: Vec<Value> = process
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |kind: &str| lines.iter().find(|line| line["event"] == kind).unwrap();
    let status = of("status");
    assert_eq!(status["unit"], "meta");
    assert_eq!(
        (&status["units"], &status["units_done"]),
        (&1.into(), &0.into())
    );
    for number in [
        "epoch",
        "update",
        "updates",
        "loss",
        "pictures_per_second",
        "seconds_left",
    ] {
        assert!(status[number].is_number(), "{number}: {status}");
    }
    assert_eq!(of("stopping")["signal"], "SIGINT");
    let error: Value = serde_json::from_str(process.stderr().lines().last().unwrap()).unwrap();
    assert_eq!(error["event"], "error");
    assert_eq!(error["class"], "interrupted");
    assert_eq!(error["status"], 130);
    assert!(error["message"].as_str().unwrap().contains("to go on: "));
}

#[test]
fn errors_are_objects_for_programs() {
    let cases: [(&[&str], &str, i32); 4] = [
        (&["status", "nowhere", "--json"], "run-folder", 4),
        (&["plan", "no-such-experiment", "--json"], "usage", 2),
        (&["plan", "--json", "--no-such-option"], "usage", 2),
        (
            &["plan", "--json", "--set", "loss.plugin=tests/main.rs"],
            "plugin-refused",
            10,
        ),
    ];
    for (arguments, class, status) in cases {
        let answer = incubate(arguments);
        assert_eq!(answer.status, status, "{}", answer.stderr);
        let line = answer.stderr.lines().last().unwrap();
        let error: Value = serde_json::from_str(line).unwrap();
        assert_eq!(error["event"], "error");
        assert_eq!(error["class"], class);
        assert_eq!(error["status"], status);
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert!(answer.stdout.is_empty(), "{}", answer.stdout);
    }
}
