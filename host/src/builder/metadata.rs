//! What a component says about itself to tools that do not run it: name, version, description,
//! licence, authors, and source, in the custom sections that component tools share.
//!
//! Invariant: a licence inside a component is an SPDX expression, and a source is an absolute URL.

use wasm_metadata::{
    AddMetadata, AddMetadataField, Authors, Description, Licenses, Source, Version,
};

use super::{BuildError, Language};

/// What is embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: Option<String>,
    /// An SPDX expression.
    pub(super) license: Option<String>,
    pub(super) authors: Vec<String>,
    /// An absolute URL.
    pub(super) source: Option<String>,
    pub(super) language: Language,
}

impl Metadata {
    /// What is wrong with the values and what to do, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.sections().map(|_| ())
    }

    /// The component with the metadata inside.
    pub(super) fn embed(&self, component: &[u8]) -> Result<Vec<u8>, BuildError> {
        let error = |detail| BuildError::Metadata {
            package: self.name.clone(),
            detail,
        };
        self.sections()
            .map_err(error)?
            .to_wasm(component)
            .map_err(|failed| error(format!("{failed:#}")))
    }

    fn sections(&self) -> Result<AddMetadata, String> {
        let mut sections = AddMetadata::default();
        sections.name = AddMetadataField::Set(self.name.clone());
        sections.language = vec![(self.language.to_string(), String::new())];
        sections.processed_by = vec![("incubate".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        sections.version = AddMetadataField::Set(Version::new(self.version.clone()));
        if let Some(description) = &self.description {
            sections.description = AddMetadataField::Set(Description::new(description.clone()));
        }
        if !self.authors.is_empty() {
            sections.authors = AddMetadataField::Set(Authors::new(self.authors.join(", ")));
        }
        if let Some(license) = &self.license {
            let parsed = Licenses::new(license).map_err(|error| {
                format!(
                    "`license` is `{license}`, no SPDX expression: {} (write one such as \
                     `MIT OR Apache-2.0`; the identifiers are at https://spdx.org/licenses)",
                    last_line(&error.to_string())
                )
            })?;
            sections.licenses = AddMetadataField::Set(parsed);
        }
        if let Some(source) = &self.source {
            let parsed = Source::new(source).map_err(|error| {
                format!(
                    "the source is `{source}`, no absolute URL: {error} (give the whole address, \
                     beginning with https://)"
                )
            })?;
            sections.source = AddMetadataField::Set(parsed);
        }
        Ok(sections)
    }
}

/// The reason without the line above it that repeats the expression, and without the marks that
/// point at a place in that line.
fn last_line(text: &str) -> &str {
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches(|letter: char| letter == '^' || letter == '-' || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn metadata() -> Metadata {
        Metadata {
            name: "focal".to_owned(),
            version: "0.1.0".to_owned(),
            description: Some("Focal loss".to_owned()),
            license: Some("MIT OR Apache-2.0".to_owned()),
            authors: vec!["Ada".to_owned(), "Grace".to_owned()],
            source: Some("https://example.com/focal".to_owned()),
            language: Language::C,
        }
    }

    #[test]
    fn everything_is_found_again() {
        let bytes = metadata().embed(EMPTY_COMPONENT).unwrap();
        let payload = wasm_metadata::Payload::from_binary(&bytes).unwrap();
        let found = payload.metadata();
        assert_eq!(found.name.as_deref(), Some("focal"));
        let text = |value: Option<String>| value.unwrap();
        assert_eq!(
            text(found.version.as_ref().map(ToString::to_string)),
            "0.1.0"
        );
        assert_eq!(
            text(found.description.as_ref().map(ToString::to_string)),
            "Focal loss"
        );
        assert_eq!(
            text(found.licenses.as_ref().map(ToString::to_string)),
            "MIT OR Apache-2.0"
        );
        assert_eq!(
            text(found.authors.as_ref().map(ToString::to_string)),
            "Ada, Grace"
        );
        assert_eq!(
            text(found.source.as_ref().map(ToString::to_string)),
            "https://example.com/focal"
        );
    }

    #[test]
    fn a_bad_licence_and_a_relative_source_are_explained_on_one_line() {
        let mut bad = metadata();
        bad.license = Some("Apache 2".to_owned());
        let error = bad.embed(EMPTY_COMPONENT).unwrap_err().to_string();
        for phrase in [
            "the metadata of focal",
            "`license` is `Apache 2`",
            "spdx.org",
            "unknown term",
        ] {
            assert!(error.contains(phrase), "no `{phrase}` in: {error}");
        }
        assert!(!error.contains(['\n', '^']), "{error}");
        let mut bad = metadata();
        bad.source = Some("../focal".to_owned());
        let error = bad.check().unwrap_err();
        for phrase in ["`../focal`", "https://"] {
            assert!(error.contains(phrase), "no `{phrase}` in: {error}");
        }
    }
}
