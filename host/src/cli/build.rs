//! `incubate plugin build`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::number::thousands;
use super::print;
use crate::builder::{self, BuiltComponent, Check, Event, Project, Watch};

/// Builds plugins, compares the build with the components that are there, or builds again and again.
pub(super) fn build(folder: Option<&Path>, check: bool, watch: bool) -> Result<()> {
    let folder = folder.map_or_else(default_folder, Path::to_owned);
    if watch {
        return build_on_changes(&folder);
    }
    let mut progress = |event: Event| {
        // Progress for a person: a closed standard error does not stop the build.
        let _ = show(&event);
    };
    if !check {
        let components = builder::build(&folder, &mut progress)?;
        let count = components.len();
        return print(&format!(
            "{count} component{} in `{}`",
            if count == 1 { "" } else { "s" },
            folder.join("dist").display()
        ));
    }
    match builder::check(&folder, &mut progress)? {
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

/// This folder if it has a plugin.toml; else `plugins`, if that is a workspace, as in the source of
/// this program; else this folder.
fn default_folder() -> PathBuf {
    let here = PathBuf::from(".");
    let plugins = PathBuf::from("plugins");
    if !Project::is_at(&here) && plugins.join("Cargo.toml").is_file() {
        plugins
    } else {
        here
    }
}

/// Builds now and whenever a source changes, one line each; ends only with the process, or when the
/// folder is gone.
fn build_on_changes(folder: &Path) -> Result<()> {
    let mut watch = Watch::new(folder)?;
    loop {
        let begin = Instant::now();
        // What a compiler has to say belongs to the person who just saved the file.
        let mut said = |event: Event| {
            if let Event::Step { what } = event {
                let _ = writeln!(anstream::stderr().lock(), "{what}");
            }
        };
        match builder::build(folder, &mut said) {
            Ok(components) => {
                let seconds = begin.elapsed().as_secs_f64();
                print(&format!("{} in {seconds:.1} s", sizes(&components)))?;
            }
            Err(error) => {
                let style = anstyle::AnsiColor::Red.on_default().bold();
                let _ = writeln!(anstream::stderr().lock(), "{style}error{style:#}: {error}");
            }
        }
        watch.wait()?;
    }
}

/// `dist/focal.wasm (19,366 bytes), …`
fn sizes(components: &[BuiltComponent]) -> String {
    components
        .iter()
        .map(|component| {
            format!(
                "{} ({} bytes)",
                component.file.display(),
                thousands(component.bytes as u64)
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
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
