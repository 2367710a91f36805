//! `incubate init`: an experiment of the program as a file, to be changed.

use std::path::PathBuf;

use anyhow::Result;

use super::arguments::InitOptions;
use super::{print, table};
use crate::experiment::{self, BuiltInExperiment};
use crate::output;
use crate::spelling::shell_word;

/// Lists the experiments, or writes one and says what comes next.
pub(super) fn init(options: &InitOptions) -> Result<()> {
    let Some(name) = &options.name else {
        return list();
    };
    let experiment = experiment::find_built_in(name)?;
    let file = options
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    output::write_new(&file, experiment.text.as_bytes())?;
    print(&format!("wrote {}", file.display()))?;
    if let Some(folder) = experiment.data_path()
        && !folder.is_dir()
    {
        print(&format!(
            "Edit it:   `path` in [data]; there is no folder `{}`",
            folder.display()
        ))?;
    }
    let named = shell_word(&file.display().to_string());
    print(&format!("See it:    incubate plan {named}"))?;
    print(&format!("Train it:  incubate run {named}"))
}

/// The experiments with what each is about.
fn list() -> Result<()> {
    let row = |one: &BuiltInExperiment| vec![one.name.to_owned(), one.about().to_owned()];
    let rows: Vec<_> = experiment::built_in().iter().map(row).collect();
    print(&table::text(&["experiment", "what it is"], &rows))?;
    print("")?;
    print(
        "Write one into a file with `incubate init NAME`, or run it as it is with `incubate run NAME`.",
    )
}
