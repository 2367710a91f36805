//! From nothing to a plugin: `plugin new`, `plugin build`, what is inside the component, and
//! `plugin build --watch`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use wasm_metadata::Payload;

use crate::command::{Answer, incubate};

const KINDS: [&str; 3] = ["loss-hook", "lr-schedule", "partition-scheme"];

fn new(name: &str, kind: &str, language: &str, out: &Path) -> Answer {
    let out = out.to_str().unwrap();
    incubate(&[
        "plugin", "new", name, "--kind", kind, "--lang", language, "--out", out,
    ])
}

/// The command in a folder.
fn within(folder: &Path, arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_incubate"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env(
            "XDG_CACHE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
        )
        .output()
        .unwrap();
    Answer {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_new_plugin_builds_with_one_command_and_has_its_name() {
    let languages = KINDS.map(|kind| ("c", kind)).into_iter();
    for (language, kind) in languages.chain([("zig", KINDS[0])]) {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("mine");
        let answer = new("all-mine", kind, language, &plugin).succeeded();
        assert!(
            answer.stdout.contains("incubate plugin build"),
            "{answer:?}"
        );
        is_built_with_one_command(&plugin, kind);
    }
}

/// Rust's standard library is built along where the compiler has none for WebAssembly. What was
/// compiled is kept for the next run of the tests.
#[test]
fn a_new_plugin_in_rust_builds_with_nothing_but_its_folder() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugin-in-rust");
    let (plugin, kept) = (folder.join("mine"), folder.join("kept"));
    if plugin.exists() {
        // Left by a run that did not come to its end.
        if !kept.exists() && plugin.join("target").exists() {
            fs::rename(plugin.join("target"), &kept).unwrap();
        }
        fs::remove_dir_all(&plugin).unwrap();
    }
    new("all-mine", "loss-hook", "rust", &plugin).succeeded();
    if kept.exists() {
        fs::rename(&kept, plugin.join("target")).unwrap();
    }
    is_built_with_one_command(&plugin, "loss-hook");
    fs::rename(plugin.join("target"), kept).unwrap();
    fs::remove_dir_all(&plugin).unwrap();
}

#[track_caller]
fn is_built_with_one_command(plugin: &Path, kind: &str) {
    let answer = within(plugin, &["plugin", "build"]).succeeded();
    assert!(answer.stdout.contains("1 component"), "{answer:?}");
    let component = "dist/all-mine.wasm";
    let inspected = within(plugin, &["plugin", "inspect", component, "--json"])
        .succeeded()
        .json_lines();
    assert_eq!(inspected[0]["kind"], kind, "{inspected:?}");
    assert_eq!(inspected[0]["description"]["name"], "all-mine");
    let bytes = fs::read(plugin.join(component)).unwrap();
    let payload = Payload::from_binary(&bytes).unwrap();
    assert_eq!(payload.metadata().name.as_deref(), Some("all-mine"));
    assert!(payload.metadata().licenses.is_some());
    let answer = within(plugin, &["plugin", "build", "--check"]).succeeded();
    assert!(answer.stdout.contains("recorded bytes"), "{answer:?}");
}

#[test]
fn a_component_says_what_plugin_toml_says() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("mine");
    new("mine", "lr-schedule", "c", &plugin).succeeded();
    fs::write(
        plugin.join("plugin.toml"),
        "name = \"mine\"\nversion = \"1.2.3-beta.1\"\nkind = \"lr-schedule\"\nlanguage = \"c\"\n\
         description = \"A rate\"\nlicense = \"MIT OR Apache-2.0\"\n\
         authors = [\"Ada <ada@example.com>\", \"Grace\"]\nsource = \"https://example.com/mine\"\n",
    )
    .unwrap();
    within(&plugin, &["plugin", "build"]).succeeded();
    let bytes = fs::read(plugin.join("dist/mine.wasm")).unwrap();
    let payload = Payload::from_binary(&bytes).unwrap();
    let metadata = payload.metadata();
    assert_eq!(metadata.name.as_deref(), Some("mine"));
    let found = [
        metadata.version.as_ref().map(ToString::to_string),
        metadata.description.as_ref().map(ToString::to_string),
        metadata.licenses.as_ref().map(ToString::to_string),
        metadata.authors.as_ref().map(ToString::to_string),
        metadata.source.as_ref().map(ToString::to_string),
    ];
    assert_eq!(
        found.map(Option::unwrap),
        [
            "1.2.3-beta.1",
            "A rate",
            "MIT OR Apache-2.0",
            "Ada <ada@example.com>, Grace",
            "https://example.com/mine",
        ]
    );
}

