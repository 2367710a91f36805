//! The random stream of a plugin: a function of seed, phase, module, update, and plugin.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use crate::phase::Phase;
use crate::random::{Key, Seed, Stream};

use super::contract::v0_1::incubate::plugin::random;
use super::kind::Hook;
use super::state::State;

/// What an instance of a plugin works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The seed of the run.
    pub seed: Seed,
    /// The phase, with the index of the module that is trained.
    pub phase: Phase,
}

/// The stream of one instance; every call starts it anew.
#[derive(Debug)]
pub(super) struct Randomness {
    context: Option<Context>,
    plugin: String,
    hook: Hook,
    update: Option<u64>,
    stream: Option<Stream>,
}

impl Randomness {
    /// Without a context there is no stream, and a plugin that asks for one is stopped.
    pub(super) fn new(context: Option<Context>, plugin: &str) -> Self {
        Self {
            context,
            plugin: plugin.to_owned(),
            hook: Hook::Describe,
            update: None,
            stream: None,
        }
    }

    /// Calls that belong to an update share its stream; every other call has one of its own.
    pub(super) fn begin(&mut self, hook: Hook, update: Option<u64>) {
        self.hook = hook;
        self.update = update;
        self.stream = None;
    }

    fn stream(&mut self) -> wasmtime::Result<&mut Stream> {
        let (hook, update, plugin) = (self.hook, self.update, &self.plugin);
        let Some(context) = self.context else {
            return Err(wasmtime::Error::msg(format!(
                "random numbers are not available in `{hook}`"
            )));
        };
        Ok(self.stream.get_or_insert_with(|| {
            let purpose = match update {
                Some(_) => format!("plugin/{plugin}"),
                None => format!("plugin/{plugin}/{hook}"),
            };
            context.seed.stream(&Key {
                phase: context.phase,
                epoch: 0,
                sample: update.unwrap_or(0),
                purpose: &purpose,
            })
        }))
    }
}

impl random::Host for State {
    fn next(&mut self) -> wasmtime::Result<u64> {
        let value = self.randomness.stream()?.next_u64();
        self.drawn("next", value);
        Ok(value)
    }

    fn uniform(&mut self) -> wasmtime::Result<f64> {
        /// The distance between neighbours: 2^-53.
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        let value = (self.randomness.stream()?.next_u64() >> 11) as f64 * STEP;
        self.drawn("uniform", value);
        Ok(value)
    }

    fn normal(&mut self) -> wasmtime::Result<f64> {
        let value: f64 = self.randomness.stream()?.sample(StandardNormal);
        self.drawn("normal", value);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use random::Host as _;

    use super::*;
    use crate::plugin::Limits;

    fn state(seed: u64, phase: Phase, plugin: &str) -> State {
        let seed = Seed(seed);
        let randomness = Randomness::new(Some(Context { seed, phase }), plugin);
        State::new(&Limits::default(), randomness)
    }

    fn first(mut state: State, hook: Hook, update: Option<u64>) -> u64 {
        state.begin(hook, update);
        state.next().unwrap()
    }

    #[test]
    fn the_stream_is_a_function_of_what_the_contract_says() {
        let meta = || state(7, Phase::Meta, "a");
        let reference = first(meta(), Hook::Compute, Some(3));
        assert_eq!(first(meta(), Hook::Compute, Some(3)), reference);
        assert_eq!(first(meta(), Hook::Rate, Some(3)), reference);
        for other in [
            first(meta(), Hook::Compute, Some(4)),
            first(meta(), Hook::Configure, None),
            first(state(8, Phase::Meta, "a"), Hook::Compute, Some(3)),
            first(state(7, Phase::Module(0), "a"), Hook::Compute, Some(3)),
            first(state(7, Phase::Meta, "b"), Hook::Compute, Some(3)),
        ] {
            assert_ne!(other, reference);
        }
    }

    #[test]
    fn every_call_starts_the_stream_anew() {
        let mut state = state(7, Phase::Module(1), "a");
        let mut call = || {
            state.begin(Hook::Compute, Some(0));
            [state.next().unwrap(), state.next().unwrap()]
        };
        let first = call();
        assert_ne!(first[0], first[1]);
        assert_eq!(call(), first);
    }

    #[test]
    fn numbers_have_the_distribution_that_the_contract_says() {
        let mut state = state(7, Phase::Baseline, "a");
        state.begin(Hook::Compute, Some(0));
        let count = 10_000;
        let uniform: Vec<f64> = (0..count).map(|_| state.uniform().unwrap()).collect();
        assert!(uniform.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = uniform.iter().sum::<f64>() / f64::from(count);
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let normal: Vec<f64> = (0..count).map(|_| state.normal().unwrap()).collect();
        let mean = normal.iter().sum::<f64>() / f64::from(count);
        let square = normal.iter().map(|value| value * value).sum::<f64>() / f64::from(count);
        assert!(
            mean.abs() < 0.05 && (square - 1.0).abs() < 0.06,
            "{mean} {square}"
        );
    }

    #[test]
    fn there_are_no_numbers_before_there_is_a_seed() {
        let mut state = State::new(&Limits::default(), Randomness::new(None, "a"));
        state.begin(Hook::Describe, None);
        let error = state.next().unwrap_err().to_string();
        assert_eq!(error, "random numbers are not available in `describe`");
    }
}
