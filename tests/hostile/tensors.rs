//! Handles that were never given out, shapes that nothing can have, and work without end.

use incubate::plugin::{Kind, Limits};

use super::guests::attack;

fn compute(attacks: &[&str]) -> Vec<String> {
    attacks
        .iter()
        .map(|attack| format!("compute:{attack}"))
        .collect()
}

#[test]
fn handles() {
    let attacks = compute(&[
        "forged-handle",
        "forged-answer",
        "double-drop",
        "use-after-drop",
        "answer-twice",
        "answer-input",
        "answer-class-ids",
        "keep-and-use",
        "keep-and-answer",
        "keep-and-ask",
        "handles",
    ]);
    attack("handles", Kind::LossHook, &Limits::default(), &attacks);
}

#[test]
fn shapes_and_numbers() {
    let mut attacks = compute(&[
        "data-huge",
        "data-overflow",
        "data-wraps-to-one",
        "data-empty",
        "data-rank",
        "reshape-overflow",
        "reshape-zero",
        "reshape-rank",
        "slice-overflow",
        "slice-backwards",
        "one-hot-huge",
        "one-hot-zero",
        "one-hot-large",
        "one-hot-of-floats",
        "broadcast-bomb",
        "matmul-bomb",
        "grow",
        "sum-repeated",
        "sum-many",
        "dimension-minimum",
        "dimension-maximum",
        "affine-nan",
        "power-nan",
        "power-infinite",
        "clamp-nan",
        "clamp-backwards",
        "greater-nan",
        "exp-of-class-ids",
        "concatenate-types",
        "nan",
        "infinite",
    ]);
    attacks.push("configure:tensor".to_owned());
    attack("shapes", Kind::LossHook, &Limits::default(), &attacks);
}

#[test]
fn work() {
    // A chain as long as the default allows must not be too deep for the backward pass either.
    let attacks = compute(&["operations", "chain"]);
    attack("operations", Kind::LossHook, &Limits::default(), &attacks);
    let limits = Limits {
        work: 500_000_000,
        ..Limits::default()
    };
    attack("work", Kind::LossHook, &limits, &compute(&["work"]));
}
