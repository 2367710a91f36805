//! Defects of the reference implementation of Deep Incubation on which published numbers may depend,
//! reproduced on request. None is by default.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What the reference implementation does otherwise than its recipe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defect {
    /// Epoch e is trained at the rate of epoch e - 1, and the first two at that of the first.
    RateLag,
    /// Position embedding and class token decay while module 0 is trained.
    EmbeddingDecay,
    /// `clip` has no effect in float32.
    NoClipping,
    /// Drop path and dropout are at work in the frozen meta modules of a hybrid, too.
    TrainModeMeta,
}

impl Defect {
    /// Every one, in the order of the names in messages.
    pub const ALL: [Self; 4] = [
        Self::RateLag,
        Self::EmbeddingDecay,
        Self::NoClipping,
        Self::TrainModeMeta,
    ];

    /// The name in experiments.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLag => "rate-lag",
            Self::EmbeddingDecay => "embedding-decay",
            Self::NoClipping => "no-clipping",
            Self::TrainModeMeta => "train-mode-meta",
        }
    }

    /// What it does, for a person.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::RateLag => "the schedule is asked for the moment one epoch before",
            Self::EmbeddingDecay => {
                "position embedding and class token decay while module 0 is trained"
            }
            Self::NoClipping => "gradients are not clipped in float32",
            Self::TrainModeMeta => "drop path and dropout are on in the frozen meta modules",
        }
    }
}

/// Which defects are reproduced: `reference = ["rate-lag", …]`, or `reference = "all"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Compatibility(BTreeSet<Defect>);

impl Compatibility {
    /// Whether a defect is reproduced.
    pub fn has(&self, defect: Defect) -> bool {
        self.0.contains(&defect)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The defects that are reproduced.
    pub fn defects(&self) -> impl Iterator<Item = Defect> {
        self.0.iter().copied()
    }
}

/// The word for all of them.
const ALL: &str = "all";

impl<'de> Deserialize<'de> for Compatibility {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Compatibility;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let names = Defect::ALL.map(|defect| format!("\"{}\"", defect.name()));
                write!(formatter, "\"{ALL}\" or a list of {}", names.join(", "))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Compatibility, E> {
                if word == ALL {
                    Ok(Compatibility(Defect::ALL.into()))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Compatibility, A::Error> {
                let mut defects = BTreeSet::new();
                while let Some(defect) = list.next_element()? {
                    defects.insert(defect);
                }
                Ok(Compatibility(defects))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for defect in Defect::ALL {
            let written = serde_json::to_value(defect).unwrap();
            assert_eq!(written, defect.name());
            let list: Compatibility = serde_json::from_value(serde_json::json!([written])).unwrap();
            assert_eq!(list.defects().collect::<Vec<_>>(), [defect]);
        }
        let all: Compatibility = serde_json::from_str("\"all\"").unwrap();
        assert_eq!(all.defects().count(), Defect::ALL.len());
        let again: Compatibility =
            serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
        assert_eq!(again, all);
        let error = serde_json::from_str::<Compatibility>("\"some\"").unwrap_err();
        assert!(error.to_string().contains("rate-lag"), "{error}");
        let error = serde_json::from_str::<Compatibility>("[\"lag\"]").unwrap_err();
        assert!(error.to_string().contains("rate-lag"), "{error}");
    }
}
