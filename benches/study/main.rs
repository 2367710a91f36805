//! The study: end-to-end training, incubation as published, imitation, and the recipe for small
//! scales, at the same compute.
//!
//! ```text
//! cargo bench --bench study -- run --out target/study --colour PICTURES   # goes on where it stopped
//! cargo bench --bench study -- report --out target/study                  # tables, raw results, curves
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the study is a command"
)]

mod cell;
mod chart;
mod design;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use design::{Cell, Selection};

#[derive(Parser)]
#[command(about = "Compares ways to train at the same compute")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Given by cargo.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Trains every cell that is not finished.
    Run {
        /// Where the run folders are.
        #[arg(long)]
        out: PathBuf,
        /// A folder of colour pictures (train/CLASS/…, val/CLASS/…); without it those cells are left
        /// out, and that is said.
        #[arg(long)]
        colour: Option<PathBuf>,
        /// Settings that are trained side by side, on one thread each.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        #[command(flatten)]
        selection: Selection,
    },
    /// Collects what is finished.
    Report {
        /// Where the run folders are.
        #[arg(long)]
        out: PathBuf,
        /// Where the tables, the raw results, and the curves go.
        #[arg(long, default_value = "benches/results")]
        into: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run {
            out,
            colour,
            jobs,
            selection,
        } => run(&out, colour, jobs, &selection),
        Command::Report { out, into } => report::write(&out, &into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Trains cells in the order of the design, `jobs` settings at a time: the cells of one share a meta
/// model.
fn run(
    out: &std::path::Path,
    colour: Option<PathBuf>,
    jobs: usize,
    selection: &Selection,
) -> Result<()> {
    ensure!(jobs > 0, "--jobs has to be at least 1");
    let colour = colour
        .map(|path| {
            path.canonicalize()
                .with_context(|| format!("no folder {}", path.display()))
        })
        .transpose()?;
    if colour.is_none() {
        eprintln!("no --colour folder: the cells with colour pictures are left out");
    }
    let groups: Vec<Vec<Cell>> = design::cells()
        .into_iter()
        .map(|cells| {
            let mut cells = cells;
            cells.retain(|cell| {
                selection.takes(cell) && (colour.is_some() || !cell.data.is_colour())
            });
            cells
        })
        .collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for cell in group {
                        match cell::train(cell, out, colour.as_deref()) {
                            Ok(said) => eprintln!("{}: {said}", cell.name()),
                            Err(error) => {
                                eprintln!("{}: {error:#}", cell.name());
                                failed.lock().expect("nobody panics").push(cell.name());
                            }
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics");
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
