//! The operations of the contract on numbers in memory.
//!
//! Values are 64-bit floats, so that differences of losses are precise enough for gradients; the
//! host computes with 32 bits. Faults have the codes and the words of the host.

use super::shape::{broadcast, checked, places, position, strided};
use super::world::World;
use crate::{ElementType, Fault, FaultCode};

/// Exponents beyond this magnitude give 0, 1 or infinity for every float.
const EXPONENT_MAX: f32 = 1e9;

/// Values with a shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    /// Row-major; class ids as whole numbers.
    pub(crate) values: Vec<f64>,
    pub(crate) element_type: ElementType,
}

pub(crate) fn from_f32(data: &[f32], shape: &[u32]) -> Result<Tensor, Fault> {
    let shape = checked("from_f32", sizes(shape))?;
    if shape.iter().product::<usize>() != data.len() {
        return Err(Fault::shape(format!(
            "{} values do not fill the shape {shape:?} (give one value for every element)",
            data.len()
        )));
    }
    Ok(Tensor::floats(
        shape,
        data.iter().copied().map(f64::from).collect(),
    ))
}

impl Tensor {
    pub(crate) const fn floats(shape: Vec<usize>, values: Vec<f64>) -> Self {
        Self {
            shape,
            values,
            element_type: ElementType::Float,
        }
    }

    pub(crate) fn shape(&self) -> Vec<u32> {
        self.shape.iter().map(|&size| size as u32).collect()
    }

    pub(crate) const fn element_type(&self) -> ElementType {
        self.element_type
    }

    pub(crate) fn add(&self, other: &Self) -> Result<Self, Fault> {
        self.pair("add", other, |left, right| left + right)
    }

    pub(crate) fn sub(&self, other: &Self) -> Result<Self, Fault> {
        self.pair("sub", other, |left, right| left - right)
    }

    pub(crate) fn mul(&self, other: &Self) -> Result<Self, Fault> {
        self.pair("mul", other, |left, right| left * right)
    }

    pub(crate) fn div(&self, other: &Self) -> Result<Self, Fault> {
        self.pair("div", other, |left, right| left / right)
    }

    pub(crate) fn affine(&self, scale: f32, shift: f32) -> Result<Self, Fault> {
        self.require("affine", ElementType::Float)?;
        for (name, value) in [("scale", scale), ("shift", shift)] {
            if !value.is_finite() {
                return Err(argument("affine", name, value, "a finite number is needed"));
            }
        }
        self.each("affine", |value| {
            f64::from(scale) * value + f64::from(shift)
        })
    }

    pub(crate) fn powf(&self, exponent: f32) -> Result<Self, Fault> {
        self.require("powf", ElementType::Float)?;
        if exponent.is_nan() || exponent.abs() > EXPONENT_MAX {
            let allowed = "a number from -1e9 to 1e9 is needed";
            return Err(argument("powf", "exponent", exponent, allowed));
        }
        self.each("powf", |value| value.powf(exponent.into()))
    }

    pub(crate) fn exp(&self) -> Result<Self, Fault> {
        self.each("exp", f64::exp)
    }

    pub(crate) fn log(&self) -> Result<Self, Fault> {
        self.each("log", f64::ln)
    }

    pub(crate) fn abs(&self) -> Result<Self, Fault> {
        self.each("abs", f64::abs)
    }

    pub(crate) fn clamp(&self, minimum: f32, maximum: f32) -> Result<Self, Fault> {
        self.require("clamp", ElementType::Float)?;
        for (name, value) in [("minimum", minimum), ("maximum", maximum)] {
            if value.is_nan() {
                return Err(argument("clamp", name, value, "a number is needed"));
            }
        }
        if minimum > maximum {
            let allowed = "it must not be above the maximum";
            return Err(argument("clamp", "minimum", minimum, allowed));
        }
        self.each("clamp", |value| value.clamp(minimum.into(), maximum.into()))
    }

    pub(crate) fn log_softmax(&self, dim: i32) -> Result<Self, Fault> {
        self.require("log-softmax", ElementType::Float)?;
        let dim = position("log-softmax", dim, &self.shape)?;
        let mut result = self.clone();
        for line in self.lines(dim) {
            let largest = line
                .iter()
                .map(|&place| self.values[place])
                .fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = line
                .iter()
                .map(|&place| (self.values[place] - largest).exp())
                .sum();
            for place in line {
                result.values[place] = self.values[place] - largest - sum.ln();
            }
        }
        Ok(result)
    }

