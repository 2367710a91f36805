//! The exponential function, written so that a loop over it becomes vector instructions and gives
//! the same bits with every instruction set: where a product is added to, it is not rounded before.

/// eˣ for x ≤ 0; 0 where that is no normal number of float32.
///
/// The exponential is 2ⁿ·2ᶠ with |f| ≤ 1/2 and an interpolating polynomial (relative error 3e-9).
/// The product of x with log₂e is rounded, so that the relative error grows with |x|, to |x|·1e-7.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    /// 2ᶠ, from the highest power.
    const POWER: [f32; 7] = [
        0.000_154_614_45,
        0.001_340_042_8,
        0.009_618_057,
        0.055_503_27,
        0.240_226_5,
        std::f32::consts::LN_2,
        1.0,
    ];
    /// 1.5·2²³: adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// The exponent of 1, where float32 has its exponent.
    const EXPONENT: u32 = 127 << 23;
    /// Below it powers of two are no normal numbers.
    const SMALLEST: f32 = -126.0;

    let exponent = x * std::f32::consts::LOG2_E;
    let negligible = exponent <= SMALLEST;
    let exponent = if negligible { SMALLEST } else { exponent };
    let rounded = exponent + ROUND;
    let fraction = exponent - (rounded - ROUND);
    let power = polynomial(&POWER, fraction);
    let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(EXPONENT));
    if negligible { 0.0 } else { power * scale }
}

/// Horner's scheme, from the highest power.
#[inline(always)]
pub(super) fn polynomial<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut value = coefficients[0];
    for coefficient in &coefficients[1..] {
        value = value.mul_add(x, *coefficient);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_agree_with_double_precision() {
        for step in 0..=870_000 {
            let x = step as f32 * -1e-4;
            let exact = f64::from(x).exp();
            let tolerance = exact * (2e-7 + f64::from(x.abs()) * 1e-7);
            assert!(
                (f64::from(exponential(x)) - exact).abs() <= tolerance,
                "{x}"
            );
        }
        assert_eq!(exponential(-100.0), 0.0);
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        assert!(exponential(f32::NAN).is_nan());
    }
}
