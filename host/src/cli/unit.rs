//! `incubate unit`: meta models and trained modules on their way between teams.

use std::path::Path;

use anyhow::Result;

use super::arguments::UnitCommand;
use super::number::{percent, thousands};
use super::sources::AccessOptions;
use super::{print, print_json};
use crate::registry::{
    Access, At, MOST_UNIT_BYTES, RegistryClient, UnitPlace, UnitPlaceError, unit_artefact, unit_of,
};
use crate::run::Parcel;
use crate::training::{Received, check_weights, receive};

/// Runs one of the commands about units.
pub(super) fn unit(command: &UnitCommand) -> Result<()> {
    match command {
        UnitCommand::Push {
            run,
            unit,
            destination,
            access,
        } => push(run, unit, destination, access),
        UnitCommand::Pull {
            source,
            access,
            out,
        } => pull(source, access, out),
        UnitCommand::Inspect {
            source,
            access,
            json,
        } => inspect(source, access, *json),
    }
}

/// What reaches registries.
fn client(options: &AccessOptions) -> RegistryClient {
    RegistryClient::new(Access {
        most_bytes: MOST_UNIT_BYTES,
        ..options.access()
    })
}

/// The unit at a place.
fn fetch(source: &str, options: &AccessOptions) -> Result<Parcel> {
    match UnitPlace::parse(source)? {
        UnitPlace::Folder(path) => Ok(Parcel::read(&path)?),
        UnitPlace::Registry(repository, Some(at)) => {
            let (artefact, _) = client(options).pull(&repository, &at)?;
            Ok(unit_of(source, artefact)?)
        }
        UnitPlace::Registry(repository, None) => {
            let mut tags = client(options).tags(&repository)?;
            tags.sort();
            Err(UnitPlaceError::NoTag {
                place: source.to_owned(),
                tags: tags.join(", "),
            }
            .into())
        }
    }
}

/// Hands a finished unit out.
fn push(run: &Path, unit: &str, destination: &str, options: &AccessOptions) -> Result<()> {
    let place = UnitPlace::parse(destination)?;
    let parcel = Parcel::of(run, unit)?;
    let place = match place {
        UnitPlace::Folder(path) => {
            parcel.write(&path)?;
            path.display().to_string()
        }
        UnitPlace::Registry(_, Some(At::Digest(_))) => {
            return Err(UnitPlaceError::Place {
                place: destination.to_owned(),
            }
            .into());
        }
        UnitPlace::Registry(repository, at) => {
            let tag = match at {
                Some(At::Tag(tag)) => tag,
                _ => unit.to_owned(),
            };
            let digest = client(options).push(&repository, &tag, &unit_artefact(&parcel))?;
            format!(
                "{}/{}@{tag} (manifest {digest})",
                repository.host, repository.path
            )
        }
    };
    print(&format!(
        "pushed {} of {} to {place}: {} bytes of weights, sha256 {}",
        parcel.description.unit,
        parcel.description.experiment,
        thousands(parcel.weights().len() as u64),
        parcel.result.weights_sha256,
    ))
}

/// Takes a unit over.
fn pull(source: &str, options: &AccessOptions, out: &Path) -> Result<()> {
    let parcel = fetch(source, options)?;
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
fn inspect(source: &str, options: &AccessOptions, as_json: bool) -> Result<()> {
    let parcel = fetch(source, options)?;
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
