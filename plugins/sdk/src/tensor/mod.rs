//! Tensors that the host owns, on the device that trains, and the operations of the contract.

mod composed;
mod operators;

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::host::{self, Handle};
use crate::{ElementType, Fault};

/// A tensor on the device that trains, or the fault of the operation that should have given it.
///
/// Every operation runs on the device and is recorded for differentiation, except where its comment
/// says that no gradient passes. Elements are 32-bit floats, or class ids where stated. Two shapes
/// broadcast as in NumPy: they are aligned at their last dimension, and a dimension of size 1 is
/// stretched. A negative dimension counts from the end. A tensor lives until the end of the call
/// that made it: what a hook remembers are numbers, not tensors.
///
/// # Faults
///
/// No operation answers a `Result`. One that the host refuses gives a tensor that carries the fault,
/// every operation on such a tensor passes the first fault on without asking the host, and a loss
/// that carries a fault fails with it, in the words of the host. So a loss is written as plain
/// arithmetic:
///
/// ```
/// use incubate_plugin::Tensor;
///
/// let logits = Tensor::from_f32(&[1.0, 2.0, 3.0], &[1, 3]);
/// let wrong = Tensor::from_f32(&[1.0, 2.0], &[2]);
/// let loss = (&logits * wrong + 1.0).mean(&[]);
/// let fault = loss.check().unwrap_err();
/// assert_eq!(
///     fault.message,
///     "`mul` does not fit the shapes [1, 3] and [2] (aligned at the last dimension, sizes must be \
///      equal or 1)"
/// );
/// ```
///
/// Questions whose answer is no tensor, such as [`shape`](Self::shape), do answer a `Result`, and
/// [`check`](Self::check) turns a tensor into one. A fault in a tensor that does not reach the loss
/// changes nothing, as its value would not.
///
/// # Arithmetic
///
/// `+ - * /` work between tensors and with numbers (`f32`), owned or borrowed, as does unary `-`;
/// `+=` adds up. Cloning shares the tensor and costs nothing on the device.
#[derive(Clone)]
pub struct Tensor(Result<Rc<Handle>, Rc<Fault>>);

impl Tensor {
    /// Floats from the plugin, row-major; an empty shape makes a scalar of one element. No gradient
    /// passes.
    pub fn from_f32(data: &[f32], shape: &[u32]) -> Self {
        Self::from_answer(host::tensors::from_f32(data, shape))
    }

    /// This tensor, or the fault that it carries.
    ///
    /// # Errors
    ///
    /// The fault.
    pub fn check(self) -> Result<Self, Fault> {
        match self.0 {
            Ok(handle) => Ok(Self(Ok(handle))),
            Err(fault) => Err(Rc::unwrap_or_clone(fault)),
        }
    }

    /// Sizes of the dimensions, outermost first; empty for a scalar. Costs no work of the device.
    ///
    /// # Errors
    ///
    /// The fault that the tensor carries.
    pub fn shape(&self) -> Result<Vec<u32>, Fault> {
        Ok(self.handle()?.shape())
    }

    /// What the elements are.
    ///
    /// # Errors
    ///
    /// The fault that the tensor carries.
    pub fn element_type(&self) -> Result<ElementType, Fault> {
        Ok(self.handle()?.element_type())
    }

    /// All elements in row-major order; class ids are given as floats. Waits for the device, needs
    /// the grant `read-back` in the experiment, and is counted in the record of the run.
    ///
    /// # Errors
    ///
    /// The fault that the tensor carries, or a fault of the device.
    pub fn read_with_sync(&self) -> Result<Vec<f32>, Fault> {
        host::readback::read_with_sync(self.handle()?)
    }

    /// `scale * self + shift`. Gradient: `g * scale`.
    pub fn affine(&self, scale: f32, shift: f32) -> Self {
        self.one(|tensor| tensor.affine(scale, shift))
    }

    /// `self ^ exponent`. Gradient: `g * exponent * self ^ (exponent - 1)`.
    pub fn powf(&self, exponent: f32) -> Self {
        self.one(|tensor| tensor.powf(exponent))
    }

    /// `e ^ self`. Gradient: `g * e ^ self`.
    pub fn exp(&self) -> Self {
        self.one(Handle::exp)
    }

    /// Natural logarithm. Gradient: `g / self`.
    pub fn log(&self) -> Self {
        self.one(Handle::log)
    }

    /// Absolute value. Gradient: `g * sign(self)`.
    pub fn abs(&self) -> Self {
        self.one(Handle::abs)
    }