    pub(crate) fn log_sigmoid(&self) -> Result<Self, Fault> {
        self.each("log-sigmoid", |value| {
            value.min(0.0) - (-value.abs()).exp().ln_1p()
        })
    }

    pub(crate) fn sum(&self, dims: &[i32]) -> Result<Self, Fault> {
        self.require("sum", ElementType::Float)?;
        if dims.is_empty() {
            return Ok(Self::floats(Vec::new(), vec![self.values.iter().sum()]));
        }
        let mut shape = self.shape.clone();
        let mut named = Vec::new();
        for &dim in dims {
            let dim = position("sum", dim, &self.shape)?;
            if named.contains(&dim) {
                return Err(Fault::shape(format!(
                    "`sum` was given dimension {dim} twice (name each dimension once)"
                )));
            }
            named.push(dim);
            shape[dim] = 1;
        }
        let mut values = vec![0.0; shape.iter().product()];
        for (place, value) in places(&shape, &self.shape).into_iter().zip(&self.values) {
            values[place] += value;
        }
        Ok(Self::floats(shape, values))
    }

    pub(crate) fn matmul(&self, other: &Self) -> Result<Self, Fault> {
        self.require("matmul", ElementType::Float)?;
        other.require("matmul", ElementType::Float)?;
        let refuse = || {
            Fault::shape(format!(
                "`matmul` does not fit the shapes {:?} and {:?} (it needs [.., m, k] and [.., k, n])",
                self.shape, other.shape
            ))
        };
        let ([left_batch @ .., rows, inner], [right_batch @ .., other_inner, columns]) =
            (&self.shape[..], &other.shape[..])
        else {
            return Err(refuse());
        };
        if inner != other_inner {
            return Err(refuse());
        }
        let mut shape = broadcast(left_batch, right_batch).ok_or_else(refuse)?;
        let batches = places(left_batch, &shape)
            .into_iter()
            .zip(places(right_batch, &shape));
        let mut values = Vec::new();
        for (left, right) in batches {
            for row in 0..*rows {
                for column in 0..*columns {
                    let products = (0..*inner).map(|index| {
                        self.values[(left * rows + row) * inner + index]
                            * other.values[(right * inner + index) * columns + column]
                    });
                    values.push(products.sum());
                }
            }
        }
        shape.extend([*rows, *columns]);
        Ok(Self::floats(checked("matmul", shape)?, values))
    }

    pub(crate) fn transpose(&self, first: i32, second: i32) -> Result<Self, Fault> {
        let first = position("transpose", first, &self.shape)?;
        let second = position("transpose", second, &self.shape)?;
        let mut shape = self.shape.clone();
        let mut strides = strides(&shape);
        shape.swap(first, second);
        strides.swap(first, second);
        Ok(self.picked(shape.clone(), strided(&shape, &strides)))
    }

    pub(crate) fn reshape(&self, shape: &[u32]) -> Result<Self, Fault> {
        let shape = checked("reshape", sizes(shape))?;
        if shape.iter().product::<usize>() != self.values.len() {
            return Err(Fault::shape(format!(
                "`reshape` cannot turn the shape {:?} into {shape:?} (the number of elements differs)",
                self.shape
            )));
        }
        Ok(Self {
            shape,
            ..self.clone()
        })
    }

    pub(crate) fn slice(&self, dim: i32, start: u32, end: u32) -> Result<Self, Fault> {
        let dim = position("slice", dim, &self.shape)?;
        let size = self.shape[dim];
        if start >= end || end as usize > size {
            return Err(Fault::shape(format!(
                "`slice` was asked for the elements {start} to {end} of a dimension of size {size} \
                 (it needs start < end <= {size})"
            )));
        }
        let strides = strides(&self.shape);
        let mut shape = self.shape.clone();
        shape[dim] = (end - start) as usize;
        let first = start as usize * strides[dim];
        let places = strided(&shape, &strides);
        Ok(self.picked(
            shape,
            places.into_iter().map(|place| place + first).collect(),
        ))
    }

    pub(crate) fn one_hot(&self, classes: u32) -> Result<Self, Fault> {
        self.require("one-hot", ElementType::ClassId)?;
        let mut shape = self.shape.clone();
        shape.push(classes as usize);
        let values = self.values.iter().flat_map(|&id| {
            (0..classes).map(move |class| f64::from(u8::from(f64::from(class) == id)))
        });
        Ok(Self::floats(checked("one-hot", shape)?, values.collect()))
    }

