//! Why a plugin was refused or failed: which plugin, in which call, why, and what to do next.
//!
//! The errors carry data alone: phase and step are added by the caller, colours by whoever prints.

use std::error::Error;
use std::fmt;
use std::io;

use semver::Version;

use super::description::SettingKind;
use super::grants::Grant;
use super::identity::PluginIdentity;
use super::kind::{Hook, Kind};
use super::limits::Breach;
use super::recording::{Captured, Outcome, Recording};
use super::reference::ReferenceError;
use crate::spelling::did_you_mean;

/// A plugin that was refused, or a call that failed.
#[derive(Debug)]
pub struct PluginError {
    /// The plugin; its name and version are known once it has described itself.
    pub plugin: Box<PluginIdentity>,
    /// The call that failed, if it was one.
    pub hook: Option<Hook>,
    /// What went wrong.
    pub kind: Box<PluginErrorKind>,
    /// What it takes to make the failed call again.
    pub(super) failed: Option<Box<Captured>>,
}

/// The sandbox could not be set up, which is not the fault of any plugin.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox for plugins cannot start: {reason}")]
pub struct SandboxError {
    /// What the sandbox said.
    pub reason: String,
}

/// What went wrong with a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginErrorKind {
    /// No built-in plugin has this name.
    #[error("no plugin of this name is built in{} (built in: {}; a file is written with a `/` or ends in `.wasm`)", did_you_mean(.nearest.as_deref()), .known.join(", "))]
    Unknown {
        /// The most similar name.
        nearest: Option<String>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// The file cannot be read.
    #[error(
        "the file cannot be read: {0} (check the path; it is relative to the working directory)"
    )]
    Read(#[source] io::Error),
    /// The folder holds no component, or several.
    #[error("the folder holds {} (name one of them, or build the plugin with `incubate plugin build`; `dist/NAME.wasm` is taken when the folder is called NAME)", components(.found))]
    Folder {
        /// The components in it.
        found: Vec<String>,
    },
    /// The plugin is elsewhere and was not fetched.
    #[error(
        "the plugin is not on this machine (fetch it with `incubate plugin pull {reference} -o FILE` and name the file)"
    )]
    NotFetched {
        /// The reference.
        reference: String,
    },
    /// The reference cannot be read.
    #[error("{0}")]
    Reference(#[source] ReferenceError),
    /// The file is something else.
    #[error(
        "the file is no WebAssembly component but {found} (build one with `incubate plugin build`)"
    )]
    Format {
        /// What the file seems to be.
        found: String,
    },
    /// The file is a component that cannot be compiled.
    #[error(
        "the component is damaged or uses features that are not supported: {reason} (build it again)"
    )]
    Compile {
        /// What the compiler said.
        reason: String,
    },
    /// The component imports something that plugins do not get.
    #[error("the component imports `{import}`, which plugins do not get (a {kind} is granted {} and nothing else: no files, no clock, no network)", list(.granted))]
    Import {
        /// The import.
        import: String,
        /// The kind of plugin.
        kind: Kind,
        /// The interfaces that this kind of plugin gets.
        granted: Vec<String>,
    },
    /// The component was built for another version of the contract.
    #[error("the plugin was built for version {plugin} of the contract (`{interface}`), and this program offers {host}: {}", older(.plugin, .host))]
    ContractVersion {
        /// The interface that shows the version.
        interface: String,
        /// The version of the plugin.
        plugin: Version,
        /// The version of this program.
        host: Version,
    },
    /// The component is no plugin of this program.
    #[error("the component is no plugin of this program: it exports {} (a plugin exports `incubate:plugin/description` and one of `partition`, `schedule`, `loss`)", list(.exports))]
    NoContract {
        /// What the component exports.
        exports: Vec<String>,
    },
    /// The plugin is of another kind than the experiment wants here.
    #[error(
        "the plugin is a {found}, and a {wanted} is wanted here (name it in the table of its kind)"
    )]
    Kind {
        /// The kind of the plugin.
        found: Kind,
        /// The kind that is wanted.
        wanted: Kind,
    },
    /// The plugin needs a grant that it does not have.
    #[error("the plugin imports `{interface}`, which needs the grant `{grant}` (if it may {}, add the line `{}` to the table `[{}.grants]` of the experiment, or to that of one phase, such as `[meta.{}.grants]`)", .grant.meaning(), .grant.example(), .kind.interface(), .kind.interface())]
    Grant {
        /// The interface that the plugin imports.
        interface: String,
        /// The grant that is missing.
        grant: Grant,
        /// The kind of plugin, whose interface has the name of its table in an experiment.
        kind: Kind,
    },
    /// A name in the grant `weights` that stands for nothing.
    #[error("the grant `weights` names `{pattern}`, and no phase that has this grant trains such a weight (nearest: {}; `*` stands for any text)", list(.nearest))]
    GrantedWeight {
        /// The name as it was given.
        pattern: String,
        /// The most similar names.
        nearest: Vec<String>,
    },
    /// The plugin asks a teacher in a phase without one.
    #[error("the plugin imports `incubate:plugin/teacher`, and phase `{table}` has no teacher ({})", teachers(.table))]
    NoTeacher {
        /// The table of the phase in an experiment.
        table: String,
    },
    /// A function of the contract has another shape, or does not exist.
    #[error("the plugin does not fit version {host} of the contract: {reason} ({})", fitting(.plugin.as_ref(), .host))]
    Interface {
        /// The version of the plugin, if it shows one.
        plugin: Option<Version>,
        /// The version of this program.
        host: Version,
        /// Which function or type differs.
        reason: String,
    },
    /// The plugin cannot be started.
    #[error("the plugin cannot be started: {reason}")]
    Start {
        /// What the sandbox said.
        reason: String,
    },
    /// The plugin describes itself in a way that cannot be used.
    #[error("the plugin describes itself badly: {reason} (this is a defect of the plugin)")]
    Description {
        /// What is wrong.
        reason: String,
    },
    /// A parameter that the plugin does not have.
    #[error("the plugin has no parameter `{key}`{} (parameters: {})", did_you_mean(.nearest.as_deref()), none_or(.known))]
    UnknownSetting {
        /// The key as it was given.
        key: String,
        /// The most similar parameter.
        nearest: Option<String>,
        /// All parameters.
        known: Vec<String>,
    },
    /// A parameter without value and without default.
    #[error("the parameter `{key}` needs a value ({summary})")]
    MissingSetting {
        /// The parameter.
        key: String,
        /// What it does.
        summary: String,
    },
    /// A value of another type.
    #[error("the parameter `{key}` is {found} (it needs {wanted})")]
    SettingKind {
        /// The parameter.
        key: String,
        /// The value as it was given.
        found: String,
        /// The type that is needed.
        wanted: SettingKind,
    },
    /// A value that the parameter does not allow.
    #[error("the parameter `{key}` is {found} (allowed: {allowed})")]
    SettingRange {
        /// The parameter.
        key: String,
        /// The value as it was given.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The plugin answered with an error.
    #[error("{}{}", reason(.message), hinted(.hint.as_deref()))]
    Fault {
        /// The code of the contract, such as `invalid-input`.
        code: &'static str,
        /// What is wrong, in the plugin's words.
        message: String,
        /// What to do next, in the plugin's words.
        hint: Option<String>,
    },
    /// The plugin crashed.
    #[error("the plugin crashed: {reason}{}", crash(.message.as_deref(), .frames))]
    Trap {
        /// Why the sandbox stopped it.
        reason: String,
        /// The last error message that the plugin wrote before it.
        message: Option<String>,
        /// The functions of the plugin that were running, innermost first.
        frames: Vec<String>,
    },
    /// The plugin reached a limit.
    #[error("{0}")]
    Limit(Breach),
    /// The plugin answered something that cannot be used.
    #[error("{reason} ({hint})")]
    Answer {
        /// What was answered.
        reason: String,
        /// What is needed.
        hint: &'static str,
    },
    /// The plugin was stopped by an earlier failure.
    #[error(
        "the plugin was stopped by an earlier failure and cannot be called again (start it anew)"
    )]
    Stopped,
}

