//! Ctrl-C, SIGTERM, and SIGUSR1 while a run goes on.
//!
//! The first request to stop is passed on to the run, which ends where nothing is lost; before the
//! run has begun there is nothing to lose, and the process ends at once. A second request, half
//! a second later or more, ends the process from inside of the signal handler, whatever its threads
//! do: files of a run appear whole or not at all, so that harms none. SIGUSR1 asks where the run is.
//!
//! The process of a unit that `run --jobs` started hears its parent, too (see `orders`): Ctrl-C in a
//! terminal reaches both, and asking twice this way is never the second request.

use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Error, Result};
use thiserror::Error;

use super::board::{Board, Reader};
use super::exit::{self, Class};
use crate::spelling::shell_word;
use crate::stop::Stop;
use crate::training::TrainError;

/// The numbers that every Unix has for the two.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// A run that ended because somebody asked.
#[derive(Debug, Error)]
#[error("{what}{}", to_go_on(command.as_deref()))]
pub(super) struct Interrupted {
    /// The signal.
    signal: i32,
    /// What the run says.
    what: String,
    /// What to type; none where somebody else says that.
    command: Option<String>,
}

impl Interrupted {
    /// Its exit status.
    pub(super) const fn class(&self) -> Class {
        class_of(self.signal)
    }
}

/// The end of the sentence.
fn to_go_on(command: Option<&str>) -> String {
    command.map_or_else(String::new, |command| format!("; to go on: {command}"))
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

/// What the threads that hear requests share with the command.
#[derive(Debug, Default)]
struct State {
    /// Whether there is something that a stop could lose.
    working: bool,
    /// The signal that asked to stop.
    signal: Option<i32>,
}

/// Requests are heard from the making of this to the end of the process.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    board: Board,
    stop: Stop,
    state: Arc<Mutex<State>>,
}

impl Listening {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn start(board: &Board) -> Result<Self> {
        let listening = Self {
            board: board.clone(),
            stop: Stop::default(),
            state: Arc::default(),
        };
        #[cfg(unix)]
        unix::listen(&listening)?;
        Ok(listening)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lines of `requests` for requests to stop, however many there are. Their end means that
    /// whoever could ask is gone, which is the first request, or else the second one.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn hear(&self, requests: impl BufRead + Send + 'static) -> Result<()> {
        let listening = self.clone();
        thread::Builder::new()
            .name("requests".to_owned())
            .spawn(move || {
                let mut asked = false;
                // What cannot be read any more has ended.
                for _ in requests.lines().map_while(Result::ok) {
                    listening.asked_to_stop(SIGTERM);
                    asked = true;
                }
                if asked {
                    end_at_once();
                }
                listening.asked_to_stop(SIGTERM);
            })?;
        Ok(())
    }

    /// What the run has to look at.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// From now on there is something to lose.
    pub(super) fn work_begins(&self) {
        self.state().working = true;
    }

    /// Says of a run that was stopped by which signal, and how it goes on.
    pub(super) fn explain(&self, error: TrainError) -> Error {
        if error.is_stop() {
            self.interrupted(error.to_string())
                .map_or_else(|| error.into(), Error::from)
        } else {
            error.into()
        }
    }

    /// The end of a run that was stopped, which has this to say, if a signal asked.
    pub(super) fn interrupted(&self, what: String) -> Option<Interrupted> {
        let signal = self.state().signal?;
        // The parent says how the whole run goes on.
        let command = (self.board.reader() != Reader::Parent).then(command);
        Some(Interrupted {
            signal,
            what,
            command,
        })
    }

    /// Passes the first request on.
    fn asked_to_stop(&self, signal: i32) {
        let mut state = self.state();
        state.signal = Some(signal);
        let name = if signal == SIGTERM {
            "SIGTERM"
        } else {
            "SIGINT"
        };
        let event = serde_json::json!({ "event": "stopping", "signal": name });
        if !state.working {
            // The lock is held to the end, so that no work begins in between.
            self.board.announce("stopped before the run began", &event);
            std::process::exit(class_of(signal).status.into());
        }
        self.stop.ask();
        self.board.announce(
            "stopping after this update; press Ctrl-C again to stop at once",
            &event,
        );
    }
}

/// Ends the process whatever its threads do, as a second signal does.
#[cfg(unix)]
fn end_at_once() -> ! {
    signal_hook::low_level::exit(exit::TERMINATED.status.into())
}

/// Ends the process whatever its threads do.
#[cfg(not(unix))]
#[expect(
    clippy::exit,
    reason = "somebody does not want to wait for the threads"
)]
fn end_at_once() -> ! {
    std::process::exit(exit::TERMINATED.status.into())
}

#[cfg(unix)]
mod unix {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use signal_hook::consts::SIGUSR1;
    use signal_hook::flag;
    use signal_hook::iterator::Signals;

    use super::{Listening, Result, SIGINT, SIGTERM};

    /// Signals that come in this time are one request: `timeout` sends its signal to the process and to
    /// the group of the process, so that it comes twice.
    const ONE_REQUEST: Duration = Duration::from_millis(500);

    /// Begins to listen to signals. Where there are none, Ctrl-C ends the process at once.
    pub(super) fn listen(listening: &Listening) -> Result<()> {
        let impatient = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&impatient))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        let listening = listening.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if signal == SIGUSR1 {
                        listening.board.tell();
                    } else {
                        listening.asked_to_stop(signal);
                        let impatient = Arc::clone(&impatient);
                        thread::spawn(move || {
                            thread::sleep(ONE_REQUEST);
                            impatient.store(true, Ordering::Relaxed);
                        });
                    }
                }
            })?;
        Ok(())
    }
}
