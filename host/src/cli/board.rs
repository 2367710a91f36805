//! Where the run of this process is, kept for the thread that answers signals, and its way to the
//! terminal past the progress bar.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::json;

use super::number::{percent, seconds, thousands};
use crate::event::{Event, Observer};
use crate::run::Moment;

/// What the threads of a command share.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Whether programs read along.
    json: bool,
    begun: Instant,
    /// The unit that is under way, and where it is.
    unit: Option<(String, Moment)>,
    /// Units that this process has to do, and those that it has done.
    units: Option<usize>,
    done: usize,
    /// What is drawn on the terminal.
    bar: Option<ProgressBar>,
}

/// An observer that keeps the board and passes events on.
pub(super) struct Kept<'a> {
    pub(super) board: &'a Board,
    pub(super) next: &'a mut dyn Observer,
}

impl Observer for Kept<'_> {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        self.board.state().hear(event);
        self.next.observe(event)
    }
}

impl Board {
    /// A board with nothing on it.
    pub(super) fn new(json: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            json,
            begun: Instant::now(),
            unit: None,
            units: None,
            done: 0,
            bar: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which bar is drawn.
    pub(super) fn draws(&self, bar: Option<ProgressBar>) {
        self.state().bar = bar;
    }

    /// Writes a line to standard error, beside the bar.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        let bar = self.state().bar.clone();
        let write = || writeln!(anstream::stderr().lock(), "{text}");
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Writes a line that a person should see, and for programs an event.
    pub(super) fn announce(&self, text: &str, event: &serde_json::Value) {
        // A closed stream has nobody left to tell.
        let _ = self.line(text);
        if self.state().json {
            let _ = writeln!(anstream::stdout().lock(), "{event}");
        }
    }

    /// Writes where the run is: for a person beside the bar, or else for programs.
    pub(super) fn tell(&self) {
        let state = self.state();
        let json = state.json.then(|| state.as_json());
        let text = state.as_text();
        drop(state);
        // As above.
        let _ = match json {
            Some(event) => writeln!(anstream::stdout().lock(), "{event}"),
            None => self.line(&text),
        };
    }
}

impl State {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::RunStarted { units, .. } => self.units = Some(units.len()),
            Event::UnitStarted {
                unit,
                epochs,
                updates,
                batch,
                ..
            } => {
                let moment = Moment {
                    epochs: *epochs,
                    updates: *updates,
                    batch: *batch as u64,
                    ..Moment::default()
                };
                self.unit = Some((unit.clone(), moment));
            }
            Event::Update {
                epoch,
                update,
                loss,
                pictures_per_second,
                ..
            } => {
                if let Some((_, moment)) = &mut self.unit {
                    moment.updated(*epoch, *update, *loss, *pictures_per_second);
                }
            }
            Event::Evaluated { accuracy, .. } => {
                if let Some((_, moment)) = &mut self.unit {
                    moment.accuracy = Some(*accuracy);
                }
            }
            Event::UnitFinished { .. } => {
                self.unit = None;
                self.done += 1;
            }
            _ => {}
        }
    }

    /// One object, on a line among those of the events.
    fn as_json(&self) -> serde_json::Value {
        let mut event = json!({
            "event": "status",
            "unit": self.unit.as_ref().map(|(unit, _)| unit),
            "units": self.units,
            "units_done": self.done,
            "seconds": self.begun.elapsed().as_secs_f64(),
        });
        if let Some((_, moment)) = &self.unit
            && let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(moment)
            && let Some(event) = event.as_object_mut()
        {
            event.extend(fields);
        }
        event
    }

    fn as_text(&self) -> String {
        let running = seconds(self.begun.elapsed().as_secs_f64());
        let units = match self.units {
            Some(units) => format!("{} of {units} units done, running for {running}", self.done),
            None => {
                format!("reading the experiment, its plugins, and its pictures for {running}")
            }
        };
        match &self.unit {
            Some((unit, moment)) => format!("{unit}: {}; {units}", place(moment)),
            None => units,
        }
    }
}

/// Where a unit is, for a person.
pub(super) fn place(moment: &Moment) -> String {
    if moment.updates == 0 {
        return "no training".to_owned();
    }
    let mut parts = vec![
        format!("epoch {}/{}", moment.epoch + 1, moment.epochs),
        format!(
            "update {}/{}",
            thousands(moment.update),
            thousands(moment.updates)
        ),
    ];
    parts.extend(moment.loss.map(|loss| format!("loss {loss:.4}")));
    let accuracy = moment.accuracy;
    parts.extend(accuracy.map(|share| format!("validation {}", percent(share))));
    let speed = moment.pictures_per_second;
    parts.extend(speed.map(|speed| format!("{} pictures/s", thousands(speed as u64))));
    parts.extend(
        moment
            .seconds_left
            .map(|left| format!("{} left", seconds(left))),
    );
    parts.join(", ")
}
