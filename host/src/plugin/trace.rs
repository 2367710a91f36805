//! What a plugin asks of the host during one call, written down in order and bounded.
//!
//! Nothing in it depends on the machine's addresses or on time: handles are numbered in the order in
//! which the call gets them, and values are digests of their bits. Two calls that do the same have
//! equal traces. Dropping a handle is not written down, since it changes nothing that can be seen.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::component::Resource;

use crate::digest::sha256;
use crate::tensor::{AnyTensor, Operation};

use super::contract::v0_1::incubate::plugin::types::Fault;
use super::state::State;
use super::tensors::Handle;

/// Host calls of one call of a hook that are written down one by one.
const KEPT: usize = 4_096;

/// Characters of the arguments or the result of a host call that are written down.
const CHARACTERS: usize = 300;

/// Elements of a list that are written down.
const ELEMENTS: usize = 16;

/// One call of the host by a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCall {
    /// The function, as the contract writes it, such as `log-softmax`; or `input`, for each tensor
    /// that the call was given.
    pub operation: String,
    /// The tensors that it was called with, numbered from 0 in the order in which this call got
    /// them, inputs first; nothing for a tensor of an earlier call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operands: Vec<Option<u32>>,
    /// The other arguments.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arguments: String,
    /// What came of it: the number, shape, and digest of a tensor, a value, or an error.
    pub result: String,
}

/// Every host call of one call of a hook, and what the call used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The host calls, in order; at most 4,096.
    pub host_calls: Vec<HostCall>,
    /// Host calls after those.
    #[serde(default)]
    pub more: u64,
    /// The digest of those, if there are any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub more_sha256: String,
    /// Random numbers that were drawn.
    #[serde(default)]
    pub draws: u64,
    /// Instructions that ran.
    pub fuel: u64,
}

impl fmt::Display for HostCall {
    /// `affine(#1, scale 0.9, shift 0.01) = #3 [64, 10] 5f6c…`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operands = self.operands.iter().map(|operand| match operand {
            Some(number) => format!("#{number}"),
            None => "a tensor that is gone".to_owned(),
        });
        let arguments = Some(self.arguments.clone()).filter(|arguments| !arguments.is_empty());
        let all: Vec<String> = operands.chain(arguments).collect();
        write!(
            formatter,
            "{}({}) = {}",
            self.operation,
            all.join(", "),
            self.result
        )
    }
}

/// Where a trace is written; its clones write to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<Taped>>);

#[derive(Debug, Default)]
struct Taped {
    trace: Trace,
    more: Sha256,
}

impl Tape {
    fn lock(&self) -> MutexGuard<'_, Taped> {
        // A panic while a line is added leaves a trace that is merely shorter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the call before.
    pub(super) fn begin(&self) {
        *self.lock() = Taped::default();
    }

    /// Ends a call.
    pub(super) fn end(&self, fuel: u64) {
        self.lock().trace.fuel = fuel;
    }

    /// The trace of the last call.
    pub(super) fn take(&self) -> Trace {
        let taped = std::mem::take(&mut *self.lock());
        let mut trace = taped.trace;
        if trace.more > 0 {
            trace.more_sha256 = crate::digest::hexadecimal(taped.more);
        }
        trace
    }

    fn add(&self, call: HostCall, is_draw: bool) {
        let mut taped = self.lock();
        taped.trace.draws += u64::from(is_draw);
        let call = HostCall {
            arguments: bounded(call.arguments),
            result: bounded(call.result),
            ..call
        };
        if taped.trace.host_calls.len() < KEPT {
            taped.trace.host_calls.push(call);
        } else {
            taped.trace.more += 1;
            taped.more.update(call.to_string());
            taped.more.update(b"\n");
        }
    }
}

/// A host call before its result is known.
#[derive(Debug)]
pub(super) struct Asked {
    operation: &'static str,
    operands: Vec<Option<u32>>,
    arguments: String,
}

impl State {
    /// Begins to write a host call down, when somebody wants to know; `arguments` are not made
    /// otherwise.
    pub(super) fn asked(
        &self,
        operation: &'static str,
        operands: &[&Resource<Handle>],
        arguments: impl FnOnce() -> String,
    ) -> Option<Asked> {
        self.tape.as_ref()?;
        Some(Asked {
            operation,
            operands: operands
                .iter()
                .map(|handle| self.arena.position(handle))
                .collect(),
            arguments: arguments(),
        })
    }

    /// Writes down what a host call answered.
    pub(super) fn answered(&mut self, asked: Option<Asked>, result: impl FnOnce(&Self) -> String) {
        self.write_down(asked, false, result);
    }

    /// Writes down an input of the call, so that a difference in it is seen before all others.
    pub(super) fn given(&mut self, name: &'static str, handle: &Resource<Handle>) {
        let asked = self.asked("input", &[], || name.to_owned());
        self.write_down(asked, false, |state| state.shown_tensor(handle));
    }

    /// Number, shape, and digest of a tensor.
    fn shown_tensor(&self, handle: &Resource<Handle>) -> String {
        match (self.arena.position(handle), self.arena.find(handle)) {
            (Some(number), Some(tensor)) => format!("#{number} {}", digest(tensor)),
            _ => "a tensor that is gone".to_owned(),
        }
    }

