//! Making recorded calls again, each alone, and finding the first thing that they do differently.
//!
//! A recording may come from anybody: its size, its tensors, and the limits that it asks for are
//! checked, the plugin is sandboxed as ever, and a plugin file is used only when it is the one that
//! was recorded, or when a person names another.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::tensor::TensorError;

use super::engine::{Plugin, PluginHost};
use super::error::PluginError;
use super::grants::{Grant, Grants};
use super::identity::Origin;
use super::kind::{Hook, Kind};
use super::limits::{Limit, Limits};
use super::loss::LossHook;
use super::partition::PartitionScheme;
use super::randomness::Context;
use super::recording::{Call, FORMAT, Outcome, Performed, RecordedState, Recording};
use super::schedule::Schedule;
use super::settings::{SettingValue, Settings};
use super::trace::{HostCall, Tape};

/// Bytes of one recording that are read or written.
pub const RECORDING_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a component that a recording may name.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// The most that a recording may ask for, by limit.
const CEILING: Limits = Limits {
    fuel: 1 << 40,
    deadline_ms: 10 * 60 * 1000,
    memory_bytes: 2 << 30,
    table_elements: 10_000_000,
    instances: 10_000,
    live_tensors: 100_000,
    device_bytes: 8 << 30,
    operations: 10_000_000,
    work: 1_000_000_000_000_000,
    copied_bytes: 1 << 30,
    log_bytes: 16 << 20,
};

/// Why a recorded call cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The plugin was fetched from somewhere, which a recording of somebody else must not do.
    #[error(
        "the plugin of the recording came from `{place}` (fetch it with `incubate plugin pull {place} -o FILE`, and give `--plugin FILE`)"
    )]
    Elsewhere {
        /// The reference or address.
        place: String,
    },
    /// The file cannot be read.
    #[error("cannot read the recording `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line is no recording.
    #[error("call {call} of `{}` is no recording: {reason} (record it again)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The call, from 0.
        call: usize,
        /// What is wrong.
        reason: String,
    },
    /// The recording was written by a newer program.
    #[error("the recording has format {found}, and this program reads {FORMAT}; use a newer one")]
    Format {
        /// Its format.
        found: u32,
    },
    /// There is no such call.
    #[error("`{}` has no call {asked}; it has {calls}, from 0", path.display())]
    NoCall {
        /// The file.
        path: PathBuf,
        /// The call that was asked for.
        asked: usize,
        /// How many there are.
        calls: usize,
    },
    /// The recording asks for more than a replay gives.
    #[error(
        "the recording asks for a limit `{}` of {asked}, and a replay gives at most {most}; lower it in the file if you trust it", limit.key()
    )]
    Limit {
        /// Which limit.
        limit: Limit,
        /// What it asks for.
        asked: u64,
        /// The most that is given.
        most: u64,
    },
    /// The plugin is another build than the recorded one.
    #[error(
        "the plugin `{name}` ({origin}) is not the build that was recorded: sha256 {found}, recorded {recorded} (restore it, or name a build with `--plugin` to compare)"
    )]
    OtherBuild {
        /// Its name.
        name: String,
        /// Where it is.
        origin: String,
        /// Its digest.
        found: String,
        /// The recorded digest.
        recorded: String,
    },
    /// The component is no ordinary file, or too large.
    #[error("the recording names the plugin `{}`, which {reason} (name one with `--plugin`)", path.display())]
    Component {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The call does not belong to the plugin.
    #[error("a {kind} has no hook `{hook}`, or lacks seed and phase; the recording is damaged")]
    Hook {
        /// The kind of the plugin.
        kind: Kind,
        /// The hook.
        hook: Hook,
    },
    /// A tensor cannot be made.
    #[error("a tensor of the recording cannot be used: {0}; the recording is damaged")]
    Tensor(#[from] TensorError),
    /// The recording cannot be expressed.
    #[error("the call cannot be written down: {0}")]
    Unwritable(String),
    /// The plugin is refused.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// At least one call did something else.
    #[error("{diverged} of {calls} calls diverge from the recording")]
    Diverged {
        /// How many.
        diverged: usize,
        /// Of how many.
        calls: usize,
    },
}

/// The first thing that a call did otherwise than recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// A host call.
    HostCall {
        /// Its position, from 0.
        index: usize,
        /// The recorded one; nothing when the call ended before it.
        recorded: Option<HostCall>,
        /// The one that was made; nothing when the call ended before it.
        found: Option<HostCall>,
    },
    /// A host call after those that are kept one by one.
    Beyond {
        /// How many are kept.
        kept: usize,
    },
    /// The answer or the error.
    Outcome {
        /// The recorded one.
        recorded: Outcome,
        /// The present one.
        found: Outcome,
    },
    /// The number of instructions.
    Fuel {
        /// The recorded one.
        recorded: u64,
        /// The present one.
        found: u64,
    },
}

