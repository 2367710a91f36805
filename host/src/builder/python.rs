//! Python: the interpreter CPython with the plugin inside, by the package `componentize-py` in the
//! plugin's own `.venv`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::language::{Lack, Language, Versions};
use super::manifest::write_whole;
use super::project::Project;
use super::{BuildError, Event, cargo, installation, programs, world};

/// The source of a plugin, and its name as a module.
const SOURCE: &str = "plugin.py";
const MODULE: &str = "plugin";

/// The file that pins the packages.
const PINS: &str = "requirements.txt";

/// The environment with the packages, below the plugin's folder.
const ENVIRONMENT: &str = ".venv";

/// Where an environment has its programs.
const PROGRAMS: &str = if cfg!(windows) { "Scripts" } else { "bin" };

/// The SDK, which plugins import as `incubate`.
const SDK: &str = include_str!("../../../plugins/sdk-python/incubate.py");

/// The interpreter's name.
const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// Python with its module for environments.
pub(super) fn find() -> Result<Versions, Lack> {
    let install = ["apt-get install python3-venv", "brew install python"];
    let python = programs::at_least(PYTHON, "3.10", &install)?;
    // Debian has both in a package of their own.
    let modules = ["-c", "import ensurepip, venv"];
    if cargo::output(Command::new(PYTHON).args(modules)).is_err() {
        return Err(Lack {
            missing: format!("{PYTHON} has no module `venv` or `ensurepip`"),
            install: install.map(str::to_owned).to_vec(),
        });
    }
    Ok(Versions {
        tools: vec![python],
    })
}

/// Puts `plugin.py` and what it imports into an interpreter.
pub(super) fn build(
    project: &Project,
    report: &mut dyn FnMut(Event),
) -> Result<Vec<u8>, BuildError> {
    let language = Language::Python;
    let versions = find().map_err(|lack| BuildError::Lacks { language, lack })?;
    report(Event::Found { language, versions });
    let folder = &project.folder;
    project.require_source(SOURCE)?;
    let environment = folder.join(ENVIRONMENT);
    let tool = environment.join(PROGRAMS).join("componentize-py");
    let mut commands = install_commands(&environment);
    installation::install(project, PINS, &tool, &mut commands, report)?;
    let sdk = write_sdk(project)?;

    let component = project.build_folder.join("component.wasm");
    let mut command = Command::new(&tool);
    command
        .current_dir(folder)
        // Packages of the environment may be imported too.
        .env("VIRTUAL_ENV", &environment)
        // A mistake in the plugin is no crash of the tool.
        .env("RUST_BACKTRACE", "0")
        .args(["--quiet", "--world", world::NAME, "--wit-path"])
        .arg(world::write(project)?)
        .args(["componentize", MODULE, "--python-path"])
        .arg(folder)
        .arg("--python-path")
        .arg(&sdk)
        // Nothing of WASI.
        .args(["--stub-wasi", "--output"])
        .arg(&component);
    cargo::output(&mut command).map_err(|error| world::explain(error, project))?;
    fs::read(&component).map_err(BuildError::file("reading", &component))
}

/// Makes the environment anew and installs what the project requires.
fn install_commands(environment: &Path) -> [Command; 2] {
    let mut create = Command::new(PYTHON);
    create.args(["-m", "venv", "--clear"]).arg(environment);
    let mut install = Command::new(environment.join(PROGRAMS).join("python"));
    install.args(["-m", "pip", "install", "--quiet"]).args([
        "--disable-pip-version-check",
        "--requirement",
        PINS,
    ]);
    [create, install]
}

/// Writes the SDK, and what plugin.toml says for the plugin's answer to `describe`.
fn write_sdk(project: &Project) -> Result<PathBuf, BuildError> {
    let sdk = project.build_folder.join("sdk");
    write_whole(&sdk.join("incubate.py"), SDK.as_bytes())?;
    let mut text =
        String::from("\"\"\"Written by `incubate plugin build` from plugin.toml.\"\"\"\n\n");
    for (name, value) in project.manifest.description_fields() {
        text += &format!("{} = {value}\n", name.to_uppercase());
    }
    write_whole(&sdk.join("manifest.py"), text.as_bytes())?;
    Ok(sdk)
}
