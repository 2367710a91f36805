//! The sandbox as every command opens it, and the folders that it keeps things in.

use std::path::PathBuf;

use anyhow::Result;

pub(super) use crate::cache::cache_folder;
use crate::plugin::PluginHost;

/// The plugin host with its cache of compiled plugins, which needs a home folder.
pub(super) fn plugin_host() -> Result<PluginHost> {
    let host = PluginHost::new(compiled_folder().as_deref())?;
    if let Some(problem) = host.cache_problem() {
        super::warn(&format!("compiled plugins are not kept: {problem}"));
    }
    Ok(host)
}

/// Where compiled plugins are kept.
pub(super) fn compiled_folder() -> Option<PathBuf> {
    cache_folder().map(|folder| folder.join("plugins"))
}
