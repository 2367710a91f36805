//! Faults: the errors that a person sees.

use crate::{Fault, FaultCode};

impl Fault {
    /// A parameter or an argument has a value that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FaultCode::InvalidInput, message)
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
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }
}
