//! What a teacher says to the pictures of a call: lent for one call, and only to a hook that imports the
//! interface, in a phase whose experiment names a teacher.

use wasmtime::component::Resource;

use crate::tensor::AnyTensor;

use super::contract::v0_1::incubate::plugin::teacher;
use super::contract::v0_1::incubate::plugin::types::{Fault, FaultCode};
use super::state::State;
use super::tensors::Handle;

/// What an instance may see of the teacher.
#[derive(Debug, Default)]
pub(super) struct Teacher {
    /// The logits for the pictures of the call that is running, shape `[pictures, classes]`.
    lent: Option<AnyTensor>,
}

impl Teacher {
    /// Before `compute`.
    pub(super) fn lend(&mut self, logits: Option<AnyTensor>) {
        self.lent = logits;
    }

    /// After any call.
    pub(super) fn take_back(&mut self) {
        self.lent = None;
    }

    fn logits(&self) -> Result<AnyTensor, Fault> {
        self.lent.clone().ok_or_else(|| Fault {
            code: FaultCode::Unsupported,
            message: "the teacher was asked outside of `compute`".to_owned(),
            hint: Some("what a teacher says can be seen in `compute` alone".to_owned()),
        })
    }
}

impl teacher::Host for State {
    fn logits(&mut self) -> wasmtime::Result<Result<Resource<Handle>, Fault>> {
        let asked = self.asked("teacher-logits", &[], String::new);
        let logits = self.teacher.logits();
        let answer = Ok(logits.and_then(|logits| Ok(self.arena.insert(logits)?)));
        self.answered_tensor(asked, &answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use teacher::Host as _;

    use super::*;
    use crate::plugin::Limits;
    use crate::plugin::kind::Hook;
    use crate::plugin::randomness::Randomness;

    #[test]
    fn the_teacher_is_lent_for_one_call() {
        let limits = Limits {
            live_tensors: 1,
            ..Limits::default()
        };
        let mut state = State::new(&limits, Randomness::new(None, ""));
        let code = |state: &mut State| state.logits().unwrap().map_err(|fault| fault.code);
        assert_eq!(code(&mut state).unwrap_err(), FaultCode::Unsupported);

        let logits = Tensor::<2>::from_floats([[1.0, 2.0]], &Device::flex());
        let logits = AnyTensor::from_tensor(logits).unwrap();
        state.begin(Hook::Compute, Some(0));
        state.teacher.lend(Some(logits));
        assert!(code(&mut state).is_ok());
        // A second handle is one more than the limits allow.
        assert_eq!(code(&mut state).unwrap_err(), FaultCode::Budget);
        state.end();

        assert_eq!(code(&mut state).unwrap_err(), FaultCode::Unsupported);
    }
}
