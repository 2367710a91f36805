//! `incubate eval`.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::arguments::EvalOptions;
use super::number::{percent, thousands};
use super::{print, print_json, sources, table};
use crate::run::{RunError, RunFolder, Unit};
use crate::training::{Answers, Changed, ClassScore, Confusion, FIRST, Runner};
use crate::{device, drawing, output};

/// A wrong use of the command.
#[derive(Debug, Error)]
pub(super) enum EvalError {
    /// One picture shows one unit.
    #[error(
        "`--confusion` draws one unit, and there are {}: {} (choose one with `--unit`)",
        units.len(),
        units.join(", ")
    )]
    SeveralUnits {
        /// The units.
        units: Vec<String>,
    },
}

/// Scores finished units of a run.
pub(super) fn eval(options: &EvalOptions) -> Result<()> {
    let Some((_, experiment, record)) = RunFolder::open(&options.run)? else {
        return Err(RunError::NoRun {
            path: options.run.clone(),
        }
        .into());
    };
    let prepared = sources::recorded(experiment, &record)?;
    let names = prepared.resolved.dataset.classes.clone();
    let device = device::choose(options.device.device, options.device.allow_software_gpu)?;
    let runner = Runner::open(prepared, &options.run, device, Changed::Refused)?;
    let units = if options.units.is_empty() {
        runner.finished()?
    } else {
        options
            .units
            .iter()
            .map(|name| runner.unit(name))
            .collect::<Result<_, _>>()?
    };
    if units.is_empty() {
        bail!("no unit of `{}` is finished", options.run.display());
    }
    if options.confusion.is_some() && units.len() > 1 {
        let units = units.iter().map(ToString::to_string).collect();
        return Err(EvalError::SeveralUnits { units }.into());
    }
    let report = runner.report()?;
    if let Some(sentence) = report.without_pictures() {
        super::warn(&sentence);
    }
    for replacement in report.fallbacks {
        super::warn(&format!("{}: {replacement}", replacement.unit));
    }
    let mut rows = Vec::new();
    for unit in units {
        let answers = runner.evaluate(unit)?;
        if options.json {
            print_json(&record_of(unit, &answers, &names, options.per_class))?;
        } else if options.per_class {
            show_classes(unit, &answers, &names)?;
        } else {
            rows.push(row(unit, &answers, names.len()));
        }
        if let Some(file) = &options.confusion {
            draw(file, &answers, &names)?;
        }
    }
    if !rows.is_empty() {
        print(&table::table(&heading("unit", names.len()), &rows))?;
    }
    Ok(())
}

/// The heading of a table of scores; five classes at most are always among the first five.
fn heading(first: &str, classes: usize) -> Vec<&str> {
    let mut heading = vec![first, "accuracy"];
    heading.extend((classes > FIRST).then_some("top-5"));
    heading.push("loss");
    heading
}

/// A line about a unit.
fn row(unit: Unit, answers: &Answers, classes: usize) -> Vec<String> {
    let score = answers.score();
    let mut row = vec![unit.to_string(), percent(score.accuracy)];
    row.extend((classes > FIRST).then(|| percent(score.top5)));
    row.push(format!("{:.4}", score.loss));
    row
}

/// Prints the score of a unit and of every class.
fn show_classes(unit: Unit, answers: &Answers, names: &[String]) -> Result<()> {
    let confusion = Confusion::new(answers, names.len());
    let mut heading = heading("class", names.len());
    heading.extend(["pictures", "most often taken for"]);
    let rows: Vec<Vec<String>> = answers
        .classes(&confusion)
        .into_iter()
        .map(|class| class_row(&class, names))
        .collect();
    let score = row(unit, answers, names.len());
    print(&format!(
        "{unit}: {} of {} pictures right{}, loss {}",
        score[1],
        thousands(answers.0.len() as u64),
        if names.len() > FIRST {
            format!(", {} among the first five", score[2])
        } else {
            String::new()
        },
        score[score.len() - 1]
    ))?;
    print("")?;
    print(&table::table(&heading, &rows))?;
    print("")
}

/// A line about a class.
fn class_row(class: &ClassScore, names: &[String]) -> Vec<String> {
    let mut row = vec![names[class.class].clone(), percent(class.accuracy)];
    row.extend((names.len() > FIRST).then(|| percent(class.top5)));
    row.push(format!("{:.4}", class.loss));
    row.push(thousands(class.pictures));
    row.push(class.mistake.map_or_else(String::new, |mistake| {
        let share = mistake.pictures as f64 / class.pictures as f64;
        format!("{} {:>7}", names[mistake.class], percent(share))
    }));
    row
}

/// What is said about a unit for programs.
fn record_of(unit: Unit, answers: &Answers, names: &[String], per_class: bool) -> Value {
    let score = answers.score();
    let mut record = json!({
        "unit": unit.to_string(),
        "accuracy": score.accuracy,
        "top5": score.top5,
        "loss": score.loss,
    });
    if per_class {
        let confusion = Confusion::new(answers, names.len());
        let classes: Vec<Value> = answers
            .classes(&confusion)
            .into_iter()
            .map(|class| {
                let row = confusion.row(class.class).iter().enumerate();
                let predicted: Map<String, Value> = row
                    .filter(|(_, pictures)| **pictures > 0)
                    .map(|(other, pictures)| (names[other].clone(), json!(pictures)))
                    .collect();
                json!({
                    "class": names[class.class],
                    "pictures": class.pictures,
                    "accuracy": class.accuracy,
                    "top5": class.top5,
                    "loss": class.loss,
                    "predicted": predicted,
                })
            })
            .collect();
        record["classes"] = Value::Array(classes);
    }
    record
}

/// Writes the picture of which classes are taken for which.
fn draw(file: &Path, answers: &Answers, names: &[String]) -> Result<()> {
    let confusion = Confusion::new(answers, names.len());
    let picture = drawing::confusion(&confusion.shares(), names);
    output::write(file, &drawing::png(&picture)?)?;
    sources::notice(&format!("wrote {}", file.display()));
    Ok(())
}
