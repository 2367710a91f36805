//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::data::parse_phase;
use super::sources::{AccessOptions, LockOptions};
use crate::builder::{Language, parse_kind, parse_language};
use crate::device::DeviceChoice;
use crate::phase::Phase;
use crate::plugin::Kind;
use crate::training::ExportLayout;

/// Train large neural networks by divide and conquer, with strategies as sandboxed plugins.
#[derive(Debug, Parser)]
#[command(name = "incubate", version, max_term_width = 100, after_help = super::exit::summary())]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Train: meta model, modules, assembly, fine-tuning, and the end-to-end baseline.
    Run(RunOptions),
    /// Say where a run is: what is finished, what is under way and how long it will take. It may be
    /// asked while the run goes on.
    Status(StatusOptions),
    /// Show the units of a run, their cost, and every setting in force, without training.
    Plan(PlanOptions),
    /// Score finished units of a run on its validation pictures.
    Eval(EvalOptions),
    /// Write an experiment that is part of this program into a file, to be changed.
    Init(InitOptions),
    /// Make a finished unit of a run out of a checkpoint: timm's, DeiT's, the reference
    /// implementation's, or of this program; in safetensors or as `torch.save` wrote it.
    Import(ImportOptions),
    /// Write the weights of a finished unit as safetensors that timm loads.
    Export(ExportOptions),
    /// Show what a checkpoint holds, without running anything in it.
    Inspect(InspectOptions),
    /// Share meta models and trained modules with others.
    #[command(subcommand)]
    Unit(UnitCommand),
    /// Look at the pictures of an experiment, and at what training makes of them.
    #[command(subcommand)]
    Data(DataCommand),
    /// List, inspect, build, and exchange plugins.
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
    /// A TOML file, or a built-in experiment (`incubate init --list`). Default: the experiment of the
    /// run folder that `--out` names, or else digits.
    #[arg(value_name = "EXPERIMENT")]
    pub(super) experiment: Option<String>,
    /// Put one setting above the experiment's; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) assignments: Vec<String>,
}

