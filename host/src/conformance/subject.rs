//! The plugin under examination: how its instances are started, and what all of them used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::phase::Phase;
use crate::plugin::{
    Context, Hook, LossHook, Message, PartitionScheme, Plugin, PluginError, PluginErrorKind,
    Schedule, SettingValue, Settings, Statistics,
};
use crate::random::Seed;

/// The seed of the random stream that the plugin sees, unless a law is about it.
pub(super) const SEED: Seed = Seed(1);

/// A plugin with the settings under which it is examined.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) plugin: Plugin,
    /// What was given, without defaults.
    given: BTreeMap<String, SettingValue>,
    settings: Settings,
    usage: RefCell<Usage>,
}

/// What the instances of an examination used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Instances that were started.
    pub instances: u64,
    /// Calls into them.
    pub calls: u64,
    /// Most instructions in one call that was answered.
    pub fuel: u64,
    /// The call that took them.
    pub fuel_hook: Option<Hook>,
    /// Most tensors that lived at the same time.
    pub peak_tensors: u64,
    /// Most tensors that were alive after a call; 0 unless the host is broken.
    pub left_tensors: u64,
    /// Most bytes of messages and metrics in one call.
    pub log_bytes: u64,
    /// Messages and metrics of all calls.
    pub messages: u64,
    /// The longest call in milliseconds, with the time of tensor operations; for warnings alone.
    #[serde(skip)]
    pub(super) longest: Duration,
    /// Instructions of all calls.
    pub total_fuel: u64,
}

/// Instructions that one law may spend, so that a slow plugin is checked with fewer cases; the count
/// is the same on every machine.
#[derive(Debug)]
pub(super) struct Budget<'s> {
    subject: &'s Subject,
    end: u64,
}

impl Budget<'_> {
    /// Whether something is left.
    pub(super) fn lasts(&self) -> bool {
        self.subject.usage.borrow().total_fuel < self.end
    }
}

/// An instance of a plugin of any kind.
pub(super) trait Instance {
    fn statistics(&self) -> Statistics;
    fn drain_messages(&mut self) -> Vec<Message>;
}

/// An instance that can be asked what it remembers.
pub(super) trait Remembers: Instance {
    fn save(&mut self) -> Result<Vec<u8>, PluginError>;
    fn restore(&mut self, state: &[u8]) -> Result<(), PluginError>;
}

/// An instance whose calls are watched.
#[derive(Debug)]
pub(super) struct Watched<'s, I> {
    subject: &'s Subject,
    pub(super) inner: I,
}

/// Why a call was not answered, as far as a law is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The plugin refused with a message, which it may.
    Fault,
    /// The plugin refused without saying why.
    Silent,
    /// The plugin answered something that cannot be used.
    WrongAnswer,
    /// The plugin crashed or reached a limit.
    Crash,
}

impl Failure {
    pub(super) fn of(error: &PluginError) -> Self {
        match &*error.kind {
            PluginErrorKind::Fault { message, .. } if message.trim().is_empty() => Self::Silent,
            PluginErrorKind::Fault { .. } => Self::Fault,
            PluginErrorKind::Answer { .. } => Self::WrongAnswer,
            _ => Self::Crash,
        }
    }
}

/// What an error says, with the call but without the name of the plugin.
pub(super) fn said(error: &PluginError) -> String {
    let words = match &*error.kind {
        PluginErrorKind::Fault { message, .. } if message.trim().is_empty() => {
            "a fault without a message".to_owned()
        }
        PluginErrorKind::Fault { .. } => format!("fault \"{}\"", error.kind),
        kind => kind.to_string(),
    };
    match error.hook {
        Some(hook) => format!("`{hook}`: {words}"),
        None => words,
    }
}

impl Subject {
    pub(super) fn new(
        plugin: Plugin,
        given: BTreeMap<String, SettingValue>,
        settings: Settings,
    ) -> Self {
        Self {
            plugin,
            given,
            settings,
            usage: RefCell::default(),
        }
    }

    /// What was used so far.
    pub(super) fn usage(&self) -> Usage {
        self.usage.borrow().clone()
    }

