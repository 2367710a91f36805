//! Arithmetic, what is composed of it, and faults on their way to the loss.

use super::*;
use crate::FaultCode;

fn row(values: &[f32]) -> Tensor {
    Tensor::from_f32(values, &[values.len() as u32])
}

fn ids(values: &[f32]) -> Tensor {
    // The index of the only element of a dimension is 0, so ids come from one-hot rows.
    let rows: Vec<f32> = values
        .iter()
        .flat_map(|&id| (0..8).map(move |class| f32::from(u8::from(class as f32 == id))))
        .collect();
    let rows = Tensor::from_f32(&rows, &[values.len() as u32, 8]);
    rows.argmax(-1).reshape(&[values.len() as u32])
}

#[track_caller]
fn assert_close(tensor: &Tensor, expected: &[f32]) {
    let found = tensor.read_with_sync().unwrap();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (left, right) in found.iter().zip(expected) {
        assert!(
            (left - right).abs() <= 1e-6 * right.abs().max(1.0),
            "{found:?} is not {expected:?}"
        );
    }
}

#[test]
fn operators_take_tensors_and_numbers_owned_or_borrowed() {
    let (a, b) = (row(&[1.0, -2.0]), row(&[4.0, 8.0]));
    assert_close(&(&a + &b), &[5.0, 6.0]);
    assert_close(&(a.clone() - &b), &[-3.0, -10.0]);
    assert_close(&(&a * b.clone()), &[4.0, -16.0]);
    assert_close(&(a.clone() / b.clone()), &[0.25, -0.25]);
    assert_close(&(&a + 1.0), &[2.0, -1.0]);
    assert_close(&(&a - 1.0), &[0.0, -3.0]);
    assert_close(&(&a * 3.0), &[3.0, -6.0]);
    assert_close(&(&a / 2.0), &[0.5, -1.0]);
    assert_close(&(1.0 + a.clone()), &[2.0, -1.0]);
    assert_close(&(1.0 - &a), &[0.0, 3.0]);
    assert_close(&(3.0 * &a), &[3.0, -6.0]);
    assert_close(&(8.0 / b.clone()), &[2.0, 1.0]);
    assert_close(&-(&a), &[-1.0, 2.0]);
    let mut sum = -b;
    sum += &a;
    sum += a;
    assert_close(&sum, &[-2.0, -12.0]);
}

#[test]
fn composed_operations_are_their_formulas() {
    let x = Tensor::from_f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 9.0], &[2, 3]);
    assert_close(&x.mean(&[]), &[4.0]);
    assert_close(&x.mean(&[-1]), &[2.0, 6.0]);
    assert_close(&x.mean(&[0, 1]), &[4.0]);
    assert_close(&x.mse(&(&x + 3.0)), &[9.0]);
    assert_close(&x.sqrt().square(), &[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]);
    assert_close(&row(&[-2.0, 0.0, 2.0]).relu(), &[0.0, 0.0, 2.0]);
    assert_close(
        &row(&[-200.0, 0.0, 2.0]).sigmoid(),
        &[0.0, 0.5, 1.0 / (1.0 + f32::exp(-2.0))],
    );
    let sum = 1.0 + f32::exp(1.0);
    assert_close(
        &row(&[0.0, 1.0]).softmax(-1),
        &[1.0 / sum, f32::exp(1.0) / sum],
    );
    assert_close(&row(&[0.0, 1.0]).logsumexp(0), &[sum.ln()]);
    assert_close(&row(&[-1e8, 1e4, 1e4]).logsumexp(0), &[1e4 + f32::ln(2.0)]);
}

#[test]
fn a_class_is_gathered_from_every_row() {
    let x = Tensor::from_f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 9.0], &[2, 3]);
    let gathered = x.gather_class(&ids(&[2.0, 0.0]));
    assert_eq!(gathered.shape(), Ok(vec![2, 1]));
    assert_close(&gathered, &[3.0, 4.0]);
    let fault = x.sum(&[]).gather_class(&ids(&[2.0])).check().unwrap_err();
    assert_eq!(fault.code, FaultCode::Shape);
}

#[test]
fn cross_entropy_takes_hard_and_smoothed_targets() {
    let logits = Tensor::from_f32(&[0.0, 0.0, 1.0, -1.0], &[2, 2]);
    let hard = ids(&[0.0, 1.0]).one_hot(2);
    let (ln2, easy) = (f32::ln(2.0), f32::ln_1p(f32::exp(-2.0)));
    assert_close(&logits.cross_entropy(&hard), &[(ln2 + easy + 2.0) / 2.0]);
    let smoothed = hard.smoothed(0.5);
    assert_close(&smoothed, &[0.75, 0.25, 0.25, 0.75]);
    assert_close(
        &logits.cross_entropy(&smoothed),
        &[(ln2 + easy + 1.5) / 2.0],
    );
}

#[test]
fn the_first_fault_reaches_the_end() {
    let first = row(&[1.0, 2.0]) + row(&[1.0, 2.0, 3.0]);
    let later = row(&[1.0]).reshape(&[7]);
    let loss = (&first * &later).exp().mean(&[]) - 1.0;
    let fault = loss.clone().check().unwrap_err();
    assert!(fault.message.starts_with("`add`"), "{}", fault.message);
    assert_eq!(loss.shape().unwrap_err(), fault);
    assert_eq!(loss.read_with_sync().unwrap_err(), fault);
    let other = (later + first).check().unwrap_err();
    assert!(other.message.starts_with("`reshape`"), "{}", other.message);
    let own = Tensor::from(Fault::unsupported("not today")).log_softmax(-1);
    assert_eq!(own.check().unwrap_err().message, "not today");
}
