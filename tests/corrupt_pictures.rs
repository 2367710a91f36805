//! Corrupt pictures among good ones: named, and with `data.corrupt = "skip"` counted and left out.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::command::{Answer, incubate, tiny_with};

/// Two classes of ten training and five validation pictures; three and one are damaged.
struct Pictures {
    folder: TempDir,
    /// A picture with one wrong bit, and as it was.
    flipped: (PathBuf, Vec<u8>),
}

fn pictures() -> Pictures {
    let folder = tempdir().unwrap();
    for (part, count) in [("train", 10_u8), ("val", 5)] {
        for (class, red) in [("cat", 40_u8), ("dog", 200)] {
            let place = folder.path().join(part).join(class);
            fs::create_dir_all(&place).unwrap();
            for index in 0..count {
                let picture = RgbImage::from_fn(8, 8, |x, y| {
                    Rgb([red, (x * 30) as u8 ^ index, (y * 20) as u8])
                });
                picture.save(place.join(format!("{index}.png"))).unwrap();
            }
        }
    }
    let at = |name: &str| folder.path().join(name);
    let whole = fs::read(at("train/cat/3.png")).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(at("train/cat/3.png"), changed).unwrap();
    let long = fs::read(at("train/dog/7.png")).unwrap();
    fs::write(at("train/dog/7.png"), &long[..long.len() / 2]).unwrap();
    fs::write(at("train/dog/8.png"), "no picture").unwrap();
    fs::write(at("val/cat/2.png"), b"").unwrap();
    let flipped = (at("train/cat/3.png"), whole);
    Pictures { folder, flipped }
}

/// The corrupt files.
const CORRUPT: [&str; 4] = [
    "train/cat/3.png",
    "train/dog/7.png",
    "train/dog/8.png",
    "val/cat/2.png",
];

impl Pictures {
    fn run(&self, out: &Path, more: &[&str], arguments: &[&str]) -> Answer {
        let path = format!("data.path={}", self.folder.path().display());
        let all = [
            &[
                "data.set=folder",
                &path,
                "data.train_limit=20",
                "model.image_size=8",
                "training.batch=4",
                "training.augmentation.repeats=2",
            ],
            more,
        ]
        .concat();
        tiny_with(out, &all, arguments)
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_first_one_ends_the_run_and_says_what_can_be_done() {
    let pictures = pictures();
    let out = pictures.folder.path().join("run");
    let answer = pictures.run(&out, &[], &["--unit", "meta"]);
    answer.failed(3, &["data.corrupt = \"skip\"", ".png"]);
    assert!(
        CORRUPT.iter().any(|name| answer.stderr.contains(name)),
        "{}",
        answer.stderr
    );
}

#[test]
fn all_are_left_out_and_counted_where_that_is_wanted() {
    let pictures = pictures();
    let out = |name: &str| pictures.folder.path().join(name);
    let skip = "data.corrupt=skip";
    let units = ["--unit", "meta", "--unit", "module.0"];
    let answer = pictures.run(&out("one"), &[skip, "data.threads=1"], &units);
    let answer = answer.succeeded();
    for phrase in ["3 training and 1 validation pictures cannot be decoded"]
        .iter()
        .chain(&CORRUPT)
    {
        assert!(
            answer.stderr.contains(phrase),
            "{phrase}: {}",
            answer.stderr
        );
    }
    let sentence =
        "3 training and 1 validation pictures cannot be decoded and are in none of these";
    assert!(answer.stdout.contains(sentence), "{}", answer.stdout);
    let result = json(&out("one").join("units/meta/result.json"));
    assert_eq!(result["left_out"]["train"], 3);
    assert_eq!(result["left_out"]["validation"], 1);
    // 17 pictures are four batches of four, in each of two epochs.
    assert_eq!(result["updates"], 8);
    let record = json(&out("one").join("run.json"));
    let named = record["left_out"].as_array().unwrap();
    assert_eq!(named.len(), 4);
    for (name, file) in named.iter().zip(CORRUPT) {
        assert!(name.as_str().unwrap().contains(file), "{name}");
    }
    // Threads, an interruption, and what is remembered of the first look make no difference.
    let other = [skip, "data.threads=4", "checkpoint.every_updates=1"];
    let events = pictures.run(&out("two"), &other, &[&units[..], &["--json"]].concat());
    let events = events.succeeded().json_lines();
    let event = events
        .iter()
        .find(|event| event["event"] == "pictures-left-out")
        .unwrap();
    assert_eq!(
        (&event["train"], &event["validation"]),
        (&3.into(), &1.into())
    );
    for unit in ["meta", "module.0"] {
        let file = |run: &str| {
            out(run)
                .join("units")
                .join(unit)
                .join("weights.safetensors")
        };
        assert!(fs::read(file("one")).unwrap() == fs::read(file("two")).unwrap());
    }
    // Scores are of nine pictures, and say so.
    let run = out("one");
    let eval = incubate(&[
        "eval",
        run.to_str().unwrap(),
        "--device",
        "cpu",
        "--per-class",
    ]);
    let eval = eval.succeeded();
    assert!(eval.stderr.contains("1 validation"), "{}", eval.stderr);
    assert!(
        eval.stdout.contains("of 9 pictures right"),
        "{}",
        eval.stdout
    );
}

#[test]
fn a_run_does_not_go_on_with_a_picture_more_or_less() {
    let pictures = pictures();
    let out = pictures.folder.path().join("run");
    let skip = ["data.corrupt=skip"];
    pictures.run(&out, &skip, &["--unit", "meta"]).succeeded();
    // Repaired, and of the same length as before.
    let (path, whole) = &pictures.flipped;
    let corrupt = fs::read(path).unwrap();
    assert_eq!(corrupt.len(), whole.len());
    fs::write(path, whole).unwrap();
    let next = pictures.run(&out, &skip, &["--unit", "module.0"]);
    next.failed(4, &["the pictures changed since this run began"]);
    fs::write(path, corrupt).unwrap();
    pictures
        .run(&out, &skip, &["--unit", "module.0"])
        .succeeded();
}

#[test]
fn numbers_that_are_expected_and_measured_are_those_of_a_set_with_gaps() {
    let pictures = pictures();
    let out = pictures.folder.path().join("run");
    let more = [
        "data.corrupt=skip",
        "data.normalisation=measured",
        "data.expected={classes=2, train=20, validation=10}",
    ];
    pictures.run(&out, &more, &["--unit", "meta"]).succeeded();
    let wrong = [
        more[0],
        more[1],
        "data.expected={classes=2, train=17, validation=10}",
    ];
    pictures.run(&out, &wrong, &["--unit", "meta"]).failed(
        3,
        &["`expected.train` is 17", "4 files that cannot be decoded"],
    );
}

#[test]
fn a_class_of_which_nothing_is_left_is_refused() {
    let pictures = pictures();
    let out = pictures.folder.path().join("run");
    for entry in fs::read_dir(pictures.folder.path().join("train/cat")).unwrap() {
        fs::write(entry.unwrap().path(), "no picture").unwrap();
    }
    let skip = ["data.corrupt=skip"];
    let answer = pictures.run(&out, &skip, &["--unit", "meta"]);
    answer.failed(3, &["no picture of `cat`", "train/cat"]);
    let digits = tiny_with(&out, &skip, &["--unit", "meta"]);
    digits.failed(3, &["corrupt", "folder"]);
}
