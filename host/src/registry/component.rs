//! Plugins as artefacts, in the media types that `wkg` and other tools for components use.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::client::{Artefact, Blob, Layer};
use super::error::Problem;
use crate::digest::sha256;
use crate::plugin::Inspection;

/// The media type of the record about a component.
pub const COMPONENT_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// The media type of a component.
pub const COMPONENT_LAYER: &str = "application/wasm";

/// The annotation with a minisign signature of the component's bytes. It is an annotation and no
/// second layer, since other tools expect a single one.
pub const SIGNATURE_ANNOTATION: &str = "incubate.plugin.minisig";

/// The artefact of a plugin: what it is goes into config and annotations, so that it can be read
/// without pulling the component.
pub fn artefact(
    inspection: &Inspection,
    bytes: &[u8],
    signature: Option<&str>,
    now: SystemTime,
) -> Artefact {
    let created = rfc3339(now);
    let metadata = &inspection.metadata;
    let config = json!({
        "created": created,
        "author": metadata.authors,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [format!("sha256:{}", sha256(bytes))],
        "component": {
            "exports": inspection.exports,
            "imports": inspection.imports,
            "target": null,
        },
    });
    let mut annotations = BTreeMap::from([
        (
            "org.opencontainers.image.title".to_owned(),
            inspection.description.name.clone(),
        ),
        (
            "org.opencontainers.image.version".to_owned(),
            inspection.description.version.to_string(),
        ),
        ("org.opencontainers.image.created".to_owned(), created),
    ]);
    let mut note = |key: &str, value: Option<&String>| {
        if let Some(value) = value {
            annotations.insert(key.to_owned(), value.clone());
        }
    };
    note(
        "org.opencontainers.image.licenses",
        metadata.license.as_ref(),
    );
    note(
        "org.opencontainers.image.authors",
        metadata.authors.as_ref(),
    );
    note("org.opencontainers.image.source", metadata.source.as_ref());
    note(
        "org.opencontainers.image.description",
        Some(&inspection.description.summary),
    );
    note(SIGNATURE_ANNOTATION, signature.map(str::to_owned).as_ref());
    Artefact {
        config: Blob {
            media_type: COMPONENT_CONFIG.to_owned(),
            bytes: config.to_string().into_bytes(),
        },
        layers: vec![Layer {
            media_type: COMPONENT_LAYER.to_owned(),
            title: Some(format!("{}.wasm", inspection.description.name)),
            bytes: bytes.to_vec(),
        }],
        annotations,
    }
}

/// The component of an artefact and its signature, whoever pushed it.
///
/// # Errors
/// The artefact is something else.
pub fn component_of(artefact: Artefact) -> Result<(Vec<u8>, Option<String>), Problem> {
    let Artefact {
        config,
        layers,
        mut annotations,
    } = artefact;
    let refuse = |found: String| Problem::Other {
        found,
        wanted: "a WebAssembly component",
    };
    if config.media_type != COMPONENT_CONFIG {
        return Err(refuse(format!(
            "an artefact of type `{}`",
            config.media_type
        )));
    }
    let count = layers.len();
    let mut components = layers
        .into_iter()
        .filter(|layer| layer.media_type == COMPONENT_LAYER);
    match (components.next(), components.next()) {
        (Some(component), None) => Ok((component.bytes, annotations.remove(SIGNATURE_ANNOTATION))),
        (None, _) => Err(refuse(format!(
            "an artefact of {count} layers without a component"
        ))),
        (Some(_), Some(_)) => Err(refuse("an artefact with several components".to_owned())),
    }
}

/// A moment as registries write it: `2026-01-31T12:00:00Z`.
fn rfc3339(moment: SystemTime) -> String {
    let seconds = moment
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!(
        "{year}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        days + 1,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_the_calendar() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn an_artefact_of_another_kind_is_no_component() {
        let artefact = |media_type: &str, layers: &[&str]| Artefact {
            config: Blob {
                media_type: media_type.to_owned(),
                bytes: b"{}".to_vec(),
            },
            layers: layers
                .iter()
                .map(|media_type| Layer {
                    media_type: (*media_type).to_owned(),
                    title: None,
                    bytes: b"x".to_vec(),
                })
                .collect(),
            annotations: BTreeMap::new(),
        };
        assert!(component_of(artefact(COMPONENT_CONFIG, &[COMPONENT_LAYER])).is_ok());
        for (config, layers) in [
            (
                "application/vnd.oci.image.config.v1+json",
                &[COMPONENT_LAYER][..],
            ),
            (COMPONENT_CONFIG, &[]),
            (COMPONENT_CONFIG, &["text/plain"]),
            (COMPONENT_CONFIG, &[COMPONENT_LAYER, COMPONENT_LAYER]),
        ] {
            assert!(
                component_of(artefact(config, layers)).is_err(),
                "{config}, {layers:?}"
            );
        }
    }
}
