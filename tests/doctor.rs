//! `incubate doctor` on machines where something is missing.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::command::Answer;

/// `doctor` with these variables of the environment; `PATH` is empty unless it is among them.
fn doctor(arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_incubate"))
        .arg("doctor")
        .args(arguments)
        .env("NO_COLOR", "1")
        .env(
            "XDG_CACHE_HOME",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
        )
        .env("PATH", "")
        .env_remove("CARGO")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Answer {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn language<'a>(examination: &'a Value, name: &str) -> &'a Value {
    examination["languages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["language"] == name)
        .unwrap()
}

#[test]
fn without_compilers_the_host_works_and_every_lack_has_a_command() {
    let answer = doctor(&[], &[]).succeeded();
    for phrase in [
        "works  sandbox",
        "works  processor",
        "cpu; training takes CPU (",
        "-      plugins in C ",
        "install: apt-get install --no-install-recommends clang-19 lld-19",
        "install: pipx install ziglang",
        "no cargo on the PATH",
        "https://sh.rustup.rs",
    ] {
        assert!(
            answer.stdout.contains(phrase),
            "no `{phrase}` in:\n{}",
            answer.stdout
        );
    }
    let examination = doctor(&["--json"], &[]).succeeded().json_lines().remove(0);
    assert_eq!(examination["languages"].as_array().unwrap().len(), 5);
    for name in ["rust", "c", "zig"] {
        let entry = language(&examination, name);
        assert!(entry["found"].is_null(), "{entry}");
        assert!(
            !entry["lack"]["install"][0].as_str().unwrap().is_empty(),
            "{entry}"
        );
    }
    assert_eq!(examination["sandbox"]["works"], true);
}

#[test]
fn compilers_are_found_with_their_versions() {
    let path = std::env::var("PATH").unwrap();
    let examination = doctor(&["--json"], &[("PATH", &path)])
        .succeeded()
        .json_lines()
        .remove(0);
    let tools = &language(&examination, "c")["found"]["tools"];
    assert!(
        tools[0]["name"].as_str().unwrap().starts_with("clang"),
        "this test needs clang and lld (apt-get install clang-19 lld-19): {examination}"
    );
    assert!(
        tools[1]["name"].as_str().unwrap().starts_with("wasm-ld"),
        "{tools}"
    );
    for tool in [&tools[0], &tools[1]] {
        assert!(tool["version"].as_str().unwrap().contains('.'), "{tool}");
    }
}

#[test]
fn what_is_broken_is_named_and_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let examination = doctor(
        &["--json"],
        &[
            ("XDG_CACHE_HOME", file.to_str().unwrap()),
            ("DOCKER_CONFIG", folder.path().to_str().unwrap()),
        ],
    )
    .succeeded()
    .json_lines()
    .remove(0);
    for (what, phrase) in [
        ("plugin_cache", "XDG_CACHE_HOME"),
        ("registry_credentials", "config.json is no JSON"),
    ] {
        assert_eq!(examination[what]["works"], false, "{what}");
        let text = examination[what]["what"].as_str().unwrap();
        assert!(text.contains(phrase), "no `{phrase}` in: {text}");
    }
    assert_eq!(examination["sandbox"]["works"], true);
}
