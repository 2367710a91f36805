//! The walk that the README promises: a loss hook is begun, built, edited, and checked in Rust and in
//! Python, pushed, fetched elsewhere by name, and trains the digits; both languages train the same.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::registry::server::Registry;
use crate::registry::sha256;
use crate::registry::workplace::Workplace;

/// The units that train.
const TRAINED: [&str; 5] = ["meta", "module.0", "module.1", "fine-tune", "baseline"];

/// Begins a loss hook in the author's folder. What takes long to make, compiled dependencies and
/// installed packages, stays from the last run of the tests.
fn begin(author: &Workplace, name: &str, language: &str, slow: &str) {
    let (folder, kept) = (author.file(name), author.file(&format!("kept-{name}")));
    if folder.exists() {
        if folder.join(slow).exists() {
            assert!(!kept.exists());
            fs::rename(folder.join(slow), &kept).unwrap();
        }
        fs::remove_dir_all(&folder).unwrap();
    }
    let said = author
        .plugin(&["new", name, "--kind", "loss-hook", "--lang", language])
        .succeeded()
        .stdout;
    for next in [
        format!("incubate plugin build {name}"),
        format!("incubate plugin check {name}/dist/{name}.wasm"),
    ] {
        assert!(said.contains(&next), "no `{next}` in: {said}");
    }
    if kept.exists() {
        fs::rename(&kept, folder.join(slow)).unwrap();
    }
}

/// Builds the plugin of a folder, from inside, and checks it; answers its digest.
#[track_caller]
fn build_and_check(author: &Workplace, name: &str) -> String {
    let folder = author.file(name);
    let component = format!("dist/{name}.wasm");
    let built = author.within(&folder, &["plugin", "build"]).succeeded();
    let digest = sha256(&fs::read(folder.join(&component)).unwrap());
    assert!(built.stdout.contains("1 component"), "{built:?}");
    let checked = author
        .within(&folder, &["plugin", "check", &component])
        .succeeded();
    for phrase in ["ok    gradient", "failed: 0", &digest] {
        assert!(
            checked.stdout.contains(phrase),
            "no `{phrase}`: {checked:?}"
        );
    }
    digest
}

/// Replaces the one place of a source that reads `old`.
#[track_caller]
fn edit(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.matches(old).count(), 1, "`{old}` in:\n{text}");
    fs::write(file, text.replace(old, new)).unwrap();
}

/// A small experiment on the digits with this loss.
fn experiment(loss: &str) -> String {
    format!(
        "name = \"walk\"\n\
         [data]\nset = \"digits\"\ntrain_limit = 400\nvalidation_limit = 100\n\
         [model]\npatch_size = 2\nwidth = 32\ndepth = 4\nheads = 2\n\
         [partition]\nplugin = \"uniform\"\nmodules = 2\n\
         [training]\nbatch = 50\nrate = 1e-2\n\
         [loss]\nplugin = \"{loss}\"\n\
         [meta]\nepochs = 6\n[module]\nepochs = 2\n[fine-tune]\nepochs = 2\n\
         [baseline]\nepochs = 2\n"
    )
}

/// Trains `file` with further arguments.
#[track_caller]
fn train(person: &Workplace, file: &str, out: &str, more: &[&str]) {
    let mut arguments = vec!["run", file, "--device", "cpu", "--out", out];
    arguments.extend(more);
    let answer = person.incubate(&arguments).succeeded();
    assert!(answer.stdout.contains("Record and weights"), "{answer:?}");
}

