//! Laws about time: two runs are equal to the bit, and an interrupted one goes on as if nothing had
//! happened.

use super::super::numbers::list;
use super::super::report::{Check, Finding, Law, Verdict};
use super::super::state::foreign_states;
use super::super::subject::{SEED, said};
use super::batch::Batch;
use super::probe::{Differentiated, Probe};
use super::{Character, ordinary};
use crate::plugin::PluginError;

const SAME: Law = Law {
    id: "same-bits",
    says: "two new instances give the same bits of losses and gradients",
};

const RESUME: Law = Law {
    id: "resume",
    says: "a new instance that gets the saved state goes on with the same losses, from every point",
};

/// The third law of this file stands with the states.
const FOREIGN: Law = super::super::state::FOREIGN;

pub(super) const LAWS: [Law; 3] = [SAME, RESUME, FOREIGN];

/// Calls of a run that is interrupted after each of them.
const CALLS: u64 = 8;

pub(super) fn laws(character: &Character<'_>) -> Vec<Check> {
    vec![same_bits(character), resume(character), foreign(character)]
}

fn same_bits(character: &Character<'_>) -> Check {
    let mut verdict = Verdict::new(SAME);
    let run = || -> Vec<Result<Differentiated, PluginError>> {
        let mut probe = Probe::new(character.subject, character.phase, false);
        let batches = character.batches();
        batches
            .iter()
            .map(|batch| probe.differentiate(batch))
            .collect()
    };
    let batches = character.batches();
    for ((batch, first), second) in batches.iter().zip(run()).zip(run()) {
        compare(&mut verdict, &batch.at(character.phase), first, second);
    }
    verdict.finish(format!(
        "losses with their gradients: {}, in two instances",
        batches.len()
    ))
}

fn compare(
    verdict: &mut Verdict,
    at: &str,
    first: Result<Differentiated, PluginError>,
    second: Result<Differentiated, PluginError>,
) {
    let (first, second) = (bits(first), bits(second));
    if first != second {
        verdict.fail(Finding::new(at, list(&first), list(&second)));
    }
}

/// The bits of a loss and its gradients; none for an error, which other laws are about.
fn bits(found: Result<Differentiated, PluginError>) -> Vec<u32> {
    let Ok(found) = found else {
        return Vec::new();
    };
    let gradients = found
        .gradients
        .into_iter()
        .filter_map(|(_, gradient)| gradient);
    [found.value]
        .into_iter()
        .chain(gradients.flatten())
        .map(f32::to_bits)
        .collect()
}

/// The batch of an update: they are not all alike.
fn batch_of(update: u64) -> Batch {
    let mut batches: Vec<Batch> = ordinary().collect();
    let index = update as usize % batches.len();
    batches.swap_remove(index)
}

fn resume(character: &Character<'_>) -> Check {
    let mut verdict = Verdict::new(RESUME);
    let mut whole = Probe::new(character.subject, character.phase, false);
    let (mut states, mut losses) = (Vec::new(), Vec::new());
    for update in 0..=CALLS {
        match whole.live().and_then(|live| live.save()) {
            Ok(state) => states.push(state),
            Err(error) => {
                let at = format!("saving before update {update}");
                verdict.fail(Finding::new(at, "a state", said(&error)));
                return verdict.finish("it does not save".to_owned());
            }
        }
        if update < CALLS {
            match whole.value_at(update, &batch_of(update)) {
                Ok(loss) => losses.push(loss),
                Err(error) => {
                    return Verdict::not_applicable(RESUME, format!("no run: {}", said(&error)));
                }
            }
        }
    }
    for (point, state) in states.iter().enumerate() {
        if let Err(finding) = resume_at(character, point as u64, state, &losses, &states) {
            verdict.fail(finding);
        }
    }
    let bytes = states.iter().map(Vec::len).max().unwrap_or_default();
    verdict.finish(format!(
        "interruptions: {}, bytes saved: at most {bytes}",
        states.len()
    ))
}

fn resume_at(
    character: &Character<'_>,
    point: u64,
    state: &[u8],
    losses: &[f32],
    states: &[Vec<u8>],
) -> Result<(), Finding> {
    let at = |update: u64| {
        format!(
            "phase {}, resumed before update {point} with the state {}; update {update}",
            character.phase,
            list(state)
        )
    };
    let failed = |update: u64, expected: &str, error: &PluginError| {
        Finding::new(at(update), expected, said(error))
    };
    let mut probe = Probe::new(character.subject, character.phase, false);
    probe
        .live()
        .and_then(|live| live.restore(state))
        .map_err(|error| failed(point, "that it accepts the state that it saved", &error))?;
    for update in point..CALLS {
        let expected = losses[update as usize];
        let found = probe
            .value_at(update, &batch_of(update))
            .map_err(|error| failed(update, "the same as without interruption", &error))?;
        if found.to_bits() != expected.to_bits() {
            return Err(Finding::new(
                at(update),
                format!("the loss {expected}, as without interruption"),
                format!("{found}"),
            ));
        }
    }
    let last = probe
        .live()
        .and_then(|live| live.save())
        .map_err(|error| failed(CALLS, "a state at the end", &error))?;
    let expected = &states[CALLS as usize];
    if last != *expected {
        return Err(Finding::new(at(CALLS), list(expected), list(&last)));
    }
    Ok(())
}

fn foreign(character: &Character<'_>) -> Check {
    let (subject, phase) = (character.subject, character.phase);
    let mut whole = Probe::new(subject, phase, false);
    for batch in ordinary() {
        // What this run cannot compute is the business of other laws.
        let _ = whole.value(&batch);
    }
    let saved = whole.live().and_then(|live| live.save());
    foreign_states(
        &saved.unwrap_or_default(),
        || subject.loss(phase, SEED),
        |hook| {
            let mut probe = Probe::of(subject, phase, hook);
            probe.value(&batch_of(1)).map(drop)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::batch::Part;
    use super::*;
    use crate::conformance::Outcome;

    #[test]
    fn one_other_bit_in_a_gradient_is_a_failure() {
        let found = |last: f32| {
            Ok(Differentiated {
                value: 0.5,
                tracked: true,
                gradients: vec![(Part::Logits, Some(vec![0.0, last]))],
            })
        };
        let outcome = |first, second| {
            let mut verdict = Verdict::new(SAME);
            compare(&mut verdict, "here", found(first), found(second));
            verdict.finish(String::new()).outcome
        };
        assert_eq!(outcome(1.0, 1.0), Outcome::Pass);
        assert_eq!(outcome(f32::NAN, f32::NAN), Outcome::Pass);
        assert_eq!(outcome(1.0, 1.0_f32.next_up()), Outcome::Fail);
        assert_eq!(outcome(0.0, -0.0), Outcome::Fail);
    }
}
