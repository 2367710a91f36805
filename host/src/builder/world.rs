//! The world of one plugin, for tools that make a component import everything that its world has:
//! the world of the plugin's kind without the interfaces that its `plugin.toml` does not ask for.
//!
//! Invariant: an interface that needs a grant is in the world only if `imports` names it, so that
//! nobody must grant what a plugin does not use.

use std::fs;
use std::path::PathBuf;

use wit_bindgen_core::wit_parser::WorldKey;

use super::manifest::write_whole;
use super::project::Project;
use super::{BuildError, contract};

/// The name of the world.
pub(super) const NAME: &str = "plugin-world";

/// The interfaces that every plugin has whose kind has them.
const ALWAYS: [&str; 3] = ["log", "metrics", "tensors"];

/// Writes the contract with the plugin's own world to `target/world` and gives this folder.
pub(super) fn write(project: &Project) -> Result<PathBuf, BuildError> {
    let contract = project.contract_folder()?;
    let (package, known) = imports(project)?;
    if let Some(unknown) = asked(project).find(|name| !known.contains(name)) {
        return Err(BuildError::PluginManifest {
            path: project.manifest_path(),
            detail: format!(
                "`imports` has `{unknown}`, which a {} cannot import (choose among {})",
                project.manifest.kind,
                optional(&known).join(", ")
            ),
        });
    }
    let folder = project.build_folder.join("world");
    if folder.is_dir() {
        fs::remove_dir_all(&folder).map_err(BuildError::file("removing", &folder))?;
    }
    let entries = fs::read_dir(&contract).map_err(BuildError::file("reading", &contract))?;
    for entry in entries {
        let path = entry
            .map_err(BuildError::file("reading", &contract))?
            .path();
        if let Some(name) = path.file_name()
            && path.extension().is_some_and(|extension| extension == "wit")
        {
            let text = fs::read(&path).map_err(BuildError::file("reading", &path))?;
            write_whole(&folder.join(name), &text)?;
        }
    }
    let mut text = format!("package {package};\n\nworld {NAME} {{\n");
    for name in known.iter().filter(|name| {
        ALWAYS.contains(&name.as_str()) || asked(project).any(|asked| asked == *name)
    }) {
        text += &format!("  import {name};\n");
    }
    let interface = project.manifest.kind.interface();
    text += &format!("  export description;\n  export {interface};\n}}\n");
    write_whole(&folder.join(format!("{NAME}.wit")), text.as_bytes())?;
    Ok(folder)
}

/// The error of a tool, with the interface to ask for if the plugin uses one without asking.
pub(super) fn explain(error: BuildError, project: &Project) -> BuildError {
    let BuildError::Program { program, output } = error else {
        return error;
    };
    // What the tools say of a module that they do not know.
    let used = |name: &String| {
        [
            format!("incubate:plugin/{name}\""),
            format!("'{name}' from 'wit_world.imports'"),
            format!("'wit_world.imports.{name}'"),
        ]
        .iter()
        .any(|phrase| output.contains(phrase))
    };
    let known = imports(project).map(|(_, known)| known).unwrap_or_default();
    let Some(name) = optional(&known).into_iter().find(used) else {
        return BuildError::Program { program, output };
    };
    let mut imports: Vec<&String> = asked(project).collect();
    imports.push(&name);
    BuildError::NotAskedFor {
        path: project.manifest_path(),
        line: format!("imports = {imports:?}"),
        name,
        output,
    }
}

/// The interfaces that `plugin.toml` asks for.
fn asked(project: &Project) -> impl Iterator<Item = &String> {
    project.manifest.imports.iter()
}

/// Those interfaces that are imported only when a plugin asks for them.
fn optional(known: &[String]) -> Vec<String> {
    known
        .iter()
        .filter(|name| !ALWAYS.contains(&name.as_str()))
        .cloned()
        .collect()
}

/// The name of the contract's package with its version, and the interfaces with functions that the
/// world of the plugin's kind imports.
fn imports(project: &Project) -> Result<(String, Vec<String>), BuildError> {
    let folder = project.contract_folder()?;
    let (resolve, package) = contract::read(&folder)?;
    let world = resolve
        .select_world(&[package], Some(project.manifest.kind.world()))
        .map_err(|error| BuildError::Contract {
            folder,
            detail: format!("{error:#}"),
        })?;
    let names = resolve.worlds[world]
        .imports
        .keys()
        .filter_map(|key| match key {
            WorldKey::Interface(id) => Some(&resolve.interfaces[*id]),
            WorldKey::Name(_) => None,
        })
        .filter(|interface| !interface.functions.is_empty())
        .filter_map(|interface| interface.name.clone())
        .collect();
    Ok((resolve.packages[package].name.to_string(), names))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn project(folder: &Path, kind: &str, imports: &str) -> Project {
        let text = format!(
            "name = \"p\"\nversion = \"0.1.0\"\nkind = \"{kind}\"\nlanguage = \"python\"\n\
             description = \"A plugin\"\nlicense = \"MIT\"\n{imports}\n"
        );
        fs::write(folder.join("plugin.toml"), text).unwrap();
        Project::open(folder).unwrap()
    }

    fn world(kind: &str, imports: &str) -> Result<Vec<String>, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        let written = write(&project(folder.path(), kind, imports))?;
        let (resolve, package) = contract::read(&written).unwrap();
        let world = resolve.select_world(&[package], Some(NAME)).unwrap();
        let names = |key| {
            let name = resolve.name_world_key(key);
            name.rsplit_once('/')
                .unwrap()
                .1
                .split_once('@')
                .unwrap()
                .0
                .to_owned()
        };
        let world = &resolve.worlds[world];
        let mut found: Vec<String> = world.imports.keys().map(names).collect();
        found.retain(|name| name != "types");
        found.push("->".to_owned());
        found.extend(world.exports.keys().map(names));
        Ok(found)
    }

    #[test]
    fn a_world_has_what_is_asked_for_and_no_more() {
        let found = |kind, imports| world(kind, imports).unwrap().join(" ");
        assert_eq!(
            found("partition-scheme", ""),
            "log metrics -> description partition"
        );
        assert_eq!(
            found("lr-schedule", "imports = []"),
            "log metrics -> description schedule"
        );
        assert_eq!(
            found("loss-hook", ""),
            "log metrics tensors -> description loss"
        );
        assert_eq!(
            found("loss-hook", "imports = [\"readback\", \"random\"]"),
            "log metrics random tensors readback -> description loss"
        );
        let error = world("lr-schedule", "imports = [\"readback\"]").unwrap_err();
        for phrase in [
            "plugin.toml",
            "`readback`",
            "learning-rate schedule",
            "choose among random",
        ] {
            assert!(error.to_string().contains(phrase), "{error}");
        }
    }

    #[test]
    fn an_interface_that_is_used_and_not_asked_for_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), "loss-hook", "imports = [\"random\"]");
        let explained = |output: &str| {
            let output = output.to_owned();
            let program = "tool".to_owned();
            explain(BuildError::Program { program, output }, &project).to_string()
        };
        for output in [
            "failed to resolve JavaScript import \"incubate:plugin/readback\" from plugin.js",
            "ImportError: cannot import name 'readback' from 'wit_world.imports' (/world)",
            "ModuleNotFoundError: No module named 'wit_world.imports.readback'",
        ] {
            let error = explained(output);
            let line = "`imports = [\"random\", \"readback\"]`";
            assert!(error.contains(line) && error.contains(output), "{error}");
        }
        assert!(!explained("SyntaxError: invalid syntax").contains("imports ="));
    }
}
