//! However a plugin tries, the process does not grow beyond a bound.

use incubate::plugin::{Kind, Limits};

use super::guests::{assert_alive, component, file, outcome, with_order};

/// Set in the child process that is measured.
const MEASURED: &str = "INCUBATE_TEST_MEASURED";

/// Growth that is allowed: the memory of a plugin, its tensors, and what the engine takes.
const BOUND_KIB: u64 = 800 << 10;

/// Attacks on memory, with their kind.
const ATTACKS: [(Kind, &str); 14] = [
    (Kind::LossHook, "compute:memory-bomb"),
    (Kind::LossHook, "compute:log-huge"),
    (Kind::LossHook, "compute:log-flood"),
    (Kind::LossHook, "compute:metric-flood"),
    (Kind::LossHook, "compute:fault-huge"),
    (Kind::LossHook, "compute:handles"),
    (Kind::LossHook, "compute:data-huge"),
    (Kind::LossHook, "compute:data-rank"),
    (Kind::LossHook, "compute:broadcast-bomb"),
    (Kind::LossHook, "compute:one-hot-large"),
    (Kind::LossHook, "compute:grow"),
    (Kind::LossHook, "compute:operations"),
    (Kind::LossHook, "save:save-huge"),
    (Kind::PartitionScheme, "divide:modules-huge"),
];

/// The most memory that this process has had, in KiB.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let digits = line.unwrap().chars().filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn stays_bounded() {
    if std::env::var_os(MEASURED).is_some() {
        assert_alive();
        let before = peak();
        for (kind, attack) in ATTACKS {
            let limits = Limits::default();
            let text = outcome(&component(kind), kind, Some(attack), &limits);
            assert!(text.starts_with("plugin `"), "{attack}: {text}");
        }
        for attack in ["describe:summary-huge", "describe:parameters-many"] {
            let (_folder, path) = file(&with_order(Kind::LrSchedule, attack));
            let text = outcome(&path, Kind::LrSchedule, None, &Limits::default());
            assert!(text.starts_with("plugin `"), "{attack}: {text}");
        }
        let grown = peak() - before;
        assert!(grown < BOUND_KIB, "the process grew by {grown} KiB");
        return;
    }
    // In a process of its own: other tests grow this one.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::memory::stays_bounded", "--nocapture"])
        .env(MEASURED, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