#[test]
fn what_cannot_be_made_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path();
    new("mine", "loss-hook", "c", there).failed(2, &["exists already", "--out"]);
    let fresh = there.join("fresh");
    new("My Loss", "loss-hook", "c", &fresh).failed(2, &["`My Loss` is no name", "lower-case"]);
    new("mine", "loss-hok", "c", &fresh).failed(2, &["`loss-hok`", "`loss-hook`"]);
    new("mine", "loss-hook", "javascrpt", &fresh).failed(2, &["`javascrpt`", "`javascript`"]);
    assert!(!fresh.exists());
    assert_eq!(fs::read_dir(there).unwrap().count(), 0);
}

#[test]
fn a_folder_without_a_plugin_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let build = || within(folder.path(), &["plugin", "build"]);
    build().failed(
        1,
        &["neither plugin.toml nor Cargo.toml", "incubate plugin new"],
    );
    let manifest = "name = \"mine\"\nversion = \"0.1.0\"\nkind = \"loss-hook\"\n\
                    description = \"Mine\"\nlicense = \"MIT\"\n";
    let write = |more: &str| {
        fs::write(
            folder.path().join("plugin.toml"),
            format!("{manifest}{more}"),
        )
        .unwrap();
    };
    write("");
    build().failed(1, &["plugin.toml", "`language` is missing"]);
    write("language = \"c\"\nlicence = \"MIT\"\n");
    build().failed(1, &["no key `licence`", "`license`"]);
    write("language = \"c\"\n");
    build().failed(1, &["no source to compile", "plugin.c"]);
    write("language = \"zig\"\n");
    build().failed(1, &["no source to compile", "mine.zig"]);
    write("language = \"rust\"\n");
    build().failed(1, &["Cargo.toml"]);
    fs::create_dir(folder.path().join("wit")).unwrap();
    fs::write(folder.path().join("wit/a.wit"), "package a:b;\ninterface {").unwrap();
    fs::write(folder.path().join("mine.c"), "").unwrap();
    write("language = \"c\"\n");
    build().failed(1, &["the contract in", "wit", "remove the folder"]);
}

/// A command that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a stream as they come.
fn lines(stream: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn a_watched_plugin_is_built_again_when_its_source_changes() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("mine");
    new("mine", "lr-schedule", "c", &plugin).succeeded();
    let mut child = Command::new(env!("CARGO_BIN_EXE_incubate"))
        .args(["plugin", "build", "--watch"])
        .current_dir(&plugin)
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let built = lines(child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let mut running = Running(child);
    let next = || built.recv_timeout(Duration::from_secs(120)).unwrap();
    let line = next();
    assert!(
        line.starts_with("dist/mine.wasm (") && line.contains(" bytes) in "),
        "{line}"
    );
    let component = plugin.join("dist/mine.wasm");
    let first = fs::read(&component).unwrap();
    // The build itself is no change.
    assert!(built.recv_timeout(Duration::from_secs(2)).is_err());

    let source = plugin.join("mine.c");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(
        &source,
        text.replace("pow(remaining, power)", "remaining * 3"),
    )
    .unwrap();
    next();
    let second = fs::read(&component).unwrap();
    assert!(first != second);

    fs::write(&source, "doubel").unwrap();
    assert!(built.recv_timeout(Duration::from_secs(3)).is_err());
    assert!(
        running.0.try_wait().unwrap().is_none(),
        "it ended at an error"
    );
    fs::write(&source, &text).unwrap();
    next();
    assert!(fs::read(&component).unwrap() == first);

    running.0.kill().unwrap();
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(
        said.contains("mine.c:1:1") && said.contains("doubel"),
        "{said}"
    );
}
