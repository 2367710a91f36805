//! The command line: the only part that prints. Data goes to standard output, everything else to
//! standard error.

mod add;
mod arguments;
mod audience;
mod bench;
mod board;
mod build;
mod check;
mod child;
mod data;
mod devices;
mod doctor;
mod eval;
mod exit;
mod export;
mod failure;
mod import;
mod init;
mod jobs;
mod list;
mod new;
mod number;
mod orders;
mod plan;
mod plugin;
mod progress;
mod pull;
mod push;
mod rates;
mod remove;
mod replay;
mod run;
mod sandbox;
mod signals;
mod sources;
mod status;
mod table;
mod unit;
mod update;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;

use self::arguments::{Arguments, Command};
use crate::plugin::plain;

/// Reads the arguments, does what they ask, and answers the exit status (see `exit`).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors. A closed pipe has nobody left to tell.
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    let _ = error.print();
                    return ExitCode::SUCCESS;
                }
                _ => return failure::usage(&error),
            }
        }
    };
    // The kernels' pool has this thread in it: work for the pool begins at once, and on one core no other
    // thread is waited for. Whoever embeds the library may have built a pool before, and keeps it.
    let _ = rayon::ThreadPoolBuilder::new()
        .use_current_thread()
        .build_global();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failure::show(&error),
    }
}

/// Runs one command.
fn dispatch(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Status(options) => status::status(&options),
        Command::Plan(options) => plan::plan(&options),
        Command::Eval(options) => eval::eval(&options),
        Command::Init(options) => init::init(&options),
        Command::Import(options) => import::import(&options),
        Command::Export(options) => export::export(&options),
        Command::Inspect(options) => import::inspect(&options),
        Command::Unit(command) => unit::unit(&command),
        Command::Data(command) => data::data(&command),
        Command::Plugin(command) => plugin::plugin(&command),
        Command::Devices => devices::devices(),
        Command::Doctor { json } => doctor::doctor(json),
    }
}

/// Whether the reader of our output went away, as `incubate plan | head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a line of data.
fn print(line: &str) -> Result<()> {
    Ok(writeln!(anstream::stdout().lock(), "{line}")?)
}

/// `text` without anything that a terminal would carry out instead of showing it; lines stay lines. For
/// words of files that somebody else may have made: names of pictures, classes, tensors, and what an error
/// says about them.
fn shown(text: &str) -> String {
    let line = |line| plain(line, usize::MAX);
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// Writes something that a person should know to standard error.
fn warn(text: &str) {
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    let text = shown(text);
    // Standard error may be closed; the command goes on.
    let _ = writeln!(anstream::stderr().lock(), "{style}warning{style:#}: {text}");
}

/// Writes a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&serde_json::to_string(value)?)
}
