//! One cell: the experiment, its training by the command, and what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::design::{Cell, Lengths, Method};

/// The experiment that all cells share.
const EXPERIMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/study/study.toml");

/// What a cell gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) cell: Cell,
    /// Epochs of every unit, in order.
    pub(crate) epochs: Vec<(String, u64)>,
    /// Of the finished network.
    pub(crate) accuracy: f64,
    pub(crate) loss: f64,
    /// Of the meta model and of the assembled network before fine-tuning.
    pub(crate) meta: Option<f64>,
    pub(crate) assembled: Option<f64>,
    /// Multiply-accumulate operations of all units, and of the longest chain of units that have to
    /// wait for each other.
    pub(crate) macs: f64,
    pub(crate) chain_macs: f64,
    /// Seconds of all units, one after the other, beside whatever else the machine did.
    pub(crate) seconds: f64,
    /// Evaluations of whole target networks.
    pub(crate) curve: Vec<Point>,
}

/// One evaluation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) macs: f64,
    pub(crate) chain_macs: f64,
    pub(crate) accuracy: f64,
}

/// Trains a cell, unless that is done, and says what came out.
pub(crate) fn train(cell: &Cell, out: &Path, colour: Option<&Path>) -> Result<String> {
    let folder = out.join(cell.name());
    let colour = colour.map(|path| path.display().to_string());
    let colour = colour.as_deref();
    let mut settings = cell.settings(colour);
    settings.extend(lengths(cell, colour)?);
    if cell.shares_meta() && !unit_folder(&folder, "meta").exists() {
        let mut command = incubate("import");
        command
            .args(["--no-eval", "--unit", "meta", "--out"])
            .arg(&folder)
            .arg(trained(cell, "meta", out).join("weights.safetensors"))
            .arg(EXPERIMENT);
        assign(&mut command, &settings);
        finished(&mut command)?;
    }
    let mut units = cell.units();
    let last = cell.asks_meta().then(|| units.pop()).flatten();
    run(&folder, &settings, &units)?;
    if let Some(last) = last {
        // In a run of its own, since its length is known only now.
        let assembled = unit_folder(&folder, "assemble").join("weights.safetensors");
        settings.push(format!(
            "{last}.start={:?}",
            assembled.display().to_string()
        ));
        settings.push(format!("{last}.epochs={}", epochs_left(cell, out)?));
        run(&fine_tuned(cell, out), &settings, &[last])?;
    }
    let outcome = outcome(cell, out)?.context("the run left no result")?;
    Ok(format!(
        "{:.2} % in {:.0} s",
        100.0 * outcome.accuracy,
        outcome.seconds
    ))
}

/// Trains those units of a run that are not finished.
fn run(folder: &Path, settings: &[String], units: &[String]) -> Result<()> {
    if units
        .iter()
        .all(|unit| unit_folder(folder, unit).join("result.json").is_file())
    {
        return Ok(());
    }
    let mut command = incubate("run");
    command.arg(EXPERIMENT).arg("--out").arg(folder);
    assign(&mut command, settings);
    for unit in units {
        command.args(["--unit", unit]);
    }
    finished(&mut command).map(|_| ())
}

/// The whole epochs of fine-tuning that the compute of the published way has room for, after what
/// the other units have spent.
fn epochs_left(cell: &Cell, out: &Path) -> Result<u64> {
    let published = cell.published();
    let spent = |cell: &Cell, unit: &str| -> Result<f64> {
        let result = result(&trained(cell, unit, out))?;
        Ok(result.as_ref().map_or(0.0, macs))
    };
    let mut left = 0.0;
    for unit in cell.units() {
        left += spent(&published, &unit)?;
        if unit != "fine-tune" {
            left -= spent(cell, &unit)?;
        }
    }
    let tuned = result(&trained(&published, "fine-tune", out))?.context("nothing published")?;
    let epochs = left / (macs(&tuned) / number(&tuned, "epochs"));
    ensure!(epochs >= 1.0, "the modules cost more than there is");
    // A sum of floats that should be whole may be a little less.
    Ok((epochs + 1e-6) as u64)
}

/// Where a unit of a cell was trained.
fn trained(cell: &Cell, unit: &str, out: &Path) -> PathBuf {
    let folder = match unit {
        "meta" if cell.shares_meta() => out.join(cell.published().name()),
        "fine-tune" if cell.asks_meta() => fine_tuned(cell, out),
        _ => out.join(cell.name()),
    };
    unit_folder(&folder, unit)
}

/// The run of a fine-tuning whose length depends on what the modules cost.
fn fine_tuned(cell: &Cell, out: &Path) -> PathBuf {
    out.join(format!("{}.fine-tuned", cell.name()))
}

/// What a unit left, if it is finished.
fn result(unit: &Path) -> Result<Option<Value>> {
    let path = unit.join("result.json");
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&fs::read(&path)?)?))
}

fn number(result: &Value, key: &str) -> f64 {
    result[key].as_f64().unwrap_or_default()
}

/// Multiply-accumulate operations of a unit.
fn macs(result: &Value) -> f64 {
    number(result, "forward_macs") + number(result, "backward_macs")
}

