//! What a component imports and exports, checked before a line of it runs.
//!
//! Nothing outside the contract is ever granted, so that a plugin is a function of what the host
//! gives it. The checks stand in the order in which their answers help most.

use semver::Version;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::contract::{CONTRACT, PACKAGE};
use super::error::PluginErrorKind;
use super::grants::{Grant, Grants};
use super::kind::Kind;
use super::text::{self, plain};

/// Imports and exports of a component by name.
#[derive(Clone, Debug)]
pub(super) struct Surface {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// An interface of the contract, in some version.
#[derive(Clone, Debug, PartialEq)]
struct Interface<'a> {
    name: &'a str,
    version: Version,
}

impl Surface {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let names = component.component_type();
        Self {
            imports: names
                .imports(engine)
                .map(|(name, _)| plain(name, text::NAME))
                .collect(),
            exports: names
                .exports(engine)
                .map(|(name, _)| plain(name, text::NAME))
                .collect(),
        }
    }

    /// The contract version that the component was built for, if it shows one.
    pub(super) fn contract(&self) -> Option<Version> {
        self.exports
            .iter()
            .chain(&self.imports)
            .filter_map(|name| parse(name))
            .map(|interface| interface.version)
            .max()
    }

    /// The kind of plugin, from what it exports.
    ///
    /// # Errors
    ///
    /// It was built for another version of the contract, or it is no plugin.
    pub(super) fn kind(&self, wanted: Option<Kind>) -> Result<Kind, PluginErrorKind> {
        for name in self.exports.iter().chain(&self.imports) {
            if let Some(interface) = parse(name)
                && !compatible(&interface.version)
            {
                return Err(PluginErrorKind::ContractVersion {
                    interface: name.clone(),
                    plugin: interface.version,
                    host: CONTRACT,
                });
            }
        }
        let exported = |kind: &Kind| {
            self.exports
                .iter()
                .filter_map(|name| parse(name))
                .any(|interface| interface.name == kind.interface())
        };
        let found: Vec<Kind> = Kind::ALL.into_iter().filter(exported).collect();
        match (found.as_slice(), wanted) {
            ([], _) => Err(PluginErrorKind::NoContract {
                exports: self.exports.clone(),
            }),
            (found, Some(wanted)) if found.contains(&wanted) => Ok(wanted),
            ([found, ..], Some(wanted)) => Err(PluginErrorKind::Kind {
                found: *found,
                wanted,
            }),
            ([found, ..], None) => Ok(*found),
        }
    }

    /// Refuses every import that a plugin of this kind does not get.
    pub(super) fn check_imports(&self, kind: Kind) -> Result<(), PluginErrorKind> {
        let granted = importable(kind);
        for import in &self.imports {
            let known = parse(import).is_some_and(|interface| granted.contains(&interface.name));
            if !known {
                return Err(PluginErrorKind::Import {
                    import: import.clone(),
                    kind,
                    granted: granted
                        .iter()
                        .filter(|name| **name != "types")
                        .map(|name| format!("{PACKAGE}/{name}"))
                        .collect(),
                });
            }
        }
        Ok(())
    }

    /// Refuses imports that need a grant which the experiment does not give.
    pub(super) fn check_grants(&self, kind: Kind, grants: &Grants) -> Result<(), PluginErrorKind> {
        for import in &self.imports {
            if let Some(grant) = grant_for(import)
                && !grants.contains(grant)
            {
                return Err(PluginErrorKind::Grant {
                    interface: import.clone(),
                    grant,
                    kind,
                });
            }
        }
        Ok(())
    }

    /// Whether the component imports an interface of the contract.
    pub(super) fn has_import(&self, name: &str) -> bool {
        self.imports
            .iter()
            .filter_map(|import| parse(import))
            .any(|interface| interface.name == name)
    }
}

/// The interfaces that the world of this kind imports, with those they use.
pub(super) const fn importable(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::PartitionScheme => &["types", "log", "metrics"],
        Kind::LrSchedule => &["types", "log", "metrics", "random"],
        Kind::LossHook => &[
            "types", "log", "metrics", "random", "tensors", "readback", "weights", "teacher",
        ],
    }
}

