//! `incubate plugin update`.

use anyhow::Result;

use super::print;
use super::sandbox::plugin_host;
use super::sources::{AccessOptions, LockOptions};
use crate::lock::Update;

/// Pins the newest allowed versions and shows what differs.
pub(super) fn update(
    references: &[String],
    accept: bool,
    lock: &LockOptions,
    access: &AccessOptions,
) -> Result<()> {
    let mut host = plugin_host()?;
    let mut project = lock.project(access)?;
    let references = if references.is_empty() {
        project
            .pins()
            .iter()
            .map(|pin| pin.reference.clone())
            .collect()
    } else {
        references.to_vec()
    };
    if references.is_empty() {
        return print(&format!(
            "nothing is pinned in {}",
            project.path().display()
        ));
    }
    for reference in &references {
        let Update { old, changes, .. } = project.update(&mut host, reference, accept)?;
        if changes.is_empty() {
            print(&format!("{reference}: {} is the newest", old.version))?;
            continue;
        }
        print(&format!("{reference}:"))?;
        for change in changes {
            print(&format!("  {change}"))?;
        }
    }
    Ok(())
}
