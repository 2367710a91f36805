//! The sandbox and what is loaded into it: references become plugins that are known to fit.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use serde::Serialize;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, WasmBacktraceDetails};

use super::contract::CONTRACT;
use super::contract::v0_1::exports::incubate::plugin::description;
use super::contract::v0_1::incubate::plugin as interfaces;
use super::description::Description;
use super::error::{PluginError, PluginErrorKind, SandboxError};
use super::grants::{Grant, Grants};
use super::identity::{Origin, PluginIdentity};
use super::imports::{Surface, grant_for};
use super::kind::{Hook, Kind};
use super::library::{self, BuiltIn};
use super::limits::Limits;
use super::randomness::Randomness;
use super::session::Live;
use super::settings::{SettingValue, Settings};
use super::state::State;
use crate::digest::sha256;

/// How often the engine looks whether a call has passed its deadline.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The sandbox: compiles plugins and checks that they fit.
pub struct PluginHost {
    engine: Engine,
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
        if let Some(folder) = cache {
            let mut cache = CacheConfig::new();
            cache.with_directory(folder);
            config.cache(Cache::new(cache).ok());
        }
        let engine = Engine::new(&config).map_err(|error| SandboxError {
            reason: format!("{error:#}"),
        })?;
        start_ticking(&engine)?;
        Ok(Self { engine })
    }

    /// Every plugin that is part of this program.
    pub fn built_in() -> impl Iterator<Item = &'static BuiltIn> {
        library::BUILT_IN.iter()
    }

    /// Loads the plugin `reference`, a built-in name or the path of a file, for use as `kind`.
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
        let bytes = library::bytes(reference, &mut identity)?;
        let refuse = |identity: &PluginIdentity, kind| PluginError::new(identity, kind);

        check_format(&bytes).map_err(|kind| refuse(&identity, kind))?;
        let component = Component::new(&self.engine, &bytes).map_err(|error| {
            refuse(
                &identity,
                PluginErrorKind::Compile {
                    reason: format!("{error:#}"),
                },
            )
        })?;
        let surface = Surface::of(&self.engine, &component);
        let kind = surface
            .kind(wanted)
            .and_then(|kind| surface.check_imports(kind).map(|()| kind))
            .and_then(|kind| surface.check_grants(grants).map(|()| kind))
            .map_err(|kind| refuse(&identity, kind))?;
        let pre = self
            .link(&component, &surface)
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
            sha256: sha256(&bytes),
            bytes: bytes.len(),
            grants: grants.clone(),
            limits: *limits,
            pre,
        })))
    }

    /// Connects a component to the interfaces that it imports, and to no others.
    fn link(
        &self,
        component: &Component,
        surface: &Surface,
    ) -> Result<InstancePre<State>, PluginErrorKind> {
        let misfit = |error: wasmtime::Error| PluginErrorKind::Interface {
            plugin: surface.contract(),
            host: CONTRACT,
            reason: format!("{error:#}"),
        };
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
            "tensors" => tensors, "readback" => readback
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

/// Asks a plugin what it is, twice, since everything later relies on the answer.
fn describe(
    pre: &InstancePre<State>,
    limits: &Limits,
    identity: &mut PluginIdentity,
) -> Result<Description, PluginError> {
    let misfit = |error: wasmtime::Error| PluginErrorKind::Interface {
        plugin: None,
        host: CONTRACT,
        reason: format!("{error:#}"),
    };
    description::GuestIndices::new(pre)
        .map_err(|error| PluginError::new(identity, misfit(error)))?;
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
