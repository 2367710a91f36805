//! Where a unit begins: at its beginning, or at a checkpoint that belongs to it.

use std::collections::BTreeMap;

use super::{Both, Runner};
use crate::digest;
use crate::event::{Event, Observer};
use crate::phase::Phase;
use crate::run::{CheckpointOrigin, Counted, Found, Stored, Unit};
use crate::training::TrainError;

/// What a unit is built from, in the message about a checkpoint that was built from something else.
const NETWORK: &str = "network to begin with";

impl Runner {
    /// The checkpoint that an unfinished unit goes on from, if it has one.
    pub(super) fn resume_point(&self, unit: Unit) -> Result<Found, TrainError> {
        match unit {
            Unit::Train(phase) if self.cost(phase).epochs > 0 => {
                let found = self.folder.take_up(unit)?;
                self.still_counts(found, phase)
            }
            _ => Ok(Found::default()),
        }
    }

    /// Leaves a checkpoint out that counts other batches than those that come now, after somebody let
    /// the run go on with a changed experiment.
    fn still_counts(&self, found: Found, phase: Phase) -> Result<Found, TrainError> {
        let cost = self.cost(phase);
        let Some(stored) = found.newest.as_ref().filter(|_| !self.changes.is_empty()) else {
            return Ok(found);
        };
        let (state, path) = (&stored.state, stored.path.display());
        let pictures = &self.prepared.resolved.dataset.digest;
        let now = Counted {
            batch: cost.batch,
            updates_per_epoch: cost.updates_per_epoch,
        };
        if state.counted != now || state.origin.data_sha256 != *pictures {
            let reason = format!(
                "the checkpoint `{path}` is not used, since it was trained with other pictures or batches"
            );
            self.folder.discard_checkpoints(Unit::Train(phase))?;
            return Ok(Found {
                newest: None,
                damaged: vec![reason],
            });
        }
        let position = state.position;
        if position.epoch > cost.epochs || position.epoch == cost.epochs && position.batch > 0 {
            return Err(TrainError::OtherCheckpoint {
                path: stored.path.clone(),
                what: "number of epochs".to_owned(),
                before: format!("{} are over", position.epoch),
                now: format!("{} are asked for", cost.epochs),
            });
        }
        Ok(found)
    }

    /// What a checkpoint of a unit that is built from these weights comes from.
    pub(super) fn origin(&self, built_from: &BTreeMap<String, String>) -> CheckpointOrigin {
        let identity = self.prepared.experiment().identity();
        CheckpointOrigin {
            experiment_sha256: digest::sha256(identity.to_string().as_bytes()),
            data_sha256: self.prepared.resolved.dataset.digest.clone(),
            built_from: built_from.clone(),
        }
    }

    /// Refuses a checkpoint of another training.
    pub(super) fn belongs(
        &self,
        stored: &Stored,
        origin: &CheckpointOrigin,
    ) -> Result<(), TrainError> {
        let found = &stored.state.origin;
        // Somebody let the run go on with what changed, but modules still need their own meta model.
        let accepted = !self.changes.is_empty();
        let weights = |from: &BTreeMap<String, String>| {
            let each = from.iter().map(|(unit, sha256)| format!("{unit} {sha256}"));
            format!("[{}]", each.collect::<Vec<_>>().join(", "))
        };
        let differences = [
            (
                "experiment",
                found.experiment_sha256.clone(),
                origin.experiment_sha256.clone(),
            ),
            (
                "set of pictures",
                found.data_sha256.clone(),
                origin.data_sha256.clone(),
            ),
            (
                NETWORK,
                weights(&found.built_from),
                weights(&origin.built_from),
            ),
        ];
        let different = differences
            .into_iter()
            .find(|(what, before, now)| before != now && !(accepted && *what != NETWORK));
        different.map_or(Ok(()), |(what, before, now)| {
            Err(TrainError::OtherCheckpoint {
                path: stored.path.clone(),
                what: what.to_owned(),
                before,
                now,
            })
        })
    }

    /// Says where training goes on, and what may make a difference.
    pub(super) fn tell_resumed(
        &self,
        phase: Phase,
        stored: &Stored,
        damaged: &[String],
        observer: &mut Both<'_>,
    ) -> Result<(), TrainError> {
        let position = stored.state.position;
        observer.observe(&Event::Resumed {
            unit: phase.to_string(),
            epoch: position.epoch,
            update: position.update,
            checkpoint: stored.path.display().to_string(),
            damaged: damaged.to_vec(),
        })?;
        let (before, now) = (&stored.state.device, &self.device.name);
        // On the CPU the bits do not depend on the threads, which the name counts.
        let cpu = |name: &str| name.starts_with("CPU ");
        if before != now && !(cpu(before) && cpu(now)) {
            observer.observe(&Event::UnitNote {
                unit: phase.to_string(),
                note: format!(
                    "it goes on with {now} and began with {before}: the last bits of numbers will differ from those of either"
                ),
            })?;
        }
        Ok(())
    }
}
