//! Which network a phase learns from.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How the meta model of the run is written.
pub(super) const META: &str = "meta";

/// `teacher` of a phase: `"meta"`, the path of a checkpoint, or a table with the path and what the
/// checkpoint itself does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Teacher {
    /// The meta model of the run.
    Meta,
    /// A file of weights.
    Checkpoint(TeacherCheckpoint),
}

/// A file of weights with what it does not say itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherCheckpoint {
    /// The path.
    pub weights: String,
    /// Heads of attention, which the weights of other programs do not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
}

impl Serialize for Teacher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Meta => serializer.serialize_str(META),
            Self::Checkpoint(checkpoint) => checkpoint.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Teacher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Teacher;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    formatter,
                    "\"{META}\", a path, or {{ weights = \"PATH\", heads = NUMBER }}"
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Teacher, E> {
                Ok(if text == META {
                    Teacher::Meta
                } else {
                    Teacher::Checkpoint(TeacherCheckpoint {
                        weights: text.to_owned(),
                        heads: None,
                    })
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Teacher, A::Error> {
                let table = MapAccessDeserializer::new(map);
                TeacherCheckpoint::deserialize(table).map(Teacher::Checkpoint)
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
        teacher: Teacher,
    }

    #[test]
    fn every_form_reads_back_as_it_was_written() {
        let checkpoint = |heads| {
            Teacher::Checkpoint(TeacherCheckpoint {
                weights: "a.pth".to_owned(),
                heads,
            })
        };
        for (text, teacher) in [
            ("\"meta\"", Teacher::Meta),
            ("\"a.pth\"", checkpoint(None)),
            ("{ weights = \"a.pth\", heads = 3 }", checkpoint(Some(3))),
        ] {
            let table: Table = toml::from_str(&format!("teacher = {text}")).unwrap();
            assert_eq!(table, Table { teacher });
            let again: Table = toml::from_str(&toml::to_string(&table).unwrap()).unwrap();
            assert_eq!(again, table);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, phrase) in [
            ("3", "expected \"meta\", a path, or {"),
            ("{ heads = 3 }", "missing field `weights`"),
            ("{ weights = \"a\", depth = 3 }", "unknown field `depth`"),
        ] {
            let error = toml::from_str::<Table>(&format!("teacher = {text}")).unwrap_err();
            assert!(error.to_string().contains(phrase), "{error}");
        }
    }
}
