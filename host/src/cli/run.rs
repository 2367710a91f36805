//! `incubate run`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::arguments::RunOptions;
use super::audience::Audience;
use super::board::{Board, Reader};
use super::jobs::Jobs;
use super::number::{loss, percent, seconds, short, thousands};
use super::signals::Listening;
use super::{orders, print, print_json, sources, table};
use crate::phase::Phase;
use crate::run::Unit;
use crate::training::{Changed, FIRST, Prepared, Report, Runner, Spent};
use crate::{device, experiment};

/// Trains the units that were asked for and prints the table.
pub(super) fn run(options: &RunOptions) -> Result<()> {
    let board = Board::new(if options.orders_from_stdin {
        Reader::Parent
    } else if options.json {
        Reader::Program
    } else {
        Reader::Person
    });
    let listening = Listening::start(&board)?;
    let (mut prepared, out) = if options.orders_from_stdin {
        orders::prepared(options.out.as_deref(), &listening)?
    } else {
        prepared(options)?
    };
    prepared.record_calls = options.record_plugins.map(|mib| u64::from(mib) << 20);
    let device = device::choose(options.device.device, options.device.allow_software_gpu)?;
    let changed = if options.changed {
        Changed::Accepted
    } else {
        Changed::Refused
    };
    let runner = Runner::open(prepared, &out, device, changed)?.stopping_at(listening.stop());
    let units = if options.units.is_empty() {
        runner.units()
    } else {
        options
            .units
            .iter()
            .map(|name| runner.unit(name))
            .collect::<Result<_, _>>()?
    };
    listening.work_begins();
    let begun = Instant::now();
    let mut audience = Audience::new(&board, listening.stop());
    if options.jobs > 1 {
        Jobs {
            runner: &runner,
            out: &out,
            options,
            board: &board,
            listening: &listening,
        }
        .run(&units, &mut audience)?;
    } else {
        runner
            .run(&units, &mut audience)
            .map_err(|error| listening.explain(error))?;
    }
    drop(audience);
    match board.reader() {
        Reader::Person => {
            let clock = (options.jobs > 1).then(|| begun.elapsed());
            show(&runner.report()?, &out, clock)
        }
        Reader::Program => {
            print_json(&serde_json::json!({ "event": "report", "report": runner.report()? }))
        }
        Reader::Parent => Ok(()),
    }
}

/// The experiment that is asked for, with its plugins, and the run folder.
fn prepared(options: &RunOptions) -> Result<(Prepared, PathBuf)> {
    let reference = sources::experiment_of(&options.experiment, options.out.as_deref());
    let resolved = experiment::load(reference.as_deref(), &options.experiment.assignments)?;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| Path::new("runs").join(&resolved.experiment.name));
    let name = options.experiment.experiment.as_deref();
    Ok((sources::prepared(resolved, name, &options.sources)?, out))
}

/// Prints the table of a run, of which some units shared the machine for so long.
fn show(report: &Report, out: &Path, clock: Option<Duration>) -> Result<()> {
    if report.rows.is_empty() {
        return Ok(());
    }
    // Among five of ten classes a picture's own is too often to say much.
    let top5 = report.classes > 2 * FIRST;
    let mut heading = vec!["network", "accuracy"];
    heading.extend(top5.then_some("top-5"));
    heading.extend(["loss", "parameters", "trained", "epochs", "MACs", "time"]);
    let mut rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| {
            let noted = report.fallbacks.iter().any(|one| one.unit == row.unit)
                || report.roll_backs.iter().any(|one| one.unit == row.unit);
            let mut cells = vec![
                format!("{}{}", row.title, if noted { " *" } else { "" }),
                percent(row.accuracy),
            ];
            cells.extend(top5.then(|| row.top5.map_or_else(String::new, percent)));
            cells.extend([
                loss(row.loss),
                thousands(row.parameters),
                thousands(row.trained_parameters),
                row.epochs.to_string(),
                short(row.macs),
                seconds(row.seconds),
            ]);
            cells
        })
        .collect();
    let mut total = |title: &str, spent: Option<Spent>| {
        if let Some(spent) = spent {
            let mut row = vec![title.to_owned()];
            row.resize(heading.len() - 2, String::new());
            row.extend([short(spent.macs), seconds(spent.seconds)]);
            rows.push(row);
        }
    };
    total("incubation, in sequence", report.incubation);
    total("incubation, in parallel", report.longest_chain);
    print("")?;
    print(&table::table(&heading, &rows))?;
    print("")?;
    print(
        "MACs: multiply-accumulate operations of training, forward and backward; frozen parts count",
    )?;
    print("for what they cost. In parallel: the modules at the same time, the slowest counts.")?;
    if let Some(clock) = clock {
        print(&format!(
            "Units shared this machine, so each took longer than alone; all that was done now took {}.",
            seconds(clock.as_secs_f64())
        ))?;
    }
    print(
        "Loss: plain cross-entropy over the validation pictures, whatever was trained. In a hybrid, [n]",
    )?;
    print("is the trained module's depth.")?;
    for replacement in &report.fallbacks {
        print(&format!("* {}: {replacement}", replacement.unit))?;
    }
    for roll_back in &report.roll_backs {
        print(&format!("* {}: {roll_back}", roll_back.unit))?;
    }
    if let Some(sentence) = report.without_pictures() {
        print(&sentence)?;
    }
    for change in &report.changes {
        let units: Vec<&str> = change.finished.keys().map(String::as_str).collect();
        let when = if units.is_empty() {
            "before any unit was finished".to_owned()
        } else {
            format!("when these units were finished: {}", units.join(", "))
        };
        print(&format!("The experiment changed {when}."))?;
        for difference in &change.differences {
            print(&format!("  {difference}"))?;
        }
    }
    if let Some(verdict) = verdict(report) {
        print(&verdict)?;
    }
    print(&format!("Record and weights: {}", out.display()))
}

/// Who is ahead, in one sentence.
fn verdict(report: &Report) -> Option<String> {
    let method = report.accuracy(Unit::Train(Phase::FineTune))?;
    let baseline = report.accuracy(Unit::Train(Phase::Baseline))?;
    let ratio = report.incubation?.macs as f64 / report.baseline?.macs as f64;
    let points = (method - baseline) * 100.0;
    let who = if points.abs() < 0.05 {
        "Deep Incubation and end-to-end training are level".to_owned()
    } else {
        let (ahead, behind) = if points > 0.0 {
            ("Deep Incubation", "end-to-end training")
        } else {
            ("End-to-end training", "Deep Incubation")
        };
        format!("{ahead} is {:.1} points ahead of {behind}", points.abs())
    };
    let caveat = match report.fallbacks.len() {
        0 => String::new(),
        1 => {
            " One plugin failed and was replaced (*): this is not the experiment as it is written."
                .to_owned()
        }
        count => format!(
            " Plugins failed and were replaced {count} times (*): this is not the experiment as it is written."
        ),
    };
    Some(format!(
        "{who}; incubation spent {ratio:.2} times the compute of end-to-end training.{caveat}"
    ))
}
