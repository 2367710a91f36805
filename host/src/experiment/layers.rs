//! Layers of settings, one above the other, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::ExperimentError;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host's own default.
    Default,
    /// A named preset of the model.
    Preset(String),
    /// An experiment, by the name that the person gave: a file or a built-in one.
    Experiment(String),
    /// `--set` on the command line.
    CommandLine,
    /// Read off the data set.
    Data,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Preset(name) => write!(formatter, "preset {name}"),
            Self::Experiment(name) => formatter.write_str(name),
            Self::CommandLine => formatter.write_str("--set"),
            Self::Data => formatter.write_str("data set"),
        }
    }
}

/// The merged settings. A later layer wins, key by key.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The merged values.
    table: Table,
    /// The source of every leaf, by its dotted key.
    sources: BTreeMap<String, Source>,
}

impl Layers {
    /// The merged table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Puts `table` above what is there.
    pub fn apply(&mut self, table: &Table, source: &Source) {
        merge(&mut self.table, table);
        for key in leaves(table) {
            self.sources.insert(key, source.clone());
        }
    }

    /// Puts one `key=value` above what is there; the value is TOML, or else a text.
    ///
    /// # Errors
    /// When there is no `=` or the key is empty.
    pub fn set(&mut self, assignment: &str) -> Result<(), ExperimentError> {
        let malformed = || ExperimentError::Assignment {
            assignment: assignment.to_owned(),
        };
        let (key, text) = assignment.split_once('=').ok_or_else(malformed)?;
        let key = key.trim();
        if key.split('.').any(str::is_empty) {
            return Err(malformed());
        }
        let text = text.trim();
        let value = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(text.to_owned()));
        let nested = key.rsplit('.').fold(value, |value, part| {
            Value::Table(Table::from_iter([(part.to_owned(), value)]))
        });
        if let Value::Table(table) = nested {
            self.apply(&table, &Source::CommandLine);
        }
        Ok(())
    }

    /// Records where a leaf came from that no layer wrote.
    pub(super) fn name_source(&mut self, key: &str, source: Source) {
        self.sources.insert(key.to_owned(), source);
    }

    /// Whether any layer wrote this leaf.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.sources.contains_key(key)
    }

    /// The leaves below a key, when it is a table.
    pub(super) fn keys_under(&self, key: &str) -> Vec<String> {
        let prefix = format!("{key}.");
        self.sources
            .keys()
            .filter(|leaf| leaf.starts_with(&prefix))
            .cloned()
            .collect()
    }

    /// The source of the first of `keys` that any layer set; defaults come last.
    pub fn source(&self, keys: &[String]) -> Source {
        let mut fallback = Source::Default;
        for key in keys {
            match self.sources.get(key) {
                None => {}
                Some(Source::Default) => fallback = Source::Default,
                Some(source) => return source.clone(),
            }
        }
        fallback
    }
}

/// Merges `above` into `below`. A table that names another `plugin` or another `preset` starts
/// anew, because parameters belong to the plugin that declares them.
pub(super) fn merge(below: &mut Table, above: &Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => {
                let other_plugin = old
                    .get("plugin")
                    .zip(new.get("plugin"))
                    .is_some_and(|(old, new)| old != new);
                if other_plugin {
                    old.insert("parameters".to_owned(), Value::Table(Table::new()));
                    old.insert("grants".to_owned(), Value::Array(Vec::new()));
                    old.remove("limits");
                    old.remove("on_failure");
                }
                merge(old, new);
            }
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The dotted keys of everything in `table` that is not itself a table.
pub(super) fn leaves(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                keys.extend(
                    leaves(inner)
                        .into_iter()
                        .map(|rest| format!("{key}.{rest}")),
                );
            }
            _ => keys.push(key.clone()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().expect("a table")
    }

    #[test]
    fn a_later_layer_wins_key_by_key() {
        let mut layers = Layers::default();
        layers.apply(&table("[a]\nx = 1\ny = 2"), &Source::Default);
        layers.apply(&table("[a]\ny = 3"), &Source::Experiment("f.toml".into()));
        layers.set("a.x=7").expect("an assignment");
        assert_eq!(layers.table(), &table("[a]\nx = 7\ny = 3"));
        assert_eq!(layers.source(&["a.x".into()]), Source::CommandLine);
        assert_eq!(
            layers.source(&["a.y".into()]),
            Source::Experiment("f.toml".into())
        );
    }

    #[test]
    fn another_plugin_does_not_inherit_parameters() {
        let mut below = table(
            "[loss]\nplugin = \"a\"\non_failure = { fallback = \"c\" }\n[loss.parameters]\nx = 1",
        );
        merge(&mut below, &table("[loss]\nplugin = \"b\""));
        assert_eq!(
            below,
            table("[loss]\nplugin = \"b\"\ngrants = []\n[loss.parameters]")
        );
    }

    #[test]
    fn an_assignment_is_toml_or_a_text() {
        let mut layers = Layers::default();
        layers.set("a.rate = 1e-3").expect("a number");
        layers.set("a.plugin=./my.wasm").expect("a text");
        layers.set("a.list=[1, 2]").expect("a list");
        let expected = table("[a]\nrate = 1e-3\nplugin = \"./my.wasm\"\nlist = [1, 2]");
        assert_eq!(layers.table(), &expected);
        assert!(layers.set("no-value").is_err());
        assert!(layers.set("=3").is_err());
    }
}
