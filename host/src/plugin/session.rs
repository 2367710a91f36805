//! A running instance of a plugin: started once, called many times, dropped at the first crash.
//!
//! Every call starts with full fuel and a full deadline, and ends with an empty arena. A crash
//! leaves the memory of a plugin in an unknown state, so nothing is called in it again.

mod recorder;
mod remembering;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use super::contract::v0_1::exports::incubate::plugin::{description, loss, partition, schedule};
use super::contract::v0_1::incubate::plugin::types::{Fault, FaultCode, Setting};
use super::engine::{Plugin, TICK};
use super::error::{PluginError, PluginErrorKind};
use super::identity::PluginIdentity;
use super::journal::Message;
use super::kind::Hook;
use super::limits::{Breach, Limit, Limits};
use super::randomness::{Context, Randomness};
use super::recording::{Call, Recording};
use super::replay::shown_nothing;
use super::settings::Settings;
use super::state::{Spent, State};
use super::tensors::Arena;
use super::text::{self, plain};
use super::trace::Tape;
use recorder::Memory;
pub(super) use recorder::Remembering;
pub(super) use remembering::remembering;

/// Frames of a crash that are shown.
const FRAMES: usize = 6;

/// What the engine says when a plugin hands over more than `Limits::copied_bytes` at once; it has no
/// public type for this error.
const COPIED_TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// What an instance has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Calls into the plugin.
    pub calls: u64,
    /// Tensor operations that it asked for.
    pub operations: u64,
    /// Times that it waited for the device to see numbers.
    pub readbacks: u64,
    /// Instructions that it ran.
    pub fuel: u64,
    /// Most tensors that lived at the same time.
    pub peak_tensors: u64,
    /// Tensors that live now; 0 between calls.
    pub live_tensors: u64,
    /// Times that its instance was replaced because it kept too many handles.
    pub replacements: u64,
    /// Bytes of the linear memories of its present instance.
    pub memory_bytes: u64,
}

/// The functions of one exported interface.
pub(super) trait Exports: Sized {
    /// Finds the functions in an instance.
    fn load(
        store: &mut Store<State>,
        pre: &InstancePre<State>,
        instance: &Instance,
    ) -> wasmtime::Result<Self>;
}

/// The functions of an interface that is configured.
pub(super) trait Configurable: Exports {
    fn configure(
        &self,
        store: &mut Store<State>,
        settings: &[Setting],
    ) -> wasmtime::Result<Result<(), Fault>>;
}

macro_rules! exports {
    ($interface:ident) => {
        impl Exports for $interface::Guest {
            fn load(
                store: &mut Store<State>,
                pre: &InstancePre<State>,
                instance: &Instance,
            ) -> wasmtime::Result<Self> {
                $interface::GuestIndices::new(pre)?.load(store, instance)
            }
        }
    };
}

macro_rules! remembering {
    ($interface:ident) => {
        configurable!($interface);

        impl Remembering for $interface::Guest {
            fn saved(&self, store: &mut Store<State>) -> wasmtime::Result<Vec<u8>> {
                self.call_save(store)
            }
        }
    };
}

macro_rules! configurable {
    ($interface:ident) => {
        exports!($interface);

        impl Configurable for $interface::Guest {
            fn configure(
                &self,
                store: &mut Store<State>,
                settings: &[Setting],
            ) -> wasmtime::Result<Result<(), Fault>> {
                self.call_configure(store, settings)
            }
        }
    };
}

exports!(description);
configurable!(partition);
remembering!(schedule);
remembering!(loss);

/// An instance with the functions of one interface.
pub(super) struct Live<E> {
    store: Store<State>,
    exports: E,
    limits: Limits,
    statistics: Statistics,
    spent: Spent,
}

