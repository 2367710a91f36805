//! `incubate init`: an experiment of the program as a file, to be changed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::arguments::InitOptions;
use super::{print, table};
use crate::experiment::{self, BuiltInExperiment};
use crate::output;

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
    let named = name_of(&file);
    print(&format!("See it:    incubate plan {named}"))?;
    print(&format!("Train it:  incubate run {named}"))
}

/// The experiments with what each is about.
fn list() -> Result<()> {
    let row = |one: &BuiltInExperiment| vec![one.name.to_owned(), one.about().to_owned()];
    let rows: Vec<_> = experiment::built_in().iter().map(row).collect();
    print(&table::text(&["experiment", "what it is"], &rows))?;
    print("")?;
    print("Write one into a file with `incubate init NAME`, or run it as it is with `incubate run NAME`.")
}

/// The file on a command line; a name without a folder could be that of a built-in experiment.
fn name_of(file: &Path) -> String {
    let text = file.display().to_string();
    if text.contains(char::is_whitespace) {
        format!("'{text}'")
    } else {
        text
    }
}
