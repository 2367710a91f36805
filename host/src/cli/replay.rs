//! `incubate plugin replay`.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::number::thousands;
use super::print_json;
use super::sandbox::{cache_folder, plugin_host};
use crate::plugin::{
    Divergence, HostCall, Origin, Outcome, PluginHost, RecordedPlugin, RecordedState, Recording,
    Recordings, ReplayError, Replayed, plain,
};
use crate::registry::Store;

/// Characters of a line.
const LINE: usize = 2_000;

/// Prints a line that may hold words of a stranger: nothing in it is carried out by a terminal.
fn print(line: &str) -> Result<()> {
    super::print(&plain(line, LINE))
}

/// Makes recorded calls again and shows the first thing that each does otherwise.
pub(super) fn replay(
    file: &Path,
    call: Option<usize>,
    other: Option<&str>,
    as_json: bool,
) -> Result<()> {
    let mut host = plugin_host()?;
    let recordings = Recordings::open(file)?;
    let (mut calls, mut diverged) = (0, 0);
    let mut one = |number: usize, recording: &Recording| {
        calls += 1;
        let kept = other.map_or_else(|| provide_kept(&mut host, recording), |_| None);
        let other = other.or(kept.as_deref());
        let is_same = show(&host, number, recording, other, calls == 1, as_json)?;
        diverged += usize::from(!is_same);
        anyhow::Ok(())
    };
    match call {
        Some(number) => one(number, &recordings.call(number)?)?,
        None => {
            for (number, recording) in recordings.enumerate() {
                one(number, &recording?)?;
            }
        }
    }
    if calls == 0 {
        let (path, asked) = (file.to_path_buf(), 0);
        return Err(ReplayError::NoCall { path, asked, calls }.into());
    }
    if diverged > 0 {
        return Err(ReplayError::Diverged { diverged, calls }.into());
    }
    if !as_json && calls > 1 {
        print(&format!("{calls} calls: all the same"))?;
    }
    Ok(())
}

/// Gives the sandbox a plugin that was fetched for the run, from the store of this user: under the
/// name that is answered. Nothing is fetched because a recording says so.
fn provide_kept(host: &mut PluginHost, recording: &Recording) -> Option<String> {
    let RecordedPlugin { sha256, origin, .. } = &recording.plugin;
    let (Origin::Registry(place) | Origin::Url(place)) = origin else {
        return None;
    };
    // The digest becomes the name of a file.
    if sha256.len() != 64 || !sha256.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = Store::below(&cache_folder()?).get(sha256)?;
    host.provide(place, origin.clone(), bytes);
    Some(place.clone())
}

/// Makes one call again; whether it is the same.
fn show(
    host: &PluginHost,
    number: usize,
    recording: &Recording,
    other: Option<&str>,
    is_first: bool,
    as_json: bool,
) -> Result<bool> {
    let replayed = recording.replay(host, other)?;
    let is_same = replayed.divergence.is_none();
    if as_json {
        print_json(&json!({
            "call": number,
            "hook": recording.call.hook(),
            "unit": recording.context.map(|context| context.phase.to_string()),
            "update": recording.call.update(),
            "plugin": recording.plugin,
            "replayed_sha256": replayed.sha256,
            "other_build": replayed.other_build,
            "in_run": recording.in_run,
            "recorded": { "outcome": recording.alone.outcome, "fuel": recording.alone.trace.fuel },
            "found": { "outcome": replayed.found.outcome, "fuel": replayed.found.trace.fuel },
            "host_calls": recording.alone.trace.host_calls.len() as u64 + recording.alone.trace.more,
            "draws": recording.alone.trace.draws,
            "same": is_same,
            "divergence": replayed.divergence,
        }))?;
        return Ok(is_same);
    }
    if is_first {
        print(&format!(
            "plugin `{}` {} ({}), sha256 {}",
            recording.plugin.name,
            recording.plugin.version,
            recording.plugin.origin,
            recording.plugin.sha256
        ))?;
        if replayed.other_build {
            print(&format!(
                "replayed with another build, sha256 {}",
                replayed.sha256
            ))?;
        }
    }
    print(&format!(
        "call {number}, {}: {}",
        place(recording),
        verdict(recording, &replayed)
    ))?;
    if let RecordedState::Unknown(reason) = &recording.state {
        print(&format!(
            "  what the plugin remembered is not known: {reason}"
        ))?;
    }
    if recording.in_run != recording.alone.outcome {
        print(&format!(
            "  in the run it was otherwise: {} (on another device, or the plugin remembers what `save` does not give)",
            recording.in_run
        ))?;
    }
    if let Some(divergence) = &replayed.divergence {
        for line in describe(divergence) {
            print(&format!("  {line}"))?;
        }
    }
    Ok(is_same)
}

/// Which call.
fn place(recording: &Recording) -> String {
    let mut place = format!("hook `{}`", recording.call.hook());
    if let Some(context) = &recording.context {
        place.push_str(&format!(", unit `{}`", context.phase));
    }
    if let Some(update) = recording.call.update() {
        place.push_str(&format!(", update {update}"));
    }
    place
}

/// What came of it, in a few words.
fn verdict(recording: &Recording, replayed: &Replayed) -> String {
    let (recorded, found) = (&recording.alone, &replayed.found);
    if replayed.divergence.is_some() {
        return "diverges from the recording".to_owned();
    }
    let host_calls = found.trace.host_calls.len() as u64 + found.trace.more;
    let fuel = if recorded.trace.fuel == found.trace.fuel {
        format!("{} instructions", thousands(found.trace.fuel))
    } else {
        format!(
            "{} instructions instead of {}",
            thousands(found.trace.fuel),
            thousands(recorded.trace.fuel)
        )
    };
    let same = if found.outcome.is_error() {
        "the same failure"
    } else {
        "the same"
    };
    format!(
        "{same} ({host_calls} host calls, {fuel}): {}",
        found.outcome
    )
}

/// The first difference, one line for each side.
fn describe(divergence: &Divergence) -> Vec<String> {
    let host_call = |call: &Option<HostCall>| {
        call.as_ref().map_or_else(
            || "none: the call ended before".to_owned(),
            HostCall::to_string,
        )
    };
    let sides = |recorded: String, found: String| {
        vec![
            format!("recorded: {recorded}"),
            format!("found:    {found}"),
        ]
    };
    let outcome = Outcome::to_string;
    match divergence {
        Divergence::HostCall {
            index,
            recorded,
            found,
        } => {
            let name = recorded.as_ref().or(found.as_ref());
            let name = name.map_or("", |call| &call.operation);
            let mut lines = vec![format!(
                "the first difference is host call {index}, `{name}`"
            )];
            lines.extend(sides(host_call(recorded), host_call(found)));
            lines
        }
        Divergence::Beyond { kept } => vec![format!(
            "the first difference is a host call after the {} that are written down",
            thousands(*kept as u64)
        )],
        Divergence::Outcome { recorded, found } => {
            let mut lines = vec!["the host calls are the same, the outcome is not".to_owned()];
            lines.extend(sides(outcome(recorded), outcome(found)));
            lines
        }
        Divergence::Fuel { recorded, found } => {
            let mut lines =
                vec!["host calls and outcome are the same, the instructions are not".to_owned()];
            lines.extend(sides(thousands(*recorded), thousands(*found)));
            lines
        }
    }
}
