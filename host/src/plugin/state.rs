//! What the host keeps for one instance of a plugin, and resets at every call.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::journal::Journal;
use super::kind::Hook;
use super::limits::{Breach, Limit, Limits, Meter};
use super::randomness::Randomness;
use super::teacher::Teacher;
use super::tensors::Arena;
use super::trace::Tape;
use super::weights::Weights;

/// The host's side of one instance.
#[derive(Debug)]
pub(super) struct State {
    pub(super) meter: Meter,
    pub(super) journal: Journal,
    pub(super) randomness: Randomness,
    pub(super) arena: Arena,
    pub(super) weights: Weights,
    pub(super) teacher: Teacher,
    pub(super) clock: Clock,
    /// Where host calls are written down, when somebody wants to know.
    pub(super) tape: Option<Tape>,
}

impl State {
    pub(super) fn new(limits: &Limits, randomness: Randomness) -> Self {
        Self {
            meter: Meter::new(*limits),
            journal: Journal::new(limits.log_bytes),
            randomness,
            arena: Arena::new(limits),
            weights: Weights::default(),
            teacher: Teacher::default(),
            clock: Clock::new(Duration::from_millis(limits.deadline_ms)),
            tape: None,
        }
    }

    /// Before a call.
    pub(super) fn begin(&mut self, hook: Hook, update: Option<u64>) {
        self.journal.begin(hook);
        self.randomness.begin(hook, update);
        self.clock.begin();
        if let Some(tape) = &self.tape {
            tape.begin();
        }
    }

    /// After a call, however it ended: no tensor outlives it.
    pub(super) fn end(&mut self) {
        self.weights.take_back();
        self.teacher.take_back();
        self.arena.clear();
    }
}

/// Wall time of calls into a plugin. On a device that computes by itself, the host's part is what
/// it takes to give the device its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// In the plugin's own code, and in crossing into it and out of it.
    pub guest: Duration,
    /// In the tensor operations that it asked for.
    pub host: Duration,
}

impl Spent {
    /// Both parts.
    pub fn total(self) -> Duration {
        self.guest + self.host
    }
}

impl std::ops::Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            guest: self.guest + other.guest,
            host: self.host + other.host,
        }
    }
}

/// How long a call has computed, without the time in which the host worked for it.
#[derive(Debug)]
pub(super) struct Clock {
    deadline: Duration,
    begun: Instant,
    host: Duration,
}

impl Clock {
    fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            begun: Instant::now(),
            host: Duration::ZERO,
        }
    }

    fn begin(&mut self) {
        self.begun = Instant::now();
        self.host = Duration::ZERO;
    }

    /// Takes the time since `begun` off the account of the plugin.
    pub(super) fn excuse(&mut self, begun: Instant) {
        self.host += begun.elapsed();
    }

    /// The time of this call so far: that of the plugin, and that of the host on its behalf.
    pub(super) fn spent(&self) -> Spent {
        Spent {
            guest: self.begun.elapsed().saturating_sub(self.host),
            host: self.host,
        }
    }

    /// What is left of the time.
    ///
    /// # Errors
    ///
    /// Nothing is left.
    pub(super) fn left(&self) -> Result<Duration, Breach> {
        self.deadline
            .checked_sub(self.begun.elapsed().saturating_sub(self.host))
            .filter(|left| !left.is_zero())
            .ok_or(Breach {
                limit: Limit::DeadlineMs,
                allowed: self.deadline.as_millis() as u64,
                wanted: None,
            })
    }
}
