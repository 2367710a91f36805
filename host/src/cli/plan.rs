//! `incubate plan`.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::arguments::PlanOptions;
use super::number::{bytes, short, tenths, thousands};
use super::{print, print_json, rates, sources, table};
use crate::data::Dataset;
use crate::training::{Plan, PlannedUnit, Ratio, Ratios, planned_rates};
use crate::{device, experiment};

/// A count of operations in JSON.
#[derive(Serialize)]
struct Macs(#[serde(with = "crate::macs")] u128);

/// Shows what a run would do and cost.
pub(super) fn plan(options: &PlanOptions) -> Result<()> {
    let resolved = experiment::load_to_plan(
        options.experiment.experiment.as_deref(),
        &options.experiment.assignments,
    )?;
    let settings = resolved.settings();
    let missing = resolved
        .missing
        .as_deref()
        .map(|folder| planned_blind(folder, &resolved.dataset));
    let name = options.experiment.experiment.as_deref();
    let prepared = sources::prepared(resolved, name, &options.sources)?;
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
    let notes: Vec<String> = missing.into_iter().chain(prepared.notes()).collect();
    if options.json {
        let settings: Vec<_> = settings
            .iter()
            .map(|setting| {
                json!({ "key": setting.key, "value": setting.value, "source": setting.source.to_string() })
            })
            .collect();
        return print_json(&json!({
            "plan": plan,
            "incubation_macs": Macs(method),
            "baseline_macs": Macs(baseline),
            "device": device.name,
            "settings": settings,
            "notes": notes,
        }));
    }
    show_networks(&plan)?;
    print("")?;
    let rows: Vec<Vec<String>> = plan
        .units
        .iter()
        .map(|unit| {
            vec![
                unit.unit.clone(),
                added(&unit.depths),
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
    show_ratios(&plan.ratios)?;
    print("")?;
    print(
        "forward, backward: multiply-accumulate operations (MACs) for one picture; MACs: for the whole unit.",
    )?;
    print(
        "memory: an estimate of weights, gradients, optimizer state, and activations of one part of a batch, in float32.",
    )?;
    for line in features(&plan.units) {
        print(&line)?;
    }
    let ratio = method as f64 / baseline as f64;
    print(&format!(
        "incubation in all: {} MACs, {ratio:.2} times the end-to-end baseline",
        short(method)
    ))?;
    print(&format!("device: {} ({})", device.name, device.reason))?;
    for note in notes {
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

/// Where the features of frozen stages come from, a line for all modules of which the same holds.
fn features(units: &[PlannedUnit]) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for unit in units {
        let said = match (&unit.features, &unit.features_not_kept) {
            (Some(kept), _) => format!(
                "computed once, for {} pictures, and kept on disk while it is trained ({}); MACs count that",
                thousands(kept.pictures),
                bytes(kept.bytes)
            ),
            (None, Some(reason)) => format!("computed at every update: {reason}"),
            (None, None) => continue,
        };
        match lines.iter_mut().find(|(line, _)| *line == said) {
            Some((_, units)) => units.push(&unit.unit),
            None => lines.push((said, vec![&unit.unit])),
        }
    }
    let lines = lines.into_iter();
    lines
        .map(|(said, units)| format!("frozen stages before {}: {said}", units.join(", ")))
        .collect()
}

/// What is said where the pictures are missing.
fn planned_blind(folder: &Path, dataset: &Dataset) -> String {
    format!(
        "there is no folder `{}`, so nothing can be trained; planned for {} training and {} validation pictures of {} classes, as `data.expected` says",
        folder.display(),
        thousands(dataset.train.len() as u64),
        thousands(dataset.validation.len() as u64),
        thousands(dataset.classes.len() as u64),
    )
}

/// Prints what one picture costs in the networks.
fn show_networks(plan: &Plan) -> Result<()> {
    let rows: Vec<Vec<String>> = plan
        .networks
        .iter()
        .map(|network| {
            vec![
                network.name.clone(),
                added(&network.depths),
                thousands(network.parameters),
                thousands(network.forward_macs),
                tenths(network.published_macs),
            ]
        })
        .collect();
    let heading = [
        "network",
        "blocks",
        "parameters",
        "MACs forward",
        "with norms",
    ];
    print(&table::table(&heading, &rows))?;
    print("")?;
    print(
        "MACs forward: products of matrices for one picture. With norms: 5 more for every value that a",
    )?;
    print("layer normalisation takes, as in the tables of papers.")
}

/// Prints what the units cost beside end-to-end training.
fn show_ratios(ratios: &Ratios) -> Result<()> {
    let row = |title: &str, ratio: &Ratio| {
        let values = [
            ratio.macs,
            ratio.macs_reference,
            ratio.blocks,
            ratio.blocks_reference,
        ];
        let mut row = vec![title.to_owned()];
        row.extend(values.map(|value| format!("{value:.3}")));
        row
    };
    let heading = |first| {
        [
            first,
            "MACs",
            "MACs (reference)",
            "blocks",
            "blocks (reference)",
        ]
    };
    let units = ratios.units.iter();
    let rows: Vec<_> = units
        .chain([&ratios.modules, &ratios.heaviest])
        .map(|unit| row(&unit.unit, &unit.picture))
        .collect();
    print(&table::table(&heading("a picture / end to end"), &rows))?;
    print("")?;
    let rows = [
        row("incubation, in sequence", &ratios.incubation),
        row("incubation, in parallel", &ratios.longest_chain),
    ];
    print(&table::table(&heading("the run / baseline"), &rows))?;
    print("")?;
    print(
        "blocks: 1 for the forward pass of a block, 1 for the gradient of its input, 1 for that of its",
    )?;
    print(
        "weights, nothing for the rest. (reference): with the gradients of frozen weights behind the",
    )?;
    print(
        "module that the method's reference implementation computes and throws away. In parallel: every",
    )?;
    print("module on a machine of its own, the heaviest counts.")
}

/// Depths as a sum.
fn added(depths: &[usize]) -> String {
    let depths: Vec<String> = depths.iter().map(ToString::to_string).collect();
    depths.join("+")
}
