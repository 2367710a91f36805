//! Faults: the errors that the person who runs an experiment sees.

use crate::{Fault, FaultCode};

impl Fault {
    /// A parameter or an argument has a value that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FaultCode::InvalidInput, message)
    }

    /// Two tensors, or a tensor and an argument, do not fit each other.
    pub fn shape(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Shape, message)
    }

    /// The request is sound, and this plugin does not support it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Unsupported, message)
    }

    /// A defect of the plugin or the host.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Internal, message)
    }

    /// The same fault with a sentence on what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// A fault without a hint. The message is one sentence without a final full stop: what is
    /// wrong, with the value.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }
}
