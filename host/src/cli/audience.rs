//! Passing on what happens in a run, to whoever reads along.

use std::io::{self, ErrorKind, Write};

use super::board::{Board, Reader};
use super::progress::Progress;
use crate::event::{Event, Observer};
use crate::stop::Stop;

/// Whoever reads along, and the board.
pub(super) struct Audience<'a> {
    board: &'a Board,
    /// What a person sees.
    progress: Option<Progress>,
    /// What is asked to stop when nobody is left to work for.
    stop: Stop,
}

impl<'a> Audience<'a> {
    /// The readers of the board. The work of a process whose parent is gone is asked to stop.
    pub(super) fn new(board: &'a Board, stop: Stop) -> Self {
        let progress = (board.reader() == Reader::Person).then(|| Progress::new(board.clone()));
        Self {
            board,
            progress,
            stop,
        }
    }

    /// Passes an event of another process on, which wrote it as this line of JSON.
    pub(super) fn pass_on(&mut self, event: &Event, line: &str) -> io::Result<()> {
        self.board.hear(event);
        match &mut self.progress {
            Some(progress) => progress.observe(event),
            None => self.write(line),
        }
    }

    /// A unit is under way no more, whatever came of it.
    pub(super) fn forget(&mut self, unit: &str) {
        self.board.forget(unit);
        if let Some(progress) = &mut self.progress {
            progress.end(unit);
        }
    }

    /// Writes a line of JSON to standard output.
    fn write(&self, line: &str) -> io::Result<()> {
        match writeln!(anstream::stdout().lock(), "{line}") {
            Err(error)
                if error.kind() == ErrorKind::BrokenPipe
                    && self.board.reader() == Reader::Parent =>
            {
                self.stop.ask();
                Ok(())
            }
            other => other,
        }
    }
}

impl Observer for Audience<'_> {
    fn observe(&mut self, event: &Event) -> io::Result<()> {
        if self.progress.is_some() {
            return self.pass_on(event, "");
        }
        let line = serde_json::to_string(event)?;
        self.pass_on(event, &line)
    }
}
