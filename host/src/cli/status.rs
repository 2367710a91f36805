//! `incubate status`.

use anyhow::Result;

use super::arguments::StatusOptions;
use super::board::place;
use super::number::{percent, seconds, thousands};
use super::{print, print_json, table};
use crate::run::{Overview, UnitOverview, UnitState};

/// Says where a run is.
pub(super) fn status(options: &StatusOptions) -> Result<()> {
    let overview = Overview::of(&options.run)?;
    if options.json {
        return print_json(&overview);
    }
    let name = overview.experiment.as_deref();
    print(&format!(
        "run of {} in {}",
        name.unwrap_or("an unknown experiment"),
        overview.run
    ))?;
    print("")?;
    let rows: Vec<Vec<String>> = overview.units.iter().map(row).collect();
    print(&table::text(&["unit", "state", "where"], &rows))?;
    print("")?;
    let count = |wanted: fn(&UnitState) -> bool| {
        overview
            .units
            .iter()
            .filter(|unit| wanted(&unit.state))
            .count()
    };
    let running = count(|state| matches!(state, UnitState::Running { .. }));
    let left = overview.units.iter().filter_map(|unit| match &unit.state {
        UnitState::Running { moment, .. } => moment.seconds_left,
        _ => None,
    });
    let left = left.reduce(f64::max).map_or_else(String::new, |left| {
        format!(", what runs needs {} more", seconds(left))
    });
    print(&format!(
        "{} of {} units finished in {}, {running} running{left}",
        overview.finished,
        overview.units.len(),
        seconds(overview.seconds)
    ))?;
    for problem in &overview.problems {
        super::warn(problem);
    }
    Ok(())
}

/// A line about a unit.
fn row(unit: &UnitOverview) -> Vec<String> {
    let (state, text) = match &unit.state {
        UnitState::Finished {
            accuracy,
            seconds: took,
            ..
        } => {
            let accuracy = accuracy.map_or_else(
                || "not evaluated".to_owned(),
                |share| format!("accuracy {}", percent(share)),
            );
            ("finished", format!("{accuracy}, took {}", seconds(*took)))
        }
        UnitState::Running { holder, moment } => {
            ("running", format!("{}; {holder}", place(moment)))
        }
        UnitState::Silent { holder, moment } => (
            "silent",
            format!("{}; no sign of life from {holder}", place(moment)),
        ),
        UnitState::Stopped { checkpoint, moment } => {
            let next = checkpoint.map_or_else(
                || "begins again with the next run".to_owned(),
                |update| format!("goes on at update {}", thousands(update)),
            );
            ("stopped", format!("{next}; was at {}", place(moment)))
        }
        UnitState::NotBegun => ("not begun", String::new()),
        UnitState::Damaged { reason } => ("damaged", reason.clone()),
    };
    vec![unit.unit.clone(), state.to_owned(), text]
}