    /// Writes down a random number.
    pub(super) fn drawn(&mut self, operation: &'static str, value: impl fmt::Debug) {
        let asked = self.asked(operation, &[], String::new);
        self.write_down(asked, true, |_| format!("{value:?}"));
    }

    /// Writes down a tensor or an error.
    pub(super) fn answered_tensor(
        &mut self,
        asked: Option<Asked>,
        answer: &wasmtime::Result<Result<Resource<Handle>, Fault>>,
    ) {
        self.write_down(asked, false, |state| match answer {
            Ok(Ok(handle)) => state.shown_tensor(handle),
            Ok(Err(fault)) => shown_fault(fault),
            Err(error) => format!("stopped: {error}"),
        });
    }

    fn write_down(
        &mut self,
        asked: Option<Asked>,
        is_draw: bool,
        result: impl FnOnce(&Self) -> String,
    ) {
        let (Some(asked), Some(tape)) = (asked, &self.tape) else {
            return;
        };
        let begun = Instant::now();
        let call = HostCall {
            operation: asked.operation.to_owned(),
            operands: asked.operands,
            arguments: asked.arguments,
            result: result(self),
        };
        tape.add(call, is_draw);
        self.clock.excuse(begun);
    }
}

/// An error as a result.
pub(super) fn shown_fault(fault: &Fault) -> String {
    format!("{:?}: {}", fault.code, fault.message)
}

/// Shape and digest of a tensor.
fn digest(tensor: &AnyTensor) -> String {
    match tensor.read() {
        Ok(values) => format!("{:?} {}", tensor.shape(), digest_of(&values)),
        Err(error) => format!("{:?} {error}", tensor.shape()),
    }
}

/// The beginning of the digest of the bits of these numbers.
pub(super) fn digest_of(values: &[f32]) -> String {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let mut digest = sha256(&bytes);
    digest.truncate(16);
    digest
}

/// A list, or its length and digest when it is long.
pub(super) fn shown_list<T: fmt::Debug>(list: &[T]) -> String {
    if list.len() <= ELEMENTS {
        return format!("{list:?}");
    }
    let digest = sha256(format!("{list:?}").as_bytes());
    format!("{} elements {}", list.len(), &digest[..16])
}

/// A text, or its beginning and digest when it is long.
fn bounded(text: String) -> String {
    match text.char_indices().nth(CHARACTERS) {
        None => text,
        Some((end, _)) => format!(
            "{}… ({} bytes, sha256 {})",
            &text[..end],
            text.len(),
            sha256(text.as_bytes())
        ),
    }
}

/// The numbers that an operation is given besides tensors.
pub(super) fn arguments(operation: &Operation<'_>) -> String {
    match operation {
        Operation::Add(_)
        | Operation::Sub(_)
        | Operation::Mul(_)
        | Operation::Div(_)
        | Operation::Matmul(_)
        | Operation::Exp
        | Operation::Log
        | Operation::Abs
        | Operation::LogSigmoid
        | Operation::Detach => String::new(),
        Operation::Affine { scale, shift } => format!("scale {scale:?}, shift {shift:?}"),
        Operation::Powf(exponent) => format!("exponent {exponent:?}"),
        Operation::Clamp { minimum, maximum } => {
            format!("minimum {minimum:?}, maximum {maximum:?}")
        }
        Operation::LogSoftmax(dim) | Operation::Argmax(dim) => format!("dim {dim}"),
        Operation::Sum(dims) => format!("dims {}", shown_list(dims)),
        Operation::Transpose(first, second) => format!("dims {first} and {second}"),
        Operation::Reshape(shape) => format!("shape {}", shown_list(shape)),
        Operation::Slice { dim, start, end } => format!("dim {dim}, {start} to {end}"),
        Operation::OneHot(classes) => format!("classes {classes}"),
        Operation::Greater(threshold) => format!("threshold {threshold:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(result: &str) -> HostCall {
        HostCall {
            operation: "next".to_owned(),
            result: result.to_owned(),
            ..HostCall::default()
        }
    }

    #[test]
    fn a_trace_is_bounded_and_what_is_beyond_still_counts() {
        let trace = |last: &str| {
            let tape = Tape::default();
            for index in 0..KEPT + 2 {
                tape.add(call(&index.to_string()), true);
            }
            tape.add(call(last), true);
            tape.end(7);
            tape.take()
        };
        let one = trace("a");
        assert_eq!((one.host_calls.len(), one.more), (KEPT, 3));
        assert_eq!((one.draws, one.fuel), (KEPT as u64 + 3, 7));
        assert_eq!(one, trace("a"));
        assert_ne!(one, trace("b"));
    }

    #[test]
    fn long_texts_are_cut_and_still_told_apart() {
        let long = |last: &str| bounded(format!("{}{last}", "é".repeat(CHARACTERS)));
        assert!(long("a").chars().count() < CHARACTERS + 100);
        assert_ne!(long("a"), long("b"));
        assert_eq!(bounded("short".to_owned()), "short");
        let list = |last: u32| shown_list(&[vec![0; ELEMENTS], vec![last]].concat());
        assert_ne!(list(1), list(2));
        assert_eq!(shown_list(&[1, 2]), "[1, 2]");
    }
}
