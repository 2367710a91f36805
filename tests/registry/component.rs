//! Components of other names and versions than those that lie here, made from these.

use std::fs;
use std::path::{Path, PathBuf};

use wasm_metadata::{AddMetadata, AddMetadataField, Authors, Licenses, Source, Version};

use super::server::frozen;

/// The frozen plugin `name` with this version of five letters, in its own description and in its
/// metadata, written below `folder`.
pub(crate) fn versioned(folder: &Path, name: &str, version: &str) -> PathBuf {
    let bytes = fs::read(frozen(name)).unwrap();
    let file = folder.join(format!("{name}-{version}.wasm"));
    fs::write(
        &file,
        described(&with_version(bytes, version), name, version),
    )
    .unwrap();
    file
}

/// A component with metadata.
pub(crate) fn described(bytes: &[u8], name: &str, version: &str) -> Vec<u8> {
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(name.to_owned());
    metadata.version = AddMetadataField::Set(Version::new(version.to_owned()));
    metadata.licenses = AddMetadataField::Set(Licenses::new("MIT OR Apache-2.0").unwrap());
    metadata.authors = AddMetadataField::Set(Authors::new("Ada".to_owned()));
    metadata.source = AddMetadataField::Set(Source::new("https://example.org/plugins").unwrap());
    metadata.to_wasm(bytes).unwrap()
}

/// Replaces the version that the plugin answers: the only `0.1.0` in its data that is not the
/// version of an interface, which stands behind an `@`.
fn with_version(mut bytes: Vec<u8>, version: &str) -> Vec<u8> {
    const OLD: &[u8] = b"0.1.0";
    assert_eq!(version.len(), OLD.len(), "the place in the data is as long");
    let places: Vec<usize> = (1..bytes.len() - OLD.len())
        .filter(|place| bytes[*place..].starts_with(OLD) && bytes[place - 1] != b'@')
        .collect();
    assert_eq!(places.len(), 1, "the version stands in the data once");
    bytes[places[0]..places[0] + OLD.len()].copy_from_slice(version.as_bytes());
    bytes
}
