//! Runs hooks natively, without a sandbox: what the host would hand to them, and checks of what they
//! answer.
//!
//! ```
//! use incubate_plugin::testing::{self, Batch};
//! # use incubate_plugin::{Description, Fault, Inputs, Loss, Settings, Step, Tensor};
//! # struct Plain;
//! # impl Loss for Plain {
//! #     fn describe() -> Description { Description::new("Cross-entropy") }
//! #     fn configure(_: &Settings) -> Result<Self, Fault> { Ok(Self) }
//! #     fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
//! #         Ok(inputs.logits.cross_entropy(&inputs.targets()))
//! #     }
//! # }
//!
//! # fn main() -> Result<(), Fault> {
//! let settings = testing::settings(&Plain::describe(), &[])?;
//! let mut hook = Plain::configure(&settings)?;
//!
//! let batch = Batch::new([[0.0, 0.0], [2.0, -1.0]], [0, 1]);
//! assert!((batch.loss(&mut hook)? - 1.870867).abs() < 1e-6);
//!
//! let gradient = batch.gradient(&mut hook)?;
//! assert!((gradient[0] - -0.25).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! # What differs from the host
//!
//! - Elements are 64-bit floats inside, so values agree to the rounding of the 32 bits of the host.
//! - The random stream is another one, also a function of a seed and the update.
//! - There are no limits, and nothing needs a grant.
//! - Gradients are central differences. They take for constant what passes no gradient: the answers
//!   of `detach`, `greater`, `argmax`, and of reading back.
//!
//! Everything belongs to the thread of the test.

mod batch;
mod models;
mod moments;
mod settings;

pub use crate::native::Message;
pub use batch::Batch;
pub use models::{divide, request};
pub use moments::{moment, rates};
pub use settings::settings;

use std::mem;

use crate::native::World;

/// What a hook wrote while it was watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Messages of [`log`](crate::log), in order.
    pub messages: Vec<Message>,
    /// Names and values of [`metrics`](crate::metrics), in order.
    pub metrics: Vec<(String, f64)>,
}

/// The answer of `work`, and what was written during it.
///
/// ```
/// use incubate_plugin::{metrics, testing};
///
/// let ((), record) = testing::capture(|| metrics::record("seen", 2.0));
/// assert_eq!(record.metrics, [("seen".to_owned(), 2.0)]);
/// ```
pub fn capture<R>(work: impl FnOnce() -> R) -> (R, Record) {
    let earlier = exchange(Record::default());
    let answer = work();
    (answer, exchange(earlier))
}

/// Sets the seed of the random stream; without this it is 0. [`Batch::loss`] starts the stream anew,
/// as a function of the seed and the update.
pub fn seed(seed: u64) {
    World::with(|world| world.seed = seed);
}

/// Puts a record in the place of the present one.
fn exchange(record: Record) -> Record {
    World::with(|world| Record {
        messages: mem::replace(&mut world.messages, record.messages),
        metrics: mem::replace(&mut world.metrics, record.metrics),
    })
}

#[cfg(test)]
mod tests;
