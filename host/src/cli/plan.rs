//! `incubate plan`.

use anyhow::Result;
use serde_json::json;

use super::arguments::PlanOptions;
use super::number::{bytes, short, thousands};
use super::sandbox::plugin_host;
use super::{print, print_json, rates, sources, table};
use crate::training::{Plan, planned_rates, prepare};
use crate::{device, experiment};

/// Shows what a run would do and cost.
pub(super) fn plan(options: &PlanOptions) -> Result<()> {
    let resolved = experiment::load(
        options.experiment.experiment.as_deref(),
        &options.experiment.assignments,
    )?;
    let settings = resolved.settings();
    let mut host = plugin_host()?;
    sources::supply(
        &mut host,
        &resolved.experiment,
        options.experiment.experiment.as_deref(),
        &options.sources,
    )?;
    let prepared = prepare(resolved, &host)?;
    let device = device::choose(options.device.device, options.device.allow_software_gpu)?;
    let plan = Plan::new(&prepared, &device)?;
    if let Some(replacement) = &plan.replaced {
        super::warn(&replacement.to_string());
    }
    if options.rates {
        let rates = planned_rates(&prepared, &plan)?;
        return if options.json {
            print_json(&json!({ "rates": rates }))
        } else {
            rates::print_rates(&rates)
        };
    }
    let (method, baseline) = plan.totals();
    if options.json {
        let settings: Vec<_> = settings
            .iter()
            .map(|setting| {
                json!({ "key": setting.key, "value": setting.value, "source": setting.source.to_string() })
            })
            .collect();
        return print_json(&json!({
            "plan": plan,
            "incubation_macs": method,
            "baseline_macs": baseline,
            "device": device.name,
            "settings": settings,
            "notes": prepared.notes(),
        }));
    }
    let rows: Vec<Vec<String>> = plan
        .units
        .iter()
        .map(|unit| {
            let depths: Vec<String> = unit.depths.iter().map(ToString::to_string).collect();
            vec![
                unit.unit.clone(),
                depths.join("+"),
                thousands(unit.parameters),
                thousands(unit.trained_parameters),
                short(unit.forward_macs),
                short(unit.backward_macs),
                unit.epochs.to_string(),
                thousands(unit.updates),
                short(unit.total_macs),
                bytes(unit.memory_bytes),
            ]
        })
        .collect();
    let heading = [
        "unit",
        "blocks",
        "parameters",
        "trained",
        "forward",
        "backward",
        "epochs",
        "updates",
        "MACs",
        "memory",
    ];
    print(&table::table(&heading, &rows))?;
    print("")?;
    print(
        "forward, backward: multiply-accumulate operations (MACs) for one picture; MACs: for the whole unit.",
    )?;
    print(
        "memory: an estimate of weights, gradients, optimizer state, and activations of one batch.",
    )?;
    let ratio = method as f64 / baseline as f64;
    print(&format!(
        "incubation in all: {} MACs, {ratio:.2} times the end-to-end baseline",
        short(method)
    ))?;
    print(&format!("device: {} ({})", device.name, device.reason))?;
    for note in prepared.notes() {
        print(&format!("note: {note}"))?;
    }
    print("")?;
    let rows: Vec<Vec<String>> = settings
        .into_iter()
        .map(|setting| {
            vec![
                format!("{} = {}", setting.key, setting.value),
                setting.source.to_string(),
            ]
        })
        .collect();
    print(&table::text(&["setting", "from"], &rows))
}
