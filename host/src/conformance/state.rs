//! What a plugin remembers: bytes that another plugin saved, or nobody.

use super::numbers::{below, list, stream};
use super::report::{Check, Finding, Law, Verdict};
use super::subject::{Failure, Remembers, Watched, said};
use crate::plugin::PluginError;
use crate::random::Stream;

pub(super) const FOREIGN: Law = Law {
    id: "foreign-state",
    says: "a state that the plugin did not save is refused by a fault or accepted, never a crash",
};

/// Restores all kinds of bytes, each in a new instance, and uses those that were accepted.
///
/// `start` makes an instance, `saved` is a state of the plugin itself, and `use_it` is what an
/// experiment would do next.
pub(super) fn foreign_states<'s, I: Remembers + 's>(
    saved: &[u8],
    start: impl Fn() -> Result<Watched<'s, I>, PluginError>,
    use_it: impl Fn(Watched<'s, I>) -> Result<(), PluginError>,
) -> Check {
    let mut verdict = Verdict::new(FOREIGN);
    let (mut accepted, mut refused) = (0, 0);
    for (name, state) in states(saved) {
        let outcome = start().and_then(|mut instance| {
            instance.restore(&state)?;
            Ok(instance)
        });
        let at = || format!("restoring {name}, {} bytes {}", state.len(), list(&state));
        let crashed =
            |error: &PluginError| matches!(Failure::of(error), Failure::Crash | Failure::Silent);
        match outcome {
            Ok(instance) => {
                accepted += 1;
                if let Err(error) = use_it(instance)
                    && crashed(&error)
                {
                    verdict.fail(Finding::new(
                        format!("{}, and going on", at()),
                        "an answer or a fault",
                        said(&error),
                    ));
                }
            }
            Err(error) => {
                refused += 1;
                if crashed(&error) {
                    verdict.fail(Finding::new(
                        at(),
                        "a fault that says what is wrong with it",
                        said(&error),
                    ));
                }
            }
        }
    }
    verdict.finish(format!("states accepted: {accepted}, refused: {refused}"))
}

/// States by name: the shortest first.
fn states(saved: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut random = stream("state", 0);
    let noise = |random: &mut Stream, count: usize| -> Vec<u8> {
        (0..count).map(|_| below(random, 256) as u8).collect()
    };
    let mut states = vec![
        ("nothing", Vec::new()),
        ("a zero", vec![0]),
        ("ones", vec![0xff; 7]),
        ("a text", b"{\"best\": null}".to_vec()),
        ("noise", noise(&mut random, 64)),
        ("much noise", noise(&mut random, 4096)),
    ];
    if let Some((_, shorter)) = saved.split_last() {
        states.push(("a part of its own state", shorter.to_vec()));
        states.push(("its own state and more", [saved, &[0]].concat()));
        states.push(("its own state twice", [saved, saved].concat()));
        states.push(("ones for its own state", vec![0xff; saved.len()]));
        for _ in 0..4 {
            let mut flipped = saved.to_vec();
            let bit = below(&mut random, 8 * saved.len() as u64);
            flipped[bit as usize / 8] ^= 1 << (bit % 8);
            states.push(("its own state with another bit", flipped));
        }
    }
    states
}
