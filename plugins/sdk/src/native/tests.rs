//! The stand-in against the table of operations, which the host is tested against, too.

use super::tensor::{Tensor, from_f32};
use crate::{ElementType, Fault, FaultCode};

const TABLE: &str = include_str!("../../operations.txt");

fn tensor(text: &str) -> Tensor {
    let (element_type, text) = match text.strip_prefix("ids ") {
        Some(rest) => (ElementType::ClassId, rest),
        None => (ElementType::Float, text),
    };
    let (shape, values) = text[1..].split_once(']').unwrap();
    let sizes = shape.split(',').filter(|size| !size.is_empty());
    Tensor {
        shape: sizes.map(|size| size.parse().unwrap()).collect(),
        values: numbers(values),
        element_type,
    }
}

fn numbers<T: std::str::FromStr>(text: &str) -> Vec<T> {
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word} in {text}"));
    text.split_whitespace().map(number).collect()
}

fn apply(operation: &str, arguments: &str, inputs: &[Tensor]) -> Result<Tensor, Fault> {
    let floats = || numbers::<f32>(arguments);
    let dims = || numbers::<i32>(arguments);
    let sizes = || numbers::<u32>(arguments);
    let input = &inputs[0];
    match operation {
        "add" => input.add(&inputs[1]),
        "sub" => input.sub(&inputs[1]),
        "mul" => input.mul(&inputs[1]),
        "div" => input.div(&inputs[1]),
        "matmul" => input.matmul(&inputs[1]),
        "affine" => input.affine(floats()[0], floats()[1]),
        "powf" => input.powf(floats()[0]),
        "exp" => input.exp(),
        "log" => input.log(),
        "abs" => input.abs(),
        "clamp" => input.clamp(floats()[0], floats()[1]),
        "greater" => input.greater(floats()[0]),
        "log-softmax" => input.log_softmax(dims()[0]),
        "log-sigmoid" => input.log_sigmoid(),
        "sum" => input.sum(&dims()),
        "transpose" => input.transpose(dims()[0], dims()[1]),
        "reshape" => input.reshape(&sizes()),
        "slice" => input.slice(dims()[0], dims()[1] as u32, dims()[2] as u32),
        "one-hot" => input.one_hot(sizes()[0]),
        "argmax" => input.argmax(dims()[0]),
        "detach" => input.detach(),
        other => panic!("no operation {other}"),
    }
}

const fn code(code: FaultCode) -> &'static str {
    match code {
        FaultCode::InvalidInput => "invalid-input",
        FaultCode::Shape => "shape",
        FaultCode::ElementType => "element-type",
        _ => "another code",
    }
}

fn close(found: f64, expected: f64) -> bool {
    found == expected
        || (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= 1e-8 * expected.abs().max(1.0)
}

#[test]
fn every_line_of_the_table_holds() {
    let mut lines = 0;
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let (question, answer) = line.split_once(" => ").unwrap();
        let (operation, inputs) = question.split_once(" : ").unwrap();
        let (operation, arguments) = operation.split_once(' ').unwrap_or((operation, ""));
        let inputs: Vec<Tensor> = inputs.split(" ; ").map(tensor).collect();
        match apply(operation, arguments, &inputs) {
            Ok(found) => {
                assert!(answer.contains('['), "{line}: no fault");
                let expected = tensor(answer);
                assert_eq!(found.shape, expected.shape, "{line}");
                assert_eq!(found.element_type, expected.element_type, "{line}");
                let mut pairs = found.values.iter().zip(&expected.values);
                assert!(
                    found.values.len() == expected.values.len()
                        && pairs.all(|(&found, &expected)| close(found, expected)),
                    "{line}: {:?}",
                    found.values
                );
            }
            Err(fault) => {
                let found = format!("{}: {}", code(fault.code), fault.message);
                assert_eq!(found, answer, "{line}");
            }
        }
        lines += 1;
    }
    assert!(lines > 80, "only {lines} lines");
}

#[test]
fn values_must_fill_their_shape() {
    assert!(from_f32(&[1.0], &[]).is_ok());
    let fault = from_f32(&[1.0, 2.0], &[3]).unwrap_err();
    assert_eq!(fault.code, FaultCode::Shape);
    assert_eq!(
        fault.message,
        "2 values do not fill the shape [3] (give one value for every element)"
    );
}
