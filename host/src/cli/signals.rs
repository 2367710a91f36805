//! Ctrl-C, SIGTERM, and SIGUSR1 while a run goes on.
//!
//! The first request to stop is passed on to the run, which ends where nothing is lost; before the
//! run has begun there is nothing to lose, and the process ends at once. A second request, half
//! a second later or more, ends the process from inside of the signal handler, whatever its threads
//! do: files of a run appear whole or not at all, so that harms none. SIGUSR1 asks where the run is.

use anyhow::{Error, Result};
use thiserror::Error;

use super::exit::{self, Class};
use crate::spelling::shell_word;
use crate::stop::Stop;
use crate::training::TrainError;

/// The numbers that every Unix has for the two.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// A run that ended because somebody asked.
#[derive(Debug, Error)]
#[error("{source}; to go on: {command}")]
pub(super) struct Interrupted {
    /// The signal.
    signal: i32,
    /// What the run says.
    source: TrainError,
    /// What to type.
    command: String,
}

impl Interrupted {
    /// Its exit status.
    pub(super) const fn class(&self) -> Class {
        class_of(self.signal)
    }
}

/// What a process that ended by this signal answers.
const fn class_of(signal: i32) -> Class {
    if signal == SIGTERM {
        exit::TERMINATED
    } else {
        exit::INTERRUPTED
    }
}

/// The command of this process, as it can be typed again.
fn command() -> String {
    let words: Vec<String> = std::env::args_os()
        .map(|argument| {
            let argument = argument.to_string_lossy();
            // The dashes of an option are no part of a name that a shell could misread.
            let rest = argument.trim_start_matches('-');
            let dashes = &argument[..argument.len() - rest.len()];
            if rest.is_empty() {
                argument.to_string()
            } else {
                format!("{dashes}{}", shell_word(rest))
            }
        })
        .collect();
    words.join(" ")
}

pub(super) use self::listening::Listening;

impl Listening {
    /// Says of a run that was stopped by which signal, and how it goes on.
    pub(super) fn explain(&self, error: TrainError) -> Error {
        match self.signal() {
            Some(signal) if error.is_stop() => Interrupted {
                signal,
                source: error,
                command: command(),
            }
            .into(),
            _ => error.into(),
        }
    }
}

#[cfg(unix)]
mod listening {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::thread;
    use std::time::Duration;

    use signal_hook::consts::SIGUSR1;
    use signal_hook::flag;
    use signal_hook::iterator::Signals;

    use super::{Result, SIGINT, SIGTERM, Stop, class_of};
    use crate::cli::board::Board;

    /// Signals that come in this time are one request: `timeout` sends its signal to the process and to
    /// the group of the process, so that it comes twice.
    const ONE_REQUEST: Duration = Duration::from_millis(500);

    /// What the thread that hears signals shares with the command.
    #[derive(Debug, Default)]
    struct State {
        /// Whether there is something that a stop could lose.
        working: bool,
        /// The signal that asked to stop.
        signal: Option<i32>,
    }

    /// Signals are heard from the making of this to the end of the process.
    #[derive(Debug)]
    pub(in crate::cli) struct Listening {
        stop: Stop,
        state: Arc<Mutex<State>>,
    }

    fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Listening {
        /// Begins to listen.
        ///
        /// # Errors
        /// When the system refuses.
        pub(in crate::cli) fn start(board: &Board) -> Result<Self> {
            let impatient = Arc::new(AtomicBool::new(false));
            for signal in [SIGINT, SIGTERM] {
                flag::register_conditional_default(signal, Arc::clone(&impatient))?;
            }
            let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
            let listening = Self {
                stop: Stop::default(),
                state: Arc::default(),
            };
            let (stop, state) = (listening.stop.clone(), Arc::clone(&listening.state));
            let board = board.clone();
            thread::Builder::new()
                .name("signals".to_owned())
                .spawn(move || {
                    for signal in signals.forever() {
                        if signal == SIGUSR1 {
                            board.tell();
                        } else {
                            asked_to_stop(signal, &stop, &state, &board);
                            let impatient = Arc::clone(&impatient);
                            thread::spawn(move || {
                                thread::sleep(ONE_REQUEST);
                                impatient.store(true, Ordering::Relaxed);
                            });
                        }
                    }
                })?;
            Ok(listening)
        }

        /// What the run has to look at.
        pub(in crate::cli) fn stop(&self) -> Stop {
            self.stop.clone()
        }

        /// From now on there is something to lose.
        pub(in crate::cli) fn work_begins(&self) {
            lock(&self.state).working = true;
        }

        /// The signal that asked to stop, if one did.
        pub(in crate::cli) fn signal(&self) -> Option<i32> {
            lock(&self.state).signal
        }
    }

    /// Passes the first request on.
    #[expect(
        clippy::exit,
        reason = "a signal ends the process while another thread works"
    )]
    fn asked_to_stop(signal: i32, stop: &Stop, state: &Mutex<State>, board: &Board) {
        let mut state = lock(state);
        state.signal = Some(signal);
        let name = if signal == SIGTERM {
            "SIGTERM"
        } else {
            "SIGINT"
        };
        let event = serde_json::json!({ "event": "stopping", "signal": name });
        if !state.working {
            // The lock is held to the end, so that no work begins in between.
            board.announce("stopped before the run began", &event);
            std::process::exit(class_of(signal).status.into());
        }
        stop.ask();
        board.announce(
            "stopping after this update; press Ctrl-C again to stop at once",
            &event,
        );
    }
}

#[cfg(not(unix))]
mod listening {
    use super::{Result, Stop};
    use crate::cli::board::Board;

    /// Where there are no such signals, Ctrl-C ends the process at once.
    #[derive(Debug)]
    pub(in crate::cli) struct Listening;

    impl Listening {
        /// Does nothing.
        ///
        /// # Errors
        /// Never.
        pub(in crate::cli) fn start(_board: &Board) -> Result<Self> {
            Ok(Self)
        }

        /// What the run has to look at.
        pub(in crate::cli) fn stop(&self) -> Stop {
            Stop::default()
        }

        /// Does nothing.
        pub(in crate::cli) fn work_begins(&self) {}

        /// No signal was heard.
        pub(in crate::cli) fn signal(&self) -> Option<i32> {
            None
        }
    }
}
