//! What happens when a plugin fails while a run is going on.

use std::fmt;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How the run ends at once is written.
const ABORT: &str = "abort";

/// The only key of the table.
const FALLBACK: &str = "fallback";

/// `on_failure` of a plugin: `"abort"`, or `{ fallback = "NAME" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The run ends; finished units stay.
    #[default]
    Abort,
    /// The built-in plugin of this name, with its default parameters, answers from the failing
    /// call on, until the unit ends.
    Fallback(String),
}

impl Serialize for OnFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Abort => serializer.serialize_str(ABORT),
            Self::Fallback(name) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(FALLBACK, name)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for OnFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = OnFailure;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "\"{ABORT}\" or {{ {FALLBACK} = \"NAME\" }}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OnFailure, E> {
                if text == ABORT {
                    Ok(OnFailure::Abort)
                } else {
                    Err(E::invalid_value(Unexpected::Str(text), &self))
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnFailure, A::Error> {
                let mut name = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != FALLBACK {
                        return Err(A::Error::unknown_field(&key, &[FALLBACK]));
                    }
                    name = Some(map.next_value()?);
                }
                name.map(OnFailure::Fallback)
                    .ok_or_else(|| A::Error::missing_field(FALLBACK))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        on_failure: OnFailure,
    }

    #[test]
    fn both_forms_read_back_as_they_were_written() {
        for (text, on_failure) in [
            ("on_failure = \"abort\"", OnFailure::Abort),
            (
                "on_failure = { fallback = \"cosine\" }",
                OnFailure::Fallback("cosine".to_owned()),
            ),
        ] {
            let table: Table = toml::from_str(text).unwrap();
            assert_eq!(table, Table { on_failure });
            let again: Table = toml::from_str(&toml::to_string(&table).unwrap()).unwrap();
            assert_eq!(again, table);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, phrase) in [
            (
                "on_failure = \"ignore\"",
                "expected \"abort\" or { fallback",
            ),
            ("on_failure = 3", "expected \"abort\" or { fallback"),
            ("on_failure = {}", "missing field `fallback`"),
            (
                "on_failure = { falback = \"a\" }",
                "unknown field `falback`",
            ),
        ] {
            let error = toml::from_str::<Table>(text).unwrap_err().to_string();
            assert!(error.contains(phrase), "{error}");
        }
    }
}
