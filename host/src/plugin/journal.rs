//! What a plugin says: messages and metrics, bounded for each call, kept until they are fetched.

use std::collections::VecDeque;

use serde::Serialize;

use super::contract::v0_1::incubate::plugin::{log, metrics};
use super::kind::Hook;
use super::limits::{Breach, Limit};
use super::state::State;

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
        let journal = &mut self.journal;
        if level == Level::Error {
            journal.last_error = Some(text.chars().take(LAST_ERROR_CHARACTERS).collect());
        }
        let hook = journal.hook;
        journal
            .keep(text.len(), Message::Log { hook, level, text })
            .map_err(wasmtime::Error::new)
    }
}

impl metrics::Host for State {
    fn record(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        let hook = self.journal.hook;
        self.journal
            .keep(
                name.len() + size_of::<f64>(),
                Message::Metric { hook, name, value },
            )
            .map_err(wasmtime::Error::new)
    }
}
