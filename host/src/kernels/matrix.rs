//! Products of small matrices that lie with strides inside larger tensors, without copying them.

use gemm::Parallelism;

use super::count;

/// Where the elements of a matrix lie in a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The first element.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// From one row to the next.
    pub(super) row_stride: usize,
    /// From one column to the next.
    pub(super) column_stride: usize,
}

impl Place {
    /// Rows that are `row_stride` apart.
    pub(super) const fn new(first: usize, rows: usize, columns: usize, row_stride: usize) -> Self {
        Self {
            first,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// Rows as columns.
    pub(super) const fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Checks that every element is inside of a slice of this length.
    pub(super) fn check(&self, length: usize) {
        assert!(self.rows > 0 && self.columns > 0, "an empty matrix");
        let last = (self.rows - 1)
            .checked_mul(self.row_stride)
            .zip((self.columns - 1).checked_mul(self.column_stride))
            .and_then(|(down, right)| self.first.checked_add(down)?.checked_add(right));
        assert!(
            last.is_some_and(|last| last < length && isize::try_from(last).is_ok()),
            "a matrix of {} x {} reaches beyond {length} numbers",
            self.rows,
            self.columns
        );
    }
}

/// Multiplications below which handing work to other threads costs more than it saves.
const WORTH_THREADS: usize = 1 << 20;

/// Writes `scale` times `left` times `right` to `output`, on this thread.
///
/// # Panics
///
/// When a matrix reaches beyond its slice, is empty, or does not fit the others.
pub(super) fn product(
    (output, to): (&mut [f32], Place),
    scale: f32,
    left: (&[f32], Place),
    right: (&[f32], Place),
) {
    to.check(output.len());
    // SAFETY: the output is borrowed exclusively, and `to` is inside of it.
    unsafe {
        write(
            output.as_mut_ptr(),
            to,
            None,
            scale,
            left,
            right,
            Parallelism::None,
        );
    }
}

/// Who multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// The thread that asks.
    This,
    /// All of the pool, if there is enough to do.
    Pool,
}

/// Adds `left` times `right` to `output`.
///
/// # Panics
///
/// When a matrix reaches beyond its slice, is empty, or does not fit the others.
pub(super) fn add_product(
    (output, to): (&mut [f32], Place),
    left: (&[f32], Place),
    right: (&[f32], Place),
    threads: Threads,
) {
    to.check(output.len());
    let threads = parallelism(threads, to, left.1);
    // SAFETY: the output is borrowed exclusively, and `to` is inside of it.
    unsafe {
        write(
            output.as_mut_ptr(),
            to,
            Some(1.0),
            1.0,
            left,
            right,
            threads,
        );
    }
}

/// `left` times `right`, row by row.
///
/// # Panics
///
/// When a matrix reaches beyond its slice, is empty, or does not fit the other.
pub(super) fn new_product(
    left: (&[f32], Place),
    right: (&[f32], Place),
    threads: Threads,
) -> Vec<f32> {
    let (rows, columns) = (left.1.rows, right.1.columns);
    let to = Place::new(0, rows, columns, columns);
    let count = rows * columns;
    let mut output: Vec<f32> = Vec::with_capacity(count);
    let threads = parallelism(threads, to, left.1);
    // SAFETY: `to` are exactly the first `count` elements, for which there is room; they are not
    // read, and all of them are written before the length says so.
    unsafe {
        write(output.as_mut_ptr(), to, None, 1.0, left, right, threads);
        output.set_len(count);
    }
    output
}

/// Threads for a product that gives `to` from rows of `of.columns` elements.
fn parallelism(threads: Threads, to: Place, of: Place) -> Parallelism {
    if threads == Threads::This || to.rows * to.columns * of.columns < WORTH_THREADS {
        Parallelism::None
    } else {
        // As many as the pool has.
        Parallelism::Rayon(0)
    }
}

/// Writes `keep` times what is there (nothing, if absent) plus `scale` times `left` times `right`.
///
/// # Safety
///
/// All of `to` must lie inside of the allocation that `output` begins, and nobody else may use it.
/// It must be initialised if `keep` is given.
unsafe fn write(
    output: *mut f32,
    to: Place,
    keep: Option<f32>,
    scale: f32,
    (left, of): (&[f32], Place),
    (right, by): (&[f32], Place),
    threads: Parallelism,
) {
    of.check(left.len());
    by.check(right.len());
    assert_eq!(
        (to.rows, to.columns, of.columns),
        (of.rows, by.columns, by.rows),
        "matrices do not fit"
    );
    count::add(to.rows, of.columns, to.columns);
    // SAFETY: every element that is read is inside of its slice, as checked above, and strides are
    // within `isize`, since the last element is; the caller answers for the output.
    unsafe {
        gemm::gemm(
            to.rows,
            to.columns,
            of.columns,
            output.add(to.first),
            to.column_stride as isize,
            to.row_stride as isize,
            keep.is_some(),
            left.as_ptr().add(of.first),
            of.column_stride as isize,
            of.row_stride as isize,
            right.as_ptr().add(by.first),
            by.column_stride as isize,
            by.row_stride as isize,
            keep.unwrap_or(0.0),
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(values: &[f32], place: Place, row: usize, column: usize) -> f32 {
        values[place.first + row * place.row_stride + column * place.column_stride]
    }

    #[test]
    fn strided_products_agree_with_their_definition() {
        let values: Vec<f32> = (0..400_u16)
            .map(|index| f32::from(index % 23) - 11.0)
            .collect();
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (9, 4, 17), (2, 17, 9)] {
            let of = Place::new(7, rows, inner, 20);
            let by = Place::new(3, columns, inner, 19).transposed();
            let to = Place::new(5, rows, columns, 21);
            let mut output = vec![9.0; 400];
            product((&mut output, to), 0.5, (&values, of), (&values, by));
            let mut expected = vec![9.0; 400];
            for row in 0..rows {
                for column in 0..columns {
                    let sum: f32 = (0..inner)
                        .map(|k| element(&values, of, row, k) * element(&values, by, k, column))
                        .sum();
                    expected[to.first + row * to.row_stride + column] = 0.5 * sum;
                }
            }
            assert_eq!(output, expected);
            add_product(
                (&mut output, to),
                (&values, of),
                (&values, by),
                Threads::Pool,
            );
            let new = new_product((&values, of), (&values, by), Threads::This);
            for row in 0..rows {
                for column in 0..columns {
                    let halves = element(&expected, to, row, column);
                    assert_eq!(element(&output, to, row, column), 3.0 * halves);
                    assert_eq!(new[row * columns + column], 2.0 * halves);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "reaches beyond")]
    fn a_matrix_beyond_its_slice_is_refused() {
        let inside = Place::new(0, 2, 2, 2);
        let mut output = [0.0; 4];
        product(
            (&mut output, inside),
            1.0,
            (&[0.0; 4], inside),
            (&[0.0; 4], Place { first: 1, ..inside }),
        );
    }
}
