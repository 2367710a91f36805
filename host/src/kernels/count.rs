//! How many multiplications the matrix products of these kernels have done, to hold them against the
//! model of costs: what is said to be saved must not be computed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of the whole process, by all threads.
static MULTIPLICATIONS: AtomicU64 = AtomicU64::new(0);

/// Multiplications, each with the addition that belongs to it, of all products that kernels of the CPU
/// have done since the process began.
pub fn multiplications() -> u64 {
    MULTIPLICATIONS.load(Ordering::Relaxed)
}

/// Counts a product of a matrix of `rows` and `inner` columns with one of `inner` rows and `columns`.
pub(super) fn add(rows: usize, inner: usize, columns: usize) {
    let product = (rows as u64) * (inner as u64) * (columns as u64);
    MULTIPLICATIONS.fetch_add(product, Ordering::Relaxed);
}
