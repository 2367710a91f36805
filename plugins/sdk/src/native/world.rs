//! What the stand-in remembers: messages, metrics, the random stream, weights, the teacher, and what a
//! gradient takes for constant.

use std::cell::RefCell;
use std::f64::consts::TAU;
use std::mem;

use super::tensor::Tensor;
use crate::log::Level;

thread_local! {
    static WORLD: RefCell<World> = const { RefCell::new(World::new()) };
}

/// A message that a plugin wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// The stand-in of one thread.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) messages: Vec<Message>,
    pub(crate) metrics: Vec<(String, f64)>,
    pub(crate) seed: u64,
    pub(crate) stream: Stream,
    pub(crate) weights: Vec<(String, Tensor)>,
    pub(crate) teacher: Option<Tensor>,
    pub(crate) gradients: Gradients,
}

impl World {
    const fn new() -> Self {
        Self {
            messages: Vec::new(),
            metrics: Vec::new(),
            seed: 0,
            stream: Stream(0),
            weights: Vec::new(),
            teacher: None,
            gradients: Gradients::Off,
        }
    }

    /// Calls `work` with the stand-in of this thread; `work` must not call into it again.
    pub(crate) fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        WORLD.with_borrow_mut(work)
    }
}

/// What passes no gradient, when gradients are found by computing the loss again with other logits:
/// the first computation writes it down, and the others get it in the same order.
#[derive(Debug)]
pub(crate) enum Gradients {
    /// Nothing is differentiated.
    Off,
    /// The first computation.
    Recording(Vec<Tensor>),
    /// Another one, which has got the first so many.
    Replaying(Vec<Tensor>, usize),
}

impl Gradients {
    /// A value through which no gradient passes: that of `compute`, or of the first computation.
    pub(crate) fn constant(&mut self, compute: impl FnOnce() -> Tensor) -> Tensor {
        match self {
            Self::Off => compute(),
            Self::Recording(constants) => {
                let constant = compute();
                constants.push(constant.clone());
                constant
            }
            Self::Replaying(constants, next) => {
                let constant = constants.get(*next).cloned();
                *next += 1;
                constant.expect("a hook does the same operations at every computation of one step")
            }
        }
    }

    /// From the first computation, or another one, to the next one.
    pub(crate) fn replay(&mut self) {
        let constants = match mem::replace(self, Self::Off) {
            Self::Off => Vec::new(),
            Self::Recording(constants) | Self::Replaying(constants, _) => constants,
        };
        *self = Self::Replaying(constants, 0);
    }
}

/// The generator SplitMix64 (Steele, Lea, and Flood 2014).
#[derive(Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    /// A stream that is a function of both numbers.
    pub(crate) const fn new(seed: u64, update: u64) -> Self {
        Self(mix(seed) ^ mix(update.wrapping_mul(2).wrapping_add(1)))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        /// The distance between neighbours: 2^-53.
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.next() >> 11) as f64 * STEP
    }

    /// By the method of Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }
}

const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
