//! Why an experiment allows a plugin something: a sentence that stands in the file and in the record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sentence that says why a plugin may do or use something. It has at least one letter and no line
/// breaks, so that nothing is allowed by an empty text and a record stays readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// A text that gives no reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no reason (write one line that says why the plugin needs it)")]
pub struct NoReason {
    /// The text.
    given: String,
}

impl Reason {
    /// The sentence.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For what this program allows of its own accord, as inspection does.
    pub(super) fn by_the_program() -> Self {
        Self("allowed by the program".to_owned())
    }
}

impl TryFrom<String> for Reason {
    type Error = NoReason;

    fn try_from(given: String) -> Result<Self, NoReason> {
        if given.chars().any(char::is_alphabetic) && !given.chars().any(char::is_control) {
            Ok(Self(given.trim().to_owned()))
        } else {
            Err(NoReason { given })
        }
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_with_words() {
        let reason = |text: &str| Reason::try_from(text.to_owned());
        assert_eq!(reason(" label noise ").unwrap().as_str(), "label noise");
        for text in ["", "   ", "-", "...", "42", "two\nlines"] {
            let error = reason(text).unwrap_err().to_string();
            assert!(error.contains("is no reason"), "{error}");
        }
    }
}
