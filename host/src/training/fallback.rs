//! Built-in plugins that stand by: when a plugin fails while a run is going on, the one that the
//! experiment names answers the failing call and every later one of the unit.
//!
//! A replacement is never silent: it is an event, it stands in the result of the unit, and the
//! table of the run shows it.

use std::collections::BTreeMap;

use super::{Configured, TrainError};
use crate::event::Replacement;
use crate::experiment::OnFailure;
use crate::plugin::{
    Bytes, Context, Grants, Kind, Limits, LimitsConfig, LossHook, Message, Plugin, PluginError,
    PluginHost, Recording, Schedule, Settings, Spent, Statistics,
};
use crate::run::PluginState;
use crate::spelling::nearest;

/// Loads the plugin that stands by for the one of `role`, if the experiment names one.
///
/// # Errors
/// When no built-in plugin of the kind has this name, or it needs parameters.
pub(super) fn load(
    host: &PluginHost,
    role: &str,
    on_failure: &OnFailure,
    kind: Kind,
) -> Result<Option<Box<Configured>>, TrainError> {
    let OnFailure::Fallback(name) = on_failure else {
        return Ok(None);
    };
    let known: Vec<&'static str> = PluginHost::built_in()
        .filter(|built_in| built_in.kind == kind)
        .map(|built_in| built_in.name)
        .collect();
    if !known.contains(&name.as_str()) {
        return Err(TrainError::NoFallback {
            role: role.to_owned(),
            name: name.clone(),
            kind,
            nearest: nearest(name, known.iter().copied()),
            known: known.join(", "),
        });
    }
    let refused = |source| TrainError::PluginRefused {
        role: format!("{role}.on_failure"),
        source,
    };
    let plugin = host
        .load(name, kind, &Grants::none(), &Limits::default())
        .map_err(refused)?;
    if plugin.asks_teacher() {
        return Err(TrainError::DependentFallback {
            role: role.to_owned(),
            name: name.clone(),
        });
    }
    let settings = plugin.settings(&BTreeMap::new()).map_err(refused)?;
    Ok(Some(Box::new(Configured {
        plugin,
        settings,
        limits: LimitsConfig::default(),
        fallback: None,
    })))
}

/// What happened when `failed` was replaced.
pub(super) fn replacement(
    unit: &str,
    role: &str,
    failed: &PluginError,
    fallback: &Configured,
    (epoch, update): (u32, u64),
) -> Replacement {
    Replacement {
        unit: unit.to_owned(),
        role: role.to_owned(),
        plugin: failed.plugin.to_string(),
        fallback: fallback.plugin.description().name.clone(),
        hook: failed
            .hook
            .map_or_else(|| "start".to_owned(), |hook| hook.to_string()),
        reason: failed.kind.to_string(),
        epoch,
        update,
    }
}

/// Why a plugin cannot go on from a checkpoint.
#[derive(Debug)]
pub(super) enum NotResumed {
    /// It is another one, or configured in another way.
    Other {
        /// What differs.
        what: String,
        /// As the checkpoint has it.
        before: String,
        /// As it is.
        now: String,
    },
    /// It cannot be started, or does not accept what it remembers.
    Failed(PluginError),
}

/// The state of the plugin of `role` among those of a checkpoint.
///
/// # Errors
/// When there is none.
pub(super) fn plugin_state<'s>(
    saved: &'s [PluginState],
    role: &str,
    configured: &Configured,
) -> Result<&'s PluginState, NotResumed> {
    let state = saved.iter().find(|state| state.role == role);
    state.ok_or_else(|| NotResumed::Other {
        what: format!("plugin for `{role}`"),
        before: "none".to_owned(),
        now: configured.words(),
    })
}

/// A configured plugin that is called again and again in one unit.
pub(super) trait Serving: Sized {
    /// Starts a plugin.
    fn start(plugin: &Plugin, settings: &Settings, context: Context) -> Result<Self, PluginError>;

    /// What it said since the last call of this function.
    fn drain_messages(&mut self) -> Vec<Message>;

    /// What it has used.
    fn statistics(&self) -> Statistics;

    /// The wall time of its calls.
    fn spent(&self) -> Spent;

    /// Records every call from now on, or none.
    fn record(&mut self, record: bool);

    /// The calls since the last call of this function, when they are recorded.
    fn drain_recordings(&mut self) -> Vec<Recording>;

    /// Everything that it remembers.
    fn snapshot(&mut self) -> Result<Vec<u8>, PluginError>;

