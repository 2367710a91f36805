//! What a plugin says: messages and metrics, bounded for each call, kept until they are fetched.

use std::collections::VecDeque;
use std::fmt;

use serde::Serialize;

use super::contract::v0_1::incubate::plugin::{log, metrics};
use super::kind::Hook;
use super::limits::{Breach, Limit};
use super::state::State;
use super::text::{self, plain};

/// Messages that are kept when nobody fetches them; the oldest go first.
const KEPT: usize = 10_000;

/// Characters of the last error message that are kept for the report of a crash.
const LAST_ERROR_CHARACTERS: usize = 2_000;

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For the author of the plugin.
    Debug,
    /// For whoever runs the experiment.
    Info,
    /// Something looks wrong.
    Warning,
    /// Something is wrong.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that a plugin said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// A message for the person.
    Log {
        /// The call in which it was written.
        hook: Hook,
        /// How much it matters.
        level: Level,
        /// The message.
        text: String,
    },
    /// A named number.
    Metric {
        /// The call in which it was recorded.
        hook: Hook,
        /// The name.
        name: String,
        /// The number; it may be infinite or no number.
        value: f64,
    },
}

/// The messages of one instance.
#[derive(Debug)]
pub(super) struct Journal {
    hook: Hook,
    messages: VecDeque<Message>,
    bytes: u64,
    bytes_max: u64,
    last_error: Option<String>,
}

impl Journal {
    pub(super) const fn new(bytes_max: u64) -> Self {
        Self {
            hook: Hook::Describe,
            messages: VecDeque::new(),
            bytes: 0,
            bytes_max,
            last_error: None,
        }
    }

    pub(super) fn begin(&mut self, hook: Hook) {
        self.hook = hook;
        self.bytes = 0;
        self.last_error = None;
    }

    /// The last message of level `error` in this call.
    pub(super) const fn take_last_error(&mut self) -> Option<String> {
        self.last_error.take()
    }

    pub(super) fn drain(&mut self) -> Vec<Message> {
        self.messages.drain(..).collect()
    }

    fn keep(&mut self, bytes: usize, message: Message) -> Result<(), Breach> {
        self.bytes += bytes as u64;
        if self.bytes > self.bytes_max {
            return Err(Breach {
                limit: Limit::LogBytes,
                allowed: self.bytes_max,
                wanted: Some(self.bytes),
            });
        }
        if self.messages.len() == KEPT {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
        Ok(())
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warning => Level::Warning,
            log::Level::Error => Level::Error,
        };
        let asked = self.asked("write", &[], || format!("{level}: {text}"));
        self.answered(asked, |_| "written".to_owned());
        let journal = &mut self.journal;
        if level == Level::Error {
            journal.last_error = Some(plain(&text, LAST_ERROR_CHARACTERS));
        }
        let hook = journal.hook;
        let bytes = text.len();
        let text = plain(&text, text::MESSAGE);
        journal
            .keep(bytes, Message::Log { hook, level, text })
            .map_err(wasmtime::Error::new)
    }
}

impl metrics::Host for State {
    fn record(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        let asked = self.asked("record", &[], || format!("{name:?} {value:?}"));
        self.answered(asked, |_| "recorded".to_owned());
        let hook = self.journal.hook;
        let bytes = name.len() + size_of::<f64>();
        let name = plain(&name, text::NAME);
        self.journal
            .keep(bytes, Message::Metric { hook, name, value })
            .map_err(wasmtime::Error::new)
    }
}

#[cfg(test)]
mod tests {
    use log::Host as _;
    use metrics::Host as _;

    use super::*;
    use crate::plugin::Limits;
    use crate::plugin::randomness::Randomness;

    fn state(log_bytes: u64) -> State {
        let limits = Limits {
            log_bytes,
            ..Limits::default()
        };
        State::new(&limits, Randomness::new(None, ""))
    }

    #[test]
    fn bytes_are_counted_for_each_call() {
        let mut state = state(20);
        for _ in 0..3 {
            state.begin(Hook::Rate, Some(0));
            state
                .write(log::Level::Info, "0123456789".to_owned())
                .unwrap();
            state.record("ab".to_owned(), 1.0).unwrap();
            let error = state.record(String::new(), 1.0).unwrap_err();
            let breach = error.downcast_ref::<Breach>().unwrap();
            assert_eq!((breach.limit, breach.wanted), (Limit::LogBytes, Some(28)));
        }
        assert_eq!(state.journal.drain().len(), 6);
    }

    #[test]
    fn the_last_error_survives_its_own_length() {
        let mut state = state(20);
        state.begin(Hook::Rate, Some(0));
        let long = "é".repeat(3 * LAST_ERROR_CHARACTERS);
        assert!(state.write(log::Level::Error, long).is_err());
        let kept = state.journal.take_last_error().unwrap();
        assert!(kept.starts_with(&"é".repeat(LAST_ERROR_CHARACTERS)));
        assert!(kept.ends_with("é… (4000 more characters)"));
        state.write(log::Level::Warning, String::new()).unwrap_err();
        assert_eq!(state.journal.take_last_error(), None);
    }

    #[test]
    fn messages_that_nobody_fetches_do_not_pile_up() {
        let mut state = state(20);
        for update in 0..KEPT as u64 + 5 {
            state.begin(Hook::Rate, Some(update));
            state.record("a".to_owned(), update as f64).unwrap();
        }
        let messages = state.journal.drain();
        assert_eq!(messages.len(), KEPT);
        assert!(matches!(messages[0], Message::Metric { value: 5.0, .. }));
    }
}
