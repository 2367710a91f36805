//! A tensor whose shape is a value, and its ways in and out.

use std::fmt;

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::{DType, Dispatch, DispatchTensor, TensorMetadata};
use burn::tensor::{Device, FloatDType, Int, Shape, Tensor, TensorData};

use super::{TensorError, shape};
use crate::device::{count_read, count_upload};

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit floats.
    Float,
    /// Integers that number classes; no gradient passes through them.
    ClassId,
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Float => "float",
            Self::ClassId => "class id",
        })
    }
}

/// A tensor of any rank from 0 to [`RANK_MAX`](super::RANK_MAX) on any device.
///
/// Cloning shares the elements. The tensor library has no scalars; a scalar is kept there with
/// the shape `[1]` and has the shape `[]` towards everybody else.
#[derive(Clone, Debug)]
pub struct AnyTensor {
    pub(super) primitive: DispatchTensor,
    pub(super) shape: Vec<usize>,
    pub(super) element_type: ElementType,
}

impl AnyTensor {
    /// Floats of any rank; other float types are converted to 32 bits.
    ///
    /// # Errors
    ///
    /// The tensor is empty, or it has more than [`RANK_MAX`](super::RANK_MAX) dimensions.
    pub fn from_tensor<const D: usize>(tensor: Tensor<D>) -> Result<Self, TensorError> {
        let shape = shape::checked("from_tensor", tensor.dims().to_vec())?;
        let mut primitive = tensor.into_dispatch();
        if primitive.dtype() != DType::F32 {
            primitive = Dispatch::float_cast(primitive, FloatDType::F32);
        }
        Ok(Self {
            primitive,
            shape,
            element_type: ElementType::Float,
        })
    }

    /// Class ids of any rank, usually `[pictures]`.
    ///
    /// # Errors
    ///
    /// The tensor is empty, or it has more than [`RANK_MAX`](super::RANK_MAX) dimensions.
    pub fn from_ids<const D: usize>(ids: Tensor<D, Int>) -> Result<Self, TensorError> {
        Ok(Self {
            shape: shape::checked("from_ids", ids.dims().to_vec())?,
            primitive: ids.into_dispatch(),
            element_type: ElementType::ClassId,
        })
    }

    /// The shape that `values` numbers would get by [`Self::from_values`].
    ///
    /// # Errors
    ///
    /// As [`Self::from_values`].
    pub fn check_values(values: usize, shape: &[usize]) -> Result<(), TensorError> {
        let shape = shape::checked("from_f32", shape.to_vec())?;
        if shape::elements(&shape) == values {
            Ok(())
        } else {
            Err(TensorError::Data { values, shape })
        }
    }

    /// Floats in row-major order on the device of this tensor; no gradient passes to them.
    ///
    /// # Errors
    ///
    /// The shape is not allowed, or it has another number of elements than `values`.
    pub fn from_values(&self, values: Vec<f32>, shape: &[usize]) -> Result<Self, TensorError> {
        Self::check_values(values.len(), shape)?;
        count_upload(size_of_val(values.as_slice()));
        let data = TensorData::new(values, physical(shape));
        Ok(Self {
            primitive: Dispatch::float_from_data(data, &self.primitive.device()),
            shape: shape.to_vec(),
            element_type: ElementType::Float,
        })
    }

    /// Numbers in row-major order on the CPU, where operations are recorded for differentiation as
    /// they are in training; class ids lose their fractions.
    ///
    /// # Errors
    ///
    /// As [`Self::from_values`].
    pub fn on_cpu(
        values: Vec<f32>,
        shape: &[usize],
        element_type: ElementType,
    ) -> Result<Self, TensorError> {
        Self::check_values(values.len(), shape)?;
        let device = Device::flex().autodiff();
        let count = values.len();
        let flat = match element_type {
            ElementType::Float => Self::from_tensor(Tensor::<1>::from_data(
                TensorData::new(values, [count]),
                &device,
            )),
            ElementType::ClassId => {
                let ids: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
                let ids = TensorData::new(ids, [count]);
                Self::from_ids(Tensor::<1, Int>::from_data(ids, &device))
            }
        }?;
        Ok(flat.reshaped(shape.to_vec()))
    }

    /// The only element, shape `[1]`, still connected to what it was computed from.
    ///
    /// # Errors
    ///
    /// The tensor has more than one element, or it holds class ids.
    pub fn into_scalar_tensor(self) -> Result<Tensor<1>, TensorError> {
        if shape::elements(&self.shape) != 1 {
            return Err(TensorError::NotScalar { shape: self.shape });
        }
        self.require("into_scalar_tensor", ElementType::Float)?;
        Ok(Tensor::from_dispatch(self.reshaped(vec![1]).primitive))
    }

    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the elements are.
    pub const fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Bytes of the elements on the device.
    pub fn size_bytes(&self) -> usize {
        shape::elements(&self.shape) * self.primitive.dtype().size()
    }

    /// All elements in row-major order, class ids as floats. Waits for the device.
    ///
    /// # Errors
    ///
    /// The device reports an error, of this or of an earlier operation.
    pub fn read(&self) -> Result<Vec<f32>, TensorError> {
        let primitive = self
            .clone()
            .reshaped(vec![shape::elements(&self.shape)])
            .primitive;
        count_read();
        let data = match self.element_type {
            ElementType::Float => Tensor::<1>::from_dispatch(primitive).try_into_data(),
            ElementType::ClassId => Tensor::<1, Int>::from_dispatch(primitive).try_into_data(),
        }
        .map_err(|error| TensorError::Read {
            reason: format!("{error:?}"),
        })?;
        Ok(data.iter::<f32>().collect())
    }

    /// Refuses elements of another type than `wanted`.
    pub(super) fn require(
        &self,
        operation: &'static str,
        wanted: ElementType,
    ) -> Result<(), TensorError> {
        if self.element_type == wanted {
            Ok(())
        } else {
            Err(TensorError::ElementType {
                operation,
                found: self.element_type,
                wanted,
            })
        }
    }

    /// The same elements in a shape that was checked.
    pub(super) fn reshaped(self, shape: Vec<usize>) -> Self {
        let from = physical(&self.shape);
        let to = physical(&shape);
        let primitive = if from == to {
            self.primitive
        } else {
            match self.element_type {
                ElementType::Float => Dispatch::float_reshape(self.primitive, Shape::from(to)),
                ElementType::ClassId => Dispatch::int_reshape(self.primitive, Shape::from(to)),
            }
        };
        Self {
            primitive,
            shape,
            element_type: self.element_type,
        }
    }
}

/// The shape that the tensor library gets: a scalar has one dimension there.
pub(super) fn physical(shape: &[usize]) -> Vec<usize> {
    if shape.is_empty() {
        vec![1]
    } else {
        shape.to_vec()
    }
}
