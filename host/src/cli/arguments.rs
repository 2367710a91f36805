//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::builder::{Language, parse_kind, parse_language};
use crate::device::DeviceChoice;
use crate::plugin::Kind;

/// Train large neural networks by divide and conquer, with strategies as sandboxed plugins.
#[derive(Debug, Parser)]
#[command(name = "incubate", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The end of `--help`.
const EXIT_STATUS: &str = "Exit status: 0 done, 1 unexpected, 2 usage or experiment, 3 data, 4 run folder, \
10 plugin refused, 11 plugin failed, 12 plugin over a limit, 20 loss not finite, 30 device.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Train: meta model, modules, assembly, fine-tuning, and the end-to-end baseline.
    Run(RunOptions),
    /// Show the units of a run, their cost, and every setting in force, without training.
    Plan(PlanOptions),
    /// Score finished units of a run on its validation pictures.
    Eval(EvalOptions),
    /// List, inspect, and build plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List the devices that can train.
    Devices,
    /// Say what works on this machine, and how to install what is missing.
    Doctor {
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Options of `plugin new`.
#[derive(Debug, Args)]
pub(super) struct NewOptions {
    /// The plugin's name: lower case, words joined by `-`.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// What it decides: partition-scheme, lr-schedule, or loss-hook.
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    pub(super) kind: Kind,
    /// What it is written in: rust, c, javascript, python, or zig.
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = parse_language)]
    pub(super) language: Language,
    /// The folder to make. Default: NAME.
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
}

/// Which experiment.
#[derive(Debug, Args)]
pub(super) struct ExperimentOptions {
    /// A TOML file, or a built-in experiment: digits (the default), fashion-mnist.
    #[arg(value_name = "EXPERIMENT")]
    pub(super) experiment: Option<String>,
    /// Put one setting above the experiment's; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) assignments: Vec<String>,
}

/// Which device.
#[derive(Debug, Args)]
pub(super) struct DeviceOptions {
    /// The device that trains: auto, cpu, wgpu, or wgpu:N with N from `incubate devices`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// Let `wgpu` take a graphics driver that computes on the CPU, which is slow; for tests.
    #[arg(long)]
    pub(super) allow_software_gpu: bool,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(super) struct RunOptions {
    #[command(flatten)]
    pub(super) experiment: ExperimentOptions,
    #[command(flatten)]
    pub(super) device: DeviceOptions,
    /// The run folder; a run that is there goes on. Default: runs/NAME.
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
    /// Do only this unit (meta, module.0, …, assemble, fine-tune, baseline); may be repeated.
    #[arg(long = "unit", value_name = "UNIT")]
    pub(super) units: Vec<String>,
    /// Write every event as a line of JSON to standard output.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanOptions {
    #[command(flatten)]
    pub(super) experiment: ExperimentOptions,
    #[command(flatten)]
    pub(super) device: DeviceOptions,
    /// Write the plan as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `eval`.
#[derive(Debug, Args)]
pub(super) struct EvalOptions {
    /// The run folder.
    #[arg(value_name = "RUN")]
    pub(super) run: PathBuf,
    #[command(flatten)]
    pub(super) device: DeviceOptions,
    /// Score only this unit; may be repeated. Default: every finished unit.
    #[arg(long = "unit", value_name = "UNIT")]
    pub(super) units: Vec<String>,
    /// Write one line of JSON for every unit.
    #[arg(long)]
    pub(super) json: bool,
}

/// Commands about plugins.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// List the plugins that are compiled into this binary.
    List {
        /// Write one line of JSON for every plugin.
        #[arg(long)]
        json: bool,
    },
    /// Show what a plugin is, what it needs, and what can be set.
    Inspect {
        /// A component, or the name of a built-in plugin.
        #[arg(value_name = "FILE")]
        plugin: String,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Build plugins from their source.
    Build {
        /// The folder of a plugin, or of a cargo workspace of plugins. Default: this folder if it
        /// has a plugin.toml, else `plugins`, else this folder if it has a Cargo.toml.
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Compare with the components that are there instead of replacing them.
        #[arg(long)]
        check: bool,
        /// Build again whenever a source file changes, until Ctrl-C.
        #[arg(long, conflicts_with = "check")]
        watch: bool,
    },
    /// Begin a plugin: a folder with an example that builds.
    New(NewOptions),
}
