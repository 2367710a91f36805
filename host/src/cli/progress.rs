//! Showing events to a person: a bar for every unit under way where there is a terminal, plain lines
//! elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::board::Board;
use super::number::{percent, seconds, small_percent, thousands};
use super::shown;
use crate::event::{Event, Observer};

/// The least time between two plain lines about the same unit.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// Pictures that are named when some are left out.
const NAMED: usize = 8;
/// Updates over which the shown loss and accuracy are averaged.
const AVERAGED: usize = 50;

/// A unit that is being trained.
struct Training {
    unit: String,
    epochs: u32,
    updates: u64,
    batch: usize,
    begun: Instant,
    last_line: Option<Instant>,
    recent: VecDeque<(f64, f64)>,
    validation: Option<f64>,
    /// The share of each plugin, by its role and name.
    shares: BTreeMap<(String, String), f64>,
    bar: Option<ProgressBar>,
}

/// Writes progress to standard error.
pub(super) struct Progress {
    /// The units under way, in the order in which they began.
    training: Vec<Training>,
    /// Whoever else writes to the terminal.
    board: Board,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.training.iter_mut().for_each(Training::clear);
    }
}

impl Training {
    /// Takes the bar away.
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The mean of the recent losses and accuracies.
    fn recent(&self) -> (f64, f64) {
        let count = self.recent.len().max(1) as f64;
        let (loss, accuracy) = self
            .recent
            .iter()
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (loss / count, accuracy / count)
    }

    /// What an update is shown as.
    fn describe(&self, epoch: u32, update: u64, rate: f64, pictures_per_second: f64) -> String {
        let (loss, accuracy) = self.recent();
        let left = (self.updates - update - 1) as f64 * self.batch as f64 / pictures_per_second;
        let validation = self.validation.map_or_else(String::new, |accuracy| {
            format!("  validation {}", percent(accuracy))
        });
        let plugins = if self.shares.is_empty() {
            String::new()
        } else {
            format!("  plugins {}", small_percent(self.shares.values().sum()))
        };
        format!(
            "epoch {}/{}  loss {loss:.4}  accuracy {}{validation}  rate {rate:.2e}  {} pictures/s{plugins}  {} left",
            epoch + 1,
            self.epochs,
            percent(accuracy),
            thousands(pictures_per_second as u64),
            seconds(left),
        )
    }
}

impl Progress {
    /// Nothing is shown yet; lines go beside the bars of the board.
    pub(super) fn new(board: Board) -> Self {
        Self {
            training: Vec::new(),
            board,
        }
    }

    /// A line beside the bars.
    fn line(&self, text: &str) -> io::Result<()> {
        self.board.line(text)
    }

    /// The unit with this name, if it is under way.
    fn training(&mut self, unit: &str) -> Option<&mut Training> {
        self.training
            .iter_mut()
            .find(|training| training.unit == unit)
    }

    /// A unit is under way no more.
    pub(super) fn end(&mut self, unit: &str) {
        if let Some(training) = self.training(unit) {
            training.clear();
        }
        self.training.retain(|training| training.unit != unit);
    }

    /// A line that begins with the unit.
    fn unit_line(&self, unit: &str, text: &str) -> io::Result<()> {
        self.board.unit_line(unit, text)
    }

    /// Begins a unit.
    fn start(&mut self, unit: &str, epochs: u32, updates: u64, batch: usize) {
        self.end(unit);
        let bar = (epochs > 0).then(|| {
            let style = ProgressStyle::with_template("{prefix:>12}  {bar:20} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ");
            self.board.bar(updates, |bar| {
                bar.set_style(style);
                bar.set_prefix(unit.to_owned());
            })
        });
        self.training.push(Training {
            unit: unit.to_owned(),
            epochs,
            updates,
            batch,
            begun: Instant::now(),
            last_line: None,
            recent: VecDeque::new(),
            validation: None,
            shares: BTreeMap::new(),
            bar: bar.flatten(),
        });
    }

    /// Shows an update: on the bar at once, as a line from time to time.
    fn update(
        &mut self,
        unit: &str,
        epoch: u32,
        update: u64,
        rate: f64,
        pictures_per_second: f64,
    ) -> io::Result<()> {
        let Some(training) = self.training(unit) else {
            return Ok(());
        };
        let text = training.describe(epoch, update, rate, pictures_per_second);
        if let Some(bar) = &training.bar {
            bar.set_position(update + 1);
            bar.set_message(text);
            return Ok(());
        }
        let last = training.last_line.unwrap_or(training.begun);
        if last.elapsed() < BETWEEN_LINES {
            return Ok(());
        }
        training.last_line = Some(Instant::now());
        self.unit_line(unit, &text)
    }
}