/// The training losses of a unit, one for every update.
fn losses(run: &Path, unit: &str) -> Vec<f64> {
    let events = fs::read_to_string(run.join("units").join(unit).join("events.jsonl")).unwrap();
    let losses: Vec<f64> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "update")
        .map(|event| event["loss"].as_f64().unwrap())
        .collect();
    assert!(losses.len() >= 8, "{unit}: {losses:?}");
    losses
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_loss_in_rust_and_one_in_python_are_checked_shared_and_train_the_digits() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("walk");
    let author = Workplace::staying(home);

    // In Rust, with a change that a person would make after the first build.
    begin(&author, "focal", "rust", "target");
    let untouched = build_and_check(&author, "focal");
    edit(
        &author.file("focal/src/lib.rs"),
        ".default(2.0)",
        ".default(1.5)",
    );
    let digest = build_and_check(&author, "focal");
    assert_ne!(digest, untouched);

    // In Python.
    begin(&author, "focal-py", "python", ".venv");
    edit(
        &author.file("focal-py/plugin.py"),
        "default=2.0",
        "default=1.5",
    );
    let python_digest = build_and_check(&author, "focal-py");

    // To a registry, and from there to somebody who has nothing but the command.
    let registry = Registry::open();
    let place = format!("{}/team/focal", registry.host());
    let pushed = author
        .plugin(&["push", "focal/dist/focal.wasm", &place])
        .succeeded();
    for phrase in [&digest, &format!("incubate plugin add {place}@^0.1.0")] {
        assert!(pushed.stdout.contains(phrase), "no `{phrase}`: {pushed:?}");
    }
    let mut other = Workplace::new();
    other.set("HOME", other.path().to_owned());
    let reference = format!("{place}@^0.1");
    other.write("focal.toml", experiment(&reference));
    other
        .incubate(&["run", "focal.toml", "--locked"])
        .failed(10, &["incubate plugin add", &reference, "incubate.lock"]);
    let added = other.plugin(&["add", &reference]).succeeded();
    assert!(added.stdout.contains(&digest), "{added:?}");
    assert!(other.lock().contains(&digest));

    // A stranger's plugin is checked by name, too, as the file that it stands for.
    let checked = other.plugin(&["check", &reference]).succeeded();
    assert!(checked.stdout.contains(&digest), "{checked:?}");

    // It trains the digits, and is another loss than cross-entropy.
    train(
        &other,
        "focal.toml",
        "focal",
        &["--locked", "--record-plugins"],
    );
    let record: Value =
        serde_json::from_slice(&fs::read(other.file("focal/run.json")).unwrap()).unwrap();
    for phase in ["meta", "module", "fine-tune", "baseline"] {
        let plugin = &record["plugins"][format!("{phase}.loss")];
        assert_eq!(plugin["name"], "focal", "{phase}");
        assert_eq!(plugin["origin"], place.as_str(), "{phase}");
        assert_eq!(plugin["sha256"], digest.as_str(), "{phase}");
    }
    other.write("plain.toml", experiment("cross-entropy"));
    train(&other, "plain.toml", "plain", &[]);
    let (focal, plain) = (other.file("focal"), other.file("plain"));
    let (meta, plain) = (losses(&focal, "meta"), losses(&plain, "meta"));
    // The same weights and pictures, each weighed by (1 - p)^1.5 < 1.
    assert!(meta[0] < 0.95 * plain[0], "{} {}", meta[0], plain[0]);
    let epoch = meta.len() / 6;
    let (first, last) = (mean(&meta[..epoch]), mean(&meta[meta.len() - epoch..]));
    assert!(last < 0.9 * first, "the loss went from {first} to {last}");

    // A recorded call of the fetched plugin can be made again by nothing but its name.
    let replayed = other
        .plugin(&["replay", "focal/units/meta/calls.jsonl", "--call", "2"])
        .succeeded();
    assert!(replayed.stdout.contains(&digest), "{replayed:?}");

    // The same formula in the other language, by its path, trains the same.
    author.write("python.toml", experiment("./focal-py/dist/focal-py.wasm"));
    let python = author.file("python");
    if python.exists() {
        fs::remove_dir_all(&python).unwrap();
    }
    train(&author, "python.toml", "python", &[]);
    let record = fs::read_to_string(python.join("run.json")).unwrap();
    assert!(record.contains(&python_digest));
    for unit in TRAINED {
        let (rust, python) = (losses(&focal, unit), losses(&python, unit));
        assert_eq!(rust.len(), python.len(), "{unit}");
        for (update, (rust, python)) in rust.iter().zip(&python).enumerate() {
            assert!(
                (rust - python).abs() < 1e-5,
                "{unit}, update {update}: {rust} in Rust, {python} in Python"
            );
        }
    }

    // What each costs, the fetched one by its name.
    let shown = other.plugin(&["bench", &reference]).succeeded().stdout;
    for phrase in [&digest, "share of a training step"] {
        assert!(shown.contains(phrase), "no `{phrase}` in: {shown}");
    }
    let costs = author
        .plugin(&["bench", "focal-py/dist/focal-py.wasm", "--json"])
        .succeeded()
        .json_lines()
        .remove(0);
    assert_eq!(costs["sha256"], python_digest.as_str());
    for key in [
        "share_of_step",
        "load_cold_ms",
        "load_cached_ms",
        "start_us",
    ] {
        assert!(costs[key].as_f64().unwrap() > 0.0, "{key}: {costs}");
    }
}
