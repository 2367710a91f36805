//! `incubate plugin`.

use anyhow::Result;

use super::arguments::PluginCommand;
use super::number::thousands;
use super::{
    add, bench, build, check, list, new, print, print_json, pull, push, remove, replay, sources,
    table, update,
};
use crate::plugin::{Inspection, Parameter, SettingValue};

/// Runs one of the commands about plugins.
pub(super) fn plugin(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List { lock, json } => list::list(lock, *json),
        PluginCommand::Add {
            references,
            lock,
            access,
        } => add::add(references, lock, access),
        PluginCommand::Update {
            references,
            accept,
            lock,
            access,
        } => update::update(references, *accept, lock, access),
        PluginCommand::Remove { reference, lock } => remove::remove(reference, lock),
        PluginCommand::Trust { key, scope, lock } => add::trust(key, scope.as_deref(), lock),
        PluginCommand::Pull {
            reference,
            output,
            lock,
            access,
        } => pull::pull(reference, output.as_deref(), lock, access),
        PluginCommand::Push {
            file,
            reference,
            signature,
            access,
        } => push::push(file, reference, signature.as_deref(), access),
        PluginCommand::Inspect {
            plugin,
            lock,
            access,
            json,
        } => inspect(&sources::look(plugin, lock, access)?, *json),
        PluginCommand::Bench {
            plugin,
            lock,
            access,
            assignments,
            json,
        } => {
            let elsewhere = sources::fetched(plugin, lock, access)?;
            bench::bench(plugin, elsewhere.as_ref(), assignments, *json)
        }
        PluginCommand::Replay {
            recording,
            call,
            plugin,
            json,
        } => replay::replay(recording, *call, plugin.as_deref(), *json),
        PluginCommand::Check(options) => check::check(options),
        PluginCommand::Build {
            folder,
            check,
            watch,
        } => build::build(folder.as_deref(), *check, *watch),
        PluginCommand::New(options) => new::new(options),
    }
}

/// Shows everything about one plugin.
fn inspect(inspection: &Inspection, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(inspection);
    }
    let Inspection {
        origin,
        kind,
        description,
        metadata,
        contract,
        imports,
        exports,
        grants,
        sha256,
        bytes,
    } = inspection;
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
    for (title, value) in [
        ("licence: ", &metadata.license),
        ("authors: ", &metadata.authors),
        ("source:  ", &metadata.source),
    ] {
        if let Some(value) = value {
            print(&format!("  {title} {value}"))?;
        }
    }
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
