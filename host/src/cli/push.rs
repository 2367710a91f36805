//! `incubate plugin push`.

use std::path::Path;

use anyhow::Result;

use super::print;
use super::sandbox::plugin_host;
use super::sources::AccessOptions;
use crate::registry::{Published, publish};

/// Puts a plugin into a registry.
pub(super) fn push(
    file: &Path,
    reference: &str,
    signature: Option<&Path>,
    access: &AccessOptions,
) -> Result<()> {
    let Published {
        repository,
        inspection,
        manifest,
    } = publish(
        &plugin_host()?,
        file,
        reference,
        signature,
        &access.access(),
    )?;
    let description = &inspection.description;
    print(&format!(
        "pushed {} {} to {repository}@{}",
        description.name, description.version, description.version
    ))?;
    print(&format!("  sha256:   {}", inspection.sha256))?;
    print(&format!("  manifest: {manifest}"))?;
    print(&format!(
        "  to use:   incubate plugin add {repository}@^{}",
        description.version
    ))
}
