//! What a session keeps so that a call can be recorded: what the plugin remembered before it.
//!
//! To ask a plugin for its state costs a call, so it is asked rarely until it has once remembered
//! something, and from then on before every call, as long as the state is small. These questions
//! are not counted as calls.

use super::super::recording::{Call, Captured, Outcome, RecordedState, Recording};
use super::super::values::Bytes;
use super::{Configurable, PluginError, Session};
use crate::plugin::kind::Hook;
use wasmtime::Store;

/// Bytes of a state that is asked for before every call, also when nothing is recorded.
const STATE_BYTES_MAX: usize = 64 << 10;

/// Exported functions of a plugin that may remember something.
pub(in crate::plugin) trait Remembering: Configurable {
    /// Calls `save`.
    fn saved(&self, store: &mut Store<super::State>) -> wasmtime::Result<Vec<u8>>;
}

/// What is known of what the plugin remembers.
#[derive(Debug)]
pub(super) struct Memory {
    /// Calls that may have changed it.
    calls: u64,
    /// Whether it ever was something.
    remembers: bool,
    /// Whether the next call shall look, whatever the count.
    look: bool,
    /// Whether it cannot be asked.
    closed: bool,
    state: RecordedState,
}

impl Memory {
    pub(super) const fn new() -> Self {
        Self {
            calls: 0,
            remembers: false,
            look: false,
            closed: false,
            state: RecordedState::Bytes(Bytes(Vec::new())),
        }
    }

    /// After a call that is likely to have changed it.
    pub(super) const fn look_again(&mut self) {
        self.look = true;
    }

    /// Whether the plugin is to be asked before the call that begins.
    const fn is_due(&self, recording: bool) -> bool {
        if self.closed {
            return false;
        }
        let large = matches!(self.state, RecordedState::Unknown(_));
        let usual = self.remembers && !large;
        recording || usual || self.look || (self.calls + 1).is_power_of_two()
    }
}

impl<E: Remembering> Session<E> {
    /// Before a call: keeps what the plugin remembers, when it is time to ask.
    ///
    /// # Errors
    ///
    /// The plugin fails in `save` after it has been used. Before, it is started anew and not asked
    /// again, since nothing is lost by that.
    pub(in crate::plugin) fn keep_state(&mut self) -> Result<(), PluginError> {
        // A call that is made again alone is not asked, and one that failed cannot be.
        if self.tape.is_some() || self.live.is_none() {
            return Ok(());
        }
        let due = self.memory.is_due(self.recordings.is_some());
        let first = self.memory.calls == 0;
        self.memory.calls += 1;
        self.memory.look = false;
        if !due {
            return Ok(());
        }
        let counted = self.live.as_ref().map(|live| live.statistics);
        let saved = self.call(Hook::Save, None, |store, exports| exports.saved(store));
        if let (Some(live), Some(counted)) = (&mut self.live, counted) {
            live.statistics = counted;
        }
        match saved {
            Ok(state) => {
                self.memory.remembers |= !state.is_empty();
                let small = state.len() <= STATE_BYTES_MAX || self.recordings.is_some();
                self.memory.state = if small {
                    RecordedState::Bytes(Bytes(state))
                } else {
                    RecordedState::Unknown(format!(
                        "the state has {} bytes, and at most {STATE_BYTES_MAX} are kept when calls are not recorded",
                        state.len()
                    ))
                };
                Ok(())
            }
            Err(error) if first => {
                self.memory.closed = true;
                self.memory.state = RecordedState::Unknown(format!("`save` fails: {}", error.kind));
                self.start()
            }
            Err(error) => Err(error),
        }
    }
}

impl<E: Configurable> Session<E> {
    /// Why the plugin cannot be asked for what it remembers, when that was found out.
    pub(in crate::plugin) fn unsaved(&self) -> Option<&str> {
        match &self.memory.state {
            RecordedState::Unknown(reason) if self.memory.closed => Some(reason),
            _ => None,
        }
    }

    /// After a call that is likely to have changed the state.
    pub(in crate::plugin) const fn look_again(&mut self) {
        self.memory.look_again();
    }

    /// After a state was restored: it would be lost if the plugin was started anew.
    pub(in crate::plugin) const fn state_was_restored(&mut self) {
        self.memory.calls += 1;
        self.memory.look_again();
    }

    /// Records every call from now on, or none.
    pub(in crate::plugin) fn record_calls(&mut self, record: bool) {
        self.recordings = record.then(Vec::new);
    }

    /// Records a call that was made before recording began, with what it answered.
    pub(in crate::plugin) fn record_past(&mut self, call: Call, answer: String) {
        // The answer is known already, and that a recorded call succeeds changes nothing.
        let recorded = self.recorded(Ok(()), || Some(call), |()| answer);
        debug_assert!(recorded.is_ok(), "a call that succeeded was recorded");
    }

    /// The calls since the last call of this function.
    pub(in crate::plugin) fn drain_recordings(&mut self) -> Vec<Recording> {
        self.recordings
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// After a call: what it takes to make it again goes into the error, or into the recordings.
    /// `call` gives nothing when an argument cannot be read.
    pub(in crate::plugin) fn recorded<R>(
        &mut self,
        result: Result<R, PluginError>,
        call: impl FnOnce() -> Option<Call>,
        shown: impl FnOnce(&R) -> String,
    ) -> Result<R, PluginError> {
        if self.tape.is_some() || (result.is_ok() && self.recordings.is_none()) {
            return result;
        }
        let Some(call) = call() else {
            return result;
        };
        let captured = Captured {
            plugin: self.plugin.clone(),
            settings: self.given.clone(),
            context: self.context,
            state: self.memory.state.clone(),
            call,
        };
        match result {
            Err(mut error) => {
                error.failed = Some(Box::new(captured));
                Err(error)
            }
            Ok(answer) => {
                let in_run = Outcome::Answer(shown(&answer));
                if let (Some(recordings), Ok(recording)) =
                    (&mut self.recordings, captured.record(in_run))
                {
                    recordings.push(recording);
                }
                Ok(answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls, from 0, before which the plugin is asked; at call `from` it answers `state`.
    fn asked(from: u64, state: &RecordedState, recording: bool) -> Vec<u64> {
        let mut memory = Memory::new();
        let due = |memory: &mut Memory, call: u64| {
            let due = memory.is_due(recording);
            memory.calls += 1;
            memory.look = false;
            if due && call >= from {
                memory.remembers = true;
                memory.state = state.clone();
            }
            due
        };
        (0..40).filter(|&call| due(&mut memory, call)).collect()
    }

    #[test]
    fn a_plugin_is_asked_rarely_until_it_remembers_something() {
        let some = RecordedState::Bytes(Bytes(vec![1]));
        assert_eq!(asked(99, &some, false), [0, 1, 3, 7, 15, 31]);
        let expected: Vec<u64> = [0, 1, 3].into_iter().chain(7..40).collect();
        assert_eq!(asked(4, &some, false), expected);
        assert_eq!(asked(99, &some, true).len(), 40);
        // A large state is not asked for before every call.
        let large = RecordedState::Unknown("large".to_owned());
        assert_eq!(asked(0, &large, false), [0, 1, 3, 7, 15, 31]);
    }

    #[test]
    fn an_observation_makes_the_next_call_look() {
        let mut memory = Memory::new();
        memory.calls = 20;
        assert!(!memory.is_due(false));
        memory.look_again();
        assert!(memory.is_due(false));
        memory.closed = true;
        assert!(!memory.is_due(true));
    }
}
