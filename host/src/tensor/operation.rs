//! The operations: checked first, then run.
//!
//! [`AnyTensor::prepare`] decides everything that can go wrong and says how large the result will
//! be, so that a caller can refuse it before any memory is taken; [`Prepared::run`] cannot fail.

use burn::backend::ops::{ActivationOps, BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::{Dispatch, DispatchTensor, TensorMetadata};
use burn::tensor::{Device, DeviceSettings, FloatDType, IntDType, Shape, Slice};

use super::any::physical;
use super::{AnyTensor, ElementType, TensorError, shape};

/// Exponents beyond this magnitude give 0, 1 or infinity for every float.
const EXPONENT_MAX: f32 = 1e9;

/// What is computed from a tensor. A negative dimension counts from the end.
#[derive(Clone, Debug)]
pub enum Operation<'a> {
    /// `self + other`, broadcast.
    Add(&'a AnyTensor),
    /// `self - other`, broadcast.
    Sub(&'a AnyTensor),
    /// `self * other`, broadcast.
    Mul(&'a AnyTensor),
    /// `self / other`, broadcast.
    Div(&'a AnyTensor),
    /// `scale * self + shift`.
    Affine {
        /// The factor.
        scale: f32,
        /// The summand.
        shift: f32,
    },
    /// `self ^ exponent`.
    Powf(f32),
    /// `e ^ self`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Absolute value.
    Abs,
    /// Limited to a range; the gradient is 0 outside.
    Clamp {
        /// The lower bound.
        minimum: f32,
        /// The upper bound.
        maximum: f32,
    },
    /// Logarithm of the softmax over a dimension.
    LogSoftmax(i32),
    /// Logarithm of the logistic function.
    LogSigmoid,
    /// Sum over dimensions, which stay with size 1; of everything when the list is empty.
    Sum(&'a [i32]),
    /// Matrix product of the last two dimensions; those before them broadcast.
    Matmul(&'a AnyTensor),
    /// Two dimensions exchanged.
    Transpose(i32, i32),
    /// The same elements in another shape.
    Reshape(&'a [usize]),
    /// A range of one dimension.
    Slice {
        /// The dimension.
        dim: i32,
        /// The first element.
        start: u32,
        /// One after the last element.
        end: u32,
    },
    /// Class ids as rows with a single 1; a row of zeros for an id that is no class.
    OneHot(u32),
    /// 1 where `self > threshold`, 0 elsewhere.
    Greater(f32),
    /// Index of the largest element of a dimension, which stays with size 1.
    Argmax(i32),
    /// The same values without a gradient.
    Detach,
}

/// An operation that was checked and waits to be run.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    input: &'a AnyTensor,
    operation: Operation<'a>,
    shape: Vec<usize>,
    element_type: ElementType,
    /// Positions from 0 of the dimensions that the operation names.
    dims: Vec<usize>,
}

impl Operation<'_> {
    /// Whether a gradient of the result is one of the operands.
    pub const fn passes_gradient(&self) -> bool {
        !matches!(
            self,
            Self::OneHot(_) | Self::Greater(_) | Self::Argmax(_) | Self::Detach
        )
    }

    /// The name as the plugin contract writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Sub(_) => "sub",
            Self::Mul(_) => "mul",
            Self::Div(_) => "div",
            Self::Affine { .. } => "affine",
            Self::Powf(_) => "powf",
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Abs => "abs",
            Self::Clamp { .. } => "clamp",
            Self::LogSoftmax(_) => "log-softmax",
            Self::LogSigmoid => "log-sigmoid",
            Self::Sum(_) => "sum",
            Self::Matmul(_) => "matmul",
            Self::Transpose(..) => "transpose",
            Self::Reshape(_) => "reshape",
            Self::Slice { .. } => "slice",
            Self::OneHot(_) => "one-hot",
            Self::Greater(_) => "greater",
            Self::Argmax(_) => "argmax",
            Self::Detach => "detach",
        }
    }
}

impl AnyTensor {
    /// Checks an operation and answers what it would give.
    ///
    /// # Errors
    ///
    /// Shapes, dimensions, numbers or element types do not fit; see [`TensorError`].
    pub fn prepare<'a>(&'a self, operation: Operation<'a>) -> Result<Prepared<'a>, TensorError> {
        let name = operation.name();
        let own = self.shape();
        let position = |dim| shape::position(name, dim, own);
        let mut dims = Vec::new();
        let mut element_type = ElementType::Float;
        let shape = match &operation {
            Operation::Add(other)
            | Operation::Sub(other)
            | Operation::Mul(other)
            | Operation::Div(other) => {
                self.require(name, ElementType::Float)?;
                other.require(name, ElementType::Float)?;
                shape::broadcast(own, other.shape()).ok_or_else(|| TensorError::Broadcast {
                    operation: name,
                    left: own.to_vec(),
                    right: other.shape().to_vec(),
                })?
            }
            Operation::Affine { scale, shift } => {
                self.require(name, ElementType::Float)?;
                finite(name, "scale", *scale)?;
                finite(name, "shift", *shift)?;
                own.to_vec()
            }
            Operation::Powf(exponent) => {
                self.require(name, ElementType::Float)?;
                if exponent.is_nan() || exponent.abs() > EXPONENT_MAX {
                    return Err(argument(
                        name,
                        "exponent",
                        *exponent,
                        "a number from -1e9 to 1e9 is needed",
                    ));
                }
                own.to_vec()
            }
            Operation::Exp | Operation::Log | Operation::Abs | Operation::LogSigmoid => {
                self.require(name, ElementType::Float)?;
                own.to_vec()
            }
            Operation::Clamp { minimum, maximum } => {
                self.require(name, ElementType::Float)?;
                not_nan(name, "minimum", *minimum)?;
                not_nan(name, "maximum", *maximum)?;
                if minimum > maximum {
                    return Err(argument(
                        name,
                        "minimum",
                        *minimum,
                        "it must not be above the maximum",
                    ));
                }
                own.to_vec()
            }
            Operation::LogSoftmax(dim) => {
                self.require(name, ElementType::Float)?;
                dims.push(position(*dim)?);
                own.to_vec()
            }
            Operation::Sum(given) => {
                self.require(name, ElementType::Float)?;
                let mut shape = own.to_vec();
                for &dim in *given {
                    let dim = position(dim)?;
                    if dims.contains(&dim) {
                        return Err(TensorError::Repeated {
                            operation: name,
                            dim,
                        });
                    }
                    dims.push(dim);
                    shape[dim] = 1;
                }
                if given.is_empty() { Vec::new() } else { shape }
            }
            Operation::Matmul(other) => {
                self.require(name, ElementType::Float)?;
                other.require(name, ElementType::Float)?;
                product(own, other.shape())?
            }
            Operation::Transpose(first, second) => {
                element_type = self.element_type;
                dims = vec![position(*first)?, position(*second)?];
                let mut shape = own.to_vec();
                shape.swap(dims[0], dims[1]);
                shape
            }
            Operation::Reshape(given) => {
                element_type = self.element_type;
                let shape = shape::checked(name, given.to_vec())?;
                if shape::elements(&shape) != shape::elements(own) {
                    return Err(TensorError::Reshape {
                        from: own.to_vec(),
                        to: shape,
                    });
                }
                shape
            }
            &Operation::Slice { dim, start, end } => {
                element_type = self.element_type;
                let dim = position(dim)?;
                let size = own[dim];
                if start >= end || end as usize > size {
                    return Err(TensorError::Range { start, end, size });
                }
                dims.push(dim);
                let mut shape = own.to_vec();
                shape[dim] = (end - start) as usize;
                shape
            }
            Operation::OneHot(classes) => {
                self.require(name, ElementType::ClassId)?;
                let mut shape = own.to_vec();
                shape.push(*classes as usize);
                shape
            }
            Operation::Greater(threshold) => {
                self.require(name, ElementType::Float)?;
                not_nan(name, "threshold", *threshold)?;
                own.to_vec()
            }
            Operation::Argmax(dim) => {
                self.require(name, ElementType::Float)?;
                element_type = ElementType::ClassId;
                let dim = position(*dim)?;
                dims.push(dim);
                let mut shape = own.to_vec();
                shape[dim] = 1;
                shape
            }
            Operation::Detach => {
                element_type = self.element_type;
                own.to_vec()
            }
        };
        Ok(Prepared {
            input: self,
            shape: shape::checked(name, shape)?,
            operation,
            element_type,
            dims,
        })
    }

    /// Checks an operation and runs it.
    ///
    /// # Errors
    ///
    /// As [`Self::prepare`].
    pub fn apply(&self, operation: Operation<'_>) -> Result<Self, TensorError> {
        Ok(self.prepare(operation)?.run())
    }
}

impl Prepared<'_> {
    /// The shape of the result.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of the result on the device; class ids are counted with 8 bytes each, also those that
    /// `one-hot` makes on the way.
    pub fn size_bytes(&self) -> usize {
        let each = match self.element_type {
            ElementType::Float => size_of::<f32>(),
            ElementType::ClassId => size_of::<i64>(),
        };
        let result = shape::elements(&self.shape) * each;
        // The numbers of the classes, to which the ids are compared, are as many for few ids.
        match self.operation {
            Operation::OneHot(classes) => result + classes as usize * size_of::<i64>(),
            _ => result,
        }
    }

    /// Elements that the operation reads and writes, and multiply-adds of a matrix product.
    pub fn work(&self) -> u64 {
        let elements = |shape: &[usize]| shape::elements(shape) as u64;
        let result = elements(&self.shape);
        let own = elements(self.input.shape());
        match &self.operation {
            Operation::Matmul(_) => {
                // The two last dimensions are there: the operation was checked.
                let inner = self.input.shape().last().copied().unwrap_or(1);
                result.saturating_mul(inner as u64)
            }
            Operation::Add(other)
            | Operation::Sub(other)
            | Operation::Mul(other)
            | Operation::Div(other) => result + own + elements(other.shape()),
            _ => result + own,
        }
    }

    /// Runs the operation on the device.
    pub fn run(self) -> AnyTensor {
        let input = self.input;
        let primitive = match self.operation {
            Operation::Reshape(_) => return input.clone().reshaped(self.shape),
            Operation::Add(other) => self.pair(other, Dispatch::float_add),
            Operation::Sub(other) => self.pair(other, Dispatch::float_sub),
            Operation::Mul(other) => self.pair(other, Dispatch::float_mul),
            Operation::Div(other) => self.pair(other, Dispatch::float_div),
            Operation::Matmul(other) => self.pair(other, Dispatch::float_matmul),
            Operation::Affine { scale, shift } => {
                let scaled = Dispatch::float_mul_scalar(input.primitive.clone(), scale.into());
                Dispatch::float_add_scalar(scaled, shift.into())
            }
            Operation::Powf(exponent) => {
                Dispatch::float_powf_scalar(input.primitive.clone(), exponent.into())
            }
            Operation::Exp => Dispatch::float_exp(input.primitive.clone()),
            Operation::Log => Dispatch::float_log(input.primitive.clone()),
            Operation::Abs => Dispatch::float_abs(input.primitive.clone()),
            Operation::Clamp { minimum, maximum } => {
                Dispatch::float_clamp(input.primitive.clone(), minimum.into(), maximum.into())
            }
            Operation::LogSoftmax(_) => {
                Dispatch::log_softmax(input.primitive.clone(), self.dims[0])
            }
            Operation::LogSigmoid => Dispatch::log_sigmoid(input.primitive.clone()),
            Operation::Sum([]) => Dispatch::float_sum(input.primitive.clone()),
            Operation::Sum(_) => self.dims.iter().fold(input.primitive.clone(), |sum, &dim| {
                Dispatch::float_sum_dim(sum, dim)
            }),
            Operation::Transpose(..) => {
                let (tensor, first, second) = (input.primitive.clone(), self.dims[0], self.dims[1]);
                match input.element_type {
                    ElementType::Float => Dispatch::float_swap_dims(tensor, first, second),
                    ElementType::ClassId => Dispatch::int_swap_dims(tensor, first, second),
                }
            }
            Operation::Slice { start, end, .. } => {
                let slices: Vec<Slice> = input
                    .shape
                    .iter()
                    .enumerate()
                    .map(|(dim, &size)| {
                        let (start, end) = if dim == self.dims[0] {
                            (start as isize, end as isize)
                        } else {
                            (0, size as isize)
                        };
                        Slice::new(start, Some(end), 1)
                    })
                    .collect();
                let tensor = input.primitive.clone();
                match input.element_type {
                    ElementType::Float => Dispatch::float_slice(tensor, &slices),
                    ElementType::ClassId => Dispatch::int_slice(tensor, &slices),
                }
            }
            Operation::OneHot(classes) => one_hot(input, classes),
            Operation::Greater(threshold) => {
                let greater = Dispatch::float_greater_elem(
                    input.primitive.clone(),
                    threshold.into(),
                    settings(&input.primitive).bool_dtype,
                );
                Dispatch::bool_into_float(greater, FloatDType::F32)
            }
            Operation::Argmax(_) => Dispatch::float_argmax(
                Dispatch::float_detach(input.primitive.clone()),
                self.dims[0],
                settings(&input.primitive).int_dtype,
            ),
            Operation::Detach => match input.element_type {
                ElementType::Float => Dispatch::float_detach(input.primitive.clone()),
                ElementType::ClassId => input.primitive.clone(),
            },
        };
        AnyTensor {
            primitive,
            shape: self.shape,
            element_type: self.element_type,
        }
    }

    /// Runs `operation` on the input and `other`, both with the rank of the result.
    fn pair(
        &self,
        other: &AnyTensor,
        operation: fn(DispatchTensor, DispatchTensor) -> DispatchTensor,
    ) -> DispatchTensor {
        let rank = self.shape.len();
        let align = |tensor: &AnyTensor| {
            let shape = shape::padded(tensor.shape(), rank);
            tensor.clone().reshaped(shape).primitive
        };
        operation(align(self.input), align(other))
    }
}

/// The shape of the matrix product of two shapes.
fn product(left: &[usize], right: &[usize]) -> Result<Vec<usize>, TensorError> {
    let error = || TensorError::MatrixProduct {
        left: left.to_vec(),
        right: right.to_vec(),
    };
    let ([left_batch @ .., rows, inner], [right_batch @ .., other_inner, columns]) = (left, right)
    else {
        return Err(error());
    };
    if inner != other_inner {
        return Err(error());
    }
    let mut shape = shape::broadcast(left_batch, right_batch).ok_or_else(error)?;
    shape.extend([*rows, *columns]);
    Ok(shape)
}

/// 1 where an id equals the position in the last dimension, 0 elsewhere.
fn one_hot(ids: &AnyTensor, classes: u32) -> DispatchTensor {
    let mut with_classes = ids.shape.clone();
    with_classes.push(1);
    // The numbering has the rank of the result: [1, .., classes].
    let mut numbering = vec![1; ids.shape.len()];
    numbering.push(classes as usize);
    let ids = ids.clone().reshaped(with_classes).primitive;
    let numbers = Dispatch::int_arange(
        0..i64::from(classes),
        &ids.device(),
        IntDType::from(ids.dtype()),
    );
    let numbers = Dispatch::int_reshape(numbers, Shape::from(physical(&numbering)));
    let bool_dtype = settings(&ids).bool_dtype;
    Dispatch::bool_into_float(
        Dispatch::int_equal(ids, numbers, bool_dtype),
        FloatDType::F32,
    )
}

fn settings(tensor: &DispatchTensor) -> DeviceSettings {
    Device::new(tensor.device()).settings()
}

fn argument(
    operation: &'static str,
    argument: &'static str,
    value: f32,
    allowed: &'static str,
) -> TensorError {
    TensorError::Argument {
        operation,
        argument,
        value: value.into(),
        allowed,
    }
}

fn finite(operation: &'static str, name: &'static str, value: f32) -> Result<(), TensorError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(argument(
            operation,
            name,
            value,
            "a finite number is needed",
        ))
    }
}

fn not_nan(operation: &'static str, name: &'static str, value: f32) -> Result<(), TensorError> {
    if value.is_nan() {
        Err(argument(operation, name, value, "a number is needed"))
    } else {
        Ok(())
    }
}
