//! The laws of loss hooks.

mod batch;
mod gradient;
mod hostile;
mod memory;
mod probe;
mod values;

use self::batch::Batch;
use self::probe::Probe;
use super::report::{Check, Finding, Law, Verdict};
use super::subject::{Failure, Subject, said};
use crate::phase::Phase;
use crate::plugin::PluginError;
use crate::random::Seed;

const SCALAR: Law = Law {
    id: "scalar",
    says: "an ordinary batch gives a tensor of one float",
};

const LEAKS: Law = Law {
    id: "leaks",
    says: "no tensor is alive after a call, however it ended",
};

/// The phase in which a hook gets most, and which is tried first.
pub(super) const PHASE: Phase = Phase::Module(1);

const PHASES: [Phase; 4] = [PHASE, Phase::Meta, Phase::FineTune, Phase::Baseline];

/// Pictures and classes of ordinary batches, the smallest first.
const SHAPES: [(usize, usize); 4] = [(2, 3), (4, 4), (6, 5), (16, 10)];

/// Spread of ordinary logits.
const DEVIATION: f32 = 1.5;

/// What the laws need to know of a hook.
#[derive(Debug)]
struct Character<'s> {
    subject: &'s Subject,
    /// A phase in which it computes losses.
    phase: Phase,
    /// Why it does not take soft targets, if it does not.
    no_soft_targets: Option<String>,
    /// Whether one call has an effect on the next.
    remembers: bool,
    /// Whether the random stream has an effect.
    random: bool,
}

impl<'s> Character<'s> {
    /// A hook whose losses are functions of the batch alone.
    fn probe(&self) -> Probe<'s> {
        Probe::new(self.subject, self.phase, self.remembers)
    }

    /// Ordinary batches, those with mixed labels included if the hook takes them.
    fn batches(&self) -> Vec<Batch> {
        let mixed = self.no_soft_targets.is_none();
        ordinary()
            .flat_map(|batch| [Some(batch.clone()), mixed.then(|| batch.mixed())])
            .flatten()
            .collect()
    }
}

/// Ordinary batches with class ids alone.
fn ordinary() -> impl Iterator<Item = Batch> {
    SHAPES
        .into_iter()
        .zip(1..)
        .map(|((pictures, classes), sample)| Batch::new(pictures, classes, DEVIATION, sample))
}

/// Checks the laws.
pub(super) fn laws(subject: &Subject) -> Vec<Check> {
    let (scalar, character) = scalar(subject);
    let mut checks = vec![scalar];
    match character {
        Some(character) => {
            checks.extend(values::laws(&character));
            checks.extend(gradient::laws(&character));
            checks.extend(memory::laws(&character));
            checks.extend(hostile::laws(&character));
        }
        None => checks.extend(
            [
                values::LAWS.as_slice(),
                &gradient::LAWS,
                &memory::LAWS,
                &hostile::LAWS,
            ]
            .concat()
            .into_iter()
            .map(|law| Verdict::not_applicable(law, "it computes no loss")),
        ),
    }
    checks.push(leaks(subject.usage().left_tensors, subject.usage().calls));
    checks
}

/// Asks for one usual loss.
pub(super) fn usual(subject: &Subject) -> Result<(), PluginError> {
    let batch = Batch::new(6, 5, DEVIATION, 1);
    Probe::new(subject, PHASE, false).value(&batch).map(drop)
}

/// Asks for losses of a batch as it is trained.
pub(super) fn realistic(subject: &Subject) -> Result<(), PluginError> {
    let batch = Batch::new(64, 1000, DEVIATION, 1);
    Probe::new(subject, PHASE, false).value(&batch).map(drop)
}