    /// Goes on from a snapshot, having used this much.
    fn resume(
        &mut self,
        state: &[u8],
        statistics: Statistics,
        spent: Spent,
    ) -> Result<(), PluginError>;

    /// Why there are no snapshots, when that was found out.
    fn unsaved(&self) -> Option<&str>;
}

macro_rules! serving {
    ($hook:ident) => {
        impl Serving for $hook {
            fn start(
                plugin: &Plugin,
                settings: &Settings,
                context: Context,
            ) -> Result<Self, PluginError> {
                Self::new(plugin, settings, context)
            }

            fn drain_messages(&mut self) -> Vec<Message> {
                self.drain_messages()
            }

            fn statistics(&self) -> Statistics {
                self.statistics()
            }

            fn spent(&self) -> Spent {
                self.spent()
            }

            fn record(&mut self, record: bool) {
                if record {
                    self.record_calls();
                } else {
                    self.stop_recording();
                }
            }

            fn drain_recordings(&mut self) -> Vec<Recording> {
                self.drain_recordings()
            }

            fn snapshot(&mut self) -> Result<Vec<u8>, PluginError> {
                self.snapshot()
            }

            fn resume(
                &mut self,
                state: &[u8],
                statistics: Statistics,
                spent: Spent,
            ) -> Result<(), PluginError> {
                self.resume(state, statistics, spent)
            }

            fn unsaved(&self) -> Option<&str> {
                self.unsaved()
            }
        }
    };
}

serving!(LossHook);
serving!(Schedule);