impl fmt::Display for PluginError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.plugin)?;
        if let Some(hook) = self.hook {
            write!(formatter, ", hook `{hook}`")?;
        } else if self.is_limit() {
            write!(formatter, ", when it was started")?;
        }
        write!(formatter, ": {}", self.kind)
    }
}

impl Error for PluginError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

impl PluginError {
    /// Whether the plugin reached one of its limits.
    pub fn is_limit(&self) -> bool {
        matches!(*self.kind, PluginErrorKind::Limit(_))
    }

    /// The failed call, so that it can be made again; it is made again now, alone. There is none for
    /// a plugin that was refused, and for one that failed in `save` or `restore`.
    pub fn recording(&self) -> Option<Recording> {
        self.failed.as_ref()?.record(Outcome::of_error(self)).ok()
    }

    pub(super) fn new(plugin: &PluginIdentity, kind: PluginErrorKind) -> Self {
        Self {
            plugin: Box::new(plugin.clone()),
            hook: None,
            kind: Box::new(kind),
            failed: None,
        }
    }

    pub(super) fn in_hook(plugin: &PluginIdentity, hook: Hook, kind: PluginErrorKind) -> Self {
        Self {
            hook: Some(hook),
            ..Self::new(plugin, kind)
        }
    }
}

/// Names that a list in an error shows.
const NAMES: usize = 12;

/// What to write for a teacher of the phase with this table.
fn teachers(table: &str) -> String {
    if table == "meta" {
        // The meta model cannot teach itself.
        "name a checkpoint in its table, `[meta] teacher = \"PATH\"`, or move the loss to the phase that it is for, such as `[module.loss]` with `[module] teacher = \"meta\"`".to_owned()
    } else {
        format!(
            "name one in its table: `[{table}] teacher = \"meta\"` for the meta model, or the path of a checkpoint"
        )
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let quoted: Vec<String> = names
        .iter()
        .take(NAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    let shown = quoted.join(", ");
    match names.len().checked_sub(NAMES) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}, and {more} more"),
    }
}

fn components(found: &[String]) -> String {
    if found.is_empty() {
        "no component".to_owned()
    } else {
        format!("several components: {}", found.join(", "))
    }
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn older(plugin: &Version, host: &Version) -> &'static str {
    if plugin > host {
        "this program is older (use a newer version of it, or an older version of the plugin)"
    } else {
        "the plugin is older (use a newer version of it, or build it again)"
    }
}

fn fitting(plugin: Option<&Version>, host: &Version) -> String {
    match plugin {
        Some(plugin) if plugin > host => format!(
            "it was built for {plugin}, so this program is older: use a newer version of it"
        ),
        _ => "build the plugin with the contract of this program".to_owned(),
    }
}

fn reason(message: &str) -> &str {
    if message.trim().is_empty() {
        "the plugin refused the call and gave no reason"
    } else {
        message
    }
}

fn hinted(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}

fn crash(message: Option<&str>, frames: &[String]) -> String {
    let mut text = message.map_or_else(
        || {
            " (it left no message; a plugin can send one with `log.write` before it stops)"
                .to_owned()
        },
        |message| {
            let line: Vec<&str> = message.split_whitespace().collect();
            format!("; it said: {}", line.join(" "))
        },
    );
    if !frames.is_empty() {
        text.push_str("; it was in ");
        text.push_str(&frames.join(" < "));
    }
    text
}
