//! The smallest rate of a curve: a number, or a part of the base rate.

use incubate_plugin::{Fault, Parameter, Settings};

/// The smallest rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// The rate, which is not scaled with the batch.
    pub rate: f64,
    /// The rate as a part of the base rate, in place of [`rate`](Self::rate).
    pub ratio: Option<f64>,
}

impl Floor {
    /// The parameters `min_rate` and `min_ratio`.
    pub fn parameters(rate: f64) -> [Parameter; 2] {
        [
            Parameter::number("min_rate", "Smallest rate, not scaled with the batch")
                .default(rate)
                .at_least(0.0),
            Parameter::number(
                "min_ratio",
                "Smallest rate as a part of the base rate, in place of `min_rate`",
            )
            .optional()
            .at_least(0.0)
            .at_most(1.0),
        ]
    }

    /// The values of [`Self::parameters`].
    ///
    /// # Errors
    ///
    /// A value is missing.
    pub fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            rate: settings.get("min_rate")?,
            ratio: settings.get("min_ratio")?,
        })
    }

    /// The smallest rate where the base rate is `base_rate`.
    pub fn of(self, base_rate: f64) -> f64 {
        self.ratio.map_or(self.rate, |ratio| ratio * base_rate)
    }
}
