//! Named numbers, kept in the record of the run beside loss and accuracy. Natively they go to
//! [`testing::capture`](crate::testing::capture).

/// Records a number. The name is lower case, words joined by `_`.
pub fn record(name: &str, value: f64) {
    crate::host::metrics::record(name, value);
}
