//! Files, answers, and values of strangers: whatever is in them, the program answers, takes no memory
//! that they do not justify, and stays in its folder.

#[path = "fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "it is the library of the fuzz targets, too")]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use incubate::data::{DataConfig, DataError};
use incubate::phase::Phase;
use incubate::random::{Key, Seed};
use incubate::registry::unit_of;
use incubate::training::{ExchangeError, check_weights};
use rand::{Rng, RngExt};
use tempfile::tempdir;

use self::targets::{BETWEEN, TARGETS, Target};
use crate::command::{incubate, tiny_with};

/// Where the corpus lies, a folder for each target.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Damaged copies of each file, by target: those that compile components, build networks, or open the
/// digits are slow.
fn copies(target: &str) -> usize {
    match target {
        "artefact" | "experiment" => 40,
        "component" | "recording" | "registry" => 25,
        "run" => 100,
        _ => 400,
    }
}

/// Calls a target and says with which bytes it panicked.
fn answers(target: Target, from: &Path, bytes: &[u8]) {
    let (name, run) = target;
    let outcome = std::panic::catch_unwind(|| run(bytes));
    if let Err(panic) = outcome {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{name}"));
        fs::write(&kept, bytes).unwrap();
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        panic!(
            "{name} panics over a copy of {} (kept as {}): {}",
            from.display(),
            kept.display(),
            said.unwrap_or("?")
        );
    }
}

/// A damaged copy: bits turned over, numbers made extreme, parts cut out, doubled, or taken from
/// another file.
fn damaged(bytes: &[u8], other: &[u8], random: &mut impl Rng) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let length = copy.len();
        let at = random.random_range(0..=length);
        let some = random.random_range(0..=32.min(length - at));
        match random.random_range(0..8) {
            0 => copy.truncate(at),
            1 => {
                copy.drain(at..at + some);
            }
            2 => {
                let part = copy[at..at + some].to_vec();
                copy.splice(at..at, part);
            }
            3 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let part = other[from..(from + 48).min(other.len())].to_vec();
                copy.splice(at..at + some, part);
            }
            4 => {
                let extreme = [0x00, 0x7f, 0x80, 0xff][random.random_range(0..4)];
                copy[at..]
                    .iter_mut()
                    .take(8)
                    .for_each(|byte| *byte = extreme);
            }
            5 => {
                // A number in a text.
                if let Some(digit) = copy[at..].iter().position(u8::is_ascii_digit) {
                    let numbers = ["0", "-1", "4294967296", "18446744073709551615", "1e999"];
                    let number = numbers[random.random_range(0..numbers.len())];
                    copy.splice(at + digit..=at + digit, number.bytes());
                }
            }
            _ => {
                if let Some(byte) = copy.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    copy
}

#[test]
fn every_corpus_file_and_damaged_copies_of_it_are_answered() {
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || {
                let files = corpus(target.0);
                assert!(!files.is_empty(), "{} has no corpus", target.0);
                for (index, (path, bytes)) in files.iter().enumerate() {
                    answers(target, path, bytes);
                    let other = &files[(index + 1) % files.len()].1;
                    for sample in 0..copies(target.0) {
                        let mut random = Seed(7).stream(&Key {
                            phase: Phase::Meta,
                            epoch: index as u64,
                            sample: sample as u64,
                            purpose: target.0,
                        });
                        answers(target, path, &damaged(bytes, other, &mut random));
                    }
                }
            });
        }
    });
}

#[test]
fn the_seeds_of_the_contract_reach_the_answers_of_plugins() {
    for (path, bytes) in corpus("contract") {
        let answer =
            targets::contract::answered(&bytes).unwrap_or_else(|| panic!("{}", path.display()));
        let name = path.file_name().unwrap().to_str().unwrap();
        let wanted = match name {
            "hostile-handle" => "unknown handle index 4000000000",
            "hostile-modules" => "8589934590 blocks",
            "hostile-rate" => "the learning rate is NaN",
            "restored" => "",
            _ => {
                answer.unwrap_or_else(|error| panic!("{name}: {error}"));
                continue;
            }
        };
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

#[test]
fn the_seeds_of_the_lock_file_reach_signatures() {
    for (path, bytes) in corpus("lock") {
        let answer = targets::signed(&bytes).unwrap_or_else(|| panic!("{}", path.display()));
        let wanted = match path.file_name().unwrap().to_str().unwrap() {
            "signed-otherwise" => "by none of the trusted keys",
            "unsigned" => "by none of the trusted keys, or for other bytes",
            _ => {
                answer.unwrap();
                continue;
            }
        };
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(wanted), "{}: {error}", path.display());
    }
}

#[test]
fn the_seeds_of_the_registry_are_pulled() {
    for (path, bytes) in corpus("registry") {
        let (artefact, tags) = targets::registry::asked(&bytes);
        let (artefact, _) = artefact.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(artefact.layers.len(), 1, "{}", path.display());
        assert!(!tags.unwrap().is_empty(), "{}", path.display());
    }
}

#[test]
fn every_target_has_a_program() {
    let manifest: toml::Table = include_str!("fuzz/Cargo.toml").parse().unwrap();
    let mut programs: Vec<&str> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|program| program["name"].as_str().unwrap())
        .collect();
    programs.sort_unstable();
    let targets: Vec<String> = TARGETS
        .iter()
        .map(|(name, _)| format!("fuzz-{name}"))
        .collect();
    assert_eq!(programs, targets);
}

