//! `incubate eval`.

use anyhow::{Result, bail};
use serde_json::json;

use super::arguments::EvalOptions;
use super::number::percent;
use super::sandbox::plugin_host;
use super::{print, print_json, sources, table};
use crate::device;
use crate::experiment::Resolved;
use crate::run::RunFolder;
use crate::training::{Runner, prepare};

/// Scores finished units of a run.
pub(super) fn eval(options: &EvalOptions) -> Result<()> {
    let Some((_, experiment, record)) = RunFolder::open(&options.run)? else {
        bail!(
            "`{}` holds no run (give the folder that `incubate run` wrote)",
            options.run.display()
        );
    };
    let mut host = plugin_host()?;
    sources::supply_recorded(&mut host, &experiment, &record)?;
    let prepared = prepare(Resolved::recorded(experiment)?, &host)?;
    let device = device::choose(options.device.device, options.device.allow_software_gpu)?;
    let runner = Runner::open(prepared, &options.run, device)?;
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
    for replacement in runner.report()?.fallbacks {
        super::warn(&format!("{}: {replacement}", replacement.unit));
    }
    let mut rows = Vec::new();
    for unit in units {
        let score = runner.evaluate(unit)?;
        if options.json {
            print_json(
                &json!({ "unit": unit.to_string(), "accuracy": score.accuracy, "loss": score.loss }),
            )?;
        } else {
            rows.push(vec![
                unit.to_string(),
                percent(score.accuracy),
                format!("{:.4}", score.loss),
            ]);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    print(&table::table(&["unit", "accuracy", "loss"], &rows))
}
