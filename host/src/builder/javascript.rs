//! JavaScript: the interpreter QuickJS with the plugin inside, by the package `componentize-qjs` of
//! the plugin's own `node_modules`.

use std::fs;
use std::process::Command;

use super::language::{Lack, Language, Versions};
use super::manifest::write_whole;
use super::project::Project;
use super::{BuildError, Event, cargo, installation, programs, world};

/// The source of a plugin.
const SOURCE: &str = "plugin.js";

/// The file that pins the packages.
const PINS: &str = "package-lock.json";

/// The tool, below the plugin's folder.
const TOOL: &str = "node_modules/componentize-qjs/bin/componentize-qjs";

/// The SDK, which plugins import from `target/sdk`.
const SDK: &str = include_str!("../../../plugins/sdk-javascript/incubate.js");

/// Node.js and its package manager.
pub(super) fn find() -> Result<Versions, Lack> {
    let tools = [("node", "18"), ("npm", "9")].map(|(name, least)| {
        programs::at_least(
            name,
            least,
            &["apt-get install nodejs npm", "brew install node"],
        )
    });
    Ok(Versions {
        tools: tools.into_iter().collect::<Result<_, _>>()?,
    })
}

/// Puts `plugin.js` and what it imports into an interpreter.
pub(super) fn build(
    project: &Project,
    report: &mut dyn FnMut(Event),
) -> Result<Vec<u8>, BuildError> {
    let language = Language::JavaScript;
    let versions = find().map_err(|lack| BuildError::Lacks { language, lack })?;
    report(Event::Found { language, versions });
    let folder = &project.folder;
    project.require_source(SOURCE)?;
    let mut npm = Command::new("npm");
    // Not `npm ci`, which refuses a lock file from a registry that lacks a system's binary.
    npm.args(["install", "--no-save", "--ignore-scripts"])
        .args(["--no-audit", "--no-fund"]);
    installation::install(project, PINS, &folder.join(TOOL), &mut [npm], report)?;
    write_sdk(project)?;

    let component = project.build_folder.join("component.wasm");
    let mut command = Command::new("node");
    command
        .current_dir(folder)
        .arg(TOOL)
        .args(["--js", SOURCE, "--world", world::NAME, "--wit"])
        .arg(world::write(project)?)
        // Nothing of WASI, and no functions that need an asynchronous host.
        .args(["--stub-wasi", "--sync", "--output"])
        .arg(&component);
    cargo::output(&mut command).map_err(|error| world::explain(error, project))?;
    fs::read(&component).map_err(BuildError::file("reading", &component))
}

/// Writes the SDK, and what plugin.toml says for the plugin's answer to `describe`.
fn write_sdk(project: &Project) -> Result<(), BuildError> {
    let sdk = project.build_folder.join("sdk");
    write_whole(&sdk.join("incubate.js"), SDK.as_bytes())?;
    let mut text = String::from("// Written by `incubate plugin build` from plugin.toml.\n");
    for (name, value) in project.manifest.description_fields() {
        text += &format!("export const {name} = {value};\n");
    }
    write_whole(&sdk.join("manifest.js"), text.as_bytes())
}
