//! In which settings two experiments differ, for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::Table;

/// A setting in which two experiments differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Its dotted key.
    pub(super) key: String,
    before: Option<String>,
    now: Option<String>,
}

impl Difference {
    /// As a change that was made.
    pub(super) fn change(&self) -> String {
        let (before, now) = (words(&self.before), words(&self.now));
        format!("{}: {before} → {now}", self.key)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, now) = (words(&self.before), words(&self.now));
        write!(
            formatter,
            "{}: {before} in the folder, {now} asked for",
            self.key
        )
    }
}

/// A value, or that there is none.
fn words(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("absent")
}

/// The settings in which two experiments differ.
pub(super) fn differences(recorded: &Table, given: &Table) -> Vec<Difference> {
    let flat = |experiment: &Table| {
        let mut flat = BTreeMap::new();
        flatten(&mut flat, "", experiment);
        flat
    };
    let recorded = flat(recorded);
    let given = flat(given);
    let keys: BTreeSet<&String> = recorded.keys().chain(given.keys()).collect();
    keys.into_iter()
        .filter(|key| recorded.get(*key) != given.get(*key))
        .map(|key| Difference {
            key: key.clone(),
            before: recorded.get(key).cloned(),
            now: given.get(key).cloned(),
        })
        .collect()
}

/// Differences for the end of a message, each on a line of its own.
pub(super) fn lines<'d>(differences: impl IntoIterator<Item = &'d Difference>) -> String {
    let lines = differences.into_iter().map(|one| format!("\n  {one}"));
    lines.collect()
}

/// Every leaf of a table by its dotted key.
fn flatten(flat: &mut BTreeMap<String, String>, prefix: &str, table: &Table) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => flatten(flat, &format!("{key}."), inner),
            _ => {
                flat.insert(key, value.to_string());
            }
        }
    }
}
