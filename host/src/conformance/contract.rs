//! The file itself: which interfaces it imports and exports, against what this program offers.

use std::fmt;

use semver::Version;
use serde::Serialize;
use wit_component::{DecodedWasm, decode};

use super::report::{Check, Finding, Law, Verdict};
use crate::plugin::{CONTRACT, Grant, Grants, Kind, PluginHost};

/// The package that holds every interface of the contract.
const PACKAGE: &str = "incubate:plugin/";

pub(super) const CONTRACT_LAW: Law = Law {
    id: "contract",
    says: "every import is an interface of the contract in a version that this program offers, and the exports are those of one kind",
};

pub(super) const GRANTS: Law = Law {
    id: "grants",
    says: "it is given the grants that it needs, and no others",
};

/// One interface of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// The whole name, with package and version.
    pub name: String,
    /// Which way it goes.
    pub direction: Direction,
    /// The version of the contract that it names.
    pub plugin: Option<Version>,
    /// How that compares with this program.
    pub relation: Relation,
}

/// Which way an interface goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The host offers it to the plugin.
    Import,
    /// The plugin offers it to the host.
    Export,
}

/// Which side of the contract is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Both name the same version.
    Equal,
    /// The plugin was built for an older version.
    PluginOlder,
    /// This program offers an older version.
    HostOlder,
    /// The interface is not part of the contract.
    Outside,
}

/// The bytes of a component and what they show without being run; empty when there are none.
#[derive(Debug, Default)]
pub(super) struct Component {
    bytes: Vec<u8>,
    interfaces: Vec<Interface>,
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "equal",
            Self::PluginOlder => "the plugin is older",
            Self::HostOlder => "this program is older",
            Self::Outside => "outside the contract",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Import => "import",
            Self::Export => "export",
        })
    }
}

impl Interface {
    fn new(name: String, direction: Direction) -> Self {
        let version = name
            .strip_prefix(PACKAGE)
            .and_then(|rest| rest.split_once('@'))
            .and_then(|(_, version)| Version::parse(version).ok());
        let relation = match &version {
            None => Relation::Outside,
            Some(version) if *version < CONTRACT => Relation::PluginOlder,
            Some(version) if *version > CONTRACT => Relation::HostOlder,
            Some(_) => Relation::Equal,
        };
        Self {
            name,
            direction,
            plugin: version,
            relation,
        }
    }

    /// The name without package and version.
    fn short(&self) -> Option<&str> {
        let (name, _) = self.name.strip_prefix(PACKAGE)?.split_once('@')?;
        Some(name)
    }
}

impl Component {
    /// Reads the component that `reference` names to the sandbox. What cannot be read is left to
    /// the loader, which says what is wrong with it.
    pub(super) fn read(host: &PluginHost, reference: &str) -> Self {
        let bytes = host.bytes(reference).unwrap_or_default();
        let interfaces = interfaces(&bytes);
        Self { bytes, interfaces }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The first kind that it exports.
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| {
            self.side(Direction::Export)
                .any(|interface| interface.short() == Some(kind.interface()))
        })
    }

    fn side(&self, direction: Direction) -> impl Iterator<Item = &Interface> {
        self.interfaces
            .iter()
            .filter(move |interface| interface.direction == direction)
    }

    fn needs(&self) -> Vec<Grant> {
        self.side(Direction::Import)
            .filter_map(|interface| Grant::for_interface(interface.short()?))
            .collect()
    }
}

/// Imports and exports of a component; none when the bytes are no component.
fn interfaces(bytes: &[u8]) -> Vec<Interface> {
    let Ok(DecodedWasm::Component(resolve, world)) = decode(bytes) else {
        return Vec::new();
    };
    let world = &resolve.worlds[world];
    let imports = world.imports.keys().map(|key| (key, Direction::Import));
    let exports = world.exports.keys().map(|key| (key, Direction::Export));
    imports
        .chain(exports)
        .map(|(key, direction)| Interface::new(resolve.name_world_key(key), direction))
        .collect()
}

/// What a plugin that could be loaded imports and exports.
pub(super) fn imports_and_exports(component: &Component) -> Check {
    let verdict = Verdict::new(CONTRACT_LAW);
    // The loader has refused foreign imports. Some compilers leave exports that nobody calls.
    let unused: Vec<String> = component
        .side(Direction::Export)
        .filter(|interface| interface.relation == Relation::Outside)
        .map(|interface| format!("`{}`", interface.name))
        .collect();
    let unused = if unused.is_empty() {
        String::new()
    } else {
        format!("; not used: {}", unused.join(", "))
    };
    let newest = component
        .interfaces()
        .iter()
        .max_by_key(|interface| interface.plugin.clone());
    let against = newest
        .and_then(|interface| Some((interface.plugin.as_ref()?, interface.relation)))
        .map_or_else(String::new, |(version, relation)| {
            format!("; built for {version}, this program offers {CONTRACT}: {relation}")
        });
    let count = |direction| component.side(direction).count();
    verdict.finish(format!(
        "imports: {}, exports: {}{unused}{against}",
        count(Direction::Import),
        count(Direction::Export)
    ))
}

/// The grants that a plugin that could be loaded needs.
pub(super) fn grants(component: &Component, given: &Grants) -> Check {
    let mut verdict = Verdict::new(GRANTS);
    let needed = component.needs();
    for grant in Grant::ALL {
        if given.contains(grant) && !needed.contains(&grant) {
            verdict.warn(Finding::new(
                format!("`{grant}`"),
                "only what is needed",
                "a grant that it has no use for",
            ));
        }
    }
    let names: Vec<&str> = needed.iter().map(|grant| grant.name()).collect();
    verdict.finish(if names.is_empty() {
        "it needs none".to_owned()
    } else {
        format!("it needs {}, and has it", names.join(", "))
    })
}
