//! Attacks that any hook can make, in every hook, and what `describe`, `save`, and the schedules
//! and partition schemes can answer.

use incubate::plugin::{Kind, Limits};

use super::guests::{assert_alive, attack, file, outcome, snapshot, with_order};

/// What stops a call in whatever hook it happens.
const STOPS: [&str; 6] = [
    "endless-loop",
    "memory-bomb",
    "wasm-stack",
    "shadow-stack",
    "panic",
    "last-words",
];

/// What a plugin can say too much or too loudly.
const WORDS: [&str; 7] = [
    "log-huge",
    "log-flood",
    "log-escapes",
    "metric-huge",
    "metric-flood",
    "metric-escapes",
    "metric-nan",
];

/// What a fault can hold.
const FAULTS: [&str; 5] = [
    "fault-escapes",
    "fault-huge",
    "fault-long",
    "fault-empty",
    "fault-budget",
];

/// What `describe` can answer.
const DESCRIPTIONS: [&str; 20] = [
    "name-escapes",
    "name-huge",
    "name-long",
    "name-changes",
    "version-escapes",
    "version-long",
    "summary-escapes",
    "summary-huge",
    "summary-long",
    "parameters-many",
    "parameter-name-escapes",
    "parameter-name-long",
    "parameter-summary-escapes",
    "choice-escapes",
    "choice-long",
    "choices-many",
    "default-nan",
    "default-infinite",
    "default-long",
    "bound-nan",
];

fn orders(hook: &str, attacks: &[&str]) -> Vec<String> {
    attacks
        .iter()
        .map(|attack| format!("{hook}:{attack}"))
        .collect()
}

#[test]
fn of_a_loss() {
    let mut attacks = vec!["none:none".to_owned()];
    for hook in ["configure", "needs", "compute", "save", "restore"] {
        attacks.extend(orders(hook, &STOPS));
    }
    attacks.extend(orders("compute", &WORDS));
    attacks.extend(orders("needs", &WORDS));
    attacks.extend(orders("compute", &FAULTS));
    attacks.extend(orders("configure", &FAULTS));
    attacks.extend(orders("restore", &FAULTS));
    attacks.extend(orders("save", &["save-huge"]));
    attack("loss", Kind::LossHook, &Limits::default(), &attacks);
}

#[test]
fn of_a_schedule() {
    let mut attacks = vec!["none:none".to_owned()];
    for hook in [
        "configure",
        "stepping",
        "rate",
        "observe",
        "save",
        "restore",
    ] {
        attacks.extend(orders(hook, &STOPS));
    }
    attacks.extend(orders("rate", &WORDS));
    attacks.extend(orders("rate", &FAULTS));
    attacks.extend(orders("observe", &FAULTS));
    attacks.extend(orders("save", &["save-huge"]));
    let numbers = ["nan", "infinite", "minus-infinite", "negative"];
    attacks.extend(orders("rate", &numbers));
    attack("schedule", Kind::LrSchedule, &Limits::default(), &attacks);
}

#[test]
fn of_a_partition_scheme() {
    let mut attacks = vec!["none:none".to_owned()];
    for hook in ["configure", "divide"] {
        attacks.extend(orders(hook, &STOPS));
        attacks.extend(orders(hook, &FAULTS));
    }
    attacks.extend(orders("divide", &WORDS));
    let answers = [
        "modules-huge",
        "modules-many",
        "modules-none",
        "blocks-overflow",
        "blocks-none",
        "meta-overflow",
    ];
    attacks.extend(orders("divide", &answers));
    attack(
        "partition",
        Kind::PartitionScheme,
        &Limits::default(),
        &attacks,
    );
}

#[test]
fn of_a_description() {
    let kind = Kind::LrSchedule;
    let mut attacks = orders("describe", &STOPS);
    attacks.extend(orders("describe", &WORDS));
    attacks.extend(orders("describe", &DESCRIPTIONS));
    attacks.extend(orders("describe", &["bounds-infinite", "random"]));
    let outcomes: Vec<(String, String)> = attacks
        .into_iter()
        .map(|order| {
            let (_folder, path) = file(&with_order(kind, &order));
            let outcome = outcome(&path, kind, None, &Limits::default());
            assert_alive();
            (order, outcome)
        })
        .collect();
    snapshot("description", &outcomes);
}
