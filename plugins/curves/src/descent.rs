//! Ways from 1 down to 0 over a share of time.

use std::f64::consts::PI;

use incubate_plugin::{Fault, Parameter, Settings};

/// A way from 1 at `x = 0` down to 0 at `x = 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    /// `1 - x`.
    Linear,
    /// `(1 + cos(pi x)) / 2`.
    Cosine,
    /// `1 - sqrt(x)`.
    OneMinusRoot,
}

impl Descent {
    /// A parameter that names a way down.
    pub fn parameter(name: &str, summary: &str, usual: &str) -> Parameter {
        Parameter::text(
            name,
            &format!("{summary}, over the share x of that time: 1 - x, (1 + cos(pi x)) / 2, or 1 - sqrt(x)"),
        )
        .default(usual)
        .one_of(&["linear", "cosine", "1-sqrt"])
    }

    /// The value of [`Self::parameter`].
    ///
    /// # Errors
    ///
    /// The value is missing, or none of the choices.
    pub fn configure(settings: &Settings, name: &str) -> Result<Self, Fault> {
        match settings.get(name)? {
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "1-sqrt" => Ok(Self::OneMinusRoot),
            other => Err(Fault::invalid(format!("`{name}` is `{other}`"))
                .with_hint("write `linear`, `cosine`, or `1-sqrt`")),
        }
    }

    /// What is left at the share `x` of the way, which is from 0 to 1.
    pub fn left(self, x: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - x,
            Self::Cosine => 0.5 * (1.0 + (PI * x).cos()),
            Self::OneMinusRoot => 1.0 - x.sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_leads_from_one_to_zero() {
        for (descent, half) in [
            (Descent::Linear, 0.5),
            (Descent::Cosine, 0.5),
            (Descent::OneMinusRoot, 1.0 - 0.5_f64.sqrt()),
        ] {
            assert_eq!((descent.left(0.0), descent.left(1.0)), (1.0, 0.0));
            assert!((descent.left(0.5) - half).abs() < 1e-15, "{descent:?}");
        }
    }
}
