//! The sandbox and what is loaded into it: references become plugins that are known to fit.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use serde::Serialize;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use super::cache::Cache;
use super::contract::CONTRACT;
use super::contract::v0_1::exports::incubate::plugin::{description, loss, partition, schedule};
use super::contract::v0_1::incubate::plugin as interfaces;
use super::description::Description;
use super::error::{PluginError, PluginErrorKind, SandboxError};
use super::grants::{Grant, Grants};
use super::identity::{Origin, PluginIdentity};
use super::imports::{Surface, grant_for, unused_grants};
use super::kind::{Hook, Kind};
use super::library::{self, BuiltIn, Provided};
use super::limits::Limits;
use super::metadata::Metadata;
use super::randomness::Randomness;
use super::session::Live;
use super::settings::{SettingValue, Settings};
use super::state::State;
use super::text::{self, plain};
use super::weights::WeightNames;
use crate::digest::sha256;

/// How often the engine looks whether a call has passed its deadline.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The sandbox: compiles plugins and checks that they fit.
pub struct PluginHost {
    engine: Engine,
    cache: Option<Cache>,
    cache_problem: Option<String>,
    /// Plugins that somebody has fetched, by the reference that names them.
    provided: HashMap<String, Provided>,
}

/// A plugin that was compiled, checked, and asked what it is.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

#[derive(Clone)]
struct Loaded {
    identity: PluginIdentity,
    origin: Origin,
    kind: Kind,
    description: Description,
    surface: Surface,
    metadata: Metadata,
    sha256: String,
    bytes: usize,
    grants: Grants,
    limits: Limits,
    pre: InstancePre<State>,
}

/// Everything that can be known of a plugin without running it in an experiment.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Where it came from.
    pub origin: Origin,
    /// What it decides.
    pub kind: Kind,
    /// What it says about itself.
    pub description: Description,
    /// What stands inside it about its making.
    pub metadata: Metadata,
    /// The contract version that it was built for.
    pub contract: Option<Version>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The grants that it needs.
    pub grants: Vec<Grant>,
    /// The digest of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: usize,
}

