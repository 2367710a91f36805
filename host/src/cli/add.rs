//! `incubate plugin add` and `incubate plugin trust`.

use anyhow::Result;

use super::print;
use super::sandbox::plugin_host;
use super::sources::{AccessOptions, LockOptions, title};
use crate::registry::Trust;

/// Fetches plugins and pins them.
pub(super) fn add(references: &[String], lock: &LockOptions, access: &AccessOptions) -> Result<()> {
    let mut host = plugin_host()?;
    let mut project = lock.project(access)?;
    for reference in references {
        let pin = project.add(&mut host, reference)?;
        print(&title(&pin))?;
        if !pin.grants.is_empty() {
            print(&format!("  needs the grants: {}", pin.grants.join(", ")))?;
        }
    }
    Ok(())
}

/// Trusts a key.
pub(super) fn trust(key: &str, scope: Option<&str>, lock: &LockOptions) -> Result<()> {
    let trust = Trust::new(key, scope.map(str::to_owned))
        .map_err(|error| anyhow::Error::new(crate::lock::LockError::from(error)))?;
    let mut project = lock.project(&AccessOptions::default())?;
    project.trust(trust)?;
    print(&format!(
        "{} of {} must be signed from now on",
        scope.map_or_else(
            || "every plugin".to_owned(),
            |scope| format!("plugins of {scope}")
        ),
        project.path().display()
    ))
}
