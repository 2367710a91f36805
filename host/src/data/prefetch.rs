//! The batches of an epoch, made ahead of time by a background thread.

use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::loader::Recipe;
use super::{Batch, DataError};
use crate::stop::Stop;

/// Finished batches that wait; one more is being made.
const AHEAD: usize = 2;
/// The time between two looks at whether somebody still wants the batch that is being made.
const LOOK: Duration = Duration::from_millis(50);

/// The batches of an epoch in their order; ends after the last one or after an error.
///
/// Dropping it stops the background thread after the pictures that it is decoding.
#[derive(Debug)]
pub struct EpochBatches {
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
    /// Asked when nobody wants the rest.
    dropped: Stop,
}

/// What comes next in an epoch.
#[derive(Debug)]
pub enum Next {
    /// A batch.
    Batch(Box<Batch>),
    /// Nothing: that was the last one.
    End,
    /// Nobody wants to wait for it any more.
    Stopped,
}

impl EpochBatches {
    /// Starts to make the batches of `epoch` from number `first` on.
    pub(super) fn start(recipe: Arc<Recipe>, epoch: u64, first: usize) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        let failed = sender.clone();
        let dropped = Stop::default();
        let unwanted = dropped.clone();
        let started = thread::Builder::new()
            .name("batches".to_owned())
            .spawn(move || {
                let order = recipe.order(epoch);
                for number in first..recipe.batches() {
                    let Some(batch) = recipe.batch(epoch, &order, number, &unwanted) else {
                        return;
                    };
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
            dropped,
        }
    }

    /// The next batch, which is waited for until `stop` is asked.
    ///
    /// # Errors
    ///
    /// If a picture of it cannot be read.
    pub fn next_unless(&mut self, stop: &Stop) -> Result<Next, DataError> {
        loop {
            let Some(receiver) = &self.receiver else {
                return Ok(Next::End);
            };
            match receiver.recv_timeout(LOOK) {
                Ok(batch) => return Ok(Next::Batch(Box::new(batch?))),
                Err(RecvTimeoutError::Timeout) if stop.is_asked() => return Ok(Next::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.join(),
            }
        }
    }

    /// Waits for the thread; a panic in it goes on here.
    fn join(&mut self) {
        self.dropped.ask();
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
