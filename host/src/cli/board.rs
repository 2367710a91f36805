//! Where the units of this command are, kept for the thread that answers signals, and its way to the
//! terminal past the progress bars.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar};
use serde_json::json;

use super::number::{percent, seconds, thousands};
use crate::event::Event;
use crate::run::Moment;

/// Who reads what a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A person.
    Person,
    /// A program, in lines of JSON.
    Program,
    /// The process that shares out the units of a run, and tells its own readers.
    Parent,
}

/// What the threads of a command share.
#[derive(Clone, Debug)]
pub(super) struct Board {
    reader: Reader,
    begun: Instant,
    state: Arc<Mutex<State>>,
    /// What is drawn on the terminal, if standard error is one.
    bars: MultiProgress,
}

#[derive(Debug, Default)]
struct State {
    /// The units that are under way, and where they are.
    under_way: Vec<(String, Moment)>,
    /// Units that this command has to do, and those that it has done.
    units: Option<usize>,
    done: usize,
}

impl Board {
    /// A board with nothing on it.
    pub(super) fn new(reader: Reader) -> Self {
        Self {
            reader,
            begun: Instant::now(),
            state: Arc::default(),
            bars: MultiProgress::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who reads along.
    pub(super) const fn reader(&self) -> Reader {
        self.reader
    }

    /// A bar below those that are drawn; none where there is no terminal to draw on. `prepare` is
    /// called before it appears.
    pub(super) fn bar(
        &self,
        length: u64,
        prepare: impl FnOnce(&ProgressBar),
    ) -> Option<ProgressBar> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let bar = self.bars.add(ProgressBar::new(length));
        prepare(&bar);
        Some(bar)
    }

    /// Writes a line to standard error, beside the bars.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        self.bars
            .suspend(|| writeln!(anstream::stderr().lock(), "{text}"))
    }

    /// Writes a line that begins with a unit.
    pub(super) fn unit_line(&self, unit: &str, text: &str) -> io::Result<()> {
        let bold = anstyle::Style::new().bold();
        self.line(&format!("{bold}{unit:>12}{bold:#}  {text}"))
    }

    /// Writes a line that a person should see, and for programs an event.
    pub(super) fn announce(&self, text: &str, event: &serde_json::Value) {
        if self.reader == Reader::Parent {
            return;
        }
        // A closed stream has nobody left to tell.
        let _ = self.line(text);
        if self.reader == Reader::Program {
            let _ = writeln!(anstream::stdout().lock(), "{event}");
        }
    }

    /// Writes where every unit is that is under way: for a person beside the bars, or for programs.
    pub(super) fn tell(&self) {
        let running = self.begun.elapsed().as_secs_f64();
        let lines = match self.reader {
            Reader::Person => self.state().as_text(running),
            Reader::Program => self.state().as_json(running),
            Reader::Parent => Vec::new(),
        };
        for line in lines {
            // As above.
            let _ = match self.reader {
                Reader::Person => self.line(&line),
                Reader::Program | Reader::Parent => writeln!(anstream::stdout().lock(), "{line}"),
            };
        }
    }

    /// A unit is under way no more.
    pub(super) fn forget(&self, unit: &str) {
        self.state().under_way.retain(|(name, _)| name != unit);
    }

    /// Takes over what an event says.
    pub(super) fn hear(&self, event: &Event) {
        self.state().hear(event);
    }
}

impl State {
    /// Where a unit is, if it is under way.
    fn moment(&mut self, unit: &str) -> Option<&mut Moment> {
        let mut units = self.under_way.iter_mut();
        units
            .find(|(name, _)| name == unit)
            .map(|(_, moment)| moment)
    }

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
                self.under_way.retain(|(name, _)| name != unit);
                self.under_way.push((unit.clone(), moment));
            }
            Event::Update {
                unit,
                epoch,
                update,
                loss,
                pictures_per_second,
                ..
            } => {
                if let Some(moment) = self.moment(unit) {
                    moment.updated(*epoch, *update, *loss, *pictures_per_second);
                }
            }
            Event::Evaluated { unit, accuracy, .. } => {
                if let Some(moment) = self.moment(unit) {
                    moment.accuracy = Some(*accuracy);
                }
            }
            Event::UnitFinished { unit, .. } => {
                self.under_way.retain(|(name, _)| name != unit);
                self.done += 1;
            }
            _ => {}
        }
    }

    /// An object for every unit under way, each on a line among those of the events.
    fn as_json(&self, running: f64) -> Vec<String> {
        let status = |unit: Option<&(String, Moment)>| {
            let mut event = json!({
                "event": "status",
                "unit": unit.map(|(name, _)| name),
                "units": self.units,
                "units_done": self.done,
                "seconds": running,
            });
            if let Some((_, moment)) = unit
                && let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(moment)
                && let Some(event) = event.as_object_mut()
            {
                event.extend(fields);
            }
            event.to_string()
        };
        if self.under_way.is_empty() {
            return vec![status(None)];
        }
        self.under_way
            .iter()
            .map(|unit| status(Some(unit)))
            .collect()
    }

    /// A line for every unit under way; the last one says how the run goes on.
    fn as_text(&self, running: f64) -> Vec<String> {
        let running = seconds(running);
        let units = match self.units {
            Some(units) => format!("{} of {units} units done, running for {running}", self.done),
            None => {
                format!("reading the experiment, its plugins, and its pictures for {running}")
            }
        };
        let mut lines: Vec<String> = self
            .under_way
            .iter()
            .map(|(unit, moment)| format!("{unit}: {}", place(moment)))
            .collect();
        match lines.last_mut() {
            Some(last) => {
                last.push_str("; ");
                last.push_str(&units);
            }
            None => lines.push(units),
        }
        lines
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