impl<E: Exports> Live<E> {
    /// Starts an instance.
    pub(super) fn start(
        pre: &InstancePre<State>,
        limits: &Limits,
        randomness: Randomness,
    ) -> Result<Self, PluginErrorKind> {
        let mut store = Store::new(pre.engine(), State::new(limits, randomness));
        store.limiter(|state| &mut state.meter);
        store.set_max_component_handles(Arena::handles_max(limits) as usize);
        store.set_hostcall_fuel(usize::try_from(limits.copied_bytes).unwrap_or(usize::MAX));
        store.epoch_deadline_callback(|context| {
            let left = context.data().clock.left().map_err(wasmtime::Error::new)?;
            Ok(UpdateDeadline::Continue(ticks(left)))
        });
        refuel(&mut store, limits).map_err(start_error)?;
        let instance = match pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(failed_start(&error, &mut store, limits)),
        };
        let exports = E::load(&mut store, pre, &instance).map_err(start_error)?;
        Ok(Self {
            store,
            exports,
            limits: *limits,
            statistics: Statistics::default(),
            spent: Spent::default(),
        })
    }

    /// Calls a function; `update` says which random stream it sees.
    pub(super) fn call<R>(
        &mut self,
        hook: Hook,
        update: Option<u64>,
        function: impl FnOnce(&mut Store<State>, &E) -> wasmtime::Result<R>,
    ) -> Result<R, Stop> {
        let store = &mut self.store;
        store.data_mut().begin(hook, update);
        let result = refuel(store, &self.limits).and_then(|()| function(store, &self.exports));
        let fuel_left = store.get_fuel().unwrap_or(0);
        let result = match result {
            Ok(answer) => Ok(answer),
            Err(error) => Err(failure(&error, store, &self.limits)),
        };
        let fuel = self.limits.fuel.saturating_sub(fuel_left);
        let state = store.data_mut();
        let breach = state.arena.take_breach();
        self.spent = self.spent + state.clock.spent();
        if let Some(tape) = &state.tape {
            tape.end(fuel);
        }
        state.end();
        self.statistics.calls += 1;
        self.statistics.fuel += fuel;
        result.map_err(|kind| Stop {
            kind: Box::new(kind),
            breach,
        })
    }
}

/// Why a call did not return.
pub(super) struct Stop {
    pub(super) kind: Box<PluginErrorKind>,
    breach: Option<Breach>,
}

/// A configured plugin in an instance, until it crashes.
pub(super) struct Session<E> {
    plugin: Plugin,
    settings: Vec<Setting>,
    /// The same, as they were checked.
    given: Settings,
    context: Option<Context>,
    live: Option<Live<E>>,
    /// What instances before the present one used.
    before: Statistics,
    spent_before: Spent,
    /// Messages of an instance that is gone.
    messages: Vec<Message>,
    memory: Memory,
    /// The calls, when they are recorded.
    recordings: Option<Vec<Recording>>,
    /// Where host calls are written down, when a call is made again.
    tape: Option<Tape>,
}

impl<E: Configurable> Session<E> {
    /// Starts the plugin and configures it; host calls are written to `tape`.
    pub(super) fn new(
        plugin: &Plugin,
        settings: &Settings,
        context: Option<Context>,
        tape: Option<Tape>,
    ) -> Result<Self, PluginError> {
        let mut session = Self {
            plugin: plugin.clone(),
            settings: settings.to_contract(),
            given: settings.clone(),
            context,
            live: None,
            before: Statistics::default(),
            spent_before: Spent::default(),
            messages: Vec::new(),
            memory: Memory::new(),
            recordings: None,
            tape,
        };
        let started = session.start();
        session.recorded(started, || Some(Call::Configure), |()| shown_nothing())?;
        Ok(session)
    }

    pub(super) fn identity(&self) -> &PluginIdentity {
        self.plugin.identity()
    }

    fn start(&mut self) -> Result<(), PluginError> {
        let plugin = &self.plugin;
        let randomness = Randomness::new(self.context, &plugin.description().name);
        let mut live = Live::start(plugin.pre(), plugin.limits(), randomness)
            .map_err(|kind| PluginError::new(plugin.identity(), kind))?;
        live.store.data_mut().tape = self.tape.clone();
        self.live = Some(live);
        let settings = std::mem::take(&mut self.settings);
        let configured = self.answer(Hook::Configure, None, |store, exports| {
            exports.configure(store, &settings)
        });
        self.settings = settings;
        configured
    }

    /// Calls a function that cannot answer a fault.
    pub(super) fn call<R>(
        &mut self,
        hook: Hook,
        update: Option<u64>,
        function: impl FnOnce(&mut Store<State>, &E) -> wasmtime::Result<R>,
    ) -> Result<R, PluginError> {
        self.answer(hook, update, |store, exports| {
            function(store, exports).map(Ok)
        })
    }

