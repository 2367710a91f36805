//! In which settings two experiments differ, for a person.

use std::collections::BTreeMap;

use toml::Table;

/// The settings in which two experiments differ, one a line.
pub(super) fn differences(recorded: &Table, given: &Table) -> String {
    let flat = |experiment: &Table| {
        let mut flat = BTreeMap::new();
        flatten(&mut flat, "", experiment);
        flat
    };
    let recorded = flat(recorded);
    let given = flat(given);
    let absent = || "absent".to_owned();
    let mut keys: Vec<&String> = recorded.keys().chain(given.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| recorded.get(*key) != given.get(*key))
        .map(|key| {
            format!(
                "  {key}: {} in the folder, {} asked for",
                recorded.get(key).cloned().unwrap_or_else(absent),
                given.get(key).cloned().unwrap_or_else(absent)
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
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
