//! `incubate plugin`.

use anyhow::Result;
use serde_json::json;

use super::arguments::PluginCommand;
use super::number::thousands;
use super::run::plugin_host;
use super::{build, new, print, print_json, table};
use crate::plugin::{Inspection, Parameter, PluginHost, SettingValue};

/// Runs one of the commands about plugins.
pub(super) fn plugin(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List { json } => list(*json),
        PluginCommand::Inspect { plugin, json } => inspect(plugin, *json),
        PluginCommand::Build {
            folder,
            check,
            watch,
        } => build::build(folder.as_deref(), *check, *watch),
        PluginCommand::New(options) => new::new(options),
    }
}

/// Lists the built-in plugins.
fn list(as_json: bool) -> Result<()> {
    let host = plugin_host()?;
    let mut rows = Vec::new();
    for built_in in PluginHost::built_in() {
        let inspection = host.inspect(built_in.name)?;
        let description = &inspection.description;
        if as_json {
            print_json(&json!({
                "name": description.name,
                "kind": inspection.kind.to_string(),
                "version": description.version,
                "summary": description.summary,
                "sha256": inspection.sha256,
            }))?;
        } else {
            rows.push(vec![
                description.name.clone(),
                inspection.kind.to_string(),
                description.version.to_string(),
                description.summary.clone(),
            ]);
        }
    }
    if as_json {
        return Ok(());
    }
    print(&table::text(
        &["plugin", "kind", "version", "summary"],
        &rows,
    ))
}

/// Shows everything about one plugin.
fn inspect(reference: &str, as_json: bool) -> Result<()> {
    let inspection = plugin_host()?.inspect(reference)?;
    if as_json {
        return print_json(&inspection);
    }
    let Inspection {
        origin,
        kind,
        description,
        contract,
        imports,
        exports,
        grants,
        sha256,
        bytes,
    } = &inspection;
    print(&format!(
        "{} {} ({kind})",
        description.name, description.version
    ))?;
    print(&format!("  {}", description.summary))?;
    print(&format!(
        "  from:     {origin}, {} bytes",
        thousands(*bytes as u64)
    ))?;
    print(&format!("  sha256:   {sha256}"))?;
    if let Some(contract) = contract {
        print(&format!("  contract: incubate:plugin@{contract}"))?;
    }
    print(&format!("  imports:  {}", or_none(imports)))?;
    print(&format!("  exports:  {}", or_none(exports)))?;
    let grants: Vec<String> = grants.iter().map(|grant| grant.name().to_owned()).collect();
    print(&format!("  grants:   {}", or_none(&grants)))?;
    if description.parameters.is_empty() {
        return print("  parameters: none");
    }
    print("")?;
    let rows: Vec<Vec<String>> = description.parameters.iter().map(row).collect();
    print(&table::text(
        &["parameter", "default", "allowed", "meaning"],
        &rows,
    ))
}

/// The line of one parameter.
fn row(parameter: &Parameter) -> Vec<String> {
    let default = match &parameter.default {
        Some(value) => shown(value),
        None if parameter.optional => "none".to_owned(),
        None => "required".to_owned(),
    };
    vec![
        parameter.name.clone(),
        default,
        parameter.allowed(),
        parameter.summary.clone(),
    ]
}

/// A value as it is written in an experiment.
fn shown(value: &SettingValue) -> String {
    toml::Value::from(value.clone()).to_string()
}

/// Names with commas between them.
fn or_none(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
