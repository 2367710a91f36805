//! Batches that no author thinks of: they may give any loss or a fault, and never a crash.

use super::super::report::{Check, Finding, Law, Verdict};
use super::super::subject::{Failure, said};
use super::batch::Batch;
use super::{Character, DEVIATION};

const HOSTILE: Law = Law {
    id: "hostile",
    says: "extreme shapes and numbers give a loss or a fault, never a crash and never too much",
};

const NOT_A_NUMBER: Law = Law {
    id: "not-a-number",
    says: "what is not a number stays so, and is not hidden in a finite loss",
};

pub(super) const LAWS: [Law; 2] = [HOSTILE, NOT_A_NUMBER];

/// Extreme shapes: pictures and classes. The host gives no tensor without elements.
const SHAPES: [(usize, usize); 6] = [(1, 2), (1, 5), (3, 1), (2, 1000), (1000, 2), (256, 1000)];

/// A change of the numbers of a batch, by name.
type Change = (&'static str, fn(&mut [f32]));

/// Extreme numbers.
const CHANGES: [Change; 11] = [
    ("no number first", |values| values[0] = f32::NAN),
    ("nothing but no numbers", |values| values.fill(f32::NAN)),
    ("infinite first", |values| values[0] = f32::INFINITY),
    ("minus infinite first", |values| {
        values[0] = f32::NEG_INFINITY;
    }),
    ("all infinite", |values| values.fill(f32::INFINITY)),
    ("all minus infinite", |values| {
        values.fill(f32::NEG_INFINITY);
    }),
    ("huge, up and down", |values| {
        for (index, value) in values.iter_mut().enumerate() {
            *value = if index % 2 == 0 { 1e30 } else { -1e30 };
        }
    }),
    ("the largest numbers", |values| values.fill(f32::MAX)),
    ("the smallest numbers", |values| {
        values.fill(f32::from_bits(1));
    }),
    ("zeros", |values| values.fill(0.0)),
    ("minus zeros", |values| values.fill(-0.0)),
];

pub(super) fn laws(character: &Character<'_>) -> Vec<Check> {
    vec![hostile(character), not_a_number(character)]
}

fn hostile(character: &Character<'_>) -> Check {
    let mut verdict = Verdict::new(HOSTILE);
    let shapes = SHAPES.map(|(pictures, classes)| Batch::new(pictures, classes, DEVIATION, 30));
    let numbers =
        CHANGES.map(|(name, change)| Batch::new(4, 3, DEVIATION, 31).changed(name, change));
    let (mut answered, mut refused) = (0, 0);
    let mut probe = character.probe();
    for batch in shapes.into_iter().chain(numbers) {
        let mixed = character
            .no_soft_targets
            .is_none()
            .then(|| batch.clone().mixed());
        for batch in [Some(batch), mixed].into_iter().flatten() {
            match probe.differentiate(&batch) {
                Ok(_) => answered += 1,
                Err(error) if Failure::of(&error) == Failure::Fault => refused += 1,
                Err(error) => verdict.fail(Finding::new(
                    batch.at(probe.phase),
                    "a loss of any value, or a fault",
                    said(&error),
                )),
            }
        }
    }
    verdict.finish(format!(
        "batches answered: {answered}, refused by a fault: {refused}"
    ))
}

fn not_a_number(character: &Character<'_>) -> Check {
    let mut verdict = Verdict::new(NOT_A_NUMBER);
    let mut probe = character.probe();
    let mut tried = 0;
    for (name, change) in &CHANGES[..2] {
        let batch = Batch::new(4, 3, DEVIATION, 31).changed(name, change);
        let Ok(loss) = probe.value(&batch) else {
            continue;
        };
        tried += 1;
        if loss.is_finite() {
            verdict.warn(Finding::new(
                batch.at(probe.phase),
                "a loss that is not finite, which ends a training that is lost",
                format!("{loss}"),
            ));
        }
    }
    verdict.finish(format!("batches with what is no number: {tried}"))
}
