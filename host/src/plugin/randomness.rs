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
        Ok(self.randomness.stream()?.next_u64())
    }

    fn uniform(&mut self) -> wasmtime::Result<f64> {
        /// The distance between neighbours: 2^-53.
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        Ok((self.randomness.stream()?.next_u64() >> 11) as f64 * STEP)
    }

    fn normal(&mut self) -> wasmtime::Result<f64> {
        Ok(self.randomness.stream()?.sample(StandardNormal))
    }
}
