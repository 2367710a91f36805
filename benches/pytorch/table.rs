//! What was measured, for people and for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::machine::Machine;
use crate::ratio::{Better, Pairs};

/// One thing that both sides did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What it was, in the order of the table's columns.
    what: Vec<String>,
    unit: &'static str,
    better: Better,
    #[serde(flatten)]
    pairs: Pairs,
    /// The medians of PyTorch and of ours.
    medians: [f64; 2],
    /// How many times better ours is: least, median, most.
    ratios: [f64; 3],
}

impl Row {
    /// Of what was measured in this unit.
    pub(crate) fn new(what: Vec<String>, unit: &'static str, better: Better, pairs: Pairs) -> Self {
        Self {
            what,
            unit,
            better,
            medians: pairs.medians(),
            ratios: pairs.ratios(better),
            pairs,
        }
    }
}

/// Everything that was measured in one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) machine: Machine,
    pub(crate) threads: usize,
    /// The other side, with its versions.
    pub(crate) pytorch: String,
    pub(crate) incubate: &'static str,
    pub(crate) rounds: usize,
    /// The names of what a row says it is.
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// As Markdown.
    fn text(&self) -> Result<String> {
        let mut text = format!(
            "# {}\n\nMachine: {}.\n\n{}, beside incubate {}; {} threads each; {} rounds, in which each side \
             works while the other waits.\nThe ratio says how many times better incubate is: the median of the \
             rounds, and the least to the most.\nRows that it loses have an arrow.\n\n",
            self.title,
            self.machine.describe(),
            self.pytorch,
            self.incubate,
            self.threads,
            self.rounds,
        );
        writeln!(
            text,
            "| {} | PyTorch | incubate | | ratio |\n|{}---|---|---|---|",
            self.columns.join(" | "),
            "---|".repeat(self.columns.len()),
        )?;
        for row in &self.rows {
            let [least, median, most] = row.ratios;
            let [pytorch, ours] = row.medians;
            let digits = if pytorch.min(ours) < 10.0 { 2 } else { 0 };
            let arrow = if median < 1.0 { "← " } else { "" };
            writeln!(
                text,
                "| {} | {pytorch:.digits$} | {ours:.digits$} | {} | {arrow}{median:.2} ({least:.2} to \
                 {most:.2}) |",
                row.what.join(" | "),
                row.unit,
            )?;
        }
        Ok(text)
    }

    /// Prints it, and writes `NAME.json` and `NAME.md` into a folder, if one is given.
    pub(crate) fn show(&self, folder: Option<&Path>, name: &str) -> Result<()> {
        let text = self.text()?;
        print!("{text}");
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
            let raw = serde_json::to_string_pretty(self)? + "\n";
            fs::write(folder.join(format!("{name}.json")), raw)?;
            fs::write(folder.join(format!("{name}.md")), text)?;
        }
        Ok(())
    }
}
