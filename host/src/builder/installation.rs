//! Packages of a registry that a plugin is built with, in the plugin's own folder.
//!
//! Invariant: what is installed is what the file of pinned versions said when the plugin was built
//! last; nothing outside the plugin's folder changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::manifest::write_whole;
use super::project::Project;
use super::{BuildError, Event, cargo};

/// Runs `commands`, which install what the file `pins` of the project lists, unless they have run
/// for this content of the file and the program that they install is still there.
pub(super) fn install(
    project: &Project,
    pins: &str,
    program: &Path,
    commands: &mut [Command],
    report: &mut dyn FnMut(Event),
) -> Result<(), BuildError> {
    let path = project.folder.join(pins);
    let wanted = fs::read(&path).map_err(BuildError::file("reading", &path))?;
    let installed = project.build_folder.join("installed").join(pins);
    if program.is_file() && fs::read(&installed).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    report(Event::Step {
        what: format!("installing what {} lists", path.display()),
    });
    for command in commands {
        cargo::output(command.current_dir(&project.folder))?;
    }
    write_whole(&installed, &wanted)
}
