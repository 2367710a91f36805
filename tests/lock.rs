//! The lock file: what is pinned is what runs, and what changes is shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::command::TINY;
use crate::registry::component::{described, versioned};
use crate::registry::server::{Registry, answer, frozen, nothing, web};
use crate::registry::sha256;
use crate::registry::workplace::Workplace;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A registry with these versions of `name` in `team/NAME`, and that place.
fn published(here: &Workplace, name: &str, versions: &[&str]) -> (Registry, String) {
    let registry = Registry::open();
    let place = format!("{}/team/{name}", registry.host());
    for version in versions {
        let file = versioned(here.path(), name, version);
        here.plugin(&["push", text(&file), &place]).succeeded();
    }
    (registry, place)
}

/// The arguments of `plan` for the tiny experiment with this learning-rate schedule.
fn plan<'a>(assignment: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["plan", "digits", "--device", "cpu", "--set", assignment];
    for assignment in TINY {
        all.extend(["--set", assignment]);
    }
    all.extend(more);
    all
}

#[test]
fn an_experiment_trains_with_a_plugin_of_a_registry() {
    let here = Workplace::new();
    let (registry, place) = published(&here, "step", &["1.2.0", "1.2.5"]);
    let experiment = include_str!("../host/experiments/digits.toml")
        .replace("plugin = \"cosine\"", &format!("plugin = \"{place}@^1.2\""))
        .replace("min_rate = 1e-5", "every = 1");
    fs::create_dir(here.file("experiments")).unwrap();
    here.write("experiments/tiny.toml", experiment);
    let mut run = vec![
        "run",
        "experiments/tiny.toml",
        "--device",
        "cpu",
        "--out",
        "out",
    ];
    for assignment in TINY
        .iter()
        .chain(&["fine-tune.epochs=1", "baseline.epochs=1"])
    {
        run.extend(["--set", assignment]);
    }
    let locked: Vec<&str> = run.iter().copied().chain(["--locked"]).collect();
    here.incubate(&locked)
        .failed(10, &["is not pinned", "`--locked`", &place]);
    let first = here.incubate(&run).succeeded();
    assert!(first.stderr.contains("pinned"), "{}", first.stderr);
    assert!(first.stderr.contains("1.2.5"), "{}", first.stderr);

    let digest = sha256(&fs::read(here.file("step-1.2.5.wasm")).unwrap());
    let lock = fs::read_to_string(here.file("experiments/incubate.lock")).unwrap();
    assert!(lock.contains(&digest), "{lock}");
    let record = fs::read_to_string(here.file("out/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let plugin = &record["plugins"]["module.schedule"];
    assert_eq!(plugin["version"], "1.2.5");
    assert_eq!(plugin["origin"], place.as_str());
    assert_eq!(plugin["sha256"], digest);

    // A newer version does not matter any more, and neither does the registry.
    drop(registry);
    let beside: Vec<&str> = locked
        .iter()
        .map(|&word| if word == "out" { "beside" } else { word })
        .chain(["--unit", "meta", "--jobs", "2"])
        .collect();
    here.incubate(&beside).succeeded();
    let again = here.incubate(&locked).succeeded();
    assert!(
        again.stderr.contains("every unit is finished"),
        "{}",
        again.stderr
    );
    here.incubate(&["eval", "out", "--device", "cpu", "--unit", "meta"])
        .succeeded();
    here.forget();
    here.incubate(&["eval", "out", "--device", "cpu", "--unit", "meta"])
        .failed(10, &[&digest, "fetch it again"]);
    here.incubate(&locked).failed(40, &["refused"]);
}

#[test]
fn what_is_pinned_is_verified() {
    let here = Workplace::new();
    let (registry, place) = published(&here, "step", &["1.2.0"]);
    let reference = format!("{place}@^1.2");
    here.plugin(&["add", &reference]).succeeded();
    let pinned = here.lock();
    let setting = format!("schedule.plugin={reference}");
    here.incubate(&plan(&setting, &["--locked"])).succeeded();

    // A newer version is not taken before somebody says so.
    let newer = versioned(here.path(), "step", "1.3.0");
    here.plugin(&["push", text(&newer), &place]).succeeded();
    here.plugin(&["add", &reference]).succeeded();
    here.incubate(&plan(&setting, &[])).succeeded();
    assert_eq!(here.lock(), pinned);

    // On another machine the pinned manifest is fetched, and its bytes are compared with the pin.
    here.forget();
    here.incubate(&plan(&setting, &["--locked"])).succeeded();
    let digest = sha256(&fs::read(here.file("step-1.2.0.wasm")).unwrap());
    let wrong = "0".repeat(64);
    here.write(
        "incubate.lock",
        pinned.replace(
            &format!("\nsha256 = \"{digest}\""),
            &format!("\nsha256 = \"{wrong}\""),
        ),
    );
    here.incubate(&plan(&setting, &[]))
        .failed(10, &[&digest, &wrong, "incubate plugin update", &reference]);
    // A damaged file of the store counts as missing.
    here.write("incubate.lock", &pinned);
    fs::write(
        here.file("cache/incubate/store/sha256").join(&digest),
        b"broken",
    )
    .unwrap();
    here.incubate(&plan(&setting, &["--locked"])).succeeded();
    drop(registry);
    here.incubate(&plan(&setting, &["--locked"])).succeeded();

    here.write("incubate.lock", "format = 1\n[[plugin]\n");
    here.incubate(&plan(&setting, &[]))
        .failed(2, &["incubate.lock", "line 2"]);
    here.write("incubate.lock", "format = 7\n");
    here.incubate(&plan(&setting, &[]))
        .failed(2, &["format 7", "newer version"]);
}

#[test]
fn files_are_verified_when_they_were_added() {
    let here = Workplace::new();
    let bytes = fs::read(frozen("step")).unwrap();
    here.write("mine.wasm", &bytes);
    let setting = "schedule.plugin=./mine.wasm";
    here.incubate(&plan(setting, &["--locked"])).succeeded();
    assert!(!here.file("incubate.lock").exists());
    here.plugin(&["add", "mine.wasm"]).succeeded();
    assert!(
        here.lock().contains("reference = \"./mine.wasm\""),
        "{}",
        here.lock()
    );
    here.incubate(&plan(setting, &[])).succeeded();

    let other = described(&bytes, "step", "0.1.0");
    here.write("mine.wasm", &other);
    let (before, after) = (sha256(&bytes), sha256(&other));
    here.incubate(&plan(setting, &[]))
        .failed(10, &[&before, &after, "./mine.wasm", "update"]);
    let update = here.plugin(&["update", "./mine.wasm"]).succeeded().stdout;
    assert!(
        update.contains(&format!("sha256: {before} -> {after}")),
        "{update}"
    );
    assert!(
        update.contains("licence: none -> MIT OR Apache-2.0"),
        "{update}"
    );
    here.incubate(&plan(setting, &["--locked"])).succeeded();
    here.plugin(&["remove", "./mine.wasm"]).succeeded();
    here.plugin(&["remove", "./mine.wasm"])
        .failed(2, &["./mine.wasm", "not pinned"]);
    here.plugin(&["update", "other.wasm"])
        .failed(2, &["./other.wasm", "not pinned"]);
    here.plugin(&["add", "uniform"])
        .failed(2, &["`uniform` is part of this program"]);
}

#[test]
fn a_folder_stands_for_its_component() {
    let here = Workplace::new();
    fs::create_dir_all(here.file("mine/dist")).unwrap();
    let setting = "schedule.plugin=./mine";
    here.incubate(&plan(setting, &[]))
        .failed(10, &["./mine", "no component"]);
    fs::copy(frozen("step"), here.file("mine/dist/any.wasm")).unwrap();
    here.incubate(&plan(setting, &[])).succeeded();
    fs::copy(frozen("uniform"), here.file("mine/dist/other.wasm")).unwrap();
    here.incubate(&plan(setting, &[]))
        .failed(10, &["several components", "any.wasm", "other.wasm"]);
    fs::copy(frozen("cosine"), here.file("mine/dist/mine.wasm")).unwrap();
    here.plugin(&["add", "./mine"]).succeeded();
    let lock = here.lock();
    assert!(
        lock.contains(&sha256(&fs::read(frozen("cosine")).unwrap())),
        "{lock}"
    );
}

#[test]
fn an_update_shows_what_differs_and_asks_before_more_is_allowed() {
    let here = Workplace::new();
    let registry = Registry::open();
    let place = format!("{}/team/rates", registry.host());
    let reference = format!("{place}@^1.2");
    let push = |file: &PathBuf| here.plugin(&["push", text(file), &place]).succeeded();
    push(&versioned(here.path(), "constant", "1.2.0"));
    here.plugin(&["add", &reference]).succeeded();
    let unchanged = here.plugin(&["update"]).succeeded().stdout;
    assert!(unchanged.contains("1.2.0 is the newest"), "{unchanged}");

    push(&versioned(here.path(), "step", "1.2.5"));
    let update = here.plugin(&["update", &reference]).succeeded().stdout;
    for line in [
        "version: 1.2.0 -> 1.2.5",
        "name: constant -> step",
        "parameter `factor`: new (a number, ",
        "default 0.1",
        "sha256: ",
    ] {
        assert!(update.contains(line), "no `{line}` in {update}");
    }
    assert!(!update.contains("import"), "{update}");

    // The next one is of another kind and imports more.
    push(&versioned(here.path(), "imitation", "1.3.0"));
    let pinned = here.lock();
    here.plugin(&["update", &reference]).failed(
        10,
        &[
            "may do more",
            "import `incubate:plugin/tensors`: new",
            "--accept",
        ],
    );
    assert_eq!(here.lock(), pinned);
    let update = here.plugin(&["update", "--accept"]).succeeded().stdout;
    assert!(
        update.contains("kind: learning-rate schedule -> loss hook"),
        "{update}"
    );
    assert!(update.contains("parameter `factor`: gone"), "{update}");

    let list = here.plugin(&["list", "--json"]).succeeded().json_lines();
    let one = list
        .iter()
        .find(|one| one["reference"] == reference.as_str())
        .unwrap();
    assert_eq!(one["version"], "1.3.0");
    assert_eq!(one["source"], place.as_str());
    assert!(
        list.iter()
            .any(|one| one["reference"] == "uniform" && one["source"] == "built-in")
    );
    let shown = here.plugin(&["list"]).succeeded().stdout;
    assert!(
        shown.contains(&reference) && shown.contains("cosine"),
        "{shown}"
    );
}

/// A pair of keys that the program `minisign` made.
struct Keys {
    folder: TempDir,
    public: String,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pub");
        minisign(&[
            "-G",
            "-W",
            "-p",
            text(&file),
            "-s",
            text(&folder.path().join("key")),
        ]);
        let public = fs::read_to_string(file).unwrap();
        Self {
            public: public.lines().last().unwrap().to_owned(),
            folder,
        }
    }
}

fn minisign(arguments: &[&str]) {
    let output = Command::new("minisign")
        .args(arguments)
        .output()
        .expect("the program minisign (apt-get install minisign)");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Signs a file and answers the file of the signature.
fn sign(file: &Path, keys: &Keys) -> PathBuf {
    let path = PathBuf::from(format!("{}.minisig", file.display()));
    let key = keys.folder.path().join("key");
    minisign(&["-S", "-s", text(&key), "-m", text(file), "-x", text(&path)]);
    path
}

#[test]
fn where_keys_are_trusted_plugins_must_be_signed() {
    let keys = Keys::new();
    let others = Keys::new();
    let here = Workplace::new();
    let registry = Registry::open();
    let place = format!("{}/team/step", registry.host());
    let team = format!("{}/team", registry.host());
    let file = versioned(here.path(), "step", "1.2.0");
    here.plugin(&["push", text(&file), &place]).succeeded();
    here.plugin(&["trust", "nonsense"])
        .failed(2, &["nonsense", "public key"]);
    here.plugin(&["trust", &keys.public, "--for", &team])
        .succeeded();
    let reference = format!("{place}@^1.2");
    here.plugin(&["add", &reference])
        .failed(10, &["not signed", &keys.public, "--signature"]);
    let setting = format!("schedule.plugin={reference}");
    here.incubate(&plan(&setting, &[]))
        .failed(10, &["not signed"]);

    // Signed by somebody else, then for other bytes, then rightly.
    let newer = versioned(here.path(), "step", "1.2.1");
    let signature = sign(&newer, &others);
    here.plugin(&[
        "push",
        text(&newer),
        &place,
        "--signature",
        text(&signature),
    ])
    .succeeded();
    here.plugin(&["add", &reference])
        .failed(10, &["none of the trusted keys"]);
    let signature = sign(&file, &keys);
    here.plugin(&[
        "push",
        text(&newer),
        &place,
        "--signature",
        text(&signature),
    ])
    .succeeded();
    here.plugin(&["add", &reference])
        .failed(10, &["for other bytes", "verification failed"]);
    here.plugin(&["push", text(&newer), &place, "--signature", text(&file)])
        .failed(2, &["step-1.2.0.wasm"]);
    let signature = sign(&newer, &keys);
    here.plugin(&[
        "push",
        text(&newer),
        &place,
        "--signature",
        text(&signature),
    ])
    .succeeded();
    // Pushed once more without it, the plugin keeps its signature.
    here.plugin(&["push", text(&newer), &place]).succeeded();
    here.plugin(&["add", &reference]).succeeded();
    // Offline, too.
    drop(registry);
    here.incubate(&plan(&setting, &["--locked"])).succeeded();
    // Whoever takes the signature out of the lock file has an unsigned plugin.
    let lock = here.lock();
    let begin = lock.find("signature = ").unwrap();
    let end = lock[begin..].find("\n\n").unwrap();
    here.write(
        "incubate.lock",
        format!("{}{}", &lock[..begin], &lock[begin + end..]),
    );
    here.incubate(&plan(&setting, &[]))
        .failed(10, &["not signed"]);
    // Nobody asks for signatures of plugins from elsewhere.
    let plain = here.write("plain.wasm", fs::read(frozen("step")).unwrap());
    here.incubate(&plan(&format!("schedule.plugin={}", text(&plain)), &[]))
        .succeeded();
}

#[test]
fn files_and_addresses_carry_their_signature_beside_them() {
    let keys = Keys::new();
    let here = Workplace::new();
    let file = here.write("mine.wasm", fs::read(frozen("step")).unwrap());
    here.plugin(&["trust", &keys.public]).succeeded();
    let setting = "schedule.plugin=./mine.wasm";
    here.incubate(&plan(setting, &[]))
        .failed(10, &["./mine.wasm", "not signed", "FILE.minisig"]);
    let signature = fs::read(sign(&file, &keys)).unwrap();
    here.incubate(&plan(setting, &[])).succeeded();
    let mut bytes = fs::read(&file).unwrap();
    let served = bytes.clone();
    bytes.extend_from_slice(&[0, 1, 0]);
    fs::write(&file, bytes).unwrap();
    here.incubate(&plan(setting, &[]))
        .failed(10, &["for other bytes"]);

    let site = web(move |path| match path {
        "/signed.wasm" | "/unsigned.wasm" => answer(&served, served.len()),
        "/signed.wasm.minisig" => answer(&signature, signature.len()),
        _ => nothing(),
    });
    here.plugin(&["add", &format!("{site}/unsigned.wasm")])
        .failed(10, &["not signed"]);
    here.plugin(&["add", &format!("{site}/signed.wasm")])
        .succeeded();
}