    /// What one law may spend from now on.
    pub(super) fn budget(&self) -> Budget<'_> {
        /// One or two seconds.
        const FUEL: u64 = 10_000_000_000;
        Budget {
            subject: self,
            end: self.usage.borrow().total_fuel + FUEL,
        }
    }

    /// The same plugin with one parameter changed; `None` when its description does not allow it.
    pub(super) fn with(&self, name: &str, value: SettingValue) -> Option<Self> {
        let mut given = self.given.clone();
        given.insert(name.to_owned(), value);
        let settings = self.plugin.settings(&given).ok()?;
        Some(Self::new(self.plugin.clone(), given, settings))
    }

    /// The same settings for the same plugin under other limits.
    pub(super) fn with_plugin(&self, plugin: Plugin) -> Self {
        Self::new(plugin, self.given.clone(), self.settings.clone())
    }

    pub(super) fn partition(&self) -> Result<Watched<'_, PartitionScheme>, PluginError> {
        self.watch(PartitionScheme::new(&self.plugin, &self.settings))
    }

    pub(super) fn schedule(&self, phase: Phase) -> Result<Watched<'_, Schedule>, PluginError> {
        let context = Context { seed: SEED, phase };
        self.watch(Schedule::new(&self.plugin, &self.settings, context))
    }

    pub(super) fn loss(
        &self,
        phase: Phase,
        seed: Seed,
    ) -> Result<Watched<'_, LossHook>, PluginError> {
        let context = Context { seed, phase };
        self.watch(LossHook::new(&self.plugin, &self.settings, context))
    }

    fn watch<I: Instance>(
        &self,
        started: Result<I, PluginError>,
    ) -> Result<Watched<'_, I>, PluginError> {
        let mut usage = self.usage.borrow_mut();
        usage.instances += 1;
        let mut inner = started?;
        let statistics = inner.statistics();
        usage.note(Hook::Configure, &Statistics::default(), &statistics, true);
        usage.hear(inner.drain_messages());
        Ok(Watched {
            subject: self,
            inner,
        })
    }
}

impl Usage {
    fn note(&mut self, hook: Hook, before: &Statistics, after: &Statistics, answered: bool) {
        self.calls += after.calls - before.calls;
        let fuel = after.fuel - before.fuel;
        self.total_fuel += fuel;
        if answered && fuel > self.fuel {
            self.fuel = fuel;
            self.fuel_hook = Some(hook);
        }
        self.peak_tensors = self.peak_tensors.max(after.peak_tensors);
        self.left_tensors = self.left_tensors.max(after.live_tensors);
    }

    /// Adds the messages of one call.
    fn hear(&mut self, messages: Vec<Message>) {
        self.messages += messages.len() as u64;
        let bytes: usize = messages
            .iter()
            .map(|message| match message {
                Message::Log { text, .. } => text.len(),
                Message::Metric { name, .. } => name.len() + size_of::<f64>(),
            })
            .sum();
        self.log_bytes = self.log_bytes.max(bytes as u64);
    }
}

impl<I: Instance> Watched<'_, I> {
    /// Calls a function of the instance.
    pub(super) fn call<T>(
        &mut self,
        hook: Hook,
        function: impl FnOnce(&mut I) -> Result<T, PluginError>,
    ) -> Result<T, PluginError> {
        let before = self.inner.statistics();
        let begun = Instant::now();
        let answer = function(&mut self.inner);
        let time = begun.elapsed();
        let after = self.inner.statistics();
        let mut usage = self.subject.usage.borrow_mut();
        usage.note(hook, &before, &after, answer.is_ok());
        usage.hear(self.inner.drain_messages());
        if answer.is_ok() {
            usage.longest = usage.longest.max(time);
        }
        answer
    }
}

impl<I: Remembers> Watched<'_, I> {
    pub(super) fn save(&mut self) -> Result<Vec<u8>, PluginError> {
        self.call(Hook::Save, Remembers::save)
    }

    pub(super) fn restore(&mut self, state: &[u8]) -> Result<(), PluginError> {
        self.call(Hook::Restore, |instance| instance.restore(state))
    }
}

macro_rules! instance {
    ($kind:ty) => {
        impl Instance for $kind {
            fn statistics(&self) -> Statistics {
                self.statistics()
            }

            fn drain_messages(&mut self) -> Vec<Message> {
                self.drain_messages()
            }
        }
    };
}

macro_rules! remembers {
    ($kind:ty) => {
        instance!($kind);

        impl Remembers for $kind {
            fn save(&mut self) -> Result<Vec<u8>, PluginError> {
                self.save()
            }

            fn restore(&mut self, state: &[u8]) -> Result<(), PluginError> {
                self.restore(state)
            }
        }
    };
}

instance!(PartitionScheme);
remembers!(Schedule);
remembers!(LossHook);
