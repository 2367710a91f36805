//! Label smoothing as a parameter: losses that offer it offer the same.

use crate::{Fault, Inputs, Parameter, Settings, Tensor};

/// The share of every target that is spread over all classes (Szegedy et al. 2016, section 7): the
/// parameter `smoothing`, from 0 to less than 1.
///
/// It is linear in the targets, so smoothing mixed labels equals mixing smoothed ones, as timm's
/// `Mixup` does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Smoothing(pub f32);

impl Smoothing {
    /// The parameter, 0 unless given.
    pub fn parameter() -> Parameter {
        Parameter::number(
            "smoothing",
            "Share of every target that is spread over all classes; less than 1",
        )
        .default(0.0)
        .at_least(0.0)
        .at_most(1.0)
    }

    /// The value of the parameter.
    ///
    /// # Errors
    /// It is 1, which would leave nothing of a target.
    pub fn from_settings(settings: &Settings) -> Result<Self, Fault> {
        let smoothing = settings.get("smoothing")?;
        if smoothing == 1.0 {
            return Err(Fault::invalid("`smoothing` is 1")
                .with_hint("give a number from 0 that is less than 1"));
        }
        Ok(Self(smoothing))
    }

    /// [`Inputs::targets`], smoothed: shape [pictures, classes].
    pub fn targets(self, inputs: &Inputs) -> Tensor {
        let targets = inputs.targets();
        if self.0 > 0.0 {
            targets.smoothed(self.0)
        } else {
            targets
        }
    }
}
