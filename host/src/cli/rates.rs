//! `incubate plan --rates`: the curve of every schedule, as a table with bars.

use anyhow::Result;

use super::number::thousands;
use super::{print, table};
use crate::training::PlannedRates;

/// The width of the longest bar.
const BAR: f64 = 40.0;

/// Prints one table for units that follow each other with the same rates.
pub(super) fn print_rates(units: &[PlannedRates]) -> Result<()> {
    for same in units.chunk_by(same_rates) {
        let [first, ..] = same else { continue };
        let names = match same {
            [one] => one.unit.clone(),
            [first, .., last] => format!("{} to {}", first.unit, last.unit),
            [] => continue,
        };
        let often = if first.per_update { "update" } else { "epoch" };
        print(&format!(
            "{names}: {}, a rate for every {often}, base rate {:.3e}",
            first.plugin, first.base_rate
        ))?;
        print(&table::text(&["epoch", "update", "rate", ""], &rows(first)))?;
        print("")?;
    }
    print("schedules that look at evaluations are shown as if nothing had been evaluated.")
}

/// Whether two units are of one kind, as the modules are, and have the same rates.
fn same_rates(left: &PlannedRates, right: &PlannedRates) -> bool {
    let kind = |unit: &PlannedRates| unit.unit.split('.').next().map(str::to_owned);
    kind(left) == kind(right) && (&left.plugin, &left.rates) == (&right.plugin, &right.rates)
}

/// A row for every moment, with a bar that is longest where the rate is highest.
fn rows(unit: &PlannedRates) -> Vec<Vec<String>> {
    let rates = unit.rates.iter().map(|moment| moment.rate);
    let highest = rates.fold(0.0, f64::max);
    let bar = |rate: f64| match rate / highest {
        share if share.is_finite() => "█".repeat((share * BAR).round() as usize),
        _ => String::new(),
    };
    unit.rates
        .iter()
        .map(|moment| {
            vec![
                format!("{:.1}", moment.epoch),
                thousands(moment.update),
                format!("{:.3e}", moment.rate),
                bar(moment.rate),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::PlannedRate;

    #[test]
    fn bars_are_as_long_as_rates_are_high() {
        let moment = |rate| PlannedRate {
            update: 1500,
            epoch: 1.5,
            rate,
        };
        let unit = PlannedRates {
            unit: "meta".to_owned(),
            plugin: "plugin".to_owned(),
            base_rate: 0.1,
            per_update: true,
            rates: vec![moment(0.0), moment(0.05), moment(0.1)],
        };
        let rows = rows(&unit);
        assert_eq!(rows[1][..3], ["1.5", "1,500", "5.000e-2"]);
        let lengths: Vec<usize> = rows.iter().map(|row| row[3].chars().count()).collect();
        assert_eq!(lengths, [0, 20, 40]);
    }
}
