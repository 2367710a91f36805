//! The operations on tensors against the table that the Rust SDK's native stand-in is tested
//! against, too: both give the same numbers, shapes, and faults.

use burn::tensor::{Device, Int, Tensor, TensorData};
use incubate::tensor::{AnyTensor, ElementType, Operation, TensorError};

const TABLE: &str = include_str!("../plugins/sdk/operations.txt");

/// Shape, values, and type as a line of the table writes them.
fn parse(text: &str) -> (Vec<usize>, Vec<f32>, ElementType) {
    let (element_type, text) = match text.strip_prefix("ids ") {
        Some(rest) => (ElementType::ClassId, rest),
        None => (ElementType::Float, text),
    };
    let (shape, values) = text[1..].split_once(']').unwrap();
    let shape = shape.split(',').filter(|size| !size.is_empty());
    let shape = shape.map(|size| size.parse().unwrap()).collect();
    (shape, numbers(values), element_type)
}

fn numbers<T: std::str::FromStr>(text: &str) -> Vec<T> {
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word} in {text}"));
    text.split_whitespace().map(number).collect()
}

fn tensor(text: &str) -> AnyTensor {
    let (shape, values, element_type) = parse(text);
    let device = Device::flex();
    let flat = match element_type {
        ElementType::Float => {
            AnyTensor::from_tensor(Tensor::<1>::from_floats(values.as_slice(), &device))
        }
        ElementType::ClassId => {
            let count = values.len();
            let ids: Vec<i64> = values.iter().map(|&id| id as i64).collect();
            let ids = TensorData::new(ids, [count]);
            AnyTensor::from_ids(Tensor::<1, Int>::from_data(ids, &device))
        }
    };
    flat.unwrap().apply(Operation::Reshape(&shape)).unwrap()
}

fn apply(operation: &str, arguments: &str, inputs: &[AnyTensor]) -> Result<AnyTensor, TensorError> {
    let floats = || numbers::<f32>(arguments);
    let dims = || numbers::<i32>(arguments);
    let sizes = || numbers::<usize>(arguments);
    inputs[0].apply(match operation {
        "add" => Operation::Add(&inputs[1]),
        "sub" => Operation::Sub(&inputs[1]),
        "mul" => Operation::Mul(&inputs[1]),
        "div" => Operation::Div(&inputs[1]),
        "matmul" => Operation::Matmul(&inputs[1]),
        "affine" => Operation::Affine {
            scale: floats()[0],
            shift: floats()[1],
        },
        "powf" => Operation::Powf(floats()[0]),
        "exp" => Operation::Exp,
        "log" => Operation::Log,
        "abs" => Operation::Abs,
        "clamp" => Operation::Clamp {
            minimum: floats()[0],
            maximum: floats()[1],
        },
        "greater" => Operation::Greater(floats()[0]),
        "log-softmax" => Operation::LogSoftmax(dims()[0]),
        "log-sigmoid" => Operation::LogSigmoid,
        "sum" => return inputs[0].apply(Operation::Sum(&dims())),
        "transpose" => Operation::Transpose(dims()[0], dims()[1]),
        "reshape" => return inputs[0].apply(Operation::Reshape(&sizes())),
        "slice" => Operation::Slice {
            dim: dims()[0],
            start: dims()[1] as u32,
            end: dims()[2] as u32,
        },
        "one-hot" => Operation::OneHot(sizes()[0] as u32),
        "argmax" => Operation::Argmax(dims()[0]),
        "detach" => Operation::Detach,
        other => panic!("no operation {other}"),
    })
}

fn close(found: f32, expected: f32) -> bool {
    found == expected
        || (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= 1e-5 * expected.abs().max(1.0)
}

#[test]
fn every_line_of_the_table_of_the_sdk_holds() {
    let mut lines = 0;
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let (question, answer) = line.split_once(" => ").unwrap();
        let (operation, inputs) = question.split_once(" : ").unwrap();
        let (operation, arguments) = operation.split_once(' ').unwrap_or((operation, ""));
        let inputs: Vec<AnyTensor> = inputs.split(" ; ").map(tensor).collect();
        match apply(operation, arguments, &inputs) {
            Ok(found) => {
                let (shape, values, element_type) = parse(answer);
                assert_eq!(found.shape(), shape, "{line}");
                assert_eq!(found.element_type(), element_type, "{line}");
                let found = found.read().unwrap();
                let mut pairs = found.iter().zip(&values);
                assert!(
                    found.len() == values.len()
                        && pairs.all(|(&found, &expected)| close(found, expected)),
                    "{line}: {found:?}"
                );
            }
            Err(error) => {
                let (_, message) = answer.split_once(": ").unwrap();
                assert_eq!(error.to_string(), message, "{line}");
            }
        }
        lines += 1;
    }
    assert!(lines > 80, "only {lines} lines");
}
