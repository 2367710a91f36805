//! `incubate plugin new`.

use std::path::PathBuf;

use anyhow::Result;

use super::arguments::NewOptions;
use super::print;
use crate::builder;

/// Makes the folder of a new plugin, and says what to do in it.
pub(super) fn new(options: &NewOptions) -> Result<()> {
    let NewOptions {
        name,
        kind,
        language,
        out,
    } = options;
    let folder = out.clone().unwrap_or_else(|| PathBuf::from(name));
    let files = builder::create(name, *kind, *language, &folder)?;
    print(&format!("{kind} `{name}` in {language}:"))?;
    for line in listed(&files) {
        print(&format!("  {}", folder.join(line).display()))?;
    }
    print("")?;
    if let Err(lack) = language.find() {
        print(&format!("First, for {language}: {lack}"))?;
    }
    print(&format!(
        "Build it:  incubate plugin build {}",
        folder.display()
    ))?;
    let component = folder.join("dist").join(format!("{name}.wasm"));
    print(&format!(
        "Check it:  incubate plugin check {}",
        component.display()
    ))
}

/// The files that a person will open, and one line for each folder that comes along.
fn listed(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut lines: Vec<PathBuf> = Vec::new();
    for file in files {
        let along = ["sdk", "wit"].iter().find(|along| file.starts_with(along));
        let line = along.map_or_else(|| file.clone(), |along| PathBuf::from(along).join(""));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_come_along_have_one_line() {
        let files = ["src/lib.rs", "sdk/a.rs", "sdk/b.rs", "wit/c.wit"].map(PathBuf::from);
        let expected = ["src/lib.rs", "sdk/", "wit/"].map(PathBuf::from);
        assert_eq!(listed(&files), expected);
    }
}
