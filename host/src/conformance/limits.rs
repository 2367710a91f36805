//! How far from its limits a plugin stays, so that another model or another machine is no surprise.

use super::report::{Check, Finding, Law, Verdict};
use super::subject::Subject;
use super::{loss, partition, schedule};
use crate::plugin::{Kind, Limits, PluginErrorKind};

const LIMITS: Law = Law {
    id: "limits",
    says: "half of every limit is enough",
};

const MESSAGES: Law = Law {
    id: "messages",
    says: "a call writes at most half of the messages that it may",
};

/// Compares what was used with the limits, and runs once more under half of them.
pub(super) fn limits(subject: &Subject) -> Check {
    let mut verdict = Verdict::new(LIMITS);
    let limits = *subject.plugin.limits();
    let usage = subject.usage();
    let hook = usage
        .fuel_hook
        .map_or_else(String::new, |hook| hook.to_string());
    let share = percent(usage.fuel, limits.fuel);
    if usage.fuel > limits.fuel / 2 {
        verdict.warn(Finding::new(
            format!("`{hook}`, the call that took most"),
            format!("at most {} instructions", limits.fuel / 2),
            format!("{} ({share} of the limit)", usage.fuel),
        ));
    }
    let milliseconds = usage.longest.as_millis() as u64;
    if milliseconds > limits.deadline_ms / 2 {
        verdict.warn(Finding::new(
            "the longest call",
            format!("at most {} ms", limits.deadline_ms / 2),
            format!("{milliseconds} ms on this machine"),
        ));
    }
    let halved = subject.with_plugin(subject.plugin.with_limits(half(limits)));
    let ended = match subject.plugin.kind() {
        Kind::PartitionScheme => partition::realistic(&halved),
        Kind::LrSchedule => schedule::realistic(&halved),
        Kind::LossHook => loss::realistic(&halved),
    };
    if let Err(error) = ended
        && let PluginErrorKind::Limit(breach) = &*error.kind
    {
        verdict.warn(Finding::new(
            "a usual run under half of every limit",
            "that it is enough",
            format!(
                "it needs more than {} of `{}`",
                breach.allowed,
                breach.limit.key()
            ),
        ));
    }
    let tensors = match subject.plugin.kind() {
        Kind::LossHook => format!(
            ", and {} tensors of {}",
            usage.peak_tensors, limits.live_tensors
        ),
        _ => String::new(),
    };
    verdict.finish(format!("{share} of the fuel limit in one call{tensors}"))
}

/// How much it wrote.
pub(super) fn messages(subject: &Subject) -> Check {
    let mut verdict = Verdict::new(MESSAGES);
    let allowed = subject.plugin.limits().log_bytes;
    let usage = subject.usage();
    if usage.log_bytes > allowed / 2 {
        verdict.warn(Finding::new(
            "the call that wrote most",
            format!("at most {} bytes", allowed / 2),
            format!("{} bytes", usage.log_bytes),
        ));
    }
    verdict.finish(format!(
        "messages and metrics: {} in {} calls, at most {} of {allowed} bytes in one",
        usage.messages, usage.calls, usage.log_bytes
    ))
}

/// Half of every limit but the wall time, which says more about the machine.
const fn half(limits: Limits) -> Limits {
    Limits {
        fuel: limits.fuel / 2,
        memory_bytes: limits.memory_bytes / 2,
        table_elements: limits.table_elements / 2,
        instances: limits.instances / 2,
        live_tensors: limits.live_tensors / 2,
        device_bytes: limits.device_bytes / 2,
        log_bytes: limits.log_bytes / 2,
        ..limits
    }
}

/// A share that never looks like nothing when it is something.
fn percent(part: u64, whole: u64) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    if part > 0 && share < 0.1 {
        "less than 0.1 %".to_owned()
    } else {
        format!("{share:.1} %")
    }
}
