//! `incubate plugin remove`.

use anyhow::Result;

use super::print;
use super::sources::{AccessOptions, LockOptions, title};

/// Takes a plugin out of the lock file.
pub(super) fn remove(reference: &str, lock: &LockOptions) -> Result<()> {
    let mut project = lock.project(&AccessOptions::default())?;
    let pin = project.remove(reference)?;
    print(&format!("removed {}", title(&pin)))
}
