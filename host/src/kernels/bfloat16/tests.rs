//! Products in tiles and in rounded numbers against products in double precision.

use super::*;
use crate::kernels::comparison::{assert_close, assert_same_on_threads, draws};

/// (rows, inner, columns): whole tiles, parts of them, and one block or two on either side.
const SIZES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [3, 5, 7],
    [16, 32, 16],
    [17, 33, 18],
    [32, 64, 32],
    [33, 31, 1],
    [1, 100, 65],
    [50, 64, 50],
    [50, 50, 64],
    [200, 192, 70],
    [187, 17, 96],
    [130, 257, 33],
];

/// Whether rows or columns lie side by side.
#[derive(Clone, Copy, Debug)]
enum Lying {
    Rows,
    Columns,
}

/// A matrix that begins at the third number, with room between what lies side by side.
fn matrix(rows: usize, columns: usize, lying: Lying) -> (Vec<f32>, Place) {
    let place = match lying {
        Lying::Rows => Place::new(3, rows, columns, columns + 5),
        Lying::Columns => Place::new(3, columns, rows, rows + 5).transposed(),
    };
    (draws(3 + (rows + 5) * (columns + 5), 2.0), place)
}

fn at(values: &[f32], place: Place, row: usize, column: usize) -> f32 {
    values[place.first + row * place.row_stride + column * place.column_stride]
}

/// The same without tiles.
fn numbers(side: Side, values: &[f32], place: Place) -> Rounded {
    let mut one = Rounded {
        lines: 0,
        depth: 0,
        form: Form::Numbers(Vec::new()),
    };
    let lines = match side {
        Side::Left => place,
        Side::Right => place.transposed(),
    };
    one.fill(values, lines, Threads::This);
    one
}

/// Both forms of both sides; those of the processor twice where it has no tiles.
fn forms(left: (&[f32], Place), right: (&[f32], Place)) -> [(Rounded, Rounded); 2] {
    [
        (
            Rounded::left(left, Threads::This),
            Rounded::right(right, Threads::This),
        ),
        (
            numbers(Side::Left, left.0, left.1),
            numbers(Side::Right, right.0, right.1),
        ),
    ]
}

#[test]
fn products_are_those_of_the_rounded_numbers() {
    for [rows, inner, columns] in SIZES {
        for (of, by) in [
            (Lying::Rows, Lying::Rows),
            (Lying::Rows, Lying::Columns),
            (Lying::Columns, Lying::Rows),
            (Lying::Columns, Lying::Columns),
        ] {
            let (left, of) = matrix(rows, inner, of);
            let (right, by) = matrix(inner, columns, by);
            let bias = draws(columns, 5.0);
            let exact = |row: usize, column: usize| -> f64 {
                let products = (0..inner).map(|k| {
                    let one = rounded(at(&left, of, row, k));
                    let other = rounded(at(&right, by, k, column));
                    f64::from(one) * f64::from(other)
                });
                products.sum()
            };
            // Sums of products of up to 4, rounded to 24 bits at every step.
            let tolerance = 4.0 * inner as f64 * 1e-7 + 1e-6;
            let to = Place::new(2, rows, columns, columns + 3);
            for (left, right) in forms((&left, of), (&right, by)) {
                for start in [Start::Zero, Start::Output, Start::Row(&bias)] {
                    let before = draws(2 + rows * (columns + 3), 3.0);
                    let mut output = before.clone();
                    let target = (output.as_mut_slice(), to);
                    write(target, start, (&left, 0), &right, Threads::This);
                    let mut touched = vec![false; output.len()];
                    for row in 0..rows {
                        for column in 0..columns {
                            let place = to.first + row * to.row_stride + column;
                            touched[place] = true;
                            let begun = match start {
                                Start::Zero => 0.0,
                                Start::Output => before[place],
                                Start::Row(row) => row[column],
                            };
                            let expected = exact(row, column) + f64::from(begun);
                            let found = f64::from(output[place]);
                            assert!(
                                (found - expected).abs() < tolerance,
                                "{rows} {inner} {columns} {start:?}: {found} {expected}"
                            );
                        }
                    }
                    for (place, touched) in touched.into_iter().enumerate() {
                        assert!(touched || output[place] == before[place], "{place}");
                    }
                }
                let made = new(Some(&bias), &left, &right, Threads::This);
                let mut expected = vec![0.0; rows * columns];
                let target = (
                    expected.as_mut_slice(),
                    Place::new(0, rows, columns, columns),
                );
                write(target, Start::Row(&bias), (&left, 0), &right, Threads::This);
                assert_eq!(made, expected);
            }
        }
    }
}

