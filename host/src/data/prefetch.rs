//! The batches of an epoch, made ahead of time by a background thread.

use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use super::loader::Recipe;
use super::{Batch, DataError};

/// Finished batches that wait; one more is being made.
const AHEAD: usize = 2;

/// The batches of an epoch in their order; ends after the last one or after an error.
///
/// Dropping it stops the background thread after the batch that it is making.
#[derive(Debug)]
pub struct EpochBatches {
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl EpochBatches {
    /// Starts to make the batches of `epoch` from number `first` on.
    pub(super) fn start(recipe: Arc<Recipe>, epoch: u64, first: usize) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        let failed = sender.clone();
        let started = thread::Builder::new()
            .name("batches".to_owned())
            .spawn(move || {
                let order = recipe.order(epoch);
                for number in first..recipe.batches() {
                    let batch = recipe.batch(epoch, &order, number);
                    let last = batch.is_err();
                    // Nobody listens any more when the iterator was dropped.
                    if sender.send(batch).is_err() || last {
                        return;
                    }
                }
            });
        let thread = match started {
            Ok(thread) => Some(thread),
            Err(source) => {
                let error = DataError::Threads {
                    source: Box::new(source),
                };
                failed.send(Err(error)).expect("the receiver is here");
                None
            }
        };
        Self {
            receiver: Some(receiver),
            thread,
        }
    }

    /// Waits for the thread; a panic in it goes on here.
    fn join(&mut self) {
        self.receiver = None;
        if let Some(thread) = self.thread.take()
            && let Err(cause) = thread.join()
            && !thread::panicking()
        {
            panic::resume_unwind(cause);
        }
    }
}

impl Iterator for EpochBatches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.receiver.as_ref()?.recv().ok();
        if batch.is_none() {
            self.join();
        }
        batch
    }
}

impl Drop for EpochBatches {
    fn drop(&mut self) {
        self.join();
    }
}
