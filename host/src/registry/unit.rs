//! Trained units in registries: a parcel is an artefact with the unit's description as its config
//! and one layer for each of its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::client::{Artefact, At, Blob, Layer};
use crate::plugin::{Reference, ReferenceError, Repository};
use crate::run::{PARCEL_TYPE, Parcel, ParcelError};

/// The largest unit that is taken: ViT-Huge in float32 has 2.5 GB.
pub const MOST_UNIT_BYTES: u64 = 16 << 30;

/// Where a unit is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitPlace {
    /// A folder.
    Folder(PathBuf),
    /// A repository, and what stands behind the `@`: a tag, `sha256:…`, or nothing.
    Registry(Repository, Option<At>),
}

/// An artefact that is no unit, or a place that is none.
#[derive(Debug, Error)]
pub enum UnitPlaceError {
    /// The place is written in a way that registries do not allow.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A place that no unit can have.
    #[error(
        "`{place}` is no place for a unit (a folder begins with `./` or `/`; a place in a registry is `registry.example.org/team/network@module.2`)"
    )]
    Place {
        /// What was given.
        place: String,
    },
    /// What stands behind the `@` is no tag.
    #[error("`{place}`: `{tag}` is no tag (letters, digits, `.`, `_`, and `-`, at most 128)")]
    Tag {
        /// What was given.
        place: String,
        /// The part behind the `@`.
        tag: String,
    },
    /// Nothing says which unit.
    #[error("`{place}` does not say which unit (write `{place}@TAG`; there are: {tags})")]
    NoTag {
        /// What was given.
        place: String,
        /// The tags of the repository.
        tags: String,
    },
    /// The artefact is something else.
    #[error(
        "`{place}` is no unit but an artefact of type `{found}` (a unit is pushed with `incubate unit push`)"
    )]
    OtherArtefact {
        /// What was given.
        place: String,
        /// The media type of its config.
        found: String,
    },
    /// The files do not make a unit.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
}

impl UnitPlace {
    /// The place that `text` names: `REGISTRY/PATH[@TAG]`, or else a folder.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, UnitPlaceError> {
        if text.starts_with('.') || Path::new(text).is_absolute() {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let (place, tag) = match text.split_once('@') {
            Some((place, tag)) => (place, Some(tag)),
            None => (text, None),
        };
        let Reference::Registry(reference) = place.parse()? else {
            return Err(UnitPlaceError::Place {
                place: text.to_owned(),
            });
        };
        let at = tag.map(|tag| at(text, tag)).transpose()?;
        Ok(Self::Registry(reference.repository, at))
    }
}

/// What stands behind the `@`.
fn at(place: &str, tag: &str) -> Result<At, UnitPlaceError> {
    let hexadecimal =
        |digits: &str| digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    if tag.strip_prefix("sha256:").is_some_and(hexadecimal) {
        return Ok(At::Digest(tag.to_owned()));
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let fits =
        (1..=128).contains(&tag.len()) && tag.chars().all(plain) && !tag.starts_with(['.', '-']);
    if fits {
        Ok(At::Tag(tag.to_owned()))
    } else {
        Err(UnitPlaceError::Tag {
            place: place.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

/// The artefact of a parcel.
pub fn unit_artefact(parcel: &Parcel) -> Artefact {
    let description = &parcel.description;
    let title = format!("{} of {}", description.unit, description.experiment);
    Artefact {
        config: Blob {
            media_type: PARCEL_TYPE.to_owned(),
            bytes: parcel.description_bytes(),
        },
        layers: parcel
            .files()
            .iter()
            .map(|file| Layer {
                media_type: file.media_type.to_owned(),
                title: Some(file.name.to_owned()),
                bytes: file.bytes.clone(),
            })
            .collect(),
        annotations: BTreeMap::from([("org.opencontainers.image.title".to_owned(), title)]),
    }
}

/// The parcel of an artefact; `place` names it in errors.
///
/// # Errors
/// It is another artefact, or its files do not make a unit.
pub fn unit_of(place: &str, artefact: Artefact) -> Result<Parcel, UnitPlaceError> {
    if artefact.config.media_type != PARCEL_TYPE {
        return Err(UnitPlaceError::OtherArtefact {
            place: place.to_owned(),
            found: artefact.config.media_type,
        });
    }
    let contents = artefact
        .layers
        .into_iter()
        .filter_map(|layer| Some((layer.title?, layer.bytes)))
        .collect();
    Ok(Parcel::from_bytes(place, &artefact.config.bytes, contents)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_registries_are_told_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let registry = |text: &str| match UnitPlace::parse(text) {
            Ok(UnitPlace::Registry(repository, at)) => (repository.host, repository.path, at),
            other => panic!("{text}: {other:?}"),
        };
        for folder in ["./shared/meta", "../meta", "/data/meta"] {
            assert_eq!(
                UnitPlace::parse(folder).unwrap(),
                UnitPlace::Folder(PathBuf::from(folder))
            );
        }
        assert_eq!(
            registry("localhost:5000/team/vit@module.2"),
            (
                "localhost:5000".to_owned(),
                "team/vit".to_owned(),
                Some(At::Tag("module.2".to_owned()))
            )
        );
        let (_, _, at) = registry(&format!("registry.example.org/vit@{digest}"));
        assert_eq!(at, Some(At::Digest(digest)));
        assert_eq!(registry("registry.example.org/vit").2, None);
        for (nothing, says) in [
            ("shared", "no place for a unit"),
            ("registry.example.org/vit@a b", "no tag"),
            ("registry.example.org/vit@", "no tag"),
        ] {
            let error = UnitPlace::parse(nothing).unwrap_err().to_string();
            assert!(error.contains(says), "{nothing}: {error}");
        }
    }
}