    pub(crate) fn greater(&self, threshold: f32) -> Result<Self, Fault> {
        self.require("greater", ElementType::Float)?;
        if threshold.is_nan() {
            return Err(argument(
                "greater",
                "threshold",
                threshold,
                "a number is needed",
            ));
        }
        let result = self.each("greater", |value| {
            f64::from(u8::from(value > threshold.into()))
        })?;
        Ok(result.constant())
    }

    pub(crate) fn argmax(&self, dim: i32) -> Result<Self, Fault> {
        self.require("argmax", ElementType::Float)?;
        let dim = position("argmax", dim, &self.shape)?;
        let mut shape = self.shape.clone();
        shape[dim] = 1;
        let values = self.lines(dim).into_iter().map(|line| {
            let mut best = 0;
            for (index, &place) in line.iter().enumerate() {
                if self.values[place] > self.values[line[best]] {
                    best = index;
                }
            }
            best as f64
        });
        let result = Self {
            shape,
            values: values.collect(),
            element_type: ElementType::ClassId,
        };
        Ok(result.constant())
    }

    pub(crate) fn detach(&self) -> Result<Self, Fault> {
        Ok(self.clone().constant())
    }

    /// This tensor, to which no gradient passes.
    fn constant(self) -> Self {
        World::with(|world| world.gradients.constant(|| self))
    }

    fn require(&self, operation: &str, wanted: ElementType) -> Result<(), Fault> {
        let name = |element_type| match element_type {
            ElementType::Float => "float",
            ElementType::ClassId => "class id",
        };
        if self.element_type == wanted {
            return Ok(());
        }
        Err(Fault::new(
            FaultCode::ElementType,
            format!(
                "`{operation}` is not defined for elements of type {} (it needs {})",
                name(self.element_type),
                name(wanted)
            ),
        ))
    }

    fn each(&self, operation: &str, compute: impl Fn(f64) -> f64) -> Result<Self, Fault> {
        self.require(operation, ElementType::Float)?;
        let values = self.values.iter().map(|&value| compute(value)).collect();
        Ok(Self::floats(self.shape.clone(), values))
    }

    fn pair(
        &self,
        operation: &str,
        other: &Self,
        compute: impl Fn(f64, f64) -> f64,
    ) -> Result<Self, Fault> {
        self.require(operation, ElementType::Float)?;
        other.require(operation, ElementType::Float)?;
        let shape = broadcast(&self.shape, &other.shape).ok_or_else(|| {
            Fault::shape(format!(
                "`{operation}` does not fit the shapes {:?} and {:?} (aligned at the last dimension, \
                 sizes must be equal or 1)",
                self.shape, other.shape
            ))
        })?;
        let shape = checked(operation, shape)?;
        let values = places(&self.shape, &shape)
            .into_iter()
            .zip(places(&other.shape, &shape))
            .map(|(left, right)| compute(self.values[left], other.values[right]));
        Ok(Self::floats(shape.clone(), values.collect()))
    }

    /// The elements at `places`, in another shape.
    fn picked(&self, shape: Vec<usize>, places: Vec<usize>) -> Self {
        Self {
            shape,
            values: places.into_iter().map(|place| self.values[place]).collect(),
            element_type: self.element_type,
        }
    }

    /// The places of the elements that differ in their index of `dim` alone, for every other index
    /// in row-major order.
    fn lines(&self, dim: usize) -> Vec<Vec<usize>> {
        let strides = strides(&self.shape);
        let mut others = self.shape.clone();
        others[dim] = 1;
        strided(&others, &strides)
            .into_iter()
            .map(|first| {
                (0..self.shape[dim])
                    .map(|index| first + index * strides[dim])
                    .collect()
            })
            .collect()
    }
}

/// The distances of neighbours in every dimension.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim];
    }
    strides
}

fn sizes(shape: &[u32]) -> Vec<usize> {
    shape.iter().map(|&size| size as usize).collect()
}

fn argument(operation: &str, argument: &str, value: f32, allowed: &str) -> Fault {
    let value = f64::from(value);
    Fault::invalid(format!(
        "`{operation}` was given {argument} = {value} ({allowed})"
    ))
}
