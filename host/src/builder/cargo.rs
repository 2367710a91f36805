//! Calls of cargo and of other programs.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::BuildError;
use super::toolchain::{TARGET, Toolchain};

/// Lines of a failed program that an error shows.
const SHOWN_LINES: usize = 60;

/// The cargo that started this process, else the one of the PATH.
pub(super) fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The folder in which cargo keeps sources.
pub(super) fn home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// What a program writes to its standard output.
pub(super) fn output(command: &mut Command) -> Result<String, BuildError> {
    finished(command).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a program that succeeds writes to its standard error, such as warnings.
pub(super) fn messages(command: &mut Command) -> Result<String, BuildError> {
    finished(command).map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn finished(command: &mut Command) -> Result<Output, BuildError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BuildError::Start {
            program: command.get_program().display().to_string(),
            source,
        })?;
    if !output.status.success() {
        return Err(failed(command, &String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output)
}

/// Compiles `packages` of `workspace`; gives the core module of every package by its identifier.
///
/// `compiled` hears the name of every library as it is done. Only settings of the workspace take
/// part: flags, wrappers, and profiles of the environment are left out, since they change bytes.
pub(super) fn compile(
    toolchain: &Toolchain,
    workspace: &Path,
    packages: &[&str],
    locked: bool,
    compiled: &mut dyn FnMut(&str),
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut command = Command::new(program());
    command
        .current_dir(workspace)
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(workspace.join("target"))
        .args(packages.iter().flat_map(|&package| ["--package", package]))
        .args(locked.then_some("--locked"));
    for (name, _) in env::vars_os() {
        if changes_bytes(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    toolchain.configure(&mut command, workspace);

    let temporary = || BuildError::file("writing", env::temp_dir());
    let mut messages = tempfile::tempfile().map_err(temporary())?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(messages.try_clone().map_err(temporary())?)
        .spawn()
        .map_err(|source| BuildError::Start {
            program: command.get_program().display().to_string(),
            source,
        })?;
    let stdout = child.stdout.take().ok_or_else(|| BuildError::CargoAnswer {
        detail: "no standard output".to_owned(),
    })?;
    let mut modules = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(BuildError::file("reading", "cargo's messages"))?;
        if let Some(artifact) = Artifact::parse(&line) {
            compiled(&artifact.target);
            if let Some(module) = artifact.module {
                modules.insert(artifact.package, module);
            }
        }
    }
    let status = child
        .wait()
        .map_err(BuildError::file("waiting for", "cargo"))?;
    if !status.success() {
        let text = read_from_start(&mut messages).map_err(temporary())?;
        return Err(failed(&command, &text));
    }
    Ok(modules)
}

/// True for variables that change how cargo compiles.
fn changes_bytes(name: &str) -> bool {
    name == "RUSTFLAGS"
        || name == "CARGO_TARGET_DIR"
        || name.starts_with("CARGO_BUILD_")
        || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_TARGET_WASM32_")
        || name.starts_with("RUSTC_")
}

/// One library that cargo has compiled.
struct Artifact {
    package: String,
    target: String,
    /// The core module, when the target is a dynamic library.
    module: Option<PathBuf>,
}

impl Artifact {
    /// Reads a line of cargo; other messages give nothing.
    fn parse(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message.get("reason")?.as_str()? != "compiler-artifact" {
            return None;
        }
        let module = message
            .get("filenames")?
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .find(|name| name.ends_with(".wasm"))
            .map(PathBuf::from);
        Some(Self {
            package: message.get("package_id")?.as_str()?.to_owned(),
            target: message.pointer("/target/name")?.as_str()?.to_owned(),
            module,
        })
    }
}

fn read_from_start(file: &mut fs::File) -> std::io::Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(command: &Command, text: &str) -> BuildError {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    let mut program = command.get_program().display().to_string();
    if let Some(argument) = command.get_args().next() {
        program.push(' ');
        program.push_str(&argument.to_string_lossy());
    }
    BuildError::Program {
        program,
        output: shown.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_module_of_an_artifact_is_found() {
        let line = r#"{"reason":"compiler-artifact","package_id":"id","target":{"name":"cross_entropy"},
            "filenames":["/t/libcross_entropy.rlib","/t/cross_entropy.wasm"]}"#;
        let artifact = Artifact::parse(line).unwrap();
        assert_eq!(artifact.package, "id");
        assert_eq!(artifact.target, "cross_entropy");
        assert_eq!(
            artifact.module,
            Some(PathBuf::from("/t/cross_entropy.wasm"))
        );
        assert!(Artifact::parse(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(Artifact::parse("not json").is_none());
    }

    #[test]
    fn a_failed_program_is_shown_with_the_end_of_its_words() {
        let error = output(Command::new("cargo").arg("no-such-command")).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`cargo no-such-command` failed"), "{text}");
        assert!(text.contains("no such command"), "{text}");
        let error = output(&mut Command::new("no-such-program")).unwrap_err();
        assert!(matches!(error, BuildError::Start { .. }), "{error}");
    }

    #[test]
    fn variables_that_change_bytes_are_known() {
        assert!(changes_bytes("RUSTFLAGS"));
        assert!(changes_bytes("CARGO_PROFILE_RELEASE_OPT_LEVEL"));
        assert!(!changes_bytes("CARGO_HOME"));
        assert!(!changes_bytes("PATH"));
    }
}
