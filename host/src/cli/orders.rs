//! What the process that shares the units of a run out tells the process of one unit, over its standard
//! input: the experiment in the first line, and to stop in each further one.
//!
//! The experiment comes this way and from no file, since a person may change files while a run goes on.
//! The end of the input says that the other process is gone.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::signals::Listening;
use super::sources;
use crate::experiment::Experiment;
use crate::run::{RunError, RunFolder};
use crate::training::Prepared;

/// Hands the experiment over.
pub(super) fn hand_over(experiment: &Experiment, input: &mut impl Write) -> io::Result<()> {
    let text = toml::to_string(experiment).map_err(io::Error::other)?;
    let mut line = serde_json::to_string(&text)?;
    line.push('\n');
    input.write_all(line.as_bytes())?;
    input.flush()
}

/// Asks to stop where nothing is lost. It may be asked again.
pub(super) fn ask_to_stop(input: &mut impl Write) -> io::Result<()> {
    input.write_all(b"stop\n")?;
    input.flush()
}

/// What was handed over to this process for a run in `out`. From here on, requests to stop are heard.
pub(super) fn prepared(out: Option<&Path>, listening: &Listening) -> Result<(Prepared, PathBuf)> {
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    input.read_line(&mut line)?;
    let out = out.context("`--orders-from-stdin` needs the run folder, `--out`")?;
    let text: String = serde_json::from_str(&line).context(
        "standard input does not begin with an experiment as `incubate run --jobs` writes it; \
         `--orders-from-stdin` is for that alone",
    )?;
    listening.hear(input)?;
    let experiment: Experiment = toml::from_str(&text)?;
    match RunFolder::open(out)? {
        Some((_, _, record)) => Ok((sources::recorded(experiment, &record)?, out.to_path_buf())),
        None => bail!(RunError::NoRun {
            path: out.to_path_buf(),
        }),
    }
}
