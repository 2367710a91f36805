//! What is finished, as raw results, tables, and curves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cell::{self, Outcome};
use crate::chart;
use crate::design::{self, Cell, Method, Setting, name};

/// The raw results.
#[derive(Serialize, Deserialize)]
struct Raw {
    outcomes: Vec<Recorded>,
}

/// An outcome with the machine that it was made on, and the commit that was current when it was
/// collected.
#[derive(Clone, Serialize, Deserialize)]
struct Recorded {
    processor: String,
    threads: usize,
    commit: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Writes `study.json`, `study.md`, and `study.svg` into a folder. What stands in its `study.json` and is
/// not in `out` stays: a study can be made in parts, and on several machines.
pub(crate) fn write(out: &Path, into: &Path) -> Result<()> {
    let kept = into.join("study.json");
    let mut old: BTreeMap<Cell, Recorded> = BTreeMap::new();
    if kept.is_file() {
        let raw: Raw = serde_json::from_slice(&fs::read(&kept)?)
            .with_context(|| format!("{} holds no results of a study", kept.display()))?;
        old.extend(raw.outcomes.into_iter().map(|one| (one.outcome.cell, one)));
    }
    let processor = processor()?;
    let threads = std::thread::available_parallelism()?.get();
    let commit = commit()?;
    let mut recorded = Vec::new();
    for cell in design::cells().into_iter().flatten() {
        let new = cell::outcome(&cell, out)?.map(|outcome| Recorded {
            processor: processor.clone(),
            threads,
            commit: commit.clone(),
            outcome,
        });
        recorded.extend(new.or_else(|| old.remove(&cell)));
    }
    ensure!(
        !recorded.is_empty(),
        "nothing is finished in {}",
        out.display()
    );
    let outcomes: Vec<Outcome> = recorded.iter().map(|one| one.outcome.clone()).collect();
    fs::create_dir_all(into)?;
    let raw = Raw { outcomes: recorded };
    fs::write(kept, serde_json::to_string_pretty(&raw)? + "\n")?;
    let table = table(&outcomes)?;
    print!("{table}");
    fs::write(into.join("study.md"), table)?;
    chart::draw(&settings(&outcomes), &into.join("study.svg"))
}

/// The outcomes of every setting.
fn settings(outcomes: &[Outcome]) -> BTreeMap<Setting, Vec<&Outcome>> {
    let mut settings: BTreeMap<Setting, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let cell = outcome.cell;
        settings
            .entry((cell.data, cell.depth, cell.augmented))
            .or_default()
            .push(outcome);
    }
    settings
}

/// Mean and deviation over seeds, in percent.
fn table(outcomes: &[Outcome]) -> Result<String> {
    let mut text = String::from(
        "Accuracy on the validation pictures in percent: mean over seeds ± their standard deviation\n\
         (seeds). In brackets: the assembled network before fine-tuning. Compute: multiply-accumulate\n\
         operations of training, and those of the longest chain when modules are trained in parallel,\n\
         as shares of the end-to-end training.\n\n\
         | pictures | depth | changes | way | accuracy | compute | longest chain |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for ((data, depth, augmented), outcomes) in settings(outcomes) {
        let of = |method: Method| -> Vec<&Outcome> {
            let same = outcomes.iter().filter(|one| one.cell.method == method);
            same.copied().collect()
        };
        let whole = mean(of(Method::EndToEnd).iter().map(|one| one.macs));
        for method in Method::ALL {
            let found = of(method);
            if found.is_empty() {
                continue;
            }
            let accuracies: Vec<f64> = found.iter().map(|one| 100.0 * one.accuracy).collect();
            let assembled = mean(found.iter().filter_map(|one| one.assembled));
            let assembled =
                assembled.map_or_else(String::new, |share| format!(" [{:.1}]", 100.0 * share));
            let share = |macs: Option<f64>| match (macs, whole) {
                (Some(macs), Some(whole)) => format!("{:.2}", macs / whole),
                _ => "–".to_owned(),
            };
            writeln!(
                text,
                "| {} | {depth} | {} | {} | {}{assembled} | {} | {} |",
                name(&data),
                name(&augmented),
                name(&method),
                spread(&accuracies),
                share(mean(found.iter().map(|one| one.macs))),
                share(mean(found.iter().map(|one| one.chain_macs))),
            )?;
        }
    }
    Ok(text)
}

/// The mean, if there is anything.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn spread(values: &[f64]) -> String {
    let count = values.len();
    let Some(mean) = mean(values.iter().copied()) else {
        return String::new();
    };
    if count < 2 {
        return format!("{mean:.1} (1)");
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (count - 1) as f64).sqrt();
    format!("{mean:.1} ± {deviation:.1} ({count})")
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo").context("what processor this is")?;
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    Ok(name.map_or("unknown", |(_, name)| name.trim()).to_owned())
}

fn commit() -> Result<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"])
        .output()
        .context("git says which commit this is")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