/// A call that was made again.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The digest of the plugin that was called.
    pub sha256: String,
    /// Whether it is another build than the recorded one.
    pub other_build: bool,
    /// What it did.
    pub found: Performed,
    /// The first difference, if there is one. Another build may run another number of instructions.
    pub divergence: Option<Divergence>,
}

/// The recordings in a file, one after the other.
#[derive(Debug)]
pub struct Recordings {
    path: PathBuf,
    reader: BufReader<File>,
    next: usize,
}

impl ReplayError {
    pub(super) fn unwritable(error: impl ToString) -> Self {
        Self::Unwritable(error.to_string())
    }
}

impl Recordings {
    /// Opens a file of recordings.
    ///
    /// # Errors
    ///
    /// It cannot be read, or it is no ordinary file.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let read = |source| ReplayError::Read {
            path: path.to_path_buf(),
            source,
        };
        if !std::fs::metadata(path).map_err(read)?.is_file() {
            return Err(read(io::Error::other("it is no ordinary file")));
        }
        Ok(Self {
            path: path.to_path_buf(),
            reader: BufReader::new(File::open(path).map_err(read)?),
            next: 0,
        })
    }

    /// The call with this number, from 0.
    ///
    /// # Errors
    ///
    /// There is no such call, or a line before it or its own is too long or damaged.
    pub fn call(mut self, number: usize) -> Result<Recording, ReplayError> {
        while let Some(line) = self.line()? {
            if self.next == number + 1 {
                return self.parse(&line);
            }
        }
        Err(ReplayError::NoCall {
            path: self.path,
            asked: number,
            calls: self.next,
        })
    }

    /// The bytes of the next line that is not empty.
    fn line(&mut self) -> Result<Option<Vec<u8>>, ReplayError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(RECORDING_BYTES_MAX + 1);
        bounded
            .read_until(b'\n', &mut line)
            .map_err(|source| ReplayError::Read {
                path: self.path.clone(),
                source,
            })?;
        if line.len() as u64 > RECORDING_BYTES_MAX {
            return Err(self.damaged(format!("it has more than {RECORDING_BYTES_MAX} bytes")));
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(line))
    }

    fn parse(&self, line: &[u8]) -> Result<Recording, ReplayError> {
        /// What every format has.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let damaged = |error: serde_json::Error| ReplayError::Damaged {
            path: self.path.clone(),
            call: self.next - 1,
            reason: error.to_string(),
        };
        let Versioned { format } = serde_json::from_slice(line).map_err(damaged)?;
        if format != FORMAT {
            return Err(ReplayError::Format { found: format });
        }
        serde_json::from_slice(line).map_err(damaged)
    }

    fn damaged(&self, reason: String) -> ReplayError {
        ReplayError::Damaged {
            path: self.path.clone(),
            call: self.next,
            reason,
        }
    }
}