    /// Limited to [minimum, maximum]. Gradient: `g` inside the bounds, 0 outside.
    pub fn clamp(&self, minimum: f32, maximum: f32) -> Self {
        self.one(|tensor| tensor.clamp(minimum, maximum))
    }

    /// Logarithm of the softmax over `dim`, stable for large inputs.
    /// Gradient: `g - softmax(self) * sum(g, dim)`.
    pub fn log_softmax(&self, dim: i32) -> Self {
        self.one(|tensor| tensor.log_softmax(dim))
    }

    /// Logarithm of the logistic function, stable for large inputs.
    /// Gradient: `g * logistic(-self)`.
    pub fn log_sigmoid(&self) -> Self {
        self.one(Handle::log_sigmoid)
    }

    /// Sum over `dims`, which stay with size 1; an empty list sums everything to a scalar.
    /// Gradient: `g`, stretched.
    pub fn sum(&self, dims: &[i32]) -> Self {
        self.one(|tensor| tensor.sum(dims))
    }

    /// Matrix product of the last two dimensions; the dimensions before them broadcast.
    /// Gradients: `g . other^T`, `self^T . g`.
    pub fn matmul(&self, other: &Self) -> Self {
        self.two(other, Handle::matmul)
    }

    /// Two dimensions exchanged. Gradient: `g`, exchanged back.
    pub fn transpose(&self, first: i32, second: i32) -> Self {
        self.one(|tensor| tensor.transpose(first, second))
    }

    /// The same elements in another shape of the same size; an empty list makes a scalar of one
    /// element. Gradient: `g` in the old shape.
    pub fn reshape(&self, shape: &[u32]) -> Self {
        self.one(|tensor| tensor.reshape(shape))
    }

    /// The elements `range` of `dim`. Gradient: `g`, with zeros elsewhere.
    pub fn slice(&self, dim: i32, range: Range<u32>) -> Self {
        self.one(|tensor| tensor.slice(dim, range.start, range.end))
    }

    /// Class ids of shape [..] as floats of shape [.., classes]; an id that is no class gives a row
    /// of zeros. No gradient passes.
    pub fn one_hot(&self, classes: u32) -> Self {
        self.one(|tensor| tensor.one_hot(classes))
    }

    /// 1 where `self > threshold`, 0 elsewhere, as floats. No gradient passes.
    pub fn greater(&self, threshold: f32) -> Self {
        self.one(|tensor| tensor.greater(threshold))
    }

    /// Index of the largest element of `dim`, which stays with size 1; class ids. Ties give the
    /// first. No gradient passes.
    pub fn argmax(&self, dim: i32) -> Self {
        self.one(|tensor| tensor.argmax(dim))
    }

    /// The same values, cut off: no gradient passes.
    pub fn detach(&self) -> Self {
        self.one(Handle::detach)
    }

    pub(crate) fn from_answer(answer: Result<Handle, Fault>) -> Self {
        Self(answer.map(Rc::new).map_err(Rc::new))
    }

    pub(crate) fn handle(&self) -> Result<&Handle, Fault> {
        match &self.0 {
            Ok(handle) => Ok(handle),
            Err(fault) => Err(fault.as_ref().clone()),
        }
    }

    /// The handle for the host, which takes it over.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_handle(self) -> Result<Handle, Fault> {
        let handle = self.0.map_err(Rc::unwrap_or_clone)?;
        // A clone that the hook has kept has the handle of its own; this one gets another, which
        // costs no work of the device.
        Rc::try_unwrap(handle).or_else(|shared| shared.reshape(&shared.shape()))
    }

    fn one(&self, operation: impl FnOnce(&Handle) -> Result<Handle, Fault>) -> Self {
        match &self.0 {
            Ok(handle) => Self::from_answer(operation(handle)),
            Err(fault) => Self(Err(Rc::clone(fault))),
        }
    }

    fn two(
        &self,
        other: &Self,
        operation: impl FnOnce(&Handle, &Handle) -> Result<Handle, Fault>,
    ) -> Self {
        match (&self.0, &other.0) {
            (Ok(left), Ok(right)) => Self::from_answer(operation(left, right)),
            (Err(fault), _) | (_, Err(fault)) => Self(Err(Rc::clone(fault))),
        }
    }
}

/// A tensor that carries `fault`, for functions that answer a tensor and refuse their arguments.
impl From<Fault> for Tensor {
    fn from(fault: Fault) -> Self {
        Self(Err(Rc::new(fault)))
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(handle) => write!(formatter, "Tensor{:?}", handle.shape()),
            Err(fault) => write!(formatter, "Tensor({:?})", fault.message),
        }
    }
}

#[cfg(test)]
mod tests;
