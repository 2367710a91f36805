//! `incubate plugin pull`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::number::thousands;
use super::print;
use super::sandbox::plugin_host;
use super::sources::{AccessOptions, LockOptions};
use crate::lock::write_pulled;

/// Fetches a plugin into a file.
pub(super) fn pull(
    reference: &str,
    output: Option<&Path>,
    lock: &LockOptions,
    access: &AccessOptions,
) -> Result<()> {
    let mut host = plugin_host()?;
    let (inspection, bytes, signature) = lock.project(access)?.look(&mut host, reference)?;
    let description = &inspection.description;
    let file = output.map_or_else(
        || PathBuf::from(format!("{}.wasm", description.name)),
        Path::to_owned,
    );
    write_pulled(&file, &bytes, signature.as_deref(), output.is_some())?;
    print(&format!(
        "{}: {} {} ({}), {} bytes, sha256 {}",
        file.display(),
        description.name,
        description.version,
        inspection.kind,
        thousands(bytes.len() as u64),
        inspection.sha256
    ))
}
