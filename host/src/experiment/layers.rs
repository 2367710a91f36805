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
        for key in begun_anew(&self.table, table) {
            for own in OWN.into_iter().chain(NAMES) {
                self.forget(&format!("{key}.{own}"));
            }
            self.begin_phases_anew(&key);
        }
        merge(&mut self.table, table);
        for key in leaves(table) {
            self.sources.insert(key, source.clone());
        }
    }

    /// Puts these `key=value` above what is there, as one layer, so that their order matters only
    /// for equal keys; a value is TOML, or else a text.
    ///
    /// # Errors
    /// When there is no `=` or the key is empty.
    pub fn set(&mut self, assignments: &[String]) -> Result<(), ExperimentError> {
        let mut layer = Table::new();
        for assignment in assignments {
            lay(&mut layer, &assigned(assignment)?, false);
        }
        self.apply(&layer, &Source::CommandLine);
        Ok(())
    }

    /// Drops what phases say about a shared plugin that they do not name: it was meant for the plugin
    /// that another one now replaces.
    fn begin_phases_anew(&mut self, shared: &str) {
        let mut dropped = Vec::new();
        for (phase, table) in &mut self.table {
            let Some(Value::Table(plugin)) = table.get_mut(shared) else {
                continue;
            };
            if NAMES.into_iter().any(|name| plugin.contains_key(name)) {
                continue;
            }
            for own in OWN {
                plugin.remove(own);
                dropped.push(format!("{phase}.{shared}.{own}"));
            }
        }
        for key in dropped {
            self.forget(&key);
        }
    }

    /// Drops the sources of a key and of everything below it.
    fn forget(&mut self, key: &str) {
        self.sources.remove(key);
        for leaf in self.keys_under(key) {
            self.sources.remove(&leaf);
        }
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

/// What belongs to the plugin that stands beside it.
const OWN: [&str; 4] = ["parameters", "grants", "limits", "on_failure"];

/// The keys that name plugins: one, or a list of tables that each name one. Either replaces the other.
const NAMES: [&str; 2] = ["plugin", "terms"];

/// One `key=value` as a table.
fn assigned(assignment: &str) -> Result<Table, ExperimentError> {
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
    match nested {
        Value::Table(table) => Ok(table),
        _ => Err(malformed()),
    }
}

/// Merges `above` into `below`. A table that names a `plugin`, or the `terms` of a sum, which the one
/// below does not name starts anew: parameters belong to the plugin that declares them, and what one plugin is allowed must never
/// reach another.
pub(super) fn merge(below: &mut Table, above: &Table) {
    lay(below, above, true);
}

/// Merges, with or without the rule about plugins.
fn lay(below: &mut Table, above: &Table, plugins_begin_anew: bool) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => {
                if plugins_begin_anew && names_another(old, new) {
                    for name in NAMES.into_iter().chain(OWN) {
                        old.remove(name);
                    }
                    // A sum has these in its terms.
                    if !new.contains_key("terms") {
                        old.insert("parameters".to_owned(), Value::Table(Table::new()));
                        old.insert("grants".to_owned(), Value::Table(Table::new()));
                    }
                }
                lay(old, new, plugins_begin_anew);
            }
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Whether the table `above` names a plugin or a sum, and `below` another one or none.
fn names_another(below: &Table, above: &Table) -> bool {
    NAMES.into_iter().any(|name| {
        above
            .get(name)
            .is_some_and(|named| below.get(name) != Some(named))
    })
}

/// The dotted keys of the tables in `below` that start anew when `above` is merged into it.
fn begun_anew(below: &Table, above: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in above {
        if let (Some(Value::Table(old)), Value::Table(new)) = (below.get(key), value) {
            if names_another(old, new) {
                keys.push(key.clone());
            }
            let within = begun_anew(old, new).into_iter();
            keys.extend(within.map(|rest| format!("{key}.{rest}")));
        }
    }
    keys
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
        layers.set(&["a.x=7".to_owned()]).expect("an assignment");
        assert_eq!(layers.table(), &table("[a]\nx = 7\ny = 3"));
        assert_eq!(layers.source(&["a.x".into()]), Source::CommandLine);
        assert_eq!(
            layers.source(&["a.y".into()]),
            Source::Experiment("f.toml".into())
        );
    }

    /// The table of a plugin with everything that belongs to it.
    const TRUSTED: &str = "plugin = \"a\"\nparameters = { x = 1 }\ngrants = { random = \"noise\" }\nlimits = { fuel = 5 }\non_failure = { fallback = \"c\" }";

    #[test]
    fn another_plugin_inherits_nothing() {
        let other = "[loss]\nplugin = \"b\"\n[loss.parameters]\n[loss.grants]\n";
        // Whether or not the table below names a plugin, and so may mean one that is inherited.
        for line in [TRUSTED, &TRUSTED.replace("plugin = \"a\"\n", "")] {
            let mut below = table(&format!("[loss]\n{line}"));
            merge(&mut below, &table("[loss]\nplugin = \"b\""));
            assert_eq!(below, table(other));
        }
        let mut below = table(&format!("[loss]\n{TRUSTED}"));
        merge(
            &mut below,
            &table("[loss]\nplugin = \"a\"\ngrants = { random = false }"),
        );
        let same = TRUSTED.replace("\"noise\"", "false");
        assert_eq!(below, table(&format!("[loss]\n{same}")));
    }

    #[test]
    fn a_phase_does_not_pass_on_what_was_meant_for_a_plugin_that_was_replaced() {
        let file = format!(
            "[loss]\nplugin = \"a\"\n[module.loss.grants]\nrandom = \"noise\"\n[meta.loss]\n{TRUSTED}"
        );
        let mut layers = Layers::default();
        layers.apply(&table(&file), &Source::Experiment("f.toml".into()));
        layers
            .set(&["loss.plugin=b".to_owned()])
            .expect("an assignment");
        let expected = format!(
            "[loss]\nplugin = \"b\"\n[loss.parameters]\n[loss.grants]\n[module.loss]\n[meta.loss]\n{TRUSTED}"
        );
        assert_eq!(layers.table(), &table(&expected));
        assert!(!layers.knows("module.loss.grants.random"));
        assert!(layers.knows("meta.loss.grants.random"));
    }

    #[test]
    fn a_sum_and_a_plugin_replace_each_other_and_inherit_nothing() {
        let sum = "[loss]\nterms = [{ plugin = \"b\" }]";
        let mut below = table(&format!("[loss]\n{TRUSTED}"));
        merge(&mut below, &table(sum));
        assert_eq!(below, table(sum));
        merge(&mut below, &table("[loss]\nplugin = \"a\""));
        let plugin = "[loss]\nplugin = \"a\"\n[loss.parameters]\n[loss.grants]";
        assert_eq!(below, table(plugin));
        // Of two sums the later one counts, whole.
        let mut below = table(sum);
        let other = "[loss]\nterms = [{ plugin = \"b\", weight = 2 }, { plugin = \"c\" }]";
        merge(&mut below, &table(other));
        assert_eq!(below, table(other));
    }

    #[test]
    fn the_order_of_assignments_does_not_matter() {
        let file = table(&format!("[loss]\n{TRUSTED}"));
        let set = |assignments: [&str; 2]| {
            let mut layers = Layers::default();
            layers.apply(&file, &Source::Experiment("f.toml".into()));
            let assignments = assignments.map(ToOwned::to_owned);
            layers.set(&assignments).expect("assignments");
            layers.table().clone()
        };
        let given = ["loss.plugin=b", "loss.grants.random=noise"];
        let expected = "[loss]\nplugin = \"b\"\nparameters = {}\ngrants = { random = \"noise\" }";
        assert_eq!(set(given), table(expected));
        assert_eq!(set([given[1], given[0]]), table(expected));
    }

    #[test]
    fn an_assignment_is_toml_or_a_text() {
        let mut layers = Layers::default();
        let given = ["a.rate = 1e-3", "a.plugin=./my.wasm", "a.list=[1, 2]"];
        layers
            .set(&given.map(ToOwned::to_owned))
            .expect("a number, a text, and a list");
        let expected = table("[a]\nrate = 1e-3\nplugin = \"./my.wasm\"\nlist = [1, 2]");
        assert_eq!(layers.table(), &expected);
        assert!(layers.set(&["no-value".to_owned()]).is_err());
        assert!(layers.set(&["=3".to_owned()]).is_err());
    }
}
