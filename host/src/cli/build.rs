//! `incubate plugin build`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::number::thousands;
use super::print;
use crate::builder::{self, Check, Event};

/// Builds plugins, or compares the build with the components that are there.
pub(super) fn build(folder: &Path, check: bool) -> Result<()> {
    let mut progress = |event: Event| {
        // Progress for a person: a closed standard error does not stop the build.
        let _ = show(&event);
    };
    if !check {
        let components = builder::build(folder, &mut progress)?;
        let count = components.len();
        return print(&format!(
            "{count} component{} in `{}`",
            if count == 1 { "" } else { "s" },
            folder.join("dist").display()
        ));
    }
    match builder::check(folder, &mut progress)? {
        Check::Equal { components } => print(&match components {
            1 => "the component has the recorded bytes".to_owned(),
            count => format!("{count} components have the recorded bytes"),
        }),
        Check::NotCompared {
            recorded,
            found,
            rebuilt,
        } => print(&format!(
            "not compared: the components were built by {}, and here is {}; test the rebuilt ones in `{}`",
            recorded.compiler,
            found.compiler,
            rebuilt.display()
        )),
    }
}

/// Writes one line about the build.
fn show(event: &Event) -> io::Result<()> {
    let mut stderr = anstream::stderr().lock();
    match event {
        Event::Toolchain {
            versions,
            builds_std,
        } => {
            writeln!(stderr, "compiler: {}", versions.compiler)?;
            if *builds_std {
                writeln!(
                    stderr,
                    "compiling the standard library along; the first time takes minutes"
                )?;
            }
            Ok(())
        }
        Event::Found { language, versions } => writeln!(stderr, "{language}: {versions}"),
        Event::Step { what } => writeln!(stderr, "{what}"),
        Event::Compiled { library } => writeln!(stderr, "compiled {library}"),
        Event::Component { component } => writeln!(
            stderr,
            "built {} ({} bytes, sha256 {})",
            component.file.display(),
            thousands(component.bytes as u64),
            component.sha256
        ),
    }
}