impl PluginHost {
    /// Starts the sandbox; compiled code is kept in the folder `cache`, if one is given. A cache
    /// that cannot be used costs time and nothing else: the code is compiled again.
    ///
    /// # Errors
    ///
    /// The machine is not supported, or no thread can be started.
    pub fn new(cache: Option<&Path>) -> Result<Self, SandboxError> {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .epoch_interruption(true)
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable);
        let engine = Engine::new(&config).map_err(|error| SandboxError {
            reason: format!("{error:#}"),
        })?;
        start_ticking(&engine)?;
        let (cache, cache_problem) = match cache.map(|folder| Cache::open(folder, &engine)) {
            None => (None, None),
            Some(Ok(cache)) => (Some(cache), None),
            Some(Err(distrust)) => (None, Some(distrust.to_string())),
        };
        Ok(Self {
            engine,
            cache,
            cache_problem,
            provided: HashMap::new(),
        })
    }

    /// Why the folder for compiled code is not used, if it is not.
    pub fn cache_problem(&self) -> Option<&str> {
        self.cache_problem.as_deref()
    }

    /// Every plugin that is part of this program.
    pub fn built_in() -> impl Iterator<Item = &'static BuiltIn> {
        library::BUILT_IN.iter()
    }

    /// From now on `reference` means these bytes, which came from `origin`: how plugins from
    /// registries and addresses get here, since the sandbox itself reads nothing but files.
    pub fn provide(&mut self, reference: &str, origin: Origin, bytes: Vec<u8>) {
        self.provided
            .insert(reference.to_owned(), Provided { origin, bytes });
    }

    /// Loads the plugin `reference`, a built-in name, the path of a file or folder, or what was
    /// provided under it, for use as `kind`.
    ///
    /// # Errors
    ///
    /// There is no such plugin, it is no component, it was built for another contract, it is of
    /// another kind, it imports something that is not granted, or it describes itself badly.
    pub fn load(
        &self,
        reference: &str,
        kind: Kind,
        grants: &Grants,
        limits: &Limits,
    ) -> Result<Plugin, PluginError> {
        self.load_any(reference, Some(kind), grants, limits)
    }

    /// The bytes that `reference` stands for, as [`Self::load`] would read them.
    ///
    /// # Errors
    ///
    /// There is no such plugin.
    pub fn bytes(&self, reference: &str) -> Result<Vec<u8>, PluginError> {
        let mut identity = PluginIdentity::asked_for(reference);
        library::bytes(reference, &self.provided, &mut identity)
    }

    /// Looks at a plugin of any kind.
    ///
    /// # Errors
    ///
    /// As [`Self::load`], but for the kind and for grants.
    pub fn inspect(&self, reference: &str) -> Result<Inspection, PluginError> {
        let every = Grants::of(&Grant::ALL);
        let plugin = self.load_any(reference, None, &every, &Limits::default())?;
        let loaded = &plugin.0;
        Ok(Inspection {
            origin: loaded.origin.clone(),
            kind: loaded.kind,
            description: loaded.description.clone(),
            metadata: loaded.metadata.clone(),
            contract: loaded.surface.contract(),
            imports: loaded.surface.imports.clone(),
            exports: loaded.surface.exports.clone(),
            grants: loaded
                .surface
                .imports
                .iter()
                .filter_map(|import| grant_for(import))
                .collect(),
            sha256: loaded.sha256.clone(),
            bytes: loaded.bytes,
        })
    }

    fn load_any(
        &self,
        reference: &str,
        wanted: Option<Kind>,
        grants: &Grants,
        limits: &Limits,
    ) -> Result<Plugin, PluginError> {
        let mut identity = PluginIdentity::asked_for(reference);
        let bytes = library::bytes(reference, &self.provided, &mut identity)?;
        let refuse = |identity: &PluginIdentity, kind| PluginError::new(identity, kind);

        check_format(&bytes).map_err(|kind| refuse(&identity, kind))?;
        let sha256 = sha256(&bytes);
        let component = self
            .compile(&bytes, &sha256)
            .map_err(|kind| refuse(&identity, kind))?;
        let surface = Surface::of(&self.engine, &component);
        let kind = surface
            .kind(wanted)
            .and_then(|kind| surface.check_imports(kind).map(|()| kind))
            .and_then(|kind| surface.check_grants(kind, grants).map(|()| kind))
            .map_err(|kind| refuse(&identity, kind))?;
        let pre = self
            .link(&component, &surface)
            .and_then(|pre| check_exports(&pre, kind, &surface).map(|()| pre))
            .map_err(|kind| refuse(&identity, kind))?;
        let description = describe(&pre, limits, &mut identity)?;

        let origin = identity.origin.clone().ok_or_else(|| {
            // `library::bytes` has set it; a plugin without origin has no bytes either.
            refuse(
                &identity,
                PluginErrorKind::Start {
                    reason: "its origin is unknown".to_owned(),
                },
            )
        })?;
        Ok(Plugin(Arc::new(Loaded {
            identity,
            origin,
            kind,
            description,
            surface,
            metadata: Metadata::read(&bytes),
            sha256,
            bytes: bytes.len(),
            grants: grants.clone(),
            limits: *limits,
            pre,
        })))
    }

    /// The component in native code, from the cache or compiled now.
    fn compile(&self, bytes: &[u8], sha256: &str) -> Result<Component, PluginErrorKind> {
        let cache = self.cache.as_ref();
        if let Some(component) = cache.and_then(|cache| cache.load(&self.engine, sha256)) {
            return Ok(component);
        }
        let component =
            Component::new(&self.engine, bytes).map_err(|error| PluginErrorKind::Compile {
                reason: plain(&format!("{error:#}"), text::SENTENCE),
            })?;
        if let Some(cache) = cache {
            // Code that cannot be kept is compiled again the next time.
            let _ = cache.store(sha256, &component);
        }
        Ok(component)
    }

    /// Connects a component to the interfaces that it imports, and to no others.
    fn link(
        &self,
        component: &Component,
        surface: &Surface,
    ) -> Result<InstancePre<State>, PluginErrorKind> {
        let misfit = |error: wasmtime::Error| misfit(&error, surface);
        let mut linker = Linker::new(&self.engine);
        macro_rules! add {
            ($($name:literal => $interface:ident),*) => {
                $(if surface.has_import($name) {
                    interfaces::$interface::add_to_linker::<State, HasSelf<State>>(
                        &mut linker,
                        |state| state,
                    )
                    .map_err(misfit)?;
                })*
            };
        }
        add!(
            "types" => types, "log" => log, "metrics" => metrics, "random" => random,
            "tensors" => tensors, "readback" => readback, "weights" => weights,
            "teacher" => teacher
        );
        linker.instantiate_pre(component).map_err(misfit)
    }
}

