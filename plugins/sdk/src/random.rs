//! A random stream that is a function of the experiment's seed, the phase, the module, the update,
//! and the plugin; every call of a hook starts it anew. There is no other source of randomness.
//!
//! Natively the stream is a function of [`testing::seed`](crate::testing::seed) and of the update;
//! its numbers are not those of the host.

/// Uniform over all 64-bit values.
pub fn next() -> u64 {
    crate::host::random::next()
}

/// Uniform in [0, 1), with 53 random bits.
pub fn uniform() -> f64 {
    crate::host::random::uniform()
}

/// Standard normal.
pub fn normal() -> f64 {
    crate::host::random::normal()
}
