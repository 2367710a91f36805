//! The tensors of a plugin: an arena for each call, and the operations on its handles.
//!
//! A handle is a number that is never used twice in one instance: what an earlier call created is
//! gone, and its number finds nothing, never another tensor.

use std::time::Instant;

use wasmtime::component::Resource;

use crate::tensor::{AnyTensor, ElementType, Operation, TensorError};

use super::contract::v0_1::incubate::plugin::types::{Fault, FaultCode};
use super::contract::v0_1::incubate::plugin::{readback, tensors, types};
use super::limits::{Breach, Limit, Limits};
use super::state::State;
use super::trace::{arguments, digest_of, shown_fault, shown_list};

/// The type of a plugin's handles; the tensor itself stays in the [`Arena`].
#[derive(Debug)]
#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it inside this module"
)]
pub struct Handle;

/// Handles that a plugin keeps after its calls before its instance is replaced. Each costs the
/// engine a few bytes for as long as the instance lives, whether or not it will ever be dropped.
const KEPT_MAX: u64 = 20_000;

/// Why an operation was not carried out.
#[derive(Debug)]
pub(super) enum Refusal {
    Tensor(TensorError),
    Limit(Breach),
    Gone,
    OutsideCompute,
}

/// The boundary of the network that a gradient of a tensor enters last, in the order of the modules: the
/// module whose output it is. None for what no gradient passes from, and for weights.
pub(super) type Reach = Option<u32>;

/// The reach of the logits: behind every module.
pub(super) const LOGITS: Reach = Some(u32::MAX);

/// A tensor of the call that is running.
#[derive(Debug)]
struct Slot {
    tensor: AnyTensor,
    reach: Reach,
}

/// The tensors of the call that is running.
#[derive(Debug)]
pub(super) struct Arena {
    limits: Limits,
    /// The number of the first handle of this call.
    first: u32,
    /// The tensors of this call by number; empty where a handle was dropped.
    slots: Vec<Option<Slot>>,
    live: u64,
    bytes: u64,
    /// Operations of this call.
    done: u64,
    /// Elements and multiply-adds of this call.
    work: u64,
    /// A tensor that says on which device others are made.
    device: Option<AnyTensor>,
    breach: Option<Breach>,
    /// Handles that were given out and neither dropped nor returned, over all calls.
    kept: u64,
    pub(super) operations: u64,
    pub(super) readbacks: u64,
    pub(super) peak: u64,
}

