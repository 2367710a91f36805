//! What makes two experiments the same: every setting but where things lie on one machine.
//!
//! The pictures and the plugins of a run are held fast by their digests, and the weights that it
//! begins with are recorded by theirs, so the folders that they are read from may differ between the
//! machines of a team.

use toml::{Table, Value};

use super::Experiment;

impl Experiment {
    /// Every setting in force, without the paths of pictures, plugins, and weights, the number of
    /// threads, what is expected of the pictures, when training is written down, whether features are
    /// kept, and what happens when it diverges: that makes no difference before, and is in the result
    /// where it did.
    pub fn identity(&self) -> Table {
        let mut table = Table::try_from(self).unwrap_or_default();
        table.remove("checkpoint");
        table.remove("features");
        for phase in ["meta", "module", "fine-tune", "baseline"] {
            if let Some(Value::Table(phase)) = table.get_mut(phase) {
                phase.remove("divergence");
            }
        }
        if let Some(Value::Table(data)) = table.get_mut("data") {
            data.remove("path");
            data.remove("threads");
            data.remove("expected");
        }
        forget_paths(&mut table);
        table
    }
}

/// Leaves the file name of every plugin, teacher, and file of weights that is named by a path.
fn forget_paths(table: &mut Table) {
    for (key, value) in table {
        match value {
            Value::Table(inner) if key != "parameters" => forget_paths(inner),
            Value::Array(terms) if key == "terms" => {
                let tables = terms.iter_mut().filter_map(Value::as_table_mut);
                tables.for_each(forget_paths);
            }
            Value::String(path)
                if matches!(key.as_str(), "plugin" | "start" | "weights")
                    && path.starts_with('/') =>
            {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                *path = name;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment;

    fn load(assignments: &[&str]) -> experiment::Experiment {
        let assignments: Vec<String> = assignments.iter().map(|&one| one.to_owned()).collect();
        experiment::load(Some("digits"), &assignments)
            .unwrap()
            .experiment
    }

    #[test]
    fn only_places_and_threads_may_differ() {
        let reference = load(&["loss.plugin=/here/focal.wasm"]);
        for same in [
            ["loss.plugin=/there/focal.wasm", "data.threads=3"],
            ["loss.plugin=/here/focal.wasm", "data.threads=1"],
            ["loss.plugin=/here/focal.wasm", "checkpoint.every_updates=7"],
            ["loss.plugin=/here/focal.wasm", "features.cache=off"],
            [
                "loss.plugin=/here/focal.wasm",
                "meta.divergence.action=roll-back",
            ],
        ] {
            assert_eq!(load(&same).identity(), reference.identity(), "{same:?}");
        }
        for other in [
            ["loss.plugin=/here/other.wasm", "seed=0"],
            ["loss.plugin=/here/focal.wasm", "seed=1"],
            ["loss.plugin=/here/focal.wasm", "module.epochs=3"],
        ] {
            assert_ne!(load(&other).identity(), reference.identity(), "{other:?}");
        }
    }
}