#[test]
fn lines_from_the_middle_give_the_same() {
    let (left, of) = matrix(130, 70, Lying::Columns);
    let (right, by) = matrix(70, 90, Lying::Rows);
    for (left, right) in forms((&left, of), (&right, by)) {
        // The crate that multiplies float32 adds up in another order where there are few rows.
        let tiles = matches!(left.form, Form::Tiles(_));
        let whole = new(None, &left, &right, Threads::This);
        for (first, rows) in [(0, 1), (16, 17), (48, 33), (112, 18), (48, 82)] {
            for threads in [Threads::This, Threads::Pool] {
                let mut part = vec![0.0; rows * 90];
                let to = (part.as_mut_slice(), Place::new(0, rows, 90, 90));
                write(to, Start::Zero, (&left, first), &right, threads);
                let expected = &whole[first * 90..][..rows * 90];
                if tiles {
                    assert_eq!(part, expected);
                }
                assert_close(&part, expected, 1e-5);
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for [rows, inner, columns] in [[300, 70, 90], [70, 3000, 40], [1000, 8, 500]] {
        assert_same_on_threads(|| {
            let (left, of) = matrix(rows, inner, Lying::Columns);
            let (right, by) = matrix(inner, columns, Lying::Rows);
            let left = Rounded::left((&left, of), Threads::Pool);
            let right = Rounded::right((&right, by), Threads::Pool);
            let bias = draws(columns, 1.0);
            let together = new(Some(&bias), &left, &right, Threads::Pool);
            let alone = new(Some(&bias), &left, &right, Threads::This);
            // The crate that multiplies float32 may cut products otherwise in threads.
            if matches!(left.form, Form::Tiles(_)) {
                assert_eq!(together, alone);
            }
            together
        });
    }
}

#[test]
fn room_is_used_again_for_products_of_any_size() {
    let mut room = Room::new();
    for [rows, inner, columns] in [[50, 64, 50], [3, 5, 7], [50, 50, 64]] {
        let (left, of) = matrix(rows, inner, Lying::Rows);
        let (right, by) = matrix(inner, columns, Lying::Columns);
        let to = Place::new(1, rows, columns, columns + 2);
        let mut output = vec![0.0; 1 + rows * (columns + 2)];
        room.product((&mut output, to), 0.25, (&left, of), (&right, by));
        let whole = new(
            None,
            &Rounded::left((&left, of), Threads::This),
            &Rounded::right((&right, by), Threads::This),
            Threads::This,
        );
        for row in 0..rows {
            for column in 0..columns {
                let found = at(&output, to, row, column);
                assert_eq!(found, 0.25 * whole[row * columns + column]);
            }
        }
    }
}

#[test]
fn numbers_are_rounded_to_the_nearest_and_to_the_even_one_of_two() {
    let step = 1.0 / 128.0;
    for (value, nearest) in [
        (1.0, 1.0),
        (1.0 + 0.5 * step, 1.0),
        (1.0 + 1.5 * step, 1.0 + 2.0 * step),
        (1.0 + 0.500_1 * step, 1.0 + step),
        (-1.0 - 0.500_1 * step, -1.0 - step),
        (f32::MAX, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
        (0.0, 0.0),
    ] {
        assert_eq!(rounded(value), nearest, "{value}");
        let half = burn::tensor::bf16::from_f32(value).to_f32();
        assert_eq!(rounded(value), half, "{value}");
        // The processor rounds alike: a product with 1.
        let place = Place::new(0, 1, 1, 1);
        let one = Rounded::left((&[value], place), Threads::This);
        let other = Rounded::right((&[1.0], place), Threads::This);
        assert_eq!(new(None, &one, &other, Threads::This), [nearest]);
    }
    for value in draws(1000, 1e3) {
        assert_eq!(rounded(value), burn::tensor::bf16::from_f32(value).to_f32());
    }
}

#[test]
fn what_is_not_a_number_is_seen_and_spoils_nothing_else() {
    let mut left = draws(40 * 40, 1.0);
    left[5 * 40 + 39] = f32::NAN;
    let right = draws(40 * 40, 1.0);
    let place = Place::new(0, 40, 40, 40);
    for (left, right) in forms((&left, place), (&right, place)) {
        let output = new(None, &left, &right, Threads::This);
        for (index, value) in output.iter().enumerate() {
            assert_eq!(value.is_nan(), index / 40 == 5, "{index}");
        }
    }
}

#[test]
#[should_panic(expected = "do not fit")]
fn sides_that_do_not_fit_are_refused() {
    let (left, of) = matrix(4, 5, Lying::Rows);
    let (right, by) = matrix(6, 4, Lying::Rows);
    let left = Rounded::left((&left, of), Threads::This);
    let right = Rounded::right((&right, by), Threads::This);
    new(None, &left, &right, Threads::This);
}
