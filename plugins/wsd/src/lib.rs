//! Learning-rate schedule `wsd`: warm-up, a stable part, and a decay at the end (MiniCPM, Hu et al.
//! 2024; Hägele et al. 2024), with the semantics of timm's `WSDLRScheduler` and the schedule of
//! Transformers.
//!
//! With `D` the length of the decay in a phase of length `T`, the rate is the base rate until `T - D`,
//! and then `m + (base_rate - m) left((t - (T - D)) / D)` with the smallest rate `m`; see [`Tail`].

use curves::{Descent, Floor, Tail};
use incubate_plugin::timeline::Timeline;
use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct WarmUpStableDecay {
    timeline: Timeline,
    tail: Tail,
}

impl Schedule for WarmUpStableDecay {
    fn describe() -> Description {
        Description::new(
            "Warm-up, stable, decay (trapezoidal): the base rate until the rate falls at the end",
        )
        .parameter(Parameter::duration("decay", "Length of the decay").default("20%"))
        .parameter(Descent::parameter("shape", "How the rate falls", "1-sqrt"))
        .parameters(Floor::parameters(0.0))
        .parameters(Timeline::parameters_stepping(Interval::PerUpdate))
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            timeline: Timeline::configure(settings)?,
            tail: Tail {
                length: settings.get("decay")?,
                descent: Descent::configure(settings, "shape")?,
                floor: Floor::configure(settings)?,
            },
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let axis = self.timeline.axis(moment);
        self.tail.fits(&axis, self.timeline.warmup, "decay")?;
        self.timeline.rate(moment, |point| {
            Ok(self
                .tail
                .rate(&point.axis, moment.base_rate, moment.base_rate))
        })
    }
}

export_schedule!(WarmUpStableDecay);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    fn rates(given: &[(&str, SettingValue)]) -> Result<Vec<f64>, Fault> {
        let settings = testing::settings(&WarmUpStableDecay::describe(), given)?;
        testing::rates(&mut WarmUpStableDecay::configure(&settings)?, 5, 2, 1.0)
    }

    #[test]
    fn the_rate_rises_stays_and_falls() {
        let given = [
            ("warmup", "2up".into()),
            ("warmup_rate", 0.into()),
            ("decay", "40%".into()),
            ("shape", "linear".into()),
            ("min_ratio", 0.2.into()),
        ];
        let rates = rates(&given).unwrap();
        let expected = [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn parts_that_are_longer_than_the_phase_are_refused() {
        let fault = rates(&[("warmup", "90%".into())]).unwrap_err();
        assert!(fault.message.contains("longer than the phase"), "{fault:?}");
    }
}
