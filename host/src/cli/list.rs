//! `incubate plugin list`.

use anyhow::Result;
use serde_json::json;

use super::sandbox::plugin_host;
use super::sources::{AccessOptions, LockOptions};
use super::{print, print_json, table};
use crate::plugin::PluginHost;

/// Lists the built-in plugins, and those of the lock file.
pub(super) fn list(lock: &LockOptions, as_json: bool) -> Result<()> {
    let host = plugin_host()?;
    let mut rows = Vec::new();
    for built_in in PluginHost::built_in() {
        let inspection = host.inspect(built_in.name)?;
        let description = &inspection.description;
        if as_json {
            print_json(&json!({
                "reference": built_in.name,
                "name": description.name,
                "kind": inspection.kind.to_string(),
                "version": description.version,
                "summary": description.summary,
                "source": "built-in",
                "sha256": inspection.sha256,
            }))?;
        } else {
            rows.push([
                built_in.name.to_owned(),
                inspection.kind.to_string(),
                description.version.to_string(),
                "built in".to_owned(),
                short(&inspection.sha256),
                description.summary.clone(),
            ]);
        }
    }
    for pin in lock.project(&AccessOptions::default())?.pins() {
        if as_json {
            print_json(&json!({
                "reference": pin.reference,
                "name": pin.name,
                "kind": pin.kind,
                "version": pin.version,
                "source": pin.source,
                "manifest": pin.manifest,
                "sha256": pin.sha256,
                "grants": pin.grants,
                "imports": pin.imports,
            }))?;
        } else {
            rows.push([
                pin.reference.clone(),
                pin.kind.clone(),
                pin.version.clone(),
                pin.source.clone(),
                short(&pin.sha256),
                String::new(),
            ]);
        }
    }
    if as_json {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    print(&table::text(
        &[
            "plugin",
            "kind",
            "version",
            "from",
            "sha256",
            "what it does",
        ],
        &rows,
    ))
}

/// The beginning of a digest.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