impl Arena {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            first: 0,
            slots: Vec::new(),
            live: 0,
            bytes: 0,
            done: 0,
            work: 0,
            device: None,
            breach: None,
            kept: 0,
            operations: 0,
            readbacks: 0,
            peak: 0,
        }
    }

    /// Frees every tensor; the numbers of their handles are not used again.
    pub(super) fn clear(&mut self) {
        // `insert` has made sure that the sum is a number.
        self.first += self.slots.len() as u32;
        self.slots.clear();
        self.live = 0;
        self.bytes = 0;
        self.done = 0;
        self.work = 0;
        self.device = None;
        self.breach = None;
    }

    /// Handles, and loans of them, that the engine has to allow: more than can ever be kept, so that
    /// it is never the engine that refuses one.
    pub(super) const fn handles_max(limits: &Limits) -> u64 {
        KEPT_MAX
            .saturating_add(limits.live_tensors.saturating_mul(4))
            .saturating_add(1000)
    }

    /// Whether so many handles were used or kept that the instance should be replaced.
    pub(super) const fn is_worn(&self) -> bool {
        self.kept > KEPT_MAX || self.first > u32::MAX / 2
    }

    /// Tensors that live now.
    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    /// The limit that an operation of this call reached.
    pub(super) const fn take_breach(&mut self) -> Option<Breach> {
        self.breach.take()
    }

    /// Makes `tensor` say on which device the plugin's own tensors are made.
    pub(super) fn set_device(&mut self, tensor: &AnyTensor) {
        self.device = Some(tensor.clone());
    }

    /// Gives out a handle for a tensor through which no gradient enters the network but into weights.
    pub(super) fn insert(&mut self, tensor: AnyTensor) -> Result<Resource<Handle>, Refusal> {
        self.insert_reaching(tensor, None)
    }

    /// Gives out a handle.
    pub(super) fn insert_reaching(
        &mut self,
        tensor: AnyTensor,
        reach: Reach,
    ) -> Result<Resource<Handle>, Refusal> {
        self.afford(0)?;
        let number = u32::try_from(self.slots.len())
            .ok()
            .and_then(|position| self.first.checked_add(position))
            .filter(|number| *number < u32::MAX)
            .ok_or(Refusal::Gone)?;
        self.slots.push(Some(Slot { tensor, reach }));
        self.live += 1;
        self.kept += 1;
        self.peak = self.peak.max(self.live);
        Ok(Resource::new_own(number))
    }

    /// Takes the tensor out that a plugin returned.
    pub(super) fn take(&mut self, handle: &Resource<Handle>) -> Option<(AnyTensor, Reach)> {
        self.kept = self.kept.saturating_sub(1);
        let position = handle.rep().checked_sub(self.first)?;
        let slot = self.slots.get_mut(position as usize)?.take()?;
        self.live -= 1;
        Some((slot.tensor, slot.reach))
    }

    fn slot(&self, handle: &Resource<Handle>) -> Result<&Slot, Refusal> {
        handle
            .rep()
            .checked_sub(self.first)
            .and_then(|position| self.slots.get(position as usize)?.as_ref())
            .ok_or(Refusal::Gone)
    }

    fn get(&self, handle: &Resource<Handle>) -> Result<&AnyTensor, Refusal> {
        Ok(&self.slot(handle)?.tensor)
    }

    /// The tensor of a handle, if it is one of this call.
    pub(super) fn find(&self, handle: &Resource<Handle>) -> Option<&AnyTensor> {
        self.get(handle).ok()
    }

    /// The number of a handle among those of this call, from 0.
    pub(super) fn position(&self, handle: &Resource<Handle>) -> Option<u32> {
        handle
            .rep()
            .checked_sub(self.first)
            .filter(|position| (*position as usize) < self.slots.len())
    }

    /// Refuses another tensor, of `bytes`, beyond the limits.
    fn afford(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = self.bytes + bytes as u64;
        let checks = [
            (Limit::LiveTensors, self.limits.live_tensors, self.live + 1),
            (Limit::DeviceBytes, self.limits.device_bytes, bytes),
        ];
        for (limit, allowed, wanted) in checks {
            if wanted > allowed {
                let breach = Breach {
                    limit,
                    allowed,
                    wanted: Some(wanted),
                };
                self.breach = Some(breach);
                return Err(Refusal::Limit(breach));
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Refuses another operation, of so much `work`, beyond the limits.
    fn bear(&mut self, work: u64) -> Result<(), Refusal> {
        self.done += 1;
        self.work = self.work.saturating_add(work);
        let checks = [
            (Limit::Operations, self.limits.operations, self.done),
            (Limit::Work, self.limits.work, self.work),
        ];
        for (limit, allowed, wanted) in checks {
            if wanted > allowed {
                let breach = Breach {
                    limit,
                    allowed,
                    wanted: Some(wanted),
                };
                self.breach = Some(breach);
                return Err(Refusal::Limit(breach));
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        input: &Resource<Handle>,
        operation: Operation<'_>,
    ) -> Result<Resource<Handle>, Refusal> {
        self.apply_reaching(input, operation, None)
    }

    /// Runs an operation whose other operand reaches `other`.
    fn apply_reaching(
        &mut self,
        input: &Resource<Handle>,
        operation: Operation<'_>,
        other: Reach,
    ) -> Result<Resource<Handle>, Refusal> {
        self.operations += 1;
        let Slot { tensor, reach } = self.slot(input)?;
        let reach = if operation.passes_gradient() {
            other.max(*reach)
        } else {
            None
        };
        let input = tensor.clone();
        let prepared = input.prepare(operation)?;
        self.afford(prepared.size_bytes())?;
        self.bear(prepared.work())?;
        self.insert_reaching(prepared.run(), reach)
    }

    fn apply_pair(
        &mut self,
        left: &Resource<Handle>,
        right: &Resource<Handle>,
        operation: for<'a> fn(&'a AnyTensor) -> Operation<'a>,
    ) -> Result<Resource<Handle>, Refusal> {
        let Slot { tensor, reach } = self.slot(right)?;
        let (right, reach) = (tensor.clone(), *reach);
        self.apply_reaching(left, operation(&right), reach)
    }

    fn make(&mut self, values: Vec<f32>, shape: &[u32]) -> Result<Resource<Handle>, Refusal> {
        let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
        AnyTensor::check_values(values.len(), &shape)?;
        self.afford(values.len() * size_of::<f32>())?;
        let device = self.device.as_ref().ok_or(Refusal::OutsideCompute)?;
        let tensor = device.from_values(values, &shape)?;
        self.insert(tensor)
    }

    fn read(&mut self, handle: &Resource<Handle>) -> Result<Vec<f32>, Refusal> {
        let tensor = self.get(handle)?.clone();
        self.afford(tensor.size_bytes())?;
        self.readbacks += 1;
        Ok(tensor.read()?)
    }
}

impl From<TensorError> for Refusal {
    fn from(error: TensorError) -> Self {
        Self::Tensor(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (code, message) = match refusal {
            Refusal::Tensor(error) => (code(&error), error.to_string()),
            Refusal::Limit(breach) => (FaultCode::Budget, breach.to_string()),
            Refusal::Gone => (
                FaultCode::InvalidInput,
                "the tensor is gone (a handle lives until the call that created it returns)"
                    .to_owned(),
            ),
            Refusal::OutsideCompute => (
                FaultCode::Unsupported,
                "tensors can be made in `compute` alone".to_owned(),
            ),
        };
        Self {
            code,
            message,
            hint: None,
        }
    }
}

const fn code(error: &TensorError) -> FaultCode {
    match error {
        TensorError::ElementType { .. } => FaultCode::ElementType,
        TensorError::Argument { .. } => FaultCode::InvalidInput,
        TensorError::Read { .. } => FaultCode::Internal,
        TensorError::Rank { .. }
        | TensorError::Elements { .. }
        | TensorError::Dimension { .. }
        | TensorError::Repeated { .. }
        | TensorError::Broadcast { .. }
        | TensorError::MatrixProduct { .. }
        | TensorError::Reshape { .. }
        | TensorError::Range { .. }
        | TensorError::Data { .. }
        | TensorError::NotScalar { .. } => FaultCode::Shape,
    }
}

/// What every operation answers: a trap, a fault, or a result.
type Answer<T> = wasmtime::Result<Result<T, Fault>>;

impl State {
    /// Runs `work` on the tensors at the expense of the host's time.
    fn host<T>(&mut self, work: impl FnOnce(&mut Arena) -> Result<T, Refusal>) -> Answer<T> {
        let begun = Instant::now();
        let result = work(&mut self.arena);
        self.clock.excuse(begun);
        Ok(result.map_err(Fault::from))
    }

    fn one(
        &mut self,
        input: &Resource<Handle>,
        operation: Operation<'_>,
    ) -> Answer<Resource<Handle>> {
        let asked = self.asked(operation.name(), &[input], || arguments(&operation));
        let answer = self.host(|arena| arena.apply(input, operation));
        self.answered_tensor(asked, &answer);
        answer
    }

    fn two(
        &mut self,
        name: &'static str,
        left: &Resource<Handle>,
        right: &Resource<Handle>,
        operation: for<'a> fn(&'a AnyTensor) -> Operation<'a>,
    ) -> Answer<Resource<Handle>> {
        let asked = self.asked(name, &[left, right], String::new);
        let answer = self.host(|arena| arena.apply_pair(left, right, operation));
        self.answered_tensor(asked, &answer);
        answer
    }

    /// For functions that cannot answer a fault.
    fn must_get(&self, handle: &Resource<Handle>) -> wasmtime::Result<&AnyTensor> {
        self.arena
            .get(handle)
            .map_err(|refusal| wasmtime::Error::msg(Fault::from(refusal).message))
    }
}

impl types::Host for State {}

impl tensors::Host for State {
    fn from_f32(&mut self, data: Vec<f32>, shape: Vec<u32>) -> Answer<Resource<Handle>> {
        let asked = self.asked("from-f32", &[], || {
            let (count, digest) = (data.len(), digest_of(&data));
            format!("{count} values {digest}, shape {}", shown_list(&shape))
        });
        let answer = self.host(|arena| arena.make(data, &shape));
        self.answered_tensor(asked, &answer);
        answer
    }
}

impl readback::Host for State {
    fn read_with_sync(&mut self, tensor: Resource<Handle>) -> Answer<Vec<f32>> {
        let asked = self.asked("read-with-sync", &[&tensor], String::new);
        let answer = self.host(|arena| arena.read(&tensor));
        self.answered(asked, |_| match &answer {
            Ok(Ok(values)) => format!("{} values {}", values.len(), digest_of(values)),
            Ok(Err(fault)) => shown_fault(fault),
            Err(error) => format!("stopped: {error}"),
        });
        answer
    }
}

impl tensors::HostTensor for State {
    fn shape(&mut self, input: Resource<Handle>) -> wasmtime::Result<Vec<u32>> {
        let asked = self.asked("shape", &[&input], String::new);
        // A size is at most the number of elements, which is far below 2^32.
        let shape: Vec<u32> = self
            .must_get(&input)?
            .shape()
            .iter()
            .map(|&size| size as u32)
            .collect();
        self.answered(asked, |_| shown_list(&shape));
        Ok(shape)
    }

    fn element_type(&mut self, input: Resource<Handle>) -> wasmtime::Result<tensors::ElementType> {
        let asked = self.asked("element-type", &[&input], String::new);
        let element_type = self.must_get(&input)?.element_type();
        self.answered(asked, |_| element_type.to_string());
        Ok(match element_type {
            ElementType::Float => tensors::ElementType::Float,
            ElementType::ClassId => tensors::ElementType::ClassId,
        })
    }

    fn add(&mut self, left: Resource<Handle>, right: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.two("add", &left, &right, |right| Operation::Add(right))
    }

    fn sub(&mut self, left: Resource<Handle>, right: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.two("sub", &left, &right, |right| Operation::Sub(right))
    }

    fn mul(&mut self, left: Resource<Handle>, right: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.two("mul", &left, &right, |right| Operation::Mul(right))
    }

    fn div(&mut self, left: Resource<Handle>, right: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.two("div", &left, &right, |right| Operation::Div(right))
    }

    fn affine(
        &mut self,
        input: Resource<Handle>,
        scale: f32,
        shift: f32,
    ) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Affine { scale, shift })
    }

    fn powf(&mut self, input: Resource<Handle>, exponent: f32) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Powf(exponent))
    }

    fn exp(&mut self, input: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Exp)
    }

    fn log(&mut self, input: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Log)
    }

    fn abs(&mut self, input: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Abs)
    }

    fn clamp(
        &mut self,
        input: Resource<Handle>,
        minimum: f32,
        maximum: f32,
    ) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Clamp { minimum, maximum })
    }

    fn log_softmax(&mut self, input: Resource<Handle>, dim: i32) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::LogSoftmax(dim))
    }

    fn log_sigmoid(&mut self, input: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::LogSigmoid)
    }

    fn sum(&mut self, input: Resource<Handle>, dims: Vec<i32>) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Sum(&dims))
    }

    fn matmul(
        &mut self,
        left: Resource<Handle>,
        right: Resource<Handle>,
    ) -> Answer<Resource<Handle>> {
        self.two("matmul", &left, &right, |right| Operation::Matmul(right))
    }

    fn transpose(
        &mut self,
        input: Resource<Handle>,
        first: i32,
        second: i32,
    ) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Transpose(first, second))
    }

    fn reshape(&mut self, input: Resource<Handle>, shape: Vec<u32>) -> Answer<Resource<Handle>> {
        let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
        self.one(&input, Operation::Reshape(&shape))
    }

    fn slice(
        &mut self,
        input: Resource<Handle>,
        dim: i32,
        start: u32,
        end: u32,
    ) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Slice { dim, start, end })
    }

    fn one_hot(&mut self, input: Resource<Handle>, classes: u32) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::OneHot(classes))
    }

    fn greater(&mut self, input: Resource<Handle>, threshold: f32) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Greater(threshold))
    }

    fn argmax(&mut self, input: Resource<Handle>, dim: i32) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Argmax(dim))
    }

    fn detach(&mut self, input: Resource<Handle>) -> Answer<Resource<Handle>> {
        self.one(&input, Operation::Detach)
    }

    /// Dropping what is gone already is no error: a garbage collector may do it much later.
    fn drop(&mut self, handle: Resource<Handle>) -> wasmtime::Result<()> {
        self.arena.take(&handle);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