    /// Calls a function that may answer a fault, which leaves the instance alive.
    pub(super) fn answer<R>(
        &mut self,
        hook: Hook,
        update: Option<u64>,
        function: impl FnOnce(&mut Store<State>, &E) -> wasmtime::Result<Result<R, Fault>>,
    ) -> Result<R, PluginError> {
        let Some(live) = &mut self.live else {
            return Err(self.error(hook, PluginErrorKind::Stopped));
        };
        // The breach belongs to the call, so a fault is told apart before the call is over.
        let called = live.call(hook, update, |store, exports| {
            Ok(function(store, exports)?.map_err(|fault| fault_kind(fault, store)))
        });
        match called {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kind)) => Err(self.error(hook, kind)),
            Err(stop) => {
                self.retire();
                // A plugin that does not expect an operation to be refused crashes soon after it.
                let kind = match (*stop.kind, stop.breach) {
                    (PluginErrorKind::Trap { .. }, Some(breach)) => PluginErrorKind::Limit(breach),
                    (kind, _) => kind,
                };
                Err(self.error(hook, kind))
            }
        }
    }

    /// Puts a new instance in the place of one that kept too many handles.
    pub(super) fn replace_if_worn(
        &mut self,
        save: impl FnOnce(&mut Store<State>, &E) -> wasmtime::Result<Vec<u8>>,
        restore: impl FnOnce(&mut Store<State>, &E, &[u8]) -> wasmtime::Result<Result<(), Fault>>,
    ) -> Result<(), PluginError> {
        let worn = |live: &Live<E>| live.store.data().arena.is_worn();
        if !self.live.as_ref().is_some_and(worn) {
            return Ok(());
        }
        let state = self.call(Hook::Save, None, save)?;
        self.retire();
        self.before.replacements += 1;
        self.start()?;
        self.answer(Hook::Restore, None, |store, exports| {
            restore(store, exports, &state)
        })
    }

    pub(super) fn error(&self, hook: Hook, kind: PluginErrorKind) -> PluginError {
        PluginError::in_hook(self.identity(), hook, kind)
    }

    /// Calls a function whose cost does not count as the plugin's: what it has used stays as it is.
    pub(super) fn uncounted<R>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<R, PluginError>,
    ) -> Result<R, PluginError> {
        let counted = self.live.as_ref().map(|live| (live.statistics, live.spent));
        let answer = call(self);
        if let (Some(live), Some((statistics, spent))) = (&mut self.live, counted) {
            (live.statistics, live.spent) = (statistics, spent);
        }
        answer
    }

    /// Takes what an instance in another process used for what this one has used.
    pub(super) fn has_used(&mut self, statistics: Statistics, spent: Spent) {
        (self.before, self.spent_before) = (statistics, spent);
        if let Some(live) = &mut self.live {
            live.statistics = Statistics::default();
            live.spent = Spent::default();
        }
    }

    /// Drops the instance; what it said and used is kept.
    fn retire(&mut self) {
        self.before = self.statistics();
        self.spent_before = self.spent();
        if let Some(mut live) = self.live.take() {
            self.messages.extend(live.store.data_mut().journal.drain());
        }
    }

    pub(super) fn drain_messages(&mut self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.messages);
        if let Some(live) = &mut self.live {
            messages.extend(live.store.data_mut().journal.drain());
        }
        messages
    }

    pub(super) fn statistics(&self) -> Statistics {
        let before = self.before;
        let Some(live) = &self.live else {
            return Statistics {
                memory_bytes: 0,
                ..before
            };
        };
        let arena = &live.store.data().arena;
        Statistics {
            calls: before.calls + live.statistics.calls,
            operations: before.operations + arena.operations,
            readbacks: before.readbacks + arena.readbacks,
            fuel: before.fuel + live.statistics.fuel,
            peak_tensors: before.peak_tensors.max(arena.peak),
            live_tensors: arena.live(),
            replacements: before.replacements,
            memory_bytes: live.store.data().meter.memory_bytes(),
        }
    }

    /// The wall time of all calls.
    pub(super) fn spent(&self) -> Spent {
        let live = self.live.as_ref().map(|live| live.spent);
        self.spent_before + live.unwrap_or_default()
    }
}

impl<E> std::fmt::Debug for Session<E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("plugin", &self.plugin)
            .field("context", &self.context)
            .field("live", &self.live.is_some())
            .finish_non_exhaustive()
    }
}

fn refuel(store: &mut Store<State>, limits: &Limits) -> wasmtime::Result<()> {
    store.set_fuel(limits.fuel)?;
    store.set_epoch_deadline(ticks(Duration::from_millis(limits.deadline_ms)));
    Ok(())
}

/// Ticks of the engine that surely cover `time`.
fn ticks(time: Duration) -> u64 {
    (time.as_nanos() / TICK.as_nanos()) as u64 + 1
}

fn start_error(error: wasmtime::Error) -> PluginErrorKind {
    PluginErrorKind::Start {
        reason: plain(&format!("{error:#}"), text::SENTENCE),
    }
}

