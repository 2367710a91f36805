//! Every operation against central differences, every rule of shapes, and every refusal.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::*;

const STEP: f32 = 1e-2;

fn plain() -> Device {
    Device::flex()
}

fn recording() -> Device {
    Device::flex().autodiff()
}

/// Values without ties, zeros, or points where an operation has no derivative.
fn values(count: usize, offset: f32) -> Vec<f32> {
    (0..count)
        .map(|index| ((index * 7 + 3) % 11) as f32 * 0.17 - 0.83 + offset + index as f32 * 0.013)
        .collect()
}

fn tensor(values: &[f32], shape: &[usize], device: &Device) -> AnyTensor {
    let flat = Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
    AnyTensor::from_tensor(flat)
        .unwrap()
        .apply(Operation::Reshape(shape))
        .unwrap()
}

fn ids(values: &[i64], shape: &[usize], device: &Device) -> AnyTensor {
    let flat =
        Tensor::<1, Int>::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
    AnyTensor::from_ids(flat)
        .unwrap()
        .apply(Operation::Reshape(shape))
        .unwrap()
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// A number that depends on every element of the result of `compose` with another weight.
fn weighted(result: &AnyTensor, device: &Device) -> AnyTensor {
    let weights = tensor(&values(count(result.shape()), 0.31), result.shape(), device);
    result
        .apply(Operation::Mul(&weights))
        .unwrap()
        .apply(Operation::Sum(&[]))
        .unwrap()
}

/// Compares the gradient of `compose` with central differences for every input.
fn check_gradient(inputs: &[(Vec<f32>, &[usize])], compose: impl Fn(&[AnyTensor]) -> AnyTensor) {
    let device = recording();
    let leaves: Vec<Tensor<1>> = inputs
        .iter()
        .map(|(values, _)| {
            Tensor::from_data(TensorData::new(values.clone(), [values.len()]), &device)
                .require_grad()
        })
        .collect();
    let tensors: Vec<AnyTensor> = leaves
        .iter()
        .zip(inputs)
        .map(|(leaf, (_, shape))| {
            AnyTensor::from_tensor(leaf.clone())
                .unwrap()
                .apply(Operation::Reshape(shape))
                .unwrap()
        })
        .collect();
    let loss = weighted(&compose(&tensors), &device);
    let gradients = loss.into_scalar_tensor().unwrap().backward();
    for (which, leaf) in leaves.iter().enumerate() {
        let gradient = leaf.grad(&gradients).unwrap().into_data();
        let gradient: Vec<f32> = gradient.iter().collect();
        for (element, &found) in gradient.iter().enumerate() {
            let at = |shift: f32| {
                let tensors: Vec<AnyTensor> = inputs
                    .iter()
                    .enumerate()
                    .map(|(input, (values, shape))| {
                        let mut values = values.clone();
                        if input == which {
                            values[element] += shift;
                        }
                        tensor(&values, shape, &plain())
                    })
                    .collect();
                weighted(&compose(&tensors), &plain()).read().unwrap()[0]
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!(
                (found - expected).abs() < 2e-3 * (1.0 + expected.abs()),
                "input {which}, element {element}: gradient {found}, difference {expected}"
            );
        }
    }
}

#[test]
fn gradients_of_pairs_with_broadcasting() {
    type Build = for<'a> fn(&'a AnyTensor) -> Operation<'a>;
    let operations: [Build; 4] = [
        |other| Operation::Add(other),
        |other| Operation::Sub(other),
        |other| Operation::Mul(other),
        |other| Operation::Div(other),
    ];
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[2, 3], &[2, 3]),
        (&[2, 3], &[3]),
        (&[3], &[2, 3]),
        (&[2, 1], &[1, 3]),
        (&[], &[2, 3]),
        (&[], &[]),
        (&[2, 1, 2, 1, 1, 2], &[2, 1, 3, 1, 1]),
    ];
    for build in operations {
        for (left, right) in shapes {
            check_gradient(
                &[
                    (values(count(left), 0.0), left),
                    (values(count(right), 2.0), right),
                ],
                |tensors| tensors[0].apply(build(&tensors[1])).unwrap(),
            );
        }
    }
}

