//! `incubate unit`: meta models and trained modules on their way between teams.

use std::path::Path;

use anyhow::Result;

use super::arguments::UnitCommand;
use super::number::{percent, thousands};
use super::{print, print_json};
use crate::run::Parcel;
use crate::training::{Received, check_weights, receive};

/// Runs one of the commands about units.
pub(super) fn unit(command: &UnitCommand) -> Result<()> {
    match command {
        UnitCommand::Push {
            run,
            unit,
            destination,
        } => push(run, unit, destination),
        UnitCommand::Pull { source, out } => pull(source, out),
        UnitCommand::Inspect { source, json } => inspect(source, *json),
    }
}

/// Hands a finished unit out.
fn push(run: &Path, unit: &str, destination: &str) -> Result<()> {
    let parcel = Parcel::of(run, unit)?;
    parcel.write(Path::new(destination))?;
    print(&format!(
        "pushed {} of {} to {destination}: {} bytes of weights, sha256 {}",
        parcel.description.unit,
        parcel.description.experiment,
        thousands(parcel.weights().len() as u64),
        parcel.result.weights_sha256,
    ))
}

/// Takes a unit over.
fn pull(source: &str, out: &Path) -> Result<()> {
    let parcel = Parcel::read(Path::new(source))?;
    let received = receive(&parcel, out)?;
    let unit = &parcel.description.unit;
    let folder = out.display();
    print(&match received {
        Received::NewRun => {
            format!("made the run `{folder}` from what came with {unit}, which is finished there")
        }
        Received::Added => format!("{unit} is finished in `{folder}`"),
        Received::AlreadyThere => {
            format!("{unit} was in `{folder}` already, with the same weights")
        }
    })?;
    print(&format!(
        "  weights sha256 {}, validation accuracy {}",
        parcel.result.weights_sha256,
        percent(parcel.result.accuracy),
    ))
}

/// Shows what a shared unit is.
fn inspect(source: &str, as_json: bool) -> Result<()> {
    let parcel = Parcel::read(Path::new(source))?;
    check_weights(&parcel)?;
    let description = &parcel.description;
    if as_json {
        return print_json(description);
    }
    print(&format!(
        "{} of {} ({} modules)",
        description.unit, description.experiment, description.modules
    ))?;
    let result = &parcel.result;
    print(&format!(
        "  reached:    accuracy {}, loss {:.4} after {} epochs",
        percent(result.accuracy),
        result.loss,
        result.epochs
    ))?;
    print(&format!(
        "  weights:    {} trained parameters, {} bytes, sha256 {}",
        thousands(result.trained_parameters),
        thousands(parcel.weights().len() as u64),
        result.weights_sha256
    ))?;
    if let Some(meta) = &description.meta_sha256 {
        print(&format!("  meta model: sha256 {meta}"))?;
    }
    print(&format!("  pictures:   sha256 {}", description.data_sha256))?;
    print(&format!(
        "  trained by: incubate {}",
        description.host_version
    ))?;
    for (role, plugin) in &description.plugins {
        print(&format!("  plugin:     {role} = {plugin}"))?;
    }
    Ok(())
}