/// A plugin with the one that stands by for it.
#[derive(Debug)]
pub(super) struct Standby<'a, T> {
    hook: T,
    serving: &'a Configured,
    /// Whether that is the one that stood by.
    stands_in: bool,
    /// The part of the experiment that names the plugin.
    role: &'a str,
    context: Context,
    /// A replacement that nobody has been told of, and the failure behind it.
    news: Option<(Replacement, PluginError)>,
    /// What a plugin that failed said last.
    last_words: Vec<(&'a str, Message)>,
    /// What a plugin that failed had used.
    retired: Option<(&'a str, Statistics, Spent)>,
    /// Whether calls are recorded.
    records: bool,
    /// The calls of a plugin that failed.
    last_calls: Vec<Recording>,
}

impl<'a, T: Serving> Standby<'a, T> {
    /// Starts the plugin that `role` of the experiment names, or else the one that stands by.
    ///
    /// # Errors
    /// When the plugin cannot be started and none stands by, or that one cannot either.
    pub(super) fn start(
        configured: &'a Configured,
        context: Context,
        role: &'a str,
    ) -> Result<Self, PluginError> {
        let start = |one: &Configured| T::start(&one.plugin, &one.settings, context);
        let (hook, serving, news) = match (start(configured), configured.fallback.as_deref()) {
            (Ok(hook), _) => (hook, configured, None),
            (Err(failed), None) => return Err(failed),
            (Err(failed), Some(fallback)) => {
                let unit = context.phase.to_string();
                let news = replacement(&unit, role, &failed, fallback, (0, 0));
                (start(fallback)?, fallback, Some((news, failed)))
            }
        };
        Ok(Self {
            hook,
            serving,
            stands_in: news.is_some(),
            role,
            context,
            news,
            last_words: Vec::new(),
            retired: None,
            records: false,
            last_calls: Vec::new(),
        })
    }

    /// Goes on where `saved` says: with the same plugin, whether that is the one that the experiment
    /// names or the one that stood in for it.
    ///
    /// # Errors
    /// When it is another plugin or has other parameters, or does not accept what it remembers.
    pub(super) fn resume(
        configured: &'a Configured,
        context: Context,
        role: &'a str,
        saved: &PluginState,
    ) -> Result<Self, NotResumed> {
        let serving = match configured.fallback.as_deref() {
            Some(fallback) if saved.stands_in => fallback,
            _ => configured,
        };
        let now = serving.words();
        let before = format!(
            "`{}` {} (sha256 {}) with {}",
            saved.name, saved.version, saved.sha256, saved.configuration
        );
        if now != before {
            return Err(NotResumed::Other {
                what: format!("plugin for `{role}`"),
                before,
                now,
            });
        }
        let mut hook =
            T::start(&serving.plugin, &serving.settings, context).map_err(NotResumed::Failed)?;
        hook.resume(&saved.state.0, saved.statistics, saved.spent)
            .map_err(NotResumed::Failed)?;
        // What it says at its start was said when it was started first.
        drop(hook.drain_messages());
        let named = configured.plugin.description().name.as_str();
        let retired = saved
            .retired
            .map(|(statistics, spent)| (named, statistics, spent));
        Ok(Self {
            hook,
            serving,
            stands_in: saved.stands_in,
            role,
            context,
            news: None,
            last_words: Vec::new(),
            retired,
            records: false,
            last_calls: Vec::new(),
        })
    }

    /// The plugin that answers, with everything that it remembers. One that fails in this is replaced
    /// as in [`Self::ask`].
    ///
    /// # Errors
    /// When the plugin fails and none stands by, or that one fails as well.
    pub(super) fn snapshot(&mut self, place: (u32, u64)) -> Result<PluginState, PluginError> {
        let state = self.ask(place, T::snapshot)?;
        let plugin = &self.serving.plugin;
        Ok(PluginState {
            role: self.role.to_owned(),
            name: plugin.description().name.clone(),
            version: plugin.description().version.to_string(),
            sha256: plugin.sha256().to_owned(),
            configuration: self.serving.settings.to_json(),
            stands_in: self.stands_in,
            state: Bytes(state),
            statistics: self.hook.statistics(),
            spent: self.hook.spent(),
            retired: self
                .retired
                .map(|(_, statistics, spent)| (statistics, spent)),
        })
    }

    /// Why the plugin has no snapshots, when that was found out, with its identity.
    pub(super) fn unsaved(&self) -> Option<String> {
        let reason = self.hook.unsaved()?;
        Some(format!("{}: {reason}", self.serving.plugin.identity()))
    }

    /// The plugin that answers now.
    pub(super) const fn plugin(&self) -> &'a Plugin {
        &self.serving.plugin
    }

    /// What is called.
    pub(super) const fn hook(&self) -> &T {
        &self.hook
    }

    /// Asks the plugin at a place in the unit, epoch and update. When it fails and another stands
    /// by, that one takes its place and is asked the same.
    ///
    /// # Errors
    /// When the plugin fails and none stands by, or that one fails as well.
    pub(super) fn ask<R>(
        &mut self,
        place: (u32, u64),
        question: impl Fn(&mut T) -> Result<R, PluginError>,
    ) -> Result<R, PluginError> {
        let failed = match question(&mut self.hook) {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let Some(fallback) = self.serving.fallback.as_deref() else {
            return Err(failed);
        };
        let next = T::start(&fallback.plugin, &fallback.settings, self.context)?;
        let name = self.serving.plugin.description().name.as_str();
        self.retired = Some((name, self.hook.statistics(), self.hook.spent()));
        let words = self.hook.drain_messages();
        self.last_words
            .extend(words.into_iter().map(|word| (name, word)));
        let unit = self.context.phase.to_string();
        let news = replacement(&unit, self.role, &failed, fallback, place);
        self.last_calls.extend(self.hook.drain_recordings());
        if self.records {
            self.last_calls.extend(failed.recording());
        }
        self.news = Some((news, failed));
        self.hook = next;
        self.hook.record(self.records);
        self.serving = fallback;
        self.stands_in = true;
        question(&mut self.hook)
    }

    /// Whether the plugin was replaced and nobody has been told yet.
    pub(super) const fn was_just_replaced(&self) -> bool {
        self.news.is_some()
    }

    /// The replacement that nobody has been told of.
    pub(super) const fn take_news(&mut self) -> Option<(Replacement, PluginError)> {
        self.news.take()
    }

    /// What plugins said since the last call of this function, each with its name.
    pub(super) fn drain_messages(&mut self) -> Vec<(&'a str, Message)> {
        let mut messages = std::mem::take(&mut self.last_words);
        let name = self.serving.plugin.description().name.as_str();
        let words = self.hook.drain_messages();
        messages.extend(words.into_iter().map(|word| (name, word)));
        messages
    }

    /// What every plugin that served has used, with its name.
    pub(super) fn used(&self) -> impl Iterator<Item = (&'a str, Statistics, Spent)> {
        let name = self.serving.plugin.description().name.as_str();
        self.retired
            .into_iter()
            .chain([(name, self.hook.statistics(), self.hook.spent())])
    }

    /// Records every call from now on.
    pub(super) fn record_calls(&mut self) {
        self.records = true;
        self.hook.record(true);
    }

    /// Records no further call.
    pub(super) fn stop_recording(&mut self) {
        self.records = false;
        self.hook.record(false);
    }

    /// The calls since the last call of this function, when they are recorded.
    pub(super) fn drain_recordings(&mut self) -> Vec<Recording> {
        let mut calls = std::mem::take(&mut self.last_calls);
        calls.extend(self.hook.drain_recordings());
        calls
    }
}