fn failed_start(
    error: &wasmtime::Error,
    store: &mut Store<State>,
    limits: &Limits,
) -> PluginErrorKind {
    if let Some(breach) = store.data_mut().meter.take_refused() {
        return PluginErrorKind::Limit(breach);
    }
    let reason = format!("{error:#}");
    // The engine counts instances, memories and tables itself and has no type for this error.
    if reason.contains("count too high") {
        return PluginErrorKind::Limit(Breach {
            limit: Limit::Instances,
            allowed: limits.instances,
            wanted: None,
        });
    }
    match failure(error, store, limits) {
        PluginErrorKind::Trap { frames, .. } if frames.is_empty() => PluginErrorKind::Start {
            reason: plain(&reason, text::SENTENCE),
        },
        kind => kind,
    }
}

/// What a call that did not return means.
fn failure(error: &wasmtime::Error, store: &mut Store<State>, limits: &Limits) -> PluginErrorKind {
    let state = store.data_mut();
    let refused = state.meter.take_refused();
    if let Some(&breach) = error.downcast_ref::<Breach>() {
        return PluginErrorKind::Limit(breach);
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::OutOfFuel) {
        return PluginErrorKind::Limit(Breach {
            limit: Limit::Fuel,
            allowed: limits.fuel,
            wanted: None,
        });
    }
    if error.root_cause().to_string().contains(COPIED_TOO_MUCH) {
        return PluginErrorKind::Limit(Breach {
            limit: Limit::CopiedBytes,
            allowed: limits.copied_bytes,
            wanted: None,
        });
    }
    if let Some(breach) = refused {
        return PluginErrorKind::Limit(breach);
    }
    let reason = trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string);
    PluginErrorKind::Trap {
        reason: plain(
            reason.strip_prefix("wasm trap: ").unwrap_or(&reason),
            text::SENTENCE,
        ),
        message: state.journal.take_last_error(),
        frames: error
            .downcast_ref::<WasmBacktrace>()
            .map(frames)
            .unwrap_or_default(),
    }
}

/// The functions of a backtrace, innermost first, without those that only carry out a panic.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    const PANIC: [&str; 8] = [
        "core::panicking::",
        "core::result::unwrap_failed",
        "core::option::",
        "std::panicking::",
        "std::sys::",
        "std::alloc::",
        "alloc::",
        "__rust",
    ];
    // Names are demangled by the engine when it prints a backtrace, and nowhere else.
    let printed = backtrace.to_string();
    let names = || {
        printed
            .lines()
            .filter_map(|line| line.split_once(" - ")?.1.split_once('!'))
            .map(|(_, name)| plain(&without_hashes(name), text::NAME))
    };
    let own = |name: &String| !PANIC.iter().any(|prefix| name.starts_with(prefix));
    let shown: Vec<String> = names().filter(own).take(FRAMES).collect();
    if shown.is_empty() {
        names().take(FRAMES).collect()
    } else {
        shown
    }
}

/// A Rust name without the digests that the compiler adds: `std[d730ca44a121e5f3]::path` and
/// `path::h0123456789abcdef`.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| {
        (15..=16).contains(&text.len()) && text.chars().all(|digit| digit.is_ascii_hexdigit())
    };
    let name = match name.rsplit_once("::h") {
        Some((path, hash)) if is_hash(hash) => path,
        _ => name,
    };
    let mut clean = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        clean.push_str(before);
        match after.split_once(']') {
            Some((hash, behind)) if is_hash(hash) => rest = behind,
            _ => {
                clean.push('[');
                rest = after;
            }
        }
    }
    clean.push_str(rest);
    clean
}

/// A fault of the plugin, or the limit behind it.
fn fault_kind(fault: Fault, store: &mut Store<State>) -> PluginErrorKind {
    let breach = store.data_mut().arena.take_breach();
    if fault.code == FaultCode::Budget
        && let Some(breach) = breach
    {
        return PluginErrorKind::Limit(breach);
    }
    PluginErrorKind::Fault {
        code: match fault.code {
            FaultCode::InvalidInput => "invalid-input",
            FaultCode::Shape => "shape",
            FaultCode::ElementType => "element-type",
            FaultCode::Budget => "budget",
            FaultCode::Unsupported => "unsupported",
            FaultCode::Internal => "internal",
        },
        message: plain(&fault.message, text::MESSAGE),
        hint: fault.hint.map(|hint| plain(&hint, text::MESSAGE)),
    }
}

#[cfg(test)]
mod tests {
    use super::without_hashes;

    #[test]
    fn names_lose_their_digests_and_nothing_else() {
        assert_eq!(
            without_hashes("std[d730ca44a121e5f3]::sys[4d105328dfd0a45]::a::{closure#0}"),
            "std::sys::a::{closure#0}"
        );
        assert_eq!(
            without_hashes("core::slice::<impl [T]>::len::h0123456789abcdef"),
            "core::slice::<impl [T]>::len"
        );
        assert_eq!(without_hashes("a[1]::h12"), "a[1]::h12");
    }
}
