//! What losses are made of, composed from the operations of the contract.
//!
//! Their gradients follow from those of the operations. None of them reads a number back.

use crate::{Fault, Tensor};

impl Tensor {
    /// Mean over `dims`, which stay with size 1; an empty list averages everything to a scalar.
    pub fn mean(&self, dims: &[i32]) -> Self {
        let sum = self.sum(dims);
        match (self.elements(), sum.elements()) {
            (Ok(all), Ok(kept)) => sum.affine((kept / all) as f32, 0.0),
            _ => sum,
        }
    }

    /// Softmax over `dim`, stable for large inputs.
    pub fn softmax(&self, dim: i32) -> Self {
        self.log_softmax(dim).exp()
    }

    /// `log(sum(e ^ self))` over `dim`, which stays with size 1; stable for large finite inputs.
    ///
    /// It is the mean of `self - log_softmax(self)`, whose elements are all equal, weighted with the
    /// softmax: so the rounding of elements that hardly count does not count.
    pub fn logsumexp(&self, dim: i32) -> Self {
        let log_softmax = self.log_softmax(dim);
        let weights = log_softmax.exp().detach();
        ((self - log_softmax) * weights).sum(&[dim])
    }

    /// The logistic function `1 / (1 + e ^ -self)`, stable for large inputs.
    pub fn sigmoid(&self) -> Self {
        self.log_sigmoid().exp()
    }

    /// The larger one of the element and 0. The gradient is 0 below 0.
    pub fn relu(&self) -> Self {
        self.clamp(0.0, f32::INFINITY)
    }

    /// `self * self`.
    pub fn square(&self) -> Self {
        self * self
    }

    /// Square root; its gradient at 0 is infinite.
    pub fn sqrt(&self) -> Self {
        self.powf(0.5)
    }

    /// Mean squared error: the mean over all elements of `(self - other)^2`, a scalar.
    pub fn mse(&self, other: &Self) -> Self {
        (self - other).square().mean(&[])
    }

    /// The element of the given class in every row: of shape [.., classes] with class ids of shape
    /// [..], the result has shape [.., 1].
    pub fn gather_class(&self, class_ids: &Self) -> Self {
        match self.shape().as_deref() {
            Ok([.., classes]) => (self * class_ids.one_hot(*classes)).sum(&[-1]),
            Ok([]) => Fault::shape("`gather_class` needs a last dimension of classes").into(),
            Err(fault) => fault.clone().into(),
        }
    }

    /// Targets with the share `smoothing` of every row spread over all classes, for rows that sum
    /// to 1: `(1 - smoothing) * self + smoothing / classes` (Szegedy et al. 2016, section 7).
    pub fn smoothed(&self, smoothing: f32) -> Self {
        match self.shape().as_deref() {
            Ok([.., classes]) => self.affine(1.0 - smoothing, smoothing / *classes as f32),
            Ok([]) => Fault::shape("`smoothed` needs a last dimension of classes").into(),
            Err(fault) => fault.clone().into(),
        }
    }

    /// Cross-entropy of these logits: the mean over the rows of
    /// `-sum(targets * log_softmax(self))`, a scalar. Both have the shape [.., classes];
    /// [`Inputs::targets`](crate::Inputs::targets) gives hard and soft targets alike.
    pub fn cross_entropy(&self, targets: &Self) -> Self {
        let sum = (self.log_softmax(-1) * targets).sum(&[]);
        match self.shape().as_deref() {
            Ok([rows @ .., _]) => {
                let rows: f64 = rows.iter().copied().map(f64::from).product();
                sum.affine((-1.0 / rows) as f32, 0.0)
            }
            _ => sum,
        }
    }

    fn elements(&self) -> Result<f64, Fault> {
        Ok(self.shape()?.into_iter().map(f64::from).product())
    }
}
