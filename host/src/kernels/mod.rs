//! Fused operations of our own, each with a composition of burn's operations as its reference, and
//! operations that are computed again instead of kept.

pub mod attention;
mod exponential;
pub mod gelu;
mod lanes;
pub mod layer_norm;
pub mod linear;
mod matrix;
pub(crate) mod recomputation;
mod storage;

/// Draws from [-spread, spread), the same at every call.
#[cfg(test)]
fn draws(count: usize, spread: f32) -> Vec<f32> {
    use rand::RngExt;

    let mut stream = crate::random::Seed(3).stream(&crate::random::Key {
        phase: crate::phase::Phase::Meta,
        epoch: 0,
        sample: count as u64,
        purpose: "kernels",
    });
    (0..count)
        .map(|_| (stream.random::<f32>() - 0.5) * 2.0 * spread)
        .collect()
}
