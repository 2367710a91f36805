//! Laws about the value of a loss: finite, a mean over the pictures, and a function of the targets.

use super::super::numbers::{below, stream};
use super::super::report::{Check, Finding, Law, Verdict};
use super::super::subject::{Failure, said};
use super::batch::Batch;
use super::{Character, SHAPES, near, ordinary};
use crate::plugin::PluginError;

const FINITE: Law = Law {
    id: "finite",
    says: "finite logits and features give a finite loss and finite gradients",
};

const MEAN: Law = Law {
    id: "mean",
    says: "the loss is a mean over the pictures: every picture twice changes nothing",
};

const ORDER: Law = Law {
    id: "order",
    says: "the order of the pictures changes nothing",
};

const SOFT: Law = Law {
    id: "soft-targets",
    says: "soft targets that are certain of a class give the loss of that class, whatever the class ids are",
};

pub(super) const LAWS: [Law; 4] = [FINITE, MEAN, ORDER, SOFT];

/// Spreads of logits, up to those of a network that is very sure.
const DEVIATIONS: [f32; 3] = [1.0, 10.0, 100.0];

pub(super) fn laws(character: &Character<'_>) -> Vec<Check> {
    vec![
        finite(character),
        mean(character),
        order(character),
        soft_targets(character),
    ]
}

fn finite(character: &Character<'_>) -> Check {
    let mut verdict = Verdict::new(FINITE);
    let mut probe = character.probe();
    let mut losses = 0;
    let budget = character.subject.budget();
    for ((pictures, classes), deviation, mixed) in SHAPES.into_iter().flat_map(|shape| {
        DEVIATIONS
            .into_iter()
            .chain([0.0])
            .flat_map(move |deviation| [(shape, deviation, false), (shape, deviation, true)])
    }) {
        if (mixed && character.no_soft_targets.is_some()) || !budget.lasts() {
            continue;
        }
        let batch = Batch::new(pictures, classes, deviation, 11);
        let batch = if mixed { batch.mixed() } else { batch };
        let found = match probe.differentiate(&batch) {
            Ok(found) => found,
            Err(error) => {
                if Failure::of(&error) != Failure::Fault {
                    let expected = "a finite loss or a fault";
                    verdict.fail(Finding::new(batch.at(probe.phase), expected, said(&error)));
                }
                continue;
            }
        };
        losses += 1;
        if !found.value.is_finite() {
            verdict.fail(Finding::new(
                batch.at(probe.phase),
                "a finite loss",
                format!("{}", found.value),
            ));
            continue;
        }
        for (part, gradient) in &found.gradients {
            let broken = gradient.iter().flatten().find(|value| !value.is_finite());
            if let Some(value) = broken {
                verdict.fail(Finding::new(
                    batch.at(probe.phase),
                    format!("a finite gradient of {}", part.name()),
                    format!("{value} in it, though the loss is {}", found.value),
                ));
            }
        }
    }
    verdict.finish(format!(
        "losses with their gradients: {losses}, logits up to about 300"
    ))
}

/// Refuses a law about single losses for hooks whose pictures have random numbers of their own.
fn random(character: &Character<'_>, law: Law) -> Option<Check> {
    character.random.then(|| {
        Verdict::not_applicable(
            law,
            "it uses random numbers, which belong to the places of the pictures",
        )
    })
}

fn mean(character: &Character<'_>) -> Check {
    if let Some(check) = random(character, MEAN) {
        return check;
    }
    let mut verdict = Verdict::new(MEAN);
    let mut probe = character.probe();
    let mut compared = 0;
    for batch in character.batches() {
        let Ok(once) = probe.value(&batch) else {
            continue;
        };
        for times in [2, 3] {
            let order: Vec<usize> = (0..times).flat_map(|_| 0..batch.pictures).collect();
            let how = format!("the whole batch {times} times");
            compared += 1;
            let found = probe.value(&batch.picked(&order, &how));
            compare(&mut verdict, &batch.at(probe.phase), &how, once, &found);
        }
    }
    verdict.finish(format!("batches repeated: {compared}"))
}

fn order(character: &Character<'_>) -> Check {
    if let Some(check) = random(character, ORDER) {
        return check;
    }
    let mut verdict = Verdict::new(ORDER);
    let mut probe = character.probe();
    let mut compared = 0;
    for batch in character.batches() {
        let Ok(once) = probe.value(&batch) else {
            continue;
        };
        let backwards: Vec<usize> = (0..batch.pictures).rev().collect();
        let mut shuffled = backwards.clone();
        let mut random = stream("order", compared);
        for end in (1..shuffled.len()).rev() {
            shuffled.swap(end, below(&mut random, end as u64 + 1) as usize);
        }
        for order in [backwards, shuffled] {
            let how = format!("the pictures in the order {order:?}");
            compared += 1;
            let found = probe.value(&batch.picked(&order, &how));
            compare(&mut verdict, &batch.at(probe.phase), &how, once, &found);
        }
    }
    verdict.finish(format!("batches in another order: {compared}"))
}

fn soft_targets(character: &Character<'_>) -> Check {
    if let Some(refusal) = &character.no_soft_targets {
        return Verdict::not_applicable(SOFT, format!("it takes no soft targets: {refusal}"));
    }
    let mut verdict = Verdict::new(SOFT);
    let mut probe = character.probe();
    let mut compared = 0;
    for batch in ordinary() {
        let classes = batch.classes as i64;
        let others: Vec<i64> = batch.ids.iter().map(|id| (id + 1) % classes).collect();
        let own = batch.ids.clone();
        for (ids, how) in [
            (own, "soft targets certain of the class ids"),
            (
                others,
                "soft targets certain of other classes than the class ids",
            ),
        ] {
            let mut plain = batch.clone();
            plain.ids.clone_from(&ids);
            let Ok(once) = probe.value(&plain) else {
                continue;
            };
            compared += 1;
            let found = probe.value(&batch.clone().certain(&ids));
            compare(&mut verdict, &batch.at(probe.phase), how, once, &found);
        }
    }
    verdict.finish(format!("batches with both kinds of targets: {compared}"))
}

fn compare(
    verdict: &mut Verdict,
    at: &str,
    how: &str,
    expected: f32,
    found: &Result<f32, PluginError>,
) {
    let got = match found {
        Ok(found) if near(expected, *found) => return,
        Ok(found) => format!("{found}"),
        Err(error) => said(error),
    };
    verdict.fail(Finding::new(
        format!("{at}; {how}"),
        format!("{expected}, to 1e-5"),
        got,
    ));
}