/// What a command that has to succeed says.
fn finished(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// The command, on one thread.
fn incubate(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command
        .env("RAYON_NUM_THREADS", "1")
        .arg(name)
        .args(["--device", "cpu"]);
    command
}

fn assign(command: &mut Command, settings: &[String]) {
    for setting in settings {
        command.args(["--set", setting]);
    }
}

/// The settings of the phases' lengths, such that every way to train costs at most what the
/// published one does.
fn lengths(cell: &Cell, colour: Option<&str>) -> Result<Vec<String>> {
    let published = length_settings(&cell.data.published());
    if matches!(cell.method, Method::EndToEnd | Method::Incubation) || cell.asks_meta() {
        // The default of the baseline is as many epochs as cost the same.
        return Ok(published);
    }
    let Lengths { meta, module, .. } = cell.lengths();
    let one = length_settings(&Lengths {
        meta,
        module,
        fine_tune: 1,
    });
    let budget = planned(&cell.published(), colour, published)?;
    let total = |plan: &Value| {
        plan["incubation_macs"]
            .as_f64()
            .context("a plan without cost")
    };
    let with_one = planned(cell, colour, one)?;
    let fine_tune = with_one["plan"]["units"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|unit| unit["unit"] == "fine-tune")
        .and_then(|unit| unit["total_macs"].as_f64())
        .context("a plan without fine-tuning")?;
    let left = total(&budget)? - total(&with_one)?;
    ensure!(
        left >= 0.0,
        "meta model and modules cost more than there is"
    );
    Ok(length_settings(&Lengths {
        meta,
        module,
        fine_tune: 1 + (left / fine_tune) as u32,
    }))
}

fn length_settings(lengths: &Lengths) -> Vec<String> {
    let Lengths {
        meta,
        module,
        fine_tune,
    } = lengths;
    vec![
        format!("meta.epochs={meta}"),
        format!("module.epochs={module}"),
        format!("fine-tune.epochs={fine_tune}"),
        format!("meta.evaluate_every={}", (meta / 5).max(1)),
        format!("module.evaluate_every={module}"),
        format!("fine-tune.evaluate_every={}", (fine_tune / 5).max(1)),
        format!("baseline.evaluate_every={}", (meta / 5).max(1)),
    ]
}

/// What `incubate plan` says of a cell's experiment.
fn planned(cell: &Cell, colour: Option<&str>, lengths: Vec<String>) -> Result<Value> {
    let mut settings = cell.settings(colour);
    settings.extend(lengths);
    let mut command = incubate("plan");
    command.arg(EXPERIMENT).arg("--json");
    assign(&mut command, &settings);
    Ok(serde_json::from_slice(&finished(&mut command)?)?)
}

/// The results of a finished cell.
pub(crate) fn outcome(cell: &Cell, out: &Path) -> Result<Option<Outcome>> {
    let units = cell.units();
    let mut results = Vec::new();
    for unit in &units {
        let Some(result) = result(&trained(cell, unit, out))? else {
            return Ok(None);
        };
        results.push(result);
    }
    let (mut before, mut modules, mut chain_before) = (0.0, 0.0_f64, 0.0);
    let (mut meta, mut assembled) = (None, None);
    let mut curve = Vec::new();
    for (unit, result) in units.iter().zip(&results) {
        let accuracy = number(result, "accuracy");
        match unit.as_str() {
            "meta" => {
                meta = Some(accuracy);
                before += macs(result);
                chain_before += macs(result);
            }
            "assemble" => {
                assembled = Some(accuracy);
                chain_before += modules;
                curve.push(Point {
                    macs: before,
                    chain_macs: chain_before,
                    accuracy,
                });
            }
            "fine-tune" | "baseline" => {
                let whole = macs(result);
                let epochs = number(result, "epochs");
                for (epoch, accuracy) in evaluations(&trained(cell, unit, out))? {
                    let share = (epoch + 1.0) / epochs;
                    curve.push(Point {
                        macs: before + share * whole,
                        chain_macs: chain_before + share * whole,
                        accuracy,
                    });
                }
                before += whole;
                chain_before += whole;
            }
            _ => {
                before += macs(result);
                modules = modules.max(macs(result));
            }
        }
    }
    let Some(last) = results.last() else {
        return Ok(None);
    };
    Ok(Some(Outcome {
        cell: *cell,
        epochs: units
            .iter()
            .zip(&results)
            .map(|(unit, result)| (unit.clone(), result["epochs"].as_u64().unwrap_or_default()))
            .collect(),
        accuracy: number(last, "accuracy"),
        loss: number(last, "loss"),
        meta,
        assembled,
        macs: before,
        chain_macs: chain_before,
        seconds: results.iter().map(|result| number(result, "seconds")).sum(),
        curve,
    }))
}

/// Epoch (from 0) and accuracy of every evaluation of a unit.
fn evaluations(unit: &Path) -> Result<Vec<(f64, f64)>> {
    let text = fs::read_to_string(unit.join("events.jsonl"))?;
    let mut found = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "evaluated" {
            let number = |key: &str| event[key].as_f64().unwrap_or_default();
            found.push((number("epoch"), number("accuracy")));
        }
    }
    Ok(found)
}

fn unit_folder(folder: &Path, unit: &str) -> PathBuf {
    folder.join("units").join(unit)
}