impl Plugin {
    /// What the plugin says about itself.
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// What it decides.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The digest of its bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.0.surface.imports
    }

    /// The contract version that it was built for.
    pub fn contract(&self) -> Option<Version> {
        self.0.surface.contract()
    }

    /// What the experiment allows it.
    pub fn grants(&self) -> &Grants {
        &self.0.grants
    }

    /// What the experiment allows it and it does not use.
    pub fn unused_grants(&self) -> Vec<Grant> {
        unused_grants(&self.0.surface, &self.0.grants)
    }

    /// The refusal of a name in its grant `weights` that stands for no weight which is trained.
    pub fn grants_unknown_weight(&self, pattern: &str, nearest: Vec<String>) -> PluginError {
        PluginError::new(
            &self.0.identity,
            PluginErrorKind::GrantedWeight {
                pattern: pattern.to_owned(),
                nearest,
            },
        )
    }

    /// The weights that it may see, if it can see weights at all.
    pub(super) fn weights(&self) -> Option<&WeightNames> {
        let names = self.0.grants.weights()?;
        self.0.surface.has_import("weights").then_some(names)
    }

    /// Whether it asks a teacher.
    pub fn asks_teacher(&self) -> bool {
        self.0.surface.has_import("teacher")
    }

    /// The refusal of a hook that asks a teacher in a phase without one; `table` is the phase's table in
    /// an experiment.
    pub fn without_teacher(&self, table: &str) -> PluginError {
        PluginError::new(
            &self.0.identity,
            PluginErrorKind::NoTeacher {
                table: table.to_owned(),
            },
        )
    }

    /// How much it may use.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The same plugin under other limits; what was compiled is shared.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self(Arc::new(Loaded {
            limits,
            ..Loaded::clone(&self.0)
        }))
    }

    /// Its name in errors.
    pub fn identity(&self) -> &PluginIdentity {
        &self.0.identity
    }

    /// Checks the parameters that an experiment gives and fills in the defaults.
    ///
    /// # Errors
    ///
    /// A parameter is unknown, missing, of another type, or out of its range.
    pub fn settings(
        &self,
        given: &std::collections::BTreeMap<String, SettingValue>,
    ) -> Result<Settings, PluginError> {
        Settings::check(&self.0.description.parameters, given)
            .map_err(|kind| PluginError::new(&self.0.identity, kind))
    }

    pub(super) fn pre(&self) -> &InstancePre<State> {
        &self.0.pre
    }

    /// Refuses a plugin of another kind than `wanted`.
    pub(super) fn require(&self, wanted: Kind) -> Result<(), PluginError> {
        if self.0.kind == wanted {
            return Ok(());
        }
        Err(PluginError::new(
            &self.0.identity,
            PluginErrorKind::Kind {
                found: self.0.kind,
                wanted,
            },
        ))
    }
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PluginHost").finish_non_exhaustive()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("identity", &self.0.identity)
            .field("kind", &self.0.kind)
            .field("sha256", &self.0.sha256)
            .finish_non_exhaustive()
    }
}

/// Counts ticks for the deadlines for as long as the engine is used.
fn start_ticking(engine: &Engine) -> Result<(), SandboxError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-deadline".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map(|_| ())
        .map_err(|error| SandboxError {
            reason: format!("no thread for deadlines: {error}"),
        })
}

/// A function that the plugin has in another shape, or not at all.
fn misfit(error: &wasmtime::Error, surface: &Surface) -> PluginErrorKind {
    PluginErrorKind::Interface {
        plugin: surface.contract(),
        host: CONTRACT,
        reason: plain(&format!("{error:#}"), text::SENTENCE),
    }
}

/// Refuses a plugin whose functions are not those of the contract.
fn check_exports(
    pre: &InstancePre<State>,
    kind: Kind,
    surface: &Surface,
) -> Result<(), PluginErrorKind> {
    description::GuestIndices::new(pre)
        .and_then(|_| match kind {
            Kind::PartitionScheme => partition::GuestIndices::new(pre).map(|_| ()),
            Kind::LrSchedule => schedule::GuestIndices::new(pre).map(|_| ()),
            Kind::LossHook => loss::GuestIndices::new(pre).map(|_| ()),
        })
        .map_err(|error| misfit(&error, surface))
}

/// Asks a plugin what it is, twice, since everything later relies on the answer.
fn describe(
    pre: &InstancePre<State>,
    limits: &Limits,
    identity: &mut PluginIdentity,
) -> Result<Description, PluginError> {
    let mut live = Live::<description::Guest>::start(pre, limits, Randomness::new(None, ""))
        .map_err(|kind| PluginError::new(identity, kind))?;
    let mut ask = || {
        let info = live
            .call(Hook::Describe, None, |store, exports| {
                exports.call_describe(store)
            })
            .map_err(|stop| *stop.kind)?;
        Description::from_contract(info).map_err(|reason| PluginErrorKind::Description { reason })
    };
    let in_hook = |kind| PluginError::in_hook(identity, Hook::Describe, kind);
    let first = ask().map_err(in_hook)?;
    if ask().map_err(in_hook)? != first {
        return Err(in_hook(PluginErrorKind::Description {
            reason: "two calls gave two answers".to_owned(),
        }));
    }
    identity.name = Some(first.name.clone());
    identity.version = Some(first.version.to_string());
    Ok(first)
}

/// Tells a component from what else might be in a file.
fn check_format(bytes: &[u8]) -> Result<(), PluginErrorKind> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];
    const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
    let found = match bytes.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(&COMPONENT) => return Ok(()),
        Some(rest) if rest.starts_with(&CORE_MODULE) => "a core module",
        Some(_) => "WebAssembly of an unknown version",
        None if bytes.is_empty() => "empty",
        None if std::str::from_utf8(bytes).is_ok() => "a text",
        None => "something else",
    };
    Err(PluginErrorKind::Format {
        found: found.to_owned(),
    })
}