/// A PNG of these dimensions, in 16 bits, whose pixels are missing.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], content: &[u8]| {
        file.extend((content.len() as u32).to_be_bytes());
        let body = [kind, content].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        file.extend(body);
        file.extend(sum.sum().to_be_bytes());
    };
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([16, 6, 0, 0, 0]);
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x01, 0, 0, 0xff, 0xff, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    file
}

/// The error of the only picture of a folder with this one.
fn refused_picture(make: impl Fn(&Path)) -> DataError {
    let folder = tempdir().unwrap();
    for part in ["train/a", "val/a"] {
        let class = folder.path().join(part);
        fs::create_dir_all(&class).unwrap();
        make(&class.join("picture.png"));
    }
    let config: DataConfig = toml::from_str(&format!(
        "set = \"folder\"\npath = \"{}\"",
        folder.path().display()
    ))
    .unwrap();
    let set = incubate::data::open(&config).unwrap();
    set.train.picture(0).unwrap_err()
}

#[test]
fn pictures_that_would_fill_the_memory_are_refused_by_their_header() {
    for (width, height) in [(60_000, 60_000), (1 << 30, 1), (12_000, 12_000)] {
        let error = refused_picture(|path| fs::write(path, bomb(width, height)).unwrap());
        let DataError::Decode { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            matches!(source, image::ImageError::Limits(_)),
            "{width} x {height}: {source}"
        );
    }
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_not_waited_for() {
    let error = refused_picture(|path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    });
    let DataError::Read { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("no ordinary file"), "{source}");
    incubate(&["plan", "/dev/zero", "--device", "cpu"]).failed(2, &["no ordinary file"]);
    let folder = tempdir().unwrap();
    let lock = folder.path().join("incubate.lock");
    std::os::unix::fs::symlink("/dev/zero", &lock).unwrap();
    let lock = lock.to_str().unwrap();
    let answer = incubate(&["plugin", "list", "--lock", lock]);
    assert!(answer.stderr.contains("no ordinary file"), "{answer:?}");
}

#[test]
#[cfg(unix)]
fn a_pipe_in_a_run_folder_is_not_waited_for() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let unit = run.join("units/baseline");
    let checkpoint = unit.join("checkpoints/0000000001");
    for (pipe, phrase) in [
        (unit.join("lease.json"), "no ordinary file"),
        (unit.join("events.jsonl"), "no ordinary file"),
        // A checkpoint that is damaged is told, and the unit begins anew.
        (checkpoint.join("state.json"), ""),
    ] {
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        incubate(&["status", run.to_str().unwrap()]);
        let answer = tiny_with(&run, &[], &["--unit", "baseline"]);
        if phrase.is_empty() {
            assert!(answer.stderr.contains("no ordinary file"), "{answer:?}");
            answer.succeeded();
        } else {
            let named = pipe.display().to_string();
            answer.failed(4, &[phrase, &named]);
            fs::remove_file(pipe).unwrap();
        }
    }
}

#[test]
fn networks_that_nothing_computes_are_refused() {
    for assignment in [
        "model.depth=4000000000",
        "model.width=4000000000",
        "model.mlp_ratio=9000000000000000000",
        "model.image_size=8000000000",
    ] {
        let answer = incubate(&["plan", "digits", "--device", "cpu", "--set", assignment]);
        answer.failed(2, &["the network would have", "lower"]);
    }
}

#[test]
fn a_unit_whose_settings_ask_for_more_than_its_weights_is_refused() {
    let (_, bytes) = corpus("artefact")
        .into_iter()
        .find(|(path, _)| path.ends_with("module"))
        .unwrap();
    let place = |text: &[u8]| {
        bytes
            .windows(text.len())
            .position(|window| window == text)
            .unwrap()
    };
    assert!(place(b"\nwidth = 8\n") > place(BETWEEN));
    let parcel = |width: &str| {
        let at = place(b"\nwidth = 8\n") + b"\nwidth = ".len();
        let changed = [&bytes[..at], width.as_bytes(), &bytes[at + 1..]].concat();
        unit_of("a stranger", targets::unit_artefact(&changed)).unwrap()
    };
    check_weights(&parcel("8")).unwrap();
    // Terabytes, asked for by a file of 20 kB.
    let error = check_weights(&parcel("65536")).unwrap_err();
    assert!(matches!(error, ExchangeError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("the file 5304 bytes"), "{error}");
}

#[test]
fn a_digest_in_a_lock_file_is_no_path() {
    let folder = tempdir().unwrap();
    let lock = folder.path().join("incubate.lock");
    let (_, bytes) = corpus("lock").remove(0);
    let text = String::from_utf8(bytes).unwrap();
    let digest = text.split("sha256 = \"").nth(1).unwrap();
    let digest = digest.split('"').next().unwrap();
    for path in ["/dev/zero", "../../../../etc/passwd"] {
        fs::write(&lock, text.replace(digest, path)).unwrap();
        let answer = incubate(&["plugin", "list", "--lock", lock.to_str().unwrap()]);
        assert_ne!(answer.status, 0, "{answer:?}");
        assert!(
            answer.stderr.contains("a digest has 64 hexadecimal digits"),
            "{answer:?}"
        );
    }
}
