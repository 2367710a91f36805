//! Shapes, dimensions, and numbers that no tensor can have.

use crate::bindings::exports::incubate::plugin::loss::Inputs;
use crate::bindings::incubate::plugin::tensors::{Tensor, from_f32};
use attack::Fault;

/// Carries out the attack of this name; nothing when it is none on shapes.
pub(crate) fn attack(name: &str, inputs: &Inputs) -> Option<Result<Tensor, Fault>> {
    let logits = &inputs.logits;
    Some(match name {
        "data-huge" => from_f32(&vec![1.0; 3_000_000], &[3_000_000]),
        "data-overflow" => from_f32(&[1.0], &[u32::MAX, u32::MAX, u32::MAX, u32::MAX]),
        "data-wraps-to-one" => from_f32(&[1.0], &[1 << 31, 1 << 31, 4, 1]),
        "data-empty" => from_f32(&[], &[0]),
        "data-rank" => from_f32(&[1.0], &vec![1; 500_000]),
        "reshape-overflow" => logits.reshape(&[u32::MAX, u32::MAX, u32::MAX, u32::MAX]),
        "reshape-zero" => logits.reshape(&[0, u32::MAX]),
        "reshape-rank" => logits.reshape(&vec![1; 500_000]),
        "slice-overflow" => logits.slice(0, u32::MAX - 1, u32::MAX),
        "slice-backwards" => logits.slice(0, 5, 2),
        "one-hot-huge" => inputs.class_ids.one_hot(u32::MAX),
        "one-hot-zero" => inputs.class_ids.one_hot(0),
        "one-hot-large" => one_id(inputs).and_then(|id| id.one_hot(60_000_000)),
        "one-hot-of-floats" => logits.one_hot(3),
        "broadcast-bomb" => wide().and_then(|(row, column)| row.add(&column)),
        "matmul-bomb" => wide().and_then(|(row, column)| column.matmul(&row)),
        "grow" => grow(logits),
        "work" => work(logits),
        "sum-repeated" => logits.sum(&[0, -2]),
        "sum-many" => logits.sum(&vec![0; 500_000]),
        "dimension-minimum" => logits.log_softmax(i32::MIN),
        "dimension-maximum" => logits.transpose(0, i32::MAX),
        "affine-nan" => logits.affine(f32::NAN, f32::INFINITY),
        "power-nan" => logits.powf(f32::NAN),
        "power-infinite" => logits.powf(f32::INFINITY),
        "clamp-nan" => logits.clamp(f32::NAN, 1.0),
        "clamp-backwards" => logits.clamp(f32::INFINITY, f32::NEG_INFINITY),
        "greater-nan" => logits.greater(f32::NAN),
        "exp-of-class-ids" => inputs.class_ids.exp(),
        "concatenate-types" => logits.add(&inputs.class_ids),
        _ => return None,
    })
}

fn one_id(inputs: &Inputs) -> Result<Tensor, Fault> {
    inputs.class_ids.slice(0, 0, 1)
}

/// A row and a column that would stretch to 250 GB.
fn wide() -> Result<(Tensor, Tensor), Fault> {
    let values = vec![1.0; 250_000];
    Ok((
        from_f32(&values, &[1, 250_000])?,
        from_f32(&values, &[250_000, 1])?,
    ))
}

/// Doubles until somebody stops it.
fn grow(logits: &Tensor) -> Result<Tensor, Fault> {
    let mut tensor = logits.sum(&[])?.reshape(&[1, 1])?;
    loop {
        let size = tensor.shape()[0];
        let twice = from_f32(&[1.0, 1.0], &[2, 1, 1])?;
        tensor = tensor.mul(&twice)?.reshape(&[size * 2, 1])?;
    }
}

/// Lets the device sum the same large tensor for ever, which costs no memory.
fn work(logits: &Tensor) -> Result<Tensor, Fault> {
    let scalar = logits.sum(&[])?;
    let wide = from_f32(&vec![1.0; 1_000_000], &[1, 1_000_000])?;
    let tall = from_f32(&[1.0; 16], &[16, 1])?;
    let large = wide.add(&tall)?;
    loop {
        large.sum(&[])?.add(&scalar)?;
    }
}
