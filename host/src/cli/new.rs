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
    for file in &files {
        print(&format!("  {}", folder.join(file).display()))?;
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