#[test]
fn gradients_of_single_tensors() {
    let cases: [(Operation<'static>, f32); 22] = [
        (
            Operation::Affine {
                scale: -1.5,
                shift: 0.25,
            },
            0.0,
        ),
        (Operation::Powf(2.5), 1.5),
        (Operation::Powf(3.0), 0.0),
        (Operation::Powf(2.0), 0.0),
        (Operation::Powf(1.0), 0.0),
        (Operation::Powf(-1.0), 2.0),
        (Operation::Powf(-0.5), 2.0),
        (Operation::Exp, 0.0),
        (Operation::Log, 2.0),
        (Operation::Abs, 0.01),
        (
            Operation::Clamp {
                minimum: -0.4,
                maximum: 0.45,
            },
            0.0,
        ),
        (
            Operation::Clamp {
                minimum: f32::NEG_INFINITY,
                maximum: 0.45,
            },
            0.0,
        ),
        (Operation::LogSoftmax(-1), 0.0),
        (Operation::LogSoftmax(0), 0.0),
        (Operation::LogSigmoid, 0.0),
        (Operation::Sum(&[]), 0.0),
        (Operation::Sum(&[1]), 0.0),
        (Operation::Sum(&[-1, 0]), 0.0),
        (Operation::Transpose(0, -1), 0.0),
        (Operation::Transpose(1, 1), 0.0),
        (Operation::Reshape(&[4, 3, 1]), 0.0),
        (
            Operation::Slice {
                dim: -1,
                start: 1,
                end: 3,
            },
            0.0,
        ),
    ];
    for (operation, offset) in cases {
        check_gradient(&[(values(12, offset), &[2, 2, 3])], |tensors| {
            tensors[0].apply(operation.clone()).unwrap()
        });
    }
}

#[test]
fn gradients_of_matrix_products() {
    let shapes: [(&[usize], &[usize]); 5] = [
        (&[2, 3], &[3, 4]),
        (&[2, 2, 3], &[3, 2]),
        (&[2, 3], &[2, 3, 2]),
        (&[2, 1, 2, 3], &[1, 2, 3, 1]),
        (&[1, 1], &[1, 1]),
    ];
    for (left, right) in shapes {
        check_gradient(
            &[
                (values(count(left), 0.0), left),
                (values(count(right), 0.5), right),
            ],
            |tensors| tensors[0].apply(Operation::Matmul(&tensors[1])).unwrap(),
        );
    }
}

#[test]
fn no_gradient_passes_where_the_contract_says_so() {
    let device = recording();
    let leaf = Tensor::<1>::from_data([0.3_f32, -0.7, 0.9], &device).require_grad();
    let input = AnyTensor::from_tensor(leaf.clone()).unwrap();
    let cut = [
        input.apply(Operation::Detach).unwrap(),
        input.apply(Operation::Greater(0.0)).unwrap(),
        input
            .apply(Operation::Argmax(0))
            .unwrap()
            .apply(Operation::OneHot(3))
            .unwrap(),
        input.from_values(vec![2.0, 3.0, 4.0], &[3]).unwrap(),
    ];
    for factor in cut {
        let loss = input
            .apply(Operation::Mul(&factor))
            .unwrap()
            .apply(Operation::Sum(&[]))
            .unwrap();
        let gradients = loss.into_scalar_tensor().unwrap().backward();
        let gradient: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().iter().collect();
        let factor = factor
            .apply(Operation::Affine {
                scale: 1.0,
                shift: 0.0,
            })
            .unwrap();
        let rows = factor.shape().len();
        let expected = if rows == 2 {
            vec![0.0, 0.0, 1.0]
        } else {
            factor.read().unwrap()
        };
        assert_eq!(gradient, expected);
    }
}

#[test]
fn logarithms_are_stable_and_their_gradients_too() {
    let device = recording();
    let leaf = Tensor::<1>::from_data([-1e4_f32, -30.0, 0.0, 30.0, 1e4], &device).require_grad();
    let input = AnyTensor::from_tensor(leaf.clone()).unwrap();

    let sigmoid = input.apply(Operation::LogSigmoid).unwrap();
    let found = sigmoid.read().unwrap();
    let expected = [-1e4, -30.0, -std::f32::consts::LN_2, 0.0, 0.0];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let loss = sigmoid.apply(Operation::Sum(&[])).unwrap();
    let gradients = loss.into_scalar_tensor().unwrap().backward();
    let gradient: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().iter().collect();
    for (found, expected) in gradient.iter().zip([1.0, 1.0, 0.5, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    let softmax = input.apply(Operation::LogSoftmax(0)).unwrap();
    let found = softmax.read().unwrap();
    assert_eq!(found, [-2e4, -10_030.0, -1e4, -9_970.0, 0.0]);
    let loss = weighted(&softmax, &device);
    let gradients = loss.into_scalar_tensor().unwrap().backward();
    let gradient: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().iter().collect();
    let weights = values(5, 0.31);
    let total: f32 = weights.iter().sum();
    for (index, found) in gradient.iter().enumerate() {
        let expected = weights[index] - if index == 4 { total } else { 0.0 };
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn values_and_shapes() {
    for device in [plain(), recording()] {
        let matrix = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3], &device);
        let sum = matrix.apply(Operation::Sum(&[])).unwrap();
        assert_eq!((sum.shape(), sum.read().unwrap()), (&[][..], vec![21.0]));
        let sum = matrix.apply(Operation::Sum(&[-1])).unwrap();
        assert_eq!(
            (sum.shape(), sum.read().unwrap()),
            (&[2, 1][..], vec![6.0, 15.0])
        );
        let turned = matrix.apply(Operation::Transpose(0, 1)).unwrap();
        assert_eq!(
            (turned.shape(), turned.read().unwrap()),
            (&[3, 2][..], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0])
        );
        let part = turned
            .apply(Operation::Slice {
                dim: 0,
                start: 1,
                end: 3,
            })
            .unwrap();
        assert_eq!(
            (part.shape(), part.read().unwrap()),
            (&[2, 2][..], vec![2.0, 5.0, 3.0, 6.0])
        );
        let product = matrix.apply(Operation::Matmul(&turned)).unwrap();
        assert_eq!(product.read().unwrap(), [14.0, 32.0, 32.0, 77.0]);
        let largest = tensor(&[2.0, 7.0, 7.0, 1.0, 0.0, 1.0], &[2, 3], &device)
            .apply(Operation::Argmax(-1))
            .unwrap();
        assert_eq!(largest.element_type(), ElementType::ClassId);
        assert_eq!(
            (largest.shape(), largest.read().unwrap()),
            (&[2, 1][..], vec![1.0, 0.0]),
            "ties give the first"
        );
        let first = tensor(&[2.0, 7.0, 2.0, 1.0], &[2, 2], &device)
            .apply(Operation::Argmax(0))
            .unwrap();
        assert_eq!(first.read().unwrap(), [0.0, 0.0], "ties give the first");
        let rows = ids(&[2, 0, 9], &[3], &device)
            .apply(Operation::OneHot(3))
            .unwrap();
        assert_eq!(rows.shape(), [3, 3]);
        assert_eq!(
            rows.read().unwrap(),
            [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        let row = ids(&[1], &[], &device).apply(Operation::OneHot(2)).unwrap();
        assert_eq!(
            (row.shape(), row.read().unwrap()),
            (&[2][..], vec![0.0, 1.0])
        );
        let columns = ids(&[0, 1, 2, 3, 4, 5], &[2, 3], &device)
            .apply(Operation::Transpose(0, 1))
            .unwrap()
            .apply(Operation::Slice {
                dim: 1,
                start: 1,
                end: 2,
            })
            .unwrap()
            .apply(Operation::Detach)
            .unwrap();
        assert_eq!(columns.read().unwrap(), [3.0, 4.0, 5.0]);
        let above = matrix.apply(Operation::Greater(3.0)).unwrap();
        assert_eq!(above.read().unwrap(), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(matrix.size_bytes(), 24);
        assert_eq!(
            matrix
                .prepare(Operation::Add(&matrix))
                .unwrap()
                .size_bytes(),
            24
        );
    }
}

#[test]
fn a_result_is_sized_before_it_is_computed() {
    let row = tensor(&[0.0; 30_000], &[1, 30_000], &plain());
    let column = row.apply(Operation::Transpose(0, 1)).unwrap();
    let prepared = row.prepare(Operation::Add(&column)).unwrap();
    assert_eq!(prepared.shape(), [30_000, 30_000]);
    assert_eq!(prepared.size_bytes(), 3_600_000_000);
    let cube = column.apply(Operation::Reshape(&[30_000, 1, 1])).unwrap();
    let wide = ids(&[0; 30_000], &[30_000], &plain());
    assert!(cube.prepare(Operation::Add(&row)).is_ok());
    assert!(matches!(
        wide.prepare(Operation::OneHot(u32::MAX)),
        Err(TensorError::Elements { .. })
    ));
}

/// Every refusal, by the variant and the text that a person sees.
#[test]
fn refusals() {
    for device in [plain(), recording()] {
        let matrix = tensor(&values(6, 0.0), &[2, 3], &device);
        let row = tensor(&values(2, 0.0), &[2], &device);
        let scalar = tensor(&[1.0], &[], &device);
        let deep = tensor(&[1.0], &[1, 1, 1, 1, 1, 1], &device);
        let classes = ids(&[0, 1], &[2], &device);
        let deep_classes = ids(&[0], &[1, 1, 1, 1, 1, 1], &device);
        let nan = f32::NAN;
        let infinite = f32::INFINITY;
        let cases: Vec<(&AnyTensor, Operation<'_>, &str)> = vec![
            (
                &matrix,
                Operation::Add(&row),
                "`add` does not fit the shapes [2, 3] and [2]",
            ),
            (
                &matrix,
                Operation::Div(&classes),
                "not defined for elements of type class id",
            ),
            (
                &classes,
                Operation::Sub(&matrix),
                "not defined for elements of type class id",
            ),
            (
                &classes,
                Operation::Exp,
                "`exp` is not defined for elements of type class id",
            ),
            (&classes, Operation::Log, "`log` is not defined"),
            (&classes, Operation::Abs, "`abs` is not defined"),
            (
                &classes,
                Operation::LogSigmoid,
                "`log-sigmoid` is not defined",
            ),
            (
                &classes,
                Operation::LogSoftmax(0),
                "`log-softmax` is not defined",
            ),
            (&classes, Operation::Sum(&[]), "`sum` is not defined"),
            (&classes, Operation::Powf(1.0), "`powf` is not defined"),
            (
                &classes,
                Operation::Greater(1.0),
                "`greater` is not defined",
            ),
            (&classes, Operation::Argmax(0), "`argmax` is not defined"),
            (
                &classes,
                Operation::Matmul(&matrix),
                "`matmul` is not defined",
            ),
            (
                &classes,
                Operation::Affine {
                    scale: 1.0,
                    shift: 0.0,
                },
                "`affine` is not defined",
            ),
            (
                &classes,
                Operation::Clamp {
                    minimum: 0.0,
                    maximum: 1.0,
                },
                "`clamp` is not defined",
            ),
            (
                &matrix,
                Operation::OneHot(3),
                "`one-hot` is not defined for elements of type float",
            ),
            (
                &matrix,
                Operation::Affine {
                    scale: nan,
                    shift: 0.0,
                },
                "scale = NaN",
            ),
            (
                &matrix,
                Operation::Affine {
                    scale: 0.0,
                    shift: infinite,
                },
                "shift = inf",
            ),
            (&matrix, Operation::Powf(nan), "exponent = NaN"),
            (&matrix, Operation::Powf(1e30), "exponent = "),
            (&matrix, Operation::Powf(infinite), "exponent = inf"),
            (
                &matrix,
                Operation::Clamp {
                    minimum: nan,
                    maximum: 0.0,
                },
                "minimum = NaN",
            ),
            (
                &matrix,
                Operation::Clamp {
                    minimum: 0.0,
                    maximum: nan,
                },
                "maximum = NaN",
            ),
            (
                &matrix,
                Operation::Clamp {
                    minimum: 2.0,
                    maximum: 1.0,
                },
                "not be above the maximum",
            ),
            (&matrix, Operation::Greater(nan), "threshold = NaN"),
            (
                &matrix,
                Operation::LogSoftmax(2),
                "dimension 2 of a tensor of shape [2, 3] (allowed: -2 to 1)",
            ),
            (&scalar, Operation::LogSoftmax(0), "none, it is a scalar"),
            (&matrix, Operation::Argmax(-3), "dimension -3"),
            (
                &matrix,
                Operation::Sum(&[i32::MIN]),
                "dimension -2147483648",
            ),
            (&matrix, Operation::Sum(&[1, -1]), "dimension 1 twice"),
            (&matrix, Operation::Transpose(0, 2), "dimension 2"),
            (&matrix, Operation::Matmul(&matrix), "`matmul` does not fit"),
            (&matrix, Operation::Matmul(&row), "`matmul` does not fit"),
            (&scalar, Operation::Matmul(&scalar), "`matmul` does not fit"),
            (
                &matrix,
                Operation::Reshape(&[4]),
                "cannot turn the shape [2, 3] into [4]",
            ),
            (
                &matrix,
                Operation::Reshape(&[]),
                "cannot turn the shape [2, 3] into []",
            ),
            (&matrix, Operation::Reshape(&[0, 3]), "it needs from 1"),
            (
                &matrix,
                Operation::Reshape(&[usize::MAX, 2]),
                "it needs from 1",
            ),
            (&deep, Operation::Reshape(&[1; 7]), "7 dimensions"),
            (
                &matrix,
                Operation::Slice {
                    dim: 0,
                    start: 1,
                    end: 1,
                },
                "elements 1 to 1 of a dimension of size 2",
            ),
            (
                &matrix,
                Operation::Slice {
                    dim: 0,
                    start: 2,
                    end: 1,
                },
                "elements 2 to 1",
            ),
            (
                &matrix,
                Operation::Slice {
                    dim: 1,
                    start: 0,
                    end: 4,
                },
                "dimension of size 3",
            ),
            (
                &matrix,
                Operation::Slice {
                    dim: 5,
                    start: 0,
                    end: 1,
                },
                "dimension 5",
            ),
            (&classes, Operation::OneHot(0), "it needs from 1"),
            (&deep_classes, Operation::OneHot(2), "7 dimensions"),
        ];
        for (input, operation, text) in cases {
            let error = input.apply(operation.clone()).unwrap_err().to_string();
            assert!(error.contains(text), "{operation:?}: {error}");
        }
        let error = matrix.clone().into_scalar_tensor().unwrap_err();
        assert!(error.to_string().contains("[2, 3] is not a single number"));
        let single = ids(&[1], &[1], &device);
        assert!(matches!(
            single.into_scalar_tensor(),
            Err(TensorError::ElementType { .. })
        ));
        assert!(matches!(
            matrix.from_values(vec![1.0; 5], &[2, 3]),
            Err(TensorError::Data { values: 5, .. })
        ));
        assert!(matches!(
            matrix.from_values(Vec::new(), &[0]),
            Err(TensorError::Elements { .. })
        ));
        let empty = Tensor::<2>::zeros([0, 3], &device);
        assert!(AnyTensor::from_tensor(empty).is_err());
        let deep = Tensor::<7>::zeros([1; 7], &device);
        assert!(AnyTensor::from_tensor(deep).is_err());
    }
}