impl Observer for Progress {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::RunStarted {
                experiment,
                folder,
                device,
                reason,
                units,
            } => {
                self.line(&format!("run of {experiment} in {folder}"))?;
                self.line(&format!("device: {device} ({reason})"))?;
                if units.is_empty() {
                    self.line("every unit is finished")?;
                }
                Ok(())
            }
            Event::Note { text } => self.line(&format!("note: {text}")),
            Event::PicturesLeftOut {
                train,
                validation,
                pictures,
            } => {
                let style = anstyle::AnsiColor::Yellow.on_default().bold();
                self.line(&format!(
                    "{style}warning{style:#}: {train} training and {validation} validation pictures cannot be decoded and are left out:"
                ))?;
                for picture in pictures.iter().take(NAMED) {
                    self.line(&format!("  {}", shown(picture)))?;
                }
                if pictures.len() > NAMED {
                    let more = thousands((pictures.len() - NAMED) as u64);
                    self.line(&format!("  and {more} more (`run.json` names all)"))?;
                }
                Ok(())
            }
            Event::RolledBack(roll_back) => {
                if let Some(training) = self.training(&roll_back.unit) {
                    training.recent.clear();
                }
                let style = anstyle::AnsiColor::Yellow.on_default().bold();
                let text = format!("{style}warning{style:#}: {roll_back}");
                self.unit_line(&roll_back.unit, &text)
            }
            Event::ProcessStarted {
                unit,
                process,
                device,
                threads,
            } => {
                let plural = if *threads == 1 { "" } else { "s" };
                let text = format!("process {process} on {device}, {threads} thread{plural}");
                self.unit_line(unit, &text)
            }
            Event::UnitSkipped { unit } => self.unit_line(unit, "finished before"),
            Event::UnitStarted {
                unit,
                epochs,
                updates,
                batch,
                trained_parameters,
            } => {
                if *epochs > 0 {
                    let text = format!(
                        "{epochs} epochs, {} updates of {batch} pictures, {} parameters trained",
                        thousands(*updates),
                        thousands(*trained_parameters)
                    );
                    self.unit_line(unit, &text)?;
                }
                self.start(unit, *epochs, *updates, *batch);
                Ok(())
            }
            Event::UnitNote { unit, note } => self.unit_line(unit, note),
            Event::Resumed {
                unit,
                epoch,
                update,
                checkpoint,
                damaged,
            } => {
                for reason in damaged {
                    let style = anstyle::AnsiColor::Yellow.on_default().bold();
                    self.unit_line(unit, &format!("{style}warning{style:#}: {reason}"))?;
                }
                let text = format!(
                    "goes on at epoch {}, update {} from {checkpoint}",
                    epoch + 1,
                    thousands(*update)
                );
                self.unit_line(unit, &text)
            }
            Event::Update {
                unit,
                epoch,
                update,
                loss,
                accuracy,
                rate,
                pictures_per_second,
                ..
            } => {
                if let Some(training) = self.training(unit) {
                    if training.recent.len() == AVERAGED {
                        training.recent.pop_front();
                    }
                    training.recent.push_back((*loss, *accuracy));
                }
                self.update(unit, *epoch, *update, *rate, *pictures_per_second)
            }
            Event::Evaluated { unit, accuracy, .. } => {
                if let Some(training) = self.training(unit) {
                    training.validation = Some(*accuracy);
                }
                Ok(())
            }
            Event::PluginMessage {
                unit,
                plugin,
                level,
                message,
            } => self.unit_line(unit, &format!("{level} of plugin {plugin}: {message}")),
            Event::PluginReplaced(replacement) => {
                let style = anstyle::AnsiColor::Yellow.on_default().bold();
                let text = format!("{style}warning{style:#}: {replacement}");
                self.unit_line(&replacement.unit, &text)
            }
            Event::UnitFinished {
                unit,
                loss,
                accuracy,
                seconds: took,
                ..
            } => {
                self.end(unit);
                let text = format!(
                    "validation accuracy {}, loss {loss:.4}, took {}",
                    percent(*accuracy),
                    seconds(*took)
                );
                self.unit_line(unit, &text)
            }
            Event::PluginCost {
                unit,
                role,
                plugin,
                share,
                ..
            } => {
                if let Some(training) = self.training(unit) {
                    let which = (role.clone(), plugin.clone());
                    training.shares.insert(which, *share);
                }
                Ok(())
            }
            Event::FailureRecorded { unit, command, .. } => {
                self.unit_line(unit, &format!("reproduce with: {command}"))
            }
            Event::RecordingStopped { unit, file, calls } => {
                let text = format!(
                    "the room for recorded calls is used up: {file} has the first {} (more with `--record-plugins=MIB`)",
                    thousands(*calls)
                );
                self.unit_line(unit, &text)
            }
            Event::DeviceWork { .. } | Event::PluginMetric { .. } | Event::RunFinished { .. } => {
                Ok(())
            }
        }
    }
}
