//! `incubate plugin bench`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::number::{bytes, small_percent, thousands};
use super::sandbox::compiled_folder;
use super::{print, print_json, table};
use crate::experiment::{self, ExperimentError, Layers};
use crate::plugin::{Origin, SettingValue};
use crate::training::{Bench, BenchCall, bench as measure};

/// Measures a plugin and shows the figures.
pub(super) fn bench(
    reference: &str,
    elsewhere: Option<&(Origin, Vec<u8>)>,
    assignments: &[String],
    as_json: bool,
) -> Result<()> {
    let given = parameters(assignments)?;
    let digits = experiment::load(Some("digits"), &[])?;
    let cache = compiled_folder();
    let bench = measure(digits, cache.as_deref(), reference, elsewhere, &given)?;
    if as_json {
        return print_json(&bench);
    }
    let Bench {
        name,
        version,
        kind,
        sha256,
        bytes: size,
        load_cold_ms,
        load_cached_ms,
        start_us,
        memory_bytes,
        calls,
        step_ms,
        native,
        share_of_step,
    } = &bench;
    print(&format!("{name} {version} ({kind}), sha256 {sha256}"))?;
    print(&format!(
        "  component:     {} bytes",
        thousands(*size as u64)
    ))?;
    print(&format!(
        "  load:          {load_cold_ms:.1} ms compiled anew"
    ))?;
    if let Some(cached) = load_cached_ms {
        print(&format!("                 {cached:.1} ms from the cache"))?;
    }
    print(&format!(
        "  start:         {start_us:.0} us for an instance, configured"
    ))?;
    print(&format!("  memory:        {}", bytes(*memory_bytes)))?;
    print("")?;
    let rows: Vec<Vec<String>> = calls.iter().map(row).collect();
    let heading = [
        "call",
        "calls",
        "ns",
        "spread",
        "guest",
        "host",
        "operations",
        "waits",
        "tensors",
        "instructions",
    ];
    print(&table::table(&heading, &rows))?;
    print("")?;
    print(
        "ns: the median of a call; spread: between the quartiles; guest and host: the plugin's part of it and that of the tensor operations it asked for; waits: for the device.",
    )?;
    if let Some(native) = native {
        print(&format!(
            "composed natively: {} ns, with backward {} ns; the plugin takes {:.2} times that, with backward {:.2} times",
            thousands(native.compose_ns),
            thousands(native.backward_ns),
            native.ratio,
            native.ratio_with_backward
        ))?;
    }
    match share_of_step {
        Some(share) => print(&format!(
            "share of a training step of the digits model on the CPU ({step_ms:.1} ms): {}",
            precise_percent(*share)
        )),
        None => print(&format!(
            "called once a run; a training step of the digits model on the CPU takes {step_ms:.1} ms"
        )),
    }
}

/// Parameters as they are given on the command line, without checks.
fn parameters(assignments: &[String]) -> Result<BTreeMap<String, SettingValue>, ExperimentError> {
    let mut layers = Layers::default();
    layers.set(assignments)?;
    let value = |(key, value): (&String, &toml::Value)| {
        let value = SettingValue::try_from(value.clone());
        let value = value.map_err(|error| ExperimentError::Value {
            reason: format!("`{key}`: {error}"),
            source_name: "--set".to_owned(),
        })?;
        Ok((key.clone(), value))
    };
    layers.table().iter().map(value).collect()
}

/// The line of one call.
fn row(call: &BenchCall) -> Vec<String> {
    let per_call = |total: f64| format!("{total:.1}");
    vec![
        call.call.clone(),
        thousands(call.calls),
        thousands(call.median_ns),
        thousands(call.spread_ns),
        thousands(call.guest_ns),
        thousands(call.host_ns),
        per_call(call.operations),
        per_call(call.readbacks),
        thousands(call.peak_tensors),
        thousands(call.fuel),
    ]
}

/// A share that is worth two digits even when it is small: `0.032 %`.
fn precise_percent(share: f64) -> String {
    if share > 0.0 && share < 0.001 {
        let digits = (1.0 - (share * 100.0).log10().floor()).min(9.0);
        format!("{:.*} %", digits as usize, share * 100.0)
    } else {
        small_percent(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_has_two_digits() {
        let shown = [0.000_614, 0.000_032_4, 0.0, 0.0123].map(precise_percent);
        assert_eq!(shown, ["0.061 %", "0.0032 %", "0.0 %", "1.2 %"]);
    }
}
