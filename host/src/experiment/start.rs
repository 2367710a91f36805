//! What the network of a phase begins with, and how experiments write it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the network of a phase begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Start {
    /// Random weights: what the method says for the meta model, target modules, and the baseline.
    Random,
    /// Every block of a target module is a copy of a block of its meta module, and the rest of the
    /// stage is copied, too.
    Copies,
    /// As [`Start::Copies`], but of several copies of a block only the first adds to its input,
    /// so that the hybrid begins as the function that the meta model is.
    Grown,
    /// The assembled modules: what the method says for fine-tuning.
    Assembled,
    /// The weights of this file.
    File(PathBuf),
}

impl Start {
    /// Those that are no file.
    const WORDS: [(&'static str, Self); 4] = [
        ("random", Self::Random),
        ("copies", Self::Copies),
        ("grown", Self::Grown),
        ("assembled", Self::Assembled),
    ];

    /// The file that weights are read from.
    pub const fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// Whether `text` is meant as a file.
    pub(super) fn is_file(text: &str) -> bool {
        Self::WORDS.iter().all(|(word, _)| *word != text)
    }
}

impl From<String> for Start {
    fn from(text: String) -> Self {
        Self::WORDS
            .into_iter()
            .find(|(word, _)| *word == text)
            .map_or_else(|| Self::File(text.into()), |(_, start)| start)
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

impl fmt::Display for Start {
    /// As experiments write it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::File(path) = self {
            return path.display().fmt(formatter);
        }
        let word = Self::WORDS.iter().find(|(_, start)| start == self);
        formatter.write_str(word.map_or("", |(word, _)| word))
    }
}
