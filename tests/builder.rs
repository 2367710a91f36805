//! The committed components: they are the recorded ones, and each is what the contract asks for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use incubate::builder::{BuiltComponent, Manifest};
use wit_component::{DecodedWasm, decode};

/// Interfaces that a plugin of each kind exports and may import, by the name of its last part.
const PARTITION: (&str, &[&str]) = ("partition", &["types", "log", "metrics"]);
const SCHEDULE: (&str, &[&str]) = ("schedule", &["types", "log", "metrics", "random"]);
const LOSS: (&str, &[&str]) = ("loss", &["types", "log", "metrics", "random", "tensors"]);
const PENALTY: (&str, &[&str]) = ("loss", &["types", "log", "metrics", "tensors", "weights"]);
const READING_LOSS: (&str, &[&str]) = (
    "loss",
    &["types", "log", "metrics", "random", "tensors", "readback"],
);
const LEARNING_LOSS: (&str, &[&str]) = ("loss", &["types", "log", "metrics", "tensors", "teacher"]);

/// Every component with the interface it exports besides `description`, and what it may import.
const EXPECTED: &[(&str, (&str, &[&str]))] = &[
    ("balanced", PARTITION),
    ("bce", LOSS),
    ("constant", SCHEDULE),
    ("cosine", SCHEDULE),
    ("cross-entropy", LOSS),
    ("distillation", LEARNING_LOSS),
    ("explicit", PARTITION),
    ("exponential", SCHEDULE),
    ("faulty-loss", LOSS),
    ("faulty-partition", PARTITION),
    ("faulty-read-back", READING_LOSS),
    ("faulty-schedule", SCHEDULE),
    ("focal", LOSS),
    ("hostile-loss", LOSS),
    ("hostile-partition", PARTITION),
    ("hostile-schedule", SCHEDULE),
    ("imitation", LEARNING_LOSS),
    ("inverse-sqrt", SCHEDULE),
    ("lawless-loss", LOSS),
    ("lawless-partition", PARTITION),
    ("lawless-schedule", SCHEDULE),
    ("one-cycle", SCHEDULE),
    ("piecewise", SCHEDULE),
    ("plateau", SCHEDULE),
    ("poly-1", LOSS),
    ("polynomial", SCHEDULE),
    ("step", SCHEDULE),
    ("tanh", SCHEDULE),
    ("uniform", PARTITION),
    ("weight-penalty", PENALTY),
    ("witness", LOSS),
    ("wsd", SCHEDULE),
    ("z-loss", LOSS),
];

/// Components that break the contract on purpose.
const REFUSED: &[&str] = &["faulty-next-contract", "faulty-ungranted"];

fn plugins() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins"))
}

fn manifest() -> Manifest {
    Manifest::load(plugins()).unwrap()
}

/// Names of the imported and exported interfaces of a component.
fn interfaces(component: &BuiltComponent) -> (BTreeSet<String>, BTreeSet<String>) {
    let bytes = fs::read(plugins().join(&component.file)).unwrap();
    let DecodedWasm::Component(resolve, world) = decode(&bytes).unwrap() else {
        panic!("{} is no component", component.name);
    };
    let world = &resolve.worlds[world];
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key));
    let exports = world.exports.keys().map(|key| resolve.name_world_key(key));
    (imports.collect(), exports.collect())
}

fn find<'a>(manifest: &'a Manifest, name: &str) -> &'a BuiltComponent {
    let found = manifest.components.iter().find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the manifest"))
}

#[test]
fn committed_components_are_the_recorded_ones() {
    for component in manifest().components {
        let bytes = fs::read(plugins().join(&component.file)).unwrap();
        let committed = BuiltComponent::new(&component.name, component.file.clone(), &bytes);
        assert_eq!(committed, component, "run `incubate plugin build plugins`");
    }
}

#[test]
fn every_component_is_recorded_and_expected() {
    let manifest = manifest();
    let recorded: BTreeSet<&str> = manifest
        .components
        .iter()
        .map(|component| component.name.as_str())
        .collect();
    let expected: BTreeSet<&str> = EXPECTED
        .iter()
        .map(|(name, _)| *name)
        .chain(REFUSED.iter().copied())
        .collect();
    assert_eq!(recorded, expected);
    for folder in ["dist", "../tests/plugins"] {
        for entry in fs::read_dir(plugins().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(name) = name.strip_suffix(".wasm") {
                assert!(recorded.contains(name), "{name} has no source");
            }
        }
    }
}

#[test]
fn components_export_one_kind_and_import_only_what_it_grants() {
    let manifest = manifest();
    for (name, (kind, granted)) in EXPECTED {
        let (imports, exports) = interfaces(find(&manifest, name));
        // Components for different versions of one series stand beside each other.
        let version = exports
            .iter()
            .find_map(|export| export.strip_prefix("incubate:plugin/description@"))
            .unwrap_or_else(|| panic!("{name} does not describe itself"))
            .to_owned();
        let full = |interface: &str| format!("incubate:plugin/{interface}@{version}");
        let expected = BTreeSet::from([full("description"), full(kind)]);
        assert_eq!(exports, expected, "{name}");
        let granted: BTreeSet<String> = granted.iter().map(|interface| full(interface)).collect();
        let refused: Vec<_> = imports.difference(&granted).collect();
        assert!(refused.is_empty(), "{name} imports {refused:?}");
        assert!(
            imports.contains(&full("log")),
            "{name} cannot report a panic"
        );
    }
}

#[test]
fn what_needs_a_grant_is_imported_only_by_the_plugins_that_test_it() {
    for (interface, expected) in [
        ("readback", &["faulty-read-back"][..]),
        ("random", &["hostile-schedule", "lawless-loss", "witness"]),
        ("weights", &["weight-penalty"]),
        // The experiment gives this by naming a teacher.
        ("teacher", &["distillation", "imitation"]),
    ] {
        let importers: Vec<String> = manifest()
            .components
            .into_iter()
            .filter(|component| {
                let (imports, _) = interfaces(component);
                let prefix = format!("incubate:plugin/{interface}@");
                imports.iter().any(|import| import.starts_with(&prefix))
            })
            .map(|component| component.name)
            .collect();
        assert_eq!(importers, expected, "{interface}");
    }
}

#[test]
fn the_components_to_refuse_break_the_contract_as_they_should() {
    let manifest = manifest();
    let (imports, _) = interfaces(find(&manifest, "faulty-ungranted"));
    assert!(
        imports.contains("wasi:clocks/wall-clock@0.2.0"),
        "{imports:?}"
    );
    let (_, exports) = interfaces(find(&manifest, "faulty-next-contract"));
    assert!(
        exports.contains("incubate:plugin/schedule@0.2.0"),
        "{exports:?}"
    );
}
