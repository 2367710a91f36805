//! What `configure` keeps for the calls after it.

use std::sync::OnceLock;

use crate::Fault;

/// A value that is set once, by `configure`, and read by every later call.
#[derive(Debug)]
pub struct Configured<T>(OnceLock<T>);

impl<T> Configured<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Keeps `value`; a second call is a defect of the host.
    pub fn set(&self, value: T) -> Result<(), Fault> {
        self.0
            .set(value)
            .map_err(|_| Fault::internal("the plugin was configured twice"))
    }

    /// The value; asking before `configure` is a defect of the host.
    pub fn get(&self) -> Result<&T, Fault> {
        self.0
            .get()
            .ok_or_else(|| Fault::internal("the plugin was called before it was configured"))
    }
}

impl<T> Default for Configured<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The counterpart of an empty `save`, for plugins that remember nothing.
pub fn restore_nothing(state: &[u8]) -> Result<(), Fault> {
    if state.is_empty() {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "a state of {} bytes was given to a plugin that remembers nothing",
        state.len()
    ))
    .with_hint("the state was saved by another plugin"))
}