/// What is granted to a component that imports nothing which needs it.
pub(super) fn unused_grants(surface: &Surface, grants: &Grants) -> Vec<Grant> {
    let used: Vec<Grant> = surface
        .imports
        .iter()
        .filter_map(|import| grant_for(import))
        .collect();
    grants
        .iter()
        .filter(|grant| !used.contains(grant))
        .collect()
}

/// The grant that an import needs.
pub(super) fn grant_for(import: &str) -> Option<Grant> {
    Grant::for_interface(parse(import)?.name)
}

/// `incubate:plugin/log@0.1.0` as name and version; `None` for anything outside the contract.
fn parse(name: &str) -> Option<Interface<'_>> {
    let (name, version) = name
        .strip_prefix(PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')?;
    Some(Interface {
        name,
        version: Version::parse(version).ok()?,
    })
}

/// Whether a plugin for `version` may work with this host; a function that is missing shows later.
fn compatible(version: &Version) -> bool {
    let same_series = if CONTRACT.major == 0 {
        version.major == 0 && version.minor == CONTRACT.minor
    } else {
        version.major == CONTRACT.major
    };
    // The component model matches pre-releases only when they are equal.
    same_series && (version.pre.is_empty() || *version == CONTRACT)
}

#[cfg(test)]
mod tests {
    use wit_parser::{Resolve, WorldItem};

    use super::*;

    /// The table of [`importable`] is the worlds of the contract.
    #[test]
    fn the_worlds_say_what_each_kind_may_import() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/wit/plugin@0.1.1");
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(folder).unwrap();
        assert_eq!(
            resolve.packages[package].name.to_string(),
            format!("{PACKAGE}@{CONTRACT}")
        );
        for kind in Kind::ALL {
            let world = resolve.packages[package].worlds[kind.world()];
            let mut imports: Vec<String> = resolve.worlds[world]
                .imports
                .values()
                .map(|item| match item {
                    WorldItem::Interface { id, .. } => {
                        resolve.interfaces[*id].name.clone().unwrap()
                    }
                    other => panic!("an import outside an interface: {other:?}"),
                })
                .collect();
            imports.sort();
            let mut expected = importable(kind).to_vec();
            expected.sort_unstable();
            assert_eq!(imports, expected, "{kind}");
        }
    }

    #[test]
    fn versions_of_one_series_are_compatible() {
        let version = |text: &str| compatible(&Version::parse(text).unwrap());
        assert!(version("0.1.0"));
        assert!(version("0.1.7"));
        assert!(!version("0.2.0"));
        assert!(!version("0.0.9"));
        assert!(!version("1.1.0"));
        assert!(!version("0.1.0-rc.1"));
    }

    fn surface(imports: &[&str], exports: &[&str]) -> Surface {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Surface {
            imports: owned(imports),
            exports: owned(exports),
        }
    }

    #[test]
    fn names_that_only_look_like_the_contract_are_not_granted() {
        for import in [
            "incubate:plugins/log@0.1.0",
            "incubate:plugin/log",
            "incubate:plugin/files@0.1.0",
            "incubate:plugin/loss@0.1.0",
            "wasi:clocks/monotonic-clock@0.2.0",
            "env",
        ] {
            let refused = surface(&[import], &[]).check_imports(Kind::LossHook);
            assert!(
                matches!(refused, Err(PluginErrorKind::Import { .. })),
                "{import}"
            );
        }
        let random = surface(&["incubate:plugin/random@0.1.0"], &[]);
        assert!(random.check_imports(Kind::LrSchedule).is_ok());
        assert!(random.check_imports(Kind::PartitionScheme).is_err());
    }

    #[test]
    fn a_component_of_several_kinds_is_what_is_wanted() {
        let both = surface(
            &[],
            &[
                "incubate:plugin/schedule@0.1.0",
                "incubate:plugin/loss@0.1.2",
            ],
        );
        assert_eq!(both.kind(Some(Kind::LossHook)).unwrap(), Kind::LossHook);
        assert_eq!(both.kind(Some(Kind::LrSchedule)).unwrap(), Kind::LrSchedule);
        assert!(both.kind(Some(Kind::PartitionScheme)).is_err());
        assert_eq!(both.contract(), Some(Version::new(0, 1, 2)));
    }
}