/// Which device.
#[derive(Debug, Args)]
pub(super) struct DeviceOptions {
    /// The device that trains: auto, cpu, cuda, wgpu, or cuda:N or wgpu:N as `incubate devices` lists them.
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
    #[command(flatten)]
    pub(super) sources: super::sources::SourceOptions,
    /// The run folder; a run that is there goes on. Default: runs/NAME.
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
    /// Go on with a run although its experiment, plugins, or pictures changed: finished units stay as
    /// they are, and the others are trained with what is asked for now.
    #[arg(long)]
    pub(super) changed: bool,
    /// Do only this unit (meta, module.0, …, assemble, fine-tune, baseline); may be repeated.
    #[arg(long = "unit", value_name = "UNIT")]
    pub(super) units: Vec<String>,
    /// Do up to N units at the same time, each in a process of its own: modules beside each other, and the
    /// baseline beside all of them. They share the CPU's cores out, or the GPUs of one kind if there
    /// are several, and each needs its own memory. On the CPU the weights are the same bits. It pays
    /// where a unit alone does not keep the machine busy.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: u16,
    /// Do one unit for the process that started this one with `--jobs`, and hear it on standard input.
    #[arg(long, hide = true, requires = "out", conflicts_with = "jobs")]
    pub(super) orders_from_stdin: bool,
    /// Record every call of a plugin for `incubate plugin replay`, up to MIB mebibytes a unit.
    #[arg(long, value_name = "MIB", num_args = 0..=1, require_equals = true, default_missing_value = "64")]
    pub(super) record_plugins: Option<u32>,
    /// Write every event as a line of JSON to standard output.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// The run folder.
    #[arg(value_name = "RUN")]
    pub(super) run: PathBuf,
    /// Write one JSON object.
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
    #[command(flatten)]
    pub(super) sources: super::sources::SourceOptions,
    /// Show the learning rates of every unit in place of cost and settings.
    #[arg(long)]
    pub(super) rates: bool,
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
    /// Score every class, too: the worst first, with the class that it is most often taken for.
    #[arg(long)]
    pub(super) per_class: bool,
    /// Draw which classes one unit takes for which, as a PNG file.
    #[arg(long, value_name = "FILE.png")]
    pub(super) confusion: Option<PathBuf>,
    /// Write one line of JSON for every unit.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `init`.
#[derive(Debug, Args)]
pub(super) struct InitOptions {
    /// The experiment.
    #[arg(value_name = "NAME", required_unless_present = "list")]
    pub(super) name: Option<String>,
    /// The file. Default: NAME.toml.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// List the experiments.
    #[arg(long, conflicts_with_all = ["name", "out"])]
    pub(super) list: bool,
}

/// Commands about pictures.
#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Write a PNG file with training pictures and what becomes of them in each epoch.
    Show(ShowOptions),
    /// Show counts, classes, and normalisation of the data set.
    Inspect {
        #[command(flatten)]
        experiment: ExperimentOptions,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Options of `data show`.
#[derive(Debug, Args)]
pub(super) struct ShowOptions {
    #[command(flatten)]
    pub(super) experiment: ExperimentOptions,
    /// The PNG file.
    #[arg(long, value_name = "FILE", default_value = "sheet.png")]
    pub(super) out: PathBuf,
    /// The phase whose augmentation is shown: meta, module.0, …, fine-tune, baseline.
    #[arg(long, value_name = "PHASE", default_value = "meta", value_parser = parse_phase)]
    pub(super) phase: Phase,
    /// Rows: how many pictures.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) count: usize,
    /// Columns after the picture itself: how many epochs.
    #[arg(long, value_name = "E", default_value_t = 6)]
    pub(super) epochs: u64,
    /// Write what was drawn as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportOptions {
    /// The checkpoint: .safetensors, .pth, or .pt.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) experiment: ExperimentOptions,
    /// The run folder; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
    /// What it becomes: meta, module.0, …, assemble, fine-tune, baseline.
    #[arg(long, value_name = "UNIT")]
    pub(super) unit: String,
    /// Which weights of the file, such as model_ema. Default: those that were trained.
    #[arg(long, value_name = "KEY")]
    pub(super) weights: Option<String>,
    /// Do not score them on the validation pictures.
    #[arg(long)]
    pub(super) no_eval: bool,
    #[command(flatten)]
    pub(super) device: DeviceOptions,
    #[command(flatten)]
    pub(super) sources: super::sources::SourceOptions,
    /// Write one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportOptions {
    /// The run folder.
    #[arg(value_name = "RUN")]
    pub(super) run: PathBuf,
    /// The unit: meta, module.0 (the whole hybrid), …, assemble, fine-tune, baseline.
    #[arg(long, value_name = "UNIT", default_value = "fine-tune")]
    pub(super) unit: String,
    /// The file to write; it ends in .safetensors.
    #[arg(long, value_name = "FILE", value_parser = super::export::parse_file)]
    pub(super) out: PathBuf,
    /// How tensors are named: timm (all blocks in one list), or stages (stages.S.blocks.N).
    #[arg(long, value_name = "LAYOUT", default_value = "timm", value_parser = super::export::parse_layout)]
    pub(super) layout: ExportLayout,
    /// Write one JSON object, with the lines of Python that load the file.
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectOptions {
    /// The checkpoint: .safetensors, .pth, or .pt.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Which weights of the file, such as model_ema. Default: those that were trained.
    #[arg(long, value_name = "KEY")]
    pub(super) weights: Option<String>,
    /// Write one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Commands about units that travel between run folders.
#[derive(Debug, Subcommand)]
pub(super) enum UnitCommand {
    /// Hand a finished unit out, with everything that says what made it.
    Push {
        /// The run folder.
        #[arg(value_name = "RUN")]
        run: PathBuf,
        /// The unit: meta, module.0, …
        #[arg(value_name = "UNIT")]
        unit: String,
        /// A place in a registry, such as registry.example.org/team/network, with @TAG for another
        /// tag than the unit's name; or a new folder, such as ./shared/module.2.
        #[arg(value_name = "DESTINATION")]
        destination: String,
        #[command(flatten)]
        access: AccessOptions,
    },
    /// Take a unit over into a run folder, after checking that it belongs there.
    Pull {
        /// Where it was pushed to: registry.example.org/team/network@module.2, or a folder.
        #[arg(value_name = "SOURCE")]
        source: String,
        #[command(flatten)]
        access: AccessOptions,
        /// The run folder; made from what came with the unit if it is not there.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Show what a shared unit is and what made it, and check that it is whole.
    Inspect {
        /// Where it was pushed to: registry.example.org/team/network@module.2, or a folder.
        #[arg(value_name = "SOURCE")]
        source: String,
        #[command(flatten)]
        access: AccessOptions,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Commands about plugins.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// List the plugins that are part of this program and those that are pinned here.
    List {
        #[command(flatten)]
        lock: LockOptions,
        /// Write one line of JSON for every plugin.
        #[arg(long)]
        json: bool,
    },
    /// Fetch plugins and pin them in the lock file.
    Add {
        /// A place in a registry (HOST/PATH@^1.2, @1.2.3, @sha256:…), an https address, or a file.
        #[arg(value_name = "REF", required = true)]
        references: Vec<String>,
        #[command(flatten)]
        lock: LockOptions,
        #[command(flatten)]
        access: AccessOptions,
    },
    /// Pin the newest versions that references allow, and show what differs.
    Update {
        /// Pinned references. Default: all.
        #[arg(value_name = "REF")]
        references: Vec<String>,
        /// Take a version that imports more or needs more grants.
        #[arg(long)]
        accept: bool,
        #[command(flatten)]
        lock: LockOptions,
        #[command(flatten)]
        access: AccessOptions,
    },
    /// Take a plugin out of the lock file.
    Remove {
        /// A pinned reference.
        #[arg(value_name = "REF")]
        reference: String,
        #[command(flatten)]
        lock: LockOptions,
    },
    /// Demand signatures: trust the plugins that this minisign key signed.
    Trust {
        /// The public key, a line that begins with RW.
        #[arg(value_name = "KEY")]
        key: String,
        /// Only for this reference and those below it, as in registry.example.org/team.
        #[arg(long = "for", value_name = "REF")]
        scope: Option<String>,
        #[command(flatten)]
        lock: LockOptions,
    },
    /// Fetch a plugin into a file.
    Pull {
        /// A place in a registry or an https address.
        #[arg(value_name = "REF")]
        reference: String,
        /// The file. Default: NAME.wasm in the working directory.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        lock: LockOptions,
        #[command(flatten)]
        access: AccessOptions,
    },
    /// Put a plugin into a registry, under the version that it has.
    Push {
        /// The component, or the folder with it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The repository: HOST/PATH.
        #[arg(value_name = "REF")]
        reference: String,
        /// A minisign signature of the file, kept beside it in the registry.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        #[command(flatten)]
        access: AccessOptions,
    },
    /// Show what a plugin is, what it needs, and what can be set.
    Inspect {
        /// A component, the name of a built-in plugin, an https address, or a place in a registry.
        #[arg(value_name = "REF")]
        plugin: String,
        #[command(flatten)]
        lock: LockOptions,
        #[command(flatten)]
        access: AccessOptions,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Measure what a plugin costs: for each call, to load it, and as a share of a training step.
    Bench {
        /// A component, the name of a built-in plugin, an https address, or a place in a registry.
        #[arg(value_name = "REF")]
        plugin: String,
        #[command(flatten)]
        lock: LockOptions,
        #[command(flatten)]
        access: AccessOptions,
        /// Set a parameter of the plugin; may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        assignments: Vec<String>,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make recorded calls of a plugin again, each alone, and compare them to the bit.
    Replay {
        /// A `calls.jsonl` or `failure.json` of a run.
        #[arg(value_name = "FILE")]
        recording: PathBuf,
        /// Only this call, from 0.
        #[arg(long, value_name = "N")]
        call: Option<usize>,
        /// Another build of the plugin, to see what it does otherwise.
        #[arg(long, value_name = "FILE")]
        plugin: Option<String>,
        /// Write one line of JSON for every call.
        #[arg(long)]
        json: bool,
    },
    /// Load a plugin as an experiment would, and try to break it.
    Check(CheckOptions),
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

/// Options of `plugin check`.
#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    /// A component, the name of a built-in plugin, an https address, or a place in a registry.
    #[arg(value_name = "REF")]
    pub(super) plugin: String,
    #[command(flatten)]
    pub(super) lock: LockOptions,
    #[command(flatten)]
    pub(super) access: AccessOptions,
    /// What to check a component of several kinds as: partition-scheme, lr-schedule, loss-hook.
    #[arg(long, value_name = "KIND")]
    pub(super) kind: Option<String>,
    /// Give a parameter a value; may be repeated. The others have their defaults.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) assignments: Vec<String>,
    /// Give it a grant, as an experiment would; may be repeated.
    #[arg(long = "grant", value_name = "NAME")]
    pub(super) grants: Vec<String>,
    /// Set a limit, as an experiment would; may be repeated.
    #[arg(long = "limit", value_name = "KEY=VALUE")]
    pub(super) limits: Vec<String>,
    /// Only warn when this check fails, for a law that the plugin breaks on purpose; may be repeated.
    #[arg(long = "accept", value_name = "CHECK")]
    pub(super) accepted: Vec<String>,
    /// Write the report as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}
