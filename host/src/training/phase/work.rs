//! What updates ask of a GPU, for the record: launches, reads, and uploads.

use super::{PhaseTraining, State};
use crate::device::Traffic;
use crate::event::Event;
use crate::training::TrainError;

/// The updates since the last report, if there are any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work(Option<(u64, Traffic)>);

impl Work {
    /// Before an update, counted from 0.
    pub(super) fn begin(&mut self, update: u64) {
        self.0.get_or_insert_with(|| (update, Traffic::now()));
    }
}

impl PhaseTraining<'_> {
    /// Tells what the updates since the last report asked of the device. Their numbers were asked for,
    /// so that everything was handed to it.
    pub(super) fn tell_work(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let Some((first, before)) = state.work.0.take().filter(|_| self.counts_work) else {
            return Ok(());
        };
        let crossed = Traffic::now().since(before);
        state.observer.observe(&Event::DeviceWork {
            unit: self.phase.to_string(),
            update: first,
            updates: state.update - first,
            launches: crossed.launches,
            reads: crossed.reads,
            uploads: crossed.uploads,
            uploaded_bytes: crossed.uploaded_bytes,
        })?;
        Ok(())
    }
}
