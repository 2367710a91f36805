//! Checkpoints in memory that wait until those before them are written, so that training goes on
//! meanwhile. The line is bounded: one that nothing but the next one would keep makes room.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use super::CheckpointState;

/// Checkpoints that wait at most.
const LONGEST: usize = 8;

/// What they hold at most together, in bytes; one may always wait, however large.
const MOST_BYTES: u64 = 1 << 30;

/// Points to go back to that stay of those that wait: the newest, and the one before it, for when the
/// loss is no number from the newest on.
const POINTS: usize = 2;

/// The bytes of every file by its name.
pub(super) type Files = Box<dyn FnOnce() -> io::Result<Vec<(&'static str, Vec<u8>)>> + Send>;

/// A checkpoint that waits.
pub(super) struct Waiting {
    pub(super) state: CheckpointState,
    pub(super) files: Files,
    /// What it holds.
    pub(super) bytes: u64,
    /// Whether it may be kept for good, for its score or its epoch.
    pub(super) may_stay: bool,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Waiting")
            .field("update", &self.state.position.update)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The line, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    /// Whether a thread writes, and takes the next one when it is done.
    pub(super) at_work: bool,
    left_out: u64,
}

impl Line {
    pub(super) fn push(&mut self, checkpoint: Waiting) {
        self.waiting.push_back(checkpoint);
    }

    pub(super) fn next(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// Those that were not written since the line was too long.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Leaves out the oldest that nothing keeps until the line is within its bounds. Answers whether it
    /// is; else all that wait are to be written, and only that makes room.
    pub(super) fn shorten(&mut self) -> bool {
        while self.is_too_long() {
            let Some(place) = self.dispensable(1) else {
                return false;
            };
            self.waiting.remove(place);
            self.left_out += 1;
        }
        true
    }

    /// Leaves out what would be deleted as soon as the `newest` of those that wait are written.
    pub(super) fn make_way(&mut self, newest: usize) {
        while let Some(place) = self.dispensable(newest) {
            self.waiting.remove(place);
        }
    }

    fn is_too_long(&self) -> bool {
        let bytes: u64 = self.waiting.iter().map(|waiting| waiting.bytes).sum();
        self.waiting.len() > LONGEST || self.waiting.len() > 1 && bytes > MOST_BYTES
    }

    /// The oldest that nothing keeps; the newest, so many of them and one at least, are never it.
    fn dispensable(&self, newest: usize) -> Option<usize> {
        let points: Vec<usize> = (0..self.waiting.len())
            .rev()
            .filter(|place| self.waiting[*place].state.roll_back_point)
            .take(POINTS)
            .collect();
        (0..self.waiting.len().saturating_sub(newest.max(1)))
            .find(|place| !self.waiting[*place].may_stay && !points.contains(place))
    }
}
