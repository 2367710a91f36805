//! The stand-in for the host when a plugin is compiled natively: the same functions as the imports
//! of the component, on plain numbers in memory.
//!
//! One stand-in serves one thread, so that tests run side by side.

mod shape;
mod tensor;
mod world;

pub use world::Message;
pub(crate) use world::{Gradients, Stream, World};

pub(crate) mod log {
    use super::{Message, World};
    use crate::log::Level;

    pub(crate) fn write(level: Level, message: &str) {
        World::with(|world| {
            world.messages.push(Message {
                level,
                text: message.to_owned(),
            });
        });
    }
}

pub(crate) mod metrics {
    use super::World;

    pub(crate) fn record(name: &str, value: f64) {
        World::with(|world| world.metrics.push((name.to_owned(), value)));
    }
}

pub(crate) mod random {
    use super::World;

    pub(crate) fn next() -> u64 {
        World::with(|world| world.stream.next())
    }

    pub(crate) fn uniform() -> f64 {
        World::with(|world| world.stream.uniform())
    }

    pub(crate) fn normal() -> f64 {
        World::with(|world| world.stream.normal())
    }
}

pub(crate) mod tensors {
    pub(crate) use super::tensor::{Tensor, from_f32};
}

pub(crate) mod readback {
    use super::World;
    use super::tensor::Tensor;
    use crate::Fault;

    /// What is read is no function of the logits any more, so it is a constant to a gradient.
    pub(crate) fn read_with_sync(tensor: &Tensor) -> Result<Vec<f32>, Fault> {
        let constant = World::with(|world| world.gradients.constant(|| tensor.clone()));
        Ok(constant.values.iter().map(|&value| value as f32).collect())
    }
}

pub(crate) mod teacher {
    use super::World;
    use super::tensor::Tensor;
    use crate::{Fault, FaultCode};

    pub(crate) fn logits() -> Result<Tensor, Fault> {
        World::with(|world| world.teacher.clone()).ok_or_else(|| {
            Fault::new(FaultCode::Unsupported, "the batch has no teacher")
                .with_hint("give one with `Batch::with_teacher`")
        })
    }
}

pub(crate) mod weights {
    use super::World;
    use super::tensor::Tensor;
    use crate::{Fault, FaultCode};

    pub(crate) fn names() -> Vec<String> {
        World::with(|world| world.weights.iter().map(|(name, _)| name.clone()).collect())
    }

    pub(crate) fn get(name: &str) -> Result<Tensor, Fault> {
        World::with(|world| {
            let found = world.weights.iter().find(|(known, _)| known == name);
            found.map(|(_, weight)| weight.clone()).ok_or_else(|| {
                Fault::new(
                    FaultCode::InvalidInput,
                    format!("no weight `{name}` is granted and trained"),
                )
            })
        })
    }
}

#[cfg(test)]
mod tests;
