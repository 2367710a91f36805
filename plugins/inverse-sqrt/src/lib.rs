//! Learning-rate schedule `inverse-sqrt`: one over the square root of time, with the semantics of
//! Transformers and Big Vision (Zhai et al. 2022), whose cooldown it has; Noam's schedule (Vaswani et
//! al. 2017) is a setting.
//!
//! After a warm-up of length `w` the rate is `base_rate / sqrt((t + s - w) / s)` with the time scale
//! `s`. Noam's `k width^-0.5 min(n^-0.5, n w^-1.5)`, at update `n` counted from 1, has the base rate
//! `k` and its highest rate `k (width w)^-0.5` at the end of the warm-up.

use curves::{Descent, Floor, Tail};
use incubate_plugin::timeline::{Axis, Timeline};
use incubate_plugin::{
    Description, Duration, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

/// The time scale where there is neither one nor a warm-up, as in Transformers.
const USUAL_SCALE: Duration = Duration::Updates(10_000.0);

struct InverseSquareRoot {
    timeline: Timeline,
    timescale: Option<Duration>,
    /// The width of the network in Noam's schedule.
    width: Option<u32>,
    tail: Tail,
}

impl Schedule for InverseSquareRoot {
    fn describe() -> Description {
        Description::new("Inverse square root of time after a warm-up (rsqrt, Noam), with a cooldown")
            .parameter(
                Parameter::duration(
                    "timescale",
                    "Time after which the rate falls noticeably; the warm-up, or else 10,000 updates, when not given",
                )
                .optional(),
            )
            .parameter(
                Parameter::duration("cooldown", "Length of a decay at the end").default("0"),
            )
            .parameter(Descent::parameter(
                "shape",
                "How the rate falls in the cooldown",
                "linear",
            ))
            .parameter(
                Parameter::integer(
                    "width",
                    "Width in Noam's schedule, where the base rate is its factor; with `count_from` 1 and `warmup_rate` 0",
                )
                .optional()
                .at_least(1.0)
                .at_most(1e9),
            )
            .parameters(Floor::parameters(0.0))
            .parameters(Timeline::parameters_stepping(Interval::PerUpdate))
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let timescale: Option<Duration> = settings.get("timescale")?;
        let schedule = Self {
            timeline: Timeline::configure(settings)?,
            timescale: timescale
                .map(|scale| scale.positive("timescale"))
                .transpose()?,
            width: settings.get("width")?,
            tail: Tail {
                length: settings.get("cooldown")?,
                descent: Descent::configure(settings, "shape")?,
                floor: Floor::configure(settings)?,
            },
        };
        if schedule.width.is_some() && schedule.timeline.warmup.is_zero() {
            return Err(Fault::invalid("`width` is given, and `warmup` is 0")
                .with_hint("Noam's schedule needs a warm-up; its authors took `4000up`"));
        }
        Ok(schedule)
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let axis = self.timeline.axis(moment);
        self.tail.fits(&axis, self.timeline.warmup, "cooldown")?;
        let mut moment = moment.clone();
        moment.base_rate *= self.peak(&axis);
        self.timeline.rate(&moment, |point| {
            let scale = match self.timescale {
                Some(scale) => point.axis.of(scale),
                None if point.warmup > 0.0 => point.warmup,
                None => point.axis.of(USUAL_SCALE),
            };
            let rate = moment.base_rate / ((point.time + scale - point.warmup) / scale).sqrt();
            Ok(self.tail.rate(&point.axis, rate, moment.base_rate))
        })
    }
}

impl InverseSquareRoot {
    /// The highest rate as a part of the base rate.
    fn peak(&self, axis: &Axis) -> f64 {
        self.width.map_or(1.0, |width| {
            let updates = axis.of(self.timeline.warmup) / axis.update;
            1.0 / (f64::from(width) * updates).sqrt()
        })
    }
}

export_schedule!(InverseSquareRoot);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    fn rates(given: &[(&str, SettingValue)]) -> Result<Vec<f64>, Fault> {
        let settings = testing::settings(&InverseSquareRoot::describe(), given)?;
        testing::rates(&mut InverseSquareRoot::configure(&settings)?, 5, 4, 1.0)
    }

    #[test]
    fn four_times_the_warm_up_has_half_the_rate() {
        let rates = rates(&[("warmup", "4up".into()), ("warmup_rate", 0.into())]).unwrap();
        assert_eq!((rates[1], rates[4]), (0.25, 1.0));
        assert!((rates[16] - 0.5).abs() < 1e-15);
    }

    #[test]
    fn a_cooldown_leads_to_the_smallest_rate() {
        let given = [
            ("timescale", "4up".into()),
            ("cooldown", "8up".into()),
            ("min_rate", 0.1.into()),
        ];
        let rates = rates(&given).unwrap();
        assert!((rates[12] - 0.5).abs() < 1e-15);
        let slow = 1.0 / (20.0_f64 / 4.0).sqrt();
        assert!((rates[16] - f64::midpoint(slow, 0.1)).abs() < 1e-15);
    }

    #[test]
    fn a_width_makes_it_the_schedule_of_noam() {
        let given = [
            ("width", 16.into()),
            ("warmup", "5up".into()),
            ("warmup_rate", 0.into()),
            ("count_from", 1.into()),
        ];
        for (update, rate) in rates(&given).unwrap().into_iter().enumerate() {
            let n = update as f64 + 1.0;
            let expected = 0.25 * n.powf(-0.5).min(n * 5.0_f64.powf(-1.5));
            assert!((rate - expected).abs() < 1e-15, "{update}: {rate}");
        }
        let fault = rates(&[("width", 16.into())]).unwrap_err();
        assert!(fault.message.contains("`warmup`"), "{fault:?}");
    }
}