impl Iterator for Recordings {
    type Item = Result<Recording, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.line() {
            Ok(None) => None,
            Ok(Some(line)) => Some(self.parse(&line)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Recording {
    /// Makes the call again, alone, with the recorded plugin or with `other`, the name or path of
    /// another build.
    ///
    /// # Errors
    ///
    /// The recording is damaged or asks for too much, or the plugin is missing, refused, or not the
    /// recorded one. That the call fails or does something else is no error.
    pub fn replay(&self, host: &PluginHost, other: Option<&str>) -> Result<Replayed, ReplayError> {
        self.check_limits()?;
        let reference = match other {
            Some(other) => other.to_owned(),
            None => self.reference()?,
        };
        // Another build may need another grant, and there is nothing here that it could see.
        let grants = match other {
            Some(_) => Grants::of(&Grant::ALL),
            None => self.grants.clone(),
        };
        let plugin = host.load(&reference, self.kind, &grants, &self.limits)?;
        let other_build = plugin.sha256() != self.plugin.sha256;
        if other_build && other.is_none() {
            return Err(ReplayError::OtherBuild {
                name: self.plugin.name.clone(),
                origin: plugin.origin().to_string(),
                found: plugin.sha256().to_owned(),
                recorded: self.plugin.sha256.clone(),
            });
        }
        let given: std::collections::BTreeMap<String, SettingValue> =
            toml::from_str(&self.settings).map_err(|error| {
                ReplayError::Unwritable(format!("its settings are damaged: {}", error.message()))
            })?;
        let settings = plugin.settings(&given)?;
        let context = self.context.map(|context| context.context());
        let found = alone(&plugin, &settings, context, &self.state, &self.call)?;
        Ok(Replayed {
            sha256: plugin.sha256().to_owned(),
            other_build,
            divergence: divergence(&self.alone, &found, other_build),
            found,
        })
    }

    fn check_limits(&self) -> Result<(), ReplayError> {
        for limit in Limit::ALL {
            let (asked, most) = (self.limits.get(limit), CEILING.get(limit));
            if asked > most {
                return Err(ReplayError::Limit { limit, asked, most });
            }
        }
        Ok(())
    }

    /// The name or path of the recorded plugin; a path only when an ordinary file is there.
    fn reference(&self) -> Result<String, ReplayError> {
        let path = match &self.plugin.origin {
            Origin::BuiltIn(name) => return Ok(name.clone()),
            Origin::File(path) => path,
            Origin::Registry(place) | Origin::Url(place) => {
                return Err(ReplayError::Elsewhere {
                    place: place.clone(),
                });
            }
        };
        let refuse = |reason: &str| ReplayError::Component {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        let metadata =
            std::fs::metadata(path).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
        if !metadata.is_file() {
            return Err(refuse("is no ordinary file"));
        }
        if metadata.len() > COMPONENT_BYTES_MAX {
            return Err(refuse("is too large to be a plugin"));
        }
        let text = path
            .to_str()
            .ok_or_else(|| refuse("has a name that is no text"))?;
        // A reference without `/` could be taken for a built-in name.
        Ok(if text.contains('/') {
            text.to_owned()
        } else {
            format!("./{text}")
        })
    }
}

/// Makes a call in a new instance on the CPU, with nothing before it but what the contract demands.
pub(super) fn alone(
    plugin: &Plugin,
    settings: &Settings,
    context: Option<Context>,
    state: &RecordedState,
    call: &Call,
) -> Result<Performed, ReplayError> {
    let tape = Tape::default();
    let outcome = perform(plugin, settings, context, state.bytes(), call, &tape)?;
    Ok(Performed {
        outcome,
        trace: tape.take(),
    })
}

fn perform(
    plugin: &Plugin,
    settings: &Settings,
    context: Option<Context>,
    state: &[u8],
    call: &Call,
    tape: &Tape,
) -> Result<Outcome, ReplayError> {
    let kind = plugin.kind();
    let misplaced = || ReplayError::Hook {
        kind,
        hook: call.hook(),
    };
    let tape = Some(tape.clone());
    if kind == Kind::PartitionScheme {
        let scheme = PartitionScheme::start(plugin, settings, tape);
        return match call {
            Call::Configure => Ok(Outcome::of(&scheme, |_| shown_nothing())),
            Call::Divide { request } => {
                let depths = scheme.and_then(|mut scheme| scheme.divide(&request.request()));
                Ok(Outcome::of(&depths, |depths| {
                    PartitionScheme::shown(depths)
                }))
            }
            _ => Err(misplaced()),
        };
    }
    let context = context.ok_or_else(misplaced)?;
    if kind == Kind::LrSchedule {
        let restored = || {
            let mut schedule = Schedule::start(plugin, settings, context, tape.clone())?;
            if !state.is_empty() {
                schedule.restore(state)?;
            }
            Ok::<_, PluginError>(schedule)
        };
        return match call {
            Call::Configure => {
                let session = Schedule::configured(plugin, settings, context, tape);
                Ok(Outcome::of(&session, |_| shown_nothing()))
            }
            Call::Stepping => {
                let schedule = Schedule::start(plugin, settings, context, tape);
                Ok(Outcome::of(&schedule, Schedule::shown_stepping))
            }
            Call::Rate { moment } => {
                let rate = restored().and_then(|mut schedule| schedule.rate(&moment.moment()));
                Ok(Outcome::of(&rate, Schedule::shown_rate))
            }
            Call::Observe { moment, metrics } => {
                let metrics: Vec<(&str, f64)> = metrics
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.0))
                    .collect();
                let observed = restored()
                    .and_then(|mut schedule| schedule.observe(&moment.moment(), &metrics));
                Ok(Outcome::of(&observed, |()| shown_nothing()))
            }
            _ => Err(misplaced()),
        };
    }
    match call {
        Call::Configure => {
            let session = LossHook::configured(plugin, settings, context, tape);
            Ok(Outcome::of(&session, |_| shown_nothing()))
        }
        Call::Needs => {
            let hook = LossHook::start(plugin, settings, context, tape);
            Ok(Outcome::of(&hook, LossHook::shown_needs))
        }
        Call::Compute { step, inputs } => {
            let inputs = inputs.tensors()?;
            let loss = LossHook::start(plugin, settings, context, tape).and_then(|mut hook| {
                if !state.is_empty() {
                    hook.restore(state)?;
                }
                hook.compute(&step.step(), inputs)
            });
            Ok(Outcome::of(&loss, LossHook::shown_loss))
        }
        _ => Err(misplaced()),
    }
}

/// The answer of a function that answers nothing.
pub(super) fn shown_nothing() -> String {
    "nothing".to_owned()
}

/// The first difference between two calls.
fn divergence(recorded: &Performed, found: &Performed, other_build: bool) -> Option<Divergence> {
    let (left, right) = (&recorded.trace.host_calls, &found.trace.host_calls);
    for index in 0..left.len().max(right.len()) {
        if left.get(index) != right.get(index) {
            return Some(Divergence::HostCall {
                index,
                recorded: left.get(index).cloned(),
                found: right.get(index).cloned(),
            });
        }
    }
    let beyond = |performed: &Performed| {
        let trace = &performed.trace;
        (trace.more, trace.more_sha256.clone(), trace.draws)
    };
    if beyond(recorded) != beyond(found) {
        return Some(Divergence::Beyond { kept: left.len() });
    }
    if recorded.outcome != found.outcome {
        return Some(Divergence::Outcome {
            recorded: recorded.outcome.clone(),
            found: found.outcome.clone(),
        });
    }
    let fuel = (recorded.trace.fuel, found.trace.fuel);
    (fuel.0 != fuel.1 && !other_build).then_some(Divergence::Fuel {
        recorded: fuel.0,
        found: fuel.1,
    })
}
