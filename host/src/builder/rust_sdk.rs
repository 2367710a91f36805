//! The sources of the SDK for Rust inside this program, for the folders of new plugins: nothing but
//! the crate that makes the bindings comes from a registry.

use super::contract;

/// The files of `plugins/sdk` named here, by path below it, with their text.
macro_rules! sources {
    ($($file:literal)+) => {
        &[$(($file, include_str!(concat!("../../../plugins/sdk/", $file)))),+]
    };
}

const SOURCES: &[(&str, &str)] = sources!(
    "Cargo.toml"
    "README.md"
    "operations.txt"
    "src/bindings.rs"
    "src/description.rs"
    "src/division.rs"
    "src/duration.rs"
    "src/export.rs"
    "src/fault.rs"
    "src/host.rs"
    "src/lib.rs"
    "src/log.rs"
    "src/loss.rs"
    "src/metrics.rs"
    "src/native/mod.rs"
    "src/native/shape.rs"
    "src/native/tensor.rs"
    "src/native/tests.rs"
    "src/native/world.rs"
    "src/panic.rs"
    "src/parameter.rs"
    "src/partition.rs"
    "src/random.rs"
    "src/schedule.rs"
    "src/settings.rs"
    "src/smoothing.rs"
    "src/teacher.rs"
    "src/tensor/composed.rs"
    "src/tensor/mod.rs"
    "src/tensor/operators.rs"
    "src/tensor/tests.rs"
    "src/testing/batch.rs"
    "src/testing/mod.rs"
    "src/testing/models.rs"
    "src/testing/moments.rs"
    "src/testing/settings.rs"
    "src/testing/tests.rs"
    "src/timeline.rs"
    "src/weights.rs"
);

/// Every file, by path below the folder of the SDK: its sources, and the contract in `wit`.
pub(super) fn files() -> impl Iterator<Item = (String, &'static str)> {
    let sources = SOURCES.iter().map(|&(path, text)| (path.to_owned(), text));
    let contract = contract::FILES
        .into_iter()
        .map(|(name, text)| (format!("wit/{name}"), text));
    sources.chain(contract)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    fn below(folder: &Path, path: &str, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder.join(path)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name == "target" || name == "Cargo.lock" {
                continue;
            }
            let path = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            if entry.path().is_dir() {
                below(folder, &path, into);
            } else {
                into.insert(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_sdk_is_inside() {
        let mut present = BTreeSet::new();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/sdk"));
        below(folder, "", &mut present);
        let inside: BTreeSet<String> = files().map(|(path, _)| path).collect();
        assert_eq!(
            inside, present,
            "add the file to host/src/builder/rust_sdk.rs"
        );
    }
}