/// Computes ordinary losses in every phase, and finds out what kind of hook it is.
fn scalar(subject: &Subject) -> (Check, Option<Character<'_>>) {
    let mut verdict = Verdict::new(SCALAR);
    let (mut computed, mut refused) = (0, 0);
    let mut usable = None;
    let mut refusal = None;
    let mut no_soft_targets = None;
    for phase in PHASES {
        let mut probe = Probe::new(subject, phase, false);
        let mut answered = true;
        for batch in ordinary().flat_map(|batch| [batch.clone(), batch.mixed()]) {
            let Err(error) = probe.value(&batch) else {
                computed += 1;
                continue;
            };
            let mixed = batch.soft.is_some();
            answered &= mixed;
            if Failure::of(&error) == Failure::Fault {
                refused += 1;
                let reason = if mixed {
                    &mut no_soft_targets
                } else {
                    &mut refusal
                };
                reason.get_or_insert_with(|| said(&error));
                continue;
            }
            let expected = "a tensor of one float, or a fault with a message";
            verdict.fail(Finding::new(batch.at(phase), expected, said(&error)));
            if mixed {
                no_soft_targets.get_or_insert_with(|| said(&error));
            }
        }
        if answered && usable.is_none() {
            usable = Some(phase);
        }
    }
    if let (None, Some(refusal)) = (usable, refusal)
        && verdict.broken() == 0
    {
        let expected = "a loss in some phase";
        verdict.fail(Finding::new("batches with class ids", expected, refusal));
    }
    let character = usable.map(|phase| Character {
        subject,
        phase,
        no_soft_targets,
        remembers: remembers(subject, phase),
        random: random(subject, phase),
    });
    let kind = character.as_ref().map_or(String::new(), |character| {
        let random = if character.random {
            "; it uses random numbers"
        } else {
            ""
        };
        let remembers = if character.remembers {
            "; it remembers"
        } else {
            ""
        };
        format!("{random}{remembers}")
    });
    let check = verdict.finish(format!("losses: {computed}, refused: {refused}{kind}"));
    (check, character)
}

/// Whether the loss of a batch depends on the calls before it, or the hook says that it may.
fn remembers(subject: &Subject, phase: Phase) -> bool {
    let mut probe = Probe::new(subject, phase, false);
    let mut bits = |batch: &Batch| probe.value(batch).ok().map(f32::to_bits);
    for batch in ordinary() {
        let first = bits(&batch);
        if first != bits(&batch) {
            return true;
        }
    }
    let saved = probe.live().and_then(|live| live.save());
    saved.is_ok_and(|state| !state.is_empty())
}

/// Whether another random stream gives another loss.
fn random(subject: &Subject, phase: Phase) -> bool {
    ordinary().any(|batch| {
        let mut losses = [Seed(1), Seed(2)].map(|seed| {
            let mut probe = Probe::new(subject, phase, true).with_seed(seed);
            probe.value(&batch).ok().map(f32::to_bits)
        });
        losses.sort_unstable();
        losses[0] != losses[1]
    })
}

/// The host frees what a call leaves behind; a count above 0 would be a defect of the host.
fn leaks(left: u64, calls: u64) -> Check {
    let mut verdict = Verdict::new(LEAKS);
    if left > 0 {
        verdict.fail(Finding::new(
            "after a call",
            "no tensor",
            format!("{left} tensors (this is a defect of this program)"),
        ));
    }
    verdict.finish(format!("calls: {calls}, tensors left behind: {left}"))
}

/// Whether two losses are equal but for the order in which they were summed.
fn near(left: f32, right: f32) -> bool {
    const TOLERANCE: f32 = 1e-5;
    if !(left.is_finite() && right.is_finite()) {
        return left == right || (left.is_nan() && right.is_nan());
    }
    (left - right).abs() <= TOLERANCE * left.abs().max(right.abs()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::report::Outcome;
    use super::{leaks, near};

    #[test]
    fn a_tensor_that_is_left_is_a_failure() {
        assert_eq!(leaks(0, 9).outcome, Outcome::Pass);
        assert_eq!(leaks(1, 9).outcome, Outcome::Fail);
    }

    #[test]
    fn losses_are_compared_to_one_in_a_hundred_thousand() {
        assert!(near(1.0, 1.000_009) && near(3e30, 3.000_001e30));
        assert!(near(f32::NAN, f32::NAN) && near(f32::INFINITY, f32::INFINITY));
        assert!(!near(1.0, 1.000_02) && !near(f32::NAN, 1.0) && !near(f32::INFINITY, 1.0));
    }
}
